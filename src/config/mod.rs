//! `slips.yaml`: read once into an immutable value. Every key has a default; an unknown key or a bad value stops the start
//! with file, line and key. `config/slips.yaml` shows all keys with their defaults, and a test keeps the two equal.

mod capture;
mod control;
mod database;
mod detections;
mod firewall;
pub mod import;
mod import_keys;
mod inputs;
mod intelligence;
mod limits;
mod outside;
mod p2p;
mod profiles;
mod redis;
mod sensor;
mod services;
mod units;
mod whitelists;
mod yaml;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};
use slips_core::addr::LocalNets;
use slips_core::evidence::EvidenceKind;
use slips_core::settings::{Direction, Settings};
use slips_core::time::{Span, WindowWidth};

pub use capture::{Capture, FilterText};
pub use control::Control;
pub use database::Database;
pub use detections::Detections;
pub use firewall::{Bridge, Firewall, Mode, Policy};
pub use inputs::{Inputs, SensorKind};
pub use intelligence::ThreatIntelligence;
pub use limits::LimitsSection;
pub use outside::Outside;
pub use p2p::{P2p, PeerMode, PeerNode};
pub use profiles::Profiles;
pub use redis::{FleetBlocks, Redis, Role, Share};
pub use sensor::Sensor;
pub use services::{Services, VirusTotal};
pub use units::{Amount, Auto, Length, NetText};
pub use whitelists::Whitelists;
pub use yaml::{Problem, parse_yaml};

/// The whole of `slips.yaml`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Interfaces that `slips run` watches when the command line names none.
    pub interfaces: Vec<String>,
    #[serde(deserialize_with = "section")]
    pub inputs: Inputs,
    #[serde(deserialize_with = "section")]
    pub capture: Capture,
    #[serde(deserialize_with = "section")]
    pub parameters: Parameters,
    #[serde(deserialize_with = "section")]
    pub detection: Detection,
    #[serde(deserialize_with = "section")]
    pub flow_alerts: FlowAlerts,
    #[serde(deserialize_with = "section")]
    pub brute_force_detector: BruteForce,
    #[serde(deserialize_with = "section")]
    pub detections: Detections,
    #[serde(rename = "DisabledAlerts", deserialize_with = "section")]
    pub disabled_alerts: DisabledAlerts,
    #[serde(deserialize_with = "section")]
    pub threatintelligence: ThreatIntelligence,
    #[serde(deserialize_with = "section")]
    pub profiles: Profiles,
    #[serde(deserialize_with = "section")]
    pub outside: Outside,
    #[serde(deserialize_with = "section")]
    pub whitelists: Whitelists,
    #[serde(deserialize_with = "section")]
    pub virustotal: VirusTotal,
    #[serde(deserialize_with = "section")]
    pub services: Services,
    #[serde(deserialize_with = "section")]
    pub firewall: Firewall,
    #[serde(deserialize_with = "section")]
    pub output: Output,
    #[serde(deserialize_with = "section")]
    pub control: Control,
    #[serde(deserialize_with = "section")]
    pub database: Database,
    #[serde(deserialize_with = "section")]
    pub limits: LimitsSection,
    #[serde(deserialize_with = "section")]
    pub sensor: Sensor,
    #[serde(deserialize_with = "section")]
    pub p2p: P2p,
    #[serde(deserialize_with = "section")]
    pub redis: Redis,
}

/// `parameters`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Parameters {
    pub time_window_width: Length,
    #[serde(deserialize_with = "direction")]
    pub analysis_direction: Direction,
    pub client_ips: Vec<NetText>,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            time_window_width: Length::secs(3600),
            analysis_direction: Direction::All,
            client_ips: Vec::new(),
        }
    }
}

/// `detection`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Detection {
    pub evidence_detection_threshold: f64,
}

impl Default for Detection {
    fn default() -> Self {
        Self { evidence_detection_threshold: 0.25 }
    }
}

/// `flow_alerts`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FlowAlerts {
    pub long_connection_threshold: Length,
    pub data_exfiltration_threshold: Amount,
}

impl Default for FlowAlerts {
    fn default() -> Self {
        Self {
            long_connection_threshold: Length::secs(1500),
            data_exfiltration_threshold: Amount(500_000_000),
        }
    }
}

/// `brute_force_detector`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BruteForce {
    pub ssh_attempt_threshold: u32,
}

impl Default for BruteForce {
    fn default() -> Self {
        Self { ssh_attempt_threshold: 9 }
    }
}

/// `DisabledAlerts`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DisabledAlerts {
    pub disabled_detections: Vec<KindName>,
}

/// The name of an evidence type.
#[derive(Clone, Copy, Debug)]
pub struct KindName(pub EvidenceKind);

impl<'de> Deserialize<'de> for KindName {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let name = String::deserialize(from)?;
        EvidenceKind::from_name(&name).map(Self).ok_or_else(|| {
            let known: Vec<_> = EvidenceKind::ALL.iter().map(|kind| kind.name()).collect();
            D::Error::custom(format!("`{name}` is no evidence type; known are {}", known.join(", ")))
        })
    }
}

/// `output`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Output {
    pub directory: PathBuf,
}

impl Default for Output {
    fn default() -> Self {
        Self { directory: "/var/lib/slips".into() }
    }
}

/// Why there is no configuration.
#[derive(Debug)]
pub enum LoadError {
    /// The file cannot be read.
    Unreadable(PathBuf, std::io::Error),
    /// The file is read, and this is wrong with it: at least one problem.
    Wrong(Vec<Problem>),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(path, error) => write!(f, "cannot read {}: {error}", path.display()),
            Self::Wrong(problems) => {
                for (n, problem) in problems.iter().enumerate() {
                    if n > 0 {
                        writeln!(f)?;
                    }
                    problem.fmt(f)?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for LoadError {}

impl Config {
    /// Reads a file; tells every problem in it, not only the first.
    pub fn load(path: &Path) -> Result<Self, LoadError> {
        let text =
            std::fs::read_to_string(path).map_err(|error| LoadError::Unreadable(path.to_owned(), error))?;
        Self::parse(path, &text).map_err(LoadError::Wrong)
    }

    /// Parses the text of a file called `path`.
    pub fn parse(path: &Path, text: &str) -> Result<Self, Vec<Problem>> {
        let config: Self = parse_yaml(path, text)?;
        let wrong = config.contradictions(path);
        if wrong.is_empty() { Ok(config) } else { Err(wrong) }
    }

    /// Where the keys and the table of peers are.
    pub fn p2p_directory(&self) -> PathBuf {
        match self.p2p.directory.as_os_str().is_empty() {
            true => self.output.directory.join("p2p"),
            false => self.p2p.directory.clone(),
        }
    }

    /// Values that cannot be right, or are fine each by itself, but not for the engine.
    fn contradictions(&self, path: &Path) -> Vec<Problem> {
        let threshold = self.detection.evidence_detection_threshold;
        let own = wrong([
            (
                self.width().is_some(),
                "parameters.time_window_width must be at least 1s and a whole number of seconds",
            ),
            (
                threshold.is_finite() && threshold > 0.0,
                "detection.evidence_detection_threshold must be above 0; 0.25 is the default",
            ),
        ]);
        let lengths = self.sensor.zero_lengths();
        own.map(str::to_owned)
            .chain(self.detections().err().unwrap_or_default())
            .chain(self.firewall.problems().chain(self.capture.problems()).map(str::to_owned))
            .chain(self.threatintelligence.problems())
            .chain(self.virustotal.problems().chain(self.services.problems()).map(str::to_owned))
            .chain(self.limits.problems().chain(self.database.problems()).map(str::to_owned))
            .chain(self.redis.problems())
            .chain(lengths.map(|key| format!("sensor.{key} must be above 0")))
            .map(|what| Problem { file: path.to_owned(), line: 0, what })
            .collect()
    }

    fn width(&self) -> Option<WindowWidth> {
        let width = self.parameters.time_window_width.0;
        let secs = i64::try_from(width.as_secs()).ok()?;
        if width.subsec_nanos() != 0 { None } else { WindowWidth::from_secs(secs) }
    }

    /// What the engine is told. `own_nets` are the networks of the interfaces that are watched.
    pub fn engine(&self, own_nets: &[slips_core::addr::Net]) -> Settings {
        let mut nets = LocalNets::private().nets().to_vec();
        if !self.parameters.client_ips.is_empty() {
            nets = self.parameters.client_ips.iter().map(|net| net.0).collect();
        }
        nets.extend_from_slice(own_nets);
        Settings {
            width: self.width().unwrap_or(WindowWidth::HOUR),
            threshold: self.detection.evidence_detection_threshold,
            local_nets: LocalNets::new(nets),
            direction: self.parameters.analysis_direction,
            lateness: self.lateness(),
            disabled: self.disabled_alerts.disabled_detections.iter().map(|name| name.0).collect(),
            limits: self.limits.engine(),
            ..Settings::default()
        }
    }

    /// Ten minutes, but never more than a window: short windows close soon.
    fn lateness(&self) -> Span {
        let width = self.parameters.time_window_width.0.min(Duration::from_secs(600));
        Span::from_secs(i64::try_from(width.as_secs()).unwrap_or(600))
    }
}

/// What is said of the values that are not right.
fn wrong<const N: usize>(checks: [(bool, &'static str); N]) -> impl Iterator<Item = &'static str> {
    checks.into_iter().filter(|(is_right, _)| !is_right).map(|(_, what)| what)
}

/// A section whose keys are all commented out is the default section.
fn section<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(from)?.unwrap_or_default())
}

fn direction<'de, D: Deserializer<'de>>(from: D) -> Result<Direction, D::Error> {
    match String::deserialize(from)?.as_str() {
        "all" => Ok(Direction::All),
        "out" => Ok(Direction::Out),
        other => Err(D::Error::custom(format!("`{other}` is neither all nor out"))),
    }
}

#[cfg(test)]
mod tests;
