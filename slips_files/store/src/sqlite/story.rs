//! The story of an alert as flows.sqlite knows it: the evidence in it, the flows behind each, what was blocked.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, OpenFlags, Row, params};
use serde::Serialize;
use slips_core::addr::Net;
use slips_core::flow::Uid;
use slips_core::time::PacketTime;

use super::labels::fingerprint;
use super::schema;
use crate::render::iso;
use crate::sink::StoreError;

/// An alert with all that led to it and followed from it. Times are ISO 8601.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Story {
    /// The alert.
    pub alert: StoredAlert,
    /// Its evidence in the order in which the alert names it; the deciding one last.
    pub evidence: Vec<StoredEvidence>,
    /// What was blocked because of it, and other blocks of its attacker.
    pub blocks: Vec<StoredBlock>,
}

/// A row of `alerts`.
#[derive(Clone, Debug, PartialEq, Serialize)]
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
    /// `accumulated` or `critical`.
    pub cause: String,
    pub accumulated: f64,
    pub confidence: f64,
    pub proven: bool,
    pub in_conversation: bool,
}

/// A row of `evidence`, as it stands now: it may have grown since the alert.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[expect(missing_docs, reason = "named as in slips_core::evidence::Evidence")]
pub struct StoredEvidence {
    pub id: String,
    pub kind: String,
    pub attacker: String,
    pub victim: Option<String>,
    pub level: String,
    pub confidence: f64,
    pub count: i64,
    /// What it weighs: level, confidence and count taken together.
    pub weight: f64,
    /// The attacker's sum in the window after it.
    pub accumulated: f64,
    pub at: String,
    pub last_seen: String,
    /// Whose behaviour showed it.
    pub profile: String,
    pub proto: Option<String>,
    pub dst_port: Option<u16>,
    pub description: String,
    pub proven: bool,
    /// The flows behind it that are stored, oldest first.
    pub flows: Vec<StoredFlow>,
    /// How many flows it names; those that last still, and those beyond the limits of the database, are not stored.
    pub flows_named: usize,
}

/// A row of `flows`.
#[derive(Clone, Debug, PartialEq, Serialize)]
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
    pub orig_bytes: i64,
    pub resp_bytes: i64,
}

/// A row of `blocks`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[expect(missing_docs, reason = "named as in NewBlock")]
pub struct StoredBlock {
    pub net: String,
    pub reason: String,
    pub source: String,
    pub from: String,
    /// `None` until it is lifted.
    pub until: Option<String>,
    /// `live` or `lifted`; one whose time has passed is `live` still.
    pub state: String,
    /// Whether the kernel had it.
    pub applied: bool,
    pub manner: String,
    /// It was this alert that asked for it.
    pub by_this_alert: bool,
}

/// Reads flows.sqlite of a daemon or of an analysis; writes nothing.
pub struct Stories {
    path: PathBuf,
    pub(super) db: Connection,
}

impl Stories {
    /// Opens a database that exists.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let path = path.into();
        let failed = |source: rusqlite::Error| match source.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => StoreError::Foreign { path: path.clone() },
            _ => StoreError::Sqlite { doing: "open", path: path.clone(), source },
        };
        let db = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(failed)?;
        let version: i64 = db.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(failed)?;
        if !schema::is_ours(&db).map_err(failed)? || version == 0 {
            return Err(StoreError::Foreign { path });
        }
        if version > schema::newest() {
            return Err(StoreError::Newer { path, found: version, known: schema::newest() });
        }
        Ok(Self { path, db })
    }

    /// The database.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The alerts whose identities begin with `prefix`, the newest first; at most `most`.
    pub fn find(&self, prefix: &str, most: usize) -> Result<Vec<String>, StoreError> {
        let read = || {
            let mut rows = self.db.prepare(
                "SELECT id FROM alerts WHERE substr(id, 1, length(?1)) = lower(?1) ORDER BY rowid DESC LIMIT ?2",
            )?;
            let ids = rows.query_map(params![prefix, most as i64], |row| row.get(0))?;
            ids.collect::<rusqlite::Result<Vec<String>>>()
        };
        read().map_err(|source| self.failed(source))
    }

    /// The story of one alert; `None` when there is no such alert.
    pub fn tell(&self, id: &str) -> Result<Option<Story>, StoreError> {
        self.read(id).map_err(|source| self.failed(source))
    }

    pub(super) fn failed(&self, source: rusqlite::Error) -> StoreError {
        StoreError::Sqlite { doing: "read", path: self.path.clone(), source }
    }

    fn read(&self, id: &str) -> rusqlite::Result<Option<Story>> {
        let mut row = self.db.prepare("SELECT * FROM alerts WHERE id = ?")?;
        let Some((alert, since)) =
            row.query_map([id], |row| Ok((alert(row)?, row.get("window_start")?)))?.next().transpose()?
        else {
            return Ok(None);
        };
        let mut rows = self.db.prepare(
            "SELECT evidence.* FROM alert_evidence JOIN evidence ON evidence.id = evidence_id
             WHERE alert_id = ? ORDER BY position",
        )?;
        let mut told = rows.query_map([id], evidence)?.collect::<rusqlite::Result<Vec<_>>>()?;
        for evidence in &mut told {
            (evidence.flows, evidence.flows_named) = self.flows(&evidence.id, since)?;
        }
        let net =
            alert.attacker.parse::<Net>().map_or_else(|_| alert.attacker.clone(), |net| net.to_string());
        let mut rows = self.db.prepare("SELECT * FROM blocks WHERE alert_id = ?1 OR net = ?2 ORDER BY id")?;
        let blocks = rows.query_map(params![id, net], |row| block(row, id))?;
        Ok(Some(Story { alert, evidence: told, blocks: blocks.collect::<rusqlite::Result<_>>()? }))
    }

    /// The stored flows of an evidence, found by their fingerprints (see the schema), and how many it names.
    fn flows(&self, evidence: &str, since: i64) -> rusqlite::Result<(Vec<StoredFlow>, usize)> {
        let seed: i64 =
            self.db
                .query_row("SELECT value FROM meta WHERE key = 'flow_index_seed'", [], |row| row.get(0))?;
        let mut rows = self.db.prepare_cached("SELECT uid FROM evidence_flows WHERE evidence_id = ?")?;
        let uids = rows.query_map([evidence], |row| row.get::<_, String>(0))?;
        let mut sought = Vec::new();
        for uid in uids {
            let uid = uid?;
            sought.push((fingerprint(seed as u64, &Uid::from(uid.as_str())), uid));
        }
        sought.sort_unstable();
        let mut found = Vec::new();
        let mut row = self.db.prepare_cached("SELECT * FROM flows WHERE id = ? AND uid = ?")?;
        let mut blocks =
            self.db.prepare_cached("SELECT first, fingerprints FROM flow_index WHERE last_start >= ?")?;
        let mut blocks = blocks.query([PacketTime(since).0])?;
        while let Some(index) = blocks.next()? {
            let first: i64 = index.get(0)?;
            let prints = index.get_ref(1)?.as_blob().unwrap_or_default();
            for (id, bytes) in (first..).zip(prints.as_chunks::<4>().0) {
                let print = u32::from_le_bytes(*bytes);
                let from = sought.partition_point(|(sought, _)| *sought < print);
                for (_, uid) in sought.iter().skip(from).take_while(|(sought, _)| *sought == print) {
                    found.extend(row.query_map(params![id, uid], flow)?.next().transpose()?);
                }
            }
        }
        found.sort_by(|a, b| (&a.start, &a.uid).cmp(&(&b.start, &b.uid)));
        Ok((found, sought.len()))
    }
}

pub(super) fn time(row: &Row<'_>, column: &str) -> rusqlite::Result<String> {
    Ok(iso(PacketTime(row.get(column)?)))
}

fn alert(row: &Row<'_>) -> rusqlite::Result<StoredAlert> {
    Ok(StoredAlert {
        id: row.get("id")?,
        attacker: row.get("attacker")?,
        attacker_is_local: row.get("attacker_is_local")?,
        window: row.get("window")?,
        window_start: time(row, "window_start")?,
        window_end: time(row, "window_end")?,
        at: time(row, "at")?,
        created: time(row, "created")?,
        cause: row.get("cause")?,
        accumulated: row.get("accumulated")?,
        confidence: row.get("confidence")?,
        proven: row.get("proven")?,
        in_conversation: row.get("in_conversation")?,
    })
}

fn evidence(row: &Row<'_>) -> rusqlite::Result<StoredEvidence> {
    Ok(StoredEvidence {
        id: row.get("id")?,
        kind: row.get("kind")?,
        attacker: row.get("attacker")?,
        victim: row.get("victim")?,
        level: row.get("level")?,
        confidence: row.get("confidence")?,
        count: row.get("count")?,
        weight: row.get("weight")?,
        accumulated: row.get("accumulated")?,
        at: time(row, "at")?,
        last_seen: time(row, "last_seen")?,
        profile: row.get("profile")?,
        proto: row.get("proto")?,
        dst_port: row.get("dst_port")?,
        description: row.get("description")?,
        proven: row.get("proven")?,
        flows: Vec::new(),
        flows_named: 0,
    })
}

pub(super) fn flow(row: &Row<'_>) -> rusqlite::Result<StoredFlow> {
    let text = |column: &str| row.get::<_, Option<String>>(column).map(Option::unwrap_or_default);
    let duration: Option<i64> = row.get("duration")?;
    Ok(StoredFlow {
        uid: text("uid")?,
        start: time(row, "start")?,
        duration: duration.map(|micros| micros as f64 / 1e6),
        src: text("src")?,
        src_port: row.get("src_port")?,
        dst: text("dst")?,
        dst_port: row.get("dst_port")?,
        proto: text("proto")?,
        service: text("service")?,
        state: text("state")?,
        orig_bytes: row.get("orig_bytes")?,
        resp_bytes: row.get("resp_bytes")?,
    })
}

fn block(row: &Row<'_>, alert: &str) -> rusqlite::Result<StoredBlock> {
    let until: Option<i64> = row.get("until")?;
    let by: Option<String> = row.get("alert_id")?;
    Ok(StoredBlock {
        net: row.get("net")?,
        reason: row.get("reason")?,
        source: row.get("source")?,
        from: time(row, "from")?,
        until: until.map(|until| iso(PacketTime(until))),
        state: row.get("state")?,
        applied: row.get("applied")?,
        manner: row.get("manner")?,
        by_this_alert: by.as_deref() == Some(alert),
    })
}
