//! Suricata's event log while Suricata writes it: each whole line once, over rotations (the file is renamed, or cut) and restarts.

use std::collections::HashMap;
use std::fs;
use std::io;
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
use crate::tail::directory::Beginning;
use crate::tail::growing::{FileId, Growing, Grown};
use crate::tail::marks::{self, Mark};

/// How often the file is asked whether it grew.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// What belongs together (a question and its answer) finds each other for so long, and up to twice as long.
const HOLD: Duration = Duration::from_secs(1);
/// A file that was renamed is read until nothing came for so long: Suricata writes on until it is told.
const GRACE: Duration = Duration::from_secs(10);
/// So many such files are read beside the new one; those of before are given up.
const MAX_OLD: usize = 8;
/// So many names of the log's directory are looked at for files of before.
const MAX_LISTED: usize = 16_384;
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
    old: Vec<(FileId, Growing, Duration)>,
    /// Where the reading stood at the release before the last, and at the last: what was read until the former was given out.
    stood: Option<String>,
    stands: Option<String>,
    report: FeedReport,
}

impl GrowingEve {
    /// Follows the log; it need not be there yet, but its directory must. From a [`Feed::mark`] on also what was written meanwhile is read: the
    /// rest of the file that was read then, whatever it is called now, and those that followed it.
    ///
    /// # Errors
    /// When the directory is not there, or the log cannot be read.
    pub fn open(path: &Path, beginning: Beginning, now: Now) -> Result<Self, InputError> {
        let directory = directory_of(path);
        fs::metadata(directory).map_err(|error| InputError::from_io(path, error))?;
        let mut eve = Self {
            path: path.to_path_buf(),
            decoder: Decoder::new(),
            queue: Reorder::default(),
            waited: 0,
            released: now.steady,
            current: None,
            old: Vec::new(),
            stood: None,
            stands: None,
            report: FeedReport::default(),
        };
        let known = match beginning {
            Beginning::Start => Some(HashMap::new()),
            Beginning::End => None,
            // Of nobody: rather miss what was written meanwhile than repeat a year.
            Beginning::Mark(text) => marks::read(&text).map(|(marks, _)| marks),
        };
        eve.find_first(known.as_ref()).map_err(|error| InputError::from_io(path, error))?;
        if let Some(known) = known.filter(|known| !known.is_empty()) {
            eve.find_old(&known, now.steady).map_err(|error| InputError::from_io(path, error))?;
        }
        Ok(eve)
    }

    /// Opens what the name stands for now: at its mark, at its end where there are no marks, else at its beginning.
    fn find_first(&mut self, known: Option<&HashMap<FileId, Mark>>) -> io::Result<()> {
        let (id, mut growing) = match Growing::open(&self.path) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        match known {
            None => growing.go_to_end()?,
            Some(known) => {
                if let Some(mark) = mark_of(known, id, &growing) {
                    growing.go_to(mark.offset);
                }
            }
        }
        self.current = Some((id, growing));
        Ok(())
    }

    /// Finds the files that were read before and have other names now, and those that had the name in between: they changed later.
    fn find_old(&mut self, known: &HashMap<FileId, Mark>, now: Duration) -> io::Result<()> {
        let name = self.path.file_name().unwrap_or_default();
        let current = self.current.as_ref().map(|(id, _)| *id);
        let mut others = Vec::new();
        for entry in fs::read_dir(directory_of(&self.path))?.take(MAX_LISTED) {
            let entry = entry?;
            if !entry.file_name().as_encoded_bytes().starts_with(name.as_encoded_bytes()) {
                continue;
            }
            // What cannot be looked at, or went meanwhile, cannot be read either.
            let Ok(metadata) = entry.metadata() else { continue };
            let id = (metadata.dev(), metadata.ino());
            if metadata.is_file() && current != Some(id) {
                // The system's stamps are coarse: at the same time, what was read comes first.
                let stamp = (metadata.mtime(), metadata.mtime_nsec(), !known.contains_key(&id));
                others.push((stamp, id, entry.path()));
            }
        }
        others.sort_unstable();
        // Where the name stands for the file that was read then, there was none in between.
        let is_same = self.current.iter().any(|(id, growing)| mark_of(known, *id, growing).is_some());
        let mut is_later = false;
        for (_, id, path) in others {
            let Ok((opened, mut growing)) = Growing::open(&path) else { continue };
            match mark_of(known, id, &growing).filter(|_| opened == id) {
                Some(mark) => {
                    is_later = true;
                    growing.go_to(mark.offset);
                }
                // Packed ones begin otherwise, and are left alone.
                None if is_same || !is_later || !growing.head().starts_with(b"{") => continue,
                None => {}
            }
            self.old.push((opened, growing, now));
        }
        let given_up = self.old.len().saturating_sub(MAX_OLD);
        self.old.drain(..given_up);
        Ok(())
    }

    /// Where the reading stands, each line counted that was taken.
    fn place(&self) -> String {
        let current = self.current.iter().map(|(id, growing)| (*id, growing));
        let files = current.chain(self.old.iter().map(|(id, growing, _)| (*id, growing)));
        let marks = files.map(|(id, growing)| (id, Mark::new(growing.head(), growing.offset(), 0)));
        marks::write(marks, [].iter())
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
                    self.old.extend(left.map(|(id, growing)| (id, growing, now)));
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

/// Where this file was left, if it is one that was read.
fn mark_of(known: &HashMap<FileId, Mark>, id: FileId, growing: &Growing) -> Option<Mark> {
    known.get(&id).copied().filter(|mark| mark.is_of(growing.head()))
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
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
        for (_, growing, came) in &mut self.old {
            let before = growing.offset();
            more |= drain(growing, &mut self.decoder, &mut self.queue, &mut self.report, out);
            if growing.offset() != before {
                *came = now.steady;
            }
        }
        let over = |came: Duration| now.steady.saturating_sub(came) >= GRACE;
        let halves = self.old.iter().filter(|(_, growing, came)| over(*came) && growing.has_half()).count();
        self.old.retain(|(_, _, came)| !over(*came));
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
            let stands = self.place();
            self.stood = self.stands.replace(stands);
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
        self.stood = Some(self.place());
    }

    fn mark(&self) -> Option<String> {
        self.stood.clone()
    }

    fn report(&self) -> FeedReport {
        let files =
            self.current.iter().map(|(_, growing)| growing).chain(self.old.iter().map(|(_, old, _)| old));
        let behind = files.map(|growing| growing.behind()).sum();
        let parts = usize::from(self.current.is_some()) + self.old.len();
        FeedReport { behind, parts, ..self.report.clone() }
    }
}
