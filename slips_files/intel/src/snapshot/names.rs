//! A table of texts: domains, URLs, fingerprints that are no plain numbers. Open addressing over groups of eight; a lookup touches one or
//! two cache lines for a name that is not there and two more for one that is, and allocates nothing.

use std::hash::{BuildHasher, Hasher};

use slips_core::hash::{KeyedHasher, KeyedState};

use super::marks::Texts;

/// Set in a mark: the name stands for itself only, not for what is below it.
pub(crate) const ALONE: u32 = 1 << 31;
/// Most names of one table.
pub(crate) const MAX_NAMES: usize = (1 << 24) - 2;
/// Most labels of a name that are looked at, from the right: no more fit in 255 bytes.
const MAX_LABELS: usize = 128;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    pub(crate) key: KeyedState,
    /// A power of two of them.
    pub(crate) groups: Vec<Group>,
    /// What the groups hold, in their order: for each name its mark, its length and itself, so that a name that is found costs one place in
    /// memory beyond its group.
    pub(crate) records: Vec<u8>,
    pub(crate) count: usize,
    /// The longest way from the group where a name should be to where it is; nothing is ever looked for further away.
    pub(crate) longest: u32,
}

/// Places of eight names, filled from the first on.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Group {
    /// A byte of the hash of each, 0 for an empty place: all eight are compared at a time.
    tags: [u8; GROUP],
    /// Where the first of its records is.
    start: u32,
}

impl Group {
    pub(crate) fn to_bytes(self) -> [u8; GROUP + 4] {
        let mut bytes = [0; GROUP + 4];
        let (tags, start) = bytes.split_at_mut(GROUP);
        tags.copy_from_slice(&self.tags);
        start.copy_from_slice(&self.start.to_le_bytes());
        bytes
    }

    pub(crate) fn of_bytes(bytes: [u8; GROUP + 4]) -> Self {
        let mut group = Self::default();
        let (tags, start) = bytes.split_at(GROUP);
        group.tags.copy_from_slice(tags);
        group.start = start.first_chunk().map_or(0, |start| u32::from_le_bytes(*start));
        group
    }
}

/// Before each text of a record: its mark and its length.
const HEAD: usize = 6;

/// How the hash of a text is made: whole, or label by label from the right, so that one pass gives the hashes of all parents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Whole,
    Domain,
}

impl Names {
    /// A table of distinct names with their marks. A name beyond [`MAX_NAMES`] or 64 kB is left out.
    pub(crate) fn new(form: Form, texts: &Texts, marks: &[u32]) -> Self {
        let names = marks.len().min(MAX_NAMES) as u32;
        let mut table = Self { key: KeyedState::default(), ..Self::default() };
        table.groups = vec![Group::default(); (names as usize).div_ceil(USUAL).next_power_of_two()];
        // Which names a group holds, in the order of its places.
        let mut held = vec![[0; GROUP]; table.groups.len()];
        for number in 0..names {
            let text = texts.at(number);
            if text.len() <= usize::from(u16::MAX) {
                table.put(table.hash(form, text), number, &mut held);
            }
        }
        for (group, held) in table.groups.iter_mut().zip(held) {
            group.start = table.records.len() as u32;
            for (_, number) in group.tags.iter().zip(held).take_while(|(tag, _)| **tag != 0) {
                let text = texts.at(number);
                let mark = marks.get(number as usize).copied().unwrap_or_default();
                table.records.extend(mark.to_le_bytes());
                table.records.extend((text.len() as u16).to_le_bytes());
                table.records.extend(text.as_bytes());
                table.count += 1;
            }
        }
        table.records.shrink_to_fit();
        table
    }

    fn put(&mut self, hash: u64, number: u32, held: &mut [[u32; GROUP]]) {
        let mask = self.groups.len() - 1;
        for step in 0..self.groups.len() {
            let at = (hash as usize).wrapping_add(step) & mask;
            let (Some(group), Some(held)) = (self.groups.get_mut(at), held.get_mut(at)) else { return };
            if let Some((tag, held)) = group.tags.iter_mut().zip(held).find(|(tag, _)| **tag == 0) {
                (*tag, *held) = (tag_of(hash), number);
                self.longest = self.longest.max(step as u32);
                return;
            }
        }
    }

    fn hash(&self, form: Form, text: &str) -> u64 {
        let mut hasher = self.key.build_hasher();
        match form {
            Form::Whole => hasher.write(text.as_bytes()),
            Form::Domain => text.rsplit('.').for_each(|label| hasher.write(label.as_bytes())),
        }
        hasher.finish()
    }

    /// The mark of a name with this hash.
    #[inline]
    fn find(&self, hash: u64, name: &str) -> Option<u32> {
        let mask = self.groups.len().wrapping_sub(1);
        let wanted = u64::from(tag_of(hash)) * ONES;
        for step in 0..=self.longest as usize {
            let group = self.groups.get((hash as usize).wrapping_add(step) & mask)?;
            let tags = u64::from_le_bytes(group.tags);
            let empty = zeros(tags);
            // What may be wrong lies behind an empty place or one that fits.
            let mut hits = zeros(tags ^ wanted) & (empty.wrapping_sub(1) & !empty);
            while hits != 0 {
                let (mark, known) = self.record(group, hits.trailing_zeros() as usize / 8)?;
                if known == name.as_bytes() {
                    return Some(mark);
                }
                hits &= hits - 1;
            }
            if empty != 0 {
                return None;
            }
        }
        None
    }

    /// What a place of a group holds: the mark and the text.
    #[inline]
    fn record(&self, group: &Group, place: usize) -> Option<(u32, &[u8])> {
        let mut rest = self.records.get(group.start as usize..)?;
        for _ in 0..place {
            let length = usize::from(u16::from_le_bytes(*rest.get(4..)?.first_chunk()?));
            rest = rest.get(HEAD + length..)?;
        }
        let (mark, rest) = rest.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let text = rest.get(..usize::from(u16::from_le_bytes(*length)))?;
        Some((u32::from_le_bytes(*mark), text))
    }

    /// The mark of a text that is listed itself.
    pub(crate) fn whole(&self, text: &str) -> Option<u32> {
        if self.count == 0 {
            return None;
        }
        self.find(self.hash(Form::Whole, text), text).map(|mark| mark & !ALONE)
    }

    /// The mark of a domain in lower case, or of the closest parent that is listed, and whether it is listed itself.
    pub(crate) fn domain(&self, name: &str) -> Option<(u32, bool)> {
        if self.count == 0 {
            return None;
        }
        let mut hasher: KeyedHasher = self.key.build_hasher();
        let mut found = None;
        let mut end = name.len();
        for label in name.rsplit('.').take(MAX_LABELS) {
            let start = end - label.len();
            hasher.write(label.as_bytes());
            // A listed name has a dot.
            if end < name.len() || start == 0 {
                let part = name.get(start..).unwrap_or_default();
                if let Some(mark) = self.find(hasher.finish(), part) {
                    let exact = start == 0;
                    if exact || mark & ALONE == 0 {
                        found = Some((mark & !ALONE, exact));
                    }
                }
            }
            end = start.saturating_sub(1);
        }
        found
    }

    pub(crate) const fn len(&self) -> usize {
        self.count
    }

    pub(crate) fn memory(&self) -> usize {
        self.groups.capacity() * size_of::<Group>() + self.records.capacity()
    }
}

/// The byte that stands for a name: of bits of its hash that do not choose the group, and never 0, which is an empty place.
const fn tag_of(hash: u64) -> u8 {
    let byte = (hash >> 56) as u8;
    if byte == 0 { 1 } else { byte }
}

/// How many names there are for a group at most, on average: so few go to the next one.
const USUAL: usize = 5;
/// Places that are compared at a time, and a 1 in each byte.
const GROUP: usize = 8;
const ONES: u64 = 0x0101_0101_0101_0101;

/// The highest bit of each byte that is 0; above the lowest such byte there may be wrong ones.
const fn zeros(bytes: u64) -> u64 {
    bytes.wrapping_sub(ONES) & !bytes & (ONES << 7)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn table(form: Form, names: &BTreeMap<String, u32>) -> Names {
        let mut texts = Texts::default();
        for name in names.keys() {
            texts.push(name);
        }
        Names::new(form, &texts, &names.values().copied().collect::<Vec<_>>())
    }

    /// Each parent in turn, as a person would.
    fn naive(names: &BTreeMap<String, u32>, name: &str) -> Option<(u32, bool)> {
        let mut rest = name;
        loop {
            match names.get(rest) {
                Some(mark) if rest == name || mark & ALONE == 0 => {
                    return Some((mark & !ALONE, rest == name));
                }
                _ => rest = rest.split_once('.')?.1,
            }
        }
    }

    proptest! {
        #[test]
        fn a_lookup_of_domains_equals_a_naive_one(
            names in prop::collection::btree_map("[ab]{1,2}(\\.[ab]{1,2}){1,4}", (0..9u32, any::<bool>()), 0..60),
            probes in prop::collection::vec("[ab]{0,2}(\\.[ab]{0,2}){0,6}", 1..60),
        ) {
            let names: BTreeMap<String, u32> =
                names.into_iter().map(|(name, (mark, alone))| (name, if alone { mark | ALONE } else { mark })).collect();
            let table = table(Form::Domain, &names);
            for probe in probes.iter().chain(names.keys()) {
                prop_assert_eq!(table.domain(probe), naive(&names, probe), "{}", probe);
            }
        }

        #[test]
        fn a_lookup_of_texts_equals_a_naive_one(
            names in prop::collection::btree_map("[ab/?]{0,4}", 0..9u32, 0..60),
            probes in prop::collection::vec("[ab/?]{0,4}", 1..60),
        ) {
            let table = table(Form::Whole, &names);
            for probe in probes.iter().chain(names.keys()) {
                prop_assert_eq!(table.whole(probe), names.get(probe).copied(), "{}", probe);
            }
        }
    }

    #[test]
    fn a_table_of_many_names_finds_each_and_looks_nowhere_far() {
        let names: BTreeMap<String, u32> = (0..20_000).map(|n| (format!("n{n}.example.org"), n)).collect();
        let table = table(Form::Domain, &names);
        for (name, mark) in &names {
            assert_eq!(table.domain(&format!("www.{name}")), Some((*mark, false)));
        }
        assert_eq!(table.domain("example.org"), None);
        assert!(table.longest < 32, "{}", table.longest);
    }
}
