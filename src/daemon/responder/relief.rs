//! One daemon in place of another: who stands by blocks nobody, and who takes the place has the blocks of the other from then on.

use std::sync::mpsc::{Receiver, SyncSender};
use std::time::Duration;

use slips_core::addr::Net;
use slips_firewall::{BlockRequest, Manner};
use slips_store::BlockId;
use slips_store::redis::heirloom::BlockLeft;

use super::batch::{Batch, Done, Ground, Wanted};
use super::holds::{Hold, Holder};
use super::{Responder, between};
use crate::daemon::entries;

/// A block without an end, or one whose end a wrong clock wrote, is taken over for so long.
const LONGEST: Duration = Duration::from_secs(7 * 86_400);

/// What the one who knows who acts has done.
pub enum Order {
    /// To block nobody, and to let in who is blocked: another one does it.
    StandBy,
    /// To block again, these first.
    TakePlace {
        /// What the other one held.
        blocks: Vec<(Net, BlockLeft)>,
        /// Hears how many of them stand now, and how many were refused.
        done: SyncSender<(usize, usize)>,
    },
}

impl Responder {
    /// From now on these are obeyed. Whoever sends rings the bell.
    pub fn obey(&mut self, orders: Receiver<Order>) {
        self.orders = Some(orders);
    }

    /// Does what is ordered.
    pub(super) fn follow_orders(&mut self) {
        while let Some(order) = self.orders.as_ref().and_then(|orders| orders.try_recv().ok()) {
            match order {
                Order::StandBy => self.stand_by(),
                Order::TakePlace { blocks, done } => {
                    let became = self.take_place(blocks);
                    // Whoever asked may be gone.
                    let _ = done.try_send(became);
                }
            }
        }
    }

    fn stand_by(&mut self) {
        self.idle = true;
        self.failed.clear();
        let wall = (self.clocks.wall)();
        let nets: Vec<Net> = self.standing.nets().collect();
        let ids: Vec<BlockId> = nets
            .iter()
            .filter_map(|net| self.standing.remove(*net))
            .flat_map(|standing| standing.holds().iter().filter_map(|hold| hold.id).collect::<Vec<_>>())
            .collect();
        self.in_book(|book| {
            book.all(|book| ids.into_iter().try_for_each(|id| book.lift(id, wall).map(drop)))
        });
        if !nets.is_empty()
            && let Err(error) = self.exchange(&nets, &[])
        {
            // The kernel is made equal to what stands, nothing, as soon as it can be.
            self.unrestored = true;
            self.degraded("the firewall", &error);
        }
        self.count();
        self.journal.send(&entries::stands_by(nets.len()));
    }

    fn take_place(&mut self, blocks: Vec<(Net, BlockLeft)>) -> (usize, usize) {
        self.idle = false;
        let (now, wall) = ((self.clocks.steady)(), (self.clocks.wall)());
        let (mut held, mut refused, mut unproven) = (0, 0, 0);
        let mut batch = Batch::default();
        let count = |done: Vec<Done>| {
            let held = done.iter().filter(|done| matches!(done, Done::Held)).count();
            (held, done.len() - held)
        };
        for (net, left) in blocks {
            let term = left.until.map_or(LONGEST, |until| between(wall, until)).min(LONGEST);
            if term.is_zero() {
                continue;
            }
            unproven += usize::from(left.unproven);
            let by = Holder::of(&left.source);
            let asked = BlockRequest { by: by.origin(), exact: true, ..BlockRequest::new(net, term, "") };
            let judged = self.judge(&asked);
            let (Ok((net, term)), true) = (judged, !left.unproven || unproven <= self.policy.unproven_cap)
            else {
                refused += 1;
                continue;
            };
            self.make_way(&mut batch, net);
            if self.too_many_inside(&mut batch, net).is_some() {
                refused += 1;
                continue;
            }
            let manner =
                Manner::ALL.into_iter().find(|known| known.name() == left.manner).unwrap_or_default();
            let until = now.saturating_add(term);
            let hold = Hold { by, since: now, until, id: None, unproven: left.unproven, manner };
            batch.want(Wanted { net, hold, ground: Ground::Left(left.reason, left.alert), again: None });
            if batch.is_full() {
                let (stand, not) = count(self.commit(&mut batch));
                (held, refused) = (held + stand, refused + not);
            }
        }
        let (stand, not) = count(self.commit(&mut batch));
        (held + stand, refused + not)
    }
}
