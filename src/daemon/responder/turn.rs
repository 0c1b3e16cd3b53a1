//! The responder's turns: it sleeps until there is an alert, an ask, or news of the firewall, or until something is due.

use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Duration;

use slips_core::record::Record;
use slips_firewall::Firewall;
use slips_store::Blocks;

use super::batch::Batch;
use super::{AdviceEnd, Responder};
use crate::config::Mode;
use crate::control::Pending;
use crate::daemon::bell::Bell;
use crate::daemon::overload::blocked::Nets;

/// How soon at the earliest after the last look there is another, when something is due: ended blocks, or what failed.
const CHECK_EVERY: Duration = Duration::from_millis(500);
/// How often the protected set follows resolvers and ssh sessions, and all is looked at, when nothing is due before.
const PROTECT_EVERY: Duration = Duration::from_secs(5);
/// How often at most open connections of the newly blocked are ended, and of how many at once.
const END_EVERY: Duration = Duration::from_millis(100);
/// What comes in within this time becomes one transaction. Nobody waits for it: it is over when nothing more lies there.
const GATHER: Duration = Duration::from_millis(5);
/// How often it is told at most who is blocked: a snapshot of 100,000 takes some milliseconds.
const PUBLISH_EVERY: Duration = Duration::from_secs(1);
/// How often the book is rid of old blocks, and keeps how old it is: whoever has no clock is not always on for long.
const FORGET_EVERY: Duration = Duration::from_secs(3600);
/// So many steps of it in a turn that brought many blocks.
const FORGETS: usize = 16;
/// How long after the start for the first time: what is to be blocked comes first.
const FORGET_FIRST: Duration = Duration::from_secs(60);

/// What a turn took of what lay there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gathered {
    /// All of it.
    All,
    /// There may be more.
    Some,
    /// All, and there will be no more.
    Over,
}

/// Steady times at which things were done last,
struct Done {
    checked: Duration,
    protected: Duration,
    /// and at which the book is looked through the next time.
    forgets: Duration,
}

impl Responder {
    /// Works until all senders of records are gone, then returns itself so that the last words can be said. Whoever sends rings the bell.
    pub fn run(
        mut self,
        records: &Receiver<Vec<Record>>,
        advice: &AdviceEnd,
        asks: &Receiver<Pending>,
        bell: &Bell,
    ) -> Self {
        let now = (self.clocks.steady)();
        let forgets = now.saturating_add(FORGET_FIRST);
        let mut done = Done { checked: now, protected: now, forgets };
        loop {
            self.turns.fetch_add(1, Ordering::Relaxed);
            self.follow_orders();
            let gathered = self.gather(records, advice);
            if gathered == Gathered::Over {
                // What stays behind while we are gone has to block.
                if let Err(error) = self.resume() {
                    self.degraded("the firewall", &error);
                }
                return self;
            }
            let (policies, seen) = &mut self.policies;
            if let Some(policy) = policies.changed(seen) {
                self.policy = policy;
                // Others may be never blocked by now; who stands and is one of them is let in.
                (self.ways.protect.ask)();
            }
            self.watch();
            self.guard();
            self.end_connections();
            let asked = self.answer_one(asks);
            self.look(&mut done);
            self.publish();
            if gathered == Gathered::All {
                self.tidy();
            }
            if gathered == Gathered::All && !asked {
                let due = self.due(&done).saturating_sub((self.clocks.steady)());
                let news = self.firewall.as_ref().map(Firewall::wakes).unwrap_or_default();
                bell.wait(&news, due);
            }
        }
    }

    /// Does one thing that is asked; whether there was one. No more in a turn: those who ask again as soon as they are answered would
    /// keep it from blocking.
    fn answer_one(&mut self, asks: &Receiver<Pending>) -> bool {
        let Ok(pending) = asks.try_recv() else { return false };
        pending.answer_by(|ask| self.do_as_asked(ask));
        true
    }

    /// Takes what has come in, up to a transaction full, and does it.
    pub(super) fn gather(&mut self, records: &Receiver<Vec<Record>>, advice: &AdviceEnd) -> Gathered {
        let began = (self.clocks.steady)();
        let mut batch = Batch::default();
        let gathered = loop {
            match records.try_recv() {
                Ok(records) => {
                    for record in records {
                        if batch.is_full() {
                            self.commit(&mut batch);
                        }
                        match record {
                            Record::Alert(alert) => self.decide(&mut batch, &alert),
                            Record::Spared { addr, why } => {
                                self.commit(&mut batch);
                                self.spare(addr, &why);
                            }
                            _ => {}
                        }
                    }
                }
                Err(TryRecvError::Disconnected) => break Gathered::Over,
                Err(TryRecvError::Empty) => match advice.next() {
                    Some(advice) => self.heed(&mut batch, advice),
                    None => break Gathered::All,
                },
            }
            if batch.is_full() || (self.clocks.steady)().saturating_sub(began) >= GATHER {
                break Gathered::Some;
            }
        };
        self.commit(&mut batch);
        gathered
    }

    fn look(&mut self, done: &mut Done) {
        let now = (self.clocks.steady)();
        if now >= self.next_check(done) {
            let protect = now.saturating_sub(done.protected) >= PROTECT_EVERY;
            done.checked = now;
            self.journal.tell_losses();
            if protect {
                done.protected = now;
                self.sum_up();
            }
            self.look_after(protect);
        }
        if now >= done.forgets {
            let wait = if self.forget() { CHECK_EVERY } else { FORGET_EVERY };
            done.forgets = now.saturating_add(wait);
        }
        for _ in 0..FORGETS {
            if self.book.as_ref().is_some_and(Blocks::is_crowded) {
                self.forget();
            }
        }
    }

    /// Steady time of the next look.
    fn next_check(&self, done: &Done) -> Duration {
        let soon = done.checked.saturating_add(CHECK_EVERY);
        if self.unrestored || self.unmended {
            return soon;
        }
        let failed = if self.failed.is_empty() { Duration::MAX } else { self.retry.at };
        let timed = self.standing.next_end().min(self.paused.unwrap_or(Duration::MAX)).min(failed);
        timed.min(done.protected.saturating_add(PROTECT_EVERY)).max(soon)
    }

    /// Steady time at which there is something to do, should nothing happen before.
    fn due(&self, done: &Done) -> Duration {
        let next = self.next_check(done).min(self.publish_at().unwrap_or(Duration::MAX)).min(done.forgets);
        if self.fresh.is_empty() || self.paused.is_some() {
            next
        } else {
            next.min(self.ended.saturating_add(END_EVERY))
        }
    }

    /// Steady time at which it is to be told anew who is blocked.
    fn publish_at(&self) -> Option<Duration> {
        match self.shared {
            _ if !self.blocked.is_wanted() => self.shared.map(|_| Duration::ZERO),
            None => Some(Duration::ZERO),
            Some((at, change)) => {
                let changed = change != self.gauges.changes.load(Ordering::Relaxed);
                changed.then_some(at.saturating_add(PUBLISH_EVERY))
            }
        }
    }

    /// Tells who is blocked, while somebody wants to know: nobody, where the kernel drops nothing.
    pub(super) fn publish(&mut self) {
        let now = (self.clocks.steady)();
        if self.publish_at().is_none_or(|at| at > now) {
            return;
        }
        let wanted = self.blocked.is_wanted();
        self.shared = wanted.then(|| (now, self.gauges.changes.load(Ordering::Relaxed)));
        let unhealthy = self.gauges.unhealthy.load(Ordering::Relaxed);
        let drops = wanted && !unhealthy && self.paused.is_none() && self.policy.mode == Mode::Enforce;
        self.blocked.put(if drops { Nets::new(self.standing.nets()) } else { Nets::default() });
    }

    /// Ends what the newly blocked have open: their packets are dropped already, and nobody is to wait for them. It reads the whole table
    /// of connections, so many are done at once.
    fn end_connections(&mut self) {
        let now = (self.clocks.steady)();
        // In a pause everybody passes; what is open then ends when it is over.
        if self.fresh.is_empty() || self.paused.is_some() || now.saturating_sub(self.ended) < END_EVERY {
            return;
        }
        self.ended = now;
        let fresh = std::mem::take(&mut self.fresh);
        if let Err(error) = self.firewall().and_then(|firewall| firewall.end_connections(&fresh)) {
            self.degraded("ending open connections", &error);
        }
    }
}
