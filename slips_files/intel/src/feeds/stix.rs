//! STIX 2.1 bundles: the patterns of their indicators.

use serde::Deserialize;

use super::{Note, Reject, Sink, date};
use crate::ioc::{Ioc, domain};
use crate::snapshot::decode;

/// An object of a bundle; only indicators are read.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Object {
    #[serde(rename = "type")]
    kind: String,
    name: String,
    description: String,
    pattern: String,
    pattern_type: String,
    valid_from: String,
    valid_until: String,
    labels: Vec<String>,
    indicator_types: Vec<String>,
    revoked: bool,
}

pub(super) fn read(sink: &mut Sink<'_>, objects: &[Object]) {
    for object in objects.iter().filter(|object| object.kind == "indicator") {
        if object.revoked {
            sink.reject(Reject::Withdrawn);
        } else if !matches!(object.pattern_type.as_str(), "" | "stix") {
            sink.reject(Reject::Unsupported);
        } else {
            indicator(sink, object);
        }
    }
}

fn indicator(sink: &mut Sink<'_>, object: &Object) {
    let tags: Vec<&str> =
        object.labels.iter().chain(&object.indicator_types).map(String::as_str).take(16).collect();
    let tags = tags.join(", ");
    let description = if object.description.is_empty() { &object.name } else { &object.description };
    let note = Note {
        description,
        tags: &tags,
        first_seen: date::seconds(&object.valid_from),
        last_seen: date::seconds(&object.valid_until),
    };
    let Some(comparisons) = comparisons(&object.pattern) else { return sink.reject(Reject::Compound) };
    if comparisons.is_empty() {
        sink.reject(Reject::NoIndicator);
    }
    for (path, value) in comparisons {
        compare(sink, path, &value, note);
    }
}

/// One `path = 'value'`.
fn compare(sink: &mut Sink<'_>, path: &str, value: &str, note: Note<'_>) {
    let (object, property) = path.split_once(':').unwrap_or((path, ""));
    let hash =
        property.strip_prefix("hashes.").map(|name| name.trim_matches(['\'', '"']).to_ascii_uppercase());
    let ioc = match (object, hash.as_deref()) {
        ("ipv4-addr" | "ipv6-addr", None) => return sink.text(value, note),
        ("domain-name", None) => domain(value).map(Ioc::Domain),
        ("url", None) => Ioc::url(value),
        ("autonomous-system", None) => value.parse().ok().map(Ioc::Asn),
        ("x509-certificate", Some("SHA-1" | "SHA1")) => decode(value).map(Ioc::Certificate),
        ("file", Some("MD5")) => decode(value).map(Ioc::Md5),
        ("file", Some("SHA-1" | "SHA1")) => decode(value).map(Ioc::Sha1),
        ("file", Some("SHA-256" | "SHA256")) => decode(value).map(Ioc::Sha256),
        _ => return sink.reject(Reject::Unsupported),
    };
    match ioc {
        Some(ioc) => sink.take(&ioc, note),
        None => sink.reject(Reject::NoIndicator),
    }
}

/// The comparisons of a pattern of which each alone is enough; nothing where they are one only together.
fn comparisons(pattern: &str) -> Option<Vec<(&str, String)>> {
    let mut rest = pattern;
    let mut found = Vec::new();
    loop {
        // What stands before the next value: brackets, `OR`, the path and the sign.
        let Some((before, after)) = at_value(rest) else {
            return (!is_joined(rest)).then_some(found);
        };
        // `!=`, `<=`, `>=` say no indicator either.
        if is_joined(before) || before.trim_end().ends_with(['!', '<', '>']) || found.len() >= 64 {
            return None;
        }
        let (value, end) = literal(after)?;
        let path = before.trim_end().rsplit(['[', '(', ' ']).next().unwrap_or_default();
        found.push((path, value));
        rest = after.get(end..)?;
    }
}

/// What stands before the first `= '`, with or without the blank, and what follows it.
fn at_value(pattern: &str) -> Option<(&str, &str)> {
    let value = |(at, _)| Some((pattern.get(..at)?, pattern.get(at + 1..)?.trim_start().strip_prefix('\'')?));
    pattern.match_indices('=').find_map(value)
}

/// Whether comparisons are tied together, or negated.
fn is_joined(between: &str) -> bool {
    between.split([' ', '[', ']', '(', ')']).any(|word| matches!(word, "AND" | "FOLLOWEDBY" | "NOT"))
}

/// The text up to the closing quote, and where it ends. `\'` and `\\` stand for the sign.
fn literal(text: &str) -> Option<(String, usize)> {
    let mut value = String::new();
    let mut signs = text.char_indices();
    while let Some((at, sign)) = signs.next() {
        match sign {
            '\'' => return Some((value, at + 1)),
            '\\' => value.push(signs.next()?.1),
            other => value.push(other),
        }
    }
    None
}
