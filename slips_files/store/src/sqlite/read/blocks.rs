//! Blocks.

use rusqlite::Row;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use slips_core::addr::Net;
use slips_core::time::PacketTime;

use super::rows::time;
use super::{List, Order, Page, ReadError, Rows, Select};
use crate::render::iso;
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
    /// A page of blocks.
    pub fn blocks(&self, query: &BlockQuery, page: Page<'_>) -> Result<Rows<StoredBlock>, ReadError> {
        let mut select = Select::new(&format!("{BLOCK} FROM blocks"));
        if let Some(now) = query.live_at {
            select.and("state = 'live' AND (until IS NULL OR until > ?)", [now.0.into()]);
        }
        if let Some(net) = query.net {
            select.and("net = ?", [net.to_string().into()]);
        }
        if let Some(since) = query.since {
            select.and("\"from\" >= ?", [since.0.into()]);
        }
        self.numbered((List::Blocks, query.order), (select, "id"), page, block)
    }

    /// What was blocked because of an alert, and other blocks of its attacker; the latest hundred.
    pub(in crate::sqlite) fn blocks_of(&self, alert: &str, net: &str) -> rusqlite::Result<Vec<StoredBlock>> {
        let mut rows = self.db.prepare(&format!(
            "SELECT {BLOCK} FROM blocks WHERE alert_id = ?1 OR net = ?2 ORDER BY id DESC LIMIT 100"
        ))?;
        let mut blocks = rows.query_map([alert, net], block)?.collect::<rusqlite::Result<Vec<_>>>()?;
        blocks.reverse();
        Ok(blocks)
    }
}

const BLOCK: &str = "id, net, reason, source, alert_id, \"from\", until, state, applied, unproven, manner";

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
    })
}
