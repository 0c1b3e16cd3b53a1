//! A local host goes to another local host (`CONNECTION_TO_PRIVATE_IP`).

use std::net::IpAddr;

use slips_core::addr;
use slips_core::detector::{Closing, Cx, Detector, Header, Role, Slot, Spec};
use slips_core::event::{Event, EventKind};
use slips_core::evidence::{Confidence, Entity, EvidenceKind, Finding, ThreatLevel};
use slips_core::flow::Flow;
use slips_core::moving::Gateways;
use slips_core::state::Windowed;
use slips_core::time::WindowId;

use crate::ladder::{self, Rung};
use crate::{Settings, attempt};

/// The registry's entry.
pub static SPEC: Spec = Spec {
    name: "private_connection",
    kinds: &[EvidenceKind::ConnectionToPrivateIp],
    events: &[EventKind::Flow],
    roles: &[Role::Src],
    thresholds: &[],
    header: Header {
        detects: "A local host goes to another local host (`CONNECTION_TO_PRIVATE_IP`).",
        attack: "T1021 Remote Services (what moves inside looks like this too).",
        rule: "the first flow of a pair of local hosts in a window in which both took part.",
        numbers: "None; info, as the original's, which tells every flow.",
        quiet: "It weighs nothing; 64 pairs of one host and window are told. Gateways, DNS and DHCP are left out, \
            broadcasts and groups too.",
        evasion: "Irrelevant.",
        proof: "As the flow.",
    },
};

/// Pairs of one source and window that are told; further ones are not.
const MAX_PAIRS: usize = 64;
/// DNS, DHCP.
const HOUSEKEEPING: [u16; 3] = [53, 67, 68];

/// See the module.
#[derive(Debug)]
pub struct PrivateConnection {
    gateways: Gateways,
    told: Windowed<Vec<IpAddr>>,
}

impl PrivateConnection {
    /// With these settings.
    pub fn new(settings: &Settings) -> Self {
        Self { gateways: settings.gateways.clone(), told: Windowed::default() }
    }

    fn on_flow(&mut self, cx: &mut Cx<'_>, flow: &Flow) {
        let dst = flow.dst.addr;
        let housekeeping = self.gateways.contains(&dst) || HOUSEKEEPING.contains(&flow.dst.port);
        if housekeeping || !flow.is_two_way() || !addr::is_private(dst) || !addr::is_private(flow.src.addr) {
            return;
        }
        if !attempt::between_hosts(flow) {
            return;
        }
        let told = self.told.get_or_default(cx.slot(), cx.window());
        if told.len() >= MAX_PAIRS || told.contains(&dst) {
            return;
        }
        told.push(dst);
        let rung = Rung { at: 1, level: ThreatLevel::Info, confidence: Confidence::FULL };
        let kind = EvidenceKind::ConnectionToPrivateIp;
        cx.emit(Finding {
            victim: Some(Entity::Ip(dst)),
            text: format!(
                "connection to the local host {dst}, first at port {} {}",
                flow.dst.port, flow.proto
            ),
            uids: vec![flow.uid],
            proof: attempt::proof_of_source(cx.facts()),
            ..ladder::finding(cx, kind, flow.src.addr, rung, flow.seen)
        });
    }
}

impl Detector for PrivateConnection {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn on_event(&mut self, cx: &mut Cx<'_>, event: &Event) {
        if let Event::Flow(flow) = event {
            let facts = cx.facts();
            if facts.src_local && facts.dst_local {
                self.on_flow(cx, flow);
            }
        }
    }

    fn on_window_close(&mut self, _out: &mut Closing<'_>, window: WindowId) {
        self.told.close(window, |_, _| {});
    }

    fn forget(&mut self, slot: Slot) {
        self.told.forget(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_traces::{Talk, at, bench, levels};

    fn told(dst: impl Fn(u32) -> String, port: u16, n: u32) -> Vec<Finding> {
        let settings = Settings::with_gateways(vec![at("192.168.1.1")]);
        let mut bench = bench(PrivateConnection::new(&settings));
        (0..n)
            .flat_map(|n| bench.feed(&Talk::tcp("192.168.1.5", &dst(n), port).carrying(1, 1).event()))
            .collect()
    }

    #[test]
    fn each_pair_is_told_once_and_at_most_sixty_four() {
        assert_eq!(levels(&told(|_| "192.168.1.9".into(), 445, 100)), ["info 1"]);
        assert_eq!(told(|n| format!("10.0.0.{}", n + 1), 445, 64).len(), 64);
        assert_eq!(told(|n| format!("10.0.0.{}", n + 1), 445, 200).len(), 64);
    }

    #[test]
    fn an_attempt_that_anybody_could_forge_is_silent() {
        let mut bench = bench(PrivateConnection::new(&Settings::default()));
        assert!(bench.feed(&Talk::tcp("192.168.1.5", "192.168.1.9", 445).event()).is_empty());
    }

    #[test]
    fn gateways_outside_groups_and_housekeeping_are_silent() {
        for dst in ["192.168.1.1", "203.0.113.9", "224.0.0.251", "169.254.1.1"] {
            assert!(told(|_| dst.into(), 445, 3).is_empty(), "{dst}");
        }
        assert!(told(|_| "192.168.1.9".into(), 53, 3).is_empty());
    }
}
