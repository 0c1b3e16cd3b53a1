//! How much there is.

use rusqlite::{OptionalExtension, Row};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use slips_core::time::PacketTime;

use super::ReadError;
use crate::render::iso;
use crate::sqlite::story::Stories;

/// How much the database holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Counts {
    /// Flows.
    pub flows: u64,
    /// When the flow began that was written first of those.
    pub first_flow: Option<String>,
    /// When the flow began that was written last.
    pub last_flow: Option<String>,
    /// Evidence.
    pub evidence: u64,
    /// Alerts.
    pub alerts: u64,
    /// Addresses with a profile.
    pub profiles: u64,
    /// Blocks that stand.
    pub blocks: u64,
    /// Bytes on the disk, without the journal of what was written last.
    pub bytes: u64,
}

/// How many of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KindCount {
    /// The kind.
    pub kind: String,
    /// How many.
    pub count: u64,
}

impl KindCount {
    pub(super) fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self { kind: row.get(0)?, count: row.get::<_, i64>(1)?.unsigned_abs() })
    }
}

impl Stories {
    /// How much there is at this moment of wall time. Reads no more than the ends of the long lists.
    pub fn counts(&self, now: PacketTime) -> Result<Counts, ReadError> {
        let blocks = self.blocks_at(now)?;
        self.counts_beside(blocks)
    }

    /// The same for whoever knows how many blocks stand: nobody looks into the book.
    pub fn counts_beside(&self, blocks: u64) -> Result<Counts, ReadError> {
        self.read_counts(blocks).map_err(|source| self.failed(source).into())
    }

    /// Evidence by kind, of what was last seen at `since` or later. Reads all of it: a million take most of a second.
    pub fn kinds(&self, since: Option<PacketTime>) -> Result<Vec<KindCount>, ReadError> {
        let read = || {
            let mut kinds = self.db.prepare_cached(
                "SELECT kind, count(*) FROM evidence WHERE last_seen >= ? GROUP BY kind ORDER BY kind",
            )?;
            kinds
                .query_map([since.unwrap_or(PacketTime::MIN).0], KindCount::of)?
                .collect::<rusqlite::Result<_>>()
        };
        read().map_err(|source| self.failed(source).into())
    }

    fn read_counts(&self, blocks: u64) -> rusqlite::Result<Counts> {
        let bytes = self.number("PRAGMA page_count")?.saturating_mul(self.number("PRAGMA page_size")?);
        Ok(Counts {
            flows: self.between_ends("flows", "id")?,
            first_flow: self.flow_at("ASC")?,
            last_flow: self.flow_at("DESC")?,
            evidence: self.between_ends("evidence", "rowid")?,
            alerts: self.between_ends("alerts", "rowid")?,
            profiles: self.profiles_kept()?.unsigned_abs(),
            blocks,
            bytes: bytes.unsigned_abs(),
        })
    }

    /// As they are counted while they come and go; in a database of an earlier version, now.
    fn profiles_kept(&self) -> rusqlite::Result<i64> {
        if !self.has_profiles()? {
            return Ok(0);
        }
        let counted = "SELECT value FROM meta WHERE key = 'profiles'";
        let counted = self.db.prepare_cached(counted)?.query_row([], |row| row.get(0)).optional()?;
        counted.map_or_else(|| self.number("SELECT count(*) FROM profiles"), Ok)
    }

    fn number(&self, sql: &str) -> rusqlite::Result<i64> {
        self.db.prepare_cached(sql)?.query_row([], |row| row.get(0))
    }

    /// Rows are numbered one after the other, and the oldest are taken out.
    fn between_ends(&self, table: &str, key: &str) -> rusqlite::Result<u64> {
        let (first, last) = self.ends(table, key)?;
        Ok(last.saturating_sub(first).saturating_add(1).max(0).unsigned_abs())
    }

    /// The numbers of the first and the last row; of a table without rows, 1 and 0.
    pub(super) fn ends(&self, table: &str, key: &str) -> rusqlite::Result<(i64, i64)> {
        let first = self.number(&format!("SELECT coalesce(min({key}), 1) FROM {table}"))?;
        Ok((first, self.number(&format!("SELECT coalesce(max({key}), 0) FROM {table}"))?))
    }

    /// When the first or the last flow began.
    fn flow_at(&self, direction: &str) -> rusqlite::Result<Option<String>> {
        let mut row =
            self.db.prepare_cached(&format!("SELECT start FROM flows ORDER BY id {direction} LIMIT 1"))?;
        let start: Option<i64> = row.query_row([], |row| row.get(0)).optional()?;
        Ok(start.map(|start| iso(PacketTime(start))))
    }
}
