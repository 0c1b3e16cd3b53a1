//! DNS over TCP: messages with a two-byte length before each, across segments.

use crate::account::Account;
use crate::stream::{Data, Memory, Segment, Stream as Ordered};
use crate::track::Dir;

/// The begun message of each side.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    sides: [Half; 2],
    stream: Ordered,
}

#[derive(Clone, Debug, Default)]
struct Half {
    held: Vec<u8>,
    /// Data was missed: where messages begin is not known any more.
    is_lost: bool,
}

impl Stream {
    /// Begins to read at these positions of its sides.
    pub(crate) fn begin(&mut self, [orig, resp]: [u64; 2]) {
        self.stream.begin(orig, resp);
    }

    /// Takes a segment, in whatever order they come, and yields the messages that it completes.
    pub(crate) fn read(
        &mut self,
        segment: &Segment<'_>,
        memory: &mut Memory,
        held: &mut Account,
        mut message: impl FnMut(&[u8]),
    ) {
        let mut stream = std::mem::take(&mut self.stream);
        stream.read(segment, memory, &mut |dir, data| match data {
            Data::Bytes(bytes) => self.push(dir, bytes, held, &mut message),
            Data::Gap(_) => self.lose(dir, held),
        });
        self.stream = stream;
    }

    /// Takes the next bytes of `dir` and yields the messages that they complete. `held` counts the bytes of all streams.
    fn push(&mut self, dir: Dir, bytes: &[u8], held: &mut Account, mut message: impl FnMut(&[u8])) {
        let Some(half) = self.sides.get_mut(dir as usize).filter(|half| !half.is_lost) else { return };
        if half.held.is_empty() {
            let rest = split(bytes, &mut message);
            half.hold(rest, held);
            return;
        }
        half.hold(bytes, held);
        let used = half.held.len() - split(&half.held, &mut message).len();
        if used > 0 {
            // what is left keeps no more memory than it needs
            half.held = half.held.split_off(used);
            held.give_back(used);
        }
    }

    /// Data of `dir` is missing.
    fn lose(&mut self, dir: Dir, held: &mut Account) {
        if let Some(half) = self.sides.get_mut(dir as usize) {
            half.lose(held);
        }
    }

    /// The flow is over.
    pub(crate) fn close(&mut self, memory: &mut Memory, held: &mut Account) {
        self.stream.clear(memory);
        self.sides.iter_mut().for_each(|half| half.lose(held));
    }

    pub(crate) fn flip(&mut self) {
        self.sides.reverse();
        self.stream.flip();
    }
}

impl Half {
    fn hold(&mut self, bytes: &[u8], held: &mut Account) {
        if held.take(bytes.len()) {
            self.held.extend_from_slice(bytes);
        } else {
            self.lose(held);
        }
    }

    fn lose(&mut self, held: &mut Account) {
        held.give_back(self.held.len());
        self.held = Vec::new();
        self.is_lost = true;
    }
}

/// Yields the whole messages of `bytes`; what is left.
fn split<'a>(mut bytes: &'a [u8], message: &mut impl FnMut(&[u8])) -> &'a [u8] {
    while let [high, low, rest @ ..] = bytes {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let (Some(whole), Some(behind)) = (rest.get(..length), rest.get(length..)) else { break };
        message(whole);
        bytes = behind;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_out_however_they_are_cut() {
        let wire = b"\x00\x03abc\x00\x00\x00\x02de";
        for size in 1..=wire.len() {
            let (mut stream, mut held, mut found) = (Stream::default(), Account::new(100), Vec::new());
            for part in wire.chunks(size) {
                stream.push(Dir::Orig, part, &mut held, |message| found.push(message.to_vec()));
            }
            assert_eq!(found, [b"abc".to_vec(), vec![], b"de".to_vec()]);
            assert_eq!((held.now(), held.refused), (0, 0));
        }
    }

    #[test]
    fn held_bytes_are_bounded_and_given_back() {
        let mut held = Account::new(5);
        let mut stream = Stream::default();
        stream.push(Dir::Resp, b"\xff\xffabc", &mut held, |_| panic!("no message"));
        assert_eq!(held.now(), 5);
        stream.push(Dir::Resp, b"d", &mut held, |_| panic!("no message"));
        assert_eq!((held.now(), held.refused), (0, 1));
        stream.push(Dir::Resp, b"d", &mut held, |_| panic!("no message"));
        stream.close(&mut Memory::default(), &mut held);
        assert_eq!((held.now(), held.refused), (0, 1));
    }

    #[test]
    fn segments_out_of_order_are_read_in_order() {
        let (mut stream, mut memory, mut held) =
            (Stream::default(), Memory::new(1 << 20, 1 << 18), Account::new(1 << 20));
        let mut found = Vec::new();
        for (from, bytes) in [(4, &b"bc"[..]), (1, b"\x00\x03a"), (6, b"\x00\x01d")] {
            let segment = Segment { dir: Dir::Orig, from, bytes, settled: [1, 1] };
            stream.read(&segment, &mut memory, &mut held, |message| found.push(message.to_vec()));
        }
        assert_eq!(found, [b"abc".to_vec(), b"d".to_vec()]);
        stream.close(&mut memory, &mut held);
        assert_eq!((held.now(), memory.held), (0, 0));
    }
}
