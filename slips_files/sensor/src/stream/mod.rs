//! TCP payload in order, for whoever reads it.
//!
//! A [`Stream`] exists only for a flow whose protocol is read. Bytes that arrive in order are handed through without a
//! copy; those above a hole wait in pieces of pooled memory until the hole is filled, until the peer acknowledges what
//! nobody here saw, or until they are too many: then the hole is told as a gap. Of bytes that arrive twice the first copy wins.

#[cfg(test)]
mod tests;

use crate::track::Dir;

/// Spare pieces that are kept for the next holes, and the largest that is worth keeping.
const MAX_SPARE: usize = 512;
const MAX_SPARE_SIZE: usize = 4096;
/// Pieces that one side may hold; neighbours are one piece.
const MAX_PIECES: usize = 64;

/// What a reader gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Data<'a> {
    /// The next bytes.
    Bytes(&'a [u8]),
    /// This many of the next bytes are lost.
    Gap(u64),
}

/// Memory behind all streams of a sensor.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// Bytes that wait above holes now.
    pub(crate) held: usize,
    /// Most bytes that all streams, and that one side of one stream, may hold.
    pub(crate) max_held: usize,
    pub(crate) max_side: usize,
    /// Holes that were given up because the bytes above them were too many.
    pub(crate) holes_given_up: u64,
    spare: Vec<Vec<u8>>,
}

impl Memory {
    pub(crate) fn new(max_held: usize, max_side: usize) -> Self {
        Self { held: 0, max_held, max_side, holes_given_up: 0, spare: Vec::new() }
    }

    fn piece(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut piece = self.spare.pop().unwrap_or_default();
        piece.extend_from_slice(bytes);
        self.held += bytes.len();
        piece
    }

    fn give_back(&mut self, mut piece: Vec<u8>) {
        self.held = self.held.saturating_sub(piece.len());
        if self.spare.len() < MAX_SPARE && piece.capacity() <= MAX_SPARE_SIZE {
            piece.clear();
            self.spare.push(piece);
        }
    }
}

/// A segment as who reads a stream sees it.
pub(crate) struct Segment<'a> {
    pub(crate) dir: Dir,
    /// Position of its first byte.
    pub(crate) from: u64,
    pub(crate) bytes: &'a [u8],
    /// Positions below which nothing of either side will come any more.
    pub(crate) settled: [u64; 2],
}

/// Both sides of a connection. Positions are relative sequence numbers: the first payload byte is number 1.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    sides: [Half; 2],
}

#[derive(Debug)]
struct Half {
    /// Position of the next byte to hand on.
    next: u64,
    /// What waits: positions with their bytes, in order, disjoint, all above `next`.
    pieces: Vec<(u64, Vec<u8>)>,
    held: usize,
}

impl Default for Half {
    fn default() -> Self {
        Self { next: 1, pieces: Vec::new(), held: 0 }
    }
}

impl Stream {
    /// A stream whose sides begin at these positions.
    pub(crate) fn begin(&mut self, orig: u64, resp: u64) {
        for (half, next) in self.sides.iter_mut().zip([orig, resp]) {
            half.next = next;
        }
    }

    /// Takes a segment, and hands on what is in order now and what is lost.
    pub(crate) fn read(
        &mut self,
        segment: &Segment<'_>,
        memory: &mut Memory,
        sink: &mut impl FnMut(Dir, Data<'_>),
    ) {
        if !segment.bytes.is_empty() {
            let mut one = |data: Data<'_>| sink(segment.dir, data);
            self.push(segment.dir, segment.from, segment.bytes, memory, &mut one);
        }
        for (dir, settled) in [Dir::Orig, Dir::Resp].into_iter().zip(segment.settled) {
            self.settle(dir, settled, memory, &mut |data| sink(dir, data));
        }
    }

    /// Takes the bytes that `dir` sent at position `from`, and hands on what is in order now.
    pub(crate) fn push(
        &mut self,
        dir: Dir,
        from: u64,
        bytes: &[u8],
        memory: &mut Memory,
        sink: &mut impl FnMut(Data<'_>),
    ) {
        if let Some(half) = self.sides.get_mut(dir as usize) {
            half.push(from, bytes, memory, sink);
        }
    }

    /// Nothing of `dir` below position `upto` will come any more.
    pub(crate) fn settle(
        &mut self,
        dir: Dir,
        upto: u64,
        memory: &mut Memory,
        sink: &mut impl FnMut(Data<'_>),
    ) {
        if let Some(half) = self.sides.get_mut(dir as usize) {
            half.settle(upto, memory, sink);
        }
    }

    /// Forgets what waits; the memory goes back.
    pub(crate) fn clear(&mut self, memory: &mut Memory) {
        for half in &mut self.sides {
            for (_, piece) in half.pieces.drain(..) {
                memory.give_back(piece);
            }
            half.held = 0;
        }
    }

    pub(crate) fn flip(&mut self) {
        self.sides.reverse();
    }
}

impl Half {
    fn push(
        &mut self,
        mut from: u64,
        mut bytes: &[u8],
        memory: &mut Memory,
        sink: &mut impl FnMut(Data<'_>),
    ) {
        while !bytes.is_empty() {
            if from < self.next {
                let old = usize::try_from(self.next - from).unwrap_or(usize::MAX);
                let Some(rest) = bytes.get(old..) else { return };
                (from, bytes) = (self.next, rest);
            } else if from == self.next {
                let room = self.pieces.first().map_or(u64::MAX, |(at, _)| at - from);
                let fits = usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len());
                let (now, rest) = bytes.split_at(fits);
                self.next += fits as u64;
                sink(Data::Bytes(now));
                self.drain(memory, sink);
                (from, bytes) = (from + fits as u64, rest);
            } else {
                self.hold(from, bytes, memory);
                self.keep_bounds(memory, sink);
                return;
            }
        }
    }

    /// Hands on the pieces that are next.
    fn drain(&mut self, memory: &mut Memory, sink: &mut impl FnMut(Data<'_>)) {
        while self.pieces.first().is_some_and(|(at, _)| *at == self.next) {
            let (_, piece) = self.pieces.remove(0);
            self.next += piece.len() as u64;
            self.held = self.held.saturating_sub(piece.len());
            sink(Data::Bytes(&piece));
            memory.give_back(piece);
        }
    }

    /// Keeps the parts of `bytes` that are not there yet.
    fn hold(&mut self, mut from: u64, mut bytes: &[u8], memory: &mut Memory) {
        let mut at = self.pieces.partition_point(|(start, piece)| start + (piece.len() as u64) < from);
        while !bytes.is_empty() {
            if let Some((start, piece)) = self.pieces.get(at)
                && *start <= from
            {
                // of what this piece has, the first copy stays
                let known = usize::try_from(start + piece.len() as u64 - from).unwrap_or(usize::MAX);
                let Some(rest) = bytes.get(known.min(bytes.len())..) else { return };
                let room = self
                    .pieces
                    .get(at + 1)
                    .map_or(u64::MAX, |(next, _)| next.saturating_sub(from + known as u64));
                let fits = usize::try_from(room).unwrap_or(usize::MAX).min(rest.len());
                let (now, behind) = rest.split_at(fits);
                if let Some((_, piece)) = self.pieces.get_mut(at) {
                    piece.extend_from_slice(now);
                    memory.held += now.len();
                    self.held += now.len();
                }
                (from, bytes) = (from + known as u64 + fits as u64, behind);
                at += 1;
                continue;
            }
            let room = self.pieces.get(at).map_or(u64::MAX, |(next, _)| next - from);
            let fits = usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len());
            let (now, behind) = bytes.split_at(fits);
            self.pieces.insert(at, (from, memory.piece(now)));
            self.held += now.len();
            (from, bytes) = (from + fits as u64, behind);
            at += 1;
        }
    }

    /// Gives up holes until what waits is within its bounds.
    fn keep_bounds(&mut self, memory: &mut Memory, sink: &mut impl FnMut(Data<'_>)) {
        while self.held > memory.max_side || self.pieces.len() > MAX_PIECES || memory.held > memory.max_held {
            let Some((at, _)) = self.pieces.first() else { return };
            memory.holes_given_up += 1;
            self.settle(*at, memory, sink);
        }
    }

    fn settle(&mut self, upto: u64, memory: &mut Memory, sink: &mut impl FnMut(Data<'_>)) {
        self.drain(memory, sink);
        while self.next < upto {
            let end = self.pieces.first().map_or(upto, |(at, _)| (*at).min(upto));
            let lost = end.saturating_sub(self.next);
            if lost > 0 {
                self.next = end;
                sink(Data::Gap(lost));
            }
            self.drain(memory, sink);
        }
        self.drain(memory, sink);
    }
}
