//! `detections`: each detection by its name, on or off, and its thresholds. What is allowed is what the detections say of
//! themselves: there is no second list here.

use std::fmt;
use std::path::PathBuf;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use slips_core::spec::{Spec, Threshold, Unit};
use slips_detect::leak_detector::{self, RULES_KEY};
use slips_detect::{Settings, spec_of, threshold_of};

use super::{Config, FlowAlerts};

/// `detections`: only what the file sets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Detections {
    settings: Settings,
    /// The directory of the owner's rules for the leak detector, if one is named.
    pub leak_rules: Option<PathBuf>,
}

impl<'de> serde::Deserialize<'de> for Detections {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let mut all = Self::default();
        from.deserialize_map(Names(&mut all))?;
        Ok(all)
    }
}

/// The names of detections and their sections.
struct Names<'a>(&'a mut Detections);

impl<'de> Visitor<'de> for Names<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the names of detections")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            let spec = spec_of(&name).map_err(A::Error::custom)?;
            map.next_value_seed(Section { spec, all: self.0 })?;
        }
        Ok(())
    }
}

/// The section of one detection.
struct Section<'a> {
    spec: &'static Spec,
    all: &'a mut Detections,
}

impl<'de> DeserializeSeed<'de> for Section<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Section<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the keys of {}", self.spec.name)
    }

    /// All keys are commented out.
    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            if key == "enabled" {
                if !map.next_value::<bool>()? {
                    self.all.settings.disable(self.spec);
                }
                continue;
            }
            if key == RULES_KEY.0 && self.spec.name == leak_detector::SPEC.name {
                self.all.leak_rules = Some(map.next_value()?);
                continue;
            }
            let threshold = threshold_of(self.spec, &key).map_err(A::Error::custom)?;
            let Numbers(numbers) = map.next_value_seed(Given(threshold.unit))?;
            let set = self.all.settings.set(self.spec, threshold, &numbers);
            set.map_err(|wrong| A::Error::custom(format!("{}.{key} {wrong}", self.spec.name)))?;
        }
        Ok(())
    }
}

/// The value of a threshold: one number or a list of them, each with its unit.
struct Given(Unit);

struct Numbers(Vec<u32>);

impl<'de> DeserializeSeed<'de> for Given {
    type Value = Numbers;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Numbers, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Given {
    type Value = Numbers;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, or a list of numbers, with their unit")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Numbers, E> {
        self.0.parse(text).map(|n| Numbers(vec![n])).map_err(E::custom)
    }

    fn visit_u64<E: Error>(self, n: u64) -> Result<Numbers, E> {
        self.visit_str(&n.to_string())
    }

    fn visit_i64<E: Error>(self, n: i64) -> Result<Numbers, E> {
        self.visit_str(&n.to_string())
    }

    fn visit_f64<E: Error>(self, n: f64) -> Result<Numbers, E> {
        self.visit_str(&n.to_string())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Numbers, A::Error> {
        let mut numbers = Vec::new();
        while let Some(Numbers(one)) = list.next_element_seed(Self(self.0))? {
            numbers.extend(one);
            if numbers.len() > MOST_NUMBERS {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                return Err(A::Error::custom("the list is too long"));
            }
        }
        Ok(Numbers(numbers))
    }
}

/// More than any detection has steps.
const MOST_NUMBERS: usize = 16;

impl Config {
    /// The settings of the detections: those below `detections`, and those that have the original's names. What is wrong with
    /// the latter, or is set at two places.
    pub fn detections(&self) -> Result<Settings, Vec<String>> {
        let mut settings = self.detections.settings.clone();
        let usual = FlowAlerts::default();
        let alerts = &self.flow_alerts;
        let seconds = alerts.long_connection_threshold.0.as_secs();
        let megabytes = alerts.data_exfiltration_threshold.0.div_ceil(1_000_000);
        let attempts = u64::from(self.brute_force_detector.ssh_attempt_threshold);
        let mut wrong = Vec::new();
        for (old, detection, key, n, changed) in [
            (
                "flow_alerts.long_connection_threshold",
                "long_connection",
                "duration",
                seconds,
                alerts.long_connection_threshold != usual.long_connection_threshold,
            ),
            (
                "flow_alerts.data_exfiltration_threshold",
                "data_upload",
                "upload",
                megabytes,
                alerts.data_exfiltration_threshold != usual.data_exfiltration_threshold,
            ),
            (
                "brute_force_detector.ssh_attempt_threshold",
                "ssh_password_guessing",
                "attempts",
                attempts,
                attempts != u64::from(super::BruteForce::default().ssh_attempt_threshold),
            ),
        ] {
            if let Err(why) = take_over(&mut settings, (detection, key), n, changed) {
                wrong.push(format!("{old} {why}"));
            }
        }
        if wrong.is_empty() { Ok(settings) } else { Err(wrong) }
    }
}

/// Sets a threshold by the original's key, if that was changed.
fn take_over(settings: &mut Settings, at: (&str, &str), n: u64, changed: bool) -> Result<(), String> {
    let spec = spec_of(at.0)?;
    let threshold: &'static Threshold = threshold_of(spec, at.1)?;
    if !changed {
        return Ok(());
    }
    if settings.is_set(spec, threshold) {
        return Err(format!("is set as detections.{}.{} too: leave one of them", at.0, at.1));
    }
    settings.set(spec, threshold, &[u32::try_from(n).unwrap_or(u32::MAX)])
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn parse(text: &str) -> Result<Settings, Vec<String>> {
        let told = |problems: Vec<super::super::Problem>| {
            problems.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let config = Config::parse(Path::new("slips.yaml"), text).map_err(told)?;
        config.detections()
    }

    fn is_enabled(settings: &Settings, name: &str) -> bool {
        settings.is_enabled(spec_of(name).expect(name))
    }

    #[test]
    fn a_detection_is_turned_off_and_its_numbers_are_set() {
        let text = "\
detections:
  vertical_port_scan: {enabled: false, ports: 20}
  long_connection:
    duration: [1h, 4h, 12h, 1d]
  data_upload: {upload: 2GB}
  dns_answers: {entropy: 4.5}
  gre:
    # far_ends: 3
  dga:
";
        let settings = parse(text).expect("all of it is right");
        assert!(!is_enabled(&settings, "vertical_port_scan") && is_enabled(&settings, "dga"));
        let registry = slips_detect::registry(&settings, &slips_core::intel::Current::default());
        assert!(registry.iter().all(|detector| detector.spec().name != "vertical_port_scan"));
        assert_eq!(registry.len(), slips_detect::specs().len() - 1);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line_and_key() {
        let text = "\
detections:
  vertical_scan:
    ports: 20
  vertical_port_scan:
    prots: 20
    ports: 1
  smtp_login: {within: soon}
  gre: {far_ends: [1, 2]}
  dga: {random_domains: [30, 10, 100, 300]}
  beacon: {enabled: perhaps}
  flood: 7
";
        let problems = parse(text).expect_err("much is wrong");
        for (n, (line, what)) in [
            (2, "`vertical_scan` is no detection; known are vertical_port_scan, horizontal_port_scan, "),
            (5, "`prots` is no key of vertical_port_scan; known are enabled, ports, udp_ports"),
            (6, "vertical_port_scan.ports must be 2 to 65535"),
            (7, "`soon` is not a length of time, such as 90s, 5m, 1h or 7d"),
            (8, "gre.far_ends is one number, or a list of 3: one for each step"),
            (9, "dga.random_domains must not descend: each step is above the one before"),
            (10, "beacon"),
            (11, "flood"),
        ]
        .into_iter()
        .enumerate()
        {
            let problem = problems.get(n).unwrap_or_else(|| panic!("{n}: {problems:#?}"));
            assert!(problem.starts_with(&format!("slips.yaml:{line}: ")), "{line} {what}: {problems:#?}");
            assert!(problem.contains(what), "{what}: {problem}");
        }
        assert_eq!(problems.len(), 8, "{problems:#?}");
    }

    #[test]
    fn the_keys_of_the_original_still_hold_and_nothing_is_set_twice() {
        let set = "flow_alerts:\n  long_connection_threshold: 2h\n";
        let settings = parse(set).expect("a length of time");
        assert_ne!(settings, Settings::default());
        let twice = format!("{set}detections:\n  long_connection: {{duration: 1h}}\n");
        let problems = parse(&twice).expect_err("set twice");
        let what = "slips.yaml: flow_alerts.long_connection_threshold is set as detections.long_connection.duration too: \
                    leave one of them";
        assert_eq!(problems, [what]);
        assert!(parse("brute_force_detector:\n  ssh_attempt_threshold: 0\n").is_err());
    }

    #[test]
    fn the_shipped_file_shows_every_key_with_its_default() {
        let shown = slips_detect::describe::yaml();
        let bare: Vec<_> = shown
            .lines()
            .map(|line| match line.strip_prefix("  # ") {
                Some(rest) if rest.starts_with("  ") || rest.ends_with(':') => format!("  {rest}"),
                _ => line.to_owned(),
            })
            .collect();
        let settings = parse(&bare.join("\n")).expect("the comments are right");
        for spec in slips_detect::specs() {
            assert!(settings.is_enabled(spec), "{}", spec.name);
            for threshold in spec.thresholds {
                assert!(settings.is_set(spec, threshold), "{}.{}", spec.name, threshold.key);
            }
        }
        let mut usual = Settings::default();
        for spec in slips_detect::specs() {
            for threshold in spec.thresholds {
                usual.set(spec, threshold, &threshold.usual_numbers()).expect("a default");
            }
        }
        assert_eq!(settings, usual);
    }
}
