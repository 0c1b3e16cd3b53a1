//! What the engine asks of the whitelist. The file and its form live in `slips-intel`.

use std::net::IpAddr;

use crate::evidence::ThreatLevel;
use crate::flow::MacAddr;
use crate::time::PacketTime;

/// What a rule leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Omits {
    /// Flows: detections see nothing of them.
    Flows,
    /// Evidence of this level.
    Evidence(ThreatLevel),
}

/// On which side of the traffic something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// It began.
    Src,
    /// It was called.
    Dst,
    /// Not known: only what is left alone on both sides is left alone.
    Unknown,
}

/// What is asked of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    /// What would be left out.
    pub omits: Omits,
    /// On which side that is, of which it is asked.
    pub side: Side,
    /// When: rules may end.
    pub now: PacketTime,
}

/// A rule, by its number in the snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleId(pub u32);

/// Of what kinds there are rules at all, so that nobody pays for what is not used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Uses {
    /// Rules that leave out flows.
    pub flows: bool,
    /// Rules that leave out evidence.
    pub evidence: bool,
    /// Rules about names: domains, organisations, lists of known sites.
    pub names: bool,
    /// Rules about hardware addresses.
    pub macs: bool,
}

/// A snapshot of the whitelist. Each method gives the first rule that holds.
///
/// What is asked with a name says nothing about who answered it: the engine asks for an address by name only where a resolver of
/// ours led there.
pub trait Whitelist: Send + Sync {
    /// What it holds.
    fn uses(&self) -> Uses;

    /// A rule for the address itself, or, where it began the traffic, for the organisation whose range it is in.
    fn address(&self, addr: IpAddr, case: Case) -> Option<RuleId>;

    /// A rule for a hardware address.
    fn mac(&self, mac: MacAddr, case: Case) -> Option<RuleId>;

    /// A rule for a name (in any letter case) that was only asked for, or for the server that it led to.
    fn name(&self, name: &str, server: Option<IpAddr>, case: Case) -> Option<RuleId>;

    /// Whether what this server answers counts; `local` says that it is in one of our own networks.
    fn is_resolver(&self, server: IpAddr, local: bool) -> bool;

    /// The rule in words, for the journal.
    fn describe(&self, rule: RuleId) -> String;
}

/// Nothing is left alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoWhitelist;

impl Whitelist for NoWhitelist {
    fn uses(&self) -> Uses {
        Uses::default()
    }
    fn address(&self, _addr: IpAddr, _case: Case) -> Option<RuleId> {
        None
    }
    fn mac(&self, _mac: MacAddr, _case: Case) -> Option<RuleId> {
        None
    }
    fn name(&self, _name: &str, _server: Option<IpAddr>, _case: Case) -> Option<RuleId> {
        None
    }
    fn is_resolver(&self, _server: IpAddr, _local: bool) -> bool {
        false
    }
    fn describe(&self, _rule: RuleId) -> String {
        String::new()
    }
}
