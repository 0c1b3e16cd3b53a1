//! Connections to a database that only read, kept open between requests. As many are open as read at once, which is bounded elsewhere.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use slips_store::{StoreError, Stories};

use super::problem::{Code, Problem};

/// Which file it is: one that was put aside for a new one is not read any more.
type Which = Option<(u64, u64)>;

/// See the module.
pub struct Pool {
    path: PathBuf,
    /// Whether anybody has read since it was looked at.
    read: AtomicBool,
    idle: Mutex<Vec<(Which, Stories)>>,
}

impl Pool {
    /// Of this database.
    pub fn new(path: PathBuf) -> Self {
        Self { path, read: AtomicBool::new(false), idle: Mutex::default() }
    }

    /// Reads by `read`, with a connection that was open if there is one.
    pub fn read<T>(&self, read: impl FnOnce(&Stories) -> Result<T, Problem>) -> Result<T, Problem> {
        self.read.store(true, Ordering::Relaxed);
        let which = self.which();
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = {
            let mut idle = idle();
            idle.retain(|(of, _)| *of == which);
            idle.pop()
        };
        let (_, stories) = match kept {
            Some(kept) => kept,
            None => (which, Stories::open(&self.path).map_err(problem)?),
        };
        let outcome = read(&stories);
        idle().push((which, stories));
        outcome
    }

    /// Lets go of the connections if nobody has read since this was called last.
    pub fn rest(&self) {
        if self.read.swap(false, Ordering::Relaxed) {
            return;
        }
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn which(&self) -> Which {
        std::fs::metadata(&self.path).ok().map(|file| (file.dev(), file.ino()))
    }
}

/// Why something could not be read.
pub fn problem(error: StoreError) -> Problem {
    if error.is_interrupted() {
        return Problem::new(
            Code::TooSlow,
            "the answer took too long; ask for less: a shorter time, one address",
        );
    }
    Problem::new(Code::Unavailable, format!("{:#}", anyhow::Error::from(error)))
}
