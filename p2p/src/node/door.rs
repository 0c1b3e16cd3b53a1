//! Who gets a connection at all: members, and while an invite is open a few strangers who may present it.

use std::collections::HashSet;
use std::task::{Context, Poll};

use libp2p_core::transport::PortUse;
use libp2p_core::{Endpoint, Multiaddr};
use libp2p_identity::PeerId;
use libp2p_swarm::{
    CloseConnection, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm, dummy,
};

/// Most strangers connected at once while an invite is open.
const STRANGERS: usize = 4;

/// The list of those who are let in.
#[derive(Debug, Default)]
pub struct Door {
    members: HashSet<PeerId>,
    strangers: HashSet<PeerId>,
    invites_open: bool,
    to_close: Vec<PeerId>,
}

/// Who knocks is not on the list.
#[derive(Debug, thiserror::Error)]
#[error("{0} is not on the list")]
struct NotOnTheList(PeerId);

impl Door {
    /// From now on these are let in; who is connected and not among them goes.
    pub fn set_members(&mut self, members: HashSet<PeerId>) {
        self.to_close.extend(self.members.difference(&members));
        self.strangers.retain(|peer| !members.contains(peer));
        self.members = members;
    }

    /// Whether strangers may knock.
    pub fn set_invites(&mut self, open: bool) {
        self.invites_open = open;
        if !open {
            self.to_close.extend(self.strangers.drain());
        }
    }

    pub fn is_member(&self, peer: &PeerId) -> bool {
        self.members.contains(peer)
    }

    fn check(&mut self, peer: PeerId) -> Result<(), ConnectionDenied> {
        if self.members.contains(&peer) || self.strangers.contains(&peer) {
            return Ok(());
        }
        if self.invites_open && self.strangers.len() < STRANGERS {
            self.strangers.insert(peer);
            return Ok(());
        }
        Err(ConnectionDenied::new(NotOnTheList(peer)))
    }
}

impl NetworkBehaviour for Door {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = std::convert::Infallible;

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
        if self.members.contains(&peer) {
            return Ok(dummy::ConnectionHandler);
        }
        Err(ConnectionDenied::new(NotOnTheList(peer)))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        if let FromSwarm::ConnectionClosed(closed) = event
            && closed.remaining_established == 0
        {
            self.strangers.remove(&closed.peer_id);
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
