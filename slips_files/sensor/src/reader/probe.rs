//! The first bytes of a flow, while it is not known what speaks.

use super::Next;
use crate::track::Dir;

/// Bytes of a side that are looked at, and pieces of both sides together.
const MAX_BYTES: usize = 1024;
const MAX_PIECES: usize = 12;

/// What both sides began with.
#[derive(Debug, Default)]
pub(crate) struct Probe {
    sides: [Vec<u8>; 2],
    /// Who sent how much, in order.
    pieces: Vec<(Dir, usize)>,
}

impl Probe {
    pub(super) fn reset(&mut self) {
        for side in &mut self.sides {
            side.clear();
            // a first segment may be as long as a packet
            side.shrink_to(MAX_BYTES);
        }
        self.pieces.clear();
    }

    pub(super) fn held(&self) -> usize {
        self.sides.iter().map(Vec::len).sum()
    }

    pub(super) fn side(&self, dir: Dir) -> &[u8] {
        let [orig, resp] = &self.sides;
        match dir {
            Dir::Orig => orig,
            Dir::Resp => resp,
        }
    }

    /// What was sent, as it came.
    pub(super) fn pieces(&self) -> impl Iterator<Item = (Dir, &[u8])> {
        let mut at = [0; 2];
        self.pieces.iter().map(move |(dir, length)| {
            let begin = at[*dir as usize];
            at[*dir as usize] += length;
            (*dir, self.side(*dir).get(begin..begin + length).unwrap_or(&[]))
        })
    }

    pub(super) fn take(&mut self, dir: Dir, bytes: &[u8]) -> Next {
        let held = &mut self.sides[dir as usize];
        if held.len() + bytes.len() > MAX_BYTES.max(bytes.len()) || self.pieces.len() >= MAX_PIECES {
            return Next::Done;
        }
        held.extend_from_slice(bytes);
        self.pieces.push((dir, bytes.len()));
        Next::More
    }
}
