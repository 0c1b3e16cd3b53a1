//! What the threads of a live run tell the main thread: that they live, how much they did, and what was lost.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use slips_core::evidence::EvidenceKind;
use slips_core::record::Record;

use super::outbox::Shed;
use super::overload::Step;

/// Counters that the threads write and the main thread reads.
#[derive(Default)]
pub struct Pulse {
    /// Turns of each capture loop, and last of the thread that reads other inputs, if there are any.
    pub capture: Vec<AtomicU64>,
    /// Turns of the responder, and of the thread that writes files.
    pub responder: Arc<AtomicU64>,
    pub sinks: AtomicU64,
    /// Packets that were taken from interfaces, and their bytes on the wire.
    pub packets: AtomicU64,
    pub bytes: AtomicU64,
    /// Flows that ended.
    pub flows: AtomicU64,
    /// Alerts.
    pub alerts: AtomicU64,
    /// Evidence that was new, by its kind.
    pub evidence: ByKind,
    /// Events between two remote hosts that were shed because the engine was full.
    pub shed_remote: AtomicU64,
    /// Events of local hosts that were shed because the engine was full all the same.
    pub shed_local: AtomicU64,
    /// Events that other devices told of over the network, which were shed because the engine was full.
    pub shed_told: AtomicU64,
    /// Packets that the kernel dropped because we did not take them.
    pub drops: AtomicU64,
    /// Connections that the sensor gave up because its table was full.
    pub evicted: AtomicU64,
    /// Lines and rows that could not be written.
    pub unwritten: AtomicU64,
    /// The step of overload, as a number; see [`Pulse::step`].
    pub step: AtomicU8,
    /// Events of blocked addresses that were not looked at.
    pub skipped_blocked: AtomicU64,
    /// Events between remote hosts that were not looked at.
    pub coarse_remote: AtomicU64,
    /// Records of protocols that were not kept.
    pub records_shed: AtomicU64,
    /// Flows whose rows were not kept.
    pub rows_shed: AtomicU64,
    /// Percent of their size that tables are not to use; see [`Pulse::share`].
    pub spared: AtomicU8,
    /// How often tables were made smaller.
    pub shrinks: AtomicU64,
    /// Microseconds that the capture threads waited for a full engine.
    pub waited: AtomicU64,
    /// The oldest that a packet was when it was read, in microseconds, since somebody looked.
    pub lag: AtomicU64,
    /// How the inputs besides interfaces stand, for people; empty where there are none.
    pub inputs: Mutex<String>,
    /// How the mirror in Redis stands, for people; empty where there is none, or all is well.
    pub redis: Mutex<String>,
    /// The run is to end: from now on everybody waits instead of shedding.
    pub stopping: AtomicBool,
    /// A thread has ended; nothing more will come.
    pub ended: AtomicBool,
}

/// A count for each kind of evidence, in the order of all kinds.
pub struct ByKind([AtomicU64; EvidenceKind::ALL.len()]);

impl Default for ByKind {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; EvidenceKind::ALL.len()])
    }
}

impl ByKind {
    /// Each kind with its count.
    pub fn counts(&self) -> impl Iterator<Item = (EvidenceKind, u64)> {
        EvidenceKind::ALL.iter().copied().zip(self.0.iter().map(|count| count.load(Ordering::Relaxed)))
    }

    fn add(&self, kind: EvidenceKind) {
        let at = EvidenceKind::ALL.iter().position(|known| *known == kind);
        if let Some(count) = at.and_then(|at| self.0.get(at)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Pulse {
    /// Counts what the judge said.
    pub fn count(&self, records: &[Record]) {
        for record in records {
            match record {
                Record::Alert(_) => {
                    self.alerts.fetch_add(1, Ordering::Relaxed);
                }
                Record::Evidence(evidence) if evidence.revision == 0 => {
                    self.evidence.add(evidence.finding.kind)
                }
                _ => {}
            }
        }
    }

    /// For so many threads that bring events.
    pub fn new(captures: usize) -> Self {
        Self { capture: (0..captures).map(|_| AtomicU64::new(0)).collect(), ..Self::default() }
    }

    /// How much is left out now.
    pub fn step(&self) -> Step {
        Step::of(self.step.load(Ordering::Relaxed))
    }

    /// Percent of their size that tables may use.
    pub fn share(&self) -> u8 {
        100 - self.spared.load(Ordering::Relaxed).min(100)
    }
}

/// What a live run lost so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses([u64; NAMES.len()]);

const NAMES: [&str; 12] = [
    "packets dropped by the kernel",
    "connections given up by the full sensor",
    "events between remote hosts shed",
    "events of local hosts shed",
    "flow batches not kept",
    "alerts or evidence not kept",
    "lines not written",
    "events of blocked addresses skipped",
    "events between remote hosts left out",
    "records of protocols not kept",
    "rows of flows not kept",
    "events told by other devices shed",
];

/// The same for programs.
const CAUSES: [&str; NAMES.len()] = [
    "kernel_drops",
    "sensor_evictions",
    "shed_remote",
    "shed_local",
    "flow_batches_unkept",
    "findings_unkept",
    "unwritten",
    "skipped_blocked",
    "coarse_remote",
    "records_shed",
    "flow_rows_shed",
    "shed_told",
];

impl Losses {
    /// As things are.
    pub fn read(pulse: &Pulse, lanes: &[Arc<Shed>]) -> Self {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Self([
            load(&pulse.drops),
            load(&pulse.evicted),
            load(&pulse.shed_remote),
            load(&pulse.shed_local),
            lanes.iter().map(|lane| load(&lane.event_batches)).sum(),
            lanes.iter().map(|lane| load(&lane.records)).sum(),
            load(&pulse.unwritten),
            load(&pulse.skipped_blocked),
            load(&pulse.coarse_remote),
            load(&pulse.records_shed),
            load(&pulse.rows_shed),
            load(&pulse.shed_told),
        ])
    }

    /// Each with its name for people.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
        NAMES.into_iter().zip(self.0)
    }

    /// Each with its name for programs.
    pub fn causes(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
        CAUSES.into_iter().zip(self.0)
    }

    /// All of it.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

impl fmt::Display for Losses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for (name, count) in self.named().filter(|(_, count)| *count > 0) {
            write!(f, "{}{count} {name}", if first { "" } else { ", " })?;
            first = false;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_lost_is_told() {
        let (pulse, lane) = (Pulse::default(), Arc::new(Shed::default()));
        let lanes = [Arc::clone(&lane), lane];
        assert_eq!(Losses::read(&pulse, &lanes).to_string(), "");
        pulse.drops.store(7, Ordering::Relaxed);
        pulse.unwritten.store(1, Ordering::Relaxed);
        lanes[0].records.store(2, Ordering::Relaxed);
        let losses = Losses::read(&pulse, &lanes);
        assert_eq!(losses.total(), 12);
        assert_eq!(
            losses.to_string(),
            "7 packets dropped by the kernel, 4 alerts or evidence not kept, 1 lines not written"
        );
    }
}
