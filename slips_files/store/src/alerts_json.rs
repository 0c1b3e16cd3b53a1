//! alerts.json: every evidence and alert as an IDMEFv2 message, one a line.

use std::net::IpAddr;
use std::path::PathBuf;

use slips_core::record::Record;
use slips_core::time::PacketTime;

use crate::lines::{Limits, LineFile};
use crate::sink::{Clock, RecordSink, StoreError};
use crate::wire::idmef::{Analyzer, Message};

/// Writes alerts.json. An evidence is told at its first publication and, under the same ID, whenever it changes.
#[derive(Debug)]
pub struct AlertsJson {
    lines: LineFile,
    analyzer: Analyzer<'static>,
    clock: Clock,
}

impl AlertsJson {
    /// Opens the file for appending. `host` is this machine's address, 0.0.0.0 for an analysis.
    pub fn open(path: impl Into<PathBuf>, host: IpAddr, clock: Clock) -> Result<Self, StoreError> {
        Ok(Self { lines: LineFile::open(path, Limits::ALERTS)?, analyzer: Analyzer::slips(host), clock })
    }
}

impl RecordSink for AlertsJson {
    fn accept(&mut self, records: &[Record]) -> Result<(), StoreError> {
        let mut outcome = Ok(());
        for record in records {
            let now = || PacketTime((self.clock)());
            let message = match record {
                Record::Evidence(evidence) => Message::of_evidence(evidence, &self.analyzer, now()),
                Record::Alert(alert) => Message::of_alert(alert, &self.analyzer, now()),
                _ => continue,
            };
            outcome = outcome.and(self.lines.line(|out| message.write_json(out)));
        }
        outcome.and(self.lines.write_out())
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        self.lines.write_out()
    }

    fn close(mut self: Box<Self>) -> Result<(), StoreError> {
        self.lines.sync()
    }

    fn lost(&self) -> u64 {
        self.lines.lost()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::idmef::{Note, Severity, Status};
    use crate::wire::tests::{alert, clock, evidence};
    use slips_core::evidence::ThreatLevel;
    use std::net::Ipv4Addr;
    use std::sync::Arc;

    #[test]
    fn a_changed_evidence_is_told_again_under_its_id_and_every_line_is_json() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("alerts.json");
        let first = evidence(1);
        let mut grown = first.clone();
        (grown.revision, grown.count, grown.finding.level) = (1, 4, ThreatLevel::Low);
        let mut sink = Box::new(AlertsJson::open(&path, Ipv4Addr::UNSPECIFIED.into(), clock).expect("open"));
        sink.accept(&[
            Record::Evidence(Arc::new(first.clone())),
            Record::Events(Arc::new(Vec::new())),
            Record::Evidence(Arc::new(grown.clone())),
            Record::Alert(Arc::new(alert(vec![grown]))),
        ])
        .expect("accept");
        // Seen by others before anybody flushes.
        let text = std::fs::read_to_string(&path).expect("read");
        let lines: Vec<Message<'_>> =
            text.lines().map(|line| serde_json::from_str(line).expect("json")).collect();
        let [one, two, incident] = &lines[..] else { panic!("{text}") };
        assert_eq!((&one.id, one.severity), (&first.id.to_string(), Severity::High));
        assert_eq!((&two.id, two.severity), (&first.id.to_string(), Severity::Low));
        let note: Note = serde_json::from_str(&two.note).expect("note");
        assert_eq!(note.count, Some(4));
        assert_eq!(
            (incident.status, &incident.correl_id[..]),
            (Status::Incident, &[first.id.to_string()][..])
        );
        sink.close().expect("close");
    }
}
