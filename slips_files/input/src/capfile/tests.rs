use std::io::{Cursor, Read};
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::sniff;

/// A packet as the tests write it down: link type, interface, microseconds, bytes, length on the wire.
type Seen = (u32, u16, i64, Vec<u8>, u32);

fn read(bytes: &[u8]) -> Option<(Vec<Seen>, Vec<Reason>)> {
    let reader: Box<dyn Read + Send> = Box::new(Cursor::new(bytes.to_vec()));
    let progress = Progress::of(None);
    let stream = stream::from_reader(Path::new("test"), reader, &progress.done, u64::MAX).ok()?;
    let mut file = CaptureFile::from_stream(Path::new("test"), stream, progress).ok()?;
    let mut packets = Vec::new();
    while let Some(packet) = file.next_packet().expect("memory does not fail") {
        packets.push((packet.dlt, packet.interface, packet.at.0, packet.captured.to_vec(), packet.wire_len));
    }
    let report = file.report();
    assert_eq!(report.records, packets.len() as u64);
    let reasons = report.rejected.iter().flat_map(|(reason, count)| vec![*reason; *count as usize]).collect();
    Some((packets, reasons))
}

/// Writes numbers in one byte order.
struct Writer {
    order: Order,
    bytes: Vec<u8>,
}

impl Writer {
    fn u16(mut self, number: u16) -> Self {
        self.bytes.extend(if self.order == Order::Little {
            number.to_le_bytes()
        } else {
            number.to_be_bytes()
        });
        self
    }

    fn u32(mut self, number: u32) -> Self {
        self.bytes.extend(if self.order == Order::Little {
            number.to_le_bytes()
        } else {
            number.to_be_bytes()
        });
        self
    }

    fn raw(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend(bytes);
        self
    }

    /// A pcapng block around `body`, padded.
    fn block(self, kind: u32, body: impl FnOnce(Self) -> Self) -> Self {
        let order = self.order;
        let mut body = body(Self { order, bytes: Vec::new() }).bytes;
        body.resize(body.len().next_multiple_of(4), 0);
        let length = body.len() as u32 + 12;
        self.u32(kind).u32(length).raw(&body).u32(length)
    }
}

fn pcap(order: Order, magic: u32, dlt: u32) -> Writer {
    Writer { order, bytes: Vec::new() }.u32(magic).u16(2).u16(4).u32(0).u32(0).u32(65535).u32(dlt)
}

fn section(order: Order) -> Writer {
    Writer { order, bytes: Vec::new() }
        .block(SECTION, |body| body.u32(0x1a2b_3c4d).u16(1).u16(0).u32(u32::MAX).u32(u32::MAX))
}

const SECTION: u32 = 0x0a0d_0d0a;

#[test]
fn pcap_of_both_orders_and_all_resolutions() {
    for order in [Order::Little, Order::Big] {
        for (magic, fraction, extra) in
            [(0xa1b2_c3d4, 123_456, 0), (0xa1b2_3c4d, 123_456_789, 0), (0xa1b2_cd34, 123_456, 8)]
        {
            let bytes = pcap(order, magic, 0xf000_0001)
                .u32(1_700_000_000)
                .u32(fraction)
                .u32(3)
                .u32(60)
                .raw(&[0; 8][..extra])
                .raw(b"abc")
                .u32(4_000_000_000)
                .u32(0)
                .u32(0)
                .u32(0)
                .raw(&[0; 8][..extra])
                .bytes;
            let first = (1, 0, 1_700_000_000_123_456, b"abc".to_vec(), 60);
            let second = (1, 0, 4_000_000_000_000_000, Vec::new(), 0);
            assert_eq!(read(&bytes), Some((vec![first, second], vec![])), "{order:?} {magic:x}");
        }
    }
}

#[test]
fn a_truncated_pcap_gives_what_is_there() {
    let whole = pcap(Order::Little, 0xa1b2_c3d4, 1).u32(1).u32(0).u32(2).u32(2).raw(b"ab");
    let bytes = whole.u32(2).u32(0).u32(2).u32(2).raw(b"cd").bytes;
    for (length, packets, reasons) in [
        (bytes.len(), 2, vec![]),
        (bytes.len() - 1, 1, vec![Reason::TruncatedCapture]),
        (bytes.len() - 10, 1, vec![Reason::TruncatedCapture]),
        (24 + 18, 1, vec![]),
        (24, 0, vec![]),
    ] {
        let (seen, rejected) = read(&bytes[..length]).expect("a capture");
        assert_eq!((seen.len(), rejected), (packets, reasons), "{length}");
    }
    assert_eq!(read(&bytes[..23]), None);
}

#[test]
fn an_impossible_length_ends_the_file() {
    let bytes =
        pcap(Order::Big, 0xa1b2_c3d4, 1).u32(1).u32(0).u32(300_000).u32(2).raw(&vec![0; 400_000]).bytes;
    assert_eq!(read(&bytes), Some((vec![], vec![Reason::BadBlockLength])));
}

#[test]
fn old_files_with_swapped_lengths() {
    let mut bytes = pcap(Order::Little, 0xa1b2_c3d4, 1).u32(1).u32(0).u32(60).u32(2).raw(b"ab").bytes;
    bytes[6] = 3;
    assert_eq!(read(&bytes).map(|(seen, _)| (seen[0].3.clone(), seen[0].4)), Some((b"ab".to_vec(), 60)));
}

#[test]
fn pcapng_with_several_interfaces_and_clocks() {
    for order in [Order::Little, Order::Big] {
        let ticks = 1_700_000_000_123_456_789u64;
        let bytes = section(order)
            .block(1, |body| body.u16(1).u16(0).u32(0))
            .block(1, |body| {
                body.u16(101)
                    .u16(0)
                    .u32(2)
                    .u16(2)
                    .u16(3)
                    .raw(b"eth\0")
                    .u16(9)
                    .u16(1)
                    .raw(&[9, 0, 0, 0])
                    .u16(0)
                    .u16(0)
            })
            .block(4, |body| body.raw(b"names that nobody asks for"))
            .block(6, |body| {
                body.u32(1).u32((ticks >> 32) as u32).u32(ticks as u32).u32(3).u32(70).raw(b"xyz")
            })
            .block(2, |body| body.u16(0).u16(7).u32(0).u32(2_000_000).u32(1).u32(1).raw(b"p"))
            .block(3, |body| body.u32(4).raw(b"abcd"))
            .bytes;
        let expected = vec![
            (101, 1, 1_700_000_000_123_456, b"xyz".to_vec(), 70),
            (1, 0, 2_000_000, b"p".to_vec(), 1),
            (1, 0, 2_000_000, b"abcd".to_vec(), 4),
        ];
        assert_eq!(read(&bytes), Some((expected, vec![])), "{order:?}");
    }
}

#[test]
fn a_section_may_change_the_byte_order_and_forgets_the_interfaces() {
    let first = section(Order::Little).block(1, |body| body.u16(1).u16(0).u32(0)).bytes;
    let second = section(Order::Big)
        .block(6, |body| body.u32(0).u32(0).u32(0).u32(0).u32(0))
        .block(1, |body| body.u16(113).u16(0).u32(0).u16(14).u16(8).u32(0).u32(100))
        .block(6, |body| body.u32(0).u32(0).u32(5).u32(0).u32(0))
        .bytes;
    let expected = vec![(113, 0, 100_000_005, Vec::new(), 0)];
    assert_eq!(read(&[first, second].concat()), Some((expected, vec![Reason::UnknownInterface])));
}

#[test]
fn broken_blocks_are_counted() {
    let start = || section(Order::Little).block(1, |body| body.u16(1).u16(0).u32(0));
    let packet = |body: Writer| body.u32(0).u32(0).u32(0).u32(0).u32(0);
    for (bytes, packets, reason) in [
        // More captured bytes than the block has; the next packet is still found.
        (
            start().block(6, |b| b.u32(0).u32(0).u32(0).u32(9).u32(9)).block(6, packet).bytes,
            1,
            Reason::BadBlock,
        ),
        (start().block(6, |b| b.u32(0)).block(6, packet).bytes, 1, Reason::BadBlock),
        (start().block(6, |b| b.raw(&vec![0; 2 << 20])).block(6, packet).bytes, 1, Reason::BadBlockLength),
        (start().u32(6).u32(8).raw(&[0; 40]).bytes, 0, Reason::BadBlockLength),
        (start().u32(6).u32(33).raw(&[0; 40]).bytes, 0, Reason::BadBlockLength),
        (start().u32(6).u32(32).raw(&[0; 40]).bytes, 0, Reason::BadBlockLength),
        (start().u32(99).u32(u32::MAX - 3).raw(&[0; 40]).bytes, 0, Reason::TruncatedCapture),
        (start().u32(6).u32(64).raw(&[0; 40]).bytes, 0, Reason::TruncatedCapture),
        (start().u32(6).bytes, 0, Reason::TruncatedCapture),
        (start().u32(SECTION).u32(28).raw(&[7; 40]).bytes, 0, Reason::BadBlock),
    ] {
        let (seen, reasons) = read(&bytes).expect("a capture");
        assert_eq!((seen.len(), reasons), (packets, vec![reason]));
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(
        magic in prop::sample::select(vec![0xa1b2_c3d4u32, 0xa1b2_3c4d, 0xa1b2_cd34]),
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let _ = read(&[&pcap(Order::Little, magic, 1).bytes[..], &bytes].concat());
        let _ = read(&[&section(Order::Big).bytes[..], &bytes].concat());
        let _ = sniff::look(&bytes);
    }

    #[test]
    fn damaged_blocks_never_panic(at in 28usize..200, value: u8, cut in 0usize..200) {
        let packet = |body: Writer| body.u32(0).u32(1).u32(2).u32(8).u32(8).raw(b"12345678");
        let mut bytes = section(Order::Little)
            .block(1, |body| body.u16(1).u16(0).u32(0).u16(9).u16(1).raw(&[6, 0, 0, 0]))
            .block(6, packet)
            .block(3, |body| body.u32(4).raw(b"abcd"))
            .block(6, packet)
            .bytes;
        if let Some(byte) = bytes.get_mut(at) {
            *byte = value;
        }
        bytes.truncate(bytes.len().saturating_sub(cut));
        let _ = read(&bytes);
    }
}
