//! The gateways of all route tables, by rtnetlink: procfs shows the main table only, and of several ways the first.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nix::sys::socket::SockProtocol;

use super::Socket;
use super::wire::{self, Message};
use crate::Error;

/// The gateways of this network namespace.
pub(crate) fn gateways() -> Result<BTreeSet<IpAddr>, Error> {
    let mut socket = Socket::open(SockProtocol::NetlinkRoute)?;
    let mut found = BTreeSet::new();
    for family in [AF_INET, AF_INET6] {
        let question = Message::route_dump(family);
        found.append(&mut socket.dump(
            "read the routes",
            &question,
            |all: &mut BTreeSet<IpAddr>, route| {
                // What is common to all messages is cut off already; a route has eight bytes more before its attributes.
                note(all, route.get(8..).unwrap_or_default());
            },
        )?);
    }
    Ok(found)
}

fn note(all: &mut BTreeSet<IpAddr>, attributes: &[u8]) {
    for (kind, payload) in wire::attributes(attributes) {
        match kind {
            GATEWAY => all.extend(addr(payload)),
            // The family stands before the address: a route of IPv4 through a gateway of IPv6.
            VIA => all.extend(payload.get(2..).and_then(addr)),
            MULTIPATH => ways(all, payload),
            _ => {}
        }
    }
}

/// Each way: its length, six bytes, and attributes like those of a route.
fn ways(all: &mut BTreeSet<IpAddr>, mut bytes: &[u8]) {
    while let [low, high, rest @ ..] = bytes {
        let length = usize::from(u16::from_ne_bytes([*low, *high]));
        let Some(way) = length.checked_sub(2).and_then(|length| rest.get(..length)) else { return };
        for (kind, payload) in wire::attributes(way.get(6..).unwrap_or_default()) {
            match kind {
                GATEWAY => all.extend(addr(payload)),
                VIA => all.extend(payload.get(2..).and_then(addr)),
                _ => {}
            }
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
}

fn addr(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = || Some(IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?)));
    let v6 = || Some(IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)));
    v4().or_else(v6).filter(|addr| !addr.is_unspecified())
}

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
// RTA_GATEWAY, RTA_MULTIPATH and RTA_VIA of linux/rtnetlink.h.
const GATEWAY: u16 = 5;
const MULTIPATH: u16 = 9;
const VIA: u16 = 18;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_of_a_route_are_survived() {
        let mut route = Message::route_dump(AF_INET);
        route.bytes(GATEWAY, &[192, 0, 2, 1]).bytes(VIA, &[0; 18]);
        let way = [16, 0, 0, 0, 1, 0, 0, 0, 8, 0, 5, 0, 192, 0, 2, 2];
        route.bytes(MULTIPATH, &[way, way].concat());
        let bytes = route.finished(1);
        let attributes = &bytes[28..];
        let mut found = BTreeSet::new();
        note(&mut found, attributes);
        assert_eq!(found, [1, 2].map(|last| IpAddr::from([192, 0, 2, last])).into());
        for at in 0..attributes.len() {
            note(&mut found, &attributes[..at]);
            for value in 0..=255 {
                let mut changed = attributes.to_vec();
                changed[at] = value;
                note(&mut found, &changed);
            }
        }
    }
}
