//! The actors: threads that live in the stage's namespaces and tell the story what happens to them.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags};

use super::probe::{self, Probe};
use super::ssh;
use super::stage::{CLIENT, GUESSER, Place, SCANNER, Stage, WEB};
use super::tell::{now, wall_micros};

/// Ports that the scanner tries.
pub(super) const PORTS: u16 = 1000;
/// A page of the web server.
const PAGE: usize = 64 * 1024;
/// How long servers and the client wait for each other.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long the attackers wait for an answer.
const ATTACKER_PATIENCE: Duration = Duration::from_millis(400);
/// So many attempts without an answer make the guesser give up.
const GIVE_UP: u32 = 3;
/// Most passwords that are tried; the block must come long before.
const PASSWORDS: u32 = 400;

/// What the actors tell.
#[derive(Debug)]
pub(super) enum Event {
    /// The client has a page after this time, or why not.
    Download(io::Result<Duration>),
    /// The scan is over.
    Scanned(Vec<Probe>),
    /// One password was tried.
    Guessed(Probe),
    /// The guesser has given up or run out of passwords.
    GuesserDone,
    /// An attacker that knocked is answered again.
    LetIn(Ipv4Addr),
    /// An actor cannot go on.
    Broke(&'static str, io::Error),
}

/// Tells actors to end, and lets them wait for something better than that.
#[derive(Debug, Default)]
pub(super) struct Stop {
    set: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    pub(super) fn set(&self) {
        *self.set.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    pub(super) fn is_set(&self) -> bool {
        *self.set.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True when it is time to end.
    fn within(&self, time: Duration) -> bool {
        let set = self.set.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(set, time, |set| !*set);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// The threads of the actors.
#[derive(Debug)]
pub(super) struct Cast {
    events: SyncSender<Event>,
    stop: Arc<Stop>,
    threads: Vec<JoinHandle<()>>,
}

/// What an actor has.
struct Actor {
    events: SyncSender<Event>,
    stop: Arc<Stop>,
}

impl Actor {
    /// False when nobody listens any more.
    fn tell(&self, event: Event) -> bool {
        self.events.send(event).is_ok()
    }
}

impl Cast {
    pub(super) fn new(events: SyncSender<Event>) -> Self {
        Self { events, stop: Arc::default(), threads: Vec::new() }
    }

    /// Opens the web server outside and the ssh server of the client.
    pub(super) fn open_servers(&mut self, stage: &Stage) -> io::Result<()> {
        self.start(stage, Place::Attacker, "web server", |actor| {
            serve(actor, SocketAddrV4::new(WEB, 80), send_page)
        })?;
        self.start(stage, Place::Client, "ssh server", |actor| {
            serve(actor, SocketAddrV4::new(CLIENT, 22), |stream, actor| {
                // A real server takes longer over cryptography and passwords; the demo is short.
                let think = || {
                    actor.stop.within(Duration::from_millis(3));
                };
                ssh::play(stream, ssh::Side::Server, think)
            })
        })
    }

    pub(super) fn start_downloads(&mut self, stage: &Stage) -> io::Result<()> {
        self.start(stage, Place::Client, "client", |actor| {
            while actor.tell(Event::Download(download())) && !actor.stop.within(Duration::from_millis(50)) {}
            Ok(())
        })
    }

    pub(super) fn start_scan(&mut self, stage: &Stage) -> io::Result<()> {
        self.start(stage, Place::Attacker, "port scanner", |actor| {
            let probes = probe::scan(SCANNER, CLIENT, 1..=PORTS, &actor.stop)?;
            actor.tell(Event::Scanned(probes));
            Ok(())
        })
    }

    pub(super) fn start_guessing(&mut self, stage: &Stage) -> io::Result<()> {
        self.start(stage, Place::Attacker, "password guesser", |actor| {
            let mut unanswered = 0;
            for _ in 0..PASSWORDS {
                let guess = guess();
                unanswered = if guess.answered { 0 } else { unanswered + 1 };
                let listened = actor.tell(Event::Guessed(guess));
                if unanswered == GIVE_UP || !listened || actor.stop.is_set() {
                    break;
                }
            }
            actor.tell(Event::GuesserDone);
            Ok(())
        })
    }

    /// Lets an attacker ask again and again until it is let in.
    pub(super) fn start_knocking(&mut self, stage: &Stage, from: Ipv4Addr) -> io::Result<()> {
        self.start(stage, Place::Attacker, "attacker", move |actor| {
            loop {
                let door = SocketAddrV4::new(CLIENT, 22);
                if probe::connect_from(from, door, Duration::from_millis(200)).is_ok() {
                    actor.tell(Event::LetIn(from));
                    return Ok(());
                }
                if actor.stop.within(Duration::from_millis(300)) {
                    return Ok(());
                }
            }
        })
    }

    fn start(
        &mut self,
        stage: &Stage,
        place: Place,
        name: &'static str,
        play: impl FnOnce(&Actor) -> io::Result<()> + Send + 'static,
    ) -> io::Result<()> {
        let door = stage.door(place)?;
        let actor = Actor { events: self.events.clone(), stop: Arc::clone(&self.stop) };
        let thread = thread::Builder::new().name(name.into()).spawn(move || {
            if let Err(error) = door.enter().and_then(|()| play(&actor)) {
                actor.tell(Event::Broke(name, error));
            }
        })?;
        self.threads.push(thread);
        Ok(())
    }
}

impl Drop for Cast {
    /// The story has dropped its end of the channel by then, so that no actor waits to tell something.
    fn drop(&mut self) {
        self.stop.set();
        for thread in self.threads.drain(..) {
            // A panic has already been printed.
            let _ = thread.join();
        }
    }
}

/// Serves one caller after the other. What goes wrong with one caller is that caller's affair.
fn serve(
    actor: &Actor,
    at: SocketAddrV4,
    each: impl Fn(&mut TcpStream, &Actor) -> io::Result<()>,
) -> io::Result<()> {
    let listener = TcpListener::bind(at)?;
    listener.set_nonblocking(true)?;
    while !actor.stop.is_set() {
        let until = now() + Duration::from_millis(100);
        if !probe::wait(&mut [PollFd::new(listener.as_fd(), PollFlags::POLLIN)], until)? {
            continue;
        }
        let Ok((mut stream, _)) = listener.accept() else { continue };
        stream.set_nonblocking(false)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ATTACKER_PATIENCE))?;
        stream.set_write_timeout(Some(ATTACKER_PATIENCE))?;
        let _ = each(&mut stream, actor);
    }
    Ok(())
}

fn send_page(stream: &mut TcpStream, _: &Actor) -> io::Result<()> {
    let mut request = Vec::new();
    let mut some = [0; 512];
    while !request.ends_with(b"\r\n\r\n") && request.len() < 4096 {
        let n = stream.read(&mut some)?;
        if n == 0 {
            return Ok(());
        }
        request.extend(some.iter().take(n));
    }
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {PAGE}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(&vec![b'.'; PAGE])
}

fn download() -> io::Result<Duration> {
    let asked = now();
    let mut stream = TcpStream::connect_timeout(&SocketAddrV4::new(WEB, 80).into(), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(
        format!("GET /page HTTP/1.1\r\nHost: {WEB}\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\n\r\n")
            .as_bytes(),
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let whole = answer.starts_with(b"HTTP/1.1 200 ")
        && answer.iter().rev().take_while(|b| **b == b'.').count() == PAGE;
    if whole {
        Ok(now().duration_since(asked))
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidData, "the page is not whole"))
    }
}

/// One password; wrong, of course.
fn guess() -> Probe {
    let (sent, mut heard) = (wall_micros(), 0);
    let mut attempt = || {
        let door = SocketAddrV4::new(CLIENT, 22);
        let mut stream = probe::connect_from(GUESSER, door, ATTACKER_PATIENCE)?;
        heard = wall_micros();
        ssh::play(&mut stream, ssh::Side::Guesser, || heard = wall_micros())
    };
    let answered = attempt().is_ok();
    Probe { sent, heard, answered }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::sync_channel;

    #[test]
    fn a_server_serves_until_it_is_stopped() {
        let (events, _heard) = sync_channel(1);
        let actor = Actor { events, stop: Arc::default() };
        let at = {
            let free = TcpListener::bind("127.0.0.1:0").expect("bind");
            free.local_addr().expect("addr").port()
        };
        let at = SocketAddrV4::new(Ipv4Addr::LOCALHOST, at);
        thread::scope(|scope| {
            let server = scope.spawn(|| serve(&actor, at, send_page));
            let mut answer = Vec::new();
            loop {
                let Ok(mut stream) = TcpStream::connect(at) else { continue };
                stream.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("write");
                stream.read_to_end(&mut answer).expect("read");
                break;
            }
            assert!(answer.len() > PAGE);
            actor.stop.set();
            server.join().expect("join").expect("serve");
        });
    }
}
