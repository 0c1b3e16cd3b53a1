//! Flows and records of one address, by the index of [`super::segments`].

use std::net::IpAddr;
use std::ops::ControlFlow;

use rusqlite::{Connection, OptionalExtension, Row, params};
use slips_core::flow::Uid;
use slips_core::time::PacketTime;

use super::postings;
use super::read::{FLOW, Order, RECORD, StoredFlow, StoredRecord, flow, record};
use super::segments::{FLOWS, Indexed, Print, RECORDS, Segment};
use super::story::Stories;

/// Which rows are asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask<'a> {
    /// That started then or later.
    pub(crate) from: PacketTime,
    /// That started before.
    pub(crate) until: PacketTime,
    /// Of this kind, or with this label.
    pub(crate) only: Option<&'a str>,
    /// In which order they come: that in which they were stored, when flows ended, or the other way round.
    pub(crate) order: Order,
    /// No more than so many.
    pub(crate) limit: usize,
    /// Go on behind the page that said so.
    pub(crate) after: Option<i64>,
    /// No row that was stored after this one.
    pub(crate) up_to: i64,
}

/// A page of rows.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Found<T> {
    /// The rows.
    pub(crate) rows: Vec<T>,
    /// Where the next page begins; `None` when there is none. A page may have few rows, or none, and another behind it: no
    /// question looks at more than [`MOST_LOOKS`] rows at once.
    pub(crate) after: Option<i64>,
}

impl Stories {
    /// Flows that an address began or took.
    pub(crate) fn flows_of(&self, addr: IpAddr, ask: &Ask<'_>) -> rusqlite::Result<Found<StoredFlow>> {
        let print = Print::of_addr(self.seed()?, addr);
        let sql = format!(
            "SELECT {FLOW} FROM flows WHERE id = ?1 AND (src = ?2 OR dst = ?2) AND start >= ?3 AND start < ?4
             AND (?5 IS NULL OR label = ?5)"
        );
        self.page(FLOWS, print, ask, &sql, &addr.to_string(), flow)
    }

    /// Records in which an address takes part.
    pub(super) fn records_of(&self, addr: IpAddr, ask: &Ask<'_>) -> rusqlite::Result<Found<StoredRecord>> {
        if !self.has_records()? {
            return Ok(Found { rows: Vec::new(), after: None });
        }
        let print = Print::of_addr(self.seed()?, addr);
        let sql = format!(
            "SELECT {RECORD} FROM records WHERE id = ?1 AND (src = ?2 OR dst = ?2) AND start >= ?3 AND start < ?4
             AND (?5 IS NULL OR kind = ?5)"
        );
        self.page(RECORDS, print, ask, &sql, &addr.to_string(), record)
    }

    /// Records of one flow.
    pub(super) fn records_of_flow(&self, uid: &str, ask: &Ask<'_>) -> rusqlite::Result<Found<StoredRecord>> {
        if !self.has_records()? {
            return Ok(Found { rows: Vec::new(), after: None });
        }
        let print = Print::of_uid(self.seed()?, &Uid::from(uid));
        let sql = format!(
            "SELECT {RECORD} FROM records WHERE id = ?1 AND uid = ?2 AND start >= ?3 AND start < ?4
             AND (?5 IS NULL OR kind = ?5)"
        );
        self.page(RECORDS, print, ask, &sql, uid, record)
    }

    /// The first and the last row among which all are that started in this time, as far as the index tells.
    pub(super) fn between(
        &self,
        table: Indexed,
        from: PacketTime,
        until: PacketTime,
    ) -> rusqlite::Result<(i64, i64)> {
        let end = |which: &str| {
            let sql = format!("SELECT {which}(id) FROM {}", table.rows);
            self.db.prepare_cached(&sql)?.query_row([], |row| row.get::<_, Option<i64>>(0))
        };
        let (Some(first), Some(last)) = (end("min")?, end("max")?) else { return Ok((i64::MAX, i64::MIN)) };
        if !self.has_records()? || (from == PacketTime::MIN && until == PacketTime(i64::MAX)) {
            return Ok((first, last));
        }
        let sql = format!("SELECT {} FROM {} ORDER BY first", Segment::COLUMNS, table.segments);
        let mut select = self.db.prepare_cached(&sql)?;
        let (mut low, mut high, mut indexed) = (i64::MAX, i64::MIN, i64::MAX);
        for segment in select.query_map([], Segment::read)? {
            let segment = segment?;
            indexed = indexed.min(segment.first);
            let ends = segment.parts.iter().skip(1).map(|part| segment.first + i64::from(part.offset) - 1);
            for (part, end) in segment.parts.iter().zip(ends.chain([segment.last])) {
                if part.starts.0 < until.0 && part.starts.1 >= from.0 {
                    low = low.min(segment.first + i64::from(part.offset));
                    high = high.max(end);
                }
            }
        }
        // What was stored before there was an index may be anything.
        let unindexed = first < indexed;
        let high = if unindexed { high.max(indexed.saturating_sub(1).min(last)) } else { high };
        Ok((if unindexed { first } else { low.max(first) }, high.min(last)))
    }

    /// A database of an earlier version has neither records nor an index of addresses.
    pub(super) fn has_records(&self) -> rusqlite::Result<bool> {
        let version: i64 = self.db.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        Ok(version >= FIRST_WITH_RECORDS)
    }

    fn seed(&self) -> rusqlite::Result<u64> {
        let sql = "SELECT value FROM meta WHERE key = 'flow_index_seed'";
        let seed: Option<i64> = self.db.query_row(sql, [], |row| row.get(0)).optional()?;
        Ok(seed.unwrap_or_default() as u64)
    }

    /// A page of the rows that may have this fingerprint and that `sql` says yes to: of an id, `of`, and the times.
    fn page<T>(
        &self,
        table: Indexed,
        print: Print,
        ask: &Ask<'_>,
        sql: &str,
        of: &str,
        read: fn(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Found<T>> {
        // One state of the database for all of it.
        let db = self.db.unchecked_transaction()?;
        let mut found = Found { rows: Vec::new(), after: None };
        if ask.limit == 0 || ask.from >= ask.until {
            return Ok(found);
        }
        // Whoever goes backwards begins there.
        let begin = ask.up_to.saturating_add(1);
        let after = match ask.order {
            Order::Newest => Some(ask.after.map_or(begin, |after| after.min(begin))),
            Order::Oldest => ask.after,
        };
        let ask = &Ask { after, ..*ask };
        let mut select = db.prepare_cached(sql)?;
        let mut looks = 0;
        let mut beyond = false;
        let indexed = self.has_records()?;
        walk(&db, table, print, ask, indexed, &mut |id| {
            beyond = id > ask.up_to;
            if beyond || found.rows.len() == ask.limit || looks == MOST_LOOKS {
                return Ok(ControlFlow::Break(()));
            }
            looks += 1;
            found.after = Some(id);
            let row = select.query_map(params![id, of, ask.from.0, ask.until.0, ask.only], read)?.next();
            found.rows.extend(row.transpose()?);
            Ok(ControlFlow::Continue(()))
        })
        .map(|walked| {
            if beyond || walked.is_continue() {
                found.after = None;
            }
            found
        })
    }
}

/// The ids of rows that may have this fingerprint, until `visit` has enough.
fn walk(
    db: &Connection,
    table: Indexed,
    print: Print,
    ask: &Ask<'_>,
    indexed: bool,
    visit: &mut dyn FnMut(i64) -> rusqlite::Result<ControlFlow<()>>,
) -> rusqlite::Result<ControlFlow<()>> {
    let lowest = if indexed {
        let sql = format!("SELECT coalesce(min(first), {}) FROM {}", i64::MAX, table.segments);
        db.query_row(&sql, [], |row| row.get::<_, i64>(0))?
    } else {
        i64::MAX
    };
    let go_on = ControlFlow::Continue(());
    if ask.order == Order::Oldest && unindexed(db, table, lowest, ask, visit)?.is_break() {
        return Ok(ControlFlow::Break(()));
    }
    if indexed && segments(db, table, print, ask, visit)?.is_break() {
        return Ok(ControlFlow::Break(()));
    }
    if ask.order == Order::Newest { unindexed(db, table, lowest, ask, visit) } else { Ok(go_on) }
}

/// Those below `lowest`, of which the index does not know yet: all of them.
fn unindexed(
    db: &Connection,
    table: Indexed,
    lowest: i64,
    ask: &Ask<'_>,
    visit: &mut dyn FnMut(i64) -> rusqlite::Result<ControlFlow<()>>,
) -> rusqlite::Result<ControlFlow<()>> {
    let (order, first, last) = match ask.order {
        Order::Newest => ("DESC", i64::MIN, ask.after.map_or(lowest, |after| lowest.min(after))),
        Order::Oldest => ("ASC", ask.after.map_or(i64::MIN, |after| after.saturating_add(1)), lowest),
    };
    let sql = format!("SELECT id FROM {} WHERE id >= ? AND id < ? ORDER BY id {order}", table.rows);
    let mut select = db.prepare(&sql)?;
    let mut rows = select.query([first, last])?;
    while let Some(row) = rows.next()? {
        if visit(row.get(0)?)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

fn segments(
    db: &Connection,
    table: Indexed,
    print: Print,
    ask: &Ask<'_>,
    visit: &mut dyn FnMut(i64) -> rusqlite::Result<ControlFlow<()>>,
) -> rusqlite::Result<ControlFlow<()>> {
    let (order, bound, after) = match ask.order {
        Order::Newest => ("DESC", "first < ?", ask.after.unwrap_or(i64::MAX)),
        Order::Oldest => ("ASC", "last > ?", ask.after.unwrap_or(i64::MIN)),
    };
    let sql =
        format!("SELECT {} FROM {} WHERE {bound} ORDER BY first {order}", Segment::COLUMNS, table.segments);
    let mut select = db.prepare_cached(&sql)?;
    let mut rows = select.query([after])?;
    let sql =
        format!("SELECT postings FROM {} WHERE id BETWEEN ? AND ? ORDER BY id DESC LIMIT 1", table.postings);
    let mut posting = db.prepare_cached(&sql)?;
    while let Some(row) = rows.next()? {
        let segment = Segment::read(row)?;
        let overlap = |starts: (i64, i64)| starts.0 < ask.until.0 && starts.1 >= ask.from.0;
        if !segment.parts.iter().any(|part| overlap(part.starts)) {
            continue;
        }
        let from = segment.postings().0;
        let mut list = posting.query([from, from | i64::from(print.0)])?;
        let Some(list) = list.next()? else { continue };
        let mut positions = postings::find(list.get_ref(0)?.as_blob().unwrap_or_default(), print.0);
        if ask.order == Order::Newest {
            positions.reverse();
        }
        for position in positions {
            let part = segment.parts.partition_point(|part| part.offset <= position);
            let part = part.checked_sub(1).and_then(|part| segment.parts.get(part));
            let id = segment.first + i64::from(position);
            let behind = ask.after.is_none_or(|after| match ask.order {
                Order::Newest => id < after,
                Order::Oldest => id > after,
            });
            let overlaps = part.is_none_or(|part| overlap(part.starts));
            if behind && overlaps && visit(id)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// The layout from which on there are records and the index of addresses.
const FIRST_WITH_RECORDS: i64 = 7;
/// So many rows are looked at for one page, some 100 ms of work.
pub(super) const MOST_LOOKS: u32 = 50_000;

#[cfg(test)]
pub(super) mod tests;
