//! Blocks that the kernel did not take: tried again until their time is over, ever less often.

use std::sync::Arc;
use std::time::Duration;

use slips_core::addr::Net;
use slips_core::alert::Alert;
use slips_store::BlockId;

use super::Responder;
use super::batch::{Batch, Done, Ground, Wanted};
use crate::daemon::verdict::Sentence;

/// Blocks that the kernel did not take and that are tried again; at more the oldest is given up.
pub(super) const MAX_FAILED: usize = 256;
/// How soon they are tried again, the first time and at most: a set that is full may be so for long.
const FIRST: Duration = Duration::from_millis(500);
const LAST: Duration = Duration::from_secs(60);

/// A block that the kernel did not take.
pub(super) struct Failed {
    pub(super) alert: Arc<Alert>,
    /// Steady time at which it would be over.
    end: Duration,
    sentence: Sentence,
    /// Its row in the book, taken back, and the network there.
    row: Option<(Net, BlockId)>,
}

/// When failed blocks are tried again.
#[derive(Debug, Default)]
pub(super) struct Retry {
    pub(super) at: Duration,
    after: Duration,
}

impl Responder {
    /// Keeps failed blocks for later; of two of one attacker the longer one.
    pub(super) fn try_later(&mut self, wanted: Vec<Wanted>, done: &[Done]) {
        let failed = wanted.into_iter().zip(done).filter(|(_, done)| matches!(done, Done::Failed(_)));
        for (wanted, _) in failed {
            let Ground::Alert(alert, sentence) = wanted.ground else { continue };
            // One that stood before has its row for what it had left.
            let known =
                self.standing.get(wanted.net).is_some_and(|standing| standing.of(&wanted.hold.by).is_some());
            let row = wanted.hold.id.filter(|_| !known).map(|id| (wanted.net, id));
            let end = (self.clocks.steady)().saturating_add(sentence.term);
            self.keep(Failed { alert, end, sentence, row });
        }
    }

    fn keep(&mut self, failed: Failed) {
        if self.failed.is_empty() {
            self.retry.after = self.retry.after.max(FIRST);
            self.retry.at = (self.clocks.steady)().saturating_add(self.retry.after);
        }
        if let Some(same) = self.failed.iter_mut().find(|same| same.alert.attacker == failed.alert.attacker) {
            same.end = same.end.max(failed.end);
            same.sentence.unproven &= failed.sentence.unproven;
            same.row = same.row.or(failed.row);
            return;
        }
        if self.failed.len() >= MAX_FAILED {
            self.failed.pop_front();
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
        for Failed { alert, end, sentence, row } in std::mem::take(&mut self.failed) {
            let term = end.saturating_sub(now);
            if !term.is_zero() {
                self.sentence(&mut batch, &alert, Sentence { term, ..sentence }, row);
            }
        }
        self.commit(&mut batch);
    }
}
