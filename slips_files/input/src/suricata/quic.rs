//! `quic`: the TLS handshake in QUIC.

use slips_core::event::{Event, Tls, TlsFields};

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
    VERSION = "quic.version",
    SNI = "quic.sni",
    JA3 = "quic.ja3.hash",
    JA3_STRING = "quic.ja3.string",
    JA3S = "quic.ja3s.hash",
    JA3S_STRING = "quic.ja3s.string",
    JA4 = "quic.ja4",
    EXTENSIONS = "quic.extensions",
    HOST = "host",
}

pub(super) const KIND: Kind = Kind { name: "quic", names: NAMES, slot: col::EVENT_TYPE, decode };

fn decode(row: &Row<'_>, queue: &mut Reorder) -> Result<(), Reject> {
    let about = row.about(super::proto(row, col::PROTO))?;
    let fields = TlsFields {
        // RFC 9001: QUIC always speaks TLS 1.3; drafts and Google's own are named as they are.
        version: row
            .word(col::VERSION, |v| Some(if v == "1" { "TLSv13".to_owned() } else { format!("QUIC-{v}") }))
            .unwrap_or_default(),
        server_name: row.string(col::SNI),
        established: row.has(col::JA3S),
        ja3: row.string(col::JA3),
        ja3s: row.string(col::JA3S),
        ja4: row.string(col::JA4),
        ..TlsFields::default()
    };
    // Packets without a hello (acknowledgements, retries) tell nothing.
    if fields.server_name.is_empty()
        && fields.ja3.is_empty()
        && fields.ja3s.is_empty()
        && fields.ja4.is_empty()
    {
        return Ok(());
    }
    queue.push(Event::Tls(Box::new(Tls { about, fields })));
    Ok(())
}
