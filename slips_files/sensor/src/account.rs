//! An account of the bytes that flows of one kind hold together.

/// Held bytes, and the most there may be.
#[derive(Debug, Default)]
pub(crate) struct Account {
    now: usize,
    max: usize,
    /// How often there was no room.
    pub(crate) refused: u64,
}

impl Account {
    pub(crate) const fn new(max: usize) -> Self {
        Self { now: 0, max, refused: 0 }
    }

    /// Takes room for so many bytes; false, and counted, when there is none.
    pub(crate) fn take(&mut self, bytes: usize) -> bool {
        let fits = bytes <= self.max.saturating_sub(self.now);
        if fits {
            self.now += bytes;
        } else {
            self.refused += 1;
        }
        fits
    }

    pub(crate) fn give_back(&mut self, bytes: usize) {
        self.now = self.now.saturating_sub(bytes);
    }

    #[cfg(test)]
    pub(crate) const fn now(&self) -> usize {
        self.now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_and_counted() {
        let mut account = Account::new(10);
        assert!(account.take(6));
        assert!(!account.take(5));
        assert!(account.take(4));
        account.give_back(10);
        assert_eq!((account.now(), account.refused), (0, 1));
    }
}
