//! One file that grows: its whole lines, however they are written, and whether it is still the file that it was.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use memchr::{memchr, memrchr};

use crate::blocks::{Line, MAX_LINE, without_return};

/// So many bytes of a file's beginning tell it from any other: in a log of Zeek they hold the header with its time, or the first records.
pub(crate) const HEAD: usize = 2048;
/// How much is asked of the system at once.
const BLOCK: usize = 64 << 10;

/// Which file it is, whatever its name: device and number.
pub(crate) type FileId = (u64, u64);

/// What came of asking for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grown {
    /// More was read.
    More,
    /// There is nothing more now.
    Nothing,
    /// It was cut and written anew: what it held is gone, and it is read from its beginning.
    Restarted,
}

/// An open file.
#[derive(Debug)]
pub(crate) struct Growing {
    file: File,
    head: Vec<u8>,
    /// How it began before it was cut last.
    was: Vec<u8>,
    /// When the system said that it changed last.
    changed: (i64, i64),
    /// What was read and not taken yet begins at `start`; `at` is where the file goes on.
    buffer: Vec<u8>,
    start: usize,
    at: u64,
    /// Within a line that is too long.
    skipping: bool,
}

impl Growing {
    /// Opens a file at its beginning. Never waits: what is no regular file is refused.
    pub(crate) fn open(path: &Path) -> io::Result<(FileId, Self)> {
        let file =
            OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a file"));
        }
        let mut growing = Self {
            file,
            head: Vec::new(),
            was: Vec::new(),
            changed: (0, 0),
            buffer: Vec::new(),
            start: 0,
            at: 0,
            skipping: false,
        };
        growing.head = growing.look(HEAD)?;
        Ok(((metadata.dev(), metadata.ino()), growing))
    }

    /// The beginning of the file as it was seen last.
    pub(crate) fn head(&self) -> &[u8] {
        &self.head
    }

    /// The beginning that the file had before [`Grown::Restarted`].
    pub(crate) fn head_before(&self) -> &[u8] {
        &self.was
    }

    /// Where the next line begins.
    pub(crate) fn offset(&self) -> u64 {
        self.at - (self.buffer.len() - self.start) as u64
    }

    /// Bytes of the file that were not taken as lines yet, half lines among them.
    pub(crate) fn behind(&self) -> u64 {
        self.length().saturating_sub(self.offset())
    }

    /// Whether a line is half-written, as far as was read.
    pub(crate) fn has_half(&self) -> bool {
        self.skipping || self.start < self.buffer.len()
    }

    /// How long it is.
    pub(crate) fn length(&self) -> u64 {
        self.file.metadata().map_or(0, |metadata| metadata.len())
    }

    /// Whether no directory names it any more.
    pub(crate) fn is_removed(&self) -> bool {
        self.file.metadata().is_ok_and(|metadata| metadata.nlink() == 0)
    }

    /// Goes to a place that was the beginning of a line.
    pub(crate) fn go_to(&mut self, offset: u64) {
        self.buffer = Vec::new();
        (self.start, self.at, self.skipping) = (0, offset, false);
    }

    /// Goes behind the last line that is whole.
    pub(crate) fn go_to_end(&mut self) -> io::Result<()> {
        let mut end = self.file.metadata()?.len();
        let mut block = vec![0; BLOCK];
        self.go_to(0);
        while end > 0 {
            let from = end.saturating_sub(BLOCK as u64);
            let wanted = usize::try_from(end - from).unwrap_or(BLOCK);
            let got = self.read_at(block.get_mut(..wanted).unwrap_or_default(), from)?;
            if let Some(newline) = memrchr(b'\n', block.get(..got).unwrap_or_default()) {
                self.go_to(from + newline as u64 + 1);
                break;
            }
            end = from;
        }
        Ok(())
    }

    /// What the window shows.
    pub(crate) fn window(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }

    /// Reads one block more.
    ///
    /// What was read is taken only when the file has the beginning that it had, asked afterwards: one that was cut and written anew in between
    /// would give the middle of other lines.
    pub(crate) fn grow(&mut self) -> io::Result<Grown> {
        let metadata = self.file.metadata()?;
        if metadata.len() == self.at && (metadata.mtime(), metadata.mtime_nsec()) == self.changed {
            self.rest();
            return Ok(Grown::Nothing);
        }
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        let before = self.buffer.len();
        self.buffer.resize(before + BLOCK, 0);
        let mut fresh = std::mem::take(&mut self.buffer);
        let got = self.read_at(fresh.get_mut(before..).unwrap_or_default(), self.at);
        fresh.truncate(before + *got.as_ref().unwrap_or(&0));
        self.buffer = fresh;
        let got = got?;
        let metadata = self.file.metadata()?;
        let changed = (metadata.mtime(), metadata.mtime_nsec());
        let is_cut = metadata.len() < self.at + got as u64;
        if is_cut || (got > 0 || changed != self.changed) && !self.is_same()? {
            let head = self.look(HEAD)?;
            self.was = std::mem::replace(&mut self.head, head);
            self.go_to(0);
            return Ok(Grown::Restarted);
        }
        self.changed = changed;
        self.at += got as u64;
        if got == 0 {
            self.rest();
            return Ok(Grown::Nothing);
        }
        Ok(Grown::More)
    }

    /// Between two lines a quiet file needs no memory.
    fn rest(&mut self) {
        if self.start == self.buffer.len() {
            (self.buffer, self.start) = (Vec::new(), 0);
        }
    }

    /// Looks at the beginning of the file again, whatever it was.
    pub(crate) fn look_again(&mut self) -> io::Result<()> {
        self.head = self.look(HEAD)?;
        Ok(())
    }

    /// Whether the file begins as it did. Learns more of its beginning while that is short.
    fn is_same(&mut self) -> io::Result<bool> {
        let head = self.look(HEAD)?;
        if !head.starts_with(&self.head) {
            return Ok(false);
        }
        self.head = head;
        Ok(true)
    }

    fn look(&self, most: usize) -> io::Result<Vec<u8>> {
        let mut head = vec![0; most];
        let got = self.read_at(&mut head, 0)?;
        head.truncate(got);
        Ok(head)
    }

    fn read_at(&self, to: &mut [u8], at: u64) -> io::Result<usize> {
        let mut got = 0;
        while got < to.len() {
            match self.file.read_at(to.get_mut(got..).unwrap_or_default(), at + got as u64) {
                Ok(0) => break,
                Ok(count) => got += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(got)
    }

    /// The next whole line of what was read; a half one stays where it is.
    pub(crate) fn next_line(&mut self) -> Option<Line<'_>> {
        let window = self.buffer.get(self.start..)?;
        let Some(length) = memchr(b'\n', window) else {
            if window.len() > MAX_LINE {
                self.skipping = true;
                self.start = self.buffer.len();
            }
            return None;
        };
        let from = self.start;
        self.start += length + 1;
        if std::mem::replace(&mut self.skipping, false) || length > MAX_LINE {
            return Some(Line::TooLong);
        }
        Some(Line::Whole(without_return(self.buffer.get(from..from + length)?)))
    }
}

/// Whether a file that begins like `one` has the records of one that begins like `other`: as far as both are known they are the same, and
/// that is one record at least. Headers alone may well be the same.
pub(crate) fn begins_alike(one: &[u8], other: &[u8]) -> bool {
    let length = one.len().min(other.len());
    let (one, other) = (one.get(..length), other.get(..length));
    one == other && one.is_some_and(has_record)
}

/// Whether this much of a beginning tells a file from others.
pub(crate) fn is_telling(head: &[u8]) -> bool {
    head.len() >= HEAD || has_record(head)
}

/// Whether there is a whole line that is no header.
pub(crate) fn has_record(head: &[u8]) -> bool {
    let mut lines = head.split_inclusive(|byte| *byte == b'\n');
    lines.any(|line| line.ends_with(b"\n") && !line.starts_with(b"#") && line.len() > 1)
}

/// A short name for a beginning, the same in every version of the program (FNV-1a).
pub(crate) fn fingerprint(head: &[u8]) -> u64 {
    head.iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
