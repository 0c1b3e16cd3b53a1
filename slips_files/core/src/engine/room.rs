//! The room for open evidence: bounded, and kept free for what matters.
//!
//! Whoever forges senders can make any number of weak findings. They may push out each other, never a finding that is high, proven,
//! or about one of our own hosts; and what is critical finds a reserve when nothing can be pushed out.

use std::collections::{BTreeMap, BTreeSet};

use crate::evidence::{EvidenceId, Proof, ThreatLevel};
use crate::time::WindowId;

/// An evidence that may be pushed out, weakest first; among equals the oldest window first.
type Weak = (ThreatLevel, WindowId, EvidenceId);

#[derive(Debug)]
pub(super) struct Room {
    limit: usize,
    taken: usize,
    weak: BTreeSet<Weak>,
    /// Levels under which the weak ones stand, by window.
    levels: BTreeMap<WindowId, BTreeMap<EvidenceId, ThreatLevel>>,
    /// Everything that is held, weak or not, by window.
    held: BTreeMap<WindowId, BTreeSet<EvidenceId>>,
}

impl Room {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit: limit.max(1),
            taken: 0,
            weak: BTreeSet::new(),
            levels: BTreeMap::new(),
            held: BTreeMap::new(),
        }
    }

    /// Whether one more fits.
    pub(super) const fn has_place(&self) -> bool {
        self.taken < self.limit
    }

    /// Whether one more critical evidence fits beyond the limit: a quarter of it.
    pub(super) const fn has_reserve(&self) -> bool {
        self.taken < self.limit + self.limit.div_ceil(4)
    }

    /// Takes out the weakest evidence that has to yield to one of this strength.
    pub(super) fn weaker_than(
        &mut self,
        level: ThreatLevel,
        proof: Proof,
        local: bool,
    ) -> Option<(WindowId, EvidenceId)> {
        let &(weakest, window, id) = self.weak.first()?;
        if is_weak(level, proof, local) && weakest >= level {
            return None;
        }
        self.weak.pop_first();
        if let Some(levels) = self.levels.get_mut(&window) {
            levels.remove(&id);
        }
        if let Some(held) = self.held.get_mut(&window) {
            held.remove(&id);
        }
        self.taken -= 1;
        Some((window, id))
    }

    /// Notes an evidence, or that it changed.
    pub(super) fn put(
        &mut self,
        window: WindowId,
        id: EvidenceId,
        level: ThreatLevel,
        proof: Proof,
        local: bool,
    ) {
        if self.held.entry(window).or_default().insert(id) {
            self.taken += 1;
        }
        let levels = self.levels.entry(window).or_default();
        let before = levels.get(&id).copied();
        let now = is_weak(level, proof, local).then_some(level);
        if before == now {
            return;
        }
        if let Some(before) = before {
            self.weak.remove(&(before, window, id));
            levels.remove(&id);
        }
        if let Some(level) = now {
            self.weak.insert((level, window, id));
            levels.insert(id, level);
        }
    }

    /// The window is closed; all its evidence is gone.
    pub(super) fn close(&mut self, window: WindowId) {
        for (id, level) in self.levels.remove(&window).unwrap_or_default() {
            self.weak.remove(&(level, window, id));
        }
        self.taken -= self.held.remove(&window).map_or(0, |held| held.len());
    }
}

fn is_weak(level: ThreatLevel, proof: Proof, local: bool) -> bool {
    level < ThreatLevel::High && proof == Proof::Unproven && !local
}

#[cfg(test)]
mod tests {
    use super::*;
    use ThreatLevel::{Critical, High, Low, Medium};

    const W: WindowId = WindowId(1);

    fn room(limit: usize, levels: &[ThreatLevel]) -> Room {
        let mut room = Room::new(limit);
        for (n, level) in levels.iter().enumerate() {
            room.put(W, EvidenceId(n as u128), *level, Proof::Unproven, false);
        }
        room
    }

    #[test]
    fn the_weakest_yields_to_what_is_stronger_and_never_to_its_like() {
        let mut full = room(3, &[Medium, Low, Medium]);
        assert!(!full.has_place());
        assert_eq!(full.weaker_than(Low, Proof::Unproven, false), None);
        assert_eq!(full.weaker_than(Medium, Proof::Unproven, false), Some((W, EvidenceId(1))));
        assert!(full.has_place());
    }

    #[test]
    fn what_is_high_proven_or_ours_takes_any_weak_place_and_keeps_its_own() {
        for (level, proof, local) in
            [(High, Proof::Unproven, false), (Low, Proof::Proven, false), (Low, Proof::Unproven, true)]
        {
            let mut full = room(1, &[Medium]);
            assert!(full.weaker_than(level, proof, local).is_some());
            full.put(W, EvidenceId(9), level, proof, local);
            assert_eq!(full.weaker_than(Critical, Proof::Proven, true), None);
            assert!(full.has_reserve());
        }
    }

    #[test]
    fn an_evidence_that_became_strong_cannot_be_pushed_out_any_more() {
        let mut full = room(1, &[Medium]);
        full.put(W, EvidenceId(0), Critical, Proof::Unproven, false);
        assert_eq!(full.weaker_than(Critical, Proof::Proven, true), None);
        full.close(W);
        assert!(full.has_place());
        assert_eq!(full.taken, 0);
    }
}
