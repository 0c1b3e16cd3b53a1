//! Looks once a second how it is, and passes on what the controller decides.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Step;
use super::blocked::Blocked;
use super::controller::{Change, Controller, Measures};
use crate::daemon::bell::Rope;
use crate::daemon::outbox::Shed;
use crate::daemon::pulse::Pulse;

/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// See the module.
pub struct Watch {
    controller: Controller,
    blocked: Blocked,
    /// Wakes the responder, who knows who is blocked.
    responder: Rope,
    /// Threads that capture, and so may wait for the engine. The one that reads other inputs has a beat as they have, and no such time.
    captures: usize,
    /// When it was looked last, and how long the capture had waited by then, in microseconds.
    looked: Option<(Duration, u64)>,
    /// How old packets were at most when they were read, in the last second that was looked at.
    lag: Duration,
}

impl Watch {
    /// Nothing is left out so far; so many threads capture.
    pub fn new(blocked: Blocked, responder: Rope, captures: usize) -> Self {
        let (controller, lag) = (Controller::default(), Duration::ZERO);
        Self { controller, blocked, responder, captures, looked: None, lag }
    }

    /// Where it stands.
    pub const fn step(&self) -> Step {
        self.controller.step()
    }

    /// How old packets were at most when they were read.
    pub const fn lag(&self) -> Duration {
        self.lag
    }

    /// Looks, if it is time to. `memory` is in percent of what we may have.
    pub fn look(&mut self, now: Duration, pulse: &Pulse, lanes: &[Arc<Shed>], memory: u8) -> Option<Change> {
        let waited = pulse.waited.load(Ordering::Relaxed);
        let (before, had_waited) = *self.looked.get_or_insert((now, waited));
        let passed = now.saturating_sub(before);
        if passed < LOOK_EVERY && !passed.is_zero() {
            return None;
        }
        self.looked = Some((now, waited));
        let threads = self.captures.max(1) as u128;
        let share =
            u128::from(waited.saturating_sub(had_waited)) * 100 / (passed.as_micros() * threads).max(1);
        let load = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        self.lag = Duration::from_micros(pulse.lag.swap(0, Ordering::Relaxed));
        let change = self.controller.look(&Measures {
            at: now,
            drops: load(&pulse.drops),
            shed: load(&pulse.shed_remote) + load(&pulse.shed_local),
            unkept: lanes.iter().map(|lane| load(&lane.event_batches)).sum(),
            lag: self.lag,
            waited: u8::try_from(share.min(100)).unwrap_or(100),
            memory,
        })?;
        self.blocked.want(change.to != Step::None);
        if change.from == Step::None || change.to == Step::None {
            self.responder.ring();
        }
        pulse.step.store(change.to as u8, Ordering::Relaxed);
        Some(change)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::bell::Bell;

    #[test]
    fn what_the_threads_count_becomes_a_step_that_they_read() {
        let bell = Bell::new().expect("a bell");
        let blocked = Blocked::default();
        // Two capture threads, and one that reads other inputs.
        let (pulse, lane) = (Pulse::new(3), Arc::new(Shed::default()));
        let mut watch = Watch::new(blocked.clone(), bell.rope(), 2);
        let lanes = [Arc::clone(&lane)];
        let mut at = Duration::ZERO;
        let mut look = |millis: u64| {
            at += Duration::from_millis(millis);
            watch.look(at, &pulse, &lanes, 0)
        };
        assert_eq!(look(0), None);
        // Two threads that waited 400 ms of a second together: a fifth.
        pulse.waited.fetch_add(400_000, Ordering::Relaxed);
        assert_eq!(look(500), None, "it is not time to look");
        assert_eq!(look(500), None);
        pulse.waited.fetch_add(400_000, Ordering::Relaxed);
        let change = look(1000).expect("a step");
        assert_eq!(change.why.to_string(), "the capture waited for the detections 20 % of its time");
        assert_eq!((pulse.step(), blocked.is_wanted()), (Step::SkipBlocked, true));
        for _ in 0..2 {
            lane.event_batches.fetch_add(1, Ordering::Relaxed);
            look(1000);
        }
        assert_eq!(pulse.step(), Step::CoarseRemote);
        for _ in 0..30 {
            look(1000);
        }
        assert_eq!((pulse.step(), blocked.is_wanted()), (Step::None, false));
    }
}
