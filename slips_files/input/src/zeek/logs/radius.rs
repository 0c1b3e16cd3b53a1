//! radius.log: logins that a server of its own decides.

use slips_core::event::Event;
use slips_core::exchange::{App, AuthOutcome};
use slips_core::flow::Proto;

use super::super::row::{Row, columns};
use super::{Labels, Log, attempt};
use crate::report::Reject;

columns! {
    TS = "ts",
    UID = "uid",
    ORIG_H = "id.orig_h" | "id_orig_h",
    ORIG_P = "id.orig_p" | "id_orig_p",
    RESP_H = "id.resp_h" | "id_resp_h",
    RESP_P = "id.resp_p" | "id_resp_p",
    USERNAME = "username",
    REPLY_MSG = "reply_msg",
    RESULT = "result",
}

pub(super) const LOG: Log = Log {
    name: "radius",
    names: NAMES,
    marks: &[&["username", "result"], &["framed_addr", "result"], &["connect_info", "result"]],
    never: &[],
    decode,
};

fn decode(row: &Row<'_>, _: &mut Labels) -> Result<Event, Reject> {
    let outcome = match row.string(col::RESULT).as_str() {
        "success" => AuthOutcome::Succeeded,
        "failed" => AuthOutcome::Failed,
        _ => AuthOutcome::Unknown,
    };
    let mut auth = attempt(row.about(Proto::Udp)?, App::Radius, row.text(col::USERNAME), outcome);
    if outcome == AuthOutcome::Failed {
        auth.reason = row.text(col::REPLY_MSG);
    }
    Ok(Event::Auth(Box::new(auth)))
}
