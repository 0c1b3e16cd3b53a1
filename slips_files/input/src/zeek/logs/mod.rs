//! The logs that we read: for each its columns, how it is recognised, and how its rows become events.

mod arp;
mod conn;
mod dce_rpc;
mod dhcp;
pub(crate) mod dns;
mod files;
mod ftp;
mod http;
mod kerberos;
mod ldap;
mod login;
mod mysql;
mod notice;
mod ntlm;
mod quic;
mod radius;
mod rfb;
mod smtp;
mod software;
mod ssh;
mod ssl;
mod tunnel;
mod weird;

use std::path::Path;
use std::sync::Arc;

use slips_core::event::{About, Event};
use slips_core::exchange::{App, Auth, AuthOutcome};
use slips_core::flow::Label;

use super::row::{Names, Raw, Row};
use crate::report::Reject;
use crate::sniff::Content;

/// One kind of log.
pub(crate) struct Log {
    /// Zeek's name of it (`#path`).
    pub(crate) name: &'static str,
    /// Its columns.
    pub(crate) names: Names,
    /// Sets of fields, each of which no other log has all together; how JSON rows are recognised.
    marks: &'static [&'static [&'static str]],
    /// Fields that tell it apart from a log that we do not read.
    never: &'static [&'static str],
    /// Makes an event of a row.
    pub(crate) decode: fn(&Row<'_>, &mut Labels) -> Result<Event, Reject>,
}

/// In the order in which JSON rows are matched against them.
static LOGS: [&Log; 23] = [
    &notice::LOG,
    &conn::LOG,
    &dns::LOG,
    &ssh::LOG,
    &ssl::LOG,
    &smtp::LOG,
    &http::LOG,
    &dhcp::LOG,
    &ftp::LOG,
    &tunnel::LOG,
    &files::LOG,
    &arp::LOG,
    &software::LOG,
    &login::LOG,
    &quic::LOG,
    &dce_rpc::LOG,
    &kerberos::LOG,
    &mysql::LOG,
    &ntlm::LOG,
    &rfb::LOG,
    &radius::LOG,
    &ldap::LOG,
    &weird::LOG,
];

/// The log of this name.
pub(crate) fn by_name(name: &str) -> Option<&'static Log> {
    LOGS.iter().copied().find(|log| log.name == name)
}

/// The log whose rows have these fields.
pub(crate) fn by_fields(has: impl Fn(&str) -> bool) -> Option<&'static Log> {
    let matches = |log: &&Log| {
        log.marks.iter().any(|mark| mark.iter().all(|field| has(field)))
            && !log.never.iter().any(|field| has(field))
    };
    LOGS.iter().copied().find(matches)
}

/// The log of a JSON row, by the `_path` that some writers add or else by its fields.
pub(crate) fn by_keys(keys: &[(&[u8], Raw<'_>)]) -> Option<&'static Log> {
    let path = keys.iter().find(|(key, _)| *key == b"_path");
    if let Some((_, Raw::Plain(path))) = path {
        return by_name(std::str::from_utf8(path).ok()?);
    }
    by_fields(|field| keys.iter().any(|(key, _)| *key == field.as_bytes()))
}

/// The log that a file's name speaks of (`conn.log`, `conn.2023-02-20-00.log.gz`); asked only where the content is silent.
pub(crate) fn by_file_name(path: &Path) -> Option<&'static Log> {
    by_name(path.file_name()?.to_str()?.split('.').next()?)
}

/// Whether a file's name says that it is an extract of this log (`conn_long.log`, `http-internal.log`), whose rows stand in the whole log,
/// too. A date behind the dash (`conn-23-02-20_00.00.00.log`) is that of a rotation.
pub(crate) fn is_part(name: &str, log: &Log) -> bool {
    match name.strip_prefix(log.name).map(str::as_bytes) {
        Some([b'_', ..]) => true,
        Some([b'-', next, ..]) => !next.is_ascii_digit(),
        _ => false,
    }
}

/// The log in a file that was looked at.
pub(crate) fn in_file(content: Content, path: &Path) -> Option<&'static Log> {
    match content {
        Content::ZeekTsv(log) => log,
        Content::ZeekJson(log) => log.or_else(|| by_file_name(path)),
        _ => None,
    }
}

/// An attempt to log in of which nothing else is known.
fn attempt(about: About, app: App, user: String, outcome: AuthOutcome) -> Auth {
    let nothing = String::new;
    let (domain, host, method, reason) = (nothing(), nothing(), nothing(), nothing());
    Auth { about, app, user, domain, host, method, outcome, reason, clear_password: false }
}

/// So many different labels of one file are kept; beyond that each flow gets its own.
const MAX_LABELS: usize = 256;

/// The labels of a file, each kept once.
#[derive(Debug, Default)]
pub(crate) struct Labels {
    known: Vec<Arc<Label>>,
    last: usize,
}

impl Labels {
    pub(crate) fn of(&mut self, label: &[u8], detailed: &[u8]) -> Option<Arc<Label>> {
        if label.is_empty() && detailed.is_empty() {
            return None;
        }
        let same =
            |known: &Arc<Label>| known.label.as_bytes() == label && known.detailed.as_bytes() == detailed;
        if let Some(last) = self.known.get(self.last).filter(|known| same(known)) {
            return Some(Arc::clone(last));
        }
        if let Some(at) = self.known.iter().position(same) {
            self.last = at;
            return self.known.get(at).cloned();
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let fresh = Arc::new(Label { label: text(label), detailed: text(detailed) });
        if self.known.len() < MAX_LABELS {
            self.last = self.known.len();
            self.known.push(Arc::clone(&fresh));
        }
        Some(fresh)
    }
}
