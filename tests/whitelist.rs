//! The whitelist through the binary: what each kind of rule leaves out, and the attacks on it that must hide nothing.
#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "helpers of tests")]

mod common;

use std::path::Path;

use common::{attackers, slips, write};
use serde_json::{Value, json};

const CLIENT: &str = "192.168.1.5";
const ROUTER: &str = "192.168.1.1";
const SERVER: &str = "203.0.113.66";
const NAME: &str = "www.good.example";

/// What was found.
#[derive(Debug)]
struct Found {
    /// `type attacker` of each evidence, sorted.
    evidence: Vec<String>,
    alerts: Vec<String>,
    /// What the whitelist left out: evidence, events.
    left_out: [u64; 2],
}

/// Logs (file, rows) through the binary, with these rules and lists of indicators.
fn found(rules: &str, indicators: &str, logs: &[(&str, Vec<Value>)]) -> Found {
    found_with(rules, indicators, logs, "")
}

fn found_with(rules: &str, indicators: &str, logs: &[(&str, Vec<Value>)], config: &str) -> Found {
    let dir = tempfile::tempdir().expect("temp");
    let (own, out, input) = (dir.path().join("lists"), dir.path().join("out"), dir.path().join("logs"));
    std::fs::create_dir(&own).expect("dir");
    std::fs::create_dir(&input).expect("dir");
    write(&own, "own.csv", indicators);
    let rules = write(dir.path(), "whitelist.conf", rules);
    let text = format!(
        "threatintelligence:\n  local_threat_intelligence_files: {}\nwhitelists:\n  local_whitelist_path: {}\n{config}",
        own.display(),
        rules.display()
    );
    let config = write(dir.path(), "slips.yaml", text);
    for (log, rows) in logs {
        write(&input, log, rows.iter().map(|row| format!("{row}\n")).collect::<String>());
    }
    let path = |path: &Path| path.to_str().expect("utf-8").to_owned();
    let found = common::analyze(&input, &["-c", &path(&config), "-o", &path(&out)]);
    let mut evidence: Vec<String> = common::events(&out)
        .into_iter()
        .filter(|event| event.kind.starts_with("THREAT_INTELLIGENCE_"))
        .map(|event| format!("{} {}", event.kind.trim_start_matches("THREAT_INTELLIGENCE_"), event.attacker))
        .collect();
    evidence.sort();
    evidence.dedup();
    let left_out = ["evidence_whitelisted", "events_whitelisted"]
        .map(|name| found["shortfalls"][name].as_u64().unwrap_or(0));
    Found { evidence, alerts: attackers(&found), left_out }
}

fn row(second: u32, src: &str, dst: &str, port: u16, more: Value) -> Value {
    let mut row = json!({
        "ts": 1_700_000_000.0 + f64::from(second), "uid": format!("C{second}x{port}"), "id.orig_h": src,
        "id.orig_p": 10_000 + second % 50_000, "id.resp_h": dst, "id.resp_p": port,
    });
    if let (Some(row), Value::Object(more)) = (row.as_object_mut(), more) {
        row.extend(more);
    }
    row
}

/// A name is asked of a server, which answers.
fn asked(second: u32, server: &str, name: &str, answers: &[&str]) -> Value {
    let ttls: Vec<f64> = answers.iter().map(|_| 60.0).collect();
    let more = json!({
        "proto": "udp", "trans_id": second, "query": name, "qclass": 1, "qtype": 1, "rcode": 0, "AA": false, "TC": false,
        "RD": true, "RA": true, "Z": 0, "answers": answers, "TTLs": ttls, "rejected": false,
    });
    row(second, CLIENT, server, 53, more)
}

/// A whole connection.
fn talk(second: u32, src: &str, dst: &str) -> Value {
    let more = json!({
        "proto": "tcp", "duration": 1.0, "orig_bytes": 100, "resp_bytes": 100, "conn_state": "SF",
        "history": "ShADadFf", "orig_pkts": 5, "orig_ip_bytes": 360, "resp_pkts": 5, "resp_ip_bytes": 360,
        "orig_l2_addr": "02:00:00:00:00:05", "resp_l2_addr": "02:00:00:00:00:01",
    });
    row(second, src, dst, 443, more)
}

fn hello(second: u32, dst: &str, name: &str) -> Value {
    let more = json!({"version": "TLSv12", "established": true, "resumed": false, "server_name": name});
    row(second, CLIENT, dst, 443, more)
}

/// One of ours calls a listed address, and is called by it.
fn calls() -> Vec<(&'static str, Vec<Value>)> {
    vec![("conn.log", vec![talk(10, CLIENT, SERVER)])]
}

const LISTED: &str = "203.0.113.66, critical, a botnet\n";

#[test]
fn an_address_is_left_alone_by_side_and_kind() {
    let none = found("", LISTED, &calls());
    assert_eq!(none.evidence, ["TO_BLACKLISTED_IP 192.168.1.5", "TO_BLACKLISTED_IP 203.0.113.66"]);
    assert_eq!((none.alerts, none.left_out), (vec![SERVER.to_owned()], [0, 0]));
    for (rule, what) in [
        ("ip,203.0.113.66,both,alerts", "evidence"),
        ("ip,203.0.113.66,dst,alerts", "evidence"),
        ("ip,192.168.1.5,src,alerts", "evidence"),
        ("ip,203.0.113.0/24,both,both", "events"),
        ("ip,203.0.113.66,dst,flows", "events"),
        ("ip,192.168.1.0/24,src,flows # the whole house", "events"),
        ("ip,203.0.113.66,both,alerts,2023-11-14 # the day of these packets", "evidence"),
    ] {
        let left = found(rule, LISTED, &calls());
        assert_eq!((left.evidence, left.alerts), (vec![], vec![]), "{rule}");
        assert_eq!(left.left_out.map(|count| count > 0), [what == "evidence", what == "events"], "{rule}");
    }
    for rule in [
        "ip,203.0.113.66,src,both",
        "ip,192.168.1.5,dst,both",
        "ip,203.0.113.67,both,both",
        "ip,203.0.113.66,both,both,2023-11-13 # it ended the day before",
    ] {
        let stays = found(rule, LISTED, &calls());
        assert_eq!((stays.evidence.len(), stays.left_out), (2, [0, 0]), "{rule}");
    }
}

#[test]
fn who_calls_us_is_the_source() {
    let calls = [("conn.log", vec![talk(10, SERVER, CLIENT)])];
    assert_eq!(found("ip,203.0.113.66,dst,both", LISTED, &calls).left_out, [0, 0]);
    for rule in ["ip,203.0.113.66,src,alerts", "ip,203.0.113.66,src,flows", "ip,192.168.1.5,dst,alerts"] {
        let left = found(rule, LISTED, &calls);
        assert_eq!((left.evidence, left.alerts), (vec![], vec![]), "{rule}");
    }
}

/// Rules that know a name.
const KNOWN: [&str; 3] = [
    "domain,good.example,both,alerts",
    "domain,=www.good.example,both,alerts",
    "domain,good.example,dst,both",
];

#[test]
fn a_name_counts_where_our_own_resolver_led() {
    let logs = [
        ("dns.log", vec![asked(1, ROUTER, NAME, &["cdn.example.net", SERVER])]),
        ("conn.log", vec![talk(10, CLIENT, SERVER)]),
        ("ssl.log", vec![hello(11, SERVER, NAME)]),
    ];
    assert_eq!(found("", LISTED, &logs).evidence.len(), 4);
    for rule in KNOWN {
        let left = found(rule, LISTED, &logs);
        assert_eq!((left.evidence, left.alerts), (vec![], vec![]), "{rule}");
    }
    let listed_name = [("dns.log", vec![asked(1, ROUTER, NAME, &[SERVER])])];
    let left = found(KNOWN[0], "good.example, high, a mistake\n", &listed_name);
    assert_eq!(left.evidence, Vec::<String>::new(), "{left:?}");
}

/// The evidence about the server stays, and the alert.
fn stays(rules: &str, logs: &[(&str, Vec<Value>)], config: &str) {
    let found = found_with(rules, LISTED, logs, config);
    let told = |evidence: &str| found.evidence.iter().any(|known| known == evidence);
    assert!(
        told("TO_BLACKLISTED_IP 192.168.1.5") && told("TO_BLACKLISTED_IP 203.0.113.66"),
        "{rules}: {found:?}"
    );
    assert_eq!(found.alerts, [SERVER], "{rules}: {found:?}");
}

#[test]
fn a_name_that_the_client_only_claims_hides_nothing() {
    for rule in KNOWN {
        stays(
            rule,
            &[("conn.log", vec![talk(10, CLIENT, SERVER)]), ("ssl.log", vec![hello(9, SERVER, NAME)])],
            "",
        );
    }
}

#[test]
fn the_answer_of_a_server_that_is_no_resolver_of_ours_hides_nothing() {
    let outside = |server| {
        [("dns.log", vec![asked(1, server, NAME, &[SERVER])]), ("conn.log", vec![talk(10, CLIENT, SERVER)])]
    };
    for rule in KNOWN {
        stays(rule, &outside("203.0.113.53"), "");
        stays(rule, &outside(SERVER), "");
        // One of our own hosts, which is not the resolver.
        stays(rule, &outside("192.168.1.66"), "  resolvers: [192.168.1.1]\n");
    }
    let named = found_with(KNOWN[0], LISTED, &outside("203.0.113.53"), "  resolvers: [203.0.113.53]\n");
    assert_eq!(named.evidence, Vec::<String>::new(), "the owner says that it is one");
}

#[test]
fn a_name_of_the_attackers_own_that_is_an_alias_of_a_known_one_hides_nothing() {
    for (name, answers) in [
        ("evil.example.net", vec![NAME, SERVER]),
        ("www.good.example.evil.example.net", vec![SERVER]),
        ("notgood.example", vec![SERVER]),
    ] {
        let logs = [
            ("dns.log", vec![asked(1, ROUTER, name, &answers)]),
            ("conn.log", vec![talk(10, CLIENT, SERVER)]),
        ];
        stays(KNOWN[0], &logs, "");
    }
}

#[test]
fn an_address_that_other_names_share_belongs_to_nobody() {
    let good = || asked(1, ROUTER, NAME, &[SERVER]);
    let call = || talk(10, CLIENT, SERVER);
    for other in [
        ("dns.log", vec![good(), asked(2, ROUTER, "evil.example.net", &[SERVER])]),
        ("dns.log", vec![asked(0, ROUTER, "evil.example.net", &[SERVER]), good()]),
    ] {
        stays(KNOWN[0], &[other, ("conn.log", vec![call()])], "");
    }
    let hello = hello(9, SERVER, "evil.example.net");
    stays(KNOWN[0], &[("dns.log", vec![good()]), ("ssl.log", vec![hello]), ("conn.log", vec![call()])], "");
}

#[test]
fn what_a_name_led_to_counts_for_a_day() {
    let logs = |second| {
        [
            ("dns.log", vec![asked(1, ROUTER, NAME, &[SERVER])]),
            ("conn.log", vec![talk(40_000, CLIENT, "198.51.100.1"), talk(second, CLIENT, SERVER)]),
        ]
    };
    assert_eq!(found(KNOWN[0], LISTED, &logs(86_000)).alerts, Vec::<String>::new());
    stays(KNOWN[0], &logs(86_500), "");
}

/// A listed address of Google's own network, and one that it rents out.
const OF_GOOGLE: &str = "142.250.1.1, critical, x\n34.1.2.3, critical, x\n104.16.1.1, critical, x\n";

#[test]
fn an_organisation_is_its_names_in_its_own_networks() {
    let logs = |name, server| {
        [("dns.log", vec![asked(1, ROUTER, name, &[server])]), ("conn.log", vec![talk(10, CLIENT, server)])]
    };
    let rule = "organization,google,both,alerts";
    assert_eq!(found(rule, OF_GOOGLE, &logs("www.google.com", "142.250.1.1")).alerts, Vec::<String>::new());
    for (name, server) in [
        ("www.google.com", "34.1.2.3"),
        ("evil.appspot.com", "142.250.1.1"),
        ("evil.example.net", "142.250.1.1"),
        ("www.google.com", "104.16.1.1"),
    ] {
        assert_eq!(found(rule, OF_GOOGLE, &logs(name, server)).alerts, [server], "{name} at {server}");
    }
    let unasked = [("conn.log", vec![talk(10, CLIENT, "142.250.1.1")])];
    assert_eq!(found(rule, OF_GOOGLE, &unasked).alerts, ["142.250.1.1"], "no name led there");
    let crawler = [("conn.log", vec![talk(10, "142.250.1.1", CLIENT)])];
    assert_eq!(found(rule, OF_GOOGLE, &crawler).alerts, Vec::<String>::new());
}

#[test]
fn an_organisation_of_ones_own() {
    let dir = tempfile::tempdir().expect("temp");
    write(dir.path(), "acme", "203.0.113.0/24\nacme.example\n");
    let config = format!("  organizations: {}\n", dir.path().display());
    let logs = [
        ("dns.log", vec![asked(1, ROUTER, "mail.acme.example", &[SERVER])]),
        ("conn.log", vec![talk(10, CLIENT, SERVER)]),
    ];
    let left = found_with("organization,ACME,both,alerts", LISTED, &logs, &config);
    assert_eq!((left.evidence, left.alerts), (vec![], vec![]));
}

#[test]
fn known_sites_are_left_alone_below_high() {
    let dir = tempfile::tempdir().expect("temp");
    let sites = write(dir.path(), "top.csv", "1,example.net\n2,good.example\n");
    let config = format!("  known_sites: {}\n", sites.display());
    let logs =
        [("dns.log", vec![asked(1, ROUTER, NAME, &[SERVER])]), ("conn.log", vec![talk(10, CLIENT, SERVER)])];
    let left = found_with("", "203.0.113.66, medium, x\n", &logs, &config);
    assert_eq!(left.evidence, Vec::<String>::new());
    let high = found_with("", LISTED, &logs, &config);
    assert_eq!(high.alerts, [SERVER], "{high:?}");
    let first = format!("{config}  known_sites_size: 1\n");
    assert_eq!(found_with("", "203.0.113.66, medium, x\n", &logs, &first).evidence.len(), 4);
}

#[test]
fn a_hardware_address_counts_for_the_address_that_it_has_proven_to_use() {
    let rule = "mac,02:00:00:00:00:05,both,alerts";
    let proven = [("conn.log", vec![talk(1, CLIENT, "198.51.100.1"), talk(10, CLIENT, SERVER)])];
    let left = found(rule, LISTED, &proven);
    assert_eq!((left.evidence, left.alerts), (vec![], vec![]));
    assert_eq!(found("mac,02:00:00:00:00:06,both,alerts", LISTED, &proven).alerts, [SERVER]);
    let flows = found("mac,02:00:00:00:00:05,src,flows", LISTED, &proven);
    assert_eq!((flows.alerts, flows.left_out[0]), (vec![], 0));
}

#[test]
fn check_says_which_rule_there_is_and_what_it_takes() {
    let dir = tempfile::tempdir().expect("temp");
    let rules = "ip,192.0.2.0/24,both,alerts # the lab\nip,192.0.2.7,src,flows,2020-01-01\nmac,x,both,alerts\n\
                 domain,good.example,both,alerts\n";
    let rules = write(dir.path(), "whitelist.conf", rules);
    let config = write(
        dir.path(),
        "slips.yaml",
        format!("whitelists:\n  local_whitelist_path: {}\n", rules.display()),
    );
    let said = |args: &[&str]| {
        let config = config.to_str().expect("utf-8");
        let out = slips([&["whitelist"], args, &["-c", config]].concat());
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).expect("utf-8")
    };
    let text = said(&["check", "192.0.2.7"]);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[0],
        "192.0.2.7: line 2: ip 192.0.2.7,src,flows; ENDED on 2020-01-01T23:59:59.000000Z; counts as it is"
    );
    assert_eq!(lines[1], "192.0.2.7: line 1: ip 192.0.2.0/24,both,alerts # the lab; counts as it is");
    assert!(lines[2].contains("whitelist.conf:3: IoCValue: `x` is no hardware address"), "{text}");
    let told: Value = serde_json::from_str(&said(&["check", NAME, "--json"])).expect("JSON");
    assert_eq!(
        (&told["matches"][0]["line"], &told["matches"][0]["value"]),
        (&json!(4), &json!("good.example"))
    );
    assert!(told["matches"][0]["needs"].as_str().expect("text").contains("a resolver of ours led"));
    assert!(said(&["check", "other.example"]).starts_with("other.example: no rule is about it"));
    assert!(said(&["status"]).starts_with("        3 rules, 1 of which have ended\n"));
}
