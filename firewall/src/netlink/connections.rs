//! Ends connections that are open: entries of the kernel's connection table, and sockets of this host. Both are only read and deleted
//! here; a kernel that tracks nothing or cannot destroy sockets has nothing to end.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nix::errno::Errno;
use nix::sys::socket::SockProtocol;
use slips_core::addr::{Net, canonical};

use super::Socket;
use super::wire::{self, ACK, DUMP, Message};
use crate::{Ended, Error, is_single};

/// The sockets to the two tables.
#[derive(Debug)]
pub(crate) struct Connections {
    tracked: Socket,
    sockets: Socket,
}

impl Connections {
    /// In the network namespace of the calling thread.
    pub(crate) fn open() -> Result<Self, Error> {
        Ok(Self {
            tracked: Socket::open(SockProtocol::NetlinkNetFilter)?,
            sockets: Socket::open(SockProtocol::NetlinkSockDiag)?,
        })
    }

    /// Ends all connections with addresses of these networks. That one has ended by itself meanwhile is no error.
    pub(crate) fn end(&mut self, nets: &[Net]) -> Result<Ended, Error> {
        let mut ended = Ended::default();
        if nets.is_empty() {
            return Ok(ended);
        }
        let sought = Sought::new(nets);
        for family in [AF_INET, AF_INET6] {
            if !nets.iter().any(|net| net.addr().is_ipv4() == (family == AF_INET)) {
                continue;
            }
            let deletions = self.tracked.dump("read the connections", &tracked(family), |all, entry| {
                note_tracked(all, &sought, family, entry);
            });
            ended.tracked += delete(&mut self.tracked, &deletions?)?;
        }
        // Sockets of IPv6 may carry addresses of IPv4.
        for (family, protocol) in [(AF_INET, TCP), (AF_INET6, TCP), (AF_INET, UDP), (AF_INET6, UDP)] {
            let question = sockets(family, protocol);
            let found = self.sockets.dump("read the sockets", &question, |all, socket| {
                note_socket(all, &sought, protocol, socket);
            });
            match found {
                Ok(deletions) => ended.sockets += delete(&mut self.sockets, &deletions)?,
                // This kernel does not know this question.
                Err(error) if matches!(error.errno(), Some(Errno::ENOENT | Errno::EINVAL)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(ended)
    }
}

/// Whom those asked that are `wanted`, with an answer, by the kernel's connection table. Of these at most [`MOST`]: strangers who call us
/// by the thousand take no place. None where the kernel tracks nothing.
pub(crate) fn answered(wanted: impl Fn(IpAddr, IpAddr) -> bool) -> Result<HashSet<IpAddr>, Error> {
    let mut all = HashSet::new();
    for family in [AF_INET, AF_INET6] {
        // A socket each: what is left of a table that is not read to its end would be in the way of the next.
        let mut tracked_by = Socket::open(SockProtocol::NetlinkNetFilter)?;
        tracked_by.dump_some("read the connections", &tracked(family), |entry| {
            all.extend(
                answered_in(entry).filter(|(asker, asked)| wanted(*asker, *asked)).map(|(_, asked)| asked),
            );
            all.len() < MOST
        })?;
    }
    Ok(all)
}

/// Who asked and whom, of an entry that was answered: TCP that was opened by both, anything else to which there was a reply.
fn answered_in(entry: &[u8]) -> Option<(IpAddr, IpAddr)> {
    let [original, reply] = [ORIGINAL, REPLY].map(|kind| wire::attribute(entry, kind));
    let (original, reply) = (original?, reply?);
    let protocol = wire::attribute(wire::attribute(original, TUPLE_PROTO)?, PROTO_NUM)?.first()?;
    let needed = if *protocol == TCP { ASSURED } else { SEEN_REPLY };
    if wire::be32(entry, STATUS)? & needed == 0 {
        return None;
    }
    // The one who really answers, whatever was translated.
    Some((ends(original).next()?, ends(reply).next()?))
}

/// Sends deletions; how many of them the kernel carried out.
fn delete(socket: &mut Socket, deletions: &[Message]) -> Result<usize, Error> {
    let verdicts = socket.ask(deletions, |_, _| {})?;
    Ok(verdicts.into_iter().filter(|errno| *errno == 0).count())
}

/// The question for all tracked connections of a family.
fn tracked(family: u8) -> Message {
    Message::with_header(CONNTRACK | CT_GET, DUMP, &[family, 0, 0, 0])
}

/// Notes the deletion of an entry that has one of these addresses on either side, before or after translation.
fn note_tracked(all: &mut Vec<Message>, sought: &Sought, family: u8, entry: &[u8]) {
    let tuples = [ORIGINAL, REPLY].map(|kind| wire::attribute(entry, kind).unwrap_or_default());
    let concerned = tuples.iter().flat_map(|tuple| ends(tuple)).any(|addr| sought.has(addr));
    let [original, _] = tuples;
    if !concerned || original.is_empty() || all.len() >= MOST {
        return;
    }
    let mut message = Message::with_header(CONNTRACK | CT_DELETE, ACK, &[family, 0, 0, 0]);
    message.nest(ORIGINAL, |m| m.raw(original));
    // The identity too: should the entry be gone and its tuple be used again, the new one stays.
    for kind in [ID, ZONE] {
        if let Some(value) = wire::attribute(entry, kind) {
            message.bytes(kind, value);
        }
    }
    all.push(message);
}

/// Both addresses of a tuple.
fn ends(tuple: &[u8]) -> impl Iterator<Item = IpAddr> {
    wire::attributes(wire::attribute(tuple, TUPLE_IP).unwrap_or_default())
        .filter_map(|(_, bytes)| addr(bytes))
}

fn addr(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?))),
        16 => Some(canonical(IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)))),
        _ => None,
    }
}

/// The networks whose connections are to end. Under an attack they are a thousand and the connections a million, so the usual ones, single
/// addresses and the /64 of IPv6, are found without walking through all.
struct Sought {
    usual: HashSet<Net>,
    other: Vec<Net>,
}

impl Sought {
    fn new(nets: &[Net]) -> Self {
        let (usual, other): (Vec<Net>, Vec<Net>) = nets.iter().partition(|net| is_single(**net));
        Self { usual: usual.into_iter().collect(), other }
    }

    fn has(&self, addr: IpAddr) -> bool {
        let subnet = Net::new(addr, 64).filter(|_| addr.is_ipv6());
        self.usual.contains(&Net::host(addr))
            || subnet.is_some_and(|net| self.usual.contains(&net))
            || self.other.iter().any(|net| net.contains(addr))
    }
}

/// The question for all sockets of a protocol that have another end.
fn sockets(family: u8, protocol: u8) -> Message {
    let mut request = vec![family, protocol, 0, 0];
    request.extend_from_slice(&CONNECTED.to_ne_bytes());
    request.extend_from_slice(&[0; SOCKET_ID]);
    Message::with_header(SOCK_DIAG_BY_FAMILY, DUMP, &request)
}

/// Notes the end of a socket whose other end is one of these addresses. Of the answer the first four bytes (family, state, timer,
/// retransmissions) are cut off.
fn note_socket(all: &mut Vec<Message>, sought: &Sought, protocol: u8, socket: &[u8]) {
    let Some(id) = socket.get(..SOCKET_ID) else { return };
    // Two ports, then the addresses, each in sixteen bytes of which IPv4 uses four.
    let (Some(source), Some(remote)) = (id.get(4..20), id.get(20..36)) else { return };
    let wide = |bytes: &[u8]| bytes.iter().skip(4).any(|byte| *byte != 0);
    let family = if wide(source) || wide(remote) { AF_INET6 } else { AF_INET };
    let remote = if family == AF_INET { remote.get(..4).and_then(addr) } else { addr(remote) };
    if !remote.is_some_and(|remote| sought.has(remote)) || all.len() >= MOST {
        return;
    }
    let mut request = vec![family, protocol, 0, 0];
    request.extend_from_slice(&CONNECTED.to_ne_bytes());
    request.extend_from_slice(id);
    all.push(Message::with_header(SOCK_DESTROY, ACK, &request));
}

/// So many are ended in one go.
const MOST: usize = 65_536;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const TCP: u8 = 6;
const UDP: u8 = 17;
// linux/netfilter/nfnetlink.h and nfnetlink_conntrack.h: NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_GET and _DELETE, CTA_….
const CONNTRACK: u16 = 1 << 8;
const CT_GET: u16 = 1;
const CT_DELETE: u16 = 2;
const ORIGINAL: u16 = 1;
const REPLY: u16 = 2;
const ID: u16 = 12;
const ZONE: u16 = 18;
const STATUS: u16 = 3;
const TUPLE_IP: u16 = 1;
const TUPLE_PROTO: u16 = 2;
const PROTO_NUM: u16 = 1;
// linux/netfilter/nf_conntrack_common.h: IPS_SEEN_REPLY, IPS_ASSURED.
const SEEN_REPLY: u32 = 1 << 1;
const ASSURED: u32 = 1 << 2;
// linux/sock_diag.h: SOCK_DIAG_BY_FAMILY, SOCK_DESTROY; linux/inet_diag.h: the size of inet_diag_sockid.
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const SOCK_DESTROY: u16 = 21;
const SOCKET_ID: usize = 48;
/// States of a TCP socket with another end: all but closed, listening and TIME_WAIT. An established UDP socket is a connected one.
const CONNECTED: u32 = 0xfff & !(1 << 6 | 1 << 7 | 1 << 10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sought_is_found_and_its_neighbours_are_not() {
        let nets = ["192.0.2.7", "198.51.100.0/24", "2001:db8::/64", "2001:db8:1::7", "2001:db8:2::/48"];
        let sought = Sought::new(&nets.map(|net| net.parse().expect(net)));
        for (addr, found) in [
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("198.51.100.255", true),
            ("198.51.101.0", false),
            ("2001:db8::1:2", true),
            ("2001:db8:0:1::", false),
            ("2001:db8:1::7", true),
            ("2001:db8:1::8", false),
            ("2001:db8:2:ffff::1", true),
        ] {
            assert_eq!(sought.has(addr.parse().expect(addr)), found, "{addr}");
        }
    }

    #[test]
    fn who_was_asked_and_answered_is_known_and_who_was_not_is_not() {
        for (protocol, status, expected) in
            [(TCP, 0b0110, true), (TCP, 0b0010, false), (UDP, 0b0010, true), (UDP, 0b1000, false)]
        {
            let mut entry = Message::attributes();
            for (kind, source, target) in
                [(ORIGINAL, [192, 168, 1, 5], [192, 0, 2, 1]), (REPLY, [192, 0, 2, 1], [198, 51, 100, 1])]
            {
                entry.nest(kind, |m| {
                    m.nest(TUPLE_IP, |m| {
                        m.bytes(1, &source).bytes(2, &target);
                    });
                    m.nest(TUPLE_PROTO, |m| {
                        m.bytes(PROTO_NUM, &[protocol]);
                    });
                });
            }
            entry.bytes(STATUS, &u32::to_be_bytes(status));
            let bytes = entry.finished_attributes();
            let pair = (IpAddr::from([192, 168, 1, 5]), IpAddr::from([192, 0, 2, 1]));
            assert_eq!(answered_in(&bytes), expected.then_some(pair), "{protocol} {status}");
            assert!((0..bytes.len()).all(|at| answered_in(&bytes[..at]).is_none()));
        }
    }

    #[test]
    fn any_bytes_of_a_connection_or_socket_are_survived() {
        let nets: [Net; 2] = ["192.0.2.0/24", "2001:db8::/32"].map(|net| net.parse().expect(net));
        let (nets, others) = (Sought::new(&nets), Sought::new(&nets[1..]));
        let mut entry = Message::attributes();
        for kind in [ORIGINAL, REPLY] {
            entry.nest(kind, |m| {
                m.nest(TUPLE_IP, |m| {
                    m.bytes(1, &[198, 51, 100, 1]).bytes(2, &[192, 0, 2, 1]);
                });
            });
        }
        entry.bytes(ID, &[0, 0, 0, 7]);
        let bytes = entry.finished_attributes();
        let mut found = Vec::new();
        note_tracked(&mut found, &nets, AF_INET, &bytes);
        assert_eq!(found.len(), 1);
        note_tracked(&mut found, &others, AF_INET, &bytes);
        assert_eq!(found.len(), 1, "of another network");
        let mut socket = vec![0; SOCKET_ID];
        socket[20..24].copy_from_slice(&[192, 0, 2, 1]);
        note_socket(&mut found, &nets, TCP, &socket);
        assert_eq!(found.len(), 2);
        for bytes in [bytes, socket] {
            for at in 0..bytes.len() {
                note_tracked(&mut found, &nets, AF_INET, &bytes[..at]);
                note_socket(&mut found, &nets, TCP, &bytes[..at]);
                for value in 0..=255 {
                    let mut changed = bytes.clone();
                    changed[at] = value;
                    note_tracked(&mut found, &nets, AF_INET6, &changed);
                    note_socket(&mut found, &nets, UDP, &changed);
                }
            }
        }
    }
}
