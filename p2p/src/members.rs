//! Who is a peer, by the owner's table and by the rosters of organisations that the owner trusts.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::identity::NodeId;
use crate::message::{Name, SignedRoster};
use crate::moment::Moment;
use crate::opinion::Group;
use crate::roster::{Added, NotARoster, Role, Rosters};

/// A peer that the owner named.
#[derive(Clone, Debug, PartialEq)]
pub struct Peer {
    /// What the owner calls it.
    pub name: Option<Name>,
    /// Multiaddresses at which it is dialled.
    pub addresses: Vec<String>,
    /// What it is believed before we know better, 0 to 1.
    pub base: f64,
    /// With whom it is one voice; alone when the owner did not say.
    pub group: Option<Box<str>>,
    /// What it may do; without a word of the owner, what a roster of an organisation says that he trusts, or reporter.
    pub role: Option<Role>,
    /// Whether somebody compared the six words.
    pub confirmed: bool,
}

impl Peer {
    /// The weight of a peer that the owner added by hand, or confirmed.
    pub const CONFIRMED: f64 = 0.6;
    /// The weight of a peer that came by an invite and was not compared yet.
    pub const INVITED: f64 = 0.3;

    /// A peer that joined by an invite.
    pub const fn invited(name: Option<Name>) -> Self {
        Self { name, addresses: Vec::new(), base: Self::INVITED, group: None, role: None, confirmed: false }
    }
}

/// An organisation that the owner trusts.
#[derive(Clone, Debug, PartialEq)]
pub struct Org {
    /// What the owner calls it.
    pub name: Option<Name>,
    /// What its members are believed before we know better, 0 to 1.
    pub base: f64,
    /// Most that all its members together can weigh.
    pub cap: Option<f64>,
    /// The most that its roster can make of a member.
    pub max_role: Role,
}

/// What is known about a peer now.
#[derive(Clone, Debug, PartialEq)]
pub struct Membership {
    /// What it may do.
    pub role: Role,
    /// What it is believed before we know better; 0 for a member whose roster has ended.
    pub base: f64,
    /// With whom it is one voice.
    pub group: Group,
    /// Most that the group can weigh.
    pub group_cap: Option<f64>,
}

impl Membership {
    /// Whether its blocks are obeyed at once. Not those of whom the owner believes nothing, or whose roster has ended.
    pub fn may_order(&self) -> bool {
        self.role == Role::Authority && self.base > 0.0
    }
}

/// Members of an ended roster stay connected so long, so that the new roster can reach us through them.
pub const GRACE: Duration = Duration::from_secs(7 * 86_400);
/// Most peers that the owner can name.
pub const MAX_PEERS: usize = 256;

/// The owner's table of peers and organisations.
#[derive(Clone, Debug, Default)]
pub struct Members {
    peers: BTreeMap<NodeId, Peer>,
    orgs: BTreeMap<NodeId, Org>,
    rosters: Rosters,
}

/// The table of peers is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no more than {MAX_PEERS} peers")]
pub struct TooMany;

impl Members {
    /// Adds or changes a peer.
    ///
    /// # Errors
    /// When the table is full.
    pub fn add(&mut self, id: NodeId, peer: Peer) -> Result<(), TooMany> {
        if self.peers.len() >= MAX_PEERS && !self.peers.contains_key(&id) {
            return Err(TooMany);
        }
        self.peers.insert(id, peer);
        Ok(())
    }

    /// Removes a peer; a roster may still name it.
    pub fn remove(&mut self, id: NodeId) -> Option<Peer> {
        self.peers.remove(&id)
    }

    /// The peers that the owner named.
    pub fn peers(&self) -> impl Iterator<Item = (NodeId, &Peer)> {
        self.peers.iter().map(|(id, peer)| (*id, peer))
    }

    /// The owner compared the six words: the peer is worth what one added by hand is worth. False for a stranger.
    pub fn confirm(&mut self, id: NodeId) -> bool {
        let Some(peer) = self.peers.get_mut(&id) else { return false };
        if !peer.confirmed {
            peer.confirmed = true;
            peer.base = peer.base.max(Peer::CONFIRMED);
        }
        true
    }

    /// Trusts an organisation.
    pub fn trust_org(&mut self, id: NodeId, org: Org) {
        self.orgs.insert(id, org);
    }

    /// Trusts it no more; its members are strangers at once.
    pub fn distrust_org(&mut self, id: NodeId) {
        self.orgs.remove(&id);
        self.rosters.forget(id);
    }

    /// Takes a roster that arrived.
    ///
    /// # Errors
    /// [`NotARoster`]: whoever sent it is to blame.
    pub fn add_roster(&mut self, signed: &SignedRoster, now: Moment) -> Result<Added, NotARoster> {
        let orgs = &self.orgs;
        self.rosters.add(signed, |org| orgs.contains_key(&org), now)
    }

    /// Takes back from disk a roster of a trusted organisation, also one that has ended: its members stay connected for [`GRACE`],
    /// and no older roster takes its place.
    ///
    /// # Errors
    /// [`NotARoster`].
    pub fn restore_roster(&mut self, signed: &SignedRoster) -> Result<(), NotARoster> {
        match self.orgs.contains_key(&crate::roster::Roster::open(signed)?.org) {
            true => self.rosters.restore(signed),
            false => Ok(()),
        }
    }

    /// The organisations that the owner trusts.
    pub fn orgs(&self) -> impl Iterator<Item = (NodeId, &Org)> {
        self.orgs.iter().map(|(id, org)| (*id, org))
    }

    /// The rosters as they came.
    pub fn rosters(&self) -> impl Iterator<Item = &SignedRoster> {
        self.rosters.signed()
    }

    /// All whom we would let in now.
    pub fn admitted(&self, now: Moment) -> Vec<NodeId> {
        let mut all: Vec<NodeId> = self.peers.keys().copied().chain(self.rosters.nodes()).collect();
        all.sort_unstable();
        all.dedup();
        all.retain(|id| self.find(*id, now).is_some());
        all
    }

    /// What is known about `id`; `None` for a stranger. The owner's table speaks before any roster.
    pub fn find(&self, id: NodeId, now: Moment) -> Option<Membership> {
        let by_org = self.rosters.find(id).and_then(|(org, role, ends)| {
            let known = self.orgs.get(&org)?;
            if now >= ends.plus(GRACE) {
                return None;
            }
            Some(Membership {
                role: role.min(known.max_role),
                base: if now < ends { known.base } else { 0.0 },
                group: Group::Org(org),
                group_cap: known.cap,
            })
        });
        let Some(peer) = self.peers.get(&id) else { return by_org };
        // A roster that has ended gives nobody a role.
        let by_roster = by_org.as_ref().filter(|member| member.base > 0.0).map(|member| member.role);
        // A member of an organisation stays one voice with it, also when the owner named it too.
        let (group, group_cap) = match (&peer.group, by_org) {
            (Some(label), _) => (Group::Label(label.clone()), None),
            (None, Some(by_org)) => (by_org.group, by_org.group_cap),
            (None, None) => (Group::Alone(id), None),
        };
        let role = peer.role.or(by_roster).unwrap_or(Role::Reporter);
        Some(Membership { role, base: peer.base, group, group_cap })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roster::tests::{org, roster};

    const NOW: Moment = Moment(5_000);

    fn by_hand(role: Role) -> Peer {
        Peer { role: Some(role), base: 0.6, confirmed: true, ..Peer::invited(None) }
    }

    fn trusted(members: &mut Members, max_role: Role) {
        members.trust_org(org().id(), Org { name: None, base: 0.5, cap: Some(0.6), max_role });
    }

    #[test]
    fn strangers_stay_strangers_until_named() {
        let mut members = Members::default();
        let id = NodeId([1; 32]);
        assert_eq!(members.find(id, NOW), None);
        members.add(id, by_hand(Role::Blamer)).expect("room");
        let found = members.find(id, NOW).expect("named");
        assert_eq!((found.role, found.group), (Role::Blamer, Group::Alone(id)));
        members.remove(id);
        assert_eq!(members.find(id, NOW), None);
    }

    #[test]
    fn an_invited_peer_weighs_half_until_the_words_were_compared() {
        let mut members = Members::default();
        let id = NodeId([1; 32]);
        members.add(id, Peer::invited(Name::new("attic"))).expect("room");
        assert_eq!(members.find(id, NOW).map(|found| found.base), Some(0.3));
        assert!(members.confirm(id));
        assert_eq!(members.find(id, NOW).map(|found| found.base), Some(0.6));
        assert!(!members.confirm(NodeId([2; 32])));
    }

    #[test]
    fn a_roster_makes_members_of_one_voice_within_the_owners_limits() {
        let mut members = Members::default();
        let signed = roster(1, &[(1, Role::Authority), (2, Role::Reporter)]).sign(&org());
        assert_eq!(members.add_roster(&signed, NOW), Ok(Added::Stranger));
        trusted(&mut members, Role::Blamer);
        assert_eq!(members.add_roster(&signed, NOW), Ok(Added::Newer));
        let found = members.find(NodeId([1; 32]), NOW).expect("member");
        assert_eq!((found.role, found.group.clone()), (Role::Blamer, Group::Org(org().id())));
        assert_eq!(found.group_cap, Some(0.6));
        assert_eq!(members.admitted(NOW).len(), 2);
        // Named by the owner as well: his word about role and weight, still the same voice.
        members.add(NodeId([2; 32]), by_hand(Role::Blamer)).expect("room");
        let both = members.find(NodeId([2; 32]), NOW).expect("member");
        assert_eq!((both.role, both.base, both.group), (Role::Blamer, 0.6, found.group));
        // Of one whom he only named the roster says what it may do, as long as it holds.
        let brought = Peer { role: None, ..by_hand(Role::Reporter) };
        members.add(NodeId([1; 32]), brought).expect("room");
        let role = |now| members.find(NodeId([1; 32]), now).map(|found| found.role);
        assert_eq!(role(NOW), Some(Role::Blamer));
        assert_eq!(role(roster(1, &[]).not_after), Some(Role::Reporter));
        members.remove(NodeId([1; 32]));
        members.distrust_org(org().id());
        assert_eq!(members.admitted(NOW), [NodeId([2; 32])]);
    }

    #[test]
    fn an_ended_roster_leaves_its_members_connected_and_unheard_for_a_week() {
        let mut members = Members::default();
        trusted(&mut members, Role::Blamer);
        let ends = roster(1, &[]).not_after;
        let signed = roster(1, &[(1, Role::Reporter)]).sign(&org());
        members.add_roster(&signed, NOW).expect("good");
        let base = |now| members.find(NodeId([1; 32]), now).map(|found| found.base);
        assert_eq!(base(ends.minus(Duration::from_secs(1))), Some(0.5));
        assert_eq!(base(ends), Some(0.0));
        assert_eq!(base(ends.plus(GRACE)), None);
    }

    #[test]
    fn the_table_is_bounded() {
        let mut members = Members::default();
        let id = |n: usize| NodeId(std::array::from_fn(|at| (n >> (8 * at.min(3))) as u8));
        for n in 0..MAX_PEERS {
            members.add(id(n), Peer::invited(None)).expect("room");
        }
        assert_eq!(members.add(id(MAX_PEERS), Peer::invited(None)), Err(TooMany));
        assert_eq!(members.add(id(3), by_hand(Role::Observer)), Ok(()));
    }
}
