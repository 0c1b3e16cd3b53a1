//! arp.log: requests and replies, as the original's Zeek script writes them.

use slips_core::event::{Arp, ArpOp, Event};
use slips_core::flow::MacAddr;

use super::super::row::{Row, columns};
use super::{Labels, Log};
use crate::report::Reject;

columns! {
    TS = "ts",
    OPERATION = "operation",
    SRC_MAC = "src_mac",
    DST_MAC = "dst_mac",
    ORIG_H = "orig_h",
    RESP_H = "resp_h",
    ORIG_HW = "orig_hw",
    RESP_HW = "resp_hw",
}

pub(super) const LOG: Log = Log {
    name: "arp",
    names: NAMES,
    marks: &[&["operation", "src_mac"], &["orig_hw"], &["operation", "orig_h", "resp_h"]],
    never: &[],
    decode,
};

fn decode(row: &Row<'_>, _: &mut Labels) -> Result<Event, Reject> {
    let op = row.parse(col::OPERATION, |text| match text {
        b"request" | b"REQUEST" | b"1" => Some(ArpOp::Request),
        b"reply" | b"REPLY" | b"2" => Some(ArpOp::Reply),
        _ => None,
    })?;
    let mac = |slot| Ok(row.mac(slot)?.unwrap_or(MacAddr::ZERO));
    Ok(Event::Arp(Arp {
        at: row.time(col::TS)?,
        op: op.ok_or(Reject::missing("operation"))?,
        frame_src: mac(col::SRC_MAC)?,
        frame_dst: mac(col::DST_MAC)?,
        sender: row.need_addr(col::ORIG_H)?,
        sender_mac: mac(col::ORIG_HW)?,
        target: row.need_addr(col::RESP_H)?,
        target_mac: mac(col::RESP_HW)?,
        interface: 0,
    }))
}
