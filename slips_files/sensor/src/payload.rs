//! What our hosts send outside in the clear: the beginning of it, for who looks for what should not leave.
//!
//! Of each flow between one of our hosts and a remote one, what ours sends is gathered: of every turn (what it says until the other
//! side speaks) the first bytes, and so many of a flow at most. There is no reassembly: what comes twice is taken once, and after a
//! hole it goes on behind it. A flow that turns out to be encrypted is left alone for good. The gathered bytes leave as an event
//! when the other side answers, when they are many, and when the flow ends.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use slips_core::addr::{self, LocalNets};
use slips_core::event::{Event, Payload};
use slips_core::hash::KeyedState;
use slips_core::time::PacketTime;

use crate::emit;
use crate::service::Service;
use crate::track::{Dir, Kind, Track};

/// How much of what our hosts send is looked at.
#[derive(Clone, Debug)]
pub struct PayloadSettings {
    /// Whose payloads.
    pub local: LocalNets,
    /// Of one turn of a TCP connection, in bytes; of a datagram a quarter.
    pub turn_bytes: u32,
    /// Of one flow, in bytes.
    pub flow_bytes: u32,
    /// Of all flows in one second of packet time, in bytes.
    pub second_bytes: u32,
    /// Most bytes that wait in flows.
    pub held_bytes: u32,
}

impl PayloadSettings {
    /// The defaults, for these networks.
    pub const fn of(local: LocalNets) -> Self {
        Self { local, turn_bytes: 4096, flow_bytes: 64 << 10, second_bytes: 1 << 20, held_bytes: 4 << 20 }
    }
}

/// A turn as long as this is told when the other side answers; shorter ones (the keys of a terminal) wait for more.
const WORTH_TELLING: usize = 16;
/// Bytes at the start of a flow that nobody recognises, of which this share must be text.
const TEXT_SHARE: usize = 4;
/// Flows whose payload is gathered at once, of all hosts and of one; further ones wait until one of them is over.
const MAX_FLOWS: usize = 1 << 14;
const MAX_OF_HOST: u32 = 1 << 12;
/// What is told costs as much of its second as so many bytes (a quarter of the second at most), however short it is: to look at it
/// costs, too.
const LEAST_COST: u32 = 256;
/// Payloads at the start of a flow that nobody recognises in which text is looked for.
const LOOKS: u8 = 4;

/// Whether a flow's payload is gathered.
#[derive(Clone, Copy, Debug)]
enum Gathering {
    /// Nobody has looked yet, or in vain so often.
    Undecided(u8),
    /// No: nobody of ours sends outside, it is encrypted, or it was enough.
    No,
    /// Yes, in this place among all that are.
    Yes(u16),
}

impl Default for Gathering {
    fn default() -> Self {
        Self::Undecided(0)
    }
}

/// What is gathered of one side of a flow.
#[derive(Debug)]
struct Gathered {
    /// Our host.
    from: u128,
    /// TCP: position of the next byte.
    next: u64,
    /// What may still be taken of this turn, and of this flow.
    turn_left: u32,
    flow_left: u32,
    bytes: Vec<u8>,
}

/// What all flows share.
#[derive(Debug)]
pub(crate) struct Payloads {
    settings: Option<PayloadSettings>,
    /// The second of packet time at hand, and what may still be taken in it.
    second: i64,
    second_left: u32,
    held: usize,
    /// Bytes that were passed over because too many came in one second, or too many waited.
    pub(crate) passed_over: u64,
    /// By the flow's place in the table.
    states: Vec<Gathering>,
    flows: Vec<Gathered>,
    free: Vec<u16>,
    /// Flows of each host of ours that are gathered; of IPv6, where a host has as many addresses as it likes, of each /64.
    of_host: HashMap<u128, u32, KeyedState>,
}

/// A payload that a flow carried.
pub(crate) struct Piece<'a> {
    pub(crate) dir: Dir,
    pub(crate) at: PacketTime,
    /// TCP: position of its first byte.
    pub(crate) from: u64,
    pub(crate) bytes: &'a [u8],
}

impl Payloads {
    pub(crate) fn new(settings: Option<PayloadSettings>) -> Self {
        Self {
            settings,
            second: i64::MIN,
            second_left: 0,
            held: 0,
            passed_over: 0,
            states: Vec::new(),
            flows: Vec::new(),
            free: Vec::new(),
            of_host: HashMap::with_hasher(KeyedState::default()),
        }
    }

    /// Hosts of which flows are counted.
    #[cfg(test)]
    pub(crate) fn hosts(&self) -> usize {
        self.of_host.len()
    }

    /// Takes what it may of a payload of the flow with this place in the table.
    pub(crate) fn take(&mut self, index: u32, track: &Track, piece: &Piece<'_>, out: &mut Vec<Event>) {
        if self.settings.is_none() || piece.bytes.is_empty() {
            return;
        }
        match self.state(index) {
            Gathering::No => return,
            _ if is_shut(track) => {
                self.leave(index);
                self.set(index, Gathering::No);
                return;
            }
            Gathering::Undecided(looks) => {
                let state = self.decide(track, piece, looks);
                self.set(index, state);
            }
            Gathering::Yes(_) => {}
        }
        let (Gathering::Yes(place), Some(settings)) = (self.state(index), &self.settings) else { return };
        let Some(gathered) = self.flows.get_mut(usize::from(place)) else { return };
        if gathered.from != sender(track, piece.dir) {
            gathered.turn_left = settings.turn_bytes;
            if gathered.bytes.len() >= WORTH_TELLING {
                self.tell(place, track, piece.at, out);
            }
            return;
        }
        let before = gathered.bytes.len();
        let fresh = match track.kind {
            Kind::Tcp => gathered.fresh(piece),
            _ => gathered.datagram(piece, settings.turn_bytes),
        };
        let wanted = fresh.len().min(gathered.turn_left as usize).min(gathered.flow_left as usize);
        let second = piece.at.0.div_euclid(1_000_000);
        if second != self.second {
            (self.second, self.second_left) = (second, settings.second_bytes);
        }
        let room = (settings.held_bytes as usize).saturating_sub(self.held);
        let floor = LEAST_COST.min(settings.second_bytes / 4);
        let floor = if gathered.bytes.is_empty() { floor } else { 0 };
        let fits = self.second_left >= floor;
        let taken = if fits { wanted.min(self.second_left as usize).min(room) } else { 0 };
        self.passed_over += (wanted - taken) as u64;
        gathered.bytes.extend_from_slice(fresh.get(..taken).unwrap_or(fresh));
        self.held += gathered.bytes.len() - before;
        gathered.turn_left -= taken as u32;
        gathered.flow_left -= taken as u32;
        self.second_left -= if taken > 0 { floor.max(taken as u32) } else { 0 };
        let is_enough = gathered.flow_left == 0;
        if is_enough || gathered.bytes.len() >= settings.turn_bytes as usize {
            self.tell(place, track, piece.at, out);
        }
        if is_enough {
            self.leave(index);
            self.set(index, Gathering::No);
        }
    }

    /// The flow is over: tells what waits. Another one will have its place.
    pub(crate) fn end(&mut self, index: u32, track: &Track, out: &mut Vec<Event>) {
        if let Gathering::Yes(place) = self.state(index)
            && !is_shut(track)
        {
            self.tell(place, track, track.last, out);
        }
        self.leave(index);
        self.set(index, Gathering::default());
    }

    fn state(&self, index: u32) -> Gathering {
        self.states.get(index as usize).copied().unwrap_or_default()
    }

    fn set(&mut self, index: u32, state: Gathering) {
        if self.settings.is_none() {
            return;
        }
        let index = index as usize;
        if index >= self.states.len() {
            self.states.resize(index + 1, Gathering::default());
        }
        if let Some(place) = self.states.get_mut(index) {
            *place = state;
        }
    }

    /// Whether one of ours sends outside.
    fn decide(&mut self, track: &Track, piece: &Piece<'_>, looks: u8) -> Gathering {
        let Some(settings) = &self.settings else { return Gathering::No };
        // A segment before any answer may be forged.
        if track.kind == Kind::Tcp && track.in_unanswered {
            return Gathering::Undecided(looks);
        }
        let ends = [emit::address(track.orig), emit::address(track.resp)];
        let from = match ends.map(|end| settings.local.contains(end)) {
            [true, false] => Dir::Orig,
            [false, true] => Dir::Resp,
            _ => return Gathering::No,
        };
        if !ends.iter().all(|end| addr::is_interesting(*end)) {
            return Gathering::No;
        }
        if from == piece.dir && !track.recognition.is_any() && !is_text(piece.bytes) {
            return if looks + 1 < LOOKS { Gathering::Undecided(looks + 1) } else { Gathering::No };
        }
        let gathered = Gathered {
            from: sender(track, from),
            next: 1,
            turn_left: settings.turn_bytes,
            flow_left: settings.flow_bytes,
            bytes: Vec::new(),
        };
        let host = host_of(gathered.from);
        let of_host = self.of_host.get(&host).copied().unwrap_or(0);
        if of_host >= MAX_OF_HOST {
            self.passed_over += piece.bytes.len() as u64;
            return Gathering::Undecided(looks);
        }
        let place = if let Some(place) = self.free.pop() {
            if let Some(old) = self.flows.get_mut(usize::from(place)) {
                *old = gathered;
            }
            place
        } else if self.flows.len() < MAX_FLOWS {
            self.flows.push(gathered);
            self.flows.len() as u16 - 1
        } else {
            self.passed_over += piece.bytes.len() as u64;
            return Gathering::Undecided(looks);
        };
        // Only now: a host that has no flow here has no entry, so that there are never more than flows.
        self.of_host.insert(host, of_host + 1);
        Gathering::Yes(place)
    }

    /// Tells what waits, if anything does.
    fn tell(&mut self, place: u16, track: &Track, at: PacketTime, out: &mut Vec<Event>) {
        let Some(gathered) = self.flows.get_mut(usize::from(place)) else { return };
        let bytes = std::mem::take(&mut gathered.bytes);
        if bytes.is_empty() {
            return;
        }
        self.held = self.held.saturating_sub(bytes.len());
        let is_orig = gathered.from == track.orig;
        let (about, service) = (emit::about(track, at), track.recognition.text());
        out.push(Event::Payload(Box::new(Payload { about, is_orig, service, bytes })));
    }

    /// Nothing more is gathered of this flow.
    fn leave(&mut self, index: u32) {
        if let Gathering::Yes(place) = self.state(index)
            && let Some(gathered) = self.flows.get_mut(usize::from(place))
        {
            self.held = self.held.saturating_sub(gathered.bytes.len());
            gathered.bytes = Vec::new();
            self.free.push(place);
            if let Entry::Occupied(mut of_host) = self.of_host.entry(host_of(gathered.from)) {
                *of_host.get_mut() -= 1;
                if *of_host.get() == 0 {
                    of_host.remove();
                }
            }
        }
    }
}

const fn sender(track: &Track, dir: Dir) -> u128 {
    match dir {
        Dir::Orig => track.orig,
        Dir::Resp => track.resp,
    }
}

/// Whose flows are counted together.
const fn host_of(addr: u128) -> u128 {
    const V4: u128 = 0xffff;
    if addr >> 32 == V4 { addr } else { addr & !(u64::MAX as u128) }
}

impl Gathered {
    /// What of a segment was not there yet. Behind a hole a new line begins.
    fn fresh<'a>(&mut self, piece: &Piece<'a>) -> &'a [u8] {
        if piece.from > self.next {
            self.new_line();
        }
        let known = usize::try_from(self.next.saturating_sub(piece.from)).unwrap_or(usize::MAX);
        self.next = self.next.max(piece.from.saturating_add(piece.bytes.len() as u64));
        piece.bytes.get(known..).unwrap_or(&[])
    }

    /// The beginning of a datagram, each of which is a line of its own.
    fn datagram<'a>(&mut self, piece: &Piece<'a>, turn_bytes: u32) -> &'a [u8] {
        self.new_line();
        self.turn_left = turn_bytes / 4;
        piece.bytes
    }

    /// Ends the line, if there is one.
    fn new_line(&mut self) {
        if self.bytes.last().is_some_and(|byte| *byte != b'\n') {
            self.bytes.push(b'\n');
        }
    }
}

/// Whether what it carries is encrypted, or is read by those who read names.
fn is_shut(track: &Track) -> bool {
    const SHUT: [Service; 14] = [
        Service::Ssl,
        Service::Ssh,
        Service::Quic,
        Service::Dtls,
        Service::Openvpn,
        Service::Wireguard,
        Service::Ipsec,
        Service::Dns,
        Service::Dhcp,
        Service::Ntp,
        Service::Stun,
        Service::Bittorrent,
        Service::Teredo,
        Service::Gtp,
    ];
    track.ssh.is_some() || track.recognition.is_one_of(&SHUT)
}

/// Whether bytes that nobody recognises are mostly text.
fn is_text(bytes: &[u8]) -> bool {
    let begun = bytes.get(..256).unwrap_or(bytes);
    let odd = begun.iter().filter(|byte| **byte < 0x20 && !matches!(byte, b'\t' | b'\r' | b'\n')).count();
    let odd = odd + begun.iter().filter(|byte| **byte >= 0x7f).count();
    odd * TEXT_SHARE <= begun.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flows_of_ipv6_are_counted_by_network_and_of_ipv4_by_address() {
        let host = |text: &str| match text.parse::<std::net::IpAddr>().expect("ip") {
            std::net::IpAddr::V4(addr) => host_of(addr.to_ipv6_mapped().to_bits()),
            std::net::IpAddr::V6(addr) => host_of(addr.to_bits()),
        };
        assert_eq!(host("2001:db8:0:1::1"), host("2001:db8:0:1:ffff::2"));
        assert_ne!(host("2001:db8:0:1::1"), host("2001:db8:0:2::1"));
        assert_ne!(host("192.168.1.1"), host("192.168.1.2"));
    }
}
