//! A host says by IPv6 that it is a router, and is not the network's (`ROGUE_ROUTER`).

use std::net::IpAddr;

use slips_core::detector::{Cx, Detector, Header, Role, Slot, Spec, Threshold, Unit};
use slips_core::event::{Event, EventKind};
use slips_core::evidence::{Entity, EvidenceKind, Finding, Proof, ThreatLevel};
use slips_core::flow::Proto;
use slips_core::moving::Gateways;
use slips_core::neighbour::{Discovery, Neighbour, RouterAdvertisement};
use slips_core::state::PerSlot;
use slips_core::time::{PacketTime, Span, WindowId};

use crate::Settings;
use crate::ladder::{self, Ladder, Told, rung};
use crate::table::Table;
use crate::tally::{Lately, Pace};

/// The registry's entry.
pub static SPEC: Spec = Spec {
    name: "rogue_router",
    kinds: &[EvidenceKind::RogueRouter],
    events: &[EventKind::Neighbour],
    roles: &[Role::Link],
    thresholds: &[ADVERTISED, SENDERS],
    header: Header {
        detects: "A host says by IPv6 that it is a router, and is not the network's (`ROGUE_ROUTER`).",
        attack: "T1557 Adversary-in-the-Middle, T1565.002 Transmitted Data Manipulation, T1498 for floods of \
            advertisements.",
        rule: "Routers that advertise within the first half hour in which a link is watched, and gateways named in \
            the settings, are the network's. Whoever begins later is a newcomer; his advertisements and \
            redirects are counted per window. Critical is a newcomer who repeats himself fast while one of the \
            network's routers is there, or where the link had none at all. Floods: senders of advertisements \
            within a minute.",
        numbers: "RFC 4861 lets a router advertise itself every 3 to 1,800 s and answer soliciting hosts once in 3 s; \
            radvd's default is 200 to 600 s. The known tools (THC-IPv6, mitm6, bettercap) repeat every one to \
            five seconds: 10 in one to two minutes.",
        quiet: "Advertisements that make nobody's default router, name no name server and give only unique local \
            prefixes are those of Thread border routers and say nothing. A router that is replaced or added \
            advertises rarely: high at most, 0.64 a window. A router that was silent for a day is gone, and its \
            successor is the network's.",
        evasion: "Advertising within the first half hour; in the name of the router itself, which `ndp_spoofing` sees.",
        proof: "Proven when the frame comes from the hardware address that owns the attacker's address. Nobody is \
            blamed for a flood.",
    },
};

/// Steps in advertisements of one newcomer. The last one needs a pace: see `FAST`.
pub const ADVERTISED: Threshold = Threshold::steps(
    "advertised",
    "advertisements of a new router in a window",
    Unit::Count,
    &[
        rung(1, ThreatLevel::Medium, 0.6),
        rung(5, ThreatLevel::High, 0.8),
        rung(10, ThreatLevel::Critical, 0.9),
    ],
);
/// Steps in senders of advertisements within a minute.
pub const SENDERS: Threshold = Threshold::steps(
    "senders",
    "senders of router advertisements within a minute",
    Unit::Count,
    &[rung(20, ThreatLevel::Medium, 0.6), rung(100, ThreatLevel::High, 0.8)],
)
.within(2, 128);

/// How long a link is watched before a router is a newcomer.
const LEARNING: Span = Span::from_secs(1800);
/// A router that was silent for so long is gone.
const GONE_AFTER: Span = Span::from_secs(86_400);
/// A router that advertised within this time is there (the longest lifetime of RFC 4861 is 9,000 s).
const THERE: Span = Span::from_secs(9000);
/// Advertisements of one newcomer within one to two minutes that no router sends.
const FAST: u32 = 10;
const MINUTE: Span = Span::from_secs(60);
/// Links, routers of a link, newcomers, senders that are remembered.
const MAX_LINKS: usize = 64;
const MAX_ROUTERS: usize = 8;
const MAX_NEWCOMERS: usize = 16;
const MAX_SENDERS: usize = 128;
/// Newcomers that are told in one window: a flood of forged ones is told as such.
const MAX_TOLD: u32 = 16;
/// The step of [`ADVERTISED`] that slow newcomers do not pass.
const SLOW_STEP: u8 = 2;

#[derive(Debug, Default)]
struct Newcomer {
    said: u32,
    pace: Pace,
    window: Option<WindowId>,
    told: Told,
}

#[derive(Debug, Default)]
struct Net {
    since: Option<PacketTime>,
    routers: Vec<(IpAddr, PacketTime)>,
    newcomers: Table<IpAddr, Newcomer>,
    senders: Lately<IpAddr>,
    window: Option<WindowId>,
    flood: u8,
    /// Newcomers that were told in the window.
    told: u32,
}

/// See the module.
#[derive(Debug)]
pub struct RogueRouter {
    advertised: Ladder,
    senders: Ladder,
    gateways: Gateways,
    links: PerSlot<Table<u16, Net>>,
}

/// Whether hosts that believe it send their traffic or their questions elsewhere.
fn leads_away(router: &RouterAdvertisement) -> bool {
    let gives_addresses = |net: &std::net::Ipv6Addr| net.octets()[0] & 0xfe != 0xfc;
    router.lifetime > Span(0)
        || !router.dns.is_empty()
        || router.prefixes.iter().any(|prefix| prefix.is_autonomous && gives_addresses(&prefix.net))
}

impl Net {
    /// Whether `who` is one of the network's routers, learning it if it may be.
    fn knows(&mut self, who: IpAddr, is_gateway: bool, at: PacketTime) -> bool {
        let since = *self.since.get_or_insert(at);
        if let Some((_, seen)) = self.routers.iter_mut().find(|(router, _)| *router == who) {
            *seen = at.max(*seen);
            return true;
        }
        let had = !self.routers.is_empty();
        self.routers.retain(|(_, seen)| at.since(*seen) <= GONE_AFTER);
        let succeeds = had && self.routers.is_empty();
        let learns = is_gateway || at.since(since) <= LEARNING || succeeds;
        if learns && self.routers.len() < MAX_ROUTERS {
            self.routers.push((who, at));
        }
        learns
    }

    /// One of the network's routers is there, or there never was any.
    fn is_contradicted(&self, at: PacketTime) -> bool {
        self.routers.is_empty() || self.routers.iter().any(|(_, seen)| at.since(*seen) <= THERE)
    }
}

impl RogueRouter {
    /// With these settings.
    pub fn new(settings: &Settings) -> Self {
        Self {
            advertised: settings.ladder(&SPEC, &ADVERTISED),
            senders: settings.ladder(&SPEC, &SENDERS),
            gateways: settings.gateways.clone(),
            links: PerSlot::default(),
        }
    }

    fn on_message(&mut self, cx: &mut Cx<'_>, message: &Neighbour) {
        let links = self.links.get_or_default(cx.slot());
        let Some(net) = links.get_or_insert(message.interface, MAX_LINKS, |_| 0) else { return };
        net.since.get_or_insert(message.at);
        let what = match &message.message {
            Discovery::RouterAdvertisement(router) if leads_away(router) => "advertises itself as router",
            Discovery::Redirect { .. } => "redirects hosts",
            _ => return,
        };
        if !matches!(message.src, IpAddr::V6(src) if src.is_unicast_link_local()) {
            // Hosts take neither from anybody else (RFC 4861, sections 6.1.2 and 8.1).
            return;
        }
        let senders = net.senders.insert(message.src, message.at, MINUTE, MAX_SENDERS);
        on_senders(cx, &self.senders, net, senders, message);
        let is_gateway = self.gateways.contains(&message.src);
        let is_redirect = matches!(message.message, Discovery::Redirect { .. });
        let known = if is_redirect {
            net.routers.is_empty() || net.routers.iter().any(|(router, _)| *router == message.src)
        } else {
            net.knows(message.src, is_gateway, message.at)
        };
        if !known && !is_gateway {
            on_newcomer(cx, &self.advertised, net, message, what);
        }
    }
}

fn on_senders(cx: &mut Cx<'_>, ladder: &Ladder, net: &mut Net, senders: u32, message: &Neighbour) {
    if net.window != Some(cx.window()) {
        (net.window, net.flood, net.told) = (Some(cx.window()), 0, 0);
    }
    let step = ladder.step(senders);
    if !ladder::climb(&mut net.flood, step) {
        return;
    }
    let Some(rung) = ladder.at_step(step) else { return };
    cx.emit(Finding {
        attacker: Entity::Many,
        proto: Some(Proto::Icmp),
        text: format!("{senders} senders of router advertisements within a minute"),
        ..ladder::finding(cx, EvidenceKind::RogueRouter, message.src, rung, message.at)
    });
}

fn on_newcomer(cx: &mut Cx<'_>, ladder: &Ladder, net: &mut Net, message: &Neighbour, what: &str) {
    let contradicted = net.is_contradicted(message.at);
    let grown = |newcomer: &Newcomer| u64::from(newcomer.said);
    let Some(newcomer) = net.newcomers.get_or_insert(message.src, MAX_NEWCOMERS, grown) else { return };
    if newcomer.window != Some(cx.window()) {
        (newcomer.window, newcomer.said, newcomer.told) = (Some(cx.window()), 0, Told::default());
    }
    if newcomer.said == 0 && net.told >= MAX_TOLD {
        return;
    }
    net.told += u32::from(newcomer.said == 0);
    newcomer.said = newcomer.said.saturating_add(1);
    newcomer.pace.add(message.at, 1, MINUTE);
    let fast = newcomer.pace.sum() >= FAST && contradicted;
    let step = ladder.step(newcomer.said);
    let step = if fast { step } else { step.min(SLOW_STEP) }.max(newcomer.told.step());
    let owner = cx.facts().src_mac_owner;
    let on_link = cx.facts().src_on_link || owner.is_some();
    let proof = if on_link && message.message.link().is_none_or(|link| Some(link) == message.frame_src) {
        Proof::Proven
    } else {
        Proof::Unproven
    };
    let Some(rung) = newcomer.told.climb(ladder, step, proof, 1, message.at) else { return };
    let attacker = owner.unwrap_or(message.src);
    cx.emit(Finding {
        proto: Some(Proto::Icmp),
        profile: attacker,
        text: format!("{} {what}, {} times, and is not the network's router", message.src, newcomer.said),
        proof,
        ..ladder::finding(cx, EvidenceKind::RogueRouter, attacker, rung, message.at)
    });
}

impl Detector for RogueRouter {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn on_event(&mut self, cx: &mut Cx<'_>, event: &Event) {
        if let Event::Neighbour(message) = event {
            self.on_message(cx, message);
        }
    }

    fn forget(&mut self, slot: Slot) {
        self.links.forget(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_traces::{at, bench, levels, router_advertises};
    use slips_core::detector::Bench;

    /// A link watched for an hour, with a router that speaks every five minutes.
    fn watched() -> Bench {
        let mut bench = bench(RogueRouter::new(&Settings::default()));
        for n in 0..12 {
            assert!(bench.feed(&router_advertises("fe80::1", 1, n * 300)).is_empty());
        }
        bench
    }

    fn advertised(n: i64, gap: i64) -> Vec<Finding> {
        let mut bench = watched();
        (0..n).flat_map(|n| bench.feed(&router_advertises("fe80::66", 66, 3600 + n * gap))).collect()
    }

    #[test]
    fn a_newcomer_is_told_and_critical_when_it_insists() {
        let told = advertised(30, 3);
        assert_eq!(levels(&told), ["medium 0.6", "high 0.8", "critical 0.9"]);
        assert_eq!(told[0].attacker, Entity::Ip(at("fe80::66")));
        assert_eq!(levels(&advertised(9, 3)), ["medium 0.6", "high 0.8"]);
    }

    #[test]
    fn a_second_router_that_speaks_rarely_stays_high() {
        assert_eq!(levels(&advertised(17, 200)), ["medium 0.6", "high 0.8"]);
    }

    #[test]
    fn the_networks_routers_its_successors_and_border_routers_are_silent() {
        let mut bench = watched();
        let mut thread = router_advertises("fe80::77", 77, 3700);
        if let Event::Neighbour(message) = &mut thread
            && let Discovery::RouterAdvertisement(router) = &mut message.message
        {
            (router.lifetime, router.prefixes) = (Span(0), Vec::new());
        }
        assert!((0..50).all(|_| bench.feed(&thread).is_empty()));
        for n in 0..50 {
            let successor = router_advertises("fe80::2", 2, 3600 + 90_000 + n * 3);
            assert!(bench.feed(&successor).is_empty());
        }
    }

    #[test]
    fn a_flood_is_told_and_nobody_is_blamed() {
        let mut bench = watched();
        let told: Vec<Finding> = (0..200)
            .flat_map(|n| bench.feed(&router_advertises(&format!("fe80::a:{n:x}"), 9, 3600 + n / 10)))
            .filter(|told| told.attacker == Entity::Many)
            .collect();
        assert_eq!(levels(&told), ["medium 0.6", "high 0.8"]);
    }
}
