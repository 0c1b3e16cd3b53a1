//! Where Redis is, as its URL says it.

use std::fmt;
use std::path::PathBuf;

use thiserror::Error;

/// A Redis and how to get in.
#[derive(Clone, PartialEq, Eq)]
pub struct Server {
    /// Where it listens.
    pub place: Place,
    /// The number of the database.
    pub database: u32,
    /// The user of its access list; none: the default one.
    pub username: Option<String>,
    /// The password, if it wants one.
    pub password: Option<String>,
}

/// Where it listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// `redis://HOST:PORT`: in the clear.
    Tcp {
        /// Name or address.
        host: String,
        /// Port.
        port: u16,
    },
    /// `rediss://HOST:PORT`: by TLS.
    Tls {
        /// Name or address; the certificate must be made out to it.
        host: String,
        /// Port.
        port: u16,
        /// PEM of those who may vouch for the certificate; none: the public ones.
        authorities: Option<PathBuf>,
    },
    /// `unix:///PATH`.
    Unix(PathBuf),
}

/// Why a text is no URL of a Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NotAServer {
    /// Another scheme.
    #[error("write redis://HOST:PORT, rediss://HOST:PORT (TLS) or unix:///PATH")]
    Scheme,
    /// What should be host and port is none.
    #[error("what stands between // and / is no HOST:PORT")]
    Place,
    /// The database.
    #[error("after the last / (of unix://, after ?db=) stands the number of a database, 0 to 65535")]
    Database,
    /// A secret where everybody reads it.
    #[error("a password belongs into a file: redis.password_file")]
    Password,
}

/// The port of Redis.
const PORT: u16 = 6379;

impl Server {
    /// Reads `redis://[USER@]HOST[:PORT][/DB]`, `rediss://…` or `unix:///PATH[?db=DB]`.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn parse(url: &str) -> Result<Self, NotAServer> {
        let (scheme, rest) = url.split_once("://").ok_or(NotAServer::Scheme)?;
        let number = |text: &str| match text {
            "" => Ok(0),
            text => text.parse::<u16>().map(u32::from).map_err(|_| NotAServer::Database),
        };
        if matches!(scheme, "unix" | "redis+unix") {
            let (path, database) = rest.split_once("?db=").unwrap_or((rest, ""));
            if !path.starts_with('/') {
                return Err(NotAServer::Scheme);
            }
            let database = number(database)?;
            return Ok(Self { place: Place::Unix(path.into()), database, username: None, password: None });
        }
        let (at, database) = rest.split_once('/').unwrap_or((rest, ""));
        let (username, at) = match at.rsplit_once('@') {
            Some((user, at)) => (Some(user), at),
            None => (None, at),
        };
        if username.is_some_and(|user| user.contains(':')) {
            return Err(NotAServer::Password);
        }
        let (host, port) = host_and_port(at).ok_or(NotAServer::Place)?;
        let place = match scheme {
            "redis" => Place::Tcp { host, port },
            "rediss" => Place::Tls { host, port, authorities: None },
            _ => return Err(NotAServer::Scheme),
        };
        let username = username.filter(|user| !user.is_empty()).map(str::to_owned);
        Ok(Self { place, database: number(database)?, username, password: None })
    }
}

fn host_and_port(text: &str) -> Option<(String, u16)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, rest.strip_prefix(':').or(rest.is_empty().then_some(""))?)
        }
        None => text.split_once(':').unwrap_or((text, "")),
    };
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b':' | b'_');
    if host.is_empty() || host.len() > 253 || !host.bytes().all(good) {
        return None;
    }
    let port = if port.is_empty() { PORT } else { port.parse().ok().filter(|port| *port != 0)? };
    Some((host.to_owned(), port))
}

/// For people: without the password.
impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Tcp { host, port } => write!(f, "redis://{host}:{port}/{}", self.database),
            Place::Tls { host, port, .. } => write!(f, "rediss://{host}:{port}/{}", self.database),
            Place::Unix(path) => write!(f, "unix://{}?db={}", path.display(), self.database),
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_say_where_it_is() {
        for (url, told) in [
            ("redis://localhost", "redis://localhost:6379/0"),
            ("redis://slips@10.0.0.1:7000/3", "redis://10.0.0.1:7000/3"),
            ("rediss://[2001:db8::1]:6380", "rediss://2001:db8::1:6380/0"),
            ("rediss://[::1]", "rediss://::1:6379/0"),
            ("unix:///run/redis/redis.sock", "unix:///run/redis/redis.sock?db=0"),
            ("unix:///run/redis/redis.sock?db=2", "unix:///run/redis/redis.sock?db=2"),
        ] {
            assert_eq!(Server::parse(url).map(|server| server.to_string()).as_deref(), Ok(told), "{url}");
        }
        let server = Server::parse("redis://slips@h").expect("a server");
        assert_eq!(server.username.as_deref(), Some("slips"));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (url, wrong) in [
            ("localhost", NotAServer::Scheme),
            ("http://x", NotAServer::Scheme),
            ("unix://relative", NotAServer::Scheme),
            ("redis://", NotAServer::Place),
            ("redis://h:0", NotAServer::Place),
            ("redis://h:x", NotAServer::Place),
            ("redis://[::1]x", NotAServer::Place),
            ("redis://h/x", NotAServer::Database),
            ("redis://h/70000", NotAServer::Database),
            ("redis://user:secret@h", NotAServer::Password),
        ] {
            assert_eq!(Server::parse(url), Err(wrong), "{url}");
        }
    }
}
