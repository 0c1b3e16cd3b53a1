//! Flows and records of one address, by the index of [`super::segments`].

use std::net::IpAddr;
use std::ops::ControlFlow;

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::Serialize;
use slips_core::flow::Uid;
use slips_core::time::PacketTime;

use super::postings;
use super::segments::{FLOWS, Indexed, Print, RECORDS, Segment};
use super::story::{StoredFlow, Stories, flow, time};
use crate::sink::StoreError;

/// Which rows are asked for.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// That started then or later.
    pub from: PacketTime,
    /// That started before.
    pub until: PacketTime,
    /// In which order they come: that in which they were stored, when flows ended, or the other way round.
    pub order: Order,
    /// No more than so many.
    pub limit: usize,
    /// Go on behind the page that said so.
    pub after: Option<i64>,
}

impl Ask {
    /// The newest `limit`.
    pub const fn newest(limit: usize) -> Self {
        Self {
            from: PacketTime::MIN,
            until: PacketTime(i64::MAX),
            order: Order::NewestFirst,
            limit,
            after: None,
        }
    }
}

/// The order of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they say it")]
pub enum Order {
    NewestFirst,
    OldestFirst,
}

/// A page of rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Found<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// Where the next page begins; `None` when there is none. A page may have few rows, or none, and another behind it: no
    /// question looks at more than 50,000 rows at once.
    pub after: Option<i64>,
}

/// A row of `records`: what was seen of a protocol, with the fields of Zeek's log of that name.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StoredRecord {
    /// `dns`, `http`, `ssl`, `quic`, `x509`, `ssh`, `arp`, `dhcp`, `smtp`, `ftp`, `files`, `software`, `weird`, `tunnel`, `notice`, `login`,
    /// `auth`, `operation`, `neighbour`.
    pub kind: String,
    /// The flow it belongs to; empty where there is none.
    pub uid: String,
    /// When.
    pub start: String,
    /// Client, where the record tells.
    pub src: Option<String>,
    /// Its port.
    pub src_port: Option<u16>,
    /// Server.
    pub dst: Option<String>,
    /// Its port.
    pub dst_port: Option<u16>,
    /// Transport.
    pub proto: Option<String>,
    /// What else the record says; an object.
    pub fields: serde_json::Value,
}

impl Stories {
    /// Flows that an address began or took.
    pub fn flows_of(&self, addr: IpAddr, ask: &Ask) -> Result<Found<StoredFlow>, StoreError> {
        let find = || {
            let print = Print::of_addr(self.seed()?, addr);
            let text = addr.to_string();
            let sql =
                "SELECT * FROM flows WHERE id = ?1 AND (src = ?2 OR dst = ?2) AND start >= ?3 AND start < ?4";
            self.page(FLOWS, print, ask, sql, &text, flow)
        };
        find().map_err(|source| self.failed(source))
    }

    /// Records in which an address takes part.
    pub fn records_of(&self, addr: IpAddr, ask: &Ask) -> Result<Found<StoredRecord>, StoreError> {
        let find = || {
            if !self.has_records()? {
                return Ok(Found { rows: Vec::new(), after: None });
            }
            let print = Print::of_addr(self.seed()?, addr);
            let text = addr.to_string();
            let sql = "SELECT * FROM records WHERE id = ?1 AND (src = ?2 OR dst = ?2) AND start >= ?3 AND start < ?4";
            self.page(RECORDS, print, ask, sql, &text, record)
        };
        find().map_err(|source| self.failed(source))
    }

    /// Records of one flow.
    pub fn records_of_flow(&self, uid: &str, ask: &Ask) -> Result<Found<StoredRecord>, StoreError> {
        let find = || {
            if !self.has_records()? {
                return Ok(Found { rows: Vec::new(), after: None });
            }
            let print = Print::of_uid(self.seed()?, &Uid::from(uid));
            let sql = "SELECT * FROM records WHERE id = ?1 AND uid = ?2 AND start >= ?3 AND start < ?4";
            self.page(RECORDS, print, ask, sql, uid, record)
        };
        find().map_err(|source| self.failed(source))
    }

    /// A database of an earlier version has neither records nor an index of addresses.
    fn has_records(&self) -> rusqlite::Result<bool> {
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
        ask: &Ask,
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
        let mut select = db.prepare_cached(sql)?;
        let mut looks = 0;
        let indexed = self.has_records()?;
        walk(&db, table, print, ask, indexed, &mut |id| {
            if found.rows.len() == ask.limit || looks == MOST_LOOKS {
                return Ok(ControlFlow::Break(()));
            }
            looks += 1;
            found.after = Some(id);
            let row = select.query_map(params![id, of, ask.from.0, ask.until.0], read)?.next();
            found.rows.extend(row.transpose()?);
            Ok(ControlFlow::Continue(()))
        })
        .map(|walked| {
            if walked.is_continue() {
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
    ask: &Ask,
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
    if ask.order == Order::OldestFirst && unindexed(db, table, lowest, ask, visit)?.is_break() {
        return Ok(ControlFlow::Break(()));
    }
    if indexed && segments(db, table, print, ask, visit)?.is_break() {
        return Ok(ControlFlow::Break(()));
    }
    if ask.order == Order::NewestFirst { unindexed(db, table, lowest, ask, visit) } else { Ok(go_on) }
}

/// Those below `lowest`, of which the index does not know yet: all of them.
fn unindexed(
    db: &Connection,
    table: Indexed,
    lowest: i64,
    ask: &Ask,
    visit: &mut dyn FnMut(i64) -> rusqlite::Result<ControlFlow<()>>,
) -> rusqlite::Result<ControlFlow<()>> {
    let (order, first, last) = match ask.order {
        Order::NewestFirst => ("DESC", i64::MIN, ask.after.map_or(lowest, |after| lowest.min(after))),
        Order::OldestFirst => ("ASC", ask.after.map_or(i64::MIN, |after| after.saturating_add(1)), lowest),
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
    ask: &Ask,
    visit: &mut dyn FnMut(i64) -> rusqlite::Result<ControlFlow<()>>,
) -> rusqlite::Result<ControlFlow<()>> {
    let (order, bound, after) = match ask.order {
        Order::NewestFirst => ("DESC", "first < ?", ask.after.unwrap_or(i64::MAX)),
        Order::OldestFirst => ("ASC", "last > ?", ask.after.unwrap_or(i64::MIN)),
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
        if ask.order == Order::NewestFirst {
            positions.reverse();
        }
        for position in positions {
            let part = segment.parts.partition_point(|part| part.offset <= position);
            let part = part.checked_sub(1).and_then(|part| segment.parts.get(part));
            let id = segment.first + i64::from(position);
            let behind = ask.after.is_none_or(|after| match ask.order {
                Order::NewestFirst => id < after,
                Order::OldestFirst => id > after,
            });
            let overlaps = part.is_none_or(|part| overlap(part.starts));
            if behind && overlaps && visit(id)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
    }
    Ok(ControlFlow::Continue(()))
}

fn record(row: &Row<'_>) -> rusqlite::Result<StoredRecord> {
    let fields: String = row.get("fields")?;
    Ok(StoredRecord {
        kind: row.get("kind")?,
        uid: row.get::<_, Option<String>>("uid")?.unwrap_or_default(),
        start: time(row, "start")?,
        src: row.get("src")?,
        src_port: row.get("src_port")?,
        dst: row.get("dst")?,
        dst_port: row.get("dst_port")?,
        proto: row.get("proto")?,
        // We wrote it; a person may have changed it.
        fields: serde_json::from_str(&fields).unwrap_or_default(),
    })
}

/// The layout from which on there are records and the index of addresses.
const FIRST_WITH_RECORDS: i64 = 7;
/// So many rows are looked at for one page, some 100 ms of work.
const MOST_LOOKS: u32 = 50_000;

#[cfg(test)]
mod tests;
