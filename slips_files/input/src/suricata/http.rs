//! `http`: a request with its response.

use slips_core::event::{Event, Http};

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
    HOSTNAME = "http.hostname",
    HTTP_PORT = "http.http_port",
    URL = "http.url",
    USER_AGENT = "http.http_user_agent",
    CONTENT_TYPE = "http.http_content_type",
    REFERRER = "http.http_refer",
    METHOD = "http.http_method",
    PROTOCOL = "http.protocol",
    STATUS = "http.status",
    REDIRECT = "http.redirect",
    LENGTH = "http.length",
    REQUEST_BODY_LEN = "http.request_body_len",
    HOST = "host",
}

pub(super) const KIND: Kind = Kind { name: "http", names: NAMES, slot: col::EVENT_TYPE, decode };

fn decode(row: &Row<'_>, queue: &mut Reorder) -> Result<(), Reject> {
    let version = row.string(col::PROTOCOL);
    queue.push(Event::Http(Box::new(Http {
        about: row.about(super::proto(row, col::PROTO))?,
        trans_depth: row.small_count(col::TX_ID)?.unwrap_or(0).saturating_add(1),
        method: row.string(col::METHOD),
        host: row.string(col::HOSTNAME),
        uri: row.string(col::URL),
        referrer: row.string(col::REFERRER),
        version: version.strip_prefix("HTTP/").unwrap_or(&version).to_owned(),
        user_agent: row.string(col::USER_AGENT),
        request_body_len: row.count(col::REQUEST_BODY_LEN)?.unwrap_or(0),
        response_body_len: row.count(col::LENGTH)?.unwrap_or(0),
        // A server may send any number; one that is no status code is as good as none.
        status_code: row.word(col::STATUS, |code| code.parse().ok()),
        status_msg: String::new(),
        resp_mime_types: content_type(row, col::CONTENT_TYPE),
        resp_fuids: Vec::new(),
        username: String::new(),
        orig_mime_types: Vec::new(),
        orig_fuids: Vec::new(),
        from_page: false,
    })));
    Ok(())
}

/// The type that the server names; Suricata does not look into the body as Zeek does.
pub(super) fn content_type(row: &Row<'_>, slot: usize) -> Vec<String> {
    let named = row.string(slot);
    let named = named.split(';').next().unwrap_or("").trim();
    if named.is_empty() { Vec::new() } else { vec![named.to_ascii_lowercase()] }
}
