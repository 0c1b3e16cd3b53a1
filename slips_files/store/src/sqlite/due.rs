//! Alerts between the journal and flows.sqlite: the book has each of them before anybody is told, until the database has it too. So none
//! that was told is missing after the process was killed, and a block never waits for the database.

use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::params;
use slips_core::alert::{Alert, AlertId};

use super::Blocks;
use crate::sink::StoreError;
use crate::wire::due;

/// So many are kept in the book at most, while the database takes none; then the oldest are forgotten.
const MAX_DUE: u32 = 20_000;
/// So many bytes of them.
const MAX_DUE_BYTES: i64 = 16 << 20;
/// It is looked for older ones after so many new ones, and after so many bytes: to look takes some milliseconds where there are many.
const PRUNE_EVERY: u32 = 256;
const PRUNE_EVERY_BYTES: usize = 1 << 20;
/// So many are remembered at most as filed. One that is not stays in the book until the next start.
const MAX_FILED: usize = 65_536;

/// The alerts that the database has, told by the sink that writes it to whoever keeps the book.
#[derive(Clone, Debug, Default)]
pub struct Filed(Arc<Mutex<Vec<AlertId>>>);

impl Filed {
    /// The database has these.
    pub(super) fn add(&self, alerts: impl IntoIterator<Item = AlertId>) {
        let mut filed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = MAX_FILED.saturating_sub(filed.len());
        filed.extend(alerts.into_iter().take(room));
    }

    /// Up to `most` that were not taken yet.
    pub fn take(&self, most: usize) -> Vec<AlertId> {
        let mut filed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let rest = filed.len().saturating_sub(most);
        filed.split_off(rest)
    }
}

/// What was entered since it was last looked whether it is too much.
#[derive(Debug)]
pub(super) struct Entered {
    alerts: u32,
    bytes: usize,
}

impl Default for Entered {
    /// Whoever had the book before may have left more.
    fn default() -> Self {
        Self { alerts: PRUNE_EVERY, bytes: 0 }
    }
}

/// Alerts that could not be entered.
#[derive(Debug, Default)]
pub struct Unentered {
    /// How many.
    pub alerts: usize,
    /// Why the first could not.
    pub why: Option<StoreError>,
}

impl Blocks {
    /// Enters alerts that are about to be told, each by itself: one that cannot be entered keeps out no other, and nothing else of the
    /// transaction. Where it is the disk or a lock the rest is not tried.
    ///
    /// # Errors
    /// When the database is damaged, or SQLite took all of the transaction back.
    pub fn enter_alerts(&mut self, alerts: &[&Alert]) -> Result<Unentered, StoreError> {
        let is_part = !self.db.is_autocommit();
        let mut left = Unentered::default();
        for (done, alert) in alerts.iter().enumerate() {
            let Err(error) = self.enter_alert(alert) else { continue };
            if error.is_damage() || (is_part && self.db.is_autocommit()) {
                return Err(error);
            }
            let is_last = error.is_passing();
            left.alerts += if is_last { alerts.len() - done } else { 1 };
            left.why.get_or_insert(error);
            if is_last {
                break;
            }
        }
        Ok(left)
    }

    /// Enters an alert that is about to be told. Of those that the database does not have only the newest stay.
    pub fn enter_alert(&mut self, alert: &Alert) -> Result<(), StoreError> {
        let text = due::write(alert);
        let enter = || {
            self.db
                .prepare_cached("INSERT OR IGNORE INTO alerts_due VALUES (NULL, ?, ?)")?
                .execute(params![alert.id.to_string(), text])
        };
        enter().map_err(|source| self.failed(source))?;
        self.entered.alerts = self.entered.alerts.saturating_add(1);
        self.entered.bytes = self.entered.bytes.saturating_add(text.len());
        if self.entered.alerts >= PRUNE_EVERY || self.entered.bytes >= PRUNE_EVERY_BYTES {
            self.prune_due().map_err(|source| self.failed(source))?;
            self.entered = Entered { alerts: 0, bytes: 0 };
        }
        Ok(())
    }

    /// Keeps the newest, as many as may be, and as many bytes of them.
    fn prune_due(&self) -> rusqlite::Result<()> {
        self.db
            .prepare_cached(
                "DELETE FROM alerts_due WHERE number <= (SELECT max(number) FROM alerts_due) - ?",
            )?
            .execute([MAX_DUE])?;
        self.db
            .prepare_cached(
                "DELETE FROM alerts_due WHERE number <= (SELECT max(number) FROM
                 (SELECT number, sum(octet_length(alert)) OVER (ORDER BY number DESC) AS bytes FROM alerts_due)
                 WHERE bytes > ?)",
            )?
            .execute([MAX_DUE_BYTES])
            .map(drop)
    }

    /// Up to `most` alerts that the database may not have, the oldest first, of those after the place `after` (0 is the first), and the place
    /// of the last of them; none when there are no more. What cannot be read is left out, and stays.
    pub fn alerts_due_after(&self, after: i64, most: u32) -> Result<Option<(Vec<Alert>, i64)>, StoreError> {
        let read = || -> rusqlite::Result<Option<(Vec<Alert>, i64)>> {
            let mut rows = self.db.prepare_cached(
                "SELECT number, CAST(alert AS TEXT) FROM alerts_due WHERE number > ? ORDER BY number LIMIT ?",
            )?;
            let mut rows = rows.query(params![after, most])?;
            let (mut alerts, mut last) = (Vec::new(), None);
            while let Some(row) = rows.next()? {
                last = Some(row.get(0)?);
                alerts.extend(row.get_ref(1)?.as_str().ok().and_then(due::read));
            }
            Ok(last.map(|last| (alerts, last)))
        };
        read().map_err(|source| StoreError::Sqlite { doing: "read", path: self.path().to_owned(), source })
    }

    /// All of them at once: for tests and tools.
    pub fn alerts_due(&self) -> Result<Vec<Alert>, StoreError> {
        Ok(self.alerts_due_after(0, u32::MAX)?.map(|(alerts, _)| alerts).unwrap_or_default())
    }

    /// The database has these, by now.
    pub fn alerts_filed(&mut self, alerts: &[AlertId]) -> Result<(), StoreError> {
        self.all(|book| {
            let remove = || -> rusqlite::Result<()> {
                let mut one = book.db.prepare_cached("DELETE FROM alerts_due WHERE id = ?")?;
                for id in alerts {
                    one.execute([id.to_string()])?;
                }
                Ok(())
            };
            remove().map_err(|source| book.failed(source))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::tests::{alert, evidence};

    #[test]
    fn an_alert_stays_in_the_book_until_the_database_has_it() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("blocks.sqlite");
        let mut book = Blocks::open(&path).expect("open");
        let alerts: Vec<Alert> =
            (0..3).map(|n| Alert { id: AlertId(n), ..alert(vec![evidence(n as u8)]) }).collect();
        for alert in alerts.iter().chain(&alerts) {
            book.enter_alert(alert).expect("enter");
        }
        let filed = Filed::default();
        filed.add([alerts[1].id, AlertId(99)]);
        book.alerts_filed(&filed.take(10)).expect("filed");
        assert_eq!(filed.take(10), []);
        drop(book);
        let due = Blocks::open(&path).expect("open").alerts_due().expect("due");
        assert_eq!(due.iter().map(|alert| alert.id).collect::<Vec<_>>(), [alerts[0].id, alerts[2].id]);
        assert_eq!(format!("{:?}", due[0]), format!("{:?}", alerts[0]));
    }

    #[test]
    fn the_book_keeps_no_more_than_so_many_and_one_that_cannot_be_read_hides_no_other() {
        let dir = tempfile::tempdir().expect("dir");
        let mut book = Blocks::open(dir.path().join("blocks.sqlite")).expect("open");
        book.enter_alert(&alert(Vec::new())).expect("enter");
        book.db
            .execute_batch(&format!(
                "INSERT INTO alerts_due VALUES ({}, 'x', 'of a later version')",
                MAX_DUE + 1
            ))
            .expect("insert");
        let before = Alert { id: AlertId(7), ..alert(Vec::new()) };
        // No database takes one, and so none is ever filed.
        let mut book = Blocks::open(book.path()).expect("open");
        book.enter_alert(&before).expect("enter");
        let due = book.alerts_due().expect("due");
        assert_eq!(due.iter().map(|alert| alert.id).collect::<Vec<_>>(), [before.id]);
    }

    #[test]
    fn the_book_keeps_no_more_bytes_than_so_many_and_is_read_in_pages() {
        let dir = tempfile::tempdir().expect("dir");
        let mut book = Blocks::open(dir.path().join("blocks.sqlite")).expect("open");
        let mut large = evidence(1);
        large.finding.text = "x".repeat(200_000);
        for n in 0..150 {
            book.enter_alert(&Alert { id: AlertId(n), ..alert(vec![large.clone()]) }).expect("enter");
        }
        let (mut ids, mut after) = (Vec::new(), 0);
        while let Some((page, last)) = book.alerts_due_after(after, 10).expect("page") {
            assert!(page.len() <= 10);
            ids.extend(page.iter().map(|alert| alert.id.0));
            after = last;
        }
        let most = (MAX_DUE_BYTES as usize + PRUNE_EVERY_BYTES) / 200_000 + 1;
        assert!((70..=most).contains(&ids.len()), "{}", ids.len());
        assert_eq!(ids, (150 - ids.len() as u128..150).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_filed_is_bounded_while_nobody_asks() {
        let filed = Filed::default();
        filed.add((0..MAX_FILED as u128 + 5).map(AlertId));
        assert_eq!(filed.take(100).len(), 100);
        assert_eq!(filed.take(usize::MAX).len(), MAX_FILED - 100);
    }
}
