//! Layout 1 (nfdump 1.6): a record is a fixed part and extensions, which a map record before it names.

use std::collections::BTreeMap;

use super::Header;
use super::record::{count_at, mac_at, millis, u16_at, u32_at, v4_at, v6_at};
use crate::flowlog::half::Half;
use crate::flowlog::state::Flags;
use crate::report::{Reason, Reject};

/// Length of file header and the statistics behind it.
pub(super) const HEADER: usize = 140 + 136;
/// The kind of block that holds flow records.
pub(super) const DATA_BLOCK: u16 = 2;

const FLOW_OLD: u16 = 1;
const MAP: u16 = 2;
const FLOW: u16 = 10;

/// Bits of a file's flags.
const LZO: u32 = 0x1;
const BZIP2: u32 = 0x8;
const LZ4: u32 = 0x10;

/// Bits of a record's flags.
const IPV6: u16 = 1;
const LONG_PKTS: u16 = 2;
const LONG_BYTES: u16 = 4;

pub(super) fn header(bytes: &[u8]) -> Option<Header> {
    let bytes = bytes.get(..HEADER)?;
    let flags = u32_at(bytes, 4)?;
    let compression = match flags {
        flags if flags & LZO != 0 => 1,
        flags if flags & BZIP2 != 0 => 2,
        flags if flags & LZ4 != 0 => 3,
        _ => 0,
    };
    Some(Header { compression, blocks: u32_at(bytes, 8)? })
}

/// Lengths of the extensions by their number.
const LENGTHS: [usize; 28] =
    [0, 0, 0, 0, 4, 8, 4, 8, 4, 4, 16, 4, 16, 4, 4, 8, 4, 8, 4, 8, 16, 16, 40, 4, 16, 4, 8, 8];
const VLAN: usize = 13;
const OUT_PKTS: (usize, usize) = (14, 15);
const OUT_BYTES: (usize, usize) = (16, 17);
const MACS: usize = 20;

/// The extensions that we use: how far each lies behind the fixed part.
#[derive(Clone, Copy, Debug, Default)]
struct Extensions {
    out_pkts: Option<(usize, bool)>,
    out_bytes: Option<(usize, bool)>,
    vlan: Option<usize>,
    macs: Option<usize>,
}

/// The maps of a file; their numbers bound them.
#[derive(Debug, Default)]
pub(super) struct Maps(BTreeMap<u16, Extensions>);

impl Maps {
    /// Reads a record; `None` when it is no flow.
    pub(super) fn read(&mut self, kind: u16, record: &[u8]) -> Result<Option<Half>, Reject> {
        match kind {
            MAP => self.learn(record).map(|()| None).ok_or(Reject::new(Reason::BadBlock)),
            FLOW | FLOW_OLD => self.flow(record, kind == FLOW).map(Some).ok_or(Reject::new(Reason::BadBlock)),
            _ => Ok(None),
        }
    }

    fn learn(&mut self, record: &[u8]) -> Option<()> {
        let map = u16_at(record, 4)?;
        let mut extensions = Extensions::default();
        let mut offset = 0;
        for pair in record.get(8..)?.chunks_exact(2) {
            let number = usize::from(u16_at(pair, 0)?);
            if number == 0 {
                break;
            }
            let here = Some(offset);
            match number {
                VLAN => extensions.vlan = here,
                n if n == OUT_PKTS.0 || n == OUT_PKTS.1 => {
                    extensions.out_pkts = Some((offset, n == OUT_PKTS.1))
                }
                n if n == OUT_BYTES.0 || n == OUT_BYTES.1 => {
                    extensions.out_bytes = Some((offset, n == OUT_BYTES.1))
                }
                MACS => extensions.macs = here,
                _ => {}
            }
            // Behind an extension whose length we do not know nothing can be found.
            let Some(length) = LENGTHS.get(number).filter(|length| **length > 0) else { break };
            offset += length;
        }
        self.0.insert(map, extensions);
        Some(())
    }

    fn flow(&self, record: &[u8], new: bool) -> Option<Half> {
        // The old form keeps the exporter where the new one has the high byte of the flags.
        let flags = if new { u16_at(record, 4)? } else { u16::from(*record.get(4)?) };
        let (map, number) = (u16_at(record, 6)?, *record.get(22)?);
        let ports = (u16_at(record, 24)?, u16_at(record, 26)?);
        let mut at = if new { 32 } else { 28 };
        let is = |flag: u16| flags & flag != 0;
        let (src, dst) = if is(IPV6) {
            (v6_at(record, at)?, v6_at(record, at + 16)?)
        } else {
            (v4_at(record, at)?, v4_at(record, at + 4)?)
        };
        at += if is(IPV6) { 32 } else { 8 };
        let mut half = Half::new(src, dst, number, ports);
        let time = |secs: usize, part: usize| {
            Some(millis(u64::from(u32_at(record, secs)?) * 1000 + u64::from(u16_at(record, part)?)))
        };
        half.start = time(12, 8)?;
        half.end = time(16, 10)?;
        half.flags = Flags(*record.get(21)?);
        half.pkts = count_at(record, at, is(LONG_PKTS))?;
        at += if is(LONG_PKTS) { 8 } else { 4 };
        half.bytes = count_at(record, at, is(LONG_BYTES))?;
        at += if is(LONG_BYTES) { 8 } else { 4 };
        let extensions = self.0.get(&map).copied().unwrap_or_default();
        let counter = |place: Option<(usize, bool)>| match place {
            Some((offset, long)) => count_at(record, at + offset, long),
            None => Some(0),
        };
        half.out_pkts = counter(extensions.out_pkts)?;
        half.out_bytes = counter(extensions.out_bytes)?;
        half.vlan = extensions.vlan.and_then(|offset| u16_at(record, at + offset)).filter(|id| *id != 0);
        half.src_mac = extensions.macs.and_then(|offset| mac_at(record, at + offset));
        half.dst_mac = extensions.macs.and_then(|offset| mac_at(record, at + offset + 8));
        Some(half)
    }
}
