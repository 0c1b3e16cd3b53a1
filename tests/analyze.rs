//! `slips analyze` as a user has it, on inputs made here: what is found, what bad input gets, exit codes, files left behind.

mod common;

use common::{analyze, attackers, conn, evidence, slips, write};

fn scan(ports: u16) -> String {
    (0..ports)
        .map(|n| {
            conn(
                1_700_000_000.0 + f64::from(n) / 100.0,
                "203.0.113.7",
                40_000 + n,
                "192.168.1.5",
                n + 1,
                "REJ",
            ) + "\n"
        })
        .collect()
}

#[test]
fn a_scan_of_a_thousand_ports_is_an_alert_and_of_sixteen_is_evidence_only() {
    let dir = tempfile::tempdir().expect("temp");
    let found = analyze(&write(dir.path(), "conn.log", scan(1000)), &[]);
    assert_eq!(found["flows"], 1000);
    assert_eq!(evidence(&found, "VERTICAL_PORT_SCAN"), 1);
    assert_eq!(attackers(&found), ["203.0.113.7"]);
    let found = analyze(&write(dir.path(), "few.log", scan(16)), &[]);
    assert_eq!(evidence(&found, "VERTICAL_PORT_SCAN"), 1);
    assert!(attackers(&found).is_empty());
    let found = analyze(&write(dir.path(), "none.log", scan(4)), &[]);
    assert_eq!(found["evidence"], serde_json::json!({}));
}

#[test]
fn standard_input_is_read_and_its_format_can_be_demanded() {
    let dir = tempfile::tempdir().expect("temp");
    let input = write(dir.path(), "conn.log", scan(300));
    let run = |more: &[&str]| {
        std::process::Command::new(env!("CARGO_BIN_EXE_slips"))
            .args([&["analyze", "-", "--json"], more].concat())
            .stdin(std::fs::File::open(&input).expect("readable"))
            .output()
            .expect("the binary runs")
    };
    for more in [&[][..], &["--format", "zeek"]] {
        let out = run(more);
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let found: serde_json::Value = serde_json::from_slice(&out.stdout).expect("JSON");
        assert_eq!(attackers(&found), ["203.0.113.7"]);
    }
    let out = run(&["--format", "suricata"]);
    assert_eq!(out.status.code(), Some(65));
    let told = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(told.contains("standard input: a log of Zeek, not the format that was asked for"), "{told}");
    assert_eq!(run(&["--format", "novel"]).status.code(), Some(64));
    assert_eq!(run(&["-"]).status.code(), Some(64));
}

#[test]
fn the_output_directory_holds_alerts_and_labelled_flows() {
    let dir = tempfile::tempdir().expect("temp");
    let input = write(dir.path(), "conn.log", scan(300));
    let out = dir.path().join("out");
    analyze(&input, &["-o", out.to_str().expect("utf-8")]);
    let alerts = std::fs::read_to_string(out.join("alerts.json")).expect("alerts.json");
    let incidents: Vec<serde_json::Value> = alerts
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON lines"))
        .filter(|line: &serde_json::Value| line["Status"] == "Incident")
        .collect();
    assert!(!incidents.is_empty());
    assert_eq!(incidents[0]["Source"][0]["IP"], "203.0.113.7");
    let log = std::fs::read_to_string(out.join("alerts.log")).expect("alerts.log");
    assert!(log.contains("203.0.113.7") && log.contains("vertical port scan"), "{log}");
    assert!(out.join("flows.sqlite").is_file());
}

#[test]
fn broken_lines_are_counted_and_cost_nothing_else() {
    let dir = tempfile::tempdir().expect("temp");
    let mut text = scan(50);
    text.push_str("{\"ts\": broken\n\u{0}\u{1}\u{2}\n[]\n\n");
    text.push_str(&scan(100));
    text.push_str(r#"{"ts":1700000009.0,"uid":"Chalf","id.orig_h":"203"#);
    let path = write(dir.path(), "conn.log", text);
    let found = analyze(&path, &[]);
    assert_eq!(found["flows"], 150);
    let rejected: u64 =
        found["rejected"].as_object().expect("rejected").values().filter_map(|n| n.as_u64()).sum();
    assert_eq!(rejected, 4, "{found}");
    let told = slips(["analyze", path.to_str().expect("utf-8")]);
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(told.contains("conn.log:51:"), "file and line of the first: {told}");
}

#[test]
fn what_cannot_be_read_says_so_with_the_right_exit_code() {
    let dir = tempfile::tempdir().expect("temp");
    let at = |name: &str| dir.path().join(name).to_str().expect("utf-8").to_owned();
    let empty = write(dir.path(), "empty", "").to_str().expect("utf-8").to_owned();
    let text = write(dir.path(), "novel.txt", "It was a dark night.\n").to_str().expect("utf-8").to_owned();
    let flows = write(dir.path(), "conn.log", scan(1)).to_str().expect("utf-8").to_owned();
    let yaml = write(dir.path(), "bad.yaml", "parameters:\n  time_window_with: 5\n");
    let yaml = yaml.to_str().expect("utf-8").to_owned();
    let cases: &[(&[&str], i32, &str)] = &[
        (&["analyze", &at("missing.pcap")], 66, "missing.pcap"),
        (&["analyze", &empty], 65, "empty"),
        (&["analyze", &text], 65, "novel.txt"),
        (&["analyze"], 64, "PATHS"),
        (&["frobnicate"], 64, "frobnicate"),
        (&["check-config", &yaml], 78, "bad.yaml:2"),
        (&["analyze", &text, "-c", &yaml], 78, "time_window_with"),
        (&["check-config", &at("nowhere.yaml")], 66, "nowhere.yaml"),
        (&["analyze", &flows, "-j", "257"], 64, "0 to 256"),
        (&["analyze", &flows, "-o", &format!("{text}/out")], 70, "novel.txt"),
        (&["sensor", "-o", &at("logs")], 64, "name a capture"),
        (&["sensor", &flows, "-o", &at("logs")], 65, "holds no packets"),
        (&["run", "-i", "no-such-interface-0", "--monitor", "-o", &at("out")], 66, "no-such-interface-0"),
    ];
    for (args, code, says) in cases {
        let out = slips(*args);
        let text = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(*code), "{args:?}: {text}");
        assert!(text.contains(says), "{args:?}: {text}");
    }
    assert!(!dir.path().join("logs").exists(), "nothing is made for an input that cannot be");
}

#[test]
fn every_command_has_help_with_an_example() {
    for command in ["analyze", "run", "sensor", "check-config", "firewall", "demo"] {
        let out = slips([command, "--help"]);
        assert!(out.status.success());
        let text = String::from_utf8_lossy(&out.stdout);
        assert!(text.contains("Example") && text.contains(&format!("slips {command}")), "{command}: {text}");
    }
    assert!(slips(["--version"]).status.success());
}

#[test]
fn a_listed_address_is_evidence_on_both_sides() {
    let dir = tempfile::tempdir().expect("temp");
    let lists = dir.path().join("lists");
    std::fs::create_dir(&lists).expect("dir");
    write(&lists, "own_malicious_iocs.csv", "203.0.113.66, high, a test server\n");
    let config = write(
        dir.path(),
        "slips.yaml",
        format!("threatintelligence:\n  local_threat_intelligence_files: {}\n", lists.display()),
    );
    let input = write(
        dir.path(),
        "conn.log",
        conn(1_700_000_000.0, "192.168.1.5", 40_000, "203.0.113.66", 443, "SF"),
    );
    let found = analyze(&input, &["-c", config.to_str().expect("utf-8")]);
    assert_eq!(evidence(&found, "THREAT_INTELLIGENCE_TO_BLACKLISTED_IP"), 2, "{found}");
}

#[test]
fn a_disabled_detection_is_silent() {
    let dir = tempfile::tempdir().expect("temp");
    let config =
        write(dir.path(), "slips.yaml", "DisabledAlerts:\n  disabled_detections: [vertical_port_scan]\n");
    let found = analyze(&write(dir.path(), "conn.log", scan(300)), &["-c", config.to_str().expect("utf-8")]);
    assert_eq!(found["evidence"], serde_json::json!({}));
}
