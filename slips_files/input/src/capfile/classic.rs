//! pcap, as libpcap has written it since 1998, with its variants.

use slips_core::time::PacketTime;

use super::{MAX_PACKET, Order, Step};
use crate::blocks::Blocks;
use crate::report::Reason;

/// Length of the file's header.
const FILE_HEADER: usize = 24;
/// Length of a packet's header.
const HEADER: usize = 16;
/// Length of a packet's header in Kuznetzov's variant, which adds the interface and the protocol.
const LONG_HEADER: usize = 24;

/// A classic capture behind its header.
#[derive(Debug)]
pub(super) struct Classic {
    order: Order,
    /// Units of the fraction in a microsecond.
    per_micro: u32,
    header: usize,
    dlt: u32,
    /// Up to version 2.3 some writers swapped the two lengths.
    old: bool,
}

impl Classic {
    /// Reads the file's header; `None` when the file ends within it.
    pub(super) fn begin(blocks: &mut Blocks) -> Option<Self> {
        let header = blocks.fill(FILE_HEADER);
        let (order, per_micro, length) = match header.get(..4)? {
            [0xd4, 0xc3, 0xb2, 0xa1] => (Order::Little, 1, HEADER),
            [0xa1, 0xb2, 0xc3, 0xd4] => (Order::Big, 1, HEADER),
            [0x4d, 0x3c, 0xb2, 0xa1] => (Order::Little, 1000, HEADER),
            [0xa1, 0xb2, 0x3c, 0x4d] => (Order::Big, 1000, HEADER),
            [0x34, 0xcd, 0xb2, 0xa1] => (Order::Little, 1, LONG_HEADER),
            _ => (Order::Big, 1, LONG_HEADER),
        };
        let version = (order.u16(header, 4)?, order.u16(header, 6)?);
        // The upper half holds flags about frame check sequences.
        let dlt = order.u32(header, 20)? & 0xffff;
        blocks.cut(FILE_HEADER);
        Some(Self { order, per_micro, header: length, dlt, old: version <= (2, 3) })
    }

    /// What comes next.
    pub(super) fn step(&mut self, blocks: &mut Blocks) -> Step {
        let window = blocks.fill(self.header);
        if window.is_empty() {
            return Step::End;
        }
        let number = |at| self.order.u32(window, at);
        let (Some(secs), Some(fraction), Some(first), Some(second)) =
            (number(0), number(4), number(8), number(12))
        else {
            return Step::Broken(Reason::TruncatedCapture);
        };
        let (captured, wire_len) = if self.old && first > second { (second, first) } else { (first, second) };
        let captured = captured as usize;
        if captured > MAX_PACKET {
            return Step::Broken(Reason::BadBlockLength);
        }
        let length = self.header + captured;
        if blocks.fill(length).len() < length {
            return Step::Broken(Reason::TruncatedCapture);
        }
        let at = PacketTime::from_secs_micros(i64::from(secs), i64::from(fraction / self.per_micro));
        Step::Packet {
            dlt: self.dlt,
            interface: 0,
            at,
            from: self.header,
            captured,
            length,
            wire_len: wire_len.max(captured as u32),
        }
    }
}
