//! Signals as values: blocked in every thread, read by the one that waits for them.

use std::os::fd::AsFd;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::bell::Bell;

/// What the outside asks of the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// SIGTERM or SIGINT: end in order.
    Stop,
    /// SIGHUP.
    Reload,
}

/// The signals of this process, from its creation on.
pub struct Signals(SignalFd);

impl Signals {
    /// Blocks SIGTERM, SIGINT and SIGHUP in this thread and in all that it starts. Call it before any thread is started.
    pub fn take() -> nix::Result<Self> {
        let mut set = SigSet::empty();
        for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
            set.add(signal);
        }
        set.thread_block()?;
        Ok(Self(SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?))
    }

    /// The next signal, or `None` when none came within `timeout`.
    pub fn wait(&self, timeout: Duration) -> nix::Result<Option<Asked>> {
        let millis = u16::try_from(timeout.as_millis()).unwrap_or(u16::MAX);
        let mut fds = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::from(millis)) {
            Ok(0) | Err(nix::errno::Errno::EINTR) => return Ok(None),
            Ok(_) => {}
            Err(error) => return Err(error),
        }
        self.next()
    }

    /// The same, and also when the bell rings.
    pub fn wait_or(&self, bell: &Bell, timeout: Duration) -> nix::Result<Option<Asked>> {
        bell.wait(&[self.0.as_fd()], timeout);
        self.next()
    }

    fn next(&self) -> nix::Result<Option<Asked>> {
        let Some(info) = self.0.read_signal()? else { return Ok(None) };
        let reload = i32::try_from(info.ssi_signo).is_ok_and(|number| number == Signal::SIGHUP as i32);
        Ok(Some(if reload { Asked::Reload } else { Asked::Stop }))
    }
}
