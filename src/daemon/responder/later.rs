//! Blocks that the kernel did not take: tried again until their time is over, ever less often.

use std::sync::Arc;
use std::time::Duration;

use slips_core::addr::Net;
use slips_core::alert::Alert;
use slips_store::BlockId;

use super::Responder;
use super::batch::{Batch, Done, Ground, Wanted};
use super::holds::Holder;
use crate::daemon::verdict::Sentence;

/// Blocks that the kernel did not take and that are tried again; at more the oldest is given up, of peers' first.
pub(super) const MAX_FAILED: usize = 256;
/// How soon they are tried again, the first time and at most: a set that is full may be so for long.
const FIRST: Duration = Duration::from_millis(500);
const LAST: Duration = Duration::from_secs(60);

/// A block that the kernel did not take.
pub(super) struct Failed {
    net: Net,
    /// Steady time at which it would be over.
    end: Duration,
    asked: Asked,
    /// Its row in the book, taken back, and the network there.
    row: Option<(Net, BlockId)>,
}

/// On whose word.
enum Asked {
    Alert(Arc<Alert>, Sentence),
    Peer(Holder, String),
}

impl Failed {
    /// It would hold some of this network.
    pub(super) fn touches(&self, net: Net) -> bool {
        net.overlaps(self.net)
    }

    /// The peer that asked for it.
    pub(super) const fn peer(&self) -> Option<&Holder> {
        match &self.asked {
            Asked::Peer(by, _) => Some(by),
            Asked::Alert(..) => None,
        }
    }

    /// Takes one of the same attacker, or of the same peer about the same network, into itself; whether it was that.
    fn take_in(&mut self, other: &Self) -> bool {
        match (&mut self.asked, &other.asked) {
            (Asked::Alert(alert, sentence), Asked::Alert(same, again)) if alert.attacker == same.attacker => {
                self.end = self.end.max(other.end);
                sentence.unproven &= again.unproven;
            }
            (Asked::Peer(by, _), Asked::Peer(same, _)) if by == same && self.net == other.net => {
                // What he said last.
                self.end = other.end;
            }
            _ => return false,
        }
        self.row = self.row.or(other.row);
        true
    }
}

/// When failed blocks are tried again.
#[derive(Debug, Default)]
pub(super) struct Retry {
    pub(super) at: Duration,
    after: Duration,
}

impl Responder {
    /// Keeps failed blocks for later; of two of one attacker the longer one. Who asks by hand is told, and asks again himself.
    pub(super) fn try_later(&mut self, wanted: Vec<Wanted>, done: &[Done]) {
        let failed = wanted.into_iter().zip(done).filter(|(_, done)| matches!(done, Done::Failed(_)));
        for (Wanted { net, hold, ground, .. }, _) in failed {
            // One that stood before has its row for what it had left.
            let known = self.standing.get(net).is_some_and(|standing| standing.of(&hold.by).is_some());
            let row = hold.id.filter(|_| !known).map(|id| (net, id));
            let (asked, end) = match ground {
                Ground::Alert(alert, sentence) => {
                    let end = (self.clocks.steady)().saturating_add(sentence.term);
                    (Asked::Alert(alert, sentence), end)
                }
                Ground::Word(why) if hold.by.is_of_others() => (Asked::Peer(hold.by, why), hold.until),
                Ground::Word(_) | Ground::Left(..) => continue,
            };
            self.keep(Failed { net, end, asked, row });
        }
    }

    fn keep(&mut self, failed: Failed) {
        if self.failed.is_empty() {
            self.retry.after = self.retry.after.max(FIRST);
            self.retry.at = (self.clocks.steady)().saturating_add(self.retry.after);
        }
        if self.failed.iter_mut().any(|same| same.take_in(&failed)) {
            return;
        }
        if self.failed.len() >= MAX_FAILED {
            let of_peer = self.failed.iter().position(|failed| failed.peer().is_some());
            if of_peer.is_none() && failed.peer().is_some() {
                return;
            }
            self.failed.remove(of_peer.unwrap_or_default());
        }
        self.failed.push_back(failed);
    }

    /// Tries failed blocks again, all at once; should one fail again, next time later.
    pub(super) fn try_again(&mut self) {
        let now = (self.clocks.steady)();
        if self.failed.is_empty() {
            self.retry = Retry::default();
            return;
        }
        if now < self.retry.at {
            return;
        }
        self.retry.after = self.retry.after.saturating_mul(2).clamp(FIRST, LAST);
        let mut batch = Batch::default();
        for Failed { net, end, asked, row } in std::mem::take(&mut self.failed) {
            let term = end.saturating_sub(now);
            if term.is_zero() {
                continue;
            }
            match asked {
                Asked::Alert(alert, sentence) => {
                    self.sentence(&mut batch, &alert, Sentence { term, ..sentence }, row);
                }
                Asked::Peer(by, why) => self.block_on_word_of(&mut batch, by, (net, term), why, row),
            }
        }
        self.commit(&mut batch);
    }
}
