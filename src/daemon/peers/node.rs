//! The node's process as the daemon sees it: started, watched, started anew when it dies. What it was told and not yet said waits.

use std::collections::{BTreeSet, VecDeque};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use slips_p2p::identity::NodeId;
use slips_p2p::link::{FromNode, Start, ToNode, VERSION};
use slips_p2p::node::Status;

use super::link::{Ended, Link};
use crate::child;

/// The pause before a node that died is started again; it doubles up to the longest while it dies young.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A node that lived so long died of something else than its start.
const GROWN_UP: Duration = Duration::from_secs(60);
/// How often it is asked how things are, and how long it may take to answer before it is taken for dead.
const ASK_EVERY: Duration = Duration::from_secs(15);
const PATIENCE: Duration = Duration::from_secs(45);
/// Own messages that wait for a node; beyond it the oldest goes.
const UNSAID: usize = 256;

/// Where nodes come from.
pub enum Origin {
    /// The daemon starts them itself.
    Child,
    /// They come to this socket: `slips-p2p.service`.
    Service(UnixListener),
}

/// A node that runs.
struct Running {
    child: Option<Child>,
    link: Link,
    since: Duration,
    /// It said that it is of our version; then it was told to start.
    sandbox: Option<String>,
    asked: Duration,
    heard: Duration,
    started: bool,
    listening: Vec<String>,
    connected: BTreeSet<NodeId>,
    status: Option<Status>,
}

/// Which process the node is, for those who must not take a word of it for their owner's.
#[derive(Clone, Debug, Default)]
pub struct NodeProcess(Arc<AtomicI32>);

impl NodeProcess {
    /// Whether the node is the process of this number.
    pub fn is(&self, process: i32) -> bool {
        process > 0 && self.0.load(Ordering::SeqCst) == process
    }

    /// From now on it is this one, or none.
    pub(crate) fn set(&self, process: Option<i32>) {
        self.0.store(process.unwrap_or_default(), Ordering::SeqCst);
    }
}

/// See the module.
pub struct Node {
    origin: Origin,
    process: NodeProcess,
    running: Option<Running>,
    /// Steady time of the next start.
    next: Duration,
    pause: Duration,
    unsaid: VecDeque<ToNode>,
    /// How often a node was started.
    pub starts: u64,
    /// Own messages that were dropped because no node was there to say them.
    pub unsaid_dropped: u64,
}

/// What became of a node in a turn.
#[derive(Debug)]
pub enum Happened {
    /// It is there and wants to be told what to be.
    Ready(String),
    /// It told something.
    Told(FromNode),
    /// It is gone; why.
    Lost(String),
}

impl Node {
    /// No node as yet.
    pub fn new(origin: Origin) -> Self {
        Self {
            origin,
            process: NodeProcess::default(),
            running: None,
            next: Duration::ZERO,
            pause: FIRST_PAUSE,
            unsaid: VecDeque::new(),
            starts: 0,
            unsaid_dropped: 0,
        }
    }

    /// Its process, also of those that are started later.
    pub fn process(&self) -> NodeProcess {
        self.process.clone()
    }

    /// Lets nodes come to this socket instead of being started.
    pub fn serve_at(&mut self, listener: UnixListener) {
        self.origin = Origin::Service(listener);
    }

    /// Whether a node runs and was told what to be.
    pub fn is_up(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.started)
    }

    /// Where it listens.
    pub fn listening(&self) -> &[String] {
        self.running.as_ref().map(|running| running.listening.as_slice()).unwrap_or_default()
    }

    /// Who is connected.
    pub fn is_connected(&self, id: NodeId) -> bool {
        self.running.as_ref().is_some_and(|running| running.connected.contains(&id))
    }

    /// How many are.
    pub fn connected(&self) -> usize {
        self.running.as_ref().map_or(0, |running| running.connected.len())
    }

    /// How it said that things are.
    pub fn status(&self) -> Option<&Status> {
        self.running.as_ref()?.status.as_ref()
    }

    /// What to wait for: its socket, with whether something waits to be written.
    pub fn waits_for(&self) -> Option<(BorrowedFd<'_>, bool)> {
        match (&self.running, &self.origin) {
            (Some(running), _) => Some((running.link.socket(), running.link.is_waiting())),
            (None, Origin::Service(listener)) => Some((listener.as_fd(), false)),
            (None, Origin::Child) => None,
        }
    }

    /// Steady time at which there is something to do.
    pub fn due(&self) -> Duration {
        match &self.running {
            Some(running) => running.asked.saturating_add(ASK_EVERY),
            None => self.next,
        }
    }

    /// Starts a node, or takes one that came, if none runs and it is time.
    pub fn ensure(&mut self, now: Duration) -> Option<Happened> {
        if self.running.is_some() {
            return None;
        }
        let found = match &self.origin {
            Origin::Child if now < self.next => return None,
            Origin::Child => child::start("p2p-node").map(|(child, socket)| {
                let process = i32::try_from(child.id()).ok();
                (Some(child), process, socket)
            }),
            Origin::Service(listener) => match listener.accept() {
                Ok((socket, _)) => match trusted(&socket) {
                    Some(process) => Ok((None, Some(process), socket)),
                    None => return None,
                },
                Err(_) => return None,
            },
        };
        self.starts += 1;
        let linked = found.and_then(|(child, process, socket)| {
            self.process.set(process);
            Ok((child, Link::new(socket)?))
        });
        match linked {
            Ok((child, link)) => {
                self.running = Some(Running {
                    child,
                    link,
                    since: now,
                    sandbox: None,
                    asked: now,
                    heard: now,
                    started: false,
                    listening: Vec::new(),
                    connected: BTreeSet::new(),
                    status: None,
                });
                None
            }
            Err(error) => {
                self.put_off(now, Duration::ZERO);
                Some(Happened::Lost(format!("it cannot be started: {error}")))
            }
        }
    }

    fn put_off(&mut self, now: Duration, lived: Duration) {
        self.pause = if lived >= GROWN_UP { FIRST_PAUSE } else { (self.pause * 2).min(LONGEST_PAUSE) };
        self.next = now.saturating_add(self.pause);
    }

    /// Tells the node what to be: what holds still of earlier runs, then what waits to be said.
    pub fn begin(&mut self, start: Start, kept: impl Iterator<Item = Vec<u8>>, now: Duration) {
        if let Some(running) = &mut self.running {
            running.started = true;
        }
        self.send(ToNode::Start(Box::new(start)), now);
        for envelope in kept {
            self.send(ToNode::Keep(envelope), now);
        }
        for word in std::mem::take(&mut self.unsaid) {
            self.send(word, now);
        }
    }

    /// Says something to the node. Own messages wait for one if there is none; nothing else need be said then.
    pub fn send(&mut self, word: ToNode, now: Duration) {
        match &mut self.running {
            Some(running) if running.started => {
                if let Err(ended) = running.link.send(&word) {
                    // What comes of it is told at the next turn, when the socket is read.
                    if matches!(ended, Ended::Deaf) {
                        self.stop(now);
                    }
                }
            }
            _ if matches!(word, ToNode::Publish { .. }) => {
                if self.unsaid.len() >= UNSAID {
                    self.unsaid.pop_front();
                    self.unsaid_dropped += 1;
                }
                self.unsaid.push_back(word);
            }
            _ => {}
        }
    }

    /// Reads and writes what can be, and sees that it lives.
    pub fn turn(&mut self, now: Duration) -> Vec<Happened> {
        let mut happened = Vec::new();
        happened.extend(self.ensure(now));
        let Some(running) = &mut self.running else { return happened };
        let mut told = Vec::new();
        let read = running.link.read(|word| told.push(word));
        if !told.is_empty() {
            running.heard = now;
        }
        happened.extend(told.into_iter().filter_map(|word| running.note(word)));
        let mut ended = read.and_then(|()| running.link.flush()).err().map(|error| error.to_string());
        if now.saturating_sub(running.asked) >= ASK_EVERY && running.started {
            running.asked = now;
            ended = ended.or(running.link.send(&ToNode::Status).err().map(|error| error.to_string()));
        }
        if now.saturating_sub(running.heard) >= PATIENCE {
            ended = Some("it says nothing any more".into());
        }
        if let Some(why) = ended {
            self.stop(now);
            happened.push(Happened::Lost(why));
        }
        happened
    }

    /// Ends the node; the next is started after a pause.
    pub fn stop(&mut self, now: Duration) {
        let Some(mut running) = self.running.take() else { return };
        if let Some(child) = &mut running.child {
            // Its connections are closed by the kernel; nothing of it is lost that the daemon does not have.
            let _ = child.kill();
            let _ = child.wait();
            // Not before it is dead: until then it could give commands. A service's process, which only sees its socket closed, stays
            // known until the next one comes.
            self.process.set(None);
        }
        self.put_off(now, now.saturating_sub(running.since));
    }

    /// Ends the node because it is to be another one: the next is started at once.
    pub fn replace(&mut self, now: Duration) {
        self.stop(now);
        (self.pause, self.next) = (FIRST_PAUSE, now);
    }
}

impl Running {
    /// Keeps what of its words is about itself; gives the others on.
    fn note(&mut self, word: FromNode) -> Option<Happened> {
        match word {
            FromNode::Hello { version: VERSION, sandbox } if self.sandbox.is_none() => {
                self.sandbox = Some(sandbox.clone());
                return Some(Happened::Ready(sandbox));
            }
            // Another version knows nothing of what we would say; it ends when it cannot read us.
            FromNode::Hello { .. } => {
                return Some(Happened::Told(FromNode::Failed("it is of another version".into())));
            }
            FromNode::Listening(address) => {
                if self.listening.len() < MOST_ADDRESSES
                    && address.len() <= LONGEST_ADDRESS
                    && !self.listening.contains(&address)
                {
                    self.listening.push(address);
                }
                return None;
            }
            FromNode::Status(status) => {
                self.status = Some(*status);
                return None;
            }
            FromNode::Connected(id) if self.connected.len() < MOST_CONNECTED => {
                self.connected.insert(id);
            }
            FromNode::Gone(id) => {
                self.connected.remove(&id);
            }
            _ => {}
        }
        Some(Happened::Told(word))
    }
}

/// Addresses at which a node says that it listens, each of so many bytes at most, and peers with whom it says that it is connected.
const MOST_ADDRESSES: usize = 64;
const LONGEST_ADDRESS: usize = 256;
const MOST_CONNECTED: usize = 1024;
/// Bytes of what holds still that a new node is given; the rest it gets from peers.
pub const MOST_KEPT: usize = 12 << 20;

/// Only root, ourselves and the user of the service get the keys; which process it is.
fn trusted(socket: &UnixStream) -> Option<i32> {
    let peer = getsockopt(&socket.as_fd(), PeerCredentials).ok()?;
    let own = nix::unistd::geteuid().as_raw();
    let service = || nix::unistd::User::from_name(SERVICE_USER).ok().flatten().map(|user| user.uid.as_raw());
    let may = peer.uid() == 0 || peer.uid() == own || Some(peer.uid()) == service();
    may.then(|| peer.pid())
}

/// The user of `slips-p2p.service`.
const SERVICE_USER: &str = "slips-p2p";
