//! LZO1X, as the Linux kernel's documentation describes the stream.

use super::{Output, byte, two};

/// Unpacks `packed` behind the end of `out`, up to `most` bytes; `None` when it is damaged or grows too far.
pub(in crate::nfdump) fn unpack(packed: &[u8], most: usize, out: &mut Vec<u8>) -> Option<()> {
    let mut out = Output::new(out, most);
    let mut rest = packed;
    // How many literals came after the last copy; four and more stand for a run.
    let mut before = 0;
    if let Some(first) = rest.first().filter(|first| **first > 17) {
        let count = usize::from(first - 17);
        byte(&mut rest)?;
        out.literals(count, &mut rest)?;
        before = count.min(4);
    }
    loop {
        let code = usize::from(byte(&mut rest)?);
        let (distance, count, after) = match (code, before) {
            (0..16, 0) => {
                let count = length(code, 15, &mut rest)? + 3;
                out.literals(count, &mut rest)?;
                before = 4;
                continue;
            }
            (0..16, 1..4) => ((usize::from(byte(&mut rest)?) << 2) + (code >> 2) + 1, 2, code & 3),
            (0..16, _) => ((usize::from(byte(&mut rest)?) << 2) + (code >> 2) + 2049, 3, code & 3),
            (16..32, _) => {
                let count = length(code & 7, 7, &mut rest)? + 2;
                let low = two(&mut rest)?;
                let distance = 0x4000 + ((code & 8) << 11) + (low >> 2);
                if distance == 0x4000 {
                    // The end; what follows it is not ours.
                    return (count == 3).then_some(());
                }
                (distance, count, low & 3)
            }
            (32..64, _) => {
                let count = length(code & 31, 31, &mut rest)? + 2;
                let low = two(&mut rest)?;
                ((low >> 2) + 1, count, low & 3)
            }
            _ => ((usize::from(byte(&mut rest)?) << 3) + (code >> 2 & 7) + 1, (code >> 5) + 1, code & 3),
        };
        out.repeat(distance, count)?;
        out.literals(after, &mut rest)?;
        before = after;
    }
}

/// A length in the low bits of a code; zero stands for more than `most`, told by the bytes that follow.
fn length(bits: usize, most: usize, rest: &mut &[u8]) -> Option<usize> {
    if bits > 0 {
        return Some(bits);
    }
    let mut total = most;
    loop {
        match byte(rest)? {
            0 => total = total.checked_add(255)?,
            last => return Some(total + usize::from(last)),
        }
    }
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
        let end = b"\x11\0\0";
        let with_end = |bytes: &[u8]| check(&[bytes, end].concat());
        assert_eq!(with_end(b"\x16hello").as_deref(), Some("hello"));
        assert_eq!(with_end(b"\x02hello").as_deref(), Some("hello"));
        // Three letters, then four bytes from three back and one literal more.
        assert_eq!(with_end(b"\x14abc\x69\x00!").as_deref(), Some("abcabca!"));
        // A long copy of one letter.
        assert_eq!(with_end(b"\x15xxxx\x20\x05\x00\x00").map(|text| text.len()), Some(4 + 31 + 5 + 2));
        // A long run of literals.
        let long = [&b"\x00\x02"[..], &[b'x'; 20]].concat();
        assert_eq!(with_end(&long).map(|text| text.len()), Some(20));
        for bad in [
            &b""[..],
            b"\x16hell",
            b"\x16hello",
            b"\x14abc\x69\x09!\x11\0\0",
            b"\x15xxxx\x20\0\0\0\0\x05\0\0\x11\0\0",
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
