//! Missing data: which bytes arrived, and which were acknowledged by the peer although nobody here saw them.

use super::state::End;

/// Stretches of data that may wait above holes, per side. Beyond that the farthest hole is forgotten.
const MAX_STRETCHES: usize = 16;

/// Data above holes, of both sides: relative sequence numbers from (included) to (excluded), sorted, disjoint.
#[derive(Debug, Default)]
pub(crate) struct Above {
    sides: [Vec<(u64, u64)>; 2],
}

/// Memory of flows that ended, for the next ones that need it.
/// The boxes themselves are handed back and forth, so that no flow allocates.
#[derive(Debug, Default)]
pub(crate) struct Spare {
    #[expect(clippy::vec_box, reason = "flows take the boxes")]
    boxes: Vec<Box<Above>>,
    /// Holes that were forgotten because there were too many.
    pub(crate) holes_forgotten: u64,
}

impl Spare {
    /// Spare boxes that are kept.
    const MOST: usize = 1024;

    pub(crate) fn keep(&mut self, mut above: Box<Above>) {
        if self.boxes.len() < Self::MOST {
            above.clear();
            self.boxes.push(above);
        }
    }
}

impl Above {
    pub(crate) fn flip(&mut self) {
        self.sides.reverse();
    }

    /// Forgets everything, keeps the memory.
    fn clear(&mut self) {
        self.sides.iter_mut().for_each(Vec::clear);
    }

    pub(crate) fn clear_side(&mut self, side: usize) {
        if let Some(stretches) = self.sides.get_mut(side) {
            stretches.clear();
        }
    }

    /// Notes a stretch; true when a hole had to be forgotten for it.
    fn insert(&mut self, side: usize, from: u64, to: u64) -> bool {
        let Some(stretches) = self.sides.get_mut(side) else { return false };
        let first = stretches.partition_point(|&(_, end)| end < from);
        let after = stretches.partition_point(|&(start, _)| start <= to);
        let touched = stretches.get(first..after).unwrap_or(&[]);
        let from = touched.first().map_or(from, |&(start, _)| start.min(from));
        let to = touched.last().map_or(to, |&(_, end)| end.max(to));
        stretches.splice(first..after, [(from, to)]);
        if stretches.len() > MAX_STRETCHES
            && let Some((_, end)) = stretches.pop()
            && let Some(last) = stretches.last_mut()
        {
            last.1 = end;
            return true;
        }
        false
    }
}

/// Notes that `end` (side `side`) sent the bytes from relative `from` to `to`.
pub(crate) fn sent(
    end: &mut End,
    above: &mut Option<Box<Above>>,
    spare: &mut Spare,
    side: usize,
    from: u64,
    to: u64,
) {
    if to <= end.delivered {
        return;
    }
    if from > end.delivered {
        let above = above.get_or_insert_with(|| spare.boxes.pop().unwrap_or_default());
        spare.holes_forgotten += u64::from(above.insert(side, from, to));
        return;
    }
    end.delivered = to;
    let Some(stretches) = above.as_mut().and_then(|above| above.sides.get_mut(side)) else { return };
    let reached = stretches.partition_point(|&(start, _)| start <= end.delivered);
    for (_, stretch_end) in stretches.drain(..reached) {
        end.delivered = end.delivered.max(stretch_end);
    }
}

/// The peer acknowledged everything of `end` below relative `upto`. Calls `gap` with the length of each stretch nobody saw.
pub(crate) fn acked(
    end: &mut End,
    above: &mut Option<Box<Above>>,
    side: usize,
    upto: u64,
    mut gap: impl FnMut(u64),
) {
    if upto <= end.delivered {
        return;
    }
    if let Some(stretches) = above.as_mut().and_then(|above| above.sides.get_mut(side)) {
        let reached = stretches.partition_point(|&(start, _)| start < upto);
        for (from, to) in stretches.drain(..reached) {
            if from > end.delivered {
                gap(from - end.delivered);
            }
            end.delivered = end.delivered.max(to);
        }
    }
    if upto > end.delivered {
        gap(upto - end.delivered);
        end.delivered = upto;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_found_when_they_are_acknowledged() {
        let (mut end, mut above, mut spare) = (End::default(), None, Spare::default());
        sent(&mut end, &mut above, &mut spare, 0, 1, 11);
        sent(&mut end, &mut above, &mut spare, 0, 21, 31);
        sent(&mut end, &mut above, &mut spare, 0, 41, 51);
        sent(&mut end, &mut above, &mut spare, 0, 31, 36);
        let mut gaps = Vec::new();
        acked(&mut end, &mut above, 0, 45, |length| gaps.push(length));
        assert_eq!((gaps, end.delivered), (vec![10, 5], 51));
    }

    #[test]
    fn a_filled_hole_is_no_gap() {
        let (mut end, mut above, mut spare) = (End::default(), None, Spare::default());
        sent(&mut end, &mut above, &mut spare, 1, 11, 21);
        sent(&mut end, &mut above, &mut spare, 1, 1, 11);
        acked(&mut end, &mut above, 1, 21, |_| panic!("no gap"));
        assert_eq!(end.delivered, 21);
    }

    #[test]
    fn stretches_are_bounded() {
        let (mut end, mut above, mut spare) = (End::default(), None, Spare::default());
        for n in 1..1000u64 {
            sent(&mut end, &mut above, &mut spare, 0, n * 10, n * 10 + 5);
        }
        assert_eq!(above.expect("stretches").sides[0].len(), MAX_STRETCHES);
        assert_eq!(spare.holes_forgotten, 999 - MAX_STRETCHES as u64);
    }
}
