//! The book of blocks: what is, and was, kept out, why, and until when. It survives restarts.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use rusqlite::types::Type;
use rusqlite::{Connection, Row, params};
use slips_core::addr::Net;
use slips_core::alert::AlertId;

use super::place::{Damaged, Place};
use super::schema::Durability;
use super::story::Stories;
use crate::sink::StoreError;

/// Number of a block in the book, and which book that is: one that was begun anew knows nothing of the numbers of the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlockId {
    row: i64,
    book: u32,
}

impl fmt::Display for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.row.fmt(f)
    }
}

/// Whether a block stands. One whose time has passed stays `Live` in the book; [`Blocks::live`] leaves it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockState {
    /// Stands until its time.
    Live,
    /// Was taken back before its time.
    Lifted,
}

impl BlockState {
    const fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Lifted => "lifted",
        }
    }
}

/// A block to be entered. Times are wall time in microseconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewBlock {
    /// What is kept out.
    pub net: Net,
    /// Why, for a person.
    pub reason: String,
    /// The alert behind it, where there is one.
    pub alert: Option<AlertId>,
    /// Who asked: `alert`, `peer NAME`, `feed NAME`, `hand`.
    pub source: String,
    /// From when.
    pub from: i64,
    /// Until when; `None` until it is lifted.
    pub until: Option<i64>,
    /// It rests on packets alone whose sender could be forged.
    pub unproven: bool,
    /// What becomes of its packets: `drop`, `reject`, `isolate`.
    pub manner: String,
}

/// A block in the book.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Its number.
    pub id: BlockId,
    /// What was asked; `until` as extended since.
    pub asked: NewBlock,
    /// Whether it stands.
    pub state: BlockState,
    /// Whether the kernel has it.
    pub applied: bool,
}

/// The book of blocks. What a call has entered outlives the process from when it returns, however that ends. It does not wait for the
/// disk: a power cut may take what the system had not written by itself, some half a minute; [`durably`](Self::durably) waits.
pub struct Blocks {
    place: Place,
    pub(super) db: Connection,
    /// How many books there were before it here.
    number: u32,
    pub(super) entered: super::due::Entered,
    pub(super) forgetting: super::forget::Forgetting,
}

impl Blocks {
    /// Opens or makes the database.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, StoreError> {
        Self::open_with(path, Damaged::Refused).map(|(book, _)| book)
    }

    /// The same; where a damaged database is put aside for a new one, with the error that tells so.
    pub fn open_with(
        path: impl Into<PathBuf>,
        damaged: Damaged,
    ) -> Result<(Self, Option<StoreError>), StoreError> {
        let mut place = Place::new(path.into(), Durability::Process, damaged);
        let (db, told) = place.open()?;
        Ok((Self { place, db, number: 0, entered: Default::default(), forgetting: Default::default() }, told))
    }

    /// The same as the book of that number, counted from 0: others were open before it.
    pub fn numbered(self, number: u32) -> Self {
        Self { number, ..self }
    }

    /// A new book in the place of this one, which is damaged and kept under another name; with the error that tells so. Blocks of
    /// the old one are not in it: to every call about one of these there is no such block.
    pub fn renewed(self) -> Result<(Self, StoreError), StoreError> {
        let Self { mut place, db, number, entered, forgetting } = self;
        drop(db);
        let told = place.put_aside()?;
        let (db, _) = place.open()?;
        let (number, forgetting) = (number.wrapping_add(1), forgetting.renewed());
        Ok((Self { place, db, number, entered, forgetting }, told))
    }

    /// Whether this is the number of a block of this book, and not of one before it.
    pub const fn is_of(&self, id: BlockId) -> bool {
        id.book == self.number
    }

    /// The row of a block; of another book's none.
    fn row(&self, id: BlockId) -> Option<i64> {
        self.is_of(id).then_some(id.row)
    }

    const fn id(&self, row: i64) -> BlockId {
        BlockId { row, book: self.number }
    }

    /// The database.
    pub fn path(&self) -> &Path {
        self.place.path()
    }

    /// Does all of this work in one transaction, or nothing of it when a part fails.
    pub fn all<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.run("BEGIN IMMEDIATE")?;
        let done = work(self).and_then(|done| self.run("COMMIT").map(|()| done));
        if done.is_err() && !self.db.is_autocommit() {
            self.run("ROLLBACK")?;
        }
        done
    }

    /// Does this work, and waits until the disk has it and all before it: for what must not come back after a power cut.
    pub fn durably<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.run("PRAGMA synchronous = FULL")?;
        let done = self.all(work);
        self.run("PRAGMA synchronous = NORMAL")?;
        done
    }

    /// Moves what was entered from the journal of the database into it, which waits for the disk: for a quiet moment.
    pub fn tidy(&mut self) -> Result<(), StoreError> {
        self.run("PRAGMA wal_checkpoint(PASSIVE)")
    }

    fn run(&self, sql: &str) -> Result<(), StoreError> {
        self.db.execute_batch(sql).map_err(|source| self.failed(source))
    }

    /// Enters a block, live and not yet applied.
    pub fn insert(&mut self, block: &NewBlock) -> Result<BlockId, StoreError> {
        self.forgetting.entered(1);
        let insert = || {
            self.db
                .prepare_cached("INSERT INTO blocks VALUES (NULL, ?, ?, ?, ?, ?, ?, 'live', 0, ?, ?)")?
                .insert(params![
                    block.net.to_string(),
                    block.reason,
                    block.alert.map(|alert| alert.to_string()),
                    block.source,
                    block.from,
                    block.until,
                    block.unproven,
                    block.manner,
                ])
        };
        insert().map(|row| self.id(row)).map_err(|source| self.failed(source))
    }

    /// Gives a live block a later end (`None`: until lifted); never an earlier one. False when there is no such live block.
    pub fn extend(&mut self, id: BlockId, until: Option<i64>) -> Result<bool, StoreError> {
        self.change(
            "UPDATE blocks SET until = CASE WHEN until IS NULL OR ?2 IS NULL THEN NULL ELSE max(until, ?2) END
             WHERE id = ?1 AND state = 'live'",
            params![self.row(id), until],
        )
    }

    /// Notes that better evidence stands behind a block. False when there is no such live block.
    pub fn prove(&mut self, id: BlockId) -> Result<bool, StoreError> {
        self.change("UPDATE blocks SET unproven = 0 WHERE id = ?1 AND state = 'live'", params![self.row(id)])
    }

    /// Dates a live block anew, after a step of the wall clock. False when there is no such live block.
    pub fn date(&mut self, id: BlockId, from: i64, until: i64) -> Result<bool, StoreError> {
        self.change(
            "UPDATE blocks SET \"from\" = ?2, until = ?3 WHERE id = ?1 AND state = 'live' AND until IS NOT NULL",
            params![self.row(id), from, until],
        )
    }

    /// Gives a live block this very end. False when there is no such live block.
    pub fn end_at(&mut self, id: BlockId, until: i64) -> Result<bool, StoreError> {
        self.change(
            "UPDATE blocks SET until = ?2 WHERE id = ?1 AND state = 'live'",
            params![self.row(id), until],
        )
    }

    /// Lets a block that was taken back stand again until then: the kernel did not take it and is asked once more. False when there is no
    /// such block.
    pub fn revive(&mut self, id: BlockId, until: i64) -> Result<bool, StoreError> {
        self.change(
            "UPDATE blocks SET until = ?2, state = 'live' WHERE id = ?1",
            params![self.row(id), until],
        )
    }

    /// Takes a block back at `at`. False when there is no such live block.
    pub fn lift(&mut self, id: BlockId, at: i64) -> Result<bool, StoreError> {
        self.change(LIFT, params![self.row(id), at])
    }

    /// Takes a block back at `at`, and notes who did it (as [`NewBlock::source`]) and why. False when there is no such live block.
    pub fn lift_for(&mut self, id: BlockId, at: i64, source: &str, reason: &str) -> Result<bool, StoreError> {
        let lifted = self.lift(id, at)?;
        if lifted {
            self.change(
                "INSERT INTO unblocks SELECT NULL, id, net, ?2, ?3, ?4 FROM blocks WHERE id = ?1",
                params![self.row(id), at, source, reason],
            )?;
        }
        Ok(lifted)
    }

    /// Takes back every live block of this very network at `at`; how many.
    pub fn lift_all(&mut self, net: Net, at: i64) -> Result<usize, StoreError> {
        let lift = || {
            self.db
                .prepare_cached(
                    "UPDATE blocks SET state = 'lifted', until = ?2
                     WHERE net = ?1 AND state = 'live' AND (until IS NULL OR until > ?2)",
                )?
                .execute(params![net.to_string(), at])
        };
        lift().map_err(|source| self.failed(source))
    }

    /// Takes back a part of a live block at `at`: these smaller ones stand in its place, for the same reasons and as long. All of
    /// that or nothing. None when there is no such live block.
    pub fn split(&mut self, id: BlockId, pieces: &[Net], at: i64) -> Result<Vec<BlockId>, StoreError> {
        self.forgetting.entered(pieces.len());
        let (row, book) = (self.row(id), self.number);
        let mut split = || -> rusqlite::Result<Vec<BlockId>> {
            let tx = self.db.savepoint()?;
            let mut ids = Vec::with_capacity(pieces.len());
            for net in pieces {
                let added = tx
                    .prepare_cached(
                        "INSERT INTO blocks SELECT NULL, ?2, reason, alert_id, source, \"from\", until, state, applied, unproven, manner
                         FROM blocks WHERE id = ?1 AND state = 'live'",
                    )?
                    .execute(params![row, net.to_string()])?;
                if added > 0 {
                    ids.push(BlockId { row: tx.last_insert_rowid(), book });
                }
            }
            tx.prepare_cached(LIFT)?.execute(params![row, at])?;
            tx.commit()?;
            Ok(ids)
        };
        split().map_err(|source| self.failed(source))
    }

    /// How often this very network was blocked before the block `id`, by times that ended after `since`. What was taken back does not
    /// count, nor what was asked for by hand or by peers or rests on packets alone whose sender could be forged: with these somebody else could
    /// lengthen the next one.
    pub fn repeats(&self, net: Net, id: Option<BlockId>, since: i64) -> Result<u32, StoreError> {
        let id = id.and_then(|id| self.row(id)).unwrap_or(-1);
        let count = || {
            self.db
                .prepare_cached(
                    "SELECT count(*) FROM blocks WHERE net = ? AND id <> ? AND until > ? AND state = 'live'
                     AND unproven = 0 AND source <> 'hand' AND source NOT LIKE 'peer%'",
                )?
                .query_row(params![net.to_string(), id, since], |row| row.get(0))
        };
        count().map_err(|source| StoreError::Sqlite { doing: "read", path: self.path().to_owned(), source })
    }

    /// Notes whether the kernel has the block. False when there is no such block.
    pub fn set_applied(&mut self, id: BlockId, applied: bool) -> Result<bool, StoreError> {
        self.change("UPDATE blocks SET applied = ?2 WHERE id = ?1", params![self.row(id), applied])
    }

    /// The blocks that stand at `now`, oldest first.
    pub fn live(&self, now: i64) -> Result<Vec<Block>, StoreError> {
        self.select(
            "SELECT * FROM blocks WHERE state = 'live' AND (until IS NULL OR until > ?) ORDER BY id",
            now,
        )
    }

    /// One block.
    pub fn get(&self, id: BlockId) -> Result<Option<Block>, StoreError> {
        Ok(self.select("SELECT * FROM blocks WHERE id = ?", self.row(id).unwrap_or(-1))?.pop())
    }

    /// The newest `count` blocks, live or not, newest first.
    pub fn latest(&self, count: u32) -> Result<Vec<Block>, StoreError> {
        self.select("SELECT * FROM blocks ORDER BY id DESC LIMIT ?", i64::from(count))
    }

    /// Notes that somebody was logged in from there at `at`.
    pub fn logged_in(&mut self, addr: IpAddr, at: i64) -> Result<(), StoreError> {
        self.change("INSERT OR REPLACE INTO logins VALUES (?, ?)", params![addr.to_string(), at]).map(drop)
    }

    /// From where somebody was logged in after `since`, and when last: the latest `count`, the last first.
    pub fn logins(&self, since: i64, count: u32) -> Result<Vec<(IpAddr, i64)>, StoreError> {
        let select = || -> rusqlite::Result<Vec<(String, i64)>> {
            self.db
                .prepare_cached("SELECT addr, last FROM logins WHERE last > ? ORDER BY last DESC LIMIT ?")?
                .query_map(params![since, count], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        };
        let found = select().map_err(|source| StoreError::Sqlite {
            doing: "read",
            path: self.path().to_owned(),
            source,
        })?;
        Ok(found.iter().filter_map(|(addr, last)| Some((addr.parse().ok()?, *last))).collect())
    }

    fn change(&mut self, sql: &str, params: impl rusqlite::Params) -> Result<bool, StoreError> {
        let change = || self.db.prepare_cached(sql)?.execute(params);
        change().map(|rows| rows > 0).map_err(|source| self.failed(source))
    }

    fn select(&self, sql: &str, param: i64) -> Result<Vec<Block>, StoreError> {
        let select = || {
            let mut statement = self.db.prepare_cached(sql)?;
            statement.query_map([param], |row| block_of(row, self.number))?.collect::<Result<Vec<_>, _>>()
        };
        select().map_err(|source| StoreError::Sqlite { doing: "read", path: self.path().to_owned(), source })
    }

    pub(super) fn failed(&self, source: rusqlite::Error) -> StoreError {
        StoreError::Sqlite { doing: "write", path: self.path().to_owned(), source }
    }
}

impl Stories {
    /// The blocks that stand at `now`, in wall time, of a book that somebody else writes; oldest first.
    pub fn standing(&self, now: i64) -> Result<Vec<Block>, StoreError> {
        let sql = "SELECT * FROM blocks WHERE state = 'live' AND (until IS NULL OR until > ?) ORDER BY id";
        let read = || {
            let mut rows = self.db.prepare(sql)?;
            rows.query_map([now], |row| block_of(row, 0))?.collect::<Result<Vec<_>, _>>()
        };
        read().map_err(|source| self.failed(source))
    }
}

const LIFT: &str =
    "UPDATE blocks SET state = 'lifted', until = CASE WHEN until IS NULL OR until > ?2 THEN ?2 ELSE until END
     WHERE id = ?1 AND state = 'live'";

pub(super) fn block_of(row: &Row<'_>, book: u32) -> rusqlite::Result<Block> {
    let net: String = row.get("net")?;
    let net = net
        .parse()
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(1, Type::Text, Box::new(error)))?;
    let alert: Option<String> = row.get("alert_id")?;
    let state: String = row.get("state")?;
    Ok(Block {
        id: BlockId { row: row.get("id")?, book },
        asked: NewBlock {
            net,
            reason: row.get("reason")?,
            alert: alert.and_then(|id| u128::from_str_radix(&id.replace('-', ""), 16).ok()).map(AlertId),
            source: row.get("source")?,
            from: row.get("from")?,
            until: row.get("until")?,
            unproven: row.get("unproven")?,
            manner: row.get("manner")?,
        },
        state: if state == BlockState::Live.name() { BlockState::Live } else { BlockState::Lifted },
        applied: row.get("applied")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(net: &str, until: Option<i64>) -> NewBlock {
        NewBlock {
            net: net.parse().expect("net"),
            reason: "port scan; \"x'".into(),
            alert: Some(AlertId(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef)),
            source: "alert".into(),
            from: 100,
            until,
            unproven: false,
            manner: "reject".into(),
        }
    }

    #[test]
    fn a_block_stays_unproven_over_a_restart_until_it_is_proven() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("blocks.sqlite");
        let mut book = Blocks::open(&path).expect("open");
        let forged = NewBlock { unproven: true, ..block("192.0.2.1", Some(200)) };
        let id = book.insert(&forged).expect("insert");
        drop(book);
        let mut book = Blocks::open(&path).expect("reopen");
        assert_eq!(book.live(150).expect("live")[0].asked, forged);
        assert!(book.prove(id).expect("prove"));
        assert!(!book.live(150).expect("live")[0].asked.unproven);
    }

    #[test]
    fn blocks_live_until_their_time_are_extended_lifted_and_survive_a_restart() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("flows.sqlite");
        let mut book = Blocks::open(&path).expect("open");
        let timed = book.insert(&block("192.0.2.1", Some(200))).expect("insert");
        let endless = book.insert(&block("2001:db8::/64", None)).expect("insert");
        let lifted = book.insert(&block("198.51.100.0/24", Some(900))).expect("insert");
        assert!(book.lift(lifted, 150).expect("lift"));
        assert!(!book.lift(lifted, 160).expect("once only"));
        assert!(!book.extend(lifted, Some(1000)).expect("not live"));
        assert!(book.extend(timed, Some(300)).expect("extend"));
        assert!(book.extend(timed, Some(250)).expect("never earlier"));
        assert!(book.set_applied(timed, true).expect("applied"));
        drop(book);

        let mut book = Blocks::open(&path).expect("reopen");
        let live = book.live(299).expect("live");
        assert_eq!(live.iter().map(|b| b.id).collect::<Vec<_>>(), [timed, endless]);
        assert_eq!(live[0].asked, NewBlock { until: Some(300), ..block("192.0.2.1", None) });
        assert_eq!((live[0].applied, live[1].applied), (true, false));
        assert_eq!(book.live(300).expect("live").len(), 1);
        let latest = book.latest(1).expect("latest");
        assert_eq!(
            (latest[0].id, latest[0].state, latest[0].asked.until),
            (lifted, BlockState::Lifted, Some(150))
        );
        assert!(book.extend(endless, Some(5)).expect("stays endless"));
        assert_eq!(book.forget_before(301).expect("forget"), 2);
        assert_eq!(book.live(i64::MAX).expect("live").len(), 1);
    }

    #[test]
    fn what_counts_as_a_repeat() {
        let dir = tempfile::tempdir().expect("dir");
        let mut book = Blocks::open(dir.path().join("blocks.sqlite")).expect("open");
        let net = "192.0.2.1";
        let mut enter = |block: NewBlock| book.insert(&block).expect("insert");
        enter(block(net, Some(200)));
        enter(block(net, Some(300)));
        enter(block("192.0.2.2", Some(300)));
        enter(NewBlock { unproven: true, ..block(net, Some(300)) });
        enter(NewBlock { source: "hand".into(), ..block(net, Some(300)) });
        enter(NewBlock { source: "peer 12D3".into(), ..block(net, Some(300)) });
        let lifted = enter(block(net, Some(300)));
        let now = enter(block(net, Some(900)));
        book.lift(lifted, 250).expect("lift");
        let net = net.parse().expect("net");
        for (id, since, repeats) in
            [(Some(now), 0, 2), (Some(now), 200, 1), (Some(now), 300, 0), (None, 0, 3)]
        {
            assert_eq!(book.repeats(net, id, since).expect("repeats"), repeats, "{id:?} since {since}");
        }
    }

    #[test]
    fn what_is_done_together_is_done_whole_or_not_at_all() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("blocks.sqlite");
        let mut book = Blocks::open(&path).expect("open");
        let ids = book.all(|book| {
            Ok([
                book.insert(&block("192.0.2.1", Some(200)))?,
                book.insert(&block("192.0.2.0/30", Some(200)))?,
            ])
        });
        let [one, wide] = ids.expect("both");
        let broken: Result<(), _> = book.all(|book| {
            book.lift(one, 150)?;
            book.split(wide, &["192.0.2.1".parse().expect("net")], 150)?;
            Err(StoreError::Foreign { path: path.clone() })
        });
        broken.expect_err("broken");
        assert_eq!(book.live(160).expect("live").len(), 2);
        assert!(book.durably(|book| book.lift(one, 150)).expect("lift"));
        let synchronous = book.db.pragma_query_value(None, "synchronous", |row| row.get::<_, i64>(0));
        assert_eq!(synchronous.expect("pragma"), 1, "what comes next does not wait for the disk");
        assert!(book.revive(one, 300).expect("revive") && book.end_at(one, 250).expect("end"));
        book.tidy().expect("tidy");
        drop(book);
        let live = Blocks::open(&path).expect("reopen").live(249).expect("live");
        assert_eq!(live.iter().map(|b| (b.id, b.asked.until)).collect::<Vec<_>>(), [(one, Some(250))]);
    }

    #[test]
    fn a_renewed_book_knows_no_number_of_the_one_before() {
        let dir = tempfile::tempdir().expect("dir");
        let mut book = Blocks::open(dir.path().join("blocks.sqlite")).expect("open");
        let old = book.insert(&block("192.0.2.1", Some(900))).expect("insert");
        let (mut book, _) = book.renewed().expect("renewed");
        let new = book.insert(&block("192.0.2.2", Some(900))).expect("insert");
        assert_eq!((old.to_string(), book.is_of(old), book.is_of(new)), (new.to_string(), false, true));
        let pieces = ["192.0.2.1".parse().expect("net")];
        assert!(!book.lift(old, 150).expect("lift") && !book.prove(old).expect("prove"));
        assert!(!book.end_at(old, 150).expect("end") && !book.extend(old, None).expect("extend"));
        assert!(!book.revive(old, 150).expect("revive") && !book.date(old, 1, 2).expect("date"));
        assert!(!book.set_applied(old, true).expect("applied"));
        assert_eq!(book.split(old, &pieces, 150).expect("split"), []);
        assert_eq!(book.get(old).expect("get"), None);
        assert_eq!(book.repeats("192.0.2.2".parse().expect("net"), Some(old), 0).expect("repeats"), 1);
        let live = book.live(200).expect("live");
        assert_eq!((live.len(), live[0].id, live[0].applied), (1, new, false));
        assert_eq!(live[0].asked, block("192.0.2.2", Some(900)));
    }

    #[test]
    fn a_split_block_stands_in_pieces_for_the_same_reason() {
        let dir = tempfile::tempdir().expect("dir");
        let mut book = Blocks::open(dir.path().join("blocks.sqlite")).expect("open");
        let id = book.insert(&block("192.0.2.0/30", Some(900))).expect("insert");
        let pieces = ["192.0.2.1", "192.0.2.2/31"].map(|net| net.parse().expect("net"));
        let ids = book.split(id, &pieces, 150).expect("split");
        let live = book.live(200).expect("live");
        assert_eq!(live.iter().map(|b| b.id).collect::<Vec<_>>(), ids);
        assert_eq!(live[0].asked, block("192.0.2.1", Some(900)));
        assert_eq!(live[1].asked, block("192.0.2.2/31", Some(900)));
        assert_eq!(book.split(id, &pieces, 150).expect("once only"), []);
        let again = book.insert(&block("192.0.2.1", None)).expect("insert");
        assert_eq!(book.lift_all(pieces[0], 200).expect("lift"), 2);
        assert_eq!(book.live(250).expect("live").len(), 1);
        assert!(!book.lift(again, 250).expect("lifted already"));
    }

    #[test]
    fn who_lifted_a_block_and_why_is_told_once_and_for_as_long_as_the_block() {
        let dir = tempfile::tempdir().expect("dir");
        let mut book = Blocks::open(dir.path().join("blocks.sqlite")).expect("open");
        let id = book.insert(&block("192.0.2.1", Some(900))).expect("insert");
        assert!(book.lift_for(id, 150, "hand", "my own phone").expect("lift"));
        assert!(!book.lift_for(id, 160, "hand", "again").expect("lifted already"));
        let unblocks = |book: &Blocks| -> Vec<(i64, String, i64, String, String)> {
            let mut rows =
                book.db.prepare("SELECT block, net, at, source, reason FROM unblocks").expect("select");
            let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?));
            rows.query_map([], read).expect("rows").collect::<Result<_, _>>().expect("rows")
        };
        assert_eq!(unblocks(&book), [(1, "192.0.2.1".into(), 150, "hand".into(), "my own phone".into())]);
        book.forget_before(151).expect("forget");
        assert_eq!(unblocks(&book), []);
    }

    #[test]
    fn logins_are_remembered_the_last_first() {
        let dir = tempfile::tempdir().expect("dir");
        let mut book = Blocks::open(dir.path().join("blocks.sqlite")).expect("open");
        let addrs = ["192.0.2.1", "2001:db8::1", "192.0.2.2"].map(|addr| addr.parse::<IpAddr>().expect(addr));
        for (addr, at) in addrs.iter().zip([300, 100, 200]) {
            book.logged_in(*addr, 50).expect("login");
            book.logged_in(*addr, at).expect("login again");
        }
        assert_eq!(book.logins(0, 2).expect("logins"), [(addrs[0], 300), (addrs[2], 200)]);
        assert_eq!(book.logins(200, 9).expect("logins"), [(addrs[0], 300)]);
        book.forget_before(150).expect("forget");
        assert_eq!(book.logins(0, 9).expect("logins"), [(addrs[0], 300), (addrs[2], 200)]);
    }
}
