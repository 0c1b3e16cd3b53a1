//! Which application speaks, told by the first payload bytes of each side and not by the port.

pub(crate) mod ber;
mod data;
mod datagram;
mod desktop;
mod hints;
mod machine;
mod peer;
mod private;
mod terminal;
#[cfg(test)]
mod tests;
mod text;

use slips_core::flow::Service as ServiceText;

pub(crate) use self::datagram::{is_dns_port, may_be_dns};
use self::hints::Hints;
use crate::track::Dir;

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
    FtpData,
    Pop3,
    Imap,
    Irc,
    Dhcp,
    Ntp,
    Quic,
    Dtls,
    Vxlan,
    Geneve,
    Gtp,
    Ayiya,
    Teredo,
    Sip,
    Xmpp,
    Mysql,
    Postgresql,
    Redis,
    Smb,
    DceRpc,
    LdapTcp,
    LdapUdp,
    Kerberos,
    KerberosTcp,
    Rdp,
    Rfb,
    Modbus,
    Mqtt,
    Snmp,
    Radius,
    Syslog,
    Socks,
    Openvpn,
    Wireguard,
    Ipsec,
    Bittorrent,
    Stratum,
    Stun,
    Monero,
    Telnet,
    Rlogin,
    Rsh,
    Http2,
    Websocket,
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
            Self::FtpData => b"ftp-data",
            Self::Pop3 => b"pop3",
            Self::Imap => b"imap",
            Self::Irc => b"irc",
            Self::Dhcp => b"dhcp",
            Self::Ntp => b"ntp",
            Self::Quic => b"quic",
            Self::Dtls => b"dtls",
            Self::Vxlan => b"vxlan",
            Self::Geneve => b"geneve",
            Self::Gtp => b"gtpv1",
            Self::Ayiya => b"ayiya",
            Self::Teredo => b"teredo",
            Self::Sip => b"sip",
            Self::Xmpp => b"xmpp",
            Self::Mysql => b"mysql",
            Self::Postgresql => b"postgresql",
            Self::Redis => b"redis",
            Self::Smb => b"smb",
            Self::DceRpc => b"dce_rpc",
            Self::LdapTcp => b"ldap_tcp",
            Self::LdapUdp => b"ldap_udp",
            Self::Kerberos => b"krb",
            Self::KerberosTcp => b"krb_tcp",
            Self::Rdp => b"rdp",
            Self::Rfb => b"rfb",
            Self::Modbus => b"modbus",
            Self::Mqtt => b"mqtt",
            Self::Snmp => b"snmp",
            Self::Radius => b"radius",
            Self::Syslog => b"syslog",
            Self::Socks => b"socks",
            Self::Openvpn => b"openvpn",
            Self::Wireguard => b"wireguard",
            Self::Ipsec => b"ipsec",
            Self::Bittorrent => b"bittorrent",
            Self::Stratum => b"stratum",
            Self::Stun => b"stun",
            Self::Monero => b"monero",
            Self::Telnet => b"telnet",
            Self::Rlogin => b"rlogin",
            Self::Rsh => b"rsh",
            Self::Http2 => b"http2",
            Self::Websocket => b"websocket",
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

/// Whether a TCP payload begins a TLS connection.
pub(crate) const fn is_client_hello(payload: &[u8]) -> bool {
    matches!(payload, [0x16, 3, 0..=4, _, _, 1, 0, ..])
}

/// Whether a TCP payload answers a client hello.
pub(crate) const fn is_server_hello(payload: &[u8]) -> bool {
    matches!(payload, [0x16, 3, 0..=4, _, _, 2, 0, ..])
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

    /// Whether one of `services` was found.
    pub(crate) fn is_one_of(&self, services: &[Service]) -> bool {
        self.confirmed.iter().flatten().any(|service| services.contains(service))
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
        *hints = hints.and(hints::of_segment(payload));
        let [orig, resp] = self.hints;
        if self.is_any() { None } else { hints::decide(orig, resp) }
    }

    /// Looks at a datagram that `dir` sent; the service that is now certain.
    pub(crate) fn look_at_datagram(
        &mut self,
        dir: Dir,
        payload: &[u8],
        src_port: u16,
        dst_port: u16,
    ) -> Option<Service> {
        if let Some(service) = datagram::of_datagram(payload, src_port, dst_port) {
            return Some(service);
        }
        let hints = &mut self.hints[dir as usize];
        *hints = hints.and(datagram::opening(payload));
        let [orig, resp] = self.hints;
        hints::decide(orig, resp)
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
