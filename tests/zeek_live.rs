//! Zeek's logs while they are written, through the daemon, in a network namespace of its own; and Zeek as the sensor, which a stand-in plays
//! here: it is called as Zeek is, writes logs as Zeek does, and dies.

#![expect(clippy::expect_used, reason = "helpers of tests")]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::{analyze, attackers, conn, write};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};

/// A row of conn.log of its own; all of them together are a scan.
fn row(number: u16) -> String {
    conn(
        1_700_000_000.0 + f64::from(number) / 100.0,
        "203.0.113.7",
        40_000 + number,
        "192.168.1.5",
        number,
        "REJ",
    ) + "\n"
}

fn rows(numbers: std::ops::Range<u16>) -> String {
    numbers.map(row).collect()
}

/// Port numbers of the flows in the database, in their order.
fn ports(out: &Path) -> Vec<u16> {
    let Ok(db) = rusqlite::Connection::open(out.join("flows.sqlite")) else { return Vec::new() };
    let Ok(mut query) = db.prepare("SELECT dst_port FROM flows ORDER BY dst_port") else { return Vec::new() };
    let Ok(rows) = query.query_map([], |row| row.get(0)) else { return Vec::new() };
    rows.filter_map(Result::ok).collect()
}

/// Whether tests may run the daemon, in a namespace without a network.
fn may_run(test: &str) -> bool {
    if !geteuid().is_root() {
        println!("skipped: {test}: not root");
    }
    geteuid().is_root()
}

/// A daemon that only watches.
struct Daemon {
    child: Child,
    said: PathBuf,
}

impl Daemon {
    fn start(dir: &Path, more: &[&str]) -> Self {
        let said = dir.join("said");
        let file = fs::OpenOptions::new().create(true).append(true).open(&said).expect("a file");
        let child = Command::new("unshare")
            .args(["-n", "--", env!("CARGO_BIN_EXE_slips"), "run", "--monitor", "-o"])
            .arg(dir.join("out"))
            .arg("--control")
            .arg(dir.join("control.sock"))
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .expect("unshare");
        Self { child, said }
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.said).unwrap_or_default()
    }

    /// Waits for something that will come.
    #[track_caller]
    fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        for _ in 0..1200 {
            if is_so() {
                return;
            }
            std::thread::park_timeout(Duration::from_millis(50));
        }
        assert!(is_so(), "{what} did not come: {}", self.said());
    }

    /// Ends it as systemd does.
    #[track_caller]
    fn stop(mut self) -> String {
        let pid = i32::try_from(self.child.id()).expect("a number");
        kill(Pid::from_raw(pid), Signal::SIGTERM).expect("it runs");
        let status = self.child.wait().expect("it ends");
        assert!(status.success(), "{status}: {}", self.said());
        self.said()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn append(path: &Path, text: &str) {
    use std::io::Write;
    let mut file = fs::OpenOptions::new().create(true).append(true).open(path).expect("open");
    file.write_all(text.as_bytes()).expect("written");
}

#[test]
fn a_growing_directory_is_read_line_by_line_over_rotation_and_a_restart_of_the_daemon() {
    if !may_run("a_growing_directory_is_read_line_by_line_over_rotation_and_a_restart_of_the_daemon") {
        return;
    }
    let dir = tempfile::tempdir().expect("temp");
    let (logs, out) = (dir.path().join("logs"), dir.path().join("out"));
    fs::create_dir(&logs).expect("dir");
    let (current, old) = (logs.join("conn.log"), logs.join("conn.2026-11-22-01-00-00.log"));
    let logs = logs.to_str().expect("utf-8");
    write(Path::new(logs), "conn.log", rows(1..100));
    let daemon = Daemon::start(dir.path(), &["--zeek-dir", logs, "--from-start"]);
    let place = format!("read{}.place", logs.replace(|letter: char| !letter.is_ascii_alphanumeric(), "-"));
    daemon.until("the place", || out.join(&place).is_file());
    let half = row(100);
    append(&current, &half[..60]);
    fs::rename(&current, &old).expect("renamed");
    append(&old, &half[60..]);
    append(&current, &rows(101..300));
    append(&old, &rows(300..310));
    daemon.until("the alert", || {
        fs::read_to_string(out.join("alerts.json")).is_ok_and(|told| told.contains("203.0.113.7"))
    });
    let said = daemon.stop();
    assert!(!said.contains("not used"), "{said}");
    assert_eq!(ports(&out), (1..310).collect::<Vec<_>>());

    // It goes on where it stood, whatever came meanwhile.
    append(&current, &rows(310..320));
    let daemon = Daemon::start(dir.path(), &["--zeek-dir", logs]);
    append(&current, &rows(320..330));
    daemon.until("the rest", || ports(&out).len() >= 329);
    append(&current, "no JSON\n");
    daemon.until("the complaint", || daemon.said().contains("not a JSON object"));
    let said = daemon.stop();
    assert_eq!(ports(&out), (1..330).collect::<Vec<_>>());
    assert!(said.contains("conn.log, at byte"), "{said}");
}

/// Writes what plays Zeek, and the configuration that names it.
fn stand_in(dir: &Path, script: &str) -> String {
    let program = write(dir, "zeek", format!("#!/bin/sh\n[ \"$1\" = --version ] && exit 0\n{script}"));
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("a mode");
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("slips_files/input/zeek-scripts");
    let text =
        format!("inputs:\n  zeek_program: {}\n  zeek_scripts: {}\n", program.display(), scripts.display());
    write(dir, "slips.yaml", text).to_str().expect("utf-8").to_owned()
}

#[test]
fn zeek_reads_a_capture_when_it_is_asked_for() {
    let dir = tempfile::tempdir().expect("temp");
    let scan = write(dir.path(), "scan", rows(1..1001));
    // An empty capture of Ethernet.
    let header = [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, 1].map(u32::to_le_bytes).concat();
    let capture = write(dir.path(), "x.pcap", header);
    let script = format!(
        "[ \"$1 $2 $3\" = \"-C -r {}\" ] && [ -f \"$4/__load__.zeek\" ] || exit 3\ncp {} conn.log\n",
        capture.display(),
        scan.display()
    );
    let config = stand_in(dir.path(), &script);
    let found = analyze(&capture, &["--sensor", "zeek", "-c", &config]);
    assert_eq!(found["flows"], 1000);
    assert_eq!(attackers(&found), ["203.0.113.7"]);
    assert_eq!(analyze(&capture, &["-c", &config])["flows"], 0);

    let config = stand_in(dir.path(), "echo 'fatal error: no such thing' >&2; exit 1\n");
    let run = |config: &str| {
        common::slips(["analyze", capture.to_str().expect("utf-8"), "--sensor", "zeek", "-c", config])
    };
    let out = run(&config);
    let told = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.code() == Some(65) && told.contains("fatal error: no such thing"), "{told}");
    let config =
        write(dir.path(), "none.yaml", "inputs:\n  zeek_program: /nowhere/zeek\n  zeek_scripts: /\n");
    let out = run(config.to_str().expect("utf-8"));
    let told = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.code() == Some(66) && told.contains("/nowhere/zeek cannot be started"), "{told}");
}

#[test]
fn zeek_as_the_sensor_is_missed_when_it_dies_and_started_again() {
    if !may_run("zeek_as_the_sensor_is_missed_when_it_dies_and_started_again") {
        return;
    }
    let dir = tempfile::tempdir().expect("temp");
    let out = dir.path().join("out");
    for (name, numbers) in [("first", 1..200), ("second", 200..300), ("last", 300..310)] {
        write(dir.path(), name, rows(numbers));
    }
    let script = format!(
        "have={0}; echo \"$*\" >> $have/calls; echo noise; \n\
         if [ ! -f $have/died ]; then\n  cp $have/first conn.log; touch $have/died\n\
           echo 'fatal error: the interface went away' >&2; exit 1\nfi\n\
         cp $have/second conn.log; echo $$ > $have/pid\n\
         trap 'cat $have/last >> conn.log; exit 0' TERM\nwhile :; do sleep 0.1; done\n",
        dir.path().display()
    );
    let config = stand_in(dir.path(), &script);
    let daemon = Daemon::start(dir.path(), &["-i", "lo", "--sensor", "zeek", "-c", &config]);
    daemon.until("the second start", || ports(&out).len() >= 299);
    let pid: i32 =
        fs::read_to_string(dir.path().join("pid")).expect("a pid").trim().parse().expect("a number");
    let said = daemon.stop();
    assert!(said.contains("zeek on lo ended with exit status: 1, and is started again in 1 s"), "{said}");
    assert!(said.contains("fatal error: the interface went away"), "{said}");
    assert_eq!(ports(&out), (1..310).collect::<Vec<_>>(), "with what it wrote when it was told to end");
    assert!(kill(Pid::from_raw(pid), None).is_err(), "it has ended");
    let calls = fs::read_to_string(dir.path().join("calls")).expect("calls");
    assert_eq!(calls.lines().count(), 2);
    assert!(
        calls.starts_with("-C -i lo ") && calls.contains("Log::default_rotation_interval=1hr"),
        "{calls}"
    );
}
