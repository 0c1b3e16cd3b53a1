//! Before any handshake is done: who floods the door from one address takes no place of others.

use std::net::SocketAddr;

use slips_p2p::node::Limits;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};

use super::liar::{Liar, connect};
use super::support::{self, id};
use super::{GANG, LIAR, Scene, friend};

/// The TCP address of `/ip4/127.0.0.1/tcp/PORT`.
fn socket_of(address: &str) -> SocketAddr {
    let port = address.rsplit('/').next().and_then(|port| port.parse().ok()).expect("a port");
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// A connection from another address than honest routers have.
async fn knock(to: SocketAddr, from: [u8; 4]) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((from, 0)))?;
    socket.connect(to).await
}

/// Hundreds of connections that say nothing, half a handshake or garbage.
#[tokio::test]
async fn silent_connections_keep_nobody_out() {
    let mut scene = Scene::new().await;
    let to = socket_of(&scene.victim.address);
    let mut held = Vec::new();
    for n in 0..300usize {
        let Ok(mut stream) = knock(to, [127, 0, 0, 66]).await else { continue };
        let _ = match n % 3 {
            0 => Ok(()),
            // Half of the pre-shared key's nonce, and a whole one with garbage behind it.
            1 => stream.write_all(&[7; 12]).await,
            _ => stream.write_all(&[7; 500]).await,
        };
        held.push(stream);
    }
    scene.victim.until_status("the flood", |status| status.turned_away > 200).await;
    let newcomer = friend(GANG.start, &scene.victim, &scene.clock).await;
    newcomer.until("what holds", |seen| (seen.heard.len() >= 3).then_some(())).await;
    scene.nothing_came_of_it().await;
}

/// The key of the network alone is no membership: a hundred identities of nobody.
#[tokio::test]
async fn identities_of_nobody_get_no_connection() {
    let mut scene = Scene::new().await;
    for n in 0..100 {
        if let Ok(muxer) = connect(5000 + n, &scene.victim.address).await {
            drop(muxer);
        }
    }
    assert_eq!(scene.victim.status().await.connected.len(), 3);
    let newcomer = friend(GANG.start, &scene.victim, &scene.clock).await;
    assert!(scene.victim.status().await.connected.contains(&newcomer.id));
    scene.nothing_came_of_it().await;
}

/// A member holds two connections and takes nobody's place with more.
#[tokio::test]
async fn a_member_has_two_connections_at_most() {
    let mut scene = Scene::with(Limits { connections: 8, ..support::limits() }).await;
    let mut held = Vec::new();
    for _ in 0..12 {
        held.push(Liar::neighbour(LIAR, &scene.victim.address).await);
    }
    scene.victim.until_status("two", |_| held.iter().filter(|liar| liar.is_connected()).count() <= 2).await;
    assert!(scene.victim.status().await.connected.contains(&id(LIAR)));
    let newcomer = friend(GANG.start, &scene.victim, &scene.clock).await;
    assert!(scene.victim.status().await.connected.contains(&newcomer.id));
    scene.nothing_came_of_it().await;
}
