//! Redis as a mirror of what Slips knows and as a bus: optional, never in the way of detection, never the truth.
//!
//! [`Keys`] and [`Channel`] name all that is there, [`Link`] is a connection whose answers are bounded whoever gives them. `docs/redis.md`
//! describes it for whoever reads along. Nothing here owns a thread or reads a clock.

mod fleet;
pub mod heirloom;
mod keys;
mod link;
mod message;
mod mirror;
mod replay;
mod server;
mod signature;
mod wire;
mod word;

pub use fleet::{Lease, MEMORY, MOST_ROUTERS, MOST_SHARED, MOST_VALUE, Member, Shared, SharedList};
pub use keys::{Channel, Keys, Word, profile, profile_window, timewindow};
pub use link::Link;
pub use message::{AlertTold, BlockTold, EvidenceTold, OfProfile, Party, TimeWindow};
pub use mirror::{ALIVE, Mirror, MirrorSettings};
pub use replay::{Follow, MOST_ALERTS, MOST_EVIDENCE, MOST_PROFILES, Replay};
pub use server::{NotAServer, Place, Server};
pub use wire::{Patience, Steady};

pub use word::{Doorkeeper, Heard, MOST_BYTES, Refused, Rules, SKEW, Said};

/// The layout of keys and messages. Whoever reads another should leave it alone.
pub const VERSION: u32 = 1;
