//! What keeps attackers out, and what of all that is found stays: the firewall with those who must never be blocked, the book, the files.

use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use slips_core::engine::meter::Meter;
use slips_core::moving::OwnMacs;
use slips_core::settings::Settings;
use slips_store::{Filed, OutputDir, RecordSink};
use slips_systemd::notify::Environment;

use super::inputs::Inputs;
use super::threads::{Reader, Work};
use crate::cli::Failure;
use crate::config::Config;
use crate::control::api::news::Reporter;
use crate::daemon::aside::open_journal;
use crate::daemon::bell::Bell;
use crate::daemon::leases::Leases;
use crate::daemon::overload::blocked::Blocked;
use crate::daemon::policy::Policy;
use crate::daemon::protect::{self, PeerAddresses};
use crate::daemon::pulse::Pulse;
use crate::daemon::responder::{self, Responder};
use crate::daemon::whitelist::Spared;
use crate::daemon::{clocks, entries, peers, sinks, whitelist};
use crate::whitelist::Files;

/// See the module.
pub struct Guard {
    /// Of the engine, with what this host knows of itself.
    pub settings: Settings,
    pub pulse: Arc<Pulse>,
    pub policy: Policy,
    /// It says what is wrong with the others until its own thread starts.
    pub responder: Responder,
    /// Wakes it.
    pub bell: Bell,
    /// Finds out who is protected.
    pub finder: Work,
    pub whitelist: Reader,
    /// What it says, for who asks.
    pub spared: Spared,
    /// Where peers are reached, and whom else the finder is told of.
    pub known: PeerAddresses,
    /// Who is blocked.
    pub blocked: Blocked,
    pub reporter: Reporter,
    pub dir: OutputDir,
    pub sinks: Vec<Box<dyn RecordSink>>,
}

impl Guard {
    /// Opens the files, then the firewall, then the book: what it has is blocked from then on.
    pub fn open(
        config: &Config,
        environment: &Environment,
        reporter: Reporter,
        inputs: &mut Inputs,
    ) -> Result<Self, Failure> {
        let mut whitelist = whitelist::Follower::begin(Files::of(config), open_journal());
        let settings = Settings {
            whitelist: whitelist.current.clone(),
            own_macs: OwnMacs::moving(Arc::clone(&inputs.own.moving)),
            meter: Meter::new(clocks::nanos),
            partners: protect::partners(&inputs.local_nets),
            local_nets: inputs.local_nets.clone(),
            ..config.engine(&[])
        };
        let (pulse, filed) = (Arc::new(Pulse::new(inputs.threads())), Filed::default());
        let reuse = sinks::Reuse::Continue { pulse: &pulse, filed: &filed, database: &config.database };
        let (dir, mut sinks) = sinks::files(&config.output.directory, reuse, &settings)?;
        let leases = Leases::default();
        sinks.push(leases.sink());
        sinks.extend(inputs.herald(config));

        let bell = Bell::new().map_err(Failure::software)?;
        let known = peers::addresses(config, environment).sparing(whitelist.spared.clone());
        let policy = Policy::from(config.firewall.clone());
        let (protect, find) =
            protect::finder(policy.clone(), known.clone(), leases, bell.rope(), inputs.look());
        let (mut responder, found) = responder::open(config, policy.clone(), protect, &known, &inputs.own)?;
        whitelist.know(protect::resolvers(&found));
        responder.open_book(&dir.blocks_sqlite());
        responder.follow(filed);
        responder.report_to(reporter.clone());
        responder.count_turns(Arc::clone(&pulse.responder));
        for gap in inputs.scope.gaps() {
            responder.say(&entries::degraded("watching", &gap));
        }

        let spared = whitelist.spared.clone();
        let (again, asked) = sync_channel(1);
        let work = Work::new("whitelist", move || whitelist.run(&asked));
        Ok(Self {
            settings,
            pulse,
            policy,
            blocked: responder.share(),
            responder,
            bell,
            finder: Work::new("protect", find),
            whitelist: Reader { work, again },
            spared,
            known,
            reporter,
            dir,
            sinks,
        })
    }
}
