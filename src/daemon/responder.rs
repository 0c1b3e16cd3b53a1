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
use slips_firewall::{BlockRequest, DiscoverError, Firewall, Health, Outcome, Protected};
use slips_store::{BlockId, Blocks, NewBlock};
use slips_systemd::journal::{Entry, Journal};

use super::entries;
use super::sinks::wall_clock;
use super::verdict::{self, Verdict};
use crate::config::{self, Mode};
use crate::control::{Answer, Ask, Pending};

/// How long the responder waits for work before it looks after other things.
const TURN: Duration = Duration::from_millis(100);
/// How often ended blocks are noticed and told, and the kernel's table is looked at (microseconds).
const CHECK_EVERY: i64 = 500_000;
/// How often the protected set follows addresses, routes, resolvers and ssh sessions, in checks.
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
/// Opens the firewall with this protected set; asked again after a flush by hand took everything away.
pub type Open = Box<dyn Fn(Protected) -> Result<Firewall, slips_firewall::Error> + Send>;

/// See the module.
pub struct Responder {
    open: Open,
    firewall: Option<Firewall>,
    book: Option<Blocks>,
    journal: Journal,
    policy: config::Firewall,
    protect: Protect,
    /// What it gave last: who was protected stays so while it cannot be asked.
    protected: Protected,
    standing: BTreeMap<Net, Standing>,
    gauges: Arc<Gauges>,
}

impl Responder {
    /// A responder with its firewall open.
    pub fn new(
        open: Open,
        journal: Journal,
        policy: config::Firewall,
        protect: Protect,
        protected: Protected,
    ) -> Result<Self, slips_firewall::Error> {
        Ok(Self {
            firewall: Some(open(protected.clone())?),
            open,
            book: None,
            journal,
            policy,
            protect,
            protected,
            standing: BTreeMap::new(),
            gauges: Arc::default(),
        })
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
        for block in live {
            let until = block.asked.until.unwrap_or(i64::MAX);
            let standing = Standing { until, id: Some(block.id), unproven: false };
            self.standing.insert(block.asked.net, standing);
        }
        self.restore();
    }

    /// Makes the kernel equal to what stands.
    fn restore(&mut self) {
        let now = wall_clock();
        let requests: Vec<_> = self
            .standing
            .iter()
            .map(|(net, block)| BlockRequest {
                net: *net,
                for_: between(now, block.until),
                reason: String::new(),
                // It was widened, or not, when it was decided.
                exact: true,
            })
            .collect();
        let restored = self.firewall().and_then(|firewall| firewall.restore(requests));
        if let Err(error) = restored {
            self.degraded("the firewall", &error);
        }
        self.count();
    }

    /// The firewall, opened anew if a flush took it away.
    fn firewall(&mut self) -> Result<&mut Firewall, slips_firewall::Error> {
        let firewall = match self.firewall.take() {
            Some(firewall) => firewall,
            None => {
                if let Ok(protected) = (self.protect)() {
                    self.protected = protected;
                }
                (self.open)(self.protected.clone())?
            }
        };
        Ok(self.firewall.insert(firewall))
    }

    /// Says something that is not an alert.
    pub fn say(&mut self, entry: &Entry) {
        self.journal.send(entry);
    }

    /// Works until all senders of records are gone, then returns itself so that the last words can be said.
    pub fn run(mut self, records: &Receiver<Vec<Record>>, asks: &Receiver<Pending>) -> Self {
        let mut checked = wall_clock();
        let mut checks = 0u32;
        loop {
            match records.recv_timeout(TURN) {
                Ok(batch) => {
                    for record in batch {
                        if let Record::Alert(alert) = record {
                            self.answer(&alert);
                        }
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self,
            }
            while let Ok(pending) = asks.try_recv() {
                let answer = self.do_as_asked(&pending.ask);
                // Whoever asked may be gone.
                let _ = pending.answer.try_send(answer);
            }
            let now = wall_clock();
            if now.saturating_sub(checked).unsigned_abs() >= CHECK_EVERY.unsigned_abs() {
                checked = now;
                checks = checks.wrapping_add(1);
                self.look_after(checks.is_multiple_of(PROTECT_EVERY));
            }
        }
    }

    fn look_after(&mut self, protect: bool) {
        self.expire();
        if protect {
            self.protect_anew();
        }
        match self.firewall.as_mut().map(Firewall::verify) {
            Some(Ok(Health::Rebuilt)) => {
                self.journal.send(&entries::degraded(
                    "the firewall",
                    "another program removed our table; it and all blocks are set anew",
                ));
                self.restore();
            }
            Some(Err(error)) => self.degraded("the firewall", &error),
            Some(Ok(Health::Intact)) | None => {}
        }
    }

    /// Does what an administrator asks by hand.
    fn do_as_asked(&mut self, ask: &Ask) -> Answer {
        match ask {
            Ask::Flush => self.flush(),
            Ask::Unblock(net) => {
                let net = *net;
                let was = self.firewall().and_then(|firewall| firewall.unblock(net)).map_err(text_of)?;
                let stood = self.standing.remove(&net);
                let now = wall_clock();
                if let Some(id) = stood.as_ref().and_then(|block| block.id) {
                    self.in_book(|book| book.lift(id, now).map(drop));
                }
                self.count();
                if !was && stood.is_none() {
                    return Err(format!("{net} is not blocked"));
                }
                self.journal.send(&entries::unblock(net, "lifted by hand"));
                Ok(format!("{net} is no longer blocked"))
            }
            Ask::Block { net, secs, why } => self.block_by_hand(*net, Duration::from_secs(*secs), why),
        }
    }

    fn flush(&mut self) -> Answer {
        if let Some(firewall) = self.firewall.take() {
            firewall.remove().map_err(text_of)?;
        }
        let now = wall_clock();
        let lifted = std::mem::take(&mut self.standing);
        for (net, block) in &lifted {
            if let Some(id) = block.id {
                self.in_book(|book| book.lift(id, now).map(drop));
            }
            self.journal.send(&entries::unblock(*net, "all blocks were lifted by hand"));
        }
        self.count();
        Ok(format!("{} blocks lifted, nothing of slips is left in the firewall", lifted.len()))
    }

    fn block_by_hand(&mut self, net: Net, term: Duration, why: &str) -> Answer {
        let now = wall_clock();
        let until = now.saturating_add(i64::try_from(term.as_micros()).unwrap_or(i64::MAX));
        let request = BlockRequest { net, for_: term, reason: why.to_owned(), exact: false };
        match self.firewall().and_then(|firewall| firewall.block(request)).map_err(text_of)? {
            Outcome::Refused(refusal) => Err(refusal.to_string()),
            Outcome::Kept { net, left } => {
                Ok(format!("{net} is blocked for another {} s already", left.as_secs()))
            }
            Outcome::Blocked { net, .. } | Outcome::Extended { net, .. } => {
                let known = self.standing.get(&net).and_then(|block| block.id);
                let asked = NewBlock {
                    net,
                    reason: why.to_owned(),
                    alert: None,
                    source: "hand".into(),
                    from: now,
                    until: Some(until),
                };
                let id = self.enter(asked, known);
                self.standing.insert(net, Standing { until, id, unproven: false });
                self.count();
                self.journal.send(&entries::block_by_hand(net, term, PacketTime(now), why, self.policy.mode));
                Ok(format!("{net} is blocked for {} s", term.as_secs()))
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
            Verdict::Block { term, unproven } => self.block(alert, term, unproven),
        }
    }

    /// Book first, then the kernel, then the journal.
    fn block(&mut self, alert: &Alert, term: Duration, unproven: bool) {
        let asked = BlockRequest {
            net: Net::host(alert.attacker),
            for_: term,
            reason: format!("alert {}", alert.id),
            exact: unproven,
        };
        let (net, term) = match self.firewall().map(|firewall| firewall.judge(&asked)) {
            Ok(Ok(judged)) => judged,
            Ok(Err(refusal)) => {
                self.journal.send(&entries::alert(alert));
                self.journal.send(&entries::refusal(alert, &refusal.to_string()));
                return;
            }
            Err(error) => {
                self.journal.send(&entries::alert(alert));
                self.degraded("the firewall", &error);
                return;
            }
        };
        let now = wall_clock();
        let until = now.saturating_add(i64::try_from(term.as_micros()).unwrap_or(i64::MAX));
        let known = self.standing.get(&net).filter(|block| block.until > now);
        if known.is_some_and(|block| block.until.saturating_add(WORTH_EXTENDING) >= until) {
            self.journal.send(&entries::alert(alert));
            return;
        }
        let known_id = known.and_then(|block| block.id);
        let entry = NewBlock {
            net,
            reason: reason_of(alert),
            alert: Some(alert.id),
            source: "alert".into(),
            from: now,
            until: Some(until),
        };
        let id = self.enter(entry, known_id);
        let request = BlockRequest { net, for_: term, exact: true, ..asked };
        match self.firewall().and_then(|firewall| firewall.block(request)) {
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

    /// Enters a block, or lengthens the one that is known.
    fn enter(&mut self, asked: NewBlock, known: Option<BlockId>) -> Option<BlockId> {
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
        self.protected = protected.clone();
        let Some(firewall) = &mut self.firewall else { return };
        match firewall.set_protected(protected) {
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
        let text = text_of(error);
        self.journal.send(&entries::degraded(component, &text));
    }

    fn count(&self) {
        self.gauges.blocks.store(self.standing.len(), Ordering::Relaxed);
    }
}

/// An error with all its causes.
fn text_of(error: impl std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
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
