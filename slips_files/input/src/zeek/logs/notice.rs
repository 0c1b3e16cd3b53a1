//! notice.log: what Zeek itself found worth telling.

use slips_core::event::{Event, Notice};
use slips_core::flow::Proto;

use super::super::row::{Row, columns};
use super::{Labels, Log};
use crate::report::Reject;

columns! {
    TS = "ts",
    UID = "uid",
    ORIG_H = "id.orig_h" | "id_orig_h",
    ORIG_P = "id.orig_p" | "id_orig_p",
    RESP_H = "id.resp_h" | "id_resp_h",
    RESP_P = "id.resp_p" | "id_resp_p",
    PROTO = "proto",
    NOTE = "note",
    MSG = "msg",
    SUB = "sub",
    SRC = "src",
    DST = "dst",
    P = "p",
    N = "n",
}

pub(super) const LOG: Log =
    Log { name: "notice", names: NAMES, marks: &[&["note", "msg"], &["note"]], never: &[], decode };

fn decode(row: &Row<'_>, _: &mut Labels) -> Result<Event, Reject> {
    let proto = row.has(col::PROTO).then(|| row.proto(col::PROTO, Proto::Other(255)));
    Ok(Event::Notice(Box::new(Notice {
        at: row.time(col::TS)?,
        uid: row.uid(col::UID),
        note: row.string(col::NOTE),
        msg: row.string(col::MSG),
        sub: row.string(col::SUB),
        src: row.addr(col::SRC)?.or(row.addr(col::ORIG_H)?),
        dst: row.addr(col::DST)?.or(row.addr(col::RESP_H)?),
        port: row.short_count(col::P)?.or(row.short_count(col::RESP_P)?),
        proto,
        count: row.count(col::N)?,
    })))
}
