//! What the node speaks, in the order in which connections are judged: limits, memory, the door, then the protocols.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use libp2p_gossipsub::{
    self as gossipsub, IdentTopic, MaxCountSubscriptionFilter, MessageAuthenticity, MessageId,
    PeerScoreParams, PeerScoreThresholds, TopicHash, TopicScoreParams, ValidationMode,
    WhitelistSubscriptionFilter, score_parameter_decay,
};
use libp2p_swarm::NetworkBehaviour;
use sha2::{Digest, Sha256};
use {
    libp2p_connection_limits as connection_limits, libp2p_identify as identify, libp2p_identity as identity,
    libp2p_memory_connection_limits as memory_connection_limits, libp2p_ping as ping,
    libp2p_request_response as request_response,
};

use super::Limits;
use super::codec::Codec;
use super::door::Door;
use crate::identity::NetId;
use crate::message::Kind;

pub type Gossip = gossipsub::Behaviour<gossipsub::IdentityTransform, Filter>;
type Filter = MaxCountSubscriptionFilter<WhitelistSubscriptionFilter>;

/// All parts. Those that refuse connections come first.
#[derive(NetworkBehaviour)]
#[behaviour(prelude = "libp2p_swarm::derive_prelude")]
pub struct Behaviour {
    pub limits: connection_limits::Behaviour,
    pub memory: memory_connection_limits::Behaviour,
    pub door: Door,
    pub gossip: Gossip,
    pub ask: request_response::Behaviour<Codec>,
    pub identify: identify::Behaviour,
    pub ping: ping::Behaviour,
    #[cfg(feature = "mdns")]
    pub mdns: libp2p_mdns::tokio::Behaviour,
}

/// The two topics of a network.
#[derive(Clone, Debug)]
pub struct Topics {
    pub report: IdentTopic,
    pub control: IdentTopic,
}

impl Topics {
    pub fn of(net: NetId) -> Self {
        Self {
            report: IdentTopic::new(format!("/slips/{net}/report/1")),
            control: IdentTopic::new(format!("/slips/{net}/ctl/1")),
        }
    }

    pub fn for_kind(&self, kind: Kind) -> &IdentTopic {
        match kind {
            Kind::Report | Kind::Block => &self.report,
            Kind::Retract | Kind::Roster | Kind::Announce | Kind::List => &self.control,
        }
    }
}

/// The global limit of frames. libp2p-gossipsub 0.50.1 compares its whole receive buffer (filled by 8 KiB) with it, so that a small
/// limit loses bursts of small messages without a word; 64 KiB is safe. The topics have limits of their own.
const FRAME: usize = 64 * 1024;

/// Gossipsub tells duplicates apart for so long. It need not be as long as messages are taken: behind it stands the replay window,
/// which forgets nothing. Each message, also one that is ignored, costs memory for so long.
const REMEMBERED: Duration = Duration::from_secs(120);

/// Questions, ours and the peer's, that one connection holds.
const QUESTIONS: usize = 8;
/// Streams of one connection: two of gossip, ping and identify each, the questions, and what is negotiated. What the peer sends on a
/// stream that is not read waits in memory, 256 KiB each at most.
pub const STREAMS: usize = 32;
/// Streams of one connection whose protocol is not agreed yet.
pub const NEGOTIATING: usize = 8;

pub fn build(
    key: &identity::Keypair,
    net: NetId,
    topics: &Topics,
    limits: &Limits,
) -> Result<Behaviour, String> {
    let connections = connection_limits::ConnectionLimits::default()
        .with_max_established(Some(limits.connections))
        .with_max_established_per_peer(Some(2))
        .with_max_pending_incoming(Some(64))
        .with_max_pending_outgoing(Some(16));
    let ask = request_response::Config::default()
        .with_request_timeout(Duration::from_secs(10))
        .with_max_concurrent_streams(QUESTIONS);
    let protocol = (format!("/slips/{net}/ask/1"), request_response::ProtocolSupport::Full);
    let identify = identify::Config::new(format!("/slips/{net}/1"), key.public())
        .with_agent_version("slips".to_owned())
        .with_hide_listen_addrs(true)
        .with_cache_size(0);
    Ok(Behaviour {
        limits: connection_limits::Behaviour::new(connections),
        memory: memory_connection_limits::Behaviour::with_max_bytes(limits.memory),
        door: Door::new(limits.many_per_address.then_some(IpAddr::V4(Ipv4Addr::LOCALHOST))),
        gossip: gossip(topics, limits)?,
        ask: request_response::Behaviour::with_codec(Codec, [protocol], ask),
        identify: identify::Behaviour::new(identify),
        ping: ping::Behaviour::new(ping::Config::new().with_interval(Duration::from_secs(30))),
        #[cfg(feature = "mdns")]
        mdns: libp2p_mdns::tokio::Behaviour::new(libp2p_mdns::Config::default(), key.public().to_peer_id())
            .map_err(|error| error.to_string())?,
    })
}

fn config(topics: &Topics) -> Result<gossipsub::Config, String> {
    gossipsub::ConfigBuilder::default()
        .validation_mode(ValidationMode::Anonymous)
        .validate_messages()
        .message_id_fn(message_id)
        .max_transmit_size(FRAME)
        .max_transmit_size_for_topic(4 * 1024, topics.report.hash())
        .max_transmit_size_for_topic(20 * 1024, topics.control.hash())
        // What a mesh of mute neighbours does not bring is told of at the next beat: within a second, also then.
        .heartbeat_interval(Duration::from_millis(700))
        .duplicate_cache_time(REMEMBERED)
        .mesh_n(8)
        .mesh_n_low(6)
        .mesh_n_high(12)
        .mesh_outbound_min(2)
        .gossip_lazy(6)
        .history_length(6)
        .history_gossip(3)
        .flood_publish(true)
        .connection_handler_queue_len(4096)
        .max_publish_messages(4096)
        .publish_queue_duration(Duration::from_secs(60))
        .forward_queue_duration(Duration::from_secs(60))
        .build()
        .map_err(|error| error.to_string())
}

fn gossip(topics: &Topics, limits: &Limits) -> Result<Gossip, String> {
    let (report, control) = (topics.report.hash(), topics.control.hash());
    let config = config(topics)?;
    let allowed = HashSet::from([report.clone(), control.clone()]);
    let filter = MaxCountSubscriptionFilter {
        filter: WhitelistSubscriptionFilter(allowed),
        max_subscribed_topics: 2,
        max_subscriptions_per_request: 4,
    };
    let mut gossip = Gossip::new_with_subscription_filter(MessageAuthenticity::Anonymous, config, filter)?;
    gossip.with_peer_score(scores(&[report, control], limits), THRESHOLDS)?;
    for topic in [&topics.report, &topics.control] {
        gossip.subscribe(topic).map_err(|error| error.to_string())?;
    }
    Ok(gossip)
}

fn message_id(message: &gossipsub::Message) -> MessageId {
    let digest = Sha256::new().chain_update(message.topic.as_str()).chain_update(&message.data).finalize();
    MessageId::from(digest.iter().copied().take(20).collect::<Vec<u8>>())
}

const THRESHOLDS: PeerScoreThresholds = PeerScoreThresholds {
    gossip_threshold: -20.0,
    publish_threshold: -40.0,
    graylist_threshold: -80.0,
    accept_px_threshold: 1000.0,
    opportunistic_graft_threshold: 1.0,
};

/// What one invalid message costs. All that a peer can earn together ([`MOST_BY_TOPICS`] and 10 for trust) is less, so nobody
/// saves up for lies (the lesson of CVE-2022-47547); two cost four times as much, and it is graylisted.
const INVALID: f64 = -25.0;
const MOST_BY_TOPICS: f64 = 11.0;

fn scores(topics: &[TopicHash], limits: &Limits) -> PeerScoreParams {
    let hour = score_parameter_decay(Duration::from_secs(3600));
    let topic = TopicScoreParams {
        topic_weight: 1.0,
        time_in_mesh_weight: 0.01,
        time_in_mesh_quantum: Duration::from_secs(60),
        time_in_mesh_cap: 100.0,
        first_message_deliveries_weight: 0.5,
        first_message_deliveries_decay: hour,
        first_message_deliveries_cap: 20.0,
        // Our topics are slow: a mesh that delivers nothing has nothing to deliver.
        mesh_message_deliveries_weight: 0.0,
        mesh_failure_penalty_weight: 0.0,
        invalid_message_deliveries_weight: INVALID,
        invalid_message_deliveries_decay: hour,
        ..TopicScoreParams::default()
    };
    let shared = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    PeerScoreParams {
        topics: topics.iter().map(|hash| (hash.clone(), topic.clone())).collect::<HashMap<_, _>>(),
        topic_score_cap: MOST_BY_TOPICS,
        app_specific_weight: 1.0,
        ip_colocation_factor_weight: -20.0,
        ip_colocation_factor_threshold: 2.0,
        ip_colocation_factor_whitelist: shared.into_iter().filter(|_| limits.many_per_address).collect(),
        behaviour_penalty_weight: -10.0,
        behaviour_penalty_threshold: 6.0,
        behaviour_penalty_decay: hour,
        slow_peer_weight: 0.0,
        ..PeerScoreParams::default()
    }
}

/// The score of a peer that is believed so far, -10 to 10.
pub fn score_of(trust: f64) -> f64 {
    if trust.is_finite() { 20.0 * (trust.clamp(0.0, 1.0) - 0.5) } else { -10.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// At 4 KiB libp2p-gossipsub 0.50.1 loses all of a burst of 2000; at 64 KiB nothing.
    #[test]
    fn frames_are_large_enough_for_bursts_and_messages_small() {
        let topics = Topics::of(NetId([7; 8]));
        let config = config(&topics).expect("a configuration");
        assert!(config.max_transmit_size() >= 64 * 1024);
        for kind in Kind::ALL {
            let most = config.max_transmit_size_for_topic(&topics.for_kind(kind).hash());
            assert!(kind.largest() < most && most <= 20 * 1024, "{kind}: {most}");
        }
    }

    /// The lesson of CVE-2022-47547: whatever a peer earns, one invalid message costs more. Two are the end of whoever earned nothing
    /// here, and of the others in [`super::super::discipline`].
    #[test]
    fn nobody_saves_up_for_lies() {
        let earned = MOST_BY_TOPICS + score_of(1.0);
        assert!(earned < -INVALID, "{earned}");
        const { assert!(4.0 * INVALID < THRESHOLDS.graylist_threshold) };
        for odd in [f64::NAN, f64::INFINITY, -3.0, 9.0] {
            assert!((-10.0..=10.0).contains(&score_of(odd)), "{odd}");
        }
    }
}
