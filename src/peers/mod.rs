//! Membership on disk: who we are, which network, whom the owner named, which invites are open.
//!
//! One directory (`p2p.directory`, by default `p2p` in the daemon's state directory), written by the command line and by the
//! daemon, both under its lock:
//!
//! | file | what | mode |
//! |---|---|---|
//! | `node-key` | the secret key of this router, made once; or the credential `slips-node-key` of the systemd unit | 0600 |
//! | `network-key` | the network's pre-shared key | 0600 |
//! | `peers.yaml` | peers and trusted organisations; for hands, too | 0640 |
//! | `rosters` | newest roster of each organisation, a line each | 0640 |
//! | `state.json` | epoch, open invites, a pending join, pardons; for the program only | 0600 |
//! | `lists/NAME` | blocklists that this router publishes, an entry a line | 0640 |
//! | `lock` | held while one of them is written | |
//!
//! [`Store::load`] reads all of it without a lock (each file is replaced whole). [`Store::change`] takes the lock, reads again,
//! lets the caller change the [`State`], and writes what became different; it also makes the directory and the key when
//! there is nothing yet. A key that is lost, damaged or exchanged is an error with a way out, never a new identity.
//!
//! # What the daemon does with it
//! * At the start and when asked to reread (`peers-reload`): [`State::enabled`] says whether a node runs at all;
//!   [`State::psk`] is the network's key (another one than the node has: start it anew); [`State::members`],
//!   [`Book::open`] go to the node (`Command::Members`, `Command::Invites`); [`Book::joining`] goes there as `Command::Join`
//!   unless it was sent already; [`Book::pardons`] are taken (and emptied) for `Council::pardon`.
//! * `Told::Joined`: [`State::joined`]. `Told::Admitted`: [`State::admitted`]. `Told::Refused`: [`State::refused`]. Each within
//!   [`Store::change`], then `Command::Members` again.
//! * [`Store::published`] goes to `slips_p2p::lists::Published`, [`State::followed`] to `slips_p2p::lists::Followed`.
//! * A roster that arrived by gossip: [`State::add_roster`].
//! * It answers these words on the control socket with one line, the last two with JSON (times in milliseconds since 1970):
//!   `peers-reload`: a sentence. `peers-status`: `{"node": "off" | "running" | "down", "listening": ["/ip4/…"],
//!   "clock": whether it is right, "breaker_until_ms", "peers": [{"id", "connected", "last_seen_ms", "trust", "quarantined"}]}`.
//!   `peers-reports [INDICATOR]`: `{"reports": [{"by", "about", "kind", "score": 0 to 1, "confidence": 0 to 1, "evidence": [],
//!   "issued_ms", "until_ms"}], "more": bool}`, newest first, with an indicator also `"weight"` and `"groups"` of the opinion.

pub mod book;
pub mod files;
mod published;
mod store;
pub mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use slips_p2p::identity::{NodeId, NodeKey};
use slips_p2p::members::{MAX_PEERS, Members};
use slips_p2p::message::{Name, SignedRoster};
use slips_p2p::moment::Moment;
use slips_p2p::roster::{Added, NotARoster, Roster};

use crate::config::Problem;
use book::{Book, Joined, KeyPlace};
pub use store::Store;
use table::{PeerAddress, PeerRow, Policy, Table};

/// What is wrong with the directory.
#[derive(Debug)]
pub enum Error {
    /// A file cannot be read or written.
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody else writes, and does not end.
    Busy {
        /// The lock.
        path: PathBuf,
        /// How long we waited.
        waited: Duration,
    },
    /// A file that only the program writes is damaged.
    Corrupt {
        /// Which.
        path: PathBuf,
        /// How.
        what: String,
    },
    /// Others may read a secret.
    Loose {
        /// Which.
        path: PathBuf,
        /// By its mode.
        mode: u32,
    },
    /// The table has mistakes: at least one.
    Wrong(Vec<Problem>),
    /// There was a key, and it is gone.
    KeyLost {
        /// Where it was.
        path: PathBuf,
        /// Whose.
        node: NodeId,
    },
    /// The key is another one than before.
    OtherKey {
        /// Whose it is.
        found: NodeId,
        /// Whose it was.
        node: NodeId,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, source } => write!(f, "{}: {source}", path.display()),
            Self::Busy { path, waited } => {
                write!(f, "another slips has kept {} for {} s; try again", path.display(), waited.as_secs())
            }
            Self::Corrupt { path, what } => write!(
                f,
                "{}: {what}; restore it from your backup (docs/peers.md says what is lost without one)",
                path.display()
            ),
            Self::Loose { path, mode } => write!(
                f,
                "{0}: others may read this secret (mode {mode:04o}); if nobody did: chmod 600 {0}",
                path.display()
            ),
            Self::Wrong(problems) => {
                for (n, problem) in problems.iter().enumerate() {
                    write!(f, "{}{problem}", if n > 0 { "\n" } else { "" })?;
                }
                Ok(())
            }
            Self::KeyLost { path, node } => write!(
                f,
                "{}: the key of {node} is gone; restore it from your backup, or give this router a new identity with \
                 `slips peers id --new`: then every peer must remove the old one and add the new one",
                path.display()
            ),
            Self::OtherKey { found, node } => write!(
                f,
                "the node key is that of {found}, but this router is {node}: restore the right key, or take the new identity \
                 with `slips peers id --new`"
            ),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// All that the directory says.
#[derive(Clone, Debug)]
pub struct State {
    /// Who we are; `None` before the first [`Store::change`].
    pub id: Option<NodeId>,
    /// The secret half; `None` also where only the daemon's unit has it.
    pub key: Option<NodeKey>,
    /// The network's key; `None` before the first invite, join or peer.
    pub network: Option<Secret>,
    /// Peers and organisations.
    pub table: Table,
    /// The newest roster of each organisation.
    pub rosters: Vec<SignedRoster>,
    /// Notes of the program.
    pub book: Book,
}

/// A network's key, which no debug text shows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Secret(pub [u8; 32]);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl State {
    /// Whether there is anybody to talk with: peers, organisations, an open invite, a pending join.
    pub fn enabled(&self, now: Moment) -> bool {
        let named = !self.table.peers.is_empty() || !self.table.organisations.is_empty();
        self.psk(now).is_some()
            && (named
                || self.book.joining(now).is_some()
                || self.book.invites.iter().any(|row| now < row.until))
    }

    /// The key with which the node runs: that of an invite that we are about to use comes first.
    pub fn psk(&self, now: Moment) -> Option<[u8; 32]> {
        self.book.joining(now).map(|invite| invite.psk).or(self.network.map(|secret| secret.0))
    }

    /// The members for the node and the council. Nothing of ours is left out: the table was bounded when it was read.
    pub fn members(&self) -> Members {
        let mut members = Members::default();
        for row in self.table.peers.iter().filter(|row| Some(row.id) != self.id) {
            // The table holds no more than fit.
            let _ = members.add(row.id, row.to_peer());
        }
        for row in &self.table.organisations {
            members.trust_org(row.id, row.to_org());
        }
        for roster in &self.rosters {
            // Their signatures were checked when they were read.
            let _ = members.restore_roster(roster);
        }
        members
    }

    /// A router used the invite with this hash: it is in the table from now on, unless it was already, and the invite is used up.
    /// False when the table is full, or nobody was invited so: the node's word alone lets nobody in.
    pub fn joined(&mut self, id: NodeId, told: Option<Name>, invite: &[u8; 32]) -> bool {
        let Some(at) = self.book.invites.iter().position(|row| row.hash == *invite) else { return false };
        let used = self.book.invites.remove(at);
        let (name, group) = (used.name, used.group);
        let row = PeerRow { group, ..PeerRow::invited(id) };
        self.add_unconfirmed(row, name.or(told))
    }

    /// The router that invited us let us in: it is a peer, and its network is ours.
    pub fn admitted(&mut self, by: NodeId, told: Option<Name>) -> bool {
        let Some(invite) = self.book.join.take_if(|invite| invite.inviter == by) else { return true };
        if self.network.replace(Secret(invite.psk)) != Some(Secret(invite.psk)) {
            // Our own invites named the network that we had.
            self.book.invites.clear();
        }
        self.book.joined = Some(Joined { by, admitted: true });
        let addresses: Vec<PeerAddress> =
            invite.addresses.iter().filter_map(|text| text.parse().ok()).collect();
        self.add_unconfirmed(PeerRow { addresses, ..PeerRow::invited(by) }, told)
    }

    /// It did not let us in.
    pub fn refused(&mut self, by: NodeId) {
        if self.book.join.take_if(|invite| invite.inviter == by).is_some() {
            self.book.joined = Some(Joined { by, admitted: false });
        }
    }

    fn add_unconfirmed(&mut self, row: PeerRow, name: Option<Name>) -> bool {
        if self.table.peer(row.id).is_some() {
            return true;
        }
        if self.table.peers.len() >= MAX_PEERS {
            return false;
        }
        let name = name.and_then(|name| self.table.free_name(&name));
        self.table.peers.push(PeerRow { name, ..row });
        true
    }

    /// The blocklists that are followed, and what is done with their entries.
    pub fn followed(&self) -> BTreeMap<slips_p2p::lists::Of, Policy> {
        let rows =
            self.table.peers.iter().flat_map(|row| row.follow.iter().map(move |follow| (row.id, follow)));
        rows.map(|(id, follow)| ((id, follow.list.clone()), follow.policy)).collect()
    }

    /// Takes a roster of a trusted organisation if it is newer than ours.
    ///
    /// # Errors
    /// [`NotARoster`].
    pub fn add_roster(&mut self, signed: &SignedRoster, now: Moment) -> Result<Added, NotARoster> {
        let mut members = self.members();
        let added = members.add_roster(signed, now)?;
        if added == Added::Newer {
            self.rosters = members.rosters().cloned().collect();
        }
        Ok(added)
    }

    /// Drops the roster of an organisation that is trusted no more.
    pub fn forget_org(&mut self, id: NodeId) {
        self.table.organisations.retain(|row| row.id != id);
        self.rosters.retain(|signed| Roster::open(signed).is_ok_and(|roster| roster.org != id));
    }

    fn key_place(&self) -> Option<KeyPlace> {
        self.book.node.map(|(_, place)| place)
    }
}
