//! Initials of QUIC, sealed as a client or a server seals them (RFC 9001, section 5, and RFC 9369).

use aes::cipher::{Array, BlockCipherEncrypt, KeyInit};
use aes_gcm::Aes128Gcm;
use aes_gcm::aead::AeadInOut;
use hkdf::Hkdf;
use sha2::Sha256;

pub const V1: u32 = 1;
pub const V2: u32 = 0x6b33_43cf;

const SALT_1: [u8; 20] = [
    0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17, 0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad, 0xcc,
    0xbb, 0x7f, 0x0a,
];
const SALT_2: [u8; 20] = [
    0x0d, 0xed, 0xe3, 0xde, 0xf7, 0x00, 0xa6, 0xdb, 0x81, 0x93, 0x81, 0xbe, 0x6e, 0x26, 0x9d, 0xcb, 0xf9,
    0xbd, 0x2e, 0xd9,
];

/// Who seals.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Sealer {
    Client,
    Server,
}

fn expand<const N: usize>(from: &Hkdf<Sha256>, label: &str) -> [u8; N] {
    let info = [&[0, N as u8, 6 + label.len() as u8][..], b"tls13 ", label.as_bytes(), &[0]].concat();
    let mut key = [0; N];
    from.expand(&info, &mut key).expect("short");
    key
}

/// The keys of one side: of version 2, or else of version 1.
pub struct Keys {
    version: u32,
    key: [u8; 16],
    iv: [u8; 12],
    header: [u8; 16],
}

impl Keys {
    /// Keys when the client's first destination connection id is `id`.
    pub fn new(version: u32, id: &[u8], sealer: Sealer) -> Self {
        let (salt, [key, iv, header]) = match version {
            V2 => (SALT_2, ["quicv2 key", "quicv2 iv", "quicv2 hp"]),
            _ => (SALT_1, ["quic key", "quic iv", "quic hp"]),
        };
        let label = if sealer == Sealer::Client { "client in" } else { "server in" };
        let initial = Hkdf::<Sha256>::new(Some(&salt), id);
        let secret = Hkdf::<Sha256>::from_prk(&expand::<32>(&initial, label)).expect("of a digest's length");
        let (key, iv, header) = (expand(&secret, key), expand(&secret, iv), expand(&secret, header));
        Self { version, key, iv, header }
    }

    /// A sealed Initial between these connection ids; frames that are too short to be sealed are padded.
    pub fn initial(&self, destination: &[u8], source: &[u8], number: u16, frames: &[u8]) -> Vec<u8> {
        let mut content = frames.to_vec();
        content.resize(content.len().max(2), 0);
        let length = 0x8000_0000 | (2 + content.len() + 16) as u32;
        let header = [
            &[if self.version == V2 { 0xd1 } else { 0xc1 }][..],
            &self.version.to_be_bytes(),
            &[destination.len() as u8],
            destination,
            &[source.len() as u8],
            source,
            &[0],
            &length.to_be_bytes(),
            &number.to_be_bytes(),
        ]
        .concat();
        let mut nonce = self.iv;
        for (to, byte) in nonce.iter_mut().rev().zip(number.to_be_bytes().iter().rev()) {
            *to ^= byte;
        }
        let cipher = Aes128Gcm::new(&Array::from(self.key));
        let tag = cipher
            .encrypt_inout_detached(&Array::from(nonce), &header, content.as_mut_slice().into())
            .expect("short");
        let mut packet = [&header, &content, &tag[..]].concat();
        let number_at = header.len() - 2;
        let sample: [u8; 16] = packet[number_at + 4..][..16].try_into().expect("padded");
        let mut mask = Array::from(sample);
        aes::Aes128::new(&Array::from(self.header)).encrypt_block(&mut mask);
        packet[0] ^= mask[0] & 0x0f;
        packet[number_at] ^= mask[1];
        packet[number_at + 1] ^= mask[2];
        packet
    }
}

/// A CRYPTO frame.
pub fn crypto(offset: u64, bytes: &[u8]) -> Vec<u8> {
    let length = 0x8000_0000 | bytes.len() as u32;
    [&[6][..], &(offset | 3 << 62).to_be_bytes(), &length.to_be_bytes(), bytes].concat()
}
