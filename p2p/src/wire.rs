//! The wire types: `proto/slips.proto` by hand, since a build needs no `protoc`. They carry any value; [`crate::message`] and
//! [`crate::envelope`] are the door where they become types that cannot be wrong.
#![allow(missing_docs, reason = "the schema file documents each message and field")]

use prost::Message;

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct Signed {
    #[prost(bytes = "vec", tag = "1")]
    pub head: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub sig: Vec<u8>,
}

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct Head {
    #[prost(uint32, tag = "1")]
    pub version: u32,
    #[prost(bytes = "vec", tag = "2")]
    pub net: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    pub author: Vec<u8>,
    #[prost(uint64, tag = "4")]
    pub epoch: u64,
    #[prost(uint64, tag = "5")]
    pub seq: u64,
    #[prost(uint64, tag = "6")]
    pub issued_ms: u64,
    #[prost(uint32, tag = "7")]
    pub ttl_s: u32,
    #[prost(uint32, tag = "8")]
    pub kind: u32,
    #[prost(bytes = "vec", tag = "9")]
    pub body: Vec<u8>,
}

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct Indicator {
    #[prost(uint32, tag = "1")]
    pub r#type: u32,
    #[prost(bytes = "vec", tag = "2")]
    pub value: Vec<u8>,
    #[prost(uint32, tag = "3")]
    pub prefix: u32,
}

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct Report {
    #[prost(message, optional, tag = "1")]
    pub indicator: Option<Indicator>,
    #[prost(uint32, tag = "2")]
    pub score: u32,
    #[prost(uint32, tag = "3")]
    pub confidence: u32,
    #[prost(string, repeated, tag = "4")]
    pub evidence: Vec<String>,
    #[prost(uint64, tag = "5")]
    pub count: u64,
    #[prost(uint64, tag = "6")]
    pub first_ms: u64,
    #[prost(uint64, tag = "7")]
    pub last_ms: u64,
    #[prost(uint32, repeated, tag = "8")]
    pub ports: Vec<u32>,
    #[prost(uint32, tag = "9")]
    pub direction: u32,
    #[prost(uint32, tag = "10")]
    pub tlp: u32,
}

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct BlockRequest {
    #[prost(message, optional, tag = "1")]
    pub report: Option<Report>,
    #[prost(uint32, tag = "2")]
    pub action: u32,
    #[prost(uint32, tag = "3")]
    pub duration_s: u32,
    #[prost(bool, tag = "4")]
    pub own_block: bool,
}

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct Retract {
    #[prost(message, optional, tag = "1")]
    pub indicator: Option<Indicator>,
    #[prost(uint32, tag = "2")]
    pub reason: u32,
}

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct Roster {
    #[prost(bytes = "vec", tag = "1")]
    pub org: Vec<u8>,
    #[prost(uint64, tag = "2")]
    pub version: u64,
    #[prost(uint64, tag = "3")]
    pub not_before_ms: u64,
    #[prost(uint64, tag = "4")]
    pub not_after_ms: u64,
    #[prost(message, repeated, tag = "5")]
    pub members: Vec<Member>,
    #[prost(bytes = "vec", repeated, tag = "6")]
    pub revoked: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct Member {
    #[prost(bytes = "vec", tag = "1")]
    pub node: Vec<u8>,
    #[prost(uint32, tag = "2")]
    pub role: u32,
}

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct SignedRoster {
    #[prost(bytes = "vec", tag = "1")]
    pub roster: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub sig: Vec<u8>,
}

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct Announce {
    #[prost(string, repeated, tag = "1")]
    pub addresses: Vec<String>,
    #[prost(uint32, repeated, tag = "2")]
    pub versions: Vec<u32>,
    #[prost(uint64, tag = "3")]
    pub reports: u64,
}

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct ListEntries {
    #[prost(string, tag = "1")]
    pub list: String,
    #[prost(uint64, tag = "2")]
    pub version: u64,
    #[prost(message, repeated, tag = "3")]
    pub add: Vec<Indicator>,
    #[prost(message, repeated, tag = "4")]
    pub remove: Vec<Indicator>,
}

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct Ask {
    #[prost(message, repeated, tag = "1")]
    pub indicators: Vec<Indicator>,
}

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct Answer {
    #[prost(message, repeated, tag = "1")]
    pub seen: Vec<Seen>,
}

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct Seen {
    #[prost(message, optional, tag = "1")]
    pub indicator: Option<Indicator>,
    #[prost(uint32, tag = "2")]
    pub score: u32,
    #[prost(uint32, tag = "3")]
    pub confidence: u32,
    #[prost(uint64, tag = "4")]
    pub last_ms: u64,
}

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct SyncAsk {
    #[prost(message, repeated, tag = "1")]
    pub have: Vec<Have>,
    #[prost(bytes = "vec", tag = "2")]
    pub cursor: Vec<u8>,
}

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct Have {
    #[prost(bytes = "vec", tag = "1")]
    pub author: Vec<u8>,
    #[prost(uint64, tag = "2")]
    pub epoch: u64,
    #[prost(uint64, tag = "3")]
    pub seq: u64,
}

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct SyncPage {
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub envelopes: Vec<Vec<u8>>,
    #[prost(bytes = "vec", tag = "2")]
    pub cursor: Vec<u8>,
}

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct JoinAsk {
    #[prost(bytes = "vec", tag = "1")]
    pub token: Vec<u8>,
    #[prost(string, tag = "2")]
    pub name: String,
}

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct JoinAnswer {
    #[prost(bool, tag = "1")]
    pub admitted: bool,
    #[prost(string, tag = "2")]
    pub name: String,
}

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct Request {
    #[prost(message, optional, tag = "1")]
    pub sync: Option<SyncAsk>,
    #[prost(message, optional, tag = "2")]
    pub ask: Option<Ask>,
    #[prost(message, optional, tag = "3")]
    pub join: Option<JoinAsk>,
}

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct Response {
    #[prost(message, optional, tag = "1")]
    pub sync: Option<SyncPage>,
    #[prost(message, optional, tag = "2")]
    pub answer: Option<Answer>,
    #[prost(message, optional, tag = "3")]
    pub join: Option<JoinAnswer>,
}

#[cfg(test)]
mod tests {
    /// `message field type number` of each field, in order.
    fn schema() -> Vec<String> {
        let mut found = Vec::new();
        let mut message = "";
        for line in include_str!("../proto/slips.proto").lines() {
            let words: Vec<&str> = line.split("//").next().unwrap_or("").split_whitespace().collect();
            match words.as_slice() {
                ["message", name, "{"] => message = name,
                [kind, name, "=", tag] if *kind != "syntax" => {
                    found.push(format!("{message} {name} {kind} {}", tag.trim_end_matches(';')));
                }
                ["repeated", kind, name, "=", tag] => {
                    found.push(format!("{message} {name} repeated {kind} {}", tag.trim_end_matches(';')));
                }
                _ => {}
            }
        }
        found
    }

    fn mirror() -> Vec<String> {
        let mut found = Vec::new();
        let (mut message, mut tag, mut repeated) = ("", "", "");
        for line in include_str!("wire.rs").split("#[cfg(test)]").next().unwrap_or("").lines() {
            let line = line.trim();
            if let Some(name) = line.strip_prefix("pub struct ") {
                message = name.trim_end_matches(" {");
            } else if line.starts_with("#[prost(") {
                repeated = if line.contains("repeated") { "repeated " } else { "" };
                tag = line.split('"').rev().nth(1).unwrap_or("");
            } else if let Some((name, kind)) =
                line.strip_prefix("pub ").and_then(|field| field.split_once(": "))
            {
                let kind = kind.trim_end_matches(',');
                let inner = |kind: &str, outer: &str| {
                    kind.strip_prefix(outer).and_then(|kind| kind.strip_suffix('>')).map(str::to_owned)
                };
                let kind = if repeated.is_empty() { kind.to_owned() } else { inner(kind, "Vec<").unwrap() };
                let kind = inner(&kind, "Option<").unwrap_or(kind);
                let kind = match kind.as_str() {
                    "Vec<u8>" => "bytes",
                    "u32" => "uint32",
                    "u64" => "uint64",
                    "String" => "string",
                    other => other,
                };
                found.push(format!("{message} {} {repeated}{kind} {tag}", name.trim_start_matches("r#")));
            }
        }
        found
    }

    #[test]
    fn the_types_mirror_the_schema() {
        assert!(schema().len() > 50);
        assert_eq!(mirror(), schema());
    }
}
