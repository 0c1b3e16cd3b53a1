//! What the engine asks of threat intelligence. The data and its formats live in `slips-intel`.

use std::net::IpAddr;

use crate::evidence::ThreatLevel;

/// What is known about an indicator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Indicator {
    /// How bad.
    pub level: ThreatLevel,
    /// For a person.
    pub description: Box<str>,
    /// The file or feed it came from.
    pub source: Box<str>,
}

/// A snapshot of indicators that detections look things up in. Lookups allocate nothing.
pub trait Intelligence: Send + Sync {
    /// The most specific indicator for an address.
    fn address(&self, addr: IpAddr) -> Option<&Indicator>;

    /// How many days ago a registered domain (lower case) was registered, where that is known.
    fn domain_age_days(&self, _domain: &str) -> Option<u32> {
        None
    }

    /// The indicator for a JA3 or JA3S fingerprint (MD5 in lower-case hexadecimal digits).
    fn ja3(&self, _md5: &str) -> Option<&Indicator> {
        None
    }
}

/// No indicators at all.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoIntelligence;

impl Intelligence for NoIntelligence {
    fn address(&self, _addr: IpAddr) -> Option<&Indicator> {
        None
    }
}
