//! When and where members are dialled.

use std::time::Duration;

use libp2p_core::Multiaddr;
#[cfg(any(test, feature = "mdns"))]
use libp2p_identity::PeerId;
use libp2p_swarm::dial_opts::{DialOpts, PeerCondition};

#[cfg(any(test, feature = "mdns"))]
use super::run::node_of;
use super::run::{Node, peer_of};
use crate::identity::NodeId;
use crate::moment::Moment;

/// When and where a member is dialled.
#[derive(Debug, Default)]
pub struct Dial {
    pub announced: Vec<Multiaddr>,
    pub next: Moment,
    pub pause: Duration,
    /// No earlier another hint of where it is reached is followed.
    #[cfg(any(test, feature = "mdns"))]
    hinted: Moment,
}

/// A member that is away is dialled at least so often: a healed partition is whole again within half a minute.
const LONGEST_PAUSE: Duration = Duration::from_secs(20);
/// Most members dialled in one second.
const DIALS_A_TICK: usize = 8;

impl Node {
    pub(super) fn dial_members(&mut self, now: Moment) {
        let room = (self.limits.connections as usize * 3 / 4)
            .saturating_sub(self.swarm.network_info().num_peers())
            .min(DIALS_A_TICK);
        let own = self.key.id();
        let due: Vec<NodeId> = self
            .dials
            .iter()
            .filter(|(id, dial)| **id != own && dial.next <= now && !self.discipline.is_shunned(**id, now))
            .map(|(id, _)| *id)
            .filter(|id| peer_of(*id).is_some_and(|peer| !self.swarm.is_connected(&peer)))
            .take(room)
            .collect();
        for id in due {
            self.dial(id, now);
        }
    }

    pub(super) fn dial(&mut self, id: NodeId, now: Moment) {
        let named = self.members.peers().find(|(known, _)| *known == id);
        let named = named.into_iter().flat_map(|(_, peer)| &peer.addresses);
        let mut addresses: Vec<Multiaddr> = named.filter_map(|text| text.parse().ok()).collect();
        let first = self.limits.redial;
        let (Some(dial), Some(peer)) = (self.dials.get_mut(&id), peer_of(id)) else { return };
        addresses.extend(dial.announced.iter().cloned());
        dial.pause = (dial.pause * 2).clamp(first, LONGEST_PAUSE.max(first));
        dial.next = now.plus(dial.pause);
        if !addresses.is_empty() {
            let options = DialOpts::peer_id(peer)
                .addresses(addresses)
                .condition(PeerCondition::DisconnectedAndNotDialing)
                .build();
            // Refused only while it is being dialled, or by our own limits: the next tick tries again.
            let _ = self.swarm.dial(options);
        }
    }

    /// Somebody on the link says where a peer is reached. Of a member it is tried, once in a while, and kept nowhere; who answers there
    /// must prove who he is, as ever. Strangers' hints are nothing.
    #[cfg(any(test, feature = "mdns"))]
    pub(super) fn on_hint(&mut self, peer: PeerId, address: Multiaddr) {
        let now = (self.clock)().now;
        let Some(dial) = node_of(&peer).and_then(|id| self.dials.get_mut(&id)) else { return };
        if now < dial.hinted {
            return;
        }
        dial.hinted = now.plus(LONGEST_PAUSE);
        let condition = PeerCondition::DisconnectedAndNotDialing;
        let options = DialOpts::peer_id(peer).addresses(vec![address]).condition(condition).build();
        // Refused where it is connected already.
        let _ = self.swarm.dial(options);
    }
}
