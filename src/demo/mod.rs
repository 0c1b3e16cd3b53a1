//! `slips demo`: the main job shown on one machine. Three network namespaces stand for an attacker, a router and a client; the
//! daemon on the router is this very program. Only addresses inside these namespaces are ever a target.
//!
//! Everything is taken down at the end, also when a step fails or somebody presses Ctrl-C: what must be taken down is held by a
//! value that does it when dropped ([`stage::Stage`], [`daemon::Daemon`], [`cast::Cast`]).

mod cast;
mod daemon;
mod probe;
mod ssh;
mod stage;
mod tell;
mod told;

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use crate::cli::{Exit, Failure};
use crate::daemon::signals::Signals;
use cast::{Cast, Event, PORTS};
use daemon::{BAR, Daemon};
use probe::Probe;
use stage::{CLIENT, GUESSER, Place, SCANNER, Stage};
use tell::{Teller, Tone, now};
use told::Told;

/// What the actors may have told before the story listens: more than all of them tell in a turn.
const EVENTS: usize = 1024;
/// How long the story waits for anything before it looks everywhere again.
const TURN: Duration = Duration::from_millis(5);
/// A block lasts for the rest of a window and the next one: at most twice ten seconds and a tenth of that, and the kernel needs
/// a moment more.
const BLOCK_ENDS_WITHIN: Duration = Duration::from_secs(23);

/// Plays the demo.
pub fn run() -> Result<(), Failure> {
    if !nix::unistd::geteuid().is_root() {
        return Err(Failure::new(
            Exit::Permission,
            "the demo makes network namespaces and blocks in them, which takes root: sudo slips demo",
        ));
    }
    let teller = Teller::new();
    let signals = Signals::take().map_err(Failure::software)?;
    let (events, heard) = sync_channel(EVENTS);
    let stage = Stage::build()?;
    teller.say(
        Tone::Plain,
        &format!("attacker, router and client are up, in namespaces like {}", stage.name(Place::Router)),
    );
    let mut cast = Cast::new(events);
    cast.open_servers(&stage).map_err(Failure::software)?;
    let daemon = Daemon::start(&stage)?;
    let mut show = Show { heard, cast, daemon, stage, signals, teller, seen: Seen::default() };
    show.play()?;
    let Show { teller, .. } = show;
    teller.verdict("demo: passed");
    Ok(())
}

/// The running demo. The order of the fields is that in which they are taken down: who listens goes before who talks, programs
/// before the namespaces they are in.
struct Show {
    heard: Receiver<Event>,
    cast: Cast,
    daemon: Daemon,
    stage: Stage,
    signals: Signals,
    teller: Teller,
    seen: Seen,
}

/// What has been seen so far.
#[derive(Default)]
struct Seen {
    ready: bool,
    downloads: u32,
    slowest_download: Duration,
    download_errors: Vec<String>,
    /// The time stamp of the packet behind the latest evidence about an attacker.
    suspects: Vec<(IpAddr, i64)>,
    alarms: Vec<Alarm>,
    scan: Option<Vec<Probe>>,
    guesses: Vec<Probe>,
    guesser_done: bool,
    let_in: Vec<Ipv4Addr>,
}

/// The first alert about an attacker.
#[derive(Clone, Copy)]
struct Alarm {
    attacker: IpAddr,
    /// The time stamp of the packet that decided, in microseconds since the epoch.
    decided: i64,
    heard: Instant,
}

impl Seen {
    fn alarm(&self, attacker: Ipv4Addr) -> Option<Alarm> {
        self.alarms.iter().find(|alarm| alarm.attacker == attacker).copied()
    }
}

impl Show {
    fn play(&mut self) -> Result<(), Failure> {
        self.until(Duration::from_secs(5), "the daemon did not become ready", |seen| seen.ready)?;
        self.say(Tone::Plain, "the daemon watches both sides of the router");
        self.cast.start_downloads(&self.stage).map_err(Failure::software)?;
        self.until(Duration::from_secs(3), "the client has no page from outside", |seen| {
            seen.downloads >= 3
        })?;
        self.say(
            Tone::Plain,
            "the client downloads page after page from a web server outside, until the end of the demo",
        );

        self.scan()?;
        self.cast.start_knocking(&self.stage, SCANNER).map_err(Failure::software)?;
        self.guess()?;
        self.cast.start_knocking(&self.stage, GUESSER).map_err(Failure::software)?;
        self.block_ends()?;
        self.end()?;
        self.flush()
    }

    /// One attacker tries ports until, and long after, its packets go nowhere.
    fn scan(&mut self) -> Result<(), Failure> {
        self.say(Tone::Plain, &format!("{SCANNER} scans ports 1 to {PORTS} of the client {CLIENT}"));
        self.cast.start_scan(&self.stage).map_err(Failure::software)?;
        self.until(Duration::from_secs(8), "the port scan did not end", |seen| seen.scan.is_some())?;
        self.until(Duration::from_secs(2), "the port scan raised no alert", |seen| {
            seen.alarm(SCANNER).is_some()
        })?;
        let probes = self.seen.scan.take().unwrap_or_default();
        self.stopped(SCANNER, &probes, "ports")
    }

    /// Another one tries passwords.
    fn guess(&mut self) -> Result<(), Failure> {
        self.say(Tone::Plain, &format!("{GUESSER} guesses passwords at the client's ssh server"));
        self.cast.start_guessing(&self.stage).map_err(Failure::software)?;
        self.until(Duration::from_secs(12), "the password guesser did not end", |seen| seen.guesser_done)?;
        let raised = |seen: &Seen| seen.alarm(GUESSER).is_some();
        self.until(Duration::from_secs(2), "password guessing raised no alert", raised)?;
        let guesses = std::mem::take(&mut self.seen.guesses);
        self.stopped(GUESSER, &guesses, "passwords")
    }

    /// Measures where an attacker's packets stopped.
    fn stopped(&self, attacker: Ipv4Addr, probes: &[Probe], what: &str) -> Result<(), Failure> {
        let Some(cut) = Cut::of(probes) else {
            return Err(self.failed(&format!(
                "{attacker} was not stopped: the last of {} {what} it tried was answered",
                probes.len()
            )));
        };
        self.say(
            Tone::Good,
            &format!(
                "{attacker} is cut off: {} of {} {what} were answered, the last {} were not",
                cut.answered,
                probes.len(),
                cut.dropped
            ),
        );
        if let Some(Alarm { decided, .. }) = self.seen.alarm(attacker) {
            self.say(Tone::Good, &cut.against(decided));
        }
        Ok(())
    }

    /// The scanner's block ends by itself.
    fn block_ends(&mut self) -> Result<(), Failure> {
        self.say(Tone::Plain, &format!("{SCANNER} knocks until its block has ended by itself"));
        let open = |seen: &Seen| seen.let_in.contains(&SCANNER);
        self.until(BLOCK_ENDS_WITHIN, "the block did not end", open)?;
        let lasted =
            self.seen.alarm(SCANNER).map_or(Duration::ZERO, |alarm| now().duration_since(alarm.heard));
        let text =
            format!("the block of {SCANNER} is over after {:.1} s: it is let in again", lasted.as_secs_f64());
        self.say(Tone::Good, &text);
        Ok(())
    }

    /// The guesser's block stands without the daemon too, until its time is over or somebody lifts it.
    fn flush(&mut self) -> Result<(), Failure> {
        let stood = !self.seen.let_in.contains(&GUESSER);
        let program = std::env::current_exe().map_err(Failure::software)?;
        let done = self.router(&program, &["firewall", "flush"]).map_err(Failure::software)?;
        if !done.status.success() {
            let said = String::from_utf8_lossy(&done.stderr);
            return Err(self.failed(&format!(
                "slips firewall flush ended with {}: {}",
                done.status,
                said.trim()
            )));
        }
        let open = |seen: &Seen| seen.let_in.contains(&GUESSER);
        self.until(Duration::from_secs(3), "slips firewall flush did not let the guesser in", open)?;
        let text = if stood {
            format!("{GUESSER} was still blocked; `slips firewall flush` lets it in again")
        } else {
            format!(
                "the block of {GUESSER} ended by itself too; `slips firewall flush` leaves nothing behind"
            )
        };
        self.say(Tone::Good, &text);
        self.client_is_well()
    }

    fn router(&self, program: &Path, args: &[&str]) -> std::io::Result<std::process::Output> {
        self.stage.command(Place::Router, program).args(args).output()
    }

    /// The daemon must end when asked.
    fn end(&mut self) -> Result<(), Failure> {
        match self.daemon.stop(|| std::thread::park_timeout(TURN)) {
            Ok(took) => {
                let text = format!("the daemon ended {:.0} ms after SIGTERM", took.as_secs_f64() * 1000.0);
                self.say(Tone::Good, &text);
                Ok(())
            }
            Err(why) => Err(self.failed(&why)),
        }
    }

    /// The client must have noticed nothing.
    fn client_is_well(&mut self) -> Result<(), Failure> {
        let so_far = self.seen.downloads;
        let goes_on = |seen: &Seen| seen.downloads > so_far || !seen.download_errors.is_empty();
        self.until(Duration::from_secs(3), "the client got no page any more", goes_on)?;
        let whole = self.seen.downloads;
        if let Some(first) = self.seen.download_errors.first() {
            let failed = self.seen.download_errors.len();
            return Err(self.failed(&format!(
                "{failed} downloads of the client failed and {whole} did not; the first: {first}"
            )));
        }
        let slowest = self.seen.slowest_download.as_secs_f64() * 1000.0;
        let text = format!("all {whole} downloads of the client are whole, the slowest took {slowest:.0} ms");
        self.say(Tone::Good, &text);
        Ok(())
    }

    /// Lets things happen until `done`, or says that it took too long.
    fn until(
        &mut self,
        within: Duration,
        otherwise: &str,
        done: impl Fn(&Seen) -> bool,
    ) -> Result<(), Failure> {
        let deadline = now() + within;
        while !done(&self.seen) {
            self.turn()?;
            if now() >= deadline && !done(&self.seen) {
                return Err(self.failed(&format!("{otherwise} within {} s", within.as_secs())));
            }
        }
        Ok(())
    }

    /// Waits a moment and takes in all that has happened.
    fn turn(&mut self) -> Result<(), Failure> {
        if self.signals.wait(TURN).map_err(Failure::software)?.is_some() {
            return Err(Failure::new(Exit::Software, "demo: interrupted; everything is taken down again"));
        }
        if let Some(status) = self.daemon.ended_unasked() {
            return Err(self.failed(&format!("the daemon ended with {status}")));
        }
        self.seen.ready |= self.daemon.said_ready();
        for line in self.daemon.alerts() {
            if let Some(told) = told::read(&line) {
                self.hear(told);
            }
        }
        while let Ok(event) = self.heard.try_recv() {
            self.on_event(event)?;
        }
        Ok(())
    }

    fn on_event(&mut self, event: Event) -> Result<(), Failure> {
        let seen = &mut self.seen;
        match event {
            Event::Download(Ok(took)) => {
                seen.downloads += 1;
                seen.slowest_download = seen.slowest_download.max(took);
            }
            Event::Download(Err(error)) => {
                seen.download_errors.push(error.to_string());
                self.say(Tone::Alarm, &format!("a download of the client failed: {error}"));
            }
            Event::Scanned(probes) => seen.scan = Some(probes),
            Event::Guessed(probe) => seen.guesses.push(probe),
            Event::GuesserDone => seen.guesser_done = true,
            Event::LetIn(from) => seen.let_in.push(from),
            Event::Broke(actor, error) => {
                return Err(self.failed(&format!("the {actor} cannot go on: {error}")));
            }
        }
        Ok(())
    }

    fn hear(&mut self, told: Told) {
        match told {
            Told::Evidence(sign) => {
                self.seen.suspects.retain(|(attacker, _)| *attacker != sign.attacker);
                self.seen.suspects.push((sign.attacker, sign.seen));
                let mut text =
                    format!("  {}  {:<8} {:.2}  {}", sign.attacker, sign.level, sign.confidence, sign.text);
                // After an alert the sum begins anew, and what was used is not counted again.
                if sign.weight > 0.0 {
                    text.push_str(&format!("; weight {:.2} of {BAR}", sign.weight));
                }
                self.say(Tone::Suspicion, &text);
            }
            Told::Alert { attacker, confidence, evidence } => {
                let decided = self.seen.suspects.iter().find(|(suspect, _)| *suspect == attacker);
                let decided = decided.map_or_else(tell::wall_micros, |(_, seen)| *seen);
                if !self.seen.alarms.iter().any(|alarm| alarm.attacker == attacker) {
                    self.seen.alarms.push(Alarm { attacker, decided, heard: now() });
                }
                let text = format!(
                    "ALERT  {attacker} is an attacker: confidence {confidence:.2}, {evidence} evidence"
                );
                self.say(Tone::Alarm, &text);
            }
        }
    }

    fn say(&self, tone: Tone, text: &str) {
        self.teller.say(tone, text);
    }

    fn failed(&self, what: &str) -> Failure {
        let at = self.teller.elapsed().as_secs_f64();
        Failure::new(
            Exit::Software,
            format!("demo: failed after {at:.1} s: {what}{}", self.daemon.last_words()),
        )
    }
}

/// Where in a row of attempts the answers stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cut {
    answered: usize,
    /// Attempts after the last answered one.
    dropped: usize,
    /// When the last word came back, whole answer or not.
    last_heard: i64,
    first_dropped: i64,
}

impl Cut {
    /// `None` when there was never an answer or the last attempt was answered.
    fn of(probes: &[Probe]) -> Option<Self> {
        let answered = probes.iter().filter(|probe| probe.answered).count();
        let last = probes.iter().rposition(|probe| probe.answered)?;
        let after = probes.get(last + 1..)?;
        Some(Self {
            answered,
            dropped: after.len(),
            last_heard: probes.iter().map(|probe| probe.heard).max()?,
            first_dropped: after.first()?.sent,
        })
    }

    /// When that was, seen from the packet that decided.
    fn against(self, decided: i64) -> String {
        let millis = |micros: i64| micros as f64 / 1000.0;
        let heard = self.last_heard - decided;
        let side = if heard < 0 { "before" } else { "after" };
        let last =
            format!("the last answer came {:.1} ms {side} the packet that decided", millis(heard.abs()));
        // An attempt that takes several packets can be cut off in its middle.
        match self.first_dropped - decided {
            under_way if under_way < 0 => format!("{last}, in the middle of an attempt"),
            next => {
                format!("{last}, the first attempt without an answer began {:.1} ms after it", millis(next))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cut_is_behind_the_last_answer() {
        let probes = |text: &str| -> Vec<Probe> {
            let probe =
                |(c, sent)| Probe { sent, heard: if c == '+' { sent + 1 } else { 0 }, answered: c == '+' };
            text.chars().zip(0..).map(probe).collect()
        };
        let cut = Cut { answered: 4, dropped: 2, last_heard: 5, first_dropped: 5 };
        for (text, expected) in [("++-++--", Some(cut)), ("+-+", None), ("---", None), ("", None)] {
            assert_eq!(Cut::of(&probes(text)), expected, "{text}");
        }
    }
}
