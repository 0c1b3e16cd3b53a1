//! peers.sqlite: what outlives a restart of what peers said, what we said, and how far they are believed.
//!
//! It can be deleted: trust begins again from the configured weights, and what holds still comes back from the peers. Only our own
//! messages would then seem replayed to them, which is why the epoch is kept elsewhere and must grow with it.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, params};

use super::place::{Damaged, Place};
use super::schema::{self, Durability};
use crate::sink::StoreError;

#[cfg(test)]
mod tests;

/// Element n takes a database of version n to n + 1. Elements are only ever added. Times are milliseconds since the Unix epoch.
const MIGRATIONS: &[&str] = &["
    CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE replay (author BLOB PRIMARY KEY, taken BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE standings (
        peer BLOB PRIMARY KEY, base REAL, confirmed REAL, refuted REAL, at INTEGER, losses INTEGER,
        quarantined INTEGER, day INTEGER, gains INTEGER) WITHOUT ROWID;
    CREATE TABLE refuted (accused BLOB PRIMARY KEY, until INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE envelopes (
        author BLOB, about TEXT, epoch INTEGER, seq INTEGER, until INTEGER, envelope BLOB,
        PRIMARY KEY (author, about)) WITHOUT ROWID;
    CREATE INDEX envelopes_until ON envelopes (until);
    CREATE TABLE outcomes (at INTEGER, peer TEXT, accused TEXT, moved REAL, why TEXT);
    CREATE INDEX outcomes_at ON outcomes (at);
", "
    CREATE INDEX envelopes_age ON envelopes (author, epoch, seq);
    CREATE TABLE room (author BLOB PRIMARY KEY, bytes INTEGER NOT NULL) WITHOUT ROWID;
    INSERT INTO room SELECT author, sum(length(envelope) + 2 * length(about) + 250) FROM envelopes GROUP BY author;
    CREATE TRIGGER envelope_came AFTER INSERT ON envelopes BEGIN
        INSERT INTO room VALUES (new.author, length(new.envelope) + 2 * length(new.about) + 250) ON CONFLICT (author)
        DO UPDATE SET bytes = bytes + excluded.bytes;
    END;
    CREATE TRIGGER envelope_went AFTER DELETE ON envelopes BEGIN
        UPDATE room SET bytes = bytes - (length(old.envelope) + 2 * length(old.about) + 250) WHERE author = old.author;
        DELETE FROM room WHERE author = old.author AND bytes <= 0;
    END;
    CREATE TRIGGER envelope_changed AFTER UPDATE ON envelopes BEGIN
        UPDATE room SET bytes = bytes + length(new.envelope) - length(old.envelope) WHERE author = new.author;
    END;
"];

/// Bytes of what one author said that are kept, with what they cost beside; beyond it its oldest go. Four thousand reports are one MiB, the
/// longest list of names another.
pub const MOST_OF_ONE: u64 = 4 << 20;
/// And of what all said; beyond it the oldest of who has most go.
pub const MOST_OF_ALL: u64 = 48 << 20;
/// What moved trust that is kept, the latest: whoever takes back all that he says moves it all day.
const MOST_OUTCOMES: u32 = 100_000;
/// Envelopes that are read at once, of 16 KiB at most each.
const PAGE: u32 = 64;

/// The key of a peer.
pub type PeerKey = [u8; 32];

/// How far a peer is believed, as it is kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PeerStanding {
    /// The configured weight.
    pub base: f64,
    /// Faded confirmations.
    pub confirmed: f64,
    /// Faded refutations.
    pub refuted: f64,
    /// The moment to which both are faded.
    pub at: u64,
    /// Separate refutations.
    pub losses: u32,
    /// Weight 0 until the owner pardons.
    pub quarantined: bool,
    /// The day of the latest confirmation, and how many that day had.
    pub today: (u64, u32),
}

/// An envelope that holds still.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptEnvelope {
    /// Who said it.
    pub author: PeerKey,
    /// About what: a newer one about the same takes its place.
    pub about: String,
    /// Its place among the author's.
    pub place: (u64, u64),
    /// When it holds no longer.
    pub until: u64,
    /// The signed bytes.
    pub envelope: Vec<u8>,
}

/// Where reading of envelopes goes on: behind this author's of this number.
pub type PeerPlace = (PeerKey, u64, u64);

/// Something that moved the trust in a peer.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// When.
    pub at: u64,
    /// Who.
    pub peer: String,
    /// By what it said about whom.
    pub accused: String,
    /// By how much: gains are positive.
    pub moved: f64,
    /// Why.
    pub why: String,
}

/// The database.
pub struct PeerBook {
    place: Place,
    db: Connection,
}

fn open(path: &Path, durability: Durability) -> Result<Connection, StoreError> {
    schema::open_with(path, durability, MIGRATIONS)
}

fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn unsigned(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

impl PeerBook {
    /// Opens or makes the database.
    ///
    /// # Errors
    /// When it is not ours, is damaged or cannot be opened.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, StoreError> {
        Self::open_with(path, Damaged::Refused).map(|(book, _)| book)
    }

    /// The same; where a damaged database is put aside for a new one, with the error that tells so.
    ///
    /// # Errors
    /// When it is not ours or cannot be opened.
    pub fn open_with(
        path: impl Into<PathBuf>,
        damaged: Damaged,
    ) -> Result<(Self, Option<StoreError>), StoreError> {
        let mut place = Place::new(path.into(), Durability::Whole, damaged).laid_out(open);
        let (db, told) = place.open()?;
        Ok((Self { place, db }, told))
    }

    /// A new book, which is empty, in the place of this one, which is damaged and kept under another name; with the error that tells so.
    ///
    /// # Errors
    /// When it cannot be put aside, or no new one be made.
    pub fn renewed(self) -> Result<(Self, StoreError), StoreError> {
        let Self { mut place, db } = self;
        drop(db);
        let told = place.put_aside()?;
        let (db, _) = place.open()?;
        Ok((Self { place, db }, told))
    }

    /// Does several things in one transaction, or none of them.
    ///
    /// # Errors
    /// The first that fails.
    pub fn all(&mut self, work: impl FnOnce(&mut Self) -> Result<(), StoreError>) -> Result<(), StoreError> {
        self.batch("BEGIN IMMEDIATE")?;
        let done = work(self).and_then(|()| self.batch("COMMIT"));
        if done.is_err() && !self.db.is_autocommit() {
            self.batch("ROLLBACK")?;
        }
        done
    }

    /// As [`all`](Self::all), and the disk has it when this returns.
    ///
    /// # Errors
    /// The first thing that fails.
    pub fn durably(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.batch("PRAGMA synchronous = FULL")?;
        let done = self.all(work);
        self.batch("PRAGMA synchronous = NORMAL")?;
        done
    }

    fn batch(&self, sql: &str) -> Result<(), StoreError> {
        self.db.execute_batch(sql).map_err(|source| self.failed("write", source))
    }

    fn write(&self, sql: &str, values: impl rusqlite::Params) -> Result<(), StoreError> {
        let written = self.db.prepare_cached(sql).and_then(|mut sql| sql.execute(values));
        written.map(drop).map_err(|source| self.failed("write", source))
    }

    fn read<T>(
        &self,
        sql: &str,
        row: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        let read = || -> rusqlite::Result<Vec<T>> {
            let mut sql = self.db.prepare_cached(sql)?;
            sql.query_map([], row)?.collect()
        };
        read().map_err(|source| self.failed("read", source))
    }

    fn failed(&self, doing: &'static str, source: rusqlite::Error) -> StoreError {
        StoreError::Sqlite { doing, path: self.place.path().to_owned(), source }
    }

    /// A number that was kept under this name.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn counter(&self, name: &str) -> Result<Option<u64>, StoreError> {
        let all = self.read("SELECT name, value FROM counters", |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?))
        })?;
        Ok(all.into_iter().find(|(known, _)| known == name).map(|(_, value)| unsigned(value)))
    }

    /// Keeps a number under this name.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn set_counter(&mut self, name: &str, value: u64) -> Result<(), StoreError> {
        self.write("INSERT OR REPLACE INTO counters VALUES (?, ?)", params![name, signed(value)])
    }

    /// What was taken of each author, in the form of its own program.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn replay(&self) -> Result<Vec<(PeerKey, Vec<u8>)>, StoreError> {
        self.read("SELECT author, taken FROM replay", |row| Ok((row.get(0)?, row.get(1)?)))
    }

    /// Keeps what was taken of an author.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn set_replay(&mut self, author: &PeerKey, taken: &[u8]) -> Result<(), StoreError> {
        self.write("INSERT OR REPLACE INTO replay VALUES (?, ?)", params![author, taken])
    }

    /// How far each peer is believed.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn standings(&self) -> Result<Vec<(PeerKey, PeerStanding)>, StoreError> {
        self.read("SELECT * FROM standings", |row| {
            let standing = PeerStanding {
                base: row.get(1)?,
                confirmed: row.get(2)?,
                refuted: row.get(3)?,
                at: unsigned(row.get(4)?),
                losses: row.get(5)?,
                quarantined: row.get(6)?,
                today: (unsigned(row.get(7)?), row.get(8)?),
            };
            Ok((row.get(0)?, standing))
        })
    }

    /// Keeps how far a peer is believed.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn set_standing(&mut self, peer: &PeerKey, standing: &PeerStanding) -> Result<(), StoreError> {
        let PeerStanding { base, confirmed, refuted, at, losses, quarantined, today } = *standing;
        self.write(
            "INSERT OR REPLACE INTO standings VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            params![
                peer,
                base,
                confirmed,
                refuted,
                signed(at),
                losses,
                quarantined,
                signed(today.0),
                today.1
            ],
        )
    }

    /// What the owner refuted, in the form of the wire, and until when.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn refuted(&self) -> Result<Vec<(Vec<u8>, u64)>, StoreError> {
        self.read("SELECT accused, until FROM refuted", |row| Ok((row.get(0)?, unsigned(row.get(1)?))))
    }

    /// Keeps what the owner refuted.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn set_refuted(&mut self, accused: &[u8], until: u64) -> Result<(), StoreError> {
        self.write("INSERT OR REPLACE INTO refuted VALUES (?, ?)", params![accused, signed(until)])
    }

    /// Some of the envelopes that hold after `now`, in the order of their authors and of what these said, behind this place; none when
    /// there are no more. All of them at once could be more than there is memory for.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn envelopes(&self, now: u64, behind: Option<PeerPlace>) -> Result<Vec<KeptEnvelope>, StoreError> {
        let read = || -> rusqlite::Result<Vec<KeptEnvelope>> {
            let mut sql = self.db.prepare_cached(
                "SELECT author, about, epoch, seq, until, envelope FROM envelopes
                 WHERE (author, epoch, seq) > (?1, ?2, ?3) AND until > ?4 ORDER BY author, epoch, seq LIMIT ?5",
            )?;
            let (author, epoch, seq) = match behind {
                Some((author, epoch, seq)) => (author.to_vec(), signed(epoch), signed(seq)),
                None => (Vec::new(), 0, 0),
            };
            sql.query_map(params![author, epoch, seq, signed(now), PAGE], |row| {
                Ok(KeptEnvelope {
                    author: row.get(0)?,
                    about: row.get(1)?,
                    place: (unsigned(row.get(2)?), unsigned(row.get(3)?)),
                    until: unsigned(row.get(4)?),
                    envelope: row.get(5)?,
                })
            })?
            .collect()
        };
        read().map_err(|source| self.failed("read", source))
    }

    /// What an author said last about this, as it was signed.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn envelope(&self, author: &PeerKey, about: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let sql = "SELECT envelope FROM envelopes WHERE author = ? AND about = ?";
        let read =
            || self.db.prepare_cached(sql)?.query_row(params![author, about], |row| row.get(0)).optional();
        read().map_err(|source| self.failed("read", source))
    }

    /// Keeps an envelope in the place of an older one about the same, and makes room for it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep(&mut self, kept: &KeptEnvelope) -> Result<(), StoreError> {
        let (epoch, seq) = (signed(kept.place.0), signed(kept.place.1));
        self.write(
            "INSERT INTO envelopes VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (author, about)
             DO UPDATE SET epoch = ?3, seq = ?4, until = ?5, envelope = ?6 WHERE (epoch, seq) < (?3, ?4)",
            params![kept.author, kept.about, epoch, seq, signed(kept.until), kept.envelope],
        )?;
        self.make_room()
    }

    /// Lets go the oldest of authors that have too much, then of who has most while all have too much.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn make_room(&mut self) -> Result<(), StoreError> {
        loop {
            let room =
                "SELECT author, bytes, (SELECT sum(bytes) FROM room) FROM room ORDER BY bytes DESC LIMIT 1";
            let most = self.read(room, |row| {
                Ok((row.get::<_, PeerKey>(0)?, unsigned(row.get(1)?), unsigned(row.get(2)?)))
            })?;
            let Some((author, ..)) =
                most.into_iter().find(|(_, one, all)| *one > MOST_OF_ONE || *all > MOST_OF_ALL)
            else {
                return Ok(());
            };
            self.write(
                "DELETE FROM envelopes WHERE author = ?1 AND (epoch, seq) IN (
                     SELECT epoch, seq FROM envelopes WHERE author = ?1 ORDER BY epoch, seq LIMIT 4)",
                params![author],
            )?;
        }
    }

    /// Of an author's envelopes about what begins with `about` only the `most` newest stay.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep_newest(&mut self, author: &PeerKey, about: &str, most: u32) -> Result<(), StoreError> {
        self.write(
            "DELETE FROM envelopes WHERE author = ?1 AND about IN (
                 SELECT about FROM envelopes WHERE author = ?1 AND substr(about, 1, length(?2)) = ?2
                 ORDER BY epoch DESC, seq DESC LIMIT -1 OFFSET ?3)",
            params![author, about, most],
        )
    }

    /// Forgets what an author said.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn forget_author(&mut self, author: &PeerKey) -> Result<(), StoreError> {
        self.write("DELETE FROM envelopes WHERE author = ?", params![author])
    }

    /// Notes what moved the trust in a peer.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn note(&mut self, outcome: &Outcome) -> Result<(), StoreError> {
        let Outcome { at, peer, accused, moved, why } = outcome;
        self.write(
            "INSERT INTO outcomes VALUES (?, ?, ?, ?, ?)",
            params![signed(*at), peer, accused, moved, why],
        )
    }

    /// What moved the trust in peers, the latest first, so many at most.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn outcomes(&self, most: u32) -> Result<Vec<Outcome>, StoreError> {
        self.read(&format!("SELECT * FROM outcomes ORDER BY at DESC LIMIT {most}"), |row| {
            Ok(Outcome {
                at: unsigned(row.get(0)?),
                peer: row.get(1)?,
                accused: row.get(2)?,
                moved: row.get(3)?,
                why: row.get(4)?,
            })
        })
    }

    /// Drops what holds no longer, all but `most` envelopes (those that end first go), what there is no room for, and outcomes that are older
    /// than `since` or too many.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn forget(&mut self, now: u64, since: u64, most: u32) -> Result<(), StoreError> {
        self.write("DELETE FROM envelopes WHERE until <= ?", params![signed(now)])?;
        self.write("DELETE FROM refuted WHERE until <= ?", params![signed(now)])?;
        self.write("DELETE FROM outcomes WHERE at < ?", params![signed(since)])?;
        self.write(
            "DELETE FROM outcomes WHERE rowid IN (SELECT rowid FROM outcomes ORDER BY at DESC LIMIT -1 OFFSET ?)",
            params![MOST_OUTCOMES],
        )?;
        self.write(
            "DELETE FROM envelopes WHERE (author, about) IN (
                 SELECT author, about FROM envelopes ORDER BY until DESC LIMIT -1 OFFSET ?)",
            params![most],
        )?;
        self.make_room()
    }
}
