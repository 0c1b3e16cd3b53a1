//! What leaves in the clear, through the binary: captures in, evidence out, and the secret in none of the files.
#![expect(clippy::expect_used, reason = "helpers of tests")]

mod common;

use std::net::Ipv4Addr;
use std::path::Path;

use common::pcap::{Pcap, mac};
use common::{analyze, events, evidence, files_below, slips, write};
use serde_json::Value;

const OURS: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 5);
const THEIRS: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);
const SECRETS: [&str; 3] = ["hunter2hunter2", "4111111111111111", "50.0755"];

/// One connection of ours to port 80 of `server`, in which all of `asks` are said.
fn capture(server: Ipv4Addr, asks: &[&str]) -> Pcap {
    let mut pcap = Pcap::new();
    let asks: Vec<_> = asks.iter().map(|ask| ask.as_bytes()).collect();
    let answer = b"HTTP/1.1 204 No Content\r\nServer: test\r\n\r\n";
    pcap.talk(0, (OURS, 40_000, mac(5)), (server, 80, mac(1)), &asks, answer);
    pcap
}

fn post(body: &str) -> String {
    format!("POST /x HTTP/1.1\r\nHost: www.example.org\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// What is found in `pcap` with this configuration.
fn found(dir: &Path, pcap: &Pcap, config: &str) -> Value {
    let config = write(dir, "slips.yaml", config);
    let made = write(dir, "made.pcap", pcap.bytes());
    analyze(&made, &["-c", config.to_str().expect("utf-8")])
}

#[test]
fn what_leaves_in_the_clear_is_told_and_not_repeated() {
    let dir = tempfile::tempdir().expect("temp");
    let told = |server, asks: &[&str], config: &str| {
        let found = found(dir.path(), &capture(server, asks), config);
        (evidence(&found, "NETWORK_GPS_LOCATION_LEAKED"), evidence(&found, "SENSITIVE_DATA_LEAKED"))
    };
    let place = post("{\"lat\": 50.0755, \"lon\": 14.4378}");
    let card = post("name=me&password=hunter2hunter2&card_number=4111111111111111&");
    let plain = post("name=me&colour=red&card_number=4111111111111112");
    assert_eq!(told(THEIRS, &[&place], ""), (2, 0), "the client and the server");
    assert_eq!(told(THEIRS, &[&plain, &card], ""), (0, 2), "both rules are one evidence");
    assert_eq!(told(THEIRS, &[&plain, &plain], ""), (0, 0));
    assert_eq!(told(Ipv4Addr::new(192, 168, 1, 9), &[&place, &card], ""), (0, 0), "to a host of ours");
    let thrice = "detections:\n  leak_detector: {matches: 3}\n";
    assert_eq!(told(THEIRS, &[&place, &place], thrice), (0, 0));
    assert_eq!(told(THEIRS, &[&place, &place, &place], thrice), (2, 0));
    assert_eq!(told(THEIRS, &[&place, &card], "detections:\n  leak_detector: {enabled: false}\n"), (0, 0));

    let made = write(dir.path(), "made.pcap", capture(THEIRS, &[&place, &card]).bytes());
    let out = dir.path().join("out");
    analyze(&made, &["-o", out.to_str().expect("utf-8")]);
    let said = events(&out);
    assert!(
        said.iter().any(|event| event.is("SENSITIVE_DATA_LEAKED", "192.168.1.5", "card_number")),
        "{said:?}"
    );
    for file in files_below(&out, &|_| true) {
        let bytes = std::fs::read(&file).expect("a file");
        let text = String::from_utf8_lossy(&bytes);
        assert!(SECRETS.iter().all(|secret| !text.contains(secret)), "{}", file.display());
    }
}

#[test]
fn the_owner_adds_rules_and_hears_of_wrong_ones() {
    let dir = tempfile::tempdir().expect("temp");
    let rules = dir.path().join("rules");
    std::fs::create_dir(&rules).expect("dir");
    write(
        &rules,
        "plan.yar",
        "rule plan { strings: $a = \"the master plan\" condition: $a and service == \"http\" }",
    );
    write(&rules, "wrong.yara", "rule wrong {\n  condition: nonsense\n}\n");
    write(&rules, "notes.txt", "no rules");
    let text = format!("detections:\n  leak_detector: {{rules: {}}}\n", rules.display());
    let pcap = capture(THEIRS, &[&post("this is the master plan"), &post("password=hunter2hunter2")]);
    let told = found(dir.path(), &pcap, &text);
    assert_eq!(evidence(&told, "SENSITIVE_DATA_LEAKED"), 2, "{told}");
    let config = dir.path().join("slips.yaml");
    let checked = slips(["check-config".as_ref(), config.as_os_str()]);
    let told = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success() && told.contains("wrong.yara:2:14: error: "), "{told}");
    assert_eq!(told.lines().count(), 1, "{told}");
    std::fs::remove_dir_all(&rules).expect("gone");
    let checked = slips(["check-config".as_ref(), config.as_os_str()]);
    let told = String::from_utf8_lossy(&checked.stderr);
    assert_eq!(checked.status.code(), Some(78), "{told}");
    assert!(told.contains("detections.leak_detector.rules"), "{told}");
}
