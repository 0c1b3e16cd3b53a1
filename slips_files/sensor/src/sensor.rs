//! The sensor itself: decodes a packet, finds its flow, lets the transport judge it, and tells what changed.

use slips_core::event::Event;
use slips_core::flow::{ConnState, MacAddr, Phase};
use slips_core::time::PacketTime;

use crate::counters::{Counters, Reject};
use crate::dns;
use crate::frag::{Fragments, Outcome};
use crate::ip::Packet;
use crate::link::{LinkType, Payload};
use crate::service::{self, Service};
use crate::settings::Settings;
use crate::table::Table;
use crate::timer::Wheel;
use crate::track::{Dir, Key, Kind, Track};
use crate::uid::UidBits;
use crate::{arp, checksum, emit, icmp, ip, link, ssh, tcp, udp};

/// Turns packets into events. One per source thread; it holds all flows that it saw and that have not ended.
#[derive(Debug)]
pub struct Sensor {
    settings: Settings,
    table: Table,
    wheel: Wheel,
    fragments: Fragments,
    questions: dns::Pending,
    counters: Counters,
    /// The latest packet time; nothing is told as seen earlier than this.
    clock: Option<PacketTime>,
    /// Stretches for TCP data above holes that no flow uses now.
    spare: tcp::Spare,
}

/// Spare stretches that are kept.
const MAX_SPARE: usize = 1024;

/// What a packet's flow needs to know of its frame.
#[derive(Clone, Copy)]
struct Context {
    at: PacketTime,
    interface: u16,
    src: Option<MacAddr>,
    dst: Option<MacAddr>,
    vlan: Option<u16>,
}

/// A transport payload that was understood.
enum Transport<'a> {
    Tcp(tcp::Header<'a>),
    Udp(udp::Header<'a>),
    /// ICMP and others: length behind their header.
    Opaque(u32),
}

impl Sensor {
    /// A sensor without flows.
    pub fn new(settings: Settings) -> Self {
        Self {
            table: Table::new(settings.max_flows, settings.key),
            wheel: Wheel::new(),
            fragments: Fragments::default(),
            questions: dns::Pending::default(),
            counters: Counters::default(),
            clock: None,
            spare: Vec::new(),
            settings,
        }
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
        match self.take(link, interface, at, captured, wire_len, out) {
            Ok(()) => self.counters.decoded += 1,
            Err(reason) => self.counters.reject(reason),
        }
    }

    /// Moves time on to `now` without a packet: ends what is over, tells what is due.
    pub fn advance(&mut self, now: PacketTime, out: &mut Vec<Event>) {
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
        }
        self.clock = Some(now);
    }

    /// The input is over: ends all flows with their state of this moment.
    pub fn finish(&mut self, out: &mut Vec<Event>) {
        while let Some(index) = self.table.any() {
            self.end(index, out);
        }
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
        link: LinkType,
        interface: u16,
        at: PacketTime,
        captured: &[u8],
        wire_len: u32,
        out: &mut Vec<Event>,
    ) -> Result<(), Reject> {
        let frame = link::decode(link, captured)?;
        let packet = match frame.payload {
            Payload::Ip(packet) => packet,
            Payload::Arp(packet) => {
                out.push(Event::Arp(arp::decode(&frame, packet, at, interface)?));
                self.counters.arp += 1;
                return Ok(());
            }
        };
        let header_bytes = captured.len().saturating_sub(packet.len()) as u32;
        let on_wire = wire_len.max(captured.len() as u32).saturating_sub(header_bytes);
        let packet = ip::decode(packet, on_wire, self.settings.verify_checksums)?;
        let context = Context { at, interface, src: frame.src, dst: frame.dst, vlan: frame.vlan };
        let Some(fragment) = packet.fragment else { return self.transport(&context, &packet, out) };
        self.counters.fragments += 1;
        let outcome = self.fragments.add(&packet, fragment, at, &self.settings);
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
        };
        let (key, transport) = match packet.proto {
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
            _ => (key(0, 0, Kind::Other), Transport::Opaque(0)),
        };
        let intact = self.is_intact(packet, &transport);
        if !intact && key.kind != Kind::Tcp && key.kind != Kind::Udp {
            return Err(Reject::Checksum);
        }
        let hash = self.table.hash(&key);
        let (index, dir, is_new) = self.flow_of(context, &key, hash, &transport, out);
        if !intact {
            self.note_bad_checksum(index, dir, is_new, out);
            return Err(Reject::Checksum);
        }
        let dir = self.apply(index, dir, context, packet, &transport);
        if is_new {
            self.arm(index);
            self.tell(index, Phase::Start, out);
        }
        self.tell_changes(index, dir, &transport, out);
        self.read_payload(index, dir, context.at, &transport, out);
        if matches!(key.kind, Kind::IcmpOneWay) {
            self.tell_refused(packet, out);
        }
        Ok(())
    }

    fn is_intact(&self, packet: &Packet<'_>, transport: &Transport<'_>) -> bool {
        if !self.settings.verify_checksums || packet.payload.len() != packet.payload_length as usize {
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
                context.at >= track.expires(settings)
                    || matches!(transport, Transport::Tcp(segment) if tcp::is_reuse(track, segment))
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
            track.side(Dir::Orig).mac = context.src;
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
        }
        if is_new {
            self.arm(index);
            self.tell(index, Phase::Start, out);
        }
    }

    /// Lets the packet change its flow; its direction afterwards.
    fn apply(
        &mut self,
        index: u32,
        dir: Dir,
        context: &Context,
        packet: &Packet<'_>,
        transport: &Transport<'_>,
    ) -> Dir {
        let Some(track) = self.table.tracks().get_mut(index as usize) else { return dir };
        track.touched = true;
        let was_closed = track.closed.is_some();
        let mut dir = dir;
        let mut payload = 0;
        match transport {
            Transport::Tcp(segment) => {
                dir = tcp::deliver(track, dir, context.at, segment, &mut self.spare);
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
        let side = track.side(dir);
        if side.volume.pkts == 0 && context.src.is_some() {
            side.mac = context.src;
        }
        side.volume.pkts += 1;
        side.volume.ip_bytes += u64::from(packet.length);
        side.volume.bytes += u64::from(payload);
        let answered = track.in_unanswered && track.sides.iter().all(|side| side.volume.pkts > 0);
        let just_closed = !was_closed && track.closed.is_some();
        if answered {
            self.table.answered(index);
        }
        if just_closed {
            self.rearm(index);
        }
        dir
    }

    /// Tells of an answer or a refusal that this packet brought.
    fn tell_changes(&mut self, index: u32, dir: Dir, transport: &Transport<'_>, out: &mut Vec<Event>) {
        let Some(track) = self.table.get(index) else { return };
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

    /// Looks at the payload as long as it may tell something.
    fn read_payload(
        &mut self,
        index: u32,
        dir: Dir,
        at: PacketTime,
        transport: &Transport<'_>,
        out: &mut Vec<Event>,
    ) {
        let found = match transport {
            Transport::Tcp(segment) if !segment.payload.is_empty() => {
                self.read_segment(index, dir, at, segment, out)
            }
            Transport::Udp(datagram) if !datagram.payload.is_empty() => {
                self.read_datagram(index, dir, at, datagram, out)
            }
            _ => None,
        };
        if let Some(service) = found
            && let Some(track) = self.table.get(index)
            && track.found(service)
        {
            self.tell(index, Phase::Update, out);
        }
    }

    fn read_segment(
        &mut self,
        index: u32,
        dir: Dir,
        at: PacketTime,
        segment: &tcp::Header<'_>,
        out: &mut Vec<Event>,
    ) -> Option<Service> {
        let track = self.table.get(index)?;
        if service::is_dns_port(track.resp_port) {
            return self.read_dns_segment(index, at, segment, out);
        }
        if track.recognition.is_any() || !track.recognition.wants(dir) {
            return None;
        }
        if let Some(line) = ssh::banner(segment.payload) {
            track.banners.get_or_insert_default().note(dir, line);
        }
        track.recognition.look(dir, segment.payload)
    }

    fn read_datagram(
        &mut self,
        index: u32,
        dir: Dir,
        at: PacketTime,
        datagram: &udp::Header<'_>,
        out: &mut Vec<Event>,
    ) -> Option<Service> {
        let (src_port, dst_port) = (datagram.src_port, datagram.dst_port);
        let track = self.table.get(index)?;
        let known = track.recognition.is(Service::Dns);
        if known || (!track.recognition.is_any() && service::may_be_dns(datagram.payload, src_port, dst_port))
        {
            let whole = datagram.payload.len() == datagram.length as usize;
            let is_message = self.take_dns_message(index, at, datagram.payload, whole, out);
            return is_message.then_some(Service::Dns);
        }
        if track.recognition.is_any() || !track.recognition.wants(dir) {
            return None;
        }
        service::of_datagram(datagram.payload, src_port, dst_port)
    }

    fn read_dns_segment(
        &mut self,
        index: u32,
        at: PacketTime,
        segment: &tcp::Header<'_>,
        out: &mut Vec<Event>,
    ) -> Option<Service> {
        let mut found = None;
        let mut rest = segment.payload;
        // Messages that are whole within a segment; their length stands before them.
        while let [high, low, tail @ ..] = rest {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            let message = tail.get(..length)?;
            rest = tail.get(length..)?;
            if self.take_dns_message(index, at, message, true, out) {
                found = Some(Service::Dns);
            }
        }
        found
    }

    fn take_dns_message(
        &mut self,
        index: u32,
        at: PacketTime,
        message: &[u8],
        whole: bool,
        out: &mut Vec<Event>,
    ) -> bool {
        let Some(message) = dns::Message::parse(message, whole) else {
            self.counters.dns_malformed += 1;
            return false;
        };
        self.counters.dns_messages += 1;
        if self.questions.len() >= self.settings.max_dns_pending as usize && !message.is_reply {
            self.counters.dns_pending_dropped += 1;
            self.questions.tell_oldest(self.table.tracks(), out);
        }
        self.questions.take(self.table.tracks(), index, at, message, out);
        true
    }

    fn tell_late_questions(&mut self, now: PacketTime, out: &mut Vec<Event>) {
        self.questions.tell_older(self.table.tracks(), now - self.settings.dns_timeout, out);
    }

    /// The moment at which something is next due for a flow.
    fn due(track: &Track, settings: &Settings) -> PacketTime {
        let mut due = track.expires(settings).min(track.told_at + settings.update_interval);
        if Self::may_be_unanswered(track) {
            due = due.min(track.first + settings.unanswered_after);
        }
        due
    }

    /// Whether this flow is an attempt that is told as unanswered if nobody answers.
    fn may_be_unanswered(track: &Track) -> bool {
        if !track.in_unanswered || track.told.unanswered || track.told.rejected {
            return false;
        }
        match track.kind {
            Kind::Tcp | Kind::Udp => {
                matches!(emit::state(track), ConnState::S0 | ConnState::Sh | ConnState::Rstos0)
            }
            Kind::IcmpTwoWay => true,
            Kind::IcmpOneWay | Kind::Other => false,
        }
    }

    fn arm(&mut self, index: u32) {
        let Some(track) = self.table.get(index) else { return };
        track.due = Self::due(track, &self.settings);
        self.wheel.arm(self.table.tracks(), index);
    }

    /// Something is due earlier than the flow waits for.
    fn rearm(&mut self, index: u32) {
        let settings = &self.settings;
        let earlier = self.table.get(index).is_some_and(|track| Self::due(track, settings) < track.due);
        if earlier {
            self.wheel.disarm(self.table.tracks(), index);
            self.arm(index);
        }
    }

    /// A flow whose slot of the wheel came, and which is disarmed by that.
    fn look_after(&mut self, index: u32, out: &mut Vec<Event>) {
        let now = self.wheel.now();
        let Some(track) = self.table.get(index) else { return };
        if now >= track.expires(&self.settings) {
            self.arm(index);
            self.end(index, out);
            return;
        }
        let phase = if Self::may_be_unanswered(track) && now >= track.first + self.settings.unanswered_after {
            track.told.unanswered = true;
            Some(Phase::Unanswered)
        } else if now >= track.told_at + self.settings.update_interval {
            let news = track.packets() > track.told_packets;
            track.told_at = now;
            news.then_some(Phase::Update)
        } else {
            None
        };
        if let Some(phase) = phase {
            self.tell(index, phase, out);
        }
        self.arm(index);
    }

    fn tell(&mut self, index: u32, phase: Phase, out: &mut Vec<Event>) {
        let now = self.now();
        if let Some(track) = self.table.get(index) {
            out.push(Event::Flow(emit::flow(track, phase, now)));
        }
    }

    /// Ends a flow, which is armed: tells what is still to be told, and forgets it.
    fn end(&mut self, index: u32, out: &mut Vec<Event>) {
        self.questions.tell_flow(self.table.tracks(), index, out);
        let Some(track) = self.table.get(index) else { return };
        if let Some(banners) = track.banners.take().filter(|banners| banners.are_both_known()) {
            out.push(Event::Ssh(Box::new(banners.record(emit::about(track, track.first)))));
        }
        if let Some(mut above) = track.above.take()
            && self.spare.len() < MAX_SPARE
        {
            above.clear();
            self.spare.push(above);
        }
        self.tell(index, Phase::End, out);
        self.wheel.disarm(self.table.tracks(), index);
        self.table.close(index);
        self.counters.flows_ended += 1;
        self.counters.flows_active = self.table.live() as u64;
    }
}
