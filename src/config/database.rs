//! The section `database`: how much of flows.sqlite is kept.

use serde::Deserialize;
use slips_core::time::Span;
use slips_store::{Keep, SqliteLimits};

use super::units::{Amount, Length};

/// `database`
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Database {
    pub flows: Length,
    pub records: Length,
    pub evidence: Length,
    pub size: Amount,
}

impl Default for Database {
    fn default() -> Self {
        const DAY: u64 = 86_400;
        Self {
            flows: Length::secs(7 * DAY),
            records: Length::secs(7 * DAY),
            evidence: Length::secs(90 * DAY),
            size: Amount(2_000_000_000),
        }
    }
}

impl Database {
    /// The limits of a daemon's database.
    pub fn limits(&self) -> SqliteLimits {
        let span = |length: Length| Some(Span(i64::try_from(length.0.as_micros()).unwrap_or(i64::MAX)));
        let keep = Keep {
            flows: span(self.flows),
            records: span(self.records),
            findings: span(self.evidence),
            bytes: Some(self.size.0),
        };
        // The size alone says how many rows there may be.
        SqliteLimits { rows: i64::MAX.unsigned_abs(), keep, ..SqliteLimits::default() }
    }

    /// What is wrong with the values.
    pub(super) fn problems(&self) -> impl Iterator<Item = &'static str> {
        let hour = |length: Length| length.0.as_secs() >= 3600;
        [
            (
                hour(self.flows) && hour(self.records) && hour(self.evidence),
                "database.flows, records and evidence must be at least 1h",
            ),
            (self.size.0 >= 16 << 20, "database.size must be at least 16MiB"),
        ]
        .into_iter()
        .filter(|(is_right, _)| !is_right)
        .map(|(_, what)| what)
    }
}
