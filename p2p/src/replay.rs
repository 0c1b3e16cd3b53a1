//! Which messages of an author were taken already: the highest number and a bitmap below it, small enough to be kept on disk.

use std::collections::BTreeMap;

use crate::identity::NodeId;

/// How many numbers below the highest are told apart: as many as an author's reports may live at once, so that a late snapshot
/// still fits.
pub const WIDTH: u64 = 4096;

const WORDS: usize = (WIDTH / 64) as usize;

/// What is known about a message's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It was not taken yet.
    Fresh,
    /// It was.
    Again,
    /// So far below the highest, or of an epoch so old, that it cannot be told.
    TooOld,
}

/// One epoch of one author. Bit n says whether `highest - n` was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Window {
    epoch: u64,
    highest: u64,
    taken: [u64; WORDS],
}

impl Window {
    const fn new(epoch: u64) -> Self {
        Self { epoch, highest: 0, taken: [0; WORDS] }
    }

    fn look(&self, seq: u64) -> Seen {
        let Some(below) = self.highest.checked_sub(seq) else { return Seen::Fresh };
        match self.taken.get((below / 64) as usize) {
            _ if seq == 0 => Seen::TooOld,
            None => Seen::TooOld,
            Some(word) if word >> (below % 64) & 1 == 1 => Seen::Again,
            Some(_) => Seen::Fresh,
        }
    }

    /// The number below the lowest gap that can be told.
    fn complete(&self) -> u64 {
        let lowest = self.highest.saturating_sub(WIDTH - 1).max(1);
        (lowest..=self.highest).find(|seq| self.look(*seq) == Seen::Fresh).map_or(self.highest, |gap| gap - 1)
    }

    fn take(&mut self, seq: u64) {
        if let Some(up) = seq.checked_sub(self.highest) {
            self.shift(up);
            self.highest = seq;
        }
        let below = self.highest - seq;
        if let Some(word) = self.taken.get_mut((below / 64) as usize) {
            *word |= 1 << (below % 64);
        }
    }

    /// Moves every bit `up` places away from the highest.
    fn shift(&mut self, up: u64) {
        if up >= WIDTH {
            self.taken = [0; WORDS];
            return;
        }
        let (words, bits) = ((up / 64) as usize, up % 64);
        for to in (0..WORDS).rev() {
            let word = |from: Option<usize>| from.and_then(|from| self.taken.get(from)).copied().unwrap_or(0);
            let here = word(to.checked_sub(words)) << bits;
            let carried = if bits == 0 { 0 } else { word(to.checked_sub(words + 1)) >> (64 - bits) };
            if let Some(slot) = self.taken.get_mut(to) {
                *slot = here | carried;
            }
        }
    }
}

/// The windows of all authors. Holds one entry for each peer that was ever heard, which the membership bounds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replay {
    authors: BTreeMap<NodeId, Window>,
}

/// Bytes that are no persisted window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no replay window of this version")]
pub struct NotAWindow;

impl Replay {
    /// What is known about a message. Changes nothing: a message is only taken after its signature was checked.
    pub fn look(&self, author: NodeId, epoch: u64, seq: u64) -> Seen {
        match self.authors.get(&author) {
            None => Seen::Fresh,
            Some(window) if epoch > window.epoch => Seen::Fresh,
            Some(window) if epoch < window.epoch => Seen::TooOld,
            Some(window) => window.look(seq),
        }
    }

    /// Notes that a message was taken. A new epoch ends the old one.
    pub fn take(&mut self, author: NodeId, epoch: u64, seq: u64) {
        let window = self.authors.entry(author).or_insert_with(|| Window::new(epoch));
        if epoch > window.epoch {
            *window = Window::new(epoch);
        }
        if epoch == window.epoch && seq != 0 {
            window.take(seq);
        }
    }

    /// Forgets an author that is no peer any more.
    pub fn forget(&mut self, author: NodeId) {
        self.authors.remove(&author);
    }

    /// Authors with their epoch and the number up to which nothing is missing, for asking others what is.
    pub fn complete(&self) -> impl Iterator<Item = (NodeId, u64, u64)> {
        self.authors.iter().map(|(author, window)| (*author, window.epoch, window.complete()))
    }

    /// Each author's window as bytes that [`Replay::restore`] reads: version, epoch, highest, bitmap, all little-endian.
    pub fn persist(&self) -> impl Iterator<Item = (NodeId, Vec<u8>)> {
        self.authors.iter().map(|(author, window)| {
            let numbers = [window.epoch, window.highest].into_iter().chain(window.taken);
            (*author, std::iter::once(1).chain(numbers.flat_map(u64::to_le_bytes)).collect())
        })
    }

    /// Takes back what [`Replay::persist`] gave.
    ///
    /// # Errors
    /// When the bytes have another form.
    pub fn restore(&mut self, author: NodeId, bytes: &[u8]) -> Result<(), NotAWindow> {
        let (Some((1, numbers)), true) = (bytes.split_first(), bytes.len() == 1 + 8 * (2 + WORDS)) else {
            return Err(NotAWindow);
        };
        let mut numbers = numbers
            .chunks_exact(8)
            .map(|chunk| chunk.iter().rev().fold(0, |n, byte| n << 8 | u64::from(*byte)));
        let mut window = Window::new(numbers.next().unwrap_or(0));
        window.highest = numbers.next().unwrap_or(0);
        for (word, number) in window.taken.iter_mut().zip(numbers) {
            *word = number;
        }
        self.authors.insert(author, window);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const A: NodeId = NodeId([1; 32]);

    #[test]
    fn a_message_is_taken_once() {
        let mut replay = Replay::default();
        assert_eq!(replay.look(A, 5, 1), Seen::Fresh);
        replay.take(A, 5, 1);
        assert_eq!(replay.look(A, 5, 1), Seen::Again);
        assert_eq!(replay.look(A, 5, 2), Seen::Fresh);
        assert_eq!(replay.look(NodeId([2; 32]), 5, 1), Seen::Fresh);
        replay.take(A, 5, 1 + WIDTH);
        assert_eq!(replay.look(A, 5, 1), Seen::TooOld);
        assert_eq!(replay.look(A, 5, 2), Seen::Fresh);
    }

    #[test]
    fn a_new_epoch_ends_the_old_one() {
        let mut replay = Replay::default();
        replay.take(A, 5, 9);
        assert_eq!(replay.look(A, 6, 9), Seen::Fresh);
        replay.take(A, 6, 9);
        assert_eq!(replay.look(A, 5, 10), Seen::TooOld);
        replay.take(A, 5, 10);
        assert_eq!(replay.look(A, 6, 10), Seen::Fresh);
    }

    #[test]
    fn the_first_gap_is_what_is_asked_for() {
        let mut replay = Replay::default();
        for seq in [1, 2, 4, 5] {
            replay.take(A, 7, seq);
        }
        assert_eq!(replay.complete().collect::<Vec<_>>(), [(A, 7, 2)]);
        replay.take(A, 7, 3);
        assert_eq!(replay.complete().collect::<Vec<_>>(), [(A, 7, 5)]);
        replay.take(A, 7, 5 + WIDTH);
        assert_eq!(replay.complete().collect::<Vec<_>>(), [(A, 7, 5)]);
    }

    #[test]
    fn a_jump_to_the_end_of_numbers_harms_its_author_only() {
        let mut replay = Replay::default();
        replay.take(A, 1, u64::MAX);
        assert_eq!(replay.look(A, 1, u64::MAX), Seen::Again);
        assert_eq!(replay.look(A, 1, 1), Seen::TooOld);
        replay.take(A, u64::MAX, 1);
        assert_eq!(replay.look(A, u64::MAX, 1), Seen::Again);
    }

    proptest! {
        /// Against a set of all numbers.
        #[test]
        fn the_window_tells_what_a_set_would_tell(
            steps in proptest::collection::vec((0u64..3, 1u64..9000), 1..200)
        ) {
            let mut replay = Replay::default();
            let mut naive: BTreeSet<u64> = BTreeSet::new();
            let mut highest = 0;
            for (mode, n) in steps {
                let seq = match mode { 0 => n, 1 => highest + 1, _ => (highest + 1).saturating_sub(n % 70).max(1) };
                let want = if naive.contains(&seq) && highest - seq < WIDTH {
                    Seen::Again
                } else if highest >= seq && highest - seq >= WIDTH {
                    Seen::TooOld
                } else {
                    Seen::Fresh
                };
                prop_assert_eq!(replay.look(A, 1, seq), want);
                if want == Seen::Fresh {
                    replay.take(A, 1, seq);
                    naive.insert(seq);
                    highest = highest.max(seq);
                }
                let mut again = Replay::default();
                for (author, bytes) in replay.persist() {
                    again.restore(author, &bytes).unwrap();
                }
                prop_assert_eq!(&again, &replay);
            }
        }

        #[test]
        fn odd_bytes_are_refused_or_restored(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = Replay::default().restore(A, &bytes);
        }
    }
}
