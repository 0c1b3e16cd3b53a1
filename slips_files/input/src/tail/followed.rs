//! One log that is followed: its file, how its lines are read, and what was read and not given out yet.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use slips_core::event::Event;
use slips_core::time::PacketTime;

use super::growing::{Growing, Grown, begins_alike, has_record, is_telling};
use super::marks::Mark;
use crate::blocks::Line;
use crate::feed::FeedReport;
use crate::report::{Reason, Reject};
use crate::sniff::{self, LOOK};
use crate::zeek::logs::{self, Log};
use crate::zeek::reader::Decoder;

/// So many events of a log are read ahead.
const CHUNK: usize = 256;
/// So many blocks are read for them at most: a file of rubbish must not keep the others waiting.
const BLOCKS: usize = 64;

/// What is known of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It holds no record yet.
    New,
    /// It is read.
    Reading,
    /// It holds nothing that is used.
    Unused,
    /// It holds what another one holds, which is read: it matters when that one is cut.
    Copy,
}

/// One file.
pub(crate) struct Followed {
    path: Arc<Path>,
    /// `None` where it was closed to spare descriptors.
    growing: Option<Growing>,
    stage: Stage,
    decoder: Option<Decoder>,
    /// Where it stood when it was closed.
    left: Option<Mark>,
    /// How long it was then.
    length: u64,
    header: u64,
    chunk: Vec<Event>,
    /// Where the line behind each of them begins.
    ends: Vec<u64>,
    next: usize,
    /// Where the first line of the chunk begins.
    from: u64,
    read_at: Duration,
    grew_at: Duration,
    /// Whether its directory names it.
    pub(crate) present: bool,
}

/// What came of filling the chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filled {
    /// There is something to give, or may be at once.
    Some,
    /// There is nothing now.
    Quiet,
    /// The file was cut: it stood there, and begins anew.
    Cut(Option<Mark>),
}

impl Followed {
    pub(crate) fn new(path: &Path, growing: Growing, now: Duration) -> Self {
        Self {
            path: path.into(),
            growing: Some(growing),
            stage: Stage::New,
            decoder: None,
            left: None,
            length: 0,
            header: 0,
            chunk: Vec::new(),
            ends: Vec::new(),
            next: 0,
            from: 0,
            read_at: now,
            grew_at: now,
            present: true,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// It has another name now.
    pub(crate) fn renamed(&mut self, path: PathBuf) {
        if *self.path != *path {
            self.path = path.into();
        }
    }

    pub(crate) fn stage(&self) -> Stage {
        self.stage
    }

    pub(crate) fn is_open(&self) -> bool {
        self.growing.is_some()
    }

    pub(crate) fn is_read(&self) -> bool {
        self.growing.is_some() && matches!(self.stage, Stage::New | Stage::Reading)
    }

    /// The file's beginning, where that tells it from others.
    pub(crate) fn telling_head(&self) -> Option<&[u8]> {
        self.growing.as_ref().map(Growing::head).filter(|head| is_telling(head))
    }

    /// Whether its records are those of a file that begins with `head`.
    pub(crate) fn holds(&self, head: &[u8]) -> bool {
        let open = self.telling_head().is_some_and(|own| begins_alike(head, own));
        self.stage == Stage::Reading && (open || self.left.is_some_and(|mark| mark.is_of(head)))
    }

    /// Looks at the beginning of a file again of which too little was known.
    pub(crate) fn look_again(&mut self) -> io::Result<()> {
        match &mut self.growing {
            Some(growing) if self.stage == Stage::New && !is_telling(growing.head()) => growing.look_again(),
            _ => Ok(()),
        }
    }

    pub(crate) fn grew_at(&self) -> Duration {
        self.grew_at
    }

    pub(crate) fn behind(&self) -> u64 {
        let waiting = self.next < self.ends.len();
        match &self.growing {
            Some(growing) if self.is_read() => {
                growing.behind() + if waiting { growing.offset().saturating_sub(self.given()) } else { 0 }
            }
            _ => 0,
        }
    }

    /// Whether it can be closed without losing anything.
    pub(crate) fn is_idle(&self) -> bool {
        self.next >= self.chunk.len() && self.growing.as_ref().is_none_or(|growing| growing.behind() == 0)
    }

    /// Whether nothing will come any more: no name, nothing new for this long.
    pub(crate) fn is_over(&self, now: Duration, grace: Duration) -> bool {
        let removed = !self.present || self.growing.as_ref().is_some_and(Growing::is_removed);
        removed && self.next >= self.chunk.len() && now.saturating_sub(self.grew_at) >= grace
    }

    /// Whether it ends with half a line.
    pub(crate) fn has_half(&self) -> bool {
        self.stage == Stage::Reading && self.growing.as_ref().is_some_and(Growing::has_half)
    }

    /// Where the line behind what was given out begins.
    fn given(&self) -> u64 {
        if self.next < self.chunk.len() {
            return match self.next.checked_sub(1) {
                Some(last) => self.ends.get(last).copied().unwrap_or(self.from),
                None => self.from,
            };
        }
        self.growing.as_ref().map_or(0, Growing::offset)
    }

    /// Where it stands; `None` while it holds nothing that was read.
    pub(crate) fn mark(&self) -> Option<Mark> {
        if self.growing.is_none() {
            return self.left;
        }
        let head = self.telling_head().filter(|_| self.stage == Stage::Reading)?;
        Some(Mark::new(head, self.given(), self.header))
    }

    /// Closes it until it grows; nothing is lost by that, see [`Followed::is_idle`].
    pub(crate) fn close(&mut self) {
        self.left = self.mark();
        self.length = self.growing.as_ref().map_or(0, Growing::length);
        self.growing = None;
        self.chunk = Vec::new();
        self.ends = Vec::new();
        self.next = 0;
    }

    /// Whether a file that was closed should be looked at again, which has this length and name now. One that holds nothing of use may have
    /// been removed, and its number given to another.
    pub(crate) fn has_changed(&self, length: u64, path: &Path) -> bool {
        let is_other = match self.stage {
            Stage::Unused => length < self.length || *self.path != *path,
            _ => length != self.length,
        };
        self.growing.is_none() && is_other
    }

    /// Opens it again, where it stood when it is the same still. Gives back the place when it is another.
    pub(crate) fn reopen(&mut self, growing: Growing, now: Duration) -> Option<Mark> {
        let left = self.left.take();
        let stood = left.filter(|mark| mark.is_of(growing.head()));
        self.growing = Some(growing);
        (self.stage, self.decoder, self.header, self.grew_at) = (Stage::New, None, 0, now);
        if let Some(mark) = stood
            && self.go_on(mark).is_err()
        {
            // It is tried again when it is found again.
            (self.growing, self.left, self.stage) = (None, left, Stage::Reading);
        }
        left.filter(|_| stood.is_none())
    }

    /// Looks what it holds, and goes on at `mark`.
    pub(crate) fn go_on(&mut self, mark: Mark) -> io::Result<()> {
        self.header = mark.header;
        if self.decide()? {
            self.read_header(mark.offset)?;
        }
        Ok(())
    }

    /// Looks what it holds, and goes on behind the last whole line. A file without a record is read from its beginning.
    pub(crate) fn go_to_end(&mut self) -> io::Result<()> {
        if self.telling_head().is_none() || !self.decide()? {
            return Ok(());
        }
        let Some(growing) = &mut self.growing else { return Ok(()) };
        growing.go_to_end()?;
        let end = growing.offset();
        growing.go_to(self.header);
        self.read_header(end)
    }

    /// It holds what is read elsewhere.
    pub(crate) fn is_copy(&mut self) {
        self.stage = Stage::Copy;
    }

    /// Finds out which log it is; false while that cannot be told, and where it is none.
    pub(crate) fn decide(&mut self) -> io::Result<bool> {
        let Some(growing) = &mut self.growing else { return Ok(false) };
        growing.go_to(self.header);
        while !has_record(growing.window()) && growing.window().len() < LOOK {
            match growing.grow()? {
                Grown::More => {}
                Grown::Nothing => {
                    growing.go_to(0);
                    return Ok(false);
                }
                Grown::Restarted => {
                    self.header = 0;
                    return Ok(false);
                }
            }
        }
        let window = growing.window();
        let whole = memchr::memrchr(b'\n', window).map_or(0, |newline| newline + 1);
        let content = sniff::look(window.get(..whole).unwrap_or_default());
        let log = logs::in_file(content, &self.path).filter(|log| !is_part(&self.path, log));
        growing.go_to(self.header);
        let Some(log) = log else {
            self.stage = Stage::Unused;
            return Ok(false);
        };
        self.stage = Stage::Reading;
        self.decoder = Some(Decoder::new(content, log));
        Ok(true)
    }

    /// Reads the header, and goes to `offset`.
    fn read_header(&mut self, offset: u64) -> io::Result<()> {
        let (Some(growing), Some(decoder)) = (&mut self.growing, &mut self.decoder) else { return Ok(()) };
        let mut scratch = Vec::new();
        loop {
            match growing.next_line() {
                Some(Line::Whole(line)) if line.first().is_none_or(|first| *first == b'#') => {
                    // What is wrong with it was told when it was read first.
                    let _ = decoder.take(line, &mut scratch);
                }
                Some(_) => break,
                None => match growing.grow()? {
                    Grown::More => {}
                    Grown::Nothing => break,
                    Grown::Restarted => {
                        (self.stage, self.decoder, self.header) = (Stage::New, None, 0);
                        return Ok(());
                    }
                },
            }
        }
        growing.go_to(offset);
        Ok(())
    }

    /// When the next event happened that can be given out.
    pub(crate) fn peek(&self) -> Option<PacketTime> {
        self.chunk.get(self.next).map(Event::time)
    }

    /// Whether the next event may be given out without waiting for other logs: it happened `hold` ago, was read `hold` ago, or is in the way.
    pub(crate) fn is_due(&self, time: PacketTime, now: crate::feed::Now, hold: Duration) -> bool {
        let micros = i64::try_from(hold.as_micros()).unwrap_or(i64::MAX);
        now.wall.0.saturating_sub(time.0) >= micros
            || now.steady.saturating_sub(self.read_at) >= hold
            || self.chunk.len() >= CHUNK
    }

    pub(crate) fn take(&mut self) -> Option<Event> {
        let event = self.chunk.get_mut(self.next)?;
        self.next += 1;
        Some(std::mem::replace(event, Event::Tick(PacketTime::MIN)))
    }

    /// Reads more when all was given out.
    pub(crate) fn fill(&mut self, now: Duration, report: &mut FeedReport) -> io::Result<Filled> {
        if self.next < self.chunk.len() {
            return Ok(Filled::Some);
        }
        let Some(growing) = &mut self.growing else { return Ok(Filled::Quiet) };
        self.chunk.clear();
        self.ends.clear();
        (self.next, self.from, self.read_at) = (0, growing.offset(), now);
        let Some(decoder) = &mut self.decoder else { return Ok(Filled::Quiet) };
        let mut blocks = 0;
        let filled = loop {
            let begins = growing.offset();
            let taken = match growing.next_line() {
                Some(Line::Whole(line)) => {
                    if line.starts_with(b"#separator") {
                        self.header = begins;
                    }
                    decoder.take(line, &mut self.chunk)
                }
                Some(_) => Err(Reject::new(Reason::LineTooLong)),
                None => {
                    blocks += 1;
                    if blocks > BLOCKS {
                        break Filled::Some;
                    }
                    let stood = growing.offset();
                    match growing.grow()? {
                        Grown::More => self.grew_at = now,
                        Grown::Nothing => break Filled::Quiet,
                        Grown::Restarted => {
                            self.grew_at = now;
                            let header = std::mem::take(&mut self.header);
                            let head = Some(growing.head_before()).filter(|head| is_telling(head));
                            break Filled::Cut(head.map(|head| Mark::new(head, stood, header)));
                        }
                    }
                    continue;
                }
            };
            if let Err(reject) = taken {
                note(report, &self.path, begins, reject);
            }
            self.ends.resize(self.chunk.len(), growing.offset());
            if self.chunk.len() >= CHUNK {
                break Filled::Some;
            }
        };
        report.records += self.chunk.len() as u64;
        if let Filled::Cut(_) = filled {
            (self.stage, self.decoder) = (Stage::New, None);
        }
        Ok(if self.chunk.is_empty() || matches!(filled, Filled::Cut(_)) { filled } else { Filled::Some })
    }
}

/// Whether a log's name says that it is an extract of one (`conn_long.log`), whose rows stand in another, too.
fn is_part(path: &Path, log: &Log) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(|name| logs::is_part(name, log))
}

/// A record was not used.
pub(crate) fn note(report: &mut FeedReport, path: &Path, at: u64, reject: Reject) {
    *report.rejected.entry(reject.reason).or_default() += 1;
    if reject.reason == Reason::UnusedKind {
        return;
    }
    let field = if reject.field.is_empty() { String::new() } else { format!(" ({})", reject.field) };
    report.last_reject = format!("{}, at byte {at}: {}{field}", path.display(), reject.reason);
}
