//! Follows the whitelist while the daemon runs, and tells those who block whom it leaves alone whatever he does.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use slips_core::intel::Current;
use slips_core::time::PacketTime;
use slips_core::whitelist::Whitelist;
use slips_firewall::{Protected, Why};
use slips_intel::{LoadError, Rules, RulesBuilder};
use slips_systemd::journal::Journal;

use super::entries;
use super::sinks::wall_clock;
use crate::whitelist::Files;

/// How often files are looked at. A change counts when it has stood so long, so that half a copy is not read.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long a reading may take that somebody waits for.
const AT_ONCE: Duration = Duration::from_secs(2);
/// Problems of a reading that the journal is told one by one.
const TOLD: usize = 20;
/// Those that are kept for who asks.
const KEPT: usize = 100;

/// No name server: so that nobody's answers count while none is known.
const NOBODY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// What those who block and those who follow the whitelist tell each other, for those who ask seldom.
#[derive(Clone, Default)]
pub struct Spared(Arc<(Mutex<Shared>, Condvar)>);

#[derive(Default)]
struct Shared {
    /// The rules of this moment.
    rules: Option<Arc<Rules>>,
    /// What was wrong with the files when they were read last.
    problems: Arc<[String]>,
    /// Name servers of this host, when somebody has looked.
    resolvers: Option<Vec<IpAddr>>,
    /// What the files were that were read last.
    read: Option<u64>,
}

impl fmt::Debug for Spared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Spared")
    }
}

impl Spared {
    /// Those of the files as they are; nobody, when they cannot be read.
    pub fn of(files: &Files) -> Self {
        let spared = Self::default();
        if let Ok((rules, problems)) = files.load(vec![NOBODY]) {
            spared.set(Arc::new(rules), problems);
        }
        spared
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on these; what is wrong with their files beside.
    pub fn set(&self, rules: Arc<Rules>, problems: Vec<String>) {
        let mut shared = self.shared();
        (shared.rules, shared.problems) = (Some(rules), few(problems));
    }

    /// The files cannot be read any more: the rules stay.
    fn stays(&self, why: String) {
        self.shared().problems = Arc::new([why]);
    }

    /// The rules of this moment, if any could be read, and what is wrong with their files.
    pub fn now(&self) -> (Option<Arc<Rules>>, Arc<[String]>) {
        let shared = self.shared();
        (shared.rules.clone(), Arc::clone(&shared.problems))
    }

    /// The files were read when they were this, with or without success.
    fn was_read(&self, fingerprint: u64) {
        self.shared().read = Some(fingerprint);
        self.0.1.notify_all();
    }

    /// The name servers of this host as they are now.
    pub fn found(&self, mut resolvers: Vec<IpAddr>) {
        resolvers.sort_unstable();
        resolvers.dedup();
        self.shared().resolvers = Some(resolvers);
    }

    /// Protects the networks that are left alone on both sides, as long as their rules hold.
    pub fn protect(&self, protected: &mut Protected) {
        let rules = self.shared().rules.clone();
        for net in rules.iter().flat_map(|rules| rules.spared(PacketTime(wall_clock()))) {
            protected.add(net, Why::Whitelisted);
        }
    }
}

/// As many problems as are told, and how many more there are.
fn few(mut problems: Vec<String>) -> Arc<[String]> {
    if let Some(more) = problems.len().checked_sub(KEPT + 1) {
        problems.truncate(KEPT);
        problems.push(format!("{} more problems", more + 1));
    }
    problems.into()
}

/// For who changes the files himself, and will not wait for the next look.
pub struct Hurry {
    /// What he changes.
    pub files: Files,
    /// Asks the follower.
    pub again: SyncSender<()>,
    /// Where he tells.
    pub spared: Spared,
}

impl Hurry {
    /// Has the files read as they are now; comes back when they were, or after a moment when somebody else goes on changing them.
    pub fn read(&self) {
        let now = Some(self.files.fingerprint());
        // A full queue has the same word in it.
        let _ = self.again.try_send(());
        let not_yet = |shared: &mut Shared| shared.read != now;
        // Poisoned or too late: who looks every few seconds reads it all the same.
        drop(self.spared.0.1.wait_timeout_while(self.spared.shared(), AT_ONCE, not_yet));
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
    /// Name servers of this host; none before somebody has looked.
    pub resolvers: Option<Vec<IpAddr>>,
    /// Where problems are told.
    pub journal: Journal,
    /// What the snapshot was made of; nothing, when the last reading failed.
    pub made_of: Option<u64>,
    /// What was there at the last look.
    pub seen: u64,
    /// The failure that was told last.
    pub failure: String,
}

impl Follower {
    /// Reads the whitelist, with no name server known yet. What cannot be read stops no daemon: it is told, and tried again.
    pub fn begin(files: Files, journal: Journal) -> Self {
        let seen = files.fingerprint();
        let (mut made_of, mut failure) = (Some(seen), String::new());
        let (rules, problems) = files.load(vec![NOBODY]).unwrap_or_else(|error| {
            (made_of, failure) = (None, format!("{:#}", anyhow::Error::from(error)));
            (RulesBuilder::new().finish(), vec![format!("nothing is left alone: {failure}")])
        });
        let rules = Arc::new(rules);
        let spared = Spared::default();
        spared.set(Arc::clone(&rules), problems.clone());
        let current: Current<dyn Whitelist> = Current::new(rules);
        let mut this = Self { files, current, spared, resolvers: None, journal, made_of, seen, failure };
        this.tell(&problems);
        this
    }

    /// From now on the answers of these count, until others are found.
    pub fn know(&mut self, resolvers: Vec<IpAddr>) {
        self.spared.found(resolvers);
        self.follow_resolvers();
    }

    /// Takes other name servers, if others were found: the network may come up after us, or change.
    fn follow_resolvers(&mut self) {
        let found = self.spared.shared().resolvers.clone();
        if found.is_none() || found == self.resolvers {
            return;
        }
        self.resolvers = found;
        match self.load() {
            Ok((rules, problems)) => self.hold(rules, problems),
            // What is wrong is told when the files are read.
            Err(_) => self.made_of = None,
        }
    }

    fn load(&self) -> Result<(Rules, Vec<String>), LoadError> {
        let known = self.resolvers.iter().flatten().copied();
        self.files.load(known.chain([NOBODY]).collect())
    }

    fn hold(&self, rules: Rules, problems: Vec<String>) {
        let rules = Arc::new(rules);
        self.spared.set(Arc::clone(&rules), problems);
        self.current.replace(rules);
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
        self.follow_resolvers();
        let now = self.files.fingerprint();
        if self.made_of != Some(now) && now == self.seen {
            self.read(now);
        }
        self.seen = now;
    }

    fn read(&mut self, fingerprint: u64) {
        match self.load() {
            Ok((rules, problems)) => {
                self.made_of = Some(fingerprint);
                self.failure.clear();
                self.tell(&problems);
                self.hold(rules, problems);
            }
            // It is tried again at each look, and told once: who may read a file changes nothing in it.
            Err(error) => {
                self.made_of = None;
                let failure = format!("{:#}", anyhow::Error::from(error));
                if failure != self.failure {
                    let stays = format!("it stays as it was: {failure}");
                    self.say(&stays);
                    self.spared.stays(stays);
                }
                self.failure = failure;
            }
        }
        self.spared.was_read(fingerprint);
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
        spared.set(Arc::clone(&rules), problems);
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
            resolvers: None,
            journal,
            made_of: Some(made_of),
            seen: made_of,
            failure: String::new(),
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
        let wrong = spared.now().1;
        assert!(matches!(&*wrong, [line] if line.contains(":2:") || line.contains("line 2")), "{wrong:?}");
        std::fs::remove_file(&file).expect("remove");
        follower.look();
        follower.look();
        assert!(listed(2), "the old one stays");
        let wrong = spared.now().1;
        assert!(matches!(&*wrong, [why] if why.starts_with("it stays as it was: ")), "{wrong:?}");
        let many = few((0..KEPT + 7).map(|n| n.to_string()).collect());
        assert_eq!((many.len(), many.last().map(String::as_str)), (KEPT + 1, Some("7 more problems")));
    }

    #[test]
    fn what_could_not_be_read_at_first_is_read_later_and_other_name_servers_count_when_they_are_found() {
        let dir = tempfile::tempdir().expect("dir");
        let file = dir.path().join("whitelist.conf");
        let text = format!("whitelists:\n  local_whitelist_path: {}\n", file.display());
        let files = Files::of(&Config::parse(Path::new("slips.yaml"), &text).expect("config"));
        let nowhere = Path::new("/nonexistent/journal");
        let journal = Journal::open(nowhere, Box::new(std::io::sink()), Lines::WithoutJournald);
        let mut follower = Follower::begin(files, journal);
        let (spared, mut reader) = (follower.spared.clone(), follower.current.reader());
        let [first, second] = [[192, 168, 1, 1], [192, 168, 1, 2]].map(IpAddr::from);
        follower.know(Vec::new());
        assert!(!reader.get().uses().names, "there is no file, and no network");
        assert_eq!((follower.made_of, follower.failure.is_empty()), (None, false));
        std::fs::write(&file, "domain,example.org,both,alerts\n").expect("write");
        follower.seen = follower.files.fingerprint();
        spared.found(vec![first]);
        follower.look();
        assert!(reader.get().is_resolver(first, true) && reader.get().uses().names);
        assert_eq!(follower.made_of, Some(follower.seen));
        spared.found(vec![second]);
        follower.look();
        assert!(reader.get().is_resolver(second, true) && !reader.get().is_resolver(first, true));
    }
}
