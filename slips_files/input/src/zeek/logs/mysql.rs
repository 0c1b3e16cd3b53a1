//! mysql.log: of the commands, those that log in.

use slips_core::event::Event;
use slips_core::exchange::{App, AuthOutcome};
use slips_core::flow::Proto;

use super::super::row::{Row, columns};
use super::{Labels, Log, attempt};
use crate::report::{Reason, Reject};

columns! {
    TS = "ts",
    UID = "uid",
    ORIG_H = "id.orig_h" | "id_orig_h",
    ORIG_P = "id.orig_p" | "id_orig_p",
    RESP_H = "id.resp_h" | "id_resp_h",
    RESP_P = "id.resp_p" | "id_resp_p",
    CMD = "cmd",
    ARG = "arg",
    SUCCESS = "success",
    ROWS = "rows",
    RESPONSE = "response",
}

pub(super) const LOG: Log =
    Log { name: "mysql", names: NAMES, marks: &[&["cmd", "arg"], &["cmd", "success"]], never: &[], decode };

fn decode(row: &Row<'_>, _: &mut Labels) -> Result<Event, Reject> {
    if !matches!(row.string(col::CMD).as_str(), "login" | "change_user") {
        return Err(Reject::new(Reason::UnusedKind));
    }
    let outcome = AuthOutcome::of(row.boolean(col::SUCCESS)?);
    let mut auth = attempt(row.about(Proto::Tcp)?, App::Mysql, row.text(col::ARG), outcome);
    if outcome == AuthOutcome::Failed {
        auth.reason = row.text(col::RESPONSE);
    }
    Ok(Event::Auth(Box::new(auth)))
}
