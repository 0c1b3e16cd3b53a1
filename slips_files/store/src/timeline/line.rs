//! A line of a story, and how similar ones become one.

use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use slips_core::time::PacketTime;

use super::says;
use crate::render::{escape, iso};
use crate::sqlite::read::{StoredFlow, StoredRecord};

/// A line of a story.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TimelineLine {
    /// When it began.
    pub start: String,
    /// When the last of it began.
    pub end: String,
    /// What it tells of.
    pub what: What,
    /// All of it, for people; no control characters.
    pub text: String,
    /// Who called whom.
    pub way: Option<Way>,
    /// The other sides, at most eight.
    pub peers: Vec<String>,
    /// How the other side is called.
    pub name: Option<String>,
    /// Ports of whoever was called, at most eight.
    pub ports: Vec<u16>,
    /// `tcp`, `udp`, `icmp` …
    pub proto: String,
    /// What was spoken, as far as it was recognised.
    pub service: String,
    /// How it went, in words.
    pub outcome: String,
    /// Connections in this line.
    pub connections: u64,
    /// Payload bytes that the host sent.
    pub sent: i64,
    /// Payload bytes that it got.
    pub received: i64,
    /// What was said, for people.
    pub said: Vec<String>,
    /// The evidence that came of it, or the one that is told of.
    pub evidence: Vec<Came>,
    /// The alert that is told of.
    pub alert: Option<String>,
}

/// What a line tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// Connections of the host.
    Connections,
    /// What was found about it.
    Evidence,
    /// It was judged an attacker.
    Alert,
    /// There is more from here on than a page tells.
    Gap,
}

/// Who called whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// The host called.
    Out,
    /// It was called.
    In,
}

/// Evidence, in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "named as in slips_core::evidence::Evidence")]
pub struct Came {
    pub id: String,
    pub kind: String,
    pub level: String,
}

/// Evidence with the flows that it names.
#[derive(Clone)]
pub(super) struct Mention {
    pub(super) id: String,
    pub(super) kind: String,
    pub(super) level: String,
    pub(super) description: String,
    pub(super) attacker: String,
    pub(super) victim: Option<String>,
    pub(super) at: PacketTime,
    pub(super) uids: Vec<String>,
}

impl Mention {
    fn came(&self) -> Came {
        Came { id: self.id.clone(), kind: self.kind.clone(), level: self.level.clone() }
    }

    /// A line of its own.
    pub(super) fn line(&self, own: &str) -> TimelineLine {
        let mut text = format!("evidence, {}: {}", self.level, escape(&self.description));
        if self.attacker != own {
            let _ = write!(text, ", by {}", escape(&self.attacker));
        } else if let Some(victim) = &self.victim {
            let _ = write!(text, ", against {}", escape(victim));
        }
        TimelineLine { evidence: vec![self.came()], ..TimelineLine::bare(self.at, What::Evidence, text) }
    }
}

impl TimelineLine {
    fn bare(at: PacketTime, what: What, text: String) -> Self {
        Self {
            start: iso(at),
            end: iso(at),
            what,
            text,
            way: None,
            peers: Vec::new(),
            name: None,
            ports: Vec::new(),
            proto: String::new(),
            service: String::new(),
            outcome: String::new(),
            connections: 0,
            sent: 0,
            received: 0,
            said: Vec::new(),
            evidence: Vec::new(),
            alert: None,
        }
    }

    pub(super) fn alert(at: PacketTime, id: &str, confidence: f64, cause: &str) -> Self {
        let why = match cause {
            "critical" => "one critical evidence",
            "assisted" => "its evidence and the word of peers",
            _ => "its evidence together",
        };
        let text = format!("alert: {why} made it an attacker, confidence {confidence:.2}; id {id}");
        Self { alert: Some(id.to_owned()), ..Self::bare(at, What::Alert, text) }
    }

    /// That something is missing from here on.
    pub(super) fn gap(at: PacketTime, text: &str) -> Self {
        Self::bare(at, What::Gap, text.to_owned())
    }
}

/// One connection, from the host's side.
pub(super) struct Connection {
    pub(super) start: PacketTime,
    pub(super) way: Way,
    pub(super) peer: String,
    pub(super) name: Option<String>,
    port: u16,
    proto: String,
    service: String,
    outcome: &'static str,
    sent: i64,
    received: i64,
    seconds: f64,
    said: Vec<String>,
    found: Vec<Mention>,
}

impl Connection {
    pub(super) fn new(
        own: &str,
        start: PacketTime,
        flow: StoredFlow,
        records: &[StoredRecord],
        found: Vec<Mention>,
    ) -> Self {
        let way = if flow.src == own { Way::Out } else { Way::In };
        let (peer, sent, received) = match way {
            Way::Out => (flow.dst, flow.orig_bytes, flow.resp_bytes),
            Way::In => (flow.src, flow.resp_bytes, flow.orig_bytes),
        };
        let is_icmp = flow.proto == "icmp";
        Self {
            start,
            way,
            peer,
            name: if way == Way::Out { says::name(records) } else { None },
            // Of ICMP the type says what it is.
            port: if is_icmp { flow.src_port } else { flow.dst_port },
            outcome: if is_icmp { "" } else { outcome(&flow.state, flow.resp_pkts) },
            proto: flow.proto,
            service: flow.service,
            sent,
            received,
            seconds: flow.duration.unwrap_or(0.0),
            said: says::all(records),
            found,
        }
    }
}

/// How it went, of Zeek's states.
fn outcome(state: &str, answers: i64) -> &'static str {
    match state {
        "S0" | "SH" => "no answer",
        "REJ" => "refused",
        "RSTOS0" => "given up before an answer",
        "RSTRH" | "SHR" => "only answers were seen",
        "RSTO" => "broken off by the caller",
        "RSTR" => "broken off by the other side",
        // Flows are stored when they are over.
        "S1" => "end not seen",
        "S2" | "S3" => "closed by one side",
        "SF" => "answered",
        _ if answers > 0 => "answered",
        _ => "only a part was seen",
    }
}

/// What may still grow.
struct Run {
    first: Connection,
    end: PacketTime,
    peers: Some8<String>,
    ports: Some8<u16>,
    connections: u64,
    sent: i64,
    received: i64,
    found: Vec<Came>,
}

/// How many different things there were, and the first eight of them.
struct Some8<T> {
    first: Vec<T>,
    more: bool,
}

impl<T: PartialEq> Some8<T> {
    fn add(&mut self, thing: T) {
        if !self.first.contains(&thing) {
            if self.first.len() < 8 { self.first.push(thing) } else { self.more = true }
        }
    }

    fn is_only(&self, thing: &T) -> bool {
        !self.more && self.first.len() == 1 && self.first.contains(thing)
    }
}

/// Lines of connections in the order of time.
pub(super) fn fold(connections: Vec<Connection>) -> Vec<(PacketTime, TimelineLine)> {
    let mut lines = Vec::new();
    let mut run: Option<Run> = None;
    for connection in connections {
        match &mut run {
            Some(run) if run.takes(&connection) => run.add(connection),
            _ => {
                lines.extend(run.take().map(Run::line));
                run = Some(Run::new(connection));
            }
        }
    }
    lines.extend(run.map(Run::line));
    lines
}

impl Run {
    fn new(mut first: Connection) -> Self {
        let found = std::mem::take(&mut first.found);
        let mut run = Self {
            end: first.start,
            peers: Some8 { first: vec![first.peer.clone()], more: false },
            ports: Some8 { first: vec![first.port], more: false },
            connections: 1,
            sent: first.sent,
            received: first.received,
            found: Vec::new(),
            first,
        };
        run.came(&found);
        run
    }

    /// Whether a connection is like these: to the same host, or to the same port of others.
    fn takes(&self, next: &Connection) -> bool {
        let first = &self.first;
        (first.way, &first.proto, &first.service, first.outcome)
            == (next.way, &next.proto, &next.service, next.outcome)
            && first.said == next.said
            && (self.peers.is_only(&next.peer) || (self.ports.is_only(&next.port) && first.name == next.name))
    }

    fn add(&mut self, next: Connection) {
        self.end = next.start;
        self.connections += 1;
        self.sent = self.sent.saturating_add(next.sent);
        self.received = self.received.saturating_add(next.received);
        self.first.seconds = self.first.seconds.max(next.seconds);
        self.peers.add(next.peer);
        self.ports.add(next.port);
        self.came(&next.found);
    }

    fn came(&mut self, found: &[Mention]) {
        for mention in found {
            if self.found.len() < 16 && !self.found.iter().any(|came| came.id == mention.id) {
                self.found.push(mention.came());
            }
        }
    }

    fn line(self) -> (PacketTime, TimelineLine) {
        let text = self.text();
        let first = self.first;
        let line = TimelineLine {
            end: iso(self.end),
            way: Some(first.way),
            peers: self.peers.first,
            name: first.name,
            ports: if first.proto == "icmp" { Vec::new() } else { self.ports.first },
            proto: first.proto,
            service: first.service,
            outcome: first.outcome.to_owned(),
            connections: self.connections,
            sent: self.sent,
            received: self.received,
            said: first.said,
            evidence: self.found,
            ..TimelineLine::bare(first.start, What::Connections, text)
        };
        (first.start, line)
    }

    fn text(&self) -> String {
        let first = &self.first;
        let mut text = format!("{} {} ", self.kind(), if first.way == Way::Out { "to" } else { "from" });
        text.push_str(&self.whom());
        // Writing to a String cannot fail.
        if !first.outcome.is_empty() {
            let _ = write!(text, ", {}", first.outcome);
        }
        if self.sent > 0 || self.received > 0 {
            let _ = write!(text, ", {} sent, {} received", bytes(self.sent), bytes(self.received));
        }
        if first.seconds >= 0.1 {
            let up_to = if self.connections > 1 { "up to " } else { "" };
            let _ = write!(text, ", {up_to}{}", seconds(first.seconds));
        }
        for (n, said) in first.said.iter().enumerate() {
            text.push_str(if n == 0 { ": " } else { "; " });
            text.push_str(said);
        }
        if self.connections > 1 {
            let further = self.connections - 1;
            let _ = write!(
                text,
                "; {further} further {}",
                if further == 1 { "connection" } else { "connections" }
            );
            text.push_str(&self.spread());
        }
        for (n, came) in self.found.iter().enumerate() {
            let _ = write!(text, "{}{} ({})", if n == 0 { " → " } else { ", " }, came.kind, came.level);
        }
        text
    }

    /// What was spoken, or at which port.
    fn kind(&self) -> String {
        let first = &self.first;
        if first.proto == "icmp" {
            return match first.port {
                8 | 128 => "ping".into(),
                0 | 129 => "answer to a ping".into(),
                3 | 1 => "notice that something cannot be reached".into(),
                11 => "notice that a packet lived too long".into(),
                135 | 136 => "neighbour discovery".into(),
                other => format!("ICMP of type {other}"),
            };
        }
        match first.service.as_str() {
            "" => format!("{}/{}", first.port, escape(&first.proto)),
            "ssl" => "TLS".into(),
            service => {
                escape(&service.to_uppercase()).replace(",SSL", " in TLS").replace("SSL,", "TLS with ")
            }
        }
    }

    fn whom(&self) -> String {
        let first = &self.first;
        let peer = escape(&first.peer);
        let recognised = !first.service.is_empty() && first.proto != "icmp";
        match (first.way, &first.name) {
            (Way::Out, name) => {
                let end = match (recognised, first.peer.contains(':')) {
                    (true, true) => format!("[{peer}]:{}", first.port),
                    (true, false) => format!("{peer}:{}", first.port),
                    (false, _) => peer.into_owned(),
                };
                match name {
                    Some(name) => format!("{} ({end})", escape(name)),
                    None => end,
                }
            }
            (Way::In, _) if recognised => format!("{peer} to port {}", first.port),
            (Way::In, _) => peer.into_owned(),
        }
    }

    /// Whither the further ones went, where not to the same.
    fn spread(&self) -> String {
        let list = |things: Vec<String>, more: bool| things.join(", ") + if more { " …" } else { "" };
        let mut text = String::new();
        if self.first.proto != "icmp" && self.ports.first.len() > 1 {
            let others = self.ports.first.iter().skip(1).map(u16::to_string).collect();
            let _ = write!(text, ", ports {}", list(others, self.ports.more));
        }
        if self.peers.first.len() > 1 {
            let others = self.peers.first.iter().skip(1).map(|peer| escape(peer).into_owned()).collect();
            let _ = write!(text, ", hosts {}", list(others, self.peers.more));
        }
        text
    }
}

/// `500 B`, `1.2 kB`, `3.4 MB`.
fn bytes(count: i64) -> String {
    let count = count.max(0) as f64;
    for (unit, size) in [("GB", 1e9), ("MB", 1e6), ("kB", 1e3)] {
        if count >= size {
            return format!("{:.1} {unit}", count / size);
        }
    }
    format!("{count} B")
}

fn seconds(secs: f64) -> String {
    match secs {
        secs if secs >= 5_400.0 => format!("{:.1} h", secs / 3_600.0),
        secs if secs >= 90.0 => format!("{:.1} min", secs / 60.0),
        secs => format!("{secs:.1} s"),
    }
}
