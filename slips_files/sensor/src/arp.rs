//! ARP requests and replies.

use std::net::{IpAddr, Ipv4Addr};

use slips_core::event::{Arp, ArpOp};
use slips_core::time::PacketTime;

use crate::counters::Reject;
use crate::link::Frame;
use crate::wire::{be16, be32, mac};

/// Reads an ARP packet about Ethernet and IPv4.
pub(crate) fn decode(
    frame: &Frame<'_>,
    packet: &[u8],
    at: PacketTime,
    interface: u16,
) -> Result<Arp, Reject> {
    // hardware Ethernet, protocol IPv4, their address lengths
    if packet.get(..6) != Some(&[0, 1, 8, 0, 6, 4]) {
        return Err(Reject::Arp);
    }
    let op = match be16(packet, 6) {
        Some(1) => ArpOp::Request,
        Some(2) => ArpOp::Reply,
        _ => return Err(Reject::Arp),
    };
    let addr = |at| be32(packet, at).map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits))).ok_or(Reject::Arp);
    let hardware = |at| mac(packet, at).ok_or(Reject::Arp);
    let sender_mac = hardware(8)?;
    Ok(Arp {
        at,
        op,
        frame_src: frame.src.unwrap_or(sender_mac),
        frame_dst: frame.dst.unwrap_or(slips_core::flow::MacAddr::BROADCAST),
        sender: addr(14)?,
        sender_mac,
        target: addr(24)?,
        target_mac: hardware(18)?,
        interface,
    })
}
