//! ARP requests and replies.

use std::net::{IpAddr, Ipv4Addr};

use slips_core::event::{Arp, ArpOp};
use slips_core::time::{PacketTime, Span};

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

/// Frames that are remembered.
const RECENT: usize = 64;
/// A bridge forwards within this time.
const FORWARDED_WITHIN: Span = Span::from_secs(1);

/// The latest ARP frames, so that one that a bridge forwards between two captured interfaces counts once.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    frames: Vec<Arp>,
    next: usize,
}

impl Recent {
    /// Whether `arp` was seen on another interface just before. Remembers it if not.
    pub(crate) fn is_copy(&mut self, arp: &Arp) -> bool {
        let same = |seen: &Arp| {
            seen.interface != arp.interface
                && arp.at.since(seen.at).max(seen.at.since(arp.at)) <= FORWARDED_WITHIN
                && Arp { at: arp.at, interface: arp.interface, ..*seen } == *arp
        };
        if self.frames.iter().any(same) {
            return true;
        }
        match self.frames.get_mut(self.next) {
            Some(slot) => *slot = *arp,
            None => self.frames.push(*arp),
        }
        self.next = (self.next + 1) % RECENT;
        false
    }
}
