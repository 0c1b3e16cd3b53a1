//! Connections: accepted, bounded, answered.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::{Request, Response};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::time::timeout;

use super::Shared;
use super::access::Access;
use super::clients::{Client, Clients, Doing};

/// Longest head of a request, and most of its lines.
const MAX_HEAD: usize = 16 << 10;
const MAX_HEADERS: usize = 64;
/// How often those are looked for who take too long.
const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// How long nobody is accepted after that failed: without descriptors it would fail again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// How long it may take to find out who somebody is.
const KNOWING: Duration = Duration::from_secs(2);

/// Who asks, with each request.
#[derive(Clone)]
pub struct Who {
    /// What he may.
    pub access: Access,
    /// His connection.
    pub client: Arc<Client>,
}

/// Serves clients of a unix socket until told to stop.
pub async fn at_socket(
    listener: UnixListener,
    shared: Arc<Shared>,
    router: Router,
    clients: Arc<Clients>,
    stop: watch::Receiver<bool>,
) {
    let accept = || async { listener.accept().await.map(|(stream, _)| stream) };
    let turn_away = |stream: UnixStream| drop(stream.try_write(BUSY));
    let of = Arc::clone(&shared);
    let know = move |stream: &UnixStream| {
        let peer = getsockopt(stream, PeerCredentials);
        let shared = Arc::clone(&of);
        async move {
            let Ok(peer) = peer else { return Access::Nothing };
            if shared.doorman.is_node(&peer) {
                shared.node_asked();
            }
            if let Some(access) = shared.doorman.at_once(&peer) {
                return access;
            }
            let looked = async {
                // Where groups come from a server that does not answer, its clients wait for each other, and all others are served.
                let turn = Arc::clone(&shared.knowing).acquire_owned().await.ok()?;
                let doorman = shared.doorman.clone();
                let looked = tokio::task::spawn_blocking(move || (doorman.by_groups(&peer), turn));
                looked.await.ok().map(|(access, _)| access)
            };
            timeout(KNOWING, looked).await.ok().flatten().unwrap_or(Access::Nothing)
        }
    };
    serve(accept, turn_away, know, router, clients, stop).await;
}

/// Serves the figures, and nothing else, at an address.
pub async fn at_address(
    listener: TcpListener,
    router: Router,
    clients: Arc<Clients>,
    stop: watch::Receiver<bool>,
) {
    let accept = || async { listener.accept().await.map(|(stream, _)| stream) };
    let turn_away = |stream: TcpStream| drop(stream.try_write(BUSY));
    serve(accept, turn_away, |_: &TcpStream| async { Access::Figures }, router, clients, stop).await;
}

async fn serve<S, A, K>(
    accept: impl Fn() -> A,
    turn_away: impl Fn(S),
    know: impl Fn(&S) -> K,
    router: Router,
    clients: Arc<Clients>,
    mut stop: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: Future<Output = std::io::Result<S>>,
    K: Future<Output = Access> + Send + 'static,
{
    let mut sweeps = tokio::time::interval(SWEEP_EVERY);
    loop {
        tokio::select! {
            _ = stop.changed() => return,
            _ = sweeps.tick() => clients.sweep(),
            accepted = accept() => match accepted {
                Ok(stream) if clients.make_room() => {
                    let client = clients.client();
                    let known = know(&stream);
                    let task = tokio::spawn(connection(stream, known, router.clone(), Arc::clone(&client)));
                    clients.seat(client, task.abort_handle());
                }
                Ok(stream) => turn_away(stream),
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
        }
    }
}

async fn connection<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    known: impl Future<Output = Access>,
    router: Router,
    client: Arc<Client>,
) {
    let who = Who { access: known.await, client };
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(who.clone());
        let client = Arc::clone(&who.client);
        let answer = router.call(request);
        async move {
            let answer: Result<_, Infallible> = answer.await;
            answer.map(|answer: Response<Body>| answer.map(|body| Told { body, client }))
        }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).max_buf_size(MAX_HEAD).max_headers(MAX_HEADERS);
    // A client that goes away, stalls or talks nonsense harms only itself.
    let _ = http.serve_connection(TokioIo::new(stream), service).await;
}

/// A body; when it is told, the client has the word again.
struct Told {
    body: Body,
    client: Arc<Client>,
}

impl HttpBody for Told {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.client.touch();
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        self.client.now(Doing::Waits);
    }
}

/// For whom there is no room.
const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\nconnection: close\r\n\
content-length: 76\r\n\r\n{\"error\":{\"code\":\"busy\",\"message\":\"too many clients are served; try again\"}}";
