//! Peers, as the daemon has them: one thread owns what they said, how far they are believed, and the process that talks with them.
//!
//! ```text
//! engine ─records─▶ peers thread ─advice─▶ engine (evidence), responder (blocks)
//! command line ───▶   │    ▲                journal, peers.sqlite
//!                     ▼    │ frames over a socket
//!                  node's process ◀─ libp2p ─▶ other routers
//! ```
//! It never holds anybody up: whoever tells it something drops or keeps it when the queue is full, and the node is read and written without
//! waiting. When the node dies, blocking goes on, and another node is started.

mod book;
pub(crate) mod calls;
mod directory;
mod heard;
pub mod link;
mod lists;
mod node;
mod ours;
mod probe;
pub mod process;
mod reach;
mod rosters;
mod rulings;
pub mod sandbox;
#[cfg(test)]
mod stage;
#[cfg(test)]
mod tests;
mod told;
mod ungiven;
mod watchdog;
mod wiring;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags};
use slips_core::addr::Net;
use slips_core::event::Event;
use slips_core::record::Record;
use slips_p2p::bucket::{Quotas, Rate};
use slips_p2p::council::{Council, Mode, Rules};
use slips_p2p::exchange::Sight;
use slips_p2p::gate::Gate;
use slips_p2p::identity::{NetId, NodeId};
use slips_p2p::indicator::Indicator;
use slips_p2p::link::{Start, ToNode};
use slips_p2p::lists::{Followed, Of, Published};
use slips_p2p::members::Members;
use slips_p2p::message::Name;
use slips_p2p::moment::{Clock, Moment};
use slips_p2p::privacy::Privacy;
use slips_p2p::share::Sharing;
use slips_store::PeerBook;
use slips_systemd::journal::{Entry, Journal, Kind};

use super::bell::Bell;
use super::chatter::Chatter;
use super::clocks::Clocks;
use super::entries::{self, Named};
use super::protect::PeerAddresses;
use super::responder::Advice;
use crate::config;
use crate::control::Pending;
use crate::peers::table::Policy;
use crate::peers::{State, Store};
use directory::{Directory, READ_AGAIN};
pub use node::NodeProcess;
use node::{Happened, Node, Origin};
use watchdog::Watchdog;
pub use wiring::{EngineLine, addresses, build, wants};

/// How often the thread looks after things while there are peers.
const TICK: Duration = Duration::from_secs(1);
/// How often blocks on advice, who is protected, and how far peers are believed, are looked at.
const COUNCIL_EVERY: Duration = Duration::from_secs(5);
const PROTECT_EVERY: Duration = Duration::from_secs(30);
const BELIEVE_EVERY: Duration = Duration::from_secs(300);
const FORGET_EVERY: Duration = Duration::from_secs(3600);
/// Without peers there is nothing to do but to wait for words.
const IDLE: Duration = Duration::from_secs(3600);
/// The same trouble is told once in this time.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);
const MAX_COMPLAINTS: usize = 32;
/// Lines of one kind that one peer causes in the journal at once, and in an hour: more than the fleet of an owner tells in a bad one.
const LINES: u32 = 128;
const LINES_AN_HOUR: u32 = 64;
/// Letters of one.
const MAX_COMPLAINT: usize = 300;
/// Words to the engine that wait because its queue was full.
const MAX_UNADVISED: usize = 1024;
/// So soon the responder is asked again for what it had no room for.
const GIVE_AGAIN: Duration = Duration::from_millis(20);
/// Own findings that are remembered for the questions of peers.
const MAX_SEEN: usize = 4096;

/// The ways from here to others.
pub struct Ways {
    /// Tells the engine what peers say; false when it does not take it now.
    pub advise: Box<dyn Fn(Event) -> bool + Send>,
    /// Tells the responder; false when it has no room for a block now. That something ends it always hears.
    pub respond: Box<dyn Fn(Advice) -> bool + Send>,
    /// Who must never be blocked; `None` when that cannot be found out now.
    pub protect: Box<dyn Fn() -> Option<Vec<Net>> + Send>,
    /// Networks that are ours now: never told to anybody.
    pub own: Box<dyn Fn() -> Vec<Net> + Send>,
    /// Begins a try, at this steady time, whether the network can be reached; `None` when nobody is there to be tried.
    pub reach: Box<dyn Fn(Duration) -> Option<Box<dyn probe::Trying>> + Send>,
}

/// What does not change while the daemon runs.
pub struct Settings {
    /// `p2p` of the configuration.
    pub p2p: config::P2p,
    /// `firewall` of the configuration: for how long we block.
    pub firewall: config::Firewall,
    /// The weight of an alert.
    pub alert_weight: f64,
    /// peers.sqlite.
    pub book: PathBuf,
}

/// What others ask of the thread.
pub enum Word {
    /// A command of the command line.
    Asked(Pending),
    /// The owner lifted a block: whoever asked for it was wrong.
    Unblocked(Net),
    /// The node's process tried to give a command.
    NodeCommanded,
}

/// See the module.
pub struct Peers {
    store: Store,
    settings: Settings,
    ways: Ways,
    /// Where peers are reached: those who find out who is protected look here.
    known: PeerAddresses,
    journal: Journal,
    clocks: Clocks,
    /// Whether records are of any use here; the outbox looks.
    active: Arc<AtomicBool>,
    /// Somebody wants the directory read again.
    reread: Arc<AtomicBool>,
    /// How many are connected, for those who show it.
    connected: Arc<AtomicUsize>,
    directory: Directory,
    watchdog: Watchdog,
    state: Option<State>,
    members: Members,
    gate: Option<Gate>,
    council: Council,
    /// Networks that are ours now.
    own: Vec<Net>,
    privacy: Privacy,
    sharing: Sharing,
    node: Node,
    book: Option<PeerBook>,
    /// When it was begun anew while it was kept.
    renewed: Option<Moment>,
    /// The epoch and number of our last message.
    said: (u64, u64),
    /// What we saw ourselves, for the questions of peers; and in what order.
    seen: BTreeMap<Indicator, Sight>,
    seen_order: VecDeque<Indicator>,
    /// Blocklists: ours, those that are followed and what is done with them, and whom to tell of only, with when that was last.
    published: Published,
    followed: Followed,
    policies: BTreeMap<Of, Policy>,
    logged: BTreeMap<Indicator, (Of, Moment)>,
    /// When each roster was told last, by its signature.
    rosters_said: BTreeMap<[u8; 64], Moment>,
    reach: reach::Reach,
    ungiven: ungiven::Ungiven,
    unadvised: VecDeque<Event>,
    /// What is to be written at the end of the turn.
    unwritten: book::Unwritten,
    /// Joins that the node was told of.
    joining: Option<NodeId>,
    last_seen: BTreeMap<NodeId, Moment>,
    synced: bool,
    due: Due,
    complaints: BTreeMap<String, Duration>,
    /// What peers, and whoever can connect, cause in the journal.
    chatter: Chatter<(NodeId, Kind)>,
}

/// Steady times at which things are done next.
#[derive(Debug, Default)]
struct Due {
    council: Duration,
    protect: Duration,
    believe: Duration,
    forget: Duration,
}

impl Peers {
    /// With what the directory says.
    pub fn new(
        store: Store,
        settings: Settings,
        ways: Ways,
        known: PeerAddresses,
        journal: Journal,
        clocks: Clocks,
    ) -> Self {
        let mode = match settings.p2p.mode {
            config::PeerMode::Observe => Mode::Observe,
            config::PeerMode::Assist => Mode::Assist,
            config::PeerMode::Preempt => Mode::Preempt,
        };
        let now = Moment(u64::try_from((clocks.wall)() / 1000).unwrap_or(0));
        let canaries = &settings.p2p.canaries;
        let mut council = Council::new(mode, Rules::default());
        council.set_canaries(canaries.iter().filter_map(|ip| Indicator::host(*ip).ok()));
        let own = (ways.own)();
        // Who is told of a canary avoids it.
        let withheld = canaries.iter().map(|ip| Net::host(*ip)).chain(own.iter().copied()).collect();
        let privacy = Privacy { own: withheld, ..Privacy::default() };
        Self {
            store,
            settings,
            ways,
            known,
            journal,
            clocks,
            active: Arc::default(),
            reread: Arc::default(),
            connected: Arc::default(),
            directory: Directory::default(),
            watchdog: Watchdog::default(),
            state: None,
            members: Members::default(),
            gate: None,
            council,
            own,
            privacy,
            sharing: Sharing::default(),
            node: Node::new(Origin::Child),
            book: None,
            renewed: None,
            said: (0, 0),
            seen: BTreeMap::new(),
            seen_order: VecDeque::new(),
            published: Published::new(now),
            followed: Followed::default(),
            policies: BTreeMap::new(),
            logged: BTreeMap::new(),
            rosters_said: BTreeMap::new(),
            reach: reach::Reach::default(),
            ungiven: ungiven::Ungiven::default(),
            unadvised: VecDeque::new(),
            unwritten: book::Unwritten::default(),
            joining: None,
            last_seen: BTreeMap::new(),
            synced: false,
            due: Due::default(),
            complaints: BTreeMap::new(),
            chatter: Chatter::new(LINES, LINES_AN_HOUR),
        }
    }

    /// Whether records are of any use here.
    pub fn active(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.active)
    }

    /// Where it is asked that the directory be read again; the bell is rung then.
    pub fn reread(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.reread)
    }

    /// Where it stands how many are connected.
    pub fn connected(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.connected)
    }

    /// Lets a service be the node instead of a child.
    pub fn serve_at(&mut self, listener: UnixListener) {
        self.node.serve_at(listener);
    }

    /// The node's process, whose word is nobody's command.
    pub fn node_process(&self) -> NodeProcess {
        self.node.process()
    }

    /// Works until all senders of records are gone. Whoever sends rings the bell.
    pub fn run(mut self, records: &Receiver<Vec<Record>>, words: &Receiver<Word>, bell: &Bell) {
        // What is wrong was told.
        let _ = self.reload();
        loop {
            let more = match records.try_recv() {
                Ok(batch) => {
                    if self.is_active() {
                        batch.iter().for_each(|record| self.take_record(record));
                    }
                    true
                }
                Err(TryRecvError::Empty) => false,
                Err(TryRecvError::Disconnected) => break,
            };
            while let Ok(word) = words.try_recv() {
                self.take_word(word);
            }
            if self.reread.swap(false, Ordering::SeqCst) {
                let _ = self.reload();
            }
            self.look_at_directory();
            if self.is_active() {
                self.turn();
            } else {
                self.hand_over();
            }
            self.connected.store(self.node.connected(), Ordering::Relaxed);
            if !more {
                self.wait(bell);
            }
        }
        self.write();
        self.node.stop((self.clocks.steady)());
    }

    fn is_active(&self) -> bool {
        self.active.load(Ordering::Relaxed)
    }

    fn wait(&self, bell: &Bell) {
        let steady = (self.clocks.steady)();
        if !self.is_active() {
            let idle = if self.directory.is_unread() { READ_AGAIN } else { IDLE };
            return bell.wait(&[], idle);
        }
        let tick = if self.ungiven.is_empty() { TICK } else { GIVE_AGAIN };
        let due = self.node.due().saturating_sub(steady).min(tick);
        match self.node.waits_for() {
            Some((socket, writes)) => {
                let flags = if writes { PollFlags::POLLIN | PollFlags::POLLOUT } else { PollFlags::POLLIN };
                bell.wait_for(vec![PollFd::new(socket, flags)], due);
            }
            None => bell.wait(&[], due),
        }
    }

    fn now(&self) -> Moment {
        Moment(u64::try_from((self.clocks.wall)() / 1000).unwrap_or(0))
    }

    fn clock(&self) -> Clock {
        Clock { now: self.now(), synced: self.synced }
    }

    fn take_word(&mut self, word: Word) {
        match word {
            Word::Asked(pending) => pending.answer_by(|ask| self.answer(ask)),
            Word::Unblocked(net) if self.is_active() => self.refuted_by_owner(net),
            Word::Unblocked(_) => {}
            Word::NodeCommanded => {
                self.complain("the node's process tried to command this daemon: somebody may have taken it over; it was refused, and ended");
                self.node.stop((self.clocks.steady)());
            }
        }
    }

    /// One look at everything.
    fn turn(&mut self) {
        let steady = (self.clocks.steady)();
        for happened in self.node.turn(steady) {
            match happened {
                Happened::Ready(sandbox) => self.begin(&sandbox),
                Happened::Told(word) => self.hear(word),
                Happened::Lost(why) => {
                    self.joining = None;
                    self.complain(&format!("the node is gone, another is started: {why}"));
                }
            }
        }
        self.tick(steady);
        self.hand_over();
        self.write();
    }

    fn tick(&mut self, steady: Duration) {
        let now = self.now();
        let due = |at: &mut Duration, every: Duration| {
            let is = steady >= *at;
            if is {
                *at = steady.saturating_add(every);
            }
            is
        };
        if due(&mut self.due.protect, PROTECT_EVERY) {
            if let Some(nets) = (self.ways.protect)() {
                self.privacy.protected = nets.clone();
                let rulings = self.council.protect(nets);
                self.obey(rulings);
            }
            self.look_at_own();
            self.look_at_clock(steady);
        }
        if due(&mut self.due.council, COUNCIL_EVERY) {
            let rulings = self.council.tick(&self.members, now);
            self.obey(rulings);
            self.look_at_roles(now);
            self.say_rosters(now, steady);
            self.say_addresses(now, steady);
        }
        if due(&mut self.due.believe, BELIEVE_EVERY) {
            for id in self.members.admitted(now) {
                self.tell_trust(id);
            }
        }
        if due(&mut self.due.forget, FORGET_EVERY) {
            self.forget(now);
        }
        self.sum_up(steady);
        self.watch_network(steady);
        self.tend_lists();
        while let Some(question) = self.sharing.question(now) {
            self.node.send(ToNode::Ask(question), steady);
        }
    }

    /// What was ours until now is told to nobody either: findings about it may still come.
    fn look_at_own(&mut self) {
        let own = (self.ways.own)();
        if own != self.own {
            let canaries = self.settings.p2p.canaries.iter().map(|ip| Net::host(*ip));
            self.privacy.own = own.iter().chain(&self.own).copied().chain(canaries).collect();
            self.own = own;
        }
    }

    fn look_at_clock(&mut self, steady: Duration) {
        let synced = is_synced();
        if synced != self.synced {
            self.synced = synced;
            self.node.send(ToNode::Synced(synced), steady);
        }
        if !self.clock().is_sane() {
            self.complain("the clock of this router is not set: nothing is said to peers, and nothing of theirs is judged, before it is");
        }
    }

    fn tell_trust(&mut self, id: NodeId) {
        let trust = self.council.trust(id, &self.members, self.now());
        self.node.send(ToNode::Believe(id, trust), (self.clocks.steady)());
    }

    /// Tells a node that came what to be.
    fn begin(&mut self, sandbox: &str) {
        let (now, steady) = (self.now(), (self.clocks.steady)());
        let Some((key, psk, invites)) = self
            .state
            .as_ref()
            .and_then(|state| Some((state.key.clone()?, state.psk(now)?, state.book.open(now))))
        else {
            return;
        };
        let replay = self.gate.as_ref().map(|gate| gate.replay.persist().collect()).unwrap_or_default();
        let start = Start {
            key,
            psk,
            epoch: self.said.0,
            last_seq: self.said.1,
            name: self.own_name(),
            listen: self.settings.p2p.listen_addresses(),
            members: self.members.clone(),
            invites,
            replay,
            synced: self.synced,
        };
        let kept = self.kept(now, node::MOST_KEPT);
        self.node.begin(start, kept.into_iter(), steady);
        self.joining = None;
        self.tell_members(steady);
        (self.due.believe, self.due.council) = (steady, steady);
        if self.node.starts == 1 {
            self.journal.send(&entries::peers_begin(&self.own_name(), sandbox));
        }
    }

    fn own_name(&self) -> Name {
        self.settings.p2p.own_name()
    }

    /// What the owner calls a peer.
    fn name_of(&self, id: NodeId) -> String {
        let named =
            self.state.as_ref().and_then(|state| state.table.peer(id)).and_then(|row| row.name.as_ref());
        named.map_or_else(|| id.to_string(), Name::to_string)
    }

    /// Tells of a peer, so often as it may cause a line of this kind.
    fn say_of(&mut self, id: NodeId, entry: impl FnOnce(Named<'_>) -> Entry) {
        let name = self.name_of(id);
        let entry = entry(Named { name: &name, id });
        if self.chatter.may(&(id, entry.kind()), (self.clocks.steady)()) {
            self.journal.send(&entry);
        }
    }

    /// Tells what was not told one by one.
    fn sum_up(&mut self, steady: Duration) {
        for (who, lines) in self.chatter.untold(steady) {
            let entry = match who {
                Some((id, kind)) => {
                    let name = self.name_of(id);
                    entries::peer_said_more(kind, Named { name: &name, id }, lines)
                }
                None => {
                    entries::degraded("peers", &format!("{lines} more lines about many peers were not told"))
                }
            };
            self.journal.send(&entry);
        }
    }

    /// Tells of trouble, the same once a minute.
    fn complain(&mut self, text: &str) {
        let text: String = text.chars().take(MAX_COMPLAINT).collect();
        let text = text.as_str();
        let now = (self.clocks.steady)();
        self.complaints.retain(|_, told| now.saturating_sub(*told) < COMPLAIN_EVERY);
        if self.complaints.len() < MAX_COMPLAINTS && !self.complaints.contains_key(text) {
            self.complaints.insert(text.to_owned(), now);
            self.journal.send(&entries::degraded("peers", text));
        }
    }
}

/// Whether the system's clock may be believed. systemd-timesyncd says so by a file; where it does not run nobody says, and a clock that is
/// not before this protocol is taken for set.
fn is_synced() -> bool {
    let timesync = std::path::Path::new("/run/systemd/timesync");
    !timesync.is_dir() || timesync.join("synchronized").exists()
}

/// A gate for envelopes that the node took already: what it says is checked again, but for its rates.
fn gate_of(psk: &[u8; 32], own: NodeId) -> Gate {
    let late = Rate::per_second(100_000, 10_000);
    Gate::new(NetId::of(psk), own, Quotas { late, ..Quotas::default() })
}

/// All addresses that share one with `net`.
fn overlaps(indicator: &Indicator, net: Net) -> bool {
    indicator.as_net().is_some_and(|held| held.overlaps(net))
}

/// Bounded by the number of members: each is one of them.
type Ids = BTreeSet<NodeId>;
