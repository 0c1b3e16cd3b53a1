//! A timing wheel over the flow table: each flow waits in one slot for the next moment at which something may be due.
//!
//! Moving a flow's deadline later costs nothing: it is looked at when its slot comes, and put back. Slots are about a
//! quarter of a second wide for the next two minutes, about two minutes wide for the next two hours.

use slips_core::time::PacketTime;

use crate::list::List;
use crate::track::Track;

/// Microseconds of a tick, as a power of two.
const TICK_BITS: u32 = 18;
const NEAR: i64 = 512;
const FAR: i64 = 64;

/// The wheel.
#[derive(Debug)]
pub(crate) struct Wheel {
    slots: Vec<List>,
    tick: i64,
    armed: usize,
}

const fn tick_of(at: PacketTime) -> i64 {
    at.0 >> TICK_BITS
}

impl Wheel {
    pub(crate) fn new() -> Self {
        Self { slots: vec![List::EMPTY; (NEAR + FAR) as usize], tick: 0, armed: 0 }
    }

    /// Begins at `now`, with nothing armed.
    pub(crate) fn start(&mut self, now: PacketTime) {
        self.tick = tick_of(now);
    }

    /// Whether time `to` lies beyond the current tick.
    pub(crate) fn is_behind(&self, to: PacketTime) -> bool {
        tick_of(to) > self.tick
    }

    /// The moment up to which timers have fired.
    pub(crate) fn now(&self) -> PacketTime {
        PacketTime(self.tick << TICK_BITS)
    }

    fn slot(&self, earliest: i64, due: PacketTime) -> usize {
        let tick = (tick_of(due).saturating_add(1)).max(earliest);
        let ahead = tick.saturating_sub(self.tick);
        if ahead < NEAR {
            return tick.rem_euclid(NEAR) as usize;
        }
        let block = self.tick.div_euclid(NEAR);
        let blocks = tick.div_euclid(NEAR).saturating_sub(block).clamp(1, FAR - 1);
        (NEAR + (block + blocks).rem_euclid(FAR)) as usize
    }

    fn put(&mut self, tracks: &mut [Track], index: u32, earliest: i64) {
        let Some(track) = tracks.get_mut(index as usize) else { return };
        let slot = self.slot(earliest, track.due);
        track.wheel_slot = slot as u16;
        if let Some(list) = self.slots.get_mut(slot) {
            list.push_back::<0, Track>(tracks, index);
            self.armed += 1;
        }
    }

    /// Lets flow `index`, which is not armed, wait for its `due`.
    pub(crate) fn arm(&mut self, tracks: &mut [Track], index: u32) {
        self.put(tracks, index, self.tick + 1);
    }

    /// Takes flow `index`, which is armed, out.
    pub(crate) fn disarm(&mut self, tracks: &mut [Track], index: u32) {
        let Some(slot) = tracks.get(index as usize).map(|track| usize::from(track.wheel_slot)) else {
            return;
        };
        if let Some(list) = self.slots.get_mut(slot) {
            list.remove::<0, Track>(tracks, index);
            self.armed -= 1;
        }
    }

    /// Takes the next flow whose slot came by `to`, or moves on to `to` and returns none.
    pub(crate) fn next_due(&mut self, tracks: &mut [Track], to: PacketTime) -> Option<u32> {
        let target = tick_of(to);
        loop {
            let slot = self.tick.rem_euclid(NEAR) as usize;
            if let Some(index) = self.slots.get_mut(slot).and_then(|list| list.pop_front::<0, Track>(tracks))
            {
                self.armed -= 1;
                return Some(index);
            }
            if self.tick >= target {
                return None;
            }
            if self.armed == 0 {
                self.tick = target;
                return None;
            }
            // A jump longer than the wheel turns it once; whoever then is in a wrong slot is put right when it comes.
            self.tick = (self.tick + 1).max(target.saturating_sub(NEAR * FAR));
            if self.tick.rem_euclid(NEAR) == 0 {
                self.cascade(tracks);
            }
        }
    }

    /// A new block begins: its flows move from its far slot to the near ones.
    fn cascade(&mut self, tracks: &mut [Track]) {
        let slot = (NEAR + self.tick.div_euclid(NEAR).rem_euclid(FAR)) as usize;
        let Some(list) = self.slots.get_mut(slot) else { return };
        let mut waiting = std::mem::replace(list, List::EMPTY);
        while let Some(index) = waiting.pop_front::<0, Track>(tracks) {
            self.armed -= 1;
            self.put(tracks, index, self.tick);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::track::{Key, Kind};

    fn flow(due: i64) -> Track {
        let key =
            Key { src: 1, dst: 2, src_port: 3, dst_port: 4, proto: 17, kind: Kind::Udp, tunnelled: false };
        let mut track = Track::new(&key, 0, PacketTime(0));
        track.due = PacketTime(due);
        track
    }

    #[test]
    fn every_flow_comes_after_its_time_and_in_order() {
        let dues = [0, 1_000_000, 60_000_000, 130_000_000, 140_000_000, 3_600_000_000, 90_000_000_000];
        let mut tracks: Vec<Track> = dues.iter().map(|due| flow(*due)).collect();
        let mut wheel = Wheel::new();
        wheel.start(PacketTime(0));
        for index in 0..tracks.len() as u32 {
            wheel.arm(&mut tracks, index);
        }
        let mut order = Vec::new();
        for step in 1..200_000i64 {
            let to = PacketTime(step * 500_000);
            while let Some(index) = wheel.next_due(&mut tracks, to) {
                let due = tracks[index as usize].due;
                if wheel.now() < due {
                    wheel.arm(&mut tracks, index); // the last one lies beyond the wheel
                    continue;
                }
                assert!(to.0 - due.0 < 1_000_000, "{} came at {}", due.0, to.0);
                order.push(index);
            }
        }
        assert_eq!(order, [0, 1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn a_disarmed_flow_does_not_come() {
        let mut tracks = vec![flow(1), flow(2)];
        let mut wheel = Wheel::new();
        wheel.start(PacketTime(0));
        wheel.arm(&mut tracks, 0);
        wheel.arm(&mut tracks, 1);
        wheel.disarm(&mut tracks, 0);
        assert_eq!(wheel.next_due(&mut tracks, PacketTime(i64::MAX)), Some(1));
        assert_eq!(wheel.next_due(&mut tracks, PacketTime(i64::MAX)), None);
    }
}
