//! What is told: JSON with the layout's version and the router's name. The same words come from a record and from its row in the database,
//! so that what is mirrored while it happens and what is mirrored anew later are equal.

use serde::{Deserialize, Serialize};
use slips_core::addr::LocalNets;
use slips_core::alert::{Alert, Cause};
use slips_core::event::Event;
use slips_core::evidence::{Entity, Evidence, Proof};
use slips_core::flow::Phase;
use slips_core::time::{PacketTime, WindowId, WindowWidth};

use super::keys::{Channel, profile, timewindow};
use super::{VERSION, Word};
use crate::render::{escape, iso};
use crate::sqlite::{Block, ProtoText};
use crate::zeek;

/// An address, a name or whatever else somebody is known by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Party {
    /// `ip`, `domain`, `url`, `mac`, or `many`.
    pub ioc_type: String,
    /// Itself.
    pub value: String,
}

/// An address in an object of its own, as the original has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OfProfile {
    /// The address.
    pub ip: String,
}

/// A time window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TimeWindow {
    /// Its number, aligned to the epoch.
    pub number: i64,
    /// Its first moment, and the first one after it.
    pub start_time: String,
    /// See `start_time`.
    pub end_time: String,
}

impl TimeWindow {
    /// The window, when all are so wide.
    pub fn new(window: WindowId, width: WindowWidth) -> Self {
        let (start_time, end_time) = (iso(width.start_of(window)), iso(width.end_of(window)));
        Self { number: window.0, start_time, end_time }
    }
}

/// An evidence as it stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "named as the original's; docs/redis.md has each with its meaning")]
pub struct EvidenceTold {
    pub version: u32,
    pub router: String,
    pub id: String,
    pub evidence_type: String,
    pub description: String,
    pub attacker: Party,
    pub victim: Option<Party>,
    pub threat_level: String,
    pub confidence: f64,
    pub profile: OfProfile,
    pub timewindow: TimeWindow,
    /// The flows behind it, in the order of their names.
    pub uid: Vec<String>,
    pub timestamp: String,
    pub last_seen: String,
    pub proto: Option<String>,
    pub src_port: Option<u16>,
    pub dst_port: Option<u16>,
    pub rel_id: Vec<String>,
    pub count: i64,
    pub weight: f64,
    /// The attacker's sum in the window after it.
    pub accumulated_threat_level: f64,
    pub proven: bool,
}

impl EvidenceTold {
    /// As the engine tells it.
    pub fn new(evidence: &Evidence, router: &Word, width: WindowWidth) -> Self {
        let finding = &evidence.finding;
        let uids = finding.uids.iter().filter(|uid| !uid.is_empty());
        let mut uid: Vec<String> = uids.map(|uid| uid.as_str().to_owned()).collect();
        uid.sort_unstable();
        Self {
            version: VERSION,
            router: router.to_string(),
            id: evidence.id.to_string(),
            evidence_type: finding.kind.name().into(),
            description: escape(&finding.text).into_owned(),
            attacker: party(&finding.attacker),
            victim: finding.victim.as_ref().map(party),
            threat_level: finding.level.name().into(),
            confidence: finding.confidence.get(),
            profile: OfProfile { ip: finding.profile.to_string() },
            timewindow: TimeWindow::new(finding.window, width),
            uid,
            timestamp: iso(finding.at),
            last_seen: iso(evidence.last_seen),
            proto: finding.proto.map(|proto| ProtoText(proto).to_string()),
            src_port: finding.src_port,
            dst_port: finding.dst_port,
            rel_id: finding.related.iter().map(ToString::to_string).collect(),
            count: evidence.count.into(),
            weight: evidence.weight(),
            accumulated_threat_level: evidence.accumulated,
            proven: finding.proof == Proof::Proven,
        }
    }
}

fn party(entity: &Entity) -> Party {
    let ioc_type = match entity {
        Entity::Ip(_) => "ip",
        Entity::Domain(_) => "domain",
        Entity::Url(_) => "url",
        Entity::Mac(_) => "mac",
        Entity::Many => "many",
    };
    Party { ioc_type: ioc_type.into(), value: entity.to_string() }
}

/// An alert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "named as the original's; docs/redis.md has each with its meaning")]
pub struct AlertTold {
    pub version: u32,
    pub router: String,
    pub id: String,
    pub profile: OfProfile,
    pub timewindow: TimeWindow,
    pub accumulated_threat_level: f64,
    /// Its evidence; the deciding one last.
    pub correl_id: Vec<String>,
    pub last_flow_datetime: String,
    pub threat_level: String,
    pub confidence: f64,
    pub cause: String,
    pub proven: bool,
    pub in_conversation: bool,
    pub attacker_is_local: bool,
    /// The deciding evidence; on the channel only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_evidence: Option<EvidenceTold>,
}

impl AlertTold {
    /// As the engine tells it, without the deciding evidence.
    pub fn new(alert: &Alert, router: &Word) -> Self {
        let cause = match alert.cause {
            Cause::Accumulated => "accumulated",
            Cause::Critical => "critical",
            Cause::Assisted => "assisted",
        };
        Self {
            version: VERSION,
            router: router.to_string(),
            id: alert.id.to_string(),
            profile: OfProfile { ip: alert.attacker.to_string() },
            timewindow: TimeWindow {
                number: alert.window.0,
                start_time: iso(alert.window_start),
                end_time: iso(alert.window_end),
            },
            accumulated_threat_level: alert.accumulated,
            correl_id: alert.evidence.iter().map(|evidence| evidence.id.to_string()).collect(),
            last_flow_datetime: iso(alert.at),
            threat_level: "critical".into(),
            confidence: alert.confidence.get(),
            cause: cause.into(),
            proven: alert.proof == Proof::Proven,
            in_conversation: alert.in_conversation,
            attacker_is_local: alert.attacker_is_local,
            last_evidence: None,
        }
    }
}

/// A block, or its end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "named as the original's; docs/redis.md has each with its meaning")]
pub struct BlockTold {
    pub version: u32,
    pub router: String,
    /// Address or network.
    pub ip: String,
    pub block: bool,
    pub source: String,
    pub reason: String,
    pub alert: Option<String>,
    pub manner: String,
    pub unproven: bool,
    pub from: String,
    pub until: Option<String>,
}

impl BlockTold {
    /// As the book has it.
    pub fn new(block: &Block, router: &Word) -> Self {
        let asked = &block.asked;
        Self {
            version: VERSION,
            router: router.to_string(),
            ip: asked.net.to_string(),
            block: true,
            source: asked.source.clone(),
            reason: escape(&asked.reason).into_owned(),
            alert: asked.alert.map(|alert| alert.to_string()),
            manner: asked.manner.clone(),
            unproven: asked.unproven,
            from: iso(PacketTime(asked.from)),
            until: asked.until.map(|until| iso(PacketTime(until))),
        }
    }
}

/// JSON of what cannot fail to be JSON.
pub(super) fn json(told: &impl Serialize) -> String {
    serde_json::to_string(told).unwrap_or_default()
}

/// Whether it is told of later: a flow that has not ended.
pub(super) fn goes_on(event: &Event) -> bool {
    matches!(event, Event::Flow(flow) if flow.phase != Phase::End)
}

/// The channel of an event, and what is told there; none for what has no channel, or still goes on.
pub(super) fn traffic(
    event: &Event,
    local: &LocalNets,
    router: &Word,
    width: WindowWidth,
) -> Option<(Channel, String)> {
    let channel = channel_of(event)?;
    let record = zeek::json(event, local)?;
    let at = event.time();
    let host = match event {
        Event::Flow(flow) => Some(flow.src.addr),
        Event::Arp(arp) => Some(arp.sender),
        other => other.about().map(|about| about.src.addr),
    };
    let profile = host.map_or_else(|| "null".into(), |host| format!("\"{}\"", profile(host)));
    // Names and words above need no escape, and the record is JSON.
    let told = format!(
        "{{\"version\":{VERSION},\"router\":\"{router}\",\"profileid\":{profile},\"twid\":\"{}\",\"flow\":{record}}}",
        timewindow(width.window_of(at)),
    );
    Some((channel, told))
}

/// The channel that tells of such an event.
pub(super) const fn channel_of(event: &Event) -> Option<Channel> {
    Some(match event {
        Event::Flow(_) => Channel::Flow,
        Event::Dns(_) => Channel::Dns,
        Event::Http(_) => Channel::Http,
        Event::Tls(_) => Channel::Ssl,
        Event::Ssh(_) => Channel::Ssh,
        Event::Arp(_) => Channel::Arp,
        Event::Dhcp(_) => Channel::Dhcp,
        Event::Smtp(_) => Channel::Smtp,
        Event::Software(_) => Channel::Software,
        Event::File(_) => Channel::File,
        Event::Notice(_) => Channel::Notice,
        Event::Weird(_) => Channel::Weird,
        Event::Tunnel(_) => Channel::Tunnel,
        Event::Login(_) => Channel::Login,
        _ => return None,
    })
}
