//! The daemon under demonstration: this very program as `slips run`, in the router's namespace, with its files in a directory
//! of its own.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::stage::{Place, Stage};
use super::tell::now;
use crate::cli::Failure;

/// How long the daemon may take to end.
const ENDS_WITHIN: Duration = Duration::from_secs(2);

/// A directory for the daemon's files; removed when dropped.
#[derive(Debug)]
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> io::Result<Self> {
        let path = Self::path(std::process::id());
        // Fails when somebody else made it first; only root may look in.
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    fn path(pid: u32) -> PathBuf {
        std::env::temp_dir().join(format!("slips-demo-{pid}"))
    }
}

/// Removes the files that the demo of this process left, which could not do so itself.
pub(super) fn sweep(pid: u32) {
    // Not there, or not to be removed: the new demo has a directory of its own.
    let _ = fs::remove_dir_all(Scratch::path(pid));
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("slips: cannot remove {}: {error}", self.0.display());
        }
    }
}

/// The running daemon; killed when dropped.
#[derive(Debug)]
pub(super) struct Daemon {
    child: Child,
    ready: UnixDatagram,
    alerts: Tail,
    asked_to_end: bool,
    scratch: Scratch,
}

impl Daemon {
    pub(super) fn start(stage: &Stage) -> Result<Self, Failure> {
        let scratch = Scratch::new().map_err(Failure::software)?;
        let dir = scratch.0.clone();
        Self::start_in(stage, scratch, &dir).map_err(Failure::software)
    }

    fn start_in(stage: &Stage, scratch: Scratch, dir: &Path) -> io::Result<Self> {
        let own_lists = dir.join("lists");
        fs::create_dir(&own_lists)?;
        let config = dir.join("slips.yaml");
        fs::write(&config, configuration(dir))?;
        let ready = UnixDatagram::bind(dir.join("notify"))?;
        ready.set_nonblocking(true)?;
        let log = File::create(dir.join("daemon.log"))?;
        let mut command = stage.command(Place::Router, &std::env::current_exe()?);
        command.arg("run").arg("-c").arg(&config).args(["-i", "wan0", "-i", "lan0"]);
        command.arg("--control").arg(dir.join("control.sock"));
        // It must not take our service manager, our journal stream or our ssh session for its own.
        for name in [
            "WATCHDOG_USEC",
            "WATCHDOG_PID",
            "LISTEN_FDS",
            "LISTEN_PID",
            "JOURNAL_STREAM",
            "SSH_CONNECTION",
            "SSH_CLIENT",
        ] {
            command.env_remove(name);
        }
        command.env("NOTIFY_SOCKET", dir.join("notify"));
        let child = command.stdout(log.try_clone()?).stderr(log).spawn()?;
        Ok(Self { child, ready, alerts: Tail::of(dir.join("out/alerts.json")), asked_to_end: false, scratch })
    }

    /// Whether the daemon said, since the last question, that it watches.
    pub(super) fn said_ready(&self) -> bool {
        let mut buffer = [0; 4096];
        let mut ready = false;
        while let Ok(n) = self.ready.recv(&mut buffer) {
            ready |= buffer
                .get(..n)
                .is_some_and(|text| text.split(|b| *b == b'\n').any(|line| line == b"READY=1"));
        }
        ready
    }

    /// How the daemon ended, if it has and was not asked to.
    pub(super) fn ended_unasked(&mut self) -> Option<ExitStatus> {
        if self.asked_to_end { None } else { self.ended() }
    }

    fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// New whole lines of alerts.json.
    pub(super) fn alerts(&mut self) -> Vec<String> {
        self.alerts.lines()
    }

    /// The last lines that the daemon wrote, for when it failed.
    pub(super) fn last_words(&self) -> String {
        let log = fs::read_to_string(self.scratch.0.join("daemon.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines.iter().skip(lines.len().saturating_sub(10)).map(|line| format!("\n  daemon: {line}")).collect()
    }

    /// Asks it to end; the time it took, or what went wrong.
    pub(super) fn stop(&mut self, mut idle: impl FnMut()) -> Result<Duration, String> {
        let asked = now();
        self.asked_to_end = true;
        self.signal(Signal::SIGTERM);
        while now().duration_since(asked) < ENDS_WITHIN {
            if let Some(status) = self.ended() {
                let took = now().duration_since(asked);
                return if status.success() {
                    Ok(took)
                } else {
                    Err(format!("the daemon ended with {status}"))
                };
            }
            idle();
        }
        Err(format!("the daemon did not end within {} s", ENDS_WITHIN.as_secs()))
    }

    fn signal(&self, signal: Signal) {
        if let Ok(pid) = i32::try_from(self.child.id()) {
            // It can only be gone already, which the wait that follows finds out.
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.ended().is_none() {
            self.signal(Signal::SIGKILL);
            let _ = self.child.wait();
        }
    }
}

/// The weight of evidence in a window that makes an alert: that of the default configuration.
pub(super) const BAR: u32 = 15;

/// Windows and blocks are short, so that the end of a block can be shown.
fn configuration(dir: &Path) -> String {
    let dir = dir.display();
    let per_minute = BAR * 60 / 10;
    format!(
        "parameters:\n  time_window_width: 10s\n\
         detection:\n  evidence_detection_threshold: {per_minute}\n\
         threatintelligence:\n  local_threat_intelligence_files: {dir}/lists\n\
         firewall:\n  mode: enforce\n  unproven_term: 10s\n  shortest_term: 10s\n\
         output:\n  directory: {dir}/out\n"
    )
}

/// Follows a file that another process writes, and which may not be there yet.
#[derive(Debug)]
struct Tail {
    path: PathBuf,
    file: Option<File>,
    rest: Vec<u8>,
}

impl Tail {
    const fn of(path: PathBuf) -> Self {
        Self { path, file: None, rest: Vec::new() }
    }

    fn lines(&mut self) -> Vec<String> {
        if self.file.is_none() {
            self.file = File::open(&self.path).ok();
        }
        let Some(file) = &mut self.file else { return Vec::new() };
        // What cannot be read now may be read the next time; the story has its deadlines.
        let _ = file.read_to_end(&mut self.rest);
        let Some(end) = self.rest.iter().rposition(|b| *b == b'\n') else { return Vec::new() };
        let rest = self.rest.split_off(end + 1);
        let whole = std::mem::replace(&mut self.rest, rest);
        String::from_utf8_lossy(&whole).lines().map(str::to_owned).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn the_configuration_is_one_that_the_loader_takes() {
        let path = Path::new("demo.yaml");
        let config =
            crate::config::Config::parse(path, &configuration(Path::new("/somewhere"))).expect("config");
        assert!((config.engine(&[]).alert_weight() - f64::from(BAR)).abs() < 1e-9);
    }

    #[test]
    fn a_tail_gives_whole_lines_once() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("log");
        let mut tail = Tail::of(path.clone());
        assert!(tail.lines().is_empty());
        let mut file = File::create(&path).expect("create");
        file.write_all(b"one\ntw").expect("write");
        assert_eq!(tail.lines(), ["one"]);
        assert!(tail.lines().is_empty());
        file.write_all(b"o\nthree\n").expect("write");
        assert_eq!(tail.lines(), ["two", "three"]);
    }
}
