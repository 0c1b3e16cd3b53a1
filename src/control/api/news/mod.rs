//! What happens, from those who know it to those who follow: queues that nobody waits for, and rings in which it lies for a while.
//!
//! What there is much of has a queue and a ring of its own, so that nobody loses alerts because somebody follows flows. Nothing is made of
//! records while nobody follows. A queue that is full is a gap, and so is a ring that went round before a client had read it; each client is
//! told of its gaps, where they are, with how many events they hold.

mod ring;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use slips_core::event::Event as Seen;
use slips_core::flow::{Flow, Phase};
use slips_core::record::Record;
use slips_core::time::PacketTime;
use slips_store::read::{AlertRow, StoredEvidence, StoredFlow};
use slips_store::render::iso;
use tokio::sync::mpsc;

pub use self::ring::{Follower, Ring};

use crate::daemon::sinks::wall_clock;

/// Batches of each lane that may wait to become events.
const QUEUE: usize = 16;
/// Flows that become events without a look at who else waits.
const AT_ONCE: usize = 100;

/// What may be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Topic {
    /// An attacker's evidence is enough.
    Alert,
    /// An evidence is new or has grown.
    Evidence,
    /// A network is blocked from now on.
    Block,
    /// A network is blocked no more.
    Unblock,
    /// A time window is over.
    Window,
    /// An address was seen for the first time.
    Profile,
    /// A flow ended.
    Flow,
}

impl Topic {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Alert, Self::Evidence, Self::Block, Self::Unblock, Self::Window, Self::Profile, Self::Flow];

    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Alert => "alert",
            Self::Evidence => "evidence",
            Self::Block => "block",
            Self::Unblock => "unblock",
            Self::Window => "window",
            Self::Profile => "profile",
            Self::Flow => "flow",
        }
    }

    const fn bit(self) -> u32 {
        1 << self as u32
    }

    const fn lane(self) -> Lane {
        match self {
            Self::Flow | Self::Profile => Lane::Often,
            _ => Lane::Seldom,
        }
    }
}

/// What goes the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lane {
    /// What nobody should miss.
    Seldom = 0,
    /// What there is as much of as there is traffic.
    Often = 1,
}

impl Lane {
    const ALL: [Self; 2] = [Self::Seldom, Self::Often];

    fn topics(self) -> impl Iterator<Item = Topic> {
        Topic::ALL.into_iter().filter(move |topic| topic.lane() == self)
    }
}

const TOPICS: usize = Topic::ALL.len();

/// A network is blocked from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Blocked {
    /// It.
    pub net: String,
    /// Until when, as things are.
    pub until: String,
    /// Who asked: `alert`, `hand`, `peer NAME`.
    pub source: String,
    /// Why.
    pub reason: String,
    /// The alert behind it.
    pub alert: Option<String>,
    /// False in monitor mode: nothing was done.
    pub enforced: bool,
}

/// A network is blocked no more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Unblocked {
    /// It.
    pub net: String,
    /// Why.
    pub reason: String,
}

/// A time window is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Closed {
    /// Its number.
    pub window: i64,
    /// When, in packet time.
    pub at: String,
}

/// An address was seen for the first time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Fresh {
    /// It.
    pub ip: String,
    /// When, in packet time.
    pub at: String,
}

/// Events are missing here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Gap {
    /// How many of the followed topics; null where nobody counted them.
    pub missed: Option<u64>,
}

/// The data of each event, by the event's name.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "it stands for the events in the description")]
pub struct Events {
    alert: AlertRow,
    evidence: StoredEvidence,
    block: Blocked,
    unblock: Unblocked,
    window: Closed,
    profile: Fresh,
    flow: StoredFlow,
    gap: Gap,
}

enum News {
    Records(Vec<Record>),
    Blocked(Blocked),
    Unblocked(Unblocked),
}

/// News, and how many of each topic were lost before it.
struct Told {
    lost: [u64; TOPICS],
    news: News,
}

/// How many of each topic were lost, and nobody is told of yet.
#[derive(Default)]
struct Lost([AtomicU64; TOPICS]);

impl Lost {
    fn take(&self) -> [u64; TOPICS] {
        self.0.each_ref().map(|lost| lost.swap(0, Ordering::AcqRel))
    }

    fn add(&self, topic: Topic, count: u64) {
        if let Some(lost) = self.0.get(topic as usize) {
            lost.fetch_add(count, Ordering::AcqRel);
        }
    }

    fn give_back(&self, counts: [u64; TOPICS]) {
        Topic::ALL.into_iter().zip(counts).for_each(|(topic, count)| self.add(topic, count));
    }
}

/// One end of a lane, and what did not fit into it.
type Way<End> = (End, Arc<Lost>);

/// Tells what happens; never waits.
#[derive(Clone)]
pub struct Reporter {
    wanted: Arc<AtomicU32>,
    seldom: Way<mpsc::Sender<Told>>,
    often: Way<mpsc::Sender<Told>>,
}

impl Reporter {
    fn wants(&self, topic: Topic) -> bool {
        self.wanted.load(Ordering::Relaxed) & topic.bit() != 0
    }

    /// What came out of the engine.
    pub fn records(&self, records: &[Record]) {
        let wanted = self.wanted.load(Ordering::Relaxed);
        if wanted == 0 {
            return;
        }
        for lane in Lane::ALL {
            let of_wanted = |record: &&Record| {
                topic_of(record).is_some_and(|topic| topic.lane() == lane && wanted & topic.bit() != 0)
            };
            let records: Vec<Record> = records.iter().filter(of_wanted).cloned().collect();
            if !records.is_empty() {
                self.tell(lane, News::Records(records));
            }
        }
    }

    /// A block stands.
    pub fn blocked(&self, of: impl FnOnce() -> Blocked) {
        if self.wants(Topic::Block) {
            self.tell(Topic::Block.lane(), News::Blocked(of()));
        }
    }

    /// A block ended.
    pub fn unblocked(&self, net: impl ToString, reason: &str) {
        if self.wants(Topic::Unblock) {
            let unblocked = Unblocked { net: net.to_string(), reason: reason.to_owned() };
            self.tell(Topic::Unblock.lane(), News::Unblocked(unblocked));
        }
    }

    fn tell(&self, lane: Lane, news: News) {
        let (to, lost) = match lane {
            Lane::Seldom => &self.seldom,
            Lane::Often => &self.often,
        };
        // What was lost before goes with it, so that the gap is where it is.
        let told = Told { lost: lost.take(), news };
        let Err(mpsc::error::TrySendError::Full(told)) = to.try_send(told) else { return };
        lost.give_back(told.lost);
        match told.news {
            News::Blocked(_) => lost.add(Topic::Block, 1),
            News::Unblocked(_) => lost.add(Topic::Unblock, 1),
            News::Records(records) => {
                for record in &records {
                    match record {
                        Record::Events(batch) => lost.add(Topic::Flow, ended(batch).count() as u64),
                        record => topic_of(record).into_iter().for_each(|topic| lost.add(topic, 1)),
                    }
                }
            }
        }
    }
}

const fn topic_of(record: &Record) -> Option<Topic> {
    match record {
        Record::Events(_) => Some(Topic::Flow),
        Record::ProfileNew { .. } => Some(Topic::Profile),
        Record::WindowClosed { .. } => Some(Topic::Window),
        Record::Evidence(_) => Some(Topic::Evidence),
        Record::Alert(_) => Some(Topic::Alert),
        Record::Spared { .. } | Record::TookOver { .. } | Record::Stats(_) => None,
    }
}

fn ended(batch: &[Seen]) -> impl Iterator<Item = &Flow> {
    batch.iter().filter_map(|event| match event {
        Seen::Flow(flow) if flow.phase == Phase::End => Some(flow),
        _ => None,
    })
}

/// Where the news arrive.
pub struct Desk {
    seldom: Way<mpsc::Receiver<Told>>,
    often: Way<mpsc::Receiver<Told>>,
    ring: Arc<Ring>,
}

/// A line to a ring that nobody follows yet.
pub fn line() -> (Reporter, Desk) {
    let lane = || {
        let ((to, from), lost) = (mpsc::channel(QUEUE), Arc::<Lost>::default());
        ((to, Arc::clone(&lost)), (from, lost))
    };
    let (to_seldom, seldom) = lane();
    let (to_often, often) = lane();
    let wanted = Arc::<AtomicU32>::default();
    let ring = Arc::new(Ring::new(format!("{:x}", wall_clock()), Arc::clone(&wanted)));
    (Reporter { wanted, seldom: to_seldom, often: to_often }, Desk { seldom, often, ring })
}

impl Desk {
    /// Where the events lie.
    pub fn ring(&self) -> Arc<Ring> {
        Arc::clone(&self.ring)
    }

    /// Makes events of what arrives, until nobody is left who tells. What there is little of comes first.
    pub async fn work(mut self) {
        loop {
            let told = tokio::select! {
                biased;
                Some(told) = self.seldom.0.recv() => told,
                Some(told) = self.often.0.recv() => told,
                else => return,
            };
            self.take(told).await;
            // Who asks is not to wait for a flood of flows.
            tokio::task::yield_now().await;
        }
    }

    async fn take(&self, told: Told) {
        let ring = &self.ring;
        ring.lose(told.lost);
        match told.news {
            News::Blocked(blocked) => ring.put(Topic::Block, &blocked),
            News::Unblocked(unblocked) => ring.put(Topic::Unblock, &unblocked),
            News::Records(records) => {
                for record in &records {
                    match record {
                        Record::Events(batch) => {
                            for (n, flow) in ended(batch).enumerate() {
                                ring.put(Topic::Flow, &StoredFlow::of(flow));
                                if n % AT_ONCE == AT_ONCE - 1 {
                                    ring.ring();
                                    tokio::task::yield_now().await;
                                }
                            }
                        }
                        Record::ProfileNew { addr, at } => {
                            ring.put(Topic::Profile, &Fresh { ip: addr.to_string(), at: iso(*at) });
                        }
                        Record::WindowClosed { window, at } => {
                            ring.put(Topic::Window, &Closed { window: window.0, at: iso(*at) });
                        }
                        Record::Evidence(evidence) => {
                            ring.put(Topic::Evidence, &StoredEvidence::of(evidence));
                        }
                        Record::Alert(alert) => {
                            ring.put(Topic::Alert, &AlertRow::of(alert, PacketTime(wall_clock())));
                        }
                        Record::Spared { .. } | Record::TookOver { .. } | Record::Stats(_) => {}
                    }
                }
            }
        }
        for (from, lost) in [&self.seldom, &self.often] {
            // What is lost while nothing waits any more was lost after all that came; else it goes with what comes next.
            if from.is_empty() {
                ring.lose(lost.take());
            }
        }
        ring.ring();
    }
}

#[cfg(test)]
mod tests;
