//! The contract between the engine's records and whatever keeps them.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use slips_core::record::Record;
use thiserror::Error;

/// Gives the wall time in microseconds since the Unix epoch. Handed in by the shell; tests hand in a constant.
pub type Clock = fn() -> i64;

/// Gives the time since some moment by a clock that only goes forward. Handed in by the shell.
pub type Steady = fn() -> Duration;

/// Something that keeps records.
///
/// An error means that something could not be written now. The sink stays usable: call it again with the next records. What
/// it could keep in its bounded backlog is written later, the rest is counted by [`lost`](Self::lost).
pub trait RecordSink: Send {
    /// Takes records in the order of the engine.
    fn accept(&mut self, records: &[Record]) -> Result<(), StoreError>;

    /// Writes all that is held back, so that other processes can see it. To be called about once a second.
    fn flush(&mut self) -> Result<(), StoreError>;

    /// Writes all that is held back, makes it durable and ends.
    fn close(self: Box<Self>) -> Result<(), StoreError>;

    /// Memory is short: drops what can be had again from the disk. Whatever could not be written yet stays.
    fn shrink(&mut self) {}

    /// How many lines or rows were dropped because they could not be written.
    fn lost(&self) -> u64;
}

/// Why something could not be kept. Every variant names the file.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The operating system refused: disk full, read-only, no permission …
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What was tried, as in "cannot … FILE".
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file exists, is not empty, and Slips did not write it.
    #[error("{} was not written by slips; choose another directory or move it away", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// Another Slips writes there now.
    #[error("{} is in use by another slips", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// SQLite refused.
    #[error("cannot {doing} {}", path.display())]
    Sqlite {
        /// What was tried.
        doing: &'static str,
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
    /// The database was damaged. It is kept under another name, and a new one is begun.
    #[error("{} was damaged: it is kept as {}, and a new one is begun", path.display(), kept.display())]
    Damaged {
        /// The database.
        path: PathBuf,
        /// Where the damaged one is now.
        kept: PathBuf,
    },
    /// A later version of Slips wrote this database.
    #[error("{} has layout {found}, this version of slips knows up to {known}", path.display())]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its layout.
        found: i64,
        /// The newest layout known here.
        known: i64,
    },
}

impl StoreError {
    /// Whether somebody ended it, who had waited for long enough.
    pub fn is_interrupted(&self) -> bool {
        let Self::Sqlite { source, .. } = self else { return false };
        source.sqlite_error_code() == Some(rusqlite::ErrorCode::OperationInterrupted)
    }

    /// Whether the cause is a lack of space or of the right to write, which a person must mend.
    pub fn is_unwritable(&self) -> bool {
        match self {
            Self::Io { source, .. } => matches!(
                source.kind(),
                io::ErrorKind::StorageFull
                    | io::ErrorKind::QuotaExceeded
                    | io::ErrorKind::ReadOnlyFilesystem
                    | io::ErrorKind::PermissionDenied
            ),
            Self::Sqlite { source, .. } => matches!(
                source.sqlite_error_code(),
                Some(
                    rusqlite::ErrorCode::DiskFull
                        | rusqlite::ErrorCode::ReadOnly
                        | rusqlite::ErrorCode::CannotOpen
                        | rusqlite::ErrorCode::PermissionDenied
                )
            ),
            Self::Foreign { .. } | Self::InUse { .. } | Self::Damaged { .. } | Self::Newer { .. } => false,
        }
    }

    /// Whether the same may well be done later: it is the disk, a lock or memory, not what was to be written.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Sqlite { source, .. } if crate::sqlite::is_passing(source))
    }

    /// Whether somebody else has the database locked.
    pub fn is_busy(&self) -> bool {
        use rusqlite::ErrorCode::{DatabaseBusy, DatabaseLocked};
        matches!(self, Self::Sqlite { source, .. }
            if matches!(source.sqlite_error_code(), Some(DatabaseBusy | DatabaseLocked)))
    }

    /// Whether the database is damaged.
    pub fn is_damage(&self) -> bool {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
        matches!(self, Self::Sqlite { source, .. }
            if matches!(source.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase)))
    }

    /// Whether the cause is a lack of the right to write.
    pub fn is_denied(&self) -> bool {
        use rusqlite::ErrorCode::{PermissionDenied, ReadOnly};
        match self {
            Self::Io { source, .. } => {
                matches!(source.kind(), io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied)
            }
            Self::Sqlite { source, .. } => {
                matches!(source.sqlite_error_code(), Some(ReadOnly | PermissionDenied))
            }
            Self::Foreign { .. } | Self::InUse { .. } | Self::Damaged { .. } | Self::Newer { .. } => false,
        }
    }

    /// The file concerned.
    pub fn path(&self) -> &Path {
        match self {
            Self::Io { path, .. }
            | Self::Foreign { path }
            | Self::InUse { path }
            | Self::Sqlite { path, .. }
            | Self::Damaged { path, .. }
            | Self::Newer { path, .. } => path,
        }
    }

    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { doing, path, source }
    }
}
