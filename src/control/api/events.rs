//! Events as they happen: server-sent events, without end.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::Response;
use hyper::body::Frame;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::time::timeout;

use super::Shared;
use super::call::Call;
use super::clients::{Client, Doing};
use super::news::{Follower, Gap, Topic};
use super::problem::{Code, Problem};

/// Clients that may follow at once.
pub const FOLLOWERS: usize = 16;
/// How often a silent stream shows that it lives.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Bytes that are handed over at once.
const PART: usize = 64 << 10;

/// Which events.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Followed {
    /// Which topics, with commas between them: alert, evidence, block, unblock, window, profile, flow. Without it the first four.
    topics: Option<String>,
}

impl Followed {
    fn topics(&self) -> Result<Vec<Topic>, Problem> {
        let Some(topics) = &self.topics else {
            return Ok(vec![Topic::Alert, Topic::Evidence, Topic::Block, Topic::Unblock]);
        };
        let mut all: Vec<Topic> = Vec::new();
        for name in topics.split(',') {
            let topic = Topic::ALL.into_iter().find(|topic| topic.name() == name);
            let known = || Topic::ALL.map(Topic::name).join(", ");
            let topic = topic.ok_or_else(|| {
                Problem::bad(format!("`{}` is no topic; there are {}", name.escape_debug(), known()))
            })?;
            if !all.contains(&topic) {
                all.push(topic);
            }
        }
        Ok(all)
    }
}

/// Begins to follow.
pub fn follow(shared: &Shared, call: &Call, client: &Arc<Client>) -> Result<Response, Problem> {
    let topics = call.query::<Followed>()?.topics()?;
    if shared.clients.following() >= FOLLOWERS {
        return Err(Problem::new(Code::Busy, format!("{FOLLOWERS} clients follow events already")));
    }
    let follower = shared.ring.follow(&topics, call.last_event.as_deref());
    client.now(Doing::Follows);
    let body = Stream { next: Box::pin(next(follower, Some(BEGINNING))) };
    let answer = Response::builder().header(CONTENT_TYPE, MEDIA).header(CACHE_CONTROL, "no-store");
    Ok(answer.body(Body::new(body)).unwrap_or_default())
}

/// The type of the stream.
pub const MEDIA: &str = "text/event-stream";
/// Told at once, so that a client sees that it is heard; and how soon it may come back.
const BEGINNING: &str = ": slips\nretry: 2000\n\n";

/// A stream of events as a body.
struct Stream {
    next: Pin<Box<dyn Future<Output = (Bytes, Follower)> + Send>>,
}

impl HttpBody for Stream {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let (part, follower) = ready!(self.next.as_mut().poll(cx));
        self.next = Box::pin(next(follower, None));
        Poll::Ready(Some(Ok(Frame::data(part))))
    }
}

/// The next part: what is there, or a sign of life.
async fn next(mut follower: Follower, first: Option<&'static str>) -> (Bytes, Follower) {
    if let Some(first) = first {
        return (Bytes::from_static(first.as_bytes()), follower);
    }
    loop {
        let (gap, events) = follower.take(PART);
        if gap.is_some() || !events.is_empty() {
            let mut text = Vec::with_capacity(PART);
            if let Some(Gap { missed }) = gap {
                let missed = missed.map_or("null".to_owned(), |missed| missed.to_string());
                text.extend_from_slice(format!("event: gap\ndata: {{\"missed\":{missed}}}\n\n").as_bytes());
            }
            for event in events {
                let (id, topic) = (&event.id, event.topic.name());
                text.extend_from_slice(format!("id: {id}\nevent: {topic}\ndata: ").as_bytes());
                text.extend_from_slice(&event.data);
                text.extend_from_slice(b"\n\n");
            }
            return (text.into(), follower);
        }
        if timeout(HEARTBEAT, follower.wait()).await.is_err() {
            return (Bytes::from_static(b":\n\n"), follower);
        }
    }
}
