//! What OpenSSL calls the algorithms and curves of certificates, and so does Zeek.

use super::distinguished::dotted;

/// An algorithm of a key or of a signature.
pub(super) fn algorithm(object: &[u8]) -> String {
    let name = match object {
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, last] => match last {
            1 => "rsaEncryption",
            2 => "md2WithRSAEncryption",
            3 => "md4WithRSAEncryption",
            4 => "md5WithRSAEncryption",
            5 => "sha1WithRSAEncryption",
            7 => "rsaesOaep",
            10 => "rsassaPss",
            11 => "sha256WithRSAEncryption",
            12 => "sha384WithRSAEncryption",
            13 => "sha512WithRSAEncryption",
            14 => "sha224WithRSAEncryption",
            _ => "",
        },
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1] => "id-ecPublicKey",
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1] => "ecdsa-with-SHA1",
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, last] => match last {
            1 => "ecdsa-with-SHA224",
            2 => "ecdsa-with-SHA256",
            3 => "ecdsa-with-SHA384",
            4 => "ecdsa-with-SHA512",
            _ => "",
        },
        [0x2a, 0x86, 0x48, 0xce, 0x38, 4, 1] => "dsaEncryption",
        [0x2a, 0x86, 0x48, 0xce, 0x38, 4, 3] => "dsaWithSHA1",
        [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 3, 2] => "dsa_with_SHA256",
        [0x2b, 0x0e, 3, 2, 29] => "sha1WithRSA",
        [0x2b, 0x65, last] => match last {
            110 => "X25519",
            111 => "X448",
            112 => "ED25519",
            113 => "ED448",
            _ => "",
        },
        _ => "",
    };
    if name.is_empty() { dotted(object) } else { name.to_owned() }
}

/// A named curve, and the bits of its keys.
pub(super) fn curve(object: &[u8]) -> (String, Option<u32>) {
    let (name, bits) = match object {
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 1] => ("prime192v1", 192),
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7] => ("prime256v1", 256),
        [0x2b, 0x81, 4, 0, 10] => ("secp256k1", 256),
        [0x2b, 0x81, 4, 0, 33] => ("secp224r1", 224),
        [0x2b, 0x81, 4, 0, 34] => ("secp384r1", 384),
        [0x2b, 0x81, 4, 0, 35] => ("secp521r1", 521),
        [0x2b, 0x24, 3, 3, 2, 8, 1, 1, 7] => ("brainpoolP256r1", 256),
        [0x2b, 0x24, 3, 3, 2, 8, 1, 1, 11] => ("brainpoolP384r1", 384),
        [0x2b, 0x24, 3, 3, 2, 8, 1, 1, 13] => ("brainpoolP512r1", 512),
        _ => return (dotted(object), None),
    };
    (name.to_owned(), Some(bits))
}
