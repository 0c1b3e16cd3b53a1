//! What is answered where nothing else can be: one form for all errors.

use axum::body::Body;
use axum::http::StatusCode;
use axum::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What kind of error it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// What was asked cannot be understood.
    BadRequest,
    /// Who asks may not.
    Forbidden,
    /// There is no such thing.
    NotFound,
    /// There is, but that cannot be done with it.
    MethodNotAllowed,
    /// The daemon will not do it as things are; the message says why.
    Refused,
    /// More was sent than is read.
    TooLarge,
    /// Others are served now; try again.
    Busy,
    /// What would have to be asked cannot be.
    Unavailable,
    /// The answer took too long and was given up.
    TooSlow,
}

impl Code {
    /// In HTTP's words.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Refused => StatusCode::CONFLICT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Busy | Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::TooSlow => StatusCode::GATEWAY_TIMEOUT,
        }
    }
}

/// An error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// Its kind, for programs.
    pub code: Code,
    /// What it is, for people.
    pub message: String,
}

impl Problem {
    /// One of this kind.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// Something was not understood.
    pub fn bad(message: impl ToString) -> Self {
        Self::new(Code::BadRequest, message.to_string())
    }

    /// There is no such thing.
    pub fn absent(message: impl Into<String>) -> Self {
        Self::new(Code::NotFound, message)
    }
}

/// What an error looks like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Error")]
pub struct ErrorReply {
    /// It.
    pub error: Problem,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let code = self.code;
        let text = serde_json::to_vec(&ErrorReply { error: self }).unwrap_or_default();
        let answer = Response::builder().status(code.status()).header(CONTENT_TYPE, JSON);
        let answer = match code {
            Code::Busy => answer.header(RETRY_AFTER, "1"),
            _ => answer,
        };
        answer.body(Body::from(text)).unwrap_or_default()
    }
}

/// That cannot be done there; `allowed` can.
pub fn not_allowed(allowed: &str) -> Response {
    let mut answer = Problem::new(Code::MethodNotAllowed, format!("only {allowed} can be asked for there"))
        .into_response();
    if let Ok(allowed) = allowed.parse() {
        answer.headers_mut().insert(ALLOW, allowed);
    }
    answer
}

/// The type of all but the events and the metrics.
pub const JSON: &str = "application/json";
