//! One log file: its lines become events, in the order of the file.

use std::path::Path;
use std::sync::Arc;

use slips_core::event::Event;

use super::json::{self, KeyTable};
use super::logs::{Labels, Log};
use super::row::Row;
use super::tsv::{Change, Header};
use crate::blocks::{Line, Lines};
use crate::error::InputError;
use crate::report::{Reason, Reject, Report};
use crate::sniff::{self, Content};
use crate::stream::{self, Stream};

/// Reads one log.
pub(crate) struct LogReader {
    path: Arc<Path>,
    /// The file's index in the report.
    file: usize,
    lines: Lines,
    decoder: Decoder,
}

/// All that decoding a line depends on but the line.
pub(crate) struct Decoder {
    format: Format,
    /// `None` while a header announces a log that we do not use.
    log: Option<&'static Log>,
    labels: Labels,
}

enum Format {
    Tsv { header: Header, map: Vec<usize> },
    Json(KeyTable),
}

impl LogReader {
    pub(crate) fn new(path: &Arc<Path>, file: usize, stream: Stream, log: &'static Log) -> Self {
        let decoder = Decoder::new(stream.content, log);
        Self { path: Arc::clone(path), file, lines: Lines::new(stream.blocks), decoder }
    }

    /// Appends up to `want` events; false when the file has ended.
    pub(crate) fn read(
        &mut self,
        want: usize,
        out: &mut Vec<Event>,
        report: &mut Report,
    ) -> Result<bool, InputError> {
        let full = out.len() + want;
        let before = out.len();
        let mut more = true;
        while out.len() < full {
            let decoded = match self.lines.next() {
                Some(Line::Whole(line)) => self.decoder.take(line, out),
                Some(Line::Tail(line)) => {
                    self.decoder.take(line, out).map_err(|reject| match reject.reason {
                        Reason::UnusedKind => reject,
                        _ => Reject::new(Reason::TruncatedLastLine),
                    })
                }
                Some(Line::TooLong) => Err(Reject::new(Reason::LineTooLong)),
                None => {
                    more = false;
                    match self.lines.take_fault() {
                        Some(fault) => Err(stream::judge_fault(&self.path, fault)?),
                        None => Ok(()),
                    }
                }
            };
            if let Err(reject) = decoded {
                if reject.reason == Reason::UnusedKind {
                    report.pass_over(self.file);
                    continue;
                }
                report.reject(self.file, self.lines.number(), reject);
            }
            if !more {
                break;
            }
        }
        report.count(self.file, (out.len() - before) as u64);
        Ok(more)
    }
}

impl Decoder {
    /// For a file in which this was found.
    pub(crate) fn new(content: Content, log: &'static Log) -> Self {
        let format = match content {
            Content::ZeekTsv(_) => Format::Tsv { header: Header::default(), map: Vec::new() },
            _ => Format::Json(KeyTable::new(log.names)),
        };
        Self { format, log: Some(log), labels: Labels::default() }
    }

    /// Appends the event of a line; header lines and empty ones give none.
    pub(crate) fn take(&mut self, line: &[u8], out: &mut Vec<Event>) -> Result<(), Reject> {
        match line.first() {
            None => return Ok(()),
            Some(b'#') => return self.header(line),
            Some(_) => {}
        }
        let Some(log) = self.log else { return Ok(()) };
        let event = match &mut self.format {
            Format::Tsv { header, map } => {
                if map.is_empty() {
                    return Err(Reject::new(Reason::BeforeHeader));
                }
                let mut row = Row::new(header.dialect(), log.names);
                header.read(line, map, &mut row)?;
                (log.decode)(&row, &mut self.labels)?
            }
            Format::Json(keys) => {
                let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
                let mut row = Row::new(super::row::Dialect::Json, log.names);
                json::read(line, keys, &mut row)?;
                (log.decode)(&row, &mut self.labels)?
            }
        };
        out.push(event);
        Ok(())
    }

    fn header(&mut self, line: &[u8]) -> Result<(), Reject> {
        let Format::Tsv { header, map } = &mut self.format else { return Ok(()) };
        match header.take(line)? {
            Change::Nothing => {}
            Change::Begins => map.clear(),
            Change::Fields => {
                self.log = sniff::log_of(header);
                map.clear();
                if let Some(log) = self.log {
                    *map = header.map(log.names);
                }
            }
        }
        Ok(())
    }
}
