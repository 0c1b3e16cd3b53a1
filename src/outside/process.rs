//! The process that fetches: how it is started, and what it does.

use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::client::{self, Client};
use super::wire::{Answer, Question, read_question, write_body, write_word};
use super::{Ask, Asks, Head, Jarm, Link, Means, Missed, TlsServer, jarm, sandbox};
use crate::child;
use crate::cli::{Exit, Failure};

/// The process, as long as somebody has questions.
pub struct Process {
    child: Child,
    link: Link,
}

impl Process {
    /// Starts it, in a thread that needs no capabilities any more; it ends with the thread. Waiting for it ends with `stop`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(means: &Means, stop: Arc<AtomicBool>) -> io::Result<Self> {
        let (child, ours) = child::start("fetch-node")?;
        let mut started = Self { child, link: Link::new(ours, stop)? };
        started.link.tell(means)?;
        Ok(started)
    }
}

impl Asks for Process {
    fn ask(&mut self, ask: &Ask, body: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> Result<Head, Missed> {
        self.link.ask(ask, body)
    }

    fn addresses(&mut self, name: &str, within: Duration) -> Result<Vec<IpAddr>, Missed> {
        self.link.addresses(name, within)
    }

    fn jarm(&mut self, server: &TlsServer) -> Result<Jarm, Missed> {
        self.link.jarm(server)
    }
}

/// The process that fetches, started when there is a question and anew when it is gone, or no use any more.
pub struct Restarting {
    process: Option<Process>,
    means: Means,
    stop: Arc<AtomicBool>,
}

impl Restarting {
    /// By these means, until `stop`.
    pub const fn new(means: Means, stop: Arc<AtomicBool>) -> Self {
        Self { process: None, means, stop }
    }

    /// The same, started already.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn started(means: Means, stop: Arc<AtomicBool>) -> io::Result<Self> {
        let process = Process::start(&means, Arc::clone(&stop))?;
        Ok(Self { process: Some(process), means, stop })
    }

    fn with<T>(&mut self, work: impl FnOnce(&mut Process) -> Result<T, Missed>) -> Result<T, Missed> {
        let gone = |error: io::Error| Missed::Gone(error.to_string());
        let mut process = match self.process.take() {
            Some(process) => process,
            None => Process::start(&self.means, Arc::clone(&self.stop)).map_err(gone)?,
        };
        let done = work(&mut process);
        // It may still be at the last question; or its resolver's file was replaced, and it may read only the one that was there when it
        // was started.
        let anew =
            matches!(done, Err(Missed::Gone(_) | Missed::Stopped | Missed::Slow(_) | Missed::Unreachable(_)));
        if !anew && !process.link.is_broken() {
            self.process = Some(process);
        }
        done
    }
}

impl Asks for Restarting {
    fn ask(&mut self, ask: &Ask, body: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> Result<Head, Missed> {
        self.with(|process| process.ask(ask, body))
    }

    fn addresses(&mut self, name: &str, within: Duration) -> Result<Vec<IpAddr>, Missed> {
        self.with(|process| process.addresses(name, within))
    }

    fn jarm(&mut self, server: &TlsServer) -> Result<Jarm, Missed> {
        self.with(|process| process.jarm(server))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be at anything, and holds nothing that could be lost.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What `slips fetch-node` does: gives up what it has, and answers questions at its standard input.
pub fn run() -> Result<(), Failure> {
    let mut socket = child::inherited()?;
    let Some(Question::Means(means)) = read_question(&mut socket).map_err(Failure::software)? else {
        return Ok(());
    };
    // Its file may be out of reach afterwards.
    let client = Client::new(means.certificates.as_deref(), means.proxy.as_deref());
    sandbox::enter().map_err(|error| Failure {
        exit: Exit::Software,
        error: error.context("the process that fetches does not run unconfined"),
    })?;
    serve(&mut socket, &client, means.proxy.is_some()).map_err(Failure::software)
}

fn serve(socket: &mut UnixStream, client: &Result<Client, String>, proxy: bool) -> io::Result<()> {
    while let Some(question) = read_question(socket)? {
        let answer = match (question, client) {
            (Question::Ask(ask), Ok(client)) => {
                let mut to = socket.try_clone()?;
                match client.ask(&ask, &mut |bytes| write_body(&mut to, bytes)) {
                    Ok(head) => Answer::Whole(head),
                    Err(missed) => Answer::Missed(missed),
                }
            }
            (Question::Ask(_), Err(wrong)) => Answer::Missed(Missed::Certificate(wrong.clone())),
            (Question::Addresses(name, within), _) => match client::addresses(&name, within) {
                Ok(addresses) => Answer::Addresses(addresses),
                Err(missed) => Answer::Missed(missed),
            },
            // Whoever set a proxy wants nobody else to be called.
            (Question::Jarm(_), _) if proxy => {
                Answer::Missed(Missed::Wrong("it is asked directly, and outside.proxy names a proxy".into()))
            }
            (Question::Jarm(server), _) => match jarm::ask(&server) {
                Ok(jarm) => Answer::Jarm(jarm),
                Err(missed) => Answer::Missed(missed),
            },
            (Question::Means(_), _) => return Err(io::ErrorKind::InvalidData.into()),
        };
        write_word(socket, &answer)?;
        socket.flush()?;
    }
    Ok(())
}
