//! SMB 1.

use super::two::{cut, is_pipe};
use super::{Attempt, Smb, ntlm};
use crate::apps::{le16, le32, short, wide};
use crate::reader::Cx;
use crate::track::Dir;
use crate::wire::byte;

const NEGOTIATE: u8 = 0x72;
const SESSION_SETUP: u8 = 0x73;
const TREE_CONNECT: u8 = 0x75;
const NT_CREATE: u8 = 0xa2;
const DELETE: u8 = 0x06;
const WRITE_ANDX: u8 = 0x2f;
const TRANSACTION: u8 = 0x25;
const TRANSACTION2: u8 = 0x32;
const TRANSACTION2_SECONDARY: u8 = 0x33;
const NT_TRANSACT: u8 = 0xa0;
/// A subcommand of the second kind of transaction that was reserved and never made (MS-CIFS, section 2.2.6.15): who is asked for it and
/// answers with anything but a refusal has DoublePulsar.
const SESSION_SETUP_RESERVED: u16 = 0x0e;
/// The transaction that writes to a pipe and reads its answer.
const TRANSACT_PIPE: u16 = 0x26;

/// Access that may change a file: write, append, delete, all.
const WRITES: u32 = 0x5001_0006;
/// Dialects that a client may offer.
const MAX_DIALECTS: usize = 16;

/// The head of a message and its two parts.
struct Message<'a> {
    command: u8,
    id: u64,
    is_wide: bool,
    bytes: &'a [u8],
    /// Where the words begin, and the bytes behind them.
    words: usize,
    data: usize,
}

impl Message<'_> {
    fn word(&self, nth: usize) -> Option<u16> {
        let at = self.words + nth * 2;
        (at < self.data).then(|| le16(self.bytes, at)).flatten()
    }

    /// Text at `at`, and where it ends; wide text begins at an even place.
    fn text(&self, at: usize) -> Option<(String, usize)> {
        if !self.is_wide {
            let rest = self.bytes.get(at..)?;
            let end = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
            return Some((short(rest.get(..end)?), at + end + 1));
        }
        let at = at.next_multiple_of(2);
        let rest = self.bytes.get(at..)?;
        let end = rest.chunks_exact(2).position(|pair| pair == [0, 0]).map_or(rest.len(), |nth| nth * 2);
        Some((wide(rest.get(..end)?), at + end + 2))
    }
}

/// Reads a message.
pub(super) fn read(smb: &mut Smb, dir: Dir, bytes: &[u8], cx: &mut Cx<'_>) -> Option<()> {
    let words = usize::from(byte(bytes, 32)?) * 2;
    let message = Message {
        command: byte(bytes, 4)?,
        id: u64::from(le16(bytes, 30)?),
        is_wide: le16(bytes, 10)? & 0x8000 != 0,
        bytes,
        words: 33,
        data: 35 + words,
    };
    let is_reply = byte(bytes, 9)? & 0x80 != 0;
    if is_reply != (dir == Dir::Resp) {
        return None;
    }
    if !is_reply {
        return request(smb, &message, cx);
    }
    let status = le32(bytes, 5)?;
    if message.command == NEGOTIATE && status == 0 {
        let name = smb.offered.get(usize::from(message.word(0)?)).cloned();
        smb.dialect(&name.unwrap_or_else(|| "SMB 1".to_owned()), cx);
    }
    smb.answered(message.id, status, cx);
    Some(())
}

fn request(smb: &mut Smb, message: &Message<'_>, cx: &mut Cx<'_>) -> Option<()> {
    let Message { id, bytes, data, .. } = *message;
    match message.command {
        NEGOTIATE => {
            let names = bytes.get(data..)?.split(|byte| *byte == 0).take(MAX_DIALECTS);
            smb.offered = names.filter_map(|name| name.strip_prefix(&[2])).map(short).collect();
        }
        SESSION_SETUP => login(smb, message)?,
        TREE_CONNECT => {
            let password = usize::from(message.word(3)?);
            smb.request(id, "tree_connect", message.text(data + password)?.0, "");
        }
        NT_CREATE => {
            let name = message.text(data)?.0;
            let writes = le32(bytes, message.words + 15)? & WRITES != 0
                || matches!(le32(bytes, message.words + 35)?, 0 | 4 | 5);
            if is_pipe(&name) {
                smb.request(id, "open", name, "pipe");
            } else if writes && !name.trim_start_matches('\\').is_empty() {
                smb.request(id, "open", name, "write");
            }
        }
        WRITE_ANDX => {
            let (length, from) = (usize::from(message.word(10)?), usize::from(message.word(11)?));
            smb.written(file(message.word(2)?), cut(bytes, from, length)?, cx);
        }
        TRANSACTION if message.word(14)? == TRANSACT_PIPE => {
            let (length, from) = (usize::from(message.word(11)?), usize::from(message.word(12)?));
            smb.written(file(message.word(15)?), cut(bytes, from, length)?, cx);
        }
        // Parts of a transaction that began as another kind are what CVE-2017-0144 needs, and nobody else.
        NT_TRANSACT => smb.kinds.is_nt = true,
        TRANSACTION2_SECONDARY if smb.kinds.is_nt && !smb.kinds.is_second => {
            smb.exploited("transaction", "mixed", cx)
        }
        TRANSACTION2 => {
            smb.kinds.is_second = true;
            if message.word(14)? == SESSION_SETUP_RESERVED {
                smb.exploited("transaction", "reserved", cx);
            }
        }
        DELETE => smb.request(id, "delete", message.text(data + 1)?.0, ""),
        _ => {}
    }
    Some(())
}

/// The identifier of an open file, in the form of SMB 2.
fn file(id: u16) -> [u8; 16] {
    u128::from(id).to_le_bytes()
}

fn login(smb: &mut Smb, message: &Message<'_>) -> Option<()> {
    let Message { id, bytes, words, data, .. } = *message;
    // twelve words: a blob of SPNEGO or NTLM; thirteen: hashes, then names
    match (data - words - 2) / 2 {
        12 => {
            let blob = bytes.get(data..)?.get(..usize::from(message.word(7)?))?;
            match ntlm::kind(blob) {
                0 => smb.login(id, Attempt::of(String::new(), "Kerberos")),
                3 => smb.login(id, ntlm::attempt(blob)?),
                _ => {}
            }
        }
        13 => {
            let hashes = usize::from(message.word(7)?) + usize::from(message.word(8)?);
            let (user, next) = message.text(data + hashes)?;
            let domain = message.text(next).map(|(domain, _)| domain).unwrap_or_default();
            smb.login(id, Attempt { domain, ..Attempt::of(user, "NTLM") });
        }
        _ => {}
    }
    Some(())
}
