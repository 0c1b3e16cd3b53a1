//! A directory is one input: its logs merged by time.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use slips_core::event::{Event, EventKind};
use slips_input::{ErrorKind, InputError, OpenOptions, Report, open};
use tempfile::TempDir;

use super::{drain, tsv};

const FIELDS: &str = "ts uid id.orig_h id.resp_h conn_state duration";

fn directory(files: &[(&str, String)]) -> TempDir {
    let directory = TempDir::new().expect("a directory");
    for (name, content) in files {
        fs::write(directory.path().join(name), content).expect(name);
    }
    directory
}

fn read(path: &Path, batch: usize) -> (Vec<Event>, Report) {
    let options = OpenOptions { batch, ..OpenOptions::default() };
    drain(&mut *open(path, &options).expect("a directory of logs")).expect("read")
}

fn dns(second: &str) -> String {
    format!(
        r#"{{"ts":{second},"uid":"D","id.orig_h":"10.0.0.1","id.resp_h":"10.0.0.2","query":"x","qtype":1}}"#
    )
}

fn conn(seconds: &[&str]) -> String {
    let rows: Vec<_> =
        seconds.iter().map(|second| format!("{second} C 10.0.0.1 10.0.0.2 SF 100.0")).collect();
    tsv("conn", FIELDS, &rows.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn logs_are_merged_by_time_and_at_equal_times_by_name() {
    let directory = directory(&[
        ("a-renamed.txt", [dns("2.0"), dns("3.0"), dns("9.0")].join("\n")),
        ("conn.log", conn(&["1.0", "3.0", "4.0"])),
        ("conn.old.log.labeled", conn(&["0.5", "3.0"])),
        ("x509.log", tsv("x509", "ts fingerprint", &["1.0 a"])),
        ("notes.md", "hello".to_owned()),
        ("empty.log", String::new()),
    ]);
    fs::create_dir(directory.path().join("sub")).expect("sub");
    for batch in [1, 2, 1000] {
        let (events, report) = read(directory.path(), batch);
        let order: Vec<_> = events.iter().map(|event| (event.time().0 / 100_000, event.kind())).collect();
        let (d, f) = (EventKind::Dns, EventKind::Flow);
        assert_eq!(order, [(5, f), (10, f), (20, d), (30, d), (30, f), (30, f), (40, f), (90, d)]);
        let files: Vec<_> = report.files.iter().map(|file| (file.kind, file.rows)).collect();
        assert_eq!(files, [("dns", 3), ("conn", 3), ("conn", 2)]);
        let ignored: Vec<_> = report
            .ignored
            .iter()
            .map(|(path, why)| (path.file_name().and_then(|name| name.to_str()).unwrap_or(""), why.as_str()))
            .collect();
        assert_eq!(
            ignored,
            [
                ("empty.log", "empty"),
                ("notes.md", "not a log"),
                ("sub", "not a file"),
                ("x509.log", "a log that is not used"),
            ]
        );
    }
}

#[test]
fn a_name_decides_only_where_the_content_is_silent() {
    let silent = r#"{"ts":1.0,"uid":"C","id.orig_h":"10.0.0.1","id.resp_h":"10.0.0.2"}"#;
    let directory = directory(&[("tunnel.log", silent.to_owned()), ("conn.log", dns("2.0"))]);
    let (events, _) = read(directory.path(), 10);
    let kinds: Vec<_> = events.iter().map(Event::kind).collect();
    assert_eq!(kinds, [EventKind::Tunnel, EventKind::Dns]);
}

#[test]
fn a_log_without_a_single_good_row_is_still_counted() {
    let directory = directory(&[
        ("conn.log", conn(&["1.0"])),
        ("dns.log", tsv("dns", "ts id.orig_h id.resp_h query", &["x y z q"])),
    ]);
    let (events, report) = read(directory.path(), 10);
    assert_eq!((events.len(), report.rejected_total(), report.files[1].rejected), (1, 1, 1));
}

#[test]
fn an_extract_is_used_only_where_the_whole_log_is_not_there() {
    let long = conn(&["1.0"]).replace("#path\tconn", "#path\tconn_long");
    let mut files = vec![("conn_long.log", long), ("conn_2023.log", conn(&["2.0"])), ("dns.log", dns("3.0"))];
    assert_eq!(read(directory(&files).path(), 10).0.len(), 3);
    files.push(("conn.log.gz", conn(&["4.0"])));
    let directory = directory(&files);
    let (events, report) = read(directory.path(), 10);
    assert_eq!((events.len(), report.ignored.len()), (2, 2));
    assert_eq!(report.ignored[0].1, "repeats rows of the conn log beside it");
}

#[test]
fn progress_ends_where_the_files_end() {
    let directory = directory(&[("conn.log", conn(&["1.0"])), ("dns.log", dns("2.0"))]);
    let mut source = open(directory.path(), &OpenOptions::default()).expect("logs");
    let (done, total) = source.progress().expect("known");
    assert_eq!(done, 0);
    drain(&mut *source).expect("read");
    assert_eq!(source.progress(), Some((total, total)));
}

#[test]
fn a_directory_without_logs_is_bad_data() {
    let directory = directory(&[("notes.md", "hello".to_owned())]);
    let Err(error) = open(directory.path(), &OpenOptions::default()) else { panic!("opened") };
    assert!(matches!(error, InputError::NoLogs { looked_at: 1, .. }));
    assert_eq!(error.kind(), ErrorKind::BadData);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    /// Logs that are each in order come out as one order, whatever the batch.
    #[test]
    fn merging_is_sorting(times in proptest::collection::vec((0usize..4, 0u32..500), 0..600), batch in 1usize..50) {
        let mut logs = vec![Vec::new(); 4];
        for (log, time) in &times {
            logs[*log].push(*time);
        }
        let mut expected = Vec::new();
        let files: Vec<_> = logs.iter_mut().enumerate().map(|(log, times)| {
            times.sort_unstable();
            expected.extend(times.iter().map(|time| (i64::from(*time) * 1_000_000, log)));
            let lines: Vec<_> = times.iter().map(|time| dns(&format!("{time}.0")).replace("\"D\"", &format!("\"D{log}\""))).collect();
            (format!("{log}.log"), lines.join("\n"))
        }).filter(|(_, content)| !content.is_empty()).collect();
        prop_assume!(!files.is_empty());
        expected.sort_unstable();
        let files: Vec<_> = files.iter().map(|(name, content)| (name.as_str(), content.clone())).collect();
        let directory = directory(&files);
        let (events, _) = read(directory.path(), batch);
        let seen: Vec<_> = events.iter().map(|event| match event {
            Event::Dns(dns) => (dns.about.at.0, dns.about.uid.as_str()[1..].parse::<usize>().expect("a number")),
            other => panic!("{other:?}"),
        }).collect();
        prop_assert_eq!(seen, expected);
    }
}
