//! What the process that fetches gives up before it talks to anybody: capabilities, root, and all files but those that the resolver of this
//! host reads, and all system calls but those that it makes ([`calls`]).

use std::path::Path;

use anyhow::{Context, Result};
use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, Scope,
};

use crate::daemon::peers::calls::{self, Work};
use crate::daemon::peers::sandbox::{Limits, drop_capabilities, leave_root, limit, seal};

/// Memory in bytes: a TLS connection, what unpacks, and a part of an answer at a time.
const MEMORY: u64 = 96 << 20;
/// Files that a resolver and its libraries read.
const READ: [&str; 13] = [
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/host.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/usr",
    "/lib",
    "/lib64",
    "/run/systemd/resolve",
    "/proc/self",
];

/// Gives up what it can; the process dies with its parent.
///
/// # Errors
/// When something is kept that it must not have.
pub(super) fn enter() -> Result<()> {
    limit(&Limits { memory: MEMORY, files: 64 })?;
    confine_files()?;
    leave_root()?;
    drop_capabilities()?;
    seal(true)?;
    calls::confine(Work::Fetching).map(drop)
}

/// Files are read as a resolver needs them; none is made, changed or started, and no abstract socket and no other process is reached.
fn confine_files() -> Result<()> {
    let abi = ABI::V6;
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(abi))
        .and_then(|rules| rules.scope(Scope::from_all(abi)))
        .and_then(Ruleset::create)
        .context("cannot give up files")?;
    for path in READ {
        // What is not there is not read.
        let Ok(at) = PathFd::new(path) else { continue };
        let may = if Path::new(path).is_dir() {
            AccessFs::ReadFile | AccessFs::ReadDir
        } else {
            AccessFs::ReadFile.into()
        };
        rules = rules.add_rule(PathBeneath::new(at, may)).context("cannot give up files")?;
    }
    // A kernel without Landlock leaves what its user may read.
    rules.restrict_self().map(drop).context("cannot give up files")
}

#[cfg(all(test, any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")))]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket};
    use std::os::unix::net::UnixStream;
    use std::process::Command;

    use nix::errno::Errno;
    use nix::sys::signal::kill;
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket, socketpair};
    use nix::unistd::getppid;

    /// Says in the process of the test below that it is the one.
    const TRIES: &str = "SLIPS_TEST_FETCHES";

    /// The confined process is this program once more, with the test of this name alone.
    #[test]
    fn a_confined_process_knows_names_and_reaches_no_program_and_no_unix_socket() {
        if std::env::var_os(TRIES).is_some() {
            return tries();
        }
        crate::child::try_confined(TRIES, "");
    }

    #[expect(clippy::expect_used, reason = "a part of the test above")]
    fn tries() {
        let parent = getppid();
        super::enter().expect("confined");
        for kind in [SockType::Stream, SockType::Datagram] {
            let unix = socket(AddressFamily::Unix, kind, SockFlag::empty(), None);
            assert_eq!(unix.err(), Some(Errno::EPERM), "a unix socket");
        }
        let pair = socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::empty());
        assert_eq!(pair.err(), Some(Errno::EPERM), "a pair");
        let raw = socket(AddressFamily::Inet, SockType::Raw, SockFlag::empty(), None);
        assert_eq!(raw.err(), Some(Errno::EPERM), "packets");
        assert!(Command::new("/proc/self/exe").spawn().is_err(), "a program");
        assert!(std::fs::File::create("/tmp/kept-out").is_err(), "a file");
        assert_eq!(kill(parent, None), Err(Errno::EPERM), "a signal");
        // What it is there for goes on: names by the resolver's own means, datagrams, connections.
        assert!(("localhost", 80).to_socket_addrs().is_ok_and(|mut all| all.next().is_some()), "a name");
        assert!(!crate::outside::client::own_addresses().is_empty(), "the addresses of this machine");
        let (asks, answers) = (UdpSocket::bind("127.0.0.1:0"), UdpSocket::bind("127.0.0.1:0"));
        let (asks, answers) = (asks.expect("a datagram's socket"), answers.expect("another"));
        asks.send_to(b"word", answers.local_addr().expect("an address")).expect("sent");
        assert_eq!(answers.recv_from(&mut [0; 8]).expect("heard").0, 4);
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let at = listener.local_addr().expect("an address");
        let there = std::thread::spawn(move || TcpStream::connect(at).is_ok());
        listener.accept().expect("accepted");
        assert!(there.join().expect("a thread"));
        let input = std::os::fd::AsFd::as_fd(&std::io::stdin()).try_clone_to_owned().expect("inherited");
        UnixStream::from(input).write_all(b"tried").expect("we hear");
    }
}
