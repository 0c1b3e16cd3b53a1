//! Turns the configuration into the parts that need it.

use std::net::IpAddr;
use std::sync::Arc;
use std::thread;

use slips_core::detector::Detector;
use slips_core::flow::MacAddr;
use slips_core::intel::{Intelligence, NoIntelligence};

use crate::cli::{Exit, Failure};
use crate::config::{Config, ThreatIntelligence};

/// One shard less than there are processors, at least one: the input needs one too.
pub fn default_shards() -> usize {
    thread::available_parallelism().map_or(1, |n| n.get().saturating_sub(1).max(1))
}

/// The local indicator files. The default directory may be absent; one that somebody named must be there.
pub fn intelligence(config: &Config) -> Result<(Arc<dyn Intelligence>, Vec<String>), Failure> {
    let dir = &config.threatintelligence.local_threat_intelligence_files;
    let default = ThreatIntelligence::default().local_threat_intelligence_files;
    if *dir == default && !dir.is_dir() {
        return Ok((Arc::new(NoIntelligence), Vec::new()));
    }
    match slips_intel::Indicators::load_dir(dir) {
        Ok((indicators, problems)) => {
            Ok((Arc::new(indicators), problems.iter().map(ToString::to_string).collect()))
        }
        Err(error) => Err(Failure {
            exit: Exit::Config,
            error: anyhow::Error::from(error)
                .context("threatintelligence.local_threat_intelligence_files cannot be read"),
        }),
    }
}

/// Makes the detectors of one shard. `gateways` and `own_macs` are those of this host; none in an analysis.
pub fn registry(
    config: &Config,
    intel: Arc<dyn Intelligence>,
    gateways: Vec<IpAddr>,
    own_macs: Vec<MacAddr>,
) -> Box<dyn Fn() -> Vec<Box<dyn Detector>> + Send + Sync> {
    // Loading a configuration has told what is wrong with it.
    let mut settings = config.detections().unwrap_or_default();
    settings.gateways = gateways;
    settings.own_macs = own_macs;
    Box::new(move || slips_detect::registry(&settings, Arc::clone(&intel)))
}

/// What the packet sensor is told. `key` makes uids and hashes unpredictable in a live run; a file gets the same uids each time.
pub fn sensor_settings(config: &Config, key: [u64; 2]) -> slips_sensor::Settings {
    config.sensor.settings(config.limits.flows, key)
}
