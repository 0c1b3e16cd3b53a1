//! FTP: commands that open data channels or move files, with their replies.

mod data;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use slips_core::event::{Event, Ftp};
use slips_core::exchange::{App, AuthOutcome};
use slips_core::time::PacketTime;

pub(crate) use self::data::Transfer;
use crate::apps::Attempt;
use crate::emit;
use crate::reader::lines::{self, Lines};
use crate::reader::{Cx, Next};
use crate::service::Service;
use crate::software::Kind;
use crate::track::Dir;

/// Commands that wait for their replies.
const MAX_PENDING: usize = 20;

/// Commands that are told.
const TOLD: [&[u8; 8]; 10] = [
    b"APPE    ",
    b"DELE    ",
    b"RETR    ",
    b"STOR    ",
    b"STOU    ",
    b"ACCT    ",
    b"PORT    ",
    b"PASV    ",
    b"EPRT    ",
    b"EPSV    ",
];

#[derive(Debug)]
struct Command {
    at: PacketTime,
    word: [u8; 8],
    arg: String,
    port: Option<u16>,
    is_answered: bool,
}

/// A control connection.
#[derive(Debug, Default)]
pub(crate) struct Control {
    lines: [Lines; 2],
    asked: VecDeque<Command>,
    /// Number of the last reply; a command that is never answered is told with it, as Zeek does.
    code: Option<u16>,
    user: String,
    clear_password: bool,
    is_over: bool,
    /// In a reply of several lines, the number that ends it.
    within: Option<u16>,
}

/// Numbers separated by commas: an address and a port.
fn comma_port(text: &[u8]) -> Option<u16> {
    let first = text.iter().position(u8::is_ascii_digit)?;
    let mut numbers = text.get(first..)?.split(|byte| !byte.is_ascii_digit());
    let mut port = [0u8; 2];
    for nth in 0..6 {
        let number = std::str::from_utf8(numbers.next()?).ok()?.parse().ok()?;
        if let Some(slot) = port.get_mut(nth % 2) {
            *slot = number;
        }
    }
    Some(u16::from_be_bytes(port))
}

/// The last field of `|family|address|port|`.
fn bar_port(text: &[u8]) -> Option<u16> {
    let begin = text.iter().position(|byte| *byte == b'|')?;
    let port = text.get(begin..)?.split(|byte| *byte == b'|').nth(3)?;
    std::str::from_utf8(port).ok()?.parse().ok()
}

impl Control {
    /// Forgets everything but the memory.
    pub(crate) fn reset(&mut self) {
        let (mut lines, mut asked) = (std::mem::take(&mut self.lines), std::mem::take(&mut self.asked));
        lines.iter_mut().for_each(Lines::clear);
        asked.clear();
        *self = Self { lines, asked, ..Self::default() };
    }

    pub(crate) fn held(&self) -> usize {
        self.lines.iter().map(Lines::held).sum()
    }

    /// Takes the next bytes of a side.
    pub(crate) fn take(&mut self, dir: Dir, mut bytes: &[u8], cx: &mut Cx<'_>) -> Next {
        while !bytes.is_empty() {
            let mut lines = std::mem::take(&mut self.lines[dir as usize]);
            bytes = lines.take(bytes, |line| match dir {
                Dir::Orig => self.client(line, cx),
                Dir::Resp => self.server(line, cx),
            });
            self.lines[dir as usize] = lines;
            if self.is_over {
                return Next::Become(Service::Ssl);
            }
        }
        Next::More
    }

    /// Bytes are missing.
    pub(crate) fn lose(&mut self, dir: Dir) -> Next {
        self.lines[dir as usize].clear();
        if dir == Dir::Resp {
            // the line that ends a reply of several may be among them
            self.within = None;
        }
        Next::More
    }

    /// The connection is over.
    pub(crate) fn finish(&mut self, cx: &mut Cx<'_>) {
        while let Some(command) = self.asked.pop_front() {
            self.tell(&command, cx);
        }
    }

    fn client(&mut self, line: &[u8], cx: &mut Cx<'_>) {
        // Only the next command shows that no further reply to the last one comes.
        if self.asked.front().is_some_and(|command| command.is_answered)
            && let Some(command) = self.asked.pop_front()
        {
            self.tell(&command, cx);
        }
        let (word, rest) = lines::command(line);
        let port = match &word {
            b"PORT    " => comma_port(rest),
            b"EPRT    " => bar_port(rest),
            _ => None,
        };
        match &word {
            b"USER    " => self.user = lines::text(rest),
            b"PASS    " => self.clear_password = !rest.is_empty(),
            _ => {}
        }
        if self.asked.len() < MAX_PENDING {
            let arg = if TOLD.contains(&&word) { crate::apps::short(rest) } else { String::new() };
            self.asked.push_back(Command { at: cx.at, word, arg, port, is_answered: false });
        }
    }

    /// Whether the reply to a user's name or password lets the user in.
    fn judge_login(&self, word: &[u8; 8], code: u16, text: &[u8], cx: &mut Cx<'_>) {
        let outcome = match (word, code) {
            (b"USER    " | b"PASS    " | b"ACCT    ", 230 | 232) | (b"PASS    ", 202) => {
                AuthOutcome::Succeeded
            }
            (b"USER    " | b"PASS    ", 400..) => AuthOutcome::Failed,
            _ => return,
        };
        let clear_password = self.clear_password && word == b"PASS    ";
        let attempt = Attempt { clear_password, ..Attempt::of(self.user.clone(), "USER") };
        let reason = format!("{code} {}", lines::text(text));
        let reason = if outcome == AuthOutcome::Failed { reason } else { String::new() };
        attempt.tell(App::Ftp, outcome, reason, cx);
    }

    fn server(&mut self, line: &[u8], cx: &mut Cx<'_>) {
        let reply = lines::reply(line);
        if let Some(end) = self.within {
            if !matches!(reply, Some((code, true, _)) if code == end) {
                return;
            }
            self.within = None;
        }
        let Some((code, is_last, text)) = reply else { return };
        if !is_last {
            self.within = Some(code);
            return;
        }
        if code == 220 && self.asked.is_empty() {
            // `(vsFTPd 3.0.3)`
            let text = text.strip_prefix(b"(").unwrap_or(text);
            if text.iter().any(u8::is_ascii_digit) {
                cx.software(Kind::FtpServer, Dir::Resp, text);
            }
        }
        let Some(command) = self.asked.front_mut() else { return };
        if command.word.starts_with(b"AUTH") && code == 234 {
            self.is_over = true;
            return;
        }
        let open = text.iter().position(|byte| *byte == b'(').unwrap_or(0);
        command.port = match (code, &command.word) {
            (227, b"PASV    ") => comma_port(text.get(open..).unwrap_or(text)),
            (229, b"EPSV    ") => bar_port(text),
            _ => command.port,
        };
        self.code = Some(code);
        // a preliminary reply: the command's last one follows
        if code < 200 {
            return;
        }
        let word = command.word;
        if !std::mem::replace(&mut command.is_answered, true) {
            self.judge_login(&word, code, text, cx);
        }
        // Others wait: the next reply is theirs.
        if self.asked.len() > 1
            && let Some(command) = self.asked.pop_front()
        {
            self.tell(&command, cx);
        }
    }

    fn tell(&self, command: &Command, cx: &mut Cx<'_>) {
        if !TOLD.contains(&&command.word) {
            return;
        }
        cx.tell(Event::Ftp(Box::new(Ftp {
            about: emit::about(cx.track, command.at),
            user: self.user.clone(),
            command: lines::text(command.word.trim_ascii_end()),
            arg: command.arg.clone(),
            reply_code: self.code,
            data_port: command.port,
        })));
    }
}
