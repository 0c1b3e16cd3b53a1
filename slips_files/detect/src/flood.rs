//! Floods, seen from the victim's side: more new connection attempts (`SYN_FLOOD`), datagrams (`UDP_FLOOD`) or pings
//! (`ICMP_FLOOD`) than are answered.

use std::net::IpAddr;

use slips_core::addr;
use slips_core::detector::{Closing, Cx, Detector, Header, Role, Slot, Spec, Threshold, Unit};
use slips_core::event::{Event, EventKind};
use slips_core::evidence::{Entity, EvidenceKind, Finding, Proof, ThreatLevel};
use slips_core::flow::{Flow, Origin, Outcome, Phase, Proto};
use slips_core::state::PerSlot;
use slips_core::time::{PacketTime, WindowId};

use crate::Settings;
use crate::attempt::{self, Doubtful};
use crate::ladder::{self, Ladder, Rung, rung};
use crate::table::Table;
use crate::tally::Trail;

/// The registry's entry.
pub static SPEC: Spec = Spec {
    name: "flood",
    kinds: &[EvidenceKind::SynFlood, EvidenceKind::UdpFlood, EvidenceKind::IcmpFlood],
    events: &[EventKind::Flow],
    roles: &[Role::Dst],
    thresholds: &[UNANSWERED],
    header: Header {
        detects: "Floods, seen from the victim's side: more new connection attempts (`SYN_FLOOD`), datagrams \
            (`UDP_FLOOD`) or pings (`ICMP_FLOOD`) than are answered.",
        attack: "T1498.001 Direct Network Flood, T1499.001 OS Exhaustion Flood.",
        rule: "Per victim, and for TCP per port, flows that begin within ten seconds, minus those that were \
            answered or refused; more than half of them must stay unanswered. If one source made at least half \
            of it, it is the attacker; otherwise the attackers are many sources, and nobody is to be blocked for \
            what anybody could have forged. ICMP, and UDP that nobody answers, also come by the thousand within \
            one flow: then packets are counted.",
        numbers: "50 unanswered attempts a second for ten seconds are told, 1,000 a second are critical. UDP and ICMP \
            need four times as much, packets of one UDP flow sixteen times (a camera sends 2,000 a second). They are ours: the original has no such detection, and goes blind at 20,000 \
            flows a minute.",
        quiet: "Crowds are answered; connections in flight are not counted in the first two seconds of a period; a \
            service that refuses is counted as answering, so that a client in a hurry is no flood; an outage has \
            few attempts a second, and none of its clients makes most of them. What our own hosts ping is \
            high at most: `ping -f` is an administrator's tool; so is a stream of datagrams from one of our hosts to \
            another, as iperf and cameras send it.",
        evasion: "49 attempts a second; a handshake that is completed (then the senders are known).",
        proof: "Unproven, but for a local source with its own hardware address; outwards only what no web page can cause \
            (see vertical_port_scan).",
    },
};

/// Steps in unanswered attempts within ten seconds. For UDP and ICMP, [`DATAGRAMS`] times as many.
pub const UNANSWERED: Threshold = Threshold::steps(
    "attempts",
    "unanswered connections within ten seconds (of datagrams and pings four times as many)",
    Unit::Count,
    &[
        rung(500, ThreatLevel::Medium, 0.6),
        rung(1000, ThreatLevel::High, 0.7),
        rung(3000, ThreatLevel::High, 0.9),
        rung(10_000, ThreatLevel::Critical, 0.95),
    ],
);
/// See [`UNANSWERED`].
pub const DATAGRAMS: u32 = 4;
/// For packets within one UDP flow of more than `SMALL`, as many times.
pub const STREAM: u32 = 16;

/// The last step below critical, where what our own hosts ping, and stream to each other, ends.
const HIGHEST_OF_OWN: u8 = 3;

const PERIOD_SECS: i64 = 10;
/// A period is not judged before it is so old: answers need their time.
const IN_FLIGHT_MICROS: i64 = 2_000_000;
/// Sources are looked at from so many attempts in a period on.
const WATCH_FROM: u32 = 100;
/// Sources that are candidates for having made most of it.
const CANDIDATES: usize = 4;
/// Services remembered per victim; those with the fewest attempts make room.
const MAX_SERVICES: usize = 64;

/// Packets up to which a UDP flow is attempts that are made again.
const SMALL: u64 = 100;

/// What is flooded: TCP at a port, UDP or ICMP at any; packets within flows apart.
type Service = (Proto, u16);
const BY_FLOWS: u16 = 0;
const BY_PACKETS: u16 = 1;

#[derive(Debug)]
struct Period {
    number: i64,
    began: PacketTime,
    attempts: u32,
    answered: u32,
    watched: u32,
    /// Of what was watched.
    doubtful: Doubtful,
    candidates: Vec<(IpAddr, u32)>,
    trail: Trail,
    window: WindowId,
    told: u8,
}

impl Default for Period {
    fn default() -> Self {
        Self {
            number: i64::MIN,
            began: PacketTime::MIN,
            attempts: 0,
            answered: 0,
            watched: 0,
            doubtful: Doubtful::default(),
            candidates: Vec::new(),
            trail: Trail::default(),
            window: WindowId(i64::MIN),
            told: 0,
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Flood {
    unanswered: Ladder,
    victims: PerSlot<Table<Service, Period>>,
}

/// What an event adds to a period.
enum Change {
    Attempt { answered: bool },
    Answer,
    Packets(u32),
}

/// Our own sensor tells of attempts and answers as they happen; logs tell of both at the end.
fn change_of(flow: &Flow) -> Option<Change> {
    match (flow.origin, flow.phase) {
        (Origin::Sensor, Phase::Start) => Some(Change::Attempt { answered: false }),
        (Origin::Sensor, Phase::Established | Phase::Rejected) => Some(Change::Answer),
        (Origin::Sensor, Phase::Update | Phase::End) => {
            let counts = match flow.proto {
                Proto::Icmp => true,
                Proto::Udp => flow.resp.pkts == 0,
                _ => false,
            };
            let packets = u32::try_from(flow.orig_new.pkts).unwrap_or(u32::MAX);
            (counts && packets > 0).then_some(Change::Packets(packets))
        }
        (Origin::Sensor, _) => None,
        (_, Phase::End) => {
            let answered = flow.resp.pkts > 0 || flow.outcome() == Outcome::Established;
            Some(Change::Attempt { answered })
        }
        _ => None,
    }
}

impl Period {
    fn is_over(&self, at: PacketTime) -> bool {
        at.0.div_euclid(PERIOD_SECS * 1_000_000) > self.number
    }

    fn restart(&mut self, at: PacketTime) {
        let (window, told) = (self.window, self.told);
        let number = at.0.div_euclid(PERIOD_SECS * 1_000_000);
        *self = Self { number, began: at, window, told, ..Self::default() };
    }

    /// Keeps the sources that may have made more than a fifth (Misra and Gries, 1982).
    fn watch(&mut self, src: IpAddr) {
        self.watched += 1;
        if let Some((_, count)) = self.candidates.iter_mut().find(|(known, _)| *known == src) {
            *count += 1;
        } else if self.candidates.len() < CANDIDATES {
            self.candidates.push((src, 1));
        } else {
            self.candidates.retain_mut(|(_, count)| {
                *count -= 1;
                *count > 0
            });
        }
    }

    /// The source of at least half of what was watched.
    fn main_source(&self) -> Option<IpAddr> {
        let (src, count) = self.candidates.iter().max_by_key(|(_, count)| *count)?;
        (count.saturating_mul(2) >= self.watched).then_some(*src)
    }
}

impl Flood {
    /// With these settings.
    pub fn new(settings: &Settings) -> Self {
        Self { unanswered: settings.ladder(&SPEC, &UNANSWERED), victims: PerSlot::default() }
    }

    fn on_flow(&mut self, cx: &mut Cx<'_>, flow: &Flow) {
        let Some(change) = change_of(flow) else { return };
        let counts_packets = matches!(change, Change::Packets(_));
        // A sender who comes round to the same ports attempts again; what is a stream is another matter.
        let within = counts_packets && (flow.proto != Proto::Udp || flow.orig.pkts > SMALL);
        let place = if within { BY_PACKETS } else { BY_FLOWS };
        let (kind, port, factor) = match flow.proto {
            Proto::Tcp => (EvidenceKind::SynFlood, flow.dst.port, 1),
            Proto::Udp => (EvidenceKind::UdpFlood, place, if within { STREAM } else { DATAGRAMS }),
            Proto::Icmp => (EvidenceKind::IcmpFlood, place, DATAGRAMS),
            _ => return,
        };
        let at = if counts_packets { flow.seen } else { flow.start };
        if !addr::is_interesting(flow.dst.addr) || !attempt::between_hosts(flow) {
            return;
        }
        let services = self.victims.get_or_default(cx.slot());
        let grown = |period: &Period| u64::from(period.attempts);
        let Some(period) = services.get_or_insert((flow.proto, port), MAX_SERVICES, grown) else { return };
        if period.is_over(at) {
            period.restart(at);
        }
        match change {
            Change::Answer => {
                period.answered = period.answered.saturating_add(1).min(period.attempts);
                return;
            }
            Change::Attempt { answered } => {
                period.attempts = period.attempts.saturating_add(1);
                period.answered += u32::from(answered);
            }
            Change::Packets(packets) => period.attempts = period.attempts.saturating_add(packets),
        }
        if period.attempts < WATCH_FROM {
            return;
        }
        period.watch(flow.src.addr);
        period.doubtful.count_if(!attempt::is_own(flow, cx.facts()));
        period.trail.push(flow.uid);
        let unanswered = period.attempts.saturating_sub(period.answered);
        let young = at.0.saturating_sub(period.began.0) < IN_FLIGHT_MICROS;
        if young || unanswered.saturating_mul(2) < period.attempts {
            return;
        }
        if period.window != cx.window() {
            (period.window, period.told) = (cx.window(), 0);
        }
        let facts = cx.facts();
        let own_ping = flow.proto == Proto::Icmp && within && facts.src_local;
        let own_stream = flow.proto == Proto::Udp && within && facts.src_local && facts.dst_local;
        let step = self.unanswered.step(unanswered / factor);
        let step = if own_ping || own_stream { step.min(HIGHEST_OF_OWN) } else { step };
        if ladder::climb(&mut period.told, step)
            && let Some(rung) = self.unanswered.at_step(step)
        {
            tell(cx, flow, kind, rung, unanswered, period);
        }
    }
}

fn tell(cx: &mut Cx<'_>, flow: &Flow, kind: EvidenceKind, rung: Rung, unanswered: u32, period: &mut Period) {
    let source = period.main_source();
    let attacker = source.map_or(Entity::Many, Entity::Ip);
    let tcp = flow.proto == Proto::Tcp;
    let place = if tcp { flow.dst.to_string() } else { flow.dst.addr.to_string() };
    let what = if change_of(flow).is_some_and(|change| matches!(change, Change::Packets(_))) {
        "packets"
    } else {
        "unanswered"
    };
    let text = format!("flood of {place}: {unanswered} {what} within {PERIOD_SECS} s from {attacker}");
    let itself = source == Some(flow.src.addr);
    cx.emit(Finding {
        attacker,
        victim: Some(Entity::Ip(flow.dst.addr)),
        proto: Some(flow.proto),
        dst_port: tcp.then_some(flow.dst.port),
        uids: period.trail.take(),
        text,
        proof: if itself { period.doubtful.proof(period.watched) } else { Proof::Unproven },
        ..ladder::finding(cx, kind, flow.dst.addr, rung, flow.seen)
    });
}

impl Detector for Flood {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn on_event(&mut self, cx: &mut Cx<'_>, event: &Event) {
        if let Event::Flow(flow) = event {
            self.on_flow(cx, flow);
        }
    }

    /// What is over, and was told of no later window, weighs nothing any more: whoever was busy once must not cost memory for as long as
    /// he is known.
    fn on_window_close(&mut self, out: &mut Closing<'_>, window: WindowId) {
        let now = out.now();
        let matters = |period: &Period| !period.is_over(now) || period.window > window;
        self.victims.retain(|_, services| services.retain(matters));
    }

    fn forget(&mut self, slot: Slot) {
        self.victims.forget(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_traces::{Talk, at, bench, levels, secs};
    use slips_core::detector::Facts;
    use slips_core::time::Span;

    /// `n` attempts from `from(n)` at so many a second; every `answered`th is answered.
    fn told(n: u32, rate: u32, from: impl Fn(u32) -> IpAddr, answered: u32) -> Vec<Finding> {
        let mut bench = bench(Flood::new(&Settings::default()));
        let mut all = Vec::new();
        for n in 0..n {
            let mut flow = Talk::tcp("203.0.113.9", "192.168.1.10", 80).uid(&format!("C{n}")).flow();
            flow.src.addr = from(n);
            flow.start = secs(0) + Span(i64::from(n) * 1_000_000 / i64::from(rate));
            (flow.seen, flow.phase) = (flow.start, Phase::Start);
            all.extend(bench.feed(&Event::Flow(flow.clone())));
            if n % answered == 0 {
                flow.phase = Phase::Established;
                all.extend(bench.feed(&Event::Flow(flow)));
            }
        }
        all
    }

    fn anybody(n: u32) -> IpAddr {
        IpAddr::from((0x0a00_0000 + n).to_be_bytes())
    }

    const NONE: u32 = u32::MAX;

    #[test]
    fn forged_senders_are_many_and_nobody_is_named() {
        let told = told(20_000, 2000, anybody, NONE);
        assert_eq!(levels(&told), ["high 0.9", "critical 0.95"]);
        for finding in &told {
            assert_eq!(finding.attacker, Entity::Many);
            assert_eq!(finding.victim, Some(Entity::Ip(at("192.168.1.10"))));
            assert_eq!(finding.proof, Proof::Unproven);
        }
    }

    #[test]
    fn one_source_that_makes_most_of_it_is_the_attacker() {
        let told = told(1010, 101, |n| if n % 3 == 0 { anybody(n) } else { at("203.0.113.66") }, NONE);
        assert_eq!(levels(&told), ["medium 0.6", "high 0.7"]);
        assert!(told.iter().all(|finding| finding.attacker == Entity::Ip(at("203.0.113.66"))));
    }

    #[test]
    fn a_flood_that_outlasts_a_window_is_told_in_the_next() {
        let mut bench = bench(Flood::new(&Settings::default()));
        let mut all = Vec::new();
        let width = slips_core::time::WindowWidth::HOUR;
        for n in 0..40_000u32 {
            // Ten seconds before the end of the window until ten seconds after it.
            let at = secs(3590) + Span(i64::from(n) * 500);
            let mut flow = Talk::tcp("203.0.113.9", "192.168.1.10", 80).uid(&format!("C{n}")).flow();
            (flow.src.addr, flow.start, flow.seen, flow.phase) = (anybody(n), at, at, Phase::Start);
            all.extend(bench.feed(&Event::Flow(flow)));
            if n == 22_000 {
                all.extend(bench.close(width.window_of(secs(3590))));
            }
        }
        assert_eq!(levels(&all), ["high 0.9", "critical 0.95", "high 0.9", "critical 0.95"]);
        assert_eq!(all.iter().filter(|finding| finding.window == width.window_of(secs(3600))).count(), 2);
    }

    #[test]
    fn fewer_than_fifty_a_second_are_silent() {
        assert!(told(5000, 49, anybody, NONE).is_empty());
        assert!(!told(5000, 51, anybody, NONE).is_empty());
    }

    #[test]
    fn a_crowd_that_is_answered_is_silent() {
        assert!(told(20_000, 2000, anybody, 1).is_empty());
    }

    /// `rate` packets a second for ten seconds within one flow, told by the thousand.
    fn within(proto: Proto, rate: u32, src: &str, local: bool, answered: bool) -> Vec<String> {
        let mut bench = bench(Flood::new(&Settings::default()));
        bench.facts(Facts { src_local: local, ..Facts::default() });
        let mut all = Vec::new();
        for n in 1..=rate / 100 {
            let mut flow = Talk::tcp(src, "192.168.1.10", 8).phase(Phase::Update).flow();
            (flow.proto, flow.orig_new.pkts, flow.resp.pkts) = (proto, 1000, u64::from(answered));
            flow.orig.pkts = 1000 * u64::from(n);
            flow.seen = secs(0) + Span(i64::from(n) * 1_000_000_000 / i64::from(rate));
            all.extend(bench.feed(&Event::Flow(flow)));
        }
        levels(&all)
    }

    #[test]
    fn packets_within_one_flow_count() {
        let outside = |proto, rate, answered| within(proto, rate, "203.0.113.66", false, answered);
        assert!(outside(Proto::Icmp, 100, true).is_empty());
        assert_eq!(outside(Proto::Icmp, 5000, true).last().map(String::as_str), Some("critical 0.95"));
        assert_eq!(
            within(Proto::Icmp, 5000, "192.168.1.7", true, true).last().map(String::as_str),
            Some("high 0.9")
        );
        assert!(outside(Proto::Udp, 700, false).is_empty(), "a camera");
        assert_eq!(outside(Proto::Udp, 20_000, false).last().map(String::as_str), Some("critical 0.95"));
        assert!(outside(Proto::Udp, 20_000, true).is_empty(), "a stream that is answered");
        assert_eq!(
            within(Proto::Udp, 40_000, "192.168.1.7", true, false).last().map(String::as_str),
            Some("high 0.9"),
            "iperf between our own hosts"
        );
    }

    #[test]
    fn who_comes_round_to_the_same_ports_attempts_again() {
        let mut bench = bench(Flood::new(&Settings::default()));
        let mut all = Vec::new();
        for n in 0..50_000u32 {
            let mut flow = Talk::tcp("203.0.113.66", "192.168.1.10", 9).phase(Phase::Update).flow();
            flow.proto = Proto::Udp;
            (flow.orig_new.pkts, flow.orig.pkts, flow.resp.pkts) = (1, 2, 0);
            flow.seen = secs(0) + Span(i64::from(n) * 200);
            all.extend(bench.feed(&Event::Flow(flow)));
        }
        assert_eq!(levels(&all).last().map(String::as_str), Some("critical 0.95"));
    }

    #[test]
    fn logs_that_know_the_end_only_count_too_and_datagrams_need_more() {
        let flood = |proto, rate: u32| {
            let mut bench = bench(Flood::new(&Settings::default()));
            let mut all = Vec::new();
            for n in 0..10 * rate {
                let mut flow = Talk::tcp("203.0.113.9", "192.168.1.10", 53).flow();
                (flow.origin, flow.proto, flow.src.addr) = (Origin::Zeek, proto, anybody(n));
                flow.start = secs(0) + Span(i64::from(n) * 1_000_000 / i64::from(rate));
                all.extend(bench.feed(&Event::Flow(flow)));
            }
            all.into_iter().map(|finding| finding.kind).next()
        };
        assert_eq!(flood(Proto::Tcp, 60), Some(EvidenceKind::SynFlood));
        assert_eq!(flood(Proto::Udp, 60), None);
        assert_eq!(flood(Proto::Udp, 240), Some(EvidenceKind::UdpFlood));
        assert_eq!(flood(Proto::Icmp, 240), Some(EvidenceKind::IcmpFlood));
    }
}
