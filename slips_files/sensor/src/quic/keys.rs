//! The protection of Initials, whose keys anybody can derive from the client's first packet (RFC 9001, section 5).

use std::ops::Range;

use aes::cipher::{Array, BlockCipherEncrypt, KeyInit};
use aes_gcm::Aes128Gcm;
use aes_gcm::aead::AeadInOut;
use hkdf::Hkdf;
use sha2::Sha256;

use super::version::Version;

/// Whose packets a key opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sender {
    Client,
    Server,
}

/// What opens the Initials of one side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Keys {
    pub(super) version: Version,
    key: [u8; 16],
    iv: [u8; 12],
    header: [u8; 16],
}

const TAG: usize = 16;
/// The packet number is taken to have four bytes when the sample behind it is found.
const LONGEST_NUMBER: usize = 4;

/// A key of TLS 1.3 (RFC 8446, section 7.1): `label` without a context.
fn expand<const N: usize>(from: &Hkdf<Sha256>, label: &str) -> [u8; N] {
    let mut key = [0; N];
    let (length, prefixed) = ([0, N as u8], [6 + label.len() as u8]);
    let info = [&length[..], &prefixed, b"tls13 ", label.as_bytes(), &[0]];
    // only a key longer than 255 digests is refused
    let _ = from.expand_multi_info(&info, &mut key);
    key
}

impl Keys {
    /// The keys of `sender` when the client's first destination connection id is `id`.
    pub(super) fn derive(version: Version, id: &[u8], sender: Sender) -> Option<Self> {
        let initial = Hkdf::<Sha256>::new(Some(&version.salt()), id);
        let label = match sender {
            Sender::Client => "client in",
            Sender::Server => "server in",
        };
        let secret = Hkdf::<Sha256>::from_prk(&expand::<32>(&initial, label)).ok()?;
        let [key, iv, header] = version.labels();
        let (key, iv, header) = (expand(&secret, key), expand(&secret, iv), expand(&secret, header));
        Some(Self { version, key, iv, header })
    }

    /// Opens a packet whose protected number begins at `number_at`, into `room`; where its frames are. `None` when it is not authentic.
    pub(super) fn open(&self, packet: &[u8], number_at: usize, room: &mut Vec<u8>) -> Option<Range<usize>> {
        let sample_at = number_at.checked_add(LONGEST_NUMBER)?;
        let sample: &[u8; TAG] = packet.get(sample_at..)?.first_chunk()?;
        let mut mask = Array::from(*sample);
        aes::Aes128::new(&Array::from(self.header)).encrypt_block(&mut mask);
        room.clear();
        room.extend_from_slice(packet);
        let (first, mask) = mask.split_first()?;
        let opened = room.first_mut()?;
        *opened ^= first & 0x0f;
        let length = usize::from(*opened & 3) + 1;
        let mut nonce = self.iv;
        let number = room.get_mut(number_at..number_at + length)?;
        for (byte, mask) in number.iter_mut().zip(mask) {
            *byte ^= mask;
        }
        for (to, byte) in nonce.iter_mut().rev().zip(number.iter().rev()) {
            *to ^= *byte;
        }
        let (header, content) = room.split_at_mut_checked(number_at + length)?;
        let (content, tag) = content.split_at_mut_checked(content.len().checked_sub(TAG)?)?;
        let frames = header.len()..header.len() + content.len();
        let tag: &[u8; TAG] = tag.first_chunk()?;
        let cipher = Aes128Gcm::new(&Array::from(self.key));
        cipher
            .decrypt_inout_detached(&Array::from(nonce), header, content.into(), &Array::from(*tag))
            .ok()?;
        Some(frames)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Bytes of hexadecimal digits.
    fn bytes(digits: &str) -> Vec<u8> {
        let digits: Vec<u8> =
            digits.bytes().filter_map(|digit| char::from(digit).to_digit(16)).map(|d| d as u8).collect();
        digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    }

    fn check(version: u32, sender: Sender, key: &str, iv: &str, header: &str) -> Keys {
        let version = Version::known(version).expect("version");
        let keys = Keys::derive(version, &bytes("8394c8f03e515708"), sender).expect("keys");
        assert_eq!(keys.key, bytes(key)[..]);
        assert_eq!(keys.iv, bytes(iv)[..]);
        assert_eq!(keys.header, bytes(header)[..]);
        keys
    }

    /// Protects a packet: `header` ends with the packet number of two bytes, which is `number`.
    pub(in super::super) fn seal(keys: &Keys, header: &[u8], number: u16, frames: &[u8]) -> Vec<u8> {
        let mut nonce = keys.iv;
        for (to, byte) in nonce.iter_mut().rev().zip(number.to_be_bytes().iter().rev()) {
            *to ^= byte;
        }
        let mut content = frames.to_vec();
        let cipher = Aes128Gcm::new(&Array::from(keys.key));
        let nonce = Array::from(nonce);
        let tag =
            cipher.encrypt_inout_detached(&nonce, header, content.as_mut_slice().into()).expect("sealed");
        let mut packet = [header, &content, &tag[..]].concat();
        let number_at = header.len() - 2;
        let sample: [u8; 16] = packet[number_at + 4..][..16].try_into().expect("sample");
        let mut mask = Array::from(sample);
        aes::Aes128::new(&Array::from(keys.header)).encrypt_block(&mut mask);
        packet[0] ^= mask[0] & 0x0f;
        packet[number_at] ^= mask[1];
        packet[number_at + 1] ^= mask[2];
        packet
    }

    #[test]
    fn keys_equal_those_of_rfc_9001() {
        check(
            1,
            Sender::Client,
            "1f369613dd76d5467730efcbe3b1a22d",
            "fa044b2f42a3fd3b46fb255c",
            "9f50449e04a0e810283a1e9933adedd2",
        );
        let server = check(
            1,
            Sender::Server,
            "cf3a5331653c364c88f0f379b6067e37",
            "0ac1493ca1905853b0bba03e",
            "c206b8d9b9f0f37644430b490eeaa314",
        );
        // appendix A.3: an acknowledgement and the server's hello
        let packet = bytes(
            "cf000000010008f067a5502a4262b5004075c0d95a482cd0991cd25b0aac406a5816b6394100f37a1c69797554780bb3
             8cc5a99f5ede4cf73c3ec2493a1839b3dbcba3f6ea46c5b7684df3548e7ddeb9c3bf9c73cc3f3bded74b562bfb19fb84
             022f8ef4cdd93795d77d06edbb7aaf2f58891850abbdca3d20398c276456cbc42158407dd074ee",
        );
        let mut room = Vec::new();
        let frames = server.open(&packet, 18, &mut room).expect("opened");
        assert_eq!(room[frames][..11], bytes("02000000000600405a0200"));
        for at in 0..packet.len() {
            let mut damaged = packet.clone();
            damaged[at] ^= 1;
            assert_eq!(server.open(&damaged, 18, &mut room), None, "{at}");
            assert_eq!(server.open(&packet[..at], 18, &mut room), None, "{at}");
        }
    }

    #[test]
    fn keys_equal_those_of_rfc_9369() {
        check(
            0x6b33_43cf,
            Sender::Client,
            "8b1a0bc121284290a29e0971b5cd045d",
            "91f73e2351d8fa91660e909f",
            "45b95e15235d6f45a6b19cbcb0294ba9",
        );
        check(
            0x6b33_43cf,
            Sender::Server,
            "82db637861d55e1d011f19ea71d5d2a7",
            "dd13c276499c0249d3310652",
            "edf6d05c83121201b436e16877593c3a",
        );
    }
}
