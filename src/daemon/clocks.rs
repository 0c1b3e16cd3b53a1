//! The two clocks of the daemon: one that only goes forward, by which it decides, and the one on the wall, for the book and for people.

use std::time::{Duration, Instant};

use super::sinks::wall_clock;

/// What time it is. A value, so that tests move it.
pub struct Clocks {
    /// Time since some moment; never goes back and knows no summer time.
    pub steady: Box<dyn Fn() -> Duration + Send>,
    /// Microseconds of wall time since the Unix epoch; may jump either way.
    pub wall: Box<dyn Fn() -> i64 + Send>,
}

impl Default for Clocks {
    #[expect(
        clippy::disallowed_methods,
        reason = "the shell's steady clock, handed down to whoever needs it"
    )]
    fn default() -> Self {
        let start = Instant::now();
        Self { steady: Box::new(move || start.elapsed()), wall: Box::new(wall_clock) }
    }
}
