//! `smtp`: a mail transaction.

use slips_core::event::{Event, Smtp};

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
    HELO = "smtp.helo",
    FROM = "smtp.mail_from",
    TO = "smtp.rcpt_to",
    HOST = "host",
}

pub(super) const KIND: Kind = Kind { name: "smtp", names: NAMES, slot: col::EVENT_TYPE, decode };

fn decode(row: &Row<'_>, queue: &mut Reorder) -> Result<(), Reject> {
    queue.push(Event::Smtp(Box::new(Smtp {
        about: row.about(super::proto(row, col::PROTO))?,
        helo: row.string(col::HELO),
        last_reply: String::new(),
        tls: false,
        subject: String::new(),
        fuids: Vec::new(),
    })));
    Ok(())
}
