//! A batch in the book, before the kernel and the journal have it.

use std::sync::atomic::Ordering;

use slips_core::addr::Net;
use slips_core::alert::Alert;
use slips_store::{BlockId, Blocks, NewBlock, StoreError, Unentered};

use super::batch::{Ground, Lift, Wanted};
use super::holds::Hold;
use super::{Responder, micros, text_of};
use crate::config::Mode;

/// What both clocks say: the steady one, by which blocks end, and the wall's.
struct Moment {
    steady: std::time::Duration,
    wall: i64,
}

impl Responder {
    /// Enters a batch into the book. Should the book fail, that stops neither a block nor what is told; should it be found damaged, the
    /// batch is entered into the new one. Alerts are kept also where nobody is blocked.
    pub(super) fn enter(&mut self, alerts: &[&Alert], wanted: &mut [Wanted], lifts: &[Lift]) {
        let (wanted, lifts) = match self.policy.mode {
            Mode::Enforce => (wanted, lifts),
            Mode::Monitor => (&mut [][..], &[][..]),
        };
        if alerts.is_empty() && wanted.is_empty() && lifts.is_empty() {
            return;
        }
        if self.enter_once(alerts, wanted, lifts) {
            self.enter_once(alerts, wanted, lifts);
        }
    }

    /// The same, once; whether there is a new book now, with what stood before the batch.
    fn enter_once(&mut self, alerts: &[&Alert], wanted: &mut [Wanted], lifts: &[Lift]) -> bool {
        let now = Moment { steady: (self.clocks.steady)(), wall: (self.clocks.wall)() };
        let id = |lift: &Lift| self.standing.get(lift.net)?.of(&lift.by)?.id;
        let lifted: Vec<(BlockId, &Lift)> = lifts.iter().filter_map(|lift| Some((id(lift)?, lift))).collect();
        for Wanted { net, hold, .. } in wanted.iter_mut() {
            // The book may have been begun anew since it was decided.
            let known = self.standing.get(*net).and_then(|standing| standing.of(&hold.by));
            hold.id = known.and_then(|known| known.id);
        }
        let mut left = Unentered { alerts: alerts.len(), why: None };
        let is_new = self.in_book(|book| {
            let both =
                book.all(|book| Ok((changes(book, &now, wanted, &lifted)?, book.enter_alerts(alerts)?)));
            let rows = match both {
                // An alert may be why: it costs no block its reason, nor another alert its place.
                Err(error) if !alerts.is_empty() && !error.is_damage() && !error.is_busy() => {
                    let rows = book.all(|book| changes(book, &now, wanted, &lifted));
                    left = book.enter_alerts(alerts)?;
                    rows?
                }
                both => {
                    let rows;
                    (rows, left) = both?;
                    rows
                }
            };
            // Only what is committed has a number: that of a row which was rolled back will be another block's.
            for (wanted, id) in wanted.iter_mut().zip(rows) {
                wanted.hold.id = Some(id);
            }
            Ok(())
        });
        if !is_new {
            self.count_unkept(left);
        }
        is_new
    }

    /// Alerts that the book does not keep: should the daemon be killed before the database has them, only the journal tells of them.
    fn count_unkept(&mut self, Unentered { alerts, why }: Unentered) {
        self.gauges.unkept.fetch_add(alerts as u64, Ordering::Relaxed);
        if let Some(why) = why {
            self.complain("the book of blocks", &format!("an alert could not be entered: {}", text_of(&why)));
        }
    }
}

/// Enters changes of blocks; the numbers of those that are wanted.
fn changes(
    book: &mut Blocks,
    now: &Moment,
    wanted: &[Wanted],
    lifted: &[(BlockId, &Lift)],
) -> Result<Vec<BlockId>, StoreError> {
    for (id, lift) in lifted {
        book.lift_for(*id, now.wall, &lift.by.source(), lift.why)?;
    }
    let mut rows = Vec::with_capacity(wanted.len());
    for Wanted { net, hold, ground, again } in wanted {
        let until = now.wall.saturating_add(micros(hold.until.saturating_sub(now.steady)));
        rows.push(match (hold.id, *again) {
            (Some(id), _) if book.end_at(id, until)? => id,
            (None, Some(id)) if book.revive(id, until)? => id,
            _ => book.insert(&row(*net, hold, ground, now.wall, until))?,
        });
    }
    Ok(rows)
}

/// A block as it is entered into the book.
fn row(net: Net, hold: &Hold, ground: &Ground, wall: i64, until: i64) -> NewBlock {
    let (reason, alert) = ground.told();
    NewBlock {
        net,
        reason,
        alert,
        source: hold.by.source(),
        from: wall,
        until: Some(until),
        unproven: hold.unproven,
        manner: hold.manner.name().into(),
    }
}
