//! Lists of lines: plain ones, hosts files, filters of browsers, CSV with and without names of columns, networks with remarks.

use super::{Holds, Note, Reject, Sink, date};
use crate::ioc::Ioc;
use crate::snapshot::decode;

/// Longest line.
const MAX_LINE: usize = 64 << 10;
/// Most columns that are looked at.
const MAX_COLUMNS: usize = 64;

/// Names of columns that hold an indicator, as lists write them.
const INDICATOR: [&str; 34] = [
    "ioc",
    "ioc_value",
    "indicator",
    "indicator_value",
    "value",
    "ip",
    "ips",
    "ip_address",
    "ipaddress",
    "ip_v4",
    "ipv4",
    "dst_ip",
    "dstip",
    "destination_ip",
    "attacker",
    "address",
    "cidr",
    "network",
    "netblock",
    "domain",
    "domains",
    "domain_name",
    "hostname",
    "host",
    "fqdn",
    "url",
    "md5",
    "md5_hash",
    "sha1",
    "sha1_hash",
    "sha256",
    "sha256_hash",
    "ja3_md5",
    "atom_value",
];
/// Parts of names of columns that describe it, the best first.
const DESCRIPTION: [&str; 6] = ["desc", "malware", "threat", "reason", "tag", "comment"];
const FIRST_SEEN: [&str; 5] = ["first_seen", "firstseen", "first_seen_utc", "dateadded", "listingdate"];
const LAST_SEEN: [&str; 4] = ["last_seen", "lastseen", "last_online", "last_seen_utc"];
/// Addresses to which hosts files send unwanted names.
const NOWHERE: [&str; 5] = ["0.0.0.0", "127.0.0.1", "::", "::1", "127.0.1.1"];

/// Which columns hold what.
#[derive(Debug, Default)]
struct Columns {
    indicators: Vec<usize>,
    description: Option<usize>,
    first_seen: Option<usize>,
    last_seen: Option<usize>,
    /// Found in a row, not named: a later row may change it.
    guessed: bool,
}

pub(super) fn read(sink: &mut Sink<'_>, bytes: &[u8]) {
    let mut columns = Columns::default();
    for line in bytes.split(|byte| *byte == b'\n') {
        if line.len() > MAX_LINE {
            sink.reject(Reject::NotText);
            continue;
        }
        match std::str::from_utf8(line) {
            Ok(text) => row(sink, &mut columns, text.trim()),
            Err(_) => sink.reject(Reject::NotText),
        }
    }
}

fn row(sink: &mut Sink<'_>, columns: &mut Columns, line: &str) {
    if line.is_empty() || line.starts_with("//") || line.starts_with('!') || line.starts_with(';') {
        return;
    }
    if let Some(remark) = line.strip_prefix('#') {
        if let Some(named) = named(&fields(remark)) {
            *columns = named;
        }
        return;
    }
    if hosts(sink, line) || filter(sink, line) {
        return;
    }
    let fields = fields(line);
    if let [whole] = fields.as_slice() {
        return alone(sink, whole);
    }
    if let Some(named) = named(&fields) {
        *columns = named;
        return;
    }
    if columns.indicators.is_empty() || columns.guessed && !fits(sink, columns, &fields) {
        let Some(at) = fields.iter().position(|field| is_indicator(sink.feed.holds, field)) else {
            return sink.reject(Reject::NoIndicator);
        };
        // Without names the last column mostly says what it is.
        let description = fields.len().checked_sub(1).filter(|last| *last != at);
        *columns = Columns { indicators: vec![at], description, guessed: true, ..Columns::default() };
    }
    take(sink, columns, &fields);
}

fn take(sink: &mut Sink<'_>, columns: &Columns, fields: &[String]) {
    let field = |at: Option<usize>| at.and_then(|at| fields.get(at)).map_or("", String::as_str);
    let note = Note {
        description: field(columns.description),
        tags: "",
        first_seen: date::seconds(field(columns.first_seen)),
        last_seen: date::seconds(field(columns.last_seen)),
    };
    let mut any = false;
    for at in &columns.indicators {
        let text = field(Some(*at));
        if !text.is_empty() && text != "-" && text != "n/a" {
            sink.text(text, note);
            any = true;
        }
    }
    if !any {
        sink.reject(Reject::NoIndicator);
    }
}

/// The columns that a row names, if it does: at least one of indicators, and no field is one itself.
fn named(fields: &[String]) -> Option<Columns> {
    let name =
        |field: &String| field.trim().trim_start_matches('#').trim().to_ascii_lowercase().replace(' ', "_");
    let names: Vec<String> = fields.iter().map(name).collect();
    let is = |known: &[&str], name: &String| known.contains(&name.as_str());
    let indicators: Vec<usize> = names
        .iter()
        .enumerate()
        .filter(|(_, name)| {
            is(&INDICATOR, name) || name.strip_suffix("_fingerprint").is_some_and(|kind| kind == "sha1")
        })
        .map(|(at, _)| at)
        .collect();
    if indicators.is_empty() || fields.iter().any(|field| is_indicator(Holds::Indicators, field)) {
        return None;
    }
    let at = |known: &[&str]| names.iter().position(|name| is(known, name));
    let described = |part: &&str| names.iter().position(|name| name.contains(part));
    Some(Columns {
        // A list with names and addresses is about the names; of several digests each counts.
        description: DESCRIPTION.iter().find_map(described).filter(|at| !indicators.contains(at)),
        first_seen: at(&FIRST_SEEN),
        last_seen: at(&LAST_SEEN),
        indicators,
        guessed: false,
    })
}

/// Whether the guessed column holds an indicator in this row, too.
fn fits(sink: &Sink<'_>, columns: &Columns, fields: &[String]) -> bool {
    let holds = sink.feed.holds;
    columns.indicators.iter().any(|at| fields.get(*at).is_some_and(|field| is_indicator(holds, field)))
}

/// Whether a field looks like an indicator. A name must be of a zone that exists, or every file name would be one.
fn is_indicator(holds: Holds, field: &str) -> bool {
    match holds {
        Holds::Ja3 => decode::<16>(field).is_some(),
        Holds::Certificates => decode::<20>(field).is_some(),
        Holds::Indicators => match Ioc::guess(field) {
            Ok(Ioc::Domain(name)) => crate::ioc::is_known_zone(&name),
            Ok(Ioc::Asn(_)) | Err(crate::ioc::NotAnIoc::Unknown(_)) => false,
            Ok(_) | Err(_) => true,
        },
    }
}

/// A line of one field, with a remark behind it perhaps: `192.0.2.0/24 ; SBL1`, `bad.example # c2`.
fn alone(sink: &mut Sink<'_>, line: &str) {
    let (text, remark) = line.split_once(['#', ';']).unwrap_or((line, ""));
    // A URL may hold both signs.
    let (text, remark) = if line.contains("://") { (line, "") } else { (text, remark) };
    let mut words = text.split_ascii_whitespace();
    let (Some(first), rest) = (words.next(), words.next().unwrap_or_default()) else { return };
    let description = if remark.trim().is_empty() { rest } else { remark.trim() };
    sink.text(first, Note { description, ..Note::default() });
}

/// `0.0.0.0 bad.example other.example`
fn hosts(sink: &mut Sink<'_>, line: &str) -> bool {
    let mut words = line.split('#').next().unwrap_or_default().split_ascii_whitespace();
    if !words.next().is_some_and(|first| NOWHERE.contains(&first)) {
        return false;
    }
    let mut any = false;
    for name in words {
        any = true;
        if name.contains('.') && !NOWHERE.contains(&name) {
            sink.text(name, Note::default());
        }
    }
    any
}

/// `||bad.example^`, as filters of browsers name whole domains.
fn filter(sink: &mut Sink<'_>, line: &str) -> bool {
    let Some(rest) = line.strip_prefix("||") else { return false };
    match rest.strip_suffix('^') {
        Some(name) => sink.text(name, Note::default()),
        None => sink.reject(Reject::NoIndicator),
    }
    true
}

/// The fields of a line: by the first of `,`, tab and `|` that it holds outside quotes; `;` only between more than two.
fn fields(line: &str) -> Vec<String> {
    let separator = [',', '\t', '|', ';'].into_iter().find(|sign| {
        let count = line.matches(*sign).count();
        // A remark behind a network is no second column, and a URL may hold any of them.
        if *sign == ';' {
            count >= 2
        } else {
            count >= 1 && !(line.contains("://") && !line.contains('"') && is_lone_url(line))
        }
    });
    let Some(separator) = separator else { return vec![line.trim().trim_matches('"').to_owned()] };
    let (mut fields, mut field, mut quoted) = (Vec::new(), String::new(), false);
    for sign in line.chars() {
        if sign == '"' {
            quoted = !quoted;
        } else if sign == separator && !quoted && fields.len() < MAX_COLUMNS {
            fields.push(std::mem::take(&mut field).trim().to_owned());
        } else {
            field.push(sign);
        }
    }
    fields.push(field.trim().to_owned());
    fields
}

/// A line that is nothing but a URL, whatever signs are in it.
fn is_lone_url(line: &str) -> bool {
    let scheme = line.split("://").next().unwrap_or_default();
    let is_scheme = !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_scheme && !line.contains(char::is_whitespace)
}
