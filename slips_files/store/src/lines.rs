//! A file of lines that survives a full disk: what cannot be written waits in a bounded backlog, the rest is counted.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::sink::StoreError;

/// Bounds of a [`LineFile`].
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most bytes that wait while the disk refuses them; later lines are dropped and counted.
    pub backlog: usize,
    /// The backlog is written when it reaches this many bytes, not only when asked.
    pub write_at: usize,
    /// Size at which the file is renamed to `NAME.1` (replacing the older one) and begun anew; `None` lets it grow.
    pub rotate_at: Option<u64>,
}

impl Limits {
    /// For alerts: rotated at 64 MiB, so that whoever provokes alerts cannot fill the disk.
    pub const ALERTS: Self = Self { backlog: 4 << 20, write_at: 64 << 10, rotate_at: Some(64 << 20) };
    /// For logs that are the purpose of the run: never rotated.
    pub const LOGS: Self = Self { backlog: 4 << 20, write_at: 256 << 10, rotate_at: None };
}

/// A file that lines are appended to. A line that a crash left unfinished is closed at the next start.
#[derive(Debug)]
pub struct LineFile {
    path: PathBuf,
    file: Option<File>,
    waiting: Vec<u8>,
    limits: Limits,
    size: u64,
    lost: u64,
}

impl LineFile {
    /// Opens `path` for appending, mode 0640, and creates it if need be.
    pub fn open(path: impl Into<PathBuf>, limits: Limits) -> Result<Self, StoreError> {
        let path = path.into();
        let mut lines = Self { path, file: None, waiting: Vec::new(), limits, size: 0, lost: 0 };
        lines.reopen()?;
        Ok(lines)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many lines were dropped.
    pub const fn lost(&self) -> u64 {
        self.lost
    }

    /// Whether nothing was ever written to the file (by anybody) and nothing waits.
    pub fn is_new(&self) -> bool {
        self.size == 0 && self.waiting.is_empty()
    }

    /// Appends what `write` writes as one line; its line feed is added here.
    pub fn line(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), StoreError> {
        let before = self.waiting.len();
        write(&mut self.waiting);
        self.waiting.push(b'\n');
        if self.waiting.len() > self.limits.backlog && before > 0 {
            // Make room first; only if the disk refuses is the line lost.
            let line = self.waiting.split_off(before);
            let written = self.write_out();
            if self.waiting.len() + line.len() > self.limits.backlog {
                self.lost += 1;
            } else {
                self.waiting.extend_from_slice(&line);
            }
            return written;
        }
        // After a refusal the backlog stays over `write_at`; it is then tried again by `write_out` only, not for every line.
        if before < self.limits.write_at && self.waiting.len() >= self.limits.write_at {
            return self.write_out();
        }
        Ok(())
    }

    /// Hands what waits to the operating system.
    pub fn write_out(&mut self) -> Result<(), StoreError> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        if self.limits.rotate_at.is_some_and(|limit| self.size >= limit) {
            self.rotate()?;
        }
        if self.file.is_none() {
            self.reopen()?;
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        // What a partial write took must not be written twice, so that a line torn by a full disk is completed later.
        let mut done = 0;
        let outcome = loop {
            match file.write(self.waiting.get(done..).unwrap_or_default()) {
                Ok(0) if done < self.waiting.len() => break Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => done += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
            if done >= self.waiting.len() {
                break Ok(());
            }
        };
        self.waiting.drain(..done);
        self.size += done as u64;
        outcome.map_err(StoreError::io("write", &self.path))
    }

    /// Hands over what waits and makes it durable.
    pub fn sync(&mut self) -> Result<(), StoreError> {
        self.write_out()?;
        match &self.file {
            None => Ok(()),
            Some(file) => file.sync_data().map_err(StoreError::io("sync", &self.path)),
        }
    }

    fn rotate(&mut self) -> Result<(), StoreError> {
        self.file = None;
        fs::rename(&self.path, previous(&self.path)).map_err(StoreError::io("rotate", &self.path))?;
        self.reopen()
    }

    fn reopen(&mut self) -> Result<(), StoreError> {
        let (file, size) = open_at_line_start(&self.path).map_err(StoreError::io("open", &self.path))?;
        self.file = Some(file);
        self.size = size;
        Ok(())
    }
}

/// `alerts.json` → `alerts.json.1`.
pub(crate) fn previous(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

fn open_at_line_start(path: &Path) -> io::Result<(File, u64)> {
    let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o640).open(path)?;
    let mut size = file.metadata()?.len();
    if size > 0 {
        file.seek(SeekFrom::End(-1))?;
        let mut last = [0];
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
            size += 1;
        }
    }
    Ok((file, size))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(lines: &mut LineFile, text: &str) -> Result<(), StoreError> {
        lines.line(|out| out.extend_from_slice(text.as_bytes()))
    }

    #[test]
    fn a_line_that_a_crash_tore_is_closed_at_the_next_start() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("x");
        fs::write(&path, "whole\ntor").expect("write");
        let mut lines = LineFile::open(&path, Limits::LOGS).expect("open");
        push(&mut lines, "next").expect("push");
        lines.sync().expect("sync");
        assert_eq!(fs::read_to_string(&path).expect("read"), "whole\ntor\nnext\n");
    }

    #[test]
    fn the_file_is_rotated_at_its_limit_and_one_older_one_is_kept() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("x");
        let limits = Limits { backlog: 100, write_at: 1, rotate_at: Some(6) };
        let mut lines = LineFile::open(&path, limits).expect("open");
        for text in ["aaa", "bbb", "ccc", "ddd", "eee"] {
            push(&mut lines, text).expect("push");
        }
        assert_eq!(fs::read_to_string(previous(&path)).expect("old"), "ccc\nddd\n");
        assert_eq!(fs::read_to_string(&path).expect("new"), "eee\n");
    }

    #[test]
    fn a_full_disk_is_an_error_then_a_bounded_backlog_and_a_count() {
        // Every write to this device fails with "no space left".
        let full = Path::new("/dev/full");
        if !full.exists() {
            println!("skipped: a_full_disk_is_an_error_then_a_bounded_backlog_and_a_count: no /dev/full");
            return;
        }
        let limits = Limits { backlog: 8, write_at: 100, rotate_at: None };
        let file = OpenOptions::new().write(true).open(full).expect("open");
        let mut lines =
            LineFile { path: full.into(), file: Some(file), waiting: Vec::new(), limits, size: 0, lost: 0 };
        push(&mut lines, "aaa").expect("waits");
        push(&mut lines, "bbb").expect("waits");
        let error = push(&mut lines, "ccc").expect_err("no room and no disk");
        assert!(error.is_unwritable(), "{error:?}");
        assert_eq!(lines.lost(), 1);

        // The disk is back: what waited is written, then the rest.
        let dir = tempfile::tempdir().expect("dir");
        lines.path = dir.path().join("x");
        lines.file = None;
        push(&mut lines, "ddd").expect("room is made");
        lines.sync().expect("sync");
        assert_eq!(fs::read_to_string(&lines.path).expect("read"), "aaa\nbbb\nddd\n");
    }
}
