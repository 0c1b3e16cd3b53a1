//! Bytes to and from a Redis, each exchange bounded in time.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ::redis::{ErrorKind, RedisError, RedisResult};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, setsockopt, socket, sockopt};
use nix::sys::time::TimeVal;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::server::Place;

/// A clock that only goes forward, handed in by the shell.
pub type Steady = fn() -> Duration;

/// How long is waited for a connection, and for the answers to what is sent together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For a connection with each address of the host.
    pub connect: Duration,
    /// For answers, from when the first byte is sent.
    pub answer: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { connect: Duration::from_secs(2), answer: Duration::from_secs(2) }
    }
}

/// A stream whose reads and writes all end by a moment, however slowly the other side gives and takes.
pub(super) struct Timed<S> {
    stream: S,
    clock: Steady,
    until: Duration,
}

/// What can be told to give up.
pub(super) trait Patient {
    fn set_patience(&self, patience: Duration) -> io::Result<()>;
}

impl Patient for TcpStream {
    fn set_patience(&self, patience: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(patience))?;
        self.set_write_timeout(Some(patience))
    }
}

impl Patient for UnixStream {
    fn set_patience(&self, patience: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(patience))?;
        self.set_write_timeout(Some(patience))
    }
}

impl<S: Patient> Timed<S> {
    fn wait(&self) -> io::Result<()> {
        let left = self.until.saturating_sub((self.clock)());
        // Less than a millisecond is no time, and none at all would mean for ever.
        if left < Duration::from_millis(1) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.stream.set_patience(left)
    }
}

impl<S: Read + Patient> Read for Timed<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.wait()?;
        self.stream.read(buffer)
    }
}

impl<S: Write + Patient> Write for Timed<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.wait()?;
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// A connection of any kind.
pub(super) enum Wire {
    Tcp(Timed<TcpStream>),
    Unix(Timed<UnixStream>),
    Tls(Box<StreamOwned<ClientConnection, Timed<TcpStream>>>),
}

impl Wire {
    pub(super) fn open(place: &Place, patience: Patience, clock: Steady) -> RedisResult<Self> {
        let tcp = |host: &str, port: u16| -> io::Result<Timed<TcpStream>> {
            let mut last = io::Error::from(io::ErrorKind::NotFound);
            for address in (host, port).to_socket_addrs()?.take(MOST_ADDRESSES) {
                match TcpStream::connect_timeout(&address, patience.connect) {
                    Ok(stream) => {
                        stream.set_nodelay(true)?;
                        let until = clock().saturating_add(patience.answer);
                        return Ok(Timed { stream, clock, until });
                    }
                    Err(error) => last = error,
                }
            }
            Err(last)
        };
        Ok(match place {
            Place::Unix(path) => {
                let stream = unix(path, patience.connect)?;
                Self::Unix(Timed { stream, clock, until: clock().saturating_add(patience.answer) })
            }
            Place::Tcp { host, port } => Self::Tcp(tcp(host, *port)?),
            Place::Tls { host, port, authorities } => {
                let session = session(host, authorities.as_deref())?;
                let mut stream = StreamOwned::new(session, tcp(host, *port)?);
                // Now, so that what is wrong with the certificate is told as that.
                while stream.conn.is_handshaking() {
                    stream.conn.complete_io(&mut stream.sock).map_err(|error| no_tls(error, host))?;
                }
                Self::Tls(Box::new(stream))
            }
        })
    }

    /// From now on all is to end within this time.
    pub(super) fn within(&mut self, time: Duration) {
        let (clock, until) = match self {
            Self::Tcp(timed) => (timed.clock, &mut timed.until),
            Self::Unix(timed) => (timed.clock, &mut timed.until),
            Self::Tls(tls) => (tls.sock.clock, &mut tls.sock.until),
        };
        *until = clock().saturating_add(time);
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.flush(),
            Self::Unix(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

/// Connects to a socket of this machine. A listener that stands still with a full queue would hold up who connects for ever: the time for
/// sending is that for connecting, too.
fn unix(path: &Path, patience: Duration) -> io::Result<UnixStream> {
    let socket = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    let micros = i32::try_from(patience.subsec_micros()).unwrap_or(0);
    let time = TimeVal::new(patience.as_secs().try_into().unwrap_or(i64::MAX), micros.into());
    setsockopt(&socket, sockopt::SendTimeout, &time)?;
    connect(socket.as_raw_fd(), &UnixAddr::new(path)?).map_err(|error| match io::Error::from(error) {
        error if error.kind() == io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
        error => error,
    })?;
    Ok(UnixStream::from(socket))
}

/// Why there is no session, in words.
fn no_tls(error: io::Error, host: &str) -> RedisError {
    let wrong = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    let why = match wrong {
        None => return error.into(),
        Some(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
            "nobody vouches for its certificate whom redis.ca_file names (or, without one, no public authority)".into()
        }
        Some(rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        )) => format!("its certificate is not made out to {host}"),
        Some(rustls::Error::InvalidCertificate(why)) => format!("its certificate is not valid: {why}"),
        Some(other) => other.to_string(),
    };
    (ErrorKind::InvalidClientConfig, "no TLS", why).into()
}

/// A session of TLS with `host`, for whose certificate one of these authorities must vouch.
fn session(host: &str, authorities: Option<&Path>) -> RedisResult<ClientConnection> {
    let wrong = |what: &'static str, error: &dyn std::fmt::Display| {
        RedisError::from((ErrorKind::InvalidClientConfig, what, error.to_string()))
    };
    let mut roots = RootCertStore::empty();
    match authorities {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(path) => {
            let told = |error: &dyn std::fmt::Display| wrong("redis.ca_file cannot be read", error);
            let all = CertificateDer::pem_file_iter(path).map_err(|error| told(&error))?;
            for certificate in all.take(MOST_AUTHORITIES) {
                let certificate = certificate.map_err(|error| told(&error))?;
                roots.add(certificate).map_err(|error| told(&error))?;
            }
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong("no TLS", &error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).map_err(|error| wrong("no name for TLS", &error))?;
    ClientConnection::new(Arc::new(config), name).map_err(|error| wrong("no TLS", &error))
}

/// So many addresses of one name are tried.
const MOST_ADDRESSES: usize = 4;
/// So many certificates of a file are read.
const MOST_AUTHORITIES: usize = 512;

#[cfg(test)]
mod tests {
    use nix::sys::socket::{Backlog, bind, listen};

    use super::*;

    #[test]
    fn a_listener_whose_queue_is_full_is_given_up() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("socket");
        let listener =
            socket(AddressFamily::Unix, SockType::Stream, SockFlag::empty(), None).expect("a socket");
        bind(listener.as_raw_fd(), &UnixAddr::new(&path).expect("a path")).expect("bound");
        listen(&listener, Backlog::new(0).expect("a queue")).expect("it listens");
        let mut queued = Vec::new();
        // Nobody takes them out, so one of them finds no place.
        let refused = loop {
            match unix(&path, Duration::from_millis(20)) {
                Ok(stream) => queued.push(stream),
                Err(error) => break error,
            }
        };
        assert_eq!(refused.kind(), io::ErrorKind::TimedOut);
        unix(&dir.path().join("none"), Duration::from_secs(1)).expect_err("nobody listens");
    }
}
