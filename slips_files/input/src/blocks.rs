//! Reading by large blocks, and lines out of them. Nothing is copied per line.

use std::io::{self, BufRead, Read};

use memchr::memchr;

/// A line longer than this is skipped and counted.
pub(crate) const MAX_LINE: usize = 1 << 20;
/// How much is asked of the system at once.
const BLOCK: usize = 256 << 10;

/// A byte stream with a window on it that can be widened as far as its user needs.
pub(crate) struct Blocks {
    inner: Box<dyn Read + Send>,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    ended: bool,
    fault: Option<io::Error>,
}

impl Blocks {
    /// A window on `inner`.
    pub(crate) fn new(inner: Box<dyn Read + Send>) -> Self {
        Self { inner, buffer: Vec::new(), start: 0, end: 0, ended: false, fault: None }
    }

    /// What is in the window.
    pub(crate) fn window(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or(&[])
    }

    /// Widens the window to at least `want` bytes unless the stream ends before, and shows it.
    pub(crate) fn fill(&mut self, want: usize) -> &[u8] {
        while self.end - self.start < want && self.more() {}
        self.window()
    }

    /// Takes `count` bytes (at most the window) out of the window.
    pub(crate) fn cut(&mut self, count: usize) -> &[u8] {
        let from = self.start;
        self.start = (from + count).min(self.end);
        self.buffer.get(from..self.start).unwrap_or(&[])
    }

    /// Drops `count` bytes, in the window or beyond it; false when the stream ends before.
    pub(crate) fn skip(&mut self, mut count: u64) -> bool {
        loop {
            let here = (self.end - self.start) as u64;
            if here >= count {
                self.start += count as usize;
                return true;
            }
            count -= here;
            self.start = self.end;
            if !self.more() {
                return false;
            }
        }
    }

    /// Reads once more; false at the end of the stream (or at its first fault, which ends it).
    pub(crate) fn more(&mut self) -> bool {
        if self.ended {
            return false;
        }
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
        if self.end == self.buffer.len() {
            if self.start > 0 && self.start >= self.buffer.len() / 2 {
                self.buffer.copy_within(self.start..self.end, 0);
                self.end -= self.start;
                self.start = 0;
            } else {
                let longer = self.buffer.len() + self.buffer.len().max(BLOCK);
                self.buffer.resize(longer, 0);
            }
        }
        loop {
            let Some(room) = self.buffer.get_mut(self.end..) else { return false };
            match self.inner.read(room) {
                Ok(0) => self.ended = true,
                Ok(count) => {
                    self.end += count.min(room.len());
                    return true;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    self.ended = true;
                    self.fault = Some(error);
                }
            }
            return false;
        }
    }

    /// What ended the stream before its end.
    pub(crate) fn take_fault(&mut self) -> Option<io::Error> {
        self.fault.take()
    }
}

/// A decompressor reads what is in the window before it reads on.
impl Read for Blocks {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let mut from = self.fill_buf()?;
        let count = from.read(to)?;
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Blocks {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.start == self.end
            && !self.more()
            && let Some(fault) = self.take_fault()
        {
            return Err(fault);
        }
        Ok(self.window())
    }

    fn consume(&mut self, count: usize) {
        self.cut(count);
    }
}

/// One line of a text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    /// A line, without its end.
    Whole(&'a [u8]),
    /// The last line, which has no end: perhaps half-written.
    Tail(&'a [u8]),
    /// A line longer than [`MAX_LINE`], skipped.
    TooLong,
}

/// The lines of a stream.
pub(crate) struct Lines {
    blocks: Blocks,
    number: u64,
}

impl Lines {
    /// The lines from the window's start on.
    pub(crate) fn new(blocks: Blocks) -> Self {
        Self { blocks, number: 0 }
    }

    /// Number of the line that was given last, counted from 1.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// What ended the stream before its end.
    pub(crate) fn take_fault(&mut self) -> Option<io::Error> {
        self.blocks.take_fault()
    }

    /// The next line; `None` at the end.
    pub(crate) fn next(&mut self) -> Option<Line<'_>> {
        let mut looked = 0;
        loop {
            let window = self.blocks.window();
            if let Some(at) = window.get(looked..).and_then(|rest| memchr(b'\n', rest)) {
                let length = looked + at;
                self.number += 1;
                let line = self.blocks.cut(length + 1);
                return Some(match line.get(..length) {
                    Some(line) if length <= MAX_LINE => Line::Whole(without_return(line)),
                    _ => Line::TooLong,
                });
            }
            looked = window.len();
            if looked > MAX_LINE {
                self.number += 1;
                self.skip_line();
                return Some(Line::TooLong);
            }
            if !self.blocks.more() {
                if looked == 0 {
                    return None;
                }
                self.number += 1;
                return Some(Line::Tail(without_return(self.blocks.cut(looked))));
            }
        }
    }

    fn skip_line(&mut self) {
        loop {
            let window = self.blocks.window();
            let (length, found) = match memchr(b'\n', window) {
                Some(at) => (at + 1, true),
                None => (window.len(), false),
            };
            self.blocks.cut(length);
            if found || !self.blocks.more() {
                return;
            }
        }
    }
}

pub(crate) fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives `step` bytes per read.
    struct Drops {
        bytes: Vec<u8>,
        at: usize,
        step: usize,
    }

    impl Read for Drops {
        fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
            let count = self.step.min(to.len()).min(self.bytes.len() - self.at);
            to[..count].copy_from_slice(&self.bytes[self.at..self.at + count]);
            self.at += count;
            Ok(count)
        }
    }

    fn check(bytes: &[u8], step: usize) -> Vec<(u64, String)> {
        let mut lines = Lines::new(Blocks::new(Box::new(Drops { bytes: bytes.to_vec(), at: 0, step })));
        let mut seen = Vec::new();
        loop {
            let text = match lines.next() {
                None => return seen,
                Some(Line::Whole(line)) => String::from_utf8_lossy(line).into_owned(),
                Some(Line::Tail(line)) => format!("tail {}", String::from_utf8_lossy(line)),
                Some(Line::TooLong) => "too long".to_owned(),
            };
            seen.push((lines.number(), text));
        }
    }

    #[test]
    fn lines_are_the_same_however_they_arrive() {
        for step in [1, 2, 3, 7, 1 << 20] {
            let expected = [(1, "one"), (2, ""), (3, "three"), (4, "tail fo")];
            let expected: Vec<_> = expected.map(|(n, t)| (n, t.to_owned())).into();
            assert_eq!(check(b"one\n\nthree\r\nfo", step), expected);
        }
        assert_eq!(check(b"", 1), []);
    }

    #[test]
    fn a_line_beyond_the_limit_is_skipped_and_the_next_is_read() {
        let mut bytes = b"first\n".to_vec();
        bytes.extend(vec![b'x'; 3 * MAX_LINE]);
        bytes.extend(b"\nlast\n");
        for step in [4096, 1 << 22] {
            let seen = check(&bytes, step);
            let texts: Vec<_> = seen.iter().map(|(n, t)| (*n, t.as_str())).collect();
            assert_eq!(texts, [(1, "first"), (2, "too long"), (3, "last")]);
        }
        let exact: Vec<u8> = std::iter::repeat_n(b'y', MAX_LINE).chain([b'\n']).collect();
        assert_eq!(check(&exact, 1 << 22)[0].1.len(), MAX_LINE);
    }

    #[test]
    fn skipping_goes_beyond_the_window() {
        let bytes: Vec<u8> = (0..100u8).collect();
        let mut blocks = Blocks::new(Box::new(Drops { bytes, at: 0, step: 10 }));
        assert_eq!(blocks.fill(5).len(), 10);
        assert!(blocks.skip(55));
        assert_eq!(blocks.fill(1)[0], 55);
        assert_eq!(blocks.cut(1000).len(), 5);
        assert!(!blocks.skip(1000));
    }
}
