//! A bounded queue that gives events in the order of their time, and lets two records that belong together find each other.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use slips_core::event::Event;
use slips_core::flow::Endpoint;
use slips_core::hash::KeyedState;
use slips_core::time::PacketTime;

/// So many events wait. A record that comes later than that behind its neighbours in time stays where it is.
const CAPACITY: usize = 1 << 16;

/// What a record waits under: both ends, and what tells records between them apart.
pub(crate) type Key = (Endpoint, Endpoint, u32);

/// The queue.
pub(crate) struct Reorder {
    capacity: usize,
    /// Earliest first; at equal times in the order of arrival.
    due: BinaryHeap<Reverse<(PacketTime, u64, usize)>>,
    waiting: Vec<Option<Waiting>>,
    free: Vec<usize>,
    by_key: HashMap<Key, usize, KeyedState>,
    arrived: u64,
    count: usize,
}

struct Waiting {
    number: u64,
    key: Option<Key>,
    event: Event,
}

impl Default for Reorder {
    fn default() -> Self {
        Self::new(CAPACITY)
    }
}

impl Reorder {
    fn new(capacity: usize) -> Self {
        Self {
            capacity,
            due: BinaryHeap::new(),
            waiting: Vec::new(),
            free: Vec::new(),
            by_key: HashMap::default(),
            arrived: 0,
            count: 0,
        }
    }

    /// Whether an event must leave before the next comes.
    pub(crate) const fn is_full(&self) -> bool {
        self.count >= self.capacity
    }

    /// Adds an event.
    pub(crate) fn push(&mut self, event: Event) {
        self.add(event, None);
    }

    /// Adds an event that [`Reorder::take`] finds, while it waits, until another comes under the same key.
    pub(crate) fn push_under(&mut self, key: Key, event: Event) {
        self.add(event, Some(key));
    }

    fn add(&mut self, event: Event, key: Option<Key>) {
        self.arrived += 1;
        self.count += 1;
        let number = self.arrived;
        let time = event.time();
        let waiting = Some(Waiting { number, key, event });
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                self.waiting.push(None);
                self.waiting.len() - 1
            }
        };
        if let Some(place) = self.waiting.get_mut(slot) {
            *place = waiting;
        }
        self.due.push(Reverse((time, number, slot)));
        if self.due.len() > 2 * self.capacity {
            self.forget_taken();
        }
        if let Some(key) = key {
            self.by_key.insert(key, slot);
        }
    }

    /// The event that waits under `key`. Its time must stay.
    pub(crate) fn get_mut(&mut self, key: &Key) -> Option<&mut Event> {
        let slot = *self.by_key.get(key)?;
        self.waiting.get_mut(slot)?.as_mut().map(|waiting| &mut waiting.event)
    }

    /// Takes the event that waits under `key`, when `fits` says that it is the one.
    pub(crate) fn take(&mut self, key: &Key, fits: impl FnOnce(&Event) -> bool) -> Option<Event> {
        let slot = *self.by_key.get(key)?;
        let waiting = self.waiting.get(slot)?.as_ref()?;
        // Its entry in `due` is passed over when it comes up: the number differs or nothing is there.
        if fits(&waiting.event) { self.remove(slot) } else { None }
    }

    /// The earliest event.
    pub(crate) fn pop(&mut self) -> Option<Event> {
        loop {
            let Reverse((_, number, slot)) = self.due.pop()?;
            let same = self.waiting.get(slot).and_then(Option::as_ref).is_some_and(|at| at.number == number);
            if same {
                return self.remove(slot);
            }
        }
    }

    /// How many events have come so far.
    pub(crate) const fn arrived(&self) -> u64 {
        self.arrived
    }

    /// Appends the events up to this number to `out`, in the order of their time; those that came later stay.
    pub(crate) fn release(&mut self, upto: u64, out: &mut Vec<Event>) {
        let mut later = Vec::new();
        while let Some(Reverse(entry)) = self.due.pop() {
            let (_, number, slot) = entry;
            if number > upto {
                later.push(Reverse(entry));
            } else if self.waiting.get(slot).and_then(Option::as_ref).is_some_and(|at| at.number == number) {
                out.extend(self.remove(slot));
            }
        }
        self.due.extend(later);
    }

    /// Drops the entries of events that were taken; an input could leave any number of them behind.
    fn forget_taken(&mut self) {
        let waiting = &self.waiting;
        let alive = |number: u64, slot: usize| {
            waiting.get(slot).and_then(Option::as_ref).is_some_and(|at| at.number == number)
        };
        self.due.retain(|Reverse((_, number, slot))| alive(*number, *slot));
    }

    fn remove(&mut self, slot: usize) -> Option<Event> {
        let waiting = self.waiting.get_mut(slot)?.take()?;
        if let Some(key) = waiting.key
            && self.by_key.get(&key) == Some(&slot)
        {
            self.by_key.remove(&key);
        }
        self.free.push(slot);
        self.count -= 1;
        Some(waiting.event)
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::*;

    fn tick(at: i64) -> Event {
        Event::Tick(PacketTime(at))
    }

    fn key(id: u32) -> Key {
        let end = Endpoint { addr: IpAddr::from([192, 0, 2, 1]), port: 1 };
        (end, end, id)
    }

    fn drain(queue: &mut Reorder) -> Vec<i64> {
        std::iter::from_fn(|| queue.pop()).map(|event| event.time().0).collect()
    }

    #[test]
    fn what_belongs_together_is_found_while_it_waits() {
        let mut queue = Reorder::new(4);
        queue.push_under(key(1), tick(5));
        queue.push_under(key(2), tick(1));
        assert_eq!(queue.take(&key(1), |_| false), None);
        assert_eq!(queue.take(&key(1), |_| true), Some(tick(5)));
        assert_eq!(queue.take(&key(1), |_| true), None);
        queue.push_under(key(1), tick(0));
        queue.push_under(key(1), tick(7));
        assert_eq!(queue.pop(), Some(tick(0)));
        assert_eq!(queue.take(&key(1), |_| true), Some(tick(7)), "the newest under a key");
        assert_eq!(drain(&mut queue), [1]);
        assert!(queue.by_key.is_empty() && queue.due.is_empty());
    }

    #[test]
    fn what_came_before_a_moment_is_released_in_order_and_the_rest_stays() {
        let mut queue = Reorder::new(9);
        [5, 1, 4].iter().for_each(|at| queue.push(tick(*at)));
        let upto = queue.arrived();
        queue.push_under(key(1), tick(0));
        queue.push(tick(3));
        let mut out = Vec::new();
        queue.release(upto, &mut out);
        assert_eq!(out, [tick(1), tick(4), tick(5)]);
        assert_eq!(queue.take(&key(1), |_| true), Some(tick(0)));
        assert_eq!(drain(&mut queue), [3]);
    }

    proptest! {
        #[test]
        fn a_queue_that_is_large_enough_sorts(times in proptest::collection::vec(0i64..50, 0..200)) {
            let mut queue = Reorder::new(1000);
            times.iter().for_each(|at| queue.push(tick(*at)));
            let mut sorted = times.clone();
            sorted.sort_unstable();
            prop_assert_eq!(drain(&mut queue), sorted);
        }

        #[test]
        fn nothing_is_lost_however_small_it_is(times in proptest::collection::vec((0i64..50, 0u32..4), 0..200), capacity in 1usize..20) {
            let mut queue = Reorder::new(capacity);
            let mut out = 0;
            for (at, id) in &times {
                while queue.is_full() {
                    out += usize::from(queue.pop().is_some());
                }
                queue.push_under(key(*id), tick(*at));
                if at % 7 == 0 {
                    out += usize::from(queue.take(&key(*id), |_| true).is_some());
                }
                prop_assert!(queue.waiting.len() <= capacity);
                prop_assert!(queue.by_key.len() <= capacity);
                prop_assert!(queue.due.len() <= 2 * capacity);
            }
            prop_assert_eq!(out + drain(&mut queue).len(), times.len());
        }
    }
}
