//! Beaconing: connections that come back like a clock (`COMMAND_AND_CONTROL_CHANNEL`).
//!
//! * ATT&CK: T1071 Application Layer Protocol, T1573 Encrypted Channel, T1029 Scheduled Transfer.
//! * Rule: TCP flows of one source to one host and port outside. Of the last twenty, the median absolute deviation of the
//!   intervals and of the bytes sent, each divided by the median. Once more, and more strictly, with each interval taken by its
//!   distance to the next multiple of the median, up to four, so that missing beats do not matter. Over hours and days: the state is not bound to a window.
//! * Numbers: a beat needs ten intervals of at least a second, dispersion of at most 0.3 in time and 0.1 in size. Implants jitter
//!   by 10 to 50 % of their interval, whose deviation is a quarter of it or less. The original's network judges letters of flows
//!   and never sees Zeek's.
//! * Why false positives stay out: a clock alone is what clients of all kinds have: info, and low from a hundred beats on, where a known protocol is spoken at a known
//!   port. Worse is a clock with a protocol that nobody recognises at a port of no known service, or one that is refused again and
//!   again. Local services are not judged; four peers of one source weigh. Nothing here is critical by itself.
//! * Evasion: jitter of more than the interval, several servers, one long connection; UDP, DNS and ICMP are not judged yet.
//! * Proof: proven where the connections were two-way; refused ones by the hardware address.

use std::net::IpAddr;

use slips_core::addr;
use slips_core::detector::{Cx, Detector, Role, Slot, Spec};
use slips_core::event::{Event, EventKind};
use slips_core::evidence::{Confidence, Entity, EvidenceKind, Finding, Proof, ThreatLevel};
use slips_core::flow::{ConnState, Flow, Phase, Proto};
use slips_core::state::PerSlot;
use slips_core::time::{PacketTime, WindowId};

use crate::ladder::{self, Rung, rung};
use crate::table::Table;
use crate::tally::Trail;
use crate::{attempt, ports};

/// The registry's entry.
pub static SPEC: Spec = Spec {
    name: "beacon",
    kinds: &[EvidenceKind::CommandAndControlChannel],
    events: &[EventKind::Flow],
    roles: &[Role::Src],
};

/// Steps in beats where a known protocol or port is used.
pub const ORDINARY: [Rung; 3] =
    [rung(20, ThreatLevel::Info, 0.3), rung(100, ThreatLevel::Low, 0.6), rung(300, ThreatLevel::Low, 0.9)];
/// Steps in beats where nobody knows the port nor the protocol, or where they are refused.
pub const STRANGE: [Rung; 3] =
    [rung(10, ThreatLevel::Medium, 0.6), rung(50, ThreatLevel::High, 0.6), rung(200, ThreatLevel::High, 0.8)];

/// Flows that are looked at.
const LAST: usize = 20;
/// Intervals that make a beat.
const MIN_INTERVALS: usize = 10;
/// Shorter intervals are one beat.
const MIN_INTERVAL_MILLIS: i64 = 1000;
const TIME_DISPERSION: f64 = 0.3;
/// The same where missing beats are allowed for: any interval is near some multiple, so it must be nearer.
const FOLDED_DISPERSION: f64 = 0.1;
const SIZE_DISPERSION: f64 = 0.1;
/// Peers remembered per source; those with the fewest beats make room.
const MAX_PEERS: usize = 32;
/// Peers of one source and window that weigh anything.
const MAX_WEIGHING: u32 = 4;

/// One flow of a series.
#[derive(Clone, Copy, Debug)]
struct Beat {
    after_millis: u32,
    bytes: u32,
    /// Nobody knows the port nor the protocol, or it was refused.
    strange: bool,
}

#[derive(Debug, Default)]
struct Series {
    last: Option<PacketTime>,
    beats: Vec<Beat>,
    regular: u32,
    trail: Trail,
    window: Option<WindowId>,
    weighs: bool,
    told: u8,
}

#[derive(Debug, Default)]
struct Source {
    peers: Table<(IpAddr, u16), Series>,
    window: Option<WindowId>,
    weighing: u32,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Beacon {
    sources: PerSlot<Source>,
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// Median and median absolute deviation.
fn spread(mut values: Vec<f64>, fold: bool) -> (f64, f64) {
    let middle = median(&mut values);
    for value in &mut values {
        let times = if fold && middle > 0.0 { (*value / middle).round().clamp(1.0, 4.0) } else { 1.0 };
        *value = (*value - times * middle).abs();
    }
    (middle, median(&mut values))
}

impl Series {
    /// Adds a flow; true when the series is regular.
    fn add(&mut self, flow: &Flow) -> bool {
        let Some(last) = self.last else {
            self.last = Some(flow.start);
            return false;
        };
        let millis = flow.start.0.saturating_sub(last.0) / 1000;
        if millis < MIN_INTERVAL_MILLIS {
            return false;
        }
        self.last = Some(flow.start);
        if self.beats.len() >= LAST {
            self.beats.remove(0);
        }
        let short = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        let unknown = flow.service.is_empty() && !ports::is_known(flow.dst.port);
        self.beats.push(Beat {
            after_millis: short(millis.unsigned_abs()),
            bytes: short(flow.orig.bytes),
            strange: unknown || attempt::failed(flow),
        });
        let regular = self.is_regular();
        if regular {
            self.regular = self.regular.saturating_add(1).max(self.beats.len() as u32);
        } else {
            self.regular = 0;
        }
        regular
    }

    fn is_regular(&self) -> bool {
        if self.beats.len() < MIN_INTERVALS {
            return false;
        }
        let intervals = || self.beats.iter().map(|beat| f64::from(beat.after_millis)).collect();
        let (interval, jitter) = spread(intervals(), false);
        let (_, folded) = spread(intervals(), true);
        let (bytes, difference) =
            spread(self.beats.iter().map(|beat| f64::from(beat.bytes)).collect(), false);
        (jitter <= TIME_DISPERSION * interval || folded <= FOLDED_DISPERSION * interval)
            && difference <= SIZE_DISPERSION * bytes.max(1.0)
    }

    fn interval_secs(&self) -> f64 {
        spread(self.beats.iter().map(|beat| f64::from(beat.after_millis)).collect(), false).0 / 1000.0
    }
}

impl Beacon {
    fn on_flow(&mut self, cx: &mut Cx<'_>, flow: &Flow) {
        let source = self.sources.get_or_default(cx.slot());
        let peer = (flow.dst.addr, flow.dst.port);
        let grown = |series: &Series| u64::from(series.regular) * 64 + series.beats.len() as u64;
        let Some(series) = source.peers.get_or_insert(peer, MAX_PEERS, grown) else { return };
        if !series.add(flow) {
            return;
        }
        series.trail.push(flow.uid);
        let strange = series.beats.iter().filter(|beat| beat.strange).count() * 2 >= series.beats.len();
        if source.window != Some(cx.window()) {
            (source.window, source.weighing) = (Some(cx.window()), 0);
        }
        if series.window != Some(cx.window()) {
            (series.window, series.told, series.weighs) = (Some(cx.window()), 0, false);
        }
        let ladder = if strange { &STRANGE } else { &ORDINARY };
        let step = ladder::step(ladder, ladder[0].at, series.regular);
        if !ladder::climb(&mut series.told, step) {
            return;
        }
        if !series.weighs && source.weighing < MAX_WEIGHING {
            source.weighing += 1;
            series.weighs = true;
        }
        let Some(mut rung) = ladder::at_step(ladder, step) else { return };
        if !series.weighs {
            rung.level = ThreatLevel::Info;
        }
        tell(cx, flow, rung, series);
    }
}

/// A linked pair: who beats, and whom it calls.
fn tell(cx: &mut Cx<'_>, flow: &Flow, rung: Rung, series: &mut Series) {
    let text = format!(
        "{} connections to {} like a clock, every {:.1} s",
        series.regular,
        flow.dst,
        series.interval_secs()
    );
    let proof = if flow.is_two_way() { Proof::Proven } else { attempt::proof_of_source(cx.facts()) };
    let mut client = Finding {
        victim: Some(Entity::Ip(flow.dst.addr)),
        proto: Some(Proto::Tcp),
        dst_port: Some(flow.dst.port),
        uids: series.trail.take(),
        text,
        proof,
        ..ladder::finding(cx, EvidenceKind::CommandAndControlChannel, flow.src.addr, rung, flow.seen)
    };
    let mut server = Finding {
        attacker: Entity::Ip(flow.dst.addr),
        victim: Some(Entity::Ip(flow.src.addr)),
        confidence: Confidence::new(rung.confidence.get() * 0.8),
        proof: if flow.is_two_way() { Proof::Proven } else { Proof::Unproven },
        ..client.clone()
    };
    client.related.push(server.id());
    server.related.push(client.id());
    cx.emit(client);
    cx.emit(server);
}

impl Detector for Beacon {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn on_event(&mut self, cx: &mut Cx<'_>, event: &Event) {
        if let Event::Flow(flow) = event
            && flow.proto == Proto::Tcp
            && flow.phase == Phase::End
            // Joined in the middle: a long connection whose parts look like a series.
            && flow.state != ConnState::Oth
            && !addr::is_private(flow.dst.addr)
            && !cx.facts().dst_local
            && attempt::between_hosts(flow)
            && !flow.was_flipped()
        {
            self.on_flow(cx, flow);
        }
    }

    fn forget(&mut self, slot: Slot) {
        self.sources.forget(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_traces::{Talk, bench, levels};
    use slips_core::flow::Service;

    /// Flows at these seconds, told of the client.
    fn told(at: impl Iterator<Item = i64>, vary: impl Fn(usize, &mut Flow)) -> Vec<Finding> {
        let mut bench = bench(Beacon::default());
        let flow = |(n, second): (usize, i64)| {
            let talk = Talk::tcp("192.168.1.5", "203.0.113.9", 443).carrying(841, 3000).at(second);
            let mut flow = talk.uid(&format!("C{n}")).flow();
            flow.service = Service::new("ssl");
            vary(n, &mut flow);
            Event::Flow(flow)
        };
        let all = at.enumerate().flat_map(|flow_at| bench.feed(&flow(flow_at)));
        all.filter(|finding| finding.attacker == Entity::Ip("192.168.1.5".parse().expect("ip"))).collect()
    }

    fn strange(_: usize, flow: &mut Flow) {
        (flow.service, flow.dst.port) = (Service::EMPTY, 5888);
    }

    #[test]
    fn a_clock_at_a_known_port_is_low() {
        assert!(told((0..20).map(|n| n * 5), |_, _| {}).is_empty());
        assert_eq!(levels(&told((0..100).map(|n| n * 5), |_, _| {})), ["info 0.3"]);
        assert_eq!(levels(&told((0..400).map(|n| n * 5), |_, _| {})), ["info 0.3", "low 0.6", "low 0.9"]);
    }

    #[test]
    fn a_strange_or_refused_clock_is_high() {
        assert!(told((0..10).map(|n| n * 5), strange).is_empty(), "nine intervals");
        assert_eq!(levels(&told((0..300).map(|n| n * 5), strange)), ["medium 0.6", "high 0.6", "high 0.8"]);
        let refused = |_: usize, flow: &mut Flow| flow.state = ConnState::Rej;
        assert_eq!(levels(&told((0..20).map(|n| n * 5), refused)), ["medium 0.6"]);
    }

    #[test]
    fn jitter_missing_beats_and_days_do_not_hide_it() {
        let jitter = (0..60).map(|n| n * 60 + n * 7 % 13);
        assert!(!told(jitter, strange).is_empty());
        let missing = (0..60).filter(|n| n % 4 != 3).map(|n| n * 60);
        assert!(!told(missing, strange).is_empty());
        let days = (0..40).map(|n| n * 7200);
        assert!(!told(days, strange).is_empty());
    }

    #[test]
    fn people_and_changing_sizes_are_silent() {
        // Intervals of a Poisson process, a minute in the mean.
        let waits = (0..200i64).map(|n| (-60.0 * (((n * 7919 % 997) as f64 + 1.0) / 998.0).ln()) as i64 + 1);
        let people = waits.scan(0, |now, wait| {
            *now += wait;
            Some(*now)
        });
        assert!(told(people, strange).is_empty());
        assert!(
            told((0..200).map(|n| n * 5), |n, flow| flow.orig.bytes = 100 + n as u64 * 7919 % 5000)
                .is_empty()
        );
    }

    #[test]
    fn local_services_bursts_and_what_was_joined_in_the_middle_are_silent() {
        let joined = |_: usize, flow: &mut Flow| flow.state = ConnState::Oth;
        assert!(told((0..200).map(|n| n * 5), joined).is_empty());
        let local = |_: usize, flow: &mut Flow| flow.dst.addr = [192, 168, 1, 9].into();
        assert!(told((0..200).map(|n| n * 5), local).is_empty());
        assert!(told((0..200).map(|_| 0), strange).is_empty());
    }
}
