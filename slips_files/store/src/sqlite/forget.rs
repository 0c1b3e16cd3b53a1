//! When the book forgets: what ended so long ago by the clock on the wall, and by the time for which the book was kept ([`super::age`]). One of them
//! alone may be wrong: a clock that is set months ahead costs nobody's history, nor a person his protection. And of what is over so many at
//! most are kept: whoever forges senders has as many blocks entered as he likes.
//!
//! The second is known from marks, some twenty: what the wall said when the book was so old.
//!
//! It goes through the book in rounds, the oldest rows first and some at a time: a block may come meanwhile.

use std::time::Duration;

use rusqlite::{OptionalExtension, params};
use slips_core::time::Span;

use super::Blocks;
use super::age::Age;
use crate::sink::StoreError;

/// How far the forgetting of a book has come.
#[derive(Debug, Default)]
pub(super) struct Forgetting {
    /// By which it forgets, once it did.
    age: Option<Age>,
    /// None between two rounds.
    round: Option<Round>,
    /// Beyond what may stay, as the last round counted it: of what is proven, and of what is not.
    surplus: [u64; 2],
    /// Blocks that were entered since it was last looked.
    entered: usize,
}

impl Forgetting {
    /// The same of a new book.
    pub(super) fn renewed(self) -> Self {
        Self { age: self.age.map(Age::unsaved), ..Self::default() }
    }

    /// Blocks were entered.
    pub(super) const fn entered(&mut self, blocks: usize) {
        self.entered = self.entered.saturating_add(blocks);
    }
}

/// A round through the book.
#[derive(Clone, Copy, Debug)]
struct Round {
    /// What was over before this wall time goes.
    before: i64,
    /// The row that was looked at last.
    after: i64,
    /// Rows that are over and stay: proven, and not.
    stay: [u64; 2],
}

impl Blocks {
    /// Forgets some blocks of longer ago than this, by both clocks at this moment, with who lifted them, and logins; and of what is over the
    /// oldest beyond what is kept. Whether the round goes on, with another call.
    ///
    /// # Errors
    /// When the book cannot be read or written.
    pub fn forget(&mut self, history: Span, wall: i64, steady: Duration) -> Result<bool, StoreError> {
        let steady = i64::try_from(steady.as_micros()).unwrap_or(i64::MAX);
        let done = self.all(|book| {
            let step = |book: &mut Self| {
                let round = match book.forgetting.round.take() {
                    Some(round) => round,
                    None => {
                        let before = book.marked(history, wall, steady)?;
                        let before = before.map_or(i64::MIN, |then| then.min(wall.saturating_sub(history.0)));
                        Round { before, after: i64::MIN, stay: [0; 2] }
                    }
                };
                book.forget_some(round, wall)
            };
            step(book).map_err(|source| book.failed(source))
        });
        if done.is_err() {
            // Nothing of it is at hand any more, and whoever goes on while it is crowded ends.
            (self.forgetting.round, self.forgetting.entered) = (None, 0);
        }
        done
    }

    /// Whether so many blocks came since it was last looked what may go that it should be now.
    pub const fn is_crowded(&self) -> bool {
        self.forgetting.entered >= CROWD
    }

    /// A step of a round. Whether it goes on.
    fn forget_some(&mut self, mut round: Round, wall: i64) -> rusqlite::Result<bool> {
        self.forgetting.entered = self.forgetting.entered.saturating_sub(CROWD);
        let (mut looked, mut gone) = (0, Vec::new());
        {
            let mut rows = self.db.prepare_cached(
                "SELECT id, until, unproven, state = 'live' AND (until IS NULL OR until > ?) FROM blocks
                 WHERE id > ? ORDER BY id LIMIT ?",
            )?;
            let mut rows = rows.query(params![wall, round.after, LOOKS as i64])?;
            while let Some(row) = rows.next()? {
                looked += 1;
                round.after = row.get(0)?;
                let (until, unproven, stands): (Option<i64>, bool, bool) =
                    (row.get(1)?, row.get(2)?, row.get(3)?);
                if stands {
                    continue;
                }
                let of = usize::from(unproven);
                let surplus = self.forgetting.surplus.get_mut(of).filter(|surplus| **surplus > 0);
                if surplus.is_none() && until.is_none_or(|until| until >= round.before) {
                    round.stay.get_mut(of).into_iter().for_each(|stay| *stay += 1);
                    continue;
                }
                surplus.into_iter().for_each(|surplus| *surplus -= 1);
                gone.push(round.after);
                if gone.len() >= GO {
                    break;
                }
            }
        }
        for id in &gone {
            self.db.prepare_cached("DELETE FROM unblocks WHERE block = ?")?.execute([id])?;
            self.db.prepare_cached("DELETE FROM blocks WHERE id = ?")?.execute([id])?;
        }
        if looked >= LOOKS || gone.len() >= GO {
            self.forgetting.round = Some(round);
            return Ok(true);
        }
        self.end_round(&round)?;
        Ok(false)
    }

    fn end_round(&mut self, round: &Round) -> rusqlite::Result<()> {
        let [proven, unproven] = round.stay;
        self.forgetting.surplus = [proven.saturating_sub(KEPT), unproven.saturating_sub(KEPT_UNPROVEN)];
        // Of blocks that are gone already.
        self.db
            .prepare_cached(
                "DELETE FROM unblocks WHERE id IN
                 (SELECT id FROM (SELECT id, at FROM unblocks ORDER BY id LIMIT ?) WHERE at < ?)",
            )?
            .execute(params![GO as i64, round.before])?;
        self.db.prepare_cached("DELETE FROM logins WHERE last < ?")?.execute([round.before])?;
        self.db
            .prepare_cached(
                "DELETE FROM logins WHERE addr IN (SELECT addr FROM logins ORDER BY last DESC LIMIT ? OFFSET ?)",
            )?
            .execute([GO as i64, LOGINS])?;
        Ok(())
    }

    /// What the wall said as long ago, by the book's own time, if that is known; leaves a mark for later.
    fn marked(&mut self, history: Span, wall: i64, steady: i64) -> rusqlite::Result<Option<i64>> {
        let mut age = match self.forgetting.age {
            Some(age) => age,
            None => Age::load(&self.db, wall, steady)?,
        };
        age.save(&self.db, wall, steady, 0)?;
        self.forgetting.age = Some(age);
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

    /// Forgets what was over before this moment; how many blocks.
    #[cfg(test)]
    pub(super) fn forget_before(&mut self, before: i64) -> Result<usize, StoreError> {
        let blocks = self.latest(u32::MAX)?.len();
        let round = Round { before, after: i64::MIN, stay: [0; 2] };
        assert!(!self.forget_some(round, before).expect("round"), "more than a step");
        Ok(blocks - self.latest(u32::MAX)?.len())
    }
}

/// The key of a mark; in their order.
fn mark(at: i64) -> String {
    format!("mark {:020}", at.max(0))
}

/// So many marks in the time that is kept.
const MARKS: i64 = 16;
/// So many blocks that are over are kept, some ten megabytes,
const KEPT: u64 = 50_000;
/// and so many whose sender could be forged: these cost nobody the memory of the others.
const KEPT_UNPROVEN: u64 = 20_000;
/// So many logins.
const LOGINS: i64 = 4_096;
/// So many blocks are looked at in a step, which takes a millisecond,
const LOOKS: usize = 1_000;
/// and so many go, which takes some.
const GO: usize = 500;
/// After so many new blocks there is a step at once. A step looks at more, and more may go: a round ends while they come, and of what is kept
/// there is half as much again at most.
const CROWD: usize = 256;

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
        let mut left = |steady: u64, wall: i64| {
            let steady = Duration::from_secs(86_400 * steady);
            assert!(!book.forget(Span(30 * DAY), SET + wall * DAY, steady).expect("forget"));
            book.latest(9).expect("latest").len()
        };
        for (steady, wall) in [(0, 0), (1, 200), (2, 300), (3, 3), (20, -40), (29, 29), (32, 2)] {
            assert_eq!(left(steady, wall), 1, "{steady} {wall}");
        }
        assert_eq!(left(33, 33), 0);
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

    fn count(book: &Blocks, what: &str) -> i64 {
        let sql = format!("SELECT count(*) FROM {what}");
        book.db.query_row(&sql, [], |row| row.get(0)).expect("count")
    }

    #[test]
    fn of_what_is_over_the_oldest_go_in_steps_and_neither_what_stands_nor_what_is_proven_for_what_is_not() {
        let dir = tempfile::tempdir().expect("dir");
        let mut book = Blocks::open(dir.path().join("blocks.sqlite")).expect("open");
        // One that stands without an end, a hundred proven ones of before, and then a flood of forged senders that make room for each other.
        let flood = 3_000 + KEPT_UNPROVEN as i64;
        book.db
            .execute_batch(&format!(
                "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 101 + {flood})
                 INSERT INTO blocks SELECT n, '192.0.2.1', '', NULL, 'alert', {SET}, iif(n = 1, NULL, {SET} + 1),
                     iif(n <= 101, 'live', 'lifted'), 1, n > 101, 'drop' FROM n;
                 INSERT INTO unblocks SELECT NULL, id, net, {SET}, 'alert', '' FROM blocks WHERE unproven;"
            ))
            .expect("rows");
        let mut rounds = 0;
        let mut steps = 0;
        while rounds < 2 {
            let before = count(&book, "blocks");
            let goes_on = book.forget(Span(30 * DAY), SET + 2, Duration::from_secs(60)).expect("forget");
            assert!(before - count(&book, "blocks") <= GO as i64);
            steps += 1;
            rounds += u32::from(!goes_on);
        }
        assert!(steps > flood / LOOKS as i64, "{steps}");
        assert_eq!(count(&book, "blocks WHERE unproven"), KEPT_UNPROVEN as i64);
        assert_eq!(count(&book, "unblocks"), KEPT_UNPROVEN as i64);
        assert_eq!(count(&book, "unblocks WHERE block NOT IN (SELECT id FROM blocks)"), 0);
        assert_eq!(count(&book, "blocks WHERE NOT unproven"), 101);
        let oldest: i64 =
            book.db.query_row("SELECT min(id) FROM blocks WHERE unproven", [], |row| row.get(0)).expect("id");
        assert_eq!(oldest, 101 + 3_000 + 1);
    }

    #[test]
    fn a_flood_of_blocks_is_looked_at_while_it_comes_and_the_age_is_kept_without_a_clock() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("blocks.sqlite");
        let mut book = Blocks::open(&path).expect("open");
        for n in 0..=CROWD {
            assert_eq!(book.is_crowded(), n == CROWD);
            let block = NewBlock {
                net: "192.0.2.1".parse().expect("net"),
                reason: String::new(),
                alert: None,
                source: "alert".into(),
                from: SET,
                until: Some(SET + 1),
                unproven: true,
                manner: "drop".into(),
            };
            book.insert(&block).expect("insert");
        }
        assert!(!book.forget(Span(30 * DAY), SET, Duration::ZERO).expect("forget") && !book.is_crowded());
        // The wall says the same at each start, and a run lasts two hours.
        drop(book);
        let mut aged = Vec::new();
        for _ in 0..3 {
            let mut book = Blocks::open(&path).expect("open");
            for hours in [0, 1] {
                let steady = Duration::from_secs(3600 * hours);
                book.forget(Span(30 * DAY), SET, steady).expect("forget");
            }
            let age: i64 = book
                .db
                .query_row("SELECT value FROM meta WHERE key = 'age'", [], |row| row.get(0))
                .expect("age");
            aged.push((age - SET) / 3_600_000_000);
        }
        assert_eq!(aged, [1, 2, 3]);
    }
}
