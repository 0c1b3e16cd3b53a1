//! ssl.log: a TLS or DTLS handshake.

use slips_core::event::{Event, Tls, TlsFields};
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
    CIPHER = "cipher",
    CURVE = "curve",
    SERVER_NAME = "server_name",
    RESUMED = "resumed",
    LAST_ALERT = "last_alert",
    NEXT_PROTOCOL = "next_protocol",
    ESTABLISHED = "established",
    SSL_HISTORY = "ssl_history",
    CERT_CHAIN_FPS = "cert_chain_fps",
    CLIENT_CERT_CHAIN_FPS = "client_cert_chain_fps",
    SUBJECT = "subject",
    ISSUER = "issuer",
    VALIDATION_STATUS = "validation_status",
    JA3 = "ja3",
    JA3S = "ja3s",
    JA4 = "ja4",
}

pub(super) const LOG: Log = Log {
    name: "ssl",
    names: NAMES,
    marks: &[
        &["resumed", "established"],
        &["ssl_history"],
        &["version", "cipher"],
        &["established", "id.resp_h"],
    ],
    never: &[],
    decode,
};

fn decode(row: &Row<'_>, _: &mut Labels) -> Result<Event, Reject> {
    let version = row.string(col::VERSION);
    let proto = if version.starts_with("DTLS") { Proto::Udp } else { Proto::Tcp };
    Ok(Event::Tls(Box::new(Tls {
        about: row.about(proto)?,
        fields: TlsFields {
            version,
            cipher: row.string(col::CIPHER),
            curve: row.string(col::CURVE),
            server_name: row.string(col::SERVER_NAME),
            next_protocol: row.string(col::NEXT_PROTOCOL),
            resumed: row.flag(col::RESUMED)?,
            established: row.flag(col::ESTABLISHED)?,
            subject: row.string(col::SUBJECT),
            issuer: row.string(col::ISSUER),
            validation_status: row.string(col::VALIDATION_STATUS),
            cert_chain_fps: row.strings(col::CERT_CHAIN_FPS),
            ja3: row.string(col::JA3),
            ja3s: row.string(col::JA3S),
            ja4: row.string(col::JA4),
            ..TlsFields::default()
        },
    })))
}
