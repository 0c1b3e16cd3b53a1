//! A Redis that speaks TLS and lets in users of an access list, as docs/redis.md has them.

use std::path::Path;
use std::process::{Command, Stdio};

use super::bench::{Bench, Redis, have_redis, until};
use super::*;

/// What an administrator copies.
const DOCUMENT: &str = include_str!("../../../../docs/redis.md");
const PASSWORD: &str = "correct-horse";

/// A directory with two authorities, `ca` and `rogue`, and a certificate for `localhost` by the first.
fn certificates() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("dir");
    let make = |name: &str, more: &[&str]| {
        let made = Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-days",
                "2",
            ])
            .args([
                "-keyout",
                &format!("{name}.key"),
                "-out",
                &format!("{name}.pem"),
                "-subj",
                &format!("/CN={name}"),
            ])
            .args(more)
            .current_dir(dir.path())
            .stderr(Stdio::null())
            .status();
        assert!(made.expect("openssl runs").success(), "{name}");
    };
    make("ca", &[]);
    make("rogue", &[]);
    let name = ["-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE"];
    make("server", &[&["-CA", "ca.pem", "-CAkey", "ca.key"][..], &name].concat());
    dir
}

/// A Redis with these certificates and the users of the document; the test itself asks it over its socket.
fn server(dir: &Path) -> (Redis, u16) {
    let user = DOCUMENT.lines().map(str::trim).find(|line| line.starts_with("user slips on "));
    let user = user.expect("the document shows one").replace("PASSWORD", PASSWORD);
    let users = format!("{user}\nuser default on nopass ~* &* +@all\n");
    std::fs::write(dir.join("users.acl"), users).expect("written");
    // Nobody else is given it so soon.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|taken| taken.local_addr())
        .expect("a port")
        .port();
    let path = |name: &str| dir.join(name).display().to_string();
    let args = [
        ("--tls-port", port.to_string()),
        ("--tls-cert-file", path("server.pem")),
        ("--tls-key-file", path("server.key")),
        ("--tls-ca-cert-file", path("ca.pem")),
        ("--tls-auth-clients", "no".to_owned()),
        ("--aclfile", path("users.acl")),
    ];
    let args = args.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect();
    (Redis::start(dir.join("redis.sock"), args), port)
}

/// A file that only its owner reads.
fn secret(dir: &Path, text: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let path = dir.join(format!("password-{text}"));
    std::fs::write(&path, text).expect("written");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("set");
    path
}

fn skipped(test: &str) -> bool {
    let there = Command::new("openssl").arg("version").stdout(Stdio::null()).status().is_ok();
    if !there {
        eprintln!("skipped: {test}: no openssl");
    }
    !there || !have_redis(test)
}

#[test]
fn over_tls_the_user_of_the_document_may_all_that_a_mirror_does() {
    if skipped("over_tls_the_user_of_the_document_may_all_that_a_mirror_does") {
        return;
    }
    let dir = certificates();
    let (mut redis, port) = server(dir.path());
    let mut bench = Bench::with(&format!("rediss://slips@localhost:{port}"), "gw1", |redis| {
        redis.ca_file = dir.path().join("ca.pem");
        redis.password_file = secret(dir.path(), PASSWORD);
    });
    bench.block("203.0.113.7");
    bench.load(300);
    bench.becomes_equal(&redis);
    bench.unblock("203.0.113.7");
    bench.load(100);
    bench.becomes_equal(&redis);
    let clients: String = redis.ask(&["CLIENT", "LIST"]);
    assert!(clients.lines().any(|line| line.contains("user=slips")), "{clients}");
    redis.kill();
    bench.load(100);
    until("it is told", || bench.shown().contains("not reached"));
    redis.restart();
    bench.becomes_equal(&redis);
    until("it is well again", || bench.shown().is_empty());
    bench.end();
    assert_eq!((bench.times("redis"), bench.times("NOPERM")), (2, 0), "{}", bench.said());
    let denied: Vec<redis::Value> = redis.ask(&["ACL", "LOG"]);
    assert!(denied.is_empty(), "{denied:?}");
}

/// Who acts, how each router is, what all block, what a standby takes over, and what modules say.
#[test]
fn the_user_of_the_document_may_all_that_a_fleet_does() {
    if skipped("the_user_of_the_document_may_all_that_a_fleet_does") {
        return;
    }
    let dir = certificates();
    let (redis, _) = server(dir.path());
    for command in [
        "WATCH slips:gw1:lease",
        "UNWATCH",
        "MULTI",
        "EXEC",
        "GETRANGE slips:gw1:lease 0 2048",
        "SET slips:gw1:lease x EX 60",
        "PTTL slips:gw1:member_active",
        "ZADD slips:routers 1 gw1",
        "ZREVRANGE slips:routers 0 255",
        "DEL slips:gw1:fleet_blocks",
        "HSET slips:gw1:fleet_blocks a b",
        "HDEL slips:gw1:fleet_blocks a",
        "HLEN slips:gw2:fleet_blocks",
        "HKEYS slips:gw2:fleet_blocks",
        "HMGET slips:gw2:fleet_blocks a",
        "HSCAN slips:gw1:profile_192.0.2.1_timewindow1_evidence 0 COUNT 10",
        "GET slips:gw1:block_192.0.2.1",
        "SUBSCRIBE evidence_added",
        "PUBLISH control_answer x",
    ] {
        let words: Vec<&str> = ["ACL", "DRYRUN", "slips"].into_iter().chain(command.split(' ')).collect();
        assert_eq!(redis.ask::<String>(&words), "OK", "{command}");
    }
    for command in ["FLUSHALL", "CONFIG GET *", "KEYS *", "SET other x", "ACL LIST", "EVAL x 0"] {
        let words: Vec<&str> = ["ACL", "DRYRUN", "slips"].into_iter().chain(command.split(' ')).collect();
        assert_ne!(redis.ask::<String>(&words), "OK", "{command}");
    }
}

#[test]
fn who_cannot_prove_to_be_that_redis_is_told_nothing_and_why_stands_in_the_journal() {
    if skipped("who_cannot_prove_to_be_that_redis_is_told_nothing_and_why_stands_in_the_journal") {
        return;
    }
    let dir = certificates();
    let (redis, port) = server(dir.path());
    let (ca, rogue) = (dir.path().join("ca.pem"), dir.path().join("rogue.pem"));
    for (host, authority, password, why) in [
        ("localhost", Some(&rogue), PASSWORD, "nobody vouches for its certificate whom redis.ca_file names"),
        ("localhost", None, PASSWORD, "no public authority"),
        ("127.0.0.1", Some(&ca), PASSWORD, "its certificate is not made out to 127.0.0.1"),
        ("localhost", Some(&ca), "wrong-horse", "the user and the password are not taken"),
    ] {
        let mut bench = Bench::with(&format!("rediss://slips@{host}:{port}"), "gw1", |redis| {
            redis.ca_file = authority.cloned().unwrap_or_default();
            redis.password_file = secret(dir.path(), password);
        });
        bench.load(10);
        until("it is told", || bench.shown().contains("not reached"));
        bench.end();
        assert_eq!((bench.times(why), bench.times(password)), (1, 0), "{}", bench.said());
    }
    assert_eq!(redis.ask::<Vec<String>>(&["KEYS", "*"]), Vec::<String>::new());
    // Nor is anything said in the clear.
    let mut bench = Bench::new(&format!("redis://localhost:{port}"), "gw1");
    until("it is told", || bench.shown().contains("not reached"));
    bench.end();
}
