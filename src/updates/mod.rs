//! Files that others keep for everybody, fetched when they change: lists of indicators, databases of places, the registry of makers.
//!
//! What is good is never lost: a file is looked into before it takes the place of the old one, as a whole; a list that lost most of its
//! entries has to come twice.

mod book;
mod items;
mod plan;
mod verdict;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use slips_intel::{Holds, Tally};

pub use book::Record;
pub use items::{bounds, items, kept};
pub use plan::Plan;

use self::book::Book;
use self::verdict::{Contents, Verdict, look_into, weigh};
use crate::lists::{give_to_owner, make_anew, make_directory, open_or_make};
use crate::outside::{Ask, Asks, Head, Missed};

/// A file that is kept up to date.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Where it comes from.
    pub url: String,
    /// Its place on this machine.
    pub path: PathBuf,
    /// What it is.
    pub what: What,
    /// How often it is asked for; never by itself when this is zero.
    pub period: Duration,
}

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A list of indicators.
    List(Holds),
    /// A database in MaxMind's format.
    Places,
    /// The registry of hardware makers.
    Makers,
}

/// What a download may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes, unpacked.
    pub most: u64,
    /// Time for all of it.
    pub within: Duration,
}

/// Whether a much smaller file is taken without a second one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shrunk {
    /// It waits.
    Hold,
    /// Somebody has looked.
    Take,
}

/// How an update went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// There is a new file.
    New {
        /// How much is in it.
        entries: u64,
        /// How a list was read.
        tally: Option<Tally>,
    },
    /// Ours is the latest.
    Unchanged,
    /// The new one is much smaller; ours stays for now.
    Held {
        /// How much is in it.
        entries: u64,
        /// How much is in ours.
        ours: u64,
    },
    /// It went wrong; ours stays.
    Failed {
        /// Why.
        why: String,
        /// Whether it looks as if the network were not there.
        unreachable: bool,
    },
}

/// Keeps files up to date. Only one program at a time does.
pub struct Updater {
    book: Book,
    bounds: Bounds,
    plan: Plan,
    _lock: File,
}

impl Updater {
    /// For the files of this directory, in which what is remembered of them is kept.
    ///
    /// # Errors
    /// When it cannot be written to; `WouldBlock` when another program is at it.
    pub fn open(dir: &Path, bounds: Bounds, plan: Plan) -> io::Result<Self> {
        make_directory(dir)?;
        let lock = open_or_make(&dir.join("updates.lock"))?;
        lock.try_lock().map_err(|error| match error {
            fs::TryLockError::WouldBlock => io::ErrorKind::WouldBlock.into(),
            fs::TryLockError::Error(error) => error,
        })?;
        Ok(Self { book: Book::open(dir), bounds, plan, _lock: lock })
    }

    /// What is remembered of a file.
    pub fn record(&self, item: &Item) -> Option<&Record> {
        self.book.records.get(&item.url)
    }

    /// Whether it is time to ask for a file.
    pub fn is_due(&self, item: &Item, now: i64) -> bool {
        let Some(record) = self.record(item) else { return !item.period.is_zero() };
        self.plan.is_due(record, item.period, now)
    }

    /// Forgets what nobody asks for any more; lists of others that no catalogue names are removed.
    ///
    /// # Errors
    /// When what is remembered cannot be kept.
    pub fn forget_all_but(&mut self, items: &[Item], dir: &Path) -> io::Result<()> {
        let known: BTreeSet<&str> = items.iter().map(|item| &*item.url).collect();
        let gone: Vec<String> =
            self.book.records.keys().filter(|url| !known.contains(url.as_str())).cloned().collect();
        if gone.is_empty() {
            return Ok(());
        }
        for url in gone {
            self.book.records.remove(&url);
            // Only what this program has put there has such a name.
            match fs::remove_file(crate::lists::downloaded(dir, &url)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        self.book.keep()
    }

    /// Asks for a file, and takes it if it is new and good.
    ///
    /// # Errors
    /// When what is remembered cannot be kept; the file itself is there or not.
    pub fn update(
        &mut self,
        item: &Item,
        asks: &mut dyn Asks,
        shrunk: Shrunk,
        now: i64,
    ) -> io::Result<Outcome> {
        let mut record = self.record(item).cloned().unwrap_or_default();
        record.asked = now;
        let mut wait = None;
        let fetched = self.fetch(item, &mut record, asks, &mut wait, shrunk, now);
        let outcome = fetched.unwrap_or_else(|missed| Outcome::Failed {
            unreachable: matches!(missed, Missed::Unreachable(_) | Missed::Slow(_) | Missed::Stopped),
            why: missed.to_string(),
        });
        match &outcome {
            Outcome::Failed { why, .. } => {
                record.failures = record.failures.saturating_add(1);
                record.problem.clone_from(why);
            }
            _ => {
                record.failures = 0;
                record.problem.clear();
            }
        }
        record.next = self.plan.next(&record, item, wait, now);
        self.book.records.insert(item.url.clone(), record);
        self.book.keep()?;
        Ok(outcome)
    }

    fn fetch(
        &self,
        item: &Item,
        record: &mut Record,
        asks: &mut dyn Asks,
        wait: &mut Option<u64>,
        shrunk: Shrunk,
        now: i64,
    ) -> Result<Outcome, Missed> {
        let io = |error: io::Error| Missed::Wrong(format!("{}: {error}", item.path.display()));
        let mut new = Temporary::beside(&item.path).map_err(io)?;
        let size = fs::metadata(&item.path).map(|about| about.len()).ok();
        // The server's words are about what it sent; if that is not there any more, all of it is needed.
        let known = size.is_some_and(|size| size == record.size);
        let head = new.receive(self.question(item, record, known, now), asks)?;
        *wait = head.retry_after;
        match head.status {
            304 if known => {
                record.held = None;
                return Ok(Outcome::Unchanged);
            }
            200 => {}
            status => return Err(Missed::Broken(format!("the server answers with {status}"))),
        }
        let contents = look_into(&new.path, item.what, self.bounds.most).map_err(Missed::Broken)?;
        let same = size.is_some() && same_bytes(&new.path, &item.path).map_err(io)?;
        let ours = match size {
            None => None,
            Some(_) if known && record.taken > 0 => Some(record.entries),
            // Somebody else put it there.
            Some(_) => look_into(&item.path, item.what, self.bounds.most).ok().map(|old| old.entries),
        };
        if !same && let Some(ours) = ours {
            let verdict = weigh(Some(ours), contents.entries, record.held, now);
            if let (Verdict::Hold(held), Shrunk::Hold) = (verdict, shrunk) {
                record.held = Some(held);
                return Ok(Outcome::Held { entries: contents.entries, ours });
            }
        }
        if !same {
            new.take_the_place_of(&item.path).map_err(io)?;
            record.taken = now;
        }
        remember(record, &head, &contents, &item.path).map_err(io)?;
        let Contents { entries, tally } = contents;
        Ok(if same { Outcome::Unchanged } else { Outcome::New { entries, tally } })
    }

    fn question(&self, item: &Item, record: &Record, known: bool, now: i64) -> Ask {
        let url = in_month(&item.url, now);
        let mut ask = Ask { unpack: true, ..Ask::get(&url, self.bounds.most, self.bounds.within) };
        let words = [("if-none-match", &record.etag), ("if-modified-since", &record.last_modified)];
        for (name, value) in words.into_iter().filter(|_| known) {
            ask.headers.extend(value.iter().map(|value| (name.to_owned(), value.clone())));
        }
        ask
    }
}

/// A URL with this month in the place of `{YYYY}` and `{MM}`, as some name their files.
fn in_month(url: &str, now: i64) -> String {
    let Ok(at) = jiff::Timestamp::from_second(now) else { return url.to_owned() };
    let at = at.to_zoned(jiff::tz::TimeZone::UTC);
    url.replace("{YYYY}", &format!("{:04}", at.year())).replace("{MM}", &format!("{:02}", at.month()))
}

fn remember(record: &mut Record, head: &Head, contents: &Contents, path: &Path) -> io::Result<()> {
    record.etag.clone_from(&head.etag);
    record.last_modified.clone_from(&head.last_modified);
    record.size = fs::metadata(path)?.len();
    record.entries = contents.entries;
    record.held = None;
    Ok(())
}

fn same_bytes(one: &Path, other: &Path) -> io::Result<bool> {
    let [one, other] = [File::open(one)?, File::open(other)?];
    if one.metadata()?.len() != other.metadata()?.len() {
        return Ok(false);
    }
    let bytes = |file| io::Read::bytes(io::BufReader::new(file));
    for (a, b) in bytes(one).zip(bytes(other)) {
        if a? != b? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A file that is removed unless it takes the place of another.
struct Temporary {
    path: PathBuf,
    /// The file itself, whatever has its name by now.
    file: Option<File>,
}

impl Temporary {
    fn beside(path: &Path) -> io::Result<Self> {
        let dir = path.parent().unwrap_or(Path::new("."));
        make_directory(dir)?;
        let mut new = path.as_os_str().to_owned();
        // Its name ends as no list does, so that nobody reads half of it.
        new.push(".part");
        Ok(Self { path: new.into(), file: None })
    }

    fn receive(&mut self, ask: Ask, asks: &mut dyn Asks) -> Result<Head, Missed> {
        let io = |error: io::Error| Missed::Wrong(format!("{}: {error}", self.path.display()));
        let mut file = make_anew(&self.path).map_err(io)?;
        let head = asks.ask(&ask, &mut |part| file.write_all(part))?;
        file.sync_all().map_err(io)?;
        self.file = Some(file);
        Ok(head)
    }

    fn take_the_place_of(&self, path: &Path) -> io::Result<()> {
        let dir = path.parent().unwrap_or(Path::new("."));
        if let Some(file) = &self.file {
            give_to_owner(dir, file)?;
        }
        fs::rename(&self.path, path)?;
        File::open(dir)?.sync_all()
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // Renamed, or never made, as a rule.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
pub(crate) mod tests;
