//! History letters: what happened in a flow, in order.

use slips_core::flow::History;

use crate::track::Dir;

/// The letters written so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Letters {
    text: History,
    /// Bit per letter: upper case in the low half, lower case in the high half.
    seen: u64,
}

const fn bit(letter: u8, dir: Dir) -> u64 {
    let low = 1u64 << (letter & 31);
    match dir {
        Dir::Orig => low,
        Dir::Resp => low << 32,
    }
}

const fn cased(letter: u8, dir: Dir) -> u8 {
    match dir {
        Dir::Orig => letter,
        Dir::Resp => letter.to_ascii_lowercase(),
    }
}

impl Letters {
    /// Writes a letter if it was not there; whether it was new.
    pub(crate) fn once(&mut self, dir: Dir, letter: u8) -> bool {
        let bit = bit(letter, dir);
        if self.seen & bit != 0 {
            return false;
        }
        self.seen |= bit;
        self.text.push_ascii(cased(letter, dir));
        true
    }

    /// Writes a letter that was there before.
    pub(crate) fn again(&mut self, dir: Dir, letter: u8) {
        self.text.push_ascii(cased(letter, dir));
    }

    /// Counts an occurrence and writes the letter at the 1st, 10th, 100th …
    pub(crate) fn scaled(&mut self, dir: Dir, letter: u8, count: &mut u32) {
        *count = count.saturating_add(1);
        if matches!(*count, 1 | 10 | 100 | 1000 | 10_000 | 100_000 | 1_000_000 | 10_000_000 | 100_000_000) {
            self.text.push_ascii(cased(letter, dir));
        }
    }

    /// Originator and responder were swapped.
    pub(crate) fn flipped(&mut self) {
        self.text.push_ascii(b'^');
    }

    /// Whether exactly a SYN-ACK of the presumed originator was seen.
    pub(crate) fn is_lone_syn_ack(&self) -> bool {
        self.text.as_str() == "H"
    }

    /// The lone SYN-ACK was the responder's.
    pub(crate) fn rewrite_lone_syn_ack(&mut self) {
        self.text = History::new("^h");
        self.seen = bit(b'H', Dir::Resp);
    }

    /// The text.
    pub(crate) fn text(&self) -> History {
        self.text
    }

    /// A SYN, then a reset by the same side, and nothing that says more in between.
    pub(crate) fn is_syn_then_reset(&self) -> bool {
        let text = self.text.as_str();
        let text = text.strip_prefix('^').unwrap_or(text);
        let Some(rest) = text.strip_prefix('S') else { return false };
        rest.bytes().find(|letter| b"HAFGIQR".contains(letter)) == Some(b'R')
    }
}
