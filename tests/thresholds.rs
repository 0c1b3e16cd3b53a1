//! Each type of evidence begins where its number says, and not before: through the binary, an input is told with its detection's number
//! in `slips.yaml` at what the input holds, not told with the number one above, and one that is like it but innocent is never told.
#![expect(clippy::expect_used, reason = "helpers of tests")]

mod common;
#[path = "thresholds/inputs.rs"]
mod inputs;
#[path = "thresholds/table.rs"]
mod table;

use std::path::{Path, PathBuf};

use common::pcap::Pcap;
use common::{analyze, corpora, evidence, write};
use serde_json::Value;
use slips_core::evidence::EvidenceKind;

/// What is analysed.
enum Input {
    /// Zeek's logs, by their names.
    Logs(Vec<(&'static str, Vec<Value>)>),
    /// A capture.
    Capture(Pcap),
    /// Part of the corpora.
    Corpus(&'static str),
}

/// One type of evidence, and its keys (`detection.key`, several with `+`) with the largest number at which the input is still told.
struct Row {
    kind: &'static str,
    keys: &'static str,
    n: u64,
    /// What is told, and with `false` what is like it and is not.
    input: fn(bool) -> Input,
}

/// Types without a number of their own that could be set, or that no input of `analyze` raises, and why.
const WITHOUT: &[(&str, &str)] = &[
    ("THREAT_INTELLIGENCE_TO_BLACKLISTED_IP", "the list says who is told: tests/kinds.rs has one beside it"),
    ("THREAT_INTELLIGENCE_FROM_BLACKLISTED_IP", "as the one before"),
    (
        "THREAT_INTELLIGENCE_BLACKLISTED_DOMAIN",
        "the list says who is told: tests/intelligence.rs has others beside it",
    ),
    ("THREAT_INTELLIGENCE_BLACKLISTED_DNS_ANSWER", "as the one before"),
    ("THREAT_INTELLIGENCE_ANSWER_OF_BLACKLISTED_QUERY", "as the one before"),
    ("THREAT_INTELLIGENCE_MALICIOUS_URL", "as the one before"),
    ("THREAT_INTELLIGENCE_BLACKLISTED_ASN", "the list says who is told: tests/kinds.rs has one beside it"),
    ("MALICIOUS_DOWNLOADED_FILE", "as the one before"),
    ("MALICIOUS_JA3", "the list says who is told: tests/acceptance.rs"),
    ("MALICIOUS_JA3S", "as the one before"),
    ("CONNECTION_TO_PRIVATE_IP", "the first flow of a pair: tests/kinds.rs has one to the outside"),
    (
        "COMMAND_AND_CONTROL_CHANNEL",
        "how alike beats are is no count: steps and jitter are in `beacon::tests`",
    ),
    ("NEW_DEVICE", "the first frame after an hour: tests/link.rs has devices that were there before"),
    ("YOUNG_DOMAIN", "who is asked knows the age, and nobody is unless it is turned on"),
    ("MALICIOUS_JARM", "the list says who is told, and who is asked the fingerprint"),
    ("P2P_REPORT", "peers speak to the daemon only"),
    (
        "SURICATA_ALERT",
        "each match is one; tests/kinds.rs has a log of Suricata, and the detection's own tests the steps",
    ),
    ("MALICIOUS_IP_FROM_P2P_NETWORK", "as the one before"),
];

fn path_of(input: &Input, dir: &Path, corpora: Option<&Path>) -> Option<PathBuf> {
    match input {
        Input::Corpus(path) => Some(corpora?.join(path)).filter(|path| path.exists()),
        Input::Capture(pcap) => Some(write(dir, "made.pcap", pcap.bytes())),
        Input::Logs(logs) => {
            let zeek = dir.join("zeek");
            // One directory after the other: nothing of the last may stay.
            let _ = std::fs::remove_dir_all(&zeek);
            std::fs::create_dir(&zeek).expect("dir");
            for (name, rows) in logs {
                let text: String = rows.iter().map(|row| format!("{row}\n")).collect();
                write(&zeek, &format!("{name}.log"), text);
            }
            Some(zeek)
        }
    }
}

/// `slips.yaml` with all keys of a row at `n`.
fn config(row: &Row, n: u64) -> String {
    let (detection, keys) = row.keys.split_once('.').expect("detection.key");
    let set: Vec<_> = keys.split('+').map(|key| format!("{key}: {n}")).collect();
    format!("detections:\n  {detection}: {{{}}}\n", set.join(", "))
}

/// What is wrong with a row; nothing, if it holds.
fn check(row: &Row, corpora: Option<&Path>) -> Option<String> {
    let dir = tempfile::tempdir().expect("temp");
    let told = |guilty: bool, n: Option<u64>| {
        let path = path_of(&(row.input)(guilty), dir.path(), corpora)?;
        let text = n.map_or_else(inputs::ours, |n| inputs::ours() + &config(row, n));
        let config = write(dir.path(), "slips.yaml", text);
        Some(evidence(&analyze(&path, &["-c", config.to_str().expect("utf-8")]), row.kind))
    };
    let Some(usual) = told(true, None) else {
        println!("skipped: {}: no corpora", row.kind);
        return None;
    };
    let (at, above, innocent) = (told(true, Some(row.n)), told(true, Some(row.n + 1)), told(false, None));
    let is_right =
        usual > 0 && at.is_some_and(|n| n > 0) && above == Some(0) && innocent.is_none_or(|n| n == 0);
    (!is_right).then(|| {
        format!(
            "{}: usually {usual}, at {} {at:?}, one above {above:?}, innocent {innocent:?}",
            row.kind, row.n
        )
    })
}

/// Each part of the table in a test of its own, so that they run beside each other.
fn check_part(part: usize) {
    let corpora = corpora(&format!("thresholds, part {part}"));
    let rows = table::TABLE.iter().skip(part).step_by(PARTS);
    let wrong: Vec<_> = rows.filter_map(|row| check(row, corpora.as_deref())).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

const PARTS: usize = 4;

#[test]
fn first_part_begins_at_its_numbers() {
    check_part(0);
}

#[test]
fn second_part_begins_at_its_numbers() {
    check_part(1);
}

#[test]
fn third_part_begins_at_its_numbers() {
    check_part(2);
}

#[test]
fn fourth_part_begins_at_its_numbers() {
    check_part(3);
}

#[test]
fn every_kind_has_a_number_or_a_reason_why_not() {
    for kind in EvidenceKind::ALL {
        let rows = table::TABLE.iter().filter(|row| row.kind == kind.name()).count();
        let excused = WITHOUT.iter().filter(|(name, _)| *name == kind.name()).count();
        assert_eq!(rows + excused, 1, "{kind}: {rows} rows, {excused} reasons");
    }
    assert_eq!(
        table::TABLE.len() + WITHOUT.len(),
        EvidenceKind::ALL.len(),
        "a row of a kind that is no more"
    );
}
