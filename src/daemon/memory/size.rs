//! How large tables may be, for the memory there is: what the configuration sets stays, the rest shares what is left.

use crate::config::{Amount, Auto, Config, LimitsSection};
use crate::daemon::capture::USUAL_RING;

/// The memory there is to share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Bytes.
    pub bytes: u64,
    /// Whether somebody set it. Then tables may be larger than usual; where a part of the machine's memory was guessed, they are not.
    pub set: bool,
}

/// Sizes what is `auto` in `config`, for `rings` rings of the kernel.
pub fn fit(config: &Config, budget: Budget, rings: u64) -> Config {
    let mut sized = config.clone();
    let ring = config.capture.ring.or(Amount(
        // No more than an eighth of all in rings, in whole blocks.
        (budget.bytes / 8 / rings.max(1) / MIB).clamp(1, USUAL_RING.0 / MIB) * MIB,
    ));
    sized.capture.ring = Auto::Set(ring);
    let limits = &config.limits;
    let usual = [
        Table::new(limits.remote_profiles.set(), limits.engine().remote_profiles, PROFILE_BYTES, 4_096),
        Table::new(limits.local_profiles.set(), limits.engine().local_profiles, PROFILE_BYTES, 1_024),
        Table::new(limits.open_evidence.set(), limits.engine().open_evidence, EVIDENCE_BYTES, 2_048),
        Table::new(
            limits.flows.set().map(|flows| flows as usize),
            limits.flows() as usize,
            FLOW_BYTES,
            4_096,
        ),
    ];
    let needed = |is_set: bool| -> u64 {
        usual
            .iter()
            .filter(|table| table.is_set == is_set)
            .map(|table| table.usual as u64 * table.bytes)
            .sum()
    };
    let left = budget.bytes.saturating_sub(FIXED_BYTES + ring.0.saturating_mul(rings) + needed(true));
    let most = if budget.set { MOST_FACTOR } else { 1.0 };
    let factor = (left as f64 / needed(false).max(1) as f64).min(most);
    // A little more than usual is not worth other numbers than those in the manual.
    let factor = if (1.0..WORTH).contains(&factor) { 1.0 } else { factor };
    let [remote, local, evidence, flows] = usual.map(|table| table.at(factor));
    sized.limits = LimitsSection {
        memory: limits.memory,
        remote_profiles: Auto::Set(remote),
        local_profiles: Auto::Set(local),
        open_evidence: Auto::Set(evidence),
        flows: Auto::Set(u32::try_from(flows).unwrap_or(u32::MAX)),
    };
    sized
}

/// One table.
#[derive(Clone, Copy)]
struct Table {
    is_set: bool,
    /// Entries: what was set, or usually.
    usual: usize,
    /// Of each entry.
    bytes: u64,
    /// With fewer entries it would be of no use.
    least: usize,
}

impl Table {
    const fn new(set: Option<usize>, usual: usize, bytes: u64, least: usize) -> Self {
        Self { is_set: set.is_some(), usual, bytes, least }
    }

    fn at(self, factor: f64) -> usize {
        if self.is_set { self.usual } else { ((self.usual as f64 * factor) as usize).max(self.least) }
    }
}

const MIB: u64 = 1 << 20;
/// What there is besides tables that grow with traffic: the program, lists of some 100,000 indicators, queues between threads (16 batches
/// before the engine and 64 before each consumer, of 1,024 events at most), the page caches and waiting rows of the database. Not all of it
/// at its worst at the same time as all tables: for that there is what makes tables smaller while they are used.
const FIXED_BYTES: u64 = 64 * MIB;
/// docs/performance.md measures them: an idle profile 728 bytes, a flow 576 and its place in the index; an evidence has two texts.
const PROFILE_BYTES: u64 = 800;
const FLOW_BYTES: u64 = 600;
const EVIDENCE_BYTES: u64 = 1_000;
const WORTH: f64 = 1.5;
/// Tables of so many times the usual size are enough for any router.
const MOST_FACTOR: f64 = 4.0;

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(config: &Config, mib: u64, set: bool, rings: u64) -> [u64; 5] {
        let sized = fit(config, Budget { bytes: mib * MIB, set }, rings);
        let limits = sized.limits.engine();
        let ring = sized.capture.ring.set().expect("a size").0 / MIB;
        [
            limits.remote_profiles as u64,
            limits.local_profiles as u64,
            limits.open_evidence as u64,
            sized.limits.flows().into(),
            ring,
        ]
    }

    #[test]
    fn with_the_units_own_limit_tables_have_their_usual_sizes_and_with_less_their_part() {
        let usual = Config::default();
        assert_eq!(sizes(&usual, 384, false, 2), [100_000, 65_536, 50_000, 131_072, 8]);
        let [remote, local, evidence, flows, ring] = sizes(&usual, 256, true, 3);
        assert!((60_000..75_000).contains(&remote), "{remote}");
        assert!(
            (remote * 65_536 / 100_000).abs_diff(local) < 2 && (30_000..37_000).contains(&evidence),
            "{local} {evidence}"
        );
        assert!((80_000..95_000).contains(&flows) && ring == 8, "{flows} {ring}");
        // What is too little is used with the least sizes.
        assert_eq!(sizes(&usual, 64, true, 3), [4_096, 1_024, 2_048, 4_096, 2]);
        assert_eq!(sizes(&usual, 64, true, 64)[4], 1);
    }

    #[test]
    fn with_more_they_are_larger_only_where_somebody_gave_it() {
        let usual = Config::default();
        assert_eq!(sizes(&usual, 6_000, false, 3), [100_000, 65_536, 50_000, 131_072, 8]);
        assert_eq!(sizes(&usual, 6_000, true, 3), [400_000, 262_144, 200_000, 524_288, 8]);
    }

    #[test]
    fn what_the_configuration_sets_stays_and_the_rest_has_what_is_left() {
        let text = "limits:\n  flows: 300000\n  local_profiles: 256\ncapture:\n  ring: 32MiB\n";
        let config = Config::parse(std::path::Path::new("slips.yaml"), text).expect("config");
        let [remote, local, evidence, flows, ring] = sizes(&config, 384, true, 2);
        assert_eq!((local, flows, ring), (256, 300_000, 32));
        assert!((20_000..70_000).contains(&remote), "{remote}");
        assert!((evidence * 2).abs_diff(remote) < 3);
    }

    #[test]
    fn all_full_tables_together_fit_in_what_they_were_made_for() {
        for mib in [160, 256, 384, 512, 1_024, 2_048] {
            let [remote, local, evidence, flows, ring] = sizes(&Config::default(), mib, true, 4);
            let all = FIXED_BYTES
                + (remote + local) * PROFILE_BYTES
                + evidence * EVIDENCE_BYTES
                + flows * FLOW_BYTES
                + 4 * ring * MIB;
            assert!(all <= mib * MIB, "{mib} MiB: {all}");
        }
    }
}
