//! The responder's book of blocks: what outlives a restart, and what earlier blocks say about the next.

use std::path::Path;
use std::time::Duration;

use slips_core::addr::Net;
use slips_core::time::Span;
use slips_firewall::{Error, Manner, Origin, rest};
use slips_store::{Block, Blocks, Damaged, NewBlock};

use super::holds::{Hold, Holder};
use super::{Responder, between, micros};
use crate::config::Mode;
use crate::daemon::entries;

impl Responder {
    /// Opens the book of blocks and makes the kernel equal to it. Without a book blocks are still set, but do not survive a restart.
    /// Who only watches takes nothing over: see [`stand_down`](Self::stand_down).
    pub fn open_book(&mut self, path: &Path) {
        let wall = (self.clocks.wall)();
        self.shelf = Some(path.to_owned());
        let opened = Blocks::open_with(path, Damaged::PutAside).and_then(|(book, told)| {
            let book = book.numbered(self.renewals);
            match book.live(wall) {
                Err(error) if error.is_damage() => {
                    let (book, told) = book.renewed()?;
                    Ok((Vec::new(), book.numbered(self.renewals), Some(told)))
                }
                live => Ok((live?, book, told)),
            }
        });
        let (live, book, told) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                self.degraded("the book of blocks", &error);
                self.fall_behind();
                return;
            }
        };
        self.book = Some(book);
        if let Some(told) = told {
            self.degraded("the book of blocks", &told);
            self.untaken = self.policy.mode != Mode::Monitor;
        }
        self.protect(self.protected.clone());
        if self.policy.mode == Mode::Monitor {
            return;
        }
        let live = self.without_let_in(live);
        let now = (self.clocks.steady)();
        for block in live {
            let until = now.saturating_add(term_left(&block, wall));
            let NewBlock { unproven, source, manner, .. } = &block.asked;
            let manner = Manner::ALL.into_iter().find(|known| known.name() == manner).unwrap_or_default();
            let by = Holder::of(source);
            let same = self.standing.get(block.asked.net).and_then(|standing| standing.of(&by));
            // Something stands already where the book could not be opened at the start, or renewed.
            let is_known =
                |same: &Hold| self.book.as_ref().is_some_and(|book| same.id.is_some_and(|id| book.is_of(id)));
            if same.is_none_or(|same| !is_known(same) || same.until < until) {
                let until = same.map_or(until, |same| same.until.max(until));
                let since = same.map_or(now, |same| same.since);
                let hold = Hold { by, since, until, id: Some(block.id), unproven: *unproven, manner };
                self.standing.put(block.asked.net, hold);
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
                book.lift_for(block.id, wall, "configuration", WATCHES)?;
                lifted.push(block.asked.net);
            }
            Ok(())
        });
        if swept {
            for net in lifted {
                self.report_unblock(net, WATCHES);
                self.journal.send(&entries::unblock(net, WATCHES));
            }
        }
    }

    /// Does something in the book, if there is one; a book that fails never stops a block. Whether there is a new one now, with what stood.
    pub(super) fn in_book(
        &mut self,
        work: impl FnOnce(&mut Blocks) -> Result<(), slips_store::StoreError>,
    ) -> bool {
        let Some(Err(error)) = self.book.as_mut().map(work) else { return false };
        self.degraded("the book of blocks", &error);
        self.fall_behind();
        error.is_damage() && self.renew_book()
    }

    /// The book is damaged: a new one is begun, with what stands; but not at once again, where the disk is bad.
    fn renew_book(&mut self) -> bool {
        let now = (self.clocks.steady)();
        if self.renewed.is_some_and(|renewed| now.saturating_sub(renewed) < RENEW_EVERY) {
            return false;
        }
        match self.book.take().map(Blocks::renewed) {
            Some(Ok((book, told))) => {
                self.book = Some(book);
                self.renewed = Some(now);
                self.renewals = self.renewals.wrapping_add(1);
                self.degraded("the book of blocks", &told);
                self.enter_logins();
                self.enter_all("taken over from a damaged book");
                true
            }
            Some(Err(error)) => {
                self.degraded("the book of blocks", &error);
                false
            }
            None => false,
        }
    }

    /// Enters who was logged in lately into a book that is empty.
    fn enter_logins(&mut self) {
        let (logins, Some(book)) = (&self.logins, &mut self.book) else { return };
        let entered = book.all(|book| logins.iter().try_for_each(|(addr, at)| book.logged_in(*addr, *at)));
        if let Err(error) = entered {
            self.degraded("the book of blocks", &error);
            self.fall_behind();
        }
    }

    /// Enters all that stands and is not in this book, for this reason.
    pub(super) fn enter_all(&mut self, reason: &str) {
        let Some(book) = self.book.as_mut().filter(|_| self.policy.mode != Mode::Monitor) else { return };
        let (now, wall) = ((self.clocks.steady)(), (self.clocks.wall)());
        let holds: Vec<(Net, Hold)> = self
            .standing
            .iter()
            .flat_map(|(net, standing)| standing.holds().iter().map(move |hold| (net, hold)))
            .filter(|(_, hold)| !hold.id.is_some_and(|id| book.is_of(id)))
            .map(|(net, hold)| (net, hold.clone()))
            .collect();
        let entered = book.all(|book| {
            let enter = |(net, hold): (Net, Hold)| {
                let id = book.insert(&NewBlock {
                    net,
                    reason: reason.into(),
                    alert: None,
                    source: hold.by.source(),
                    from: wall.saturating_sub(micros(now.saturating_sub(hold.since))),
                    until: Some(wall.saturating_add(micros(hold.until.saturating_sub(now)))),
                    unproven: hold.unproven,
                    manner: hold.manner.name().into(),
                })?;
                book.set_applied(id, true)?;
                Ok((net, Hold { id: Some(id), ..hold }))
            };
            holds.into_iter().map(enter).collect::<Result<Vec<_>, slips_store::StoreError>>()
        });
        match entered {
            Ok(holds) => holds.into_iter().for_each(|(net, hold)| self.standing.put(net, hold)),
            Err(error) => {
                self.degraded("the book of blocks", &error);
                self.fall_behind();
            }
        }
    }

    /// There is nothing in the book of what an earlier daemon blocked: what the kernel still holds stands, and is entered. Until it can be
    /// read nothing may be made equal to what stands, which would lift all of it.
    pub(super) fn take_over(&mut self) -> Result<(), Error> {
        let held = self.firewall().and_then(|firewall| firewall.blocks())?;
        self.untaken = false;
        let now = (self.clocks.steady)();
        let short = self.policy.unproven_term.0.max(self.policy.shortest_term.0);
        for block in held {
            if self.standing.get(block.net).is_some() {
                continue;
            }
            // The kernel knows who asked, but not which peer or list, nor on what evidence: what could be forged is never blocked for long.
            let by = match block.by {
                Origin::Manual => Holder::Hand,
                Origin::Local => Holder::Alert,
                Origin::Feed => Holder::Feed("unknown".into()),
                Origin::Peer => Holder::Peer("unknown".into()),
            };
            let unproven = by == Holder::Alert && block.left <= short;
            let until = now.saturating_add(block.left);
            let hold = Hold { by, since: now, until, id: None, unproven, manner: block.manner };
            self.standing.put(block.net, hold);
        }
        self.enter_all("taken over from the kernel");
        Ok(())
    }

    /// Takes alerts out of the book that the database has by now; at most so many, since a block may come meanwhile.
    pub fn forget_filed(&mut self, most: usize) {
        let filed = self.filed.take(most);
        if !filed.is_empty() {
            self.unsaved += filed.len();
            self.in_book(|book| book.alerts_filed(&filed));
        }
    }

    /// Rids the book of some old blocks. Whether there is more to look at.
    pub(super) fn forget(&mut self) -> bool {
        // What stands is not over for a clock that was set a moment ago.
        self.follow_clocks();
        let (history, wall) = (Span(micros(self.policy.history.0)), (self.clocks.wall)());
        let steady = (self.clocks.steady)();
        let mut more = false;
        self.in_book(|book| {
            more = book.forget(history, wall, steady)?;
            Ok(())
        });
        more
    }

    /// The time of a block of this network, by how often it was blocked before; the block that stands is not one before itself.
    pub(super) fn escalated(&mut self, net: Net, first: Duration) -> Duration {
        let escalation = self.policy.escalation();
        let since = (self.clocks.wall)().saturating_sub(micros(escalation.forgotten));
        let known = self.standing.get(net).and_then(|standing| standing.of(&Holder::Alert)?.id);
        let mut repeats = 0;
        self.in_book(|book| {
            repeats = book.repeats(net, known, since)?;
            Ok(())
        });
        escalation.term(first, net, repeats)
    }

    /// A part of a block was let in: in the book too the rest of it stands, or a restart would keep the part out again.
    pub(super) fn keep_rest(&mut self, held: Net, pieces: &[Net]) {
        let Some(standing) = self.standing.remove(held) else { return };
        let wall = (self.clocks.wall)();
        let mut renewed = false;
        for hold in standing.holds() {
            let mut ids = Vec::new();
            renewed |= self.in_book(|book| {
                if let Some(id) = hold.id {
                    ids = book.durably(|book| book.split(id, pieces, wall))?;
                }
                Ok(())
            });
            let mut ids = ids.into_iter();
            for net in pieces {
                let id = ids.next();
                let same = self.standing.get(*net).and_then(|standing| standing.of(&hold.by));
                if same.is_none_or(|same| same.until < hold.until) {
                    self.standing.put(*net, Hold { id, ..hold.clone() });
                }
            }
        }
        if renewed {
            self.enter_all("taken over from a damaged book");
        }
        self.count();
    }

    /// Somebody in a blocked network is protected by now, and has been let in: the rest of it stays blocked, here and in the book, or it
    /// would be refused as a whole when the kernel is told the next time.
    pub(super) fn cut_protected(&mut self) {
        /// More pieces of one block are not worth their room.
        const MOST: usize = 1024;
        for held in self.standing.wide() {
            if self.protected.check(held).is_none() {
                continue;
            }
            let mut pieces = vec![held];
            for (net, _) in self.protected.iter().filter(|(net, _)| net.overlaps(held)) {
                pieces = pieces.into_iter().flat_map(|piece| rest(piece, net)).collect();
                if pieces.len() > MOST {
                    break;
                }
            }
            if pieces.is_empty() || pieces.len() > MOST {
                self.end_all(&[held], "protected", "it is protected now");
            } else {
                self.keep_rest(held, &pieces);
            }
        }
    }
}

/// Why blocks of an earlier run end in monitor mode.
const WATCHES: &str = "slips only watches from now on";
/// How soon at the earliest after a book was begun anew there is another.
const RENEW_EVERY: Duration = Duration::from_secs(60);

/// How long a block of the book stands from this wall time on: never longer than it was asked for, should the wall clock have
/// been set back since.
fn term_left(block: &Block, wall: i64) -> Duration {
    let until = block.asked.until.unwrap_or(i64::MAX);
    between(wall, until).min(between(block.asked.from, until))
}
