//! Where others ask and are told: the command line, the control API, other programs and routers over Redis.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use super::guard::Guard;
use super::judge::Judge;
use super::threads::{Work, spawn};
use crate::cli::Failure;
use crate::config::{Config, Mode};
use crate::control::api::Api;
use crate::control::api::news::Desk;
use crate::control::{ASK_QUEUE, Ends, Pending, Server};
use crate::daemon::aside::open_journal;
use crate::daemon::bell::Rope;
use crate::daemon::figures::{Counted, Figures, Vitals};
use crate::daemon::responder::Responder;
use crate::daemon::whitelist::Hurry;
use crate::daemon::{api, entries, fleet, redis};
use crate::whitelist::Files;

/// What they are made of beside the parts of the daemon.
pub struct Given {
    /// The way of asks to the main thread.
    pub of_main: (SyncSender<Pending>, Rope),
    /// The socket of the control API, where the service manager opened it.
    pub control_socket: Option<OwnedFd>,
    /// Where news come in for those who follow.
    pub desk: Desk,
}

/// See the module.
pub struct Doors {
    /// What is asked of the responder.
    pub asks: Receiver<Pending>,
    /// The line of the command line, with its thread.
    pub control: Option<(Server, JoinHandle<()>)>,
    pub api: Option<Api>,
    /// Hears what other programs say over Redis.
    pub bus: Option<Work>,
    /// Sees the routers of one Redis; between two looks it waits until the sender is gone.
    pub fleet: (SyncSender<()>, Option<Work>),
    /// What the main thread finds out, for who asks.
    pub vitals: Arc<Vitals>,
}

impl Doors {
    /// Opens them. A door that cannot be opened is told of: all else goes on. `watching` is what is watched, for people.
    pub fn open(
        config: &Config,
        given: Given,
        watching: &[String],
        guard: &mut Guard,
        judge: &Judge,
    ) -> Result<Self, Failure> {
        let (to_asks, asks) = sync_channel(ASK_QUEUE);
        let ends = Arc::new(Ends {
            main: given.of_main,
            responder: (to_asks, guard.bell.rope()),
            peers: judge.peers.end.clone(),
            node: judge.peers.node.clone(),
        });
        let voices = Arc::clone(&judge.voices);
        let bus = redis::bus(config, judge.line.clone(), Arc::clone(&ends), voices, open_journal());
        let stop = Arc::clone(&judge.stop);
        let bus = bus.map(|bus| Work::new("redis-bus", move || bus.run(&stop)));
        let control = listen(config, &ends, &mut guard.responder)?;

        let counted = Counted {
            pulse: Arc::clone(&guard.pulse),
            shed: judge.shed.to_vec(),
            gauges: guard.responder.gauges(),
            peers: Arc::clone(&judge.peers.connected),
            engine: judge.engine.progress(),
            meter: guard.settings.meter.clone(),
        };
        let stands = (config.firewall.mode, judge.duty.clone());
        let figures = Figures::new(counted, stands, watching.to_vec());
        let vitals = Arc::clone(&figures.vitals);
        let (fleet, view) = join_fleet(config, &figures, guard, judge);
        let (again, spared) = (guard.whitelist.again.clone(), guard.spared.clone());
        let allowed = Hurry { files: Files::of(config), again, spared };
        let sources = api::sources(config, figures, view, Arc::clone(&judge.shelf), allowed);
        let Given { control_socket, desk, .. } = given;
        let say = |entry: &_| guard.responder.say(entry);
        let api = api::open(&config.control, control_socket, ends, sources, desk, say);
        Ok(Self { asks, control, api, bus, fleet, vitals })
    }
}

/// Listens for the command line.
fn listen(
    config: &Config,
    ends: &Arc<Ends>,
    responder: &mut Responder,
) -> Result<Option<(Server, JoinHandle<()>)>, Failure> {
    let answers = || {
        open_journal().send(&entries::degraded("the command line", "is answered from now on"));
    };
    match Server::listen(Arc::clone(ends), answers) {
        Ok((server, squatter, work)) => {
            if let Some(squatter) = &squatter {
                responder.say(&entries::squatted(squatter));
            }
            // Only when no other daemon is here: what stands would be its.
            let alone = squatter.is_none_or(|squatter| squatter.is_stranger());
            if config.firewall.mode == Mode::Monitor && alone {
                responder.stand_down();
            }
            Ok(Some((server, spawn("control", work)?)))
        }
        Err(error) => {
            let text = format!("cannot listen for commands: {error}");
            responder.say(&entries::degraded("the command line", &text));
            Ok(None)
        }
    }
}

/// The thread that sees the routers of one Redis, and what it sees, where there is one.
fn join_fleet(
    config: &Config,
    figures: &Arc<Figures>,
    guard: &mut Guard,
    judge: &Judge,
) -> ((SyncSender<()>, Option<Work>), Option<fleet::View>) {
    let (to_orders, orders) = sync_channel(fleet::ORDERS);
    guard.responder.obey(orders);
    let view = fleet::View::default();
    let ways = fleet::Ways {
        duty: judge.duty.clone(),
        engine: judge.line.clone(),
        orders: fleet::Orders::new((to_orders, guard.bell.rope())),
        figures: Arc::clone(figures),
        view: Arc::clone(&view),
        advice: judge.advisers.another(guard.bell.rope()),
        gauges: guard.responder.gauges(),
        local: guard.settings.local_nets.clone(),
    };
    let (until, ends) = sync_channel(1);
    match fleet::build(config, ways, open_journal()) {
        Some(routers) => ((until, Some(Work::new("fleet", move || routers.run(&ends)))), Some(view)),
        None => ((until, None), None),
    }
}
