//! A redis-server of our own, a daemon's files, its mirror, and whether both are equal.

use std::net::IpAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::thread::JoinHandle;

use redis::ConnectionLike;
use rusqlite::Connection;
use serde_json::Value;
use slips_core::alert::{Alert, AlertId, Cause};
use slips_core::evidence::{Confidence, Evidence, EvidenceKind, Finding, Proof, ThreatLevel};
use slips_core::flow::{Endpoint, Flow, Phase, Proto};
use slips_core::time::PacketTime;
use slips_store::profiles::{ProfileSettings, Profiles};
use slips_store::redis::{Link, Patience, Server, profile};
use slips_store::{Blocks, NewBlock, RecordSink, Sqlite, SqliteLimits, render};
use slips_systemd::journal::Lines;

use super::super::*;
use crate::daemon::clocks::steady;
use crate::daemon::outbox::WhenFull;
use crate::daemon::sinks::wall_clock;

/// Longest time that anything here may take.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// A redis-server of our own, on a socket in a directory of the test.
pub struct Redis {
    pub socket: PathBuf,
    pub child: Option<Child>,
    /// More of its arguments.
    pub args: Vec<String>,
}

impl Redis {
    pub fn start(socket: PathBuf, args: Vec<String>) -> Self {
        let mut redis = Self { socket, child: None, args };
        redis.restart();
        redis
    }

    pub fn restart(&mut self) {
        self.kill();
        let child = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--appendonly", "no", "--enable-debug-command", "yes"])
            .arg("--dir")
            .arg(self.socket.parent().expect("a directory"))
            .arg("--unixsocket")
            .arg(&self.socket)
            .args(&self.args)
            .stdout(Stdio::null())
            .spawn();
        self.child = Some(child.expect("redis-server runs"));
        until("redis answers", || self.try_link().is_some_and(|mut link| link.check_connection()));
    }

    /// As `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("killed");
            child.wait().expect("gone");
        }
    }

    pub fn server(&self) -> Server {
        Server::parse(&format!("unix://{}", self.socket.display())).expect("a URL")
    }

    pub fn try_link(&self) -> Option<Link> {
        // A test waits for one that sleeps.
        Link::open(&self.server(), Patience { answer: DEADLINE, ..Patience::default() }, steady).ok()
    }

    pub fn ask<T: FromRedisValue>(&self, words: &[&str]) -> T {
        let mut link = self.try_link().expect("a connection");
        cmd(words[0]).arg(&words[1..]).query(&mut link).expect("an answer")
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

pub fn until(what: &str, mut is: impl FnMut() -> bool) {
    let end = steady() + DEADLINE;
    while !is() {
        assert!(steady() < end, "not within the time: {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// Whether there is a redis-server here.
pub fn have_redis(test: &str) -> bool {
    let there = Command::new("redis-server").arg("--version").stdout(Stdio::null()).status().is_ok();
    if !there {
        eprintln!("skipped: {test}: no redis-server");
    }
    there
}

#[derive(Clone, Default)]
pub struct Written(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A daemon's files, its mirror, and what both are told.
pub struct Bench {
    pub dir: tempfile::TempDir,
    pub rows: Box<Sqlite>,
    pub profiles: Box<dyn RecordSink>,
    pub book: Blocks,
    pub lane: Option<Lane>,
    pub thread: Option<JoinHandle<()>>,
    pub gauges: Arc<Gauges>,
    pub pulse: Arc<Pulse>,
    pub duty: Duty,
    pub journal: Written,
    pub router: String,
    pub told: u32,
    pub at: i64,
}

impl Bench {
    pub fn new(url: &str, router: &str) -> Self {
        Self::with(url, router, |_| {})
    }

    /// With more in the section of its configuration.
    pub fn with(url: &str, router: &str, more: impl FnOnce(&mut crate::config::Redis)) -> Self {
        let dir = tempfile::tempdir().expect("dir");
        let mut config = Config::default();
        config.redis.url = url.into();
        config.redis.name = router.into();
        config.output.directory = dir.path().into();
        more(&mut config.redis);
        let (gauges, pulse, journal) =
            (Arc::<Gauges>::default(), Arc::<Pulse>::default(), Written::default());
        let settings = Settings::default();
        let flows = dir.path().join("flows.sqlite");
        let rows = Box::new(Sqlite::open(&flows, SqliteLimits::default(), wall_clock).expect("open"));
        let of = ProfileSettings::new(settings.local_nets.clone(), settings.own_macs.clone(), settings.width);
        let profiles = Box::new(Profiles::open(&flows, of, wall_clock).expect("open"));
        let book = Blocks::open(dir.path().join("blocks.sqlite")).expect("open");
        let out = Journal::open(
            std::path::Path::new("/nonexistent/journal"),
            Box::new(journal.clone()),
            Lines::WithoutJournald,
        );
        let duty = Duty::default();
        let (mut mirroring, lane) =
            build(&config, &settings, &gauges, &pulse, &Arc::default(), &duty, out).expect("there is one");
        mirroring.pace = Pace {
            settled: Duration::from_millis(50),
            follow: Duration::from_millis(200),
            first_pause: Duration::from_millis(50),
            longest_pause: Duration::from_millis(400),
        };
        mirroring.line.try_within(Duration::from_millis(400));
        let thread = Some(std::thread::spawn(move || mirroring.run()));
        let (lane, router, at) = (Some(lane), router.to_owned(), wall_clock());
        Self { dir, rows, profiles, book, lane, thread, gauges, pulse, duty, journal, router, told: 0, at }
    }

    /// Tells the database first, so that nothing that is mirrored is newer than what can be read.
    pub fn feed(&mut self, records: &[Record]) {
        self.rows.accept(records).expect("accept");
        self.profiles.accept(records).expect("accept");
        self.rows.flush().expect("flush");
        self.profiles.flush().expect("flush");
        self.lane.as_mut().expect("it goes on").offer(records, WhenFull::Shed);
    }

    /// So many pieces of evidence against some dozens of attackers, with a flow for each tenth and an alert for each fiftieth.
    pub fn load(&mut self, count: u32) {
        let mut records = Vec::new();
        for _ in 0..count {
            self.told += 1;
            self.at += 1000;
            let evidence = Arc::new(self.evidence(self.told));
            records.push(Record::Evidence(Arc::clone(&evidence)));
            if self.told.is_multiple_of(10) {
                records.push(self.flow(self.told));
            }
            if self.told.is_multiple_of(50) {
                // The evidence in an alert may be more than what was told of it.
                let grown = Evidence { count: 7, revision: evidence.revision + 1, ..(*evidence).clone() };
                records.push(Record::Alert(Arc::new(self.alert(grown))));
            }
        }
        self.feed(&records);
    }

    pub fn evidence(&self, n: u32) -> Evidence {
        let (at, width) = (PacketTime(self.at), Settings::default().width);
        let attacker = IpAddr::from([203, 0, 113, (n % 40) as u8]);
        let mut finding = Finding::new(EvidenceKind::VerticalPortScan, attacker, width.window_of(at), at);
        finding.victim =
            Some(slips_core::evidence::Entity::Ip(IpAddr::from([10, 0, (n >> 8) as u8, n as u8])));
        finding.level = ThreatLevel::High;
        finding.confidence = Confidence::new(0.1 * f64::from(n % 9) + 0.05);
        finding.proto = Some(Proto::Tcp);
        finding.dst_port = Some((n % 7) as u16 + 1);
        finding.text = format!("scan {n} \\ \"of\" \n ports");
        finding.uids = vec![format!("Cz{n}").as_str().into(), format!("Ca{n}").as_str().into()];
        let id = finding.id();
        let accumulated = f64::from(n % 100) / 7.0;
        Evidence { id, finding, last_seen: at, count: 1, accumulated, proven: 0.0, revision: 0 }
    }

    pub fn alert(&self, evidence: Evidence) -> Alert {
        let (width, window) = (Settings::default().width, evidence.finding.window);
        let attacker = evidence.finding.profile;
        Alert {
            id: AlertId::derive(attacker, window, u64::from(self.told)),
            attacker,
            window,
            window_start: width.start_of(window),
            window_end: width.end_of(window),
            at: evidence.last_seen,
            cause: Cause::Accumulated,
            accumulated: 15.25,
            confidence: Confidence::new(0.5),
            proof: Proof::Proven,
            in_conversation: false,
            near_conversation: false,
            attacker_is_local: false,
            evidence: vec![Arc::new(evidence)],
        }
    }

    pub fn flow(&self, n: u32) -> Record {
        let host = |net: u8, port| Endpoint { addr: IpAddr::from([net, 0, (n >> 8) as u8, n as u8]), port };
        let mut flow = Flow::new(PacketTime(self.at), Proto::Tcp, host(10, 40_000), host(198, 443));
        (flow.phase, flow.uid) = (Phase::End, format!("Cf{n}").as_str().into());
        Record::Events(Arc::new(vec![slips_core::event::Event::Flow(flow)]))
    }

    pub fn block(&mut self, net: &str) {
        let block = NewBlock {
            net: net.parse().expect("net"),
            reason: "a test".into(),
            alert: None,
            source: "hand".into(),
            from: self.at,
            until: Some(wall_clock() + 3_600_000_000),
            unproven: false,
            manner: "drop".into(),
        };
        self.book.insert(&block).expect("insert");
        self.gauges.changes.fetch_add(1, Ordering::Relaxed);
    }

    pub fn unblock(&mut self, net: &str) {
        self.book.lift_all(net.parse().expect("net"), wall_clock()).expect("lift");
        self.gauges.changes.fetch_add(1, Ordering::Relaxed);
    }

    pub fn key(&self, name: &str) -> String {
        format!("slips:{}:{name}", self.router)
    }

    /// What differs between the database and the mirror; nothing if they are equal.
    pub fn difference(&self, redis: &Redis) -> Option<String> {
        let mut link = redis.try_link()?;
        let link = &mut link;
        let db = Connection::open(self.dir.path().join("flows.sqlite")).expect("open");
        let json = |text: Option<String>| text.and_then(|text| serde_json::from_str::<Value>(&text).ok());
        let mut rows = db
            .prepare("SELECT id, attacker, window, kind, level, confidence, count, weight, accumulated, last_seen FROM evidence")
            .expect("rows");
        let mut rows = rows.query([]).expect("rows");
        let (mut seen, mut windows) = (0, HashSet::new());
        while let Some(row) = rows.next().expect("a row") {
            let text = |at: usize| row.get::<_, String>(at).expect("text");
            let number = |at: usize| row.get::<_, f64>(at).expect("a number");
            let window = format!("profile_{}_timewindow{}", text(1), row.get::<_, i64>(2).expect("a window"));
            let key = self.key(&format!("{window}_evidence"));
            let told = json(cmd("HGET").arg(&key).arg(text(0)).query(link).expect("an answer"));
            let Some(told) = told else { return Some(format!("{} is not in {key}", text(0))) };
            // JSON's reader here may be off by the last bit.
            let near = |name: &str, at: usize| {
                told[name].as_f64().is_some_and(|told| (told - number(at)).abs() < 1e-9)
            };
            let last_seen = render::iso(PacketTime(row.get(9).expect("a time")));
            let same = told["evidence_type"] == text(3)
                && told["threat_level"] == text(4)
                && near("confidence", 5)
                && told["count"] == row.get::<_, i64>(6).expect("a count")
                && near("weight", 7)
                && near("accumulated_threat_level", 8)
                && told["last_seen"] == last_seen;
            if !same {
                return Some(format!("{told} is another"));
            }
            seen += 1;
            windows.insert((text(1), window));
        }
        let mut fields = 0;
        for (addr, window) in &windows {
            fields += cmd("HLEN")
                .arg(self.key(&format!("{window}_evidence")))
                .query::<i64>(link)
                .expect("an answer");
            let all: Vec<String> = cmd("ZRANGE")
                .arg(self.key(&format!("twsprofile_{addr}")))
                .arg(0)
                .arg(-1)
                .query(link)
                .expect("an answer");
            if !all.iter().any(|tw| window.ends_with(&format!("_{tw}"))) {
                return Some(format!("{window} is not named"));
            }
        }
        if fields != seen {
            return Some(format!("{fields} pieces of evidence, and not {seen}"));
        }
        let set = |link: &mut Link, name: &str| -> HashSet<String> {
            cmd("ZRANGE").arg(self.key(name)).arg(0).arg(-1).query(link).expect("an answer")
        };
        let texts = |db: &Connection, sql: &str| -> HashSet<String> {
            let mut rows = db.prepare(sql).expect("rows");
            rows.query_map([], |row| row.get(0)).expect("rows").collect::<Result<_, _>>().expect("rows")
        };
        let alerts = texts(&db, "SELECT id FROM alerts");
        if set(link, "alerts") != alerts {
            return Some("other alerts".into());
        }
        for id in &alerts {
            if json(cmd("GET").arg(self.key(&format!("alert_{id}"))).query(link).expect("an answer"))
                .is_none()
            {
                return Some(format!("alert {id} is missing"));
            }
        }
        let profiles = texts(&db, "SELECT addr FROM profiles");
        if set(link, "profiles") != profiles {
            return Some(format!("{} profiles, and not {}", set(link, "profiles").len(), profiles.len()));
        }
        for addr in &profiles {
            let addr: IpAddr = addr.parse().expect("an address");
            let facts = texts(&db, &format!("SELECT facts FROM profiles WHERE addr = '{addr}'"));
            let facts: Value = serde_json::from_str(facts.iter().next().expect("facts")).expect("facts");
            let seen: Option<String> =
                cmd("HGET").arg(self.key(&profile(addr))).arg("last_seen").query(link).expect("an answer");
            if seen.as_deref() != facts["last_seen"].as_str() {
                return Some(format!("{addr} was seen {seen:?}"));
            }
        }
        let book = Connection::open(self.dir.path().join("blocks.sqlite")).expect("open");
        let blocks = texts(&book, "SELECT net FROM blocks WHERE state = 'live'");
        if set(link, "blocked_ips") != blocks {
            return Some(format!("blocked are {:?}", set(link, "blocked_ips")));
        }
        for net in &blocks {
            if json(cmd("GET").arg(self.key(&format!("block_{net}"))).query(link).expect("an answer"))
                .is_none()
            {
                return Some(format!("the block of {net} is missing"));
            }
        }
        None
    }

    pub fn becomes_equal(&self, redis: &Redis) {
        let mut last = None;
        let end = steady() + DEADLINE;
        loop {
            last = self.difference(redis).or_else(|| last.take().filter(|_| redis.try_link().is_none()));
            if last.is_none() {
                return;
            }
            assert!(steady() < end, "not equal: {last:?}; journal: {}", self.said());
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }

    pub fn said(&self) -> String {
        String::from_utf8_lossy(&self.journal.0.lock().expect("no panic")).into_owned()
    }

    pub fn shown(&self) -> String {
        self.pulse.redis.lock().expect("no panic").clone()
    }

    /// How often the journal was told this.
    pub fn times(&self, words: &str) -> usize {
        self.said().lines().filter(|line| line.contains(words)).count()
    }

    /// Ends it as a daemon ends.
    pub fn end(&mut self) {
        drop(self.lane.take());
        self.thread.take().map(JoinHandle::join).transpose().expect("it ends");
    }
}

pub fn both(router: &str) -> (Redis, Bench, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("dir");
    let redis = Redis::start(dir.path().join("redis.sock"), Vec::new());
    let bench = Bench::new(&format!("unix://{}", redis.socket.display()), router);
    (redis, bench, dir)
}
