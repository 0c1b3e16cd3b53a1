//! Names out of what SASL mechanisms send in base64. Passwords are passed over.

use super::{Attempt, short};

/// Longest message that is decoded.
const MAX_MESSAGE: usize = 1024;

/// The bytes of base64, up to what is none.
pub(crate) fn decode(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len().min(MAX_MESSAGE) * 3 / 4);
    let (mut word, mut bits) = (0u32, 0);
    for letter in text.iter().take(MAX_MESSAGE) {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => break,
        };
        word = word << 6 | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((word >> bits) as u8);
        }
    }
    bytes
}

/// Notes what a client's message (`nth`, from 0) of the attempt's mechanism says.
pub(crate) fn message(attempt: &mut Attempt, nth: u32, text: &[u8]) {
    let bytes = decode(text);
    match (attempt.method.as_str(), nth) {
        ("PLAIN", 0) => {
            // authorisation identity, user, password
            let mut fields = bytes.split(|byte| *byte == 0).skip(1);
            // what stands where the user should may be the password where there are but two
            if let (Some(user), Some(password)) = (fields.next(), fields.next()) {
                (attempt.user, attempt.clear_password) = (short(user), !password.is_empty());
            }
        }
        ("LOGIN", 0) => attempt.user = short(&bytes),
        ("LOGIN", 1) => attempt.clear_password = !bytes.is_empty(),
        ("CRAM-MD5", 0) => {
            attempt.user = bytes.split(|byte| *byte == b' ').next().map(short).unwrap_or_default();
        }
        ("XOAUTH2" | "OAUTHBEARER", 0) => {
            let user = bytes.strip_prefix(b"user=").or_else(|| bytes.strip_prefix(b"n,a=")).unwrap_or(&[]);
            attempt.user = user.split(|byte| matches!(byte, 1 | b',')).next().map(short).unwrap_or_default();
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_out_and_passwords_do_not() {
        for (method, messages, user, clear) in [
            ("PLAIN", vec!["AHRlc3QAcGFzcw=="], "test", true),
            ("LOGIN", vec!["dGVzdA==", "cGFzcw=="], "test", true),
            ("CRAM-MD5", vec!["dGVzdCBkZWFkYmVlZg=="], "test", false),
            ("XOAUTH2", vec!["dXNlcj10ZXN0AWF1dGg9QmVhcmVyIHgBAQ=="], "test", false),
            ("PLAIN", vec!["****"], "", false),
            ("PLAIN", vec!["dGVzdABwYXNz"], "", false),
            ("SCRAM-SHA-1", vec!["bixh"], "", false),
        ] {
            let mut attempt = Attempt::of(String::new(), method);
            for (nth, text) in messages.iter().enumerate() {
                message(&mut attempt, nth as u32, text.as_bytes());
            }
            assert_eq!((attempt.user.as_str(), attempt.clear_password), (user, clear), "{method}");
            assert!(!format!("{attempt:?}").contains("pass\""));
        }
    }
}
