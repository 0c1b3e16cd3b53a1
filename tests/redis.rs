//! The daemon with a real redis-server, and a program in another language that follows it and takes part, as docs/redis.md says.

mod common;

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use common::conn;
use common::daemon::Daemon;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// What the documentation shows, and what must not be heard.
const CLIENT: &str = r#"
import hashlib, hmac, json, secrets, sys, time, redis

socket, secret, log, rows = sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4]
key = hmac.new(secret.encode(), b"slips-module:honeypot", hashlib.sha256).hexdigest()
client = redis.Redis(unix_socket_path=socket, decode_responses=True)
listener = client.pubsub()
listener.subscribe("new_alert", "evidence_added", "control_answer")

def say(channel, module, body, key=key, router="*"):
    body, now, nonce = json.dumps(body), int(time.time()), secrets.token_hex(16)
    text = "\n".join([channel, module, router, str(now), nonce, body])
    signature = hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest()
    client.publish(channel, json.dumps({"module": module, "router": router, "time": now, "nonce": nonce, "body": body, "signature": signature}))

def told(channel, what):
    end = time.monotonic() + 60
    while time.monotonic() < end:
        message = listener.get_message(timeout=1)
        if message and message["type"] == "message" and message["channel"] == channel:
            found = json.loads(message["data"])
            if "signature" not in found and found.get("version") == 1 and what(found):
                return found
    sys.exit(f"nothing on {channel}")

def counted(name, least):
    end = time.monotonic() + 60
    while int(client.hget("slips:gw1:statistics", name) or 0) < least:
        if time.monotonic() > end:
            sys.exit(f"{name}: {client.hgetall('slips:gw1:statistics')}")
        time.sleep(0.05)

with open(log, "a") as conn:
    conn.write(open(rows).read())
alert = told("new_alert", lambda alert: alert["profile"]["ip"] == "203.0.113.7")
stored = json.loads(client.get(f"slips:gw1:alert_{alert['id']}"))
assert stored["correl_id"] == alert["correl_id"] and "last_evidence" not in stored, stored
print("alert of", alert["router"])

evidence = {"evidence_type": "PASSWORD_GUESSING", "attacker": "198.51.100.9", "victim": "192.168.1.5", "threat_level": "high",
            "confidence": 0.8, "description": "40 logins", "proto": "tcp", "dst_port": 22}
say("evidence_added", "honeypot", evidence)
heard = told("evidence_added", lambda found: found["attacker"]["value"] == "198.51.100.9")
assert heard["description"] == "module honeypot: 40 logins" and not heard["proven"], heard
window = heard["timewindow"]["number"]
assert client.hget(f"slips:gw1:profile_198.51.100.9_timewindow{window}_evidence", heard["id"])
counted("outside_heard", 1)
print("evidence is counted")

client.publish("evidence_added", json.dumps(evidence))
say("evidence_added", "honeypot", evidence, key="f" * 32)
say("evidence_added", "honeypot", evidence, key=secret)
say("evidence_added", "attic", evidence)
say("evidence_added", "honeypot", evidence | {"description": "x" * 20000})
say("evidence_added", "honeypot", evidence | {"evidence_type": "NO_SUCH"})
say("evidence_added", "honeypot", evidence | {"attacker": "127.0.0.1"})
counted("outside_refused", 7)
assert int(client.hget("slips:gw1:statistics", "outside_heard")) == 1
print("what is wrong is refused")

say("control_channel", "honeypot", {"command": "reload"}, router="gw1")
answer = told("control_answer", lambda answer: answer["module"] == "honeypot")
assert answer["done"] and "read again" in answer["text"], answer
print("a command is answered")
"#;

struct Redis(Child);

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A Python that has the client of Redis: the one that there is, or one in a directory of our own.
fn python() -> Option<PathBuf> {
    let has = |python: &Path| {
        let found = Command::new(python).args(["-c", "import redis"]).stderr(Stdio::null()).status();
        found.is_ok_and(|status| status.success())
    };
    let own = Path::new(env!("CARGO_TARGET_TMPDIR")).join("python-redis");
    let candidates = [PathBuf::from("python3"), own.join("bin/python")];
    if let Some(found) = candidates.iter().find(|python| has(python)) {
        return Some(found.clone());
    }
    let quiet = |command: &mut Command| {
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    let made = quiet(Command::new("python3").args(["-m", "venv"]).arg(&own))
        && quiet(Command::new(own.join("bin/pip")).args([
            "install",
            "--retries",
            "1",
            "--timeout",
            "15",
            "redis>=5,<8",
        ]));
    candidates.into_iter().last().filter(|python| made && has(python))
}

#[test]
fn a_program_in_python_follows_alerts_and_takes_part_and_what_is_not_signed_is_refused() {
    const NAME: &str = "a_program_in_python_follows_alerts_and_takes_part_and_what_is_not_signed_is_refused";
    if !nix::unistd::geteuid().is_root() {
        return eprintln!("skipped: {NAME}: not root");
    }
    let Some(python) = python() else { return eprintln!("skipped: {NAME}: no redis for Python") };
    let dir = tempfile::tempdir().expect("dir");
    let socket = dir.path().join("redis.sock");
    let server = Command::new("redis-server")
        .args(["--port", "0", "--save", "", "--appendonly", "no", "--dir"])
        .arg(dir.path())
        .arg("--unixsocket")
        .arg(&socket)
        .stdout(Stdio::null())
        .spawn();
    let Ok(server) = server else { return eprintln!("skipped: {NAME}: no redis-server") };
    let _server = Redis(server);
    let secret = common::write(dir.path(), "secret", SECRET);
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).expect("set");
    let zeek = dir.path().join("zeek");
    fs::create_dir(&zeek).expect("a directory");
    let config = format!(
        "redis:\n  url: unix://{}\n  name: gw1\n  outside_evidence: true\n  commands: true\n  shared_secret_file: {}\n",
        socket.display(),
        secret.display(),
    );
    let daemon = Daemon::start_with(dir.path(), &config, &["--zeek-dir", zeek.to_str().expect("a name")]);
    let rows: String = (1..1000)
        .map(|port| {
            conn(1_700_000_000.0 + f64::from(port) / 100.0, "203.0.113.7", 40_000, "192.168.1.5", port, "REJ")
                + "\n"
        })
        .collect();
    let rows = common::write(dir.path(), "rows", &rows);
    let mut client = Command::new(&python)
        .args(["-c", CLIENT])
        .arg(&socket)
        .arg(SECRET)
        .arg(zeek.join("conn.log"))
        .arg(&rows)
        .stdout(Stdio::piped())
        .spawn()
        .expect("python runs");
    let mut said = String::new();
    client.stdout.take().expect("piped").read_to_string(&mut said).expect("text");
    let ended = client.wait().expect("it ends");
    let told = fs::read_to_string(dir.path().join("stderr")).unwrap_or_default();
    assert!(ended.success(), "{said}\n{told}");
    assert_eq!(said, "alert of gw1\nevidence is counted\nwhat is wrong is refused\na command is answered\n");
    assert!(told.contains("were not heard"), "the journal says so: {told}");
    assert_eq!(daemon.stop(), Some(0));
}
