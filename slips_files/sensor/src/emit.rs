//! From tracked flows to events.

use std::net::{IpAddr, Ipv6Addr};

use slips_core::event::About;
use slips_core::flow::{ConnState, Endpoint, Flow, Origin, Phase, Proto, Volume};
use slips_core::time::{PacketTime, Span};

use crate::tcp;
use crate::track::{Dir, Kind, Track};

/// An address from its 128 bits.
pub(crate) fn address(bits: u128) -> IpAddr {
    Ipv6Addr::from_bits(bits).to_canonical()
}

fn proto(track: &Track) -> Proto {
    match track.kind {
        Kind::Tcp => Proto::Tcp,
        Kind::Udp => Proto::Udp,
        Kind::IcmpTwoWay | Kind::IcmpOneWay => Proto::Icmp,
        Kind::Other => Proto::Other(track.proto),
    }
}

fn ends(track: &Track) -> (Endpoint, Endpoint) {
    (
        Endpoint { addr: address(track.orig), port: track.orig_port },
        Endpoint { addr: address(track.resp), port: track.resp_port },
    )
}

/// Zeek's state of a flow as of now.
pub(crate) fn state(track: &Track) -> ConnState {
    let [orig, resp] = &track.sides;
    match track.kind {
        Kind::Tcp => tcp::conn_state(&orig.tcp, &resp.tcp, &track.letters),
        Kind::Udp => match (orig.volume.pkts > 0, resp.volume.pkts > 0) {
            (true, true) => ConnState::SF,
            (true, false) => ConnState::S0,
            (false, true) => ConnState::Shr,
            (false, false) => ConnState::Oth,
        },
        _ => ConnState::Oth,
    }
}

/// What a protocol record of this flow says about when and between whom.
pub(crate) fn about(track: &Track, at: PacketTime) -> About {
    let (src, dst) = ends(track);
    let (uid, interface, heard) = (track.uid.print(), track.interface, heard(track));
    let [orig, _] = &track.sides;
    let src_mac = orig.mac;
    About { at, uid, src, dst, proto: proto(track), interface, heard, tunnelled: track.tunnelled, src_mac }
}

fn minus(a: Volume, b: Volume) -> Volume {
    Volume {
        pkts: a.pkts.saturating_sub(b.pkts),
        bytes: a.bytes.saturating_sub(b.bytes),
        ip_bytes: a.ip_bytes.saturating_sub(b.ip_bytes),
    }
}

/// What was told never shrinks, although a TCP size may (a FIN's sequence number turns out not to be data).
fn at_least(a: Volume, b: Volume) -> Volume {
    Volume { pkts: a.pkts.max(b.pkts), bytes: a.bytes.max(b.bytes), ip_bytes: a.ip_bytes.max(b.ip_bytes) }
}

/// Whether the originator acknowledged bytes that the responder really sent.
fn heard(track: &Track) -> bool {
    if track.kind != Kind::Tcp {
        return true;
    }
    let end = track.end(Dir::Resp);
    let acknowledged = end.ack.wrapping_sub(end.start);
    acknowledged >= 1 && acknowledged <= end.last.wrapping_sub(end.start)
}

/// Tells of a flow, and notes what was told.
pub(crate) fn flow(track: &mut Track, phase: Phase, seen: PacketTime) -> Flow {
    let (orig, resp) = (track.volume(Dir::Orig), track.volume(Dir::Resp));
    let (src, dst) = ends(track);
    let duration = track.last.since(track.first);
    let [orig_side, resp_side] = &mut track.sides;
    let (orig_new, resp_new) = (minus(orig, orig_side.told), minus(resp, resp_side.told));
    orig_side.told = at_least(orig, orig_side.told);
    resp_side.told = at_least(resp, resp_side.told);
    let (src_mac, dst_mac) = (orig_side.mac, resp_side.mac);
    track.told_at = seen;
    track.told_packets = orig.pkts + resp.pkts;
    Flow {
        start: track.first,
        seen,
        duration: (duration > Span(0)).then_some(duration),
        uid: track.uid.print(),
        src,
        dst,
        proto: proto(track),
        phase,
        origin: Origin::Sensor,
        state: state(track),
        history: track.letters.text(),
        service: track.recognition.text(),
        orig,
        resp,
        orig_new,
        resp_new,
        missed_bytes: track.missed,
        heard: heard(track),
        tunnelled: track.tunnelled,
        bare_syn: track.end(Dir::Orig).bare_syn,
        src_mac,
        dst_mac,
        vlan: track.vlan,
        interface: track.interface,
        truth: None,
    }
}
