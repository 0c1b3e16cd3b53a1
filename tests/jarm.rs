//! JARM of servers on this machine, through the binary. What openssl's servers have was computed by pyjarm 0.0.5, which others wrote, against
//! the same servers.
#![expect(clippy::expect_used, reason = "helpers of tests")]

mod common;

use std::io::Read;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use common::server::{Server, authority};
use common::{analyze, slips, write};
use serde_json::{Value, json};
use slips_store::Answers;

/// What nobody says who speaks TLS.
const NOTHING: &str = "00000000000000000000000000000000000000000000000000000000000000";
/// The servers of these tests, which are rustls'.
const OURS: &str = "27d40d40d00040d00042d43d00041d72fdadea3cae0ac3d9c87ac8f63ec17a";

fn configured(dir: &Path, more: &str) -> String {
    std::fs::create_dir_all(dir.join("own")).expect("dir");
    let text = format!(
        "output:\n  directory: {0}/out\nthreatintelligence:\n  local_threat_intelligence_files: {0}/own\n{more}",
        dir.display()
    );
    write(dir, "slips.yaml", text).display().to_string()
}

/// What `slips intel jarm` says of a server, and its exit code.
fn asked(config: &str, server: &str) -> (Value, Option<i32>) {
    let out = slips(["intel", "-c", config, "jarm", server, "--json"]);
    let said = serde_json::from_slice(&out.stdout);
    (said.unwrap_or_else(|_| json!(String::from_utf8_lossy(&out.stderr))), out.status.code())
}

#[test]
fn a_server_is_asked_by_hand_looked_up_and_shown_in_its_profile() {
    let dir = tempfile::tempdir().expect("temp");
    let config = configured(dir.path(), "");
    write(&dir.path().join("own"), "own_malicious_JARM.csv", format!("{OURS}, high, a server of tests\n"));
    let server = Server::tls("right");
    let at = format!("127.0.0.1:{}", server.port);
    let (said, code) = asked(&config, &at);
    assert_eq!((&said["jarm"], code), (&json!(OURS), Some(0)), "{said}");
    assert_eq!((&said["address"], &said["port"]), (&json!("127.0.0.1"), &json!(server.port)));
    assert_eq!(
        (&said["listed"][0]["level"], &said["listed"][0]["description"]),
        (&json!("high"), &json!("a server of tests"))
    );
    let text = slips(["intel", "-c", &config, "jarm", &at]);
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert_eq!(text, format!("{at}: {OURS}: listed as high (own_malicious_JARM.csv): a server of tests\n"));

    // It is kept, and so is what the daemon asks; nobody has a profile of this machine itself.
    let mut answers = Answers::open(dir.path().join("out/services.sqlite")).expect("it was made");
    let kept = answers.about(&at).expect("read").remove(0);
    assert_eq!(kept.service, "jarm");
    answers.put("jarm", "203.0.113.9:8443", &kept.answer, (kept.at, kept.at + 9), 9).expect("written");
    drop(answers);
    let row = json!({
        "ts": 1_700_000_000.0, "uid": "C1", "id.orig_h": "192.168.1.5", "id.orig_p": 40_000, "id.resp_h": "203.0.113.9",
        "id.resp_p": 8443, "version": "TLSv12", "server_name": "x.example.org", "established": true, "resumed": false,
    });
    let out = dir.path().join("analysed");
    analyze(&write(dir.path(), "ssl.log", format!("{row}\n")), &["-o", out.to_str().expect("utf-8")]);
    let db = out.join("flows.sqlite").display().to_string();
    let told = slips(["profile", "203.0.113.9", "-c", &config, "--db", &db, "--json"]);
    let told: Value = serde_json::from_slice(&told.stdout).expect("a profile");
    assert_eq!((&told["jarm"][0]["port"], &told["jarm"][0]["jarm"]), (&json!(8443), &json!(OURS)), "{told}");
    assert!(told["jarm"][0]["listed"].as_str().unwrap_or_default().contains("a server of tests"), "{told}");
    let text = slips(["profile", "203.0.113.9", "-c", &config, "--db", &db]);
    assert!(String::from_utf8_lossy(&text.stdout).contains(OURS), "{text:?}");
}

#[test]
fn who_is_no_server_of_tls_or_may_not_be_asked_is_told() {
    let dir = tempfile::tempdir().expect("temp");
    let config = configured(dir.path(), "");
    let plain = Server::plain();
    assert_eq!(asked(&config, &format!("127.0.0.1:{}", plain.port)).0["jarm"], NOTHING);
    // A name may be anybody's, and lead to anybody's neighbour.
    let (said, code) = asked(&config, &format!("localhost:{}", plain.port));
    assert_eq!(code, Some(64), "{said}");
    assert!(said.as_str().expect("words").contains("is no public address"), "{said}");
    let free = TcpListener::bind("127.0.0.1:0").and_then(|bound| bound.local_addr()).expect("a port");
    let (said, code) = asked(&config, &free.to_string());
    assert_eq!(code, Some(75), "{said}");
    assert!(said.as_str().expect("words").contains("cannot be reached"), "{said}");
    assert_eq!(asked(&config, "https://localhost/").1, Some(64));
    let proxied = configured(dir.path(), "outside:\n  proxy: http://127.0.0.1:9\n");
    let (said, code) = asked(&proxied, &format!("127.0.0.1:{}", plain.port));
    assert_eq!(code, Some(64), "{said}");
    assert!(said.as_str().expect("words").contains("outside.proxy"), "{said}");
}

/// A server of openssl, until it is dropped.
struct OpenSsl(Child);

impl Drop for OpenSsl {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One with these options and its port, when it listens; nothing where there is no openssl.
fn openssl(options: &[&str]) -> Option<(OpenSsl, u16)> {
    let at = |end: &str| authority().with_file_name(format!("right.{end}"));
    let mut command = Command::new("openssl");
    command.args(["s_server", "-accept", "127.0.0.1:0", "-cert"]).arg(at("pem")).arg("-key").arg(at("key"));
    let child =
        command.args(options).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let mut server = OpenSsl(child.ok()?);
    // It says `ACCEPT 127.0.0.1:PORT`.
    let (mut said, mut out) = (String::new(), server.0.stdout.take()?);
    while !said.ends_with('\n') || !said.contains("ACCEPT") {
        let mut byte = [0];
        (out.read(&mut byte).ok()? > 0).then(|| said.push(char::from(byte[0])))?;
    }
    let port = said.trim_end().rsplit_once(':')?.1.parse().ok()?;
    Some((server, port))
}

#[test]
fn fingerprints_of_openssl_are_those_that_others_compute() {
    let dir = tempfile::tempdir().expect("temp");
    let config = configured(dir.path(), "");
    for (options, print) in [
        (
            "-tls1_2 -cipher ECDHE-ECDSA-AES128-GCM-SHA256",
            "27d27d27d00027d00027d27d27d27d02098c5f1b1aef82f7daaf9fed36c4e8",
        ),
        (
            "-tls1_2 -cipher ECDHE-ECDSA-AES256-SHA -alpn h2",
            "1ed1ed1ed0000000001ed1ed1ed1edec309222ca45fc762a191a6e5b31348a",
        ),
        (
            "-tls1_3 -ciphersuites TLS_AES_128_GCM_SHA256",
            "00000000000000000041d41d0000009535d5979f591ae8e547c5e5743e5b64",
        ),
        // Its certificate is of another kind.
        ("-tls1_2 -cipher AES128-SHA", NOTHING),
    ] {
        let options: Vec<&str> = options.split(' ').collect();
        let Some((_server, port)) = openssl(&options) else {
            println!("skipped: fingerprints_of_openssl_are_those_that_others_compute: no openssl");
            return;
        };
        let (said, _) = asked(&config, &format!("127.0.0.1:{port}"));
        assert_eq!(said["jarm"], print, "{options:?}: {said}");
    }
}
