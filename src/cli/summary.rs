//! What `slips analyze` prints at the end.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;
use slips_core::record::{Record, Stats};
use slips_input::Report;
use slips_store::render;

use super::score::Score;

/// Alerts that the summary for people shows; the files and `--json` have all.
const SHOWN_ALERTS: usize = 20;

/// What the records of a run add up to.
#[derive(Debug, Default, Serialize)]
pub struct Summary {
    pub flows: u64,
    pub profiles: u64,
    pub windows: u64,
    /// Evidence by type, each identity once.
    pub evidence: BTreeMap<&'static str, u64>,
    pub alerts: Vec<AlertLine>,
    /// What was not judged in full because a limit was reached or a time stamp could not be believed; only what is not zero.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub shortfalls: BTreeMap<&'static str, u64>,
    /// Packets that gave no flow, by reason; only what is not zero.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub packets_rejected: BTreeMap<&'static str, u64>,
    /// Records that could not be used, by reason.
    pub rejected: BTreeMap<String, u64>,
    pub records: u64,
    pub seconds: f64,
    /// Only where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<Score>,
    #[serde(skip)]
    samples: Vec<String>,
    #[serde(skip)]
    notes: Vec<String>,
}

/// One alert.
#[derive(Debug, Serialize)]
pub struct AlertLine {
    pub id: String,
    pub ip: String,
    /// Number of the window: how many widths it lies after the Unix epoch.
    pub window: i64,
    pub window_start: String,
    pub at: String,
    pub accumulated: f64,
    pub confidence: f64,
    /// Types of the evidence in it, each once.
    pub evidence: Vec<&'static str>,
}

impl Summary {
    /// Adds what records tell.
    pub fn add(&mut self, records: &[Record]) {
        for record in records {
            match record {
                Record::Evidence(evidence) if evidence.revision == 0 => {
                    *self.evidence.entry(evidence.finding.kind.name()).or_default() += 1;
                }
                Record::Alert(alert) => {
                    let mut kinds: Vec<_> = alert.evidence.iter().map(|e| e.finding.kind.name()).collect();
                    kinds.sort_unstable();
                    kinds.dedup();
                    self.alerts.push(AlertLine {
                        id: alert.id.to_string(),
                        ip: alert.attacker.to_string(),
                        window: alert.window.0,
                        window_start: render::iso(alert.window_start),
                        at: render::iso(alert.at),
                        accumulated: alert.accumulated,
                        confidence: alert.confidence.get(),
                        evidence: kinds,
                    });
                }
                _ => {}
            }
        }
    }

    /// Adds what one input tells of itself.
    pub fn add_report(&mut self, report: &Report) {
        self.records += report.records;
        for (reason, count) in &report.rejected {
            *self.rejected.entry(reason.to_string()).or_default() += count;
        }
        if let Some(sensor) = &report.sensor {
            let reached = sensor.shortfalls().into_iter().filter(|(_, count)| *count > 0);
            reached.for_each(|(name, count)| *self.shortfalls.entry(name).or_default() += count);
            for (reason, name) in slips_sensor::Reject::ALL {
                let count = sensor.rejected(reason);
                if count > 0 {
                    *self.packets_rejected.entry(name).or_default() += count;
                }
            }
        }
        self.samples.extend(report.samples.iter().map(ToString::to_string));
        self.notes
            .extend(report.ignored.iter().map(|(path, why)| format!("not used: {}: {why}", path.display())));
    }

    /// Takes over the engine's final counters.
    pub fn finish(&mut self, stats: &Stats, seconds: f64) {
        self.flows = stats.flows;
        self.profiles = stats.profiles;
        self.windows = stats.profile_windows;
        self.seconds = seconds;
        let shortfalls = [
            ("evidence_capped", stats.evidence_capped),
            ("evidence_whitelisted", stats.evidence_whitelisted),
            ("events_whitelisted", stats.events_whitelisted),
            ("evicted_local", stats.evicted_local),
            ("evicted_remote", stats.evicted_remote),
            ("late_events", stats.late_events),
            ("time_jumps", stats.time_jumps),
        ];
        self.shortfalls.extend(shortfalls.into_iter().filter(|(_, count)| *count > 0));
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let rate = if self.seconds > 0.0 { self.flows as f64 / self.seconds } else { 0.0 };
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{} flows of {} hosts in {} host windows, {:.2} s ({rate:.0} flows/s)",
            self.flows, self.profiles, self.windows, self.seconds
        );
        for (name, count) in &self.shortfalls {
            let _ = writeln!(text, "  {count} {}", explained(name));
        }
        for (reason, count) in &self.packets_rejected {
            let _ = writeln!(text, "  {count} packets without a flow: {reason}");
        }
        for sample in &self.samples {
            let _ = writeln!(text, "  rejected: {sample}");
        }
        for (reason, count) in &self.rejected {
            let _ = writeln!(text, "  rejected {count} × {reason}");
        }
        for note in &self.notes {
            let _ = writeln!(text, "  {note}");
        }
        if self.evidence.is_empty() {
            let _ = writeln!(text, "no evidence");
        } else {
            let _ = writeln!(text, "evidence:");
            for (kind, count) in &self.evidence {
                let _ = writeln!(text, "  {count:>6} × {kind}");
            }
        }
        if self.alerts.is_empty() {
            let _ = writeln!(text, "no alert");
        } else {
            let _ = writeln!(text, "alerts: {}", self.alerts.len());
            for alert in self.alerts.iter().take(SHOWN_ALERTS) {
                let _ = writeln!(
                    text,
                    "  {} {:<39} confidence {:.2}  {}",
                    alert.at,
                    alert.ip,
                    alert.confidence,
                    alert.evidence.join(", ")
                );
            }
            if self.alerts.len() > SHOWN_ALERTS {
                let _ = writeln!(text, "  … and {} more", self.alerts.len() - SHOWN_ALERTS);
            }
        }
        if let Some(score) = &self.score {
            text.push_str(&score.text());
        }
        text
    }
}

/// A shortfall for people.
pub(super) fn explained(name: &str) -> &str {
    match name {
        "evidence_capped" => "findings left out: limits.open_evidence is reached",
        "evidence_whitelisted" => "findings left out by the whitelist",
        "events_whitelisted" => "events kept from detections by the whitelist",
        "evicted_local" => "local hosts forgotten: limits.local_profiles is reached",
        "evicted_remote" => "remote hosts forgotten: limits.remote_profiles is reached",
        "late_events" => "events older than any open window",
        "time_jumps" => "time stamps that jumped ahead and were not believed",
        "flows_evicted" => "connections ended early: limits.flows is reached",
        "fragmented_dropped" => "datagrams whose fragments did not all come, or found no room",
        "tunnels_too_deep" => "packets left in their tunnels: too many around them",
        "tunnels_evicted" => "tunnels forgotten: sensor.tunnels is reached",
        "transfers_forgotten" => "data connections of FTP not awaited: sensor.transfers is reached",
        "begun_given_up" => "DNS and SSH connections not read on: sensor.begun_bytes is reached",
        "dns_pending_dropped" => "DNS questions told without their answers: sensor.dns_pending is reached",
        "dhcp_pending_dropped" => "DHCP exchanges told in parts: sensor.dhcp_pending is reached",
        "quic_given_up" => "QUIC connections not read to their hello",
        "files_passed_over" => "files not hashed or decompressed: sensor.files is reached",
        "files_cut_short" => "files longer than sensor.hashed_bytes or sensor.inflated_bytes",
        "readers_given_up" => "connections not read on: sensor.readers or sensor.stream_bytes is reached",
        "payload_passed_over" => "bytes not searched for leaks: leak_detector.second is reached",
        "holes_given_up" => {
            "holes in connections given up: sensor.stream_bytes or stream_side_bytes is reached"
        }
        "holes_forgotten" => "holes in connections forgotten: too many in one",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_of_the_sensor_is_explained() {
        for (name, _) in slips_sensor::Counters::default().shortfalls() {
            assert_ne!(explained(name), name);
        }
    }

    #[test]
    fn shortfalls_are_told_when_there_are_any() {
        let mut summary = Summary::default();
        summary.finish(&Stats::default(), 1.0);
        assert!(!serde_json::to_string(&summary).expect("JSON").contains("shortfalls"));
        assert_eq!(summary.text().lines().count(), 3, "{}", summary.text());
        let stats = Stats { evidence_capped: 3, late_events: 2, ..Stats::default() };
        summary.finish(&stats, 1.0);
        let json = serde_json::to_string(&summary).expect("JSON");
        assert!(json.contains(r#""shortfalls":{"evidence_capped":3,"late_events":2}"#), "{json}");
        assert!(summary.text().contains("3 findings left out"), "{}", summary.text());
        assert!(summary.text().contains("2 events older"), "{}", summary.text());
    }
}
