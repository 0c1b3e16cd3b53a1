//! Where events come from: captures on interfaces, and what is read besides.

use std::sync::Arc;
use std::thread::JoinHandle;

use slips_core::addr::LocalNets;
use slips_core::engine::pipeline::Input;
use slips_core::settings::Settings;
use slips_input::Alerts;
use slips_input::capture::{Handover, LiveSource, Newcomers};
use slips_store::RecordSink;

use super::threads::spawn;
use crate::cli::Failure;
use crate::config::{Config, SensorKind};
use crate::daemon::aside::open_journal;
use crate::daemon::interfaces::{self, Follower, Own, Watched};
use crate::daemon::memory::size::Rings;
use crate::daemon::overload::Thinner;
use crate::daemon::overload::blocked::Blocked;
use crate::daemon::pulse::Pulse;
use crate::daemon::{capture, entries, feeds};

/// What is to be watched.
pub struct Scope {
    watched: Watched,
    /// Somebody named it: nothing else is looked for.
    named: bool,
    /// What that takes in the kernel.
    pub rings: Rings,
}

impl Scope {
    /// The interfaces that were `asked` for, else those of the configuration, else those that are there; their rings are doubled where they
    /// are `kept`.
    pub fn of(config: &Config, asked: &[String], kept: bool) -> Self {
        let named = config.inputs.alone || !asked.is_empty() || !config.interfaces.is_empty();
        let watched = match config.inputs.alone {
            true => Watched::default(),
            false => interfaces::choose(asked, &config.interfaces),
        };
        let rings = capture::rings(config, &watched, named, kept);
        Self { watched, named, rings }
    }

    /// What is wrong with it, for the journal.
    pub fn gaps(&self) -> Vec<String> {
        let mut gaps = Vec::new();
        if self.watched.names.is_empty() && !self.named {
            gaps.push("no interface is up and has an address yet; each is watched from then on".to_owned());
        }
        gaps.extend(too_many(&self.watched.left_out));
        gaps
    }
}

fn too_many(left_out: &[String]) -> Option<String> {
    let text = || format!("too many interfaces, not watched: {}; name those to watch", left_out.join(", "));
    (!left_out.is_empty()).then(text)
}

/// See the module.
pub struct Inputs {
    pub scope: Scope,
    /// One for each capture thread.
    pub sources: Vec<LiveSource>,
    feeds: Vec<feeds::Opened>,
    /// Those who tell us of flows hear of alerts there.
    heard: Alerts,
    /// Networks that are ours by our interfaces, and together with those of the configuration.
    pub own: Own,
    pub local_nets: LocalNets,
    comings: Option<Follower>,
}

impl Inputs {
    /// Opens them all: from now on packets wait in the rings.
    pub fn open(config: &Config, scope: Scope, later_ring: u64, handover: Handover) -> Result<Self, Failure> {
        let (heard, watched, named) = (Alerts::default(), &scope.watched.names, scope.named);
        let feeds = feeds::open(&config.inputs, watched, &config.output.directory, &heard)?;
        let (own, newcomers) = (Own::default(), Newcomers::default());
        let comings = Follower::new(watched.clone(), named, own.clone(), newcomers.clone());
        let local_nets = config.engine(&[]).local_nets.and(Arc::clone(&own.moving));
        // What Zeek watches is not watched twice.
        let (interfaces, newcomers) = match config.inputs.sensor {
            SensorKind::Zeek => (&[][..], None),
            SensorKind::Slips => (&watched[..], Some(newcomers).filter(|_| !named)),
        };
        let watching = capture::Watching { interfaces, newcomers, planned: scope.rings.planned, later_ring };
        let sources = capture::sources(config, watching, &local_nets, handover)?;
        Ok(Self { scope, sources, feeds, heard, own, local_nets, comings: Some(comings) })
    }

    /// How many threads they will be.
    pub fn threads(&self) -> usize {
        self.sources.len() + usize::from(!self.feeds.is_empty())
    }

    /// All that is watched, for people.
    pub fn names(&self) -> Vec<String> {
        let interfaces = self.scope.watched.names.iter().cloned();
        interfaces.chain(self.feeds.iter().map(|feed| feed.name())).collect()
    }

    /// Tells those who tell us of flows of alerts, where there may be some.
    pub fn herald(&self, config: &Config) -> Option<Box<dyn RecordSink>> {
        let listens = !config.inputs.socket.as_os_str().is_empty();
        listens.then(|| -> Box<dyn RecordSink> { Box::new(feeds::Herald(self.heard.clone())) })
    }

    /// A look at which interfaces and networks came and went, for one thread.
    pub fn look(&mut self) -> impl FnMut() + Send + use<> {
        let mut comings = self.comings.take();
        move || {
            let left_out = comings.as_mut().map(Follower::look).unwrap_or_default();
            if let Some(text) = too_many(&left_out) {
                open_journal().send(&entries::degraded("watching", &text));
            }
        }
    }

    /// Starts their threads. When these have ended, nobody has an `input` of the engine any more, but who has it over a line that is closed.
    pub fn start(
        self,
        config: &Config,
        settings: &Settings,
        (pulse, blocked): (&Arc<Pulse>, &Blocked),
        input: Input,
    ) -> Result<Vec<JoinHandle<Result<(), Failure>>>, Failure> {
        let (number, mut threads) = (self.sources.len(), Vec::with_capacity(self.threads()));
        if !self.feeds.is_empty() {
            let pulse = Arc::clone(pulse);
            let feeds = feeds::Feeds::new(self.feeds, number, input.clone(), open_journal());
            threads.push(spawn("feeds", move || feeds.run(&pulse))?);
        }
        for (number, source) in self.sources.into_iter().enumerate() {
            let (pulse, input) = (Arc::clone(pulse), input.clone());
            let part = capture::Part { number, flows: capture::flows_of(config) };
            let thinner = Thinner::new(blocked.reader(), self.local_nets.clone());
            let source = source.awaiting(capture::senders(settings));
            threads.push(spawn(&format!("capture-{number}"), move || {
                capture::run(source, part, &input, thinner, &pulse)
            })?);
        }
        Ok(threads)
    }
}
