//! The compressions that nfdump uses, unpacked with a limit. Damage is `None`, never more than that.

pub(super) mod lz4;
pub(super) mod lzo;

use std::io::Read;

/// Appends what a reader unpacks of one block.
pub(super) fn stream(unpacked: impl Read, most: usize, into: &mut Vec<u8>) -> Option<()> {
    let most = u64::try_from(most).ok()?;
    let count = unpacked.take(most + 1).read_to_end(into).ok()?;
    (u64::try_from(count).ok()? <= most).then_some(())
}

/// What was unpacked of one block.
struct Output<'a> {
    bytes: &'a mut Vec<u8>,
    begin: usize,
    most: usize,
}

impl<'a> Output<'a> {
    fn new(bytes: &'a mut Vec<u8>, most: usize) -> Self {
        let begin = bytes.len();
        Self { bytes, begin, most }
    }

    fn has_room(&self, count: usize) -> Option<()> {
        (count <= self.most - (self.bytes.len() - self.begin)).then_some(())
    }

    /// Moves `count` bytes from the input.
    fn literals(&mut self, count: usize, rest: &mut &[u8]) -> Option<()> {
        let (plain, after) = rest.split_at_checked(count)?;
        self.has_room(count)?;
        self.bytes.extend_from_slice(plain);
        *rest = after;
        Some(())
    }

    /// Repeats `count` bytes from `distance` bytes back; the copy may reach into what it writes itself.
    fn repeat(&mut self, distance: usize, count: usize) -> Option<()> {
        if distance == 0 || distance > self.bytes.len() - self.begin {
            return None;
        }
        self.has_room(count)?;
        let mut left = count;
        while left > 0 {
            let from = self.bytes.len() - distance;
            let step = left.min(distance);
            self.bytes.extend_from_within(from..from + step);
            left -= step;
        }
        Some(())
    }
}

fn byte(rest: &mut &[u8]) -> Option<u8> {
    let (byte, after) = rest.split_first()?;
    *rest = after;
    Some(*byte)
}

fn two(rest: &mut &[u8]) -> Option<usize> {
    let (two, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(usize::from(u16::from_le_bytes(*two)))
}
