//! One of our hosts goes from one neighbour's management port to the next (`LATERAL_MOVEMENT`).

use slips_core::detector::{Cx, Detector, Header, Role, Spec, Threshold, Unit};
use slips_core::event::{Event, EventKind};
use slips_core::evidence::{EvidenceKind, Finding, Proof, ThreatLevel};
use slips_core::flow::{Flow, Outcome, Phase, Proto};

use crate::Settings;
use crate::attempt;
use crate::ladder::rung;
use crate::steps::{Limits, Steps, in_steps, member_of_ip};

/// The registry's entry.
pub static SPEC: Spec = Spec {
    name: "lateral_movement",
    kinds: &[EvidenceKind::LateralMovement],
    events: &[EventKind::Flow],
    roles: &[Role::Src],
    thresholds: &[HOSTS, HOSTS_SSH],
    header: Header {
        detects: "One of our hosts goes from one neighbour's management port to the next (`LATERAL_MOVEMENT`).",
        attack: "T1021 Remote Services (.001 RDP, .002 SMB, .004 SSH, .006 WinRM), T1570 Lateral Tool Transfer.",
        rule: "Distinct local hosts at which a local host got a connection through, per window and port: SMB (139, \
            445), RPC (135), RDP (3389), WinRM (5985, 5986), VNC (5900), SSH (22), telnet (23). Attempts that \
            fail are for the scan detections.",
        numbers: "Clients use few file servers and fewer desktops. Steps at 10, 25 and 60 hosts; one step of SSH less, \
            because that is how machines are managed. Worms reach 60 hosts within minutes.",
        quiet: "It is never critical: a backup or management server at most gathers 0.72 a port and window.",
        evasion: "Few hosts an hour; other protocols; hosts behind the same switch whose frames do not pass the \
            router.",
        proof: "Proven, a completed handshake.",
    },
};

/// Steps in hosts at one port.
pub const HOSTS: Threshold = Threshold::steps(
    "hosts",
    "local hosts at which a local host gets through to one port in a window",
    Unit::Count,
    &[rung(10, ThreatLevel::Low, 0.7), rung(25, ThreatLevel::Medium, 0.8), rung(60, ThreatLevel::High, 0.9)],
);
/// The same for SSH.
pub const HOSTS_SSH: Threshold = Threshold::steps(
    "ssh_hosts",
    "local hosts at which a local host gets through by SSH in a window",
    Unit::Count,
    &[rung(25, ThreatLevel::Low, 0.6), rung(60, ThreatLevel::Medium, 0.6)],
);
const SSH: u16 = 22;
const PORTS: [u16; 8] = [23, 135, 139, 445, 3389, 5900, 5985, 5986];

/// See the module.
#[derive(Debug)]
pub struct LateralMovement {
    hosts: Steps<u16>,
    hosts_ssh: Steps<u16>,
}

impl LateralMovement {
    /// With these settings.
    pub fn new(settings: &Settings) -> Self {
        let limits = Limits { keys: PORTS.len(), weighing: PORTS.len() as u32 };
        Self {
            hosts: Steps::new(settings.ladder(&SPEC, &HOSTS), limits),
            hosts_ssh: Steps::new(settings.ladder(&SPEC, &HOSTS_SSH), limits),
        }
    }
}

impl LateralMovement {
    fn on_flow(&mut self, cx: &mut Cx<'_>, flow: &Flow) {
        let hosts = if flow.dst.port == SSH { &mut self.hosts_ssh } else { &mut self.hosts };
        let member = member_of_ip(flow.dst.addr);
        let Some(reached) = hosts.add_distinct(cx, flow.dst.port, member, flow.uid) else { return };
        let text = format!("connections to port {} of {} of our hosts", flow.dst.port, reached.n);
        cx.emit(Finding {
            proto: Some(Proto::Tcp),
            dst_port: Some(flow.dst.port),
            text,
            proof: Proof::Proven,
            ..reached.finding(cx, EvidenceKind::LateralMovement, flow.src.addr, flow.seen)
        });
    }
}

impl Detector for LateralMovement {
    in_steps!(hosts, hosts_ssh);

    fn on_event(&mut self, cx: &mut Cx<'_>, event: &Event) {
        let facts = cx.facts();
        if let Event::Flow(flow) = event
            && flow.proto == Proto::Tcp
            && (flow.dst.port == SSH || PORTS.contains(&flow.dst.port))
            && facts.src_local
            && facts.dst_local
            && matches!(flow.phase, Phase::Update | Phase::Closed | Phase::End)
            && flow.outcome() == Outcome::Established
            && flow.is_two_way()
            && flow.orig.bytes > 0
            && attempt::between_hosts(flow)
        {
            self.on_flow(cx, flow);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_traces::{Talk, bench, levels};

    fn told(hosts: u32, port: u16, dst: &str, bytes: u64) -> Vec<Finding> {
        let mut bench = bench(LateralMovement::new(&Settings::default()));
        (0..hosts * 2)
            .flat_map(|n| {
                let flow = Talk::tcp("192.168.1.5", &format!("{dst}.{}", n % hosts), port);
                bench.feed(&flow.carrying(bytes, 900).event())
            })
            .collect()
    }

    #[test]
    fn hosts_are_counted_once_and_steps_told_once() {
        assert!(told(9, 445, "192.168.1", 100).is_empty());
        assert_eq!(levels(&told(10, 445, "192.168.1", 100)), ["low 0.7"]);
        assert_eq!(levels(&told(200, 3389, "192.168.1", 100)), ["low 0.7", "medium 0.8", "high 0.9"]);
        assert_eq!(levels(&told(200, 22, "192.168.1", 100)), ["low 0.6", "medium 0.6"]);
    }

    #[test]
    fn other_ports_outside_hosts_and_mere_handshakes_are_silent() {
        assert!(told(200, 443, "192.168.1", 100).is_empty());
        assert!(told(200, 445, "203.0.113", 100).is_empty());
        assert!(told(200, 445, "192.168.1", 0).is_empty());
    }
}
