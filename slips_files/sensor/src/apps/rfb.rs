//! RFB, as VNC speaks it (RFC 6143): which security is used and whether the password was right.

use slips_core::exchange::{App, AuthOutcome};

use super::{Attempt, Dialogue, short};
use crate::reader::{Cx, Next};
use crate::track::Dir;
use crate::wire::be32;

/// Longest reason of a refusal.
const MAX_REASON: usize = 256;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// Both sides tell their version, the client the one that counts.
    #[default]
    Version,
    /// The server offers kinds of security.
    Offer,
    /// The client chooses one.
    Choice,
    /// A challenge of 16 bytes; its answer is the client's.
    Challenge,
    Result,
    Reason,
    Over,
}

/// The beginning of a session.
#[derive(Debug, Default)]
pub(crate) struct Rfb {
    stage: Stage,
    sides: [Vec<u8>; 2],
    /// Minor version of the client: 3, 7 or 8.
    minor: u8,
    method: &'static str,
}

const fn method(kind: u8) -> &'static str {
    match kind {
        1 => "none",
        2 => "VNC",
        16 => "Tight",
        19 => "VeNCrypt",
        30 => "Apple",
        _ => "other",
    }
}

impl Rfb {
    /// The first `count` bytes of a side, taken off.
    fn bytes(&mut self, dir: Dir, count: usize) -> Option<Vec<u8>> {
        let side = self.sides.get_mut(dir as usize)?;
        (side.len() >= count).then(|| side.drain(..count).collect())
    }

    /// One step, where there are bytes for it.
    fn step(&mut self, cx: &mut Cx<'_>) -> Option<()> {
        match self.stage {
            Stage::Version => {
                let client = self.bytes(Dir::Orig, 12)?;
                self.minor = client.get(10).map_or(3, |digit| digit.wrapping_sub(b'0'));
                self.stage = Stage::Offer;
                // the server spoke first
                self.bytes(Dir::Resp, 12)?;
            }
            Stage::Offer if self.minor < 7 => {
                let kind = be32(&self.bytes(Dir::Resp, 4)?, 0)?;
                self.chosen(kind as u8);
            }
            Stage::Offer => {
                let count = *self.sides.get(Dir::Resp as usize)?.first()?;
                self.bytes(Dir::Resp, 1 + usize::from(count))?;
                self.stage = if count == 0 { Stage::Reason } else { Stage::Choice };
            }
            Stage::Choice => {
                let kind = *self.bytes(Dir::Orig, 1)?.first()?;
                self.chosen(kind);
            }
            Stage::Challenge => {
                self.bytes(Dir::Resp, 16)?;
                self.stage = Stage::Result;
            }
            Stage::Result => {
                let failed = be32(&self.bytes(Dir::Resp, 4)?, 0)? != 0;
                self.stage = match (failed, self.minor) {
                    (true, 8..) => Stage::Reason,
                    (true, _) => return self.decide(AuthOutcome::Failed, String::new(), cx),
                    (false, _) => return self.decide(AuthOutcome::Succeeded, String::new(), cx),
                };
            }
            Stage::Reason => {
                let length = be32(self.sides.get(Dir::Resp as usize)?, 0)? as usize;
                let said = self.bytes(Dir::Resp, 4 + length.min(MAX_REASON))?;
                return self.decide(AuthOutcome::Failed, short(said.get(4..)?), cx);
            }
            Stage::Over => return None,
        }
        Some(())
    }

    fn chosen(&mut self, kind: u8) {
        self.method = method(kind);
        self.stage = match (kind, self.minor) {
            (0, _) => Stage::Reason,
            (1, 8..) => Stage::Result,
            (2, _) => Stage::Challenge,
            // nothing to guess, or encrypted
            _ => Stage::Over,
        };
    }

    fn decide(&mut self, outcome: AuthOutcome, reason: String, cx: &mut Cx<'_>) -> Option<()> {
        self.stage = Stage::Over;
        Attempt::of(String::new(), self.method).tell(App::Rfb, outcome, reason, cx);
        None
    }
}

impl Dialogue for Rfb {
    fn take(&mut self, dir: Dir, bytes: &[u8], cx: &mut Cx<'_>) -> Next {
        let Some(side) = self.sides.get_mut(dir as usize) else { return Next::Done };
        side.extend_from_slice(bytes.get(..1024).unwrap_or(bytes));
        while self.step(cx).is_some() {}
        let is_over = self.stage == Stage::Over || self.held() > 2048;
        if is_over { Next::Done } else { Next::More }
    }

    fn finish(&mut self, cx: &mut Cx<'_>) {
        match self.stage {
            Stage::Reason => _ = self.decide(AuthOutcome::Failed, String::new(), cx),
            Stage::Result => _ = self.decide(AuthOutcome::Unknown, String::new(), cx),
            _ => {}
        }
    }

    fn held(&self) -> usize {
        self.sides.iter().map(Vec::len).sum()
    }

    fn reset(&mut self) {
        self.sides.iter_mut().for_each(Vec::clear);
        (self.stage, self.minor, self.method) = (Stage::Version, 0, "");
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::check;
    use crate::service::Service;
    use crate::track::Dir::{Orig, Resp};

    #[test]
    fn passwords_right_and_wrong() {
        let (client, server): (&[u8], &[u8]) = (b"RFB 003.008\n", b"RFB 003.889\n");
        let challenge = [7; 16];
        let mut talk: Vec<(_, &[u8])> = vec![
            (Resp, server),
            (Orig, client),
            (Resp, &[2, 2, 19]),
            (Orig, &[2]),
            (Resp, &challenge),
            (Orig, &challenge),
        ];
        check(Service::Rfb, &talk, &["auth @/ VNC unknown "]);
        talk.push((Resp, &[0, 0, 0, 0]));
        check(Service::Rfb, &talk, &["auth @/ VNC succeeded "]);
        talk.pop();
        talk.push((Resp, b"\0\0\0\x01\0\0\0\x05wrong"));
        check(Service::Rfb, &talk, &["auth @/ VNC failed wrong"]);
        let old: [(_, &[u8]); 4] =
            [(Resp, b"RFB 003.003\n"), (Orig, b"RFB 003.003\n"), (Resp, &[0, 0, 0, 2]), (Resp, &challenge)];
        check(Service::Rfb, &[&old[..], &[(Resp, &[0, 0, 0, 1])]].concat(), &["auth @/ VNC failed "]);
        let refused: [(_, &[u8]); 3] = [(Resp, server), (Orig, client), (Resp, b"\0\0\0\0\x08too many")];
        check(Service::Rfb, &refused, &["auth @/  failed too many"]);
        check(
            Service::Rfb,
            &[(Resp, server), (Orig, client), (Resp, &[1, 1]), (Orig, &[1])],
            &["auth @/ none unknown "],
        );
    }
}
