//! Orders of authorities: obeyed at once, whatever the mode.
//!
//! Several authorities may order about one accused, each for as long as it says. It is blocked as long as any of them holds it; who takes an
//! order back takes back its own only, and an older order never ends a younger one's. The owner's hand ends them all.

use std::collections::{BTreeMap, BTreeSet};

use slips_core::addr::Net;

use super::{Basis, Council, Lifted, Ruling};
use crate::identity::NodeId;
use crate::indicator::Indicator;
use crate::members::Members;
use crate::message::BlockRequest;
use crate::moment::Moment;
use crate::opinion::Opinion;

/// Most orders at once, and most of one authority: one that is taken over leaves room for the others.
const MOST: usize = 4096;
const MOST_OF_ONE: usize = 1024;

/// The orders that stand: who holds whom, and until when.
#[derive(Clone, Debug, Default)]
pub(super) struct Orders {
    held: BTreeMap<(Indicator, NodeId), Moment>,
    of: BTreeMap<NodeId, usize>,
}

impl Orders {
    fn put(&mut self, indicator: &Indicator, author: NodeId, until: Moment) -> bool {
        let key = (indicator.clone(), author);
        let known = self.held.contains_key(&key);
        let full = || self.held.len() >= MOST || self.of.get(&author).is_some_and(|n| *n >= MOST_OF_ONE);
        if !known && full() {
            return false;
        }
        if !known {
            *self.of.entry(author).or_default() += 1;
        }
        self.held.insert(key, until);
        true
    }

    fn take(&mut self, indicator: &Indicator, author: NodeId) -> bool {
        let taken = self.held.remove(&(indicator.clone(), author)).is_some();
        if taken && let Some(held) = self.of.get_mut(&author) {
            *held -= 1;
            if *held == 0 {
                self.of.remove(&author);
            }
        }
        taken
    }

    /// Whether any authority holds it.
    pub(super) fn holds(&self, indicator: &Indicator) -> bool {
        let all = (indicator.clone(), NodeId([0; 32]))..=(indicator.clone(), NodeId([255; 32]));
        self.held.range(all).next().is_some()
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Indicator, NodeId, Moment)> {
        self.held.iter().map(|((indicator, author), until)| (indicator, *author, *until))
    }
}

impl Council {
    /// An authority's block: never of the protected, not while the authority is in quarantine, and not what the owner lifted.
    pub(super) fn order(
        &mut self,
        author: NodeId,
        request: &BlockRequest,
        at: Moment,
        until: Moment,
        now: Moment,
    ) -> Vec<Ruling> {
        let indicator = &request.report.indicator;
        if self.is_quarantined(author) || self.is_canary(indicator) || self.is_refuted(indicator, now) {
            return Vec::new();
        }
        let ends = at.plus(request.duration).min(until);
        if ends > now && self.is_protected(indicator) {
            return vec![Ruling::Refused { indicator: indicator.clone(), by: author }];
        }
        if ends <= now || !self.orders.put(indicator, author, ends) {
            return Vec::new();
        }
        let (basis, opinion) = (Basis::Order(author), Opinion::default());
        vec![Ruling::Block { indicator: indicator.clone(), term: ends.since(now), basis, opinion }]
    }

    /// The orders that stand: about whom, whose, and until when.
    pub fn orders(&self) -> impl Iterator<Item = (&Indicator, NodeId, Moment)> {
        self.orders.iter()
    }

    /// Ends what `author` ordered, all of it or that about one accused: it has taken it back, or may order nothing any more. What others
    /// ordered about the same stands.
    pub fn end_orders(
        &mut self,
        author: NodeId,
        indicator: Option<&Indicator>,
        members: &Members,
        now: Moment,
    ) -> Vec<Ruling> {
        let ended = self.end_orders_where(Lifted::OrderEnded, |held, by, _| {
            by == author && indicator.is_none_or(|indicator| indicator == held)
        });
        self.reconsidered(ended, members, now)
    }

    /// Orders have ended: what else is said of those whom they were about was not looked at while they stood.
    pub(super) fn reconsidered(
        &mut self,
        mut rulings: Vec<Ruling>,
        members: &Members,
        now: Moment,
    ) -> Vec<Ruling> {
        let accused = rulings.iter().filter_map(|ruling| match ruling {
            Ruling::Lift { indicator, .. } => Some(indicator.clone()),
            _ => None,
        });
        let accused: BTreeSet<Indicator> = accused.collect();
        for indicator in accused {
            rulings.extend(self.consider(&indicator, members, now));
        }
        rulings
    }

    /// The orders of `author` about networks in `net`, and until when.
    pub fn ordered_in(&self, author: NodeId, net: Net) -> impl Iterator<Item = (&Indicator, Moment)> {
        let first = (Indicator::Net(net), NodeId([0; 32]));
        let last = (Indicator::Net(Net::host(net.last())), NodeId([255; 32]));
        let held = self.orders.held.range(first..=last).filter(move |((_, by), _)| *by == author);
        held.map(|((indicator, _), until)| (indicator, *until))
    }

    pub(super) fn end_orders_where(
        &mut self,
        why: Lifted,
        which: impl Fn(&Indicator, NodeId, Moment) -> bool,
    ) -> Vec<Ruling> {
        let ended = self.orders.iter().filter(|(held, by, until)| which(held, *by, *until));
        let ended: Vec<(Indicator, NodeId)> = ended.map(|(held, by, _)| (held.clone(), by)).collect();
        let lift = |(indicator, author): (Indicator, NodeId)| {
            let basis = Basis::Order(author);
            self.orders.take(&indicator, author).then_some(Ruling::Lift { indicator, basis, why })
        };
        ended.into_iter().filter_map(lift).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_authority_leaves_room_for_the_others_and_what_ends_is_counted() {
        let mut orders = Orders::default();
        let accused =
            |n: u32| Indicator::host(std::net::IpAddr::V4((0x2d53_0000 + n).into())).expect("public");
        let id = |n: u8| NodeId([n; 32]);
        let taken = |orders: &mut Orders, by: u8| {
            (0..8000).filter(|n| orders.put(&accused(*n), id(by), Moment(1))).count()
        };
        assert_eq!(taken(&mut orders, 1), MOST_OF_ONE);
        assert!(orders.put(&accused(0), id(1), Moment(2)), "a known one is renewed");
        assert_eq!([2, 3, 4, 5].map(|by| taken(&mut orders, by)), [MOST_OF_ONE, MOST_OF_ONE, MOST_OF_ONE, 0]);
        assert!(orders.take(&accused(0), id(1)) && !orders.take(&accused(0), id(1)));
        assert!(orders.holds(&accused(0)), "others do");
        assert!(orders.put(&accused(0), id(5), Moment(1)));
    }
}
