//! Names of versions, groups and alerts as Zeek prints them.

use super::ciphers;

/// Whether a version is TLS 1.3 or a draft of it.
pub(super) const fn is_13(version: u16) -> bool {
    matches!(version, 0x0304 | 0xfefc) || version >> 8 == 0x7f
}

pub(super) fn version(number: u16) -> String {
    match number {
        0x0002 => "SSLv2".to_owned(),
        0x0300 => "SSLv3".to_owned(),
        0x0301 => "TLSv10".to_owned(),
        0x0302 => "TLSv11".to_owned(),
        0x0303 => "TLSv12".to_owned(),
        0x0304 => "TLSv13".to_owned(),
        0xfeff => "DTLSv10".to_owned(),
        0xfefd => "DTLSv12".to_owned(),
        0xfefc => "DTLSv13".to_owned(),
        _ if number >> 8 == 0x7f => format!("TLSv13-draft{}", number & 0xff),
        _ => format!("unknown-{number}"),
    }
}

pub(super) fn cipher(number: u16) -> String {
    ciphers::name(number).map_or_else(|| format!("unknown-{number}"), str::to_owned)
}

/// From the IANA registry "TLS Supported Groups".
pub(super) fn group(number: u16) -> String {
    const FIRST: [&str; 30] = [
        "sect163k1",
        "sect163r1",
        "sect163r2",
        "sect193r1",
        "sect193r2",
        "sect233k1",
        "sect233r1",
        "sect239k1",
        "sect283k1",
        "sect283r1",
        "sect409k1",
        "sect409r1",
        "sect571k1",
        "sect571r1",
        "secp160k1",
        "secp160r1",
        "secp160r2",
        "secp192k1",
        "secp192r1",
        "secp224k1",
        "secp224r1",
        "secp256k1",
        "secp256r1",
        "secp384r1",
        "secp521r1",
        "brainpoolP256r1",
        "brainpoolP384r1",
        "brainpoolP512r1",
        "x25519",
        "x448",
    ];
    let name = match number {
        1..=30 => FIRST.get(usize::from(number) - 1).copied().unwrap_or(""),
        256 => "ffdhe2048",
        257 => "ffdhe3072",
        258 => "ffdhe4096",
        259 => "ffdhe6144",
        260 => "ffdhe8192",
        4587 => "SecP256r1MLKEM768",
        4588 => "X25519MLKEM768",
        4589 => "SecP384r1MLKEM1024",
        25497 => "X25519Kyber768Draft00",
        25498 => "SecP256r1Kyber768Draft00",
        65281 => "arbitrary_explicit_prime_curves",
        65282 => "arbitrary_explicit_char2_curves",
        _ => return format!("unknown-{number}"),
    };
    name.to_owned()
}

/// From the IANA registry "TLS Alerts".
pub(super) fn alert(number: u8) -> String {
    let name = match number {
        0 => "close_notify",
        10 => "unexpected_message",
        20 => "bad_record_mac",
        21 => "decryption_failed",
        22 => "record_overflow",
        30 => "decompression_failure",
        40 => "handshake_failure",
        41 => "no_certificate",
        42 => "bad_certificate",
        43 => "unsupported_certificate",
        44 => "certificate_revoked",
        45 => "certificate_expired",
        46 => "certificate_unknown",
        47 => "illegal_parameter",
        48 => "unknown_ca",
        49 => "access_denied",
        50 => "decode_error",
        51 => "decrypt_error",
        60 => "export_restriction",
        70 => "protocol_version",
        71 => "insufficient_security",
        80 => "internal_error",
        86 => "inappropriate_fallback",
        90 => "user_canceled",
        100 => "no_renegotiation",
        109 => "missing_extension",
        110 => "unsupported_extension",
        111 => "certificate_unobtainable",
        112 => "unrecognized_name",
        113 => "bad_certificate_status_response",
        114 => "bad_certificate_hash_value",
        115 => "unknown_psk_identity",
        116 => "certificate_required",
        120 => "no_application_protocol",
        _ => return format!("unknown-{number}"),
    };
    name.to_owned()
}
