//! What was kept, as a user asks for it: `slips evidence`, `alerts`, `blocks`, `flows`, `export` and `analyze --export`.

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{conn, slips, write};
use serde_json::Value;
use slips_core::event::Event;
use slips_core::flow::{Endpoint, Flow, Proto};
use slips_core::record::Record;
use slips_core::time::{PacketTime, Span};
use slips_store::{RecordSink, Sqlite, SqliteLimits};

const START: f64 = 1_700_000_000.0;
const ATTACKER: &str = "203.0.113.66";

#[expect(clippy::expect_used, reason = "a helper of tests")]
fn text(out: &std::process::Output) -> String {
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout.clone()).expect("utf-8")
}

#[expect(clippy::expect_used, reason = "a helper of tests")]
fn json(out: &std::process::Output) -> Value {
    serde_json::from_str(&text(out)).expect("JSON")
}

/// A port scan, and downloads of a host of ours; with labels, and a name that would break a table if it could.
fn logs(dir: &Path) -> PathBuf {
    let zeek = dir.join("zeek");
    std::fs::create_dir_all(&zeek).unwrap_or_default();
    let label =
        |line: String, label: &str| line.replace("\"proto\"", &format!("\"label\":{label},\"proto\""));
    let mut rows: Vec<String> = (1..=120u16)
        .map(|n| conn(START + f64::from(n), ATTACKER, 40_000 + n, "192.168.1.2", n, "REJ"))
        .map(|line| label(line, "\"Malicious\""))
        .collect();
    rows.extend((0..30u16).map(|n| {
        let line = conn(START + 150.0 + f64::from(n), "192.168.1.5", 50_000 + n, "198.51.100.7", 443, "SF");
        label(line, r#""=evil,\"label\"\n\u001b[2J""#)
    }));
    write(&zeek, "conn.log", rows.join("\n"));
    zeek
}

/// The output directory of an analysis, and what it said.
fn analysed(dir: &Path, more: &[&str]) -> (String, Value) {
    let (logs, out) = (logs(dir), dir.join("out"));
    let out = out.to_str().unwrap_or_default().to_owned();
    let found = common::analyze(&logs, &[&["-o", &out], more].concat());
    (out, found)
}

#[test]
fn every_format_of_an_export_has_what_the_analysis_counted() {
    let dir = tempfile::tempdir().expect("temp");
    let (out, found) = analysed(dir.path(), &[]);
    let counted = |what: &str| match what {
        "flows" => found["flows"].as_u64(),
        "alerts" => found["alerts"].as_array().map(|alerts| alerts.len() as u64),
        _ => found["evidence"].as_object().map(|kinds| kinds.values().filter_map(Value::as_u64).sum()),
    };
    for what in ["flows", "evidence", "alerts"] {
        let count = counted(what).expect("a count") as usize;
        assert!(count > 0, "{what}: {found}");
        let export = |format: &str| text(&slips(["export", what, "--dir", &out, "--format", format]));
        let objects: Vec<Value> =
            export("json").lines().map(|line| serde_json::from_str(line).expect(line)).collect();
        assert_eq!(objects.len(), count, "{what} in JSON");
        for (format, end) in [("tsv", "\n"), ("csv", "\r\n")] {
            let table = export(format);
            assert_eq!(table.matches('\n').count(), count + 1, "{what} in {format}");
            assert!(table.ends_with(end) && !table.contains('\u{1b}'), "{what} in {format}");
        }
        let tsv = export("tsv");
        let columns: Vec<usize> = tsv.lines().map(|line| line.split('\t').count()).collect();
        assert!(columns.iter().all(|count| *count == columns[0]), "{what}: {columns:?}");
    }
}

#[test]
fn exported_flows_have_their_labels_and_hostile_ones_stay_in_their_field() {
    let dir = tempfile::tempdir().expect("temp");
    let (out, found) = analysed(dir.path(), &["--export", "csv"]);
    let written = std::fs::read_to_string(format!("{out}/labeled_flows.csv")).expect("labeled_flows.csv");
    assert_eq!(written.lines().count() as u64, found["flows"].as_u64().expect("flows") + 1);
    let hostile = r#","'=evil,""label""\n\x1b[2J","#;
    assert_eq!(written.matches(hostile).count(), 30, "{written}");
    let flows = |args: &[&str]| {
        let all = [&["export", "flows", "--dir", &out, "--format", "json"], args].concat();
        let lines = text(&slips(all));
        lines.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")).collect::<Vec<_>>()
    };
    let malicious = flows(&["--label", "malicious"]);
    assert!(malicious.len() >= 60 && malicious.iter().all(|flow| flow["src"] == ATTACKER), "{malicious:?}");
    let benign = flows(&["--profile", "192.168.1.5"]);
    assert_eq!(benign.len(), 30);
    assert!(benign.iter().all(|flow| flow["label"] == "benign"));
    assert_eq!(benign[0]["truth_label"], "=evil,\"label\"\n\u{1b}[2J");
    assert_eq!(flows(&["--since", "2023-11-14T22:15:50Z", "--until", "2023-11-14T22:15:55Z"]).len(), 5);
    let file = dir.path().join("flows.tsv");
    let to =
        slips(["export", "flows", "--dir", &out, "--format", "tsv", "-o", file.to_str().expect("utf-8")]);
    assert_eq!(text(&to), "");
    let file = std::fs::read_to_string(file).expect("file");
    assert!(file.starts_with("uid\tstart\tduration\tsrc\t"), "{file}");
    assert_eq!(file.lines().count(), 151);
}

#[test]
fn lists_show_what_there_is_as_tables_and_as_json() {
    let dir = tempfile::tempdir().expect("temp");
    let (out, found) = analysed(dir.path(), &[]);
    let alerts = json(&slips(["alerts", "-o", &out, "--json"]));
    assert_eq!(alerts.as_array().map(Vec::len), found["alerts"].as_array().map(Vec::len));
    assert_eq!(alerts[0]["attacker"], ATTACKER);
    assert_eq!(alerts[0]["kinds"][0]["kind"], "VERTICAL_PORT_SCAN");
    let table = text(&slips(["alerts", "-o", &out]));
    let id = alerts[0]["id"].as_str().expect("id").get(..12).expect("long");
    assert!(table.starts_with("time (UTC)") && table.contains(id), "{table}");
    // What the table shows of an id is enough to ask on.
    assert!(text(&slips(["explain", id, "-o", &out])).contains(ATTACKER));

    let of = |args: &[&str]| json(&slips([&["evidence", "-o", &out, "--json"], args].concat()));
    let all = of(&[]);
    let length = |value: &Value| value.as_array().map_or(0, Vec::len);
    assert!(length(&all) > 0);
    assert_eq!(of(&["--kind", "vertical_port_scan"])[0]["attacker"], ATTACKER);
    assert_eq!(length(&of(&["--profile", "192.0.2.99"])), 0);
    assert_eq!(length(&of(&["--since", "2030-01-01"])), 0);
    assert_eq!(length(&of(&["-n", "1"])), 1);
    let whole = alerts[0]["id"].as_str().expect("id");
    assert_eq!(length(&of(&["--alert", whole])), alerts[0]["evidence"].as_array().map_or(0, Vec::len));

    assert_eq!(of(&["--alert", whole]), of(&["--alert", &whole[..8]]));

    let some = slips(["flows", "-o", &out, "--profile", "192.168.1.5", "--json", "-n", "7"]);
    assert!(String::from_utf8_lossy(&some.stderr).contains("there are more rows"));
    let flows = json(&some);
    assert_eq!(length(&flows), 7);
    let every = slips(["flows", "-o", &out, "--profile", "192.168.1.5", "--json"]);
    assert_eq!((length(&json(&every)), every.stderr), (30, Vec::new()));
    assert_eq!(flows[0]["src_port"], 50_029);
    let table = text(&slips(["flows", "-o", &out, "--profile", ATTACKER, "-n", "3"]));
    assert_eq!(table.lines().count(), 4, "{table}");
    assert!(table.lines().all(|line| line.chars().count() <= 100), "{table}");
    assert_eq!(text(&slips(["blocks", "-o", &out])), "nothing is blocked\n");
    assert_eq!(text(&slips(["blocks", "-o", &out, "--all", "--json"])), "[]\n");
    let profiles = json(&slips(["profiles", "-o", &out, "--json"]));
    let attacker = profiles.as_array().into_iter().flatten().find(|row| row["ip"] == ATTACKER);
    assert!(attacker.is_none_or(|row| row["threat_level"] == "critical"), "{profiles}");
}

#[test]
fn what_cannot_be_asked_is_told_with_its_own_exit_code() {
    let dir = tempfile::tempdir().expect("temp");
    let (out, _) = analysed(dir.path(), &[]);
    for (args, code, told) in [
        (&["alerts", "-o", "/nonexistent"][..], 66, "there is no /nonexistent/flows.sqlite"),
        (&["alerts", "--db", "/"], 66, "name the directory with -o"),
        (&["evidence", "-o", &out, "--since", "yesterday"], 64, "`yesterday` is no time"),
        (&["flows", "-o", &out, "--profile", "nobody"], 64, "nobody"),
        (&["export", "flows", "--dir", &out, "--format", "xml"], 64, "xml"),
        (&["export", "flows", "--dir", &out, "-o", "/nonexistent/x"], 64, "cannot write /nonexistent/x"),
        (&["analyze", "x.pcap", "--export", "csv"], 64, "--output"),
        (&["evidence", "-o", &out, "--kind", "VERTICAL_PORT_SCANS"], 64, "is no kind of evidence"),
        (&["export", "evidence", "--dir", &out, "--kind", "scan"], 64, "is no kind of evidence"),
        (&["evidence", "-o", &out, "--alert", "ffffffff-ffff"], 65, "begins with ffffffff-ffff"),
        (&["export", "flows", "--dir", &out, "-o", &out], 64, "is a directory"),
        (&["export", "flows", "--dir", &out, "-o", &format!("{out}/flows.sqlite")], 64, "is a database"),
    ] {
        let got = slips(args);
        let stderr = String::from_utf8_lossy(&got.stderr);
        assert_eq!(got.status.code(), Some(code), "{args:?}: {stderr}");
        assert!(stderr.contains(told), "{args:?}: {stderr}");
    }
}

#[test]
fn an_exported_file_takes_its_place_when_it_is_whole() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().expect("temp");
    let (out, found) = analysed(dir.path(), &[]);
    let place = write(dir.path(), "flows.json", "old");
    std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o666)).expect("mode");
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(&place, &link).expect("link");
    let export = |dir: &str| slips(["export", "flows", "--dir", dir, "-o", link.to_str().expect("utf-8")]);
    assert_eq!(text(&export(&out)), "");
    let written = std::fs::read_to_string(&place).expect("flows");
    assert_eq!(written.lines().count() as u64, found["flows"].as_u64().expect("flows"));
    assert!(link.is_symlink());
    assert_eq!(std::fs::metadata(&place).expect("file").permissions().mode() & 0o777, 0o640);
    // One that fails on the way leaves what was there.
    let db = rusqlite::Connection::open(format!("{out}/flows.sqlite")).expect("database");
    db.execute_batch("ALTER TABLE flows RENAME COLUMN history TO memory").expect("damage");
    assert!(!export(&out).status.success());
    assert_eq!(std::fs::read_to_string(&place).expect("flows"), written);
    let names = std::fs::read_dir(dir.path()).expect("dir").flatten().map(|entry| entry.file_name());
    assert_eq!(names.filter(|name| name.to_string_lossy().ends_with(".new")).count(), 0);
}

#[test]
fn no_object_turns_or_clears_a_terminal() {
    const HOSTILE: &str = "\u{9b}2J\u{7f}\u{202e}";
    let dir = tempfile::tempdir().expect("temp");
    let (out, found) = analysed(dir.path(), &[]);
    let db = rusqlite::Connection::open(format!("{out}/flows.sqlite")).expect("database");
    for column in
        ["evidence SET kind = kind", "flows SET service = coalesce(service, '')", "alerts SET cause = cause"]
    {
        db.execute(&format!("UPDATE {column} || ?"), [HOSTILE]).expect("changed");
    }
    drop(db);
    let id = found["alerts"][0]["id"].as_str().expect("an id");
    let block = slips_store::NewBlock {
        net: "203.0.113.66".parse().expect("net"),
        reason: HOSTILE.into(),
        alert: None,
        source: "hand".into(),
        from: 1_700_000_000_000_000,
        until: None,
        unproven: false,
        manner: "drop".into(),
    };
    let mut book = slips_store::Blocks::open(format!("{out}/blocks.sqlite")).expect("book");
    book.insert(&block).expect("a block");
    for args in [
        &["evidence"][..],
        &["alerts"],
        &["flows"],
        &["blocks"],
        &["explain", id],
        &["profile", ATTACKER],
        &["timeline", ATTACKER],
    ] {
        let told = text(&slips([args, &["-o", &out, "--json"]].concat()));
        assert!(!told.contains(['\u{9b}', '\u{7f}', '\u{202e}']), "{args:?}: {told:?}");
        assert!(told.contains("\\u009b2J\\u007f\\u202e"), "{args:?}: {told:?}");
    }
}

#[test]
fn who_may_not_write_there_reads_what_was_left_in_order() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    use std::os::unix::process::CommandExt as _;
    const NAME: &str = "who_may_not_write_there_reads_what_was_left_in_order";
    if std::fs::metadata("/proc/self").expect("self").uid() != 0 {
        return println!("skipped: {NAME}: only root can ask as somebody else");
    }
    let dir = tempfile::tempdir().expect("temp");
    let (out, _) = analysed(dir.path(), &[]);
    let config = write(dir.path(), "slips.yaml", format!("output:\n  directory: {out}\n"));
    drop(slips_store::Answers::open(format!("{out}/services.sqlite")).expect("answers"));
    let open = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("mode");
    };
    open(dir.path(), 0o755);
    open(Path::new(&out), 0o755);
    open(&config, 0o644);
    for entry in std::fs::read_dir(&out).expect("dir").flatten() {
        assert!(!entry.file_name().to_string_lossy().ends_with("-shm"), "{entry:?}");
        open(&entry.path(), 0o644);
    }
    let config = config.to_str().expect("utf-8");
    for args in [&["flows", "-n", "200"][..], &["profile", ATTACKER]] {
        let mut asked = Command::new(env!("CARGO_BIN_EXE_slips"));
        asked.args(args).args(["-c", config, "--json"]).uid(65_534).gid(65_534);
        match asked.output() {
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                return println!("skipped: {NAME}: nobody but root may run the program here");
            }
            told => {
                let told = told.expect("started");
                assert_eq!(String::from_utf8_lossy(&told.stderr), "", "{args:?}");
                assert!(told.status.success() && told.stdout.len() > 2, "{args:?}");
            }
        }
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let dir = tempfile::tempdir().expect("temp");
    let out = dir.path().join("out");
    std::fs::create_dir(&out).expect("dir");
    let mut sink = Box::new(sink(&out));
    // More than a pipe holds.
    put(&mut sink, 0..20_000);
    sink.close().expect("close");
    let out = out.to_str().expect("utf-8");
    for args in [
        &["export", "flows", "--dir", out, "--format", "tsv"][..],
        &["flows", "-o", out, "-n", "20000", "--json"],
        &["flows", "-o", out, "-n", "20000"],
    ] {
        let command = Command::new(env!("CARGO_BIN_EXE_slips"))
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = command.expect("started");
        drop(child.stdout.take());
        let done = child.wait_with_output().expect("ended");
        assert_eq!((done.status.code(), done.stderr), (Some(0), Vec::new()), "{args:?}");
    }
}

#[expect(clippy::expect_used, reason = "a helper of tests")]
fn sink(dir: &Path) -> Sqlite {
    Sqlite::open(dir.join("flows.sqlite"), SqliteLimits::default(), || 0).expect("database")
}

#[expect(clippy::expect_used, reason = "a helper of tests")]
fn put(sink: &mut Sqlite, numbers: std::ops::Range<i64>) {
    let flow = |n: i64| {
        let end = |last: i64, port| Endpoint { addr: std::net::IpAddr::from([192, 0, 2, last as u8]), port };
        let at = PacketTime(1_700_000_000_000_000) + Span(n * 1_000);
        Event::Flow(Flow {
            uid: format!("C{n}").as_str().into(),
            ..Flow::new(at, Proto::Udp, end(n % 7, 1), end(99, 53))
        })
    };
    sink.accept(&[Record::Events(Arc::new(numbers.map(flow).collect()))]).expect("accept");
    sink.flush().expect("flush");
}

#[test]
fn an_export_has_each_row_once_while_others_are_written() {
    let dir = tempfile::tempdir().expect("temp");
    let mut sink = sink(dir.path());
    put(&mut sink, 0..10_000);
    let end = AtomicBool::new(false);
    let (first, of_one) = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut next = 10_000;
            while !end.load(Ordering::Relaxed) {
                put(&mut sink, next..next + 100);
                next += 100;
            }
        });
        let export = |more: &[&str]| {
            let dir = dir.path().to_str().expect("utf-8");
            text(&slips([&["export", "flows", "--dir", dir, "--format", "tsv"], more].concat()))
        };
        let exported = (export(&[]), export(&["--profile", "192.0.2.3"]));
        end.store(true, Ordering::Relaxed);
        writer.join().expect("writer");
        exported
    });
    let numbers = |table: &str| -> Vec<i64> {
        let uids = table.lines().skip(1).filter_map(|line| line.split('\t').next());
        uids.map(|uid| uid.trim_start_matches('C').parse().expect("a number")).collect()
    };
    let all = numbers(&first);
    assert!(all.len() >= 10_000, "{}", all.len());
    assert_eq!(all, (0..all.len() as i64).collect::<Vec<_>>());
    let some = numbers(&of_one);
    assert!(some.len() >= 1_428, "{}", some.len());
    assert_eq!(some, (0..some.len() as i64).map(|n| 3 + 7 * n).collect::<Vec<_>>());
}

#[test]
fn the_story_of_a_host_is_told_in_lines() {
    let dir = tempfile::tempdir().expect("temp");
    let (out, _) = analysed(dir.path(), &[]);
    let story = text(&slips(["timeline", ATTACKER, "-o", &out]));
    assert!(story.starts_with("2023-11-14 22:13:21  1/tcp to 192.168.1.2, refused"), "{story}");
    assert!(story.contains(" further connections, ports 2, 3"), "{story}");
    assert!(story.contains("→ VERTICAL_PORT_SCAN (critical)"), "{story}");
    assert!(story.contains("alert: one critical evidence made it an attacker"), "{story}");
    let lines = json(&slips(["timeline", ATTACKER, "-o", &out, "--json", "--since", "2023-11-14"]));
    let of = |what: &str, key: &str| -> u64 {
        let lines = lines.as_array().into_iter().flatten().filter(|line| line["what"] == what);
        lines.filter_map(|line| line[key].as_u64()).sum()
    };
    assert_eq!(of("connections", "connections"), 120, "{lines}");
    let window = (START as i64 / 3600).to_string();
    assert_eq!(text(&slips(["timeline", ATTACKER, "-o", &out, "--window", &window])), story);
    let other = text(&slips(["timeline", ATTACKER, "-o", &out, "--window", "1"]));
    assert_eq!(other, "nothing is known of that time\n");
    assert_eq!(slips(["timeline", "192.0.2.99", "-o", &out]).status.code(), Some(65));
    assert_eq!(text(&slips(["timeline", ATTACKER, "-o", &out, "-n", "1"])).lines().count(), 1);
}
