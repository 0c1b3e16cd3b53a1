//! Where a database of a daemon lies. One that is damaged is put aside and begun anew: what watches must not stop for what it writes down.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode};

use super::schema::{self, Durability};
use crate::sink::StoreError;

/// So many damaged databases of one name are kept: the first, which has the most in it, and those after it. The last place is the newest's.
const KEPT: u32 = 4;
/// How soon at the earliest the next one is put aside by itself: where the disk is bad, each new one is damaged at once.
const REST: Duration = Duration::from_secs(60);

/// What is done about a database that is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damaged {
    /// It is an error: a person decides.
    Refused,
    /// It is kept under another name, and a new one is begun.
    PutAside,
}

/// Opens or makes a database, and brings it to the current layout.
pub(super) type Layout = fn(&Path, Durability) -> Result<Connection, StoreError>;

/// A database file, and which file of that name is open.
#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
    durability: Durability,
    damaged: Damaged,
    /// How it is opened, and brought to its layout.
    layout: Layout,
    /// Device and number of the file that was opened.
    opened: Option<(u64, u64)>,
    /// When one was put aside last.
    put_aside: Option<Instant>,
}

impl Place {
    pub(super) const fn new(path: PathBuf, durability: Durability, damaged: Damaged) -> Self {
        Self { path, durability, damaged, layout: schema::open, opened: None, put_aside: None }
    }

    /// The same for a database of another layout.
    pub(super) fn laid_out(self, layout: Layout) -> Self {
        Self { layout, ..self }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the database, or makes it. The second is the error to tell of where a damaged one was put aside for it.
    pub(super) fn open(&mut self) -> Result<(Connection, Option<StoreError>), StoreError> {
        let (db, told) = match (self.layout)(&self.path, self.durability) {
            Err(error) if self.may_put_aside() && is_unreadable(&error, &self.path) => {
                let told = self.put_aside()?;
                ((self.layout)(&self.path, self.durability)?, Some(told))
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

    /// Whether one that is damaged is to be put aside by now.
    fn may_put_aside(&self) -> bool {
        self.damaged == Damaged::PutAside && self.put_aside.is_none_or(|at| at.elapsed() >= REST)
    }

    /// The error of a statement, with its connection closed already. When the database is damaged it is put aside, and to be opened again;
    /// shortly after another one it stays, and its errors are told.
    pub(super) fn failed(&mut self, source: rusqlite::Error) -> StoreError {
        let error = StoreError::Sqlite { doing: "write", path: self.path.clone(), source };
        if error.is_damage() && self.damaged == Damaged::PutAside {
            if self.is_moved() {
                // Another connection did it.
                self.opened = None;
            } else if self.may_put_aside()
                && let Ok(told) = self.put_aside()
            {
                return told;
            }
        }
        error
    }

    /// Keeps the file and its journal under another name: `.damaged`, and after that `.damaged.2` and so on. Nobody has it open any more.
    pub(super) fn put_aside(&mut self) -> Result<StoreError, StoreError> {
        self.opened = None;
        let kept = self.next_kept();
        // A journal that lies there belongs to another database, and would be read as this one's.
        for end in JOURNALS {
            remove(&with(&kept, end))?;
        }
        std::fs::rename(&self.path, &kept).map_err(StoreError::io("put aside", &self.path))?;
        for end in JOURNALS {
            // There may be none; the new database makes its own.
            let _ = std::fs::rename(with(&self.path, end), with(&kept, end));
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "how long a bad disk is left alone; nothing here judges traffic"
        )]
        let now = Instant::now();
        self.put_aside = Some(now);
        Ok(StoreError::Damaged { path: self.path.clone(), kept })
    }

    /// The first name under which none is kept, or the last.
    fn next_kept(&self) -> PathBuf {
        let name = |number: u32| with(&self.path, &format!(".damaged.{number}"));
        let mut names = std::iter::once(with(&self.path, ".damaged")).chain((2..KEPT).map(name));
        names.find(|name| std::fs::symlink_metadata(name).is_err()).unwrap_or_else(|| name(KEPT))
    }
}

/// What SQLite keeps beside a database, by the ends of their names.
const JOURNALS: [&str; 2] = ["-wal", "-shm"];

/// Removes a file, if there is one.
fn remove(path: &Path) -> Result<(), StoreError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(StoreError::io("remove", path)(error))
        }
        _ => Ok(()),
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
            let rows: i64 = db.query_row("SELECT count(*) FROM flows", [], |row| row.get(0)).expect("rows");
            assert_eq!(rows, 0);
            let Some(StoreError::Damaged { kept, .. }) = told else { panic!("{told:?}") };
            assert_eq!(std::fs::read_to_string(kept).expect("kept"), damage);
        }
        let mut strict = Place::new(dir.path().join("y.sqlite"), Durability::Whole, Damaged::Refused);
        std::fs::write(dir.path().join("y.sqlite"), "x".repeat(2000)).expect("write");
        strict.open().expect_err("a person decides");
    }

    #[test]
    fn the_first_damaged_one_is_kept_and_no_journal_of_another_lies_beside_one() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("x.sqlite");
        let mut place = place(&path);
        for n in 1..=6 {
            std::fs::write(&path, format!("database {n}")).expect("write");
            // The last has no journal; those of the one before, whose place it takes, must not stay.
            if n < 6 {
                std::fs::write(with(&path, "-wal"), format!("journal {n}")).expect("write");
                std::fs::write(with(&path, "-shm"), "index").expect("write");
            }
            place.put_aside().expect("put aside");
        }
        let read = |end: &str| std::fs::read_to_string(with(&path, end)).ok();
        for (end, n) in [(".damaged", 1), (".damaged.2", 2), (".damaged.3", 3), (".damaged.4", 6)] {
            assert_eq!(read(end), Some(format!("database {n}")));
            let journal = (n < 6).then(|| format!("journal {n}"));
            assert_eq!(read(&format!("{end}-wal")), journal);
            assert_eq!(read(&format!("{end}-shm")).is_some(), n < 6);
        }
        assert_eq!((read(".damaged.5"), read("-wal")), (None, None));
    }

    #[test]
    fn one_that_is_damaged_soon_after_another_stays_for_a_while() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("x.sqlite");
        let mut place = place(&path);
        let corrupt = || {
            let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
            rusqlite::Error::SqliteFailure(code, None)
        };
        let is_put_aside = |error: &StoreError| matches!(error, StoreError::Damaged { .. });
        drop(place.open().expect("opened"));
        assert!(is_put_aside(&place.failed(corrupt())));
        drop(place.open().expect("opened"));
        assert!(!is_put_aside(&place.failed(corrupt())));
        std::fs::write(&path, "no database ".repeat(100)).expect("write");
        assert!(!is_put_aside(&place.open().expect_err("it stays")));
        place.put_aside = place.put_aside.and_then(|at| at.checked_sub(REST));
        assert!(place.put_aside.is_some() && place.open().expect("opened").1.is_some());
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
