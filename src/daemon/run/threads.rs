//! The threads of the daemon: the order in which they are started, and the one in which they end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use slips_core::engine::pipeline::Pipeline;
use slips_input::capture::Stopper;
use slips_store::OutputDir;

use super::doors::Doors;
use super::guard::Guard;
use super::inputs::Inputs;
use super::judge::Judge;
use crate::cli::{Exit, Failure};
use crate::config::Config;
use crate::control::Server;
use crate::control::api::Api;
use crate::daemon::clocks::Clocks;
use crate::daemon::outbox::Shed;
use crate::daemon::peers::EngineLine;
use crate::daemon::pulse::{Losses, Pulse};
use crate::daemon::responder::Responder;
use crate::daemon::signals::{Asked, Signals};
use crate::daemon::{api, entries, tend};

/// After this long without the end, a stop ends the process at once: before the unit's `TimeoutStopSec`, which kills.
const DEADLINE: Duration = Duration::from_secs(15);
/// How long is waited for one who may be reading lists for seconds, or a server that stands still: of two seconds that a stop has.
const PATIENCE: Duration = Duration::from_millis(300);

/// What a thread will do once it is started.
pub struct Work<T = ()> {
    name: &'static str,
    work: Box<dyn FnOnce() -> T + Send>,
}

impl<T: Send + 'static> Work<T> {
    /// This, in a thread of this name.
    pub fn new(name: &'static str, work: impl FnOnce() -> T + Send + 'static) -> Self {
        Self { name, work: Box::new(work) }
    }

    fn start(self) -> Result<JoinHandle<T>, Failure> {
        spawn(self.name, self.work)
    }
}

/// One who follows files: it looks by itself, and at once when it is told to; it ends with the last who could tell it.
pub struct Reader {
    pub work: Work,
    pub again: SyncSender<()>,
}

/// All that run, in the order in which they end.
pub struct Threads {
    stoppers: Vec<Stopper>,
    captures: Vec<JoinHandle<Result<(), Failure>>>,
    /// The way into the engine for what others say.
    line: EngineLine,
    engine: Pipeline,
    sinks: JoinHandle<()>,
    peers: JoinHandle<()>,
    responder: JoinHandle<Responder>,
    fleet: (SyncSender<()>, Option<JoinHandle<()>>),
    control: Option<(Server, JoinHandle<()>)>,
    api: Option<Api>,
    finder: JoinHandle<()>,
    updates: (SyncSender<()>, JoinHandle<()>),
    services: Option<JoinHandle<()>>,
    /// They may be reading for seconds.
    readers: Vec<JoinHandle<()>>,
    /// Ends those who ask and hear others.
    stop: Arc<AtomicBool>,
    pulse: Arc<Pulse>,
    shed: [Arc<Shed>; 2],
    /// The directory is ours until all have ended.
    _dir: OutputDir,
}

impl Threads {
    /// Starts them: first those who act on what is found, then those who tell and read, last those who capture.
    pub fn start(
        config: &Config,
        inputs: Inputs,
        guard: Guard,
        judge: Judge,
        doors: Doors,
    ) -> Result<Self, Failure> {
        let stoppers = inputs.sources.iter().map(|source| source.stopper()).collect();
        let finder = guard.finder.start()?;
        let (records, advice, asks, bell) = (judge.decisions, judge.advice, doors.asks, guard.bell);
        let responder = guard.responder;
        let responder = spawn("responder", move || responder.run(&records, &advice, &asks, &bell))?;
        judge.line.open(judge.input.clone());

        let updates = (judge.updates.0, judge.updates.1.start()?);
        let services = judge.services.map(Work::start).transpose()?;
        let mirror = judge.mirror.map(Work::start).transpose()?;
        let bus = doors.bus.map(Work::start).transpose()?;
        let fleet = (doors.fleet.0, doors.fleet.1.map(Work::start).transpose()?);
        let lists = judge.lists.work.start()?;
        let whitelist = guard.whitelist.work.start()?;
        let peers = judge.peers.work.start()?;
        let sinks = judge.sinks.start()?;

        let captures = inputs.start(config, &guard.settings, (&guard.pulse, &guard.blocked), judge.input)?;
        Ok(Self {
            stoppers,
            captures,
            line: judge.line,
            engine: judge.engine,
            sinks,
            peers,
            responder,
            fleet,
            control: doors.control,
            api: doors.api,
            finder,
            updates,
            services,
            readers: [Some(lists), Some(whitelist), mirror, bus].into_iter().flatten().collect(),
            stop: judge.stop,
            pulse: guard.pulse,
            shed: judge.shed,
            _dir: guard.dir,
        })
    }

    /// Ends them downstream, each when nothing more can come to it; `reason` is told.
    pub fn stop(self, reason: &str) -> Result<(), Failure> {
        self.pulse.stopping.store(true, Ordering::Relaxed);
        self.stop.store(true, Ordering::Relaxed);
        let (until, updates) = self.updates;
        drop(until);
        self.line.close();
        for stopper in self.stoppers {
            stopper.stop();
        }
        let captured: Result<(), Failure> =
            self.captures.into_iter().map(join).collect::<Result<Vec<_>, _>>()?.into_iter().collect();
        let panicked = |name| Failure::new(Exit::Software, format!("the {name} thread panicked"));
        let stats = self.engine.join().map_err(panicked)?;
        join(self.sinks)?;
        join(self.peers)?;
        let mut responder = join(self.responder)?;
        // Whoever stands by takes the place of one that is through with all.
        let (until, fleet) = self.fleet;
        drop(until);
        fleet.map_or(Ok(()), join_shortly)?;
        if let Some((server, listening)) = self.control {
            server.stop();
            join(listening)?;
        }
        responder.forget_filed(usize::MAX);
        api::close(self.api)?;
        responder.say(&entries::stop(&stats, reason, &Losses::read(&self.pulse, &self.shed)));
        drop(responder);
        join(self.finder)?;
        join(updates)?;
        self.services.map_or(Ok(()), join)?;
        self.readers.into_iter().try_for_each(join_shortly)?;
        captured
    }
}

/// From now on a second SIGTERM or SIGINT, or the deadline, ends the process at once.
pub fn enforce_deadline(signals: Signals) -> Result<(), Failure> {
    spawn("deadline", move || {
        let clock = Clocks::default().steady;
        let began = clock();
        loop {
            match signals.wait(tend::LOOK) {
                Ok(Some(Asked::Stop)) => {
                    eprintln!("slips: a second signal; giving up");
                    break;
                }
                _ if clock().saturating_sub(began) >= DEADLINE => {
                    eprintln!("slips: the end took more than {} s; giving up", DEADLINE.as_secs());
                    break;
                }
                // A signal descriptor that fails does not end the waiting, and must not spin.
                Err(_) => thread::park_timeout(tend::LOOK),
                Ok(_) => {}
            }
        }
        std::process::exit(i32::from(Exit::Software as u8));
    })
    .map(drop)
}

/// Starts a thread of this name.
pub fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, Failure> {
    thread::Builder::new().name(name.into()).spawn(work).map_err(Failure::software)
}

/// Joins a thread that may be reading lists for seconds, or waiting for a Redis that stands still. What it reads is for nobody any more, and
/// what it writes takes its place as a whole or not at all: it ends with the process.
fn join_shortly(thread: JoinHandle<()>) -> Result<(), Failure> {
    let clock = Clocks::default().steady;
    let began = clock();
    while !thread.is_finished() {
        if clock().saturating_sub(began) >= PATIENCE {
            return Ok(());
        }
        thread::park_timeout(Duration::from_millis(5));
    }
    join(thread)
}

fn join<T>(thread: JoinHandle<T>) -> Result<T, Failure> {
    let name = thread.thread().name().unwrap_or("unnamed").to_owned();
    thread.join().map_err(|_| Failure::new(Exit::Software, format!("the {name} thread panicked")))
}
