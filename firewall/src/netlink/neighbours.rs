//! How many hosts are near, by the kernel's tables of neighbours.

use std::collections::BTreeSet;
use std::net::IpAddr;

use nix::sys::socket::SockProtocol;
use slips_core::addr::Net;

use super::Socket;
use super::wire::{self, Message};
use crate::Error;

/// The machines on these networks that this host has talked with lately, in the network namespace of the calling thread. One that
/// has several addresses counts once.
pub(crate) fn neighbours(on: &[Net]) -> Result<usize, Error> {
    let question = Message::with_header(GET_NEIGHBOUR, wire::DUMP, &[0; 12]);
    let mut socket = Socket::open(SockProtocol::NetlinkRoute)?;
    let found = socket.dump("read the neighbours", &question, |all: &mut BTreeSet<[u8; 6]>, entry| {
        // What is common to all messages is cut off already: eight bytes more, of them the state.
        let (addr, machine) = (address(entry), machine(entry));
        let is_near = addr.is_some_and(|addr| on.iter().any(|net| net.contains(addr)));
        all.extend(machine.filter(|_| is_near && all.len() < MOST));
    })?;
    Ok(found.len())
}

/// The address of a neighbour.
fn address(entry: &[u8]) -> Option<IpAddr> {
    let bytes = wire::attribute(entry.get(8..)?, ADDRESS)?;
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

/// The hardware address of a neighbour that is there.
fn machine(entry: &[u8]) -> Option<[u8; 6]> {
    let state = u16::from_ne_bytes(entry.get(4..6)?.try_into().ok()?);
    let address = wire::attribute(entry.get(8..)?, LINK_ADDRESS)?.try_into().ok()?;
    (state & THERE != 0 && address != [0; 6]).then_some(address)
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
        attributes.bytes(1, &[192, 0, 2, 1]).bytes(LINK_ADDRESS, &[2, 0, 0, 0, 0, 1]);
        let entry = [&[3, 0, 0, 0, 2, 0, 0, 1][..], &attributes.finished_attributes()].concat();
        assert_eq!(machine(&entry), Some([2, 0, 0, 0, 0, 1]));
        assert_eq!(address(&entry), Some([192, 0, 2, 1].into()));
        for at in 0..entry.len() {
            machine(&entry[..at]);
            address(&entry[..at]);
            for value in 0..=255 {
                let mut changed = entry.clone();
                changed[at] = value;
                machine(&changed);
                address(&changed);
            }
        }
    }
}
