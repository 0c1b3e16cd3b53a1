//! SOCKS 4 and 5 (RFC 1928, 1929): where a client wants to go through the proxy, who it is, and what the proxy says.

use std::net::{Ipv4Addr, Ipv6Addr};

use slips_core::exchange::{App, AuthOutcome};

use super::{Attempt, Dialogue, Request, short};
use crate::reader::{Cx, Next};
use crate::track::Dir;
use crate::wire::{be16, be32, be128, byte};

/// Bytes of a side that are kept: more than the longest message.
const MAX_HELD: usize = 1024;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// Version 4: a request; version 5: methods.
    #[default]
    Hello,
    /// The server chooses a method.
    Method,
    Password,
    PasswordReply,
    Request,
    Reply,
    Over,
}

/// The beginning of a connection through a proxy.
#[derive(Debug, Default)]
pub(crate) struct Socks {
    stage: Stage,
    sides: [Vec<u8>; 2],
    is_four: bool,
    user: String,
    clear_password: bool,
    asked: Option<Request>,
}

const fn action(command: u8) -> &'static str {
    match command {
        1 => "connect",
        2 => "bind",
        3 => "udp_associate",
        _ => "unknown",
    }
}

/// What a proxy answers; version 5 by number, version 4 from 90 on.
fn reply_text(code: u8) -> String {
    let name = match code {
        0 | 90 => "succeeded",
        1 | 91 => "general failure",
        2 => "not allowed",
        3 => "network unreachable",
        4 => "host unreachable",
        5 => "connection refused",
        6 => "TTL expired",
        7 => "command not supported",
        8 => "address type not supported",
        92 | 93 => "identd failure",
        code => return code.to_string(),
    };
    name.to_owned()
}

/// A text that a zero byte ends, and its length with it.
fn ended(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let end = bytes.iter().position(|byte| *byte == 0)?;
    Some((bytes.get(..end)?, end + 1))
}

/// A request of version 4, its user, and its length. An address of `0.0.0.x` stands for a name at the end.
fn four(bytes: &[u8]) -> Option<(Request, String, usize)> {
    let (port, bits) = (be16(bytes, 2)?, be32(bytes, 4)?);
    let (user, length) = ended(bytes.get(8..)?)?;
    let mut taken = 8 + length;
    let mut host = Ipv4Addr::from_bits(bits).to_string();
    if (1..256).contains(&bits) {
        let (name, length) = ended(bytes.get(taken..)?)?;
        host = short(name);
        taken += length;
    }
    let request =
        Request { action: action(byte(bytes, 1)?), object: format!("{host}:{port}"), ..Request::default() };
    Some((request, short(user), taken))
}

/// The target in a request or reply of version 5, and the message's length.
fn five(bytes: &[u8]) -> Option<(String, usize)> {
    let (host, end) = match byte(bytes, 3)? {
        1 => (Ipv4Addr::from_bits(be32(bytes, 4)?).to_string(), 8),
        3 => {
            let length = usize::from(byte(bytes, 4)?);
            (short(bytes.get(5..5 + length)?), 5 + length)
        }
        4 => (format!("[{}]", Ipv6Addr::from_bits(be128(bytes, 4)?)), 20),
        _ => return Some((String::new(), bytes.len())),
    };
    Some((format!("{host}:{}", be16(bytes, end)?), end + 2))
}

impl Socks {
    fn drop_bytes(&mut self, dir: Dir, count: usize) {
        if let Some(side) = self.sides.get_mut(dir as usize) {
            side.drain(..count.min(side.len()));
        }
    }

    /// One step, where there are bytes for it.
    fn step(&mut self, cx: &mut Cx<'_>) -> Option<()> {
        let [client, server] = &self.sides;
        match self.stage {
            Stage::Hello if byte(client, 0)? == 4 => {
                let (request, user, taken) = four(client)?;
                (self.is_four, self.user) = (true, user.clone());
                self.asked = Some(Request { subject: user, ..request });
                self.drop_bytes(Dir::Orig, taken);
                self.stage = Stage::Reply;
            }
            Stage::Hello => {
                let taken = 2 + usize::from(byte(client, 1)?);
                client.get(..taken)?;
                self.drop_bytes(Dir::Orig, taken);
                self.stage = Stage::Method;
            }
            Stage::Method => {
                let method = byte(server, 1)?;
                self.drop_bytes(Dir::Resp, 2);
                self.stage = match method {
                    0 => Stage::Request,
                    2 => Stage::Password,
                    _ => Stage::Over,
                };
            }
            Stage::Password => {
                let length = usize::from(byte(client, 1)?);
                let user = short(client.get(2..2 + length)?);
                let password = usize::from(byte(client, 2 + length)?);
                client.get(..3 + length + password)?;
                (self.user, self.clear_password) = (user, password > 0);
                self.drop_bytes(Dir::Orig, 3 + length + password);
                self.stage = Stage::PasswordReply;
            }
            Stage::PasswordReply => {
                let is_in = byte(server, 1)? == 0;
                self.drop_bytes(Dir::Resp, 2);
                self.stage = if is_in { Stage::Request } else { Stage::Over };
                self.tell_login(if is_in { AuthOutcome::Succeeded } else { AuthOutcome::Failed }, cx);
            }
            Stage::Request => {
                let (object, taken) = five(client)?;
                let (action, subject) = (action(byte(client, 1)?), self.user.clone());
                self.asked = Some(Request { action, object, subject, detail: String::new() });
                self.drop_bytes(Dir::Orig, taken);
                self.stage = Stage::Reply;
            }
            Stage::Reply => {
                let code = byte(server, 1)?;
                server.get(..if self.is_four { 8 } else { 4 })?;
                self.stage = Stage::Over;
                self.tell_request(reply_text(code), cx);
            }
            Stage::Over => return None,
        }
        Some(())
    }

    fn tell_login(&mut self, outcome: AuthOutcome, cx: &mut Cx<'_>) {
        let attempt =
            Attempt { clear_password: self.clear_password, ..Attempt::of(self.user.clone(), "password") };
        attempt.tell(App::Socks, outcome, String::new(), cx);
    }

    fn tell_request(&mut self, status: String, cx: &mut Cx<'_>) {
        if let Some(asked) = self.asked.take() {
            let detail = if self.is_four { "version 4" } else { "version 5" };
            Request { detail: detail.to_owned(), ..asked }.tell(App::Socks, status, cx);
        }
    }
}

impl Dialogue for Socks {
    fn take(&mut self, dir: Dir, bytes: &[u8], cx: &mut Cx<'_>) -> Next {
        let Some(side) = self.sides.get_mut(dir as usize) else { return Next::Done };
        let room = MAX_HELD.saturating_sub(side.len());
        side.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        let is_full = side.len() >= MAX_HELD;
        while self.step(cx).is_some() {}
        if self.stage == Stage::Over || is_full { Next::Done } else { Next::More }
    }

    fn finish(&mut self, cx: &mut Cx<'_>) {
        if self.stage == Stage::PasswordReply {
            self.tell_login(AuthOutcome::Unknown, cx);
        }
        self.tell_request(String::new(), cx);
        self.stage = Stage::Over;
    }

    fn held(&self) -> usize {
        self.sides.iter().map(Vec::len).sum()
    }

    fn reset(&mut self) {
        self.sides.iter_mut().for_each(Vec::clear);
        (self.stage, self.is_four, self.clear_password, self.asked) = (Stage::Hello, false, false, None);
        self.user.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::check;
    use crate::service::Service;
    use crate::track::Dir::{Orig, Resp};

    #[test]
    fn targets_of_both_versions() {
        let five: [(_, &[u8]); 6] = [
            (Orig, &[5, 2, 0, 2]),
            (Resp, &[5, 2]),
            (Orig, b"\x01\x03joe\x01x"),
            (Resp, &[1, 0]),
            (Orig, b"\x05\x01\0\x03\x07x.onion\0\x50"),
            (Resp, &[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]),
        ];
        check(
            Service::Socks,
            &five,
            &["auth joe@/ password succeeded  clear", "op connect x.onion:80 joe version 5 succeeded"],
        );
        let refused = [&five[..3], &[(Resp, &[1, 1][..])]].concat();
        check(Service::Socks, &refused, &["auth joe@/ password failed  clear"]);
        check(
            Service::Socks,
            &[(Orig, b"\x04\x01\x01\xbb\0\0\0\x01me\0host\0"), (Resp, &[0, 91, 0, 0, 0, 0, 0, 0])],
            &["op connect host:443 me version 4 general failure"],
        );
    }
}
