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
use slips_intel::Rules;
use slips_systemd::journal::Journal;

use super::entries;
use super::sinks::wall_clock;
use crate::allowed::Allowed;
use crate::whitelist::{Files, Kept};

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
    /// Those of the files as they are; nobody of one that cannot be read.
    pub fn of(files: &Files) -> Self {
        let spared = Self::default();
        let mut kept = Kept::default();
        let (_, mut failures) = files.take(&mut kept);
        let (rules, problems) = files.build(&kept, vec![NOBODY]);
        failures.extend(problems);
        spared.set(Arc::new(rules), failures);
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

    /// Which of these rules are written down and do not count, and why as far as it is known.
    pub fn missing(&self, rules: &[Allowed]) -> Vec<String> {
        let (held, problems) = self.spared.now();
        let held = held.iter().flat_map(|held| held.rules()).filter(|rule| rule.line == 0).map(Allowed::of);
        let held: Vec<Allowed> = held.collect();
        let made = self.files.allowed().path().display().to_string();
        let why = problems.iter().find(|problem| problem.contains(&made));
        let why = why.map_or("the files were not read in time", String::as_str);
        let missing = rules.iter().filter(|rule| !held.iter().any(|other| rule.says_what(other)));
        missing
            .map(|rule| format!("{} {} is written down and does not count yet: {why}", rule.of, rule.value))
            .collect()
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
    /// What was read last.
    pub kept: Kept,
}

impl Follower {
    /// Reads the whitelist, with no name server known yet. What cannot be read stops no daemon: it is told, and tried again.
    pub fn begin(files: Files, journal: Journal) -> Self {
        let (seen, mut kept) = (files.fingerprint(), Kept::default());
        let (_, failures) = files.take(&mut kept);
        let failure = failures.join("; ");
        let (rules, mut problems) = files.build(&kept, vec![NOBODY]);
        if !failure.is_empty() {
            problems.insert(0, format!("nobody is left alone by what cannot be read: {failure}"));
        }
        let rules = Arc::new(rules);
        let spared = Spared::default();
        spared.set(Arc::clone(&rules), problems.clone());
        let current: Current<dyn Whitelist> = Current::new(rules);
        let made_of = failure.is_empty().then_some(seen);
        let mut this =
            Self { files, current, spared, resolvers: None, journal, made_of, seen, failure, kept };
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
        // What is wrong with the files is told when they are read.
        drop(self.hold());
    }

    /// Has what was read last count; what is wrong with it.
    fn hold(&self) -> Vec<String> {
        let known = self.resolvers.iter().flatten().copied();
        let (rules, mut problems) = self.files.build(&self.kept, known.chain([NOBODY]).collect());
        if !self.failure.is_empty() {
            problems.insert(0, format!("it stays as it was: {}", self.failure));
        }
        let rules = Arc::new(rules);
        self.spared.set(Arc::clone(&rules), problems.clone());
        self.current.replace(rules);
        problems
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
        let (changed, failures) = self.files.take(&mut self.kept);
        let failure = failures.join("; ");
        let is_news = failure != self.failure;
        (self.made_of, self.failure) = (failure.is_empty().then_some(fingerprint), failure);
        // What cannot be read is tried again at each look, and told once: who may read a file changes nothing in it.
        if self.failure.is_empty() || changed || is_news {
            let problems = self.hold();
            self.tell(&problems);
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
            kept: Kept::default(),
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
        assert!(matches!(&*wrong, [why, _] if why.starts_with("it stays as it was: ")), "{wrong:?}");
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
    #[test]
    fn what_a_command_made_counts_whatever_becomes_of_the_other_files_and_of_its_own() {
        let temp = tempfile::tempdir().expect("dir");
        let dir = temp.path();
        let shown = dir.display();
        let text = format!(
            "output:\n  directory: {shown}\nwhitelists:\n  local_whitelist_path: {shown}/whitelist.conf\n"
        );
        let files = Files::of(&Config::parse(Path::new("slips.yaml"), &text).expect("config"));
        let made = files.allowed().path().to_owned();
        std::fs::write(&made, "ip,192.0.2.1,both,alerts\n").expect("write");
        let spares = |spared: &Spared| {
            let mut protected = Protected::classes();
            spared.protect(&mut protected);
            [1, 2, 3].map(|last| {
                let addr = IpAddr::from([192, 0, 2, last]);
                protected.check(slips_core::addr::Net::host(addr)).is_some()
            })
        };
        assert_eq!(spares(&Spared::of(&files)), [true, false, false], "there is no whitelist.conf");
        let nowhere = Path::new("/nonexistent/journal");
        let journal = Journal::open(nowhere, Box::new(std::io::sink()), Lines::WithoutJournald);
        let mut follower = Follower::begin(files.clone(), journal);
        let spared = follower.spared.clone();
        assert_eq!((spares(&spared), follower.made_of), ([true, false, false], None));

        let (again, _asked) = std::sync::mpsc::sync_channel(1);
        let hurry = Hurry { files: files.clone(), again, spared: spared.clone() };
        std::fs::write(&made, "ip,192.0.2.1,both,alerts\nip,192.0.2.2,both,alerts # why\n").expect("write");
        let rules = files.allowed().list().expect("read");
        let missing = hurry.missing(&rules);
        assert!(matches!(&*missing, [one] if one.contains("ip 192.0.2.2 is written down")), "{missing:?}");
        follower.read(files.fingerprint());
        assert_eq!((spares(&spared), hurry.missing(&rules).len()), ([true, true, false], 0));

        std::fs::write(dir.join("whitelist.conf"), "ip,192.0.2.3,both,alerts\n").expect("write");
        follower.read(files.fingerprint());
        assert_eq!((spares(&spared), follower.made_of.is_some()), ([true; 3], true));
        std::fs::write(&made, b"ip,192.0.2.1,both,alerts\n\xff").expect("write");
        follower.read(files.fingerprint());
        assert_eq!((spares(&spared), follower.made_of), ([true; 3], None), "it stays as it was");
        let wrong = spared.now().1;
        assert!(matches!(&*wrong, [why] if why.starts_with("it stays as it was: ")), "{wrong:?}");
        std::fs::write(&made, "ip,192.0.2.1,both,alerts\n").expect("write");
        std::fs::remove_file(dir.join("whitelist.conf")).expect("remove");
        follower.read(files.fingerprint());
        assert_eq!(spares(&spared), [true, false, true], "each for itself");
    }
}
