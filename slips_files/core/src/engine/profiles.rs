//! The router's table of profiles: every address has a slot, slots are dense and bounded, the one idle longest makes room.
//!
//! Local and remote addresses are bounded apart, so that a flood of forged senders evicts strangers only.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::detector::Slot;
use crate::flow::MacAddr;
use crate::hash::KeyedState;
use crate::time::{PacketTime, WindowId};

const NONE: u32 = u32::MAX;

/// What the router keeps of one address.
#[derive(Debug)]
pub(super) struct Profile {
    pub(super) addr: IpAddr,
    pub(super) local: bool,
    /// The latest window in which it was counted.
    pub(super) window: WindowId,
    /// When a local host last began a conversation with it that it answered.
    pub(super) talked: PacketTime,
    /// Hardware address that first used this address on the link.
    pub(super) mac: Option<MacAddr>,
    /// When that hardware address was last seen to use it.
    pub(super) mac_seen: PacketTime,
    prev: u32,
    next: u32,
}

/// A list of slots, most recently used first.
#[derive(Debug)]
struct Recency {
    head: u32,
    tail: u32,
    len: usize,
    limit: usize,
}

impl Recency {
    fn new(limit: usize) -> Self {
        Self { head: NONE, tail: NONE, len: 0, limit: limit.max(1) }
    }
}

/// A profile was found or made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    pub(super) slot: Slot,
    pub(super) new: bool,
    /// The slot was taken from another address, whose state must go.
    pub(super) evicted: bool,
}

#[derive(Debug)]
pub(super) struct Profiles {
    index: HashMap<u128, u32, KeyedState>,
    slots: Vec<Profile>,
    local: Recency,
    remote: Recency,
    pub(super) evicted_local: u64,
    pub(super) evicted_remote: u64,
}

impl Profiles {
    pub(super) fn new(local_limit: usize, remote_limit: usize) -> Self {
        Self {
            index: HashMap::default(),
            slots: Vec::new(),
            local: Recency::new(local_limit),
            remote: Recency::new(remote_limit),
            evicted_local: 0,
            evicted_remote: 0,
        }
    }

    /// The slot of `addr`, made if there is none; marks it as just used.
    pub(super) fn touch(&mut self, addr: IpAddr, is_local: impl FnOnce(IpAddr) -> bool) -> Found {
        let key = key_of(addr);
        if let Some(&slot) = self.index.get(&key) {
            self.move_to_front(slot);
            return Found { slot: Slot(slot), new: false, evicted: false };
        }
        let local = is_local(addr);
        let list = if local { &self.local } else { &self.remote };
        let fresh = Profile {
            addr,
            local,
            window: WindowId(i64::MIN),
            talked: PacketTime::MIN,
            mac: None,
            mac_seen: PacketTime::MIN,
            prev: NONE,
            next: NONE,
        };
        let full = list.len >= list.limit;
        let slot = if full {
            let slot = list.tail;
            self.unlink(slot);
            if local {
                self.evicted_local += 1;
            } else {
                self.evicted_remote += 1;
            }
            if let Some(old) = self.slots.get_mut(slot as usize) {
                self.index.remove(&key_of(old.addr));
                *old = fresh;
            }
            slot
        } else {
            self.slots.push(fresh);
            (self.slots.len() - 1) as u32
        };
        self.index.insert(key, slot);
        self.link_front(slot);
        Found { slot: Slot(slot), new: true, evicted: full }
    }

    pub(super) fn get_mut(&mut self, slot: Slot) -> Option<&mut Profile> {
        self.slots.get_mut(slot.index())
    }

    pub(super) fn get(&self, slot: Slot) -> Option<&Profile> {
        self.slots.get(slot.index())
    }

    fn move_to_front(&mut self, slot: u32) {
        if self.local.head == slot || self.remote.head == slot {
            return;
        }
        self.unlink(slot);
        self.link_front(slot);
    }

    fn unlink(&mut self, slot: u32) {
        let Some(entry) = self.slots.get(slot as usize) else { return };
        let (prev, next, local) = (entry.prev, entry.next, entry.local);
        match self.slots.get_mut(prev as usize) {
            Some(before) => before.next = next,
            None if local => self.local.head = next,
            None => self.remote.head = next,
        }
        match self.slots.get_mut(next as usize) {
            Some(after) => after.prev = prev,
            None if local => self.local.tail = prev,
            None => self.remote.tail = prev,
        }
        let list = if local { &mut self.local } else { &mut self.remote };
        list.len -= 1;
    }

    fn link_front(&mut self, slot: u32) {
        let Some(entry) = self.slots.get_mut(slot as usize) else { return };
        let list = if entry.local { &mut self.local } else { &mut self.remote };
        entry.prev = NONE;
        entry.next = list.head;
        let old_head = std::mem::replace(&mut list.head, slot);
        list.len += 1;
        if list.tail == NONE {
            list.tail = slot;
        }
        if let Some(head) = self.slots.get_mut(old_head as usize) {
            head.prev = slot;
        }
    }
}

fn key_of(addr: IpAddr) -> u128 {
    match addr {
        IpAddr::V4(v4) => u128::from(v4.to_bits()) | (0xffff << 32),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn remote(n: u8) -> IpAddr {
        IpAddr::from([203, 0, 113, n])
    }
    fn local(n: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, n])
    }
    fn is_local(addr: IpAddr) -> bool {
        addr.to_string().starts_with("10.")
    }

    #[test]
    fn a_flood_of_strangers_evicts_strangers_only() {
        let mut profiles = Profiles::new(2, 3);
        let first = profiles.touch(local(1), is_local);
        for n in 0..100 {
            profiles.touch(remote(n), is_local);
        }
        let again = profiles.touch(local(1), is_local);
        assert!(!again.new);
        assert_eq!(again.slot, first.slot);
        assert_eq!(profiles.evicted_remote, 97);
        assert_eq!(profiles.evicted_local, 0);
        assert_eq!(profiles.slots.len(), 4);
    }

    proptest! {
        /// The table forgets exactly what a naive list, most recent first, would forget.
        #[test]
        fn forgets_like_a_naive_list(touches in proptest::collection::vec(0u8..12, 1..200)) {
            let mut profiles = Profiles::new(4, 4);
            let mut naive: Vec<u8> = Vec::new();
            for n in touches {
                let found = profiles.touch(remote(n), |_| false);
                let known = naive.iter().position(|x| *x == n);
                prop_assert_eq!(found.new, known.is_none());
                if let Some(at) = known { naive.remove(at); }
                prop_assert_eq!(found.evicted, known.is_none() && naive.len() == 4);
                naive.truncate(if known.is_none() { 3 } else { 4 });
                naive.insert(0, n);
                prop_assert_eq!(profiles.get(found.slot).map(|p| p.addr), Some(remote(n)));
            }
        }
    }
}
