//! Horizontal port scan: one source fails at the same port of many hosts.
//!
//! * ATT&CK: T1046 Network Service Discovery, T1018 Remote System Discovery; T1595.001 Active Scanning when the source is remote.
//! * Rule: per source, window, destination port and transport, the distinct hosts at which an attempt failed (for TCP also one
//!   without SYN). Flows whose
//!   direction was swapped after the fact (`^` in the history) are not counted: old connections reappear half-open when a
//!   laptop roams. Zeek's `Scan::Address_Scan` notices raise the same evidence.
//! * Numbers: the first step at 10 hosts is what the original does in effect. Critical are 200 hosts within five to ten minutes
//!   (the slowest of the usual worms and masscan's default need seconds to two minutes), or 1,000 in a window;
//!   40 at the ports of worms. Critical is told again every two minutes while attempts go on.
//! * Why false positives stay out:
//!   - a host with which a local client lately talked is no discovery: monitoring and browsers whose uplink fails are silent;
//!   - peer-to-peer programs fail at many hosts, but at many ports too: with 50 failing ports or more, a port with less
//!     than a quarter of the failures stays at the first step;
//!   - crawlers succeed too: with half as many hosts that let it in as failed ones it stays below critical, except at the ports
//!     of worms;
//!   - a household whose IPv6 leads nowhere tries it first for every web site: ports 80 and 443 outwards stay below critical up
//!     to 1,000 silent hosts;
//!   - mail servers that cannot deliver (port 25 outwards) stay below critical;
//!   - unanswered datagrams to outside hosts are weak (peer-to-peer, games): they end at medium, and DNS, NTP, QUIC and STUN
//!     are not counted at all.
//! * Evasion: fewer than ten hosts per port and window; many sources; a mix of very many ports (which the vertical scan sees
//!   where hosts repeat); targets known to be open.
//! * Proof: as for the vertical scan: the proven attempts alone must reach the step, at its pace.

use std::net::IpAddr;

use slips_core::detector::{Closing, Cx, Detector, Facts, Role, Slot, Spec};
use slips_core::event::{Event, EventKind, Notice};
use slips_core::evidence::{EvidenceKind, Finding, Proof, ThreatLevel};
use slips_core::flow::{Flow, Outcome, Phase, Proto};
use slips_core::state::Windowed;
use slips_core::time::{Span, WindowId};

use crate::ladder::{self, Rung, Told, rung};
use crate::table::Table;
use crate::tally::{Distinct, Pace, Trail};
use crate::{Settings, attempt, zeek_notice};

/// The registry's entry.
pub static SPEC: Spec = Spec {
    name: "horizontal_port_scan",
    kinds: &[EvidenceKind::HorizontalPortScan],
    events: &[EventKind::Flow, EventKind::Notice],
    roles: &[Role::Src, Role::Dst],
};

/// Steps for TCP. The fourth needs [`FAST`] or [`MANY`]; at worms' ports [`FAST_WORM`] is enough for it.
pub const TCP: [Rung; 4] = [
    rung(10, ThreatLevel::Medium, 0.6),
    rung(30, ThreatLevel::Medium, 0.8),
    rung(100, ThreatLevel::High, 0.9),
    rung(200, ThreatLevel::Critical, 1.0),
];
/// Steps for UDP to our own hosts. The fourth needs [`FAST`] or [`MANY`].
pub const UDP: [Rung; 4] = [
    rung(10, ThreatLevel::Low, 0.5),
    rung(30, ThreatLevel::Medium, 0.6),
    rung(100, ThreatLevel::High, 0.7),
    rung(300, ThreatLevel::Critical, 0.9),
];
/// Steps for UDP to outside hosts.
pub const UDP_OUTWARDS: [Rung; 2] = [rung(50, ThreatLevel::Low, 0.4), rung(200, ThreatLevel::Medium, 0.5)];

/// The period of the pace: one to two of these are looked at.
const MINUTES: Span = Span::from_secs(300);
/// Hosts within five to ten minutes that make it critical.
pub const FAST: u32 = 200;
/// Ports that nobody but the worms of devices and of Windows looks for at many hosts: telnet, SMB, Android's debugger, and the
/// management ports of routers. The reference capture of such a bot fails at 131 hosts in 134 s, over four ports.
pub const WORM_PORTS: [u16; 7] = [23, 2323, 445, 5555, 7547, 37_215, 52_869];
/// Hosts within five to ten minutes that make it critical at such a port.
pub const FAST_WORM: u32 = 40;
/// Hosts in a window that make it critical at any pace.
pub const MANY: u32 = 1000;
/// The step before the critical one.
const BELOW_CRITICAL: u8 = 3;
/// The step that a peer-to-peer program does not pass, and what makes one.
const SCATTERED_STEP: u8 = 1;
const SCATTERED_PORTS: u32 = 50;
const SCATTERED_SHARE: u32 = 4;
/// Outward datagrams to these ports fail every day: DNS, NTP, QUIC, STUN.
const UDP_OUTWARDS_IGNORED: [u16; 4] = [53, 123, 443, 3478];
const SMTP: u16 = 25;
const WEB: [u16; 2] = [80, 443];

/// Ports remembered per source and window; those with the fewest hosts make room.
const MAX_PORTS: usize = 256;

/// One source in one window.
#[derive(Debug, Default)]
struct Sweeps {
    ports: Table<(u16, Proto), Sweep>,
    /// Distinct destination ports of failed TCP attempts, and distinct pairs of port and host.
    tcp_ports: Distinct<u16>,
    tcp_pairs: u32,
}

/// One destination port.
#[derive(Debug, Default)]
struct Sweep {
    failed: Hosts,
    /// Outside hosts to which datagrams went.
    outwards: Hosts,
    /// Hosts that refused.
    refused: u32,
    /// Hosts that let the source in, since the first failure.
    succeeded: Distinct<IpAddr>,
    trail: Trail,
    told: Told,
    /// The step that the proven attempts reached alone.
    proven: u8,
}

/// Hosts, and those of them that a proven source tried.
#[derive(Debug, Default)]
struct Hosts {
    all: Distinct<IpAddr>,
    pace: Pace,
    proven: u32,
    proven_pace: Pace,
}

impl Hosts {
    /// Adds a host; false when it is known already.
    fn insert(&mut self, flow: &Flow, facts: Facts) -> bool {
        let new = self.all.insert(flow.dst.addr);
        if new {
            self.pace.add(flow.start, 1, MINUTES);
        }
        if new && attempt::is_proven(flow, facts) {
            self.proven += 1;
            self.proven_pace.add(flow.start, 1, MINUTES);
        }
        new
    }
}

/// See the module.
#[derive(Debug)]
pub struct HorizontalScan {
    first: u32,
    state: Windowed<Sweeps>,
}

impl HorizontalScan {
    /// With these settings.
    pub fn new(settings: &Settings) -> Self {
        Self { first: settings.horizontal_scan_hosts.max(2), state: Windowed::default() }
    }

    fn on_flow(&mut self, cx: &mut Cx<'_>, flow: &Flow, facts: Facts) {
        if !matches!(flow.proto, Proto::Tcp | Proto::Udp) {
            return;
        }
        let key = (flow.dst.port, flow.proto);
        if !attempt::failed(flow) && !attempt::is_blind_probe(flow) {
            if matches!(flow.phase, Phase::Established | Phase::End)
                && flow.outcome() == Outcome::Established
                && let Some(sweeps) = self.state.get_mut(cx.slot(), cx.window())
                && let Some(sweep) = sweeps.ports.get_mut(&key)
            {
                sweep.succeeded.insert(flow.dst.addr);
            }
            return;
        }
        if !counts(flow, facts) || !attempt::between_hosts(flow) {
            return;
        }
        let sweeps = self.state.get_or_default(cx.slot(), cx.window());
        let Some(sweep) = sweeps.ports.get_or_insert(key, MAX_PORTS, Sweep::hosts) else { return };
        let new = sweep.add(flow, facts);
        if !new && !attempt::is_new_attempt(flow) {
            return;
        }
        let scattered = flow.proto == Proto::Tcp && {
            sweeps.tcp_ports.insert(flow.dst.port);
            sweeps.tcp_pairs = sweeps.tcp_pairs.saturating_add(u32::from(new));
            sweeps.tcp_ports.len() >= SCATTERED_PORTS
                && sweep.failed.all.len().saturating_mul(SCATTERED_SHARE) < sweeps.tcp_pairs
        };
        let Some((rung, proof)) = sweep.climb(flow, facts, self.first, scattered) else { return };
        let hosts = sweep.hosts();
        let bound = sweep.failed.all.is_bound() || sweep.outwards.all.is_bound();
        let least = if bound { "at least " } else { "" };
        let text = format!(
            "horizontal port scan: port {}/{} failed at {least}{hosts} hosts",
            flow.dst.port, flow.proto
        );
        cx.emit(Finding {
            dst_port: Some(flow.dst.port),
            proto: Some(flow.proto),
            uids: sweep.trail.take(),
            text,
            proof,
            ..ladder::finding(cx, EvidenceKind::HorizontalPortScan, flow.src.addr, rung, flow.seen)
        });
    }

    fn on_notice(&mut self, cx: &mut Cx<'_>, notice: &Notice) {
        if !zeek_notice::is(notice, "Address_Scan") {
            return;
        }
        let (port, proto) = zeek_notice::port_of(notice);
        let (Some(port), proto) = (port, proto.unwrap_or(Proto::Tcp)) else { return };
        let sweeps = self.state.get_or_default(cx.slot(), cx.window());
        let Some(sweep) = sweeps.ports.get_or_insert((port, proto), MAX_PORTS, Sweep::hosts) else { return };
        // Zeek tells once, at its own threshold (25 hosts in 5 minutes), and is silent about the rest.
        let hosts = zeek_notice::number_after(&notice.msg, "at least ").unwrap_or(0);
        let step = ladder::step(&TCP, 0, hosts).max(BELOW_CRITICAL);
        let Some(rung) = sweep.told.climb(&TCP, step, Proof::Unproven, 0, notice.at) else { return };
        cx.emit(Finding {
            dst_port: Some(port),
            proto: Some(proto),
            text: format!("horizontal port scan of port {port}/{proto}, by Zeek: {}", notice.msg),
            ..ladder::finding(cx, EvidenceKind::HorizontalPortScan, cx.profile(), rung, notice.at)
        });
    }
}

/// To an outside host; also between two of them, where a capture does not tell which side is ours.
const fn is_outwards(facts: Facts) -> bool {
    !facts.dst_local
}

/// Whether a failure says anything about looking for hosts.
fn counts(flow: &Flow, facts: Facts) -> bool {
    let outage = facts.src_local && facts.dst_talked;
    let everyday = flow.proto == Proto::Udp
        && (attempt::looks_like_answer(flow, facts)
            || (is_outwards(facts) && UDP_OUTWARDS_IGNORED.contains(&flow.dst.port)));
    !flow.was_flipped() && !outage && !everyday
}

impl Sweep {
    fn hosts(&self) -> u64 {
        u64::from(self.failed.all.len()) + u64::from(self.outwards.all.len())
    }

    /// Counts the host; false when it is known already.
    fn add(&mut self, flow: &Flow, facts: Facts) -> bool {
        self.trail.push(flow.uid);
        if flow.proto == Proto::Udp && is_outwards(facts) {
            return self.outwards.insert(flow, facts);
        }
        let new = self.failed.insert(flow, facts);
        let refused = flow.phase == Phase::Rejected || flow.resp.pkts > 0;
        self.refused += u32::from(new && refused);
        new
    }

    /// The step to tell, if any, and whether the proven attempts alone reach it.
    fn climb(&mut self, flow: &Flow, facts: Facts, first: u32, scattered: bool) -> Option<(Rung, Proof)> {
        let ladder: &[Rung] = if flow.proto == Proto::Tcp { &TCP } else { &UDP };
        let highest = self.highest(flow, facts, scattered);
        let (hosts, outwards) = (&self.failed, &self.outwards);
        let step = step(flow, first, hosts.all.len(), &hosts.pace).min(highest);
        // The pace of what goes on may fall: hosts that are known count once. What was told stands.
        let stands = step.max(self.told.step().min(highest));
        self.proven = self.proven.max(self::step(flow, first, hosts.proven, &hosts.proven_pace));
        // The two ladders of UDP share one evidence; the outward one never reaches beyond the inner one's second step.
        let outside = |hosts| ladder::step(&UDP_OUTWARDS, UDP_OUTWARDS[0].at, hosts);
        let step_outside = outside(outwards.all.len());
        let (ladder, step, proven) = if step_outside > stands {
            let ladder: &[Rung] = if hosts.all.len() < first { &UDP_OUTWARDS } else { ladder };
            (ladder, step_outside, outside(outwards.proven) >= step_outside)
        } else {
            (ladder, stands, self.proven >= stands)
        };
        let proof = attempt::proof_if(proven);
        let rung = self.told.climb(ladder, step, proof, 1, flow.seen)?;
        Some((rung, proof))
    }

    /// The highest step that innocent explanations leave.
    fn highest(&self, flow: &Flow, facts: Facts, scattered: bool) -> u8 {
        let hosts = self.failed.all.len();
        let crawls = !is_worms(flow) && self.succeeded.len().saturating_mul(2) >= hosts;
        let mail = flow.dst.port == SMTP && is_outwards(facts);
        let web = WEB.contains(&flow.dst.port) && is_outwards(facts) && self.refused < FAST && hosts <= MANY;
        if scattered {
            SCATTERED_STEP
        } else if crawls || mail || web {
            BELOW_CRITICAL
        } else {
            BELOW_CRITICAL + 1
        }
    }
}

fn is_worms(flow: &Flow) -> bool {
    flow.proto == Proto::Tcp && WORM_PORTS.contains(&flow.dst.port)
}

/// The step that so many hosts at this pace reach.
fn step(flow: &Flow, first: u32, hosts: u32, pace: &Pace) -> u8 {
    let ladder: &[Rung] = if flow.proto == Proto::Tcp { &TCP } else { &UDP };
    let worms = is_worms(flow);
    let fast = pace.sum() >= if worms { FAST_WORM } else { FAST };
    let step = ladder::step(ladder, first, hosts);
    match (worms, fast) {
        (true, true) => BELOW_CRITICAL + 1,
        _ if fast || hosts >= MANY => step,
        _ => step.min(BELOW_CRITICAL),
    }
}

impl Detector for HorizontalScan {
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
    use crate::test_traces::{Talk, at, bench, levels, notice};
    use slips_core::flow::ConnState;

    fn host(n: u32) -> String {
        format!("192.168.{}.{}", n / 200, n % 200 + 1)
    }

    /// `n` hosts, one every `gap` milliseconds.
    fn sweep(n: u32, gap: i64, vary: impl Fn(u32, &mut Flow)) -> Vec<Finding> {
        let mut bench = bench(HorizontalScan::new(&Settings::default()));
        let mut told = Vec::new();
        for n in 0..n {
            let mut flow = Talk::tcp("203.0.113.9", &host(n), 8080).at(i64::from(n) * gap / 1000).flow();
            vary(n, &mut flow);
            told.extend(bench.feed(&Event::Flow(flow)));
        }
        told
    }

    fn outside(n: u32) -> IpAddr {
        at(&format!("198.51.{}.{}", n / 200, n % 200 + 1))
    }

    #[test]
    fn ten_hosts_are_told_and_nine_are_not() {
        assert!(sweep(9, 10, |_, _| {}).is_empty());
        let told = sweep(10, 10, |_, _| {});
        assert_eq!(levels(&told), ["medium 0.6"]);
        assert_eq!((told[0].dst_port, told[0].victim.as_ref()), (Some(8080), None));
        assert_eq!(told[0].uids.len(), 10);
    }

    #[test]
    fn hundreds_of_hosts_in_minutes_are_critical_once() {
        let told = sweep(3000, 10, |_, _| {});
        assert_eq!(levels(&told), ["medium 0.6", "medium 0.8", "high 0.9", "critical 1"]);
        assert!(told[3].text.contains("200 hosts"), "{}", told[3].text);
    }

    #[test]
    fn the_same_slowly_is_not_critical_before_a_thousand() {
        assert_eq!(levels(&sweep(990, 3500, |_, _| {})), ["medium 0.6", "medium 0.8", "high 0.9"]);
        assert_eq!(levels(&sweep(1000, 3500, |_, _| {})).last().map(String::as_str), Some("critical 1"));
    }

    #[test]
    fn forty_hosts_in_minutes_are_critical_at_the_ports_of_worms() {
        let telnet = |n, gap| sweep(n, gap, |_, f| f.dst.port = 23);
        assert_eq!(levels(&telnet(39, 2000)), ["medium 0.6", "medium 0.8"]);
        assert_eq!(levels(&telnet(40, 2000)).last().map(String::as_str), Some("critical 1"));
        assert_eq!(levels(&telnet(90, 39_000)), ["medium 0.6", "medium 0.8"]);
    }

    #[test]
    fn swapped_flows_successes_and_one_host_again_and_again_are_silent() {
        assert!(sweep(300, 10, |_, f| f.history = "^r".into()).is_empty());
        assert!(sweep(300, 10, |_, f| f.state = ConnState::SF).is_empty());
        assert!(sweep(300, 10, |_, f| f.dst.addr = at("192.168.0.1")).is_empty());
        assert!(sweep(300, 10, |_, f| f.dst.addr = at("224.0.0.1")).is_empty());
    }

    #[test]
    fn an_outage_of_hosts_lately_talked_to_is_silent() {
        let mut bench = bench(HorizontalScan::new(&Settings::default()));
        bench.facts(Facts { dst_talked: true, ..Facts::default() });
        for n in 0..500 {
            let mut flow = Talk::tcp("192.168.9.9", "192.168.1.1", 9100).flow();
            flow.dst.addr = outside(n);
            assert!(bench.feed(&Event::Flow(flow)).is_empty());
        }
    }

    #[test]
    fn peer_to_peer_failures_over_many_ports_stay_at_the_first_step() {
        let mut bench = bench(HorizontalScan::new(&Settings::default()));
        let mut told = Vec::new();
        for n in 0..9000u32 {
            // Every twentieth peer uses the program's old default port.
            let port = if n % 20 == 0 { 6881 } else { 10_000 + (n * 7919 % 50_000) as u16 };
            let mut flow = Talk::tcp("192.168.1.5", "192.168.1.1", port).at(i64::from(n) / 15).flow();
            flow.dst.addr = outside(n);
            told.extend(bench.feed(&Event::Flow(flow)));
        }
        assert_eq!(levels(&told), ["medium 0.6"]);
    }

    #[test]
    fn a_scan_of_seven_ports_at_once_is_critical_on_each() {
        let mut bench = bench(HorizontalScan::new(&Settings::default()));
        let mut told = Vec::new();
        for n in 0..1600 {
            for port in [21, 22, 23, 80, 445, 3389, 8080] {
                told.extend(bench.feed(&Talk::tcp("203.0.113.9", &host(n), port).event()));
            }
        }
        assert_eq!(told.iter().filter(|f| f.level == ThreatLevel::Critical).count(), 7);
    }

    #[test]
    fn crawlers_and_undeliverable_mail_stay_below_critical() {
        let mut bench = bench(HorizontalScan::new(&Settings::default()));
        let mut told = Vec::new();
        for n in 0..1500 {
            for (state, port) in [(ConnState::S0, 8443), (ConnState::SF, 8443), (ConnState::S0, 25)] {
                let mut flow = Talk::tcp("192.168.1.5", "192.168.1.1", port).state(state).flow();
                flow.dst.addr = outside(n);
                told.extend(bench.feed(&Event::Flow(flow)));
            }
        }
        assert_eq!(told.iter().map(|f| f.level).max(), Some(ThreatLevel::High));
        assert_eq!(told.len(), 6);
    }

    #[test]
    fn a_worm_that_succeeds_at_a_host_of_its_own_or_at_many_is_critical() {
        for own in [true, false] {
            let mut bench = bench(HorizontalScan::new(&Settings::default()));
            let mut told = Vec::new();
            for n in 0..900 {
                for (state, port) in [(ConnState::S0, 23), (ConnState::SF, 23)] {
                    let mut flow = Talk::tcp("192.168.1.7", "45.1.1.1", port).state(state).flow();
                    if state == ConnState::S0 || !own {
                        flow.dst.addr = outside(n);
                    }
                    told.extend(bench.feed(&Event::Flow(flow)));
                }
            }
            assert_eq!(told.iter().map(|f| f.level).max(), Some(ThreatLevel::Critical));
        }
    }

    #[test]
    fn one_host_that_lets_a_scanner_in_excuses_one_and_a_handshake_counts_at_once() {
        let scan = |own: bool| {
            let mut bench = bench(HorizontalScan::new(&Settings::default()));
            let mut told = Vec::new();
            for n in 0..900 {
                told.extend(bench.feed(&Talk::tcp("203.0.113.9", &host(n), 8080).event()));
                let peer = if own { "45.1.1.1".to_owned() } else { host(1000 + n) };
                let talk = Talk::tcp("203.0.113.9", &peer, 8080).carrying(9, 9).uid(&format!("D{n}"));
                bench.feed(&talk.phase(Phase::Established).event());
            }
            told.iter().map(|finding| finding.level).max()
        };
        assert_eq!(scan(true), Some(ThreatLevel::Critical));
        assert_eq!(scan(false), Some(ThreatLevel::High));
    }

    #[test]
    fn a_household_with_broken_ipv6_stays_below_critical_and_a_sweep_of_the_web_does_not() {
        let worst = |n, refused: bool, dst: fn(u32) -> String| {
            let told = sweep(n, 1000, |n, f| {
                (f.src.addr, f.dst.addr, f.dst.port) = (at("2003:db:1:2::5"), at(&dst(n)), 443);
                (f.phase, f.resp.pkts) = (Phase::End, u64::from(refused));
            });
            told.iter().map(|finding| finding.level).max()
        };
        let outside = |n| format!("2a00:{n:x}::1");
        assert_eq!(worst(900, false, outside), Some(ThreatLevel::High));
        assert_eq!(worst(1300, false, outside), Some(ThreatLevel::Critical));
        assert_eq!(worst(300, true, outside), Some(ThreatLevel::Critical));
        assert_eq!(worst(300, false, host), Some(ThreatLevel::Critical));
    }

    #[test]
    fn proven_are_attempts_that_reach_the_step_alone() {
        let mixed = |genuine: u32| {
            let mut bench = bench(HorizontalScan::new(&Settings::default()));
            let mut told = Vec::new();
            for n in 0..250 {
                bench.facts(Facts { src_on_link: n < genuine, ..Facts::default() });
                told.extend(bench.feed(&Talk::tcp("192.168.9.5", &host(n), 8080).event()));
            }
            told.iter().map(|f| f.proof == Proof::Proven).collect::<Vec<_>>()
        };
        assert_eq!(mixed(1), [false; 4]);
        assert_eq!(mixed(100), [true, true, true, false]);
        assert_eq!(mixed(250), [true; 4]);
    }

    #[test]
    fn fin_scans_of_many_hosts_are_seen_and_never_proven() {
        let told = sweep(300, 10, |_, f| {
            (f.state, f.history, f.orig.pkts) = (ConnState::Oth, "Fr".into(), 1);
        });
        assert_eq!(levels(&told).last().map(String::as_str), Some("critical 1"));
        assert_eq!(told[0].proof, Proof::Unproven);
    }

    #[test]
    fn a_scan_that_goes_on_is_told_again() {
        let mut bench = bench(HorizontalScan::new(&Settings::default()));
        let mut seconds = Vec::new();
        for second in 0..600 {
            let mut flow = Talk::tcp("203.0.113.9", &host(second as u32 % 100), 23).at(second).flow();
            for phase in [Phase::Unanswered, Phase::End] {
                flow.phase = phase;
                let told = bench.feed(&Event::Flow(flow.clone()));
                seconds.extend(told.iter().filter(|f| f.level == ThreatLevel::Critical).map(|_| second));
            }
        }
        assert_eq!(seconds, [39, 159, 279, 399, 519]);
    }

    #[test]
    fn datagrams_outwards_are_weak_and_everyday_ones_are_silent() {
        let outwards = |port: u16| {
            sweep(1500, 10, |n, f| {
                (f.proto, f.src.addr, f.dst.addr, f.dst.port) =
                    (Proto::Udp, at("192.168.1.5"), outside(n), port);
            })
        };
        for port in [53, 123, 443] {
            assert!(outwards(port).is_empty(), "{port}");
        }
        assert_eq!(levels(&outwards(6881)), ["low 0.4", "medium 0.5"]);
        let inwards = sweep(1500, 10, |_, f| (f.proto, f.dst.port) = (Proto::Udp, 5060));
        assert_eq!(levels(&inwards), ["low 0.5", "medium 0.6", "high 0.7", "critical 0.9"]);
    }

    #[test]
    fn a_notice_of_zeek_is_high_and_not_told_twice() {
        let mut bench = bench(HorizontalScan::new(&Settings::default()));
        let msg = "203.0.113.9 scanned at least 25 unique hosts on port 2323/tcp in 0m1s";
        let seen = notice("Scan::Address_Scan", msg, "203.0.113.9");
        let told = bench.feed(&seen);
        assert_eq!(levels(&told), ["high 0.9"]);
        assert_eq!((told[0].dst_port, told[0].proto), (Some(2323), Some(Proto::Tcp)));
        assert!(bench.feed(&seen).is_empty());
        assert!(bench.feed(&notice("Scan::Address_Scan", "garbled", "203.0.113.9")).is_empty());
    }
}
