//! The sensor itself: decodes a packet, finds its flow, lets the transport judge it, and tells what changed.

mod inspect;
mod read;
#[cfg(test)]
mod tests;
mod timers;
mod transfers;
mod tunnels;

use std::net::IpAddr;

use slips_core::clock::Clock;
use slips_core::event::Event;
use slips_core::flow::{ConnState, MacAddr, Phase, Uid};
use slips_core::time::PacketTime;

use crate::account::Account;
use crate::counters::{Counters, Reject};
use crate::frag::{Fragments, Outcome};
use crate::ip::Packet;
use crate::link::{LinkType, Payload};
use crate::payload::Payloads;
use crate::reader::Tools;
use crate::settings::Settings;
use crate::table::Table;
use crate::timer::Wheel;
use crate::track::{Dir, Key, Kind};
use crate::uid::UidBits;
use crate::{arp, checksum, emit, icmp, ip, link, neighbour, tcp, transfer, tunnel, udp};
use crate::{dhcp, dns};

/// Turns packets into events. One per source thread; it holds all flows that it saw and that have not ended.
#[derive(Debug)]
pub struct Sensor {
    settings: Settings,
    table: Table,
    wheel: Wheel,
    fragments: Fragments,
    questions: dns::Pending,
    bridged: arp::Recent,
    tunnels: tunnel::Known,
    expected: transfer::Expected,
    counters: Counters,
    /// The latest packet time; nothing is told as seen earlier than this.
    clock: Option<PacketTime>,
    /// Which stamps are believed.
    belief: Clock,
    /// Stretches for TCP data above holes that no flow uses now.
    spare: tcp::Spare,
    /// Bytes of DNS messages that are not yet complete.
    held: Account,
    tools: Tools,
    leases: dhcp::Pending,
    /// Bytes of SSH packets that are not yet complete.
    held_ssh: Account,
    payloads: Payloads,
    /// The packet at hand has no transport checksum yet.
    unsummed: bool,
    corrected: Vec<Corrected>,
}

/// What was told of a flow was read from the copy of a packet that this router sent on; here is from where it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corrected {
    /// The flow.
    pub uid: Uid,
    /// The side that sent the packet.
    pub addr: IpAddr,
    /// Its own hardware address.
    pub mac: MacAddr,
}

/// Corrections that wait to be asked for; more are not told.
const MOST_CORRECTED: usize = 4096;

/// What a packet's flow needs to know of its frame.
#[derive(Clone, Copy, Default)]
struct Context {
    at: PacketTime,
    interface: u16,
    src: Option<MacAddr>,
    dst: Option<MacAddr>,
    vlan: Option<u16>,
    /// Tunnels around it.
    depth: u8,
}

/// A transport payload that was understood.
enum Transport<'a> {
    Tcp(tcp::Header<'a>),
    Udp(udp::Header<'a>),
    /// ICMP and others: length behind their header.
    Opaque(u32),
}

/// Flows that are given up in one call because there is less room than before.
const GIVEN_UP_AT_ONCE: usize = 256;
/// ICMP, and datagrams that nobody answers, are told again after so many packets, at the latest.
const MANY_PACKETS: u64 = 1000;

impl Sensor {
    /// A sensor without flows.
    pub fn new(settings: Settings) -> Self {
        Self {
            table: Table::new(settings.max_flows, settings.key),
            wheel: Wheel::new(),
            fragments: Fragments::default(),
            questions: dns::Pending::default(),
            bridged: arp::Recent::default(),
            tunnels: tunnel::Known::new(settings.max_tunnels),
            expected: transfer::Expected::new(settings.max_transfers),
            counters: Counters::default(),
            clock: None,
            belief: Clock::default(),
            spare: tcp::Spare::default(),
            held: Account::new(settings.max_begun_bytes),
            tools: Tools::new(&settings),
            leases: dhcp::Pending::new(settings.max_dhcp_pending),
            held_ssh: Account::new(settings.max_begun_bytes),
            payloads: Payloads::new(settings.payloads.clone()),
            unsummed: false,
            corrected: Vec::new(),
            settings,
        }
    }

    /// What was told of flows since the last call and has turned out to be the router's hardware address instead of the sender's. Events
    /// from now on have the right one.
    pub fn corrected(&mut self) -> impl Iterator<Item = Corrected> {
        self.corrected.drain(..)
    }

    /// Takes one captured packet: `captured` of `wire_len` bytes. Appends what it tells to `out`, after what timers that were due
    /// before it tell.
    pub fn packet(
        &mut self,
        link: LinkType,
        interface: u16,
        at: PacketTime,
        captured: &[u8],
        wire_len: u32,
        out: &mut Vec<Event>,
    ) {
        self.counters.packets += 1;
        self.counters.bytes += u64::from(wire_len);
        self.advance(at, out);
        let context = Context { at, interface, ..Context::default() };
        match self.take(&context, link, captured, wire_len, out) {
            Ok(()) => self.counters.decoded += 1,
            Err(reason) => self.counters.reject(reason),
        }
    }

    /// Takes a packet that this host is about to send, whose transport checksum the card has yet to compute: it is not verified.
    pub fn packet_unsummed(
        &mut self,
        link: LinkType,
        interface: u16,
        at: PacketTime,
        captured: &[u8],
        wire_len: u32,
        out: &mut Vec<Event>,
    ) {
        self.unsummed = true;
        self.packet(link, interface, at, captured, wire_len, out);
        self.unsummed = false;
    }

    /// From now on tracks so many flows at most, of those that it was made for. Gives up some of those beyond it, counted as evicted; to be
    /// called again for the rest.
    pub fn track_at_most(&mut self, flows: u32, out: &mut Vec<Event>) {
        self.table.set_max(flows);
        for _ in 0..GIVEN_UP_AT_ONCE {
            let Some(victim) =
                Some(&mut self.table).filter(|table| table.is_crowded()).and_then(Table::victim)
            else {
                return;
            };
            self.counters.flows_evicted += 1;
            self.end(victim, out);
        }
    }

    /// Moves time on to `now` without a packet: ends what is over, tells what is due.
    ///
    /// One stamp far in the future moves nothing; when the clock turns out to have been ahead, all flows end and it starts anew.
    pub fn advance(&mut self, now: PacketTime, out: &mut Vec<Event>) {
        self.belief.observe(now);
        if self.belief.has_stepped_back() {
            self.finish(out);
            self.wheel.start(now);
            self.clock = Some(now);
            return;
        }
        if self.belief.now() < now {
            return;
        }
        match self.clock {
            None => self.wheel.start(now),
            Some(clock) if now < clock => {
                self.counters.time_went_back += 1;
                return;
            }
            Some(_) => {}
        }
        if self.wheel.is_behind(now) {
            while let Some(index) = self.wheel.next_due(self.table.tracks(), now) {
                self.clock = self.clock.max(Some(self.wheel.now()));
                self.look_after(index, out);
            }
            self.tell_late_questions(now, out);
            self.tell_leases(now - self.settings.dhcp_timeout, out);
            self.tunnels.expire(now, &mut |tunnel| out.push(Event::Tunnel(Box::new(tunnel))));
        }
        self.clock = Some(now);
    }

    /// The clock of this machine was set back, and stands at `now`: all flows end, and time goes on from there.
    pub fn set_back(&mut self, now: PacketTime, out: &mut Vec<Event>) {
        self.finish(out);
        self.belief = Clock::default();
        self.belief.observe(now);
        self.wheel.start(now);
        self.clock = Some(now);
    }

    /// The input is over: ends all flows with their state of this moment.
    pub fn finish(&mut self, out: &mut Vec<Event>) {
        while self.finish_some(usize::MAX, out) {}
    }

    /// The same in parts: ends at most `most` flows. True while there are more; what a full table tells at its end is larger than
    /// the table, so who cares for memory asks for it bit by bit.
    pub fn finish_some(&mut self, most: usize, out: &mut Vec<Event>) -> bool {
        for _ in 0..most {
            let Some(index) = self.table.any() else {
                self.tell_leases(PacketTime(i64::MAX), out);
                self.fragments.give_up();
                self.counters.fragmented_dropped = self.fragments.dropped;
                return false;
            };
            self.end(index, out);
        }
        true
    }

    /// Running totals.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    fn now(&self) -> PacketTime {
        self.clock.unwrap_or_default()
    }

    fn take(
        &mut self,
        from: &Context,
        link: LinkType,
        captured: &[u8],
        wire_len: u32,
        out: &mut Vec<Event>,
    ) -> Result<(), Reject> {
        let Context { at, interface, .. } = *from;
        let frame = link::decode(link, captured)?;
        let packet = match frame.payload {
            Payload::Ip(packet) => packet,
            // another network's
            Payload::Arp(_) if from.depth > 0 => return Ok(()),
            Payload::Arp(packet) => {
                let arp = arp::decode(&frame, packet, at, interface)?;
                if self.bridged.is_copy(&arp) {
                    self.counters.other_interface += 1;
                } else {
                    self.counters.arp += 1;
                    out.push(Event::Arp(arp));
                }
                return Ok(());
            }
        };
        let header_bytes = captured.len().saturating_sub(packet.len()) as u32;
        let on_wire = wire_len.max(captured.len() as u32).saturating_sub(header_bytes);
        let packet = ip::decode(packet, on_wire, self.settings.verify_checksums)?;
        let context = Context { src: frame.src, dst: frame.dst, vlan: frame.vlan, ..*from };
        let Some(fragment) = packet.fragment else { return self.transport(&context, &packet, out) };
        self.counters.fragments += 1;
        let outcome = self.fragments.add(&packet, fragment, interface, at, &self.settings);
        self.counters.fragmented_dropped = self.fragments.dropped;
        match outcome {
            Outcome::Kept => Ok(()),
            Outcome::Refused => Err(Reject::Fragment),
            Outcome::Whole(payload, length) => {
                self.counters.reassembled += 1;
                let whole = Packet {
                    length,
                    payload_length: payload.len() as u32,
                    payload: &payload,
                    fragment: None,
                    ..packet
                };
                self.transport(&context, &whole, out)
            }
        }
    }

    fn transport(
        &mut self,
        context: &Context,
        packet: &Packet<'_>,
        out: &mut Vec<Event>,
    ) -> Result<(), Reject> {
        let key = |src_port, dst_port, kind| Key {
            src: packet.src,
            dst: packet.dst,
            src_port,
            dst_port,
            proto: packet.proto,
            kind,
            tunnelled: false,
        };
        let (mut key, transport) = match packet.proto {
            6 => {
                let head = tcp::Header::decode(packet)?;
                (key(head.src_port, head.dst_port, Kind::Tcp), Transport::Tcp(head))
            }
            17 => {
                let head = udp::Header::decode(packet)?;
                (key(head.src_port, head.dst_port, Kind::Udp), Transport::Udp(head))
            }
            1 | 58 => {
                let length = packet.payload_length.saturating_sub(8);
                (icmp::key(packet)?, Transport::Opaque(length))
            }
            4 | 41 | 47 if self.enter_packet(context, packet, out) => return Ok(()),
            _ => (key(0, 0, Kind::Other), Transport::Opaque(0)),
        };
        key.tunnelled = context.depth > 0;
        let intact = self.is_intact(packet, &transport);
        if !intact && key.kind != Kind::Tcp && key.kind != Kind::Udp {
            return Err(Reject::Checksum);
        }
        let hash = self.table.hash(&key);
        let (index, dir, is_new) = self.flow_of(context, &key, hash, &transport, out);
        if let Some(track) = self.table.get(index)
            && !track.hears(dir, context.interface, context.at)
        {
            if track.side(dir).came_by(context.src, context.at)
                && self.corrected.len() < MOST_CORRECTED
                && let Some(mac) = context.src
            {
                let (uid, addr) = (track.uid.print(), emit::address(packet.src));
                self.corrected.push(Corrected { uid, addr, mac });
            }
            self.counters.other_interface += 1;
            return Ok(());
        }
        if !intact {
            self.note_bad_checksum(index, dir, is_new, out);
            return Err(Reject::Checksum);
        }
        let placed = self.apply(index, dir, context, packet, &transport);
        if is_new {
            self.greet_expected(index, context.at);
            self.arm(index);
            self.tell(index, Phase::Start, out);
        }
        self.tell_changes(index, placed.dir, &transport, out);
        self.read_payload(index, placed, context.at, &transport, out);
        self.gather_payload(index, placed, context.at, &transport, out);
        self.tell_closed(index, out);
        match &transport {
            Transport::Udp(datagram) => self.enter_datagram(index, placed.dir, context, datagram, out),
            Transport::Opaque(_) if neighbour::is_discovery(packet) => tell_neighbour(context, packet, out),
            Transport::Opaque(_) if key.kind == Kind::IcmpOneWay => self.tell_refused(packet, out),
            _ => {}
        }
        Ok(())
    }

    fn is_intact(&self, packet: &Packet<'_>, transport: &Transport<'_>) -> bool {
        if !self.settings.verify_checksums
            || self.unsummed
            || packet.payload.len() != packet.payload_length as usize
        {
            return true;
        }
        match (transport, packet.proto) {
            (Transport::Udp(head), _) if head.unchecked && !packet.v6 => true,
            (Transport::Tcp(_) | Transport::Udp(_), proto) | (_, proto @ 58) => {
                checksum::is_right_under(packet.src, packet.dst, packet.v6, proto, packet.payload)
            }
            (_, 1) => checksum::is_right(packet.payload),
            _ => true,
        }
    }

    /// The flow of a packet, opened if there is none; an old one that is over, or that this packet replaces, ends.
    fn flow_of(
        &mut self,
        context: &Context,
        key: &Key,
        hash: u64,
        transport: &Transport<'_>,
        out: &mut Vec<Event>,
    ) -> (u32, Dir, bool) {
        if let Some((index, dir)) = self.table.find(hash, key) {
            let settings = &self.settings;
            let over = self.table.get(index).is_none_or(|track| {
                // a forwarded SYN, seen late on the other interface, begins nothing
                let is_copy = |segment: &tcp::Header<'_>| {
                    segment.seq == track.end(dir).start
                        && track.sides[dir as usize].heard_on.is_some_and(|on| on != context.interface)
                };
                context.at >= track.expires(settings)
                    || matches!(transport, Transport::Tcp(segment)
                        if tcp::is_reuse(track, segment) && !is_copy(segment))
            });
            if !over {
                return (index, dir, false);
            }
            self.end(index, out);
        }
        if self.table.is_full()
            && let Some(victim) = self.table.victim()
        {
            self.counters.flows_evicted += 1;
            self.end(victim, out);
        }
        let index = self.table.open(hash, key, context.at);
        self.counters.flows_opened += 1;
        self.counters.flows_active = self.table.live() as u64;
        let number = self.counters.flows_opened;
        let secret = self.settings.key;
        let mut dir = Dir::Orig;
        if let Some(track) = self.table.get(index) {
            track.uid = UidBits::derive(secret, hash, context.at.0, number);
            track.interface = context.interface;
            track.vlan = context.vlan;
            track.side(Dir::Orig).came_by(context.src, context.at);
            track.side(Dir::Resp).mac = context.dst;
            let backwards = match transport {
                Transport::Tcp(segment) => tcp::is_backwards(segment),
                Transport::Udp(datagram) => datagram.is_backwards(key.src, key.dst),
                Transport::Opaque(_) => false,
            };
            if backwards {
                track.flip();
                dir = Dir::Resp;
            }
        }
        (index, dir, true)
    }

    fn note_bad_checksum(&mut self, index: u32, dir: Dir, is_new: bool, out: &mut Vec<Event>) {
        if let Some(track) = self.table.get(index) {
            let side = &mut track.sides[dir as usize];
            track.letters.scaled(dir, b'C', &mut side.tcp.bad_checksums);
            let name = if track.kind == Kind::Tcp { "bad_TCP_checksum" } else { "bad_UDP_checksum" };
            self.tools.weirds.note(name, "", track, track.last, out);
        }
        if is_new {
            self.arm(index);
            self.tell(index, Phase::Start, out);
        }
    }

    /// Lets the packet change its flow.
    fn apply(
        &mut self,
        index: u32,
        dir: Dir,
        context: &Context,
        packet: &Packet<'_>,
        transport: &Transport<'_>,
    ) -> tcp::Placed {
        let Some(track) = self.table.tracks().get_mut(index as usize) else {
            return tcp::Placed { dir, place: tcp::Place::Next, from: 1 };
        };
        track.touched = true;
        let was_closed = track.closed.is_some();
        let mut placed = tcp::Placed { dir, place: tcp::Place::Next, from: 1 };
        let mut payload = 0;
        match transport {
            Transport::Tcp(segment) => {
                placed = tcp::deliver(track, dir, context.at, segment, &mut self.spare);
                self.counters.holes_forgotten = self.spare.holes_forgotten;
            }
            Transport::Udp(datagram) => {
                track.last = track.last.max(context.at);
                track.letters.once(dir, b'D');
                payload = datagram.length;
            }
            Transport::Opaque(length) => {
                track.last = track.last.max(context.at);
                payload = *length;
            }
        }
        let side = track.side(placed.dir);
        if side.volume.pkts == 0 {
            side.came_by(context.src, context.at);
        }
        side.volume.pkts += 1;
        side.volume.ip_bytes += u64::from(packet.length);
        side.volume.bytes += u64::from(payload);
        let answered = track.in_unanswered && track.sides.iter().all(|side| side.volume.pkts > 0);
        let just_closed = !was_closed && track.closed.is_some();
        if answered {
            if let Some(reader) = &mut track.reader {
                self.tools.answered(reader);
            }
            self.table.answered(index);
        }
        if just_closed {
            self.rearm(index);
        }
        placed
    }

    /// Tells of an answer or a refusal that this packet brought.
    fn tell_changes(&mut self, index: u32, dir: Dir, transport: &Transport<'_>, out: &mut Vec<Event>) {
        let Some(track) = self.table.get(index) else { return };
        // What goes on without answers, or answered by a kernel that answers anybody, may be a flood within one flow.
        let may_flood = match transport {
            Transport::Tcp(_) => false,
            Transport::Udp(_) => track.in_unanswered,
            Transport::Opaque(_) => true,
        };
        // As many again, up to a thousand: a sender who comes round to the same ports is seen in his second round.
        let more = if matches!(transport, Transport::Udp(_)) {
            track.told_packets.clamp(1, MANY_PACKETS)
        } else {
            MANY_PACKETS
        };
        if may_flood && track.packets() >= track.told_packets.saturating_add(more) {
            self.tell(index, Phase::Update, out);
            return;
        }
        if track.told.established || track.in_unanswered {
            return;
        }
        let phase = match transport {
            Transport::Tcp(segment) => {
                let open = |dir| track.end(dir).state == tcp::TcpState::Established;
                if segment.rst
                    && dir == Dir::Resp
                    && !track.told.rejected
                    && emit::state(track) == ConnState::Rej
                {
                    Phase::Rejected
                } else if dir == Dir::Orig && segment.ack_flag && open(Dir::Orig) && open(Dir::Resp) {
                    Phase::Established
                } else {
                    return;
                }
            }
            _ => Phase::Established,
        };
        match phase {
            Phase::Rejected => track.told.rejected = true,
            _ => track.told.established = true,
        }
        self.tell(index, phase, out);
    }

    /// An ICMP message that refuses a flow.
    fn tell_refused(&mut self, packet: &Packet<'_>, out: &mut Vec<Event>) {
        let Some(key) = icmp::refused(packet) else { return };
        let hash = self.table.hash(&key);
        let Some((index, Dir::Orig)) = self.table.find(hash, &key) else { return };
        if let Some(track) = self.table.get(index)
            && track.in_unanswered
            && !track.told.rejected
        {
            track.told.rejected = true;
            self.tell(index, Phase::Rejected, out);
        }
    }
}

/// What is said on this link; another network's, in a tunnel, is nobody's neighbour here.
fn tell_neighbour(context: &Context, packet: &Packet<'_>, out: &mut Vec<Event>) {
    let told = neighbour::decode(packet, context.src, context.at, context.interface);
    if let Some(told) = told.filter(|_| context.depth == 0) {
        out.push(Event::Neighbour(Box::new(told)));
    }
}
