//! Long connection: a connection that lasts unusually long.

use slips_core::detector::{Cx, Detector, Header, Role, Slot, Spec, Threshold, Unit};
use slips_core::event::{Event, EventKind};
use slips_core::evidence::{Confidence, Entity, EvidenceKind, Finding, Proof, ThreatLevel};
use slips_core::flow::{Flow, Outcome, Phase, Proto};
use slips_core::state::PerSlot;
use slips_core::time::WindowId;

use crate::ladder::{self, Ladder, rung};
use crate::table::Table;
use crate::tally::key_of;
use crate::{Settings, attempt};

/// The registry's entry.
pub static SPEC: Spec = Spec {
    name: "long_connection",
    kinds: &[EvidenceKind::LongConnection],
    events: &[EventKind::Flow],
    roles: &[Role::Src],
    thresholds: &[SECONDS],
    header: Header {
        detects: "Long connection: a connection that lasts unusually long.",
        attack: "T1571 Non-Standard Port, T1219 Remote Access Tools, T1572 Protocol Tunneling: interactive control \
            keeps one connection open.",
        rule: "A flow between two hosts that both took part lasts longer than the threshold. Live flows are told \
            while they last.",
        numbers: "1,500 s and the confidence (share of a day) are the original's; it tells at the end, we at 1,500 s, \
            4 h, 12 h, 24 h.",
        quiet: "Level low; VPNs, mail push and consoles do it, so of one source and window only the first 16 \
            connections weigh anything (0.2 each at most).",
        evasion: "Reconnect every 24 minutes.",
        proof: "Proven when the flow was two-way.",
    },
};

/// Steps in seconds; the confidence is the share of a day.
pub const SECONDS: Threshold = Threshold::steps(
    "duration",
    "that a connection lasts",
    Unit::Seconds,
    &[
        rung(1500, ThreatLevel::Low, 0.02),
        rung(14_400, ThreatLevel::Low, 0.17),
        rung(43_200, ThreatLevel::Low, 0.5),
        rung(86_400, ThreatLevel::Low, 1.0),
    ],
)
.within(1, 31_536_000);
const DAY: f64 = 86_400.0;

/// Open long connections remembered per source.
const MAX_OPEN: usize = 1024;
/// Connections of one source and window that weigh anything.
const MAX_WEIGHING: u32 = 16;

#[derive(Debug, Default)]
struct Longs {
    /// The step that was told of each open connection.
    open: Table<u64, u8>,
    /// How many connections that began in this window were told.
    window: WindowId,
    told: u32,
}

/// See the module.
#[derive(Debug)]
pub struct LongConnection {
    seconds: Ladder,
    state: PerSlot<Longs>,
}

impl LongConnection {
    /// With these settings.
    pub fn new(settings: &Settings) -> Self {
        Self { seconds: settings.ladder(&SPEC, &SECONDS), state: PerSlot::default() }
    }

    fn on_flow(&mut self, cx: &mut Cx<'_>, flow: &Flow) {
        let Some(duration) = flow.duration else { return };
        let seconds = (duration.0 / 1_000_000).clamp(0, i64::from(u32::MAX)) as u32;
        // Longer than the threshold, not as long.
        let step = self.seconds.step(seconds);
        let over = step > 0 && (self.seconds.step(seconds - 1) > 0 || duration.0 % 1_000_000 > 0);
        if !over
            || flow.proto == Proto::Icmp
            || flow.outcome() == Outcome::NotEstablished
            || !attempt::between_hosts(flow)
        {
            return;
        }
        let longs = self.state.get_or_default(cx.slot());
        let key = key_of(flow);
        let known = longs.open.get_mut(&key).copied().unwrap_or(0);
        if flow.phase == Phase::End {
            longs.open.remove(&key);
        } else if let Some(told) = longs.open.get_or_insert(key, MAX_OPEN, |told| u64::from(*told)) {
            *told = step.max(known);
        }
        if step <= known {
            return;
        }
        if known == 0 {
            if longs.window != cx.window() {
                (longs.window, longs.told) = (cx.window(), 0);
            }
            longs.told += 1;
        }
        let Some(mut rung) = self.seconds.at_step(step) else { return };
        rung.confidence = Confidence::new(duration.as_secs_f64() / DAY);
        if longs.told > MAX_WEIGHING {
            rung.level = ThreatLevel::Info;
        }
        let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
        cx.emit(Finding {
            victim: Some(Entity::Ip(flow.dst.addr)),
            proto: Some(flow.proto),
            dst_port: Some(flow.dst.port),
            uids: if flow.uid.is_empty() { Vec::new() } else { vec![flow.uid] },
            text: format!("connection to {} lasts {hours} h {minutes} min", flow.dst),
            proof: if flow.is_two_way() { Proof::Proven } else { attempt::proof_of_source(cx.facts()) },
            ..ladder::finding(cx, EvidenceKind::LongConnection, flow.src.addr, rung, flow.seen)
        });
    }
}

impl Detector for LongConnection {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn on_event(&mut self, cx: &mut Cx<'_>, event: &Event) {
        if let Event::Flow(flow) = event {
            self.on_flow(cx, flow);
        }
    }

    fn forget(&mut self, slot: Slot) {
        self.state.forget(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_traces::{Talk, at, bench, levels};

    fn lasting(secs: i64) -> Talk {
        Talk::tcp("192.168.1.5", "203.0.113.9", 443).carrying(1000, 1000).lasting(secs * 1000)
    }

    fn told(event: &Event) -> Vec<Finding> {
        bench(LongConnection::new(&Settings::default())).feed(event)
    }

    #[test]
    fn longer_than_the_threshold_is_told_and_as_long_is_not() {
        assert!(told(&lasting(1500).event()).is_empty());
        let findings = told(&lasting(1500).lasting(1_500_001).event());
        assert_eq!(findings.len(), 1);
        assert_eq!((findings[0].level, findings[0].proof), (ThreatLevel::Low, Proof::Proven));
        assert!((findings[0].confidence.get() - 0.0173).abs() < 0.001);
        assert_eq!(levels(&told(&lasting(200_000).event())), ["low 1"]);
    }

    #[test]
    fn multicast_and_failures_are_silent() {
        let mut flow = lasting(5000).flow();
        flow.dst.addr = at("224.0.0.251");
        assert!(told(&Event::Flow(flow)).is_empty());
        let unanswered = lasting(5000).state(slips_core::flow::ConnState::S0);
        assert!(told(&unanswered.event()).is_empty());
    }

    #[test]
    fn a_live_connection_is_told_at_its_steps_and_not_again_at_its_end() {
        let mut bench = bench(LongConnection::new(&Settings::default()));
        let mut count = 0;
        for minute in 1..=25 * 60 {
            count += bench.feed(&lasting(minute * 60).phase(Phase::Update).event()).len();
        }
        assert_eq!(count, 4);
        assert!(bench.feed(&lasting(25 * 3600).event()).is_empty());
    }

    #[test]
    fn only_the_first_sixteen_weigh() {
        let mut bench = bench(LongConnection::new(&Settings::default()));
        let flow = |n: i32| lasting(90_000).uid(&format!("C{n}")).event();
        let levels: Vec<_> = (0..40).flat_map(|n| bench.feed(&flow(n))).map(|f| f.level).collect();
        assert_eq!(levels.iter().filter(|level| **level == ThreatLevel::Low).count(), 16);
        assert_eq!(levels.len(), 40);
    }
}
