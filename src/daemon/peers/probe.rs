//! One try whether the network can be reached: the name servers of this host answer, and what the owner named takes a connection. It waits
//! for nothing; whoever began it looks at it from time to time.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, connect, getsockopt, socket, sockopt::SocketError,
};

/// What does not answer within this time is not reached.
const PATIENCE: Duration = Duration::from_secs(3);
/// So many name servers are asked.
const SERVERS: usize = 4;

/// A try, however it is made.
pub trait Trying: Send {
    /// Whether the network was reached, once it is known.
    fn look(&mut self, now: Duration) -> Option<bool>;
}

/// See the module.
pub struct Probe {
    servers: Vec<UdpSocket>,
    targets: Vec<OwnedFd>,
    /// Whether any of each kind was reached; of a kind that there is none of nothing is asked.
    answered: bool,
    connected: bool,
    until: Duration,
}

impl Probe {
    /// Asks these name servers and calls these targets; none when there is nobody to be tried.
    pub fn start(servers: &[IpAddr], targets: &[SocketAddr], now: Duration) -> Option<Self> {
        if servers.is_empty() && targets.is_empty() {
            return None;
        }
        Some(Self {
            servers: servers.iter().take(SERVERS).filter_map(|server| ask(*server).ok()).collect(),
            targets: targets.iter().filter_map(|target| call(*target).ok()).collect(),
            answered: servers.is_empty(),
            connected: targets.is_empty(),
            until: now.saturating_add(PATIENCE),
        })
    }
}

impl Trying for Probe {
    fn look(&mut self, now: Duration) -> Option<bool> {
        self.answered |= self.servers.iter().any(is_answered);
        self.connected |= self.targets.iter().any(is_connected);
        let reached = self.answered && self.connected;
        (reached || now >= self.until).then_some(reached)
    }
}

/// Who is responsible for the root of all names: every name server knows, and nobody else learns of the question.
const QUESTION: [u8; 17] = [0x51, 0x1b, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 6, 0, 1];

fn ask(server: IpAddr) -> std::io::Result<UdpSocket> {
    let any: IpAddr = match server {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.set_nonblocking(true)?;
    socket.connect((server, 53))?;
    socket.send(&QUESTION)?;
    Ok(socket)
}

fn is_answered(socket: &UdpSocket) -> bool {
    let mut answer = [0; 512];
    matches!(socket.recv(&mut answer), Ok(n) if is_answer(answer.get(..n).unwrap_or_default()))
}

/// Some answer to our question that is no failure of the server's: such is what it says when it reaches nobody itself.
fn is_answer(bytes: &[u8]) -> bool {
    match bytes {
        [a, b, flags, code, ..] => {
            [*a, *b] == [0x51, 0x1b] && flags & 0x80 != 0 && matches!(code & 15, 0 | 3)
        }
        _ => false,
    }
}

fn call(target: SocketAddr) -> nix::Result<OwnedFd> {
    let family = if target.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let fd = socket(family, SockType::Stream, flags, None)?;
    match connect(fd.as_raw_fd(), &SockaddrStorage::from(target)) {
        Ok(()) | Err(Errno::EINPROGRESS) => Ok(fd),
        Err(error) => Err(error),
    }
}

/// One that refuses is not reached: our own firewall refuses in the same way.
fn is_connected(fd: &OwnedFd) -> bool {
    let mut polled = [PollFd::new(fd.as_fd(), PollFlags::POLLOUT)];
    let ready = poll(&mut polled, PollTimeout::ZERO).is_ok_and(|ready| ready > 0);
    let closed = || {
        let [polled] = &polled;
        polled.revents().is_none_or(|events| events.intersects(PollFlags::POLLERR | PollFlags::POLLHUP))
    };
    ready && !closed() && getsockopt(fd, SocketError) == Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn who_answers_is_reached_and_who_refuses_or_is_silent_is_not() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let open = listener.local_addr().expect("address");
        // Connecting to oneself is done when the call returns.
        let mut probe = Probe::start(&[], &[open], Duration::ZERO).expect("a try");
        assert_eq!(probe.look(Duration::ZERO), Some(true));
        drop(listener);
        let mut probe = Probe::start(&[], &[open], Duration::ZERO).expect("a try");
        assert_eq!((probe.look(Duration::ZERO), probe.look(PATIENCE)), (None, Some(false)));
        assert!(Probe::start(&[], &[], Duration::ZERO).is_none());
    }

    #[test]
    fn an_answer_is_ours_and_no_failure() {
        let answer = |flags, code| is_answer(&[0x51, 0x1b, flags, code, 0, 1]);
        assert!(answer(0x81, 0x80) && answer(0x81, 3));
        assert!(!answer(0x81, 2) && !answer(0x81, 5) && !answer(1, 0));
        assert!(!is_answer(&[0x51]) && !is_answer(&[0, 0, 0x80, 0]));
    }
}
