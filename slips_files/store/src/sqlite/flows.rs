//! Rows of the table `flows`.

use std::fmt::{self, Write as _};

use rusqlite::types::Null;
use rusqlite::{CachedStatement, Connection, ToSql};
use slips_core::flow::{ConnState, Flow, MacAddr, Origin, Proto};
use slips_core::time::Span;

use super::labels::FlowLabel;

const INSERT: &str = "INSERT INTO flows VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)";

/// Inserts flows within one transaction. SQLite keeps bound values from row to row, so what seldom changes is bound only when
/// it does.
pub(super) struct FlowWriter<'c> {
    insert: CachedStatement<'c>,
    text: String,
    proto: Option<Proto>,
    state: Option<ConnState>,
    origin: Option<Origin>,
    label: Option<FlowLabel>,
    interface: Option<u16>,
    bound: [bool; COLUMNS],
}

const COLUMNS: usize = 28;

impl<'c> FlowWriter<'c> {
    pub(super) fn new(db: &'c Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            insert: db.prepare_cached(INSERT)?,
            text: String::new(),
            proto: None,
            state: None,
            origin: None,
            label: None,
            interface: None,
            bound: [false; COLUMNS],
        })
    }

    /// One row with the given id.
    pub(super) fn insert(&mut self, id: i64, flow: &Flow, label: FlowLabel) -> rusqlite::Result<()> {
        self.bind(1, id)?;
        self.text(2, flow.uid.as_str())?;
        self.bind(3, flow.start.0)?;
        self.bind(4, flow.seen.0)?;
        self.optional(5, flow.duration.map(|Span(micros)| micros))?;
        self.shown(6, flow.src.addr)?;
        self.bind(7, flow.src.port)?;
        self.shown(8, flow.dst.addr)?;
        self.bind(9, flow.dst.port)?;
        self.text(11, flow.service.as_str())?;
        self.text(13, flow.history.as_str())?;
        let volumes = [
            flow.orig.pkts,
            flow.orig.bytes,
            flow.orig.ip_bytes,
            flow.resp.pkts,
            flow.resp.bytes,
            flow.resp.ip_bytes,
            flow.missed_bytes,
        ];
        for (column, value) in (14..).zip(volumes) {
            self.bind(column, i64::try_from(value).unwrap_or(i64::MAX))?;
        }
        self.mac(21, flow.src_mac)?;
        self.mac(22, flow.dst_mac)?;
        self.optional(23, flow.vlan)?;
        let truth = flow.truth.as_deref();
        self.text(27, truth.map_or("", |truth| &truth.label))?;
        self.text(28, truth.map_or("", |truth| &truth.detailed))?;
        self.seldom_changing(flow, label)?;
        self.insert.raw_execute().map(drop)
    }

    fn seldom_changing(&mut self, flow: &Flow, label: FlowLabel) -> rusqlite::Result<()> {
        if self.proto != Some(flow.proto) {
            self.proto = Some(flow.proto);
            self.shown(10, ProtoText(flow.proto))?;
        }
        if self.state != Some(flow.state) {
            self.state = Some(flow.state);
            self.bind(12, flow.state.name())?;
        }
        if self.interface != Some(flow.interface) {
            self.interface = Some(flow.interface);
            self.bind(24, flow.interface)?;
        }
        if self.origin != Some(flow.origin) {
            self.origin = Some(flow.origin);
            self.bind(25, origin_name(flow.origin))?;
        }
        if self.label != Some(label) {
            self.label = Some(label);
            self.bind(26, label.name())?;
        }
        Ok(())
    }

    fn bind(&mut self, column: usize, value: impl ToSql) -> rusqlite::Result<()> {
        if let Some(bound) = self.bound.get_mut(column - 1) {
            *bound = true;
        }
        self.insert.raw_bind_parameter(column, value)
    }

    /// Null, unless the column is null already.
    fn null(&mut self, column: usize) -> rusqlite::Result<()> {
        match self.bound.get_mut(column - 1) {
            Some(bound) if *bound => {
                *bound = false;
                self.insert.raw_bind_parameter(column, Null)
            }
            _ => Ok(()),
        }
    }

    fn optional(&mut self, column: usize, value: Option<impl ToSql>) -> rusqlite::Result<()> {
        match value {
            None => self.null(column),
            Some(value) => self.bind(column, value),
        }
    }

    /// Text; the empty one is null.
    fn text(&mut self, column: usize, text: &str) -> rusqlite::Result<()> {
        if text.is_empty() { self.null(column) } else { self.bind(column, text) }
    }

    fn shown(&mut self, column: usize, value: impl fmt::Display) -> rusqlite::Result<()> {
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        // Writing to a String cannot fail.
        let _ = write!(text, "{value}");
        let outcome = self.bind(column, text.as_str());
        self.text = text;
        outcome
    }

    fn mac(&mut self, column: usize, mac: Option<MacAddr>) -> rusqlite::Result<()> {
        match mac {
            None => self.null(column),
            Some(mac) => self.shown(column, mac),
        }
    }
}

/// Zeek's name, or the number of a protocol that has none.
pub(crate) struct ProtoText(pub(crate) Proto);

impl fmt::Display for ProtoText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Proto::Other(number) => number.fmt(f),
            named => named.fmt(f),
        }
    }
}

pub(super) const fn origin_name(origin: Origin) -> &'static str {
    match origin {
        Origin::Sensor => "sensor",
        Origin::Zeek => "zeek",
        Origin::Suricata => "suricata",
        Origin::Argus => "argus",
        Origin::Netflow => "netflow",
    }
}
