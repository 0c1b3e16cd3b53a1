//! Token buckets: a burst, and a rate at which it fills again. Time is an argument.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::identity::NodeId;
use crate::message::Kind;
use crate::moment::Moment;

/// How much of something is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// So many at once.
    pub burst: u32,
    /// So many in each `per` when it goes on.
    pub amount: u32,
    /// The time for `amount`.
    pub per: Duration,
}

impl Rate {
    /// `burst` at once, then `amount` a minute.
    pub const fn per_minute(burst: u32, amount: u32) -> Self {
        Self { burst, amount, per: Duration::from_secs(60) }
    }

    /// `burst` at once, then `amount` a second.
    pub const fn per_second(burst: u32, amount: u32) -> Self {
        Self { burst, amount, per: Duration::from_secs(1) }
    }
}

/// A bucket of tokens, full at first. Counts in parts of a token (1 token = `per` in milliseconds), so nothing is lost to rounding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    rate: Rate,
    held: u64,
    at: Moment,
}

impl Bucket {
    /// A full bucket.
    pub fn new(rate: Rate, now: Moment) -> Self {
        let mut bucket = Self { rate, held: 0, at: now };
        bucket.held = bucket.full();
        bucket
    }

    fn unit(&self) -> u64 {
        u64::try_from(self.rate.per.as_millis()).unwrap_or(u64::MAX).max(1)
    }

    fn full(&self) -> u64 {
        u64::from(self.rate.burst).saturating_mul(self.unit())
    }

    /// Takes `n` tokens; false, and none are taken, when there are not so many. A clock that steps back fills nothing.
    pub fn take(&mut self, n: u32, now: Moment) -> bool {
        let passed = now.0.saturating_sub(self.at.0);
        let filled = self.held.saturating_add(passed.saturating_mul(u64::from(self.rate.amount)));
        self.held = filled.min(self.full());
        self.at = self.at.max(now);
        let wanted = u64::from(n).saturating_mul(self.unit());
        match self.held.checked_sub(wanted) {
            Some(left) => {
                self.held = left;
                true
            }
            None => false,
        }
    }

    /// Whether it would be full at `now`: then it need not be remembered.
    pub fn is_full(&self, now: Moment) -> bool {
        let passed = now.0.saturating_sub(self.at.0);
        self.held.saturating_add(passed.saturating_mul(u64::from(self.rate.amount))) >= self.full()
    }
}

/// How much each author may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quotas {
    /// Reports.
    pub reports: Rate,
    /// Block requests.
    pub blocks: Rate,
    /// Retractions.
    pub retractions: Rate,
    /// Rosters, announces and parts of lists.
    pub control: Rate,
    /// All of these, where they come late in a snapshot: as many as can hold at once, and then more than by gossip.
    pub late: Rate,
    /// Orders of an authority: an owner's own fleet has to follow, also when one of it is attacked by many.
    pub orders: Rate,
}

impl Default for Quotas {
    fn default() -> Self {
        Self {
            reports: Rate::per_minute(30, 6),
            blocks: Rate::per_minute(10, 1),
            retractions: Rate::per_minute(60, 12),
            control: Rate::per_minute(64, 6),
            late: Rate::per_minute(8192, 60),
            orders: Rate::per_minute(512, 60),
        }
    }
}

/// The buckets of all authors.
#[derive(Clone, Debug, Default)]
pub struct Buckets {
    quotas: Quotas,
    held: BTreeMap<(NodeId, u8), Bucket>,
}

impl Buckets {
    /// With these quotas.
    pub fn new(quotas: Quotas) -> Self {
        Self { quotas, held: BTreeMap::new() }
    }

    /// Takes a token of `author` for a message of `kind`.
    pub fn take(&mut self, author: NodeId, kind: Kind, now: Moment) -> bool {
        let (class, rate) = match kind {
            Kind::Report => (0, self.quotas.reports),
            Kind::Block => (1, self.quotas.blocks),
            Kind::Retract => (2, self.quotas.retractions),
            Kind::Roster | Kind::Announce | Kind::List => (3, self.quotas.control),
        };
        self.take_of(author, class, rate, now)
    }

    /// Takes a token of `author`, an authority, for an order to block.
    pub fn take_order(&mut self, author: NodeId, now: Moment) -> bool {
        self.take_of(author, 5, self.quotas.orders, now)
    }

    /// Takes a token of `author` for a message that came in a snapshot.
    pub fn take_late(&mut self, author: NodeId, now: Moment) -> bool {
        self.take_of(author, 4, self.quotas.late, now)
    }

    fn take_of(&mut self, author: NodeId, class: u8, rate: Rate, now: Moment) -> bool {
        self.held.entry((author, class)).or_insert_with(|| Bucket::new(rate, now)).take(1, now)
    }

    /// Forgets buckets that are full again.
    pub fn sweep(&mut self, now: Moment) {
        self.held.retain(|_, bucket| !bucket.is_full(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_burst_then_the_rate() {
        let mut bucket = Bucket::new(Rate::per_minute(30, 6), Moment(0));
        assert!((0..30).all(|_| bucket.take(1, Moment(0))));
        assert!(!bucket.take(1, Moment(9_999)));
        assert!(bucket.take(1, Moment(10_000)));
        assert!(!bucket.take(1, Moment(10_000)));
        assert!(!bucket.take(31, Moment(1_000_000_000)));
        assert!(bucket.take(30, Moment(1_000_000_000)));
    }

    #[test]
    fn authors_and_kinds_do_not_share() {
        let mut buckets = Buckets::default();
        let (a, b) = (NodeId([1; 32]), NodeId([2; 32]));
        assert_eq!((0..99).filter(|_| buckets.take(a, Kind::Report, Moment(0))).count(), 30);
        assert_eq!((0..99).filter(|_| buckets.take(a, Kind::Block, Moment(0))).count(), 10);
        assert_eq!((0..99).filter(|_| buckets.take(b, Kind::Report, Moment(0))).count(), 30);
        buckets.sweep(Moment(1));
        assert_eq!(buckets.held.len(), 3);
        buckets.sweep(Moment::from_secs(3600));
        assert_eq!(buckets.held.len(), 0);
    }

    proptest! {
        /// In any stretch of time no more pass than the burst and the rate allow, whatever the clock does.
        #[test]
        fn never_more_than_burst_and_rate(
            burst in 1u32..50, amount in 1u32..50, steps in proptest::collection::vec((0u64..5_000, 1u32..4), 1..200)
        ) {
            let rate = Rate::per_minute(burst, amount);
            let mut bucket = Bucket::new(rate, Moment(0));
            let (mut now, mut passed) = (0u64, 0u64);
            for (step, n) in steps {
                now += step;
                if bucket.take(n, Moment(now)) {
                    passed += u64::from(n);
                }
                prop_assert!(passed * 60_000 <= u64::from(burst) * 60_000 + now * u64::from(amount));
                // A step back takes nothing away and gives nothing.
                let before = bucket;
                let _ = bucket.take(0, Moment(now.saturating_sub(step * 2)));
                prop_assert_eq!(before.held, bucket.held);
            }
        }
    }
}
