//! The words of blocking, and what a backend must do.

use std::fmt;
use std::time::Duration;

use slips_core::addr::Net;

use crate::Error;

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

/// Dropped since the table was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets from a blocked source.
    pub incoming: Count,
    /// Packets that were to be forwarded to a blocked destination.
    pub forwarded: Count,
    /// Packets of this host to a blocked destination.
    pub outgoing: Count,
}

/// Packets and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// How many packets.
    pub packets: u64,
    /// How many bytes, from the IP header on.
    pub bytes: u64,
}

/// Whether what blocks is as we made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It is.
    Intact,
    /// Somebody else had removed or changed it; it has been made anew, and some or all blocks may be gone.
    Rebuilt,
}

/// What a test of the blocking itself found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SelfTest {
    /// A packet to a blocked address was refused.
    Blocks,
    /// It cannot be told: there is no route, or nothing is really blocked in this mode.
    Unknown,
}

/// What holds the blocks: the kernel, or nothing but our memory.
///
/// A backend does as it is told; who must not be blocked is decided above it, in [`Firewall`](crate::Firewall).
pub trait Backend: fmt::Debug + Send {
    /// Applies all changes, in this order, as one: all of them or none.
    fn apply(&mut self, changes: &[Change]) -> Result<(), Error>;

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

    /// What was dropped.
    fn counters(&mut self) -> Result<Counters, Error>;

    /// Whether a blocked address is really out of reach.
    fn self_test(&mut self) -> Result<SelfTest, Error>;

    /// Takes away everything of ours, so that no trace is left. The backend is of no use after it.
    fn remove(&mut self) -> Result<(), Error>;
}
