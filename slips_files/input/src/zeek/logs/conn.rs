//! conn.log: one flow a row.

use slips_core::event::Event;
use slips_core::flow::{ConnState, Flow, Origin, Phase, Proto, Volume};
use slips_core::time::Span;

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
    SERVICE = "service",
    DURATION = "duration",
    ORIG_BYTES = "orig_bytes",
    RESP_BYTES = "resp_bytes",
    CONN_STATE = "conn_state",
    LOCAL_ORIG = "local_orig",
    LOCAL_RESP = "local_resp",
    MISSED_BYTES = "missed_bytes",
    HISTORY = "history",
    ORIG_PKTS = "orig_pkts",
    ORIG_IP_BYTES = "orig_ip_bytes",
    RESP_PKTS = "resp_pkts",
    RESP_IP_BYTES = "resp_ip_bytes",
    TUNNEL_PARENTS = "tunnel_parents",
    ORIG_L2_ADDR = "orig_l2_addr",
    RESP_L2_ADDR = "resp_l2_addr",
    VLAN = "vlan",
    INNER_VLAN = "inner_vlan",
    COMMUNITY_ID = "community_id",
    IP_PROTO = "ip_proto",
    LABEL = "label",
    DETAILED = "detailedlabel" | "detailed-label" | "detailed_label",
}

pub(super) const LOG: Log = Log {
    name: "conn",
    names: NAMES,
    marks: &[&["conn_state"], &["orig_ip_bytes", "resp_ip_bytes"]],
    never: &[],
    decode,
};

fn decode(row: &Row<'_>, labels: &mut Labels) -> Result<Event, Reject> {
    let start = row.time(col::TS)?;
    let src = row.endpoint(col::ORIG_H, col::ORIG_P)?;
    let dst = row.endpoint(col::RESP_H, col::RESP_P)?;
    let mut flow = Flow::new(start, transport(row)?, src, dst);
    flow.duration = row.span(col::DURATION)?;
    flow.seen = start + flow.duration.unwrap_or(Span(0));
    flow.uid = row.uid(col::UID);
    flow.phase = Phase::End;
    flow.origin = Origin::Zeek;
    // A state that Zeek does not know says nothing; the rest of the row still does.
    flow.state = row.word(col::CONN_STATE, ConnState::from_name).unwrap_or(ConnState::Oth);
    flow.history = row.short(col::HISTORY);
    flow.service = row.short(col::SERVICE);
    flow.orig = volume(row, col::ORIG_PKTS, col::ORIG_BYTES, col::ORIG_IP_BYTES)?;
    flow.resp = volume(row, col::RESP_PKTS, col::RESP_BYTES, col::RESP_IP_BYTES)?;
    flow.orig_new = flow.orig;
    flow.resp_new = flow.resp;
    flow.missed_bytes = row.count(col::MISSED_BYTES)?.unwrap_or(0);
    flow.src_mac = row.mac(col::ORIG_L2_ADDR)?;
    flow.dst_mac = row.mac(col::RESP_L2_ADDR)?;
    flow.vlan = row.short_count(col::VLAN)?;
    if row.has(col::LABEL) || row.has(col::DETAILED) {
        flow.truth = labels.of(&row.bytes(col::LABEL), &row.bytes(col::DETAILED));
    }
    Ok(Event::Flow(flow))
}

/// `proto`, or where that is `unknown_transport` the number that newer versions write beside it.
fn transport(row: &Row<'_>) -> Result<Proto, Reject> {
    let proto = row.proto(col::PROTO, Proto::Other(255));
    if !matches!(proto, Proto::Other(_)) {
        return Ok(proto);
    }
    Ok(match row.count(col::IP_PROTO)?.map(u8::try_from) {
        Some(Ok(6)) => Proto::Tcp,
        Some(Ok(17)) => Proto::Udp,
        Some(Ok(1 | 58)) => Proto::Icmp,
        Some(Ok(number)) => Proto::Other(number),
        _ => proto,
    })
}

fn volume(row: &Row<'_>, pkts: usize, bytes: usize, ip_bytes: usize) -> Result<Volume, Reject> {
    let count = |slot| Ok(row.count(slot)?.unwrap_or(0));
    Ok(Volume { pkts: count(pkts)?, bytes: count(bytes)?, ip_bytes: count(ip_bytes)? })
}
