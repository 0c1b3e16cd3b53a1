//! What was said in protocols.

use std::net::IpAddr;

use rusqlite::Row;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use slips_core::time::PacketTime;

use super::rows::{text, time};
use super::{List, Order, Page, ReadError, Rows, Select};
use crate::sqlite::found::{Ask, Found};
use crate::sqlite::segments::RECORDS;
use crate::sqlite::story::Stories;

/// A row of `records`: what was seen of a protocol, with the fields of Zeek's log of that name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
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

/// Which records.
#[derive(Clone, Copy, Debug, Default)]
pub struct RecordQuery<'a> {
    /// In which this address takes part.
    pub profile: Option<IpAddr>,
    /// Of this flow; then the profile does not matter.
    pub flow: Option<&'a str>,
    /// Of this kind.
    pub kind: Option<&'a str>,
    /// At this moment or later.
    pub since: Option<PacketTime>,
    /// Before this moment.
    pub until: Option<PacketTime>,
    /// Which come first.
    pub order: Order,
}

impl Stories {
    /// A page of what was said in protocols.
    pub fn records(&self, query: &RecordQuery<'_>, page: Page<'_>) -> Result<Rows<StoredRecord>, ReadError> {
        let order = query.order;
        let (from, until) =
            (query.since.unwrap_or(PacketTime::MIN), query.until.unwrap_or(PacketTime(i64::MAX)));
        let list = (List::Records, order);
        let failed = |source| self.failed(source);
        if query.flow.is_some() || query.profile.is_some() {
            let after = page.after.map(|cursor| List::Records.position(order, cursor)).transpose()?;
            let up_to = i64::MAX;
            let ask = Ask { from, until, only: query.kind, order, limit: page.rows(), after, up_to };
            let found = match (query.flow, query.profile) {
                (Some(uid), _) => self.records_of_flow(uid, &ask),
                (None, Some(addr)) => self.records_of(addr, &ask),
                (None, None) => Ok(Found { rows: Vec::new(), after: None }),
            };
            return Ok(Rows::of(found.map_err(failed)?, List::Records, order));
        }
        if !self.has_records().map_err(failed)? {
            return Ok(Rows { rows: Vec::new(), next: None });
        }
        let mut select = Select::new(&format!("{RECORD} FROM records"));
        if from > PacketTime::MIN || until < PacketTime(i64::MAX) {
            select.and("start >= ? AND start < ?", [from.0.into(), until.0.into()]);
        }
        if let Some(kind) = query.kind {
            select.and("kind = ?", [kind.to_owned().into()]);
        }
        let between = self.between(RECORDS, from, until).map_err(failed)?;
        self.part(list, (select, "id"), between, page, record)
    }
}

/// The columns of [`record`].
pub(in crate::sqlite) const RECORD: &str =
    "id, kind, uid, start, src, src_port, dst, dst_port, proto, fields";

pub(in crate::sqlite) fn record(row: &Row<'_>) -> rusqlite::Result<StoredRecord> {
    Ok(StoredRecord {
        kind: row.get(1)?,
        uid: text(row, 2)?,
        start: time(row, 3)?,
        src: row.get(4)?,
        src_port: row.get(5)?,
        dst: row.get(6)?,
        dst_port: row.get(7)?,
        proto: row.get(8)?,
        // We wrote it; a person may have changed it.
        fields: serde_json::from_str(&text(row, 9)?).unwrap_or_default(),
    })
}
