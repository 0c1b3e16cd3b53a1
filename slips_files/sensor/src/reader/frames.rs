//! Messages that say their own length, however they are cut.

use super::Next;

/// Longest head that a message may need to tell its length.
const MAX_HEAD: usize = 64;
/// Memory that a side keeps between messages.
const MAX_EMPTY: usize = 256;

/// What the first bytes of a message say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    /// It takes more bytes to tell.
    Unknown,
    /// Length of the whole message with its head.
    Of(usize),
    /// This is no message.
    Bad,
}

impl Size {
    /// A length that is known once its bytes are there.
    pub(crate) fn head(length: Option<usize>) -> Self {
        length.map_or(Self::Unknown, Self::Of)
    }
}

/// The begun message of a side.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    begun: Vec<u8>,
    /// Bytes of a message that are not kept and still to come.
    skip: u64,
}

impl Frames {
    /// Forgets everything but a little memory.
    pub(crate) fn clear(&mut self) {
        self.begun.clear();
        self.begun.shrink_to(MAX_EMPTY);
        self.skip = 0;
    }

    pub(crate) fn held(&self) -> usize {
        self.begun.len()
    }

    /// Hands on each message, of which at most the first `keep` bytes, until one wants something else than more.
    pub(crate) fn take(
        &mut self,
        mut bytes: &[u8],
        keep: usize,
        size: impl Fn(&[u8]) -> Size,
        mut message: impl FnMut(&[u8]) -> Next,
    ) -> Next {
        loop {
            let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len());
            self.skip -= skipped as u64;
            bytes = bytes.get(skipped..).unwrap_or(&[]);
            if bytes.is_empty() {
                return Next::More;
            }
            let next = if self.begun.is_empty() {
                match size(bytes) {
                    Size::Bad => return Next::Done,
                    Size::Of(whole) if bytes.len() >= whole.clamp(1, keep) => {
                        let (now, rest) = bytes.split_at(whole.clamp(1, bytes.len()));
                        self.skip = whole.saturating_sub(now.len()) as u64;
                        bytes = rest;
                        message(now.get(..keep).unwrap_or(now))
                    }
                    _ => self.begin(&mut bytes),
                }
            } else {
                match size(&self.begun) {
                    Size::Bad => return Next::Done,
                    Size::Unknown => self.begin(&mut bytes),
                    Size::Of(whole) => match self.add(&mut bytes, whole.clamp(1, keep)) {
                        None => Next::More,
                        Some(begun) => {
                            self.skip = whole.saturating_sub(begun.len()) as u64;
                            let next = message(&begun);
                            self.begun = begun;
                            self.begun.clear();
                            // a connection that says no more would keep it uncounted
                            self.begun.shrink_to(MAX_EMPTY);
                            next
                        }
                    },
                }
            };
            if next != Next::More {
                return next;
            }
        }
    }

    /// Takes the next byte of a head.
    fn begin(&mut self, bytes: &mut &[u8]) -> Next {
        let Some((first, rest)) = bytes.split_first() else { return Next::More };
        self.begun.push(*first);
        *bytes = rest;
        if self.begun.len() > MAX_HEAD { Next::Done } else { Next::More }
    }

    /// Takes bytes until there are `wanted`; the message when it is complete.
    fn add(&mut self, bytes: &mut &[u8], wanted: usize) -> Option<Vec<u8>> {
        let missing = wanted.saturating_sub(self.begun.len());
        let (now, rest) = bytes.split_at(missing.min(bytes.len()));
        self.begun.extend_from_slice(now);
        *bytes = rest;
        (self.begun.len() >= wanted).then(|| std::mem::take(&mut self.begun))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// One byte of length, which does not count itself.
    fn size(bytes: &[u8]) -> Size {
        match bytes {
            [] => Size::Unknown,
            [0xff, ..] => Size::Bad,
            [length, ..] => Size::Of(usize::from(*length) + 1),
        }
    }

    fn messages(wire: &[u8], cut: usize, keep: usize) -> (Vec<Vec<u8>>, Next) {
        let (mut frames, mut found, mut next) = (Frames::default(), Vec::new(), Next::More);
        for part in wire.chunks(cut) {
            if next == Next::More {
                next = frames.take(part, keep, size, |message| {
                    found.push(message.to_vec());
                    Next::More
                });
            }
        }
        (found, next)
    }

    #[test]
    fn messages_come_out_however_they_are_cut() {
        let wire = b"\x03abc\x00\x05hello\x02yo";
        for cut in 1..=wire.len() {
            let (found, _) = messages(wire, cut, 4);
            assert_eq!(found, [b"\x03abc".to_vec(), vec![0], b"\x05hel".to_vec(), b"\x02yo".to_vec()]);
        }
        assert_eq!(messages(b"\x01a\xff\x01b", 2, 8), (vec![b"\x01a".to_vec()], Next::Done));
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same(wire in prop::collection::vec(0..=254u8, 0..300), cut in 1..20usize) {
            let whole = messages(&wire, wire.len().max(1), 16);
            prop_assert_eq!(messages(&wire, cut, 16), whole);
        }
    }
}
