//! Blocks networks in the kernel's firewall, and lets them in again when their time is over.
//!
//! Told "block this network for so long, because of this", it checks that nobody is locked out who must not be ([`Protected`]), and
//! changes its own nftables table `inet slips` in one transaction. The kernel's own timeouts end a block, even when the
//! daemon is dead. It never touches another table, never knows evidence or alerts, keeps no history and makes no connection.
//!
//! [`Firewall`] is the first type to read; [`Backend`] is what carries out its changes: [`Nftables`] or, for watching only, [`DryRun`].

mod block;
mod crowd;
mod discover;
mod dry_run;
mod error;
mod firewall;
mod netlink;
mod nft;
mod policy;
mod protected;
mod ranges;

use std::collections::HashSet;
use std::net::IpAddr;

use slips_core::addr::Net;

pub use block::{
    Backend, Block, BlockRequest, Change, Count, Counters, Ended, Health, Manner, Origin, SelfTest, Watched,
};
pub use crowd::{Crowd, Crowded, Pending, provider};
pub use discover::{DiscoverError, Sources, name_servers};
pub use dry_run::DryRun;
pub use error::Error;
pub use firewall::{Firewall, Mode, Options, Outcome};
pub use nft::{Features, NftOptions, Nftables, flush_all, list_all};
pub use policy::{Escalation, Policy, Refusal, rest};
pub use protected::{Protected, Why};

/// The machines on these networks that this host has talked with lately, in the network namespace of the calling thread.
pub fn neighbours(on: &[Net]) -> Result<usize, Error> {
    netlink::neighbours(on)
}

/// Who was asked, and answered, as this host's connection table knows; `wanted` tells of who asked and whom which matter. In the network
/// namespace of the calling thread; at most 65,536.
///
/// # Errors
/// When the table cannot be read.
pub fn answered(wanted: impl Fn(IpAddr, IpAddr) -> bool) -> Result<HashSet<IpAddr>, Error> {
    netlink::answered(wanted)
}

/// Whether hosts talk with each other through a bridge of this host, in the network namespace of the calling thread.
pub fn bridged() -> Result<bool, Error> {
    netlink::bridged()
}

/// Whether this is blocked as one thing: a single address, or the 64 bits of IPv6 that one customer has.
pub const fn is_single(net: Net) -> bool {
    matches!((net.addr().is_ipv4(), net.prefix()), (true, 32) | (false, 64 | 128))
}
