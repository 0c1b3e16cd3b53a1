//! Domain names with compression, read so that no input can make the reader loop or grow.

use std::fmt::Write as _;

/// Longest name, by the number of its bytes on the wire.
const MAX_NAME: usize = 255;
/// Compression pointers that one name may follow.
const MAX_POINTERS: usize = 32;

/// Reads the name at `at` into lower-case text without a final dot. Returns it with the place behind it.
pub(super) fn read(message: &[u8], at: usize) -> Option<(String, usize)> {
    let mut length = 0;
    let behind = labels(message, at, |label| length += label.len() + 1)?;
    // one allocation, and only bytes that are written as numbers make it grow
    let mut text = String::with_capacity(length.saturating_sub(1));
    labels(message, at, |label| {
        if !text.is_empty() {
            text.push('.');
        }
        push_label(&mut text, label);
    })?;
    Some((text, behind))
}

/// The place behind the name at `at`, if all of it can be read.
pub(super) fn check(message: &[u8], at: usize) -> Option<usize> {
    labels(message, at, |_| {})
}

/// Hands on the labels of the name at `at`; the place behind it.
fn labels<'a>(message: &'a [u8], mut at: usize, mut each: impl FnMut(&'a [u8])) -> Option<usize> {
    let (mut behind, mut wire_length) = (None, 0usize);
    let mut pointers = 0;
    loop {
        let length = *message.get(at)?;
        match length >> 6 {
            0 if length == 0 => return Some(behind.unwrap_or(at + 1)),
            0 => {
                wire_length += usize::from(length) + 1;
                let label = message.get(at + 1..at + 1 + usize::from(length))?;
                if wire_length > MAX_NAME {
                    return None;
                }
                each(label);
                at += 1 + usize::from(length);
            }
            3 => {
                let low = *message.get(at + 1)?;
                behind = behind.or(Some(at + 2));
                at = usize::from(length & 0x3f) << 8 | usize::from(low);
                pointers += 1;
                if pointers > MAX_POINTERS {
                    return None;
                }
            }
            _ => return None,
        }
    }
}

/// The place behind the name at `at`.
pub(super) fn skip(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            length @ 1..=63 => at += 1 + usize::from(length),
            0xc0.. => return Some(at + 2),
            _ => return None,
        }
    }
}

fn push_label(text: &mut String, label: &[u8]) {
    for &byte in label {
        if byte.is_ascii_graphic() || byte == b' ' {
            text.push(char::from(byte.to_ascii_lowercase()));
        } else {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
}

/// The name behind NetBIOS' first-level encoding (RFC 1001, section 14.1), without padding and suffix byte.
pub(super) fn netbios(encoded: &str) -> Option<String> {
    let label = encoded.split('.').next()?.as_bytes();
    if label.len() != 32 {
        return None;
    }
    let nibble = |byte: u8| byte.to_ascii_lowercase().checked_sub(b'a').filter(|nibble| *nibble < 16);
    let mut name = String::new();
    for pair in label.chunks_exact(2).take(15) {
        if let [high, low] = pair {
            let byte = nibble(*high)? << 4 | nibble(*low)?;
            if byte.is_ascii_graphic() || byte == b' ' {
                name.push(char::from(byte));
            } else if byte != 0 {
                let _ = write!(name, "\\x{byte:02x}");
            }
        }
    }
    name.truncate(name.trim_end().len());
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lower_cased_and_pointers_followed() {
        let message = b"\x03WwW\x07example\x00\x04mail\xc0\x04\x01\xff\x00";
        assert_eq!(read(message, 0), Some(("www.example".into(), 13)));
        assert_eq!(read(message, 13), Some(("mail.example".into(), 20)));
        assert_eq!(read(message, 20), Some(("\\xff".into(), 23)));
    }

    #[test]
    fn loops_and_overlong_names_are_refused() {
        assert_eq!(read(b"\xc0\x00", 0), None);
        assert_eq!(read(b"\x01a\xc0\x00", 0), None);
        assert_eq!(read(b"\x40aa", 0), None);
        assert_eq!(read(b"\x05abc", 0), None);
        let mut long = Vec::new();
        for _ in 0..5 {
            long.push(63);
            long.extend([b'a'; 63]);
        }
        long.push(0);
        assert_eq!(read(&long, 0), None);
    }

    #[test]
    fn netbios_names_are_decoded() {
        assert_eq!(netbios("fhfaebeecacacacacacacacacacacaaa").as_deref(), Some("WPAD"));
        assert_eq!(netbios("wpad"), None);
    }
}
