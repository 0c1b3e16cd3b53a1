//! The index of addresses of the tables `flows` and `records`, written as they are.
//!
//! A b-tree over (address, time) would cost more than the rows: in a flood each address is another leaf. So each transaction leaves one
//! *segment*: the lists of its rows' addresses, sorted ([`super::postings`]). Sixteen neighbours of one level become one of the next as long
//! as that stays small, in a transaction of its own, so a question looks at some hundred segments in ten million flows and
//! nobody waits for a large merge.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params};
use slips_core::flow::Uid;
use slips_core::time::PacketTime;

use super::age::PLAUSIBLE;
use super::labels;
use super::postings::Entries;

/// A table with such an index.
#[derive(Clone, Copy, Debug)]
pub(super) struct Indexed {
    pub(super) rows: &'static str,
    pub(super) segments: &'static str,
    pub(super) postings: &'static str,
}

pub(super) const FLOWS: Indexed =
    Indexed { rows: "flows", segments: "flow_segments", postings: "flow_postings" };
pub(super) const RECORDS: Indexed =
    Indexed { rows: "records", segments: "record_segments", postings: "record_postings" };

impl Indexed {
    /// Under which key `meta` has the last id that was given, once its row is gone.
    pub(super) fn last_key(self) -> String {
        format!("{}_last", self.rows)
    }

    /// The last id that was given, also when only the indexes have it: whoever deletes rows by hand need not know of them.
    pub(super) fn last_id(self, db: &Connection) -> rusqlite::Result<i64> {
        let prints = if self.rows == FLOWS.rows {
            "(SELECT first + length(fingerprints) / 4 - 1 FROM flow_index ORDER BY first DESC LIMIT 1)"
        } else {
            "0"
        };
        let Self { rows, segments, .. } = self;
        let sql = format!(
            "SELECT max(coalesce((SELECT max(id) FROM {rows}), 0), coalesce((SELECT value FROM meta WHERE key = ?), 0),
                coalesce((SELECT last FROM {segments} ORDER BY first DESC LIMIT 1), 0), coalesce({prints}, 0))"
        );
        db.query_row(&sql, [self.last_key()], |row| row.get(0))
    }
}

/// What rows are found by, as a number: two that share one cost a look at the row, nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Print(pub(super) u32);

impl Print {
    pub(super) fn of_addr(seed: u64, addr: IpAddr) -> Self {
        // Another key than that of uids, whose fingerprints lie in the same lists.
        let seed = seed ^ 0x6164_6472_6164_6472;
        Self(match addr {
            IpAddr::V4(v4) => labels::fingerprint_of(seed, &v4.octets()),
            IpAddr::V6(v6) => labels::fingerprint_of(seed, &v6.octets()),
        })
    }

    pub(super) fn of_uid(seed: u64, uid: &Uid) -> Self {
        Self(labels::fingerprint(seed, uid))
    }
}

/// Rows of a segment that were stored together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// How far its first row is from the segment's.
    pub(super) offset: u32,
    /// The earliest and the latest start of a row.
    pub(super) starts: (i64, i64),
    /// Wall time of the transaction.
    pub(super) stored: i64,
}

impl Part {
    const BYTES: usize = 28;

    fn put(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.offset.to_le_bytes());
        for number in [self.starts.0, self.starts.1, self.stored] {
            out.extend_from_slice(&number.to_le_bytes());
        }
    }

    fn all_of(bytes: &[u8]) -> Vec<Self> {
        let part = |bytes: &[u8; Self::BYTES]| {
            let (offset, numbers) = bytes.split_first_chunk::<4>()?;
            let mut numbers = numbers.as_chunks::<8>().0.iter().map(|bytes| i64::from_le_bytes(*bytes));
            Some(Self {
                offset: u32::from_le_bytes(*offset),
                starts: (numbers.next()?, numbers.next()?),
                stored: numbers.next()?,
            })
        };
        bytes.as_chunks::<{ Self::BYTES }>().0.iter().filter_map(part).collect()
    }
}

/// A row of a table of segments.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub(super) first: i64,
    pub(super) last: i64,
    pub(super) number: i64,
    level: i64,
    pub(super) parts: Vec<Part>,
}

impl Segment {
    /// What [`Segment::read`] takes, in its order.
    pub(super) const COLUMNS: &'static str = "first, last, number, level, parts";

    pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            first: row.get(0)?,
            last: row.get(1)?,
            number: row.get(2)?,
            level: row.get(3)?,
            parts: Part::all_of(row.get_ref(4)?.as_blob().unwrap_or_default()),
        })
    }

    /// The identities of its rows of postings, for which fingerprint so ever.
    pub(super) const fn postings(&self) -> (i64, i64) {
        (self.number << 32, self.number << 32 | u32::MAX as i64)
    }

    fn write(&self, db: &Connection, table: Indexed, entries: &mut Entries) -> rusqlite::Result<()> {
        let mut parts = Vec::with_capacity(self.parts.len() * Part::BYTES);
        self.parts.iter().for_each(|part| part.put(&mut parts));
        db.prepare_cached(&format!("INSERT INTO {} VALUES (?, ?, ?, ?, ?)", table.segments))?
            .execute(params![self.first, self.last, self.number, self.level, parts])?;
        let mut insert = db.prepare_cached(&format!("INSERT INTO {} VALUES (?, ?)", table.postings))?;
        entries
            .rows(|print, row| insert.execute(params![self.number << 32 | i64::from(print), row]).map(drop))
    }

    fn delete(&self, db: &Connection, table: Indexed) -> rusqlite::Result<()> {
        let (from, to) = self.postings();
        db.prepare_cached(&format!("DELETE FROM {} WHERE id BETWEEN ? AND ?", table.postings))?
            .execute([from, to])?;
        db.prepare_cached(&format!("DELETE FROM {} WHERE first = ?", table.segments))?
            .execute([self.first])
            .map(drop)
    }
}

/// Collects what a transaction stores in one table.
#[derive(Debug)]
pub(super) struct Segments {
    table: Indexed,
    seed: u64,
    entries: Entries,
    first: i64,
    last: i64,
    starts: (i64, i64),
}

impl Segments {
    pub(super) const fn new(table: Indexed) -> Self {
        Self { table, seed: 0, entries: Entries::new(), first: 0, last: 0, starts: (i64::MAX, i64::MIN) }
    }

    /// The key of the fingerprints in this database.
    pub(super) const fn use_seed(&mut self, seed: u64) {
        self.seed = seed;
    }

    /// A transaction begins whose first row will have the id `first`.
    pub(super) fn begin(&mut self, first: i64) {
        (self.first, self.last, self.starts) = (first, first - 1, (i64::MAX, i64::MIN));
        self.entries.clear();
    }

    /// A row was stored under the next id.
    pub(super) fn stored(
        &mut self,
        start: PacketTime,
        addrs: impl IntoIterator<Item = IpAddr>,
        uid: Option<&Uid>,
    ) {
        self.last += 1;
        self.starts = (self.starts.0.min(start.0), self.starts.1.max(start.0));
        // More rows than that are in no transaction.
        let position = u32::try_from(self.last - self.first).unwrap_or(u32::MAX);
        let addrs = addrs.into_iter().map(|addr| Print::of_addr(self.seed, addr));
        let uid = uid.filter(|uid| !uid.is_empty()).map(|uid| Print::of_uid(self.seed, uid));
        for print in addrs.chain(uid) {
            self.entries.add(print.0, position);
        }
    }

    /// The transaction's rows are all stored, at `stored` of the wall clock: leaves their segment.
    pub(super) fn end(&mut self, db: &Connection, stored: i64, level: i64) -> rusqlite::Result<()> {
        if self.last < self.first {
            return Ok(());
        }
        if self.entries.is_empty() {
            // Each segment has postings: the next one's number follows from them.
            self.entries.add(0, 0);
        }
        let part = Part { offset: 0, starts: self.starts, stored };
        let segment = Segment {
            first: self.first,
            last: self.last,
            number: next_number(db, self.table)?,
            level,
            parts: vec![part],
        };
        segment.write(db, self.table, &mut self.entries)
    }
}

fn next_number(db: &Connection, table: Indexed) -> rusqlite::Result<i64> {
    let sql = format!("SELECT coalesce(max(id) >> 32, 0) + 1 FROM {}", table.postings);
    db.prepare_cached(&sql)?.query_row([], |row| row.get(0))
}

/// Makes one of the last sixteen segments of a level, if there are as many and it does not become too large: in a transaction of its own. Whether it did.
pub(super) fn merge(db: &mut Connection, table: Indexed) -> rusqlite::Result<bool> {
    let newest = {
        let sql =
            format!("SELECT {} FROM {} ORDER BY first DESC LIMIT {FAN}", Segment::COLUMNS, table.segments);
        let mut select = db.prepare_cached(&sql)?;
        let rows = select.query_map([], Segment::read)?;
        rows.collect::<rusqlite::Result<Vec<_>>>()?
    };
    let (Some(last), Some(first)) = (newest.first(), newest.get(FAN - 1)) else { return Ok(false) };
    let even = newest.iter().all(|segment| segment.level == last.level);
    if !even || last.last - first.first >= MOST_ROWS {
        return Ok(false);
    }
    // Nobody else writes these tables, so what was read still holds.
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    join(&tx, table, &newest, last.level + 1)?;
    tx.commit()?;
    Ok(true)
}

/// Deletes the segments all of whose rows lie before `oldest`.
pub(super) fn forget(db: &Connection, table: Indexed, oldest: i64) -> rusqlite::Result<()> {
    let gone = {
        let sql = format!("SELECT {} FROM {} ORDER BY first", Segment::COLUMNS, table.segments);
        let mut select = db.prepare_cached(&sql)?;
        let rows = select.query_map([], Segment::read)?;
        let is_gone =
            |segment: &rusqlite::Result<Segment>| segment.as_ref().map_or(true, |it| it.last < oldest);
        rows.take_while(is_gone).collect::<rusqlite::Result<Vec<_>>>()?
    };
    gone.iter().try_for_each(|segment| segment.delete(db, table))
}

/// The first row of those that were stored in this time, by the parts that are known; the one behind the last that was stored before. What says
/// another time says nothing: it is as old as what comes next.
pub(super) fn first_since(
    db: &Connection,
    table: Indexed,
    times: RangeInclusive<i64>,
) -> rusqlite::Result<i64> {
    let sql = format!("SELECT {} FROM {} ORDER BY first", Segment::COLUMNS, table.segments);
    let mut select = db.prepare_cached(&sql)?;
    let mut rows = select.query([])?;
    let mut behind = i64::MIN;
    while let Some(row) = rows.next()? {
        let segment = Segment::read(row)?;
        let ends = segment.parts.iter().skip(1).map(|part| segment.first + i64::from(part.offset));
        for (part, end) in segment.parts.iter().zip(ends.chain([segment.last + 1])) {
            if times.contains(&part.stored) {
                return Ok(behind);
            }
            if (PLAUSIBLE..*times.start()).contains(&part.stored) {
                behind = end;
            }
        }
    }
    Ok(behind)
}

/// When the newest rows were stored, as their segment says.
pub(super) fn newest_stored(db: &Connection, table: Indexed) -> rusqlite::Result<Option<i64>> {
    let sql = format!("SELECT {} FROM {} ORDER BY first DESC LIMIT 1", Segment::COLUMNS, table.segments);
    let newest = db.query_row(&sql, [], Segment::read).optional()?;
    Ok(newest.and_then(|segment| segment.parts.last().map(|part| part.stored)))
}

/// Makes a segment of rows that have none, below those that have: of a database of an earlier version. Whether there were any.
/// They are as old as they say that they were seen, if that is not later than `now`.
pub(super) fn index_older(
    db: &mut Connection,
    table: Indexed,
    seed: u64,
    now: i64,
) -> rusqlite::Result<bool> {
    let sql = format!(
        "SELECT (SELECT min(id) FROM {}), coalesce((SELECT min(first) FROM {}), (SELECT max(id) + 1 FROM {}))",
        table.rows, table.segments, table.rows
    );
    let ends = db.prepare_cached(&sql)?.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let (Some(lowest), Some(end)) = ends else { return Ok(false) };
    let (lowest, end): (i64, i64) = (lowest, end);
    if lowest >= end {
        return Ok(false);
    }
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    {
        let mut older = Segments::new(table);
        older.use_seed(seed);
        older.begin(lowest.max(end - OLDER));
        let time = if table.rows == FLOWS.rows { "seen" } else { "start" };
        let sql =
            format!("SELECT id, src, dst, start, {time}, uid FROM {} WHERE id >= ? AND id < ?", table.rows);
        let mut select = tx.prepare_cached(&sql)?;
        let mut rows = select.query([older.first, end])?;
        let mut stored = i64::MIN;
        while let Some(row) = rows.next()? {
            let addr = |column| {
                let text: Option<String> = row.get(column)?;
                Ok::<_, rusqlite::Error>(text.and_then(|text| text.parse::<IpAddr>().ok()))
            };
            // Ids may have gaps after a hand at the database.
            older.last = row.get::<_, i64>(0)? - 1;
            stored = stored.max(Some(row.get(4)?).filter(|seen| *seen <= now).unwrap_or(i64::MIN));
            let uid: Option<String> = row.get(5)?;
            let uid = uid.filter(|_| table.rows != FLOWS.rows).map(|uid| Uid::from(uid.as_str()));
            older.stored(PacketTime(row.get(3)?), addr(1)?.into_iter().chain(addr(2)?), uid.as_ref());
        }
        older.last = end - 1;
        older.end(&tx, stored, 1)?;
    }
    tx.commit()?;
    Ok(true)
}

/// Puts one segment in the place of neighbours, given from the last to the first.
fn join(db: &Connection, table: Indexed, newest_first: &[Segment], level: i64) -> rusqlite::Result<()> {
    let (Some(newest), Some(oldest)) = (newest_first.first(), newest_first.last()) else { return Ok(()) };
    let mut joined = Segment {
        first: oldest.first,
        last: newest.last,
        number: next_number(db, table)?,
        level,
        parts: Vec::new(),
    };
    let mut entries = Entries::new();
    for segment in newest_first.iter().rev() {
        let ahead = u32::try_from(segment.first - joined.first).unwrap_or(u32::MAX);
        let moved = |part: &Part| Part { offset: part.offset.saturating_add(ahead), ..*part };
        joined.parts.extend(segment.parts.iter().map(moved));
        let sql = format!("SELECT postings FROM {} WHERE id BETWEEN ? AND ?", table.postings);
        let mut select = db.prepare_cached(&sql)?;
        let (from, to) = segment.postings();
        let mut rows = select.query([from, to])?;
        while let Some(row) = rows.next()? {
            entries.add_row(row.get_ref(0)?.as_blob().unwrap_or_default(), ahead);
        }
    }
    for segment in newest_first {
        segment.delete(db, table)?;
    }
    joined.parts = coarser(joined.parts);
    joined.write(db, table, &mut entries)
}

/// So many parts that a segment is still read at once: neighbours become one.
fn coarser(mut parts: Vec<Part>) -> Vec<Part> {
    while parts.len() > MOST_PARTS {
        let pair = |pair: &[Part]| {
            let (first, last) = (pair.first()?, pair.last()?);
            let starts = (first.starts.0.min(last.starts.0), first.starts.1.max(last.starts.1));
            Some(Part { offset: first.offset, starts, stored: first.stored.max(last.stored) })
        };
        parts = parts.chunks(2).filter_map(pair).collect();
    }
    parts
}

/// So many segments become one.
const FAN: usize = 16;
/// A merge has no more rows than this: some 20 ms, for which the book of blocks may have to wait.
const MOST_ROWS: i64 = 131_072;
/// Rows of an earlier version that get their segment at once.
const OLDER: i64 = 8_192;
/// The parts of a segment: 1,792 bytes of the row at most.
const MOST_PARTS: usize = 64;
