//! What is said on stderr by threads that must not wait: under systemd it leads to journald, which may stand still.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::Path;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use slips_systemd::journal::{Journal, Lines, SOCKET};

/// The journal; where nobody keeps one, its lines go to stderr.
pub fn open_journal() -> Journal {
    Journal::open(Path::new(SOCKET), Box::new(Aside), Lines::WithoutJournald)
}

/// Stderr, which refuses what it cannot take at once. (A socket or pipe that takes something takes more than a line: of a stream socket three
/// quarters are free then.)
struct Aside;

impl Write for Aside {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        let stderr = io::stderr();
        if takes(&stderr) { stderr.lock().write(text) } else { Err(io::ErrorKind::WouldBlock.into()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether it takes something now.
fn takes(to: &impl AsFd) -> bool {
    let mut all = [PollFd::new(to.as_fd(), PollFlags::POLLOUT)];
    let ready = poll(&mut all, PollTimeout::ZERO).unwrap_or(0);
    // A reader that is gone makes the write fail, which is no waiting either.
    ready > 0
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn who_does_not_read_holds_nobody_up() {
        let (mut here, there) = UnixStream::pair().expect("a pair");
        let line = [b'x'; 16 << 10];
        let mut lines = 0;
        while takes(&here) {
            here.write_all(&line).expect("it took it at once");
            lines += 1;
            assert!(lines < 1000, "it takes all");
        }
        assert!(lines > 0);
        drop(there);
        assert!(takes(&here) && here.write(&line).is_err());
    }
}
