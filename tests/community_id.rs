//! Community IDs of conn.log against the reference implementation's, on its own captures.

mod common;

use std::collections::{HashMap, HashSet};

use common::{corpora, slips};
use serde_json::Value;

/// Protocol and both ends, in any order.
type Conversation = (u64, [(String, u64); 2]);

fn conversation(proto: u64, one: (String, u64), other: (String, u64)) -> Conversation {
    let mut ends = [one, other];
    ends.sort();
    (proto, ends)
}

#[test]
fn community_ids_are_those_of_the_reference() {
    let Some(corpora) = corpora("community_ids_are_those_of_the_reference") else { return };
    let text = std::fs::read_to_string(corpora.join("cid/baseline_deflt.json")).expect("baseline");
    let rows: Vec<Value> = serde_json::from_str(&text).expect("a list");
    let mut expected: HashMap<Conversation, HashSet<String>> = HashMap::new();
    for row in &rows {
        let end = |addr: &str, port: &str| {
            (row[addr].as_str().unwrap_or_default().to_owned(), row[port].as_u64().unwrap_or(0))
        };
        let of =
            conversation(row["proto"].as_u64().unwrap_or(0), end("saddr", "sport"), end("daddr", "dport"));
        let id = row["communityid"].as_str().unwrap_or_default().to_owned();
        expected.entry(of).or_default().insert(id);
    }
    let mut compared = 0;
    for family in ["combined.pcap", "icmp", "icmp6", "ipv6", "tcp", "udp"] {
        let dir = tempfile::tempdir().expect("temp");
        let capture = corpora.join("cid").join(family).join("capture.pcap");
        let out = slips(["sensor".as_ref(), capture.as_os_str(), "-o".as_ref(), dir.path().as_os_str()]);
        assert!(out.status.success(), "{family}");
        let log = std::fs::read_to_string(dir.path().join("conn.log")).expect("conn.log");
        for line in log.lines() {
            let row: Value = serde_json::from_str(line).expect("a row");
            let end = |addr: &str, port: &str| {
                (row[addr].as_str().unwrap_or_default().to_owned(), row[port].as_u64().unwrap_or(0))
            };
            let (one, other) = (end("id.orig_h", "id.orig_p"), end("id.resp_h", "id.resp_p"));
            let proto = match row["proto"].as_str() {
                Some("tcp") => 6,
                Some("udp") => 17,
                Some("icmp") if one.0.contains(':') => 58,
                Some("icmp") => 1,
                // of others the log has no ports
                _ => continue,
            };
            let Some(ids) = expected.get(&conversation(proto, one, other)) else { continue };
            let id = row["community_id"].as_str().unwrap_or_default();
            assert!(ids.contains(id), "{family}: {line} is none of {ids:?}");
            compared += 1;
        }
    }
    assert!(compared >= 20, "{compared} compared");
}
