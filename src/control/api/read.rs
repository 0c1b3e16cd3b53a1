//! What is answered from the database: pages of what was kept, at most a second old.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use slips_core::addr::{Net, canonical};
use slips_core::evidence::EvidenceKind;
use slips_core::time::PacketTime;
use slips_store::read::{
    AlertQuery, BlockQuery, Counts, EvidenceQuery, FlowLabel, FlowQuery, Order, Page, ReadError,
};
use slips_store::timeline::TimelineQuery;
use slips_store::{StoredProfile, Stories};

use super::Shared;
use super::call::{Call, Outcome, Reply};
use super::forms::{IdForm, IpForm, KindForm, LimitForm, MomentForm, NetForm, ToldForm};
use super::pool;
use super::problem::Problem;
use crate::daemon::sinks::wall_clock;

/// A moment: ISO 8601 with its zone, `2026-11-22T17:00:00Z`.
#[derive(Clone, Copy, Debug)]
struct Moment(PacketTime);

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let moment: jiff::Timestamp = text.parse().map_err(|_| {
            let text = text.escape_debug();
            serde::de::Error::custom(format!("`{text}` is no moment like 2026-11-22T17:00:00Z"))
        })?;
        Ok(Self(PacketTime(moment.as_microsecond())))
    }
}

/// Rows of a page.
#[derive(Clone, Copy, Debug)]
struct Limit(u32);

impl Default for Limit {
    fn default() -> Self {
        Self(Page::USUAL)
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let limit = u32::deserialize(from)?;
        match (1..=Page::MOST).contains(&limit) {
            true => Ok(Self(limit)),
            false => Err(serde::de::Error::custom(format!("limit: from 1 to {}", Page::MOST))),
        }
    }
}

/// Which page.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PageAsked {
    /// Rows at most; 100 where nothing is said.
    #[serde(default)]
    #[schemars(with = "Option<LimitForm>")]
    limit: Limit,
    /// `next` of the page before.
    after: Option<String>,
}

/// How much of an alert's story.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StoryAsked {
    /// Evidence at most, each with up to 64 flows; 20 where nothing is said.
    #[schemars(with = "Option<ToldForm>")]
    limit: Option<u32>,
    /// `next` of the page before.
    after: Option<String>,
}

/// Evidence of a story at most, and where nobody says how much: the flows behind it make an answer of some megabytes and of half a one.
pub const STORY_MOST: u32 = 100;
const STORY_USUAL: u32 = 20;

/// Of when a story is told.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TimelineAsked {
    /// Connections that are looked at, at most; 100 where nothing is said. Similar ones become one row, and findings are rows besides.
    #[serde(default)]
    #[schemars(with = "Option<LimitForm>")]
    limit: Limit,
    /// `next` of the page before.
    after: Option<String>,
    /// From this moment on.
    #[schemars(with = "Option<MomentForm>")]
    since: Option<Moment>,
    /// Up to this moment.
    #[schemars(with = "Option<MomentForm>")]
    until: Option<Moment>,
}

/// Which flows.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FlowsAsked {
    /// Rows at most; 100 where nothing is said.
    #[serde(default)]
    #[schemars(with = "Option<LimitForm>")]
    limit: Limit,
    /// `next` of the page before.
    after: Option<String>,
    /// From or to this address.
    #[schemars(with = "Option<IpForm>")]
    profile: Option<IpAddr>,
    /// That began at this moment or later.
    #[schemars(with = "Option<MomentForm>")]
    since: Option<Moment>,
    /// That began before this moment.
    #[schemars(with = "Option<MomentForm>")]
    until: Option<Moment>,
    /// With this label.
    label: Option<FlowLabel>,
    /// Which come first.
    #[serde(default)]
    order: Order,
}

/// A kind of evidence.
#[derive(Clone, Copy, Debug)]
struct KindName(EvidenceKind);

impl<'de> Deserialize<'de> for KindName {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        EvidenceKind::from_name(&text).map(Self).ok_or_else(|| {
            let text = text.escape_debug();
            serde::de::Error::custom(format!("kind: `{text}` is none; /v1/detections names them"))
        })
    }
}

/// Which evidence.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EvidenceAsked {
    /// Rows at most; 100 where nothing is said.
    #[serde(default)]
    #[schemars(with = "Option<LimitForm>")]
    limit: Limit,
    /// `next` of the page before.
    after: Option<String>,
    /// By or against this address.
    #[schemars(with = "Option<IpForm>")]
    profile: Option<IpAddr>,
    /// In the window of this number.
    window: Option<i64>,
    /// Of this kind: VERTICAL_PORT_SCAN.
    #[schemars(with = "Option<KindForm>")]
    kind: Option<KindName>,
    /// Last seen at this moment or later.
    #[schemars(with = "Option<MomentForm>")]
    since: Option<Moment>,
    /// First seen before this moment.
    #[schemars(with = "Option<MomentForm>")]
    until: Option<Moment>,
    /// Named by the alert of this identity, or of which it is the beginning.
    #[schemars(with = "Option<IdForm>")]
    alert: Option<String>,
    /// Which come first.
    #[serde(default)]
    order: Order,
}

/// Which alerts.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AlertsAsked {
    /// Rows at most; 100 where nothing is said.
    #[serde(default)]
    #[schemars(with = "Option<LimitForm>")]
    limit: Limit,
    /// `next` of the page before.
    after: Option<String>,
    /// About this address.
    #[schemars(with = "Option<IpForm>")]
    profile: Option<IpAddr>,
    /// In the window of this number.
    window: Option<i64>,
    /// Decided at this moment or later.
    #[schemars(with = "Option<MomentForm>")]
    since: Option<Moment>,
    /// Decided before this moment.
    #[schemars(with = "Option<MomentForm>")]
    until: Option<Moment>,
    /// Which come first.
    #[serde(default)]
    order: Order,
}

/// Which blocks.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BlocksAsked {
    /// Rows at most; 100 where nothing is said.
    #[serde(default)]
    #[schemars(with = "Option<LimitForm>")]
    limit: Limit,
    /// `next` of the page before.
    after: Option<String>,
    /// Also those that are over.
    #[serde(default)]
    all: bool,
    /// Only this address or network, as it was blocked.
    #[schemars(with = "Option<NetForm>")]
    net: Option<NetText>,
    /// Begun at this moment or later.
    #[schemars(with = "Option<MomentForm>")]
    since: Option<Moment>,
    /// Which come first.
    #[serde(default)]
    order: Order,
}

#[derive(Debug)]
struct NetText(Net);

impl<'de> Deserialize<'de> for NetText {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

/// All that is known of one address.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Profile {
    /// The address.
    ip: String,
    /// What traffic and its evidence told.
    #[serde(flatten)]
    profile: StoredProfile,
}

/// The figures of the database.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Statistics {
    /// What is kept.
    kept: Counts,
    /// The daemon's own, since its start.
    daemon: super::types::Status,
}

fn page<'a>(limit: Limit, after: &'a Option<String>) -> Page<'a> {
    Page { limit: limit.0, after: after.as_deref().filter(|after| !after.is_empty()) }
}

/// A page as JSON, or why there is none.
fn told(rows: Result<impl Serialize, ReadError>) -> Outcome {
    match rows {
        Ok(rows) => Reply::of(&rows),
        Err(error) => Err(problem(error)),
    }
}

fn problem(error: ReadError) -> Problem {
    match error {
        ReadError::Store(error) => pool::problem(error),
        error => Problem::bad(error),
    }
}

fn address(call: &Call) -> Result<IpAddr, Problem> {
    call.place(0).map(canonical)
}

/// Those whose places and query say so.
pub fn flows(stories: &Stories, call: &Call, _: &Shared) -> Outcome {
    let asked: FlowsAsked = call.query()?;
    let query = FlowQuery {
        profile: asked.profile.map(canonical),
        since: asked.since.map(|at| at.0),
        until: asked.until.map(|at| at.0),
        label: asked.label,
        order: asked.order,
        ..FlowQuery::default()
    };
    told(stories.flows(&query, page(asked.limit, &asked.after)))
}

/// See [`flows`].
pub fn evidence(stories: &Stories, call: &Call, _: &Shared) -> Outcome {
    let asked: EvidenceAsked = call.query()?;
    let query = EvidenceQuery {
        profile: asked.profile.map(canonical),
        window: asked.window,
        kind: asked.kind.map(|kind| kind.0.name().to_owned()),
        since: asked.since.map(|at| at.0),
        until: asked.until.map(|at| at.0),
        alert: asked.alert.map(|id| alert_of(stories, &id)).transpose()?,
        order: asked.order,
    };
    told(stories.evidence(&query, page(asked.limit, &asked.after)))
}

/// See [`flows`].
pub fn alerts(stories: &Stories, call: &Call, _: &Shared) -> Outcome {
    let asked: AlertsAsked = call.query()?;
    let query = AlertQuery {
        profile: asked.profile.map(canonical),
        window: asked.window,
        since: asked.since.map(|at| at.0),
        until: asked.until.map(|at| at.0),
        order: asked.order,
    };
    told(stories.alerts(&query, page(asked.limit, &asked.after)))
}

/// The identity of the alert that has this one, or whose identity begins so.
fn alert_of(stories: &Stories, id: &str) -> Result<String, Problem> {
    let fits = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c) || c == b'-';
    if !(4..=36).contains(&id.len()) || !id.bytes().all(fits) {
        return Err(Problem::bad("an identity, or at least four of its first characters"));
    }
    let mut found = stories.find(id, 2).map_err(pool::problem)?;
    match (found.pop(), found.pop()) {
        (Some(found), None) => Ok(found),
        (Some(_), Some(_)) => Err(Problem::bad(format!("several alerts begin with {id}"))),
        (None, _) => Err(Problem::absent(format!("there is no alert {id}"))),
    }
}

/// The story of an alert, by its identity or the beginning of it.
pub fn alert(stories: &Stories, call: &Call, _: &Shared) -> Outcome {
    let asked: StoryAsked = call.query()?;
    let limit = asked.limit.unwrap_or(STORY_USUAL);
    if !(1..=STORY_MOST).contains(&limit) {
        return Err(Problem::bad(format!("limit: from 1 to {STORY_MOST}")));
    }
    let id = alert_of(stories, call.path.first().map(String::as_str).unwrap_or_default())?;
    match stories.tell(&id, page(Limit(limit), &asked.after)).map_err(problem)? {
        Some(story) => Reply::of(&story),
        None => Err(Problem::absent(format!("there is no alert {id}"))),
    }
}

/// See [`flows`]; of the book.
pub fn blocks(stories: &Stories, call: &Call, _: &Shared) -> Outcome {
    let asked: BlocksAsked = call.query()?;
    let query = BlockQuery {
        live_at: (!asked.all).then(|| PacketTime(wall_clock())),
        net: asked.net.map(|net| net.0),
        since: asked.since.map(|at| at.0),
        order: asked.order,
    };
    told(stories.blocks(&query, page(asked.limit, &asked.after)))
}

/// Who was seen.
pub fn profiles(stories: &Stories, call: &Call, _: &Shared) -> Outcome {
    let asked: PageAsked = call.query()?;
    told(stories.profiles(page(asked.limit, &asked.after)))
}

/// All of one.
pub fn profile(stories: &Stories, call: &Call, _: &Shared) -> Outcome {
    let ip = address(call)?;
    match stories.profile(ip).map_err(pool::problem)? {
        Some(profile) => Reply::of(&Profile { ip: ip.to_string(), profile }),
        None => Err(Problem::absent(format!("nothing is known of {ip}"))),
    }
}

/// Its time windows with evidence.
pub fn windows(stories: &Stories, call: &Call, _: &Shared) -> Outcome {
    let asked: PageAsked = call.query()?;
    told(stories.windows(address(call)?, page(asked.limit, &asked.after)))
}

/// What it did, in lines.
pub fn timeline(stories: &Stories, call: &Call, _: &Shared) -> Outcome {
    let asked: TimelineAsked = call.query()?;
    let query = TimelineQuery {
        profile: address(call)?,
        since: asked.since.map(|at| at.0),
        until: asked.until.map(|at| at.0),
    };
    told(stories.timeline(&query, page(asked.limit, &asked.after)))
}

/// How much there is.
pub fn statistics(stories: &Stories, _: &Call, shared: &Shared) -> Outcome {
    let daemon = shared.status();
    let kept = stories.counts_beside(daemon.blocks).map_err(problem)?;
    Reply::of(&Statistics { kept, daemon })
}
