//! How captures are damaged: always in the same way, seeded by their names.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::path::Path;

/// Numbers that look random.
pub struct Noise(u64);

impl Noise {
    /// The noise of a file.
    pub fn of(path: &Path) -> Self {
        let name = (path.parent().and_then(Path::file_name), path.file_name());
        Self(BuildHasherDefault::<DefaultHasher>::default().hash_one(name))
    }

    /// SplitMix64.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number below `limit`; zero where there is none.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % (limit.max(1) as u64)) as usize
    }

    /// Fisher and Yates.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

/// Flips about one byte in `one_in`.
pub fn flip(bytes: &mut [u8], one_in: usize, noise: &mut Noise) {
    let mut at = noise.below(2 * one_in);
    while let Some(byte) = bytes.get_mut(at) {
        *byte ^= (noise.next() as u8).max(1);
        at += 1 + noise.below(2 * one_in);
    }
}

/// Flips one byte.
pub fn flip_one(bytes: &mut [u8], noise: &mut Noise) {
    let at = noise.below(bytes.len());
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= (noise.next() as u8).max(1);
    }
}

/// Where a file of `length` bytes is cut, so that all pieces together have about `effort` bytes.
pub fn cuts(length: usize, effort: usize) -> impl Iterator<Item = usize> {
    let affordable = (effort / (length / 2 + 1)).max(1);
    let step = (length / affordable).next_multiple_of(10).max(10);
    (0..length).step_by(10).filter(move |at| *at < 2048 || length - at < 512 || at % step == 0)
}
