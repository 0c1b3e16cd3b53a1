//! `slips allow` with a daemon that really blocks, and without one; `slips config import` as a user has it.
#![expect(clippy::expect_used, reason = "a test has no other way to fail")]

mod common;

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::daemon::Daemon;
use serde_json::Value;

/// Who is blocked although he did nothing wrong, and one who tells that what came before him was looked at.
const INNOCENT: &str = "203.0.113.77";
/// Within this time everything has happened that is waited for.
const PATIENCE: f64 = 60.0;

#[expect(clippy::disallowed_methods, reason = "a test has no other clock")]
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs_f64()
}

/// The binary in the daemon's network, as long as this thread started it.
fn slips(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_slips"));
    command.args(args).env("SLIPS_CONTROL", dir.join("control.sock")).output().expect("it runs")
}

fn json(dir: &Path, args: &[&str]) -> Value {
    let output = slips(dir, args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// The exit code, and what was said of it.
fn refused(dir: &Path, args: &[&str]) -> (Option<i32>, String) {
    let output = slips(dir, args);
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// What the kernel keeps out.
fn in_kernel(dir: &Path) -> Vec<String> {
    let list = json(dir, &["firewall", "list", "--json"]);
    list.as_array()
        .expect("a list")
        .iter()
        .map(|row| row["net"].as_str().expect("a network").to_owned())
        .collect()
}

/// Waits until the kernel keeps this out.
fn until_blocked(dir: &Path, addr: &str) {
    let until = now() + PATIENCE;
    while !in_kernel(dir).iter().any(|net| net == addr) {
        assert!(now() < until, "{addr} is not blocked: {:?}", in_kernel(dir));
        std::thread::park_timeout(Duration::from_millis(100));
    }
}

/// Somebody scans a host of ours.
fn scan(logs: &Path, by: &str, of: &str) {
    let began = now();
    let rows: String = (1..=1500u16)
        .map(|port| common::conn(began + f64::from(port) / 10_000.0, by, 40_000, of, port, "REJ") + "\n")
        .collect();
    let mut log = OpenOptions::new().create(true).append(true).open(logs.join("conn.log")).expect("a log");
    log.write_all(rows.as_bytes()).expect("written");
}

#[test]
fn an_innocent_is_let_in_at_once_stays_in_over_a_restart_and_counts_again_when_that_is_taken_back() {
    const NAME: &str =
        "an_innocent_is_let_in_at_once_stays_in_over_a_restart_and_counts_again_when_that_is_taken_back";
    if !nix::unistd::geteuid().is_root() {
        return println!("skipped: {NAME}: not root");
    }
    let temp = tempfile::tempdir().expect("dir");
    let dir = temp.path();
    let logs = dir.join("zeek");
    std::fs::create_dir(&logs).expect("a directory");
    let own = common::write(dir, "whitelist.conf", "; ours\nip,198.51.100.9,both,alerts\n");
    let config = format!("whitelists:\n  local_whitelist_path: {}\n", own.display());
    let more = ["--zeek-dir", logs.to_str().expect("text")];
    let daemon = Daemon::guarding(dir, &config, &more);
    scan(&logs, INNOCENT, "192.168.1.5");
    until_blocked(dir, INNOCENT);

    for (args, exit, told) in [
        (vec!["allow", INNOCENT, "203.0.113.999"], 65, "write `192.0.2.1`"),
        (vec!["allow", "10.0.0.0/8"], 65, "--wide"),
        (vec!["allow", "0.0.0.0/0", "--wide"], 65, "firewall: mode: monitor"),
        (vec!["allow", "--remove", INNOCENT], 65, "`slips allow --list`"),
        (vec!["allow", "--remove", "198.51.100.9"], 65, "line 2 of "),
        (vec!["allow"], 64, "<WHAT>"),
    ] {
        let (code, said) = refused(dir, &args);
        assert_eq!(code, Some(exit), "{args:?}: {said}");
        assert!(said.contains(told), "{args:?}: {said}");
    }
    assert_eq!(in_kernel(dir), [INNOCENT], "what was refused changed nothing");

    let done = json(dir, &["allow", INNOCENT, "--for", "2h", "--why", "the partner's scanner", "--json"]);
    assert_eq!(done["lifted"], serde_json::json!([INNOCENT]), "{done}");
    assert_eq!((&done["daemon"], &done["trouble"]), (&true.into(), &serde_json::json!([])), "{done}");
    assert_eq!(in_kernel(dir), Vec::<String>::new());
    let again = json(dir, &["allow", INNOCENT, "--json"]);
    assert_eq!(
        (&again["lifted"], &again["not_blocked"], &again["rules"][0]["until"]),
        (&serde_json::json!([]), &serde_json::json!([INNOCENT]), &Value::Null),
        "{again}"
    );
    let list = json(dir, &["allow", "--list", "--json"]);
    assert_eq!((&list["rules"][0]["value"], list["rules"][1].is_null()), (&INNOCENT.into(), true), "{list}");

    scan(&logs, INNOCENT, "192.168.1.6");
    scan(&logs, "203.0.113.88", "192.168.1.6");
    until_blocked(dir, "203.0.113.88");
    assert_eq!(in_kernel(dir), ["203.0.113.88"], "evidence of it counts for nothing");
    assert_eq!(daemon.stop(), Some(0));

    let daemon = Daemon::guarding(dir, &config, &more);
    scan(&logs, INNOCENT, "192.168.1.7");
    scan(&logs, "203.0.113.89", "192.168.1.7");
    until_blocked(dir, "203.0.113.89");
    assert!(!in_kernel(dir).iter().any(|net| net == INNOCENT), "nor after a restart");

    let (code, _) = refused(dir, &["allow", "--remove", INNOCENT, "192.0.2.99"]);
    let list = json(dir, &["allow", "--list", "--json"]);
    assert_eq!((code, &list["rules"][0]["value"]), (Some(65), &INNOCENT.into()), "all or nothing: {list}");
    let gone = json(dir, &["allow", "--remove", INNOCENT, INNOCENT, "--json"]);
    assert_eq!(gone["rules"][0]["value"], INNOCENT, "{gone}");
    // Evidence counts at once; who is never blocked is found out anew every few seconds.
    let until = now() + PATIENCE;
    while !json(dir, &["firewall", "explain", INNOCENT, "--json"])["protected"].is_null() {
        assert!(now() < until, "nobody may block it");
        std::thread::park_timeout(Duration::from_millis(100));
    }
    scan(&logs, INNOCENT, "192.168.1.8");
    until_blocked(dir, INNOCENT);
    assert_eq!(daemon.stop(), Some(0));
    assert_eq!(std::fs::read_to_string(own).expect("read"), "; ours\nip,198.51.100.9,both,alerts\n");
}

#[test]
fn without_a_daemon_the_rule_is_written_and_said_to_hold_from_its_start_on() {
    let temp = tempfile::tempdir().expect("dir");
    let dir = temp.path();
    let out = dir.join("out");
    let config = common::write(dir, "slips.yaml", format!("output:\n  directory: {}\n", out.display()));
    let config = config.to_str().expect("text");
    let (code, said) = refused(dir, &["allow", "192.0.2.7", "-c", config]);
    assert_eq!((code, said.contains("no daemon has run here yet")), (Some(66), true), "{said}");
    std::fs::create_dir(&out).expect("a directory");
    let said = slips(dir, &["allow", "192.0.2.7", "-c", config]);
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains("left alone (both,alerts); a block of it may stand"), "{said}");
    assert!(said.contains("no slips daemon runs here"), "{said}");
    let list = json(dir, &["allow", "--list", "--json", "-c", config]);
    assert_eq!((&list["daemon"], &list["rules"][0]["value"]), (&false.into(), &"192.0.2.7".into()), "{list}");
    let found = json(dir, &["whitelist", "check", "192.0.2.7", "--json", "-c", config]);
    assert_eq!(
        (&found["matches"][0]["value"], &found["matches"][0]["line"]),
        (&"192.0.2.7".into(), &Value::Null)
    );
    json(dir, &["allow", "--remove", "192.0.2.7", "--json", "-c", config]);
    let found = json(dir, &["whitelist", "check", "192.0.2.7", "--json", "-c", config]);
    assert_eq!(found["matches"], serde_json::json!([]));
}

#[test]
fn an_analysis_of_what_was_recorded_knows_nothing_of_what_this_machine_leaves_alone_from_now_on() {
    let temp = tempfile::tempdir().expect("dir");
    let dir = temp.path();
    let out = dir.join("out");
    std::fs::create_dir(&out).expect("a directory");
    common::write(&out, "allowed.conf", format!("ip,{INNOCENT},both,both\n"));
    let config = common::write(dir, "slips.yaml", format!("output:\n  directory: {}\n", out.display()));
    scan(dir, INNOCENT, "192.168.1.5");
    let [config, log] = [config, dir.join("conn.log")].map(|path| path.to_str().expect("text").to_owned());
    let found = json(dir, &["analyze", &log, "--json", "-c", &config]);
    assert_eq!(found["alerts"][0]["ip"], INNOCENT, "{found}");
}

#[test]
fn a_file_of_the_original_becomes_one_that_is_checked_and_found_good() {
    let temp = tempfile::tempdir().expect("dir");
    let dir = temp.path();
    let old = common::write(
        dir,
        "old.yaml",
        "parameters:\n  time_window_width: 600\n  verbose: 1\nmodules:\n  disable: [template]\n",
    );
    let lines = common::write(dir, "whitelist.conf", "ip,192.0.2.1,both,alerts\nip,nowhere,both,alerts\n");
    let [old, lines] = [&old, &lines].map(|path| path.to_str().expect("text"));
    let new = dir.join("new.yaml");
    let new = new.to_str().expect("text");
    let output = slips(dir, &["config", "import", old, "-o", new, "--whitelist", lines]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("old.yaml:3: parameters.verbose: the daemon tells the journal"), "{said}");
    assert!(said.contains("whitelist.conf:2: IoCValue: `nowhere` is no address"), "{said}");
    let text = std::fs::read_to_string(new).expect("written");
    assert!(text.contains("\nparameters:\n  time_window_width: 600s\n"), "{text}");
    assert!(text.contains("\n# line 3: parameters.verbose: "), "{text}");
    assert!(slips(dir, &["check-config", new]).status.success());
    let (code, said) = refused(dir, &["config", "import", old, "-o", new]);
    assert_eq!((code, said.contains("not overwritten")), (Some(64), true), "{said}");
    let told = json(dir, &["config", "import", old, "--json"]);
    assert_eq!(
        (&told["carried"][0], &told["left_out"][0]["line"]),
        (&"parameters.time_window_width".into(), &3.into())
    );

    let bad = common::write(dir, "bad.yaml", "parameters: [\n");
    let large = common::write(dir, "large.yaml", "#".repeat(2 << 20));
    for (file, exit) in [(bad, 65), (large, 65), (dir.join("none.yaml"), 66), (dir.to_owned(), 65)] {
        let (code, said) = refused(dir, &["config", "import", file.to_str().expect("text")]);
        assert_eq!((code, said.is_empty()), (Some(exit), false), "{file:?}: {said}");
    }
}
