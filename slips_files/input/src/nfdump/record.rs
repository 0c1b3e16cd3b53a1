//! What one record tells: one direction of a conversation. Numbers are in the byte order of the machine that wrote the file.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use slips_core::addr::canonical;
use slips_core::flow::{Endpoint, MacAddr, Proto};
use slips_core::time::PacketTime;

use crate::flowlog::state::Flags;
use crate::flowlog::transport;

/// One direction, perhaps with the counters of the other (where nfdump put the two together).
#[derive(Clone, Copy, Debug)]
pub(super) struct Half {
    pub(super) start: PacketTime,
    pub(super) end: PacketTime,
    pub(super) src: Endpoint,
    pub(super) dst: Endpoint,
    pub(super) proto: Proto,
    pub(super) flags: Flags,
    pub(super) pkts: u64,
    pub(super) bytes: u64,
    pub(super) out_pkts: u64,
    pub(super) out_bytes: u64,
    pub(super) src_mac: Option<MacAddr>,
    pub(super) dst_mac: Option<MacAddr>,
    pub(super) vlan: Option<u16>,
}

impl Half {
    /// Of the protocol's number and the two ports as written; the destination port of ICMP is type and code.
    pub(super) fn new(src: IpAddr, dst: IpAddr, number: u8, ports: (u16, u16)) -> Self {
        let proto = transport::by_number(number);
        let (from, to) = match proto {
            Proto::Icmp => {
                let (kind, code) = (ports.1 >> 8, ports.1 & 0xff);
                (kind, transport::icmp_counterpart(kind, code))
            }
            _ => ports,
        };
        Self {
            start: PacketTime(0),
            end: PacketTime(0),
            src: Endpoint { addr: src, port: from },
            dst: Endpoint { addr: dst, port: to },
            proto,
            flags: Flags::default(),
            pkts: 0,
            bytes: 0,
            out_pkts: 0,
            out_bytes: 0,
            src_mac: None,
            dst_mac: None,
            vlan: None,
        }
    }
}

fn at<const N: usize>(bytes: &[u8], from: usize) -> Option<[u8; N]> {
    bytes.get(from..)?.first_chunk().copied()
}

pub(super) fn u16_at(bytes: &[u8], from: usize) -> Option<u16> {
    at(bytes, from).map(u16::from_le_bytes)
}

pub(super) fn u32_at(bytes: &[u8], from: usize) -> Option<u32> {
    at(bytes, from).map(u32::from_le_bytes)
}

pub(super) fn u64_at(bytes: &[u8], from: usize) -> Option<u64> {
    at(bytes, from).map(u64::from_le_bytes)
}

/// A number of four bytes, or of eight.
pub(super) fn count_at(bytes: &[u8], from: usize, long: bool) -> Option<u64> {
    if long { u64_at(bytes, from) } else { u32_at(bytes, from).map(u64::from) }
}

/// An IPv4 address, kept as one number.
pub(super) fn v4_at(bytes: &[u8], from: usize) -> Option<IpAddr> {
    u32_at(bytes, from).map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits)))
}

/// An IPv6 address, kept as two numbers.
pub(super) fn v6_at(bytes: &[u8], from: usize) -> Option<IpAddr> {
    let (high, low) = (u64_at(bytes, from)?, u64_at(bytes, from + 8)?);
    Some(canonical(IpAddr::V6(Ipv6Addr::from_bits(u128::from(high) << 64 | u128::from(low)))))
}

/// A hardware address, kept in the low six bytes of a number; zero stands for none.
pub(super) fn mac_at(bytes: &[u8], from: usize) -> Option<MacAddr> {
    let [.., a, b, c, d, e, f] = u64_at(bytes, from)?.to_be_bytes();
    Some(MacAddr([a, b, c, d, e, f])).filter(|mac| *mac != MacAddr::ZERO)
}

/// Milliseconds since the epoch.
pub(super) fn millis(millis: u64) -> PacketTime {
    PacketTime(i64::try_from(millis).unwrap_or(i64::MAX).saturating_mul(1000))
}
