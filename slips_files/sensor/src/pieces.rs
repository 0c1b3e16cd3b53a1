//! A handshake's bytes, whose pieces come in any order, in any packet, more than once: QUIC's and DTLS'.

/// Longest message: what fits a record of TLS 1.3 (RFC 8446, section 5.2).
const MAX_BYTES: usize = (1 << 14) + 256;
/// Separate pieces that may wait for those between them. Browsers cut a hello into some twenty on purpose.
const MAX_PIECES: usize = 128;

/// What became of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Added {
    Taken,
    /// It lies where no message reaches, or there are too many pieces.
    Refused,
}

/// A message being put together.
#[derive(Debug, Default)]
pub(crate) struct Pieces {
    bytes: Vec<u8>,
    /// Begins and ends of what is there, in order, apart from each other.
    pieces: Vec<(usize, usize)>,
}

impl Pieces {
    /// Forgets everything but a little memory.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(4096);
        self.pieces.clear();
    }

    pub(crate) fn held(&self) -> usize {
        self.bytes.len()
    }

    /// Takes the bytes at `offset`. Of bytes that come twice the first copy wins.
    pub(crate) fn add(&mut self, offset: u64, bytes: &[u8]) -> Added {
        let Ok(from) = usize::try_from(offset) else { return Added::Refused };
        let Some(to) = from.checked_add(bytes.len()).filter(|to| *to <= MAX_BYTES) else {
            return Added::Refused;
        };
        if bytes.is_empty() {
            return Added::Taken;
        }
        let first = self.pieces.partition_point(|(_, end)| *end < from);
        let beyond = self.pieces.partition_point(|(begin, _)| *begin <= to);
        if first == beyond && self.pieces.len() >= MAX_PIECES {
            return Added::Refused;
        }
        if self.bytes.len() < to {
            self.bytes.resize(to, 0);
        }
        let (mut begin, mut end, mut at) = (from, to, from);
        for (old_begin, old_end) in self.pieces.drain(first..beyond) {
            // what lies between the old pieces is new
            copy(&mut self.bytes, at, old_begin, from, bytes);
            at = at.max(old_end);
            begin = begin.min(old_begin);
            end = end.max(old_end);
        }
        copy(&mut self.bytes, at, to, from, bytes);
        self.pieces.insert(first, (begin, end));
        Added::Taken
    }

    /// What is there without a hole from the beginning on.
    pub(crate) fn prefix(&self) -> &[u8] {
        let end = self.pieces.first().filter(|(begin, _)| *begin == 0).map_or(0, |(_, end)| *end);
        self.bytes.get(..end).unwrap_or(&[])
    }
}

/// Copies what `bytes`, which begin at `from`, have for the places `at..to`.
fn copy(room: &mut [u8], at: usize, to: usize, from: usize, bytes: &[u8]) {
    if at >= to {
        return;
    }
    if let (Some(room), Some(new)) = (room.get_mut(at..to), bytes.get(at - from..to - from)) {
        room.copy_from_slice(new);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_no_message_reaches_is_refused() {
        let mut pieces = Pieces::default();
        for offset in [u64::MAX, (1 << 62) - 1, MAX_BYTES as u64] {
            assert_eq!(pieces.add(offset, b"x"), Added::Refused);
        }
        assert_eq!(pieces.held(), 0);
        assert_eq!(pieces.add(MAX_BYTES as u64 - 1, b"x"), Added::Taken);
        assert_eq!(pieces.prefix(), b"");
    }

    #[test]
    fn pieces_are_bounded_and_a_full_message_still_closes_holes() {
        let mut pieces = Pieces::default();
        let refused = (0..4000).filter(|nth| pieces.add(nth * 2, b"x") == Added::Refused).count();
        assert_eq!(refused, 4000 - MAX_PIECES);
        assert_eq!(pieces.add(1, b"y"), Added::Taken);
    }

    proptest! {
        #[test]
        fn any_order_of_pieces_gives_the_whole(
            cuts in prop::collection::vec((0..600usize, 1..200usize), 0..60),
            length in 0..500usize,
        ) {
            let whole: Vec<u8> = (0..length).map(|at| at as u8).collect();
            let mut pieces = Pieces::default();
            let mut seen = vec![false; whole.len()];
            for (at, size) in cuts {
                let from = at.min(whole.len());
                let to = (from + size).min(whole.len());
                prop_assert_eq!(pieces.add(from as u64, &whole[from..to]), Added::Taken);
                seen[from..to].fill(true);
                let there = seen.iter().take_while(|seen| **seen).count();
                prop_assert_eq!(pieces.prefix(), &whole[..there]);
            }
            pieces.add(0, &whole);
            prop_assert_eq!(pieces.prefix(), &whole[..]);
        }
    }
}
