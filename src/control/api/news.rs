//! What happens, from those who know it to those who follow: a queue that nobody waits for, and a ring in which it lies for a while.
//!
//! Nothing is made of records while nobody follows. A queue that is full is a gap, and so is a ring that went round before a client had read
//! it; each client is told of its gaps with how many events they hold.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use slips_core::event::Event as Seen;
use slips_core::flow::{Flow, Phase};
use slips_core::record::Record;
use slips_core::time::PacketTime;
use slips_store::read::{AlertRow, StoredEvidence, StoredFlow};
use slips_store::render::iso;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::daemon::sinks::wall_clock;

/// Batches that may wait to become events.
const QUEUE: usize = 16;
/// Events in the ring, and their bytes.
const EVENTS: usize = 8192;
const BYTES: usize = 4 << 20;
/// How long events are made of a topic that nobody follows any more: a client may come back.
const LINGER: Duration = Duration::from_secs(60);

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

/// Tells what happens; never waits.
#[derive(Clone)]
pub struct Reporter {
    wanted: Arc<AtomicU32>,
    lost: Arc<[AtomicU64; TOPICS]>,
    to: mpsc::Sender<News>,
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
        let of_wanted = |record: &&Record| topic_of(record).is_some_and(|topic| wanted & topic.bit() != 0);
        let records: Vec<Record> = records.iter().filter(of_wanted).cloned().collect();
        if !records.is_empty() {
            self.tell(News::Records(records));
        }
    }

    /// A block stands.
    pub fn blocked(&self, of: impl FnOnce() -> Blocked) {
        if self.wants(Topic::Block) {
            self.tell(News::Blocked(of()));
        }
    }

    /// A block ended.
    pub fn unblocked(&self, net: impl ToString, reason: &str) {
        if self.wants(Topic::Unblock) {
            self.tell(News::Unblocked(Unblocked { net: net.to_string(), reason: reason.to_owned() }));
        }
    }

    fn tell(&self, news: News) {
        let Err(mpsc::error::TrySendError::Full(news)) = self.to.try_send(news) else { return };
        let lose = |topic: Topic, count: u64| {
            if let Some(lost) = self.lost.get(topic as usize) {
                lost.fetch_add(count, Ordering::Relaxed);
            }
        };
        match news {
            News::Blocked(_) => lose(Topic::Block, 1),
            News::Unblocked(_) => lose(Topic::Unblock, 1),
            News::Records(records) => {
                for record in &records {
                    match record {
                        Record::Events(batch) => lose(Topic::Flow, ended(batch).count() as u64),
                        record => topic_of(record).into_iter().for_each(|topic| lose(topic, 1)),
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
        Record::Spared { .. } | Record::TookOver | Record::Stats(_) => None,
    }
}

fn ended(batch: &[Seen]) -> impl Iterator<Item = &Flow> {
    batch.iter().filter_map(|event| match event {
        Seen::Flow(flow) if flow.phase == Phase::End => Some(flow),
        _ => None,
    })
}

/// One event.
#[derive(Debug)]
pub struct Event {
    /// Its number.
    pub id: u64,
    /// What it is of.
    pub topic: Topic,
    /// The how manieth of its topic.
    seq: u64,
    /// JSON.
    pub data: Bytes,
}

/// Where the news arrive.
pub struct Desk {
    from: mpsc::Receiver<News>,
    lost: Arc<[AtomicU64; TOPICS]>,
    ring: Arc<Ring>,
}

/// See the module.
pub struct Ring {
    /// Which run made its numbers.
    run: String,
    wanted: Arc<AtomicU32>,
    inner: Mutex<Inner>,
    /// Rings when there is something new.
    bell: watch::Sender<u64>,
}

#[derive(Default)]
struct Inner {
    events: VecDeque<Arc<Event>>,
    bytes: usize,
    next: u64,
    topics: [Of; TOPICS],
}

/// One topic.
#[derive(Clone, Copy, Default)]
struct Of {
    /// How many there were of it.
    seq: u64,
    /// From which event on they are in the ring.
    since: Option<u64>,
    followers: usize,
    left: Option<Instant>,
}

/// A line to a ring that nobody follows yet.
pub fn line() -> (Reporter, Desk) {
    let (to, from) = mpsc::channel(QUEUE);
    let (wanted, lost) = (Arc::<AtomicU32>::default(), Arc::<[AtomicU64; TOPICS]>::default());
    let ring = Arc::new(Ring {
        run: format!("{:x}", wall_clock()),
        wanted: Arc::clone(&wanted),
        inner: Mutex::default(),
        bell: watch::Sender::new(0),
    });
    (Reporter { wanted, lost: Arc::clone(&lost), to }, Desk { from, lost, ring })
}

impl Desk {
    /// Where the events lie.
    pub fn ring(&self) -> Arc<Ring> {
        Arc::clone(&self.ring)
    }

    /// Makes events of what arrives, until nobody is left who tells.
    pub async fn work(mut self) {
        while let Some(news) = self.from.recv().await {
            self.take(news);
            // Who asks is not to wait for a flood of flows.
            tokio::task::yield_now().await;
        }
    }

    fn take(&self, news: News) {
        for (topic, lost) in Topic::ALL.into_iter().zip(self.lost.iter()) {
            self.ring.skip(topic, lost.swap(0, Ordering::Relaxed));
        }
        let ring = &self.ring;
        match news {
            News::Blocked(blocked) => ring.put(Topic::Block, &blocked),
            News::Unblocked(unblocked) => ring.put(Topic::Unblock, &unblocked),
            News::Records(records) => records.iter().for_each(|record| match record {
                Record::Events(batch) => {
                    ended(batch).for_each(|flow| ring.put(Topic::Flow, &StoredFlow::of(flow)));
                }
                Record::ProfileNew { addr, at } => {
                    ring.put(Topic::Profile, &Fresh { ip: addr.to_string(), at: iso(*at) });
                }
                Record::WindowClosed { window, at } => {
                    ring.put(Topic::Window, &Closed { window: window.0, at: iso(*at) });
                }
                Record::Evidence(evidence) => ring.put(Topic::Evidence, &StoredEvidence::of(evidence)),
                Record::Alert(alert) => {
                    ring.put(Topic::Alert, &AlertRow::of(alert, PacketTime(wall_clock())));
                }
                Record::Spared { .. } | Record::TookOver | Record::Stats(_) => {}
            }),
        }
        ring.ring();
    }
}

impl Ring {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring(&self) {
        let next = self.inner().next;
        self.bell.send_replace(next);
    }

    fn put(&self, topic: Topic, told: &impl Serialize) {
        let data = Bytes::from(serde_json::to_vec(told).unwrap_or_default());
        let mut inner = self.inner();
        let Some(of) = inner.topics.get_mut(topic as usize).filter(|of| of.since.is_some()) else { return };
        of.seq += 1;
        let seq = of.seq;
        let id = inner.next;
        inner.next += 1;
        inner.bytes += data.len();
        inner.events.push_back(Arc::new(Event { id, topic, seq, data }));
        while inner.events.len() > EVENTS || inner.bytes > BYTES {
            let Some(oldest) = inner.events.pop_front() else { break };
            inner.bytes -= oldest.data.len();
        }
    }

    /// So many of a topic never arrived.
    fn skip(&self, topic: Topic, lost: u64) {
        if lost > 0
            && let Some(of) = self.inner().topics.get_mut(topic as usize)
        {
            of.seq += lost;
        }
    }

    /// Forgets what nobody has followed for a while.
    pub fn tend(&self) {
        let mut inner = self.inner();
        for (topic, of) in Topic::ALL.into_iter().zip(&mut inner.topics) {
            if of.followers == 0 && of.left.is_some_and(|left| left.elapsed() >= LINGER) {
                (of.since, of.left) = (None, None);
                self.wanted.fetch_and(!topic.bit(), Ordering::Relaxed);
            }
        }
        if inner.topics.iter().all(|of| of.since.is_none()) {
            (inner.events, inner.bytes) = (VecDeque::new(), 0);
        }
    }

    /// Follows topics from now on, or from the event on that follows `last`.
    pub fn follow(self: &Arc<Self>, topics: &[Topic], last: Option<&str>) -> Follower {
        let mut inner = self.inner();
        let next = inner.next;
        let last = last.map(|last| {
            let (run, id) = last.split_once('-')?;
            let id: u64 = id.parse().ok()?;
            (run == self.run && id < next).then_some(id + 1)
        });
        // Who names an event of another run, or one that is gone, missed what nobody can count.
        let mut uncounted = last == Some(None);
        let cursor = last.flatten().unwrap_or(next);
        uncounted |= inner.events.front().map_or(next, |first| first.id) > cursor;
        let mut mask = 0;
        for topic in topics {
            mask |= topic.bit();
            let Some(of) = inner.topics.get_mut(*topic as usize) else { continue };
            of.followers += 1;
            of.left = None;
            uncounted |= *of.since.get_or_insert(next) > cursor;
        }
        self.wanted.fetch_or(mask, Ordering::Relaxed);
        let mut expected = [0; TOPICS];
        for (expected, of) in expected.iter_mut().zip(&inner.topics) {
            *expected = of.seq + 1;
        }
        for event in inner.events.iter().rev().take_while(|event| event.id >= cursor) {
            if let Some(expected) = expected.get_mut(event.topic as usize) {
                *expected = event.seq;
            }
        }
        let bell = self.bell.subscribe();
        Follower { ring: Arc::clone(self), mask, cursor, expected, uncounted, bell }
    }
}

/// One who follows.
pub struct Follower {
    ring: Arc<Ring>,
    mask: u32,
    cursor: u64,
    /// Number of the next event of each topic.
    expected: [u64; TOPICS],
    /// Something is missing before the first event, and nobody knows how much.
    uncounted: bool,
    bell: watch::Receiver<u64>,
}

impl Follower {
    /// What is there that he has not had, at most so many bytes: gaps, and events with their identities.
    pub fn take(&mut self, most: usize) -> (Option<Gap>, Vec<(String, Arc<Event>)>) {
        self.bell.borrow_and_update();
        let uncounted = std::mem::take(&mut self.uncounted);
        let inner = self.ring.inner();
        let (mut missed, mut bytes) = (0, 0);
        let mut taken = Vec::new();
        // The ring is in the order of its numbers, without holes.
        let first = inner.events.front().map_or(inner.next, |event| event.id);
        let skipped = usize::try_from(self.cursor.saturating_sub(first)).unwrap_or(usize::MAX);
        for event in inner.events.iter().skip(skipped) {
            if bytes >= most {
                break;
            }
            self.cursor = event.id + 1;
            if self.mask & event.topic.bit() == 0 {
                continue;
            }
            let Some(expected) = self.expected.get_mut(event.topic as usize) else { continue };
            let here = event.seq.saturating_sub(*expected);
            // What was gone before these events is told before them; a gap among them ends the taking.
            if here > 0 && !taken.is_empty() {
                self.cursor = event.id;
                break;
            }
            missed += here;
            *expected = event.seq + 1;
            bytes += event.data.len() + 64;
            taken.push((format!("{}-{}", self.ring.run, event.id), Arc::clone(event)));
        }
        let gap = match (uncounted, missed) {
            (true, _) => Some(Gap { missed: None }),
            (false, 0) => None,
            (false, missed) => Some(Gap { missed: Some(missed) }),
        };
        (gap, taken)
    }

    /// Waits until there is something new.
    pub async fn wait(&mut self) {
        // The sender lives as long as the ring, which we hold.
        let _ = self.bell.changed().await;
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let mut inner = self.ring.inner();
        for (topic, of) in Topic::ALL.into_iter().zip(&mut inner.topics) {
            if self.mask & topic.bit() != 0 {
                of.followers = of.followers.saturating_sub(1);
                of.left = (of.followers == 0).then(Instant::now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use slips_core::time::WindowId;

    use super::*;

    fn closed(n: i64) -> Record {
        Record::WindowClosed { window: WindowId(n), at: PacketTime(n) }
    }

    /// All that arrived becomes events.
    fn drain(desk: &mut Desk) {
        while let Ok(news) = desk.from.try_recv() {
            desk.take(news);
        }
    }

    fn numbers(taken: &[(String, Arc<Event>)]) -> Vec<i64> {
        taken
            .iter()
            .map(|(_, event)| serde_json::from_slice::<Closed>(&event.data).expect("closed").window)
            .collect()
    }

    #[test]
    fn nothing_is_made_while_nobody_follows_and_then_what_is_followed() {
        let (reporter, mut desk) = line();
        reporter.records(&[closed(1)]);
        assert!(desk.from.try_recv().is_err());
        let mut follower = desk.ring().follow(&[Topic::Window], None);
        reporter.records(&[closed(2), Record::Stats(Box::default())]);
        reporter.unblocked("192.0.2.1", "over");
        drain(&mut desk);
        let (gap, taken) = follower.take(usize::MAX);
        assert_eq!((gap, numbers(&taken)), (None, vec![2]));
        assert_eq!(follower.take(usize::MAX).1.len(), 0);
    }

    #[test]
    fn a_slow_client_is_told_how_much_it_missed() {
        let (reporter, mut desk) = line();
        let mut follower = desk.ring().follow(&[Topic::Window], None);
        let many = EVENTS as i64 + 100;
        for n in 0..many {
            reporter.records(&[closed(n)]);
            drain(&mut desk);
        }
        let (gap, taken) = follower.take(1);
        assert_eq!((gap, numbers(&taken)), (Some(Gap { missed: Some(100) }), vec![100]));
        assert_eq!(follower.take(usize::MAX).1.len(), EVENTS - 1);
        // What did not even arrive is counted, too.
        for n in 0..QUEUE as i64 + 7 {
            reporter.records(&[closed(n)]);
        }
        drain(&mut desk);
        assert_eq!(follower.take(usize::MAX).1.len(), QUEUE);
        reporter.records(&[closed(0)]);
        drain(&mut desk);
        let (gap, taken) = follower.take(usize::MAX);
        // The count of what was lost came with the first news after it.
        assert_eq!(gap.map_or(0, |gap| gap.missed.unwrap_or(0)) + taken.len() as u64, 1);
    }

    #[test]
    fn who_comes_back_goes_on_where_he_was_and_is_told_where_nobody_knows() {
        let (reporter, mut desk) = line();
        let ring = desk.ring();
        let mut follower = ring.follow(&[Topic::Window], None);
        for n in 0..4 {
            reporter.records(&[closed(n)]);
        }
        drain(&mut desk);
        let (_, taken) = follower.take(1);
        let last = taken.last().expect("one").0.clone();
        drop(follower);
        reporter.records(&[closed(4)]);
        drain(&mut desk);
        let mut again = ring.follow(&[Topic::Window], Some(&last));
        let (gap, taken) = again.take(usize::MAX);
        assert_eq!((gap, numbers(&taken)), (None, vec![1, 2, 3, 4]));
        for last in ["another-3", "nonsense", &format!("{}-999", ring.run)] {
            let (gap, taken) = ring.follow(&[Topic::Window], Some(last)).take(usize::MAX);
            assert_eq!((gap, taken.len()), (Some(Gap { missed: None }), 0), "{last}");
        }
        // Another topic was not in the ring then.
        let (gap, _) = ring.follow(&[Topic::Alert], Some(&last)).take(usize::MAX);
        assert_eq!(gap, Some(Gap { missed: None }));
    }
}
