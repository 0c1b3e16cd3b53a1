//! What is asked of one peer: what was missed, what it saw, and to be let in.

use std::collections::BTreeMap;
use std::time::Duration;

use libp2p_identity::PeerId;
use libp2p_request_response::{Event, Message as Exchange, ResponseChannel};

use super::archive::{from_cursor, to_cursor};
use super::run::{Node, node_of, peer_of};
use super::{Sight, Told};
use crate::bucket::Bucket;
use crate::gate::{Path, Verdict};
use crate::identity::NodeId;
use crate::indicator::Indicator;
use crate::invite::{Invite, TooManyOpen};
use crate::members::Peer;
use crate::message::{Name, Percent};
use crate::moment::Moment;
use crate::wire;

/// Envelopes of one page of a snapshot in bytes.
const PAGE: usize = 256 * 1024;
/// Most pages that are asked for after one connection.
const MAX_INDICATORS: usize = 32;
/// Most peers that are asked one question.
const ASKED: usize = 8;
/// A peer has so long for its answer, and the daemon for ours.
const PATIENCE: Duration = Duration::from_secs(3);
/// Questions of peers that wait for the daemon.
const MAX_TICKETS: usize = 64;
/// Most authors whose state a request for missing messages tells.
const MAX_HAVE: usize = 256;

impl Node {
    pub(super) fn on_ask(&mut self, event: Event<wire::Request, wire::Response>) {
        let Event::Message { peer, message, .. } = event else { return };
        let Some(id) = node_of(&peer) else { return };
        match message {
            Exchange::Request { request, channel, .. } => self.on_request(id, peer, request, channel),
            Exchange::Response { response, .. } => self.on_response(id, peer, response),
        }
    }

    fn on_request(
        &mut self,
        id: NodeId,
        peer: PeerId,
        request: wire::Request,
        channel: ResponseChannel<wire::Response>,
    ) {
        let now = self.now();
        let rate = self.limits.questions;
        // To drop the channel is an answer, too: the stream ends.
        if !self.questions.entry(id).or_insert_with(|| Bucket::new(rate, now)).take(1, now) {
            return;
        }
        if let Some(join) = request.join {
            return self.on_join(id, peer, &join, channel);
        }
        if self.members.find(id, now).is_none() {
            return;
        }
        if let Some(sync) = request.sync {
            let page = self.page(&sync);
            self.respond(channel, wire::Response { sync: Some(page), ..Default::default() });
        } else if let Some(ask) = request.ask {
            let indicators: Vec<Indicator> = ask
                .indicators
                .iter()
                .take(MAX_INDICATORS)
                .filter_map(|x| Indicator::from_wire(x).ok())
                .collect();
            if self.tickets.len() < MAX_TICKETS && !indicators.is_empty() {
                let ticket = self.next_ticket;
                self.next_ticket += 1;
                self.tickets.insert(ticket, (now, channel));
                self.tell(Told::Asked { from: id, indicators, ticket });
            }
        }
    }

    fn respond(&mut self, channel: ResponseChannel<wire::Response>, response: wire::Response) {
        // The peer went away in the meantime: nothing to be done.
        let _ = self.swarm.behaviour_mut().ask.send_response(channel, response);
    }

    fn page(&self, sync: &wire::SyncAsk) -> wire::SyncPage {
        let have: BTreeMap<NodeId, (u64, u64)> = sync
            .have
            .iter()
            .take(MAX_HAVE)
            .filter_map(|have| Some((NodeId::from_bytes(&have.author)?, (have.epoch, have.seq))))
            .collect();
        let (envelopes, next) = self.archive.page(&have, from_cursor(&sync.cursor), PAGE);
        wire::SyncPage { envelopes, cursor: next.map(to_cursor).unwrap_or_default() }
    }

    /// Asks a peer for what holds still and did not reach us.
    pub(super) fn ask_for_missing(&mut self, peer: PeerId, cursor: Vec<u8>) {
        let have =
            |(author, epoch, seq): (NodeId, u64, u64)| wire::Have { author: author.0.to_vec(), epoch, seq };
        let have = self.gate.replay.complete().take(MAX_HAVE).map(have).collect();
        let sync = Some(wire::SyncAsk { have, cursor });
        self.request(&peer, wire::Request { sync, ..Default::default() });
    }

    fn request(&mut self, peer: &PeerId, request: wire::Request) {
        self.swarm.behaviour_mut().ask.send_request(peer, request);
    }

    fn on_response(&mut self, id: NodeId, peer: PeerId, response: wire::Response) {
        if let Some(page) = response.sync {
            self.on_page(id, peer, page);
        } else if let Some(answer) = response.answer {
            let seen = answer.seen.iter().take(MAX_INDICATORS).filter_map(sight_from).collect();
            self.tell(Told::Answered { from: id, seen });
        } else if let Some(join) = response.join
            && self.joining.take_if(|invite| invite.inviter == id).is_some()
        {
            let name = Name::new(&join.name);
            let told = if join.admitted { Told::Admitted { by: id, name } } else { Told::Refused { by: id } };
            self.tell(told);
        }
    }

    fn on_page(&mut self, id: NodeId, peer: PeerId, page: wire::SyncPage) {
        let mut new = 0;
        for bytes in page.envelopes {
            let clock = (self.clock)();
            if let Verdict::Accept(accepted) = self.gate.judge(&bytes, Path::Snapshot, &self.members, clock) {
                new += 1;
                self.take(accepted, bytes);
            }
        }
        // A page of which nothing was new ends it, too: else a liar could keep us asking for ever.
        if !page.cursor.is_empty() && new > 0 {
            self.ask_for_missing(peer, page.cursor);
        }
        self.tell(Told::Synced { from: id, new });
    }

    pub(super) fn ask(&mut self, indicators: &[Indicator]) {
        let indicators: Vec<wire::Indicator> =
            indicators.iter().take(MAX_INDICATORS).map(Indicator::to_wire).collect();
        let mut peers: Vec<PeerId> = self
            .swarm
            .connected_peers()
            .filter(|peer| self.swarm.behaviour().door.is_member(peer))
            .copied()
            .collect();
        peers.sort_unstable();
        for peer in peers.into_iter().take(ASKED) {
            let ask = Some(wire::Ask { indicators: indicators.clone() });
            self.request(&peer, wire::Request { ask, ..Default::default() });
        }
    }

    pub(super) fn answer(&mut self, ticket: u64, seen: &[Sight]) {
        if let Some((_, channel)) = self.tickets.remove(&ticket) {
            let seen = seen.iter().take(MAX_INDICATORS).map(sight_to).collect();
            let answer = Some(wire::Answer { seen });
            self.respond(channel, wire::Response { answer, ..Default::default() });
        }
    }

    pub(super) fn expire_tickets(&mut self, now: Moment) {
        self.tickets.retain(|_, (since, _)| now.since(*since) < PATIENCE);
    }

    pub(super) fn open_invite(
        &mut self,
        token: [u8; 16],
        life: Duration,
        addresses: Vec<String>,
    ) -> Result<Invite, TooManyOpen> {
        let now = self.now();
        let until = self.invites.open(&token, life, now)?;
        self.swarm.behaviour_mut().door.set_invites(true);
        Ok(Invite { psk: self.psk, inviter: self.key.id(), token, until, addresses })
    }

    fn on_join(
        &mut self,
        id: NodeId,
        peer: PeerId,
        join: &wire::JoinAsk,
        channel: ResponseChannel<wire::Response>,
    ) {
        let now = self.now();
        let name = Name::new(&join.name);
        let used = self.invites.redeem(&join.token, now) && self.admit(id, name.clone());
        // Who is in already asks again when our answer was lost.
        let admitted = used || self.members.find(id, now).is_some();
        let open = self.invites.any(now);
        let invite = crate::invite::hash(&join.token);
        let join = Some(wire::JoinAnswer { admitted, name: self.name.to_string() });
        self.respond(channel, wire::Response { join, ..Default::default() });
        if used {
            self.tell(Told::Joined { id, name, invite });
            // From now on it gossips as any member.
            self.gossip().remove_blacklisted_peer(&peer);
        }
        self.swarm.behaviour_mut().door.set_invites(open);
    }

    pub(super) fn join(&mut self, invite: Invite) {
        let id = invite.inviter;
        let mut peer = Peer::invited(None);
        peer.addresses = invite.addresses.clone();
        let known = self.members.find(id, self.now()).is_some();
        if !known && self.members.add(id, peer).is_err() {
            return self.tell(Told::Refused { by: id });
        }
        self.joining = Some(invite);
        let members = std::mem::take(&mut self.members);
        self.set_members(members);
        match peer_of(id).filter(|peer| self.swarm.is_connected(peer)) {
            Some(peer) => self.present_invite(peer),
            None => self.dial(id, self.now()),
        }
    }

    pub(super) fn present_invite(&mut self, peer: PeerId) {
        if let Some(invite) = &self.joining {
            let join = Some(wire::JoinAsk { token: invite.token.to_vec(), name: self.name.to_string() });
            self.request(&peer, wire::Request { join, ..Default::default() });
        }
    }
}

fn sight_to(sight: &Sight) -> wire::Seen {
    wire::Seen {
        indicator: Some(sight.indicator.to_wire()),
        score: (sight.score.share() * 100.0).round() as u32,
        confidence: (sight.confidence.share() * 100.0).round() as u32,
        last_ms: sight.last.0,
    }
}

fn sight_from(seen: &wire::Seen) -> Option<Sight> {
    let percent = |n: u32| Percent::of(f64::from(n) / 100.0);
    Some(Sight {
        indicator: Indicator::from_wire(seen.indicator.as_ref()?).ok()?,
        score: percent(seen.score),
        confidence: percent(seen.confidence),
        last: Moment(seen.last_ms),
    })
}
