//! What is mirrored elsewhere, read page by page, so that no reader holds up the writer for long.

use std::net::IpAddr;

use rusqlite::{OptionalExtension, Row, params};
use slips_core::addr::Net;
use slips_core::time::{PacketTime, WindowId, WindowWidth};

use super::blocks::{Block, block_of};
use super::story::Stories;
use crate::profiles::Facts;
use crate::redis::{AlertTold, EvidenceTold, OfProfile, Party, TimeWindow, VERSION, Word};
use crate::render::{escape, iso};
use crate::sink::StoreError;

/// As much of a block that stands as tells whether it is another than it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Its row in the book.
    pub row: i64,
    /// Whom.
    pub net: Net,
    /// Until when, in wall time; none: without an end.
    pub until: Option<i64>,
    /// Whether its sender could be forged.
    pub unproven: bool,
}

/// Some rows that were looked at.
pub(crate) struct Page<T> {
    /// Those that are to be mirrored.
    pub(crate) rows: Vec<T>,
    /// How many at the end of it are not.
    pub(crate) in_vain: u32,
    /// The place of the last; none: nothing comes behind.
    pub(crate) last: Option<i64>,
}

/// So many rows are looked at for a page at most: some milliseconds.
const LOOKS: u32 = 1_000;

/// An evidence, and its attacker, where that is an address.
pub(crate) struct EvidenceRow {
    pub(crate) attacker: Option<IpAddr>,
    pub(crate) told: EvidenceTold,
}

/// An alert, and when it was.
pub(crate) struct AlertRow {
    pub(crate) at: PacketTime,
    pub(crate) told: AlertTold,
}

impl Stories {
    /// Marks of all blocks that stand at `now`, in wall time.
    ///
    /// # Errors
    /// When the book cannot be read.
    pub fn marks(&self, now: i64) -> Result<Vec<Mark>, StoreError> {
        let sql = "SELECT id, net, until, unproven FROM blocks WHERE state = 'live' AND (until IS NULL OR until > ?)";
        let read = || {
            let mut rows = self.db.prepare_cached(sql)?;
            let marks = rows.query_map([now], |row| {
                let net: String = row.get(1)?;
                let (row, until, unproven) = (row.get(0)?, row.get(2)?, row.get(3)?);
                // What is no network is nobody's block.
                Ok(net.parse().ok().map(|net| Mark { row, net, until, unproven }))
            })?;
            marks.filter_map(Result::transpose).collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(|source| self.failed(source))
    }

    /// Of the blocks that stand at `now` those that others may be told, a person's or of an alert that nobody forged: `most` of them, a person's
    /// first, then those that end last.
    ///
    /// # Errors
    /// When the book cannot be read.
    pub fn shareable(&self, now: i64, most: u32) -> Result<Vec<Block>, StoreError> {
        let sql = "SELECT * FROM blocks WHERE state = 'live' AND (until IS NULL OR until > ?)
                   AND (source = 'hand' OR source = 'alert' AND NOT unproven)
                   ORDER BY source = 'hand' DESC, until IS NULL DESC, until DESC LIMIT ?";
        let read = || {
            let mut rows = self.db.prepare_cached(sql)?;
            rows.query_map(params![now, most], |row| block_of(row, 0))?.collect::<Result<Vec<_>, _>>()
        };
        read().map_err(|source| self.failed(source))
    }

    /// The blocks of these rows, those that still stand.
    pub(crate) fn blocks_in(&self, rows: &[i64]) -> Result<Vec<Block>, StoreError> {
        let read = || {
            let mut one = self.db.prepare_cached("SELECT * FROM blocks WHERE id = ? AND state = 'live'")?;
            let mut blocks = Vec::with_capacity(rows.len());
            for row in rows {
                blocks.extend(one.query_row([row], |row| block_of(row, 0)).optional()?);
            }
            Ok(blocks)
        };
        read().map_err(|source| self.failed(source))
    }

    /// Evidence that was last seen at `since` or later, with the address of its attacker where it is one: of those before this place in the order
    /// in which rows came, at most `most`, the newest first.
    pub(crate) fn mirrored_evidence(
        &self,
        before: i64,
        since: PacketTime,
        most: u32,
        router: &Word,
        width: WindowWidth,
    ) -> Result<Page<EvidenceRow>, StoreError> {
        let read = || {
            let mut uids = self
                .db
                .prepare_cached("SELECT uid FROM evidence_flows WHERE evidence_id = ? ORDER BY uid")?;
            self.newest(("evidence", "last_seen"), before, since, most, |row| {
                let mut told = evidence(row, router, width)?;
                told.uid = uids.query_map([&told.id], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
                let attacker = match told.attacker.ioc_type.as_str() {
                    "ip" => told.attacker.value.parse().ok(),
                    _ => None,
                };
                Ok(EvidenceRow { attacker, told })
            })
        };
        read().map_err(|source| self.failed(source))
    }

    /// Alerts, likewise, with when each was.
    pub(crate) fn mirrored_alerts(
        &self,
        before: i64,
        since: PacketTime,
        most: u32,
        router: &Word,
    ) -> Result<Page<AlertRow>, StoreError> {
        let read = || {
            let mut of = self.db.prepare_cached(
                "SELECT evidence_id FROM alert_evidence WHERE alert_id = ? ORDER BY position",
            )?;
            self.newest(("alerts", "at"), before, since, most, |row| {
                let (at, mut told) = alert(row, router)?;
                told.correl_id =
                    of.query_map([&told.id], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
                Ok(AlertRow { at, told })
            })
        };
        read().map_err(|source| self.failed(source))
    }

    /// Rows of a table before this place whose time is `since` or later; so many at most, of as many as are looked at.
    fn newest<T>(
        &self,
        (table, time): (&str, &str),
        before: i64,
        since: PacketTime,
        most: u32,
        mut told: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Page<T>> {
        let sql = format!("SELECT rowid, * FROM {table} WHERE rowid < ? ORDER BY rowid DESC LIMIT {LOOKS}");
        let mut rows = self.db.prepare_cached(&sql)?;
        let mut rows = rows.query([before])?;
        let (mut page, mut looked) = (Page { rows: Vec::new(), in_vain: 0, last: None }, 0);
        while let Some(row) = rows.next()? {
            looked += 1;
            page.last = Some(row.get("rowid")?);
            if row.get::<_, Option<i64>>(time)?.is_none_or(|at| at < since.0) {
                page.in_vain += 1;
                continue;
            }
            page.in_vain = 0;
            page.rows.push(told(row)?);
            if page.rows.len() >= most as usize {
                return Ok(page);
            }
        }
        if looked < LOOKS {
            page.last = None;
        }
        Ok(page)
    }

    /// Profiles that were seen after this moment and, of those seen at it, after this address; at most `most`, the longest unseen first.
    pub(crate) fn mirrored_profiles(
        &self,
        after: (PacketTime, &str),
        most: u32,
    ) -> Result<Vec<(PacketTime, IpAddr, Facts)>, StoreError> {
        let read = || {
            let mut rows = self.db.prepare_cached(
                "SELECT last, addr, facts FROM profiles WHERE last >= ?1 AND (last > ?1 OR addr > ?2)
                 ORDER BY last, addr LIMIT ?3",
            )?;
            let mut found = Vec::new();
            let mut rows = rows.query(params![after.0.0, after.1, most])?;
            while let Some(row) = rows.next()? {
                let (addr, facts): (String, String) = (row.get("addr")?, row.get("facts")?);
                if let (Ok(addr), Ok(facts)) = (addr.parse(), serde_json::from_str(&facts)) {
                    found.push((PacketTime(row.get("last")?), addr, facts));
                }
            }
            Ok(found)
        };
        read().map_err(|source| self.failed(source))
    }

    /// When the one was seen last before which so many were not seen for longer.
    pub(crate) fn mirrored_from(&self, newest: u32) -> Result<Option<PacketTime>, StoreError> {
        let sql = "SELECT last FROM profiles ORDER BY last DESC LIMIT 1 OFFSET ?";
        let read = || self.db.query_row(sql, [newest], |row| row.get(0)).optional();
        read().map(|last| last.map(PacketTime)).map_err(|source| self.failed(source))
    }
}

fn evidence(row: &Row<'_>, router: &Word, width: WindowWidth) -> rusqlite::Result<EvidenceTold> {
    let time = |column: &str| row.get(column).map(|at| iso(PacketTime(at)));
    let victim: Option<String> = row.get("victim")?;
    let kind_of_victim: Option<String> = row.get("victim_type")?;
    let (description, related): (String, Option<String>) = (row.get("description")?, row.get("related")?);
    Ok(EvidenceTold {
        version: VERSION,
        router: router.to_string(),
        id: row.get("id")?,
        evidence_type: row.get("kind")?,
        description: escape(&description).into_owned(),
        attacker: Party { ioc_type: row.get("attacker_type")?, value: row.get("attacker")? },
        victim: victim.zip(kind_of_victim).map(|(value, ioc_type)| Party { ioc_type, value }),
        threat_level: row.get("level")?,
        confidence: row.get("confidence")?,
        profile: OfProfile { ip: row.get("profile")? },
        timewindow: TimeWindow::new(WindowId(row.get("window")?), width),
        uid: Vec::new(),
        timestamp: time("at")?,
        last_seen: time("last_seen")?,
        proto: row.get("proto")?,
        src_port: row.get("src_port")?,
        dst_port: row.get("dst_port")?,
        rel_id: related.iter().flat_map(|ids| ids.split(',')).map(str::to_owned).collect(),
        count: row.get("count")?,
        weight: row.get("weight")?,
        accumulated_threat_level: row.get("accumulated")?,
        proven: row.get("proven")?,
    })
}

fn alert(row: &Row<'_>, router: &Word) -> rusqlite::Result<(PacketTime, AlertTold)> {
    let time = |column: &str| row.get(column).map(|at| iso(PacketTime(at)));
    let told = AlertTold {
        version: VERSION,
        router: router.to_string(),
        id: row.get("id")?,
        profile: OfProfile { ip: row.get("attacker")? },
        timewindow: TimeWindow {
            number: row.get("window")?,
            start_time: time("window_start")?,
            end_time: time("window_end")?,
        },
        accumulated_threat_level: row.get("accumulated")?,
        correl_id: Vec::new(),
        last_flow_datetime: time("at")?,
        threat_level: row.get("level")?,
        confidence: row.get("confidence")?,
        cause: row.get("cause")?,
        proven: row.get("proven")?,
        in_conversation: row.get("in_conversation")?,
        attacker_is_local: row.get("attacker_is_local")?,
        last_evidence: None,
    };
    Ok((PacketTime(row.get("at")?), told))
}

#[cfg(test)]
mod tests {
    use super::super::{Blocks, NewBlock};
    use super::*;

    #[test]
    fn others_are_told_what_a_person_blocked_first_and_nothing_that_could_be_forged() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("blocks.sqlite");
        let mut book = Blocks::open(&path).expect("open");
        for (net, source, until, unproven) in [
            ("198.51.100.1", "alert", Some(100), false),
            ("198.51.100.2", "alert", Some(300), false),
            ("198.51.100.3", "alert", Some(400), true),
            ("198.51.100.4", "peer x", Some(400), false),
            ("198.51.100.5", "hand", Some(50), false),
            ("198.51.100.6", "hand", None, false),
            ("198.51.100.7", "hand", Some(5), false),
        ] {
            let net = net.parse().expect("a network");
            let (source, reason, manner) = (source.into(), String::new(), "drop".into());
            let block = NewBlock { net, reason, alert: None, source, from: 0, until, unproven, manner };
            book.insert(&block).expect("insert");
        }
        let stories = Stories::open(&path).expect("open");
        let told = |most| -> Vec<String> {
            let blocks = stories.shareable(10, most).expect("read");
            blocks.iter().map(|block| block.asked.net.to_string()).collect()
        };
        let all = ["198.51.100.6", "198.51.100.5", "198.51.100.2", "198.51.100.1"];
        assert_eq!(told(10), all);
        assert_eq!(told(3), all[..3]);
    }
}
