//! MySQL: who logs in to the database, and the server's answer.

use slips_core::exchange::{App, AuthOutcome};

use super::{Attempt, Dialogue, le16, le32, short};
use crate::reader::frames::{Frames, Size};
use crate::reader::{Cx, Next};
use crate::software::Kind;
use crate::track::Dir;
use crate::wire::byte;

/// Bytes of a packet that are read.
const KEEP: usize = 512;

const CONNECT_WITH_DB: u32 = 1 << 3;
const PROTOCOL_41: u32 = 1 << 9;
const SSL: u32 = 1 << 11;
const SECURE_CONNECTION: u32 = 1 << 15;
const PLUGIN_AUTH: u32 = 1 << 19;
const LENGTH_ENCODED: u32 = 1 << 21;

/// A connection until its login is decided.
#[derive(Debug, Default)]
pub(crate) struct MySql {
    frames: [Frames; 2],
    attempt: Option<Attempt>,
    is_over: bool,
}

fn size(bytes: &[u8]) -> Size {
    Size::head(bytes.first_chunk().map(|[a, b, c, _]| u32::from_le_bytes([*a, *b, *c, 0]) as usize + 4))
}

/// Text up to a zero byte, and what follows it.
fn text(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let (text, rest) = bytes.split_at(end);
    (text, rest.get(1..).unwrap_or(&[]))
}

/// The login of a client; `None` when it asks for encryption instead.
fn login(packet: &[u8]) -> Option<Attempt> {
    let flags = u32::from(le16(packet, 0)?);
    if flags & PROTOCOL_41 == 0 {
        return Some(Attempt::of(short(text(packet.get(5..)?).0), "old_password"));
    }
    let flags = le32(packet, 0)?;
    let names = packet.get(32..)?;
    if flags & SSL != 0 && names.is_empty() {
        return None;
    }
    let (user, rest) = text(names);
    let mut attempt = Attempt::of(short(user), "");
    let rest = if flags & (SECURE_CONNECTION | LENGTH_ENCODED) == 0 {
        text(rest).1
    } else {
        rest.get(1 + usize::from(byte(rest, 0)?)..).unwrap_or(&[])
    };
    let (database, plugin) = if flags & CONNECT_WITH_DB == 0 { (&[][..], rest) } else { text(rest) };
    attempt.domain = short(database);
    if flags & PLUGIN_AUTH != 0 {
        attempt.method = short(text(plugin).0);
    }
    Some(attempt)
}

impl MySql {
    fn client(&mut self, packet: &[u8]) -> Next {
        if self.attempt.is_none() {
            self.attempt = packet.get(4..).and_then(login);
        }
        Next::More
    }

    fn server(&mut self, packet: &[u8], cx: &mut Cx<'_>) -> Next {
        let body = packet.get(4..).unwrap_or(&[]);
        if let ([10, version @ ..], None) = (body, &self.attempt) {
            let name = [b"MySQL ", text(version).0].concat();
            cx.software(Kind::MysqlServer, Dir::Resp, &name);
        }
        let (outcome, reason) = match body {
            [0, ..] => (AuthOutcome::Succeeded, String::new()),
            [0xff, rest @ ..] => {
                let number = le16(rest, 0).unwrap_or(0);
                let said = rest.get(2..).unwrap_or(&[]);
                let said = if said.starts_with(b"#") { said.get(6..).unwrap_or(&[]) } else { said };
                (AuthOutcome::Failed, format!("{number} {}", short(said)))
            }
            // the greeting, another plugin, or more of the same one
            _ => return Next::More,
        };
        let Some(attempt) = self.attempt.take() else {
            // refused before the login: too many connections, host not allowed
            return if outcome == AuthOutcome::Failed { Next::Done } else { Next::More };
        };
        attempt.tell(App::Mysql, outcome, reason, cx);
        self.is_over = true;
        Next::Done
    }
}

impl Dialogue for MySql {
    fn take(&mut self, dir: Dir, bytes: &[u8], cx: &mut Cx<'_>) -> Next {
        let Some(frames) = self.frames.get_mut(dir as usize) else { return Next::Done };
        let mut frames = std::mem::take(frames);
        let next = frames.take(bytes, KEEP, size, |packet| match dir {
            Dir::Orig => self.client(packet),
            Dir::Resp => self.server(packet, cx),
        });
        if let Some(place) = self.frames.get_mut(dir as usize) {
            *place = frames;
        }
        next
    }

    fn finish(&mut self, cx: &mut Cx<'_>) {
        if let Some(attempt) = self.attempt.take().filter(|_| !self.is_over) {
            attempt.tell(App::Mysql, AuthOutcome::Unknown, String::new(), cx);
        }
    }

    fn held(&self) -> usize {
        self.frames.iter().map(Frames::held).sum()
    }

    fn reset(&mut self) {
        self.frames.iter_mut().for_each(Frames::clear);
        (self.attempt, self.is_over) = (None, false);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::check;
    use crate::service::Service;
    use crate::track::Dir::{Orig, Resp};

    fn packet(number: u8, body: &[u8]) -> Vec<u8> {
        let length = body.len() as u32;
        [&length.to_le_bytes()[..3], &[number], body].concat()
    }

    #[test]
    fn logins_of_both_kinds() {
        let greeting = packet(0, b"\x0a8.0.1\0\x01\0\0\0salt");
        let flags: u32 = 1 << 3 | 1 << 9 | 1 << 15 | 1 << 19;
        let names = b"root\0\x04hash\x62\x61\0mysql_native_password\0";
        let login = packet(1, &[&flags.to_le_bytes()[..], &[0; 28], names].concat());
        let error = packet(2, b"\xff\x15\x04#28000Access denied");
        check(
            Service::Mysql,
            &[(Resp, &greeting), (Orig, &login), (Resp, &error)],
            &["auth root@ba/ mysql_native_password failed 1045 Access denied"],
        );
        let switch = packet(2, b"\xfemysql_native_password\0salt");
        let (more, ok) = (packet(3, b"answer"), packet(4, b"\0\0\0\x02\0\0\0"));
        check(
            Service::Mysql,
            &[(Resp, &greeting), (Orig, &login), (Resp, &switch), (Orig, &more), (Resp, &ok)],
            &["auth root@ba/ mysql_native_password succeeded "],
        );
        let old = packet(1, b"\x05\0\0\0\0joe\0hash");
        check(Service::Mysql, &[(Resp, &greeting), (Orig, &old)], &["auth joe@/ old_password unknown "]);
        let ssl = packet(1, &[&(flags | 1 << 11).to_le_bytes()[..], &[0; 28]].concat());
        check(Service::Mysql, &[(Resp, &greeting), (Orig, &ssl)], &[]);
    }
}
