//! What the payload of one side looks like, and which two sides make an application.

use super::{Service, data, desktop, machine, peer, private, terminal, text};

/// What a side of a flow opened with: a bit per kind of opening.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Hints(u64);

impl Hints {
    pub(super) const NONE: Self = Self(0);
    /// Looked at, and nothing known.
    pub(super) const OTHER: Self = Self(1);
    pub(super) const HTTP_REQUEST: Self = Self(1 << 1);
    pub(super) const HTTP_REPLY: Self = Self(1 << 2);
    pub(super) const TLS_CLIENT: Self = Self(1 << 3);
    pub(super) const TLS_SERVER: Self = Self(1 << 4);
    pub(super) const SSH: Self = Self(1 << 5);
    pub(super) const MAIL_HELLO: Self = Self(1 << 6);
    pub(super) const GREETING_220: Self = Self(1 << 7);
    pub(super) const FTP_LOGIN: Self = Self(1 << 8);
    pub(super) const FTP_ACCEPT: Self = Self(1 << 9);
    pub(super) const POP3_OK: Self = Self(1 << 10);
    pub(super) const POP3_COMMAND: Self = Self(1 << 11);
    pub(super) const IMAP_OK: Self = Self(1 << 12);
    pub(super) const IRC_NICK: Self = Self(1 << 13);
    pub(super) const IRC_REPLY: Self = Self(1 << 14);
    pub(super) const SIP: Self = Self(1 << 15);
    pub(super) const XMPP: Self = Self(1 << 16);
    pub(super) const MYSQL_GREETING: Self = Self(1 << 17);
    pub(super) const POSTGRES_START: Self = Self(1 << 18);
    pub(super) const POSTGRES_REPLY: Self = Self(1 << 19);
    pub(super) const REDIS_COMMAND: Self = Self(1 << 20);
    pub(super) const REDIS_REPLY: Self = Self(1 << 21);
    pub(super) const SMB: Self = Self(1 << 22);
    pub(super) const DCE_RPC: Self = Self(1 << 23);
    pub(super) const LDAP_REQUEST: Self = Self(1 << 24);
    pub(super) const LDAP_REPLY: Self = Self(1 << 25);
    pub(super) const KERBEROS: Self = Self(1 << 26);
    pub(super) const RDP_REQUEST: Self = Self(1 << 27);
    pub(super) const RDP_CONFIRM: Self = Self(1 << 28);
    pub(super) const RFB: Self = Self(1 << 29);
    pub(super) const MODBUS: Self = Self(1 << 30);
    pub(super) const MQTT: Self = Self(1 << 31);
    pub(super) const SOCKS_CLIENT: Self = Self(1 << 32);
    pub(super) const SOCKS_SERVER: Self = Self(1 << 33);
    pub(super) const OPENVPN_CLIENT: Self = Self(1 << 34);
    pub(super) const OPENVPN_SERVER: Self = Self(1 << 35);
    pub(super) const BITTORRENT: Self = Self(1 << 36);
    pub(super) const STRATUM: Self = Self(1 << 37);
    pub(super) const STUN: Self = Self(1 << 38);
    pub(super) const MONERO: Self = Self(1 << 39);
    pub(super) const TELNET: Self = Self(1 << 40);
    pub(super) const LOGIN_PROMPT: Self = Self(1 << 41);
    pub(super) const RLOGIN: Self = Self(1 << 42);
    pub(super) const RSH: Self = Self(1 << 43);
    pub(super) const HTTP2: Self = Self(1 << 44);

    pub(super) const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(super) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// How a TCP payload opens.
pub(super) fn of_segment(payload: &[u8]) -> Hints {
    match payload {
        [0x16, 0x03, 0..=4, _, _, 1, ..] => return Hints::TLS_CLIENT,
        [0x16, 0x03, 0..=4, _, _, 2, ..] | [0x15, 0x03, 0..=4, 0, 2, 1 | 2, _] => return Hints::TLS_SERVER,
        _ => {}
    }
    let groups = [
        text::opening,
        data::opening,
        desktop::opening,
        machine::opening,
        private::opening,
        peer::opening,
        terminal::opening,
    ];
    let hints = groups.iter().fold(Hints::NONE, |hints, opening| hints.and(opening(payload)));
    if hints == Hints::NONE { Hints::OTHER } else { hints }
}

/// Applications that need the openings of both sides: client's, then server's.
const TWO_SIDED: &[(Service, Hints, Hints)] = &[
    (Service::Http, Hints::HTTP_REQUEST, Hints::HTTP_REPLY),
    // a server that answers so tells it, whatever the client said
    (Service::Http, Hints::OTHER, Hints::HTTP_REPLY),
    (Service::Ssh, Hints::SSH, Hints::SSH),
    (Service::Smtp, Hints::MAIL_HELLO, Hints::GREETING_220),
    (Service::Ftp, Hints::FTP_LOGIN, Hints::FTP_ACCEPT),
    (Service::Pop3, Hints::POP3_COMMAND, Hints::POP3_OK),
    (Service::Irc, Hints::IRC_NICK, Hints::IRC_REPLY),
    (Service::Xmpp, Hints::XMPP, Hints::XMPP),
    (Service::Postgresql, Hints::POSTGRES_START, Hints::POSTGRES_REPLY),
    (Service::Redis, Hints::REDIS_COMMAND, Hints::REDIS_REPLY),
    (Service::Smb, Hints::SMB, Hints::SMB),
    (Service::DceRpc, Hints::DCE_RPC, Hints::DCE_RPC),
    (Service::LdapTcp, Hints::LDAP_REQUEST, Hints::LDAP_REPLY),
    (Service::Rdp, Hints::RDP_REQUEST, Hints::RDP_CONFIRM),
    (Service::Rfb, Hints::RFB, Hints::RFB),
    (Service::Modbus, Hints::MODBUS, Hints::MODBUS),
    (Service::Socks, Hints::SOCKS_CLIENT, Hints::SOCKS_SERVER),
    (Service::Openvpn, Hints::OPENVPN_CLIENT, Hints::OPENVPN_SERVER),
];

/// Applications that one side's opening gives away.
const ONE_SIDED: &[(Service, Hints)] = &[
    (Service::Sip, Hints::SIP),
    (Service::KerberosTcp, Hints::KERBEROS),
    (Service::Mqtt, Hints::MQTT),
    (Service::Bittorrent, Hints::BITTORRENT),
    (Service::Stratum, Hints::STRATUM),
    (Service::Stun, Hints::STUN),
    (Service::Monero, Hints::MONERO),
    (Service::Telnet, Hints::TELNET),
];

/// The application of a TCP flow whose sides opened so.
pub(super) fn decide(orig: Hints, resp: Hints) -> Option<Service> {
    let tls = resp.has(Hints::TLS_SERVER) || (orig.has(Hints::TLS_CLIENT) && resp == Hints::NONE);
    let http = (orig.has(Hints::HTTP_REQUEST) && resp == Hints::NONE)
        // whatever the client said, in methods that nobody knows
        || (matches!(orig, Hints::NONE | Hints::OTHER) && resp.has(Hints::HTTP_REPLY));
    if tls {
        return Some(Service::Ssl);
    }
    if http {
        return Some(Service::Http);
    }
    if orig.has(Hints::MAIL_HELLO) && resp == Hints::NONE {
        // the server greets first, so its side is not seen
        return Some(Service::Smtp);
    }
    let two = TWO_SIDED.iter().find(|(_, client, server)| orig.has(*client) && resp.has(*server));
    let two = two.map(|(service, _, _)| *service);
    let server_alone = || {
        let known = [
            (Service::Imap, Hints::IMAP_OK),
            (Service::Mysql, Hints::MYSQL_GREETING),
            (Service::Telnet, Hints::LOGIN_PROMPT),
        ];
        known.into_iter().find(|(_, hint)| resp.has(*hint)).map(|(service, _)| service)
    };
    let client_alone = || {
        let known =
            [(Service::Http2, Hints::HTTP2), (Service::Rlogin, Hints::RLOGIN), (Service::Rsh, Hints::RSH)];
        known.into_iter().find(|(_, hint)| orig.has(*hint)).map(|(service, _)| service)
    };
    let either =
        || ONE_SIDED.iter().find(|(_, hint)| orig.has(*hint) || resp.has(*hint)).map(|(service, _)| *service);
    two.or_else(server_alone).or_else(client_alone).or_else(either)
}
