//! The engine on threads: one router, N shards, one judge, bounded queues between them.
//!
//! ```text
//! Input ─16─▶ router ─4─▶ shard 0..N-1 ─4─▶ judge ─▶ sink
//!                └──────────────────────4─▶
//! ```
//! Each job goes to every shard, so that the judge takes one answer from each and needs no numbers to match them. A full
//! queue makes the writer wait: what to do about that (wait or shed) is decided by whoever feeds [`Input`].

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvError, SyncSender, TrySendError, sync_channel};
use std::thread::{Builder, JoinHandle};

use crate::event::Event;
use crate::record::{Record, Stats};
use crate::settings::Settings;

use super::judge::Judge;
use super::progress::{Doing, Part, Progress};
use super::router::{Job, Router, Summary};
use super::shard::Shard;
use super::{Engine, Registry};
use crate::detector::Emitted;

/// Batches that may wait before the router: with 1,000 events each some 5 MB, a tenth of a second at full speed.
pub const INPUT_QUEUE: usize = 16;
/// Jobs that may wait before a shard, and answers before the judge.
pub const SHARD_QUEUE: usize = 4;

/// Where batches of events go in. Dropping it (all clones) ends the pipeline downstream.
#[derive(Clone)]
pub struct Input {
    to: SyncSender<Vec<Event>>,
    first: Arc<Part>,
}

/// The pipeline has stopped; the batch comes back.
#[derive(Debug)]
pub struct Stopped(pub Vec<Event>);

/// Why a batch was not taken at once.
#[derive(Debug)]
pub enum NotTaken {
    /// The queue is full.
    Full(Vec<Event>),
    /// The pipeline has stopped.
    Stopped(Vec<Event>),
}

impl Input {
    /// Hands over a batch, waiting while the queue is full.
    pub fn send(&self, batch: Vec<Event>) -> Result<(), Stopped> {
        self.first.give();
        self.to.send(batch).map_err(|refused| Stopped(refused.0))
    }

    /// Hands over a batch if there is room now.
    pub fn try_send(&self, batch: Vec<Event>) -> Result<(), NotTaken> {
        self.first.give();
        self.to.try_send(batch).map_err(|refused| {
            self.first.take_back();
            match refused {
                TrySendError::Full(batch) => NotTaken::Full(batch),
                TrySendError::Disconnected(batch) => NotTaken::Stopped(batch),
            }
        })
    }
}

/// A running pipeline.
pub struct Pipeline {
    threads: Vec<JoinHandle<()>>,
    last: JoinHandle<Stats>,
    progress: Progress,
}

impl Pipeline {
    /// How far each thread is.
    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// Waits until all input is through (drop every [`Input`] first) and returns the final counters.
    /// `Err` names a thread that panicked.
    pub fn join(self) -> Result<Stats, String> {
        for thread in self.threads {
            let name = thread.thread().name().unwrap_or("engine").to_owned();
            thread.join().map_err(|_| name)?;
        }
        self.last.join().map_err(|_| "judge".to_owned())
    }
}

/// Starts the engine on `shards` shard threads (0: all of it on one thread). `sink` gets the records in order, on the last thread.
pub fn start(
    settings: &Settings,
    registry: &Registry,
    shards: usize,
    sink: impl FnMut(Vec<Record>) + Send + 'static,
) -> io::Result<(Input, Pipeline)> {
    let (input, events) = sync_channel(INPUT_QUEUE);
    let progress = Progress::new(shards);
    let first = progress.first();
    let pipeline = if shards == 0 {
        inline(Engine::new(settings, registry), events, sink, progress)?
    } else {
        threaded(settings, registry, progress, events, sink)?
    };
    Ok((Input { to: input, first }, pipeline))
}

fn inline(
    mut engine: Engine,
    events: Receiver<Vec<Event>>,
    mut sink: impl FnMut(Vec<Record>) + Send + 'static,
    progress: Progress,
) -> io::Result<Pipeline> {
    let own = Arc::clone(&progress.judge);
    let last = Builder::new().name(own.name().into()).spawn(move || {
        while let Ok(batch) = events.recv() {
            own.begin(Doing::Work);
            let mut records = Vec::new();
            engine.feed(batch, &mut records);
            sink(records);
            own.done();
        }
        let mut records = Vec::new();
        engine.finish(&mut records);
        sink(records);
        engine.stats()
    })?;
    Ok(Pipeline { threads: Vec::new(), last, progress })
}

fn threaded(
    settings: &Settings,
    registry: &Registry,
    progress: Progress,
    events: Receiver<Vec<Event>>,
    sink: impl FnMut(Vec<Record>) + Send + 'static,
) -> io::Result<Pipeline> {
    let settings = Arc::new(settings.clone());
    let mut threads = Vec::new();
    let mut to_shards = Vec::new();
    let mut from_shards = Vec::new();
    let mut wants = Default::default();
    for own in &progress.shards {
        let mut shard = Shard::new(Arc::clone(&settings), registry());
        wants = shard.wants();
        let (job_in, jobs) = sync_channel::<Job>(SHARD_QUEUE);
        let (found_in, found) = sync_channel::<Vec<Emitted>>(SHARD_QUEUE);
        to_shards.push(job_in);
        from_shards.push(found);
        let own = Arc::clone(own);
        threads.push(Builder::new().name(own.name().into()).spawn(move || {
            while let Ok(job) = jobs.recv() {
                own.begin(Doing::Work);
                let mut findings = Vec::new();
                shard.run(&job, &mut findings);
                own.begin(Doing::Waiting);
                if found_in.send(findings).is_err() {
                    return;
                }
                own.done();
            }
        })?);
    }
    let (summary_in, summaries) = sync_channel::<Summary>(SHARD_QUEUE);
    let router = Router::new(Arc::clone(&settings), wants, progress.shards.len());
    let ours = progress.clone();
    threads.push(
        Builder::new()
            .name("router".into())
            .spawn(move || route(router, &events, &to_shards, &summary_in, &ours))?,
    );
    let (judge, own) = (Judge::new(settings), Arc::clone(&progress.judge));
    let last = Builder::new()
        .name("judge".into())
        .spawn(move || collect(judge, &summaries, &from_shards, sink, &own))?;
    Ok(Pipeline { threads, last, progress })
}

fn route(
    mut router: Router,
    events: &Receiver<Vec<Event>>,
    shards: &[SyncSender<Job>],
    judge: &SyncSender<Summary>,
    progress: &Progress,
) {
    loop {
        let batch = events.recv();
        let ended = batch.is_err();
        progress.router.begin(Doing::Work);
        let routed = match batch {
            Ok(batch) => router.route(batch),
            Err(RecvError) => router.finish(),
        };
        progress.router.begin(Doing::Waiting);
        for ((shard, part), job) in shards.iter().zip(&progress.shards).zip(routed.jobs) {
            part.give();
            if shard.send(job).is_err() {
                return;
            }
        }
        progress.judge.give();
        if judge.send(routed.summary).is_err() || ended {
            return;
        }
        progress.router.done();
    }
}

fn collect(
    mut judge: Judge,
    summaries: &Receiver<Summary>,
    shards: &[Receiver<Vec<Emitted>>],
    mut sink: impl FnMut(Vec<Record>),
    own: &Part,
) -> Stats {
    while let Ok(summary) = summaries.recv() {
        own.begin(Doing::Waiting);
        let mut findings = Vec::new();
        for shard in shards {
            let Ok(mut found) = shard.recv() else { return judge.stats() };
            findings.append(&mut found);
        }
        own.begin(Doing::Work);
        let mut records = Vec::new();
        judge.judge(summary, findings, &mut records);
        sink(records);
        own.done();
    }
    sink(vec![Record::Stats(Box::new(judge.stats()))]);
    judge.stats()
}
