//! What the daemon wrote to alerts.json, as far as the demo shows it.

use std::net::IpAddr;

use slips_store::wire::idmef::{Message, Note, Status};

/// One line of alerts.json.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Told {
    Evidence(Sign),
    Alert {
        attacker: IpAddr,
        confidence: f64,
        /// Pieces of evidence.
        evidence: usize,
    },
}

/// An evidence.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sign {
    pub(super) attacker: IpAddr,
    pub(super) level: String,
    pub(super) confidence: f64,
    pub(super) text: String,
    /// The attacker's weight in this window with it.
    pub(super) weight: f64,
    /// The time stamp of the packet that decided, in microseconds since the epoch.
    pub(super) seen: i64,
}

/// Reads a line; `None` when it is about something else.
pub(super) fn read(line: &str) -> Option<Told> {
    let message: Message<'_> = serde_json::from_str(line).ok()?;
    let attacker = message.source.first()?.ip?;
    if message.status == Status::Incident {
        let evidence = message.correl_id.len();
        return Some(Told::Alert { attacker, confidence: message.confidence, evidence });
    }
    let note: Note = serde_json::from_str(&message.note).ok()?;
    let seen: jiff::Timestamp = note.last_seen.as_deref().unwrap_or(&message.start_time).parse().ok()?;
    let text = message.description.split(". Threat level:").next().unwrap_or_default().to_owned();
    Some(Told::Evidence(Sign {
        attacker,
        level: note.threat_level,
        confidence: message.confidence,
        text,
        weight: note.accumulated_threat_level,
        seen: seen.as_microsecond(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use slips_core::evidence::{Confidence, Evidence, EvidenceKind, Finding, ThreatLevel};
    use slips_core::time::{PacketTime, WindowWidth};
    use slips_store::wire::idmef::Analyzer;

    #[test]
    fn an_evidence_as_the_daemon_writes_it_is_read() {
        let at = PacketTime(1_700_828_217_314_165);
        let attacker = IpAddr::from([203, 0, 113, 66]);
        let mut finding =
            Finding::new(EvidenceKind::VerticalPortScan, attacker, WindowWidth::HOUR.window_of(at), at);
        finding.level = ThreatLevel::High;
        finding.confidence = Confidence::new(0.8);
        finding.text = "vertical port scan: 30 tcp ports of 192.0.2.1 failed".into();
        let evidence = Evidence {
            id: finding.id(),
            last_seen: PacketTime(at.0 + 7),
            finding,
            count: 2,
            accumulated: 1.5,
            proven: 1.5,
            revision: 1,
        };
        let mut line = Vec::new();
        Message::of_evidence(&evidence, &Analyzer::slips(attacker), at).write_json(&mut line);
        let sign = Sign {
            attacker,
            level: "high".into(),
            confidence: 0.8,
            text: "vertical port scan: 30 tcp ports of 192.0.2.1 failed".into(),
            weight: 1.5,
            seen: at.0 + 7,
        };
        assert_eq!(read(&String::from_utf8(line).expect("text")), Some(Told::Evidence(sign)));
        assert_eq!(read("{}"), None);
    }
}
