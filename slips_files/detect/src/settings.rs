//! What of the detections can be set: which of them run, their thresholds, and what is known about the network.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use slips_core::moving::{Gateways, OwnMacs};
use slips_core::spec::{Spec, Threshold, Usual};
use slips_core::time::Span;

use crate::ladder::Ladder;
use crate::leak_detector::Rules;

/// The settings of all detections. The default is what [`Spec::thresholds`] say, with every detection on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Default gateways, and on a router its own addresses: they ask by ARP for whomever others look for, and uploads to them are
    /// not judged (default none).
    pub gateways: Gateways,
    /// Hardware addresses of this router: several of its interfaces may answer for one address (default none).
    pub own_macs: OwnMacs,
    /// What the leak detector looks for, if the owner has rules of his own (default: what is built in).
    pub leak_rules: Option<Rules>,
    disabled: BTreeSet<&'static str>,
    /// By the detection's name and the threshold's key; only what was set.
    numbers: BTreeMap<(&'static str, &'static str), Vec<u32>>,
}

/// The detection with this name, and why there is none.
pub fn spec_of(name: &str) -> Result<&'static Spec, String> {
    let specs = crate::specs();
    specs.iter().find(|spec| spec.name == name).copied().ok_or_else(|| {
        let known: Vec<_> = specs.iter().map(|spec| spec.name).collect();
        format!("`{name}` is no detection; known are {}", known.join(", "))
    })
}

/// The threshold of a detection with this key, and why there is none.
pub fn threshold_of(spec: &'static Spec, key: &str) -> Result<&'static Threshold, String> {
    spec.thresholds.iter().find(|threshold| threshold.key == key).ok_or_else(|| {
        let known: Vec<_> = spec.thresholds.iter().map(|threshold| threshold.key).collect();
        format!("`{key}` is no key of {}; known are enabled, {}", spec.name, known.join(", "))
    })
}

impl Settings {
    /// The defaults, with these gateways.
    pub fn with_gateways(gateways: Vec<IpAddr>) -> Self {
        Self { gateways: gateways.into(), ..Self::default() }
    }

    /// Turns a detection off.
    pub fn disable(&mut self, spec: &'static Spec) {
        self.disabled.insert(spec.name);
    }

    /// Whether a detection runs.
    pub fn is_enabled(&self, spec: &'static Spec) -> bool {
        !self.disabled.contains(spec.name)
    }

    /// Sets a threshold; see [`Threshold::accept`] for what is allowed.
    pub fn set(
        &mut self,
        spec: &'static Spec,
        threshold: &'static Threshold,
        given: &[u32],
    ) -> Result<(), String> {
        let numbers = threshold.accept(given)?;
        self.numbers.insert((spec.name, threshold.key), numbers);
        Ok(())
    }

    /// Whether a threshold was set.
    pub fn is_set(&self, spec: &'static Spec, threshold: &'static Threshold) -> bool {
        self.numbers.contains_key(&(spec.name, threshold.key))
    }

    /// The steps that hold.
    pub(crate) fn ladder(&self, spec: &Spec, threshold: &Threshold) -> Ladder {
        let Usual::Steps(rungs) = threshold.usual else { return Ladder::default() };
        let set = self.numbers.get(&(spec.name, threshold.key));
        let at = |n: usize| set.and_then(|numbers| numbers.get(n)).copied();
        Ladder::new(rungs.iter().enumerate().map(|(n, rung)| {
            let mut rung = *rung;
            rung.at = at(n).unwrap_or(rung.at);
            rung
        }))
    }

    /// The number that holds; of steps the first one.
    pub(crate) fn number(&self, spec: &Spec, threshold: &Threshold) -> u32 {
        let set = self.numbers.get(&(spec.name, threshold.key)).and_then(|numbers| numbers.first()).copied();
        set.unwrap_or(match threshold.usual {
            Usual::Number(n) => n,
            Usual::Steps(rungs) => rungs.first().map_or(0, |rung| rung.at),
        })
    }

    /// The same as a length of time.
    pub(crate) fn span(&self, spec: &Spec, threshold: &Threshold) -> Span {
        Span::from_secs(self.number(spec, threshold).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{smtp_login, vertical_scan};

    #[test]
    fn what_is_not_set_is_the_default_and_what_is_set_holds() {
        let mut settings = Settings::default();
        let spec = &vertical_scan::SPEC;
        let ports = threshold_of(spec, "ports").expect("a key");
        assert_eq!(settings.ladder(spec, ports).step(10), 1);
        settings.set(spec, ports, &[20]).expect("a number of ports");
        assert_eq!([19, 20, 30, 99, 100].map(|n| settings.ladder(spec, ports).step(n)), [0, 1, 2, 2, 3]);
        assert!(settings.set(spec, ports, &[1]).is_err());
        let within = threshold_of(&smtp_login::SPEC, "within").expect("a key");
        assert_eq!(settings.number(&smtp_login::SPEC, within), 10);
    }

    #[test]
    fn unknown_names_tell_the_known_ones() {
        assert!(spec_of("nosuch").expect_err("no detection").contains("vertical_port_scan"));
        let error = threshold_of(&smtp_login::SPEC, "ports").expect_err("no key");
        assert_eq!(error, "`ports` is no key of smtp_login; known are enabled, refused, burst, within");
    }

    #[test]
    fn every_default_is_one_that_could_be_set() {
        for spec in crate::specs() {
            for threshold in spec.thresholds {
                let usual = threshold.usual_numbers();
                assert_eq!(threshold.accept(&usual), Ok(usual), "{}.{}", spec.name, threshold.key);
            }
            let mut keys: Vec<_> = spec.thresholds.iter().map(|threshold| threshold.key).collect();
            keys.extend(["enabled"]);
            keys.sort_unstable();
            assert!(keys.windows(2).all(|pair| pair[0] != pair[1]), "{}: {keys:?}", spec.name);
        }
    }
}
