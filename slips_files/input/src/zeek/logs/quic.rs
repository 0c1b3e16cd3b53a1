//! quic.log: a QUIC connection as far as its first packets show it.

use slips_core::event::{Event, Quic};
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
    VERSION = "version",
    CLIENT_INITIAL_DCID = "client_initial_dcid",
    CLIENT_SCID = "client_scid",
    SERVER_SCID = "server_scid",
    SERVER_NAME = "server_name",
    CLIENT_PROTOCOL = "client_protocol",
    HISTORY = "history",
}

pub(super) const LOG: Log =
    Log { name: "quic", names: NAMES, marks: &[&["client_initial_dcid"]], never: &[], decode };

fn decode(row: &Row<'_>, _: &mut Labels) -> Result<Event, Reject> {
    let scid = |slot| row.is_there(slot).then(|| row.string(slot));
    Ok(Event::Quic(Box::new(Quic {
        about: row.about(Proto::Udp)?,
        version: row.string(col::VERSION),
        client_initial_dcid: row.string(col::CLIENT_INITIAL_DCID),
        client_scid: scid(col::CLIENT_SCID),
        server_scid: scid(col::SERVER_SCID),
        server_name: row.string(col::SERVER_NAME),
        client_protocol: row.string(col::CLIENT_PROTOCOL),
        history: row.string(col::HISTORY),
    })))
}
