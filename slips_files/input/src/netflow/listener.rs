//! The socket that exporters send to.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use slips_core::addr::{Net, canonical};
use slips_core::event::Event;
use slips_core::time::PacketTime;

use super::Collector;
use crate::error::InputError;
use crate::feed::{Feed, FeedReport, Now};

/// Datagrams that are read before the events are handed on.
const AT_ONCE: usize = 64;
/// So many bytes of them at most: a record may be a few bytes.
const BYTES_AT_ONCE: usize = 128 << 10;
/// What the kernel may keep for us while we are busy; it grants as much as `net.core.rmem_max`.
const RECEIVE_BUFFER: usize = 4 << 20;
/// How often what waits is looked after when nothing comes.
const TURN: Duration = Duration::from_secs(1);
/// The largest datagram there is.
const DATAGRAM: usize = 65_535;

/// Listens for flow exporters.
pub struct Listener {
    name: PathBuf,
    socket: UdpSocket,
    collector: Collector,
    buffer: Vec<u8>,
}

impl Listener {
    /// Listens at `addr` for exporters of the networks `allowed`.
    ///
    /// # Errors
    /// When the address is not ours or taken.
    pub fn open(addr: SocketAddr, allowed: impl IntoIterator<Item = Net>) -> Result<Self, InputError> {
        let name = PathBuf::from(format!("netflow {addr}"));
        let failed = |error| InputError::from_io(&name, error);
        let socket = UdpSocket::bind(addr).map_err(failed)?;
        socket.set_nonblocking(true).map_err(failed)?;
        // Fewer bytes are room all the same.
        let _ = setsockopt(&socket, sockopt::RcvBuf, &RECEIVE_BUFFER);
        let collector = Collector::new(allowed);
        Ok(Self { name, socket, collector, buffer: vec![0; DATAGRAM] })
    }

    /// Takes a datagram and tells how long it is; `None` when there is none.
    fn take(&mut self, now: PacketTime, out: &mut Vec<Event>) -> Result<Option<usize>, InputError> {
        match self.socket.recv_from(&mut self.buffer) {
            Ok((length, from)) => {
                let datagram = self.buffer.get(..length).unwrap_or(&[]);
                self.collector.datagram(canonical(from.ip()), now, datagram, out);
                Ok(Some(length))
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            // A signal, or the word of the network about something that was never sent.
            Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionRefused) => {
                Ok(Some(0))
            }
            Err(error) => Err(InputError::from_io(&self.name, error)),
        }
    }
}

impl Feed for Listener {
    fn name(&self) -> String {
        self.name.display().to_string()
    }

    fn read(&mut self, now: Now, out: &mut Vec<Event>) -> Result<Duration, InputError> {
        self.collector.turn(now.wall, out);
        let mut bytes = 0;
        for _ in 0..AT_ONCE {
            match self.take(now.wall, out)? {
                Some(length) => bytes += length,
                None => return Ok(TURN),
            }
            if bytes >= BYTES_AT_ONCE {
                break;
            }
        }
        Ok(Duration::ZERO)
    }

    fn finish(&mut self, out: &mut Vec<Event>) {
        self.collector.finish(out);
    }

    fn can_be_forged(&self) -> bool {
        true
    }

    fn wakers(&self) -> Vec<BorrowedFd<'_>> {
        vec![self.socket.as_fd()]
    }

    fn report(&self) -> FeedReport {
        self.collector.report()
    }
}
