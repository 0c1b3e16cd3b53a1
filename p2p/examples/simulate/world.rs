//! The simulated world: one router, its peers, hosts in use, attackers, liars. Time goes by the hour for sixty days.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use slips_p2p::indicator::Indicator;
use slips_p2p::moment::Moment;

use crate::rules::Rule;

/// Peers of the router.
pub const PEERS: usize = 20;
/// Days of a run.
pub const DAYS: u64 = 60;
/// Benign hosts that the router's clients use.
pub const HOSTS: usize = 200;
/// Every tenth of them is never blocked here, so a lie about it is a trap.
pub const PROTECTED_EVERY: usize = 10;
/// New attackers a day.
const ATTACKERS: usize = 40;
/// The chance that one router sees one attacker, at a random hour of the day.
const SEEN: f64 = 0.35;
/// False reports of an honest peer, a day.
const MISTAKES: f64 = 0.05;
/// The chance that a host in use is talked with for ten minutes or more on one day.
const TALKED: f64 = 0.5;
/// Lies of a day, agreed between all liars: the same host in the same hour.
const LIES: usize = 4;
/// The day on which sleepers wake and parrots bite.
const WAKES: u64 = 30;
/// Attackers that stay below our own threshold.
const SLOW: f64 = 0.5;

/// How liars lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lies {
    /// From the first day.
    Always,
    /// Honest for thirty days, then always.
    Sleepers,
    /// Honest for thirty days; then all hosts that are no trap, within an hour.
    Flash,
    /// They say what others said an hour ago for thirty days, then lie.
    Parrots,
}

impl Lies {
    pub const ALL: [Self; 4] = [Self::Always, Self::Sleepers, Self::Flash, Self::Parrots];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Always => "liars from the first day",
            Self::Sleepers => "sleepers",
            Self::Flash => "flash",
            Self::Parrots => "parrots",
        }
    }
}

/// One run.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    pub lies: Lies,
    pub liars: usize,
    /// Hours until the owner notices a wrong block and unblocks.
    pub lag: u64,
    pub seed: u64,
}

impl Scenario {
    /// The scenario as the tables have it: a flash is noticed the next day, all else after two hours.
    pub fn new(lies: Lies, share: f64, seed: u64) -> Self {
        let lag = if lies == Lies::Flash { 24 } else { 2 };
        Self { lies, liars: (share * PEERS as f64).round() as usize, lag, seed }
    }
}

/// What came of a run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// Blocks of benign hosts.
    pub wrong: f64,
    /// Share of the attackers who came to us that were blocked when they came.
    pub stopped: f64,
    /// Share of slow attackers, who stay below our own threshold, that were blocked in the end.
    pub slow: f64,
    /// Mean trust of honest peers and of liars at the end, where the rule has such a thing.
    pub trust: (f64, f64),
}

/// A small generator with a fixed sequence (splitmix64, Steele et al., OOPSLA 2014).
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    fn chance(&mut self, p: f64) -> bool {
        self.share() < p
    }

    fn below(&mut self, n: usize) -> usize {
        (self.share() * n as f64) as usize
    }
}

/// A host in use.
pub fn host(n: usize) -> Indicator {
    address(198, n)
}

fn attacker(n: usize) -> Indicator {
    address(203, n)
}

fn address(first: u8, n: usize) -> Indicator {
    let ip = Ipv4Addr::new(first, 100 + (n >> 16) as u8, (n >> 8) as u8, n as u8);
    Indicator::host(IpAddr::V4(ip)).expect("public")
}

/// Which host in use this is.
pub fn number_of(indicator: &Indicator) -> Option<usize> {
    match indicator.as_net()?.addr() {
        IpAddr::V4(ip) => match ip.octets() {
            [198, 100, high, low] => Some(usize::from(high) << 8 | usize::from(low)),
            _ => None,
        },
        IpAddr::V6(_) => None,
    }
}

/// Whether the host is one that is never blocked.
pub const fn is_protected(n: usize) -> bool {
    n.is_multiple_of(PROTECTED_EVERY)
}

enum Step {
    /// A peer reports; liars repeat it as often as pays.
    Report { peer: usize, whom: Indicator, lie: bool },
    /// The attacker comes to us with so much own evidence, as a share of our threshold.
    Attack { whom: Indicator, level: f64 },
    /// A client talks with a host.
    Talk { host: usize },
    /// A host in use looks a little odd.
    Noise { host: usize, level: f64 },
    /// The owner notices a wrong block.
    Notice { whom: Indicator },
}

/// What will happen, by hour.
#[derive(Default)]
struct Calendar(BTreeMap<u64, Vec<Step>>);

impl Calendar {
    fn at(&mut self, hour: u64, step: Step) {
        self.0.entry(hour).or_default().push(step);
    }
}

const START: Moment = Moment(1_793_600_000_000);

pub fn moment(hour: u64) -> Moment {
    START.plus(Duration::from_secs(3600 * hour))
}

/// Runs one scenario under one rule.
pub fn run(scenario: &Scenario, rule: &mut dyn Rule) -> Figures {
    let mut dice = Dice::new(scenario.seed);
    let mut calendar = Calendar::default();
    let mut counts = Counts::default();
    for day in 0..DAYS {
        plan(day, scenario, &mut dice, &mut calendar);
        for hour in day * 24..(day + 1) * 24 {
            let now = moment(hour);
            rule.tick(now);
            for step in calendar.0.remove(&hour).unwrap_or_default() {
                act(step, rule, now, &mut counts);
                for blocked in rule.take_new() {
                    if number_of(&blocked).is_some() {
                        counts.wrong += 1;
                        calendar.at(hour + scenario.lag, Step::Notice { whom: blocked });
                    }
                }
            }
        }
    }
    let share = |part: u32, whole: u32| f64::from(part) / f64::from(whole.max(1));
    let end = moment(DAYS * 24);
    let mean = |from: usize, to: usize| {
        (from..to).map(|peer| rule.trust(peer, end)).sum::<f64>() / (to - from).max(1) as f64
    };
    Figures {
        wrong: f64::from(counts.wrong),
        stopped: share(counts.stopped, counts.came),
        slow: share(counts.slow_stopped, counts.slow),
        trust: (mean(scenario.liars, PEERS), mean(0, scenario.liars)),
    }
}

#[derive(Default)]
struct Counts {
    wrong: u32,
    came: u32,
    stopped: u32,
    slow: u32,
    slow_stopped: u32,
}

fn plan(day: u64, scenario: &Scenario, dice: &mut Dice, calendar: &mut Calendar) {
    let lying = |peer: usize| peer < scenario.liars && (scenario.lies == Lies::Always || day >= WAKES);
    let parrot = |peer: usize| peer < scenario.liars && scenario.lies == Lies::Parrots && day < WAKES;
    let hour = |dice: &mut Dice| day * 24 + dice.below(24) as u64;
    for n in 0..ATTACKERS {
        let whom = attacker(day as usize * ATTACKERS + n);
        let mut first = None;
        for peer in 0..PEERS {
            if dice.chance(SEEN) {
                let at = hour(dice);
                if !lying(peer) && !parrot(peer) {
                    calendar.at(at, Step::Report { peer, whom: whom.clone(), lie: false });
                    first = Some(first.map_or(at, |first: u64| first.min(at)));
                }
            }
        }
        for peer in (0..PEERS).filter(|peer| parrot(*peer)) {
            if let Some(first) = first {
                calendar.at(first + 1, Step::Report { peer, whom: whom.clone(), lie: false });
            }
        }
        if dice.chance(SEEN) {
            let level = if dice.chance(SLOW) { 0.4 + 0.59 * dice.share() } else { 1.0 };
            calendar.at(hour(dice), Step::Attack { whom, level });
        }
    }
    for peer in (0..PEERS).filter(|peer| !lying(*peer)) {
        if dice.chance(MISTAKES) {
            let mut wrong = dice.below(HOSTS);
            wrong += usize::from(is_protected(wrong));
            calendar.at(hour(dice), Step::Report { peer, whom: host(wrong), lie: false });
        }
    }
    for n in 0..HOSTS {
        if dice.chance(TALKED) {
            calendar.at(hour(dice), Step::Talk { host: n });
        }
        if dice.chance(0.05) {
            calendar.at(hour(dice), Step::Noise { host: n, level: 0.399 * dice.share() });
        }
    }
    lie(day, scenario, dice, calendar);
}

fn lie(day: u64, scenario: &Scenario, dice: &mut Dice, calendar: &mut Calendar) {
    let targets: Vec<(u64, usize)> = match scenario.lies {
        Lies::Flash if day == WAKES => {
            (0..HOSTS).filter(|n| !is_protected(*n)).map(|n| (day * 24 + 12, n)).collect()
        }
        Lies::Flash => Vec::new(),
        Lies::Sleepers | Lies::Parrots if day < WAKES => Vec::new(),
        _ => (0..LIES).map(|_| (day * 24 + dice.below(24) as u64, dice.below(HOSTS))).collect(),
    };
    for (hour, target) in targets {
        for peer in 0..scenario.liars {
            calendar.at(hour, Step::Report { peer, whom: host(target), lie: true });
        }
    }
}

fn act(step: Step, rule: &mut dyn Rule, now: Moment, counts: &mut Counts) {
    match step {
        Step::Report { peer, whom, lie } => rule.report(peer, &whom, lie, now),
        Step::Attack { whom, level } => {
            counts.came += 1;
            counts.slow += u32::from(level < 1.0);
            let stopped = rule.is_blocked(&whom, now);
            counts.stopped += u32::from(stopped);
            // Who meets a block proves nothing: what is dropped may have a forged sender.
            if !stopped {
                rule.own(&whom, level, now);
            }
            counts.slow_stopped += u32::from(level < 1.0 && rule.is_blocked(&whom, now));
        }
        Step::Talk { host: n } => {
            let whom = host(n);
            if !rule.is_blocked(&whom, now) {
                rule.talked(&whom, now);
            }
        }
        Step::Noise { host: n, level } => {
            if !rule.is_blocked(&host(n), now) {
                rule.own(&host(n), level, now);
            }
        }
        Step::Notice { whom } => rule.unblock(&whom, now),
    }
}
