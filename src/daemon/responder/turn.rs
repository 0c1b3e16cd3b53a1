//! The responder's turns: it sleeps until there is an alert, an ask, or news of the firewall, or until something is due.

use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Duration;

use slips_core::record::Record;
use slips_firewall::Firewall;

use super::Responder;
use crate::control::Pending;
use crate::daemon::bell::Bell;

/// How soon at the earliest after the last look there is another, when something is due: ended blocks, or what failed.
const CHECK_EVERY: Duration = Duration::from_millis(500);
/// How often the protected set follows resolvers and ssh sessions, and all is looked at, when nothing is due before.
const PROTECT_EVERY: Duration = Duration::from_secs(5);
/// How often at most open connections of the newly blocked are ended, and of how many at once.
const END_EVERY: Duration = Duration::from_millis(100);
/// How often the book is rid of old blocks.
const FORGET_EVERY: Duration = Duration::from_secs(86_400);

/// Steady times at which things were done last.
struct Done {
    checked: Duration,
    protected: Duration,
    forgot: Duration,
}

impl Responder {
    /// Works until all senders of records are gone, then returns itself so that the last words can be said. Whoever sends rings the bell.
    pub fn run(mut self, records: &Receiver<Vec<Record>>, asks: &Receiver<Pending>, bell: &Bell) -> Self {
        let now = (self.clocks.steady)();
        let mut done = Done { checked: now, protected: now, forgot: now };
        loop {
            let more = match records.try_recv() {
                Ok(batch) => {
                    for record in batch {
                        if let Record::Alert(alert) = record {
                            self.answer(&alert);
                        }
                    }
                    true
                }
                Err(TryRecvError::Empty) => false,
                Err(TryRecvError::Disconnected) => {
                    // What stays behind while we are gone has to block.
                    if let Err(error) = self.resume() {
                        self.degraded("the firewall", &error);
                    }
                    return self;
                }
            };
            self.watch();
            self.end_connections();
            while let Ok(pending) = asks.try_recv() {
                let answer = self.do_as_asked(&pending.ask);
                // Whoever asked may be gone.
                let _ = pending.answer.try_send(answer);
            }
            self.look(&mut done);
            if !more {
                let due = self.due(&done).saturating_sub((self.clocks.steady)());
                let news = self.firewall.as_ref().map(Firewall::wakes).unwrap_or_default();
                bell.wait(&news, due);
            }
        }
    }

    fn look(&mut self, done: &mut Done) {
        let now = (self.clocks.steady)();
        if now >= self.next_check(done) {
            let protect = now.saturating_sub(done.protected) >= PROTECT_EVERY;
            done.checked = now;
            if protect {
                done.protected = now;
            }
            self.look_after(protect);
        }
        if now.saturating_sub(done.forgot) >= FORGET_EVERY {
            done.forgot = now;
            self.forget();
        }
    }

    /// Steady time of the next look.
    fn next_check(&self, done: &Done) -> Duration {
        let soon = done.checked.saturating_add(CHECK_EVERY);
        let troubled = !self.failed.is_empty() || self.unrestored || self.unmended || self.host_changed;
        if troubled {
            return soon;
        }
        let timed = self.next_end.min(self.paused.unwrap_or(Duration::MAX));
        timed.min(done.protected.saturating_add(PROTECT_EVERY)).max(soon)
    }

    /// Steady time at which there is something to do, should nothing happen before.
    fn due(&self, done: &Done) -> Duration {
        let next = self.next_check(done);
        if self.fresh.is_empty() || self.paused.is_some() {
            next
        } else {
            next.min(self.ended.saturating_add(END_EVERY))
        }
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
