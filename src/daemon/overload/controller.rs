//! Decides how much is left out while more comes in than can be looked at. A pure machine: measures and a time go in, a step comes out.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use super::Step;

/// How it is when it is looked at. The counts are since the start, the times since the last look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Measures {
    /// Steady time of the look.
    pub at: Duration,
    /// Packets that the kernel dropped.
    pub drops: u64,
    /// Events that were shed because the engine was full.
    pub shed: u64,
    /// Batches that a consumer of records did not get because its queue was full.
    pub unkept: u64,
    /// The oldest that a packet was when it was read.
    pub lag: Duration,
    /// How long the capture threads waited for a full engine, in percent of their time.
    pub waited: u8,
    /// Memory in use, in percent of what we may have.
    pub memory: u8,
}

/// Why there is another step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// So many packets were dropped by the kernel.
    Drops(u64),
    /// So many events were shed.
    Shed(u64),
    /// So many batches of records were not kept.
    Unkept(u64),
    /// Packets are read so late.
    Lag(Duration),
    /// The capture waits for the detections, in percent of its time.
    Waits(u8),
    /// Memory, in percent.
    Memory(u8),
    /// It is over.
    Calm(Duration),
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Drops(count) => write!(f, "the kernel dropped {count} packets"),
            Self::Shed(count) => write!(f, "the detections were full: {count} events were shed"),
            Self::Unkept(count) => {
                write!(f, "the files are written too slowly: {count} batches of flows were not kept")
            }
            Self::Lag(lag) => write!(f, "packets were read {} ms late", lag.as_millis()),
            Self::Waits(percent) => {
                write!(f, "the capture waited for the detections {percent} % of its time")
            }
            Self::Memory(percent) => write!(f, "{percent} % of the memory is in use"),
            Self::Calm(since) => write!(f, "nothing was too much for {} s", since.as_secs()),
        }
    }
}

/// Another step is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The step before.
    pub from: Step,
    /// The step from now on.
    pub to: Step,
    /// Why.
    pub why: Cause,
}

/// See the module. It goes up a step when two of the last four looks were too much, and down when nothing was for a while, which
/// doubles when it was too soon.
#[derive(Debug)]
pub struct Controller {
    step: Step,
    /// The look before.
    before: Option<Measures>,
    /// Whether the last looks were too much, the latest last.
    looks: VecDeque<bool>,
    /// Since when nothing is too much.
    calm_since: Option<Duration>,
    /// For how long nothing must be too much before a step down.
    patience: Duration,
    /// When the last step down was.
    eased: Option<Duration>,
}

impl Default for Controller {
    fn default() -> Self {
        Self {
            step: Step::None,
            before: None,
            looks: VecDeque::with_capacity(LOOKS),
            calm_since: None,
            patience: PATIENCE,
            eased: None,
        }
    }
}

/// What one look says.
enum Verdict {
    TooMuch(Cause),
    Neither,
    Calm,
}

impl Controller {
    /// Where it stands.
    pub const fn step(&self) -> Step {
        self.step
    }

    /// Takes a look; the change that follows from it.
    pub fn look(&mut self, now: &Measures) -> Option<Change> {
        let before = self.before.replace(*now)?;
        let verdict = verdict(&before, now);
        if self.looks.len() >= LOOKS {
            self.looks.pop_front();
        }
        self.looks.push_back(matches!(verdict, Verdict::TooMuch(_)));
        match verdict {
            Verdict::TooMuch(why) => {
                self.calm_since = None;
                let often = self.looks.iter().filter(|too_much| **too_much).count() >= ENOUGH;
                if often { self.up(now.at, why) } else { None }
            }
            Verdict::Neither => {
                self.calm_since = None;
                None
            }
            Verdict::Calm => {
                let calm = now.at.saturating_sub(*self.calm_since.get_or_insert(now.at));
                self.down(now.at, calm)
            }
        }
    }

    fn up(&mut self, at: Duration, why: Cause) -> Option<Change> {
        let from = self.step;
        let to = from.harder()?;
        // The step works before the next one is asked for.
        self.looks.clear();
        if self.eased.take().is_some_and(|eased| at.saturating_sub(eased) < RELAPSE) {
            self.patience = (self.patience * 2).min(MOST_PATIENCE);
        }
        self.step = to;
        Some(Change { from, to, why })
    }

    fn down(&mut self, at: Duration, calm: Duration) -> Option<Change> {
        let from = self.step;
        let Some(to) = from.softer() else {
            if calm >= FORGIVEN {
                self.patience = PATIENCE;
            }
            return None;
        };
        if calm < self.patience {
            return None;
        }
        (self.step, self.eased, self.calm_since) = (to, Some(at), Some(at));
        Some(Change { from, to, why: Cause::Calm(calm) })
    }
}

fn verdict(before: &Measures, now: &Measures) -> Verdict {
    let drops = now.drops.saturating_sub(before.drops);
    let shed = now.shed.saturating_sub(before.shed);
    let unkept = now.unkept.saturating_sub(before.unkept);
    if drops > 0 {
        Verdict::TooMuch(Cause::Drops(drops))
    } else if shed > 0 {
        Verdict::TooMuch(Cause::Shed(shed))
    } else if unkept > 0 {
        Verdict::TooMuch(Cause::Unkept(unkept))
    } else if now.lag >= LATE {
        Verdict::TooMuch(Cause::Lag(now.lag))
    } else if now.waited >= WAITS {
        Verdict::TooMuch(Cause::Waits(now.waited))
    } else if now.memory >= FULL {
        Verdict::TooMuch(Cause::Memory(now.memory))
    } else if now.lag < IN_TIME && now.waited < HARDLY_WAITS && now.memory < ROOMY {
        Verdict::Calm
    } else {
        Verdict::Neither
    }
}

/// Looks that count, and how many of them must be too much. The kernel's drops are counted once a second, so that a look may miss them.
const LOOKS: usize = 4;
const ENOUGH: usize = 2;
/// A packet is late when it is as old as half of what the default ring holds of a flood (a fifth of a second); a block of the ring that is
/// not full is handed over after some milliseconds.
const LATE: Duration = Duration::from_millis(100);
const IN_TIME: Duration = Duration::from_millis(25);
/// A fifth of its time is the most that the capture waits before it sheds.
const WAITS: u8 = 15;
const HARDLY_WAITS: u8 = 5;
/// Tables are made smaller from 85 % on; this is where that was not enough.
const FULL: u8 = 95;
const ROOMY: u8 = 85;
/// For so long nothing must be too much before a step down, at first and at most,
const PATIENCE: Duration = Duration::from_secs(10);
const MOST_PATIENCE: Duration = Duration::from_secs(160);
/// twice as long when a step up follows one down within this time,
const RELAPSE: Duration = Duration::from_secs(60);
/// and as at first after so long without any step.
const FORGIVEN: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;

    const CALM: Measures = Measures {
        at: Duration::ZERO,
        drops: 0,
        shed: 0,
        unkept: 0,
        lag: Duration::ZERO,
        waited: 0,
        memory: 0,
    };

    /// Looks once a second; `at` moves on with each.
    struct Looks {
        controller: Controller,
        at: u64,
        drops: u64,
    }

    impl Looks {
        fn new() -> Self {
            let mut looks = Self { controller: Controller::default(), at: 0, drops: 0 };
            looks.see(CALM);
            looks
        }

        fn see(&mut self, measures: Measures) -> Option<Change> {
            self.at += 1;
            self.controller.look(&Measures {
                at: Duration::from_secs(self.at),
                drops: self.drops + measures.drops,
                ..measures
            })
        }

        fn dropping(&mut self) -> Option<Change> {
            self.drops += 7;
            self.see(CALM)
        }

        /// Seconds of calm until a step down, `most` at most.
        fn calm_until_change(&mut self, most: u64) -> Option<u64> {
            (1..=most).find(|_| self.see(CALM).is_some())
        }
    }

    #[test]
    fn each_measure_alone_makes_a_step_at_its_bar_and_none_below() {
        let millis = Duration::from_millis;
        let table: [(&str, Measures, Option<Cause>); 12] = [
            ("calm", CALM, None),
            ("a little late", Measures { lag: millis(99), ..CALM }, None),
            ("late", Measures { lag: millis(100), ..CALM }, Some(Cause::Lag(millis(100)))),
            ("waits a little", Measures { waited: 14, ..CALM }, None),
            ("waits", Measures { waited: 15, ..CALM }, Some(Cause::Waits(15))),
            ("memory fills", Measures { memory: 94, ..CALM }, None),
            ("memory is full", Measures { memory: 95, ..CALM }, Some(Cause::Memory(95))),
            ("one packet dropped", Measures { drops: 1, ..CALM }, Some(Cause::Drops(1))),
            ("one event shed", Measures { shed: 1, ..CALM }, Some(Cause::Shed(1))),
            ("one batch not kept", Measures { unkept: 1, ..CALM }, Some(Cause::Unkept(1))),
            ("drops come first", Measures { drops: 1, lag: millis(900), ..CALM }, Some(Cause::Drops(1))),
            ("shedding before lag", Measures { shed: 2, lag: millis(900), ..CALM }, Some(Cause::Shed(2))),
        ];
        for (name, measures, why) in table {
            let mut controller = Controller::default();
            let look = |n: u64| Measures {
                at: Duration::from_secs(n),
                drops: measures.drops * n,
                shed: measures.shed * n,
                unkept: measures.unkept * n,
                ..measures
            };
            let changes: Vec<Change> = (0..3).filter_map(|n| controller.look(&look(n))).collect();
            let expected = why.map(|why| Change { from: Step::None, to: Step::SkipBlocked, why });
            assert_eq!(changes, Vec::from_iter(expected), "{name}");
        }
    }

    #[test]
    fn what_was_lost_before_the_first_look_is_no_reason() {
        let mut controller = Controller::default();
        for at in 0..5 {
            let old = Measures { at: Duration::from_secs(at), drops: 9_999, shed: 7, unkept: 3, ..CALM };
            assert_eq!(controller.look(&old), None);
        }
    }

    #[test]
    fn one_bad_look_is_none_and_two_of_four_are_a_step() {
        let mut looks = Looks::new();
        assert_eq!(looks.dropping(), None);
        for _ in 0..3 {
            assert_eq!(looks.see(CALM), None);
        }
        assert_eq!(looks.dropping(), None, "the first one is too long ago");
        assert_eq!(looks.see(CALM), None);
        let change = looks.dropping().expect("a step");
        assert_eq!((change.from, change.to, change.why), (Step::None, Step::SkipBlocked, Cause::Drops(7)));
    }

    #[test]
    fn it_goes_up_step_by_step_to_the_last_and_down_to_none() {
        let mut looks = Looks::new();
        let ups: Vec<Step> = (0..12).filter_map(|_| looks.dropping()).map(|change| change.to).collect();
        assert_eq!(ups, [Step::SkipBlocked, Step::CoarseRemote, Step::ShedRecords, Step::ShedRows]);
        let mut downs = Vec::new();
        for _ in 0..60 {
            downs.extend(looks.see(CALM).map(|change| (change.to, change.why)));
        }
        let calm = Cause::Calm(Duration::from_secs(10));
        let steps = [Step::ShedRecords, Step::CoarseRemote, Step::SkipBlocked, Step::None];
        assert_eq!(downs, steps.map(|step| (step, calm)));
    }

    #[test]
    fn what_is_neither_too_much_nor_calm_holds_the_step() {
        let mut looks = Looks::new();
        looks.dropping();
        looks.dropping();
        for between in [
            Measures { lag: Duration::from_millis(30), ..CALM },
            Measures { waited: 10, ..CALM },
            Measures { memory: 90, ..CALM },
        ] {
            for _ in 0..100 {
                assert_eq!(looks.see(between), None, "{between:?}");
            }
        }
        assert_eq!(looks.controller.step(), Step::SkipBlocked);
    }

    #[test]
    fn who_was_calm_too_soon_is_waited_for_twice_as_long_and_forgiven_later() {
        let mut looks = Looks::new();
        for patience in [10, 20, 40, 80, 160, 160] {
            looks.dropping();
            looks.dropping().expect("up");
            assert_eq!(looks.calm_until_change(1000).map(|seconds| seconds - 1), Some(patience));
        }
        assert_eq!(looks.calm_until_change(700), None);
        looks.dropping();
        looks.dropping().expect("up");
        assert_eq!(looks.calm_until_change(1000).map(|seconds| seconds - 1), Some(10));
    }

    #[test]
    fn under_any_measures_the_journal_gets_few_entries() {
        // A hostile rhythm: as soon as it is calm enough for a step down, there is a burst again.
        let mut looks = Looks::new();
        let mut changes = 0;
        while looks.at < 3600 {
            changes += u64::from(if looks.controller.step() == Step::None {
                looks.dropping().is_some()
            } else {
                looks.see(CALM).is_some()
            });
        }
        assert!(changes <= 60, "{changes} in an hour");
    }
}
