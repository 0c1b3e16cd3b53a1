//! SMB 2 and 3.

use super::{Attempt, Smb, ntlm};
use crate::apps::{le16, le32, wide};
use crate::reader::Cx;
use crate::track::Dir;

/// Messages that one frame may chain.
const MAX_CHAINED: usize = 16;

const NEGOTIATE: u16 = 0;
const SESSION_SETUP: u16 = 1;
const TREE_CONNECT: u16 = 3;
const CREATE: u16 = 5;
const WRITE: u16 = 9;
const IOCTL: u16 = 11;
/// The control by which a client writes to a pipe and reads its answer.
const PIPE_TRANSCEIVE: u32 = 0x0011_c017;

/// Access that may change a file: write, append, delete, all.
const WRITES: u32 = 0x5001_0006;

/// Reads the messages of a frame.
pub(super) fn read(smb: &mut Smb, dir: Dir, mut message: &[u8], cx: &mut Cx<'_>) {
    for _ in 0..MAX_CHAINED {
        if one(smb, dir, message, cx).is_none() {
            return;
        }
        let next = le32(message, 20).unwrap_or(0) as usize;
        match message.get(next..) {
            Some(rest) if next >= 64 => message = rest,
            _ => return,
        }
    }
}

fn one(smb: &mut Smb, dir: Dir, message: &[u8], cx: &mut Cx<'_>) -> Option<()> {
    let (status, command) = (le32(message, 8)?, le16(message, 12)?);
    let id = message.get(24..32)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))?;
    let is_reply = le32(message, 16)? & 1 != 0;
    if is_reply != (dir == Dir::Resp) {
        return None;
    }
    if is_reply {
        if command == NEGOTIATE && status == 0 {
            smb.dialect(dialect(le16(message, 68)?), cx);
        }
        smb.answered(id, status, cx);
        return Some(());
    }
    let part = |at: usize| {
        let (from, length) = (usize::from(le16(message, at)?), usize::from(le16(message, at + 2)?));
        message.get(from..)?.get(..length)
    };
    match command {
        SESSION_SETUP => {
            let blob = part(76)?;
            match ntlm::kind(blob) {
                0 => smb.login(id, Attempt::of(String::new(), "Kerberos")),
                3 => smb.login(id, ntlm::attempt(blob)?),
                _ => {}
            }
        }
        WRITE => {
            let (from, length) = (usize::from(le16(message, 66)?), le32(message, 68)? as usize);
            smb.written(file(message, 80)?, cut(message, from, length)?, cx);
        }
        IOCTL if le32(message, 68)? == PIPE_TRANSCEIVE => {
            let (from, length) = (le32(message, 88)? as usize, le32(message, 92)? as usize);
            smb.written(file(message, 72)?, cut(message, from, length)?, cx);
        }
        TREE_CONNECT => smb.request(id, "tree_connect", wide(part(68)?), ""),
        CREATE => {
            let name = wide(part(108)?);
            let (access, disposition) = (le32(message, 88)?, le32(message, 100)?);
            // overwriting and superseding dispositions write whatever the access says
            let writes = access & WRITES != 0 || matches!(disposition, 0 | 4 | 5);
            if is_pipe(&name) {
                smb.request(id, "open", name, "pipe");
            } else if writes && !name.is_empty() {
                smb.request(id, "open", name, "write");
            }
        }
        _ => {}
    }
    Some(())
}

/// The identifier of an open file.
fn file(message: &[u8], at: usize) -> Option<[u8; 16]> {
    message.get(at..)?.first_chunk().copied()
}

/// A part of a message as far as it was kept.
pub(super) fn cut(message: &[u8], from: usize, length: usize) -> Option<&[u8]> {
    let rest = message.get(from..)?;
    rest.get(..length.min(rest.len()))
}

const fn dialect(number: u16) -> &'static str {
    match number {
        0x0202 => "SMB 2.0.2",
        0x0210 => "SMB 2.1",
        0x0300 => "SMB 3.0",
        0x0302 => "SMB 3.0.2",
        0x0311 => "SMB 3.1.1",
        0x02ff => "SMB 2.???",
        _ => "SMB unknown",
    }
}

/// Whether a name is one of the pipes through which Windows is managed.
pub(super) fn is_pipe(name: &str) -> bool {
    const PIPES: [&str; 19] = [
        "svcctl", "atsvc", "samr", "lsarpc", "lsass", "srvsvc", "wkssvc", "netlogon", "winreg", "epmapper",
        "spoolss", "drsuapi", "efsrpc", "itsvc", "eventlog", "netdfs", "browser", "ntsvcs", "psexesvc",
    ];
    let name = name.trim_start_matches('\\');
    let name = name.strip_prefix("PIPE\\").unwrap_or(name);
    PIPES.iter().any(|pipe| name.eq_ignore_ascii_case(pipe)) || name.to_ascii_lowercase().starts_with("psexe")
}
