//! DNS rebinding: a name that leads outside leads inside a moment later (`DNS_REBINDING`), so that a web page reaches into the
//! network.

use std::net::IpAddr;

use slips_core::addr;
use slips_core::detector::{Closing, Cx, Detector, Header, Role, Slot, Spec, Threshold, Unit};
use slips_core::event::{Dns, DnsData, Event, EventKind};
use slips_core::evidence::{Entity, EvidenceKind, Finding, ThreatLevel};
use slips_core::moving::Gateways;
use slips_core::state::Windowed;
use slips_core::time::WindowId;

use crate::Settings;
use crate::ladder::{self, Ladder, rung};
use crate::names;
use crate::steps::member_of;
use crate::table::Table;

/// The registry's entry.
pub static SPEC: Spec = Spec {
    name: "dns_rebinding",
    kinds: &[EvidenceKind::DnsRebinding],
    events: &[EventKind::Dns],
    roles: &[Role::Src],
    thresholds: &[CHANGES],
    header: Header {
        detects: "DNS rebinding: a name that leads outside leads inside a moment later (`DNS_REBINDING`), so that a \
            web page reaches into the network.",
        attack: "T1557 Adversary-in-the-Middle, T1189 Drive-by Compromise.",
        rule: "One name that had public and private addresses (loopback and unspecified ones included) within a \
            window, or in one answer, for one client. Changes from one to the other are counted; a life of at \
            most a minute, or a gateway as target, make it high.",
        numbers: "Tools that rebind answer with a life of 0 or 1 s and change once per attempt, or at every question. \
            Split DNS changes when a client comes into its network, and back when it leaves: twice, with lives \
            of minutes.",
        quiet: "Zones that are private by name, and lists that answer 127.0.0.x (DNSBL) for names that begin with an \
            address, are left out, and so is 0.0.0.0 or loopback alone, which blockers of advertisements answer: \
            the name must change back to a public address, or live at most a minute. Four names weigh, and they \
            weigh on the name, on nobody's address.",
        evasion: "Other record types (CNAME to a name inside), DNS over HTTPS, hours between the answers.",
        proof: "Unproven; an answer names whom it likes, so no address in it is blamed.",
    },
};

/// Steps in changes between outside and inside.
pub const CHANGES: Threshold = Threshold::steps(
    "changes",
    "times that one name changes between outside and inside for one client in a window",
    Unit::Count,
    &[rung(1, ThreatLevel::Medium, 0.7), rung(3, ThreatLevel::High, 0.8), rung(10, ThreatLevel::High, 0.9)],
);

/// The step of a short life, or of a gateway.
const SHORT_STEP: u8 = 2;
/// Seconds that a rebinding answer lives at most.
const SHORT_LIFE: u32 = 60;
/// Names remembered per client and window; of those that changed, the ones that did least make room, of the others they take turns.
const MAX_NAMES: usize = 512;
const MAX_CHANGED: usize = 64;
/// Names of one client and window that weigh anything.
const MAX_WEIGHING: u32 = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Outside,
    Inside,
    /// Loopback or unspecified: as a blocker answers.
    Nowhere,
}

impl Side {
    /// Of an entry of [`Client::sides`].
    const fn of(entry: u64) -> Self {
        match entry & 3 {
            0 => Self::Outside,
            1 => Self::Inside,
            _ => Self::Nowhere,
        }
    }
}

#[derive(Debug, Default)]
struct Name {
    changes: u32,
    short: bool,
    told: u8,
    weighs: bool,
}

#[derive(Debug, Default)]
struct Client {
    /// The side of each name in its two lowest bits, the name's hash above: most names never change theirs.
    sides: Vec<u64>,
    hand: u32,
    changed: Table<u64, Name>,
    weighing: u32,
}

impl Client {
    /// Notes the side to which a name led now, and returns the one before, if it was another.
    fn turn(&mut self, name: u64, side: Side) -> Option<Side> {
        let entry = name & !3 | side as u64;
        match self.sides.binary_search_by_key(&(name >> 2), |known| known >> 2) {
            Ok(at) => {
                let known = self.sides.get_mut(at)?;
                let before = std::mem::replace(known, entry);
                (before != entry).then(|| Side::of(before))
            }
            Err(at) if self.sides.len() < MAX_NAMES => {
                self.sides.insert(at, entry);
                None
            }
            Err(_) => {
                self.sides.remove(self.hand as usize % MAX_NAMES);
                // A step that meets all of them in turn, though they move.
                self.hand = self.hand.wrapping_add(193);
                let at = self.sides.partition_point(|known| known >> 2 < name >> 2);
                self.sides.insert(at, entry);
                None
            }
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct DnsRebinding {
    changes: Ladder,
    gateways: Gateways,
    clients: Windowed<Client>,
}

fn side_of(addr: IpAddr) -> Option<Side> {
    if addr.is_loopback() || addr.is_unspecified() {
        Some(Side::Nowhere)
    } else if addr::is_private(addr) {
        Some(Side::Inside)
    } else {
        addr::is_interesting(addr).then_some(Side::Outside)
    }
}

/// A name that begins with an address asks a list whether the address is on it; the answer is a code.
fn asks_a_list(query: &str) -> bool {
    query.split('.').take(2).all(|label| !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_digit()))
}

impl DnsRebinding {
    /// With these settings.
    pub fn new(settings: &Settings) -> Self {
        Self {
            changes: settings.ladder(&SPEC, &CHANGES),
            gateways: settings.gateways.clone(),
            clients: Windowed::default(),
        }
    }

    fn on_answer(&mut self, cx: &mut Cx<'_>, dns: &Dns, addr: IpAddr, ttl: Option<u32>) {
        let Some(side) = side_of(addr) else { return };
        let client = self.clients.get_or_default(cx.slot(), cx.window());
        let name = member_of(&dns.query);
        let Some(before) = client.turn(name, side) else { return };
        if ![before, side].contains(&Side::Outside) {
            return;
        }
        let Some(name) = client.changed.get_or_insert(name, MAX_CHANGED, |name| u64::from(name.changes) + 1)
        else {
            return;
        };
        let is_short = ttl.is_some_and(|ttl| ttl <= SHORT_LIFE);
        name.short |= is_short && side != Side::Outside;
        // Outside and then nowhere, once: somebody began to block it.
        if side == Side::Nowhere && name.changes == 0 && !is_short {
            return;
        }
        name.changes += 1;
        let is_gateway = self.gateways.contains(&addr);
        let least = if name.short || is_gateway { SHORT_STEP } else { 0 };
        let reached = self.changes.step(name.changes);
        let step = if reached == 0 { 0 } else { reached.max(least) };
        if !ladder::climb(&mut name.told, step) {
            return;
        }
        if !name.weighs && client.weighing < MAX_WEIGHING {
            client.weighing += 1;
            name.weighs = true;
        }
        let Some(mut rung) = self.changes.at_step(step) else { return };
        if !name.weighs {
            rung.level = ThreatLevel::Info;
        }
        let to = if is_gateway { "the gateway " } else { "" };
        let text = format!("{} leads outside and inside, lately to {to}{addr}", dns.query);
        cx.emit(Finding {
            attacker: Entity::Domain(dns.query.as_str().into()),
            victim: Some(Entity::Ip(dns.about.src.addr)),
            proto: Some(dns.about.proto),
            text,
            uids: vec![dns.about.uid],
            ..ladder::finding(cx, EvidenceKind::DnsRebinding, dns.about.src.addr, rung, dns.about.at)
        });
    }
}

impl Detector for DnsRebinding {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn on_event(&mut self, cx: &mut Cx<'_>, event: &Event) {
        let Event::Dns(dns) = event else { return };
        if !names::is_unicast_dns(&dns.about) || names::is_special(&dns.query) || asks_a_list(&dns.query) {
            return;
        }
        for answer in &dns.answers {
            if let DnsData::Addr(addr) = answer.data {
                self.on_answer(cx, dns, addr, answer.ttl);
            }
        }
    }

    fn on_window_close(&mut self, _out: &mut Closing<'_>, window: WindowId) {
        self.clients.close(window, |_, _| {});
    }

    fn forget(&mut self, slot: Slot) {
        self.clients.forget(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_traces::{at, bench, dns, levels};

    const OUT: &str = "198.51.100.7";
    const IN: &str = "192.168.1.9";

    fn told(query: &str, ttl: u32, answers: &[&str]) -> Vec<Finding> {
        let settings = Settings::with_gateways(vec![at("192.168.1.1")]);
        let mut bench = bench(DnsRebinding::new(&settings));
        let record = |answer: &&str| {
            let mut record = dns(query, &[DnsData::Addr(at(answer))]);
            record.answers[0].ttl = Some(ttl);
            Event::Dns(Box::new(record))
        };
        answers.iter().flat_map(|answer| bench.feed(&record(answer))).collect()
    }

    #[test]
    fn a_name_that_turns_inside_is_medium_and_high_when_it_is_in_a_hurry() {
        let slow = told("a.example.org", 300, &[OUT, IN]);
        assert_eq!(levels(&slow), ["medium 0.7"]);
        assert_eq!(slow[0].attacker, Entity::Domain("a.example.org".into()));
        assert_eq!(levels(&told("a.example.org", 1, &[OUT, IN])), ["high 0.8"]);
        assert_eq!(levels(&told("a.example.org", 300, &[OUT, "192.168.1.1"])), ["high 0.8"], "the gateway");
        assert_eq!(levels(&told("a.example.org", 0, &[OUT, "127.0.0.1"])), ["high 0.8"]);
        assert_eq!(levels(&told("a.example.org", 1, &[OUT, IN].repeat(9))), ["high 0.8", "high 0.9"]);
    }

    #[test]
    fn a_name_is_found_among_hundreds_and_decoys_do_not_hide_what_it_did() {
        let mut bench = bench(DnsRebinding::new(&Settings::default()));
        let mut asks = |query: &str, answer: &str| {
            bench.feed(&Event::Dns(Box::new(dns(query, &[DnsData::Addr(at(answer))]))))
        };
        for n in 0..400 {
            assert!(asks(&format!("n{n}.example.org"), OUT).is_empty());
        }
        assert_eq!(levels(&asks("n7.example.org", IN)), ["high 0.8"]);
        for n in 0..4000 {
            assert!(asks(&format!("d{n}.example.org"), OUT).is_empty());
        }
        // One change is lost with the side, none of those that were counted.
        let turns = (0..10).map(|n| asks("n7.example.org", if n % 2 == 0 { OUT } else { IN }));
        let told: Vec<Finding> = turns.flatten().collect();
        assert_eq!(levels(&told), ["high 0.9"]);
    }

    #[test]
    fn the_other_way_round_and_both_in_one_answer_count() {
        assert_eq!(levels(&told("a.example.org", 300, &[IN, OUT])), ["medium 0.7"]);
        let mut bench = bench(DnsRebinding::new(&Settings::default()));
        let both = [OUT, IN].map(|answer| DnsData::Addr(at(answer)));
        assert_eq!(levels(&bench.feed(&Event::Dns(Box::new(dns("a.example.org", &both))))), ["high 0.8"]);
    }

    #[test]
    fn steady_names_blockers_lists_and_private_zones_are_silent() {
        assert!(told("a.example.org", 1, &[IN; 20]).is_empty());
        assert!(told("a.example.org", 1, &[OUT, "198.51.100.8"].repeat(9)).is_empty());
        assert!(told("ads.example.org", 300, &[OUT, "0.0.0.0", "0.0.0.0"]).is_empty(), "blocked from now on");
        assert!(told("ads.example.org", 2, &["0.0.0.0", "127.0.0.1"]).is_empty());
        assert!(told("1.2.0.192.zen.example.org", 1, &[OUT, "127.0.0.4"]).is_empty());
        assert!(told("nas.lan", 1, &[OUT, IN]).is_empty());
    }
}
