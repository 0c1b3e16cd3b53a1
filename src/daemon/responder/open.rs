//! The responder as the configuration wants it, with its firewall open.

use slips_core::addr::Net;
use slips_firewall::{Firewall, Options, Protected};

use super::{Open, Protect, Responder, Ways};
use crate::cli::{Exit, Failure};
use crate::config::{self, Bridge, Config};
use crate::daemon::aside::open_journal;
use crate::daemon::clocks::Clocks;
use crate::daemon::interfaces::Own;
use crate::daemon::policy::Policy;
use crate::daemon::protect::{self, PeerAddresses};

/// The responder, and who is never blocked.
pub fn open(
    config: &Config,
    policy: Policy,
    protect: Protect,
    known: &PeerAddresses,
    own: &Own,
) -> Result<(Responder, Protected), Failure> {
    let protected = protect::discover(&config.firewall, known).map_err(|error| Failure {
        exit: Exit::Software,
        error: anyhow::Error::from(error).context("cannot find out who must never be blocked"),
    })?;
    let found = protected.clone();
    // What cannot be counted counts as none: then few are blocked.
    let [inside, on, ours] = std::array::from_fn(|_| inside(config, own));
    let neighbours = Box::new(move || slips_firewall::neighbours(&on()).unwrap_or_default());
    let partners = Box::new(move || {
        let ours = ours();
        let is_ours = |addr| ours.iter().any(|net| net.contains(addr));
        slips_firewall::answered(|asker, asked| is_ours(asker) && !is_ours(asked)).unwrap_or_default()
    });
    let (open, sweep) = (opener(&config.firewall), Box::new(slips_firewall::flush_all));
    let ways = Ways { open, sweep, protect, inside, neighbours, partners };
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

/// Opens the firewall as often as it is asked to: what a flush by hand took away is opened anew.
fn opener(config: &config::Firewall) -> Open {
    let mode = match config.mode {
        config::Mode::Enforce => slips_firewall::Mode::Enforce,
        config::Mode::Monitor => slips_firewall::Mode::Monitor,
    };
    let notice_port = Some(config.notice_port).filter(|port| *port != 0);
    let log = config.log_dropped;
    let (bridge, size) = (config.bridge, Some(config.size));
    let machines = config.bridge_machines;
    Box::new(move |protected| {
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
