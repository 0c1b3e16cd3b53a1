//! DHCP for IPv4: the messages of a transaction, told together when no more of them come.

pub(crate) mod six;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};

use slips_core::event::Dhcp;
use slips_core::flow::{MacAddr, Uid};
use slips_core::time::{PacketTime, Span};

use crate::wire::{be16, be32, byte, mac};

/// Messages and flows of one transaction; beyond that it is told and begins anew.
const MAX_MESSAGES: usize = 50;
const MAX_FLOWS: usize = 10;
/// Options that are read of one message.
const MAX_OPTIONS: usize = 128;

const NAMES: [&str; 9] = ["", "DISCOVER", "OFFER", "REQUEST", "DECLINE", "ACK", "NAK", "RELEASE", "INFORM"];

/// One message.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Message<'a> {
    is_request: bool,
    id: u32,
    kind: u8,
    /// Address that the server gives.
    given: Option<Ipv4Addr>,
    requested: Option<Ipv4Addr>,
    server: Option<Ipv4Addr>,
    lease: Option<u32>,
    hardware: Option<MacAddr>,
    client_id: Option<MacAddr>,
    host_name: &'a [u8],
    domain: &'a [u8],
    fqdn: &'a [u8],
    text: &'a [u8],
    relay: Option<Ipv4Addr>,
}

fn address(bytes: &[u8], at: usize) -> Option<Ipv4Addr> {
    be32(bytes, at).filter(|bits| *bits != 0).map(Ipv4Addr::from_bits)
}

impl<'a> Message<'a> {
    /// Reads a message; `None` when it is not one of DHCP.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        if be32(bytes, 236)? != 0x6382_5363 || !matches!(byte(bytes, 0), Some(1 | 2)) {
            return None;
        }
        let is_ethernet = be16(bytes, 1) == Some(0x0106);
        let mut message = Self {
            is_request: byte(bytes, 0) == Some(1),
            id: be32(bytes, 4)?,
            given: address(bytes, 16),
            relay: address(bytes, 24),
            hardware: mac(bytes, 28).filter(|_| is_ethernet),
            ..Self::default()
        };
        let mut rest = bytes.get(240..)?;
        for _ in 0..MAX_OPTIONS {
            let [code, behind @ ..] = rest else { break };
            if *code == 0 {
                rest = behind;
                continue;
            }
            let [length, behind @ ..] = behind else { break };
            let Some((value, behind)) = behind.split_at_checked(usize::from(*length)) else { break };
            if *code == 255 {
                break;
            }
            message.option(*code, value);
            rest = behind;
        }
        usize::from(message.kind).checked_sub(1).filter(|kind| *kind < NAMES.len() - 1)?;
        Some(message)
    }

    fn option(&mut self, code: u8, value: &'a [u8]) {
        match code {
            12 => self.host_name = until_zero(value),
            15 => self.domain = until_zero(value),
            50 => self.requested = address(value, 0),
            51 => self.lease = be32(value, 0),
            53 => self.kind = byte(value, 0).unwrap_or(0),
            54 => self.server = address(value, 0),
            56 => self.text = until_zero(value),
            61 if byte(value, 0) == Some(1) && value.len() == 7 => self.client_id = mac(value, 1),
            // flags and two codes come before the name; names in DNS's own form are left out
            81 if byte(value, 0).is_some_and(|flags| flags & 4 == 0) => {
                self.fqdn = until_zero(value.get(3..).unwrap_or(&[]));
            }
            _ => {}
        }
    }
}

fn until_zero(value: &[u8]) -> &[u8] {
    value.split(|byte| *byte == 0).next().unwrap_or(value)
}

/// From where to where a message went, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    pub(crate) at: PacketTime,
    pub(crate) uid: Uid,
    pub(crate) src: IpAddr,
    pub(crate) dst: IpAddr,
    pub(crate) interface: u16,
}

#[derive(Debug)]
struct Transaction {
    id: u64,
    last: PacketTime,
    dhcp: Dhcp,
}

/// Transactions that may still go on, oldest first.
#[derive(Debug)]
pub(crate) struct Pending {
    open: VecDeque<Transaction>,
    max: usize,
    /// Transactions that were told early because too many waited.
    pub(crate) dropped: u64,
}

fn is_host(addr: &IpAddr) -> bool {
    !addr.is_unspecified() && *addr != IpAddr::V4(Ipv4Addr::BROADCAST)
}

impl Pending {
    pub(crate) fn new(max: u32) -> Self {
        Self { open: VecDeque::new(), max: max as usize, dropped: 0 }
    }

    /// Adds a message; tells transactions that it makes too long or too many.
    pub(crate) fn take(&mut self, message: &Message<'_>, way: &Way, tell: &mut impl FnMut(Dhcp)) {
        self.add(u64::from(message.id), way, tell, |dhcp| add(dhcp, message, way));
    }

    /// Adds a message of DHCPv6.
    pub(crate) fn take_six(&mut self, message: &six::Message<'_>, way: &Way, tell: &mut impl FnMut(Dhcp)) {
        self.add(message.id(), way, tell, |dhcp| message.add_to(dhcp, way));
    }

    fn add(&mut self, id: u64, way: &Way, tell: &mut impl FnMut(Dhcp), note: impl FnOnce(&mut Dhcp)) {
        let place = self.open.iter().position(|open| open.id == id);
        let mut open = match place.and_then(|place| self.open.remove(place)) {
            Some(open) => open,
            None => Transaction { id, last: way.at, dhcp: begin(way) },
        };
        open.last = open.last.max(way.at);
        if !open.dhcp.uids.contains(&way.uid) {
            open.dhcp.uids.push(way.uid);
        }
        open.dhcp.duration = open.last.since(open.dhcp.at);
        note(&mut open.dhcp);
        if open.dhcp.msg_types.len() >= MAX_MESSAGES || open.dhcp.uids.len() >= MAX_FLOWS {
            tell(open.dhcp);
            return;
        }
        self.open.push_back(open);
        if self.open.len() > self.max
            && let Some(oldest) = self.open.pop_front()
        {
            self.dropped += 1;
            tell(oldest.dhcp);
        }
    }

    /// Tells the transactions whose last message was before `before`.
    pub(crate) fn tell_older(&mut self, before: PacketTime, tell: &mut impl FnMut(Dhcp)) {
        while self.open.front().is_some_and(|open| open.last < before) {
            if let Some(open) = self.open.pop_front() {
                tell(open.dhcp);
            }
        }
    }
}

/// Servers of one transaction besides the last one.
const MAX_OTHER_SERVERS: usize = 4;

/// The server that speaks last is the one of the record; whoever offered before is kept besides.
fn note_server(dhcp: &mut Dhcp, server: IpAddr) {
    dhcp.other_servers.retain(|other| *other != server);
    let before = dhcp.server.replace(server).filter(|before| *before != server);
    if dhcp.other_servers.len() < MAX_OTHER_SERVERS {
        dhcp.other_servers.extend(before);
    }
}

fn begin(way: &Way) -> Dhcp {
    Dhcp { at: way.at, interface: way.interface, ..Dhcp::default() }
}

fn add(dhcp: &mut Dhcp, message: &Message<'_>, way: &Way) {
    dhcp.relay = message.relay.map(IpAddr::V4).or(dhcp.relay);
    let keep = |to: &mut String, text: &[u8]| {
        if !text.is_empty() {
            *to = String::from_utf8_lossy(text).into_owned();
        }
    };
    if let Some(name) = NAMES.get(usize::from(message.kind)) {
        dhcp.msg_types.push((*name).to_owned());
    }
    let client = if message.is_request { way.src } else { way.dst };
    dhcp.client = dhcp.client.or(Some(client).filter(is_host));
    if message.is_request {
        dhcp.mac = message.client_id.or(message.hardware).or(dhcp.mac);
        dhcp.requested_addr = message.requested.map(IpAddr::V4).or(dhcp.requested_addr);
        keep(&mut dhcp.host_name, message.host_name);
        keep(&mut dhcp.client_fqdn, message.fqdn);
        keep(&mut dhcp.client_message, message.text);
        // An offer to the client alone may pass elsewhere; whom the client chose of all it heard is told to everybody.
        if let Some(chosen) = message.server.map(IpAddr::V4).filter(|chosen| dhcp.server != Some(*chosen))
            && !dhcp.other_servers.contains(&chosen)
            && dhcp.other_servers.len() < MAX_OTHER_SERVERS
        {
            dhcp.other_servers.push(chosen);
        }
        return;
    }
    keep(&mut dhcp.domain, message.domain);
    keep(&mut dhcp.server_message, message.text);
    dhcp.mac = dhcp.mac.or(message.hardware);
    if let Some(given) = message.given {
        dhcp.assigned_addr = Some(IpAddr::V4(given));
        note_server(dhcp, message.server.map_or(way.src, IpAddr::V4));
        dhcp.lease_time =
            message.lease.map(|seconds| Span::from_secs(i64::from(seconds))).or(dhcp.lease_time);
    }
}
