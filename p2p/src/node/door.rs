//! Who gets a connection at all: members, and while an invite is open a few strangers who may present it.
//!
//! Who only knocks is bounded for each source address, so that nobody keeps the members out by holding all places of those
//! whose handshake goes on.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, Ipv6Addr};
use std::task::{Context, Poll};
use std::time::Duration;

use libp2p_core::multiaddr::Protocol;
use libp2p_core::transport::PortUse;
use libp2p_core::{Endpoint, Multiaddr};
use libp2p_identity::PeerId;
use libp2p_swarm::{
    CloseConnection, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm, dummy,
};

use crate::bucket::{Bucket, Rate};
use crate::moment::Moment;

/// Most strangers connected at once while an invite is open.
const STRANGERS: usize = 4;
/// A stranger presents its invite within so long, or goes.
const STRANGER_PATIENCE: Duration = Duration::from_secs(10);
/// Most handshakes of one source (an IPv4 address, an IPv6 network of 64 bits) that go on at once.
const HANDSHAKES: usize = 4;
/// New connections of one source. A member that is away dials three times a minute.
const KNOCKS: Rate = Rate::per_minute(60, 30);
/// Sources that are remembered. More at once are let through uncounted: the number of handshakes in all is bounded anyway.
const SOURCES: usize = 4096;

/// The list of those who are let in.
#[derive(Debug)]
pub struct Door {
    members: HashSet<PeerId>,
    shunned: HashSet<PeerId>,
    strangers: HashMap<PeerId, Moment>,
    invites_open: bool,
    to_close: Vec<PeerId>,
    now: Moment,
    handshakes: HashMap<ConnectionId, IpAddr>,
    knocks: BTreeMap<IpAddr, Bucket>,
    /// Connections refused because their source had too many.
    pub turned_away: u64,
    /// A source whose peers may be many, for tests on one machine.
    exempt: Option<IpAddr>,
}

/// Who knocks is not on the list.
#[derive(Debug, thiserror::Error)]
#[error("{0} is not on the list")]
struct NotOnTheList(PeerId);

/// Who knocks does so too often.
#[derive(Debug, thiserror::Error)]
#[error("too many connections from {0}")]
struct TooManyKnocks(IpAddr);

impl Door {
    pub fn new(exempt: Option<IpAddr>) -> Self {
        Self {
            members: HashSet::new(),
            shunned: HashSet::new(),
            strangers: HashMap::new(),
            invites_open: false,
            to_close: Vec::new(),
            now: Moment(0),
            handshakes: HashMap::new(),
            knocks: BTreeMap::new(),
            turned_away: 0,
            exempt,
        }
    }

    /// From now on these are let in; who is connected and not among them goes.
    pub fn set_members(&mut self, members: HashSet<PeerId>) {
        self.to_close.extend(self.members.difference(&members));
        self.strangers.retain(|peer, _| !members.contains(peer));
        self.members = members;
    }

    /// From now on these are not let in, though they are members.
    pub fn set_shunned(&mut self, shunned: HashSet<PeerId>) {
        self.to_close.extend(shunned.difference(&self.shunned));
        self.shunned = shunned;
    }

    /// Whether strangers may knock.
    pub fn set_invites(&mut self, open: bool) {
        self.invites_open = open;
        if !open {
            self.to_close.extend(self.strangers.drain().map(|(peer, _)| peer));
        }
    }

    /// Lets time pass: strangers who presented nothing go.
    pub fn tick(&mut self, now: Moment) {
        self.now = now;
        let late = |since: &Moment| now.since(*since) >= STRANGER_PATIENCE;
        self.to_close.extend(self.strangers.extract_if(|_, since| late(since)).map(|(peer, _)| peer));
        self.knocks.retain(|_, bucket| !bucket.is_full(now));
    }

    pub fn is_member(&self, peer: &PeerId) -> bool {
        self.members.contains(peer)
    }

    fn check(&mut self, peer: PeerId) -> Result<(), ConnectionDenied> {
        if self.shunned.contains(&peer) {
            return Err(ConnectionDenied::new(NotOnTheList(peer)));
        }
        if self.members.contains(&peer) || self.strangers.contains_key(&peer) {
            return Ok(());
        }
        if self.invites_open && self.strangers.len() < STRANGERS {
            self.strangers.insert(peer, self.now);
            return Ok(());
        }
        Err(ConnectionDenied::new(NotOnTheList(peer)))
    }

    fn knock(&mut self, connection: ConnectionId, source: IpAddr) -> Result<(), ConnectionDenied> {
        if self.exempt == Some(source) {
            return Ok(());
        }
        let now = self.now;
        let going_on = self.handshakes.values().filter(|held| **held == source).count();
        let room = self.knocks.len() < SOURCES || self.knocks.contains_key(&source);
        let often =
            room && !self.knocks.entry(source).or_insert_with(|| Bucket::new(KNOCKS, now)).take(1, now);
        if often || going_on >= HANDSHAKES {
            self.turned_away += 1;
            return Err(ConnectionDenied::new(TooManyKnocks(source)));
        }
        self.handshakes.insert(connection, source);
        Ok(())
    }
}

/// The IPv4 address, or the first 64 bits of the IPv6 address: so much one owner of a connection has.
fn source_of(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next()? {
        Protocol::Ip4(ip) => Some(IpAddr::V4(ip)),
        Protocol::Ip6(ip) => match ip.to_ipv4_mapped() {
            Some(ip) => Some(IpAddr::V4(ip)),
            None => Some(IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)))),
        },
        _ => None,
    }
}

impl NetworkBehaviour for Door {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = std::convert::Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        source_of(remote).map_or(Ok(()), |source| self.knock(connection, source))
    }

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.check(peer).map(|()| dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if self.members.contains(&peer) && !self.shunned.contains(&peer) {
            return Ok(dummy::ConnectionHandler);
        }
        Err(ConnectionDenied::new(NotOnTheList(peer)))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(established) => {
                self.handshakes.remove(&established.connection_id);
            }
            FromSwarm::ListenFailure(failed) => {
                self.handshakes.remove(&failed.connection_id);
            }
            FromSwarm::ConnectionClosed(closed) if closed.remaining_established == 0 => {
                self.strangers.remove(&closed.peer_id);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        match self.to_close.pop() {
            Some(peer_id) => {
                Poll::Ready(ToSwarm::CloseConnection { peer_id, connection: CloseConnection::All })
            }
            None => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn knock(door: &mut Door, n: usize, from: &str) -> bool {
        door.knock(ConnectionId::new_unchecked(n), from.parse().expect("an address")).is_ok()
    }

    #[test]
    fn one_source_holds_four_places_and_takes_none_of_others() {
        let mut door = Door::new(None);
        assert_eq!((0..100).filter(|n| knock(&mut door, *n, "192.0.2.1")).count(), HANDSHAKES);
        assert!(knock(&mut door, 100, "192.0.2.2"));
        assert_eq!(door.turned_away, 96);
    }

    #[test]
    fn who_knocks_too_often_waits_a_minute() {
        let mut door = Door::new(None);
        let passed = |door: &mut Door| {
            (0..200)
                .filter(|n| {
                    let passed = knock(door, *n, "2001:db8::");
                    door.handshakes.clear();
                    passed
                })
                .count()
        };
        assert_eq!(passed(&mut door), 60);
        door.tick(Moment::from_secs(60));
        assert_eq!(passed(&mut door), 30);
        door.tick(Moment::from_secs(3600));
        assert!(door.knocks.is_empty());
    }

    #[test]
    fn sources_are_addresses_and_networks_of_64_bits() {
        for (address, source) in [
            ("/ip4/192.0.2.1/tcp/1", Some("192.0.2.1")),
            ("/ip6/2001:db8:1:2:3:4:5:6/tcp/1", Some("2001:db8:1:2::")),
            ("/ip6/::ffff:192.0.2.1/tcp/1", Some("192.0.2.1")),
            ("/memory/1", None),
        ] {
            let source = source.map(|source| source.parse().expect("an address"));
            assert_eq!(source_of(&address.parse().expect("a multiaddress")), source, "{address}");
        }
    }

    #[test]
    fn strangers_are_few_and_go_when_they_present_nothing() {
        let mut door = Door::new(None);
        assert!(door.check(PeerId::random()).is_err());
        door.set_invites(true);
        assert_eq!((0..10).filter(|_| door.check(PeerId::random()).is_ok()).count(), STRANGERS);
        door.tick(Moment(0).plus(STRANGER_PATIENCE));
        assert_eq!((door.strangers.len(), door.to_close.len()), (0, STRANGERS));
        assert!(door.check(PeerId::random()).is_ok());
    }

    #[test]
    fn the_shunned_are_not_let_in() {
        let mut door = Door::new(None);
        let peer = PeerId::random();
        door.set_members(HashSet::from([peer]));
        assert!(door.check(peer).is_ok());
        door.set_shunned(HashSet::from([peer]));
        door.set_invites(true);
        assert!(door.check(peer).is_err() && door.to_close == [peer]);
        door.set_shunned(HashSet::new());
        assert!(door.check(peer).is_ok());
    }
}
