//! Steps by which a finding that grows becomes worse. Evidence is told at a step, never per flow.

use std::net::IpAddr;

use slips_core::detector::Cx;
use slips_core::evidence::{Again, Confidence, EvidenceKind, Finding, ThreatLevel};
use slips_core::time::PacketTime;

/// One step: from this magnitude on, so bad and so sure.
#[derive(Clone, Copy, Debug)]
pub struct Rung {
    /// The smallest magnitude of this step.
    pub at: u32,
    /// How bad.
    pub level: ThreatLevel,
    /// How sure.
    pub confidence: Confidence,
}

/// A step at `at`.
pub const fn rung(at: u32, level: ThreatLevel, confidence: f64) -> Rung {
    Rung { at, level, confidence: Confidence::new(confidence) }
}

/// The number (from 1) of the highest step of `ladder` that `n` reaches, 0 for none. `first` replaces the first step's
/// magnitude, which is a setting.
pub fn step(ladder: &[Rung], first: u32, n: u32) -> u8 {
    let above = ladder.iter().skip(1).take_while(|rung| n >= rung.at && n >= first).count();
    if n >= first { 1 + above as u8 } else { 0 }
}

/// The step with this number.
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

#[cfg(test)]
mod tests {
    use super::*;

    const LADDER: [Rung; 3] = [
        rung(10, ThreatLevel::Medium, 0.5),
        rung(30, ThreatLevel::High, 0.5),
        rung(100, ThreatLevel::Critical, 1.0),
    ];

    #[test]
    fn a_step_begins_at_its_magnitude_and_the_first_is_a_setting() {
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
            assert_eq!(step(&LADDER, first, n), expected, "first {first} n {n}");
        }
        assert!(at_step(&LADDER, 0).is_none());
        assert_eq!(at_step(&LADDER, 3).map(|r| r.level), Some(ThreatLevel::Critical));
    }

    #[test]
    fn only_a_higher_step_is_news() {
        let mut told = 0;
        assert_eq!([1, 1, 0, 2, 1].map(|s| climb(&mut told, s)), [true, false, false, true, false]);
    }
}
