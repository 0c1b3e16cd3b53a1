//! The time by which a database ages: what passed while it was kept, by a clock that only goes forward. What the clock on the wall says may be
//! months ahead or back, and must neither cost all that is old enough by it nor keep all of it for ever; what traffic says of the time is the
//! sender's choice. Of the time between two runs only the wall knows: a day of it counts at most.

use rusqlite::{Connection, OptionalExtension};

use super::segments::{FLOWS, Indexed, RECORDS};

/// See the module. Microseconds, from somewhere after the beginning of 2020 on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Age {
    /// What it was when the steady clock said `read`.
    at: i64,
    read: i64,
    /// What the database has of it.
    saved: i64,
}

impl Age {
    /// Of this database, at this moment of both clocks.
    pub(super) fn load(db: &Connection, wall: i64, steady: i64) -> rusqlite::Result<Self> {
        let mut read = db.prepare("SELECT value FROM meta WHERE key = ?")?;
        let mut number = |key| read.query_row([key], |row| row.get::<_, i64>(0)).optional();
        let at = match (number(AT)?, number(WALL)?) {
            (Some(at), Some(then)) => at.saturating_add(wall.saturating_sub(then).clamp(0, BETWEEN_RUNS)),
            // What is there was dated by the wall.
            _ => match newest(db)? {
                Some(newest) if newest < wall => wall.min(newest.saturating_add(BETWEEN_RUNS)),
                _ => wall.max(PLAUSIBLE),
            },
        };
        Ok(Self { at, read: steady, saved: i64::MIN })
    }

    /// The same, by another steady clock from now on.
    pub(super) fn by(self, before: i64, steady: i64) -> Self {
        Self { at: self.now(before), read: steady, ..self }
    }

    /// Another file lies there: it has nothing of it.
    pub(super) const fn unsaved(self) -> Self {
        Self { saved: i64::MIN, ..self }
    }

    /// What it is when the steady clock says so.
    pub(super) fn now(&self, steady: i64) -> i64 {
        self.at.saturating_add(steady.saturating_sub(self.read).max(0))
    }

    /// Leaves it in the database, when `every` has passed since it was.
    pub(super) fn save(
        &mut self,
        db: &Connection,
        wall: i64,
        steady: i64,
        every: i64,
    ) -> rusqlite::Result<()> {
        let now = self.now(steady);
        if self.saved != i64::MIN && now.saturating_sub(self.saved) < every {
            return Ok(());
        }
        let mut put = db.prepare_cached("INSERT OR REPLACE INTO meta VALUES (?, ?)")?;
        put.execute((AT, now))?;
        put.execute((WALL, wall))?;
        self.saved = now;
        Ok(())
    }
}

/// When the newest rows were stored, by a database that has no time of its own yet.
fn newest(db: &Connection) -> rusqlite::Result<Option<i64>> {
    let segment = |table: Indexed| super::segments::newest_stored(db, table);
    let last = |what: &str, table: &str| -> rusqlite::Result<Option<i64>> {
        let sql = format!("SELECT {what} FROM {table} ORDER BY rowid DESC LIMIT 1");
        Ok(db.query_row(&sql, [], |row| row.get(0)).optional()?.flatten())
    };
    let all = [segment(FLOWS)?, segment(RECORDS)?, last("stored", "evidence")?, last("created", "alerts")?];
    Ok(all.into_iter().flatten().filter(|at| *at >= PLAUSIBLE).max())
}

/// The beginning of 2020: a clock that says less was not set yet.
pub(super) const PLAUSIBLE: i64 = 1_577_836_800_000_000;
/// So much of the time between two runs counts at most.
const BETWEEN_RUNS: i64 = 86_400_000_000;
/// How often it is left there beside rows that are stored anyway, and where nothing is stored.
pub(super) const WITH_ROWS: i64 = 60_000_000;
pub(super) const ALONE: i64 = 3_600_000_000;

/// Where it lies in `meta`, and what the wall said then.
const AT: &str = "age";
const WALL: &str = "age_wall";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::schema::{self, Durability};

    const DAY: i64 = BETWEEN_RUNS;
    const HOUR: i64 = DAY / 24;
    const SET: i64 = 1_800_000_000_000_000;

    struct Bench {
        db: Connection,
        _dir: tempfile::TempDir,
    }

    impl Bench {
        fn new() -> Self {
            let dir = tempfile::tempdir().expect("dir");
            let db = schema::open(&dir.path().join("x.sqlite"), Durability::Whole).expect("open");
            Self { db, _dir: dir }
        }

        /// A run that begins when the wall says so, lasts so long, and ends when the wall says that; what the age is then.
        fn run(&self, from: i64, lasts: i64, to: i64) -> i64 {
            let mut age = Age::load(&self.db, from, 7).expect("load");
            age.save(&self.db, to, 7 + lasts, 0).expect("save");
            age.now(7 + lasts)
        }
    }

    #[test]
    fn it_goes_on_while_it_is_kept_and_a_day_at_most_between_whatever_the_wall_says() {
        let bench = Bench::new();
        assert_eq!(bench.run(SET, HOUR, SET + HOUR), SET + HOUR);
        // An hour is off, then the clock is set half a year ahead, and back again, and far back.
        assert_eq!(bench.run(SET + 2 * HOUR, HOUR, SET + 200 * DAY), SET + 3 * HOUR);
        assert_eq!(bench.run(SET + 200 * DAY, HOUR, SET + 200 * DAY + HOUR), SET + 4 * HOUR);
        assert_eq!(bench.run(SET + 5 * HOUR, HOUR, SET + 6 * HOUR), SET + 5 * HOUR);
        assert_eq!(bench.run(0, 3 * HOUR, 3 * HOUR), SET + 8 * HOUR);
        assert_eq!(bench.run(SET + 9 * HOUR, HOUR, SET + 10 * HOUR), SET + DAY + 9 * HOUR);
    }

    #[test]
    fn a_clock_that_was_never_set_begins_somewhere_and_goes_on() {
        let bench = Bench::new();
        assert_eq!(bench.run(100, HOUR, SET), PLAUSIBLE + HOUR);
        assert_eq!(bench.run(SET + 1, 0, SET + 1), PLAUSIBLE + HOUR + 1);
    }

    #[test]
    fn what_an_earlier_version_dated_by_the_wall_is_at_most_a_day_old_at_first() {
        for (stored, wall, age) in [
            (SET, SET + HOUR, SET + HOUR),
            (SET, SET + 100 * DAY, SET + DAY),
            // It was far ahead, once.
            (SET + 100 * DAY, SET, SET),
            (77, SET, SET),
        ] {
            let bench = Bench::new();
            bench.db.execute("INSERT INTO evidence (id, stored) VALUES ('e', ?)", [stored]).expect("row");
            assert_eq!(bench.run(wall, 0, wall), age, "{stored} {wall}");
        }
    }

    #[test]
    fn it_is_left_there_only_every_now_and_then() {
        let bench = Bench::new();
        let mut age = Age::load(&bench.db, SET, 0).expect("load");
        let saved = |bench: &Bench| -> i64 {
            bench.db.query_row("SELECT value FROM meta WHERE key = ?", [AT], |row| row.get(0)).expect("saved")
        };
        for (steady, expected) in [(1, 1), (ALONE, 1), (ALONE + 1, ALONE + 1)] {
            age.save(&bench.db, SET, steady, ALONE).expect("save");
            assert_eq!(saved(&bench) - SET, expected);
        }
    }
}
