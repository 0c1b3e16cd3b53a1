//! Processes of this program that face strangers and give up what they have: how they are started, and what they inherit.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use caps::CapSet;
use nix::sys::socket::{SockType, getsockopt, sockopt};

use crate::cli::{Exit, Failure};

/// Starts one that runs this command of ours; the socket to it. Its standard input is the other end, so that nothing else is inherited. Call
/// it in a thread that needs no capabilities any more: what a child could inherit of them is given up here, and the child ends with the
/// thread.
pub fn start(command: &str) -> io::Result<(Child, UnixStream)> {
    let (ours, theirs) = UnixStream::pair()?;
    // Without ambient ones a child that is not root's has none, even where the unit does not let it drop them itself.
    caps::clear(None, CapSet::Ambient).map_err(io::Error::other)?;
    let child = Command::new("/proc/self/exe")
        .arg(command)
        .env_clear()
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        // What it says, it says over the socket: its own lines would stand in the journal as the daemon's.
        .stderr(Stdio::null())
        .spawn()?;
    Ok((child, ours))
}

/// What such a process inherits: the socket to the daemon, or the command line, which started it.
pub fn inherited() -> Result<UnixStream, Failure> {
    let input = io::stdin();
    let usage = || Failure::new(Exit::Usage, "the daemon starts this, with a socket as its standard input");
    if !matches!(getsockopt(&input.as_fd(), sockopt::SockType), Ok(SockType::Stream)) {
        return Err(usage());
    }
    input.as_fd().try_clone_to_owned().map(UnixStream::from).map_err(|_| usage())
}

/// Runs this test program once more, as a confined process: the test that calls, alone, with `name` set to `value`, by which it knows that
/// it is the one. It has to say `tried` over what it inherits.
#[cfg(test)]
pub fn try_confined(name: &str, value: &str) {
    use std::io::Read as _;

    let (mut ours, theirs) = UnixStream::pair().expect("sockets");
    let this = std::thread::current().name().expect("a test's thread").to_owned();
    let child = Command::new(std::env::current_exe().expect("this program"))
        .args([&this, "--exact", "--nocapture", "--test-threads=1"])
        .env(name, value)
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut said = String::new();
    ours.read_to_string(&mut said).expect("what it inherited works");
    let out = child.wait_with_output().expect("it ends");
    let told = [out.stdout, out.stderr].concat();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&told));
    assert_eq!(said, "tried");
}
