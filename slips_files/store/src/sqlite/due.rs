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

impl Blocks {
    /// Enters an alert that is about to be told.
    pub fn enter_alert(&mut self, alert: &Alert) -> Result<(), StoreError> {
        let enter = || {
            self.db
                .prepare_cached("INSERT OR IGNORE INTO alerts_due VALUES (NULL, ?, ?)")?
                .execute(params![alert.id.to_string(), due::write(alert)])
        };
        enter().map(drop).map_err(|source| self.failed(source))
    }

    /// The alerts that the database may not have, the oldest first. What cannot be read is left out, and stays.
    pub fn alerts_due(&self) -> Result<Vec<Alert>, StoreError> {
        let read = || -> rusqlite::Result<Vec<Alert>> {
            let mut rows = self.db.prepare("SELECT alert FROM alerts_due ORDER BY number")?;
            let alerts = rows.query_map([], |row| row.get::<_, String>(0))?;
            let alerts: Vec<String> = alerts.collect::<rusqlite::Result<_>>()?;
            Ok(alerts.iter().filter_map(|text| due::read(text)).collect())
        };
        read().map_err(|source| StoreError::Sqlite { doing: "read", path: self.path().to_owned(), source })
    }

    /// The database has these, by now. Of those that it does not have only the newest stay.
    pub fn alerts_filed(&mut self, alerts: &[AlertId]) -> Result<(), StoreError> {
        self.all(|book| {
            let remove = || -> rusqlite::Result<()> {
                let mut one = book.db.prepare_cached("DELETE FROM alerts_due WHERE id = ?")?;
                for id in alerts {
                    one.execute([id.to_string()])?;
                }
                book.db
                    .prepare_cached(
                        "DELETE FROM alerts_due WHERE number <= (SELECT max(number) FROM alerts_due) - ?",
                    )?
                    .execute([MAX_DUE])
                    .map(drop)
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
        book.enter_alert(&before).expect("enter");
        assert_eq!(book.alerts_due().expect("due").len(), 2);
        book.alerts_filed(&[]).expect("filed");
        let due = book.alerts_due().expect("due");
        assert_eq!(due.iter().map(|alert| alert.id).collect::<Vec<_>>(), [before.id]);
    }

    #[test]
    fn what_is_filed_is_bounded_while_nobody_asks() {
        let filed = Filed::default();
        filed.add((0..MAX_FILED as u128 + 5).map(AlertId));
        assert_eq!(filed.take(100).len(), 100);
        assert_eq!(filed.take(usize::MAX).len(), MAX_FILED - 100);
    }
}
