//! Where the control API listens.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

/// `control`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Control {
    pub socket: PathBuf,
    #[serde(deserialize_with = "address")]
    pub metrics: Option<SocketAddr>,
}

impl Default for Control {
    fn default() -> Self {
        Self { socket: "/run/slips/control.sock".into(), metrics: None }
    }
}

/// An address with its port; an empty text is none.
fn address<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(from)?;
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = |_| D::Error::custom(format!("`{text}` is no ADDRESS:PORT"));
    text.parse().map(Some).map_err(wrong)
}
