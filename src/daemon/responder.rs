//! The responder: takes alerts, blocks attackers, keeps the book of blocks, tells the journal. One thread owns all of it.
//!
//! It decides by a steady clock and by what the firewall answers; wall time stands in the book and in what people read.

mod advice;
mod batch;
mod book;
mod by_hand;
mod catch_up;
mod enter;
mod holds;
mod later;
mod line;
mod open;
mod relief;
#[cfg(test)]
mod tests;
mod told;
mod turn;
mod watch;

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use slips_core::addr::Net;
use slips_core::alert::Alert;
use slips_firewall::{DiscoverError, Error, Firewall, Outcome, Protected, Refusal};
use slips_store::{Blocks, Filed};
use slips_systemd::journal::{Entry, Journal, Kind};

pub use self::advice::{Advice, FLEET, NO_PEER};
use self::catch_up::LetIn;
use self::holds::{Holder, Standings};
use self::later::{Failed, Retry};
pub use self::line::{AdviceEnd, AdviceLine};
pub use self::open::open;
pub use self::relief::Order;
use self::watch::Readings;
use super::chatter::Chatter;
use super::clocks::Clocks;
use super::entries;
use super::overload::blocked::Blocked;
use super::policy::Policy;
use crate::config;
use crate::control::api::news::Reporter;

/// The same trouble is told once in this time, and so many different ones at most.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);
const MAX_COMPLAINTS: usize = 32;
/// Lines of one kind that one peer causes in the journal at once, and in an hour: its blocks are worth reading, and a list has thousands.
const LINES: u32 = 512;
const LINES_AN_HOUR: u32 = 256;
/// What peers ask for and is refused is told so often at once, and in an hour, of all of them together: at most ten times in any minute.
const REFUSALS: u32 = 5;
const REFUSALS_AN_HOUR: u32 = 300;

/// Figures that others show.
#[derive(Debug, Default)]
pub struct Gauges {
    /// Blocks that stand now.
    pub blocks: AtomicUsize,
    /// Blocks that were asked for and refused to protect somebody.
    pub refused: AtomicU64,
    /// Blocking was tried and did not block.
    pub unhealthy: AtomicBool,
    /// How often it changed who is blocked.
    pub changes: AtomicU64,
    /// Alerts that the book could not keep until the database has them.
    pub unkept: AtomicU64,
}

/// Who is never blocked, found out by somebody else: to read it may take longer than a block may wait.
pub struct Protect {
    /// Asks for it; the answer comes some time later, with a ring.
    pub ask: Box<dyn Fn() + Send>,
    /// The answer, if there is a new one.
    pub found: Box<dyn Fn() -> Option<Result<Protected, DiscoverError>> + Send>,
}

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
    /// Our own networks, and how many hosts there are on them.
    pub inside: Box<dyn Fn() -> Vec<Net> + Send>,
    /// See `inside`.
    pub neighbours: Box<dyn Fn() -> usize + Send>,
    /// With whom outside our hosts talk now, as far as this host's kernel knows.
    pub partners: Box<dyn Fn() -> HashSet<IpAddr> + Send>,
}

/// See the module.
pub struct Responder {
    ways: Ways,
    firewall: Option<Firewall>,
    book: Option<Blocks>,
    /// Where it is.
    shelf: Option<PathBuf>,
    /// Steady time at which it is made equal to what stands: it could not be opened or written.
    behind: Option<Duration>,
    /// Who was let in since the book could be written last.
    let_in: LetIn,
    /// Which alerts the database has.
    filed: Filed,
    /// Steady time at which it was begun anew while it was kept, and how often.
    renewed: Option<Duration>,
    renewals: u32,
    journal: Journal,
    /// To those who follow over the control API.
    reporter: Option<Reporter>,
    policy: config::Firewall,
    /// Where it comes from, and how often it had changed when it was looked at last.
    policies: (Policy, u64),
    clocks: Clocks,
    /// What discovery gave last: who was protected stays so while it cannot be asked.
    protected: Protected,
    standing: Standings,
    failed: VecDeque<Failed>,
    retry: Retry,
    /// Changes of the book since it was tidied.
    unsaved: usize,
    /// The kernel did not take what stands.
    unrestored: bool,
    /// What an earlier daemon blocked is in the kernel alone, and not known yet.
    untaken: bool,
    /// The table could not be looked at, or not be set anew.
    unmended: bool,
    gauges: Arc<Gauges>,
    /// Blocked lately; what they have open is to be ended.
    fresh: Vec<Net>,
    /// Steady time at which connections were ended last.
    ended: Duration,
    /// What the clocks said at the last check.
    readings: Readings,
    /// Who was logged in when it was written down last, and when that was, in wall time.
    logged_in: Vec<IpAddr>,
    login_noted: i64,
    /// Who was lately, with when, in wall time: as the book has it, or had.
    logins: Vec<(IpAddr, i64)>,
    /// Steady time at which a pause ends.
    paused: Option<Duration>,
    /// Steady time of the next test of the blocking.
    next_test: Duration,
    /// At the last one another program's rule came before ours; told once.
    shadowed: bool,
    /// Complaints of the last minute, with when they were told.
    complaints: BTreeMap<String, Duration>,
    /// What peers cause in the journal.
    chatter: Chatter<(Holder, Kind)>,
    /// What is refused to them.
    refusals: Chatter<()>,
    /// Counts its turns, for whoever has to know that it does not stand still.
    turns: Arc<AtomicU64>,
    /// Who is blocked, for those who ask, and as of when and of which change that is.
    blocked: Blocked,
    shared: Option<(Duration, u64)>,
    /// Who knows whether this daemon acts, and whether it does not.
    orders: Option<Receiver<Order>>,
    idle: bool,
}

impl Responder {
    /// A responder with its firewall open.
    pub fn new(
        ways: Ways,
        journal: Journal,
        policy: Policy,
        clocks: Clocks,
        protected: Protected,
    ) -> Result<Self, Error> {
        let readings = Readings::of(&clocks);
        let mut standing = Standings::default();
        standing.set_inside((ways.inside)());
        Ok(Self {
            firewall: Some((ways.open)(protected.clone())?),
            ways,
            book: None,
            shelf: None,
            behind: None,
            let_in: LetIn::default(),
            filed: Filed::default(),
            renewed: None,
            renewals: 0,
            journal,
            reporter: None,
            policy: policy.now(),
            policies: (policy, 0),
            clocks,
            protected,
            standing,
            failed: VecDeque::new(),
            retry: Retry::default(),
            unsaved: 0,
            unrestored: false,
            untaken: false,
            unmended: false,
            gauges: Arc::default(),
            fresh: Vec::new(),
            ended: Duration::ZERO,
            readings,
            logged_in: Vec::new(),
            login_noted: 0,
            logins: Vec::new(),
            paused: None,
            next_test: Duration::ZERO,
            shadowed: false,
            complaints: BTreeMap::new(),
            chatter: Chatter::new(LINES, LINES_AN_HOUR),
            refusals: Chatter::new(REFUSALS, REFUSALS_AN_HOUR),
            turns: Arc::default(),
            blocked: Blocked::default(),
            shared: None,
            orders: None,
            idle: false,
        })
    }

    /// The figures.
    pub fn gauges(&self) -> Arc<Gauges> {
        Arc::clone(&self.gauges)
    }

    /// Who hears of blocks beside the journal.
    pub fn report_to(&mut self, reporter: Reporter) {
        self.reporter = Some(reporter);
    }

    /// A block ended: whoever follows hears of it, also of those of peers that the journal sums up.
    fn report_unblock(&self, net: Net, why: &str) {
        if let Some(reporter) = &self.reporter {
            reporter.unblocked(net, why);
        }
    }

    /// Where its turns are counted.
    pub fn count_turns(&mut self, turns: Arc<AtomicU64>) {
        self.turns = turns;
    }

    /// Whether the database has an alert is told there; until then the book keeps it.
    pub fn follow(&mut self, filed: Filed) {
        self.filed = filed;
    }

    /// Where it is told who is blocked.
    pub fn share(&self) -> Blocked {
        self.blocked.clone()
    }

    /// Whether the kernel took what stands.
    pub const fn is_restored(&self) -> bool {
        self.book.is_some() && !self.unrestored
    }

    /// Makes the kernel equal to what stands.
    fn restore(&mut self) {
        if self.untaken
            && let Err(error) = self.take_over()
        {
            self.unrestored = true;
            self.degraded("what the kernel still blocks of an earlier run", &error);
            return;
        }
        self.cut_protected();
        self.fit();
        let now = (self.clocks.steady)();
        let nets: Vec<Net> = self.standing.nets().collect();
        let requests = self.standing.iter().map(|(net, standing)| standing.request(net, now)).collect();
        let restored = self.firewall().and_then(|firewall| firewall.restore(requests));
        self.unrestored = restored.is_err();
        match restored {
            Ok(outcomes) => {
                let mut refused: BTreeMap<String, Vec<Net>> = BTreeMap::new();
                for (net, outcome) in nets.into_iter().zip(outcomes) {
                    match outcome {
                        // What is over by now ends as ever.
                        Outcome::Refused(Refusal::NoTime) | Outcome::Blocked { .. } => {}
                        Outcome::Refused(refusal) => {
                            refused.entry(refusal.to_string()).or_default().push(net)
                        }
                        Outcome::Extended { .. } | Outcome::Kept { .. } => {}
                    }
                }
                for (why, nets) in refused {
                    self.end_all(&nets, "firewall", &why);
                }
            }
            Err(error) => self.degraded("the firewall", &error),
        }
        self.count();
    }

    /// More than a set of the kernel takes would keep all others out of it too: what is worth least goes. The size may have been made
    /// smaller since.
    fn fit(&mut self) {
        let size = usize::try_from(self.policy.size).unwrap_or(usize::MAX);
        let over = self.standing.over(|class| class.room(size));
        if !over.is_empty() {
            self.end_all(
                &over,
                "firewall",
                "there is no room for so many blocks; firewall.size says how many",
            );
        }
    }

    /// The firewall, opened anew if a flush took it away.
    fn firewall(&mut self) -> Result<&mut Firewall, Error> {
        let firewall = match self.firewall.take() {
            Some(firewall) => firewall,
            None => (self.ways.open)(self.protected.clone())?,
        };
        Ok(self.firewall.insert(firewall))
    }

    /// Says something that is not an alert.
    pub fn say(&mut self, entry: &Entry) {
        self.journal.send(entry);
    }

    /// Says something that this holder caused: of peers so much as may be, of others all.
    fn say_of(&mut self, by: &Holder, entry: &Entry) {
        let is_peer = by.is_of_others();
        if !is_peer || self.chatter.may(&(by.clone(), entry.kind()), (self.clocks.steady)()) {
            self.journal.send(entry);
        }
    }

    /// Tells what was not told one by one.
    fn sum_up(&mut self) {
        let now = (self.clocks.steady)();
        for (who, lines) in self.chatter.untold(now) {
            let (by, kind) = who.map_or(("peers".into(), Kind::Block), |(by, kind)| (by.source(), kind));
            self.journal.send(&entries::more_on_word(kind, &by, lines));
        }
        for (_, lines) in self.refusals.untold(now) {
            self.journal.send(&entries::more_on_word(Kind::Refusal, "peers", lines));
        }
    }

    /// An attacker is not blocked: counted and told.
    fn refused(&mut self, alert: &Alert, reason: &str) {
        self.count_refused();
        self.journal.send(&entries::refusal(alert, reason));
    }

    /// What a person or a peer asked for is not done, because of `reason`: counted and told, to peers as much as may be.
    fn refuse_word(&mut self, net: Net, by: &Holder, reason: &str, because: &str) {
        self.count_refused();
        if !by.is_of_others() || self.refusals.may(&(), (self.clocks.steady)()) {
            self.journal.send(&entries::refusal_of_word(net, &by.source(), reason, because));
        }
    }

    fn count_refused(&self) {
        self.gauges.refused.fetch_add(1, Ordering::Relaxed);
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
        self.gauges.changes.fetch_add(1, Ordering::Relaxed);
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
