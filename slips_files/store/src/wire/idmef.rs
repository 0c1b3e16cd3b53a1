//! IDMEFv2 messages as alerts.json holds them, one a line: an "Event" per evidence, an "Incident" per alert.
//!
//! An evidence that changes is told again under the same ID with its new severity, confidence and count; the last line of an
//! ID is its state. Deviations from the original: Note carries more keys, times are UTC, and the attacker's threat level and
//! confidence stand in an Incident too.

use std::borrow::Cow;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use slips_core::alert::Alert;
use slips_core::evidence::{Entity, Evidence, EvidenceKind, Finding, Proof, ThreatLevel};
use slips_core::flow::Uid;
use slips_core::time::PacketTime;

use crate::render::{escape, iso};

/// Version of IDMEFv2 that the messages follow.
pub const IDMEF_VERSION: &str = "2.0.3";
/// Version of the JSON text in `Note`, which is ours.
pub const NOTE_VERSION: u32 = 1;
/// Most bytes of a host name or URL.
const MAX_NAME: usize = 2048;

/// One line of alerts.json.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Message<'a> {
    /// [`IDMEF_VERSION`].
    pub version: Cow<'a, str>,
    /// Who says so.
    pub analyzer: Analyzer<'a>,
    /// Evidence or alert.
    pub status: Status,
    /// Identity of the evidence or alert.
    #[serde(rename = "ID")]
    pub id: String,
    /// How bad.
    pub severity: Severity,
    /// Packet time of the evidence; start of an alert's window.
    pub start_time: String,
    /// Wall time of writing.
    pub create_time: String,
    /// 0 to 1.
    pub confidence: f64,
    /// For a person.
    pub description: String,
    /// The attacker.
    pub source: Vec<Party>,
    /// The victim.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub target: Vec<Party>,
    /// Evidence that tells the same story from another side.
    #[serde(rename = "RelID", default, skip_serializing_if = "Vec::is_empty")]
    pub rel_id: Vec<String>,
    /// The evidence of an alert.
    #[serde(rename = "CorrelID", default, skip_serializing_if = "Vec::is_empty")]
    pub correl_id: Vec<String>,
    /// JSON text of a [`Note`].
    pub note: String,
}

/// Whether a message is an evidence or an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    /// An evidence.
    Event,
    /// An alert.
    Incident,
}

/// IDMEF's levels; it has no critical.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "named by IDMEFv2")]
pub enum Severity {
    Info,
    Low,
    Medium,
    High,
}

impl From<ThreatLevel> for Severity {
    fn from(level: ThreatLevel) -> Self {
        match level {
            ThreatLevel::Info => Self::Info,
            ThreatLevel::Low => Self::Low,
            ThreatLevel::Medium => Self::Medium,
            ThreatLevel::High | ThreatLevel::Critical => Self::High,
        }
    }
}

/// Who says so.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "named by IDMEFv2")]
pub struct Analyzer<'a> {
    #[serde(rename = "IP")]
    pub ip: IpAddr,
    pub name: Cow<'a, str>,
    pub model: Cow<'a, str>,
    pub category: [Cow<'a, str>; 1],
    pub data: [Cow<'a, str>; 2],
    pub method: [Cow<'a, str>; 1],
}

impl Analyzer<'static> {
    /// This version of Slips on the host with this address (0.0.0.0 when it has none that matters).
    pub fn slips(ip: IpAddr) -> Self {
        Self {
            ip,
            name: "Slips".into(),
            model: env!("CARGO_PKG_VERSION").into(),
            category: ["NIDS".into()],
            data: ["Flow".into(), "Network".into()],
            method: ["Heuristic".into()],
        }
    }
}

/// Attacker or victim.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "named by IDMEFv2")]
pub struct Party {
    #[serde(rename = "IP", default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<IpAddr>,
    #[serde(rename = "Hostname", default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    #[serde(rename = "URL", default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    #[serde(rename = "Port", default, skip_serializing_if = "Vec::is_empty")]
    pub port: Vec<u16>,
    #[serde(rename = "Protocol", default, skip_serializing_if = "Vec::is_empty")]
    pub protocol: Vec<String>,
}

/// What IDMEFv2 has no place for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Note {
    /// [`NOTE_VERSION`].
    pub version: u32,
    /// Kind of evidence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence_type: Option<String>,
    /// Flows behind it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uids: Vec<String>,
    /// The attacker's accumulated weight in this window.
    pub accumulated_threat_level: f64,
    /// info, low, medium, high, critical.
    pub threat_level: String,
    /// High (from 0.8), Medium (from 0.55) or low.
    pub confidence: String,
    /// Number of the window.
    pub timewindow: i64,
    /// How often it happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// When it was last told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<String>,
    /// Whose behaviour led to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<IpAddr>,
    /// Destination port where there is no single victim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dst_port: Option<u16>,
    /// Whether the attacker's address is certain.
    pub proven: bool,
    /// End of an alert's window.
    #[serde(rename = "EndTime", default, skip_serializing_if = "Option::is_none")]
    pub end_time: Option<String>,
}

impl<'a> Message<'a> {
    /// The line for an evidence.
    pub fn of_evidence(evidence: &Evidence, analyzer: &Analyzer<'a>, now: PacketTime) -> Self {
        let finding = &evidence.finding;
        let (attacker_port, victim_port) = ports(finding);
        let protocol: Vec<String> = finding.proto.iter().map(|proto| proto.name().to_uppercase()).collect();
        let source = Party { protocol, ..party(&finding.attacker, attacker_port) };
        let note = Note {
            version: NOTE_VERSION,
            evidence_type: Some(finding.kind.name().into()),
            uids: finding.uids.iter().map(|uid: &Uid| uid.as_str().to_owned()).collect(),
            accumulated_threat_level: rounded(evidence.accumulated),
            threat_level: finding.level.name().into(),
            confidence: confidence_word(finding.confidence.get()).into(),
            timewindow: finding.window.0,
            count: Some(evidence.count),
            last_seen: Some(iso(evidence.last_seen)),
            profile: Some(finding.profile),
            dst_port: finding.dst_port.filter(|_| finding.victim.is_none()),
            proven: finding.proof == Proof::Proven,
            end_time: None,
        };
        Self {
            version: IDMEF_VERSION.into(),
            analyzer: analyzer.clone(),
            status: Status::Event,
            id: evidence.id.to_string(),
            severity: finding.level.into(),
            start_time: iso(finding.at),
            create_time: iso(now),
            confidence: rounded(finding.confidence.get()),
            description: format!("{}. Threat level: {}.", escape(&finding.text), finding.level),
            source: vec![source],
            target: finding.victim.iter().map(|victim| party(victim, victim_port)).collect(),
            rel_id: finding.related.iter().map(ToString::to_string).collect(),
            correl_id: Vec::new(),
            note: note.to_json(),
        }
    }

    /// The line for an alert.
    pub fn of_alert(alert: &Alert, analyzer: &Analyzer<'a>, now: PacketTime) -> Self {
        let note = Note {
            version: NOTE_VERSION,
            accumulated_threat_level: rounded(alert.accumulated),
            threat_level: ThreatLevel::Critical.name().into(),
            confidence: confidence_word(alert.confidence.get()).into(),
            timewindow: alert.window.0,
            proven: alert.proof == Proof::Proven,
            end_time: Some(iso(alert.window_end)),
            ..Note::default()
        };
        Self {
            version: IDMEF_VERSION.into(),
            analyzer: analyzer.clone(),
            status: Status::Incident,
            id: alert.id.to_string(),
            severity: Severity::High,
            start_time: iso(alert.window_start),
            create_time: iso(now),
            confidence: rounded(alert.confidence.get()),
            description: format!(
                "{} has {} evidence in timewindow {}",
                alert.attacker,
                alert.evidence.len(),
                alert.window
            ),
            source: vec![party(&Entity::Ip(alert.attacker), None)],
            target: Vec::new(),
            rel_id: Vec::new(),
            correl_id: alert.evidence.iter().map(|evidence| evidence.id.to_string()).collect(),
            note: note.to_json(),
        }
    }

    /// Appends the message as one line of JSON, without a line feed.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        // Neither maps with odd keys nor a failing writer: nothing here can fail.
        let _ = serde_json::to_writer(out, self);
    }
}

impl Note {
    fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Which port is the attacker's, which the victim's. The attacker is the destination only where a local host goes to it.
fn ports(finding: &Finding) -> (Option<u16>, Option<u16>) {
    match finding.kind {
        EvidenceKind::ToBlacklistedIp => (finding.dst_port, finding.src_port),
        _ => (finding.src_port, finding.dst_port),
    }
}

fn party(entity: &Entity, port: Option<u16>) -> Party {
    let named = |text: &str| Some(cut(text).to_owned());
    let mut party = Party { port: port.into_iter().collect(), ..Party::default() };
    match entity {
        Entity::Ip(ip) => party.ip = Some(*ip),
        Entity::Domain(name) => party.hostname = named(name),
        Entity::Url(url) => party.url = named(url),
        // IDMEFv2 has no word for either; the description tells.
        Entity::Mac(_) | Entity::Many => {}
    }
    party
}

fn cut(text: &str) -> &str {
    let end = (0..=MAX_NAME.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text.get(..end).unwrap_or_default()
}

fn confidence_word(confidence: f64) -> &'static str {
    match confidence {
        c if c >= 0.8 => "High",
        c if c >= 0.55 => "Medium",
        _ => "low",
    }
}

/// Six digits after the point are enough, and keep `0.1 + 0.2` readable.
fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::tests::{AT, alert, clock, evidence};
    use std::net::Ipv4Addr;

    fn analyzer() -> Analyzer<'static> {
        Analyzer { model: "1.2.3".into(), ..Analyzer::slips(Ipv4Addr::UNSPECIFIED.into()) }
    }

    fn json(message: &Message<'_>) -> String {
        let mut out = Vec::new();
        message.write_json(&mut out);
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn an_evidence_is_an_event() {
        let mut seen = evidence(9);
        seen.finding.dst_port = Some(80);
        seen.finding.related = vec![evidence(1).id];
        let message = Message::of_evidence(&seen, &analyzer(), PacketTime(clock()));
        let (id, related) = (seen.id, evidence(1).id);
        assert_eq!(
            json(&message),
            format!(
                r#"{{"Version":"2.0.3","Analyzer":{{"IP":"0.0.0.0","Name":"Slips","Model":"1.2.3","Category":["NIDS"],"Data":["Flow","Network"],"Method":["Heuristic"]}},"Status":"Event","ID":"{id}","Severity":"High","StartTime":"2023-11-24T12:16:57.314165Z","CreateTime":"2023-11-24T12:18:20.000000Z","Confidence":0.9,"Description":"vertical port scan of 30 ports. Threat level: high.","Source":[{{"IP":"192.0.2.1","Protocol":["TCP"]}}],"Target":[{{"IP":"198.51.100.9","Port":[80]}}],"RelID":["{related}"],"Note":"{{\"version\":1,\"evidence_type\":\"VERTICAL_PORT_SCAN\",\"uids\":[\"C9a\",\"C9b\"],\"accumulated_threat_level\":0.72,\"threat_level\":\"high\",\"confidence\":\"High\",\"timewindow\":472452,\"count\":1,\"last_seen\":\"2023-11-24T12:16:57.314165Z\",\"profile\":\"192.0.2.1\",\"proven\":false}}"}}"#
            )
        );
    }

    #[test]
    fn an_alert_is_an_incident_with_its_evidence() {
        let alert = alert(vec![evidence(1), evidence(2)]);
        let message = Message::of_alert(&alert, &analyzer(), AT);
        assert_eq!(message.status, Status::Incident);
        assert_eq!(message.correl_id, [evidence(1).id.to_string(), evidence(2).id.to_string()]);
        assert_eq!(message.start_time, "2023-11-24T12:00:00.000000Z");
        let note: Note = serde_json::from_str(&message.note).expect("note");
        assert_eq!(note.end_time.as_deref(), Some("2023-11-24T13:00:00.000000Z"));
        let read: Message<'_> = serde_json::from_str(&json(&message)).expect("reads back");
        assert_eq!(read, message);
    }

    #[test]
    fn levels_words_and_ports_follow_the_specification() {
        for (level, severity) in [
            (ThreatLevel::Info, Severity::Info),
            (ThreatLevel::Medium, Severity::Medium),
            (ThreatLevel::Critical, Severity::High),
        ] {
            assert_eq!(Severity::from(level), severity);
        }
        for (confidence, word) in
            [(1.0, "High"), (0.8, "High"), (0.79, "Medium"), (0.55, "Medium"), (0.5, "low")]
        {
            assert_eq!(confidence_word(confidence), word);
        }
        let mut seen = evidence(1);
        seen.finding.kind = EvidenceKind::ToBlacklistedIp;
        seen.finding.dst_port = Some(443);
        let message = Message::of_evidence(&seen, &analyzer(), AT);
        assert_eq!(message.source.first().map(|source| source.port.clone()), Some(vec![443]));
    }

    #[test]
    fn hostile_names_stay_one_line_of_valid_json_and_are_cut() {
        let mut seen = evidence(1);
        seen.finding.text = "host \"\n\u{2028}\x1b[0m\\".into();
        seen.finding.attacker = Entity::Domain("é\n\"".repeat(2000).into());
        let line = json(&Message::of_evidence(&seen, &analyzer(), AT));
        assert!(!line.contains(['\n', '\x1b', '\u{2028}']), "{line}");
        let read: Message<'_> = serde_json::from_str(&line).expect("valid");
        assert!(read.source.iter().all(|s| s.hostname.as_ref().is_some_and(|name| name.len() <= MAX_NAME)));
    }
}
