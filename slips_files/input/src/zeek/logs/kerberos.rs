//! kerberos.log: of the tickets, the first of a user, which takes his password.

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
    REQUEST_TYPE = "request_type",
    CLIENT = "client",
    SUCCESS = "success",
    ERROR_MSG = "error_msg",
}

pub(super) const LOG: Log = Log {
    name: "kerberos",
    names: NAMES,
    marks: &[&["request_type", "client"], &["request_type", "success"]],
    never: &[],
    decode,
};

/// Errors that say that the user is not let in (RFC 4120, 7.5.9), not that something else is to be tried.
const REFUSALS: [&str; 5] = [
    "KDC_ERR_C_PRINCIPAL_UNKNOWN",
    "KDC_ERR_POLICY",
    "KDC_ERR_CLIENT_REVOKED",
    "KDC_ERR_KEY_EXPIRED",
    "KDC_ERR_PREAUTH_FAILED",
];

fn decode(row: &Row<'_>, _: &mut Labels) -> Result<Event, Reject> {
    let reason = row.text(col::ERROR_MSG);
    let outcome = match row.boolean(col::SUCCESS)? {
        Some(true) => AuthOutcome::Succeeded,
        _ if REFUSALS.contains(&reason.as_str()) => AuthOutcome::Failed,
        _ => AuthOutcome::Unknown,
    };
    if row.string(col::REQUEST_TYPE) != "AS" || outcome == AuthOutcome::Unknown {
        return Err(Reject::new(Reason::UnusedKind));
    }
    let client = row.text(col::CLIENT);
    let (user, realm) = client.rsplit_once('/').unwrap_or((&client, ""));
    // A KDC is asked over either; the log does not tell over which.
    let mut auth = attempt(row.about(Proto::Udp)?, App::Kerberos, user.to_owned(), outcome);
    auth.domain = realm.to_owned();
    auth.reason = reason;
    Ok(Event::Auth(Box::new(auth)))
}
