//! A directory into which logs are written while it is read.

use std::collections::{HashMap, VecDeque};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use slips_core::event::Event;
use slips_core::time::{PacketTime, Span};

use super::followed::{Filled, Followed, Stage, note};
use super::growing::{FileId, Growing};
use super::marks::{self, Mark};
use crate::error::InputError;
use crate::feed::{Feed, FeedReport, Now};
use crate::report::{Reason, Reject};

/// So many events make a batch.
const BATCH: usize = 1000;
/// How often the files are asked whether they grew. Zeek itself holds rows back for a second.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// A log that stands still holds the others up for at most so long.
const HOLD: Duration = Duration::from_secs(1);
/// A directory that changed is listed again for so long at every turn: its stamp need not move with every change,
const LIST_FOR: Duration = Duration::from_secs(2);
/// and once in so long whatever it says.
const LIST_EVERY: Duration = Duration::from_secs(10);
/// A file that left the directory is read until nothing came for so long.
const GRACE: Duration = Duration::from_secs(10);
/// So many files are kept open; those that stand still are closed before, and opened again when they grow.
const MAX_OPEN: usize = 256;
/// So many files of a directory are known; a year of hourly logs of one kind is 8,760.
const MAX_FILES: usize = 16_384;
/// So many files that are gone are remembered, in case a copy of one turns up.
const MAX_GONE: usize = 1024;

/// Where the reading of a directory begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// With what is written from now on.
    End,
    /// With all that lies there.
    Start,
    /// Where [`Feed::mark`] said that an earlier run stood; files that it did not know from their start.
    Mark(String),
}

/// A directory whose logs are read as they grow. Its compressed files, hidden ones and those without `.log` in their names are left alone.
pub struct GrowingDirectory {
    path: PathBuf,
    files: Vec<Followed>,
    by_id: HashMap<FileId, usize>,
    begin: Begin,
    /// Marks of files that are not where they were.
    gone: VecDeque<Mark>,
    /// Whether there are more of them than when copies were looked at last.
    left_more: bool,
    /// The stamp of the directory as of the last listing, and since when it is that.
    stamp: Option<(i64, i64)>,
    stamp_since: Duration,
    listed: Option<Duration>,
    report: FeedReport,
    /// When an event was given out last.
    given_at: Duration,
}

enum Begin {
    End,
    Start,
    Marks(HashMap<FileId, Mark>),
}

/// A file that a listing found.
struct Entry {
    id: FileId,
    path: PathBuf,
    length: u64,
    changed: (i64, i64),
}

impl GrowingDirectory {
    /// Looks at the directory; what lies there is read as `beginning` says.
    pub fn open(path: &Path, beginning: Beginning, now: Now) -> Result<Self, InputError> {
        let (begin, gone) = match beginning {
            Beginning::End => (Begin::End, Vec::new()),
            Beginning::Start => (Begin::Start, Vec::new()),
            Beginning::Mark(text) => match marks::read(&text) {
                Some((marks, gone)) => (Begin::Marks(marks), gone),
                // Of nobody: rather miss what was written meanwhile than repeat a year.
                None => (Begin::End, Vec::new()),
            },
        };
        let mut directory = Self {
            path: path.to_path_buf(),
            files: Vec::new(),
            by_id: HashMap::new(),
            begin,
            gone: gone.into_iter().take(MAX_GONE).collect(),
            left_more: false,
            stamp: None,
            stamp_since: now.steady,
            listed: None,
            report: FeedReport::default(),
            given_at: now.steady,
        };
        let entries = directory.list().map_err(|error| InputError::from_io(path, error))?;
        if entries.len() > MAX_FILES {
            return Err(InputError::TooManyLogs { path: path.to_path_buf(), limit: MAX_FILES });
        }
        directory.learn(entries, now.steady);
        // What turns up from now on is new; a mark without its file is that of a file that was copied and cut, or is gone.
        if let Begin::Marks(left) = std::mem::replace(&mut directory.begin, Begin::Start) {
            directory.gone.extend(left.into_values());
            directory.bound_gone();
        }
        directory.listed = Some(now.steady);
        Ok(directory)
    }

    /// The files that may be logs, those that changed longest ago first.
    fn list(&self) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let path = entry?.path();
            let may_be = path.file_name().and_then(|name| name.to_str()).is_some_and(may_be_log);
            if !may_be {
                continue;
            }
            // What is gone again by now is found under its new name.
            let Ok(metadata) = fs::metadata(&path) else { continue };
            if metadata.is_file() {
                let changed = (metadata.mtime(), metadata.mtime_nsec());
                entries.push(Entry {
                    id: (metadata.dev(), metadata.ino()),
                    path,
                    length: metadata.len(),
                    changed,
                });
            }
        }
        entries.sort_unstable_by(|a, b| (a.changed, &a.path).cmp(&(b.changed, &b.path)));
        Ok(entries)
    }

    /// Lists the directory when it changed, lately changed, or was not listed for long.
    fn look_around(&mut self, now: Duration) {
        let stamp = fs::metadata(&self.path).map(|metadata| (metadata.mtime(), metadata.mtime_nsec()));
        let Ok(stamp) = stamp else {
            // What is open is read on; the directory may come back.
            self.report.trouble = format!("{} cannot be read", self.path.display());
            return;
        };
        if self.stamp != Some(stamp) {
            (self.stamp, self.stamp_since) = (Some(stamp), now);
        }
        let settled = now.saturating_sub(self.stamp_since) >= LIST_FOR;
        if settled && self.listed.is_some_and(|at| now.saturating_sub(at) < LIST_EVERY) {
            return;
        }
        self.listed = Some(now);
        match self.list() {
            Ok(entries) => {
                self.report.trouble.clear();
                self.learn(entries, now);
            }
            Err(error) => self.report.trouble = format!("{} cannot be read: {error}", self.path.display()),
        }
        self.forget(now);
    }

    /// Takes in what a listing found.
    fn learn(&mut self, entries: Vec<Entry>, now: Duration) {
        self.files.iter_mut().for_each(|file| file.present = false);
        for entry in entries {
            match self.by_id.get(&entry.id).copied() {
                Some(at) => self.meet_again(at, entry, now),
                None => self.meet(entry, now),
            }
        }
    }

    /// A file that is known; perhaps under another name, perhaps longer than when it was closed.
    fn meet_again(&mut self, at: usize, entry: Entry, now: Duration) {
        let changed = self.files.get(at).is_some_and(|file| file.has_changed(entry.length, &entry.path));
        let room = changed && self.make_room(now);
        let Some(file) = self.files.get_mut(at) else { return };
        file.present = true;
        if room
            && let Ok((id, growing)) = Growing::open(&entry.path)
            && id == entry.id
        {
            let left = file.reopen(growing, now);
            self.left_more |= left.is_some();
            self.gone.extend(left);
        }
        file.renamed(entry.path);
    }

    /// A file that was never seen.
    fn meet(&mut self, entry: Entry, now: Duration) {
        if self.files.len() >= MAX_FILES {
            self.report.trouble = format!("{}: more than {MAX_FILES} logs", self.path.display());
            return;
        }
        // Without room it is met at a later listing; at the first one nothing is read yet, so there is always room.
        if !self.make_room(now) {
            return;
        }
        let (id, growing) = match Growing::open(&entry.path) {
            Ok(opened) => opened,
            Err(error) => {
                self.report.trouble = format!("{} cannot be read: {error}", entry.path.display());
                return;
            }
        };
        if self.by_id.contains_key(&id) {
            return;
        }
        let mut file = Followed::new(&entry.path, growing, now);
        let begun = match &mut self.begin {
            Begin::Start => Ok(()),
            Begin::End => file.go_to_end(),
            Begin::Marks(marks) => {
                let of_it = |mark: &Mark| file.telling_head().is_some_and(|head| mark.is_of(head));
                match marks.get(&id).copied().filter(of_it) {
                    Some(mark) => {
                        let begun = file.go_on(mark);
                        // With an error it stays, for when the file is met again.
                        if begun.is_ok() {
                            marks.remove(&id);
                        }
                        begun
                    }
                    None => Ok(()),
                }
            }
        };
        if let Err(error) = begun {
            self.report.trouble = format!("{} cannot be read: {error}", entry.path.display());
            return;
        }
        self.by_id.insert(id, self.files.len());
        self.files.push(file);
    }

    /// Whether one more file may be opened; closes one that stands still where there are many.
    fn make_room(&mut self, now: Duration) -> bool {
        let open = self.files.iter().filter(|file| file.is_open()).count();
        if open < MAX_OPEN {
            return true;
        }
        let idle = |file: &&mut Followed| {
            file.is_open() && file.is_idle() && (now > file.grew_at() || self.listed.is_none())
        };
        match self.files.iter_mut().filter(idle).min_by_key(|file| file.grew_at()) {
            Some(file) => {
                file.close();
                true
            }
            None => false,
        }
    }

    /// Forgets files that left the directory and were read to their ends.
    fn forget(&mut self, now: Duration) {
        let over = |file: &Followed| file.is_over(now, GRACE);
        if !self.files.iter().any(over) {
            return;
        }
        let mut left = 0;
        let mut places = HashMap::new();
        let mut kept = Vec::with_capacity(self.files.len());
        let ids: HashMap<usize, FileId> = self.by_id.iter().map(|(id, at)| (*at, *id)).collect();
        for (at, file) in self.files.drain(..).enumerate() {
            if over(&file) {
                if file.has_half() {
                    note(
                        &mut self.report,
                        file.path(),
                        file.mark().map_or(0, |mark| mark.offset),
                        Reject::new(Reason::TruncatedLastLine),
                    );
                }
                self.gone.extend(file.mark());
                self.left_more = true;
            } else {
                places.extend(ids.get(&at).map(|id| (*id, left)));
                left += 1;
                kept.push(file);
            }
        }
        (self.files, self.by_id) = (kept, places);
    }

    fn bound_gone(&mut self) {
        while self.gone.len() > MAX_GONE {
            self.gone.pop_front();
        }
    }

    /// Finds out about files that hold records now and are not decided about.
    fn decide(&mut self) {
        let left_more = std::mem::replace(&mut self.left_more, false);
        for at in 0..self.files.len() {
            if let Some(file) = self.files.get_mut(at) {
                // What cannot be looked at cannot be read either, and that is told there.
                let _ = file.look_again();
            }
            let Some(file) = self.files.get(at) else { return };
            let waits = match file.stage() {
                Stage::New => file.peek().is_none(),
                Stage::Copy => left_more,
                Stage::Reading | Stage::Unused => false,
            };
            let Some(head) = file.telling_head().filter(|_| waits) else { continue };
            let left = self.gone.iter().position(|mark| mark.is_of(head));
            let is_copy = left.is_none()
                && self.files.iter().enumerate().any(|(other, file)| other != at && file.holds(head));
            let left = left.and_then(|at| self.gone.remove(at));
            let Some(file) = self.files.get_mut(at) else { return };
            let decided = match left {
                Some(mark) => file.go_on(mark),
                None if is_copy => {
                    file.is_copy();
                    Ok(())
                }
                None => file.decide().map(drop),
            };
            if let Err(error) = decided {
                self.report.trouble = format!("{} cannot be read: {error}", file.path().display());
            }
            if file.stage() == Stage::Unused && file.is_open() {
                file.close();
            }
        }
    }

    /// Reads what is there for every log that has nothing to give. True where a log has more than that.
    fn fill(&mut self, now: Duration, quiet: &mut [bool]) {
        for (file, quiet) in self.files.iter_mut().zip(quiet) {
            if *quiet || file.peek().is_some() || !file.is_read() {
                continue;
            }
            match file.fill(now, &mut self.report) {
                Ok(Filled::Some) => {}
                Ok(Filled::Quiet) => *quiet = true,
                Ok(Filled::Cut(mark)) => {
                    // The rest of it comes at the next turn, when it is known what it holds now.
                    *quiet = true;
                    self.gone.extend(mark);
                    self.left_more = true;
                }
                Err(error) => {
                    *quiet = true;
                    self.report.trouble = format!("{} cannot be read: {error}", file.path().display());
                }
            }
        }
    }

    /// The log whose next event happened first, and when the first event of the others did.
    fn earliest(&self) -> (Option<usize>, Option<Key>) {
        let (mut first, mut second) = (None::<Key>, None::<Key>);
        for (at, file) in self.files.iter().enumerate() {
            let Some(time) = file.peek() else { continue };
            let key = (time, at);
            if first.is_none_or(|first| key < first) {
                second = first;
                first = Some(key);
            } else if second.is_none_or(|second| key < second) {
                second = Some(key);
            }
        }
        (first.map(|(_, at)| at), second)
    }

    fn merge(&mut self, now: Now, out: &mut Vec<Event>) -> Duration {
        let full = out.len() + BATCH;
        let mut quiet = vec![false; self.files.len()];
        loop {
            self.fill(now.steady, &mut quiet);
            let (Some(at), limit) = self.earliest() else {
                let all = self.files.iter().zip(&quiet).all(|(file, quiet)| *quiet || !file.is_read());
                return if all { ASK_EVERY } else { Duration::ZERO };
            };
            // Where every log has its next event in sight, nothing can come before the earliest.
            let in_sight =
                self.files.iter().zip(&quiet).all(|(file, _)| file.peek().is_some() || !file.is_read());
            let Some(file) = self.files.get_mut(at) else { return ASK_EVERY };
            while let Some(time) = file.peek() {
                if limit.is_some_and(|limit| (time, at) > limit) {
                    break;
                }
                if !in_sight && !file.is_due(time, now, HOLD) {
                    return ASK_EVERY;
                }
                if out.len() >= full {
                    return Duration::ZERO;
                }
                out.extend(file.take());
                self.report.newest = self.report.newest.max(Some(time));
            }
        }
    }
}

/// A moment, and the number of the log.
type Key = (PacketTime, usize);

/// Whether a name may be that of a log that grows.
fn may_be_log(name: &str) -> bool {
    let packed = [".gz", ".zst", ".xz", ".bz2", ".lz4", ".tmp"];
    name.contains(".log") && !name.starts_with('.') && !packed.iter().any(|end| name.ends_with(end))
}

impl Feed for GrowingDirectory {
    fn name(&self) -> String {
        format!("logs of Zeek in {}", self.path.display())
    }

    fn read(&mut self, now: Now, out: &mut Vec<Event>) -> Result<Duration, InputError> {
        self.look_around(now.steady);
        self.decide();
        let before = out.len();
        let wait = self.merge(now, out);
        if out.len() > before {
            self.given_at = now.steady;
        }
        self.bound_gone();
        Ok(wait)
    }

    fn finish(&mut self, out: &mut Vec<Event>) {
        while let (Some(at), _) = self.earliest() {
            out.extend(self.files.get_mut(at).and_then(Followed::take));
        }
    }

    /// The newest record, and the time since it came: the writer's clock may be another than ours, or that of an old capture.
    fn clock(&self, now: Now) -> Option<PacketTime> {
        let silence = now.steady.saturating_sub(self.given_at).as_micros();
        Some(self.report.newest? + Span(i64::try_from(silence).unwrap_or(i64::MAX)))
    }

    fn mark(&self) -> Option<String> {
        let at = |id: &FileId| self.by_id.get(id).and_then(|at| self.files.get(*at)?.mark());
        let mut ids: Vec<&FileId> = self.by_id.keys().collect();
        ids.sort_unstable();
        Some(marks::write(ids.into_iter().filter_map(|id| Some((*id, at(id)?))), self.gone.iter()))
    }

    fn report(&self) -> FeedReport {
        let logs = self.files.iter().filter(|file| file.stage() == Stage::Reading);
        FeedReport {
            parts: logs.count(),
            behind: self.files.iter().map(Followed::behind).sum(),
            ..self.report.clone()
        }
    }
}
