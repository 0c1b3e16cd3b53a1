//! The node: libp2p behind channels. It authenticates, bounds, deduplicates, limits and delivers; it decides nothing.
//!
//! [`Node::start`] opens the listeners and returns a [`Node`] to be run and its two channels: [`Command`]s go in, what it
//! [`Told`] comes out. Both are bounded. When the daemon reads slowly, the oldest news are dropped and counted; the network
//! never waits. The transport is TCP behind the network's pre-shared key, then Noise and Yamux; who is not on the list of members
//! (or holds no open invite) gets no connection.
//!
//! libp2p panics have crashed nodes from afar before, so the daemon runs this in a process of its own.

mod archive;
mod behaviour;
mod codec;
mod daemon;
mod dial;
mod discipline;
mod door;
mod run;
mod serve;
#[cfg(test)]
mod tests;
mod transport;

use std::sync::Arc;
use std::time::Duration;

use libp2p_core::Multiaddr;
use tokio::sync::{mpsc, oneshot};

use crate::bucket::{Quotas, Rate};
use crate::gate::Accepted;
use crate::identity::{NodeId, NodeKey};
use crate::indicator::Indicator;
use crate::invite::{Invite, Open};
use crate::members::Members;
use crate::message::Name;
use crate::moment::Clock;
use crate::privacy::Cleared;

pub use crate::exchange::Sight;
pub use crate::link::Status;
pub use daemon::{Served, serve};
pub use run::Node;

/// What the time is and whether it is right; read by the shell, since a test moves it.
pub type ReadClock = Arc<dyn Fn() -> Clock + Send + Sync>;

/// What a node is started with.
#[derive(Clone)]
pub struct Options {
    /// Who we are.
    pub key: NodeKey,
    /// The network's pre-shared key.
    pub psk: [u8; 32],
    /// When our state directory was made, in milliseconds since 1970; only grows.
    pub epoch: u64,
    /// The number of the last message that we published in this epoch.
    pub last_seq: u64,
    /// What we call ourselves towards those who invite us.
    pub name: Name,
    /// Where to listen: `/ip4/0.0.0.0/tcp/7778`. Empty: only dial.
    pub listen: Vec<Multiaddr>,
    /// Whom to let in, and whom to dial.
    pub members: Members,
    /// Invites that were open before a restart.
    pub invites: Open,
    /// What was taken before a restart, as [`crate::replay::Replay::persist`] gave it.
    pub replay: Vec<(NodeId, Vec<u8>)>,
    /// The limits.
    pub limits: Limits,
    /// The clock.
    pub clock: ReadClock,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Options of {}", self.key.id())
    }
}

/// What a node bears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// What each author may say.
    pub quotas: Quotas,
    /// Messages of one neighbour.
    pub neighbour: Rate,
    /// What a neighbour may send beyond that, or that is refused, before it is not talked with for ten minutes.
    pub patience: Rate,
    /// Our own publishing: a node that floods its neighbours is taken for a slow one and isolates itself.
    pub publish: Rate,
    /// Own messages that wait to be published; beyond it the oldest goes.
    pub publish_queue: usize,
    /// News that wait for the daemon; beyond it the oldest goes.
    pub news: usize,
    /// Bytes of envelopes that are kept for snapshots.
    pub archive: usize,
    /// Established connections.
    pub connections: u32,
    /// No new connections while the process has more memory than this, in bytes.
    pub memory: usize,
    /// Questions of one peer, and pages of snapshots for it.
    pub questions: Rate,
    /// So often one neighbour after the other is asked for what did not reach us: gossip may lose, this does not.
    pub resync: Duration,
    /// The first pause before a peer is dialled again; doubles up to 10 minutes.
    pub redial: Duration,
    /// Addresses whose peers may be many, for tests on one machine.
    pub many_per_address: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            quotas: Quotas::default(),
            neighbour: Rate::per_second(2_500, 50),
            patience: Rate::per_second(10_000, 10),
            publish: Rate::per_second(64, 5),
            publish_queue: 256,
            news: 8_192,
            archive: 16 * 1024 * 1024,
            connections: 64,
            memory: 80 * 1024 * 1024,
            questions: Rate::per_minute(64, 30),
            resync: Duration::from_secs(20),
            redial: Duration::from_secs(5),
            many_per_address: false,
        }
    }
}

/// What the daemon asks the node to do.
#[derive(Debug)]
pub enum Command {
    /// Say this to all.
    Publish {
        /// What; it passed [`crate::privacy`].
        message: Cleared,
        /// For how long it holds.
        ttl: Duration,
    },
    /// From now on these are the members.
    Members(Box<Members>),
    /// Keep this envelope of an earlier run, which may be our own, for those who missed it.
    Keep(Vec<u8>),
    /// How far a peer is believed, 0 to 1: the better believed keep their place when room is scarce.
    Believe(NodeId, f64),
    /// Ask the connected peers what they saw of these, at most 32.
    Ask(Vec<Indicator>),
    /// The answer to [`Told::Asked`].
    Answer {
        /// Its number.
        ticket: u64,
        /// What we saw ourselves.
        seen: Vec<Sight>,
    },
    /// Open an invite; the answer is the line to hand over.
    Invite {
        /// 16 random bytes.
        token: [u8; 16],
        /// For how long.
        life: Duration,
        /// Where the invited router reaches us.
        addresses: Vec<String>,
        /// Where the invite goes.
        reply: oneshot::Sender<Result<Invite, crate::invite::TooManyOpen>>,
    },
    /// From now on these invites are open, and no others.
    Invites(Open),
    /// Use an invite of another router (whose network is ours already: the node was started with its key).
    Join(Invite),
    /// How things are.
    Status(oneshot::Sender<Status>),
}

/// What the node tells the daemon.
#[derive(Debug)]
pub enum Told {
    /// We are reached at this address.
    Listening(Multiaddr),
    /// A member is connected.
    Connected(NodeId),
    /// A member is connected no more.
    Gone(NodeId),
    /// A member handed on what was broken, or far too much: it is not talked with for a while.
    Shunned(NodeId),
    /// Somebody said something.
    Heard(Box<Accepted>),
    /// A peer asks what we saw; answer with [`Command::Answer`] within 3 seconds.
    Asked {
        /// Who.
        from: NodeId,
        /// About whom.
        indicators: Vec<Indicator>,
        /// For the answer.
        ticket: u64,
    },
    /// The answer of a peer to our question.
    Answered {
        /// Who.
        from: NodeId,
        /// What it saw; nothing is said about the others.
        seen: Vec<Sight>,
    },
    /// Our message has this number: keep it, so that a restart goes on behind it.
    Published {
        /// The number.
        seq: u64,
        /// As it was signed.
        envelope: Vec<u8>,
    },
    /// A router used an invite of ours; it is let in with the weight of an unconfirmed peer.
    Joined {
        /// Who.
        id: NodeId,
        /// What it calls itself.
        name: Option<Name>,
        /// Which invite is used up, as [`crate::invite::hash`] tells them apart.
        invite: [u8; 32],
    },
    /// The router that invited us let us in.
    Admitted {
        /// Who.
        by: NodeId,
        /// What it calls itself.
        name: Option<Name>,
    },
    /// It did not: the invite was used, has ended, or was withdrawn.
    Refused {
        /// Who.
        by: NodeId,
    },
    /// A page of a snapshot was asked for and taken; how many envelopes were new.
    Synced {
        /// From whom.
        from: NodeId,
        /// How many.
        new: usize,
    },
}

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The key is no key of libp2p.
    #[error("cannot use the node's key")]
    Key(#[source] libp2p_identity::DecodingError),
    /// libp2p refuses the configuration.
    #[error("cannot configure the node: {0}")]
    Config(String),
    /// An address cannot be listened on.
    #[error("cannot listen on {0}")]
    Listen(Multiaddr, #[source] libp2p_core::transport::TransportError<std::io::Error>),
}

/// The channels to a running node.
#[derive(Debug)]
pub struct Channels {
    /// What to do; bounded at [`COMMANDS`].
    pub commands: mpsc::Sender<Command>,
    /// What happened.
    pub told: mpsc::Receiver<Told>,
}

/// Commands that wait for the node. The daemon waits when it is full: it is the one who can.
pub const COMMANDS: usize = 256;
