//! `slips run`: the daemon in the foreground.
//!
//! ```text
//! capture threads ─▶ engine threads ─▶ judge ─┬▶ responder thread (firewall, book, journal)
//!                                             ├▶ sinks thread (alerts.json, alerts.log, SQLite)
//!                                             └▶ peers thread ─▶ the node's process
//! main thread: signals, watchdog, status
//! ```
//! It is put together from both ends: [`inputs`] is where events come from, [`guard`] what keeps attackers out and what is known in files,
//! [`judge`] the engine between them with all who hear of its records, [`doors`] where others ask. The engine, and those who answer at the
//! doors, run from then on; [`threads`] starts all others, those who act before those who capture: so the first alert finds a firewall.
//!
//! It ends downstream: the capture stops, the queues run empty, windows are closed, files are flushed, then the firewall is let go
//! (the kernel keeps the blocks until their time is over).

mod doors;
mod guard;
mod inputs;
mod judge;
mod threads;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::sync_channel;

use nix::sys::stat::{Mode, umask};
use slips_systemd::notify::{Environment, Notifier, State};

use self::doors::{Doors, Given};
use self::guard::Guard;
use self::inputs::{Inputs, Scope};
use self::judge::Judge;
use self::threads::{Threads, enforce_deadline};
use super::aside::open_journal;
use super::bell::Bell;
use super::memory::size::Sizes;
use super::memory::{self, Memory};
use super::overload::watch::Watch;
use super::reload::{Load, Reload};
use super::signals::Signals;
use super::standstill::{Parts, Standstill};
use super::tend::{Rate, Tender};
use super::{build, entries, handover, sandbox};
use crate::cli::Failure;
use crate::config::Config;
use crate::control::ASK_QUEUE;
use crate::control::api::news;

/// Runs until a signal ends it.
///
/// `load` reads the configuration as `config` was read.
pub fn run(config: &Config, load: Load, asked: &[String], environment: &Environment) -> Result<(), Failure> {
    let (handover, control_socket) = handover::take(environment);
    let signals = Signals::take().map_err(Failure::software)?;
    // Members of the daemon's group read what it writes; what is secret says so of itself.
    umask(Mode::S_IWGRP | Mode::S_IRWXO);
    let notifier = Notifier::new(environment, std::process::id()).map_err(Failure::software)?;
    let scope = Scope::of(config, asked, handover.is_kept());
    // As it is read, to compare with what a reload finds.
    let read = config.clone();
    let memory = Memory::of(config);
    let Sizes { config: mut sized, later_ring } = memory.fit(config, scope.rings);
    find_keys(&mut sized, environment);
    let config = &sized;

    let bell = Bell::new().map_err(Failure::software)?;
    let (to_main, asks) = sync_channel(ASK_QUEUE);
    let (reporter, desk) = news::line();
    let mut inputs = Inputs::open(config, scope, later_ring, handover)?;
    let mut guard = Guard::open(config, environment, reporter, &mut inputs)?;
    let judge = Judge::start(config, environment, &inputs, &mut guard)?;
    let names = inputs.names();
    let given = Given { of_main: (to_main, bell.rope()), control_socket, desk };
    let doors = Doors::open(config, given, &names, &mut guard, &judge)?;
    guard.responder.say(&entries::start(&names, config.firewall.mode, &sandbox::facts()));
    guard.responder.say(&entries::memory(&memory.tell(config, build::default_shards())));
    let dial = guard.settings.dial.clone();
    let parts = Parts::new(Arc::clone(&guard.pulse), judge.engine.progress());
    let tender = Tender {
        signals: &signals,
        asks: (asks, bell),
        notifier: &notifier,
        pulse: Arc::clone(&guard.pulse),
        shed: judge.shed.clone(),
        gauges: guard.responder.gauges(),
        mode: config.firewall.mode,
        standstill: Standstill::new(parts, notifier.watchdog()),
        overload: Watch::new(guard.blocked.clone(), guard.bell.rope(), inputs.sources.len()),
        memory: memory::Watch::new(memory, dial.clone()),
        journal: open_journal(),
        rate: Rate::default(),
        peers: judge.peers.connected.clone(),
        vitals: doors.vitals.clone(),
        reload: Reload::new(load, read, dial, guard.policy.clone(), reread(&guard, &judge)),
    };
    let threads = Threads::start(config, inputs, guard, judge, doors)?;

    notifier.say(&[State::Ready, State::Status("watching")]);
    let ended = tender.tend();
    notifier.say(&[State::Stopping, State::Status("ending: the queues run empty")]);
    // Whatever fails here, what was found is filed and told before the end.
    let bounded = enforce_deadline(signals);
    threads.stop(ended.as_ref().map_or("it cannot hear signals any more", |reason| reason))?;
    ended.map(drop).and(bounded)
}

/// Keys may be credentials of the unit.
fn find_keys(config: &mut Config, environment: &Environment) {
    if let Some(directory) = environment.credentials_directory.as_deref().map(Path::new) {
        config.virustotal.find_key(directory);
        config.redis.find_keys(directory);
    }
}

/// Has lists, whitelist and peers read again.
fn reread(guard: &Guard, judge: &Judge) -> impl Fn() + Send + use<> {
    let readers = [guard.whitelist.again.clone(), judge.lists.again.clone()];
    let (peers, rope) = (Arc::clone(&judge.peers.reread), judge.peers.end.1.clone());
    move || {
        for again in &readers {
            // A full queue has the same word in it.
            let _ = again.try_send(());
        }
        peers.store(true, Ordering::SeqCst);
        rope.ring();
    }
}
