//! ICMP sweeps: echo, timestamp or address mask requests from one host to many.

use std::net::IpAddr;

use slips_core::detector::{Closing, Cx, Detector, Header, Role, Slot, Spec, Threshold, Unit};
use slips_core::event::{Event, EventKind, Notice};
use slips_core::evidence::{EvidenceKind, Finding, Proof, ThreatLevel};
use slips_core::flow::{Flow, Origin, Phase, Proto};
use slips_core::state::Windowed;
use slips_core::time::{Span, WindowId};

use crate::ladder::{self, Ladder, Told, rung};
use crate::table::Table;
use crate::tally::{Lately, Trail};
use crate::{Settings, attempt, zeek_notice};

/// The registry's entry.
pub static SPEC: Spec = Spec {
    name: "icmp_sweep",
    kinds: &[
        EvidenceKind::IcmpAddressScan,
        EvidenceKind::IcmpTimestampScan,
        EvidenceKind::IcmpAddressMaskScan,
    ],
    events: &[EventKind::Flow, EventKind::Notice],
    roles: &[Role::Src],
    thresholds: &[HOSTS],
    header: Header {
        detects: "ICMP sweeps: echo, timestamp or address mask requests from one host to many.",
        attack: "T1018 Remote System Discovery; T1595.001 Active Scanning when the source is remote.",
        rule: "Distinct hosts asked within a minute, for each kind of request, by when the asking began; what is \
            older is aged out. Hosts that did not answer are counted apart. The notices of the ICMP script that \
            the original ships for Zeek raise the same evidence.",
        numbers: "The first step at 5 hosts is the original's. Its script never forgets (five pings in a month are a \
            scan), ours has a minute.",
        quiet: "Monitoring pings many hosts every minute, but they answer: without silent hosts it ends at medium. \
            Silent hosts with which a local client lately talked are an outage. Critical is more than a /24 of \
            silent hosts within a minute; it is told again every two minutes while that goes on.",
        evasion: "Four hosts a minute; other types of ICMP.",
        proof: "Echo requests prove nothing about their sender; proven when those from the hardware address which \
            owns the source's address reach the step alone.",
    },
};

/// Steps in distinct hosts within a minute. The third and fourth count silent hosts only.
pub const HOSTS: Threshold = Threshold::steps(
    "hosts",
    "hosts that one source asks within a minute",
    Unit::Count,
    &[
        rung(5, ThreatLevel::Low, 0.5),
        rung(16, ThreatLevel::Medium, 0.6),
        rung(64, ThreatLevel::High, 0.7),
        rung(300, ThreatLevel::Critical, 0.9),
    ],
)
.within(2, 320);
/// The highest step for hosts that may have answered, and the highest that Zeek's notices reach.
const ASKED_STEP: u8 = 2;
const NOTICE_STEP: u8 = 3;

const MINUTE: Span = Span::from_secs(60);
/// Hosts remembered per source, kind and window.
const MAX_HOSTS: usize = 320;
/// Kinds of requests.
const MAX_KINDS: usize = 3;

#[derive(Debug, Default)]
struct Sweep {
    asked: Lately<IpAddr>,
    silent: Lately<IpAddr>,
    trail: Trail,
    /// The same, of what a proven source asked.
    proven_asked: Lately<IpAddr>,
    proven_silent: Lately<IpAddr>,
    told: Told,
}

/// See the module.
#[derive(Debug)]
pub struct IcmpSweep {
    hosts: Ladder,
    state: Windowed<Table<EvidenceKind, Sweep>>,
}

impl IcmpSweep {
    /// With these settings.
    pub fn new(settings: &Settings) -> Self {
        Self { hosts: settings.ladder(&SPEC, &HOSTS), state: Windowed::default() }
    }

    fn sweep(&mut self, cx: &Cx<'_>, kind: EvidenceKind) -> Option<&mut Sweep> {
        self.state.get_or_default(cx.slot(), cx.window()).get_or_insert(kind, MAX_KINDS, |_| 0)
    }

    fn on_flow(&mut self, cx: &mut Cx<'_>, flow: &Flow) {
        let Some(kind) = request(flow).filter(|_| attempt::between_hosts(flow)) else { return };
        let (steps, facts) = (self.hosts, cx.facts());
        let Some(sweep) = self.sweep(cx, kind) else { return };
        let proven = attempt::proof_of_source(facts) == Proof::Proven;
        if begins(flow) {
            sweep.asked.insert(flow.dst.addr, flow.start, MINUTE, MAX_HOSTS);
            if proven {
                sweep.proven_asked.insert(flow.dst.addr, flow.start, MINUTE, MAX_HOSTS);
            }
            sweep.trail.push(flow.uid);
        }
        let asked = sweep.asked.len();
        let outage = facts.src_local && facts.dst_talked;
        let mut silent = 0;
        if is_silent(flow) && !outage {
            silent = sweep.silent.insert(flow.dst.addr, flow.start, MINUTE, MAX_HOSTS);
            if proven {
                sweep.proven_silent.insert(flow.dst.addr, flow.start, MINUTE, MAX_HOSTS);
            }
        }
        let reached = |asked, silent| steps.step(asked).min(ASKED_STEP).max(steps.step(silent));
        let step = reached(asked, silent);
        let alone = reached(sweep.proven_asked.len(), sweep.proven_silent.len()) >= step;
        let proof = attempt::proof_if(alone);
        let grown = u32::from(silent > 0 && attempt::is_new_attempt(flow));
        let Some(rung) = sweep.told.climb(&steps, step, proof, grown, flow.seen) else { return };
        let text = format!("{} of {asked} hosts within a minute, {silent} of them silent", words(kind));
        cx.emit(Finding {
            proto: Some(Proto::Icmp),
            uids: sweep.trail.take(),
            text,
            proof,
            ..ladder::finding(cx, kind, flow.src.addr, rung, flow.seen)
        });
    }

    fn on_notice(&mut self, cx: &mut Cx<'_>, notice: &Notice) {
        let names = [
            ("ICMPAddressScan", EvidenceKind::IcmpAddressScan),
            ("TimestampScan", EvidenceKind::IcmpTimestampScan),
            ("AddressMaskScan", EvidenceKind::IcmpAddressMaskScan),
        ];
        let Some((_, kind)) = names.into_iter().find(|(name, _)| zeek_notice::is(notice, name)) else {
            return;
        };
        let hosts = zeek_notice::number_before(&notice.msg, " hosts").unwrap_or(0);
        let steps = self.hosts;
        let Some(sweep) = self.sweep(cx, kind) else { return };
        let step = steps.step(hosts).min(NOTICE_STEP);
        let Some(rung) = sweep.told.climb(&steps, step, Proof::Unproven, 0, notice.at) else { return };
        cx.emit(Finding {
            proto: Some(Proto::Icmp),
            text: format!("{} of {hosts} hosts, by Zeek", words(kind)),
            ..ladder::finding(cx, kind, cx.profile(), rung, notice.at)
        });
    }
}

/// What the flow asks for; the source port of an ICMP flow is its type.
fn request(flow: &Flow) -> Option<EvidenceKind> {
    if flow.proto != Proto::Icmp {
        return None;
    }
    match (flow.src.addr, flow.src.port) {
        (IpAddr::V4(_), 8) | (IpAddr::V6(_), 128) => Some(EvidenceKind::IcmpAddressScan),
        (IpAddr::V4(_), 13) => Some(EvidenceKind::IcmpTimestampScan),
        (IpAddr::V4(_), 17) => Some(EvidenceKind::IcmpAddressMaskScan),
        _ => None,
    }
}

/// The event tells when the asking began; the end of a live flow that lasted does not.
fn begins(flow: &Flow) -> bool {
    flow.phase == Phase::Start || (flow.phase == Phase::End && flow.origin != Origin::Sensor)
}

/// Nobody answered, as far as is known for certain.
const fn is_silent(flow: &Flow) -> bool {
    matches!(flow.phase, Phase::Unanswered | Phase::Rejected)
        || (matches!(flow.phase, Phase::End) && flow.resp.pkts == 0)
}

const fn words(kind: EvidenceKind) -> &'static str {
    match kind {
        EvidenceKind::IcmpTimestampScan => "ICMP timestamp scan",
        EvidenceKind::IcmpAddressMaskScan => "ICMP address mask scan",
        _ => "ICMP address scan",
    }
}

impl Detector for IcmpSweep {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn on_event(&mut self, cx: &mut Cx<'_>, event: &Event) {
        match event {
            Event::Flow(flow) => self.on_flow(cx, flow),
            Event::Notice(notice) => self.on_notice(cx, notice),
            _ => {}
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
    use crate::test_traces::{Talk, at, bench, levels, notice};

    fn sweep(hosts: u32, kind: u16, vary: impl Fn(u32, &mut Flow)) -> Vec<Finding> {
        let mut bench = bench(IcmpSweep::new(&Settings::default()));
        let mut told = Vec::new();
        for n in 0..hosts {
            let dst = format!("10.0.{}.{}", n / 200, n % 200 + 1);
            let mut flow = Talk::icmp("192.168.1.5", &dst, kind).at(i64::from(n) / 20).flow();
            flow.origin = Origin::Zeek;
            vary(n, &mut flow);
            told.extend(bench.feed(&Event::Flow(flow)));
        }
        told
    }

    #[test]
    fn five_hosts_are_told_and_four_are_not_for_each_kind() {
        for (kind, evidence) in [
            (8, EvidenceKind::IcmpAddressScan),
            (13, EvidenceKind::IcmpTimestampScan),
            (17, EvidenceKind::IcmpAddressMaskScan),
        ] {
            assert!(sweep(4, kind, |_, _| {}).is_empty());
            let told = sweep(5, kind, |_, _| {});
            assert_eq!(levels(&told), ["low 0.5"]);
            assert_eq!((told[0].kind, told[0].uids.len()), (evidence, 5));
        }
        let v6 = |n: u32, f: &mut Flow| {
            (f.src.addr, f.dst.addr) = (at("2001:db8::1"), at(&format!("2001:db8::2:{n:x}")));
        };
        assert_eq!(sweep(5, 128, v6).len(), 1);
    }

    #[test]
    fn a_silent_network_is_high_and_more_than_one_critical() {
        assert_eq!(levels(&sweep(254, 8, |_, _| {})), ["low 0.5", "medium 0.6", "high 0.7"]);
        assert_eq!(levels(&sweep(1000, 8, |_, _| {})).last().map(String::as_str), Some("critical 0.9"));
    }

    #[test]
    fn monitoring_of_hosts_that_answer_ends_at_medium() {
        assert_eq!(levels(&sweep(1000, 8, |_, f| f.resp.pkts = 4)), ["low 0.5", "medium 0.6"]);
    }

    #[test]
    fn slow_pings_one_host_answers_and_unreachables_are_silent() {
        assert!(sweep(50, 8, |n, f| f.start = crate::test_traces::secs(i64::from(n) * 20)).is_empty());
        assert!(sweep(50, 8, |_, f| f.dst.addr = at("10.0.0.1")).is_empty());
        for kind in [0, 3, 11, 14, 18, 128] {
            assert!(sweep(50, kind, |_, _| {}).is_empty(), "{kind}");
        }
    }

    #[test]
    fn the_phases_of_a_ping_are_one_host() {
        let mut bench = bench(IcmpSweep::new(&Settings::default()));
        let mut told = 0;
        for n in 1..=4 {
            for phase in [Phase::Start, Phase::Unanswered, Phase::End] {
                let dst = format!("10.0.0.{n}");
                told += bench.feed(&Talk::icmp("192.168.1.5", &dst, 8).phase(phase).event()).len();
            }
        }
        assert_eq!(told, 0);
        assert_eq!(
            bench.feed(&Talk::icmp("192.168.1.5", "10.0.0.5", 8).phase(Phase::Start).event()).len(),
            1
        );
    }

    #[test]
    fn endless_pings_that_end_together_are_no_sweep() {
        let mut bench = bench(IcmpSweep::new(&Settings::default()));
        for n in 0..60 {
            let dst = format!("10.0.0.{}", n + 1);
            for (phase, start) in [(Phase::Start, n * 25), (Phase::Update, n * 25), (Phase::End, n * 25)] {
                let mut flow = Talk::icmp("192.168.1.9", &dst, 8).phase(phase).at(start).flow();
                (flow.resp.pkts, flow.seen) = (4, crate::test_traces::secs(1500));
                assert!(bench.feed(&Event::Flow(flow)).is_empty());
            }
        }
    }

    #[test]
    fn a_sweep_that_goes_on_is_told_again_and_proven_only_if_enough_of_it_is() {
        for forged in [0, 6000] {
            let mut bench = bench(IcmpSweep::new(&Settings::default()));
            let mut told = Vec::new();
            for n in 0..6000u32 {
                bench.facts(slips_core::detector::Facts { src_on_link: n >= forged, ..Default::default() });
                let dst = format!("10.{}.{}.1", n / 200, n % 200);
                for phase in [Phase::Start, Phase::Unanswered, Phase::End] {
                    let flow = Talk::icmp("192.168.1.5", &dst, 8).phase(phase).at(i64::from(n) / 20).flow();
                    told.extend(bench.feed(&Event::Flow(flow)));
                }
            }
            let critical: Vec<_> = told.iter().filter(|f| f.level == ThreatLevel::Critical).collect();
            assert_eq!(critical.len(), 3, "300 s");
            assert!(told.iter().all(|f| (f.proof == Proof::Proven) == (forged == 0)));
        }
    }

    #[test]
    fn notices_of_zeek_rise_with_their_hosts_up_to_high() {
        let mut bench = bench(IcmpSweep::new(&Settings::default()));
        let mut told = Vec::new();
        for hosts in (5..=255).step_by(5) {
            let msg = format!("192.168.1.5 performed ICMP address scan detection on {hosts} hosts");
            told.extend(bench.feed(&notice("ICMP::ICMPAddressScan", &msg, "192.168.1.5")));
        }
        assert_eq!(levels(&told), ["low 0.5", "medium 0.6", "high 0.7"]);
        let mask = notice("ICMP::AddressMaskScan", "AddressMaskScan detected on 25 hosts", "192.168.1.5");
        assert_eq!(bench.feed(&mask)[0].kind, EvidenceKind::IcmpAddressMaskScan);
    }
}
