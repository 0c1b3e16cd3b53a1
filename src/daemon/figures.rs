//! The figures of a running daemon, for whoever asks: what its threads count, and what the main thread finds out.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use slips_core::time::PacketTime;
use slips_store::render;

use super::clocks::Clocks;
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

/// See the module.
pub struct Figures {
    pulse: Arc<Pulse>,
    shed: Vec<Arc<Shed>>,
    gauges: Arc<Gauges>,
    peers: Arc<AtomicUsize>,
    pub vitals: Arc<Vitals>,
    mode: Mode,
    watching: Vec<String>,
    /// Wall time, and steady time, of the start.
    started: (i64, Duration),
}

impl Figures {
    /// Of a daemon that starts now.
    pub fn new(
        pulse: Arc<Pulse>,
        shed: &[Arc<Shed>],
        gauges: Arc<Gauges>,
        peers: Arc<AtomicUsize>,
        mode: config::Mode,
        watching: Vec<String>,
    ) -> Arc<Self> {
        let clocks = Clocks::default();
        Arc::new(Self {
            pulse,
            shed: shed.to_vec(),
            gauges,
            peers,
            vitals: Arc::default(),
            mode: match mode {
                config::Mode::Enforce => Mode::Enforce,
                config::Mode::Monitor => Mode::Monitor,
            },
            watching,
            started: ((clocks.wall)(), (clocks.steady)()),
        })
    }

    fn uptime(&self) -> Duration {
        (Clocks::default().steady)().saturating_sub(self.started.1)
    }

    /// All of it that a person wants to see.
    pub fn status(&self, clients: ClientCount) -> Status {
        let (pulse, vitals) = (&self.pulse, &self.vitals);
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let standing = vitals.standing.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let losses = Losses::read(pulse, &self.shed);
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
            healthy: standing.is_empty() && !self.gauges.unhealthy.load(Ordering::Relaxed),
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
            blocks: self.gauges.blocks.load(Ordering::Relaxed) as u64,
            blocks_refused: load(&self.gauges.refused),
            peers: self.peers.load(Ordering::Relaxed) as u64,
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
    pub fn metrics(&self) -> String {
        let (pulse, vitals) = (&self.pulse, &self.vitals);
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut text = Text(String::with_capacity(8 << 10));
        text.family("slips_build_info", "gauge", "Always 1; its label is the version.");
        text.line("slips_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
        text.one("slips_uptime_seconds", "gauge", "Seconds since the start.", self.uptime().as_secs());
        text.one("slips_packets_total", "counter", "Packets that were looked at.", load(&pulse.packets));
        text.one("slips_bytes_total", "counter", "Their bytes on the wire.", load(&pulse.bytes));
        text.one("slips_flows_total", "counter", "Flows that ended.", load(&pulse.flows));
        text.one("slips_alerts_total", "counter", "Alerts.", load(&pulse.alerts));
        text.one(
            "slips_blocks",
            "gauge",
            "Networks that are blocked now.",
            self.gauges.blocks.load(Ordering::Relaxed),
        );
        text.one(
            "slips_blocks_refused_total",
            "counter",
            "Blocks that were refused, to protect somebody.",
            load(&self.gauges.refused),
        );
        text.one(
            "slips_peers_connected",
            "gauge",
            "Peers that are connected now.",
            self.peers.load(Ordering::Relaxed),
        );
        text.one(
            "slips_lag_seconds",
            "gauge",
            "How old packets were at most when they were read, in the last second.",
            load(&vitals.lag) as f64 / 1e6,
        );
        text.one("slips_memory_used_bytes", "gauge", "Memory in use.", load(&vitals.memory));
        text.one("slips_memory_limit_bytes", "gauge", "Memory that may be used.", load(&vitals.memory_limit));
        text.one(
            "slips_tables_share",
            "gauge",
            "Part of their size that tables may use, 0 to 1.",
            f64::from(vitals.tables.load(Ordering::Relaxed)) / 100.0,
        );
        text.one("slips_overload_step", "gauge", "What is left out: 0 (nothing) to 3.", pulse.step() as u8);
        let standing = vitals.standing.lock().unwrap_or_else(PoisonError::into_inner).len();
        text.one(
            "slips_standing_still",
            "gauge",
            "Parts that have not moved for longer than they may.",
            standing,
        );
        let healthy = u8::from(!self.gauges.unhealthy.load(Ordering::Relaxed));
        text.one("slips_blocking_works", "gauge", "0 when a blocked address was not kept out.", healthy);
        text.family("slips_lost_total", "counter", "What was lost or left out, by its cause.");
        for (cause, count) in Losses::read(pulse, &self.shed).causes() {
            text.line("slips_lost_total", &[("cause", cause)], count);
        }
        text.0
    }
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
