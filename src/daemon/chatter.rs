//! Journal lines that somebody outside can cause: each of them may cause so many, the rest is counted and told as one line. So nobody fills the
//! journal, and nothing is lost but the words: what was said is in the databases.

use std::collections::BTreeMap;
use std::time::Duration;

use slips_p2p::bucket::{Bucket, Rate};
use slips_p2p::moment::Moment;

/// Most causes that are told apart; the others are as one.
const MOST: usize = 1024;
/// What was not told is summed up so often.
const SUM_UP: Duration = Duration::from_secs(600);

/// Who caused how many lines, by whatever tells causes apart.
pub struct Chatter<K> {
    rate: Rate,
    held: BTreeMap<Option<K>, Held>,
}

struct Held {
    bucket: Bucket,
    untold: u64,
    since: Moment,
}

impl<K: Ord + Clone> Chatter<K> {
    /// `burst` lines at once for each, and then so many an hour.
    pub const fn new(burst: u32, an_hour: u32) -> Self {
        let rate = Rate { burst, amount: an_hour, per: Duration::from_secs(3600) };
        Self { rate, held: BTreeMap::new() }
    }

    /// Whether this line may be told now, by a steady clock; otherwise it is counted.
    pub fn may(&mut self, who: &K, now: Duration) -> bool {
        let now = moment(now);
        if self.held.len() >= MOST && !self.held.contains_key(&Some(who.clone())) {
            self.held.retain(|_, held| held.untold > 0 || !held.bucket.is_full(now));
        }
        let key = Some(who.clone())
            .filter(|who| self.held.len() < MOST || self.held.contains_key(&Some(who.clone())));
        let rate = self.rate;
        let held = self.held.entry(key).or_insert_with(|| Held {
            bucket: Bucket::new(rate, now),
            untold: 0,
            since: now,
        });
        let may = held.bucket.take(1, now);
        if !may {
            if held.untold == 0 {
                held.since = now;
            }
            held.untold += 1;
        }
        may
    }

    /// What has been untold for ten minutes: by whom (none: by many), and how many lines.
    pub fn untold(&mut self, now: Duration) -> Vec<(Option<K>, u64)> {
        let now = moment(now);
        let due = self.held.iter_mut().filter(|(_, held)| held.untold > 0 && now.since(held.since) >= SUM_UP);
        due.map(|(who, held)| (who.clone(), std::mem::take(&mut held.untold))).collect()
    }
}

fn moment(steady: Duration) -> Moment {
    Moment(u64::try_from(steady.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_some_lines_and_one_with_how_many_more() {
        let mut chatter = Chatter::new(10, 6);
        let told = (0..1000).filter(|n| chatter.may(&"liar", Duration::from_millis(*n))).count();
        assert_eq!(told, 10);
        assert!(chatter.may(&"honest", Duration::from_secs(1)), "another is told as ever");
        assert_eq!(chatter.untold(Duration::from_secs(2)), []);
        assert_eq!(chatter.untold(Duration::from_secs(700)), [(Some("liar"), 990)]);
        assert_eq!(chatter.untold(Duration::from_secs(7000)), []);
        assert!(chatter.may(&"liar", Duration::from_secs(701)));
        // A day of it, a line a second: the burst, and what fills again.
        let day = (0..86_400).filter(|n| chatter.may(&"liar", Duration::from_secs(800 + n))).count();
        assert!(day <= 10 + 6 * 24, "{day}");
    }

    #[test]
    fn so_many_causes_that_they_are_not_told_apart_share_what_one_may_cause() {
        let mut chatter = Chatter::new(2, 1);
        let now = Duration::from_secs(1);
        let told = (0..100_000).filter(|n| chatter.may(n, now)).count();
        assert!((MOST..=MOST + 2).contains(&told), "{told}");
        assert!(chatter.held.len() <= MOST + 1);
        assert_eq!(chatter.untold(Duration::from_secs(1000)), [(None, 100_000 - told as u64)]);
        // When they are silent again there is room.
        assert!(chatter.may(&5_000_000, Duration::from_secs(90_000)));
        assert!(chatter.held.len() <= 2);
    }
}
