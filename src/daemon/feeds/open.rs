//! How inputs are opened: what cannot be opened yet is opened later, and what was read to some place goes on there.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::OFlag;
use slips_core::event::Event;
use slips_core::time::PacketTime;
use slips_input::{
    Alerts, Beginning, Feed, FeedReport, GrowingDirectory, GrowingEve, InputError, Listener, Modules, Now,
};

use super::now;
use crate::cli::Failure;
use crate::config::{Inputs, SensorKind};
use crate::daemon::clocks::Clocks;
use crate::daemon::zeek::{Zeek, ZeekFeed};

/// How often it is tried to open an input that could not be opened.
const OPEN_EVERY: Duration = Duration::from_secs(5);
/// An input that was opened.
pub struct Opened {
    pub(super) feed: Box<dyn Feed>,
    /// Where it is written down how far it was read.
    pub(super) place: Option<PathBuf>,
}

impl Opened {
    /// What it is, for people.
    pub fn name(&self) -> String {
        self.feed.name()
    }
}

/// Longest text of a place, in bytes: 16,384 files with a line each.
const MAX_PLACE: u64 = 4 << 20;

/// Opens all inputs of the configuration; `watched` are the interfaces, which Zeek watches where it is the sensor. What belongs to them is
/// kept in `directory`; who is to hear of alerts hears of those that are put into `alerts`.
pub fn open(
    config: &Inputs,
    watched: &[String],
    directory: &Path,
    alerts: &Alerts,
) -> Result<Vec<Opened>, Failure> {
    let now = now(&Clocks::default());
    let mut opened: Vec<Opened> = Vec::new();
    let mut add = |name: String, place: Option<PathBuf>, open: Opener| -> Result<(), Failure> {
        opened.push(Opened { feed: open_or_later(name, config.alone, now, open)?, place });
        Ok(())
    };
    for addr in config.netflow.iter().copied() {
        let exporters = config.exporters();
        let open = move |_| boxed(Listener::open(addr, exporters.iter().copied()));
        add(format!("netflow {addr}"), None, Box::new(open))?;
    }
    for path in &config.eve {
        let (place, name) = (directory.join(place_of(path)), path.display().to_string());
        let open = {
            let (path, place, from_start) = (path.clone(), place.clone(), config.from_start);
            move |now| boxed(GrowingEve::open(&path, beginning(&place, from_start), now))
        };
        add(name, Some(place), Box::new(open))?;
    }
    if !config.socket.as_os_str().is_empty() {
        let (path, alerts) = (config.socket.clone(), alerts.clone());
        let name = path.display().to_string();
        add(name, None, Box::new(move |_| boxed(Modules::open(&path, alerts.clone()))))?;
    }
    for logs in &config.zeek_dirs {
        let place = directory.join(place_of(logs));
        let (logs, name, from_start) = (logs.clone(), logs.display().to_string(), config.from_start);
        let open = {
            let place = place.clone();
            move |now| boxed(GrowingDirectory::open(&logs, beginning(&place, from_start), now))
        };
        add(name, Some(place), Box::new(open))?;
    }
    if config.sensor == SensorKind::Zeek {
        let zeek = Zeek { binary: config.zeek_program.clone(), scripts: config.zeek_scripts.clone() };
        for interface in watched {
            let dir = directory.join("zeek").join(interface);
            let feed = Box::new(ZeekFeed::start(zeek.clone(), interface, dir, now)?);
            opened.push(Opened { feed, place: None });
        }
    }
    Ok(opened)
}

/// Opens an input.
type Opener = Box<dyn FnMut(Now) -> Result<Box<dyn Feed>, InputError> + Send>;

fn boxed(feed: Result<impl Feed + 'static, InputError>) -> Result<Box<dyn Feed>, InputError> {
    feed.map(|feed| Box::new(feed) as Box<dyn Feed>)
}

/// Opens an input. Where interfaces are watched they are watched without it, and it is tried again.
fn open_or_later(name: String, alone: bool, now: Now, mut open: Opener) -> Result<Box<dyn Feed>, Failure> {
    match open(now) {
        Ok(feed) if alone => Ok(feed),
        Err(error) if alone => Err(error.into()),
        Ok(feed) => Ok(Box::new(Late { name, open, feed: Some(feed), trouble: String::new() })),
        Err(error) => Ok(Box::new(Late { name, open, feed: None, trouble: later(&error) })),
    }
}

fn later(error: &InputError) -> String {
    format!("cannot be opened, which is tried again each {} s: {error}", OPEN_EVERY.as_secs())
}

/// An input that may not be there at the start, or fail later.
struct Late {
    name: String,
    open: Opener,
    feed: Option<Box<dyn Feed>>,
    trouble: String,
}

impl Feed for Late {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn read(&mut self, now: Now, out: &mut Vec<Event>) -> Result<Duration, InputError> {
        if self.feed.is_none() {
            match (self.open)(now) {
                Ok(feed) => self.feed = Some(feed),
                Err(error) => {
                    self.trouble = later(&error);
                    return Ok(OPEN_EVERY);
                }
            }
        }
        let Some(feed) = &mut self.feed else { return Ok(OPEN_EVERY) };
        match feed.read(now, out) {
            Err(error) => {
                feed.finish(out);
                self.trouble = later(&error);
                self.feed = None;
                Ok(OPEN_EVERY)
            }
            asked => asked,
        }
    }

    fn finish(&mut self, out: &mut Vec<Event>) {
        if let Some(feed) = &mut self.feed {
            feed.finish(out);
        }
    }

    fn clock(&self, now: Now) -> Option<PacketTime> {
        self.feed.as_ref().and_then(|feed| feed.clock(now))
    }

    fn wakers(&self) -> Vec<BorrowedFd<'_>> {
        self.feed.as_ref().map(|feed| feed.wakers()).unwrap_or_default()
    }

    fn can_be_forged(&self) -> bool {
        self.feed.as_ref().is_some_and(|feed| feed.can_be_forged())
    }

    fn mark(&self) -> Option<String> {
        self.feed.as_ref().and_then(|feed| feed.mark())
    }

    fn report(&self) -> FeedReport {
        let untold = || FeedReport { trouble: self.trouble.clone(), ..FeedReport::default() };
        self.feed.as_ref().map_or_else(untold, |feed| feed.report())
    }
}

/// Where the reading of logs begins: where an earlier run wrote down that it stood.
fn beginning(place: &Path, from_start: bool) -> Beginning {
    match read_place(place) {
        Some(text) => Beginning::Mark(text),
        None if from_start => Beginning::Start,
        None => Beginning::End,
    }
}

/// The name of the file that tells how far logs were read.
fn place_of(logs: &Path) -> String {
    let plain = |letter: char| if letter.is_ascii_alphanumeric() { letter } else { '-' };
    let name: String = logs.to_string_lossy().chars().map(plain).collect();
    // The end tells directories apart, where it is long.
    let from = name.len().saturating_sub(150);
    format!("read{}.place", name.get(from..).unwrap_or_default())
}

/// What was written down; follows no link.
fn read_place(place: &Path) -> Option<String> {
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
    let file = fs::OpenOptions::new().read(true).custom_flags(flags).open(place).ok()?;
    let mut text = String::new();
    file.take(MAX_PLACE).read_to_string(&mut text).ok()?;
    Some(text)
}

/// Writes a place down, whole or not at all, and follows no link.
pub(super) fn write_place(place: &Path, text: &str) -> io::Result<()> {
    let fresh = place.with_extension("new");
    let _ = fs::remove_file(&fresh);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).open(&fresh)?;
    file.write_all(text.as_bytes())?;
    fs::rename(&fresh, place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_opened_is_opened_later_unless_it_is_all_there_is() {
        let dir = tempfile::tempdir().expect("a directory");
        let logs = dir.path().join("suricata");
        let (now, path) = (now(&Clocks::default()), logs.join("eve.json"));
        let opener = || -> Opener {
            let path = path.clone();
            Box::new(move |now| boxed(GrowingEve::open(&path, Beginning::End, now)))
        };
        assert!(open_or_later("eve".into(), true, now, opener()).is_err());
        let mut late = open_or_later("eve".into(), false, now, opener()).expect("opened later");
        assert_eq!(late.read(now, &mut Vec::new()).expect("no end"), OPEN_EVERY);
        assert!(late.report().trouble.starts_with("cannot be opened"), "{:?}", late.report());
        fs::create_dir(&logs).expect("made");
        fs::write(&path, "").expect("written");
        assert!(late.read(now, &mut Vec::new()).expect("opened") < OPEN_EVERY);
        assert_eq!(late.report().trouble, "");
    }

    #[test]
    fn an_input_that_fails_is_opened_again() {
        /// Fails when it is read first.
        struct Fails;
        impl Feed for Fails {
            fn name(&self) -> String {
                "it".into()
            }
            fn read(&mut self, _: Now, _: &mut Vec<Event>) -> Result<Duration, InputError> {
                Err(InputError::Read { path: "it".into(), source: io::ErrorKind::TimedOut.into() })
            }
            fn finish(&mut self, out: &mut Vec<Event>) {
                out.push(Event::Tick(PacketTime(7)));
            }
            fn report(&self) -> FeedReport {
                FeedReport::default()
            }
        }
        let dir = tempfile::tempdir().expect("a directory");
        let (now, path, mut opened) = (now(&Clocks::default()), dir.path().join("eve.json"), 0);
        let open: Opener = Box::new(move |now| {
            opened += 1;
            if opened == 1 { boxed(Ok(Fails)) } else { boxed(GrowingEve::open(&path, Beginning::End, now)) }
        });
        let mut late = open_or_later("eve".into(), false, now, open).expect("opened");
        let mut out = Vec::new();
        assert_eq!(late.read(now, &mut out).expect("tried again"), OPEN_EVERY);
        assert_eq!((out.len(), late.report().trouble.is_empty()), (1, false), "what it had is not lost");
        assert!(late.read(now, &mut out).expect("opened again") < OPEN_EVERY);
    }
}
