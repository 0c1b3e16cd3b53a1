//! flows.sqlite: labelled flows, records of protocols, evidence and alerts of a run, and the blocks that outlive it.
//!
//! [`Sqlite`] is the sink of records, [`Blocks`] the firewall's book. Each has its own connection, so that a block is on disk at
//! once and never waits for more than one batch of flows.

mod age;
mod answers;
mod blocks;
mod due;
mod findings;
mod flows;
mod forget;
mod found;
mod held;
mod indexes;
mod labels;
mod leftovers;
mod mirrored;
mod peers;
mod place;
mod postings;
mod profiles;
pub mod read;
mod records;
mod retain;
mod schema;
mod segments;
mod story;
mod views;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{Connection, ErrorCode};
use slips_core::record::Record;

use age::Age;
pub use answers::{Answer, Answers};
pub use blocks::{Block, BlockId, BlockState, Blocks, NewBlock};
pub use due::{Filed, Unentered};
pub(crate) use found::{Ask, Found};
pub use mirrored::Mark;
pub(crate) use mirrored::Page;
pub use peers::{KeptEnvelope, Outcome, PeerBook, PeerPlace, PeerStanding};
pub use place::Damaged;
pub(crate) use profiles::ProfileTable;
pub use profiles::{Brief, StoredProfile};
pub use retain::Keep;
pub use story::{Stories, Story, ToldEvidence};

use crate::sink::{Clock, RecordSink, Steady, StoreError};
use flows::FlowWriter;
pub(crate) use flows::ProtoText;
use held::{Held, ended};
use labels::Labels;
use leftovers::Leftovers;
use place::Place;
use records::RecordWriter;
pub use records::is_one as is_protocol_record;
use schema::Durability;
use segments::{FLOWS, RECORDS, Segments};

/// Bounds of the database.
#[derive(Clone, Copy, Debug)]
pub struct SqliteLimits {
    /// Rows per transaction.
    pub batch: usize,
    /// Events that may wait while the disk refuses them; then the oldest flows are dropped and counted.
    pub waiting_events: usize,
    /// Evidence and alert records that may wait likewise.
    pub waiting_findings: usize,
    /// Flows kept, and records kept; older ones make room.
    pub rows: u64,
    /// For how long, and how many bytes.
    pub keep: Keep,
}

impl Default for SqliteLimits {
    /// For an analysis: all of it, whatever its age.
    fn default() -> Self {
        Self {
            batch: 5_000,
            waiting_events: 50_000,
            waiting_findings: 20_000,
            rows: i64::MAX.unsigned_abs(),
            keep: Keep::default(),
        }
    }
}

/// Called while something takes long.
type Life = Arc<dyn Fn() + Send + Sync>;

/// Stores flows that ended, records of protocols, evidence and alerts.
///
/// Records are held until there are enough rows for a transaction, [`flush`](RecordSink::flush) is called, or very many
/// events wait; dropping the sink without [`close`](RecordSink::close) loses what is held.
pub struct Sqlite {
    place: Place,
    /// A damaged database was put aside at the start, and nobody knows yet.
    untold: Option<StoreError>,
    /// `None` after a failure: the next attempt begins with a new connection.
    db: Option<Connection>,
    limits: SqliteLimits,
    clock: Clock,
    /// A clock that only goes forward; without it the one on the wall is taken for that.
    steady: Option<Steady>,
    /// By which it ages, from when it was opened first.
    age: Option<Age>,
    held: VecDeque<Held>,
    held_flows: usize,
    held_records: usize,
    held_events: usize,
    held_findings: usize,
    /// After a failure: how many events and findings pass before the next attempt that nobody asked for.
    pause: usize,
    next_id: i64,
    next_record: i64,
    labels: Labels,
    flow_index: Segments,
    record_index: Segments,
    lost: u64,
    filed: Option<Filed>,
    leftovers: Option<Leftovers>,
    /// Told from time to time while one statement works for long.
    life: Option<Life>,
    /// The open database has all indexes.
    indexed: bool,
    /// Evidence that may go.
    idle: retain::Idle,
    /// Records of the next transaction at most: fewer after one that could not be stored, until it is known which of them it is.
    part: usize,
}

impl Sqlite {
    /// Opens or makes the database; one that is damaged is refused.
    pub fn open(path: impl Into<PathBuf>, limits: SqliteLimits, clock: Clock) -> Result<Self, StoreError> {
        Self::open_with(path, limits, clock, Damaged::Refused)
    }

    /// Opens or makes the database; what becomes of one that is damaged, now or later, `damaged` says.
    pub fn open_with(
        path: impl Into<PathBuf>,
        limits: SqliteLimits,
        clock: Clock,
        damaged: Damaged,
    ) -> Result<Self, StoreError> {
        let mut sink = Self {
            place: Place::new(path.into(), Durability::Whole, damaged),
            untold: None,
            db: None,
            limits,
            clock,
            steady: None,
            age: None,
            held: VecDeque::new(),
            held_flows: 0,
            held_records: 0,
            held_events: 0,
            held_findings: 0,
            pause: 0,
            next_id: 1,
            next_record: 1,
            labels: Labels::new(),
            flow_index: Segments::new(FLOWS),
            record_index: Segments::new(RECORDS),
            lost: 0,
            filed: None,
            leftovers: None,
            life: None,
            indexed: false,
            idle: retain::Idle::default(),
            part: usize::MAX,
        };
        match sink.connect() {
            // Whoever watches on without a damaged one does so too without one that is locked, or on a disk that is full: each flush tries
            // again, and tells.
            Err(error) if damaged == Damaged::PutAside && (error.is_passing() || error.is_unwritable()) => {}
            connected => connected?,
        }
        Ok(sink)
    }

    /// The same, telling which alerts the database has.
    pub fn telling(self, filed: Filed) -> Self {
        Self { filed: Some(filed), ..self }
    }

    /// The same, ageing by a clock that only goes forward, also while the machine sleeps: whatever the one on the wall says.
    pub fn ageing_by(mut self, steady: Steady) -> Self {
        let before = self.steady();
        self.steady = Some(steady);
        let now = self.steady();
        self.age = self.age.map(|age| age.by(before, now));
        self
    }

    /// What the steady clock says.
    fn steady(&self) -> i64 {
        self.steady.map_or_else(self.clock, |steady| i64::try_from(steady().as_micros()).unwrap_or(i64::MAX))
    }

    /// The same, calling this from time to time while one statement works for seconds: whoever watches over it must not take that for a standstill.
    pub fn showing_life(self, life: impl Fn() + Send + Sync + 'static) -> Self {
        Self { life: Some(Arc::new(life)), ..self }
    }

    /// The same, looking from time to time for alerts that stay in this book of blocks although the database has them, or has lost them.
    pub fn beside(self, book: PathBuf) -> Self {
        Self { leftovers: Some(Leftovers::of(book)), ..self }
    }

    /// Writes all that is held back. That a damaged database was put aside at the start is left for the first
    /// [`flush`](RecordSink::flush) to tell.
    pub fn write_held(&mut self) -> Result<(), StoreError> {
        self.write(Until::Empty)
    }

    /// The database.
    pub fn path(&self) -> &Path {
        self.place.path()
    }

    /// Flows named by alerts that could not be remembered until they ended; their rows may say benign.
    pub const fn labels_forgotten(&self) -> u64 {
        self.labels.forgotten()
    }

    fn connect(&mut self) -> Result<(), StoreError> {
        if self.db.is_some() {
            return Ok(());
        }
        let (db, told) = self.place.open()?;
        self.untold = told.or(self.untold.take());
        let (wall, steady) = ((self.clock)(), self.steady());
        let known = self.age.map(Age::unsaved);
        let mut load = || {
            self.labels.load_seed(&db)?;
            let age = known.map_or_else(|| Age::load(&db, wall, steady), Ok)?;
            Ok::<_, rusqlite::Error>((age, (FLOWS.last_id(&db)?, RECORDS.last_id(&db)?)))
        };
        let loaded = load();
        let (last, last_record) = match loaded {
            Ok((age, last)) => {
                self.age = Some(age);
                last
            }
            Err(source) => {
                drop(db);
                return Err(self.place.failed(source));
            }
        };
        self.next_id = last.saturating_add(1);
        self.next_record = last_record.saturating_add(1);
        self.flow_index.use_seed(self.labels.seed());
        self.record_index.use_seed(self.labels.seed());
        self.indexed = false;
        self.db = Some(db);
        Ok(())
    }

    /// Writes transactions of at least `batch` flows until too few wait for another, or none.
    fn write(&mut self, until: Until) -> Result<(), StoreError> {
        while !self.held.is_empty() && (until == Until::Empty || self.held_rows() >= self.limits.batch) {
            if let Err(error) = self.write_one().and_then(|()| self.tend(When::Written)) {
                self.make_room();
                self.pause = PAUSE_BATCHES * self.limits.batch;
                return Err(error);
            }
        }
        self.pause = 0;
        Ok(())
    }

    /// One transaction: takes records up to the batch's size and forgets them when they are on disk. Of records that cannot be stored it is
    /// found out by halves which one it is, and that is lost alone.
    fn write_one(&mut self) -> Result<(), StoreError> {
        self.connect()?;
        let (mut count, mut rows) = (0, 0);
        for held in self.held.iter().take(self.part) {
            count += 1;
            rows += held.rows();
            if rows >= self.limits.batch {
                break;
            }
        }
        self.part = usize::MAX;
        let Some(mut db) = self.db.take() else { return Ok(()) };
        let first = (self.next_id, self.next_record);
        match self.transact_told(&mut db, count) {
            Ok(()) => {
                self.labels.committed();
                self.db = Some(db);
                self.tell_filed(count);
                self.drop_oldest(count);
                Ok(())
            }
            Err(source) => {
                (self.next_id, self.next_record) = first;
                if !is_passing(&source) && count > 1 {
                    self.part = count / 2;
                    self.db = Some(db);
                    return Ok(());
                }
                if !is_passing(&source) {
                    // This very record cannot be stored; the next ones can.
                    self.lost += self.drop_oldest(count);
                }
                drop(db);
                Err(self.place.failed(source))
            }
        }
    }

    /// Tells of the alerts among the oldest held records that the database has them.
    fn tell_filed(&self, count: usize) {
        let Some(filed) = &self.filed else { return };
        let mut alerts = self.held.iter().take(count).filter_map(|held| match &held.record {
            Record::Alert(alert) => Some(alert.id),
            _ => None,
        });
        if let Some(first) = alerts.next() {
            filed.add(std::iter::once(first).chain(alerts));
        }
    }

    /// One transaction. Of one with alerts that leave the book of blocks for it the disk has to have all before they do: what the book forgets
    /// may be on the disk first, and a power cut would take them from both.
    fn transact_told(&mut self, db: &mut Connection, count: usize) -> rusqlite::Result<()> {
        let is_alert = |held: &Held| matches!(held.record, Record::Alert(_));
        if self.filed.is_none() || !self.held.iter().take(count).any(is_alert) {
            return self.transact(db, count);
        }
        db.execute_batch("PRAGMA synchronous = FULL")?;
        let done = self.transact(db, count);
        db.execute_batch("PRAGMA synchronous = NORMAL")?;
        done
    }

    fn transact(&mut self, db: &mut Connection, count: usize) -> rusqlite::Result<()> {
        let tx = db.transaction()?;
        self.labels.begin(self.next_id);
        self.flow_index.begin(self.next_id);
        self.record_index.begin(self.next_record);
        let (wall, steady) = ((self.clock)(), self.steady());
        let now = self.age.map_or(wall, |age| age.now(steady));
        {
            let mut writer = FlowWriter::new(&tx)?;
            let mut records = RecordWriter::new(&tx)?;
            for held in self.held.iter().take(count) {
                match &held.record {
                    Record::Events(batch) => {
                        for flow in ended(batch) {
                            writer.insert(self.next_id, flow, self.labels.of(&flow.uid))?;
                            self.labels.stored(&flow.uid, flow.start);
                            self.flow_index.stored(flow.start, [flow.src.addr, flow.dst.addr], None);
                            self.next_id += 1;
                        }
                        for event in batch.iter().filter(|_| held.records > 0) {
                            let is_one = records.insert(self.next_record, event, &mut self.record_index)?;
                            self.next_record += i64::from(is_one);
                        }
                    }
                    Record::Evidence(evidence) => {
                        findings::put_evidence(&tx, evidence, now)?;
                        self.labels.evidence(evidence);
                    }
                    Record::Alert(alert) => {
                        findings::put_alert(&tx, alert, wall, now)?;
                        for evidence in &alert.evidence {
                            self.labels.alert(evidence, alert.window_start);
                        }
                    }
                    _ => {}
                }
            }
        }
        self.labels.end(&tx)?;
        self.flow_index.end(&tx, now, 0)?;
        self.record_index.end(&tx, now, 0)?;
        if let Some(age) = &mut self.age {
            age.save(&tx, wall, steady, age::WITH_ROWS)?;
        }
        tx.commit()
    }

    /// Does a little of what keeps the database in order, beside what was written.
    fn tend(&mut self, when: When) -> Result<(), StoreError> {
        let Some(mut db) = self.db.take() else { return Ok(()) };
        match self.tend_to(&mut db, when) {
            Ok(()) => {
                self.db = Some(db);
                Ok(())
            }
            Err(source) => {
                drop(db);
                Err(self.place.failed(source))
            }
        }
    }

    fn tend_to(&mut self, db: &mut Connection, when: When) -> rusqlite::Result<()> {
        let (wall, steady) = ((self.clock)(), self.steady());
        let now = self.age.map_or(wall, |age| age.now(steady));
        for table in [FLOWS, RECORDS] {
            // One that was made may be the sixteenth of the next level.
            while segments::merge(db, table)? {}
        }
        if when == When::Written {
            return retain::rows(db, &self.limits, now).map(drop);
        }
        if let Some(age) = &mut self.age {
            age.save(db, wall, steady, age::ALONE)?;
        }
        if !self.indexed {
            self.make_index(db)?;
        }
        for table in [FLOWS, RECORDS] {
            segments::index_older(db, table, self.labels.seed(), now)?;
        }
        for _ in 0..STEPS_AT_REST {
            if !retain::rows(db, &self.limits, now)? {
                break;
            }
        }
        retain::findings(db, &self.limits, &mut self.idle, now)
    }

    /// Makes an index that an old database does not have yet, which may take seconds over a million rows.
    fn make_index(&mut self, db: &mut Connection) -> rusqlite::Result<()> {
        /// Instructions of SQLite's machine: some milliseconds.
        const OFTEN: i32 = 100_000;
        let life = self.life.clone();
        db.progress_handler(
            OFTEN,
            life.map(|life| {
                move || {
                    life();
                    false
                }
            }),
        )?;
        let made = indexes::make_one(db);
        db.progress_handler(0, None::<fn() -> bool>)?;
        self.indexed = !made?;
        Ok(())
    }

    fn look_for_leftovers(&mut self) -> Result<(), StoreError> {
        let (Some(leftovers), Some(db)) = (&mut self.leftovers, &self.db) else { return Ok(()) };
        match leftovers.look(db) {
            Ok(None) => {}
            Ok(Some(page)) => {
                if let Some(filed) = &self.filed {
                    filed.add(page.filed);
                }
                for alert in page.lost {
                    self.hold(&Record::Alert(Arc::new(alert)));
                }
            }
            Err(source) => {
                self.db = None;
                return Err(self.place.failed(source));
            }
        }
        Ok(())
    }
}

/// When the database is tended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    /// After a transaction.
    Written,
    /// Once a second, when nothing waits.
    AtRest,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    /// Fewer flows wait than a transaction takes.
    LessThanABatch,
    Empty,
}

impl RecordSink for Sqlite {
    fn accept(&mut self, records: &[Record]) -> Result<(), StoreError> {
        let mut outcome = Ok(());
        for record in records {
            self.hold(record);
            // Live capture tells many events per flow that ended, and an attacker can make many findings without one.
            let too_many = self.held_events > self.limits.waiting_events
                || self.held_findings > self.limits.waiting_findings;
            if self.pause > 0 && too_many {
                self.make_room();
            } else if self.pause == 0 && (too_many || self.held_rows() >= self.limits.batch) {
                let until = if too_many { Until::Empty } else { Until::LessThanABatch };
                outcome = outcome.and(self.write(until));
            }
        }
        outcome
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        if self.place.is_moved() {
            // What was written to the old one is where it was moved to.
            self.db = None;
        }
        self.connect()?;
        self.write(Until::Empty)?;
        self.tend(When::AtRest)?;
        self.look_for_leftovers()?;
        self.untold.take().map_or(Ok(()), Err)
    }

    fn close(mut self: Box<Self>) -> Result<(), StoreError> {
        self.write(Until::Empty)?;
        let Some(db) = self.db.take() else { return Ok(()) };
        let (wall, steady) = ((self.clock)(), self.steady());
        if let Some(age) = &mut self.age {
            // The next run knows less exactly how long this one was.
            let _ = age.save(&db, wall, steady, 0);
        }
        // Leaves one file without a log, if no other process reads it now.
        let _ = db.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
        db.close().map_err(|(_, source)| self.place.failed(source))
    }

    fn shrink(&mut self) {
        if let Some(db) = &self.db {
            // The pages that SQLite keeps of the file; it says nothing of use when it cannot.
            let _ = db.execute_batch("PRAGMA shrink_memory");
        }
    }

    fn lost(&self) -> u64 {
        self.lost
    }
}

/// A database that refuses is tried again after four batches' worth of records, or when it is flushed: not with every record,
/// since each attempt may wait for a lock.
const PAUSE_BATCHES: usize = 4;
/// So many steps of making room are taken in a second in which nothing else is written.
const STEPS_AT_REST: u32 = 4;

/// Whether the same records may well be stored later: it is the disk, a lock or memory, not the records.
pub(crate) fn is_passing(error: &rusqlite::Error) -> bool {
    use ErrorCode as E;
    matches!(
        error.sqlite_error_code(),
        Some(
            E::DatabaseBusy
                | E::DatabaseLocked
                | E::DiskFull
                | E::SystemIoFailure
                | E::ReadOnly
                | E::CannotOpen
                | E::PermissionDenied
                | E::OutOfMemory
                | E::FileLockingProtocolFailed
                | E::DatabaseCorrupt
                | E::NotADatabase
                | E::SchemaChanged
        )
    )
}

#[cfg(test)]
mod tests;
