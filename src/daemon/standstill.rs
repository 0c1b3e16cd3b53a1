//! Which part of the daemon stands still. Each has a beat of its own: a loop that turns also when there is nothing to do counts its turns; a
//! thread of the engine is given work at least every second, by the tick of the capture, and is through with it or is not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use slips_core::engine::progress::{Doing, Moment, Progress};

use super::pulse::Pulse;

/// How often the loops turn at the latest: those of the capture and of the files, and the responder's.
const TURN_EVERY: Duration = Duration::from_secs(1);
const RESPONDER_TURNS_EVERY: Duration = Duration::from_secs(5);
/// Where no watchdog says how long it waits.
const USUAL_PATIENCE: Duration = Duration::from_secs(15);

/// How far a part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beat {
    /// So many turns of a loop, each of which ends within that time.
    Turns(u64, Duration),
    /// A thread of the engine.
    Work(Moment),
}

impl Beat {
    /// Whether a part that was as `before` has moved since, or has nothing to do.
    fn moved(self, before: Self) -> bool {
        match (before, self) {
            (Self::Turns(before, _), Self::Turns(now, _)) => before != now,
            (Self::Work(before), Self::Work(now)) => before.done != now.done || now.done >= now.given,
            _ => true,
        }
    }

    fn waits(self) -> bool {
        matches!(self, Self::Work(Moment { doing: Doing::Waiting, .. }))
    }
}

/// All parts without which nobody is blocked any more, or nothing is kept.
pub struct Parts {
    pulse: Arc<Pulse>,
    engine: Progress,
}

impl Parts {
    /// Of a daemon.
    pub const fn new(pulse: Arc<Pulse>, engine: Progress) -> Self {
        Self { pulse, engine }
    }

    /// How far each is, by the name of its thread.
    fn beats(&self) -> Vec<(String, Beat)> {
        let turns = |counter: &AtomicU64, every| Beat::Turns(counter.load(Ordering::Relaxed), every);
        let captures = self.pulse.capture.iter().enumerate();
        let captures =
            captures.map(|(number, turned)| (format!("capture-{number}"), turns(turned, TURN_EVERY)));
        let engine = self.engine.parts().map(|part| (part.name().to_owned(), Beat::Work(part.look())));
        let responder = ("responder".to_owned(), turns(&self.pulse.responder, RESPONDER_TURNS_EVERY));
        let sinks = ("sinks".to_owned(), turns(&self.pulse.sinks, TURN_EVERY));
        captures.chain(engine).chain([responder, sinks]).collect()
    }
}

/// Compares how far the parts are with how far they were.
pub struct Standstill {
    parts: Parts,
    patience: Duration,
    /// How each was when it moved last, and when that was.
    moved: Vec<(Beat, Duration)>,
}

impl Standstill {
    /// For a watchdog that waits so long: half of it a part may stand, and the rest is for it to move after all.
    pub fn new(parts: Parts, watchdog: Option<Duration>) -> Self {
        let patience = watchdog.map_or(USUAL_PATIENCE, |watchdog| watchdog / 2);
        Self { parts, patience, moved: Vec::new() }
    }

    /// Those who stand still now.
    pub fn look(&mut self, now: Duration) -> Vec<String> {
        let beats = self.parts.beats();
        self.compare(&beats, now)
    }

    fn compare(&mut self, beats: &[(String, Beat)], now: Duration) -> Vec<String> {
        if self.moved.len() != beats.len() {
            self.moved = beats.iter().map(|(_, beat)| (*beat, now)).collect();
        }
        let mut standing = Vec::new();
        for ((name, beat), (before, at)) in beats.iter().zip(&mut self.moved) {
            if beat.moved(*before) {
                *at = now;
            }
            *before = *beat;
            let patience = match beat {
                Beat::Turns(_, every) => self.patience.max(*every * 2),
                Beat::Work(_) => self.patience,
            };
            if now.saturating_sub(*at) >= patience {
                standing.push((name, *beat));
            }
        }
        // Who waits for another that stands is not to blame.
        if standing.iter().any(|(_, beat)| !beat.waits()) {
            standing.retain(|(_, beat)| !beat.waits());
        }
        standing.into_iter().map(|(name, _)| name.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn standstill() -> Standstill {
        let engine = slips_core::engine::pipeline::start(
            &slips_core::settings::Settings::default(),
            &Vec::new,
            1,
            |_| {},
        );
        let (_, engine) = engine.expect("an engine");
        Standstill::new(Parts::new(Arc::default(), engine.progress()), Some(30 * SECOND))
    }

    fn turns(count: u64) -> Beat {
        Beat::Turns(count, SECOND)
    }

    fn work(given: u64, done: u64, doing: Doing) -> Beat {
        Beat::Work(Moment { given, done, doing })
    }

    /// What is told after each second, for parts that are so at that second.
    fn told(seconds: u64, at: impl Fn(u64) -> Vec<Beat>) -> Vec<(u64, Vec<String>)> {
        let mut standstill = standstill();
        let mut all = Vec::new();
        for second in 0..seconds {
            let beats: Vec<_> = (0..).map(|n: usize| n.to_string()).zip(at(second)).collect();
            let standing = standstill.compare(&beats, SECOND * u32::try_from(second).expect("few"));
            if !standing.is_empty() {
                all.push((second, standing));
            }
        }
        all
    }

    #[test]
    fn who_moves_or_has_nothing_to_do_does_not_stand_still() {
        let idle = told(100, |second| vec![turns(second), work(7, 7, Doing::Nothing), turns(second / 10)]);
        assert_eq!(idle, []);
        let slow = told(100, |second| vec![work(1000, second / 14, Doing::Work)]);
        assert_eq!(slow, []);
    }

    #[test]
    fn who_stands_is_told_once_its_time_is_over_and_until_it_moves() {
        let told = told(60, |second| {
            let stuck = second.min(10) + second.saturating_sub(40);
            vec![turns(second), turns(stuck), work(second + 1, stuck, Doing::Work)]
        });
        let first = told.first().expect("told");
        assert_eq!(*first, (25, vec!["1".to_owned(), "2".to_owned()]));
        assert_eq!(told.last().expect("told").0, 40);
        assert!(told.iter().all(|(_, names)| names.len() == 2));
    }

    #[test]
    fn who_is_stopped_with_work_in_its_queue_stands_and_who_waits_for_it_is_not_to_blame() {
        // The router has no room in the queue of a shard, the judge no answer of it.
        let beats = |second: u64| {
            let stuck = second.min(3);
            vec![
                work(second + 9, stuck + 4, Doing::Waiting),
                work(stuck + 5, stuck + 5, Doing::Nothing),
                work(stuck + 5, stuck, Doing::Nothing),
                work(stuck + 4, stuck, Doing::Waiting),
            ]
        };
        let told = told(60, beats);
        assert_eq!(told.first(), Some(&(18, vec!["2".to_owned()])));
        assert!(told.iter().all(|(_, names)| *names == ["2"]));
    }

    #[test]
    fn who_is_stopped_while_it_hands_on_is_found_too() {
        let told = told(40, |second| vec![turns(second), work(second + 9, 3, Doing::Waiting)]);
        assert_eq!(told.first(), Some(&(15, vec!["1".to_owned()])));
    }

    #[test]
    fn a_loop_that_turns_seldom_has_twice_its_time() {
        let told = told(60, |second| vec![Beat::Turns(second / 30, SECOND * 20)]);
        assert_eq!(told, []);
    }
}
