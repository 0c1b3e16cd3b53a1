//! `capture`: how packets come from interfaces.

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};
use slips_input::filter::PacketFilter;

use super::{Amount, Auto, wrong};

/// `capture`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Capture {
    pub threads: u16,
    pub filter: FilterText,
    pub promiscuous: bool,
    pub ring: Auto<Amount>,
    pub spare: Auto<Amount>,
}

impl Default for Capture {
    fn default() -> Self {
        let (ring, spare) = (Auto::Auto, Auto::Auto);
        Self { threads: 1, filter: FilterText(None), promiscuous: false, ring, spare }
    }
}

impl Capture {
    /// What is wrong with the values.
    pub(super) fn problems(&self) -> impl Iterator<Item = &'static str> {
        let is_ring = |bytes: Amount| (1 << 20..=1 << 30).contains(&bytes.0);
        wrong([
            (
                (1..=MAX_CAPTURE_THREADS).contains(&self.threads),
                "capture.threads must be 1 to 16; 1 is the default",
            ),
            (
                self.ring.set().is_none_or(is_ring),
                "capture.ring must be 1MiB to 1GiB, or auto: 8MiB, less where memory is short",
            ),
            (
                self.spare.set().is_none_or(|spare| spare.0 == 0 || is_ring(spare)),
                "capture.spare must be 0 (none), 1MiB to 1GiB, or auto: as much as the ring",
            ),
        ])
    }
}

/// A packet filter; an empty text is none.
#[derive(Clone, Debug)]
pub struct FilterText(pub Option<PacketFilter>);

impl<'de> Deserialize<'de> for FilterText {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        if text.trim().is_empty() {
            Ok(Self(None))
        } else {
            text.parse().map(Some).map(Self).map_err(D::Error::custom)
        }
    }
}

/// Capture threads beyond which a number is a typo.
const MAX_CAPTURE_THREADS: u16 = 16;
