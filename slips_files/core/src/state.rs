//! State of detectors: vectors indexed by the shard's dense profile slot, so that no detector hashes an address to find itself.

use std::collections::{BTreeMap, HashSet};

use crate::detector::Slot;
use crate::hash::KeyedState;
use crate::time::WindowId;

/// One `T` per profile, made when first needed, dropped with the profile.
#[derive(Debug)]
pub struct PerSlot<T> {
    slots: Vec<Option<Box<T>>>,
}

impl<T> Default for PerSlot<T> {
    fn default() -> Self {
        Self { slots: Vec::new() }
    }
}

impl<T: Default> PerSlot<T> {
    /// The state of `slot`, made if there is none.
    pub fn get_or_default(&mut self, slot: Slot) -> &mut T {
        let index = slot.index();
        if index >= self.slots.len() {
            self.slots.resize_with(index + 1, || None);
        }
        // The resize above makes the index valid.
        #[expect(clippy::indexing_slicing, reason = "resized to hold `index` just above")]
        self.slots[index].get_or_insert_default()
    }
}

impl<T> PerSlot<T> {
    /// The state of `slot`, if there is any.
    pub fn get_mut(&mut self, slot: Slot) -> Option<&mut T> {
        self.slots.get_mut(slot.index())?.as_deref_mut()
    }

    /// Drops the state of `slot`.
    pub fn forget(&mut self, slot: Slot) {
        if let Some(state) = self.slots.get_mut(slot.index()) {
            *state = None;
        }
    }

    /// All states there are, with their slots.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Slot, &mut T)> {
        self.slots
            .iter_mut()
            .enumerate()
            .filter_map(|(index, state)| state.as_deref_mut().map(|state| (Slot(index as u32), state)))
    }

    /// Keeps only the states that `keep` says.
    pub fn retain(&mut self, mut keep: impl FnMut(Slot, &mut T) -> bool) {
        for (index, place) in self.slots.iter_mut().enumerate() {
            if let Some(state) = place
                && !keep(Slot(index as u32), state)
            {
                *place = None;
            }
        }
    }
}

/// How many windows of one profile are open at once. Zeek writes a flow when it ends, so a few old windows keep receiving.
pub const OPEN_WINDOWS: usize = 3;

/// One `T` per profile and time window, for at most [`OPEN_WINDOWS`] windows; a newer one pushes out the oldest.
///
/// A window closes at the cost of the profiles that have state in it, not of all there are.
#[derive(Debug)]
pub struct Windowed<T> {
    slots: PerSlot<Vec<(WindowId, T)>>,
    /// Slots that may have state in a window.
    index: BTreeMap<WindowId, HashSet<Slot, KeyedState>>,
}

impl<T> Default for Windowed<T> {
    fn default() -> Self {
        Self { slots: PerSlot::default(), index: BTreeMap::new() }
    }
}

impl<T: Default> Windowed<T> {
    /// The state of `slot` in `window`, made if there is none. A window older than all of a full set replaces nothing newer
    /// than itself: the oldest goes, which may be the one made here at the next call.
    pub fn get_or_default(&mut self, slot: Slot, window: WindowId) -> &mut T {
        let windows = self.slots.get_or_default(slot);
        let at = match windows.iter().position(|(id, _)| *id == window) {
            Some(at) => at,
            None => {
                if windows.len() >= OPEN_WINDOWS
                    && let Some(oldest) =
                        windows.iter().enumerate().min_by_key(|(_, (id, _))| *id).map(|(at, _)| at)
                {
                    windows.swap_remove(oldest);
                }
                if windows.is_empty() {
                    // Most profiles live in one window only: no room for four.
                    windows.reserve_exact(1);
                }
                windows.push((window, T::default()));
                self.index.entry(window).or_default().insert(slot);
                windows.len() - 1
            }
        };
        #[expect(clippy::indexing_slicing, reason = "`at` was found or pushed just above")]
        &mut windows[at].1
    }
}

impl<T> Windowed<T> {
    /// The state of `slot` in `window`, if there is any.
    pub fn get_mut(&mut self, slot: Slot, window: WindowId) -> Option<&mut T> {
        self.slots.get_mut(slot)?.iter_mut().find(|(id, _)| *id == window).map(|(_, state)| state)
    }

    /// Drops all windows of `slot`.
    pub fn forget(&mut self, slot: Slot) {
        self.slots.forget(slot);
    }

    /// Takes out the state of every profile in `window`, in slot order.
    pub fn close(&mut self, window: WindowId, mut each: impl FnMut(Slot, T)) {
        let later = self.index.split_off(&WindowId(window.0.saturating_add(1)));
        let closing = std::mem::replace(&mut self.index, later);
        for (closed, slots) in closing {
            let mut slots: Vec<Slot> = slots.into_iter().collect();
            slots.sort_unstable();
            for slot in slots {
                let Some(windows) = self.slots.get_mut(slot) else { continue };
                let Some(at) = windows.iter().position(|(id, _)| *id == closed) else { continue };
                let (_, state) = windows.swap_remove(at);
                if windows.is_empty() {
                    self.slots.forget(slot);
                }
                if closed == window {
                    each(slot, state);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_of_a_profile_are_apart_and_the_oldest_makes_room() {
        let mut state: Windowed<u32> = Windowed::default();
        let slot = Slot(5);
        for window in 1..=4 {
            *state.get_or_default(slot, WindowId(window)) += window as u32;
        }
        assert_eq!(state.get_mut(slot, WindowId(1)), None);
        assert_eq!(state.get_mut(slot, WindowId(4)).copied(), Some(4));
        assert_eq!(state.get_mut(Slot(6), WindowId(4)), None);
    }

    #[test]
    fn closing_takes_out_that_window_and_drops_older_ones() {
        let mut state: Windowed<u32> = Windowed::default();
        *state.get_or_default(Slot(0), WindowId(1)) = 10;
        *state.get_or_default(Slot(0), WindowId(2)) = 20;
        *state.get_or_default(Slot(3), WindowId(2)) = 30;
        *state.get_or_default(Slot(3), WindowId(3)) = 40;
        let mut seen = Vec::new();
        state.close(WindowId(2), |slot, value| seen.push((slot, value)));
        assert_eq!(seen, [(Slot(0), 20), (Slot(3), 30)]);
        assert_eq!(state.get_mut(Slot(0), WindowId(1)), None);
        assert_eq!(state.get_mut(Slot(3), WindowId(3)).copied(), Some(40));
    }

    #[test]
    fn a_forgotten_slot_starts_anew() {
        let mut state: PerSlot<u32> = PerSlot::default();
        *state.get_or_default(Slot(2)) = 7;
        state.forget(Slot(2));
        assert_eq!(state.get_mut(Slot(2)), None);
        assert_eq!(*state.get_or_default(Slot(2)), 0);
        assert_eq!(state.iter_mut().count(), 1);
    }
}
