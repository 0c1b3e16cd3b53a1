//! One daemon in place of another: who stands by blocks nobody, and who takes the place has the blocks of the other from then on.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::Duration;

use slips_core::addr::Net;
use slips_firewall::{BlockRequest, Manner, is_single};
use slips_store::BlockId;
use slips_store::redis::heirloom::BlockLeft;

use super::batch::{Batch, Ground, Wanted};
use super::holds::{Hold, Holder};
use super::{Responder, between};
use crate::daemon::entries;
use crate::daemon::verdict::{self, Left};

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
        let wall = (self.clocks.wall)();
        let (mut asked, mut unproven) = (0, 0);
        let partners = match blocks.iter().any(|(_, left)| left.unproven) {
            true => (self.ways.partners)(),
            false => HashSet::new(),
        };
        let mut batch = Batch::default();
        let mut taken: Vec<Net> = Vec::new();
        for (net, left) in blocks {
            let term = left.until.map_or(LONGEST, |until| between(wall, until)).min(LONGEST);
            if term.is_zero() {
                continue;
            }
            asked += 1;
            let (by, is_unproven) = (Holder::of(&left.source), left.unproven);
            if is_unproven && unproven >= self.policy.unproven_cap {
                continue;
            }
            let Some((net, term)) = self.accepted((net, term), &by, is_unproven, &partners) else { continue };
            unproven += usize::from(is_unproven);
            self.make_way(&mut batch, net);
            if self.too_many_inside(&mut batch, net).is_some() {
                continue;
            }
            let manner =
                Manner::ALL.into_iter().find(|known| known.name() == left.manner).unwrap_or_default();
            let now = (self.clocks.steady)();
            let until = now.saturating_add(term);
            let hold = Hold { by, since: now, until, id: None, unproven: is_unproven, manner };
            taken.push(net);
            batch.want(Wanted { net, hold, ground: Ground::Left(left.reason, left.alert), again: None });
            if batch.is_full() {
                self.commit(&mut batch);
            }
        }
        self.commit(&mut batch);
        let held = taken.iter().filter(|net| self.standing.get(**net).is_some()).count();
        (held, asked - held)
    }

    /// What of a block of the other one stands here, and for how long, by the rules of this host.
    fn accepted(
        &mut self,
        (net, term): (Net, Duration),
        by: &Holder,
        unproven: bool,
        partners: &HashSet<IpAddr>,
    ) -> Option<(Net, Duration)> {
        // What could be forged blocks one address, or one customer's.
        if unproven && !is_single(net) {
            return None;
        }
        let left = Left {
            is_local: self.standing.is_inside(net),
            by_hand: *by == Holder::Hand && !unproven,
            unproven,
            in_conversation: unproven && partners.iter().any(|partner| is_near(net, *partner)),
            term,
        };
        let term = verdict::inherit(&left, &self.policy).ok()?;
        let asked = BlockRequest { by: by.origin(), exact: true, ..BlockRequest::new(net, term, "") };
        self.judge(&asked).ok()
    }
}

/// Whether this is who talks with our hosts, or, with IPv6, somebody on the same line.
fn is_near(net: Net, partner: IpAddr) -> bool {
    let line = Net::new(partner, if partner.is_ipv4() { 32 } else { 64 });
    net.contains(partner) || line.is_some_and(|line| line.overlaps(net))
}
