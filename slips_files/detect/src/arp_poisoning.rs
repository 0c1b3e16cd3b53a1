//! ARP poisoning: a machine claims the address of another one that is there (`MITM_ARP_ATTACK`).

use slips_core::addr;
use slips_core::detector::{Cx, Detector, Header, Role, Slot, Spec, Threshold, Unit};
use slips_core::event::{Arp, ArpOp, Event, EventKind};
use slips_core::evidence::{Confidence, Entity, EvidenceKind, Finding, Proof, ThreatLevel};
use slips_core::flow::Proto;
use slips_core::moving::{Gateways, OwnMacs};
use slips_core::state::PerSlot;

use crate::Settings;
use crate::holding::{self, Holding, Said};
use crate::ladder::{self, Ladder, rung};

/// The registry's entry.
pub static SPEC: Spec = Spec {
    name: "arp_poisoning",
    kinds: &[EvidenceKind::MitmArpAttack],
    events: &[EventKind::Arp],
    roles: &[Role::Src, Role::Dst],
    thresholds: &[CLAIMS, GATEWAY_CLAIMS],
    header: Header {
        detects: "ARP poisoning: a machine claims the address of another one that is there (`MITM_ARP_ATTACK`).",
        attack: "T1557.002 Adversary-in-the-Middle: ARP Cache Poisoning.",
        rule: "An IP address belongs to the hardware address that proved to own it, or else used it first, until that one was silent for half \
            an hour. Whoever else sends ARP in its name claims it. Claims are counted per claimant over one to \
            two minutes: those that nobody asked for, and those that the owner contradicts (it spoke after the \
            first claim). The attacker is the local address that the claimant's hardware address owns, never the \
            address that it claims; if it owns none, its hardware address is named.",
        numbers: "The known tools repeat a claim every one to ten seconds, because caches expire. Critical needs a \
            contradicting owner and 20 claims, for a gateway 10. The original compares the other way round, and \
            blames the address that is stolen.",
        quiet: "A device that was replaced, a lease that moved, a fail-over without virtual addresses claim once or \
            a few times and the owner is silent: at most high. Virtual routers (VRRP, HSRP, GLBP) are known by \
            their hardware addresses, the router's own are its own. Repeaters and proxies answer when asked; that alone counts nothing. A \
            gateway's further addresses stay medium.",
        evasion: "Claiming rarely; claiming an address before its owner is seen; a forged hardware address hides who \
            it is.",
        proof: "Proven when the claim comes in a frame of the very hardware address that owns the attacker's \
            address.",
    },
};

/// Steps in claims for any host. The last one only when the owner contradicts.
pub const CLAIMS: Threshold = Threshold::steps(
    "claims",
    "claims of another's address within one to two minutes",
    Unit::Count,
    &[
        rung(1, ThreatLevel::Low, 0.5),
        rung(4, ThreatLevel::Medium, 0.6),
        rung(10, ThreatLevel::High, 0.7),
        rung(20, ThreatLevel::Critical, 0.9),
    ],
);
/// Steps in claims for a gateway.
pub const GATEWAY_CLAIMS: Threshold = Threshold::steps(
    "gateway_claims",
    "claims of a gateway's address within one to two minutes",
    Unit::Count,
    &[
        rung(1, ThreatLevel::Medium, 0.6),
        rung(4, ThreatLevel::High, 0.8),
        rung(10, ThreatLevel::Critical, 0.95),
    ],
);

/// The step that a gateway's further addresses reach at most.
const MEDIUM_STEP: u8 = 2;

/// See the module.
#[derive(Debug)]
pub struct ArpPoisoning {
    claims: Ladder,
    gateway_claims: Ladder,
    gateways: Gateways,
    own: OwnMacs,
    holdings: PerSlot<Holding>,
}

impl ArpPoisoning {
    /// With these settings.
    pub fn new(settings: &Settings) -> Self {
        Self {
            claims: settings.ladder(&SPEC, &CLAIMS),
            gateway_claims: settings.ladder(&SPEC, &GATEWAY_CLAIMS),
            gateways: settings.gateways.clone(),
            own: settings.own_macs.clone(),
            holdings: PerSlot::default(),
        }
    }

    fn on_sender(&mut self, cx: &mut Cx<'_>, arp: &Arp) {
        let gateway = self.gateways.contains(&arp.sender);
        let ladder = if gateway { self.gateway_claims } else { self.claims };
        let attacker = cx.facts().src_mac_owner;
        let own_gateway = attacker.is_some_and(|ip| self.gateways.contains(&ip));
        let holding = self.holdings.get_or_default(cx.slot());
        let (is_answer, held_by) = (arp.op == ArpOp::Reply, cx.facts().src_held_by);
        let said = Said { mac: arp.sender_mac, at: arp.at, is_answer, held_by };
        let Some(claim) = holding.take(said, cx.window(), |claims, contradicted| {
            let top = if contradicted { ladder.steps() } else { ladder.steps() - 1 };
            let top = if own_gateway { MEDIUM_STEP } else { top };
            ladder.step(claims).min(top)
        }) else {
            return;
        };
        let Some(mut rung) = ladder.at_step(claim.step) else { return };
        if own_gateway && rung.level > ThreatLevel::Medium {
            (rung.level, rung.confidence) = (ThreatLevel::Medium, Confidence::new(0.6));
        }
        let whose = if gateway { "the gateway's address" } else { "the address" };
        let but = if claim.contradicted { ", whose owner contradicts" } else { "" };
        let text =
            format!("{} claims {whose} {} by ARP{but}, {} times", arp.sender_mac, arp.sender, claim.claims);
        let proven = attacker.is_some() && arp.frame_src == arp.sender_mac;
        cx.emit(Finding {
            attacker: attacker.map_or(Entity::Mac(arp.sender_mac), Entity::Ip),
            victim: Some(Entity::Ip(arp.sender)),
            proto: Some(Proto::Arp),
            text,
            proof: if proven { Proof::Proven } else { Proof::Unproven },
            ..ladder::finding(cx, EvidenceKind::MitmArpAttack, arp.sender, rung, arp.at)
        });
    }
}

impl Detector for ArpPoisoning {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn on_event(&mut self, cx: &mut Cx<'_>, event: &Event) {
        let Event::Arp(arp) = event else { return };
        match cx.role() {
            Role::Src => {
                if addr::is_interesting(arp.sender)
                    && cx.facts().src_local
                    && !holding::is_shared(arp.sender_mac)
                    && !self.own.contains(arp.sender_mac)
                {
                    self.on_sender(cx, arp);
                }
            }
            Role::Dst => {
                if arp.op == ArpOp::Request
                    && arp.sender != arp.target
                    && let Some(holding) = self.holdings.get_mut(cx.slot())
                {
                    holding.ask(arp.at);
                }
            }
            Role::Link => {}
        }
    }

    fn forget(&mut self, slot: Slot) {
        self.holdings.forget(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_traces::{arp, at, bench, levels, secs};
    use slips_core::detector::{Bench, Facts};
    use slips_core::flow::MacAddr;

    const VICTIM: &str = "192.168.1.7";
    const GATEWAY: &str = "192.168.1.1";

    fn start() -> Bench {
        let settings = Settings::with_gateways(vec![at(GATEWAY)]);
        let mut bench = bench(ArpPoisoning::new(&settings));
        bench.facts(Facts { src_mac_owner: Some(at("192.168.1.66")), ..Facts::default() });
        bench
    }

    fn says(bench: &mut Bench, who: &str, mac: u8, op: ArpOp, second: i64) -> Vec<Finding> {
        let mut packet = arp(who, "192.168.1.9", mac);
        (packet.op, packet.at) = (op, secs(second));
        bench.feed(&Event::Arp(packet))
    }

    /// The owner speaks at the beginning, and every `owner` seconds; the claimant every two seconds.
    fn poisoned(who: &str, claims: i64, owner: i64) -> Vec<Finding> {
        let mut bench = start();
        let mut told = says(&mut bench, who, 7, ArpOp::Request, 0);
        for n in 1..=claims {
            told.extend(says(&mut bench, who, 66, ArpOp::Reply, 2 * n));
            if n % owner == 0 {
                told.extend(says(&mut bench, who, 7, ArpOp::Request, 2 * n + 1));
            }
        }
        told
    }

    #[test]
    fn a_contradicted_claim_that_is_repeated_is_critical_and_names_the_claimant() {
        let told = poisoned(VICTIM, 30, 5);
        assert_eq!(levels(&told), ["low 0.5", "medium 0.6", "high 0.7", "critical 0.9"]);
        for finding in &told {
            assert_eq!(finding.attacker, Entity::Ip(at("192.168.1.66")));
            assert_eq!(finding.victim, Some(Entity::Ip(at(VICTIM))));
            assert_eq!(finding.proof, Proof::Proven);
        }
        assert_eq!(levels(&poisoned(VICTIM, 19, 5)).len(), 3);
    }

    #[test]
    fn the_gateway_is_judged_sooner() {
        assert_eq!(levels(&poisoned(GATEWAY, 9, 3)), ["medium 0.6", "high 0.8"]);
        assert_eq!(levels(&poisoned(GATEWAY, 10, 3)), ["medium 0.6", "high 0.8", "critical 0.95"]);
    }

    #[test]
    fn a_host_that_moved_is_not_critical_and_owns_the_address_after_a_while() {
        assert_eq!(levels(&poisoned(VICTIM, 60, 1000)), ["low 0.5", "medium 0.6", "high 0.7"]);
        let mut bench = start();
        for (second, mac) in [(0, 7), (1801, 8), (1900, 8), (2000, 8)] {
            assert!(says(&mut bench, VICTIM, mac, ArpOp::Reply, second).is_empty(), "{second}");
        }
    }

    #[test]
    fn whoever_proved_to_own_the_address_owns_it_though_it_said_nothing() {
        let told = |proved: i64| {
            let mut bench = start();
            let mut told = Vec::new();
            for n in 1..=30 {
                bench.facts(Facts {
                    src_mac_owner: Some(at("192.168.1.66")),
                    src_held_by: Some((MacAddr([2, 0, 0, 0, 0, 7]), secs(proved.min(2 * n)))),
                    ..Facts::default()
                });
                told.extend(says(&mut bench, VICTIM, 66, ArpOp::Reply, 2 * n));
            }
            levels(&told)
        };
        assert_eq!(told(0), ["low 0.5", "medium 0.6", "high 0.7"]);
        assert_eq!(told(30), ["low 0.5", "medium 0.6", "high 0.7", "critical 0.9"]);
    }

    #[test]
    fn this_router_answers_for_its_address_from_each_of_its_interfaces() {
        let own_macs = vec![MacAddr([2, 0, 0, 0, 0, 7]), MacAddr([2, 0, 0, 0, 0, 66])];
        let mut settings = Settings::default();
        settings.own_macs = own_macs.into();
        let mut bench = bench(ArpPoisoning::new(&settings));
        for n in 0..50 {
            let mac = if n % 2 == 0 { 7 } else { 66 };
            assert!(says(&mut bench, GATEWAY, mac, ArpOp::Request, n).is_empty());
        }
    }

    #[test]
    fn an_unknown_claimant_is_named_by_its_hardware_address() {
        let mut bench = bench(ArpPoisoning::new(&Settings::default()));
        says(&mut bench, VICTIM, 7, ArpOp::Request, 0);
        let told = says(&mut bench, VICTIM, 66, ArpOp::Reply, 1);
        assert!(matches!(told[0].attacker, Entity::Mac(_)));
        assert_eq!(told[0].proof, Proof::Unproven);
    }

    #[test]
    fn repeaters_that_are_asked_and_virtual_routers_are_silent() {
        let mut bench = start();
        says(&mut bench, VICTIM, 7, ArpOp::Request, 0);
        for n in 1..50 {
            let mut asks = arp("192.168.1.9", VICTIM, 9);
            asks.at = secs(2 * n);
            assert!(bench.feed(&Event::Arp(asks)).is_empty());
            assert!(says(&mut bench, VICTIM, 66, ArpOp::Reply, 2 * n + 1).is_empty());
        }
        let mut vrrp = arp(GATEWAY, "192.168.1.9", 1);
        (vrrp.sender_mac, vrrp.op) = (MacAddr([0, 0, 0x5e, 0, 1, 7]), ArpOp::Reply);
        says(&mut bench, GATEWAY, 1, ArpOp::Request, 200);
        assert!((0..50).all(|_| bench.feed(&Event::Arp(vrrp)).is_empty()));
    }
}
