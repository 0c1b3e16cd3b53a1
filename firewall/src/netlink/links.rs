//! Bridges of this host that have hosts on two sides.

use std::collections::{BTreeMap, BTreeSet};

use nix::sys::socket::SockProtocol;

use super::Socket;
use super::wire::{self, Message};
use crate::Error;

/// Whether hosts talk with each other through a bridge of this host: one with two ports or more, in the network namespace of the calling
/// thread.
pub(crate) fn bridged() -> Result<bool, Error> {
    let question = Message::with_header(GET_LINK, wire::DUMP, &[0; 16]);
    let mut socket = Socket::open(SockProtocol::NetlinkRoute)?;
    let links = socket.dump("read the interfaces", &question, |all: &mut Links, link| all.note(link))?;
    Ok(links.bridges.iter().any(|bridge| links.ports.get(bridge).is_some_and(|ports| *ports >= 2)))
}

#[derive(Debug, Default)]
struct Links {
    bridges: BTreeSet<u32>,
    ports: BTreeMap<u32, usize>,
}

impl Links {
    /// Notes a link, of whose message the first four bytes are cut off: the index is next, and twelve bytes on the attributes.
    fn note(&mut self, link: &[u8]) {
        let number = |bytes: &[u8]| Some(u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?));
        let attributes = link.get(12..).unwrap_or_default();
        let kind = wire::attribute(attributes, LINK_INFO).and_then(|info| wire::attribute(info, INFO_KIND));
        if kind.map(|kind| kind.strip_suffix(&[0]).unwrap_or(kind)) == Some(b"bridge") {
            self.bridges.extend(number(link));
        }
        if let Some(master) = wire::attribute(attributes, MASTER).and_then(number) {
            *self.ports.entry(master).or_default() += 1;
        }
    }
}

// linux/rtnetlink.h: RTM_GETLINK; linux/if_link.h: IFLA_MASTER, IFLA_LINKINFO, IFLA_INFO_KIND.
const GET_LINK: u16 = 18;
const MASTER: u16 = 10;
const LINK_INFO: u16 = 18;
const INFO_KIND: u16 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_of_a_link_are_survived() {
        let mut attributes = Message::attributes();
        attributes.bytes(MASTER, &7u32.to_ne_bytes()).nest(LINK_INFO, |m| {
            m.text(INFO_KIND, "bridge");
        });
        let link = [&7u32.to_ne_bytes()[..], &[0; 8], &attributes.finished_attributes()].concat();
        let mut links = Links::default();
        links.note(&link);
        assert!(links.bridges.contains(&7) && links.ports[&7] == 1);
        for at in 0..link.len() {
            links.note(&link[..at]);
            for value in 0..=255 {
                let mut changed = link.clone();
                changed[at] = value;
                links.note(&changed);
            }
        }
    }
}
