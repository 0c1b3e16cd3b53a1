//! RADIUS (RFC 2865): which users a network access server asks about, and what it is told.

use std::collections::VecDeque;

use slips_core::exchange::{App, AuthOutcome};

use super::{Attempt, Dialogue, short};
use crate::reader::{Cx, Next};
use crate::track::Dir;
use crate::wire::byte;

/// Requests that wait for their answers: an identifier is one byte.
const MAX_PENDING: usize = 64;
/// Attributes of a packet that are read.
const MAX_ATTRIBUTES: usize = 64;

const REQUEST: u8 = 1;
const ACCEPT: u8 = 2;
const REJECT: u8 = 3;
const CHALLENGE: u8 = 11;

/// A server that asks and one that answers.
#[derive(Debug, Default)]
pub(crate) struct Radius {
    asked: VecDeque<(u8, Attempt)>,
}

fn attributes(packet: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut rest = packet.get(20..).unwrap_or(&[]);
    std::iter::from_fn(move || {
        let (kind, length) = (byte(rest, 0)?, usize::from(byte(rest, 1)?));
        let body = rest.get(2..length)?;
        rest = rest.get(length..)?;
        Some((kind, body))
    })
    .take(MAX_ATTRIBUTES)
}

fn attempt(packet: &[u8]) -> Attempt {
    let mut attempt = Attempt::default();
    for (kind, body) in attributes(packet) {
        match kind {
            1 => attempt.user = short(body),
            2 => attempt.method = "PAP".to_owned(),
            3 => attempt.method = "CHAP".to_owned(),
            31 => attempt.host = short(body),
            79 => attempt.method = "EAP".to_owned(),
            _ => {}
        }
    }
    attempt
}

impl Dialogue for Radius {
    fn take(&mut self, _: Dir, bytes: &[u8], cx: &mut Cx<'_>) -> Next {
        let (Some(code), Some(id)) = (byte(bytes, 0), byte(bytes, 1)) else { return Next::More };
        let place = self.asked.iter().position(|(asked, _)| *asked == id);
        match code {
            REQUEST => {
                if let Some(place) = place {
                    self.asked.remove(place);
                } else if self.asked.len() >= MAX_PENDING {
                    self.asked.pop_front();
                }
                self.asked.push_back((id, attempt(bytes)));
            }
            ACCEPT | REJECT | CHALLENGE => {
                let Some((_, attempt)) = place.and_then(|place| self.asked.remove(place)) else {
                    return Next::More;
                };
                match code {
                    ACCEPT => attempt.tell(App::Radius, AuthOutcome::Succeeded, String::new(), cx),
                    REJECT => {
                        let said = attributes(bytes).find(|(kind, _)| *kind == 18);
                        let reason = said.map(|(_, text)| short(text)).unwrap_or_default();
                        attempt.tell(App::Radius, AuthOutcome::Failed, reason, cx);
                    }
                    // the next request goes on
                    _ => {}
                }
            }
            _ => {}
        }
        Next::More
    }

    fn finish(&mut self, cx: &mut Cx<'_>) {
        for (_, attempt) in std::mem::take(&mut self.asked) {
            attempt.tell(App::Radius, AuthOutcome::Unknown, String::new(), cx);
        }
    }

    fn held(&self) -> usize {
        self.asked.iter().map(|(_, attempt)| attempt.held()).sum()
    }

    fn reset(&mut self) {
        self.asked.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::check_datagrams;
    use crate::service::Service;
    use crate::track::Dir::{Orig, Resp};

    fn packet(code: u8, id: u8, attributes: &[u8]) -> Vec<u8> {
        [&[code, id, 0, 20 + attributes.len() as u8][..], &[0; 16], attributes].concat()
    }

    #[test]
    fn users_are_accepted_or_rejected() {
        let ask = |id| packet(1, id, b"\x01\x05joe\x02\x06xxxx");
        check_datagrams(
            Service::Radius,
            &[
                (Orig, &ask(1)),
                (Resp, &packet(3, 1, b"\x12\x04no")),
                (Orig, &ask(2)),
                (Resp, &packet(11, 2, b"")),
                (Orig, &ask(3)),
                (Resp, &packet(2, 3, b"")),
                (Orig, &ask(4)),
            ],
            &["auth joe@/ PAP failed no", "auth joe@/ PAP succeeded ", "auth joe@/ PAP unknown "],
        );
    }
}
