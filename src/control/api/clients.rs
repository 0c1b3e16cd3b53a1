//! The clients that are served: so many at once, and no longer than they may take. Who stalls makes room for who asks.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::Instant;

/// How long a client may be silent, or take to read an answer.
pub const IDLE: Duration = Duration::from_secs(60);
/// How long a request may take, whatever it is.
pub const BUSY: Duration = Duration::from_secs(30);
/// How long a client that follows events may take to read what waits for it.
pub const STALLED: Duration = Duration::from_secs(45);

/// At the end, who has done something so lately is about to ask.
const HAVING_COME: Duration = Duration::from_millis(100);

/// What a client does now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Doing {
    /// It has to say something, or to read what was said.
    Waits = 0,
    /// It waits for our answer.
    Asks = 1,
    /// It follows events.
    Follows = 2,
}

/// One client, as its connection and the table see it.
#[derive(Debug)]
pub struct Client {
    doing: AtomicU8,
    /// Milliseconds after the table's beginning at which it did something last.
    seen: AtomicU64,
    began: Instant,
}

impl Client {
    fn new(began: Instant) -> Self {
        let client = Self { doing: AtomicU8::new(Doing::Waits as u8), seen: AtomicU64::new(0), began };
        client.now(Doing::Waits);
        client
    }

    /// From now on it does this.
    pub fn now(&self, doing: Doing) {
        self.doing.store(doing as u8, Ordering::Relaxed);
        self.touch();
    }

    /// It did something.
    pub fn touch(&self) {
        let since = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.seen.store(since, Ordering::Relaxed);
    }

    fn doing(&self) -> Doing {
        match self.doing.load(Ordering::Relaxed) {
            1 => Doing::Asks,
            2 => Doing::Follows,
            _ => Doing::Waits,
        }
    }

    fn silent(&self) -> Duration {
        self.began.elapsed().saturating_sub(Duration::from_millis(self.seen.load(Ordering::Relaxed)))
    }
}

/// All of one door.
pub struct Clients {
    most: usize,
    began: Instant,
    seats: Mutex<Vec<(Arc<Client>, AbortHandle)>>,
    /// How many were turned away, and how many had to go.
    pub refused: AtomicU64,
    /// See `refused`.
    pub evicted: AtomicU64,
}

impl Clients {
    /// So many at most.
    pub fn new(most: usize) -> Self {
        Self {
            most,
            began: Instant::now(),
            seats: Mutex::default(),
            refused: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
        }
    }

    /// A client that came.
    pub fn client(&self) -> Arc<Client> {
        Arc::new(Client::new(self.began))
    }

    /// Whether there is room for one more; who waits longest and is not waited for goes for it.
    pub fn make_room(&self) -> bool {
        let mut seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        seats.retain(|(_, task)| !task.is_finished());
        if seats.len() < self.most {
            return true;
        }
        let stalled = seats.iter().enumerate().filter(|(_, (client, _))| match client.doing() {
            Doing::Waits => true,
            Doing::Asks => false,
            Doing::Follows => client.silent() >= STALLED,
        });
        let Some(at) = stalled.max_by_key(|(_, (client, _))| client.silent()).map(|(at, _)| at) else {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return false;
        };
        seats.swap_remove(at).1.abort();
        self.evicted.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// It is served by this task.
    pub fn seat(&self, client: Arc<Client>, task: AbortHandle) {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner).push((client, task));
    }

    /// Ends those who took too long.
    pub fn sweep(&self) {
        let mut seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        seats.retain(|(client, task)| {
            let patience = match client.doing() {
                Doing::Waits => IDLE,
                Doing::Asks => BUSY,
                Doing::Follows => STALLED,
            };
            let over = client.silent() >= patience;
            if over && !task.is_finished() {
                self.evicted.fetch_add(1, Ordering::Relaxed);
                task.abort();
            }
            !over && !task.is_finished()
        });
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        let seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        seats.iter().filter(|(_, task)| !task.is_finished()).count()
    }

    /// How many follow events.
    pub fn following(&self) -> usize {
        let seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        let follows = |(client, task): &&(Arc<Client>, AbortHandle)| {
            !task.is_finished() && client.doing() == Doing::Follows
        };
        seats.iter().filter(follows).count()
    }

    /// Ends those who neither wait for us nor are about to ask; whether any is left.
    pub fn close(&self) -> bool {
        let mut seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        seats.retain(|(client, task)| {
            let asks = match client.doing() {
                Doing::Asks => true,
                Doing::Waits => client.silent() < HAVING_COME,
                Doing::Follows => false,
            };
            if !asks {
                task.abort();
            }
            !task.is_finished() && asks
        });
        !seats.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime")
    }

    #[test]
    fn who_waits_longest_makes_room_and_who_is_waited_for_stays() {
        runtime().block_on(async {
            let clients = Clients::new(2);
            let come = |doing| {
                let client = clients.client();
                client.now(doing);
                let task = tokio::spawn(std::future::pending::<()>());
                clients.seat(Arc::clone(&client), task.abort_handle());
                (client, task)
            };
            let (_, asks) = come(Doing::Asks);
            let (_, waits) = come(Doing::Waits);
            assert_eq!(clients.count(), 2);
            assert!(clients.make_room());
            assert!(waits.await.expect_err("ended").is_cancelled());
            let (last, _) = come(Doing::Asks);
            assert!(!clients.make_room(), "nobody can go");
            last.now(Doing::Waits);
            assert!(clients.make_room());
            assert!(!asks.is_finished());
            assert_eq!(
                (clients.refused.load(Ordering::Relaxed), clients.evicted.load(Ordering::Relaxed)),
                (1, 2)
            );
            assert!(clients.close(), "who is waited for is");
        });
    }
}
