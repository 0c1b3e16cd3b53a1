//! How what outside programs say is signed: HMAC-SHA256 by a secret that they share with us.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// What is signed: channel, module, router, time, nonce and body, each but the last ended by a line feed, which none of them has.
pub(super) fn signed(
    channel: &str,
    module: &str,
    router: &str,
    time: i64,
    nonce: &str,
    body: &str,
) -> String {
    format!("{channel}\n{module}\n{router}\n{time}\n{nonce}\n{body}")
}

/// Whether this is the signature of a text, compared in a time that tells nothing.
pub(super) fn verifies(secret: &str, text: &str, signature: &[u8]) -> bool {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else { return false };
    mac.update(text.as_bytes());
    mac.verify_slice(signature).is_ok()
}

/// The bytes of a signature in hex.
pub(super) fn unhex(text: &str) -> Option<Vec<u8>> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    (0..32).map(|at| u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()).collect()
}
