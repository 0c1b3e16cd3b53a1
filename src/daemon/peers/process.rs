//! What the node's process does.

use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::Context;
use slips_p2p::moment::Moment;
use slips_p2p::node::{Served, serve};

use super::sandbox;
use crate::child;
use crate::cli::{Exit, Failure};
use crate::daemon::sinks::wall_clock;

/// What `slips p2p-node` does: gives up what it has, and serves the daemon at its standard input, or at this socket.
pub fn run(socket: Option<&Path>) -> Result<(), Failure> {
    let daemon = match socket {
        Some(path) => UnixStream::connect(path)
            .with_context(|| format!("no daemon listens at {}", path.display()))
            .map_err(|error| Failure { exit: Exit::Software, error })?,
        None => child::inherited()?,
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
