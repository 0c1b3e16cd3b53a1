//! Decides how much of their size tables may use, from how much memory is in use. A pure machine: percent and a time go in, a share comes
//! out.

use std::time::Duration;

/// The shares of their size that tables may use, in percent, step by step.
pub const SHARES: [u8; 4] = [100, 75, 50, 25];

/// See the module.
#[derive(Debug, Default)]
pub struct Squeeze {
    step: usize,
    /// When it changed last.
    changed: Option<Duration>,
    /// Since when there is room.
    roomy: Option<Duration>,
}

impl Squeeze {
    /// The share that tables may use now.
    pub fn share(&self) -> u8 {
        SHARES.get(self.step).copied().unwrap_or(25)
    }

    /// Whether tables may use less than all.
    pub const fn is_tight(&self) -> bool {
        self.step > 0
    }

    /// Takes a look: `used` of what we may have, and `waited` for memory of the last ten seconds, both in percent. The new share, if it is
    /// another.
    pub fn look(&mut self, at: Duration, used: u8, waited: f64) -> Option<u8> {
        if used >= TIGHT || (waited >= WAITED && used >= ROOMY) {
            self.roomy = None;
            let last = SHARES.len() - 1;
            let rested = self.changed.is_none_or(|changed| at.saturating_sub(changed) >= REST);
            if self.step < last && used >= TOO_MUCH {
                return self.go(last, at);
            }
            if self.step < last && rested {
                return self.go(self.step + 1, at);
            }
        } else if used < ROOMY {
            let since = *self.roomy.get_or_insert(at);
            if self.step > 0 && at.saturating_sub(since) >= PATIENCE {
                self.roomy = Some(at);
                return self.go(self.step - 1, at);
            }
        } else {
            self.roomy = None;
        }
        None
    }

    fn go(&mut self, step: usize, at: Duration) -> Option<u8> {
        (self.step, self.changed) = (step, Some(at));
        Some(self.share())
    }
}

/// From here on tables are made smaller.
const TIGHT: u8 = 85;
/// From here on there is no time for steps.
const TOO_MUCH: u8 = 100;
/// Below it they may grow again.
const ROOMY: u8 = 70;
/// Who waits for memory a tenth of the time is held up by the kernel, which looks for some.
const WAITED: f64 = 10.0;
/// A step takes its time to work.
const REST: Duration = Duration::from_secs(5);
/// For so long there must be room before tables may grow.
const PATIENCE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    /// The changes that seconds of these figures make, with their times.
    fn changes(figures: impl IntoIterator<Item = (u8, f64)>) -> Vec<(u64, u8)> {
        let mut squeeze = Squeeze::default();
        (0..)
            .zip(figures)
            .filter_map(|(at, (used, waited))| {
                squeeze.look(Duration::from_secs(at), used, waited).map(|share| (at, share))
            })
            .collect()
    }

    fn for_seconds(seconds: usize, used: u8) -> Vec<(u8, f64)> {
        vec![(used, 0.0); seconds]
    }

    #[test]
    fn tables_shrink_step_by_step_while_it_is_tight_and_grow_when_there_was_room_for_a_minute() {
        assert_eq!(changes(for_seconds(100, 84)), []);
        assert_eq!(changes(for_seconds(100, 85)), [(0, 75), (5, 50), (10, 25)]);
        let both = [for_seconds(6, 90), for_seconds(200, 69)].concat();
        assert_eq!(changes(both), [(0, 75), (5, 50), (66, 75), (126, 100)]);
    }

    #[test]
    fn where_it_is_too_much_already_the_last_step_is_the_first() {
        assert_eq!(changes(for_seconds(100, 100)), [(0, 25)]);
        assert_eq!(changes([(85, 0.0), (120, 0.0)]), [(0, 75), (1, 25)]);
    }

    #[test]
    fn between_the_bars_nothing_changes() {
        let figures = [for_seconds(1, 90), for_seconds(300, 80), for_seconds(59, 10), for_seconds(300, 70)];
        assert_eq!(changes(figures.concat()), [(0, 75)]);
    }

    #[test]
    fn waiting_for_memory_counts_where_much_of_it_is_in_use() {
        assert_eq!(changes([(72, 11.0)]), [(0, 75)]);
        assert_eq!(changes([(60, 50.0), (72, 9.0)]), [], "others wait, not we");
    }
}
