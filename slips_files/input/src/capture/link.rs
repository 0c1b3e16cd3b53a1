//! One interface: its ring, its state, its counters.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use super::handover::{Handover, Keeping, Kept, Label, Role};
use super::kind::LinkKind;
use super::ring::{self, InterfaceFacts, Ring, RingError, RingOptions, RingSocket, Step};
use super::settings::{CaptureSettings, RingSize};
use super::spare::{self, Remainder, Spare};
use super::{CaptureError, Change, Frame};
use crate::filter::{Program, RunsIn};

/// The state of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// Frames come.
    Up,
    /// It exists and is switched off.
    Down,
    /// There is no interface of that name.
    Away,
    /// It is back, but the kernel does not let us capture on it; tried again every second.
    Refused,
}

/// What was counted at an interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames handed over.
    pub frames: u64,
    /// Their bytes on the wire.
    pub bytes: u64,
    /// Frames that were handed over cut.
    pub cut: u64,
    /// Frames not handed over: neither IPv4 nor IPv6 on an interface without link header, or unreadable in the ring.
    pub skipped: u64,
    /// Frames that the kernel dropped because the ring was full, or that lay in a block which two processes died of.
    pub drops: u64,
    /// How often the ring was full.
    pub freezes: u64,
    /// How often the interface was taken up again after it was away.
    pub returns: u64,
}

/// One interface of a capture.
#[derive(Debug)]
pub(super) struct Link {
    name: String,
    number: u16,
    /// `None` only while it could not be opened again.
    ring: Option<Ring>,
    label: Label,
    /// What takes the frames that find no room in the ring.
    spare: Option<Spare>,
    /// How often the kernel refused it, since the interface was opened.
    refused: u8,
    behind: Option<Behind>,
    /// Rings that were let go since they were asked for last.
    left: Vec<Remainder>,
    keeping: Keeping,
    index: u32,
    kind: LinkKind,
    state: LinkState,
    reported: LinkState,
    counters: Counters,
    /// The socket may have been let go by its interface.
    doubtful: bool,
}

/// What an earlier process left is to be read before what comes in now.
#[derive(Debug)]
struct Behind {
    /// Blocks of the ring that were there at the start.
    backlog: usize,
    /// Since they are given back, frames come into the ring again. By then the other ring has handed over what it got before.
    until: Option<Instant>,
}

impl Link {
    pub(super) fn open(
        name: &str,
        number: u16,
        settings: &CaptureSettings,
        probe: BorrowedFd<'_>,
        handover: &mut Handover,
    ) -> Result<Self, CaptureError> {
        let facts = ring::interface(probe, name).map_err(|_| CaptureError::missing(name))?;
        let kind = LinkKind::of(facts.hardware);
        let (size, beside) = settings.rings(number);
        let bytes = u64::from(size.blocks()) * u64::from(size.block_bytes());
        if kind.for_filters().is_none() && (settings.filter.is_some() || settings.share.is_some()) {
            return Err(CaptureError::Unfiltered { name: name.to_owned() });
        }
        let refused = |error| CaptureError::opening(name, bytes, error);
        let program = program(kind, settings).map_err(refused)?;
        let label = Label::new(name, facts, (settings, size), program.as_ref(), probe);
        let keeping = handover.keeping();
        let taken_over = take_over(handover, (&label, program.as_ref()), beside, &keeping);
        let (ring, spare, behind) = match taken_over {
            Some((ring, spare)) => {
                let behind = Behind { backlog: ring.waiting(), until: None };
                (ring, spare, Some(behind))
            }
            None => (open_ring(facts.index, kind, settings, size).map_err(refused)?, None, None),
        };
        let mut link = Self {
            name: name.to_owned(),
            number,
            ring: Some(ring),
            label,
            spare,
            refused: 0,
            behind,
            left: Vec::new(),
            keeping,
            index: facts.index,
            kind,
            state: state_of(facts),
            reported: LinkState::Up,
            counters: Counters::default(),
            doubtful: false,
        };
        link.clear_error();
        link.keep();
        link.arm(settings);
        Ok(link)
    }

    /// Nobody knows of it yet: its state is a change.
    pub(super) fn unknown(self) -> Self {
        Self { reported: LinkState::Away, ..self }
    }

    pub(super) fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.ring.as_ref().map(|ring| ring.socket().as_fd())
    }

    pub(super) fn spare_fd(&self) -> Option<BorrowedFd<'_>> {
        self.spare.as_ref().and_then(Spare::as_fd)
    }

    pub(super) fn dlt(&self) -> u32 {
        self.kind.dlt()
    }

    /// A socket reports an error: its interface went down, or was deleted.
    pub(super) fn on_error(&mut self) {
        self.clear_error();
        self.doubtful = true;
    }

    /// Takes the error off the sockets, or it would be reported for ever.
    fn clear_error(&self) {
        for fd in [self.as_fd(), self.spare_fd()].into_iter().flatten() {
            let _ = nix::sys::socket::getsockopt(&fd, nix::sys::socket::sockopt::SocketError);
        }
    }

    /// A change of state that nobody was told of. Changes back and forth in between are one, or none.
    pub(super) fn unreported(&mut self) -> Option<Change> {
        if self.state == self.reported {
            return None;
        }
        self.reported = self.state;
        Some(Change { interface: self.number, state: self.state })
    }

    /// Hands over the frames of at most `blocks` finished blocks of each ring.
    pub(super) fn drain(&mut self, blocks: usize, each: &mut dyn FnMut(Frame<'_>)) -> usize {
        let mut handed = 0;
        let from = (self.kind, self.number);
        for _ in 0..blocks {
            let Some(ring) = &mut self.ring else { break };
            let Some(frames) = spare::read(ring, from, &mut self.counters, each) else { break };
            handed += frames;
        }
        let Some(other) = &mut self.spare else { return handed };
        for _ in 0..blocks {
            let Some(ring) = other.ring() else { break };
            match spare::read(ring, from, &mut self.counters, each) {
                Some(frames) => handed += frames,
                None => other.park(),
            }
        }
        handed
    }

    /// Something lies in the other ring, or may.
    pub(super) fn look_into_spare(&mut self) {
        if let Some(spare) = &mut self.spare {
            spare.look();
        }
    }

    pub(super) const fn number(&self) -> u16 {
        self.number
    }

    /// Whether what an earlier process left is still to be read.
    pub(super) fn is_behind(&self) -> bool {
        self.behind.is_some()
    }

    /// What was left is read in turn with what comes in now.
    pub(super) fn catch_up_no_more(&mut self) {
        self.behind = None;
    }

    /// When the oldest block came that is to be read next, and whether it lies in the other ring.
    pub(super) fn oldest(&mut self) -> Option<((u32, u32), Role)> {
        let first = self.ring.as_mut().and_then(spare::begin);
        let other = self.spare.as_mut().and_then(Spare::ring).and_then(spare::begin);
        let backlog = self.behind.as_ref().map(|behind| behind.backlog);
        match (first, other) {
            // What lies in the other ring is younger than what came into the first since it was given back: the order is restored.
            (Some(first), Some(other)) if backlog == Some(0) && first < other => {
                self.behind = None;
                Some((first, Role::First))
            }
            // What came in since waits for what the other ring got before.
            (Some(_), None) if backlog == Some(0) => None,
            (Some(first), other) if backlog != Some(0) && other.is_none_or(|other| first <= other) => {
                Some((first, Role::First))
            }
            (_, Some(other)) => Some((other, Role::Spare)),
            (_, None) => None,
        }
    }

    /// Blocks of its rings.
    pub(super) fn blocks(&self) -> usize {
        let rings = [self.ring.as_ref().map(Ring::socket), self.spare.as_ref().and_then(Spare::socket)];
        rings.into_iter().flatten().map(|socket| socket.size().blocks() as usize).sum()
    }

    /// Hands over that block.
    pub(super) fn read_oldest(&mut self, role: Role, each: &mut dyn FnMut(Frame<'_>)) -> usize {
        let ring = match role {
            Role::First => self.ring.as_mut(),
            Role::Spare => self.spare.as_mut().and_then(Spare::ring),
        };
        if let (Role::First, Some(behind)) = (role, &mut self.behind) {
            behind.backlog = behind.backlog.saturating_sub(1);
        }
        let from = (self.kind, self.number);
        ring.and_then(|ring| spare::read(ring, from, &mut self.counters, each)).unwrap_or(0)
    }

    /// Ends the wait for what came in before when nothing more is there of it.
    pub(super) fn settle(&mut self, now: Instant) {
        let (Some(behind), Some(ring)) = (&mut self.behind, &mut self.ring) else {
            self.behind = None;
            return;
        };
        if behind.backlog > 0 && spare::begin(ring).is_some() {
            return;
        }
        behind.backlog = 0;
        let over = match (self.spare.as_mut().and_then(Spare::ring), behind.until) {
            (None, _) => true,
            (Some(other), None) if other.is_untouched() => true,
            (Some(other), None) => {
                behind.until = Some(now + spare::settling(other.socket().size()));
                false
            }
            (Some(other), Some(until)) => now >= until && other.look().is_none(),
        };
        if over {
            self.behind = None;
        }
    }

    /// Rings that are to be read to their end.
    pub(super) fn left(&mut self) -> impl Iterator<Item = Remainder> {
        self.left.drain(..)
    }

    /// What is read from a ring that was this interface's counts as its own.
    pub(super) fn counters_mut(&mut self) -> &mut Counters {
        &mut self.counters
    }

    pub(super) fn counters(&mut self) -> Counters {
        self.collect();
        self.counters
    }

    /// Adds what the kernel counted since the last time; it starts again at zero when read.
    fn collect(&mut self) {
        if let Some(Ok(fresh)) = self.ring.as_ref().map(|ring| ring.socket().statistics()) {
            self.counters.drops += u64::from(fresh.drops);
            self.counters.freezes += u64::from(fresh.freezes);
        }
        self.counters.drops += self.spare.as_ref().map_or(0, Spare::drops);
    }

    /// Compares with what the kernel says now; takes the interface up again when it was made anew.
    pub(super) fn check(&mut self, settings: &CaptureSettings, probe: BorrowedFd<'_>, now: Instant) {
        self.collect();
        let Ok(facts) = ring::interface(probe, &self.name) else {
            self.state = LinkState::Away;
            return;
        };
        // A socket lets go of an interface that is deleted, so when it was away even the same index is bound anew.
        let doubtful = std::mem::take(&mut self.doubtful);
        let stayed = facts.index == self.index && matches!(self.state, LinkState::Up | LinkState::Down);
        if stayed && (!doubtful || self.bind_again()) {
            self.state = state_of(facts);
            self.arm(settings);
            return;
        }
        match self.take_up(facts, settings, now) {
            Ok(()) => {
                self.counters.returns += 1;
                self.state = state_of(facts);
                self.arm(settings);
            }
            Err(error) if is_gone(&error.source) => self.state = LinkState::Away,
            Err(_) => self.state = LinkState::Refused,
        }
    }

    /// Whether the socket has its interface still, or again.
    fn bind_again(&self) -> bool {
        let Some(ring) = &self.ring else { return false };
        let is_bound = match ring.socket().group() {
            // A member of a group cannot be bound again; the kernel does so when the interface is up again, unless it was deleted.
            Some(_) => ring::bound_to(ring.socket().as_fd()) == Some(self.index),
            None => {
                let _ = ring.socket().bind(self.index);
                true
            }
        };
        self.clear_error();
        is_bound
    }

    fn take_up(
        &mut self,
        facts: InterfaceFacts,
        settings: &CaptureSettings,
        now: Instant,
    ) -> Result<(), RingError> {
        let kind = LinkKind::of(facts.hardware);
        match &self.ring {
            Some(ring) if kind == self.kind && ring.socket().group().is_none() => {
                // The same socket again: keeps what is still in the ring, and needs no capability.
                ring.socket().bind(facts.index)?;
                if settings.promiscuous {
                    ring.socket().promiscuous(facts.index)?;
                }
            }
            _ => {
                // What is bound for good, or to another sort of interface, whose frames come otherwise.
                let ring = open_ring(facts.index, kind, settings, self.label.size)?;
                let spare = self.spare.take().and_then(|spare| spare.leave(self.kind, self.number, now));
                let first = self.ring.replace(ring);
                let first =
                    first.map(|ring| Remainder::new(ring, self.kind, self.number, self.label.clone(), now));
                self.left.extend([first, spare].into_iter().flatten());
                self.refused = 0;
                self.behind = None;
                self.kind = kind;
            }
        }
        self.index = facts.index;
        let before = self.label.clone();
        (self.label.index, self.label.hardware) = (facts.index, facts.hardware);
        self.clear_error();
        self.label.cookie = self.ring.as_ref().map_or(0, |ring| ring.socket().cookie());
        // The same socket under another name, of which the keeper takes no second duplicate; another one is forgotten once it is read to
        // its end.
        if before.cookie == self.label.cookie && before != self.label {
            self.keeping.forget(&before);
        }
        self.keep();
        Ok(())
    }

    /// It is not captured after all.
    pub(super) fn let_go(self) {
        self.keeping.forget(&self.label);
        if let Some(spare) = &self.spare {
            self.keeping.forget(spare.label());
        }
    }

    /// Has the ring kept beyond this process.
    fn keep(&mut self) {
        let Some(ring) = &self.ring else { return };
        self.label.cookie = ring.socket().cookie();
        self.keeping.keep(&self.label, ring.socket().as_fd());
    }

    /// Gives the ring the other one, where one is wanted and the kernel lets us: it takes an interface that is up.
    fn arm(&mut self, settings: &CaptureSettings) {
        let (Some(size), Some(ring), None) = (settings.rings(self.number).1, &self.ring, &self.spare) else {
            return;
        };
        if self.state != LinkState::Up || self.refused >= MOST_REFUSALS {
            return;
        }
        self.refused += 1;
        if let Ok(socket) = open_spare(ring.socket(), self.index, self.kind, settings, size) {
            let label = Label { role: Role::Spare, size, cookie: socket.cookie(), ..self.label.clone() };
            self.keeping.keep(&label, socket.as_fd());
            self.spare = Some(Spare::new(socket, label));
        }
    }
}

/// The rings of an earlier process that fit; they go on as they are, and stay kept.
fn take_over(
    handover: &mut Handover,
    (label, program): (&Label, Option<&Program>),
    spare: Option<RingSize>,
    keeping: &Keeping,
) -> Option<(Ring, Option<Spare>)> {
    let (first, beside) = handover.fitting(label, spare)?;
    if ring::bound_to(first.socket.as_fd()) != Some(label.index) {
        handover.put_back([Some(first), beside]);
        return None;
    }
    let open = |kept: Kept| {
        // A process in between may have silenced it for one of its own.
        let socket =
            RingSocket::again(kept.socket, kept.label.size).filter(|socket| socket.listen(program).is_ok());
        if socket.is_none() {
            keeping.forget(&kept.label);
        }
        Some((socket?, kept.label))
    };
    let beside = beside.and_then(open).map(|(socket, label)| Spare::new(socket, label));
    let ring =
        open(first).and_then(|(socket, label)| socket.map().inspect_err(|_| keeping.forget(&label)).ok());
    match (ring, beside) {
        (Some(ring), mut beside) => {
            beside.iter_mut().for_each(Spare::look);
            Some((ring, beside))
        }
        (None, beside) => {
            beside.inspect(|spare| keeping.forget(spare.label()));
            None
        }
    }
}

/// Opens what takes the frames that find no room in `ring`.
fn open_spare(
    ring: &RingSocket,
    index: u32,
    kind: LinkKind,
    settings: &CaptureSettings,
    size: RingSize,
) -> Result<RingSocket, RingError> {
    let loopback = kind == LinkKind::Loopback;
    let program = program(kind, settings)?;
    let spare = RingSocket::open(&RingOptions {
        size,
        header: kind.header(),
        ignore_outgoing: loopback,
        filter: program.as_ref(),
    })?;
    // Until it is of the group, each frame would come here, too.
    spare.silence()?;
    spare.bind(index)?;
    let group = match ring.group() {
        Some(group) => group,
        None => ring.found_group(loopback)?,
    };
    spare.join(group)?;
    spare.listen(program.as_ref())?;
    Ok(spare)
}

fn open_ring(
    index: u32,
    kind: LinkKind,
    settings: &CaptureSettings,
    size: RingSize,
) -> Result<Ring, RingError> {
    let program = program(kind, settings)?;
    let socket = RingSocket::open(&RingOptions {
        size,
        header: kind.header(),
        ignore_outgoing: kind == LinkKind::Loopback,
        filter: program.as_ref(),
    })?;
    let ring = socket.map().map_err(|(_, error)| error)?;
    ring.socket().bind(index)?;
    if settings.promiscuous {
        ring.socket().promiscuous(index)?;
    }
    Ok(ring)
}

/// What the kernel is to hand over of a kind of frames; `None`: all of it.
fn program(kind: LinkKind, settings: &CaptureSettings) -> Result<Option<Program>, RingError> {
    let program = match (kind.for_filters(), &settings.filter, settings.share) {
        (_, None, None) => return Ok(None),
        (Some(link), Some(filter), share) => filter.program(link, RunsIn::Kernel, share).ok(),
        (Some(link), None, Some(share)) => share.program(link, RunsIn::Kernel).ok(),
        (None, ..) => None,
    };
    match program {
        Some(program) => Ok(Some(program)),
        // An interface that came back as one whose frames cannot be filtered; without the filter it would show too much.
        None => Err(RingError { step: Step::Filter, source: io::Error::from_raw_os_error(libc::EINVAL) }),
    }
}

fn state_of(facts: InterfaceFacts) -> LinkState {
    if facts.up { LinkState::Up } else { LinkState::Down }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENODEV | libc::ENXIO | libc::ENETDOWN))
}

/// A ring that the kernel does not give is asked for so often: there may be no memory, or no such groups.
const MOST_REFUSALS: u8 = 3;
