//! What the judge makes of findings: critical ones, sums, proof.

use super::*;

/// Says what it is told to, in the text of the uid: `level proof attacker`.
pub(super) struct Parrot;

const PARROT: Spec = Spec {
    name: "parrot",
    kinds: &[EvidenceKind::VerticalPortScan],
    events: &[EventKind::Flow, EventKind::Weird],
    roles: &[Role::Src],
    thresholds: &[],
    header: Header::EMPTY,
};

impl Detector for Parrot {
    fn spec(&self) -> &'static Spec {
        &PARROT
    }
    fn on_event(&mut self, cx: &mut Cx<'_>, event: &Event) {
        let said = match event {
            Event::Flow(flow) => flow.uid.as_str(),
            Event::Weird(weird) => weird.name.as_str(),
            _ => return,
        };
        let mut finding =
            Finding::new(EvidenceKind::VerticalPortScan, cx.profile(), cx.window(), event.known_at());
        let mut words = said.split(' ');
        finding.level = words.next().and_then(ThreatLevel::from_name).unwrap_or(ThreatLevel::Info);
        let proven = words.next() == Some("proven");
        finding.proof = if proven || cx.facts().src_on_link { Proof::Proven } else { Proof::Unproven };
        finding.dst_port = words.next().and_then(|port| port.parse().ok());
        finding.again = if words.next() == Some("counts") { Again::Counts } else { Again::Grows };
        finding.confidence =
            words.next().and_then(|word| word.parse().ok()).map_or(Confidence::FULL, Confidence::new);
        cx.emit(finding);
    }
    fn forget(&mut self, _slot: Slot) {}
}

pub(super) fn parrot() -> Vec<Box<dyn Detector>> {
    vec![Box::new(Parrot)]
}

pub(super) fn says(secs: i64, src: IpAddr, says: &str) -> Event {
    let end = |addr, port| Endpoint { addr, port };
    let mut flow = Flow::new(
        PacketTime::from_secs_micros(secs, 0),
        Proto::Tcp,
        end(src, 1000),
        end(IpAddr::from([10, 0, 0, 1]), 80),
    );
    flow.uid = crate::flow::Uid::new(says);
    Event::Flow(flow)
}

pub(super) fn alerts(engine: &mut Engine, events: Vec<Event>) -> Vec<Arc<crate::alert::Alert>> {
    let mut out = Vec::new();
    engine.feed(events, &mut out);
    out.into_iter().filter_map(|r| if let Record::Alert(alert) = r { Some(alert) } else { None }).collect()
}

pub(super) const STRANGER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 9));

#[test]
fn a_flood_of_forged_findings_keeps_out_no_real_one() {
    let mut settings = Settings::default();
    settings.limits.open_evidence = 100;
    let mut engine = Engine::new(&settings, &parrot);
    let flood = (0..5000u32)
        .map(|n| says(1000, IpAddr::V4(std::net::Ipv4Addr::from_bits(0xc633_0000 + n)), "medium"))
        .collect();
    assert!(alerts(&mut engine, flood).is_empty());
    assert!(engine.stats().evidence_capped > 4000);
    assert_eq!(alerts(&mut engine, vec![says(1001, STRANGER, "critical")]).len(), 1);
    let inside = IpAddr::from([10, 0, 0, 7]);
    let told = alerts(&mut engine, vec![says(1001, inside, "low"), says(1002, inside, "critical")]);
    assert_eq!(told.len(), 1);
}

#[test]
fn a_critical_evidence_fires_again_when_it_is_proven_and_when_it_goes_on() {
    let mut engine = Engine::new(&Settings::default(), &parrot);
    let mut fired = |secs, text| alerts(&mut engine, vec![says(secs, STRANGER, text)]).len();
    assert_eq!(fired(1000, "critical"), 1);
    assert_eq!(fired(1001, "critical"), 0);
    assert_eq!(fired(1002, "critical proven"), 1);
    assert_eq!(fired(1003, "critical proven"), 0);
    assert_eq!(fired(1300, "critical proven"), 1);
}

#[test]
fn a_storm_of_critical_evidence_about_one_attacker_is_few_alerts_that_name_all_of_it() {
    let mut engine = Engine::new(&Settings::default(), &parrot);
    let storm = (0..100).map(|n| says(1000 + n / 10, STRANGER, &format!("critical unproven {n}"))).collect();
    let told = alerts(&mut engine, storm);
    // One at once, then each time the weight is enough.
    assert_eq!(told.len(), 7);
    assert_eq!(told.iter().map(|alert| alert.evidence.len()).sum::<usize>(), 91);
}

#[test]
fn a_proven_trifle_vouches_for_nothing() {
    let mut engine = Engine::new(&Settings::default(), &parrot);
    let told = alerts(
        &mut engine,
        vec![says(1000, STRANGER, "low proven 1"), says(1001, STRANGER, "critical unproven 2")],
    );
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].proof, Proof::Unproven);
    assert_eq!(told[0].evidence.len(), 2);
}

#[test]
fn what_rises_on_forged_findings_is_not_proven_by_what_was_proven_below() {
    let mut engine = Engine::new(&Settings::default(), &parrot);
    let mut told = |secs, text| alerts(&mut engine, vec![says(secs, STRANGER, text)]);
    assert!(told(1000, "medium proven 1").is_empty());
    let forged = told(1001, "critical unproven 1");
    assert_eq!(forged.iter().map(|alert| alert.proof).collect::<Vec<_>>(), [Proof::Unproven]);
    assert_eq!(forged[0].evidence[0].finding.proof, Proof::Unproven);
    assert!(
        told(1002, "medium proven 1").is_empty(),
        "a genuine trifle does not prove what was forged above"
    );
    assert!(told(1003, "critical unproven 1").is_empty());
    assert_eq!(told(1004, "critical proven 1").first().map(|alert| alert.proof), Some(Proof::Proven));
}

#[test]
fn weight_that_forged_findings_add_to_a_proven_one_is_not_proven() {
    for (first, proof) in [("low", Proof::Unproven), ("high", Proof::Proven)] {
        let mut engine = Engine::new(&Settings::default(), &parrot);
        let said = |n: i64, text: &str| says(1000 + n, STRANGER, &format!("{text} {}", n % 20));
        // Twenty ports: proven at first, then high whoever says so; 20 × 0.8 is enough.
        let events = (0..20)
            .map(|n| said(n, &format!("{first} proven")))
            .chain((20..40).map(|n| said(n, "high forged")));
        let told = alerts(&mut engine, events.collect());
        assert_eq!(told.iter().map(|alert| alert.proof).collect::<Vec<_>>(), [proof], "{first}");
    }
}

#[test]
fn repeats_that_are_forged_are_counted_apart_from_those_that_are_proven() {
    for (kind, proof) in [("forged", Proof::Unproven), ("proven", Proof::Proven)] {
        let mut engine = Engine::new(&Settings::default(), &parrot);
        // One proven finding and 127 like it, of each of four ports: 4 × 0.8 × 8.
        let events = (0..4 * 128).map(|n| {
            let proven = if n < 4 { "proven" } else { kind };
            says(1000, STRANGER, &format!("high {proven} {} counts", n % 4))
        });
        let told = alerts(&mut engine, events.collect());
        assert_eq!(told.first().map(|alert| alert.proof), Some(proof), "{kind}");
    }
}

#[test]
fn of_the_weight_that_is_told_what_could_be_forged_is_told_apart() {
    let mut engine = Engine::new(&Settings::default(), &parrot);
    let words = [
        "medium proven 1",
        "high forged 2",
        "medium forged 1",
        "low proven 3",
        "critical proven 4",
        "low proven 5",
    ];
    let mut out = Vec::new();
    engine.feed(words.iter().map(|word| says(1000, STRANGER, word)).collect(), &mut out);
    let told: Vec<(f64, f64)> = out
        .iter()
        .filter_map(|record| match record {
            Record::Evidence(evidence) => Some((evidence.accumulated, evidence.proven)),
            _ => None,
        })
        .collect();
    let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
    let expected = [(0.5, 0.5), (1.3, 0.5), (1.3, 0.5), (1.5, 0.7), (2.5, 1.7), (0.2, 0.2)];
    assert!(
        told.len() == expected.len()
            && told
                .iter()
                .zip(expected)
                .all(|(told, wanted)| near(told.0, wanted.0) && near(told.1, wanted.1)),
        "after an alert all begins anew: {told:?}"
    );
}

#[test]
fn the_confidence_of_a_trifle_makes_nothing_worse_certain() {
    let mut engine = Engine::new(&Settings::default(), &parrot);
    let told = alerts(
        &mut engine,
        vec![
            says(1000, STRANGER, "critical proven 1 counts 0.5"),
            says(1001, STRANGER, "info proven 1 counts"),
        ],
    );
    assert!(told.is_empty());
}
