//! A single log, and a directory of logs merged by time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use slips_core::event::Event;
use slips_core::time::PacketTime;

use super::logs::{self, Log};
use super::reader::LogReader;
use crate::error::InputError;
use crate::report::Report;
use crate::sniff::Content;
use crate::source::{OpenOptions, Progress, Source};
use crate::stream::{self, Stream};

/// One log file, in its own order.
pub(crate) struct SingleLog {
    reader: LogReader,
    report: Report,
    progress: Progress,
    batch: usize,
}

impl SingleLog {
    pub(crate) fn new(
        path: &Path,
        stream: Stream,
        log: &'static Log,
        progress: Progress,
        options: &OpenOptions,
    ) -> Self {
        let path: Arc<Path> = path.into();
        let mut report = Report::default();
        let file = report.add_file(&path, log.name);
        let reader = LogReader::new(&path, file, stream, log);
        Self { reader, report, progress, batch: options.batch.max(1) }
    }
}

impl Source for SingleLog {
    fn next_batch(&mut self, out: &mut Vec<Event>) -> Result<bool, InputError> {
        self.reader.read(self.batch, out, &mut self.report)
    }

    fn report(&self) -> Report {
        self.report.clone()
    }

    fn progress(&self) -> Option<(u64, u64)> {
        self.progress.now()
    }
}

/// So many logs of one directory are merged; a year of hourly logs of one kind is 8,760.
const MAX_LOGS: usize = 16_384;
/// So many events of each open log are decoded at once.
const CHUNK: usize = 128;

/// A directory of Zeek logs. The event with the earliest time over all logs comes next; at equal times the log whose name comes
/// first. A log is opened when its first event is due, so that a directory of rotated logs needs few open files.
pub(crate) struct Directory {
    parts: Vec<Part>,
    /// The next event of each part that has one.
    due: BinaryHeap<Reverse<(PacketTime, usize)>>,
    report: Report,
    progress: Progress,
    options: OpenOptions,
}

/// One log of a directory. Its index is that of its file in the report.
struct Part {
    path: Arc<Path>,
    log: &'static Log,
    state: State,
    chunk: Vec<Event>,
    next: usize,
}

enum State {
    Waiting,
    Reading(Box<LogReader>),
    Ended,
}

impl Directory {
    pub(crate) fn open(path: &Path, options: &OpenOptions) -> Result<Self, InputError> {
        let mut merged = Self {
            parts: Vec::new(),
            due: BinaryHeap::new(),
            report: Report::default(),
            progress: Progress::of(Some(0)),
            options: options.clone(),
        };
        let entries = names(path)?;
        let looked_at = entries.len();
        let mut found = Vec::new();
        for entry in entries {
            found.extend(merged.look_at(entry)?);
            if found.len() > MAX_LOGS {
                return Err(InputError::TooManyLogs { path: path.to_path_buf(), limit: MAX_LOGS });
            }
        }
        let whole: Vec<&str> = found.iter().filter(|log| !log.is_part()).map(|log| log.log.name).collect();
        let (copies, used): (Vec<_>, Vec<_>) =
            found.iter().partition(|log| log.is_part() && whole.contains(&log.log.name));
        for copy in copies {
            let why = format!("repeats rows of the {} log beside it", copy.log.name);
            merged.report.ignored.push((copy.path.to_path_buf(), why));
        }
        for log in used {
            merged.add(log);
        }
        if merged.parts.is_empty() {
            return Err(InputError::NoLogs { path: path.to_path_buf(), looked_at });
        }
        Ok(merged)
    }

    /// Finds a log in a file, or notes why not.
    fn look_at(&mut self, path: PathBuf) -> Result<Option<Found>, InputError> {
        let mut ignore = |why: &str| {
            self.report.ignored.push((path.clone(), why.to_owned()));
            Ok(None)
        };
        let length = match fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() => metadata.len(),
            Ok(_) => return ignore("not a file"),
            Err(error) => return ignore(&error.to_string()),
        };
        let stream = match stream::open(&path, &Arc::default(), self.options.inflate_limit) {
            Ok(stream) => stream,
            // A log that may not be read is a hole in what the user asked for; anything else is not asked for.
            Err(error) if logs::by_file_name(&path).is_some() => return Err(error),
            Err(error) => return ignore(&error.to_string()),
        };
        let Some(log) = logs::in_file(stream.content, &path) else {
            return ignore(match stream.content {
                Content::Empty => "empty",
                Content::ZeekTsv(_) | Content::ZeekJson(_) => "a log that is not used",
                Content::Pcap | Content::PcapNg => "a capture beside logs",
                Content::Argus | Content::Eve | Content::Nfdump => "a flow log beside logs of Zeek",
                Content::NotReadYet(found) => found,
                Content::Gzip | Content::Zstd | Content::Bzip2 | Content::Unknown(..) => "not a log",
            });
        };
        let path: Arc<Path> = path.into();
        let first = first_time(&path, stream, log)?;
        Ok(Some(Found { path, log, length, first }))
    }

    fn add(&mut self, found: &Found) {
        let file = self.report.add_file(&found.path, found.log.name);
        self.progress.total = self.progress.total.map(|total| total.saturating_add(found.length));
        self.due.push(Reverse((found.first, file)));
        self.parts.push(Part {
            path: Arc::clone(&found.path),
            log: found.log,
            state: State::Waiting,
            chunk: Vec::new(),
            next: 0,
        });
    }
}

/// A log in a directory, before it is known whether it is used.
struct Found {
    path: Arc<Path>,
    log: &'static Log,
    length: u64,
    first: PacketTime,
}

impl Found {
    /// Whether its name says that it is an extract. Beside the whole log its rows would count twice; without it they are all there is.
    fn is_part(&self) -> bool {
        self.path.file_name().and_then(|name| name.to_str()).is_some_and(|name| logs::is_part(name, self.log))
    }
}

/// When the first event of a log happened; the beginning of time when it has none, so that its faults are still counted.
fn first_time(path: &Arc<Path>, stream: Stream, log: &'static Log) -> Result<PacketTime, InputError> {
    let mut first = Vec::new();
    LogReader::new(path, 0, stream, log).read(1, &mut first, &mut Report::default())?;
    Ok(first.first().map_or(PacketTime::MIN, Event::time))
}

fn names(directory: &Path) -> Result<Vec<PathBuf>, InputError> {
    let fail = |error| InputError::from_io(directory, error);
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory).map_err(fail)? {
        paths.push(entry.map_err(fail)?.path());
    }
    paths.sort();
    Ok(paths)
}

impl Part {
    /// The time of the next event; decodes more when all are given out. `None` at the end.
    fn peek(
        &mut self,
        file: usize,
        report: &mut Report,
        progress: &Progress,
        options: &OpenOptions,
    ) -> Result<Option<PacketTime>, InputError> {
        loop {
            if let Some(event) = self.chunk.get(self.next) {
                return Ok(Some(event.time()));
            }
            self.chunk.clear();
            self.next = 0;
            match &mut self.state {
                State::Waiting => {
                    let stream = stream::open(&self.path, &progress.done, options.inflate_limit)?;
                    self.state = State::Reading(Box::new(LogReader::new(&self.path, file, stream, self.log)));
                }
                State::Reading(reader) => {
                    if !reader.read(CHUNK, &mut self.chunk, report)? {
                        self.state = State::Ended;
                    }
                }
                State::Ended => {
                    self.chunk = Vec::new();
                    return Ok(None);
                }
            }
        }
    }

    fn take(&mut self) -> Option<Event> {
        let event = self.chunk.get_mut(self.next)?;
        self.next += 1;
        Some(std::mem::replace(event, Event::Tick(PacketTime::MIN)))
    }
}

impl Source for Directory {
    fn next_batch(&mut self, out: &mut Vec<Event>) -> Result<bool, InputError> {
        let full = out.len() + self.options.batch.max(1);
        while let Some(Reverse((_, file))) = self.due.pop() {
            // This log goes on until another one is due.
            let limit = self.due.peek().map(|Reverse(due)| *due);
            let Some(part) = self.parts.get_mut(file) else { continue };
            while let Some(time) = part.peek(file, &mut self.report, &self.progress, &self.options)? {
                if limit.is_some_and(|limit| (time, file) > limit) || out.len() >= full {
                    self.due.push(Reverse((time, file)));
                    break;
                }
                out.extend(part.take());
            }
            if out.len() >= full {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn report(&self) -> Report {
        self.report.clone()
    }

    fn progress(&self) -> Option<(u64, u64)> {
        self.progress.now()
    }
}
