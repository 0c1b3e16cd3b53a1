//! From what peers say to what is advised: the one owner of trust, live words, blocks on advice, budget and breaker.
//!
//! The daemon tells it what arrived ([`Council::hear`]), what its own detections found ([`Council::own`]), what the owner said
//! ([`Council::refute`]), and the time ([`Council::tick`]). What comes back are [`Ruling`]s. Whom the firewall protects is
//! checked here and by the firewall again. The constants and what they do against liars are in docs/trust.md.

mod answers;
mod blocks;
mod orders;
mod outcomes;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use slips_core::addr::Net;

use crate::gate::Accepted;
use crate::identity::NodeId;
use crate::indicator::Indicator;
use crate::live::{Caps, Credit, Live, Word};
use crate::members::Members;
use crate::message::{BlockRequest, Message, Reason, Report};
use crate::moment::Moment;
use crate::opinion::{self, Opinion, Voice};
use crate::roster::Role;
use crate::trust::{self, Gain, Loss, Standing};

use answers::Answers;
pub use answers::Said;
pub use blocks::{Basis, PeerBlock};
use orders::Orders;

/// How far peers may move us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// Only tell what would have been done. Orders of an authority are obeyed still.
    Observe,
    /// Peers lower the bar for what we see ourselves.
    Assist,
    /// Three independent groups that are believed can have a block before we see anything.
    Preempt,
}

impl Mode {
    /// Lower-case name, as in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Assist => "assist",
            Self::Preempt => "preempt",
        }
    }
}

/// The constants of the council. All weights of our own evidence are shares of the alert threshold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rules {
    /// How trust moves.
    pub trust: trust::Rules,
    /// How opinions are summed.
    pub opinion: opinion::Rules,
    /// How many words are kept.
    pub caps: Caps,
    /// Peers only help where our own evidence weighs at least so much.
    pub assist_from: f64,
    /// A weight of 1 of peers helps so much.
    pub assist_per_weight: f64,
    /// They never help more than this.
    pub assist_most: f64,
    /// From this weight of our own evidence on those who reported it before gain half of what an alert earns them. Twice what any host in
    /// use makes by chance, and as hard to make for a liar as half an attack that we see.
    pub half_from: f64,
    /// The weight that a block without own evidence needs.
    pub preempt_weight: f64,
    /// And so many groups.
    pub preempt_groups: usize,
    /// A block on advice ends when the weight falls below this.
    pub lift_below: f64,
    /// Most blocks without own evidence that begin within `probation` and that nothing of our own has confirmed yet.
    pub budget: usize,
    /// So young a block counts against the budget.
    pub probation: Duration,
    /// Most of the standing blocks, in parts of a block, that rest on one author's word and that nothing has confirmed yet.
    pub author_budget: f64,
    /// Whom our clients talked with, and nothing was found, is not blocked without own evidence for so long.
    pub talked_for: Duration,
    /// So many refutations within `breaker_for` end preempting for as long.
    pub breaker_after: usize,
    /// For so long.
    pub breaker_for: Duration,
    /// The first block on advice.
    pub first_term: Duration,
    /// The longest; each renewal that new reports confirm doubles the term.
    pub longest_term: Duration,
    /// Own evidence speaks for so long.
    pub own_for: Duration,
    /// After the watchdog nothing is blocked on the word of peers for so long.
    pub rest_for: Duration,
    /// The answers to our questions weigh no more than this together.
    pub answers_most: f64,
    /// What the owner refuted is not blocked on advice again for so long.
    pub refuted_for: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        let hours = |n: u64| Duration::from_secs(n * 3600);
        Self {
            trust: trust::Rules::default(),
            opinion: opinion::Rules::default(),
            caps: Caps::default(),
            assist_from: 0.25,
            assist_per_weight: 0.5,
            assist_most: 0.6,
            half_from: 0.5,
            preempt_weight: 1.2,
            preempt_groups: 3,
            lift_below: 0.6,
            budget: 16,
            probation: hours(4),
            author_budget: 5.0,
            talked_for: hours(24),
            breaker_after: 2,
            breaker_for: hours(24),
            first_term: hours(1),
            longest_term: hours(24),
            own_for: hours(1),
            rest_for: hours(1),
            answers_most: 0.4,
            refuted_for: hours(7 * 24),
        }
    }
}

/// What the council advises, or tells.
#[derive(Clone, Debug, PartialEq)]
pub enum Ruling {
    /// Block this for so long.
    Block {
        /// Whom.
        indicator: Indicator,
        /// For how long, from now on.
        term: Duration,
        /// On what ground.
        basis: Basis,
        /// Who said what.
        opinion: Opinion,
    },
    /// An authority orders a block of somebody who is protected.
    Refused {
        /// Whom.
        indicator: Indicator,
        /// Who orders it.
        by: NodeId,
    },
    /// In observe mode: it would have been blocked.
    WouldBlock {
        /// Whom.
        indicator: Indicator,
        /// On what ground.
        basis: Basis,
        /// Who said what.
        opinion: Opinion,
    },
    /// End the block on advice.
    Lift {
        /// Of whom.
        indicator: Indicator,
        /// Which of those that may stand: each ends for itself.
        basis: Basis,
        /// Why.
        why: Lifted,
    },
    /// A peer gained trust.
    Gained {
        /// Who.
        peer: NodeId,
        /// By what it said about whom.
        indicator: Indicator,
        /// Why.
        gain: Gain,
    },
    /// A peer lost trust.
    Lost {
        /// Who.
        peer: NodeId,
        /// By what it said about whom.
        indicator: Indicator,
        /// Why.
        loss: Loss,
    },
    /// A peer weighs nothing until the owner pardons it.
    Quarantined {
        /// Who.
        peer: NodeId,
    },
    /// No block without own evidence until then.
    BreakerOpen {
        /// When it closes.
        until: Moment,
    },
}

/// Why a block on advice ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifted {
    /// Its time was over and nothing renewed it.
    Over,
    /// Those who said it took it back, or lost their trust.
    WeightFell,
    /// The owner or our own traffic refuted it.
    Refuted,
    /// Who ordered it took the order back.
    OrderEnded,
    /// It became protected.
    Protected,
    /// The network was not reachable after it.
    Watchdog,
}

/// What our own detections know of an accused.
#[derive(Clone, Copy, Debug, Default)]
struct Own {
    /// Weight of own evidence as a share of the alert threshold.
    level: f64,
    at: Moment,
    /// How far the trust of those who reported it was settled by what we found.
    settled: Credit,
    /// When our own report went out.
    reported: Option<Moment>,
    assisted: bool,
    /// When our clients last talked with it for long, and nothing was found.
    talked: Option<Moment>,
}

/// The council of one router.
#[derive(Clone, Debug)]
pub struct Council {
    mode: Mode,
    rules: Rules,
    standings: BTreeMap<NodeId, Standing>,
    live: Live,
    own: BTreeMap<Indicator, Own>,
    own_order: BTreeSet<(Moment, Indicator)>,
    blocks: BTreeMap<Indicator, PeerBlock>,
    orders: Orders,
    answers: Answers,
    protected: Vec<Net>,
    canaries: BTreeSet<Indicator>,
    /// What the owner refuted, until when.
    refuted: BTreeMap<Indicator, Moment>,
    /// Whom each author was punished for, so that one lie repeated is one lie.
    punished: BTreeMap<(NodeId, Indicator), Moment>,
    refutations: Vec<(Moment, Indicator)>,
    breaker: Option<Moment>,
    rests: Option<Moment>,
}

/// Most accused of whom own evidence, refutations or punishments are remembered, each.
const REMEMBERED: usize = 16_384;

impl Council {
    /// A council without any experience.
    pub fn new(mode: Mode, rules: Rules) -> Self {
        Self {
            mode,
            rules,
            standings: BTreeMap::new(),
            live: Live::new(rules.caps),
            own: BTreeMap::new(),
            own_order: BTreeSet::new(),
            blocks: BTreeMap::new(),
            orders: Orders::default(),
            answers: Answers::default(),
            protected: Vec::new(),
            canaries: BTreeSet::new(),
            refuted: BTreeMap::new(),
            punished: BTreeMap::new(),
            refutations: Vec::new(),
            breaker: None,
            rests: None,
        }
    }

    /// Who is never blocked: changes with routes, resolvers and logins. Blocks that touch them end.
    pub fn protect(&mut self, nets: Vec<Net>) -> Vec<Ruling> {
        self.protected = nets;
        let hit: Vec<Indicator> = self.blocks.keys().filter(|x| self.is_protected(x)).cloned().collect();
        let mut rulings: Vec<Ruling> =
            hit.into_iter().filter_map(|indicator| self.lift(&indicator, Lifted::Protected)).collect();
        let ordered = self.orders.iter().map(|(held, ..)| held).filter(|held| self.is_protected(held));
        let ordered: BTreeSet<Indicator> = ordered.cloned().collect();
        rulings.extend(self.end_orders_where(Lifted::Protected, |held, _, _| ordered.contains(held)));
        rulings
    }

    /// Addresses of ours that nobody uses and nobody was told of: who reports one, lies.
    pub fn set_canaries(&mut self, canaries: impl IntoIterator<Item = Indicator>) {
        self.canaries = canaries.into_iter().collect();
    }

    fn is_protected(&self, indicator: &Indicator) -> bool {
        indicator.as_net().is_some_and(|net| self.protected.iter().any(|held| held.overlaps(net)))
    }

    fn is_canary(&self, indicator: &Indicator) -> bool {
        self.canaries.contains(indicator)
            || indicator.as_net().is_some_and(|net| {
                !indicator.is_single()
                    && self.canaries.iter().filter_map(Indicator::as_net).any(|held| held.overlaps(net))
            })
    }

    /// Takes what the gate let in.
    pub fn hear(&mut self, accepted: &Accepted, members: &Members, now: Moment) -> Vec<Ruling> {
        let head = &accepted.opened.head;
        let until = head.until().min(head.issued.plus(Duration::from_secs(86_400)));
        // A clock ahead of ours gives no report a longer life or more weight.
        let at = head.issued.min(now);
        match &accepted.opened.message {
            Message::Report(report) => self.hear_report(head.author, report, None, at, until, members, now),
            Message::Block(block) if accepted.author.may_order() => {
                self.order(head.author, block, at, until, now)
            }
            Message::Block(block) => {
                self.hear_report(head.author, &block.report, Some(block), at, until, members, now)
            }
            Message::Retract(retract) => {
                self.take_back(head.author, retract.indicator.as_ref(), retract.reason, members, now)
            }
            Message::Roster(_) | Message::Announce(_) | Message::List(_) => Vec::new(),
        }
    }

    /// An accusation of `author`, without an envelope: what the simulation and [`Council::hear`] share.
    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of one accusation; a struct would have this one user"
    )]
    pub fn hear_report(
        &mut self,
        author: NodeId,
        report: &Report,
        block: Option<&BlockRequest>,
        at: Moment,
        until: Moment,
        members: &Members,
        now: Moment,
    ) -> Vec<Ruling> {
        let indicator = &report.indicator;
        let mass = report.score.share() * report.confidence.share();
        let trap = if self.is_canary(indicator) {
            Some(Loss::Canary)
        } else if self.is_protected(indicator) {
            Some(Loss::Protected)
        } else {
            None
        };
        if let Some(loss) = trap {
            return self.caught(author, indicator, loss, mass, members, now);
        }
        // A report about many hosts is an authority's business.
        if !indicator.is_single() {
            return Vec::new();
        }
        self.live.put(Word {
            author,
            indicator: indicator.clone(),
            score: report.score,
            confidence: report.confidence,
            own_block: block.is_some_and(|block| block.own_block),
            at,
            until,
            heard: now,
            credited: Credit::None,
            refuted: false,
        });
        self.consider(indicator, members, now)
    }

    /// Tells what our own detections have on an accused now: `level` is the accumulated weight as a share of the alert threshold,
    /// without anything that came from peers or could be forged; 1 or more is an alert of our own.
    pub fn own(&mut self, indicator: &Indicator, level: f64, members: &Members, now: Moment) -> Vec<Ruling> {
        let mut settles = None;
        let Rules { own_for, half_from, .. } = self.rules;
        self.note_own(indicator, now, |own| {
            if now.since(own.at) > own_for {
                (own.settled, own.assisted) = (Credit::None, false);
            }
            let found = match level {
                _ if level >= 1.0 => Credit::Full,
                _ if level >= half_from => Credit::Half,
                _ => Credit::None,
            };
            settles = (found > own.settled).then_some(found);
            own.settled = own.settled.max(found);
            own.level = level;
        });
        let mut rulings = Vec::new();
        if let Some(found) = settles {
            rulings.extend(self.confirm(indicator, found, members, now));
        }
        rulings.extend(self.consider(indicator, members, now));
        rulings
    }

    /// Changes what we know of an accused ourselves; the one untouched longest makes room.
    fn note_own(&mut self, indicator: &Indicator, now: Moment, change: impl FnOnce(&mut Own)) {
        let own = self.own.entry(indicator.clone()).or_default();
        self.own_order.remove(&(own.at, indicator.clone()));
        change(own);
        own.at = now;
        self.own_order.insert((now, indicator.clone()));
        if self.own.len() > REMEMBERED
            && let Some((_, oldest)) = self.own_order.pop_first()
        {
            self.own.remove(&oldest);
        }
    }

    /// Our own report about it went out: who reports it from now on only echoes us.
    pub fn reported(&mut self, indicator: &Indicator, now: Moment) {
        if let Some(own) = self.own.get_mut(indicator) {
            own.reported.get_or_insert(now);
        }
    }

    fn own_level(&self, indicator: &Indicator, now: Moment) -> f64 {
        let own = self.own.get(indicator).filter(|own| now.since(own.at) <= self.rules.own_for);
        own.map_or(0.0, |own| own.level)
    }

    /// What peers say about `indicator`, weighed. Words of those who are peers no more weigh nothing.
    pub fn opinion(&self, indicator: &Indicator, members: &Members, now: Moment) -> Opinion {
        let voices = self.live.about(indicator).filter(|word| word.until > now).filter_map(|word| {
            let weighed = voice(self, word.author, members, now)?;
            Some(Voice {
                mass: word.mass(),
                own_block: word.own_block && weighed.own_block,
                at: word.at,
                ..weighed
            })
        });
        let opinion = Opinion::of(voices, &self.rules.opinion, now);
        Opinion { answered: self.answered(indicator, members, now), ..opinion }
    }

    /// How much peers help own evidence, as a share of the alert threshold.
    pub fn help(&self, opinion: &Opinion) -> f64 {
        (self.rules.assist_per_weight * (opinion.weight + opinion.answered)).min(self.rules.assist_most)
    }

    fn standing(&self, peer: NodeId, base: f64, now: Moment) -> Standing {
        // The owner may change the configured weight at any time; experience stays.
        match self.standings.get(&peer) {
            Some(standing) => Standing { base, ..*standing },
            None => Standing::new(base, now),
        }
    }

    fn standing_mut(&mut self, peer: NodeId, members: &Members, now: Moment) -> Option<&mut Standing> {
        let base = members.find(peer, now)?.base;
        let standing = self.standings.entry(peer).or_insert_with(|| Standing::new(base, now));
        standing.base = base;
        Some(standing)
    }

    /// How far `peer` is believed now.
    pub fn trust(&self, peer: NodeId, members: &Members, now: Moment) -> f64 {
        let base = members.find(peer, now).map_or(0.0, |member| member.base);
        self.standing(peer, base, now).trust(&self.rules.trust, now)
    }

    /// Whether `peer` weighs nothing until the owner pardons it.
    pub fn is_quarantined(&self, peer: NodeId) -> bool {
        self.standings.get(&peer).is_some_and(|standing| standing.quarantined)
    }

    /// All that is known of peers, for disk.
    pub fn standings(&self) -> impl Iterator<Item = (NodeId, Standing)> + '_ {
        self.standings.iter().map(|(peer, standing)| (*peer, *standing))
    }

    /// Takes back what [`Council::standings`] gave.
    pub fn restore_standing(&mut self, peer: NodeId, standing: Standing) {
        self.standings.insert(peer, standing);
    }

    /// What the owner refuted, and until when it is not blocked on advice; for disk.
    pub fn refuted(&self) -> impl Iterator<Item = (&Indicator, Moment)> {
        self.refuted.iter().map(|(indicator, until)| (indicator, *until))
    }

    /// Takes back what [`Council::refuted`] gave.
    pub fn restore_refuted(&mut self, indicator: Indicator, until: Moment) {
        if self.refuted.len() < REMEMBERED {
            self.refuted.insert(indicator, until);
        }
    }

    /// Takes back what [`Council::breaker`] gave before a restart.
    pub const fn restore_breaker(&mut self, until: Moment) {
        self.breaker = Some(until);
    }

    /// Takes back what [`Council::rests`] gave before a restart.
    pub const fn restore_rests(&mut self, until: Moment) {
        self.rests = Some(until);
    }

    /// The owner pardons a peer: it begins again from its configured weight.
    pub fn pardon(&mut self, peer: NodeId, now: Moment) {
        if let Some(standing) = self.standings.get_mut(&peer) {
            standing.pardon(now);
        }
    }

    /// Forgets a peer that was removed: its words, not what it earned (it could come back clean).
    pub fn removed(&mut self, peer: NodeId, members: &Members, now: Moment) -> Vec<Ruling> {
        self.take_back(peer, None, Reason::KeyCompromised, members, now)
    }

    /// What peers say now.
    pub const fn live(&self) -> &Live {
        &self.live
    }

    /// How far peers may move us.
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// Until when nothing is blocked without own evidence, if the breaker is open.
    pub fn breaker(&self, now: Moment) -> Option<Moment> {
        self.breaker.filter(|until| now < *until && until.since(now) <= self.rules.breaker_for)
    }
}

/// How `author` is weighed, if it is heard at all; `own_block` is whether its own blocks count. It says nothing yet.
fn voice(council: &Council, author: NodeId, members: &Members, now: Moment) -> Option<Voice> {
    let member = members.find(author, now)?;
    if member.role < Role::Reporter || member.base <= 0.0 {
        return None;
    }
    Some(Voice {
        author,
        group: member.group,
        group_cap: member.group_cap,
        trust: council.standing(author, member.base, now).trust(&council.rules.trust, now),
        mass: 0.0,
        own_block: member.role >= Role::Blamer,
        at: now,
    })
}
