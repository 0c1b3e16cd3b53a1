//! A flow from or to port 0, which no service has and no system hands out.

use std::net::IpAddr;

use slips_core::detector::{Cx, Detector, Header, Role, Spec, Threshold, Unit};
use slips_core::event::{Event, EventKind};
use slips_core::evidence::{Entity, EvidenceKind, Finding, ThreatLevel};
use slips_core::flow::{Flow, Proto};

use crate::Settings;
use crate::attempt;
use crate::ladder::rung;
use crate::steps::{Limits, Steps, in_steps};

/// The registry's entry.
pub static SPEC: Spec = Spec {
    name: "port_zero",
    kinds: &[EvidenceKind::Port0Connection],
    events: &[EventKind::Flow],
    roles: &[Role::Src],
    thresholds: &[FLOWS],
    header: Header {
        detects: "A flow from or to port 0, which no service has and no system hands out.",
        attack: "T1595 Active Scanning (fingerprinting of systems by how they answer).",
        rule: "TCP and UDP flows between single hosts with port 0 on either side, per source and destination.",
        numbers: "The original tells each flow with high 0.8, and blames the addressee of a packet to port 0. We blame \
            who sent it, begin at medium and update one evidence.",
        quiet: "Fragments have no ports, and the sensor knows; of one source only the first four destinations weigh \
            anything, and nothing here is critical.",
        evasion: "Any other port.",
        proof: "Proven only by the hardware address; one datagram is enough to be told.",
    },
};

/// Steps in flows.
pub const FLOWS: Threshold = Threshold::steps(
    "flows",
    "flows of one source to one host in a window",
    Unit::Count,
    &[rung(1, ThreatLevel::Medium, 0.6), rung(10, ThreatLevel::High, 0.8)],
);

/// See the module.
#[derive(Debug)]
pub struct PortZero {
    flows: Steps<IpAddr>,
}

impl PortZero {
    /// With these settings.
    pub fn new(settings: &Settings) -> Self {
        Self { flows: Steps::new(settings.ladder(&SPEC, &FLOWS), Limits { keys: 64, weighing: 4 }) }
    }
}

impl PortZero {
    fn on_flow(&mut self, cx: &mut Cx<'_>, flow: &Flow) {
        let zero = flow.src.port == 0 || flow.dst.port == 0;
        if !zero || !matches!(flow.proto, Proto::Tcp | Proto::Udp) || !attempt::between_hosts(flow) {
            return;
        }
        if !self.flows.first(cx, flow) {
            return;
        }
        let Some(reached) = self.flows.add(cx, flow.dst.addr, flow.uid) else { return };
        let text = format!("{} flows with port 0, lately {} to {}", reached.n, flow.src, flow.dst);
        cx.emit(Finding {
            victim: Some(Entity::Ip(flow.dst.addr)),
            proto: Some(flow.proto),
            text,
            proof: reached.proof,
            ..reached.finding(cx, EvidenceKind::Port0Connection, flow.src.addr, flow.seen)
        });
    }
}

impl Detector for PortZero {
    in_steps!(flows);

    fn on_event(&mut self, cx: &mut Cx<'_>, event: &Event) {
        if let Event::Flow(flow) = event {
            self.on_flow(cx, flow);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_traces::{Talk, bench, levels};
    use slips_core::detector::Facts;
    use slips_core::evidence::Proof;
    use slips_core::flow::Phase;

    fn flows(n: u32, dst: &str, port: u16) -> Vec<Finding> {
        let mut bench = bench(PortZero::new(&Settings::default()));
        let flow = |n, phase| Talk::tcp("203.0.113.9", dst, port).uid(&format!("C{n}")).phase(phase).event();
        (0..n)
            .flat_map(|n| [flow(n, Phase::Start), flow(n, Phase::End)])
            .flat_map(|flow| bench.feed(&flow))
            .collect()
    }

    #[test]
    fn the_first_flow_is_told_and_then_the_tenth() {
        assert_eq!(levels(&flows(9, "192.168.1.5", 0)), ["medium 0.6"]);
        assert_eq!(levels(&flows(10, "192.168.1.5", 0)), ["medium 0.6", "high 0.8"]);
    }

    #[test]
    fn what_was_forged_is_not_proven_by_the_one_that_reaches_the_step() {
        for (forged, proof) in [(0, Proof::Proven), (9, Proof::Unproven)] {
            let mut bench = bench(PortZero::new(&Settings::default()));
            let mut last = None;
            for n in 0..10 {
                bench.facts(Facts { src_on_link: n >= forged, ..Facts::default() });
                let flow = Talk::tcp("192.168.1.9", "192.168.1.5", 0).uid(&format!("C{n}"));
                last = bench.feed(&flow.event()).pop();
            }
            assert_eq!(last.map(|told| told.proof), Some(proof), "{forged} forged");
        }
    }

    #[test]
    fn other_ports_groups_and_icmp_are_silent() {
        assert!(flows(20, "192.168.1.5", 1).is_empty());
        assert!(flows(20, "224.0.0.251", 0).is_empty());
        let mut bench = bench(PortZero::new(&Settings::default()));
        assert!(bench.feed(&Talk::icmp("192.168.1.5", "203.0.113.9", 0).event()).is_empty());
    }
}
