//! What is left alone: the whitelist, with what traffic says about whose an address is.
//!
//! Whoever is watched chooses the names in his packets, and may ask a name server of his own. So a name stands for an address only
//! where a resolver of ours led there within a day, and only while no other name was seen for that address: many share a server.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use crate::addr::{LocalNets, is_interesting, is_private};
use crate::detector::Emitted;
use crate::event::{Dns, DnsData, Event};
use crate::evidence::{Entity, Finding, ThreatLevel};
use crate::flow::MacAddr;
use crate::hash::KeyedState;
use crate::intel::Reader;
use crate::settings::Settings;
use crate::time::{PacketTime, Span};
use crate::whitelist::{Case, Omits, RuleId, Side, Uses, Whitelist};

/// How long an answer says whose an address is.
const LED_FOR: Span = Span::from_secs(86_400);
/// Addresses whose names are known; beyond it those that no rule is about are not taken, and make room.
const MAX_ADDRESSES: usize = 65_536;
/// Names of one address.
const MAX_NAMES: usize = 8;
/// Addresses that are looked at to make room for one.
const LOOKED_AT: usize = 8;
/// Answers of one message that are looked at, as in the detections.
const MAX_ANSWERS: usize = 32;

/// What the router tells the judge to learn, in the order of the input.
#[derive(Clone, Copy, Debug)]
pub(super) enum Learnt {
    /// The event at this place of the batch names addresses.
    Names(usize),
    /// A hardware address has proven that it uses an address.
    Owner(IpAddr, MacAddr),
}

/// A name that was seen for an address.
#[derive(Debug)]
struct Name {
    text: Box<str>,
    at: PacketTime,
    /// A resolver of ours led there; else a client claimed it.
    answered: bool,
}

/// The names of one address.
#[derive(Debug, Default)]
struct Led {
    names: Vec<Name>,
    /// It was told that it is left alone.
    told: bool,
}

impl Led {
    fn fresh(&self, now: PacketTime) -> impl Iterator<Item = &Name> {
        self.names.iter().filter(move |name| now.since(name.at) <= LED_FOR)
    }
}

/// See the module.
pub(super) struct Gate {
    rules: Reader<dyn Whitelist>,
    uses: Uses,
    settings: Arc<Settings>,
    led: HashMap<IpAddr, Led, KeyedState>,
    /// Addresses in the order in which they were taken.
    taken: VecDeque<IpAddr>,
    owners: HashMap<IpAddr, MacAddr, KeyedState>,
}

impl Gate {
    pub(super) fn new(settings: &Arc<Settings>) -> Self {
        let rules = settings.whitelist.reader();
        Self {
            uses: rules.held().uses(),
            rules,
            settings: Arc::clone(settings),
            led: HashMap::default(),
            taken: VecDeque::new(),
            owners: HashMap::default(),
        }
    }

    /// Takes another whitelist, if there is one; whether there was.
    pub(super) fn renew(&mut self) -> bool {
        let is_new = self.rules.refresh();
        if is_new {
            self.uses = self.rules.held().uses();
            if self.uses.names {
                self.led.values_mut().for_each(|led| led.told = false);
            } else {
                (self.led, self.taken) = (HashMap::default(), VecDeque::new());
            }
        }
        is_new
    }

    pub(super) const fn uses(&self) -> Uses {
        self.uses
    }

    /// Whether an event names addresses, as far as anybody wants to know.
    pub(super) fn is_telling(&self, event: &Event) -> bool {
        self.uses.names && matches!(event, Event::Dns(_) | Event::Tls(_) | Event::Http(_))
    }

    /// Whether it is a DNS exchange of one of our hosts with a resolver of ours.
    pub(super) fn is_resolved(&self, event: &Event) -> bool {
        let Event::Dns(dns) = event else { return false };
        self.uses.names && self.asked_ours(dns)
    }

    fn asked_ours(&self, dns: &Dns) -> bool {
        let nets: &LocalNets = &self.settings.local_nets;
        let (client, server) = (dns.about.src.addr, dns.about.dst.addr);
        !dns.about.tunnelled
            && !matches!(dns.about.dst.port, 5353 | 5355)
            && nets.contains(client)
            && self.rules.held().is_resolver(server, nets.contains(server))
    }

    pub(super) fn learn_owner(&mut self, addr: IpAddr, mac: MacAddr) {
        if self.owners.len() < self.settings.limits.local_profiles || self.owners.contains_key(&addr) {
            self.owners.insert(addr, mac);
        }
    }

    /// Learns whose addresses are; gives those that are left alone from now on.
    pub(super) fn learn_names(&mut self, event: &Event, now: PacketTime) -> Vec<(IpAddr, RuleId)> {
        match event {
            Event::Dns(dns)
                if self.asked_ours(dns) && dns.rcode == Some(0) && matches!(dns.qtype, 1 | 28) =>
            {
                let addrs = dns.answers.iter().take(MAX_ANSWERS).filter_map(|answer| match answer.data {
                    DnsData::Addr(addr) => Some(addr),
                    _ => None,
                });
                // Aliases do not count: whoever owns the name that was asked for chose them.
                addrs.filter_map(|addr| self.answered(addr, &dns.query, now)).collect()
            }
            Event::Tls(tls) if !event.is_unheard() => {
                self.claimed(tls.about.dst.addr, &tls.fields.server_name, now);
                Vec::new()
            }
            Event::Http(http) if !event.is_unheard() => {
                self.claimed(http.about.dst.addr, http.host.split(':').next().unwrap_or_default(), now);
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    fn is_ours(&self, addr: IpAddr) -> bool {
        is_private(addr) || self.settings.local_nets.contains(addr)
    }

    fn answered(&mut self, addr: IpAddr, name: &str, now: PacketTime) -> Option<(IpAddr, RuleId)> {
        // No name makes one of our own hosts innocent.
        if !is_interesting(addr) || self.is_ours(addr) {
            return None;
        }
        if self.has_place(addr, name, now) {
            self.note(addr, name, now, true);
        }
        if self.led.get(&addr).is_none_or(|led| led.told) {
            return None;
        }
        let rule = self.led_to(addr, &spared(now))?;
        if let Some(led) = self.led.get_mut(&addr) {
            led.told = true;
        }
        Some((addr, rule))
    }

    /// What a client calls a server makes no server innocent; it shows that it has other names.
    fn claimed(&mut self, addr: IpAddr, name: &str, now: PacketTime) {
        let is_name = name.contains('.') && name.parse::<IpAddr>().is_err();
        if is_name && self.led.contains_key(&addr) {
            self.note(addr, name, now, false);
        }
    }

    /// Whether the names of this address can be kept. Where there is no room, those that no rule is about go.
    fn has_place(&mut self, addr: IpAddr, name: &str, now: PacketTime) -> bool {
        if self.led.contains_key(&addr) {
            return true;
        }
        if self.led.len() >= MAX_ADDRESSES {
            let wanted = self.is_about(name, addr, now);
            for _ in 0..LOOKED_AT {
                let Some(oldest) = self.taken.pop_front() else { break };
                let stays = self.led.get(&oldest).is_some_and(|led| {
                    led.fresh(now).next().is_some()
                        && (!wanted || led.fresh(now).any(|known| self.is_about(&known.text, oldest, now)))
                });
                if stays {
                    self.taken.push_back(oldest);
                } else {
                    self.led.remove(&oldest);
                    break;
                }
            }
            if self.led.len() >= MAX_ADDRESSES {
                return false;
            }
        }
        self.led.insert(addr, Led::default());
        self.taken.push_back(addr);
        true
    }

    /// Any rule for evidence or flows is about this name there.
    fn is_about(&self, name: &str, addr: IpAddr, now: PacketTime) -> bool {
        let rules = self.rules.held();
        [Side::Src, Side::Dst].into_iter().any(|side| {
            [Omits::Flows, Omits::Evidence(ThreatLevel::Info)]
                .into_iter()
                .any(|omits| rules.name(name, Some(addr), Case { omits, side, now }).is_some())
        })
    }

    fn note(&mut self, addr: IpAddr, text: &str, now: PacketTime, answered: bool) {
        let is_about = self.is_about(text, addr, now);
        let rules = self.rules.held();
        let Some(led) = self.led.get_mut(&addr) else { return };
        if let Some(known) = led.names.iter_mut().find(|known| known.text.eq_ignore_ascii_case(text)) {
            known.at = known.at.max(now);
            known.answered |= answered;
            return;
        }
        let name = Name { text: text.into(), at: now, answered };
        if led.names.len() < MAX_NAMES {
            led.names.push(name);
            return;
        }
        // One that speaks for the address says no more than the next; one that speaks against it says all. So the oldest of the same
        // kind goes, or, the first time that somebody speaks against it, one that speaks for it.
        let speaks = |known: &Name| {
            let case = Case { omits: Omits::Evidence(ThreatLevel::Info), side: Side::Dst, now };
            rules.name(&known.text, Some(addr), case).is_some()
        };
        let oldest =
            led.names.iter_mut().filter(|known| speaks(known) == is_about).min_by_key(|known| known.at);
        match oldest {
            Some(oldest) => *oldest = name,
            None if !is_about => {
                led.names.iter_mut().min_by_key(|known| known.at).map_or((), |oldest| *oldest = name)
            }
            None => {}
        }
    }

    /// The rule by whose names an address is left alone.
    fn led_to(&self, addr: IpAddr, case: &Case) -> Option<RuleId> {
        let mut rule = None;
        for name in self.led.get(&addr)?.fresh(case.now) {
            let found = self.rules.held().name(&name.text, Some(addr), *case)?;
            if name.answered {
                rule = Some(found);
            }
        }
        rule
    }

    /// The rule by which an address is left alone.
    fn of_address(&self, addr: IpAddr, case: &Case) -> Option<RuleId> {
        let rules = self.rules.held();
        rules
            .address(addr, *case)
            .or_else(|| {
                self.owners.get(&addr).filter(|_| self.uses.macs).and_then(|mac| rules.mac(*mac, *case))
            })
            .or_else(|| if self.uses.names { self.led_to(addr, case) } else { None })
    }

    /// Whether detections are to see nothing of an event. `resolved`: see [`Gate::is_resolved`].
    pub(super) fn omits_event(&self, event: &Event, resolved: bool, on_link: bool, now: PacketTime) -> bool {
        if !self.uses.flows {
            return false;
        }
        let (src, dst) = event.parties();
        let case = |side| Case { omits: Omits::Flows, side, now };
        let by_src = |addr: IpAddr| {
            let rules = self.rules.held();
            let of_mac = || self.owners.get(&addr).and_then(|mac| rules.mac(*mac, case(Side::Src)));
            let of_name = || self.led_to(addr, &case(Side::Src));
            rules
                .address(addr, case(Side::Src))
                // Whoever else uses the address does not use its owner's hardware.
                .or_else(|| if self.uses.macs && on_link { of_mac() } else { None })
                .or_else(|| if self.uses.names { of_name() } else { None })
                .is_some()
        };
        if src.is_some_and(by_src)
            || dst.is_some_and(|addr| self.of_address(addr, &case(Side::Dst)).is_some())
        {
            return true;
        }
        match event {
            Event::Dns(dns) if resolved => {
                self.rules.held().name(&dns.query, None, case(Side::Dst)).is_some()
            }
            _ => false,
        }
    }

    /// The rule by which evidence is left out.
    pub(super) fn omits(&self, found: &Emitted) -> Option<RuleId> {
        if !self.uses.evidence {
            return None;
        }
        let finding = &found.finding;
        let sides = sides(found);
        let victim = finding.victim.as_ref().map(|victim| (victim, sides.1));
        std::iter::once((&finding.attacker, sides.0)).chain(victim).find_map(|(entity, side)| {
            let case = Case { omits: Omits::Evidence(finding.level), side, now: finding.at };
            match entity {
                Entity::Ip(addr) => self.of_address(*addr, &case),
                Entity::Mac(mac) => self.rules.held().mac(*mac, case),
                Entity::Domain(name) => self.of_name(name, found, finding),
                Entity::Url(url) => self.of_name(host_of(url), found, finding),
                Entity::Many => None,
            }
        })
    }

    /// A name was asked of a resolver of ours, or was said to a server to which one led.
    fn of_name(&self, name: &str, found: &Emitted, finding: &Finding) -> Option<RuleId> {
        let case = Case { omits: Omits::Evidence(finding.level), side: Side::Dst, now: finding.at };
        if found.resolved {
            return self.rules.held().name(name, None, case);
        }
        let server = found.dst?;
        self.led_to(server, &case)?;
        self.rules.held().name(name, Some(server), case)
    }

    /// The rule by which an address is left alone on both sides, whatever it does: it is not blocked.
    pub(super) fn spares(&self, addr: IpAddr, now: PacketTime) -> Option<RuleId> {
        if self.uses.evidence { self.of_address(addr, &spared(now)) } else { None }
    }

    /// All addresses that are left alone by their names or by hardware addresses, which are told from now on.
    pub(super) fn tell_spared(&mut self, now: PacketTime) -> Vec<(IpAddr, RuleId)> {
        let mut addrs: Vec<IpAddr> = self.led.keys().chain(self.owners.keys()).copied().collect();
        addrs.sort_unstable();
        addrs.dedup();
        let spared: Vec<_> =
            addrs.into_iter().filter_map(|addr| Some((addr, self.spares(addr, now)?))).collect();
        for (addr, _) in &spared {
            if let Some(led) = self.led.get_mut(addr) {
                led.told = true;
            }
        }
        spared
    }

    /// Addresses whose names are known.
    #[cfg(test)]
    pub(super) fn known(&self) -> usize {
        self.led.len()
    }

    pub(super) fn describe(&self, rule: RuleId) -> String {
        self.rules.held().describe(rule)
    }
}

const fn spared(now: PacketTime) -> Case {
    Case { omits: Omits::Evidence(ThreatLevel::Critical), side: Side::Unknown, now }
}

/// On which sides attacker and victim were.
fn sides(found: &Emitted) -> (Side, Side) {
    let finding = &found.finding;
    let attacker = finding.attacker.ip();
    let victim = finding.victim.as_ref().and_then(Entity::ip);
    let is = |one: Option<IpAddr>, other: Option<IpAddr>| one.is_some() && one == other;
    if is(attacker, found.src) || is(victim, found.dst) {
        (Side::Src, Side::Dst)
    } else if is(attacker, found.dst) || (is(victim, found.src) && found.dst.is_some()) {
        (Side::Dst, Side::Src)
    } else {
        (Side::Unknown, Side::Unknown)
    }
}

/// The host of a URL, with or without scheme.
fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = host.rsplit('@').next().unwrap_or_default();
    host.split(':').next().unwrap_or_default()
}
