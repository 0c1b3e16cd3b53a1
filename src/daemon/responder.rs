//! The responder: takes alerts, blocks attackers, keeps the book of blocks, tells the journal. One thread owns all of it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use slips_core::addr::Net;
use slips_core::alert::Alert;
use slips_core::record::Record;
use slips_core::time::PacketTime;
use slips_firewall::{BlockRequest, DiscoverError, Firewall, Outcome, Protected};
use slips_store::{BlockId, Blocks, NewBlock};
use slips_systemd::journal::{Entry, Journal};

use super::entries;
use super::sinks::wall_clock;
use super::verdict::{self, Verdict};
use crate::config::{self, Mode};

/// How often ended blocks are noticed and told.
const EXPIRY_CHECK: Duration = Duration::from_millis(500);
/// How often the protected set follows addresses, routes, resolvers and ssh sessions, in expiry checks.
const PROTECT_EVERY: u32 = 10;
/// A block is lengthened only when it would end this much later (microseconds): an attack that goes on alerts many times a second.
const WORTH_EXTENDING: i64 = 1_000_000;

/// A block that stands.
struct Standing {
    until: i64,
    id: Option<BlockId>,
    unproven: bool,
}

/// Figures that others show.
#[derive(Debug, Default)]
pub struct Gauges {
    /// Blocks that stand now.
    pub blocks: AtomicUsize,
}

/// Gives the protected set anew each time it is asked.
pub type Protect = Box<dyn Fn() -> Result<Protected, DiscoverError> + Send>;

/// See the module.
pub struct Responder {
    firewall: Firewall,
    book: Option<Blocks>,
    journal: Journal,
    policy: config::Firewall,
    protect: Protect,
    standing: BTreeMap<Net, Standing>,
    gauges: Arc<Gauges>,
}

impl Responder {
    /// A responder. `protect` gives the protected set anew each time it is asked.
    pub fn new(firewall: Firewall, journal: Journal, policy: config::Firewall, protect: Protect) -> Self {
        Self {
            firewall,
            book: None,
            journal,
            policy,
            protect,
            standing: BTreeMap::new(),
            gauges: Arc::default(),
        }
    }

    /// The figures.
    pub fn gauges(&self) -> Arc<Gauges> {
        Arc::clone(&self.gauges)
    }

    /// Opens the book of blocks and makes the kernel equal to it. Without a book blocks are still set, but do not survive a restart.
    pub fn open_book(&mut self, path: &Path) {
        let now = wall_clock();
        let live = Blocks::open(path).and_then(|book| Ok((book.live(now)?, book)));
        let (live, book) = match live {
            Ok(opened) => opened,
            Err(error) => {
                self.degraded("the book of blocks", &error);
                return;
            }
        };
        self.book = Some(book);
        let requests = live
            .iter()
            .map(|block| BlockRequest {
                net: block.asked.net,
                for_: block.asked.until.map_or(Duration::MAX, |until| between(now, until)),
                reason: block.asked.reason.clone(),
            })
            .collect();
        match self.firewall.restore(requests) {
            Ok(_) => {
                for block in live {
                    let until = block.asked.until.unwrap_or(i64::MAX);
                    let standing = Standing { until, id: Some(block.id), unproven: false };
                    self.standing.insert(block.asked.net, standing);
                }
                self.count();
            }
            Err(error) => self.degraded("the firewall", &error),
        }
    }

    /// Says something that is not an alert.
    pub fn say(&mut self, entry: &Entry) {
        self.journal.send(entry);
    }

    /// Works until all senders are gone, then returns itself so that the last words can be said.
    pub fn run(mut self, records: &Receiver<Vec<Record>>) -> Self {
        let mut checks = 0u32;
        loop {
            match records.recv_timeout(EXPIRY_CHECK) {
                Ok(batch) => {
                    for record in batch {
                        if let Record::Alert(alert) = record {
                            self.answer(&alert);
                        }
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.expire();
                    checks += 1;
                    if checks.is_multiple_of(PROTECT_EVERY) {
                        self.protect_anew();
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return self,
            }
        }
    }

    fn answer(&mut self, alert: &Alert) {
        let unproven = self.standing.values().filter(|block| block.unproven).count();
        match verdict::decide(alert, &self.policy, unproven) {
            Verdict::Leave(reason) => {
                self.journal.send(&entries::alert(alert));
                self.journal.send(&entries::refusal(alert, &reason.to_string()));
            }
            Verdict::Block { net, term, unproven } => self.block(alert, net, term, unproven),
        }
    }

    /// Book first, then the kernel, then the journal.
    fn block(&mut self, alert: &Alert, net: Net, term: Duration, unproven: bool) {
        let now = wall_clock();
        let until = now.saturating_add(i64::try_from(term.as_micros()).unwrap_or(i64::MAX));
        let known = self.standing.get(&net).filter(|block| block.until > now);
        if known.is_some_and(|block| block.until.saturating_add(WORTH_EXTENDING) >= until) {
            self.journal.send(&entries::alert(alert));
            return;
        }
        let known_id = known.and_then(|block| block.id);
        let id = self.enter(alert, net, known_id, now, until);
        let reason = format!("alert {}", alert.id);
        match self.firewall.block(BlockRequest { net, for_: term, reason }) {
            Ok(Outcome::Blocked { net, .. } | Outcome::Extended { net, .. } | Outcome::Kept { net, .. }) => {
                self.standing.insert(net, Standing { until, id, unproven });
                self.count();
                self.in_book(|book| id.map_or(Ok(()), |id| book.set_applied(id, true).map(drop)));
                self.journal.send(&entries::alert(alert));
                let entry = entries::block(net, alert, term, PacketTime(now), self.policy.mode);
                self.journal.send(&entry);
            }
            Ok(Outcome::Refused(refusal)) => {
                self.in_book(|book| id.map_or(Ok(()), |id| book.lift(id, now).map(drop)));
                self.journal.send(&entries::alert(alert));
                self.journal.send(&entries::refusal(alert, &refusal.to_string()));
            }
            Err(error) => {
                self.in_book(|book| id.map_or(Ok(()), |id| book.lift(id, now).map(drop)));
                self.journal.send(&entries::alert(alert));
                self.degraded("the firewall", &error);
            }
        }
    }

    fn enter(
        &mut self,
        alert: &Alert,
        net: Net,
        known: Option<BlockId>,
        now: i64,
        until: i64,
    ) -> Option<BlockId> {
        if self.policy.mode == Mode::Monitor {
            return None;
        }
        if let Some(id) = known {
            self.in_book(|book| book.extend(id, Some(until)).map(drop));
            return known;
        }
        let asked = NewBlock {
            net,
            reason: reason_of(alert),
            alert: Some(alert.id),
            source: "alert".into(),
            from: now,
            until: Some(until),
        };
        let mut entered = None;
        self.in_book(|book| {
            entered = Some(book.insert(&asked)?);
            Ok(())
        });
        entered
    }

    /// Does something in the book, if there is one; a book that fails never stops a block.
    fn in_book(&mut self, work: impl FnOnce(&mut Blocks) -> Result<(), slips_store::StoreError>) {
        if let Some(book) = &mut self.book
            && let Err(error) = work(book)
        {
            self.degraded("the book of blocks", &error);
        }
    }

    fn expire(&mut self) {
        let now = wall_clock();
        let ended: Vec<Net> =
            self.standing.iter().filter(|(_, block)| block.until <= now).map(|(net, _)| *net).collect();
        for net in ended {
            self.standing.remove(&net);
            self.journal.send(&entries::unblock(net, "its time is over"));
        }
        self.count();
    }

    fn protect_anew(&mut self) {
        let protected = match (self.protect)() {
            Ok(protected) => protected,
            // Whoever is protected stays so.
            Err(error) => {
                self.degraded("the protected set", &error);
                return;
            }
        };
        match self.firewall.set_protected(protected) {
            Ok(freed) => {
                for net in freed {
                    if let Some(block) = self.standing.remove(&net) {
                        let now = wall_clock();
                        self.in_book(|book| block.id.map_or(Ok(()), |id| book.lift(id, now).map(drop)));
                        self.journal.send(&entries::unblock(net, "it is protected now"));
                    }
                }
            }
            Err(error) => self.degraded("the firewall", &error),
        }
    }

    fn degraded(&mut self, component: &str, error: &dyn std::error::Error) {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        self.journal.send(&entries::degraded(component, &text));
    }

    fn count(&self) {
        self.gauges.blocks.store(self.standing.len(), Ordering::Relaxed);
    }
}

/// The kinds of evidence behind an alert, for the book.
fn reason_of(alert: &Alert) -> String {
    let mut kinds: Vec<_> = alert.evidence.iter().map(|e| e.finding.kind.name()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds.join(" ")
}

fn between(from: i64, to: i64) -> Duration {
    Duration::from_micros(u64::try_from(to.saturating_sub(from)).unwrap_or(0))
}
