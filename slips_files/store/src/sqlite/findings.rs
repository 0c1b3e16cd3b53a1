//! Rows of evidence and alerts.

use std::fmt::Write as _;

use rusqlite::{Connection, params};
use slips_core::alert::Alert;
use slips_core::evidence::{Entity, Evidence, Proof, ThreatLevel};

use super::flows::ProtoText;
use crate::wire::due;

/// Newer is what was seen later: a revision starts at 0 again when the daemon restarts within a window.
const EVIDENCE: &str = "
    INSERT INTO evidence VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)
    ON CONFLICT (id) DO UPDATE SET
        level = excluded.level, confidence = excluded.confidence, last_seen = excluded.last_seen,
        src_port = excluded.src_port, description = excluded.description, related = excluded.related,
        proven = excluded.proven, count = excluded.count, weight = excluded.weight,
        accumulated = excluded.accumulated, revision = excluded.revision, stored = excluded.stored
    WHERE (excluded.last_seen, excluded.revision) >= (evidence.last_seen, evidence.revision)";

/// Writes an evidence, or its new state if it is newer than what is stored, at `now` of the database's time.
pub(super) fn put_evidence(db: &Connection, evidence: &Evidence, now: i64) -> rusqlite::Result<()> {
    let finding = &evidence.finding;
    let id = evidence.id.to_string();
    let victim = finding.victim.as_ref();
    let mut related = String::new();
    for other in &finding.related {
        // Writing to a String cannot fail.
        let _ = write!(related, "{}{other}", if related.is_empty() { "" } else { "," });
    }
    db.prepare_cached(EVIDENCE)?.execute(params![
        id,
        finding.kind.name(),
        finding.attacker.to_string(),
        entity_type(&finding.attacker),
        victim.map(Entity::to_string),
        victim.map(entity_type),
        finding.level.name(),
        finding.confidence.get(),
        finding.profile.to_string(),
        finding.window.0,
        finding.at.0,
        evidence.last_seen.0,
        finding.proto.map(|proto| ProtoText(proto).to_string()),
        finding.src_port,
        finding.dst_port,
        finding.text,
        Some(related).filter(|related| !related.is_empty()),
        finding.proof == Proof::Proven,
        evidence.count,
        evidence.weight(),
        evidence.accumulated,
        evidence.revision,
        now,
    ])?;
    let mut flow = db.prepare_cached("INSERT OR IGNORE INTO evidence_flows VALUES (?, ?)")?;
    for uid in finding.uids.iter().filter(|uid| !uid.is_empty()) {
        flow.execute(params![id, uid.as_str()])?;
    }
    Ok(())
}

/// Writes an alert and the evidence it names, so that it can be explained even if an evidence record was lost.
/// At `wall` of the wall clock, and `now` of the database's time.
pub(super) fn put_alert(db: &Connection, alert: &Alert, wall: i64, now: i64) -> rusqlite::Result<()> {
    let id = alert.id.to_string();
    db.prepare_cached("INSERT OR IGNORE INTO alerts VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)")?.execute(
        params![
            id,
            alert.attacker.to_string(),
            alert.window.0,
            alert.window_start.0,
            alert.window_end.0,
            alert.at.0,
            wall,
            due::cause_name(alert.cause),
            alert.accumulated,
            alert.confidence.get(),
            ThreatLevel::Critical.name(),
            alert.proof == Proof::Proven,
            alert.in_conversation,
            alert.attacker_is_local,
            now,
        ],
    )?;
    let mut link = db.prepare_cached("INSERT OR IGNORE INTO alert_evidence VALUES (?, ?, ?)")?;
    for (position, evidence) in alert.evidence.iter().enumerate() {
        put_evidence(db, evidence, now)?;
        link.execute(params![id, position as i64, evidence.id.to_string()])?;
    }
    Ok(())
}

pub(super) const fn entity_type(entity: &Entity) -> &'static str {
    match entity {
        Entity::Ip(_) => "ip",
        Entity::Domain(_) => "domain",
        Entity::Url(_) => "url",
        Entity::Mac(_) => "mac",
        Entity::Many => "many",
    }
}
