//! SSH: identification strings, what was negotiated, the server's key, and from the sizes of what follows encrypted how
//! often somebody tried to log in.

mod auth;
mod kex;
#[cfg(test)]
mod tests;

use slips_core::event::{About, Ssh};

use crate::account::Account;
use crate::stream::{Data, Memory, Segment, Stream};
use crate::track::Dir;
use crate::wire::{be32, byte};
use auth::Attempts;
use kex::Negotiation;

/// RFC 4253 allows 255 bytes.
const MAX_BANNER: usize = 255;
/// Bytes that a server may say before its identification string.
const MAX_BEFORE_BANNER: usize = 8 << 10;
/// Largest packet that is read; RFC 4253 asks implementations to bear 35000 bytes.
const MAX_PACKET: u32 = 35_000;

/// What is read of one side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Banner,
    Packets,
    Encrypted,
    /// Bytes are missing or make no sense: the rest is not read.
    Lost,
}

#[derive(Clone, Debug, Default)]
struct Half {
    stage: Stage,
    banner: String,
    /// Bytes of a line or packet that is not complete.
    begun: Vec<u8>,
    /// Bytes read before the identification string.
    before: usize,
}

/// An SSH connection.
#[derive(Debug, Default)]
pub(crate) struct Session {
    sides: [Half; 2],
    kex: Negotiation,
    attempts: Attempts,
    stream: Stream,
    /// Bytes that this session has in the common account.
    held: usize,
    told: bool,
}

/// Whether a payload has an identification string; a server may send other lines before it.
pub(crate) fn has_banner(payload: &[u8]) -> bool {
    payload.split(|byte| *byte == b'\n').take(16).any(is_banner)
}

fn is_banner(line: &[u8]) -> bool {
    line.starts_with(b"SSH-1.") || line.starts_with(b"SSH-2.")
}

impl Session {
    /// Begins to read at these positions of its sides.
    pub(crate) fn begin(&mut self, [orig, resp]: [u64; 2]) {
        self.stream.begin(orig, resp);
    }

    /// Takes a segment, in whatever order they come. True when it is now certain that somebody logged in.
    pub(crate) fn read(&mut self, segment: &Segment<'_>, memory: &mut Memory, held: &mut Account) -> bool {
        if self.told {
            self.stream.clear(memory);
            return false;
        }
        let mut stream = std::mem::take(&mut self.stream);
        let mut success = false;
        stream.read(segment, memory, &mut |dir, data| match data {
            Data::Bytes(bytes) => success |= self.push(dir, bytes, held),
            Data::Gap(_) => self.lose(dir, held),
        });
        self.stream = stream;
        success
    }

    /// Takes the next bytes of `dir`, one segment. `held` counts the bytes of all sessions. True when it is now certain
    /// that somebody logged in, which is the moment to tell of the session.
    fn push(&mut self, dir: Dir, bytes: &[u8], held: &mut Account) -> bool {
        if self.told {
            return false;
        }
        let plain = self.read_plain(dir, bytes);
        self.account(held);
        let encrypted = bytes.len().saturating_sub(plain);
        encrypted > 0 && self.may_judge() && self.attempts.segment(dir, encrypted as u64)
    }

    /// Bytes of `dir` are missing.
    fn lose(&mut self, dir: Dir, held: &mut Account) {
        self.attempts.give_up();
        self.half(dir).lose();
        self.account(held);
    }

    /// Gives back what it holds of the common account.
    pub(crate) fn close(&mut self, memory: &mut Memory, held: &mut Account) {
        self.stream.clear(memory);
        self.forget(held);
    }

    /// Reads nothing any more.
    fn forget(&mut self, held: &mut Account) {
        self.sides.iter_mut().for_each(Half::lose);
        self.kex.forget();
        self.account(held);
    }

    pub(crate) fn flip(&mut self) {
        self.sides.reverse();
        self.stream.flip();
        self.kex.flip();
    }

    /// Whether there is something to tell: both identified themselves, or one did on SSH's own port.
    pub(crate) fn is_worth_telling(&self, on_its_port: bool) -> bool {
        let mut known = self.sides.iter().map(|side| !side.banner.is_empty());
        !self.told && if on_its_port { known.any(|known| known) } else { known.all(|known| known) }
    }

    /// The record. It is told once.
    pub(crate) fn record(&mut self, about: About) -> Ssh {
        self.told = true;
        let [client, server] = &self.sides;
        let chosen = self.kex.chosen().cloned().unwrap_or_default();
        Ssh {
            about,
            version: self.version(),
            auth_success: self.attempts.success(),
            auth_attempts: self.attempts.count(),
            client: client.banner.clone(),
            server: server.banner.clone(),
            cipher_alg: chosen.cipher,
            mac_alg: chosen.mac,
            compression_alg: chosen.compression,
            kex_alg: chosen.kex,
            host_key_alg: chosen.host_key,
            host_key: self.kex.host_key().to_owned(),
            hassh: self.kex.hassh(Dir::Orig),
            hassh_server: self.kex.hassh(Dir::Resp),
        }
    }

    /// The version that both sides speak; 1.99 is both.
    fn version(&self) -> Option<u8> {
        let both = |version: &[&str]| {
            self.sides.iter().all(|side| version.iter().any(|start| side.banner.starts_with(start)))
        };
        if both(&["SSH-2.", "SSH-1.99"]) { Some(2) } else { both(&["SSH-1."]).then_some(1) }
    }

    fn may_judge(&self) -> bool {
        self.version() == Some(2)
            && self.kex.chosen().is_some_and(|chosen| !chosen.compression.contains("zlib"))
    }

    fn half(&mut self, dir: Dir) -> &mut Half {
        &mut self.sides[dir as usize]
    }

    /// Reads what is not encrypted; how many of `bytes` that were.
    fn read_plain(&mut self, dir: Dir, bytes: &[u8]) -> usize {
        let half = self.half(dir);
        match half.stage {
            Stage::Encrypted => return 0,
            Stage::Lost => return bytes.len(),
            Stage::Banner | Stage::Packets => {}
        }
        let mut begun = std::mem::take(&mut half.begun);
        let from = begun.len();
        let mut rest = bytes;
        if from > 0 {
            begun.extend_from_slice(bytes);
            rest = &begun;
        }
        let whole = rest.len();
        loop {
            match self.half(dir).stage {
                Stage::Encrypted => return (whole - rest.len()).saturating_sub(from),
                Stage::Lost => return bytes.len(),
                Stage::Banner | Stage::Packets => {}
            }
            let Some(used) = self.read_unit(dir, rest) else { break };
            rest = rest.get(used.max(1)..).unwrap_or(&[]);
        }
        // of what only grew nothing is copied, however small the segments are
        let grew = from > 0 && rest.len() == whole;
        self.half(dir).begun = if grew { begun } else { rest.to_vec() };
        bytes.len()
    }

    /// Reads one line or packet; its length, or `None` while it is incomplete.
    fn read_unit(&mut self, dir: Dir, bytes: &[u8]) -> Option<usize> {
        let half = self.half(dir);
        if half.stage == Stage::Banner {
            return half.read_line(bytes);
        }
        let length = be32(bytes, 0)?;
        if !(2..=MAX_PACKET).contains(&length) {
            half.lose();
            return Some(0);
        }
        let whole = length as usize + 4;
        let packet = bytes.get(5..whole)?;
        let payload = packet.get(..packet.len().saturating_sub(usize::from(byte(bytes, 4)?)))?;
        match payload.first() {
            Some(20) => self.kex.take_init(dir, payload.get(1..)?),
            Some(21) => self.half(dir).stage = Stage::Encrypted,
            Some(message @ (30 | 31 | 33)) if dir == Dir::Resp => {
                self.kex.take_reply(*message, payload.get(1..)?);
            }
            _ => {}
        }
        Some(whole)
    }

    /// Settles the common account. Where it has no room, the rest of the session is not read.
    fn account(&mut self, held: &mut Account) {
        let now = self.sides.iter().map(|side| side.begun.len()).sum::<usize>() + self.kex.held();
        if now <= self.held {
            held.give_back(self.held - now);
        } else if !held.take(now - self.held) {
            self.attempts.give_up();
            return self.forget(held);
        }
        self.held = now;
    }
}

impl Half {
    fn lose(&mut self) {
        self.stage = Stage::Lost;
        self.begun = Vec::new();
    }

    /// Reads one line of what comes before the packets.
    fn read_line(&mut self, bytes: &[u8]) -> Option<usize> {
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let Some(end) = end else {
            if bytes.len() + self.before > MAX_BEFORE_BANNER {
                self.lose();
                return Some(bytes.len());
            }
            return None;
        };
        let line = bytes.get(..end)?;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        self.before += end + 1;
        if is_banner(line) {
            self.banner = String::from_utf8_lossy(line.get(..MAX_BANNER).unwrap_or(line)).into_owned();
            // Version 1 has other packets, of which nothing is read.
            let is_two = self.banner.starts_with("SSH-2.") || self.banner.starts_with("SSH-1.99");
            self.stage = if is_two { Stage::Packets } else { Stage::Lost };
        } else if self.before > MAX_BEFORE_BANNER {
            self.lose();
        }
        Some(end + 1)
    }
}
