//! An alert: an attacker whose evidence in one window is enough.

use std::fmt;
use std::net::IpAddr;

use crate::evidence::{Confidence, EvidenceId, Proof, SharedEvidence, StableHasher};
use crate::time::{PacketTime, WindowId};
use std::hash::Hasher;

/// The identity of an alert: attacker, window, and the moment it fired, so that a restart within a window gives no identity twice.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AlertId(pub u128);

impl AlertId {
    /// The alert of `attacker` in `window` with this `moment`: microseconds of packet time, mixed with which alert of the window it is.
    pub fn derive(attacker: IpAddr, window: WindowId, moment: u64) -> Self {
        let half = |seed: u64| {
            let mut hasher = StableHasher(seed);
            match attacker {
                IpAddr::V4(ip) => hasher.write(&ip.octets()),
                IpAddr::V6(ip) => hasher.write(&ip.octets()),
            }
            hasher.write_i64(window.0);
            hasher.write(&moment.to_le_bytes());
            hasher.finish()
        };
        Self((u128::from(half(0x736c_6970_7361_6c65)) << 64) | u128::from(half(0x7274_6964_656e_7469)))
    }
}

impl fmt::Display for AlertId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        EvidenceId(self.0).fmt(f)
    }
}

impl fmt::Debug for AlertId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why the alert fired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The accumulated weight reached the threshold.
    Accumulated,
    /// One critical evidence with confidence of at least 0.9.
    Critical,
    /// Own evidence was not enough, and peers who are believed said the rest.
    Assisted,
}

/// An attacker whose evidence in one window is enough. Its threat level is always critical.
#[derive(Clone, Debug)]
pub struct Alert {
    /// Identity.
    pub id: AlertId,
    /// Who is to be blocked.
    pub attacker: IpAddr,
    /// The window.
    pub window: WindowId,
    /// First moment of the window.
    pub window_start: PacketTime,
    /// First moment after the window.
    pub window_end: PacketTime,
    /// Packet time of the evidence that decided.
    pub at: PacketTime,
    /// Why it fired.
    pub cause: Cause,
    /// Accumulated weight when it fired.
    pub accumulated: f64,
    /// Accumulated weight normalised to 0..1 for any width, or the deciding critical evidence's confidence if that is larger.
    pub confidence: Confidence,
    /// Proven if any evidence in it is.
    pub proof: Proof,
    /// Whether a local host lately had a proven conversation with the attacker that the local host began.
    pub in_conversation: bool,
    /// Whether a local host lately had one with anybody in the attacker's /56 of IPv6, or that is not known: then a block must not hold
    /// the attacker's neighbours.
    pub near_conversation: bool,
    /// Whether the attacker is one of our own hosts.
    pub attacker_is_local: bool,
    /// All evidence of the attacker in this window that was in no earlier alert; the deciding one last.
    pub evidence: Vec<SharedEvidence>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_differ_by_attacker_window_and_moment() {
        let ip = IpAddr::from([192, 0, 2, 1]);
        let id = AlertId::derive(ip, WindowId(1), 0);
        assert_eq!(id, AlertId::derive(ip, WindowId(1), 0));
        assert_ne!(id, AlertId::derive(ip, WindowId(1), 1));
        assert_ne!(id, AlertId::derive(ip, WindowId(2), 0));
        assert_ne!(id, AlertId::derive(IpAddr::from([192, 0, 2, 2]), WindowId(1), 0));
    }
}
