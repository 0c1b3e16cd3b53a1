//! The malicious node: the handshakes of this crate, and then every byte is its own choice.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::{AsyncReadExt, AsyncWriteExt, FutureExt};
use libp2p_core::muxing::{StreamMuxer, StreamMuxerBox, SubstreamBox};
use libp2p_core::transport::{DialOpts, PortUse};
use libp2p_core::upgrade::Version;
use libp2p_core::{Endpoint, Multiaddr, Transport};
use multistream_select::{Negotiated, Version as Select, dialer_select_proto, listener_select_proto};
use prost::Message as _;
use slips_p2p::envelope::{Head, seal};
use slips_p2p::exchange::{Request, Response};
use slips_p2p::identity::{NetId, NodeId};
use slips_p2p::message::{Kind, Message};
use slips_p2p::moment::Moment;
use tokio::sync::{mpsc, oneshot};

use super::support::{DAY, PSK, id, key, seed, within};

pub type Stream = Negotiated<SubstreamBox>;

/// What the liar answers to a request of the victim; `None`: never.
pub type Serve = Arc<dyn Fn(Request) -> Option<Vec<u8>> + Send + Sync>;

/// gossipsub's messages, as far as lies need them.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Rpc {
    #[prost(message, repeated, tag = "1")]
    pub subscriptions: Vec<Subscription>,
    #[prost(message, repeated, tag = "2")]
    pub publish: Vec<Publish>,
    #[prost(message, optional, tag = "3")]
    pub control: Option<Control>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Subscription {
    #[prost(bool, optional, tag = "1")]
    pub subscribe: Option<bool>,
    #[prost(string, optional, tag = "2")]
    pub topic: Option<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Publish {
    #[prost(bytes = "vec", optional, tag = "2")]
    pub data: Option<Vec<u8>>,
    #[prost(string, optional, tag = "4")]
    pub topic: Option<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Control {
    #[prost(message, repeated, tag = "1")]
    pub have: Vec<Ids>,
    #[prost(message, repeated, tag = "2")]
    pub want: Vec<Want>,
    #[prost(message, repeated, tag = "3")]
    pub graft: Vec<Ids>,
    #[prost(message, repeated, tag = "4")]
    pub prune: Vec<Prune>,
    #[prost(message, repeated, tag = "5")]
    pub dont_want: Vec<Want>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Ids {
    #[prost(string, optional, tag = "1")]
    pub topic: Option<String>,
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub ids: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Want {
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub ids: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Prune {
    #[prost(string, optional, tag = "1")]
    pub topic: Option<String>,
    #[prost(uint64, optional, tag = "3")]
    pub backoff: Option<u64>,
}

pub fn report_topic() -> String {
    format!("/slips/{}/report/1", NetId::of(&PSK))
}

pub fn control_topic() -> String {
    format!("/slips/{}/ctl/1", NetId::of(&PSK))
}

fn topic_of(kind: Kind) -> String {
    if matches!(kind, Kind::Report | Kind::Block) { report_topic() } else { control_topic() }
}

/// An envelope that says to be of `author`, signed with `signer`'s key.
pub fn forge(author: u16, signer: u16, seq: u64, issued: Moment, message: &Message) -> Vec<u8> {
    forge_in(NetId::of(&PSK), author, signer, seq, issued, message)
}

pub fn forge_in(
    net: NetId,
    author: u16,
    signer: u16,
    seq: u64,
    issued: Moment,
    message: &Message,
) -> Vec<u8> {
    seal(&Head { net, author: id(author), epoch: 1, seq, issued, ttl: DAY }, message, &key(signer))
}

/// Whether it reads what is gossiped to it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ears {
    Open,
    Shut,
}

/// A connection of the liar to its victim. Ended by dropping it.
pub struct Liar {
    pub id: NodeId,
    open: mpsc::Sender<oneshot::Sender<SubstreamBox>>,
    gossip: Option<Stream>,
    driver: tokio::task::JoinHandle<()>,
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Dials and shakes hands as key `n`; the error when the victim hung up on it.
pub async fn connect(n: u16, address: &str) -> Result<StreamMuxerBox, String> {
    let mut secret = seed(n);
    let keypair = libp2p_identity::Keypair::ed25519_from_bytes(&mut secret).expect("a key");
    let noise = libp2p_noise::Config::new(&keypair).expect("noise");
    let tcp = libp2p_tcp::tokio::Transport::new(libp2p_tcp::Config::default().nodelay(true));
    let psk = libp2p_pnet::PreSharedKey::new(PSK);
    let mut transport = tcp
        .and_then(move |socket, _| libp2p_pnet::PnetConfig::new(psk).handshake(socket))
        .upgrade(Version::V1)
        .authenticate(noise)
        .multiplex(libp2p_yamux::Config::default())
        .timeout(Duration::from_secs(60))
        .boxed();
    let address: Multiaddr = address.parse().expect("an address");
    let options = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
    let dialled = transport.dial(address, options).map_err(|error| error.to_string())?;
    dialled.await.map(|(_, muxer)| muxer).map_err(|error| error.to_string())
}

impl Liar {
    /// Connects as key `n`, and answers requests with `serve`.
    pub async fn meet(n: u16, address: &str, serve: Serve) -> Self {
        Self::meet_as(n, address, serve, Ears::Open).await
    }

    /// Subscribes to all and reads nothing of it.
    pub async fn deaf(n: u16, address: &str) -> Self {
        let mut liar = Self::meet_as(n, address, Arc::new(|_| None), Ears::Shut).await;
        liar.subscribe().await;
        liar
    }

    async fn meet_as(n: u16, address: &str, serve: Serve, ears: Ears) -> Self {
        let muxer = within("a handshake", connect(n, address)).await.expect("let in");
        let (open, opens) = mpsc::channel(64);
        let driver = tokio::spawn(drive(muxer, opens, serve, ears));
        Self { id: id(n), open, gossip: None, driver }
    }

    /// The same without any answer, but as a neighbour that is subscribed.
    pub async fn neighbour(n: u16, address: &str) -> Self {
        let mut liar = Self::meet(n, address, Arc::new(|_| None)).await;
        liar.subscribe().await;
        liar
    }

    pub async fn subscribe(&mut self) {
        let topic = |topic| Subscription { subscribe: Some(true), topic: Some(topic) };
        let subscriptions = vec![topic(report_topic()), topic(control_topic())];
        self.send(&Rpc { subscriptions, ..Default::default() }).await;
    }

    /// Whether the victim holds the connection still.
    pub fn is_connected(&self) -> bool {
        !self.driver.is_finished()
    }

    /// Waits until the victim hangs up.
    pub async fn hung_up(&mut self) {
        let _ = within("the end of the connection", &mut self.driver).await;
    }

    /// A stream without a protocol; `None` when there is no connection any more.
    pub async fn raw_stream(&self) -> Option<SubstreamBox> {
        let (reply, stream) = oneshot::channel();
        self.open.send(reply).await.ok()?;
        stream.await.ok()
    }

    pub async fn stream(&self, protocol: &str) -> Option<Stream> {
        let raw = self.raw_stream().await?;
        let selected = dialer_select_proto(raw, [protocol], Select::V1).await;
        selected.ok().map(|(_, stream)| stream)
    }

    /// Sends bytes as one frame of gossip; false when nobody reads them.
    pub async fn send_frame(&mut self, frame: &[u8]) -> bool {
        if self.gossip.is_none() {
            self.gossip = self.stream("/meshsub/1.1.0").await;
        }
        let Some(stream) = self.gossip.as_mut() else { return false };
        let mut bytes = Vec::new();
        prost::encoding::encode_varint(frame.len() as u64, &mut bytes);
        bytes.extend_from_slice(frame);
        // A victim that closed the stream reads it no more: the liar does not wait for it for ever.
        let sending = async { stream.write_all(&bytes).await.is_ok() && stream.flush().await.is_ok() };
        let sent = tokio::time::timeout(Duration::from_secs(2), sending).await == Ok(true);
        if !sent {
            self.gossip = None;
        }
        sent
    }

    pub async fn send(&mut self, rpc: &Rpc) -> bool {
        self.send_frame(&rpc.encode_to_vec()).await
    }

    pub async fn say_on(&mut self, topic: String, envelopes: Vec<Vec<u8>>) -> bool {
        let publish = envelopes
            .into_iter()
            .map(|data| Publish { data: Some(data), topic: Some(topic.clone()) })
            .collect();
        self.send(&Rpc { publish, ..Default::default() }).await
    }

    /// Sends an envelope on the topic of its kind.
    pub async fn say(&mut self, kind: Kind, envelope: Vec<u8>) -> bool {
        self.say_on(topic_of(kind), vec![envelope]).await
    }

    /// Sends a request; the stream on which the answer would come.
    pub async fn request(&self, bytes: &[u8]) -> Option<Stream> {
        let mut stream = self.stream(&ask_protocol()).await?;
        stream.write_all(bytes).await.ok()?;
        stream.close().await.ok()?;
        Some(stream)
    }

    /// Asks and reads the answer; `None` when there was none.
    pub async fn ask(&self, request: &Request) -> Option<Response> {
        let mut stream = self.request(&request.encode()).await?;
        let mut bytes = Vec::new();
        within("an answer or none", stream.read_to_end(&mut bytes)).await.ok()?;
        Response::decode(&bytes).ok().filter(|_| !bytes.is_empty())
    }
}

pub fn ask_protocol() -> String {
    format!("/slips/{}/ask/1", NetId::of(&PSK))
}

/// Moves the connection until it ends: opens what is asked for, answers what the victim opens.
async fn drive(
    mut muxer: StreamMuxerBox,
    mut opens: mpsc::Receiver<oneshot::Sender<SubstreamBox>>,
    serve: Serve,
    ears: Ears,
) {
    let mut waiting: VecDeque<oneshot::Sender<SubstreamBox>> = VecDeque::new();
    poll_fn(|cx: &mut Context<'_>| {
        loop {
            while let Poll::Ready(Some(reply)) = opens.poll_recv(cx) {
                waiting.push_back(reply);
            }
            if !waiting.is_empty()
                && let Poll::Ready(opened) = Pin::new(&mut muxer).poll_outbound(cx)
            {
                let Ok(stream) = opened else { return Poll::Ready(()) };
                if let Some(reply) = waiting.pop_front() {
                    let _ = reply.send(stream);
                }
                continue;
            }
            if let Poll::Ready(inbound) = Pin::new(&mut muxer).poll_inbound(cx) {
                let Ok(stream) = inbound else { return Poll::Ready(()) };
                tokio::spawn(answer(stream, serve.clone(), ears));
                continue;
            }
            match Pin::new(&mut muxer).poll(cx) {
                Poll::Ready(Ok(_)) => continue,
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await;
}

const PING: &str = "/ipfs/ping/1.0.0";

async fn answer(stream: SubstreamBox, serve: Serve, ears: Ears) {
    let ask = ask_protocol();
    let protocols = [PING.to_owned(), "/meshsub/1.1.0".to_owned(), ask.clone()];
    let Ok((protocol, mut stream)) = listener_select_proto(stream, protocols).await else { return };
    if protocol == PING {
        let mut bytes = [0; 32];
        while stream.read_exact(&mut bytes).await.is_ok() {
            if stream.write_all(&bytes).await.is_err() || stream.flush().await.is_err() {
                return;
            }
        }
    } else if protocol == ask {
        let mut bytes = Vec::new();
        if stream.read_to_end(&mut bytes).await.is_err() {
            return;
        }
        match Request::decode(&bytes).ok().and_then(|request| serve(request)) {
            Some(answer) => {
                let _ = stream.write_all(&answer).await;
                let _ = stream.close().await;
            }
            None => std::future::pending().await,
        }
    } else if ears == Ears::Shut {
        std::future::pending().await
    } else {
        let mut bytes = [0; 4096];
        while stream.read(&mut bytes).map(|read| read.is_ok_and(|n| n > 0)).await {}
    }
}
