//! The whitelist: what its owner wants left alone, as an immutable snapshot.
//!
//! It only says what a rule says of a name, an address or both together. Who answered a name is the engine's business
//! (`slips_core::engine`), which asks for a name at an address only where a resolver of ours led there.

mod check;
mod file;
mod organisations;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;

use slips_core::addr::{Net, canonical};
use slips_core::evidence::ThreatLevel;
use slips_core::flow::MacAddr;
use slips_core::hash::KeyedState;
use slips_core::time::PacketTime;
use slips_core::whitelist::{Case, Omits, RuleId, Side, Uses, Whitelist};

pub use check::{Match, Needs};
pub use file::{Direction, Ignored, LineProblem, Rule, What, Wrong, lines_of};
use file::{KEYS, MAX_RULES, parse_line};
use organisations::{Organisation, Organisations, SHARED, parents, site_of};

use crate::geo::Geo;
use crate::ioc::is_public_suffix;
use crate::snapshot::{Form, Names, Texts, in_lower_case};

/// Most names of a list of known sites.
const MAX_SITES: usize = 1_000_000;
/// Most rules that commands made, for which there is room beside those of people.
const MAX_MADE: usize = 10_000;
/// Problems of a file that are told one by one.
const MAX_PROBLEMS: usize = 100;
/// The list of known sites, which is no line of the file.
const SITES: RuleId = RuleId(u32::MAX);

/// See the module.
pub struct Rules {
    rules: Vec<Rule>,
    nets: HashMap<Net, Vec<u32>, KeyedState>,
    /// Lengths of the prefixes that there are, of IPv4 and of IPv6.
    lengths: [Vec<u8>; 2],
    domains: HashMap<Box<str>, Vec<u32>, KeyedState>,
    macs: HashMap<MacAddr, Vec<u32>, KeyedState>,
    organisations: Vec<(u32, Organisation)>,
    shared: Organisation,
    sites: Names,
    resolvers: Vec<IpAddr>,
    geo: Geo,
    uses: Uses,
}

/// Reads what a whitelist is made of.
#[derive(Default)]
pub struct RulesBuilder {
    rules: Vec<Rule>,
    organisations: Organisations,
    sites: Vec<Box<str>>,
    resolvers: Vec<IpAddr>,
    geo: Geo,
}

impl RulesBuilder {
    /// A builder that knows the organisations that come with Slips.
    pub fn new() -> Self {
        Self { organisations: Organisations::ours(), ..Self::default() }
    }

    /// Adds what belongs to an organisation: one network, domain or AS number a line. The name of the file is the organisation's, with
    /// or without the original's endings. Read them before the rules. How many lines were nothing.
    pub fn read_organisation(&mut self, file: &str, bytes: &[u8]) -> usize {
        self.organisations.read(file, bytes)
    }

    /// Reads the rules. Of two for the same the last counts, as in the original. Lines that cannot be used are told, and left out.
    pub fn read(&mut self, file: &str, bytes: &[u8]) -> Vec<LineProblem> {
        self.read_up_to(MAX_RULES, file, bytes)
    }

    fn read_up_to(&mut self, most: usize, file: &str, bytes: &[u8]) -> Vec<LineProblem> {
        let mut problems = Vec::new();
        let mut at: HashMap<What, usize, KeyedState> = HashMap::default();
        for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            let number = u32::try_from(index + 1).unwrap_or(u32::MAX);
            let Some(parsed) = parse_line(line, number) else { continue };
            let taken = parsed.and_then(|rule| self.known(rule, most));
            match taken {
                Ok(rule) => match at.get(&rule.what).and_then(|at| self.rules.get_mut(*at)) {
                    Some(former) => *former = rule,
                    None => {
                        at.insert(rule.what.clone(), self.rules.len());
                        self.rules.push(rule);
                    }
                },
                Err((key, reason)) if problems.len() < MAX_PROBLEMS => {
                    problems.push(LineProblem { file: file.into(), line: number, key, reason });
                }
                Err(_) => {}
            }
        }
        problems
    }

    /// Reads the rules that a command made, besides the others: they add to what is left alone and take nothing away. They have no line.
    pub fn read_made(&mut self, file: &str, bytes: &[u8]) -> Vec<LineProblem> {
        let before = self.rules.len();
        let problems = self.read_up_to(before.saturating_add(MAX_MADE), file, bytes);
        self.rules.iter_mut().skip(before).for_each(|rule| rule.line = 0);
        problems
    }

    /// Of an organisation something must be known, and there must be room.
    fn known(&self, rule: Rule, most: usize) -> Result<Rule, (&'static str, Wrong)> {
        match &rule.what {
            What::Organisation(name) if !self.organisations.knows(name) => {
                Err((KEYS[1], Wrong::Organisation(name.clone())))
            }
            _ if self.rules.len() >= most => Err((KEYS[0], Wrong::NoRoom)),
            _ => Ok(rule),
        }
    }

    /// Reads a list of known sites, the best known first: a name or `rank,name` a line. How many were taken.
    pub fn read_sites(&mut self, bytes: &[u8], most: usize) -> usize {
        let lines = bytes.split(|byte| *byte == b'\n');
        self.sites.extend(lines.filter_map(site_of).take(most.min(MAX_SITES)));
        self.sites.sort_unstable();
        self.sites.dedup();
        self.sites.len()
    }

    /// Whose answers count. None: those of servers in our own networks.
    pub fn resolvers(&mut self, resolvers: Vec<IpAddr>) {
        self.resolvers = resolvers;
    }

    /// Databases by which autonomous systems are known.
    pub fn systems(&mut self, geo: Geo) {
        self.geo = geo;
    }

    /// Whether a rule needs to know autonomous systems.
    pub fn wants_systems(&self) -> bool {
        !self.sites.is_empty() || self.rules.iter().any(|rule| matches!(rule.what, What::Organisation(_)))
    }

    /// The snapshot.
    pub fn finish(self) -> Rules {
        let mut texts = Texts::default();
        self.sites.iter().for_each(|site| _ = texts.push(site));
        let marks = vec![0; self.sites.len()];
        let mut rules = Rules {
            uses: uses_of(&self.rules, !self.sites.is_empty()),
            nets: HashMap::default(),
            lengths: Default::default(),
            domains: HashMap::default(),
            macs: HashMap::default(),
            organisations: Vec::new(),
            shared: self.organisations.get(SHARED),
            sites: Names::new(Form::Whole, &texts, &marks),
            resolvers: self.resolvers.into_iter().map(canonical).collect(),
            geo: self.geo,
            rules: self.rules,
        };
        for (number, rule) in rules.rules.iter().enumerate() {
            let number = number as u32;
            match &rule.what {
                What::Net(net) => {
                    push(&mut rules.nets, *net, number);
                    let [v4, v6] = &mut rules.lengths;
                    if net.addr().is_ipv4() { v4 } else { v6 }.push(net.prefix());
                }
                What::Domain(name) | What::Name(name) => push(&mut rules.domains, name.clone(), number),
                What::Mac(mac) => push(&mut rules.macs, *mac, number),
                What::Organisation(name) => rules.organisations.push((number, self.organisations.get(name))),
            }
        }
        for lengths in &mut rules.lengths {
            // The most specific first: it is the one that is told.
            lengths.sort_unstable_by(|a, b| b.cmp(a));
            lengths.dedup();
        }
        rules
    }
}

fn push<K: Eq + Hash>(table: &mut HashMap<K, Vec<u32>, KeyedState>, key: K, number: u32) {
    table.entry(key).or_default().push(number);
}

fn uses_of(rules: &[Rule], sites: bool) -> Uses {
    let is_name = |rule: &Rule| matches!(rule.what, What::Domain(_) | What::Name(_) | What::Organisation(_));
    Uses {
        flows: rules.iter().any(|rule| rule.ignored != Ignored::Alerts),
        evidence: sites || rules.iter().any(|rule| rule.ignored != Ignored::Flows),
        names: sites || rules.iter().any(is_name),
        macs: rules.iter().any(|rule| matches!(rule.what, What::Mac(_))),
    }
}

/// How many bytes of a list of known sites it takes to read as many as count.
pub fn end_of_sites(bytes: &[u8], most: usize) -> usize {
    let (mut end, mut left) = (0, most.min(MAX_SITES));
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        if left == 0 {
            break;
        }
        left -= usize::from(site_of(line).is_some());
        end += line.len();
    }
    end
}

/// Whether a rule about `part` is about `name`, which ends in it: whoever may register below it is not meant.
fn covers(rule: &Rule, part: &str, name: &str) -> bool {
    part.len() == name.len() || (matches!(rule.what, What::Domain(_)) && !is_public_suffix(part))
}

/// Whether a rule holds in this case.
fn holds(rule: &Rule, case: Case) -> bool {
    let side = match case.side {
        Side::Src => rule.direction != Direction::Dst,
        Side::Dst => rule.direction != Direction::Src,
        Side::Unknown => rule.direction == Direction::Both,
    };
    let omits = match case.omits {
        Omits::Flows => rule.ignored != Ignored::Alerts,
        Omits::Evidence(_) => rule.ignored != Ignored::Flows,
    };
    side && omits && !is_over(rule, case.now)
}

/// Whether its last day has passed.
fn is_over(rule: &Rule, now: PacketTime) -> bool {
    rule.until.is_some_and(|until| now.0.div_euclid(1_000_000) > i64::from(until))
}

impl Rules {
    /// All rules.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Rules whose last day has passed.
    pub fn over(&self, now: PacketTime) -> usize {
        self.rules.iter().filter(|rule| is_over(rule, now)).count()
    }

    /// How many known sites there are.
    pub fn sites(&self) -> usize {
        self.sites.len()
    }

    /// Networks that are left alone on both sides at this time, whatever they do: they are not blocked.
    pub fn spared(&self, now: PacketTime) -> Vec<Net> {
        let case = Case { omits: Omits::Evidence(ThreatLevel::Critical), side: Side::Unknown, now };
        let held = self.rules.iter().filter(|rule| holds(rule, case));
        held.filter_map(Rule::spares).collect()
    }

    fn first(&self, numbers: Option<&Vec<u32>>, case: Case, fits: impl Fn(&Rule) -> bool) -> Option<RuleId> {
        let held = |number: &&u32| {
            self.rules.get(**number as usize).is_some_and(|rule| fits(rule) && holds(rule, case))
        };
        numbers?.iter().find(held).map(|number| RuleId(*number))
    }

    fn domain(&self, name: &str, case: Case) -> Option<RuleId> {
        if self.domains.is_empty() {
            return None;
        }
        parents(name).find_map(|part| {
            let numbers = self.domains.get(part);
            self.first(numbers, case, |rule| covers(rule, part, name))
        })
    }

    fn organisation(&self, name: &str, server: Option<IpAddr>, case: Case) -> Option<RuleId> {
        let belongs = |organisation: &Organisation| {
            organisation.has_name(name)
                && server.is_none_or(|addr| organisation.has_addr(addr, &self.geo) && !self.is_shared(addr))
        };
        let held = |number: u32| self.rules.get(number as usize).is_some_and(|rule| holds(rule, case));
        let found = self.organisations.iter().find(|(number, known)| held(*number) && belongs(known));
        found.map(|(number, _)| RuleId(*number))
    }

    /// Nobody chose these sites one by one: only what is not high, and only as what is called.
    fn site(&self, name: &str, server: Option<IpAddr>, case: Case) -> Option<RuleId> {
        let mild = matches!(case.omits, Omits::Evidence(level) if level < ThreatLevel::High);
        if self.sites.len() == 0 || !mild || case.side != Side::Dst {
            return None;
        }
        let site = psl::domain_str(name)?;
        self.sites.whole(site).filter(|_| server.is_none_or(|addr| !self.is_shared(addr))).map(|_| SITES)
    }

    fn is_shared(&self, addr: IpAddr) -> bool {
        self.shared.has_addr(addr, &self.geo)
    }
}

impl Whitelist for Rules {
    fn uses(&self) -> Uses {
        self.uses
    }

    fn address(&self, addr: IpAddr, case: Case) -> Option<RuleId> {
        let addr = canonical(addr);
        let [v4, v6] = &self.lengths;
        let lengths = if addr.is_ipv4() { v4 } else { v6 };
        let of_net = |prefix: &u8| self.first(self.nets.get(&Net::new(addr, *prefix)?), case, |_| true);
        lengths.iter().find_map(of_net).or_else(|| {
            // Who calls has no name that a resolver would tell; who is called has.
            let held = |number: u32| self.rules.get(number as usize).is_some_and(|rule| holds(rule, case));
            let calls = case.side == Side::Src;
            let mut known = self.organisations.iter().filter(|_| calls);
            known
                .find(|(number, known)| known.has_net(addr) && held(*number) && !self.is_shared(addr))
                .map(|(number, _)| RuleId(*number))
        })
    }

    fn mac(&self, mac: MacAddr, case: Case) -> Option<RuleId> {
        self.first(self.macs.get(&mac), case, |_| true)
    }

    fn name(&self, name: &str, server: Option<IpAddr>, case: Case) -> Option<RuleId> {
        let server = server.map(canonical);
        let name = name.strip_suffix('.').unwrap_or(name);
        in_lower_case(name, |name| {
            self.domain(name, case)
                .or_else(|| self.organisation(name, server, case))
                .or_else(|| self.site(name, server, case))
        })
    }

    fn is_resolver(&self, server: IpAddr, local: bool) -> bool {
        if self.resolvers.is_empty() { local } else { self.resolvers.contains(&canonical(server)) }
    }

    fn describe(&self, rule: RuleId) -> String {
        if rule == SITES {
            return "the list of known sites".into();
        }
        let Some(rule) = self.rules.get(rule.0 as usize) else { return String::new() };
        let what = &rule.what;
        let place = match rule.line {
            0 => "`slips allow`".to_owned(),
            line => format!("line {line} of the whitelist"),
        };
        let remark = if rule.remark.is_empty() { String::new() } else { format!(" ({})", rule.remark) };
        format!("{place}, {what}{remark}")
    }
}
