//! The way between two nodes: TCP behind the pre-shared key, then Noise, then Yamux, each bounded.

use std::time::Duration;

use libp2p_core::Transport;
use libp2p_core::upgrade::Version;
use libp2p_identity as identity;
use libp2p_pnet::{PnetConfig, PreSharedKey};
use libp2p_swarm::{Config, Swarm};
use {libp2p_noise as noise, libp2p_tcp as tcp, libp2p_yamux as yamux};

use super::StartError;
use super::behaviour::{self, Behaviour};

/// The swarm of a node.
pub fn swarm(
    keypair: &identity::Keypair,
    psk: [u8; 32],
    behaviour: Behaviour,
) -> Result<Swarm<Behaviour>, StartError> {
    let noise = noise::Config::new(keypair).map_err(|error| StartError::Config(error.to_string()))?;
    let mut streams = yamux::Config::default();
    streams.set_max_num_streams(behaviour::STREAMS);
    let transport = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true))
        .and_then(move |socket, _| PnetConfig::new(PreSharedKey::new(psk)).handshake(socket))
        .upgrade(Version::V1)
        .authenticate(noise)
        .multiplex(streams)
        .timeout(Duration::from_secs(10))
        .boxed();
    let config = Config::with_tokio_executor()
        .with_idle_connection_timeout(Duration::from_secs(600))
        .with_max_negotiating_inbound_streams(behaviour::NEGOTIATING);
    Ok(Swarm::new(transport, behaviour, keypair.public().to_peer_id(), config))
}
