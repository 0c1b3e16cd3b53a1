//! The daemon's end of the socket to the node. It never waits: what does not fit is kept, bounded, and of what is kept too long the oldest
//! that can be done without goes.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use slips_p2p::link::{Frames, FromNode, NotAFrame, ToNode};

/// Bytes that wait for a node that does not read. A whole snapshot of what holds still fits.
const MOST: usize = 24 << 20;
/// Bytes that are read at once, and so often in a turn: a node that talks without end keeps the daemon from nothing else.
const READ: usize = 64 << 10;
const READS: usize = 16;

/// Why a link ended.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    /// The node closed it, by its death.
    #[error("its process ended")]
    Closed,
    /// The socket fails.
    #[error("its socket fails: {0}")]
    Io(#[from] io::Error),
    /// What came is no frame of ours.
    #[error("it is of another version, or not itself: {0}")]
    Frame(#[from] NotAFrame),
    /// It reads nothing any more.
    #[error("it does not listen")]
    Deaf,
}

/// See the module.
pub struct Link {
    socket: UnixStream,
    frames: Frames,
    /// Frames, each with whether it can be done without.
    waiting: VecDeque<(Vec<u8>, bool)>,
    bytes: usize,
    /// Bytes of the first frame that were written already.
    written: usize,
    /// Frames that were dropped.
    pub dropped: u64,
}

impl Link {
    /// Over this socket.
    pub fn new(socket: UnixStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let frames = Frames::default();
        Ok(Self { socket, frames, waiting: VecDeque::new(), bytes: 0, written: 0, dropped: 0 })
    }

    /// The socket, to wait for.
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Whether something waits to be written.
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Says something, as soon as the node reads.
    pub fn send(&mut self, word: &ToNode) -> Result<(), Ended> {
        let spare = matches!(
            word,
            ToNode::Publish { .. }
                | ToNode::Ask(_)
                | ToNode::Answer { .. }
                | ToNode::Believe(..)
                | ToNode::Status
        );
        let frame = word.encode();
        self.bytes += frame.len();
        self.waiting.push_back((frame, spare));
        self.make_room()?;
        self.flush()
    }

    fn make_room(&mut self) -> Result<(), Ended> {
        while self.bytes > MOST {
            // The first may be half written.
            let oldest = self.waiting.iter().skip(1).position(|(_, spare)| *spare).ok_or(Ended::Deaf)?;
            if let Some((frame, _)) = self.waiting.remove(oldest + 1) {
                self.bytes -= frame.len();
                self.dropped += 1;
            }
        }
        Ok(())
    }

    /// Writes what the socket takes.
    pub fn flush(&mut self) -> Result<(), Ended> {
        while let Some((frame, _)) = self.waiting.front() {
            match self.socket.write(frame.get(self.written..).unwrap_or_default()) {
                Ok(n) => self.written += n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::BrokenPipe => return Err(Ended::Closed),
                Err(error) => return Err(error.into()),
            }
            if self.written >= frame.len() {
                self.bytes -= frame.len();
                self.written = 0;
                self.waiting.pop_front();
            }
        }
        Ok(())
    }

    /// Reads what has come.
    pub fn read(&mut self, mut take: impl FnMut(FromNode)) -> Result<(), Ended> {
        let mut bytes = vec![0; READ];
        for _ in 0..READS {
            match self.socket.read(&mut bytes) {
                Ok(0) => return Err(Ended::Closed),
                Ok(n) => self.frames.push(bytes.get(..n).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Err(Ended::Closed),
                Err(error) => return Err(error.into()),
            }
            while let Some(frame) = self.frames.next_frame()? {
                take(FromNode::decode(frame)?);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slips_p2p::identity::NodeId;

    fn pair() -> (Link, UnixStream) {
        let (ours, theirs) = UnixStream::pair().expect("sockets");
        (Link::new(ours).expect("link"), theirs)
    }

    #[test]
    fn a_node_that_does_not_read_costs_bounded_memory_and_never_time() {
        let (mut link, _theirs) = pair();
        link.send(&ToNode::Members(slips_p2p::members::Members::default())).expect("kept");
        let envelope = ToNode::Answer { ticket: 1, seen: Vec::new() };
        for _ in 0..10_000 {
            link.send(&envelope).expect("kept or dropped");
        }
        // What must arrive, and does not fit, ends the link: the node is started anew.
        let keep = ToNode::Keep(vec![0; 1 << 20]);
        let ended = (0..64).find_map(|_| link.send(&keep).err());
        assert!(matches!(ended, Some(Ended::Deaf)), "{ended:?}");
        assert!(link.dropped > 0 && link.bytes <= MOST + (2 << 20), "{} {}", link.dropped, link.bytes);
    }

    #[test]
    fn words_arrive_in_order_and_the_end_is_noticed() {
        let (mut link, mut theirs) = pair();
        let words = [FromNode::Gone(NodeId([1; 32])), FromNode::Heard(vec![3; 100_000])];
        for word in &words {
            theirs.write_all(&word.encode()).expect("write");
        }
        drop(theirs);
        let mut got = Vec::new();
        let ended = link.read(|word| got.push(word));
        assert!(matches!(ended, Err(Ended::Closed)), "{ended:?}");
        assert_eq!(got, words);
    }
}
