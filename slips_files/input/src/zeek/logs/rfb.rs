//! rfb.log: desktops over VNC, and whether their password was right.

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
    AUTHENTICATION_METHOD = "authentication_method",
    AUTH = "auth",
}

pub(super) const LOG: Log = Log {
    name: "rfb",
    names: NAMES,
    marks: &[&["authentication_method"], &["client_major_version", "server_major_version"]],
    never: &[],
    decode,
};

fn decode(row: &Row<'_>, _: &mut Labels) -> Result<Event, Reject> {
    let outcome = AuthOutcome::of(row.boolean(col::AUTH)?);
    let mut auth = attempt(row.about(Proto::Tcp)?, App::Rfb, String::new(), outcome);
    auth.method = row.text(col::AUTHENTICATION_METHOD);
    Ok(Event::Auth(Box::new(auth)))
}
