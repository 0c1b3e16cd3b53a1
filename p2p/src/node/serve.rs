//! What is asked of one peer: what was missed, what it saw, and to be let in.

use std::io::ErrorKind;
use std::time::Duration;

use libp2p_identity::PeerId;
use libp2p_request_response::{Event, Message as Exchange, OutboundFailure, ResponseChannel};

use super::Told;
use super::run::{Node, node_of, peer_of};
use crate::bucket::Bucket;
use crate::exchange::{MAX_HAVE, MAX_INDICATORS, PAGE, Place, Request, Response, Sight};
use crate::gate::{Path, Verdict};
use crate::identity::NodeId;
use crate::indicator::Indicator;
use crate::invite::{Invite, TooManyOpen};
use crate::members::Peer;
use crate::message::{Malformed, Name};
use crate::moment::Moment;

/// Most pages of one snapshot: as much as a whole archive.
const MAX_PAGES: u32 = 64;
/// Most peers that are asked one question.
const ASKED: usize = 8;
/// Most of our questions that wait for one peer: the streams of a connection are few.
const WAITING: usize = 4;
/// A peer has so long for its answer, and the daemon for ours.
const PATIENCE: Duration = Duration::from_secs(3);
/// Questions of peers that wait for the daemon: in all, and of one peer.
const MAX_TICKETS: (usize, usize) = (64, 8);

/// What a peer owes us an answer to. Another answer is none.
#[derive(Debug)]
pub(super) enum Question {
    /// The page of a snapshot with this number, behind this envelope.
    Missing {
        page: u32,
        after: Option<Place>,
    },
    Seen(Vec<Indicator>),
    Join,
}

/// A question of a peer that waits for the daemon.
#[derive(Debug)]
pub(super) struct Ticket {
    from: NodeId,
    since: Moment,
    asked: Vec<Indicator>,
    channel: ResponseChannel<Response>,
}

impl Node {
    pub(super) fn on_ask(&mut self, event: Event<Result<Request, Malformed>, Response>) {
        match event {
            Event::Message { peer, message: Exchange::Request { request, channel, .. }, .. } => {
                match (node_of(&peer), request) {
                    (Some(id), Ok(request)) => self.on_request(id, peer, request, channel),
                    (Some(id), Err(_)) => self.broken(id),
                    (None, _) => {}
                }
            }
            Event::Message { peer, message: Exchange::Response { request_id, response }, .. } => {
                let question = self.asked.remove(&request_id);
                if let (Some(id), Some((_, question))) = (node_of(&peer), question) {
                    self.on_response(id, peer, question, response);
                }
            }
            Event::OutboundFailure { peer, request_id, error, .. } => {
                self.asked.remove(&request_id);
                // A stream that broke is no fault; bytes that came and mean nothing are.
                let nonsense =
                    matches!(error, OutboundFailure::Io(error) if error.kind() == ErrorKind::InvalidData);
                if let Some(id) = node_of(&peer).filter(|_| nonsense) {
                    self.broken(id);
                }
            }
            Event::InboundFailure { .. } | Event::ResponseSent { .. } => {}
        }
    }

    fn on_request(&mut self, id: NodeId, peer: PeerId, request: Request, channel: ResponseChannel<Response>) {
        let now = self.now();
        let rate = self.limits.questions;
        // To drop the channel is an answer, too: the stream ends.
        if !self.questions.entry(id).or_insert_with(|| Bucket::new(rate, now)).take(1, now) {
            return self.wasted(id);
        }
        if let Request::Join { token, name } = request {
            return self.on_join(id, peer, &token, name, channel);
        }
        if self.members.find(id, now).is_none() || self.discipline.is_shunned(id, now) {
            return;
        }
        match request {
            Request::Missing { have, after } => {
                let have = have.into_iter().map(|(author, epoch, seq)| (author, (epoch, seq))).collect();
                let (envelopes, next) = self.archive.page(&have, after, PAGE);
                self.respond(channel, Response::Page { envelopes, next });
            }
            Request::Seen(indicators) if !indicators.is_empty() => {
                let of = self.tickets.values().filter(|ticket| ticket.from == id).count();
                if self.tickets.len() < MAX_TICKETS.0 && of < MAX_TICKETS.1 {
                    let number = self.next_ticket;
                    self.next_ticket += 1;
                    let asked = indicators.clone();
                    self.tickets.insert(number, Ticket { from: id, since: now, asked, channel });
                    self.tell(Told::Asked { from: id, indicators, ticket: number });
                }
            }
            Request::Seen(_) | Request::Join { .. } | Request::Unknown => {}
        }
    }

    fn respond(&mut self, channel: ResponseChannel<Response>, response: Response) {
        // The peer went away in the meantime: nothing to be done.
        let _ = self.swarm.behaviour_mut().ask.send_response(channel, response);
    }

    /// Asks a peer for what holds still and did not reach us.
    pub(super) fn ask_for_missing(&mut self, peer: PeerId) {
        self.ask_for_page(peer, 1, None);
    }

    /// Asks for the next page when there is room for what it may bring: what was taken and then dropped would come never again.
    pub(super) fn ask_for_later(&mut self) {
        if self.news.len() <= self.limits.news / 4
            && let Some((peer, page, after)) = self.later.pop_front()
        {
            self.ask_for_page(peer, page, Some(after));
        }
    }

    fn ask_for_page(&mut self, peer: PeerId, page: u32, after: Option<Place>) {
        let have = self.gate.replay.complete().take(MAX_HAVE).collect();
        self.request(&peer, &Request::Missing { have, after }, Question::Missing { page, after });
    }

    fn request(&mut self, peer: &PeerId, request: &Request, question: Question) {
        let waiting = self.asked.values().filter(|(asked, _)| asked == peer).count();
        if waiting < WAITING {
            let number = self.swarm.behaviour_mut().ask.send_request(peer, Ok(request.clone()));
            self.asked.insert(number, (*peer, question));
        }
    }

    fn on_response(&mut self, id: NodeId, peer: PeerId, question: Question, response: Response) {
        match (question, response) {
            (Question::Missing { page, after }, Response::Page { envelopes, next }) => {
                // Who has nothing more, or goes in circles, has nothing more.
                let next = next.filter(|next| after.is_none_or(|after| *next > after));
                let new = self.on_page(id, envelopes);
                if let (Some(next), Some(1..)) = (next, new)
                    && page < MAX_PAGES
                {
                    self.later.push_back((peer, page + 1, next));
                    self.ask_for_later();
                }
                self.tell(Told::Synced { from: id, new: new.unwrap_or(0) });
            }
            (Question::Seen(asked), Response::Seen(mut seen)) => {
                seen.retain(|sight| asked.contains(&sight.indicator));
                self.tell(Told::Answered { from: id, seen });
            }
            (Question::Join, Response::Join { admitted, name })
                if self.joining.take_if(|invite| invite.inviter == id).is_some() =>
            {
                let told = if admitted { Told::Admitted { by: id, name } } else { Told::Refused { by: id } };
                self.tell(told);
            }
            _ => {}
        }
    }

    /// Takes a page: how many of its envelopes were new. `None` when one was broken; then the others are not looked at.
    fn on_page(&mut self, id: NodeId, envelopes: Vec<Vec<u8>>) -> Option<usize> {
        let mut new = 0;
        for bytes in envelopes {
            let clock = (self.clock)();
            match self.gate.judge(&bytes, Path::Snapshot, &self.members, clock) {
                Verdict::Accept(accepted) => {
                    new += 1;
                    self.take(accepted);
                }
                Verdict::Ignore(_) => {}
                Verdict::Reject(_) => {
                    self.broken(id);
                    return None;
                }
            }
        }
        Some(new)
    }

    pub(super) fn ask(&mut self, indicators: Vec<Indicator>) {
        let indicators: Vec<Indicator> = indicators.into_iter().take(MAX_INDICATORS).collect();
        let mut peers = self.neighbours();
        peers.truncate(ASKED);
        let request = Request::Seen(indicators.clone());
        for peer in peers {
            self.request(&peer, &request, Question::Seen(indicators.clone()));
        }
    }

    /// Only what was asked for is answered.
    pub(super) fn answer(&mut self, ticket: u64, mut seen: Vec<Sight>) {
        if let Some(Ticket { asked, channel, .. }) = self.tickets.remove(&ticket) {
            seen.retain(|sight| asked.contains(&sight.indicator));
            self.respond(channel, Response::Seen(seen));
        }
    }

    pub(super) fn expire_tickets(&mut self, now: Moment) {
        self.tickets.retain(|_, ticket| now.since(ticket.since) < PATIENCE);
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
        token: &[u8; 16],
        name: Option<Name>,
        channel: ResponseChannel<Response>,
    ) {
        let now = self.now();
        let used = self.invites.redeem(token, now) && self.admit(id, name.clone());
        // Who is in already asks again when our answer was lost.
        let admitted = used || self.members.find(id, now).is_some();
        let open = self.invites.any(now);
        let invite = crate::invite::hash(token);
        // Who guesses learns nothing, not even a name.
        let name_of_ours = admitted.then(|| self.name.clone());
        self.respond(channel, Response::Join { admitted, name: name_of_ours });
        if used {
            self.tell(Told::Joined { id, name, invite });
            // From now on it gossips as any member; it was connected already, as a stranger.
            self.gossip().remove_blacklisted_peer(&peer);
            self.tell(Told::Connected(id));
            self.ask_for_missing(peer);
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
            let request = Request::Join { token: invite.token, name: Some(self.name.clone()) };
            self.request(&peer, &request, Question::Join);
        }
    }
}
