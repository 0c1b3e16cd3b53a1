//! The mirror in Redis as a part of the daemon: a thread that takes records as far as there is room, and sends what becomes of them. Redis slow,
//! full, restarted, absent or hostile harms the mirror alone; when it is well again, all is sent anew from the database.

mod bus;
mod line;

use std::collections::{BTreeSet, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use redis::{Cmd, FromRedisValue, RedisError, cmd};
use slips_core::record::Record;
use slips_core::settings::Settings;
use slips_store::Stories;
use slips_store::redis::{Channel, Follow, Keys, Mirror, MirrorSettings, Replay};
use slips_systemd::journal::Journal;

use super::clocks::Clocks;
use super::entries;
use super::fleet::WRONG_TYPE;
use super::fleet::duty::Duty;
use super::outbox::{Lane, Shed};
use super::pulse::Pulse;
use super::responder::Gauges;
use crate::config::Config;
pub use bus::{Voices, build as bus};
use line::{Line, Sent};

/// Record batches that may wait for the thread.
const QUEUE: usize = 64;
/// Commands that are gathered before they are sent, if more wait.
const GATHERED: usize = 512;
/// How long the thread waits for records, and what comes each so often.
const BEAT: Duration = Duration::from_secs(1);
const LISTENERS: Duration = Duration::from_secs(2);
const SWEEP: Duration = Duration::from_secs(60);
/// That keys are of another type is told so often at most.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);
/// Between two pages of what is sent anew the processor is somebody else's.
const BREATH: Duration = Duration::from_millis(1);
/// How long is waited; tests wait less.
struct Pace {
    /// The database is at most this old: what is sent anew is read so long after the first record that is mirrored again.
    settled: Duration,
    /// How often profiles are read that changed.
    follow: Duration,
    /// After an answer that Redis takes nothing it is tried again to send all anew after so long, twice as long each time.
    first_pause: Duration,
    longest_pause: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        let secs = Duration::from_secs;
        Self { settled: secs(3), follow: secs(5), first_pause: secs(1), longest_pause: secs(30) }
    }
}

/// What is sent anew.
enum Playing {
    /// All is equal, as far as is known.
    Not,
    /// It begins then.
    From(Duration),
    /// It goes on.
    Goes(Box<Replay>),
}

/// Why the mirror is not equal to what it shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    Gone,
    Refuses,
}

/// When each of the regular things is to be done next.
#[derive(Default)]
struct Due {
    beat: Duration,
    listeners: Duration,
    follow: Duration,
    sweep: Duration,
    blocks: Duration,
}

/// What the thread takes from others.
struct From {
    records: Receiver<Vec<Record>>,
    /// What had no room on the way, and what of it was seen.
    shed: (Arc<Shed>, u64),
    /// Whether events are wanted at all.
    traffic: Arc<AtomicBool>,
    gauges: Arc<Gauges>,
    pulse: Arc<Pulse>,
    voices: Arc<Voices>,
}

/// See the module.
pub struct Mirroring {
    line: Line,
    mirror: Mirror,
    flows: PathBuf,
    blocks: PathBuf,
    facts: Vec<(&'static str, String)>,
    from: From,
    journal: Journal,
    clocks: Clocks,
    playing: Playing,
    pace: Pace,
    pause: Duration,
    follow: Option<Follow>,
    due: Due,
    trouble: Option<Trouble>,
    unread: bool,
    /// Something was lost while all was sent anew.
    again: bool,
    /// Which change of the blocks was mirrored.
    changes: Option<u64>,
    /// Records that were not mirrored when they came.
    missed: u64,
    /// Keys of ours that were of another type, and when that was told.
    strange: u64,
    told_strange: Option<Duration>,
    /// What is mirrored is that of the daemon that acts.
    duty: Duty,
}

/// The thread's work and the way to it, where there is a Redis. `say` hears what keeps it from being used.
pub fn build(
    config: &Config,
    settings: &Settings,
    gauges: &Arc<Gauges>,
    pulse: &Arc<Pulse>,
    voices: &Arc<Voices>,
    duty: &Duty,
    mut journal: Journal,
) -> Option<(Mirroring, Lane)> {
    if !config.redis.is_on() {
        return None;
    }
    let server = match config.redis.server() {
        Ok(server) => server,
        Err(problem) => {
            journal.send(&entries::degraded("redis", &problem));
            return None;
        }
    };
    let mirror = Mirror::new(MirrorSettings {
        keys: Keys::new(config.redis.prefix(), config.redis.router()),
        ttl: config.redis.ttl.0.as_secs(),
        width: settings.width,
        local: settings.local_nets.clone(),
        // That it cannot be read the fleet's part tells.
        secret: config.redis.secret().unwrap_or_default(),
    });
    let traffic = Arc::new(AtomicBool::new(false));
    let wanted = Arc::clone(&traffic);
    let (to, records) = sync_channel(QUEUE);
    let lane = Lane::new(to, move |record| match record {
        Record::Events(_) | Record::ProfileNew { .. } => wanted.load(Ordering::Relaxed),
        other => Mirror::wants(other),
    });
    let (clocks, pace) = (Clocks::default(), Pace::default());
    let started = slips_store::render::iso(slips_core::time::PacketTime((clocks.wall)()));
    let mirroring = Mirroring {
        line: Line::new(server),
        mirror,
        flows: config.output.directory.join("flows.sqlite"),
        blocks: config.output.directory.join("blocks.sqlite"),
        facts: vec![
            ("slips_version", env!("CARGO_PKG_VERSION").to_owned()),
            ("analysis_start", started),
            ("input_type", "interface".to_owned()),
            ("width", settings.width.span().as_secs_f64().to_string()),
            ("evidence_detection_threshold", settings.threshold.to_string()),
            (
                "mode",
                if config.firewall.mode == crate::config::Mode::Monitor { "monitor" } else { "enforce" }
                    .into(),
            ),
        ],
        from: From {
            records,
            shed: (lane.shed(), 0),
            traffic,
            gauges: Arc::clone(gauges),
            pulse: Arc::clone(pulse),
            voices: Arc::clone(voices),
        },
        journal,
        clocks,
        playing: Playing::Not,
        pause: pace.first_pause,
        pace,
        follow: None,
        due: Due::default(),
        trouble: None,
        unread: false,
        again: false,
        changes: None,
        missed: 0,
        strange: 0,
        told_strange: None,
        duty: duty.clone(),
    };
    Some((mirroring, lane))
}

impl Mirroring {
    /// Goes on until the engine is gone.
    pub fn run(mut self) {
        let mut out = Vec::new();
        loop {
            let now = (self.clocks.steady)();
            self.reach(now, &mut out);
            let goes_on = matches!(self.playing, Playing::Goes(_)) || self.mirror.has_blocks();
            let plays = goes_on && self.line.is_up();
            let wait = if plays { BREATH } else { self.idle(now) };
            let more = match self.from.records.recv_timeout(wait) {
                Ok(batch) => {
                    self.take(&batch, &mut out);
                    self.gather(&mut out);
                    true
                }
                Err(RecvTimeoutError::Timeout) => true,
                Err(RecvTimeoutError::Disconnected) => false,
            };
            // While it waited another one may have begun to act.
            if self.line.is_up() && self.duty.acts() {
                self.regularly(&mut out);
                self.play(&mut out);
            }
            self.send(&mut out);
            self.show();
            if !more {
                return;
            }
        }
    }

    fn take(&mut self, records: &[Record], out: &mut Vec<Cmd>) {
        if self.line.is_up() {
            return records.iter().for_each(|record| self.mirror.take(record, out));
        }
        // What stands in open windows is known all the same.
        records.iter().for_each(|record| self.mirror.note(record));
        self.missed += records.iter().filter(|record| !matches!(record, Record::Events(_))).count() as u64;
    }

    /// Takes what waits already, until it is enough to be sent.
    fn gather(&mut self, out: &mut Vec<Cmd>) {
        while out.len() < GATHERED {
            let Ok(batch) = self.from.records.try_recv() else { return };
            self.take(&batch, out);
        }
    }

    /// How long nothing has to be done.
    fn idle(&self, now: Duration) -> Duration {
        if !self.duty.acts() {
            return BEAT;
        }
        let next = match self.line.next_try() {
            Some(at) => at,
            None => self.due.beat,
        };
        next.saturating_sub(now).min(BEAT)
    }

    /// Connects, if it is time.
    fn reach(&mut self, now: Duration, out: &mut Vec<Cmd>) {
        if !self.line.is_up() && self.from.traffic.swap(false, Ordering::Relaxed) {
            // Nobody hears of traffic now.
            self.mirror.listened(HashSet::new());
        }
        if !self.duty.acts() {
            self.playing = Playing::Not;
            return self.line.let_go();
        }
        match self.line.reach(now) {
            None => {}
            Some(Err(error)) => self.went(Trouble::Gone, &format!("{} is not reached: {error}", self.line)),
            Some(Ok(())) => {
                out.clear();
                self.due = Due::default();
                self.changes = None;
                self.mirror.remember();
                self.mirror.analysis(&self.facts, out);
                self.playing = Playing::From(now.saturating_add(self.pace.settled));
            }
        }
    }

    /// Sends; what is not taken is sent anew later. Whose place was taken sends nothing: his book has no block any more, and that of whoever acts
    /// now is to stay as it is.
    fn send(&mut self, out: &mut Vec<Cmd>) {
        if !self.duty.acts() {
            out.clear();
            self.playing = Playing::Not;
            self.line.let_go();
        }
        match self.line.send(out) {
            Sent::All => {}
            Sent::Refused(why) => {
                self.went(Trouble::Refuses, &format!("{} does not take what is mirrored: {why}", self.line));
                self.changes = None;
                self.renew_later();
            }
            Sent::Strange(keys) => self.clear(&keys),
            Sent::Broken(error) => {
                self.playing = Playing::Not;
                self.went(Trouble::Gone, &format!("{} is lost: {error}", self.line));
            }
        }
        let lost = self.from.shed.0.records.load(Ordering::Relaxed);
        if lost != self.from.shed.1 {
            self.missed += lost - self.from.shed.1;
            self.from.shed.1 = lost;
            match self.playing {
                Playing::Goes(_) => self.again = true,
                Playing::Not if self.line.is_up() => self.renew_later(),
                Playing::Not | Playing::From(_) => {}
            }
        }
    }

    /// Takes away what somebody else put where our values belong, and writes them anew; the others are as they should be.
    fn clear(&mut self, keys: &BTreeSet<String>) {
        self.strange += keys.len() as u64;
        let now = (self.clocks.steady)();
        if let Some(first) = keys.first()
            && self.told_strange.is_none_or(|at| now.saturating_sub(at) >= COMPLAIN_EVERY)
        {
            self.told_strange = Some(now);
            let text = format!(
                "{}: {} keys of ours had values of another type ({first}); they are taken away and written anew",
                self.line,
                keys.len()
            );
            self.journal.send(&entries::degraded("redis", &text));
        }
        let mut del = cmd("DEL");
        for key in keys {
            del.arg(key);
        }
        if let Sent::Broken(error) = self.line.send(&mut vec![del]) {
            self.playing = Playing::Not;
            return self.went(Trouble::Gone, &format!("{} is lost: {error}", self.line));
        }
        self.changes = None;
        self.renew_later();
    }

    /// Everything is to be sent anew, after a pause that grows: what is sent from now on is newer than what will be read, all else is not.
    fn renew_later(&mut self) {
        self.mirror.remember();
        self.again = false;
        // What is refused again and again must not put it off for ever.
        if matches!(self.playing, Playing::From(_)) {
            return;
        }
        let now = (self.clocks.steady)();
        let pause = self.pause;
        self.pause = (pause * 2).min(self.pace.longest_pause);
        self.playing = Playing::From(now.saturating_add(pause.max(self.pace.settled)));
    }

    /// Tells of trouble once, whatever is tried meanwhile.
    fn went(&mut self, trouble: Trouble, what: &str) {
        if self.trouble.replace(trouble).is_none() {
            let text = format!("{what}; detection goes on, and the mirror follows when it can");
            self.journal.send(&entries::degraded("redis", &text));
        }
    }

    /// Sends some of what is sent anew.
    fn play(&mut self, out: &mut Vec<Cmd>) {
        let now = (self.clocks.steady)();
        match &mut self.playing {
            Playing::Not => {}
            Playing::From(at) if *at > now => {}
            Playing::From(_) => self.begin(out),
            // Blocks first.
            Playing::Goes(_) if self.mirror.has_blocks() => {}
            Playing::Goes(replay) => match replay.step(&mut self.mirror, out) {
                Ok(None) => {}
                Ok(Some(follow)) => {
                    self.follow = Some(follow);
                    // Before its end is believed the last of it is sent.
                    self.playing = Playing::Not;
                    self.send(out);
                    match self.playing {
                        Playing::Not if self.again => self.renew_later(),
                        Playing::Not if self.line.is_up() => self.is_equal(),
                        _ => {}
                    }
                }
                Err(error) => {
                    self.unread(&error);
                    self.renew_later();
                }
            },
        }
    }

    fn begin(&mut self, out: &mut Vec<Cmd>) {
        let wall = (self.clocks.wall)();
        // What came meanwhile is sent before it is asked what there is.
        self.mirror.renew(out);
        self.playing = Playing::Not;
        self.send(out);
        if !matches!(self.playing, Playing::Not) || !self.line.is_up() {
            return;
        }
        let had =
            self.line.ask(cmd("ZRANGE").arg(self.mirror.settings().keys.blocked()).arg(0).arg(MOST_BLOCKS));
        let had: Vec<String> = match had.and_then(|had| Ok(Vec::from_redis_value(had)?)) {
            Ok(had) => had,
            // It is found and taken away when it is written to.
            Err(error) if error.code() == Some(WRONG_TYPE) => Vec::new(),
            Err(error) => return self.failed(&error),
        };
        match Stories::open(&self.blocks).and_then(|book| book.marks(wall)) {
            Ok(standing) => {
                self.mirror.renew_blocks(&standing, had);
                self.playing = Playing::Goes(Box::new(Replay::begin(&self.mirror, &self.flows, wall)));
            }
            Err(error) => {
                self.unread(&error);
                self.renew_later();
            }
        }
    }

    /// An answer was none.
    fn failed(&mut self, error: &RedisError) {
        match self.line.is_up() {
            true => {
                self.went(Trouble::Refuses, &format!("{} does not answer: {error}", self.line));
                self.renew_later();
            }
            false => self.went(Trouble::Gone, &format!("{} is lost: {error}", self.line)),
        }
    }

    fn is_equal(&mut self) {
        self.pause = self.pace.first_pause;
        self.unread = false;
        if self.trouble.take().is_some() {
            let text = format!("{} is there again, and the mirror is equal to what it shows", self.line);
            self.journal.send(&entries::degraded("redis", &text));
        }
    }

    /// The database cannot be read: told once until it can.
    fn unread(&mut self, error: &slips_store::StoreError) {
        if !std::mem::replace(&mut self.unread, true) {
            self.journal
                .send(&entries::degraded("redis", &format!("what is mirrored cannot be read: {error}")));
        }
    }

    /// What comes each so often.
    fn regularly(&mut self, out: &mut Vec<Cmd>) {
        let (now, wall) = ((self.clocks.steady)(), (self.clocks.wall)());
        if now >= self.due.beat {
            self.due.beat = now.saturating_add(BEAT);
            self.beat(wall, out);
        }
        if now >= self.due.listeners {
            self.due.listeners = now.saturating_add(LISTENERS);
            self.listeners();
        }
        if now >= self.due.sweep {
            self.due.sweep = now.saturating_add(SWEEP);
            self.mirror.sweep(wall, out);
        }
        if now >= self.due.blocks {
            let ttl = Duration::from_secs(self.mirror.settings().ttl);
            self.due.blocks = now.saturating_add(ttl / 3);
            match Stories::open(&self.blocks).and_then(|book| book.marks(wall)) {
                Ok(standing) => self.mirror.renew_blocks(&standing, Vec::new()),
                Err(error) => self.unread(&error),
            }
        }
        if self.mirror.has_blocks() {
            let some = Stories::open(&self.blocks);
            if let Err(error) = some.and_then(|book| self.mirror.some_blocks(&book, wall, out)) {
                self.changes = None;
                self.unread(&error);
                self.renew_later();
            }
        }
        if now >= self.due.follow && !matches!(self.playing, Playing::Goes(_)) {
            let Some(follow) = &mut self.follow else { return };
            match follow.step(&self.mirror, &self.flows, out) {
                // The rest at the next turn.
                Ok(true) => {}
                Ok(false) => {
                    follow.again();
                    self.due.follow = now.saturating_add(self.pace.follow);
                }
                Err(error) => {
                    self.due.follow = now.saturating_add(self.pace.follow);
                    self.unread(&error);
                }
            }
        }
    }

    fn beat(&mut self, wall: i64, out: &mut Vec<Cmd>) {
        let changes = self.from.gauges.changes.load(Ordering::Relaxed);
        if self.changes != Some(changes) {
            match Stories::open(&self.blocks).and_then(|book| book.marks(wall)) {
                Ok(standing) => {
                    self.changes = Some(changes);
                    self.mirror.blocks(&standing, wall, out);
                }
                Err(error) => self.unread(&error),
            }
        }
        let load = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let (flows, blocks) =
            (load(&self.from.pulse.flows), self.from.gauges.blocks.load(Ordering::Relaxed) as u64);
        let alive = format!("\"flows\":{flows},\"blocks\":{blocks}");
        let figures = [
            ("flows", flows),
            ("blocks", blocks),
            ("packets_dropped", load(&self.from.pulse.drops)),
            ("not_mirrored", self.missed),
            ("keys_of_another_type", self.strange),
            ("outside_heard", load(&self.from.voices.heard)),
            ("outside_refused", load(&self.from.voices.refused)),
            ("outside_repeated", load(&self.from.voices.repeated)),
            ("messages_not_made", self.mirror.untold()),
        ];
        self.mirror.beat(wall, &alive, &figures, out);
    }

    /// Finds out on which channels about traffic somebody listens.
    fn listeners(&mut self) {
        let traffic: Vec<Channel> =
            Channel::ALL.iter().copied().filter(|channel| channel.is_traffic()).collect();
        let mut ask = cmd("PUBSUB");
        ask.arg("NUMSUB");
        for channel in &traffic {
            ask.arg(channel.name());
        }
        let told = self.line.ask(&ask);
        if let Err(error) = &told
            && !self.line.is_up()
        {
            return self.went(Trouble::Gone, &format!("{} is lost: {error}", self.line));
        }
        // Whom the access list does not let ask has no listeners.
        let told = told.ok().and_then(|told| Vec::<(String, u64)>::from_redis_value(told).ok());
        let heard: HashSet<Channel> = traffic
            .into_iter()
            .filter(|channel| told.iter().flatten().any(|(name, count)| name == channel.name() && *count > 0))
            .collect();
        self.mirror.listened(heard);
        self.from.traffic.store(self.mirror.wants_traffic(), Ordering::Relaxed);
    }

    /// How the mirror stands, for the status of the daemon.
    fn show(&self) {
        let text = match self.trouble {
            None => String::new(),
            Some(Trouble::Gone) => format!("; redis is not reached, {} records not mirrored", self.missed),
            Some(Trouble::Refuses) => "; redis takes nothing".to_owned(),
        };
        if let Ok(mut shown) = self.from.pulse.redis.lock()
            && *shown != text
        {
            *shown = text;
        }
    }
}

/// Blocks of ours that Redis is asked for; what is beyond ends by itself.
const MOST_BLOCKS: u32 = 100_000;

#[cfg(test)]
pub(super) mod tests;
