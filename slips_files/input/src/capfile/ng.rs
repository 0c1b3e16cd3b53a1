//! pcapng (draft-ietf-opsawg-pcapng): sections of blocks, several interfaces, each with its own clock.

use slips_core::time::PacketTime;

use super::{MAX_PACKET, Order, Step};
use crate::blocks::Blocks;
use crate::report::Reason;

/// A block longer than this is skipped: the longest packet and its options need less.
const MAX_BLOCK: usize = 1 << 20;
/// A section describes no more interfaces than this.
const MAX_INTERFACES: usize = 4096;

const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const OLD_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const PACKET: u32 = 6;

const OPTION_END: u16 = 0;
const IF_TSRESOL: u16 = 9;
const IF_TSOFFSET: u16 = 14;

/// A pcapng capture.
#[derive(Debug, Default)]
pub(super) struct Ng {
    order: Order,
    interfaces: Vec<Interface>,
    /// The time of the last packet that had one; simple packets have none.
    last: PacketTime,
}

#[derive(Clone, Copy, Debug)]
struct Interface {
    dlt: u32,
    snaplen: u32,
    clock: Clock,
    /// Seconds to add to each stamp.
    offset: i64,
}

/// Ticks of an interface's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Clock {
    Micros,
    Nanos,
    /// So many a second.
    PerSecond(u128),
}

impl Clock {
    /// From `if_tsresol`: a negative power of ten, or with the top bit of two.
    fn from_resolution(resolution: u8) -> Self {
        let exponent = u32::from(resolution & 0x7f);
        match resolution {
            6 => Self::Micros,
            9 => Self::Nanos,
            0..0x80 => Self::PerSecond(10u128.checked_pow(exponent).unwrap_or(u128::MAX)),
            _ => Self::PerSecond(1u128.checked_shl(exponent).unwrap_or(u128::MAX)),
        }
    }

    fn micros(self, ticks: u64) -> i64 {
        let micros = match self {
            Self::Micros => u128::from(ticks),
            Self::Nanos => u128::from(ticks / 1000),
            Self::PerSecond(per_second) => u128::from(ticks) * 1_000_000 / per_second.max(1),
        };
        i64::try_from(micros).unwrap_or(i64::MAX)
    }
}

impl Ng {
    /// What comes next.
    pub(super) fn step(&mut self, blocks: &mut Blocks) -> Step {
        let window = blocks.fill(12);
        if window.is_empty() {
            return Step::End;
        }
        if window.len() < 12 {
            return Step::Broken(Reason::TruncatedCapture);
        }
        let kind = self.order.u32(window, 0).unwrap_or(0);
        // A section's mark reads the same in both byte orders; what follows it tells which it is.
        if kind == SECTION {
            self.order = match window.get(8..12) {
                Some([0x4d, 0x3c, 0x2b, 0x1a]) => Order::Little,
                Some([0x1a, 0x2b, 0x3c, 0x4d]) => Order::Big,
                _ => return Step::Broken(Reason::BadBlock),
            };
            self.interfaces.clear();
        }
        let length = self.order.u32(window, 4).unwrap_or(0) as usize;
        if length < 12 || !length.is_multiple_of(4) {
            return Step::Broken(Reason::BadBlockLength);
        }
        let known = matches!(kind, SECTION | INTERFACE | OLD_PACKET | SIMPLE_PACKET | PACKET);
        if !known || length > MAX_BLOCK {
            return match blocks.skip(length as u64) {
                false => Step::Broken(Reason::TruncatedCapture),
                true if known => Step::Reject(Reason::BadBlockLength),
                true => Step::Other,
            };
        }
        let Some(block) = blocks.fill(length).get(..length) else {
            return Step::Broken(Reason::TruncatedCapture);
        };
        if self.order.u32(block, length - 4) != Some(length as u32) {
            return Step::Broken(Reason::BadBlockLength);
        }
        let step = match kind {
            INTERFACE => self.interface(block),
            PACKET | OLD_PACKET => self.packet(block, kind),
            SIMPLE_PACKET => self.simple_packet(block),
            _ => Step::Other,
        };
        if !matches!(step, Step::Packet { .. }) {
            blocks.cut(length);
        }
        step
    }

    fn interface(&mut self, block: &[u8]) -> Step {
        let (Some(dlt), Some(snaplen)) = (self.order.u16(block, 8), self.order.u32(block, 12)) else {
            return Step::Broken(Reason::BadBlock);
        };
        if self.interfaces.len() >= MAX_INTERFACES {
            return Step::Reject(Reason::UnknownInterface);
        }
        let mut interface = Interface { dlt: u32::from(dlt), snaplen, clock: Clock::Micros, offset: 0 };
        let mut options = block.get(16..block.len().saturating_sub(4)).unwrap_or(&[]);
        while let (Some(code), Some(length)) = (self.order.u16(options, 0), self.order.u16(options, 2)) {
            let length = usize::from(length);
            let Some(value) = options.get(4..4 + length) else { break };
            match (code, value) {
                (OPTION_END, _) => break,
                (IF_TSRESOL, [resolution, ..]) => interface.clock = Clock::from_resolution(*resolution),
                (IF_TSOFFSET, value) => interface.offset = self.offset(value).unwrap_or(0),
                _ => {}
            }
            options = options.get(4 + length.next_multiple_of(4)..).unwrap_or(&[]);
        }
        self.interfaces.push(interface);
        Step::Other
    }

    fn offset(&self, value: &[u8]) -> Option<i64> {
        let (first, second) = (self.order.u32(value, 0)?, self.order.u32(value, 4)?);
        let (low, high) = match self.order {
            Order::Little => (first, second),
            Order::Big => (second, first),
        };
        Some((u64::from(high) << 32 | u64::from(low)) as i64)
    }

    fn packet(&mut self, block: &[u8], kind: u32) -> Step {
        let number = |at| self.order.u32(block, at);
        let index = if kind == PACKET { number(8) } else { self.order.u16(block, 8).map(u32::from) };
        let (Some(index), Some(high), Some(low), Some(captured), Some(wire_len)) =
            (index, number(12), number(16), number(20), number(24))
        else {
            return Step::Reject(Reason::BadBlock);
        };
        let Some(interface) = self.interfaces.get(index as usize) else {
            return Step::Reject(Reason::UnknownInterface);
        };
        let ticks = u64::from(high) << 32 | u64::from(low);
        let micros = interface.clock.micros(ticks);
        self.last = PacketTime(micros.saturating_add(interface.offset.saturating_mul(1_000_000)));
        self.found(block, interface.dlt, index, 28, captured as usize, wire_len)
    }

    fn simple_packet(&self, block: &[u8]) -> Step {
        let Some(wire_len) = self.order.u32(block, 8) else { return Step::Reject(Reason::BadBlock) };
        let Some(interface) = self.interfaces.first() else { return Step::Reject(Reason::UnknownInterface) };
        let snaplen = if interface.snaplen == 0 { u32::MAX } else { interface.snaplen };
        self.found(block, interface.dlt, 0, 12, wire_len.min(snaplen) as usize, wire_len)
    }

    fn found(&self, block: &[u8], dlt: u32, index: u32, from: usize, captured: usize, wire_len: u32) -> Step {
        let room = block.len().saturating_sub(from + 4);
        let (Ok(interface), true) = (u16::try_from(index), captured <= room && captured <= MAX_PACKET) else {
            return Step::Reject(Reason::BadBlock);
        };
        let wire_len = wire_len.max(captured as u32);
        Step::Packet { dlt, interface, at: self.last, from, captured, length: block.len(), wire_len }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_resolution_becomes_microseconds() {
        for (resolution, ticks, micros) in [
            (6, 1_700_000_000_123_456, 1_700_000_000_123_456),
            (9, 1_700_000_000_123_456_789, 1_700_000_000_123_456),
            (0, 1_700_000_000, 1_700_000_000_000_000),
            (3, 1_700_000_000_123, 1_700_000_000_123_000),
            (0x80, 5, 5_000_000),
            (0x81, 5, 2_500_000),
            (0x80 | 20, 3 << 20, 3_000_000),
            (127, u64::MAX, 0),
            (0xff, u64::MAX, 0),
            (0, u64::MAX, i64::MAX),
        ] {
            assert_eq!(Clock::from_resolution(resolution).micros(ticks), micros, "{resolution} {ticks}");
        }
    }
}
