//! The engine, with the lists that it looks things up in and all who hear of its records: each gets a lane of its own, and has a rule for
//! when that is full.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use slips_core::engine::Registry;
use slips_core::engine::pipeline::{self, Input, Pipeline};
use slips_core::record::Record;
use slips_systemd::notify::Environment;

use super::guard::Guard;
use super::inputs::Inputs;
use super::threads::{Reader, Work};
use crate::cli::Failure;
use crate::config::Config;
use crate::control::ASK_QUEUE;
use crate::daemon::aside::open_journal;
use crate::daemon::bell::{Bell, Rope};
use crate::daemon::fleet::duty::Duty;
use crate::daemon::lists::Follower;
use crate::daemon::outbox::{LANE_QUEUE, Lane, Outbox, Shed};
use crate::daemon::peers::{EngineLine, NodeProcess, Word};
use crate::daemon::redis::Voices;
use crate::daemon::responder::{AdviceEnd, AdviceLine};
use crate::daemon::updates::Updates;
use crate::daemon::{build, entries, fleet, peers, redis, services, sinks};
use crate::lists::{Copy, Lists};
use crate::outside::process::Restarting;
use crate::shelf::Shelf;

/// See the module.
pub struct Judge {
    /// The way in, for those who capture.
    pub input: Input,
    /// The way in for what others say. It is opened when those are there who act on what comes of it.
    pub line: EngineLine,
    pub engine: Pipeline,
    pub shelf: Arc<Shelf>,
    pub lists: Reader,
    /// Fetches them anew; between two rounds it waits until the sender is gone.
    pub updates: (SyncSender<()>, Work),
    /// What the lanes to responder and sinks had to drop.
    pub shed: [Arc<Shed>; 2],
    /// What the responder hears: records, and what others advise.
    pub decisions: Receiver<Vec<Record>>,
    pub advice: AdviceEnd,
    /// The other end of that, for the fleet.
    pub advisers: AdviceLine,
    pub sinks: Work,
    pub peers: Peers,
    pub services: Option<Work>,
    pub mirror: Option<Work>,
    /// How much other programs said over Redis.
    pub voices: Arc<Voices>,
    pub duty: Duty,
    /// Ends those who ask and hear others.
    pub stop: Arc<AtomicBool>,
}

impl Judge {
    /// Starts it: nothing comes in yet.
    pub fn start(
        config: &Config,
        environment: &Environment,
        inputs: &Inputs,
        guard: &mut Guard,
    ) -> Result<Self, Failure> {
        let stop = Arc::new(AtomicBool::new(false));
        let known = Known::read(config, guard)?;
        let registry = registry(config, &known.shelf, guard)?;
        let line = EngineLine::default();
        let (to_advice, advice) = AdviceLine::new(guard.bell.rope(), config.firewall.peer_cap);
        let advisers = to_advice.another(guard.bell.rope());
        let (peers, to_peers) = Peers::build(config, environment, inputs, guard, line.clone(), to_advice)?;

        let (to_responder, decisions) = sync_channel(LANE_QUEUE);
        let (to_sinks, for_sinks) = sync_channel(LANE_QUEUE);
        let is_decision: fn(&Record) -> bool =
            |record| matches!(record, Record::Alert(_) | Record::Spared { .. });
        let to_responder = Lane::new(to_responder, is_decision).ringing(guard.bell.rope());
        let lanes = [to_responder, Lane::new(to_sinks, |_| true)];
        let shed = lanes.each_ref().map(Lane::shed);
        let (services, to_services) = ask_services(config, guard, &known.shelf, &line, &stop).unzip();
        let (voices, duty) = (Arc::default(), fleet::duty(config));
        let gauges = guard.responder.gauges();
        let mirror =
            redis::build(config, &guard.settings, &gauges, &guard.pulse, &voices, &duty, open_journal());
        let (mirror, to_mirror) = mirror.unzip();
        let mut outbox = Outbox {
            reporter: guard.reporter.clone(),
            lanes: Some(lanes),
            peers: Some(to_peers),
            has_peers: Arc::clone(&peers.active),
            asides: [to_services, to_mirror],
            pulse: Arc::clone(&guard.pulse),
            duty: duty.clone(),
        };
        let pass = move |records: Vec<Record>| outbox.pass(&records);
        let (input, engine) = pipeline::start(&guard.settings, &*registry, build::default_shards(), pass)
            .map_err(Failure::software)?;

        let (sinks, pulse) = (std::mem::take(&mut guard.sinks), Arc::clone(&guard.pulse));
        let updates = known.update(config, &stop);
        Ok(Self {
            input,
            line,
            engine,
            shelf: Arc::clone(&known.shelf),
            lists: known.follow(),
            updates,
            shed,
            decisions,
            advice,
            advisers,
            sinks: Work::new("sinks", move || sinks::keep(&for_sinks, sinks, &pulse)),
            peers,
            services,
            mirror: mirror.map(|mirror| Work::new("redis", move || mirror.run())),
            voices,
            duty,
            stop,
        })
    }
}

/// The lists, as they were read.
struct Known {
    lists: Lists,
    /// What they were when they were read.
    made_of: u64,
    shelf: Arc<Shelf>,
}

impl Known {
    fn read(config: &Config, guard: &mut Guard) -> Result<Self, Failure> {
        let lists = build::lists(config);
        let made_of = lists.fingerprint();
        let (shelf, problems) = build::intelligence(config, &lists, Copy::Keep)?;
        for problem in problems {
            guard.responder.say(&entries::degraded("threat intelligence", &problem));
        }
        Ok(Self { lists, made_of, shelf: Arc::new(shelf) })
    }

    /// Who fetches them anew.
    fn update(&self, config: &Config, stop: &Arc<AtomicBool>) -> (SyncSender<()>, Work) {
        let updates = Updates::new(config.clone(), self.lists.clone(), open_journal(), Arc::clone(stop));
        let (until, ends) = sync_channel(1);
        (until, Work::new("updates", move || updates.run(&ends)))
    }

    /// Who reads them again when they change.
    fn follow(self) -> Reader {
        let follower = Follower::new(self.lists, self.shelf, open_journal(), self.made_of);
        let (again, asked) = sync_channel(1);
        Reader { work: Work::new("lists", move || follower.run(&asked)), again }
    }
}

/// Makes the detectors of each shard.
fn registry(config: &Config, shelf: &Shelf, guard: &mut Guard) -> Result<Box<Registry>, Failure> {
    let (leak_rules, problems) = build::leak_rules(config)?;
    for problem in problems {
        guard.responder.say(&entries::degraded("leak detector", &problem));
    }
    let own_macs = guard.settings.own_macs.clone();
    Ok(build::registry(config, &shelf.current(), leak_rules, guard.known.gateways(), own_macs))
}

/// Who asks services, and the way there, if one is turned on.
fn ask_services(
    config: &Config,
    guard: &Guard,
    shelf: &Arc<Shelf>,
    line: &EngineLine,
    stop: &Arc<AtomicBool>,
) -> Option<(Work, Lane)> {
    let services = services::build(config, &guard.settings.local_nets, shelf, line.clone(), open_journal())?;
    let (to_services, for_services) = sync_channel(LANE_QUEUE);
    let stop = Arc::clone(stop);
    let mut asks = Restarting::new(config.outside.means(), Arc::clone(&stop));
    let work = Work::new("services", move || services.run(&for_services, &mut asks, &stop));
    Some((work, Lane::new(to_services, services::wants)))
}

/// The peers thread, and the ways to it.
pub struct Peers {
    pub work: Work,
    /// What is asked of it, and what wakes it.
    pub end: (SyncSender<Word>, Rope),
    pub node: NodeProcess,
    /// Whether records are of any use there.
    active: Arc<AtomicBool>,
    /// How many are connected.
    pub connected: Arc<AtomicUsize>,
    /// Its directory is to be read again.
    pub reread: Arc<AtomicBool>,
}

impl Peers {
    /// It, and the lane to it.
    fn build(
        config: &Config,
        environment: &Environment,
        inputs: &Inputs,
        guard: &Guard,
        line: EngineLine,
        advice: AdviceLine,
    ) -> Result<(Self, Lane), Failure> {
        let bell = Bell::new().map_err(Failure::software)?;
        let (to_peers, for_peers) = sync_channel(LANE_QUEUE);
        let (to_words, words) = sync_channel(ASK_QUEUE);
        let (own, protected) = (inputs.own.clone(), (guard.known.clone(), guard.policy.clone()));
        let peers = peers::build(config, environment, own, protected, line, advice, open_journal())?;
        let lane = Lane::new(to_peers, peers::wants).ringing(bell.rope());
        let this = Self {
            end: (to_words, bell.rope()),
            node: peers.node_process(),
            active: peers.active(),
            connected: peers.connected(),
            reread: peers.reread(),
            work: Work::new("peers", move || peers.run(&for_peers, &words, &bell)),
        };
        Ok((this, lane))
    }
}
