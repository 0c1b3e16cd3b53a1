//! Indexes of SQLite's own over evidence and alerts. They are no part of a layout's steps: to make one over a million rows takes seconds, for
//! which a daemon would not be ready. A database with few rows has them at once, a large one of an earlier version gets them one by one at
//! rest, each in a transaction of its own: a process that is killed in between goes on where it was. Until then questions read more rows.

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

/// Name, table, and what it is.
const ALL: [(&str, &str, &str); 8] = [
    ("evidence_victim", "evidence", "CREATE INDEX evidence_victim ON evidence (victim)"),
    ("evidence_attacker", "evidence", "CREATE INDEX evidence_attacker ON evidence (attacker, window)"),
    ("evidence_profile", "evidence", "CREATE INDEX evidence_profile ON evidence (profile, window)"),
    ("evidence_at", "evidence", "CREATE INDEX evidence_at ON evidence (at)"),
    // In the order of their rows: a page of an address is read without sorting all of it.
    ("evidence_by", "evidence", "CREATE INDEX evidence_by ON evidence (attacker)"),
    ("alerts_attacker", "alerts", "CREATE INDEX alerts_attacker ON alerts (attacker, window)"),
    ("alerts_at", "alerts", "CREATE INDEX alerts_at ON alerts (at)"),
    ("alert_evidence_of", "alert_evidence", "CREATE INDEX alert_evidence_of ON alert_evidence (evidence_id)"),
];

/// Makes those that are missing over tables of few rows.
pub(super) fn make_small(db: &mut Connection) -> rusqlite::Result<()> {
    for index in missing(db)? {
        let sql = format!("SELECT count(*) FROM (SELECT 1 FROM {} LIMIT ?)", index.1);
        let rows: i64 = db.query_row(&sql, [FEW + 1], |row| row.get(0))?;
        if rows <= FEW {
            make(db, index)?;
        }
    }
    Ok(())
}

/// Makes one that is missing; whether there was one. What is sorted for it, some hundred bytes a row, is put beside in files where there is a
/// place for them: memory is what a small router has least of.
pub(super) fn make_one(db: &mut Connection) -> rusqlite::Result<bool> {
    let Some(index) = missing(db)?.into_iter().next() else { return Ok(false) };
    db.execute_batch("PRAGMA temp_store = FILE")?;
    let made = make(db, index);
    db.execute_batch("PRAGMA temp_store = MEMORY")?;
    match made {
        Err(error) if has_no_place(&error) => make(db, index)?,
        made => made?,
    }
    Ok(true)
}

/// Whether SQLite found no directory for a file, or no room there.
fn has_no_place(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{CannotOpen, DiskFull, SystemIoFailure};
    matches!(error.sqlite_error_code(), Some(CannotOpen | DiskFull | SystemIoFailure))
}

/// Those that are not there, or that an earlier version made otherwise.
fn missing(db: &Connection) -> rusqlite::Result<Vec<(&'static str, &'static str, &'static str)>> {
    let mut known = db.prepare_cached("SELECT sql FROM sqlite_schema WHERE type = 'index' AND name = ?")?;
    let mut missing = Vec::new();
    for index in ALL {
        let known: Option<String> = known.query_row([index.0], |row| row.get(0)).optional()?;
        if known.as_deref() != Some(index.2) {
            missing.push(index);
        }
    }
    Ok(missing)
}

fn make(db: &mut Connection, (name, _, sql): (&str, &str, &str)) -> rusqlite::Result<()> {
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    tx.execute_batch(&format!("DROP INDEX IF EXISTS {name}; {sql}"))?;
    tx.commit()
}

/// An index over so many rows is made at once: some ten milliseconds.
const FEW: i64 = 10_000;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::sink::RecordSink;
    use crate::sqlite::schema;
    use crate::sqlite::{Damaged, Sqlite, SqliteLimits, Stories};
    use crate::wire::tests::clock;

    fn old(path: &Path) {
        schema::open_layout(path, 5)
            .expect("layout 5")
            .execute_batch(
                "CREATE INDEX evidence_victim ON evidence (victim);
                 CREATE INDEX evidence_attacker ON evidence (attacker);
                 CREATE INDEX alerts_attacker ON alerts (attacker);
                 WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 10001)
                 INSERT INTO evidence (id, kind, attacker, level, confidence, weight, accumulated, window, at, last_seen, profile)
                     SELECT 'e' || n, 'K', '192.0.2.' || (n % 250), 'high', 1.0, 1.0, 1.0, 7, n, n, '192.0.2.1' FROM n;
                 INSERT INTO alerts (id, attacker) VALUES ('a', '192.0.2.1');",
            )
            .expect("rows");
    }

    fn made(path: &Path) -> usize {
        ALL.len() - missing(&Connection::open(path).expect("open")).expect("missing").len()
    }

    #[test]
    fn a_large_old_database_is_there_at_once_and_gets_its_indexes_at_rest_over_kills() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("flows.sqlite");
        old(&path);
        let asked = || {
            let addr = "192.0.2.7".parse().expect("address");
            let profile = Stories::open(&path).expect("reader").profile(addr).expect("read").expect("known");
            profile.evidence[0].iter().map(|brief| brief.count).sum::<u64>()
        };
        let before = asked();
        let mut told = Vec::new();
        while told.last() != Some(&ALL.len()) {
            // Each process is gone after two turns.
            let mut sink = Sqlite::open(&path, SqliteLimits::default(), clock).expect("moved up");
            told.push(made(&path));
            for _ in 0..2 {
                sink.flush().expect("flush");
            }
            assert_eq!(asked(), before);
            told.push(made(&path));
        }
        // That of victims is as it was; those of alerts, which are few, are there at once.
        assert_eq!(told, [4, 6, 6, 8]);
        drop(Sqlite::open(dir.path().join("new.sqlite"), SqliteLimits::default(), clock).expect("made"));
        assert_eq!(made(&dir.path().join("new.sqlite")), ALL.len());
    }

    #[test]
    fn an_old_database_that_cannot_be_written_at_the_start_is_moved_up_when_it_can_be() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("flows.sqlite");
        old(&path);
        let other = Connection::open(&path).expect("open");
        other.execute_batch("BEGIN IMMEDIATE").expect("lock");
        Sqlite::open(&path, SqliteLimits::default(), clock)
            .map(drop)
            .expect_err("an analysis is told at once");
        let mut sink = Sqlite::open_with(&path, SqliteLimits::default(), clock, Damaged::PutAside)
            .expect("a daemon watches on");
        let alert = crate::wire::tests::alert(Vec::new());
        sink.accept(&[slips_core::record::Record::Alert(std::sync::Arc::new(alert))]).expect("held");
        for _ in 0..3 {
            let error = sink.flush().expect_err("it is locked");
            assert!(error.is_busy(), "{error}");
        }
        other.execute_batch("ROLLBACK").expect("unlock");
        sink.flush().expect("moved up");
        let version: i64 = other.query_row("PRAGMA user_version", [], |row| row.get(0)).expect("version");
        let alerts: i64 =
            other.query_row("SELECT count(*) FROM alerts", [], |row| row.get(0)).expect("alerts");
        assert_eq!((version, alerts, sink.lost()), (schema::newest(), 2, 0));
    }
}
