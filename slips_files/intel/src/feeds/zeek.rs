//! Zeek's intelligence framework: tab-separated, `#fields` names the columns.

use std::net::IpAddr;

use slips_core::addr::Net;

use super::{Note, Reject, Sink};
use crate::ioc::{Ioc, domain};
use crate::snapshot::decode;

const FIELDS: &str = "#fields\t";

/// Whether one of the first lines names columns of Zeek.
pub(super) fn is_one(bytes: &[u8]) -> bool {
    bytes.split(|byte| *byte == b'\n').take(20).any(|line| line.starts_with(FIELDS.as_bytes()))
}

#[derive(Default)]
struct Columns {
    indicator: Option<usize>,
    kind: Option<usize>,
    description: Option<usize>,
}

impl Columns {
    fn of(names: &str) -> Self {
        let at = |name: &str| names.split('\t').position(|column| column.trim() == name);
        Self { indicator: at("indicator"), kind: at("indicator_type"), description: at("meta.desc") }
    }
}

pub(super) fn read(sink: &mut Sink<'_>, bytes: &[u8]) {
    let mut columns = Columns::default();
    for line in bytes.split(|byte| *byte == b'\n') {
        let Ok(line) = std::str::from_utf8(line) else {
            sink.reject(Reject::NotText);
            continue;
        };
        if let Some(names) = line.strip_prefix(FIELDS) {
            columns = Columns::of(names);
        } else if !line.trim().is_empty() && !line.starts_with('#') {
            row(sink, &columns, line);
        }
    }
}

fn row(sink: &mut Sink<'_>, columns: &Columns, line: &str) {
    let field = |at: Option<usize>| at.and_then(|at| line.split('\t').nth(at)).map_or("", str::trim);
    let (text, description) = (field(columns.indicator), field(columns.description));
    let note = Note { description: if description == "-" { "" } else { description }, ..Note::default() };
    let ioc = match field(columns.kind) {
        "Intel::ADDR" => text.parse::<IpAddr>().ok().map(|addr| Ioc::Net(Net::host(addr.to_canonical()))),
        "Intel::SUBNET" => text.parse().ok().map(Ioc::Net),
        "Intel::DOMAIN" => domain(text).map(Ioc::Domain),
        "Intel::URL" => Ioc::url(text),
        "Intel::FILE_HASH" => return sink.text(text, note),
        "Intel::CERT_HASH" => decode(text).map(Ioc::Certificate),
        "Intel::EMAIL" | "Intel::USER_NAME" | "Intel::FILE_NAME" | "Intel::SOFTWARE"
        | "Intel::PUBKEY_HASH" => {
            return sink.reject(Reject::Unsupported);
        }
        _ => None,
    };
    match ioc {
        // The limits of networks are those of all lists.
        Some(Ioc::Net(net)) => sink.text(&net.to_string(), note),
        Some(ioc) => sink.take(&ioc, note),
        None => sink.reject(Reject::NoIndicator),
    }
}
