//! http.log: a request with its response.

use slips_core::event::{Event, Http};
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
    TRANS_DEPTH = "trans_depth",
    METHOD = "method",
    HOST = "host",
    URI = "uri",
    REFERRER = "referrer",
    VERSION = "version",
    USER_AGENT = "user_agent",
    ORIGIN = "origin",
    REQUEST_BODY_LEN = "request_body_len",
    RESPONSE_BODY_LEN = "response_body_len",
    STATUS_CODE = "status_code",
    STATUS_MSG = "status_msg",
    TAGS = "tags",
    RESP_FUIDS = "resp_fuids",
    RESP_MIME_TYPES = "resp_mime_types",
}

pub(super) const LOG: Log = Log {
    name: "http",
    names: NAMES,
    marks: &[&["request_body_len"], &["method", "uri"], &["status_code", "status_msg"], &["method", "host"]],
    never: &["call_id", "request_path", "response_path"],
    decode,
};

fn decode(row: &Row<'_>, _: &mut Labels) -> Result<Event, Reject> {
    Ok(Event::Http(Box::new(Http {
        about: row.about(Proto::Tcp)?,
        trans_depth: row.small_count(col::TRANS_DEPTH)?.unwrap_or(0),
        method: row.string(col::METHOD),
        host: row.string(col::HOST),
        uri: row.string(col::URI),
        referrer: row.string(col::REFERRER),
        version: row.string(col::VERSION),
        user_agent: row.string(col::USER_AGENT),
        request_body_len: row.count(col::REQUEST_BODY_LEN)?.unwrap_or(0),
        response_body_len: row.count(col::RESPONSE_BODY_LEN)?.unwrap_or(0),
        // A server may send any number; one that is no status code is as good as none.
        status_code: row.count(col::STATUS_CODE)?.and_then(|code| u16::try_from(code).ok()),
        status_msg: row.string(col::STATUS_MSG),
        resp_mime_types: row.strings(col::RESP_MIME_TYPES),
        resp_fuids: row.strings(col::RESP_FUIDS),
        username: String::new(),
        orig_mime_types: Vec::new(),
        orig_fuids: Vec::new(),
        from_page: !row.string(col::ORIGIN).is_empty(),
    })))
}
