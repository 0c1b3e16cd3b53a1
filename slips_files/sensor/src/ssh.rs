//! SSH identification strings.

use slips_core::event::{About, Ssh};

use crate::track::Dir;

/// RFC 4253 allows 255 bytes.
const MAX_BANNER: usize = 255;

/// What the two sides said they are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Banners {
    sides: [String; 2],
}

/// The identification string in the first payload of a side; a server may send other lines before it.
pub(crate) fn banner(payload: &[u8]) -> Option<&[u8]> {
    payload
        .split(|byte| *byte == b'\n')
        .take(16)
        .find(|line| line.starts_with(b"SSH-1.") || line.starts_with(b"SSH-2."))
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .map(|line| line.get(..MAX_BANNER).unwrap_or(line))
}

impl Banners {
    pub(crate) fn note(&mut self, dir: Dir, line: &[u8]) {
        let text = &mut self.sides[dir as usize];
        if text.is_empty() {
            text.push_str(&String::from_utf8_lossy(line));
        }
    }

    pub(crate) fn flip(&mut self) {
        self.sides.reverse();
    }

    pub(crate) fn are_both_known(&self) -> bool {
        self.sides.iter().all(|side| !side.is_empty())
    }

    /// The record at the end of the flow.
    pub(crate) fn record(self, about: About) -> Ssh {
        let [client, server] = self.sides;
        let is_two = |side: &str| side.starts_with("SSH-2.") || side.starts_with("SSH-1.99");
        let version = match (is_two(&client), is_two(&server)) {
            (true, true) => Some(2),
            (false, false) => Some(1),
            _ => None,
        };
        Ssh {
            about,
            version,
            auth_success: None,
            auth_attempts: 0,
            client,
            server,
            cipher_alg: String::new(),
            mac_alg: String::new(),
            compression_alg: String::new(),
            kex_alg: String::new(),
            host_key_alg: String::new(),
            host_key: String::new(),
        }
    }
}
