//! Events as logs that Zeek's tools can read, for `slips sensor`.

mod community;
mod dns_names;
mod handshakes;
mod logs;
mod own_logs;
mod row;

use std::path::PathBuf;

use slips_core::addr::LocalNets;
use slips_core::event::Event;
use slips_core::record::Record;
use slips_core::time::PacketTime;

pub use row::ZeekFormat;

use crate::lines::{Limits, LineFile};
use crate::output_dir::OutputDir;
use crate::render;
use crate::sink::{Clock, RecordSink, StoreError};
pub(crate) use logs::LogKind;
use row::Row;

/// Writes each event into the log of its kind: `conn.log`, `dns.log`, … A log is made with its first row.
#[derive(Debug)]
pub struct ZeekLogs {
    dir: PathBuf,
    format: ZeekFormat,
    local: LocalNets,
    clock: Clock,
    logs: [Option<LineFile>; LogKind::NAMES.len()],
    lost: u64,
}

impl ZeekLogs {
    /// Writes into `dir`. Logs of an earlier run are moved to `NAME.log.1`; logs that somebody else put there are refused. `local` decides local_orig, local_resp and the direction of SSH sessions; the
    /// clock dates the header and footer of TSV logs.
    pub fn create(
        dir: &OutputDir,
        format: ZeekFormat,
        local: LocalNets,
        clock: Clock,
    ) -> Result<Self, StoreError> {
        dir.make_way_for_logs(LogKind::NAMES.iter().map(|name| format!("{name}.log")))?;
        let logs = std::array::from_fn(|_| None);
        Ok(Self { dir: dir.path().to_owned(), format, local, clock, logs, lost: 0 })
    }

    fn write(&mut self, event: &Event) -> Result<(), StoreError> {
        let Some(kind) = LogKind::of(event) else { return Ok(()) };
        let Some(slot) = self.logs.get_mut(kind as usize) else { return Ok(()) };
        let log = match slot {
            Some(log) => log,
            None => {
                match open(self.dir.join(format!("{}.log", kind.name())), self.format, kind, self.clock) {
                    Ok(log) => slot.insert(log),
                    Err(error) => {
                        self.lost += 1;
                        return Err(error);
                    }
                }
            }
        };
        let (format, local) = (self.format, &self.local);
        log.line(|out| {
            let mut row = Row::begin(out, format, kind.fields());
            logs::fill(&mut row, event, local);
            row.end();
        })
    }

    fn each(
        &mut self,
        mut act: impl FnMut(&mut LineFile) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        // All of them, whatever happens to one.
        let mut outcome = Ok(());
        for log in self.logs.iter_mut().flatten() {
            outcome = outcome.and(act(log));
        }
        outcome
    }
}

/// Appends an event as a JSON object with the fields of its log, without those of which `without` says yes.
pub(crate) fn fields(
    out: &mut Vec<u8>,
    event: &Event,
    kind: LogKind,
    without: fn(&str) -> bool,
    local: &LocalNets,
) {
    let mut row = Row::begin_without(out, kind.fields(), without);
    logs::fill(&mut row, event, local);
    row.end();
}

fn open(path: PathBuf, format: ZeekFormat, kind: LogKind, clock: Clock) -> Result<LineFile, StoreError> {
    let mut log = LineFile::open(path, Limits::LOGS)?;
    if format == ZeekFormat::Tsv && log.is_new() {
        log.line(|out| row::header(out, kind.name(), kind.fields(), &day_and_time(clock())))?;
    }
    Ok(log)
}

/// An event as a row of its log, in JSON; `None` for events that are no row.
pub(crate) fn json(event: &Event, local: &LocalNets) -> Option<String> {
    let kind = LogKind::of(event)?;
    let mut out = Vec::with_capacity(512);
    let mut row = Row::begin(&mut out, ZeekFormat::Json, kind.fields());
    logs::fill(&mut row, event, local);
    row.end();
    String::from_utf8(out).ok()
}

/// `2026-01-02-10-00-00`, as in Zeek's headers.
fn day_and_time(micros: i64) -> String {
    let iso = render::iso(PacketTime(micros));
    iso.split('.').next().unwrap_or_default().replace(['T', ':'], "-")
}

impl RecordSink for ZeekLogs {
    fn accept(&mut self, records: &[Record]) -> Result<(), StoreError> {
        let mut outcome = Ok(());
        for record in records {
            if let Record::Events(batch) = record {
                for event in batch.iter() {
                    outcome = outcome.and(self.write(event));
                }
            }
        }
        outcome
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        self.each(LineFile::write_out)
    }

    fn close(mut self: Box<Self>) -> Result<(), StoreError> {
        let closed = day_and_time((self.clock)());
        let footer = (self.format == ZeekFormat::Tsv).then(|| format!("#close\t{closed}"));
        self.each(|log| {
            let outcome = match &footer {
                Some(footer) => log.line(|out| out.extend_from_slice(footer.as_bytes())),
                None => Ok(()),
            };
            outcome.and(log.sync())
        })
    }

    fn lost(&self) -> u64 {
        self.lost + self.logs.iter().flatten().map(LineFile::lost).sum::<u64>()
    }
}

#[cfg(test)]
mod tests;
