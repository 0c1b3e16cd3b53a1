//! PostgreSQL: who logs in to which database, and the server's answer.

use slips_core::exchange::{App, AuthOutcome};

use super::{Attempt, Dialogue, short};
use crate::reader::frames::{Frames, Size};
use crate::reader::{Cx, Next};
use crate::track::Dir;
use crate::wire::be32;

/// Bytes of a message that are read.
const KEEP: usize = 512;

/// A connection until its login is decided.
#[derive(Debug, Default)]
pub(crate) struct Postgres {
    frames: [Frames; 2],
    attempt: Option<Attempt>,
    /// The client asked for encryption, which the server answers with one letter.
    asked_encryption: bool,
}

/// A start has no letter before its length, all other messages have one.
fn size(bytes: &[u8]) -> Size {
    let begin = usize::from(bytes.first() != Some(&0));
    Size::head(be32(bytes, begin).map(|length| (length as usize).max(4).saturating_add(begin)))
}

/// The field of an error with this letter.
fn field(body: &[u8], letter: u8) -> Option<&[u8]> {
    body.split(|byte| *byte == 0).take(32).find_map(|field| field.strip_prefix(&[letter]))
}

impl Postgres {
    fn client(&mut self, message: &[u8]) -> Next {
        match (message.first(), be32(message, 4)) {
            (Some(0), Some(80_877_103 | 80_877_104)) => self.asked_encryption = true,
            (Some(0), Some(0x0003_0000)) => {
                let mut texts = message.get(8..).unwrap_or(&[]).split(|byte| *byte == 0);
                let mut attempt = Attempt::default();
                while let (Some(key), Some(value)) = (texts.next(), texts.next()) {
                    match key {
                        b"user" => attempt.user = short(value),
                        b"database" => attempt.domain = short(value),
                        b"application_name" => attempt.host = short(value),
                        _ => {}
                    }
                }
                self.attempt = Some(attempt);
            }
            (Some(b'p'), _) => {
                if let Some(attempt) = self.attempt.as_mut().filter(|attempt| attempt.method == "password") {
                    attempt.clear_password = true;
                }
            }
            _ => {}
        }
        Next::More
    }

    fn server(&mut self, message: &[u8], cx: &mut Cx<'_>) -> Next {
        let Some(attempt) = &mut self.attempt else { return Next::More };
        match (message.first(), be32(message, 5)) {
            (Some(b'R'), Some(0)) => self.decide(AuthOutcome::Succeeded, String::new(), cx),
            (Some(b'R'), Some(kind)) => {
                match kind {
                    3 => attempt.method = "password".to_owned(),
                    5 => attempt.method = "md5".to_owned(),
                    7..=9 => attempt.method = "GSS".to_owned(),
                    10 => attempt.method = "SASL".to_owned(),
                    _ => {}
                }
                Next::More
            }
            (Some(b'E'), _) => {
                let body = message.get(5..).unwrap_or(&[]);
                let code = short(field(body, b'C').unwrap_or(&[]));
                let reason = format!("{code} {}", short(field(body, b'M').unwrap_or(&[])));
                self.decide(AuthOutcome::Failed, reason, cx)
            }
            _ => Next::More,
        }
    }

    fn decide(&mut self, outcome: AuthOutcome, reason: String, cx: &mut Cx<'_>) -> Next {
        if let Some(attempt) = self.attempt.take() {
            attempt.tell(App::Postgresql, outcome, reason, cx);
        }
        Next::Done
    }
}

impl Dialogue for Postgres {
    fn take(&mut self, dir: Dir, mut bytes: &[u8], cx: &mut Cx<'_>) -> Next {
        if dir == Dir::Resp && !bytes.is_empty() && std::mem::take(&mut self.asked_encryption) {
            bytes = bytes.get(1..).unwrap_or(&[]);
        }
        let Some(frames) = self.frames.get_mut(dir as usize) else { return Next::Done };
        let mut frames = std::mem::take(frames);
        let next = frames.take(bytes, KEEP, size, |message| match dir {
            Dir::Orig => self.client(message),
            Dir::Resp => self.server(message, cx),
        });
        if let Some(place) = self.frames.get_mut(dir as usize) {
            *place = frames;
        }
        next
    }

    fn finish(&mut self, cx: &mut Cx<'_>) {
        self.decide(AuthOutcome::Unknown, String::new(), cx);
    }

    fn held(&self) -> usize {
        self.frames.iter().map(Frames::held).sum()
    }

    fn reset(&mut self) {
        self.frames.iter_mut().for_each(Frames::clear);
        (self.attempt, self.asked_encryption) = (None, false);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::check;
    use crate::service::Service;
    use crate::track::Dir::{Orig, Resp};

    #[test]
    fn logins_with_and_without_a_readable_password() {
        let encryption = b"\0\0\0\x08\x04\xd2\x16\x2f";
        let start = b"\0\0\0\x1d\0\x03\0\0user\0me\0database\0db\0\0";
        let error = b"E\0\0\0\x21SFATAL\0C28P01\0Mno such user\0\0";
        check(
            Service::Postgresql,
            &[
                (Orig, encryption),
                (Resp, b"N"),
                (Orig, start),
                (Resp, b"R\0\0\0\x08\0\0\0\x03"),
                (Orig, b"p\0\0\0\x06x\0"),
                (Resp, error),
            ],
            &["auth me@db/ password failed 28P01 no such user clear"],
        );
        check(
            Service::Postgresql,
            &[(Orig, start), (Resp, b"R\0\0\0\x0c\0\0\0\x05saltR\0\0\0\x08\0\0\0\0")],
            &["auth me@db/ md5 succeeded "],
        );
    }
}
