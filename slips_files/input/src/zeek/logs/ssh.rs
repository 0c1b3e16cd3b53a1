//! ssh.log: a handshake and what came of the authentication.

use slips_core::event::{Event, Ssh};
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
    AUTH_SUCCESS = "auth_success",
    AUTH_ATTEMPTS = "auth_attempts",
    DIRECTION = "direction",
    CLIENT = "client",
    SERVER = "server",
    CIPHER_ALG = "cipher_alg",
    MAC_ALG = "mac_alg",
    COMPRESSION_ALG = "compression_alg",
    KEX_ALG = "kex_alg",
    HOST_KEY_ALG = "host_key_alg",
    HOST_KEY = "host_key" | "host_key_fingerprint",
    HASSH = "hassh",
    HASSH_SERVER = "hassh_server" | "hasshServer",
}

pub(super) const LOG: Log = Log {
    name: "ssh",
    names: NAMES,
    marks: &[&["auth_attempts"], &["auth_success"], &["cipher_alg"], &["kex_alg"], &["host_key_alg"]],
    never: &[],
    decode,
};

fn decode(row: &Row<'_>, _: &mut Labels) -> Result<Event, Reject> {
    Ok(Event::Ssh(Box::new(Ssh {
        about: row.about(Proto::Tcp)?,
        version: row.count(col::VERSION)?.and_then(|version| u8::try_from(version).ok()),
        auth_success: row.boolean(col::AUTH_SUCCESS)?,
        auth_attempts: row.small_count(col::AUTH_ATTEMPTS)?.unwrap_or(0),
        client: row.string(col::CLIENT),
        server: row.string(col::SERVER),
        cipher_alg: row.string(col::CIPHER_ALG),
        mac_alg: row.string(col::MAC_ALG),
        compression_alg: row.string(col::COMPRESSION_ALG),
        kex_alg: row.string(col::KEX_ALG),
        host_key_alg: row.string(col::HOST_KEY_ALG),
        host_key: row.string(col::HOST_KEY),
        hassh: row.string(col::HASSH),
        hassh_server: row.string(col::HASSH_SERVER),
    })))
}
