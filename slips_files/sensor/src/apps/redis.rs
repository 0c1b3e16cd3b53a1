//! Redis: who logs in, and the commands with which worms take a server over.

use std::collections::VecDeque;

use slips_core::exchange::{App, AuthOutcome};

use super::{Attempt, Dialogue, Request, short};
use crate::reader::lines::Lines;
use crate::reader::{Cx, Next};
use crate::track::Dir;

/// Arguments of a command that are kept, and bytes of each.
const MAX_WORDS: usize = 4;
const MAX_WORD: usize = 128;
/// Commands whose answers are awaited.
const MAX_PENDING: usize = 64;
/// What is told of one connection.
const MAX_TOLD: u32 = 100;

#[derive(Debug)]
enum Asked {
    Login(Attempt),
    Request(Request),
    Other,
}

impl Asked {
    const fn held(&self) -> usize {
        match self {
            Self::Login(attempt) => attempt.held(),
            Self::Request(request) => request.held(),
            Self::Other => size_of::<Self>(),
        }
    }
}

/// A connection.
#[derive(Debug, Default)]
pub(crate) struct Redis {
    lines: [Lines; 2],
    /// Bytes of a string that are still to come, with its end of line: the client's are an argument.
    string: [usize; 2],
    words: Vec<Vec<u8>>,
    /// Arguments of the command that are still to come.
    missing: usize,
    /// The argument that comes is one of those that are kept.
    is_kept: bool,
    asked: VecDeque<Asked>,
    /// Elements of an answer that are still to come.
    elements: usize,
    told: u32,
}

/// The number of `*3` or `$5`.
fn number(line: &[u8]) -> Option<usize> {
    std::str::from_utf8(line.get(1..)?).ok()?.parse().ok()
}

/// Whether the value of a parameter is a password: `requirepass`, `masterauth`, `tls-key-file-pass` in any case.
fn is_secret(parameter: &str) -> bool {
    let parameter = parameter.to_ascii_lowercase();
    ["pass", "auth"].iter().any(|part| parameter.contains(part))
}

impl Redis {
    fn client_line(&mut self, line: &[u8]) {
        match line.first() {
            Some(b'*') => {
                self.words.clear();
                self.missing = number(line).unwrap_or(0).min(1 << 20);
            }
            Some(b'$') if self.missing > 0 => {
                self.is_kept = self.words.len() < MAX_WORDS;
                if self.is_kept {
                    self.words.push(Vec::new());
                }
                self.string[Dir::Orig as usize] = number(line).unwrap_or(0).saturating_add(2);
            }
            Some(_) if self.missing == 0 => {
                // in one line, as people type it
                let words = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty()).take(MAX_WORDS);
                self.words = words.map(|word| word.get(..MAX_WORD).unwrap_or(word).to_vec()).collect();
                self.command();
            }
            _ => {}
        }
    }

    /// A part of an argument, which is over where `is_last`.
    fn argument(&mut self, bytes: &[u8], is_last: bool) {
        if let Some(word) = self.words.last_mut().filter(|_| self.is_kept) {
            let room = (MAX_WORD + 2).saturating_sub(word.len());
            word.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        }
        if !is_last {
            return;
        }
        if let Some(word) = self.words.last_mut().filter(|_| self.is_kept) {
            let end = word.strip_suffix(b"\r\n").map_or(word.len(), <[u8]>::len);
            word.truncate(end);
        }
        self.missing = self.missing.saturating_sub(1);
        if self.missing == 0 {
            self.command();
        }
    }

    fn command(&mut self) {
        let words = std::mem::take(&mut self.words);
        let name = words.first().map(|word| short(word).to_ascii_uppercase()).unwrap_or_default();
        let word = |nth: usize| words.get(nth).map(|word| short(word)).unwrap_or_default();
        let asked = match name.as_str() {
            "AUTH" => {
                let user = if words.len() > 2 { word(1) } else { String::new() };
                Asked::Login(Attempt { clear_password: words.len() > 1, ..Attempt::of(user, "AUTH") })
            }
            "CONFIG" if word(1).eq_ignore_ascii_case("set") => {
                let name = word(2);
                let object = if is_secret(&name) { name } else { format!("{name} {}", word(3)) };
                Asked::Request(Request { action: "config_set", object, ..Request::default() })
            }
            "SLAVEOF" | "REPLICAOF" => {
                let object = format!("{}:{}", word(1), word(2));
                Asked::Request(Request { action: "replicaof", object, ..Request::default() })
            }
            "MODULE" if word(1).eq_ignore_ascii_case("load") => {
                Asked::Request(Request { action: "module_load", object: word(2), ..Request::default() })
            }
            "EVAL" => Asked::Request(Request { action: "eval", ..Request::default() }),
            "FLUSHALL" => Asked::Request(Request { action: "flushall", ..Request::default() }),
            _ => Asked::Other,
        };
        if self.asked.len() < MAX_PENDING {
            self.asked.push_back(asked);
        }
    }

    fn server_line(&mut self, line: &[u8], cx: &mut Cx<'_>) {
        let is_within = self.elements > 0;
        self.elements = self.elements.saturating_sub(1);
        match line.first() {
            Some(b'$' | b'=') => {
                self.string[Dir::Resp as usize] = number(line).map_or(0, |length| length.saturating_add(2));
            }
            Some(b'*' | b'%' | b'~') => {
                self.elements = self.elements.saturating_add(number(line).unwrap_or(0)).min(1 << 20);
            }
            _ => {}
        }
        if !is_within && let Some(asked) = self.asked.pop_front() {
            self.answered(asked, line, cx);
        }
    }

    fn answered(&mut self, asked: Asked, line: &[u8], cx: &mut Cx<'_>) {
        let is_error = line.first() == Some(&b'-');
        let said = if is_error { short(line.get(1..).unwrap_or(&[])) } else { String::new() };
        match asked {
            Asked::Login(attempt) => {
                let outcome = if is_error { AuthOutcome::Failed } else { AuthOutcome::Succeeded };
                attempt.tell(App::Redis, outcome, said, cx);
            }
            Asked::Request(request) => {
                request.tell(App::Redis, if is_error { said } else { "ok".to_owned() }, cx);
            }
            Asked::Other => return,
        }
        self.told += 1;
    }
}

impl Dialogue for Redis {
    fn take(&mut self, dir: Dir, mut bytes: &[u8], cx: &mut Cx<'_>) -> Next {
        while !bytes.is_empty() && self.told < MAX_TOLD {
            let string = &mut self.string[dir as usize];
            if *string > 0 {
                let (now, rest) = bytes.split_at((*string).min(bytes.len()));
                *string -= now.len();
                let is_last = *string == 0;
                if dir == Dir::Orig {
                    self.argument(now, is_last);
                }
                bytes = rest;
                continue;
            }
            let mut lines = std::mem::take(&mut self.lines[dir as usize]);
            bytes = lines.take(bytes, |line| match dir {
                Dir::Orig => self.client_line(line),
                Dir::Resp => self.server_line(line, cx),
            });
            self.lines[dir as usize] = lines;
        }
        if self.told < MAX_TOLD { Next::More } else { Next::Done }
    }

    fn finish(&mut self, cx: &mut Cx<'_>) {
        for asked in std::mem::take(&mut self.asked) {
            match asked {
                Asked::Login(attempt) => attempt.tell(App::Redis, AuthOutcome::Unknown, String::new(), cx),
                Asked::Request(request) => request.tell(App::Redis, String::new(), cx),
                Asked::Other => {}
            }
        }
    }

    fn held(&self) -> usize {
        let asked: usize = self.asked.iter().map(Asked::held).sum();
        self.lines.iter().map(Lines::held).sum::<usize>() + self.words.len() * MAX_WORD + asked
    }

    fn reset(&mut self) {
        let mut lines = std::mem::take(&mut self.lines);
        lines.iter_mut().for_each(Lines::clear);
        *self = Self { lines, ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::check;
    use crate::service::Service;
    use crate::track::Dir::{Orig, Resp};

    #[test]
    fn logins_and_takeovers() {
        let talk: [(_, &[u8]); 6] = [
            (Orig, b"*2\r\n$4\r\nKEYS\r\n$1\r\n*\r\n*2\r\n$4\r\nauth\r\n$6\r\nsec\r\nt\r\n"),
            (Resp, b"*2\r\n$2\r\n\r\n\r\n:5\r\n-ERR invalid password\r\n"),
            (Orig, b"AUTH joe x\r\n"),
            (Resp, b"+OK\r\n"),
            (Orig, b"*4\r\n$6\r\nCONFIG\r\n$3\r\nSET\r\n$3\r\ndir\r\n$15\r\n/var/spool/cron\r\n"),
            (Resp, b"+OK\r\n"),
        ];
        check(
            Service::Redis,
            &talk,
            &[
                "auth @/ AUTH failed ERR invalid password clear",
                "auth joe@/ AUTH succeeded  clear",
                "op config_set dir /var/spool/cron   ok",
            ],
        );
        let several = b"*6\r\n$6\r\nCONFIG\r\n$3\r\nSET\r\n$3\r\ndir\r\n$4\r\n/tmp\r\n$11\r\nrequirepass\r\n$3\r\nabc\r\n";
        check(
            Service::Redis,
            &[(Orig, several), (Orig, b"config set RequirePass abc\r\n")],
            &["op config_set dir /tmp   ", "op config_set RequirePass   "],
        );
        check(
            Service::Redis,
            &[(Orig, b"SLAVEOF 203.0.113.9 6379\r\n")],
            &["op replicaof 203.0.113.9:6379   "],
        );
    }
}
