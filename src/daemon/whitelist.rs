//! Follows the whitelist while the daemon runs, and tells those who block whom it leaves alone whatever he does.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use slips_core::intel::Current;
use slips_core::time::PacketTime;
use slips_core::whitelist::Whitelist;
use slips_firewall::{Protected, Why};
use slips_intel::{Rules, RulesBuilder};
use slips_systemd::journal::Journal;

use super::entries;
use super::sinks::wall_clock;
use crate::whitelist::Files;

/// How often files are looked at. A change counts when it has stood so long, so that half a copy is not read.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Problems of a reading that the journal is told one by one.
const TOLD: usize = 20;

/// No name server: so that nobody's answers count while none is known.
const NOBODY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// The rules of this moment, for those who ask seldom.
#[derive(Clone, Default)]
pub struct Spared(Arc<Mutex<Option<Arc<Rules>>>>);

impl fmt::Debug for Spared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Spared")
    }
}

impl Spared {
    /// Those of the files as they are; nobody, when they cannot be read.
    pub fn of(files: &Files) -> Self {
        let spared = Self::default();
        if let Ok((rules, _)) = files.load(vec![NOBODY]) {
            spared.set(Arc::new(rules));
        }
        spared
    }

    /// From now on these.
    pub fn set(&self, rules: Arc<Rules>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(rules);
    }

    /// Protects the networks that are left alone on both sides, as long as their rules hold.
    pub fn protect(&self, protected: &mut Protected) {
        let rules = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for net in rules.iter().flat_map(|rules| rules.spared(PacketTime(wall_clock()))) {
            protected.add(net, Why::Whitelisted);
        }
    }
}

/// The whitelist as it was read last.
pub struct Follower {
    /// Its files.
    pub files: Files,
    /// Where the engine takes it from.
    pub current: Current<dyn Whitelist>,
    /// Where those who block take it from.
    pub spared: Spared,
    /// Name servers of this host.
    pub resolvers: Vec<IpAddr>,
    /// Where problems are told.
    pub journal: Journal,
    /// What the snapshot was made of, and what was there at the last look.
    pub made_of: u64,
    /// See `made_of`.
    pub seen: u64,
}

impl Follower {
    /// Reads the whitelist, with no name server known yet. What cannot be read stops no daemon: it is told, and tried again.
    pub fn begin(files: Files, journal: Journal) -> Self {
        let made_of = files.fingerprint();
        let (rules, problems) = files.load(vec![NOBODY]).unwrap_or_else(|error| {
            let problem = format!("nothing is left alone: {:#}", anyhow::Error::from(error));
            (RulesBuilder::new().finish(), vec![problem])
        });
        let rules = Arc::new(rules);
        let spared = Spared::default();
        spared.set(Arc::clone(&rules));
        let current: Current<dyn Whitelist> = Current::new(rules);
        let resolvers = vec![NOBODY];
        let mut this = Self { files, current, spared, resolvers, journal, made_of, seen: made_of };
        this.tell(&problems);
        this
    }

    /// From now on the answers of these count.
    pub fn know(&mut self, resolvers: Vec<IpAddr>) {
        self.resolvers = resolvers;
        self.resolvers.push(NOBODY);
        if let Ok((rules, _)) = self.files.load(self.resolvers.clone()) {
            let rules = Arc::new(rules);
            self.spared.set(Arc::clone(&rules));
            self.current.replace(rules);
        }
    }

    /// Goes on until nobody is left who could ask for a reading; whoever asks has it at once.
    pub fn run(mut self, asked: &Receiver<()>) {
        loop {
            match asked.recv_timeout(LOOK_EVERY) {
                Ok(()) => self.read(self.files.fingerprint()),
                Err(RecvTimeoutError::Timeout) => self.look(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.current.sweep();
        }
    }

    fn look(&mut self) {
        let now = self.files.fingerprint();
        if now != self.made_of && now == self.seen {
            self.read(now);
        }
        self.seen = now;
    }

    fn read(&mut self, fingerprint: u64) {
        // Also after a failure: it is tried again when something changes.
        self.made_of = fingerprint;
        match self.files.load(self.resolvers.clone()) {
            Ok((rules, problems)) => {
                self.tell(&problems);
                let rules = Arc::new(rules);
                self.spared.set(Arc::clone(&rules));
                self.current.replace(rules);
            }
            Err(error) => self.say(&format!("it stays as it was: {:#}", anyhow::Error::from(error))),
        }
    }

    fn tell(&mut self, problems: &[String]) {
        for problem in problems.iter().take(TOLD) {
            self.say(problem);
        }
        if let Some(more) = problems.len().checked_sub(TOLD + 1) {
            self.say(&format!("{} more problems", more + 1));
        }
    }

    fn say(&mut self, what: &str) {
        self.journal.send(&entries::degraded("the whitelist", what));
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use slips_core::evidence::ThreatLevel;
    use slips_core::whitelist::{Case, Omits, Side};
    use slips_systemd::journal::Lines;

    use super::*;
    use crate::config::Config;

    #[test]
    fn a_change_that_stands_is_read_and_what_cannot_be_read_leaves_the_old_one() {
        let dir = tempfile::tempdir().expect("dir");
        let file = dir.path().join("whitelist.conf");
        std::fs::write(&file, "ip,192.0.2.1,both,alerts\n").expect("write");
        let text = format!("whitelists:\n  local_whitelist_path: {}\n", file.display());
        let config = Config::parse(Path::new("slips.yaml"), &text).expect("config");
        let files = Files::of(&config);
        let (rules, problems) = files.load(Vec::new()).expect("read");
        assert_eq!(problems, Vec::<String>::new());
        let rules = Arc::new(rules);
        let spared = Spared::default();
        spared.set(Arc::clone(&rules));
        let current: Current<dyn Whitelist> = Current::new(rules);
        let made_of = files.fingerprint();
        let journal = Journal::open(
            Path::new("/nonexistent/journal"),
            Box::new(std::io::sink()),
            Lines::WithoutJournald,
        );
        let mut follower = Follower {
            files,
            current: current.clone(),
            spared: spared.clone(),
            resolvers: Vec::new(),
            journal,
            made_of,
            seen: made_of,
        };
        let mut reader = current.reader();
        let mut listed = |last: u8| {
            let case = Case {
                omits: Omits::Evidence(ThreatLevel::Critical),
                side: Side::Unknown,
                now: PacketTime(0),
            };
            let addr = IpAddr::from([192, 0, 2, last]);
            let mut protected = Protected::classes();
            spared.protect(&mut protected);
            let held = protected.check(slips_core::addr::Net::host(addr)).is_some();
            assert_eq!(reader.get().address(addr, case).is_some(), held);
            held
        };
        assert!(listed(1) && !listed(2));
        std::fs::write(&file, "ip,192.0.2.2,both,alerts\nnonsense\n").expect("write");
        follower.look();
        assert!(listed(1), "it may be half written");
        follower.look();
        assert!(!listed(1) && listed(2));
        std::fs::remove_file(&file).expect("remove");
        follower.look();
        follower.look();
        assert!(listed(2), "the old one stays");
    }
}
