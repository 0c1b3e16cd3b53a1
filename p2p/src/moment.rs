//! Wall time as peers write it: milliseconds since 1970. Always an argument, never read here.

use std::fmt;
use std::time::Duration;

/// A moment of wall time in milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Moment(pub u64);

impl Moment {
    /// From whole seconds since the epoch; saturates.
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    /// This long after; saturates.
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)))
    }

    /// This long before; saturates.
    pub fn minus(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)))
    }

    /// How long since `earlier`; zero when that is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// Days since the epoch.
    pub const fn day(self) -> u64 {
        self.0 / 86_400_000
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1000, self.0 % 1000)
    }
}

/// What the clock says and whether it may be believed: routers start without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// The time.
    pub now: Moment,
    /// Whether the system says that its time is synchronised.
    pub synced: bool,
}

impl Clock {
    /// No time before this protocol was written is right: 2026-11-01.
    pub const EARLIEST: Moment = Moment(1_793_491_200_000);

    /// Whether times may be judged, and messages published, by this clock.
    pub fn is_sane(self) -> bool {
        self.synced && self.now >= Self::EARLIEST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates() {
        let hour = Duration::from_secs(3600);
        assert_eq!(Moment(u64::MAX).plus(hour), Moment(u64::MAX));
        assert_eq!(Moment(1).minus(hour), Moment(0));
        assert_eq!(Moment(5).since(Moment(9)), Duration::ZERO);
        assert_eq!(Moment(0).plus(Duration::MAX), Moment(u64::MAX));
    }

    #[test]
    fn a_clock_that_starts_in_1970_is_not_believed() {
        let now = Clock::EARLIEST;
        assert!(Clock { now, synced: true }.is_sane());
        assert!(!Clock { now, synced: false }.is_sane());
        assert!(!Clock { now: Moment::from_secs(60), synced: true }.is_sane());
    }
}
