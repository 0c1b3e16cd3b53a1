//! What is fetched from and asked of servers outside: lists, databases, services.
//!
//! The work is done by a process of its own, `slips fetch-node`, which holds no capability, reads no file of ours and writes none: it gets
//! one question after the other over a socket and hands back what came, bounded in bytes and time. What it is sent is hostile text.

mod client;
mod jarm;
pub mod process;
mod sandbox;
mod tar;
mod unpack;
mod wire;

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use wire::Link;

/// What the process is told at its start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Means {
    /// A file with the authorities to believe, instead of those of this system.
    pub certificates: Option<PathBuf>,
    /// Whom to ask instead of the server itself.
    pub proxy: Option<String>,
}

/// A question to a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// `http://` or `https://`.
    pub url: String,
    /// What is sent with it. Only the first server sees them, no other that it may name.
    pub headers: Vec<(String, String)>,
    /// A form to be posted; without one it is a GET.
    pub form: Option<String>,
    /// Most bytes of an answer, packed and unpacked.
    pub most: u64,
    /// Longest time for all of it.
    pub within: Duration,
    /// Whether an answer packed by gzip or zip is unpacked.
    pub unpack: bool,
}

impl Ask {
    /// A GET.
    pub fn get(url: &str, most: u64, within: Duration) -> Self {
        Self { url: url.into(), headers: Vec::new(), form: None, most, within, unpack: false }
    }
}

/// A TLS server that is asked for its JARM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsServer {
    /// Its name or address, which it is told.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Longest time for all of it.
    pub within: Duration,
    /// Where it may be.
    pub reach: Reach,
}

/// Where a server may be that is asked for its JARM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reach {
    /// At a public address.
    Public,
    /// At the very address that a person named, wherever that is.
    Anywhere,
}

/// The JARM of a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jarm {
    /// Who was asked.
    pub address: IpAddr,
    /// 62 digits; zeros where no TLS is spoken.
    pub fingerprint: String,
}

/// How a server answers, before what it answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// HTTP's status.
    pub status: u16,
    /// By which it knows this version of what it sent.
    pub etag: Option<String>,
    /// When what it sent has changed last, in its words.
    pub last_modified: Option<String>,
    /// How long it wants to be left alone.
    pub retry_after: Option<u64>,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Missed {
    /// The question itself cannot be sent.
    #[error("cannot be asked for: {0}")]
    Wrong(String),
    /// Nobody knows the name, or nobody is there.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// The server is not who it should be.
    #[error("its certificate is not accepted: {0}")]
    Certificate(String),
    /// It took too long.
    #[error("took more than {0:?}")]
    Slow(Duration),
    /// It is too much.
    #[error("is larger than {0} bytes")]
    Large(u64),
    /// It leads elsewhere, where we do not go.
    #[error("is redirected: {0}")]
    Redirected(String),
    /// It ends in the middle, or is not what it says.
    #[error("is broken: {0}")]
    Broken(String),
    /// The process that fetches is gone.
    #[error("the process that fetches ended: {0}")]
    Gone(String),
    /// We end.
    #[error("given up, since the program ends")]
    Stopped,
}

/// A URL as others may read it: without a user, his password and a query, which may hold a key.
pub fn shown(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}{path}")
}

/// Whoever asks servers.
pub trait Asks {
    /// Asks, and hands the body of an answer to `body` as it comes.
    ///
    /// # Errors
    /// When no whole answer came; what was handed over is worth nothing then.
    fn ask(&mut self, ask: &Ask, body: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> Result<Head, Missed>;

    /// The addresses of a name, by the resolver of this host.
    ///
    /// # Errors
    /// When nobody could be asked; a name that is not there has no addresses.
    fn addresses(&mut self, name: &str, within: Duration) -> Result<Vec<IpAddr>, Missed>;

    /// Asks a TLS server ten times for its JARM.
    ///
    /// # Errors
    /// When it was not reached, or may not be asked.
    fn jarm(&mut self, _server: &TlsServer) -> Result<Jarm, Missed> {
        Err(Missed::Wrong("nobody here asks for it".into()))
    }

    /// Asks for a whole small answer.
    ///
    /// # Errors
    /// As [`Asks::ask`].
    fn ask_whole(&mut self, ask: &Ask) -> Result<(Head, Vec<u8>), Missed> {
        let mut whole = Vec::new();
        let head = self.ask(ask, &mut |part| {
            whole.extend_from_slice(part);
            Ok(())
        })?;
        Ok((head, whole))
    }
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn what_is_secret_in_a_url_is_not_shown() {
        for (url, told) in [
            ("https://me:secret@a.example:8443/x/@y?apikey=secret#z", "https://a.example:8443/x/@y"),
            ("https://a.example?key=secret", "https://a.example"),
            ("https://a.example/x", "https://a.example/x"),
            ("all", "all"),
        ] {
            assert_eq!(shown(url), told);
        }
    }
}
