//! TLS handshakes of the corpora's captures: the ssl logs that Zeek's own test suite expects, and fingerprints that others found.

mod support;

use std::collections::HashSet;

use slips_core::event::{Event, TlsFields};
use slips_sensor::Settings;
use support::parity::{Score, compare, flag, list, or_dash};

fn columns(tls: &TlsFields) -> support::parity::Columns {
    vec![
        ("version", or_dash(&tls.version)),
        ("cipher", or_dash(&tls.cipher)),
        ("curve", or_dash(&tls.curve)),
        ("server_name", or_dash(&tls.server_name)),
        ("resumed", flag(tls.resumed)),
        ("last_alert", or_dash(&tls.last_alert)),
        ("next_protocol", or_dash(&tls.next_protocol)),
        ("established", flag(tls.established)),
        ("ssl_history", or_dash(&tls.ssl_history)),
        ("cert_chain_fps", list(&tls.cert_chain_fps)),
        ("client_cert_chain_fps", list(&tls.client_cert_chain_fps)),
        ("subject", or_dash(&tls.subject)),
        ("issuer", or_dash(&tls.issuer)),
    ]
}

#[test]
fn ssl_rows_equal_zeeks() {
    let Some(corpora) = support::corpora("ssl_rows_equal_zeeks") else { return };
    let mut score = Score::default();
    for case in support::cases(&corpora, "ssl") {
        compare(&case, &mut score, |event| match event {
            Event::Tls(tls) => Some((tls.about, columns(&tls.fields))),
            _ => None,
        });
    }
    println!("{score:?}");
    assert!(score.rows >= 20);
    assert_eq!((score.equal, score.extra), (score.rows, 0));
}

#[test]
fn ja4_equals_its_makers() {
    let Some(corpora) = support::corpora("ja4_equals_its_makers") else { return };
    let mut checked = 0;
    for entry in std::fs::read_dir(corpora.join("ja4")).expect("folder").flatten() {
        let Ok(text) = std::fs::read_to_string(entry.path().join("expect.ja4.yaml")) else { continue };
        let capture = ["capture.pcap", "capture.pcapng"].map(|name| entry.path().join(name));
        let Some(capture) = capture.iter().find(|path| path.exists()) else { continue };
        let (_, events) = support::run(capture, Settings::default());
        let mut ours: HashSet<(String, String)> = HashSet::new();
        for event in &events {
            if let Event::Tls(tls) = event {
                ours.insert((tls.about.src.port.to_string(), tls.fields.ja4.clone()));
            }
        }
        let mut port = String::new();
        for line in text.lines() {
            if let Some(found) = line.trim().strip_prefix("src_port: ") {
                port = found.to_owned();
            }
            let Some(expected) = line.trim().strip_prefix("ja4: ") else {
                continue;
            };
            checked += 1;
            assert!(
                ours.contains(&(port.clone(), expected.to_owned())),
                "{:?}: {port} {expected}: {ours:?}",
                entry.path()
            );
        }
    }
    println!("{checked} fingerprints");
    assert!(checked > 20);
}

/// All texts under `key` in a JSON value.
fn texts(value: &serde_json::Value, key: &str, found: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(map) => {
            for (name, value) in map {
                match value.as_array() {
                    Some(list) if name == key => {
                        found.extend(list.iter().filter_map(|item| item.as_str()).map(str::to_owned));
                    }
                    _ => texts(value, key, found),
                }
            }
        }
        serde_json::Value::Array(list) => list.iter().for_each(|value| texts(value, key, found)),
        _ => {}
    }
}

#[test]
fn ja3_equals_arkimes() {
    let Some(corpora) = support::corpora("ja3_equals_arkimes") else { return };
    let (mut checked, mut missing) = (0, Vec::new());
    for entry in std::fs::read_dir(corpora.join("arkime")).expect("folder").flatten() {
        let Ok(bytes) = std::fs::read(entry.path().join("expect.json")) else { continue };
        let expected: serde_json::Value = serde_json::from_slice(&bytes).expect("json");
        let capture = ["capture.pcap", "capture.pcapng"].map(|name| entry.path().join(name));
        let Some(capture) = capture.iter().find(|path| path.exists()) else { continue };
        let (_, events) = support::run(capture, Settings::default());
        for key in ["ja3", "ja3s", "ja4"] {
            let mut theirs = Vec::new();
            texts(&expected, key, &mut theirs);
            for print in theirs {
                let is_ours = events.iter().any(|event| match event {
                    Event::Tls(tls) => [&tls.fields.ja3, &tls.fields.ja3s, &tls.fields.ja4].contains(&&print),
                    _ => false,
                });
                checked += 1;
                if !is_ours {
                    missing.push(format!("{:?} {key} {print}", entry.file_name()));
                }
            }
        }
    }
    println!("{checked} fingerprints, missing: {missing:#?}");
    assert!(checked > 30);
    // whatever TLS Arkime finds in datagrams it takes for QUIC's; this is OpenVPN's
    missing.retain(|print| !print.contains("ja4 q12d"));
    assert!(missing.is_empty());
}
