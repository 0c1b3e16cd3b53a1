//! What may be asked: one table, of which the router and the description are made.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody, to_bytes};
use axum::extract::{FromRequestParts, RawPathParams, Request};
use axum::http::header::CONTENT_LENGTH;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use slips_store::Stories;
use tokio::time::timeout;

use super::access::Access;
use super::call::{Call, Outcome, Reply};
use super::clients::Doing;
use super::overdue::GivenUp;
use super::problem::{Code, Problem, not_allowed};
use super::serve::Who;
use super::{Shared, events};
use crate::control::{Ask, Undone, hand_over};

/// Longest body, in bytes.
const MAX_BODY: usize = 64 << 10;
/// How much of a longer one is read before it is refused.
const MAX_DRAINED: usize = 1 << 20;
/// How long a client may take to send it.
const SENDING: Duration = Duration::from_secs(5);
/// How long a request waits for its turn to read or to ask.
const TURN: Duration = Duration::from_secs(2);

/// The description of a type.
pub type Described = fn(&mut SchemaGenerator) -> Schema;

/// Of this type.
pub fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// How something is answered.
pub enum Work {
    /// From what is in memory.
    Now(fn(&Shared, &Call) -> Outcome),
    /// By reading files, in a thread for that.
    Read(fn(&Shared, &Call) -> Outcome),
    /// By reading a database, in such a thread.
    Look(Database, fn(&Stories, &Call, &Shared) -> Outcome),
    /// By asking who is concerned; the answer is JSON already, or a sentence.
    Ask(fn(&Call) -> Result<Ask, Problem>, fn(String) -> Outcome),
    /// By changing files and asking who is concerned, in a thread for that.
    Change(fn(&Shared, &Call) -> Outcome),
    /// By events as they happen.
    Follow,
}

/// Which database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Database {
    /// What was seen.
    Flows,
    /// The book of blocks.
    Book,
}

/// What is answered.
pub enum Answers {
    /// JSON of this type.
    Json(Described),
    /// Text of this type of media.
    Text(&'static str),
    /// Events, without end; the data of each by its name.
    Events(Described),
}

/// How something is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// What changes nothing.
    Get,
    /// What does.
    Post,
    /// What takes something away.
    Delete,
}

impl Verb {
    /// As HTTP has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Delete => "DELETE",
        }
    }

    const fn filter(self) -> MethodFilter {
        match self {
            Self::Get => MethodFilter::GET,
            Self::Post => MethodFilter::POST,
            Self::Delete => MethodFilter::DELETE,
        }
    }
}

/// A place in a path.
pub struct Place {
    /// Its name.
    pub name: &'static str,
    /// What stands there.
    pub about: &'static str,
    /// Its form.
    pub of: Described,
}

/// One thing that may be asked.
pub struct Route {
    /// How.
    pub verb: Verb,
    /// Where, as the description has it.
    pub path: &'static str,
    /// Its name for programs.
    pub id: &'static str,
    /// What it is, in a line.
    pub summary: &'static str,
    /// Who may.
    pub access: Access,
    /// What stands in the path's places.
    pub places: &'static [Place],
    /// What the query may say.
    pub query: Option<Described>,
    /// What is sent.
    pub body: Option<Described>,
    /// What is answered.
    pub answers: Answers,
    /// Errors beyond those that all have.
    pub errors: &'static [Code],
    /// How.
    pub work: Work,
}

impl Route {
    /// The path as the router has it: a network may hold a slash.
    fn pattern(&self) -> String {
        self.path.replace("{net}", "{*net}").replace("{what}", "{*what}")
    }
}

/// The router of all of them.
pub fn router(shared: &Arc<Shared>, table: &[&'static Route]) -> Router {
    let mut router = Router::new();
    let mut paths: Vec<&str> = table.iter().map(|route| route.path).collect();
    paths.dedup();
    for path in paths {
        let routes: Vec<&'static Route> = table.iter().copied().filter(|route| route.path == path).collect();
        let allowed: Vec<&str> = routes.iter().map(|route| route.verb.name()).collect();
        let allowed = allowed.join(", ");
        let mut methods = MethodRouter::new().fallback(move || {
            let allowed = allowed.clone();
            async move { not_allowed(&allowed) }
        });
        let mut pattern = path.to_owned();
        for route in routes {
            pattern = route.pattern();
            let shared = Arc::clone(shared);
            methods = methods.on(route.verb.filter(), move |request: Request| answer(shared, route, request));
        }
        router = router.route(&pattern, methods);
    }
    router.fallback(|| async {
        Problem::absent("there is nothing at this path; /v1/openapi.json tells what there is")
    })
}

async fn answer(shared: Arc<Shared>, route: &'static Route, request: Request) -> Response {
    match answered(shared, route, request).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

async fn answered(shared: Arc<Shared>, route: &'static Route, request: Request) -> Result<Response, Problem> {
    let (mut head, body) = request.into_parts();
    let Some(who) = head.extensions.get::<Who>().cloned() else {
        return Err(Problem::new(Code::Forbidden, "nobody knows who asks"));
    };
    if who.access < route.access {
        let needs = match route.access {
            Access::Change => "this takes root or a member of the group slips",
            _ => "only root, the daemon's user and members of the group slips may ask",
        };
        return Err(Problem::new(Code::Forbidden, needs));
    }
    let places = RawPathParams::from_request_parts(&mut head, &())
        .await
        .map_err(|error| Problem::bad(error.body_text()))?;
    let path = places.iter().map(|(_, text)| text.to_owned()).collect();
    let sent =
        head.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    let too_large = || Problem::new(Code::TooLarge, format!("a body has {MAX_BODY} bytes at most"));
    if sent.is_some_and(|length| length > MAX_BODY) {
        // Who is still sending when we close hears nothing of why.
        let _ = timeout(SENDING, drain(body)).await;
        return Err(too_large());
    }
    let body = match route.body {
        Some(_) => match timeout(SENDING, to_bytes(body, MAX_BODY)).await {
            Ok(Ok(body)) => body,
            Ok(Err(_)) => return Err(too_large()),
            Err(_) => return Err(Problem::new(Code::TooSlow, "the body did not come")),
        },
        None => Default::default(),
    };
    let last_event = head.headers.get("last-event-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
    let call = Call { path, uri: head.uri, body, last_event };
    who.client.now(Doing::Asks);
    match route.work {
        Work::Now(work) => work(&shared, &call).map(Reply::into_response),
        Work::Read(work) => read(&shared, |_| work(&shared, &call)).await.map(Reply::into_response),
        Work::Look(database, work) => {
            let look = |given: &Arc<GivenUp>| {
                shared.pool(database).read(|stories| {
                    given.may_end(stories.interrupter());
                    let outcome = work(stories, &call, &shared);
                    given.done();
                    outcome
                })
            };
            read(&shared, look).await.map(Reply::into_response)
        }
        Work::Ask(asked, said) => {
            let answer = ask(&shared, asked(&call)?).await?;
            said(answer).map(Reply::into_response)
        }
        Work::Change(work) => change(shared, call, work).await.map(Reply::into_response),
        Work::Follow => events::follow(&shared, &call, &who.client),
    }
}

/// Reads a body and forgets it, up to a size beyond which nobody means it.
async fn drain(mut body: Body) {
    let mut left = MAX_DRAINED;
    while let Some(Ok(part)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let Some(rest) = left.checked_sub(part.data_ref().map_or(0, Bytes::len)) else { return };
        left = rest;
    }
}

/// Reads where the request was understood. One of the runtime's other threads goes on with the other clients meanwhile: to wake a thread
/// for each reading, and to be woken by it, takes longer than most answers where all processors are busy.
async fn read(shared: &Shared, work: impl FnOnce(&Arc<GivenUp>) -> Outcome) -> Outcome {
    let Ok(Ok(_turn)) = timeout(TURN, shared.reading.acquire()).await else { return Err(busy()) };
    tokio::task::block_in_place(|| {
        let given = Arc::new(GivenUp::default());
        let _watched = shared.overdue.over(&given);
        work(&given)
    })
}

/// Changes files, and asks who is concerned.
async fn change(shared: Arc<Shared>, call: Call, work: fn(&Shared, &Call) -> Outcome) -> Outcome {
    let turn = timeout(TURN, Arc::clone(&shared.asking).acquire_owned()).await;
    let Ok(Ok(turn)) = turn else { return Err(busy()) };
    let done = tokio::task::spawn_blocking(move || {
        let outcome = work(&shared, &call);
        drop(turn);
        outcome
    });
    done.await.unwrap_or_else(|_| Err(Problem::new(Code::Unavailable, "the daemon is ending")))
}

/// Asks who is concerned, and waits for the answer.
async fn ask(shared: &Arc<Shared>, ask: Ask) -> Result<String, Problem> {
    let turn = timeout(TURN, Arc::clone(&shared.asking).acquire_owned()).await;
    let Ok(Ok(turn)) = turn else { return Err(busy()) };
    let ends = Arc::clone(&shared.ends);
    let done = tokio::task::spawn_blocking(move || {
        let answer = hand_over(ask, &ends);
        drop(turn);
        answer
    });
    match done.await {
        Ok(Ok(text)) => Ok(text),
        Ok(Err(undone)) => {
            let code = match undone {
                Undone::Busy => Code::Busy,
                Undone::Unended => Code::TooSlow,
                Undone::Refused(_) => Code::Refused,
            };
            Err(Problem::new(code, undone.to_string()))
        }
        Err(_) => Err(Problem::new(Code::Unavailable, "the daemon is ending")),
    }
}

fn busy() -> Problem {
    Problem::new(Code::Busy, Undone::Busy.to_string())
}
