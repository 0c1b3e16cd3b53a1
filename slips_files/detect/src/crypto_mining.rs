//! A host that mines for somebody (`CRYPTO_MINING`).

use std::net::IpAddr;

use slips_core::detector::{Cx, Detector, Header, Role, Spec, Threshold, Unit};
use slips_core::event::{Event, EventKind};
use slips_core::evidence::{Entity, EvidenceKind, Finding, Proof, ThreatLevel};
use slips_core::flow::{Flow, Phase, Proto};

use crate::Settings;
use crate::ladder::rung;
use crate::steps::{Limits, Steps, in_steps};

/// The registry's entry.
pub static SPEC: Spec = Spec {
    name: "crypto_mining",
    kinds: &[EvidenceKind::CryptoMining],
    events: &[EventKind::Flow],
    roles: &[Role::Src],
    thresholds: &[CONNECTIONS],
    header: Header {
        detects: "A host that mines for somebody (`CRYPTO_MINING`).",
        attack: "T1496 Resource Hijacking.",
        rule: "A connection of a local host in which Stratum was recognised by content, per server and port.",
        numbers: "Medium 0.7 for the first, high from the tenth on: programs that come with malware reconnect for \
            ever.",
        quiet: "Nothing else speaks Stratum. Who mines on purpose adds its pool to the whitelist; a single pool \
            weighs 0.64 an hour and is never an alert by itself. Four servers weigh.",
        evasion: "Stratum over TLS.",
        proof: "Proven, a completed handshake.",
    },
};

/// Steps in connections to one server.
pub const CONNECTIONS: Threshold = Threshold::steps(
    "connections",
    "connections to one server in a window",
    Unit::Count,
    &[rung(1, ThreatLevel::Medium, 0.7), rung(10, ThreatLevel::High, 0.8)],
);

/// See the module.
#[derive(Debug)]
pub struct CryptoMining {
    servers: Steps<(IpAddr, u16)>,
}

impl CryptoMining {
    /// With these settings.
    pub fn new(settings: &Settings) -> Self {
        Self { servers: Steps::new(settings.ladder(&SPEC, &CONNECTIONS), Limits { keys: 64, weighing: 4 }) }
    }
}

impl CryptoMining {
    fn on_flow(&mut self, cx: &mut Cx<'_>, flow: &Flow) {
        if !self.servers.first(cx, flow) {
            return;
        }
        let Some(reached) = self.servers.add(cx, (flow.dst.addr, flow.dst.port), flow.uid) else { return };
        let text = format!("mining: {} connections to the pool {}", reached.n, flow.dst);
        cx.emit(Finding {
            victim: Some(Entity::Ip(flow.dst.addr)),
            proto: Some(Proto::Tcp),
            dst_port: Some(flow.dst.port),
            text,
            proof: Proof::Proven,
            ..reached.finding(cx, EvidenceKind::CryptoMining, flow.src.addr, flow.seen)
        });
    }
}

impl Detector for CryptoMining {
    in_steps!(servers);

    fn on_event(&mut self, cx: &mut Cx<'_>, event: &Event) {
        if let Event::Flow(flow) = event
            && flow.has_service("stratum")
            && matches!(flow.phase, Phase::Update | Phase::Closed | Phase::End)
            && flow.is_two_way()
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

    fn told(n: u32, service: &str, src: &str) -> Vec<Finding> {
        let mut bench = bench(CryptoMining::new(&Settings::default()));
        let mut flow = Talk::tcp(src, "203.0.113.9", 3333).carrying(500, 900).flow();
        flow.service = service.into();
        (0..n)
            .flat_map(|n| {
                bench.feed(&Event::Flow(Flow { uid: format!("C{n}").as_str().into(), ..flow.clone() }))
            })
            .collect()
    }

    #[test]
    fn the_first_connection_and_the_tenth_are_told() {
        assert_eq!(levels(&told(9, "stratum", "192.168.1.5")), ["medium 0.7"]);
        assert_eq!(levels(&told(500, "stratum", "192.168.1.5")), ["medium 0.7", "high 0.8"]);
    }

    #[test]
    fn other_protocols_and_other_peoples_hosts_are_silent() {
        assert!(told(50, "http", "192.168.1.5").is_empty());
        assert!(told(50, "stratum", "198.51.100.7").is_empty());
    }
}
