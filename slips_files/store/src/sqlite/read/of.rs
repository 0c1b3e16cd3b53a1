//! Rows of what was just told, as the database will have them: for whoever follows as things happen.

use std::collections::BTreeMap;

use slips_core::alert::Alert;
use slips_core::evidence::{Entity, Evidence, Proof, ThreatLevel};
use slips_core::flow::Flow;
use slips_core::time::{PacketTime, Span};

use super::{AlertRow, FlowLabel, KindCount, StoredAlert, StoredEvidence, StoredFlow};
use crate::render::iso;
use crate::sqlite::findings::entity_type;
use crate::sqlite::flows::{ProtoText, origin_name};
use crate::wire::due;

/// Identities of evidence that a row of an alert names.
const NAMED: usize = 64;

impl StoredFlow {
    /// Of a flow that ended; no alert has named it yet.
    pub fn of(flow: &Flow) -> Self {
        let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let truth = flow.truth.as_deref();
        let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        Self {
            uid: flow.uid.as_str().to_owned(),
            start: iso(flow.start),
            duration: flow.duration.map(|Span(micros)| micros as f64 / 1e6),
            src: flow.src.addr.to_string(),
            src_port: flow.src.port,
            dst: flow.dst.addr.to_string(),
            dst_port: flow.dst.port,
            proto: ProtoText(flow.proto).to_string(),
            service: flow.service.as_str().to_owned(),
            state: flow.state.name().to_owned(),
            history: flow.history.as_str().to_owned(),
            orig_pkts: number(flow.orig.pkts),
            orig_bytes: number(flow.orig.bytes),
            orig_ip_bytes: number(flow.orig.ip_bytes),
            resp_pkts: number(flow.resp.pkts),
            resp_bytes: number(flow.resp.bytes),
            resp_ip_bytes: number(flow.resp.ip_bytes),
            missed_bytes: number(flow.missed_bytes),
            src_mac: flow.src_mac.map(|mac| mac.to_string()),
            dst_mac: flow.dst_mac.map(|mac| mac.to_string()),
            vlan: flow.vlan,
            interface: flow.interface,
            origin: origin_name(flow.origin).to_owned(),
            label: FlowLabel::Benign.name().to_owned(),
            truth_label: truth.and_then(|truth| text(&truth.label)),
            truth_detailed: truth.and_then(|truth| text(&truth.detailed)),
        }
    }
}

impl StoredEvidence {
    /// Of an evidence as it was told.
    pub fn of(evidence: &Evidence) -> Self {
        let finding = &evidence.finding;
        Self {
            id: evidence.id.to_string(),
            kind: finding.kind.name().to_owned(),
            attacker: finding.attacker.to_string(),
            attacker_type: entity_type(&finding.attacker).to_owned(),
            victim: finding.victim.as_ref().map(Entity::to_string),
            victim_type: finding.victim.as_ref().map(|victim| entity_type(victim).to_owned()),
            level: finding.level.name().to_owned(),
            confidence: finding.confidence.get(),
            count: evidence.count.into(),
            weight: evidence.weight(),
            accumulated: evidence.accumulated,
            window: finding.window.0,
            at: iso(finding.at),
            last_seen: iso(evidence.last_seen),
            profile: finding.profile.to_string(),
            proto: finding.proto.map(|proto| ProtoText(proto).to_string()),
            src_port: finding.src_port,
            dst_port: finding.dst_port,
            description: finding.text.clone(),
            proven: finding.proof == Proof::Proven,
            related: finding.related.iter().map(ToString::to_string).collect(),
            uids: finding.uids.iter().map(|uid| uid.as_str().to_owned()).collect(),
        }
    }
}

impl AlertRow {
    /// Of an alert that fired at this moment of wall time.
    pub fn of(alert: &Alert, created: PacketTime) -> Self {
        let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
        for evidence in &alert.evidence {
            *kinds.entry(evidence.finding.kind.name()).or_default() += 1;
        }
        Self {
            alert: StoredAlert {
                id: alert.id.to_string(),
                attacker: alert.attacker.to_string(),
                attacker_is_local: alert.attacker_is_local,
                window: alert.window.0,
                window_start: iso(alert.window_start),
                window_end: iso(alert.window_end),
                at: iso(alert.at),
                created: iso(created),
                cause: due::cause_name(alert.cause).to_owned(),
                accumulated: alert.accumulated,
                confidence: alert.confidence.get(),
                level: ThreatLevel::Critical.name().to_owned(),
                proven: alert.proof == Proof::Proven,
                in_conversation: alert.in_conversation,
            },
            kinds: kinds
                .into_iter()
                .map(|(kind, count)| KindCount { kind: kind.to_owned(), count })
                .collect(),
            evidence: alert.evidence.iter().take(NAMED).map(|evidence| evidence.id.to_string()).collect(),
        }
    }
}
