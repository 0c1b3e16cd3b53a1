//! Live capture from the kernel's packet ring (`AF_PACKET`, `TPACKET_V3`), several interfaces at once.
//!
//! [`Capture`] lends frames as they lie in the ring and copies nothing; [`LiveSource`] drives the sensor with them. An
//! interface that goes down or away is reported as a [`Change`] and taken up again when it is back under the same name; others may be
//! named meanwhile ([`Newcomers`]).
//! Nothing here decides anything about a packet. `unsafe` lives in `ring.rs` alone.

mod block;
mod code;
mod error;
mod handover;
mod kind;
mod link;
mod live;
mod newcomers;
mod ring;
mod senders;
mod settings;
mod spare;
mod stop;

use std::collections::BTreeSet;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use slips_core::time::PacketTime;
use slips_sensor::LinkType;

pub use error::{CaptureError, ErrorKind};
pub use handover::{Handover, Keeper};
pub use link::{Counters, LinkState};
pub use live::{Live, LiveSource};
pub use newcomers::Newcomers;
pub use ring::inherited;
pub use senders::Senders;
pub use settings::{Beyond, CaptureSettings, RingSize};
pub use stop::Stopper;

use handover::{Keeping, Role};
use link::Link;
use spare::Remainder;

/// One frame, lent from the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Which interface: its place in the settings, counted from 1.
    pub interface: u16,
    /// Link type number as in pcap files: 1 Ethernet, 101 IP without a link header, 105/119/127 Wi-Fi.
    pub dlt: u32,
    /// When the kernel saw it.
    pub at: PacketTime,
    /// The bytes, from the link header on.
    pub captured: &'a [u8],
    /// How many bytes it had; more than was captured when it was cut. Segmentation offload makes up to 64 KiB and more.
    pub wire_len: u32,
    /// VLAN number (1 to 4094) of the tag that the kernel or the card took off; a tag left in place stays in the bytes.
    pub vlan: Option<u16>,
    /// Whether this host sent it.
    pub outgoing: bool,
    /// What the kernel knows of the transport checksum.
    pub checksum: Checksum,
}

/// What the kernel knows of a frame's transport checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// Nothing.
    Unknown,
    /// It is right.
    Right,
    /// The card is to compute it when the frame leaves: what stands in the bytes means nothing.
    Pending,
}

/// What one call of [`Capture::next`] brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polled {
    /// So many frames were handed over.
    Frames(usize),
    /// No frame; the time is over, or a signal came in between.
    Silent,
    /// An interface is in another state than before.
    Changed(Change),
    /// Someone used the [`Stopper`].
    Stopped,
}

/// A change of state of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which interface, as in [`Frame::interface`].
    pub interface: u16,
    /// How it is now.
    pub state: LinkState,
}

/// Several interfaces, captured together.
#[derive(Debug)]
pub struct Capture {
    settings: CaptureSettings,
    links: Vec<Link>,
    /// What is read to its end and let go.
    rest: Vec<Remainder>,
    keeping: Keeping,
    /// Kept for its memory: see [`Capture::wait`].
    polls: Vec<libc::pollfd>,
    stop: Stopper,
    /// Any socket, to ask the kernel about interfaces through.
    probe: UnixDatagram,
    next_check: Instant,
    next_look: Instant,
    /// By then what lies in the rings is read in the order of time; set while there is something from before.
    ordered_until: Option<Instant>,
    /// How many newcomers were met, and which of them cannot be taken up yet.
    met: usize,
    waiting: Vec<String>,
}

impl Capture {
    /// Opens all interfaces. They may be down, but must exist: a name that is wrong shall be found now.
    pub fn open(settings: CaptureSettings) -> Result<Self, CaptureError> {
        Self::take_over(settings, Handover::default())
    }

    /// The same, with the sockets that an earlier process left: what came into their rings since then is handed over first. Those that
    /// are as these settings ask for go on; others are read to their end. What is opened is kept for the process after this one.
    pub fn take_over(settings: CaptureSettings, mut handover: Handover) -> Result<Self, CaptureError> {
        let names: BTreeSet<&String> = settings.interfaces.iter().collect();
        // Where more are named later, none may be there yet.
        let too_few = names.is_empty() && settings.newcomers.is_none();
        if too_few || names.len() != settings.interfaces.len() || names.len() > MAX_INTERFACES {
            return Err(CaptureError::Interfaces { given: settings.interfaces.len(), most: MAX_INTERFACES });
        }
        let probe = UnixDatagram::unbound().map_err(|source| CaptureError::Stopper { source })?;
        let stop = Stopper::new()?;
        let mut links = Vec::with_capacity(names.len());
        for (number, name) in (1u16..).zip(&settings.interfaces) {
            links.push(Link::open(name, number, &settings, probe.as_fd(), &mut handover)?);
        }
        // After the new ones receive: what comes in between is in both rather than in none.
        let (keeping, now) = (handover.keeping(), now());
        let mut rest = Vec::new();
        for kept in handover.rest() {
            let label = kept.label.clone();
            let place = settings.interfaces.iter().position(|name| *name == label.interface);
            // One that is watched no more has no number.
            let number = place.and_then(|place| u16::try_from(place + 1).ok()).unwrap_or(u16::MAX);
            match Remainder::of(kept, number, now) {
                Some(remainder) => rest.push(remainder),
                None => keeping.forget(&label),
            }
        }
        let (next_check, next_look) = (now + CHECK_EVERY, now + LOOK_EVERY);
        let (polls, ordered_until, met, waiting) = (Vec::new(), None, 0, Vec::new());
        Ok(Self {
            settings,
            links,
            rest,
            keeping,
            polls,
            stop,
            probe,
            next_check,
            next_look,
            ordered_until,
            met,
            waiting,
        })
    }

    /// A handle that ends the capture from another thread or from a signal handler.
    pub fn stopper(&self) -> Stopper {
        self.stop.clone()
    }

    /// Hands the frames that are there to `each`, or waits for some, at most `timeout`. A change of an interface comes alone.
    ///
    /// One call hands over a bounded number of frames, so that a flood on one interface starves neither the others nor the caller.
    pub fn next(
        &mut self,
        timeout: Duration,
        each: &mut dyn FnMut(Frame<'_>),
    ) -> Result<Polled, CaptureError> {
        if self.stop.is_stopped() {
            return Ok(Polled::Stopped);
        }
        let now = now();
        if now >= self.next_check {
            self.next_check = now + CHECK_EVERY;
            self.check();
        }
        if let Some(change) = self.links.iter_mut().find_map(Link::unreported) {
            return Ok(Polled::Changed(change));
        }
        // Under a flood there is always something to read, and nobody waits.
        if now >= self.next_look && self.links.iter().any(|link| link.spare_fd().is_some()) {
            self.wait(Duration::ZERO)?;
            self.next_look = now + LOOK_EVERY;
        }
        let frames = self.drain(now, each);
        if frames > 0 {
            return Ok(Polled::Frames(frames));
        }
        let longest = if self.is_behind() { LOOK_EVERY } else { timeout };
        let timeout = timeout.min(longest).min(self.next_check.saturating_duration_since(now));
        if !self.wait(timeout)? {
            return Ok(Polled::Silent);
        }
        if self.stop.is_stopped() {
            return Ok(Polled::Stopped);
        }
        match self.drain(now, each) {
            0 => Ok(Polled::Silent),
            frames => Ok(Polled::Frames(frames)),
        }
    }

    /// Whether what an earlier process left is still to be handed over.
    pub fn is_behind(&self) -> bool {
        !self.rest.is_empty() || self.links.iter().any(Link::is_behind)
    }

    /// What was counted at one interface since the start, across all its comings and goings.
    pub fn counters(&mut self, interface: u16) -> Option<Counters> {
        let link = self.links.get_mut(usize::from(interface).checked_sub(1)?)?;
        Some(link.counters())
    }

    /// How many interfaces there are.
    pub fn interfaces(&self) -> usize {
        self.links.len()
    }

    /// The name of an interface.
    pub fn name(&self, interface: u16) -> Option<&str> {
        self.settings.interfaces.get(usize::from(interface).checked_sub(1)?).map(String::as_str)
    }

    /// The link type number of each interface, in their order.
    pub fn link_types(&self) -> impl Iterator<Item = u32> {
        self.links.iter().map(Link::dlt)
    }

    fn drain(&mut self, now: Instant, each: &mut dyn FnMut(Frame<'_>)) -> usize {
        let mut handed = 0;
        if self.is_behind() {
            if now < *self.ordered_until.get_or_insert(now + AT_MOST_ORDERED) {
                return self.catch_up(now, each);
            }
            // So much lies there or comes in that those who wait would lose more than the order.
            self.links.iter_mut().for_each(Link::catch_up_no_more);
            for place in 0..self.rest.len() {
                handed += self.read(Place::Rest(place), each);
            }
            self.close_what_is_over(now);
        } else {
            self.ordered_until = None;
        }
        for _ in 0..BLOCKS_A_TURN {
            // One block of each in turn, so that the interfaces stay close in time.
            match self.links.iter_mut().map(|link| link.drain(1, each)).sum::<usize>() {
                0 => break,
                frames => handed += frames,
            }
        }
        handed
    }

    /// Hands over the oldest block of all rings: what came in before, and what other interfaces take in meanwhile.
    fn catch_up(&mut self, now: Instant, each: &mut dyn FnMut(Frame<'_>)) -> usize {
        let mut handed = 0;
        for _ in 0..BLOCKS_A_TURN * (self.links.len() + self.rest.len()) {
            let Some(oldest) = self.oldest(now) else { break };
            handed = self.read(oldest, each);
            if handed > 0 {
                break;
            }
        }
        for link in &mut self.links {
            link.settle(now);
        }
        self.close_what_is_over(now);
        handed
    }

    /// Where the oldest block lies that is to be read next.
    fn oldest(&mut self, now: Instant) -> Option<Place> {
        let mut of_links = None;
        for (place, link) in self.links.iter_mut().enumerate() {
            // The kernel has not handed over all that came in before.
            let number = link.number();
            let fills = |rest: &Remainder| rest.number == number && rest.fills(now);
            if !link.is_behind() && self.rest.iter().any(fills) {
                continue;
            }
            let found = link.oldest().map(|(at, role)| (at, Place::Link(place, role)));
            of_links = of_links.into_iter().chain(found).min_by_key(|(at, _)| *at);
        }
        let of_rest = self.rest.iter_mut().enumerate();
        let of_rest =
            of_rest.filter_map(|(place, rest)| Some((spare::begin(&mut rest.ring)?, Place::Rest(place))));
        of_rest.chain(of_links).min_by_key(|(at, _)| *at).map(|(_, oldest)| oldest)
    }

    fn close_what_is_over(&mut self, now: Instant) {
        for over in self.rest.extract_if(.., |rest| rest.is_over(now)) {
            over.close(&self.keeping);
        }
    }

    fn read(&mut self, place: Place, each: &mut dyn FnMut(Frame<'_>)) -> usize {
        match place {
            Place::Link(link, role) => {
                self.links.get_mut(link).map_or(0, |link| link.read_oldest(role, each))
            }
            Place::Rest(place) => {
                let Some(rest) = self.rest.get_mut(place) else { return 0 };
                let link =
                    usize::from(rest.number).checked_sub(1).and_then(|place| self.links.get_mut(place));
                let mut nobody = Counters::default();
                let counters = link.map_or(&mut nobody, Link::counters_mut);
                spare::read(&mut rest.ring, (rest.kind, rest.number), counters, each).unwrap_or(0)
            }
        }
    }

    /// Hands over all that lies in the rings, once around each.
    fn drain_rest(&mut self, each: &mut dyn FnMut(Frame<'_>)) {
        let of_links: usize = self.links.iter().map(Link::blocks).sum();
        let of_rest: usize = self.rest.iter().map(|rest| rest.ring.socket().size().blocks() as usize).sum();
        for _ in 0..of_links + of_rest {
            if !self.is_behind() || self.catch_up(now(), each) == 0 {
                break;
            }
        }
        for (number, link) in (1..).zip(&mut self.links) {
            let blocks = self.settings.rings(number).0.blocks() as usize;
            link.look_into_spare();
            link.drain(blocks, each);
        }
    }

    /// Whether anything happened within `timeout`.
    fn wait(&mut self, timeout: Duration) -> Result<bool, CaptureError> {
        // Rounded up, or the last part of a millisecond would be spent spinning.
        let millis = i32::try_from(timeout.as_micros().div_ceil(1000)).unwrap_or(i32::MAX);
        self.watch();
        match ring::poll(&mut self.polls, millis) {
            Ok(0) => return Ok(false),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => return Ok(false),
            Err(source) => return Err(CaptureError::Poll { source }),
        }
        let mut broken = false;
        for (link, polls) in self.links.iter_mut().zip(self.polls.chunks(2)) {
            let [first, spare] = polls else { break };
            if (first.revents | spare.revents) & !libc::POLLIN != 0 {
                link.on_error();
                broken = true;
            }
            if spare.revents & libc::POLLIN != 0 {
                link.look_into_spare();
            }
        }
        if broken {
            self.check();
        }
        Ok(true)
    }

    /// Looks whether the interfaces are still what they were.
    fn check(&mut self) {
        let now = now();
        for link in &mut self.links {
            link.check(&self.settings, self.probe.as_fd(), now);
            self.rest.extend(link.left());
        }
        self.meet();
    }

    /// Takes up interfaces that were named since. One that cannot be now is tried each second: it may be gone again, or not ready.
    fn meet(&mut self) {
        let Some(newcomers) = &self.settings.newcomers else { return };
        let named = newcomers.after(self.met);
        self.met += named.len();
        self.waiting.extend(named.into_iter().filter(|name| !self.settings.interfaces.contains(name)));
        let (mut handover, mut waiting) = (self.keeping.handover(), std::mem::take(&mut self.waiting));
        waiting.retain(|name| {
            let number = u16::try_from(self.links.len() + 1).unwrap_or(u16::MAX);
            if self.links.len() >= MAX_INTERFACES {
                return false;
            }
            let probe = self.probe.as_fd();
            match Link::open(name, number, &self.settings, probe, &mut handover) {
                Ok(link) if LinkType::from_dlt(link.dlt()).is_some() => {
                    self.links.push(link.unknown());
                    self.settings.interfaces.push(name.clone());
                    false
                }
                // Nothing that the sensor reads.
                Ok(link) => {
                    link.let_go();
                    false
                }
                Err(_) => true,
            }
        });
        self.waiting = waiting;
    }

    /// Two entries for each link, then the stopper's.
    fn watch(&mut self) {
        // poll(2) passes over an entry whose descriptor is negative.
        let entry = |fd: Option<BorrowedFd<'_>>, events| libc::pollfd {
            fd: fd.map_or(-1, |fd| fd.as_raw_fd()),
            events,
            revents: 0,
        };
        // What waits for something older must not wake anybody.
        let first = if self.is_behind() { 0 } else { libc::POLLIN };
        self.polls.clear();
        for link in &self.links {
            self.polls.push(entry(link.as_fd(), first));
            self.polls.push(entry(link.spare_fd(), libc::POLLIN));
        }
        self.polls.push(entry(Some(self.stop.as_fd()), libc::POLLIN));
    }
}

/// Where a block lies.
enum Place {
    Link(usize, Role),
    Rest(usize),
}

#[expect(clippy::disallowed_methods, reason = "the shell: paces the look at interfaces, never detection")]
fn now() -> Instant {
    Instant::now()
}

/// How often the interfaces are looked at.
const CHECK_EVERY: Duration = Duration::from_secs(1);

/// For so long at most what came in before a start is read before what comes in now. Then each interface has its turn again.
const AT_MOST_ORDERED: Duration = Duration::from_secs(2);

/// How often it is looked whether something came into a ring beside the first, where nobody waits for it.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A router with more than this many interfaces of its own wants a bridge or several daemons; each costs a ring of memory.
const MAX_INTERFACES: usize = 64;

/// Blocks of each ring handed over in one call: under a flood, some two thousand packets.
const BLOCKS_A_TURN: usize = 2;
