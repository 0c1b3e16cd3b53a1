//! What one node asks another and what it answers, read from bytes into types that cannot be wrong.
//!
//! Nothing here is signed by its author: the envelopes of a page are, and are judged one by one; what a peer says that it saw
//! is its word over an authenticated connection. What a newer version may ask is no fault: it reads as nothing.

use prost::Message as _;

use crate::identity::NodeId;
use crate::indicator::Indicator;
use crate::message::{Malformed, Name, Percent};
use crate::moment::Moment;
use crate::wire;

/// The largest request in bytes: what is told of 256 authors.
pub const LARGEST_REQUEST: usize = 16 * 1024;
/// The largest response in bytes: a page of a snapshot and its last envelope.
pub const LARGEST_RESPONSE: usize = PAGE + 32 * 1024;
/// Envelopes of one page of a snapshot in bytes.
pub const PAGE: usize = 256 * 1024;
/// Most envelopes of one page: none is smaller than its signature and the names in its head.
pub const MAX_ENVELOPES: usize = 2048;
/// Most indicators of one question and of its answer.
pub const MAX_INDICATORS: usize = 32;
/// Most authors whose state a request for missing messages tells.
pub const MAX_HAVE: usize = 256;

/// Author, epoch, number: which envelope.
pub type Place = (NodeId, u64, u64);

/// What is asked.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// What holds still and did not reach us.
    Missing {
        /// Up to which number everything of an author arrived.
        have: Vec<Place>,
        /// The last envelope of the page before; none for the first page.
        after: Option<Place>,
    },
    /// What the peer saw itself of these.
    Seen(Vec<Indicator>),
    /// To be let in, with the token of an invite.
    Join {
        /// The token.
        token: [u8; 16],
        /// What the asking router calls itself.
        name: Option<Name>,
    },
    /// Something that this version does not know.
    Unknown,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq)]
pub enum Response {
    /// Envelopes as their authors signed them.
    Page {
        /// The envelopes.
        envelopes: Vec<Vec<u8>>,
        /// After which the next page begins; none when this was the last.
        next: Option<Place>,
    },
    /// What the answering router saw itself; it is silent about the others.
    Seen(Vec<Sight>),
    /// Whether the router is let in.
    Join {
        /// Whether.
        admitted: bool,
        /// What the answering router calls itself.
        name: Option<Name>,
    },
    /// Something that this version does not know.
    Unknown,
}

/// What one router saw itself of an accused.
#[derive(Clone, Debug, PartialEq)]
pub struct Sight {
    /// Whom.
    pub indicator: Indicator,
    /// How bad.
    pub score: Percent,
    /// How sure.
    pub confidence: Percent,
    /// When last.
    pub last: Moment,
}

impl Request {
    /// For the wire. What cannot be accused is not asked about, whoever made it.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Missing { have, after } => {
                let have = have.iter().take(MAX_HAVE).map(|(author, epoch, seq)| wire::Have {
                    author: author.0.to_vec(),
                    epoch: *epoch,
                    seq: *seq,
                });
                let cursor = after.map(to_cursor).unwrap_or_default();
                wire::Request {
                    sync: Some(wire::SyncAsk { have: have.collect(), cursor }),
                    ..Default::default()
                }
            }
            Self::Seen(indicators) => {
                let indicators = indicators.iter().filter(|x| x.is_sound()).take(MAX_INDICATORS);
                let indicators = indicators.map(Indicator::to_wire).collect();
                wire::Request { ask: Some(wire::Ask { indicators }), ..Default::default() }
            }
            Self::Join { token, name } => {
                let join = wire::JoinAsk { token: token.to_vec(), name: text(name.as_ref()) };
                wire::Request { join: Some(join), ..Default::default() }
            }
            Self::Unknown => wire::Request::default(),
        }
        .encode_to_vec()
    }

    /// From the wire. Indicators of types that we do not know are left out.
    ///
    /// # Errors
    /// [`Malformed`] when who sent it could not have meant it.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.len() > LARGEST_REQUEST {
            return Err(Malformed::TooMany("bytes"));
        }
        let wire = wire::Request::decode(bytes).map_err(|_| Malformed::Undecodable)?;
        if let Some(join) = wire.join {
            let token = join.token.try_into().map_err(|_| Malformed::Value("token"))?;
            return Ok(Self::Join { token, name: Name::new(&join.name) });
        }
        if let Some(sync) = wire.sync {
            if sync.have.len() > MAX_HAVE {
                return Err(Malformed::TooMany("authors"));
            }
            let place = |have: &wire::Have| Some((NodeId::from_bytes(&have.author)?, have.epoch, have.seq));
            let have = sync.have.iter().map(place).collect::<Option<_>>();
            return Ok(Self::Missing {
                have: have.ok_or(Malformed::Value("author"))?,
                after: after(&sync.cursor)?,
            });
        }
        let Some(ask) = wire.ask else { return Ok(Self::Unknown) };
        if ask.indicators.len() > MAX_INDICATORS {
            return Err(Malformed::TooMany("indicators"));
        }
        Ok(Self::Seen(ask.indicators.iter().filter_map(|wire| Indicator::from_wire(wire).ok()).collect()))
    }
}

impl Response {
    /// For the wire. What cannot be accused is not told, whoever made it.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Page { envelopes, next } => {
                let cursor = next.map(to_cursor).unwrap_or_default();
                let sync = Some(wire::SyncPage { envelopes: envelopes.clone(), cursor });
                wire::Response { sync, ..Default::default() }
            }
            Self::Seen(seen) => {
                let seen = seen.iter().filter(|sight| sight.indicator.is_sound()).take(MAX_INDICATORS);
                let seen = seen.map(Sight::to_wire).collect();
                wire::Response { answer: Some(wire::Answer { seen }), ..Default::default() }
            }
            Self::Join { admitted, name } => {
                let join = wire::JoinAnswer { admitted: *admitted, name: text(name.as_ref()) };
                wire::Response { join: Some(join), ..Default::default() }
            }
            Self::Unknown => wire::Response::default(),
        }
        .encode_to_vec()
    }

    /// From the wire. Sights of indicators that we do not know are left out.
    ///
    /// # Errors
    /// [`Malformed`] when who sent it could not have meant it.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.len() > LARGEST_RESPONSE {
            return Err(Malformed::TooMany("bytes"));
        }
        let wire = wire::Response::decode(bytes).map_err(|_| Malformed::Undecodable)?;
        if let Some(page) = wire.sync {
            if page.envelopes.len() > MAX_ENVELOPES {
                return Err(Malformed::TooMany("envelopes"));
            }
            return Ok(Self::Page { envelopes: page.envelopes, next: after(&page.cursor)? });
        }
        if let Some(answer) = wire.answer {
            if answer.seen.len() > MAX_INDICATORS {
                return Err(Malformed::TooMany("indicators"));
            }
            return Ok(Self::Seen(answer.seen.iter().filter_map(Sight::from_wire).collect()));
        }
        let Some(join) = wire.join else { return Ok(Self::Unknown) };
        Ok(Self::Join { admitted: join.admitted, name: Name::new(&join.name) })
    }
}

impl Sight {
    pub(crate) fn to_wire(&self) -> wire::Seen {
        let percent = |percent: Percent| (percent.share() * 100.0).round() as u32;
        wire::Seen {
            indicator: Some(self.indicator.to_wire()),
            score: percent(self.score),
            confidence: percent(self.confidence),
            last_ms: self.last.0,
        }
    }

    pub(crate) fn from_wire(wire: &wire::Seen) -> Option<Self> {
        let percent = |n: u32| Percent::of(f64::from(n) / 100.0);
        Some(Self {
            indicator: Indicator::from_wire(wire.indicator.as_ref()?).ok()?,
            score: percent(wire.score),
            confidence: percent(wire.confidence),
            last: Moment(wire.last_ms),
        })
    }
}

fn text(name: Option<&Name>) -> String {
    name.map(ToString::to_string).unwrap_or_default()
}

fn to_cursor(place: Place) -> Vec<u8> {
    [&place.0.0[..], &place.1.to_be_bytes(), &place.2.to_be_bytes()].concat()
}

/// Empty bytes are no cursor, 48 are one.
fn after(bytes: &[u8]) -> Result<Option<Place>, Malformed> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let read = || {
        let (author, rest) = bytes.split_first_chunk::<32>()?;
        let (epoch, rest) = rest.split_first_chunk::<8>()?;
        let seq = rest.try_into().ok()?;
        Some((NodeId(*author), u64::from_be_bytes(*epoch), u64::from_be_bytes(seq)))
    };
    read().map(Some).ok_or(Malformed::Value("cursor"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn indicator() -> Indicator {
        Indicator::host([198, 51, 100, 7].into()).expect("public")
    }

    #[test]
    fn all_are_read_as_written() {
        let place = (NodeId([7; 32]), 5, u64::MAX);
        let name = Name::new("attic");
        for request in [
            Request::Missing { have: vec![place; MAX_HAVE], after: Some(place) },
            Request::Missing { have: Vec::new(), after: None },
            Request::Seen(vec![indicator(); MAX_INDICATORS]),
            Request::Join { token: [3; 16], name: name.clone() },
            Request::Unknown,
        ] {
            let bytes = request.encode();
            assert!(bytes.len() <= LARGEST_REQUEST, "{}", bytes.len());
            assert_eq!(Request::decode(&bytes), Ok(request));
        }
        let sight = Sight {
            indicator: indicator(),
            score: Percent::FULL,
            confidence: Percent::of(0.57),
            last: Moment(9),
        };
        for response in [
            Response::Page { envelopes: vec![vec![1; 200], Vec::new()], next: Some(place) },
            Response::Page { envelopes: Vec::new(), next: None },
            Response::Seen(vec![sight; MAX_INDICATORS]),
            Response::Join { admitted: true, name },
            Response::Join { admitted: false, name: None },
            Response::Unknown,
        ] {
            assert_eq!(Response::decode(&response.encode()), Ok(response));
        }
    }

    #[test]
    fn what_nobody_can_mean_is_refused() {
        let have = wire::Have { author: vec![1; 32], epoch: 1, seq: 1 };
        let sync = |have, cursor: usize| wire::Request {
            sync: Some(wire::SyncAsk { have, cursor: vec![1; cursor] }),
            ..Default::default()
        };
        let join = wire::JoinAsk { token: vec![1; 15], name: String::new() };
        let ask = wire::Ask { indicators: vec![indicator().to_wire(); MAX_INDICATORS + 1] };
        for request in [
            sync(vec![have.clone(); MAX_HAVE + 1], 0),
            sync(vec![wire::Have { author: vec![1; 31], ..have.clone() }], 0),
            sync(vec![have], 47),
            wire::Request { join: Some(join), ..Default::default() },
            wire::Request { ask: Some(ask), ..Default::default() },
        ] {
            assert!(Request::decode(&request.encode_to_vec()).is_err(), "{request:?}");
        }
        assert!(Request::decode(&vec![0; LARGEST_REQUEST + 1]).is_err());
        let page = |envelopes, cursor| wire::Response {
            sync: Some(wire::SyncPage { envelopes, cursor }),
            ..Default::default()
        };
        for response in [page(vec![Vec::new(); MAX_ENVELOPES + 1], Vec::new()), page(Vec::new(), vec![1; 49])]
        {
            assert!(Response::decode(&response.encode_to_vec()).is_err());
        }
        assert!(Response::decode(&vec![0; LARGEST_RESPONSE + 1]).is_err());
    }

    #[test]
    fn what_cannot_be_accused_is_asked_and_seen_by_nobody() {
        let inside = wire::Indicator { r#type: 1, value: vec![192, 168, 1, 20], prefix: 32 };
        let ask = wire::Ask { indicators: vec![inside.clone(), indicator().to_wire()] };
        let bytes = wire::Request { ask: Some(ask), ..Default::default() }.encode_to_vec();
        assert_eq!(Request::decode(&bytes), Ok(Request::Seen(vec![indicator()])));
        let seen = wire::Seen { indicator: Some(inside), ..Default::default() };
        let answer = wire::Answer { seen: vec![seen, wire::Seen::default()] };
        let bytes = wire::Response { answer: Some(answer), ..Default::default() }.encode_to_vec();
        assert_eq!(Response::decode(&bytes), Ok(Response::Seen(Vec::new())));
    }

    proptest! {
        #[test]
        fn hostile_bytes_are_refused_or_read_again(bytes: Vec<u8>) {
            if let Ok(request) = Request::decode(&bytes) {
                prop_assert_eq!(Request::decode(&request.encode()), Ok(request));
            }
            if let Ok(response) = Response::decode(&bytes) {
                prop_assert_eq!(Response::decode(&response.encode()), Ok(response));
            }
        }
    }
}
