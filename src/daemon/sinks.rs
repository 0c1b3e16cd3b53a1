//! The sinks of a run: which files are written.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use slips_core::settings::Settings;
use slips_store::profiles::{ProfileSettings, Profiles};
use slips_store::{AlertsJson, AlertsLog, Damaged, OutputDir, RecordSink, Sqlite, SqliteLimits, StoreError};

use super::overload::Rows;
use super::pulse::Pulse;

/// What happens to files of an earlier run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// They are moved away: the results of an analysis stand alone.
    Fresh,
    /// They go on: a daemon restarts.
    Continue,
}

/// The files that a run leaves in its output directory. The directory is ours as long as the first value lives.
///
/// `settings` are those of the engine: profiles are made by the same hosts and windows. With the `pulse` of a daemon, rows of flows are
/// not kept while it says so.
pub fn files(
    dir: &Path,
    reuse: Reuse,
    settings: &Settings,
    pulse: Option<&Arc<Pulse>>,
) -> Result<(OutputDir, Vec<Box<dyn RecordSink>>), StoreError> {
    let dir = match reuse {
        Reuse::Fresh => OutputDir::create_fresh(dir)?,
        Reuse::Continue => OutputDir::create(dir)?,
    };
    // A daemon watches on, whatever became of what it had written.
    let damaged = if reuse == Reuse::Continue { Damaged::PutAside } else { Damaged::Refused };
    let profiles = ProfileSettings {
        damaged,
        ..ProfileSettings::new(settings.local_nets.clone(), settings.own_macs.clone(), settings.width)
    };
    let host = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let mut rows: Box<dyn RecordSink> =
        Box::new(Sqlite::open_with(dir.flows_sqlite(), SqliteLimits::default(), wall_clock, damaged)?);
    if let Some(pulse) = pulse {
        rows = Box::new(Rows::before(rows, Arc::clone(pulse)));
    }
    let sinks: Vec<Box<dyn RecordSink>> = vec![
        Box::new(AlertsJson::open(dir.alerts_json(), host, wall_clock)?),
        Box::new(AlertsLog::open(dir.alerts_log(), wall_clock)?),
        rows,
        Box::new(Profiles::open(dir.flows_sqlite(), profiles, wall_clock)?),
    ];
    Ok((dir, sinks))
}

/// Microseconds of wall time since the Unix epoch.
pub fn wall_clock() -> i64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "the shell's one wall clock, handed down to whoever needs it"
    )]
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
