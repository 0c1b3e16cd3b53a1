//! tunnel.log: tunnels found and closed.

use slips_core::event::{Event, Tunnel};
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
    TUNNEL_TYPE = "tunnel_type",
    ACTION = "action",
}

pub(super) const LOG: Log =
    Log { name: "tunnel", names: NAMES, marks: &[&["tunnel_type"]], never: &[], decode };

fn decode(row: &Row<'_>, _: &mut Labels) -> Result<Event, Reject> {
    Ok(Event::Tunnel(Box::new(Tunnel {
        // The log does not name the transport, and most tunnels have none.
        about: row.about(Proto::Other(255))?,
        tunnel_type: row.string(col::TUNNEL_TYPE),
        action: row.string(col::ACTION),
    })))
}
