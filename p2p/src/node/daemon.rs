//! The node's end of the socket.

use std::io;
use std::os::unix::net::UnixStream as Socket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};

use crate::link::{Frames, FromNode, NotAFrame, Start, ToNode, VERSION};
use crate::moment::{Clock, Moment};
use crate::node::{Channels, Command, Limits, Node, Options, StartError, Told};

/// Bytes that are read at once.
const READ: usize = 16 * 1024;
/// Frames that wait for the socket. The daemon reads all the time; beyond them the node keeps its news, and drops the oldest.
const FRAMES: usize = 256;

/// Why the node's work ended.
#[derive(Debug, thiserror::Error)]
pub enum Served {
    /// The daemon closed the socket: all is well.
    #[error("the daemon closed the socket")]
    Closed,
    /// The socket fails.
    #[error("the socket to the daemon fails")]
    Io(#[from] io::Error),
    /// What came is nothing that this version understands.
    #[error("the daemon is of another version: {0}")]
    Frame(#[from] NotAFrame),
    /// The node does not start; the daemon was told.
    #[error("the node does not start")]
    Start(#[from] StartError),
}

/// Runs a node for the daemon at the other end, until that closes the socket. `now` is the wall clock, `sandbox` is told.
pub fn serve(socket: Socket, now: impl Fn() -> Moment + Send + Sync + 'static, sandbox: &str) -> Served {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return error.into(),
    };
    let worked = runtime.block_on(async {
        socket.set_nonblocking(true)?;
        let (from, to) = UnixStream::from_std(socket)?.into_split();
        work(Reader { from, frames: Frames::default() }, to, now, sandbox).await
    });
    match worked {
        Ok(()) => Served::Closed,
        Err(error) => error,
    }
}

struct Reader {
    from: OwnedReadHalf,
    frames: Frames,
}

impl Reader {
    /// The next word of the daemon; `None` when it closed the socket.
    async fn next(&mut self) -> Result<Option<ToNode>, Served> {
        let mut bytes = [0; READ];
        loop {
            if let Some(frame) = self.frames.next_frame()? {
                return Ok(Some(ToNode::decode(frame)?));
            }
            match self.from.read(&mut bytes).await? {
                0 => return Ok(None),
                n => self.frames.push(bytes.get(..n).unwrap_or_default()),
            }
        }
    }
}

async fn work(
    mut reader: Reader,
    mut to: OwnedWriteHalf,
    now: impl Fn() -> Moment + Send + Sync + 'static,
    sandbox: &str,
) -> Result<(), Served> {
    let hello = FromNode::Hello { version: VERSION, sandbox: sandbox.to_owned() };
    to.write_all(&hello.encode()).await?;
    let start = match reader.next().await? {
        Some(ToNode::Start(start)) => *start,
        Some(_) => return Err(NotAFrame::Malformed.into()),
        None => return Ok(()),
    };
    let synced = Arc::new(AtomicBool::new(start.synced));
    let (node, channels) = match Node::start(options(start, now, &synced)) {
        Ok(started) => started,
        Err(error) => {
            let why = format!("{error}{}", cause(&error));
            to.write_all(&FromNode::Failed(why).encode()).await?;
            return Err(error.into());
        }
    };
    let Channels { commands, told } = channels;
    let (answers, answered) = mpsc::channel(FRAMES);
    tokio::select! {
        () = node.run() => Ok(()),
        done = hear(&mut reader, commands, answers, &synced) => done,
        done = tell(&mut to, told, answered) => done,
    }
}

fn cause(error: &dyn std::error::Error) -> String {
    error.source().map(|cause| format!(": {cause}")).unwrap_or_default()
}

fn options(
    start: Start,
    now: impl Fn() -> Moment + Send + Sync + 'static,
    synced: &Arc<AtomicBool>,
) -> Options {
    let synced = Arc::clone(synced);
    Options {
        key: start.key,
        psk: start.psk,
        epoch: start.epoch,
        last_seq: start.last_seq,
        name: start.name,
        listen: start.listen.iter().filter_map(|address| address.parse().ok()).collect(),
        members: start.members,
        invites: start.invites,
        replay: start.replay,
        limits: Limits::default(),
        clock: Arc::new(move || Clock { now: now(), synced: synced.load(Ordering::Relaxed) }),
    }
}

/// Hands what the daemon says to the node.
async fn hear(
    reader: &mut Reader,
    commands: mpsc::Sender<Command>,
    answers: mpsc::Sender<FromNode>,
    synced: &AtomicBool,
) -> Result<(), Served> {
    while let Some(word) = reader.next().await? {
        let command = match word {
            ToNode::Start(_) => return Err(NotAFrame::Malformed.into()),
            ToNode::Synced(is) => {
                synced.store(is, Ordering::Relaxed);
                continue;
            }
            ToNode::Status => {
                let (reply, status) = oneshot::channel();
                if commands.send(Command::Status(reply)).await.is_err() {
                    return Ok(());
                }
                if let Ok(status) = status.await {
                    // Nobody reads any more: the other end of this function's work says so.
                    let _ = answers.send(FromNode::Status(Box::new(status))).await;
                }
                continue;
            }
            ToNode::Keep(envelope) => Command::Keep(envelope),
            ToNode::Publish { message, ttl } => Command::Publish { message, ttl },
            ToNode::Members(members) => Command::Members(Box::new(members)),
            ToNode::Invites(open) => Command::Invites(open),
            ToNode::Believe(id, trust) => Command::Believe(id, trust),
            ToNode::Ask(indicators) => Command::Ask(indicators),
            ToNode::Answer { ticket, seen } => Command::Answer { ticket, seen },
            ToNode::Join(invite) => Command::Join(invite),
        };
        if commands.send(command).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// Hands what the node tells to the daemon.
async fn tell(
    to: &mut OwnedWriteHalf,
    mut told: mpsc::Receiver<Told>,
    mut answers: mpsc::Receiver<FromNode>,
) -> Result<(), Served> {
    loop {
        let word = tokio::select! {
            Some(news) = told.recv() => from(news),
            Some(answer) = answers.recv() => answer,
            else => return Ok(()),
        };
        to.write_all(&word.encode()).await?;
    }
}

fn from(news: Told) -> FromNode {
    match news {
        Told::Listening(address) => FromNode::Listening(address.to_string()),
        Told::Connected(id) => FromNode::Connected(id),
        Told::Gone(id) => FromNode::Gone(id),
        Told::Shunned(id) => FromNode::Shunned(id),
        Told::Heard(accepted) => FromNode::Heard(accepted.envelope),
        Told::Asked { from, indicators, ticket } => FromNode::Asked { from, indicators, ticket },
        Told::Answered { from, seen } => FromNode::Answered { from, seen },
        Told::Published { seq, envelope } => FromNode::Published { seq, envelope },
        Told::Joined { id, name, invite } => FromNode::Joined { id, name, invite },
        Told::Admitted { by, name } => FromNode::Admitted { by, name },
        Told::Refused { by } => FromNode::Refused(by),
        Told::Synced { from, new } => FromNode::Synced { from, new },
    }
}
