//! Structured entries of systemd's journal, by its native protocol.
//!
//! An entry is one datagram to journald's socket. The socket does not block: when journald stands still or its queue is
//! full, entries are dropped and counted, and the count is an entry of its own as soon as journald takes entries again.
//! When there is no journald, each entry is one line of `key=value` on the stream that was handed in. The journal is a
//! window on what happened, never the record of it.

mod entry;
mod kind;

use std::fmt;
use std::io::{self, Write};
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;

pub use entry::{Entry, Field};
pub use kind::{Kind, Priority};

/// Where journald listens.
pub const SOCKET: &str = "/run/systemd/journal/socket";

/// When an entry is a line on the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lines {
    /// Only when journald cannot have it: for a service.
    WithoutJournald,
    /// Always: for somebody who sits before a terminal.
    Always,
}

/// Where an entry went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Into the journal.
    Journal,
    /// Onto the stream, since there is no journald.
    Line,
    /// Nowhere: journald takes nothing now, or the stream is broken.
    Dropped,
}

/// What became of the entries since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Taken by journald.
    pub journal: u64,
    /// Written as lines because there was no journald.
    pub lines: u64,
    /// Lost.
    pub dropped: u64,
    /// Delivered, but shortened to what a datagram may hold.
    pub cut: u64,
}

/// The way to the journal. One owner, one thread: the writer behind a bounded queue.
pub struct Journal {
    socket: Option<(UnixDatagram, SocketAddr)>,
    stream: Box<dyn Write + Send>,
    lines: Lines,
    budget: usize,
    buffer: Vec<u8>,
    counters: Counters,
    /// Drops that no entry has told of yet.
    untold: u64,
}

impl Journal {
    /// A journal at `socket` (see [`SOCKET`]), with `stream` (stderr, but for tests) as the way out. It opens always;
    /// a journald that comes later is found.
    pub fn open(socket: &Path, stream: Box<dyn Write + Send>, lines: Lines) -> Self {
        let open = || -> io::Result<(UnixDatagram, SocketAddr)> {
            let datagrams = UnixDatagram::unbound()?;
            datagrams.set_nonblocking(true)?;
            Ok((datagrams, SocketAddr::from_pathname(socket)?))
        };
        Self {
            socket: open().ok(),
            stream,
            lines,
            budget: BUDGETS[0],
            buffer: Vec::with_capacity(4096),
            counters: Counters::default(),
            untold: 0,
        }
    }

    /// Hands `entry` over. Never blocks on journald, never fails: what cannot be delivered is counted.
    pub fn send(&mut self, entry: &Entry) -> Delivery {
        let delivery = self.deliver(entry);
        if delivery == Delivery::Dropped {
            self.untold += 1;
        } else {
            self.tell_losses();
        }
        delivery
    }

    /// Tells how many entries were lost, if any were and nobody knows yet: [`send`](Self::send) does so with the next entry, which may
    /// be long in coming.
    pub fn tell_losses(&mut self) {
        if self.untold == 0 {
            return;
        }
        let lost = Entry::new(Kind::Degraded, format_args!("{} journal entries were lost", self.untold))
            .with(Field::Component, "journal")
            .with(Field::Reason, "journald did not take entries")
            .with(Field::Dropped, self.untold);
        // Should it be dropped, too, it is no loss: what it tells is told later.
        match self.tell_journald(&lost) {
            Ok(()) => self.counters.journal += 1,
            Err(error) if is_absence(&error) && self.write_line(&lost).is_ok() => self.counters.lines += 1,
            Err(_) => return,
        }
        self.untold = 0;
    }

    /// What became of the entries so far.
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    fn deliver(&mut self, entry: &Entry) -> Delivery {
        match self.tell_journald(entry) {
            Ok(()) => {
                self.counters.journal += 1;
                if self.lines == Lines::Always {
                    // The journal has it; a closed terminal is no loss.
                    let _ = self.write_line(entry);
                }
                Delivery::Journal
            }
            Err(error) if is_absence(&error) => match self.write_line(entry) {
                Ok(()) => {
                    self.counters.lines += 1;
                    Delivery::Line
                }
                Err(_) => self.drop_one(),
            },
            // A journald that stands still holds stderr too, if that leads to it: no line.
            Err(_) => self.drop_one(),
        }
    }

    const fn drop_one(&mut self) -> Delivery {
        self.counters.dropped += 1;
        Delivery::Dropped
    }

    fn tell_journald(&mut self, entry: &Entry) -> io::Result<()> {
        let Some((socket, address)) = &self.socket else { return Err(io::ErrorKind::NotFound.into()) };
        let budgets = std::iter::once(self.budget)
            .chain(BUDGETS.iter().copied().filter(|smaller| *smaller < self.budget));
        let mut last = io::Error::from(io::ErrorKind::InvalidInput);
        for budget in budgets {
            self.buffer.clear();
            let whole = entry.encode(&mut self.buffer, budget);
            match socket.send_to_addr(&self.buffer, address) {
                Ok(_) => {
                    self.counters.cut += u64::from(whole == entry::Fit::Cut);
                    return Ok(());
                }
                // The limit is the machine's (net.core.wmem_default); try what any machine takes.
                Err(error) if error.raw_os_error() == Some(EMSGSIZE) => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    fn write_line(&mut self, entry: &Entry) -> io::Result<()> {
        let mut line = entry.to_string();
        line.push('\n');
        // One write, so that lines of several writers do not mix.
        self.stream.write_all(line.as_bytes())?;
        self.stream.flush()
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal").field("counters", &self.counters).finish_non_exhaustive()
    }
}

/// Whether the error means that nobody listens, so that a line is the way out.
fn is_absence(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, NotFound, PermissionDenied};
    matches!(error.kind(), NotFound | ConnectionRefused | PermissionDenied)
}

/// "Message too long" on Linux, all architectures but Alpha, MIPS and SPARC, which Slips does not serve.
const EMSGSIZE: i32 = 90;

/// Bytes of one datagram, tried in this order. The default send buffer of Linux holds 208 KiB; the smallest that an
/// administrator can set, 4.5 KiB.
const BUDGETS: [usize; 3] = [64 * 1024, 16 * 1024, 3 * 1024];

#[cfg(test)]
mod tests;
