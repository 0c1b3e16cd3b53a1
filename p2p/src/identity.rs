//! Who a node is: an Ed25519 key, the name that derives from it, and six words to compare it by.

use std::fmt;
use std::str::FromStr;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};

use crate::text;

/// The public key of a node or of an organisation; the same 32 bytes from which libp2p derives its peer id.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub [u8; 32]);

/// What libp2p puts before an Ed25519 public key: identity multihash of 36 bytes, key type 1, 32 bytes of key.
const PEER_ID_HEAD: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];

impl NodeId {
    /// From 32 bytes; `None` for another number of bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Whether `sig` is this node's signature over `purpose` followed by `bytes`. Weak keys and malleable signatures are refused.
    pub fn verifies(&self, purpose: &[u8], bytes: &[u8], sig: &[u8]) -> bool {
        let (Ok(key), Ok(sig)) = (VerifyingKey::from_bytes(&self.0), Signature::from_slice(sig)) else {
            return false;
        };
        key.verify_strict(&[purpose, bytes].concat(), &sig).is_ok()
    }
}

impl fmt::Display for NodeId {
    /// As libp2p writes it: `12D3KooW…`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&text::to_base58(&[&PEER_ID_HEAD[..], &self.0].concat()))
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that names no node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this is no node's name: they start with 12D3KooW and are 52 letters long")]
pub struct NotANode;

impl FromStr for NodeId {
    type Err = NotANode;
    fn from_str(name: &str) -> Result<Self, NotANode> {
        let bytes = text::from_base58(name.trim()).ok_or(NotANode)?;
        let key = bytes.strip_prefix(&PEER_ID_HEAD[..]).ok_or(NotANode)?;
        Self::from_bytes(key).ok_or(NotANode)
    }
}

/// The secret key of a node or of an organisation. Never printed; wiped when dropped.
#[derive(Clone)]
pub struct NodeKey(SigningKey);

impl NodeKey {
    /// From 32 secret bytes, which the caller draws from the operating system or reads from its state directory.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The public half.
    pub fn id(&self) -> NodeId {
        NodeId(self.0.verifying_key().to_bytes())
    }

    /// The secret, for libp2p's own form of the same key.
    pub(crate) fn seed(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// The signature over `purpose` followed by `bytes`. The purpose keeps a signature from meaning something elsewhere.
    pub fn sign(&self, purpose: &[u8], bytes: &[u8]) -> [u8; 64] {
        self.0.sign(&[purpose, bytes].concat()).to_bytes()
    }
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeKey of {}", self.id())
    }
}

/// The name of a network that messages carry, derived from its pre-shared key: who has not the key cannot tell which network it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NetId(pub [u8; 8]);

impl NetId {
    /// The first 8 bytes of SHA-256("slips-net" || key).
    pub fn of(psk: &[u8; 32]) -> Self {
        let digest = Sha256::new().chain_update(b"slips-net").chain_update(psk).finalize();
        let mut id = [0; 8];
        for (to, from) in id.iter_mut().zip(digest.iter()) {
            *to = *from;
        }
        Self(id)
    }
}

impl fmt::Display for NetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

static WORDS: &str = include_str!("../data/words.txt");

/// How often the hash is repeated: 2^16 rounds make finding a key with a given fingerprint as dear as 66 + 16 = 82 bits.
const ROUNDS: u32 = 1 << 16;

/// Six words for a set of nodes, in whatever order they are named: both ends of an invite show the same six. 11 bits each.
pub fn fingerprint(nodes: &[NodeId]) -> String {
    let mut sorted = nodes.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    let mut digest = Sha256::new().chain_update(b"slips-fingerprint");
    for node in sorted {
        digest.update(node.0);
    }
    let mut hash = digest.finalize();
    for _ in 0..ROUNDS {
        hash = Sha256::digest(hash);
    }
    let mut bits = hash.iter().fold((0u128, 0u32), |(held, taken), byte| match taken {
        9.. => (held, taken),
        _ => (held << 8 | u128::from(*byte), taken + 1),
    });
    let words: Vec<&str> = (0..6)
        .map(|_| {
            let word = WORDS.lines().nth((bits.0 & 2047) as usize).unwrap_or("?");
            bits.0 >>= 11;
            word
        })
        .collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u8) -> NodeKey {
        NodeKey::from_seed(&[n; 32])
    }

    #[test]
    fn names_are_read_again_and_look_like_libp2p() {
        let id = key(1).id();
        let name = id.to_string();
        assert!(name.starts_with("12D3KooW") && name.len() == 52, "{name}");
        assert_eq!(name.parse(), Ok(id));
        for wrong in ["", "12D3KooW", "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N", &name[1..]] {
            assert_eq!(wrong.parse::<NodeId>(), Err(NotANode), "{wrong}");
        }
    }

    #[test]
    fn a_signature_holds_for_its_bytes_purpose_and_key_only() {
        let sig = key(1).sign(b"a", b"b");
        assert!(key(1).id().verifies(b"a", b"b", &sig));
        assert!(!key(2).id().verifies(b"a", b"b", &sig));
        assert!(!key(1).id().verifies(b"c", b"b", &sig));
        assert!(!key(1).id().verifies(b"a", b"c", &sig));
        assert!(!key(1).id().verifies(b"a", b"b", &sig[..63]));
        // The identity point would verify anything under lax rules.
        let mut weak = [0; 32];
        weak[0] = 1;
        assert!(!NodeId(weak).verifies(b"a", b"b", &[0; 64]));
    }

    #[test]
    fn no_secret_is_printed() {
        assert_eq!(format!("{:?}", key(7)), format!("NodeKey of {}", key(7).id()));
    }

    #[test]
    fn fingerprints_are_six_words_whoever_asks() {
        let (a, b) = (key(1).id(), key(2).id());
        let words = fingerprint(&[a, b]);
        assert_eq!(words.split(' ').count(), 6);
        assert!(words.split(' ').all(|word| WORDS.lines().any(|known| known == word)));
        assert_eq!(fingerprint(&[b, a]), words);
        assert_ne!(fingerprint(&[a]), words);
        assert_ne!(fingerprint(&[a, key(3).id()]), words);
    }

    #[test]
    fn the_words_are_told_apart_by_four_letters() {
        let starts: std::collections::BTreeSet<&str> =
            WORDS.lines().map(|word| word.get(..4).unwrap_or(word)).collect();
        assert_eq!((WORDS.lines().count(), starts.len()), (2048, 2048));
    }

    #[test]
    fn networks_differ_by_their_key() {
        assert_ne!(NetId::of(&[1; 32]), NetId::of(&[2; 32]));
        assert_eq!(NetId::of(&[1; 32]).to_string().len(), 16);
    }
}
