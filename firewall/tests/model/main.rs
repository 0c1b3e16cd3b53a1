//! A million things that may happen, in any order, against a model that is easy to believe: who is protected is never in the kernel,
//! who is to be blocked is missing for no more than a second.
//!
//! `SLIPS_OPERATIONS` says how many; without it a short form runs. The long form, against the dry run and the kernel:
//! `SLIPS_OPERATIONS=1000000 cargo nextest run --release -p slips-firewall --test model`
//! `SLIPS_SEED` begins another history: the kernel makes a refused change wait for all its processors, so ten histories of a hundred thousand
//! side by side are done sooner than one of a million.
//!
//! How long somebody was missing is counted from the harm to the repair, without the time in which this thread was ready to run and the
//! machine had others to do: no program can act in that. The kernel counts it (`/proc/thread-self/schedstat`).

#![allow(clippy::expect_used, clippy::panic, reason = "a test")]

#[path = "../lab/mod.rs"]
mod lab;
mod world;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use slips_core::addr::Net;
use slips_firewall::{BlockRequest, Features, Firewall, Health, Outcome, Protected, Refusal, Why, is_single};
use world::{Kernel, Memory, World};

/// When a block ends: it began while the firewall was asked for it, and the machine may have had others to do meanwhile.
#[derive(Debug, Clone, Copy, Default)]
struct End {
    first: Duration,
    last: Duration,
}

impl End {
    fn max(self, other: Self) -> Self {
        Self { first: self.first.max(other.first), last: self.last.max(other.last) }
    }
}

/// By how much wide blocks may end after their time. A change of one writes all of its family anew, each for what it has left then; and each
/// ends so much later as the kernel took that writing after it was made, however long the machine had others to do in between. It is not
/// summed up: the next writing counts from the same end.
#[derive(Debug, Default)]
struct Late {
    /// How long the call took that wrote IPv4 last, and the one that wrote IPv6.
    writing: [Duration; 2],
    longest: Duration,
    /// The latest that one was seen to end.
    seen: Duration,
    /// The same without the time of its writing.
    unexplained: Duration,
}

impl Late {
    fn of(&self, net: Net) -> Duration {
        self.writing[usize::from(net.addr().is_ipv6())]
    }

    /// A call took so long that wrote them anew; surely, or perhaps, should all that it was about not have ended.
    fn wrote(&mut self, net: Net, took: Duration, surely: bool) {
        self.longest = self.longest.max(took);
        let writing = &mut self.writing[usize::from(net.addr().is_ipv6())];
        *writing = if surely { took } else { took.max(*writing) };
    }

    /// One ends so much after its time.
    fn saw(&mut self, net: Net, late: Duration) {
        self.seen = self.seen.max(late);
        self.unexplained = self.unexplained.max(late.saturating_sub(self.of(net)));
    }
}

/// What ought to be: a book of ends, as a daemon's database has it.
struct Model {
    /// Blocks of single networks.
    single: BTreeMap<Net, End>,
    /// Wide ones, or what unblocking left of them.
    wide: BTreeMap<Net, End>,
    late: Late,
    protected: Vec<Net>,
    /// Addresses that stand for all: of these it is judged whether they are blocked.
    points: Vec<Net>,
    random: Random,
}

/// A small linear generator: the same cases in every run.
struct Random(u64);
impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % n
    }
}

/// The kernel rounds to jiffies, and the clock is read before and after: who ends within this time may be there or not.
const BLUR: Duration = Duration::from_millis(250);
/// The longest that a block may be missing.
const MISSING_AT_MOST: Duration = Duration::from_secs(1);
/// How often all that is blocked is compared, in operations.
const COMPARE_EVERY: u64 = 1_000;
/// How often a daemon looks after its table, should it not hear of what others do.
const LOOK_EVERY: Duration = Duration::from_millis(500);

#[derive(Debug, Default)]
#[expect(dead_code, reason = "shown")]
struct Tally {
    operations: u64,
    refused: u64,
    restarts: u64,
    harmed: u64,
    heard: u64,
    rebuilt: u64,
    compared: u64,
    longest_missing: Duration,
    longest_held_up: Duration,
    late: Late,
}

/// A moment, and how long this thread had been kept from running until then.
#[derive(Debug, Clone, Copy)]
struct Moment {
    at: Duration,
    held_up: Duration,
}

impl Moment {
    fn now(world: &dyn World) -> Self {
        let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
        let held_up = stat.split(' ').nth(1).and_then(|nanos| nanos.parse().ok()).unwrap_or(0);
        Self { at: world.now(), held_up: Duration::from_nanos(held_up) }
    }
}

fn run(world: &mut dyn World, operations: u64) -> Tally {
    let mut model = Model::new();
    let mut tally = Tally { operations, ..Tally::default() };
    let mut protected = model.renumber();
    let mut firewall = world.open(protected.clone());
    let mut looked = world.now();
    let mut harmed: Option<Moment> = None;
    for operation in 0..operations {
        world.pass(Duration::from_millis(model.random.below(20)));
        match model.random.below(1_000) {
            0..600 => tally.refused += u64::from(!model.block(&mut firewall, world)),
            600..900 => {
                let net = model.some_net();
                let asked = world.now();
                firewall.unblock(net).expect("unblock");
                model.unblock(net, asked, world.now());
            }
            900..970 => {
                model.hostile(&mut firewall);
                tally.refused += 1;
            }
            970..985 => {
                let former = std::mem::take(&mut model.protected);
                protected = model.renumber();
                let asked = world.now();
                let freed = firewall.set_protected(protected.clone()).expect("protect");
                model.let_in_the_protected(&former, &freed, asked, world.now());
            }
            985..990 => {
                // The kernel lets the next owner in when the last one's socket is closed.
                drop(firewall);
                firewall = world.open(protected.clone());
                tally.restarts += 1;
                model.restore(&mut firewall, world);
                harmed = None;
            }
            990..992 if world.harm(model.random.below(64)) => {
                tally.harmed += 1;
                harmed.get_or_insert(Moment::now(world));
            }
            _ => {
                let point = model.some_point();
                let ask = |world: &mut dyn World| {
                    let asked = world.now();
                    let left = firewall.left(point).expect("left");
                    if harmed.is_some() { Ok(()) } else { model.agrees(point, left, asked, world.now()) }
                };
                in_time(world, ask);
            }
        }
        let heard = firewall.watch().disturbed;
        tally.heard += u64::from(heard);
        if heard || world.now() - looked >= LOOK_EVERY {
            looked = world.now();
            let since = harmed.take();
            if firewall.verify().expect("verify") == Health::Rebuilt {
                tally.rebuilt += 1;
                model.restore(&mut firewall, world);
                // Where the kernel refused the harm, nobody was missing.
                if let Some(since) = since {
                    let until = Moment::now(world);
                    let held_up = until.held_up - since.held_up;
                    tally.longest_held_up = tally.longest_held_up.max(held_up);
                    let missing = (until.at - since.at).saturating_sub(held_up);
                    tally.longest_missing = tally.longest_missing.max(missing);
                }
            }
        }
        if operation % COMPARE_EVERY == 0 {
            tally.compared += 1;
            model.compare(&mut firewall, world, harmed.is_none());
        }
    }
    model.restore(&mut firewall, world);
    model.compare(&mut firewall, world, true);
    firewall.remove().expect("remove");
    tally.late = model.late;
    tally
}

impl Model {
    fn new() -> Self {
        let hosts = (0..64).map(|n| IpAddr::V4(Ipv4Addr::from_bits(V4 + n)));
        let low = (0..64).map(|n| IpAddr::V6(Ipv6Addr::from_bits(V6 + n)));
        let subnets = (0..256u128).map(|n| IpAddr::V6(Ipv6Addr::from_bits(V6 + (n << 64) + 0xffff)));
        Self {
            single: BTreeMap::new(),
            wide: BTreeMap::new(),
            late: Late::default(),
            protected: Vec::new(),
            points: hosts.chain(low).chain(subnets).map(Net::host).collect(),
            random: Random(asked("SLIPS_SEED").unwrap_or(7)),
        }
    }

    fn some_point(&mut self) -> Net {
        let at = self.random.below(self.points.len() as u64);
        self.points[at as usize]
    }

    /// A network that something may be about: few, so that they meet.
    fn some_net(&mut self) -> Net {
        let n = self.random.below(64);
        let v4 = IpAddr::V4(Ipv4Addr::from_bits(V4 + n as u32));
        let v6 = |shift: u32| IpAddr::V6(Ipv6Addr::from_bits(V6 + (u128::from(n) << shift)));
        let bits = self.random.below(6) as u8;
        match self.random.below(8) {
            0..4 => Net::host(v4),
            4 => Net::host(v6(0)),
            5 => Net::new(v6(66), 64).expect("net"),
            6 => Net::new(v4, 26 + bits).expect("net"),
            _ => Net::new(v6(66), 56 + bits).expect("net"),
        }
    }

    /// This host gets other addresses, gateways and resolvers.
    fn renumber(&mut self) -> Protected {
        let mut protected = Protected::classes();
        self.protected.clear();
        for why in [Why::Own, Why::Gateway, Why::Resolver, Why::Session] {
            let net = Net::host(self.some_net().addr());
            protected.add(net, why);
            self.protected.push(net);
        }
        protected
    }

    /// Whether it was blocked.
    fn block(&mut self, firewall: &mut Firewall, world: &dyn World) -> bool {
        let net = self.some_net();
        let for_ = Duration::from_millis(1_000 + self.random.below(20_000));
        let exact = self.random.below(2) == 0;
        let request = BlockRequest { exact, ..BlockRequest::new(net, for_, "") };
        let touches = self.protected.iter().any(|held| held.overlaps(net));
        let asked = world.now();
        let outcome = firewall.block(request).expect("block");
        let answered = world.now();
        let end = |for_| End { first: asked + for_, last: answered + for_ };
        assert_eq!(
            touches,
            matches!(outcome, Outcome::Refused(_)),
            "{net}, {:?}: {outcome:?}",
            self.protected
        );
        match outcome {
            Outcome::Blocked { net, for_ } | Outcome::Extended { net, for_, .. } => {
                self.enter(net, end(for_));
                if !is_single(net) {
                    self.late.wrote(net, answered - asked, true);
                }
            }
            Outcome::Kept { left, .. } => assert!(left + BLUR >= for_, "{net}: {left:?} instead of {for_:?}"),
            Outcome::Refused(_) => {}
        }
        !touches
    }

    /// What a peer may ask for who wants to cut us off.
    fn hostile(&mut self, firewall: &mut Firewall) {
        let target = self.protected[self.random.below(4) as usize];
        let some = self.random.below(32) as u8;
        let net = match (self.random.below(4), target.addr()) {
            (0, IpAddr::V4(v4)) => Net::host(IpAddr::V6(v4.to_ipv6_mapped())),
            (1, IpAddr::V4(v4)) => Net::new(IpAddr::V6(v4.to_ipv6_mapped()), 96 + some).expect("net"),
            (2, addr) => Net::new(addr, some).expect("net"),
            (3, addr) => Net::new(addr, if addr.is_ipv4() { 24 } else { 64 }).expect("net"),
            (_, addr) => Net::host(addr),
        };
        let for_ = Duration::from_secs(86_400 * 400);
        let exact = self.random.below(2) == 0;
        let request = BlockRequest { exact, ..BlockRequest::new(net, for_, "peer") };
        match firewall.block(request).expect("block") {
            Outcome::Refused(Refusal::Protected { .. } | Refusal::TooWide { .. }) => {}
            other => panic!("{net} for {target}: {other:?}"),
        }
    }

    fn enter(&mut self, net: Net, end: End) {
        let book = if is_single(net) { &mut self.single } else { &mut self.wide };
        let held = book.entry(net).or_default();
        *held = end.max(*held);
    }

    /// A single one is let in wherever it is blocked, a wide one with all in it.
    fn unblock(&mut self, net: Net, asked: Duration, answered: Duration) {
        self.cut(net, asked, answered);
        self.single.remove(&net);
        if net.addr().is_ipv6() && net.prefix() == 128 {
            let subnet = Net::new(net.addr(), 64).expect("net");
            self.single.remove(&subnet);
            self.cut(subnet, asked, answered);
        }
        if !is_single(net) {
            self.single.retain(|held, _| !(net.overlaps(*held) && net.prefix() <= held.prefix()));
        }
    }

    /// Takes a network out of the wide ones, between these times; of a wider one the rest stays.
    fn cut(&mut self, net: Net, asked: Duration, answered: Duration) {
        let touched = |held: &Net| held.overlaps(net);
        let mut ends = self.wide.iter().filter(|(held, _)| touched(held)).map(|(_, end)| end.first);
        if let Some(end) = ends.next() {
            let surely = ends.fold(end, Duration::max) > answered + BLUR;
            self.late.wrote(net, answered - asked, surely);
        }
        let held: Vec<(Net, End)> =
            self.wide.iter().filter(|(held, _)| touched(held)).map(|(net, end)| (*net, *end)).collect();
        self.wide.retain(|held, _| !touched(held));
        for (wide, end) in held.into_iter().filter(|(wide, _)| wide.prefix() < net.prefix()) {
            for piece in halves_beside(wide, net) {
                let held = self.wide.entry(piece).or_default();
                *held = end.max(*held);
            }
        }
    }

    /// Who has become protected is let in, and nobody beside: of an IPv6 address the /64 too, where it was blocked as one thing.
    /// Which /64 that was, `freed` says: one whose time ends in this moment may or may not be among them.
    fn let_in_the_protected(&mut self, former: &[Net], freed: &[Net], asked: Duration, answered: Duration) {
        let new: Vec<Net> = self.protected.iter().filter(|net| !former.contains(net)).copied().collect();
        for net in new {
            self.cut(net, asked, answered);
            self.single.remove(&net);
            if net.addr().is_ipv6() {
                let subnet = Net::new(net.addr(), 64).expect("net");
                self.single.remove(&subnet);
                if freed.contains(&subnet) {
                    self.cut(subnet, asked, answered);
                }
            }
        }
    }

    /// A daemon that starts, or repairs: exactly the book.
    fn restore(&mut self, firewall: &mut Firewall, world: &dyn World) {
        let now = world.now();
        self.single.retain(|_, end| end.last > now);
        self.wide.retain(|_, end| end.last > now);
        let book: Vec<(Net, End)> = self.single.iter().chain(&self.wide).map(|(n, e)| (*n, *e)).collect();
        let request = |(net, end): &(Net, End)| BlockRequest {
            exact: true,
            ..BlockRequest::new(*net, end.last - now, "")
        };
        let outcomes = firewall.restore(book.iter().map(request).collect()).expect("restore");
        let done = world.now();
        self.single.clear();
        self.wide.clear();
        self.late.writing = <[Duration; 2]>::default();
        for ((net, end), outcome) in book.into_iter().zip(outcomes) {
            match outcome {
                Outcome::Blocked { for_, .. } => {
                    self.enter(net, End { first: now + for_, last: done + for_ });
                }
                Outcome::Kept { .. } => self.enter(net, end),
                other => panic!("{net}: {other:?}, with {:?} protected", self.protected),
            }
        }
    }

    /// Until when an address is to be blocked, where a wide block may end so late.
    fn wanted(&self, point: Net, late: Duration) -> Option<End> {
        let wide = self.wide.iter().map(|(net, end)| (net, End { last: end.last + late, ..*end }));
        let all = self.single.iter().map(|(net, end)| (net, *end)).chain(wide);
        all.filter(|(held, _)| held.overlaps(point)).map(|(_, end)| end).reduce(End::max)
    }

    /// Whether one answer of the firewall is what the book says; asked and answered at these times.
    fn agrees(
        &mut self,
        point: Net,
        left: Option<Duration>,
        asked: Duration,
        answered: Duration,
    ) -> Result<(), String> {
        let until = left.map(|left| (asked + left, answered + left));
        let late = self.late.of(point);
        let wanted = self.wanted(point, late).filter(|end| end.last + BLUR > answered);
        let fits = match (wanted, until) {
            (None, None) => true,
            (Some(end), Some((from, to))) => from <= end.last + BLUR && end.first <= to + BLUR,
            (Some(end), None) => end.first <= answered + BLUR,
            (None, Some((from, _))) => from <= answered + BLUR,
        };
        if let (Some(due), Some((from, _))) = (self.wanted(point, Duration::ZERO), until) {
            self.late.saw(point, from.saturating_sub(due.last));
        }
        if fits {
            Ok(())
        } else {
            Err(format!(
                "{point}: until {until:?} instead of {wanted:?}, asked at {asked:?}; {:?}",
                self.late
            ))
        }
    }

    /// All that is blocked: nobody protected, nobody missing, nobody too many.
    fn compare(&mut self, firewall: &mut Firewall, world: &mut dyn World, unharmed: bool) {
        in_time(world, |world| {
            let asked = world.now();
            let listed = world.look(firewall);
            let answered = world.now();
            for held in &listed {
                let touched = self.protected.iter().find(|net| net.overlaps(*held));
                assert_eq!(touched, None, "{held} is blocked, and somebody protected with it");
            }
            if unharmed { self.is_all(&listed, asked, answered) } else { Ok(()) }
        });
    }

    /// Whether these are all that the book says; asked and answered at these times.
    fn is_all(&self, listed: &[Net], asked: Duration, answered: Duration) -> Result<(), String> {
        for point in &self.points {
            let end = self.wanted(*point, self.late.of(*point));
            let (held, fits) = match listed.iter().find(|held| held.overlaps(*point)) {
                Some(held) => (Some(held), end.is_some_and(|end| end.last + BLUR > asked)),
                None => (None, end.is_none_or(|end| end.first <= answered + BLUR)),
            };
            if !fits {
                return Err(format!("{point}: {held:?} is blocked, wanted until {end:?}"));
            }
        }
        Ok(())
    }
}

/// Asks until the answer is right, for a second. Where the machine was stopped for a moment, the kernel's clock, which counts its ticks,
/// is behind ours until the next tick. What is wrong stays so.
fn in_time(world: &mut dyn World, mut ask: impl FnMut(&mut dyn World) -> Result<(), String>) {
    let began = world.now();
    while let Err(wrong) = ask(world) {
        assert!(world.now() < began + MISSING_AT_MOST, "{wrong}");
        world.pass(Duration::from_millis(20));
    }
}

/// What is left of `wide` without `hole`, which lies in it.
fn halves_beside(wide: Net, hole: Net) -> Vec<Net> {
    let beside = |prefix: u8| {
        let other = match hole.addr() {
            IpAddr::V4(v4) => IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() ^ (1 << (32 - u32::from(prefix))))),
            IpAddr::V6(v6) => {
                IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() ^ (1 << (128 - u32::from(prefix)))))
            }
        };
        Net::new(other, prefix).expect("net")
    };
    (wide.prefix() + 1..=hole.prefix()).map(beside).collect()
}

/// Where the networks lie.
const V4: u32 = 0x0a00_0000;
const V6: u128 = 0x2001_0db8 << 96;

/// A number that the environment has.
fn asked(name: &str) -> Option<u64> {
    std::env::var_os(name).and_then(|number| number.to_str()?.parse().ok())
}

/// Few operations in every test run, a million by command.
fn judge(world: &mut dyn World, few: u64) {
    let tally = run(world, asked("SLIPS_OPERATIONS").unwrap_or(few));
    println!("{tally:?}");
    assert!(tally.refused > 0 && tally.restarts > 0 && tally.compared > 0);
    assert!(tally.longest_missing <= MISSING_AT_MOST, "{tally:?}");
}

#[test]
fn the_dry_run_does_as_the_model() {
    judge(&mut Memory { clock: Arc::default() }, 30_000);
}

#[test]
fn the_kernel_does_as_the_model() {
    kernel("the_kernel_does_as_the_model", Features::ALL);
}

#[test]
fn an_old_kernel_that_others_disturb_does_as_the_model() {
    kernel("an_old_kernel_that_others_disturb_does_as_the_model", Features::NONE);
}

#[expect(clippy::disallowed_methods, reason = "the kernel's time passes by itself")]
fn kernel(name: &str, features: Features) {
    let Some(lab) = lab::open(name) else { return };
    if lab::program("nft", "--version").is_none() {
        eprintln!("skipped: {name}: needs the program nft (nftables)");
        return;
    }
    judge(&mut Kernel { lab: &lab, features, began: Instant::now() }, 10_000);
}
