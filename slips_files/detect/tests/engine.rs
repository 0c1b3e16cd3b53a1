//! The registry in the whole engine: same records for any number of shards and any batch size, attacks alert, innocents do not.

use std::net::IpAddr;

use slips_core::engine::Engine;
use slips_core::event::{Arp, ArpOp, Event};
use slips_core::evidence::EvidenceKind;
use slips_core::flow::{ConnState, Endpoint, Flow, MacAddr, Phase, Proto, Uid, Volume};
use slips_core::intel::Current;
use slips_core::record::Record;
use slips_core::settings::Settings;
use slips_core::time::{PacketTime, Span};

const BASE: i64 = 1_700_000_000_000_000;

#[expect(clippy::expect_used, reason = "an address written in this file")]
fn addr(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// A flow `n` of the trace, `millis` after its beginning.
fn flow(n: usize, millis: i64, src: &str, dst: &str, port: u16, state: ConnState) -> Flow {
    let start = PacketTime(BASE + millis * 1000);
    let end = |text, port| Endpoint { addr: addr(text), port };
    let mut flow = Flow::new(start, Proto::Tcp, end(src, 40_000 + (n % 20_000) as u16), end(dst, port));
    flow.uid = Uid::new(&format!("C{n}"));
    flow.state = state;
    let established = state == ConnState::SF;
    let volume = |bytes| Volume { pkts: 10, bytes, ip_bytes: bytes + 400 };
    if established {
        (flow.orig, flow.resp) = (volume(2000), volume(20_000));
        (flow.orig_new, flow.resp_new) = (flow.orig, flow.resp);
        flow.duration = Some(Span::from_millis(300));
        flow.seen = flow.start + Span::from_millis(300);
    } else {
        flow.orig = Volume { pkts: 1, bytes: 0, ip_bytes: 60 };
    }
    flow
}

/// What a scan, a worm, an upload and three quarters of an hour of an office look like together.
fn trace() -> Vec<Event> {
    let mut flows = Vec::new();
    for n in 0..1000 {
        flows.push((n as i64 * 5, "203.0.113.66", "192.168.1.2".to_owned(), 1 + n as u16, ConnState::Rej));
        let host = format!("198.51.{}.{}", n / 250, n % 250 + 1);
        flows.push((n as i64 * 700, "192.168.1.66", host, 23, ConnState::S0));
    }
    for n in 0..3000 {
        let client = ["192.168.1.10", "192.168.1.11", "192.168.1.12"][n % 3];
        let server = format!("192.0.2.{}", n * 7 % 200 + 1);
        let state = if n % 9 == 0 { ConnState::S0 } else { ConnState::SF };
        flows.push((n as i64 * 900, client, server, [443, 80, 993][n % 3], state));
    }
    flows.sort_by_key(|(millis, ..)| *millis);
    let events = flows.into_iter().enumerate().flat_map(|(n, (millis, src, dst, port, state))| {
        let ended = flow(n, millis, src, &dst, port, state);
        let mut begun = ended.clone();
        (begun.phase, begun.seen) = (Phase::Start, begun.start);
        [Event::Flow(begun), Event::Flow(ended)]
    });
    events.collect()
}

fn run(events: &[Event], shards: usize, batch: usize) -> Vec<Record> {
    let registry = || slips_detect::registry(&slips_detect::Settings::default(), &Current::default());
    let mut engine = Engine::with_shards(&Settings::default(), &registry, shards);
    let mut records = Vec::new();
    for batch in events.chunks(batch) {
        engine.feed(batch.to_vec(), &mut records);
    }
    engine.finish(&mut records);
    records
}

/// Evidence and alerts in their order, in full.
fn told(records: &[Record]) -> Vec<String> {
    let text = |record: &Record| match record {
        Record::Evidence(evidence) => Some(format!("{evidence:?}")),
        Record::Alert(alert) => Some(format!("{alert:?}")),
        _ => None,
    };
    records.iter().filter_map(text).collect()
}

#[test]
fn evidence_and_alerts_are_the_same_for_any_spread_and_batch() {
    let events = trace();
    let expected = told(&run(&events, 1, events.len()));
    assert!(expected.len() > 10);
    for (shards, batch) in [(1, 1), (2, 1000), (3, 17), (8, 333)] {
        assert_eq!(told(&run(&events, shards, batch)), expected, "{shards} shards, batches of {batch}");
    }
}

#[test]
fn the_scanner_and_the_worm_alert_and_the_office_does_not() {
    let records = run(&trace(), 2, 100);
    let mut attackers: Vec<_> = records
        .iter()
        .filter_map(|record| match record {
            Record::Alert(alert) => Some(alert.attacker.to_string()),
            _ => None,
        })
        .collect();
    attackers.sort();
    attackers.dedup();
    assert_eq!(attackers, ["192.168.1.66", "203.0.113.66"]);
}

#[test]
fn the_registry_names_each_detection_once_and_all_kinds_have_one() {
    let specs = slips_detect::specs();
    let mut names: Vec<_> = specs.iter().map(|spec| spec.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), specs.len());
    let kinds: Vec<_> = specs.iter().flat_map(|spec| spec.kinds).collect();
    for kind in EvidenceKind::ALL {
        // What others say is nobody's detection.
        assert!(kinds.contains(&kind) != (kind.is_hearsay() || kind.is_asked_for()), "{kind}");
    }
}

/// ARP in the name of `sender` from the hardware address that ends in `mac`.
fn arp(millis: i64, op: ArpOp, sender: &str, mac: u8) -> Event {
    let mac = MacAddr([2, 0, 0, 0, 0, mac]);
    let (at, target, target_mac) = (PacketTime(BASE + millis * 1000), addr("192.168.1.9"), MacAddr::ZERO);
    let (frame_src, sender_mac, frame_dst) = (mac, mac, MacAddr::BROADCAST);
    Event::Arp(Arp {
        at,
        op,
        frame_src,
        frame_dst,
        sender: addr(sender),
        sender_mac,
        target,
        target_mac,
        interface: 0,
    })
}

#[test]
fn who_claims_by_arp_the_address_of_another_is_the_attacker_and_not_the_other() {
    let mut events = Vec::new();
    // 192.168.1.9 asks for each, and each answers.
    for last in [1, 7, 66] {
        let host = format!("192.168.1.{last}");
        let Event::Arp(mut asks) = arp(i64::from(last), ArpOp::Request, "192.168.1.9", 9) else { continue };
        asks.target = addr(&host);
        events.extend([Event::Arp(asks), arp(i64::from(last), ArpOp::Reply, &host, last)]);
    }
    for second in 1..60 {
        events.push(arp(second * 1000, ArpOp::Reply, "192.168.1.7", 66));
        if second % 10 == 0 {
            events.push(arp(second * 1000 + 500, ArpOp::Request, "192.168.1.7", 7));
        }
    }
    for (shards, batch) in [(1, 1), (3, 7)] {
        let records = run(&events, shards, batch);
        let attackers: Vec<_> = records
            .iter()
            .filter_map(|record| match record {
                Record::Alert(alert) => Some(alert.attacker),
                _ => None,
            })
            .collect();
        assert_eq!(attackers, [addr("192.168.1.66")]);
    }
}
