//! GRE: tunnels that are begun (`GRE_SCAN`) and tunnels that are used (`GRE_TUNNEL`).

use std::net::IpAddr;

use slips_core::detector::{Cx, Detector, Header, Role, Spec, Threshold, Unit};
use slips_core::event::{Event, EventKind, Tunnel};
use slips_core::evidence::{Entity, EvidenceKind, Finding, ThreatLevel};

use crate::Settings;
use crate::ladder::rung;
use crate::steps::{Limits, Steps, in_steps, member_of_ip};

/// The registry's entry.
pub static SPEC: Spec = Spec {
    name: "gre",
    kinds: &[EvidenceKind::GreTunnel, EvidenceKind::GreScan],
    events: &[EventKind::Tunnel],
    roles: &[Role::Src],
    thresholds: &[ENDS, USED],
    header: Header {
        detects: "GRE: tunnels that are begun (`GRE_SCAN`) and tunnels that are used (`GRE_TUNNEL`).",
        attack: "T1572 Protocol Tunneling; T1595 Active Scanning (for open tunnel ends).",
        rule: "Tunnel records of type GRE, per source and far end. Found or begun: scan; anything else: tunnel.",
        numbers: "The original tells each with low 1.0. We tell each far end once, and many far ends of one source as \
            a scan that grows.",
        quiet: "Networks with GRE have a few fixed ends: low.",
        evasion: "Other encapsulations.",
        proof: "Unproven; GRE has no handshake.",
    },
};

/// Steps in far ends that are looked for.
pub const ENDS: Threshold = Threshold::steps(
    "far_ends",
    "far ends of tunnels that one host begins in a window",
    Unit::Count,
    &[rung(1, ThreatLevel::Low, 0.5), rung(10, ThreatLevel::Medium, 0.8), rung(100, ThreatLevel::High, 0.8)],
);
/// Steps in records of one used tunnel.
pub const USED: Threshold = Threshold::steps(
    "used_ends",
    "tunnels in use with one far end in a window",
    Unit::Count,
    &[rung(1, ThreatLevel::Low, 0.5)],
);

/// See the module.
#[derive(Debug)]
pub struct Gre {
    ends: Steps<()>,
    used: Steps<IpAddr>,
}

impl Gre {
    /// With these settings.
    pub fn new(settings: &Settings) -> Self {
        Self {
            ends: Steps::new(settings.ladder(&SPEC, &ENDS), Limits { keys: 1, weighing: 1 }),
            used: Steps::new(settings.ladder(&SPEC, &USED), Limits { keys: 64, weighing: 8 }),
        }
    }
}

impl Gre {
    fn on_tunnel(&mut self, cx: &mut Cx<'_>, tunnel: &Tunnel) {
        if !ends_with(&tunnel.tunnel_type, "GRE") {
            return;
        }
        let (src, dst) = (tunnel.about.src.addr, tunnel.about.dst.addr);
        let (at, uid) = (tunnel.about.at, tunnel.about.uid);
        if ends_with(&tunnel.action, "DISCOVER") {
            let Some(reached) = self.ends.add_distinct(cx, (), member_of_ip(dst), uid) else { return };
            let text = format!("GRE tunnels looked for or begun at {} hosts, lately {dst}", reached.n);
            cx.emit(Finding { text, ..reached.finding(cx, EvidenceKind::GreScan, src, at) });
        } else if let Some(reached) = self.used.add(cx, dst, uid) {
            let text = format!("GRE tunnel to {dst}");
            let victim = Some(Entity::Ip(dst));
            cx.emit(Finding { text, victim, ..reached.finding(cx, EvidenceKind::GreTunnel, src, at) });
        }
    }
}

fn ends_with(text: &str, end: &str) -> bool {
    text.len()
        .checked_sub(end.len())
        .and_then(|at| text.get(at..))
        .is_some_and(|t| t.eq_ignore_ascii_case(end))
}

impl Detector for Gre {
    in_steps!(ends, used);

    fn on_event(&mut self, cx: &mut Cx<'_>, event: &Event) {
        if let Event::Tunnel(tunnel) = event {
            self.on_tunnel(cx, tunnel);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_traces::{about, bench, levels};

    fn told(n: i64, kind: &str, action: &str) -> Vec<Finding> {
        let mut bench = bench(Gre::new(&Settings::default()));
        let record = |n: i64| {
            Event::Tunnel(Box::new(Tunnel {
                about: about("192.168.1.5", &format!("203.0.113.{n}"), 0, n),
                tunnel_type: kind.into(),
                action: action.into(),
            }))
        };
        (1..=n).flat_map(|n| bench.feed(&record(n))).collect()
    }

    #[test]
    fn ends_are_a_scan_that_grows() {
        assert_eq!(levels(&told(9, "Tunnel::GRE", "Tunnel::DISCOVER")), ["low 0.5"]);
        let many = told(200, "Tunnel::GRE", "Tunnel::DISCOVER");
        assert_eq!(levels(&many), ["low 0.5", "medium 0.8", "high 0.8"]);
        assert!(many.iter().all(|finding| finding.kind == EvidenceKind::GreScan));
    }

    #[test]
    fn each_used_tunnel_is_told_and_eight_weigh() {
        let told = told(20, "Tunnel::GRE", "Tunnel::CLOSE");
        assert!(told.iter().all(|finding| finding.kind == EvidenceKind::GreTunnel));
        assert_eq!(levels(&told).iter().filter(|level| *level == "low 0.5").count(), 8);
    }

    #[test]
    fn other_tunnels_are_silent() {
        for kind in ["Tunnel::VXLAN", "Tunnel::IP", "Tunnel::TEREDO", ""] {
            assert!(told(20, kind, "Tunnel::DISCOVER").is_empty());
        }
    }
}
