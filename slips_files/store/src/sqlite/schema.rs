//! The layout of flows.sqlite and how older layouts become the current one.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, TransactionBehavior};

use super::{indexes, views};
use crate::sink::StoreError;

/// `SLPS`, in the file's header: whose database this is.
const APPLICATION_ID: i32 = 0x534c_5053;

/// Element n takes a database of version n to n + 1, all of them at once and before anything else: each takes no longer in a large database than
/// in a small one. What does is made later, at rest ([`super::indexes`], [`super::segments::index_older`]). Elements are only ever added.
///
/// Records of all protocols are one table with the fields as JSON, and a view for each kind, named like Zeek's log with its fields as
/// columns (see [`super::views`]): one insert, one index and one order of age for all of them, no migration for a new field, and a question
/// about an address finds its requests of DNS, HTTP and TLS in one look.
///
/// `flow_segments`, `flow_postings` and the two of records are the index of addresses: see [`super::segments`].
///
/// Times are microseconds since the Unix epoch: packet time, except `alerts.created` and all of `blocks` and `unblocks` (wall time), and `stored` (the database's own: see [`super::age`]).
/// `flow_index` finds flows by uid without an index over the uids, whose random order would cost more than the rows themselves:
/// each row holds a 4-byte fingerprint per flow, in the order of `flows.id`, for one transaction's worth of flows.
const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
    CREATE TABLE flows (
        id INTEGER PRIMARY KEY,
        uid TEXT, start INTEGER, seen INTEGER, duration INTEGER,
        src TEXT, src_port INTEGER, dst TEXT, dst_port INTEGER,
        proto TEXT, service TEXT, state TEXT, history TEXT,
        orig_pkts INTEGER, orig_bytes INTEGER, orig_ip_bytes INTEGER,
        resp_pkts INTEGER, resp_bytes INTEGER, resp_ip_bytes INTEGER, missed_bytes INTEGER,
        src_mac TEXT, dst_mac TEXT, vlan INTEGER, interface INTEGER, origin TEXT,
        label TEXT, truth_label TEXT, truth_detailed TEXT);
    CREATE TABLE flow_index (first INTEGER PRIMARY KEY, last_start INTEGER, fingerprints BLOB);
    CREATE TABLE evidence (
        id TEXT PRIMARY KEY, kind TEXT, attacker TEXT, attacker_type TEXT, victim TEXT, victim_type TEXT,
        level TEXT, confidence REAL, profile TEXT, window INTEGER, at INTEGER, last_seen INTEGER,
        proto TEXT, src_port INTEGER, dst_port INTEGER, description TEXT, related TEXT, proven INTEGER,
        count INTEGER, weight REAL, accumulated REAL, revision INTEGER);
    CREATE TABLE evidence_flows (evidence_id TEXT, uid TEXT, PRIMARY KEY (evidence_id, uid)) WITHOUT ROWID;
    CREATE TABLE alerts (
        id TEXT PRIMARY KEY, attacker TEXT, window INTEGER, window_start INTEGER, window_end INTEGER,
        at INTEGER, created INTEGER, cause TEXT, accumulated REAL, confidence REAL, level TEXT,
        proven INTEGER, in_conversation INTEGER, attacker_is_local INTEGER);
    CREATE TABLE alert_evidence (
        alert_id TEXT, position INTEGER, evidence_id TEXT, PRIMARY KEY (alert_id, position)) WITHOUT ROWID;
    CREATE TABLE blocks (
        id INTEGER PRIMARY KEY, net TEXT, reason TEXT, alert_id TEXT, source TEXT,
        \"from\" INTEGER, until INTEGER, state TEXT, applied INTEGER);
    CREATE INDEX blocks_live ON blocks (until) WHERE state = 'live';
",
    "
    ALTER TABLE blocks ADD COLUMN unproven INTEGER NOT NULL DEFAULT 0;
",
    "
    CREATE INDEX blocks_net ON blocks (net);
",
    "
    ALTER TABLE blocks ADD COLUMN manner TEXT NOT NULL DEFAULT 'drop';
    CREATE TABLE logins (addr TEXT PRIMARY KEY, last INTEGER) WITHOUT ROWID;
",
    "
    CREATE TABLE profiles (addr TEXT PRIMARY KEY, last INTEGER, facts TEXT) WITHOUT ROWID;
    CREATE INDEX profiles_last ON profiles (last);
    CREATE TABLE profile_macs (mac TEXT, addr TEXT, PRIMARY KEY (mac, addr)) WITHOUT ROWID;
",
    // In the book: alerts that were told and that flows.sqlite may not have yet, as `wire::due` writes them.
    "
    CREATE TABLE alerts_due (number INTEGER PRIMARY KEY, id TEXT UNIQUE, alert TEXT);
",
    "
    CREATE TABLE records (
        id INTEGER PRIMARY KEY, kind TEXT, uid TEXT, start INTEGER,
        src TEXT, src_port INTEGER, dst TEXT, dst_port INTEGER, proto TEXT, interface INTEGER, fields TEXT);
    CREATE TABLE flow_segments (
        first INTEGER PRIMARY KEY, last INTEGER, number INTEGER, level INTEGER, parts BLOB);
    CREATE TABLE flow_postings (id INTEGER PRIMARY KEY, postings BLOB);
    CREATE TABLE record_segments (
        first INTEGER PRIMARY KEY, last INTEGER, number INTEGER, level INTEGER, parts BLOB);
    CREATE TABLE record_postings (id INTEGER PRIMARY KEY, postings BLOB);
    CREATE TABLE unblocks (id INTEGER PRIMARY KEY, block INTEGER, net TEXT, at INTEGER, source TEXT, reason TEXT);
    CREATE INDEX unblocks_block ON unblocks (block);
",
    "
    ALTER TABLE evidence ADD COLUMN stored INTEGER;
",
    // An index, as those of evidence and alerts in earlier elements: see `indexes`.
    "",
    // When it was stored, by the database's own time: see `age`.
    "
    ALTER TABLE alerts ADD COLUMN stored INTEGER;
",
    // How many profiles there are: counting 100,000 takes milliseconds each time that somebody asks. Whoever puts a row in the place of
    // another says so (ON CONFLICT … DO UPDATE): what REPLACE takes out no trigger sees. There are 100,000 at most: they are counted at once.
    "
    INSERT OR REPLACE INTO meta SELECT 'profiles', count(*) FROM profiles;
    CREATE TRIGGER profile_comes AFTER INSERT ON profiles BEGIN
        UPDATE meta SET value = value + 1 WHERE key = 'profiles';
    END;
    CREATE TRIGGER profile_goes AFTER DELETE ON profiles BEGIN
        UPDATE meta SET value = value - 1 WHERE key = 'profiles';
    END;
",
];

/// What a connection waits for. Both leave a whole database whatever happens, and what was committed outlives the process; a power cut
/// may take the last transactions, which the system writes by itself within half a minute.
#[derive(Clone, Copy, Debug)]
pub(super) enum Durability {
    /// Not long for the other connection.
    Whole,
    /// For the other connection, and for the disk as seldom as can be: it holds back what a block in the kernel waits for.
    Process,
}

impl Durability {
    /// Pages in the journal at which a commit moves them into the database and waits for the disk. The book does that in quiet moments.
    const fn checkpoint(self) -> u32 {
        match self {
            Self::Whole => CHECKPOINT_PAGES,
            Self::Process => 4 * CHECKPOINT_PAGES,
        }
    }

    /// How long to wait for the other connection, whose transactions take some ten milliseconds. A sink can hold its records
    /// back and try again; a block cannot wait for that.
    const fn patience(self) -> Duration {
        match self {
            Self::Whole => Duration::from_millis(200),
            Self::Process => Duration::from_secs(2),
        }
    }
}

/// The current layout.
pub(super) const fn newest() -> i64 {
    MIGRATIONS.len() as i64
}

/// Opens or makes the database and brings it to the current layout.
pub(super) fn open(path: &Path, durability: Durability) -> Result<Connection, StoreError> {
    let mut db = open_with(path, durability, MIGRATIONS)?;
    views::keep(&db).and_then(|()| indexes::make_small(&mut db)).map_err(|source| StoreError::Sqlite {
        doing: "open",
        path: path.to_owned(),
        source,
    })?;
    Ok(db)
}

pub(super) fn open_with(
    path: &Path,
    durability: Durability,
    migrations: &[&str],
) -> Result<Connection, StoreError> {
    let failed = |source: rusqlite::Error| match source.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => StoreError::Foreign { path: path.to_owned() },
        _ => StoreError::Sqlite { doing: "open", path: path.to_owned(), source },
    };
    restrict(path)?;
    let mut db = Connection::open(path).map_err(failed)?;
    db.busy_timeout(durability.patience()).map_err(failed)?;
    if !is_ours(&db).map_err(failed)? {
        return Err(StoreError::Foreign { path: path.to_owned() });
    }
    db.set_prepared_statement_cache_capacity(STATEMENTS);
    let checkpoint = durability.checkpoint();
    db.execute_batch(&format!(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA temp_store = MEMORY;
         PRAGMA cache_size = -{CACHE_KIB}; PRAGMA wal_autocheckpoint = {checkpoint};
         PRAGMA journal_size_limit = {WAL_KEPT};"
    ))
    .map_err(failed)?;
    match migrate(&mut db, migrations).map_err(failed)? {
        Migrated::Current => Ok(db),
        Migrated::Newer(found) => {
            Err(StoreError::Newer { path: path.to_owned(), found, known: migrations.len() as i64 })
        }
    }
}

/// A database of an earlier layout.
#[cfg(test)]
pub(super) fn open_layout(path: &Path, layout: usize) -> Result<Connection, StoreError> {
    open_with(path, Durability::Whole, MIGRATIONS.get(..layout).unwrap_or_default())
}

enum Migrated {
    Current,
    Newer(i64),
}

fn migrate(db: &mut Connection, migrations: &[&str]) -> rusqlite::Result<Migrated> {
    // Immediate: two processes that start together must not both see version 0.
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version: i64 = tx.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let known = migrations.len() as i64;
    if version > known {
        return Ok(Migrated::Newer(version));
    }
    if version < known {
        for step in migrations.iter().skip(version.max(0) as usize) {
            tx.execute_batch(step)?;
        }
        tx.execute_batch(&format!(
            "PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {known};"
        ))?;
    }
    tx.commit()?;
    Ok(Migrated::Current)
}

/// An empty database is anybody's; one with tables must carry our mark.
pub(super) fn is_ours(db: &Connection) -> rusqlite::Result<bool> {
    let id: i32 = db.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    let tables: i64 = db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    Ok(id == APPLICATION_ID || (id == 0 && tables == 0))
}

/// SQLite makes new files by the umask, and the journal with the database's mode: make it ourselves first.
fn restrict(path: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::OpenOptionsExt;
    match std::fs::OpenOptions::new().write(true).create_new(true).mode(0o640).open(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(StoreError::io("open", path)(error))
        }
        _ => Ok(()),
    }
}

/// Statements that a connection keeps ready: all that a transaction of the sink makes use of.
const STATEMENTS: usize = 48;
/// Page cache of a connection.
const CACHE_KIB: u32 = 4096;
/// The log is copied back into the database when it has this many pages (16 MiB).
const CHECKPOINT_PAGES: u32 = 4096;
/// The log is cut to this size after a checkpoint.
const WAL_KEPT: u32 = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn version(db: &Connection) -> i64 {
        db.query_row("PRAGMA user_version", [], |row| row.get(0)).expect("version")
    }

    #[test]
    fn a_database_moves_up_step_by_step_and_keeps_its_rows() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("x.sqlite");
        const STEPS: [&str; 2] = [
            "CREATE TABLE a (x); INSERT INTO a VALUES (7);",
            "ALTER TABLE a ADD COLUMN y; UPDATE a SET y = x + 1;",
        ];
        assert_eq!(version(&open_with(&path, Durability::Whole, &STEPS[..0]).expect("empty")), 0);
        assert_eq!(version(&open_with(&path, Durability::Whole, &STEPS[..1]).expect("first")), 1);
        let db = open_with(&path, Durability::Process, &STEPS).expect("second");
        assert_eq!(version(&db), 2);
        let sum: i64 = db.query_row("SELECT x + y FROM a", [], |row| row.get(0)).expect("row");
        assert_eq!(sum, 15);
        drop(db);
        open_with(&path, Durability::Whole, &STEPS).expect("nothing to do");
        let error = open_with(&path, Durability::Whole, &STEPS[..1]).expect_err("from the future");
        assert!(matches!(error, StoreError::Newer { found: 2, known: 1, .. }), "{error:?}");
    }

    #[test]
    fn a_step_that_fails_leaves_the_old_layout() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("x.sqlite");
        open_with(&path, Durability::Whole, &["CREATE TABLE a (x);"]).expect("first");
        let broken = ["", "CREATE TABLE b (x); CREATE TABLE a (x);"];
        open_with(&path, Durability::Whole, &broken).expect_err("the table exists");
        let db = open_with(&path, Durability::Whole, &broken[..1]).expect("still the old one");
        let tables: i64 =
            db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).expect("tables");
        assert_eq!((version(&db), tables), (1, 1));
    }

    #[test]
    fn databases_and_files_of_somebody_else_are_refused() {
        let dir = tempfile::tempdir().expect("dir");
        let text = dir.path().join("text");
        std::fs::write(&text, "this is no database, and it is long enough to tell".repeat(40))
            .expect("write");
        let other = dir.path().join("other");
        Connection::open(&other).expect("open").execute_batch("CREATE TABLE x (y)").expect("table");
        for path in [text, other] {
            let error = open(&path, Durability::Whole).expect_err("foreign");
            assert!(matches!(error, StoreError::Foreign { .. }), "{error:?}");
        }
    }
}
