//! How far each thread of the engine is, for whoever has to know whether one stands still. A thread that has nothing to do does not; one
//! that waits for another does, but is not to blame.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// What a thread does at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// Waits for something to do.
    Nothing,
    /// Works.
    Work,
    /// Waits for another thread: for its answer, or for room in its queue.
    Waiting,
}

/// One thread of the engine.
#[derive(Debug)]
pub struct Part {
    name: String,
    given: AtomicU64,
    done: AtomicU64,
    doing: AtomicU8,
}

/// How far a part was when it was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Jobs that were put into its queue, or were about to be.
    pub given: u64,
    /// Those that it is through with, and has handed on.
    pub done: u64,
    /// What it does.
    pub doing: Doing,
}

impl Part {
    pub(super) fn new(name: String) -> Arc<Self> {
        let zero = || AtomicU64::new(0);
        Arc::new(Self { name, given: zero(), done: zero(), doing: AtomicU8::new(Doing::Nothing as u8) })
    }

    /// Of its thread.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How far it is now.
    pub fn look(&self) -> Moment {
        // Done is read first: what is given and done in between is not work that waits.
        let done = self.done.load(Ordering::Acquire);
        let doing = match self.doing.load(Ordering::Acquire) {
            WORK => Doing::Work,
            WAITING => Doing::Waiting,
            _ => Doing::Nothing,
        };
        Moment { given: self.given.load(Ordering::Acquire), done, doing }
    }

    pub(super) fn give(&self) {
        self.given.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn take_back(&self) {
        self.given.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn begin(&self, doing: Doing) {
        self.doing.store(doing as u8, Ordering::Release);
    }

    pub(super) fn done(&self) {
        self.begin(Doing::Nothing);
        self.done.fetch_add(1, Ordering::Release);
    }
}

const WORK: u8 = Doing::Work as u8;
const WAITING: u8 = Doing::Waiting as u8;

/// All threads of an engine, downstream.
#[derive(Clone, Debug)]
pub struct Progress {
    pub(super) router: Arc<Part>,
    pub(super) shards: Vec<Arc<Part>>,
    pub(super) judge: Arc<Part>,
}

impl Progress {
    /// For so many shards; with none, the judge does all.
    pub(super) fn new(shards: usize) -> Self {
        let shards = (0..shards).map(|number| Part::new(format!("shard-{number}"))).collect::<Vec<_>>();
        let last = if shards.is_empty() { "engine" } else { "judge" };
        Self { router: Part::new("router".into()), shards, judge: Part::new(last.into()) }
    }

    /// Each of them.
    pub fn parts(&self) -> impl Iterator<Item = &Part> {
        let threads = [&self.router].into_iter().filter(|_| !self.shards.is_empty());
        threads.chain(&self.shards).chain([&self.judge]).map(AsRef::as_ref)
    }

    /// Who gets what comes in.
    pub(super) fn first(&self) -> Arc<Part> {
        Arc::clone(if self.shards.is_empty() { &self.judge } else { &self.router })
    }
}
