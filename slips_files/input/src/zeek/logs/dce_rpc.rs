//! dce_rpc.log: what one Windows host asks of another.

use slips_core::event::Event;
use slips_core::exchange::{App, Operation};
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
    ENDPOINT = "endpoint",
    OPERATION = "operation",
}

pub(super) const LOG: Log = Log {
    name: "dce_rpc",
    names: NAMES,
    marks: &[&["endpoint", "operation"], &["named_pipe", "endpoint"]],
    never: &[],
    decode,
};

fn decode(row: &Row<'_>, _: &mut Labels) -> Result<Event, Reject> {
    Ok(Event::Operation(Box::new(Operation {
        about: row.about(Proto::Tcp)?,
        app: App::DceRpc,
        action: "call",
        object: row.text(col::ENDPOINT),
        subject: String::new(),
        detail: row.text(col::OPERATION),
        status: String::new(),
    })))
}
