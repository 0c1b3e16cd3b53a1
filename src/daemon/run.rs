//! `slips run`: the daemon in the foreground.
//!
//! ```text
//! capture threads ─▶ engine threads ─▶ judge ─┬▶ responder thread (firewall, book, journal)
//!                                             ├▶ sinks thread (alerts.json, alerts.log, SQLite)
//!                                             └▶ peers thread ─▶ the node's process
//! main thread: signals, watchdog, status
//! ```
//! It ends downstream: the capture stops, the queues run empty, windows are closed, files are flushed, then the firewall is let go
//! (the kernel keeps the blocks until their time is over).

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::stat::{Mode, umask};
use slips_core::addr::Net;
use slips_core::engine::meter::Meter;
use slips_core::engine::pipeline;
use slips_core::moving::OwnMacs;
use slips_core::record::Record;
use slips_firewall::{Firewall, Options, Protected};
use slips_input::capture::Newcomers;
use slips_store::{Filed, RecordSink};
use slips_systemd::journal::{Journal, Lines, SOCKET};
use slips_systemd::notify::{Environment, Notifier, State};

use super::aside::Aside;
use super::bell::Bell;
use super::clocks::Clocks;
use super::figures::{self, Figures};
use super::interfaces::Own;
use super::leases::Leases;
use super::lists::Follower;
use super::memory::size::Sizes;
use super::memory::{self, Memory};
use super::outbox::{LANE_QUEUE, Lane, Outbox};
use super::overload::Thinner;
use super::overload::watch::Watch;
use super::policy::Policy;
use super::protect::PeerAddresses;
use super::pulse::{Losses, Pulse};
use super::reload::{Load, Reload};
use super::responder::{AdviceLine, Responder, Ways};
use super::signals::{Asked, Signals};
use super::standstill::{Parts, Standstill};
use super::tend::{self, Rate, Tender};
use super::updates::Updates;
use super::{
    api, build, capture, clocks, entries, feeds, fleet, handover, interfaces, peers, protect, redis,
    responder, sandbox, services, sinks, whitelist,
};
use crate::cli::{Exit, Failure};
use crate::config::{self, Bridge, Config, SensorKind};
use crate::control::api::news;
use crate::control::{ASK_QUEUE, Ends, Server};
use crate::lists::Copy;
use crate::outside::process::Restarting;
use crate::whitelist::Files;

/// After this long without the end, a stop ends the process at once: before the unit's `TimeoutStopSec`, which kills.
const DEADLINE: Duration = Duration::from_secs(15);
/// How often it is told that a file cannot be written.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);
/// How often files are flushed.
const FLUSH_EVERY: Duration = Duration::from_secs(1);

/// Runs until a signal ends it.
///
/// `load` reads the configuration as `config` was read.
pub fn run(config: &Config, load: Load, asked: &[String], environment: &Environment) -> Result<(), Failure> {
    let (handover, control_socket) = handover::take(environment);
    let signals = Signals::take().map_err(Failure::software)?;
    // Members of the daemon's group read what it writes; what is secret says so of itself.
    umask(Mode::S_IWGRP | Mode::S_IRWXO);
    let heard = slips_input::Alerts::default();
    let named = config.inputs.alone || !asked.is_empty() || !config.interfaces.is_empty();
    let chosen = match config.inputs.alone {
        true => interfaces::Watched::default(),
        false => interfaces::choose(asked, &config.interfaces),
    };
    let rings = capture::rings(config, &chosen, named, handover.is_kept());
    let interfaces::Watched { names: watched, left_out } = chosen;
    let feeds = feeds::open(&config.inputs, &watched, &config.output.directory, &heard)?;
    let notifier = Notifier::new(environment, std::process::id()).map_err(Failure::software)?;

    // As it was given, to compare with what a reload finds.
    let given = config;
    let memory = Memory::of(config);
    let Sizes { config: mut sized, later_ring } = memory.fit(config, rings);
    if let Some(directory) = &environment.credentials_directory {
        sized.virustotal.find_key(Path::new(directory));
        sized.redis.find_keys(Path::new(directory));
    }
    let config = &sized;
    let (own, newcomers) = (Own::default(), Newcomers::default());
    let mut comings = interfaces::Follower::new(watched.clone(), named, own.clone(), newcomers.clone());
    let settings = config.engine(&[]);
    let local_nets = settings.local_nets.clone().and(Arc::clone(&own.moving));
    let newcomers = Some(newcomers).filter(|_| !named);
    // What Zeek watches is not watched twice.
    let (interfaces, newcomers) = match config.inputs.sensor {
        SensorKind::Zeek => (&[][..], None),
        SensorKind::Slips => (&watched[..], newcomers),
    };
    let watching = capture::Watching { interfaces, newcomers, planned: rings.planned, later_ring };
    let sources = capture::sources(config, watching, &local_nets, handover)?;
    let stoppers: Vec<_> = sources.iter().map(|source| source.stopper()).collect();

    let files = Files::of(config);
    let mut whitelist = whitelist::Follower::begin(files, open_journal());
    let settings = slips_core::settings::Settings {
        whitelist: whitelist.current.clone(),
        own_macs: OwnMacs::moving(Arc::clone(&own.moving)),
        meter: Meter::new(clocks::nanos),
        partners: protect::partners(&local_nets),
        local_nets,
        ..settings
    };
    let pulse = Arc::new(Pulse::new(sources.len() + usize::from(!feeds.is_empty())));
    let filed = Filed::default();
    let reuse = sinks::Reuse::Continue { pulse: &pulse, filed: &filed, database: &config.database };
    let (dir, mut sinks) = sinks::files(&config.output.directory, reuse, &settings)?;
    let bell = Bell::new().map_err(Failure::software)?;
    let known = peers::addresses(config, environment).sparing(whitelist.spared.clone());
    let leases = Leases::default();
    sinks.push(leases.sink());
    if !config.inputs.socket.as_os_str().is_empty() {
        sinks.push(Box::new(feeds::Herald(heard)));
    }
    let policy = Policy::from(config.firewall.clone());
    let look = move || {
        let left_out = comings.look();
        if !left_out.is_empty() {
            let text =
                format!("too many interfaces, not watched: {}; name those to watch", left_out.join(", "));
            open_journal().send(&entries::degraded("watching", &text));
        }
    };
    let (protect, find) = protect::finder(policy.clone(), known.clone(), leases, bell.rope(), look);
    let (mut responder, found) = open_responder(config, policy.clone(), protect, &known, &own)?;
    whitelist.know(protect::resolvers(&found));
    responder.open_book(&dir.blocks_sqlite());
    responder.follow(filed);
    let gauges = responder.gauges();
    let (reporter, desk) = news::line();
    responder.report_to(reporter.clone());
    responder.count_turns(Arc::clone(&pulse.responder));
    let blocked = responder.share();
    let overload = Watch::new(blocked.clone(), bell.rope(), sources.len());

    let lists = build::lists(config);
    let made_of = lists.fingerprint();
    let (shelf, problems) = build::intelligence(config, &lists, Copy::Keep)?;
    let shelf = Arc::new(shelf);
    for problem in problems {
        responder.say(&entries::degraded("threat intelligence", &problem));
    }
    if watched.is_empty() && !named {
        let none = "no interface is up and has an address yet; each is watched from then on";
        responder.say(&entries::degraded("watching", none));
    }
    if !left_out.is_empty() {
        let left_out = format!("too many interfaces, not watched: {}", left_out.join(", "));
        responder.say(&entries::degraded("watching", &left_out));
    }
    let (leak_rules, problems) = build::leak_rules(config)?;
    for problem in problems {
        responder.say(&entries::degraded("leak detector", &problem));
    }
    let registry =
        build::registry(config, &shelf.current(), leak_rules, known.gateways(), settings.own_macs.clone());

    let (to_responder, for_responder) = sync_channel(LANE_QUEUE);
    let (to_sinks, for_sinks) = sync_channel(LANE_QUEUE);
    let is_decision: fn(&Record) -> bool =
        |record| matches!(record, Record::Alert(_) | Record::Spared { .. });
    let peers_bell = Bell::new().map_err(Failure::software)?;
    let (to_peers, for_peers) = sync_channel(LANE_QUEUE);
    let (to_words, words) = sync_channel(ASK_QUEUE);
    let to_engine = peers::EngineLine::default();
    let (to_advice, advice) = AdviceLine::new(bell.rope(), config.firewall.peer_cap);
    let fleet_advice = to_advice.another(bell.rope());
    let peers = peers::build(
        config,
        environment,
        own,
        (known, policy.clone()),
        to_engine.clone(),
        to_advice,
        open_journal(),
    )?;
    let lanes = [Lane::new(to_responder, is_decision).ringing(bell.rope()), Lane::new(to_sinks, |_| true)];
    let shed = lanes.each_ref().map(Lane::shed);
    let asking = services::build(config, &settings.local_nets, &shelf, to_engine.clone(), open_journal());
    let (to_services, for_services) = sync_channel(LANE_QUEUE);
    let (voices, duty) = (Arc::default(), fleet::duty(config));
    let (mirror, to_mirror) =
        redis::build(config, &settings, &gauges, &pulse, &voices, &duty, open_journal()).unzip();
    let mut outbox = Outbox {
        reporter,
        lanes: Some(lanes),
        peers: Some(Lane::new(to_peers, peers::wants).ringing(peers_bell.rope())),
        has_peers: peers.active(),
        asides: [asking.as_ref().map(|_| Lane::new(to_services, services::wants)), to_mirror],
        pulse: Arc::clone(&pulse),
        duty: duty.clone(),
    };
    let (input, engine) =
        pipeline::start(&settings, &*registry, build::default_shards(), move |records| outbox.pass(&records))
            .map_err(Failure::software)?;

    let (to_asks, asks) = sync_channel(ASK_QUEUE);
    let main_bell = Bell::new().map_err(Failure::software)?;
    let (to_main, for_main) = sync_channel(ASK_QUEUE);
    let ends = Arc::new(Ends {
        main: (to_main, main_bell.rope()),
        responder: (to_asks, bell.rope()),
        peers: (to_words, peers_bell.rope()),
        node: peers.node_process(),
    });
    let bus = redis::bus(config, to_engine.clone(), Arc::clone(&ends), voices, open_journal());
    let answers = || {
        open_journal().send(&entries::degraded("the command line", "is answered from now on"));
    };
    let control = match Server::listen(Arc::clone(&ends), answers) {
        Ok((server, squatter, work)) => {
            if let Some(squatter) = &squatter {
                responder.say(&entries::squatted(squatter));
            }
            // Only when no other daemon is here: what stands would be its.
            let alone = squatter.is_none_or(|squatter| squatter.is_stranger());
            if config.firewall.mode == config::Mode::Monitor && alone {
                responder.stand_down();
            }
            Some((server, spawn("control", work)?))
        }
        Err(error) => {
            responder
                .say(&entries::degraded("the command line", &format!("cannot listen for commands: {error}")));
            None
        }
    };
    let all: Vec<String> = watched.iter().cloned().chain(feeds.iter().map(|feed| feed.name())).collect();
    let counted = figures::Counted {
        pulse: Arc::clone(&pulse),
        shed: shed.to_vec(),
        gauges: Arc::clone(&gauges),
        peers: peers.connected(),
        engine: engine.progress(),
        meter: settings.meter.clone(),
    };
    let figures = Figures::new(counted, (config.firewall.mode, duty.clone()), all.clone());
    let vitals = Arc::clone(&figures.vitals);
    let (to_orders, orders) = sync_channel(fleet::ORDERS);
    responder.obey(orders);
    let view = fleet::View::default();
    let ways = fleet::Ways {
        duty,
        engine: to_engine.clone(),
        orders: (to_orders, bell.rope()),
        figures: Arc::clone(&figures),
        view: Arc::clone(&view),
        advice: fleet_advice,
        gauges: Arc::clone(&gauges),
        local: settings.local_nets.clone(),
    };
    let routers = fleet::build(config, ways, open_journal());
    let fleet = routers.is_some().then_some(view);
    let api_sources = api::sources(config, figures, fleet, Arc::clone(&shelf));
    let api =
        api::open(&config.control, control_socket, ends, api_sources, desk, |entry| responder.say(entry));
    responder.say(&entries::start(&all, config.firewall.mode, &sandbox::facts()));
    responder.say(&entries::memory(&memory.tell(config, build::default_shards())));
    let finder = spawn("protect", find)?;
    let responder = spawn("responder", move || responder.run(&for_responder, &advice, &asks, &bell))?;
    to_engine.open(input.clone());
    let rope = peers_bell.rope();
    let (reread, connected) = (peers.reread(), peers.connected());
    let (to_lists, for_lists) = sync_channel(1);
    let stop_updates = Arc::new(AtomicBool::new(false));
    let updates = Updates::new(config.clone(), lists.clone(), open_journal(), Arc::clone(&stop_updates));
    let (until, ends) = sync_channel(1);
    let updates = spawn("updates", move || updates.run(&ends))?;
    let follower = Follower::new(lists, shelf, open_journal(), made_of);
    let asking = asking.map(|asking| {
        let stop = Arc::clone(&stop_updates);
        let mut asks = Restarting::new(config.outside.means(), Arc::clone(&stop));
        spawn("services", move || asking.run(&for_services, &mut asks, &stop))
    });
    let asking = asking.transpose()?;
    let mirror = mirror.map(|mirror| spawn("redis", move || mirror.run())).transpose()?;
    let bus = bus.map(|bus| {
        let stop = Arc::clone(&stop_updates);
        spawn("redis-bus", move || bus.run(&stop))
    });
    let bus = bus.transpose()?;
    let (until_last, ends_last) = sync_channel(1);
    let routers = routers.map(|routers| spawn("fleet", move || routers.run(&ends_last))).transpose()?;
    let follower = spawn("lists", move || follower.run(&for_lists))?;
    let (to_whitelist, for_whitelist) = sync_channel(1);
    let whitelist = spawn("whitelist", move || whitelist.run(&for_whitelist))?;
    let others = move || {
        // A full queue has the same word in it.
        let _ = to_lists.try_send(());
        let _ = to_whitelist.try_send(());
        reread.store(true, Ordering::SeqCst);
        rope.ring();
    };
    let peers = spawn("peers", move || peers.run(&for_peers, &words, &peers_bell))?;
    let keeper = {
        let pulse = Arc::clone(&pulse);
        spawn("sinks", move || keep(&for_sinks, sinks, &pulse))?
    };
    let mut captures = Vec::with_capacity(sources.len() + 1);
    if !feeds.is_empty() {
        let pulse = Arc::clone(&pulse);
        let feeds = feeds::Feeds::new(feeds, sources.len(), input.clone(), open_journal());
        captures.push(spawn("feeds", move || feeds.run(&pulse))?);
    }
    for (number, source) in sources.into_iter().enumerate() {
        let (pulse, input) = (Arc::clone(&pulse), input.clone());
        let part = capture::Part { number, flows: capture::flows_of(config) };
        let thinner = Thinner::new(blocked.reader(), settings.local_nets.clone());
        let source = source.awaiting(capture::senders(&settings));
        captures.push(spawn(&format!("capture-{number}"), move || {
            capture::run(source, part, &input, thinner, &pulse)
        })?);
    }
    drop(input);

    notifier.say(&[State::Ready, State::Status("watching")]);
    let parts = Parts::new(Arc::clone(&pulse), engine.progress());
    let tender = Tender {
        signals: &signals,
        asks: (for_main, main_bell),
        notifier: &notifier,
        pulse: &pulse,
        shed: &shed,
        gauges: &gauges,
        mode: config.firewall.mode,
        standstill: Standstill::new(parts, notifier.watchdog()),
        overload,
        memory: memory::Watch::new(memory, settings.dial.clone()),
        journal: open_journal(),
        rate: Rate::default(),
        peers: connected,
        vitals,
        reload: Reload::new(load, given.clone(), settings.dial.clone(), policy, others),
    };
    let reason = tender.tend()?;

    notifier.say(&[State::Stopping, State::Status("ending: the queues run empty")]);
    enforce_deadline(signals)?;
    pulse.stopping.store(true, Ordering::Relaxed);
    stop_updates.store(true, Ordering::Relaxed);
    drop(until);
    to_engine.close();
    for stopper in stoppers {
        stopper.stop();
    }
    let captured: Result<(), Failure> =
        captures.into_iter().map(join).collect::<Result<Vec<_>, _>>()?.into_iter().collect();
    let stats =
        engine.join().map_err(|name| Failure::new(Exit::Software, format!("the {name} thread panicked")))?;
    let kept = join(keeper)?;
    join(peers)?;
    let mut responder = join(responder)?;
    // Whoever stands by takes the place of one that is through with all.
    drop(until_last);
    // It may be waiting for a Redis that stands still.
    routers.map_or(Ok(()), join_shortly)?;
    if let Some((server, listening)) = control {
        server.stop();
        join(listening)?;
    }
    responder.forget_filed(usize::MAX);
    api::close(api)?;
    responder.say(&entries::stop(&stats, reason, &Losses::read(&pulse, &shed)));
    drop(responder);
    join(finder)?;
    join(updates)?;
    asking.map_or(Ok(()), join)?;
    for reader in [Some(follower), Some(whitelist), mirror, bus].into_iter().flatten() {
        join_shortly(reader)?;
    }
    captured?;
    kept
}

/// The responder, and who is never blocked.
pub(super) fn open_responder(
    config: &Config,
    policy: Policy,
    protect: responder::Protect,
    known: &PeerAddresses,
    own: &Own,
) -> Result<(Responder, Protected), Failure> {
    let mode = match config.firewall.mode {
        config::Mode::Enforce => slips_firewall::Mode::Enforce,
        config::Mode::Monitor => slips_firewall::Mode::Monitor,
    };
    let protected = protect::discover(&config.firewall, known).map_err(|error| Failure {
        exit: Exit::Software,
        error: anyhow::Error::from(error).context("cannot find out who must never be blocked"),
    })?;
    let found = protected.clone();
    let notice_port = Some(config.firewall.notice_port).filter(|port| *port != 0);
    let log = config.firewall.log_dropped;
    let (bridge, size) = (config.firewall.bridge, Some(config.firewall.size));
    let machines = config.firewall.bridge_machines;
    let open = Box::new(move |protected| {
        let bridge = match bridge {
            Bridge::Auto => slips_firewall::bridged().unwrap_or_default(),
            Bridge::On => true,
            Bridge::Off => false,
        };
        Firewall::open(Options {
            mode,
            protected,
            log,
            notice_port,
            bridge,
            size,
            machines,
            ..Options::default()
        })
    });
    let sweep = Box::new(slips_firewall::flush_all);
    // What cannot be counted counts as none: then few are blocked.
    let (inside, on) = (inside(config, own), inside(config, own));
    let neighbours = Box::new(move || slips_firewall::neighbours(&on()).unwrap_or_default());
    let ways = Ways { open, sweep, protect, inside, neighbours };
    let responder = Responder::new(ways, open_journal(), policy, Clocks::default(), protected);
    responder.map(|responder| (responder, found)).map_err(|error| {
        let exit = if nix::unistd::geteuid().is_root() { Exit::Software } else { Exit::Permission };
        Failure {
            exit,
            error: anyhow::Error::from(error).context(
                "cannot open the firewall; blocking takes root or CAP_NET_ADMIN (--monitor watches without)",
            ),
        }
    })
}

/// The networks of which no more than a share is blocked: those that were named as ours, else those on the inner interfaces.
fn inside(config: &Config, own: &Own) -> Box<dyn Fn() -> Vec<Net> + Send> {
    let (named, own) = (config.parameters.client_ips.clone(), own.clone());
    match named.is_empty() {
        true => Box::new(move || own.list()),
        false => Box::new(move || named.iter().map(|net| net.0).collect()),
    }
}

pub(super) fn open_journal() -> Journal {
    Journal::open(Path::new(SOCKET), Box::new(Aside), Lines::WithoutJournald)
}

/// Keeps records in files. A file that cannot be written is told once a minute, and tried again with each batch.
fn keep(
    records: &Receiver<Vec<Record>>,
    mut sinks: Vec<Box<dyn RecordSink>>,
    pulse: &Pulse,
) -> Result<(), Failure> {
    let clock = Clocks::default().steady;
    let mut journal = open_journal();
    let mut told: Option<Duration> = None;
    let mut flushed = clock();
    let mut shrunk = 0;
    let mut complain = |error: slips_store::StoreError| {
        let now = clock();
        let is_event = matches!(error, slips_store::StoreError::Damaged { .. });
        if is_event || told.is_none_or(|told| now.saturating_sub(told) >= COMPLAIN_EVERY) {
            told = Some(now);
            let text = format!("{:#}", anyhow::Error::from(error));
            journal.send(&entries::degraded("the files", &text));
        }
    };
    loop {
        pulse.sinks.fetch_add(1, Ordering::Relaxed);
        match records.recv_timeout(FLUSH_EVERY) {
            Ok(batch) => {
                for sink in &mut sinks {
                    sink.accept(&batch).unwrap_or_else(&mut complain);
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        let now = clock();
        if now.saturating_sub(flushed) >= FLUSH_EVERY {
            flushed = now;
            for sink in &mut sinks {
                sink.flush().unwrap_or_else(&mut complain);
            }
            let now_shrunk = pulse.shrinks.load(Ordering::Relaxed);
            if std::mem::replace(&mut shrunk, now_shrunk) != now_shrunk {
                for sink in &mut sinks {
                    sink.shrink();
                }
            }
            pulse.unwritten.store(sinks.iter().map(|sink| sink.lost()).sum(), Ordering::Relaxed);
        }
    }
    for sink in sinks {
        sink.close().unwrap_or_else(&mut complain);
    }
    Ok(())
}

/// From now on a second SIGTERM or SIGINT, or the deadline, ends the process at once.
fn enforce_deadline(signals: Signals) -> Result<(), Failure> {
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

fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, Failure> {
    thread::Builder::new().name(name.into()).spawn(work).map_err(Failure::software)
}

/// Joins a thread that may be reading lists for seconds. What it reads is for nobody any more, and what it writes takes its place as a
/// whole or not at all: it ends with the process.
fn join_shortly(thread: JoinHandle<()>) -> Result<(), Failure> {
    /// Of this time a stop has two seconds.
    const PATIENCE: Duration = Duration::from_millis(300);
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
