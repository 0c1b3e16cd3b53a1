//! The control API: HTTP/1.1 with JSON over a unix socket (docs/api.md).
//!
//! ```text
//! socket ─▶ serve: who is it, is there room ─▶ routes: one table ─┬▶ figures in memory
//!                                                                ├▶ the database, read-only
//!                                                                └▶ asking threads ─▶ responder, peers, main thread
//! ```
//! A runtime of its own serves all clients: one thread at a time, and while it reads for one of them another takes its place. Nobody in the
//! daemon waits for any of them. Who may ask is told by the kernel. Everything is bounded: clients, sizes, times.

mod access;
pub mod allow;
mod call;
mod clients;
mod events;
mod forms;
mod listen;
mod lookups;
pub mod news;
pub mod openapi;
mod overdue;
mod pool;
mod problem;
mod read;
mod routes;
mod serve;
mod table;
pub mod types;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};

use self::access::Doorman;
use self::clients::Clients;
use self::news::{Desk, Ring};
use self::overdue::Overdue;
use self::problem::Problem;
use self::types::{ClientCount, Fleet, Status};
use super::Ends;
use crate::daemon::figures::{ClientFigures, Figures};
use crate::daemon::fleet::View;
use crate::daemon::peers::Word;
use crate::daemon::whitelist::{Hurry, Spared};
use crate::shelf::Shelf;

pub use self::listen::{NAME, Place};
pub use self::pool::Pool;

/// Clients of the socket that are served at once, and of the address of the figures.
const CLIENTS: usize = 64;
const FIGURES_CLIENTS: usize = 8;
/// Requests that read the database at once, and those that wait for an answer of the daemon's parts.
const READING: usize = 4;
const ASKING: usize = 2;
/// Clients whose groups are looked up at once.
const KNOWING: usize = 1;
/// A thread's stack: what is deepest in it is SQLite.
const STACK: usize = 512 << 10;
/// How often it is looked for what nobody needs any more.
const REST: Duration = Duration::from_secs(30);
/// How long who waits for an answer may still get it at the end.
const ENDING: Duration = Duration::from_millis(300);

/// What the daemon lets be read.
pub struct Sources {
    /// The routers on one Redis, where there is one.
    pub fleet: Option<View>,
    /// What is counted.
    pub figures: Arc<Figures>,
    /// The lists.
    pub shelf: Arc<Shelf>,
    /// The whitelist.
    pub whitelist: Spared,
    /// For who changes it.
    pub allowed: Hurry,
    /// What was seen.
    pub flows: Pool,
    /// The book of blocks.
    pub book: Pool,
}

/// What requests are answered from.
pub struct Shared {
    sources: Sources,
    ends: Arc<Ends>,
    doorman: Doorman,
    clients: Arc<Clients>,
    ring: Arc<Ring>,
    reading: Semaphore,
    overdue: Overdue,
    asking: Arc<Semaphore>,
    knowing: Arc<Semaphore>,
}

impl Shared {
    fn count(&self) -> ClientCount {
        ClientCount { connected: self.clients.count() as u64, following: self.clients.following() as u64 }
    }

    fn status(&self) -> Status {
        self.sources.figures.status(self.count())
    }

    fn pool(&self, database: routes::Database) -> &Pool {
        match database {
            routes::Database::Flows => &self.sources.flows,
            routes::Database::Book => &self.sources.book,
        }
    }

    fn fleet(&self) -> Result<Fleet, Problem> {
        let none = || Problem::absent("there is no fleet: redis.url names no Redis");
        let view = self.sources.fleet.as_ref().ok_or_else(none)?;
        Ok(view.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    fn metrics(&self) -> String {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        self.sources.figures.metrics(&ClientFigures {
            count: self.count(),
            refused: load(&self.clients.refused),
            evicted: load(&self.clients.evicted),
        })
    }

    /// The process that talks with peers was refused; it may be no longer what it was.
    fn node_asked(&self) {
        self.ends.tell_peers(Word::NodeCommanded);
    }
}

/// The API while it runs.
pub struct Api {
    stop: watch::Sender<bool>,
    thread: JoinHandle<()>,
}

impl Api {
    /// Serves at `place`, and the figures at this address, too; where that cannot be had yet (an interface that is not up), it is tried again,
    /// and why is told beside.
    pub fn start(
        place: Place,
        metrics: Option<SocketAddr>,
        ends: Arc<Ends>,
        sources: Sources,
        desk: Desk,
    ) -> io::Result<(Self, Option<io::Error>)> {
        let metrics = metrics.map(|address| (address, TcpListener::bind(address)));
        let (metrics, trouble) = match metrics {
            Some((address, Ok(listener))) => (Some((address, Some(listener))), None),
            Some((address, Err(error))) => (Some((address, None)), Some(error)),
            None => (None, None),
        };
        let shared = Arc::new(Shared {
            sources,
            doorman: Doorman::new(ends.node.clone()),
            ends,
            clients: Arc::new(Clients::new(clients())),
            ring: desk.ring(),
            reading: Semaphore::new(READING),
            overdue: Overdue::default(),
            asking: Arc::new(Semaphore::new(ASKING)),
            knowing: Arc::new(Semaphore::new(KNOWING)),
        });
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_io()
            .enable_time()
            // One serves; while it reads for somebody, another one has taken its place.
            .worker_threads(1)
            // None of those is ever waited for by whoever takes the place of one that reads.
            .max_blocking_threads(READING + ASKING + KNOWING)
            // None ends: where no other thread can be had any more, the others wait for the one there is.
            .thread_keep_alive(Duration::MAX)
            .thread_name("api-worker")
            .thread_stack_size(STACK)
            .build()?;
        let (stop, stopped) = watch::channel(false);
        let thread = thread::Builder::new().name("api".into()).stack_size(STACK).spawn(move || {
            // In one of its own threads: this one would have to be woken by it for each client that comes.
            let ended = runtime.spawn(run(place, metrics, shared, desk, stopped));
            // It is never cancelled, and a panic has ended the process.
            let _ = runtime.block_on(ended);
            runtime.shutdown_timeout(ENDING);
        })?;
        Ok((Self { stop, thread }, trouble))
    }

    /// Ends it; who waits for an answer gets it, if it comes at once.
    pub fn stop(self) -> thread::Result<()> {
        // Nobody listens any more if the thread is gone.
        let _ = self.stop.send(true);
        self.thread.join()
    }
}

async fn run(
    place: Place,
    metrics: Option<(SocketAddr, Option<TcpListener>)>,
    shared: Arc<Shared>,
    desk: Desk,
    mut stopped: watch::Receiver<bool>,
) {
    let all: Vec<&'static routes::Route> = table::TABLE.iter().collect();
    let router = routes::router(&shared, &all);
    if let Some((address, listener)) = metrics {
        let router = routes::router(&shared, &table::figures().collect::<Vec<_>>());
        let clients = Arc::new(Clients::new(FIGURES_CLIENTS));
        let stopped = stopped.clone();
        tokio::spawn(async move {
            let listener = listening(address, listener).await;
            serve::at_address(listener, router, clients, stopped).await;
        });
    }
    tokio::spawn(desk.work());
    tokio::spawn(rest(Arc::clone(&shared)));
    let read = Arc::clone(&shared);
    tokio::spawn(async move { read.overdue.work().await });
    let listener = place.listener.try_clone().and_then(|listener| {
        listener.set_nonblocking(true)?;
        tokio::net::UnixListener::from_std(listener)
    });
    let clients = Arc::clone(&shared.clients);
    match listener {
        Ok(listener) => serve::at_socket(listener, shared, router, Arc::clone(&clients), stopped).await,
        // Without it the figures may still be had.
        Err(_) => drop(stopped.changed().await),
    }
    let answered = async {
        while clients.close() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let _ = tokio::time::timeout(ENDING, answered).await;
    drop(place);
}

/// A listener at this address, as soon as it can be had.
async fn listening(address: SocketAddr, first: Option<TcpListener>) -> tokio::net::TcpListener {
    let ready = first.and_then(|listener| {
        listener.set_nonblocking(true).ok()?;
        tokio::net::TcpListener::from_std(listener).ok()
    });
    if let Some(listener) = ready {
        return listener;
    }
    loop {
        tokio::time::sleep(LISTEN_EVERY).await;
        if let Ok(listener) = tokio::net::TcpListener::bind(address).await {
            return listener;
        }
    }
}

/// Lets go of what nobody has asked for in a while.
async fn rest(shared: Arc<Shared>) {
    let mut turns = tokio::time::interval(REST);
    loop {
        turns.tick().await;
        shared.ring.tend();
        shared.sources.flows.rest();
        shared.sources.book.rest();
    }
}

/// How often it is tried to listen at the address of the figures.
const LISTEN_EVERY: Duration = Duration::from_secs(5);

/// As many clients as there are descriptors for: the others are the capture's, the databases' and the firewall's.
fn clients() -> usize {
    let limit = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE);
    let descriptors = limit.map_or(0, |(soft, _)| usize::try_from(soft).unwrap_or(usize::MAX));
    (descriptors / 8).clamp(4, CLIENTS)
}
