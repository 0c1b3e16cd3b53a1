//! Which application speaks, told by the first payload bytes of each side and not by the port.

use slips_core::flow::Service as ServiceText;

use crate::track::Dir;
use crate::wire::{be16, be32, byte};

/// Applications that are recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Service {
    Dns,
    Http,
    Ssl,
    Ssh,
    Smtp,
    Ftp,
    Pop3,
    Imap,
    Irc,
    Dhcp,
    Ntp,
    Quic,
    Vxlan,
    Geneve,
    Gtp,
    Ayiya,
    Teredo,
}

impl Service {
    const fn name(self) -> &'static [u8] {
        match self {
            Self::Dns => b"dns",
            Self::Http => b"http",
            Self::Ssl => b"ssl",
            Self::Ssh => b"ssh",
            Self::Smtp => b"smtp",
            Self::Ftp => b"ftp",
            Self::Pop3 => b"pop3",
            Self::Imap => b"imap",
            Self::Irc => b"irc",
            Self::Dhcp => b"dhcp",
            Self::Ntp => b"ntp",
            Self::Quic => b"quic",
            Self::Vxlan => b"vxlan",
            Self::Geneve => b"geneve",
            Self::Gtp => b"gtpv1",
            Self::Ayiya => b"ayiya",
            Self::Teredo => b"teredo",
        }
    }
}

/// Payload packets of a side that are looked at before giving up.
const MAX_LOOKS: u8 = 4;
/// Applications that one flow may have.
const MAX_SERVICES: usize = 3;

/// What was recognised in a flow so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Recognition {
    confirmed: [Option<Service>; MAX_SERVICES],
    hints: [Hints; 2],
    looks: [u8; 2],
}

/// What the payload of one side looks like: a bit per kind of opening.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Hints(u16);

impl Hints {
    const HTTP_REQUEST: Self = Self(1);
    const HTTP_REPLY: Self = Self(1 << 1);
    const TLS_CLIENT: Self = Self(1 << 2);
    const TLS_SERVER: Self = Self(1 << 3);
    const SSH: Self = Self(1 << 4);
    const MAIL_HELLO: Self = Self(1 << 5);
    const GREETING_220: Self = Self(1 << 6);
    const FTP_LOGIN: Self = Self(1 << 7);
    const POP3_OK: Self = Self(1 << 8);
    const POP3_COMMAND: Self = Self(1 << 9);
    const IMAP_OK: Self = Self(1 << 10);
    const IRC_NICK: Self = Self(1 << 11);
    const IRC_REPLY: Self = Self(1 << 12);
    const FTP_ACCEPT: Self = Self(1 << 13);
    const TEXT_OTHER: Self = Self(1 << 14);

    const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

const METHODS: [&[u8]; 15] = [
    b"GET",
    b"POST",
    b"HEAD",
    b"PUT",
    b"OPTIONS",
    b"CONNECT",
    b"DELETE",
    b"TRACE",
    b"PATCH",
    b"PROPFIND",
    b"PROPPATCH",
    b"MKCOL",
    b"SEARCH",
    b"REPORT",
    b"SUBSCRIBE",
];

fn is_http_request(payload: &[u8]) -> bool {
    METHODS.iter().any(|method| {
        payload
            .strip_prefix(*method)
            .is_some_and(|rest| matches!(rest, [b' ' | b'\t', next, ..] if !matches!(next, b'\r' | b'\n')))
    })
}

fn starts_with_ignoring_case(payload: &[u8], prefix: &[u8]) -> bool {
    payload.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// How a TCP payload opens.
fn tcp_hints(payload: &[u8]) -> Hints {
    let starts =
        |prefixes: &[&[u8]]| prefixes.iter().any(|prefix| starts_with_ignoring_case(payload, prefix));
    match payload {
        [0x16, 0x03, 0..=4, _, _, 1, ..] => return Hints::TLS_CLIENT,
        [0x16, 0x03, 0..=4, _, _, 2, ..] | [0x15, 0x03, 0..=4, 0, 2, 1 | 2, _] => return Hints::TLS_SERVER,
        [b'S', b'S', b'H', b'-', ..] => return Hints::SSH,
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', ..] => return Hints::HTTP_REPLY,
        [b'2' | b'1', b'2', b'0', b' ' | b'-', ..] => return Hints::GREETING_220,
        [b'2', b'3', b'0', b' ' | b'-', ..] | [b'3', b'3', b'1', b' ' | b'-', ..] => {
            return Hints::FTP_ACCEPT;
        }
        _ => {}
    }
    if is_http_request(payload) {
        Hints::HTTP_REQUEST
    } else if starts(&[b"HELO ", b"EHLO "]) {
        Hints::MAIL_HELLO
    } else if starts(&[b"+OK"]) {
        Hints::POP3_OK
    } else if starts(&[b"USER "]) {
        // FTP, POP3 and IRC clients all may open so; the server's side decides
        Hints(Hints::FTP_LOGIN.0 | Hints::POP3_COMMAND.0 | Hints::IRC_NICK.0)
    } else if starts(&[b"APOP ", b"CAPA", b"STLS", b"AUTH"]) {
        Hints(Hints::POP3_COMMAND.0 | Hints::FTP_LOGIN.0)
    } else if starts(&[b"NICK ", b"PASS "]) {
        Hints::IRC_NICK
    } else if starts(&[b"* OK"]) {
        Hints::IMAP_OK
    } else if matches!(payload, [b':', ..]) {
        Hints::IRC_REPLY
    } else if crate::ssh::has_banner(payload) {
        Hints::SSH
    } else {
        Hints::TEXT_OTHER
    }
}

/// Whether a TCP payload begins a TLS connection.
pub(crate) const fn is_client_hello(payload: &[u8]) -> bool {
    matches!(payload, [0x16, 3, 0..=4, _, _, 1, 0, ..])
}

/// DHCP, NTP and QUIC by their fixed fields.
pub(crate) fn of_datagram(payload: &[u8], src_port: u16, dst_port: u16) -> Option<Service> {
    let ports = |known: &[u16]| known.contains(&src_port) || known.contains(&dst_port);
    if ports(&[67, 68]) && be32(payload, 236) == Some(0x6382_5363) {
        return Some(Service::Dhcp);
    }
    if ports(&[123]) && payload.len() >= 48 && byte(payload, 0).is_some_and(is_ntp_flags) {
        return Some(Service::Ntp);
    }
    // a long header with the fixed bit, of version 1, 2 or a late draft, in a padded Initial
    let version = be32(payload, 1)?;
    let known = matches!(version, 1 | 0x6b33_43cf | 0xff00_001d..=0xff00_0022);
    (known && byte(payload, 0)? & 0xc0 == 0xc0 && payload.len() >= 1200).then_some(Service::Quic)
}

const fn is_ntp_flags(flags: u8) -> bool {
    matches!((flags >> 3) & 7, 1..=4) && matches!(flags & 7, 1..=7)
}

/// Whether TCP to this port is DNS, where it reads as DNS.
pub(crate) const fn is_dns_port(port: u16) -> bool {
    port == 53
}

/// Whether a datagram or a framed TCP message on these ports may be DNS.
pub(crate) fn may_be_dns(payload: &[u8], src_port: u16, dst_port: u16) -> bool {
    if [53, 137, 5353, 5355].iter().any(|port| *port == src_port || *port == dst_port) {
        return true;
    }
    // elsewhere only a plain question counts: one question, no answers, opcode and reserved bits zero
    let Some(flags) = be16(payload, 2) else { return false };
    flags & 0xfecf == 0
        && be16(payload, 4) == Some(1)
        && be16(payload, 6) == Some(0)
        && be16(payload, 8) == Some(0)
        && payload.len() >= 17
}

impl Recognition {
    /// Notes a service; false when it was known or there is no room.
    pub(crate) fn confirm(&mut self, service: Service) -> bool {
        if self.is(service) {
            return false;
        }
        match self.confirmed.iter_mut().find(|slot| slot.is_none()) {
            Some(slot) => {
                *slot = Some(service);
                true
            }
            None => false,
        }
    }

    /// Whether `service` was found.
    pub(crate) fn is(&self, service: Service) -> bool {
        self.confirmed.contains(&Some(service))
    }

    /// Whether anything was found.
    pub(crate) fn is_any(&self) -> bool {
        self.confirmed[0].is_some()
    }

    pub(crate) fn flip(&mut self) {
        self.hints.reverse();
        self.looks.reverse();
    }

    /// Whether the payload that is looked at is the first of `dir`.
    pub(crate) const fn is_first_look(&self, dir: Dir) -> bool {
        self.looks[dir as usize] <= 1
    }

    /// Whether payload of `dir` is still worth a look.
    pub(crate) fn wants(&mut self, dir: Dir) -> bool {
        let looks = &mut self.looks[dir as usize];
        *looks = looks.saturating_add(1);
        *looks <= MAX_LOOKS
    }

    /// Whether a TLS client hello got a plain-text answer, which takes the recognition back.
    pub(crate) fn take_back(&mut self, dir: Dir, payload: &[u8]) {
        let is_first_answer = dir == Dir::Resp && self.looks[Dir::Resp as usize] == 1;
        let is_text = payload.iter().take(4).all(|byte| byte.is_ascii_graphic() || *byte == b' ');
        if is_first_answer && is_text && self.is(Service::Ssl) {
            self.confirmed = [None; MAX_SERVICES];
        }
    }

    /// Looks at a TCP payload that `dir` sent; the service that is now certain.
    pub(crate) fn look(&mut self, dir: Dir, payload: &[u8]) -> Option<Service> {
        let hints = &mut self.hints[dir as usize];
        hints.0 |= tcp_hints(payload).0;
        let [orig, resp] = self.hints;
        let both = |client: Hints, server: Hints| orig.has(client) && resp.has(server);
        if self.is_any() {
            return None;
        }
        let silent = Hints::default();
        let found = [
            (Service::Ssl, resp.has(Hints::TLS_SERVER)),
            (Service::Ssl, orig.has(Hints::TLS_CLIENT) && resp == silent),
            (Service::Http, both(Hints::HTTP_REQUEST, Hints::HTTP_REPLY)),
            (Service::Http, orig.has(Hints::HTTP_REQUEST) && resp == silent),
            (Service::Http, orig == silent && resp.has(Hints::HTTP_REPLY)),
            (Service::Ssh, both(Hints::SSH, Hints::SSH)),
            (Service::Smtp, both(Hints::MAIL_HELLO, Hints::GREETING_220)),
            (Service::Ftp, both(Hints::FTP_LOGIN, Hints::FTP_ACCEPT)),
            (Service::Pop3, both(Hints::POP3_COMMAND, Hints::POP3_OK)),
            (Service::Imap, resp.has(Hints::IMAP_OK)),
            (Service::Irc, both(Hints::IRC_NICK, Hints::IRC_REPLY)),
        ];
        found.into_iter().find_map(|(service, certain)| certain.then_some(service))
    }

    /// The names, comma separated, in the order of recognition.
    pub(crate) fn text(&self) -> ServiceText {
        let mut text = ServiceText::EMPTY;
        for service in self.confirmed.iter().flatten() {
            if !text.is_empty() {
                text.push_ascii(b',');
            }
            for letter in service.name() {
                text.push_ascii(*letter);
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(talk: &[(Dir, &[u8])], expected: Option<Service>) {
        let mut recognition = Recognition::default();
        for (dir, payload) in talk {
            recognition.wants(*dir);
            recognition.take_back(*dir, payload);
            if let Some(service) = recognition.look(*dir, payload) {
                recognition.confirm(service);
            }
        }
        assert_eq!(recognition.confirmed[0], expected, "{talk:?}");
    }

    #[test]
    fn openings_tell_the_application() {
        use Dir::{Orig, Resp};
        check(&[(Orig, b"GET / HTTP/1.1\r\n")], Some(Service::Http));
        check(&[(Resp, b"HTTP/1.1 200 OK\r\n")], Some(Service::Http));
        check(&[(Orig, b"GETX / HTTP/1.1\r\n")], None);
        check(&[(Orig, &[0x16, 3, 1, 0, 9, 1, 0]), (Resp, &[0x16, 3, 3, 0, 9, 2, 0])], Some(Service::Ssl));
        check(&[(Orig, &[0x16, 3, 1, 0, 9, 1, 0])], Some(Service::Ssl));
        check(&[(Orig, &[0x16, 3, 1, 0, 9, 1, 0]), (Resp, b"HTTP/1.1 400 Bad\r\n")], None);
        check(&[(Orig, b"SSH-2.0-a\r\n")], None);
        check(&[(Orig, b"SSH-2.0-a\r\n"), (Resp, b"hello\r\nSSH-2.0-b\r\n")], Some(Service::Ssh));
        check(&[(Resp, b"220 mx ESMTP\r\n"), (Orig, b"EHLO x\r\n")], Some(Service::Smtp));
        check(&[(Resp, b"220 ftp\r\n"), (Orig, b"USER x\r\n"), (Resp, b"331 pass?\r\n")], Some(Service::Ftp));
        check(&[(Resp, b"+OK hi\r\n"), (Orig, b"USER x\r\n")], Some(Service::Pop3));
        check(&[(Orig, b"\x00\x01random")], None);
    }

    #[test]
    fn datagrams_tell_the_application() {
        let mut ntp = [0u8; 48];
        ntp[0] = 0x23;
        assert_eq!(of_datagram(&ntp, 40000, 123), Some(Service::Ntp));
        assert_eq!(of_datagram(&ntp, 40000, 124), None);
        assert_eq!(of_datagram(&[], 123, 123), None);
        let mut quic = [0u8; 1200];
        quic[..5].copy_from_slice(&[0xc3, 0, 0, 0, 1]);
        assert_eq!(of_datagram(&quic, 40000, 443), Some(Service::Quic));
    }
}
