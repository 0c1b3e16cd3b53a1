//! The one face of all finite inputs, and how a path becomes one.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use slips_core::event::Event;

use crate::argus::List;
use crate::capfile::{CaptureFile, CaptureSource};
use crate::error::InputError;
use crate::filter::PacketFilter;
use crate::flowlog::source::FlowLog;
use crate::nfdump::{Nfdump, Refusal};
use crate::report::Report;
use crate::sniff::Content;
use crate::stream::{self, Stream};
use crate::suricata::Eve;
use crate::zeek::logs;
use crate::zeek::source::{Directory, SingleLog};

/// A finite input that gives events, batch by batch.
pub trait Source {
    /// Appends the next events to `out`: about [`OpenOptions::batch`], sometimes none. False when the input has ended; what
    /// was appended by that call still counts.
    fn next_batch(&mut self, out: &mut Vec<Event>) -> Result<bool, InputError>;

    /// What was read so far, and what could not be used.
    fn report(&self) -> Report;

    /// Bytes read and bytes there are, where that can be told.
    fn progress(&self) -> Option<(u64, u64)>;
}

/// What an input can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A capture, pcap or pcapng.
    Pcap,
    /// A Zeek log, of columns or JSON lines.
    Zeek,
    /// Suricata's event log.
    Suricata,
    /// Argus' flow list.
    Argus,
    /// nfdump's binary file.
    Nfdump,
}

/// How an input is read.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// What the input must hold; `None` lets its content decide. A JSON log of Zeek that does not tell which it is, is taken
    /// for a conn.log when Zeek was asked for.
    pub format: Option<Format>,
    /// About so many events make a batch.
    pub batch: usize,
    /// A compressed file gives at most so many bytes.
    pub inflate_limit: u64,
    /// How the packets of a capture become flows.
    pub sensor: slips_sensor::Settings,
    /// Which packets of a capture are read; flow logs have none, and cannot be opened with it.
    pub filter: Option<PacketFilter>,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            format: None,
            batch: 1000,
            inflate_limit: 1 << 40,
            sensor: slips_sensor::Settings::default(),
            filter: None,
        }
    }
}

/// Opens a file or a directory of Zeek logs; what it is, is told from its content.
pub fn open(path: &Path, options: &OpenOptions) -> Result<Box<dyn Source + Send>, InputError> {
    let metadata = fs::metadata(path).map_err(|error| InputError::from_io(path, error))?;
    if metadata.is_dir() {
        if options.format.is_some_and(|format| format != Format::Zeek) {
            return Err(InputError::unknown(path, 0, "a directory, which can only hold logs of Zeek"));
        }
        if options.filter.is_some() {
            return Err(InputError::unknown(path, 0, NO_PACKETS));
        }
        return Ok(Box::new(Directory::open(path, options)?));
    }
    let (stream, progress) = open_file(path, options)?;
    from_stream(path, stream, progress, options)
}

/// Opens a file and looks at it.
pub(crate) fn open_file(path: &Path, options: &OpenOptions) -> Result<(Stream, Progress), InputError> {
    let metadata = fs::metadata(path).map_err(|error| InputError::from_io(path, error))?;
    let progress = Progress::of(metadata.is_file().then_some(metadata.len()));
    let stream = stream::open(path, &progress.done, options.inflate_limit)?;
    Ok((stream, progress))
}

/// Reads an open stream, such as standard input; `name` stands for it in messages.
pub fn open_stream(
    name: &Path,
    reader: Box<dyn Read + Send>,
    options: &OpenOptions,
) -> Result<Box<dyn Source + Send>, InputError> {
    let progress = Progress::of(None);
    let stream = stream::from_reader(name, reader, &progress.done, options.inflate_limit)?;
    from_stream(name, stream, progress, options)
}

fn from_stream(
    path: &Path,
    stream: Stream,
    progress: Progress,
    options: &OpenOptions,
) -> Result<Box<dyn Source + Send>, InputError> {
    let unknown = |line, why| Err(InputError::unknown(path, line, why));
    if let (Some(wanted), Some(found)) = (options.format, stream.content.format())
        && wanted != found
    {
        return Err(InputError::unknown(path, 0, stream.content.refusal()));
    }
    if options.filter.is_some() && !matches!(stream.content, Content::Pcap | Content::PcapNg) {
        return unknown(0, NO_PACKETS);
    }
    let log = match stream.content {
        Content::Pcap | Content::PcapNg => {
            let file = CaptureFile::from_stream(path, stream, progress)?;
            return Ok(Box::new(CaptureSource::new(file, options)));
        }
        Content::Eve => {
            let (path, report, file) = begin(path, "suricata");
            let records = Eve::new(&path, file, stream);
            return Ok(Box::new(FlowLog::new(records, report, progress, options)));
        }
        Content::Nfdump => {
            let (path, report, file) = begin(path, "nfdump");
            return match Nfdump::begin(&path, file, stream.blocks) {
                Ok(records) => Ok(Box::new(FlowLog::new(records, report, progress, options))),
                Err(Refusal::Short) => {
                    Err(InputError::unknown(&path, 0, "an nfdump file that ends within its header"))
                }
                Err(Refusal::Kind(found)) => Err(InputError::NotReadYet { path: path.to_path_buf(), found }),
            };
        }
        Content::Argus => {
            let (path, report, file) = begin(path, "argus");
            let records = List::new(&path, file, stream);
            return Ok(Box::new(FlowLog::new(records, report, progress, options)));
        }
        Content::ZeekTsv(log) => log,
        Content::ZeekJson(_) => {
            let asked = options.format.and_then(|_| logs::by_name("conn"));
            logs::in_file(stream.content, path).or(asked)
        }
        Content::Empty => return Err(InputError::Empty { path: path.to_path_buf() }),
        Content::NotReadYet(found) => return Err(InputError::NotReadYet { path: path.to_path_buf(), found }),
        Content::Gzip | Content::Zstd | Content::Bzip2 => {
            return unknown(0, "a compressed stream inside of another");
        }
        Content::Unknown(line, why) => return unknown(line, why),
    };
    match log {
        Some(log) => Ok(Box::new(SingleLog::new(path, stream, log, progress, options))),
        None => unknown(0, "a log, but none of those that are used"),
    }
}

/// Why a packet filter does not go with flow logs: what it asks for is not in them.
const NO_PACKETS: &str = "a packet filter was given, and this holds no packets";

/// The report of an input that is one file of this kind.
fn begin(path: &Path, kind: &'static str) -> (Arc<Path>, Report, usize) {
    let path: Arc<Path> = path.into();
    let mut report = Report::default();
    let file = report.add_file(&path, kind);
    (path, report, file)
}

/// How far the reading is.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    pub(crate) done: Arc<AtomicU64>,
    pub(crate) total: Option<u64>,
}

impl Progress {
    pub(crate) fn of(total: Option<u64>) -> Self {
        Self { done: Arc::default(), total }
    }

    pub(crate) fn now(&self) -> Option<(u64, u64)> {
        let total = self.total?;
        Some((self.done.load(Ordering::Relaxed).min(total), total))
    }
}
