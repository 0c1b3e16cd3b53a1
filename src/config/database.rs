//! The section `database`: how much of flows.sqlite is kept.

use serde::Deserialize;
use slips_core::time::Span;
use slips_store::{Keep, SqliteLimits};

use super::units::{Amount, Auto, Length};
use super::wrong;

/// `database`
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Database {
    pub flows: Length,
    pub records: Length,
    pub evidence: Length,
    pub size: Auto<Amount>,
}

impl Default for Database {
    fn default() -> Self {
        const DAY: u64 = 86_400;
        Self {
            flows: Length::secs(7 * DAY),
            records: Length::secs(7 * DAY),
            evidence: Length::secs(90 * DAY),
            size: Auto::Auto,
        }
    }
}

impl Database {
    /// The limits of a daemon's database on a file system of so many bytes, where that is known.
    pub fn limits(&self, file_system: Option<u64>) -> SqliteLimits {
        let span = |length: Length| Some(Span(i64::try_from(length.0.as_micros()).unwrap_or(i64::MAX)));
        let keep = Keep {
            flows: span(self.flows),
            records: span(self.records),
            findings: span(self.evidence),
            bytes: Some(self.bytes(file_system)),
        };
        SqliteLimits { keep, ..SqliteLimits::default() }
    }

    /// How many profiles are kept: at 1 kB each an eighth of it.
    pub fn profiles(&self, file_system: Option<u64>) -> u32 {
        u32::try_from(self.bytes(file_system) / 8_000).unwrap_or(u32::MAX).clamp(1_000, PROFILES)
    }

    fn bytes(&self, file_system: Option<u64>) -> u64 {
        let quarter = file_system.map_or(u64::MAX, |bytes| (bytes / 4).max(LEAST));
        self.size.set().map_or(USUAL.min(quarter), |set| set.0)
    }

    /// What is wrong with the values.
    pub(super) fn problems(&self) -> impl Iterator<Item = &'static str> {
        let hour = |length: Length| length.0.as_secs() >= 3600;
        wrong([
            (
                hour(self.flows) && hour(self.records) && hour(self.evidence),
                "database.flows, records and evidence must be at least 1h",
            ),
            (
                self.size.set().is_none_or(|size| size.0 >= LEAST),
                "database.size must be at least 16MiB, or auto",
            ),
        ])
    }
}

/// What a database takes at most where there is room,
const USUAL: u64 = 2_000_000_000;
/// and where there is little.
const LEAST: u64 = 16 << 20;

/// Profiles where there is room.
const PROFILES: u32 = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_disk_is_not_filled_and_what_is_set_counts() {
        let auto = Database::default();
        let set = Database { size: Auto::Set(Amount(5 << 30)), ..auto };
        for (database, disk, bytes) in [
            (auto, None, USUAL),
            (auto, Some(1 << 40), USUAL),
            (auto, Some(4 << 30), 1 << 30),
            (auto, Some(8 << 20), LEAST),
            (set, Some(4 << 30), 5 << 30),
        ] {
            assert_eq!(database.limits(disk).keep.bytes, Some(bytes), "{disk:?}");
            let profiles = (bytes / 8_000).min(100_000);
            assert_eq!(u64::from(database.profiles(disk)), profiles, "{disk:?}");
        }
    }
}
