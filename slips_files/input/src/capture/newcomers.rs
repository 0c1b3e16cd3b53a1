//! Interfaces that are named while the capture runs.

use std::sync::{Arc, Mutex, PoisonError};

/// Names of interfaces that captures take up within a second, each for itself; whoever has a clone may add some.
#[derive(Clone, Debug, Default)]
pub struct Newcomers(Arc<Mutex<Vec<String>>>);

impl Newcomers {
    /// From now on this one, too.
    pub fn add(&self, name: &str) {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }

    /// All but the first `known`, in the order in which they were named.
    pub fn after(&self, known: usize) -> Vec<String> {
        let names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        names.get(known..).unwrap_or_default().to_vec()
    }
}
