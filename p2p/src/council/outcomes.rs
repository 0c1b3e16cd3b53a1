//! How experience moves trust: confirmations, refutations, traps and retractions.

use std::time::Duration;

use super::{Council, Lifted, REMEMBERED, Ruling};
use crate::identity::NodeId;
use crate::indicator::Indicator;
use crate::live::Credit;
use crate::members::Members;
use crate::message::Reason;
use crate::moment::Moment;
use crate::trust::{Gain, Loss};

/// Who takes a report back so soon loses a little; later nothing, as attacks end.
const SOON: Duration = Duration::from_secs(3600);

impl Council {
    /// Our own detections confirm what was said: by an alert ([`Credit::Full`]), or by evidence that is not enough for one. Only those gain
    /// whose word was here before our own report went out, and an alert adds to what the evidence before it earned them.
    pub(super) fn confirm(
        &mut self,
        indicator: &Indicator,
        found: Credit,
        members: &Members,
        now: Moment,
    ) -> Vec<Ruling> {
        if let Some(block) = self.blocks.get_mut(indicator) {
            block.confirmed = true;
        }
        let reported = self.own.get(indicator).and_then(|own| own.reported);
        let earned = |heard: Moment| reported.is_none_or(|reported| heard < reported);
        let mut heard: Vec<(Moment, Moment, NodeId, Credit)> = self
            .live
            .about(indicator)
            .filter(|word| !word.refuted && word.until > now && earned(word.heard))
            .map(|word| (word.heard, word.at, word.author, word.credited))
            .collect();
        heard.sort_unstable();
        self.live.mark(indicator, |word| {
            if earned(word.heard) {
                word.credited = word.credited.max(found);
            }
        });
        let mut rulings = Vec::new();
        for (nth, (_, _, author, before)) in heard.into_iter().enumerate() {
            let gain = match (found, before, nth) {
                (Credit::Half, Credit::None, _) => Gain::Half,
                (Credit::Full, Credit::None, 0) => Gain::First,
                (Credit::Full, Credit::None, _) => Gain::Also,
                // The other half.
                (Credit::Full, Credit::Half, 0) => Gain::Half,
                _ => continue,
            };
            let rules = self.rules.trust;
            let gained =
                self.standing_mut(author, members, now).is_some_and(|peer| peer.gain(&rules, gain, now));
            if gained {
                rulings.push(Ruling::Gained { peer: author, indicator: indicator.clone(), gain });
            }
        }
        rulings
    }

    /// What was said is wrong: by the owner's word ([`Loss::Owner`]) or by our own traffic ([`Loss::Benign`]).
    pub fn refute(
        &mut self,
        indicator: &Indicator,
        loss: Loss,
        members: &Members,
        now: Moment,
    ) -> Vec<Ruling> {
        let blocked = self.blocks.contains_key(indicator);
        let liars: Vec<(NodeId, f64)> = self
            .live
            .about(indicator)
            .filter(|word| !word.refuted && word.until > now)
            .map(|word| (word.author, word.mass()))
            .collect();
        self.live.mark(indicator, |word| word.refuted = true);
        let mut rulings = Vec::new();
        match loss {
            Loss::Owner => self.remember_refuted(indicator, now),
            Loss::Benign => self.note_own(indicator, now, |own| {
                // What speaks for it does not make older evidence younger.
                own.level = 0.0;
                own.talked = Some(now);
            }),
            Loss::Canary | Loss::Protected | Loss::Retracted => {}
        }
        rulings.extend(self.lift(indicator, Lifted::Refuted));
        if loss == Loss::Owner {
            rulings.extend(self.end_orders_where(Lifted::Refuted, |held, _, _| held == indicator));
        }
        let believed_less = !liars.is_empty();
        for (author, mass) in liars {
            rulings.extend(self.punish(author, indicator, loss, mass, members, now));
        }
        if blocked && loss == Loss::Owner {
            rulings.extend(self.trip(indicator, now));
        }
        if believed_less {
            rulings.extend(self.review(members, now));
        }
        rulings
    }

    /// Somebody reported a canary or a protected address.
    pub(super) fn caught(
        &mut self,
        author: NodeId,
        indicator: &Indicator,
        loss: Loss,
        mass: f64,
        members: &Members,
        now: Moment,
    ) -> Vec<Ruling> {
        let believed = self.trust(author, members, now) > self.rules.trust.quarantine_below;
        let key = (author, indicator.clone());
        let again = self.punished.get(&key).is_some_and(|at| now.since(*at) < Duration::from_secs(86_400));
        if again {
            return Vec::new();
        }
        if self.punished.len() >= REMEMBERED {
            self.punished.pop_first();
        }
        self.punished.insert(key, now);
        let mut rulings = self.punish(author, indicator, loss, mass, members, now);
        // Who weighs nothing anyway cannot take preempting from us, too.
        if believed {
            rulings.extend(self.trip(indicator, now));
        }
        rulings.extend(self.review(members, now));
        rulings
    }

    fn punish(
        &mut self,
        author: NodeId,
        indicator: &Indicator,
        loss: Loss,
        mass: f64,
        members: &Members,
        now: Moment,
    ) -> Vec<Ruling> {
        let rules = self.rules.trust;
        let Some(standing) = self.standing_mut(author, members, now) else { return Vec::new() };
        let fell = standing.lose(&rules, loss, mass, now);
        let mut rulings = vec![Ruling::Lost { peer: author, indicator: indicator.clone(), loss }];
        if fell {
            rulings.push(Ruling::Quarantined { peer: author });
            rulings.extend(self.end_orders(author, None, members, now));
        }
        rulings
    }

    fn remember_refuted(&mut self, indicator: &Indicator, now: Moment) {
        if self.refuted.len() >= REMEMBERED {
            self.refuted.pop_first();
        }
        self.refuted.insert(indicator.clone(), now.plus(self.rules.refuted_for));
    }

    /// Two different refutations within a day: no block without own evidence for a day.
    fn trip(&mut self, indicator: &Indicator, now: Moment) -> Option<Ruling> {
        self.refutations.retain(|(at, _)| now.since(*at) < self.rules.breaker_for);
        if !self.refutations.iter().any(|(_, known)| known == indicator) {
            self.refutations.push((now, indicator.clone()));
        }
        if self.refutations.len() < self.rules.breaker_after || self.breaker(now).is_some() {
            return None;
        }
        let until = now.plus(self.rules.breaker_for);
        self.breaker = Some(until);
        self.refutations.clear();
        Some(Ruling::BreakerOpen { until })
    }

    /// An author takes back what it said about `indicator`, or (None) everything.
    pub fn take_back(
        &mut self,
        author: NodeId,
        indicator: Option<&Indicator>,
        reason: Reason,
        members: &Members,
        now: Moment,
    ) -> Vec<Ruling> {
        let words = match indicator {
            Some(indicator) => self.live.take_back(author, indicator).into_iter().collect(),
            None => self.live.forget(author),
        };
        self.answers.forget(author, indicator);
        let mut rulings = self.end_orders(author, indicator, members, now);
        for word in words {
            let soon = now.since(word.heard) < SOON && reason == Reason::FalsePositive;
            if soon && !word.refuted {
                let lost = self.punish(author, &word.indicator, Loss::Retracted, word.mass(), members, now);
                rulings.extend(lost);
            }
        }
        rulings.extend(self.review(members, now));
        rulings
    }
}
