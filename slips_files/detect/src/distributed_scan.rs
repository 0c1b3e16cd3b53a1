//! A scan that many sources of one network share (`DISTRIBUTED_SCAN`), as the scanned host sees it.

use std::net::IpAddr;

use slips_core::detector::{Cx, Detector, Header, Role, Slot, Spec, Threshold, Unit};
use slips_core::event::{Event, EventKind};
use slips_core::evidence::{Entity, EvidenceKind, Finding, ThreatLevel};
use slips_core::flow::{Flow, Proto};
use slips_core::state::PerSlot;
use slips_core::time::WindowId;

use crate::ladder::{self, Ladder, rung};
use crate::steps::member_of_ip;
use crate::table::Table;
use crate::tally::{Distinct, Trail};
use crate::{Settings, attempt};

/// The registry's entry.
pub static SPEC: Spec = Spec {
    name: "distributed_scan",
    kinds: &[EvidenceKind::DistributedScan],
    events: &[EventKind::Flow],
    roles: &[Role::Dst],
    thresholds: &[PORTS],
    header: Header {
        detects: "A scan that many sources of one network share (`DISTRIBUTED_SCAN`), as the scanned host sees it.",
        attack: "T1046 Network Service Discovery, T1595.001 Active Scanning: Scanning IP Blocks, T1090 Proxy.",
        rule: "Per host of ours and network outside (/24, IPv6 /48), the distinct ports at which sources of that \
            network failed in a window, where at least four sources took part and none of them failed at half of \
            the ports or more (such a one is a scan of its own).",
        numbers: "The scanners that map the internet for everybody ask a host for a few ports a day from a network; 20 \
            in an hour, by turns, is one scan in parts.",
        quiet: "Failures are counted as for the other scans: datagrams that may be answers, and hosts with which \
            ours talked lately, are left out. It weighs on nobody.",
        evasion: "Sources of many networks; fewer ports an hour.",
        proof: "Unproven: nobody is blamed; whoever forges the addresses of a network gets nobody blocked.",
    },
};

/// Steps in ports at which sources of one network failed.
pub const PORTS: Threshold = Threshold::steps(
    "ports",
    "ports of one of our hosts at which sources of one network fail in a window",
    Unit::Count,
    &[rung(20, ThreatLevel::Low, 0.7), rung(60, ThreatLevel::Medium, 0.8), rung(200, ThreatLevel::High, 0.8)],
);

/// Sources that must take part.
const LEAST_SOURCES: usize = 4;
/// Networks per host of ours, and sources of one; those that failed least make room.
const MAX_NETWORKS: usize = 16;
const MAX_SOURCES: usize = 32;

#[derive(Debug, Default)]
struct Network {
    ports: Distinct<u16>,
    /// New ports by source.
    sources: Table<u64, u32>,
    /// The most of one source.
    most: u32,
    trail: Trail,
    told: u8,
}

/// A host of ours. Most are failed at once: they cost no more than this.
#[derive(Debug, Default)]
struct Target {
    window: Option<WindowId>,
    /// Network, source and port of the first failure.
    first: Option<(u64, u64, u16)>,
    networks: Option<Box<Table<u64, Network>>>,
}

/// See the module.
#[derive(Debug)]
pub struct DistributedScan {
    ports: Ladder,
    targets: PerSlot<Target>,
}

/// The network of an outside address: /24, or /48 by IPv6.
fn network_of(addr: IpAddr) -> u64 {
    match addr {
        IpAddr::V4(v4) => u64::from(v4.to_bits() >> 8),
        IpAddr::V6(v6) => (v6.to_bits() >> 80) as u64 | 1 << 63,
    }
}

fn shown(addr: IpAddr) -> String {
    match addr {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            format!("{a}.{b}.{c}.0/24")
        }
        IpAddr::V6(v6) => {
            let [a, b, c, ..] = v6.segments();
            format!("{a:x}:{b:x}:{c:x}::/48")
        }
    }
}

impl Target {
    /// Adds a failure; its network, if the port is new there.
    fn add(&mut self, window: WindowId, flow: &Flow) -> Option<&mut Network> {
        // A late flow of an older window counts in the newer one.
        if self.window.is_none_or(|known| known < window) {
            *self = Self { window: Some(window), ..Self::default() };
        }
        let failure = (network_of(flow.src.addr), member_of_ip(flow.src.addr), flow.dst.port);
        let Some(first) = self.first else {
            self.first = Some(failure);
            return None;
        };
        let networks = self.networks.get_or_insert_with(|| {
            let mut networks = Box::<Table<u64, Network>>::default();
            if let Some(network) = networks.get_or_insert(first.0, MAX_NETWORKS, |_| 0) {
                network.add(first.1, first.2);
            }
            networks
        });
        let grown = |network: &Network| u64::from(network.ports.len());
        let network = networks.get_or_insert(failure.0, MAX_NETWORKS, grown)?;
        if !network.add(failure.1, failure.2) {
            return None;
        }
        if network.ports.len() > 1 {
            network.trail.push(flow.uid);
        }
        Some(network)
    }
}

impl Network {
    /// Adds a port at which a source failed; whether it is new.
    fn add(&mut self, source: u64, port: u16) -> bool {
        if !self.ports.insert(port) {
            return false;
        }
        if let Some(ports) = self.sources.get_or_insert(source, MAX_SOURCES, |ports| u64::from(*ports)) {
            *ports += 1;
            self.most = self.most.max(*ports);
        }
        true
    }
}

impl DistributedScan {
    /// With these settings.
    pub fn new(settings: &Settings) -> Self {
        Self { ports: settings.ladder(&SPEC, &PORTS), targets: PerSlot::default() }
    }

    fn on_failure(&mut self, cx: &mut Cx<'_>, flow: &Flow) {
        let target = self.targets.get_or_default(cx.slot());
        let Some(network) = target.add(cx.window(), flow) else { return };
        let ports = network.ports.len();
        let step = self.ports.step(ports);
        let shared = network.sources.len() >= LEAST_SOURCES && network.most.saturating_mul(2) < ports;
        if !shared || !ladder::climb(&mut network.told, step) {
            return;
        }
        let Some(rung) = self.ports.at_step(step) else { return };
        let sources = network.sources.len();
        let text =
            format!("{sources} sources of {} scan together: {ports} ports failed", shown(flow.src.addr));
        let uids = network.trail.take();
        cx.emit(Finding {
            attacker: Entity::Many,
            victim: Some(Entity::Ip(flow.dst.addr)),
            proto: Some(flow.proto),
            text,
            uids,
            ..ladder::finding(cx, EvidenceKind::DistributedScan, flow.dst.addr, rung, flow.seen)
        });
    }
}

impl Detector for DistributedScan {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn on_event(&mut self, cx: &mut Cx<'_>, event: &Event) {
        let Event::Flow(flow) = event else { return };
        let facts = cx.facts();
        if matches!(flow.proto, Proto::Tcp | Proto::Udp)
            && facts.dst_local
            && !facts.src_local
            && !facts.src_talked
            && attempt::failed(flow)
            && attempt::between_hosts(flow)
            && !attempt::looks_like_answer(flow, facts)
            && !flow.was_flipped()
        {
            self.on_failure(cx, flow);
        }
    }

    fn forget(&mut self, slot: Slot) {
        self.targets.forget(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_traces::{Talk, bench, levels};

    fn told(ports: u16, source: impl Fn(u16) -> String) -> Vec<Finding> {
        let mut bench = bench(DistributedScan::new(&Settings::default()));
        (0..ports)
            .flat_map(|n| {
                bench.feed(&Talk::tcp(&source(n), "192.168.1.2", 1000 + n).uid(&format!("C{n}")).event())
            })
            .collect()
    }

    #[test]
    fn ports_shared_by_sources_of_a_network_are_one_scan() {
        let by_turns = |n: u16| format!("203.0.113.{}", n % 8 + 1);
        assert!(told(19, by_turns).is_empty());
        let all = told(250, by_turns);
        assert_eq!(levels(&all), ["low 0.7", "medium 0.8", "high 0.8"]);
        assert!(all.iter().all(|told| told.attacker == Entity::Many && told.text.contains("203.0.113.0/24")));
        assert_eq!(levels(&told(30, |n| format!("2001:db8:7:{n:x}::1"))), ["low 0.7"]);
    }

    #[test]
    fn one_source_few_sources_and_the_worlds_noise_are_silent() {
        assert!(told(250, |_| "203.0.113.1".into()).is_empty());
        assert!(told(250, |n| format!("203.0.113.{}", n % 3 + 1)).is_empty());
        assert!(told(250, |n| format!("203.0.{n}.1")).is_empty());
        assert!(told(250, |n| format!("192.168.7.{}", n % 8 + 1)).is_empty(), "ours");
    }

    #[test]
    fn forged_networks_never_grow_the_state() {
        let mut bench = bench(DistributedScan::new(&Settings::default()));
        let mut target = Target::default();
        for n in 0..20_000u32 {
            let [_, a, b, c] = n.wrapping_mul(2_654_435_761).to_be_bytes();
            let flow =
                Talk::tcp(&format!("198.{a}.{b}.{c}"), "192.168.1.2", n as u16).uid(&format!("C{n}")).flow();
            target.add(WindowId(1), &flow);
            assert!(bench.feed(&Event::Flow(flow)).is_empty());
        }
        assert_eq!(target.networks.map(|networks| networks.len()), Some(MAX_NETWORKS));
    }
}
