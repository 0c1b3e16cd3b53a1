//! What the main thread does while the others work: signals, the watchdog, what the service manager and the journal are told of losses,
//! and what is asked of the daemon as a whole.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use slips_systemd::journal::Journal;
use slips_systemd::notify::{Notifier, State};

use super::bell::Bell;
use super::clocks::Clocks;
use super::entries;
use super::figures::Vitals;
use super::memory;
use super::outbox::Shed;
use super::overload::Step;
use super::overload::watch::Watch;
use super::pulse::{Losses, Pulse};
use super::reload::Reload;
use super::responder::Gauges;
use super::signals::{Asked, Signals};
use super::standstill::Standstill;
use crate::cli::Failure;
use crate::config::Mode;
use crate::control::{Answer, Pending};

/// How often the main thread looks after things.
pub const LOOK: Duration = Duration::from_millis(500);
/// How often the journal tells what was lost, if more was.
const TELL_LOSSES: Duration = Duration::from_secs(60);

/// Over what time flows are counted for the status.
const RATE_OVER: Duration = Duration::from_secs(5);

/// Looks after a daemon.
pub struct Tender<'a> {
    pub signals: &'a Signals,
    /// What is asked, and the bell that tells it.
    pub asks: (Receiver<Pending>, Bell),
    pub notifier: &'a Notifier,
    pub pulse: Arc<Pulse>,
    pub shed: [Arc<Shed>; 2],
    pub gauges: Arc<Gauges>,
    pub mode: Mode,
    pub standstill: Standstill,
    pub overload: Watch,
    pub memory: memory::Watch,
    pub journal: Journal,
    pub reload: Reload,
    pub rate: Rate,
    /// How many peers are connected.
    pub peers: Arc<AtomicUsize>,
    /// What is found out here, for who asks.
    pub vitals: Arc<Vitals>,
}

/// How many flows end in a second, of the last seconds.
#[derive(Default)]
pub struct Rate {
    flows: u64,
    /// How many there were, and when.
    before: Option<(u64, Duration)>,
}

impl Rate {
    fn look(&mut self, now: Duration, pulse: &Pulse) {
        let all = pulse.flows.load(Ordering::Relaxed);
        let (had, at) = *self.before.get_or_insert((all, now));
        let passed = now.saturating_sub(at);
        if passed >= RATE_OVER {
            self.flows = (all.saturating_sub(had) as f64 / passed.as_secs_f64()).round() as u64;
            self.before = Some((all, now));
        }
    }
}

impl Tender<'_> {
    /// Until the daemon is to end; says why.
    pub fn tend(mut self) -> Result<&'static str, Failure> {
        let mut standing: Vec<String> = Vec::new();
        let clock = Clocks::default().steady;
        let (mut told, mut told_at) = (Losses::default(), None::<Duration>);
        let mut patience = LOOK;
        loop {
            match self.signals.wait_or(&self.asks.1, patience).map_err(Failure::software)? {
                Some(Asked::Stop) => return Ok("asked by a signal"),
                // What came of it stands in the journal: nobody waits for an answer.
                Some(Asked::Reload) => drop(self.read_again()),
                None => {}
            }
            // One a turn: whoever asks over and over holds up neither a signal nor the watchdog.
            patience = match self.asks.0.try_recv() {
                Ok(pending) => {
                    pending.answer_by(|_| self.read_again());
                    Duration::ZERO
                }
                Err(_) => LOOK,
            };
            if self.pulse.ended.load(Ordering::Relaxed) {
                return Ok("the capture ended");
            }
            let losses = Losses::read(&self.pulse, &self.shed);
            let now = clock();
            if losses != told && told_at.is_none_or(|at| now.saturating_sub(at) >= TELL_LOSSES) {
                (told, told_at) = (losses, Some(now));
                self.journal.send(&entries::losses(&losses));
            }
            self.journal.tell_losses();
            if let Some(change) = self.memory.look(now, &self.pulse) {
                self.journal.send(&entries::degraded("memory", &change));
            }
            let used = self.memory.used();
            if let Some(change) = self.overload.look(now, &self.pulse, &self.shed, used) {
                self.journal.send(&entries::overload(&change, &losses));
                if change.to == Step::None {
                    // What the flood had taken.
                    slips_systemd::heap::trim();
                }
            }
            let stand = self.standstill.look(now);
            if stand != standing {
                self.journal.send(&entries::standstill(&stand, self.notifier.watchdog()));
                standing = stand;
            }
            self.rate.look(now, &self.pulse);
            self.tell_vitals(&standing);
            let status = State::Status(&self.status(&standing, &losses));
            match standing.is_empty() {
                true => self.notifier.say(&[State::Alive, status]),
                // The watchdog bites.
                false => self.notifier.say(&[status]),
            }
        }
    }

    fn tell_vitals(&self, standing: &[String]) {
        let vitals = &self.vitals;
        let micros = u64::try_from(self.overload.lag().as_micros()).unwrap_or(u64::MAX);
        let (used, limit) = self.memory.bytes();
        let told = [
            (&vitals.flows_per_second, self.rate.flows),
            (&vitals.lag, micros),
            (&vitals.memory, used),
            (&vitals.memory_limit, limit),
        ];
        for (figure, value) in told {
            figure.store(value, Ordering::Relaxed);
        }
        vitals.tables.store(self.pulse.share(), Ordering::Relaxed);
        let mut told = vitals.standing.lock().unwrap_or_else(PoisonError::into_inner);
        if *told != standing {
            *told = standing.to_vec();
        }
    }

    fn read_again(&mut self) -> Answer {
        self.notifier.say(&[State::Reloading((Clocks::default().awake)())]);
        let said = self.reload.reload();
        self.journal.send(&match &said {
            Ok(text) => entries::reloaded(text),
            Err(text) => entries::degraded("reload", text),
        });
        self.notifier.say(&[State::Ready]);
        said
    }

    /// One line for `systemctl status`.
    fn status(&self, standing: &[String], losses: &Losses) -> String {
        let unhealthy = self.gauges.unhealthy.load(Ordering::Relaxed);
        format!(
            "{}{}watching: {} flows, {} a second, {} blocks{}, lag {} ms{}{}{}{losses}{}{}",
            if unhealthy { "UNHEALTHY, blocking does not block; " } else { "" },
            if standing.is_empty() {
                String::new()
            } else {
                format!("STANDS STILL: {}; ", standing.join(", "))
            },
            self.pulse.flows.load(Ordering::Relaxed),
            self.rate.flows,
            self.gauges.blocks.load(Ordering::Relaxed),
            match self.peers.load(Ordering::Relaxed) {
                0 => String::new(),
                1 => ", 1 peer".into(),
                peers => format!(", {peers} peers"),
            },
            self.overload.lag().as_millis(),
            if self.mode == Mode::Monitor { ", monitor mode" } else { "" },
            match self.overload.step() {
                Step::None => String::new(),
                step => format!("; overload, step {}: {}", step as u8, step.what()),
            },
            if losses.total() > 0 { "; lost: " } else { "" },
            self.pulse.inputs.lock().map(|inputs| inputs.clone()).unwrap_or_default(),
            self.pulse.redis.lock().map(|redis| redis.clone()).unwrap_or_default(),
        )
    }
}
