//! What a source has read, and what it could not use.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// So many examples of rejected records are kept with file and line; the rest is counted only.
pub const MAX_SAMPLES: usize = 20;

/// Why a record was not used. Closed, so that it can be a metric's label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// The file ends in the middle of a line.
    TruncatedLastLine,
    /// A line longer than 1 MiB.
    LineTooLong,
    /// A row stands before the header that names its columns.
    BeforeHeader,
    /// A header line that cannot be understood.
    BadHeader,
    /// A row has fewer or more columns than its header.
    ColumnCount,
    /// A line of a JSON log that is not one JSON object.
    NotJson,
    /// A field without which the record says nothing is absent.
    MissingField,
    /// A field holds what its type cannot be.
    BadValue,
    /// The compressed stream is damaged or cut off.
    DamagedStream,
    /// The compressed stream grows beyond the configured limit.
    InflatedTooFar,
    /// The capture ends in the middle of a packet or block.
    TruncatedCapture,
    /// A packet or block whose length cannot be; what follows cannot be found any more.
    BadBlockLength,
    /// A block that contradicts itself.
    BadBlock,
    /// A packet of an interface that was never described.
    UnknownInterface,
    /// A packet of a link type that we do not read.
    UnknownLinkType,
    /// An event or record of a kind that is not used (Suricata's `stats`, Argus' management records).
    UnusedKind,
    /// A datagram of an exporter that nobody allowed.
    NotAllowed,
    /// Records whose template did not come yet.
    UnknownTemplate,
    /// Beyond so many exporters, or templates of one, no more are known.
    TooMany,
    /// What an exporter sent and did not arrive, by its sequence numbers.
    Missed,
}

impl Reason {
    /// The reason in words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TruncatedLastLine => "truncated last line",
            Self::LineTooLong => "line longer than 1 MiB",
            Self::BeforeHeader => "row before its header",
            Self::BadHeader => "bad header line",
            Self::ColumnCount => "wrong number of columns",
            Self::NotJson => "not a JSON object",
            Self::MissingField => "missing field",
            Self::BadValue => "bad value",
            Self::DamagedStream => "damaged compressed stream",
            Self::InflatedTooFar => "compressed stream grows too far",
            Self::TruncatedCapture => "truncated capture",
            Self::BadBlockLength => "impossible length",
            Self::BadBlock => "bad block",
            Self::UnknownInterface => "unknown interface",
            Self::UnknownLinkType => "unknown link type",
            Self::UnusedKind => "record of a kind that is not used",
            Self::NotAllowed => "exporter that is not allowed",
            Self::UnknownTemplate => "records without a template",
            Self::TooMany => "too many exporters or templates",
            Self::Missed => "missing by the sequence numbers",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why one record was not used, and by which of its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reject {
    /// Why.
    pub reason: Reason,
    /// The field that is to blame; empty when no single one is.
    pub field: &'static str,
}

impl Reject {
    /// A rejection that no single field is to blame for.
    pub(crate) const fn new(reason: Reason) -> Self {
        Self { reason, field: "" }
    }

    /// `field` is absent.
    pub(crate) const fn missing(field: &'static str) -> Self {
        Self { reason: Reason::MissingField, field }
    }
}

/// One example of a rejected record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The file.
    pub file: Arc<Path>,
    /// Line of a log, ordinal of a packet; counted from 1.
    pub line: u64,
    /// What was wrong.
    pub what: String,
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file.display(), self.line, self.what)
    }
}

/// What came of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileReport {
    /// The file.
    pub file: Arc<Path>,
    /// What it holds: `pcap`, `pcapng`, or the name of a Zeek log.
    pub kind: &'static str,
    /// Records (log rows or packets) that were used.
    pub rows: u64,
    /// Records that were not.
    pub rejected: u64,
}

/// What a source has read so far.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Records (log rows or packets) that were used.
    pub records: u64,
    /// Records that were not used, by reason.
    pub rejected: BTreeMap<Reason, u64>,
    /// The first few of them, with file and line.
    pub samples: Vec<Sample>,
    /// What came of each file, in the order of their names.
    pub files: Vec<FileReport>,
    /// Files of a directory that are not read, and why.
    pub ignored: Vec<(PathBuf, String)>,
    /// What the sensor made of the packets of a capture; among it the packets that it rejected.
    pub sensor: Option<slips_sensor::Counters>,
}

impl Report {
    /// All rejected records.
    pub fn rejected_total(&self) -> u64 {
        self.rejected.values().sum()
    }

    /// Adds a file; its index is for [`Report::count`] and [`Report::reject`].
    pub(crate) fn add_file(&mut self, file: &Arc<Path>, kind: &'static str) -> usize {
        self.files.push(FileReport { file: Arc::clone(file), kind, rows: 0, rejected: 0 });
        self.files.len() - 1
    }

    /// `rows` more records of a file were used.
    pub(crate) fn count(&mut self, file: usize, rows: u64) {
        self.records += rows;
        if let Some(file) = self.files.get_mut(file) {
            file.rows += rows;
        }
    }

    /// A record of a file that was counted turned out to be of no use.
    pub(crate) fn uncount(&mut self, file: usize) {
        self.records = self.records.saturating_sub(1);
        if let Some(file) = self.files.get_mut(file) {
            file.rows = file.rows.saturating_sub(1);
        }
    }

    /// A sound record is of a kind that is not used: counted, but no example is kept.
    pub(crate) fn pass_over(&mut self, file: usize) {
        *self.rejected.entry(Reason::UnusedKind).or_default() += 1;
        if let Some(file) = self.files.get_mut(file) {
            file.rejected += 1;
        }
    }

    /// A record of a file was not used.
    pub(crate) fn reject(&mut self, file: usize, line: u64, reject: Reject) {
        *self.rejected.entry(reject.reason).or_default() += 1;
        let Some(of) = self.files.get_mut(file) else { return };
        of.rejected += 1;
        if self.samples.len() < MAX_SAMPLES {
            let what = match reject.field {
                "" => reject.reason.to_string(),
                field => format!("{}: {field}", reject.reason),
            };
            self.samples.push(Sample { file: Arc::clone(&of.file), line, what });
        }
    }
}
