//! `state.json`: what the program notes for itself about membership. Nothing in it is for hands.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use slips_p2p::identity::NodeId;
use slips_p2p::invite::{self, Invite, Open};
use slips_p2p::message::Name;
use slips_p2p::moment::Moment;

use super::Error;
use super::files::{from_hex, to_hex};

/// Where the secret half of the node's key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyPlace {
    /// In `node-key`.
    File,
    /// In a credential of the systemd unit, which only the daemon sees.
    Credential,
}

/// An invite of ours that nobody has used yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenInvite {
    /// [`invite::hash`] of the token: who reads the state cannot join with it.
    pub hash: [u8; 32],
    /// When it ends.
    pub until: Moment,
    /// What whoever joins by it is called here, instead of what it calls itself.
    pub name: Option<Name>,
    /// Its group.
    pub group: Option<String>,
}

/// How the last try to join ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// Who had invited us.
    pub by: NodeId,
    /// Whether we were let in.
    pub admitted: bool,
}

/// The notes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Book {
    /// Who we are, so that a lost or exchanged key is noticed.
    pub node: Option<(NodeId, KeyPlace)>,
    /// When the directory was made, in milliseconds since 1970.
    pub epoch: u64,
    /// Invites of ours.
    pub invites: Vec<OpenInvite>,
    /// An invite that we want to use.
    pub join: Option<Invite>,
    /// How the last one ended.
    pub joined: Option<Joined>,
    /// Peers whose quarantine the owner ended; the daemon takes them.
    pub pardons: Vec<NodeId>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    version: u32,
    node: Option<String>,
    key: Option<KeyPlace>,
    epoch: u64,
    invites: Vec<WireInvite>,
    join: Option<String>,
    joined: Option<WireJoined>,
    pardons: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireInvite {
    hash: String,
    until_ms: u64,
    name: Option<String>,
    group: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireJoined {
    by: String,
    admitted: bool,
}

const VERSION: u32 = 1;
/// Most peers that wait to be pardoned.
const MAX_PARDONS: usize = slips_p2p::members::MAX_PEERS;

impl Book {
    pub(super) fn parse(path: &Path, text: &str) -> Result<Self, Error> {
        let corrupt = |what: String| Error::Corrupt { path: path.to_owned(), what };
        let wire: Wire = serde_json::from_str(text).map_err(|error| corrupt(error.to_string()))?;
        if wire.version != VERSION {
            return Err(corrupt(format!("is of version {}, this program writes {VERSION}", wire.version)));
        }
        Self::from_wire(wire).ok_or_else(|| corrupt("holds a damaged value".into()))
    }

    fn from_wire(wire: Wire) -> Option<Self> {
        let node = match (wire.node, wire.key) {
            (Some(id), Some(place)) => Some((id.parse().ok()?, place)),
            (None, None) => None,
            _ => return None,
        };
        let invite = |row: WireInvite| {
            Some(OpenInvite {
                hash: from_hex(&row.hash)?,
                until: Moment(row.until_ms),
                name: row.name.map(|name| Name::new(&name).ok_or(())).transpose().ok()?,
                group: row.group,
            })
        };
        let joined = |row: WireJoined| Some(Joined { by: row.by.parse().ok()?, admitted: row.admitted });
        let pardons = wire.pardons.iter().take(MAX_PARDONS).map(|id| id.parse().ok());
        Some(Self {
            node,
            epoch: wire.epoch,
            invites: wire.invites.into_iter().take(invite::MAX_OPEN).map(invite).collect::<Option<_>>()?,
            join: wire.join.map(|line| line.parse()).transpose().ok()?,
            joined: match wire.joined {
                Some(row) => Some(joined(row)?),
                None => None,
            },
            pardons: pardons.collect::<Option<_>>()?,
        })
    }

    pub(super) fn render(&self) -> String {
        let wire = Wire {
            version: VERSION,
            node: self.node.map(|(id, _)| id.to_string()),
            key: self.node.map(|(_, place)| place),
            epoch: self.epoch,
            invites: self
                .invites
                .iter()
                .map(|row| WireInvite {
                    hash: to_hex(&row.hash),
                    until_ms: row.until.0,
                    name: row.name.as_ref().map(ToString::to_string),
                    group: row.group.clone(),
                })
                .collect(),
            join: self.join.as_ref().map(ToString::to_string),
            joined: self
                .joined
                .as_ref()
                .map(|row| WireJoined { by: row.by.to_string(), admitted: row.admitted }),
            pardons: self.pardons.iter().take(MAX_PARDONS).map(ToString::to_string).collect(),
        };
        // Strings and numbers always have a form in JSON.
        serde_json::to_string_pretty(&wire).unwrap_or_default() + "\n"
    }

    /// The invites that are open, for the node.
    pub fn open(&self, now: Moment) -> Open {
        Open::restore(self.invites.iter().filter(|row| now < row.until).map(|row| (row.hash, row.until)))
    }

    /// Opens an invite for `life`; returns when it ends.
    ///
    /// # Errors
    /// When too many are open.
    pub fn invite(
        &mut self,
        token: &[u8; 16],
        life: Duration,
        name: Option<Name>,
        group: Option<String>,
        now: Moment,
    ) -> Result<Moment, invite::TooManyOpen> {
        self.invites.retain(|row| now < row.until);
        let until = self.open(now).open(token, life, now)?;
        self.invites.push(OpenInvite { hash: invite::hash(token), until, name, group });
        Ok(until)
    }

    /// The invite that we want to use, while it lives.
    pub fn joining(&self, now: Moment) -> Option<&Invite> {
        self.join.as_ref().filter(|invite| now < invite.until)
    }

    /// Ends a peer's quarantine.
    pub fn pardon(&mut self, id: NodeId) {
        if !self.pardons.contains(&id) && self.pardons.len() < MAX_PARDONS {
            self.pardons.push(id);
        }
    }
}
