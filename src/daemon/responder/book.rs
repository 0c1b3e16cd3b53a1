//! The responder's book of blocks: what outlives a restart, and what earlier blocks say about the next.

use std::path::Path;
use std::time::Duration;

use slips_core::addr::Net;
use slips_firewall::{Manner, Origin};
use slips_store::{Block, BlockId, Blocks, NewBlock};

use super::{Responder, Standing, between, micros};
use crate::config::Mode;
use crate::daemon::entries;

impl Responder {
    /// Opens the book of blocks and makes the kernel equal to it. Without a book blocks are still set, but do not survive a restart.
    /// Who only watches takes nothing over: see [`stand_down`](Self::stand_down).
    pub fn open_book(&mut self, path: &Path) {
        let wall = (self.clocks.wall)();
        let live = Blocks::open(path).and_then(|book| Ok((book.live(wall)?, book)));
        let (live, book) = match live {
            Ok(opened) => opened,
            Err(error) => {
                self.degraded("the book of blocks", &error);
                return;
            }
        };
        self.book = Some(book);
        self.forget();
        self.protect_anew();
        if self.policy.mode == Mode::Monitor {
            return;
        }
        let now = (self.clocks.steady)();
        for block in live {
            let until = now.saturating_add(term_left(&block, wall));
            let NewBlock { unproven, source, manner, .. } = &block.asked;
            let by = origin(source);
            let manner = Manner::ALL.into_iter().find(|known| known.name() == manner).unwrap_or_default();
            let standing =
                Standing { since: now, until, id: Some(block.id), unproven: *unproven, by, manner };
            if self.standing.get(&block.asked.net).is_none_or(|same| same.until < until) {
                self.standing.insert(block.asked.net, standing);
            }
        }
        self.restore();
    }

    /// Watching leaves no block of an earlier, enforcing run standing: they are taken out of the kernel and then out of the book.
    pub fn stand_down(&mut self) {
        let swept = match (self.ways.sweep)() {
            Ok(swept) => swept,
            Err(error) => {
                self.degraded("monitor mode", &error);
                self.say(&entries::degraded(
                    "monitor mode",
                    "blocks of an earlier run may still stand in the kernel; `slips firewall list` shows them",
                ));
                return;
            }
        };
        let wall = (self.clocks.wall)();
        let mut lifted = Vec::new();
        self.in_book(|book| {
            for block in book.live(wall)? {
                book.lift(block.id, wall)?;
                lifted.push(block.asked.net);
            }
            Ok(())
        });
        if swept {
            for net in lifted {
                self.journal.send(&entries::unblock(net, "slips only watches from now on"));
            }
        }
    }

    /// Enters a block, or lengthens the one that is known.
    pub(super) fn enter(&mut self, asked: NewBlock, known: Option<BlockId>) -> Option<BlockId> {
        if self.policy.mode == Mode::Monitor {
            return None;
        }
        let mut entered = known;
        self.in_book(|book| {
            match known {
                Some(id) => drop(book.extend(id, asked.until)?),
                None => entered = Some(book.insert(&asked)?),
            }
            Ok(())
        });
        entered
    }

    /// Does something in the book, if there is one; a book that fails never stops a block.
    pub(super) fn in_book(&mut self, work: impl FnOnce(&mut Blocks) -> Result<(), slips_store::StoreError>) {
        if let Some(book) = &mut self.book
            && let Err(error) = work(book)
        {
            self.degraded("the book of blocks", &error);
        }
    }

    pub(super) fn forget(&mut self) {
        let before = (self.clocks.wall)().saturating_sub(micros(self.policy.history.0));
        self.in_book(|book| book.forget(before).map(drop));
    }

    /// The time of a block of this network, by how often it was blocked before; the block that stands is not one before itself.
    pub(super) fn escalated(&mut self, net: Net, first: Duration) -> Duration {
        let escalation = self.policy.escalation();
        let since = (self.clocks.wall)().saturating_sub(micros(escalation.forgotten));
        let known = self.standing.get(&net).and_then(|block| block.id);
        let mut repeats = 0;
        self.in_book(|book| {
            repeats = book.repeats(net, known, since)?;
            Ok(())
        });
        escalation.term(first, net, repeats)
    }

    /// A part of a block was let in: in the book too the rest of it stands, or a restart would keep the part out again.
    pub(super) fn keep_rest(&mut self, held: Net, pieces: &[Net]) {
        let Some(block) = self.standing.remove(&held) else { return };
        let wall = (self.clocks.wall)();
        let mut ids = Vec::new();
        self.in_book(|book| {
            if let Some(id) = block.id {
                ids = book.split(id, pieces, wall)?;
            }
            Ok(())
        });
        let mut ids = ids.into_iter();
        for net in pieces {
            let id = ids.next();
            if self.standing.get(net).is_none_or(|same| same.until < block.until) {
                self.standing.insert(*net, Standing { id, ..block });
            }
        }
        self.count();
    }
}

/// Who asked, from the book's word for it.
fn origin(source: &str) -> Origin {
    match source.split(' ').next() {
        Some("hand") => Origin::Manual,
        Some("peer") => Origin::Peer,
        Some("feed") => Origin::Feed,
        _ => Origin::Local,
    }
}

/// How long a block of the book stands from this wall time on: never longer than it was asked for, should the wall clock have
/// been set back since.
fn term_left(block: &Block, wall: i64) -> Duration {
    let until = block.asked.until.unwrap_or(i64::MAX);
    between(wall, until).min(between(block.asked.from, until))
}
