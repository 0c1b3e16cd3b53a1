//! A connection to a port that belongs to no known service (`UNKNOWN_PORT`), and to several such ports of one host
//! (`CONNECTION_TO_MULTIPLE_PORTS`).

use std::net::IpAddr;

use slips_core::detector::{Cx, Detector, Header, Role, Spec, Threshold, Unit};
use slips_core::event::{Event, EventKind};
use slips_core::evidence::{Entity, EvidenceKind, Finding, Proof, ThreatLevel};
use slips_core::flow::{Flow, Phase, Proto};

use crate::Settings;
use crate::ladder::rung;
use crate::steps::{Limits, Steps, in_steps};
use crate::{attempt, ports};

/// The registry's entry.
pub static SPEC: Spec = Spec {
    name: "unknown_port",
    kinds: &[EvidenceKind::UnknownPort, EvidenceKind::ConnectionToMultiplePorts],
    events: &[EventKind::Flow],
    roles: &[Role::Src],
    thresholds: &[CONNECTIONS, PORTS],
    header: Header {
        detects: "A connection to a port that belongs to no known service (`UNKNOWN_PORT`), and to several such ports \
            of one host (`CONNECTION_TO_MULTIPLE_PORTS`).",
        attack: "T1571 Non-Standard Port.",
        rule: "TCP connections of local hosts to others that were established, at ports of no known service, in \
            which no protocol was recognised; per host and port. Several ports: distinct ones of one host.",
        numbers: "The original tells each flow with high 1.0 (medium when nobody answers), which is what most of its \
            alerts are made of. Two ports are the original's for the second, with info 0.5.",
        quiet: "Low; recognised protocols are known services wherever they are; what a host fails at is for the scan \
            detections. UDP is not judged, because games, calls and peer-to-peer use any port; 16 pairs of one \
            host weigh.",
        evasion: "A known port.",
        proof: "Proven, a completed handshake.",
    },
};

/// Steps in connections to one port of one host.
pub const CONNECTIONS: Threshold = Threshold::steps(
    "connections",
    "connections to one unknown port of one host in a window",
    Unit::Count,
    &[rung(1, ThreatLevel::Low, 0.3), rung(10, ThreatLevel::Low, 0.6), rung(100, ThreatLevel::Low, 0.9)],
);
/// Told at these numbers of unknown ports of one host.
pub const PORTS: Threshold = Threshold::steps(
    "ports",
    "unknown ports of one host in a window",
    Unit::Count,
    &[rung(2, ThreatLevel::Info, 0.5), rung(8, ThreatLevel::Info, 0.5), rung(32, ThreatLevel::Info, 0.5)],
);

/// See the module.
#[derive(Debug)]
pub struct UnknownPort {
    connections: Steps<(IpAddr, u16)>,
    ports: Steps<IpAddr>,
}

impl UnknownPort {
    /// With these settings.
    pub fn new(settings: &Settings) -> Self {
        Self {
            connections: Steps::new(settings.ladder(&SPEC, &CONNECTIONS), Limits { keys: 256, weighing: 16 }),
            ports: Steps::new(settings.ladder(&SPEC, &PORTS), Limits { keys: 128, weighing: 0 }),
        }
    }
}

impl UnknownPort {
    fn on_flow(&mut self, cx: &mut Cx<'_>, flow: &Flow) {
        if !attempt::between_hosts(flow) || !self.connections.first(cx, flow) {
            return;
        }
        let towards = |finding: Finding| Finding {
            victim: Some(Entity::Ip(flow.dst.addr)),
            proto: Some(Proto::Tcp),
            proof: Proof::Proven,
            ..finding
        };
        let (dst, src, at) = (flow.dst.addr, flow.src.addr, flow.seen);
        if let Some(reached) = self.connections.add(cx, (dst, flow.dst.port), flow.uid) {
            let text = format!("{} connections to {}, a port of no known service", reached.n, flow.dst);
            let dst_port = Some(flow.dst.port);
            let finding = reached.finding(cx, EvidenceKind::UnknownPort, src, at);
            cx.emit(towards(Finding { text, dst_port, ..finding }));
        }
        if let Some(reached) = self.ports.add_distinct(cx, dst, u64::from(flow.dst.port), flow.uid) {
            let text = format!("connections to {} ports of {dst} that belong to no known service", reached.n);
            let finding = reached.finding(cx, EvidenceKind::ConnectionToMultiplePorts, src, at);
            cx.emit(towards(Finding { text, ..finding }));
        }
    }
}

impl Detector for UnknownPort {
    in_steps!(connections, ports);

    fn on_event(&mut self, cx: &mut Cx<'_>, event: &Event) {
        if let Event::Flow(flow) = event
            && flow.proto == Proto::Tcp
            // When they end, or are told again: by then a protocol would have been recognised.
            && matches!(flow.phase, Phase::Update | Phase::Closed | Phase::End)
            && flow.service.is_empty()
            && flow.dst.port != 0
            && !ports::is_known(flow.dst.port)
            && flow.is_two_way()
            && !flow.was_flipped()
            && cx.facts().src_local
        {
            self.on_flow(cx, flow);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_traces::{Talk, bench, levels};
    use slips_core::flow::{ConnState, Service};

    fn told(n: u32, port: impl Fn(u32) -> u16, vary: impl Fn(&mut Flow), kind: EvidenceKind) -> Vec<Finding> {
        let mut bench = bench(UnknownPort::new(&Settings::default()));
        let flow = |n| {
            let talk = Talk::tcp("192.168.1.5", "203.0.113.9", port(n)).carrying(50, 30);
            let mut flow = talk.uid(&format!("C{n}")).flow();
            vary(&mut flow);
            Event::Flow(flow)
        };
        let all = (0..n).flat_map(|n| bench.feed(&flow(n)));
        all.filter(|finding| finding.kind == kind).collect()
    }

    #[test]
    fn a_port_is_one_evidence_that_stays_low() {
        let port = |n| told(n, |_| 5888, |_| {}, EvidenceKind::UnknownPort);
        assert_eq!(levels(&port(9)), ["low 0.3"]);
        assert_eq!(levels(&port(500)), ["low 0.3", "low 0.6", "low 0.9"]);
    }

    #[test]
    fn sixteen_ports_weigh_and_the_second_is_told_as_several() {
        let all = told(40, |n| 40_000 + n as u16, |_| {}, EvidenceKind::UnknownPort);
        assert_eq!(levels(&all).iter().filter(|level| *level == "low 0.3").count(), 16);
        let several = |n| told(n, |n| 40_000 + n as u16, |_| {}, EvidenceKind::ConnectionToMultiplePorts);
        assert!(several(1).is_empty());
        assert_eq!(levels(&several(8)), ["info 0.5", "info 0.5"]);
    }

    #[test]
    fn known_recognised_failed_and_datagrams_are_silent() {
        let silent = |port: u16, vary: fn(&mut Flow)| {
            assert!(told(20, |_| port, vary, EvidenceKind::UnknownPort).is_empty(), "{port}");
        };
        silent(8443, |_| {});
        silent(5888, |flow| flow.service = Service::new("ssl"));
        silent(5888, |flow| flow.state = ConnState::Rej);
        silent(5888, |flow| flow.proto = Proto::Udp);
        silent(5888, |flow| flow.src.addr = [198, 51, 100, 1].into());
    }
}
