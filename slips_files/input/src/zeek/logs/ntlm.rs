//! ntlm.log: logins of Windows hosts, most of them over SMB.

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
    HOSTNAME = "hostname",
    DOMAINNAME = "domainname",
    SUCCESS = "success",
    STATUS = "status",
}

pub(super) const LOG: Log = Log {
    name: "ntlm",
    names: NAMES,
    marks: &[&["username", "domainname"], &["hostname", "domainname"], &["server_nb_computer_name"]],
    never: &[],
    decode,
};

fn decode(row: &Row<'_>, _: &mut Labels) -> Result<Event, Reject> {
    let about = row.about(Proto::Tcp)?;
    let app = match about.dst.port {
        139 | 445 => App::Smb,
        _ => App::DceRpc,
    };
    let mut auth = attempt(about, app, row.text(col::USERNAME), AuthOutcome::of(row.boolean(col::SUCCESS)?));
    auth.domain = row.text(col::DOMAINNAME);
    auth.host = row.text(col::HOSTNAME);
    auth.method = "NTLM".to_owned();
    auth.reason = row.text(col::STATUS);
    Ok(Event::Auth(Box::new(auth)))
}
