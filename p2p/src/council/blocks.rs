//! Blocks on advice: when they begin, for how long, and when they end.

use std::collections::BTreeMap;
use std::time::Duration;

use slips_core::addr::Net;

use super::{Council, Lifted, Mode, Ruling};
use crate::identity::NodeId;
use crate::indicator::Indicator;
use crate::members::Members;
use crate::moment::Moment;
use crate::opinion::Opinion;

/// On what ground a block on advice stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// Our own evidence, with help.
    Assist,
    /// The word of several groups alone.
    Preempt,
    /// An order of this authority.
    Order(NodeId),
}

impl std::fmt::Display for Basis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Assist => f.write_str("own evidence, helped by peers"),
            Self::Preempt => f.write_str("several groups of peers"),
            Self::Order(id) => write!(f, "order of {id}"),
        }
    }
}

/// A block on advice that stands; orders are kept apart.
#[derive(Clone, Debug, PartialEq)]
pub struct PeerBlock {
    /// On what ground.
    pub basis: Basis,
    /// Since when.
    pub since: Moment,
    /// Until when, if nothing renews it.
    pub until: Moment,
    /// The present term.
    pub term: Duration,
    /// Who said what, at the last ruling.
    pub opinion: Opinion,
    /// Whether own evidence or attack-like traffic confirmed it since.
    pub confirmed: bool,
}

impl Council {
    /// The blocks on advice that stand, without those by order.
    pub fn blocks(&self) -> impl Iterator<Item = (&Indicator, &PeerBlock)> {
        self.blocks.iter()
    }

    /// Looks whether what is known about `indicator` is enough now.
    pub(super) fn consider(&mut self, indicator: &Indicator, members: &Members, now: Moment) -> Vec<Ruling> {
        let level = self.own_level(indicator, now);
        // At 1 our own alert blocks; advice is not needed.
        let stands = self.blocks.contains_key(indicator) || self.orders.holds(indicator);
        if level >= 1.0 || stands || self.is_refuted(indicator, now) {
            return Vec::new();
        }
        let opinion = self.opinion(indicator, members, now);
        if opinion.groups == 0 || self.is_protected(indicator) {
            return Vec::new();
        }
        let helped = level >= self.rules.assist_from && level + self.help(&opinion) >= 1.0;
        let basis = if helped {
            let own = self.own.get_mut(indicator).filter(|own| !own.assisted);
            let Some(own) = own else { return Vec::new() };
            own.assisted = true;
            Basis::Assist
        } else if self.may_preempt(&opinion, now) && !self.is_talked_with(indicator, now) {
            Basis::Preempt
        } else {
            return Vec::new();
        };
        if self.mode == Mode::Observe || (self.mode == Mode::Assist && basis == Basis::Preempt) {
            return match self.mode {
                Mode::Observe => vec![Ruling::WouldBlock { indicator: indicator.clone(), basis, opinion }],
                _ => Vec::new(),
            };
        }
        let term = self.term(indicator, self.rules.first_term, now);
        vec![self.begin(indicator, basis, term, opinion, now)]
    }

    fn begin(
        &mut self,
        indicator: &Indicator,
        basis: Basis,
        term: Duration,
        opinion: Opinion,
        now: Moment,
    ) -> Ruling {
        let confirmed = basis != Basis::Preempt;
        let until = now.plus(term);
        let block = PeerBlock { basis, since: now, until, term, opinion: opinion.clone(), confirmed };
        self.blocks.insert(indicator.clone(), block);
        Ruling::Block { indicator: indicator.clone(), term, basis, opinion }
    }

    /// Whether it is not blocked on advice now: the owner said of it, or of anybody who would be blocked with it, that he is no attacker; or
    /// nobody is blocked, after the watchdog.
    pub fn is_refuted(&self, indicator: &Indicator, now: Moment) -> bool {
        let holds = |until: &Moment| now < *until;
        let with_others = |net: Net| {
            let touched = |held: &Indicator| held.as_net().is_some_and(|held| held.overlaps(net));
            self.refuted.iter().any(|(held, until)| holds(until) && touched(held))
        };
        self.rests(now).is_some()
            || self.refuted.get(indicator).is_some_and(holds)
            || indicator.blocked_as().is_some_and(with_others)
    }

    /// The owner let `net` in: whatever would block it along with others ends, and nobody is to blame for that.
    pub fn let_in(&mut self, net: Net) -> Vec<Ruling> {
        let touches = |held: &Indicator| held.blocked_as().is_some_and(|held| held.overlaps(net));
        let hit: Vec<Indicator> = self.blocks.keys().filter(|held| touches(held)).cloned().collect();
        let mut rulings: Vec<Ruling> =
            hit.into_iter().filter_map(|indicator| self.lift(&indicator, Lifted::Refuted)).collect();
        rulings.extend(self.end_orders_where(Lifted::Refuted, |held, _, _| touches(held)));
        rulings
    }

    /// Enough weight, enough groups, the breaker closed, and the budget free for all who say so.
    fn may_preempt(&self, opinion: &Opinion, now: Moment) -> bool {
        let rules = &self.rules;
        if opinion.weight < rules.preempt_weight
            || opinion.groups < rules.preempt_groups
            || self.breaker(now).is_some()
        {
            return false;
        }
        let unconfirmed = || self.blocks.values().filter(|block| !block.confirmed);
        let young = unconfirmed().filter(|block| now.since(block.since) < rules.probation).count();
        let mut spent: BTreeMap<NodeId, f64> = BTreeMap::new();
        for block in unconfirmed() {
            let whole: f64 = block.opinion.shares.iter().map(|share| share.weight).sum();
            for share in &block.opinion.shares {
                *spent.entry(share.author).or_default() += share.weight / whole;
            }
        }
        let free = |author| spent.get(author).is_none_or(|spent| *spent < rules.author_budget);
        young < rules.budget && opinion.shares.iter().all(|share| free(&share.author))
    }

    fn is_talked_with(&self, indicator: &Indicator, now: Moment) -> bool {
        let talked = self.own.get(indicator).and_then(|own| own.talked);
        talked.is_some_and(|at| now.since(at) < self.rules.talked_for)
    }

    /// Not longer than the longest word about it holds.
    fn term(&self, indicator: &Indicator, wanted: Duration, now: Moment) -> Duration {
        let ends = self.live.about(indicator).map(|word| word.until).max().unwrap_or(now);
        wanted.min(self.rules.longest_term).min(ends.since(now))
    }

    /// The blocks that stand on the word of several groups in `net`.
    pub fn preempted_in(&self, net: Net) -> impl Iterator<Item = (&Indicator, &PeerBlock)> {
        let (first, last) = (Indicator::Net(net), Indicator::Net(Net::host(net.last())));
        self.blocks.range(first..=last).filter(|(_, held)| held.basis == Basis::Preempt)
    }

    pub(super) fn lift(&mut self, indicator: &Indicator, why: Lifted) -> Option<Ruling> {
        let block = self.blocks.remove(indicator)?;
        Some(Ruling::Lift { indicator: indicator.clone(), basis: block.basis, why })
    }

    /// Looks at all blocks without own evidence again, after trust moved or a word was taken back.
    pub(super) fn review(&mut self, members: &Members, now: Moment) -> Vec<Ruling> {
        let fallen: Vec<Indicator> = self
            .blocks
            .iter()
            .filter(|(_, block)| block.basis == Basis::Preempt && !block.confirmed)
            .filter(|(indicator, _)| self.opinion(indicator, members, now).weight < self.rules.lift_below)
            .map(|(indicator, _)| indicator.clone())
            .collect();
        fallen.into_iter().filter_map(|indicator| self.lift(&indicator, Lifted::WeightFell)).collect()
    }

    /// Lets time pass: words end, weights fade, blocks end or are renewed. Called every minute or so.
    pub fn tick(&mut self, members: &Members, now: Moment) -> Vec<Ruling> {
        self.live.expire(now);
        self.answers.expire(now);
        self.refuted.retain(|_, until| now < *until);
        self.punished.retain(|_, at| now.since(*at) < Duration::from_secs(86_400));
        let mut rulings = self.review(members, now);
        let over: Vec<Indicator> = self
            .blocks
            .iter()
            .filter(|(_, block)| block.until <= now)
            .map(|(held, _)| held.clone())
            .collect();
        for indicator in over {
            rulings.extend(self.renew(&indicator, members, now));
        }
        let over = self.end_orders_where(Lifted::Over, |_, _, until| until <= now);
        rulings.extend(self.reconsidered(over, members, now));
        rulings
    }

    /// A block whose time is over goes on while its weight stands; new words double its term.
    fn renew(&mut self, indicator: &Indicator, members: &Members, now: Moment) -> Option<Ruling> {
        let block = self.blocks.get(indicator)?.clone();
        let opinion = self.opinion(indicator, members, now);
        let stands = opinion.weight >= self.rules.lift_below && opinion.groups >= self.rules.preempt_groups;
        if block.basis != Basis::Preempt || !stands || self.mode != Mode::Preempt {
            return self.lift(indicator, Lifted::Over);
        }
        let begun = block.until.minus(block.term);
        let renewed = self.live.about(indicator).any(|word| word.at > begun);
        let wanted = if renewed { block.term.saturating_mul(2) } else { block.term };
        let term = self.term(indicator, wanted, now);
        if term.is_zero() {
            return self.lift(indicator, Lifted::Over);
        }
        let renewed = PeerBlock { until: now.plus(term), term, opinion: opinion.clone(), ..block };
        self.blocks.insert(indicator.clone(), renewed);
        Some(Ruling::Block { indicator: indicator.clone(), term, basis: Basis::Preempt, opinion })
    }

    /// The network could not be reached while blocks on advice stood, and could without them: all of them end and rest for an hour, and
    /// preempting for a day.
    pub fn watchdog(&mut self, now: Moment) -> Vec<Ruling> {
        let all: Vec<Indicator> = self.blocks.keys().cloned().collect();
        let mut rulings: Vec<Ruling> =
            all.into_iter().filter_map(|indicator| self.lift(&indicator, Lifted::Watchdog)).collect();
        rulings.extend(self.end_orders_where(Lifted::Watchdog, |_, _, _| true));
        let until = now.plus(self.rules.breaker_for);
        self.breaker = Some(until);
        self.rests = Some(now.plus(self.rules.rest_for));
        rulings.push(Ruling::BreakerOpen { until });
        rulings
    }

    /// Until when nothing at all is blocked on the word of peers, because the watchdog found that it cut this router off. A clock that was
    /// wrong then, or was set back since, makes it no longer than it can be.
    pub fn rests(&self, now: Moment) -> Option<Moment> {
        self.rests.filter(|until| now < *until && until.since(now) <= self.rules.rest_for)
    }
}
