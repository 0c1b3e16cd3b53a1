//! IPv4 and IPv6 headers.

use crate::checksum;
use crate::counters::Reject;
use crate::wire::{be16, be32, be128, byte};

/// Where a fragment belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fragment {
    pub(crate) id: u32,
    pub(crate) offset: u32,
    pub(crate) more: bool,
}

/// An IP packet, taken apart. Addresses are 128 bits, IPv4 as mapped into IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Packet<'a> {
    pub(crate) src: u128,
    pub(crate) dst: u128,
    pub(crate) v6: bool,
    /// Transport protocol.
    pub(crate) proto: u8,
    /// Routers that it may still pass: the time to live of IPv4.
    pub(crate) hop_limit: u8,
    /// Length of the whole IP packet as its header says.
    pub(crate) length: u32,
    /// Length of the transport part as the header says; what was captured may be less.
    pub(crate) payload_length: u32,
    /// The captured transport part.
    pub(crate) payload: &'a [u8],
    pub(crate) fragment: Option<Fragment>,
}

/// `::ffff:0:0`: IPv4 addresses as IPv6 ones.
const MAPPED: u128 = 0xffff_0000_0000;

/// IPv6 extension headers that one packet may chain.
const MAX_EXTENSIONS: usize = 16;

/// Reads the IP header of `bytes`, of which `on_wire` bytes were on the wire (more than captured when the capture cut them).
pub(crate) fn decode(bytes: &[u8], on_wire: u32, verify: bool) -> Result<Packet<'_>, Reject> {
    match byte(bytes, 0).map(|first| first >> 4) {
        Some(4) => v4(bytes, on_wire, verify),
        Some(6) => v6(bytes, on_wire),
        _ => Err(Reject::IpHeader),
    }
}

fn v4(bytes: &[u8], on_wire: u32, verify: bool) -> Result<Packet<'_>, Reject> {
    let bad = Reject::IpHeader;
    let header: &[u8; 20] = bytes.first_chunk().ok_or(bad)?;
    let header_length = u32::from(header[0] & 15) * 4;
    let length = match u16::from_be_bytes([header[2], header[3]]) {
        // segmentation offload leaves the length to the card
        0 => on_wire,
        length => u32::from(length),
    };
    if header_length < 20 || length < header_length {
        return Err(bad);
    }
    if length > on_wire {
        return Err(Reject::IpTruncated);
    }
    let options_end = header_length as usize;
    if verify && !checksum::is_right(bytes.get(..options_end).ok_or(bad)?) {
        return Err(Reject::Checksum);
    }
    let end = bytes.len().min(length as usize);
    let flags = u16::from_be_bytes([header[6], header[7]]);
    let id = u32::from(u16::from_be_bytes([header[4], header[5]]));
    let fragment = (flags & 0x3fff != 0).then(|| Fragment {
        id,
        offset: u32::from(flags & 0x1fff) * 8,
        more: flags & 0x2000 != 0,
    });
    Ok(Packet {
        src: MAPPED | u128::from(be32(bytes, 12).ok_or(bad)?),
        dst: MAPPED | u128::from(be32(bytes, 16).ok_or(bad)?),
        v6: false,
        proto: header[9],
        hop_limit: header[8],
        length,
        payload_length: length - header_length,
        payload: bytes.get(options_end..end).ok_or(bad)?,
        fragment,
    })
}

fn v6(bytes: &[u8], on_wire: u32) -> Result<Packet<'_>, Reject> {
    let bad = Reject::IpHeader;
    let length = match be16(bytes, 4).ok_or(bad)? {
        // a jumbogram, or offloading
        0 => on_wire,
        length => 40 + u32::from(length),
    };
    if bytes.len() < 40 {
        return Err(bad);
    }
    if length > on_wire {
        return Err(Reject::IpTruncated);
    }
    let end = bytes.len().min(length as usize);
    let bytes = bytes.get(..end).ok_or(bad)?;
    let mut packet = Packet {
        src: be128(bytes, 8).ok_or(bad)?,
        dst: be128(bytes, 24).ok_or(bad)?,
        v6: true,
        proto: byte(bytes, 6).ok_or(bad)?,
        hop_limit: byte(bytes, 7).ok_or(bad)?,
        length,
        payload_length: 0,
        payload: &[],
        fragment: None,
    };
    let mut at = 40usize;
    for _ in 0..MAX_EXTENSIONS {
        let size = match packet.proto {
            // hop-by-hop, routing, destination options, mobility, HIP, shim6
            0 | 43 | 60 | 135 | 139 | 140 => (usize::from(byte(bytes, at + 1).ok_or(bad)?) + 1) * 8,
            51 => (usize::from(byte(bytes, at + 1).ok_or(bad)?) + 2) * 4,
            44 if packet.fragment.is_none() => {
                let flags = be16(bytes, at + 2).ok_or(bad)?;
                let found = Fragment {
                    id: be32(bytes, at + 4).ok_or(bad)?,
                    offset: u32::from(flags & 0xfff8),
                    more: flags & 1 != 0,
                };
                // an atomic fragment is a whole packet (RFC 6946)
                packet.fragment = (found.more || found.offset != 0).then_some(found);
                8
            }
            _ => break,
        };
        packet.proto = byte(bytes, at).ok_or(bad)?;
        at += size;
        if packet.fragment.is_some_and(|fragment| fragment.offset > 0) {
            break;
        }
    }
    packet.payload_length = length.checked_sub(at as u32).ok_or(bad)?;
    packet.payload = bytes.get(at..).ok_or(bad)?;
    Ok(packet)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extension_headers_are_walked() {
        let mut bytes = vec![0x60, 0, 0, 0, 0, 24, 0, 64];
        bytes.extend([1; 16]);
        bytes.extend([2; 16]);
        bytes.extend([60, 0, 0, 0, 0, 0, 0, 0]); // hop-by-hop, then destination options
        bytes.extend([17, 0, 0, 0, 0, 0, 0, 0]); // destination options, then UDP
        bytes.extend([0, 53, 0, 53, 0, 8, 0, 0]);
        let packet = decode(&bytes, 64, true).expect("packet");
        assert_eq!((packet.proto, packet.payload_length, packet.payload.len()), (17, 8, 8));
        for end in 0..bytes.len() {
            let _ = decode(&bytes[..end], 64, true);
        }
        assert_eq!(decode(&bytes, 63, true), Err(Reject::IpTruncated));
    }

    #[test]
    fn impossible_lengths_are_refused() {
        let mut bytes = [0u8; 40];
        bytes[0] = 0x44;
        bytes[3] = 40;
        assert_eq!(decode(&bytes, 40, false), Err(Reject::IpHeader));
        bytes[0] = 0x4f;
        assert_eq!(decode(&bytes, 40, false), Err(Reject::IpHeader));
        bytes[0] = 0x45;
        assert_eq!(decode(&bytes, 40, false).map(|p| p.payload_length), Ok(20));
        assert_eq!(decode(&bytes, 40, true), Err(Reject::Checksum));
        assert_eq!(decode(&bytes, 39, false), Err(Reject::IpTruncated));
    }
}
