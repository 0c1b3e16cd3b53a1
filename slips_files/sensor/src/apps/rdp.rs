//! RDP: the name in the cookie, and which security the client asks for and the server chooses (MS-RDPBCGR 2.2.1).
//!
//! The login itself is encrypted. Each connection that names a user counts as an attempt with an unknown end.

use slips_core::exchange::{App, AuthOutcome};

use super::{Attempt, Dialogue, Request, le32, short};
use crate::reader::frames::{Frames, Size};
use crate::reader::{Cx, Next};
use crate::track::Dir;
use crate::wire::{be16, byte};

/// Enough for the list of channels.
const KEEP: usize = 1024;
/// A channel that a server makes for itself; who asks for it has CVE-2019-0708 in mind. Seen where the connection is not encrypted.
const OWN_CHANNEL: &[u8] = b"MS_T120\0";

/// The beginning of a connection.
#[derive(Debug, Default)]
pub(crate) struct Rdp {
    frames: [Frames; 2],
    asked: Option<Request>,
}

/// TPKT: version 3, a reserved byte, the length.
fn size(bytes: &[u8]) -> Size {
    match bytes {
        [] => Size::Unknown,
        [3, ..] => Size::head(be16(bytes, 2).map(|length| usize::from(length).max(4))),
        _ => Size::Bad,
    }
}

fn protocols(bits: u32) -> String {
    const NAMES: [(u32, &str); 4] = [(1, "SSL"), (2, "HYBRID"), (8, "HYBRID_EX"), (4, "RDSTLS")];
    let names: Vec<_> = NAMES.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, name)| *name).collect();
    if names.is_empty() { "RDP".to_owned() } else { names.join(",") }
}

const FAILURES: [&str; 7] = [
    "failure",
    "SSL_REQUIRED_BY_SERVER",
    "SSL_NOT_ALLOWED_BY_SERVER",
    "SSL_CERT_NOT_ON_SERVER",
    "INCONSISTENT_FLAGS",
    "HYBRID_REQUIRED_BY_SERVER",
    "SSL_WITH_USER_AUTH_REQUIRED_BY_SERVER",
];

/// What a negotiation of this type carries at the end of a packet.
fn negotiation(rest: &[u8], kind: u8) -> Option<u32> {
    let at = rest.len().checked_sub(8)?;
    (byte(rest, at)? == kind && byte(rest, at + 2)? == 8).then(|| le32(rest, at + 4)).flatten()
}

impl Rdp {
    fn client(&mut self, packet: &[u8], cx: &mut Cx<'_>) -> Next {
        if byte(packet, 5) != Some(0xe0) {
            if packet.windows(OWN_CHANNEL.len()).any(|name| name.eq_ignore_ascii_case(OWN_CHANNEL)) {
                let request =
                    Request { action: "channel", detail: "MS_T120".to_owned(), ..Request::default() };
                request.tell(App::Rdp, String::new(), cx);
                return Next::Done;
            }
            return Next::More;
        }
        let rest = packet.get(11..).unwrap_or(&[]);
        let line = rest
            .strip_prefix(b"Cookie: ")
            .map(|rest| rest.split(|byte| *byte == b'\r').next().unwrap_or(rest));
        let subject = line.and_then(|line| line.strip_prefix(b"mstshash=")).map(short).unwrap_or_default();
        let object = line.filter(|_| subject.is_empty()).map(short).unwrap_or_default();
        let detail = protocols(negotiation(rest, 1).unwrap_or(0));
        self.asked = Some(Request { action: "connect", object, subject, detail });
        Next::More
    }

    fn server(&mut self, packet: &[u8], cx: &mut Cx<'_>) -> Next {
        if byte(packet, 5) != Some(0xd0) {
            return Next::Done;
        }
        let rest = packet.get(11..).unwrap_or(&[]);
        let status = match (negotiation(rest, 2), negotiation(rest, 3)) {
            (_, Some(code)) => FAILURES.get(code as usize).unwrap_or(&FAILURES[0]).to_string(),
            (selected, _) => protocols(selected.unwrap_or(0)),
        };
        self.tell(status, cx);
        // what follows is encrypted; TLS is read by others
        Next::More
    }

    fn tell(&mut self, status: String, cx: &mut Cx<'_>) {
        let Some(asked) = self.asked.take() else { return };
        if !asked.subject.is_empty() {
            let refused = FAILURES.contains(&status.as_str());
            let attempt = Attempt::of(asked.subject.clone(), &asked.detail);
            if !refused {
                attempt.tell(App::Rdp, AuthOutcome::Unknown, String::new(), cx);
            }
        }
        asked.tell(App::Rdp, status, cx);
    }
}

impl Dialogue for Rdp {
    fn take(&mut self, dir: Dir, bytes: &[u8], cx: &mut Cx<'_>) -> Next {
        let Some(frames) = self.frames.get_mut(dir as usize) else { return Next::Done };
        let mut frames = std::mem::take(frames);
        let next = frames.take(bytes, KEEP, size, |packet| match dir {
            Dir::Orig => self.client(packet, cx),
            Dir::Resp => self.server(packet, cx),
        });
        if let Some(place) = self.frames.get_mut(dir as usize) {
            *place = frames;
        }
        next
    }

    fn finish(&mut self, cx: &mut Cx<'_>) {
        self.tell(String::new(), cx);
    }

    fn held(&self) -> usize {
        self.frames.iter().map(Frames::held).sum()
    }

    fn reset(&mut self) {
        self.frames.iter_mut().for_each(Frames::clear);
        self.asked = None;
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::check;
    use crate::service::Service;
    use crate::track::Dir::{Orig, Resp};

    #[test]
    fn cookies_and_security() {
        let ask = b"\x03\0\0\x2a\x25\xe0\0\0\0\0\0Cookie: mstshash=joe\r\n\x01\0\x08\0\x03\0\0\0";
        let ask = [&ask[..3], &[ask.len() as u8], &ask[4..]].concat();
        check(
            Service::Rdp,
            &[(Orig, &ask), (Resp, b"\x03\0\0\x13\x0e\xd0\0\0\x12\x34\0\x02\0\x08\0\x02\0\0\0")],
            &["auth joe@/ SSL,HYBRID unknown ", "op connect  joe SSL,HYBRID HYBRID"],
        );
        check(
            Service::Rdp,
            &[(Orig, &ask), (Resp, b"\x03\0\0\x13\x0e\xd0\0\0\x12\x34\0\x03\0\x08\0\x05\0\0\0")],
            &["op connect  joe SSL,HYBRID HYBRID_REQUIRED_BY_SERVER"],
        );
        check(
            Service::Rdp,
            &[(Orig, b"\x03\0\0\x0b\x06\xe0\0\0\0\0\0"), (Resp, b"\x03\0\0\x0b\x06\xd0\0\0\0\0\0")],
            &["op connect   RDP RDP"],
        );
        check(
            Service::Rdp,
            &[
                (Orig, b"\x03\0\0\x0b\x06\xe0\0\0\0\0\0"),
                (Resp, b"\x03\0\0\x0b\x06\xd0\0\0\0\0\0"),
                (Orig, b"\x03\0\0\x1b\x02\xf0\x80\x7f\x65rdpsnd\0\0MS_T120\0\0\0"),
            ],
            &["op connect   RDP RDP", "op channel   MS_T120 "],
        );
    }
}
