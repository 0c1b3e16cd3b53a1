//! What detections cost and find. The engine has no clock: whoever wants to know hands one in.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// Of so many jobs of a shard one is measured: the clock would cost more than many a detection.
pub const SAMPLE: u64 = 64;

/// A clock in nanoseconds, from any moment on.
pub type Nanos = fn() -> u64;

/// Counts for each detection, over all shards. Clones are one meter; the default one counts nothing.
#[derive(Clone, Default)]
pub struct Meter(Option<Arc<Metered>>);

struct Metered {
    clock: Nanos,
    /// In the order of the registry.
    all: OnceLock<Vec<Cost>>,
}

/// One detection.
struct Cost {
    name: &'static str,
    nanos: AtomicU64,
    events: AtomicU64,
    findings: AtomicU64,
}

/// What one detection cost and found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spent {
    /// Its name.
    pub name: &'static str,
    /// Time spent on events, in nanoseconds: what was measured, times [`SAMPLE`].
    pub nanos: u64,
    /// Events it looked at while it was measured, times [`SAMPLE`].
    pub events: u64,
    /// What it emitted, before anything was put together or left out; all of it.
    pub findings: u64,
}

impl Meter {
    /// Measures by this clock.
    pub fn new(clock: Nanos) -> Self {
        Self(Some(Arc::new(Metered { clock, all: OnceLock::new() })))
    }

    /// What each detection cost; nothing before an engine runs.
    pub fn spent(&self) -> Vec<Spent> {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let all = self.0.iter().filter_map(|metered| metered.all.get()).flatten();
        all.map(|cost| Spent {
            name: cost.name,
            nanos: load(&cost.nanos).saturating_mul(SAMPLE),
            events: load(&cost.events).saturating_mul(SAMPLE),
            findings: load(&cost.findings),
        })
        .collect()
    }

    /// These detections are measured; the same for all shards.
    pub(super) fn of(&self, names: impl Iterator<Item = &'static str>) {
        let Some(metered) = &self.0 else { return };
        metered.all.get_or_init(|| {
            let zero = || AtomicU64::new(0);
            names.map(|name| Cost { name, nanos: zero(), events: zero(), findings: zero() }).collect()
        });
    }

    /// The clock for a job, if it is one of those that are measured.
    pub(super) fn clock_for(&self, job: u64) -> Option<Nanos> {
        self.0.as_ref().filter(|_| job.is_multiple_of(SAMPLE)).map(|metered| metered.clock)
    }

    /// Adds what the detection at this place of the registry took.
    pub(super) fn took(&self, at: u16, nanos: u64) {
        if let Some(cost) = self.at(at) {
            cost.nanos.fetch_add(nanos, Ordering::Relaxed);
            cost.events.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts something that it found.
    pub(super) fn found(&self, at: u16) {
        if let Some(cost) = self.at(at) {
            cost.findings.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn at(&self, at: u16) -> Option<&Cost> {
        self.0.as_ref()?.all.get()?.get(usize::from(at))
    }
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Meter(on)" } else { "Meter(off)" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_job_of_many_is_measured_and_told_for_all() {
        let meter = Meter::new(|| 0);
        meter.of(["a", "b"].into_iter());
        let measured = (0..640).filter(|job| meter.clock_for(*job).is_some()).count();
        assert_eq!(measured, 10);
        meter.took(1, 5);
        meter.found(1);
        meter.found(7);
        let b = Spent { name: "b", nanos: 5 * SAMPLE, events: SAMPLE, findings: 1 };
        assert_eq!(meter.spent(), [Spent { name: "a", nanos: 0, events: 0, findings: 0 }, b]);
        assert!(Meter::default().clock_for(0).is_none() && Meter::default().spent().is_empty());
    }
}
