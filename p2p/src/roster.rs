//! Organisations: who belongs to one, as its key says; versioned, expiring, revoking.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use prost::Message as _;

use crate::identity::{NodeId, NodeKey};
use crate::message::SignedRoster;
use crate::moment::Moment;
use crate::{text, wire};

/// What a peer may do. Each role may do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Listens.
    Observer = 1,
    /// Reports.
    Reporter = 2,
    /// Asks for blocks.
    Blamer = 3,
    /// Orders blocks: a management node of the same owner.
    Authority = 4,
}

impl Role {
    /// All roles, the least first.
    pub const ALL: [Self; 4] = [Self::Observer, Self::Reporter, Self::Blamer, Self::Authority];

    /// Lower-case name, as in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Observer => "observer",
            Self::Reporter => "reporter",
            Self::Blamer => "blamer",
            Self::Authority => "authority",
        }
    }

    /// From its name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
}

/// Who belongs to an organisation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roster {
    /// The organisation: its public key.
    pub org: NodeId,
    /// Only grows.
    pub version: u64,
    /// Not valid earlier.
    pub not_before: Moment,
    /// Not valid later.
    pub not_after: Moment,
    /// The members and what they may do.
    pub members: BTreeMap<NodeId, Role>,
    /// Nodes that are members no more, whoever says otherwise.
    pub revoked: Vec<NodeId>,
}

/// A roster is valid for at most 90 days: a lost organisation key ends by itself.
pub const LONGEST: Duration = Duration::from_secs(90 * 86_400);
/// Most members and most revoked nodes of one roster.
pub const MAX_MEMBERS: usize = 256;
const PURPOSE: &[u8] = b"slips/roster/1/";
const START: &str = "slips-roster-1-";
/// A full roster is 20 kB; base32 makes 8 letters of 5 bytes.
const MAX_LINE: usize = 64 * 1024;

/// Why bytes are no roster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotARoster {
    /// No roster, or one with impossible values.
    #[error("malformed roster")]
    Malformed,
    /// The organisation did not sign it.
    #[error("bad signature on a roster")]
    BadSignature,
    /// It would be valid longer than [`LONGEST`], or ends before it begins.
    #[error("a roster is valid for 90 days at most")]
    Term,
}

impl Roster {
    /// Signs the roster with the organisation's key.
    pub fn sign(&self, key: &NodeKey) -> SignedRoster {
        let member =
            |(node, role): (&NodeId, &Role)| wire::Member { node: node.0.to_vec(), role: *role as u32 };
        let bytes = wire::Roster {
            org: self.org.0.to_vec(),
            version: self.version,
            not_before_ms: self.not_before.0,
            not_after_ms: self.not_after.0,
            members: self.members.iter().map(member).collect(),
            revoked: self.revoked.iter().map(|node| node.0.to_vec()).collect(),
        }
        .encode_to_vec();
        SignedRoster { sig: key.sign(PURPOSE, &bytes), bytes }
    }

    /// Reads a roster and checks its organisation's signature. Whether it is valid now is [`Rosters::add`]'s question.
    ///
    /// # Errors
    /// [`NotARoster`].
    pub fn open(signed: &SignedRoster) -> Result<Self, NotARoster> {
        let wire = wire::Roster::decode(signed.bytes.as_slice()).map_err(|_| NotARoster::Malformed)?;
        let org = NodeId::from_bytes(&wire.org).ok_or(NotARoster::Malformed)?;
        if !org.verifies(PURPOSE, &signed.bytes, &signed.sig) {
            return Err(NotARoster::BadSignature);
        }
        if wire.members.len() > MAX_MEMBERS || wire.revoked.len() > MAX_MEMBERS {
            return Err(NotARoster::Malformed);
        }
        let (not_before, not_after) = (Moment(wire.not_before_ms), Moment(wire.not_after_ms));
        if not_after <= not_before || not_after.since(not_before) > LONGEST {
            return Err(NotARoster::Term);
        }
        let mut members = BTreeMap::new();
        for member in &wire.members {
            let node = NodeId::from_bytes(&member.node).ok_or(NotARoster::Malformed)?;
            let role = Role::ALL.into_iter().find(|role| *role as u32 == member.role);
            if members.insert(node, role.ok_or(NotARoster::Malformed)?).is_some() {
                return Err(NotARoster::Malformed);
            }
        }
        let revoked = wire.revoked.iter().map(|node| NodeId::from_bytes(node)).collect::<Option<Vec<_>>>();
        let revoked = revoked.ok_or(NotARoster::Malformed)?;
        Ok(Self { org, version: wire.version, not_before, not_after, members, revoked })
    }
}

impl fmt::Display for SignedRoster {
    /// One line, for files and mails. It is no secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{START}{}", text::to_base32(&[&self.sig[..], &self.bytes].concat()))
    }
}

/// A text that is no roster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotALine {
    /// It has another start.
    #[error("a roster starts with {START}")]
    Start,
    /// It is longer than any roster.
    #[error("longer than any roster")]
    TooLong,
    /// A letter was lost or changed on the way, or nobody signed it.
    #[error("damaged: {0}")]
    Damaged(NotARoster),
}

impl FromStr for SignedRoster {
    type Err = NotALine;
    /// Reads the line and checks the signature.
    fn from_str(line: &str) -> Result<Self, NotALine> {
        let code = line.trim().strip_prefix(START).ok_or(NotALine::Start)?;
        if code.len() > MAX_LINE {
            return Err(NotALine::TooLong);
        }
        let damaged = NotALine::Damaged(NotARoster::Malformed);
        let bytes = text::from_base32(code).ok_or(damaged)?;
        let (sig, bytes) = bytes.split_first_chunk::<64>().ok_or(damaged)?;
        let signed = Self { bytes: bytes.to_vec(), sig: *sig };
        Roster::open(&signed).map_err(NotALine::Damaged)?;
        Ok(signed)
    }
}

/// What became of a roster that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// It is the newest of its organisation now.
    Newer,
    /// We have it, or a newer one.
    Known,
    /// The owner does not trust this organisation.
    Stranger,
    /// Its time has not come, or is over.
    NotNow,
}

/// The newest roster of each organisation that the owner trusts.
#[derive(Clone, Debug, Default)]
pub struct Rosters {
    held: BTreeMap<NodeId, (Roster, SignedRoster)>,
}

impl Rosters {
    /// Takes a roster of one of `trusted`. The highest version ever seen stays, also when it has ended: who holds an old roster
    /// cannot bring a revoked node back.
    ///
    /// # Errors
    /// [`NotARoster`].
    pub fn add(
        &mut self,
        signed: &SignedRoster,
        trusted: impl Fn(NodeId) -> bool,
        now: Moment,
    ) -> Result<Added, NotARoster> {
        let roster = Roster::open(signed)?;
        if !trusted(roster.org) {
            return Ok(Added::Stranger);
        }
        if self.held.get(&roster.org).is_some_and(|(held, _)| held.version >= roster.version) {
            return Ok(Added::Known);
        }
        if now < roster.not_before || now >= roster.not_after {
            return Ok(Added::NotNow);
        }
        self.held.insert(roster.org, (roster, signed.clone()));
        Ok(Added::Newer)
    }

    /// Takes back from disk what [`Rosters::signed`] gave: also one that has ended, so that no older one takes its place.
    ///
    /// # Errors
    /// [`NotARoster`].
    pub fn restore(&mut self, signed: &SignedRoster) -> Result<(), NotARoster> {
        let roster = Roster::open(signed)?;
        if self.held.get(&roster.org).is_none_or(|(held, _)| held.version < roster.version) {
            self.held.insert(roster.org, (roster, signed.clone()));
        }
        Ok(())
    }

    /// The organisation that names `node`, its role there, and when that ends. Of several the one with the higher role.
    pub fn find(&self, node: NodeId) -> Option<(NodeId, Role, Moment)> {
        let named = self.held.values().filter_map(|(roster, _)| {
            let role = roster.members.get(&node).filter(|_| !roster.revoked.contains(&node))?;
            Some((roster.org, *role, roster.not_after))
        });
        named.max_by_key(|(org, role, end)| (*role, *end, *org))
    }

    /// All rosters as they came, for disk and for snapshots.
    pub fn signed(&self) -> impl Iterator<Item = &SignedRoster> {
        self.held.values().map(|(_, signed)| signed)
    }

    /// All members of all rosters that are not revoked.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> {
        self.held.values().flat_map(|(roster, _)| {
            roster.members.keys().copied().filter(|node| !roster.revoked.contains(node))
        })
    }

    /// Drops the roster of an organisation that the owner trusts no more.
    pub fn forget(&mut self, org: NodeId) {
        self.held.remove(&org);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn org() -> NodeKey {
        NodeKey::from_seed(&[99; 32])
    }

    pub(crate) fn roster(version: u64, members: &[(u8, Role)]) -> Roster {
        Roster {
            org: org().id(),
            version,
            not_before: Moment(1_000),
            not_after: Moment(1_000).plus(LONGEST),
            members: members.iter().map(|(n, role)| (NodeId([*n; 32]), *role)).collect(),
            revoked: Vec::new(),
        }
    }

    fn add(rosters: &mut Rosters, roster: &Roster, now: u64) -> Added {
        rosters.add(&roster.sign(&org()), |id| id == org().id(), Moment(now)).expect("good")
    }

    #[test]
    fn a_roster_is_read_as_signed_and_every_flipped_bit_refused() {
        let mut roster = roster(3, &[(1, Role::Blamer), (2, Role::Authority)]);
        roster.revoked = vec![NodeId([7; 32])];
        let signed = roster.sign(&org());
        assert_eq!(Roster::open(&signed), Ok(roster));
        for bit in 0..signed.bytes.len() * 8 {
            let mut bad = signed.clone();
            bad.bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(Roster::open(&bad).is_err(), "bit {bit}");
        }
        let mallory = NodeKey::from_seed(&[5; 32]);
        let forged = Roster::open(&signed).expect("good").sign(&mallory);
        assert_eq!(Roster::open(&forged), Err(NotARoster::BadSignature));
    }

    /// A member that hands it on must not be taken for one who sends what is broken.
    #[test]
    fn a_roster_with_all_that_one_may_name_can_be_told() {
        use crate::envelope::{Head, open, seal};
        let node =
            |n: usize| NodeId(std::array::from_fn(|at| if at < 2 { (n >> (8 * at)) as u8 } else { 255 }));
        let mut full = roster(u64::MAX, &[]);
        full.members = (0..MAX_MEMBERS).map(|n| (node(n), Role::Authority)).collect();
        full.revoked = (MAX_MEMBERS..2 * MAX_MEMBERS).map(node).collect();
        let message = crate::message::Message::Roster(full.sign(&org()));
        let (net, issued) = (crate::identity::NetId([7; 8]), Moment(u64::MAX));
        let head = Head { net, author: org().id(), epoch: u64::MAX, seq: u64::MAX, issued, ttl: LONGEST };
        let opened = open(&seal(&head, &message, &org()), net).expect("not too large");
        assert_eq!(opened.message, message);
    }

    #[test]
    fn newer_versions_win_and_revocation_is_for_good() {
        let mut rosters = Rosters::default();
        let node = NodeId([1; 32]);
        assert_eq!(add(&mut rosters, &roster(1, &[(1, Role::Reporter)]), 2_000), Added::Newer);
        assert_eq!(rosters.find(node).map(|found| found.1), Some(Role::Reporter));
        let mut second = roster(2, &[(1, Role::Reporter)]);
        second.revoked = vec![node];
        assert_eq!(add(&mut rosters, &second, 2_000), Added::Newer);
        assert_eq!(rosters.find(node), None);
        assert_eq!(rosters.nodes().count(), 0);
        assert_eq!(add(&mut rosters, &roster(1, &[(1, Role::Reporter)]), 2_000), Added::Known);
        assert_eq!(rosters.find(node), None);
    }

    #[test]
    fn an_ended_roster_comes_back_from_disk_and_keeps_older_ones_out() {
        let (mut rosters, node) = (Rosters::default(), NodeId([1; 32]));
        let mut short = roster(2, &[]);
        short.not_after = Moment(3_000);
        short.revoked = vec![node];
        assert_eq!(add(&mut rosters, &short, 2_000), Added::Newer);
        let mut again = Rosters::default();
        for signed in rosters.signed() {
            again.restore(signed).expect("as it was kept");
        }
        assert_eq!(add(&mut again, &roster(1, &[(1, Role::Reporter)]), 4_000), Added::Known);
        assert_eq!(again.find(node), None);
        assert_eq!(again.restore(&roster(1, &[(1, Role::Reporter)]).sign(&org())), Ok(()));
        assert_eq!(again.find(node), None);
    }

    #[test]
    fn the_line_is_read_as_written_and_damage_is_noticed() {
        let signed = roster(3, &[(1, Role::Blamer)]).sign(&org());
        let line = signed.to_string();
        assert_eq!(format!(" {line}\n").parse(), Ok(signed));
        for at in START.len()..line.len() {
            let mut bad = line.clone().into_bytes();
            bad[at] = if bad[at] == b'a' { b'b' } else { b'a' };
            let bad = String::from_utf8(bad).expect("ascii");
            assert!(bad.parse::<SignedRoster>().is_err(), "{at}");
        }
        assert_eq!("hello".parse::<SignedRoster>(), Err(NotALine::Start));
        assert_eq!("slips-roster-1-".parse::<SignedRoster>(), Err(NotALine::Damaged(NotARoster::Malformed)));
        assert_eq!(
            format!("{START}{}", "a".repeat(MAX_LINE + 1)).parse::<SignedRoster>(),
            Err(NotALine::TooLong)
        );
    }

    #[test]
    fn time_and_trust_decide() {
        let mut rosters = Rosters::default();
        let good = roster(1, &[(1, Role::Reporter)]);
        assert_eq!(add(&mut rosters, &good, 999), Added::NotNow);
        assert_eq!(add(&mut rosters, &good, good.not_after.0), Added::NotNow);
        assert_eq!(rosters.add(&good.sign(&org()), |_| false, Moment(2_000)), Ok(Added::Stranger));
        let mut long = good.clone();
        long.not_after = Moment(long.not_after.0 + 1);
        assert_eq!(Roster::open(&long.sign(&org())), Err(NotARoster::Term));
        long.not_after = long.not_before;
        assert_eq!(Roster::open(&long.sign(&org())), Err(NotARoster::Term));
    }

    proptest! {
        #[test]
        fn hostile_bytes_are_no_roster(bytes: Vec<u8>) {
            let opened = Roster::open(&SignedRoster { bytes, sig: [1; 64] });
            prop_assert!(opened.is_err());
        }
    }
}
