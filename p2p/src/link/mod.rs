//! The socket between the daemon and the process of the node: what goes over it, in frames of a bounded size.
//!
//! The node's process is told everything that it needs and reads no file. The daemon takes its word for little: envelopes come as they
//! were signed, and the daemon opens them itself, so a node in a stranger's hands cannot make others say what they did not.

#[cfg(test)]
mod tests;
pub mod wire;

use std::time::Duration;

use prost::Message as _;

use crate::exchange::Sight;
use crate::gate::Why;
use crate::identity::{NodeId, NodeKey};
use crate::indicator::Indicator;
use crate::invite::{Invite, Open};
use crate::members::{Members, Org, Peer};
use crate::message::{Kind, Message, Name, SignedRoster};
use crate::moment::Moment;
use crate::privacy::Cleared;
use crate::roster::Role;

use wire::{from_node, to_node};

/// The version of these frames. The ends of another version do not talk.
pub const VERSION: u32 = 2;
/// The largest frame in bytes: a start with the replay windows of all peers.
pub const LARGEST: usize = 4 * 1024 * 1024;

/// What a node is started with.
#[derive(Clone, Debug)]
pub struct Start {
    /// Who we are.
    pub key: NodeKey,
    /// The network's pre-shared key.
    pub psk: [u8; 32],
    /// When our state was made.
    pub epoch: u64,
    /// The number of the last message of this epoch.
    pub last_seq: u64,
    /// What we call ourselves.
    pub name: Name,
    /// Multiaddresses to listen on.
    pub listen: Vec<String>,
    /// Whom to let in.
    pub members: Members,
    /// Invites that are open.
    pub invites: Open,
    /// What was taken before.
    pub replay: Vec<(NodeId, Vec<u8>)>,
    /// Whether the clock may be believed.
    pub synced: bool,
}

/// What the daemon tells the node.
#[derive(Clone, Debug)]
pub enum ToNode {
    /// Begin; the first frame.
    Start(Box<Start>),
    /// An envelope of an earlier run that still holds, for those who missed it.
    Keep(Vec<u8>),
    /// Say this to all.
    Publish {
        /// What.
        message: Cleared,
        /// For how long it holds.
        ttl: Duration,
    },
    /// From now on these are the members.
    Members(Members),
    /// From now on these invites are open.
    Invites(Open),
    /// How far a peer is believed.
    Believe(NodeId, f64),
    /// Ask peers about these.
    Ask(Vec<Indicator>),
    /// The answer to a question of a peer.
    Answer {
        /// Its number.
        ticket: u64,
        /// What we saw.
        seen: Vec<Sight>,
    },
    /// Use an invite.
    Join(Invite),
    /// Whether the clock may be believed.
    Synced(bool),
    /// Tell how things are.
    Status,
}

/// What the node tells the daemon.
#[derive(Clone, Debug, PartialEq)]
pub enum FromNode {
    /// It lives; the first frame.
    Hello {
        /// [`VERSION`] of its program.
        version: u32,
        /// How it is confined, for the journal.
        sandbox: String,
    },
    /// It is reached at this address.
    Listening(String),
    /// A member is connected.
    Connected(NodeId),
    /// A member is connected no more.
    Gone(NodeId),
    /// A member handed on what was broken, or far too much: it is not talked with for a while.
    Shunned(NodeId),
    /// Somebody said this: an envelope, which the daemon opens itself.
    Heard(Vec<u8>),
    /// A peer asks.
    Asked {
        /// Who.
        from: NodeId,
        /// About whom.
        indicators: Vec<Indicator>,
        /// For the answer.
        ticket: u64,
    },
    /// A peer answers.
    Answered {
        /// Who.
        from: NodeId,
        /// What it saw.
        seen: Vec<Sight>,
    },
    /// We said this.
    Published {
        /// Its number.
        seq: u64,
        /// As it was signed.
        envelope: Vec<u8>,
    },
    /// A router used an invite of ours.
    Joined {
        /// Who.
        id: NodeId,
        /// What it calls itself.
        name: Option<Name>,
        /// Which invite.
        invite: [u8; 32],
    },
    /// The router that invited us let us in.
    Admitted {
        /// Who.
        by: NodeId,
        /// What it calls itself.
        name: Option<Name>,
    },
    /// It did not.
    Refused(NodeId),
    /// A snapshot was taken.
    Synced {
        /// From whom.
        from: NodeId,
        /// How many envelopes were new.
        new: usize,
    },
    /// How things are.
    Status(Box<Status>),
    /// It cannot do its work, and ends.
    Failed(String),
}

/// How things are with a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Members that are connected.
    pub connected: Vec<NodeId>,
    /// Messages taken, by kind.
    pub accepted: Vec<(Kind, u64)>,
    /// Messages refused, by reason.
    pub refused: Vec<(Why, u64)>,
    /// Messages of neighbours beyond their rate.
    pub too_fast: u64,
    /// Who is not talked with for a while, because it handed on what was broken or far too much.
    pub shunned: Vec<NodeId>,
    /// Connections refused before a handshake because their source had too many.
    pub turned_away: u64,
    /// News dropped because the daemon read too slowly.
    pub news_dropped: u64,
    /// Own messages dropped because the queue was full.
    pub publish_dropped: u64,
    /// Own messages that wait.
    pub publish_waiting: usize,
    /// Envelopes kept for snapshots.
    pub archived: usize,
    /// The number of our last message.
    pub last_seq: u64,
    /// What was taken, for disk.
    pub replay: Vec<(NodeId, Vec<u8>)>,
}

/// Bytes that are no frame of this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAFrame {
    /// Larger than [`LARGEST`].
    #[error("a frame is too large")]
    TooLarge,
    /// Not what the other end may say.
    #[error("a frame is malformed")]
    Malformed,
}

/// Takes bytes as they come and gives whole frames.
#[derive(Debug, Default)]
pub struct Frames {
    held: Vec<u8>,
    taken: usize,
}

impl Frames {
    /// More bytes came.
    pub fn push(&mut self, bytes: &[u8]) {
        self.held.drain(..self.taken);
        self.taken = 0;
        self.held.extend_from_slice(bytes);
    }

    /// The next whole frame, without its length.
    ///
    /// # Errors
    /// [`NotAFrame::TooLarge`].
    pub fn next_frame(&mut self) -> Result<Option<&[u8]>, NotAFrame> {
        let Some((len, rest)) = self.held.get(self.taken..).and_then(<[u8]>::split_first_chunk::<4>) else {
            return Ok(None);
        };
        let len = u32::from_le_bytes(*len) as usize;
        if len > LARGEST {
            return Err(NotAFrame::TooLarge);
        }
        let Some(frame) = rest.get(..len) else { return Ok(None) };
        self.taken += 4 + len;
        Ok(Some(frame))
    }
}

fn frame(message: &impl prost::Message) -> Vec<u8> {
    let len = message.encoded_len();
    let mut bytes = Vec::with_capacity(4 + len);
    bytes.extend(u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes());
    // A vector grows as needed.
    let _ = message.encode(&mut bytes);
    bytes
}

impl ToNode {
    /// The frame with its length.
    pub fn encode(&self) -> Vec<u8> {
        let what = match self {
            Self::Start(start) => to_node::What::Start(Box::new(start_to(start))),
            Self::Keep(envelope) => to_node::What::Keep(envelope.clone()),
            Self::Publish { message, ttl } => to_node::What::Publish(wire::Publish {
                kind: message.message().kind() as u32,
                body: message.message().encode(),
                ttl_s: ttl.as_secs(),
            }),
            Self::Members(members) => to_node::What::Members(members_to(members)),
            Self::Invites(open) => to_node::What::Invites(invites_to(open)),
            Self::Believe(id, trust) => {
                to_node::What::Believe(wire::Believe { id: id.0.to_vec(), trust: *trust })
            }
            Self::Ask(indicators) => {
                let indicators = indicators.iter().map(Indicator::to_wire).collect();
                to_node::What::Ask(crate::wire::Ask { indicators })
            }
            Self::Answer { ticket, seen } => to_node::What::Answer(wire::Answer {
                ticket: *ticket,
                seen: seen.iter().map(Sight::to_wire).collect(),
            }),
            Self::Join(invite) => to_node::What::Join(wire::Join { line: invite.to_string() }),
            Self::Synced(synced) => to_node::What::Synced(*synced),
            Self::Status => to_node::What::Status(wire::Empty {}),
        };
        frame(&wire::ToNode { what: Some(what) })
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// [`NotAFrame::Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, NotAFrame> {
        let frame = wire::ToNode::decode(bytes).map_err(|_| NotAFrame::Malformed)?;
        Self::read(frame).ok_or(NotAFrame::Malformed)
    }

    fn read(frame: wire::ToNode) -> Option<Self> {
        Some(match frame.what? {
            to_node::What::Start(start) => Self::Start(Box::new(start_from(*start)?)),
            to_node::What::Keep(envelope) => Self::Keep(envelope),
            to_node::What::Publish(publish) => {
                let message = Message::decode(Kind::from_wire(publish.kind)?, &publish.body).ok()?;
                let message = Cleared::by_the_daemon(message);
                Self::Publish { message, ttl: Duration::from_secs(publish.ttl_s) }
            }
            to_node::What::Members(members) => Self::Members(members_from(&members)?),
            to_node::What::Invites(invites) => Self::Invites(invites_from(&invites)?),
            to_node::What::Believe(believe) => Self::Believe(NodeId::from_bytes(&believe.id)?, believe.trust),
            to_node::What::Ask(ask) => Self::Ask(indicators(&ask.indicators)?),
            to_node::What::Answer(answer) => {
                Self::Answer { ticket: answer.ticket, seen: sights(&answer.seen)? }
            }
            to_node::What::Join(join) => Self::Join(join.line.parse().ok()?),
            to_node::What::Synced(synced) => Self::Synced(synced),
            to_node::What::Status(_) => Self::Status,
        })
    }
}

impl FromNode {
    /// The frame with its length.
    pub fn encode(&self) -> Vec<u8> {
        let named = |name: &Option<Name>| name.as_ref().map(Name::to_string).unwrap_or_default();
        let what = match self {
            Self::Hello { version, sandbox } => {
                from_node::What::Hello(wire::Hello { version: *version, sandbox: sandbox.clone() })
            }
            Self::Listening(address) => from_node::What::Listening(address.clone()),
            Self::Connected(id) => from_node::What::Connected(id.0.to_vec()),
            Self::Gone(id) => from_node::What::Gone(id.0.to_vec()),
            Self::Shunned(id) => from_node::What::Shunned(id.0.to_vec()),
            Self::Heard(envelope) => from_node::What::Heard(envelope.clone()),
            Self::Asked { from, indicators, ticket } => from_node::What::Asked(wire::Asked {
                from: from.0.to_vec(),
                indicators: indicators.iter().map(Indicator::to_wire).collect(),
                ticket: *ticket,
            }),
            Self::Answered { from, seen } => from_node::What::Answered(wire::Answered {
                from: from.0.to_vec(),
                seen: seen.iter().map(Sight::to_wire).collect(),
            }),
            Self::Published { seq, envelope } => {
                from_node::What::Published(wire::Published { seq: *seq, envelope: envelope.clone() })
            }
            Self::Joined { id, name, invite } => from_node::What::Joined(wire::Joined {
                id: id.0.to_vec(),
                name: named(name),
                invite: invite.to_vec(),
            }),
            Self::Admitted { by, name } => {
                from_node::What::Admitted(wire::Named { id: by.0.to_vec(), name: named(name) })
            }
            Self::Refused(by) => from_node::What::Refused(by.0.to_vec()),
            Self::Synced { from, new } => {
                from_node::What::Synced(wire::Synced { from: from.0.to_vec(), new: *new as u64 })
            }
            Self::Status(status) => from_node::What::Status(Box::new(status_to(status))),
            Self::Failed(why) => from_node::What::Failed(why.clone()),
        };
        frame(&wire::FromNode { what: Some(what) })
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// [`NotAFrame::Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, NotAFrame> {
        let frame = wire::FromNode::decode(bytes).map_err(|_| NotAFrame::Malformed)?;
        Self::read(frame).ok_or(NotAFrame::Malformed)
    }

    fn read(frame: wire::FromNode) -> Option<Self> {
        let id = |bytes: &[u8]| NodeId::from_bytes(bytes);
        Some(match frame.what? {
            from_node::What::Hello(hello) => Self::Hello { version: hello.version, sandbox: hello.sandbox },
            from_node::What::Listening(address) => Self::Listening(address),
            from_node::What::Connected(who) => Self::Connected(id(&who)?),
            from_node::What::Gone(who) => Self::Gone(id(&who)?),
            from_node::What::Shunned(who) => Self::Shunned(id(&who)?),
            from_node::What::Heard(envelope) => Self::Heard(envelope),
            from_node::What::Asked(asked) => Self::Asked {
                from: id(&asked.from)?,
                indicators: indicators(&asked.indicators)?,
                ticket: asked.ticket,
            },
            from_node::What::Answered(answered) => {
                Self::Answered { from: id(&answered.from)?, seen: sights(&answered.seen)? }
            }
            from_node::What::Published(said) => Self::Published { seq: said.seq, envelope: said.envelope },
            from_node::What::Joined(joined) => Self::Joined {
                id: id(&joined.id)?,
                name: Name::new(&joined.name),
                invite: joined.invite.try_into().ok()?,
            },
            from_node::What::Admitted(by) => Self::Admitted { by: id(&by.id)?, name: Name::new(&by.name) },
            from_node::What::Refused(by) => Self::Refused(id(&by)?),
            from_node::What::Synced(synced) => {
                Self::Synced { from: id(&synced.from)?, new: usize::try_from(synced.new).ok()? }
            }
            from_node::What::Status(status) => Self::Status(Box::new(status_from(&status)?)),
            from_node::What::Failed(why) => Self::Failed(why),
        })
    }
}

fn indicators(wire: &[crate::wire::Indicator]) -> Option<Vec<Indicator>> {
    wire.iter().map(|one| Indicator::from_wire(one).ok()).collect()
}

fn sights(wire: &[crate::wire::Seen]) -> Option<Vec<Sight>> {
    wire.iter().map(Sight::from_wire).collect()
}

fn start_to(start: &Start) -> wire::Start {
    let window = |(author, taken): &(NodeId, Vec<u8>)| wire::Window {
        author: author.0.to_vec(),
        taken: taken.clone(),
    };
    wire::Start {
        version: VERSION,
        seed: start.key.seed().to_vec(),
        psk: start.psk.to_vec(),
        epoch: start.epoch,
        last_seq: start.last_seq,
        name: start.name.to_string(),
        listen: start.listen.clone(),
        members: Some(members_to(&start.members)),
        invites: Some(invites_to(&start.invites)),
        replay: start.replay.iter().map(window).collect(),
        synced: start.synced,
    }
}

fn start_from(wire: wire::Start) -> Option<Start> {
    if wire.version != VERSION {
        return None;
    }
    let window = |window: wire::Window| Some((NodeId::from_bytes(&window.author)?, window.taken));
    Some(Start {
        key: NodeKey::from_seed(&wire.seed.try_into().ok()?),
        psk: wire.psk.try_into().ok()?,
        epoch: wire.epoch,
        last_seq: wire.last_seq,
        name: Name::new(&wire.name)?,
        listen: wire.listen,
        members: members_from(&wire.members?)?,
        invites: invites_from(&wire.invites?)?,
        replay: wire.replay.into_iter().map(window).collect::<Option<_>>()?,
        synced: wire.synced,
    })
}

fn members_to(members: &Members) -> wire::Members {
    let named = |name: &Option<Name>| name.as_ref().map(Name::to_string).unwrap_or_default();
    let peer = |(id, peer): (NodeId, &Peer)| wire::Peer {
        id: id.0.to_vec(),
        name: named(&peer.name),
        addresses: peer.addresses.clone(),
        base: peer.base,
        group: peer.group.as_deref().map(str::to_owned),
        role: peer.role.map(|role| role as u32),
        confirmed: peer.confirmed,
    };
    let org = |(id, org): (NodeId, &Org)| wire::Org {
        id: id.0.to_vec(),
        name: named(&org.name),
        base: org.base,
        cap: org.cap,
        max_role: org.max_role as u32,
    };
    let roster = |signed: &SignedRoster| crate::wire::SignedRoster {
        roster: signed.bytes.clone(),
        sig: signed.sig.to_vec(),
    };
    wire::Members {
        peers: members.peers().map(peer).collect(),
        orgs: members.orgs().map(org).collect(),
        rosters: members.rosters().map(roster).collect(),
    }
}

fn role_from(number: u32) -> Option<Role> {
    Role::ALL.into_iter().find(|role| *role as u32 == number)
}

fn members_from(wire: &wire::Members) -> Option<Members> {
    let mut members = Members::default();
    for org in &wire.orgs {
        let known = Org {
            name: Name::new(&org.name),
            base: org.base,
            cap: org.cap,
            max_role: role_from(org.max_role)?,
        };
        members.trust_org(NodeId::from_bytes(&org.id)?, known);
    }
    for peer in &wire.peers {
        let known = Peer {
            name: Name::new(&peer.name),
            addresses: peer.addresses.clone(),
            base: peer.base,
            group: peer.group.as_deref().map(Into::into),
            role: match peer.role {
                Some(number) => Some(role_from(number)?),
                None => None,
            },
            confirmed: peer.confirmed,
        };
        members.add(NodeId::from_bytes(&peer.id)?, known).ok()?;
    }
    for signed in &wire.rosters {
        let sig = signed.sig.as_slice().try_into().ok()?;
        members.restore_roster(&SignedRoster { bytes: signed.roster.clone(), sig }).ok()?;
    }
    Some(members)
}

fn invites_to(open: &Open) -> wire::Invites {
    let invite = |(hash, until): ([u8; 32], Moment)| wire::Invite { hash: hash.to_vec(), until_ms: until.0 };
    wire::Invites { open: open.persist().map(invite).collect() }
}

fn invites_from(wire: &wire::Invites) -> Option<Open> {
    let invite = |invite: &wire::Invite| {
        Some((<[u8; 32]>::try_from(invite.hash.as_slice()).ok()?, Moment(invite.until_ms)))
    };
    Some(Open::restore(wire.open.iter().map(invite).collect::<Option<Vec<_>>>()?))
}

fn status_to(status: &Status) -> wire::Status {
    wire::Status {
        connected: status.connected.iter().map(|id| id.0.to_vec()).collect(),
        accepted: status
            .accepted
            .iter()
            .map(|(kind, count)| wire::Count { of: *kind as u32, count: *count })
            .collect(),
        refused: status
            .refused
            .iter()
            .map(|(why, count)| wire::Count { of: *why as u32, count: *count })
            .collect(),
        too_fast: status.too_fast,
        shunned: status.shunned.iter().map(|id| id.0.to_vec()).collect(),
        turned_away: status.turned_away,
        news_dropped: status.news_dropped,
        publish_dropped: status.publish_dropped,
        publish_waiting: status.publish_waiting as u64,
        archived: status.archived as u64,
        last_seq: status.last_seq,
    }
}

fn status_from(wire: &wire::Status) -> Option<Status> {
    let why = |number: u32| Why::ALL.into_iter().find(|why| *why as u32 == number);
    Some(Status {
        connected: wire.connected.iter().map(|id| NodeId::from_bytes(id)).collect::<Option<_>>()?,
        accepted: wire
            .accepted
            .iter()
            .map(|count| Some((Kind::from_wire(count.of)?, count.count)))
            .collect::<Option<_>>()?,
        refused: wire
            .refused
            .iter()
            .map(|count| Some((why(count.of)?, count.count)))
            .collect::<Option<_>>()?,
        too_fast: wire.too_fast,
        shunned: wire.shunned.iter().map(|id| NodeId::from_bytes(id)).collect::<Option<_>>()?,
        turned_away: wire.turned_away,
        news_dropped: wire.news_dropped,
        publish_dropped: wire.publish_dropped,
        publish_waiting: usize::try_from(wire.publish_waiting).ok()?,
        archived: usize::try_from(wire.archived).ok()?,
        last_seq: wire.last_seq,
        replay: Vec::new(),
    })
}
