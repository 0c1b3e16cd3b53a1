//! Many changes at once: what comes in together becomes one transaction of the book and then one of the kernel, and is told after both.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use slips_core::addr::Net;
use slips_core::alert::{Alert, AlertId};
use slips_core::time::{PacketTime, Span};
use slips_firewall::{BlockRequest, Error, Outcome, Pending, Refusal, provider};
use slips_store::{BlockId, render};

use super::holds::{Hold, Holder, Standing, hosts_in};
use super::{Responder, micros, reason_of, text_of};
use crate::config::Mode;
use crate::control::api::news::Blocked;
use crate::daemon::entries;
use crate::daemon::verdict::{self, Sentence, Verdict};

/// A block is lengthened only when it would end this much later: an attack that goes on alerts many times a second.
const WORTH_EXTENDING: Duration = Duration::from_secs(1);
/// So many changes are one transaction at most, which takes the kernel less than two milliseconds.
pub(super) const MAX_CHANGES: usize = 2000;
/// So many blocks of peers make room at once for one of our own.
const ROOM: usize = 64;
/// Of how many newly blocked the open connections are ended at once.
const MAX_FRESH: usize = 1024;

/// Why a network is to be blocked.
#[derive(Clone)]
pub(super) enum Ground {
    Alert(Arc<Alert>, Sentence),
    /// A person's or a peer's word.
    Word(String),
    /// Another daemon held it, whose place this one takes: why, and by which alert.
    Left(String, Option<AlertId>),
}

impl Ground {
    /// Why in words, and by which alert.
    pub(super) fn told(&self) -> (String, Option<AlertId>) {
        match self {
            Self::Alert(alert, _) => (reason_of(alert), Some(alert.id)),
            Self::Word(why) => (why.clone(), None),
            Self::Left(why, alert) => (why.clone(), *alert),
        }
    }
}

/// A block that is to be.
pub(super) struct Wanted {
    pub(super) net: Net,
    pub(super) hold: Hold,
    pub(super) ground: Ground,
    /// Its row in the book is there already, taken back: the kernel did not take it before.
    pub(super) again: Option<BlockId>,
}

/// A hold that is to end.
pub(super) struct Lift {
    pub(super) net: Net,
    pub(super) by: Holder,
    pub(super) why: &'static str,
}

/// What is told when all is done, in the order in which it came.
enum Told {
    Alert(Arc<Alert>),
    Refused(Arc<Alert>, String),
    Wanted(usize),
    Lifted(usize),
}

impl Told {
    /// The alert, where one is told of.
    fn alert(&self) -> Option<&Alert> {
        match self {
            Self::Alert(alert) => Some(alert),
            Self::Refused(..) | Self::Wanted(_) | Self::Lifted(_) => None,
        }
    }
}

/// Changes that are to take effect together. No network is in it twice.
#[derive(Default)]
pub(super) struct Batch {
    told: Vec<Told>,
    wanted: Vec<Wanted>,
    lifts: Vec<Lift>,
    touched: BTreeSet<Net>,
    /// Newly blocked on packets whose sender could be forged, and those that make room for them.
    unproven: usize,
    making_room: usize,
    /// Of each /32 of IPv6, the /64 that are newly blocked after alerts and those that make room for them.
    of_provider: BTreeMap<Net, Pending>,
}

/// What became of a wanted block.
#[derive(Debug)]
pub(super) enum Done {
    Held,
    Refused(Refusal),
    Failed(String),
}

impl Batch {
    pub(super) fn is_full(&self) -> bool {
        self.told.len() >= MAX_CHANGES || self.wanted.len() + self.lifts.len() >= MAX_CHANGES
    }

    pub(super) fn wanted(&self) -> usize {
        self.wanted.len()
    }

    fn refuse(&mut self, alert: &Arc<Alert>, reason: String) {
        self.told.push(Told::Refused(Arc::clone(alert), reason));
    }

    pub(super) fn want(&mut self, wanted: Wanted) {
        self.touched.insert(wanted.net);
        self.told.push(Told::Wanted(self.wanted.len()));
        self.wanted.push(wanted);
    }

    pub(super) fn lift(&mut self, net: Net, by: Holder, why: &'static str) {
        self.touched.insert(net);
        self.told.push(Told::Lifted(self.lifts.len()));
        self.lifts.push(Lift { net, by, why });
    }
}

impl Responder {
    /// Takes an alert into a batch.
    pub(super) fn decide(&mut self, batch: &mut Batch, alert: &Arc<Alert>) {
        batch.told.push(Told::Alert(Arc::clone(alert)));
        if self.idle {
            return batch.refuse(alert, "another daemon acts in place of this one".to_owned());
        }
        match verdict::decide(alert, &self.policy) {
            Verdict::Leave(reason) => batch.refuse(alert, reason.to_string()),
            Verdict::Block(sentence) => self.sentence(batch, alert, sentence, None),
        }
    }

    /// Takes an attacker that is to be blocked into a batch, unless he is already for so long, or must not be.
    pub(super) fn sentence(
        &mut self,
        batch: &mut Batch,
        alert: &Arc<Alert>,
        sentence: Sentence,
        again: Option<(Net, BlockId)>,
    ) {
        let Sentence { term, unproven, manner } = sentence;
        let asked = BlockRequest::new(Net::host(alert.attacker), term, "");
        // One host of ours is one host, also behind another router: its /64 has others.
        let exact = unproven || self.standing.is_inside(Net::host(alert.attacker));
        let (net, term) = match self.judge(&BlockRequest { exact, ..asked }) {
            Ok(judged) => judged,
            Err(refusal) => return batch.refuse(alert, refusal),
        };
        self.make_way(batch, net);
        if let Some(reason) = self.too_many_inside(batch, net) {
            return batch.refuse(alert, reason);
        }
        // What could be forged does not grow: somebody else may be behind it each time.
        let term = if unproven { term } else { self.escalated(net, term).max(self.policy.shortest_term.0) };
        let held = self.standing.get(net);
        let known = held.and_then(|standing| standing.of(&Holder::Alert)).cloned();
        let is_new = held.is_none();
        if !unproven && known.as_ref().is_some_and(|hold| hold.unproven) {
            self.prove(net);
        }
        let now = (self.clocks.steady)();
        let left = self.standing.ours_until(net).saturating_sub(now);
        if left.saturating_add(WORTH_EXTENDING) >= term {
            return;
        }
        if unproven && is_new {
            self.make_room(batch);
            batch.unproven += 1;
        }
        if !unproven && is_new {
            self.keep_share(batch, net);
        }
        let hold = Hold {
            by: Holder::Alert,
            since: known.as_ref().map_or(now, |hold| hold.since),
            until: now.saturating_add(term),
            id: known.as_ref().and_then(|hold| hold.id),
            unproven: unproven && known.as_ref().is_none_or(|hold| hold.unproven),
            // As the book has it.
            manner: known.map_or(manner, |hold| hold.manner),
        };
        let ground = Ground::Alert(Arc::clone(alert), sentence);
        let again = again.filter(|(before, _)| *before == net).map(|(_, id)| id);
        batch.want(Wanted { net, hold: hold.clone(), ground, again });
        self.widen(batch, alert, sentence, &hold, net);
    }

    /// What a request would block, and for how long.
    pub(super) fn judge(&mut self, asked: &BlockRequest) -> Result<(Net, Duration), String> {
        // Without a firewall it is tried again later, and judged then.
        let Ok(firewall) = self.firewall() else { return Ok((asked.net, asked.for_)) };
        firewall.judge(asked).map_err(|refusal| refusal.to_string())
    }

    /// A network is in a batch once: what comes later builds on what came before.
    pub(super) fn make_way(&mut self, batch: &mut Batch, net: Net) {
        if batch.touched.contains(&net) {
            self.commit(batch);
        }
    }

    /// Why no more of our own networks is blocked, whoever asks for it, if so much is that the network would stand still.
    pub(super) fn too_many_inside(&mut self, batch: &mut Batch, net: Net) -> Option<String> {
        /// So many hosts of our own networks may be blocked, however few there are.
        const ALWAYS: usize = 3;
        if !self.standing.is_inside(net) || self.standing.get(net).is_some() {
            return None;
        }
        self.commit(batch);
        let blocked = self.standing.blocked_inside();
        let others = blocked.saturating_add(hosts_in(net)).saturating_sub(1);
        if others < ALWAYS {
            return None;
        }
        let (hosts, share) = ((self.ways.neighbours)(), usize::from(self.policy.internal_share));
        (others.saturating_mul(100) >= hosts.saturating_mul(share)).then(|| {
            format!("{blocked} of {hosts} hosts of our own networks are blocked; firewall.internal_share is {share} %")
        })
    }

    /// At the cap of blocks on unproven evidence the oldest of them goes: whoever forges senders must not keep out, by filling
    /// the room, what is seen later.
    fn make_room(&mut self, batch: &mut Batch) {
        loop {
            let stand = self.standing.unproven() + batch.unproven - batch.making_room;
            if stand < self.policy.unproven_cap {
                return;
            }
            let Some(net) = self.standing.oldest_unproven(batch.making_room) else {
                // All of them are in this batch.
                if batch.unproven == 0 {
                    return;
                }
                self.commit(batch);
                continue;
            };
            if batch.touched.contains(&net) {
                self.commit(batch);
                continue;
            }
            batch.making_room += 1;
            batch.lift(
                net,
                Holder::Alert,
                "its sender could be forged, and a newer such block took its place",
            );
        }
    }

    /// Who attacks from a whole /32 of IPv6 gets a part of the set and no more: what of it ends first makes room.
    fn keep_share(&mut self, batch: &mut Batch, net: Net) {
        let Some(provider) = provider(net) else { return };
        loop {
            let pending = batch.of_provider.get(&provider).copied().unwrap_or_default();
            let room = self.firewall.as_ref().map(|firewall| firewall.makes_room(net, pending));
            match room {
                None | Some(Ok(None)) => break,
                Some(Ok(Some(going))) if !batch.touched.contains(&going) => {
                    batch.of_provider.entry(provider).or_default().leaving += 1;
                    let why = "others of its provider's /32 took its place, which has its share";
                    batch.lift(going, Holder::Alert, why);
                    break;
                }
                // It is in this batch, or all are.
                Some(_) if batch.touched.is_empty() => break,
                Some(_) => drop(self.commit(batch)),
            }
        }
        batch.of_provider.entry(provider).or_default().coming += 1;
    }

    /// Where an owner of many networks of IPv6 is blocked as one: his /56 with the one that he attacks from now, for the time of a first block
    /// and no longer than that one. Strangers may be in it: so never while one of our hosts talks with somebody there.
    fn widen(&mut self, batch: &mut Batch, alert: &Arc<Alert>, sentence: Sentence, subnet: &Hold, net: Net) {
        if !self.policy.widen_ipv6 || subnet.unproven || alert.near_conversation {
            return;
        }
        let wide = self.firewall.as_ref().and_then(|firewall| firewall.widened(net, &batch.touched));
        // One that is in this batch is so for as long.
        let Some(wide) = wide.filter(|wide| !batch.touched.contains(wide)) else { return };
        let now = (self.clocks.steady)();
        let until = subnet.until.min(now.saturating_add(sentence.term));
        if self.standing.ours_until(wide).saturating_add(WORTH_EXTENDING) >= until {
            return;
        }
        let known = self.standing.get(wide).and_then(|standing| standing.of(&Holder::Alert));
        let hold = Hold {
            since: known.map_or(now, |hold| hold.since),
            until,
            id: known.and_then(|hold| hold.id),
            ..subnet.clone()
        };
        let ground = Ground::Alert(Arc::clone(alert), sentence);
        batch.want(Wanted { net: wide, hold, ground, again: None });
    }

    /// Better evidence stands behind a block: it no longer makes room for others.
    fn prove(&mut self, net: Net) {
        if let Some(id) = self.standing.prove(net) {
            self.in_book(|book| book.prove(id).map(drop));
        }
    }

    /// Lets a batch take effect: the book first, then the kernel, then the journal. What became of each wanted block.
    pub(super) fn commit(&mut self, batch: &mut Batch) -> Vec<Done> {
        let Batch { told, mut wanted, lifts, .. } = std::mem::take(batch);
        if told.is_empty() && wanted.is_empty() && lifts.is_empty() {
            return Vec::new();
        }
        let alerts: Vec<&Alert> = told.iter().filter_map(Told::alert).collect();
        self.unsaved += alerts.len() + wanted.len() + lifts.len();
        self.enter(&alerts, &mut wanted, &lifts);
        let renewals = self.renewals;
        let lifted: Vec<bool> =
            lifts.iter().map(|lift| self.standing.take(lift.net, &lift.by).is_some()).collect();
        let let_in: Vec<Net> = lifts.iter().map(|lift| lift.net).collect();
        let mut done = Vec::with_capacity(wanted.len());
        self.bring_in(&let_in, &wanted, &mut done);
        if self.renewals != renewals {
            self.enter(&alerts, &mut wanted, &[]);
        }
        self.settle(&wanted, &done);
        self.count();
        self.tell(&told, &wanted, &lifts, &lifted, &done);
        self.try_later(wanted, &done);
        done
    }

    /// Brings a part of a batch into the kernel: in one transaction, and where a set is full in several, so that one that has no room keeps
    /// nobody else out. Adds what became of each.
    fn bring_in(&mut self, let_in: &[Net], wanted: &[Wanted], done: &mut Vec<Done>) {
        match self.exchange(let_in, wanted) {
            Ok(outcomes) => done.extend(outcomes.into_iter().map(|outcome| match outcome {
                Outcome::Refused(refusal) => Done::Refused(refusal),
                _ => Done::Held,
            })),
            Err(Error::Full { .. }) if !let_in.is_empty() && !wanted.is_empty() => {
                self.bring_in(let_in, &[], done);
                self.bring_in(&[], wanted, done);
            }
            Err(Error::Full { .. }) if wanted.len() > 1 => {
                let (one, other) = wanted.split_at(wanted.len() / 2);
                self.bring_in(&[], one, done);
                self.bring_in(&[], other, done);
            }
            Err(Error::Full { .. }) if self.make_room_in_kernel(wanted) => self.bring_in(&[], wanted, done),
            Err(error) => {
                // Who was to be let in is out of the book and of our memory: the next time the kernel is made equal to them.
                self.unrestored |= !let_in.is_empty();
                let text = text_of(&error);
                self.complain("the firewall", &text);
                done.extend(wanted.iter().map(|_| Done::Failed(text.clone())));
            }
        }
    }

    /// One transaction of the kernel: some are let in, unless somebody else holds them, and others blocked.
    pub(super) fn exchange(&mut self, let_in: &[Net], wanted: &[Wanted]) -> Result<Vec<Outcome>, Error> {
        let now = (self.clocks.steady)();
        let mut held: BTreeSet<Net> =
            let_in.iter().copied().filter(|net| self.standing.get(*net).is_some()).collect();
        // A network that is let in is so out of wider ones, too.
        for net in let_in {
            held.extend(self.standing.wide_around(*net));
        }
        let stay = held.iter().filter_map(|net| Some(self.standing.get(*net)?.request(*net, now)));
        let block = wanted.iter().map(|wanted| {
            let mut standing = self.standing.get(wanted.net).cloned().unwrap_or_default();
            standing.put(wanted.hold.clone());
            standing.request(wanted.net, now)
        });
        let requests: Vec<BlockRequest> = stay.chain(block).collect();
        let mut outcomes = self.firewall()?.exchange(let_in, requests)?;
        Ok(outcomes.split_off(held.len()))
    }

    /// Where a set is full, blocks of peers make room for one of our own; whether there were any.
    fn make_room_in_kernel(&mut self, wanted: &[Wanted]) -> bool {
        let own = wanted.iter().find(|wanted| !wanted.hold.by.is_of_others());
        let lent = own.map(|wanted| self.standing.lent(wanted.net, ROOM)).unwrap_or_default();
        if lent.is_empty() {
            return false;
        }
        self.end_all(&lent, "firewall", "a block of this host's own needs its room");
        // A part of this batch that is in the kernel already may be among them: then it is brought in again.
        self.unrestored = true;
        self.exchange(&lent, &[]).is_ok()
    }

    /// Notes in memory and in the book what the kernel did.
    fn settle(&mut self, wanted: &[Wanted], done: &[Done]) {
        let (now, wall) = ((self.clocks.steady)(), (self.clocks.wall)());
        let mut held = Vec::with_capacity(wanted.len());
        let mut not = Vec::new();
        for (Wanted { net, hold, .. }, done) in wanted.iter().zip(done) {
            if matches!(done, Done::Held) {
                held.extend(hold.id);
                if self.standing.get(*net).is_none() && self.fresh.len() < MAX_FRESH {
                    self.fresh.push(*net);
                }
                self.standing.put(*net, hold.clone());
                continue;
            }
            // What stood before this attempt still does.
            let before = self.standing.get(*net).and_then(|standing| standing.of(&hold.by));
            let before = before.map(|hold| wall.saturating_add(micros(hold.until.saturating_sub(now))));
            not.extend(hold.id.map(|id| (id, before)));
        }
        if held.is_empty() && not.is_empty() {
            return;
        }
        self.in_book(|book| {
            book.all(|book| {
                for id in held {
                    book.set_applied(id, true)?;
                }
                for (id, before) in not {
                    match before {
                        Some(until) => book.end_at(id, until)?,
                        None => book.lift(id, wall)?,
                    };
                }
                Ok(())
            })
        });
    }

    fn tell(&mut self, told: &[Told], wanted: &[Wanted], lifts: &[Lift], lifted: &[bool], done: &[Done]) {
        for told in told {
            match told {
                Told::Alert(alert) => drop(self.journal.send(&entries::alert(alert))),
                Told::Refused(alert, reason) => self.refused(alert, reason),
                Told::Wanted(at) => {
                    if let (Some(wanted), Some(done)) = (wanted.get(*at), done.get(*at)) {
                        self.tell_of(wanted, done);
                    }
                }
                Told::Lifted(at) => {
                    if let (Some(lift), Some(true)) = (lifts.get(*at), lifted.get(*at))
                        && self.standing.get(lift.net).is_none()
                    {
                        self.report_unblock(lift.net, lift.why);
                        self.say_of(&lift.by, &entries::unblock(lift.net, lift.why));
                    }
                }
            }
        }
    }

    fn tell_of(&mut self, Wanted { net, hold, ground, .. }: &Wanted, done: &Done) {
        let (wall, mode) = (PacketTime((self.clocks.wall)()), self.policy.mode);
        let term = hold.until.saturating_sub((self.clocks.steady)());
        if let (Done::Held, Some(reporter)) = (done, &self.reporter) {
            reporter.blocked(|| told_block(*net, hold, ground, wall + Span(micros(term)), mode));
        }
        match (done, ground) {
            (Done::Held, Ground::Alert(alert, _)) => {
                self.journal.send(&entries::block(*net, alert, term, wall, mode));
            }
            (Done::Held, Ground::Word(why)) => {
                let source = hold.by.source();
                let entry = entries::block_on_word(*net, &source, term, wall, why, mode);
                self.say_of(&hold.by, &entry);
            }
            (Done::Refused(refusal), Ground::Alert(alert, _)) => self.refused(alert, &refusal.to_string()),
            (Done::Refused(refusal), Ground::Word(why)) => {
                self.refuse_word(*net, &hold.by, &refusal.to_string(), why);
            }
            // Those are counted together.
            (_, Ground::Left(..)) | (Done::Failed(_), _) => {}
        }
    }

    /// Ends blocks of which nobody is left that holds them, in memory, the book and the journal. `by` is who ends them: `hand`, `whitelist`,
    /// `protected` or `firewall`.
    pub(super) fn end_all(&mut self, nets: &[Net], by: &str, why: &str) {
        let wall = (self.clocks.wall)();
        let gone: Vec<(Net, Standing)> =
            nets.iter().filter_map(|net| Some((*net, self.standing.remove(*net)?))).collect();
        let ids: Vec<BlockId> =
            gone.iter().flat_map(|(_, standing)| standing.holds()).filter_map(|hold| hold.id).collect();
        self.in_book(|book| {
            book.all(|book| ids.into_iter().try_for_each(|id| book.lift_for(id, wall, by, why).map(drop)))
        });
        for (net, _) in gone {
            self.report_unblock(net, why);
            self.journal.send(&entries::unblock(net, why));
        }
        self.count();
    }
}

/// A block as those hear of it who follow.
fn told_block(net: Net, hold: &Hold, ground: &Ground, until: PacketTime, mode: Mode) -> Blocked {
    let (reason, alert) = ground.told();
    Blocked {
        net: net.to_string(),
        until: render::iso(until),
        source: hold.by.source(),
        reason,
        alert: alert.map(|alert| alert.to_string()),
        enforced: mode == Mode::Enforce,
    }
}
