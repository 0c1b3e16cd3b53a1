//! The engine: a function from events to records, plus its state.
//!
//! ```text
//! events ─▶ Router ─▶ Shard 0..N-1 ─▶ Judge ─▶ records
//!           clock, profiles,   detectors      evidence, accumulation, alerts
//!           windows, facts
//! ```
//!
//! The router numbers the events, keeps the clock and gives every address a profile slot; shard `slot % N` owns it. Shards share
//! nothing. The judge puts the findings of all shards back into the one order of the input and is the only owner of an
//! attacker's sum. So the same input gives the same alerts for any number of shards and any batch size.
//!
//! [`Engine`] runs all of it inline (no threads, no queues); [`pipeline`] spreads it over threads.

mod gate;
mod judge;
pub mod meter;
pub mod pipeline;
mod profiles;
pub mod progress;
mod room;
mod router;
mod shard;

use std::sync::Arc;

use crate::detector::Detector;
use crate::event::Event;
use crate::record::{Record, Stats};
use crate::settings::Settings;

use judge::Judge;
use router::Router;
use shard::Shard;

/// Makes the detectors of one shard. Called once per shard; all calls must give the same detectors in the same order.
pub type Registry = dyn Fn() -> Vec<Box<dyn Detector>> + Send + Sync;

/// The whole engine on the caller's thread.
pub struct Engine {
    router: Router,
    shards: Vec<Shard>,
    judge: Judge,
}

impl Engine {
    /// An engine with one shard.
    pub fn new(settings: &Settings, registry: &Registry) -> Self {
        Self::with_shards(settings, registry, 1)
    }

    /// An engine whose profiles are spread over `shards` (at least one), all on the caller's thread. For tests of the spreading.
    pub fn with_shards(settings: &Settings, registry: &Registry, shards: usize) -> Self {
        let settings = Arc::new(settings.clone());
        let shards = shards.max(1);
        let made: Vec<Shard> = (0..shards).map(|_| Shard::new(Arc::clone(&settings), registry())).collect();
        let wants = made.first().map(Shard::wants).unwrap_or_default();
        Self {
            router: Router::new(Arc::clone(&settings), wants, shards),
            shards: made,
            judge: Judge::new(settings),
        }
    }

    /// Takes a batch of events and appends what follows from it to `out`.
    pub fn feed(&mut self, events: Vec<Event>, out: &mut Vec<Record>) {
        let routed = self.router.route(events);
        self.run(routed, out);
    }

    /// The input has ended: closes all windows.
    pub fn finish(&mut self, out: &mut Vec<Record>) {
        let routed = self.router.finish();
        self.run(routed, out);
        out.push(Record::Stats(Box::new(self.stats())));
    }

    /// Counters since the start.
    pub fn stats(&self) -> Stats {
        self.judge.stats()
    }

    fn run(&mut self, routed: router::Routed, out: &mut Vec<Record>) {
        let mut findings = Vec::new();
        for (shard, job) in self.shards.iter_mut().zip(&routed.jobs) {
            shard.run(job, &mut findings);
        }
        self.judge.judge(routed.summary, findings, out);
    }
}

#[cfg(test)]
mod tests;
