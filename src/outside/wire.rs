//! What goes over the socket between us and the process that fetches: a byte that says what, a length, and so many bytes.

use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use slips_intel::jarm::NOTHING;

use super::{Ask, Asks, Head, Jarm, Means, Missed, TlsServer};
use crate::daemon::clocks::Clocks;

/// Most bytes of a part.
pub(super) const PART: usize = 64 << 10;
/// How often whoever waits looks whether it should go on.
const LOOK: Duration = Duration::from_millis(250);
/// What the other side has beyond its time to say that it was too slow.
const GRACE: Duration = Duration::from_secs(10);

/// What we say.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Question {
    /// How it reaches servers: the first word.
    Means(Means),
    /// Ask a server.
    Ask(Ask),
    /// Ask for the addresses of a name.
    Addresses(String, Duration),
    /// Ask a TLS server for its JARM.
    Jarm(TlsServer),
}

/// What it says, besides the bytes of a body.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    /// The whole of a body came.
    Whole(Head),
    /// The addresses of a name.
    Addresses(Vec<IpAddr>),
    /// The JARM of a server.
    Jarm(Jarm),
    /// Nothing, or not all, came.
    Missed(Missed),
}

/// What a part is.
const BODY: u8 = b'b';
const WORD: u8 = b'w';

/// Writes a part of a body.
pub(super) fn write_body(to: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    write(to, BODY, bytes)
}

/// Writes a question or an answer.
pub(super) fn write_word(to: &mut impl Write, word: &impl Serialize) -> io::Result<()> {
    write(to, WORD, &serde_json::to_vec(word)?)
}

fn write(to: &mut impl Write, what: u8, bytes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    let mut part = Vec::with_capacity(bytes.len() + 5);
    part.push(what);
    part.extend(length.to_be_bytes());
    part.extend(bytes);
    to.write_all(&part)
}

/// Reads a question; nothing when the other side has closed.
pub(super) fn read_question(from: &mut impl Read) -> io::Result<Option<Question>> {
    match read(from) {
        Ok((WORD, bytes)) => parse(&bytes).map(Some),
        Ok(_) => Err(io::ErrorKind::InvalidData.into()),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> io::Result<T> {
    serde_json::from_slice(bytes).map_err(io::Error::from)
}

fn read(from: &mut impl Read) -> io::Result<(u8, Vec<u8>)> {
    let mut head = [0; 5];
    from.read_exact(&mut head)?;
    let [what, length @ ..] = head;
    let length = u32::from_be_bytes(length) as usize;
    if length > PART {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = vec![0; length];
    from.read_exact(&mut bytes)?;
    Ok((what, bytes))
}

/// Our end of the socket.
pub struct Link {
    socket: UnixStream,
    stop: Arc<AtomicBool>,
    /// An answer was not read to its end: what comes next belongs to another question.
    broken: bool,
}

impl Link {
    /// Over this socket, until `stop`.
    pub fn new(socket: UnixStream, stop: Arc<AtomicBool>) -> io::Result<Self> {
        socket.set_read_timeout(Some(LOOK))?;
        socket.set_write_timeout(Some(GRACE))?;
        Ok(Self { socket, stop, broken: false })
    }

    /// Whether nothing more can be asked over it.
    pub(super) const fn is_broken(&self) -> bool {
        self.broken
    }

    /// Tells how servers are reached.
    pub(super) fn tell(&mut self, means: &Means) -> io::Result<()> {
        write_word(&mut self.socket, &Question::Means(means.clone()))
    }

    fn out_of_step(&mut self) -> Missed {
        self.broken = true;
        Missed::Gone("it answers another question".into())
    }

    fn question(
        &mut self,
        question: &Question,
        within: Duration,
        body: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<Answer, Missed> {
        let gone = |error: io::Error| Missed::Gone(error.to_string());
        if self.broken {
            return Err(Missed::Gone("it is still at another question".into()));
        }
        // Until the word comes that ends an answer.
        self.broken = true;
        write_word(&mut self.socket, question).map_err(gone)?;
        let clock = Clocks::default().steady;
        let until = clock().saturating_add(within).saturating_add(GRACE);
        let mut patient = Patient { socket: &self.socket, stop: &self.stop, clock, until };
        loop {
            let (what, bytes) = read(&mut patient).map_err(|error| match error.kind() {
                io::ErrorKind::TimedOut => Missed::Slow(within),
                io::ErrorKind::ConnectionAborted => Missed::Stopped,
                _ => gone(error),
            })?;
            if what == WORD {
                let answer = parse(&bytes).map_err(gone)?;
                self.broken = false;
                return Ok(answer);
            }
            body(&bytes).map_err(|error| Missed::Broken(error.to_string()))?;
        }
    }
}

impl Asks for Link {
    fn ask(&mut self, ask: &Ask, body: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> Result<Head, Missed> {
        // It bounds what it sends; it may be somebody else's by now.
        let mut left = ask.most;
        let mut bounded = |bytes: &[u8]| {
            left = left.checked_sub(bytes.len() as u64).ok_or(io::ErrorKind::FileTooLarge)?;
            body(bytes)
        };
        match self.question(&Question::Ask(ask.clone()), ask.within, &mut bounded)? {
            Answer::Whole(head) => Ok(head),
            Answer::Missed(missed) => Err(missed),
            Answer::Addresses(_) | Answer::Jarm(_) => Err(self.out_of_step()),
        }
    }

    fn addresses(&mut self, name: &str, within: Duration) -> Result<Vec<IpAddr>, Missed> {
        let question = Question::Addresses(name.into(), within);
        match self.question(&question, within, &mut |_| Err(io::ErrorKind::InvalidData.into()))? {
            Answer::Addresses(addresses) => Ok(addresses),
            Answer::Missed(missed) => Err(missed),
            Answer::Whole(_) | Answer::Jarm(_) => Err(self.out_of_step()),
        }
    }

    fn jarm(&mut self, server: &TlsServer) -> Result<Jarm, Missed> {
        let question = Question::Jarm(server.clone());
        match self.question(&question, server.within, &mut |_| Err(io::ErrorKind::InvalidData.into()))? {
            // It may be somebody else's process by now: what is no fingerprint is none.
            Answer::Jarm(jarm) if is_fingerprint(&jarm.fingerprint) => Ok(jarm),
            Answer::Jarm(_) => Err(Missed::Broken("it is no fingerprint".into())),
            Answer::Missed(missed) => Err(missed),
            Answer::Whole(_) | Answer::Addresses(_) => Err(self.out_of_step()),
        }
    }
}

fn is_fingerprint(text: &str) -> bool {
    text.len() == NOTHING.len() && text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

/// Reads until we end, or the time is over, however much comes.
struct Patient<'a> {
    socket: &'a UnixStream,
    stop: &'a AtomicBool,
    clock: Box<dyn Fn() -> Duration + Send>,
    until: Duration,
}

impl Read for Patient<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            if (self.clock)() >= self.until {
                return Err(io::ErrorKind::TimedOut.into());
            }
            match self.socket.read(into) {
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                other => return other,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_was_not_read_to_its_end_is_nobody_elses() {
        let (ours, mut theirs) = UnixStream::pair().expect("sockets");
        let mut link = Link::new(ours, Arc::default()).expect("a link");
        let ask = Ask::get("https://a.example/", 4, Duration::from_secs(1));
        let answer = |theirs: &mut UnixStream, bytes: &[u8]| {
            write_body(theirs, bytes).expect("sent");
            write_word(theirs, &Answer::Whole(Head { status: 200, ..Head::default() })).expect("sent");
        };
        answer(&mut theirs, b"good");
        assert_eq!(link.ask_whole(&ask).expect("an answer").1, b"good");
        assert!(!link.is_broken());
        answer(&mut theirs, b"too much");
        answer(&mut theirs, b"next");
        assert!(matches!(link.ask_whole(&ask), Err(Missed::Broken(_))));
        assert!(link.is_broken());
        assert!(matches!(link.ask_whole(&ask), Err(Missed::Gone(_))), "the rest is not its answer");
    }
}
