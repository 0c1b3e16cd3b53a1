//! Evidence and alerts.

use std::net::IpAddr;

use rusqlite::{Row, params};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use slips_core::evidence::MAX_UIDS;
use slips_core::time::PacketTime;

use super::counts::KindCount;
use super::rows::time;
use super::{List, Order, Page, ReadError, Rows, Select};
use crate::sqlite::story::Stories;

/// An evidence, as it stands now: it may have grown since it was first told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "named as in slips_core::evidence::Evidence")]
pub struct StoredEvidence {
    pub id: String,
    pub kind: String,
    pub attacker: String,
    /// `ip`, `domain`, `url`, `mac`, `many`.
    pub attacker_type: String,
    pub victim: Option<String>,
    pub victim_type: Option<String>,
    pub level: String,
    pub confidence: f64,
    pub count: i64,
    /// What it weighs: level, confidence and count taken together.
    pub weight: f64,
    /// The attacker's sum in the window after it.
    pub accumulated: f64,
    pub window: i64,
    pub at: String,
    pub last_seen: String,
    /// Whose behaviour showed it.
    pub profile: String,
    pub proto: Option<String>,
    pub src_port: Option<u16>,
    pub dst_port: Option<u16>,
    pub description: String,
    pub proven: bool,
    /// Other evidence that it rests on.
    pub related: Vec<String>,
    /// The flows behind it that are named.
    pub uids: Vec<String>,
}

/// An alert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "named as in slips_core::alert::Alert")]
pub struct StoredAlert {
    pub id: String,
    pub attacker: String,
    pub attacker_is_local: bool,
    pub window: i64,
    pub window_start: String,
    pub window_end: String,
    /// Packet time of the evidence that decided.
    pub at: String,
    /// Wall time at which it was written.
    pub created: String,
    /// `accumulated`, `critical` or `assisted`.
    pub cause: String,
    pub accumulated: f64,
    pub confidence: f64,
    pub level: String,
    pub proven: bool,
    pub in_conversation: bool,
}

/// An alert in a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AlertRow {
    /// The alert.
    #[serde(flatten)]
    pub alert: StoredAlert,
    /// Its evidence by kind.
    pub kinds: Vec<KindCount>,
    /// The identities of its evidence, 64 at most; [`EvidenceQuery::alert`] finds all.
    pub evidence: Vec<String>,
}

/// Which evidence.
#[derive(Clone, Debug, Default)]
pub struct EvidenceQuery {
    /// By or against this address.
    pub profile: Option<IpAddr>,
    /// In the window of this number.
    pub window: Option<i64>,
    /// Of this kind: `VERTICAL_PORT_SCAN`.
    pub kind: Option<String>,
    /// Last seen at this moment or later.
    pub since: Option<PacketTime>,
    /// First seen before this moment.
    pub until: Option<PacketTime>,
    /// Named by the alert of this identity.
    pub alert: Option<String>,
    /// Which come first.
    pub order: Order,
}

/// Which alerts.
#[derive(Clone, Copy, Debug, Default)]
pub struct AlertQuery {
    /// About this address.
    pub profile: Option<IpAddr>,
    /// In the window of this number.
    pub window: Option<i64>,
    /// Decided at this moment or later, in packet time.
    pub since: Option<PacketTime>,
    /// Decided before this moment.
    pub until: Option<PacketTime>,
    /// Which come first.
    pub order: Order,
}

impl Stories {
    /// A page of evidence.
    pub fn evidence(&self, query: &EvidenceQuery, page: Page<'_>) -> Result<Rows<StoredEvidence>, ReadError> {
        let list = (List::Evidence, query.order);
        let Some(addr) = query.profile else {
            let select = Self::evidence_of(query);
            let indexed = query.alert.is_some();
            return self
                .findings(list, (select, "evidence"), indexed, page, |row| self.with_uids(evidence(row)?));
        };
        // Each side has an index in the order of rows; together they would have to be sorted for each page.
        let addr = addr.to_string();
        let side = |condition, values: &[&String]| {
            let mut select = Self::evidence_of(query);
            select.and(condition, []);
            select.values.extend(values.iter().map(|&value| value.clone().into()));
            self.numbered(list, (select, "rowid"), page, |row| {
                Ok((row.get::<_, i64>(0)?, self.with_uids(evidence(row)?)?))
            })
        };
        let by = side("attacker = ?", &[&addr])?;
        let against = side("victim = ? AND attacker <> ?", &[&addr, &addr])?;
        let mut rows = by.rows;
        rows.extend(against.rows);
        match query.order {
            Order::Newest => rows.sort_by_key(|(number, _)| std::cmp::Reverse(*number)),
            Order::Oldest => rows.sort_by_key(|(number, _)| *number),
        }
        let more = by.next.is_some() || against.next.is_some() || rows.len() > page.rows();
        rows.truncate(page.rows());
        let last = rows.last().filter(|_| more);
        let next = last.map(|(number, _)| List::Evidence.cursor(query.order, number));
        Ok(Rows { rows: rows.into_iter().map(|(_, row)| row).collect(), next })
    }

    /// All that is asked for but whose.
    fn evidence_of(query: &EvidenceQuery) -> Select {
        let mut select = Select::new(&format!("{EVIDENCE} FROM evidence"));
        if let Some(window) = query.window {
            select.and("window = ?", [window.into()]);
        }
        if let Some(kind) = &query.kind {
            select.and("kind = ?", [kind.clone().into()]);
        }
        if let Some(since) = query.since {
            select.and("last_seen >= ?", [since.0.into()]);
        }
        if let Some(until) = query.until {
            select.and("at < ?", [until.0.into()]);
        }
        if let Some(alert) = &query.alert {
            select.and(
                "id IN (SELECT evidence_id FROM alert_evidence WHERE alert_id = ?)",
                [alert.clone().into()],
            );
        }
        select
    }

    /// A page of alerts.
    pub fn alerts(&self, query: &AlertQuery, page: Page<'_>) -> Result<Rows<AlertRow>, ReadError> {
        let mut select = Select::new(&format!("{ALERT} FROM alerts"));
        if let Some(addr) = query.profile {
            select.and("attacker = ?", [addr.to_string().into()]);
        }
        if let Some(window) = query.window {
            select.and("window = ?", [window.into()]);
        }
        if let Some(since) = query.since {
            select.and("at >= ?", [since.0.into()]);
        }
        if let Some(until) = query.until {
            select.and("at < ?", [until.0.into()]);
        }
        let indexed = query.profile.is_some();
        let list = (List::Alerts, query.order);
        self.findings(list, (select, "alerts"), indexed, page, |row| self.with_evidence(alert(row)?))
    }

    pub(in crate::sqlite) fn with_uids(
        &self,
        mut evidence: StoredEvidence,
    ) -> rusqlite::Result<StoredEvidence> {
        let mut uids =
            self.db.prepare_cached("SELECT uid FROM evidence_flows WHERE evidence_id = ? LIMIT ?")?;
        let uids = uids.query_map(params![evidence.id, MAX_UIDS as i64], |row| row.get(0))?;
        evidence.uids = uids.collect::<rusqlite::Result<_>>()?;
        Ok(evidence)
    }

    fn with_evidence(&self, alert: StoredAlert) -> rusqlite::Result<AlertRow> {
        let mut kinds = self.db.prepare_cached(
            "SELECT kind, count(*) FROM alert_evidence JOIN evidence ON evidence.id = evidence_id
             WHERE alert_id = ? GROUP BY kind ORDER BY kind",
        )?;
        let kinds = kinds.query_map([&alert.id], KindCount::of)?.collect::<rusqlite::Result<_>>()?;
        let mut ids = self.db.prepare_cached(
            "SELECT evidence_id FROM alert_evidence WHERE alert_id = ? ORDER BY position LIMIT 64",
        )?;
        let evidence =
            ids.query_map([&alert.id], |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()?;
        Ok(AlertRow { alert, kinds, evidence })
    }
}

/// The columns of [`evidence`].
pub(in crate::sqlite) const EVIDENCE: &str = "evidence.rowid, evidence.id, kind, attacker, attacker_type, victim, victim_type, level, \
    confidence, count, weight, accumulated, window, at, last_seen, profile, proto, src_port, dst_port, description, proven, related";

/// Without the flows behind it.
pub(in crate::sqlite) fn evidence(row: &Row<'_>) -> rusqlite::Result<StoredEvidence> {
    let related: Option<String> = row.get(21)?;
    Ok(StoredEvidence {
        id: row.get(1)?,
        kind: row.get(2)?,
        attacker: row.get(3)?,
        attacker_type: row.get(4)?,
        victim: row.get(5)?,
        victim_type: row.get(6)?,
        level: row.get(7)?,
        confidence: row.get(8)?,
        count: row.get(9)?,
        weight: row.get(10)?,
        accumulated: row.get(11)?,
        window: row.get(12)?,
        at: time(row, 13)?,
        last_seen: time(row, 14)?,
        profile: row.get(15)?,
        proto: row.get(16)?,
        src_port: row.get(17)?,
        dst_port: row.get(18)?,
        description: row.get(19)?,
        proven: row.get(20)?,
        related: related.iter().flat_map(|related| related.split(',')).map(str::to_owned).collect(),
        uids: Vec::new(),
    })
}

/// The columns of [`alert`].
pub(in crate::sqlite) const ALERT: &str = "rowid, id, attacker, attacker_is_local, window, window_start, window_end, at, created, \
    cause, accumulated, confidence, level, proven, in_conversation";

pub(in crate::sqlite) fn alert(row: &Row<'_>) -> rusqlite::Result<StoredAlert> {
    Ok(StoredAlert {
        id: row.get(1)?,
        attacker: row.get(2)?,
        attacker_is_local: row.get(3)?,
        window: row.get(4)?,
        window_start: time(row, 5)?,
        window_end: time(row, 6)?,
        at: time(row, 7)?,
        created: time(row, 8)?,
        cause: row.get(9)?,
        accumulated: row.get(10)?,
        confidence: row.get(11)?,
        level: row.get(12)?,
        proven: row.get(13)?,
        in_conversation: row.get(14)?,
    })
}
