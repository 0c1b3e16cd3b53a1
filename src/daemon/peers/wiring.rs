//! The peers thread's ways to the other parts, and what it is made from.

use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use slips_core::addr::Net;
use slips_core::engine::pipeline::Input;
use slips_core::event::Event;
use slips_core::record::Record;
use slips_systemd::journal::Journal;
use slips_systemd::notify::Environment;

use super::probe::{Probe, Trying};
use super::{Peers, Settings, Ways};
use crate::cli::Failure;
use crate::config::{Config, PeerNode};
use crate::daemon::clocks::Clocks;
use crate::daemon::interfaces::Own;
use crate::daemon::policy::Policy;
use crate::daemon::protect::{self, PeerAddresses};
use crate::daemon::responder::AdviceLine;
use crate::peers::Store;

/// What the peers thread wants to know of what happens.
pub fn wants(record: &Record) -> bool {
    matches!(record, Record::Evidence(_) | Record::Alert(_) | Record::Events(_))
}

/// The way back into the engine. It is closed when the daemon ends: the engine ends when nobody can tell it anything any more.
#[derive(Clone, Default)]
pub struct EngineLine(Arc<Mutex<Option<Input>>>);

impl EngineLine {
    /// From now on the engine hears.
    pub fn open(&self, input: Input) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(input);
    }

    /// From now on it does not.
    pub fn close(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Tells it something, if it has room; true when there is nobody to be told, too.
    pub fn tell(&self, event: Event) -> bool {
        let input = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        input.as_ref().is_none_or(|input| input.try_send(vec![event]).is_ok())
    }
}

/// Where the directory says now that peers are reached. What is wrong with it the thread tells when it reads it.
pub fn addresses(config: &Config, environment: &Environment) -> PeerAddresses {
    let known = PeerAddresses::default();
    if let Ok(state) = store(config, environment).load() {
        known.set(state.table.addresses());
    }
    known
}

fn store(config: &Config, environment: &Environment) -> Store {
    let credentials = environment.credentials_directory.as_deref().map(Path::new);
    Store::new(config.p2p_directory(), credentials)
}

/// The peers thread's work. It does nothing, and starts no process, before there is a peer.
pub fn build(
    config: &Config,
    environment: &Environment,
    own: Own,
    (known, policy): (PeerAddresses, Policy),
    engine: EngineLine,
    responder: AdviceLine,
    journal: Journal,
) -> Result<Peers, Failure> {
    let store = store(config, environment);
    let settings = Settings {
        p2p: config.p2p.clone(),
        firewall: config.firewall.clone(),
        alert_weight: config.engine(&[]).alert_weight(),
        book: config.output.directory.join("peers.sqlite"),
    };
    let (peers, targets) = (known.clone(), config.p2p.probes.clone());
    let named: Vec<Net> = config.parameters.client_ips.iter().map(|net| net.0).collect();
    let ways = Ways {
        advise: Box::new(move |event| engine.tell(event)),
        respond: Box::new(move |advice| responder.give(advice)),
        protect: Box::new(move || {
            let protected = protect::discover(&policy.now(), &peers).ok()?;
            Some(protected.iter().map(|(net, _)| net).collect())
        }),
        own: Box::new(move || own.list().into_iter().chain(named.iter().copied()).collect()),
        reach: Box::new(move |now| {
            // Only where the owner named somebody: name servers are protected anyway, so that they are not reached says nothing about
            // blocks of peers, and whoever floods the line for some seconds would have them lifted.
            let servers = if targets.is_empty() {
                Vec::new()
            } else {
                slips_firewall::name_servers(Path::new("/")).unwrap_or_default()
            };
            Probe::start(&servers, &targets, now).map(|probe| -> Box<dyn Trying> { Box::new(probe) })
        }),
    };
    let mut peers = Peers::new(store, settings, ways, known, journal, Clocks::default());
    if config.p2p.node == PeerNode::Service {
        // Peers are an extra: attackers are blocked without them.
        match listen(&config.p2p.socket) {
            Ok(listener) => peers.serve_at(listener),
            Err(error) => peers.complain(&format!(
                "no peers until the next start: cannot listen for the node at {}: {error}",
                config.p2p.socket.display()
            )),
        }
    }
    Ok(peers)
}

/// The socket to which a node comes that is a unit of its own. Only its group may connect, and who connects is asked for.
fn listen(path: &Path) -> std::io::Result<UnixListener> {
    if let Some(dir) = path.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o750).create(dir)?;
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
