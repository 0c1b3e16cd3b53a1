//! MQTT 3 and 5: who connects to a broker, and its answer.

use slips_core::exchange::{App, AuthOutcome};

use super::{Attempt, Dialogue, short};
use crate::reader::frames::{Frames, Size};
use crate::reader::{Cx, Next};
use crate::track::Dir;
use crate::wire::{be16, byte};

/// Bytes of a packet that are read.
const KEEP: usize = 1024;

/// The beginning of a connection.
#[derive(Debug, Default)]
pub(crate) struct Mqtt {
    frames: [Frames; 2],
    attempt: Option<Attempt>,
}

/// A length in groups of seven bits, low ones first, and how many bytes it takes.
fn variable(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut length = 0;
    for (nth, byte) in bytes.iter().take(4).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * nth);
        if byte & 0x80 == 0 {
            return Some((length, nth + 1));
        }
    }
    None
}

fn size(bytes: &[u8]) -> Size {
    let rest = bytes.get(1..).unwrap_or(&[]);
    match variable(rest) {
        Some((length, taken)) => Size::Of(1 + taken + length),
        None if rest.len() < 4 => Size::Unknown,
        None => Size::Bad,
    }
}

/// A text with its length before it, and what follows.
fn text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = usize::from(be16(bytes, 0)?);
    bytes.get(2..)?.split_at_checked(length)
}

/// Properties of version 5 are passed over.
fn without_properties(bytes: &[u8], version: u8) -> Option<&[u8]> {
    if version < 5 {
        return Some(bytes);
    }
    let (length, taken) = variable(bytes)?;
    bytes.get(taken + length..)
}

fn connect(body: &[u8]) -> Option<Attempt> {
    let (_, rest) = text(body)?;
    let (version, flags) = (byte(rest, 0)?, byte(rest, 1)?);
    let rest = without_properties(rest.get(4..)?, version)?;
    let (client, mut rest) = text(rest)?;
    if flags & 4 != 0 {
        // a will: its topic and what it says
        rest = without_properties(rest, version)?;
        rest = text(text(rest)?.1)?.1;
    }
    let user = if flags & 0x80 != 0 { text(rest)?.0 } else { &[] };
    let method = if flags & 0x80 == 0 { "anonymous" } else { "password" };
    Some(Attempt {
        host: short(client),
        clear_password: flags & 0x40 != 0,
        ..Attempt::of(short(user), method)
    })
}

impl Mqtt {
    fn packet(&mut self, dir: Dir, packet: &[u8], cx: &mut Cx<'_>) -> Next {
        let taken = variable(packet.get(1..).unwrap_or(&[])).map_or(1, |(_, taken)| taken);
        let body = packet.get(1 + taken..).unwrap_or(&[]);
        match (dir, packet.first()) {
            (Dir::Orig, Some(0x10)) => {
                self.attempt = connect(body);
                Next::More
            }
            (Dir::Resp, Some(0x20)) => {
                let Some(attempt) = self.attempt.take() else { return Next::Done };
                let code = byte(body, 1).unwrap_or(0);
                let (outcome, reason) = match code {
                    0 => (AuthOutcome::Succeeded, String::new()),
                    4 | 5 | 0x86 | 0x87 => (AuthOutcome::Failed, format!("{code} not authorised")),
                    code => (AuthOutcome::Failed, format!("{code}")),
                };
                attempt.tell(App::Mqtt, outcome, reason, cx);
                Next::Done
            }
            _ => Next::More,
        }
    }
}

impl Dialogue for Mqtt {
    fn take(&mut self, dir: Dir, bytes: &[u8], cx: &mut Cx<'_>) -> Next {
        let Some(frames) = self.frames.get_mut(dir as usize) else { return Next::Done };
        let mut frames = std::mem::take(frames);
        let next = frames.take(bytes, KEEP, size, |packet| self.packet(dir, packet, cx));
        if let Some(place) = self.frames.get_mut(dir as usize) {
            *place = frames;
        }
        next
    }

    fn finish(&mut self, cx: &mut Cx<'_>) {
        if let Some(attempt) = self.attempt.take() {
            attempt.tell(App::Mqtt, AuthOutcome::Unknown, String::new(), cx);
        }
    }

    fn held(&self) -> usize {
        self.frames.iter().map(Frames::held).sum()
    }

    fn reset(&mut self) {
        self.frames.iter_mut().for_each(Frames::clear);
        self.attempt = None;
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::check;
    use crate::service::Service;
    use crate::track::Dir::{Orig, Resp};

    fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
        [&[kind, body.len() as u8][..], body].concat()
    }

    #[test]
    fn connections_with_and_without_a_password() {
        let three = packet(0x10, b"\0\x04MQTT\x04\xc6\0\x3c\0\x02c1\0\x01t\0\x01w\0\x03joe\0\x01x");
        check(
            Service::Mqtt,
            &[(Orig, &three), (Resp, &[0x20, 2, 0, 5])],
            &["auth joe@/c1 password failed 5 not authorised clear"],
        );
        let five = packet(0x10, b"\0\x04MQTT\x05\x02\0\x3c\x03\x21\0\x14\0\x02c2");
        check(
            Service::Mqtt,
            &[(Orig, &five), (Resp, &[0x20, 3, 0, 0, 0])],
            &["auth @/c2 anonymous succeeded "],
        );
        check(Service::Mqtt, &[(Orig, &three)], &["auth joe@/c1 password unknown  clear"]);
    }
}
