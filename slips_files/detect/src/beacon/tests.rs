//! Clocks that are told and those that are not.

use super::*;
use crate::test_traces::{Talk, at as addr_of, bench, dns, levels};
use slips_core::detector::Bench;
use slips_core::flow::Service;
use slips_core::flow::Uid;

/// Flows at these seconds, told of the client.
fn told(at: impl Iterator<Item = i64>, vary: impl Fn(usize, &mut Flow)) -> Vec<Finding> {
    let mut bench = bench(Beacon::new(&Settings::default()));
    let flow = |(n, second): (usize, i64)| {
        let talk = Talk::tcp("192.168.1.5", "203.0.113.9", 443).carrying(841, 3000).at(second);
        let mut flow = talk.uid(&format!("C{n}")).flow();
        flow.service = Service::new("ssl");
        vary(n, &mut flow);
        Event::Flow(flow)
    };
    let all = at.enumerate().flat_map(|flow_at| bench.feed(&flow(flow_at)));
    all.filter(|finding| finding.attacker == Entity::Ip("192.168.1.5".parse().expect("ip"))).collect()
}

fn strange(_: usize, flow: &mut Flow) {
    (flow.service, flow.dst.port) = (Service::EMPTY, 5888);
}

#[test]
fn a_clock_at_a_known_port_is_low() {
    assert!(told((0..20).map(|n| n * 5), |_, _| {}).is_empty());
    assert_eq!(levels(&told((0..100).map(|n| n * 5), |_, _| {})), ["info 0.3"]);
    assert_eq!(levels(&told((0..400).map(|n| n * 5), |_, _| {})), ["info 0.3", "low 0.6", "low 0.9"]);
}

#[test]
fn a_strange_or_refused_clock_is_high() {
    assert!(told((0..10).map(|n| n * 5), strange).is_empty(), "nine intervals");
    assert_eq!(levels(&told((0..300).map(|n| n * 5), strange)), ["medium 0.6", "high 0.6", "high 0.8"]);
    let refused = |_: usize, flow: &mut Flow| flow.state = ConnState::Rej;
    assert_eq!(levels(&told((0..20).map(|n| n * 5), refused)), ["medium 0.6"]);
}

#[test]
fn the_steps_can_be_set() {
    let mut settings = Settings::default();
    settings.set(&SPEC, &STRANGE, &[30]).expect("steps");
    let mut bench = bench(Beacon::new(&settings));
    let mut at = |n: i64| {
        let talk = Talk::tcp("192.168.1.5", "203.0.113.9", 5888).carrying(841, 3000).at(n * 5);
        levels(&bench.feed(&talk.uid(&format!("C{n}")).event()))
    };
    assert!((0..30).all(|n| at(n).is_empty()));
    assert_eq!(at(30).first().map(String::as_str), Some("medium 0.6"));
}

#[test]
fn jitter_missing_beats_and_days_do_not_hide_it() {
    let jitter = (0..60).map(|n| n * 60 + n * 7 % 13);
    assert!(!told(jitter, strange).is_empty());
    let missing = (0..60).filter(|n| n % 4 != 3).map(|n| n * 60);
    assert!(!told(missing, strange).is_empty());
    let days = (0..40).map(|n| n * 7200);
    assert!(!told(days, strange).is_empty());
}

#[test]
fn people_and_changing_sizes_are_silent() {
    // Intervals of a Poisson process, a minute in the mean.
    let waits = (0..200i64).map(|n| (-60.0 * (((n * 7919 % 997) as f64 + 1.0) / 998.0).ln()) as i64 + 1);
    let people = waits.scan(0, |now, wait| {
        *now += wait;
        Some(*now)
    });
    assert!(told(people, strange).is_empty());
    assert!(
        told((0..200).map(|n| n * 5), |n, flow| flow.orig.bytes = 100 + n as u64 * 7919 % 5000).is_empty()
    );
}

#[test]
fn local_services_bursts_and_what_was_joined_in_the_middle_are_silent() {
    let joined = |_: usize, flow: &mut Flow| flow.state = ConnState::Oth;
    assert!(told((0..200).map(|n| n * 5), joined).is_empty());
    let local = |_: usize, flow: &mut Flow| flow.dst.addr = [192, 168, 1, 9].into();
    assert!(told((0..200).map(|n| n * 5), local).is_empty());
    assert!(told((0..200).map(|_| 0), strange).is_empty());
}

/// What is told of the client by a bench that has seen these flows.
fn of_client(bench: &mut Bench, flows: impl Iterator<Item = Flow>) -> Vec<Finding> {
    let all = flows.flat_map(|flow| bench.feed(&Event::Flow(flow)));
    all.filter(|finding| finding.attacker == Entity::Ip(addr_of("192.168.1.5"))).collect()
}

fn flow_at(second: i64, dst: &str, port: u16) -> Flow {
    Talk::tcp("192.168.1.5", dst, port).carrying(841, 3000).at(second).uid(&format!("C{second}")).flow()
}

#[test]
fn a_server_that_never_lets_in_and_is_called_for_ever_is_critical_on_both_sides() {
    let refused = |n: i64, gap: i64| {
        let mut bench = bench(Beacon::new(&Settings::default()));
        bench.facts(slips_core::detector::Facts { src_on_link: true, ..Default::default() });
        (0..n)
            .flat_map(|n| {
                let mut flow = flow_at(n * gap, "203.0.113.9", 5888);
                (flow.state, flow.orig, flow.resp) = (ConnState::Rej, Default::default(), Default::default());
                bench.feed(&Event::Flow(flow))
            })
            .filter(|told| told.level == ThreatLevel::Critical)
            .inspect(|told| assert_eq!(told.proof, Proof::Unproven, "a page may have done it"))
            .map(|told| told.attacker)
            .collect::<Vec<_>>()
    };
    let both = ["192.168.1.5", "203.0.113.9"].map(|ip| Entity::Ip(addr_of(ip)));
    assert_eq!(refused(560, 1), both);
    assert!(refused(499, 1).is_empty());
    assert!(refused(900, 60).is_empty(), "once a minute");
}

#[test]
fn refused_beats_are_not_critical_at_known_ports_after_an_answer_or_with_patience() {
    let critical = |vary: fn(i64, &mut Flow)| {
        let mut bench = bench(Beacon::new(&Settings::default()));
        let flows = (0..1000).map(|n| {
            let mut flow = flow_at(n * 2, "203.0.113.9", 5888);
            (flow.state, flow.orig, flow.resp) = (ConnState::Rej, Default::default(), Default::default());
            vary(n, &mut flow);
            flow
        });
        of_client(&mut bench, flows).iter().any(|told| told.level == ThreatLevel::Critical)
    };
    assert!(critical(|_, _| {}));
    assert!(!critical(|_, flow| flow.dst.port = 443));
    assert!(!critical(|n, flow| {
        let Flow { state, orig, resp, .. } = flow.clone();
        *flow = Flow { state, orig, resp, ..flow_at(n * 4, "203.0.113.9", 5888) };
    }));
    assert!(!critical(|n, flow| {
        if n == 0 {
            *flow = flow_at(0, "203.0.113.9", 5888);
        }
    }));
}

#[test]
fn a_beacon_of_a_host_that_talks_with_hundreds_is_seen() {
    let mut bench = bench(Beacon::new(&Settings::default()));
    let flows = (0..40i64).flat_map(|hour| {
        let others = (0..200)
            .map(move |n| flow_at(hour * 3600 + n * 15, &format!("198.51.{}.{}", hour * 7 % 250, n), 443));
        others.chain([flow_at(hour * 3600 + 3100, "203.0.113.9", 4444)])
    });
    let told = of_client(&mut bench, flows);
    assert_eq!(levels(&told).first().map(String::as_str), Some("medium 0.6"), "{told:?}");
}

#[test]
fn datagrams_and_pings_beat_too_and_weigh_less() {
    let told = |vary: fn(&mut Flow)| {
        let mut bench = bench(Beacon::new(&Settings::default()));
        let flows = (0..500).map(|n| {
            let mut flow = flow_at(n * 7, "203.0.113.9", 40_404);
            vary(&mut flow);
            flow
        });
        levels(&of_client(&mut bench, flows))
    };
    assert_eq!(told(|flow| flow.proto = Proto::Udp), ["low 0.5", "medium 0.5", "medium 0.8"]);
    let ntp = told(|flow| (flow.proto, flow.dst.port) = (Proto::Udp, 123));
    assert_eq!(ntp, ["info 0.3", "low 0.6", "low 0.9"]);
    let ping = told(|flow| (flow.proto, flow.src.port, flow.dst.port) = (Proto::Icmp, 8, 0));
    assert_eq!(ping, ["info 0.3", "low 0.6", "low 0.9"]);
    assert!(told(|flow| (flow.proto, flow.src.port) = (Proto::Icmp, 3)).is_empty());
}

#[test]
fn questions_that_carry_something_beat() {
    let told = |name: &dyn Fn(i64) -> String| {
        let mut bench = bench(Beacon::new(&Settings::default()));
        let all = (0..120i64).flat_map(|n| {
            let mut record = dns(&name(n), &[]);
            (record.about.at, record.about.uid) = (flow_at(n * 30, "203.0.113.9", 1).start, Uid::new("C1"));
            bench.feed(&Event::Dns(Box::new(record)))
        });
        levels(&all.collect::<Vec<_>>())
    };
    let told_of = |name: &str| told(&|_| name.into());
    assert_eq!(told(&|n| format!("a9f3c2{n:08}.c2.example.org")), ["low 0.5", "medium 0.5"]);
    for name in ["www.example.org", "connectivity-check.example.org", "a9f3c2e1b7d4.example.org"] {
        assert!(told_of(name).is_empty(), "{name}");
    }
}
