//! The node's process: how the daemon starts it, and what it does.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::Context;
use caps::CapSet;
use nix::sys::socket::{SockType, getsockopt, sockopt};
use slips_p2p::moment::Moment;
use slips_p2p::node::{Served, serve};

use super::sandbox;
use crate::cli::{Exit, Failure};
use crate::daemon::sinks::wall_clock;

/// Starts the node's process; the socket to it. Its standard input is the other end, so that nothing else is inherited. Call it in a
/// thread that needs no capabilities any more: what a child could inherit of them is given up here, and the child ends with the thread.
pub fn start() -> io::Result<(Child, UnixStream)> {
    let (ours, theirs) = UnixStream::pair()?;
    // Without ambient ones a child that is not root's has none, even where the unit does not let it drop them itself.
    caps::clear(None, CapSet::Ambient).map_err(io::Error::other)?;
    let child = Command::new("/proc/self/exe")
        .arg("p2p-node")
        .env_clear()
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        // What it says, it says over the link: its own lines would stand in the journal as the daemon's.
        .stderr(Stdio::null())
        .spawn()?;
    Ok((child, ours))
}

/// What `slips p2p-node` does: gives up what it has, and serves the daemon at its standard input, or at this socket.
pub fn run(socket: Option<&Path>) -> Result<(), Failure> {
    let daemon = match socket {
        Some(path) => UnixStream::connect(path)
            .with_context(|| format!("no daemon listens at {}", path.display()))
            .map_err(|error| Failure { exit: Exit::Software, error })?,
        None => inherited()?,
    };
    let sandbox = sandbox::enter(socket.is_none()).map_err(|error| Failure {
        exit: Exit::Software,
        error: error.context("the node does not run unconfined"),
    })?;
    let now = || Moment(u64::try_from(wall_clock() / 1000).unwrap_or(0));
    match serve(daemon, now, &sandbox) {
        Served::Closed => Ok(()),
        error => Err(Failure { exit: Exit::Software, error: error.into() }),
    }
}

fn inherited() -> Result<UnixStream, Failure> {
    let input = io::stdin();
    let usage = || Failure::new(Exit::Usage, "the daemon starts this, with a socket as its standard input");
    if !matches!(getsockopt(&input.as_fd(), sockopt::SockType), Ok(SockType::Stream)) {
        return Err(usage());
    }
    input.as_fd().try_clone_to_owned().map(UnixStream::from).map_err(|_| usage())
}
