//! What is known before a packet is seen, put together of parts that change at their own pace: the lists, and the ages of domains. Each
//! change puts a new snapshot in the place of the old one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use slips_core::intel::{Current, Intelligence, Key, Listed};
use slips_intel::Indicators;

/// See the module.
pub struct Shelf {
    current: Current,
    known: Mutex<Known>,
}

/// A snapshot.
#[derive(Clone)]
struct Known {
    lists: Arc<Indicators>,
    ages: Arc<HashMap<Box<str>, u32>>,
}

impl Intelligence for Known {
    fn look_up(&self, key: Key<'_>) -> Option<Listed<'_>> {
        self.lists.look_up(key)
    }

    fn domain_age_days(&self, domain: &str) -> Option<u32> {
        self.ages.get(domain).copied()
    }
}

impl Shelf {
    /// Begins with these lists.
    pub fn new(lists: Indicators) -> Self {
        let known = Known { lists: Arc::new(lists), ages: Arc::default() };
        Self { current: Current::new(Arc::new(known.clone())), known: Mutex::new(known) }
    }

    /// For whoever looks things up.
    pub fn current(&self) -> Current {
        self.current.clone()
    }

    /// Puts other lists in the place of those.
    pub fn put_lists(&self, lists: Indicators) {
        self.change(|known| known.lists = Arc::new(lists));
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

#[cfg(test)]
mod tests {
    use super::*;
    use slips_intel::Builder;

    #[test]
    fn ages_outlive_new_lists_and_are_bounded() {
        let shelf = Shelf::new(Builder::new().finish());
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
