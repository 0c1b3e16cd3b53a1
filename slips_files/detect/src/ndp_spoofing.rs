//! Neighbour spoofing: a machine claims by IPv6's neighbour discovery the address of another one that is there
//! (`MITM_NDP_ATTACK`).

use std::net::IpAddr;

use slips_core::detector::{Cx, Detector, Header, Role, Slot, Spec};
use slips_core::event::{Event, EventKind};
use slips_core::evidence::{Entity, EvidenceKind, Finding, Proof};
use slips_core::flow::{MacAddr, Proto};
use slips_core::moving::{Gateways, OwnMacs};
use slips_core::neighbour::{Discovery, Neighbour};
use slips_core::state::PerSlot;

use crate::Settings;
use crate::arp_poisoning::{CLAIMS, GATEWAY_CLAIMS};
use crate::holding::{self, Holding, Said};
use crate::ladder::{self, Ladder};

/// The registry's entry.
pub static SPEC: Spec = Spec {
    name: "ndp_spoofing",
    kinds: &[EvidenceKind::MitmNdpAttack],
    events: &[EventKind::Neighbour],
    roles: &[Role::Src, Role::Dst],
    thresholds: &[CLAIMS, GATEWAY_CLAIMS],
    header: Header {
        detects: "Neighbour spoofing: a machine claims by IPv6's neighbour discovery the address of another one that \
            is there (`MITM_NDP_ATTACK`).",
        attack: "T1557 Adversary-in-the-Middle (the IPv6 form of T1557.002).",
        rule: "The rule of ARP poisoning. An IPv6 address belongs to the hardware address that used it first, until \
            that one was silent for half an hour. Advertisements of it, and solicitations and router \
            advertisements in its name, from another hardware address are claims; they are counted per claimant \
            over one to two minutes, unless somebody asked and the owner says nothing. Routers, which are \
            gateways named in the settings and whoever the owner of an address advertises as one, are judged \
            sooner.",
        numbers: "Those of `arp_poisoning`; the known tools (THC-IPv6, bettercap) repeat a claim every one to five \
            seconds.",
        quiet: "Advertisements without the override flag are of proxies and anycast (RFC 4861, section 7.2.8) and \
            count nothing; fail-over with virtual addresses is known; a replaced device claims a few times and \
            the owner is silent: at most high.",
        evasion: "Claiming rarely, or before the owner is seen; an advertisement that this host does not see.",
        proof: "Proven when the frame comes from the hardware address that owns the attacker's address.",
    },
};

#[derive(Debug, Default)]
struct Address {
    holding: Holding,
    /// The owner's hardware address, once it said that it routes.
    router: Option<MacAddr>,
}

/// See the module.
#[derive(Debug)]
pub struct NdpSpoofing {
    claims: Ladder,
    gateway_claims: Ladder,
    gateways: Gateways,
    own: OwnMacs,
    addresses: PerSlot<Address>,
}

/// What a message says about the address at hand, and whether its sender says that it routes.
fn said(message: &Neighbour, role: Role) -> Option<(Said, bool)> {
    let (named, is_answer, routes) = match (&message.message, role) {
        (Discovery::Advertisement { link, is_router, is_solicited, overrides: true, .. }, Role::Dst) => {
            (*link, *is_solicited, *is_router)
        }
        (Discovery::Solicitation { link: link @ Some(_), .. }, Role::Src) => (*link, false, false),
        (Discovery::RouterAdvertisement(router), Role::Src) => (router.link, false, true),
        _ => return None,
    };
    let mac = named.or(message.frame_src).filter(|mac| !holding::is_shared(*mac))?;
    Some((Said { mac, at: message.at, is_answer, held_by: None }, routes))
}

impl NdpSpoofing {
    /// With these settings.
    pub fn new(settings: &Settings) -> Self {
        Self {
            claims: settings.ladder(&SPEC, &CLAIMS),
            gateway_claims: settings.ladder(&SPEC, &GATEWAY_CLAIMS),
            gateways: settings.gateways.clone(),
            own: settings.own_macs.clone(),
            addresses: PerSlot::default(),
        }
    }

    fn on_said(&mut self, cx: &mut Cx<'_>, message: &Neighbour, said: Said, routes: bool) {
        let whose = cx.profile();
        if whose.is_unspecified() || whose.is_multicast() || self.own.contains(said.mac) {
            return;
        }
        let address = self.addresses.get_or_default(cx.slot());
        let gateway = self.gateways.contains(&whose) || address.router.is_some_and(|mac| mac != said.mac);
        let ladder = if gateway { self.gateway_claims } else { self.claims };
        let claim = address.holding.take(said, cx.window(), |claims, contradicted| {
            let top = if contradicted { ladder.steps() } else { ladder.steps() - 1 };
            ladder.step(claims).min(top)
        });
        if routes && address.holding.is_owner(said.mac) {
            address.router = Some(said.mac);
        }
        let Some(claim) = claim else { return };
        let Some(rung) = ladder.at_step(claim.step) else { return };
        let attacker = attacker(cx, message);
        let whose_text = if gateway { "the router's address" } else { "the address" };
        let but = if claim.contradicted { ", whose owner contradicts" } else { "" };
        let text = format!(
            "{} claims {whose_text} {whose} by neighbour discovery{but}, {} times",
            said.mac, claim.claims
        );
        let proven = attacker.is_some() && message.frame_src == Some(said.mac);
        cx.emit(Finding {
            attacker: attacker.map_or(Entity::Mac(said.mac), Entity::Ip),
            victim: Some(Entity::Ip(whose)),
            proto: Some(Proto::Icmp),
            text,
            proof: if proven { Proof::Proven } else { Proof::Unproven },
            ..ladder::finding(cx, EvidenceKind::MitmNdpAttack, whose, rung, message.at)
        });
    }
}

/// Who sent it, never the address that is claimed: what the frame's hardware address owns, or the sender if that is his own.
fn attacker(cx: &Cx<'_>, message: &Neighbour) -> Option<IpAddr> {
    let facts = cx.facts();
    let own = Some(message.src).filter(|src| facts.src_on_link && *src != cx.profile());
    facts.src_mac_owner.or(own)
}

impl Detector for NdpSpoofing {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn on_event(&mut self, cx: &mut Cx<'_>, event: &Event) {
        let Event::Neighbour(message) = event else { return };
        if cx.role() == Role::Dst && matches!(message.message, Discovery::Solicitation { .. }) {
            if let Some(address) = self.addresses.get_mut(cx.slot()) {
                address.holding.ask(message.at);
            }
        } else if let Some((said, routes)) = said(message, cx.role()) {
            self.on_said(cx, message, said, routes);
        }
    }

    fn forget(&mut self, slot: Slot) {
        self.addresses.forget(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_traces::{advertises, at, bench, levels, router_advertises};
    use slips_core::detector::{Bench, Facts};

    const VICTIM: &str = "2001:db8::7";
    const ROUTER: &str = "fe80::1";

    fn start() -> Bench {
        let mut bench = bench(NdpSpoofing::new(&Settings::default()));
        bench.facts(Facts { src_mac_owner: Some(at("192.168.1.66")), ..Facts::default() });
        bench
    }

    /// The owner speaks at the beginning, and every `owner` claims; the claimant every two seconds.
    fn spoofed(whose: &str, claims: i64, owner: i64) -> Vec<Finding> {
        let mut bench = start();
        let speaks = |mac, second| match whose {
            ROUTER => router_advertises(ROUTER, mac, second),
            _ => advertises(whose, whose, mac, second),
        };
        let mut told = bench.feed(&speaks(7, 0));
        for n in 1..=claims {
            told.extend(bench.feed(&advertises(whose, whose, 66, 2 * n)));
            if n % owner == 0 {
                told.extend(bench.feed(&speaks(7, 2 * n + 1)));
            }
        }
        told
    }

    #[test]
    fn a_contradicted_claim_that_is_repeated_is_critical_and_names_the_claimant() {
        let told = spoofed(VICTIM, 30, 5);
        assert_eq!(levels(&told), ["low 0.5", "medium 0.6", "high 0.7", "critical 0.9"]);
        for finding in &told {
            assert_eq!(finding.attacker, Entity::Ip(at("192.168.1.66")));
            assert_eq!(finding.victim, Some(Entity::Ip(at(VICTIM))));
            assert_eq!(finding.proof, Proof::Proven);
        }
        assert_eq!(spoofed(VICTIM, 19, 5).len(), 3);
    }

    #[test]
    fn a_router_is_judged_sooner() {
        assert_eq!(levels(&spoofed(ROUTER, 9, 3)), ["medium 0.6", "high 0.8"]);
        assert_eq!(levels(&spoofed(ROUTER, 10, 3)), ["medium 0.6", "high 0.8", "critical 0.95"]);
    }

    #[test]
    fn a_host_that_moved_is_not_critical() {
        assert_eq!(levels(&spoofed(VICTIM, 60, 1000)), ["low 0.5", "medium 0.6", "high 0.7"]);
    }

    #[test]
    fn owners_proxies_and_virtual_routers_are_silent() {
        let mut bench = start();
        for n in 0..100 {
            assert!(bench.feed(&advertises(VICTIM, VICTIM, 7, n)).is_empty());
            let Event::Neighbour(mut proxy) = advertises(VICTIM, VICTIM, 8, n) else { continue };
            if let Discovery::Advertisement { overrides, .. } = &mut proxy.message {
                *overrides = false;
            }
            assert!(bench.feed(&Event::Neighbour(proxy)).is_empty());
            let Event::Neighbour(mut vrrp) = advertises(VICTIM, VICTIM, 9, n) else { continue };
            if let Discovery::Advertisement { link, .. } = &mut vrrp.message {
                *link = Some(MacAddr([0, 0, 0x5e, 0, 2, 7]));
            }
            assert!(bench.feed(&Event::Neighbour(vrrp)).is_empty());
        }
    }
}
