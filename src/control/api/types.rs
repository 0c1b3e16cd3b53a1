//! What is answered about the daemon itself. What the database knows has its types where the database is read.

use std::collections::BTreeMap;

pub use super::problem::ErrorReply;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

/// How the daemon is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Status {
    /// Its version.
    pub version: String,
    /// When it was started.
    pub started: String,
    /// For how many seconds it has run.
    pub uptime_seconds: u64,
    /// Whether attackers are blocked, or only told of.
    pub mode: Mode,
    /// Another daemon of the same name acts: this one watches, and blocks and alerts nobody.
    pub stands_by: bool,
    /// False when blocking does not block, or a part stands still.
    pub healthy: bool,
    /// Where packets are taken, and what else is read.
    pub watching: Vec<String>,
    /// How the inputs besides interfaces stand, in words; empty where there are none.
    pub inputs: String,
    /// Packets that were looked at since the start.
    pub packets: u64,
    /// Flows that ended since the start.
    pub flows: u64,
    /// Flows that ended in a second, of the last five.
    pub flows_per_second: u64,
    /// Alerts since the start.
    pub alerts: u64,
    /// Networks that are blocked now.
    pub blocks: u64,
    /// Blocks that were refused, to protect somebody, since the start.
    pub blocks_refused: u64,
    /// Peers that are connected now.
    pub peers: u64,
    /// How old packets were at most when they were read, in milliseconds, in the last second.
    pub lag_ms: u64,
    /// What the daemon has of memory.
    pub memory: Memory,
    /// How much is left out because more comes in than can be looked at.
    pub overload: Overload,
    /// Parts that have not moved for longer than they may.
    pub standing_still: Vec<String>,
    /// What was lost or left out since the start, by what it is; what was not is not named.
    pub lost: BTreeMap<String, u64>,
    /// Who asks here.
    pub clients: ClientCount,
}

/// Whether attackers are blocked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// They are.
    Enforce,
    /// They are told of.
    Monitor,
}

/// The routers on one Redis.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fleet {
    /// What this router is called.
    pub router: String,
    /// Whether Redis is reached: if not, all else is what was last known.
    pub reached: bool,
    /// Each, by name; of one name up to two, the one that acts and its standby.
    pub routers: Vec<FleetRouter>,
    /// Names and values in Redis that make no sense.
    pub unread: u64,
    /// Blocks of others that were not believed, since the start.
    pub refused: u64,
}

/// A router, as it tells of itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FleetRouter {
    /// What it is called.
    pub router: String,
    /// `active` or `standby`.
    pub role: String,
    /// How it is, by its last word.
    pub state: FleetState,
    /// How old that is, by the clock of Redis.
    pub seconds_ago: u64,
    /// `enforce` or `monitor`.
    pub mode: String,
    /// Its version.
    pub version: String,
    /// Since when it runs, by its own clock.
    pub since: String,
    /// Flows that ended in a second, of its last five.
    pub flows_per_second: u64,
    /// Alerts since its start.
    pub alerts: u64,
    /// Networks that it blocks now.
    pub blocks: u64,
    /// Why what it says of itself is not shown.
    pub wrong: Option<String>,
}

/// How a router is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FleetState {
    /// It spoke within three seconds.
    Up,
    /// It spoke within fifteen.
    Late,
    /// It did not, or what it says makes no sense.
    #[default]
    Gone,
}

/// What the daemon has of memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// What it uses, in bytes: as its control group counts, else what is resident.
    pub used_bytes: u64,
    /// What it may use, in bytes.
    pub limit_bytes: u64,
    /// Percent of their size that tables may use.
    pub tables_percent: u8,
}

/// How much is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Overload {
    /// 0 (nothing) to 3.
    pub step: u8,
    /// The same in words.
    pub what: String,
}

/// Who asks here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientCount {
    /// Clients that are connected.
    pub connected: u64,
    /// Those of them that follow events.
    pub following: u64,
}

/// How blocking stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Firewall {
    /// Whether attackers are blocked.
    pub mode: Mode,
    /// `works`, `paused`, `watches only`, `DOES NOT BLOCK`.
    pub blocking: String,
    /// For how many seconds more it is paused.
    pub paused_seconds_left: Option<u64>,
    /// Networks that are blocked.
    pub blocks: u64,
    /// Those of them that rest on packets alone whose sender could be forged.
    pub unproven: u64,
    /// Those that the kernel did not take yet.
    pub not_yet_in_the_kernel: u64,
    /// Networks that are never blocked.
    pub protected: u64,
    /// Those networks and why, up to 400.
    pub never_blocked: Vec<Protected>,
    /// Blocks that were refused since the start.
    pub refused: u64,
    /// What was dropped, by who asked for the block: `alert`, `manual`, `peer`, `feed`.
    pub dropped: BTreeMap<String, Dropped>,
}

/// A network that is never blocked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Protected {
    /// It.
    pub net: String,
    /// Why.
    pub why: String,
}

/// What was dropped, by its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Dropped {
    /// From blocked networks to this host.
    pub incoming: Counted,
    /// From or to blocked networks through this host.
    pub forwarded: Counted,
    /// From this host to blocked networks.
    pub outgoing: Counted,
}

/// How much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Counted {
    /// Packets.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Why a network is blocked, or is not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Explained {
    /// The network.
    pub net: String,
    /// For how many seconds more it is blocked; null if it is not.
    pub left: Option<u64>,
    /// Why it never will be, if so.
    pub protected: Option<String>,
    /// The blocks of it, or of what it overlaps with, up to 32.
    pub blocks: Vec<BookedBlock>,
    /// How often it was blocked before.
    pub earlier: u64,
}

/// A block as the book has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BookedBlock {
    /// What is kept out.
    pub net: String,
    /// Who asked: `alert`, `hand`, `peer NAME`, `feed NAME`.
    pub source: String,
    /// Why.
    pub reason: String,
    /// The alert behind it.
    pub alert: Option<String>,
    /// What becomes of its packets: `drop`, `reject`, `isolate`.
    pub manner: String,
    /// Since when.
    pub from: String,
    /// Until when.
    pub until: Option<String>,
    /// It rests on packets alone whose sender could be forged.
    pub unproven: bool,
}

/// What came of something that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Done {
    /// In a sentence.
    pub done: String,
}

/// A block to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewBlock {
    /// An address or a network.
    #[schemars(with = "super::forms::NetForm")]
    pub net: String,
    /// How long, in seconds.
    #[schemars(range(min = 1, max = 31_536_000))]
    #[serde(default = "an_hour", deserialize_with = "whole")]
    pub seconds: u64,
    /// Why, for the journal.
    #[schemars(length(max = 100))]
    #[serde(default)]
    pub why: String,
}

/// A whole number, also where it is written as 60.0: to JSON both are one.
fn whole<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    let number = f64::deserialize(from)?;
    let is_whole = number.fract() == 0.0 && (0.0..=9e15).contains(&number);
    is_whole
        .then_some(number as u64)
        .ok_or_else(|| serde::de::Error::custom(format!("{number} is no number of seconds")))
}

const fn an_hour() -> u64 {
    3600
}

/// How long nobody is kept out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pause {
    /// In seconds.
    #[schemars(range(min = 1, max = 86_400))]
    #[serde(default = "ten_minutes", deserialize_with = "whole")]
    pub seconds: u64,
}

const fn ten_minutes() -> u64 {
    600
}

/// How peers stand.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Peers {
    /// The process that talks with them: `off`, `running`, `down`.
    pub node: String,
    /// What their word does: `assist`, `obey`, …
    pub mode: String,
    /// Where the node listens.
    pub listening: Vec<String>,
    /// How often the node was started.
    pub starts: u64,
    /// Reports that hold.
    pub reports: u64,
    /// Blocks on the word of peers.
    pub blocks: u64,
    /// Each that is admitted.
    pub peers: Vec<Peer>,
    /// All else, as `slips peers list --json` has it.
    #[serde(flatten)]
    pub more: BTreeMap<String, serde_json::Value>,
}

/// A peer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Peer {
    /// Its identity.
    pub id: String,
    /// Whether it is connected.
    pub connected: bool,
    /// When it was heard last, in milliseconds since the Unix epoch.
    pub last_seen_ms: Option<u64>,
    /// How far it is believed, 0 to 1.
    pub trust: f64,
    /// It said what was wrong too often, and is not listened to.
    pub quarantined: bool,
}
