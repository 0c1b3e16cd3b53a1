//! A keyed hasher for tables whose keys come from outside.
//!
//! An attacker who could predict the hash could make every lookup walk one chain. The key is drawn from the operating
//! system once per table (through std's `RandomState`), never logged, never sent. Results never depend on it: no table is
//! iterated in hash order.

use std::hash::{BuildHasher, Hasher, RandomState};

/// Builds [`KeyedHasher`]s with one secret key.
#[derive(Clone, Debug)]
pub struct KeyedState {
    key: [u64; 2],
}

impl Default for KeyedState {
    fn default() -> Self {
        let random = RandomState::new();
        Self { key: [random.hash_one(0u8), random.hash_one(1u8) | 1] }
    }
}

impl KeyedState {
    /// With a key that was drawn before: for tables that are kept in files. Whoever can read the file can read the key.
    pub const fn with_key(key: [u64; 2]) -> Self {
        Self { key: [key[0], key[1] | 1] }
    }

    /// Its key.
    pub const fn key(&self) -> [u64; 2] {
        self.key
    }
}

impl BuildHasher for KeyedState {
    type Hasher = KeyedHasher;
    #[inline]
    fn build_hasher(&self) -> KeyedHasher {
        KeyedHasher { state: self.key[0], key: self.key[1] }
    }
}

/// Folded 128-bit multiplication over 8-byte words: a few nanoseconds for an address, and keyed.
#[derive(Clone, Copy, Debug)]
pub struct KeyedHasher {
    state: u64,
    key: u64,
}

impl KeyedHasher {
    #[inline]
    fn mix(&mut self, word: u64) {
        let product = u128::from(self.state ^ word)
            * u128::from(self.key ^ word.rotate_left(32) ^ 0x9e37_79b9_7f4a_7c15);
        self.state = (product as u64) ^ ((product >> 64) as u64) ^ self.key.rotate_left(17);
    }
}

/// One to seven bytes as a number, the first the lowest, without a loop whose end no processor can guess: names are made of short labels.
#[inline]
fn padded(rest: &[u8]) -> u64 {
    let length = rest.len();
    if let (Some(first), Some(last)) = (rest.first_chunk::<4>(), rest.last_chunk::<4>()) {
        // Where the two overlap they are equal.
        let high = u64::from(u32::from_le_bytes(*last)) << ((length - 4) * 8);
        return u64::from(u32::from_le_bytes(*first)) | high;
    }
    let byte = |at: usize| u64::from(rest.get(at).copied().unwrap_or_default()) << (at * 8);
    byte(0) | byte(length / 2) | byte(length - 1)
}

impl Hasher for KeyedHasher {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.mix(u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            self.mix(padded(rest));
        }
        self.mix(bytes.len() as u64);
    }
    fn write_u8(&mut self, n: u8) {
        self.mix(u64::from(n));
    }
    fn write_u16(&mut self, n: u16) {
        self.mix(u64::from(n));
    }
    fn write_u32(&mut self, n: u32) {
        self.mix(u64::from(n));
    }
    fn write_u64(&mut self, n: u64) {
        self.mix(n);
    }
    fn write_u128(&mut self, n: u128) {
        self.mix(n as u64);
        self.mix((n >> 64) as u64);
    }
    fn write_usize(&mut self, n: usize) {
        self.mix(n as u64);
    }
    #[inline]
    fn finish(&self) -> u64 {
        let product = u128::from(self.state) * u128::from(self.key);
        (product as u64) ^ ((product >> 64) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn neighbouring_keys_spread_over_buckets() {
        let state = KeyedState::default();
        let buckets: HashSet<u64> = (0..4096u128).map(|n| state.hash_one(n) % 4096).collect();
        // A random function fills 1 - 1/e = 63 % of them.
        assert!(buckets.len() > 2200, "{}", buckets.len());
    }

    /// Files are named by it, so that no version may hash otherwise.
    #[test]
    fn bytes_of_every_length_are_hashed_word_by_word_padded_with_zeros() {
        let bytes: Vec<u8> = (1..=40).collect();
        for length in 0..=bytes.len() {
            let state = KeyedState::with_key([7, 9]);
            let (mut hasher, mut simple) = (state.build_hasher(), state.build_hasher());
            hasher.write(&bytes[..length]);
            for chunk in bytes[..length].chunks(8) {
                let mut word = [0; 8];
                word[..chunk.len()].copy_from_slice(chunk);
                simple.mix(u64::from_le_bytes(word));
            }
            simple.mix(length as u64);
            assert_eq!(hasher.finish(), simple.finish(), "{length}");
        }
    }

    #[test]
    fn two_tables_hash_differently() {
        assert_ne!(KeyedState::default().hash_one(1u128), KeyedState::default().hash_one(1u128));
    }
}
