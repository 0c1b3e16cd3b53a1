//! Long headers (RFC 8999, RFC 9000, section 17.2) and what packets are made of.

use super::version::{Kind, Version};
use crate::wire::be32;

/// The rest of a packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wire<'a>(pub(super) &'a [u8]);

impl<'a> Wire<'a> {
    pub(super) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    pub(super) fn take(&mut self, length: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(usize::try_from(length).ok()?)?;
        self.0 = rest;
        Some(taken)
    }

    /// A number of variable length (RFC 9000, section 16).
    pub(super) fn number(&mut self) -> Option<u64> {
        let first = self.byte()?;
        let more = self.take((1 << (first >> 6)) - 1)?;
        Some(more.iter().fold(u64::from(first & 0x3f), |sum, byte| sum << 8 | u64::from(*byte)))
    }
}

/// What every version says in a long header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Invariant<'a> {
    pub(super) first: u8,
    pub(super) version: u32,
    pub(super) destination: &'a [u8],
    pub(super) source: &'a [u8],
    /// Bytes up to here.
    length: usize,
}

impl<'a> Invariant<'a> {
    pub(super) fn decode(packet: &'a [u8]) -> Option<Self> {
        let first = *packet.first()?;
        let version = be32(packet, 1)?;
        let mut wire = Wire(packet.get(5..)?);
        let length = wire.byte()?;
        let destination = wire.take(length.into())?;
        let length = wire.byte()?;
        let source = wire.take(length.into())?;
        Some(Self { first, version, destination, source, length: packet.len() - wire.0.len() })
    }
}

/// A packet with a long header of a known version.
#[derive(Clone, Copy, Debug)]
pub(super) struct Long<'a> {
    pub(super) kind: Kind,
    /// The whole packet, without those behind it in the datagram.
    pub(super) packet: &'a [u8],
    /// Where its protected packet number begins.
    pub(super) number_at: usize,
    /// What is behind it.
    pub(super) rest: &'a [u8],
}

impl<'a> Long<'a> {
    pub(super) fn decode(packet: &'a [u8], invariant: &Invariant<'a>, version: Version) -> Option<Self> {
        let kind = version.kind(invariant.first);
        if kind == Kind::Retry {
            return Some(Self { kind, packet, number_at: packet.len(), rest: &[] });
        }
        let mut wire = Wire(packet.get(invariant.length..)?);
        if kind == Kind::Initial {
            let token = wire.number()?;
            wire.take(token)?;
        }
        let length = wire.number()?;
        let number_at = packet.len() - wire.0.len();
        wire.take(length)?;
        let (packet, rest) = packet.split_at_checked(packet.len() - wire.0.len())?;
        Some(Self { kind, packet, number_at, rest })
    }
}
