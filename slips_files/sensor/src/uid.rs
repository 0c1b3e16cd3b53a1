//! Names of flows: `C` and the base-62 digits of 96 keyed bits, as Zeek's look.

use slips_core::flow::Uid;

use crate::hash::Sip;

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The bits behind a uid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct UidBits(u64, u32);

impl UidBits {
    /// Derives the bits from the flow's hash, its start and its number, so that they cannot be guessed without the key.
    pub(crate) fn derive(key: [u64; 2], hash: u64, start: i64, number: u64) -> Self {
        let mut sip = Sip::new(key);
        sip.word(hash);
        sip.word(start as u64);
        sip.word(number);
        let (first, second) = sip.finish128();
        Self(first, second as u32)
    }

    /// The name of the flow's file number `number`.
    pub(crate) fn file(self, key: [u64; 2], number: u64) -> Uid {
        Self::derive(key, self.0, i64::from(self.1), number).print_as(b'F')
    }

    /// The printed form.
    pub(crate) fn print(self) -> Uid {
        self.print_as(b'C')
    }

    fn print_as(self, letter: u8) -> Uid {
        let mut uid = Uid::EMPTY;
        uid.push_ascii(letter);
        let (mut high, mut low) = (self.0, self.1);
        for _ in 0..11 {
            uid.push_ascii(DIGITS.get((high % 62) as usize).copied().unwrap_or(b'0'));
            high /= 62;
        }
        for _ in 0..6 {
            uid.push_ascii(DIGITS.get((low % 62) as usize).copied().unwrap_or(b'0'));
            low /= 62;
        }
        uid
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uid_is_eighteen_characters_and_depends_on_everything() {
        let uid = UidBits::derive([1, 2], 3, 4, 5).print();
        assert_eq!(uid.len(), 18);
        assert!(uid.as_str().starts_with('C') && uid.as_str().bytes().all(|b| b.is_ascii_alphanumeric()));
        for other in [
            UidBits::derive([1, 3], 3, 4, 5),
            UidBits::derive([1, 2], 4, 4, 5),
            UidBits::derive([1, 2], 3, 5, 5),
            UidBits::derive([1, 2], 3, 4, 6),
        ] {
            assert_ne!(other.print(), uid);
        }
    }
}
