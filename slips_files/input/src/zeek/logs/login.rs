//! login.log: clear-text logins, as the original's Zeek script writes them. The password is never kept.

use slips_core::event::{Event, Login};
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
    PROTO = "proto",
    SERVICE = "service",
    SUCCESS = "success",
    CONFUSED = "confused",
    USER = "user",
    CLIENT_USER = "client_user",
    PASSWORD = "password",
}

pub(super) const LOG: Log = Log {
    name: "login",
    names: NAMES,
    marks: &[&["success", "confused"], &["client_user"]],
    never: &[],
    decode,
};

fn decode(row: &Row<'_>, _: &mut Labels) -> Result<Event, Reject> {
    let service = if row.has(col::SERVICE) { col::SERVICE } else { col::PROTO };
    Ok(Event::Login(Box::new(Login {
        about: row.about(Proto::Tcp)?,
        service: row.string(service),
        success: row.flag(col::SUCCESS)?,
        confused: row.flag(col::CONFUSED)?,
        user: row.string(if row.has(col::USER) { col::USER } else { col::CLIENT_USER }),
        client_user: row.string(col::CLIENT_USER),
        password_seen: row.has(col::PASSWORD),
        failures: 0,
    })))
}
