//! files.log: transferred files. Older versions name the two hosts in `tx_hosts` and `rx_hosts`, newer ones the connection.

use slips_core::event::{Event, File};
use slips_core::flow::Uid;

use super::super::row::{Row, columns};
use super::super::value;
use super::{Labels, Log};
use crate::report::Reject;

columns! {
    TS = "ts",
    FUID = "fuid",
    TX_HOSTS = "tx_hosts",
    RX_HOSTS = "rx_hosts",
    UIDS = "conn_uids" | "uid",
    ORIG_H = "id.orig_h" | "id_orig_h",
    ORIG_P = "id.orig_p" | "id_orig_p",
    RESP_H = "id.resp_h" | "id_resp_h",
    RESP_P = "id.resp_p" | "id_resp_p",
    SOURCE = "source",
    DEPTH = "depth",
    ANALYZERS = "analyzers",
    MIME_TYPE = "mime_type",
    DURATION = "duration",
    LOCAL_ORIG = "local_orig",
    IS_ORIG = "is_orig",
    SEEN_BYTES = "seen_bytes",
    TOTAL_BYTES = "total_bytes",
    MISSING_BYTES = "missing_bytes",
    OVERFLOW_BYTES = "overflow_bytes",
    TIMEDOUT = "timedout",
    MD5 = "md5",
    SHA1 = "sha1",
    SHA256 = "sha256",
}

pub(super) const LOG: Log = Log {
    name: "files",
    names: NAMES,
    marks: &[&["fuid", "seen_bytes"], &["fuid", "source", "analyzers"], &["fuid", "tx_hosts"]],
    never: &[],
    decode,
};

fn decode(row: &Row<'_>, _: &mut Labels) -> Result<Event, Reject> {
    let first = |slot| row.strings(slot).first().and_then(|host| value::addr(host.as_bytes()));
    let (orig, resp) = (row.addr(col::ORIG_H)?, row.addr(col::RESP_H)?);
    let (from, to) = if row.flag(col::IS_ORIG)? { (orig, resp) } else { (resp, orig) };
    Ok(Event::File(Box::new(File {
        at: row.time(col::TS)?,
        fuid: row.uid(col::FUID),
        uid: row.strings(col::UIDS).first().map(|uid| Uid::new(uid)).unwrap_or_default(),
        sender: first(col::TX_HOSTS).or(from),
        receiver: first(col::RX_HOSTS).or(to),
        source: row.string(col::SOURCE),
        mime_type: row.string(col::MIME_TYPE),
        analyzers: row.strings(col::ANALYZERS),
        md5: row.string(col::MD5),
        sha1: row.string(col::SHA1),
        sha256: row.string(col::SHA256),
        total_bytes: row.count(col::TOTAL_BYTES)?,
        ..File::default()
    })))
}
