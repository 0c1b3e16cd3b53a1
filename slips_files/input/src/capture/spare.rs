//! Rings beside the one that is read: what takes the frames that find no room there, and what is read to its end and let go.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use super::Frame;
use super::block::Frames;
use super::handover::{Keeping, Kept, Label};
use super::kind::LinkKind;
use super::link::Counters;
use super::ring::{Ring, RingSocket};
use super::settings::RingSize;

/// A ring that is looked into only when something is in it: its memory counts as ours while we do.
#[derive(Debug)]
pub(super) struct Spare {
    /// One of the two is there, and never both.
    parked: Option<RingSocket>,
    ring: Option<Ring>,
    label: Label,
}

impl Spare {
    pub(super) fn new(socket: RingSocket, label: Label) -> Self {
        Self { parked: Some(socket), ring: None, label }
    }

    pub(super) fn socket(&self) -> Option<&RingSocket> {
        self.ring.as_ref().map(Ring::socket).or(self.parked.as_ref())
    }

    pub(super) fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.socket().map(AsFd::as_fd)
    }

    /// Looks into it. Without memory for that it stays closed, and is tried again.
    pub(super) fn look(&mut self) {
        if let Some(socket) = self.parked.take() {
            match socket.map() {
                Ok(ring) => self.ring = Some(ring),
                Err((socket, _)) => self.parked = Some(socket),
            }
        }
    }

    pub(super) fn park(&mut self) {
        if let Some(ring) = self.ring.take() {
            self.parked = Some(ring.park());
        }
    }

    /// What is looked into.
    pub(super) fn ring(&mut self) -> Option<&mut Ring> {
        self.ring.as_mut()
    }

    pub(super) fn drops(&self) -> u64 {
        self.socket().and_then(|socket| socket.statistics().ok()).map_or(0, |fresh| fresh.drops.into())
    }

    /// To be read to its end.
    pub(super) fn leave(self, kind: LinkKind, number: u16, now: Instant) -> Option<Remainder> {
        let ring = match (self.ring, self.parked) {
            (Some(ring), _) => ring,
            (None, Some(socket)) => socket.map().ok()?,
            (None, None) => return None,
        };
        Some(Remainder::new(ring, kind, number, self.label, now))
    }

    pub(super) const fn label(&self) -> &Label {
        &self.label
    }
}

/// A ring that takes in nothing any more.
#[derive(Debug)]
pub(super) struct Remainder {
    pub ring: Ring,
    pub kind: LinkKind,
    pub number: u16,
    label: Label,
    /// By then the kernel has handed over the block that it was about to fill.
    until: Instant,
}

impl Remainder {
    pub(super) fn new(ring: Ring, kind: LinkKind, number: u16, label: Label, now: Instant) -> Self {
        let until = now + settling(ring.socket().size());
        Self { ring, kind, number, label, until }
    }

    /// A socket of an earlier process that does not fit any more.
    pub(super) fn of(kept: Kept, number: u16, now: Instant) -> Option<Self> {
        let socket = RingSocket::again(kept.socket, kept.label.size)?;
        socket.silence().ok()?;
        let ring = socket.map().ok()?;
        let kind = LinkKind::of(kept.label.hardware);
        Some(Self::new(ring, kind, number, kept.label, now))
    }

    /// Whether the kernel may hand over another block of it.
    pub(super) fn fills(&self, now: Instant) -> bool {
        now < self.until
    }

    pub(super) fn is_over(&mut self, now: Instant) -> bool {
        !self.fills(now) && self.ring.look().is_none()
    }

    /// Keeps it no more.
    pub(super) fn close(self, keeping: &Keeping) {
        keeping.forget(&self.label);
    }
}

/// After so long a block that something was in is handed over for sure: the kernel's timer finds it at its second turn at the latest.
pub(super) fn settling(size: RingSize) -> Duration {
    Duration::from_millis(2 * u64::from(size.retire_ms()) + 20)
}

/// When the first frame of the next block came.
pub(super) fn begin(ring: &mut Ring) -> Option<(u32, u32)> {
    // A block that cannot be read is gone through, too: it is the oldest there is.
    ring.look().map(|block| Frames::new(block).begin().unwrap_or_default())
}

/// Hands over the frames of the next block; `None`: there is none.
pub(super) fn read(
    ring: &mut Ring,
    (kind, number): (LinkKind, u16),
    counters: &mut Counters,
    each: &mut dyn FnMut(Frame<'_>),
) -> Option<usize> {
    let block = ring.take()?;
    let mut handed = 0;
    let mut frames = Frames::new(block.bytes());
    if block.is_deadly() {
        counters.drops += u64::from(frames.missing());
        return Some(0);
    }
    for raw in frames.by_ref() {
        let Some(frame) = kind.frame(number, &raw) else {
            counters.skipped += u64::from(!kind.is_echo(&raw));
            continue;
        };
        counters.frames += 1;
        counters.bytes += u64::from(frame.wire_len);
        counters.cut += u64::from(frame.captured.len() < frame.wire_len as usize);
        handed += 1;
        each(frame);
    }
    counters.skipped += u64::from(frames.missing());
    Some(handed)
}
