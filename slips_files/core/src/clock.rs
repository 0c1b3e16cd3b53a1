//! The clock of packet time: the latest moment that the input has reached, guarded against hostile stamps. The sensor and the
//! engine keep one each.

use crate::time::{PacketTime, Span};

/// A step larger than this is not believed from one event.
const JUMP: Span = Span::from_secs(86_400);
/// So many events in a row beyond a forward jump make it true: a capture with a gap in it goes on after the gap.
const BELIEVE_AHEAD: u32 = 8;
/// So many events in a row behind the clock make it step back: the clock itself was set by a lie, or was set right meanwhile.
const BELIEVE_BEHIND: u32 = 4096;
/// How far behind: records of a log are seconds, packets of several interfaces milliseconds out of order.
const BEHIND: Span = Span::from_secs(60);

/// Packet time as the engine believes it.
#[derive(Debug, Default)]
pub struct Clock {
    now: Option<PacketTime>,
    ahead: u32,
    behind: u32,
    jumps: u64,
    stepped_back: bool,
}

impl Clock {
    /// Takes the time of the next event; true when the clock moved forward into another second.
    pub fn observe(&mut self, at: PacketTime) -> bool {
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
        if now.since(at) <= BEHIND {
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

    /// Takes the time of the clock on the wall: it is believed at once, also when it was set back; true as with [`observe`](Self::observe).
    pub fn told(&mut self, at: PacketTime) -> bool {
        match self.now {
            Some(now) if at > PacketTime::MIN && now.since(at) > BEHIND => {
                self.behind = 0;
                self.jumps += 1;
                self.now = Some(at);
                self.stepped_back = true;
                false
            }
            _ => self.observe(at),
        }
    }

    /// Whether the clock has stepped back since this was last asked.
    pub const fn has_stepped_back(&mut self) -> bool {
        std::mem::replace(&mut self.stepped_back, false)
    }

    /// The present; the earliest moment before the first event.
    pub fn now(&self) -> PacketTime {
        self.now.unwrap_or(PacketTime::MIN)
    }

    /// How many stamps were not believed.
    pub const fn jumps(&self) -> u64 {
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
    fn a_clock_that_was_set_by_a_lie_or_was_hours_ahead_comes_back() {
        for wrong in [4_000_000_000, 1000 + 3 * 3600] {
            comes_back_from(wrong);
        }
    }

    #[test]
    fn the_clock_on_the_wall_is_believed_at_once_when_it_is_set_back() {
        let mut clock = Clock::default();
        clock.observe(at(10_000));
        assert!(!clock.told(at(9_950)) && !clock.has_stepped_back(), "packets may be as late");
        clock.told(at(1_000));
        assert!(clock.now() == at(1_000) && clock.has_stepped_back());
        assert!(clock.told(at(1_001)) && clock.now() == at(1_001));
        clock.told(PacketTime::MIN);
        assert_eq!(clock.now(), at(1_001), "no time at all");
    }

    fn comes_back_from(wrong: i64) {
        let mut clock = Clock::default();
        clock.observe(at(wrong));
        for n in 0..i64::from(BELIEVE_BEHIND) {
            clock.observe(PacketTime(at(1000).0 + n));
        }
        assert_eq!(clock.now(), PacketTime(at(1000).0 + i64::from(BELIEVE_BEHIND) - 1));
        assert!(clock.has_stepped_back());
        assert!(!clock.has_stepped_back());
    }
}
