//! Bytes as text: base58 for the names of nodes, base32 for invites.

const BASE58: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

fn letter(alphabet: &[u8], digit: u8) -> char {
    alphabet.get(usize::from(digit)).map_or('?', |letter| char::from(*letter))
}

fn digit(alphabet: &[u8], letter: u8) -> Option<u8> {
    alphabet.iter().position(|known| *known == letter).and_then(|at| u8::try_from(at).ok())
}

/// Base58 with Bitcoin's alphabet, as libp2p writes the names of peers.
pub fn to_base58(bytes: &[u8]) -> String {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let mut digits: Vec<u8> = Vec::new();
    for byte in bytes.iter().skip(zeros) {
        let mut carry = u32::from(*byte);
        for digit in &mut digits {
            carry += u32::from(*digit) << 8;
            *digit = (carry % 58) as u8;
            carry /= 58;
        }
        while carry > 0 {
            digits.push((carry % 58) as u8);
            carry /= 58;
        }
    }
    std::iter::repeat_n('1', zeros).chain(digits.iter().rev().map(|digit| letter(BASE58, *digit))).collect()
}

/// The bytes of a base58 text of at most 128 letters.
pub fn from_base58(text: &str) -> Option<Vec<u8>> {
    if text.len() > 128 {
        return None;
    }
    let zeros = text.bytes().take_while(|letter| *letter == b'1').count();
    let mut bytes: Vec<u8> = Vec::new();
    for letter in text.bytes().skip(zeros) {
        let mut carry = u32::from(digit(BASE58, letter)?);
        for byte in &mut bytes {
            carry += u32::from(*byte) * 58;
            *byte = carry as u8;
            carry >>= 8;
        }
        while carry > 0 {
            bytes.push(carry as u8);
            carry >>= 8;
        }
    }
    Some(std::iter::repeat_n(0, zeros).chain(bytes.into_iter().rev()).collect())
}

/// Base32 of RFC 4648 in lower case, without padding.
pub fn to_base32(bytes: &[u8]) -> String {
    let (mut held, mut bits) = (0u32, 0);
    let mut text = String::with_capacity(bytes.len().div_ceil(5) * 8);
    for byte in bytes {
        held = (held << 8) | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            text.push(letter(BASE32, (held >> bits & 31) as u8));
        }
        held &= (1 << bits) - 1;
    }
    if bits > 0 {
        text.push(letter(BASE32, (held << (5 - bits) & 31) as u8));
    }
    text
}

/// The bytes of a base32 text, in any letter case. What does not fill a byte must be zero.
pub fn from_base32(text: &str) -> Option<Vec<u8>> {
    let (mut held, mut bits) = (0u32, 0);
    let mut bytes = Vec::with_capacity(text.len() * 5 / 8);
    for letter in text.bytes() {
        held = (held << 5) | u32::from(digit(BASE32, letter.to_ascii_lowercase())?);
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits) as u8);
        }
        held &= (1 << bits) - 1;
    }
    (held == 0 && bits < 5).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_texts() {
        for (bytes, text) in
            [(&b""[..], ""), (b"\0\0a", "112g"), (b"hello world", "StV1DL6CwTryKyV"), (b"\0", "1")]
        {
            assert_eq!(to_base58(bytes), text);
            assert_eq!(from_base58(text).as_deref(), Some(bytes));
        }
        for (bytes, text) in
            [(&b""[..], ""), (b"f", "my"), (b"fo", "mzxq"), (b"foo", "mzxw6"), (b"foobar", "mzxw6ytboi")]
        {
            assert_eq!(to_base32(bytes), text);
            assert_eq!(from_base32(text).as_deref(), Some(bytes));
        }
        for wrong in ["m", "mz1", "mzxw7", "my=", "ma\u{e9}"] {
            assert_eq!(from_base32(wrong), None, "{wrong}");
        }
        for wrong in ["0", "O", "I", "l", " "] {
            assert_eq!(from_base58(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(bytes: Vec<u8>) {
            prop_assert_eq!(from_base32(&to_base32(&bytes)), Some(bytes.clone()));
            let short = bytes.get(..bytes.len().min(80)).unwrap_or_default();
            prop_assert_eq!(from_base58(&to_base58(short)), Some(short.to_vec()));
        }

        #[test]
        fn any_text_is_refused_or_read(text: String) {
            from_base32(&text);
            from_base58(&text);
        }
    }
}
