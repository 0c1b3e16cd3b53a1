//! Scans that no single port and no single host shows: several ports of several hosts (`BLOCK_PORT_SCAN`), and few attempts an
//! hour that are many a day (`SLOW_PORT_SCAN`).

use std::net::IpAddr;

use slips_core::detector::{Closing, Cx, Detector, Facts, Header, Role, Slot, Spec, Threshold, Unit};
use slips_core::event::{Event, EventKind};
use slips_core::evidence::{EvidenceKind, Finding, Proof, ThreatLevel};
use slips_core::flow::{Flow, Proto};
use slips_core::state::PerSlot;
use slips_core::time::{PacketTime, WindowId};

use crate::Settings;
use crate::attempt;
use crate::ladder::{self, Ladder, Rung, Told, rung};
use crate::steps::member_of_ip;
use crate::tally::{Distinct, Trail};

/// The registry's entry.
pub static SPEC: Spec = Spec {
    name: "spread_scan",
    kinds: &[EvidenceKind::BlockPortScan, EvidenceKind::SlowPortScan],
    events: &[EventKind::Flow],
    roles: &[Role::Src],
    thresholds: &[BLOCK, SLOW, BLOCK_HOSTS, BLOCK_PORTS, SLOW_HOURS],
    header: Header {
        detects: "Scans that no single port and no single host shows: several ports of several hosts \
            (`BLOCK_PORT_SCAN`), and few attempts an hour that are many a day (`SLOW_PORT_SCAN`).",
        attack: "T1046 Network Service Discovery, T1595.001 Active Scanning: Scanning IP Blocks.",
        rule: "Per source, the distinct pairs of local host and port at which it failed (as for the other scans), from outside also \
            those where it was let in, said nothing and left. \
            Block: in one window, at five hosts and five ports at least. Slow: in the last twelve to twenty-four \
            hours, over three different hours at least.",
        numbers: "Block 60, 200, 600 pairs; slow 20, 60, 200. nmap's `-T1` tries a port every 15 s, which the other \
            scans see; `-T0` one in five minutes, 288 a day.",
        quiet: "Only our own hosts count as targets, so what a client fails at outside is nothing here; a host with \
            which our hosts lately talked is no discovery; datagrams from service ports, from those of discovery \
            (SSDP, mDNS …) or to clients' ports are answers. Old peers of a peer-to-peer program come back to \
            one port of one host.",
        evasion: "Many sources; fewer than twenty pairs a day; UDP to ports from 32,768 up.",
        proof: "Proven, if the pairs that were tried from the hardware address that owns the source's address reach \
            the step alone.",
    },
};

/// Steps in pairs of host and port within a window.
pub const BLOCK: Threshold = Threshold::steps(
    "block_pairs",
    "pairs of local host and port at which one source fails in a window",
    Unit::Count,
    &[
        rung(60, ThreatLevel::Medium, 0.8),
        rung(200, ThreatLevel::High, 0.9),
        rung(600, ThreatLevel::Critical, 1.0),
    ],
);
/// Steps in pairs of host and port within half a day to a day.
pub const SLOW: Threshold = Threshold::steps(
    "slow_pairs",
    "pairs of local host and port at which one source fails in half a day",
    Unit::Count,
    &[
        rung(20, ThreatLevel::Medium, 0.6),
        rung(60, ThreatLevel::High, 0.8),
        rung(200, ThreatLevel::Critical, 0.9),
    ],
);

/// Hosts and ports that make a block.
pub const BLOCK_HOSTS: Threshold =
    Threshold::number("block_hosts", "hosts at least among the pairs of a block", Unit::Count, 5);
/// See [`BLOCK_HOSTS`].
pub const BLOCK_PORTS: Threshold =
    Threshold::number("block_ports", "ports at least among the pairs of a block", Unit::Count, 5);
/// Different hours that make it slow.
pub const SLOW_HOURS: Threshold =
    Threshold::number("slow_hours", "different hours at least in which a slow scan tries", Unit::Count, 3)
        .within(1, 12);
const HOUR: i64 = 3600 * 1_000_000;
const HALF_DAY: i64 = 12 * HOUR;

/// Distinct pairs, and those of them from a proven source.
#[derive(Debug, Default)]
struct Pairs {
    all: Distinct<u64>,
    /// A forwarded packet may be seen on its way out first: then a later event of its flow tells whose frame it was.
    proven: Distinct<u64>,
}

impl Pairs {
    /// Adds a pair; whether it is new, and whether it is the first time that it is proven.
    fn insert(&mut self, pair: u64, proven: bool) -> (bool, bool) {
        (self.all.insert(pair), proven && self.proven.insert(pair))
    }
}

/// One source that failed at two pairs or more.
#[derive(Debug, Default)]
struct Probes {
    window: Option<WindowId>,
    pairs: Pairs,
    hosts: Distinct<u64>,
    ports: Distinct<u16>,
    block: Told,
    /// Half a day, counted from 1970.
    half: i64,
    running: Pairs,
    previous: Pairs,
    /// Pairs of the running half that the previous one has too, and those from a proven source in both.
    again: u32,
    again_proven: u32,
    /// Hours of the two halves in which something failed, a bit each; the newer half is the low one.
    hours: u32,
    slow: Told,
    trail: Trail,
}

/// Most sources fail once: they cost no more than this.
#[derive(Debug, Default)]
struct Source {
    first: Option<u64>,
    probes: Option<Box<Probes>>,
}

/// The thresholds that hold.
#[derive(Clone, Copy, Debug)]
struct Rules {
    block: Ladder,
    slow: Ladder,
    block_hosts: u32,
    block_ports: u32,
    slow_hours: u32,
}

/// See the module.
#[derive(Debug)]
pub struct SpreadScan {
    rules: Rules,
    sources: PerSlot<Source>,
}

fn pair_of(flow: &Flow) -> u64 {
    let transport = if flow.proto == Proto::Tcp { 0 } else { 1 << 16 };
    let service = u64::from(flow.dst.port) | transport;
    let mixed = (member_of_ip(flow.dst.addr) ^ (service << 40)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 29)
}

/// SSDP, mDNS, LLMNR, NetBIOS, WS-Discovery: who asks a group gets answers from these ports at any port of his.
const DISCOVERY: [u16; 5] = [137, 1900, 3702, 5353, 5355];
/// Ports from here on are clients', in which nobody looks for services over UDP.
const CLIENTS_PORTS_FROM: u16 = 32_768;

/// Whether it may be the answer to a question that was asked of a group, or late.
fn may_be_answer(flow: &Flow, facts: Facts) -> bool {
    let discovered = DISCOVERY.contains(&flow.src.port) || flow.dst.port >= CLIENTS_PORTS_FROM;
    (flow.proto == Proto::Udp && discovered) || attempt::looks_like_answer(flow, facts)
}

/// Whether a failure says anything about looking for services of ours.
fn counts(flow: &Flow, facts: Facts) -> bool {
    matches!(flow.proto, Proto::Tcp | Proto::Udp)
        && facts.dst_local
        && (attempt::failed(flow)
            || attempt::is_blind_probe(flow)
            || (!facts.src_local && attempt::is_silent_visit(flow)))
        && !flow.was_flipped()
        && !(facts.src_local && facts.dst_talked)
        && !may_be_answer(flow, facts)
        && attempt::between_hosts(flow)
}

impl Probes {
    fn add(&mut self, cx: &Cx<'_>, flow: &Flow, facts: Facts) {
        let (pair, proven) = (pair_of(flow), attempt::is_proven(flow, facts));
        // A late flow of an older window counts in the newer one.
        if self.window.is_none_or(|window| window < cx.window()) {
            self.window = Some(cx.window());
            (self.pairs, self.hosts, self.ports) =
                (Pairs::default(), Distinct::default(), Distinct::default());
            self.block = Told::default();
        }
        self.pairs.insert(pair, proven);
        self.hosts.insert(member_of_ip(flow.dst.addr));
        self.ports.insert(flow.dst.port);
        self.turn(flow.start);
        let newer = flow.start.0.div_euclid(HALF_DAY) >= self.half;
        let (half, other) =
            if newer { (&mut self.running, &self.previous) } else { (&mut self.previous, &self.running) };
        let (new, newly_proven) = half.insert(pair, proven);
        self.again += u32::from(new && other.all.contains(pair));
        self.again_proven += u32::from(newly_proven && other.proven.contains(pair));
        let hour = flow.start.0.div_euclid(HOUR).rem_euclid(12) as u32;
        self.hours |= 1 << if newer { hour } else { hour + 12 };
        self.trail.push(flow.uid);
    }

    /// Lets a half day pass.
    fn turn(&mut self, at: PacketTime) {
        let half = at.0.div_euclid(HALF_DAY);
        match half - self.half {
            ..=0 => return,
            1 => {
                self.previous = std::mem::take(&mut self.running);
                self.hours = (self.hours << 12) & 0x00ff_f000;
            }
            _ => (self.previous, self.running, self.hours) = (Pairs::default(), Pairs::default(), 0),
        }
        (self.half, self.again, self.again_proven) = (half, 0, 0);
        self.slow = Told::default();
    }

    fn block(&mut self, rules: &Rules, at: PacketTime) -> Option<(Rung, Proof, u32)> {
        let spread = self.hosts.len() >= rules.block_hosts && self.ports.len() >= rules.block_ports;
        if !spread {
            return None;
        }
        let step = |n| rules.block.step(n);
        let n = self.pairs.all.len();
        let proof = attempt::proof_if(step(self.pairs.proven.len()) >= step(n));
        Some((self.block.climb(&rules.block, step(n), proof, 1, at)?, proof, n))
    }

    fn slow(&mut self, rules: &Rules, at: PacketTime) -> Option<(Rung, Proof, u32)> {
        if self.hours.count_ones() < rules.slow_hours {
            return None;
        }
        let step = |n| rules.slow.step(n);
        let n = (self.running.all.len() + self.previous.all.len()).saturating_sub(self.again);
        let proven =
            (self.running.proven.len() + self.previous.proven.len()).saturating_sub(self.again_proven);
        let proof = attempt::proof_if(step(proven) >= step(n));
        Some((self.slow.climb(&rules.slow, step(n), proof, 1, at)?, proof, n))
    }
}

impl SpreadScan {
    /// With these settings.
    pub fn new(settings: &Settings) -> Self {
        let rules = Rules {
            block: settings.ladder(&SPEC, &BLOCK),
            slow: settings.ladder(&SPEC, &SLOW),
            block_hosts: settings.number(&SPEC, &BLOCK_HOSTS),
            block_ports: settings.number(&SPEC, &BLOCK_PORTS),
            slow_hours: settings.number(&SPEC, &SLOW_HOURS),
        };
        Self { rules, sources: PerSlot::default() }
    }

    fn on_flow(&mut self, cx: &mut Cx<'_>, flow: &Flow) {
        let facts = cx.facts();
        let source = self.sources.get_or_default(cx.slot());
        let pair = pair_of(flow);
        if *source.first.get_or_insert(pair) == pair && source.probes.is_none() {
            return;
        }
        let probes = source.probes.get_or_insert_default();
        probes.add(cx, flow, facts);
        let at = flow.seen;
        let (block, slow) = (probes.block(&self.rules, at), probes.slow(&self.rules, at));
        if block.is_none() && slow.is_none() {
            return;
        }
        let uids = probes.trail.take();
        let (hosts, ports) = (probes.hosts.len(), probes.ports.len());
        let mut tell = |kind, found: Option<(Rung, Proof, u32)>, text: &dyn Fn(u32) -> String| {
            let Some((rung, proof, n)) = found else { return };
            let finding = ladder::finding(cx, kind, source_of(flow), rung, at);
            cx.emit(Finding { text: text(n), uids: uids.clone(), proof, ..finding });
        };
        tell(EvidenceKind::BlockPortScan, block, &|n| {
            format!("block scan: {n} services failed, at {hosts} hosts and {ports} ports")
        });
        tell(EvidenceKind::SlowPortScan, slow, &|n| {
            format!("slow scan: {n} services of our hosts failed within half a day")
        });
    }
}

const fn source_of(flow: &Flow) -> IpAddr {
    flow.src.addr
}

impl Detector for SpreadScan {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn on_event(&mut self, cx: &mut Cx<'_>, event: &Event) {
        if let Event::Flow(flow) = event
            && counts(flow, cx.facts())
        {
            self.on_flow(cx, flow);
        }
    }

    fn on_window_close(&mut self, _out: &mut Closing<'_>, _window: WindowId) {}

    fn forget(&mut self, slot: Slot) {
        self.sources.forget(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_traces::{Talk, bench, levels};
    use slips_core::flow::Phase;

    /// `n` attempts of one source, one every `gap` seconds, at what `target` says.
    fn told(n: u32, gap: i64, kind: EvidenceKind, target: impl Fn(u32) -> (String, u16)) -> Vec<Finding> {
        let mut bench = bench(SpreadScan::new(&Settings::default()));
        (0..n)
            .flat_map(|n| {
                let (host, port) = target(n);
                bench.feed(
                    &Talk::tcp("203.0.113.9", &host, port)
                        .at(i64::from(n) * gap)
                        .phase(Phase::Unanswered)
                        .event(),
                )
            })
            .filter(|told| told.kind == kind)
            .collect()
    }

    fn block(n: u32) -> (String, u16) {
        (format!("192.168.1.{}", n / 9 % 250 + 1), 8000 + (n % 9) as u16)
    }

    fn one_host(n: u32) -> (String, u16) {
        ("192.168.1.2".into(), 1 + n as u16)
    }

    #[test]
    fn nine_ports_of_many_hosts_are_a_block() {
        let told = |n| told(n, 1, EvidenceKind::BlockPortScan, block);
        // The first pair is not counted, lest a source that fails once cost memory.
        assert!(told(60).is_empty());
        assert_eq!(levels(&told(62)), ["medium 0.8"]);
        let all = told(700);
        assert_eq!(levels(&all), ["medium 0.8", "high 0.9", "critical 1"]);
        assert_eq!(all.first().map(|told| told.proof), Some(Proof::Unproven));
    }

    #[test]
    fn one_host_or_one_port_is_no_block() {
        assert!(told(700, 1, EvidenceKind::BlockPortScan, one_host).is_empty());
        let sweep = |n: u32| (format!("192.168.{}.{}", n / 200, n % 200 + 1), 445);
        assert!(told(700, 1, EvidenceKind::BlockPortScan, sweep).is_empty());
    }

    #[test]
    fn eight_ports_an_hour_are_slow() {
        let told = |n| told(n, 450, EvidenceKind::SlowPortScan, one_host);
        assert!(told(20).is_empty());
        assert_eq!(levels(&told(22)), ["medium 0.6"]);
        assert!(levels(&told(180)).contains(&"high 0.8".to_owned()));
    }

    #[test]
    fn a_quick_scan_is_not_slow() {
        assert!(told(700, 1, EvidenceKind::SlowPortScan, one_host).is_empty());
    }

    #[test]
    fn the_same_port_again_and_again_is_silent() {
        let again = |_| ("192.168.1.2".to_owned(), 51_413);
        for kind in [EvidenceKind::BlockPortScan, EvidenceKind::SlowPortScan] {
            assert!(told(3000, 60, kind, again).is_empty());
        }
    }

    #[test]
    fn answers_to_discovery_are_silent() {
        let mut bench = bench(SpreadScan::new(&Settings::default()));
        for n in 0..400u16 {
            let mut flow =
                Talk::tcp("192.168.1.132", "192.168.1.129", 33_000 + n).at(i64::from(n) * 60).flow();
            (flow.proto, flow.src.port) = (Proto::Udp, 1900);
            assert!(bench.feed(&Event::Flow(flow.clone())).is_empty());
            flow.dst.port = 20_000 + n;
            assert!(bench.feed(&Event::Flow(flow)).is_empty());
        }
    }

    #[test]
    fn what_fails_outside_is_silent() {
        let mut bench = bench(SpreadScan::new(&Settings::default()));
        for n in 0..700u16 {
            let host = format!("203.0.113.{}", n % 250);
            assert!(bench.feed(&Talk::tcp("192.168.1.5", &host, 1 + n).event()).is_empty());
        }
    }

    #[test]
    fn what_the_owner_of_the_address_did_itself_is_proven() {
        let mut bench = bench(SpreadScan::new(&Settings::default()));
        bench.facts(Facts { src_on_link: true, ..Facts::default() });
        let told: Vec<Finding> = (0..70)
            .flat_map(|n| {
                let (host, port) = block(n);
                bench.feed(&Talk::tcp("192.168.1.77", &host, port).at(i64::from(n)).event())
            })
            .collect();
        assert_eq!(told.iter().map(|told| told.proof).collect::<Vec<_>>(), [Proof::Proven]);
    }

    #[test]
    fn later_events_of_the_same_flows_prove_them() {
        let mut bench = bench(SpreadScan::new(&Settings::default()));
        let mut told = Vec::new();
        for (phase, src_on_link) in [(Phase::Unanswered, false), (Phase::End, true)] {
            bench.facts(Facts { src_on_link, src_local: true, dst_local: true, ..Facts::default() });
            for n in 0..900 {
                let (host, port) = block(n);
                let talk = Talk::tcp("192.168.1.77", &host, port).phase(phase);
                told.extend(bench.feed(&talk.event()));
            }
        }
        let block = told.iter().filter(|told| told.kind == EvidenceKind::BlockPortScan);
        let proofs: Vec<bool> = block.map(|told| told.proof == Proof::Proven).collect();
        assert_eq!(proofs, [false, false, false, true]);
    }
}
