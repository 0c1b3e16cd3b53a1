//! Follows the lists of indicators while the daemon runs: when a file changes they are read anew, and the new snapshot takes the place of the
//! old one as a whole. What cannot be read leaves the old one in its place.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use slips_systemd::journal::Journal;

use super::entries;
use crate::lists::{Lists, Loaded};
use crate::shelf::Shelf;

/// How often files are looked at. A change counts when it has stood so long, so that half a copy is not read.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Problems of a reading that the journal is told one by one.
const TOLD: usize = 20;

/// The lists as they were read last.
pub struct Follower {
    lists: Lists,
    shelf: Arc<Shelf>,
    journal: Journal,
    /// What the snapshot was made of, and what was there at the last look.
    made_of: u64,
    seen: u64,
}

impl Follower {
    /// Follows `lists`, from which `shelf` was filled when they were `made_of`.
    pub const fn new(lists: Lists, shelf: Arc<Shelf>, journal: Journal, made_of: u64) -> Self {
        Self { lists, shelf, journal, made_of, seen: made_of }
    }

    /// Goes on until nobody is left who could ask for a reading; whoever asks has it at once.
    pub fn run(mut self, asked: &Receiver<()>) {
        loop {
            match asked.recv_timeout(LOOK_EVERY) {
                Ok(()) => self.read(self.lists.fingerprint()),
                Err(RecvTimeoutError::Timeout) => self.look(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.shelf.sweep();
        }
    }

    fn look(&mut self) {
        let now = self.lists.fingerprint();
        if now != self.made_of && now == self.seen {
            self.read(now);
        }
        self.seen = now;
    }

    fn read(&mut self, fingerprint: u64) {
        // Also after a failure: it is tried again when something changes.
        self.made_of = fingerprint;
        match self.lists.read() {
            Ok(Loaded { indicators, problems, .. }) => {
                for problem in problems.iter().take(TOLD) {
                    self.say(problem);
                }
                if let Some(more) = problems.len().checked_sub(TOLD + 1) {
                    self.say(&format!("{} more problems", more + 1));
                }
                if let Err(error) = self.lists.keep(&indicators, fingerprint) {
                    self.say(&format!("cannot keep a compiled copy: {error}"));
                }
                for problem in self.shelf.put_lists(indicators) {
                    self.say(&problem);
                }
            }
            Err(error) => self.say(&format!("the lists stay as they were: {:#}", anyhow::Error::from(error))),
        }
    }

    fn say(&mut self, what: &str) {
        self.journal.send(&entries::degraded("threat intelligence", what));
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use slips_core::intel::Key;
    use slips_systemd::journal::Lines;

    use super::*;
    use crate::config::ThreatIntelligence;
    use crate::lists::write_whole;

    #[test]
    fn a_change_that_stands_is_read_and_what_is_broken_leaves_the_old_one() {
        let dir = tempfile::tempdir().expect("dir");
        let own = dir.path().join("own");
        let write = |text: &str| write_whole(&own.join("own.csv"), text.as_bytes()).expect("write");
        write("203.0.113.1,high,first\n");
        let config = ThreatIntelligence {
            local_threat_intelligence_files: own.clone(),
            ..ThreatIntelligence::default()
        };
        let lists = Lists::of(&config, dir.path());
        let journal = Journal::open(
            Path::new("/nonexistent/journal"),
            Box::new(std::io::sink()),
            Lines::WithoutJournald,
        );
        let shelf = Arc::new(Shelf::new(slips_intel::Builder::new().finish(), Vec::new()).0);
        let made_of = lists.fingerprint();
        let mut follower = Follower::new(lists, Arc::clone(&shelf), journal, made_of);
        let mut reader = shelf.current().reader();
        let mut listed = || {
            let key = Key::Address(std::net::IpAddr::from([203, 0, 113, 1]));
            reader.get().look_up(key).map(|listed| listed.description.to_owned())
        };
        follower.look();
        assert_eq!(listed(), None, "nothing has changed");
        write("203.0.113.1,high,a second one\n");
        follower.look();
        assert_eq!(listed(), None, "it may be half written");
        follower.look();
        assert_eq!(listed().as_deref(), Some("a second one"));
        std::fs::remove_dir_all(&own).expect("remove");
        follower.look();
        follower.look();
        assert_eq!(listed().as_deref(), Some("a second one"), "the old one stays");
        write("203.0.113.1,high,third\n");
        follower.look();
        follower.look();
        assert_eq!(listed().as_deref(), Some("third"));
    }
}
