//! ARP scan: a host asks for many addresses of its network.

use std::net::IpAddr;

use slips_core::addr;
use slips_core::detector::{Closing, Cx, Detector, Header, Role, Slot, Spec, Threshold, Unit};
use slips_core::event::{Arp, ArpOp, Event, EventKind};
use slips_core::evidence::{EvidenceKind, Finding, Proof, ThreatLevel};
use slips_core::flow::{MacAddr, Proto};
use slips_core::moving::Gateways;
use slips_core::state::Windowed;
use slips_core::time::{Span, WindowId};

use crate::ladder::{self, Ladder, Told, rung};
use crate::tally::Lately;
use crate::{Settings, attempt};

/// The registry's entry.
pub static SPEC: Spec = Spec {
    name: "arp_scan",
    kinds: &[EvidenceKind::ArpScan],
    events: &[EventKind::Arp],
    roles: &[Role::Src],
    thresholds: &[TARGETS, WITHIN],
    header: Header {
        detects: "ARP scan: a host asks for many addresses of its network.",
        attack: "T1018 Remote System Discovery.",
        rule: "Distinct targets of one sender's ARP requests within 30 s. What is older is aged out, so that a \
            stray request before a sweep hides nothing.",
        numbers: "5 targets and 30 s are the original's, which stays at low; we rise to high at 100. Critical is told \
            again every two minutes while it goes on.",
        quiet: "Only more than a /24 within 30 s is critical, because smart speakers and phone apps sweep their \
            whole /24 every day. Gratuitous requests, probes from 0.0.0.0 and the gateways of the settings do \
            not count: a gateway asks for whomever the outside looks for.",
        evasion: "Four addresses in 30 s; listening instead of asking.",
        proof: "Proven when the requests from the hardware address that owns the sender's address reach the step \
            alone; what is critical is not, since a web page can have a browser call that many addresses in a network larger \
            than a /24. So a host of ours is told, and not blocked for this alone.",
    },
};

/// For the distinct targets.
pub const WITHIN: Threshold =
    Threshold::number("within", "for the distinct targets", Unit::Seconds, 30).within(1, 3600);

/// Steps in distinct targets within the span.
pub const TARGETS: Threshold = Threshold::steps(
    "targets",
    "addresses that one host asks for within that time",
    Unit::Count,
    &[
        rung(5, ThreatLevel::Low, 0.8),
        rung(25, ThreatLevel::Medium, 0.8),
        rung(100, ThreatLevel::High, 0.8),
        rung(300, ThreatLevel::Critical, 1.0),
    ],
)
.within(2, 320);

/// Targets remembered per sender and window.
const MAX_TARGETS: usize = 320;

#[derive(Debug, Default)]
struct Asked {
    targets: Lately<IpAddr>,
    /// The same, of proven requests.
    proven: Lately<IpAddr>,
    told: Told,
}

/// See the module.
#[derive(Debug)]
pub struct ArpScan {
    within: Span,
    targets: Ladder,
    gateways: Gateways,
    state: Windowed<Asked>,
}

impl ArpScan {
    /// With these settings.
    pub fn new(settings: &Settings) -> Self {
        Self {
            within: settings.span(&SPEC, &WITHIN),
            targets: settings.ladder(&SPEC, &TARGETS),

            gateways: settings.gateways.clone(),
            state: Windowed::default(),
        }
    }

    fn on_arp(&mut self, cx: &mut Cx<'_>, arp: &Arp) {
        let asks = arp.op == ArpOp::Request
            && arp.sender != arp.target
            && matches!(arp.target_mac, MacAddr::ZERO | MacAddr::BROADCAST)
            && addr::is_interesting(arp.sender)
            && addr::is_interesting(arp.target);
        if !asks || self.gateways.contains(&arp.sender) {
            return;
        }
        let asked = self.state.get_or_default(cx.slot(), cx.window());
        let targets = asked.targets.insert(arp.target, arp.at, self.within, MAX_TARGETS);
        let step = self.targets.step(targets);
        if attempt::proof_of_source(cx.facts()) == Proof::Proven {
            asked.proven.insert(arp.target, arp.at, self.within, MAX_TARGETS);
        }
        // In a network that large a web page can have a browser call as many addresses, and the system ask for them.
        let is_critical = self.targets.at_step(step).is_some_and(|rung| rung.level == ThreatLevel::Critical);
        let alone = self.targets.step(asked.proven.len()) >= step;
        let proof = attempt::proof_if(alone && !is_critical);
        let Some(rung) = asked.told.climb(&self.targets, step, proof, 1, arp.at) else { return };
        cx.emit(Finding {
            proto: Some(Proto::Arp),
            text: format!("ARP scan: asked for {targets} addresses within {} s", self.within.0 / 1_000_000),
            proof,
            ..ladder::finding(cx, EvidenceKind::ArpScan, arp.sender, rung, arp.at)
        });
    }
}

impl Detector for ArpScan {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn on_event(&mut self, cx: &mut Cx<'_>, event: &Event) {
        if let Event::Arp(arp) = event {
            self.on_arp(cx, arp);
        }
    }

    fn on_window_close(&mut self, _out: &mut Closing<'_>, window: WindowId) {
        self.state.close(window, |_, _| {});
    }

    fn forget(&mut self, slot: Slot) {
        self.state.forget(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_traces::{at, bench, levels, secs};
    use slips_core::detector::Facts;

    fn request(n: u32, second: i64) -> Arp {
        let mac = MacAddr([2, 0, 0, 0, 0, 1]);
        Arp {
            at: secs(second),
            op: ArpOp::Request,
            frame_src: mac,
            frame_dst: MacAddr::BROADCAST,
            sender: at("192.168.0.5"),
            sender_mac: mac,
            target: at(&format!("192.168.{}.{}", 1 + n / 250, n % 250 + 1)),
            target_mac: MacAddr::ZERO,
            interface: 0,
        }
    }

    fn sweep(n: u32, vary: impl Fn(u32, &mut Arp)) -> Vec<Finding> {
        let settings = Settings::with_gateways(vec![at("192.168.0.1")]);
        let mut bench = bench(ArpScan::new(&settings));
        bench.facts(Facts { src_on_link: true, ..Facts::default() });
        let mut told = Vec::new();
        for n in 0..n {
            let mut arp = request(n, i64::from(n) / 50);
            vary(n, &mut arp);
            told.extend(bench.feed(&Event::Arp(arp)));
        }
        told
    }

    #[test]
    fn five_targets_are_told_and_four_are_not() {
        assert!(sweep(4, |_, _| {}).is_empty());
        let told = sweep(5, |_, _| {});
        assert_eq!(levels(&told), ["low 0.8"]);
        assert_eq!(told[0].proof, Proof::Proven);
    }

    #[test]
    fn a_whole_network_is_high_and_more_than_one_critical() {
        assert_eq!(levels(&sweep(254, |_, _| {})), ["low 0.8", "medium 0.8", "high 0.8"]);
        assert_eq!(levels(&sweep(1000, |_, _| {})).last().map(String::as_str), Some("critical 1"));
    }

    #[test]
    fn a_sweep_that_goes_on_is_told_again_and_what_a_host_asks_later_is_not() {
        let critical = |told: Vec<Finding>| told.iter().filter(|f| f.level == ThreatLevel::Critical).count();
        assert_eq!(critical(sweep(10_000, |n, arp| arp.target = request(n % 2000, 0).target)), 2);
        let later = |n, arp: &mut Arp| arp.at = secs(i64::from(n) / 50 + if n < 400 { 0 } else { 300 });
        assert_eq!(critical(sweep(450, later)), 1);
    }

    #[test]
    fn repeats_answers_gratuitous_ones_probes_and_the_gateway_are_silent() {
        assert!(sweep(200, |_, arp| arp.target = at("192.168.1.1")).is_empty());
        assert!(sweep(200, |_, arp| arp.op = ArpOp::Reply).is_empty());
        assert!(sweep(200, |_, arp| arp.sender = arp.target).is_empty());
        assert!(sweep(200, |_, arp| arp.sender = at("0.0.0.0")).is_empty());
        assert!(sweep(200, |_, arp| arp.sender = at("192.168.0.1")).is_empty());
    }

    #[test]
    fn a_stray_request_does_not_hide_a_sweep_and_slow_ones_are_no_sweep() {
        let slow = sweep(100, |n, arp| arp.at = secs(i64::from(n) * 8));
        assert!(slow.is_empty());
        let mut bench = bench(ArpScan::new(&Settings::default()));
        assert!(bench.feed(&Event::Arp(request(200, 0))).is_empty());
        let told: usize = (0..5).map(|n| bench.feed(&Event::Arp(request(n, 31))).len()).sum();
        assert_eq!(told, 1);
    }
}
