//! Packets within packets: what a tunnel carries is tracked as flows of its own.

use slips_core::event::{About, Event, Tunnel};
use slips_core::flow::{Endpoint, Phase, Uid};
use slips_core::time::PacketTime;

use super::{Context, Sensor};
use crate::counters::Reject;
use crate::ip::{self, Packet};
use crate::link::{self, LinkType, Payload};
use crate::track::{Dir, Key, Kind, Track};
use crate::tunnel::{self, Inner, News, Wrapping};
use crate::uid::UidBits;
use crate::{emit, udp};

/// Datagrams of a flow in which Teredo is looked for on any port.
const TEREDO_LOOKS: u64 = 4;

impl Sensor {
    /// Takes what an IP or GRE packet carries; false when it is no tunnel that can be read.
    pub(super) fn enter_packet(
        &mut self,
        context: &Context,
        packet: &Packet<'_>,
        out: &mut Vec<Event>,
    ) -> bool {
        let (kind, inner) = match packet.proto {
            47 => match tunnel::unwrap_gre(packet.payload) {
                Some(inner) => (Wrapping::Gre, inner),
                None => return false,
            },
            _ => (Wrapping::Ip, Inner { link: LinkType::RawIp, bytes: packet.payload }),
        };
        let on_wire = packet.payload_length.saturating_sub((packet.payload.len() - inner.bytes.len()) as u32);
        if !self.may_enter(context, inner, on_wire) {
            return false;
        }
        self.note_tunnel(context, packet.src, packet.dst, kind, out);
        self.enter(context, inner, on_wire, out);
        true
    }

    /// Takes what a datagram carries, if its flow is a tunnel.
    pub(super) fn enter_datagram(
        &mut self,
        index: u32,
        dir: Dir,
        context: &Context,
        datagram: &udp::Header<'_>,
        out: &mut Vec<Event>,
    ) {
        let Some(track) = self.table.get(index) else { return };
        let Some(kind) = wrapping_of(track, dir, datagram) else { return };
        let (src, dst) = (track.orig, track.resp);
        let Some(inner) = tunnel::unwrap_datagram(kind, datagram.payload) else { return };
        let header = datagram.payload.len() - inner.bytes.len();
        let on_wire = datagram.length.saturating_sub(header as u32);
        let can_enter = self.may_enter(context, inner, on_wire);
        let is_sure = can_enter
            || kind == Wrapping::Geneve
            || (kind == Wrapping::Vxlan && link::decode(inner.link, inner.bytes).is_ok());
        let Some(track) = self.table.get(index) else { return };
        if let Some(service) = kind.service().filter(|_| is_sure)
            && track.found(service)
        {
            self.tell(index, Phase::Update, out);
        }
        if !can_enter {
            return;
        }
        if kind == Wrapping::Gre {
            self.note_tunnel(context, src, dst, kind, out);
        } else if let Some(track) = self.table.get(index)
            && track.tunnel.replace(kind).is_none()
        {
            out.push(tell(track, kind, context.at, "Tunnel::DISCOVER"));
        }
        // Beyond this, `index` may be another flow: what is inside may have taken its place.
        self.enter(context, inner, on_wire, out);
    }

    /// A proxy is a tunnel too. As Zeek tells it: from anywhere at the client, and not as a flow.
    pub(super) fn tell_proxy(&mut self, index: u32, at: PacketTime, out: &mut Vec<Event>) {
        let Some(track) = self.table.get(index) else { return };
        let about = emit::about(track, at);
        out.push(Event::Tunnel(Box::new(Tunnel {
            about: About { uid: Uid::EMPTY, src: Endpoint { port: 0, ..about.src }, ..about },
            tunnel_type: "Tunnel::SOCKS".to_owned(),
            action: "Tunnel::DISCOVER".to_owned(),
        })));
    }

    /// Whether there is a packet inside.
    fn may_enter(&mut self, context: &Context, inner: Inner<'_>, on_wire: u32) -> bool {
        if context.depth >= tunnel::MAX_DEPTH {
            self.counters.tunnels_too_deep += 1;
            return false;
        }
        let Ok(frame) = link::decode(inner.link, inner.bytes) else { return false };
        let Payload::Ip(packet) = frame.payload else { return false };
        let header = (inner.bytes.len() - packet.len()) as u32;
        ip::decode(packet, on_wire.saturating_sub(header), false).is_ok()
    }

    fn enter(&mut self, context: &Context, inner: Inner<'_>, on_wire: u32, out: &mut Vec<Event>) {
        let context = Context { depth: context.depth + 1, ..*context };
        let taken = self.take(&context, inner.link, inner.bytes, on_wire, out);
        self.count_inner(taken);
        for frame in link::rest_of_aggregate(inner.link, inner.bytes) {
            let taken = self.take(&context, LinkType::Ethernet, frame, frame.len() as u32, out);
            self.count_inner(taken);
        }
    }

    fn count_inner(&mut self, taken: Result<(), Reject>) {
        match taken {
            Ok(()) => self.counters.tunnelled += 1,
            Err(_) => self.counters.tunnelled_rejected += 1,
        }
    }

    fn note_tunnel(&mut self, context: &Context, src: u128, dst: u128, kind: Wrapping, out: &mut Vec<Event>) {
        let (at, interface) = (context.at, context.interface);
        let (key, opened, counted) = (self.settings.key, self.counters.flows_opened, self.counters.tunnels);
        let hash = self.table.hash(&Key {
            src,
            dst,
            src_port: 0,
            dst_port: 0,
            proto: 47,
            kind: Kind::Other,
            tunnelled: false,
        });
        // numbers that no flow has
        let number = u64::MAX - counted - opened;
        let uid = || UidBits::derive(key, hash, at.0, number).print();
        let mut discovered = 0;
        self.tunnels.note(News { at, interface, src, dst, kind }, uid, &mut |tunnel| {
            discovered += u64::from(tunnel.action == "Tunnel::DISCOVER");
            out.push(Event::Tunnel(Box::new(tunnel)));
        });
        self.counters.tunnels += discovered;
        self.counters.tunnels_evicted = self.tunnels.evicted;
    }
}

/// The kind of tunnel that a flow is, as far as one datagram can tell.
fn wrapping_of(track: &Track, dir: Dir, datagram: &udp::Header<'_>) -> Option<Wrapping> {
    if let Some(kind) = track.tunnel.or(Wrapping::on_port(track.resp_port)) {
        return Some(kind);
    }
    let early = track.sides[dir as usize].volume.pkts <= TEREDO_LOOKS;
    let may_be = early && !track.recognition.is_any() && tunnel::is_teredo(datagram.payload);
    may_be.then_some(Wrapping::Teredo)
}

/// What is told of a tunnel that is a flow.
pub(super) fn tell(track: &Track, kind: Wrapping, at: PacketTime, action: &str) -> Event {
    Event::Tunnel(Box::new(Tunnel {
        about: emit::about(track, at),
        tunnel_type: kind.name().to_owned(),
        action: action.to_owned(),
    }))
}
