//! The first bytes of a flow, while it is not known what speaks.

use super::Next;
use crate::track::Dir;

/// Bytes of a side that are looked at, and pieces of both sides together.
const MAX_BYTES: usize = 1024;
const MAX_PIECES: u8 = 12;

/// What both sides began with.
#[derive(Debug, Default)]
pub(crate) struct Probe {
    sides: [Vec<u8>; 2],
    first: Option<Dir>,
    pieces: u8,
}

impl Probe {
    pub(super) fn reset(&mut self) {
        self.sides.iter_mut().for_each(Vec::clear);
        self.first = None;
        self.pieces = 0;
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

    /// The sides, the one that spoke first before.
    pub(super) fn order(&self) -> [Dir; 2] {
        let first = self.first.unwrap_or(Dir::Orig);
        [first, first.other()]
    }

    pub(super) fn take(&mut self, dir: Dir, bytes: &[u8]) -> Next {
        self.first.get_or_insert(dir);
        self.pieces += 1;
        let held = &mut self.sides[dir as usize];
        if held.len() + bytes.len() > MAX_BYTES.max(bytes.len()) || self.pieces > MAX_PIECES {
            return Next::Done;
        }
        held.extend_from_slice(bytes);
        Next::More
    }
}
