//! MISP events: their attributes.

use serde::Deserialize;

use super::{Note, Reject, Sink, date};
use crate::ioc::{Ioc, domain};
use crate::snapshot::decode;

/// An event.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Event {
    info: String,
    #[serde(rename = "Attribute")]
    attributes: Vec<Attribute>,
    #[serde(rename = "Object")]
    objects: Vec<Object>,
    #[serde(rename = "Tag")]
    tags: Vec<Tag>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Object {
    #[serde(rename = "Attribute")]
    attributes: Vec<Attribute>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Tag {
    name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Attribute {
    #[serde(rename = "type")]
    kind: String,
    value: String,
    comment: String,
    /// Absent in some exports, which then hold nothing else.
    to_ids: Option<bool>,
    deleted: bool,
    first_seen: Option<String>,
    last_seen: Option<String>,
}

pub(super) fn read(sink: &mut Sink<'_>, event: &Event) {
    let tags: Vec<&str> = event.tags.iter().map(|tag| tag.name.as_str()).take(16).collect();
    let tags = tags.join(", ");
    let of_objects = event.objects.iter().flat_map(|object| &object.attributes);
    for attribute in event.attributes.iter().chain(of_objects) {
        if attribute.deleted || attribute.to_ids == Some(false) {
            sink.reject(Reject::Withdrawn);
            continue;
        }
        let description = if attribute.comment.is_empty() { &event.info } else { &attribute.comment };
        let seen = |time: &Option<String>| time.as_deref().map_or(0, date::seconds);
        let (first_seen, last_seen) = (seen(&attribute.first_seen), seen(&attribute.last_seen));
        take(sink, attribute, Note { description, tags: &tags, first_seen, last_seen });
    }
}

fn take(sink: &mut Sink<'_>, attribute: &Attribute, note: Note<'_>) {
    // `filename|md5`, `ip-dst|port`, `domain|ip`: both sides are named by the type.
    let kinds = attribute.kind.split('|').map(str::trim);
    let values = attribute.value.split('|').map(str::trim);
    let mut any = false;
    for (kind, value) in kinds.zip(values) {
        let ioc = match kind {
            "ip-src" | "ip-dst" | "ip" => {
                any = true;
                sink.text(value, note);
                continue;
            }
            "domain" | "hostname" => domain(value).map(Ioc::Domain),
            "url" | "uri" => Ioc::url(value),
            "md5" => decode(value).map(Ioc::Md5),
            "sha1" => decode(value).map(Ioc::Sha1),
            "sha256" => decode(value).map(Ioc::Sha256),
            "ja3-fingerprint-md5" => decode(value).map(Ioc::Ja3),
            "ja3s-fingerprint-md5" => decode(value).map(Ioc::Ja3s),
            "jarm-fingerprint" => decode(value).map(Ioc::Jarm),
            "x509-fingerprint-sha1" => decode(value).map(Ioc::Certificate),
            "AS" => value.trim_start_matches(['A', 'S', 'a', 's']).parse().ok().map(Ioc::Asn),
            "filename" | "port" => continue,
            _ => break,
        };
        any = true;
        match ioc {
            Some(ioc) => sink.take(&ioc, note),
            None => sink.reject(Reject::NoIndicator),
        }
    }
    if !any {
        sink.reject(Reject::Unsupported);
    }
}
