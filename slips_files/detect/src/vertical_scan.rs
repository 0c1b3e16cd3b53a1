//! Vertical port scan: one source fails at many ports of one host.

use std::net::IpAddr;

use slips_core::detector::{Closing, Cx, Detector, Facts, Header, Role, Slot, Spec, Threshold, Unit};
use slips_core::event::{Event, EventKind, Notice};
use slips_core::evidence::{Entity, EvidenceKind, Finding, Proof, ThreatLevel};
use slips_core::flow::{Flow, Proto};
use slips_core::state::Windowed;
use slips_core::time::WindowId;

use crate::ladder::{self, Ladder, Rung, Told, rung};
use crate::table::Table;
use crate::tally::{Distinct, Trail};
use crate::{Settings, attempt, web, zeek_notice};

/// The registry's entry.
pub static SPEC: Spec = Spec {
    name: "vertical_port_scan",
    kinds: &[EvidenceKind::VerticalPortScan],
    events: &[EventKind::Flow, EventKind::Notice],
    roles: &[Role::Src, Role::Dst],
    thresholds: &[TCP, UDP],
    header: Header {
        detects: "Vertical port scan: one source fails at many ports of one host.",
        attack: "T1046 Network Service Discovery; T1595.001 Active Scanning when the source is remote.",
        rule: "Per source, window, target and transport, the distinct destination ports of failed attempts \
            (refused, unanswered, aborted, half open on purpose, without SYN: FIN, null, Xmas, ACK and Maimon scans, or let in \
            and taken back within five seconds without a byte: connect scans of open ports). Zeek's `Scan::Port_Scan` notices raise the same evidence.",
        numbers: "The first step at 10 ports is what the original does in effect (its documents say 5 or 6). 100 \
            closed ports of one host are critical: nmap's quick scan tries 100, its usual one 1,000, within \
            seconds. A target with which a local client lately talked is given three times as many, for FTP \
            transfers whose data ports fail. UDP: an unanswered datagram is weak, so steps are wider and end \
            below certainty. Critical is told again every two minutes while attempts go on.",
        quiet: "Clients retry the same few ports; peer-to-peer programs fail at many hosts, a port each. UDP ports \
            from 33,000 up are not counted (traceroute, mtr, media, answers to ephemeral ports), nor are answers \
            seen one-sided of hosts that ours talk with, to eight ports of a target.",
        evasion: "Fewer than ten ports per window and target; saying something at open ports; many sources.",
        proof: "Attempts that fail prove nothing about their sender. Proven when the ports that were tried from the \
            hardware address which owns the source's address reach the step alone; probes without SYN never are. \
            Outwards five of them must be such as no web page can have a browser try: ports below 1024 that browsers \
            refuse to call (the Fetch standard's bad ports), or SYNs that no system's own stack sends.",
    },
};

/// Steps for TCP.
pub const TCP: Threshold = Threshold::steps(
    "ports",
    "TCP ports of one host at which one source fails in a window",
    Unit::Count,
    &[
        rung(10, ThreatLevel::Medium, 0.7),
        rung(30, ThreatLevel::High, 0.8),
        rung(100, ThreatLevel::Critical, 1.0),
        rung(300, ThreatLevel::Critical, 1.0),
        rung(1000, ThreatLevel::Critical, 1.0),
    ],
)
.within(2, 65_535);
/// The number of the step before the first critical one, and the ports that a target lately talked to must exceed to pass it.
const BELOW_CRITICAL: u8 = 2;
const TALKED_CRITICAL: u32 = 300;

/// Steps for UDP.
pub const UDP: Threshold = Threshold::steps(
    "udp_ports",
    "UDP ports of one host at which one source fails in a window",
    Unit::Count,
    &[
        rung(10, ThreatLevel::Low, 0.6),
        rung(60, ThreatLevel::Medium, 0.7),
        rung(150, ThreatLevel::High, 0.8),
        rung(500, ThreatLevel::Critical, 0.9),
    ],
)
.within(2, 65_535);

/// Targets remembered per source and window; those with the fewest ports make room.
const MAX_TARGETS: usize = 256;
/// UDP ports from here on are traceroute's, media's and ephemeral ones.
const UDP_PORTS_BELOW: u16 = 33_000;
/// Ports of one target at which answers of a host that ours talk with are taken for late ones.
const MAX_ANSWERED: usize = 8;

#[derive(Debug, Default)]
struct Target {
    ports: Distinct<u16>,
    /// Those of them that were tried by a proven source. A forwarded packet may be seen on its way out first: then a later event of
    /// its flow tells whose frame it was.
    proven: Distinct<u16>,
    /// How many of these no page can have caused.
    own: u32,
    /// Ports that got what looks like answers.
    answered: Vec<u16>,
    trail: Trail,
    talked: bool,
    told: Told,
}

/// See the module.
#[derive(Debug)]
pub struct VerticalScan {
    tcp: Ladder,
    udp: Ladder,
    state: Windowed<Table<(IpAddr, Proto), Target>>,
}

impl VerticalScan {
    /// With these settings.
    pub fn new(settings: &Settings) -> Self {
        Self {
            tcp: settings.ladder(&SPEC, &TCP),
            udp: settings.ladder(&SPEC, &UDP),
            state: Windowed::default(),
        }
    }

    fn target(&mut self, cx: &Cx<'_>, addr: IpAddr, proto: Proto) -> Option<&mut Target> {
        let targets = self.state.get_or_default(cx.slot(), cx.window());
        targets.get_or_insert((addr, proto), MAX_TARGETS, |target| u64::from(target.ports.len()))
    }

    fn on_flow(&mut self, cx: &mut Cx<'_>, flow: &Flow, facts: Facts) {
        let counts = match flow.proto {
            Proto::Tcp => true,
            Proto::Udp => flow.dst.port < UDP_PORTS_BELOW,
            _ => false,
        };
        let failed = attempt::failed(flow) || attempt::is_blind_probe(flow) || attempt::is_silent_visit(flow);
        if !counts || !failed || !attempt::between_hosts(flow) {
            return;
        }
        let steps = (self.tcp, self.udp);
        let Some(target) = self.target(cx, flow.dst.addr, flow.proto) else { return };
        if attempt::looks_like_answer(flow, facts) && target.excuses(flow.dst.port) {
            return;
        }
        let mut new = target.ports.insert(flow.dst.port);
        if attempt::is_proven(flow, facts) {
            let proven = target.proven.insert(flow.dst.port);
            target.own += u32::from(proven && attempt::is_own(flow, facts));
            new |= proven;
        }
        if !new && !attempt::is_new_attempt(flow) {
            return;
        }
        target.trail.push(flow.uid);
        target.talked |= facts.src_local && facts.dst_talked;
        let Some((rung, proof)) =
            target.climb(flow, if flow.proto == Proto::Tcp { &steps.0 } else { &steps.1 })
        else {
            return;
        };
        let ports = target.ports.len();
        let least = if target.ports.is_bound() { "at least " } else { "" };
        let text =
            format!("vertical port scan: {least}{ports} {} ports of {} failed", flow.proto, flow.dst.addr);
        cx.emit(Finding {
            victim: Some(Entity::Ip(flow.dst.addr)),
            proto: Some(flow.proto),
            uids: target.trail.take(),
            text,
            proof,
            ..ladder::finding(cx, EvidenceKind::VerticalPortScan, flow.src.addr, rung, flow.seen)
        });
    }

    fn on_notice(&mut self, cx: &mut Cx<'_>, notice: &Notice) {
        if !zeek_notice::is(notice, "Port_Scan") {
            return;
        }
        let Some(victim) = zeek_notice::address_after(&notice.msg, "of host ").or(notice.dst) else { return };
        let proto = notice.proto.unwrap_or(Proto::Tcp);
        let steps = self.tcp;
        let Some(target) = self.target(cx, victim, proto) else { return };
        // Zeek tells once, at its own threshold (15 ports in 5 minutes), and is silent about the rest.
        let ports = zeek_notice::number_after(&notice.msg, "at least ").unwrap_or(0);
        let step = steps.step(ports).max(BELOW_CRITICAL);
        let Some(rung) = target.told.climb(&steps, step, Proof::Unproven, 0, notice.at) else { return };
        cx.emit(Finding {
            victim: Some(Entity::Ip(victim)),
            proto: Some(proto),
            text: format!("vertical port scan of {victim}, by Zeek: {}", notice.msg),
            ..ladder::finding(cx, EvidenceKind::VerticalPortScan, cx.profile(), rung, notice.at)
        });
    }
}

impl Target {
    /// The step to tell, if any, and whether the proven attempts alone reach it.
    fn climb(&mut self, flow: &Flow, ladder: &Ladder) -> Option<(Rung, Proof)> {
        let tcp = flow.proto == Proto::Tcp;
        let mut step = ladder.step(self.ports.len());
        if tcp && self.talked && self.ports.len() < TALKED_CRITICAL {
            step = step.min(BELOW_CRITICAL);
        }
        let proven = self.proven.len();
        let proof = attempt::proof_if(ladder.step(proven) >= step && web::is_a_program(proven, self.own));
        let rung = self.told.climb(ladder, step, proof, 1, flow.seen)?;
        Some((rung, proof))
    }

    /// What comes from a service port to this port passes for a late answer.
    fn excuses(&mut self, port: u16) -> bool {
        if self.answered.contains(&port) {
            return true;
        }
        let room = self.answered.len() < MAX_ANSWERED;
        if room {
            self.answered.push(port);
        }
        room
    }
}

impl Detector for VerticalScan {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn on_event(&mut self, cx: &mut Cx<'_>, event: &Event) {
        match event {
            Event::Flow(flow) if cx.role() == Role::Src => self.on_flow(cx, flow, cx.facts()),
            Event::Flow(flow) => {
                if let Some((flow, facts)) = attempt::turned(flow, cx.facts()) {
                    self.on_flow(cx, &flow, facts);
                }
            }
            Event::Notice(notice) if cx.role() == Role::Src => self.on_notice(cx, notice),
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
    use crate::test_traces::{Talk, at, bench, levels};
    use slips_core::detector::Facts;
    use slips_core::evidence::Again;
    use slips_core::flow::{ConnState, Phase};

    fn scan(ports: impl Iterator<Item = u16>, vary: impl Fn(&mut Flow)) -> Vec<Finding> {
        let mut bench = bench(VerticalScan::new(&Settings::default()));
        let mut told = Vec::new();
        for (n, port) in ports.enumerate() {
            let mut flow =
                Talk::tcp("203.0.113.9", "192.168.1.2", port).state(ConnState::Rej).at(n as i64 / 10).flow();
            vary(&mut flow);
            told.extend(bench.feed(&Event::Flow(flow)));
        }
        told
    }

    #[test]
    fn ten_ports_are_told_and_nine_are_not() {
        assert!(scan(1..10, |_| {}).is_empty());
        let told = scan(1..11, |_| {});
        assert_eq!(levels(&told), ["medium 0.7"]);
        assert_eq!(told[0].uids.len(), 10);
        assert_eq!(told[0].victim, Some(Entity::Ip(at("192.168.1.2"))));
        assert_eq!(told[0].proof, Proof::Unproven);
    }

    #[test]
    fn a_scan_of_a_thousand_ports_is_critical_at_the_hundredth_and_tells_five_times() {
        let told = scan(1..1001, |_| {});
        assert_eq!(levels(&told), ["medium 0.7", "high 0.8", "critical 1", "critical 1", "critical 1"]);
        assert!(told[2].text.contains("100 tcp ports"), "{}", told[2].text);
        assert!(told.iter().all(|f| f.id() == told[0].id() && f.again == Again::Grows));
    }

    #[test]
    fn sixteen_odd_ports_stay_below_high() {
        assert_eq!(levels(&scan(1..17, |_| {})), ["medium 0.7"]);
    }

    #[test]
    fn the_phases_of_one_live_flow_are_one_port_and_a_refusal_is_counted_at_once() {
        let mut bench = bench(VerticalScan::new(&Settings::default()));
        let mut told = Vec::new();
        for port in 1..=9 {
            for phase in [Phase::Start, Phase::Unanswered, Phase::Rejected, Phase::End] {
                let flow =
                    Talk::tcp("203.0.113.9", "192.168.1.2", port).state(ConnState::Rej).phase(phase).flow();
                told.extend(bench.feed(&Event::Flow(flow)));
            }
        }
        assert!(told.is_empty());
        let flow = Talk::tcp("203.0.113.9", "192.168.1.2", 10).phase(Phase::Rejected).flow();
        assert_eq!(bench.feed(&Event::Flow(flow)).len(), 1);
    }

    #[test]
    fn successes_lone_answers_and_broadcasts_are_silent() {
        assert!(scan(1..500, |f| f.state = ConnState::SF).is_empty());
        assert!(scan(1..500, |f| f.state = ConnState::Shr).is_empty());
        assert!(scan(1..500, |f| f.dst.addr = at("255.255.255.255")).is_empty());
        assert!(scan(1..500, |f| f.dst.addr = at("224.0.0.5")).is_empty());
    }

    #[test]
    fn half_open_probes_of_open_ports_count() {
        let told = scan(1..11, |f| {
            f.state = ConnState::Rsto;
            f.history = "ShR".into();
        });
        assert_eq!(told.len(), 1);
        let full = scan(1..11, |f| {
            f.state = ConnState::Rsto;
            f.history = "ShADR".into();
        });
        assert!(full.is_empty());
    }

    #[test]
    fn open_ports_at_which_nothing_is_said_count_and_are_proven() {
        let visit = |f: &mut Flow| {
            (f.state, f.history, f.phase) = (ConnState::Rsto, "ShAR".into(), Phase::End);
            (f.orig.pkts, f.resp.pkts) = (3, 1);
        };
        let told = scan(1..101, visit);
        assert_eq!(levels(&told), ["medium 0.7", "high 0.8", "critical 1"]);
        assert!(told.iter().all(|told| told.proof == Proof::Proven), "a whole handshake");
    }

    #[test]
    fn a_traceroute_is_no_udp_scan() {
        let udp = |f: &mut Flow| (f.proto, f.state) = (Proto::Udp, ConnState::S0);
        assert!(scan(33_434..33_700, udp).is_empty());
        assert_eq!(levels(&scan(1..600, udp)), ["low 0.6", "medium 0.7", "high 0.8", "critical 0.9"]);
    }

    #[test]
    fn late_answers_of_a_resolver_are_excused_and_a_scan_from_its_port_is_not() {
        let answers = |ports: std::ops::Range<u16>, src_talked| {
            let mut bench = bench(VerticalScan::new(&Settings::default()));
            bench.facts(Facts { src_talked, ..Facts::default() });
            let mut told = Vec::new();
            for port in ports {
                for phase in [Phase::Unanswered, Phase::End] {
                    let mut flow = Talk::tcp("203.0.113.9", "192.168.1.2", port).phase(phase).flow();
                    (flow.proto, flow.src.port) = (Proto::Udp, 53);
                    told.extend(bench.feed(&Event::Flow(flow)));
                }
            }
            levels(&told)
        };
        assert!(answers(1024..1041, true).is_empty());
        assert_eq!(answers(1024..1042, true), ["low 0.6"]);
        assert_eq!(answers(1024..1034, false), ["low 0.6"]);
        assert_eq!(answers(1..600, false).last().map(String::as_str), Some("critical 0.9"));
    }

    #[test]
    fn datagrams_told_as_answers_that_nobody_asked_for_are_a_scan_of_their_sender() {
        let unasked = |vary: fn(&mut Flow)| {
            let mut bench = bench(VerticalScan::new(&Settings::default()));
            let mut told = Vec::new();
            for port in 1..601 {
                let mut flow = Talk::tcp("192.168.1.2", "203.0.113.9", 53).state(ConnState::Shr).flow();
                (flow.proto, flow.src.port, flow.history) = (Proto::Udp, port, "^d".into());
                (flow.orig.pkts, flow.resp.pkts) = (0, 1);
                vary(&mut flow);
                told.extend(bench.feed(&Event::Flow(flow)));
            }
            told
        };
        let told = unasked(|_| {});
        assert_eq!(levels(&told).last().map(String::as_str), Some("critical 0.9"));
        let last = told.last().expect("told");
        assert_eq!(last.attacker, Entity::Ip(at("203.0.113.9")));
        assert_eq!(last.victim, Some(Entity::Ip(at("192.168.1.2"))));
        assert!(unasked(|f| f.service = "dns".into()).is_empty(), "one side of real answers");
        assert!(unasked(|f| f.resp.pkts = 40).is_empty(), "one side of a stream");
    }

    #[test]
    fn scans_without_syn_are_seen_and_are_never_proven() {
        let blind = |ports: std::ops::Range<u16>, history: &str| {
            let mut bench = bench(VerticalScan::new(&Settings::default()));
            bench.facts(Facts { src_on_link: true, ..Facts::default() });
            let mut told = Vec::new();
            for port in ports {
                for phase in [Phase::Start, Phase::End] {
                    let talk = Talk::tcp("203.0.113.9", "192.168.1.2", port).state(ConnState::Oth);
                    let mut flow = talk.phase(phase).flow();
                    (flow.history, flow.orig.pkts) = (history.into(), 1);
                    told.extend(bench.feed(&Event::Flow(flow)));
                }
            }
            told
        };
        for history in ["Fr", "r", "Ar", "F"] {
            let told = blind(1..101, history);
            assert_eq!(levels(&told), ["medium 0.7", "high 0.8", "critical 1"], "{history}");
            assert!(told.iter().all(|finding| finding.proof == Proof::Unproven));
        }
        assert!(blind(40_000..41_000, "Fr").is_empty(), "what a server closes late goes to ports of clients");
        assert!(blind(1..1001, "Aa").is_empty(), "keep-alives");
    }

    #[test]
    fn what_a_page_can_have_its_visitor_do_outside_proves_nothing() {
        let worst = |ports: &[u16], target: &str, bare_syn| {
            let mut bench = bench(VerticalScan::new(&Settings::default()));
            bench.facts(Facts { src_on_link: true, ..Facts::default() });
            let attempt = |port: &u16| Talk::tcp("192.168.1.5", target, *port).phase(Phase::Rejected).flow();
            let told: Vec<_> = ports
                .iter()
                .flat_map(|port| bench.feed(&Event::Flow(Flow { bare_syn, ..attempt(port) })))
                .collect();
            assert_eq!(levels(&told).last().map(String::as_str), Some("critical 1"));
            told.last().map(|told| told.proof)
        };
        let outside = "203.0.113.9";
        let pages: Vec<u16> = (8000..8200).collect();
        assert_eq!(worst(&pages, outside, false), Some(Proof::Unproven));
        assert_eq!(worst(&pages, outside, true), Some(Proof::Proven), "a program made the packets");
        assert_eq!(worst(&pages, "192.168.1.7", false), Some(Proof::Proven));
        // A host whose mail does not get through, and a page: still nobody is blocked.
        let with = |others: &[u16]| worst(&[others, &pages].concat(), outside, false);
        assert_eq!(with(&[25, 143, 587, 993]), Some(Proof::Unproven));
        assert_eq!(with(&[21, 22, 23, 25, 110]), Some(Proof::Proven));
        assert_eq!(
            worst(&(1..151).collect::<Vec<_>>(), outside, false),
            Some(Proof::Proven),
            "a connect scan"
        );
    }

    #[test]
    fn one_genuine_attempt_does_not_prove_forged_ones() {
        let mixed = |genuine: usize| {
            let mut bench = bench(VerticalScan::new(&Settings::default()));
            let mut told = Vec::new();
            for n in 0..150 {
                bench.facts(Facts { src_on_link: n < genuine, ..Facts::default() });
                told.extend(bench.feed(&Talk::tcp("192.168.1.5", "192.168.1.2", 1 + n as u16).event()));
            }
            told.iter().map(|finding| finding.proof).collect::<Vec<_>>()
        };
        // The hardware address is learned a little later than the scan begins.
        let learned = |late: usize| {
            let mut bench = bench(VerticalScan::new(&Settings::default()));
            let mut told = Vec::new();
            for n in 0..150 {
                bench.facts(Facts { src_on_link: n >= late, ..Facts::default() });
                told.extend(bench.feed(&Talk::tcp("192.168.1.5", "192.168.1.2", 1 + n as u16).event()));
            }
            told.iter().map(|finding| finding.proof).collect::<Vec<_>>()
        };
        use Proof::{Proven, Unproven};
        assert_eq!(mixed(1), [Unproven, Unproven, Unproven]);
        assert_eq!(mixed(30), [Proven, Proven, Unproven]);
        let again = [Unproven, Proven, Unproven, Proven, Unproven, Proven];
        assert_eq!(learned(3), again, "told again at the third more");
        assert_eq!(mixed(150), [Proven, Proven, Proven]);
    }

    #[test]
    fn a_scan_that_goes_on_is_told_again_every_two_minutes() {
        let mut bench = bench(VerticalScan::new(&Settings::default()));
        let mut told = Vec::new();
        for second in 0..600 {
            // The same thousand ports again and again, four a second, told at the refusal and at the end.
            for n in 0..4 {
                for phase in [Phase::Rejected, Phase::End] {
                    let port = 1 + (second * 4 + n) % 1000;
                    let talk = Talk::tcp("203.0.113.9", "192.168.1.2", port as u16).phase(phase);
                    let flow = talk.at(second).state(ConnState::Rej).flow();
                    told.extend(bench.feed(&Event::Flow(flow)).iter().map(|f| (second, f.level)));
                }
            }
        }
        let critical: Vec<_> = told.iter().filter(|(_, l)| *l == ThreatLevel::Critical).collect();
        let seconds: Vec<_> = critical.iter().map(|(second, _)| *second).collect();
        assert_eq!(seconds, [24, 74, 194, 249, 369, 489]);
        let late = Talk::tcp("203.0.113.9", "192.168.1.2", 60_000).at(3000).event();
        assert!(bench.feed(&late).is_empty(), "a single straggler");
    }

    #[test]
    fn tcp_and_udp_are_apart() {
        let told = scan(1..19, |f| {
            if f.dst.port % 2 == 0 {
                (f.proto, f.state) = (Proto::Udp, ConnState::S0);
            }
        });
        assert!(told.is_empty());
    }

    #[test]
    fn failing_data_ports_of_a_server_just_talked_to_are_not_critical() {
        let mut bench = bench(VerticalScan::new(&Settings::default()));
        bench.facts(Facts { dst_talked: true, src_on_link: true, ..Facts::default() });
        let mut told = Vec::new();
        for port in 0..299 {
            let flow = Talk::tcp("192.168.1.5", "203.0.113.9", 40_000 + port).flow();
            told.extend(bench.feed(&Event::Flow(flow)));
        }
        assert_eq!(levels(&told), ["medium 0.7", "high 0.8"]);
        assert_eq!(told[0].proof, Proof::Unproven, "a page may have it done");
        let flow = Talk::tcp("192.168.1.5", "203.0.113.9", 50_000).flow();
        assert_eq!(levels(&bench.feed(&Event::Flow(flow))), ["critical 1"]);
    }

    #[test]
    fn windows_are_apart_and_a_forgotten_profile_starts_anew() {
        let mut bench = bench(VerticalScan::new(&Settings::default()));
        let flow = |port, hour: i64| {
            Event::Flow(Talk::tcp("203.0.113.9", "192.168.1.2", port).at(hour * 3600).flow())
        };
        assert_eq!((1..=9).map(|p| bench.feed(&flow(p, 0)).len()).sum::<usize>(), 0);
        assert_eq!((10..=18).map(|p| bench.feed(&flow(p, 1)).len()).sum::<usize>(), 0);
        assert_eq!(bench.feed(&flow(20, 0)).len(), 1, "a late flow goes to its own window");
        bench.forget(at("203.0.113.9"));
        assert_eq!((21..=29).map(|p| bench.feed(&flow(p, 0)).len()).sum::<usize>(), 0);
    }

    #[test]
    fn a_notice_of_zeek_is_high_and_not_told_twice() {
        let mut bench = bench(VerticalScan::new(&Settings::default()));
        let notice = crate::test_traces::notice(
            "Scan::Port_Scan",
            "203.0.113.9 scanned at least 15 unique ports of host 192.168.1.2 in 0m3s",
            "203.0.113.9",
        );
        let told = bench.feed(&notice);
        assert_eq!(levels(&told), ["high 0.8"]);
        assert_eq!(told[0].victim, Some(Entity::Ip(at("192.168.1.2"))));
        assert!(bench.feed(&notice).is_empty());
    }
}
