//! `slips.yaml`: read once into an immutable value. Every key has a default; an unknown key or a bad value stops the start
//! with file, line and key. `config/slips.yaml` shows all keys with their defaults, and a test keeps the two equal.

mod control;
mod database;
mod detections;
mod inputs;
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
use slips_input::filter::PacketFilter;

pub use control::Control;
pub use database::Database;
pub use detections::Detections;
pub use inputs::{Inputs, SensorKind};
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

/// `capture`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Capture {
    pub threads: u16,
    pub filter: FilterText,
    pub promiscuous: bool,
    pub ring: Auto<Amount>,
    pub spare: Auto<Amount>,
}

impl Default for Capture {
    fn default() -> Self {
        let (ring, spare) = (Auto::Auto, Auto::Auto);
        Self { threads: 1, filter: FilterText(None), promiscuous: false, ring, spare }
    }
}

/// A packet filter; an empty text is none.
#[derive(Clone, Debug)]
pub struct FilterText(pub Option<PacketFilter>);

impl<'de> Deserialize<'de> for FilterText {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        if text.trim().is_empty() {
            Ok(Self(None))
        } else {
            text.parse().map(Some).map(Self).map_err(D::Error::custom)
        }
    }
}

/// Capture threads beyond which a number is a typo.
pub const MAX_CAPTURE_THREADS: u16 = 16;

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

/// `threatintelligence`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ThreatIntelligence {
    pub local_threat_intelligence_files: PathBuf,
    pub ti_files: PathBuf,
    pub ja3_feeds: PathBuf,
    pub ssl_feeds: PathBuf,
    pub download_path_for_remote_threat_intelligence: PathBuf,
    #[serde(rename = "TI_files_update_period")]
    pub ti_files_update_period: Length,
    pub update_size: Amount,
    pub update_time: Length,
    pub mac_db: String,
    pub mac_db_update: Length,
    pub asn_db: String,
    pub country_db: String,
    pub geo_db_update: Length,
}

impl Default for ThreatIntelligence {
    fn default() -> Self {
        Self {
            local_threat_intelligence_files: "/etc/slips/local_ti_files".into(),
            ti_files: "/etc/slips/TI_feeds.csv".into(),
            ja3_feeds: "/etc/slips/JA3_feeds.csv".into(),
            ssl_feeds: "/etc/slips/SSL_feeds.csv".into(),
            download_path_for_remote_threat_intelligence: "/var/lib/slips/feeds".into(),
            ti_files_update_period: Length::secs(86_400),
            update_size: Amount(64 << 20),
            update_time: Length::secs(300),
            mac_db: String::new(),
            mac_db_update: Length::secs(14 * 86_400),
            asn_db: String::new(),
            country_db: String::new(),
            geo_db_update: Length::secs(7 * 86_400),
        }
    }
}

/// What the firewall does with decisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Block.
    Enforce,
    /// Decide and tell, block nothing.
    Monitor,
}

/// What is done with an attacker of a class of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// Its packets are dropped.
    Drop,
    /// For our own hosts: it reaches nobody, but still gets an address and a notice from this host.
    Isolate,
    /// It is told, nothing more.
    AlertOnly,
}

/// Whether what passes a bridge of this host is blocked too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bridge {
    /// When there is a bridge with two ports or more at the start.
    Auto,
    /// Also when one comes later.
    On,
    /// Never.
    Off,
}

/// What is done with packets that our own hosts send to what they must not call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Called {
    /// They are told at once.
    Reject,
    /// They wait for an answer that does not come.
    Drop,
}

impl Called {
    /// The same in the firewall's words.
    pub const fn manner(self) -> slips_firewall::Manner {
        match self {
            Self::Reject => slips_firewall::Manner::Reject,
            Self::Drop => slips_firewall::Manner::Drop,
        }
    }
}

/// `firewall`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Firewall {
    pub mode: Mode,
    pub external: Policy,
    pub internal: Policy,
    pub internal_share: u8,
    pub bridge: Bridge,
    pub bridge_machines: bool,
    pub notice_port: u16,
    pub called_by_us: Called,
    pub log_dropped: bool,
    pub never_block: Vec<NetText>,
    pub login_ports: Vec<u16>,
    pub widen_ipv6: bool,
    pub unproven_term: Length,
    pub unproven_cap: usize,
    pub peer_cap: usize,
    pub size: u32,
    pub shortest_term: Length,
    pub longest_term: Length,
    pub history: Length,
}

impl Firewall {
    /// How blocks grow with repeats.
    pub fn escalation(&self) -> slips_firewall::Escalation {
        slips_firewall::Escalation { longest: self.longest_term.0, forgotten: self.history.0 }
    }
}

impl Default for Firewall {
    fn default() -> Self {
        Self {
            mode: Mode::Enforce,
            external: Policy::Drop,
            internal: Policy::Drop,
            internal_share: 25,
            bridge: Bridge::Auto,
            bridge_machines: false,
            notice_port: 0,
            called_by_us: Called::Reject,
            log_dropped: false,
            never_block: Vec::new(),
            login_ports: Vec::new(),
            widen_ipv6: false,
            unproven_term: Length::secs(300),
            unproven_cap: 1024,
            peer_cap: 16_384,
            size: 131_072,
            shortest_term: Length::secs(10),
            longest_term: Length::secs(7 * 86_400),
            history: Length::secs(30 * 86_400),
        }
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

    /// Values that are fine each by itself, but not for the engine.
    fn contradictions(&self, path: &Path) -> Vec<Problem> {
        let mut wrong = Vec::new();
        let mut check = |ok: bool, what: &str| {
            if !ok {
                wrong.push(Problem { file: path.to_owned(), line: 0, what: what.into() });
            }
        };
        check(
            self.width().is_some(),
            "parameters.time_window_width must be at least 1s and a whole number of seconds",
        );
        let threshold = self.detection.evidence_detection_threshold;
        check(
            threshold.is_finite() && threshold > 0.0,
            "detection.evidence_detection_threshold must be above 0; 0.25 is the default",
        );
        for what in self.detections().err().unwrap_or_default() {
            check(false, &what);
        }
        check(self.firewall.internal_share <= 100, "firewall.internal_share is in percent, 100 at most");
        check(
            self.firewall.external != Policy::Isolate,
            "firewall.external must be drop or alert-only: only hosts of our own networks can be isolated",
        );
        check(
            (1..=MAX_CAPTURE_THREADS).contains(&self.capture.threads),
            "capture.threads must be 1 to 16; 1 is the default",
        );
        check(
            self.capture.ring.set().is_none_or(|ring| (1 << 20..=1 << 30).contains(&ring.0)),
            "capture.ring must be 1MiB to 1GiB, or auto: 8MiB, less where memory is short",
        );
        check(
            self.capture
                .spare
                .set()
                .is_none_or(|spare| spare.0 == 0 || (1 << 20..=1 << 30).contains(&spare.0)),
            "capture.spare must be 0 (none), 1MiB to 1GiB, or auto: as much as the ring",
        );
        let intelligence = &self.threatintelligence;
        check(
            (1 << 10..=256 << 20).contains(&intelligence.update_size.0),
            "threatintelligence.update_size must be 1KiB to 256MiB; 64MiB is the default",
        );
        check(!intelligence.update_time.0.is_zero(), "threatintelligence.update_time must be above 0");
        for (key, url) in [
            ("mac_db", &intelligence.mac_db),
            ("asn_db", &intelligence.asn_db),
            ("country_db", &intelligence.country_db),
        ] {
            let is_url = ["https://", "http://"].iter().any(|scheme| url.starts_with(scheme));
            check(
                url.is_empty() || is_url,
                &format!("threatintelligence.{key} must be a URL, http:// or https://"),
            );
        }
        let asked = &self.virustotal;
        check(
            asked.per_minute >= 1 && asked.per_day >= 1 && !asked.virustotal_update_period.0.is_zero(),
            "virustotal.per_minute, per_day and virustotal_update_period must be above 0",
        );
        check(matches!(asked.api_version, 2 | 3), "virustotal.api_version must be 2 or 3");
        let services = &self.services;
        for (key, url) in [
            ("virustotal.url", &asked.url),
            ("services.urlhaus_url", &services.urlhaus_url),
            ("services.circl_hashlookup_url", &services.circl_hashlookup_url),
            ("services.rdap_url", &services.rdap_url),
        ] {
            check(url.starts_with("https://"), &format!("{key} must be a URL, https://"));
        }
        for what in self.limits.problems().chain(self.database.problems()) {
            check(false, what);
        }
        for what in self.redis.problems() {
            check(false, &what);
        }
        for key in self.sensor.zero_lengths() {
            check(false, &format!("sensor.{key} must be above 0"));
        }
        wrong
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
