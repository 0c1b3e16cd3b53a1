//! The key exchange: lists of algorithms, what follows from both sides' lists, and the server's key.

use md5::Md5;
use sha2::{Digest, Sha256};

use crate::tls::hex;
use crate::track::Dir;
use crate::wire::be32;

/// Longest algorithm name that is kept; RFC 4251 allows 64 bytes.
const MAX_NAME: usize = 64;
/// Characters of a fingerprint, as Zeek prints it.
const FINGERPRINT: usize = 32;

/// Algorithms that both sides agree upon.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Chosen {
    pub(crate) kex: String,
    pub(crate) host_key: String,
    pub(crate) cipher: String,
    pub(crate) mac: String,
    pub(crate) compression: String,
}

/// The key exchange of a connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Negotiation {
    /// The first list of lists of each side, until both are known.
    offers: [Option<Vec<u8>>; 2],
    chosen: Option<Box<Chosen>>,
    host_key: String,
    /// HASSH of each side's offer.
    hassh: [String; 2],
}

impl Negotiation {
    /// A side's lists, from behind the message number.
    pub(crate) fn take_init(&mut self, dir: Dir, message: &[u8]) {
        if self.chosen.is_some() {
            return;
        }
        // behind a cookie of 16 bytes
        let Some(lists) = message.get(16..) else { return };
        let offer = &mut self.offers[dir as usize];
        if offer.is_none() {
            *offer = Some(lists.to_vec());
            self.hassh[dir as usize] = hassh(dir, lists);
        }
        if let [Some(client), Some(server)] = &self.offers {
            self.chosen = Some(Box::new(choose(client, server)));
            self.forget();
        }
    }

    /// A message of the server that may begin with its key.
    pub(crate) fn take_reply(&mut self, number: u8, message: &[u8]) {
        let Some(chosen) = &self.chosen else { return };
        let with_key = match number {
            33 => chosen.kex.contains("group-exchange"),
            31 => !chosen.kex.contains("group-exchange"),
            _ => chosen.kex.starts_with("rsa"),
        };
        let key = be32(message, 0).and_then(|length| message.get(4..)?.get(..length as usize));
        if let Some(key) = key.filter(|key| with_key && !key.is_empty() && self.host_key.is_empty()) {
            self.host_key = fingerprint(key);
        }
    }

    pub(crate) fn chosen(&self) -> Option<&Chosen> {
        self.chosen.as_deref()
    }

    /// The fingerprint of the server's key, empty while unknown.
    pub(crate) fn host_key(&self) -> &str {
        &self.host_key
    }

    /// HASSH of the client's offer or HASSHServer of the server's, empty while there is none.
    pub(crate) fn hassh(&self, dir: Dir) -> String {
        self.hassh[dir as usize].clone()
    }

    pub(crate) fn forget(&mut self) {
        self.offers = [None, None];
    }

    pub(crate) fn flip(&mut self) {
        self.offers.reverse();
        self.hassh.reverse();
    }

    pub(crate) fn held(&self) -> usize {
        self.offers.iter().flatten().map(Vec::len).sum()
    }
}

/// The lists of a message: each has its length before it and commas between its names.
fn lists(mut bytes: &[u8]) -> [&[u8]; 8] {
    let mut found: [&[u8]; 8] = [&[]; 8];
    for list in &mut found {
        let Some(length) = be32(bytes, 0) else { break };
        let (Some(names), Some(rest)) = (
            bytes.get(4..).and_then(|names| names.get(..length as usize)),
            (length as usize).checked_add(4).and_then(|end| bytes.get(end..)),
        ) else {
            break;
        };
        *list = names;
        bytes = rest;
    }
    found
}

fn choose(client: &[u8], server: &[u8]) -> Chosen {
    let (client, server) = (lists(client), lists(server));
    let agreed = |n: usize| agreed(client[n], server[n]);
    let two_ways = |n: usize| {
        let (to_server, to_client) = (agreed(n), agreed(n + 1));
        if to_server == to_client {
            to_server
        } else {
            format!("To server: {to_server}, to client: {to_client}")
        }
    };
    Chosen {
        kex: agreed(0),
        host_key: agreed(1),
        cipher: two_ways(2),
        mac: two_ways(4),
        compression: two_ways(6),
    }
}

/// MD5 of what a side offers for what it sends: key exchange, ciphers, MACs, compressions (salesforce/hassh, BSD-3).
fn hassh(dir: Dir, offer: &[u8]) -> String {
    let offer = lists(offer);
    let sends = dir as usize;
    let mut digest = Md5::new();
    for (nth, list) in
        [offer[0], offer[2 + sends], offer[4 + sends], offer[6 + sends]].into_iter().enumerate()
    {
        if nth > 0 {
            digest.update(b";");
        }
        digest.update(list);
    }
    hex(&digest.finalize())
}

/// The client's first choice that the server has too.
fn agreed(client: &[u8], server: &[u8]) -> String {
    // Bounds what two long lists of one-letter names would cost.
    const MAX_NAMES: usize = 200;
    fn names(list: &[u8]) -> impl Iterator<Item = &[u8]> {
        list.split(|byte| *byte == b',').take(MAX_NAMES)
    }
    let name = names(client).find(|name| names(server).any(|other| other == *name)).unwrap_or(&[]);
    String::from_utf8_lossy(name.get(..MAX_NAME).unwrap_or(name)).into_owned()
}

/// The beginning of the key's SHA-256, as Zeek prints it.
fn fingerprint(key: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digest = Sha256::digest(key);
    let mut text = String::from("SHA256:");
    for three in digest.chunks_exact(3).take(FINGERPRINT / 4) {
        let word = three.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte));
        for shift in [18, 12, 6, 0] {
            text.push(char::from(LETTERS[(word >> shift) as usize & 63]));
        }
    }
    text
}
