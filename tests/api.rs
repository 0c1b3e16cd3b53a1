//! The control API of a running daemon, as programs ask it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test has no other way to fail")]

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use common::daemon::Daemon;

/// Within this time everything has happened that is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

struct Api(PathBuf);

impl Api {
    fn of(dir: &Path) -> Self {
        Self(dir.join("control.sock"))
    }

    /// Asks; what comes back is read as one likes.
    fn ask(&self, method: &str, path: &str, body: &str) -> BufReader<UnixStream> {
        let mut stream = UnixStream::connect(&self.0).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let length = body.len();
        let head = format!("{method} {path} HTTP/1.0\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{body}");
        stream.write_all(head.as_bytes()).expect("sent");
        BufReader::new(stream)
    }

    /// The status and the JSON of an answer.
    fn answer(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let mut text = String::new();
        self.ask(method, path, body).read_to_string(&mut text).expect("an answer");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        (status, serde_json::from_str(body).unwrap_or_else(|error| panic!("{path}: {error}: {body}")))
    }

    fn get(&self, path: &str) -> Value {
        let (status, answer) = self.answer("GET", path, "");
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    /// What is at this path once it is what is waited for.
    fn once(&self, path: &str, is: impl Fn(&Value) -> bool) -> Value {
        let until = now() + PATIENCE.as_secs_f64();
        loop {
            let answer = self.get(path);
            if is(&answer) {
                return answer;
            }
            assert!(now() < until, "{path}: {answer}");
            std::thread::park_timeout(Duration::from_millis(100));
        }
    }
}

/// Seconds since the Unix epoch: the flows of a daemon are of today.
#[expect(clippy::disallowed_methods, reason = "a test has no other clock")]
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs_f64()
}

#[test]
fn what_a_daemon_saw_is_answered_and_told_as_it_happens() {
    let dir = tempfile::tempdir().expect("dir");
    let logs = dir.path().join("zeek");
    std::fs::create_dir(&logs).expect("a directory");
    let daemon = Daemon::start(dir.path(), &["--zeek-dir", logs.to_str().expect("text")]);
    let api = Api::of(dir.path());
    let status = api.get("/v1/status");
    assert_eq!((&status["mode"], &status["healthy"]), (&"monitor".into(), &true.into()), "{status}");
    let mut events = api.ask("GET", "/v1/events?topics=alert,flow,block", "");
    let mut line = String::new();
    while line.trim_end() != "retry: 2000" {
        line.clear();
        assert!(events.read_line(&mut line).expect("a line") > 0);
    }
    let began = now();
    let scan: String = (1..=1500u16)
        .map(|port| {
            let at = began + f64::from(port) / 1000.0;
            common::conn(at, "203.0.113.77", 40_000, "192.168.1.5", port, "REJ") + "\n"
        })
        .collect();
    common::write(&logs, "conn.log", scan);
    let (mut flows, mut alert, mut block) = (0, Value::Null, Value::Null);
    let mut topic = String::new();
    while alert.is_null() || block.is_null() || flows < 1500 {
        line.clear();
        assert!(events.read_line(&mut line).expect("a line") > 0, "the stream ended");
        match line.trim_end().split_once(": ") {
            Some(("event", name)) => name.clone_into(&mut topic),
            Some(("data", data)) => {
                let data: Value = serde_json::from_str(data).expect("JSON");
                match topic.as_str() {
                    "alert" => alert = data,
                    "block" => block = data,
                    "flow" => flows += 1,
                    other => panic!("{other}: {data}"),
                }
            }
            _ => {}
        }
    }
    drop(events);
    assert_eq!((&alert["attacker"], &block["net"]), (&"203.0.113.77".into(), &"203.0.113.77".into()));
    assert_eq!((&block["alert"], &block["enforced"]), (&alert["id"], &false.into()), "{block}");

    let stored =
        api.once("/v1/alerts", |alerts| alerts["rows"].as_array().is_some_and(|rows| !rows.is_empty()));
    let id = alert["id"].as_str().expect("an identity");
    assert!(stored["rows"].as_array().expect("rows").iter().any(|row| row["id"] == id), "{stored}");
    let story = api.get(&format!("/v1/alerts/{}", &id[..8]));
    assert_eq!(story["evidence"][0]["kind"], "VERTICAL_PORT_SCAN", "{story}");
    let named = story["evidence_named"].as_u64().expect("a number");
    let (mut told, mut after) = (0, String::new());
    loop {
        let page = api.get(&format!("/v1/alerts/{id}?limit=1{after}"));
        told += page["evidence"].as_array().expect("evidence").len() as u64;
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(told, named);
    let of_alert = api.get(&format!("/v1/evidence?alert={}&kind=vertical_port_scan", &id[..8]));
    assert_eq!(of_alert["rows"][0]["victim"], "192.168.1.5", "{of_alert}");
    assert_eq!(api.get("/v1/whitelist/check/192.0.2.1")["matches"], Value::Array(Vec::new()));
    assert_eq!(api.get("/v1/openapi.json")["openapi"], "3.1.0");
    // All pages together are all flows, each once.
    api.once("/v1/statistics", |all| all["kept"]["flows"] == 1500);
    let (mut uids, mut after) = (Vec::new(), String::new());
    loop {
        let page = api.get(&format!("/v1/flows?profile=203.0.113.77&limit=400{after}"));
        uids.extend(page["rows"].as_array().expect("rows").iter().map(|row| row["dst_port"].to_string()));
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    uids.sort();
    uids.dedup();
    assert_eq!(uids.len(), 1500);
    assert_eq!(api.get("/v1/profiles/203.0.113.77")["alerts"][0], id);
    assert_eq!(api.get("/v1/profiles/203.0.113.77/windows")["rows"][0]["alerts"], 1);
    assert_eq!(api.get("/v1/evidence?kind=VERTICAL_PORT_SCAN")["rows"][0]["victim"], "192.168.1.5");

    // The command line asks the same.
    let slips = |args: &[&str]| {
        let output =
            Command::new(env!("CARGO_BIN_EXE_slips")).args(args).arg("--control").arg(&api.0).output();
        let output = output.expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    assert!(slips(&["status"]).contains("1500 flows"));
    let told: Value = serde_json::from_str(&slips(&["status", "--json"])).expect("JSON");
    assert_eq!((&told["daemon"]["flows"], &told["blocking"]), (&1500.into(), &"watches only".into()));
    assert_eq!(daemon.stop(), Some(0));
    assert!(!api.0.exists(), "the socket that it made is taken away");
}

#[test]
fn errors_have_one_form_whatever_is_asked() {
    let dir = tempfile::tempdir().expect("dir");
    let _daemon = Daemon::start(dir.path(), &[]);
    let api = Api::of(dir.path());
    let long = "x".repeat(100_000);
    for (method, path, body, status, code) in [
        ("GET", "/v1/nothing", "", 404, "not_found"),
        ("PUT", "/v1/status", "", 405, "method_not_allowed"),
        ("GET", "/v1/flows?limit=1001", "", 400, "bad_request"),
        ("GET", "/v1/flows?since=yesterday", "", 400, "bad_request"),
        ("GET", "/v1/flows?colour=red", "", 400, "bad_request"),
        ("GET", "/v1/profiles/nobody", "", 400, "bad_request"),
        ("GET", "/v1/profiles/192.0.2.1", "", 404, "not_found"),
        ("GET", "/v1/alerts/0123", "", 404, "not_found"),
        ("GET", "/v1/alerts/0123?limit=0", "", 400, "bad_request"),
        ("GET", "/v1/alerts/0123?limit=101", "", 400, "bad_request"),
        ("GET", "/v1/evidence?kind=GOSSIP", "", 400, "bad_request"),
        ("GET", "/v1/evidence?alert=0123", "", 404, "not_found"),
        ("GET", "/v1/evidence?alert=gossip", "", 400, "bad_request"),
        ("GET", "/v1/alerts/%00%ff", "", 400, "bad_request"),
        ("GET", "/v1/events?topics=gossip", "", 400, "bad_request"),
        ("POST", "/v1/blocks", "{", 400, "bad_request"),
        ("POST", "/v1/blocks", "{\"net\": \"192.0.2.0/33\"}", 400, "bad_request"),
        ("POST", "/v1/blocks", "{\"net\": \"192.0.2.1\", \"seconds\": 0}", 400, "bad_request"),
        ("POST", "/v1/blocks", "{\"net\": \"192.0.2.1\"}", 409, "refused"),
        ("POST", "/v1/blocks", &long, 413, "too_large"),
        ("DELETE", "/v1/blocks/192.0.2.0/24", "", 409, "refused"),
    ] {
        let (got, answer) = api.answer(method, path, body);
        assert_eq!((got, &answer["error"]["code"]), (status, &code.into()), "{method} {path}: {answer}");
        assert!(answer["error"]["message"].as_str().is_some_and(|message| !message.is_empty()), "{answer}");
    }
    // What is no request of HTTP has no answer of ours: a status, and no body.
    let long = format!("GET /v1/status HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "x".repeat(20_000));
    let many = format!("GET /v1/status HTTP/1.1\r\nhost: x\r\n{}\r\n", "x: y\r\n".repeat(70));
    let path = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "x".repeat(20_000));
    for (asked, status) in [("hello\r\n\r\n", 400), (&long, 431), (&many, 431), (&path, 431)] {
        let mut stream = UnixStream::connect(&api.0).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        // It may have heard enough before all is said.
        let _ = stream.write_all(asked.as_bytes());
        let mut text = Vec::new();
        let _ = stream.read_to_end(&mut text);
        let text = String::from_utf8_lossy(&text);
        assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{text}");
        assert!(text.ends_with("\r\n\r\n"), "{text}");
    }
}

#[test]
fn a_thousand_clients_that_stall_harm_nobody() {
    let dir = tempfile::tempdir().expect("dir");
    let _daemon = Daemon::start(dir.path(), &[]);
    let api = Api::of(dir.path());
    let halves: [&[u8]; 4] = [
        b"",
        b"GET /v1/status HTTP/1.1\r\nhost: x\r\n",
        b"POST /v1/blocks HTTP/1.1\r\nhost: x\r\ncontent-length: 999\r\n\r\n{",
        b"GET /v1/detections HTTP/1.1\r\nhost: x\r\n\r\n",
    ];
    let mut stalled = Vec::new();
    for n in 0..1000 {
        let client = UnixStream::connect(&api.0).expect("it accepts");
        // One that was sent away cannot be told anything more.
        let _ = (&client).write_all(halves[n % halves.len()]);
        stalled.push(client);
        if n % 100 == 99 {
            let status = api.get("/v1/status");
            let connected = status["clients"]["connected"].as_u64().expect("a number");
            assert!((1..=64).contains(&connected), "{status}");
        }
    }
    // Those who follow and do not read are clients, too.
    for _ in 0..40 {
        let mut client = UnixStream::connect(&api.0).expect("it accepts");
        let _ = client.write_all(b"GET /v1/events?topics=flow HTTP/1.1\r\nhost: x\r\n\r\n");
        stalled.push(client);
    }
    assert_eq!(api.get("/v1/status")["healthy"], true);
    drop(stalled);
    api.once("/v1/status", |status| status["clients"]["connected"] == 1);
}
