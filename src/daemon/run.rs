//! `slips run`: the daemon in the foreground.
//!
//! ```text
//! capture thread ─▶ engine threads ─▶ judge ─┬▶ responder thread (firewall, book, journal)
//!                                            └▶ sinks thread (alerts.json, alerts.log, SQLite)
//! main thread: signals, watchdog, status
//! ```
//! It ends downstream: the capture stops, the queues run empty, windows are closed, files are flushed, then the firewall is let go
//! (the kernel keeps the blocks until their time is over).

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use slips_core::engine::pipeline::{self, Input, NotTaken};
use slips_core::event::Event;
use slips_core::record::Record;
use slips_firewall::{Firewall, Options, Policy};
use slips_input::capture::{CaptureSettings, LinkState, Live, LiveSource};
use slips_store::RecordSink;
use slips_systemd::journal::{Journal, Lines, SOCKET};
use slips_systemd::notify::{Environment, Heartbeat, Notifier, State};

use super::clocks::Clocks;
use super::outbox::{LANE_QUEUE, Lane};
use super::responder::{Gauges, Responder, Ways};
use super::signals::{Asked, Signals};
use super::{build, entries, interfaces, protect, sinks};
use crate::cli::{Exit, Failure};
use crate::config::{Config, Mode};
use crate::control::{ASK_QUEUE, Server};

/// How long the capture thread waits for a full engine before it sheds a batch.
const PATIENCE: Duration = Duration::from_millis(50);
/// How often the main thread looks after things.
const LOOK: Duration = Duration::from_millis(500);
/// After this long without the end, SIGTERM ends the process at once.
const DEADLINE: Duration = Duration::from_secs(20);

/// What the threads tell the main thread.
#[derive(Default)]
struct Pulse {
    /// Turns of the capture loop.
    capture: AtomicU64,
    /// Batches that came out of the engine.
    engine: AtomicU64,
    /// Flows that ended.
    flows: AtomicU64,
    /// Batches that were shed because the engine was full.
    shed: AtomicU64,
    /// A thread has ended; nothing more will come.
    ended: AtomicBool,
}

/// Runs until a signal ends it.
pub fn run(config: &Config, asked: &[String], environment: &Environment) -> Result<(), Failure> {
    let signals = Signals::take().map_err(Failure::software)?;
    let watched = interfaces::choose(asked, &config.interfaces)?;
    let notifier = Notifier::new(environment, std::process::id()).map_err(Failure::software)?;

    let random = RandomState::new();
    let sensor = build::sensor_settings(config, [random.hash_one(1), random.hash_one(2)]);
    let source = LiveSource::open(CaptureSettings::new(watched.clone()), sensor).map_err(capture_failure)?;
    let stopper = source.stopper();

    let (_lock, sinks) = sinks::files(&config.output.directory, sinks::Reuse::Continue)?;
    let mut responder = open_responder(config)?;
    responder.open_book(&config.output.directory.join("blocks.sqlite"));
    let gauges = responder.gauges();

    let settings = config.engine(&interfaces::own_nets(&watched));
    let (intel, problems) = build::intelligence(config)?;
    for problem in problems {
        responder.say(&entries::degraded("threat intelligence", &problem));
    }
    let registry = build::registry(config, intel);
    let pulse = Arc::new(Pulse::default());

    let (to_responder, for_responder) = sync_channel(LANE_QUEUE);
    let (to_sinks, for_sinks) = sync_channel(LANE_QUEUE);
    let is_alert: fn(&Record) -> bool = |record| matches!(record, Record::Alert(_));
    let lanes = [Lane::new(to_responder, is_alert), Lane::new(to_sinks, |_| true)];
    let shed = lanes.each_ref().map(Lane::shed);
    let mut outbox = Outbox { lanes: Some(lanes), pulse: Arc::clone(&pulse) };
    let (input, engine) =
        pipeline::start(&settings, &*registry, build::default_shards(), move |records| outbox.pass(&records))
            .map_err(Failure::software)?;

    let (to_asks, asks) = sync_channel(ASK_QUEUE);
    let control = match Server::listen(to_asks) {
        Ok((server, work)) => {
            // Only when no other daemon is here: what stands would be its.
            if config.firewall.mode == Mode::Monitor {
                responder.stand_down();
            }
            Some((server, spawn("control", work)?))
        }
        Err(error) => {
            let text = format!("cannot listen for commands: {error}; does another slips run here?");
            responder.say(&entries::degraded("the command line", &text));
            None
        }
    };
    responder.say(&entries::start(&watched, config.firewall.mode));
    let responder = spawn("responder", move || responder.run(&for_responder, &asks))?;
    let keeper = spawn("sinks", move || keep(&for_sinks, sinks))?;
    let capture = {
        let pulse = Arc::clone(&pulse);
        spawn("capture", move || capture(source, &input, &pulse))?
    };

    tell(&notifier, &[State::Ready, State::Status("watching")]);
    let reason = watch(&signals, &notifier, &pulse, &gauges, config)?;

    tell(&notifier, &[State::Stopping, State::Status("ending: the queues run empty")]);
    enforce_deadline(signals)?;
    stopper.stop();
    let captured = join(capture)?;
    let stats =
        engine.join().map_err(|name| Failure::new(Exit::Software, format!("the {name} thread panicked")))?;
    let kept = join(keeper)?;
    let mut responder = join(responder)?;
    if let Some((server, listening)) = control {
        server.stop();
        join(listening)?;
    }
    let lost: u64 = shed.iter().map(|shed| shed.records.load(Ordering::Relaxed)).sum();
    if lost > 0 {
        responder.say(&entries::degraded("outbox", &format!("{lost} records were lost to full queues")));
    }
    responder.say(&entries::stop(&stats, reason));
    captured?;
    kept
}

fn open_responder(config: &Config) -> Result<Responder, Failure> {
    let mode = match config.firewall.mode {
        Mode::Enforce => slips_firewall::Mode::Enforce,
        Mode::Monitor => slips_firewall::Mode::Monitor,
    };
    let listed = config.firewall.clone();
    let protect = Box::new(move || protect::discover(&listed));
    let protected = protect().map_err(|error| Failure {
        exit: Exit::Software,
        error: anyhow::Error::from(error).context("cannot find out who must never be blocked"),
    })?;
    let open = Box::new(move |protected| {
        Firewall::open(Options { mode, policy: Policy::default(), protected, ..Options::default() })
    });
    let journal =
        Journal::open(std::path::Path::new(SOCKET), Box::new(std::io::stderr()), Lines::WithoutJournald);
    let ways = Ways { open, sweep: Box::new(slips_firewall::flush_all), protect };
    Responder::new(ways, journal, config.firewall.clone(), Clocks::default(), protected).map_err(|error| {
        let exit = if nix::unistd::geteuid().is_root() { Exit::Software } else { Exit::Permission };
        Failure {
            exit,
            error: anyhow::Error::from(error).context(
                "cannot open the firewall; blocking takes root or CAP_NET_ADMIN (--monitor watches without)",
            ),
        }
    })
}

/// Hands records to the lanes; when it is dropped with the judge, the lanes get what was held back.
struct Outbox {
    lanes: Option<[Lane; 2]>,
    pulse: Arc<Pulse>,
}

impl Outbox {
    fn pass(&mut self, records: &[Record]) {
        self.pulse.engine.fetch_add(1, Ordering::Relaxed);
        for record in records {
            if let Record::Stats(stats) = record {
                self.pulse.flows.store(stats.flows, Ordering::Relaxed);
            }
        }
        for lane in self.lanes.iter_mut().flatten() {
            lane.offer(records);
        }
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        for lane in self.lanes.take().into_iter().flatten() {
            lane.finish();
        }
    }
}

fn capture(mut source: LiveSource, input: &Input, pulse: &Pulse) -> Result<(), Failure> {
    let mut waiting: Vec<Event> = Vec::with_capacity(1024);
    let ended = loop {
        pulse.capture.fetch_add(1, Ordering::Relaxed);
        match source.next_batch(&mut waiting) {
            Ok(Live::Stopped) => break Ok(()),
            Ok(Live::Changed(change)) => {
                let name = source.name(change.interface).unwrap_or("?");
                eprintln!("slips: interface {name} is {}", state_name(change.state));
            }
            Ok(_) => {}
            Err(error) => break Err(capture_failure(error)),
        }
        if waiting.is_empty() {
            continue;
        }
        let batch = std::mem::replace(&mut waiting, Vec::with_capacity(1024));
        match offer(input, batch, PATIENCE) {
            Ok(()) => {}
            Err(NotTaken::Full(_)) => {
                pulse.shed.fetch_add(1, Ordering::Relaxed);
            }
            Err(NotTaken::Stopped(_)) => {
                break Err(Failure::new(Exit::Software, "the detection threads ended early"));
            }
        }
    };
    source.finish(&mut waiting);
    if !waiting.is_empty() {
        // The engine is gone already if this fails, and its join says why.
        let _ = input.send(waiting);
    }
    pulse.ended.store(true, Ordering::Relaxed);
    ended
}

/// Tries to hand a batch over for at most `patience`.
fn offer(input: &Input, mut batch: Vec<Event>, patience: Duration) -> Result<(), NotTaken> {
    let step = Duration::from_micros(500);
    let mut waited = Duration::ZERO;
    loop {
        match input.try_send(batch) {
            Err(NotTaken::Full(back)) if waited < patience => {
                batch = back;
                thread::park_timeout(step);
                waited += step;
            }
            other => return other,
        }
    }
}

/// Keeps records in files. A file that cannot be written is told once a minute, and tried again with each batch.
fn keep(records: &Receiver<Vec<Record>>, mut sinks: Vec<Box<dyn RecordSink>>) -> Result<(), Failure> {
    let mut told = 0i64;
    let mut flushed = sinks::wall_clock();
    let mut complain = |error: slips_store::StoreError| {
        let now = sinks::wall_clock();
        if now.saturating_sub(told) >= 60_000_000 {
            told = now;
            eprintln!("slips: {:#}", anyhow::Error::from(error));
        }
    };
    loop {
        match records.recv_timeout(Duration::from_secs(1)) {
            Ok(batch) => {
                for sink in &mut sinks {
                    sink.accept(&batch).unwrap_or_else(&mut complain);
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        let now = sinks::wall_clock();
        if now.saturating_sub(flushed) >= 1_000_000 {
            flushed = now;
            for sink in &mut sinks {
                sink.flush().unwrap_or_else(&mut complain);
            }
        }
    }
    for sink in sinks {
        sink.close().unwrap_or_else(&mut complain);
    }
    Ok(())
}

/// Looks after the daemon until it is to end; says why.
fn watch(
    signals: &Signals,
    notifier: &Notifier,
    pulse: &Pulse,
    gauges: &Gauges,
    config: &Config,
) -> Result<&'static str, Failure> {
    let mut heart = Heartbeat::default();
    loop {
        match signals.wait(LOOK).map_err(Failure::software)? {
            Some(Asked::Stop) => return Ok("asked by a signal"),
            Some(Asked::Reload) => {
                eprintln!("slips: configuration is read at the start only; restart the service to change it");
            }
            None => {}
        }
        if pulse.ended.load(Ordering::Relaxed) {
            return Ok("the capture ended");
        }
        let status = format!(
            "watching: {} flows, {} blocks, {} batches shed{}",
            pulse.flows.load(Ordering::Relaxed),
            gauges.blocks.load(Ordering::Relaxed),
            pulse.shed.load(Ordering::Relaxed),
            if config.firewall.mode == Mode::Monitor { ", monitor mode" } else { "" }
        );
        let beats = [pulse.capture.load(Ordering::Relaxed), pulse.engine.load(Ordering::Relaxed)];
        if heart.moved(&beats) {
            tell(notifier, &[State::Alive, State::Status(&status)]);
        }
    }
}

/// From now on a second signal, or the deadline, ends the process at once.
fn enforce_deadline(signals: Signals) -> Result<(), Failure> {
    spawn("deadline", move || {
        let mut left = DEADLINE;
        while left > Duration::ZERO {
            match signals.wait(LOOK) {
                Ok(Some(_)) => std::process::exit(130),
                _ => left = left.saturating_sub(LOOK),
            }
        }
        eprintln!("slips: the end took more than {} s; giving up", DEADLINE.as_secs());
        std::process::exit(i32::from(Exit::Software as u8));
    })
    .map(drop)
}

fn tell(notifier: &Notifier, states: &[State<'_>]) {
    // A service manager that does not listen is no reason to stop watching.
    let _ = notifier.tell(states);
}

fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, Failure> {
    thread::Builder::new().name(name.into()).spawn(work).map_err(Failure::software)
}

fn join<T>(thread: JoinHandle<T>) -> Result<T, Failure> {
    let name = thread.thread().name().unwrap_or("unnamed").to_owned();
    thread.join().map_err(|_| Failure::new(Exit::Software, format!("the {name} thread panicked")))
}

const fn state_name(state: LinkState) -> &'static str {
    match state {
        LinkState::Up => "up",
        LinkState::Down => "down",
        LinkState::Away => "gone; it is taken up again when it is back",
        LinkState::Refused => {
            "back, but the kernel refuses to let us capture on it; trying again every second"
        }
    }
}

/// A capture that cannot be, with its exit code.
pub fn capture_failure(error: slips_input::capture::CaptureError) -> Failure {
    use slips_input::capture::ErrorKind;
    let exit = match error.kind() {
        ErrorKind::Usage => Exit::Usage,
        ErrorKind::NoInput => Exit::NoInput,
        ErrorKind::Permission => Exit::Permission,
        ErrorKind::System => Exit::Software,
    };
    Failure { exit, error: error.into() }
}
