//! `slips explain`, `slips detections` and `slips analyze --score` as a user has them.

mod common;

use common::{conn, slips, write};
use serde_json::Value;

const START: f64 = 1_700_000_000.0;

/// A port scan of 120 ports.
fn scan() -> String {
    (1..=120u16)
        .map(|n| conn(START + f64::from(n), "203.0.113.66", 40_000 + n, "192.168.1.2", n, "REJ") + "\n")
        .collect()
}

#[expect(clippy::expect_used, reason = "a helper of tests")]
fn text(out: &std::process::Output) -> String {
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout.clone()).expect("utf-8")
}

#[test]
fn the_story_of_an_alert_names_evidence_flows_and_what_was_done() {
    let dir = tempfile::tempdir().expect("temp");
    let log = write(dir.path(), "conn.log", scan());
    let out = dir.path().join("out");
    let (log, out) = (log.to_str().expect("utf-8"), out.to_str().expect("utf-8"));
    text(&slips(["analyze", log, "-o", out]));
    let json = std::fs::read_to_string(format!("{out}/alerts.json")).expect("alerts.json");
    let told = json.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let alert = told.into_iter().find(|line| line["Status"] == "Incident").expect("an alert");
    let id = alert["ID"].as_str().expect("id");

    let story = text(&slips(["explain", id, "-o", out]));
    for part in [
        id,
        "attacker  203.0.113.66 (an outside host)",
        "one critical evidence of confidence 1.00 is enough: VERTICAL_PORT_SCAN",
        "its address is not proven",
        "1. VERTICAL_PORT_SCAN — vertical port scan: 100 tcp ports of 192.168.1.2 failed",
        "level critical, confidence 1.00: weight 1.00, 1.00 so far",
        ", against 192.168.1.2",
        "found by vertical_port_scan: T1046",
        "203.0.113.66:40001 → 192.168.1.2:1 REJ: 0 bytes there, 0 back, 0.010 s  C40001x1",
        "nothing was blocked because of this alert",
    ] {
        assert!(story.contains(part), "{part}\nis not in\n{story}");
    }
    let short = slips(["explain", &id[..8], "--db", &format!("{out}/flows.sqlite"), "--json"]);
    let story: Value = serde_json::from_str(&text(&short)).expect("JSON");
    assert_eq!(story["alert"]["id"], id);
    let evidence = &story["evidence"][0];
    assert_eq!(evidence["detections"][0]["name"], "vertical_port_scan");
    assert!(evidence["flows"].as_array().expect("flows").len() >= 60, "{evidence}");
    assert_eq!(story["blocks"], Value::Array(Vec::new()));
}

#[test]
fn what_cannot_be_explained_is_told_with_its_own_exit_code() {
    let dir = tempfile::tempdir().expect("temp");
    let log = write(dir.path(), "conn.log", scan());
    let out = dir.path().join("out");
    let (log, out) = (log.to_str().expect("utf-8"), out.to_str().expect("utf-8"));
    text(&slips(["analyze", log, "-o", out]));
    for (args, code) in [
        (&["explain", "ffffffff", "-o", out][..], 65),
        (&["explain", "ffffffff", "-o", "/nonexistent"], 66),
        (&["explain", "ffffffff", "--db", log], 65),
        (&["explain"], 64),
        (&["detections", "nosuch"], 64),
    ] {
        let got = slips(args);
        assert_eq!(got.status.code(), Some(code), "{args:?}: {}", String::from_utf8_lossy(&got.stderr));
    }
}

#[test]
fn detections_are_listed_with_what_can_be_set() {
    let list = text(&slips(["detections"]));
    assert_eq!(list.lines().count(), slips_detect::specs().len());
    assert!(list.lines().any(|line| line.starts_with("vertical_port_scan ")), "{list}");
    let one = text(&slips(["detections", "vertical_port_scan"]));
    assert!(one.contains("**Evasion:**") && one.contains("| `ports`: TCP ports"), "{one}");
    let json: Value = serde_json::from_str(&text(&slips(["detections", "--json"]))).expect("JSON");
    assert_eq!(json[0]["thresholds"][0]["default"], "[10, 30, 100, 300, 1000]");
}

#[test]
fn a_detection_that_is_off_finds_nothing_and_a_threshold_that_is_set_holds() {
    let dir = tempfile::tempdir().expect("temp");
    let log = write(dir.path(), "conn.log", scan());
    let found = |settings: &str| {
        let config =
            write(dir.path(), "slips.yaml", format!("detections:\n  vertical_port_scan: {settings}\n"));
        let found = common::analyze(&log, &["-c", config.to_str().expect("utf-8")]);
        (common::evidence(&found, "VERTICAL_PORT_SCAN"), common::attackers(&found).len())
    };
    assert_eq!(found("{enabled: true}"), (1, 1));
    assert_eq!(found("{enabled: false}"), (0, 0));
    assert_eq!(found("{ports: 121}"), (0, 0));
    assert_eq!(found("{ports: [10, 30, 121, 300, 1000]}"), (1, 0));
    let config = write(dir.path(), "slips.yaml", "detections:\n  vertical_port_scan: {prots: 9}\n");
    let out = slips(["check-config", config.to_str().expect("utf-8")]);
    let told = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(78), "{told}");
    assert!(told.contains("slips.yaml:2: `prots` is no key of vertical_port_scan"), "{told}");
}

#[test]
fn alerts_are_scored_against_the_labels_of_the_input() {
    let dir = tempfile::tempdir().expect("temp");
    let label =
        |line: String, label: &str| line.replace("\"proto\"", &format!("\"label\":\"{label}\",\"proto\""));
    let mut rows: Vec<_> = scan().lines().map(|line| label(line.to_owned(), "Malicious")).collect();
    rows.push(label(conn(START + 200.0, "192.168.1.5", 50_000, "198.51.100.7", 443, "SF"), "Benign"));
    let log = write(dir.path(), "conn.log", rows.join("\n"));
    let found = common::analyze(&log, &["--score"]);
    let score = &found["score"];
    assert_eq!(score["flows"]["malicious_alerted"], 120, "{score}");
    assert_eq!(score["flows"]["benign_quiet"], 1, "{score}");
    assert_eq!(score["hosts"]["recall"], 1.0, "{score}");
    assert_eq!(score["malicious_hosts"][0]["seconds_to_alert"], 99.01, "{score}");
    let out = slips(["analyze", log.to_str().expect("utf-8"), "--score"]);
    assert!(text(&out).contains("203.0.113.66 began 120 malicious flows"), "{}", text(&out));
    assert!(common::analyze(&log, &[])["score"].is_null());
}
