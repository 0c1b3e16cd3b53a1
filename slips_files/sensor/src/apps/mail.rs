//! POP3 (RFC 1939, 5034) and IMAP (RFC 9051): logins in clear text and what the servers say to them.

use slips_core::exchange::{App, AuthOutcome};

use super::{Attempt, Dialogue, sasl, short};
use crate::reader::lines::Lines;
use crate::reader::{Cx, Next};
use crate::track::Dir;

/// Attempts after which nobody counts any more.
const MAX_ATTEMPTS: u32 = 1000;

/// A mailbox session until somebody is logged in.
#[derive(Debug)]
pub(crate) struct Mailbox {
    app: App,
    lines: [Lines; 2],
    user: String,
    attempt: Option<Attempt>,
    /// IMAP: the tag of the command that logs in.
    tag: Vec<u8>,
    /// Messages of a SASL exchange that the client sent, while one goes on.
    exchange: Option<u32>,
    /// The server has to decide.
    waits: bool,
    attempts: u32,
    is_over: bool,
}

fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| *byte == b' ').filter(|word| !word.is_empty())
}

/// An argument of IMAP without its quotes.
fn unquoted(word: &[u8]) -> &[u8] {
    word.strip_prefix(b"\"").map_or(word, |rest| rest.strip_suffix(b"\"").unwrap_or(rest))
}

fn upper(word: &[u8]) -> String {
    short(word).to_ascii_uppercase()
}

impl Mailbox {
    pub(crate) fn pop3() -> Self {
        Self::of(App::Pop3)
    }

    pub(crate) fn imap() -> Self {
        Self::of(App::Imap)
    }

    fn of(app: App) -> Self {
        Self {
            app,
            lines: Default::default(),
            user: String::new(),
            attempt: None,
            tag: Vec::new(),
            exchange: None,
            waits: false,
            attempts: 0,
            is_over: false,
        }
    }

    fn client(&mut self, line: &[u8]) {
        if let (Some(nth), Some(attempt)) = (self.exchange, &mut self.attempt) {
            sasl::message(attempt, nth, line);
            self.exchange = Some(nth + 1);
            self.waits = true;
        } else if self.app == App::Pop3 {
            self.pop3_command(line);
        } else {
            self.imap_command(line);
        }
    }

    fn pop3_command(&mut self, line: &[u8]) {
        let mut words = words(line);
        let command = words.next().map(upper).unwrap_or_default();
        match command.as_str() {
            "USER" => self.user = words.next().map(short).unwrap_or_default(),
            "PASS" => {
                let clear_password = words.next().is_some();
                self.begin(Attempt { clear_password, ..Attempt::of(self.user.clone(), "USER") });
            }
            "APOP" => self.begin(Attempt::of(words.next().map(short).unwrap_or_default(), "APOP")),
            "AUTH" => self.begin_exchange(words.next(), words.next()),
            _ => {}
        }
    }

    fn imap_command(&mut self, line: &[u8]) {
        let mut words = words(line);
        let (Some(tag), Some(command)) = (words.next(), words.next()) else { return };
        match upper(command).as_str() {
            "LOGIN" => {
                let user = words.next().map(unquoted).map(short).unwrap_or_default();
                // a literal follows in lines of its own
                let user = if user.starts_with('{') { String::new() } else { user };
                self.begin(Attempt { clear_password: true, ..Attempt::of(user, "LOGIN") });
            }
            "AUTHENTICATE" => self.begin_exchange(words.next(), words.next()),
            _ => return,
        }
        self.tag.clear();
        self.tag.extend_from_slice(tag.get(..64).unwrap_or(tag));
    }

    fn begin(&mut self, attempt: Attempt) {
        (self.attempt, self.exchange, self.waits) = (Some(attempt), None, true);
    }

    fn begin_exchange(&mut self, mechanism: Option<&[u8]>, first: Option<&[u8]>) {
        let Some(mechanism) = mechanism else { return };
        let mut attempt = Attempt::of(String::new(), &upper(mechanism));
        if let Some(first) = first {
            sasl::message(&mut attempt, 0, first);
        }
        self.begin(attempt);
        self.exchange = Some(u32::from(first.is_some()));
    }

    fn server(&mut self, line: &[u8], cx: &mut Cx<'_>) {
        if !self.waits {
            return;
        }
        let verdict = match self.app {
            App::Pop3 => match line {
                [b'+', b'O', b'K', ..] => Some((AuthOutcome::Succeeded, &[][..])),
                [b'-', b'E', b'R', b'R', rest @ ..] => Some((AuthOutcome::Failed, rest)),
                _ => None,
            },
            _ => {
                let rest = line.strip_prefix(self.tag.as_slice()).and_then(|rest| rest.strip_prefix(b" "));
                match rest {
                    Some([b'O' | b'o', b'K' | b'k', ..]) => Some((AuthOutcome::Succeeded, &[][..])),
                    Some(rest) => Some((AuthOutcome::Failed, rest)),
                    None => None,
                }
            }
        };
        if let Some((outcome, reason)) = verdict {
            self.decide(outcome, short(reason.trim_ascii()), cx);
        }
    }

    fn decide(&mut self, outcome: AuthOutcome, reason: String, cx: &mut Cx<'_>) {
        (self.waits, self.exchange) = (false, None);
        let Some(attempt) = self.attempt.take() else { return };
        attempt.tell(self.app, outcome, reason, cx);
        self.attempts += 1;
        self.is_over = outcome == AuthOutcome::Succeeded || self.attempts >= MAX_ATTEMPTS;
    }
}

impl Dialogue for Mailbox {
    fn take(&mut self, dir: Dir, mut bytes: &[u8], cx: &mut Cx<'_>) -> Next {
        while !bytes.is_empty() && !self.is_over {
            let Some(lines) = self.lines.get_mut(dir as usize) else { return Next::Done };
            let mut lines = std::mem::take(lines);
            bytes = lines.take(bytes, |line| match dir {
                Dir::Orig => self.client(line),
                Dir::Resp => self.server(line, cx),
            });
            if let Some(place) = self.lines.get_mut(dir as usize) {
                *place = lines;
            }
        }
        if self.is_over { Next::Done } else { Next::More }
    }

    fn finish(&mut self, cx: &mut Cx<'_>) {
        if self.waits {
            self.decide(AuthOutcome::Unknown, String::new(), cx);
        }
    }

    fn held(&self) -> usize {
        self.lines.iter().map(Lines::held).sum()
    }

    fn reset(&mut self) {
        let mut lines = std::mem::take(&mut self.lines);
        lines.iter_mut().for_each(Lines::clear);
        *self = Self { lines, ..Self::of(self.app) };
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::check;
    use crate::service::Service;
    use crate::track::Dir::{Orig, Resp};

    #[test]
    fn pop3_logins() {
        let talk: [(_, &[u8]); 9] = [
            (Resp, b"+OK hi\r\n"),
            (Orig, b"USER joe\r\n"),
            (Resp, b"+OK\r\n"),
            (Orig, b"PASS secret\r\n"),
            (Resp, b"-ERR [AUTH] no\r\n"),
            (Orig, b"AUTH PLAIN\r\n"),
            (Resp, b"+ \r\n"),
            (Orig, b"AHRlc3QAcGFzcw==\r\n"),
            (Resp, b"+OK in\r\n"),
        ];
        check(
            Service::Pop3,
            &talk,
            &["auth joe@/ USER failed [AUTH] no clear", "auth test@/ PLAIN succeeded  clear"],
        );
        check(Service::Pop3, &[(Orig, b"APOP joe c4c9\r\n")], &["auth joe@/ APOP unknown "]);
    }

    #[test]
    fn imap_logins() {
        let talk: [(_, &[u8]); 7] = [
            (Resp, b"* OK IMAP4\r\n"),
            (Orig, b"a1 CAPABILITY\r\na2 LOGIN \"joe\" \"x y\"\r\n"),
            (Resp, b"* CAPABILITY IMAP4\r\na1 OK\r\na2 NO wrong\r\n"),
            (Orig, b"a3 authenticate login\r\n"),
            (Resp, b"+ VXNlcm5hbWU6\r\n"),
            (Orig, b"dGVzdA==\r\ncGFzcw==\r\n"),
            (Resp, b"a3 OK done\r\n"),
        ];
        check(
            Service::Imap,
            &talk,
            &["auth joe@/ LOGIN failed NO wrong clear", "auth test@/ LOGIN succeeded  clear"],
        );
    }
}
