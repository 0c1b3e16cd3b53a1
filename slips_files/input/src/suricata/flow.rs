//! `flow`: a flow that ended, with its flags and counters.

use slips_core::event::Event;
use slips_core::flow::{ConnState, Flow, Origin, Phase, Proto, Service};

use super::Kind;
use crate::flowlog::order::Reorder;
use crate::flowlog::state::{self, Flags};
use crate::flowlog::transport;
use crate::flowlog::volume::{Counted, volume};
use crate::report::{Reason, Reject};
use crate::zeek::row::{Row, columns};

columns! {
    TS = "timestamp",
    UID = "flow_id",
    SRC_IP = "src_ip",
    SRC_PORT = "src_port",
    DEST_IP = "dest_ip",
    DEST_PORT = "dest_port",
    PROTO = "proto",
    EVENT_TYPE = "event_type",
    VLAN = "vlan",
    APP_PROTO = "app_proto",
    APP_PROTO_ORIG = "app_proto_orig",
    APP_PROTO_TS = "app_proto_ts",
    APP_PROTO_TC = "app_proto_tc",
    ICMP_TYPE = "icmp_type",
    ICMP_CODE = "icmp_code",
    RESPONSE_ICMP_TYPE = "response_icmp_type",
    RESPONSE_ICMP_CODE = "response_icmp_code",
    PKTS_TOSERVER = "flow.pkts_toserver",
    PKTS_TOCLIENT = "flow.pkts_toclient",
    BYTES_TOSERVER = "flow.bytes_toserver",
    BYTES_TOCLIENT = "flow.bytes_toclient",
    START = "flow.start",
    END = "flow.end",
    AGE = "flow.age",
    STATE = "flow.state",
    REASON = "flow.reason",
    ALERTED = "flow.alerted",
    COMMUNITY_ID = "community_id",
    TCP_FLAGS = "tcp.tcp_flags",
    TCP_FLAGS_TS = "tcp.tcp_flags_ts",
    TCP_FLAGS_TC = "tcp.tcp_flags_tc",
    TCP_SYN = "tcp.syn",
    TCP_FIN = "tcp.fin",
    TCP_RST = "tcp.rst",
    TCP_PSH = "tcp.psh",
    TCP_ACK = "tcp.ack",
    TCP_STATE = "tcp.state",
    HOST = "host",
}

pub(super) const KIND: Kind = Kind { name: "flow", names: NAMES, slot: col::EVENT_TYPE, decode };

fn decode(row: &Row<'_>, queue: &mut Reorder) -> Result<(), Reject> {
    let start = row.time(col::START)?;
    let proto = super::proto(row, col::PROTO);
    let mut src = row.endpoint(col::SRC_IP, col::SRC_PORT)?;
    let mut dst = row.endpoint(col::DEST_IP, col::DEST_PORT)?;
    if proto == Proto::Icmp {
        let kind = row.short_count(col::ICMP_TYPE)?.unwrap_or(0);
        let code = row.short_count(col::ICMP_CODE)?.unwrap_or(0);
        let answer = row.short_count(col::RESPONSE_ICMP_TYPE)?;
        src.port = kind;
        dst.port = answer.unwrap_or(transport::icmp_counterpart(kind, code));
    }
    let mut flow = Flow::new(start, proto, src, dst);
    flow.uid = row.uid(col::UID);
    flow.phase = Phase::End;
    flow.origin = Origin::Suricata;
    flow.service = service(row);
    flow.vlan = row.strings(col::VLAN).first().and_then(|id| id.parse().ok());
    let seen_flags = flags(row)?;
    let count = |slot| Ok(row.count(slot)?.unwrap_or(0));
    let (of_orig, of_resp) = (seen_flags.map(|flags| flags.0), seen_flags.map(|flags| flags.1));
    let (pkts, bytes) = (count(col::PKTS_TOSERVER)?, count(col::BYTES_TOSERVER)?);
    flow.orig = volume(Counted::Frame, proto, src, pkts, bytes, of_orig);
    let (pkts, bytes) = (count(col::PKTS_TOCLIENT)?, count(col::BYTES_TOCLIENT)?);
    flow.resp = volume(Counted::Frame, proto, dst, pkts, bytes, of_resp);
    (flow.orig_new, flow.resp_new) = (flow.orig, flow.resp);
    if row.has(col::END) {
        let end = row.time(col::END)?;
        flow.seen = end.max(start);
        flow.duration = (flow.orig.pkts.saturating_add(flow.resp.pkts) > 1).then(|| end.since(start));
    }
    state::settle(&mut flow, seen_flags);
    if proto == Proto::Tcp && seen_flags.is_none() {
        flow.state = without_flags(row, &flow);
    }
    queue.push(Event::Flow(flow));
    Ok(())
}

/// The flags of both sides; `None` where Suricata did not write them down.
fn flags(row: &Row<'_>) -> Result<Option<(Flags, Flags)>, Reject> {
    let of = |slot, field| {
        if !row.has(slot) {
            return Ok(None);
        }
        let flags = row.word(slot, |text| u8::from_str_radix(text, 16).ok());
        flags.map(|flags| Some(Flags(flags))).ok_or(Reject { reason: Reason::BadValue, field })
    };
    let orig = of(col::TCP_FLAGS_TS, "tcp.tcp_flags_ts")?;
    let resp = of(col::TCP_FLAGS_TC, "tcp.tcp_flags_tc")?;
    Ok(orig.zip(resp))
}

/// A TCP flow of which only Suricata's own state is known: `new` begins with a SYN, `established` had the handshake, `closed`
/// ended by FIN or RST. A closed one too short for a handshake and an end was refused.
fn without_flags(row: &Row<'_>, flow: &Flow) -> ConnState {
    let (orig, resp) = (flow.orig.pkts, flow.resp.pkts);
    let told = |word: &str| match (word, orig, resp) {
        ("new", 1.., 0) => Some(ConnState::S0),
        ("established" | "bypassed", ..) => Some(ConnState::S1),
        ("closed", 1..=2, 1..=2) => Some(ConnState::Rej),
        ("closed", 3.., 2..) => Some(ConnState::SF),
        _ => None,
    };
    row.word(col::STATE, told).unwrap_or(ConnState::Oth)
}

/// The application in Zeek's words; nothing where Suricata found none.
fn service(row: &Row<'_>) -> Service {
    let named = |word: &str| {
        Some(match word {
            "failed" | "unknown" | "template" => Service::EMPTY,
            "tls" => Service::new("ssl"),
            "http2" | "http1" | "http_any" => Service::new("http"),
            "krb5" => Service::new("krb"),
            "dcerpc" => Service::new("dce_rpc"),
            "ike" => Service::new("ipsec"),
            other => Service::new(other),
        })
    };
    row.word(col::APP_PROTO, named).unwrap_or(Service::EMPTY)
}
