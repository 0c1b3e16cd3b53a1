//! `alert`: a signature of Suricata's matched. Becomes a notice `Suricata::Alert` whose message is the signature's text and whose
//! `sub` tells the rest in a fixed form: `severity=2 sid=1:2403388 action=allowed app=http target=named category=Misc Attack`, of which
//! `app` is there when the match is in a transaction of an application's, and `target` when the rule says which side attacks.

use slips_core::event::{Event, Notice};
use slips_core::flow::Proto;

use super::Kind;
use crate::flowlog::order::Reorder;
use crate::report::Reject;
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
    PCAP_CNT = "pcap_cnt",
    IN_IFACE = "in_iface",
    PKT_SRC = "pkt_src",
    COMMUNITY_ID = "community_id",
    TX_ID = "tx_id",
    APP_PROTO = "app_proto",
    ACTION = "alert.action",
    GID = "alert.gid",
    SIGNATURE_ID = "alert.signature_id",
    REV = "alert.rev",
    SIGNATURE = "alert.signature",
    CATEGORY = "alert.category",
    SEVERITY = "alert.severity",
    SOURCE_IP = "alert.source.ip",
    TARGET_IP = "alert.target.ip",
    TARGET_PORT = "alert.target.port",
    HOST = "host",
}

pub(super) const KIND: Kind = Kind { name: "alert", names: NAMES, slot: col::EVENT_TYPE, decode };

/// What every such notice is called.
const NOTE: &str = "Suricata::Alert";
/// How the signatures begin by which Suricata tells of segments that do not fit.
const STREAM: &str = "SURICATA STREAM";
/// Rules that name no class have this severity.
const NO_SEVERITY: u64 = 3;

fn decode(row: &Row<'_>, queue: &mut Reorder) -> Result<(), Reject> {
    let severity = row.count(col::SEVERITY)?.unwrap_or(NO_SEVERITY);
    let gid = row.count(col::GID)?.unwrap_or(1);
    let sid = row.count(col::SIGNATURE_ID)?.unwrap_or(0);
    let action = if row.word(col::ACTION, |action| (action == "blocked").then_some(())).is_some() {
        "blocked"
    } else {
        "allowed"
    };
    let category = row.string(col::CATEGORY);
    let app = row.string(col::APP_PROTO);
    let signature = row.string(col::SIGNATURE);
    // The protocol is the flow's, whatever matched; only what is in a transaction has its number. What the decoder of the stream complains of
    // is about packets, and forged ones may be complained of.
    let is_data = row.has(col::TX_ID) && !signature.starts_with(STREAM);
    let is_app = is_data && !app.is_empty() && app != "failed" && !app.contains(' ');
    let app = if is_app { format!(" app={app}") } else { String::new() };
    // The packet that matched names its sender first; a rule may say better who attacks whom.
    let named = (row.addr(col::SOURCE_IP)?, row.addr(col::TARGET_IP)?);
    let (src, dst, port, target) = match named {
        (Some(attacker), Some(target)) => {
            (Some(attacker), Some(target), row.short_count(col::TARGET_PORT)?, " target=named")
        }
        _ => (row.addr(col::SRC_IP)?, row.addr(col::DEST_IP)?, row.short_count(col::DEST_PORT)?, ""),
    };
    let proto: Option<Proto> = row.has(col::PROTO).then(|| super::proto(row, col::PROTO));
    queue.push(Event::Notice(Box::new(Notice {
        at: row.time(col::TS)?,
        uid: row.uid(col::UID),
        note: NOTE.to_owned(),
        msg: signature,
        sub: format!("severity={severity} sid={gid}:{sid} action={action}{app}{target} category={category}"),
        src,
        dst,
        port,
        proto,
        count: None,
    })));
    Ok(())
}
