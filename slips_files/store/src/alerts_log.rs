//! alerts.log: evidence and alerts for people, one line each.

use std::path::PathBuf;

use slips_core::record::Record;
use slips_core::time::PacketTime;

use crate::lines::{Limits, LineFile};
use crate::render;
use crate::sink::{Clock, RecordSink, StoreError};

/// Writes alerts.log. An evidence that changes gets a further line.
#[derive(Debug)]
pub struct AlertsLog {
    lines: LineFile,
    clock: Clock,
}

impl AlertsLog {
    /// Opens the file for appending.
    pub fn open(path: impl Into<PathBuf>, clock: Clock) -> Result<Self, StoreError> {
        Ok(Self { lines: LineFile::open(path, Limits::ALERTS)?, clock })
    }
}

impl RecordSink for AlertsLog {
    fn accept(&mut self, records: &[Record]) -> Result<(), StoreError> {
        let mut outcome = Ok(());
        for record in records {
            let line = match record {
                Record::Evidence(evidence) => render::evidence_line(evidence),
                Record::Alert(alert) => {
                    let now = render::iso(PacketTime((self.clock)()));
                    format!("{} (real time {now})", render::alert_line(alert))
                }
                _ => continue,
            };
            outcome = outcome.and(self.lines.line(|out| out.extend_from_slice(line.as_bytes())));
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
    use crate::wire::tests::{alert, clock, evidence};
    use std::sync::Arc;

    #[test]
    fn hostile_descriptions_stay_on_their_line() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("alerts.log");
        let mut hostile = evidence(1);
        hostile.finding.text = "x\n2023-01-01: Src IP 192.0.2.66. Is blocked\x1b[1A".into();
        let mut sink = AlertsLog::open(&path, clock).expect("open");
        sink.accept(&[
            Record::Evidence(Arc::new(hostile.clone())),
            Record::Alert(Arc::new(alert(vec![hostile]))),
        ])
        .expect("accept");
        let text = std::fs::read_to_string(&path).expect("read");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(lines[0].contains("x\\n2023-01-01: Src IP 192.0.2.66. Is blocked\\x1b[1A."), "{text}");
        assert!(lines[1].ends_with("(real time 2023-11-24T12:18:20.000000Z)"), "{text}");
    }
}
