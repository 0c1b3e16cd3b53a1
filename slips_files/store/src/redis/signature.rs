//! How what is said over Redis is signed: HMAC-SHA256 by a secret that only routers have. A module has a key of its own that is made of it, so
//! that none can speak in the name of another, or of a router.

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

/// The key of a module: what it signs with, and what of the secret it may know.
pub(super) fn module_key(secret: &str, module: &str) -> String {
    sign(secret, &format!("slips-module:{module}"))
}

/// A signature, in hex.
pub(super) fn sign(secret: &str, text: &str) -> String {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else { return String::new() };
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether this is the signature in hex of a text.
pub(super) fn is_signed(secret: &str, text: &str, signature: &str) -> bool {
    unhex(signature).is_some_and(|signature| verifies(secret, text, &signature))
}

/// What a seal adds to JSON, but for the signature in it.
const SEAL: (&str, &str) = (",\"signature\":\"", "\"}");

/// An object in JSON with the signature of itself and of what it is as its last field.
pub(super) fn seal(secret: &str, what: &str, json: &str) -> String {
    match json.strip_suffix('}') {
        Some(open) => format!("{open}{}{}{}", SEAL.0, sign(secret, &format!("{what}\n{json}")), SEAL.1),
        None => json.to_owned(),
    }
}

/// Whether somebody with the secret sealed this.
pub(super) fn is_sealed(secret: &str, what: &str, sealed: &str) -> bool {
    let parts = || {
        let (open, signature) = sealed.strip_suffix(SEAL.1)?.rsplit_once(SEAL.0)?;
        Some((format!("{what}\n{open}}}"), signature))
    };
    parts().is_some_and(|(text, signature)| is_signed(secret, &text, signature))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_holds_for_its_text_and_its_use_alone() {
        let sealed = seal("secret", "alert\ngw1", r#"{"a":"b","signature":"c"}"#);
        assert!(is_sealed("secret", "alert\ngw1", &sealed));
        assert!(serde_json::from_str::<serde_json::Value>(&seal("secret", "x", r#"{"a":1}"#)).is_ok());
        assert!(!is_sealed("secret", "alert\ngw2", &sealed));
        assert!(!is_sealed("another", "alert\ngw1", &sealed));
        assert!(!is_sealed("secret", "alert\ngw1", &sealed.replace("\"b\"", "\"d\"")));
        for text in ["", "{}", "\"}", r#"{"a":1,"signature":"00"}"#] {
            assert!(!is_sealed("secret", "", text), "{text}");
        }
    }

    /// As docs/redis.md has it: `printf %s slips-module:honeypot | openssl dgst -sha256 -hmac SECRET`.
    #[test]
    fn the_key_of_a_module_is_what_openssl_makes_of_the_secret() {
        assert_eq!(
            module_key("0123456789abcdef0123456789abcdef", "honeypot"),
            "da647cd6116df66f135e1304c120e41393afeb1167b141d3e850601535b9c54f"
        );
    }
}
