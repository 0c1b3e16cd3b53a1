//! TCP connections from a chosen address, and many of them at once: the attacker's tools.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, getsockopt, socket, sockopt,
};

use super::cast::Stop;
use super::tell::{now, wall_micros};

/// Between two probes of a scan: 1,000 ports take two seconds, about what nmap needs.
const PACE: Duration = Duration::from_millis(2);
/// An answer that takes longer will not come: the way and back takes far less than a millisecond.
const PATIENCE: Duration = Duration::from_millis(300);

/// One port or password that was tried. Times are in microseconds since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Probe {
    /// When it began.
    pub(super) sent: i64,
    /// When the last word of the other side came; 0 without one.
    pub(super) heard: i64,
    /// It got its answer: an acceptance or a refusal.
    pub(super) answered: bool,
}

/// Tries one port after another without waiting for answers; tells of each probe what became of it.
pub(super) fn scan(
    from: Ipv4Addr,
    target: Ipv4Addr,
    ports: impl IntoIterator<Item = u16>,
    stop: &Stop,
) -> io::Result<Vec<Probe>> {
    let mut ports = ports.into_iter().peekable();
    let mut probes = Vec::new();
    let mut pending: VecDeque<Pending> = VecDeque::new();
    let mut next = now();
    while !stop.is_set() {
        let moment = now();
        if moment >= next
            && let Some(port) = ports.next()
        {
            pending.push_back(Pending {
                socket: begin(from, SocketAddrV4::new(target, port))?,
                probe: probes.len(),
                until: moment + PATIENCE,
            });
            probes.push(Probe { sent: wall_micros(), heard: 0, answered: false });
            next = moment + PACE;
        }
        while pending.front().is_some_and(|first| first.until <= moment) {
            pending.pop_front();
        }
        let wake = match (ports.peek(), pending.front()) {
            (Some(_), _) => next,
            (None, Some(first)) => first.until,
            (None, None) => break,
        };
        for done in answered(&mut pending, wake)? {
            if let Some(probe) = probes.get_mut(done) {
                probe.heard = wall_micros();
                probe.answered = true;
            }
        }
    }
    Ok(probes)
}

/// Connects from an address of this namespace.
pub(super) fn connect_from(from: Ipv4Addr, to: SocketAddrV4, patience: Duration) -> io::Result<TcpStream> {
    let socket = begin(from, to)?;
    if !wait(&mut [PollFd::new(socket.as_fd(), PollFlags::POLLOUT)], now() + patience)? {
        return Err(io::ErrorKind::TimedOut.into());
    }
    match getsockopt(&socket, sockopt::SocketError)? {
        0 => {}
        error => return Err(io::Error::from_raw_os_error(error)),
    }
    let stream = TcpStream::from(socket);
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    Ok(stream)
}

/// Waits until one of the descriptors is ready; false when the time is over.
pub(super) fn wait(fds: &mut [PollFd<'_>], until: Instant) -> io::Result<bool> {
    loop {
        // Rounded up: a wait of nothing would spin.
        let left = until.saturating_duration_since(now()) + Duration::from_micros(999);
        let millis = u16::try_from(left.as_millis()).unwrap_or(u16::MAX);
        match poll(fds, PollTimeout::from(millis)) {
            Ok(0) if now() >= until => return Ok(false),
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => return Ok(true),
            Err(error) => return Err(error.into()),
        }
    }
}

struct Pending {
    socket: OwnedFd,
    probe: usize,
    until: Instant,
}

/// Takes out what was accepted or refused until `wake`.
fn answered(pending: &mut VecDeque<Pending>, wake: Instant) -> io::Result<Vec<usize>> {
    let mut fds: Vec<PollFd<'_>> =
        pending.iter().map(|one| PollFd::new(one.socket.as_fd(), PollFlags::POLLOUT)).collect();
    if !wait(&mut fds, wake)? {
        return Ok(Vec::new());
    }
    let mut ready = fds.iter().map(|fd| fd.any().unwrap_or(false)).collect::<Vec<_>>().into_iter();
    let mut done = Vec::new();
    pending.retain(|one| {
        if !ready.next().unwrap_or(false) {
            return true;
        }
        let error = getsockopt(&one.socket, sockopt::SocketError);
        if matches!(error, Ok(0)) || error.is_ok_and(|error| Errno::from_raw(error) == Errno::ECONNREFUSED) {
            done.push(one.probe);
        }
        false
    });
    Ok(done)
}

/// Sends the first packet of a connection and does not wait.
fn begin(from: Ipv4Addr, to: SocketAddrV4) -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Inet, SockType::Stream, flags, None)?;
    bind(socket.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(from, 0)))?;
    match connect(socket.as_raw_fd(), &SockaddrIn::from(to)) {
        Ok(()) | Err(Errno::EINPROGRESS | Errno::ECONNREFUSED) => Ok(socket),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_scan_of_this_host_is_answered_by_open_and_closed_ports() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let open = listener.local_addr().expect("addr").port();
        let closed = {
            let gone = TcpListener::bind("127.0.0.1:0").expect("bind");
            gone.local_addr().expect("addr").port()
        };
        let probes =
            scan("127.0.0.2".parse().expect("ip"), Ipv4Addr::LOCALHOST, [open, closed], &Stop::default());
        let probes = probes.expect("scan");
        assert_eq!(probes.iter().map(|probe| probe.answered).collect::<Vec<_>>(), [true, true]);
        let (_, from) = listener.accept().expect("accept");
        assert_eq!(from.ip().to_string(), "127.0.0.2");
    }

    #[test]
    fn a_set_stop_ends_a_scan_at_once() {
        let stop = Stop::default();
        stop.set();
        assert_eq!(scan(Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST, 1..=1000, &stop).expect("scan"), []);
    }
}
