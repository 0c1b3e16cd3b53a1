//! dhcp.log: an exchange; one message a row before Zeek 2.6.

use slips_core::event::{Dhcp, Event};
use slips_core::flow::Uid;

use super::super::row::{Row, columns};
use super::{Labels, Log};
use crate::report::Reject;

columns! {
    TS = "ts",
    UIDS = "uids" | "uid",
    ORIG_H = "id.orig_h",
    ORIG_P = "id.orig_p",
    RESP_H = "id.resp_h",
    RESP_P = "id.resp_p",
    CLIENT_ADDR = "client_addr",
    SERVER_ADDR = "server_addr",
    MAC = "mac",
    HOST_NAME = "host_name",
    CLIENT_FQDN = "client_fqdn",
    DOMAIN = "domain",
    REQUESTED_ADDR = "requested_addr",
    ASSIGNED_ADDR = "assigned_addr" | "assigned_ip",
    LEASE_TIME = "lease_time",
    MSG_TYPES = "msg_types",
    DURATION = "duration",
}

pub(super) const LOG: Log = Log {
    name: "dhcp",
    names: NAMES,
    marks: &[
        &["msg_types"],
        &["assigned_addr"],
        &["assigned_ip"],
        &["lease_time"],
        &["client_addr", "mac"],
        &["uids", "mac"],
    ],
    never: &[],
    decode,
};

fn decode(row: &Row<'_>, _: &mut Labels) -> Result<Event, Reject> {
    Ok(Event::Dhcp(Box::new(Dhcp {
        at: row.time(col::TS)?,
        uids: row.strings(col::UIDS).iter().map(|uid| Uid::new(uid)).collect(),
        client: row.addr(col::CLIENT_ADDR)?.or(row.addr(col::ORIG_H)?),
        server: row.addr(col::SERVER_ADDR)?.or(row.addr(col::RESP_H)?),
        mac: row.mac(col::MAC)?,
        host_name: row.string(col::HOST_NAME),
        requested_addr: row.addr(col::REQUESTED_ADDR)?,
        assigned_addr: row.addr(col::ASSIGNED_ADDR)?,
        lease_time: row.span(col::LEASE_TIME)?,
        msg_types: row.strings(col::MSG_TYPES),
        client_fqdn: row.string(col::CLIENT_FQDN),
        domain: row.string(col::DOMAIN),
        duration: row.span(col::DURATION)?.unwrap_or_default(),
        ..Dhcp::default()
    })))
}
