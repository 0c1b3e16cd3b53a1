use super::*;
use crate::test_traces::{Talk, at, bench, levels, notice, secs};
use slips_core::detector::Bench;
use slips_core::event::About;
use slips_core::flow::{ConnState, Volume};

const ATTACKER: &str = "203.0.113.9";
const SERVER: &str = "192.168.1.2";

/// A connection as measured: payload bytes, packets and milliseconds.
#[derive(Clone, Copy)]
struct Shape {
    orig: u64,
    resp: u64,
    pkts: u64,
    millis: i64,
}

const HYDRA: Shape = Shape { orig: 1483, resp: 2201, pkts: 37, millis: 13_200 };
const WRONG_KEY: Shape = Shape { orig: 2929, resp: 2861, pkts: 21, millis: 130 };
const LOGGED_IN: Shape = Shape { orig: 3733, resp: 4121, pkts: 41, millis: 330 };

fn flow(src: &str, dst: &str, n: i64, start: i64, shape: Shape) -> Flow {
    let talk = Talk::tcp(src, dst, 22).at(start).lasting(shape.millis).uid(&format!("C{n}"));
    let mut flow = talk.carrying(shape.orig, shape.resp).flow();
    flow.orig = Volume { pkts: shape.pkts / 2, ..flow.orig };
    flow.resp = Volume { pkts: shape.pkts.div_ceil(2), ..flow.resp };
    flow
}

fn record(n: i64, start: i64, success: Option<bool>, attempts: u32, client: &str) -> Event {
    let end = |addr, port| Endpoint { addr: at(addr), port };
    Event::Ssh(Box::new(Ssh {
        about: About {
            at: secs(start),
            uid: Uid::new(&format!("C{n}")),
            src: end(ATTACKER, 40_000),
            dst: end(SERVER, 22),
            proto: Proto::Tcp,
            interface: 0,
            heard: true,
            tunnelled: false,
            src_mac: None,
        },
        version: Some(2),
        auth_success: success,
        auth_attempts: attempts,
        client: client.into(),
        server: "SSH-2.0-OpenSSH_9.2".into(),
        cipher_alg: String::new(),
        mac_alg: String::new(),
        compression_alg: String::new(),
        kex_alg: String::new(),
        host_key_alg: String::new(),
        host_key: String::new(),
        hassh: String::new(),
        hassh_server: String::new(),
    }))
}

fn detector() -> Bench {
    bench(SshGuessing::new(&Settings::default()))
}

/// `n` connections, one every `gap` seconds.
fn flows(n: i64, gap: i64, shape: Shape) -> Vec<Finding> {
    let mut bench = detector();
    (0..n).flat_map(|n| bench.feed(&Event::Flow(flow(ATTACKER, SERVER, n, n * gap, shape)))).collect()
}

fn worst(findings: &[Finding]) -> Option<ThreatLevel> {
    findings.iter().map(|finding| finding.level).max()
}

#[test]
fn nine_attempts_are_told_and_eight_are_not() {
    assert!(flows(8, 10, WRONG_KEY).is_empty());
    let told = flows(9, 10, WRONG_KEY);
    assert_eq!(levels(&told), ["medium 0.5"]);
    assert_eq!(told[0].victim, Some(Entity::Ip(at(SERVER))));
    assert_eq!((told[0].dst_port, told[0].uids.len(), told[0].proof), (Some(22), 9, Proof::Proven));
}

#[test]
fn the_steps_are_the_original_s() {
    let mut bench = detector();
    let mut steps = Vec::new();
    for n in 0..140 {
        let seen = bench.feed(&Event::Flow(flow(ATTACKER, SERVER, n, n * 25, WRONG_KEY)));
        steps.extend(seen.iter().map(|_| n + 1));
    }
    assert_eq!(steps, [9, 10, 12, 16, 24, 40, 72, 136]);
}

#[test]
fn thirty_connections_of_hydra_are_critical_by_their_flows_alone() {
    let told = flows(30, 1, HYDRA);
    let critical = told.iter().find(|f| f.level == ThreatLevel::Critical).expect("critical");
    assert!(critical.confidence.get() >= 0.9);
    assert!(critical.text.contains("75 attempts in 15 connections"), "{}", critical.text);
}

#[test]
fn a_run_of_hydra_is_critical_when_its_first_connections_close() {
    for parallel in [5, 16] {
        let mut bench = detector();
        let mut told = Vec::new();
        for n in 0..parallel {
            let mut closed = flow(ATTACKER, SERVER, n, 0, HYDRA);
            closed.phase = Phase::Closed;
            told.extend(bench.feed(&record(n, 0, Some(false), 6, "SSH-2.0-libssh_0.10.5")));
            told.extend(bench.feed(&Event::Flow(closed)));
        }
        assert_eq!(levels(&told).last().map(String::as_str), Some("critical 1"));
    }
}

#[test]
fn a_name_alone_makes_nothing_sure() {
    let mut bench = detector();
    let mut told = Vec::new();
    for n in 0..60 {
        told.extend(bench.feed(&record(n, n, None, 0, "SSH-2.0-Go")));
        told.extend(bench.feed(&Event::Flow(flow(ATTACKER, SERVER, n, n, WRONG_KEY))));
    }
    assert_eq!(worst(&told), Some(ThreatLevel::High));
    assert!(told.iter().all(|finding| finding.confidence.get() <= 0.7));
    assert!(told[0].confidence.get() > 0.55, "a little more than without the name");
}

#[test]
fn connections_without_a_uid_are_told_apart() {
    let mut bench = detector();
    let mut told = Vec::new();
    for n in 0..30 {
        let mut flow = flow(ATTACKER, SERVER, n, n, HYDRA);
        flow.uid = Uid::EMPTY;
        told.extend(bench.feed(&Event::Flow(flow)));
    }
    assert_eq!(worst(&told), Some(ThreatLevel::Critical));
}

#[test]
fn guessing_that_goes_on_is_told_again_every_two_minutes() {
    let mut bench = detector();
    let mut seconds = Vec::new();
    for n in 0..1500 {
        let told = bench.feed(&record(n, n, Some(false), 1, "SSH-2.0-OpenSSH_9.2"));
        seconds.extend(told.iter().filter(|f| f.level == ThreatLevel::Critical).map(|_| n));
    }
    assert!(seconds.windows(2).all(|pair| pair[1] - pair[0] <= 120), "{seconds:?}");
    assert!(seconds.len() < 25, "{seconds:?}");
    assert!(bench.feed(&record(3000, 3000, Some(false), 1, "x")).is_empty(), "one more mistake");
}

#[test]
fn failures_that_a_record_tells_are_sure() {
    let mut bench = detector();
    let event = |n| record(n, n, Some(false), 6, "SSH-2.0-OpenSSH_9.2");
    let told: Vec<_> = (0..6).flat_map(|n| bench.feed(&event(n))).collect();
    assert_eq!(levels(&told).last().map(String::as_str), Some("critical 1"));
}

#[test]
fn record_and_flow_of_one_connection_are_one_attempt_in_either_order() {
    for record_first in [true, false] {
        let mut bench = detector();
        let mut told = Vec::new();
        for n in 0..8 {
            let (record, flow) = (
                record(n, n, Some(false), 1, "SSH-2.0-OpenSSH_9.2"),
                Event::Flow(flow(ATTACKER, SERVER, n, n, WRONG_KEY)),
            );
            let order = if record_first { [&record, &flow] } else { [&flow, &record] };
            told.extend(order.into_iter().flat_map(|event| bench.feed(event)));
        }
        assert!(told.is_empty(), "record first: {record_first}");
    }
}

#[test]
fn a_cron_job_with_a_wrong_key_stays_below_critical() {
    assert_eq!(worst(&flows(60, 60, WRONG_KEY)), Some(ThreatLevel::High));
    let mut bench = detector();
    let event = |n| record(n, n * 60, Some(false), 3, "SSH-2.0-OpenSSH_9.2");
    let told: Vec<_> = (0..60).flat_map(|n| bench.feed(&event(n))).collect();
    assert_eq!(worst(&told), Some(ThreatLevel::High));
}

#[test]
fn automation_that_succeeds_is_silent() {
    assert!(flows(500, 1, LOGGED_IN).is_empty());
    let mut bench = detector();
    let told: usize =
        (0..500).map(|n| bench.feed(&record(n, n, Some(true), 3, "SSH-2.0-paramiko_3")).len()).sum();
    assert_eq!(told, 0);
    let mut bench = detector();
    for n in 0..500 {
        assert!(bench.feed(&record(n, n, None, 0, "SSH-2.0-paramiko_3")).is_empty());
        assert!(bench.feed(&Event::Flow(flow(ATTACKER, SERVER, n, n, LOGGED_IN))).is_empty());
    }
}

#[test]
fn many_small_fetches_outwards_are_not_critical() {
    let mut bench = detector();
    let fetch = |n| Event::Flow(flow("192.168.1.5", "203.0.113.22", n, n / 4, WRONG_KEY));
    let told: Vec<_> = (0..300).flat_map(|n| bench.feed(&fetch(n))).collect();
    assert_eq!(worst(&told), Some(ThreatLevel::High));
    assert!(told.iter().all(|finding| finding.confidence.get() <= 0.7));
}

#[test]
fn service_checks_failures_and_other_ports_are_silent() {
    assert!(flows(100, 1, Shape { orig: 25, resp: 40, pkts: 10, millis: 100 }).is_empty());
    let mut bench = detector();
    for n in 0..100 {
        let mut refused = flow(ATTACKER, SERVER, n, n, HYDRA);
        refused.state = ConnState::Rej;
        assert!(bench.feed(&Event::Flow(refused)).is_empty());
        let mut https = flow(ATTACKER, SERVER, n, n, HYDRA);
        https.dst.port = 443;
        assert!(bench.feed(&Event::Flow(https)).is_empty());
    }
}

#[test]
fn another_port_counts_when_the_application_is_recognised() {
    let mut bench = detector();
    let mut told = Vec::new();
    for n in 0..9 {
        let mut flow = flow(ATTACKER, SERVER, n, n * 10, WRONG_KEY);
        (flow.dst.port, flow.service) = (902, "ssh".into());
        told.extend(bench.feed(&Event::Flow(flow)));
    }
    assert_eq!((told.len(), told[0].dst_port), (1, Some(902)));
}

#[test]
fn failing_at_many_servers_is_told_apart() {
    let mut bench = detector();
    let mut told = Vec::new();
    for n in 0..40 {
        let Event::Ssh(mut ssh) = record(n, n, Some(false), 1, "x") else { continue };
        ssh.about.dst.addr = at(&format!("192.168.1.{}", n + 1));
        told.extend(bench.feed(&Event::Ssh(ssh)));
    }
    assert_eq!(levels(&told), ["medium 0.7", "high 0.8"]);
    assert!(told[0].victim.is_none());
}

#[test]
fn a_notice_of_zeek_is_told_once_even_with_shifted_columns() {
    let msg = "203.0.113.9 appears to be guessing SSH passwords (seen in 30 connections).";
    for (note, msg) in [("SSH::Password_Guessing", msg), (msg, "Sampled servers: 192.168.1.2")] {
        let mut bench = detector();
        let seen = notice(note, msg, ATTACKER);
        let told = bench.feed(&seen);
        assert_eq!(levels(&told), ["high 0.9"]);
        assert!(told[0].text.contains("seen in 30 connections"));
        assert!(bench.feed(&seen).is_empty());
    }
}

#[test]
fn tools_are_known_by_their_names() {
    for (client, tool) in [
        ("SSH-2.0-libssh2_1.11.0", true),
        ("SSH-2.0-Go", true),
        ("SSH-2.0-Ruby/Net::SSH_7.0.1", true),
        ("SSH-2.0-OpenSSH_9.2p1 Debian-2", false),
        ("SSH-2.0-PuTTY_Release_0.78", false),
        ("", false),
    ] {
        assert_eq!(session::is_tool(client), tool, "{client}");
    }
}

#[test]
fn a_closed_session_is_judged_at_once_and_its_end_adds_nothing() {
    let mut bench = detector();
    let mut told = Vec::new();
    for n in 0..9 {
        let mut flow = flow(ATTACKER, SERVER, n, n * 10, WRONG_KEY);
        flow.phase = Phase::Closed;
        told.extend(bench.feed(&Event::Flow(flow.clone())));
        flow.phase = Phase::End;
        told.extend(bench.feed(&Event::Flow(flow)));
    }
    assert_eq!(levels(&told), ["medium 0.5"]);
}
