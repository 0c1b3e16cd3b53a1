//! What liars can do, with the production decisions, at a size for every build. The full tables: docs/trust.md.
#![allow(dead_code, reason = "the modules are the example's")]
#![allow(clippy::expect_used, reason = "a test has no other way to fail")]

#[path = "../examples/simulate/rules.rs"]
mod rules;
#[path = "../examples/simulate/world.rs"]
mod world;

use rules::Kind;
use world::{Figures, Lies, Scenario};

/// The mean of four seeds.
fn mean(kind: Kind, lies: Lies, share: f64) -> Figures {
    let mut sum = Figures::default();
    for seed in 0..4 {
        let scenario = Scenario::new(lies, share, seed);
        let figures = world::run(&scenario, kind.build(scenario.liars).as_mut());
        sum.wrong += figures.wrong / 4.0;
        sum.stopped += figures.stopped / 4.0;
        sum.slow += figures.slow / 4.0;
    }
    sum
}

fn wrong(kind: Kind, lies: Lies, share: f64) -> f64 {
    mean(kind, lies, share).wrong
}

#[test]
fn no_share_of_liars_blocks_wrongly_in_assist_mode() {
    for lies in Lies::ALL {
        for share in [0.25, 0.5] {
            assert_eq!(wrong(Kind::Assist, lies, share), 0.0, "{} {share}", lies.name());
        }
    }
}

#[test]
fn assisting_catches_slow_attackers() {
    assert!(mean(Kind::Assist, Lies::Always, 0.0).slow >= 0.5);
}

#[test]
fn preempting_stops_most_attackers_before_they_reach_us() {
    let figures = mean(Kind::Preempt, Lies::Always, 0.0);
    assert_eq!(figures.wrong, 0.0);
    assert!(figures.stopped >= 0.55, "{}", figures.stopped);
}

#[test]
fn independent_liars_get_next_to_nothing() {
    assert_eq!(wrong(Kind::Preempt, Lies::Always, 0.10), 0.0);
    let some = wrong(Kind::Preempt, Lies::Always, 0.25);
    assert!(some <= 2.0, "{some}");
}

#[test]
fn sleepers_flash_and_parrots_stay_within_their_bars() {
    for share in [0.25, 0.5] {
        for (lies, bar) in [(Lies::Sleepers, 10.0), (Lies::Flash, 16.0), (Lies::Parrots, 10.0)] {
            let wrong = wrong(Kind::Preempt, lies, share);
            assert!(wrong <= bar, "{} {share}: {wrong}", lies.name());
        }
    }
}

#[test]
fn liars_of_one_organisation_get_nothing() {
    for lies in Lies::ALL {
        let wrong = wrong(Kind::PreemptOneOrg, lies, 0.5);
        assert_eq!(wrong, 0.0, "{}", lies.name());
    }
}

#[test]
fn the_rules_of_others_fall() {
    for (kind, lies, share, least) in [
        (Kind::Original, Lies::Always, 0.10, 100.0),
        (Kind::Fides, Lies::Sleepers, 0.5, 50.0),
        (Kind::NoLearning, Lies::Always, 0.25, 100.0),
    ] {
        let wrong = wrong(kind, lies, share);
        assert!(wrong >= least, "{}: {wrong}", kind.name());
    }
}
