//! LZ4's block format, as its public description has it: runs of literal bytes, each followed by a copy of earlier output.

use super::{Output, byte, two};

/// Unpacks `packed` behind the end of `out`, up to `most` bytes; `None` when it is damaged or grows too far.
pub(in crate::nfdump) fn unpack(packed: &[u8], most: usize, out: &mut Vec<u8>) -> Option<()> {
    let mut out = Output::new(out, most);
    let mut rest = packed;
    loop {
        let token = usize::from(byte(&mut rest)?);
        let literals = length(token >> 4, &mut rest)?;
        out.literals(literals, &mut rest)?;
        if rest.is_empty() {
            return Some(());
        }
        let distance = two(&mut rest)?;
        let count = length(token & 15, &mut rest)? + MIN_COPY;
        out.repeat(distance, count)?;
    }
}

const MIN_COPY: usize = 4;

/// A length whose first four bits are in the token; at 15 more bytes follow, the last of them below 255.
fn length(first: usize, rest: &mut &[u8]) -> Option<usize> {
    let mut total = first;
    if first == 15 {
        loop {
            let (byte, after) = rest.split_first()?;
            *rest = after;
            total = total.checked_add(usize::from(*byte))?;
            if *byte < 255 {
                break;
            }
        }
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(packed: &[u8]) -> Option<String> {
        let mut out = b"before".to_vec();
        unpack(packed, 1000, &mut out)?;
        Some(String::from_utf8_lossy(&out[6..]).into_owned())
    }

    #[test]
    fn literals_and_copies() {
        assert_eq!(check(b"\x50hello").as_deref(), Some("hello"));
        assert_eq!(check(b"\x12a\x01\x00\x10z").as_deref(), Some("aaaaaaaz"));
        assert_eq!(check(b"\x34abc\x03\x00\x10!").as_deref(), Some("abcabcabcab!"));
        let long = [&b"\xf0\x05"[..], &[b'x'; 20]].concat();
        assert_eq!(check(&long).map(|text| text.len()), Some(20));
        // Too short, a copy from before the beginning, none at all, output beyond the limit.
        for bad in [
            &b""[..],
            b"\x50hell",
            b"\x10a\x02\x00\x00",
            b"\x10a\x00\x00\x00",
            b"\x1fa\x01\x00\xff\xff\xff\xff\xff\x00\x00",
        ] {
            assert_eq!(check(bad), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic_nor_grow_too_far(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut out = Vec::new();
            let _ = unpack(&bytes, 500, &mut out);
            prop_assert!(out.len() <= 500);
        }
    }
}
