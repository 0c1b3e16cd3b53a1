//! smtp.log: a mail transaction.

use slips_core::event::{Event, Smtp};
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
    HELO = "helo",
    LAST_REPLY = "last_reply",
    TLS = "tls",
    SUBJECT = "subject",
}

pub(super) const LOG: Log = Log {
    name: "smtp",
    names: NAMES,
    marks: &[&["helo"], &["mailfrom"], &["last_reply"], &["trans_depth", "path", "tls"]],
    never: &[],
    decode,
};

fn decode(row: &Row<'_>, _: &mut Labels) -> Result<Event, Reject> {
    Ok(Event::Smtp(Box::new(Smtp {
        about: row.about(Proto::Tcp)?,
        helo: row.string(col::HELO),
        last_reply: row.string(col::LAST_REPLY),
        tls: row.flag(col::TLS)?,
        subject: row.string(col::SUBJECT),
        fuids: Vec::new(),
    })))
}
