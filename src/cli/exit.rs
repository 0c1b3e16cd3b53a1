//! Exit codes (sysexits) and the errors that carry them.

use std::fmt;
use std::process::ExitCode;

use slips_store::StoreError;
use slips_store::read::ReadError;

/// What the caller learns from the exit code; systemd tells a bad configuration from a crash by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 64: the command line is wrong.
    Usage = 64,
    /// 65: the input makes no sense.
    Data = 65,
    /// 66: the input is not there.
    NoInput = 66,
    /// 70: something broke inside.
    Software = 70,
    /// 75: not done yet, but it may be.
    TryAgain = 75,
    /// 77: not permitted.
    Permission = 77,
    /// 78: the configuration is wrong.
    Config = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An error that ends the command.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What went wrong, with its causes.
    pub error: anyhow::Error,
}

impl Failure {
    /// Something broke inside.
    pub fn software(error: impl Into<anyhow::Error>) -> Self {
        Self { exit: Exit::Software, error: error.into() }
    }

    /// Any exit code with a message.
    pub fn new(exit: Exit, message: impl fmt::Display + fmt::Debug + Send + Sync + 'static) -> Self {
        Self { exit, error: anyhow::Error::msg(message) }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.error)
    }
}

impl From<slips_input::InputError> for Failure {
    fn from(error: slips_input::InputError) -> Self {
        let exit = match error.kind() {
            slips_input::ErrorKind::NoInput => Exit::NoInput,
            slips_input::ErrorKind::BadData => Exit::Data,
            slips_input::ErrorKind::Permission => Exit::Permission,
        };
        Self { exit, error: error.into() }
    }
}

impl From<crate::config::LoadError> for Failure {
    fn from(error: crate::config::LoadError) -> Self {
        Self { exit: Exit::Config, error: error.into() }
    }
}

impl From<crate::peers::Error> for Failure {
    fn from(error: crate::peers::Error) -> Self {
        use crate::peers::Error;
        let exit = match &error {
            Error::Io { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
                Exit::Permission
            }
            Error::Io { .. } | Error::Busy { .. } => Exit::Software,
            Error::Corrupt { .. } | Error::KeyLost { .. } | Error::OtherKey { .. } => Exit::Data,
            Error::Loose { .. } => Exit::Permission,
            Error::Wrong(_) => Exit::Config,
        };
        Self { exit, error: error.into() }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let exit = match &error {
            StoreError::Foreign { .. } | StoreError::InUse { .. } | StoreError::Newer { .. } => Exit::Data,
            error if error.is_denied() => Exit::Permission,
            StoreError::Io { .. } | StoreError::Sqlite { .. } | StoreError::Damaged { .. } => Exit::Software,
        };
        Self { exit, error: error.into() }
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Store(error) => error.into(),
            ReadError::Cursor(_) => Self { exit: Exit::Usage, error: error.into() },
        }
    }
}
