//! Which database is asked, and how its answer is printed.

use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use slips_core::evidence::EvidenceKind;
use slips_core::time::PacketTime;
use slips_store::Stories;

use super::{Exit, Failure, installed_config};
use crate::config::{Config, Length};
use crate::daemon::sinks::wall_clock;

/// Which database is asked, and how its answer is printed.
#[derive(Args, Debug)]
pub(super) struct Place {
    /// Output directory of the analysis or the daemon. Default: that of the configuration, /var/lib/slips.
    #[arg(short, long, value_name = "DIR", conflicts_with = "db")]
    pub(super) output: Option<PathBuf>,
    /// The database itself.
    #[arg(long, value_name = "FILE")]
    pub(super) db: Option<PathBuf>,
    /// Configuration file. Default: /etc/slips/slips.yaml if it is there, else the built-in defaults.
    #[arg(short, long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

impl Place {
    pub(super) fn configuration(&self) -> Result<Config, Failure> {
        installed_config(self.config.as_deref())
    }

    /// Opens the database, in the directory of `config` if nothing else is said.
    pub(super) fn open_of(&self, config: &Config) -> Result<Stories, Failure> {
        match (&self.db, &self.output) {
            (Some(file), _) => open(file),
            (None, Some(dir)) => open(&dir.join(FILE)),
            (None, None) => open(&config.output.directory.join(FILE)),
        }
    }

    /// Opens the database; the configuration is read only if it must say where that is.
    pub(super) fn open(&self) -> Result<Stories, Failure> {
        let is_named = self.db.is_some() || self.output.is_some();
        let config = if is_named { Config::default() } else { self.configuration()? };
        self.open_of(&config)
    }
}

/// The name of the database in an output directory.
pub(super) const FILE: &str = "flows.sqlite";

/// Opens a database to read. What is missing or may not be read is told with the way out.
pub(super) fn open(path: &Path) -> Result<Stories, Failure> {
    let shown = path.display();
    match std::fs::File::open(path).and_then(|file| file.metadata()) {
        Ok(found) if found.is_file() => {}
        Ok(_) => {
            let what = format!("{shown} is no file; name the directory with -o, or the file with --db");
            return Err(Failure::new(Exit::NoInput, what));
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let what =
                format!("{shown} may not be read: ask as root (sudo), or as a member of the group slips");
            return Err(Failure::new(Exit::Permission, what));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let what = format!(
                "there is no {shown}: no daemon wrote there yet; name the directory of an analysis with -o, or the file with --db"
            );
            return Err(Failure::new(Exit::NoInput, what));
        }
        Err(error) => {
            let error = anyhow::Error::from(error).context(format!("cannot read {shown}"));
            return Err(Failure { exit: Exit::NoInput, error });
        }
    }
    Ok(Stories::open(path)?)
}

/// The whole id of the alert whose id begins so.
pub(super) fn alert(stories: &Stories, beginning: &str) -> Result<String, Failure> {
    let mut ids = stories.find(beginning, SHOWN_ALERTS)?;
    let what = match ids.len() {
        1 => return Ok(ids.pop().unwrap_or_default()),
        0 => format!("no alert in {} has an id that begins with {beginning}", stories.path().display()),
        _ => format!("several alerts begin with {beginning}:\n  {}", ids.join("\n  ")),
    };
    Err(Failure::new(Exit::Data, what))
}

/// Alerts that are named when a beginning fits several.
const SHOWN_ALERTS: usize = 10;

/// The name of a kind of evidence, in any letter case.
pub(super) fn kind(text: &str) -> Result<EvidenceKind, String> {
    EvidenceKind::from_name(text)
        .ok_or_else(|| format!("`{text}` is no kind of evidence; `slips detections` lists them"))
}

/// A moment: `2h` ago, `3d` ago, a day (`2026-01-02`) or a time (`2026-01-02T10:00`, `2026-01-02T10:00:00Z`); UTC where it names no zone.
pub(super) fn moment(text: &str) -> Result<PacketTime, String> {
    if let Ok(ago) = Length::parse(text)
        && !text.bytes().all(|byte| byte.is_ascii_digit())
    {
        let micros = i64::try_from(ago.0.as_micros()).unwrap_or(i64::MAX);
        return Ok(PacketTime(wall_clock().saturating_sub(micros)));
    }
    let at = text.parse::<jiff::Timestamp>().ok().or_else(|| {
        let at = text.parse::<jiff::civil::DateTime>().ok()?;
        Some(at.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
    });
    at.map(|at| PacketTime(at.as_microsecond())).ok_or_else(|| {
        format!("`{text}` is no time; write 2h or 3d (ago), 2026-01-02 or 2026-01-02T10:00:00Z")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_ago_or_iso_8601() {
        for (text, micros) in [
            ("2026-01-02", 1_767_312_000_000_000),
            ("2026-01-02T10:00", 1_767_348_000_000_000),
            ("2026-01-02 10:00:00", 1_767_348_000_000_000),
            ("2026-01-02T10:00:00.5Z", 1_767_348_000_500_000),
            ("2026-01-02T10:00:00+01:00", 1_767_344_400_000_000),
        ] {
            assert_eq!(moment(text), Ok(PacketTime(micros)), "{text}");
        }
        let hour = 3_600_000_000;
        for (text, ago) in [("2h", 2 * hour), ("3d", 72 * hour), ("90s", hour / 40)] {
            let (before, got) = (wall_clock(), moment(text).expect(text));
            assert!((0..10_000_000).contains(&(got.0 + ago - before)), "{text}: {got:?}");
        }
        for text in ["", "yesterday", "2026", "2026-13-01", "2h ago", "-1h", "10:00"] {
            assert!(moment(text).is_err(), "{text}");
        }
    }
}
