//! SipHash-1-3, keyed: flows are hashed by numbers that an attacker chooses.
//!
//! Own code because the standard library's keyed SipHash can neither be given a key nor yield 128 bits (J.-P. Aumasson,
//! D. J. Bernstein, "SipHash: a fast short-input PRF", 2012; the reduced rounds are the ones of the standard library).

/// A SipHash in progress over 64-bit words.
#[derive(Clone)]
pub(crate) struct Sip {
    v0: u64,
    v1: u64,
    v2: u64,
    v3: u64,
    words: u64,
}

impl Sip {
    /// Begins with a key.
    pub(crate) const fn new(key: [u64; 2]) -> Self {
        let [k0, k1] = key;
        Self {
            v0: k0 ^ 0x736f_6d65_7073_6575,
            v1: k1 ^ 0x646f_7261_6e64_6f6d,
            v2: k0 ^ 0x6c79_6765_6e65_7261,
            v3: k1 ^ 0x7465_6462_7974_6573,
            words: 0,
        }
    }

    fn round(&mut self) {
        self.v0 = self.v0.wrapping_add(self.v1);
        self.v2 = self.v2.wrapping_add(self.v3);
        self.v1 = self.v1.rotate_left(13) ^ self.v0;
        self.v3 = self.v3.rotate_left(16) ^ self.v2;
        self.v0 = self.v0.rotate_left(32);
        self.v2 = self.v2.wrapping_add(self.v1);
        self.v0 = self.v0.wrapping_add(self.v3);
        self.v1 = self.v1.rotate_left(17) ^ self.v2;
        self.v3 = self.v3.rotate_left(21) ^ self.v0;
        self.v2 = self.v2.rotate_left(32);
    }

    /// Takes in one word.
    pub(crate) fn word(&mut self, word: u64) {
        self.v3 ^= word;
        self.round();
        self.v0 ^= word;
        self.words += 1;
    }

    fn last(&mut self, mark: u64) {
        let length = self.words << 59;
        self.v3 ^= length;
        self.round();
        self.v0 ^= length;
        self.v2 ^= mark;
        self.round();
        self.round();
        self.round();
    }

    /// 64 bits.
    pub(crate) fn finish(mut self) -> u64 {
        self.last(0xff);
        self.v0 ^ self.v1 ^ self.v2 ^ self.v3
    }

    /// 128 bits.
    pub(crate) fn finish128(mut self) -> (u64, u64) {
        self.last(0xee);
        let first = self.v0 ^ self.v1 ^ self.v2 ^ self.v3;
        self.v1 ^= 0xdd;
        self.round();
        self.round();
        self.round();
        (first, self.v0 ^ self.v1 ^ self.v2 ^ self.v3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn words_and_keys_change_the_hash() {
        let hash = |key: [u64; 2], words: &[u64]| {
            let mut sip = Sip::new(key);
            words.iter().for_each(|word| sip.word(*word));
            sip.finish()
        };
        let all: HashSet<u64> = [
            hash([0, 0], &[]),
            hash([0, 0], &[0]),
            hash([0, 0], &[0, 0]),
            hash([1, 0], &[0]),
            hash([0, 1], &[0]),
            hash([0, 0], &[1]),
        ]
        .into();
        assert_eq!(all.len(), 6);
        assert_eq!(hash([7, 9], &[1, 2, 3]), hash([7, 9], &[1, 2, 3]));
    }
}
