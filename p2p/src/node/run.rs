//! The one task that owns the swarm, and its loop.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::time::Duration;

use futures::StreamExt;
use libp2p_core::Multiaddr;
use libp2p_gossipsub::{self as gossipsub, MessageAcceptance, PublishError, TopicHash};
use libp2p_identity::{self as identity, PeerId};
use libp2p_request_response::OutboundRequestId;
use libp2p_swarm::{Swarm, SwarmEvent};
use tokio::sync::mpsc;

use super::archive::Archive;
use super::behaviour::{self, Behaviour, BehaviourEvent, Topics};
use super::dial::Dial;
use super::discipline::Discipline;
use super::serve::{Question, Ticket};
use super::{COMMANDS, Channels, Command, Limits, Options, ReadClock, StartError, Status, Told, transport};
use crate::bucket::Bucket;
use crate::envelope::{self, Head};
use crate::exchange::Place;
use crate::gate::{Accepted, Gate, Path, Verdict, Why};
use crate::identity::{NetId, NodeId, NodeKey};
use crate::invite::{Invite, Open};
use crate::members::{Members, Peer};
use crate::message::{Announce, Message, Name};
use crate::moment::Moment;
use crate::privacy::{self, Cleared};

/// A node; [`Node::run`] is its life.
pub struct Node {
    pub(super) swarm: Swarm<Behaviour>,
    pub(super) key: NodeKey,
    pub(super) psk: [u8; 32],
    pub(super) net: NetId,
    pub(super) name: Name,
    pub(super) clock: ReadClock,
    pub(super) limits: Limits,
    pub(super) topics: Topics,
    pub(super) gate: Gate,
    pub(super) members: Members,
    pub(super) archive: Archive,
    pub(super) invites: Open,
    pub(super) joining: Option<Invite>,
    pub(super) questions: BTreeMap<NodeId, Bucket>,
    pub(super) tickets: BTreeMap<u64, Ticket>,
    pub(super) asked: BTreeMap<OutboundRequestId, (PeerId, Question)>,
    pub(super) discipline: Discipline,
    pub(super) next_ticket: u64,
    rates: BTreeMap<NodeId, Bucket>,
    epoch: u64,
    seq: u64,
    pace: Bucket,
    to_publish: VecDeque<(Cleared, Duration)>,
    /// Published when no neighbour was known to listen: said again to the first that does.
    unsent: VecDeque<(TopicHash, Place)>,
    next_sync: Moment,
    /// The present pause between two questions for what is missing.
    sync_pause: Duration,
    /// Next pages that wait until the daemon has read the last ones.
    pub(super) later: VecDeque<(PeerId, u32, Place)>,
    next_review: Moment,
    synced_with: Option<PeerId>,
    pub(super) dials: BTreeMap<NodeId, Dial>,
    pub(super) news: VecDeque<Told>,
    commands: mpsc::Receiver<Command>,
    told: mpsc::Sender<Told>,
    too_fast: u64,
    news_dropped: u64,
    publish_dropped: u64,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Node {}", self.key.id())
    }
}

/// So often it is looked whose roster has ended.
const REVIEW: Duration = Duration::from_secs(60);
/// All that can wake the loop.
enum Wake {
    Swarm(Box<SwarmEvent<BehaviourEvent>>),
    Command(Option<Command>),
    Room(Option<mpsc::OwnedPermit<Told>>),
    Tick,
}

/// The peer id of libp2p; `None` when the bytes are no key.
pub(super) fn peer_of(id: NodeId) -> Option<PeerId> {
    let key = identity::ed25519::PublicKey::try_from_bytes(&id.0).ok()?;
    Some(identity::PublicKey::from(key).to_peer_id())
}

/// Our name for a peer of libp2p; `None` for one with another kind of key.
pub(super) fn node_of(peer: &PeerId) -> Option<NodeId> {
    peer.to_base58().parse().ok()
}

impl Node {
    /// Builds the node and opens its listeners. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the key or the configuration is refused, or an address cannot be listened on.
    pub fn start(options: Options) -> Result<(Self, Channels), StartError> {
        let net = NetId::of(&options.psk);
        let topics = Topics::of(net);
        let keypair = identity::Keypair::ed25519_from_bytes(options.key.seed()).map_err(StartError::Key)?;
        let behaviour =
            behaviour::build(&keypair, net, &topics, &options.limits).map_err(StartError::Config)?;
        let mut swarm = transport::swarm(&keypair, options.psk, behaviour)?;
        for address in options.listen {
            swarm.listen_on(address.clone()).map_err(|error| StartError::Listen(address, error))?;
        }
        let (commands, commands_in) = mpsc::channel(COMMANDS);
        let (told_out, told) = mpsc::channel(COMMANDS);
        let now = (options.clock)().now;
        let mut gate = Gate::new(net, options.key.id(), options.limits.quotas);
        for (author, bytes) in &options.replay {
            // A window that cannot be read is one that we never had: times still bound what is taken.
            let _ = gate.replay.restore(*author, bytes);
        }
        let mut node = Self {
            swarm,
            psk: options.psk,
            net,
            name: options.name,
            limits: options.limits,
            topics,
            gate,
            members: Members::default(),
            archive: Archive::new(options.limits.archive),
            invites: options.invites,
            joining: None,
            questions: BTreeMap::new(),
            tickets: BTreeMap::new(),
            asked: BTreeMap::new(),
            discipline: Discipline::default(),
            next_ticket: 1,
            rates: BTreeMap::new(),
            epoch: options.epoch,
            seq: options.last_seq,
            pace: Bucket::new(options.limits.publish, now),
            to_publish: VecDeque::new(),
            unsent: VecDeque::new(),
            next_sync: now,
            sync_pause: options.limits.resync,
            later: VecDeque::new(),
            next_review: now,
            synced_with: None,
            dials: BTreeMap::new(),
            news: VecDeque::new(),
            commands: commands_in,
            told: told_out,
            too_fast: 0,
            news_dropped: 0,
            publish_dropped: 0,
            key: options.key,
            clock: options.clock,
        };
        node.set_members(options.members);
        Ok((node, Channels { commands, told }))
    }

    /// Lives until the daemon closes one of the channels.
    pub async fn run(mut self) {
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let wake = tokio::select! {
                event = self.swarm.select_next_some() => Wake::Swarm(Box::new(event)),
                command = self.commands.recv() => Wake::Command(command),
                permit = self.told.clone().reserve_owned(), if !self.news.is_empty() => Wake::Room(permit.ok()),
                _ = tick.tick() => Wake::Tick,
            };
            match wake {
                Wake::Swarm(event) => self.on_swarm(*event),
                Wake::Command(Some(command)) => self.on_command(command),
                Wake::Room(Some(permit)) => {
                    if let Some(news) = self.news.pop_front() {
                        permit.send(news);
                    }
                    self.ask_for_later();
                }
                Wake::Command(None) | Wake::Room(None) => return,
                Wake::Tick => self.on_tick(),
            }
        }
    }

    pub(super) fn now(&self) -> Moment {
        (self.clock)().now
    }

    pub(super) fn tell(&mut self, news: Told) {
        if self.news.is_empty()
            && let Ok(permit) = self.told.try_reserve()
        {
            permit.send(news);
            return;
        }
        if self.news.len() >= self.limits.news {
            self.news.pop_front();
            self.news_dropped += 1;
        }
        self.news.push_back(news);
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Publish { message, ttl } => {
                if self.to_publish.len() >= self.limits.publish_queue {
                    self.to_publish.pop_front();
                    self.publish_dropped += 1;
                }
                self.to_publish.push_back((message, ttl));
                self.publish_waiting();
            }
            Command::Members(members) => self.set_members(*members),
            Command::Keep(envelope) => self.keep(envelope),
            Command::Believe(id, trust) => {
                if let Some(peer) = peer_of(id) {
                    self.gossip().set_application_score(&peer, behaviour::score_of(trust));
                }
            }
            Command::Ask(indicators) => self.ask(indicators),
            Command::Answer { ticket, seen } => self.answer(ticket, seen),
            Command::Invite { token, life, addresses, reply } => {
                let opened = self.open_invite(token, life, addresses);
                let _ = reply.send(opened);
            }
            Command::Invites(open) => {
                self.invites = open;
                let any = self.invites.any(self.now());
                self.swarm.behaviour_mut().door.set_invites(any);
            }
            Command::Join(invite) => self.join(invite),
            Command::Status(reply) => {
                let _ = reply.send(self.status());
            }
        }
    }

    pub(super) fn gossip(&mut self) -> &mut behaviour::Gossip {
        &mut self.swarm.behaviour_mut().gossip
    }

    /// Publishes what the pace allows; nothing before the clock is right, as nobody could judge our times.
    fn publish_waiting(&mut self) {
        let clock = (self.clock)();
        while clock.is_sane() && !self.to_publish.is_empty() && self.pace.take(1, clock.now) {
            let Some((message, ttl)) = self.to_publish.pop_front() else { return };
            self.seq += 1;
            let head = Head {
                net: self.net,
                author: self.key.id(),
                epoch: self.epoch,
                seq: self.seq,
                issued: clock.now,
                ttl,
            };
            let bytes = message.seal(&head, &self.key);
            let topic = self.topics.for_kind(message.message().kind()).hash();
            self.archive.put(&head, message.message(), bytes.clone());
            self.send(topic, (head.author, head.epoch, head.seq));
            self.tell(Told::Published { seq: self.seq, envelope: bytes });
        }
    }

    /// Keeps what was published or taken in an earlier run, and holds still.
    fn keep(&mut self, envelope: Vec<u8>) {
        if let Ok(opened) = envelope::open(&envelope, self.net)
            && opened.head.until() > self.now()
        {
            if let Message::Announce(announce) = &opened.message {
                self.reached_at(opened.head.author, announce);
            }
            self.archive.put(&opened.head, &opened.message, envelope);
        }
    }

    /// Publishes what is in the archive. Whatever goes wrong, it stays there: neighbours get it when they ask for what they miss.
    fn send(&mut self, topic: TopicHash, place: Place) {
        let Some(bytes) = self.archive.get(place).cloned() else { return };
        let sent = self.gossip().publish(topic.clone(), bytes);
        if matches!(sent, Err(PublishError::NoPeersSubscribedToTopic)) {
            if self.unsent.len() >= self.limits.publish_queue {
                self.unsent.pop_front();
            }
            self.unsent.push_back((topic, place));
        }
    }

    /// Asks the next neighbour in turn for what did not reach us.
    fn resync(&mut self, now: Moment) {
        if now < self.next_sync {
            return;
        }
        // Nothing was new: the neighbours have what we have, and the next question can wait longer.
        self.next_sync = now.plus(self.sync_pause);
        self.sync_pause = self.sync_pause.saturating_mul(2).min(self.limits.resync.saturating_mul(3));
        let peers = self.neighbours();
        let next = peers.iter().find(|peer| self.synced_with.is_none_or(|last| **peer > last));
        self.synced_with = next.or(peers.first()).copied();
        if let Some(peer) = self.synced_with {
            self.ask_for_missing(peer);
        }
    }

    /// The members that are connected, in the order of their names.
    pub(super) fn neighbours(&self) -> Vec<PeerId> {
        let door = &self.swarm.behaviour().door;
        let mut peers: Vec<PeerId> =
            self.swarm.connected_peers().filter(|peer| door.is_member(peer)).copied().collect();
        peers.sort_unstable();
        peers
    }

    pub(super) fn set_members(&mut self, members: Members) {
        self.members = members;
        let now = self.now();
        let admitted = self.members.admitted(now);
        let gone: Vec<NodeId> =
            self.dials.keys().filter(|id| admitted.binary_search(id).is_err()).copied().collect();
        for id in gone {
            // What it said is served to nobody any more; what was taken of it stays taken, should it come back.
            self.dials.remove(&id);
            self.archive.forget(id);
        }
        self.rates.retain(|id, _| admitted.binary_search(id).is_ok());
        for id in &admitted {
            self.dials.entry(*id).or_default();
        }
        let peers: HashSet<PeerId> = admitted.into_iter().filter_map(peer_of).collect();
        self.swarm.behaviour_mut().door.set_members(peers);
    }

    fn on_tick(&mut self) {
        let now = self.now();
        self.publish_waiting();
        self.archive.expire(now);
        self.gate.sweep(now);
        self.questions.retain(|_, bucket| !bucket.is_full(now));
        self.expire_tickets(now);
        let open = self.invites.any(now);
        let door = &mut self.swarm.behaviour_mut().door;
        door.set_invites(open);
        door.tick(now);
        if self.discipline.sweep(now) {
            self.shun(now);
        }
        if now >= self.next_review {
            // Rosters end without a message that says so.
            self.next_review = now.plus(REVIEW);
            let members = std::mem::take(&mut self.members);
            self.set_members(members);
        }
        self.dial_members(now);
        self.resync(now);
    }

    fn on_swarm(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::NewListenAddr { address, .. } => self.tell(Told::Listening(address)),
            SwarmEvent::ConnectionEstablished { peer_id, num_established, .. }
                if num_established.get() == 1 =>
            {
                self.on_connected(peer_id);
            }
            SwarmEvent::ConnectionClosed { peer_id, num_established: 0, .. } => self.on_gone(&peer_id),
            SwarmEvent::Behaviour(BehaviourEvent::Gossip(gossipsub::Event::Message {
                propagation_source,
                message_id,
                message,
            })) => {
                let acceptance = self.on_gossip(&propagation_source, &message);
                self.gossip().report_message_validation_result(&message_id, &propagation_source, acceptance);
            }
            SwarmEvent::Behaviour(BehaviourEvent::Gossip(gossipsub::Event::Subscribed { .. })) => {
                for (topic, place) in std::mem::take(&mut self.unsent) {
                    self.send(topic, place);
                }
            }
            SwarmEvent::Behaviour(BehaviourEvent::Ask(event)) => self.on_ask(event),
            #[cfg(feature = "mdns")]
            SwarmEvent::Behaviour(BehaviourEvent::Mdns(libp2p_mdns::Event::Discovered(hints))) => {
                hints.into_iter().for_each(|(peer, address)| self.on_hint(peer, address));
            }
            // A partition leaves connections that only ping tells to be dead.
            SwarmEvent::Behaviour(BehaviourEvent::Ping(event)) if event.result.is_err() => {
                self.swarm.close_connection(event.connection);
            }
            _ => {}
        }
    }

    fn on_connected(&mut self, peer: PeerId) {
        let Some(id) = node_of(&peer) else { return };
        if !self.swarm.behaviour().door.is_member(&peer) {
            // A stranger with, maybe, an invite: no gossip before it is let in.
            self.gossip().blacklist_peer(&peer);
            return;
        }
        self.gossip().remove_blacklisted_peer(&peer);
        if let Some(dial) = self.dials.get_mut(&id) {
            dial.pause = Duration::ZERO;
        }
        self.tell(Told::Connected(id));
        if self.joining.as_ref().is_some_and(|invite| invite.inviter == id) {
            self.present_invite(peer);
        } else {
            self.ask_for_missing(peer);
        }
    }

    fn on_gone(&mut self, peer: &PeerId) {
        let Some(id) = node_of(peer) else { return };
        let now = self.now();
        if let Some(dial) = self.dials.get_mut(&id) {
            dial.next = now;
        }
        if self.swarm.behaviour().door.is_member(peer) {
            self.tell(Told::Gone(id));
        } else {
            // Gossip would remember every stranger for ever.
            self.gossip().remove_blacklisted_peer(peer);
        }
    }

    fn on_gossip(&mut self, from: &PeerId, message: &gossipsub::Message) -> MessageAcceptance {
        let clock = (self.clock)();
        let Some(from) = node_of(from) else { return MessageAcceptance::Ignore };
        let rate = self.limits.neighbour;
        if self.members.find(from, clock.now).is_none() {
            return MessageAcceptance::Ignore;
        }
        if !self.rates.entry(from).or_insert_with(|| Bucket::new(rate, clock.now)).take(1, clock.now) {
            self.too_fast += 1;
            self.wasted(from);
            return MessageAcceptance::Ignore;
        }
        // Before anything is noted: else a message under the wrong topic would use up the number of the true one.
        if envelope::kind_of(&message.data)
            .is_some_and(|kind| self.topics.for_kind(kind).hash() != message.topic)
        {
            self.broken(from);
            return MessageAcceptance::Reject;
        }
        match self.gate.judge(&message.data, Path::Gossip, &self.members, clock) {
            Verdict::Accept(accepted) => {
                self.take(accepted);
                MessageAcceptance::Accept
            }
            Verdict::Ignore(_) => {
                self.wasted(from);
                MessageAcceptance::Ignore
            }
            Verdict::Reject(_) => {
                self.broken(from);
                MessageAcceptance::Reject
            }
        }
    }

    /// A neighbour handed on what it could have seen to be broken.
    pub(super) fn broken(&mut self, from: NodeId) {
        let now = self.now();
        if self.discipline.broken(from, &self.limits, now) {
            self.tell(Told::Shunned(from));
            self.shun(now);
        }
    }

    /// A neighbour sent what was dropped.
    pub(super) fn wasted(&mut self, from: NodeId) {
        let now = self.now();
        if self.discipline.wasted(from, &self.limits, now) {
            self.tell(Told::Shunned(from));
            self.shun(now);
        }
    }

    fn shun(&mut self, now: Moment) {
        let shunned = self.discipline.shunned(now).into_iter().filter_map(peer_of).collect();
        self.swarm.behaviour_mut().door.set_shunned(shunned);
    }

    /// Keeps what was accepted, learns what concerns the node itself, and tells the daemon.
    pub(super) fn take(&mut self, accepted: Box<Accepted>) {
        let head = &accepted.opened.head;
        self.sync_pause = self.limits.resync;
        self.next_sync = self.next_sync.min(self.now().plus(self.sync_pause));
        // Words overtake each other on their ways: what its author took back or said anew since is heard no more.
        if !self.archive.put(head, &accepted.opened.message, accepted.envelope.clone()) {
            return;
        }
        match &accepted.opened.message {
            Message::Roster(signed) => {
                let now = self.now();
                // The gate checked the signature.
                if matches!(self.members.add_roster(signed, now), Ok(crate::roster::Added::Newer)) {
                    let members = std::mem::take(&mut self.members);
                    self.set_members(members);
                }
            }
            Message::Announce(announce) => self.reached_at(head.author, announce),
            Message::Report(_) | Message::Block(_) | Message::Retract(_) | Message::List(_) => {}
        }
        self.tell(Told::Heard(accepted));
    }

    /// A member says where it is reached.
    fn reached_at(&mut self, author: NodeId, announce: &Announce) {
        let now = self.now();
        let Some(dial) = self.dials.get_mut(&author) else { return };
        // What is not a public address would make us knock at doors of the inside.
        let public = announce.addresses.iter().filter(|text| privacy::is_public_address(text));
        let announced: Vec<Multiaddr> = public.filter_map(|text| text.parse().ok()).collect();
        if announced != dial.announced {
            (dial.announced, dial.next, dial.pause) = (announced, now, Duration::ZERO);
        }
    }

    /// Lets a router in that presented an invite.
    pub(super) fn admit(&mut self, id: NodeId, name: Option<Name>) -> bool {
        if self.members.find(id, self.now()).is_none() && self.members.add(id, Peer::invited(name)).is_err() {
            return false;
        }
        let members = std::mem::take(&mut self.members);
        self.set_members(members);
        true
    }

    fn status(&self) -> Status {
        let mut connected: Vec<NodeId> = self.swarm.connected_peers().filter_map(node_of).collect();
        connected.sort_unstable();
        Status {
            connected,
            accepted: self.gate.accepted().collect(),
            refused: self.gate.refused().collect::<Vec<(Why, u64)>>(),
            too_fast: self.too_fast,
            shunned: self.discipline.shunned(self.now()).into_iter().collect(),
            turned_away: self.swarm.behaviour().door.turned_away,
            news_dropped: self.news_dropped,
            publish_dropped: self.publish_dropped,
            publish_waiting: self.to_publish.len(),
            archived: self.archive.len(),
            last_seq: self.seq,
            replay: self.gate.replay.persist().collect(),
        }
    }
}
