//! IPv6 neighbour discovery (RFC 4861): who is where, and who says that he is a router.

use std::net::Ipv6Addr;

use slips_core::flow::MacAddr;
use slips_core::neighbour::{Discovery, Neighbour, Prefix, RouterAdvertisement};
use slips_core::time::{PacketTime, Span};

use crate::emit;
use crate::ip::Packet;
use crate::wire::{be16, be32, be128, byte, mac};

/// Options of one message, and networks and name servers of one advertisement, that are read.
const MAX_OPTIONS: usize = 32;
const MAX_LISTED: usize = 16;

/// The hop limit of what was sent on this link: no router passes it on.
const ON_LINK: u8 = 255;

const SOURCE_LINK: u8 = 1;
const TARGET_LINK: u8 = 2;
const PREFIX: u8 = 3;
const MTU: u8 = 5;
const NAME_SERVERS: u8 = 25;

/// Whether a message is one of neighbour discovery and from this link.
pub(crate) fn is_discovery(packet: &Packet<'_>) -> bool {
    packet.v6
        && packet.proto == 58
        && packet.hop_limit == ON_LINK
        && matches!(packet.payload, [133..=137, 0, ..])
}

/// Reads a message; `None` when it is none, is cut short, or came over a router.
pub(crate) fn decode(
    packet: &Packet<'_>,
    frame_src: Option<MacAddr>,
    at: PacketTime,
    interface: u16,
) -> Option<Neighbour> {
    if !is_discovery(packet) {
        return None;
    }
    let bytes = packet.payload;
    let address = |at| be128(bytes, at).map(Ipv6Addr::from_bits);
    let link = |kind, from: usize| {
        options(bytes.get(from..)).find(|(found, _)| *found == kind).and_then(|(_, body)| mac(body, 0))
    };
    let message = match byte(bytes, 0)? {
        133 => Discovery::RouterSolicitation { link: link(SOURCE_LINK, 8) },
        134 => Discovery::RouterAdvertisement(Box::new(router(bytes)?)),
        135 => Discovery::Solicitation { target: address(8)?, link: link(SOURCE_LINK, 24) },
        136 => {
            let flags = byte(bytes, 4)?;
            Discovery::Advertisement {
                target: address(8)?,
                link: link(TARGET_LINK, 24),
                is_router: flags & 0x80 != 0,
                is_solicited: flags & 0x40 != 0,
                overrides: flags & 0x20 != 0,
            }
        }
        _ => Discovery::Redirect {
            target: address(8)?,
            destination: address(24)?,
            link: link(TARGET_LINK, 40),
        },
    };
    let (src, dst) = (emit::address(packet.src), emit::address(packet.dst));
    Some(Neighbour { at, src, dst, frame_src, message, interface })
}

/// Types and bodies of options, up to one that makes no sense.
fn options(bytes: Option<&[u8]>) -> impl Iterator<Item = (u8, &[u8])> {
    let mut rest = bytes.unwrap_or(&[]);
    std::iter::from_fn(move || {
        let (kind, length) = (byte(rest, 0)?, usize::from(byte(rest, 1)?) * 8);
        let body = rest.get(2..length)?;
        rest = rest.get(length..)?;
        Some((kind, body))
    })
    .take(MAX_OPTIONS)
}

fn seconds(count: u32) -> Span {
    Span::from_secs(i64::from(count))
}

fn router(bytes: &[u8]) -> Option<RouterAdvertisement> {
    let flags = byte(bytes, 5)?;
    let mut router = RouterAdvertisement {
        lifetime: seconds(u32::from(be16(bytes, 6)?)),
        is_managed: flags & 0x80 != 0,
        has_other: flags & 0x40 != 0,
        preference: match flags & 0x18 {
            0x08 => 1,
            0x18 => -1,
            _ => 0,
        },
        ..RouterAdvertisement::default()
    };
    for (kind, body) in options(bytes.get(16..)) {
        match kind {
            SOURCE_LINK => router.link = mac(body, 0),
            MTU => router.mtu = be32(body, 2),
            PREFIX if router.prefixes.len() < MAX_LISTED => router.prefixes.extend(prefix(body)),
            NAME_SERVERS => {
                let servers = (6..).step_by(16).map_while(|at| be128(body, at)).map(Ipv6Addr::from_bits);
                let room = MAX_LISTED.saturating_sub(router.dns.len());
                router.dns.extend(servers.take(room));
            }
            _ => {}
        }
    }
    Some(router)
}

fn prefix(body: &[u8]) -> Option<Prefix> {
    Some(Prefix {
        len: byte(body, 0).filter(|bits| *bits <= 128)?,
        is_autonomous: byte(body, 1)? & 0x40 != 0,
        valid: seconds(be32(body, 2)?),
        net: Ipv6Addr::from_bits(be128(body, 14)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 7];

    fn packet(payload: &[u8], hop_limit: u8) -> Packet<'_> {
        let length = payload.len() as u32;
        Packet {
            src: 0xfe80 << 112 | 1,
            dst: 0xff02 << 112 | 1,
            v6: true,
            proto: 58,
            hop_limit,
            length: length + 40,
            payload_length: length,
            payload,
            fragment: None,
        }
    }

    fn read(payload: &[u8]) -> Option<Discovery> {
        for end in 0..payload.len() {
            decode(&packet(&payload[..end], 255), None, PacketTime(0), 0);
            let mut wrong = payload.to_vec();
            wrong[end] ^= 0xff;
            decode(&packet(&wrong, 255), None, PacketTime(0), 0);
        }
        assert_eq!(decode(&packet(payload, 254), None, PacketTime(0), 0), None);
        decode(&packet(payload, 255), None, PacketTime(0), 0).map(|neighbour| neighbour.message)
    }

    fn link(kind: u8) -> Vec<u8> {
        [&[kind, 1][..], &MAC].concat()
    }

    #[test]
    fn neighbours_and_redirects_are_read() {
        let target = [[0x20, 0x01, 0x0d, 0xb8].as_slice(), &[0; 11], &[9]].concat();
        let address: Ipv6Addr = "2001:db8::9".parse().expect("address");
        let ask = [&[135, 0, 0, 0, 0, 0, 0, 0][..], &target, &link(1)].concat();
        assert_eq!(read(&ask), Some(Discovery::Solicitation { target: address, link: Some(MacAddr(MAC)) }));
        let tell = [&[136, 0, 0, 0, 0xa0, 0, 0, 0][..], &target, &link(2)].concat();
        assert_eq!(
            read(&tell),
            Some(Discovery::Advertisement {
                target: address,
                link: Some(MacAddr(MAC)),
                is_router: true,
                is_solicited: false,
                overrides: true,
            })
        );
        let redirect = [&[137, 0, 0, 0, 0, 0, 0, 0][..], &target, &target].concat();
        let expected = Discovery::Redirect { target: address, destination: address, link: None };
        assert_eq!(read(&redirect), Some(expected));
        assert_eq!(read(&[133, 0, 0, 0, 0, 0, 0, 0]), Some(Discovery::RouterSolicitation { link: None }));
        assert_eq!(read(&[135, 0, 0, 0, 0, 0, 0, 0]), None);
    }

    #[test]
    fn routers_tell_their_networks_and_name_servers() {
        let net = [[0x20, 0x01, 0x0d, 0xb8].as_slice(), &[0; 12]].concat();
        let prefix = [&[3, 4, 64, 0xc0, 0, 0, 14, 16, 0, 0, 7, 8, 0, 0, 0, 0][..], &net].concat();
        let servers = [&[25, 5, 0, 0, 0, 0, 0, 60][..], &net, &net].concat();
        let say = [
            &[134, 0, 0, 0, 64, 0x88, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0][..],
            &link(1),
            &[5, 1, 0, 0, 0, 0, 5, 220],
            &prefix,
            &servers,
            &[25, 0],
        ]
        .concat();
        let Some(Discovery::RouterAdvertisement(router)) = read(&say) else { panic!("no router") };
        let net: Ipv6Addr = "2001:db8::".parse().expect("address");
        let prefix = Prefix { net, len: 64, valid: Span::from_secs(3600), is_autonomous: true };
        let expected = RouterAdvertisement {
            lifetime: Span::from_secs(1800),
            link: Some(MacAddr(MAC)),
            prefixes: vec![prefix],
            dns: vec![net, net],
            is_managed: true,
            has_other: false,
            preference: 1,
            mtu: Some(1500),
        };
        assert_eq!(*router, expected);
        let many = [&say[..16], &[[25, 3].as_slice(), &[0; 22]].concat().repeat(50)].concat();
        let Some(Discovery::RouterAdvertisement(router)) = read(&many) else { panic!("no router") };
        assert_eq!(router.dns.len(), MAX_LISTED);
    }
}
