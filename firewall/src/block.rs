//! The words of blocking, and what a backend must do.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use slips_core::addr::Net;
use slips_core::flow::MacAddr;

use crate::Error;

/// Who asked for a block. The kernel counts what it drops for each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// An alert of this host.
    #[default]
    Local,
    /// Another router.
    Peer,
    /// A published list.
    Feed,
    /// A person.
    Manual,
}

impl Origin {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Local, Self::Peer, Self::Feed, Self::Manual];

    /// The word for it, also in the names of the kernel's counters.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Peer => "peer",
            Self::Feed => "feed",
            Self::Manual => "manual",
        }
    }
}

/// What becomes of the packets of a blocked network.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Manner {
    /// All are dropped, from it and to it.
    #[default]
    Drop,
    /// What comes from it is dropped. Who sends to it is told that this is forbidden, so that its programs fail at once and do not
    /// wait: for what our own hosts call, such as a server that commands malware.
    Reject,
    /// For a host of our own networks: it reaches nobody, but this host still gives it an address (DHCP) and a notice.
    Isolate,
}

impl Manner {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Drop, Self::Reject, Self::Isolate];

    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Drop => "drop",
            Self::Reject => "reject",
            Self::Isolate => "isolate",
        }
    }
}

/// What the kernel keeps beside a blocked network.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tag {
    pub(crate) by: Origin,
    pub(crate) manner: Manner,
}

impl Tag {
    /// All of them.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        Origin::ALL.into_iter().flat_map(|by| Manner::ALL.map(|manner| Self { by, manner }))
    }

    /// As a number; `nft` shows it as a mark.
    pub(crate) const fn number(self) -> u32 {
        (self.manner as u32) << 8 | self.by as u32
    }

    /// From its number; one that nobody gives is that of a plain block.
    pub(crate) fn of(number: u32) -> Self {
        Self::all().find(|tag| tag.number() == number).unwrap_or_default()
    }
}

/// "Block this network for so long, because of this."
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockRequest {
    /// Whom.
    pub net: Net,
    /// For how long from now on.
    pub for_: Duration,
    /// Why, in words for the administrator; not interpreted.
    pub reason: String,
    /// This network and nothing beside it: an outside IPv6 address without the 64 bits that its owner moves in. For what may
    /// be the wrong one, and for what was widened already.
    pub exact: bool,
    /// Who asked.
    pub by: Origin,
    /// What becomes of the packets.
    pub manner: Manner,
    /// The hardware address of the one machine that has this address: on a bridge of this host its frames are dropped too, whatever address
    /// they bear.
    pub machine: Option<MacAddr>,
}

impl BlockRequest {
    /// A plain block after an alert; an outside IPv6 address with its 64 bits.
    pub fn new(net: Net, for_: Duration, reason: impl Into<String>) -> Self {
        let (by, manner) = (Origin::Local, Manner::Drop);
        Self { net, for_, reason: reason.into(), exact: false, by, manner, machine: None }
    }

    pub(crate) const fn tag(&self) -> Tag {
        Tag { by: self.by, manner: self.manner }
    }
}

/// A network that is blocked now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Whom.
    pub net: Net,
    /// How long from now on.
    pub left: Duration,
    /// Why; empty when the backend does not keep reasons.
    pub reason: String,
    /// Who asked.
    pub by: Origin,
    /// What becomes of its packets.
    pub manner: Manner,
}

/// One change of what is blocked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Block this network. What [`is_single`](crate::is_single) is blocked for the new time, longer or shorter; of a wider network each
    /// address stays blocked as long as the longest block that covers it.
    Block(BlockRequest),
    /// Let this network in again; of a wider block this part only. Nothing happens when it is not blocked. Blocks of single addresses
    /// in it stay.
    Unblock(Net),
    /// Let all in again.
    Clear,
    /// From now on these networks pass whatever is blocked; it replaces the former ones.
    Protect(Vec<Net>),
}

/// What was not let through since the table was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets from a blocked source.
    pub incoming: Count,
    /// Packets that were to be forwarded to a blocked destination.
    pub forwarded: Count,
    /// Packets of this host to a blocked destination.
    pub outgoing: Count,
}

impl Counters {
    /// Both together.
    pub const fn plus(self, other: Self) -> Self {
        Self {
            incoming: self.incoming.plus(other.incoming),
            forwarded: self.forwarded.plus(other.forwarded),
            outgoing: self.outgoing.plus(other.outgoing),
        }
    }
}

/// Packets and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// How many packets.
    pub packets: u64,
    /// How many bytes, from the IP header on.
    pub bytes: u64,
}

impl Count {
    /// Both together.
    pub const fn plus(self, other: Self) -> Self {
        Self {
            packets: self.packets.saturating_add(other.packets),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }
}

/// Connections that were ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ended {
    /// Entries of the kernel's table of connections.
    pub tracked: usize,
    /// Sockets of programs on this host.
    pub sockets: usize,
}

/// Whether what blocks is as we made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It is.
    Intact,
    /// Somebody else had removed or changed it; it has been made anew, and some or all blocks may be gone.
    Rebuilt,
}

/// What was noticed since it was asked last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Watched {
    /// Somebody else changed what blocks: [`verify`](Backend::verify) it.
    pub disturbed: bool,
    /// The addresses or routes of this host changed: who is protected may have.
    pub host: bool,
}

/// What a test of the blocking itself found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SelfTest {
    /// A packet to a blocked address was refused.
    Blocks,
    /// It cannot be told: there is no route, or nothing is really blocked in this mode.
    Unknown,
    /// It cannot be told: the packet was refused, but our rule never saw it. Another program's rule comes before ours and drops it.
    Shadowed,
}

/// What holds the blocks: the kernel, or nothing but our memory.
///
/// A backend does as it is told; who must not be blocked is decided above it, in [`Firewall`](crate::Firewall).
pub trait Backend: fmt::Debug + Send {
    /// Applies all changes, in this order, as one: all of them or none.
    fn apply(&mut self, changes: &[Change]) -> Result<(), Error>;

    /// Applies blocks of single networks if nobody of them is blocked; otherwise changes nothing and returns false. So it may also where it
    /// would have to ask.
    fn block_new(&mut self, changes: &[Change]) -> Result<bool, Error> {
        let _ = changes;
        Ok(false)
    }

    /// How long each of these networks stays blocked: a single one by its own block, a wider one as a whole, by one block or several.
    /// `None` when some of it is not.
    fn left(&mut self, nets: &[Net]) -> Result<Vec<Option<Duration>>, Error>;

    /// How long all of this network stays blocked, by its own block or by a wider one.
    fn cover(&mut self, net: Net) -> Result<Option<Duration>, Error>;

    /// All that is blocked, in order of the networks. Slow for many thousand blocks: nothing for a routine.
    fn list(&mut self) -> Result<Vec<Block>, Error>;

    /// Looks whether all that blocks is there, and makes it anew if it is not. Blocks that are still there are kept; what is
    /// protected must be said again.
    fn verify(&mut self) -> Result<Health, Error>;

    /// What changed around it; costs next to nothing and never waits.
    fn watch(&mut self) -> Watched {
        Watched::default()
    }

    /// What can be read when [`watch`](Self::watch) has something to tell, for who waits until then.
    fn wakes(&self) -> Vec<BorrowedFd<'_>> {
        Vec::new()
    }

    /// The hosts near this one with their hardware addresses; empty where nobody is blocked by these.
    fn machines(&mut self) -> Result<BTreeSet<(IpAddr, MacAddr)>, Error> {
        Ok(BTreeSet::new())
    }

    /// What was dropped of this single network since this was asked first, which gives it a counter of its own; `None` when it has no
    /// block of its own. A block that is set anew starts again.
    fn count(&mut self, net: Net) -> Result<Option<Count>, Error> {
        Ok(self.left(&[net])?.pop().flatten().map(|_| Count::default()))
    }

    /// Lets all packets pass for now, or drops them again. What is blocked stays known and goes on to end, and may be changed.
    fn set_paused(&mut self, paused: bool) -> Result<(), Error> {
        let _ = paused;
        Ok(())
    }

    /// What was dropped, all of it.
    fn counters(&mut self) -> Result<Counters, Error> {
        Ok(self.counters_by()?.into_iter().fold(Counters::default(), Counters::plus))
    }

    /// What was dropped, in the order of [`Origin::ALL`].
    fn counters_by(&mut self) -> Result<[Counters; Origin::ALL.len()], Error> {
        Ok([Counters::default(); Origin::ALL.len()])
    }

    /// Whether a blocked address is really out of reach.
    fn self_test(&mut self) -> Result<SelfTest, Error>;

    /// Ends the connections that are open with these networks, so that nothing waits for what will not come and an offloaded one stops
    /// too.
    fn end_connections(&mut self, nets: &[Net]) -> Result<Ended, Error> {
        let _ = nets;
        Ok(Ended::default())
    }

    /// Takes away everything of ours, so that no trace is left. The backend is of no use after it.
    fn remove(&mut self) -> Result<(), Error>;
}
