//! Profiles: what traffic told of each address, kept in flows.sqlite beside the flows.
//!
//! [`Profiles`] is a sink like the others: it learns from the events that go through the engine, holds what changed for a few seconds
//! and writes it in one transaction. A profile costs nothing in the hot path of detection, is bounded in each of its lists, and of those
//! that were silent for long only the database remembers. [`Facts`] is what one holds.

mod book;
mod facts;
mod learn;
mod seen;

use std::path::PathBuf;

use slips_core::addr::LocalNets;
use slips_core::moving::OwnMacs;
use slips_core::record::Record;
use slips_core::time::WindowWidth;

pub use facts::{
    Agent, Called, Certificate, Facts, Handshake, HostName, Lease, Mac, Program, Resolved, Reverse, Role,
    Service,
};
pub use seen::{Item, Seen};

use crate::sink::{Clock, RecordSink, StoreError};
use crate::sqlite::{Damaged, ProfileTable};
use book::Book;
use learn::Ground;

/// What profiles are made with.
#[derive(Clone, Debug)]
pub struct ProfileSettings {
    /// Whose hosts are ours: each of them has a profile, others only if there is something to tell.
    pub local: LocalNets,
    /// Hardware addresses of this router, which own nobody's address.
    pub own_macs: OwnMacs,
    /// Width of the windows that are counted.
    pub width: WindowWidth,
    /// Profiles in memory; the others are in the database alone.
    pub in_memory: usize,
    /// Profiles in the database; beyond it those that were not seen for longest go.
    pub kept: u32,
    /// What becomes of a database that is damaged.
    pub damaged: Damaged,
}

impl ProfileSettings {
    /// For these hosts; 4,096 profiles in memory (about 1 kB each, 10 kB where somebody tries) and as many more that wait for a slow disk,
    /// 100,000 in the database.
    pub fn new(local: LocalNets, own_macs: OwnMacs, width: WindowWidth) -> Self {
        Self { local, own_macs, width, in_memory: 4_096, kept: 100_000, damaged: Damaged::Refused }
    }
}

/// Learns and stores profiles.
pub struct Profiles {
    book: Book,
    ground: Ground,
    table: ProfileTable,
    clock: Clock,
    /// Wall time of the last time that changes were written, and that all was.
    wrote: (i64, i64),
    /// The latest attempt to write failed.
    failed: bool,
}

impl Profiles {
    /// Stores into the database at `path`, which is made if it is not there.
    pub fn open(
        path: impl Into<PathBuf>,
        settings: ProfileSettings,
        clock: Clock,
    ) -> Result<Self, StoreError> {
        let table = ProfileTable::open(path.into(), settings.kept, settings.width, settings.damaged)?;
        Ok(Self {
            book: Book::new(settings.in_memory, settings.width),
            ground: Ground { local: settings.local, own_macs: settings.own_macs },
            table,
            clock,
            wrote: (0, clock()),
            failed: false,
        })
    }

    fn write(&mut self, all: bool) -> Result<(), StoreError> {
        let now = (self.clock)();
        self.wrote = if all { (now, now) } else { (now, self.wrote.1) };
        self.failed = true;
        self.table.write(
            now,
            self.book.waiting(all).map(|(addr, entry)| (addr, &mut entry.facts, &mut entry.unread)),
        )?;
        self.failed = false;
        self.book.written(all);
        Ok(())
    }
}

impl RecordSink for Profiles {
    fn accept(&mut self, records: &[Record]) -> Result<(), StoreError> {
        let batches = records.iter().filter_map(|record| match record {
            Record::Events(batch) => Some(batch),
            _ => None,
        });
        for event in batches.flat_map(|batch| batch.iter()) {
            learn::learn(&mut self.book, &self.ground, event);
        }
        // An analysis is not flushed in between. After a failure it waits for the next flush.
        if self.book.is_crowded() && !self.failed { self.write(false) } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        // A clock that was set back must not stop the writing.
        let since = |then: i64| (self.clock)().saturating_sub(then).unsigned_abs();
        let all = since(self.wrote.1) >= ALL_EVERY;
        if all || since(self.wrote.0) >= CHANGES_EVERY { self.write(all) } else { Ok(()) }
    }

    fn close(mut self: Box<Self>) -> Result<(), StoreError> {
        self.write(true)
    }

    fn shrink(&mut self) {
        // What the database has of them is read again when they come back. Who is not written yet stays.
        if self.write(true).is_ok() {
            self.book.shrink();
        }
    }

    fn lost(&self) -> u64 {
        self.book.lost
    }
}

/// What changed is written this often, in microseconds: each time is a transaction.
const CHANGES_EVERY: u64 = 5_000_000;
/// When each host was seen last is written this often, in microseconds.
const ALL_EVERY: u64 = 120_000_000;

/// Times in ISO 8601, as everything else that is told to people and programs.
pub(crate) mod iso {
    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::Serializer;
    use slips_core::time::PacketTime;

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
    pub(crate) fn serialize<S: Serializer>(at: &PacketTime, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&crate::render::iso(*at))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<PacketTime, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
        let at: jiff::Timestamp = text.parse().map_err(D::Error::custom)?;
        Ok(PacketTime(at.as_microsecond()))
    }
}

#[cfg(test)]
mod tests;
