//! ftp.log: commands that move files.

use slips_core::event::{Event, Ftp};
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
    USER = "user",
    COMMAND = "command",
    ARG = "arg",
    REPLY_CODE = "reply_code",
    DATA_PORT = "data_channel.resp_p",
}

pub(super) const LOG: Log = Log {
    name: "ftp",
    names: NAMES,
    marks: &[&["data_channel.resp_p"], &["command", "reply_code"], &["command", "user", "arg"]],
    never: &[],
    decode,
};

fn decode(row: &Row<'_>, _: &mut Labels) -> Result<Event, Reject> {
    Ok(Event::Ftp(Box::new(Ftp {
        about: row.about(Proto::Tcp)?,
        user: row.string(col::USER),
        command: row.string(col::COMMAND),
        arg: row.string(col::ARG),
        reply_code: row.count(col::REPLY_CODE)?.and_then(|code| u16::try_from(code).ok()),
        data_port: row.short_count(col::DATA_PORT)?,
    })))
}
