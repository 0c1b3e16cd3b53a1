//! flows.sqlite as a run leaves it: each record of a protocol is a row of its own.
#![expect(clippy::expect_used, reason = "helpers of tests")]

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use common::{corpora, slips};
use rusqlite::Connection;
use serde_json::Value;

/// The rows of each log that `slips sensor` makes of a capture.
fn logs(capture: &Path, out: &Path) -> BTreeMap<String, Vec<Value>> {
    let run = slips(["sensor", &capture.display().to_string(), "-o", &out.display().to_string()]);
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let mut logs = BTreeMap::new();
    for entry in std::fs::read_dir(out).expect("logs").flatten() {
        let path = entry.path();
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        if path.extension().is_some_and(|end| end == "log") && name != "conn" {
            let text = std::fs::read_to_string(&path).expect("a log");
            let rows = text.lines().map(|line| serde_json::from_str(line).expect("JSON lines")).collect();
            logs.insert(name, rows);
        }
    }
    logs
}

/// What `sql` gives, as text.
fn rows(db: &Connection, sql: &str) -> Vec<String> {
    let mut select = db.prepare(sql).expect(sql);
    select.query_map([], |row| row.get(0)).expect(sql).collect::<Result<_, _>>().expect(sql)
}

#[test]
fn each_record_of_a_capture_is_a_row_and_several_requests_of_one_connection_are_several() {
    let Some(corpora) = corpora("each_record_of_a_capture_is_a_row") else { return };
    for (name, requests, connections) in
        [("http__version-mismatch", 2, 1), ("tunnels__ayiya3", 3, 1), ("http__missing-zlib-header", 2, 1)]
    {
        let capture = corpora.join("zeek").join(name).join("capture.pcap");
        let dir = tempfile::tempdir().expect("temp");
        let out = dir.path().join("out");
        let run = slips(["analyze", &capture.display().to_string(), "-o", &out.display().to_string()]);
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        let db = Connection::open(out.join("flows.sqlite")).expect("a database");
        let logs = logs(&capture, &dir.path().join("logs"));
        let counted = rows(&db, "SELECT kind || ' ' || count(*) FROM records GROUP BY kind ORDER BY kind");
        let expected: Vec<String> =
            logs.iter().map(|(kind, rows)| format!("{kind} {}", rows.len())).collect();
        assert_eq!(counted, expected, "{name}");
        let count = |what: &str| rows(&db, &format!("SELECT cast(count({what}) AS TEXT) FROM http"));
        assert_eq!(count("*"), [requests.to_string()], "{name}");
        assert_eq!(count("DISTINCT uid"), [connections.to_string()], "{name}");
        // By the view, with the names of Zeek's log.
        let asked = rows(
            &db,
            "SELECT coalesce(method, '') || ' ' || coalesce(uri, '') || ' ' || coalesce(status_code, 0) FROM http ORDER BY id",
        );
        let text = |row: &Value, field: &str| row[field].as_str().unwrap_or_default().to_owned();
        let told = logs["http"].iter().map(|row| {
            format!(
                "{} {} {}",
                text(row, "method"),
                text(row, "uri"),
                row["status_code"].as_u64().unwrap_or(0)
            )
        });
        assert_eq!(asked, told.collect::<Vec<_>>(), "{name}");
        // Each is the record of a flow that is there.
        assert_eq!(
            rows(&db, "SELECT uid FROM http WHERE uid NOT IN (SELECT uid FROM flows)"),
            [""; 0],
            "{name}"
        );
    }
}
