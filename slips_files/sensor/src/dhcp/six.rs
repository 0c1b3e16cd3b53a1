//! DHCP for IPv6 (RFC 8415): the same record, from other messages.

use std::net::{IpAddr, Ipv6Addr};

use slips_core::event::Dhcp;
use slips_core::flow::MacAddr;
use slips_core::time::Span;

use super::Way;
use crate::wire::{be16, be32, be128, byte, mac};

/// Options that are read of one message, and relays that it may have passed.
const MAX_OPTIONS: usize = 64;
const MAX_RELAYS: usize = 4;

const NAMES: [&str; 14] = [
    "",
    "SOLICIT",
    "ADVERTISE",
    "REQUEST",
    "CONFIRM",
    "RENEW",
    "REBIND",
    "REPLY",
    "RELEASE",
    "DECLINE",
    "RECONFIGURE",
    "INFORMATION_REQUEST",
    "RELAY_FORW",
    "RELAY_REPL",
];

const CLIENT_ID: u16 = 1;
const ADDRESSES: u16 = 3;
const ADDRESS: u16 = 5;
const RELAYED: u16 = 9;
const CLIENT_NAME: u16 = 39;

/// One message.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Message<'a> {
    kind: u8,
    id: u32,
    mac: Option<MacAddr>,
    address: Option<(Ipv6Addr, u32)>,
    name: &'a [u8],
}

/// Codes and bodies of options.
fn options(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (code, length) = (be16(rest, 0)?, usize::from(be16(rest, 2)?));
        let body = rest.get(4..)?.get(..length)?;
        rest = rest.get(4 + length..)?;
        Some((code, body))
    })
    .take(MAX_OPTIONS)
}

/// The hardware address in an identifier that was made of one: with the time (1) or alone (3), of Ethernet.
fn hardware(identifier: &[u8]) -> Option<MacAddr> {
    match (be16(identifier, 0)?, be16(identifier, 2)?) {
        (1, 1) => mac(identifier, 8),
        (3, 1) => mac(identifier, 4),
        _ => None,
    }
}

impl<'a> Message<'a> {
    /// Reads a message; `None` when it is not one of DHCPv6.
    pub(crate) fn parse(mut bytes: &'a [u8]) -> Option<Self> {
        for _ in 0..MAX_RELAYS {
            match byte(bytes, 0)? {
                12 | 13 => bytes = options(bytes.get(34..)?).find(|(code, _)| *code == RELAYED)?.1,
                kind @ 1..=11 => return Self::of(kind, bytes),
                _ => return None,
            }
        }
        None
    }

    fn of(kind: u8, bytes: &'a [u8]) -> Option<Self> {
        let mut message = Self { kind, id: be32(bytes, 0)? & 0x00ff_ffff, ..Self::default() };
        let mut is_known = false;
        for (code, body) in options(bytes.get(4..)?) {
            is_known = true;
            match code {
                CLIENT_ID => message.mac = hardware(body),
                ADDRESSES => {
                    let inner = options(body.get(12..).unwrap_or(&[])).find(|(code, _)| *code == ADDRESS);
                    let inner = inner.and_then(|(_, body)| Some((be128(body, 0)?, be32(body, 20)?)));
                    message.address =
                        inner.map(|(bits, valid)| (Ipv6Addr::from_bits(bits), valid)).or(message.address);
                }
                CLIENT_NAME => message.name = body.get(1..).unwrap_or(&[]),
                _ => {}
            }
        }
        is_known.then_some(message)
    }

    /// What tells transactions apart, also from those of IPv4.
    pub(super) fn id(&self) -> u64 {
        1 << 32 | u64::from(self.id)
    }

    /// Whether a server says it.
    const fn is_reply(&self) -> bool {
        matches!(self.kind, 2 | 7 | 10)
    }

    /// Notes what the message says.
    pub(super) fn add_to(&self, dhcp: &mut Dhcp, way: &Way) {
        if let Some(name) = NAMES.get(usize::from(self.kind)) {
            dhcp.msg_types.push((*name).to_owned());
        }
        dhcp.mac = self.mac.or(dhcp.mac);
        if !self.is_reply() {
            dhcp.client = dhcp.client.or(Some(way.src));
            dhcp.requested_addr = self.address.map(|(addr, _)| IpAddr::V6(addr)).or(dhcp.requested_addr);
            if !self.name.is_empty() {
                dhcp.host_name = host_name(self.name);
            }
            return;
        }
        dhcp.client = dhcp.client.or(Some(way.dst));
        super::note_server(dhcp, way.src);
        if let Some((addr, valid)) = self.address {
            dhcp.assigned_addr = Some(IpAddr::V6(addr));
            dhcp.lease_time = Some(Span::from_secs(i64::from(valid)));
        }
    }
}

/// A name in the form of DNS, whose labels have their lengths before them.
fn host_name(mut bytes: &[u8]) -> String {
    let mut name = String::new();
    while let [length @ 1..=63, rest @ ..] = bytes {
        let length = usize::from(*length).min(rest.len());
        let (label, behind) = rest.split_at(length);
        if !name.is_empty() {
            name.push('.');
        }
        name.push_str(&String::from_utf8_lossy(label));
        bytes = behind;
        if name.len() > 255 {
            break;
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn option(code: u8, body: &[u8]) -> Vec<u8> {
        [&[0, code, 0, body.len() as u8][..], body].concat()
    }

    #[test]
    fn a_request_is_read_directly_and_through_a_relay() {
        let address = [&[0x20, 1, 0x0d, 0xb8][..], &[0; 11], &[5], &[0, 0, 1, 0], &[0, 0, 2, 0]].concat();
        let wire = [
            vec![3, 1, 2, 3],
            option(1, &[0, 1, 0, 1, 9, 9, 9, 9, 2, 0, 0, 0, 0, 7]),
            option(3, &[vec![0; 12], option(5, &address)].concat()),
            option(39, b"\x01\x02pc\x03lan\0"),
        ]
        .concat();
        let relayed = [vec![12; 34], option(18, b"eth0"), option(9, &wire)].concat();
        for bytes in [&wire, &relayed] {
            let message = Message::parse(bytes).expect("message");
            let addr: Ipv6Addr = "2001:db8::5".parse().expect("address");
            assert_eq!((message.kind, message.id, message.address), (3, 0x01_02_03, Some((addr, 512))));
            assert_eq!(message.mac, Some(MacAddr([2, 0, 0, 0, 0, 7])));
            assert_eq!(host_name(message.name), "pc.lan");
            for at in 0..bytes.len() {
                Message::parse(&bytes[..at]);
                let mut wrong = bytes.clone();
                wrong[at] ^= 0xff;
                if let Some(message) = Message::parse(&wrong) {
                    host_name(message.name);
                }
            }
        }
        assert_eq!(Message::parse(&[200, 0, 0, 0]), None);
    }
}
