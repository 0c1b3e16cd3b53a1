//! For tests: the thread without a node, peers of a directory of their own, what they ask the responder for, and what others say to them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use slips_p2p::identity::NodeKey;
use slips_p2p::moment::Moment;
use slips_p2p::roster::Role;
use slips_systemd::journal::{Journal, Lines};

use super::probe::Trying;
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
    pub(super) dir: tempfile::TempDir,
    store: Store,
    /// Milliseconds since [`NOW`], by all clocks.
    passed: Arc<AtomicU64>,
    ear: Ear,
    /// Whether the network can be reached.
    pub(super) reached: Arc<AtomicBool>,
}

struct Reached(Arc<AtomicBool>);

impl Trying for Reached {
    fn look(&mut self, _now: Duration) -> Option<bool> {
        Some(self.0.load(Ordering::Relaxed))
    }
}

/// What the journal was told.
#[derive(Clone, Default)]
struct Ear(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Ear {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
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
        let store = Store::new(dir.path().join("p2p"), None);
        let stage = Self {
            store,
            dir,
            passed: Arc::default(),
            ear: Ear::default(),
            reached: Arc::new(AtomicBool::new(true)),
        };
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

    pub(super) fn now(&self) -> Moment {
        Moment(NOW.0 + self.passed.load(Ordering::Relaxed))
    }

    pub(super) fn later(&self, span: Duration) {
        self.passed.fetch_add(u64::try_from(span.as_millis()).expect("short"), Ordering::Relaxed);
    }

    /// The lines of the journal since this was asked last.
    pub(super) fn lines(&self) -> Vec<String> {
        let told = std::mem::take(&mut *self.ear.0.lock().unwrap_or_else(PoisonError::into_inner));
        String::from_utf8(told).expect("text").lines().map(str::to_owned).collect()
    }

    fn clocks(&self) -> Clocks {
        let (steady, wall) = (Arc::clone(&self.passed), Arc::clone(&self.passed));
        Clocks {
            steady: Box::new(move || Duration::from_millis(steady.load(Ordering::Relaxed))),
            awake: Box::new(|| Duration::ZERO),
            wall: Box::new(move || {
                i64::try_from((NOW.0 + wall.load(Ordering::Relaxed)) * 1000).expect("in range")
            }),
        }
    }

    /// What the command line does.
    pub(super) fn change(&self, work: impl FnOnce(&mut State)) {
        let changed = self.store.change(self.now(), |state| {
            work(state);
            Ok::<(), Error>(())
        });
        changed.expect("changed");
    }

    /// A run of the thread, which has not read the directory yet.
    pub(super) fn peers(&self) -> (Peers, Receiver<Advice>) {
        let (give, given) = sync_channel(4096);
        let reached = Arc::clone(&self.reached);
        let ways = Ways {
            advise: Box::new(|_| true),
            respond: Box::new(move |advice| give.try_send(advice).is_ok()),
            protect: Box::new(|| None),
            own: Box::new(Vec::new),
            reach: Box::new(move |_| Some(Box::new(Reached(Arc::clone(&reached))))),
        };
        let settings = Settings {
            p2p: config::P2p::default(),
            firewall: config::Firewall::default(),
            alert_weight: 1.0,
            book: self.dir.path().join("peers.sqlite"),
        };
        let journal =
            Journal::open(&self.dir.path().join("none"), Box::new(self.ear.clone()), Lines::WithoutJournald);
        let (known, clocks) = (PeerAddresses::default(), self.clocks());
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
