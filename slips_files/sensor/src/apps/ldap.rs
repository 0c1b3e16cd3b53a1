//! LDAP (RFC 4511): who binds, how, and with what result.

use slips_core::exchange::{App, AuthOutcome};

use super::smb::ntlm;
use super::{Attempt, Dialogue, short};
use crate::reader::frames::{Frames, Size};
use crate::reader::{Cx, Next};
use crate::service::ber::{Element, element};
use crate::track::Dir;

/// Bytes of a message that are read.
const KEEP: usize = 8 << 10;
/// Binds after which nobody counts any more.
const MAX_ATTEMPTS: u32 = 1000;

const BIND: u8 = 0x60;
const BIND_REPLY: u8 = 0x61;
/// More is to come of a SASL exchange.
const SASL_IN_PROGRESS: u8 = 14;

/// A connection to a directory.
#[derive(Debug, Default)]
pub(crate) struct Ldap {
    frames: [Frames; 2],
    attempt: Option<Attempt>,
    attempts: u32,
}

fn size(bytes: &[u8]) -> Size {
    let (head, length) = match bytes {
        [0x30, length @ 0..=127, ..] => (2, u32::from(*length)),
        [0x30, 0x81, length, ..] => (3, u32::from(*length)),
        [0x30, 0x82, a, b, ..] => (4, u32::from_be_bytes([0, 0, *a, *b])),
        [0x30, 0x83, a, b, c, ..] => (5, u32::from_be_bytes([0, *a, *b, *c])),
        [0x30, 0x84, a, b, c, d, ..] => (6, u32::from_be_bytes([*a, *b, *c, *d])),
        [] | [0x30] | [0x30, 0x81..=0x84, ..] => return Size::Unknown,
        // wrapped by SASL, hence not readable
        _ => return Size::Bad,
    };
    Size::Of(length as usize + head)
}

/// The operation of a message.
fn operation(message: &[u8]) -> Option<Element<'_>> {
    element(element(element(message)?.body)?.rest)
}

fn bind(body: &[u8]) -> Option<Attempt> {
    let version = element(body)?;
    let name = element(version.rest)?;
    let credentials = element(name.rest)?;
    let user = short(name.body);
    if credentials.tag == 0x80 {
        let clear_password = !credentials.body.is_empty();
        let method = if user.is_empty() && !clear_password { "anonymous" } else { "simple" };
        return Some(Attempt { clear_password, ..Attempt::of(user, method) });
    }
    let mechanism = element(credentials.body)?;
    let token = element(mechanism.rest).map_or(&[][..], |token| token.body);
    let found = ntlm::attempt(token);
    Some(found.unwrap_or_else(|| Attempt::of(user, &short(mechanism.body))))
}

impl Ldap {
    fn message(&mut self, dir: Dir, message: &[u8], cx: &mut Cx<'_>) -> Next {
        let Some(Element { tag, body, .. }) = operation(message) else { return Next::More };
        match (dir, tag) {
            (Dir::Orig, BIND) => self.attempt = bind(body),
            (Dir::Resp, BIND_REPLY) => {
                let code = element(body).and_then(|code| code.body.first().copied()).unwrap_or(0);
                if code == SASL_IN_PROGRESS {
                    return Next::More;
                }
                let Some(attempt) = self.attempt.take() else { return Next::More };
                let failed = code != 0;
                let reason = if failed { format!("{code} {}", result(code)) } else { String::new() };
                let outcome = if failed { AuthOutcome::Failed } else { AuthOutcome::Succeeded };
                attempt.tell(App::Ldap, outcome, reason, cx);
                self.attempts += 1;
            }
            _ => {}
        }
        if self.attempts >= MAX_ATTEMPTS { Next::Done } else { Next::More }
    }
}

const fn result(code: u8) -> &'static str {
    match code {
        7 => "authMethodNotSupported",
        8 => "strongerAuthRequired",
        32 => "noSuchObject",
        48 => "inappropriateAuthentication",
        49 => "invalidCredentials",
        50 => "insufficientAccessRights",
        51 => "busy",
        52 => "unavailable",
        53 => "unwillingToPerform",
        _ => "error",
    }
}

impl Dialogue for Ldap {
    fn take(&mut self, dir: Dir, bytes: &[u8], cx: &mut Cx<'_>) -> Next {
        let Some(frames) = self.frames.get_mut(dir as usize) else { return Next::Done };
        let mut frames = std::mem::take(frames);
        let next = frames.take(bytes, KEEP, size, |message| self.message(dir, message, cx));
        if let Some(place) = self.frames.get_mut(dir as usize) {
            *place = frames;
        }
        next
    }

    fn finish(&mut self, cx: &mut Cx<'_>) {
        if let Some(attempt) = self.attempt.take() {
            attempt.tell(App::Ldap, AuthOutcome::Unknown, String::new(), cx);
        }
    }

    fn held(&self) -> usize {
        self.frames.iter().map(Frames::held).sum()
    }

    fn reset(&mut self) {
        self.frames.iter_mut().for_each(Frames::clear);
        (self.attempt, self.attempts) = (None, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::super::smb::ntlm::tests::last;
    use super::super::testing::check;
    use crate::service::Service;
    use crate::track::Dir::{Orig, Resp};

    fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let body = parts.concat();
        let length = (body.len() as u16).to_be_bytes();
        [&[tag, 0x82, length[0], length[1]][..], &body].concat()
    }

    fn bind(name: &[u8], credentials: &[u8]) -> Vec<u8> {
        tlv(0x30, &[&[2, 1, 1], &tlv(0x60, &[&[2, 1, 3], &tlv(4, &[name]), credentials])])
    }

    fn reply(code: u8) -> Vec<u8> {
        tlv(0x30, &[&[2, 1, 1], &tlv(0x61, &[&[10, 1, code, 4, 0, 4, 0]])])
    }

    #[test]
    fn binds_and_their_results() {
        let sasl = |token: &[u8]| bind(b"", &tlv(0xa3, &[&tlv(4, &[b"GSS-SPNEGO"]), &tlv(4, &[token])]));
        let talk = [
            (Orig, bind(b"cn=admin", &tlv(0x80, &[b"secret"]))),
            (Resp, reply(49)),
            (Orig, bind(b"", &tlv(0x80, &[]))),
            (Resp, reply(0)),
            (Orig, sasl(b"NTLMSSP\0\x01\0\0\0")),
            (Resp, reply(14)),
            (Orig, sasl(&last("CORP", "joe", "PC7"))),
            (Resp, reply(0)),
        ];
        let talk: Vec<_> = talk.iter().map(|(dir, bytes)| (*dir, bytes.as_slice())).collect();
        check(
            Service::LdapTcp,
            &talk,
            &[
                "auth cn=admin@/ simple failed 49 invalidCredentials clear",
                "auth @/ anonymous succeeded ",
                "auth joe@CORP/PC7 NTLM succeeded ",
            ],
        );
    }
}
