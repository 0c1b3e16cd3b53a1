//! A small map with a cap. At the cap the least grown of a few candidates makes room, so that decoys push out decoys and not
//! the key that matters; candidates come round in turn, so that the result depends on the input alone.

use std::collections::HashMap;
use std::hash::Hash;

use slips_core::hash::KeyedState;

/// Up to so many entries are searched one by one.
const LINEAR: usize = 16;
/// Candidates looked at for one place.
const CANDIDATES: usize = 8;

/// A map of at most `cap` keys.
#[derive(Debug)]
pub struct Table<K, V> {
    entries: Vec<(K, V)>,
    #[expect(
        clippy::box_collection,
        reason = "most tables never need it; eight bytes instead of fifty in every profile"
    )]
    index: Option<Box<HashMap<K, u32, KeyedState>>>,
    hand: u32,
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self { entries: Vec::new(), index: None, hand: 0 }
    }
}

impl<K: Copy + Eq + Hash, V: Default> Table<K, V> {
    /// How many keys there are.
    pub const fn len(&self) -> usize {
        self.entries.len()
    }

    fn place(&self, key: &K) -> Option<usize> {
        match &self.index {
            Some(index) => index.get(key).map(|at| *at as usize),
            None => self.entries.iter().position(|(known, _)| known == key),
        }
    }

    /// The value of `key`.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let at = self.place(key)?;
        self.entries.get_mut(at).map(|(_, value)| value)
    }

    /// The value of `key`, made if there is none. `grown` says how much an entry would be missed.
    pub fn get_or_insert(&mut self, key: K, cap: usize, grown: impl Fn(&V) -> u64) -> Option<&mut V> {
        let at = match self.place(&key) {
            Some(at) => at,
            None if self.entries.len() < cap => self.append(key),
            None => self.replace(key, grown)?,
        };
        self.entries.get_mut(at).map(|(_, value)| value)
    }

    fn append(&mut self, key: K) -> usize {
        let at = self.entries.len();
        if at == 0 {
            self.entries.reserve_exact(1);
        }
        self.entries.push((key, V::default()));
        if let Some(index) = &mut self.index {
            index.insert(key, at as u32);
        } else if at >= LINEAR {
            let all = self.entries.iter().enumerate().map(|(at, (key, _))| (*key, at as u32));
            self.index = Some(Box::new(all.collect()));
        }
        at
    }

    fn replace(&mut self, key: K, grown: impl Fn(&V) -> u64) -> Option<usize> {
        let len = self.entries.len();
        let start = self.hand as usize;
        let at = (start..start + CANDIDATES.min(len))
            .map(|at| at % len)
            .min_by_key(|at| self.entries.get(*at).map_or(u64::MAX, |(_, value)| grown(value)))?;
        self.hand = ((start + CANDIDATES) % len) as u32;
        let entry = self.entries.get_mut(at)?;
        if let Some(index) = &mut self.index {
            index.remove(&entry.0);
            index.insert(key, at as u32);
        }
        *entry = (key, V::default());
        Some(at)
    }

    /// Removes a key.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let at = self.place(key)?;
        let (_, value) = self.entries.swap_remove(at);
        if let Some(index) = &mut self.index {
            index.remove(key);
            if let Some((moved, _)) = self.entries.get(at) {
                index.insert(*moved, at as u32);
            }
        }
        Some(value)
    }

    /// Keeps only the values that `keep` says; whether any are left. What the others took is given back.
    pub fn retain(&mut self, mut keep: impl FnMut(&V) -> bool) -> bool {
        let before = self.entries.len();
        self.entries.retain(|(_, value)| keep(value));
        if self.entries.len() < before {
            self.entries.shrink_to_fit();
            self.hand = 0;
            self.index = (self.entries.len() > LINEAR).then(|| {
                let all = self.entries.iter().enumerate().map(|(at, (key, _))| (*key, at as u32));
                Box::new(all.collect())
            });
        }
        !self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_behaves_as_a_map_below_its_cap() {
        let mut table: Table<u32, u64> = Table::default();
        for round in 1..=2 {
            for key in 0..100 {
                *table.get_or_insert(key, 200, |v| *v).expect("room") += u64::from(key);
                assert_eq!(table.get_mut(&key).copied(), Some(u64::from(key) * round));
            }
        }
        assert_eq!(table.remove(&0), Some(0));
        assert_eq!(table.remove(&99), Some(198));
        assert_eq!(table.get_mut(&98).copied(), Some(196));
        assert_eq!((table.entries.len(), table.get_mut(&99)), (98, None));
    }

    #[test]
    fn what_is_not_kept_gives_its_room_back() {
        let mut table: Table<u32, u64> = Table::default();
        for key in 0..100 {
            *table.get_or_insert(key, 200, |v| *v).expect("room") = u64::from(key);
        }
        for (kept, indexed) in [(50, true), (10, false)] {
            assert!(table.retain(|value| *value < kept));
            assert_eq!((table.len() as u64, table.entries.capacity() as u64), (kept, kept));
            assert_eq!(table.index.is_some(), indexed);
            let kept = kept as u32;
            assert_eq!((table.get_mut(&(kept - 1)).is_some(), table.get_mut(&kept)), (true, None));
        }
        assert!(!table.retain(|_| false));
        assert_eq!((table.len(), table.entries.capacity()), (0, 0));
        assert!(table.get_or_insert(7, 200, |v| *v).is_some());
    }

    #[test]
    fn decoys_never_push_out_what_has_grown() {
        let mut table: Table<u32, u64> = Table::default();
        for key in 0..32 {
            table.get_or_insert(key, 32, |v| *v);
        }
        *table.get_mut(&7).expect("there") = 50;
        for decoy in 1000..5000 {
            table.get_or_insert(decoy, 32, |v| *v);
        }
        assert_eq!(table.get_mut(&7).copied(), Some(50));
        assert_eq!(table.entries.len(), 32);
    }
}
