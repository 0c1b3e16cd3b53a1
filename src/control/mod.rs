//! Asking the running daemon about its blocks: one line each way over an abstract unix socket.
//!
//! The kernel lets only the daemon's own socket change its table, so the command line must ask. An abstract name belongs to a
//! network namespace, as the table does: whoever can see this firewall finds this daemon, and no other. Only root and the
//! daemon's own user are heard, and never the process that talks with peers, whatever its user; the line is bounded, a client that stalls is dropped. Anybody may take an abstract name before us: the
//! daemon says who has it and waits for it, the command line believes nobody but root and the daemon's user.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use nix::sys::socket::sockopt::{PeerCredentials, SendTimeout};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, UnixAddr, connect, getsockopt, setsockopt, socket,
};
use nix::sys::time::TimeVal;
use slips_core::addr::Net;

pub mod api;
pub mod client;
mod pending;

pub use self::pending::{Pending, Undone};

use crate::daemon::bell::Rope;
use crate::daemon::peers::{NodeProcess, Word};

/// The name in the network namespace.
const NAME: &[u8] = b"slips-control";
/// Longest line that is asked and that is answered, in bytes.
const MAX_LINE: u64 = 512;
const MAX_ANSWER: u64 = 64 << 10;
/// Longest pause: whoever forgets about it is protected again tomorrow.
const LONGEST_PAUSE: u64 = 86_400;
/// How long a client may take to say its line, and the daemon to begin what it is asked,
const PATIENCE: Duration = Duration::from_secs(5);
/// and to end what it began.
const ENDING: Duration = Duration::from_secs(10);
/// How often it is tried to get the name that somebody else has.
const TRY_AGAIN: Duration = Duration::from_secs(2);
/// Asks that may wait for the responder.
pub const ASK_QUEUE: usize = 8;

/// What may be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Lift all blocks and take everything of ours out of the kernel.
    Flush,
    /// How blocking stands, as JSON.
    Status,
    /// What is known of one address or network, as JSON.
    Explain(Net),
    /// What was dropped of one address; counts it from now on.
    Count(Net),
    /// Let everybody pass for so many seconds.
    Pause(u64),
    /// Block again after a pause.
    Resume,
    /// Try whether blocking blocks.
    SelfTest,
    /// Read the configuration, lists and peers again.
    Reload,
    /// About peers.
    Peers(PeersAsk),
    /// Lift one block.
    Unblock(Net),
    /// Block by hand.
    Block {
        /// Whom.
        net: Net,
        /// How long, in seconds.
        secs: u64,
        /// Why, for the journal and the book.
        why: String,
    },
}

/// What may be asked about peers; the answers are described where the state of membership is (`crate::peers`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeersAsk {
    /// The directory changed: read it again.
    Reload,
    /// Who is connected and how far believed, as JSON.
    Status,
    /// Who said what, of all or of one: an address, network, domain or fingerprint as it was typed.
    Reports(Option<String>),
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flush => f.write_str("flush"),
            Self::Status => f.write_str("status"),
            Self::Explain(net) => write!(f, "explain {net}"),
            Self::Count(net) => write!(f, "count {net}"),
            Self::Pause(secs) => write!(f, "pause {secs}"),
            Self::Resume => f.write_str("resume"),
            Self::SelfTest => f.write_str("self-test"),
            Self::Reload => f.write_str("reload"),
            Self::Peers(PeersAsk::Reload) => f.write_str("peers-reload"),
            Self::Peers(PeersAsk::Status) => f.write_str("peers-status"),
            Self::Peers(PeersAsk::Reports(None)) => f.write_str("peers-reports"),
            Self::Peers(PeersAsk::Reports(Some(about))) => {
                let about: String =
                    about.chars().filter(|c| !c.is_control() && *c != ' ').take(255).collect();
                write!(f, "peers-reports {about}")
            }
            Self::Unblock(net) => write!(f, "unblock {net}"),
            Self::Block { net, secs, why } => write!(f, "block {net} {secs} {}", reason(why)),
        }
    }
}

/// A reason as it is written down and shown: a line, and no orders to a terminal.
fn reason(why: &str) -> String {
    why.chars().filter(|c| !c.is_control()).take(100).collect()
}

impl Ask {
    /// Parses a line.
    fn parse(line: &str) -> Result<Self, String> {
        let mut words = line.trim_end().splitn(4, ' ');
        let verb = words.next().unwrap_or_default();
        if verb == "pause" {
            let secs = words.next().and_then(|secs| secs.parse().ok());
            let secs = secs.filter(|secs| (1..=LONGEST_PAUSE).contains(secs));
            return secs.map(Self::Pause).ok_or_else(|| format!("a pause lasts from 1 to {LONGEST_PAUSE} s"));
        }
        match verb {
            "peers-reload" => return Ok(Self::Peers(PeersAsk::Reload)),
            "peers-status" => return Ok(Self::Peers(PeersAsk::Status)),
            "peers-reports" => {
                let about = words.next().filter(|about| !about.is_empty()).map(str::to_owned);
                return Ok(Self::Peers(PeersAsk::Reports(about)));
            }
            _ => {}
        }
        let mut net = || -> Result<Net, String> {
            words
                .next()
                .unwrap_or_default()
                .parse()
                .map_err(|error: slips_core::addr::NotANet| error.to_string())
        };
        match verb {
            "flush" => Ok(Self::Flush),
            "status" => Ok(Self::Status),
            "resume" => Ok(Self::Resume),
            "self-test" => Ok(Self::SelfTest),
            "reload" => Ok(Self::Reload),
            "explain" => Ok(Self::Explain(net()?)),
            "count" => Ok(Self::Count(net()?)),
            "unblock" => Ok(Self::Unblock(net()?)),
            "block" => {
                let net = net()?;
                let secs = words.next().and_then(|secs| secs.parse().ok()).filter(|secs| *secs > 0);
                let secs = secs.ok_or("for how many seconds?")?;
                Ok(Self::Block { net, secs, why: words.next().unwrap_or_default().to_owned() })
            }
            _ => Err(format!("`{}` is nothing that can be asked", verb.escape_debug())),
        }
    }
}

/// What is answered: a sentence, and whether it was done.
pub type Answer = Result<String, String>;

/// What is answered to who would lift a block that there is not.
pub fn not_blocked(net: Net) -> String {
    format!("{net} is not blocked")
}

/// Who takes what is asked: each with what wakes it.
pub struct Ends {
    /// The responder.
    pub responder: (SyncSender<Pending>, Rope),
    /// Peers. They are told, too, when the owner lifts a block.
    pub peers: (SyncSender<Word>, Rope),
    /// The main thread.
    pub main: (SyncSender<Pending>, Rope),
    /// It faces strangers, and may have our user: what it asks is refused.
    pub node: NodeProcess,
}

/// Who has the name that should be ours, as far as the kernel tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Squatter {
    pid: Option<i32>,
    uid: Option<u32>,
}

impl Squatter {
    fn of(name: &[u8]) -> Self {
        let credentials =
            connect_to(name).and_then(|stream| Ok(getsockopt(&stream.as_fd(), PeerCredentials)?));
        credentials.map_or_else(
            |_| Self::default(),
            |peer| Self { pid: Some(peer.pid()).filter(|pid| *pid > 0), uid: Some(peer.uid()) },
        )
    }

    /// It is no daemon of ours: neither root's nor of our own user.
    pub fn is_stranger(&self) -> bool {
        self.uid.is_some_and(|uid| uid != 0 && uid != nix::unistd::geteuid().as_raw())
    }
}

impl fmt::Display for Squatter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pid, uid } = self;
        match pid {
            Some(pid) => {
                let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
                write!(f, "process {pid} ({})", name.trim_end().escape_debug())?;
            }
            None => f.write_str("an unknown process")?,
        }
        match uid {
            Some(uid) => write!(f, " of user {uid}"),
            None => f.write_str(" of an unknown user"),
        }
    }
}

/// The daemon's end. Dropping it does not end the thread; [`Server::stop`] does.
pub struct Server {
    stopping: Arc<AtomicBool>,
    listening: Arc<AtomicBool>,
    wake: SyncSender<()>,
    address: SocketAddr,
}

impl Server {
    /// Listens and passes what it hears to whom it concerns, until stopped. Returns the thread's work to be spawned by the caller. Where somebody else has the name, returns who, and the work begins with getting it; `got` is called then.
    pub fn listen(
        to: Arc<Ends>,
        got: impl FnOnce() + Send,
    ) -> io::Result<(Self, Option<Squatter>, impl FnOnce() + Send)> {
        Self::listen_as(NAME, to, got)
    }

    fn listen_as(
        name: &'static [u8],
        to: Arc<Ends>,
        got: impl FnOnce() + Send,
    ) -> io::Result<(Self, Option<Squatter>, impl FnOnce() + Send)> {
        let address = SocketAddr::from_abstract_name(name)?;
        let (listener, squatter) = match UnixListener::bind_addr(&address) {
            Ok(listener) => (Some(listener), None),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => (None, Some(Squatter::of(name))),
            Err(error) => return Err(error),
        };
        let (stopping, listening) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (stop, ready) = (Arc::clone(&stopping), Arc::clone(&listening));
        let (wake, woken) = sync_channel(1);
        let at = address.clone();
        let work = move || {
            let listener = match listener {
                Some(listener) => listener,
                None => loop {
                    if woken.recv_timeout(TRY_AGAIN) != Err(RecvTimeoutError::Timeout) {
                        return;
                    }
                    if let Ok(listener) = UnixListener::bind_addr(&at) {
                        got();
                        break listener;
                    }
                },
            };
            // Either `stop` sees that it has to wake us, or we see that it was called.
            ready.store(true, Ordering::SeqCst);
            if stop.load(Ordering::SeqCst) {
                return;
            }
            for client in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                if let Ok(client) = client {
                    // A client that goes away or stalls harms only itself.
                    let _ = serve(client, &to);
                }
            }
        };
        Ok((Self { stopping, listening, wake, address }, squatter, work))
    }

    /// Ends the listening thread.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        // If one waits there already, or nobody does, it is as well.
        let _ = self.wake.try_send(());
        if self.listening.load(Ordering::SeqCst) {
            // Wakes the accept; if it fails there is nobody to wake.
            let _ = UnixStream::connect_addr(&self.address);
        }
    }
}

/// Connects with whoever has the name, which may be a stranger who accepts nobody: not for ever.
fn connect_to(name: &[u8]) -> io::Result<UnixStream> {
    let fd = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&fd, SendTimeout, &TimeVal::new(PATIENCE.as_secs().cast_signed(), 0))?;
    connect(fd.as_raw_fd(), &UnixAddr::new_abstract(name)?)?;
    Ok(UnixStream::from(fd))
}

fn serve(client: UnixStream, to: &Ends) -> io::Result<()> {
    let peer = getsockopt(&client.as_fd(), PeerCredentials)?;
    let own = nix::unistd::geteuid();
    if peer.uid() != 0 && peer.uid() != own.as_raw() {
        return (&client).write_all(b"no only root may ask\n");
    }
    client.set_read_timeout(Some(PATIENCE))?;
    client.set_write_timeout(Some(PATIENCE))?;
    let mut line = String::new();
    BufReader::new((&client).take(MAX_LINE)).read_line(&mut line)?;
    let answer = match Ask::parse(&line) {
        _ if to.node.is(peer.pid()) => {
            to.tell_peers(Word::NodeCommanded);
            Err("the process that talks with peers may ask nothing".into())
        }
        Err(error) => Err(error),
        Ok(ask) => hand_over(ask, to).map_err(|undone| undone.to_string()),
    };
    let text = match answer {
        Ok(text) => format!("ok {text}\n"),
        Err(text) => format!("no {text}\n"),
    };
    (&client).write_all(text.as_bytes())
}

/// Gives what is asked to whom it concerns, and waits for the answer.
pub(crate) fn hand_over(ask: Ask, to: &Ends) -> Result<String, Undone> {
    let ask = match ask {
        Ask::Block { net, secs, why } => Ask::Block { net, secs, why: reason(&why) },
        ask => ask,
    };
    let lifted = if let Ask::Unblock(net) = ask { Some(net) } else { None };
    let (of_peers, of_all) = (matches!(ask, Ask::Peers(_)), ask == Ask::Reload);
    let (pending, awaited) = Pending::new(ask);
    let given = if of_peers {
        to.tell_peers(Word::Asked(pending))
    } else {
        let (queue, rope) = if of_all { &to.main } else { &to.responder };
        let given = queue.try_send(pending).is_ok();
        rope.ring();
        given
    };
    if !given {
        return Err(Undone::Busy);
    }
    let answer = awaited.wait(PATIENCE, ENDING);
    if let (Some(net), Ok(_)) = (lifted, &answer) {
        // Whoever asked for the block was wrong. A full queue costs that lesson only.
        to.tell_peers(Word::Unblocked(net));
    }
    answer
}

impl Ends {
    fn tell_peers(&self, word: Word) -> bool {
        let given = self.peers.0.try_send(word).is_ok();
        self.peers.1.ring();
        given
    }
}

/// Why the daemon could not be asked.
#[derive(Debug)]
pub enum Unasked {
    /// No daemon runs in this network namespace.
    NoDaemon,
    /// Something listens there that is neither root's nor the daemon's.
    Stranger(u32),
    /// The daemon cannot be talked with.
    Io(io::Error),
}

/// Asks the daemon of this network namespace.
pub fn ask(what: &Ask) -> Result<Answer, Unasked> {
    ask_as(NAME, what)
}

fn ask_as(name: &[u8], what: &Ask) -> Result<Answer, Unasked> {
    let daemon = match connect_to(name) {
        Ok(daemon) => daemon,
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return Err(Unasked::NoDaemon),
        Err(error) => return Err(Unasked::Io(error)),
    };
    let peer = getsockopt(&daemon.as_fd(), PeerCredentials).map_err(|errno| Unasked::Io(errno.into()))?;
    if !is_trusted(peer.uid()) {
        return Err(Unasked::Stranger(peer.uid()));
    }
    let mut line = String::new();
    let mut talk = || -> io::Result<()> {
        daemon.set_read_timeout(Some(PATIENCE + ENDING + PATIENCE))?;
        (&daemon).write_all(format!("{what}\n").as_bytes())?;
        BufReader::new((&daemon).take(MAX_ANSWER)).read_line(&mut line).map(drop)
    };
    talk().map_err(Unasked::Io)?;
    match line.trim_end().split_once(' ') {
        Some(("ok", text)) => Ok(Ok(text.to_owned())),
        Some((_, text)) => Ok(Err(text.to_owned())),
        None => Err(Unasked::Io(io::ErrorKind::UnexpectedEof.into())),
    }
}

/// Whether one who answers as this user is believed to be the daemon.
fn is_trusted(uid: u32) -> bool {
    let service = || nix::unistd::User::from_name(SERVICE_USER).ok().flatten().map(|user| user.uid.as_raw());
    uid == 0 || uid == nix::unistd::geteuid().as_raw() || Some(uid) == service()
}

/// The user of the systemd unit.
const SERVICE_USER: &str = "slips";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_the_ask_that_made_it() {
        let net: Net = "192.0.2.0/24".parse().expect("net");
        for ask in [
            Ask::Flush,
            Ask::Status,
            Ask::Explain(net),
            Ask::Count(net),
            Ask::Pause(600),
            Ask::Resume,
            Ask::SelfTest,
            Ask::Reload,
            Ask::Peers(PeersAsk::Reload),
            Ask::Peers(PeersAsk::Status),
            Ask::Peers(PeersAsk::Reports(None)),
            Ask::Peers(PeersAsk::Reports(Some("bad.example".into()))),
            Ask::Unblock(net),
            Ask::Block { net, secs: 60, why: "a reason of words".into() },
            Ask::Block { net, secs: 60, why: String::new() },
        ] {
            assert_eq!(Ask::parse(&format!("{ask}\n")), Ok(ask));
        }
    }

    #[test]
    fn nonsense_is_refused_with_a_reason() {
        for line in [
            "",
            "\n",
            "frob",
            "unblock",
            "unblock x",
            "block 1.2.3.4",
            "block 1.2.3.4 0 x",
            "block 1.2.3.4 -1",
            "pause",
            "pause 0",
            "pause 86401",
            "explain",
        ] {
            assert!(Ask::parse(line).is_err(), "{line:?}");
        }
        let evil = Ask::Block { net: Net::host([192, 0, 2, 1].into()), secs: 1, why: "a\nflush".into() };
        assert_eq!(evil.to_string().lines().count(), 1);
    }

    fn ends() -> (Arc<Ends>, std::sync::mpsc::Receiver<Pending>) {
        let bell = crate::daemon::bell::Bell::new().expect("bell");
        let ((to, asks), (to_peers, _)) = (sync_channel(ASK_QUEUE), sync_channel(1));
        let (to_main, _) = sync_channel(1);
        let (responder, peers, main) = ((to, bell.rope()), (to_peers, bell.rope()), (to_main, bell.rope()));
        (Arc::new(Ends { responder, peers, main, node: NodeProcess::default() }), asks)
    }

    #[test]
    fn the_process_that_talks_with_peers_is_refused_and_told_of() {
        const OURS: &[u8] = b"slips-control-of-a-node-test";
        let (mut ends, asks) = ends();
        let (to_peers, words) = sync_channel(1);
        Arc::get_mut(&mut ends).expect("ours alone").peers.0 = to_peers;
        let node = ends.node.clone();
        let (server, _, work) = Server::listen_as(OURS, ends, || ()).expect("listen");
        let listening = std::thread::spawn(work);
        node.set(i32::try_from(std::process::id()).ok());
        let net: Net = "0.0.0.0/0".parse().expect("net");
        for command in [Ask::Flush, Ask::Unblock(net), Ask::Pause(60), Ask::Status] {
            let refused = ask_as(OURS, &command).expect("answered").expect_err("refused");
            assert!(refused.contains("peers"), "{refused}");
            assert!(matches!(words.try_recv(), Ok(Word::NodeCommanded)));
        }
        assert!(asks.try_recv().is_err());
        server.stop();
        listening.join().expect("ended");
    }

    #[test]
    fn who_has_our_name_is_named_and_the_name_is_ours_when_it_is_free() {
        const OURS: &[u8] = b"slips-control-of-a-test";
        let squatting =
            UnixListener::bind_addr(&SocketAddr::from_abstract_name(OURS).expect("name")).expect("bind");
        let (ends, asks) = ends();
        let (tell, told) = sync_channel(1);
        let got = move || tell.send(()).expect("send");
        let (server, squatter, work) = Server::listen_as(OURS, ends, got).expect("listen");
        let squatter = squatter.expect("taken");
        let own = nix::unistd::getuid().as_raw();
        assert_eq!(squatter.pid, i32::try_from(std::process::id()).ok());
        assert!(squatter.to_string().ends_with(&format!(" of user {own}")), "{squatter}");
        assert!(!squatter.is_stranger(), "it may be another slips");
        assert!(Squatter { pid: None, uid: Some(own + 1) }.is_stranger());
        let listening = std::thread::spawn(work);
        drop(squatting);
        told.recv_timeout(Duration::from_secs(60)).expect("it is free");
        let client = std::thread::spawn(|| ask_as(OURS, &Ask::Status));
        let pending = asks.recv_timeout(Duration::from_secs(60)).expect("asked");
        pending.answer_by(|ask| {
            assert_eq!(*ask, Ask::Status);
            Ok("well".into())
        });
        assert_eq!(client.join().expect("client").expect("asked"), Ok("well".into()));
        server.stop();
        listening.join().expect("ended");
    }

    #[test]
    fn who_waits_for_the_name_can_be_stopped_and_who_accepts_nobody_is_not_waited_for() {
        const OURS: &[u8] = b"slips-control-of-another-test";
        let address = SocketAddr::from_abstract_name(OURS).expect("name");
        let _squatting = UnixListener::bind_addr(&address).expect("bind");
        let (server, squatter, work) = Server::listen_as(OURS, ends().0, || ()).expect("listen");
        assert!(squatter.is_some());
        let listening = std::thread::spawn(work);
        server.stop();
        listening.join().expect("ended");
    }
}
