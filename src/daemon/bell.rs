//! A bell: wakes who waits on descriptors, when something lies in a queue, which has none.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};

/// The bell itself, with the one who waits.
#[derive(Debug)]
pub struct Bell(Arc<EventFd>);

/// Rings the bell; also when it is dropped, so that the waiting one sees that nobody is left to send. So it is to be dropped after the end of
/// the queue.
#[derive(Clone, Debug)]
pub struct Rope(Arc<EventFd>);

impl Bell {
    /// A silent bell.
    pub fn new() -> nix::Result<Self> {
        let silent = EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        Ok(Self(Arc::new(silent)))
    }

    /// What rings it.
    pub fn rope(&self) -> Rope {
        Rope(Arc::clone(&self.0))
    }

    /// Waits until it rings, or one of the others has something to read, or this time is over; it is silent again then. What came into a
    /// queue before the ring is there to be read.
    pub fn wait(&self, others: &[BorrowedFd<'_>], at_most: Duration) {
        self.wait_for(others.iter().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)).collect(), at_most);
    }

    /// The same, for others that are waited for in other ways, too.
    pub fn wait_for<'a>(&'a self, mut all: Vec<PollFd<'a>>, at_most: Duration) {
        all.push(PollFd::new(self.0.as_fd(), PollFlags::POLLIN));
        // Whole milliseconds and never too early, or the last one would be spent in turns without end.
        let millis = at_most.as_micros().div_ceil(1000);
        let timeout = PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX);
        // A signal, too, is only a reason to look.
        let _ = poll(&mut all, timeout);
        let _ = self.0.read();
    }
}

impl Rope {
    /// Wakes who waits, or who is about to.
    pub fn ring(&self) {
        // It fails when it was rung without end and nobody came: then it rings already.
        let _ = self.0.write(1);
    }
}

impl Drop for Rope {
    fn drop(&mut self) {
        self.ring();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{TryRecvError, sync_channel};

    use super::*;

    #[test]
    fn what_is_sent_before_the_ring_is_there_after_the_wait_and_the_last_rope_tells_the_end() {
        // Longer than any test may take.
        const FOREVER: Duration = Duration::from_secs(3600);
        let bell = Bell::new().expect("bell");
        let (to, from) = sync_channel(8);
        let rope = bell.rope();
        let sender = std::thread::spawn(move || {
            for n in 0..100 {
                to.send(n).expect("send");
                rope.ring();
            }
            drop(to);
            drop(rope);
        });
        let mut got = Vec::new();
        loop {
            match from.try_recv() {
                Ok(n) => got.push(n),
                Err(TryRecvError::Empty) => bell.wait(&[], FOREVER),
                Err(TryRecvError::Disconnected) => break,
            }
        }
        sender.join().expect("sender");
        assert_eq!(got, (0..100).collect::<Vec<_>>());
    }
}
