//! The engine as a whole, with a small detector of its own.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;

use super::*;
use crate::detector::{Closing, Cx, Role, Slot, Spec};
use crate::event::EventKind;
use crate::evidence::{Again, EvidenceKind, Finding, ThreatLevel};
use crate::flow::{Endpoint, Flow, Phase, Proto};
use crate::state::Windowed;
use crate::time::{PacketTime, Span, WindowId};

/// Counts flows per source and window, says so at every tenth, after a minute of silence, and when the window closes.
#[derive(Default)]
struct Counter {
    counts: Windowed<(u32, Option<IpAddr>)>,
}

const SPEC: Spec = Spec {
    name: "counter",
    kinds: &[EvidenceKind::VerticalPortScan, EvidenceKind::LongConnection, EvidenceKind::DataUpload],
    events: &[EventKind::Flow],
    roles: &[Role::Src, Role::Dst],
};

impl Detector for Counter {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }
    fn on_event(&mut self, cx: &mut Cx<'_>, event: &Event) {
        let (slot, window, now, profile) = (cx.slot(), cx.window(), cx.now(), cx.profile());
        let state = self.counts.get_or_default(slot, window);
        state.0 += 1;
        state.1 = Some(profile);
        let n = state.0;
        let other = event.parties().1;
        if n.is_multiple_of(10) {
            let mut finding = Finding::new(EvidenceKind::VerticalPortScan, profile, window, now);
            finding.level = if n >= 50 { ThreatLevel::Critical } else { ThreatLevel::High };
            finding.again = Again::Grows;
            finding.text = format!("{n} flows");
            cx.emit(finding);
        }
        if let (Role::Src, Some(other)) = (cx.role(), other)
            && n.is_multiple_of(7)
        {
            // Evidence about the other side travels to that side's account.
            let mut finding = Finding::new(EvidenceKind::LongConnection, other, window, now);
            finding.level = ThreatLevel::Medium;
            finding.profile = profile;
            cx.emit(finding);
        }
        cx.wake_at(now + Span::from_secs(60), u64::from(n));
    }
    fn on_timer(&mut self, cx: &mut Cx<'_>, tag: u64) {
        if tag.is_multiple_of(5) {
            let mut finding = Finding::new(EvidenceKind::DataUpload, cx.profile(), cx.window(), cx.now());
            finding.level = ThreatLevel::Low;
            cx.emit(finding);
        }
    }
    fn on_window_close(&mut self, out: &mut Closing<'_>, window: WindowId) {
        let now = out.now();
        self.counts.close(window, |_, (n, profile)| {
            if let Some(profile) = profile.filter(|_| n.is_multiple_of(3)) {
                let mut finding = Finding::new(EvidenceKind::LongConnection, profile, window, now);
                finding.level = ThreatLevel::Low;
                out.emit(finding);
            }
        });
    }
    fn forget(&mut self, slot: Slot) {
        self.counts.forget(slot);
    }
}

fn registry() -> Vec<Box<dyn Detector>> {
    vec![Box::<Counter>::default()]
}

fn flow(secs: i64, src: u8, dst: u8) -> Event {
    let at = |last, port| Endpoint { addr: IpAddr::from([10, 0, 0, last]), port };
    let mut flow = Flow::new(PacketTime::from_secs_micros(secs, 0), Proto::Tcp, at(src, 1000), at(dst, 80));
    flow.phase = Phase::End;
    Event::Flow(flow)
}

/// Everything that a user could tell apart, as text.
fn told(records: &[Record]) -> Vec<String> {
    records
        .iter()
        .filter_map(|record| match record {
            Record::Evidence(e) => Some(format!(
                "evidence {} {} {} {} x{} {} sum {:.6} at {}",
                e.id,
                e.finding.kind,
                e.finding.attacker,
                e.finding.level,
                e.count,
                e.finding.text,
                e.accumulated,
                e.last_seen
            )),
            Record::Alert(a) => Some(format!(
                "alert {} {} w{} {:?} sum {:.6} conf {:.6} of {:?}",
                a.id,
                a.attacker,
                a.window,
                a.cause,
                a.accumulated,
                a.confidence.get(),
                a.evidence.iter().map(|e| e.id).collect::<Vec<_>>()
            )),
            Record::WindowClosed { window, at } => Some(format!("closed {window} at {at}")),
            Record::ProfileNew { addr, at } => Some(format!("profile {addr} at {at}")),
            Record::Events(_) | Record::Stats(_) => None,
        })
        .collect()
}

fn kinds_only(told: Vec<String>) -> (Vec<String>, Vec<String>) {
    told.into_iter().partition(|line| !line.starts_with("profile"))
}

fn run_inline(settings: &Settings, events: &[Event], shards: usize, batch: usize) -> Vec<String> {
    let mut engine = Engine::with_shards(settings, &registry, shards);
    let mut out = Vec::new();
    for chunk in events.chunks(batch) {
        engine.feed(chunk.to_vec(), &mut out);
    }
    engine.finish(&mut out);
    told(&out)
}

fn run_threads(settings: &Settings, events: &[Event], shards: usize, batch: usize) -> Vec<String> {
    let all = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&all);
    let (input, pipeline) = pipeline::start(settings, &registry, shards, move |records| {
        sink.lock().expect("no panic holds it").extend(records);
    })
    .expect("threads");
    for chunk in events.chunks(batch) {
        input.send(chunk.to_vec()).expect("running");
    }
    drop(input);
    pipeline.join().expect("no panic");
    told(&all.lock().expect("no panic holds it"))
}

fn settings() -> Settings {
    let mut settings = Settings { threshold: 0.05, ..Settings::default() };
    settings.limits.local_profiles = 6;
    settings
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Same input, same evidence and alerts, in the same order, for any number of shards and any batch size; with evictions,
    /// timers, late events and findings about the other side.
    #[test]
    fn same_alerts_for_any_shard_count_and_batch_size(
        steps in proptest::collection::vec((0i64..40, -4000i64..1, 0u8..9, 0u8..9), 1..400),
        batch in 1usize..64,
    ) {
        let mut now = 1_000_000;
        let events: Vec<Event> = steps
            .iter()
            .map(|&(step, late, src, dst)| { now += step; flow(now + late / 20, src, dst) })
            .collect();
        let settings = settings();
        let (expected, mut profiles) = kinds_only(run_inline(&settings, &events, 1, events.len()));
        profiles.sort();
        for shards in [1usize, 2, 5] {
            let (told, mut seen) = kinds_only(run_inline(&settings, &events, shards, batch));
            seen.sort();
            prop_assert_eq!(&told, &expected, "inline, {} shards, batches of {}", shards, batch);
            prop_assert_eq!(&seen, &profiles);
        }
        for shards in [0usize, 1, 2, 5] {
            let (told, _) = kinds_only(run_threads(&settings, &events, shards, batch));
            prop_assert_eq!(&told, &expected, "{} threads, batches of {}", shards, batch);
        }
    }
}

#[test]
fn a_critical_certain_evidence_alerts_at_once_and_only_once() {
    let events: Vec<Event> = (0..200).map(|n| flow(1000 + n, 1, 2)).collect();
    let mut engine = Engine::new(&Settings::default(), &registry);
    let mut out = Vec::new();
    engine.feed(events, &mut out);
    let alerts: Vec<_> = out
        .iter()
        .filter_map(|record| match record {
            Record::Alert(alert) if alert.cause == crate::alert::Cause::Critical => Some(alert),
            _ => None,
        })
        .collect();
    // One for the source and one for the destination, whose flows are counted too.
    assert_eq!(alerts.len(), 2);
    assert!(alerts.iter().all(|alert| alert.confidence.get() >= 0.9));
}

#[test]
fn an_alert_uses_its_evidence_up_and_the_sum_starts_again() {
    let settings = Settings { threshold: 0.01, ..Settings::default() };
    let events: Vec<Event> = (0..2000).map(|n| flow(1000 + n / 100, 1, (n % 200) as u8)).collect();
    let mut engine = Engine::new(&settings, &registry);
    let mut out = Vec::new();
    engine.feed(events, &mut out);
    let mut used: HashMap<_, u32> = HashMap::new();
    let mut alerts = 0;
    for record in &out {
        if let Record::Alert(alert) = record {
            alerts += 1;
            // The deciding evidence may come again when it grew; the others must not.
            for evidence in alert.evidence.iter().rev().skip(1) {
                *used.entry(evidence.id).or_default() += 1;
            }
        }
    }
    assert!(alerts > 1);
    assert!(used.values().all(|times| *times == 1), "{used:?}");
}

#[test]
fn windows_close_when_time_has_passed_them_and_all_at_the_end() {
    let mut engine = Engine::new(&Settings::default(), &registry);
    let mut out = Vec::new();
    engine.feed(vec![flow(100, 1, 2), flow(3700, 1, 2), flow(3600 + 599, 1, 2)], &mut out);
    assert!(!out.iter().any(|record| matches!(record, Record::WindowClosed { .. })));
    engine.feed(vec![Event::Tick(PacketTime::from_secs_micros(3600 + 600, 0))], &mut out);
    let closed = |out: &[Record]| {
        out.iter()
            .filter_map(|record| match record {
                Record::WindowClosed { window, .. } => Some(window.0),
                _ => None,
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(closed(&out), [0]);
    engine.finish(&mut out);
    assert_eq!(closed(&out), [0, 1]);
    assert_eq!(engine.stats().flows, 3);
    assert_eq!(engine.stats().profile_windows, 4);
}

#[test]
fn a_disabled_evidence_is_never_told() {
    let settings = Settings { disabled: EvidenceKind::ALL.to_vec(), threshold: 0.0, ..Settings::default() };
    let events: Vec<Event> = (0..200).map(|n| flow(1000 + n, 1, 2)).collect();
    let mut engine = Engine::new(&settings, &registry);
    let mut out = Vec::new();
    engine.feed(events, &mut out);
    engine.finish(&mut out);
    assert!(!out.iter().any(|r| matches!(r, Record::Evidence(_) | Record::Alert(_))));
}

#[test]
fn hostile_time_stamps_keep_the_number_of_open_windows_bounded() {
    let mut engine = Engine::new(&Settings::default(), &registry);
    let mut out = Vec::new();
    for n in 0..10_000i64 {
        engine.feed(vec![flow((n * 7_919) % 1_000 * 100_000, 1, 2)], &mut out);
    }
    let closed = out.iter().filter(|r| matches!(r, Record::WindowClosed { .. })).count();
    assert!(closed > 900, "{closed}");
}
