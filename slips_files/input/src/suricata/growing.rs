//! Suricata's event log while Suricata writes it: each whole line once, over rotations (the file is renamed, or cut) and restarts.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use slips_core::event::Event;

use super::{Decoder, Taken};
use crate::blocks::Line;
use crate::error::InputError;
use crate::feed::{Feed, FeedReport, Now};
use crate::flowlog::order::Reorder;
use crate::report::{Reason, Reject};
use crate::tail::growing::{FileId, Growing, Grown};

/// How often the file is asked whether it grew.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// What belongs together (a question and its answer) finds each other for so long, and up to twice as long.
const HOLD: Duration = Duration::from_secs(1);
/// A file that was renamed is read until nothing came for so long: Suricata writes on until it is told.
const GRACE: Duration = Duration::from_secs(10);
/// So many such files are read beside the new one; those of before are given up.
const MAX_OLD: usize = 8;
/// So many events make a batch, and so many blocks of 64 KiB are read for it at most.
const BATCH: usize = 4096;
const BLOCKS: usize = 64;

/// An event log that is read as it grows.
pub struct GrowingEve {
    path: PathBuf,
    decoder: Decoder,
    queue: Reorder,
    /// Events up to this number came before the last release.
    waited: u64,
    released: Duration,
    current: Option<(FileId, Growing)>,
    /// Files of before, and when something came from each.
    old: Vec<(Growing, Duration)>,
    report: FeedReport,
}

impl GrowingEve {
    /// Follows the log from its end on; it need not be there yet, but its directory must.
    ///
    /// # Errors
    /// When the directory is not there, or the log cannot be read.
    pub fn open(path: &Path, now: Now) -> Result<Self, InputError> {
        let directory = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::metadata(directory).map_err(|error| InputError::from_io(path, error))?;
        let mut eve = Self {
            path: path.to_path_buf(),
            decoder: Decoder::new(),
            queue: Reorder::default(),
            waited: 0,
            released: now.steady,
            current: None,
            old: Vec::new(),
            report: FeedReport::default(),
        };
        match Growing::open(path) {
            Ok((id, mut growing)) => {
                growing.go_to_end().map_err(|error| InputError::from_io(path, error))?;
                eve.current = Some((id, growing));
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(InputError::from_io(path, error)),
        }
        Ok(eve)
    }

    /// Sees whether the name stands for another file by now.
    fn look(&mut self, now: Duration) {
        let id = fs::metadata(&self.path).map(|metadata| (metadata.dev(), metadata.ino()));
        let known = self.current.as_ref().map(|(id, _)| *id);
        match id {
            Ok(id) if known == Some(id) => self.report.trouble.clear(),
            Ok(_) => match Growing::open(&self.path) {
                Ok(fresh) => {
                    let left = self.current.replace(fresh);
                    self.old.extend(left.map(|(_, growing)| (growing, now)));
                    let given_up = self.old.len().saturating_sub(MAX_OLD);
                    self.old.drain(..given_up);
                    self.report.trouble.clear();
                }
                Err(error) => self.report.trouble = format!("cannot be read: {error}"),
            },
            // Between two names of a rotation, or before Suricata's start.
            Err(error) => self.report.trouble = format!("cannot be read: {error}"),
        }
    }

    fn note(&mut self, reject: Reject) {
        note(&mut self.report, reject);
    }
}

fn note(report: &mut FeedReport, reject: Reject) {
    *report.rejected.entry(reject.reason).or_default() += 1;
    if reject.reason != Reason::UnusedKind {
        let field = if reject.field.is_empty() { String::new() } else { format!(" ({})", reject.field) };
        report.last_reject = format!("{}{field}", reject.reason);
    }
}

/// Reads what has come; false when there is nothing more now.
fn drain(
    growing: &mut Growing,
    decoder: &mut Decoder,
    queue: &mut Reorder,
    report: &mut FeedReport,
    out: &mut Vec<Event>,
) -> bool {
    let full = out.len() + BATCH;
    for _ in 0..BLOCKS {
        while let Some(line) = growing.next_line() {
            if queue.is_full() {
                out.extend(queue.pop());
            }
            let taken = match line {
                Line::Whole(line) | Line::Tail(line) => decoder.take(line, queue),
                Line::TooLong => Err(Reject::new(Reason::LineTooLong)),
            };
            match taken {
                Ok(Taken::Used) => report.records += 1,
                Ok(Taken::Unused) => note(report, Reject::new(Reason::UnusedKind)),
                Ok(Taken::Empty) => {}
                Err(reject) => note(report, reject),
            }
            if out.len() >= full {
                return true;
            }
        }
        match growing.grow() {
            // Cut and written anew: what follows is its beginning.
            Ok(Grown::More | Grown::Restarted) => {}
            Ok(Grown::Nothing) => return false,
            Err(error) => {
                report.trouble = format!("cannot be read: {error}");
                return false;
            }
        }
    }
    true
}

impl Feed for GrowingEve {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn read(&mut self, now: Now, out: &mut Vec<Event>) -> Result<Duration, InputError> {
        self.look(now.steady);
        let mut more = false;
        for (growing, came) in &mut self.old {
            let before = growing.offset();
            more |= drain(growing, &mut self.decoder, &mut self.queue, &mut self.report, out);
            if growing.offset() != before {
                *came = now.steady;
            }
        }
        let over = |came: Duration| now.steady.saturating_sub(came) >= GRACE;
        let halves = self.old.iter().filter(|(growing, came)| over(*came) && growing.has_half()).count();
        self.old.retain(|(_, came)| !over(*came));
        for _ in 0..halves {
            self.note(Reject::new(Reason::TruncatedLastLine));
        }
        if let Some((_, growing)) = &mut self.current {
            more |= drain(growing, &mut self.decoder, &mut self.queue, &mut self.report, out);
        }
        if now.steady.saturating_sub(self.released) >= HOLD {
            self.released = now.steady;
            self.queue.release(self.waited, out);
            self.waited = self.queue.arrived();
        }
        let newest = out
            .iter()
            .map(|event| if let Event::Flow(flow) = event { flow.seen } else { event.time() })
            .max();
        self.report.newest = self.report.newest.max(newest);
        Ok(if more { Duration::ZERO } else { ASK_EVERY })
    }

    fn finish(&mut self, out: &mut Vec<Event>) {
        out.extend(std::iter::from_fn(|| self.queue.pop()));
    }

    fn report(&self) -> FeedReport {
        let files =
            self.current.iter().map(|(_, growing)| growing).chain(self.old.iter().map(|(old, _)| old));
        let behind = files.map(|growing| growing.behind()).sum();
        let parts = usize::from(self.current.is_some()) + self.old.len();
        FeedReport { behind, parts, ..self.report.clone() }
    }
}
