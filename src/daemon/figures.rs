//! The figures of a running daemon, for whoever asks: what its threads count, and what the main thread finds out.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use slips_core::engine::meter::Meter;
use slips_core::engine::progress::Progress;
use slips_core::time::PacketTime;
use slips_store::render;

use super::clocks::Clocks;
use super::fleet::duty::Duty;
use super::outbox::Shed;
use super::overload::Step;
use super::pulse::{Losses, Pulse};
use super::responder::Gauges;
use crate::config;
use crate::control::api::types::{ClientCount, Memory, Mode, Overload, Status};

/// What the main thread finds out twice a second.
#[derive(Debug, Default)]
pub struct Vitals {
    /// Flows that ended in a second, of the last seconds.
    pub flows_per_second: AtomicU64,
    /// How old packets were at most when they were read, in microseconds.
    pub lag: AtomicU64,
    /// Memory in use, and what may be used, in bytes.
    pub memory: AtomicU64,
    pub memory_limit: AtomicU64,
    /// Percent of their size that tables may use.
    pub tables: AtomicU8,
    /// Parts that stand still.
    pub standing: Mutex<Vec<String>>,
}

/// What others count.
pub struct Counted {
    pub pulse: Arc<Pulse>,
    /// Of the lanes to the responder and to the files.
    pub shed: Vec<Arc<Shed>>,
    pub gauges: Arc<Gauges>,
    pub peers: Arc<AtomicUsize>,
    pub engine: Progress,
    pub meter: Meter,
}

/// See the module.
pub struct Figures {
    counted: Counted,
    pub vitals: Arc<Vitals>,
    mode: Mode,
    duty: Duty,
    watching: Vec<String>,
    /// Wall time, and steady time, of the start.
    started: (i64, Duration),
}

impl Figures {
    /// Of a daemon that starts now.
    pub fn new(counted: Counted, (mode, duty): (config::Mode, Duty), watching: Vec<String>) -> Arc<Self> {
        let clocks = Clocks::default();
        let mode = match mode {
            config::Mode::Enforce => Mode::Enforce,
            config::Mode::Monitor => Mode::Monitor,
        };
        let started = ((clocks.wall)(), (clocks.steady)());
        Arc::new(Self { counted, vitals: Arc::default(), mode, duty, watching, started })
    }

    fn uptime(&self) -> Duration {
        (Clocks::default().steady)().saturating_sub(self.started.1)
    }

    /// All of it that a person wants to see.
    pub fn status(&self, clients: ClientCount) -> Status {
        let (Counted { pulse, shed, gauges, peers, .. }, vitals) = (&self.counted, &self.vitals);
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let standing = vitals.standing.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let losses = Losses::read(pulse, shed);
        let lost: BTreeMap<String, u64> = losses
            .named()
            .filter(|(_, count)| *count > 0)
            .map(|(name, count)| (name.to_owned(), count))
            .collect();
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: render::iso(PacketTime(self.started.0)),
            uptime_seconds: self.uptime().as_secs(),
            mode: self.mode,
            stands_by: !self.duty.acts(),
            healthy: standing.is_empty() && !gauges.unhealthy.load(Ordering::Relaxed),
            watching: self.watching.clone(),
            inputs: pulse
                .inputs
                .lock()
                .map(|inputs| inputs.trim_start_matches("; ").to_owned())
                .unwrap_or_default(),
            packets: load(&pulse.packets),
            flows: load(&pulse.flows),
            flows_per_second: load(&vitals.flows_per_second),
            alerts: load(&pulse.alerts),
            blocks: gauges.blocks.load(Ordering::Relaxed) as u64,
            blocks_refused: load(&gauges.refused),
            peers: peers.load(Ordering::Relaxed) as u64,
            lag_ms: load(&vitals.lag) / 1000,
            memory: Memory {
                used_bytes: load(&vitals.memory),
                limit_bytes: load(&vitals.memory_limit),
                tables_percent: vitals.tables.load(Ordering::Relaxed),
            },
            overload: match pulse.step() {
                step @ Step::None => Overload { step: step as u8, what: "nothing is left out".into() },
                step => Overload { step: step as u8, what: step.what().into() },
            },
            standing_still: standing,
            lost,
            clients,
        }
    }

    /// All of it as Prometheus reads it; docs/metrics.md has each name.
    pub fn metrics(&self, clients: &ClientFigures) -> String {
        let mut text = Text(String::with_capacity(16 << 10));
        self.of_the_daemon(&mut text);
        self.of_the_traffic(&mut text);
        self.of_detections(&mut text);
        let ClientFigures { count, refused, evicted } = clients;
        text.one("slips_api_clients", "gauge", "Clients of the control API.", count.connected);
        text.one("slips_api_followers", "gauge", "Those of them that follow events.", count.following);
        text.one("slips_api_refused_total", "counter", "Clients that found no room.", refused);
        text.one(
            "slips_api_evicted_total",
            "counter",
            "Clients that were ended because they stalled.",
            evicted,
        );
        text.0
    }

    fn of_the_daemon(&self, text: &mut Text) {
        let (Counted { gauges, peers, pulse, .. }, vitals) = (&self.counted, &self.vitals);
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        text.family("slips_build_info", "gauge", "Always 1; its label is the version.");
        text.line("slips_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
        text.one("slips_uptime_seconds", "gauge", "Seconds since the start.", self.uptime().as_secs());
        let blocks = gauges.blocks.load(Ordering::Relaxed);
        text.one("slips_blocks", "gauge", "Networks that are blocked now.", blocks);
        let refused = load(&gauges.refused);
        text.one(
            "slips_blocks_refused_total",
            "counter",
            "Blocks that were refused, to protect somebody.",
            refused,
        );
        text.one(
            "slips_alerts_unkept_total",
            "counter",
            "Alerts that the book of blocks could not keep until the database has them.",
            load(&gauges.unkept),
        );
        let works = u8::from(!gauges.unhealthy.load(Ordering::Relaxed));
        text.one("slips_blocking_works", "gauge", "0 when a blocked address was not kept out.", works);
        let peers = peers.load(Ordering::Relaxed);
        text.one("slips_peers_connected", "gauge", "Peers that are connected now.", peers);
        text.one("slips_memory_used_bytes", "gauge", "Memory in use.", load(&vitals.memory));
        text.one("slips_memory_limit_bytes", "gauge", "Memory that may be used.", load(&vitals.memory_limit));
        let share = f64::from(vitals.tables.load(Ordering::Relaxed)) / 100.0;
        text.one("slips_tables_share", "gauge", "Part of their size that tables may use, 0 to 1.", share);
        text.one(
            "slips_overload_step",
            "gauge",
            "How much is left out: 0 (nothing) to 3.",
            pulse.step() as u8,
        );
        let standing = vitals.standing.lock().unwrap_or_else(PoisonError::into_inner).len();
        text.one(
            "slips_standing_still",
            "gauge",
            "Parts that have not moved for longer than they may.",
            standing,
        );
    }

    fn of_the_traffic(&self, text: &mut Text) {
        let Counted { pulse, shed, engine, .. } = &self.counted;
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        text.one(
            "slips_packets_total",
            "counter",
            "Packets that were taken from interfaces.",
            load(&pulse.packets),
        );
        text.one("slips_bytes_total", "counter", "Their bytes on the wire.", load(&pulse.bytes));
        text.one("slips_flows_total", "counter", "Flows that ended.", load(&pulse.flows));
        let lag = load(&self.vitals.lag) as f64 / 1e6;
        text.one(
            "slips_lag_seconds",
            "gauge",
            "How old packets were at most when they were read, in the last second.",
            lag,
        );
        let waited = load(&pulse.waited) as f64 / 1e6;
        text.one(
            "slips_capture_waited_seconds_total",
            "counter",
            "Time that the capture waited for the detections.",
            waited,
        );
        text.family("slips_lost_total", "counter", "What was lost or left out, by its cause.");
        for (cause, count) in Losses::read(pulse, shed).causes() {
            text.line("slips_lost_total", &[("cause", cause)], count);
        }
        text.family(
            "slips_queue_depth",
            "gauge",
            "Batches that wait for a thread of the engine, or are at work in it.",
        );
        for part in engine.parts() {
            let moment = part.look();
            text.line(
                "slips_queue_depth",
                &[("part", part.name())],
                moment.given.saturating_sub(moment.done),
            );
        }
        text.family("slips_held_records", "gauge", "Alerts and evidence that wait because a queue is full.");
        for (lane, shed) in ["responder", "files"].into_iter().zip(shed) {
            text.line("slips_held_records", &[("lane", lane)], load(&shed.held));
        }
    }

    fn of_detections(&self, text: &mut Text) {
        let Counted { pulse, meter, .. } = &self.counted;
        text.one("slips_alerts_total", "counter", "Alerts.", pulse.alerts.load(Ordering::Relaxed));
        text.family(
            "slips_evidence_total",
            "counter",
            "Evidence that was new, by its kind; kinds without any are left out.",
        );
        for (kind, count) in pulse.evidence.counts().filter(|(_, count)| *count > 0) {
            text.line("slips_evidence_total", &[("kind", kind.name())], count);
        }
        let spent = meter.spent();
        text.family(
            "slips_detector_seconds_total",
            "counter",
            "Time that a detection took, of one batch in 64, times 64.",
        );
        for spent in &spent {
            text.line("slips_detector_seconds_total", &[("detector", spent.name)], spent.nanos as f64 / 1e9);
        }
        text.family(
            "slips_detector_events_total",
            "counter",
            "Events that a detection looked at, of one batch in 64, times 64.",
        );
        for spent in &spent {
            text.line("slips_detector_events_total", &[("detector", spent.name)], spent.events);
        }
        text.family(
            "slips_detector_findings_total",
            "counter",
            "What a detection found, before it was put together or left out.",
        );
        for spent in &spent {
            text.line("slips_detector_findings_total", &[("detector", spent.name)], spent.findings);
        }
    }
}

/// How the clients of the API are.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClientFigures {
    pub count: ClientCount,
    /// How many found no room, and how many had to go.
    pub refused: u64,
    pub evicted: u64,
}

/// Prometheus' text format.
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<String> = labels.iter().map(|(key, text)| format!("{key}={text:?}")).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.line(name, &[], value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_figure_is_told_in_the_form_of_prometheus_and_stands_in_the_document() {
        let engine = slips_core::engine::pipeline::start(
            &slips_core::settings::Settings::default(),
            &Vec::new,
            1,
            |_| {},
        );
        let (_, engine) = engine.expect("an engine");
        let meter = Meter::new(|| 0);
        let counted = Counted {
            pulse: Arc::default(),
            shed: vec![Arc::default(), Arc::default()],
            gauges: Arc::default(),
            peers: Arc::default(),
            engine: engine.progress(),
            meter,
        };
        let figures = Figures::new(counted, (config::Mode::Monitor, Duty::default()), Vec::new());
        let text = figures.metrics(&ClientFigures::default());
        let document = include_str!("../../docs/metrics.md");
        let (mut family, mut families) = ("", 0);
        for line in text.lines() {
            if let Some(told) = line.strip_prefix("# TYPE ") {
                let (name, kind) = told.split_once(' ').expect("a type");
                let row = format!("| `{name}` | {kind} |");
                assert!(document.contains(&row), "docs/metrics.md lacks {row}");
                (family, families) = (name, families + 1);
            } else if !line.starts_with('#') {
                let (name, value) = line.rsplit_once(' ').expect("a value");
                assert_eq!(name.split('{').next(), Some(family), "{line}");
                assert!(value.parse::<f64>().is_ok_and(f64::is_finite), "{line}");
            }
        }
        assert_eq!(
            document.matches("| `slips_").count(),
            families,
            "docs/metrics.md has one that is no more"
        );
    }
}
