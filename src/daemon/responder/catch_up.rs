//! A book that could not be opened or written falls behind what stands. It is made equal to that when it can be written again, or the next
//! daemon would lift what is missing in it, and block anew what was lifted.

use std::collections::BTreeSet;
use std::time::Duration;

use slips_core::addr::Net;
use slips_firewall::rest;
use slips_store::{Block, BlockId};

use super::holds::Holder;
use super::{Responder, micros};
use crate::config::Mode;

/// How soon it is tried again: somebody who holds the book locked is waited for each time.
const AGAIN: Duration = Duration::from_secs(30);
/// So many networks that were let in are remembered at most.
const MAX_LET_IN: usize = 1024;
/// Why blocks of a book end that was opened later.
const BEFORE: &str = "it was let in while the book could not be written";

/// Who was let in while the book could not be opened or written. Its blocks of them must not come back with it.
#[derive(Debug, Default)]
pub(super) struct LetIn {
    /// By a person.
    by_hand: BTreeSet<Net>,
    /// By the whitelist, which ends no block by hand. What there is no room for is blocked until it is seen the next time.
    spared: BTreeSet<Net>,
    /// All were, or more than can be remembered: to block the owner anew would be worse than to block nobody.
    all: bool,
}

impl LetIn {
    pub(super) fn all(&mut self) {
        self.all = true;
    }

    pub(super) fn by_hand(&mut self, net: Net) {
        self.by_hand.insert(net);
        self.all |= self.by_hand.len() > MAX_LET_IN;
        if self.all {
            self.by_hand.clear();
        }
    }

    pub(super) fn spare(&mut self, net: Net) {
        if self.spared.len() < MAX_LET_IN {
            self.spared.insert(net);
        }
    }

    fn is_empty(&self) -> bool {
        !self.all && self.by_hand.is_empty() && self.spared.is_empty()
    }

    /// What still stands of a block of the book, where somebody in it was let in.
    fn rest_of(&self, block: &Block) -> Option<Vec<Net>> {
        let net = block.asked.net;
        if self.all {
            return Some(Vec::new());
        }
        let is_by_hand = Holder::of(&block.asked.source) == Holder::Hand;
        let spared = self.spared.iter().filter(|_| !is_by_hand);
        let inside: Vec<Net> =
            self.by_hand.iter().chain(spared).copied().filter(|some| some.overlaps(net)).collect();
        if inside.is_empty() {
            return None;
        }
        let mut pieces = vec![net];
        for out in inside {
            pieces = pieces.into_iter().flat_map(|piece| rest(piece, out)).collect();
            if pieces.len() > MAX_LET_IN {
                return Some(Vec::new());
            }
        }
        Some(pieces)
    }
}

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
        if self.behind.is_none() {
            self.let_in = LetIn::default();
        }
    }

    /// Takes who was let in meanwhile out of blocks of a book that was opened later, there too; what stands of them.
    pub(super) fn without_let_in(&mut self, live: Vec<Block>) -> Vec<Block> {
        if self.let_in.is_empty() {
            return live;
        }
        let wall = (self.clocks.wall)();
        let mut stand = Vec::with_capacity(live.len());
        let mut cut = Vec::new();
        for block in live {
            match self.let_in.rest_of(&block) {
                None => stand.push(block),
                Some(pieces) => cut.push((block, pieces)),
            }
        }
        self.in_book(|book| {
            book.durably(|book| {
                for (block, pieces) in cut {
                    if pieces.is_empty() {
                        book.lift_for(block.id, wall, "unknown", BEFORE)?;
                        continue;
                    }
                    let ids = book.split(block.id, &pieces, wall)?;
                    let part = |(id, net): (BlockId, Net)| {
                        let mut part = block.clone();
                        (part.id, part.asked.net) = (id, net);
                        part
                    };
                    stand.extend(ids.into_iter().zip(pieces).map(part));
                }
                Ok(())
            })
        });
        stand
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
