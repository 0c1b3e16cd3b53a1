//! The columns of a list.

use memchr::memchr_iter;

use crate::report::{Reason, Reject};
use crate::zeek::row::{Dialect, Raw, Row, columns};
use crate::zeek::value;

columns! {
    START = "starttime" | "stime" | "time",
    LAST = "lasttime" | "ltime",
    DUR = "dur",
    PROTO = "proto",
    SRC_ADDR = "srcaddr" | "saddr",
    SRC_PORT = "sport",
    DIR = "dir",
    DST_ADDR = "dstaddr" | "daddr",
    DST_PORT = "dport",
    STATE = "state",
    TOT_PKTS = "totpkts" | "pkts",
    TOT_BYTES = "totbytes" | "bytes",
    SRC_PKTS = "srcpkts" | "spkts",
    DST_PKTS = "dstpkts" | "dpkts",
    SRC_BYTES = "srcbytes" | "sbytes",
    DST_BYTES = "dstbytes" | "dbytes",
    SRC_MAC = "srcmac" | "smac",
    DST_MAC = "dstmac" | "dmac",
    VLAN = "svlan" | "srcvlan",
    LABEL = "label" | "srcudata-label" | "ground_truth_label",
    DETAILED = "detailedlabel" | "detailed_ground_truth_label",
}

/// The slots by name.
pub(super) mod slot {
    use super::col;
    pub(in crate::argus) const START: usize = col::START;
    pub(in crate::argus) const LAST: usize = col::LAST;
    pub(in crate::argus) const DUR: usize = col::DUR;
    pub(in crate::argus) const PROTO: usize = col::PROTO;
    pub(in crate::argus) const SRC_ADDR: usize = col::SRC_ADDR;
    pub(in crate::argus) const SRC_PORT: usize = col::SRC_PORT;
    pub(in crate::argus) const DIR: usize = col::DIR;
    pub(in crate::argus) const DST_ADDR: usize = col::DST_ADDR;
    pub(in crate::argus) const DST_PORT: usize = col::DST_PORT;
    pub(in crate::argus) const STATE: usize = col::STATE;
    pub(in crate::argus) const TOT_PKTS: usize = col::TOT_PKTS;
    pub(in crate::argus) const TOT_BYTES: usize = col::TOT_BYTES;
    pub(in crate::argus) const SRC_PKTS: usize = col::SRC_PKTS;
    pub(in crate::argus) const DST_PKTS: usize = col::DST_PKTS;
    pub(in crate::argus) const SRC_BYTES: usize = col::SRC_BYTES;
    pub(in crate::argus) const DST_BYTES: usize = col::DST_BYTES;
    pub(in crate::argus) const SRC_MAC: usize = col::SRC_MAC;
    pub(in crate::argus) const DST_MAC: usize = col::DST_MAC;
    pub(in crate::argus) const VLAN: usize = col::VLAN;
    pub(in crate::argus) const LABEL: usize = col::LABEL;
    pub(in crate::argus) const DETAILED: usize = col::DETAILED;
}

const UNUSED: usize = usize::MAX;
/// More columns has no list.
const MAX_FIELDS: usize = 256;

/// The columns of the lists that come without a header; those of the published labelled captures.
const USUAL: [usize; 16] = [
    col::START,
    col::DUR,
    col::PROTO,
    col::SRC_ADDR,
    col::SRC_PORT,
    col::DIR,
    col::DST_ADDR,
    col::DST_PORT,
    col::STATE,
    UNUSED,
    UNUSED,
    col::TOT_PKTS,
    col::TOT_BYTES,
    col::SRC_BYTES,
    col::SRC_PKTS,
    col::LABEL,
];

/// What stands where.
#[derive(Debug)]
pub(super) struct Columns {
    separator: u8,
    slots: Vec<usize>,
}

impl Columns {
    /// From a header: a line that names the two addresses and a time.
    pub(super) fn of_header(line: &[u8]) -> Option<Self> {
        let separator = separator(line)?;
        let slots: Vec<_> = line.split(|byte| *byte == separator).take(MAX_FIELDS).map(slot_of).collect();
        let has = |wanted: usize| slots.contains(&wanted);
        (has(col::START) && has(col::SRC_ADDR) && has(col::DST_ADDR)).then_some(Self { separator, slots })
    }

    /// The usual columns, when the line is a row of them.
    pub(super) fn of_row(line: &[u8]) -> Option<Self> {
        let separator = separator(line)?;
        let fields: Vec<_> = line.split(|byte| *byte == separator).take(MAX_FIELDS).collect();
        let is =
            |at: usize, test: fn(&[u8]) -> bool| fields.get(at).is_some_and(|field| test(field.trim_ascii()));
        let fits = (15..=USUAL.len()).contains(&fields.len())
            && is(0, |field| value::time(field).is_some())
            && is(1, |field| value::span(field).is_some())
            && is(3, |field| value::addr(field).is_some())
            && is(6, |field| value::addr(field).is_some());
        fits.then(|| Self { separator, slots: USUAL.to_vec() })
    }

    /// The fields of a row. The last ones may be absent.
    pub(super) fn split<'a>(&self, line: &'a [u8]) -> Result<Row<'a>, Reject> {
        let mut row = Row::new(Dialect::Tsv(b';'), NAMES);
        let mut from = 0;
        let mut slots = self.slots.iter();
        for to in memchr_iter(self.separator, line).chain([line.len()]) {
            let Some(slot) = slots.next() else { return Err(Reject::new(Reason::ColumnCount)) };
            let field = line.get(from..to).unwrap_or(b"").trim_ascii();
            if !field.is_empty() && *slot != UNUSED {
                row.set(*slot, Raw::Plain(field));
            }
            from = to + 1;
        }
        Ok(row)
    }
}

/// What parts the columns: the commoner of comma and tab.
fn separator(line: &[u8]) -> Option<u8> {
    let count = |byte| memchr_iter(byte, line).count();
    let (commas, tabs) = (count(b','), count(b'\t'));
    match commas.max(tabs) {
        0..3 => None,
        _ if tabs >= commas => Some(b'\t'),
        _ => Some(b','),
    }
}

fn slot_of(name: &[u8]) -> usize {
    let name = name.trim_ascii();
    let found = NAMES.iter().find(|(known, _)| name.eq_ignore_ascii_case(known.as_bytes()));
    found.map_or(UNUSED, |(_, slot)| *slot)
}
