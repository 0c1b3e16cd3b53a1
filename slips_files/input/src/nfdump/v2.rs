//! Layout 2 (nfdump 1.7): a record is a list of elements, each with its type and length.

use super::Header;
use super::record::{mac_at, millis, u16_at, u32_at, u64_at, v4_at, v6_at};
use crate::flowlog::half::Half;
use crate::flowlog::state::Flags;
use crate::report::{Reason, Reject};

/// Length of the file header.
pub(super) const HEADER: usize = 40;
/// The kind of block that holds flow records.
pub(super) const DATA_BLOCK: u16 = 3;

const FLOW: u16 = 11;
/// What lies before a record's elements.
const RECORD_HEADER: usize = 12;

const GENERIC: u16 = 1;
const IPV4: u16 = 2;
const IPV6: u16 = 3;
const COUNTERS: u16 = 5;
const VLAN: u16 = 6;
const MACS: u16 = 15;

pub(super) fn header(bytes: &[u8]) -> Option<Header> {
    let bytes = bytes.get(..HEADER)?;
    let (compression, encryption) = (*bytes.get(16)?, *bytes.get(17)?);
    let compression = if encryption == 0 { compression } else { u8::MAX };
    Some(Header { compression, blocks: u32_at(bytes, 36)? })
}

/// Reads a record; `None` when it is no flow between IP addresses.
pub(super) fn read(kind: u16, record: &[u8]) -> Result<Option<Half>, Reject> {
    if kind != FLOW {
        return Ok(None);
    }
    let bad = Reject::new(Reason::BadBlock);
    let elements = Elements::of(record).ok_or(bad)?;
    let Some(generic) = elements.generic else { return Err(Reject::missing("generic element")) };
    let ends = match (elements.v4, elements.v6) {
        (Some(v4), _) => v4_at(v4, 0).zip(v4_at(v4, 4)),
        (None, Some(v6)) => v6_at(v6, 0).zip(v6_at(v6, 16)),
        (None, None) => return Ok(None),
    };
    let (src, dst) = ends.ok_or(bad)?;
    elements.fill(generic, src, dst).map(Some).ok_or(bad)
}

/// The elements of a record that we use.
#[derive(Default)]
struct Elements<'a> {
    generic: Option<&'a [u8]>,
    v4: Option<&'a [u8]>,
    v6: Option<&'a [u8]>,
    counters: Option<&'a [u8]>,
    vlan: Option<&'a [u8]>,
    macs: Option<&'a [u8]>,
}

impl<'a> Elements<'a> {
    fn of(record: &'a [u8]) -> Option<Self> {
        let mut found = Self::default();
        let mut rest = record.get(RECORD_HEADER..)?;
        for _ in 0..u16_at(record, 4)? {
            if rest.is_empty() {
                break;
            }
            let (kind, length) = (u16_at(rest, 0)?, usize::from(u16_at(rest, 2)?));
            let body = rest.get(4..length)?;
            match kind {
                GENERIC => found.generic = Some(body),
                IPV4 => found.v4 = Some(body),
                IPV6 => found.v6 = Some(body),
                COUNTERS => found.counters = Some(body),
                VLAN => found.vlan = Some(body),
                MACS => found.macs = Some(body),
                _ => {}
            }
            rest = rest.get(length..)?;
        }
        Some(found)
    }

    fn fill(&self, generic: &[u8], src: std::net::IpAddr, dst: std::net::IpAddr) -> Option<Half> {
        let ports = (u16_at(generic, 40)?, u16_at(generic, 42)?);
        let mut half = Half::new(src, dst, *generic.get(44)?, ports);
        half.start = millis(u64_at(generic, 0)?);
        half.end = millis(u64_at(generic, 8)?);
        half.pkts = u64_at(generic, 24)?;
        half.bytes = u64_at(generic, 32)?;
        half.flags = Flags(*generic.get(45)?);
        if let Some(counters) = self.counters {
            half.out_pkts = u64_at(counters, 8)?;
            half.out_bytes = u64_at(counters, 16)?;
        }
        half.vlan = self.vlan.and_then(|vlan| u16_at(vlan, 0)).filter(|id| *id != 0);
        half.src_mac = self.macs.and_then(|macs| mac_at(macs, 0));
        half.dst_mac = self.macs.and_then(|macs| mac_at(macs, 8));
        Some(half)
    }
}
