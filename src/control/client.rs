//! The command line's end of the control API: HTTP over its unix socket, blocking and bounded.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::socket::sockopt::{PeerCredentials, SendTimeout};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, UnixAddr, connect, getsockopt, setsockopt, socket,
};
use nix::sys::time::TimeVal;
use serde::de::DeserializeOwned;

use super::api::types::ErrorReply;

/// How long an answer may take; the daemon gives up before.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a stream may be silent: it shows a sign of life four times in that time.
const SILENCE: Duration = Duration::from_secs(60);
/// Longest head and longest answer, in bytes.
const MAX_HEAD: u64 = 16 << 10;
const MAX_ANSWER: u64 = 32 << 20;
/// Longest line of a stream.
const MAX_LINE: u64 = 4 << 20;

/// Where the daemon is asked.
#[derive(Clone, Debug)]
pub struct Client {
    path: PathBuf,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum Unanswered {
    /// Nobody listens there.
    NoDaemon,
    /// We may not connect.
    Forbidden,
    /// Something listens there that is neither root's nor the daemon's.
    Stranger(u32),
    /// The daemon says no: what kind of error, and why.
    Refused(u16, String),
    /// It cannot be talked with.
    Io(io::Error),
}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDaemon => f.write_str("no slips daemon answers there"),
            Self::Forbidden => f.write_str("only root and members of the group slips may ask"),
            Self::Stranger(uid) => {
                write!(f, "what answers there runs as user {uid}, who is not the service's")
            }
            Self::Refused(_, why) => f.write_str(why),
            Self::Io(error) => write!(f, "the daemon cannot be talked with: {error}"),
        }
    }
}

impl From<io::Error> for Unanswered {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Self::NoDaemon,
            io::ErrorKind::PermissionDenied => Self::Forbidden,
            _ => Self::Io(error),
        }
    }
}

impl From<nix::Error> for Unanswered {
    fn from(error: nix::Error) -> Self {
        io::Error::from(error).into()
    }
}

impl Client {
    /// For the daemon at this socket.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is at this path, as it was sent.
    pub fn get_text(&self, path: &str) -> Result<String, Unanswered> {
        whole(self.ask("GET", path, &[], "", PATIENCE)?)
    }

    /// Has something changed at this path, by `POST` or `DELETE`; what came of it.
    pub fn change<T: DeserializeOwned>(&self, verb: &str, path: &str, body: &str) -> Result<T, Unanswered> {
        let text = whole(self.ask(verb, path, &[], body, PATIENCE)?)?;
        serde_json::from_str(&text).map_err(|error| Unanswered::Io(io::Error::other(error)))
    }

    /// What is at this path.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Unanswered> {
        let text = self.get_text(path)?;
        serde_json::from_str(&text).map_err(|error| Unanswered::Io(io::Error::other(error)))
    }

    /// Follows events from after the one called `last` on.
    pub fn follow(&self, topics: &str, last: Option<&str>) -> Result<Following, Unanswered> {
        let headers: Vec<(&str, &str)> = last.map(|last| ("last-event-id", last)).into_iter().collect();
        Ok(Following {
            from: self.ask("GET", &format!("/v1/events?topics={topics}"), &headers, "", SILENCE)?,
        })
    }

    fn connect(&self, patience: Duration) -> Result<UnixStream, Unanswered> {
        let fd = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
        // One whose queue is full, as while it restarts, is waited for.
        setsockopt(&fd, SendTimeout, &TimeVal::new(patience.as_secs().cast_signed(), 0))?;
        connect(fd.as_raw_fd(), &UnixAddr::new(&self.path)?)?;
        let stream = UnixStream::from(fd);
        let peer = getsockopt(&stream.as_fd(), PeerCredentials)?;
        if !super::is_trusted(peer.uid()) {
            return Err(Unanswered::Stranger(peer.uid()));
        }
        stream.set_read_timeout(Some(patience))?;
        Ok(stream)
    }

    /// Asks by the older HTTP/1.0, whose answers end with the connection: there are no chunks to put together.
    fn ask(
        &self,
        verb: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
        patience: Duration,
    ) -> Result<BufReader<UnixStream>, Unanswered> {
        let stream = self.connect(patience)?;
        let mut request = format!("{verb} {path} HTTP/1.0\r\nhost: localhost\r\n");
        if !body.is_empty() {
            request += &format!("content-length: {}\r\n", body.len());
        }
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        (&stream).write_all((request + "\r\n" + body).as_bytes())?;
        let mut answer = BufReader::new(stream);
        let status = read_head(&mut answer)?;
        if status == 200 {
            return Ok(answer);
        }
        let mut text = String::new();
        answer.take(MAX_HEAD).read_to_string(&mut text)?;
        let why = serde_json::from_str::<ErrorReply>(&text).map_or(text, |reply| reply.error.message);
        Err(Unanswered::Refused(status, why))
    }
}

fn whole(answer: BufReader<UnixStream>) -> Result<String, Unanswered> {
    let mut text = String::new();
    answer.take(MAX_ANSWER).read_to_string(&mut text)?;
    Ok(text)
}

/// A text as a part of a path.
pub fn in_path(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// The status of an answer; what follows is its body.
fn read_head(answer: &mut BufReader<UnixStream>) -> io::Result<u16> {
    let strange = || io::Error::new(io::ErrorKind::InvalidData, "the answer is not HTTP");
    let mut head = answer.take(MAX_HEAD);
    let mut line = String::new();
    head.read_line(&mut line)?;
    let status = line.strip_prefix("HTTP/1.").and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let status = status.ok_or_else(strange)?;
    loop {
        line.clear();
        if head.read_line(&mut line)? == 0 {
            return Err(strange());
        }
        if line.trim_end().is_empty() {
            return Ok(status);
        }
    }
}

/// A stream of events.
pub struct Following {
    from: BufReader<UnixStream>,
}

/// An event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// Its identity, if it has one.
    pub id: Option<String>,
    /// Its topic, or `gap`.
    pub name: String,
    /// JSON.
    pub data: String,
}

impl Following {
    /// The next one; `None` when the daemon ended it.
    pub fn next(&mut self) -> io::Result<Option<Event>> {
        read_event(&mut self.from)
    }
}

fn read_event(from: &mut impl BufRead) -> io::Result<Option<Event>> {
    let mut event = Event::default();
    let mut line = String::new();
    loop {
        line.clear();
        if from.take(MAX_LINE).read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let text = line.trim_end_matches(['\r', '\n']);
        if text.is_empty() {
            if !event.name.is_empty() {
                return Ok(Some(event));
            }
            continue;
        }
        match text.split_once(": ") {
            Some(("id", id)) => event.id = Some(id.to_owned()),
            Some(("event", name)) => event.name = name.to_owned(),
            Some(("data", data)) => event.data = data.to_owned(),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_read_event_by_event_past_comments_and_until_its_end() {
        let text = ": slips\nretry: 2000\n\n:\n\nid: a-1\nevent: alert\ndata: {\"id\":\"x: y\"}\n\nevent: gap\ndata: {}\n\nevent: x\n";
        let mut from = text.as_bytes();
        let first = read_event(&mut from).expect("read").expect("an event");
        assert_eq!(
            first,
            Event { id: Some("a-1".into()), name: "alert".into(), data: "{\"id\":\"x: y\"}".into() }
        );
        assert_eq!(read_event(&mut from).expect("read").expect("an event").name, "gap");
        assert_eq!(read_event(&mut from).expect("read"), None, "the last one is not whole");
    }

    #[test]
    fn a_text_in_a_path_is_a_text_in_a_path() {
        assert_eq!(in_path("192.0.2.0/24"), "192.0.2.0%2F24");
        assert_eq!(in_path("=a.b ?#é"), "%3Da.b%20%3F%23%C3%A9");
    }

    #[test]
    fn where_nobody_listens_nobody_is_there() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("control.sock");
        assert!(matches!(Client::new(&path).get_text("/v1/status"), Err(Unanswered::NoDaemon)));
        drop(std::os::unix::net::UnixListener::bind(&path).expect("bind"));
        assert!(matches!(Client::new(&path).get_text("/v1/status"), Err(Unanswered::NoDaemon)));
    }
}
