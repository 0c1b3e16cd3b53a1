//! The journal is told when the service ended otherwise than it should: who was killed cannot tell it.
//!
//! `slips ended`, what the unit runs after the daemon, does that. A service manager may leave it out where it killed all processes of the
//! unit at once; so the daemon has a file below /run while it lives, which outlives the process and no reboot, and the next one tells of
//! what nobody told of.

use std::fs;
use std::path::{Path, PathBuf};

use slips_systemd::notify::Environment;

use super::aside::open_journal;
use super::entries;

/// Tells how the service ended, if that was otherwise than it should.
pub fn tell(environment: &Environment) {
    if let Some(how) = environment.failure() {
        open_journal().send(&entries::failure(&how));
    }
    Alive { file: file(environment) }.end();
}

/// The file that says that a daemon lives, where a service manager gave it a directory.
pub struct Alive {
    file: Option<PathBuf>,
}

impl Alive {
    /// Makes the file. Where there is one, nobody has told of the end of the daemon before.
    pub fn begin(environment: &Environment) -> Self {
        let alive = Self { file: file(environment) };
        if alive.make() {
            open_journal().send(&entries::failure(UNTOLD));
        }
        alive
    }

    /// Makes the file; whether there was one. A directory that cannot be written costs an entry of the journal and nothing else.
    fn make(&self) -> bool {
        let Some(file) = &self.file else { return false };
        let was = file.exists();
        let _ = fs::write(file, "");
        was
    }

    /// The end is one that is told of by who comes to it.
    pub fn end(self) {
        if let Some(file) = self.file {
            // There is none, where the daemon did not get as far.
            let _ = fs::remove_file(file);
        }
    }
}

/// How a daemon ended that nobody told of.
const UNTOLD: &str = "killed with all its processes, so that nobody could tell how";

fn file(environment: &Environment) -> Option<PathBuf> {
    let directories = environment.runtime_directory.as_ref()?.to_str()?;
    // The unit may have several, with colons between them.
    let first = directories.split(':').next().filter(|first| !first.is_empty())?;
    Some(Path::new(first).join("alive"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_end_that_nobody_told_of_is_found_by_the_next_daemon() {
        let dir = tempfile::tempdir().expect("dir");
        let of = |directories: String| Environment {
            runtime_directory: Some(directories.into()),
            ..Environment::default()
        };
        let environment = of(format!("{}:/run/other", dir.path().display()));
        let alive = || Alive { file: file(&environment) };
        assert!(!alive().make(), "the first one");
        assert!(alive().make(), "killed");
        alive().end();
        assert!(!alive().make(), "told");
        tell(&environment);
        assert!(!alive().make(), "told by who is run after it");
        for without in [Environment::default(), of(String::new()), of("/nonexistent/run".into())] {
            let alive = Alive { file: file(&without) };
            assert!(!alive.make() && !alive.make());
            alive.end();
        }
    }
}
