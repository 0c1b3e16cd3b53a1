//! Turns the configuration into the parts that need it.

use std::io::Read;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use slips_core::addr::LocalNets;
use slips_core::detector::Detector;
use slips_core::intel::Current;
use slips_core::moving::{Gateways, OwnMacs};
use slips_detect::leak_detector;
use slips_intel::Rules;
use slips_sensor::{PayloadSettings, Settings as SensorSettings};

use crate::cli::{Exit, Failure};
use crate::config::Config;
use crate::lists::{Copy, Lists};
use crate::shelf::Shelf;
use crate::whitelist::Files;

/// One shard less than there are processors, at least one: the input needs one too.
pub fn default_shards() -> usize {
    thread::available_parallelism().map_or(1, |n| n.get().saturating_sub(1).max(1))
}

/// The lists of indicators of this machine, and what is wrong with them.
pub fn intelligence(config: &Config, lists: &Lists, copy: Copy) -> Result<(Shelf, Vec<String>), Failure> {
    let loaded = lists.load(copy).map_err(|error| Failure {
        exit: Exit::Config,
        error: anyhow::Error::from(error).context("threatintelligence: the lists cannot be read"),
    })?;
    let (shelf, wrong) = Shelf::new(loaded.indicators, config.profiles.databases(&config.output.directory));
    Ok((shelf, loaded.problems.into_iter().chain(wrong).collect()))
}

/// The whitelist of this machine, and what is wrong with it. `resolvers` are those of this host; none in an analysis.
pub fn whitelist(files: &Files, resolvers: Vec<IpAddr>) -> Result<(Arc<Rules>, Vec<String>), Failure> {
    let (rules, problems) = files.load(resolvers).map_err(|error| Failure {
        exit: Exit::Config,
        error: anyhow::Error::from(error).context("whitelists: a file cannot be read"),
    })?;
    Ok((Arc::new(rules), problems))
}

/// Which lists there are.
pub fn lists(config: &Config) -> Lists {
    Lists::of(&config.threatintelligence, &config.output.directory)
}

/// The owner's rules for the leak detector, and what is wrong with them. The default directory may be absent; one that somebody
/// named must be there.
pub fn leak_rules(config: &Config) -> Result<(Option<leak_detector::Rules>, Vec<String>), Failure> {
    let named = config.detections.leak_rules.as_deref();
    let dir = named.unwrap_or(Path::new(leak_detector::RULES_KEY.1));
    if named.is_none() && !dir.is_dir() {
        return Ok((None, Vec::new()));
    }
    let failure = |error: std::io::Error| Failure {
        exit: Exit::Config,
        error: anyhow::Error::from(error)
            .context(format!("detections.leak_detector.rules: {} cannot be read", dir.display())),
    };
    let mut files = Vec::new();
    let mut problems = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failure)? {
        let path = entry.map_err(failure)?.path();
        if !path.extension().is_some_and(|end| end == "yar" || end == "yara") {
            continue;
        }
        let file = std::fs::File::open(&path);
        let mut text = String::new();
        match file.and_then(|file| file.take(MAX_RULES + 1).read_to_string(&mut text)) {
            Ok(read) if read as u64 > MAX_RULES => {
                problems.push(format!("{}: is longer than 1 MiB, and is left out", path.display()));
            }
            Ok(_) => files.push((path.display().to_string(), text)),
            Err(error) => problems.push(format!("{}: {error}", path.display())),
        }
    }
    // The order of a directory is nobody's.
    files.sort();
    let (rules, wrong) = leak_detector::Rules::with(files);
    problems.extend(wrong.into_iter().map(|what| format!("{what}; this file is left out")));
    Ok((Some(rules), problems))
}

/// Longest file of rules, in bytes.
const MAX_RULES: u64 = 1 << 20;

/// Makes the detectors of one shard. `gateways` and `own_macs` are those of this host; none in an analysis.
pub fn registry(
    config: &Config,
    intel: &Current,
    leak_rules: Option<leak_detector::Rules>,
    gateways: Gateways,
    own_macs: OwnMacs,
) -> Box<dyn Fn() -> Vec<Box<dyn Detector>> + Send + Sync> {
    // Loading a configuration has told what is wrong with it.
    let mut settings = config.detections().unwrap_or_default();
    settings.gateways = gateways;
    settings.own_macs = own_macs;
    settings.leak_rules = leak_rules;
    let intel = intel.clone();
    Box::new(move || slips_detect::registry(&settings, &intel))
}

/// What the packet sensor is told. `key` makes uids and hashes unpredictable in a live run; a file gets the same uids each time.
pub fn sensor_settings(config: &Config, key: [u64; 2]) -> SensorSettings {
    config.sensor.settings(config.limits.flows(), key)
}

/// The same, for whoever runs detections: of what the hosts of `local` send, as much is told as the leak detector searches, by each of
/// `share` sensors its part.
pub fn searching(sensor: SensorSettings, config: &Config, local: LocalNets, share: u16) -> SensorSettings {
    let settings = config.detections().unwrap_or_default();
    let payloads = leak_detector::amounts(&settings).map(|[turn_bytes, flow_bytes, second_bytes]| {
        let usual = PayloadSettings::of(local);
        let share = u32::from(share.max(1));
        PayloadSettings {
            turn_bytes,
            flow_bytes,
            second_bytes: second_bytes / share,
            held_bytes: usual.held_bytes / share,
            ..usual
        }
    });
    SensorSettings { payloads, ..sensor }
}
