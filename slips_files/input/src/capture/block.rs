//! Reads the frames out of a block of the ring. Plain bytes in, frames out; what does not add up ends the block and is counted.

use std::mem::offset_of;

/// One frame as it lies in a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RawFrame<'a> {
    /// Seconds since the Unix epoch.
    pub seconds: u32,
    /// Nanoseconds of that second.
    pub nanos: u32,
    /// Length on the wire.
    pub wire_len: u32,
    /// `TP_STATUS_…` bits.
    pub status: u32,
    /// The VLAN tag that the kernel took off, where `status` says so.
    pub vlan_tci: u32,
    /// Ethernet protocol number.
    pub protocol: u16,
    /// `PACKET_HOST`, `PACKET_OUTGOING` …
    pub packet_type: u8,
    /// The bytes.
    pub data: &'a [u8],
}

/// The frames of a block, in order.
#[derive(Clone, Debug)]
pub(super) struct Frames<'a> {
    block: &'a [u8],
    at: usize,
    left: u32,
}

impl<'a> Frames<'a> {
    pub(super) fn new(block: &'a [u8]) -> Self {
        let left = word(block, HDR + offset_of!(libc::tpacket_hdr_v1, num_pkts)).unwrap_or(0);
        let first = word(block, HDR + offset_of!(libc::tpacket_hdr_v1, offset_to_first_pkt)).unwrap_or(0);
        Self { block, at: first as usize, left }
    }

    /// When the first frame came: seconds and nanoseconds.
    pub(super) fn begin(&self) -> Option<(u32, u32)> {
        self.frame().map(|frame| (frame.seconds, frame.nanos))
    }

    /// How many frames the block promised and did not show.
    pub(super) fn missing(&self) -> u32 {
        self.left
    }

    fn frame(&self) -> Option<RawFrame<'a>> {
        let header = self.block.get(self.at..)?;
        let start = usize::from(half(header, offset_of!(libc::tpacket3_hdr, tp_mac))?);
        if start < ADDRESS + size_of::<libc::sockaddr_ll>() {
            return None;
        }
        let captured = word(header, offset_of!(libc::tpacket3_hdr, tp_snaplen))? as usize;
        let variant = offset_of!(libc::tpacket3_hdr, hv1);
        Some(RawFrame {
            seconds: word(header, offset_of!(libc::tpacket3_hdr, tp_sec))?,
            nanos: word(header, offset_of!(libc::tpacket3_hdr, tp_nsec))?,
            wire_len: word(header, offset_of!(libc::tpacket3_hdr, tp_len))?,
            status: word(header, offset_of!(libc::tpacket3_hdr, tp_status))?,
            vlan_tci: word(header, variant + offset_of!(libc::tpacket_hdr_variant1, tp_vlan_tci))?,
            protocol: u16::from_be(half(header, ADDRESS + offset_of!(libc::sockaddr_ll, sll_protocol))?),
            packet_type: *header.get(ADDRESS + offset_of!(libc::sockaddr_ll, sll_pkttype))?,
            data: header.get(start..)?.get(..captured)?,
        })
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = RawFrame<'a>;

    fn next(&mut self) -> Option<RawFrame<'a>> {
        if self.left == 0 {
            return None;
        }
        let frame = self.frame()?;
        self.left -= 1;
        let step = word(self.block.get(self.at..)?, offset_of!(libc::tpacket3_hdr, tp_next_offset))? as usize;
        self.at = match step {
            // The last frame of a block may say 0; with frames still promised, that would be a circle.
            0 => self.block.len(),
            step => self.at.saturating_add(step),
        };
        Some(frame)
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|four| u32::from_ne_bytes(*four))
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|two| u16::from_ne_bytes(*two))
}

/// Where the first version's header stands in a block descriptor.
const HDR: usize = offset_of!(libc::tpacket_block_desc, hdr);

/// Where the sender's link address stands behind a frame's header.
const ADDRESS: usize = size_of::<libc::tpacket3_hdr>().next_multiple_of(libc::TPACKET_ALIGNMENT);

#[cfg(test)]
mod tests {
    use super::*;

    /// A block as the kernel lays it out: each frame at a multiple of 16, its bytes 80 after its header.
    fn block(frames: &[&[u8]]) -> Vec<u8> {
        let mut block = vec![0u8; 4096];
        block[HDR + 4..HDR + 8].copy_from_slice(&(frames.len() as u32).to_ne_bytes());
        block[HDR + 8..HDR + 12].copy_from_slice(&48u32.to_ne_bytes());
        let mut at = 48;
        for (number, data) in frames.iter().enumerate() {
            let next = (80 + data.len()).next_multiple_of(16);
            let header = &mut block[at..];
            header[0..4].copy_from_slice(&(next as u32).to_ne_bytes());
            header[4..8].copy_from_slice(&(1000 + number as u32).to_ne_bytes());
            header[8..12].copy_from_slice(&5000u32.to_ne_bytes());
            header[12..16].copy_from_slice(&(data.len() as u32).to_ne_bytes());
            header[16..20].copy_from_slice(&(data.len() as u32 + 7).to_ne_bytes());
            header[24..26].copy_from_slice(&80u16.to_ne_bytes());
            header[50..52].copy_from_slice(&0x86ddu16.to_be_bytes());
            header[58] = 4;
            header[80..80 + data.len()].copy_from_slice(data);
            at += next;
        }
        block
    }

    #[test]
    fn frames_come_out_in_order_with_their_bytes() {
        let block = block(&[b"one", b"", b"three bytes more"]);
        let mut frames = Frames::new(&block);
        let seen: Vec<_> = frames.by_ref().map(|f| (f.seconds, f.wire_len, f.data)).collect();
        assert_eq!(seen, [(1000, 10, &b"one"[..]), (1001, 7, b""), (1002, 23, b"three bytes more")]);
        assert_eq!(frames.missing(), 0);
        let first = Frames::new(&block).next().expect("a frame");
        assert_eq!((first.protocol, first.packet_type, first.nanos), (0x86dd, 4, 5000));
    }

    #[test]
    fn a_block_that_does_not_add_up_ends_and_tells_how_much_is_missing() {
        let good = block(&[b"one", b"two", b"three"]);
        for (at, bytes, shown, missing) in [
            (HDR + 4, 9u32, 3, 6),
            (HDR + 8, 5000, 0, 3),
            (48, 0, 1, 2),
            (48, u32::MAX, 1, 2),
            (48 + 12, 1 << 20, 0, 3),
        ] {
            let mut bad = good.clone();
            bad[at..at + 4].copy_from_slice(&bytes.to_ne_bytes());
            let mut frames = Frames::new(&bad);
            let count = frames.by_ref().filter(|f| !f.data.is_empty()).count();
            assert_eq!(
                (count, frames.missing() >= missing),
                (shown, true),
                "{at} {bytes}: {}",
                frames.missing()
            );
        }
        for len in 0..200 {
            let _ = Frames::new(&good[..len]).count();
        }
    }
    proptest::proptest! {
        #[test]
        fn whatever_a_block_holds_it_ends(
            words in proptest::collection::vec((0usize..1020, 0u32..6000), 0..12),
            cut in 0usize..4097,
        ) {
            let mut bytes = block(&[b"one", b"two", b"three"]);
            for (at, word) in words {
                bytes[at * 4..at * 4 + 4].copy_from_slice(&word.to_ne_bytes());
            }
            let seen = Frames::new(&bytes[..cut]).take(10_000).count();
            // Each step goes on by at least a byte.
            proptest::prop_assert!(seen <= 4096);
        }
    }
}
