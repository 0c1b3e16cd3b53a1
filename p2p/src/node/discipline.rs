//! What neighbours do wrong to us, as neighbours: who hands on what is provably broken, or more than anybody could mean, is
//! not talked with for a while. To be wrong about the world is no matter of this place.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Limits;
use crate::bucket::Bucket;
use crate::identity::NodeId;
use crate::moment::Moment;

/// So many broken messages within [`MEMORY`], on whatever way they came, are no accident.
const BROKEN: u32 = 2;
/// Broken messages are remembered, and who sent them is shunned, for so long.
const MEMORY: Duration = Duration::from_secs(3600);
/// Who said too much is shunned for so long.
const TOO_MUCH: Duration = Duration::from_secs(600);

#[derive(Debug)]
struct Record {
    broken: u32,
    since: Moment,
    patience: Bucket,
    shunned: Option<Moment>,
}

/// What is held against neighbours. One record at most for each who was a member, dropped when it says nothing any more.
#[derive(Debug, Default)]
pub struct Discipline {
    held: BTreeMap<NodeId, Record>,
}

impl Discipline {
    fn record(&mut self, id: NodeId, limits: &Limits, now: Moment) -> &mut Record {
        let patience = || Bucket::new(limits.patience, now);
        self.held.entry(id).or_insert_with(|| Record {
            broken: 0,
            since: now,
            patience: patience(),
            shunned: None,
        })
    }

    /// It handed on what it could have seen to be broken. True when that was once too often: from now on it is shunned.
    pub fn broken(&mut self, id: NodeId, limits: &Limits, now: Moment) -> bool {
        let record = self.record(id, limits, now);
        if now.since(record.since) >= MEMORY {
            record.broken = 0;
        }
        record.since = now;
        record.broken = record.broken.saturating_add(1);
        record.broken >= BROKEN && record.shun(now.plus(MEMORY), now)
    }

    /// It sent something beyond what it may, which was dropped. True when patience is at its end: from now on it is shunned.
    pub fn wasted(&mut self, id: NodeId, limits: &Limits, now: Moment) -> bool {
        let record = self.record(id, limits, now);
        !record.patience.take(1, now) && record.shun(now.plus(TOO_MUCH), now)
    }

    pub fn is_shunned(&self, id: NodeId, now: Moment) -> bool {
        self.held.get(&id).and_then(|record| record.shunned).is_some_and(|until| now < until)
    }

    pub fn shunned(&self, now: Moment) -> BTreeSet<NodeId> {
        self.held.keys().copied().filter(|id| self.is_shunned(*id, now)).collect()
    }

    /// Forgets what is over. True when somebody is shunned no more.
    pub fn sweep(&mut self, now: Moment) -> bool {
        let mut ended = false;
        for record in self.held.values_mut() {
            if record.shunned.take_if(|until| *until <= now).is_some() {
                (record.broken, ended) = (0, true);
            }
        }
        self.held.retain(|_, record| {
            record.shunned.is_some()
                || (record.broken > 0 && now.since(record.since) < MEMORY)
                || !record.patience.is_full(now)
        });
        ended
    }
}

impl Record {
    /// True when it was not shunned before.
    fn shun(&mut self, until: Moment, now: Moment) -> bool {
        let before = self.shunned.replace(until);
        before.is_none_or(|before| before <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: NodeId = NodeId([1; 32]);
    const B: NodeId = NodeId([2; 32]);
    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn two_broken_messages_within_an_hour_are_too_many() {
        let (mut kept, limits) = (Discipline::default(), Limits::default());
        assert!(!kept.broken(A, &limits, Moment(0)));
        assert!(!kept.broken(B, &limits, Moment(0)));
        assert!(!kept.broken(A, &limits, Moment(0).plus(HOUR)), "the first is forgotten");
        assert!(kept.broken(A, &limits, Moment(1).plus(HOUR)));
        assert!(!kept.broken(A, &limits, Moment(2).plus(HOUR)), "told once");
        let now = Moment(3).plus(HOUR);
        assert!(kept.is_shunned(A, now) && !kept.is_shunned(B, now));
        assert_eq!(kept.shunned(now), BTreeSet::from([A]));
        let later = now.plus(HOUR);
        assert!(kept.sweep(later), "it may come back");
        assert!(!kept.is_shunned(A, later) && kept.held.is_empty());
    }

    #[test]
    fn patience_ends_and_comes_back() {
        let (mut kept, limits) = (Discipline::default(), Limits::default());
        let patience = limits.patience.burst;
        assert_eq!((0..patience + 50).filter(|_| kept.wasted(A, &limits, Moment(0))).count(), 1);
        assert!(kept.is_shunned(A, Moment(0)));
        let later = Moment(0).plus(TOO_MUCH);
        assert!(kept.sweep(later));
        assert!(!kept.is_shunned(A, later));
        kept.sweep(later.plus(HOUR));
        assert!(kept.held.is_empty());
    }
}
