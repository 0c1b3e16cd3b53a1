//! For tests: peers of a directory of their own, what they ask the responder for, and what others say to them.

use std::sync::mpsc::{Receiver, sync_channel};

use slips_p2p::identity::NodeKey;
use slips_p2p::moment::Moment;
use slips_p2p::roster::Role;
use slips_systemd::journal::{Journal, Lines};

use super::{Advice, NodeId, Peers, Settings, Ways};
use crate::config;
use crate::daemon::clocks::Clocks;
use crate::daemon::protect::PeerAddresses;
use crate::peers::table::{PeerRow, parse_name};
use crate::peers::{Error, Secret, State, Store};

pub(super) const NOW: Moment = Moment(1_793_600_000_000);
/// The key of the network.
pub(super) const PSK: [u8; 32] = [7; 32];

pub(super) struct Stage {
    dir: tempfile::TempDir,
    store: Store,
}

pub(super) fn key(n: u8) -> NodeKey {
    NodeKey::from_seed(&[n; 32])
}

pub(super) fn id(n: u8) -> NodeId {
    key(n).id()
}

impl Stage {
    /// Peers attic, barn and shed, keys 1 to 3, of one group.
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().expect("temp");
        let stage = Self { store: Store::new(dir.path().join("p2p"), None), dir };
        stage.change(|state| {
            state.network = Some(Secret(PSK));
            for (n, name) in [(1, "attic"), (2, "barn"), (3, "shed")] {
                let row = PeerRow {
                    name: Some(parse_name(name).expect("name")),
                    group: Some("family".into()),
                    role: Some(Role::Authority),
                    ..PeerRow::by_hand(id(n))
                };
                state.table.peers.push(row);
            }
        });
        stage
    }

    /// What the command line does.
    pub(super) fn change(&self, work: impl FnOnce(&mut State)) {
        let changed = self.store.change(NOW, |state| {
            work(state);
            Ok::<(), Error>(())
        });
        changed.expect("changed");
    }

    /// A run of the thread, which has not read the directory yet.
    pub(super) fn peers(&self) -> (Peers, Receiver<Advice>) {
        let (give, given) = sync_channel(16);
        let ways = Ways {
            advise: Box::new(|_| true),
            respond: Box::new(move |advice| give.try_send(advice).is_ok()),
            protect: Box::new(|| None),
        };
        let settings = Settings {
            p2p: config::P2p::default(),
            firewall: config::Firewall::default(),
            alert_weight: 1.0,
            own: Vec::new(),
            book: self.dir.path().join("peers.sqlite"),
        };
        let journal =
            Journal::open(&self.dir.path().join("none"), Box::new(std::io::sink()), Lines::WithoutJournald);
        let (known, clocks) = (PeerAddresses::default(), Clocks::default());
        let mut peers = Peers::new(self.store.clone(), settings, ways, known, journal, clocks);
        peers.synced = true;
        (peers, given)
    }
}

/// What the responder was asked for since the directory was read anew.
pub(super) fn reloaded(peers: &mut Peers, given: &Receiver<Advice>) -> Vec<Advice> {
    peers.reload().expect("read");
    given.try_iter().collect()
}
