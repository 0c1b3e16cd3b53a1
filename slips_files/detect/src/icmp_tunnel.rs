//! Data that travels in pings (`ICMP_TUNNEL`).

use std::net::IpAddr;

use slips_core::detector::{Closing, Cx, Detector, Header, Role, Slot, Spec, Threshold, Unit};
use slips_core::event::{Event, EventKind};
use slips_core::evidence::{Entity, EvidenceKind, Finding, ThreatLevel};
use slips_core::flow::{Flow, Phase, Proto};
use slips_core::state::Windowed;
use slips_core::time::WindowId;

use crate::Settings;
use crate::attempt;
use crate::ladder::{self, Ladder, rung};
use crate::table::Table;

/// The registry's entry.
pub static SPEC: Spec = Spec {
    name: "icmp_tunnel",
    kinds: &[EvidenceKind::IcmpTunnel],
    events: &[EventKind::Flow],
    roles: &[Role::Src],
    thresholds: &[LARGER, SMALLER],
    header: Header {
        detects: "Data that travels in pings (`ICMP_TUNNEL`).",
        attack: "T1095 Non-Application Layer Protocol, T1572 Protocol Tunneling.",
        rule: "Of one pair of hosts, echoes whose mean payload differs from that of the requests by a quarter and \
            at least 8 bytes. A host has to return what it was sent (RFC 792, RFC 4443 section 4.2), so the two \
            are equal whoever pings.",
        numbers: "Steps in packets each way: 20, 100, 1,000, the last one where 100 kB were carried. Never critical: \
            whoever is pinged can answer with more than he was sent, and is not to get the one who asks blocked.",
        quiet: "Tools that try sizes (path MTU) lose the large ones and end there; answers that were cut short by a \
            filter are smaller than requests: that ends at high, with 0.5.",
        evasion: "A tunnel that pads both ways to the same size; fewer than 20 packets a flow.",
        proof: "Proven when the asker's hardware address owns its address. That echoes go back proves nothing about \
            who asks: requests of two sizes in another's name, of which our host answers the larger ones only, \
            look like this too.",
    },
};

/// Steps in packets each way where echoes are larger than requests.
pub const LARGER: Threshold = Threshold::steps(
    "larger_echoes",
    "packets each way whose echoes are larger than the requests",
    Unit::Count,
    &[
        rung(20, ThreatLevel::Medium, 0.7),
        rung(100, ThreatLevel::High, 0.8),
        rung(1000, ThreatLevel::High, 0.9),
    ],
);
/// Steps in packets each way where they are smaller.
pub const SMALLER: Threshold = Threshold::steps(
    "smaller_echoes",
    "packets each way whose echoes are smaller than the requests",
    Unit::Count,
    &[rung(20, ThreatLevel::Low, 0.6), rung(100, ThreatLevel::High, 0.5)],
);
/// What a tunnel at the last step has carried.
const CARRIED: u64 = 100_000;
/// The least difference of the means in bytes, and its share of the larger one.
const LEAST: u64 = 8;
const SHARE: u64 = 4;
/// Peers remembered per source and window.
const MAX_PEERS: usize = 64;
/// Echo request of ICMP and ICMPv6.
const ECHO: [u16; 2] = [8, 128];

/// See the module.
#[derive(Debug)]
pub struct IcmpTunnel {
    larger: Ladder,
    smaller: Ladder,
    told: Windowed<Table<IpAddr, u8>>,
}

/// Mean payload of requests and echoes, if they differ.
fn differing_means(flow: &Flow) -> Option<(u64, u64)> {
    let asked = flow.orig.bytes.checked_div(flow.orig.pkts)?;
    let echoed = flow.resp.bytes.checked_div(flow.resp.pkts)?;
    let differs = asked.abs_diff(echoed) >= LEAST.max(asked.max(echoed).div_ceil(SHARE));
    differs.then_some((asked, echoed))
}

impl IcmpTunnel {
    /// With these settings.
    pub fn new(settings: &Settings) -> Self {
        Self {
            larger: settings.ladder(&SPEC, &LARGER),
            smaller: settings.ladder(&SPEC, &SMALLER),
            told: Windowed::default(),
        }
    }

    fn on_flow(&mut self, cx: &mut Cx<'_>, flow: &Flow) {
        let Some((asked, echoed)) = differing_means(flow) else { return };
        let pkts = u32::try_from(flow.orig.pkts.min(flow.resp.pkts)).unwrap_or(u32::MAX);
        let ladder = if echoed > asked { self.larger } else { self.smaller };
        let mut step = ladder.step(pkts);
        if flow.orig.bytes.saturating_add(flow.resp.bytes) < CARRIED {
            step = step.min(2);
        }
        if step == 0 {
            return;
        }
        let peers = self.told.get_or_default(cx.slot(), cx.window());
        let Some(told) = peers.get_or_insert(flow.dst.addr, MAX_PEERS, |told| u64::from(*told)) else {
            return;
        };
        if !ladder::climb(told, step) {
            return;
        }
        let Some(rung) = ladder.at_step(step) else { return };
        let text = format!(
            "data in pings to {}: {asked} bytes in each request, {echoed} in each echo, {pkts} of each",
            flow.dst.addr
        );
        cx.emit(Finding {
            victim: Some(Entity::Ip(flow.dst.addr)),
            proto: Some(Proto::Icmp),
            uids: if flow.uid.is_empty() { Vec::new() } else { vec![flow.uid] },
            text,
            proof: attempt::proof_of_source(cx.facts()),
            ..ladder::finding(cx, EvidenceKind::IcmpTunnel, flow.src.addr, rung, flow.seen)
        });
    }
}

impl Detector for IcmpTunnel {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn on_event(&mut self, cx: &mut Cx<'_>, event: &Event) {
        if let Event::Flow(flow) = event
            && flow.proto == Proto::Icmp
            && ECHO.contains(&flow.src.port)
            && matches!(flow.phase, Phase::Update | Phase::End)
            && flow.is_two_way()
            && attempt::between_hosts(flow)
        {
            self.on_flow(cx, flow);
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
    use crate::test_traces::{Talk, bench, levels};
    use slips_core::detector::Facts;
    use slips_core::evidence::Proof;
    use slips_core::flow::Volume;

    fn told(pkts: u64, asked: u64, echoed: u64, lost: u64) -> Vec<Finding> {
        let mut flow = Talk::icmp("192.168.1.5", "203.0.113.9", 8).flow();
        let volume = |pkts: u64, each: u64| Volume { pkts, bytes: pkts * each, ip_bytes: pkts * (each + 28) };
        (flow.orig, flow.resp) = (volume(pkts, asked), volume(pkts - lost, echoed));
        bench(IcmpTunnel::new(&Settings::default())).feed(&Event::Flow(flow))
    }

    #[test]
    fn pings_are_silent_whatever_their_size_and_loss() {
        for size in [0, 1, 56, 1472, 65_507] {
            assert!(told(100_000, size, size, 0).is_empty());
            assert!(told(100_000, size, size, 60_000).is_empty());
        }
        assert!(told(1000, 56, 60, 0).is_empty(), "a difference that a filter makes");
    }

    #[test]
    fn echoes_that_are_not_what_was_sent_climb() {
        assert!(told(19, 40, 900, 0).is_empty());
        assert_eq!(levels(&told(20, 40, 900, 0)), ["medium 0.7"]);
        assert_eq!(levels(&told(100, 40, 900, 0)), ["high 0.8"]);
        assert_eq!(levels(&told(1000, 40, 900, 0)), ["high 0.9"]);
        assert_eq!(levels(&told(1000, 20, 40, 0)), ["high 0.8"], "little was carried");
        assert_eq!(levels(&told(100_000, 900, 40, 0)), ["high 0.5"]);
    }

    #[test]
    fn echoes_do_not_prove_who_asks() {
        for (src_on_link, proof) in [(false, Proof::Unproven), (true, Proof::Proven)] {
            let mut bench = bench(IcmpTunnel::new(&Settings::default()));
            bench.facts(Facts { src_on_link, ..Facts::default() });
            let mut flow = Talk::icmp("203.0.113.9", "192.168.1.5", 8).flow();
            let volume = |bytes| Volume { pkts: 2000, bytes, ip_bytes: bytes };
            (flow.orig, flow.resp) = (volume(80_000), volume(1_800_000));
            let told = bench.feed(&Event::Flow(flow));
            assert_eq!(told.iter().map(|told| told.proof).collect::<Vec<_>>(), [proof]);
        }
    }

    #[test]
    fn one_sided_pings_are_silent() {
        assert!(told(100, 900, 0, 100).is_empty());
    }
}
