//! services.sqlite: what services outside answered, and how often they were asked today.
//!
//! It can be deleted: then what was asked before is asked again, as far as the day allows.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, params};

use super::schema::{self, Durability};
use super::story;
use crate::sink::StoreError;

/// Element n takes a database of version n to n + 1. Elements are only ever added. Times are seconds since the Unix epoch.
const MIGRATIONS: &[&str] = &["
    CREATE TABLE answers (
        subject TEXT, service TEXT, at INTEGER NOT NULL, until INTEGER NOT NULL, answer TEXT NOT NULL,
        PRIMARY KEY (subject, service)) WITHOUT ROWID;
    CREATE INDEX answers_at ON answers (at);
    CREATE TABLE asked (service TEXT, day INTEGER, questions INTEGER NOT NULL, PRIMARY KEY (service, day)) WITHOUT ROWID;
"];

/// What a service said of something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Which service.
    pub service: String,
    /// When.
    pub at: i64,
    /// What, in JSON.
    pub answer: String,
}

/// The database.
pub struct Answers {
    path: PathBuf,
    db: Connection,
}

impl Answers {
    /// Opens or makes the database.
    ///
    /// # Errors
    /// When it is not ours or cannot be opened.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let path = path.into();
        let db = schema::open_with(&path, Durability::Whole, MIGRATIONS)?;
        Ok(Self { path, db })
    }

    /// Opens a database that is there, to read.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open_to_read(path: &Path) -> Result<Self, StoreError> {
        let failed = |source| StoreError::Sqlite { doing: "open", path: path.to_owned(), source };
        let look = |db: &Connection| db.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()));
        let (db, ()) = story::open_to_read(path, look).map_err(failed)?;
        Ok(Self { path: path.to_owned(), db })
    }

    fn failed(&self, doing: &'static str) -> impl Fn(rusqlite::Error) -> StoreError {
        let path = self.path.clone();
        move |source| StoreError::Sqlite { doing, path: path.clone(), source }
    }

    /// What a service said of a subject, if that still holds at `now`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn get(&self, service: &str, subject: &str, now: i64) -> Result<Option<String>, StoreError> {
        let sql =
            "SELECT answer FROM answers WHERE subject = ?1 AND service = ?2 AND until > ?3 AND at <= ?3";
        let mut statement = self.db.prepare_cached(sql).map_err(self.failed("read"))?;
        statement
            .query_row(params![subject, service, now], |row| row.get(0))
            .optional()
            .map_err(self.failed("read"))
    }

    /// All that services ever said of a subject and was kept.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn about(&self, subject: &str) -> Result<Vec<Answer>, StoreError> {
        let read = || {
            let sql = "SELECT service, at, answer FROM answers WHERE subject = ?1 ORDER BY service";
            let mut statement = self.db.prepare_cached(sql)?;
            let rows = statement.query_map([subject], |row| {
                Ok(Answer { service: row.get(0)?, at: row.get(1)?, answer: row.get(2)? })
            })?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(self.failed("read"))
    }

    /// What a service ever said of subjects that begin with `beginning`, and when; sixteen at most, in their order.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn beginning_with(
        &self,
        service: &str,
        beginning: &str,
    ) -> Result<Vec<(String, Answer)>, StoreError> {
        let read = || {
            let sql = "SELECT subject, service, at, answer FROM answers
                       WHERE subject >= ?1 AND substr(subject, 1, length(?1)) = ?1 AND service = ?2
                       AND subject < ?1 || char(1114111) ORDER BY subject LIMIT 16";
            let mut statement = self.db.prepare_cached(sql)?;
            let rows = statement.query_map(params![beginning, service], |row| {
                Ok((row.get(0)?, Answer { service: row.get(1)?, at: row.get(2)?, answer: row.get(3)? }))
            })?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(self.failed("read"))
    }

    /// All that a service said and was kept: subject and answer, the latest first.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn of(&self, service: &str, most: u32) -> Result<Vec<(String, String)>, StoreError> {
        let read = || {
            let sql = "SELECT subject, answer FROM answers WHERE service = ?1 ORDER BY at DESC LIMIT ?2";
            let mut statement = self.db.prepare_cached(sql)?;
            let rows = statement.query_map(params![service, most], |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(self.failed("read"))
    }

    /// Keeps what a service said. Of more than `most` answers the oldest go.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put(
        &mut self,
        service: &str,
        subject: &str,
        answer: &str,
        (now, until): (i64, i64),
        most: u32,
    ) -> Result<(), StoreError> {
        let write = || {
            self.db.execute(
                "INSERT OR REPLACE INTO answers (subject, service, at, until, answer) VALUES (?1, ?2, ?3, ?4, ?5)",
                params![subject, service, now, until, answer],
            )?;
            let sql = "SELECT at FROM answers ORDER BY at DESC LIMIT 1 OFFSET ?1";
            let oldest: Option<i64> = self.db.query_row(sql, [most], |row| row.get(0)).optional()?;
            if let Some(oldest) = oldest {
                self.db.execute("DELETE FROM answers WHERE at <= ?1", [oldest])?;
            }
            Ok(())
        };
        write().map_err(self.failed("write"))
    }

    /// Counts a question of a day; how many there were of that day, with this one.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn count(&mut self, service: &str, day: i64) -> Result<u32, StoreError> {
        let write = || {
            // A clock that jumps there and back finds its day again.
            self.db.execute(
                "DELETE FROM asked WHERE service = ?1 AND day <> ?2 AND day NOT IN
                 (SELECT day FROM asked WHERE service = ?1 ORDER BY day DESC LIMIT 8)",
                params![service, day],
            )?;
            self.db.query_row(
                "INSERT INTO asked (service, day, questions) VALUES (?1, ?2, 1)
                 ON CONFLICT (service, day) DO UPDATE SET questions = questions + 1 RETURNING questions",
                params![service, day],
                |row| row.get(0),
            )
        };
        write().map_err(self.failed("write"))
    }

    /// How many questions there were of a day.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn counted(&self, service: &str, day: i64) -> Result<u32, StoreError> {
        let sql = "SELECT questions FROM asked WHERE service = ?1 AND day = ?2";
        let row = self.db.query_row(sql, params![service, day], |row| row.get(0)).optional();
        row.map(Option::unwrap_or_default).map_err(self.failed("read"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_hold_for_a_while_and_the_oldest_make_room() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("services.sqlite");
        let mut answers = Answers::open(&path).expect("open");
        answers.put("virustotal", "203.0.113.1", "{\"URL\":1}", (100, 200), 3).expect("put");
        let get = |answers: &Answers, now| answers.get("virustotal", "203.0.113.1", now).expect("get");
        assert_eq!(get(&answers, 150).as_deref(), Some("{\"URL\":1}"));
        assert_eq!(
            (get(&answers, 200), get(&answers, 50)),
            (None, None),
            "too old, and a clock that was set back"
        );
        answers.put("rdap", "example.com", "{}", (101, 200), 3).expect("put");
        answers.put("virustotal", "203.0.113.1", "{}", (102, 300), 3).expect("put");
        for n in 0..3 {
            answers.put("circl", &format!("{n}"), "{}", (110 + n, 300), 3).expect("put");
        }
        drop(answers);
        let read = Answers::open_to_read(&path).expect("open");
        assert!(read.about("203.0.113.1").expect("read").is_empty(), "it made room");
        let of = read.of("circl", 2).expect("read");
        assert_eq!(of.iter().map(|(subject, _)| subject.as_str()).collect::<Vec<_>>(), ["2", "1"]);
        assert_eq!(read.about("1").expect("read")[0].service, "circl");
        let begins = |with: &str| read.beginning_with("circl", with).expect("read").len();
        assert_eq!((begins("1"), begins(""), begins("11")), (1, 3, 0));
    }

    #[test]
    fn questions_of_a_day_are_counted_over_restarts() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("services.sqlite");
        let mut answers = Answers::open(&path).expect("open");
        assert_eq!((answers.count("a", 7).expect("count"), answers.count("a", 7).expect("count")), (1, 2));
        drop(answers);
        let mut answers = Answers::open(&path).expect("open");
        assert_eq!(answers.counted("a", 7).expect("read"), 2);
        assert_eq!((answers.count("a", 7).expect("count"), answers.count("b", 7).expect("count")), (3, 1));
        assert_eq!((answers.count("a", 8).expect("count"), answers.counted("a", 7).expect("read")), (1, 3));
        for day in 100..120 {
            assert_eq!(answers.count("a", day).expect("count"), 1);
        }
        assert_eq!(answers.counted("a", 8).expect("read"), 0, "of long ago");
        assert_eq!(answers.count("a", 9).expect("count"), 1);
        assert_eq!(answers.count("a", 9).expect("count"), 2, "a clock that was set back counts on");
    }
}
