//! The gateways of all route tables, by rtnetlink: procfs shows the main table only, and of several ways the first.
//!
//! A router of the internet's core has a million routes, which change while they are read. So a reading is bounded: of the first routes all
//! gateways are taken, and where there are more, those of the default routes in particular.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nix::sys::socket::SockProtocol;

use super::Socket;
use super::wire::{self, Message};
use crate::Error;

/// The gateways of this network namespace: [`MOST_GATEWAYS`] at most, those of default routes before others.
pub(crate) fn gateways() -> Result<BTreeSet<IpAddr>, Error> {
    let (mut found, mut others) = (BTreeSet::new(), BTreeSet::new());
    for family in [AF_INET, AF_INET6] {
        let all = read(&question(family, ANY_TABLE), MOST_ROUTES)?;
        found.extend(all.defaults);
        others.extend(all.others);
        if all.cut {
            found.append(&mut of_defaults(family)?);
        }
    }
    for gateway in others {
        if found.len() >= MOST_GATEWAYS {
            break;
        }
        found.insert(gateway);
    }
    Ok(found.into_iter().take(MOST_GATEWAYS).collect())
}

/// The gateways of default routes, where there are too many routes to read all of them.
fn of_defaults(family: u8) -> Result<BTreeSet<IpAddr>, Error> {
    let mut found = BTreeSet::new();
    // Of IPv4 the kernel tells the default routes of a table first, of IPv6 last.
    if family == AF_INET {
        for table in tables(family)? {
            found.append(&mut read(&question(family, table), FIRST_ROUTES)?.defaults);
        }
    }
    // The route to an address that is in no list of networks: RFC 5737 and RFC 3849 keep them for documents.
    let to: &[u8] = if family == AF_INET { &[192, 0, 2, 77] } else { &DOCUMENTATION6 };
    let bits = if family == AF_INET { 32 } else { 128 };
    let mut lookup = Message::with_header(GET_ROUTE, 0, &[family, bits, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    lookup.bytes(DESTINATION, to);
    let mut socket = Socket::open(SockProtocol::NetlinkRoute)?;
    // Without such a route it is refused, and there is nobody to find.
    socket.ask(std::slice::from_ref(&lookup), |_, route| {
        found.extend(gateways_of(route.get(ROUTE_REST..).unwrap_or_default()));
    })?;
    Ok(found)
}

/// The tables that packets are looked up in.
fn tables(family: u8) -> Result<BTreeSet<u32>, Error> {
    let rules = Message::with_header(GET_RULE, wire::DUMP, &[family, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let mut socket = Socket::open(SockProtocol::NetlinkRoute)?;
    let of = |rule: &[u8]| {
        let attribute = wire::attribute(rule.get(ROUTE_REST..)?, RULE_TABLE)?;
        Some(u32::from_ne_bytes(attribute.try_into().ok()?))
    };
    let found = socket.dump("read the rules of routing", &rules, |all: &mut BTreeSet<u32>, rule| {
        all.extend(of(rule).filter(|table| *table != LOCAL_TABLE && all.len() < MOST_TABLES));
    })?;
    Ok(found)
}

/// What was read of routes.
#[derive(Debug, Default)]
struct Routes {
    defaults: BTreeSet<IpAddr>,
    others: BTreeSet<IpAddr>,
    read: usize,
    /// There are more.
    cut: bool,
}

/// Reads so many routes at most. While they change, what was seen is as good as any.
fn read(question: &Message, at_most: usize) -> Result<Routes, Error> {
    // Another one each time: what is not read goes with its socket.
    let mut socket = Socket::open(SockProtocol::NetlinkRoute)?;
    socket.check_strictly();
    let mut routes = Routes::default();
    socket.dump_some("read the routes", question, |route| {
        routes.read += 1;
        let attributes = route.get(ROUTE_REST..).unwrap_or_default();
        // A default route names no destination.
        let is_default = wire::attribute(attributes, DESTINATION).is_none();
        let into = if is_default { &mut routes.defaults } else { &mut routes.others };
        if into.len() < MOST_GATEWAYS {
            into.append(&mut gateways_of(attributes));
        }
        routes.cut = routes.read >= at_most;
        !routes.cut
    })?;
    Ok(routes)
}

/// The question for the routes of a family, of one table where the kernel can tell them apart (Linux 4.20).
fn question(family: u8, table: u32) -> Message {
    let mut question = Message::route_dump(family);
    if table != ANY_TABLE {
        question.bytes(ROUTE_TABLE, &table.to_ne_bytes());
    }
    question
}

fn gateways_of(attributes: &[u8]) -> BTreeSet<IpAddr> {
    let mut all = BTreeSet::new();
    for (kind, payload) in wire::attributes(attributes) {
        match kind {
            GATEWAY => all.extend(addr(payload)),
            // The family stands before the address: a route of IPv4 through a gateway of IPv6.
            VIA => all.extend(payload.get(2..).and_then(addr)),
            MULTIPATH => ways(&mut all, payload),
            _ => {}
        }
    }
    all
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

/// So many routes of a family are read, some 30 ms; an ordinary router has a dozen, one of the internet's core a million.
const MOST_ROUTES: usize = 16_384;
/// So many of a table where only its default routes are wanted, which come first.
const FIRST_ROUTES: usize = 64;
const MOST_TABLES: usize = 64;
/// So many gateways are protected: more than neighbours of a router at an exchange.
const MOST_GATEWAYS: usize = 1024;
/// After what is common to all messages a route and a rule have eight bytes more before their attributes.
const ROUTE_REST: usize = 8;
const DOCUMENTATION6: [u8; 16] = [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x4d];

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
// linux/rtnetlink.h: RTM_GETROUTE, RTM_GETRULE; RT_TABLE_UNSPEC, RT_TABLE_LOCAL; RTA_DST, RTA_GATEWAY, RTA_MULTIPATH, RTA_TABLE and
// RTA_VIA; linux/fib_rules.h: FRA_TABLE.
const GET_ROUTE: u16 = 26;
const GET_RULE: u16 = 34;
const ANY_TABLE: u32 = 0;
const LOCAL_TABLE: u32 = 255;
const DESTINATION: u16 = 1;
const GATEWAY: u16 = 5;
const MULTIPATH: u16 = 9;
const ROUTE_TABLE: u16 = 15;
const VIA: u16 = 18;
const RULE_TABLE: u16 = 15;

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
        assert_eq!(gateways_of(attributes), [1, 2].map(|last| IpAddr::from([192, 0, 2, last])).into());
        for at in 0..attributes.len() {
            gateways_of(&attributes[..at]);
            for value in 0..=255 {
                let mut changed = attributes.to_vec();
                changed[at] = value;
                gateways_of(&changed);
            }
        }
    }
}
