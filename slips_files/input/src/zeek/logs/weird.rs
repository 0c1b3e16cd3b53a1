//! weird.log: protocol oddities. Many belong to no connection; their ends are then the unspecified address.

use std::net::{IpAddr, Ipv4Addr};

use slips_core::event::{About, Event, Weird};
use slips_core::flow::{Endpoint, Proto};

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
    NAME = "name",
    ADDL = "addl",
    NOTICE = "notice",
    PEER = "peer",
    SOURCE = "source",
}

pub(super) const LOG: Log =
    Log { name: "weird", names: NAMES, marks: &[&["name", "notice"], &["name", "addl"]], never: &[], decode };

fn decode(row: &Row<'_>, _: &mut Labels) -> Result<Event, Reject> {
    let end = |addr, port| -> Result<Endpoint, Reject> {
        let addr = row.addr(addr)?.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        Ok(Endpoint { addr, port: row.short_count(port)?.unwrap_or(0) })
    };
    let about = About {
        at: row.time(col::TS)?,
        uid: row.uid(col::UID),
        src: end(col::ORIG_H, col::ORIG_P)?,
        dst: end(col::RESP_H, col::RESP_P)?,
        proto: row.proto(col::SOURCE, Proto::Other(255)),
        interface: 0,
        heard: true,
        tunnelled: false,
        src_mac: None,
    };
    Ok(Event::Weird(Box::new(Weird { about, name: row.string(col::NAME), addl: row.string(col::ADDL) })))
}
