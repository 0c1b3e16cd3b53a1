//! How large tables may be, for the memory there is: what the configuration sets stays, the rest shares what is left.

use crate::config::{self, Amount, Auto, Config, LimitsSection};
use crate::daemon::capture::USUAL_RING;

/// The memory there is to share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Bytes.
    pub bytes: u64,
    /// Whether somebody set it. Then tables may be larger than usual; where a part of the machine's memory was guessed, they are not.
    pub set: bool,
}

/// Interfaces that will have rings in the kernel, one for each thread, and what these take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rings {
    /// Interfaces whose rings are planned for.
    pub planned: u16,
    /// Others that may come later.
    pub later: u16,
    /// Capture threads.
    pub threads: u16,
    /// Whether each has another ring beside it: `capture.spare`, where somebody keeps it.
    pub doubled: bool,
}

impl Rings {
    /// Bytes that one takes with the one beside it.
    fn cost(self, capture: &config::Capture, ring: u64) -> u64 {
        ring.saturating_add(if self.doubled { capture.spare.or(Amount(ring)).0 } else { 0 })
    }

    /// Bytes of each, where so many bytes are for all on so many interfaces.
    fn each(self, capture: &config::Capture, bytes: u64, interfaces: u16) -> u64 {
        let all = bytes / (u64::from(interfaces) * u64::from(self.threads)).max(1);
        let own = match (self.doubled, capture.spare) {
            (false, _) => all,
            (true, Auto::Auto) => all / 2,
            (true, Auto::Set(spare)) => all.saturating_sub(spare.0),
        };
        // In whole MiB, of which one holds a fortieth of a second of 300,000 small packets a second: less would be of little use.
        (own / MIB).clamp(1, USUAL_RING.0 / MIB) * MIB
    }
}

/// What is `auto`, sized.
#[derive(Clone, Debug)]
pub struct Sizes {
    /// The configuration with these sizes.
    pub config: Config,
    /// Bytes of a ring on an interface beyond those planned for: of what these leave of the eighth, and 1 MiB at least. With the ring
    /// beside it each so takes 2 MiB more, 88 MiB where 44 came. Few routers have them, and tables are made smaller once memory is short.
    pub later_ring: u64,
}

/// Sizes what is `auto` in `config`, for these rings of the kernel.
pub fn fit(config: &Config, budget: Budget, rings: Rings) -> Sizes {
    let mut sized = config.clone();
    // No more than an eighth of all in rings.
    let (capture, eighth) = (&config.capture, budget.bytes / 8);
    let ring = capture.ring.or(Amount(rings.each(capture, eighth, rings.planned)));
    let planned = u64::from(rings.planned) * u64::from(rings.threads);
    let in_rings = rings.cost(capture, ring.0).saturating_mul(planned);
    let later = rings.each(capture, eighth.saturating_sub(in_rings), rings.later);
    // What somebody set is meant for each.
    let later_ring = if capture.ring.set().is_some() { ring.0 } else { later.min(ring.0) };
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
    let left = budget.bytes.saturating_sub((FIXED_BYTES + needed(true)).saturating_add(in_rings));
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
    Sizes { config: sized, later_ring }
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

    fn on(planned: u16) -> Rings {
        Rings { planned, later: 0, threads: 1, doubled: false }
    }

    fn sizes(config: &Config, mib: u64, set: bool, rings: u16) -> [u64; 5] {
        let sized = fit(config, Budget { bytes: mib * MIB, set }, on(rings)).config;
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
    fn rings_have_an_eighth_with_those_beside_them_and_those_that_come_later_what_is_left_of_it() {
        let rings = |text: &str, mib: u64, rings: Rings| {
            let config = Config::parse(std::path::Path::new("slips.yaml"), text).expect("config");
            let sized = fit(&config, Budget { bytes: mib * MIB, set: true }, rings);
            (sized.config.capture.ring.set().expect("a size").0 / MIB, sized.later_ring / MIB)
        };
        let found = Rings { planned: 4, later: 44, threads: 1, doubled: true };
        assert_eq!(rings("", 384, found), (6, 1));
        assert_eq!(rings("", 384, Rings { doubled: false, ..found }), (8, 1));
        assert_eq!(rings("", 384, Rings { threads: 2, ..found }), (3, 1));
        assert_eq!(rings("", 64, found), (1, 1));
        assert_eq!(rings("", 4096, found), (8, 5));
        assert_eq!(rings("", 8192, found), (8, 8));
        assert_eq!(rings("", 384, Rings { planned: 1, later: 0, ..found }), (8, 8));
        assert_eq!(rings("", 384, Rings { planned: 0, later: 0, ..found }), (8, 8));
        assert_eq!(rings("capture:\n  spare: 0\n", 384, found), (8, 1));
        assert_eq!(rings("capture:\n  spare: 2MiB\n", 256, found), (6, 1));
        assert_eq!(rings("capture:\n  ring: 32MiB\n", 384, found), (32, 32));
        // What is beside them is not there for tables.
        let config = Config::parse(std::path::Path::new("slips.yaml"), "capture:\n  ring: 32MiB\n");
        let budget = Budget { bytes: 384 * MIB, set: true };
        let flows = |rings| fit(config.as_ref().expect("config"), budget, rings).config.limits.flows();
        assert_eq!(flows(found), flows(on(8)));
        assert!(flows(found) < flows(on(4)));
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
