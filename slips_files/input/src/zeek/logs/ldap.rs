//! ldap.log: of the requests, those that log in.

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
    PROTO = "proto",
    OPCODE = "opcode",
    RESULT = "result",
    OBJECT = "object",
}

pub(super) const LOG: Log =
    Log { name: "ldap", names: NAMES, marks: &[&["message_id", "opcode"]], never: &[], decode };

fn decode(row: &Row<'_>, _: &mut Labels) -> Result<Event, Reject> {
    let opcode = row.text(col::OPCODE);
    let reason = row.text(col::RESULT);
    // Of what else a bind may end with, most asks for something else first.
    let outcome = match reason.as_str() {
        "success" => AuthOutcome::Succeeded,
        "invalid credentials" | "invalidCredentials" => AuthOutcome::Failed,
        _ => AuthOutcome::Unknown,
    };
    let Some(method) = opcode.strip_prefix("bind ").filter(|_| outcome != AuthOutcome::Unknown) else {
        return Err(Reject::new(Reason::UnusedKind));
    };
    let about = row.about(row.proto(col::PROTO, Proto::Tcp))?;
    let mut auth = attempt(about, App::Ldap, row.text(col::OBJECT), outcome);
    auth.method = method.to_owned();
    auth.clear_password = method == "simple";
    auth.reason = if outcome == AuthOutcome::Failed { reason } else { String::new() };
    Ok(Event::Auth(Box::new(auth)))
}
