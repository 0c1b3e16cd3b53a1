//! Ends what is read for too long.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// How long reading may take.
const READING: Duration = Duration::from_secs(5);
/// How often it is ended that takes longer: between two questions there is nothing to end.
const AGAIN: Duration = Duration::from_millis(100);

/// What ends one reading.
#[derive(Default)]
pub struct GivenUp(Mutex<Option<Box<dyn Fn() + Send>>>);

impl GivenUp {
    fn end(&self) -> MutexGuard<'_, Option<Box<dyn Fn() + Send>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It may be ended so.
    pub fn may_end(&self, end: impl Fn() + Send + 'static) {
        *self.end() = Some(Box::new(end));
    }

    /// What is read with that connection next is somebody else's.
    pub fn done(&self) {
        *self.end() = None;
    }

    fn now(&self) {
        if let Some(end) = &*self.end() {
            end();
        }
    }
}

/// All that is read now; as many as may read at once.
#[derive(Default)]
pub struct Overdue {
    /// Each with when its time is over, in that order.
    now: Mutex<Vec<(Instant, Arc<GivenUp>)>>,
    begun: Notify,
}

/// As long as this is there, a reading is watched.
pub struct Watched<'a> {
    by: &'a Overdue,
    given: &'a Arc<GivenUp>,
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        self.by.readings().retain(|(_, given)| !Arc::ptr_eq(given, self.given));
    }
}

impl Overdue {
    fn readings(&self) -> MutexGuard<'_, Vec<(Instant, Arc<GivenUp>)>> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on this one is watched.
    pub fn over<'a>(&'a self, given: &'a Arc<GivenUp>) -> Watched<'a> {
        self.readings().push((Instant::now() + READING, Arc::clone(given)));
        // Who waits for the end of another one need not wake: it ends before this one.
        self.begun.notify_one();
        Watched { by: self, given }
    }

    /// Ends those whose time is over, and sleeps while nobody reads.
    pub async fn work(&self) {
        loop {
            self.begun.notified().await;
            while let Some(next) = self.end(Instant::now()) {
                sleep_until(next).await;
            }
        }
    }

    /// Ends those whose time is over; when to look again.
    fn end(&self, now: Instant) -> Option<Instant> {
        let readings = self.readings();
        let over = readings.iter().take_while(|(end, _)| *end <= now);
        over.for_each(|(_, given)| given.now());
        readings.first().map(|(end, _)| (*end).max(now + AGAIN))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn what_takes_too_long_is_ended_until_it_ends_and_all_else_is_left_alone() {
        let overdue = Overdue::default();
        let reading = || {
            let (given, count) = (Arc::new(GivenUp::default()), Arc::<AtomicU32>::default());
            let counted = Arc::clone(&count);
            given.may_end(move || {
                counted.fetch_add(1, Ordering::Relaxed);
            });
            (given, count)
        };
        let [first, second, third] = [reading(), reading(), reading()];
        let began = Instant::now();
        drop(overdue.over(&first.0));
        let watched = overdue.over(&second.0);
        let other = overdue.over(&third.0);
        if let Some((end, _)) = overdue.readings().get_mut(1) {
            *end += READING;
        }
        let counts = || [&first, &second, &third].map(|reading| reading.1.load(Ordering::Relaxed));
        let next = overdue.end(began + READING - AGAIN).expect("there are some");
        assert!(next >= began + READING && counts() == [0, 0, 0]);
        for n in 1..3 {
            let now = next + AGAIN * n;
            assert_eq!(overdue.end(now), Some(now + AGAIN));
            assert_eq!(counts(), [0, n, 0]);
        }
        // It ended by itself, and the connection is somebody else's now.
        second.0.done();
        overdue.end(next + AGAIN * 3);
        drop(watched);
        assert!(overdue.end(next + AGAIN * 4).is_some_and(|next| next >= began + READING * 2));
        assert_eq!(counts(), [0, 2, 0]);
        drop(other);
        assert_eq!(overdue.end(next), None);
    }
}
