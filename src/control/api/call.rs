//! One request, and what is answered.

use axum::body::{Body, Bytes};
use axum::http::header::CONTENT_TYPE;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::problem::{JSON, Problem};

/// A request that may be answered.
pub struct Call {
    /// What stands in the path's places, in their order.
    pub path: Vec<String>,
    /// The whole of it, with the query.
    pub uri: Uri,
    /// What was sent.
    pub body: Bytes,
    /// The last event that the client had.
    pub last_event: Option<String>,
}

impl Call {
    /// What stands in the path's place of that number.
    pub fn place<T: std::str::FromStr<Err: std::fmt::Display>>(&self, number: usize) -> Result<T, Problem> {
        let text = self.path.get(number).map(String::as_str).unwrap_or_default();
        text.parse().map_err(|error| Problem::bad(format!("`{}`: {error}", text.escape_debug())))
    }

    /// The query; a key that is not known is an error.
    pub fn query<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        let query = axum::extract::Query::<T>::try_from_uri(&self.uri);
        query.map(|query| query.0).map_err(|error| {
            let text = error.body_text();
            Problem::bad(text.trim_start_matches("Failed to deserialize query string: "))
        })
    }

    /// What was sent, as JSON.
    pub fn body<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        // A list would be taken for the fields in their order.
        if !self.body.trim_ascii_start().starts_with(b"{") {
            return Err(Problem::bad("the body: it is no JSON object"));
        }
        serde_json::from_slice(&self.body).map_err(|error| Problem::bad(format!("the body: {error}")))
    }
}

/// What is answered where all goes well.
pub enum Reply {
    /// JSON.
    Json(Vec<u8>),
    /// JSON that is always the same.
    Told(Bytes),
    /// Text of this type.
    Text(&'static str, String),
}

/// What comes of a request.
pub type Outcome = Result<Reply, Problem>;

impl Reply {
    /// A value as JSON.
    pub fn of(value: &impl Serialize) -> Outcome {
        let text = serde_json::to_vec(value);
        text.map(Self::Json)
            .map_err(|error| Problem::new(super::problem::Code::Unavailable, error.to_string()))
    }

    /// As HTTP.
    pub fn into_response(self) -> Response {
        let (of_type, body) = match self {
            Self::Json(text) => (JSON, Body::from(text)),
            Self::Told(text) => (JSON, Body::from(text)),
            Self::Text(of_type, text) => (of_type, Body::from(text)),
        };
        let answer = Response::builder().status(StatusCode::OK).header(CONTENT_TYPE, of_type);
        answer.body(body).unwrap_or_default()
    }
}
