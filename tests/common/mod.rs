//! What the end-to-end tests share: the binary as a user has it, the corpora, small inputs made here.
#![allow(
    dead_code,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "test helpers; each test file uses its own part"
)]

pub mod daemon;
pub mod flows;
pub mod mmdb;
pub mod pcap;
pub mod server;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// Runs the binary.
pub fn slips<I: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = I>) -> Output {
    Command::new(env!("CARGO_BIN_EXE_slips")).args(args).output().expect("the binary runs")
}

/// `slips analyze PATH --json` with further arguments; it must succeed.
pub fn analyze(path: &Path, more: &[&str]) -> Value {
    let out = slips([&["analyze", path.to_str().expect("utf-8"), "--json"], more].concat());
    assert!(out.status.success(), "{}: {}", path.display(), String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).expect("one JSON object")
}

/// How often a type of evidence was found.
pub fn evidence(found: &Value, kind: &str) -> u64 {
    found["evidence"][kind].as_u64().unwrap_or(0)
}

/// The attackers of all alerts.
pub fn attackers(found: &Value) -> Vec<String> {
    let mut ips: Vec<String> = found["alerts"]
        .as_array()
        .expect("alerts")
        .iter()
        .map(|alert| alert["ip"].as_str().expect("ip").to_owned())
        .collect();
    ips.sort();
    ips.dedup();
    ips
}

/// An event of `alerts.json`.
#[derive(Debug)]
pub struct Told {
    pub kind: String,
    pub attacker: String,
    pub description: String,
}

impl Told {
    /// Whether it is of this kind, about this attacker, and has these words; empty means any.
    pub fn is(&self, kind: &str, attacker: &str, words: &str) -> bool {
        self.kind == kind
            && (attacker.is_empty() || self.attacker == attacker)
            && self.description.contains(words)
    }
}

/// All events that `analyze -o` wrote to this directory.
pub fn events(out: &Path) -> Vec<Told> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let event = |line: &str| {
        let event: Value = serde_json::from_str(line).expect("JSON lines");
        let note: Value = serde_json::from_str(event["Note"].as_str().unwrap_or("{}")).expect("a note");
        (event["Status"] == "Event").then(|| Told {
            kind: text(&note["evidence_type"]),
            attacker: text(&event["Source"][0]["IP"]),
            description: text(&event["Description"]),
        })
    };
    let told = std::fs::read_to_string(out.join("alerts.json")).expect("alerts.json");
    told.lines().filter_map(event).collect()
}

/// The corpora beside the clone, or nothing: then the test says by name that it is skipped.
pub fn corpora(test: &str) -> Option<PathBuf> {
    #[expect(clippy::disallowed_methods, reason = "tests may be told where the corpora are")]
    let named = std::env::var("SLIPS_CORPORA").map(PathBuf::from).ok();
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpora");
    let found = named.into_iter().chain([beside]).find(|dir| dir.join("manifest.json").is_file());
    if found.is_none() {
        println!("skipped: {test}: no corpora");
    }
    found
}

/// Every file below `dir` whose name `wanted` accepts, in order.
pub fn files_below(dir: &Path, wanted: &dyn Fn(&str) -> bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if path.file_name().and_then(|name| name.to_str()).is_some_and(wanted) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// A row of conn.log in JSON.
pub fn conn(ts: f64, src: &str, sport: u16, dst: &str, dport: u16, state: &str) -> String {
    let history = match state {
        "S0" => "S",
        "REJ" => "Sr",
        _ => "ShADadFf",
    };
    format!(
        r#"{{"ts":{ts:.6},"uid":"C{sport}x{dport}","id.orig_h":"{src}","id.orig_p":{sport},"id.resp_h":"{dst}","id.resp_p":{dport},"proto":"tcp","duration":0.01,"orig_bytes":0,"resp_bytes":0,"conn_state":"{state}","history":"{history}","orig_pkts":1,"orig_ip_bytes":60,"resp_pkts":1,"resp_ip_bytes":40}}"#
    )
}

/// Writes a file in a temporary directory.
pub fn write(dir: &Path, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, content).expect("temporary file");
    path
}
