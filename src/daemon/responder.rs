//! The responder: takes alerts, blocks attackers, keeps the book of blocks, tells the journal. One thread owns all of it.
//!
//! It decides by a steady clock and by what the firewall answers; wall time stands in the book and in what people read.

mod book;
mod by_hand;
#[cfg(test)]
mod tests;
mod told;
mod turn;
mod watch;

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use slips_core::addr::Net;
use slips_core::alert::Alert;
use slips_core::time::PacketTime;
use slips_firewall::{BlockRequest, DiscoverError, Error, Firewall, Manner, Origin, Outcome, Protected};
use slips_store::{BlockId, Blocks, NewBlock};
use slips_systemd::journal::{Entry, Journal};

use self::watch::Readings;
use super::clocks::Clocks;
use super::entries;
use super::verdict::{self, Sentence, Verdict};
use crate::config;

/// A block is lengthened only when it would end this much later: an attack that goes on alerts many times a second.
const WORTH_EXTENDING: Duration = Duration::from_secs(1);
/// Blocks that the kernel did not take and that are tried again; at more the oldest is given up.
const MAX_FAILED: usize = 256;
/// So many hosts of our own networks may be blocked, however few there are.
const INTERNAL_ALWAYS: usize = 3;
/// Of how many newly blocked the open connections are ended at once.
const MAX_FRESH: usize = 1024;
/// The same trouble is told once in this time, and so many different ones at most.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);
const MAX_COMPLAINTS: usize = 32;

/// A block that stands.
#[derive(Clone, Copy, Debug, Default)]
struct Standing {
    /// Steady time of its beginning, here.
    since: Duration,
    /// Steady time of its end.
    until: Duration,
    id: Option<BlockId>,
    unproven: bool,
    by: Origin,
    manner: Manner,
}

/// A block that the kernel did not take.
struct Failed {
    alert: Arc<Alert>,
    /// Steady time at which it would be over.
    end: Duration,
    sentence: Sentence,
}

/// Figures that others show.
#[derive(Debug, Default)]
pub struct Gauges {
    /// Blocks that stand now.
    pub blocks: AtomicUsize,
    /// Blocks that were asked for and refused to protect somebody.
    pub refused: AtomicU64,
    /// Blocking was tried and did not block.
    pub unhealthy: AtomicBool,
}

/// Gives the protected set anew each time it is asked.
pub type Protect = Box<dyn Fn() -> Result<Protected, DiscoverError> + Send>;
/// Opens the firewall with this protected set; asked again after a flush by hand took everything away.
pub type Open = Box<dyn Fn(Protected) -> Result<Firewall, Error> + Send>;
/// Takes away what any process of ours left in the kernel; whether there was something.
pub type Sweep = Box<dyn Fn() -> Result<bool, Error> + Send>;

/// The ways to the firewall.
pub struct Ways {
    /// See [`Open`].
    pub open: Open,
    /// See [`Sweep`].
    pub sweep: Sweep,
    /// See [`Protect`].
    pub protect: Protect,
    /// How many hosts there are on our own networks.
    pub neighbours: Box<dyn Fn() -> usize + Send>,
}

/// See the module.
pub struct Responder {
    ways: Ways,
    firewall: Option<Firewall>,
    book: Option<Blocks>,
    journal: Journal,
    policy: config::Firewall,
    clocks: Clocks,
    /// What discovery gave last: who was protected stays so while it cannot be asked.
    protected: Protected,
    standing: BTreeMap<Net, Standing>,
    failed: VecDeque<Failed>,
    /// The kernel did not take what stands.
    unrestored: bool,
    /// The table could not be looked at, or not be set anew.
    unmended: bool,
    /// Steady time before which no block that stands ends.
    next_end: Duration,
    gauges: Arc<Gauges>,
    /// Blocked lately; what they have open is to be ended.
    fresh: Vec<Net>,
    /// Steady time at which connections were ended last.
    ended: Duration,
    /// What the clocks said at the last check.
    readings: Readings,
    /// Addresses or routes of this host changed since who is protected was found out.
    host_changed: bool,
    /// Who was logged in when it was written down last, and when that was, in wall time.
    logged_in: Vec<IpAddr>,
    login_noted: i64,
    /// Steady time at which a pause ends.
    paused: Option<Duration>,
    /// Steady time of the next test of the blocking.
    next_test: Duration,
    /// Complaints of the last minute, with when they were told.
    complaints: BTreeMap<String, Duration>,
}

impl Responder {
    /// A responder with its firewall open.
    pub fn new(
        ways: Ways,
        journal: Journal,
        policy: config::Firewall,
        clocks: Clocks,
        protected: Protected,
    ) -> Result<Self, Error> {
        let readings = Readings::of(&clocks);
        Ok(Self {
            firewall: Some((ways.open)(protected.clone())?),
            ways,
            book: None,
            journal,
            policy,
            clocks,
            protected,
            standing: BTreeMap::new(),
            failed: VecDeque::new(),
            unrestored: false,
            unmended: false,
            next_end: Duration::ZERO,
            gauges: Arc::default(),
            fresh: Vec::new(),
            ended: Duration::ZERO,
            readings,
            host_changed: false,
            logged_in: Vec::new(),
            login_noted: 0,
            paused: None,
            next_test: Duration::ZERO,
            complaints: BTreeMap::new(),
        })
    }

    /// The figures.
    pub fn gauges(&self) -> Arc<Gauges> {
        Arc::clone(&self.gauges)
    }

    /// Makes the kernel equal to what stands.
    fn restore(&mut self) {
        let now = (self.clocks.steady)();
        let nets: Vec<Net> = self.standing.keys().copied().collect();
        let requests = self.standing.iter().map(|(net, block)| BlockRequest {
            // It was widened, or not, when it was decided.
            exact: true,
            by: block.by,
            manner: block.manner,
            ..BlockRequest::new(*net, block.until.saturating_sub(now), "")
        });
        let requests = requests.collect();
        let restored = self.firewall().and_then(|firewall| firewall.restore(requests));
        self.unrestored = restored.is_err();
        match restored {
            Ok(outcomes) => {
                for (net, outcome) in nets.into_iter().zip(outcomes) {
                    if let Outcome::Refused(refusal) = outcome {
                        self.end(net, &refusal.to_string());
                    }
                }
            }
            Err(error) => self.degraded("the firewall", &error),
        }
        self.count();
    }

    /// The firewall, opened anew if a flush took it away.
    fn firewall(&mut self) -> Result<&mut Firewall, Error> {
        let firewall = match self.firewall.take() {
            Some(firewall) => firewall,
            None => {
                if let Ok(protected) = (self.ways.protect)() {
                    self.protected = self.with_logins(protected);
                }
                (self.ways.open)(self.protected.clone())?
            }
        };
        Ok(self.firewall.insert(firewall))
    }

    /// Says something that is not an alert.
    pub fn say(&mut self, entry: &Entry) {
        self.journal.send(entry);
    }

    fn answer(&mut self, alert: &Arc<Alert>) {
        self.journal.send(&entries::alert(alert));
        match verdict::decide(alert, &self.policy) {
            Verdict::Leave(reason) => {
                self.refused(alert, &reason.to_string());
            }
            Verdict::Block(sentence) => {
                if let Err(error) = self.block(alert, sentence) {
                    self.degraded("the firewall", &error);
                    let end = (self.clocks.steady)().saturating_add(sentence.term);
                    self.try_later(Failed { alert: Arc::clone(alert), end, sentence });
                }
            }
        }
    }

    /// Book first, then the kernel, then the journal.
    fn block(&mut self, alert: &Alert, sentence: Sentence) -> Result<(), Error> {
        let Sentence { term, unproven, manner } = sentence;
        let reason = format!("alert {}", alert.id);
        let asked = BlockRequest::new(Net::host(alert.attacker), term, reason);
        let asked = BlockRequest { exact: unproven, manner, ..asked };
        let (net, term) = match self.firewall()?.judge(&asked) {
            Ok(judged) => judged,
            Err(refusal) => {
                self.refused(alert, &refusal.to_string());
                return Ok(());
            }
        };
        if let Some(reason) = self.too_many_inside(net) {
            self.refused(alert, &reason);
            return Ok(());
        }
        // What could be forged does not grow: somebody else may be behind it each time.
        let term = if unproven { term } else { self.escalated(net, term).max(self.policy.shortest_term.0) };
        let left = self.firewall()?.left(net)?.unwrap_or_default();
        let known = self.standing.get(&net).copied();
        if !unproven && known.is_some_and(|block| block.unproven) {
            self.prove(net);
        }
        if left.saturating_add(WORTH_EXTENDING) >= term {
            return Ok(());
        }
        if unproven && known.is_none() {
            self.make_room()?;
        }
        let unproven = unproven && known.is_none_or(|block| block.unproven);
        let wall = (self.clocks.wall)();
        let entry = NewBlock {
            net,
            reason: reason_of(alert),
            alert: Some(alert.id),
            source: "alert".into(),
            from: wall,
            until: Some(wall.saturating_add(micros(term))),
            unproven,
            manner: manner.name().into(),
        };
        let id = self.enter(entry, known.and_then(|block| block.id));
        let request = BlockRequest { net, for_: term, exact: true, ..asked };
        let outcome = self.firewall().and_then(|firewall| firewall.block(request));
        let held = match outcome {
            Ok(Outcome::Blocked { for_, .. } | Outcome::Extended { for_, .. }) => for_,
            Ok(Outcome::Kept { left, .. }) => left,
            Ok(Outcome::Refused(_)) | Err(_) => {
                // What stood before this attempt still does.
                if known.is_none() {
                    self.in_book(|book| id.map_or(Ok(()), |id| book.lift(id, wall).map(drop)));
                }
                if let Ok(Outcome::Refused(refusal)) = outcome {
                    self.refused(alert, &refusal.to_string());
                }
                return outcome.map(drop);
            }
        };
        self.stand(net, held, Standing { id, unproven, manner, ..Standing::default() });
        self.in_book(|book| id.map_or(Ok(()), |id| book.set_applied(id, true).map(drop)));
        let entry = entries::block(net, alert, term, PacketTime(wall), self.policy.mode);
        self.journal.send(&entry);
        Ok(())
    }

    /// Why one more host of our own networks is not blocked, if so many are that the network would stand still.
    fn too_many_inside(&self, net: Net) -> Option<String> {
        if !self.protected.is_local(net) || self.standing.contains_key(&net) {
            return None;
        }
        let blocked = self.standing.keys().filter(|held| self.protected.is_local(**held)).count();
        if blocked < INTERNAL_ALWAYS {
            return None;
        }
        let (hosts, share) = ((self.ways.neighbours)(), usize::from(self.policy.internal_share));
        (blocked * 100 >= hosts * share).then(|| {
            format!("{blocked} of {hosts} hosts of our own networks are blocked; firewall.internal_share is {share} %")
        })
    }

    /// An attacker is not blocked: counted and told.
    fn refused(&mut self, alert: &Alert, reason: &str) {
        self.gauges.refused.fetch_add(1, Ordering::Relaxed);
        self.journal.send(&entries::refusal(alert, reason));
    }

    /// Notes that a network is blocked for so long from now on.
    fn stand(&mut self, net: Net, for_: Duration, block: Standing) {
        let now = (self.clocks.steady)();
        let since = self.standing.get(&net).map_or(now, |block| block.since);
        let until = now.saturating_add(for_);
        self.next_end = self.next_end.min(until);
        let before = self.standing.insert(net, Standing { since, until, ..block });
        if before.is_none() && self.fresh.len() < MAX_FRESH {
            self.fresh.push(net);
        }
        self.count();
    }

    /// Better evidence stands behind a block: it no longer makes room for others.
    fn prove(&mut self, net: Net) {
        let Some(block) = self.standing.get_mut(&net) else { return };
        block.unproven = false;
        if let Some(id) = block.id {
            self.in_book(|book| book.prove(id).map(drop));
        }
    }

    /// At the cap of blocks on unproven evidence the oldest of them goes: whoever forges senders must not keep out, by filling
    /// the room, what is seen later.
    fn make_room(&mut self) -> Result<(), Error> {
        let mut unproven: Vec<(Duration, Net)> = self
            .standing
            .iter()
            .filter(|(_, block)| block.unproven)
            .map(|(net, block)| (block.since, *net))
            .collect();
        unproven.sort_unstable();
        let over = (unproven.len() + 1).saturating_sub(self.policy.unproven_cap);
        for (_, net) in unproven.into_iter().take(over) {
            self.firewall()?.unblock(net)?;
            self.end(net, "its sender could be forged, and a newer such block took its place");
        }
        Ok(())
    }

    /// Keeps a failed block for the next check; of two of one attacker the longer one.
    fn try_later(&mut self, failed: Failed) {
        if let Some(same) = self.failed.iter_mut().find(|same| same.alert.attacker == failed.alert.attacker) {
            same.end = same.end.max(failed.end);
            same.sentence.unproven &= failed.sentence.unproven;
            return;
        }
        if self.failed.len() >= MAX_FAILED {
            self.failed.pop_front();
        }
        self.failed.push_back(failed);
    }

    /// Tries failed blocks again, until one fails again.
    fn try_again(&mut self) {
        for _ in 0..self.failed.len() {
            let Some(failed) = self.failed.pop_front() else { return };
            let left = failed.end.saturating_sub((self.clocks.steady)());
            if left.is_zero() {
                continue;
            }
            if self.block(&failed.alert, Sentence { term: left, ..failed.sentence }).is_err() {
                self.failed.push_back(failed);
                return;
            }
        }
    }

    /// A block that no longer stands, for another reason than its time.
    fn end(&mut self, net: Net, why: &str) {
        if self.standing.remove(&net).is_none() {
            return;
        }
        let wall = (self.clocks.wall)();
        self.in_book(|book| book.lift_all(net, wall).map(drop));
        self.journal.send(&entries::unblock(net, why));
        self.count();
    }

    fn degraded(&mut self, component: &str, error: &dyn std::error::Error) {
        self.complain(component, &text_of(error));
    }

    /// Tells of trouble, the same once a minute.
    fn complain(&mut self, component: &str, text: &str) {
        let now = (self.clocks.steady)();
        self.complaints.retain(|_, told| now.saturating_sub(*told) < COMPLAIN_EVERY);
        let complaint = format!("{component}: {text}");
        if self.complaints.len() < MAX_COMPLAINTS && !self.complaints.contains_key(&complaint) {
            self.complaints.insert(complaint, now);
            self.journal.send(&entries::degraded(component, text));
        }
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

fn micros(term: Duration) -> i64 {
    i64::try_from(term.as_micros()).unwrap_or(i64::MAX)
}
