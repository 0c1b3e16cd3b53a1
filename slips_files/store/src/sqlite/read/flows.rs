//! Flows.

use std::net::IpAddr;

use rusqlite::Row;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use slips_core::time::PacketTime;

use super::rows::{text, time};
use super::{List, Order, Page, ReadError, Rows, Select};
use crate::sqlite::found::Ask;
use crate::sqlite::labels::FlowLabel as Label;
use crate::sqlite::segments::FLOWS;
use crate::sqlite::story::Stories;

/// A flow that ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "named as in slips_core::flow::Flow")]
pub struct StoredFlow {
    pub uid: String,
    pub start: String,
    /// Seconds.
    pub duration: Option<f64>,
    pub src: String,
    pub src_port: u16,
    pub dst: String,
    pub dst_port: u16,
    pub proto: String,
    pub service: String,
    pub state: String,
    pub history: String,
    pub orig_pkts: i64,
    pub orig_bytes: i64,
    pub orig_ip_bytes: i64,
    pub resp_pkts: i64,
    pub resp_bytes: i64,
    pub resp_ip_bytes: i64,
    pub missed_bytes: i64,
    pub src_mac: Option<String>,
    pub dst_mac: Option<String>,
    pub vlan: Option<u16>,
    /// Its number, as the system counts.
    pub interface: u16,
    /// Who made the flow: `sensor`, `zeek`, `suricata`, `argus`, `netflow`.
    pub origin: String,
    /// `malicious` if an alert names it, else `benign`.
    pub label: String,
    /// The label that the input had.
    pub truth_label: Option<String>,
    /// What the input said beside its label.
    pub truth_detailed: Option<String>,
}

/// What an alert makes of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words say it")]
pub enum FlowLabel {
    Benign,
    Malicious,
}

impl FlowLabel {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Benign => Label::Benign.name(),
            Self::Malicious => Label::Malicious.name(),
        }
    }
}

/// Which flows.
#[derive(Clone, Copy, Debug, Default)]
pub struct FlowQuery {
    /// From or to this address.
    pub profile: Option<IpAddr>,
    /// That began at this moment or later.
    pub since: Option<PacketTime>,
    /// That began before this moment.
    pub until: Option<PacketTime>,
    /// With this label.
    pub label: Option<FlowLabel>,
    /// Which come first. They are written when they end.
    pub order: Order,
    /// None that was written after this one: [`Stories::last_flow`].
    pub up_to: Option<i64>,
}

impl Stories {
    /// A page of flows.
    pub fn flows(&self, query: &FlowQuery, page: Page<'_>) -> Result<Rows<StoredFlow>, ReadError> {
        let order = query.order;
        let label = query.label.map(FlowLabel::name);
        let (from, until) =
            (query.since.unwrap_or(PacketTime::MIN), query.until.unwrap_or(PacketTime(i64::MAX)));
        let up_to = query.up_to.unwrap_or(i64::MAX);
        if let Some(addr) = query.profile {
            let after = page.after.map(|cursor| List::Flows.position(order, cursor)).transpose()?;
            let ask = Ask { from, until, only: label, order, limit: page.rows(), after, up_to };
            let found = self.flows_of(addr, &ask).map_err(|source| self.failed(source))?;
            return Ok(Rows::of(found, List::Flows, order));
        }
        let mut select = Select::new(&format!("{FLOW} FROM flows"));
        if from > PacketTime::MIN || until < PacketTime(i64::MAX) {
            select.and("start >= ? AND start < ?", [from.0.into(), until.0.into()]);
        }
        if let Some(label) = label {
            select.and("label = ?", [label.to_owned().into()]);
        }
        let (low, high) = self.between(FLOWS, from, until).map_err(|source| self.failed(source))?;
        self.part((List::Flows, order), (select, "id"), (low, high.min(up_to)), page, flow)
    }

    /// The flow that was written last: where a reader stops who wants to come to an end.
    pub fn last_flow(&self) -> Result<i64, ReadError> {
        let last = self.db.query_row("SELECT coalesce(max(id), 0) FROM flows", [], |row| row.get(0));
        last.map_err(|source| self.failed(source).into())
    }
}

/// The columns of [`flow`].
pub(in crate::sqlite) const FLOW: &str = "id, uid, start, duration, src, src_port, dst, dst_port, proto, service, state, history, \
    orig_pkts, orig_bytes, orig_ip_bytes, resp_pkts, resp_bytes, resp_ip_bytes, missed_bytes, \
    src_mac, dst_mac, vlan, interface, origin, label, truth_label, truth_detailed";

pub(in crate::sqlite) fn flow(row: &Row<'_>) -> rusqlite::Result<StoredFlow> {
    let duration: Option<i64> = row.get(3)?;
    Ok(StoredFlow {
        uid: text(row, 1)?,
        start: time(row, 2)?,
        duration: duration.map(|micros| micros as f64 / 1e6),
        src: text(row, 4)?,
        src_port: row.get(5)?,
        dst: text(row, 6)?,
        dst_port: row.get(7)?,
        proto: text(row, 8)?,
        service: text(row, 9)?,
        state: text(row, 10)?,
        history: text(row, 11)?,
        orig_pkts: row.get(12)?,
        orig_bytes: row.get(13)?,
        orig_ip_bytes: row.get(14)?,
        resp_pkts: row.get(15)?,
        resp_bytes: row.get(16)?,
        resp_ip_bytes: row.get(17)?,
        missed_bytes: row.get(18)?,
        src_mac: row.get(19)?,
        dst_mac: row.get(20)?,
        vlan: row.get(21)?,
        interface: row.get(22)?,
        origin: text(row, 23)?,
        label: text(row, 24)?,
        truth_label: row.get(25)?,
        truth_detailed: row.get(26)?,
    })
}
