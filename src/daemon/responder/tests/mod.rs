mod alerts;
mod asks;
mod behind;
mod ear;
mod protected;
mod relieved;
mod spared;
mod together;
mod trouble;
mod widened;

use std::net::IpAddr;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64};

use slips_core::alert::{AlertId, Cause};
use slips_core::evidence::{Confidence, Proof};
use slips_core::time::{PacketTime, WindowWidth};
use slips_firewall::{Backend, BlockRequest, Change, Counters, DryRun, Health, Policy, SelfTest, Why};
use slips_store::{BlockState, NewBlock};
use slips_systemd::journal::Lines;

use self::ear::Told;
use super::batch::Batch;
use super::*;
use crate::config::Mode;
use crate::control::Ask;

/// A kernel that the test can break.
#[derive(Debug)]
struct Kernel {
    inner: DryRun,
    /// It fails so many times.
    broken: Arc<AtomicU64>,
    /// It has no room for addresses that end so.
    full_of: Arc<AtomicU64>,
    applied: Arc<AtomicU64>,
}

impl Kernel {
    fn is_full_of(&self, change: &Change) -> bool {
        let last = self.full_of.load(Ordering::Relaxed);
        matches!(change, Change::Block(request) if last > 0 && request.net.to_string().ends_with(&format!(".{last}")))
    }
}

impl Backend for Kernel {
    fn apply(&mut self, changes: &[Change]) -> Result<(), Error> {
        self.applied.fetch_add(1, Ordering::Relaxed);
        let broken = self.broken.load(Ordering::Relaxed);
        if broken > 0 || changes.iter().any(|change| self.is_full_of(change)) {
            self.broken.store(broken.saturating_sub(1), Ordering::Relaxed);
            return Err(Error::Full { step: "break" });
        }
        self.inner.apply(changes)
    }
    fn left(&mut self, nets: &[Net]) -> Result<Vec<Option<Duration>>, Error> {
        self.inner.left(nets)
    }
    fn cover(&mut self, net: Net) -> Result<Option<Duration>, Error> {
        self.inner.cover(net)
    }
    fn list(&mut self) -> Result<Vec<slips_firewall::Block>, Error> {
        if self.broken.load(Ordering::Relaxed) > 0 {
            return Err(Error::Denied);
        }
        self.inner.list()
    }
    fn verify(&mut self) -> Result<Health, Error> {
        self.inner.verify()
    }
    fn counters(&mut self) -> Result<Counters, Error> {
        self.inner.counters()
    }
    fn self_test(&mut self) -> Result<SelfTest, Error> {
        self.inner.self_test()
    }
    fn remove(&mut self) -> Result<(), Error> {
        self.inner.remove()
    }
}

/// A responder over a kernel of memory, with the hands of its clocks.
struct Bench {
    responder: Responder,
    steady: Arc<AtomicU64>,
    slept: Arc<AtomicU64>,
    wall: Arc<AtomicI64>,
    broken: Arc<AtomicU64>,
    full_of: Arc<AtomicU64>,
    applied: Arc<AtomicU64>,
    swept: Arc<AtomicU64>,
    protected: Arc<Mutex<Protected>>,
    told: Told,
    dir: tempfile::TempDir,
}

const START: i64 = 1_700_000_000_000_000;
const SECOND: i64 = 1_000_000;
/// With whom our hosts talk.
const PARTNER: [u8; 4] = [198, 51, 100, 200];
const PARTNER6: [u16; 8] = [0x2001, 0xdb8, 9, 0, 0, 0, 0, 1];

fn bench(policy: config::Firewall) -> Bench {
    bench_in(policy, tempfile::tempdir().expect("folder"))
}

fn bench_in(policy: config::Firewall, dir: tempfile::TempDir) -> Bench {
    bench_at(policy, dir, 1000, START)
}

fn bench_at(policy: config::Firewall, dir: tempfile::TempDir, steady: u64, wall: i64) -> Bench {
    let steady = Arc::new(AtomicU64::new(steady));
    let wall = Arc::new(AtomicI64::new(wall));
    let [broken, full_of, applied] = std::array::from_fn(|_| Arc::new(AtomicU64::new(0)));
    let swept = Arc::new(AtomicU64::new(0));
    let protected = Arc::new(Mutex::new(Protected::classes()));
    let hand = {
        let steady = Arc::clone(&steady);
        move || Duration::from_secs(steady.load(Ordering::Relaxed))
    };
    let slept = Arc::new(AtomicU64::new(0));
    let awake = {
        let (hand, slept) = (hand.clone(), Arc::clone(&slept));
        move || hand().saturating_sub(Duration::from_secs(slept.load(Ordering::Relaxed)))
    };
    let open = {
        let awake = awake.clone();
        let [broken, full_of, applied] = [&broken, &full_of, &applied].map(Arc::clone);
        Box::new(move |protected| {
            let inner = DryRun::with_clock(awake.clone());
            let [broken, full_of, applied] = [&broken, &full_of, &applied].map(Arc::clone);
            let kernel = Kernel { inner, broken, full_of, applied };
            Firewall::with_backend(Box::new(kernel), Policy::default(), protected)
        })
    };
    let sweep = {
        let (broken, swept) = (Arc::clone(&broken), Arc::clone(&swept));
        Box::new(move || {
            swept.fetch_add(1, Ordering::Relaxed);
            if broken.load(Ordering::Relaxed) > 0 { Err(Error::Denied) } else { Ok(true) }
        })
    };
    let protect = {
        let protected = Arc::clone(&protected);
        let asked = Arc::new(AtomicBool::new(false));
        let ask = Arc::clone(&asked);
        let found =
            move || asked.swap(false, Ordering::Relaxed).then(|| Ok(protected.lock().expect("lock").clone()));
        Protect { ask: Box::new(move || ask.store(true, Ordering::Relaxed)), found: Box::new(found) }
    };
    let clocks = Clocks {
        steady: Box::new(hand),
        awake: Box::new(awake.clone()),
        wall: {
            let wall = Arc::clone(&wall);
            Box::new(move || wall.load(Ordering::Relaxed))
        },
    };
    let told = Told::default();
    let journal =
        Journal::open(Path::new("/nonexistent/journal"), Box::new(told.clone()), Lines::WithoutJournald);
    let inside = Box::new(|| vec!["192.168.1.0/24".parse().expect("net")]);
    let partners = Box::new(|| [PARTNER.into(), PARTNER6.into()].into());
    let ways = Ways { open, sweep, protect, inside, neighbours: Box::new(|| 20), partners };
    let mut responder =
        Responder::new(ways, journal, policy.into(), clocks, Protected::classes()).expect("responder");
    responder.open_book(&dir.path().join("blocks.sqlite"));
    Bench { responder, steady, slept, wall, broken, full_of, applied, swept, protected, told, dir }
}

impl Bench {
    fn alert(&mut self, attacker: &str, proof: Proof) {
        self.alerts(&[attacker], proof);
    }

    /// Alerts that come together.
    fn alerts(&mut self, attackers: &[&str], proof: Proof) {
        let mut batch = Batch::default();
        for attacker in attackers {
            self.responder.decide(&mut batch, &alert_about(attacker, proof));
        }
        self.responder.commit(&mut batch);
    }

    fn advise(&mut self, advice: Advice) {
        let mut batch = Batch::default();
        self.responder.heed(&mut batch, advice);
        self.responder.commit(&mut batch);
    }

    fn peer_blocks(&mut self, source: &str, net: &str, secs: u64) {
        let net = net.parse().expect(net);
        let (for_, why) = (Duration::from_secs(secs), "scan".to_owned());
        self.advise(Advice::Block { net, for_, source: source.into(), why });
    }

    /// Steady and wall time go on.
    fn pass(&mut self, secs: u64) {
        self.steady.fetch_add(secs, Ordering::Relaxed);
        self.wall.fetch_add(secs as i64 * SECOND, Ordering::Relaxed);
    }

    /// What the kernel blocks, with the seconds left.
    fn kernel(&mut self) -> Vec<(String, u64)> {
        let blocks = self.responder.firewall().expect("firewall").blocks().expect("list");
        blocks.into_iter().map(|block| (block.net.to_string(), block.left.as_secs())).collect()
    }

    fn standing(&self) -> Vec<String> {
        self.responder.standing.nets().map(|net| net.to_string()).collect()
    }

    /// What the journal was told since this was asked last.
    fn told(&self) -> String {
        self.told.take()
    }

    fn book(&self) -> Blocks {
        Blocks::open(self.dir.path().join("blocks.sqlite")).expect("book")
    }

    fn live(&self) -> Vec<String> {
        let live = self.book().live(self.wall.load(Ordering::Relaxed)).expect("live");
        live.iter().map(|block| block.asked.net.to_string()).collect()
    }
}

fn alert_about(attacker: &str, proof: Proof) -> Arc<Alert> {
    Arc::new(made_alert(attacker, proof))
}

fn made_alert(attacker: &str, proof: Proof) -> Alert {
    let attacker: IpAddr = attacker.parse().expect("address");
    let at = PacketTime::from_secs_micros(7200 + 3000, 0);
    let window = WindowWidth::HOUR.window_of(at);
    Alert {
        id: AlertId::derive(attacker, window, 0),
        attacker,
        window,
        window_start: WindowWidth::HOUR.start_of(window),
        window_end: WindowWidth::HOUR.end_of(window),
        at,
        cause: Cause::Critical,
        accumulated: 1.0,
        confidence: Confidence::FULL,
        proof,
        in_conversation: false,
        near_conversation: false,
        attacker_is_local: false,
        evidence: Vec::new(),
    }
}

/// The seconds, rounded up, that a proven block of this network lasts which was blocked so often before.
fn term(net: &str, repeats: u32) -> u64 {
    let first = Duration::from_secs(4200);
    config::Firewall::default()
        .escalation()
        .term(first, net.parse().expect(net), repeats)
        .as_secs_f64()
        .ceil() as u64
}

fn is(net: &str, left: u64) -> Vec<(String, u64)> {
    vec![(net.to_owned(), left)]
}

#[test]
fn a_wall_clock_that_jumps_neither_ends_nor_lengthens_a_block() {
    let mut bench = bench(config::Firewall::default());
    bench.alert("203.0.113.9", Proof::Proven);
    let term = term("203.0.113.9", 0);
    assert!(term.abs_diff(bench.kernel()[0].1) <= 1);
    bench.wall.fetch_add(1_000_000 * SECOND, Ordering::Relaxed);
    bench.responder.look_after(false);
    assert_eq!(bench.standing(), ["203.0.113.9"]);
    bench.wall.fetch_sub(2_000_000 * SECOND, Ordering::Relaxed);
    bench.pass(term - 1);
    bench.responder.look_after(false);
    assert_eq!(bench.standing(), ["203.0.113.9"]);
    bench.pass(1);
    bench.responder.look_after(false);
    assert!(bench.standing().is_empty());
    assert!(bench.kernel().is_empty());
}

#[test]
fn a_block_ends_in_the_kernel_with_us_unless_another_covers_it() {
    let mut bench = bench(config::Firewall::default());
    bench.alert("203.0.113.9", Proof::Proven);
    // Somebody lengthened it in the kernel.
    let request = |net: &str| BlockRequest {
        exact: true,
        ..BlockRequest::new(net.parse().expect(net), Duration::from_secs(90_000), "")
    };
    bench.responder.firewall().expect("firewall").block(request("203.0.113.9")).expect("block");
    bench.pass(term("203.0.113.9", 0));
    bench.responder.look_after(false);
    assert!(bench.kernel().is_empty());
    bench.alert("203.0.113.9", Proof::Proven);
    let whole = Ask::Block { net: "203.0.113.0/24".parse().expect("net"), secs: 90_000, why: String::new() };
    bench.responder.do_as_asked(&whole).expect("block");
    let second = term("203.0.113.9", 1);
    bench.pass(second);
    bench.responder.look_after(false);
    assert_eq!(bench.kernel(), is("203.0.113.0/24", 90_000 - second));
}

#[test]
fn restored_terms_are_never_longer_than_what_was_asked() {
    let dir = tempfile::tempdir().expect("folder");
    let mut book = Blocks::open(dir.path().join("blocks.sqlite")).expect("book");
    for (net, from, until) in [
        ("198.51.100.1", START - 100 * SECOND, START + 200 * SECOND),
        // Entered while the clock was a year ahead.
        ("198.51.100.2", START + 31_536_000 * SECOND, START + 31_536_300 * SECOND),
        ("198.51.100.3", START - 100 * SECOND, START),
    ] {
        book.insert(&NewBlock {
            net: net.parse().expect(net),
            reason: String::new(),
            alert: None,
            source: "alert".into(),
            from,
            until: Some(until),
            unproven: net.ends_with('1'),
            manner: "drop".into(),
        })
        .expect("insert");
    }
    drop(book);
    let mut bench = bench_in(config::Firewall::default(), dir);
    assert_eq!(bench.kernel(), [is("198.51.100.1", 200), is("198.51.100.2", 300)].concat());
    let unproven: Vec<bool> =
        bench.responder.standing.iter().map(|(_, standing)| standing.unproven()).collect();
    assert_eq!(unproven, [true, false]);
}

#[test]
fn at_the_cap_the_oldest_unproven_block_makes_room() {
    let mut bench = bench(config::Firewall { unproven_cap: 2, ..config::Firewall::default() });
    for last in 1..=3 {
        bench.alert(&format!("203.0.113.{last}"), Proof::Unproven);
        bench.pass(1);
    }
    assert_eq!(bench.standing(), ["203.0.113.2", "203.0.113.3"]);
    assert_eq!(bench.live(), ["203.0.113.2", "203.0.113.3"]);
    assert_eq!(bench.kernel().len(), 2);
    // One that is proven by now neither counts nor goes, and stays so.
    bench.alert("203.0.113.2", Proof::Proven);
    bench.alert("203.0.113.2", Proof::Unproven);
    bench.alert("203.0.113.4", Proof::Unproven);
    bench.alert("203.0.113.5", Proof::Unproven);
    assert_eq!(bench.standing(), ["203.0.113.2", "203.0.113.4", "203.0.113.5"]);
    let proven: Vec<bool> =
        bench.book().live(START).expect("live").iter().map(|block| !block.asked.unproven).collect();
    assert_eq!(proven, [true, false, false]);
}

#[test]
fn watching_takes_away_what_an_enforcing_run_left_and_blocks_nothing() {
    let mut first = bench(config::Firewall::default());
    first.alert("203.0.113.9", Proof::Proven);
    let monitor = config::Firewall { mode: Mode::Monitor, ..config::Firewall::default() };
    let mut watching = bench_in(monitor, first.dir);
    assert!(watching.standing().is_empty());
    watching.broken.store(u64::MAX, Ordering::Relaxed);
    watching.responder.stand_down();
    assert_eq!(watching.live(), ["203.0.113.9"], "the kernel still blocks it");
    watching.broken.store(0, Ordering::Relaxed);
    watching.responder.stand_down();
    assert_eq!(watching.swept.load(Ordering::Relaxed), 2);
    assert!(watching.live().is_empty());
    assert_eq!(watching.book().latest(1).expect("latest")[0].state, BlockState::Lifted);
    let ask = Ask::Block { net: "203.0.113.9".parse().expect("net"), secs: 9, why: String::new() };
    assert!(watching.responder.do_as_asked(&ask).is_err());
    watching.responder.do_as_asked(&Ask::Flush).expect("flush");
    assert_eq!(watching.swept.load(Ordering::Relaxed), 3);
}

#[test]
fn who_comes_back_is_blocked_twice_as_long_each_time_and_forgotten_after_a_month() {
    let mut bench = bench(config::Firewall::default());
    let net = "203.0.113.9";
    for repeats in 0..3 {
        bench.alert(net, Proof::Proven);
        let lasts = term(net, repeats);
        assert!(lasts.abs_diff(bench.kernel()[0].1) <= 1, "{repeats}: {:?}", bench.kernel());
        // Evidence that goes on makes it longer, and is not a block of its own.
        bench.pass(1000);
        bench.alert(net, Proof::Proven);
        assert!(lasts.abs_diff(bench.kernel()[0].1) <= 1, "{repeats}: {:?}", bench.kernel());
        bench.pass(lasts);
        bench.responder.look_after(false);
        assert!(bench.kernel().is_empty());
    }
    // A restart does not forget; what could be forged neither grows nor counts.
    let mut bench = restart(bench);
    bench.alert(net, Proof::Unproven);
    assert_eq!(bench.kernel(), is(net, 300));
    bench.pass(300);
    bench.responder.look_after(false);
    bench.alert(net, Proof::Proven);
    assert!(term(net, 3).abs_diff(bench.kernel()[0].1) <= 1);
    // What was lifted by hand was wrong, and does not count either.
    bench.responder.do_as_asked(&Ask::Unblock(net.parse().expect("net"))).expect("unblock");
    bench.alert(net, Proof::Proven);
    assert!(term(net, 3).abs_diff(bench.kernel()[0].1) <= 1);
    bench.pass(31 * 86_400 + term(net, 3));
    bench.responder.look_after(false);
    bench.alert(net, Proof::Proven);
    assert!(term(net, 0).abs_diff(bench.kernel()[0].1) <= 1);
}

#[test]
fn who_was_let_in_out_of_a_range_stays_so_over_a_restart() {
    let mut bench = bench(config::Firewall::default());
    let ask = |net: &str| Ask::Block { net: net.parse().expect(net), secs: 900, why: "x".into() };
    bench.responder.do_as_asked(&ask("198.51.100.0/30")).expect("block");
    bench.responder.do_as_asked(&ask("2001:db8::/63")).expect("block");
    for net in ["198.51.100.1", "2001:db8::7"] {
        bench.responder.do_as_asked(&Ask::Unblock(net.parse().expect(net))).expect("unblock");
    }
    let left = ["198.51.100.0", "198.51.100.2/31", "2001:db8:0:1::/64"];
    assert_eq!(bench.standing(), left);
    bench.pass(100);
    let mut bench = restart(bench);
    assert_eq!(bench.standing(), left);
    assert_eq!(bench.kernel(), left.map(|net| (net.to_owned(), 800)));
    bench.responder.do_as_asked(&Ask::Unblock("198.51.100.0/24".parse().expect("net"))).expect("unblock");
    assert_eq!(restart(bench).standing(), ["2001:db8:0:1::/64"]);
}

/// The same machine and clocks, another daemon.
fn restart(before: Bench) -> Bench {
    let (steady, wall) = (before.steady.load(Ordering::Relaxed), before.wall.load(Ordering::Relaxed));
    let policy = before.responder.policy.clone();
    let dir = before.dir;
    drop(before.responder);
    bench_at(policy, dir, steady, wall)
}

#[test]
fn after_a_sleep_the_kernel_is_told_again_and_after_a_step_of_the_clock_the_book() {
    let mut bench = bench(config::Firewall::default());
    let ask = Ask::Block { net: "198.51.100.7".parse().expect("net"), secs: 9000, why: String::new() };
    bench.responder.do_as_asked(&ask).expect("block");
    bench.responder.look_after(false);
    bench.pass(3600);
    bench.slept.fetch_add(3600, Ordering::Relaxed);
    assert_eq!(bench.kernel(), is("198.51.100.7", 9000), "its clock stood still");
    bench.responder.look_after(false);
    assert_eq!(bench.kernel(), is("198.51.100.7", 5400));
    for step in [86_400, -7 * 86_400] {
        bench.wall.fetch_add(step * SECOND, Ordering::Relaxed);
        bench.responder.look_after(false);
        let wall = bench.wall.load(Ordering::Relaxed);
        let block = bench.book().live(wall).expect("live").remove(0).asked;
        assert_eq!((block.until, block.from), (Some(wall + 5400 * SECOND), wall - 3600 * SECOND), "{step}");
    }
    assert_eq!(restart(bench).kernel(), is("198.51.100.7", 5400));
}

#[test]
fn what_is_told_of_a_block_says_who_asked_why_and_how_often() {
    let mut bench = bench(config::Firewall::default());
    let net: Net = "203.0.113.9".parse().expect("net");
    bench.alert("203.0.113.9", Proof::Proven);
    bench.pass(term("203.0.113.9", 0));
    bench.responder.look_after(false);
    bench.alert("203.0.113.9", Proof::Proven);
    let told = |bench: &mut Bench, ask: Ask| -> serde_json::Value {
        serde_json::from_str(&bench.responder.do_as_asked(&ask).expect("told")).expect("json")
    };
    let explained = told(&mut bench, Ask::Explain(net));
    assert_eq!((&explained["earlier"], &explained["blocks"][0]["source"]), (&1.into(), &"alert".into()));
    assert_eq!(explained["blocks"][0]["manner"], "drop");
    let other = told(&mut bench, Ask::Explain("127.0.0.1".parse().expect("net")));
    assert_eq!((&other["left"], &other["blocks"]), (&serde_json::Value::Null, &serde_json::json!([])));
    assert!(other["protected"].as_str().is_some_and(|why| why.contains("loopback")));
    let status = told(&mut bench, Ask::Status);
    assert_eq!(
        (&status["blocks"], &status["blocking"], &status["mode"]),
        (&1.into(), &"works".into(), &"enforce".into())
    );
    bench.responder.do_as_asked(&Ask::Pause(60)).expect("pause");
    assert_eq!(told(&mut bench, Ask::Status)["blocking"], "paused");
    bench.pass(61);
    bench.responder.look_after(false);
    assert_eq!(told(&mut bench, Ask::Status)["blocking"], "works");
    assert_eq!(bench.responder.do_as_asked(&Ask::Resume).expect("resume"), "blocking was not paused");
}
