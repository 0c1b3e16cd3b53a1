//! What the rules say of something that a person asks about.

use std::fmt;
use std::net::IpAddr;

use slips_core::addr::Net;
use slips_core::evidence::ThreatLevel;
use slips_core::flow::MacAddr;
use slips_core::time::PacketTime;
use slips_core::whitelist::{Case, Omits, Side};

use super::{Rule, Rules, What, covers, is_over, parents};
use crate::snapshot::in_lower_case;

/// A rule about something, and what it still takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match<'a> {
    /// The rule; none for the list of known sites.
    pub rule: Option<&'a Rule>,
    /// What it takes.
    pub needs: Needs,
    /// Its last day has passed.
    pub over: bool,
}

/// What it takes for a rule to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Nothing.
    Nothing,
    /// The address is the one that this hardware address has proven to use.
    Owner,
    /// A resolver of ours led to the address by this name within a day, and no other name was seen there.
    Answer,
    /// As the source of traffic nothing; as a destination one of the organisation's names must have led there.
    Name,
    /// A destination of which only the autonomous system is known: one of the organisation's names must have led there.
    NameOnly,
    /// As for a domain, and the address is in the organisation's own networks.
    AnswerInside,
    /// As for a domain, the address is in no network where anybody rents a place, and the evidence is below high.
    AnswerUnshared,
    /// Nothing would: the address is in a network where anybody rents a place.
    Never,
}

impl fmt::Display for Needs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "counts as it is",
            Self::Owner => "counts for the address that this hardware address has proven to use",
            Self::Answer => {
                "counts for an address to which a resolver of ours led by this name within a day, while no other name was seen there"
            }
            Self::Name => {
                "counts as a source as it is, as a destination where a resolver of ours led there by one of its names, while no other name was seen there"
            }
            Self::NameOnly => {
                "does not count as a source, and as a destination where a resolver of ours led there by one of its names, while no other name was seen there"
            }
            Self::AnswerInside => {
                "counts for an address in its own networks to which a resolver of ours led by this name within a day, while no other name was seen there"
            }
            Self::AnswerUnshared => {
                "counts for evidence below high, for an address outside of shared networks to which a resolver of ours led by this name within a day, while no other name was seen there"
            }
            Self::Never => "does not count: anybody rents a place in that network",
        })
    }
}

impl Rules {
    /// What the rules say of an address, a network, a domain, a hardware address or an organisation, the most specific network first.
    pub fn find(&self, text: &str, now: PacketTime) -> Vec<Match<'_>> {
        let text = text.trim().trim_end_matches('.');
        let mut found = Vec::new();
        for (number, rule) in self.rules.iter().enumerate() {
            let needs = self.needs(number as u32, rule, text);
            found.extend(needs.map(|needs| Match { rule: Some(rule), needs, over: is_over(rule, now) }));
        }
        let case = Case { omits: Omits::Evidence(ThreatLevel::Info), side: Side::Dst, now };
        if in_lower_case(text, |name| self.site(name, None, case)).is_some() {
            found.push(Match { rule: None, needs: Needs::AnswerUnshared, over: false });
        }
        let width = |found: &Match<'_>| match found.rule.map(|rule| &rule.what) {
            Some(What::Net(net)) => u8::MAX - net.prefix(),
            _ => u8::MAX,
        };
        found.sort_by_key(width);
        found
    }

    fn needs(&self, number: u32, rule: &Rule, text: &str) -> Option<Needs> {
        match &rule.what {
            What::Net(net) => {
                let asked: Net = text.parse().ok()?;
                (net.contains(asked.addr()) && net.prefix() <= asked.prefix()).then_some(Needs::Nothing)
            }
            What::Mac(mac) => (MacAddr::parse(text)? == *mac).then_some(Needs::Owner),
            What::Domain(of) | What::Name(of) => in_lower_case(text, |name| {
                parents(name).any(|part| part == &**of && covers(rule, part, name)).then_some(Needs::Answer)
            }),
            What::Organisation(of) if of.eq_ignore_ascii_case(text) => Some(Needs::Nothing),
            What::Organisation(_) => {
                let (_, known) = self.organisations.iter().find(|(of, _)| *of == number)?;
                match text.parse::<IpAddr>() {
                    Ok(addr) if !known.has_addr(addr, &self.geo) => None,
                    Ok(addr) if self.is_shared(addr) => Some(Needs::Never),
                    Ok(addr) if known.has_net(addr) => Some(Needs::Name),
                    Ok(_) => Some(Needs::NameOnly),
                    Err(_) => known.has_name(text).then_some(Needs::AnswerInside),
                }
            }
        }
    }
}
