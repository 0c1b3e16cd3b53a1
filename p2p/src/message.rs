//! What is said: each kind of message as a type that cannot be wrong, read from and written to the wire types.

use std::time::Duration;

use prost::Message as _;

use crate::indicator::{Indicator, NotAccusable};
use crate::moment::Moment;
use crate::wire;

#[cfg(test)]
pub(crate) mod tests;

/// Something that a peer says to all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// An attacker was seen.
    Report(Report),
    /// An attacker was seen and is blocked; others are asked to do the same.
    Block(BlockRequest),
    /// What the author said about something holds no longer.
    Retract(Retract),
    /// A roster signed by an organisation, as it came.
    Roster(SignedRoster),
    /// How the author is reached.
    Announce(Announce),
    /// Part of a blocklist that the author publishes.
    List(ListEntries),
}

/// The kinds of [`Message`], as numbered on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// [`Message::Report`]
    Report = 1,
    /// [`Message::Block`]
    Block = 2,
    /// [`Message::Retract`]
    Retract = 3,
    /// [`Message::Roster`]
    Roster = 4,
    /// [`Message::Announce`]
    Announce = 5,
    /// [`Message::List`]
    List = 6,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 6] =
        [Self::Report, Self::Block, Self::Retract, Self::Roster, Self::Announce, Self::List];

    /// The kind with this number.
    pub fn from_wire(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u32 == number)
    }

    /// The largest signed envelope of this kind in bytes. What is small by nature must be: each of many thousands may be kept for a day.
    pub const fn largest(self) -> usize {
        match self {
            Self::Retract | Self::Announce => 1024,
            Self::Report | Self::Block => 2 * 1024,
            Self::List => 16 * 1024,
            Self::Roster => 19 * 1024,
        }
    }

    /// Lower-case name for counters and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Report => "report",
            Self::Block => "block",
            Self::Retract => "retract",
            Self::Roster => "roster",
            Self::Announce => "announce",
            Self::List => "list",
        }
    }
}

/// A share of a hundred, 0 to 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(u8);

impl Percent {
    /// Certain, or as bad as can be.
    pub const FULL: Self = Self(100);

    /// The nearest percent of `share`, which is brought into 0..=1; not a number is 0.
    pub fn of(share: f64) -> Self {
        Self((share.clamp(0.0, 1.0) * 100.0).round() as u8)
    }

    /// 0 to 1.
    pub fn share(self) -> f64 {
        f64::from(self.0) / 100.0
    }

    fn from_wire(number: u32) -> Result<Self, Malformed> {
        match u8::try_from(number) {
            Ok(percent @ 0..=100) => Ok(Self(percent)),
            _ => Err(Malformed::Value("percent")),
        }
    }
}

/// Which way the traffic went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The accused came to the reporter's side.
    Attacked,
    /// The reporter's side went to the accused.
    Visited,
    /// Not said, or said in a way that we do not know yet.
    Unknown,
}

/// How far a report may travel (Traffic Light Protocol). What is amber or red is never sent to all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tlp {
    /// To anybody.
    Clear,
    /// Within the network of peers.
    Green,
}

/// An attacked service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Service {
    /// IP protocol number.
    pub proto: u8,
    /// Port.
    pub port: u16,
}

/// An attacker was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Who or what.
    pub indicator: Indicator,
    /// How bad.
    pub score: Percent,
    /// How sure.
    pub confidence: Percent,
    /// Names of evidence types, of ours or of a newer version's: capital letters, digits and `_`.
    pub evidence: Vec<String>,
    /// How many pieces of evidence.
    pub count: u64,
    /// The first.
    pub first: Moment,
    /// The latest.
    pub last: Moment,
    /// Attacked services.
    pub services: Vec<Service>,
    /// Which way.
    pub direction: Direction,
    /// How far it may travel.
    pub tlp: Tlp,
}

/// Which traffic to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// What comes from it.
    From = 1,
    /// What goes to it.
    To = 2,
    /// Both.
    Both = 3,
}

/// An attacker was seen, and others are asked to block it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockRequest {
    /// Why.
    pub report: Report,
    /// What.
    pub action: Action,
    /// For how long, at most [`BlockRequest::LONGEST`].
    pub duration: Duration,
    /// Whether the author blocks it itself.
    pub own_block: bool,
}

impl BlockRequest {
    /// The longest block that can be asked for.
    pub const LONGEST: Duration = Duration::from_secs(86_400);
}

/// Why something was taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It was wrong.
    FalsePositive = 1,
    /// It is over.
    Over = 2,
    /// The owner allows it.
    AllowListed = 3,
    /// The author's key is in other hands: nothing that it said holds.
    KeyCompromised = 4,
}

/// What the author said about something holds no longer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retract {
    /// About what; about everything only when the key is compromised.
    pub indicator: Option<Indicator>,
    /// Why.
    pub reason: Reason,
}

/// A roster and its organisation's signature, as they came; [`crate::roster`] reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedRoster {
    /// The exact bytes that are signed.
    pub bytes: Vec<u8>,
    /// The signature.
    pub sig: [u8; 64],
}

/// How the author is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announce {
    /// Multiaddresses that reach it from outside.
    pub addresses: Vec<String>,
    /// Versions of the protocol that it speaks.
    pub versions: Vec<u32>,
    /// How many reports of its own are live.
    pub reports: u64,
}

/// The name of a blocklist or a router: 1 to 32 letters of a-z, 0-9 and `-`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Box<str>);

impl Name {
    /// What a router is called that has no name.
    pub fn nameless() -> Self {
        Self("router".into())
    }

    /// From a text; `None` when it has another form.
    pub fn new(text: &str) -> Option<Self> {
        let letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        ((1..=32).contains(&text.len()) && text.bytes().all(letter)).then(|| Self(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.0)
    }
}

/// Part of a blocklist that the author publishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListEntries {
    /// The list.
    pub list: Name,
    /// The list's version after this change.
    pub version: u64,
    /// What came onto it.
    pub add: Vec<Indicator>,
    /// What went from it.
    pub remove: Vec<Indicator>,
}

/// Most evidence types, and most services, that one report names.
pub const MAX_NAMED: usize = 8;
/// Most addresses that a node announces.
pub const MAX_ADDRESSES: usize = 4;
/// Most entries that one message adds to, or removes from, a list.
pub const MAX_ENTRIES: usize = 64;

/// Why bytes are no message. The sender, or who passed it on, is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// No protobuf of this kind.
    #[error("not decodable")]
    Undecodable,
    /// A field has a value that it cannot have.
    #[error("impossible value of {0}")]
    Value(&'static str),
    /// More of something than may be.
    #[error("too many of {0}")]
    TooMany(&'static str),
    /// What is accused cannot be.
    #[error("accuses what cannot be accused: {0}")]
    Indicator(#[from] NotAccusable),
}

impl Message {
    /// Which kind this is.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Report(_) => Kind::Report,
            Self::Block(_) => Kind::Block,
            Self::Retract(_) => Kind::Retract,
            Self::Roster(_) => Kind::Roster,
            Self::Announce(_) => Kind::Announce,
            Self::List(_) => Kind::List,
        }
    }

    /// The bytes of the body.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Report(report) => report.to_wire().encode_to_vec(),
            Self::Block(block) => wire::BlockRequest {
                report: Some(block.report.to_wire()),
                action: block.action as u32,
                duration_s: u32::try_from(block.duration.as_secs()).unwrap_or(u32::MAX),
                own_block: block.own_block,
            }
            .encode_to_vec(),
            Self::Retract(retract) => wire::Retract {
                indicator: retract.indicator.as_ref().map(Indicator::to_wire),
                reason: retract.reason as u32,
            }
            .encode_to_vec(),
            Self::Roster(signed) => {
                wire::SignedRoster { roster: signed.bytes.clone(), sig: signed.sig.to_vec() }.encode_to_vec()
            }
            Self::Announce(announce) => wire::Announce {
                addresses: announce.addresses.clone(),
                versions: announce.versions.clone(),
                reports: announce.reports,
            }
            .encode_to_vec(),
            Self::List(entries) => wire::ListEntries {
                list: entries.list.as_str().to_owned(),
                version: entries.version,
                add: entries.add.iter().map(Indicator::to_wire).collect(),
                remove: entries.remove.iter().map(Indicator::to_wire).collect(),
            }
            .encode_to_vec(),
        }
    }

    /// Reads the body of a message of `kind`.
    ///
    /// # Errors
    /// [`Malformed`], whoever made it.
    pub fn decode(kind: Kind, body: &[u8]) -> Result<Self, Malformed> {
        fn read<M: prost::Message + Default>(body: &[u8]) -> Result<M, Malformed> {
            M::decode(body).map_err(|_| Malformed::Undecodable)
        }
        Ok(match kind {
            Kind::Report => Self::Report(Report::from_wire(read(body)?)?),
            Kind::Block => Self::Block(block_from(read(body)?)?),
            Kind::Retract => Self::Retract(retract_from(&read(body)?)?),
            Kind::Roster => {
                let wire: wire::SignedRoster = read(body)?;
                let sig = wire.sig.try_into().map_err(|_| Malformed::Value("signature"))?;
                Self::Roster(SignedRoster { bytes: wire.roster, sig })
            }
            Kind::Announce => Self::Announce(announce_from(read(body)?)?),
            Kind::List => Self::List(list_from(&read(body)?)?),
        })
    }
}

impl Report {
    /// For the wire.
    pub fn to_wire(&self) -> wire::Report {
        wire::Report {
            indicator: Some(self.indicator.to_wire()),
            score: u32::from(self.score.0),
            confidence: u32::from(self.confidence.0),
            evidence: self.evidence.clone(),
            count: self.count,
            first_ms: self.first.0,
            last_ms: self.last.0,
            ports: self.services.iter().map(|s| u32::from(s.proto) << 16 | u32::from(s.port)).collect(),
            direction: match self.direction {
                Direction::Attacked => 1,
                Direction::Visited => 2,
                Direction::Unknown => 0,
            },
            tlp: match self.tlp {
                Tlp::Clear => 1,
                Tlp::Green => 2,
            },
        }
    }

    fn from_wire(wire: wire::Report) -> Result<Self, Malformed> {
        let indicator = Indicator::from_wire(&wire.indicator.ok_or(Malformed::Value("indicator"))?)?;
        if wire.evidence.len() > MAX_NAMED || wire.ports.len() > MAX_NAMED {
            return Err(Malformed::TooMany("evidence types or ports"));
        }
        if !wire.evidence.iter().all(|name| is_evidence_name(name)) {
            return Err(Malformed::Value("evidence type"));
        }
        if wire.first_ms > wire.last_ms {
            return Err(Malformed::Value("first and last"));
        }
        let service = |packed: &u32| {
            let proto = u8::try_from(packed >> 16).map_err(|_| Malformed::Value("port"))?;
            Ok(Service { proto, port: (packed & 0xffff) as u16 })
        };
        Ok(Self {
            indicator,
            score: Percent::from_wire(wire.score)?,
            confidence: Percent::from_wire(wire.confidence)?,
            evidence: wire.evidence,
            count: wire.count,
            first: Moment(wire.first_ms),
            last: Moment(wire.last_ms),
            services: wire.ports.iter().map(service).collect::<Result<_, Malformed>>()?,
            direction: match wire.direction {
                1 => Direction::Attacked,
                2 => Direction::Visited,
                _ => Direction::Unknown,
            },
            tlp: match wire.tlp {
                1 => Tlp::Clear,
                2 => Tlp::Green,
                _ => return Err(Malformed::Value("tlp")),
            },
        })
    }
}

/// Whether `name` has the form of an evidence type.
pub fn is_evidence_name(name: &str) -> bool {
    let letter = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
    (1..=48).contains(&name.len()) && name.bytes().all(letter)
}

fn block_from(wire: wire::BlockRequest) -> Result<BlockRequest, Malformed> {
    let duration = Duration::from_secs(u64::from(wire.duration_s));
    if duration.is_zero() || duration > BlockRequest::LONGEST {
        return Err(Malformed::Value("duration"));
    }
    Ok(BlockRequest {
        report: Report::from_wire(wire.report.ok_or(Malformed::Value("report"))?)?,
        action: match wire.action {
            1 => Action::From,
            2 => Action::To,
            3 => Action::Both,
            _ => return Err(Malformed::Value("action")),
        },
        duration,
        own_block: wire.own_block,
    })
}

fn retract_from(wire: &wire::Retract) -> Result<Retract, Malformed> {
    let indicator = wire.indicator.as_ref().map(Indicator::from_wire).transpose()?;
    let reason = match wire.reason {
        1 => Reason::FalsePositive,
        2 => Reason::Over,
        3 => Reason::AllowListed,
        4 => Reason::KeyCompromised,
        _ => return Err(Malformed::Value("reason")),
    };
    if indicator.is_none() != (reason == Reason::KeyCompromised) {
        return Err(Malformed::Value("what is retracted"));
    }
    Ok(Retract { indicator, reason })
}

fn announce_from(wire: wire::Announce) -> Result<Announce, Malformed> {
    if wire.addresses.len() > MAX_ADDRESSES || wire.versions.len() > MAX_NAMED {
        return Err(Malformed::TooMany("addresses or versions"));
    }
    let formed = |text: &String| {
        text.starts_with('/') && text.len() <= 128 && text.bytes().all(|b| b.is_ascii_graphic())
    };
    if !wire.addresses.iter().all(formed) {
        return Err(Malformed::Value("address"));
    }
    Ok(Announce { addresses: wire.addresses, versions: wire.versions, reports: wire.reports })
}

fn list_from(wire: &wire::ListEntries) -> Result<ListEntries, Malformed> {
    if wire.add.len() > MAX_ENTRIES || wire.remove.len() > MAX_ENTRIES {
        return Err(Malformed::TooMany("entries"));
    }
    let read =
        |entries: &[wire::Indicator]| entries.iter().map(Indicator::from_wire).collect::<Result<_, _>>();
    Ok(ListEntries {
        list: Name::new(&wire.list).ok_or(Malformed::Value("list"))?,
        version: wire.version,
        add: read(&wire.add)?,
        remove: read(&wire.remove)?,
    })
}
