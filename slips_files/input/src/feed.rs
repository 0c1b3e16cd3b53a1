//! Inputs without an end: growing logs, listeners. They are asked again and again, and never wait themselves.

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use slips_core::event::Event;
use slips_core::time::PacketTime;

use crate::error::InputError;
use crate::report::Reason;

/// What time it is; told by whoever asks, since nothing here reads a clock.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// On the wall.
    pub wall: PacketTime,
    /// Since some moment; only goes forward.
    pub steady: Duration,
}

/// An input without an end.
pub trait Feed: Send {
    /// What it is, for messages.
    fn name(&self) -> String;

    /// Appends what has come, about a batch of it, and says when to ask again: at once ([`Duration::ZERO`]) where there is more, else
    /// after that long or when one of [`Feed::wakers`] becomes readable. An error is the end of it.
    fn read(&mut self, now: Now, out: &mut Vec<Event>) -> Result<Duration, InputError>;

    /// The end of the run: appends what was held back.
    fn finish(&mut self, _out: &mut Vec<Event>) {}

    /// Up to when all is told that will be, when nothing more comes now; `None` while that is not known. A log that is read from long ago is
    /// not of now, and its windows must not be closed before it is read.
    fn clock(&self, now: Now) -> Option<PacketTime> {
        Some(now.wall)
    }

    /// What becomes readable when there is something to read; none where only asking tells.
    fn wakers(&self) -> Vec<BorrowedFd<'_>> {
        Vec::new()
    }

    /// Whether anybody in the network may make it tell as much as he likes: what it tells is shed then rather than what was seen here.
    fn can_be_forged(&self) -> bool {
        false
    }

    /// Where it stands after all that was appended so far, for a later start to go on from; `None` where there is nothing to go back to.
    fn mark(&self) -> Option<String> {
        None
    }

    /// What was read so far.
    fn report(&self) -> FeedReport;
}

/// What an input without an end has read so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FeedReport {
    /// Records that were used.
    pub records: u64,
    /// Records that were not, by reason.
    pub rejected: BTreeMap<Reason, u64>,
    /// The last of them, with where it stands; empty when there is none.
    pub last_reject: String,
    /// Files that are followed, clients that are connected, exporters that were heard.
    pub parts: usize,
    /// Bytes that lie there and were not read yet.
    pub behind: u64,
    /// When the newest record happened.
    pub newest: Option<PacketTime>,
    /// What is wrong with the input as a whole, such as a directory that is gone; empty when nothing is.
    pub trouble: String,
}

impl FeedReport {
    /// All rejected records.
    pub fn rejected_total(&self) -> u64 {
        self.rejected.values().sum()
    }
}
