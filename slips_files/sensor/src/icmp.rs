//! ICMP and ICMPv6.

use crate::counters::Reject;
use crate::ip::Packet;
use crate::track::{Key, Kind};
use crate::wire::{be16, be32, be128, byte};

/// The type that answers a type (and is answered by it).
fn counterpart(v6: bool, kind: u8) -> Option<u8> {
    const V4: [(u8, u8); 5] = [(8, 0), (13, 14), (15, 16), (10, 9), (17, 18)];
    const V6: [(u8, u8); 6] = [(128, 129), (133, 134), (135, 136), (130, 131), (139, 140), (144, 145)];
    let pairs: &[(u8, u8)] = if v6 { &V6 } else { &V4 };
    pairs.iter().find_map(|&(ask, answer)| match kind {
        kind if kind == ask => Some(answer),
        kind if kind == answer => Some(ask),
        _ => None,
    })
}

/// The flow key of an ICMP message: types and codes stand where ports are.
pub(crate) fn key(packet: &Packet<'_>) -> Result<Key, Reject> {
    let head: &[u8; 8] = packet.payload.first_chunk().ok_or(Reject::Transport)?;
    let (kind, code) = (head[0], head[1]);
    let (dst_port, kind_of_flow) = match counterpart(packet.v6, kind) {
        Some(other) => (u16::from(other), Kind::IcmpTwoWay),
        None => (u16::from(code), Kind::IcmpOneWay),
    };
    Ok(Key {
        src: packet.src,
        dst: packet.dst,
        src_port: u16::from(kind),
        dst_port,
        proto: packet.proto,
        kind: kind_of_flow,
        tunnelled: false,
    })
}

/// The TCP or UDP flow that a "destination unreachable" refuses, in the direction of the refused packet.
pub(crate) fn refused(packet: &Packet<'_>) -> Option<Key> {
    let inner = packet.payload.get(8..)?;
    let (src, dst, proto, transport) = match (packet.v6, byte(packet.payload, 0)?) {
        (false, 3) => {
            let header_length = usize::from(byte(inner, 0)? & 15) * 4;
            let mapped = |at| be32(inner, at).map(|addr| 0xffff_0000_0000 | u128::from(addr));
            (mapped(12)?, mapped(16)?, byte(inner, 9)?, inner.get(header_length..)?)
        }
        (true, 1) => (be128(inner, 8)?, be128(inner, 24)?, byte(inner, 6)?, inner.get(40..)?),
        _ => return None,
    };
    let kind = match proto {
        6 => Kind::Tcp,
        17 => Kind::Udp,
        _ => return None,
    };
    Some(Key {
        src,
        dst,
        src_port: be16(transport, 0)?,
        dst_port: be16(transport, 2)?,
        proto,
        kind,
        tunnelled: false,
    })
}
