//! The stream of handshake bytes, whose pieces come in any order, in any packet, more than once.

/// Longest hello: what fits a record of TLS 1.3 (RFC 8446, section 5.2).
const MAX_BYTES: usize = (1 << 14) + 256;
/// Separate pieces that may wait for those between them. Browsers cut a hello into some twenty on purpose.
const MAX_PIECES: usize = 128;

/// What a piece of the stream did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Added {
    Taken,
    /// It lies where no hello reaches, or there are too many pieces.
    Refused,
}

/// The first message of a side.
#[derive(Debug, Default)]
pub(super) struct Stream {
    bytes: Vec<u8>,
    /// Begins and ends of what is there, in order, apart from each other.
    pieces: Vec<(usize, usize)>,
}

impl Stream {
    /// Forgets everything but a little memory.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(4096);
        self.pieces.clear();
    }

    pub(super) fn held(&self) -> usize {
        self.bytes.len()
    }

    /// Takes the bytes at `offset`. Of bytes that come twice the first copy wins.
    pub(super) fn add(&mut self, offset: u64, bytes: &[u8]) -> Added {
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

    /// The first handshake message with its header, when it is whole. `None` in the second place while its length is not known.
    pub(super) fn message(&self) -> Option<&[u8]> {
        let (_, end) = self.pieces.first().filter(|(begin, _)| *begin == 0)?;
        let there = self.bytes.get(..*end)?;
        let [_, high, mid, low, ..] = there else { return None };
        let length = usize::from(*high) << 16 | usize::from(*mid) << 8 | usize::from(*low);
        there.get(..length.checked_add(4)?)
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

    fn message(length: usize) -> Vec<u8> {
        let mut bytes = vec![1, 0, (length >> 8) as u8, length as u8];
        bytes.extend((0..length).map(|at| at as u8));
        bytes
    }

    #[test]
    fn what_no_hello_reaches_is_refused() {
        let mut stream = Stream::default();
        for offset in [u64::MAX, (1 << 62) - 1, MAX_BYTES as u64] {
            assert_eq!(stream.add(offset, b"x"), Added::Refused);
        }
        assert_eq!(stream.held(), 0);
        assert_eq!(stream.add(MAX_BYTES as u64 - 1, b"x"), Added::Taken);
        assert_eq!(stream.message(), None);
    }

    #[test]
    fn pieces_are_bounded_and_a_full_stream_still_closes_holes() {
        let mut stream = Stream::default();
        let refused = (0..4000).filter(|nth| stream.add(nth * 2, b"x") == Added::Refused).count();
        assert_eq!(refused, 4000 - MAX_PIECES);
        assert_eq!(stream.add(1, b"y"), Added::Taken);
    }

    proptest! {
        #[test]
        fn any_order_of_pieces_gives_the_message(
            cuts in prop::collection::vec((0..600usize, 1..200usize), 0..60),
            length in 0..500usize,
        ) {
            let whole = message(length);
            let mut stream = Stream::default();
            let mut seen = vec![false; whole.len()];
            for (at, size) in cuts {
                let from = at.min(whole.len());
                let to = (from + size).min(whole.len());
                prop_assert_eq!(stream.add(from as u64, &whole[from..to]), Added::Taken);
                seen[from..to].fill(true);
                let complete = seen.iter().all(|seen| *seen);
                prop_assert_eq!(stream.message().is_some(), complete);
            }
            stream.add(0, &whole);
            prop_assert_eq!(stream.message(), Some(&whole[..]));
        }
    }
}
