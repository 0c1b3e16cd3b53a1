//! What a detection is, as data: the registry, the configuration, `slips detections` and `docs/detections.md` are made of it.

use crate::event::EventKind;
use crate::evidence::{Confidence, EvidenceKind, ThreatLevel};

/// Which side of the event the profile at hand is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// The originator, the client, the host the record is about.
    Src,
    /// The other side.
    Dst,
    /// The link as a whole: who answers for whom on it, and who is new there, is seen by nobody alone. Told for the events that
    /// [`Event::is_of_link`](crate::event::Event::is_of_link) names; the profile at hand is then
    /// [`LINK`](crate::detector::LINK), and nobody is to be blamed as it.
    Link,
}

impl Role {
    /// How many roles there are.
    pub const COUNT: usize = Self::Link as usize + 1;
}

/// What a detection is, for the registry, the configuration and the documentation.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// Short name, snake_case; its section below `detections` in `slips.yaml`.
    pub name: &'static str,
    /// The evidence it can raise.
    pub kinds: &'static [EvidenceKind],
    /// The events it wants to see.
    pub events: &'static [EventKind],
    /// The sides it wants to see them from.
    pub roles: &'static [Role],
    /// Its numbers that `slips.yaml` may change.
    pub thresholds: &'static [Threshold],
    /// What a person should know of it.
    pub header: Header,
}

/// What a person should know of a detection. Whole sentences, in Markdown.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    /// What it detects.
    pub detects: &'static str,
    /// Techniques of MITRE ATT&CK.
    pub attack: &'static str,
    /// When it finds something.
    pub rule: &'static str,
    /// Where its numbers come from, and what the original does.
    pub numbers: &'static str,
    /// Why innocent traffic stays out.
    pub quiet: &'static str,
    /// How it can be evaded.
    pub evasion: &'static str,
    /// Whether its evidence proves who did it.
    pub proof: &'static str,
}

#[cfg(test)]
impl Header {
    /// Of a detection that exists in a test only.
    pub(crate) const EMPTY: Self =
        Self { detects: "", attack: "", rule: "", numbers: "", quiet: "", evasion: "", proof: "" };
}

/// One step of a finding that grows: from this magnitude on, so bad and so sure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rung {
    /// The smallest magnitude of this step.
    pub at: u32,
    /// How bad.
    pub level: ThreatLevel,
    /// How sure.
    pub confidence: Confidence,
}

/// In what a threshold is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A plain number of what the threshold names.
    Count,
    /// A length of time, in seconds.
    Seconds,
    /// An amount of data, in bytes.
    Bytes,
    /// An amount of data, in kB (10^3 bytes).
    Kilobytes,
    /// An amount of data, in MB (10^6 bytes).
    Megabytes,
    /// A measure with up to two decimals, in hundredths.
    Hundredths,
}

/// What holds where `slips.yaml` says nothing.
#[derive(Clone, Copy, Debug)]
pub enum Usual {
    /// Steps: their magnitudes can be set, their levels and confidences stand.
    Steps(&'static [Rung]),
    /// One number.
    Number(u32),
}

/// A number of a detection, or the magnitudes of its steps, that `slips.yaml` may change.
#[derive(Clone, Copy, Debug)]
pub struct Threshold {
    /// Its key in the detection's section.
    pub key: &'static str,
    /// What it counts: the end of a sentence that begins with a number.
    pub what: &'static str,
    /// In what.
    pub unit: Unit,
    /// The default.
    pub usual: Usual,
    /// The smallest number that makes sense.
    pub least: u32,
    /// The largest one.
    pub most: u32,
}

impl Threshold {
    /// Steps of a finding that grows, from 1 to a million of what `what` says.
    pub const fn steps(key: &'static str, what: &'static str, unit: Unit, rungs: &'static [Rung]) -> Self {
        Self { key, what, unit, usual: Usual::Steps(rungs), least: 1, most: 1_000_000 }
    }

    /// One number, from 1 to a million.
    pub const fn number(key: &'static str, what: &'static str, unit: Unit, usual: u32) -> Self {
        Self { key, what, unit, usual: Usual::Number(usual), least: 1, most: 1_000_000 }
    }

    /// The same within other bounds.
    pub const fn within(self, least: u32, most: u32) -> Self {
        Self { least, most, ..self }
    }

    /// The default numbers: one for each step, or the one.
    pub fn usual_numbers(&self) -> Vec<u32> {
        match self.usual {
            Usual::Steps(rungs) => rungs.iter().map(|rung| rung.at).collect(),
            Usual::Number(n) => vec![n],
        }
    }

    /// The numbers that hold when `given` is set: one number for each step, or one, which is the first step's; steps below it
    /// begin with it, too.
    pub fn accept(&self, given: &[u32]) -> Result<Vec<u32>, String> {
        let mut numbers = self.usual_numbers();
        if given.iter().any(|n| !(self.least..=self.most).contains(n)) {
            return Err(format!(
                "must be {} to {}",
                self.unit.text(self.least.into()),
                self.unit.text(self.most.into())
            ));
        }
        match given {
            [first] => numbers.iter_mut().for_each(|n| *n = (*n).max(*first)),
            _ if given.len() != numbers.len() => {
                return Err(format!("is one number, or a list of {}: one for each step", numbers.len()));
            }
            _ if !given.is_sorted() => {
                return Err("must not descend: each step is above the one before".into());
            }
            _ => numbers.copy_from_slice(given),
        }
        if let ([first], Some(n)) = (given, numbers.first_mut()) {
            *n = *first;
        }
        Ok(numbers)
    }
}

impl Unit {
    /// A number of this unit as `slips.yaml` has it.
    pub fn text(self, n: u64) -> String {
        let whole = |units: &[(u64, &str)]| {
            let fits = units.iter().find(|(size, _)| n >= *size && n.is_multiple_of(*size));
            fits.map_or_else(|| n.to_string(), |(size, name)| format!("{}{name}", n / size))
        };
        match self {
            Self::Count => n.to_string(),
            Self::Seconds => whole(&[(86_400, "d"), (3600, "h"), (60, "m"), (1, "s")]),
            Self::Bytes => whole(&[(1_000_000, "MB"), (1000, "kB"), (1, "B")]),
            Self::Kilobytes => whole(&[(1_000_000, "GB"), (1000, "MB"), (1, "kB")]),
            Self::Megabytes => whole(&[(1000, "GB"), (1, "MB")]),
            Self::Hundredths if n.is_multiple_of(100) => format!("{}.0", n / 100),
            Self::Hundredths => format!("{}.{:02}", n / 100, n % 100),
        }
    }

    /// Reads what `slips.yaml` has: a number with the unit's names, or a plain number of what it counts (of seconds, of MB for
    /// any amount of data).
    pub fn parse(self, text: &str) -> Result<u32, String> {
        let text = text.trim();
        let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, name) = (text.get(..split).unwrap_or(""), text.get(split..).unwrap_or("").trim());
        let megabytes = matches!(self, Self::Bytes | Self::Kilobytes | Self::Megabytes) && name.is_empty();
        let name = if megabytes { "MB" } else { name };
        let known: &[(&str, u64)] = match self {
            Self::Count => &[("", 1)],
            Self::Hundredths => &[("", 100)],
            Self::Seconds => &[("", 1), ("s", 1), ("m", 60), ("h", 3600), ("d", 86_400)],
            Self::Bytes => &[("B", 1), ("kB", 1000), ("MB", 1_000_000), ("GB", 1_000_000_000)],
            Self::Kilobytes => &[("kB", 1), ("MB", 1000), ("GB", 1_000_000)],
            Self::Megabytes => &[("MB", 1), ("GB", 1000)],
        };
        let like = match self {
            Self::Count => "a whole number, such as 20",
            Self::Hundredths => "a number, such as 4.5",
            Self::Seconds => "a length of time, such as 90s, 5m, 1h or 7d",
            Self::Bytes | Self::Kilobytes | Self::Megabytes => "an amount of data, such as 500MB or 2GB",
        };
        let size = known.iter().find(|(known, _)| *known == name).map(|(_, size)| *size);
        let read = |size: u64| {
            if self == Self::Hundredths {
                let n = (number.parse::<f64>().ok()? * 100.0).round();
                return (0.0..1e9).contains(&n).then_some(n as u32);
            }
            number.parse::<u64>().ok()?.checked_mul(size)?.try_into().ok()
        };
        size.and_then(read).ok_or_else(|| format!("`{text}` is not {like}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEPS: Threshold = Threshold::steps(
        "ports",
        "ports",
        Unit::Count,
        &[
            Rung { at: 10, level: ThreatLevel::Low, confidence: Confidence::FULL },
            Rung { at: 30, level: ThreatLevel::High, confidence: Confidence::FULL },
            Rung { at: 100, level: ThreatLevel::Critical, confidence: Confidence::FULL },
        ],
    );

    #[test]
    fn one_number_is_the_first_step_and_pushes_the_others_up() {
        assert_eq!(STEPS.accept(&[20]), Ok(vec![20, 30, 100]));
        assert_eq!(STEPS.accept(&[5]), Ok(vec![5, 30, 100]));
        assert_eq!(STEPS.accept(&[40]), Ok(vec![40, 40, 100]));
        assert_eq!(STEPS.accept(&[5, 6, 7]), Ok(vec![5, 6, 7]));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (given, why) in [
            (&[0][..], "must be 1 to 1000000"),
            (&[1, 2], "a list of 3"),
            (&[], "a list of 3"),
            (&[30, 20, 100], "must not descend"),
            (&[1, 2, 2_000_000], "must be 1"),
        ] {
            let error = STEPS.accept(given).expect_err(why);
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn numbers_are_read_as_they_are_written() {
        for unit in
            [Unit::Count, Unit::Seconds, Unit::Bytes, Unit::Kilobytes, Unit::Megabytes, Unit::Hundredths]
        {
            for n in [1, 59, 60, 90, 700, 1000, 1500, 3600, 86_400, 5_000_000] {
                assert_eq!(unit.parse(&unit.text(n)), Ok(n as u32), "{unit:?} {n}");
            }
        }
        assert_eq!(Unit::Seconds.parse("1500"), Ok(1500));
        assert_eq!(Unit::Megabytes.parse("500"), Ok(500));
        assert_eq!(Unit::Kilobytes.parse("2"), Ok(2000));
        for (unit, text) in [
            (Unit::Count, "10s"),
            (Unit::Count, "-1"),
            (Unit::Count, ""),
            (Unit::Seconds, "soon"),
            (Unit::Megabytes, "5kB"),
            (Unit::Count, "1.5"),
            (Unit::Hundredths, "4.5.6"),
        ] {
            assert!(unit.parse(text).is_err(), "{unit:?} {text}");
        }
    }
}
