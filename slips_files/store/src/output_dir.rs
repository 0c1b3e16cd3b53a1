//! The directory a run writes to.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::lines::previous;
use crate::sink::StoreError;

/// A directory that belongs to Slips, mode 0750. `metadata/layout` in it says so; without it, existing files with our names
/// are somebody else's and are not touched. The directory is locked as long as the value lives.
#[derive(Debug)]
pub struct OutputDir {
    path: PathBuf,
    /// The marker, with our lock on it.
    _lock: File,
}

impl OutputDir {
    /// The files that a run may leave in the directory, besides Zeek-compatible logs.
    const FILES: [&'static str; 10] = [
        "alerts.json",
        "alerts.log",
        "flows.sqlite",
        "flows.sqlite-wal",
        "flows.sqlite-shm",
        "slips.log",
        "errors.log",
        "labeled_flows.tsv",
        "labeled_flows.json",
        "labeled_flows.csv",
    ];

    /// Makes the directory (and its parents) or goes on in one that is ours: files are appended to. For the daemon.
    pub fn create(path: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let path = path.into();
        make_dir(&path)?;
        let metadata = path.join("metadata");
        let marker = metadata.join("layout");
        let ours = marker.is_file();
        if !ours {
            refuse_foreign_files(&path, Self::FILES)?;
        }
        make_dir(&metadata)?;
        let mut lock = OpenOptions::new()
            .append(true)
            .create(true)
            .open(&marker)
            .map_err(StoreError::io("open", &marker))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::InUse { path }),
            Err(TryLockError::Error(error)) => return Err(StoreError::io("lock", &marker)(error)),
        }
        if !ours {
            lock.write_all(b"slips output directory, layout 1\n")
                .map_err(StoreError::io("write", &marker))?;
        }
        Ok(Self { path, _lock: lock })
    }

    /// Like [`create`](Self::create), but files of an earlier run are moved to `NAME.1`. For an analysis, whose results stand
    /// alone.
    pub fn create_fresh(path: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let dir = Self::create(path)?;
        dir.set_aside(Self::FILES)?;
        Ok(dir)
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `alerts.json`.
    pub fn alerts_json(&self) -> PathBuf {
        self.path.join("alerts.json")
    }

    /// `alerts.log`.
    pub fn alerts_log(&self) -> PathBuf {
        self.path.join("alerts.log")
    }

    /// `flows.sqlite`.
    pub fn flows_sqlite(&self) -> PathBuf {
        self.path.join("flows.sqlite")
    }

    /// `blocks.sqlite`, a daemon's book.
    pub fn blocks_sqlite(&self) -> PathBuf {
        self.path.join("blocks.sqlite")
    }

    /// `slips.log`.
    pub fn slips_log(&self) -> PathBuf {
        self.path.join("slips.log")
    }

    /// `errors.log`.
    pub fn errors_log(&self) -> PathBuf {
        self.path.join("errors.log")
    }

    /// `metadata/`, for copies of the configuration and facts about the run.
    pub fn metadata(&self) -> PathBuf {
        self.path.join("metadata")
    }

    /// Prepares the directory for Zeek-compatible logs with these names: own ones are moved to `NAME.1`.
    pub(crate) fn make_way_for_logs(&self, names: impl Iterator<Item = String>) -> Result<(), StoreError> {
        let marker = self.metadata().join("zeek-logs");
        if marker.is_file() {
            return self.set_aside(names);
        }
        refuse_foreign_files(&self.path, names)?;
        fs::write(&marker, "the logs in this directory were written by slips\n")
            .map_err(StoreError::io("write", &marker))
    }

    fn set_aside(&self, names: impl IntoIterator<Item = impl AsRef<str>>) -> Result<(), StoreError> {
        for name in names {
            let name = name.as_ref();
            let (file, aside) = (self.path.join(name), self.aside(name));
            match fs::rename(&file, &aside) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(StoreError::Io { doing: "move away", path: file, source: error });
                }
                // An older database must not be read with a younger one's write-ahead log.
                Err(_) if name.contains('-') => {
                    let _ = fs::remove_file(aside);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// `flows.sqlite-wal` → `flows.sqlite.1-wal`, the name under which SQLite looks for it; else `NAME.1`.
    fn aside(&self, name: &str) -> PathBuf {
        match name.split_once('-') {
            Some((database, suffix)) => self.path.join(format!("{database}.1-{suffix}")),
            None => previous(&self.path.join(name)),
        }
    }
}

fn refuse_foreign_files(
    dir: &Path,
    names: impl IntoIterator<Item = impl AsRef<str>>,
) -> Result<(), StoreError> {
    for name in names {
        let path = dir.join(name.as_ref());
        match fs::symlink_metadata(&path) {
            Ok(found) if !found.is_file() || found.len() > 0 => return Err(StoreError::Foreign { path }),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(StoreError::Io { doing: "look at", path, source }),
        }
    }
    Ok(())
}

fn make_dir(path: &Path) -> Result<(), StoreError> {
    DirBuilder::new().recursive(true).mode(0o750).create(path).map_err(StoreError::io("create", path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn it_is_made_for_the_owner_and_the_group_only() {
        let temp = tempfile::tempdir().expect("dir");
        let dir = OutputDir::create(temp.path().join("a/b")).expect("create");
        let mode = fs::metadata(dir.path()).expect("made").permissions().mode();
        assert_eq!(mode & 0o027, 0, "{mode:o}");
        assert!(dir.metadata().is_dir());
        let error = OutputDir::create(dir.path()).expect_err("one at a time");
        assert!(matches!(error, StoreError::InUse { .. }), "{error:?}");
        let path = dir.path().to_owned();
        drop(dir);
        OutputDir::create(path).expect("again");
    }

    #[test]
    fn files_of_somebody_else_are_refused_by_name() {
        let temp = tempfile::tempdir().expect("dir");
        fs::write(temp.path().join("alerts.log"), "dear diary").expect("write");
        let error = OutputDir::create(temp.path()).expect_err("foreign");
        assert!(error.to_string().contains("alerts.log was not written by slips"), "{error}");
        fs::write(temp.path().join("alerts.log"), "").expect("write");
        OutputDir::create(temp.path()).expect("an empty file is nobody's");
    }

    #[test]
    fn a_fresh_run_keeps_one_earlier_one() {
        let temp = tempfile::tempdir().expect("dir");
        let dir = OutputDir::create_fresh(temp.path()).expect("create");
        fs::write(dir.alerts_log(), "first").expect("write");
        fs::write(dir.path().join("flows.sqlite-wal"), "wal").expect("write");
        drop(dir);
        let dir = OutputDir::create(temp.path()).expect("append");
        assert!(dir.alerts_log().exists());
        drop(dir);
        let dir = OutputDir::create_fresh(temp.path()).expect("fresh");
        assert!(!dir.alerts_log().exists());
        assert_eq!(fs::read_to_string(temp.path().join("alerts.log.1")).expect("kept"), "first");
        assert!(temp.path().join("flows.sqlite.1-wal").exists());
        drop(dir);
        OutputDir::create_fresh(temp.path()).expect("fresh");
        assert!(!temp.path().join("flows.sqlite.1-wal").exists());
    }

    #[test]
    fn a_place_where_nothing_can_be_made_is_an_error_that_names_it() {
        let temp = tempfile::tempdir().expect("dir");
        let file = temp.path().join("file");
        fs::write(&file, "x").expect("write");
        let error = OutputDir::create(file.join("sub")).expect_err("a file is no directory");
        assert!(error.to_string().contains("file/sub"), "{error}");
    }
}
