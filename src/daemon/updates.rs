//! Keeps lists of others up to date while the daemon runs, in a thread of its own, through the process that fetches. Nobody waits for it: what
//! is new lies in its place, where the thread that follows the lists finds it.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use anyhow::Context;
use slips_systemd::journal::Journal;

use super::clocks::Clocks;
use super::entries;
use crate::config::Config;
use crate::lists::Lists;
use crate::outside::process::Restarting;
use crate::outside::{Asks, shown};
use crate::updates::{self, Item, Outcome, Plan, Shrunk, Updater};

/// The first look comes when the start is over.
const FIRST_LOOK: Duration = Duration::from_secs(15);
/// How often it is looked what is due.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// So many servers in a row that are not reached mean that we are cut off: the others are not tried now.
const CUT_OFF: usize = 3;
/// A server that we had an answer from before is told of when it went wrong so often in a row.
const PATIENCE: u32 = 3;
/// Files that are told one by one.
const TOLD: usize = 5;

/// See the module.
pub struct Updates {
    config: Config,
    lists: Lists,
    journal: Journal,
    plan: Plan,
    /// Seconds since the Unix epoch.
    wall: Box<dyn Fn() -> i64 + Send>,
    stop: Arc<AtomicBool>,
    /// What the journal was told, by URL.
    told: BTreeMap<String, String>,
}

impl Updates {
    /// By this configuration, until `stop`.
    pub fn new(config: Config, lists: Lists, journal: Journal, stop: Arc<AtomicBool>) -> Self {
        let wall = Clocks::default().wall;
        let wall = Box::new(move || wall() / 1_000_000);
        Self { config, lists, journal, plan: Plan::default(), wall, stop, told: BTreeMap::new() }
    }

    /// Goes on until the sender is gone.
    pub fn run(mut self, ends: &Receiver<()>) {
        let means = self.config.outside.means();
        let stop = Arc::clone(&self.stop);
        let start = || Restarting::started(means.clone(), Arc::clone(&stop));
        let mut wait = FIRST_LOOK;
        while ends.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
            wait = LOOK_EVERY;
            match self.round(&start) {
                // Somebody updates by hand.
                Err(error) if is_busy(&error) => {}
                Err(error) => self.tell("all", Some(format!("{error:#}"))),
                Ok(()) => self.tell("all", None),
            }
        }
    }

    /// Asks for what is due. The process is started when there is something.
    fn round<A: Asks>(&mut self, start: &dyn Fn() -> io::Result<A>) -> anyhow::Result<()> {
        let (items, _) = updates::items(&self.config, &self.lists)?;
        let dir = &self.config.threatintelligence.download_path_for_remote_threat_intelligence;
        if items.is_empty() && !dir.exists() {
            return Ok(());
        }
        let open = Updater::open(dir, updates::bounds(&self.config), self.plan.clone());
        let mut updater = open.with_context(|| dir.display().to_string())?;
        updater.forget_all_but(&items, dir)?;
        self.told.retain(|url, _| url == "all" || items.iter().any(|item| item.url == *url));
        let due: Vec<&Item> = items.iter().filter(|item| updater.is_due(item, (self.wall)())).collect();
        if due.is_empty() {
            return Ok(());
        }
        let mut asks = start().context("the process that fetches")?;
        let mut unreached = 0;
        for item in due {
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            let outcome = updater.update(item, &mut asks, Shrunk::Hold, (self.wall)())?;
            unreached = match outcome {
                Outcome::Failed { unreachable: true, .. } => unreached + 1,
                _ => 0,
            };
            let failures = updater.record(item).map_or(0, |record| record.failures);
            self.judge(item, &outcome, failures);
            if unreached >= CUT_OFF {
                break;
            }
        }
        Ok(())
    }

    /// Tells what is new about a file.
    fn judge(&mut self, item: &Item, outcome: &Outcome, failures: u32) {
        match outcome {
            Outcome::New { .. } | Outcome::Unchanged => self.tell(&item.url, None),
            Outcome::Held { entries: 0, ours } => {
                let empty = format!(
                    "lost all of its {ours} entries; ours stays until that came three times in a day"
                );
                self.tell(&item.url, Some(empty));
            }
            Outcome::Held { entries, ours } => {
                let shrunk =
                    format!("shrank from {ours} to {entries} entries; ours stays until that comes twice");
                self.tell(&item.url, Some(shrunk));
            }
            // What is there goes on to work, so a server has some time to come back.
            Outcome::Failed { .. } if item.path.exists() && failures < PATIENCE => {}
            Outcome::Failed { why, .. } => {
                let stays = if item.path.exists() { "; what we have stays" } else { "" };
                self.tell(&item.url, Some(format!("{why}{stays}")));
            }
        }
    }

    /// Tells the journal of what changed: each problem once, and that it is over.
    fn tell(&mut self, about: &str, problem: Option<String>) {
        let what = match (problem, self.told.contains_key(about)) {
            (Some(_), true) | (None, false) => return,
            (Some(problem), false) => {
                self.told.insert(about.to_owned(), problem.clone());
                // The others are in `slips intel status`.
                if self.told.len() > TOLD {
                    return;
                }
                problem
            }
            (None, true) => {
                let listed = self.told.len() <= TOLD;
                self.told.remove(about);
                if !listed {
                    return;
                }
                "is fetched again".to_owned()
            }
        };
        self.journal.send(&entries::degraded("updates", &format!("{}: {what}", shown(about))));
    }
}

fn is_busy(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::path::Path;
    use std::sync::Mutex;
    use std::sync::atomic::AtomicI64;

    use slips_systemd::journal::Lines;

    use super::*;
    use crate::updates::tests::Fake;

    /// What the journal was told.
    #[derive(Clone, Default)]
    struct Heard(Arc<Mutex<Vec<u8>>>);

    impl Write for Heard {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no panic").extend(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Heard {
        fn lines(&self) -> Vec<String> {
            let bytes = std::mem::take(&mut *self.0.lock().expect("no panic"));
            String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect()
        }
    }

    struct Machine {
        dir: tempfile::TempDir,
        updates: Updates,
        heard: Heard,
        now: Arc<AtomicI64>,
    }

    impl Machine {
        fn new(feeds: &[&str]) -> Self {
            let dir = tempfile::tempdir().expect("dir");
            let catalogue = dir.path().join("TI_feeds.csv");
            let lines: String = feeds.iter().map(|url| format!("{url},low,[]\n")).collect();
            std::fs::write(&catalogue, lines).expect("written");
            let mut config = Config::default();
            config.threatintelligence.ti_files = catalogue;
            config.threatintelligence.download_path_for_remote_threat_intelligence = dir.path().join("feeds");
            let lists = Lists::of(&config.threatintelligence, dir.path());
            let heard = Heard::default();
            let out = Box::new(heard.clone());
            let journal = Journal::open(Path::new("/nonexistent/journal"), out, Lines::WithoutJournald);
            let mut updates = Updates::new(config, lists, journal, Arc::default());
            let now = Arc::new(AtomicI64::new(1_000_000));
            let clock = Arc::clone(&now);
            updates.wall = Box::new(move || clock.load(Ordering::Relaxed));
            Self { dir, updates, heard, now }
        }

        /// A round so many seconds later, with servers that answer so; who was asked.
        fn round(&mut self, later: i64, status: u16, body: &str) -> Vec<String> {
            self.now.fetch_add(later, Ordering::Relaxed);
            let asked = Arc::new(Mutex::new(Vec::new()));
            let start = || {
                let fake = Fake { status, body: body.into(), ..Fake::default() };
                Ok(Kept { fake, asked: Arc::clone(&asked) })
            };
            self.updates.round(&start).expect("a round");
            let mut asked = asked.lock().expect("no panic");
            std::mem::take(&mut *asked)
        }
    }

    /// Remembers who was asked beyond its own life.
    struct Kept {
        fake: Fake,
        asked: Arc<Mutex<Vec<String>>>,
    }

    impl Asks for Kept {
        fn ask(
            &mut self,
            ask: &crate::outside::Ask,
            body: &mut dyn FnMut(&[u8]) -> io::Result<()>,
        ) -> Result<crate::outside::Head, crate::outside::Missed> {
            self.asked.lock().expect("no panic").push(ask.url.clone());
            self.fake.ask(ask, body)
        }
        fn addresses(
            &mut self,
            _: &str,
            _: Duration,
        ) -> Result<Vec<std::net::IpAddr>, crate::outside::Missed> {
            Ok(Vec::new())
        }
    }

    #[test]
    fn lists_are_fetched_when_they_are_due_and_problems_are_told_once() {
        let mut machine = Machine::new(&["https://a.example/", "https://b.example/"]);
        assert_eq!(machine.round(0, 200, "203.0.113.1\n").len(), 2, "at once, when there is nothing");
        assert!(machine.round(60, 200, "203.0.113.1\n").is_empty(), "not due");
        assert!(machine.heard.lines().is_empty());
        let next = 86_400 + 8640;
        assert_eq!(machine.round(next, 500, "").len(), 2);
        assert!(machine.heard.lines().is_empty(), "what is there goes on to work");
        assert!(machine.round(60, 500, "").is_empty(), "it is left alone for a while");
        machine.round(700, 500, "");
        machine.round(1400, 500, "");
        let told = machine.heard.lines();
        assert_eq!(told.len(), 2, "{told:#?}");
        assert!(told[0].contains("https://a.example/: ") && told[0].contains("500"), "{told:#?}");
        machine.round(86_400, 500, "");
        assert!(machine.heard.lines().is_empty(), "once");
        machine.round(next, 304, "");
        let told = machine.heard.lines();
        assert!(told.len() == 2 && told.iter().all(|line| line.contains("fetched again")), "{told:#?}");
        assert_eq!(std::fs::read_dir(machine.dir.path().join("feeds")).expect("dir").count(), 4);
    }

    #[test]
    fn a_machine_that_is_cut_off_does_not_try_all() {
        let urls: Vec<String> = (0..20).map(|n| format!("https://n{n}.example/")).collect();
        let mut machine = Machine::new(&urls.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(machine.round(0, 0, "").len(), CUT_OFF);
        assert_eq!(machine.round(60, 0, "").len(), CUT_OFF, "others, since these are left alone");
        assert!(machine.heard.lines().len() <= TOLD);
        assert_eq!(machine.round(60, 200, "203.0.113.1\n").len(), 14, "the network is back");
        assert_eq!(machine.round(700, 200, "203.0.113.1\n").len(), 6);
        machine.updates.stop.store(true, Ordering::Relaxed);
        assert!(machine.round(100_000, 200, "203.0.113.1\n").is_empty(), "we end");
    }

    #[test]
    fn without_lists_nothing_is_made_or_asked() {
        let mut machine = Machine::new(&["/etc/own.txt"]);
        assert!(machine.round(0, 200, "").is_empty());
        assert!(!machine.dir.path().join("feeds").exists());
    }
}
