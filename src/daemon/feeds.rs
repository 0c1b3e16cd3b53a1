//! What is read besides the packets of interfaces: logs that grow, flow exporters, programs that tell of flows. One thread asks all of them,
//! since most of their time is waiting. Nothing is shed here: a log waits until the engine takes more, and whoever sends datagrams counts
//! them.

use std::sync::atomic::Ordering;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use slips_core::engine::pipeline::Input;
use slips_core::event::Event;
use slips_core::record::Record;
use slips_core::time::{PacketTime, Span};
use slips_input::{Alerts, Feed, FeedReport, GrowingEve, Listener, Modules, Now, Reason};
use slips_store::{RecordSink, StoreError};
use slips_systemd::journal::Journal;

use super::clocks::Clocks;
use super::entries;
use super::pulse::Pulse;
use crate::cli::{Exit, Failure};
use crate::config::Inputs;

/// How long nobody looks whether the run is to end.
const LOOK: Duration = Duration::from_millis(200);
/// How often time is told to the engine, which closes windows by it, and the state of the inputs to the service manager.
const TICK: Duration = Duration::from_secs(1);
/// How often the journal is told of records that could not be used.
const TELL: Duration = Duration::from_secs(60);
/// Most events of a batch. Each begins with the time, so that many old records in a row do not look like a clock that was set back.
const BATCH: usize = 1024;
/// How often an input that has ever more is asked at the end of the run.
const LAST_TURNS: usize = 256;
/// Packets of interfaces may still be under way to the engine; time must not be ahead of them.
const IN_FLIGHT: Span = Span::from_millis(50);

/// Opens all inputs of the configuration.
///
/// Who is to hear of alerts hears of those that are put into `alerts`.
pub fn open(config: &Inputs, alerts: &Alerts) -> Result<Vec<Box<dyn Feed>>, Failure> {
    let mut feeds: Vec<Box<dyn Feed>> = Vec::new();
    for addr in &config.netflow {
        feeds.push(Box::new(Listener::open(*addr, config.exporters())?));
    }
    for path in &config.eve {
        feeds.push(Box::new(GrowingEve::open(path, now(&Clocks::default()))?));
    }
    if !config.socket.as_os_str().is_empty() {
        feeds.push(Box::new(Modules::open(&config.socket, alerts.clone())?));
    }
    Ok(feeds)
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

/// The inputs while they run.
pub struct Feeds {
    fed: Vec<Fed>,
    input: Input,
    journal: Journal,
    clocks: Clocks,
    /// This thread's place among the capture loops.
    number: usize,
    ticked: Duration,
    waiting: Vec<Event>,
}

/// One of them, and what was told of it.
struct Fed {
    feed: Box<dyn Feed>,
    /// When it is to be asked again.
    due: Duration,
    told_at: Option<Duration>,
    rejected: u64,
    trouble: String,
}

impl Feeds {
    /// `number` is this thread's place in [`Pulse::capture`].
    pub fn new(feeds: Vec<Box<dyn Feed>>, number: usize, input: Input, journal: Journal) -> Self {
        let fed = feeds.into_iter().map(Fed::new).collect();
        let clocks = Clocks::default();
        Self { fed, input, journal, clocks, number, ticked: Duration::ZERO, waiting: Vec::new() }
    }

    /// Reads until the run ends, or nothing is left to read.
    pub fn run(mut self, pulse: &Pulse) -> Result<(), Failure> {
        let mut failed = None;
        while !pulse.stopping.load(Ordering::Relaxed) && !self.fed.is_empty() {
            if let Some(turns) = pulse.capture.get(self.number) {
                turns.fetch_add(1, Ordering::Relaxed);
            }
            self.wait();
            let now = self.now();
            if now.steady.saturating_sub(self.ticked) >= TICK {
                self.ticked = now.steady;
                self.waiting.push(Event::Tick(now.wall - IN_FLIGHT));
                self.tell(now, pulse);
            }
            failed = self.read(now).or(failed);
            self.hand_over(now)?;
        }
        let now = self.now();
        for fed in &mut self.fed {
            // What has come already is not lost, unless it comes for ever.
            let more = |fed: &mut Fed, out: &mut Vec<Event>| {
                fed.feed.read(now, out).is_ok_and(|wait| wait.is_zero())
            };
            let _ = (0..LAST_TURNS).take_while(|_| more(fed, &mut self.waiting)).count();
            fed.feed.finish(&mut self.waiting);
        }
        self.tell(now, pulse);
        self.hand_over(now)?;
        match failed {
            Some(failure) if self.fed.is_empty() => {
                pulse.ended.store(true, Ordering::Relaxed);
                Err(failure)
            }
            _ => Ok(()),
        }
    }

    fn now(&self) -> Now {
        now(&self.clocks)
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

    /// Asks all of them; who fails is asked no more. Says why the last one failed.
    fn read(&mut self, now: Now) -> Option<Failure> {
        let (waiting, journal, mut failed) = (&mut self.waiting, &mut self.journal, None);
        self.fed.retain_mut(|fed| match fed.feed.read(now, waiting) {
            Ok(again) => {
                fed.due = now.steady + again;
                true
            }
            Err(error) => {
                fed.feed.finish(waiting);
                let failure = Failure::from(error);
                journal.send(&entries::degraded(&fed.feed.name(), &format!("is read no more: {failure}")));
                failed = Some(failure);
                false
            }
        });
        failed
    }

    /// Hands over what came, however long the engine takes.
    fn hand_over(&mut self, now: Now) -> Result<(), Failure> {
        let mut events = std::mem::take(&mut self.waiting).into_iter();
        let mut after = 0;
        loop {
            let mut batch: Vec<Event> = events.by_ref().take(BATCH).collect();
            if batch.is_empty() {
                return Ok(());
            }
            if after > 0 {
                batch.insert(0, Event::Tick(now.wall - IN_FLIGHT + Span(after)));
            }
            after += 1;
            self.input
                .send(batch)
                .map_err(|_| Failure::new(Exit::Software, "the detection threads ended early"))?;
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
    fn new(feed: Box<dyn Feed>) -> Self {
        Self { feed, due: Duration::ZERO, told_at: None, rejected: 0, trouble: String::new() }
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
