//! Numbers in network order, off the front of a datagram. Nothing is given that is not there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use slips_core::addr::canonical;

/// What is left of a datagram or a set.
#[derive(Clone, Copy)]
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl<'a> Bytes<'a> {
    /// The next `count` bytes.
    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.first_chunk().copied()
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn v4(&mut self) -> Option<IpAddr> {
        self.u32().map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits)))
    }
}

/// A number of one to eight bytes: exporters may shorten them.
pub(super) fn number(bytes: &[u8]) -> Option<u64> {
    (1..=8)
        .contains(&bytes.len())
        .then(|| bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

/// An address of either family, by its length.
pub(super) fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Bytes(bytes).v4(),
        16 => bytes.first_chunk().map(|bytes| canonical(IpAddr::V6(Ipv6Addr::from(*bytes)))),
        _ => None,
    }
}
