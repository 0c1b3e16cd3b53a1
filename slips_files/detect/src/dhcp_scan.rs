//! DHCP scan: a client requests one address after the other.

use slips_core::detector::{Cx, Detector, Header, Role, Spec, Threshold, Unit};
use slips_core::event::{Dhcp, Event, EventKind};
use slips_core::evidence::{EvidenceKind, Finding, ThreatLevel};
use slips_core::flow::{Proto, Uid};

use crate::Settings;
use crate::ladder::rung;
use crate::steps::{Limits, Steps, in_steps, member_of_ip};

/// The registry's entry.
pub static SPEC: Spec = Spec {
    name: "dhcp_scan",
    kinds: &[EvidenceKind::DhcpScan],
    events: &[EventKind::Dhcp],
    roles: &[Role::Src],
    thresholds: &[ADDRESSES],
    header: Header {
        detects: "DHCP scan: a client requests one address after the other.",
        attack: "T1018 Remote System Discovery, T1498 Network Denial of Service (starvation by a clumsy tool).",
        rule: "Distinct addresses that one client requests in a window.",
        numbers: "4 is the original's, which repeats its evidence at every fourth; we update one.",
        quiet: "A roaming client asks for its old address and takes the new one, that is two. Nothing here is \
            critical.",
        evasion: "A new hardware address for each request (starvation): each is another client then.",
        proof: "Unproven; a request is a datagram.",
    },
};

/// Steps in distinct addresses.
pub const ADDRESSES: Threshold = Threshold::steps(
    "addresses",
    "addresses that one client requests in a window",
    Unit::Count,
    &[rung(4, ThreatLevel::Medium, 0.6), rung(8, ThreatLevel::Medium, 0.8), rung(32, ThreatLevel::High, 0.9)],
);

/// See the module.
#[derive(Debug)]
pub struct DhcpScan {
    requested: Steps<()>,
}

impl DhcpScan {
    /// With these settings.
    pub fn new(settings: &Settings) -> Self {
        Self { requested: Steps::new(settings.ladder(&SPEC, &ADDRESSES), Limits { keys: 1, weighing: 1 }) }
    }
}

impl DhcpScan {
    fn on_dhcp(&mut self, cx: &mut Cx<'_>, dhcp: &Dhcp) {
        let Some(requested) = dhcp.requested_addr.filter(|addr| !addr.is_unspecified()) else { return };
        let uid = dhcp.uids.first().copied().unwrap_or(Uid::EMPTY);
        let Some(reached) = self.requested.add_distinct(cx, (), member_of_ip(requested), uid) else { return };
        let text = format!("DHCP scan: {} different addresses requested, lately {requested}", reached.n);
        cx.emit(Finding {
            proto: Some(Proto::Udp),
            text,
            ..reached.finding(cx, EvidenceKind::DhcpScan, cx.profile(), dhcp.at)
        });
    }
}

impl Detector for DhcpScan {
    in_steps!(requested);

    fn on_event(&mut self, cx: &mut Cx<'_>, event: &Event) {
        if let Event::Dhcp(dhcp) = event {
            self.on_dhcp(cx, dhcp);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_traces::{at, bench, levels, secs};

    fn requests(addrs: impl Iterator<Item = u8>) -> Vec<Finding> {
        let mut bench = bench(DhcpScan::new(&Settings::default()));
        let request = |n: u8| {
            Event::Dhcp(Box::new(Dhcp {
                at: secs(0),
                uids: vec![Uid::new("C1")],
                client: Some(at("192.168.1.30")),
                server: Some(at("192.168.1.1")),
                requested_addr: Some([192, 168, 1, n].into()),
                ..Dhcp::default()
            }))
        };
        addrs.flat_map(|n| bench.feed(&request(n))).collect()
    }

    #[test]
    fn the_fourth_address_is_told_and_the_third_is_not() {
        assert!(requests(1..=3).is_empty());
        assert_eq!(levels(&requests(1..=4)), ["medium 0.6"]);
        assert_eq!(levels(&requests(1..=200)), ["medium 0.6", "medium 0.8", "high 0.9"]);
    }

    #[test]
    fn renewals_are_silent() {
        assert!(requests((0..200).map(|n| n % 2)).is_empty());
    }
}
