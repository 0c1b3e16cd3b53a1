//! Asks the services that the owner turned on, in a thread of its own: it takes what the engine saw, as far as there is room, and hands back
//! what is evident as events. No shard waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use slips_core::addr::LocalNets;
use slips_core::event::Event;
use slips_core::record::Record;
use slips_store::Answers;
use slips_systemd::journal::Journal;

use super::clocks::Clocks;
use super::entries;
use super::peers::EngineLine;
use crate::config::Config;
use crate::outside::Asks;
use crate::services::{self, ANSWERS, Desk, Moment, Told, cases, suspect};
use crate::shelf::Shelf;

/// How often ages are counted anew, since days pass.
const COUNT_AGES: Duration = Duration::from_secs(6 * 3600);
/// How long it waits for the engine at most, so that questions have their turn and ages are told.
const LOOK: Duration = Duration::from_secs(5);
/// Ages that are held; of more, none is learnt until the next start.
const AGES: usize = 20_000;

/// Which records it takes.
pub fn wants(record: &Record) -> bool {
    matches!(record, Record::Events(_) | Record::Evidence(_))
}

/// See the module.
pub struct Services {
    desk: Desk,
    ours: LocalNets,
    shelf: Arc<Shelf>,
    engine: EngineLine,
    journal: Journal,
    clocks: Clocks,
}

/// The thread's work, if a service is turned on and its answers can be kept: what is wrong with them is told, and stops nothing else.
pub fn build(
    config: &Config,
    ours: &LocalNets,
    shelf: &Arc<Shelf>,
    engine: EngineLine,
    mut journal: Journal,
) -> Option<Services> {
    let (services, problems) = services::services(config, Some(&shelf.current()));
    for problem in problems {
        journal.send(&entries::degraded("services", &problem));
    }
    if services.is_empty() {
        return None;
    }
    match Answers::open(config.output.directory.join(ANSWERS)) {
        Ok(answers) => {
            let desk = Desk::new(services, answers);
            Some(Services::new(desk, ours.clone(), Arc::clone(shelf), engine, journal))
        }
        Err(error) => {
            let problem = format!("none is asked: {:#}", anyhow::Error::from(error));
            journal.send(&entries::degraded("services", &problem));
            None
        }
    }
}

impl Services {
    /// For the hosts of these networks.
    pub fn new(desk: Desk, ours: LocalNets, shelf: Arc<Shelf>, engine: EngineLine, journal: Journal) -> Self {
        Self { desk, ours, shelf, engine, journal, clocks: Clocks::default() }
    }

    fn now(&self) -> Moment {
        Moment { steady: (self.clocks.steady)(), wall: (self.clocks.wall)() / 1_000_000 }
    }

    /// Goes on until the engine is gone, or `stop`.
    pub fn run(mut self, records: &Receiver<Vec<Record>>, asks: &mut dyn Asks, stop: &AtomicBool) {
        let mut counted = None;
        while !stop.load(Ordering::Relaxed) {
            let now = self.now().steady;
            if counted.is_none_or(|at| now.saturating_sub(at) >= COUNT_AGES) {
                counted = Some(now);
                self.learn_ages();
            }
            let wait = self.desk.wait(self.now()).map_or(LOOK, |wait| wait.min(LOOK));
            let mut told = Vec::new();
            let done = match records.recv_timeout(wait) {
                Ok(batch) => self.take(&batch, &mut told),
                Err(RecvTimeoutError::Timeout) => Ok(()),
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let now = self.now();
            if let Err(error) = done.and_then(|()| self.desk.turn(asks, now, &mut told)) {
                // A disk that is full is full for a while.
                self.say(&format!("{:#}", anyhow::Error::from(error)));
            }
            self.tell(told);
        }
    }

    fn take(&mut self, records: &[Record], told: &mut Vec<Told>) -> Result<(), slips_store::StoreError> {
        let now = self.now();
        let doubts = records.iter().filter_map(|record| match record {
            Record::Evidence(evidence) => suspect(&evidence.finding, &self.ours),
            _ => None,
        });
        let mut found: Vec<_> = doubts.collect();
        let batches = records.iter().filter_map(|record| match record {
            Record::Events(batch) => Some(batch),
            _ => None,
        });
        for event in batches.flat_map(|batch| batch.iter()) {
            cases(event, &self.ours, &mut |case| found.push(case));
        }
        found.into_iter().try_for_each(|case| self.desk.take(case, now, told))
    }

    fn learn_ages(&mut self) {
        let now = self.now().wall;
        match self.desk.ages(AGES as u32, now) {
            Ok(ages) => {
                self.shelf.put_ages(ages.into_iter().map(|(domain, days)| (domain.into(), days)), AGES)
            }
            Err(error) => self.say(&format!("{:#}", anyhow::Error::from(error))),
        }
    }

    fn tell(&mut self, told: Vec<Told>) {
        let mut ages = Vec::new();
        for told in told {
            match told {
                // The engine's own queue is full: it has other things to judge.
                Told::Finding(finding) => drop(self.engine.tell(Event::Told(finding))),
                Told::Age(domain, days) => ages.push((domain, days)),
                Told::Problem(problem) => self.say(&problem),
            }
        }
        if !ages.is_empty() {
            self.shelf.put_ages(ages, AGES);
        }
    }

    fn say(&mut self, what: &str) {
        self.journal.send(&entries::degraded("services", what));
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::net::IpAddr;
    use std::path::Path;
    use std::sync::Mutex;
    use std::sync::mpsc::sync_channel;

    use slips_core::engine::pipeline;
    use slips_core::evidence::{Entity, Evidence, EvidenceKind, Finding, ThreatLevel};
    use slips_core::flow::Proto;
    use slips_core::intel::Current;
    use slips_core::settings::Settings;
    use slips_core::time::{PacketTime, WindowWidth};
    use slips_intel::jarm::NOTHING;
    use slips_systemd::journal::Lines;

    use super::*;
    use crate::outside::{Ask, Head, Jarm, Missed, Reach, TlsServer};
    use crate::services::Service;

    /// A service and servers that a test chooses: all files are bad, all domains were registered yesterday.
    struct Fake(i64);

    impl Asks for Fake {
        fn ask(&mut self, ask: &Ask, body: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> Result<Head, Missed> {
            let yesterday = jiff::Timestamp::from_second(self.0 - 86_400).expect("a time");
            let text = match ask.url.contains("/domain/") {
                true => format!(
                    "{{\"events\":[{{\"eventAction\":\"registration\",\"eventDate\":\"{yesterday}\"}}]}}"
                ),
                false => "{\"KnownMalicious\":\"a b c\",\"hashlookup:trust\":0}".to_owned(),
            };
            body(text.as_bytes()).expect("taken");
            Ok(Head { status: 200, ..Head::default() })
        }

        fn addresses(&mut self, _: &str, _: Duration) -> Result<Vec<IpAddr>, Missed> {
            Ok(Vec::new())
        }

        fn jarm(&mut self, server: &TlsServer) -> Result<Jarm, Missed> {
            assert_eq!(server.reach, Reach::Public);
            let address = server.host.parse().expect("an address");
            let fingerprint = if server.port == 8443 { LISTED.into() } else { NOTHING.into() };
            Ok(Jarm { address, fingerprint })
        }
    }

    const LISTED: &str = "07d14d16d21d21d07c42d41d00041d24a458a375eef0c576d23a7bab9a9fb1";

    fn services(lists: &Current) -> Vec<Box<dyn Service>> {
        let mut config = Config::default();
        config.virustotal.api_key_file = std::path::PathBuf::new();
        config.services.circl_hashlookup = true;
        config.services.rdap = true;
        config.services.jarm = true;
        services::services(&config, Some(lists)).0
    }

    #[test]
    fn answers_that_cannot_be_kept_stop_nothing_else() {
        let dir = tempfile::tempdir().expect("dir");
        std::fs::create_dir(dir.path().join(ANSWERS)).expect("in its way");
        let mut config = Config::default();
        config.services.rdap = true;
        config.output.directory = dir.path().into();
        let shelf = Arc::new(Shelf::new(slips_intel::Builder::new().finish(), Vec::new()).0);
        let out = Box::new(io::sink());
        let journal = Journal::open(Path::new("/nonexistent/journal"), out, Lines::WithoutJournald);
        let ours = LocalNets::private();
        assert!(build(&config, &ours, &shelf, EngineLine::default(), journal).is_none());
    }

    type Row = (EvidenceKind, IpAddr, Option<u16>, ThreatLevel);

    /// What comes of these records, as kind, attacker, port, level; with what was kept.
    fn told(records: Vec<Record>) -> (Vec<Row>, Vec<String>) {
        let dir = tempfile::tempdir().expect("dir");
        let settings = Settings::default();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let to = Arc::clone(&seen);
        let (input, engine) = pipeline::start(&settings, &Vec::new, 1, move |records| {
            let found = records.iter().filter_map(|record| match record {
                Record::Evidence(evidence) => Some(evidence.finding.clone()),
                _ => None,
            });
            let row = |found: Finding| (found.kind, found.profile, found.dst_port, found.level);
            to.lock().expect("no panic").extend(found.map(row));
        })
        .expect("an engine");
        let line = EngineLine::default();
        line.open(input.clone());
        let mut lists = slips_intel::Builder::new();
        let own = format!("{LISTED}, critical, a tool of attackers\n");
        lists.read_local("own_malicious_JARM.csv", own.as_bytes());
        let shelf = Arc::new(Shelf::new(lists.finish(), Vec::new()).0);
        let desk =
            Desk::new(services(&shelf.current()), Answers::open(dir.path().join(ANSWERS)).expect("open"));
        let journal =
            Journal::open(Path::new("/nonexistent/journal"), Box::new(io::sink()), Lines::WithoutJournald);
        let services = Services::new(desk, settings.local_nets.clone(), shelf, line.clone(), journal);
        let (to_services, for_services) = sync_channel(8);
        records.into_iter().for_each(|record| to_services.send(vec![record]).expect("room"));
        drop(to_services);
        services.run(&for_services, &mut Fake(0), &AtomicBool::new(false));
        line.close();
        drop(input);
        engine.join().expect("it ends");
        let answers = Answers::open(dir.path().join(ANSWERS)).expect("open");
        let kept = answers.of("jarm", 9).expect("read").into_iter().map(|(subject, _)| subject).collect();
        let seen = seen.lock().expect("no panic").clone();
        (seen, kept)
    }

    /// That a server showed a certificate that only itself vouches for.
    fn doubted(server: &str, port: u16, level: ThreatLevel) -> Record {
        let [host, server]: [IpAddr; 2] = ["192.168.1.5", server].map(|addr| addr.parse().expect("ip"));
        let (at, window) = (PacketTime(0), WindowWidth::HOUR.window_of(PacketTime(0)));
        let finding = Finding {
            victim: Some(Entity::Ip(server)),
            level,
            proto: Some(Proto::Tcp),
            dst_port: Some(port),
            ..Finding::new(EvidenceKind::SelfSignedCertificate, host, window, at)
        };
        let (id, last_seen) = (finding.id(), at);
        let rest = (1, 0.0, 0.0, 0);
        let (count, accumulated, proven, revision) = rest;
        Record::Evidence(Arc::new(Evidence { id, finding, last_seen, count, accumulated, proven, revision }))
    }

    #[test]
    fn a_server_in_doubt_is_asked_for_its_jarm_and_a_listed_one_is_a_pair() {
        let [host, server]: [IpAddr; 2] = ["192.168.1.5", "8.8.8.8"].map(|addr| addr.parse().expect("ip"));
        let (low, kind) = (ThreatLevel::Low, EvidenceKind::MaliciousJarm);
        let (found, kept) = told(vec![doubted("8.8.8.8", 8443, low), doubted("8.8.8.8", 8443, low)]);
        // Critical in the list, and no block for it: others may answer alike.
        assert_eq!(found, [(kind, server, Some(8443), ThreatLevel::High), (kind, host, Some(8443), low)]);
        assert_eq!(kept, ["8.8.8.8:8443"]);
        let (found, kept) = told(vec![doubted("8.8.8.8", 443, low)]);
        assert_eq!((found, kept), (Vec::new(), vec!["8.8.8.8:443".to_owned()]), "not listed");
        let nobody = vec![doubted("192.168.1.9", 8443, low), doubted("8.8.8.8", 8443, ThreatLevel::Info)];
        assert_eq!(told(nobody), (Vec::new(), Vec::new()), "our own server, and no doubt");
    }

    #[test]
    fn what_the_engine_saw_is_asked_about_and_comes_back_as_evidence_and_ages() {
        let dir = tempfile::tempdir().expect("dir");
        let settings = Settings::default();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let to = Arc::clone(&seen);
        let (input, engine) = pipeline::start(&settings, &Vec::new, 1, move |records| {
            let found = records.iter().filter_map(|record| match record {
                Record::Evidence(evidence) => Some((evidence.finding.kind, evidence.finding.profile)),
                _ => None,
            });
            to.lock().expect("no panic").extend(found);
        })
        .expect("an engine");
        let line = EngineLine::default();
        line.open(input.clone());
        let answers = Answers::open(dir.path().join(ANSWERS)).expect("open");
        let shelf = Arc::new(Shelf::new(slips_intel::Builder::new().finish(), Vec::new()).0);
        let out = Box::new(io::sink());
        let journal = Journal::open(Path::new("/nonexistent/journal"), out, Lines::WithoutJournald);
        let desk = Desk::new(services(&shelf.current()), answers);
        let services =
            Services::new(desk, settings.local_nets.clone(), Arc::clone(&shelf), line.clone(), journal);
        let now = services.now().wall;

        let [host, server]: [IpAddr; 2] = ["192.168.1.5", "8.8.8.8"].map(|addr| addr.parse().expect("ip"));
        let events = services::tests::met(host, server);
        let (to_services, for_services) = sync_channel(4);
        // One question each time.
        for event in events {
            to_services.send(vec![Record::Events(Arc::new(vec![event]))]).expect("room");
        }
        drop(to_services);
        services.run(&for_services, &mut Fake(now), &AtomicBool::new(false));
        line.close();
        drop(input);
        engine.join().expect("it ends");
        let seen = seen.lock().expect("no panic").clone();
        let kind = EvidenceKind::MaliciousDownloadedFile;
        assert_eq!(seen, [(kind, server), (kind, host)]);
        assert_eq!(shelf.current().reader().get().domain_age_days("wikipedia.org"), Some(1));
    }
}
