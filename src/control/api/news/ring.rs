//! Where events lie for a while, and those who read them there, each at his own pace.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::Instant;

use super::{Gap, Lane, TOPICS, Topic};

/// Events of a lane in the ring, and their bytes.
pub(super) const EVENTS: usize = 8192;
const BYTES: usize = 4 << 20;
/// How long events are made of a topic that nobody follows any more: a client may come back.
const LINGER: Duration = Duration::from_secs(60);

/// See the module. There is a ring for each lane; their events share one order.
pub struct Ring {
    /// Which run made its numbers.
    pub(super) run: String,
    wanted: Arc<AtomicU32>,
    inner: Mutex<Inner>,
    /// Rings when there is something new.
    bell: watch::Sender<u64>,
}

/// An event as it is told.
#[derive(Debug)]
pub struct Event {
    /// Its identity: who names it goes on behind it.
    pub id: String,
    /// What it is of.
    pub topic: Topic,
    /// JSON.
    pub data: Bytes,
}

/// What lies in a ring.
struct Entry {
    number: u64,
    topic: Topic,
    what: What,
}

enum What {
    /// An event's JSON.
    Event(Bytes),
    /// So many that never arrived.
    Lost(u64),
}

impl Entry {
    const fn count(&self) -> u64 {
        match self.what {
            What::Event(_) => 1,
            What::Lost(count) => count,
        }
    }

    fn bytes(&self) -> usize {
        match &self.what {
            What::Event(data) => data.len(),
            What::Lost(_) => 0,
        }
    }
}

#[derive(Default)]
struct Inner {
    next: u64,
    lanes: [Entries; 2],
    topics: [Of; TOPICS],
}

/// A lane: in the order of their numbers, with holes where the other lane has them.
#[derive(Default)]
struct Entries {
    entries: VecDeque<Entry>,
    bytes: usize,
    /// All before this number made room.
    gone: u64,
}

/// One topic.
#[derive(Clone, Copy, Default)]
struct Of {
    /// How many of it made room, or never arrived before one that did.
    gone: u64,
    /// From which number on they are in the ring.
    since: Option<u64>,
    followers: usize,
    left: Option<Instant>,
}

impl Inner {
    fn push(&mut self, topic: Topic, what: What) {
        if self.topics.get(topic as usize).is_none_or(|of| of.since.is_none()) {
            return;
        }
        let entry = Entry { number: self.next, topic, what };
        self.next += 1;
        let Some(lane) = self.lanes.get_mut(topic.lane() as usize) else { return };
        lane.bytes += entry.bytes();
        lane.entries.push_back(entry);
        while lane.entries.len() > EVENTS || lane.bytes > BYTES {
            lane.drop_oldest(&mut self.topics);
        }
    }
}

impl Entries {
    fn drop_oldest(&mut self, topics: &mut [Of; TOPICS]) {
        let Some(oldest) = self.entries.pop_front() else { return };
        self.bytes -= oldest.bytes();
        self.gone = oldest.number + 1;
        if let Some(of) = topics.get_mut(oldest.topic as usize) {
            of.gone += oldest.count();
        }
    }

    /// Where the first stands that has this number or a later one.
    fn place(&self, number: u64) -> usize {
        self.entries.partition_point(|entry| entry.number < number)
    }
}

impl Ring {
    pub(super) fn new(run: String, wanted: Arc<AtomicU32>) -> Self {
        Self { run, wanted, inner: Mutex::default(), bell: watch::Sender::new(0) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those who wait are to look.
    pub(super) fn ring(&self) {
        let next = self.inner().next;
        self.bell.send_if_modified(|seen| std::mem::replace(seen, next) != next);
    }

    pub(super) fn put(&self, topic: Topic, told: &impl Serialize) {
        let data = Bytes::from(serde_json::to_vec(told).unwrap_or_default());
        self.inner().push(topic, What::Event(data));
    }

    /// So many of each topic never arrived.
    pub(super) fn lose(&self, counts: [u64; TOPICS]) {
        for (topic, count) in Topic::ALL.into_iter().zip(counts).filter(|(_, count)| *count > 0) {
            self.inner().push(topic, What::Lost(count));
        }
    }

    /// Forgets what nobody has followed for a while.
    pub fn tend(&self) {
        self.forget(LINGER);
    }

    pub(super) fn forget(&self, linger: Duration) {
        let mut inner = self.inner();
        let Inner { lanes, topics, next } = &mut *inner;
        for (topic, of) in Topic::ALL.into_iter().zip(topics.iter_mut()) {
            if of.followers == 0 && of.left.is_some_and(|left| left.elapsed() >= linger) {
                (of.since, of.left) = (None, None);
                // What comes now has no number: whoever had the very last event comes back to one that is not the next.
                *next += 1;
                self.wanted.fetch_and(!topic.bit(), Ordering::Relaxed);
            }
        }
        for (lane, entries) in Lane::ALL.into_iter().zip(lanes) {
            let is_followed = |topic: Topic| topics.get(topic as usize).is_some_and(|of| of.since.is_some());
            if !lane.topics().any(is_followed) {
                while !entries.entries.is_empty() {
                    entries.drop_oldest(topics);
                }
                entries.entries = VecDeque::new();
            }
        }
    }

    /// Follows topics from now on, or from the event on that follows `last`.
    pub fn follow(self: &Arc<Self>, topics: &[Topic], last: Option<&str>) -> Follower {
        let mut inner = self.inner();
        let next = inner.next;
        let last = last.map(|last| {
            let (run, number) = last.split_once('-')?;
            let number: u64 = number.parse().ok()?;
            (run == self.run && number < next).then_some(number + 1)
        });
        // Who names an event of another run, or one that is gone, missed what nobody can count.
        let mut uncounted = last == Some(None);
        let cursor = last.flatten().unwrap_or(next);
        let (mut mask, mut had) = (0, [0; TOPICS]);
        let Inner { lanes, topics: all, .. } = &mut *inner;
        for &topic in topics {
            mask |= topic.bit();
            let (Some(of), Some(lane), Some(had)) =
                (all.get_mut(topic as usize), lanes.get(topic.lane() as usize), had.get_mut(topic as usize))
            else {
                continue;
            };
            of.followers += 1;
            of.left = None;
            uncounted |= *of.since.get_or_insert(next) > cursor || lane.gone > cursor;
            let before = lane.entries.iter().take(lane.place(cursor)).filter(|entry| entry.topic == topic);
            *had = of.gone + before.map(Entry::count).sum::<u64>();
        }
        self.wanted.fetch_or(mask, Ordering::Relaxed);
        let bell = self.bell.subscribe();
        Follower { ring: Arc::clone(self), mask, cursor, had, uncounted, bell }
    }
}

/// One who follows.
pub struct Follower {
    ring: Arc<Ring>,
    mask: u32,
    /// All before this number was taken.
    cursor: u64,
    /// How many of each topic he has had, or was told that he missed.
    had: [u64; TOPICS],
    /// Something is missing before the first event, and nobody knows how much.
    uncounted: bool,
    bell: watch::Receiver<u64>,
}

impl Follower {
    /// What is there that he has not had, at most about so many bytes: a gap, and the events behind it, up to the next gap.
    pub fn take(&mut self, most: usize) -> (Option<Gap>, Vec<Event>) {
        self.bell.borrow_and_update();
        let uncounted = std::mem::take(&mut self.uncounted);
        let ring = Arc::clone(&self.ring);
        let inner = ring.inner();
        let (mut missed, mut bytes) = (0, 0);
        let mut taken = Vec::new();
        let followed = |lane: &Lane| lane.topics().any(|topic| self.mask & topic.bit() != 0);
        let mut lanes: Vec<(Lane, _)> = Lane::ALL
            .into_iter()
            .filter(followed)
            .filter_map(|lane| {
                let entries = inner.lanes.get(lane as usize)?;
                let mask = self.mask;
                let rest = entries.entries.range(entries.place(self.cursor)..);
                Some((lane, rest.filter(move |entry| mask & entry.topic.bit() != 0).peekable()))
            })
            .collect();
        let whole = loop {
            let next = lanes.iter_mut().filter_map(|(lane, rest)| Some((rest.peek()?.number, *lane)));
            let Some((_, lane)) = next.min_by_key(|(number, _)| *number) else { break true };
            // What made room in a lane did so before its first event; what is gone among those that were taken ends the taking.
            let gone = self.gone(&inner, lane);
            if bytes >= most || (gone > 0 && !taken.is_empty()) {
                break false;
            }
            missed += gone;
            self.told_gone(&inner, lane);
            let rest = lanes.iter_mut().find(|(of, _)| *of == lane);
            let Some((_, rest)) = rest else { break false };
            let Some(entry) = rest.next_if(|entry| taken.is_empty() || matches!(entry.what, What::Event(_)))
            else {
                break false;
            };
            if let Some(had) = self.had.get_mut(entry.topic as usize) {
                *had += entry.count();
            }
            self.cursor = entry.number + 1;
            match &entry.what {
                What::Lost(count) => missed += count,
                What::Event(data) => {
                    bytes += data.len() + 64;
                    let id = format!("{}-{}", ring.run, entry.number);
                    taken.push(Event { id, topic: entry.topic, data: data.clone() });
                }
            }
        };
        if whole && taken.is_empty() {
            for lane in Lane::ALL {
                missed += self.gone(&inner, lane);
                self.told_gone(&inner, lane);
            }
            self.cursor = inner.next;
        }
        let gap = match (uncounted, missed) {
            (true, _) => Some(Gap { missed: None }),
            (false, 0) => None,
            (false, missed) => Some(Gap { missed: Some(missed) }),
        };
        (gap, taken)
    }

    /// The followed topics of a lane, with how many of each made room.
    fn of_lane<'a>(&self, inner: &'a Inner, lane: Lane) -> impl Iterator<Item = (Topic, &'a Of)> + use<'a> {
        let mask = self.mask;
        let followed = lane.topics().filter(move |topic| mask & topic.bit() != 0);
        followed.filter_map(|topic| Some((topic, inner.topics.get(topic as usize)?)))
    }

    /// How many of a lane made room before he had them.
    fn gone(&self, inner: &Inner, lane: Lane) -> u64 {
        let missed = |(topic, of): (Topic, &Of)| {
            of.gone.saturating_sub(self.had.get(topic as usize).copied().unwrap_or_default())
        };
        self.of_lane(inner, lane).map(missed).sum()
    }

    fn told_gone(&mut self, inner: &Inner, lane: Lane) {
        for (topic, of) in self.of_lane(inner, lane) {
            if let Some(had) = self.had.get_mut(topic as usize) {
                *had = of.gone.max(*had);
            }
        }
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
