//! The outbox: hands the judge's records to the lanes that keep or act on them, each with its own queue and its own rule
//! for when that queue is full.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};

use slips_core::event::Event;
use slips_core::flow::Phase;
use slips_core::record::Record;

use super::bell::Rope;
use super::fleet::duty::Duty;
use super::pulse::Pulse;
use crate::control::api::news::Reporter;

/// Record batches that may wait in a lane's queue.
pub const LANE_QUEUE: usize = 64;
/// Records that a lane holds back while its queue is full. Evidence and alerts wait here; flows do not.
pub const MAX_HELD: usize = 65_536;

/// Records that a lane hands over at once at the end.
const CHUNK: usize = 1024;

/// What is done about a full queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// The run goes on: drop and count.
    Shed,
    /// The run ends: nothing more comes in, so wait for room.
    Wait,
}

/// What a lane had to drop.
#[derive(Debug, Default)]
pub struct Shed {
    /// Batches of events that were not kept.
    pub event_batches: AtomicU64,
    /// Evidence and alerts that did not even fit the held-back list.
    pub records: AtomicU64,
    /// Evidence and alerts that are held back now.
    pub held: AtomicU64,
}

/// The way to one consumer of a live run. While its queue is full, flow batches are dropped and counted; evidence and alerts are
/// held back up to [`MAX_HELD`]. The engine never waits for a consumer.
pub struct Lane {
    to: SyncSender<Vec<Record>>,
    wants: Box<dyn Fn(&Record) -> bool + Send>,
    held: VecDeque<Record>,
    shed: Arc<Shed>,
    // The last, so that it is dropped after the sender: see `Rope`.
    rope: Option<Rope>,
}

impl Lane {
    /// A lane that passes on what `wants` says.
    pub fn new(to: SyncSender<Vec<Record>>, wants: impl Fn(&Record) -> bool + Send + 'static) -> Self {
        Self { to, wants: Box::new(wants), held: VecDeque::new(), shed: Arc::default(), rope: None }
    }

    /// The lane of a consumer that waits for a bell.
    pub fn ringing(self, rope: Rope) -> Self {
        Self { rope: Some(rope), ..self }
    }

    /// The lane's counters.
    pub fn shed(&self) -> Arc<Shed> {
        Arc::clone(&self.shed)
    }

    /// Offers a batch of records, after what was held back.
    pub fn offer(&mut self, records: &[Record], when_full: WhenFull) {
        let mut batch: Vec<Record> = self.held.drain(..).collect();
        batch.extend(records.iter().filter(|record| (self.wants)(record)).cloned());
        if batch.is_empty() {
            return;
        }
        let sent = self.to.try_send(batch);
        self.shed.held.store(0, Ordering::Relaxed);
        match sent {
            Ok(()) => self.ring(),
            // A consumer that is gone was ended by its own error, which its join reports.
            Err(TrySendError::Disconnected(_)) => {}
            Err(TrySendError::Full(batch)) if when_full == WhenFull::Wait => {
                drop(self.to.send(batch));
                self.ring();
            }
            Err(TrySendError::Full(batch)) => self.hold(batch),
        }
    }

    fn ring(&self) {
        if let Some(rope) = &self.rope {
            rope.ring();
        }
    }

    /// Hands over what is still held back, waiting for room: the run is over.
    pub fn finish(mut self) {
        while !self.held.is_empty() {
            let some = self.held.len().min(CHUNK);
            if self.to.send(self.held.drain(..some).collect()).is_err() {
                return;
            }
            self.ring();
        }
    }

    fn hold(&mut self, batch: Vec<Record>) {
        for record in batch {
            match record {
                Record::Events(_) => {
                    self.shed.event_batches.fetch_add(1, Ordering::Relaxed);
                }
                record if self.held.len() < MAX_HELD => self.held.push_back(record),
                _ => {
                    self.shed.records.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        self.shed.held.store(self.held.len() as u64, Ordering::Relaxed);
    }
}

/// Hands records to the lanes; when it is dropped with the judge, the lanes get what was held back.
pub struct Outbox {
    /// To those who follow over the control API.
    pub reporter: Reporter,
    pub lanes: Option<[Lane; 2]>,
    pub peers: Option<Lane>,
    /// Where a service is asked, and where there is a Redis: for neither is waited, also at the end.
    pub asides: [Option<Lane>; 2],
    /// Without peers nobody is woken for them.
    pub has_peers: Arc<AtomicBool>,
    pub pulse: Arc<Pulse>,
    pub duty: Duty,
}

impl Outbox {
    /// Passes them on.
    pub fn pass(&mut self, records: &[Record]) {
        let records = &*self.duty.told(records);
        self.pulse.flows.fetch_add(ended_flows(records), Ordering::Relaxed);
        self.pulse.count(records);
        self.reporter.records(records);
        let stopping = self.pulse.stopping.load(Ordering::Relaxed);
        let when_full = if stopping { WhenFull::Wait } else { WhenFull::Shed };
        for lane in self.lanes.iter_mut().flatten() {
            lane.offer(records, when_full);
        }
        for lane in self.asides.iter_mut().flatten() {
            lane.offer(records, WhenFull::Shed);
        }
        // Who stands by tells peers nothing.
        let tells = self.has_peers.load(Ordering::Relaxed) && self.duty.acts();
        if let Some(lane) = self.peers.as_mut().filter(|_| tells) {
            lane.offer(records, when_full);
        }
    }
}

/// Flows that ended in these records; the engine's own figures come only when a window closes.
pub(super) fn ended_flows(records: &[Record]) -> u64 {
    let batches = records.iter().filter_map(|record| match record {
        Record::Events(batch) => Some(batch),
        _ => None,
    });
    let ended = |event: &&Event| matches!(event, Event::Flow(flow) if flow.phase == Phase::End);
    batches.map(|batch| batch.iter().filter(ended).count() as u64).sum()
}

impl Drop for Outbox {
    fn drop(&mut self) {
        for lane in self.lanes.take().into_iter().flatten().chain(self.peers.take()) {
            lane.finish();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slips_core::time::{PacketTime, WindowId};
    use std::sync::mpsc::sync_channel;

    fn closed(n: i64) -> Record {
        Record::WindowClosed { window: WindowId(n), at: PacketTime(n) }
    }

    fn events() -> Record {
        Record::Events(Arc::new(Vec::new()))
    }

    #[test]
    fn a_full_live_lane_drops_flows_and_holds_back_the_rest_in_order() {
        let (to, from) = sync_channel(1);
        let mut lane = Lane::new(to, |_| true);
        let shed = lane.shed();
        for n in 0..5 {
            lane.offer(&[events(), closed(n)], WhenFull::Shed);
        }
        // The first batch took the only place; of the other four only the flows are lost.
        assert_eq!(shed.event_batches.load(Ordering::Relaxed), 4);
        assert_eq!(from.recv().map(|batch| batch.len()), Ok(2));
        lane.finish();
        let windows: Vec<i64> = from
            .recv()
            .expect("held back")
            .iter()
            .filter_map(|r| match r {
                Record::WindowClosed { window, .. } => Some(window.0),
                _ => None,
            })
            .collect();
        assert_eq!(windows, [1, 2, 3, 4]);
        assert_eq!(shed.records.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn what_is_held_back_is_bounded_and_counted() {
        let (to, _from) = sync_channel(1);
        let mut lane = Lane::new(to, |_| true);
        let shed = lane.shed();
        lane.offer(&[closed(0)], WhenFull::Shed);
        let many: Vec<Record> = (0..MAX_HELD as i64 + 10).map(closed).collect();
        lane.offer(&many, WhenFull::Shed);
        assert_eq!(lane.held.len(), MAX_HELD);
        assert_eq!(shed.records.load(Ordering::Relaxed), 10);
    }

    #[test]
    fn at_the_end_a_lane_waits_and_loses_nothing() {
        let (to, from) = sync_channel(1);
        let mut lane = Lane::new(to, |_| true);
        let shed = lane.shed();
        lane.offer(&[closed(0)], WhenFull::Shed);
        let many: Vec<Record> = (1..=3 * CHUNK as i64).map(closed).collect();
        lane.offer(&many, WhenFull::Shed);
        let writer = std::thread::spawn(move || {
            for _ in 0..4 {
                lane.offer(&[events()], WhenFull::Wait);
            }
            lane.offer(&[closed(0)], WhenFull::Shed);
            lane.finish();
        });
        let taken: usize = from.iter().map(|batch| batch.len()).sum();
        writer.join().expect("writer");
        assert_eq!(taken, 1 + 3 * CHUNK + 4 + 1);
        assert_eq!(shed.event_batches.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn what_is_held_back_leaves_in_chunks() {
        let (to, from) = sync_channel(8);
        let mut lane = Lane::new(to, |_| true);
        lane.held.extend((0..2 * CHUNK as i64 + 1).map(closed));
        lane.finish();
        assert_eq!(from.iter().map(|batch| batch.len()).collect::<Vec<_>>(), [CHUNK, CHUNK, 1]);
    }

    #[test]
    fn a_lane_gets_only_what_it_wants() {
        let (to, from) = sync_channel(4);
        let mut lane = Lane::new(to, |record| matches!(record, Record::Alert(_)));
        lane.offer(&[events(), closed(1)], WhenFull::Shed);
        lane.finish();
        assert!(from.recv().is_err());
    }
}
