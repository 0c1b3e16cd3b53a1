//! The numbers of a record, in the byte order of the machine that wrote the file.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use slips_core::addr::canonical;
use slips_core::flow::MacAddr;
use slips_core::time::PacketTime;

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
