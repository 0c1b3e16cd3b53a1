//! Zeek as the sensor, in a process of its own: started, heard, missed when it dies, started again. Its logs lie in a directory of ours and
//! are read as they grow.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, SystemTime};

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use slips_core::event::Event;
use slips_core::time::{PacketTime, Span};
use slips_input::{Beginning, Feed, FeedReport, GrowingDirectory, InputError, Now};

use crate::cli::{Exit, Failure};

/// How long after its death Zeek is started again: twice as long each time,
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// at most so long,
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// and from the first pause on again after it lived for so long.
const WELL_AFTER: Duration = Duration::from_secs(120);
/// So long after its death, all that is whole of what it wrote was read, when there is nothing more to read.
const READ_AFTER: Duration = Duration::from_secs(3);
/// At the end Zeek may take so long to write what it knows; the daemon's stop has two seconds.
const PATIENCE: Duration = Duration::from_millis(1200);
/// How often rotated logs are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// A rotated log that was read is deleted when it is so old: its flows are in the database.
const KEPT_FOR: Duration = Duration::from_secs(600);
/// Zeek begins a new file of each log so often.
const ROTATION: &str = "1hr";
/// Of a line of complaint so many bytes are kept.
const MAX_LINE: u64 = 500;

/// How Zeek is called.
#[derive(Clone, Debug)]
pub struct Zeek {
    /// The program.
    pub binary: PathBuf,
    /// The directory of our scripts.
    pub scripts: PathBuf,
}

impl Zeek {
    /// The command; `reads` are the arguments that say what it reads, and it writes into `dir`. By way of ourselves, so that it ends when we
    /// do: see [`exec`].
    fn command(&self, reads: &[&str], dir: &Path) -> Command {
        let mut command = Command::new("/proc/self/exe");
        // It runs elsewhere; only a name alone is searched for.
        let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
        let is_name = self.binary.components().count() == 1;
        let binary = if is_name { self.binary.clone() } else { absolute(&self.binary) };
        command.arg("zeek-child").arg(binary);
        command.arg("-C").args(reads).arg(absolute(&self.scripts)).current_dir(dir);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    /// Reads a capture to its end and leaves the logs in `dir`.
    pub fn read(&self, capture: &Path, dir: &Path) -> Result<(), Failure> {
        let capture = fs::canonicalize(capture).map_err(|error| no_input(capture, &error))?;
        let mut command = self.command(&["-r", &capture.to_string_lossy()], dir);
        let mut child = command.spawn().map_err(Failure::software)?;
        let said = child.stderr.take().map(last_words).unwrap_or_default();
        let status = child.wait().map_err(Failure::software)?;
        if status.success() {
            return Ok(());
        }
        let text = format!("{}: zeek ended with {status}: {said}", capture.display());
        Err(Failure::new(Exit::Data, text))
    }

    /// Whether there is such a program, and our scripts for it.
    pub fn check(&self) -> Result<(), Failure> {
        if !self.scripts.is_dir() {
            let text = format!("{}: the scripts for Zeek are not there", self.scripts.display());
            return Err(Failure::new(Exit::NoInput, text));
        }
        let version = Command::new(&self.binary).arg("--version").stdin(Stdio::null()).output();
        match version {
            Ok(_) => Ok(()),
            Err(error) => Err(Failure::new(
                Exit::NoInput,
                format!(
                    "{} cannot be started: {error}; without --sensor zeek, Slips reads packets by itself",
                    self.binary.display()
                ),
            )),
        }
    }
}

/// What the child does: ends when its parent does, and becomes Zeek.
pub fn exec(command: &[OsString]) -> Result<(), Failure> {
    set_pdeathsig(Signal::SIGTERM).map_err(Failure::software)?;
    let [program, arguments @ ..] = command else { return Ok(()) };
    Err(Failure::software(Command::new(program).args(arguments).exec()))
}

fn no_input(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Exit::NoInput, format!("{}: {error}", path.display()))
}

/// What was complained of last, when whoever complains has ended. All of it is read, so that nobody waits for us.
fn last_words(stderr: ChildStderr) -> String {
    let mut reader = BufReader::new(stderr);
    let mut last = String::new();
    let mut line = Vec::new();
    loop {
        line.clear();
        match reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut line) {
            Ok(1..) if line.trim_ascii().is_empty() => {}
            Ok(1..) => last = String::from_utf8_lossy(line.trim_ascii()).into_owned(),
            Ok(0) | Err(_) => return last,
        }
    }
}

/// Zeek on an interface.
pub struct ZeekFeed {
    zeek: Zeek,
    interface: String,
    dir: PathBuf,
    logs: GrowingDirectory,
    state: State,
    pause: Duration,
    trouble: String,
    swept: Duration,
    /// When it was asked last.
    now: Now,
}

enum State {
    Runs {
        child: Child,
        since: Duration,
        /// Its last words, when it ended.
        ended: Receiver<String>,
    },
    Dead {
        since: Duration,
    },
}

impl ZeekFeed {
    /// Starts Zeek. Its logs go to `dir`, which is ours; what an earlier run left there was for that one.
    pub fn start(zeek: Zeek, interface: &str, dir: PathBuf, now: Now) -> Result<Self, Failure> {
        zeek.check()?;
        let fail = |error: std::io::Error| {
            Failure::new(Exit::Software, format!("{}: cannot be written: {error}", dir.display()))
        };
        // Whoever took over a daemon before us must not choose what we remove.
        let is_link = |path: &Path| fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink());
        if dir.parent().is_some_and(is_link) {
            return Err(Failure::new(Exit::Software, format!("{} leads through a link", dir.display())));
        }
        match fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(fail(error)),
            _ => fs::create_dir_all(&dir).map_err(fail)?,
        }
        let logs = GrowingDirectory::open(&dir, Beginning::Start, now)?;
        let state = State::Dead { since: now.steady };
        let (interface, trouble) = (interface.to_owned(), String::new());
        let mut feed =
            Self { zeek, interface, dir, logs, state, pause: FIRST_PAUSE, trouble, swept: now.steady, now };
        feed.state = feed.spawn(now.steady)?;
        Ok(feed)
    }

    fn spawn(&self, now: Duration) -> Result<State, Failure> {
        let mut command = self.zeek.command(&["-i", &self.interface], &self.dir);
        command.arg(format!("Log::default_rotation_interval={ROTATION}"));
        let mut child = command.spawn().map_err(Failure::software)?;
        let (tell, ended) = sync_channel(1);
        let stderr = child.stderr.take();
        let listen = move || {
            // Nobody may be left to be told.
            let _ = tell.try_send(stderr.map(last_words).unwrap_or_default());
        };
        std::thread::Builder::new().name("zeek".into()).spawn(listen).map_err(Failure::software)?;
        Ok(State::Runs { child, since: now, ended })
    }

    /// Notices a death, and starts Zeek again when it is time and all that it wrote was read: it empties its logs.
    fn look_after(&mut self, now: Duration, wait: Duration) {
        match &mut self.state {
            State::Runs { child, since, ended } => match child.try_wait() {
                Ok(Some(status)) => {
                    if now.saturating_sub(*since) >= WELL_AFTER {
                        self.pause = FIRST_PAUSE;
                    }
                    let said = ended.recv_timeout(FIRST_PAUSE / 10).unwrap_or_default();
                    self.trouble = format!(
                        "zeek on {} ended with {status}, and is started again in {} s: {said}",
                        self.interface,
                        self.pause.as_secs()
                    );
                    self.state = State::Dead { since: now };
                }
                _ if now.saturating_sub(*since) >= FIRST_PAUSE => self.trouble.clear(),
                _ => {}
            },
            State::Dead { since } => {
                let since = *since;
                // Half a line may be left, which nobody ends.
                let rested = !wait.is_zero() && now.saturating_sub(since) >= READ_AFTER;
                let is_read = rested || self.logs.report().behind == 0;
                if now.saturating_sub(since) < self.pause || !is_read {
                    return;
                }
                self.pause = (self.pause * 2).min(LONGEST_PAUSE);
                match self.spawn(now) {
                    Ok(state) => self.state = state,
                    Err(failure) => {
                        self.trouble = failure.to_string();
                        self.state = State::Dead { since: now };
                    }
                }
            }
        }
    }

    /// Deletes rotated logs that were read.
    fn sweep(&mut self, now: Duration) {
        if now.saturating_sub(self.swept) < SWEEP_EVERY {
            return;
        }
        self.swept = now;
        if self.logs.report().behind > 0 {
            return;
        }
        for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let old = entry.metadata().and_then(|metadata| metadata.modified()).is_ok_and(is_old);
            if old && entry.file_name().to_str().is_some_and(is_rotated) {
                // It is tried again in a minute.
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// Whether a log's name has more than its kind: the time of its rotation.
fn is_rotated(name: &str) -> bool {
    name.strip_suffix(".log").is_some_and(|kind| kind.contains(['.', '-']))
}

fn is_old(modified: SystemTime) -> bool {
    let now = SystemTime::UNIX_EPOCH
        + Duration::from_micros(u64::try_from(super::sinks::wall_clock()).unwrap_or(0));
    now.duration_since(modified).is_ok_and(|age| age >= KEPT_FOR)
}

impl Feed for ZeekFeed {
    fn name(&self) -> String {
        format!("zeek on {}", self.interface)
    }

    fn read(&mut self, now: Now, out: &mut Vec<Event>) -> Result<Duration, InputError> {
        self.now = now;
        let wait = self.logs.read(now, out)?;
        self.look_after(now.steady, wait);
        self.sweep(now.steady);
        Ok(wait)
    }

    fn clock(&self, now: Now) -> Option<PacketTime> {
        self.logs.clock(now)
    }

    fn finish(&mut self, out: &mut Vec<Event>) {
        if let State::Runs { child, ended, .. } = &mut self.state {
            // It writes what it knows of connections that still live, and ends.
            if let Ok(pid) = i32::try_from(child.id()) {
                let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
            }
            if ended.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                let _ = child.kill();
            }
            let _ = child.wait();
        }
        self.state = State::Dead { since: self.now.steady };
        // What it wrote at last waits for nothing.
        let later = LONGEST_PAUSE;
        let now = Now { wall: self.now.wall + Span::from_secs(60), steady: self.now.steady + later };
        while self.logs.read(now, out).is_ok_and(|wait| wait.is_zero()) {}
        self.logs.finish(out);
    }

    fn report(&self) -> FeedReport {
        let report = self.logs.report();
        if self.trouble.is_empty() { report } else { FeedReport { trouble: self.trouble.clone(), ..report } }
    }
}

impl Drop for ZeekFeed {
    fn drop(&mut self) {
        if let State::Runs { child, .. } = &mut self.state {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_rotated_is_told_by_its_name() {
        for name in ["conn.2026-11-22-01-00-00.log", "conn-26-11-22_01.00.00.log"] {
            assert!(is_rotated(name), "{name}");
        }
        for name in ["conn.log", "dce_rpc.log", "conn.log.gz", "notes.txt"] {
            assert!(!is_rotated(name), "{name}");
        }
    }
}
