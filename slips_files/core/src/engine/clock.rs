//! The engine's clock: the latest moment that the input has reached, guarded against hostile stamps.

use crate::time::{PacketTime, Span};

/// A step larger than this is not believed from one event.
const JUMP: Span = Span::from_secs(86_400);
/// So many events in a row beyond a forward jump make it true: a capture with a gap in it goes on after the gap.
const BELIEVE_AHEAD: u32 = 8;
/// So many events in a row far behind the clock make it step back: the clock itself was set by a lie.
const BELIEVE_BEHIND: u32 = 4096;

/// Packet time as the engine believes it.
#[derive(Debug, Default)]
pub(super) struct Clock {
    now: Option<PacketTime>,
    ahead: u32,
    behind: u32,
    jumps: u64,
    stepped_back: bool,
}

impl Clock {
    /// Takes the time of the next event; true when the clock moved forward into another second.
    pub(super) fn observe(&mut self, at: PacketTime) -> bool {
        let Some(now) = self.now else {
            self.now = Some(at);
            return true;
        };
        if at > now {
            self.behind = 0;
            if at.since(now) > JUMP {
                self.ahead += 1;
                self.jumps += 1;
                if self.ahead < BELIEVE_AHEAD {
                    return false;
                }
            }
            self.ahead = 0;
            self.now = Some(at);
            return at.0.div_euclid(1_000_000) > now.0.div_euclid(1_000_000);
        }
        self.ahead = 0;
        if now.since(at) <= JUMP {
            self.behind = 0;
            return false;
        }
        self.behind += 1;
        if self.behind == 1 {
            self.jumps += 1;
        }
        if self.behind >= BELIEVE_BEHIND {
            self.behind = 0;
            self.now = Some(at);
            self.stepped_back = true;
        }
        false
    }

    /// Whether the clock has stepped back since this was last asked.
    pub(super) const fn has_stepped_back(&mut self) -> bool {
        std::mem::replace(&mut self.stepped_back, false)
    }

    /// The present; the earliest moment before the first event.
    pub(super) fn now(&self) -> PacketTime {
        self.now.unwrap_or(PacketTime::MIN)
    }

    /// How many stamps were not believed.
    pub(super) const fn jumps(&self) -> u64 {
        self.jumps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> PacketTime {
        PacketTime::from_secs_micros(secs, 0)
    }

    #[test]
    fn the_clock_follows_the_input_and_never_goes_back_for_a_straggler() {
        let mut clock = Clock::default();
        assert!(clock.observe(at(100)));
        assert!(!clock.observe(PacketTime(at(100).0 + 5)));
        assert!(clock.observe(at(101)));
        assert!(!clock.observe(at(50)));
        assert_eq!(clock.now(), at(101));
        assert_eq!(clock.jumps(), 0);
    }

    #[test]
    fn one_lie_about_the_future_moves_nothing() {
        let mut clock = Clock::default();
        clock.observe(at(100));
        assert!(!clock.observe(at(4_000_000_000)));
        clock.observe(at(101));
        assert_eq!(clock.now(), at(101));
        assert_eq!(clock.jumps(), 1);
    }

    #[test]
    fn a_gap_that_the_whole_input_crosses_is_believed() {
        let mut clock = Clock::default();
        clock.observe(at(100));
        for n in 0..i64::from(BELIEVE_AHEAD) {
            clock.observe(at(1_000_000 + n));
        }
        assert!(clock.now() > at(1_000_000));
    }

    #[test]
    fn a_clock_that_was_set_by_a_lie_comes_back() {
        let mut clock = Clock::default();
        clock.observe(at(4_000_000_000));
        for n in 0..i64::from(BELIEVE_BEHIND) {
            clock.observe(at(1000 + n));
        }
        assert_eq!(clock.now(), at(1000 + i64::from(BELIEVE_BEHIND) - 1));
        assert!(clock.has_stepped_back());
        assert!(!clock.has_stepped_back());
    }
}
