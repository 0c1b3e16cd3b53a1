//! SMB 1 to 3 (MS-CIFS, MS-SMB2): the dialect, who logs in, which shares are used, and which files and pipes are opened or removed.
//!
//! Reading a file is not told: only pipes, and what may be written. What is encrypted stays unread.

pub(crate) mod ntlm;
mod one;
mod pipes;
mod two;

use std::collections::VecDeque;

use slips_core::exchange::{App, AuthOutcome};

use super::{Attempt, Dialogue, Request, le32};
use crate::reader::frames::{Frames, Size};
use crate::reader::{Cx, Next};
use crate::track::Dir;

/// Bytes of a message that are read: enough for the tickets of a login.
const KEEP: usize = 8 << 10;
/// Requests that wait for their answers.
const MAX_PENDING: usize = 32;
/// What is told of one connection.
const MAX_TOLD: u32 = 500;

/// What a request may become once it is answered.
#[derive(Debug)]
enum Asked {
    Login(Attempt),
    Request(Request),
}

impl Asked {
    const fn held(&self) -> usize {
        match self {
            Self::Login(attempt) => attempt.held(),
            Self::Request(request) => request.held(),
        }
    }
}

#[derive(Debug)]
struct Waiting {
    id: u64,
    asked: Asked,
}

/// Kinds of transactions that an SMB 1 client began.
#[derive(Clone, Copy, Debug, Default)]
struct Kinds {
    is_nt: bool,
    is_second: bool,
}

/// Messages of a connection.
#[derive(Debug, Default)]
pub(crate) struct Smb {
    frames: [Frames; 2],
    waiting: VecDeque<Waiting>,
    /// Dialects that an SMB 1 client offers, in its order.
    offered: Vec<String>,
    has_dialect: bool,
    kinds: Kinds,
    /// What is called over the pipes that the client opened.
    pipes: pipes::Pipes,
    /// The user of the last login.
    user: String,
    told: u32,
}

fn size(bytes: &[u8]) -> Size {
    match bytes {
        // a session message, or one of NetBIOS's own
        [0 | 0x81..=0x85, high, mid, low, ..] => {
            Size::Of(u32::from_be_bytes([0, *high, *mid, *low]) as usize + 4)
        }
        [0 | 0x81..=0x85, ..] | [] => Size::Unknown,
        _ => Size::Bad,
    }
}

/// `NTSTATUS` in words, where detections care.
fn status_text(status: u32) -> String {
    let name = match status {
        0 => "ok",
        0xc000_0022 => "ACCESS_DENIED",
        0xc000_006d => "LOGON_FAILURE",
        0xc000_006a => "WRONG_PASSWORD",
        0xc000_0064 => "NO_SUCH_USER",
        0xc000_0072 => "ACCOUNT_DISABLED",
        0xc000_0234 => "ACCOUNT_LOCKED_OUT",
        0xc000_0071 => "PASSWORD_EXPIRED",
        0xc000_0193 => "ACCOUNT_EXPIRED",
        0xc000_00cc => "BAD_NETWORK_NAME",
        0xc000_0034 => "OBJECT_NAME_NOT_FOUND",
        _ => return format!("{status:#010x}"),
    };
    name.to_owned()
}

const MORE_PROCESSING: u32 = 0xc000_0016;
const PENDING: u32 = 0x0000_0103;

impl Smb {
    fn ask(&mut self, id: u64, asked: Asked) {
        if self.waiting.len() >= MAX_PENDING {
            self.waiting.pop_front();
        }
        self.waiting.push_back(Waiting { id, asked });
    }

    fn request(&mut self, id: u64, action: &'static str, object: String, detail: &str) {
        let subject = self.user.clone();
        self.ask(id, Asked::Request(Request { action, object, subject, detail: detail.to_owned() }));
    }

    fn login(&mut self, id: u64, attempt: Attempt) {
        self.user.clone_from(&attempt.user);
        self.ask(id, Asked::Login(attempt));
    }

    /// The server's answer to a request.
    fn answered(&mut self, id: u64, status: u32, cx: &mut Cx<'_>) {
        if status == PENDING {
            return;
        }
        let Some(place) = self.waiting.iter().position(|waiting| waiting.id == id) else { return };
        let Some(Waiting { asked, .. }) = self.waiting.remove(place) else { return };
        match asked {
            Asked::Login(_) if status == MORE_PROCESSING => {}
            Asked::Login(attempt) => {
                let outcome = if status == 0 { AuthOutcome::Succeeded } else { AuthOutcome::Failed };
                let reason = if status == 0 { String::new() } else { status_text(status) };
                self.told += 1;
                attempt.tell(App::Smb, outcome, reason, cx);
            }
            Asked::Request(request) => {
                self.told += 1;
                request.tell(App::Smb, status_text(status), cx);
            }
        }
    }

    fn dialect(&mut self, name: &str, cx: &mut Cx<'_>) {
        if !std::mem::replace(&mut self.has_dialect, true) {
            let request = Request { action: "negotiate", detail: name.to_owned(), ..Request::default() };
            request.tell(App::Smb, "ok".to_owned(), cx);
        }
    }

    /// What the client writes into a pipe or file.
    fn written(&mut self, file: [u8; 16], data: &[u8], cx: &mut Cx<'_>) {
        let (told, user) = (&mut self.told, &self.user);
        self.pipes.written(file, data, |call| {
            // one write may hold hundreds of them
            if *told < MAX_TOLD {
                *told += 1;
                call.tell(user, cx);
            }
        });
    }

    /// A compressed message of the client (MS-SMB2, section 2.2.42). Sizes whose sum overflows are what CVE-2020-0796 needs, and nobody
    /// else. What a server sends must not accuse who called it.
    fn compressed(&mut self, message: &[u8], cx: &mut Cx<'_>) {
        let (Some(whole), Some(offset)) = (le32(message, 4), le32(message, 12)) else { return };
        if whole.checked_add(offset).is_none() {
            self.exploited("compress", "overflow", cx);
        }
    }

    /// The client sent what only an exploit sends.
    fn exploited(&mut self, action: &'static str, detail: &str, cx: &mut Cx<'_>) {
        self.told += 1;
        let request = Request { action, detail: detail.to_owned(), ..Request::default() };
        request.tell(App::Smb, String::new(), cx);
    }

    fn message(&mut self, dir: Dir, frame: &[u8], cx: &mut Cx<'_>) -> Next {
        let Some(message) = frame.get(4..).filter(|_| frame.first() == Some(&0)) else { return Next::More };
        match message {
            [0xff, b'S', b'M', b'B', ..] => {
                one::read(self, dir, message, cx);
            }
            [0xfe, b'S', b'M', b'B', ..] => two::read(self, dir, message, cx),
            [0xfc, b'S', b'M', b'B', ..] if dir == Dir::Orig => self.compressed(message, cx),
            _ => {}
        }
        if self.told >= MAX_TOLD { Next::Done } else { Next::More }
    }
}

impl Dialogue for Smb {
    fn take(&mut self, dir: Dir, bytes: &[u8], cx: &mut Cx<'_>) -> Next {
        let Some(frames) = self.frames.get_mut(dir as usize) else { return Next::Done };
        let mut frames = std::mem::take(frames);
        let next = frames.take(bytes, KEEP, size, |frame| self.message(dir, frame, cx));
        if let Some(place) = self.frames.get_mut(dir as usize) {
            *place = frames;
        }
        next
    }

    fn finish(&mut self, cx: &mut Cx<'_>) {
        for Waiting { asked, .. } in std::mem::take(&mut self.waiting) {
            match asked {
                Asked::Login(attempt) if attempt.user.is_empty() => {}
                Asked::Login(attempt) => attempt.tell(App::Smb, AuthOutcome::Unknown, String::new(), cx),
                Asked::Request(request) => request.tell(App::Smb, String::new(), cx),
            }
        }
    }

    fn held(&self) -> usize {
        let frames: usize = self.frames.iter().map(Frames::held).sum();
        let waiting: usize = self.waiting.iter().map(|waiting| waiting.asked.held()).sum();
        let offered: usize = self.offered.iter().map(|name| size_of_val(name) + name.len()).sum();
        frames + waiting + offered + self.pipes.held()
    }

    fn reset(&mut self) {
        self.frames.iter_mut().for_each(Frames::clear);
        self.waiting.clear();
        self.offered.clear();
        self.pipes.reset();
        (self.has_dialect, self.told) = (false, 0);
        self.user.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::check;
    use super::ntlm::tests::last;
    use super::*;
    use crate::service::Service;
    use crate::track::Dir::{Orig, Resp};

    fn framed(message: &[u8]) -> Vec<u8> {
        [&(message.len() as u32).to_be_bytes()[..], message].concat()
    }

    /// A message of SMB 2: number, command, status, answer.
    fn two(id: u64, command: u16, status: u32, is_reply: bool, body: &[u8]) -> Vec<u8> {
        let mut head = [0u8; 64];
        head[..6].copy_from_slice(&[0xfe, b'S', b'M', b'B', 64, 0]);
        head[8..12].copy_from_slice(&status.to_le_bytes());
        head[12..14].copy_from_slice(&command.to_le_bytes());
        head[16] = u8::from(is_reply);
        head[24..32].copy_from_slice(&id.to_le_bytes());
        framed(&[&head[..], body].concat())
    }

    fn wide(text: &str) -> Vec<u8> {
        text.encode_utf16().flat_map(u16::to_le_bytes).collect()
    }

    fn login(id: u64, user: &str) -> Vec<u8> {
        let blob = last("CORP", user, "PC7");
        let mut body = vec![25, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 88, 0];
        body.extend((blob.len() as u16).to_le_bytes());
        body.extend([0; 8]);
        two(id, 1, 0, false, &[body, blob].concat())
    }

    fn tree(id: u64, path: &str) -> Vec<u8> {
        let path = wide(path);
        let mut body = vec![9, 0, 0, 0, 72, 0];
        body.extend((path.len() as u16).to_le_bytes());
        two(id, 3, 0, false, &[body, path].concat())
    }

    fn open(id: u64, name: &str, access: u32) -> Vec<u8> {
        let name = wide(name);
        let mut body = [0u8; 56];
        body[24..28].copy_from_slice(&access.to_le_bytes());
        body[36..40].copy_from_slice(&1u32.to_le_bytes());
        body[44..46].copy_from_slice(&120u16.to_le_bytes());
        body[46..48].copy_from_slice(&(name.len() as u16).to_le_bytes());
        two(id, 5, 0, false, &[&body[..], &name].concat())
    }

    #[test]
    fn guesses_shares_and_pipes_of_smb_two() {
        let negotiated = two(0, 0, 0, true, &[65, 0, 1, 0, 0x11, 3, 0, 0]);
        let reply = |id, command, status| two(id, command, status, true, &[9, 0, 0, 0]);
        let talk = [
            (Orig, two(0, 0, 0, false, &[36, 0])),
            (Resp, negotiated),
            (Orig, login(2, "admin")),
            (Resp, reply(2, 1, 0xc000_006d)),
            (Orig, login(4, "joe")),
            (Resp, reply(4, 1, 0)),
            (Orig, tree(5, "\\\\srv\\IPC$")),
            (Resp, reply(5, 3, 0)),
            (Orig, open(6, "svcctl", 3)),
            (Resp, reply(6, 5, PENDING)),
            (Resp, reply(6, 5, 0)),
            (Orig, tree(7, "\\\\srv\\ADMIN$")),
            (Resp, reply(7, 3, 0xc000_0022)),
        ];
        let talk: Vec<_> = talk.iter().map(|(dir, bytes)| (*dir, bytes.as_slice())).collect();
        check(
            Service::Smb,
            &talk,
            &[
                "op negotiate   SMB 3.1.1 ok",
                "auth admin@CORP/PC7 NTLM failed LOGON_FAILURE",
                "auth joe@CORP/PC7 NTLM succeeded ",
                "op tree_connect \\\\srv\\IPC$ joe  ok",
                "op open svcctl joe pipe ok",
                "op tree_connect \\\\srv\\ADMIN$ joe  ACCESS_DENIED",
            ],
        );
    }

    #[test]
    fn an_overflow_accuses_the_client_that_sends_it_only() {
        let evil = framed(
            &[b"\xfcSMB".as_slice(), &u32::MAX.to_le_bytes(), &[0; 4], &u32::MAX.to_le_bytes()].concat(),
        );
        let talk = |dir| [(Orig, two(0, 0, 0, false, &[36, 0])), (dir, evil.clone())];
        for (dir, told) in [(Orig, ["op compress   overflow "].as_slice()), (Resp, &[])] {
            let talk = talk(dir);
            let talk: Vec<_> = talk.iter().map(|(dir, bytes)| (*dir, bytes.as_slice())).collect();
            check(Service::Smb, &talk, told);
        }
    }

    /// A request of SMB 1, the last of whose words is given.
    fn one(command: u8, last: u16) -> Vec<u8> {
        let mut head = [0u8; 33];
        head[..5].copy_from_slice(&[0xff, b'S', b'M', b'B', command]);
        head[32] = 15;
        framed(&[&head[..], &[0; 28], &last.to_le_bytes(), &[0; 2]].concat())
    }

    #[test]
    fn transactions_that_only_exploits_begin_are_told() {
        let told = |requests: &[(u8, u16)], expected: &[&str]| {
            let talk: Vec<_> = requests.iter().map(|(command, last)| one(*command, *last)).collect();
            let talk: Vec<_> = talk.iter().map(|bytes| (Orig, bytes.as_slice())).collect();
            check(Service::Smb, &talk, expected);
        };
        told(&[(0xa0, 0), (0x33, 0)], &["op transaction   mixed "]);
        told(&[(0x32, 0x0e)], &["op transaction   reserved "]);
        told(&[(0xa0, 0), (0x32, 5), (0x33, 0), (0x33, 0)], &[]);
        told(&[(0x33, 0), (0xa0, 0), (0xa1, 0)], &[]);
    }

    #[test]
    fn files_are_told_when_they_may_be_written() {
        let talk = [
            (Orig, tree(1, "\\\\srv\\C$")),
            (Orig, open(2, "boot.ini", 0x0012_0089)),
            (Orig, open(3, "temp\\evil.exe", 0x0013_0197)),
            (Resp, two(3, 5, 0, true, &[0; 60])),
        ];
        let talk: Vec<_> = talk.iter().map(|(dir, bytes)| (*dir, bytes.as_slice())).collect();
        check(Service::Smb, &talk, &["op open temp\\evil.exe  write ok", "op tree_connect \\\\srv\\C$   "]);
    }

    #[test]
    fn what_one_write_calls_is_bounded_too() {
        let rpc = |kind: u8, body: &[u8]| {
            let length = (16 + body.len() as u16).to_le_bytes();
            [&[5, 0, kind, 3, 0x10, 0, 0, 0][..], &length, &[0, 0, 1, 0, 0, 0], body].concat()
        };
        let bind = [&[0; 8][..], &[1, 0, 0, 0], &[0, 0, 1, 0], &[9; 20], &[7; 20]].concat();
        let calls = [rpc(11, &bind), rpc(0, &[0; 8]).repeat(200)].concat();
        let mut body = vec![0; 48];
        body[2..4].copy_from_slice(&112u16.to_le_bytes());
        body[4..8].copy_from_slice(&(calls.len() as u32).to_le_bytes());
        let write = two(1, 9, 0, false, &[body, calls].concat());
        let talk: Vec<_> = (0..4).map(|_| (Orig, write.as_slice())).collect();
        let told = crate::reader::testing::read(Service::Smb, &talk, usize::MAX).len();
        assert_eq!(told, MAX_TOLD as usize);
    }
}
