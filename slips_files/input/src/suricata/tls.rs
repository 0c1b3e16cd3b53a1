//! `tls`: a handshake.

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
    SUBJECT = "tls.subject",
    ISSUER = "tls.issuerdn",
    SERIAL = "tls.serial",
    FINGERPRINT = "tls.fingerprint",
    RESUMED = "tls.session_resumed",
    SNI = "tls.sni",
    VERSION = "tls.version",
    NOT_BEFORE = "tls.notbefore",
    NOT_AFTER = "tls.notafter",
    SAN = "tls.subjectaltname",
    FROM_PROTO = "tls.from_proto",
    ALPN = "tls.server_alpns",
    JA3 = "tls.ja3.hash",
    JA3_STRING = "tls.ja3.string",
    JA3S = "tls.ja3s.hash",
    JA3S_STRING = "tls.ja3s.string",
    JA4 = "tls.ja4",
    HOST = "host",
}

pub(super) const KIND: Kind = Kind { name: "tls", names: NAMES, slot: col::EVENT_TYPE, decode };

fn decode(row: &Row<'_>, queue: &mut Reorder) -> Result<(), Reject> {
    let subject = row.string(col::SUBJECT);
    let resumed = row.flag(col::RESUMED)?;
    let ja3s = row.string(col::JA3S);
    // Suricata does not say whether the handshake came to its end; that the server took part is known.
    let established = resumed || !subject.is_empty() || !ja3s.is_empty();
    queue.push(Event::Tls(Box::new(Tls {
        about: row.about(super::proto(row, col::PROTO))?,
        fields: TlsFields {
            version: super::version(&row.string(col::VERSION)),
            server_name: row.string(col::SNI),
            next_protocol: row.strings(col::ALPN).into_iter().next().unwrap_or_default(),
            resumed,
            established,
            subject,
            issuer: row.string(col::ISSUER),
            ja3: row.string(col::JA3),
            ja3s,
            ja4: row.string(col::JA4),
            cert_sha1: row.string(col::FINGERPRINT).replace(':', "").to_ascii_lowercase(),
            // A certificate may claim any date; one that is none is as good as absent.
            not_valid_before: row.time(col::NOT_BEFORE).ok(),
            not_valid_after: row.time(col::NOT_AFTER).ok(),
            san_dns: row.strings(col::SAN),
            ..TlsFields::default()
        },
    })));
    Ok(())
}
