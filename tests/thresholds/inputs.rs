//! What the inputs of the table are made of.

use std::net::Ipv4Addr;

use serde_json::{Value, json};

use super::Input;
use super::common::pcap::{Pcap, mac};

pub const BEGIN: f64 = 1_700_000_000.0;
pub const CLIENT: &str = "192.168.1.5";
pub const SERVER: &str = "203.0.113.9";

/// Which networks are ours, for all inputs.
pub fn ours() -> String {
    "parameters:\n  client_ips: [192.168.0.0/16, 10.0.0.0/8]\n".to_owned()
}

pub fn with(mut row: Value, more: Value) -> Value {
    if let (Some(row), Value::Object(more)) = (row.as_object_mut(), more) {
        row.extend(more);
    }
    row
}

pub fn row(second: f64, src: &str, dst: &str, port: u16, more: Value) -> Value {
    let row = json!({
        "ts": BEGIN + second, "uid": format!("C{second}x{src}x{dst}x{port}"), "id.orig_h": src,
        "id.orig_p": 20_000 + second as u32 % 40_000, "id.resp_h": dst, "id.resp_p": port,
    });
    with(row, more)
}

/// A connection with so many bytes of both sides, in this state.
pub fn conn(second: f64, src: &str, dst: &str, port: u16, (state, orig, resp): (&str, u64, u64)) -> Value {
    let answers = u32::from(state != "S0");
    let history = match state {
        "S0" => "S",
        "REJ" => "Sr",
        _ => "ShADadFf",
    };
    let more = json!({
        "proto": "tcp", "duration": 0.5, "orig_bytes": orig, "resp_bytes": resp, "conn_state": state, "history": history,
        "orig_pkts": if state == "SF" { 9 } else { 1 }, "orig_ip_bytes": orig + 60, "resp_pkts": answers * 9,
        "resp_ip_bytes": resp + u64::from(answers) * 40,
    });
    row(second, src, dst, port, more)
}

/// The state of a connection that failed, or of one that did not.
pub const fn failed(guilty: bool) -> (&'static str, u64, u64) {
    if guilty { ("S0", 0, 0) } else { ("SF", 900, 900) }
}

pub fn logs(name: &'static str, rows: impl IntoIterator<Item = Value>) -> Input {
    Input::Logs(vec![(name, rows.into_iter().collect())])
}

pub fn times(n: u32) -> impl Iterator<Item = f64> {
    (0..n).map(f64::from)
}

/// Packets of ICMP from one host to twenty others, or to one.
pub fn pings(guilty: bool, kind: u16) -> Input {
    logs(
        "conn",
        (0..20u16).map(move |n| {
            let dst = format!("192.168.1.{}", if guilty { n + 50 } else { 50 });
            let more = json!({
                "id.orig_p": kind, "proto": "icmp", "conn_state": "OTH", "orig_pkts": 1, "orig_ip_bytes": 60,
                "resp_pkts": 0, "resp_ip_bytes": 0,
            });
            row(f64::from(n), SERVER, &dst, 0, more)
        }),
    )
}

/// Attempts from four thousand addresses at one host in eight seconds, or in 800.
pub fn flood(guilty: bool, proto: &'static str) -> Input {
    let pace = if guilty { 8.0 } else { 800.0 } / 4000.0;
    logs(
        "conn",
        (0..4000u32).map(move |n| {
            let src = format!("198.51.{}.{}", n / 250, n % 250 + 1);
            let port = if proto == "icmp" { 0 } else { 80 };
            let attempt = conn(f64::from(n) * pace, &src, CLIENT, port, ("S0", 0, 0));
            let icmp = if proto == "icmp" {
                json!({"id.orig_p": 8, "conn_state": "OTH", "history": "", "proto": "icmp"})
            } else {
                json!({"proto": proto, "id.orig_p": 40_000, "history": if proto == "udp" { "D" } else { "S" }})
            };
            with(attempt, icmp)
        }),
    )
}

pub fn http(second: f64, dst: &str, more: Value) -> Value {
    let usual = json!({
        "trans_depth": 1, "method": "GET", "host": "example.org", "uri": "/", "version": "1.1",
        "user_agent": "Mozilla/5.0 (X11; Linux x86_64) Firefox/130.0", "request_body_len": 0, "response_body_len": 10,
        "status_code": 200, "status_msg": "OK",
    });
    row(second, CLIENT, dst, 80, with(usual, more))
}

/// `n` requests over HTTP that differ from ordinary ones by this.
pub fn requests(n: u32, more: Value) -> Input {
    logs("http", times(n).map(move |second| http(second, SERVER, more.clone())))
}

pub fn tls(more: Value) -> Input {
    let usual = json!({
        "version": "TLSv12", "cipher": "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "resumed": false, "established": true,
        "ssl_history": "CsxknGIi", "issuer": "CN=R3,O=Let's Encrypt,C=US", "server_name": "www.example.org",
        "subject": "CN=www.example.org",
    });
    logs(
        "ssl",
        times(3).map(move |second| row(second, CLIENT, SERVER, 443, with(usual.clone(), more.clone()))),
    )
}

pub fn dns(second: f64, name: &str, qtype: u16, rcode: u16, answers: &[&str]) -> Value {
    let ttls: Vec<f64> = answers.iter().map(|_| 60.0).collect();
    let more = json!({
        "proto": "udp", "trans_id": 7, "query": name, "qclass": 1, "qtype": qtype, "rcode": rcode, "AA": false,
        "TC": false, "RD": true, "RA": true, "Z": 0, "answers": answers, "TTLs": ttls, "rejected": false,
    });
    row(second, CLIENT, "192.168.1.1", 53, more)
}

pub fn hash(n: u32) -> u64 {
    u64::from(n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

pub fn smtp(guilty: bool) -> Input {
    let reply = if guilty { "535 5.7.8 Error: authentication failed" } else { "250 2.0.0 Ok: queued" };
    logs(
        "smtp",
        times(6).map(move |n| {
            row(n, CLIENT, SERVER, 25, json!({"helo": "me", "last_reply": reply, "tls": false}))
        }),
    )
}

pub fn arp(second: f64, op: &str, src: u8, dst_mac: &str, target: &str) -> Value {
    let from = format!("02:00:00:00:00:{src:02x}");
    json!({
        "ts": BEGIN + second, "operation": op, "src_mac": from, "dst_mac": dst_mac,
        "orig_h": format!("192.168.1.{src}"), "resp_h": target, "orig_hw": from, "resp_hw": dst_mac,
    })
}

pub const ALL: &str = "ff:ff:ff:ff:ff:ff";
pub const NOBODY: &str = "00:00:00:00:00:00";

pub fn host(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 1, last)
}

/// Three connections to port 80 in which a secret is sent, or none.
pub fn leak(guilty: bool, secret: &str) -> Input {
    let mut pcap = Pcap::new();
    let body = if guilty { secret } else { "colour=red" };
    let ask =
        format!("POST / HTTP/1.1\r\nHost: www.example.org\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let server = (Ipv4Addr::new(203, 0, 113, 9), 80, mac(1));
    for n in 0..3u16 {
        let client = (host(5), 40_000 + n, mac(5));
        pcap.talk(u64::from(n) * 1000, client, server, &[ask.as_bytes()], b"HTTP/1.1 204 No Content\r\n\r\n");
    }
    Input::Capture(pcap)
}

/// One of two parts of the corpora.
pub const fn corpus(guilty: bool, told: &'static str, silent: &'static str) -> Input {
    Input::Corpus(if guilty { told } else { silent })
}

/// A host that asks for a dozen names, and calls four addresses that were in no answer.
pub fn without_name(guilty: bool) -> Input {
    let asked = (0..12).map(|n: u32| dns(n.into(), &format!("n{n}.example.org"), 1, 0, &["198.51.100.7"]));
    let net = if guilty { "203.0.113" } else { "192.168.1" };
    let known = times(12).map(|second| conn(second + 0.5, CLIENT, "198.51.100.7", 443, ("SF", 900, 900)));
    let calls = (1..5)
        .map(|n| conn(1900.0 + f64::from(n) * 100.0, CLIENT, &format!("{net}.{n}"), 443, ("SF", 900, 900)));
    Input::Logs(vec![("dns", asked.collect()), ("conn", known.chain(calls).collect())])
}

/// A host that asks for four names whose addresses it never calls.
pub fn without_use(guilty: bool) -> Input {
    let asked = (0..12).map(|n: u32| dns(n.into(), &format!("n{n}.example.org"), 1, 0, &["198.51.100.7"]));
    let unused = (0..4).map(|n: u32| {
        let answer = if guilty { format!("198.51.100.{}", 90 + n) } else { "198.51.100.7".to_owned() };
        dns(20.0 + f64::from(n), &format!("unused{n}.example.org"), 1, 0, &[&answer])
    });
    let known = times(12).map(|second| conn(second + 0.5, CLIENT, "198.51.100.7", 443, ("SF", 900, 900)));
    let later = [1900.0, 2400.0].map(|second| conn(second, CLIENT, "203.0.113.9", 443, ("SF", 900, 900)));
    Input::Logs(vec![("dns", asked.chain(unused).collect()), ("conn", known.chain(later).collect())])
}
