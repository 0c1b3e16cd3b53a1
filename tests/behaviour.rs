//! Detections of behaviour through the binary, each on a small Zeek directory made here.
#![expect(clippy::expect_used, reason = "helpers of tests")]

mod common;

use common::{analyze, attackers, conn, evidence, write};
use serde_json::{Value, json};

const BEGIN: f64 = 1_700_000_000.0;
const CLIENT: &str = "192.168.1.5";

/// Logs of a directory: name and rows.
fn found_with(logs: &[(&str, String)], config: Option<&str>) -> Value {
    let dir = tempfile::tempdir().expect("temp");
    let zeek = dir.path().join("zeek");
    std::fs::create_dir(&zeek).expect("dir");
    for (name, rows) in logs {
        write(&zeek, name, rows);
    }
    let file = write(dir.path(), "slips.yaml", config.unwrap_or_default());
    let args = ["-c", file.to_str().expect("utf-8")];
    analyze(&zeek, if config.is_none() { &[] } else { &args })
}

fn found(logs: &[(&str, String)]) -> Value {
    found_with(logs, None)
}

fn rows(rows: impl Iterator<Item = Value>) -> String {
    rows.map(|row| format!("{row}\n")).collect()
}

/// What all rows have in common.
fn row(second: f64, dst: &str, port: u16) -> Value {
    json!({
        "ts": BEGIN + second, "uid": format!("C{second}x{port}"), "id.orig_h": CLIENT, "id.orig_p": 40_000,
        "id.resp_h": dst, "id.resp_p": port,
    })
}

fn with(mut row: Value, more: Value) -> Value {
    if let (Some(row), Value::Object(more)) = (row.as_object_mut(), more) {
        row.extend(more);
    }
    row
}

fn dns(second: f64, name: &str, answers: &[&str], ttl: f64) -> Value {
    let ttls: Vec<f64> = answers.iter().map(|_| ttl).collect();
    let more = json!({
        "proto": "udp", "trans_id": 7, "query": name, "qclass": 1, "qtype": 1, "rcode": 0, "AA": false, "TC": false,
        "RD": true, "RA": true, "Z": 0, "answers": answers, "TTLs": ttls, "rejected": false,
    });
    with(row(second, "192.168.1.1", 53), more)
}

fn http(second: f64, dst: &str, uri: &str, agent: &str) -> Value {
    let more = json!({
        "trans_depth": 1, "method": "GET", "host": "example.org", "uri": uri, "version": "1.1", "user_agent": agent,
        "request_body_len": 0, "response_body_len": 10, "status_code": 200, "status_msg": "OK",
    });
    with(row(second, dst, 80), more)
}

fn tls(second: f64, dst: &str, name: &str, subject: &str) -> Value {
    let more = json!({
        "version": "TLSv12", "cipher": "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "server_name": name, "resumed": false,
        "established": true, "ssl_history": "CsxknGIi", "subject": subject, "issuer": "CN=R3,O=Let's Encrypt,C=US",
    });
    with(row(second, dst, 443), more)
}

/// Connections: second, source, target, port, state, bytes of both sides.
fn conns(all: impl Iterator<Item = (f64, String, String, u16, &'static str, u32)>) -> String {
    all.enumerate()
        .map(|(n, (second, src, dst, port, state, bytes))| {
            let sport = 20_000 + (n % 40_000) as u16;
            let line = conn(BEGIN + second, &src, sport, &dst, port, state);
            let used = format!(r#""orig_bytes":{bytes},"resp_bytes":{bytes}"#);
            let packets = line.replace(r#""orig_pkts":1"#, r#""orig_pkts":9"#);
            let line = if state == "SF" { packets } else { line };
            line.replace(r#""orig_bytes":0,"resp_bytes":0"#, &used) + "\n"
        })
        .collect()
}

#[test]
fn a_name_that_leads_outside_and_inside_is_rebinding() {
    let turns = |inside: &str| {
        let answers = ["198.51.100.7", inside].repeat(3);
        let all =
            answers.iter().enumerate().map(|(n, answer)| dns(n as f64, "a.example.org", &[answer], 1.0));
        found(&[("dns.log", rows(all))])
    };
    let told = turns("192.168.1.1");
    assert_eq!((evidence(&told, "DNS_REBINDING"), attackers(&told).len()), (1, 0), "{told}");
    assert_eq!(evidence(&turns("198.51.100.8"), "DNS_REBINDING"), 0);
}

#[test]
fn names_made_by_an_algorithm_are_told_though_they_exist() {
    let ask = |name: fn(u32) -> String| {
        let all = (0..60).map(|n| dns(f64::from(n), &name(n), &["198.51.100.7"], 60.0));
        evidence(&found(&[("dns.log", rows(all))]), "DGA_NAMES")
    };
    assert_eq!(ask(|n| format!("{:016x}.com", u64::from(n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))), 1);
    assert_eq!(ask(|n| format!("winter-garden-house-{n}.com")), 0);
}

#[test]
fn connections_without_names_and_names_without_connections_are_information() {
    let asked = (0..12).map(|n| dns(f64::from(n), &format!("n{n}.example.org"), &["198.51.100.7"], 60.0));
    let used =
        (0..12).map(|n| (f64::from(n) + 0.5, CLIENT.to_owned(), "198.51.100.7".to_owned(), 443, "SF", 900));
    let unused = [dns(20.0, "unused.example.org", &["198.51.100.99"], 60.0)];
    let later = [1900.0, 2400.0].map(|at| (at, CLIENT.to_owned(), "203.0.113.9".to_owned(), 443, "SF", 900));
    let told = found(&[("dns.log", rows(asked.chain(unused))), ("conn.log", conns(used.chain(later)))]);
    assert_eq!(evidence(&told, "CONNECTION_WITHOUT_DNS"), 1, "{told}");
    assert_eq!(evidence(&told, "DNS_WITHOUT_CONNECTION"), 1, "{told}");
    assert!(attackers(&told).is_empty(), "{told}");
}

#[test]
fn short_logins_all_alike_from_outside_are_guesses() {
    let guess = |bytes: fn(u32) -> u32| {
        let all = (0..200).map(|n| {
            (f64::from(n) * 0.4, "203.0.113.9".to_owned(), "192.168.1.2".to_owned(), 3389, "SF", bytes(n))
        });
        found(&[("conn.log", conns(all))])
    };
    let told = guess(|_| 1500);
    assert_eq!(evidence(&told, "PASSWORD_GUESSING"), 1, "{told}");
    assert_eq!(attackers(&told), ["203.0.113.9"]);
    assert_eq!(evidence(&guess(|n| 100 << (n % 7)), "PASSWORD_GUESSING"), 0);
}

#[test]
fn a_worm_of_devices_is_an_alert() {
    let search = |ports: [u16; 2]| {
        let all = (0..240u16).map(move |n| {
            let dst = format!("203.0.113.{}", n + 1);
            (f64::from(n), "192.168.1.66".to_owned(), dst, ports[usize::from(n % 2)], "S0", 0)
        });
        found(&[("conn.log", conns(all))])
    };
    let told = search([23, 2323]);
    assert_eq!(evidence(&told, "DEVICE_WORM"), 1, "{told}");
    assert_eq!(attackers(&told), ["192.168.1.66"]);
    assert_eq!(evidence(&search([443, 80]), "DEVICE_WORM"), 0);
    let exploit =
        |n: u16| http(f64::from(n), &format!("203.0.113.{}", n + 1), "/GponForm/diag_Form?images/", "Hello");
    let told = found(&[("http.log", rows((0..3).map(exploit)))]);
    assert_eq!(evidence(&told, "DEVICE_WORM"), 1, "{told}");
    assert!(attackers(&told).is_empty(), "a page can make a browser send it");
}

#[test]
fn a_server_that_refuses_for_ever_is_a_beacon_and_both_sides_are_alerts() {
    let refused = |port: u16| {
        let all = (0..700)
            .map(move |n| (f64::from(n) * 0.6, CLIENT.to_owned(), "203.0.113.9".to_owned(), port, "REJ", 0));
        found(&[("conn.log", conns(all))])
    };
    let told = refused(5888);
    assert_eq!(evidence(&told, "COMMAND_AND_CONTROL_CHANNEL"), 2, "{told}");
    assert_eq!(attackers(&told), [CLIENT, "203.0.113.9"]);
    assert!(attackers(&refused(443)).is_empty(), "a web server that is down");
}

#[test]
fn odd_certificates_are_told_and_genuine_ones_are_not() {
    let shown = |name: &str, subject: &str| {
        found(&[("ssl.log", rows([tls(0.0, "203.0.113.9", name, subject)].into_iter()))])
    };
    assert_eq!(evidence(&shown("netflix.com", "CN=*.google.com"), "INCOMPATIBLE_CN"), 1);
    assert_eq!(evidence(&shown("", "CN=203.0.113.9"), "ODD_CERTIFICATE"), 1);
    assert_eq!(evidence(&shown("dns.google", "CN=dns.google"), "DNS_OVER_HTTPS"), 1);
    assert_eq!(shown("www.google.com", "CN=*.google.com")["evidence"], json!({}));
}

#[test]
fn user_agents_and_places_on_earth_are_read() {
    let windows = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Firefox/130.0";
    let linux = "Mozilla/5.0 (X11; Linux x86_64) Firefox/130.0";
    let forged = "Mozilla/5.0 (Windows NT 10.0; Macintosh) Safari/605.1";
    let asked = [
        http(0.0, "203.0.113.9", "/", windows),
        http(1.0, "203.0.113.9", "/", linux),
        http(2.0, "203.0.113.9", "/w?lat=50.0755&lon=14.4378", forged),
    ];
    let told = found(&[("http.log", rows(asked.into_iter()))]);
    let kinds = ["MULTIPLE_USER_AGENT", "INCOMPATIBLE_USER_AGENT", "HTTP_TRAFFIC"];
    assert_eq!(kinds.map(|kind| evidence(&told, kind)), [1, 1, 1], "{told}");
    assert_eq!(evidence(&told, "NETWORK_GPS_LOCATION_LEAKED"), 2, "{told}");
    let plain = found(&[("http.log", rows([http(0.0, "203.0.113.9", "/", windows)].into_iter()))]);
    assert_eq!(plain["evidence"], json!({"HTTP_TRAFFIC": 1}));
}

#[test]
fn a_private_network_that_is_not_ours_is_information() {
    let calls = [(0.0, CLIENT.to_owned(), "10.9.9.9".to_owned(), 443, "SF", 900)];
    let ours = "parameters:\n  client_ips: [192.168.1.0/24]\n";
    let logs = [("conn.log", conns(calls.into_iter()))];
    assert_eq!(evidence(&found_with(&logs, Some(ours)), "DIFFERENT_LOCALNET"), 1);
    assert_eq!(evidence(&found(&logs), "DIFFERENT_LOCALNET"), 0, "all private networks are ours");
}

#[test]
fn a_question_that_only_exploits_ask_is_told() {
    let sig = |qtype: u16| {
        let more = json!({"proto": "tcp", "qtype": qtype, "answers": ["<unknown type=24>"]});
        found(&[("dns.log", rows([with(dns(0.0, "9.example.org", &["x"], 60.0), more)].into_iter()))])
    };
    assert_eq!(evidence(&sig(24), "EXPLOIT_ATTEMPT"), 1);
    assert_eq!(evidence(&sig(1), "EXPLOIT_ATTEMPT"), 0);
}

#[test]
fn a_form_that_refuses_hundreds_of_passwords_is_guessed_at() {
    let post = |n: u32, uri: &str| {
        let form = json!({"method": "POST", "request_body_len": 40 + n % 5, "id.orig_h": "203.0.113.9"});
        with(http(f64::from(n) * 0.3, "192.168.1.2", uri, "x"), form)
    };
    let told = found(&[("http.log", rows((0..210).map(|n| post(n, "/login.php"))))]);
    assert_eq!(evidence(&told, "PASSWORD_GUESSING"), 1, "{told}");
    assert_eq!(attackers(&told), ["203.0.113.9"]);
    let other = found(&[("http.log", rows((0..210).map(|n| post(n, "/api/data"))))]);
    assert_eq!(evidence(&other, "PASSWORD_GUESSING"), 0);
}

#[test]
fn sources_of_one_network_that_share_a_scan_are_told_and_nobody_is_blocked() {
    let scan = |sources: u16| {
        let all = (0..64u16).map(move |n| {
            let src = format!("203.0.113.{}", n % sources + 1);
            (f64::from(n) * 20.0, src, "192.168.1.2".to_owned(), 2000 + n, "REJ", 0)
        });
        found(&[("conn.log", conns(all))])
    };
    let told = scan(8);
    assert_eq!((evidence(&told, "DISTRIBUTED_SCAN"), attackers(&told).len()), (1, 0), "{told}");
    assert_eq!(evidence(&scan(1), "DISTRIBUTED_SCAN"), 0);
}
