//! How much flows.sqlite keeps. What is too old or too much goes in small steps, each a transaction of its own of some milliseconds, so
//! neither the writer nor a reader waits for it.
//!
//! Age is counted by the database's own time ([`super::age`]): neither what traffic says, which is the sender's choice, nor what the clock on
//! the wall says makes rows old. What an earlier version dated otherwise, before 2020 or later than now, is as old as what was stored after it.
//! Freed pages are taken for what comes next, so the file stays as large as it once was and no larger; giving them back to the system would
//! mean to move pages for as long as rows come.

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use slips_core::time::Span;

use super::SqliteLimits;
use super::age::PLAUSIBLE;
use super::segments::{self, FLOWS, Indexed, RECORDS};

/// For how long rows are kept, and how many bytes they may take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// Flows; `None`: for ever.
    pub flows: Option<Span>,
    /// Records of protocols.
    pub records: Option<Span>,
    /// Evidence and alerts.
    pub findings: Option<Span>,
    /// All of the database, without its journal. Flows and records make room, then profiles, then evidence, and alerts last; the latest
    /// thousand of each stay.
    pub bytes: Option<u64>,
}

/// One step for flows and one for records, at `now` of the database's time. Whether there is more to do.
pub(super) fn rows(db: &mut Connection, limits: &SqliteLimits, now: i64) -> rusqlite::Result<bool> {
    let room = room(db, limits)?;
    let mut more = false;
    for (table, keep) in [(FLOWS, limits.keep.flows), (RECORDS, limits.keep.records)] {
        let Some((lowest, highest)) = ids(db, table)? else { continue };
        let mut below = highest.saturating_add(1).saturating_sub_unsigned(limits.rows);
        if let Some(keep) = keep {
            below = below.max(segments::first_since(db, table, now.saturating_sub(keep.0)..=now)?);
        }
        if matches!(room, Some(Room::Of(larger)) if larger.rows == table.rows) {
            // One more than a step: there is more to do.
            below = below.max(lowest.saturating_add(STEP + 1).min(highest.saturating_sub(LATEST - 1)));
        }
        if below > lowest {
            let step = below.min(lowest.saturating_add(STEP));
            more |= step < below;
            forget(db, table, step)?;
        }
    }
    Ok(more)
}

/// What makes room in a database that is too large.
enum Room {
    /// The one of flows and records that takes more. So a flood of flows costs flows, and what was said in the week before is still known.
    Of(Indexed),
    /// Profiles, down to so many: they are learnt again.
    Profiles(i64),
    /// Evidence and alerts.
    Findings,
}

/// Flows and records make room down to a quarter of the size, then profiles, then flows and records down to the latest, then nearly all
/// profiles, which are large where somebody tries, and only then evidence and alerts. `None` where there is room.
fn room(db: &Connection, limits: &SqliteLimits) -> rusqlite::Result<Option<Room>> {
    let Some(most) = limits.keep.bytes else { return Ok(None) };
    if used(db)? <= most {
        return Ok(None);
    }
    let takes = rows_take(db)?;
    let larger = takes.iter().filter(|(_, rows, _)| *rows > LATEST).max_by_key(|(_, _, bytes)| *bytes);
    let many = takes.iter().map(|(_, _, bytes)| bytes).sum::<u64>() >= most / 4;
    let profiles = |more: i64| db.prepare_cached("SELECT 1 FROM profiles LIMIT 1 OFFSET ?")?.exists([more]);
    Ok(Some(match larger {
        Some((table, ..)) if many || !profiles(LATEST)? => Room::Of(*table),
        _ if profiles(LATEST)? => Room::Profiles(LATEST),
        _ if profiles(FEW)? => Room::Profiles(FEW),
        _ => Room::Findings,
    }))
}

/// Deletes the rows before this one.
fn forget(db: &mut Connection, table: Indexed, below: i64) -> rusqlite::Result<()> {
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if let Some((_, highest)) = ids(&tx, table)?.filter(|(_, highest)| *highest < below) {
        // All go: ids go on where they are, since cursors and what stays of the indexes know them.
        tx.prepare_cached("INSERT OR REPLACE INTO meta VALUES (?, ?)")?
            .execute(params![table.last_key(), highest])?;
        if table.rows == FLOWS.rows {
            // Of the block that the next one would have taken out, too.
            tx.execute("DELETE FROM flow_index", [])?;
        }
    }
    tx.prepare_cached(&format!("DELETE FROM {} WHERE id < ?", table.rows))?.execute([below])?;
    if table.rows == FLOWS.rows {
        // A block of fingerprints goes when its successor begins with a flow that is gone too.
        tx.prepare_cached(
            "DELETE FROM flow_index WHERE first < (SELECT max(first) FROM flow_index WHERE first <= ?)",
        )?
        .execute([below])?;
    }
    segments::forget(&tx, table, below)?;
    tx.commit()
}

/// A step for evidence and alerts: those that are too old, and the oldest evidence that no alert rests on beyond a quarter of the size, since
/// whoever forges senders makes as much of it as he likes. Where nothing else can make room ([`Room`]), the oldest such evidence does, and
/// alerts when there is none; the latest of each stay.
pub(super) fn findings(
    db: &mut Connection,
    limits: &SqliteLimits,
    idle: &mut Idle,
    now: i64,
) -> rusqlite::Result<()> {
    let room = room(db, limits)?;
    if let Some(Room::Profiles(left)) = room {
        return forget_profiles(db, left);
    }
    let too_large = matches!(room, Some(Room::Findings));
    if let Some(most) = limits.keep.bytes {
        idle.count(db, most / 4, now)?;
    }
    let aged = limits.keep.findings.map_or(i64::MIN, |keep| now.saturating_sub(keep.0));
    let mut made_room = Made::None;
    for (table, links, key, time) in [
        ("evidence", "evidence_flows", "evidence_id", "coalesce(stored, last_seen, 0)"),
        ("alerts", "alert_evidence", "alert_id", "coalesce(stored, created, 0)"),
    ] {
        let ends = format!("SELECT min(rowid), max(rowid) FROM {table}");
        let ends = db.prepare_cached(&ends)?.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let (Some(first), Some(last)): (Option<i64>, Option<i64>) = ends else { continue };
        let makes_room = match table {
            "evidence" => too_large || idle.surplus > 0,
            _ => too_large && made_room == Made::None,
        } && last - first >= LATEST + FINDINGS;
        if makes_room && table == "evidence" {
            made_room = idle.forget(db)?;
            continue;
        }
        let (after, since) = if makes_room { (i64::MIN, i64::MAX) } else { (PLAUSIBLE, aged) };
        let oldest = format!("SELECT {time} FROM {table} WHERE rowid = ?");
        let oldest: i64 = db.prepare_cached(&oldest)?.query_row([first], |row| row.get(0))?;
        if !makes_room && limits.keep.findings.is_some() && !(PLAUSIBLE..=now).contains(&oldest) {
            date(db, table, time, now)?;
            continue;
        }
        // Nothing is written where there is nothing to do.
        if oldest >= since {
            continue;
        }
        // What an alert rests on stays as long as the alert.
        let free = if table == "evidence" {
            "AND NOT EXISTS (SELECT 1 FROM alert_evidence WHERE evidence_id = id)"
        } else {
            ""
        };
        let some = format!(
            "SELECT *, {time} AS time FROM {table} WHERE {time} >= {after} ORDER BY rowid LIMIT {LOOKS}"
        );
        let old = format!("SELECT id FROM ({some}) WHERE time < ?1 {free} LIMIT {FINDINGS}");
        let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        tx.prepare_cached(&format!("DELETE FROM {links} WHERE {key} IN ({old})"))?.execute([since])?;
        let gone =
            tx.prepare_cached(&format!("DELETE FROM {table} WHERE id IN ({old})"))?.execute([since])?;
        tx.commit()?;
        if gone > 0 {
            made_room = Made::Some;
        }
        if makes_room {
            // What these rested on is the oldest that no alert rests on now.
            idle.begin();
        }
    }
    Ok(())
}

/// Whether evidence that no alert rests on made room.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Made {
    Some,
    /// Not yet: it is looked for.
    Nothing,
    /// There is none.
    None,
}

/// How far the search for evidence that no alert rests on has come. It goes on where it was: those that alerts rest on may be the oldest, and
/// as many as one likes.
#[derive(Debug, Default)]
pub(super) struct Idle {
    /// The row that was looked at last, of a search that begins with the first one.
    after: i64,
    /// It has found some.
    found: bool,
    /// So many are beyond their share,
    surplus: u64,
    /// as they were counted at this time of the database.
    counted: Option<i64>,
}

impl Idle {
    /// Begins with the first row again.
    const fn begin(&mut self) {
        (self.after, self.found) = (0, false);
    }

    /// Counts how many are beyond what so many bytes hold: once a minute, since it reads two indexes.
    fn count(&mut self, db: &Connection, most: u64, now: i64) -> rusqlite::Result<()> {
        if self.counted.is_none_or(|counted| now.saturating_sub(counted) >= COUNT_EVERY) {
            self.surplus = idle_evidence(db, most)?;
            self.counted = Some(now);
        }
        Ok(())
    }

    /// Deletes a step of it, the oldest.
    fn forget(&mut self, db: &mut Connection) -> rusqlite::Result<Made> {
        let some = self.look(db)?;
        if !some.is_empty() {
            let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
            for (row, id) in &some {
                tx.prepare_cached("DELETE FROM evidence_flows WHERE evidence_id = ?")?.execute([id])?;
                tx.prepare_cached("DELETE FROM evidence WHERE rowid = ?")?.execute([row])?;
            }
            tx.commit()?;
            self.surplus = self.surplus.saturating_sub(some.len() as u64);
            return Ok(Made::Some);
        }
        // At the first row again: the search came to the end.
        Ok(if self.after == 0 { Made::None } else { Made::Nothing })
    }

    /// The next step of it, with their rows; none where so many were looked at, or all.
    fn look(&mut self, db: &Connection) -> rusqlite::Result<Vec<(i64, String)>> {
        let mut rows = db.prepare_cached(
            "SELECT rowid, id, EXISTS (SELECT 1 FROM alert_evidence WHERE evidence_id = id) FROM evidence
             WHERE rowid > ? ORDER BY rowid LIMIT ?",
        )?;
        loop {
            let (mut looked, mut some) = (0, Vec::new());
            let mut rows = rows.query([self.after, LOOKS_FOR_ROOM])?;
            while let Some(row) = rows.next()? {
                looked += 1;
                self.after = row.get(0)?;
                if !row.get::<_, bool>(2)? {
                    some.push((self.after, row.get(1)?));
                    if some.len() as i64 >= FINDINGS {
                        break;
                    }
                }
            }
            self.found |= !some.is_empty();
            if !some.is_empty() || looked >= LOOKS_FOR_ROOM {
                return Ok(some);
            }
            let again = self.found;
            self.begin();
            if !again {
                return Ok(some);
            }
        }
    }
}

/// Dates the oldest rows of a table, whose own time is none: as old as the first behind them that has one, or stored now.
fn date(db: &mut Connection, table: &str, time: &str, now: i64) -> rusqlite::Result<()> {
    let some = format!("SELECT rowid AS row, {time} AS time FROM {table} ORDER BY rowid LIMIT {LOOKS}");
    let dated =
        format!("SELECT row, time FROM ({some}) WHERE time BETWEEN {PLAUSIBLE} AND ? ORDER BY row LIMIT 1");
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let first =
        tx.prepare_cached(&dated)?.query_row([now], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    let (end, time): (i64, i64) = first.unwrap_or((i64::MAX, now));
    let before = format!("SELECT rowid FROM {table} WHERE rowid < ? ORDER BY rowid LIMIT {LOOKS}");
    tx.prepare_cached(&format!("UPDATE {table} SET stored = ? WHERE rowid IN ({before})"))?
        .execute([time, end])?;
    tx.commit()
}

/// How many of the evidence that no alert rests on are more than so many bytes hold.
fn idle_evidence(db: &Connection, most: u64) -> rusqlite::Result<u64> {
    // Of the first and the last: the tables are only counted where they could be too large.
    let sample = |order: &str| {
        let sql = format!(
            "SELECT avg(coalesce(length(description), 0) + coalesce(length(related), 0)
                 + {EVIDENCE_FLOW_BYTES} * (SELECT count(*) FROM evidence_flows WHERE evidence_id = some.id))
             FROM (SELECT id, description, related FROM evidence ORDER BY rowid {order} LIMIT 50) AS some"
        );
        let average: Option<f64> = db.prepare_cached(&sql)?.query_row([], |row| row.get(0))?;
        Ok::<_, rusqlite::Error>(average.unwrap_or_default() as u64)
    };
    let number = |sql: &str| -> rusqlite::Result<u64> {
        let number: i64 = db.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
        Ok(number.unsigned_abs())
    };
    let bytes = EVIDENCE_BYTES + u64::midpoint(sample("ASC")?, sample("DESC")?);
    let room = most / bytes;
    if number("SELECT coalesce((SELECT max(rowid) FROM evidence) - (SELECT min(rowid) FROM evidence), 0)")?
        <= room
    {
        return Ok(0);
    }
    let all = number("SELECT count(*) FROM evidence")?;
    if all <= room {
        return Ok(0);
    }
    let held = number("SELECT count(DISTINCT evidence_id) FROM alert_evidence")?;
    Ok(all.saturating_sub(held).saturating_sub(room))
}

/// Forgets the profiles that were seen longest ago, some of those beyond so many.
fn forget_profiles(db: &mut Connection, left: i64) -> rusqlite::Result<()> {
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    tx.prepare_cached(
        "DELETE FROM profiles WHERE addr IN (SELECT addr FROM profiles ORDER BY last LIMIT min(?1, (SELECT count(*) FROM profiles) - ?2))",
    )?
    .execute([LATEST, left])?;
    tx.execute("DELETE FROM profile_macs WHERE addr NOT IN (SELECT addr FROM profiles)", [])?;
    tx.commit()
}

/// Bytes in use.
fn used(db: &Connection) -> rusqlite::Result<u64> {
    let pragma = |name: &str| db.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0));
    let pages = pragma("page_count")? - pragma("freelist_count")?;
    Ok(pages.saturating_mul(pragma("page_size")?).unsigned_abs())
}

/// About how many rows flows and records have, and how many bytes these take.
fn rows_take(db: &Connection) -> rusqlite::Result<[(Indexed, i64, u64); 2]> {
    let texts: Option<f64> = db
        .prepare_cached("SELECT avg(length(fields)) FROM (SELECT fields FROM records ORDER BY id LIMIT 100)")?
        .query_row(params![], |row| row.get(0))
        .optional()?
        .flatten();
    let record = RECORD_BYTES + texts.unwrap_or_default() as u64;
    let take = |table: Indexed, row: u64| {
        let rows = ids(db, table)?.map_or(0, |(lowest, highest)| highest - lowest + 1);
        Ok::<_, rusqlite::Error>((table, rows, rows.unsigned_abs() * row))
    };
    Ok([take(FLOWS, FLOW_BYTES)?, take(RECORDS, record)?])
}

/// The first and the last row of a table.
fn ids(db: &Connection, table: Indexed) -> rusqlite::Result<Option<(i64, i64)>> {
    let rows = table.rows;
    let sql = format!("SELECT (SELECT min(id) FROM {rows}), (SELECT max(id) FROM {rows})");
    let (lowest, highest): (Option<i64>, Option<i64>) =
        db.prepare_cached(&sql)?.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(lowest.zip(highest))
}

/// So many rows are deleted at once: twice what a transaction brings.
const STEP: i64 = 10_000;
/// So many evidence or alerts, which have many rows each beside their own,
const FINDINGS: i64 = 500;
/// of as many that are looked at.
const LOOKS: i64 = 5_000;
/// The same when there must be room: those that alerts rest on may be the oldest. Some ten milliseconds, in which others write.
const LOOKS_FOR_ROOM: i64 = 20_000;
/// How often evidence that no alert rests on is counted.
const COUNT_EVERY: i64 = 60_000_000;
/// What an evidence takes with its part of the indexes, without texts,
const EVIDENCE_BYTES: u64 = 450;
/// and each flow that it names.
const EVIDENCE_FLOW_BYTES: u64 = 70;
/// So many flows, records, evidence and alerts stay however large the database is,
const LATEST: i64 = 1_000;
/// and so many profiles.
const FEW: i64 = 100;
/// What a flow takes, with its part of the indexes,
const FLOW_BYTES: u64 = 200;
/// and a record without its fields.
const RECORD_BYTES: u64 = 110;

#[cfg(test)]
mod tests;
