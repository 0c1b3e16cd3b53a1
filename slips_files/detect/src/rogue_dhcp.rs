//! Forged address service: a DHCP server that is not the network's (`ROGUE_DHCP_SERVER`), and clients that use it up
//! (`DHCP_STARVATION`).

use std::net::IpAddr;

use slips_core::detector::{Cx, Detector, Header, Role, Slot, Spec, Threshold, Unit};
use slips_core::event::{Dhcp, Event, EventKind};
use slips_core::evidence::{Entity, EvidenceKind, Finding, Proof, ThreatLevel};
use slips_core::flow::{MacAddr, Proto};
use slips_core::moving::Gateways;
use slips_core::state::PerSlot;
use slips_core::time::{PacketTime, Span, WindowId};

use crate::Settings;
use crate::ladder::{self, Ladder, Told, rung};
use crate::table::Table;
use crate::tally::{Distinct, Lately, Trail};

/// The registry's entry.
pub static SPEC: Spec = Spec {
    name: "rogue_dhcp",
    kinds: &[EvidenceKind::RogueDhcpServer, EvidenceKind::DhcpStarvation],
    events: &[EventKind::Dhcp],
    roles: &[Role::Link],
    thresholds: &[CLIENTS, ASKING],
    header: Header {
        detects: "Forged address service: a DHCP server that is not the network's (`ROGUE_DHCP_SERVER`), and clients \
            that use it up (`DHCP_STARVATION`).",
        attack: "T1557.003 Adversary-in-the-Middle: DHCP Spoofing; T1498 Network Denial of Service for starvation.",
        rule: "Servers: who gives addresses on a link within ten minutes of the first DHCP seen there is its \
            server, and so are the gateways named in the settings; where a gateway serves, everybody else is a \
            newcomer at once. Distinct clients to whom a newcomer offered an address, or who chose it, per window. \
            Critical only after one of the network's servers answered the same clients twice; by DHCPv6 high also \
            where clients asked in vain before (mitm6). Starvation: distinct hardware addresses that ask within a \
            minute.",
        numbers: "A household has one server and a campus a fail-over pair that both answer from the start. Six \
            clients led away while the network's server is there is no misunderstanding. dhcpstarv, yersinia and \
            dhcpig ask with 30 to 1,000 addresses a minute; an office of a hundred after a power cut reaches the \
            first step.",
        quiet: "A server that replaced another one is not contradicted, nor is one of a pair that shares the clients \
            among itself: medium at most, and the network's after a day of silence of the old ones. What came \
            through a relay is another link's and is not judged.",
        evasion: "Serving first; offering in the name of the network's server; answering single victims (medium).",
        proof: "Unproven; an offer is a datagram. Nobody is blamed for starvation: its hardware addresses are made \
            up.",
    },
};

/// Steps in clients to whom a newcomer offered an address.
pub const CLIENTS: Threshold = Threshold::steps(
    "clients",
    "clients to whom a new server offers addresses in a window",
    Unit::Count,
    &[
        rung(1, ThreatLevel::Medium, 0.6),
        rung(3, ThreatLevel::High, 0.8),
        rung(6, ThreatLevel::Critical, 0.9),
    ],
);
/// Steps in hardware addresses that ask within a minute.
pub const ASKING: Threshold = Threshold::steps(
    "asking",
    "hardware addresses that ask for an address within a minute",
    Unit::Count,
    &[
        rung(40, ThreatLevel::Low, 0.6),
        rung(100, ThreatLevel::Medium, 0.8),
        rung(300, ThreatLevel::High, 0.9),
    ],
)
.within(2, 320);

/// How long a link is watched before a server is a newcomer.
const LEARNING: Span = Span::from_secs(600);
/// A server that was silent for so long is gone.
const GONE_AFTER: Span = Span::from_secs(86_400);
/// Steps of [`CLIENTS`] without a contradiction: of a server that may have replaced another, and of the first one ever.
const REPLACED_STEP: u8 = 1;
const FIRST_STEP: u8 = 2;
/// The highest step of [`CLIENTS`]: the network's own server answers too.
const CONTRADICTED_STEP: u8 = 3;
/// Transactions in which both answered; a pair that shares the clients among itself never does.
const CONTESTED: u32 = 2;
const MINUTE: Span = Span::from_secs(60);
/// Links, servers of a link, newcomers that are remembered.
const MAX_LINKS: usize = 64;
const MAX_SERVERS: usize = 8;
const MAX_NEWCOMERS: usize = 16;
/// Newcomers that are told in one window; forged ones could be any number.
const MAX_TOLD: u32 = 16;
/// Hardware addresses that are remembered for a minute: a little above the last step.
const MAX_ASKING: usize = 320;

#[derive(Debug, Default)]
struct Newcomer {
    /// Transactions in which one of the network's servers answered, too.
    contested: u32,
    clients: Distinct<u64>,
    trail: Trail,
    window: Option<WindowId>,
    told: Told,
}

#[derive(Debug, Default)]
struct Net {
    since: Option<PacketTime>,
    /// The network's servers, when they were last seen, and whether they are gateways.
    servers: Vec<(IpAddr, PacketTime, bool)>,
    newcomers: Table<IpAddr, Newcomer>,
    asking: Lately<MacAddr>,
    window: Option<WindowId>,
    starving: u8,
    told: u32,
}

/// See the module.
#[derive(Debug)]
pub struct RogueDhcp {
    clients: Ladder,
    asking: Ladder,
    gateways: Gateways,
    links: PerSlot<Table<(u16, bool), Net>>,
}

impl Net {
    /// Whether `server` is the network's, learning it if it may be.
    fn knows(&mut self, server: IpAddr, is_gateway: bool, since: PacketTime, at: PacketTime) -> bool {
        if let Some((_, seen, _)) = self.servers.iter_mut().find(|(known, ..)| *known == server) {
            *seen = at.max(*seen);
            return true;
        }
        let had = !self.servers.is_empty();
        self.servers.retain(|(_, seen, _)| at.since(*seen) <= GONE_AFTER);
        let succeeds = had && self.servers.is_empty();
        let gateway_serves = self.servers.iter().any(|(.., is_gateway)| *is_gateway);
        let learns = is_gateway || succeeds || (at.since(since) <= LEARNING && !gateway_serves);
        if learns && self.servers.len() < MAX_SERVERS {
            self.servers.push((server, at, is_gateway));
        }
        learns
    }

    /// The highest step for a newcomer.
    fn top(&self, is_six: bool, contested: u32) -> u8 {
        if contested >= CONTESTED {
            CONTRADICTED_STEP
        } else if is_six && self.servers.is_empty() {
            FIRST_STEP
        } else {
            REPLACED_STEP
        }
    }
}

impl RogueDhcp {
    /// With these settings.
    pub fn new(settings: &Settings) -> Self {
        Self {
            clients: settings.ladder(&SPEC, &CLIENTS),
            asking: settings.ladder(&SPEC, &ASKING),
            gateways: settings.gateways.clone(),
            links: PerSlot::default(),
        }
    }

    fn on_dhcp(&mut self, cx: &mut Cx<'_>, dhcp: &Dhcp) {
        if dhcp.relay.is_some() {
            return;
        }
        let is_six = [dhcp.server, dhcp.client].into_iter().flatten().any(|addr| addr.is_ipv6());
        let links = self.links.get_or_default(cx.slot());
        let Some(net) = links.get_or_insert((dhcp.interface, is_six), MAX_LINKS, |_| 0) else { return };
        if net.window != Some(cx.window()) {
            (net.window, net.starving, net.told) = (Some(cx.window()), 0, 0);
        }
        if let Some(mac) = dhcp.mac {
            on_asking(cx, &self.asking, net, dhcp, mac);
        }
        let since = *net.since.get_or_insert(dhcp.at);
        let servers = || dhcp.other_servers.iter().copied().chain(dhcp.server);
        // The network's own first: who answers with them in the same transaction is contradicted.
        let mut contested = false;
        for at_first in [true, false] {
            for server in servers() {
                let is_gateway = self.gateways.contains(&server);
                let is_known = is_gateway || net.servers.iter().any(|(known, ..)| *known == server);
                contested |= is_known;
                if is_known == at_first && !net.knows(server, is_gateway, since, dhcp.at) {
                    on_newcomer(cx, &self.clients, net, dhcp, Newcome { server, contested });
                }
            }
        }
    }
}

/// A server that is not the network's, and whether one of those answered in the same transaction.
#[derive(Clone, Copy)]
struct Newcome {
    server: IpAddr,
    contested: bool,
}

fn on_newcomer(cx: &mut Cx<'_>, ladder: &Ladder, net: &mut Net, dhcp: &Dhcp, newcome: Newcome) {
    let Newcome { server, contested } = newcome;
    let is_six = server.is_ipv6();
    let grown = |newcomer: &Newcomer| u64::from(newcomer.clients.len());
    let Some(newcomer) = net.newcomers.get_or_insert(server, MAX_NEWCOMERS, grown) else { return };
    if newcomer.window != Some(cx.window()) {
        *newcomer =
            Newcomer { window: Some(cx.window()), contested: newcomer.contested, ..Newcomer::default() };
    }
    newcomer.contested = newcomer.contested.saturating_add(u32::from(contested));
    let mac = dhcp.mac.unwrap_or(MacAddr::ZERO);
    let [a, b, c, d, e, f] = mac.0;
    if !newcomer.clients.insert(u64::from_be_bytes([0, 0, a, b, c, d, e, f])) {
        return;
    }
    if newcomer.clients.len() == 1 {
        if net.told >= MAX_TOLD {
            return;
        }
        net.told += 1;
    }
    newcomer.trail.push(dhcp.uids.first().copied().unwrap_or_default());
    let (clients, contested) = (newcomer.clients.len(), newcomer.contested);
    let mut told = newcomer.told;
    let top = net.top(is_six, contested);
    let step = ladder.step(clients).min(top).max(told.step());
    let rung = told.climb(ladder, step, Proof::Unproven, 1, dhcp.at);
    let Some(newcomer) = net.newcomers.get_mut(&server) else { return };
    newcomer.told = told;
    let Some(rung) = rung else { return };
    let but =
        if top == CONTRADICTED_STEP { ", while the network's own server answers them, too" } else { "" };
    let version = if is_six { "DHCPv6" } else { "DHCP" };
    cx.emit(Finding {
        proto: Some(Proto::Udp),
        profile: server,
        uids: newcomer.trail.take(),
        text: format!("{server} is a new {version} server and offered addresses to {clients} clients{but}"),
        ..ladder::finding(cx, EvidenceKind::RogueDhcpServer, server, rung, dhcp.at)
    });
}

fn on_asking(cx: &mut Cx<'_>, ladder: &Ladder, net: &mut Net, dhcp: &Dhcp, mac: MacAddr) {
    if !dhcp.msg_types.iter().any(|kind| matches!(kind.as_str(), "DISCOVER" | "REQUEST" | "SOLICIT")) {
        return;
    }
    let asking = net.asking.insert(mac, dhcp.at, MINUTE, MAX_ASKING);
    let step = ladder.step(asking);
    if !ladder::climb(&mut net.starving, step) {
        return;
    }
    let Some(rung) = ladder.at_step(step) else { return };
    let uids = dhcp.uids.iter().take(1).copied().collect();
    cx.emit(Finding {
        attacker: Entity::Many,
        proto: Some(Proto::Udp),
        uids,
        text: format!("{asking} hardware addresses ask for an address by DHCP within a minute"),
        ..ladder::finding(cx, EvidenceKind::DhcpStarvation, cx.profile(), rung, dhcp.at)
    });
}

impl Detector for RogueDhcp {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn on_event(&mut self, cx: &mut Cx<'_>, event: &Event) {
        if let Event::Dhcp(dhcp) = event {
            self.on_dhcp(cx, dhcp);
        }
    }

    fn forget(&mut self, slot: Slot) {
        self.links.forget(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_traces::{at, bench, levels, secs};
    use slips_core::detector::Bench;

    /// The `n`-th client asks, and these servers answer.
    fn asks(bench: &mut Bench, n: u16, servers: &[&str], second: i64) -> Vec<Finding> {
        let [high, low] = n.to_be_bytes();
        let mut servers: Vec<IpAddr> = servers.iter().map(|server| at(server)).collect();
        bench.feed(&Event::Dhcp(Box::new(Dhcp {
            at: secs(second),
            server: servers.pop(),
            other_servers: servers,
            mac: Some(MacAddr([2, 0, 0, 0, high, low])),
            msg_types: vec!["DISCOVER".into()],
            ..Dhcp::default()
        })))
    }

    fn watched(settings: &Settings) -> Bench {
        let mut bench = bench(RogueDhcp::new(settings));
        assert!(asks(&mut bench, 1, &["192.168.1.1"], 0).is_empty());
        bench
    }

    fn rogue(clients: u16, servers: &[&str]) -> Vec<Finding> {
        let mut bench = watched(&Settings::default());
        (0..clients).flat_map(|n| asks(&mut bench, n, servers, 700 + i64::from(n) * 60)).collect()
    }

    #[test]
    fn a_second_server_is_critical_when_it_leads_six_clients_away() {
        let both = ["192.168.1.66", "192.168.1.1"];
        let told = rogue(9, &both);
        assert_eq!(levels(&told), ["medium 0.6", "high 0.8", "critical 0.9"]);
        assert_eq!(told[0].attacker, Entity::Ip(at("192.168.1.66")));
        assert_eq!(levels(&rogue(5, &both)), ["medium 0.6", "high 0.8"]);
    }

    #[test]
    fn where_the_gateway_serves_nobody_else_is_learnt() {
        let settings = Settings::with_gateways(vec![at("192.168.1.1")]);
        let mut bench = watched(&settings);
        assert_eq!(levels(&asks(&mut bench, 2, &["192.168.1.66", "192.168.1.1"], 60)), ["medium 0.6"]);
    }

    #[test]
    fn a_server_that_replaces_another_is_medium_and_the_networks_after_a_day() {
        assert_eq!(levels(&rogue(40, &["192.168.1.2"])), ["medium 0.6"]);
        let mut bench = watched(&Settings::default());
        assert!((0..30).all(|n| asks(&mut bench, n, &["192.168.1.2"], 90_000 + i64::from(n)).is_empty()));
    }

    #[test]
    fn a_pair_that_shares_the_clients_is_never_contradicted() {
        let mut bench = watched(&Settings::default());
        let told: Vec<Finding> = (0..60)
            .flat_map(|n| {
                let server = ["192.168.1.1", "192.168.1.2"][usize::from(n % 2)];
                asks(&mut bench, n, &[server], 700 + i64::from(n) * 20)
            })
            .collect();
        assert_eq!(levels(&told), ["medium 0.6"]);
    }

    #[test]
    fn pairs_from_the_start_renewals_and_relays_are_silent() {
        let mut bench = bench(RogueDhcp::new(&Settings::default()));
        for n in 0..20 {
            let pair = ["192.168.1.2", "192.168.1.1"];
            assert!(asks(&mut bench, n, &pair, i64::from(n) * 300).is_empty());
            let relayed = Dhcp {
                at: secs(i64::from(n) * 300),
                server: Some(at("10.9.9.9")),
                relay: Some(at("192.168.1.1")),
                ..Dhcp::default()
            };
            assert!(bench.feed(&Event::Dhcp(Box::new(relayed))).is_empty());
        }
    }

    #[test]
    fn starvation_is_told_and_nobody_is_blamed() {
        let asking = |n: u16, per_second: i64| -> Vec<Finding> {
            let mut bench = watched(&Settings::default());
            (0..n).flat_map(|n| asks(&mut bench, n, &[], 10 + i64::from(n) / per_second)).collect()
        };
        let told = asking(400, 20);
        assert_eq!(levels(&told), ["low 0.6", "medium 0.8", "high 0.9"]);
        assert!(told.iter().all(|told| told.attacker == Entity::Many));
        assert!(asking(38, 20).is_empty());
    }
}
