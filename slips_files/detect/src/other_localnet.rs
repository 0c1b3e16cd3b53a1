//! Somebody inside talks with a private network that is not ours (`DIFFERENT_LOCALNET`).

use std::net::IpAddr;

use slips_core::addr;
use slips_core::detector::{Cx, Detector, Header, Role, Spec, Threshold, Unit};
use slips_core::event::{Event, EventKind};
use slips_core::evidence::{EvidenceKind, Finding, Proof, ThreatLevel};
use slips_core::flow::{Phase, Proto};

use crate::Settings;
use crate::attempt;
use crate::ladder::rung;
use crate::steps::{Limits, Steps, in_steps, member_of_ip};

/// The registry's entry.
pub static SPEC: Spec = Spec {
    name: "other_localnet",
    kinds: &[EvidenceKind::DifferentLocalnet],
    events: &[EventKind::Flow],
    roles: &[Role::Src],
    thresholds: &[HOSTS],
    header: Header {
        detects: "Somebody inside talks with a private network that is not ours (`DIFFERENT_LOCALNET`).",
        attack: "T1018 Remote System Discovery, T1557 Adversary-in-the-Middle, T1572 Protocol Tunneling.",
        rule: "Flows between a host of ours and a private address (RFC 1918, unique local IPv6) outside the \
            networks that are ours: the router's own networks and routes live, `client_ips` for files. Distinct \
            far hosts per host of ours and window, answered or not.",
        numbers: "The original calls one flow high 1.0, guesses our network from the first private address, and finds \
            LLMNR and link-local.",
        quiet: "Single addresses, link-local, carrier-grade NAT and groups are left out; tunnels and second routers \
            make a few: low. Where our networks are not known, all private ones are ours and nothing is told. \
            One key a host weighs.",
        evasion: "Using an address of our networks.",
        proof: "Proven where the flow was two-way, or by the hardware address.",
    },
};

/// Steps in far hosts.
pub const HOSTS: Threshold = Threshold::steps(
    "hosts",
    "far hosts",
    Unit::Count,
    &[rung(1, ThreatLevel::Info, 0.8), rung(10, ThreatLevel::Low, 0.5), rung(100, ThreatLevel::Medium, 0.5)],
);

/// See the module.
#[derive(Debug)]
pub struct OtherLocalnet {
    hosts: Steps<()>,
}

impl OtherLocalnet {
    /// With these settings.
    pub fn new(settings: &Settings) -> Self {
        Self { hosts: Steps::new(settings.ladder(&SPEC, &HOSTS), Limits { keys: 1, weighing: 1 }) }
    }
}

/// A private address of an organisation: not of the link, not of a carrier, no broadcast of a network.
fn is_organisations(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(v4) => v4.is_private() && v4.octets()[3] != 255,
        IpAddr::V6(v6) => v6.octets()[0] & 0xfe == 0xfc,
    }
}

impl Detector for OtherLocalnet {
    in_steps!(hosts);

    fn on_event(&mut self, cx: &mut Cx<'_>, event: &Event) {
        let Event::Flow(flow) = event else { return };
        let facts = cx.facts();
        let judged = flow.phase == Phase::End
            && matches!(flow.proto, Proto::Tcp | Proto::Udp)
            && facts.src_local
            && !facts.dst_local
            && is_organisations(flow.dst.addr)
            && addr::is_interesting(flow.src.addr);
        if !judged {
            return;
        }
        let proof = if flow.is_two_way() { Proof::Proven } else { attempt::proof_of_source(facts) };
        let member = member_of_ip(flow.dst.addr);
        let Some(reached) = self.hosts.add_proven(cx, (), member, flow.uid, proof) else { return };
        let text = format!("{} hosts of private networks that are not ours, lately {}", reached.n, flow.dst);
        let proof = reached.proof;
        let finding = reached.finding(cx, EvidenceKind::DifferentLocalnet, flow.src.addr, flow.seen);
        cx.emit(Finding { proto: Some(flow.proto), text, proof, ..finding });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_traces::{Talk, at, levels};
    use slips_core::addr::{LocalNets, Net};
    use slips_core::detector::Bench;

    fn told(dsts: impl Iterator<Item = String>) -> Vec<String> {
        let ours = Net::new(at("192.168.1.0"), 24).into_iter().collect();
        let mut bench = Bench::new(Box::new(OtherLocalnet::new(&Settings::default())));
        bench.local_nets(LocalNets::new(ours));
        let all: Vec<Finding> = dsts
            .enumerate()
            .flat_map(|(n, dst)| {
                bench.feed(&Talk::tcp("192.168.1.5", &dst, 445).uid(&format!("C{n}")).event())
            })
            .collect();
        levels(&all)
    }

    #[test]
    fn hosts_of_another_private_network_are_counted() {
        assert_eq!(told((1..=9).map(|n| format!("10.0.0.{n}"))), ["info 0.8"]);
        assert_eq!(told((1..=200).map(|n| format!("10.0.0.{n}"))), ["info 0.8", "low 0.5", "medium 0.5"]);
        assert_eq!(told(["fd00::9".to_owned()].into_iter()), ["info 0.8"]);
    }

    #[test]
    fn ours_the_link_carriers_groups_and_the_world_are_silent() {
        let quiet = [
            "192.168.1.9",
            "169.254.1.1",
            "100.64.0.9",
            "224.0.0.251",
            "203.0.113.9",
            "10.0.0.255",
            "fe80::1",
        ];
        assert!(told(quiet.into_iter().map(str::to_owned)).is_empty());
    }
}
