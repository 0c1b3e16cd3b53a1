//! When a file is asked for again.

use std::hash::BuildHasher;
use std::time::Duration;

use slips_core::hash::KeyedState;

use super::book::Held;
use super::verdict::{CONFIRMED_AFTER, EMPTY_AFTER};
use super::{Item, Record};

/// The first wait after a failure; each further one doubles it.
const FIRST_WAIT: i64 = 600;
/// The longest wait after a failure, and the longest that a server may ask for.
const LONGEST_WAIT: i64 = 86_400;
/// The shortest time between two questions, whatever somebody has configured.
const SHORTEST_PERIOD: i64 = 300;
/// Times are moved by up to a tenth, so that routers do not ask all at once.
const JITTER: u64 = 10;

/// Decides when.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    chance: KeyedState,
}

impl Plan {
    /// The time for the next question, in seconds since the Unix epoch.
    pub fn next(&self, record: &Record, item: &Item, asked_for: Option<u64>, now: i64) -> i64 {
        let period = period(item.period);
        let wait = match (record.failures, record.held) {
            (0, None) => period,
            // Three times in the day in which an empty one has to last.
            (0, Some(Held { since, entries: 0, .. })) => {
                (since + EMPTY_AFTER - now).min(EMPTY_AFTER / 2).clamp(FIRST_WAIT, period.max(FIRST_WAIT))
            }
            // As soon as another one may confirm it.
            (0, Some(held)) => (held.since + CONFIRMED_AFTER - now).clamp(FIRST_WAIT, period.max(FIRST_WAIT)),
            (failures, _) => {
                let doubled = FIRST_WAIT.saturating_mul(1 << failures.saturating_sub(1).min(10));
                doubled.min(LONGEST_WAIT).min(period.max(FIRST_WAIT))
            }
        };
        let asked_for = i64::try_from(asked_for.unwrap_or(0)).unwrap_or(LONGEST_WAIT).min(LONGEST_WAIT);
        let wait = wait.max(asked_for);
        let chance = self.chance.hash_one((&item.url, now)) % (wait.unsigned_abs() / JITTER).max(1);
        now.saturating_add(wait).saturating_add(i64::try_from(chance).unwrap_or(0))
    }

    /// Whether it is time.
    pub fn is_due(&self, record: &Record, every: Duration, now: i64) -> bool {
        if every.is_zero() {
            return false;
        }
        let far = period(every).max(LONGEST_WAIT).saturating_mul(2);
        // A clock that was wrong when it was written must not keep it waiting for years.
        now >= record.next || record.next > now.saturating_add(far)
    }
}

fn period(period: Duration) -> i64 {
    i64::try_from(period.as_secs()).unwrap_or(i64::MAX / 4).clamp(SHORTEST_PERIOD, i64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::updates::What;

    const DAY: i64 = 86_400;

    fn item(period: u64) -> Item {
        Item {
            url: "https://a.example/".into(),
            path: "/a".into(),
            what: What::Places,
            period: Duration::from_secs(period),
        }
    }

    fn wait(record: &Record, period: u64, asked_for: Option<u64>) -> std::ops::Range<i64> {
        let waits = (0..200).map(|now| Plan::default().next(record, &item(period), asked_for, now) - now);
        let (least, most) =
            waits.fold((i64::MAX, 0), |(least, most), wait| (least.min(wait), most.max(wait)));
        least..most
    }

    fn about(found: std::ops::Range<i64>, wait: i64) {
        assert!(found.start >= wait && found.end <= wait + wait / 10, "{found:?} is not about {wait}");
        assert!(found.end - found.start > wait / 20, "{found:?} is not spread");
    }

    #[test]
    fn waits_grow_with_failures_and_are_spread() {
        let failed = |failures| Record { failures, ..Record::default() };
        about(wait(&failed(0), 86_400, None), DAY);
        about(wait(&failed(0), 7, None), 300);
        about(wait(&failed(1), 86_400, None), 600);
        about(wait(&failed(2), 86_400, None), 1200);
        about(wait(&failed(40), 700_000, None), DAY);
        about(wait(&failed(40), 3600, None), 3600);
        about(wait(&failed(1), 86_400, Some(7200)), 7200);
        about(wait(&failed(1), 86_400, Some(u64::MAX)), DAY);
        let held = Record { held: Some(Held { since: 0, entries: 1, times: 1 }), ..Record::default() };
        let next = Plan::default().next(&held, &item(86_400), None, 0);
        assert!((3600..=3960).contains(&next), "{next}");
        let empty = Record { held: Some(Held { since: 0, entries: 0, times: 1 }), ..Record::default() };
        about(wait(&empty, 86_400, None), DAY / 2);
    }

    #[test]
    fn a_time_in_the_far_future_was_a_wrong_clock() {
        let plan = Plan::default();
        let day = Duration::from_secs(86_400);
        let at = |next| Record { next, ..Record::default() };
        assert!(plan.is_due(&at(10), day, 10) && !plan.is_due(&at(11), day, 10));
        assert!(plan.is_due(&at(DAY * 400), day, 10));
        assert!(!plan.is_due(&at(0), Duration::ZERO, 10), "never by itself");
    }
}
