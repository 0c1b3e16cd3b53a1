//! When the book forgets: what ended so long ago by the clock on the wall, and by the time for which the book was kept ([`super::age`]). One of them
//! alone may be wrong: a clock that is set months ahead costs nobody's history, nor a person his protection.
//!
//! The second is known from marks, some twenty: what the wall said when the book was so old.

use std::time::Duration;

use rusqlite::{OptionalExtension, params};
use slips_core::time::Span;

use super::Blocks;
use super::age::Age;
use crate::sink::StoreError;

impl Blocks {
    /// Forgets blocks, unblocks and logins of longer ago than this, by both clocks at this moment; how many blocks.
    ///
    /// # Errors
    /// When the book cannot be read or written.
    pub fn forget(&mut self, history: Span, wall: i64, steady: Duration) -> Result<usize, StoreError> {
        let steady = i64::try_from(steady.as_micros()).unwrap_or(i64::MAX);
        self.all(|book| {
            let before = book.marked(history, wall, steady).map_err(|source| book.failed(source))?;
            let Some(before) = before else { return Ok(0) };
            book.forget_before(before.min(wall.saturating_sub(history.0)))
        })
    }

    /// What the wall said as long ago, by the book's own time, if that is known; leaves a mark for later.
    fn marked(&mut self, history: Span, wall: i64, steady: i64) -> rusqlite::Result<Option<i64>> {
        let mut age = match self.age {
            Some(age) => age,
            None => Age::load(&self.db, wall, steady)?,
        };
        age.save(&self.db, wall, steady, 0)?;
        self.age = Some(age);
        let now = age.now(steady);
        let newest: Option<String> = self
            .db
            .prepare_cached("SELECT key FROM meta WHERE key GLOB 'mark *' ORDER BY key DESC LIMIT 1")?
            .query_row([], |row| row.get(0))
            .optional()?;
        if newest.is_none_or(|newest| newest <= mark(now.saturating_sub(history.0 / MARKS))) {
            self.db
                .prepare_cached("INSERT OR REPLACE INTO meta VALUES (?, ?)")?
                .execute(params![mark(now), wall])?;
        }
        let then: Option<(String, i64)> = self
            .db
            .prepare_cached(
                "SELECT key, value FROM meta WHERE key GLOB 'mark *' AND key <= ? ORDER BY key DESC LIMIT 1",
            )?
            .query_row([mark(now.saturating_sub(history.0))], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let Some((key, wall)) = then else { return Ok(None) };
        self.db.prepare_cached("DELETE FROM meta WHERE key GLOB 'mark *' AND key < ?")?.execute([key])?;
        Ok(Some(wall))
    }

    /// Forgets blocks that ended before `before`, and logins; how many blocks.
    pub(super) fn forget_before(&mut self, before: i64) -> Result<usize, StoreError> {
        let delete = || {
            self.db.prepare_cached("DELETE FROM logins WHERE last < ?")?.execute([before])?;
            self.db.prepare_cached("DELETE FROM unblocks WHERE at < ?")?.execute([before])?;
            self.db.prepare_cached("DELETE FROM blocks WHERE until < ?")?.execute([before])
        };
        delete().map_err(|source| self.failed(source))
    }
}

/// The key of a mark; in their order.
fn mark(at: i64) -> String {
    format!("mark {:020}", at.max(0))
}

/// So many marks in the time that is kept.
const MARKS: i64 = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::NewBlock;

    const DAY: i64 = 86_400_000_000;
    const SET: i64 = 1_800_000_000_000_000;

    #[test]
    fn what_is_over_is_forgotten_when_both_clocks_say_so() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("blocks.sqlite");
        let mut book = Blocks::open(&path).expect("open");
        let block = NewBlock {
            net: "192.0.2.1".parse().expect("net"),
            reason: String::new(),
            alert: None,
            source: "hand".into(),
            from: SET,
            until: Some(SET + 1),
            unproven: false,
            manner: "drop".into(),
        };
        book.insert(&block).expect("insert");
        book.logged_in("192.0.2.9".parse().expect("address"), SET).expect("login");
        // Days by the steady clock, and by the wall.
        let mut forgotten = |steady: u64, wall: i64| {
            let steady = Duration::from_secs(86_400 * steady);
            book.forget(Span(30 * DAY), SET + wall * DAY, steady).expect("forget")
        };
        for (steady, wall) in [(0, 0), (1, 200), (2, 300), (3, 3), (20, -40), (29, 29), (32, 2)] {
            assert_eq!(forgotten(steady, wall), 0, "{steady} {wall}");
        }
        assert_eq!(forgotten(33, 33), 1);
        assert_eq!(book.logins(0, 9).expect("logins"), []);
        let marks = |book: &Blocks| -> i64 {
            let sql = "SELECT count(*) FROM meta WHERE key GLOB 'mark *'";
            book.db.query_row(sql, [], |row| row.get(0)).expect("marks")
        };
        for day in 34..300 {
            book.forget(Span(30 * DAY), SET + day * DAY, Duration::from_secs(86_400 * day as u64))
                .expect("forget");
            assert!(marks(&book) <= MARKS + 2, "{}", marks(&book));
        }
    }
}
