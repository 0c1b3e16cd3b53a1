//! JSON: STIX bundles, MISP events, lists of objects and of texts, and objects one a line.

use serde::Deserialize;
use serde_json::Value;

use super::{MAX_DOCUMENT, Note, Reject, Sink, date, misp, stix};

/// Keys that hold an indicator; of `ip` also what is below it (`{"ip": {"v4": …}}`).
const INDICATOR: [&str; 16] = [
    "ioc",
    "ioc_value",
    "indicator",
    "value",
    "ip",
    "ip_address",
    "cidr",
    "domain",
    "DomainAddress",
    "hostname",
    "url",
    "md5",
    "sha1",
    "sha256",
    "ja3",
    "ja4",
];
const BELOW: [&str; 4] = ["v4", "v6", "value", "address"];
const DESCRIPTION: [&str; 7] =
    ["description", "threat", "malware_printable", "malware", "name", "reason", "sblid"];
const FIRST_SEEN: [&str; 4] = ["first_seen", "fseen", "InsertDate", "date_added"];
const LAST_SEEN: [&str; 3] = ["last_seen", "lseen", "last_online"];

/// A document that is one of the known ones. What is not there stays empty.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Document {
    #[serde(rename = "type")]
    kind: String,
    objects: Vec<stix::Object>,
    #[serde(rename = "Event")]
    event: Option<misp::Event>,
    response: Vec<Response>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Response {
    #[serde(rename = "Event")]
    event: misp::Event,
}

pub(super) fn read(sink: &mut Sink<'_>, bytes: &[u8]) {
    let mut lines =
        bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or_default();
    let more = lines.next().is_some();
    if more && first.starts_with(b"{") && serde_json::from_slice::<Value>(first).is_ok() {
        let lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        lines.filter(|line| !line.is_empty()).for_each(|line| one_line(sink, line));
    } else if bytes.len() > MAX_DOCUMENT {
        sink.reject(Reject::Broken);
    } else if bytes.starts_with(b"[") {
        match serde_json::from_slice::<Vec<Value>>(bytes) {
            Ok(items) => items.iter().for_each(|item| self::item(sink, item)),
            Err(_) => sink.reject(Reject::Broken),
        }
    } else {
        document(sink, bytes);
    }
}

fn document(sink: &mut Sink<'_>, bytes: &[u8]) {
    let known = serde_json::from_slice::<Document>(bytes).ok();
    if let Some(document) = &known
        && (document.kind == "bundle" || document.event.is_some() || !document.response.is_empty())
    {
        stix::read(sink, &document.objects);
        let events = document.event.iter().chain(document.response.iter().map(|response| &response.event));
        events.for_each(|event| misp::read(sink, event));
        return;
    }
    match serde_json::from_slice::<Value>(bytes) {
        // An export whose items stand under some key: `{"data": [ … ]}`.
        Ok(Value::Object(map)) if map.values().any(Value::is_array) => {
            let lists = map.values().filter_map(Value::as_array);
            lists.flatten().for_each(|item| self::item(sink, item));
        }
        Ok(item) => self::item(sink, &item),
        Err(_) => sink.reject(Reject::Broken),
    }
}

fn one_line(sink: &mut Sink<'_>, line: &[u8]) {
    match serde_json::from_slice(line) {
        Ok(item) => item_of_line(sink, &item),
        Err(_) => sink.reject(Reject::Broken),
    }
}

/// Spamhaus ends its lists with a line about the list.
fn item_of_line(sink: &mut Sink<'_>, item: &Value) {
    if item["type"] != "metadata" {
        self::item(sink, item);
    }
}

/// A text, or an object with an indicator under one of the known keys.
fn item(sink: &mut Sink<'_>, item: &Value) {
    if let Some(text) = item.as_str() {
        return sink.text(text, Note::default());
    }
    let text_of = |keys: &[&str]| {
        keys.iter().find_map(|key| match item.get(key)? {
            Value::Array(several) => several.first()?.as_str(),
            value => value.as_str(),
        })
    };
    let note = Note {
        description: text_of(&DESCRIPTION).unwrap_or_default(),
        tags: "",
        first_seen: seconds(item, &FIRST_SEEN),
        last_seen: seconds(item, &LAST_SEEN),
    };
    let mut any = false;
    for value in INDICATOR.iter().filter_map(|key| item.get(key)) {
        let text = value.as_str().or_else(|| BELOW.iter().find_map(|key| value.get(key)?.as_str()));
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            sink.text(text, note);
            any = true;
        }
    }
    if !any {
        sink.reject(Reject::NoIndicator);
    }
}

/// A number or a text.
fn seconds(item: &Value, keys: &[&str]) -> u32 {
    let value = keys.iter().find_map(|key| item.get(key));
    match value {
        Some(Value::Number(number)) => number.as_u64().and_then(|secs| secs.try_into().ok()).unwrap_or(0),
        Some(Value::String(text)) => date::seconds(text),
        _ => 0,
    }
}
