//! What to capture, and with how much memory.

use super::Newcomers;
use crate::filter::{PacketFilter, Share};

/// What to capture.
#[derive(Clone, Debug)]
pub struct CaptureSettings {
    /// Names of the interfaces, each once. Their order gives [`super::Frame::interface`].
    pub interfaces: Vec<String>,
    /// Also take frames that are not addressed to this host. A router sees what it forwards without it.
    pub promiscuous: bool,
    /// The part of the traffic that this capture takes when several share it, each with a thread of its own. `None`: all of it.
    ///
    /// The kernel picks the part by a filter and not by a fanout group: a group deals by its members' order, which an interface
    /// that comes back may change, and then a forwarded packet and its copy would reach two sensors and count twice.
    pub share: Option<Share>,
    /// Which frames the kernel hands over at all.
    pub filter: Option<PacketFilter>,
    /// Memory of each interface's ring.
    pub ring: RingSize,
    /// Memory for what no longer finds room in the ring, for a capture whose sockets outlive the process: see [`RingSize::spare`].
    pub spare: Option<RingSize>,
    /// Where interfaces are named that come later; `None`: nowhere, and there must be one now.
    pub newcomers: Option<Newcomers>,
    /// Memory of the interfaces for which no ring of that size was planned; `None`: they have the same.
    pub beyond: Option<Beyond>,
}

/// Memory of each interface after so many: see [`CaptureSettings::beyond`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beyond {
    /// So many have rings as the settings say, in the order of their numbers.
    pub planned: u16,
    /// As [`CaptureSettings::ring`].
    pub ring: RingSize,
    /// As [`CaptureSettings::spare`].
    pub spare: Option<RingSize>,
}

impl CaptureSettings {
    /// Everything on these interfaces, not promiscuous, with the default ring.
    pub fn new<S: Into<String>>(interfaces: impl IntoIterator<Item = S>) -> Self {
        Self {
            interfaces: interfaces.into_iter().map(Into::into).collect(),
            promiscuous: false,
            share: None,
            filter: None,
            ring: RingSize::default(),
            spare: None,
            newcomers: None,
            beyond: None,
        }
    }

    /// The ring of the interface with this number, counted from 1, and the one beside it.
    pub(super) fn rings(&self, number: u16) -> (RingSize, Option<RingSize>) {
        match self.beyond {
            Some(beyond) if number > beyond.planned => (beyond.ring, beyond.spare),
            _ => (self.ring, self.spare),
        }
    }
}

/// Memory of a ring. It is allocated at once and counts as ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingSize {
    blocks: u32,
    block_bytes: u32,
    retire_ms: u32,
}

impl RingSize {
    /// `blocks` (2 to 4096) of `block_bytes` (rounded up to a power of two, 64 KiB to 4 MiB); what is outside becomes the
    /// nearest that is not. A block that is not full is handed over after `retire_ms` (1 to 1000).
    ///
    /// A frame larger than a block is cut. Short timeouts hand over nearly empty blocks, so under a trickle the ring holds
    /// `blocks × retire_ms` of time, and under a flood `blocks × block_bytes` of frames with 80 to 96 bytes of header each.
    pub fn new(blocks: u32, block_bytes: u32, retire_ms: u32) -> Self {
        Self {
            blocks: blocks.clamp(2, 4096),
            block_bytes: block_bytes.clamp(1 << 16, 1 << 22).next_power_of_two(),
            retire_ms: retire_ms.clamp(1, 1000),
        }
    }

    /// A ring of so many bytes beside this one, which takes what finds no room in it. While nobody reads, this ring is soon full
    /// of nearly empty blocks; the other one waits with each block nearly as long as this ring lasts, and so holds seconds of a
    /// trickle. (Not longer: what a reader finds in the other one is older than what comes in anew, which waits for it meanwhile.)
    pub fn spare(self, bytes: u64) -> Self {
        let blocks = u32::try_from(bytes / u64::from(self.block_bytes)).unwrap_or(u32::MAX);
        let lasts = self.blocks.saturating_mul(self.retire_ms);
        Self::new(blocks.max(8), self.block_bytes, (lasts / 4 * 3).clamp(10, 100))
    }

    /// Number of blocks.
    pub const fn blocks(self) -> u32 {
        self.blocks
    }

    /// Bytes of one block.
    pub const fn block_bytes(self) -> u32 {
        self.block_bytes
    }

    /// Milliseconds until a block is handed over that is not full.
    pub const fn retire_ms(self) -> u32 {
        self.retire_ms
    }
}

impl Default for RingSize {
    /// 8 MiB: 64 blocks of 128 KiB, which take a 64 KiB offload frame; handed over after 2 ms.
    fn default() -> Self {
        Self { blocks: 64, block_bytes: 128 << 10, retire_ms: 2 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_is_never_larger_or_smaller_than_told() {
        for (given, got) in [
            ((0, 0, 0), (2, 1 << 16, 1)),
            ((64, 100_000, 2), (64, 1 << 17, 2)),
            ((u32::MAX, u32::MAX, u32::MAX), (4096, 1 << 22, 1000)),
        ] {
            let size = RingSize::new(given.0, given.1, given.2);
            assert_eq!((size.blocks(), size.block_bytes(), size.retire_ms()), got);
        }
        let default = RingSize::default();
        assert_eq!(default, RingSize::new(default.blocks, default.block_bytes, default.retire_ms));
    }
}
