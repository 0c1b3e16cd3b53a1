//! SMTP: who greets, and how the server answers each mail.

mod mail;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use slips_core::event::{Event, Smtp};
use slips_core::exchange::{App, AuthOutcome};
use slips_core::time::PacketTime;

use self::mail::{MAX_FILES, Mail};
use crate::apps::{Attempt, sasl};
use crate::emit;
use crate::files::Engines;
use crate::reader::lines::{self, Lines};
use crate::reader::{Cx, Next};
use crate::service::Service;
use crate::software::Kind;
use crate::track::Dir;

/// Commands that wait for their replies.
const MAX_PENDING: usize = 64;

/// Commands whose replies matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Data,
    /// The end of a mail.
    Mail,
    StartTls,
    /// A login, or a message of it.
    Auth,
    Other,
}

/// A mail session.
#[derive(Debug, Default)]
pub(crate) struct Session {
    lines: [Lines; 2],
    asked: VecDeque<Asked>,
    /// Bytes of a chunk of mail that are still to come.
    chunk: u64,
    /// It is the last one of its mail.
    is_last_chunk: bool,
    in_mail: bool,
    mail: Mail,
    /// The begun line of a mail in chunks.
    mail_line: Lines,
    fuids: Vec<String>,
    helo: String,
    last_reply: String,
    begun: Option<PacketTime>,
    /// The client did something since the last record, and something that concerns a mail.
    is_active: bool,
    has_mail: bool,
    is_over: bool,
    login: Option<Login>,
    has_greeted: bool,
}

/// A login that goes on.
#[derive(Debug)]
struct Login {
    attempt: Attempt,
    /// Messages of the client so far.
    messages: u32,
    /// The server waits for another.
    is_asked: bool,
}

impl Session {
    /// Forgets everything but the memory.
    pub(crate) fn reset(&mut self, engines: &mut Engines) {
        let (mut lines, mut asked) = (std::mem::take(&mut self.lines), std::mem::take(&mut self.asked));
        let (mut mail, mut mail_line) = (std::mem::take(&mut self.mail), std::mem::take(&mut self.mail_line));
        lines.iter_mut().for_each(Lines::clear);
        asked.clear();
        mail.reset(engines);
        mail_line.clear();
        *self = Self { lines, asked, mail, mail_line, ..Self::default() };
    }

    pub(crate) fn held(&self) -> usize {
        self.lines.iter().map(Lines::held).sum::<usize>() + self.mail_line.held() + self.mail.held()
    }

    /// Takes the next bytes of a side.
    pub(crate) fn take(&mut self, dir: Dir, mut bytes: &[u8], cx: &mut Cx<'_>) -> Next {
        while !bytes.is_empty() {
            if dir == Dir::Orig && self.chunk > 0 {
                let skipped = usize::try_from(self.chunk).unwrap_or(usize::MAX).min(bytes.len());
                self.chunk -= skipped as u64;
                let (chunk, rest) = bytes.split_at(skipped);
                self.take_chunk(chunk, cx);
                bytes = rest;
                continue;
            }
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

    /// Bytes are missing; replies go on to be read.
    pub(crate) fn lose(&mut self, dir: Dir, lost: u64) -> Next {
        self.lines[dir as usize].clear();
        if dir == Dir::Orig {
            self.mail.lose();
            self.mail_line.clear();
            self.chunk = self.chunk.saturating_sub(lost);
        }
        Next::More
    }

    /// The connection is over.
    pub(crate) fn finish(&mut self, cx: &mut Cx<'_>) {
        if let Some(Login { attempt, .. }) = self.login.take() {
            attempt.tell(App::Smtp, AuthOutcome::Unknown, String::new(), cx);
        }
        self.mail_over(false, cx);
        self.tell(false, cx);
    }

    /// Takes bytes of a mail that are counted, not ended by a dot.
    fn take_chunk(&mut self, mut bytes: &[u8], cx: &mut Cx<'_>) {
        while !bytes.is_empty() {
            let mail = &mut self.mail;
            bytes = self.mail_line.take(bytes, |line| mail.line(line, cx));
        }
        if self.chunk == 0 && self.is_last_chunk {
            self.mail_over(true, cx);
        }
    }

    fn mail_over(&mut self, is_whole: bool, cx: &mut Cx<'_>) {
        let mail = &mut self.mail;
        self.mail_line.rest(|line| mail.line(line, cx));
        mail.finish(is_whole, cx);
        // nobody need ever answer, so that more mails may come before a record
        let room = MAX_FILES.saturating_sub(self.fuids.len());
        self.fuids.extend(mail.files().into_iter().take(room));
    }

    fn ask(&mut self, asked: Asked) {
        if self.asked.len() < MAX_PENDING {
            self.asked.push_back(asked);
        }
    }

    fn client(&mut self, line: &[u8], cx: &mut Cx<'_>) {
        self.begun.get_or_insert(cx.at);
        if let Some(login) = self.login.as_mut().filter(|login| login.is_asked) {
            sasl::message(&mut login.attempt, login.messages, line);
            (login.messages, login.is_asked) = (login.messages + 1, false);
            self.ask(Asked::Auth);
            return;
        }
        if self.in_mail {
            if line == b"." {
                self.in_mail = false;
                self.mail_over(true, cx);
                self.ask(Asked::Mail);
            } else {
                // a dot in front hides one that would end the mail
                self.mail.line(line.strip_prefix(b".").unwrap_or(line), cx);
            }
            return;
        }
        let (word, rest) = lines::command(line);
        match &word {
            b"HELO    " | b"EHLO    " => {
                self.helo = lines::text(rest);
                self.is_active = true;
                self.ask(Asked::Other);
            }
            b"MAIL    " => {
                // the answer to an earlier mail was not seen, or it never came to one
                if self.has_mail {
                    self.tell(false, cx);
                }
                (self.is_active, self.has_mail) = (true, true);
                self.ask(Asked::Other);
            }
            b"RCPT    " => {
                (self.is_active, self.has_mail) = (true, true);
                self.ask(Asked::Other);
            }
            b"DATA    " => {
                self.is_active = true;
                // the mail follows at once where the server's side is not seen, or does not refuse
                self.in_mail = self.last_reply.is_empty();
                self.ask(Asked::Data);
            }
            b"BDAT    " => {
                let mut words = rest.split(|byte| *byte == b' ');
                let length = words.next().and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
                let is_last = words.next().is_some_and(|word| word.eq_ignore_ascii_case(b"LAST"));
                (self.chunk, self.is_active) = (length.unwrap_or(0), true);
                self.is_last_chunk = is_last;
                if self.chunk == 0 && is_last {
                    self.mail_over(true, cx);
                }
                self.ask(if is_last && length.is_some() { Asked::Mail } else { Asked::Other });
            }
            b"STARTTLS" => self.ask(Asked::StartTls),
            b"AUTH    " => {
                let mut words = rest.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
                let mechanism = words.next().map(lines::text).unwrap_or_default().to_ascii_uppercase();
                let mut attempt = Attempt::of(String::new(), &mechanism);
                let first = words.next();
                if let Some(first) = first {
                    sasl::message(&mut attempt, 0, first);
                }
                self.login = Some(Login { attempt, messages: u32::from(first.is_some()), is_asked: false });
                self.ask(Asked::Auth);
            }
            _ => self.ask(Asked::Other),
        }
    }

    fn server(&mut self, line: &[u8], cx: &mut Cx<'_>) {
        self.begun.get_or_insert(cx.at);
        let Some((code, is_last, text)) = lines::reply(line) else { return };
        self.last_reply = format!("{code} {}", lines::text(text));
        if !is_last {
            return;
        }
        if code == 220 && !std::mem::replace(&mut self.has_greeted, true) {
            // `mx.example.com ESMTP Postfix (Debian)`
            let after = text.windows(6).position(|part| part == b"ESMTP ").and_then(|at| text.get(at + 6..));
            cx.software(Kind::MailServer, Dir::Resp, after.unwrap_or(&[]));
        }
        match self.asked.pop_front() {
            Some(Asked::Data) if code == 354 => self.in_mail = true,
            Some(Asked::Mail) => self.tell(false, cx),
            Some(Asked::Auth) => self.judge_login(code, text, cx),
            Some(Asked::StartTls) if code == 220 => {
                self.is_active = true;
                self.tell(true, cx);
                self.is_over = true;
            }
            _ => {}
        }
    }

    fn judge_login(&mut self, code: u16, text: &[u8], cx: &mut Cx<'_>) {
        if code == 334 {
            if let Some(login) = &mut self.login {
                login.is_asked = true;
            }
            return;
        }
        let Some(Login { attempt, .. }) = self.login.take() else { return };
        match code {
            235 => attempt.tell(App::Smtp, AuthOutcome::Succeeded, String::new(), cx),
            _ => {
                let reason = format!("{code} {}", lines::text(text));
                attempt.tell(App::Smtp, AuthOutcome::Failed, reason, cx);
            }
        }
    }

    fn tell(&mut self, tls: bool, cx: &mut Cx<'_>) {
        self.has_mail = false;
        let (fuids, subject) = (std::mem::take(&mut self.fuids), self.mail.subject());
        let Some(at) = self.begun.filter(|_| std::mem::replace(&mut self.is_active, false)) else { return };
        let (helo, last_reply) = (self.helo.clone(), self.last_reply.clone());
        cx.tell(Event::Smtp(Box::new(Smtp {
            about: emit::about(cx.track, at),
            helo,
            last_reply,
            tls,
            subject,
            fuids,
        })));
        self.begun = None;
    }
}
