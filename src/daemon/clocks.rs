//! The two clocks of the daemon: one that only goes forward, by which it decides, and the one on the wall, for the book and for people.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use super::sinks::wall_clock;

/// What time it is. A value, so that tests move it.
pub struct Clocks {
    /// Time since some moment, also while the machine sleeps; never goes back and knows no summer time.
    pub steady: Box<dyn Fn() -> Duration + Send>,
    /// The same without the time that the machine slept: the clock of the kernel's timeouts.
    pub awake: Box<dyn Fn() -> Duration + Send>,
    /// Microseconds of wall time since the Unix epoch; may jump either way.
    pub wall: Box<dyn Fn() -> i64 + Send>,
}

impl Default for Clocks {
    fn default() -> Self {
        Self {
            steady: Box::new(steady),
            awake: Box::new(|| read(ClockId::CLOCK_MONOTONIC)),
            wall: Box::new(wall_clock),
        }
    }
}

/// Time since some moment, also while the machine sleeps.
pub fn steady() -> Duration {
    read(ClockId::CLOCK_BOOTTIME)
}

/// The clock of a [`Meter`](slips_core::engine::meter::Meter).
pub fn nanos() -> u64 {
    u64::try_from(read(ClockId::CLOCK_MONOTONIC).as_nanos()).unwrap_or(u64::MAX)
}

/// Neither clock fails on a Linux that has them, which all do.
fn read(clock: ClockId) -> Duration {
    clock_gettime(clock).map(Duration::from).unwrap_or_default()
}
