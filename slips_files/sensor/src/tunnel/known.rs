//! Tunnels that are no flows themselves: two addresses between which IP or GRE was seen.

use std::collections::BTreeMap;

use slips_core::event::{About, Tunnel};
use slips_core::flow::{Endpoint, Proto, Uid};
use slips_core::time::{PacketTime, Span};

use super::Wrapping;
use crate::emit;
use crate::list::{Link, Linked, List, NIL};

/// A tunnel that is unused this long is told as expired; Zeek's value.
const UNUSED: Span = Span::from_secs(3600);

#[derive(Debug)]
struct Entry {
    link: Link,
    used: PacketTime,
    key: (u128, u128, Wrapping),
    src: u128,
    dst: u128,
    uid: Uid,
    interface: u16,
}

impl Linked<0> for Entry {
    fn link(&mut self) -> &mut Link {
        &mut self.link
    }
}

/// A packet of a tunnel, for [`Known::note`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct News {
    pub(crate) at: PacketTime,
    pub(crate) interface: u16,
    pub(crate) src: u128,
    pub(crate) dst: u128,
    pub(crate) kind: Wrapping,
}

/// The tunnels in use; one more than `max` makes the one that is unused the longest expire.
#[derive(Debug)]
pub(crate) struct Known {
    entries: Vec<Entry>,
    free: Vec<u32>,
    index: BTreeMap<(u128, u128, Wrapping), u32>,
    by_use: List,
    max: usize,
    /// Tunnels that expired because there were too many.
    pub(crate) evicted: u64,
}

impl Known {
    pub(crate) fn new(max: u32) -> Self {
        Self {
            entries: Vec::new(),
            free: Vec::new(),
            index: BTreeMap::new(),
            by_use: List::EMPTY,
            max: max.max(1) as usize,
            evicted: 0,
        }
    }

    /// Notes that a tunnel is used; tells of it when it is new, named by `uid`.
    pub(crate) fn note(&mut self, news: News, uid: impl FnOnce() -> Uid, tell: &mut impl FnMut(Tunnel)) {
        let key = (news.src.min(news.dst), news.src.max(news.dst), news.kind);
        if let Some(&at) = self.index.get(&key) {
            if let Some(entry) = self.entries.get_mut(at as usize) {
                entry.used = entry.used.max(news.at);
            }
            self.by_use.remove::<0, _>(&mut self.entries, at);
            self.by_use.push_back::<0, _>(&mut self.entries, at);
            return;
        }
        if self.index.len() >= self.max {
            self.evicted += 1;
            self.expire_oldest(tell);
        }
        let News { at: used, interface, src, dst, .. } = news;
        let entry = Entry { link: Link::NONE, used, key, src, dst, uid: uid(), interface };
        tell(entry.tell("Tunnel::DISCOVER"));
        let at = match self.free.pop() {
            Some(at) => {
                if let Some(slot) = self.entries.get_mut(at as usize) {
                    *slot = entry;
                }
                at
            }
            None => {
                self.entries.push(entry);
                (self.entries.len() - 1) as u32
            }
        };
        self.index.insert(key, at);
        self.by_use.push_back::<0, _>(&mut self.entries, at);
    }

    /// Forgets what was unused for long at `now`.
    pub(crate) fn expire(&mut self, now: PacketTime, tell: &mut impl FnMut(Tunnel)) {
        while self.by_use.head != NIL
            && self
                .entries
                .get(self.by_use.head as usize)
                .is_some_and(|entry| now.since(entry.used) >= UNUSED)
        {
            self.expire_oldest(tell);
        }
    }

    fn expire_oldest(&mut self, tell: &mut impl FnMut(Tunnel)) {
        let Some(at) = self.by_use.pop_front::<0, _>(&mut self.entries) else { return };
        let Some(entry) = self.entries.get(at as usize) else { return };
        tell(Tunnel {
            about: About { at: entry.used + UNUSED, ..entry.about() },
            ..entry.tell("Tunnel::EXPIRE")
        });
        self.index.remove(&entry.key);
        self.free.push(at);
    }
}

impl Entry {
    fn about(&self) -> About {
        let end = |addr| Endpoint { addr: emit::address(addr), port: 0 };
        About {
            at: self.used,
            uid: self.uid,
            src: end(self.src),
            dst: end(self.dst),
            proto: Proto::Other(if self.key.2 == Wrapping::Gre { 47 } else { 4 }),
            interface: self.interface,
            heard: true,
            tunnelled: false,
            src_mac: None,
        }
    }

    fn tell(&self, action: &str) -> Tunnel {
        Tunnel { about: self.about(), tunnel_type: self.key.2.name().to_owned(), action: action.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(known: &mut Known, secs: i64, src: u128, dst: u128) -> Vec<String> {
        let mut told = Vec::new();
        let at = PacketTime(secs * 1_000_000);
        let mut tell = |tunnel: Tunnel| told.push(format!("{} {}", tunnel.action, tunnel.about.src.addr));
        known.expire(at, &mut tell);
        let news = News { at, interface: 0, src, dst, kind: Wrapping::Gre };
        known.note(news, Uid::default, &mut tell);
        told
    }

    #[test]
    fn a_tunnel_is_told_once_for_both_directions_and_when_it_expires() {
        let mut known = Known::new(1024);
        assert_eq!(note(&mut known, 0, 1, 2), ["Tunnel::DISCOVER ::1"]);
        assert!(note(&mut known, 3000, 2, 1).is_empty());
        assert_eq!(note(&mut known, 4000, 3, 1), ["Tunnel::DISCOVER ::3"]);
        assert_eq!(note(&mut known, 7000, 1, 3), ["Tunnel::EXPIRE ::1"]);
        assert_eq!(note(&mut known, 7001, 2, 1), ["Tunnel::DISCOVER ::2"]);
    }

    #[test]
    fn tunnels_are_bounded() {
        let mut known = Known::new(1024);
        let told: usize = (0..3000).map(|n| note(&mut known, n, 1, 10 + n as u128).len()).sum();
        assert_eq!((told, known.index.len(), known.entries.len()), (3000 + 3000 - 1024, 1024, 1024));
        assert_eq!(known.evicted, 3000 - 1024);
    }
}
