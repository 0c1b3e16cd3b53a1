//! Bytes to and from a Redis, each exchange bounded in time.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ::redis::{ErrorKind, RedisError, RedisResult};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

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
        let until = clock().saturating_add(patience.answer);
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
            // A listener with a full queue holds up who connects: the system's own patience, which is set by the first exchange.
            Place::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                Self::Unix(Timed { stream, clock, until })
            }
            Place::Tcp { host, port } => Self::Tcp(tcp(host, *port)?),
            Place::Tls { host, port, authorities } => {
                let session = session(host, authorities.as_deref())?;
                Self::Tls(Box::new(StreamOwned::new(session, tcp(host, *port)?)))
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
