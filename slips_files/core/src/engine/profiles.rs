//! The router's table of profiles: every address has a slot, slots are dense and bounded, the one idle longest makes room.
//!
//! Local and remote addresses are bounded apart, and in each class those that took part in a real exchange (settled) make room
//! last: a flood of forged senders evicts strangers only, never a local host nor whom it talks with.

use std::hash::BuildHasher;
use std::net::IpAddr;

use crate::detector::{LINK, Slot};
use crate::flow::MacAddr;
use crate::hash::KeyedState;
use crate::index::Index;
use crate::time::{PacketTime, WindowId};

/// The slot of the link as a whole, which is no address and makes room for none.
pub(super) const LINK_SLOT: Slot = Slot(0);

const NONE: u32 = u32::MAX;
/// Addresses of a class beyond which a limit is none: the index would take gigabytes.
const MAX_ADDRESSES: usize = 1 << 26;

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
    settled: bool,
    /// Hash of the address, as the index knows it.
    hash: u32,
    prev: u32,
    next: u32,
}

impl Profile {
    const fn new(addr: IpAddr, local: bool, hash: u32) -> Self {
        Self {
            addr,
            local,
            window: WindowId(i64::MIN),
            talked: PacketTime::MIN,
            mac: None,
            mac_seen: PacketTime::MIN,
            settled: false,
            hash,
            prev: NONE,
            next: NONE,
        }
    }
}

/// A list of slots, most recently used first.
#[derive(Debug)]
struct Recency {
    head: u32,
    tail: u32,
    len: usize,
}

impl Recency {
    const EMPTY: Self = Self { head: NONE, tail: NONE, len: 0 };
}

/// The addresses of one class.
#[derive(Debug)]
struct Class {
    strangers: Recency,
    settled: Recency,
    limit: usize,
    /// The limit that it was made with.
    whole: usize,
    evicted: u64,
}

impl Class {
    fn new(limit: usize) -> Self {
        let limit = limit.clamp(2, MAX_ADDRESSES);
        Self { strangers: Recency::EMPTY, settled: Recency::EMPTY, limit, whole: limit, evicted: 0 }
    }

    const fn len(&self) -> usize {
        self.strangers.len + self.settled.len
    }

    fn list(&mut self, settled: bool) -> &mut Recency {
        if settled { &mut self.settled } else { &mut self.strangers }
    }

    /// Who makes room, when the class is full.
    fn victim(&self) -> Option<u32> {
        (self.len() >= self.limit).then(|| self.idle_longest())
    }

    /// The stranger idle longest. Where there is none, or more are settled than may be, which a smaller limit leaves behind, whoever of
    /// these is.
    const fn idle_longest(&self) -> u32 {
        let of_settled = self.strangers.len == 0 || self.settled.len > self.most_settled();
        if of_settled { self.settled.tail } else { self.strangers.tail }
    }

    /// Most that are settled: strangers always have a quarter of the room, or none could be judged.
    const fn most_settled(&self) -> usize {
        self.limit - self.limit.div_ceil(4)
    }
}

/// A profile was found or made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    pub(super) slot: Slot,
    pub(super) new: bool,
    /// The slot was taken from another address, whose state must go.
    pub(super) evicted: bool,
    /// The hardware address that the other one owned.
    pub(super) evicted_mac: Option<MacAddr>,
}

#[derive(Debug)]
pub(super) struct Profiles {
    hasher: KeyedState,
    index: Index,
    slots: Vec<Profile>,
    /// Slots of addresses that were retired.
    free: Vec<u32>,
    local: Class,
    remote: Class,
}

impl Profiles {
    pub(super) fn new(local_limit: usize, remote_limit: usize) -> Self {
        let (local, remote) = (Class::new(local_limit), Class::new(remote_limit));
        Self {
            hasher: KeyedState::default(),
            index: Index::new(local.limit.saturating_add(remote.limit)),
            slots: vec![Profile::new(LINK, false, 0)],
            free: Vec::new(),
            local,
            remote,
        }
    }

    /// How many local and remote addresses made room so far.
    pub(super) const fn evicted(&self) -> (u64, u64) {
        (self.local.evicted, self.remote.evicted)
    }

    /// The slot of `addr`, made if there is none; marks it as just used.
    pub(super) fn touch(&mut self, addr: IpAddr, is_local: impl FnOnce(IpAddr) -> bool) -> Found {
        let key = key_of(addr);
        let hash = self.hasher.hash_one(key) as u32;
        let slots = &self.slots;
        let is_it =
            |slot: u32| slots.get(slot as usize).filter(|entry| key_of(entry.addr) == key).map(|_| slot);
        if let Some(slot) = self.index.find(hash, is_it) {
            self.move_to_front(slot);
            return Found { slot: Slot(slot), new: false, evicted: false, evicted_mac: None };
        }
        let local = is_local(addr);
        let fresh = Profile::new(addr, local, hash);
        let class = if local { &mut self.local } else { &mut self.remote };
        let victim = class.victim();
        let mut evicted_mac = None;
        let slot = match victim {
            Some(slot) => {
                class.evicted += 1;
                self.unlink(slot);
                if let Some(old) = self.slots.get_mut(slot as usize) {
                    self.index.remove(old.hash, slot);
                    evicted_mac = old.mac;
                    *old = fresh;
                }
                slot
            }
            None => match self.free.pop() {
                Some(slot) => {
                    if let Some(place) = self.slots.get_mut(slot as usize) {
                        *place = fresh;
                    }
                    slot
                }
                None => {
                    self.slots.push(fresh);
                    (self.slots.len() - 1) as u32
                }
            },
        };
        self.index.insert(hash, slot);
        self.link_front(slot);
        Found { slot: Slot(slot), new: true, evicted: victim.is_some(), evicted_mac }
    }

    /// From now on remote addresses have so many percent of their room.
    pub(super) fn set_share(&mut self, percent: u8) {
        self.remote.limit = (self.remote.whole * usize::from(percent.min(100)) / 100).max(2);
    }

    /// Forgets the remote address idle longest, if there are more than there is room for; its slot, whose state must go, and the hardware
    /// address that it owned.
    pub(super) fn retire(&mut self) -> Option<(Slot, Option<MacAddr>)> {
        if self.remote.len() <= self.remote.limit {
            return None;
        }
        let slot = self.remote.idle_longest();
        self.unlink(slot);
        self.remote.evicted += 1;
        let profile = self.slots.get(slot as usize)?;
        self.index.remove(profile.hash, slot);
        self.free.push(slot);
        Some((Slot(slot), profile.mac))
    }

    /// Forgets who was filed as local or remote and is the other by now; their slots, and the hardware addresses that they owned.
    pub(super) fn refile(&mut self, is_local: impl Fn(IpAddr) -> bool) -> Vec<(Slot, Option<MacAddr>)> {
        let heads = [&self.local, &self.remote].map(|class| [class.strangers.head, class.settled.head]);
        let mut wrong = Vec::new();
        for head in heads.into_iter().flatten() {
            let mut next = head;
            while let Some(profile) = self.slots.get(next as usize).filter(|_| next != NONE) {
                if is_local(profile.addr) != profile.local {
                    wrong.push((Slot(next), profile.mac, profile.hash));
                }
                next = profile.next;
            }
        }
        for (slot, _, hash) in &wrong {
            self.unlink(slot.0);
            self.index.remove(*hash, slot.0);
            self.free.push(slot.0);
        }
        wrong.into_iter().map(|(slot, mac, _)| (slot, mac)).collect()
    }

    /// Notes that the address took part in a real exchange. When too many did, the one idle longest is a stranger again.
    pub(super) fn settle(&mut self, slot: Slot) {
        let Some(entry) = self.slots.get(slot.index()).filter(|entry| !entry.settled) else { return };
        let local = entry.local;
        self.put(slot.0, true);
        let class = if local { &self.local } else { &self.remote };
        if class.settled.len > class.most_settled() {
            self.put(class.settled.tail, false);
        }
    }

    fn put(&mut self, slot: u32, settled: bool) {
        self.unlink(slot);
        if let Some(entry) = self.slots.get_mut(slot as usize) {
            entry.settled = settled;
        }
        self.link_front(slot);
    }

    pub(super) fn get_mut(&mut self, slot: Slot) -> Option<&mut Profile> {
        self.slots.get_mut(slot.index())
    }

    pub(super) fn get(&self, slot: Slot) -> Option<&Profile> {
        self.slots.get(slot.index())
    }

    fn move_to_front(&mut self, slot: u32) {
        // The head of a list has nobody before it.
        if self.slots.get(slot as usize).is_some_and(|entry| entry.prev == NONE) {
            return;
        }
        self.unlink(slot);
        self.link_front(slot);
    }

    fn unlink(&mut self, slot: u32) {
        let Some(entry) = self.slots.get(slot as usize) else { return };
        let (prev, next, local, settled) = (entry.prev, entry.next, entry.local, entry.settled);
        let list = if local { self.local.list(settled) } else { self.remote.list(settled) };
        match self.slots.get_mut(prev as usize) {
            Some(before) => before.next = next,
            None => list.head = next,
        }
        match self.slots.get_mut(next as usize) {
            Some(after) => after.prev = prev,
            None => list.tail = prev,
        }
        list.len -= 1;
    }

    fn link_front(&mut self, slot: u32) {
        let Some(entry) = self.slots.get_mut(slot as usize) else { return };
        let list = if entry.local { self.local.list(entry.settled) } else { self.remote.list(entry.settled) };
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
        assert_eq!(profiles.evicted(), (0, 97));
        assert_eq!(profiles.slots.len(), 1 + 4, "and the link's");
    }

    #[test]
    fn whoever_becomes_ours_or_a_stranger_is_filed_anew() {
        let mut profiles = Profiles::new(8, 8);
        let kept = profiles.touch(local(1), is_local).slot;
        let gone: Vec<Slot> = (1..4).map(|n| profiles.touch(remote(n), is_local).slot).collect();
        profiles.settle(gone[1]);
        assert!(profiles.refile(is_local).is_empty());
        let all_ours = |_| true;
        let mut refiled: Vec<u32> = profiles.refile(all_ours).into_iter().map(|(slot, _)| slot.0).collect();
        refiled.sort_unstable();
        assert_eq!(refiled, gone.iter().map(|slot| slot.0).collect::<Vec<_>>());
        assert_eq!((profiles.remote.len(), profiles.local.len()), (0, 1));
        let again = profiles.touch(remote(2), all_ours);
        assert!(again.new && profiles.get(again.slot).is_some_and(|profile| profile.local));
        assert_eq!(profiles.touch(local(1), all_ours).slot, kept);
        assert_eq!(profiles.evicted(), (0, 0), "nobody had to make room");
    }

    #[test]
    fn whoever_took_part_in_an_exchange_makes_room_last() {
        let mut profiles = Profiles::new(8, 8);
        for n in 0..4 {
            let partner = profiles.touch(remote(n), is_local).slot;
            profiles.settle(partner);
            profiles.settle(partner);
            let host = profiles.touch(local(n), is_local).slot;
            profiles.settle(host);
        }
        for n in 4..200 {
            profiles.touch(remote(n), is_local);
            profiles.touch(local(n), is_local);
        }
        for n in 0..4 {
            assert!(!profiles.touch(remote(n), is_local).new, "partner {n}");
            assert!(!profiles.touch(local(n), is_local).new, "host {n}");
        }
        // When all would be settled, strangers still have their share.
        for n in 100..120 {
            let slot = profiles.touch(remote(n), is_local).slot;
            profiles.settle(slot);
        }
        assert_eq!((profiles.remote.settled.len, profiles.remote.strangers.len), (6, 2));
        assert_eq!(profiles.slots.len(), 1 + 16);
    }

    #[test]
    fn with_less_room_the_idle_are_retired_strangers_first_and_their_slots_are_used_again() {
        let mut profiles = Profiles::new(8, 200);
        let host = profiles.touch(local(1), is_local).slot;
        let partner = profiles.touch(remote(1), is_local).slot;
        profiles.settle(partner);
        for n in 2..=200 {
            profiles.touch(remote(n), is_local);
        }
        assert_eq!(profiles.retire(), None);
        profiles.set_share(25);
        let retired = std::iter::from_fn(|| profiles.retire()).count();
        assert_eq!((retired, profiles.remote.len(), profiles.evicted()), (150, 50, (0, 150)));
        assert!(!profiles.touch(remote(1), is_local).new, "a partner goes last");
        assert!(!profiles.touch(remote(200), is_local).new, "who was here last goes late");
        assert_eq!(profiles.touch(local(1), is_local).slot, host);
        assert!(profiles.touch(remote(2), is_local).evicted, "there is no more room than that");
        profiles.set_share(100);
        let slots = profiles.slots.len();
        for n in 2..=150 {
            assert!(!profiles.touch(remote(n), is_local).evicted, "{n}");
        }
        assert_eq!(profiles.slots.len(), slots, "the old slots are used again");
        assert_eq!(profiles.retire(), None);
    }

    #[test]
    fn with_less_room_strangers_still_have_their_quarter() {
        let settled_and_strangers = |strangers: u8| {
            let mut profiles = Profiles::new(8, 100);
            for n in 0..75 {
                let partner = profiles.touch(remote(n), is_local).slot;
                profiles.settle(partner);
            }
            for n in 100..100 + strangers {
                profiles.touch(remote(n), is_local);
            }
            profiles.set_share(75);
            while profiles.retire().is_some() {}
            profiles
        };
        let lens = |profiles: &Profiles| (profiles.remote.settled.len, profiles.remote.strangers.len);
        let mut profiles = settled_and_strangers(25);
        assert_eq!(lens(&profiles), (56, 19));
        assert!(!profiles.touch(remote(74), is_local).new && !profiles.touch(remote(124), is_local).new);
        assert!(profiles.touch(remote(0), is_local).new, "the partner idle longest went");
        // Nobody had to go, and yet those who come have their part in the end.
        let mut profiles = settled_and_strangers(0);
        assert_eq!(lens(&profiles), (75, 0));
        for n in 100..200 {
            profiles.touch(remote(n), is_local);
        }
        assert_eq!(lens(&profiles), (56, 19));
        profiles.set_share(25);
        while profiles.retire().is_some() {}
        assert_eq!(lens(&profiles), (18, 7));
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
