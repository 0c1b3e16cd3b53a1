//! Flow logs of other programs through the binary: the published files of the original field by field, all formats from a pipe, packed or
//! not, labels up to the score, and inputs that grow.

#![expect(clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod common;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::daemon::Daemon;
use common::flows::{Stored, stored};
use common::{analyze, attackers, conn, corpora, evidence, write};
use serde_json::Value;

/// A published file, and what is in it by its own tool or by counting its lines.
struct Published {
    file: &'static str,
    format: &'static str,
    records: u64,
    unused: u64,
    flows: usize,
    pkts: i64,
    ip_bytes: i64,
    /// Flows of a protocol and state.
    states: &'static [(&'static str, &'static str, usize)],
    /// One of them.
    one: One,
}

/// A flow: its ends, protocol and state, start and duration, and of both sides packets, bytes of IP and of payload.
#[derive(Debug)]
struct One {
    src: (&'static str, u16),
    dst: (&'static str, u16),
    kind: [&'static str; 2],
    start: i64,
    duration: Option<i64>,
    counters: [[i64; 2]; 3],
}

const PUBLISHED: &[Published] = &[
    Published {
        file: "test1-malicious.nfdump",
        format: "nfdump",
        // nfdump -I: 4593 flows (each a direction), 4652 packets, 241025 bytes.
        records: 4593,
        unused: 0,
        flows: 2398,
        pkts: 4652,
        ip_bytes: 241_025,
        states: &[("tcp", "REJ", 2184), ("tcp", "S0", 121), ("tcp", "OTH", 82), ("udp", "SF", 8)],
        one: One {
            src: ("147.32.83.209", 44948),
            dst: ("147.32.82.62", 22),
            kind: ["tcp", "OTH"],
            start: 1_515_771_450_940_000,
            duration: Some(20_000),
            counters: [[3, 3], [156, 580], [0, 424]],
        },
    },
    Published {
        file: "test2-malicious.binetflow",
        format: "argus",
        records: 6751,
        unused: 0,
        flows: 6751,
        pkts: 491_156,
        ip_bytes: 342_098_671,
        states: &[("udp", "SF", 2742), ("tcp", "SF", 2560), ("tcp", "RSTO", 907), ("icmp", "OTH", 65)],
        one: One {
            src: ("10.8.0.69", 48427),
            dst: ("8.8.8.8", 53),
            kind: ["udp", "SF"],
            start: 1_554_394_980_325_010,
            duration: Some(27_947),
            counters: [[1, 1], [49, 65], [21, 37]],
        },
    },
    Published {
        file: "test5-mixed.binetflow",
        format: "argus",
        records: 296,
        // Two of ARP, one of the link layer, one of Argus itself.
        unused: 4,
        flows: 296,
        pkts: 29_639,
        ip_bytes: 2_410_061,
        states: &[("udp", "SF", 201), ("tcp", "SF", 76), ("udp", "S0", 10), ("tcp", "RSTO", 4)],
        one: One {
            src: ("0.0.0.0", 68),
            dst: ("255.255.255.255", 67),
            kind: ["udp", "S0"],
            start: 3_608_140_073,
            duration: None,
            counters: [[1, 0], [330, 0], [302, 0]],
        },
    },
    Published {
        file: "test11-portscan.binetflow",
        format: "argus",
        records: 66,
        unused: 0,
        flows: 66,
        pkts: 712,
        ip_bytes: 171_936,
        states: &[("icmp", "OTH", 46), ("tcp", "S0", 20)],
        one: One {
            src: ("10.8.0.69", 56101),
            dst: ("14.1.11.113", 999),
            kind: ["tcp", "S0"],
            start: 1_554_395_087_672_448,
            duration: Some(63_822_830),
            counters: [[15, 16], [1677, 6653], [897, 5821]],
        },
    },
    Published {
        file: "test6-malicious.suricata.json",
        format: "suricata",
        // 3512 flows, 745 alerts, 680 of DNS, 56 of HTTP, 3 files, 1 of TLS; 3 anomalies are not used. The bytes are those of the frames less 14
        // for each packet.
        records: 4997,
        unused: 3,
        flows: 3512,
        pkts: 39_171,
        ip_bytes: 5_030_629 - 14 * 39_171,
        states: &[("tcp", "REJ", 1939), ("udp", "S0", 977), ("tcp", "S2", 330), ("udp", "SF", 199)],
        one: One {
            src: ("216.245.221.83", 39304),
            dst: ("192.168.1.129", 80),
            kind: ["tcp", "S2"],
            start: 1_622_987_859_105_835,
            duration: Some(94_150_819),
            counters: [[18, 12], [952, 720], [0, 0]],
        },
    },
];

fn check(published: &Published, found: &Value, flows: &[Stored]) {
    let Published { file, .. } = published;
    assert_eq!(found["records"].as_u64(), Some(published.records), "{file}");
    let rejected: u64 =
        found["rejected"].as_object().expect("rejected").values().filter_map(Value::as_u64).sum();
    assert_eq!(rejected, published.unused, "{file}: {}", found["rejected"]);
    assert_eq!(flows.len(), published.flows, "{file}");
    let pkts: i64 = flows.iter().flat_map(|flow| flow.pkts).sum();
    let bytes: i64 = flows.iter().flat_map(|flow| flow.ip_bytes).sum();
    assert_eq!((pkts, bytes), (published.pkts, published.ip_bytes), "{file}");
    for (proto, state, count) in published.states {
        let there = flows.iter().filter(|flow| flow.proto == *proto && flow.state == *state).count();
        assert_eq!(there, *count, "{file}: {proto} {state}");
    }
    let one = &published.one;
    let is_one = |flow: &&Stored| {
        ((flow.src.as_str(), flow.src_port), (flow.dst.as_str(), flow.dst_port), flow.start)
            == (one.src, one.dst, one.start)
    };
    let flow = flows.iter().find(is_one).unwrap_or_else(|| panic!("{file}: {one:?}"));
    assert_eq!([flow.proto.as_str(), flow.state.as_str()], one.kind, "{file}");
    assert_eq!(
        (flow.duration, [flow.pkts, flow.ip_bytes, flow.bytes]),
        (one.duration, one.counters),
        "{file}"
    );
}

#[test]
fn the_published_flow_logs_are_read_field_by_field() {
    let Some(corpora) = corpora("the_published_flow_logs_are_read_field_by_field") else { return };
    for published in PUBLISHED {
        let dir = tempfile::tempdir().expect("temp");
        let out = dir.path().join("out");
        let path = corpora.join("slips-flows").join(published.file);
        let found = analyze(&path, &["-o", out.to_str().expect("utf-8"), "--format", published.format]);
        check(published, &found, &stored(&out));
    }
}

/// The binary with these bytes at its standard input, which come in pieces.
fn piped(bytes: &[u8], more: &[&str]) -> (Option<i32>, String, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_slips"))
        .args([&["analyze", "-", "--json"], more].concat())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let mut pipe = child.stdin.take().expect("a pipe");
    let bytes = bytes.to_vec();
    let writer = std::thread::spawn(move || {
        // Whoever refuses a format does not read to the end.
        let _ = bytes.chunks(10_007).try_for_each(|part| pipe.write_all(part));
    });
    let out = child.wait_with_output().expect("it ends");
    writer.join().expect("written");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (out.status.code(), text(out.stdout), text(out.stderr))
}

/// Packed by gzip, and by bzip2.
fn packed(bytes: &[u8]) -> [Vec<u8>; 2] {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(bytes).expect("packed");
    let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    bzip2.write_all(bytes).expect("packed");
    [gzip.finish().expect("packed"), bzip2.finish().expect("packed")]
}

#[test]
fn every_format_comes_through_a_pipe_packed_or_not() {
    let Some(corpora) = corpora("every_format_comes_through_a_pipe_packed_or_not") else { return };
    let inputs = [
        ("slips-flows/test1-malicious.nfdump", "nfdump"),
        ("slips-flows/test11-portscan.binetflow", "argus"),
        ("slips-flows/test6-malicious.suricata.json", "suricata"),
        ("slips-zeek-dirs/port-scans/horizontal/conn.log", "zeek"),
        ("zeek/http__methods/capture.pcap", "pcap"),
    ];
    for (file, format) in inputs {
        let path = corpora.join(file);
        let bytes = std::fs::read(&path).expect("readable");
        let expected = analyze(&path, &[]);
        for bytes in packed(&bytes).into_iter().chain([bytes.clone()]) {
            let (code, told, complaint) = piped(&bytes, &["--format", format]);
            assert_eq!(code, Some(0), "{file}: {complaint}");
            let found: Value = serde_json::from_str(&told).expect("JSON");
            for part in ["flows", "records", "rejected", "evidence"] {
                assert_eq!(found[part], expected[part], "{file}: {part}");
            }
        }
        let (_, other) = inputs.into_iter().find(|(_, other)| *other != format).expect("another");
        let (code, _, complaint) = piped(&bytes, &["--format", other]);
        assert_eq!(code, Some(65), "{file}: {complaint}");
    }
    let (code, _, complaint) = piped(b"", &["--format", "suricata"]);
    assert_eq!(code, Some(65), "{complaint}");
}

#[test]
fn labels_go_with_the_flows_to_the_database_and_to_the_score() {
    let Some(corpora) = corpora("labels_go_with_the_flows_to_the_database_and_to_the_score") else { return };
    let dir = tempfile::tempdir().expect("temp");
    let out = dir.path().join("out");
    let list = corpora.join("slips-flows/test5-mixed.binetflow");
    let found = analyze(&list, &["-o", out.to_str().expect("utf-8"), "--score"]);
    let flows = stored(&out);
    let labelled = |label: &str| flows.iter().filter(|flow| flow.truth == label).count();
    assert_eq!((labelled("Malicious"), labelled("Background"), labelled("Unknown")), (277, 18, 1));
    assert_eq!(flows.iter().filter(|flow| flow.detailed == "Malware-UDP-DNS").count(), 197);
    assert_eq!(found["score"]["labelled_flows"], 277, "{}", found["score"]);
    assert_eq!(found["score"]["unlabelled_flows"], 19, "{}", found["score"]);
    let out = dir.path().join("zeek");
    let labelled = corpora.join("labelled/2023-02-20/conn.log.labeled.gz");
    let found = analyze(&labelled, &["-o", out.to_str().expect("utf-8"), "--score"]);
    let with = stored(&out).iter().filter(|flow| !flow.truth.is_empty()).count() as u64;
    let told = &found["score"];
    assert!(
        with > 0 && told["labelled_flows"].as_u64().is_some_and(|flows| flows > 0 && flows <= with),
        "{told}"
    );
}

fn refused(second: u32, port: u16) -> String {
    format!(
        r#"{{"timestamp":"2026-10-26T05:33:20.000000+0000","flow_id":{port},"event_type":"flow","src_ip":"203.0.113.7","src_port":40000,"dest_ip":"192.168.1.5","dest_port":{port},"proto":"TCP","flow":{{"pkts_toserver":1,"pkts_toclient":1,"bytes_toserver":74,"bytes_toclient":54,"start":"2026-10-26T05:33:{second:02}.000000+0000","end":"2026-10-26T05:33:59.000000+0000","state":"closed"}},"tcp":{{"tcp_flags":"16","tcp_flags_ts":"02","tcp_flags_tc":"14"}}}}
"#
    )
}

/// A message of CYST.
fn message(row: &str) -> String {
    format!("{:<5}{row}", row.len())
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let (end, socket) = (60 * 20, std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket"));
    // Nobody sends to it: it waits.
    socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a socket");
    for _ in 0..end {
        if done() {
            return;
        }
        let _ = socket.recv(&mut [0]);
    }
    panic!("{what} did not happen within a minute");
}

#[test]
fn suricatas_log_is_followed_over_a_rotation_and_programs_hear_of_the_alert() {
    let dir = tempfile::tempdir().expect("temp");
    let at = |name: &str| dir.path().join(name);
    let (log, socket) = (at("eve.json"), at("modules.sock"));
    // What was there before the start is not read.
    write(dir.path(), "eve.json", refused(1, 9999));
    let daemon = Daemon::start(
        dir.path(),
        &["--eve", log.to_str().expect("utf-8"), "--socket", socket.to_str().expect("utf-8")],
    );
    let mut hears = UnixStream::connect(&socket).expect("it listens");
    let mut tells = UnixStream::connect(&socket).expect("it listens");
    let append = |path: &Path, text: &str| {
        let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
        file.expect("a log").write_all(text.as_bytes()).expect("written");
    };
    // The first half of a scan, cut within a line; then the log is renamed.
    let lines: String = (1..=200).map(|port| refused(2, port)).collect();
    let (first, second) = lines.split_at(lines.len() / 2 + 33);
    append(&log, first);
    std::fs::rename(&log, at("eve.json.1")).expect("renamed");
    append(&at("eve.json.1"), second);
    append(&log, &(201..=400).map(|port| refused(3, port)).collect::<String>());
    // Programs hear of it, with who it is.
    hears.set_read_timeout(Some(Duration::from_secs(60))).expect("a socket");
    let mut length = [0; 5];
    hears.read_exact(&mut length).expect("an alert within a minute");
    let length = std::str::from_utf8(&length).expect("text").trim().parse().expect("a length");
    let mut told = vec![0; length];
    hears.read_exact(&mut told).expect("a message");
    let told: Value = serde_json::from_slice(&told).expect("JSON");
    assert_eq!(
        (told["slips_msg_type"].as_str(), told["ip_to_block"].as_str()),
        (Some("alert"), Some("203.0.113.7"))
    );
    // A program's flow, beside one that is none.
    let row = conn(1_793_000_000.0, "10.0.0.9", 7777, "10.0.0.1", 80, "SF");
    tells.write_all((message("{]") + &message(&row)).as_bytes()).expect("sent");
    // In systemd's words: both inputs and how they stand.
    let status = daemon.wait_for("1 records, 1 not used");
    assert!(status.contains("eve.json: 400 records, the newest"), "{status}");
    let out = daemon.out.clone();
    wait_until("the flow is kept", || {
        out.join("flows.sqlite").exists() && stored(&out).iter().any(|flow| flow.src_port == 7777)
    });
    assert_eq!(daemon.stop(), Some(0));
    let mut ports: Vec<u16> =
        stored(&out).iter().filter(|flow| flow.src == "203.0.113.7").map(|flow| flow.dst_port).collect();
    ports.sort_unstable();
    assert_eq!(ports, (1..=400).collect::<Vec<_>>(), "each line once");
    // What is written while nobody reads is read by the next run: the rest of the file, renamed by then, and the next.
    append(&log, &refused(4, 401));
    std::fs::rename(&log, at("eve.json.2")).expect("renamed");
    append(&log, &refused(5, 402));
    let daemon = Daemon::start(dir.path(), &["--eve", log.to_str().expect("utf-8")]);
    wait_until("the flows are kept", || stored(&out).iter().any(|flow| flow.dst_port == 402));
    assert_eq!(daemon.stop(), Some(0));
    let later = stored(&out).iter().filter(|flow| flow.dst_port == 401).count();
    assert_eq!((later, stored(&out).len()), (1, 403), "each line once");
    let alerts = std::fs::read_to_string(out.join("alerts.json")).expect("alerts.json");
    assert!(
        alerts.contains(told["alert_ID"].as_str().expect("an identity")),
        "the alert is that of the journal"
    );
    assert!(!socket.exists(), "nothing is left behind");
}

#[test]
fn a_scan_in_any_log_is_the_same_alert() {
    let dir = tempfile::tempdir().expect("temp");
    let eve: String = (1..=400).map(|port| refused(2, port)).collect();
    let rows = |separator: &str| -> String {
        let header =
            ["Dport", "State", "StartTime", "SrcAddr", "Sport", "Proto", "DstAddr", "TotPkts", "SrcPkts"]
                .join(separator);
        let row = |port: u32| {
            let (port, time) = (port.to_string(), format!("1793000002.{port:06}"));
            [&port, "S_RA", &time, "203.0.113.7", "40000", "tcp", "192.168.1.5", "2", "1"].join(separator)
                + "\n"
        };
        header + "\n" + &(1..=400).map(row).collect::<String>()
    };
    for (name, text) in [("eve.json", eve), ("commas", rows(",")), ("tabs", rows("\t"))] {
        let found = analyze(&write(dir.path(), name, text), &[]);
        assert_eq!(
            (found["flows"].as_u64(), evidence(&found, "VERTICAL_PORT_SCAN")),
            (Some(400), 1),
            "{name}: {found}"
        );
        assert_eq!(attackers(&found), ["203.0.113.7"], "{name}");
    }
}
