//! Identities for flows whose input gives them none.

use slips_core::flow::Uid;
use slips_core::time::PacketTime;

/// An identity that the same record of the same file always gets: a letter for its format, its start, its number.
pub(crate) fn of(letter: u8, start: PacketTime, number: u64) -> Uid {
    let mut uid = Uid::EMPTY;
    uid.push_ascii(letter);
    hex(&mut uid, start.0.unsigned_abs());
    uid.push_ascii(b'.');
    hex(&mut uid, number);
    uid
}

fn hex(uid: &mut Uid, number: u64) {
    let digits = (64 - number.leading_zeros()).div_ceil(4).max(1);
    for place in (0..digits).rev() {
        let digit = (number >> (place * 4) & 0xf) as u8;
        uid.push_ascii(if digit < 10 { b'0' + digit } else { b'a' + digit - 10 });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_are_read_off_the_record() {
        assert_eq!(of(b'A', PacketTime(0x5ad6), 31).as_str(), "A5ad6.1f");
        assert_eq!(of(b'N', PacketTime(0), 0).as_str(), "N0.0");
        assert_eq!(of(b'N', PacketTime(i64::MAX), 0xffff_ffff).as_str(), "N7fffffffffffffff.ffffffff");
    }
}
