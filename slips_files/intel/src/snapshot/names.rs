//! A table of texts: domains, URLs, fingerprints that are no plain numbers. Open addressing over one block of memory; a lookup
//! touches one or two cache lines for a name that is not there, and allocates nothing.

use std::hash::{BuildHasher, Hasher};

use slips_core::hash::{KeyedHasher, KeyedState};

use super::marks::Texts;

/// Set in a mark: the name stands for itself only, not for what is below it.
pub(crate) const ALONE: u32 = 1 << 31;
/// The lower bits of a place: number of the name and one, 0 for an empty place. The upper ones are bits of its hash.
const NUMBER: u32 = (1 << 24) - 1;
/// Most names of one table.
pub(crate) const MAX_NAMES: usize = NUMBER as usize - 1;
/// Most labels of a name that are looked at, from the right: no more fit in 255 bytes.
const MAX_LABELS: usize = 128;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    pub(crate) key: KeyedState,
    pub(crate) texts: Texts,
    /// One for each name.
    pub(crate) marks: Vec<u32>,
    /// A power of two of places.
    pub(crate) places: Vec<u32>,
    /// For each place a byte of its hash, 0 for an empty one, and the first few again behind the last: eight of them are compared at a
    /// time, and a name that is not there is found out in memory that is a fourth of the places.
    tags: Vec<u8>,
    /// The longest way from where a name should be to where it is; nothing is ever looked for further away.
    pub(crate) longest: u32,
}

/// How the hash of a text is made: whole, or label by label from the right, so that one pass gives the hashes of all parents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Whole,
    Domain,
}

impl Names {
    /// A table of distinct names with their marks.
    pub(crate) fn new(form: Form, texts: Texts, marks: Vec<u32>) -> Self {
        let mut names = Self { key: KeyedState::default(), texts, marks, ..Self::default() };
        let places = (names.marks.len() * 3 / 2).next_power_of_two().max(2);
        names.places = vec![0; places];
        for number in 0..names.marks.len().min(MAX_NAMES) as u32 {
            let hash = names.hash(form, names.texts.at(number));
            names.put(hash, number);
        }
        names.tagged()
    }

    /// A table as it was written down.
    pub(crate) fn of(key: KeyedState, texts: Texts, marks: Vec<u32>, places: Vec<u32>, longest: u32) -> Self {
        Self { key, texts, marks, places, tags: Vec::new(), longest }.tagged()
    }

    fn tagged(mut self) -> Self {
        let tags = self.places.iter().map(|place| if *place == 0 { 0 } else { tag_of(*place) });
        let again =
            self.places.iter().cycle().take(GROUP).map(|place| if *place == 0 { 0 } else { tag_of(*place) });
        self.tags = tags.chain(again).collect();
        self
    }

    fn put(&mut self, hash: u64, number: u32) {
        let mask = self.places.len() - 1;
        for step in 0..self.places.len() {
            if let Some(place) = self.places.get_mut((hash as usize).wrapping_add(step) & mask)
                && *place == 0
            {
                *place = tag(hash) | (number + 1);
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

    /// The number of the name with this hash that `is_it`.
    #[inline]
    fn find(&self, hash: u64, is_it: impl Fn(&str) -> bool) -> Option<usize> {
        let mask = self.places.len().wrapping_sub(1);
        let wanted = u64::from(tag_of(tag(hash))) * ONES;
        let mut step = 0;
        while step <= self.longest as usize {
            let at = (hash as usize).wrapping_add(step) & mask;
            let group = u64::from_le_bytes(*self.tags.get(at..)?.first_chunk::<GROUP>()?);
            let empty = zeros(group);
            // What lies behind an empty place was put there by others.
            let before = empty.wrapping_sub(1) & !empty;
            let mut hits = zeros(group ^ wanted) & before;
            while hits != 0 {
                let number = self.number_at((at + hits.trailing_zeros() as usize / 8) & mask, hash);
                if let Some(number) = number.filter(|number| is_it(self.texts.at(*number))) {
                    return Some(number as usize);
                }
                hits &= hits - 1;
            }
            if empty != 0 {
                return None;
            }
            step += GROUP;
        }
        None
    }

    /// The number of the name at this place, if its hash may be this one.
    fn number_at(&self, place: usize, hash: u64) -> Option<u32> {
        let place = *self.places.get(place)?;
        (place & !NUMBER == tag(hash)).then(|| (place & NUMBER).wrapping_sub(1))
    }

    /// The mark of a text that is listed itself.
    pub(crate) fn whole(&self, text: &str) -> Option<u32> {
        if self.marks.is_empty() {
            return None;
        }
        let number = self.find(self.hash(Form::Whole, text), |known| known == text)?;
        self.marks.get(number).map(|mark| mark & !ALONE)
    }

    /// The mark of a domain in lower case, or of the closest parent that is listed, and whether it is listed itself.
    pub(crate) fn domain(&self, name: &str) -> Option<(u32, bool)> {
        if self.marks.is_empty() {
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
                if let Some(number) = self.find(hasher.finish(), |known| known == part) {
                    let mark = self.marks.get(number).copied()?;
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

    pub(crate) fn len(&self) -> usize {
        self.marks.len()
    }

    pub(crate) fn memory(&self) -> usize {
        self.texts.memory() + (self.marks.capacity() + self.places.capacity()) * 4 + self.tags.capacity()
    }
}

/// Bits of a hash that do not choose the place.
const fn tag(hash: u64) -> u32 {
    ((hash >> 32) as u32) & !NUMBER
}

/// The byte that stands for a place: never 0, which is an empty one.
const fn tag_of(place: u32) -> u8 {
    let byte = (place >> 24) as u8;
    if byte == 0 { 1 } else { byte }
}

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
        Names::new(form, texts, names.values().copied().collect())
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
        assert!(table.longest < 200, "{}", table.longest);
    }
}
