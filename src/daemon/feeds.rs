//! What is read besides the packets of interfaces: logs that grow, flow exporters, programs that tell of flows. One thread asks all of them,
//! since most of their time is waiting. A log waits until the engine takes more; what comes over the network is shed then, for packets that
//! are seen here must not wait for it.

mod open;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use slips_core::engine::pipeline::{Input, NotTaken};
use slips_core::event::Event;
use slips_core::record::Record;
use slips_core::time::{PacketTime, Span};
use slips_input::{Alerts, Feed, FeedReport, Now, Reason};
use slips_store::{RecordSink, StoreError};
use slips_systemd::journal::Journal;

use super::clocks::Clocks;
use super::entries;
use super::pulse::Pulse;
use crate::cli::{Exit, Failure};
use open::write_place;
pub use open::{Opened, open};

/// How long nobody looks whether the run is to end.
const LOOK: Duration = Duration::from_millis(200);
/// How often time is told to the engine, which closes windows by it, and the state of the inputs to the service manager.
const TICK: Duration = Duration::from_secs(1);
/// How often the journal is told of records that could not be used.
const TELL: Duration = Duration::from_secs(60);
/// Most events of a batch. Each begins with the time, so that many old records in a row do not look like a clock that was set back.
const BATCH: usize = 1024;
/// For how long inputs that have ever more are read at the end of the run.
const LAST_READ: Duration = Duration::from_secs(3);
/// Packets of interfaces may still be under way to the engine; time must not be ahead of them.
const IN_FLIGHT: Span = Span::from_millis(50);

/// The inputs while they run.
pub struct Feeds {
    fed: Vec<Fed>,
    input: Input,
    journal: Journal,
    clocks: Clocks,
    /// This thread's place among the capture loops.
    number: usize,
    /// No interface is watched.
    alone: bool,
    ticked: Duration,
    waiting: Vec<Event>,
    /// Batches of this turn.
    batches: i64,
}

/// One of them, and what was told of it.
struct Fed {
    feed: Box<dyn Feed>,
    /// When it is to be asked again.
    due: Duration,
    told_at: Option<Duration>,
    rejected: u64,
    trouble: String,
    /// Where it is written down how far it was read, and what was written there last.
    place: Option<PathBuf>,
    mark: Option<String>,
}

impl Feeds {
    /// `number` is this thread's place in [`Pulse::capture`].
    pub fn new(feeds: Vec<Opened>, number: usize, input: Input, journal: Journal) -> Self {
        let fed = feeds.into_iter().map(Fed::new).collect();
        let clocks = Clocks::default();
        Self {
            fed,
            input,
            journal,
            clocks,
            number,
            alone: number == 0,
            ticked: Duration::ZERO,
            waiting: Vec::new(),
            batches: 0,
        }
    }

    /// Reads until the run ends, or nothing is left to read and no interface is watched either.
    pub fn run(mut self, pulse: &Pulse) -> Result<(), Failure> {
        let mut failed = None;
        while !(pulse.stopping.load(Ordering::Relaxed) || self.alone && self.fed.is_empty()) {
            if let Some(turns) = pulse.capture.get(self.number) {
                turns.fetch_add(1, Ordering::Relaxed);
            }
            self.wait();
            let now = self.now();
            if now.steady.saturating_sub(self.ticked) >= TICK {
                self.ticked = now.steady;
                self.waiting.extend(self.time(now).map(Event::Tick));
                self.tell(now, pulse);
            }
            self.batches = 0;
            let time = self.time(now);
            self.hand_over(time, None)?;
            failed = self.read(now, time, pulse)?.or(failed);
            if self.ticked == now.steady {
                self.write_places();
            }
        }
        let now = self.now();
        let time = self.time(now);
        let mut fed = std::mem::take(&mut self.fed);
        for fed in &mut fed {
            // What has come already is not lost, unless it comes for ever.
            loop {
                let more = fed.feed.read(now, &mut self.waiting).is_ok_and(|wait| wait.is_zero());
                self.hand_over(time, None)?;
                if !more || self.now().steady.saturating_sub(now.steady) >= LAST_READ {
                    break;
                }
            }
            fed.feed.finish(&mut self.waiting);
            self.hand_over(time, None)?;
        }
        self.fed = fed;
        self.tell(now, pulse);
        self.write_places();
        match failed {
            Some(failure) if self.alone && self.fed.is_empty() => {
                pulse.ended.store(true, Ordering::Relaxed);
                Err(failure)
            }
            _ => Ok(()),
        }
    }

    fn now(&self) -> Now {
        now(&self.clocks)
    }

    /// Up to when all inputs have told what there is: the log that is furthest behind says so. `None` while nobody knows.
    fn time(&self, now: Now) -> Option<PacketTime> {
        let told = self.fed.iter().filter_map(|fed| fed.feed.clock(now)).min();
        told.map(|time| time.min(now.wall) - IN_FLIGHT)
    }

    /// Writes down how far the inputs were read, after what they told was handed over: a run that is killed repeats a second of it.
    fn write_places(&mut self) {
        for fed in &mut self.fed {
            let Some(place) = &fed.place else { continue };
            let mark = fed.feed.mark();
            if mark == fed.mark {
                continue;
            }
            if let Some(text) = &mark
                && let Err(error) = write_place(place, text)
            {
                let text = format!("{}: cannot be written: {error}", place.display());
                self.journal.send(&entries::degraded(&fed.feed.name(), &text));
                // Once is enough.
                fed.place = None;
                continue;
            }
            fed.mark = mark;
        }
    }

    /// Until an input has something, or is to be asked.
    fn wait(&self) {
        let now = self.now().steady;
        let due = self.fed.iter().map(|fed| fed.due.saturating_sub(now)).min();
        let wait = due.unwrap_or(LOOK).min(LOOK);
        let wakers = self.fed.iter().flat_map(|fed| fed.feed.wakers());
        let mut wakers: Vec<PollFd<'_>> = wakers.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        // Whatever it says, all that is due is asked.
        let _ = poll(&mut wakers, PollTimeout::try_from(wait).unwrap_or(PollTimeout::ZERO));
    }

    /// Asks all of them and hands over what they tell; who fails is asked no more. Says why the last one failed. `time` is up to when all was
    /// told before.
    fn read(
        &mut self,
        now: Now,
        time: Option<PacketTime>,
        pulse: &Pulse,
    ) -> Result<Option<Failure>, Failure> {
        let mut failed = None;
        for mut fed in std::mem::take(&mut self.fed) {
            // Who wakes nobody is asked when he said.
            if fed.due > now.steady && fed.feed.wakers().is_empty() {
                self.fed.push(fed);
                continue;
            }
            let sheds = !self.alone && fed.feed.can_be_forged();
            let shed = sheds.then_some(&pulse.shed_told);
            match fed.feed.read(now, &mut self.waiting) {
                Ok(again) => {
                    fed.due = now.steady + again;
                    self.fed.push(fed);
                }
                Err(error) => {
                    fed.feed.finish(&mut self.waiting);
                    let failure = Failure::from(error);
                    let said = format!("is read no more: {failure}");
                    self.journal.send(&entries::degraded(&fed.feed.name(), &said));
                    failed = Some(failure);
                }
            }
            self.hand_over(time, shed)?;
        }
        Ok(failed)
    }

    /// Hands over what came, however long the engine takes; or, where it is counted what is shed, what the engine takes now.
    fn hand_over(&mut self, time: Option<PacketTime>, shed: Option<&AtomicU64>) -> Result<(), Failure> {
        let mut events = std::mem::take(&mut self.waiting).into_iter();
        let ended = || Failure::new(Exit::Software, "the detection threads ended early");
        loop {
            let mut batch: Vec<Event> = events.by_ref().take(BATCH).collect();
            if batch.is_empty() {
                return Ok(());
            }
            let told = batch.len() as u64;
            if let Some(time) = time {
                batch.insert(0, Event::Tick(time + Span(self.batches)));
            }
            self.batches += 1;
            let Some(shed) = shed else {
                self.input.send(batch).map_err(|_| ended())?;
                continue;
            };
            match self.input.try_send(batch) {
                Ok(()) => {}
                Err(NotTaken::Full(_)) => {
                    shed.fetch_add(told, Ordering::Relaxed);
                }
                Err(NotTaken::Stopped(_)) => return Err(ended()),
            }
        }
    }

    /// Tells how the inputs stand.
    fn tell(&mut self, now: Now, pulse: &Pulse) {
        let mut status = String::new();
        for fed in &mut self.fed {
            let report = fed.feed.report();
            status += &format!("; {}: {}", fed.feed.name(), state(&report, now.wall));
            fed.complain(&report, now.steady, &mut self.journal);
        }
        if let Ok(mut told) = pulse.inputs.lock() {
            *told = status;
        }
    }
}

impl Fed {
    fn new(Opened { feed, place }: Opened) -> Self {
        let (due, trouble) = (Duration::ZERO, String::new());
        Self { feed, due, told_at: None, rejected: 0, trouble, place, mark: None }
    }

    /// Trouble is told when it begins; what could not be used, once a minute.
    fn complain(&mut self, report: &FeedReport, now: Duration, journal: &mut Journal) {
        if report.trouble != self.trouble {
            self.trouble.clone_from(&report.trouble);
            let said = if self.trouble.is_empty() { "is well again" } else { &self.trouble };
            journal.send(&entries::degraded(&self.feed.name(), said));
        }
        let unusable = report.rejected.iter().filter(|(reason, _)| **reason != Reason::UnusedKind);
        let rejected = unusable.map(|(_, count)| count).sum();
        if rejected == self.rejected || self.told_at.is_some_and(|at| now.saturating_sub(at) < TELL) {
            return;
        }
        (self.rejected, self.told_at) = (rejected, Some(now));
        let reasons = report.rejected.iter().map(|(reason, count)| format!("{count} {reason}"));
        let reasons: Vec<_> = reasons.collect();
        let last = if report.last_reject.is_empty() {
            String::new()
        } else {
            format!("; the last: {}", report.last_reject)
        };
        let text = format!("{} records used, not used: {}{last}", report.records, reasons.join(", "));
        journal.send(&entries::degraded(&self.feed.name(), &text));
    }
}

/// Tells those who listen of alerts.
pub struct Herald(pub Alerts);

impl RecordSink for Herald {
    fn accept(&mut self, records: &[Record]) -> Result<(), StoreError> {
        for record in records {
            if let Record::Alert(alert) = record {
                self.0.tell(&alert.id.to_string(), alert.attacker);
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<(), StoreError> {
        Ok(())
    }

    fn lost(&self) -> u64 {
        0
    }
}

fn now(clocks: &Clocks) -> Now {
    Now { wall: PacketTime((clocks.wall)()), steady: (clocks.steady)() }
}

/// Records, what was not used, and how far behind it is.
fn state(report: &FeedReport, now: PacketTime) -> String {
    let mut text = format!("{} records", report.records);
    let rejected = report.rejected_total();
    if rejected > 0 {
        text += &format!(", {rejected} not used");
    }
    if report.behind > 0 {
        text += &format!(", {} bytes to read", report.behind);
    }
    if let Some(newest) = report.newest {
        text += &format!(", the newest {} s ago", now.since(newest).0 / 1_000_000);
    }
    if !report.trouble.is_empty() {
        text += ", in trouble";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_an_input_stands_is_one_line() {
        let now = PacketTime(100_000_000);
        let mut report =
            FeedReport { records: 5, newest: Some(PacketTime(97_500_000)), ..FeedReport::default() };
        assert_eq!(state(&report, now), "5 records, the newest 2 s ago");
        report.behind = 9;
        report.trouble = "gone".into();
        assert_eq!(state(&report, now), "5 records, 9 bytes to read, the newest 2 s ago, in trouble");
    }
}
