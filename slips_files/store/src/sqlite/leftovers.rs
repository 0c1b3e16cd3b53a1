//! Alerts that stay in the book although the database has them, or should have them: what went wrong between the two mends itself, also
//! while the daemon runs. It is looked once a minute, at rest, a page a second.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, params};
use slips_core::alert::{Alert, AlertId};

use super::story;
use crate::wire::due;

/// See the module.
pub(super) struct Leftovers {
    book: PathBuf,
    /// Looks that pass until the next page is read.
    rest: u32,
    /// The row of the book that was read last.
    after: i64,
    /// Whom the database did not have in this round, and in the one before it: they may just have been on their way.
    absent: [HashSet<AlertId>; 2],
    /// Who was handed over again: once in a run, since one that the database does not take would come each time.
    given: HashSet<AlertId>,
}

/// A page of the book.
#[derive(Default)]
pub(super) struct Page {
    /// The database has these.
    pub(super) filed: Vec<AlertId>,
    /// It has lost these.
    pub(super) lost: Vec<Alert>,
}

impl Leftovers {
    pub(super) fn of(book: PathBuf) -> Self {
        Self { book, rest: 0, after: 0, absent: Default::default(), given: HashSet::new() }
    }

    /// One look, with the database; `None` when it is not yet time.
    pub(super) fn look(&mut self, db: &Connection) -> rusqlite::Result<Option<Page>> {
        if self.rest > 0 {
            self.rest -= 1;
            return Ok(None);
        }
        // Whoever keeps the book tells when it cannot be read.
        let rows = read(&self.book, self.after).unwrap_or_default();
        let Some((last, _, _)) = rows.last() else {
            (self.rest, self.after) = (ROUND, 0);
            self.absent.swap(0, 1);
            self.absent[0].clear();
            return Ok(None);
        };
        self.after = *last;
        let mut page = Page::default();
        let mut has = db.prepare_cached("SELECT 1 FROM alerts WHERE id = ?")?;
        for (_, name, text) in rows {
            let Some(id) = due::number(&name).map(AlertId) else { continue };
            if has.exists(params![name])? {
                page.filed.push(id);
            } else if !self.absent[1].contains(&id) {
                self.absent[0].insert(id);
            } else if self.given.len() < MOST_GIVEN && self.given.insert(id) {
                page.lost.extend(due::read(&text));
            }
        }
        Ok(Some(page))
    }
}

fn read(book: &Path, after: i64) -> rusqlite::Result<Vec<(i64, String, String)>> {
    let sql = "SELECT number, CAST(id AS TEXT), CAST(alert AS TEXT) FROM alerts_due WHERE number > ? ORDER BY number LIMIT ?";
    let (_, rows) = story::open_to_read(book, |db| {
        let mut select = db.prepare(sql)?;
        let rows =
            select.query_map(params![after, PAGE], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        rows.collect::<rusqlite::Result<Vec<_>>>()
    })?;
    Ok(rows)
}

/// Looks between two rounds: a flush each, about a second.
const ROUND: u32 = 60;
/// Alerts of a page; each is as large as its evidence.
const PAGE: u32 = 128;
/// So many are handed over again at most.
const MOST_GIVEN: usize = 20_000;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use slips_core::record::Record;

    use crate::sink::RecordSink;
    use crate::sqlite::{Blocks, Filed, Sqlite, SqliteLimits};
    use crate::wire::tests::{alert, clock, evidence};

    use super::*;

    fn numbered(n: u128) -> Alert {
        Alert { id: AlertId(n), ..alert(vec![evidence(n as u8)]) }
    }

    #[test]
    fn an_alert_that_was_left_in_the_book_leaves_it_and_one_that_never_came_is_filed() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("blocks.sqlite");
        let mut book = Blocks::open(&path).expect("book");
        let (filed, flows) = (Filed::default(), dir.path().join("flows.sqlite"));
        let mut sink = Sqlite::open(&flows, SqliteLimits::default(), clock)
            .expect("open")
            .telling(filed.clone())
            .beside(path);
        // The database has the first before the book does, and never hears of the second.
        sink.accept(&[Record::Alert(Arc::new(numbered(1)))]).expect("accept");
        sink.flush().expect("flush");
        book.alerts_filed(&filed.take(9)).expect("filed");
        for n in [1, 2] {
            book.enter_alert(&numbered(n)).expect("enter");
        }
        let mut told = Vec::new();
        for flush in 0..3 * (ROUND + 3) {
            sink.flush().expect("flush");
            let now = filed.take(9);
            book.alerts_filed(&now).expect("filed");
            told.extend(now.into_iter().map(|id| (flush / ROUND, id.0)));
        }
        assert_eq!(book.alerts_due().expect("due").len(), 0, "{told:?}");
        assert_eq!(
            told,
            [(1, 1), (2, 2)],
            "in the next look, and in the third after one in which it may have been on its way"
        );
        let db = Connection::open(&flows).expect("open");
        let kept: i64 = db.query_row("SELECT count(*) FROM alerts", [], |row| row.get(0)).expect("alerts");
        assert_eq!(kept, 2);
    }

    #[test]
    fn one_that_the_database_refuses_is_lost_alone_and_tried_once_more_in_a_run() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("blocks.sqlite");
        let mut book = Blocks::open(&path).expect("book");
        let flows = dir.path().join("flows.sqlite");
        let mut sink = Sqlite::open(&flows, SqliteLimits::default(), clock).expect("open").beside(path);
        let db = Connection::open(&flows).expect("open");
        db.execute_batch(&format!(
            "CREATE TRIGGER refuse BEFORE INSERT ON alerts WHEN new.id = '{}' BEGIN SELECT RAISE(ABORT, 'no'); END",
            AlertId(5)
        ))
        .expect("trigger");
        book.enter_alert(&numbered(5)).expect("enter");
        let records: Vec<Record> = (0..20).map(|n| Record::Alert(Arc::new(numbered(n)))).collect();
        sink.accept(&records).expect("accept");
        sink.flush().expect_err("one is refused");
        sink.flush().expect("the others are not");
        let count =
            || db.query_row("SELECT count(*) FROM alerts", [], |row| row.get::<_, i64>(0)).expect("rows");
        assert_eq!((count(), sink.lost()), (19, 1));
        let refused = (0..4 * (ROUND + 3)).filter(|_| sink.flush().is_err()).count();
        assert_eq!((refused, sink.lost(), count()), (1, 2, 19));
        assert_eq!(book.alerts_due().expect("due").len(), 1, "it is not forgotten");
    }
}
