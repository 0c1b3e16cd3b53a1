//! Readiness, status and the watchdog: systemd's notification protocol.
//!
//! The service manager names a datagram socket in `NOTIFY_SOCKET`; what it is told there is lines of `KEY=VALUE`. Where
//! there is no such socket every call does nothing.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::time::Duration;

/// How the daemon is, in the words of the service manager.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State<'a> {
    /// Everything is set up, packets are watched.
    Ready,
    /// Configuration is read again; the monotonic clock when that began. [`State::Ready`] ends it.
    Reloading(Duration),
    /// The end began.
    Stopping,
    /// All parts made progress; only said when [`Heartbeat::moved`] says so.
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
}

impl Environment {
    /// Reads the variables. To be called from `main` alone; everything below gets the value.
    pub fn read() -> Self {
        Self {
            notify_socket: std::env::var_os("NOTIFY_SOCKET"),
            watchdog_usec: std::env::var_os("WATCHDOG_USEC"),
            watchdog_pid: std::env::var_os("WATCHDOG_PID"),
            credentials_directory: std::env::var_os("CREDENTIALS_DIRECTORY"),
        }
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

/// Decides whether the daemon is alive: every worker must have moved since it was last asked.
///
/// An idle timer lives on while capture is stuck; therefore the workers count, and this compares.
#[derive(Debug, Default)]
pub struct Heartbeat {
    last: Vec<u64>,
}

impl Heartbeat {
    /// Whether every counter of `beats` differs from its value at the last call. The first call says yes, and so does
    /// one with another number of workers than before.
    pub fn moved(&mut self, beats: &[u64]) -> bool {
        let all =
            self.last.len() != beats.len() || self.last.iter().zip(beats).all(|(before, now)| before != now);
        // After a no the old values stay: a worker that moved once in the meantime has moved.
        if all {
            self.last.clear();
            self.last.extend_from_slice(beats);
        }
        all
    }
}

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

    #[test]
    fn alive_means_that_every_worker_moved() {
        let mut heart = Heartbeat::default();
        assert!(heart.moved(&[0, 0]));
        assert!(!heart.moved(&[1, 0]), "the second stands still");
        assert!(heart.moved(&[1, 1]), "the first moved since the last yes");
        assert!(!heart.moved(&[1, 1]));
        assert!(heart.moved(&[1, 1, 1]), "another number of workers starts anew");
        assert!(heart.moved(&[]));
    }
}
