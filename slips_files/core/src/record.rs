//! What comes out of the engine: one closed enum.

use std::net::IpAddr;
use std::sync::Arc;

use crate::alert::Alert;
use crate::event::Event;
use crate::evidence::SharedEvidence;
use crate::time::{PacketTime, WindowId};

/// Events as they travel between threads: shared, never changed.
pub type Batch = Arc<Vec<Event>>;

/// Everything that the engine tells the outside.
#[derive(Clone, Debug)]
pub enum Record {
    /// A batch of events went through; sinks that keep flows take them from here.
    Events(Batch),
    /// An address was seen for the first time (or again after it was forgotten).
    ProfileNew {
        /// The address.
        addr: IpAddr,
        /// When.
        at: PacketTime,
    },
    /// Packet time left a window behind; nothing is added to it any more.
    WindowClosed {
        /// The window.
        window: WindowId,
        /// When.
        at: PacketTime,
    },
    /// An evidence is new or has changed.
    Evidence(SharedEvidence),
    /// An attacker's evidence is enough. Responders block and report from this record.
    Alert(Arc<Alert>),
    /// The whitelist leaves this address alone from now on, for what traffic tells of it: a block of it ends.
    Spared {
        /// The address.
        addr: IpAddr,
        /// The rule in words.
        why: Box<str>,
    },
    /// The place of another engine was taken: what is alerted from here on is not alerted by anybody else.
    TookOver {
        /// The number of that place.
        fence: u64,
    },
    /// The counters of the engine; told with each closed window and at the end.
    Stats(Box<Stats>),
}

/// Counters of the engine since its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Events of any kind.
    pub events: u64,
    /// Flows that ended (a live flow is counted once).
    pub flows: u64,
    /// Addresses that got a profile.
    pub profiles: u64,
    /// Pairs of profile and window that saw traffic.
    pub profile_windows: u64,
    /// Profiles forgotten to make room, remote hosts.
    pub evicted_remote: u64,
    /// Profiles forgotten to make room, local hosts.
    pub evicted_local: u64,
    /// Evidence, each identity once.
    pub evidence: u64,
    /// Evidence that was told again.
    pub evidence_repeats: u64,
    /// Evidence refused because the table of open evidence was full.
    pub evidence_capped: u64,
    /// Evidence that the whitelist left out.
    pub evidence_whitelisted: u64,
    /// Events that the whitelist kept from detections.
    pub events_whitelisted: u64,
    /// Alerts.
    pub alerts: u64,
    /// Time stamps that jumped ahead by more than a day without others following.
    pub time_jumps: u64,
    /// Events older than the oldest window still open.
    pub late_events: u64,
}
