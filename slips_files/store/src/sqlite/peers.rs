//! peers.sqlite: what outlives a restart of what peers said, what we said, and how far they are believed.
//!
//! It can be deleted: trust begins again from the configured weights, and what holds still comes back from the peers. Only our own
//! messages would then seem replayed to them, which is why the epoch is kept elsewhere and must grow with it.

use std::path::PathBuf;

use rusqlite::{Connection, params};

use super::schema::{self, Durability};
use crate::sink::StoreError;

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
    path: PathBuf,
    db: Connection,
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
    /// When it is not ours or cannot be opened.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let path = path.into();
        let db = schema::open_with(&path, Durability::Whole, MIGRATIONS)?;
        Ok(Self { path, db })
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
        StoreError::Sqlite { doing, path: self.path.clone(), source }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(author: u8, about: &str, seq: u64, until: u64) -> KeptEnvelope {
        let envelope = vec![author; 200];
        KeptEnvelope { author: [author; 32], about: about.into(), place: (1, seq), until, envelope }
    }

    /// Page by page.
    fn all(book: &PeerBook) -> Vec<KeptEnvelope> {
        let (mut all, mut behind) = (Vec::new(), None);
        loop {
            let page = book.envelopes(0, behind).expect("read");
            assert!(page.len() <= PAGE as usize);
            let Some(last) = page.last() else { return all };
            behind = Some((last.author, last.place.0, last.place.1));
            all.extend(page);
        }
    }

    fn room(book: &PeerBook) -> Vec<(PeerKey, u64)> {
        book.read("SELECT author, bytes FROM room", |row| Ok((row.get(0)?, unsigned(row.get(1)?))))
            .expect("read")
    }

    #[test]
    fn who_says_much_pushes_out_only_what_it_said_before() {
        let dir = tempfile::tempdir().expect("dir");
        let mut book = PeerBook::open(dir.path().join("peers.sqlite")).expect("open");
        let large = |author: u8, seq: u64| {
            let envelope = vec![author; 16 << 10];
            KeptEnvelope { envelope, ..kept(author, &format!("part {seq}"), seq, 90) }
        };
        book.keep(&kept(1, "x", 1, 90)).expect("keep");
        book.all(|book| (1..=600).try_for_each(|seq| book.keep(&large(2, seq)))).expect("keep");
        let held = all(&book);
        assert_eq!(held.iter().filter(|kept| kept.author[0] == 1).count(), 1);
        let of_two: Vec<u64> =
            held.iter().filter(|kept| kept.author[0] == 2).map(|kept| kept.place.1).collect();
        assert_eq!(*of_two.last().expect("some"), 600, "the newest stays");
        assert!((245..260).contains(&of_two.len()) && of_two.is_sorted(), "{}", of_two.len());
        let bytes = |held: &[KeptEnvelope]| -> u64 {
            held.iter().map(|kept| (kept.envelope.len() + 2 * kept.about.len() + 250) as u64).sum()
        };
        let counted = room(&book);
        assert!(counted.iter().all(|(_, bytes)| *bytes <= MOST_OF_ONE));
        assert_eq!(counted.iter().map(|(_, bytes)| bytes).sum::<u64>(), bytes(&held));
        // Many of them at once: who has least keeps it.
        book.all(|book| {
            (3..20)
                .flat_map(|author| (1..=260).map(move |seq| (author, seq)))
                .try_for_each(|(author, seq)| book.keep(&large(author, seq)))
        })
        .expect("keep");
        let counted = room(&book);
        assert!(counted.iter().map(|(_, bytes)| bytes).sum::<u64>() <= MOST_OF_ALL);
        assert_eq!((counted.len(), counted[0].0), (19, [1; 32]));
        // What takes the place of another, and what goes, is counted as well.
        book.keep(&KeptEnvelope { envelope: vec![2; 10], ..kept(2, "part 600", 601, 90) }).expect("keep");
        book.keep(&KeptEnvelope { envelope: vec![2; 99], ..kept(2, "part 600", 1, 90) }).expect("keep");
        book.forget_author(&[9; 32]).expect("forget");
        assert_eq!(room(&book).iter().map(|(_, bytes)| bytes).sum::<u64>(), bytes(&all(&book)));
        book.forget(90, 0, 99).expect("forget");
        assert_eq!((room(&book), all(&book).len()), (Vec::new(), 0));
    }

    #[test]
    fn what_an_older_program_kept_without_a_bound_is_brought_under_it() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("peers.sqlite");
        {
            let db = schema::open_with(&path, Durability::Whole, &MIGRATIONS[..1]).expect("open");
            let mut sql =
                db.prepare("INSERT INTO envelopes VALUES (?, ?, 1, ?, 90, zeroblob(16000))").expect("sql");
            for seq in 1..=600 {
                sql.execute(params![[2u8; 32], format!("all {seq}"), seq]).expect("kept");
            }
        }
        let mut book = PeerBook::open(&path).expect("open");
        book.forget(0, 0, 65_536).expect("forget");
        let held = all(&book);
        assert!((245..270).contains(&held.len()), "{}", held.len());
        assert_eq!(held.last().map(|kept| kept.place.1), Some(600));
    }

    #[test]
    fn what_was_kept_is_there_after_a_restart() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("peers.sqlite");
        let standing = PeerStanding {
            base: 0.6,
            confirmed: 1.5,
            refuted: 0.25,
            at: 99,
            losses: 2,
            quarantined: true,
            today: (20_000, 3),
        };
        let mut book = PeerBook::open(&path).expect("open");
        book.durably(|book| {
            book.set_counter("seq", 7)?;
            book.set_counter("seq", 8)?;
            book.set_replay(&[1; 32], &[1, 2])?;
            book.set_standing(&[1; 32], &standing)?;
            book.set_refuted(&[9], 50)
        })
        .expect("write");
        book.note(&Outcome { at: 5, peer: "p".into(), accused: "x".into(), moved: -2.0, why: "w".into() })
            .expect("note");
        drop(book);
        let book = PeerBook::open(&path).expect("reopen");
        assert_eq!(book.counter("seq").expect("read"), Some(8));
        assert_eq!(book.counter("other").expect("read"), None);
        assert_eq!(book.replay().expect("read"), [([1; 32], vec![1, 2])]);
        assert_eq!(book.standings().expect("read"), [([1; 32], standing)]);
        assert_eq!(book.refuted().expect("read"), [(vec![9], 50)]);
        assert_eq!(book.outcomes(10).expect("read").len(), 1);
    }

    #[test]
    fn a_newer_word_takes_the_place_of_an_older_one_and_never_the_other_way() {
        let dir = tempfile::tempdir().expect("dir");
        let mut book = PeerBook::open(dir.path().join("peers.sqlite")).expect("open");
        for one in [kept(1, "x", 3, 90), kept(1, "x", 2, 99), kept(2, "x", 1, 50), kept(1, "y", 4, 70)] {
            book.keep(&one).expect("keep");
        }
        let held = |book: &PeerBook| -> Vec<(u8, u64)> {
            all(book).iter().map(|kept| (kept.author[0], kept.place.1)).collect()
        };
        assert_eq!(held(&book), [(1, 3), (1, 4), (2, 1)]);
        assert_eq!(book.envelopes(60, None).expect("read").len(), 2, "what has ended is not told");
        book.forget(0, 0, 2).expect("forget");
        assert_eq!(held(&book), [(1, 3), (1, 4)], "what ends first goes first");
        book.forget(80, 0, 2).expect("forget");
        book.forget_author(&[1; 32]).expect("forget");
        assert_eq!(held(&book), []);
    }

    #[test]
    fn what_moved_trust_is_bounded_the_latest_stay() {
        let dir = tempfile::tempdir().expect("dir");
        let mut book = PeerBook::open(dir.path().join("peers.sqlite")).expect("open");
        let most = u64::from(MOST_OUTCOMES);
        let outcome =
            |at| Outcome { at, peer: "p".into(), accused: "x".into(), moved: -0.1, why: "w".into() };
        book.all(|book| (1..=most + 7).try_for_each(|at| book.note(&outcome(at)))).expect("noted");
        book.forget(0, 0, 9).expect("forget");
        let count = book.read("SELECT count(*), min(at) FROM outcomes", |row| Ok((row.get(0)?, row.get(1)?)));
        assert_eq!(count.expect("read"), [(i64::from(MOST_OUTCOMES), 8_i64)]);
    }

    #[test]
    fn the_newest_of_a_kind_stay_of_each_author() {
        let dir = tempfile::tempdir().expect("dir");
        let mut book = PeerBook::open(dir.path().join("peers.sqlite")).expect("open");
        for one in [
            kept(1, "s b", 3, 90),
            kept(1, "s a", 4, 80),
            kept(1, "s c", 2, 99),
            kept(1, "t", 1, 9),
            kept(2, "s", 1, 9),
        ] {
            book.keep(&one).expect("keep");
        }
        book.keep_newest(&[1; 32], "s ", 2).expect("drop");
        let held: Vec<String> = all(&book).into_iter().map(|kept| kept.about).collect();
        assert_eq!(held, ["t", "s b", "s a", "s"]);
    }

    #[test]
    fn a_transaction_that_fails_leaves_nothing() {
        let dir = tempfile::tempdir().expect("dir");
        let mut book = PeerBook::open(dir.path().join("peers.sqlite")).expect("open");
        let failed = book.all(|book| {
            book.set_counter("seq", 1)?;
            book.batch("nonsense")
        });
        assert!(failed.is_err());
        assert_eq!(book.counter("seq").expect("read"), None);
        book.all(|book| book.set_counter("seq", 2)).expect("the next one works");
    }
}
