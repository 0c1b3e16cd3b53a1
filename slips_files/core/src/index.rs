//! From the keyed hash of a thing to its slot in a table of bounded size: open addressing with linear probing.
//!
//! An entry is eight bytes and holds 32 bits of the hash beside the slot, so that neither a search for what is not there nor a
//! removal touches the things themselves: in a flood every packet is such a search. Its memory is reserved at once, and the system
//! gives pages when they are touched.

/// The index. An entry is `hash << 32 | slot + 1`; zero is empty.
#[derive(Debug)]
pub struct Index {
    entries: Vec<u64>,
    mask: usize,
}

impl Index {
    /// An index for at most `max` things, never more than half full.
    pub fn new(max: usize) -> Self {
        let size = max.next_power_of_two().saturating_mul(2);
        Self { entries: vec![0; size], mask: size - 1 }
    }

    const fn home(&self, hash: u32) -> usize {
        hash as usize & self.mask
    }

    fn entry(&self, at: usize) -> u64 {
        self.entries.get(at).copied().unwrap_or(0)
    }

    fn set(&mut self, at: usize, entry: u64) {
        if let Some(place) = self.entries.get_mut(at) {
            *place = entry;
        }
    }

    /// The slots whose things have this hash, until `accept` takes one.
    pub fn find<T>(&self, hash: u32, mut accept: impl FnMut(u32) -> Option<T>) -> Option<T> {
        let mut at = self.home(hash);
        loop {
            let entry = self.entry(at);
            if entry == 0 {
                return None;
            }
            if (entry >> 32) as u32 == hash
                && let Some(found) = accept((entry as u32).wrapping_sub(1))
            {
                return Some(found);
            }
            at = (at + 1) & self.mask;
        }
    }

    /// Adds a slot; the index is not full.
    pub fn insert(&mut self, hash: u32, slot: u32) {
        let mut at = self.home(hash);
        while self.entry(at) != 0 {
            at = (at + 1) & self.mask;
        }
        self.set(at, u64::from(hash) << 32 | u64::from(slot.wrapping_add(1)));
    }

    /// Removes a slot that is there.
    pub fn remove(&mut self, hash: u32, slot: u32) {
        let entry = u64::from(hash) << 32 | u64::from(slot.wrapping_add(1));
        let mut hole = self.home(hash);
        while self.entry(hole) != entry {
            if self.entry(hole) == 0 {
                return;
            }
            hole = (hole + 1) & self.mask;
        }
        // Entries behind the hole move into it, unless that would take them before their home.
        let mut at = hole;
        loop {
            at = (at + 1) & self.mask;
            let next = self.entry(at);
            if next == 0 {
                break;
            }
            let from_home = at.wrapping_sub(self.home((next >> 32) as u32)) & self.mask;
            let from_hole = at.wrapping_sub(hole) & self.mask;
            if from_home >= from_hole {
                self.set(hole, next);
                hole = at;
            }
        }
        self.set(hole, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn it_agrees_with_a_map_under_collisions() {
        let mut index = Index::new(64);
        let mut model: HashMap<u32, u32> = HashMap::new();
        let mut noise = 7u64;
        for _ in 0..20_000 {
            noise = noise.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(9);
            let slot = (noise >> 40) as u32 % 64;
            match model.remove(&slot) {
                Some(hash) => index.remove(hash, slot),
                None => {
                    let hash = (noise >> 20) as u32 % 20 + 120; // crowded, across the wrap
                    index.insert(hash, slot);
                    model.insert(slot, hash);
                }
            }
            for (slot, hash) in &model {
                assert_eq!(index.find(*hash, |found| (found == *slot).then_some(())), Some(()));
            }
        }
        for (slot, hash) in model {
            index.remove(hash, slot);
        }
        assert!(index.entries.iter().all(|entry| *entry == 0));
    }
}
