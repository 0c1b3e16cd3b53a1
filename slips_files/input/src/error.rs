//! Why an input cannot be opened or read to its end.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// An input that cannot be read. Broken records are no error: they are counted in the [`crate::Report`].
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// Nothing is there.
    #[error("{}: no such file or directory", path.display())]
    Missing {
        /// What was asked for.
        path: PathBuf,
    },
    /// The system refuses to let us read it.
    #[error("{}: permission denied", path.display())]
    Denied {
        /// What was asked for.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Reading broke off.
    #[error("{}: cannot be read", path.display())]
    Read {
        /// What was being read.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A file without a single byte.
    #[error("{}: the file is empty", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// We know what it is, but have no reader for it.
    #[error("{}: {found} is not read yet", path.display())]
    NotReadYet {
        /// The file.
        path: PathBuf,
        /// What it holds.
        found: &'static str,
    },
    /// Neither a capture nor a log that we know.
    #[error("{}{}: {why}", path.display(), At(*line))]
    Unknown {
        /// The file.
        path: PathBuf,
        /// The line at which it became clear; 0 for binary files.
        line: u64,
        /// What was found instead.
        why: String,
    },
    /// A directory in which nothing can be read.
    #[error("{}: no Zeek log in this directory ({looked_at} files looked at)", path.display())]
    NoLogs {
        /// The directory.
        path: PathBuf,
        /// How many files it holds.
        looked_at: usize,
    },
    /// A directory with more logs than we hold at once.
    #[error("{}: more than {limit} Zeek logs in one directory", path.display())]
    TooManyLogs {
        /// The directory.
        path: PathBuf,
        /// The limit.
        limit: usize,
    },
}

/// A line number behind a file name.
struct At(u64);

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            line => write!(f, ":{line}"),
        }
    }
}

/// What kind of trouble an [`InputError`] is; decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Nothing is there (EX_NOINPUT, 66).
    NoInput,
    /// It is there, and makes no sense to us (EX_DATAERR, 65).
    BadData,
    /// It is there, and not for us (EX_NOPERM, 77).
    Permission,
}

impl ErrorKind {
    /// The exit code of sysexits.h.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::NoInput => 66,
            Self::BadData => 65,
            Self::Permission => 77,
        }
    }
}

impl InputError {
    /// What kind of trouble this is.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Missing { .. } => ErrorKind::NoInput,
            Self::Denied { .. } => ErrorKind::Permission,
            Self::Read { .. }
            | Self::Empty { .. }
            | Self::NotReadYet { .. }
            | Self::Unknown { .. }
            | Self::NoLogs { .. }
            | Self::TooManyLogs { .. } => ErrorKind::BadData,
        }
    }

    /// `path` holds something that we do not know.
    pub(crate) fn unknown(path: &Path, line: u64, why: &str) -> Self {
        Self::Unknown { path: path.to_path_buf(), line, why: why.to_owned() }
    }

    /// From the system's answer about `path`.
    pub(crate) fn from_io(path: &Path, source: io::Error) -> Self {
        let path = path.to_path_buf();
        match source.kind() {
            io::ErrorKind::NotFound => Self::Missing { path },
            io::ErrorKind::PermissionDenied => Self::Denied { path, source },
            _ => Self::Read { path, source },
        }
    }
}
