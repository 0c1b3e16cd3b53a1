//! Evidence: one finding about one attacker in one window.

mod kind;

use std::fmt;
use std::hash::Hasher;
use std::net::IpAddr;
use std::sync::Arc;

use crate::flow::{MacAddr, Proto, Uid};
use crate::time::{PacketTime, WindowId};
pub use kind::EvidenceKind;

/// How bad a finding is, if it is true.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ThreatLevel {
    /// Worth knowing; adds no weight.
    Info,
    /// What a clumsy user might do.
    Low,
    /// Unusual.
    Medium,
    /// Hardly innocent.
    High,
    /// Only an attacker does this.
    Critical,
}

impl ThreatLevel {
    /// All levels, mildest first.
    pub const ALL: [Self; 5] = [Self::Info, Self::Low, Self::Medium, Self::High, Self::Critical];

    /// 0, 0.2, 0.5, 0.8 or 1.
    pub const fn weight(self) -> f64 {
        match self {
            Self::Info => 0.0,
            Self::Low => 0.2,
            Self::Medium => 0.5,
            Self::High => 0.8,
            Self::Critical => 1.0,
        }
    }

    /// Lower-case name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// From a name in any letter case, with blanks around it.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.name().eq_ignore_ascii_case(name.trim()))
    }
}

impl fmt::Display for ThreatLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How sure a finding is, 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Confidence(f64);

impl Confidence {
    /// Certain.
    pub const FULL: Self = Self(1.0);

    /// `value` kept within 0 to 1; not-a-number is 0.
    pub const fn new(value: f64) -> Self {
        if value >= 1.0 {
            Self(1.0)
        } else if value > 0.0 {
            Self(value)
        } else {
            Self(0.0)
        }
    }

    /// The number.
    pub const fn get(self) -> f64 {
        self.0
    }
}

/// Who did something, or to whom it was done.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Entity {
    /// An address.
    Ip(IpAddr),
    /// A domain name.
    Domain(Box<str>),
    /// A URL.
    Url(Box<str>),
    /// A hardware address, where no IP address is known to be its own.
    Mac(MacAddr),
    /// Many sources, none of which can be told apart as the one: nobody is to be blocked.
    Many,
}

impl Entity {
    /// The address, where it is one.
    pub const fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Ip(ip) => Some(*ip),
            _ => None,
        }
    }
}

impl fmt::Display for Entity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::Domain(text) | Self::Url(text) => text.fmt(f),
            Self::Mac(mac) => mac.fmt(f),
            Self::Many => f.write_str("many sources"),
        }
    }
}

/// Whether it is certain that the attacker's address really sent this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Proof {
    /// A sender could have written any address: single SYNs or datagrams.
    Unproven,
    /// Completed handshake, two-way exchange, or the on-link hardware address that owns the address.
    Proven,
}

/// How a finding that is told again changes the evidence that stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Again {
    /// The same thing happened once more: it is counted, and weighs `level × confidence × min(1 + log2 n, 8)`.
    Counts,
    /// It is one thing that grew (more ports, more guesses): level, confidence and text are replaced, nothing is counted.
    Grows,
}

/// The identity of an evidence, derived from its content: kind, attacker, victim, destination port, window. The same fact told
/// twice is one evidence, on every router and in every run.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EvidenceId(pub u128);

impl fmt::Display for EvidenceId {
    /// In the form of a UUID, which alerts.json asks for.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = format!("{:032x}", self.0);
        let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
        write!(f, "{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32))
    }
}

impl fmt::Debug for EvidenceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Most flow uids that one evidence names; further ones are counted by the flow totals only.
pub const MAX_UIDS: usize = 64;

/// What a detector says. The engine adds what it knows and keeps the sum.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// What was found.
    pub kind: EvidenceKind,
    /// Who did it.
    pub attacker: Entity,
    /// To whom, where there is one victim.
    pub victim: Option<Entity>,
    /// How bad.
    pub level: ThreatLevel,
    /// How sure.
    pub confidence: Confidence,
    /// Whose behaviour led to this finding (the profile at hand).
    pub profile: IpAddr,
    /// The window it belongs to.
    pub window: WindowId,
    /// When it was found (packet time).
    pub at: PacketTime,
    /// Transport.
    pub proto: Option<Proto>,
    /// Source port, where one matters.
    pub src_port: Option<u16>,
    /// Destination port, where one matters; part of the identity.
    pub dst_port: Option<u16>,
    /// One sentence for a person, without a full stop. Attacker-chosen text in it is escaped by the sinks.
    pub text: String,
    /// Flows behind it, newest last, at most [`MAX_UIDS`].
    pub uids: Vec<Uid>,
    /// Evidence that tells the same story from another side.
    pub related: Vec<EvidenceId>,
    /// Is the attacker's address certain?
    pub proof: Proof,
    /// What telling it again means.
    pub again: Again,
    /// The program outside that told it, whose evidence is its own and changes none of ours; none for what we found.
    pub told_by: Option<Box<str>>,
}

impl Finding {
    /// A finding about `attacker` with nothing optional set: info, certain, unproven, counted.
    pub fn new(kind: EvidenceKind, attacker: IpAddr, window: WindowId, at: PacketTime) -> Self {
        Self {
            kind,
            attacker: Entity::Ip(attacker),
            victim: None,
            level: ThreatLevel::Info,
            confidence: Confidence::FULL,
            profile: attacker,
            window,
            at,
            proto: None,
            src_port: None,
            dst_port: None,
            text: String::new(),
            uids: Vec::new(),
            related: Vec::new(),
            proof: Proof::Unproven,
            again: Again::Counts,
            told_by: None,
        }
    }

    /// The identity that this finding's evidence has. Stable over runs, machines and versions of the compiler.
    pub fn id(&self) -> EvidenceId {
        let half = |seed: u64| {
            let mut hasher = StableHasher(seed);
            hasher.write(self.kind.name().as_bytes());
            hash_entity(&self.attacker, &mut hasher);
            match &self.victim {
                None => hasher.write_u8(0),
                Some(victim) => hash_entity(victim, &mut hasher),
            }
            hasher.write_u32(self.dst_port.map_or(u32::MAX, u32::from));
            hasher.write_u8(match self.proto {
                None => 0,
                Some(proto) => {
                    proto.name().len() as u8 ^ proto.name().as_bytes().first().copied().unwrap_or(0)
                }
            });
            hasher.write_i64(self.window.0);
            if let Some(module) = &self.told_by {
                hasher.write(module.as_bytes());
            }
            hasher.finish()
        };
        EvidenceId((u128::from(half(0x736c_6970_7365_7669)) << 64) | u128::from(half(0x6465_6e63_6569_6431)))
    }
}

/// An evidence as the engine keeps and publishes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Evidence {
    /// Identity.
    pub id: EvidenceId,
    /// The latest state of the finding; `at` is when it was first found.
    pub finding: Finding,
    /// When it was last told.
    pub last_seen: PacketTime,
    /// How often it happened.
    pub count: u32,
    /// The attacker's accumulated weight in this window after this evidence.
    pub accumulated: f64,
    /// Of that, what proven findings alone make: the rest may come from anybody who forges senders.
    pub proven: f64,
    /// How often this evidence was published before (0 = new).
    pub revision: u32,
}

impl Evidence {
    /// `level × confidence × min(1 + log2 n, 8)`; nothing for hearsay.
    pub fn weight(&self) -> f64 {
        if self.finding.kind.is_hearsay() {
            return 0.0;
        }
        weight(self.finding.level, self.finding.confidence, self.count)
    }
}

/// `level × confidence × min(1 + log2 n, 8)`: a repeated fact counts more, but one noisy fact alone is never enough.
pub fn weight(level: ThreatLevel, confidence: Confidence, count: u32) -> f64 {
    let repeats = (1.0 + f64::from(count.max(1)).log2()).min(8.0);
    level.weight() * confidence.get() * repeats
}

/// Shared evidence, as records carry it.
pub type SharedEvidence = Arc<Evidence>;

fn hash_entity(entity: &Entity, hasher: &mut StableHasher) {
    match entity {
        Entity::Ip(IpAddr::V4(ip)) => hasher.write(&[&[4], &ip.octets()[..]].concat()),
        Entity::Ip(IpAddr::V6(ip)) => hasher.write(&[&[6], &ip.octets()[..]].concat()),
        Entity::Domain(text) => hasher.write(&[b"d", text.as_bytes(), &[0xff]].concat()),
        Entity::Url(text) => hasher.write(&[b"u", text.as_bytes(), &[0xff]].concat()),
        Entity::Mac(mac) => hasher.write(&[b"m", &mac.0[..]].concat()),
        Entity::Many => hasher.write(b"*"),
    }
}

/// FNV-1a with a final avalanche: an identity that never changes between versions, which std's hashers do not promise.
/// It is no secret and guards no table.
pub(crate) struct StableHasher(pub(crate) u64);

impl Hasher for StableHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    fn write_u32(&mut self, n: u32) {
        self.write(&n.to_le_bytes());
    }
    fn write_i64(&mut self, n: i64) {
        self.write(&n.to_le_bytes());
    }
    fn finish(&self) -> u64 {
        let mut x = self.0;
        x = (x ^ (x >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        x = (x ^ (x >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        x ^ (x >> 33)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding() -> Finding {
        Finding::new(EvidenceKind::VerticalPortScan, IpAddr::from([192, 0, 2, 1]), WindowId(7), PacketTime(1))
    }

    #[test]
    fn the_same_fact_has_the_same_identity_whenever_and_however_loud() {
        let first = finding();
        let mut again = finding();
        again.at = PacketTime(99);
        again.level = ThreatLevel::High;
        again.text = "more".into();
        assert_eq!(first.id(), again.id());
        assert_eq!(first.id().to_string(), "42d20b0f-7dad-eaf8-6636-b6e8afd34e91");
    }

    #[test]
    fn another_attacker_victim_port_window_or_kind_is_another_evidence() {
        let base = finding().id();
        let changes: [fn(&mut Finding); 6] = [
            |f| f.attacker = Entity::Ip(IpAddr::from([192, 0, 2, 2])),
            |f| f.victim = Some(Entity::Ip(IpAddr::from([192, 0, 2, 1]))),
            |f| f.dst_port = Some(22),
            |f| f.window = WindowId(8),
            |f| f.kind = EvidenceKind::HorizontalPortScan,
            |f| f.proto = Some(Proto::Udp),
        ];
        for change in changes {
            let mut other = finding();
            change(&mut other);
            assert_ne!(base, other.id());
        }
    }

    #[test]
    fn repeats_weigh_logarithmically_up_to_eight_times() {
        for (count, expected) in [(0, 0.8), (1, 0.8), (2, 1.6), (4, 2.4), (128, 6.4), (u32::MAX, 6.4)] {
            assert!((weight(ThreatLevel::High, Confidence::FULL, count) - expected).abs() < 1e-9);
        }
        assert_eq!(weight(ThreatLevel::Info, Confidence::FULL, 1000), 0.0);
    }

    #[test]
    fn confidence_stays_within_bounds() {
        for (value, kept) in [(0.5, 0.5), (-1.0, 0.0), (7.0, 1.0), (f64::NAN, 0.0)] {
            assert_eq!(Confidence::new(value).get(), kept);
        }
    }

    #[test]
    fn levels_have_names_both_ways() {
        for level in ThreatLevel::ALL {
            assert_eq!(ThreatLevel::from_name(&format!(" {} ", level.name().to_uppercase())), Some(level));
        }
    }
}
