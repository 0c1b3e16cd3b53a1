//! A snapshot as one file that is read at once, so that a million indicators cost a start some tens of milliseconds.
//!
//! A magic with the version, the fingerprint of what the snapshot was made from, columns (a count and little-endian items), and a
//! checksum. The file is our own, in a directory that only root writes: the checksum finds what a disk or a power cut broke, not what
//! an attacker forged. A file that does not fit is an error, never a panic, and the lists are read anew.

use std::io::{self, Read, Write};

use slips_core::evidence::ThreatLevel;
use slips_core::hash::KeyedState;

use super::digests::Digests;
use super::marks::{Mark, Marks, Texts};
use super::names::{Group, Names};
use super::ranges::{RangeTable, Ranges4, Ranges6};
use super::{Contents, Indicators};

/// Why a cache file was not taken.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// It cannot be read.
    #[error("cannot read the compiled indicators")]
    Io(#[from] io::Error),
    /// Of another version, or no such file at all.
    #[error("no compiled indicators of this version")]
    Version,
    /// Made from other lists than those of today.
    #[error("compiled from other lists")]
    Stale,
    /// Broken.
    #[error("the compiled indicators are broken")]
    Broken,
}

const MAGIC: [u8; 8] = *b"SLIPSTI3";
/// Items that are read or written at a time.
const PIECE: usize = 1 << 13;
/// Largest file that is read.
const MAX_FILE: u64 = 1 << 30;

impl Indicators {
    /// Writes the snapshot, which was made from what `fingerprint` stands for.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write_cache(&self, to: impl Write, fingerprint: u64) -> io::Result<()> {
        let mut out = Out { to, sum: Checksum::default(), buffer: Vec::new() };
        out.to.write_all(&MAGIC)?;
        out.number(fingerprint)?;
        out.column(&self.nets.v4.edges, |[first, what]| pair(first, what))?;
        out.column(&self.nets.v6.first, u128::to_le_bytes)?;
        out.u32s(&self.nets.v6.what)?;
        for names in [&self.domains, &self.urls, &self.ja4] {
            out.names(names)?;
        }
        out.digests(&self.md5)?;
        out.digests(&self.sha1)?;
        out.digests(&self.sha256)?;
        out.digests(&self.ja3)?;
        out.digests(&self.ja3s)?;
        out.digests(&self.jarm)?;
        out.digests(&self.certificates)?;
        out.column(&self.asns, |(number, mark)| pair(number, mark))?;
        out.column(&self.marks.marks, mark_to_bytes)?;
        out.texts(&self.marks.texts)?;
        out.number(self.contents.nets as u64)?;
        let sum = out.sum.0;
        out.to.write_all(&sum.to_le_bytes())?;
        out.to.flush()
    }

    /// Reads a snapshot of `size` bytes that was made from what `fingerprint` stands for.
    ///
    /// # Errors
    /// When it cannot be read, is of another version, of other lists, or broken.
    pub fn read_cache(from: impl Read, size: u64, fingerprint: u64) -> Result<Self, CacheError> {
        let mut file =
            In { from: from.take(size.min(MAX_FILE)), sum: Checksum::default(), buffer: Vec::new() };
        if file.array::<8>()? != MAGIC {
            return Err(CacheError::Version);
        }
        if file.number()? != fingerprint {
            return Err(CacheError::Stale);
        }
        let v4 = Ranges4::new(file.column(|bytes| unpair(bytes).into())?);
        let v6 = Ranges6::new(file.column(u128::from_le_bytes)?, file.u32s()?);
        let mut indicators = Self {
            nets: RangeTable { v4, v6 },
            domains: file.names()?,
            urls: file.names()?,
            ja4: file.names()?,
            md5: file.digests()?,
            sha1: file.digests()?,
            sha256: file.digests()?,
            ja3: file.digests()?,
            ja3s: file.digests()?,
            jarm: file.digests()?,
            certificates: file.digests()?,
            asns: file.column(unpair)?,
            marks: Marks { marks: file.column(mark_of_bytes)?, texts: file.texts()? },
            contents: Contents::default(),
        };
        let nets = file.number()? as usize;
        let sum = file.sum.0;
        if u64::from_le_bytes(file.array()?) != sum {
            return Err(CacheError::Broken);
        }
        indicators.contents = Contents { nets, ..indicators.count() };
        Ok(indicators)
    }
}

fn pair(one: u32, other: u32) -> [u8; 8] {
    (u64::from(one) | u64::from(other) << 32).to_le_bytes()
}

fn unpair(bytes: [u8; 8]) -> (u32, u32) {
    let both = u64::from_le_bytes(bytes);
    (both as u32, (both >> 32) as u32)
}

fn mark_to_bytes(mark: Mark) -> [u8; 24] {
    let level = ThreatLevel::ALL.iter().position(|level| *level == mark.level).unwrap_or_default() as u32;
    let mut bytes = [0; 24];
    let numbers = [level, mark.description, mark.sources, mark.tags, mark.first_seen, mark.last_seen];
    for (to, number) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(numbers) {
        *to = number.to_le_bytes();
    }
    bytes
}

fn mark_of_bytes(bytes: [u8; 24]) -> Mark {
    let mut numbers = bytes.as_chunks::<4>().0.iter().map(|four| u32::from_le_bytes(*four));
    let mut next = || numbers.next().unwrap_or_default();
    Mark {
        level: ThreatLevel::ALL.get(next() as usize).copied().unwrap_or(ThreatLevel::Info),
        description: next(),
        sources: next(),
        tags: next(),
        first_seen: next(),
        last_seen: next(),
    }
}

/// Folds eight bytes at a time.
#[derive(Clone, Copy)]
struct Checksum(u64);

impl Default for Checksum {
    fn default() -> Self {
        Self(0x243f_6a88_85a3_08d3)
    }
}

impl Checksum {
    fn add(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.mix(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        for (to, from) in last.iter_mut().zip(rest) {
            *to = *from;
        }
        if !rest.is_empty() {
            self.mix(u64::from_le_bytes(last));
        }
    }

    fn mix(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word) * 0x9e37_79b9_7f4a_7c15;
        self.0 = (product as u64) ^ ((product >> 64) as u64).wrapping_add(word.rotate_left(29));
    }
}

struct Out<W> {
    to: W,
    sum: Checksum,
    buffer: Vec<u8>,
}

impl<W: Write> Out<W> {
    fn number(&mut self, number: u64) -> io::Result<()> {
        self.sum.add(&number.to_le_bytes());
        self.to.write_all(&number.to_le_bytes())
    }

    fn column<T: Copy, const N: usize>(
        &mut self,
        items: &[T],
        bytes: impl Fn(T) -> [u8; N],
    ) -> io::Result<()> {
        self.number(items.len() as u64)?;
        for piece in items.chunks(PIECE) {
            self.buffer.clear();
            piece.iter().for_each(|item| self.buffer.extend_from_slice(&bytes(*item)));
            self.sum.add(&self.buffer);
            self.to.write_all(&self.buffer)?;
        }
        Ok(())
    }

    fn u32s(&mut self, items: &[u32]) -> io::Result<()> {
        self.column(items, u32::to_le_bytes)
    }

    fn texts(&mut self, texts: &Texts) -> io::Result<()> {
        self.column(texts.all.as_bytes(), |byte| [byte])?;
        self.u32s(&texts.ends)
    }

    fn names(&mut self, names: &Names) -> io::Result<()> {
        names.key.key().into_iter().try_for_each(|word| self.number(word))?;
        self.number(u64::from(names.longest))?;
        self.number(names.len() as u64)?;
        self.column(&names.groups, Group::to_bytes)?;
        self.column(&names.records, |byte| [byte])
    }

    fn digests<const N: usize>(&mut self, digests: &Digests<N>) -> io::Result<()> {
        self.column(&digests.rows, |row| row)?;
        self.u32s(&digests.marks)
    }
}

struct In<R> {
    from: io::Take<R>,
    sum: Checksum,
    buffer: Vec<u8>,
}

impl<R: Read> In<R> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], CacheError> {
        let mut bytes = [0; N];
        self.from.read_exact(&mut bytes).map_err(|_| CacheError::Broken)?;
        Ok(bytes)
    }

    fn number(&mut self) -> Result<u64, CacheError> {
        let bytes = self.array()?;
        self.sum.add(&bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn column<T, const N: usize>(&mut self, item: impl Fn([u8; N]) -> T) -> Result<Vec<T>, CacheError> {
        let count = self.number()?;
        // What the file cannot hold is not made room for.
        if count.checked_mul(N as u64).is_none_or(|bytes| bytes > self.from.limit()) {
            return Err(CacheError::Broken);
        }
        let mut left = count as usize;
        let mut items = Vec::with_capacity(left);
        while left > 0 {
            let piece = left.min(PIECE);
            self.buffer.resize(piece * N, 0);
            self.from.read_exact(&mut self.buffer).map_err(|_| CacheError::Broken)?;
            self.sum.add(&self.buffer);
            items.extend(self.buffer.as_chunks::<N>().0.iter().map(|bytes| item(*bytes)));
            left -= piece;
        }
        Ok(items)
    }

    fn u32s(&mut self) -> Result<Vec<u32>, CacheError> {
        self.column(u32::from_le_bytes)
    }

    fn texts(&mut self) -> Result<Texts, CacheError> {
        let all = self.column(|[byte]: [u8; 1]| byte)?;
        let all = String::from_utf8(all).map_err(|_| CacheError::Broken)?;
        Ok(Texts { all, ends: self.u32s()? })
    }

    fn names(&mut self) -> Result<Names, CacheError> {
        let key = KeyedState::with_key([self.number()?, self.number()?]);
        let longest = u32::try_from(self.number()?).map_err(|_| CacheError::Broken)?;
        let count = usize::try_from(self.number()?).map_err(|_| CacheError::Broken)?;
        let (groups, records) = (self.column(Group::of_bytes)?, self.column(|[byte]: [u8; 1]| byte)?);
        if count == 0 || groups.len().is_power_of_two() && longest as usize <= groups.len() {
            Ok(Names { key, groups, records, count, longest })
        } else {
            Err(CacheError::Broken)
        }
    }

    fn digests<const N: usize>(&mut self) -> Result<Digests<N>, CacheError> {
        Ok(Digests { rows: self.column(|row| row)?, marks: self.u32s()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::tests::one_of_each;
    use proptest::prelude::*;

    fn written() -> Vec<u8> {
        let mut bytes = Vec::new();
        one_of_each().write_cache(&mut bytes, 7).expect("write");
        bytes
    }

    fn read(bytes: &[u8], fingerprint: u64) -> Result<Indicators, CacheError> {
        Indicators::read_cache(bytes, bytes.len() as u64, fingerprint)
    }

    #[test]
    fn what_was_written_is_read_again() {
        let (first, again) = (one_of_each(), read(&written(), 7).expect("read"));
        assert_eq!(first.contents(), again.contents());
        crate::snapshot::tests::assert_all_found(&again);
        let mut twice = Vec::new();
        again.write_cache(&mut twice, 7).expect("write");
        assert_eq!(read(&twice, 7).expect("read").contents(), first.contents());
    }

    #[test]
    fn other_lists_other_versions_and_short_files_are_told() {
        let bytes = written();
        assert!(matches!(read(&bytes, 8), Err(CacheError::Stale)));
        assert!(matches!(read(b"SLIPSTI0........", 7), Err(CacheError::Version)));
        for end in 0..bytes.len() {
            assert!(read(&bytes[..end], 7).is_err(), "{end}");
        }
    }

    proptest! {
        #[test]
        fn a_changed_byte_is_found(at in any::<prop::sample::Index>(), bit in 0..8u8) {
            let mut bytes = written();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert!(read(&bytes, 7).is_err());
        }

        #[test]
        fn no_bytes_make_it_panic(rest in prop::collection::vec(any::<u8>(), 0..400)) {
            let bytes = [&MAGIC[..], &7u64.to_le_bytes(), &rest].concat();
            prop_assert!(read(&bytes, 7).is_err());
        }
    }
}
