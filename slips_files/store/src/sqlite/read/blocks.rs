//! Blocks.

use rusqlite::Row;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use slips_core::addr::Net;
use slips_core::time::PacketTime;

use super::rows::{text, time};
use super::{List, Order, Page, ReadError, Rows, Select};
use crate::render::iso;
use crate::sink::StoreError;
use crate::sqlite::story::Stories;

/// A block of the firewall's book. Times are wall time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "named as in NewBlock")]
pub struct StoredBlock {
    pub id: String,
    pub net: String,
    pub reason: String,
    pub source: String,
    /// The identity of the alert behind it.
    pub alert: Option<String>,
    pub from: String,
    /// `None` until it is lifted.
    pub until: Option<String>,
    /// `live` or `lifted`; one whose time has passed is `live` still.
    pub state: String,
    /// Whether the kernel had it.
    pub applied: bool,
    pub unproven: bool,
    pub manner: String,
    /// How it was lifted before its time.
    pub unblock: Option<StoredUnblock>,
}

/// How a block was lifted before its time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "named as in a block")]
pub struct StoredUnblock {
    pub at: String,
    pub source: String,
    pub reason: String,
}

/// Which blocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct BlockQuery {
    /// Only those that stand at this moment of wall time.
    pub live_at: Option<PacketTime>,
    /// Only this address or network, as it was blocked.
    pub net: Option<Net>,
    /// Begun at this moment or later.
    pub since: Option<PacketTime>,
    /// Which come first.
    pub order: Order,
}

impl Stories {
    /// A page of blocks: of the daemon's book if that lies beside, else of this database.
    pub fn blocks(&self, query: &BlockQuery, page: Page<'_>) -> Result<Rows<StoredBlock>, ReadError> {
        match self.book()? {
            Some(book) => book.own_blocks(query, page),
            None => self.own_blocks(query, page),
        }
    }

    /// The book of a daemon has a file of its own, beside its flows. It is opened for each question: a damaged one is begun anew.
    pub(in crate::sqlite) fn book(&self) -> Result<Option<Self>, StoreError> {
        let path = self.path().with_file_name(BOOK);
        if path == self.path() || !path.is_file() { Ok(None) } else { Self::open(path).map(Some) }
    }

    fn own_blocks(&self, query: &BlockQuery, page: Page<'_>) -> Result<Rows<StoredBlock>, ReadError> {
        let mut select = Select::new(&format!("{BLOCK} FROM blocks {}", self.unblocks()?));
        if let Some(now) = query.live_at {
            select.and("state = 'live' AND (until IS NULL OR until > ?)", [now.0.into()]);
        }
        if let Some(net) = query.net {
            select.and("blocks.net = ?", [net.to_string().into()]);
        }
        if let Some(since) = query.since {
            select.and("\"from\" >= ?", [since.0.into()]);
        }
        self.numbered((List::Blocks, query.order), (select, "blocks.id"), page, block)
    }

    fn unblocks(&self) -> Result<&'static str, ReadError> {
        self.join().map_err(|source| self.failed(source).into())
    }

    /// Who lifted it last; a database of an earlier version does not say.
    fn join(&self) -> rusqlite::Result<&'static str> {
        Ok(if self.has_records()? {
            "LEFT JOIN unblocks ON unblocks.id = (SELECT max(id) FROM unblocks WHERE block = blocks.id)"
        } else {
            "LEFT JOIN (SELECT NULL AS at, NULL AS source, NULL AS reason) AS unblocks ON 0"
        })
    }

    /// What was blocked because of an alert, and other blocks of its attacker; the latest hundred, the first of them in front.
    pub(in crate::sqlite) fn blocks_of(
        &self,
        alert: &str,
        net: &str,
    ) -> Result<Vec<StoredBlock>, StoreError> {
        let book = self.book()?;
        let of = book.as_ref().unwrap_or(self);
        of.own_blocks_of(alert, net).map_err(|source| of.failed(source))
    }

    fn own_blocks_of(&self, alert: &str, net: &str) -> rusqlite::Result<Vec<StoredBlock>> {
        let mut rows = self.db.prepare_cached(&format!(
            "SELECT {BLOCK} FROM blocks {} WHERE alert_id = ?1 OR blocks.net = ?2 ORDER BY blocks.id DESC LIMIT 100",
            self.join()?
        ))?;
        let mut blocks = rows.query_map([alert, net], block)?.collect::<rusqlite::Result<Vec<_>>>()?;
        blocks.reverse();
        Ok(blocks)
    }

    /// How many stand at this moment of wall time.
    pub(super) fn blocks_at(&self, now: PacketTime) -> Result<u64, StoreError> {
        let book = self.book()?;
        let of = book.as_ref().unwrap_or(self);
        let sql = "SELECT count(*) FROM blocks WHERE state = 'live' AND (until IS NULL OR until > ?)";
        let count =
            of.db.prepare_cached(sql).and_then(|mut row| row.query_row([now.0], |row| row.get::<_, i64>(0)));
        count.map(i64::unsigned_abs).map_err(|source| of.failed(source))
    }
}

/// The name of the file, as [`crate::OutputDir::blocks_sqlite`] has it.
const BOOK: &str = "blocks.sqlite";

const BLOCK: &str = "blocks.id, blocks.net, blocks.reason, blocks.source, alert_id, \"from\", until, state, applied, unproven, manner, \
    unblocks.at, unblocks.source, unblocks.reason";

fn block(row: &Row<'_>) -> rusqlite::Result<StoredBlock> {
    let until: Option<i64> = row.get(6)?;
    Ok(StoredBlock {
        id: row.get::<_, i64>(0)?.to_string(),
        net: row.get(1)?,
        reason: row.get(2)?,
        source: row.get(3)?,
        alert: row.get(4)?,
        from: time(row, 5)?,
        until: until.map(|until| iso(PacketTime(until))),
        state: row.get(7)?,
        applied: row.get(8)?,
        unproven: row.get(9)?,
        manner: row.get(10)?,
        unblock: match row.get::<_, Option<i64>>(11)? {
            None => None,
            Some(at) => Some(StoredUnblock {
                at: iso(PacketTime(at)),
                source: text(row, 12)?,
                reason: text(row, 13)?,
            }),
        },
    })
}
