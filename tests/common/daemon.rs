//! The daemon as a user starts it, until it says that it is ready.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};

/// A running `slips run`.
pub struct Daemon {
    child: Child,
    pub out: PathBuf,
    notify: UnixDatagram,
}

impl Daemon {
    /// Starts it with these arguments, its files below `dir`, and waits until it is ready.
    ///
    /// As root this thread, and what it opens and starts from now on, has a network of its own with nothing but loopback: other tests
    /// would ask this daemon where they expect none.
    pub fn start(dir: &Path, more: &[&str]) -> Self {
        Self::start_with(dir, "", more)
    }

    /// The same, with more in its configuration.
    pub fn start_with(dir: &Path, sections: &str, more: &[&str]) -> Self {
        let sections = format!("firewall:\n  mode: monitor\n{sections}");
        Self::run(dir, &sections, &[&["--monitor"], more].concat())
    }

    /// One that blocks, in the kernel of its own network; only root may. All of its configuration is `config`.
    pub fn guarding(dir: &Path, config: &str, more: &[&str]) -> Self {
        Self::run(dir, config, more)
    }

    fn run(dir: &Path, config: &str, more: &[&str]) -> Self {
        if geteuid().is_root() {
            unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace");
            let up = Command::new("ip").args(["link", "set", "lo", "up"]).status();
            assert!(up.expect("ip runs").success(), "loopback does not come up");
        }
        // That of a run before, if there was one.
        let _ = std::fs::remove_file(dir.join("notify"));
        let notify = UnixDatagram::bind(dir.join("notify")).expect("a socket");
        notify.set_read_timeout(Some(Duration::from_secs(60))).expect("a socket");
        let out = dir.join("out");
        let config = super::write(dir, "slips.yaml", config);
        let child = Command::new(env!("CARGO_BIN_EXE_slips"))
            .args(["run", "-c"])
            .arg(config)
            .arg("-o")
            .arg(&out)
            .arg("--control")
            .arg(dir.join("control.sock"))
            .args(more)
            .env("NOTIFY_SOCKET", dir.join("notify"))
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(dir.join("stderr")).expect("a file"))
            .spawn()
            .expect("the binary runs");
        let daemon = Self { child, out, notify };
        daemon.wait_for("READY=1");
        daemon
    }

    /// Waits until it says this to the service manager; what it said.
    pub fn wait_for(&self, words: &str) -> String {
        let mut buffer = [0; 4096];
        loop {
            let length = self.notify.recv(&mut buffer).expect("it says so within a minute");
            let said = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if said.contains(words) {
                return said;
            }
        }
    }

    /// Asks it to end, and waits for that; its exit code.
    pub fn stop(mut self) -> Option<i32> {
        self.ask_to_end();
        self.child.wait().expect("it ends").code()
    }

    fn ask_to_end(&self) {
        let pid = Pid::from_raw(self.child.id().try_into().expect("a pid"));
        let _ = kill(pid, Signal::SIGTERM);
    }
}

impl Drop for Daemon {
    /// A test that failed leaves nothing running.
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
