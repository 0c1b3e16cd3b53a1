//! The section `limits`: what bounds memory. What is `auto` is sized by `slips run` from the memory that it may have; an analysis takes the
//! usual sizes, so that its result is the same everywhere.

use serde::Deserialize;
use slips_core::settings::Limits;

use super::units::{Amount, Auto};
use super::wrong;

/// `limits`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsSection {
    pub memory: Auto<Amount>,
    pub remote_profiles: Auto<usize>,
    pub local_profiles: Auto<usize>,
    pub open_evidence: Auto<usize>,
    pub flows: Auto<u32>,
}

/// The flow table's usual size, the sensor's own: 75 MB when all is in use.
pub const USUAL_FLOWS: u32 = 1 << 17;

impl LimitsSection {
    /// The sizes of the engine's tables.
    pub fn engine(&self) -> Limits {
        let usual = Limits::default();
        Limits {
            remote_profiles: self.remote_profiles.or(usual.remote_profiles),
            local_profiles: self.local_profiles.or(usual.local_profiles),
            open_evidence: self.open_evidence.or(usual.open_evidence),
        }
    }

    /// The size of the flow table.
    pub fn flows(&self) -> u32 {
        self.flows.or(USUAL_FLOWS)
    }

    /// What is wrong with the values.
    pub(super) fn problems(&self) -> impl Iterator<Item = &'static str> {
        let engine = self.engine();
        wrong([
            (self.flows() >= 16, "limits.flows must be at least 16"),
            (
                engine.remote_profiles >= 16 && engine.local_profiles >= 16,
                "limits.remote_profiles and limits.local_profiles must be at least 16",
            ),
            (engine.open_evidence >= 16, "limits.open_evidence must be at least 16"),
            (
                self.memory.set().is_none_or(|memory| memory.0 >= 64 << 20),
                "limits.memory must be at least 64MiB, or auto",
            ),
        ])
    }
}
