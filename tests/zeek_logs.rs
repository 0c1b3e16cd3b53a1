//! Zeek's logs of the corpora through the binary: every connection with all its fields, every row of every log, and what hosts are known by.

#![expect(clippy::expect_used, reason = "helpers of tests")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::Path;

use common::{analyze, corpora, evidence, files_below, slips, write};
use serde_json::Value;

/// One record, as its log has it: name of the field, value; none where it is unset or empty.
type Record = BTreeMap<String, String>;

/// The text of a log, unpacked; the tests of Zeek blank the times out.
fn text_of(path: &Path) -> String {
    let bytes = fs::read(path).expect("readable");
    let text = if bytes.starts_with(b"\x1f\x8b") {
        let out = std::process::Command::new("gzip").arg("-dc").arg(path).output().expect("gzip");
        out.stdout
    } else {
        bytes
    };
    String::from_utf8_lossy(&text).replace("XXXXXXXXXX.XXXXXX", "1.000000")
}

/// The records of a log, read in the plainest way there is.
fn records(text: &str) -> Vec<Record> {
    let mut fields: Vec<String> = Vec::new();
    let mut records = Vec::new();
    for line in text.lines() {
        if let Some(names) = line.strip_prefix("#fields\t") {
            // Some published logs part the last columns by three spaces.
            fields = names.replace("   ", "\t").split('\t').map(str::to_owned).collect();
        } else if line.starts_with('{') {
            let row: BTreeMap<String, Value> = serde_json::from_str(line).expect("JSON");
            let mut record: Record = row.into_iter().map(|(name, value)| (name, shown(&value))).collect();
            // As they are written: a float is rounded when it is read.
            for name in ["ts", "duration"] {
                let key = format!("\"{name}\":");
                let Some((_, from)) = line.split_once(&key) else { continue };
                let number = from.split([',', '}']).next().unwrap_or_default();
                if number.parse::<f64>().is_ok() {
                    record.insert(name.to_owned(), number.to_owned());
                }
            }
            records.push(record);
        } else if !line.starts_with('#') && !line.is_empty() {
            let line = line.replace("   ", "\t");
            let values = line.split('\t').map(str::to_owned);
            let set = |(_, value): &(String, String)| !matches!(value.as_str(), "-" | "(empty)");
            records.push(fields.iter().cloned().zip(values).filter(set).collect());
        }
    }
    records
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// What the database has of a flow, in its order.
const COLUMNS: [&str; 23] = [
    "uid",
    "start",
    "duration",
    "src",
    "src_port",
    "dst",
    "dst_port",
    "proto",
    "service",
    "state",
    "history",
    "orig_pkts",
    "orig_bytes",
    "orig_ip_bytes",
    "resp_pkts",
    "resp_bytes",
    "resp_ip_bytes",
    "missed_bytes",
    "src_mac",
    "dst_mac",
    "vlan",
    "truth_label",
    "truth_detailed",
];

/// What a row of conn.log should be in the database.
fn expected(record: &Record) -> Vec<String> {
    let text = |name: &str| record.get(name).cloned().unwrap_or_default();
    let number = |name: &str| record.get(name).cloned().unwrap_or_else(|| "0".to_owned());
    // What is finer than a microsecond is cut off.
    let micros = |name: &str| match record.get(name) {
        Some(secs) if secs.contains('e') => {
            ((secs.parse::<f64>().expect(name) * 1e6).trunc() as i64).to_string()
        }
        Some(secs) => {
            let (whole, fraction) = secs.split_once('.').unwrap_or((secs, ""));
            format!("{whole}{fraction:0<6.6}").parse::<i64>().expect(name).to_string()
        }
        None => String::new(),
    };
    let addr = |name: &str| match text(name).parse().expect(name) {
        IpAddr::V6(v6) => v6.to_canonical().to_string(),
        v4 => v4.to_string(),
    };
    let proto = match (text("proto").as_str(), record.get("ip_proto")) {
        ("unknown_transport", Some(number)) => number.clone(),
        (proto, _) => proto.to_owned(),
    };
    let state = record.get("conn_state").cloned().unwrap_or_else(|| "OTH".to_owned());
    vec![
        text("uid"),
        micros("ts"),
        micros("duration"),
        addr("id.orig_h"),
        number("id.orig_p"),
        addr("id.resp_h"),
        number("id.resp_p"),
        proto,
        text("service"),
        state,
        text("history"),
        number("orig_pkts"),
        number("orig_bytes"),
        number("orig_ip_bytes"),
        number("resp_pkts"),
        number("resp_bytes"),
        number("resp_ip_bytes"),
        number("missed_bytes"),
        text("orig_l2_addr"),
        text("resp_l2_addr"),
        text("vlan"),
        text("label"),
        text("detailedlabel"),
    ]
}

/// The flows in the database of an output directory.
fn flows(out: &Path) -> Vec<Vec<String>> {
    let db = rusqlite::Connection::open(out.join("flows.sqlite")).expect("a database");
    let query = format!("SELECT {} FROM flows", COLUMNS.join(", "));
    let mut query = db.prepare(&query).expect("a query");
    let cell = |row: &rusqlite::Row<'_>, at: usize| match row.get_ref(at).expect("a cell") {
        rusqlite::types::ValueRef::Null => String::new(),
        rusqlite::types::ValueRef::Integer(number) => number.to_string(),
        rusqlite::types::ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
        other => format!("{other:?}"),
    };
    let rows = query.query_map([], |row| Ok((0..COLUMNS.len()).map(|at| cell(row, at)).collect()));
    rows.expect("rows").map(|row| row.expect("a row")).collect()
}

/// Compares as sets, and shows what only one side has.
#[track_caller]
fn same(mut found: Vec<Vec<String>>, mut expected: Vec<Vec<String>>) {
    found.sort();
    expected.sort();
    assert_eq!(found.len(), expected.len(), "flows");
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found, expected, "{COLUMNS:?}");
    }
}

#[test]
fn every_field_of_every_connection_reaches_the_database() {
    let Some(corpora) = corpora("every_field_of_every_connection_reaches_the_database") else { return };
    let dir = tempfile::tempdir().expect("temp");
    let logs = dir.path().join("logs");
    fs::create_dir(&logs).expect("dir");
    let is_conn = |name: &str| name.starts_with("conn.log");
    let paths = files_below(&corpora, &is_conn);
    assert!(paths.len() > 50, "{}", paths.len());
    let mut wanted = Vec::new();
    for (number, path) in paths.iter().enumerate() {
        let text = text_of(path);
        wanted.extend(records(&text).iter().map(expected));
        write(&logs, &format!("conn.{number}.log"), text);
    }
    let out = dir.path().join("out");
    let found = analyze(&logs, &["-o", out.to_str().expect("utf-8")]);
    assert_eq!(found["flows"].as_u64(), Some(wanted.len() as u64));
    assert_eq!(found["rejected"], serde_json::json!({}));
    same(flows(&out), wanted);
}

#[test]
fn labels_reach_the_database_and_the_score() {
    let Some(corpora) = corpora("labels_reach_the_database_and_the_score") else { return };
    for input in ["slips-zeek-dirs/test18-malicious-ctu-sme-11-win/zeek-labeled", "labelled/2023-02-20"] {
        let input = corpora.join(input);
        let dir = tempfile::tempdir().expect("temp");
        let out = dir.path().join("out");
        let found = analyze(&input, &["--score", "-o", out.to_str().expect("utf-8")]);
        let is_conn = |name: &str| name.starts_with("conn.log");
        let mut wanted: BTreeMap<(String, String), u64> = BTreeMap::new();
        for record in files_below(&input, &is_conn).iter().flat_map(|path| records(&text_of(path))) {
            let label = |name: &str| record.get(name).cloned().unwrap_or_default();
            *wanted.entry((label("label"), label("detailedlabel"))).or_default() += 1;
        }
        let mut kept: BTreeMap<(String, String), u64> = BTreeMap::new();
        for flow in flows(&out) {
            *kept.entry((flow[21].clone(), flow[22].clone())).or_default() += 1;
        }
        assert_eq!(kept, wanted, "{}", input.display());
        let of = |labels: &[&str]| -> u64 {
            let said = |label: &str| labels.contains(&label.to_ascii_lowercase().as_str());
            wanted.iter().filter(|((label, _), _)| said(label)).map(|(_, count)| count).sum()
        };
        let score = &found["score"];
        let sum = |names: [&str; 2]| {
            names.iter().map(|name| score["flows"][*name].as_u64().expect(name)).sum::<u64>()
        };
        assert_eq!(sum(["malicious_alerted", "malicious_missed"]), of(&["malicious"]), "{score}");
        assert_eq!(sum(["benign_alerted", "benign_quiet"]), of(&["benign"]), "{score}");
        assert!(score["labelled_flows"].as_u64() > Some(0), "{score}");
    }
}

const KINDS: [&str; 18] = [
    "conn", "dns", "http", "ssl", "ssh", "dhcp", "ftp", "smtp", "tunnel", "notice", "files", "arp",
    "software", "weird", "quic", "kerberos", "mysql", "ldap",
];

#[test]
fn every_row_of_every_log_is_a_record() {
    let Some(corpora) = corpora("every_row_of_every_log_is_a_record") else { return };
    let dir = tempfile::tempdir().expect("temp");
    for kind in KINDS {
        let logs = dir.path().join(kind);
        fs::create_dir(&logs).expect("dir");
        let is_kind = |name: &str| name.starts_with(&format!("{kind}.log"));
        let mut rows = 0;
        for (number, path) in files_below(&corpora, &is_kind).iter().enumerate() {
            let text = text_of(path);
            rows += records(&text).len() as u64;
            write(&logs, &format!("{kind}.{number}.log"), text);
        }
        assert!(rows > 0, "{kind}");
        let found = analyze(&logs, &[]);
        // Of some logs only the rows that log somebody in are used.
        let unused = found["rejected"]["record of a kind that is not used"].as_u64().unwrap_or(0);
        assert_eq!(
            found["records"].as_u64().map(|records| records + unused),
            Some(rows),
            "{kind}: {}",
            found["rejected"]
        );
        assert!(unused == 0 || matches!(kind, "kerberos" | "mysql" | "ldap"), "{kind}: {unused}");
    }
}

/// What is known of a host after one input, as text.
fn profile(input: &Path, ip: &str) -> String {
    let dir = tempfile::tempdir().expect("temp");
    let out = dir.path().join("out");
    let out = out.to_str().expect("utf-8");
    let run = slips(["analyze", input.to_str().expect("utf-8"), "-o", out]);
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let told = slips(["profile", ip, "-o", out, "--json"]);
    String::from_utf8_lossy(&told.stdout).into_owned()
}

#[test]
fn what_logs_say_of_hosts_is_known_of_them() {
    let Some(corpora) = corpora("what_logs_say_of_hosts_is_known_of_them") else { return };
    let dir = tempfile::tempdir().expect("temp");
    for (input, ip, facts) in [
        (
            "slips-zeek-dirs/test9-mixed-zeek-dir",
            "10.0.2.15",
            // dhcp, http, ssl
            &[
                "John-PC",
                "08:00:27:7f:09:e1",
                "felk.cvut.cz",
                "Microsoft BITS/7.5",
                "6734f37431670b3ab4292b8f60f29984",
            ][..],
        ),
        // software
        (
            "slips-zeek-dirs/test15-malicious-zeek-dir/software.log",
            "192.168.1.247",
            &["OpenSSH_8.1", "OpenSSH_9.1", "SSH::CLIENT"],
        ),
        ("zeek/ssh__ssh/ssh.log", "192.168.2.158", &["OpenSSH_6.6.1p1 Ubuntu-2ubuntu2"]),
        (
            "zeek/quic__firefox-102.13.0esr-blog-cloudflare-com/quic.log",
            "250.58.23.113",
            &["blog.cloudflare.com"],
        ),
    ] {
        let path = corpora.join(input);
        let path =
            if path.is_dir() { path } else { write(dir.path(), &input.replace('/', "."), text_of(&path)) };
        let told = profile(&path, ip);
        for fact in facts {
            assert!(told.contains(fact), "{input}: {fact} is not in {told}");
        }
    }
}

#[test]
fn logins_and_calls_of_logs_are_evidence() {
    let dir = tempfile::tempdir().expect("temp");
    let ids = |n: u32, port: u16| {
        format!(
            "\"ts\":{}.0,\"uid\":\"C{n}\",\"id.orig_h\":\"192.168.1.66\",\"id.orig_p\":{},\"id.resp_h\":\"192.168.1.9\",\"id.resp_p\":{port}",
            1_700_000_000 + n,
            2000 + n
        )
    };
    for (log, port, rest, kind) in [
        (
            "mysql",
            3306,
            r#""cmd":"login","arg":"root","success":false,"response":"Access denied""#,
            "PASSWORD_GUESSING",
        ),
        (
            "kerberos",
            88,
            r#""request_type":"AS","client":"anna/X","success":false,"error_msg":"KDC_ERR_PREAUTH_FAILED""#,
            "PASSWORD_GUESSING",
        ),
        ("ntlm", 445, r#""username":"anna","domainname":"X","success":false"#, "PASSWORD_GUESSING"),
        ("rfb", 5900, r#""authentication_method":"VNC","auth":false"#, "PASSWORD_GUESSING"),
        (
            "ldap",
            389,
            r#""message_id":1,"opcode":"bind simple","result":"invalid credentials""#,
            "PASSWORD_GUESSING",
        ),
        (
            "dce_rpc",
            445,
            r#""named_pipe":"svcctl","endpoint":"svcctl","operation":"CreateServiceW""#,
            "REMOTE_EXECUTION",
        ),
    ] {
        let rows: String = (0..100).map(|n| format!("{{{},{rest}}}\n", ids(n, port))).collect();
        let found = analyze(&write(dir.path(), &format!("{log}.log"), rows), &[]);
        assert_eq!(found["records"], 100, "{log}");
        assert!(evidence(&found, kind) > 0, "{log}: {found}");
    }
}
