//! Multiple reconnection attempts: the same refused connection again and again.

use std::net::IpAddr;

use slips_core::detector::{Closing, Cx, Detector, Header, Role, Slot, Spec, Threshold, Unit};
use slips_core::event::{Event, EventKind};
use slips_core::evidence::{Entity, EvidenceKind, Finding, ThreatLevel};
use slips_core::flow::{ConnState, Flow, Phase, Proto};
use slips_core::state::Windowed;
use slips_core::time::WindowId;

use crate::Settings;
use crate::attempt::{self, Doubtful};
use crate::ladder::{self, Ladder, rung};
use crate::table::Table;
use crate::tally::{Once, Trail};

/// The registry's entry.
pub static SPEC: Spec = Spec {
    name: "multiple_reconnection_attempts",
    kinds: &[EvidenceKind::MultipleReconnectionAttempts],
    events: &[EventKind::Flow],
    roles: &[Role::Src],
    thresholds: &[ANY, TELNET],
    header: Header {
        detects: "Multiple reconnection attempts: the same refused connection again and again.",
        attack: "T1071 (a bot whose server is gone), T1110 Brute Force and T1078.001 Default Accounts for telnet.",
        rule: "Per source, window, destination and port, TCP connections that were refused (`REJ`). Telnet (ports \
            23 and 2323 together): attempts that failed in any way, because bots knock where nobody answers.",
        numbers: "5 refusals and 4 telnet failures are the original's; it repeats its evidence every 5 (300 refusals \
            in an hour alert), we update one.",
        quiet: "Clients of a stopped service do this all day, so it never rises above medium, and of one source only \
            the first 16 destinations weigh anything.",
        evasion: "Four attempts per window.",
        proof: "As for the scans; a refusal proves nothing about who asked, and outwards any web page can cause it, but for ports \
            that browsers refuse.",
    },
};

/// Steps for any port.
pub const ANY: Threshold = Threshold::steps(
    "attempts",
    "refused connections of one source to one port of one host in a window",
    Unit::Count,
    &[
        rung(5, ThreatLevel::Medium, 0.5),
        rung(50, ThreatLevel::Medium, 0.7),
        rung(500, ThreatLevel::Medium, 0.9),
    ],
)
.within(2, 1_000_000);
/// Steps for telnet.
pub const TELNET: Threshold = Threshold::steps(
    "telnet_attempts",
    "failed telnet connections of one source to one host in a window",
    Unit::Count,
    &[rung(4, ThreatLevel::Medium, 0.5), rung(16, ThreatLevel::High, 0.6), rung(64, ThreatLevel::High, 0.8)],
)
.within(2, 1_000_000);

/// Ports of telnet; the first stands for both.
const TELNET_PORTS: [u16; 2] = [23, 2323];
/// Destinations remembered per source and window; those with the fewest attempts make room.
const MAX_PEERS: usize = 256;
/// Destinations of one source and window that weigh anything.
const MAX_WEIGHING: u32 = 16;

#[derive(Debug, Default)]
struct Attempts {
    once: Once,
    peers: Table<(IpAddr, u16), Peer>,
    weighing: u32,
}

#[derive(Debug, Default)]
struct Peer {
    attempts: u32,
    doubtful: Doubtful,
    trail: Trail,
    weighs: bool,
    told: u8,
}

/// See the module.
#[derive(Debug)]
pub struct Reconnection {
    any: Ladder,
    telnet: Ladder,
    state: Windowed<Attempts>,
}

impl Reconnection {
    /// With these settings.
    pub fn new(settings: &Settings) -> Self {
        Self {
            any: settings.ladder(&SPEC, &ANY),
            telnet: settings.ladder(&SPEC, &TELNET),
            state: Windowed::default(),
        }
    }

    fn on_flow(&mut self, cx: &mut Cx<'_>, flow: &Flow) {
        if flow.proto != Proto::Tcp || !attempt::failed(flow) || !attempt::between_hosts(flow) {
            return;
        }
        let telnet = TELNET_PORTS.contains(&flow.dst.port);
        let refused = flow.phase == Phase::Rejected || flow.state == ConnState::Rej;
        if !refused && !telnet {
            return;
        }
        let attempts = self.state.get_or_default(cx.slot(), cx.window());
        if !attempts.once.first(flow) {
            return;
        }
        let port = if telnet { TELNET_PORTS[0] } else { flow.dst.port };
        let grown = |peer: &Peer| u64::from(peer.attempts);
        let Some(peer) = attempts.peers.get_or_insert((flow.dst.addr, port), MAX_PEERS, grown) else {
            return;
        };
        peer.attempts = peer.attempts.saturating_add(1);
        peer.doubtful.count_if(!attempt::is_own(flow, cx.facts()));
        peer.trail.push(flow.uid);
        let ladder = if telnet { &self.telnet } else { &self.any };
        let step = ladder.step(peer.attempts);
        if !ladder::climb(&mut peer.told, step) {
            return;
        }
        if !peer.weighs && attempts.weighing < MAX_WEIGHING {
            attempts.weighing += 1;
            peer.weighs = true;
        }
        let Some(mut rung) = ladder.at_step(step) else { return };
        if !peer.weighs {
            rung.level = ThreatLevel::Info;
        }
        let how = if telnet { "failed telnet" } else { "refused" };
        let text = format!("{} {how} connections to {} port {port}", peer.attempts, flow.dst.addr);
        cx.emit(Finding {
            victim: Some(Entity::Ip(flow.dst.addr)),
            proto: Some(Proto::Tcp),
            dst_port: Some(port),
            uids: peer.trail.take(),
            text,
            proof: peer.doubtful.proof(peer.attempts),
            ..ladder::finding(cx, EvidenceKind::MultipleReconnectionAttempts, flow.src.addr, rung, flow.seen)
        });
    }
}

impl Detector for Reconnection {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn on_event(&mut self, cx: &mut Cx<'_>, event: &Event) {
        if let Event::Flow(flow) = event {
            self.on_flow(cx, flow);
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
    use crate::test_traces::{Talk, bench, levels};
    use slips_core::evidence::weight;

    fn attempts(n: u32, port: u16, state: ConnState) -> Vec<Finding> {
        let mut bench = bench(Reconnection::new(&Settings::default()));
        let flow = |n| Talk::tcp("192.168.1.5", "203.0.113.9", port).state(state).uid(&format!("C{n}"));
        (0..n).flat_map(|n| bench.feed(&flow(n).event())).collect()
    }

    #[test]
    fn the_fifth_refusal_is_told_and_the_fourth_is_not() {
        assert!(attempts(4, 443, ConnState::Rej).is_empty());
        let told = attempts(5, 443, ConnState::Rej);
        assert_eq!(levels(&told), ["medium 0.5"]);
        assert_eq!((told[0].dst_port, told[0].uids.len()), (Some(443), 5));
    }

    #[test]
    fn an_hour_of_refusals_is_one_evidence_told_three_times() {
        assert_eq!(levels(&attempts(5000, 443, ConnState::Rej)), ["medium 0.5", "medium 0.7", "medium 0.9"]);
    }

    #[test]
    fn unanswered_attempts_count_for_telnet_only() {
        assert!(attempts(50, 443, ConnState::S0).is_empty());
        assert!(attempts(50, 443, ConnState::SF).is_empty());
        assert!(attempts(3, 23, ConnState::S0).is_empty());
        assert_eq!(levels(&attempts(4, 2323, ConnState::S0)), ["medium 0.5"]);
        assert_eq!(levels(&attempts(70, 23, ConnState::Rej)), ["medium 0.5", "high 0.6", "high 0.8"]);
    }

    #[test]
    fn the_phases_of_a_live_flow_are_one_attempt() {
        let mut bench = bench(Reconnection::new(&Settings::default()));
        let mut told = Vec::new();
        for n in 0..5 {
            for phase in [Phase::Start, Phase::Rejected, Phase::End] {
                let talk = Talk::tcp("192.168.1.5", "203.0.113.9", 443).state(ConnState::Rej);
                told.push(bench.feed(&talk.phase(phase).uid(&format!("C{n}")).event()).len());
            }
        }
        assert_eq!(told.iter().sum::<usize>(), 1);
        assert_eq!(told[13], 1, "at the refusal, not at the end");
    }

    #[test]
    fn a_proxy_whose_hundred_servers_are_down_does_not_alert() {
        let mut bench = bench(Reconnection::new(&Settings::default()));
        let mut sum = 0.0;
        for host in 1..=100 {
            let mut last = 0.0;
            for n in 0..600 {
                let dst = format!("10.0.0.{host}");
                let talk =
                    Talk::tcp("192.168.1.5", &dst, 8080).state(ConnState::Rej).uid(&format!("{host}-{n}"));
                for finding in bench.feed(&talk.event()) {
                    last = weight(finding.level, finding.confidence, 1);
                }
            }
            sum += last;
        }
        assert!(sum < 7.5, "{sum}");
    }
}
