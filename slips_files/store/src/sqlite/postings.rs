//! Which rows have what address: lists of positions by fingerprint, as they lie in the database.
//!
//! A segment is a run of rows. Its entries, (fingerprint, position of the row in the run), are sorted and cut into rows of the database of
//! about a page each; a list is never cut in two. One list is the fingerprint (4 bytes, little-endian), the length of what follows
//! (LEB128), and the differences of the positions (LEB128 each), the first from 0. So a busy address costs little more than a byte a row,
//! and one that is seen once some eight.

/// Entries that are being collected.
#[derive(Debug, Default)]
pub(super) struct Entries(Vec<u64>);

impl Entries {
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn add(&mut self, print: u32, position: u32) {
        self.0.push(u64::from(print) << 32 | u64::from(position));
    }

    /// Adds all entries of a row of the database, with their positions moved on by `ahead`.
    pub(super) fn add_row(&mut self, row: &[u8], ahead: u32) {
        for (print, list) in Lists(row) {
            self.0.extend(
                positions(list)
                    .map(|position| u64::from(print) << 32 | u64::from(position.saturating_add(ahead))),
            );
        }
    }

    /// Hands over the rows for the database, each with its first fingerprint, in rising order.
    pub(super) fn rows<E>(&mut self, mut put: impl FnMut(u32, &[u8]) -> Result<(), E>) -> Result<(), E> {
        self.0.sort_unstable();
        self.0.dedup();
        let (mut row, mut list) = (Vec::with_capacity(2 * ROW), Vec::new());
        let mut first = None;
        for same in self.0.chunk_by(|one, other| one >> 32 == other >> 32) {
            let Some(print) = same.first().map(|entry| (entry >> 32) as u32) else { continue };
            list.clear();
            let mut before = 0;
            for entry in same {
                let position = *entry as u32;
                put_number(&mut list, position - before);
                before = position;
            }
            if row.len() + list.len() + 9 > ROW
                && let Some(first) = first.take()
            {
                put(first, &row)?;
                row.clear();
            }
            first.get_or_insert(print);
            row.extend_from_slice(&print.to_le_bytes());
            put_number(&mut row, u32::try_from(list.len()).unwrap_or(u32::MAX));
            row.extend_from_slice(&list);
        }
        first.map_or(Ok(()), |first| put(first, &row))
    }
}

/// The positions of a fingerprint in a row of the database, rising.
pub(super) fn find(row: &[u8], print: u32) -> Vec<u32> {
    let list = Lists(row).find(|(found, _)| *found >= print).filter(|(found, _)| *found == print);
    list.map_or_else(Vec::new, |(_, list)| positions(list).collect())
}

/// A row as (fingerprint, list). What is no list ends it.
struct Lists<'a>(&'a [u8]);

impl<'a> Iterator for Lists<'a> {
    type Item = (u32, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (print, rest) = self.0.split_first_chunk::<4>()?;
        let mut rest = rest;
        let length = number(&mut rest)?;
        let (list, rest) = rest.split_at_checked(length as usize)?;
        self.0 = rest;
        Some((u32::from_le_bytes(*print), list))
    }
}

fn positions(mut list: &[u8]) -> impl Iterator<Item = u32> {
    let mut at = 0u32;
    std::iter::from_fn(move || {
        at = at.checked_add(number(&mut list)?)?;
        Some(at)
    })
}

fn put_number(out: &mut Vec<u8>, mut number: u32) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn number(from: &mut &[u8]) -> Option<u32> {
    let mut value = 0u32;
    for shift in (0..35).step_by(7) {
        let (byte, rest) = from.split_first()?;
        *from = rest;
        value |= u32::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// A row is closed before it grows beyond this: with SQLite's own bytes it fits into a page of 4,096.
const ROW: usize = 4050;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn rows(entries: &mut Entries) -> Vec<(u32, Vec<u8>)> {
        let mut rows = Vec::new();
        let put = |first, row: &[u8]| {
            rows.push((first, row.to_vec()));
            Ok::<_, std::convert::Infallible>(())
        };
        entries.rows(put).expect("rows");
        rows
    }

    fn sought(rows: &[(u32, Vec<u8>)], print: u32) -> Vec<u32> {
        let row = rows.iter().rev().find(|(first, _)| *first <= print);
        row.map_or_else(Vec::new, |(_, row)| find(row, print))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn what_is_put_in_is_found_and_nothing_else(
            entries in proptest::collection::vec((0u32..400, any::<u32>()), 0..3000),
            ahead in 0u32..1000,
        ) {
            let (mut one, mut naive) = (Entries::new(), BTreeMap::<u32, Vec<u32>>::new());
            for (print, position) in &entries {
                let (print, position) = (print * 10_000_019, position >> 8);
                one.add(print, position);
                naive.entry(print).or_default().push(position + ahead);
            }
            let mut moved = Entries::new();
            for (_, row) in rows(&mut one) {
                moved.add_row(&row, ahead);
            }
            let rows = rows(&mut moved);
            for (number, (first, row)) in rows.iter().enumerate() {
                prop_assert!(row.len() <= ROW || Lists(row).count() == 1);
                prop_assert!(number == 0 || rows[number - 1].0 < *first);
            }
            for (print, positions) in &mut naive {
                positions.sort_unstable();
                positions.dedup();
                prop_assert_eq!(&sought(&rows, *print), positions);
                prop_assert_eq!(sought(&rows, print + 1), Vec::<u32>::new());
            }
        }

        #[test]
        fn bytes_that_are_no_lists_end_them(row in proptest::collection::vec(any::<u8>(), 0..200), print in any::<u32>()) {
            find(&row, print);
            Entries::new().add_row(&row, u32::MAX);
        }
    }
}
