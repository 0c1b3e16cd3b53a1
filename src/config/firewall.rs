//! `firewall`: what becomes of decisions.

use serde::Deserialize;

use super::{Length, NetText, wrong};

/// What the firewall does with decisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Block.
    Enforce,
    /// Decide and tell, block nothing.
    Monitor,
}

/// What is done with an attacker of a class of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// Its packets are dropped.
    Drop,
    /// For our own hosts: it reaches nobody, but still gets an address and a notice from this host.
    Isolate,
    /// It is told, nothing more.
    AlertOnly,
}

/// Whether what passes a bridge of this host is blocked too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bridge {
    /// When there is a bridge with two ports or more at the start.
    Auto,
    /// Also when one comes later.
    On,
    /// Never.
    Off,
}

/// What is done with packets that our own hosts send to what they must not call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Called {
    /// They are told at once.
    Reject,
    /// They wait for an answer that does not come.
    Drop,
}

impl Called {
    /// The same in the firewall's words.
    pub const fn manner(self) -> slips_firewall::Manner {
        match self {
            Self::Reject => slips_firewall::Manner::Reject,
            Self::Drop => slips_firewall::Manner::Drop,
        }
    }
}

/// `firewall`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Firewall {
    pub mode: Mode,
    pub external: Policy,
    pub internal: Policy,
    pub internal_share: u8,
    pub bridge: Bridge,
    pub bridge_machines: bool,
    pub notice_port: u16,
    pub called_by_us: Called,
    pub log_dropped: bool,
    pub never_block: Vec<NetText>,
    pub login_ports: Vec<u16>,
    pub widen_ipv6: bool,
    pub unproven_term: Length,
    pub unproven_cap: usize,
    pub peer_cap: usize,
    pub size: u32,
    pub shortest_term: Length,
    pub longest_term: Length,
    pub history: Length,
}

impl Firewall {
    /// How blocks grow with repeats.
    pub fn escalation(&self) -> slips_firewall::Escalation {
        slips_firewall::Escalation { longest: self.longest_term.0, forgotten: self.history.0 }
    }

    /// What is wrong with the values.
    pub(super) fn problems(&self) -> impl Iterator<Item = &'static str> {
        wrong([
            (self.internal_share <= 100, "firewall.internal_share is in percent, 100 at most"),
            (
                self.external != Policy::Isolate,
                "firewall.external must be drop or alert-only: only hosts of our own networks can be isolated",
            ),
        ])
    }
}

impl Default for Firewall {
    fn default() -> Self {
        Self {
            mode: Mode::Enforce,
            external: Policy::Drop,
            internal: Policy::Drop,
            internal_share: 25,
            bridge: Bridge::Auto,
            bridge_machines: false,
            notice_port: 0,
            called_by_us: Called::Reject,
            log_dropped: false,
            never_block: Vec::new(),
            login_ports: Vec::new(),
            widen_ipv6: false,
            unproven_term: Length::secs(300),
            unproven_cap: 1024,
            peer_cap: 16_384,
            size: 131_072,
            shortest_term: Length::secs(10),
            longest_term: Length::secs(7 * 86_400),
            history: Length::secs(30 * 86_400),
        }
    }
}
