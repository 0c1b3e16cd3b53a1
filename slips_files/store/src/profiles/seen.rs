//! What was seen of a host, each thing once, with its first and its latest time.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use slips_core::time::PacketTime;

/// A thing and when it was seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Item<T> {
    /// The thing.
    #[serde(flatten)]
    pub what: T,
    /// When it was seen first.
    #[serde(with = "super::iso")]
    #[schemars(with = "String")]
    pub first_seen: PacketTime,
    /// When it was seen last.
    #[serde(with = "super::iso")]
    #[schemars(with = "String")]
    pub last_seen: PacketTime,
    /// How often.
    pub times: u64,
}

/// A bounded list of things: the first one ever seen stays, beyond that the one unseen for longest makes room.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Seen<T>(Vec<Item<T>>);

impl<T> Default for Seen<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Seen<T> {
    /// What is remembered, the first ever seen in front.
    pub fn items(&self) -> &[Item<T>] {
        &self.0
    }

    /// Nothing was seen.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What was seen last.
    pub fn latest(&self) -> Option<&Item<T>> {
        self.0.iter().max_by_key(|item| item.last_seen)
    }

    /// Notes a thing that `is` recognises and `make` makes; true when it is new. At most `most` are kept.
    pub(super) fn note(
        &mut self,
        at: PacketTime,
        most: usize,
        is: impl Fn(&T) -> bool,
        make: impl FnOnce() -> T,
    ) -> bool {
        if let Some(item) = self.0.iter_mut().find(|item| is(&item.what)) {
            item.first_seen = item.first_seen.min(at);
            item.last_seen = item.last_seen.max(at);
            item.times = item.times.saturating_add(1);
            return false;
        }
        self.push(Item { what: make(), first_seen: at, last_seen: at, times: 1 }, most);
        true
    }

    fn push(&mut self, item: Item<T>, most: usize) {
        if self.0.len() >= most.max(1) {
            let stale = self.0.iter().enumerate().skip(1).min_by_key(|(_, item)| item.last_seen);
            let at = stale.map_or(0, |(at, _)| at);
            self.0.remove(at);
        }
        self.0.push(item);
    }
}

impl<T: PartialEq> Seen<T> {
    /// Takes over what an earlier run saw.
    pub(super) fn merge(&mut self, earlier: Self, most: usize) {
        let later = std::mem::replace(self, earlier);
        self.0.truncate(most.max(1));
        for item in later.0 {
            match self.0.iter_mut().find(|known| known.what == item.what) {
                Some(known) => {
                    known.first_seen = known.first_seen.min(item.first_seen);
                    known.last_seen = known.last_seen.max(item.last_seen);
                    known.times = known.times.saturating_add(item.times);
                }
                None => self.push(item, most),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(seen: &mut Seen<u32>, what: u32, at: i64) -> bool {
        seen.note(PacketTime(at), 3, |known| *known == what, || what)
    }

    #[test]
    fn the_first_stays_and_the_stalest_makes_room() {
        let mut seen = Seen::default();
        for (what, at) in [(1, 1), (2, 2), (3, 3), (2, 4)] {
            note(&mut seen, what, at);
        }
        assert!(note(&mut seen, 4, 5) && !note(&mut seen, 4, 6));
        let kept: Vec<(u32, u64)> = seen.items().iter().map(|item| (item.what, item.times)).collect();
        assert_eq!(kept, [(1, 1), (2, 2), (4, 2)]);
        assert_eq!(seen.latest().map(|item| item.what), Some(4));
    }

    #[test]
    fn what_an_earlier_run_saw_is_added_up_and_bounded() {
        let (mut earlier, mut now) = (Seen::default(), Seen::default());
        for (what, at) in [(1, 1), (2, 2)] {
            note(&mut earlier, what, at);
        }
        for (what, at) in [(2, 12), (5, 13), (6, 14)] {
            note(&mut now, what, at);
        }
        now.merge(earlier, 3);
        let kept: Vec<_> =
            now.items().iter().map(|i| (i.what, i.first_seen.0, i.last_seen.0, i.times)).collect();
        assert_eq!(kept, [(1, 1, 1, 1), (5, 13, 13, 1), (6, 14, 14, 1)]);
    }
}
