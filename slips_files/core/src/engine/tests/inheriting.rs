//! One engine takes the place of another.

use super::*;
use crate::alert::Alert;
use crate::evidence::Evidence;
use crate::heritage::{Heritage, HeritageOf};

/// What is left by an engine that told these records, as whoever wrote them down has it.
fn left_by(records: &[Record], at: i64) -> Heritage {
    let mut of: Vec<HeritageOf> = Vec::new();
    let told: Vec<&Arc<Alert>> = records
        .iter()
        .filter_map(|r| if let Record::Alert(alert) = r { Some(alert) } else { None })
        .collect();
    for record in records {
        let Record::Evidence(evidence) = record else { continue };
        let (attacker, window) =
            (evidence.finding.attacker.ip().expect("an address"), evidence.finding.window);
        let named = told.iter().any(|alert| alert.evidence.iter().any(|named| named.id == evidence.id));
        let place = of.iter_mut().position(|of| (of.attacker, of.window) == (attacker, window));
        let place = place.unwrap_or_else(|| {
            let mut his = told.iter().filter(|alert| (alert.attacker, alert.window) == (attacker, window));
            of.push(HeritageOf {
                attacker,
                window,
                alerts: his.clone().count() as u32,
                last: his.next_back().map(|alert| (alert.at, alert.proof)),
                evidence: Vec::new(),
            });
            of.len() - 1
        });
        of[place].evidence.retain(|(known, _): &(Evidence, bool)| known.id != evidence.id);
        of[place].evidence.push(((**evidence).clone(), named));
    }
    Heritage { at: PacketTime::from_secs_micros(at, 0), accounts: of, ..Heritage::default() }
}

fn feed(engine: &mut Engine, events: Vec<Event>) -> Vec<Record> {
    let mut out = Vec::new();
    engine.feed(events, &mut out);
    out
}

fn inherits(engine: &mut Engine, heritage: Heritage) -> Vec<Record> {
    feed(engine, vec![Event::Inherits(Box::new(heritage))])
}

fn halves(from: u32, to: u32) -> Vec<Event> {
    (from..to).map(|n| says(1000 + i64::from(n), STRANGER, &format!("high proven {n}"))).collect()
}

#[test]
fn what_began_on_one_is_alerted_once_on_the_other_with_all_evidence() {
    let (mut one, mut other) =
        (Engine::new(&Settings::default(), &parrot), Engine::new(&Settings::default(), &parrot));
    let mut whole = Engine::new(&Settings::default(), &parrot);
    let expected = alerts(&mut whole, halves(0, 30));
    let left = feed(&mut one, halves(0, 12));
    inherits(&mut other, left_by(&left, 1012));
    let told = alerts(&mut other, halves(12, 30));
    assert_eq!(expected.len(), 1);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].evidence.len(), expected[0].evidence.len());
    assert_eq!((told[0].id, told[0].proof), (expected[0].id, Proof::Proven));
    assert!((told[0].accumulated - expected[0].accumulated).abs() < 1e-9);
}

#[test]
fn who_saw_the_same_counts_nothing_twice() {
    let (mut one, mut other) =
        (Engine::new(&Settings::default(), &parrot), Engine::new(&Settings::default(), &parrot));
    let left = feed(&mut one, halves(0, 12));
    feed(&mut other, halves(0, 12));
    let told = inherits(&mut other, left_by(&left, 1012));
    assert!(told.iter().any(|record| matches!(record, Record::TookOver { .. })));
    assert_eq!(alerts(&mut other, halves(12, 18)).len(), 0);
    assert_eq!(alerts(&mut other, halves(18, 24)).len(), 1);
}

#[test]
fn what_was_alerted_is_not_alerted_again() {
    for sees in [false, true] {
        let (mut one, mut other) =
            (Engine::new(&Settings::default(), &parrot), Engine::new(&Settings::default(), &parrot));
        let left = feed(&mut one, vec![says(1000, STRANGER, "critical proven 1")]);
        if sees {
            feed(&mut other, vec![says(1000, STRANGER, "critical proven 1")]);
        }
        inherits(&mut other, left_by(&left, 1001));
        assert_eq!(alerts(&mut other, vec![says(1003, STRANGER, "critical proven 1")]).len(), 0);
        // It goes on long after: another alert, with an identity of its own.
        let again = alerts(&mut other, vec![says(1300, STRANGER, "critical proven 1")]);
        let first =
            left.iter().find_map(|r| if let Record::Alert(alert) = r { Some(alert.id) } else { None });
        assert_eq!(again.len(), 1);
        assert_ne!(Some(again[0].id), first);
    }
}

#[test]
fn what_nobody_told_is_told_after_the_place_was_taken() {
    let mut engine = Engine::new(&Settings::default(), &parrot);
    let kept = alerts(&mut engine, vec![says(1000, STRANGER, "critical proven 1")]);
    let heritage = Heritage { fence: 7, untold: kept, ..left_by(&[], 1001) };
    let records = inherits(&mut engine, heritage);
    assert!(matches!(records.as_slice(), [.., Record::TookOver { fence: 7 }, Record::Alert(_)]));
}

#[test]
fn nothing_is_taken_over_of_other_times_or_beyond_what_its_evidence_weighs() {
    let mut one = Engine::new(&Settings::default(), &parrot);
    let left = left_by(&feed(&mut one, halves(0, 5)), 1012);
    let mut other = Engine::new(&Settings::default(), &parrot);
    inherits(&mut other, Heritage { at: PacketTime::from_secs_micros(20_000, 0), ..left.clone() });
    assert_eq!(other.stats().evidence, 0);
    let mut forged = left;
    for (evidence, _) in &mut forged.accounts[0].evidence {
        evidence.accumulated = 1e9;
    }
    inherits(&mut other, forged);
    assert_eq!(other.stats().evidence, 5);
    assert_eq!(alerts(&mut other, halves(5, 10)).len(), 0);
    let mut nothing = Heritage { at: PacketTime::from_secs_micros(1012, 0), ..Heritage::default() };
    nothing.accounts.push(HeritageOf {
        attacker: STRANGER,
        window: WindowId(i64::MAX),
        alerts: u32::MAX,
        last: None,
        evidence: Vec::new(),
    });
    inherits(&mut other, nothing);
}

#[test]
fn what_an_alert_has_used_makes_no_second_one() {
    let mut one = Engine::new(&Settings::default(), &parrot);
    let mut told = feed(&mut one, halves(0, 30));
    let last = told.iter().rposition(|record| matches!(record, Record::Alert(_))).expect("an alert");
    told.truncate(last + 1);
    let mut left = left_by(&told, 1030);
    let alert = left.accounts[0].last.expect("an alert").0;
    left.accounts[0].evidence.retain(|(of, _)| of.last_seen <= alert);
    assert!(left.accounts[0].evidence.iter().any(|(of, _)| of.accumulated > 0.0));
    let mut other = Engine::new(&Settings::default(), &parrot);
    inherits(&mut other, left);
    // Long after, one more of many: by itself it is nothing.
    assert_eq!(alerts(&mut other, vec![says(1400, STRANGER, "high proven 99")]).len(), 0);
}

#[test]
fn of_whom_only_the_other_one_knows_it_is_not_said_that_nobody_talks_with_him() {
    for (inherited, expected) in [(false, false), (true, true)] {
        let (mut one, mut other) =
            (Engine::new(&Settings::default(), &parrot), Engine::new(&Settings::default(), &parrot));
        let left = feed(&mut one, halves(0, 3));
        feed(&mut other, vec![flow(1000, 1, 2)]);
        if inherited {
            inherits(&mut other, left_by(&left, 1012));
        }
        // What a module says that cannot be forged in its name, but may be about a forged sender.
        let finding = Finding {
            level: ThreatLevel::Critical,
            confidence: Confidence::new(1.0),
            proof: Proof::Unproven,
            ..Finding::new(EvidenceKind::PasswordGuessing, STRANGER, WindowId(0), PacketTime(0))
        };
        let report = Report { finding, src: Some(STRANGER), dst: None };
        let told = alerts(&mut other, vec![Event::Told(Box::new(report))]);
        assert_eq!(told.iter().map(|alert| alert.in_conversation).collect::<Vec<_>>(), [expected]);
    }
}
