//! Honest routers for tests and measurements: the node of this crate on loopback, with the council that the daemon would ask.
#![allow(dead_code, reason = "each user needs a part")]
#![allow(clippy::expect_used, clippy::panic, reason = "a test has no other way to fail")]

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use slips_p2p::bucket::{Quotas, Rate};
use slips_p2p::council::{Council, Mode, Rules, Ruling};
use slips_p2p::identity::{NodeId, NodeKey};
use slips_p2p::indicator::Indicator;
use slips_p2p::invite::Open;
use slips_p2p::members::{Members, Peer};
use slips_p2p::message::{Direction, Message, Name, Percent, Report, Tlp};
use slips_p2p::moment::{Clock, Moment};
use slips_p2p::node::{Channels, Command, Limits, Node, Options, ReadClock, Sight, Status, Told};
use slips_p2p::privacy::Privacy;
use slips_p2p::roster::Role;
use tokio::sync::{mpsc, oneshot, watch};

/// The network's key.
pub const PSK: [u8; 32] = [7; 32];
/// When the tests begin.
pub const START: Moment = Moment(1_793_600_000_000);
/// For how long reports hold.
pub const DAY: Duration = Duration::from_secs(86_400);

/// Wall time from [`START`] on.
pub fn clock() -> ReadClock {
    let began = tokio::time::Instant::now();
    Arc::new(move || Clock { now: START.plus(began.elapsed()), synced: true })
}

/// The seed of key `n`.
pub fn seed(n: u16) -> [u8; 32] {
    let mut seed = [3; 32];
    let (first, _) = seed.split_at_mut(2);
    first.copy_from_slice(&n.to_be_bytes());
    seed
}

/// Key `n`.
pub fn key(n: u16) -> NodeKey {
    NodeKey::from_seed(&seed(n))
}

/// The name of key `n`.
pub fn id(n: u16) -> NodeId {
    key(n).id()
}

/// A public address that nobody has, `n` below 2²⁴.
pub fn accused(n: usize) -> Indicator {
    let [_, a, b, c] = u32::try_from(n).expect("a small number").to_be_bytes();
    Indicator::host([45, a, b, c].into()).expect("public")
}

/// The worst that can be said about it.
pub fn report(indicator: Indicator) -> Report {
    Report {
        indicator,
        score: Percent::FULL,
        confidence: Percent::FULL,
        evidence: vec!["VERTICAL_PORT_SCAN".into()],
        count: 3,
        first: Moment(1),
        last: Moment(2),
        services: Vec::new(),
        direction: Direction::Attacked,
        tlp: Tlp::Green,
    }
}

/// The limits of a router, but for tests that take seconds on one address.
pub fn limits() -> Limits {
    Limits {
        resync: Duration::from_secs(1),
        redial: Duration::from_millis(200),
        memory: usize::MAX,
        many_per_address: true,
        ..Limits::default()
    }
}

/// The same without a bound on how much is said, to measure how much can be.
pub fn open_limits() -> Limits {
    let open = Rate::per_second(1_000_000, 1_000_000);
    Limits {
        quotas: Quotas {
            reports: open,
            blocks: open,
            retractions: open,
            control: open,
            late: open,
            orders: open,
        },
        neighbour: open,
        publish: open,
        publish_queue: 65_536,
        news: 65_536,
        questions: open,
        ..limits()
    }
}

pub fn options(n: u16, limits: Limits, clock: &ReadClock) -> Options {
    Options {
        key: key(n),
        psk: PSK,
        epoch: 1,
        last_seq: 0,
        name: Name::new(&format!("node-{n}")).expect("a name"),
        listen: vec!["/ip4/127.0.0.1/tcp/0".parse().expect("an address")],
        members: Members::default(),
        replay: Vec::new(),
        invites: Open::default(),
        limits,
        clock: clock.clone(),
    }
}

/// A peer that the owner added by hand, dialled where it has an address.
pub fn peer(address: Option<&str>) -> Peer {
    Peer {
        addresses: address.iter().map(ToString::to_string).collect(),
        role: Some(Role::Blamer),
        base: Peer::CONFIRMED,
        confirmed: true,
        ..Peer::invited(None)
    }
}

pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(120), future).await {
        Ok(done) => done,
        Err(_) => panic!("{what}: not within two minutes"),
    }
}

/// What a router heard, and what its council made of it.
#[derive(Debug, Default)]
pub struct Seen {
    pub heard: BTreeSet<(NodeId, Indicator)>,
    pub messages: usize,
    pub rulings: Vec<Ruling>,
    pub connected: BTreeSet<NodeId>,
    pub shunned: BTreeSet<NodeId>,
    pub joined: BTreeSet<NodeId>,
    pub answers: Vec<(NodeId, Vec<Sight>)>,
    pub synced: usize,
}

impl Seen {
    /// Whom the council would have blocked.
    pub fn blocked(&self) -> Vec<&Indicator> {
        let block = |ruling| match ruling {
            &Ruling::Block { ref indicator, .. } | &Ruling::WouldBlock { ref indicator, .. } => {
                Some(indicator)
            }
            _ => None,
        };
        self.rulings.iter().filter_map(block).collect()
    }

    /// How many reports of `author` arrived.
    pub fn of(&self, author: NodeId) -> usize {
        self.heard.iter().filter(|(by, _)| *by == author).count()
    }
}

/// A router: its node, and its council.
pub struct Router {
    pub id: NodeId,
    pub address: String,
    pub council: Arc<Mutex<Council>>,
    members: Arc<Mutex<Members>>,
    commands: mpsc::Sender<Command>,
    seen: Arc<Mutex<Seen>>,
    changed: watch::Receiver<()>,
    node: tokio::task::JoinHandle<()>,
}

impl Router {
    /// In the mode that is the default.
    pub async fn start(options: Options) -> Self {
        Self::start_in(Mode::Assist, options).await
    }

    pub async fn start_in(mode: Mode, options: Options) -> Self {
        let (id, clock) = (options.key.id(), options.clock.clone());
        let members = Arc::new(Mutex::new(options.members.clone()));
        let (node, channels) = Node::start(options).expect("a node");
        let Channels { commands, told } = channels;
        let node = tokio::spawn(node.run());
        let council = Arc::new(Mutex::new(Council::new(mode, Rules::default())));
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (changes, changed) = watch::channel(());
        let (address, listening) = oneshot::channel();
        let daemon = Daemon { council: council.clone(), members: members.clone(), seen: seen.clone(), clock };
        tokio::spawn(daemon.read(told, commands.clone(), changes, address));
        let address = within("an address", listening).await.expect("a living node");
        Self { id, address, council, members, commands, seen, changed, node }
    }

    pub async fn tell(&self, command: Command) {
        self.commands.send(command).await.expect("a living node");
    }

    pub async fn set_members(&self, members: Members) {
        *self.members.lock().expect("no panic") = members.clone();
        self.tell(Command::Members(Box::new(members))).await;
        self.status().await;
    }

    pub async fn publish(&self, message: Message) {
        let message = Privacy::default().clear(message).expect("may leave");
        self.tell(Command::Publish { message, ttl: DAY }).await;
    }

    pub async fn status(&self) -> Status {
        let (reply, status) = oneshot::channel();
        self.tell(Command::Status(reply)).await;
        within("status", status).await.expect("a living node")
    }

    /// Waits until what was seen is as wanted, and looks at it.
    pub async fn until<T>(&self, what: &str, wanted: impl Fn(&Seen) -> Option<T>) -> T {
        let mut changed = self.changed.clone();
        within(what, async {
            loop {
                if let Some(found) = self.look(&wanted) {
                    return found;
                }
                changed.changed().await.expect("a living node");
            }
        })
        .await
    }

    pub async fn until_status(&self, what: &str, wanted: impl Fn(&Status) -> bool) -> Status {
        within(what, async {
            loop {
                let status = self.status().await;
                if wanted(&status) {
                    return status;
                }
                tokio::task::yield_now().await;
            }
        })
        .await
    }

    pub fn look<T>(&self, at: impl FnOnce(&Seen) -> T) -> T {
        at(&self.seen.lock().expect("no panic"))
    }

    /// Ends it, so that its port is free.
    pub async fn stop(self) -> Status {
        let status = self.status().await;
        self.node.abort();
        let _ = self.node.await;
        status
    }
}

/// The part of the daemon that reads what a node tells.
struct Daemon {
    council: Arc<Mutex<Council>>,
    members: Arc<Mutex<Members>>,
    seen: Arc<Mutex<Seen>>,
    clock: ReadClock,
}

impl Daemon {
    async fn read(
        self,
        mut told: mpsc::Receiver<Told>,
        commands: mpsc::Sender<Command>,
        changes: watch::Sender<()>,
        address: oneshot::Sender<String>,
    ) {
        let mut address = Some(address);
        while let Some(told) = told.recv().await {
            if let Told::Asked { ticket, .. } = told {
                let _ = commands.send(Command::Answer { ticket, seen: Vec::new() }).await;
                continue;
            }
            self.note(told, &mut address);
            changes.send_replace(());
        }
    }

    fn note(&self, told: Told, address: &mut Option<oneshot::Sender<String>>) {
        let mut seen = self.seen.lock().expect("no panic");
        match told {
            Told::Listening(at) => {
                if let Some(address) = address.take() {
                    let _ = address.send(at.to_string());
                }
            }
            Told::Heard(accepted) => {
                seen.messages += 1;
                let author = accepted.opened.head.author;
                if let Message::Report(Report { indicator, .. }) = &accepted.opened.message {
                    seen.heard.insert((author, indicator.clone()));
                }
                let members = self.members.lock().expect("no panic");
                let now = (self.clock)().now;
                let rulings = self.council.lock().expect("no panic").hear(&accepted, &members, now);
                seen.rulings.extend(rulings);
            }
            Told::Connected(id) => drop(seen.connected.insert(id)),
            Told::Gone(id) => drop(seen.connected.remove(&id)),
            Told::Shunned(id) => drop(seen.shunned.insert(id)),
            Told::Joined { id, .. } => drop(seen.joined.insert(id)),
            Told::Answered { from, seen: what } => seen.answers.push((from, what)),
            Told::Synced { .. } => seen.synced += 1,
            Told::Asked { .. } | Told::Published { .. } | Told::Admitted { .. } | Told::Refused { .. } => {}
        }
    }
}

/// Memory of this process in bytes: now, and the most there ever was.
pub fn memory() -> (usize, usize) {
    let status = std::fs::read_to_string("/proc/self/status").expect("procfs");
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a field");
        line.trim().trim_end_matches(" kB").trim().parse::<usize>().expect("a number") * 1024
    };
    (field("VmRSS:"), field("VmHWM:"))
}
