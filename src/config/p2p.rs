//! The section `p2p`: where this router is reached by its peers, and what it calls itself.

use std::path::PathBuf;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};
use slips_p2p::message::Name;

use crate::peers::table::{PORT, PeerAddress, parse_name};

/// `p2p`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct P2p {
    /// Keys and the table of peers; empty: `p2p` below `output.directory`.
    pub directory: PathBuf,
    /// What we call ourselves towards those whom we invite; empty: the host's name.
    #[serde(deserialize_with = "name")]
    pub name: Option<Name>,
    /// Where peers reach us. Empty: we only call them.
    pub listen: Vec<PeerAddress>,
    /// What invites name instead of our own addresses.
    pub announce: Vec<PeerAddress>,
}

impl Default for P2p {
    fn default() -> Self {
        let any = |ip: std::net::IpAddr| PeerAddress((ip, PORT).into());
        Self {
            directory: PathBuf::new(),
            name: None,
            listen: vec![any([0; 4].into()), any([0u16; 8].into())],
            announce: Vec::new(),
        }
    }
}

fn name<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Name>, D::Error> {
    match String::deserialize(from)?.as_str() {
        "" => Ok(None),
        text => parse_name(text).map(Some).map_err(D::Error::custom),
    }
}
