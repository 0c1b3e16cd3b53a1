//! All that may be asked. A new call is a row here, and a handler.

use slips_core::addr::Net;
use slips_store::Story;
use slips_store::read::{AlertRow, Judged, ProfileRow, Rows, StoredBlock, StoredEvidence, StoredFlow};
use slips_store::timeline::TimelineLine;

use super::access::Access;
use super::allow::{self, AllowedNow};
use super::call::Reply;
use super::events::Followed;
use super::forms::{IdForm, IpForm, NetForm, TextForm};
use super::lookups::{self, Checked, Detection, Lookup};
use super::news::Events;
use super::openapi;
use super::problem::{Code, Problem};
use super::read::{
    self, AlertsAsked, BlocksAsked, EvidenceAsked, FlowsAsked, PageAsked, Profile, Statistics, StoryAsked,
    TimelineAsked,
};
use super::routes::{Answers, Database, Place, Route, Verb, Work, of};
use super::types::{Done, Explained, Firewall, Fleet, NewBlock, Pause, Peers, Status};
use crate::allowed::{Allowed, Wish};
use crate::control::{Ask, PeersAsk};

/// In the order of the paths, so that the methods of one stand together.
pub static TABLE: &[Route] = &[
    Route {
        summary: "How the daemon is: what it watches, how much goes through, what was lost",
        work: Work::Now(|shared, _| Reply::of(&shared.status())),
        ..get("/v1/status", "status", Answers::Json(of::<Status>))
    },
    Route {
        summary: "The routers on one Redis, as each tells of itself; an error where there is no Redis",
        work: Work::Now(|shared, _| Reply::of(&shared.fleet()?)),
        errors: &[Code::NotFound],
        ..get("/v1/fleet", "fleet", Answers::Json(of::<Fleet>))
    },
    Route {
        summary: "How blocking stands, and who is never blocked",
        work: Work::Ask(|_| Ok(Ask::Status), json),
        errors: ASKED,
        ..get("/v1/firewall", "firewall", Answers::Json(of::<Firewall>))
    },
    Route {
        summary: "Let everybody pass for a while",
        body: Some(of::<Pause>),
        work: Work::Ask(|call| Ok(Ask::Pause(seconds(call.body::<Pause>()?.seconds, 86_400)?)), done),
        ..post("/v1/firewall/pause", "pause")
    },
    Route {
        summary: "End a pause",
        work: Work::Ask(|_| Ok(Ask::Resume), done),
        ..post("/v1/firewall/resume", "resume")
    },
    Route {
        summary: "Try whether a packet to a blocked address is really dropped",
        work: Work::Ask(|_| Ok(Ask::SelfTest), done),
        ..post("/v1/firewall/self-test", "self_test")
    },
    Route {
        summary: "Lift all blocks and take everything of Slips out of the kernel's firewall",
        work: Work::Ask(|_| Ok(Ask::Flush), done),
        ..post("/v1/firewall/flush", "flush")
    },
    Route {
        summary: "Who is blocked, and who was",
        query: Some(of::<BlocksAsked>),
        work: Work::Look(Database::Book, read::blocks),
        errors: LOOK,
        ..get("/v1/blocks", "blocks", Answers::Json(of::<Rows<StoredBlock>>))
    },
    Route {
        summary: "Block an address or a network",
        body: Some(of::<NewBlock>),
        work: Work::Ask(
            |call| {
                let NewBlock { net, seconds: secs, why } = call.body()?;
                let net = net.parse::<Net>().map_err(Problem::bad)?;
                if why.chars().count() > 100 {
                    return Err(Problem::bad("why: 100 characters at most"));
                }
                Ok(Ask::Block { net, secs: seconds(secs, 31_536_000)?, why })
            },
            done,
        ),
        ..post("/v1/blocks", "block")
    },
    Route {
        summary: "Why an address or a network is blocked, or is not",
        places: NET,
        work: Work::Ask(|call| Ok(Ask::Explain(call.place(0)?)), json),
        errors: ASKED,
        ..get("/v1/blocks/{net}", "explain_block", Answers::Json(of::<Explained>))
    },
    Route {
        summary: "Let an address or a network in again",
        verb: Verb::Delete,
        places: NET,
        work: Work::Ask(|call| Ok(Ask::Unblock(call.place(0)?)), done),
        ..post("/v1/blocks/{net}", "unblock")
    },
    Route {
        summary: "How peers stand: who is connected, how far each is believed",
        work: Work::Ask(|_| Ok(Ask::Peers(PeersAsk::Status)), json),
        errors: ASKED,
        ..get("/v1/peers", "peers", Answers::Json(of::<Peers>))
    },
    Route {
        summary: "The addresses that were seen, in the order of their texts",
        query: Some(of::<PageAsked>),
        work: Work::Look(Database::Flows, read::profiles),
        errors: LOOK,
        ..get("/v1/profiles", "profiles", Answers::Json(of::<Rows<ProfileRow>>))
    },
    Route {
        summary: "All that is known of an address",
        places: IP,
        work: Work::Look(Database::Flows, read::profile),
        errors: FOUND,
        ..get("/v1/profiles/{ip}", "profile", Answers::Json(of::<Profile>))
    },
    Route {
        summary: "What a host did, line by line, in the order of time: its connections with what was said in them, evidence and alerts",
        places: IP,
        query: Some(of::<TimelineAsked>),
        work: Work::Look(Database::Flows, read::timeline),
        errors: LOOK,
        ..get("/v1/profiles/{ip}/timeline", "timeline", Answers::Json(of::<Rows<TimelineLine>>))
    },
    Route {
        summary: "The time windows in which there is evidence about an address, the latest first",
        places: IP,
        query: Some(of::<PageAsked>),
        work: Work::Look(Database::Flows, read::windows),
        errors: LOOK,
        ..get("/v1/profiles/{ip}/windows", "windows", Answers::Json(of::<Rows<Judged>>))
    },
    Route {
        summary: "Flows that ended",
        query: Some(of::<FlowsAsked>),
        work: Work::Look(Database::Flows, read::flows),
        errors: LOOK,
        ..get("/v1/flows", "flows", Answers::Json(of::<Rows<StoredFlow>>))
    },
    Route {
        summary: "Evidence",
        query: Some(of::<EvidenceAsked>),
        work: Work::Look(Database::Flows, read::evidence),
        errors: FOUND,
        ..get("/v1/evidence", "evidence", Answers::Json(of::<Rows<StoredEvidence>>))
    },
    Route {
        summary: "Alerts",
        query: Some(of::<AlertsAsked>),
        work: Work::Look(Database::Flows, read::alerts),
        errors: LOOK,
        ..get("/v1/alerts", "alerts", Answers::Json(of::<Rows<AlertRow>>))
    },
    Route {
        summary: "The story of an alert: its evidence page by page, the flows behind each, what was done",
        places: ID,
        query: Some(of::<StoryAsked>),
        work: Work::Look(Database::Flows, read::alert),
        errors: FOUND,
        ..get("/v1/alerts/{id}", "alert", Answers::Json(of::<Story>))
    },
    Route {
        summary: "What happens, as it happens",
        query: Some(of::<Followed>),
        work: Work::Follow,
        errors: &[Code::Busy],
        ..get("/v1/events", "events", Answers::Events(of::<Events>))
    },
    Route {
        summary: "How much is kept, and how the daemon is",
        work: Work::Look(Database::Flows, read::statistics),
        errors: LOOK,
        ..get("/v1/statistics", "statistics", Answers::Json(of::<Statistics>))
    },
    Route {
        summary: "What the lists say of an address, a name, a URL, a file's hash or a fingerprint",
        places: WHAT,
        work: Work::Read(lookups::listed),
        errors: READ,
        ..get("/v1/intel/lookup/{what}", "lookup", Answers::Json(of::<Lookup>))
    },
    Route {
        summary: "What `slips allow` left alone, beside the whitelist's file",
        work: Work::Read(allow::list),
        errors: LOOK,
        ..get("/v1/whitelist/allowed", "allowed", Answers::Json(of::<Vec<Allowed>>))
    },
    Route {
        verb: Verb::Post,
        access: Access::Change,
        summary: "Leave something alone from now on: its blocks are lifted, and nobody blocks it any more",
        body: Some(of::<Wish>),
        work: Work::Change(allow::add),
        errors: LOOK,
        ..get("/v1/whitelist/allowed", "allow", Answers::Json(of::<AllowedNow>))
    },
    Route {
        verb: Verb::Delete,
        access: Access::Change,
        summary: "Let something that was left alone count again; what that was",
        places: WHAT,
        work: Work::Change(allow::remove),
        errors: FOUND,
        ..get("/v1/whitelist/allowed/{what}", "disallow", Answers::Json(of::<Vec<Allowed>>))
    },
    Route {
        summary: "Which rules of the whitelist are about an address, a name, a hardware address or an organisation",
        places: WHAT,
        work: Work::Read(lookups::checked),
        errors: READ,
        ..get("/v1/whitelist/check/{what}", "check_whitelist", Answers::Json(of::<Checked>))
    },
    Route {
        summary: "What is looked for, from which numbers on, and how it is configured",
        work: Work::Read(lookups::detections),
        errors: READ,
        ..get("/v1/detections", "detections", Answers::Json(of::<Vec<Detection>>))
    },
    Route {
        summary: "Read configuration, lists and peers again; a file that is wrong changes nothing",
        work: Work::Ask(|_| Ok(Ask::Reload), done),
        ..post("/v1/reload", "reload")
    },
    Route {
        summary: "This description (OpenAPI 3.1)",
        work: Work::Read(|_, _| Ok(Reply::Told(openapi::told()))),
        errors: READ,
        ..get("/v1/openapi.json", "openapi", Answers::Json(openapi::any))
    },
    Route {
        summary: "All figures, as Prometheus reads them",
        access: Access::Figures,
        work: Work::Now(|shared, _| Ok(Reply::Text(METRICS, shared.metrics()))),
        ..get("/metrics", "metrics", Answers::Text(METRICS))
    },
];

/// What may be had at the address of the figures.
pub fn figures() -> impl Iterator<Item = &'static Route> {
    TABLE.iter().filter(|route| route.access <= Access::Figures)
}

/// What comes of asking a part of the daemon.
const ASKED: &[Code] = &[Code::Refused, Code::Busy, Code::TooSlow];
/// What comes of reading.
const READ: &[Code] = &[Code::Busy, Code::TooSlow];
const LOOK: &[Code] = &[Code::Busy, Code::TooSlow, Code::Unavailable];
const FOUND: &[Code] = &[Code::NotFound, Code::Busy, Code::TooSlow, Code::Unavailable];
const IP: &[Place] = &[Place { name: "ip", about: "An address", of: of::<IpForm> }];
const ID: &[Place] = &[Place {
    name: "id",
    about: "An alert's identity, or at least four of its first characters",
    of: of::<IdForm>,
}];
const WHAT: &[Place] = &[Place { name: "what", about: "What to look for", of: of::<TextForm> }];
const NET: &[Place] = &[Place {
    name: "net",
    about: "An address or a network; its slash may be written %2F",
    of: of::<NetForm>,
}];
/// Prometheus' format.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

const fn get(path: &'static str, id: &'static str, answers: Answers) -> Route {
    Route {
        verb: Verb::Get,
        path,
        id,
        summary: "",
        access: Access::Read,
        places: &[],
        query: None,
        body: None,
        answers,
        errors: &[],
        work: Work::Now(|_, _| Err(Problem { code: Code::NotFound, message: String::new() })),
    }
}

/// What changes something.
const fn post(path: &'static str, id: &'static str) -> Route {
    Route {
        verb: Verb::Post,
        access: Access::Change,
        errors: ASKED,
        ..get(path, id, Answers::Json(of::<Done>))
    }
}

/// An answer that is JSON.
fn json(text: String) -> super::call::Outcome {
    Ok(Reply::Json(text.into_bytes()))
}

/// An answer that is a sentence.
fn done(text: String) -> super::call::Outcome {
    Reply::of(&Done { done: text })
}

fn seconds(secs: u64, most: u64) -> Result<u64, Problem> {
    match (1..=most).contains(&secs) {
        true => Ok(secs),
        false => Err(Problem::bad(format!("seconds: from 1 to {most}"))),
    }
}
