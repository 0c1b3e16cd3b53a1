//! The flow table: a slab of tracks, a keyed hash index over it, and the order in which they are evicted.
//!
//! Its memory is reserved for `max_flows` at the start (the system gives pages only when they are touched), so it never
//! moves and never grows.

use slips_core::index::Index;
use slips_core::time::PacketTime;

use crate::hash::Sip;
use crate::list::{List, NIL};
use crate::track::{BY_AGE, Dir, Key, Kind, Track};

/// Flows that got packets lately are passed over this often when one must be evicted.
const SECOND_CHANCES: usize = 16;

/// The flows being tracked.
#[derive(Debug)]
pub(crate) struct Table {
    tracks: Vec<Track>,
    free: Vec<u32>,
    index: Index,
    unanswered: List,
    answered: List,
    key: [u64; 2],
    max: usize,
    live: usize,
}

impl Table {
    pub(crate) fn new(max: u32, key: [u64; 2]) -> Self {
        let max = max.clamp(1, NIL - 1) as usize;
        Self {
            tracks: Vec::with_capacity(max),
            free: Vec::new(),
            index: Index::new(max),
            unanswered: List::EMPTY,
            answered: List::EMPTY,
            key,
            max,
            live: 0,
        }
    }

    /// The same for both directions of a flow.
    pub(crate) fn hash(&self, key: &Key) -> u64 {
        let mut sip = Sip::new(self.key);
        let forward = (key.src, key.src_port) <= (key.dst, key.dst_port) || key.kind == Kind::IcmpOneWay;
        let (low, high, low_port, high_port) = if forward {
            (key.src, key.dst, key.src_port, key.dst_port)
        } else {
            (key.dst, key.src, key.dst_port, key.src_port)
        };
        let ports = u64::from(low_port) << 32
            | u64::from(high_port) << 16
            | u64::from(key.tunnelled) << 8
            | u64::from(key.proto);
        if low >> 32 == 0xffff && high >> 32 == 0xffff {
            sip.word(u64::from(low as u32) << 32 | u64::from(high as u32));
        } else {
            sip.word((low >> 64) as u64);
            sip.word(low as u64);
            sip.word((high >> 64) as u64);
            sip.word(high as u64);
        }
        sip.word(ports);
        sip.finish()
    }

    /// The flow to which a packet with `key` belongs, and its direction there.
    pub(crate) fn find(&self, hash: u64, key: &Key) -> Option<(u32, Dir)> {
        self.index.find(hash as u32, |at| Some((at, self.tracks.get(at as usize)?.direction(key)?)))
    }

    pub(crate) fn is_full(&self) -> bool {
        self.live >= self.max
    }

    /// From now on there is room for so many, of those that it was made for.
    pub(crate) fn set_max(&mut self, max: u32) {
        self.max = (max.max(1) as usize).min(self.tracks.capacity());
    }

    /// More are tracked than there is room for.
    pub(crate) fn is_crowded(&self) -> bool {
        self.live > self.max
    }

    pub(crate) fn live(&self) -> usize {
        self.live
    }

    /// All slots, for the lists that run through them.
    pub(crate) fn tracks(&mut self) -> &mut [Track] {
        &mut self.tracks
    }

    pub(crate) fn get(&mut self, index: u32) -> Option<&mut Track> {
        self.tracks.get_mut(index as usize).filter(|track| track.live)
    }

    /// Opens a flow; the table is not full.
    pub(crate) fn open(&mut self, hash: u64, key: &Key, at: PacketTime) -> u32 {
        let track = Track::new(key, hash as u32, at);
        let index = match self.free.pop() {
            Some(index) => {
                if let Some(slot) = self.tracks.get_mut(index as usize) {
                    *slot = track;
                }
                index
            }
            None => {
                self.tracks.push(track);
                (self.tracks.len() - 1) as u32
            }
        };
        self.index.insert(hash as u32, index);
        self.unanswered.push_back::<BY_AGE, Track>(&mut self.tracks, index);
        self.live += 1;
        index
    }

    /// The responder was heard: the flow is now evicted later than all unanswered ones.
    pub(crate) fn answered(&mut self, index: u32) {
        let Some(track) = self.tracks.get_mut(index as usize) else { return };
        if std::mem::replace(&mut track.in_unanswered, false) {
            // It goes to the end of the order for this packet; a second chance is for those that come after it.
            track.touched = false;
            self.unanswered.remove::<BY_AGE, Track>(&mut self.tracks, index);
            self.answered.push_back::<BY_AGE, Track>(&mut self.tracks, index);
        }
    }

    /// The flow to give up when there is no room: the oldest unanswered one, else an old one without recent packets.
    pub(crate) fn victim(&mut self) -> Option<u32> {
        if self.unanswered.head != NIL {
            return Some(self.unanswered.head);
        }
        for _ in 0..SECOND_CHANCES {
            let head = self.answered.head;
            let track = self.tracks.get_mut(head as usize)?;
            if !std::mem::replace(&mut track.touched, false) {
                return Some(head);
            }
            self.answered.remove::<BY_AGE, Track>(&mut self.tracks, head);
            self.answered.push_back::<BY_AGE, Track>(&mut self.tracks, head);
        }
        Some(self.answered.head).filter(|head| *head != NIL)
    }

    /// Any flow that is still tracked, the oldest unanswered first.
    pub(crate) fn any(&self) -> Option<u32> {
        [self.unanswered.head, self.answered.head].into_iter().find(|head| *head != NIL)
    }

    /// Forgets a flow; its slot is free again.
    pub(crate) fn close(&mut self, index: u32) {
        let Some(track) = self.tracks.get_mut(index as usize).filter(|track| track.live) else { return };
        track.live = false;
        let (hash, unanswered) = (track.hash, track.in_unanswered);
        let list = if unanswered { &mut self.unanswered } else { &mut self.answered };
        list.remove::<BY_AGE, Track>(&mut self.tracks, index);
        self.index.remove(hash, index);
        self.free.push(index);
        self.live -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u16) -> Key {
        Key { src: 10, dst: 20, src_port: n, dst_port: 80, proto: 6, kind: Kind::Tcp, tunnelled: false }
    }

    #[test]
    fn both_directions_find_the_flow_until_it_is_closed() {
        let mut table = Table::new(4, [1, 2]);
        let reverse = |key: Key| Key {
            src: key.dst,
            dst: key.src,
            src_port: key.dst_port,
            dst_port: key.src_port,
            ..key
        };
        for n in 0..4 {
            let hash = table.hash(&key(n));
            assert_eq!(hash, table.hash(&reverse(key(n))));
            assert_eq!(table.open(hash, &key(n), PacketTime(0)), u32::from(n));
        }
        assert!(table.is_full());
        for n in 0..4 {
            let hash = table.hash(&key(n));
            assert_eq!(table.find(hash, &key(n)), Some((u32::from(n), Dir::Orig)));
            assert_eq!(table.find(hash, &reverse(key(n))), Some((u32::from(n), Dir::Resp)));
        }
        table.close(2);
        assert_eq!(table.find(table.hash(&key(2)), &key(2)), None);
        assert_eq!(table.find(table.hash(&key(3)), &key(3)), Some((3, Dir::Orig)));
    }

    #[test]
    fn unanswered_flows_go_first_and_busy_ones_last() {
        let mut table = Table::new(4, [1, 2]);
        for n in 0..4 {
            let hash = table.hash(&key(n));
            table.open(hash, &key(n), PacketTime(0));
        }
        table.answered(0);
        table.answered(1);
        table.answered(3);
        assert_eq!(table.victim(), Some(2));
        table.close(2);
        table.get(0).expect("flow").touched = true;
        assert_eq!(table.victim(), Some(1));
    }
}
