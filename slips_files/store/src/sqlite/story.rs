//! The story of an alert as flows.sqlite knows it: the evidence in it, the flows behind each, what was blocked.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, params};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use slips_core::addr::Net;
use slips_core::flow::Uid;
use slips_core::time::PacketTime;

use super::labels::fingerprint;
use super::read::{
    ALERT, EVIDENCE, FLOW, List, Order, Page, ReadError, StoredAlert, StoredBlock, StoredEvidence,
    StoredFlow, alert, evidence, flow,
};
use super::schema;
use crate::sink::StoreError;

/// An alert with all that led to it and followed from it. Times are ISO 8601.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Story {
    /// The alert.
    pub alert: StoredAlert,
    /// A page of its evidence in the order in which the alert names it; the deciding one is the last of all.
    pub evidence: Vec<ToldEvidence>,
    /// How much evidence it names.
    pub evidence_named: u64,
    /// Where the next page of its evidence begins; `None` when there was no more.
    pub next: Option<String>,
    /// What was blocked because of it, and other blocks of its attacker.
    pub blocks: Vec<StoredBlock>,
}

/// An evidence of an alert, with what is stored of the flows behind it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ToldEvidence {
    /// The evidence, as it stands now: it may have grown since the alert.
    #[serde(flatten)]
    pub evidence: StoredEvidence,
    /// The flows behind it that are stored, oldest first.
    pub flows: Vec<StoredFlow>,
    /// How many flows it names; those that last still, and those beyond the limits of the database, are not stored.
    pub flows_named: usize,
}

/// A page of a story ends before the evidence with which it would name more flows than this, if it is not the first: a thousand that name all they may are 64,000 flows.
const FLOWS_TOLD: usize = 2_000;

/// Reads flows.sqlite of a daemon or of an analysis; writes nothing.
pub struct Stories {
    path: PathBuf,
    pub(crate) db: Connection,
}

impl Stories {
    /// Opens a database that exists.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let path = path.into();
        let (db, version) = connect(&path).map_err(|source| match source.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => StoreError::Foreign { path: path.clone() },
            _ => StoreError::Sqlite { doing: "open", path: path.clone(), source },
        })?;
        if version == 0 {
            return Err(StoreError::Foreign { path });
        }
        if version > schema::newest() {
            return Err(StoreError::Newer { path, found: version, known: schema::newest() });
        }
        Ok(Self { path, db })
    }

    /// Ends what is read at that moment, from another thread; it fails then. See [`StoreError::is_interrupted`].
    pub fn interrupter(&self) -> impl Fn() + Send + Sync + use<> {
        let handle = self.db.get_interrupt_handle();
        move || handle.interrupt()
    }

    /// The database.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The alerts whose identities begin with `prefix`, the newest first; at most `most`.
    pub fn find(&self, prefix: &str, most: usize) -> Result<Vec<String>, StoreError> {
        let read = || {
            // An identity is made of hexadecimal digits and of what comes before these.
            let mut rows = self.db.prepare(
                "SELECT id FROM alerts WHERE id >= lower(?1) AND id < lower(?1) || 'g' ORDER BY rowid DESC LIMIT ?2",
            )?;
            let ids = rows.query_map(params![prefix, most as i64], |row| row.get(0))?;
            ids.collect::<rusqlite::Result<Vec<String>>>()
        };
        read().map_err(|source| self.failed(source))
    }

    /// The story of one alert with a page of its evidence; `None` when there is no such alert.
    pub fn tell(&self, id: &str, page: Page<'_>) -> Result<Option<Story>, ReadError> {
        let after = page.after.map(|cursor| List::Told.position(Order::Oldest, cursor)).transpose()?;
        let read = self.read(id, after, page.rows());
        let Some(mut story) = read.map_err(|source| self.failed(source))? else { return Ok(None) };
        let attacker = &story.alert.attacker;
        let net = attacker.parse::<Net>().map_or_else(|_| attacker.clone(), |net| net.to_string());
        story.blocks = self.blocks_of(id, &net)?;
        Ok(Some(story))
    }

    pub(crate) fn failed(&self, source: rusqlite::Error) -> StoreError {
        StoreError::Sqlite { doing: "read", path: self.path.clone(), source }
    }

    fn read(&self, id: &str, after: Option<i64>, most: usize) -> rusqlite::Result<Option<Story>> {
        let mut row =
            self.db.prepare_cached(&format!("SELECT {ALERT}, window_start FROM alerts WHERE id = ?"))?;
        let Some((alert, since)) =
            row.query_row([id], |row| Ok((alert(row)?, row.get::<_, i64>("window_start")?))).optional()?
        else {
            return Ok(None);
        };
        let named = "SELECT count(*) FROM alert_evidence WHERE alert_id = ?";
        let named: i64 = self.db.prepare_cached(named)?.query_row([id], |row| row.get(0))?;
        // One more than asked for tells whether there is more.
        let mut rows = self.db.prepare_cached(&format!(
            "SELECT {EVIDENCE}, position FROM alert_evidence JOIN evidence ON evidence.id = evidence_id
             WHERE alert_id = ? AND position > ? ORDER BY position LIMIT ?"
        ))?;
        let rows = rows.query_map(params![id, after.unwrap_or(-1), (most + 1) as i64], |row| {
            Ok((row.get::<_, i64>("position")?, self.with_uids(evidence(row)?)?))
        })?;
        let mut found = rows.collect::<rusqlite::Result<Vec<_>>>()?;
        let named_by = |sum: &mut usize, (_, evidence): &(i64, StoredEvidence)| {
            *sum = sum.saturating_add(evidence.uids.len());
            Some(*sum)
        };
        let fits = found.iter().scan(0, named_by).take_while(|flows| *flows <= FLOWS_TOLD).count();
        let fits = fits.max(1).min(most);
        let more = found.len() > fits;
        found.truncate(fits);
        let next = found.last().filter(|_| more).map(|(at, _)| List::Told.cursor(Order::Oldest, at));
        let found: Vec<StoredEvidence> = found.into_iter().map(|(_, evidence)| evidence).collect();
        let flows = self.flows_named(found.iter().flat_map(|evidence| &evidence.uids), PacketTime(since))?;
        let told = found.into_iter().map(|evidence| {
            let mut flows: Vec<StoredFlow> =
                evidence.uids.iter().filter_map(|uid| flows.get(uid)).flatten().cloned().collect();
            flows.sort_by(|a, b| (&a.start, &a.uid).cmp(&(&b.start, &b.uid)));
            ToldEvidence { flows, flows_named: evidence.uids.len(), evidence }
        });
        let evidence_named = named.unsigned_abs();
        Ok(Some(Story { alert, evidence: told.collect(), evidence_named, next, blocks: Vec::new() }))
    }

    /// The stored flows of these names that began at `since` or later, by their names: one pass over the fingerprints (see the schema).
    fn flows_named<'a>(
        &self,
        uids: impl Iterator<Item = &'a String>,
        since: PacketTime,
    ) -> rusqlite::Result<HashMap<String, Vec<StoredFlow>>> {
        let seed = "SELECT value FROM meta WHERE key = 'flow_index_seed'";
        let seed: i64 = self.db.query_row(seed, [], |row| row.get(0))?;
        let mut sought: Vec<(u32, &str)> =
            uids.map(|uid| (fingerprint(seed as u64, &Uid::from(uid.as_str())), uid.as_str())).collect();
        sought.sort_unstable();
        sought.dedup();
        let mut found: HashMap<String, Vec<StoredFlow>> = HashMap::new();
        let mut row =
            self.db.prepare_cached(&format!("SELECT {FLOW} FROM flows WHERE id = ? AND uid = ?"))?;
        let mut blocks =
            self.db.prepare_cached("SELECT first, fingerprints FROM flow_index WHERE last_start >= ?")?;
        let mut blocks = blocks.query([since.0])?;
        while let Some(index) = blocks.next()? {
            let first: i64 = index.get(0)?;
            let prints = index.get_ref(1)?.as_blob().unwrap_or_default();
            for (id, bytes) in (first..).zip(prints.as_chunks::<4>().0) {
                let print = u32::from_le_bytes(*bytes);
                let from = sought.partition_point(|(sought, _)| *sought < print);
                for (_, uid) in sought.iter().skip(from).take_while(|(sought, _)| *sought == print) {
                    let flow = row.query_row(params![id, uid], flow).optional()?;
                    found.entry((*uid).to_owned()).or_default().extend(flow);
                }
            }
        }
        Ok(found)
    }
}

/// Opens a database to read; the second is its layout, 0 where it is none of ours.
fn connect(path: &Path) -> rusqlite::Result<(Connection, i64)> {
    open_to_read(path, |db| {
        let version = db.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        Ok(if schema::is_ours(db)? { version } else { 0 })
    })
}

/// Opens a database that is there, where nothing may be written too; with what the first look at it told.
pub(super) fn open_to_read<T>(
    path: &Path,
    look: impl Fn(&Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<(Connection, T)> {
    let look = |db: Connection| look(&db).map(|seen| (db, seen));
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
    let opened = Connection::open_with_flags(path, flags).and_then(look);
    let Err(error) = opened else { return opened };
    // Whoever may read the file and not write beside it cannot take part in the journal's locks. Where there is no journal nobody writes.
    let is_shut = matches!(error.sqlite_error_code(), Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly));
    let mut journal = path.as_os_str().to_owned();
    journal.push("-wal");
    if !is_shut || !path.is_file() || Path::new(&journal).exists() {
        return Err(error);
    }
    Connection::open_with_flags(unchanging(path), flags | OpenFlags::SQLITE_OPEN_URI).and_then(look)
}

/// The name of a file for SQLite that says that nobody changes it.
fn unchanging(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    let mut name = String::from("file:");
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => {
                name.push(char::from(*byte))
            }
            // Writing to a String cannot fail.
            other => drop(write!(name, "%{other:02x}")),
        }
    }
    name + "?immutable=1"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_beside_which_nothing_may_be_written_is_read_by_any_name() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("a b?c#%41.sqlite");
        drop(schema::open(&path, schema::Durability::Whole).expect("made"));
        let db = Connection::open_with_flags(
            unchanging(&path),
            OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI,
        );
        let version: i64 =
            db.expect("opened").query_row("PRAGMA user_version", [], |row| row.get(0)).expect("its layout");
        assert_eq!(version, schema::newest());
        assert_eq!(connect(&path).expect("opened").1, schema::newest());
    }
}
