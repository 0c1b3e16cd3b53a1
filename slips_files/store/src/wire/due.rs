//! An alert with its evidence as one text: so the book keeps it from before the journal tells it until the database has it.
//!
//! Only Slips reads it, and the same version or a later one: a field that is new there has a default, one that is unknown is passed over.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use slips_core::alert::{Alert, AlertId, Cause};
use slips_core::evidence::{
    Again, Confidence, Entity, Evidence, EvidenceId, EvidenceKind, Finding, Proof, ThreatLevel,
};
use slips_core::flow::{MacAddr, Proto, Uid};
use slips_core::time::{PacketTime, WindowId};

/// An alert of more bytes than this is written in short.
const MAX_TEXT: usize = 256 << 10;
/// So many pieces of evidence of it are, and so many flows of each.
const MAX_EVIDENCE: usize = 256;
const MAX_UIDS: usize = 4;

/// The text of an alert. Of a very large one it has the first evidence only, with the first flows of each: the database gets the rest with the
/// evidence itself.
pub fn write(alert: &Alert) -> String {
    let mut due = Due::of(alert);
    // Numbers, texts and lists of these: nothing that JSON has no word for.
    let text = serde_json::to_string(&due).unwrap_or_default();
    if text.len() <= MAX_TEXT {
        return text;
    }
    due.evidence.truncate(MAX_EVIDENCE);
    for part in &mut due.evidence {
        part.uids.truncate(MAX_UIDS);
        part.related.truncate(MAX_UIDS);
    }
    serde_json::to_string(&due).unwrap_or_default()
}

/// The alert of a text; none, where a later version wrote it or it is damaged.
pub fn read(text: &str) -> Option<Alert> {
    serde_json::from_str::<Due>(text).ok()?.alert()
}

#[derive(Serialize, Deserialize)]
struct Due {
    id: String,
    attacker: String,
    /// Number, first moment, first moment after it.
    window: (i64, i64, i64),
    at: i64,
    cause: String,
    accumulated: f64,
    confidence: f64,
    proven: bool,
    in_conversation: bool,
    near_conversation: bool,
    attacker_is_local: bool,
    evidence: Vec<Part>,
}

#[derive(Serialize, Deserialize)]
struct Part {
    id: String,
    kind: String,
    attacker: Who,
    victim: Option<Who>,
    level: String,
    confidence: f64,
    profile: String,
    window: i64,
    at: i64,
    proto: Option<String>,
    src_port: Option<u16>,
    dst_port: Option<u16>,
    text: String,
    uids: Vec<String>,
    related: Vec<String>,
    proven: bool,
    grows: bool,
    last_seen: i64,
    count: u32,
    accumulated: f64,
    of_proven: f64,
    revision: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Who {
    Ip(String),
    Domain(String),
    Url(String),
    Mac(String),
    Many,
}

impl Due {
    fn of(alert: &Alert) -> Self {
        Self {
            id: alert.id.to_string(),
            attacker: alert.attacker.to_string(),
            window: (alert.window.0, alert.window_start.0, alert.window_end.0),
            at: alert.at.0,
            cause: cause_name(alert.cause).into(),
            accumulated: alert.accumulated,
            confidence: alert.confidence.get(),
            proven: alert.proof == Proof::Proven,
            in_conversation: alert.in_conversation,
            near_conversation: alert.near_conversation,
            attacker_is_local: alert.attacker_is_local,
            evidence: alert.evidence.iter().map(|evidence| Part::of(evidence)).collect(),
        }
    }

    fn alert(self) -> Option<Alert> {
        let (window, start, end) = self.window;
        let evidence: Option<Vec<Evidence>> = self.evidence.into_iter().map(Part::evidence).collect();
        Some(Alert {
            id: AlertId(number(&self.id)?),
            attacker: self.attacker.parse().ok()?,
            window: WindowId(window),
            window_start: PacketTime(start),
            window_end: PacketTime(end),
            at: PacketTime(self.at),
            cause: CAUSES.into_iter().find(|cause| cause_name(*cause) == self.cause)?,
            accumulated: self.accumulated,
            confidence: Confidence::new(self.confidence),
            proof: proof(self.proven),
            in_conversation: self.in_conversation,
            near_conversation: self.near_conversation,
            attacker_is_local: self.attacker_is_local,
            evidence: evidence?.into_iter().map(Arc::new).collect(),
        })
    }
}

impl Part {
    fn of(evidence: &Evidence) -> Self {
        let finding = &evidence.finding;
        Self {
            id: evidence.id.to_string(),
            kind: finding.kind.name().into(),
            attacker: Who::of(&finding.attacker),
            victim: finding.victim.as_ref().map(Who::of),
            level: finding.level.name().into(),
            confidence: finding.confidence.get(),
            profile: finding.profile.to_string(),
            window: finding.window.0,
            at: finding.at.0,
            proto: finding.proto.map(proto_name),
            src_port: finding.src_port,
            dst_port: finding.dst_port,
            text: finding.text.clone(),
            uids: finding.uids.iter().map(|uid| uid.as_str().into()).collect(),
            related: finding.related.iter().map(EvidenceId::to_string).collect(),
            proven: finding.proof == Proof::Proven,
            grows: finding.again == Again::Grows,
            last_seen: evidence.last_seen.0,
            count: evidence.count,
            accumulated: evidence.accumulated,
            of_proven: evidence.proven,
            revision: evidence.revision,
        }
    }

    fn evidence(self) -> Option<Evidence> {
        let related: Option<Vec<EvidenceId>> =
            self.related.iter().map(|id| number(id).map(EvidenceId)).collect();
        let finding = Finding {
            kind: EvidenceKind::from_name(&self.kind)?,
            attacker: self.attacker.entity()?,
            victim: match self.victim {
                Some(victim) => Some(victim.entity()?),
                None => None,
            },
            level: ThreatLevel::from_name(&self.level)?,
            confidence: Confidence::new(self.confidence),
            profile: self.profile.parse().ok()?,
            window: WindowId(self.window),
            at: PacketTime(self.at),
            proto: self.proto.as_deref().map(proto_of),
            src_port: self.src_port,
            dst_port: self.dst_port,
            text: self.text,
            uids: self.uids.iter().map(|uid| Uid::from(uid.as_str())).collect(),
            related: related?,
            proof: proof(self.proven),
            again: if self.grows { Again::Grows } else { Again::Counts },
            // It is in the identity, which is kept, and in the text.
            told_by: None,
        };
        Some(Evidence {
            id: EvidenceId(number(&self.id)?),
            finding,
            last_seen: PacketTime(self.last_seen),
            count: self.count,
            accumulated: self.accumulated,
            proven: self.of_proven,
            revision: self.revision,
        })
    }
}

impl Who {
    fn of(entity: &Entity) -> Self {
        match entity {
            Entity::Ip(ip) => Self::Ip(ip.to_string()),
            Entity::Domain(name) => Self::Domain(name.to_string()),
            Entity::Url(url) => Self::Url(url.to_string()),
            Entity::Mac(mac) => Self::Mac(mac.to_string()),
            Entity::Many => Self::Many,
        }
    }

    fn entity(self) -> Option<Entity> {
        Some(match self {
            Self::Ip(ip) => Entity::Ip(ip.parse().ok()?),
            Self::Domain(name) => Entity::Domain(name.into()),
            Self::Url(url) => Entity::Url(url.into()),
            Self::Mac(mac) => Entity::Mac(MacAddr::parse(&mac)?),
            Self::Many => Entity::Many,
        })
    }
}

const CAUSES: [Cause; 3] = [Cause::Accumulated, Cause::Critical, Cause::Assisted];

/// The name of a cause in databases.
pub(crate) const fn cause_name(cause: Cause) -> &'static str {
    match cause {
        Cause::Accumulated => "accumulated",
        Cause::Critical => "critical",
        Cause::Assisted => "assisted",
    }
}

const fn proof(proven: bool) -> Proof {
    if proven { Proof::Proven } else { Proof::Unproven }
}

fn proto_name(proto: Proto) -> String {
    match proto {
        Proto::Other(number) => number.to_string(),
        named => named.name().into(),
    }
}

fn proto_of(text: &str) -> Proto {
    text.parse().map_or_else(|_| Proto::from_name(text), Proto::Other)
}

/// The number that an identity stands for, of an alert or an evidence.
pub(crate) fn number(id: &str) -> Option<u128> {
    u128::from_str_radix(&id.replace('-', ""), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::tests::{alert, evidence};

    fn same(before: &Alert, after: &Alert) {
        // Neither of them has a value that is not in this text.
        assert_eq!(format!("{before:?}"), format!("{after:?}"));
    }

    #[test]
    fn an_alert_is_read_as_it_was_written() {
        let mut evidences = Vec::new();
        for (n, victim) in [
            None,
            Some(Entity::Many),
            Some(Entity::Domain("\"x\"\n\u{0}.example".into())),
            Some(Entity::Url("http://x.example/?a=ü".into())),
            Some(Entity::Mac(MacAddr([0, 1, 2, 0xfd, 0xfe, 0xff]))),
            Some(Entity::Ip("2001:db8::1".parse().expect("address"))),
        ]
        .into_iter()
        .enumerate()
        {
            let mut evidence = evidence(n as u8);
            evidence.finding.victim = victim;
            evidence.finding.src_port = Some(1024 + n as u16);
            evidence.finding.related = vec![EvidenceId(7), EvidenceId(u128::MAX)];
            evidence.finding.again = if n % 2 == 0 { Again::Grows } else { Again::Counts };
            (evidence.revision, evidence.count, evidence.accumulated) = (3, 17, 0.1 + 0.2);
            evidences.push(evidence);
        }
        for (evidence, proto) in evidences.iter_mut().zip([
            Proto::Udp,
            Proto::Icmp,
            Proto::Arp,
            Proto::Other(47),
            Proto::Other(255),
        ]) {
            evidence.finding.proto = Some(proto);
        }
        let mut alert = alert(evidences);
        for cause in CAUSES {
            alert.cause = cause;
            (alert.near_conversation, alert.attacker_is_local) = (cause == Cause::Critical, true);
            same(&alert, &read(&write(&alert)).expect("read"));
        }
    }

    #[test]
    fn a_very_large_alert_is_written_in_short() {
        let mut large = evidence(1);
        large.finding.uids = (0..64).map(|n| Uid::from(format!("C{n:017}").as_str())).collect();
        let alert = alert(vec![large; 1024]);
        let text = write(&alert);
        assert!(text.len() <= MAX_TEXT, "{}", text.len());
        let read = read(&text).expect("read");
        assert_eq!((read.id, read.evidence.len()), (alert.id, MAX_EVIDENCE));
        assert_eq!(read.evidence[0].finding.uids.len(), MAX_UIDS);
    }

    #[test]
    fn every_kind_and_level_has_a_word() {
        for kind in EvidenceKind::ALL {
            for level in ["info", "low", "medium", "high", "critical"] {
                let mut evidence = evidence(1);
                evidence.finding.kind = *kind;
                evidence.finding.level = ThreatLevel::from_name(level).expect("level");
                let alert = alert(vec![evidence]);
                same(&alert, &read(&write(&alert)).expect("read"));
            }
        }
    }

    #[test]
    fn what_is_damaged_or_of_a_later_version_is_none() {
        let text = write(&alert(vec![evidence(1)]));
        assert!(read(&text[..text.len() / 2]).is_none() && read("").is_none() && read("{}").is_none());
        assert!(read(&text.replace("VERTICAL_PORT_SCAN", "FOUND_IN_THE_FUTURE")).is_none());
        assert!(read(&text.replacen('{', "{\"more\":1,", 1)).is_some());
    }
}
