//! Readiness, status and the watchdog: systemd's notification protocol.
//!
//! The service manager names a datagram socket in `NOTIFY_SOCKET`; what it is told there is lines of `KEY=VALUE`. Where
//! there is no such socket every call does nothing.

use std::ffi::{OsStr, OsString};
use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::time::Duration;

use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};

/// How the daemon is, in the words of the service manager.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State<'a> {
    /// Everything is set up, packets are watched.
    Ready,
    /// Configuration is read again; the monotonic clock when that began. [`State::Ready`] ends it.
    Reloading(Duration),
    /// The end began.
    Stopping,
    /// All parts made progress; whoever says so knows of each that it did.
    Alive,
    /// One line for `systemctl status`.
    Status(&'a str),
}

impl State<'_> {
    /// Appends the state in the protocol's form.
    fn encode(&self, message: &mut String) {
        match self {
            Self::Ready => message.push_str("READY=1\n"),
            Self::Reloading(since) => {
                message.push_str("RELOADING=1\nMONOTONIC_USEC=");
                message.push_str(&since.as_micros().to_string());
                message.push('\n');
            }
            Self::Stopping => message.push_str("STOPPING=1\n"),
            Self::Alive => message.push_str("WATCHDOG=1\n"),
            Self::Status(text) => {
                message.push_str("STATUS=");
                // A second line would be another assignment.
                message.extend(text.chars().take(MAX_STATUS).map(|c| if c.is_control() { ' ' } else { c }));
                message.push('\n');
            }
        }
    }
}

/// What the service manager put into the environment, read once by whoever starts the daemon.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// `NOTIFY_SOCKET`.
    pub notify_socket: Option<OsString>,
    /// `WATCHDOG_USEC`.
    pub watchdog_usec: Option<OsString>,
    /// `WATCHDOG_PID`: for whom the watchdog is meant.
    pub watchdog_pid: Option<OsString>,
    /// `CREDENTIALS_DIRECTORY`: secrets that the unit was given.
    pub credentials_directory: Option<OsString>,
    /// `RUNTIME_DIRECTORY`: the unit's own below /run, which outlives a process.
    pub runtime_directory: Option<OsString>,
    /// `SERVICE_RESULT`, `EXIT_CODE`, `EXIT_STATUS`: how the service ended, for what is run after it.
    pub ended: [Option<OsString>; 3],
    /// `LISTEN_PID`: for whom the descriptors are meant.
    pub listen_pid: Option<OsString>,
    /// `LISTEN_FDS`: how many descriptors were passed, from 3 on.
    pub listen_fds: Option<OsString>,
    /// `LISTEN_FDNAMES`: their names, with colons between them.
    pub listen_fdnames: Option<OsString>,
}

impl Environment {
    /// Reads the variables. To be called from `main` alone; everything below gets the value.
    pub fn read() -> Self {
        Self {
            notify_socket: std::env::var_os("NOTIFY_SOCKET"),
            watchdog_usec: std::env::var_os("WATCHDOG_USEC"),
            watchdog_pid: std::env::var_os("WATCHDOG_PID"),
            credentials_directory: std::env::var_os("CREDENTIALS_DIRECTORY"),
            runtime_directory: std::env::var_os("RUNTIME_DIRECTORY"),
            ended: ["SERVICE_RESULT", "EXIT_CODE", "EXIT_STATUS"].map(std::env::var_os),
            listen_pid: std::env::var_os("LISTEN_PID"),
            listen_fds: std::env::var_os("LISTEN_FDS"),
            listen_fdnames: std::env::var_os("LISTEN_FDNAMES"),
        }
    }

    /// How the service ended, if that was otherwise than it should: the service manager's word for it, and what the process ended by.
    pub fn failure(&self) -> Option<String> {
        let [result, code, status] =
            self.ended.each_ref().map(|text| text.as_ref().and_then(|text| text.to_str()));
        let result = result.filter(|result| !result.is_empty() && *result != "success")?;
        Some(match (code, status) {
            (Some("exited"), Some(status)) => format!("{result} (exit status {status})"),
            (Some(code), Some(status)) => format!("{result} ({code} by SIG{status})"),
            _ => result.to_owned(),
        })
    }

    /// The names of the descriptors that were passed to this process, in their order from 3 on. `pid` is our own process.
    pub fn passed(&self, pid: u32) -> Vec<String> {
        let number = |text: &Option<OsString>| text.as_ref()?.to_str()?.parse::<u32>().ok();
        if number(&self.listen_pid) != Some(pid) {
            return Vec::new();
        }
        let count = number(&self.listen_fds).unwrap_or(0).min(MAX_PASSED) as usize;
        let names = self.listen_fdnames.as_ref().and_then(|names| names.to_str()).unwrap_or_default();
        let names = names.split(':').map(str::to_owned);
        names.chain(std::iter::repeat(String::new())).take(count).collect()
    }
}

/// The way to the service manager; silent where there is none.
#[derive(Debug)]
pub struct Notifier {
    socket: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl Notifier {
    /// A notifier for what the environment names. `pid` is our own process.
    pub fn new(environment: &Environment, pid: u32) -> io::Result<Self> {
        let socket = match environment.notify_socket.as_deref() {
            None => None,
            Some(name) if name.is_empty() => None,
            Some(name) => {
                let socket = UnixDatagram::unbound()?;
                socket.set_nonblocking(true)?;
                Some((socket, address(name)?))
            }
        };
        Ok(Self { socket, watchdog: watchdog(environment, pid) })
    }

    /// A notifier that tells nobody.
    pub const fn silent() -> Self {
        Self { socket: None, watchdog: None }
    }

    /// How long the service manager waits for [`State::Alive`] before it kills us; `None`: it does not.
    /// Half of it is a good interval.
    pub const fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// Whether anybody listens.
    pub const fn is_heard(&self) -> bool {
        self.socket.is_some()
    }

    /// Tells the service manager all of `states` at once. Never blocks.
    pub fn tell(&self, states: &[State<'_>]) -> io::Result<()> {
        let Some((socket, address)) = &self.socket else { return Ok(()) };
        let mut message = String::new();
        for state in states {
            state.encode(&mut message);
        }
        socket.send_to_addr(message.as_bytes(), address).map(|_| ())
    }

    /// The same, where nobody has to listen: a service manager that does not is no reason to stop.
    pub fn say(&self, states: &[State<'_>]) {
        let _ = self.tell(states);
    }
}

/// Has the service manager keep descriptors beyond the end of this process; silent where there is none.
#[derive(Debug)]
pub struct Keeping(Option<(UnixDatagram, Vec<u8>)>);

impl Keeping {
    /// A way to the same service manager, of which each message shall arrive.
    pub fn new(environment: &Environment) -> io::Result<Self> {
        let Some(name) = environment.notify_socket.as_deref().filter(|name| !name.is_empty()) else {
            return Ok(Self(None));
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(PATIENCE))?;
        address(name)?;
        Ok(Self(Some((socket, name.as_bytes().to_vec()))))
    }

    /// Whether anybody listens.
    pub const fn is_heard(&self) -> bool {
        self.0.is_some()
    }

    /// Keeps a duplicate under this name, also when the descriptor reports an error (`FDPOLL=0`): a packet socket does when its interface is
    /// switched off.
    pub fn keep(&self, name: &str, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.send(&format!("FDSTORE=1\nFDPOLL=0\nFDNAME={name}\n"), &[fd.as_raw_fd()])
    }

    /// Keeps none of that name any more.
    pub fn forget(&self, name: &str) -> io::Result<()> {
        self.send(&format!("FDSTOREREMOVE=1\nFDNAME={name}\n"), &[])
    }

    fn send(&self, message: &str, fds: &[RawFd]) -> io::Result<()> {
        let Some((socket, name)) = &self.0 else { return Ok(()) };
        let address = match name.as_slice() {
            [b'@', rest @ ..] => UnixAddr::new_abstract(rest),
            path => UnixAddr::new(path),
        }?;
        let rights = [ControlMessage::ScmRights(fds)];
        let rights = if fds.is_empty() { &[] } else { rights.as_slice() };
        let message = [IoSlice::new(message.as_bytes())];
        sendmsg(socket.as_raw_fd(), &message, rights, MsgFlags::MSG_NOSIGNAL, Some(&address))?;
        Ok(())
    }
}

/// A path, or with a leading `@` a name in the kernel's own table.
fn address(name: &OsStr) -> io::Result<SocketAddr> {
    match name.as_bytes() {
        [b'/', ..] => SocketAddr::from_pathname(Path::new(name)),
        [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest),
        _ => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "NOTIFY_SOCKET is neither a path nor an abstract name",
        )),
    }
}

fn watchdog(environment: &Environment, pid: u32) -> Option<Duration> {
    let number = |text: &Option<OsString>| text.as_ref()?.to_str()?.parse::<u64>().ok();
    let for_us =
        environment.watchdog_pid.is_none() || number(&environment.watchdog_pid) == Some(u64::from(pid));
    number(&environment.watchdog_usec).filter(|usec| for_us && *usec > 0).map(Duration::from_micros)
}

/// Most descriptors that are taken over; the unit has fewer kept.
const MAX_PASSED: u32 = 4096;

/// How long the service manager may take to have room for a message that must reach it.
const PATIENCE: Duration = Duration::from_millis(500);

/// Longest status text, in characters; `systemctl status` prints one line.
const MAX_STATUS: usize = 400;

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(socket: &OsStr) -> Environment {
        Environment { notify_socket: Some(socket.into()), ..Environment::default() }
    }

    fn received(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 2048];
        let len = socket.recv(&mut buffer).expect("a datagram");
        String::from_utf8(buffer[..len].to_vec()).expect("text")
    }

    #[test]
    fn tells_states_through_a_path() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("notify");
        let manager = UnixDatagram::bind(&path).expect("bind");
        let notifier = Notifier::new(&environment(path.as_os_str()), 1).expect("notifier");
        notifier.tell(&[State::Ready, State::Status("watching eth0")]).expect("sent");
        assert_eq!(received(&manager), "READY=1\nSTATUS=watching eth0\n");
        notifier.tell(&[State::Reloading(Duration::from_micros(7))]).expect("sent");
        assert_eq!(received(&manager), "RELOADING=1\nMONOTONIC_USEC=7\n");
        notifier.tell(&[State::Alive]).expect("sent");
        notifier.tell(&[State::Stopping]).expect("sent");
        assert_eq!((received(&manager), received(&manager)), ("WATCHDOG=1\n".into(), "STOPPING=1\n".into()));
    }

    #[test]
    fn tells_states_through_an_abstract_name() {
        let name = format!("slips-notify-test-{}", std::process::id());
        let manager =
            UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).expect("name")).expect("bind");
        let notifier = Notifier::new(&environment(OsStr::new(&format!("@{name}"))), 1).expect("notifier");
        notifier.tell(&[State::Ready]).expect("sent");
        assert_eq!(received(&manager), "READY=1\n");
    }

    #[test]
    fn a_status_stays_one_line_and_short() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("notify");
        let manager = UnixDatagram::bind(&path).expect("bind");
        let notifier = Notifier::new(&environment(path.as_os_str()), 1).expect("notifier");
        notifier.tell(&[State::Status("all is well\nMAINPID=1")]).expect("sent");
        assert_eq!(received(&manager), "STATUS=all is well MAINPID=1\n");
        notifier.tell(&[State::Status(&"x".repeat(5000))]).expect("sent");
        assert_eq!(received(&manager).len(), "STATUS=\n".len() + MAX_STATUS);
    }

    #[test]
    fn without_a_manager_it_is_silent() {
        for environment in [Environment::default(), environment(OsStr::new(""))] {
            let notifier = Notifier::new(&environment, 1).expect("notifier");
            assert!(!notifier.is_heard());
            notifier.tell(&[State::Ready]).expect("nothing to do");
        }
        Notifier::silent().tell(&[State::Ready]).expect("nothing to do");
    }

    #[test]
    fn an_unknown_address_or_a_gone_manager_is_an_error_not_a_panic() {
        assert!(Notifier::new(&environment(OsStr::new("vsock:2:1")), 1).is_err());
        assert!(Notifier::new(&environment(OsStr::new(&format!("/{}", "x".repeat(300)))), 1).is_err());
        let notifier = Notifier::new(&environment(OsStr::new("/nonexistent/notify")), 1).expect("notifier");
        assert!(notifier.tell(&[State::Ready]).is_err());
    }

    #[test]
    fn a_full_queue_does_not_block() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("notify");
        let _manager = UnixDatagram::bind(&path).expect("bind");
        let notifier = Notifier::new(&environment(path.as_os_str()), 1).expect("notifier");
        let refused =
            (0..100_000).find_map(|_| notifier.tell(&[State::Alive]).err()).expect("the queue fills");
        assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn descriptors_are_kept_and_forgotten_by_name() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("notify");
        let manager = UnixDatagram::bind(&path).expect("bind");
        let keeping = Keeping::new(&environment(path.as_os_str())).expect("a way");
        let (ours, theirs) = UnixDatagram::pair().expect("a pair");
        keeping.keep("capture/1", std::os::fd::AsFd::as_fd(&ours)).expect("sent");
        keeping.forget("capture/0").expect("sent");
        drop(ours);
        let mut space = nix::cmsg_space!(RawFd);
        let mut buffer = [0; 200];
        let mut parts = [io::IoSliceMut::new(&mut buffer)];
        let got = nix::sys::socket::recvmsg::<()>(
            manager.as_raw_fd(),
            &mut parts,
            Some(&mut space),
            MsgFlags::MSG_CMSG_CLOEXEC,
        )
        .expect("a datagram");
        let rights = got.cmsgs().expect("whole").count();
        let text = String::from_utf8_lossy(got.iovs().next().expect("text")).into_owned();
        assert_eq!((text.as_str(), rights), ("FDSTORE=1\nFDPOLL=0\nFDNAME=capture/1\n", 1));
        assert_eq!(received(&manager), "FDSTOREREMOVE=1\nFDNAME=capture/0\n");
        // The duplicate lives.
        theirs.send(b"still there").expect("sent");
        assert!(!Keeping::new(&Environment::default()).expect("a way").is_heard());
    }

    #[test]
    fn how_a_service_ended_is_told_where_it_should_not_have() {
        let failure = |ended: [&str; 3]| {
            let ended = ended.map(|text| Some(text.into()));
            Environment { ended, ..Environment::default() }.failure()
        };
        assert_eq!(failure(["success", "exited", "0"]), None);
        assert_eq!(failure(["watchdog", "killed", "ABRT"]).as_deref(), Some("watchdog (killed by SIGABRT)"));
        assert_eq!(failure(["exit-code", "exited", "78"]).as_deref(), Some("exit-code (exit status 78)"));
        assert_eq!(Environment::default().failure(), None);
    }

    #[test]
    fn passed_descriptors_are_ours_only() {
        let passed = |pid: &str, count: &str, names: Option<&str>| {
            let environment = Environment {
                listen_pid: Some(pid.into()),
                listen_fds: Some(count.into()),
                listen_fdnames: names.map(Into::into),
                ..Environment::default()
            };
            environment.passed(42)
        };
        assert_eq!(passed("42", "2", Some("one:two")), ["one", "two"]);
        assert_eq!(passed("42", "3", Some("one:two")), ["one", "two", ""]);
        assert_eq!(passed("42", "1", None), [""]);
        assert!(passed("43", "2", Some("one:two")).is_empty());
        assert!(passed("42", "many", Some("one")).is_empty());
        assert!(Environment::default().passed(42).is_empty());
    }

    #[test]
    fn the_watchdog_is_ours_only() {
        let watch = |usec: &str, pid: Option<&str>| {
            let environment = Environment {
                watchdog_usec: Some(usec.into()),
                watchdog_pid: pid.map(Into::into),
                ..Environment::default()
            };
            Notifier::new(&environment, 42).expect("notifier").watchdog()
        };
        assert_eq!(watch("30000000", Some("42")), Some(Duration::from_secs(30)));
        assert_eq!(watch("30000000", None), Some(Duration::from_secs(30)));
        assert_eq!(watch("30000000", Some("43")), None);
        assert_eq!(watch("30000000", Some("x")), None);
        assert_eq!(watch("0", None), None);
        assert_eq!(watch("soon", None), None);
    }
}
