//! A book that could not be opened or written falls behind what stands. It is made equal to that when it can be written again, or the next
//! daemon would lift what is missing in it, and block anew what was lifted.

use std::collections::BTreeSet;
use std::time::Duration;

use slips_store::BlockId;

use super::{Responder, micros};
use crate::config::Mode;

/// How soon it is tried again: somebody who holds the book locked is waited for each time.
const AGAIN: Duration = Duration::from_secs(30);

impl Responder {
    /// The book could not be written, or read.
    pub(super) fn fall_behind(&mut self) {
        if self.behind.is_none() {
            self.behind = Some((self.clocks.steady)().saturating_add(AGAIN));
        }
    }

    /// Makes the book equal to what stands, if it fell behind some time ago.
    pub(super) fn catch_up(&mut self) {
        if self.behind.is_none_or(|at| at > (self.clocks.steady)()) {
            return;
        }
        self.behind = None;
        if self.book.is_none() {
            // What is in it stands from now on, too: nobody has seen it yet, or it is damaged and put aside.
            let Some(path) = self.shelf.clone() else { return };
            self.renewals = self.renewals.wrapping_add(1);
            self.open_book(&path);
        }
        if self.policy.mode == Mode::Monitor {
            return;
        }
        self.lift_others();
        self.enter_all("it was blocked while the book could not be written");
        self.date_all();
    }

    /// Takes back in the book what stands no more.
    fn lift_others(&mut self) {
        let wall = (self.clocks.wall)();
        let holds = self.standing.iter().flat_map(|(_, standing)| standing.holds());
        let held: BTreeSet<BlockId> = holds.filter_map(|hold| hold.id).collect();
        self.in_book(|book| {
            book.all(|book| {
                for block in book.live(wall)?.iter().filter(|block| !held.contains(&block.id)) {
                    book.lift_for(
                        block.id,
                        wall,
                        "unknown",
                        "it was lifted while the book could not be written",
                    )?;
                }
                Ok(())
            })
        });
    }

    /// Dates all that stands anew in the book.
    pub(super) fn date_all(&mut self) {
        let (now, wall) = ((self.clocks.steady)(), (self.clocks.wall)());
        let holds = self.standing.iter().flat_map(|(_, standing)| standing.holds());
        let dates: Vec<_> = holds.filter_map(|hold| Some((hold.id?, hold.since, hold.until))).collect();
        self.in_book(|book| {
            book.all(|book| {
                for (id, since, until) in dates {
                    let left = micros(until.saturating_sub(now));
                    let stood = micros(now.saturating_sub(since));
                    book.date(id, wall.saturating_sub(stood), wall.saturating_add(left))?;
                }
                Ok(())
            })
        });
    }

    /// What is to be said of a change by hand which the book does not have yet.
    pub(super) const fn unless_behind(&self) -> &'static str {
        match self.behind {
            Some(_) => {
                "; the book of blocks cannot be written now, and has it when it can be: until then it does not outlive this daemon"
            }
            None => "",
        }
    }
}
