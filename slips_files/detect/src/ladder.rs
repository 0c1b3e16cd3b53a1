//! Steps by which a finding that grows becomes worse. Evidence is told at a step, never per flow; what is critical and goes on is
//! told again every two minutes, so that an attack which outlasts its first block is blocked again.

use std::net::IpAddr;
use std::ops::Deref;

use slips_core::detector::Cx;
use slips_core::evidence::{Again, Confidence, EvidenceKind, Finding, Proof, ThreatLevel};
pub use slips_core::spec::Rung;
use slips_core::time::{PacketTime, Span};

/// A step at `at`.
pub const fn rung(at: u32, level: ThreatLevel, confidence: f64) -> Rung {
    Rung { at, level, confidence: Confidence::new(confidence) }
}

/// Most steps of one ladder.
const MOST_RUNGS: usize = 6;

/// The steps of a finding that grows, as the settings have them: their magnitudes do not descend.
#[derive(Clone, Copy, Debug)]
pub struct Ladder {
    rungs: [Rung; MOST_RUNGS],
    len: usize,
}

impl Default for Ladder {
    /// Without any step.
    fn default() -> Self {
        Self { rungs: [rung(u32::MAX, ThreatLevel::Info, 0.0); MOST_RUNGS], len: 0 }
    }
}

impl Ladder {
    /// Of these steps, [`MOST_RUNGS`] at most.
    pub fn new(rungs: impl Iterator<Item = Rung>) -> Self {
        let mut ladder = Self::default();
        for (place, rung) in ladder.rungs.iter_mut().zip(rungs) {
            *place = rung;
            ladder.len += 1;
        }
        ladder
    }

    /// The number (from 1) of the highest step that `n` reaches, 0 for none.
    pub fn step(&self, n: u32) -> u8 {
        self.rungs.iter().take(self.len).take_while(|rung| n >= rung.at).count() as u8
    }

    /// The step with this number.
    pub fn at_step(&self, step: u8) -> Option<Rung> {
        self.rungs.get(..self.len)?.get(usize::from(step).checked_sub(1)?).copied()
    }

    /// How many steps there are.
    pub const fn steps(&self) -> u8 {
        self.len as u8
    }
}

impl Deref for Ladder {
    type Target = [Rung];

    fn deref(&self) -> &[Rung] {
        self.rungs.get(..self.len).unwrap_or_default()
    }
}

/// The step of a fixed ladder with this number.
pub fn at_step(ladder: &[Rung], step: u8) -> Option<Rung> {
    ladder.get(usize::from(step).checked_sub(1)?).copied()
}

/// The finding that `attacker` reached `rung`, in the window at hand: it replaces what was told of lower steps.
pub fn finding(cx: &Cx<'_>, kind: EvidenceKind, attacker: IpAddr, rung: Rung, at: PacketTime) -> Finding {
    Finding {
        level: rung.level,
        confidence: rung.confidence,
        profile: cx.profile(),
        again: Again::Grows,
        ..Finding::new(kind, attacker, cx.window(), at)
    }
}

/// Whether `step` is news after `told`; remembers it if so.
pub fn climb(told: &mut u8, step: u8) -> bool {
    let news = step > *told;
    *told = (*told).max(step);
    news
}

/// When a critical finding that goes on is told again: half of the four minutes after which the judge alerts about it again.
pub const AGAIN_AFTER: Span = Span::from_secs(120);
/// What has to come on top of what was told: a single straggler is no attack that goes on.
pub const AGAIN_GROWN: u32 = 10;

/// What was told of a finding that grows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Told {
    step: u8,
    /// It was told as proven at this step.
    proven: bool,
    at: PacketTime,
    /// By how much it grew since, and when it last did.
    grown: u32,
    grown_at: PacketTime,
}

impl Told {
    /// The highest step told.
    pub const fn step(self) -> u8 {
        self.step
    }

    /// The finding grew by `grown` at `at` and stands at `step`: whether to tell it. It is told when the step is new, when its source is
    /// proven now, and while it is critical also when it goes on.
    pub fn is_news(
        &mut self,
        step: u8,
        level: ThreatLevel,
        proof: Proof,
        grown: u32,
        at: PacketTime,
    ) -> bool {
        let pause = at.since(self.grown_at) > AGAIN_AFTER;
        self.grown = if pause { grown } else { self.grown.saturating_add(grown) };
        self.grown_at = self.grown_at.max(at);
        let stays_critical = level == ThreatLevel::Critical && self.step > 0;
        let goes_on = stays_critical && self.grown >= AGAIN_GROWN && at.since(self.at) >= AGAIN_AFTER;
        let proven = proof == Proof::Proven;
        let weighs = level > ThreatLevel::Info;
        let proves = weighs && self.step > 0 && proven && !self.proven && step >= self.step;
        if !goes_on && !proves && step <= self.step {
            return false;
        }
        self.proven = proven || (self.proven && step <= self.step);
        (self.step, self.at, self.grown) = (self.step.max(step), self.at.max(at), 0);
        true
    }

    /// The same for a step of `ladder`: the step to tell.
    pub fn climb(
        &mut self,
        ladder: &[Rung],
        step: u8,
        proof: Proof,
        grown: u32,
        at: PacketTime,
    ) -> Option<Rung> {
        at_step(ladder, step).filter(|rung| self.is_news(step, rung.level, proof, grown, at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ladder(first: u32) -> Ladder {
        Ladder::new(
            [
                rung(first, ThreatLevel::Medium, 0.5),
                rung(30.max(first), ThreatLevel::High, 0.5),
                rung(100.max(first), ThreatLevel::Critical, 1.0),
            ]
            .into_iter(),
        )
    }

    #[test]
    fn a_step_begins_at_its_magnitude() {
        for (first, n, expected) in [
            (10, 9, 0),
            (10, 10, 1),
            (10, 29, 1),
            (10, 30, 2),
            (10, 5000, 3),
            (40, 39, 0),
            (40, 40, 2),
            (3, 3, 1),
        ] {
            assert_eq!(ladder(first).step(n), expected, "first {first} n {n}");
        }
        assert!(ladder(10).at_step(0).is_none() && ladder(10).at_step(4).is_none());
        assert_eq!(ladder(10).at_step(3).map(|r| r.level), Some(ThreatLevel::Critical));
        assert_eq!(Ladder::default().step(u32::MAX), 0);
    }

    #[test]
    fn what_is_critical_and_goes_on_is_told_again_every_two_minutes() {
        let mut told = Told::default();
        let mut tells = |step, grown, second| {
            let at = PacketTime::from_secs_micros(second, 0);
            told.climb(&ladder(10), step, Proof::Unproven, grown, at).is_some()
        };
        assert!(!tells(0, 1, 0));
        assert!(tells(2, 1, 0));
        assert!(!tells(2, 50, 500), "not critical");
        assert!(tells(3, 1, 500));
        assert!(!tells(3, 50, 600), "too early");
        assert!(!tells(3, 9, 1700), "a few stragglers");
        assert!(tells(3, 1, 1701));
        assert!(!tells(3, 50, 1800), "too early");
        assert!(!tells(2, 1, 1900), "it stands lower now");
        assert!(tells(3, 1, 1901));
    }

    #[test]
    fn what_weighs_is_told_again_when_it_is_proven() {
        use Proof::{Proven, Unproven};
        let mut told = Told::default();
        let mut tells = |step, proof| told.climb(&ladder(10), step, proof, 1, PacketTime(0)).is_some();
        assert!(tells(2, Unproven));
        assert!(tells(2, Proven));
        assert!(!tells(2, Proven) && !tells(1, Proven));
        assert!(tells(3, Unproven));
        assert!(tells(3, Proven));
        assert!(!tells(3, Proven) && !tells(3, Unproven) && !tells(3, Proven));
    }

    #[test]
    fn only_a_higher_step_is_news() {
        let mut told = 0;
        assert_eq!([1, 1, 0, 2, 1].map(|s| climb(&mut told, s)), [true, false, false, true, false]);
    }
}
