//! What is known before a packet is seen, put together of parts that change at their own pace: the lists, and the ages of domains. Each
//! change puts a new snapshot in the place of the old one.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use slips_core::intel::{Current, Intelligence, Key, Listed};
use slips_intel::{Geo, Indicators};

/// See the module.
pub struct Shelf {
    current: Current,
    known: Mutex<Known>,
    /// Databases of places.
    places: Vec<PathBuf>,
}

/// A snapshot.
#[derive(Clone)]
struct Known {
    lists: Arc<Indicators>,
    /// Which address is in which autonomous system; nothing where none is listed.
    networks: Arc<Geo>,
    ages: Arc<HashMap<Box<str>, u32>>,
}

impl Intelligence for Known {
    fn look_up(&self, key: Key<'_>) -> Option<Listed<'_>> {
        self.lists.look_up(key)
    }

    fn asn_of(&self, addr: IpAddr) -> Option<u32> {
        self.networks.asn(addr)
    }

    fn domain_age_days(&self, domain: &str) -> Option<u32> {
        self.ages.get(domain).copied()
    }
}

impl Shelf {
    /// Begins with these lists; says what is wrong with the databases of places, which are read where a list names an autonomous system.
    pub fn new(lists: Indicators, places: Vec<PathBuf>) -> (Self, Vec<String>) {
        let (networks, problems) = networks(&lists, &places);
        let known = Known { lists: Arc::new(lists), networks, ages: Arc::default() };
        let current: Current = Current::new(Arc::new(known.clone()));
        (Self { current, known: Mutex::new(known), places }, problems)
    }

    /// For whoever looks things up.
    pub fn current(&self) -> Current {
        self.current.clone()
    }

    /// The lists of now.
    pub fn lists(&self) -> Arc<Indicators> {
        Arc::clone(&self.known.lock().unwrap_or_else(PoisonError::into_inner).lists)
    }

    /// Puts other lists in the place of those; says what is wrong with the databases of places.
    pub fn put_lists(&self, lists: Indicators) -> Vec<String> {
        let (networks, problems) = networks(&lists, &self.places);
        self.change(|known| {
            known.lists = Arc::new(lists);
            known.networks = networks;
        });
        problems
    }

    /// Adds ages of domains, in days; no more than `most` are held.
    pub fn put_ages(&self, ages: impl IntoIterator<Item = (Box<str>, u32)>, most: usize) {
        self.change(|known| {
            let mut all = HashMap::clone(&known.ages);
            for (domain, days) in ages {
                if all.len() < most || all.contains_key(&domain) {
                    all.insert(domain, days);
                }
            }
            known.ages = Arc::new(all);
        });
    }

    fn change(&self, how: impl FnOnce(&mut Known)) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        how(&mut known);
        self.current.replace(Arc::new(known.clone()));
    }

    /// Frees what nobody looks at any more.
    pub fn sweep(&self) {
        self.current.sweep();
    }
}

fn networks(lists: &Indicators, places: &[PathBuf]) -> (Arc<Geo>, Vec<String>) {
    let (mut geo, mut problems) = (Geo::default(), Vec::new());
    if lists.contents().asns > 0 {
        for file in places {
            if let Err(error) = geo.add(file) {
                problems.push(format!("profiles.places: {}: {error}", file.display()));
            }
        }
        if geo.is_empty() {
            problems.push("autonomous systems are listed, and no database tells which addresses are theirs (docs/profiles.md)".into());
        }
    }
    (Arc::new(geo), problems)
}

#[cfg(test)]
mod tests {
    use super::*;
    use slips_intel::Builder;

    #[test]
    fn ages_outlive_new_lists_and_are_bounded() {
        let (shelf, problems) = Shelf::new(Builder::new().finish(), vec!["/nonexistent".into()]);
        assert!(problems.is_empty(), "nobody needs it");
        let mut reader = shelf.current().reader();
        shelf.put_ages(
            [("young.example".into(), 3), ("old.example".into(), 999), ("late.example".into(), 1)],
            2,
        );
        shelf.put_lists(Builder::new().finish());
        let known = reader.get();
        assert_eq!(known.domain_age_days("young.example"), Some(3));
        assert_eq!(known.domain_age_days("late.example"), None, "no room");
        shelf.put_ages([("young.example".into(), 4)], 2);
        assert_eq!(reader.get().domain_age_days("young.example"), Some(4));
        shelf.sweep();
    }
}
