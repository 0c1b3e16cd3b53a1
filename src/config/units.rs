//! Values with their unit in the text: `90s`, `5m`, `1h`, `7d`; `64MiB`, `500MB`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error};
use slips_core::addr::Net;

/// A length of time. A plain number means seconds, as in the original's slips.yaml.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Length(pub Duration);

impl Length {
    /// Whole seconds.
    pub const fn secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }

    /// Parses `90`, `90s`, `250ms`, `5m`, `1h`, `7d`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (number, unit) = split(text);
        let number: u64 =
            number.parse().map_err(|_| format!("`{text}` is no length of time; write 90s, 5m, 1h or 7d"))?;
        let millis: u64 = match unit {
            "ms" => 1,
            "" | "s" | "sec" => 1_000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" | "day" | "days" => 86_400_000,
            _ => return Err(format!("`{unit}` is no unit of time; write 90s, 5m, 1h or 7d")),
        };
        number
            .checked_mul(millis)
            .filter(|millis| *millis <= 315_360_000_000)
            .map(|millis| Self(Duration::from_millis(millis)))
            .ok_or_else(|| format!("`{text}` is longer than ten years"))
    }
}

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secs = self.0.as_secs();
        for (width, unit) in [(86_400, "d"), (3_600, "h"), (60, "m")] {
            if secs >= width && secs.is_multiple_of(width) {
                return write!(f, "{}{unit}", secs / width);
            }
        }
        if self.0.subsec_millis() > 0 { write!(f, "{}ms", self.0.as_millis()) } else { write!(f, "{secs}s") }
    }
}

impl<'de> Deserialize<'de> for Length {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(from)?).map_err(Error::custom)
    }
}

/// An amount of data. A plain number means megabytes (10^6), as in the original's `data_exfiltration_threshold`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Amount(pub u64);

impl Amount {
    /// Parses `500`, `500MB`, `64MiB`, `2GB`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (number, unit) = split(text);
        let number: u64 = number
            .parse()
            .map_err(|_| format!("`{text}` is no amount of data; write 500MB, 64MiB or 2GB"))?;
        let bytes: u64 = match unit {
            "B" => 1,
            "kB" | "KB" => 1_000,
            "" | "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return Err(format!("`{unit}` is no unit of data; write 500MB, 64MiB or 2GB")),
        };
        number.checked_mul(bytes).map(Self).ok_or_else(|| format!("`{text}` is too large"))
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(from)?).map_err(Error::custom)
    }
}

impl FromStr for Amount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::parse(text)
    }
}

/// A value that is `auto`, or set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Auto<T> {
    /// Slips finds one that fits.
    #[default]
    Auto,
    /// This one.
    Set(T),
}

impl<T: Copy> Auto<T> {
    /// The value that was set.
    pub const fn set(&self) -> Option<T> {
        match self {
            Self::Auto => None,
            Self::Set(value) => Some(*value),
        }
    }

    /// The value that was set, or else `usual`.
    pub fn or(&self, usual: T) -> T {
        self.set().unwrap_or(usual)
    }
}

impl<'de, T: FromStr<Err: fmt::Display>> Deserialize<'de> for Auto<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        if text == "auto" {
            return Ok(Self::Auto);
        }
        let said = |error| D::Error::custom(format!("`{text}` is neither auto nor a value: {error}"));
        text.parse().map(Self::Set).map_err(said)
    }
}

/// An address or network in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetText(pub Net);

impl<'de> Deserialize<'de> for NetText {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map(Self).map_err(Error::custom)
    }
}

fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    (number, unit.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_carry_their_unit() {
        for (text, millis) in [
            ("90", 90_000),
            ("90s", 90_000),
            ("5m", 300_000),
            ("1h", 3_600_000),
            ("7 d", 604_800_000),
            ("250ms", 250),
        ] {
            assert_eq!(Length::parse(text).map(|l| l.0.as_millis()), Ok(millis), "{text}");
        }
        for text in ["", "x", "5 weeks", "-3s", "99999999999d"] {
            assert!(Length::parse(text).is_err(), "{text}");
        }
        for text in ["90s", "5m", "1h", "7d", "250ms"] {
            assert_eq!(Length::parse(text).map(|l| l.to_string()).as_deref(), Ok(text));
        }
    }

    #[test]
    fn amounts_carry_their_unit() {
        for (text, bytes) in [("500", 500_000_000), ("64MiB", 67_108_864), ("2GB", 2_000_000_000), ("7B", 7)]
        {
            assert_eq!(Amount::parse(text), Ok(Amount(bytes)), "{text}");
        }
        assert!(Amount::parse("12 XB").is_err());
        assert!(Amount::parse("99999999999GB").is_err());
    }
}
