//! One router's directory, and `slips peers` with it.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use slips_p2p::identity::{NodeId, NodeKey};
use slips_p2p::moment::Moment;

/// A router's directory, and `slips peers` with it.
pub struct Router {
    pub temp: tempfile::TempDir,
}

impl Router {
    pub fn new() -> Self {
        Self { temp: tempfile::tempdir().expect("temp") }
    }

    /// One that has an identity.
    pub fn with_id() -> (Self, NodeId) {
        let router = Self::new();
        let id = router.json(&["id"])["id"].as_str().expect("id").parse().expect("an id");
        (router, id)
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.temp.path().join("p2p").join(name)
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_slips"));
        command.arg("peers").args(args).arg("--directory").arg(self.temp.path().join("p2p"));
        command.arg("--config").arg(self.config());
        command
    }

    /// The built-in defaults: what the machine has under /etc must not matter.
    pub fn config(&self) -> PathBuf {
        let path = self.temp.path().join("slips.yaml");
        fs::write(&path, "p2p:\n  announce: [198.51.100.1]\n").expect("written");
        path
    }

    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).stdin(Stdio::null()).output().expect("the binary runs")
    }

    /// Standard output of a command that must succeed.
    pub fn ok(&self, args: &[&str]) -> String {
        let out = self.run(args);
        assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).expect("utf-8")
    }

    pub fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.ok(&[args, &["--json"]].concat())).expect("one JSON value")
    }

    /// Exit code and message of a command that must fail; the message is one that a terminal can bear.
    pub fn fails(&self, args: &[&str]) -> (i32, String) {
        told(&self.run(args))
    }

    pub fn fails_with_input(&self, args: &[&str], input: &str) -> (i32, String) {
        told(&self.with_input(args, input))
    }

    pub fn with_input(&self, args: &[&str], input: &str) -> Output {
        let mut child = self
            .command(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        // A command that refuses at once may not read it.
        let _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
        child.wait_with_output().expect("it ends")
    }

    pub fn peers(&self) -> Vec<Value> {
        self.json(&["list"])["peers"].as_array().expect("peers").clone()
    }
}

pub fn told(out: &Output) -> (i32, String) {
    let text = String::from_utf8(out.stderr.clone()).expect("utf-8");
    assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
    (out.status.code().expect("a code"), text)
}

pub fn key(n: u8) -> NodeKey {
    NodeKey::from_seed(&[n; 32])
}

pub fn now() -> Moment {
    #[expect(clippy::disallowed_methods, reason = "the binary reads the same clock")]
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    Moment(u64::try_from(now.as_millis()).expect("in range"))
}

pub fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("there").permissions().mode() & 0o777
}
