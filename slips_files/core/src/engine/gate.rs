//! What is left alone: the whitelist, with what traffic says about whose an address is.
//!
//! Whoever is watched chooses the names in his packets, and may ask a name server of his own. So a name stands for an address only
//! where a resolver of ours led there within a day, and only while no other name was seen for that address: many share a server.

use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::Arc;

use crate::addr::{LocalNets, is_interesting, is_private};
use crate::detector::Emitted;
use crate::event::{Dns, DnsData, Event};
use crate::evidence::{Entity, EvidenceKind, Finding, Proof, ThreatLevel};
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
/// Names of one address whose text is kept, and others that are known to be there.
const MAX_NAMES: usize = 8;
const MAX_OTHERS: usize = 4;
/// Text of the names of one address, in bytes: with it all that is kept is bounded, whatever clients claim.
const MAX_TEXT: usize = 512;
/// Longest name (RFC 1035, 2.3.4). A longer one is nobody's.
const LONGEST_NAME: usize = 253;
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

/// A name that was seen for an address, and that a rule is about.
#[derive(Debug)]
struct Name {
    text: Box<str>,
    seen_at: PacketTime,
    /// When a resolver of ours led there; else only clients claimed it.
    answered_at: Option<PacketTime>,
}

impl Name {
    fn is_answered(&self, now: PacketTime) -> bool {
        self.answered_at.is_some_and(|at| now.since(at) <= LED_FOR)
    }
}

/// A name that no rule is about: it speaks against its address whatever its text. The digest tells it again, when a later rule is
/// about it.
#[derive(Debug)]
struct Other {
    digest: u64,
    seen_at: PacketTime,
}

/// The names of one address.
#[derive(Debug, Default)]
struct Led {
    names: Vec<Name>,
    others: Vec<Other>,
    /// It was told that it is left alone.
    told: bool,
}

impl Led {
    fn fresh(&self, now: PacketTime) -> impl Iterator<Item = &Name> {
        self.names.iter().filter(move |name| now.since(name.seen_at) <= LED_FOR)
    }

    fn has_others(&self, now: PacketTime) -> bool {
        self.others.iter().any(|other| now.since(other.seen_at) <= LED_FOR)
    }

    fn note_other(&mut self, digest: u64, now: PacketTime) {
        if let Some(known) = self.others.iter_mut().find(|known| known.digest == digest) {
            known.seen_at = known.seen_at.max(now);
        } else if self.others.len() < MAX_OTHERS {
            self.others.push(Other { digest, seen_at: now });
        } else if let Some(oldest) = self.others.iter_mut().min_by_key(|known| known.seen_at) {
            *oldest = Other { digest, seen_at: now };
        }
    }

    /// Takes a name that a rule is about. `speaks`: whether rules leave evidence alone for a name.
    fn note(&mut self, name: Name, now: PacketTime, speaks: impl Fn(&str) -> bool) {
        if let Some(known) = self.names.iter_mut().find(|known| known.text.eq_ignore_ascii_case(&name.text)) {
            known.seen_at = known.seen_at.max(name.seen_at);
            known.answered_at = known.answered_at.max(name.answered_at);
            return;
        }
        let text = |names: &[Name]| names.iter().map(|name| name.text.len()).sum::<usize>();
        let is_for = speaks(&name.text);
        while self.names.len() >= MAX_NAMES || text(&self.names) + name.text.len() > MAX_TEXT {
            // One that speaks for the address says no more than the next; one that speaks against it says all. So of the same kind
            // goes what only clients claim, then the oldest; or, for one that speaks against it, one that speaks for it.
            let age = |known: &Name| (known.answered_at.filter(|_| known.is_answered(now)), known.seen_at);
            let places = || self.names.iter().enumerate();
            let same = places().filter(|(_, known)| speaks(&known.text) == is_for);
            let oldest = same.min_by_key(|(_, known)| age(known));
            let oldest =
                if is_for { oldest } else { oldest.or(places().min_by_key(|(_, known)| age(known))) };
            match oldest {
                // No claim takes the place of an answer.
                Some((_, known)) if is_for && name.answered_at.is_none() && known.is_answered(now) => return,
                Some((place, _)) => _ = self.names.swap_remove(place),
                None => return,
            }
        }
        self.names.push(name);
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
                let stays = self.led.get(&oldest).is_some_and(|led| match wanted {
                    true => led.fresh(now).any(|known| self.is_about(&known.text, oldest, now)),
                    false => led.fresh(now).next().is_some() || led.has_others(now),
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
        let text = text.strip_suffix('.').unwrap_or(text);
        let text = if text.len() > LONGEST_NAME { "" } else { text };
        let is_about = self.is_about(text, addr, now);
        let digest = self.digest(text);
        let rules = self.rules.held();
        let Some(led) = self.led.get_mut(&addr) else { return };
        if !is_about {
            led.note_other(digest, now);
            return;
        }
        led.others.retain(|known| known.digest != digest);
        let name = Name { text: text.into(), seen_at: now, answered_at: answered.then_some(now) };
        let case = Case { omits: Omits::Evidence(ThreatLevel::Info), side: Side::Dst, now };
        led.note(name, now, |text| rules.name(text, Some(addr), case).is_some());
    }

    /// Of a name in any letter case.
    fn digest(&self, text: &str) -> u64 {
        let mut lower = [0; LONGEST_NAME];
        let Some(lower) = lower.get_mut(..text.len()) else { return 0 };
        lower.copy_from_slice(text.as_bytes());
        lower.make_ascii_lowercase();
        self.led.hasher().hash_one(&*lower)
    }

    /// The rule by whose names an address is left alone.
    fn led_to(&self, addr: IpAddr, case: &Case) -> Option<RuleId> {
        let led = self.led.get(&addr).filter(|led| !led.has_others(case.now))?;
        let mut rule = None;
        for name in led.fresh(case.now) {
            let found = self.rules.held().name(&name.text, Some(addr), *case)?;
            if name.is_answered(case.now) {
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
        // Whoever claims an address that is not his would be hidden by the rule for it.
        let is_claim = match event {
            Event::Arp(_) => !on_link,
            Event::Neighbour(said) => {
                !on_link || said.message.link().is_some_and(|link| Some(link) != said.frame_src)
            }
            _ => false,
        };
        if !self.uses.flows || is_claim {
            return false;
        }
        let (src, dst) = event.parties();
        // What an advertisement claims is its destination.
        let dst = dst.filter(|_| !matches!(event, Event::Neighbour(_)));
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
        // Whose address is claimed is the victim: his rule must not hide who claims it.
        let is_claim = matches!(finding.kind, EvidenceKind::MitmArpAttack | EvidenceKind::MitmNdpAttack);
        if is_claim && finding.proof == Proof::Unproven {
            return None;
        }
        let sides = if is_claim { (Side::Src, Side::Unknown) } else { sides(found) };
        let victim = finding.victim.as_ref().filter(|_| !is_claim).map(|victim| (victim, sides.1));
        std::iter::once((&finding.attacker, sides.0)).chain(victim).find_map(|(entity, side)| {
            let case = Case { omits: Omits::Evidence(finding.level), side, now: finding.at };
            match entity {
                Entity::Ip(addr) => self.of_address(*addr, &case),
                // Anybody may write any into a frame.
                Entity::Mac(mac) if finding.proof == Proof::Proven => self.rules.held().mac(*mac, case),
                Entity::Domain(name) => self.of_name(name, found, finding),
                Entity::Url(url) => self.of_name(host_of(url), found, finding),
                Entity::Mac(_) | Entity::Many => None,
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

    /// Bytes of the names that are kept.
    #[cfg(test)]
    pub(super) fn text(&self) -> usize {
        self.led.values().flat_map(|led| &led.names).map(|name| name.text.len()).sum()
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
