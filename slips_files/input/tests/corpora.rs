//! Real files of many origins: nothing crashes, and every row and packet is there.

#![expect(clippy::expect_used, reason = "helpers of tests")]

use std::fs;
use std::path::{Path, PathBuf};

use slips_input::{CaptureFile, ErrorKind, OpenOptions, Reason, Report, open};

/// Where the corpora are; says so when there are none.
fn corpora(test: &str) -> Option<PathBuf> {
    #[expect(clippy::disallowed_methods, reason = "the variable is for tests only")]
    let named = std::env::var("SLIPS_CORPORA").map(PathBuf::from);
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpora");
    let found = named.unwrap_or(beside);
    if found.is_dir() {
        return Some(found);
    }
    println!("skipped: {test}: no corpora");
    None
}

fn files_under(directory: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> =
        fs::read_dir(directory).expect("readable").map(|entry| entry.expect("entry").path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            files_under(&path, found);
        } else {
            found.push(path);
        }
    }
}

fn read(path: &Path) -> Result<Report, ErrorKind> {
    let mut source = open(path, &OpenOptions::default()).map_err(|error| error.kind())?;
    let mut events = Vec::new();
    while source.next_batch(&mut events).expect("readable") {
        events.clear();
    }
    Ok(source.report())
}

/// Rows of a log, whatever its format.
fn rows(path: &Path) -> u64 {
    let bytes = fs::read(path).expect("readable");
    let mut text = Vec::new();
    if bytes.starts_with(b"\x1f\x8b") {
        std::io::Read::read_to_end(&mut flate2::read::MultiGzDecoder::new(&bytes[..]), &mut text)
            .expect("gzip");
    } else {
        text = bytes;
    }
    text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty() && line[0] != b'#').count() as u64
}

const LOGS: [&str; 23] = [
    "conn", "dns", "http", "ssl", "ssh", "dhcp", "ftp", "smtp", "tunnel", "notice", "files", "arp",
    "software", "weird", "login", "quic", "dce_rpc", "kerberos", "mysql", "ntlm", "rfb", "radius", "ldap",
];

#[test]
fn every_row_of_the_log_directories_is_read() {
    let Some(corpora) = corpora("every_row_of_the_log_directories_is_read") else { return };
    for directory in [
        "slips-zeek-dirs/port-scans/horizontal",
        "slips-zeek-dirs/port-scans/vertical",
        "slips-zeek-dirs/test9-mixed-zeek-dir",
        "slips-zeek-dirs/test13-malicious-dhcpscan-zeek-dir",
        "slips-zeek-dirs/test15-malicious-zeek-dir",
        "slips-zeek-dirs/test16-malicious-zeek-dir",
        "slips-zeek-dirs/test18-malicious-ctu-sme-11-win/zeek-labeled",
        "labelled/2023-02-20",
    ] {
        let report = read(&corpora.join(directory)).expect(directory);
        assert_eq!(report.rejected_total(), 0, "{directory}: {:?}", report.samples);
        for file in &report.files {
            assert_eq!(file.rows, rows(&file.file), "{}", file.file.display());
            let name = file.file.file_name().and_then(|name| name.to_str()).unwrap_or("");
            assert_eq!(name.split('.').next(), Some(file.kind));
            let alone = read(&file.file).expect(name);
            assert_eq!((alone.records, alone.rejected_total()), (file.rows, 0), "{name}");
        }
        for (path, _) in &report.ignored {
            let stem =
                path.file_name().and_then(|name| name.to_str()).and_then(|name| name.split('.').next());
            assert!(!LOGS.contains(&stem.unwrap_or("")), "{}", path.display());
        }
    }
}

#[test]
fn every_row_that_zeeks_own_tests_expect_is_read() {
    let Some(corpora) = corpora("every_row_that_zeeks_own_tests_expect_is_read") else { return };
    let mut files = Vec::new();
    for folder in ["zeek", "malware", "attack", "synthetic"] {
        files_under(&corpora.join(folder), &mut files);
    }
    let scratch = tempfile::tempdir().expect("a directory");
    let mut read_logs = 0;
    for path in files.iter().filter(|path| path.extension().is_some_and(|extension| extension == "log")) {
        // Those tests blank the times out.
        let text = String::from_utf8_lossy(&fs::read(path).expect("readable"))
            .replace("XXXXXXXXXX.XXXXXX", "1.000000");
        let copy = scratch.path().join("log");
        fs::write(&copy, text).expect("writable");
        match read(&copy) {
            Ok(report) => {
                // Of some logs only the rows that log somebody in are used.
                let unused = report.rejected.get(&Reason::UnusedKind).copied().unwrap_or(0);
                assert_eq!(report.rejected_total(), unused, "{}: {:?}", path.display(), report.samples);
                assert_eq!(report.records + unused, rows(&copy), "{}", path.display());
                read_logs += 1;
            }
            Err(kind) => {
                assert_eq!(kind, ErrorKind::BadData);
                let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or("");
                let name = name.rsplit('.').next().unwrap_or("");
                assert!(!LOGS.contains(&name), "{}", path.display());
            }
        }
    }
    assert!(read_logs > 150, "{read_logs}");
}

#[test]
fn every_packet_of_the_captures_is_read() {
    let Some(corpora) = corpora("every_packet_of_the_captures_is_read") else { return };
    let manifest = fs::read(corpora.join("manifest.json")).expect("a manifest");
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).expect("JSON");
    let cases = manifest.get("cases").unwrap_or(&manifest).as_array().expect("cases");
    assert!(cases.len() > 600);
    for case in cases {
        let text = |key: &str| case[key].as_str().unwrap_or("");
        let path = corpora.join(text("dir")).join(text("capture"));
        let mut capture = match CaptureFile::open(&path, &OpenOptions::default()) {
            Ok(capture) => capture,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::BadData, "{}", text("id"));
                assert_eq!(case["packets"].as_u64().unwrap_or(0), 0, "{error}");
                continue;
            }
        };
        let (mut packets, mut bytes) = (0, 0);
        while let Some(packet) = capture.next_packet().expect("readable") {
            // The manifest does not count records in which nothing was captured.
            if !packet.captured.is_empty() {
                packets += 1;
                bytes += u64::from(packet.wire_len);
            }
        }
        assert_eq!(Some(packets), case["packets"].as_u64(), "{}", text("id"));
        if let Some(expected) = case["wire_bytes"].as_u64() {
            // Some of tcpdump's broken captures say that a packet was shorter than what was captured of it.
            let shorter = text("dir").starts_with("tcpdump/") && bytes > expected;
            assert!(bytes == expected || shorter, "{}: {bytes} {expected}", text("id"));
        }
        let truncated = text("id") == "synthetic/truncated-mid-record" || case["truncated_file"] == true;
        let expected = u64::from(truncated);
        assert_eq!(capture.report().rejected_total(), expected, "{}", text("id"));
        assert_eq!(
            capture.report().rejected.contains_key(&Reason::TruncatedCapture),
            truncated,
            "{}",
            text("id")
        );
        let through_the_sensor = read(&path).expect("readable");
        assert_eq!(through_the_sensor.rejected.get(&Reason::BadBlock), None);
    }
}
