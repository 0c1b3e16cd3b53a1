//! Which hardware address a neighbour has, and how many hosts are near, by the kernel's tables of neighbours.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nix::sys::socket::SockProtocol;
use slips_core::addr::Net;
use slips_core::flow::MacAddr;

use super::Socket;
use super::wire::{self, Message};
use crate::Error;

/// The neighbours in the network namespace of the thread that opened it.
#[derive(Debug)]
pub(crate) struct Machines(Socket);

impl Machines {
    /// Opens a socket to the kernel's tables of neighbours.
    pub(crate) fn open() -> Result<Self, Error> {
        Ok(Self(Socket::open(SockProtocol::NetlinkRoute)?))
    }

    /// The addresses of those that are there, each with the hardware address that it was heard of last.
    pub(crate) fn all(&mut self) -> Result<BTreeSet<(IpAddr, MacAddr)>, Error> {
        let question = Message::with_header(GET_NEIGHBOUR, wire::DUMP, &[0; 12]);
        self.0.dump("read the neighbours", &question, |all: &mut BTreeSet<_>, entry| {
            all.extend(neighbour(entry).filter(|_| all.len() < MOST));
        })
    }
}

/// The machines on these networks that this host has talked with lately, in the network namespace of the calling thread. One that
/// has several addresses counts once.
pub(crate) fn neighbours(on: &[Net]) -> Result<usize, Error> {
    let question = Message::with_header(GET_NEIGHBOUR, wire::DUMP, &[0; 12]);
    let mut socket = Socket::open(SockProtocol::NetlinkRoute)?;
    let found = socket.dump("read the neighbours", &question, |all: &mut BTreeSet<MacAddr>, entry| {
        let near = neighbour(entry).filter(|(addr, _)| on.iter().any(|net| net.contains(*addr)));
        all.extend(near.map(|(_, machine)| machine).filter(|_| all.len() < MOST));
    })?;
    Ok(found.len())
}

/// A neighbour that is there. What is common to all messages is cut off already: eight bytes more, of them the state.
fn neighbour(entry: &[u8]) -> Option<(IpAddr, MacAddr)> {
    let state = u16::from_ne_bytes(entry.get(4..6)?.try_into().ok()?);
    let attributes = entry.get(8..)?;
    let mac = MacAddr(wire::attribute(attributes, LINK_ADDRESS)?.try_into().ok()?);
    let bytes = wire::attribute(attributes, ADDRESS)?;
    let v4 = <[u8; 4]>::try_from(bytes).map(|bytes| IpAddr::V4(Ipv4Addr::from(bytes)));
    let addr =
        v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(|bytes| IpAddr::V6(Ipv6Addr::from(bytes)))).ok()?;
    // Of one machine: neither nobody's nor a group's.
    (state & THERE != 0 && mac != MacAddr::ZERO && mac.0[0] & 1 == 0).then_some((addr, mac))
}

/// More than any network of hosts that talk with one router.
const MOST: usize = 65_536;
// linux/rtnetlink.h: RTM_GETNEIGH; linux/neighbour.h: NDA_DST, NDA_LLADDR, and NUD_REACHABLE, _STALE, _DELAY, _PROBE and _PERMANENT.
const GET_NEIGHBOUR: u16 = 30;
const ADDRESS: u16 = 1;
const LINK_ADDRESS: u16 = 2;
const THERE: u16 = 0x02 | 0x04 | 0x08 | 0x10 | 0x80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_of_a_neighbour_are_survived() {
        let mut attributes = Message::attributes();
        attributes.bytes(ADDRESS, &[192, 0, 2, 1]).bytes(LINK_ADDRESS, &[2, 0, 0, 0, 0, 1]);
        let entry = [&[3, 0, 0, 0, 2, 0, 0, 1][..], &attributes.finished_attributes()].concat();
        let expected = ("192.0.2.1".parse().expect("ip"), MacAddr([2, 0, 0, 0, 0, 1]));
        assert_eq!(neighbour(&entry), Some(expected));
        for at in 0..entry.len() {
            neighbour(&entry[..at]);
            for value in 0..=255 {
                let mut changed = entry.clone();
                changed[at] = value;
                neighbour(&changed);
            }
        }
    }
}
