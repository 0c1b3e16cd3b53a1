//! The blocklists that this router publishes, a file each: an entry a line, and those that went lately, so that followers are told.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use slips_p2p::indicator::Indicator;
use slips_p2p::lists::{HOLDS, Wanted};
use slips_p2p::message::Name;
use slips_p2p::moment::Moment;

use super::files::{self, Mode};
use super::{Error, Store};

/// Before an entry that went; behind it the moment until which followers are told, in milliseconds since 1970.
const GONE: &str = "- ";

/// A list as its file has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct List {
    entries: BTreeSet<Indicator>,
    gone: BTreeMap<Indicator, Moment>,
}

impl List {
    fn parse(path: &Path, text: &str) -> Result<Self, Error> {
        let mut list = Self::default();
        for (at, line) in text.lines().enumerate() {
            let read = match line.strip_prefix(GONE) {
                None => line.parse().ok().map(|entry| _ = list.entries.insert(entry)),
                Some(rest) => rest.split_once(' ').and_then(|(entry, until)| {
                    list.gone.insert(entry.parse().ok()?, Moment(until.parse().ok()?));
                    Some(())
                }),
            };
            let what = || format!("line {} is no entry of a list", at + 1);
            read.ok_or_else(|| Error::Corrupt { path: path.to_owned(), what: what() })?;
        }
        // Followers must not be told both; what is listed counts.
        let entries = &list.entries;
        list.gone.retain(|entry, _| !entries.contains(entry));
        Ok(list)
    }

    fn render(&self) -> String {
        let entries = self.entries.iter().map(|entry| format!("{entry}\n"));
        let gone = self.gone.iter().map(|(entry, until)| format!("{GONE}{entry} {}\n", until.0));
        entries.chain(gone).collect()
    }

    /// The list with other entries.
    fn with(mut self, entries: BTreeSet<Indicator>, now: Moment) -> Self {
        let went = self.entries.difference(&entries).map(|entry| (entry.clone(), now.plus(HOLDS)));
        self.gone.extend(went.collect::<Vec<_>>());
        self.gone.retain(|entry, until| now < *until && !entries.contains(entry));
        Self { entries, gone: self.gone }
    }
}

impl Store {
    fn list_path(&self, name: &Name) -> PathBuf {
        self.lists_directory().join(name.as_str())
    }

    /// The blocklists that we publish.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn published(&self, now: Moment) -> Result<BTreeMap<Name, Wanted>, Error> {
        let dir = self.lists_directory();
        let found = match fs::read_dir(&dir) {
            Ok(found) => found,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            Err(error) => return Err(files::io_error(&dir)(error)),
        };
        let mut lists = BTreeMap::new();
        for name in found.filter_map(|entry| Name::new(entry.ok()?.file_name().to_str()?)) {
            let path = self.list_path(&name);
            let Some(text) = files::read(&path, Mode::Shared)? else { continue };
            let List { entries, gone } = List::parse(&path, &text)?;
            let removed =
                gone.into_iter().filter(|(_, until)| now < *until).map(|(entry, _)| entry).collect();
            lists.insert(name, Wanted { entries, removed });
        }
        Ok(lists)
    }

    /// Publishes a blocklist; without entries, no more.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn publish(&self, now: Moment, name: &Name, entries: BTreeSet<Indicator>) -> Result<(), Error> {
        self.change(now, |_| {
            files::make_directory(&self.lists_directory())?;
            let path = self.list_path(name);
            let before = files::read(&path, Mode::Shared)?.map(|text| List::parse(&path, &text));
            let list = before.transpose()?.unwrap_or_default().with(entries, now);
            files::write(&path, &list.render(), Mode::Shared)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = Moment(1_793_600_000_000);

    fn set(texts: &[&str]) -> BTreeSet<Indicator> {
        texts.iter().map(|text| text.parse().expect("an indicator")).collect()
    }

    #[test]
    fn what_went_is_told_for_a_day_and_then_forgotten() {
        let dir = tempfile::tempdir().expect("temp");
        let store = Store::new(dir.path().join("p2p"), None);
        let name = Name::new("scanners").expect("name");
        store.publish(NOW, &name, set(&["45.83.64.1", "45.83.65.0/24", "bad.example.org"])).expect("written");
        store.publish(NOW, &name, set(&["45.83.64.1", "45.83.64.2"])).expect("written");
        let list = |now| store.published(now).expect("read").remove(&name).expect("there");
        let wanted = Wanted {
            entries: set(&["45.83.64.1", "45.83.64.2"]),
            removed: set(&["45.83.65.0/24", "bad.example.org"]),
        };
        assert_eq!(list(NOW), wanted);
        // What comes back is not gone.
        store.publish(NOW, &name, set(&["bad.example.org"])).expect("written");
        assert_eq!(list(NOW).removed, set(&["45.83.64.1", "45.83.64.2", "45.83.65.0/24"]));
        assert!(list(NOW.plus(HOLDS)).removed.is_empty());
        store.publish(NOW.plus(HOLDS), &name, BTreeSet::new()).expect("written");
        assert_eq!(list(NOW.plus(HOLDS)), Wanted { entries: set(&[]), removed: set(&["bad.example.org"]) });
        let write = |text: &str| fs::write(store.lists_directory().join("scanners"), text).expect("written");
        write(&format!("45.83.64.1\n- 45.83.64.1 {}\n", NOW.plus(HOLDS).0));
        assert_eq!(list(NOW), Wanted { entries: set(&["45.83.64.1"]), removed: set(&[]) });
        write("45.83.64.1\n10.0.0.1\n");
        assert!(store.published(NOW).expect_err("damaged").to_string().contains("line 2"));
    }
}
