//! The engine as a whole, with a small detector of its own.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;

use self::judging::{Parrot, STRANGER, alerts, parrot, says};
use super::*;
use crate::detector::{Closing, Cx, Header, Role, Slot, Spec};
use crate::event::{EventKind, Report};
use crate::evidence::{Again, Confidence, EvidenceKind, Finding, Proof, ThreatLevel};
use crate::flow::{Endpoint, Flow, Phase, Proto};
use crate::state::Windowed;
use crate::time::{PacketTime, Span, WindowId};

mod inheriting;
mod judging;
mod sparing;

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
    thresholds: &[],
    header: Header::EMPTY,
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
            Record::Events(_) | Record::Stats(_) | Record::Spared { .. } | Record::TookOver { .. } => None,
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
            .map(|&(step, late, src, dst)| {
                now += step;
                // Peers put in a word now and then.
                match dst {
                    8 => advice(IpAddr::from([10, 0, 0, src]), f64::from(late.unsigned_abs() as u32 % 7) / 10.0),
                    _ => flow(now + late / 20, src, dst),
                }
            })
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

#[test]
fn a_long_live_flow_opens_no_closed_window() {
    let mut engine = Engine::new(&Settings::default(), &registry);
    let mut out = Vec::new();
    for minute in 0..300 {
        let Event::Flow(mut flow) = flow(100, 1, 2) else { continue };
        flow.phase = Phase::Update;
        flow.seen = PacketTime::from_secs_micros(100 + minute * 60, 0);
        engine.feed(vec![Event::Flow(flow)], &mut out);
    }
    engine.finish(&mut out);
    let closed: Vec<i64> = out
        .iter()
        .filter_map(|r| if let Record::WindowClosed { window, .. } = r { Some(window.0) } else { None })
        .collect();
    assert_eq!(closed, [0, 1, 2, 3, 4, 5].into_iter().take(closed.len()).collect::<Vec<_>>());
    let mut ids: Vec<_> =
        out.iter().filter_map(|r| if let Record::Alert(a) = r { Some(a.id) } else { None }).collect();
    let all = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), all);
}

/// A flow with frames from `mac`, whole or a lone attempt.
fn framed(secs: i64, src: IpAddr, mac: u8, whole: bool) -> Event {
    let Event::Flow(mut flow) = says(secs, src, "critical unproven") else { unreachable!() };
    flow.src_mac = Some(crate::flow::MacAddr([2, 0, 0, 0, 0, mac]));
    if whole {
        flow.state = crate::flow::ConnState::SF;
        (flow.orig.bytes, flow.resp.bytes, flow.orig.pkts, flow.resp.pkts) = (100, 100, 5, 5);
    }
    Event::Flow(flow)
}

#[test]
fn only_a_whole_connection_makes_a_hardware_address_the_owner() {
    let host = IpAddr::from([10, 0, 0, 7]);
    let proof = |events: Vec<Event>| {
        let mut engine = Engine::new(&Settings::default(), &parrot);
        alerts(&mut engine, events).last().map(|alert| alert.proof)
    };
    // A packet proves nothing about itself, nor do a hundred of them.
    let forged: Vec<Event> = (0..100).map(|n| framed(1000 + n * 3, host, 6, false)).collect();
    assert_eq!(proof(forged), Some(Proof::Unproven));
    // The owner is proven; somebody else with its address is not, even when he comes first.
    let mut events = vec![framed(1000, host, 6, false), framed(1001, host, 7, true)];
    events.push(framed(1300, host, 7, false));
    assert_eq!(proof(events.clone()), Some(Proof::Proven));
    let mut engine = Engine::new(&Settings::default(), &parrot);
    alerts(&mut engine, vec![framed(1001, host, 7, true)]);
    let told = alerts(&mut engine, vec![framed(1300, host, 6, false)]);
    assert_eq!(told.last().map(|alert| alert.proof), Some(Proof::Unproven));
}

#[test]
fn what_this_router_forwarded_makes_none_of_its_hardware_addresses_an_owner() {
    let host = IpAddr::from([10, 0, 0, 7]);
    let own_macs = vec![crate::flow::MacAddr([2, 0, 0, 0, 0, 9])];
    let mut engine = Engine::new(&Settings { own_macs: own_macs.into(), ..Settings::default() }, &parrot);
    let events = vec![framed(1001, host, 9, true), framed(1002, host, 7, true), framed(1300, host, 7, false)];
    assert_eq!(alerts(&mut engine, events).last().map(|alert| alert.proof), Some(Proof::Proven));
}

#[test]
fn a_record_in_frames_of_the_owner_is_proven_as_a_flow_is() {
    let host = IpAddr::from([10, 0, 0, 7]);
    let mac = |last| Some(crate::flow::MacAddr([2, 0, 0, 0, 0, last]));
    let proof = |src_mac, tunnelled| {
        let mut engine = Engine::new(&Settings::default(), &parrot);
        alerts(&mut engine, vec![framed(1001, host, 7, true)]);
        let end = |addr| Endpoint { addr, port: 53 };
        let about = crate::event::About {
            at: PacketTime::from_secs_micros(1300, 0),
            uid: crate::flow::Uid::EMPTY,
            src: end(host),
            dst: end(STRANGER),
            proto: Proto::Udp,
            interface: 0,
            heard: true,
            tunnelled,
            src_mac,
        };
        let weird = crate::event::Weird { about, name: "critical unproven".to_owned(), addl: String::new() };
        alerts(&mut engine, vec![Event::Weird(Box::new(weird))]).last().map(|alert| alert.proof)
    };
    assert_eq!(proof(mac(7), false), Some(Proof::Proven));
    assert_eq!(proof(mac(7), true), Some(Proof::Unproven));
    assert_eq!(proof(mac(6), false), Some(Proof::Unproven));
    assert_eq!(proof(None, false), Some(Proof::Unproven));
}

#[test]
fn who_was_a_partner_before_the_start_is_one_for_an_hour() {
    let sibling = IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 9]);
    let partners = vec![STRANGER, IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1])];
    let settings = Settings { partners, ..Settings::default() };
    for (who, secs, expected) in [
        (STRANGER, 4599, true),
        (sibling, 4599, true),
        (IpAddr::from([203, 0, 113, 10]), 4599, false),
        (STRANGER, 4601, false),
    ] {
        let mut engine = Engine::new(&settings, &parrot);
        alerts(&mut engine, vec![says(1000, IpAddr::from([198, 51, 100, 1]), "info")]);
        let told = alerts(&mut engine, vec![says(secs, who, "critical")]);
        assert_eq!(told.first().map(|alert| alert.in_conversation), Some(expected), "{who} {secs}");
    }
}

#[test]
fn a_partner_of_a_local_host_stays_one_under_a_flood() {
    let mut settings = Settings::default();
    settings.limits.remote_profiles = 100;
    let mut engine = Engine::new(&settings, &parrot);
    let end = |addr, port| Endpoint { addr, port };
    let mut ask = Flow::new(
        PacketTime::from_secs_micros(1000, 0),
        Proto::Udp,
        end(IpAddr::from([10, 0, 0, 7]), 5000),
        end(STRANGER, 53),
    );
    (ask.orig.pkts, ask.resp.pkts) = (1, 1);
    alerts(&mut engine, vec![Event::Flow(ask)]);
    let flood = (0..5000u32)
        .map(|n| says(1001, IpAddr::V4(std::net::Ipv4Addr::from_bits(0xc633_0000 + n)), "info"))
        .collect();
    alerts(&mut engine, flood);
    let told = alerts(&mut engine, vec![says(1002, STRANGER, "critical")]);
    assert!(told[0].in_conversation);
    // Whoever is answered does not become a partner by it.
    let other = IpAddr::from([203, 0, 113, 10]);
    let Event::Flow(mut began) = says(1003, other, "info") else { unreachable!() };
    (began.orig.pkts, began.resp.pkts) = (5, 5);
    alerts(&mut engine, vec![Event::Flow(began)]);
    let told = alerts(&mut engine, vec![says(1004, other, "critical")]);
    assert!(!told[0].in_conversation);
}

#[test]
fn a_partner_is_near_whoever_shares_its_56_bits() {
    let mut engine = Engine::new(&Settings::default(), &parrot);
    let addr = |text: &str| text.parse::<IpAddr>().expect(text);
    let end = |addr, port| Endpoint { addr, port };
    let mut ask = Flow::new(
        PacketTime::from_secs_micros(1000, 0),
        Proto::Udp,
        end(addr("fd00::7"), 5000),
        end(addr("2001:db8:7:20::53"), 53),
    );
    (ask.orig.pkts, ask.resp.pkts) = (1, 1);
    alerts(&mut engine, vec![Event::Flow(ask)]);
    let mut near = |at, who: &str| {
        let told = alerts(&mut engine, vec![says(at, addr(who), "critical")]);
        (told[0].in_conversation, told[0].near_conversation)
    };
    assert_eq!(near(1001, "2001:db8:7:20::99"), (true, true), "its own /64");
    assert_eq!(near(1001, "2001:db8:7:21::1"), (false, true));
    assert_eq!(near(1001, "2001:db8:7:121::1"), (false, false), "the next line");
    assert_eq!(near(1001, "203.0.113.77"), (false, false));
    assert_eq!(near(1000 + 3601, "2001:db8:7:22::1"), (false, false), "an hour ago");
}

/// What peers say of an address, worth this much of an alert.
fn advice(attacker: IpAddr, help: f64) -> Event {
    let at = PacketTime::from_secs_micros(50, 0);
    Event::Advice(Box::new(crate::event::Advice {
        attacker,
        at,
        help,
        confidence: 0.9,
        text: "attic and cellar say so".into(),
    }))
}

/// The alerts after `tens` times ten flows of one source, each ten worth 0.8, and then a word of peers. An alert needs 4.
fn alerts_with_help(tens: i64, help: f64) -> Vec<Arc<crate::alert::Alert>> {
    let settings = Settings { threshold: 4.0 / 60.0, ..Settings::default() };
    let mut engine = Engine::new(&settings, &|| vec![Box::new(Parrot) as Box<dyn Detector>]);
    let mut out = Vec::new();
    for n in 0..tens {
        let Event::Flow(mut said) = flow(50, 1, 2) else { return Vec::new() };
        said.uid = crate::flow::Uid::new(&format!("high proven {n}"));
        engine.feed(vec![Event::Flow(said)], &mut out);
    }
    engine.feed(vec![advice(IpAddr::from([10, 0, 0, 1]), help)], &mut out);
    let alerts = out.iter().filter_map(|record| match record {
        Record::Alert(alert) => Some(Arc::clone(alert)),
        _ => None,
    });
    alerts.collect()
}

#[test]
fn peers_help_own_evidence_over_the_bar_and_never_replace_it() {
    use crate::alert::Cause;
    // 0.8 of 4 is less than a quarter; 1.6 of 4 with 0.6 is enough, with 0.5 not; more than 0.6 is not granted.
    for (tens, help, alerts) in [
        (0, 0.6, 0),
        (1, 9.0, 0),
        (2, 0.5, 0),
        (2, 0.6, 1),
        (2, 9.0, 1),
        (3, 0.4, 1),
        (3, 0.39, 0),
        (4, 0.0, 0),
    ] {
        let got = alerts_with_help(tens, help);
        assert_eq!(got.len(), alerts, "{tens} findings, help {help}");
        if let [alert] = got.as_slice() {
            assert_eq!((alert.cause, alert.proof), (Cause::Assisted, Proof::Proven));
            let last = alert.evidence.last().expect("the deciding one");
            assert_eq!(last.finding.kind, EvidenceKind::MaliciousIpFromP2p);
            assert_eq!(alert.evidence.len() as i64, tens + 1);
            assert!(last.finding.text.contains("attic"));
        }
    }
}

#[test]
fn what_a_service_says_is_evidence_of_the_moment_in_which_it_is_known() {
    let mut engine = Engine::new(&Settings::default(), &|| vec![Box::new(Parrot) as Box<dyn Detector>]);
    let mut out = Vec::new();
    engine.feed(vec![flow(7250, 1, 2)], &mut out);
    let early = PacketTime::from_secs_micros(50, 0);
    let window = Settings::default().width.window_of(early);
    let server = IpAddr::from([203, 0, 113, 9]);
    let told = Finding {
        level: ThreatLevel::Medium,
        ..Finding::new(EvidenceKind::MaliciousUrl, server, window, early)
    };
    let told = Event::Told(Box::new(Report { finding: told, src: None, dst: Some(server) }));
    engine.feed(vec![told.clone(), told], &mut out);
    let last = out.iter().rev().find_map(|record| match record {
        Record::Evidence(evidence) if evidence.finding.kind == EvidenceKind::MaliciousUrl => Some(evidence),
        _ => None,
    });
    let last = last.expect("told");
    assert_eq!((last.count, last.finding.attacker.ip()), (2, Some(server)));
    assert!(last.finding.window > window, "not that of the question, which is closed");
}

#[test]
fn what_a_program_outside_cannot_prove_blocks_nobody_by_itself() {
    let server = IpAddr::from([203, 0, 113, 9]);
    for (module, proof, expected) in [
        (Some("module"), Proof::Unproven, true),
        (Some("module"), Proof::Proven, false),
        (None, Proof::Unproven, false),
    ] {
        let mut engine = Engine::new(&Settings::default(), &parrot);
        let finding = Finding {
            level: ThreatLevel::Critical,
            confidence: Confidence::new(1.0),
            proof,
            told_by: module.map(Into::into),
            ..Finding::new(EvidenceKind::PasswordGuessing, server, WindowId(0), PacketTime(0))
        };
        let report = Report { finding, src: Some(server), dst: None };
        let told = alerts(&mut engine, vec![flow(1000, 1, 2), Event::Told(Box::new(report))]);
        // Of somebody in a conversation with our hosts nothing unproven blocks.
        assert_eq!(
            told.iter().map(|alert| alert.in_conversation).collect::<Vec<_>>(),
            [expected],
            "{module:?}"
        );
    }
}
