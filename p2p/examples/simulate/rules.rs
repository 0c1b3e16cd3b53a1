//! The rules that are compared: ours, which is the production code, and beside it those that others use.

use std::collections::BTreeMap;
use std::time::Duration;

use slips_p2p::council::{Council, Mode, Rules, Ruling};
use slips_p2p::identity::NodeId;
use slips_p2p::indicator::Indicator;
use slips_p2p::members::{Members, Peer};
use slips_p2p::message::{Direction, Percent, Report, Tlp};
use slips_p2p::moment::Moment;
use slips_p2p::roster::Role;
use slips_p2p::trust::Loss;

use crate::world::{self, HOSTS, PEERS};

/// A way to decide on the word of peers.
pub trait Rule {
    fn report(&mut self, peer: usize, whom: &Indicator, lie: bool, now: Moment);
    /// Own evidence as a share of our threshold; at 1 we alert ourselves.
    fn own(&mut self, whom: &Indicator, level: f64, now: Moment);
    /// Ten minutes of traffic without evidence.
    fn talked(&mut self, whom: &Indicator, now: Moment);
    /// The owner noticed a wrong block.
    fn unblock(&mut self, whom: &Indicator, now: Moment);
    fn tick(&mut self, now: Moment);
    fn is_blocked(&self, whom: &Indicator, now: Moment) -> bool;
    /// Who was blocked on the word of peers since the last call.
    fn take_new(&mut self) -> Vec<Indicator>;
    fn trust(&self, _peer: usize, _now: Moment) -> f64 {
        0.0
    }
}

const DAY: Duration = Duration::from_secs(86_400);

/// Which rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Single,
    Original,
    Majority,
    Fides,
    NoLearning,
    Assist,
    Preempt,
    PreemptOneOrg,
}

impl Kind {
    pub const ALL: [Self; 8] = [
        Self::Single,
        Self::Original,
        Self::Majority,
        Self::Fides,
        Self::NoLearning,
        Self::Assist,
        Self::Preempt,
        Self::PreemptOneOrg,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Single => "any single report blocks",
            Self::Original => "the original: 15 accumulated",
            Self::Majority => "plain majority",
            Self::Fides => "Fides' formulas",
            Self::NoLearning => "ours, preempt, without learning",
            Self::Assist => "ours, assist (default)",
            Self::Preempt => "ours, preempt, liars independent",
            Self::PreemptOneOrg => "ours, preempt, liars of one organisation",
        }
    }

    pub fn build(self, liars: usize) -> Box<dyn Rule> {
        match self {
            Self::Single => Box::new(Tally::new(1.0, true)),
            Self::Original => Box::new(Tally::new(15.0, false)),
            Self::Majority => Box::new(Tally::new(PEERS as f64 / 2.0 + 0.5, true)),
            Self::Fides => Box::new(Fides::new()),
            Self::NoLearning => Box::new(Ours::new(Mode::Preempt, 0, false)),
            Self::Assist => Box::new(Ours::new(Mode::Assist, 0, true)),
            Self::Preempt => Box::new(Ours::new(Mode::Preempt, 0, true)),
            Self::PreemptOneOrg => Box::new(Ours::new(Mode::Preempt, liars, true)),
        }
    }
}

/// Blocks of the simple rules: a day each, never the protected (our firewall refuses them whoever asks), not again for a week
/// after the owner unblocked.
#[derive(Default)]
struct Blocks {
    until: BTreeMap<Indicator, Moment>,
    pardoned: BTreeMap<Indicator, Moment>,
    new: Vec<Indicator>,
}

impl Blocks {
    fn block(&mut self, whom: &Indicator, now: Moment) {
        let protected = world::number_of(whom).is_some_and(world::is_protected);
        let pardoned = self.pardoned.get(whom).is_some_and(|until| now < *until);
        if !protected && !pardoned && !self.is_blocked(whom, now) {
            self.until.insert(whom.clone(), now.plus(DAY));
            self.new.push(whom.clone());
        }
    }

    fn unblock(&mut self, whom: &Indicator, now: Moment) {
        self.until.remove(whom);
        self.pardoned.insert(whom.clone(), now.plus(DAY * 7));
    }

    fn is_blocked(&self, whom: &Indicator, now: Moment) -> bool {
        self.until.get(whom).is_some_and(|until| now < *until)
    }
}

/// Adds up reports. `once`: each peer counts once a day; otherwise every copy counts within the hour, as in the original, where a
/// liar repeats his report fifteen times.
struct Tally {
    bar: f64,
    once: bool,
    said: BTreeMap<Indicator, Vec<(usize, Moment)>>,
    blocks: Blocks,
}

impl Tally {
    fn new(bar: f64, once: bool) -> Self {
        Self { bar, once, said: BTreeMap::new(), blocks: Blocks::default() }
    }
}

impl Rule for Tally {
    fn report(&mut self, peer: usize, whom: &Indicator, lie: bool, now: Moment) {
        let window = if self.once { DAY } else { DAY / 24 };
        let said = self.said.entry(whom.clone()).or_default();
        said.retain(|(_, at)| now.since(*at) < window);
        let copies = if lie && !self.once { 15 } else { 1 };
        if !(self.once && said.iter().any(|(known, _)| *known == peer)) {
            said.extend(std::iter::repeat_n((peer, now), copies));
        }
        if said.len() as f64 >= self.bar {
            self.blocks.block(whom, now);
        }
    }
    fn own(&mut self, _: &Indicator, _: f64, _: Moment) {}
    fn talked(&mut self, _: &Indicator, _: Moment) {}
    fn unblock(&mut self, whom: &Indicator, now: Moment) {
        self.blocks.unblock(whom, now);
    }
    fn tick(&mut self, _: Moment) {}
    fn is_blocked(&self, whom: &Indicator, now: Moment) -> bool {
        self.blocks.is_blocked(whom, now)
    }
    fn take_new(&mut self) -> Vec<Indicator> {
        std::mem::take(&mut self.blocks.new)
    }
}

/// Fides with its shipped defaults (thesis of L. Forst, 2022): service trust from at most 100 interactions, the average strategy,
/// satisfaction by distance when the network is sure (confidence ≥ 0.7), full otherwise. Every peer is asked about the accused; who
/// reported it today says -1 with confidence 0.9, the others know nothing. Blocked is what the weighted score calls malicious by
/// 0.35 or more: an attacker is seen by so many, a higher bar would stop next to none.
struct Fides {
    history: Vec<Vec<(f64, f64)>>,
    said: BTreeMap<Indicator, BTreeMap<usize, Moment>>,
    blocks: Blocks,
}

/// Interactions that count, and the weight of an alert among them.
const HISTORY: usize = 100;
const ALERT_WEIGHT: f64 = 0.7;
const REPUTATION: f64 = 0.5;

impl Fides {
    fn new() -> Self {
        Self { history: vec![Vec::new(); PEERS], said: BTreeMap::new(), blocks: Blocks::default() }
    }

    fn service_trust(&self, peer: usize) -> f64 {
        let history = &self.history[peer];
        let n = history.len() as f64;
        if history.is_empty() {
            return REPUTATION;
        }
        let weights: f64 = history.iter().map(|(_, w)| w).sum();
        let competence = history.iter().map(|(s, w)| s * w).sum::<f64>() / weights;
        let mean = weights / n;
        let spread = history.iter().map(|(s, _)| (s * mean - competence).powi(2)).sum::<f64>() / n;
        let known = n / HISTORY as f64;
        (known * (competence - spread.sqrt() / 2.0) + (1.0 - known) * REPUTATION).clamp(0.0, 1.0)
    }
}

impl Rule for Fides {
    fn report(&mut self, peer: usize, whom: &Indicator, _: bool, now: Moment) {
        let said = self.said.entry(whom.clone()).or_default();
        said.retain(|_, at| now.since(*at) < DAY);
        said.insert(peer, now);
        let said = said.clone();
        let trust: Vec<f64> = (0..PEERS).map(|peer| self.service_trust(peer)).collect();
        let all: f64 = trust.iter().sum();
        let score = -said.keys().map(|peer| trust[*peer]).sum::<f64>() / all.max(1e-9);
        let sure = said.keys().map(|peer| trust[*peer] * 0.9).sum::<f64>() / PEERS as f64;
        let satisfied = if sure >= 0.7 { (1.0 - (score + 1.0).abs() / 2.0 * 0.9) * sure } else { 1.0 };
        let history = &mut self.history[peer];
        history.push((satisfied, ALERT_WEIGHT));
        if history.len() > HISTORY {
            history.remove(0);
        }
        if score <= -0.35 {
            self.blocks.block(whom, now);
        }
    }
    fn own(&mut self, _: &Indicator, _: f64, _: Moment) {}
    fn talked(&mut self, _: &Indicator, _: Moment) {}
    fn unblock(&mut self, whom: &Indicator, now: Moment) {
        self.blocks.unblock(whom, now);
    }
    fn tick(&mut self, _: Moment) {}
    fn is_blocked(&self, whom: &Indicator, now: Moment) -> bool {
        self.blocks.is_blocked(whom, now)
    }
    fn take_new(&mut self) -> Vec<Indicator> {
        std::mem::take(&mut self.blocks.new)
    }
    fn trust(&self, peer: usize, _: Moment) -> f64 {
        self.service_trust(peer)
    }
}

/// The production code.
struct Ours {
    council: Council,
    members: Members,
    learns: bool,
    new: Vec<Indicator>,
}

fn id(peer: usize) -> NodeId {
    NodeId([peer as u8 + 1; 32])
}

impl Ours {
    /// The first `one_org` peers are one group.
    fn new(mode: Mode, one_org: usize, learns: bool) -> Self {
        let mut members = Members::default();
        for peer in 0..PEERS {
            let group = (peer < one_org).then(|| "one".into());
            let entry = Peer {
                role: Some(Role::Reporter),
                base: Peer::CONFIRMED,
                group,
                confirmed: true,
                ..Peer::invited(None)
            };
            members.add(id(peer), entry).expect("room");
        }
        let mut rules = Rules::default();
        if !learns {
            // What is left are the quorum and the weights: no trap, no budget, no breaker.
            (rules.budget, rules.breaker_after, rules.author_budget) = (usize::MAX, usize::MAX, f64::MAX);
        }
        let mut council = Council::new(mode, rules);
        if learns {
            let protected = (0..HOSTS).filter(|n| world::is_protected(*n));
            council.protect(protected.filter_map(|n| world::host(n).as_net()).collect());
        }
        Self { council, members, learns, new: Vec::new() }
    }

    fn note(&mut self, rulings: Vec<Ruling>) {
        for ruling in rulings {
            if let Ruling::Block { indicator, .. } = ruling {
                self.new.push(indicator);
            }
        }
    }
}

impl Rule for Ours {
    fn report(&mut self, peer: usize, whom: &Indicator, lie: bool, now: Moment) {
        let report = Report {
            indicator: whom.clone(),
            score: Percent::FULL,
            confidence: if lie { Percent::FULL } else { Percent::of(0.9) },
            evidence: Vec::new(),
            count: 1,
            first: now,
            last: now,
            services: Vec::new(),
            direction: Direction::Attacked,
            tlp: Tlp::Green,
        };
        let rulings =
            self.council.hear_report(id(peer), &report, None, now, now.plus(DAY), &self.members, now);
        self.note(rulings);
    }
    fn own(&mut self, whom: &Indicator, level: f64, now: Moment) {
        if self.learns {
            let rulings = self.council.own(whom, level, &self.members, now);
            self.council.reported(whom, now);
            self.note(rulings);
        }
    }
    fn talked(&mut self, whom: &Indicator, now: Moment) {
        if self.learns {
            let rulings = self.council.refute(whom, Loss::Benign, &self.members, now);
            self.note(rulings);
        }
    }
    fn unblock(&mut self, whom: &Indicator, now: Moment) {
        // Without learning the block ends, and nobody pays: strangers have no trust to lose.
        let nobody = Members::default();
        let members = if self.learns { &self.members } else { &nobody };
        let rulings = self.council.refute(whom, Loss::Owner, members, now);
        self.note(rulings);
    }
    fn tick(&mut self, now: Moment) {
        // A block that is renewed is no new one.
        self.council.tick(&self.members, now);
    }
    fn is_blocked(&self, whom: &Indicator, _: Moment) -> bool {
        self.council.blocks().any(|(held, _)| held == whom)
    }
    fn take_new(&mut self) -> Vec<Indicator> {
        std::mem::take(&mut self.new)
    }
    fn trust(&self, peer: usize, now: Moment) -> f64 {
        self.council.trust(id(peer), &self.members, now)
    }
}
