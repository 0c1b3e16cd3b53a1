use super::*;
use crate::test_traces::{Talk, at, bench, levels, notice};
use slips_core::flow::{ConnState, Endpoint, Origin};

fn host(n: u32) -> String {
    format!("192.168.{}.{}", n / 200, n % 200 + 1)
}

/// `n` hosts, one every `gap` milliseconds.
fn sweep(n: u32, gap: i64, vary: impl Fn(u32, &mut Flow)) -> Vec<Finding> {
    let mut bench = bench(HorizontalScan::new(&Settings::default()));
    let mut told = Vec::new();
    for n in 0..n {
        let mut flow = Talk::tcp("203.0.113.9", &host(n), 8080).at(i64::from(n) * gap / 1000).flow();
        vary(n, &mut flow);
        told.extend(bench.feed(&Event::Flow(flow)));
    }
    told
}

fn outside(n: u32) -> IpAddr {
    at(&format!("198.51.{}.{}", n / 200, n % 200 + 1))
}

#[test]
fn ten_hosts_are_told_and_nine_are_not() {
    assert!(sweep(9, 10, |_, _| {}).is_empty());
    let told = sweep(10, 10, |_, _| {});
    assert_eq!(levels(&told), ["medium 0.6"]);
    assert_eq!((told[0].dst_port, told[0].victim.as_ref()), (Some(8080), None));
    assert_eq!(told[0].uids.len(), 10);
}

#[test]
fn hundreds_of_hosts_in_minutes_are_critical_once() {
    let told = sweep(3000, 10, |_, _| {});
    assert_eq!(levels(&told), ["medium 0.6", "medium 0.8", "high 0.9", "critical 1"]);
    assert!(told[3].text.contains("200 hosts"), "{}", told[3].text);
}

#[test]
fn the_same_slowly_is_not_critical_before_a_thousand() {
    assert_eq!(levels(&sweep(990, 3500, |_, _| {})), ["medium 0.6", "medium 0.8", "high 0.9"]);
    assert_eq!(levels(&sweep(1000, 3500, |_, _| {})).last().map(String::as_str), Some("critical 1"));
}

#[test]
fn forty_hosts_in_minutes_are_critical_at_the_ports_of_worms() {
    let telnet = |n, gap| sweep(n, gap, |_, f| f.dst.port = 23);
    assert_eq!(levels(&telnet(39, 2000)), ["medium 0.6", "medium 0.8"]);
    assert_eq!(levels(&telnet(40, 2000)).last().map(String::as_str), Some("critical 1"));
    assert_eq!(levels(&telnet(90, 39_000)), ["medium 0.6", "medium 0.8"]);
}

#[test]
fn swapped_flows_successes_and_one_host_again_and_again_are_silent() {
    assert!(sweep(300, 10, |_, f| f.history = "^r".into()).is_empty());
    assert!(sweep(300, 10, |_, f| f.state = ConnState::SF).is_empty());
    assert!(sweep(300, 10, |_, f| f.dst.addr = at("192.168.0.1")).is_empty());
    assert!(sweep(300, 10, |_, f| f.dst.addr = at("224.0.0.1")).is_empty());
}

#[test]
fn an_outage_of_hosts_lately_talked_to_is_silent() {
    let mut bench = bench(HorizontalScan::new(&Settings::default()));
    bench.facts(Facts { dst_talked: true, ..Facts::default() });
    for n in 0..500 {
        let mut flow = Talk::tcp("192.168.9.9", "192.168.1.1", 9100).flow();
        flow.dst.addr = outside(n);
        assert!(bench.feed(&Event::Flow(flow)).is_empty());
    }
}

#[test]
fn peer_to_peer_failures_over_many_ports_stay_at_the_first_step() {
    let mut bench = bench(HorizontalScan::new(&Settings::default()));
    let mut told = Vec::new();
    for n in 0..9000u32 {
        // Every twentieth peer uses the program's old default port.
        let port = if n % 20 == 0 { 6881 } else { 10_000 + (n * 7919 % 50_000) as u16 };
        let mut flow = Talk::tcp("192.168.1.5", "192.168.1.1", port).at(i64::from(n) / 15).flow();
        flow.dst.addr = outside(n);
        told.extend(bench.feed(&Event::Flow(flow)));
    }
    assert_eq!(levels(&told), ["medium 0.6"]);
}

#[test]
fn a_scan_of_seven_ports_at_once_is_critical_on_each() {
    let mut bench = bench(HorizontalScan::new(&Settings::default()));
    let mut told = Vec::new();
    for n in 0..1600 {
        for port in [21, 22, 23, 80, 445, 3389, 8080] {
            told.extend(bench.feed(&Talk::tcp("203.0.113.9", &host(n), port).event()));
        }
    }
    assert_eq!(told.iter().filter(|f| f.level == ThreatLevel::Critical).count(), 7);
}

#[test]
fn crawlers_and_undeliverable_mail_stay_below_critical() {
    let mut bench = bench(HorizontalScan::new(&Settings::default()));
    let mut told = Vec::new();
    for n in 0..1500 {
        for (state, port) in [(ConnState::S0, 8443), (ConnState::SF, 8443), (ConnState::S0, 25)] {
            let mut flow = Talk::tcp("192.168.1.5", "192.168.1.1", port).state(state).flow();
            flow.dst.addr = outside(n);
            told.extend(bench.feed(&Event::Flow(flow)));
        }
    }
    assert_eq!(told.iter().map(|f| f.level).max(), Some(ThreatLevel::High));
    assert_eq!(told.len(), 6);
}

#[test]
fn a_worm_that_succeeds_at_a_host_of_its_own_or_at_many_is_critical() {
    for own in [true, false] {
        let mut bench = bench(HorizontalScan::new(&Settings::default()));
        let mut told = Vec::new();
        for n in 0..900 {
            for (state, port) in [(ConnState::S0, 23), (ConnState::SF, 23)] {
                let mut flow = Talk::tcp("192.168.1.7", "45.1.1.1", port).state(state).flow();
                if state == ConnState::S0 || !own {
                    flow.dst.addr = outside(n);
                }
                told.extend(bench.feed(&Event::Flow(flow)));
            }
        }
        assert_eq!(told.iter().map(|f| f.level).max(), Some(ThreatLevel::Critical));
    }
}

#[test]
fn one_host_that_lets_a_scanner_in_excuses_one_and_a_handshake_counts_at_once() {
    let scan = |own: bool| {
        let mut bench = bench(HorizontalScan::new(&Settings::default()));
        let mut told = Vec::new();
        for n in 0..900 {
            told.extend(bench.feed(&Talk::tcp("203.0.113.9", &host(n), 8080).event()));
            let peer = if own { "45.1.1.1".to_owned() } else { host(1000 + n) };
            let talk = Talk::tcp("203.0.113.9", &peer, 8080).carrying(9, 9).uid(&format!("D{n}"));
            bench.feed(&talk.phase(Phase::Established).event());
        }
        told.iter().map(|finding| finding.level).max()
    };
    assert_eq!(scan(true), Some(ThreatLevel::Critical));
    assert_eq!(scan(false), Some(ThreatLevel::High));
}

#[test]
fn a_household_with_broken_ipv6_stays_below_critical_and_a_sweep_of_the_web_does_not() {
    let worst = |n, refused: bool, dst: fn(u32) -> String| {
        let told = sweep(n, 1000, |n, f| {
            (f.src.addr, f.dst.addr, f.dst.port) = (at("2003:db:1:2::5"), at(&dst(n)), 443);
            (f.phase, f.resp.pkts) = (Phase::End, u64::from(refused));
        });
        told.iter().map(|finding| finding.level).max()
    };
    let outside = |n| format!("2a00:{n:x}::1");
    assert_eq!(worst(900, false, outside), Some(ThreatLevel::High));
    assert_eq!(worst(1300, false, outside), Some(ThreatLevel::Critical));
    assert_eq!(worst(300, true, outside), Some(ThreatLevel::Critical));
    assert_eq!(worst(300, false, host), Some(ThreatLevel::Critical));
}

#[test]
fn proven_are_attempts_that_reach_the_step_alone() {
    let mixed = |genuine: u32| {
        let mut bench = bench(HorizontalScan::new(&Settings::default()));
        let mut told = Vec::new();
        for n in 0..250 {
            bench.facts(Facts { src_on_link: n < genuine, ..Facts::default() });
            told.extend(bench.feed(&Talk::tcp("192.168.9.5", &host(n), 8080).event()));
        }
        told.iter().map(|f| f.proof == Proof::Proven).collect::<Vec<_>>()
    };
    assert_eq!(mixed(1), [false; 4]);
    assert_eq!(mixed(100), [true, true, true, false]);
    assert_eq!(mixed(250), [true; 4]);
}

#[test]
fn open_services_at_which_nothing_is_said_end_at_medium() {
    let visit = |_: u32, f: &mut Flow| {
        (f.state, f.history) = (ConnState::SF, "ShAFf".into());
        (f.orig.pkts, f.resp.pkts) = (4, 2);
    };
    let told = sweep(1200, 10, visit);
    assert_eq!(levels(&told), ["medium 0.6", "medium 0.8"]);
    assert_eq!(told[0].proof, Proof::Proven, "a whole handshake");
    assert!(sweep(9, 10, visit).is_empty());
    let banner = |n: u32, f: &mut Flow| {
        visit(n, f);
        f.resp.bytes = 30;
    };
    assert!(sweep(1200, 10, banner).is_empty());
}

#[test]
fn what_a_page_can_have_its_visitor_do_outside_proves_nothing() {
    let worst = |port: u16, bare_syn| {
        let mut bench = bench(HorizontalScan::new(&Settings::default()));
        bench.facts(Facts { src_local: true, src_on_link: true, ..Facts::default() });
        let attempt = |n| {
            let flow = Talk::tcp("192.168.9.5", "203.0.113.9", port).phase(Phase::Rejected).flow();
            Event::Flow(Flow { dst: Endpoint { addr: outside(n), ..flow.dst }, bare_syn, ..flow })
        };
        let told: Vec<_> = (0..250).flat_map(|n| bench.feed(&attempt(n))).collect();
        assert_eq!(levels(&told).last().map(String::as_str), Some("critical 1"));
        told.last().map(|told| told.proof)
    };
    assert_eq!(worst(8080, false), Some(Proof::Unproven));
    assert_eq!(worst(445, false), Some(Proof::Unproven));
    assert_eq!(worst(22, false), Some(Proof::Proven), "browsers refuse");
    assert_eq!(worst(8080, true), Some(Proof::Proven), "a program made the packets");
}

#[test]
fn a_worm_that_speaks_its_protocol_with_some_is_proven_by_what_it_tries_then() {
    let worst = |service: &str, spoken: u32, origin| {
        let mut bench = bench(HorizontalScan::new(&Settings::default()));
        bench.facts(Facts { src_local: true, src_on_link: true, ..Facts::default() });
        let to = |n, flow: Flow| Flow { dst: Endpoint { addr: outside(n), ..flow.dst }, origin, ..flow };
        for n in 0..spoken {
            let flow =
                Talk::tcp("192.168.9.5", "203.0.113.9", 445).carrying(500, 500).phase(Phase::End).flow();
            let flow = to(1000 + n, Flow { service: service.into(), ..flow });
            assert!(bench.feed(&Event::Flow(flow)).is_empty());
        }
        let attempt = |n| to(n, Talk::tcp("192.168.9.5", "203.0.113.9", 445).phase(Phase::Rejected).flow());
        let told: Vec<_> = (0..250).flat_map(|n| bench.feed(&Event::Flow(attempt(n)))).collect();
        told.last().map(|told| told.proof)
    };
    assert_eq!(worst("smb", 5, Origin::Sensor), Some(Proof::Proven));
    assert_eq!(worst("smb", 4, Origin::Sensor), Some(Proof::Unproven), "an administrator's own servers");
    assert_eq!(worst("smb", 5, Origin::Zeek), Some(Proof::Unproven), "perhaps only the server said so");
    for service in ["http", "ssh", "mysql"] {
        assert_eq!(
            worst(service, 5, Origin::Sensor),
            Some(Proof::Unproven),
            "a page's own server may say so"
        );
    }
}

#[test]
fn later_events_of_the_same_flows_prove_them() {
    let mut bench = bench(HorizontalScan::new(&Settings::default()));
    let mut told = Vec::new();
    for (phase, src_on_link) in [(Phase::Unanswered, false), (Phase::End, true)] {
        bench.facts(Facts { src_on_link, ..Facts::default() });
        for n in 0..250 {
            let talk = Talk::tcp("192.168.9.5", &host(n), 8080).phase(phase);
            told.extend(bench.feed(&talk.event()));
        }
    }
    let proofs: Vec<bool> = told.iter().map(|told| told.proof == Proof::Proven).collect();
    assert_eq!(proofs, [false, false, false, false, true]);
    assert_eq!(told.last().map(|told| told.level), Some(ThreatLevel::Critical));
}

#[test]
fn fin_scans_of_many_hosts_are_seen_and_never_proven() {
    let told = sweep(300, 10, |_, f| {
        (f.state, f.history, f.orig.pkts) = (ConnState::Oth, "Fr".into(), 1);
    });
    assert_eq!(levels(&told).last().map(String::as_str), Some("critical 1"));
    assert_eq!(told[0].proof, Proof::Unproven);
}

#[test]
fn a_scan_that_goes_on_is_told_again() {
    let mut bench = bench(HorizontalScan::new(&Settings::default()));
    let mut seconds = Vec::new();
    for second in 0..600 {
        let mut flow = Talk::tcp("203.0.113.9", &host(second as u32 % 100), 23).at(second).flow();
        for phase in [Phase::Unanswered, Phase::End] {
            flow.phase = phase;
            let told = bench.feed(&Event::Flow(flow.clone()));
            seconds.extend(told.iter().filter(|f| f.level == ThreatLevel::Critical).map(|_| second));
        }
    }
    assert_eq!(seconds, [39, 159, 279, 399, 519]);
}

#[test]
fn datagrams_outwards_are_weak_and_everyday_ones_are_silent() {
    let outwards = |port: u16| {
        sweep(1500, 10, |n, f| {
            (f.proto, f.src.addr, f.dst.addr, f.dst.port) = (Proto::Udp, at("192.168.1.5"), outside(n), port);
        })
    };
    for port in [53, 123, 443] {
        assert!(outwards(port).is_empty(), "{port}");
    }
    assert_eq!(levels(&outwards(6881)), ["low 0.4", "medium 0.5"]);
    let inwards = sweep(1500, 10, |_, f| (f.proto, f.dst.port) = (Proto::Udp, 5060));
    assert_eq!(levels(&inwards), ["low 0.5", "medium 0.6", "high 0.7", "critical 0.9"]);
}

#[test]
fn a_notice_of_zeek_is_high_and_not_told_twice() {
    let mut bench = bench(HorizontalScan::new(&Settings::default()));
    let msg = "203.0.113.9 scanned at least 25 unique hosts on port 2323/tcp in 0m1s";
    let seen = notice("Scan::Address_Scan", msg, "203.0.113.9");
    let told = bench.feed(&seen);
    assert_eq!(levels(&told), ["high 0.9"]);
    assert_eq!((told[0].dst_port, told[0].proto), (Some(2323), Some(Proto::Tcp)));
    assert!(bench.feed(&seen).is_empty());
    assert!(bench.feed(&notice("Scan::Address_Scan", "garbled", "203.0.113.9")).is_empty());
}
