//! The profiles in memory: as many as were of use lately, the others are in the database.

use std::collections::HashMap;
use std::net::IpAddr;

use slips_core::hash::KeyedState;
use slips_core::time::{PacketTime, WindowWidth};

use super::facts::Facts;

/// One address in memory.
#[derive(Clone, Debug, Default)]
pub(super) struct Entry {
    pub facts: Facts,
    /// What the database has of it is not in `facts`.
    pub unread: bool,
    /// Something new is known.
    pub changed: bool,
    /// It was seen again, no more.
    pub touched: bool,
}

/// Addresses in two generations: when the young one is full the old one goes, and what is asked for in the old one is young again. So
/// whoever was silent for longest makes room, at no cost per look.
#[derive(Debug)]
pub(super) struct Book {
    young: HashMap<IpAddr, Entry, KeyedState>,
    old: HashMap<IpAddr, Entry, KeyedState>,
    /// Went without having been written.
    gone: Vec<(IpAddr, Entry)>,
    generation: usize,
    width: WindowWidth,
    /// Those of `gone` that had to go too, because nobody wrote them.
    pub lost: u64,
}

impl Book {
    /// For at most about `most` addresses, and as many again that wait for the disk.
    pub(super) fn new(most: usize, width: WindowWidth) -> Self {
        Self {
            young: HashMap::default(),
            old: HashMap::default(),
            gone: Vec::new(),
            generation: (most / 2).max(1),
            width,
            lost: 0,
        }
    }

    /// The address, which is made known if it is not.
    pub(super) fn entry(&mut self, addr: IpAddr, at: PacketTime) -> &mut Entry {
        if !self.young.contains_key(&addr) {
            let entry = self.old.remove(&addr);
            if self.young.len() >= self.generation {
                self.turn();
            }
            let entry = entry.unwrap_or_else(|| Entry { unread: true, changed: true, ..Entry::default() });
            self.young.insert(addr, entry);
        }
        let window = self.width.window_of(at).0;
        let entry = self.young.entry(addr).or_default();
        seen(entry, at, window);
        entry
    }

    /// The address if it is in memory.
    pub(super) fn known(&mut self, addr: IpAddr, at: PacketTime) -> Option<&mut Entry> {
        (self.young.contains_key(&addr) || self.old.contains_key(&addr)).then(|| self.entry(addr, at))
    }

    /// Many wait for the disk, and the next to go would be lost.
    pub(super) fn is_crowded(&self) -> bool {
        self.gone.len() >= self.generation
    }

    /// Forgets all that the database has: after everything was written.
    pub(super) fn shrink(&mut self) {
        for generation in [&mut self.young, &mut self.old] {
            generation.retain(|_, entry| entry.changed || entry.touched);
            generation.shrink_to_fit();
        }
    }

    fn turn(&mut self) {
        let old = std::mem::replace(&mut self.old, std::mem::take(&mut self.young));
        let room = (2 * self.generation).saturating_sub(self.gone.len());
        let mut waiting = old.into_iter().filter(|(_, entry)| entry.changed || entry.touched);
        self.gone.extend(waiting.by_ref().take(room));
        self.lost += waiting.count() as u64;
    }

    /// What waits to be written: what changed, and with `all` what was seen again.
    pub(super) fn waiting(&mut self, all: bool) -> impl Iterator<Item = (IpAddr, &mut Entry)> {
        let gone = self.gone.iter_mut().map(|(addr, entry)| (*addr, entry));
        let here = self.young.iter_mut().chain(self.old.iter_mut()).map(|(addr, entry)| (*addr, entry));
        gone.chain(here.filter(move |(_, entry)| entry.changed || (all && entry.touched)))
    }

    /// What was [waiting](Self::waiting) is on the disk.
    pub(super) fn written(&mut self, all: bool) {
        self.gone.clear();
        for entry in self.young.values_mut().chain(self.old.values_mut()) {
            if entry.changed || all {
                (entry.changed, entry.touched) = (false, false);
            }
        }
    }
}

fn seen(entry: &mut Entry, at: PacketTime, window: i64) {
    let facts = &mut entry.facts;
    facts.first_seen = facts.first_seen.min(at);
    facts.last_seen = facts.last_seen.max(at);
    if window > facts.last_window {
        facts.last_window = window;
        facts.windows += 1;
        entry.changed = true;
    }
    entry.touched = true;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(n: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, n])
    }

    #[test]
    fn whoever_was_silent_for_longest_makes_room_and_is_written_first() {
        let mut book = Book::new(4, WindowWidth::HOUR);
        for n in 1..=4 {
            book.entry(addr(n), PacketTime(i64::from(n)));
        }
        book.entry(addr(1), PacketTime(9));
        book.entry(addr(5), PacketTime(10));
        assert!(book.known(addr(2), PacketTime(11)).is_none());
        assert!(book.known(addr(1), PacketTime(11)).is_some());
        let mut waiting: Vec<IpAddr> = book.waiting(false).map(|(addr, _)| addr).collect();
        waiting.sort_unstable();
        assert_eq!(waiting, [addr(1), addr(2), addr(3), addr(4), addr(5)]);
        book.written(false);
        assert_eq!(book.waiting(true).count(), 0);
        book.entry(addr(5), PacketTime(12));
        assert_eq!((book.waiting(false).count(), book.waiting(true).count()), (0, 1));
    }

    #[test]
    fn windows_are_counted_once_each() {
        let mut book = Book::new(4, WindowWidth::HOUR);
        let hour = 3_600_000_000;
        for at in [1, 2, hour, hour + 5, 3 * hour] {
            book.entry(addr(1), PacketTime(at));
        }
        assert_eq!(book.entry(addr(1), PacketTime(3 * hour)).facts.windows, 3);
    }

    #[test]
    fn what_cannot_be_written_does_not_pile_up() {
        let mut book = Book::new(2, WindowWidth::HOUR);
        for n in 0..=255 {
            book.entry(addr(n), PacketTime(1));
        }
        assert!(book.waiting(false).count() <= 4);
        assert!(book.lost > 200);
    }
}
