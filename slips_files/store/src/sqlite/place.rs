//! Where a database of a daemon lies. One that is damaged is put aside and begun anew: what watches must not stop for what it writes down.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode};

use super::schema::{self, Durability};
use crate::sink::StoreError;

/// What is done about a database that is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damaged {
    /// It is an error: a person decides.
    Refused,
    /// It is kept under another name, and a new one is begun.
    PutAside,
}

/// A database file, and which file of that name is open.
#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
    durability: Durability,
    damaged: Damaged,
    /// Device and number of the file that was opened.
    opened: Option<(u64, u64)>,
}

impl Place {
    pub(super) const fn new(path: PathBuf, durability: Durability, damaged: Damaged) -> Self {
        Self { path, durability, damaged, opened: None }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the database, or makes it. The second is the error to tell of where a damaged one was put aside for it.
    pub(super) fn open(&mut self) -> Result<(Connection, Option<StoreError>), StoreError> {
        let (db, told) = match schema::open(&self.path, self.durability) {
            Err(error) if self.damaged == Damaged::PutAside && is_unreadable(&error, &self.path) => {
                let told = self.put_aside()?;
                (schema::open(&self.path, self.durability)?, Some(told))
            }
            other => (other?, None),
        };
        self.opened = id_of(&self.path);
        Ok((db, told))
    }

    /// Whether there is another file of that name by now, or none: somebody moved the one that is open, or took it away.
    pub(super) fn is_moved(&self) -> bool {
        self.opened.is_some() && id_of(&self.path) != self.opened
    }

    /// The error of a statement, with its connection closed already. When the database is damaged it is put aside, and to be opened again.
    pub(super) fn failed(&mut self, source: rusqlite::Error) -> StoreError {
        let error = StoreError::Sqlite { doing: "write", path: self.path.clone(), source };
        if error.is_damage() && self.damaged == Damaged::PutAside {
            if self.is_moved() {
                // Another connection did it.
                self.opened = None;
            } else if let Ok(told) = self.put_aside() {
                return told;
            }
        }
        error
    }

    /// Keeps the file and its journal under another name; what was kept so before goes. Nobody has it open any more.
    pub(super) fn put_aside(&mut self) -> Result<StoreError, StoreError> {
        self.opened = None;
        let kept = with(&self.path, ".damaged");
        std::fs::rename(&self.path, &kept).map_err(StoreError::io("put aside", &self.path))?;
        for end in ["-wal", "-shm"] {
            // There may be none; the new database makes its own.
            let _ = std::fs::rename(with(&self.path, end), with(&kept, end));
        }
        Ok(StoreError::Damaged { path: self.path.clone(), kept })
    }
}

/// Whether what was found there is no database of SQLite (any more): a foreign one is nobody's to put aside.
fn is_unreadable(error: &StoreError, path: &Path) -> bool {
    match error {
        StoreError::Sqlite { source, .. } => source.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt),
        StoreError::Foreign { .. } => !has_header(path),
        _ => false,
    }
}

fn has_header(path: &Path) -> bool {
    use std::io::Read;
    let mut header = [0; 16];
    let read = std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut header));
    read.is_ok() && header == *b"SQLite format 3\0"
}

fn id_of(path: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

fn with(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(path: &Path) -> Place {
        Place::new(path.to_owned(), Durability::Whole, Damaged::PutAside)
    }

    #[test]
    fn what_is_no_database_any_more_is_put_aside_and_told_and_begun_anew() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("x.sqlite");
        for damage in ["nothing of SQLite's, but long enough to be looked at".repeat(30), "short".into()] {
            std::fs::write(&path, &damage).expect("write");
            let (db, told) = place(&path).open().expect("opened");
            assert!(matches!(told, Some(StoreError::Damaged { .. })), "{told:?}");
            let rows: i64 = db.query_row("SELECT count(*) FROM flows", [], |row| row.get(0)).expect("rows");
            assert_eq!(rows, 0);
            let kept = std::fs::read_to_string(dir.path().join("x.sqlite.damaged")).expect("kept");
            assert_eq!(kept, damage);
        }
        let mut strict = Place::new(dir.path().join("y.sqlite"), Durability::Whole, Damaged::Refused);
        std::fs::write(dir.path().join("y.sqlite"), "x".repeat(2000)).expect("write");
        strict.open().expect_err("a person decides");
    }

    #[test]
    fn the_database_of_somebody_else_is_never_put_aside() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("x.sqlite");
        Connection::open(&path).expect("open").execute_batch("CREATE TABLE theirs (y)").expect("table");
        let error = place(&path).open().expect_err("foreign");
        assert!(matches!(error, StoreError::Foreign { .. }), "{error:?}");
        assert!(path.exists());
    }

    #[test]
    fn a_file_that_went_away_or_was_replaced_is_noticed() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("x.sqlite");
        let mut place = place(&path);
        assert!(!place.is_moved());
        let _db = place.open().expect("opened");
        assert!(!place.is_moved());
        std::fs::rename(&path, dir.path().join("elsewhere")).expect("rename");
        assert!(place.is_moved());
        let _other = place.open().expect("opened");
        assert!(!place.is_moved());
    }
}
