//! The capture threads: packets become events, events go to the engine. When the engine is full, events between two remote hosts
//! are shed first, those of local hosts last, and both are counted.
//!
//! Several threads share the traffic by pairs of addresses: each has rings, a sensor and a part of the flow table of its own, and a
//! flow with all that belongs to it, such as FTP's data connections, stays with one of them.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use slips_core::addr::LocalNets;
use slips_core::engine::pipeline::{Input, NotTaken};
use slips_core::event::Event;
use slips_input::capture::{
    Beyond, CaptureSettings, Handover, LinkState, Live, LiveSource, Newcomers, RingSize, Senders,
};
use slips_input::filter::Share;

use super::aside::open_journal;
use super::build;
use super::clocks::Clocks;
use super::entries;
use super::interfaces::Watched;
use super::memory::size::Rings;
use super::overload::Thinner;
use super::pulse::Pulse;
use crate::cli::{Exit, Failure};
use crate::config::{Amount, Config, SensorKind};

/// How long the capture thread waits for a full engine before it sheds what is between remote hosts,
const PATIENCE: Duration = Duration::from_millis(10);
/// and how much longer before it sheds what concerns local ones. A ring of 8 MiB holds a fifth of a second of 300,000 small packets a
/// second, and one turn may bring several batches: what waits longer loses packets, which are worth more than events.
const LAST_PATIENCE: Duration = Duration::from_millis(40);
/// One part in so many of the time may be spent waiting for the engine. Else a flood, batch by batch, slows the capture down to what the
/// engine takes, and the kernel drops what would have been shed.
const WAITING_PART: u32 = 5;
/// Most events of a batch. The engine's queues count batches, and a flood makes thousands of events in one turn.
const BATCH: usize = 1024;
/// How often the counters of the kernel are asked for.
const COUNT_EVERY: Duration = Duration::from_secs(1);

/// Bytes of a ring where nothing else is said: a fifth of a second of 300,000 small packets a second.
pub const USUAL_RING: Amount = Amount(8 << 20);
/// A block of the ring takes a frame of 64 KiB and more, which offloading cards make of many.
const BLOCK_BYTES: u32 = 128 << 10;
/// A block that is not full is handed over after so many milliseconds.
const RETIRE_MS: u32 = 2;

/// A ring of so many bytes.
fn ring(bytes: u64) -> RingSize {
    let blocks = u32::try_from(bytes / u64::from(BLOCK_BYTES)).unwrap_or(u32::MAX);
    RingSize::new(blocks, BLOCK_BYTES, RETIRE_MS)
}

/// What is captured on.
pub struct Watching<'a> {
    /// There from the start.
    pub interfaces: &'a [String],
    /// Where others are named, if any may be.
    pub newcomers: Option<Newcomers>,
    /// For so many interfaces rings are planned,
    pub planned: u16,
    /// and on others they have so many bytes.
    pub later_ring: u64,
}

/// One source for each capture thread of the configuration, which together take all, first what an earlier process left.
pub fn sources(
    config: &Config,
    watching: Watching<'_>,
    local: &LocalNets,
    mut handover: Handover,
) -> Result<Vec<LiveSource>, Failure> {
    let random = RandomState::new();
    let watches = !watching.interfaces.is_empty() || watching.newcomers.is_some();
    let of = if watches { config.capture.threads.max(1) } else { 0 };
    if of == 0 {
        handover.close();
    }
    // What is kept is dealt by the key of the process before.
    let share_key = handover.share_key(of).unwrap_or(random.hash_one(0) as u32);
    let open = |part: u16| {
        // Its own key: two sensors with the same would give two flows the same uid.
        let key = [random.hash_one((part, 1)), random.hash_one((part, 2))];
        let sensor = build::sensor_settings(config, key);
        let sensor = build::searching(sensor, config, local.clone(), of);
        let share = (of > 1).then_some(Share { part, of, key: share_key });
        let sensor = slips_sensor::Settings { max_flows: flows_of(config), ..sensor };
        // The other one costs memory, and pays only where somebody keeps it.
        let rings = |bytes: u64| {
            let beside = config.capture.spare.or(Amount(bytes)).0;
            (ring(bytes), Some(ring(bytes).spare(beside)).filter(|_| handover.is_kept() && beside > 0))
        };
        let (ring, spare) = rings(config.capture.ring.or(USUAL_RING).0);
        let later = rings(watching.later_ring);
        let capture = CaptureSettings {
            promiscuous: config.capture.promiscuous,
            filter: config.capture.filter.0.clone(),
            share,
            ring,
            spare,
            newcomers: watching.newcomers.clone(),
            beyond: Some(Beyond { planned: watching.planned, ring: later.0, spare: later.1 }),
            ..CaptureSettings::new(watching.interfaces.iter().cloned())
        };
        LiveSource::take_over(capture, sensor, handover.part(part, of)).map_err(failure)
    };
    (0..of).map(open).collect()
}

/// The rings that will be: on the interfaces that were `chosen`, and those that may come if nobody has `named` them.
pub fn rings(config: &Config, chosen: &Watched, named: bool, doubled: bool) -> Rings {
    let (planned, later) = match config.inputs.sensor {
        SensorKind::Zeek => (0, 0),
        SensorKind::Slips => chosen.to_come(named),
    };
    let number = |interfaces| u16::try_from(interfaces).unwrap_or(u16::MAX);
    Rings { planned: number(planned), later: number(later), threads: config.capture.threads.max(1), doubled }
}

/// How many flows the sensor of each capture thread tracks.
pub fn flows_of(config: &Config) -> u32 {
    (config.limits.flows() / u32::from(config.capture.threads.max(1))).max(16)
}

/// Whose frames are waited for: of our hosts, whose packets are seen twice where several interfaces are watched.
pub fn senders(settings: &slips_core::settings::Settings) -> Senders {
    Senders::new(settings.own_macs.clone(), settings.local_nets.clone())
}

/// Which thread this is, and what it watches.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// Number of the thread; the first one tells what happens to interfaces.
    pub number: usize,
    /// How many flows its sensor was made for.
    pub flows: u32,
}

/// What of a thread's counters is in the common ones already.
#[derive(Default)]
struct Counted {
    packets: u64,
    bytes: u64,
    drops: u64,
    evicted: u64,
}

/// Captures until the source is stopped or fails.
pub fn run(
    mut source: LiveSource,
    part: Part,
    input: &Input,
    mut thinner: Thinner,
    pulse: &Pulse,
) -> Result<(), Failure> {
    let clock = Clocks::default().steady;
    let mut counted_at = Duration::ZERO;
    // How long the engine may still be waited for, as of the turn that began then.
    let (left, mut turn) = (Cell::new(PATIENCE + LAST_PATIENCE), clock());
    let mut counted = Counted::default();
    let mut share = 100;
    let mut waiting: Vec<Event> = Vec::with_capacity(BATCH);
    let ended = loop {
        if let Some(turns) = pulse.capture.get(part.number) {
            turns.fetch_add(1, Ordering::Relaxed);
        }
        match source.next_batch(&mut waiting) {
            Ok(Live::Stopped) => break Ok(()),
            Ok(Live::Changed(change)) if part.number == 0 => {
                let name = source.name(change.interface).unwrap_or("?");
                let text = format!("interface {name} is {}", state_name(change.state));
                open_journal().send(&entries::degraded("watching", &text));
            }
            Ok(Live::Packets(_)) => {
                pulse.lag.fetch_max(micros(source.behind()), Ordering::Relaxed);
            }
            Ok(_) => {}
            Err(error) => break Err(failure(error)),
        }
        let now_share = pulse.share();
        if now_share != 100 || share != 100 {
            share = now_share;
            source.track_at_most(portion(part.flows, share), &mut waiting);
        }
        thinner.thin(&mut waiting, pulse);
        let now = clock();
        if now.saturating_sub(counted_at) >= COUNT_EVERY {
            counted_at = now;
            counted.add(&mut source, pulse);
        }
        if waiting.is_empty() {
            continue;
        }
        left.set((left.get() + now.saturating_sub(turn) / WAITING_PART).min(PATIENCE + LAST_PATIENCE));
        turn = now;
        let offered = |batch, patience: Duration| {
            let before = clock();
            let taken = offer(input, batch, patience.min(left.get()), pulse);
            let waited = clock().saturating_sub(before);
            left.set(left.get().saturating_sub(waited));
            pulse.waited.fetch_add(micros(waited), Ordering::Relaxed);
            taken
        };
        if !batches(&mut waiting).all(|batch| hand_over(&offered, batch, thinner.local(), pulse)) {
            break Err(Failure::new(Exit::Software, "the detection threads ended early"));
        }
    };
    loop {
        let more = source.finish(&mut waiting);
        // The engine is gone already if this fails, and its join says why.
        if !waiting.is_empty() && input.send(std::mem::take(&mut waiting)).is_err() || !more {
            break;
        }
    }
    counted.add(&mut source, pulse);
    pulse.ended.store(true, Ordering::Relaxed);
    ended
}

impl Counted {
    /// Adds what came since the last time to the counters of all threads.
    fn add(&mut self, source: &mut LiveSource, pulse: &Pulse) {
        let numbers = 1..=u16::try_from(source.interfaces()).unwrap_or(u16::MAX);
        let (mut packets, mut bytes, mut drops) = (0, 0, 0);
        for counters in numbers.filter_map(|number| source.counters(number)) {
            packets += counters.frames;
            bytes += counters.bytes;
            drops += counters.drops;
        }
        let evicted = source.sensor_counters().flows_evicted;
        let move_on = |common: &AtomicU64, before: &mut u64, now: u64| {
            common.fetch_add(now.saturating_sub(std::mem::replace(before, now)), Ordering::Relaxed);
        };
        move_on(&pulse.packets, &mut self.packets, packets);
        move_on(&pulse.bytes, &mut self.bytes, bytes);
        move_on(&pulse.drops, &mut self.drops, drops);
        move_on(&pulse.evicted, &mut self.evicted, evicted);
    }
}

/// What waits, in batches; nothing waits afterwards.
fn batches(waiting: &mut Vec<Event>) -> impl Iterator<Item = Vec<Event>> {
    let mut rest = std::mem::replace(waiting, Vec::with_capacity(BATCH)).into_iter();
    std::iter::from_fn(move || {
        let batch: Vec<Event> = rest.by_ref().take(BATCH).collect();
        (!batch.is_empty()).then_some(batch)
    })
}

/// Hands a batch over by `offer`, or what of it matters most. False when nobody takes any more.
fn hand_over(
    offer: &dyn Fn(Vec<Event>, Duration) -> Result<(), NotTaken>,
    batch: Vec<Event>,
    local: &LocalNets,
    pulse: &Pulse,
) -> bool {
    let full = match offer(batch, PATIENCE) {
        Ok(()) => return true,
        Err(NotTaken::Stopped(_)) => return false,
        Err(NotTaken::Full(batch)) => batch,
    };
    let all = full.len();
    let kept: Vec<Event> = full.into_iter().filter(|event| concerns(event, local)).collect();
    pulse.shed_remote.fetch_add(lossless(all - kept.len()), Ordering::Relaxed);
    if kept.is_empty() {
        return true;
    }
    match offer(kept, LAST_PATIENCE) {
        Ok(()) => true,
        Err(NotTaken::Stopped(_)) => false,
        Err(NotTaken::Full(batch)) => {
            pulse.shed_local.fetch_add(lossless(batch.len()), Ordering::Relaxed);
            true
        }
    }
}

/// Whether an event is about a local host, or about nobody: time goes on for all.
fn concerns(event: &Event, local: &LocalNets) -> bool {
    match event.parties() {
        (None, None) => true,
        (one, other) => [one, other].into_iter().flatten().any(|addr| local.contains(addr)),
    }
}

/// So many percent.
fn portion(of: u32, percent: u8) -> u32 {
    u32::try_from(u64::from(of) * u64::from(percent) / 100).unwrap_or(of)
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn lossless(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// Tries to hand a batch over for at most `patience`; at the end of the run as long as it takes.
fn offer(input: &Input, mut batch: Vec<Event>, patience: Duration, pulse: &Pulse) -> Result<(), NotTaken> {
    let step = Duration::from_micros(500);
    let mut waited = Duration::ZERO;
    loop {
        match input.try_send(batch) {
            Err(NotTaken::Full(back)) if waited < patience || pulse.stopping.load(Ordering::Relaxed) => {
                batch = back;
                thread::park_timeout(step);
                waited += step;
            }
            other => return other,
        }
    }
}

const fn state_name(state: LinkState) -> &'static str {
    match state {
        LinkState::Up => "up",
        LinkState::Down => "down",
        LinkState::Away => "gone; it is taken up again when it is back",
        LinkState::Refused => {
            "back, but the kernel refuses to let us capture on it; trying again every second"
        }
    }
}

/// A capture that cannot be, with its exit code.
pub fn failure(error: slips_input::capture::CaptureError) -> Failure {
    use slips_input::capture::ErrorKind;
    let exit = match error.kind() {
        ErrorKind::Usage => Exit::Usage,
        ErrorKind::NoInput => Exit::NoInput,
        ErrorKind::Permission => Exit::Permission,
        ErrorKind::System => Exit::Software,
    };
    Failure { exit, error: error.into() }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::net::IpAddr;

    use slips_core::detector::Detector;
    use slips_core::event::{Arp, ArpOp};
    use slips_core::evidence::Proof;
    use slips_core::flow::MacAddr;
    use slips_core::record::Record;
    use slips_core::time::PacketTime;
    use slips_detect::vertical_scan::VerticalScan;

    use super::*;

    fn between(one: [u8; 4], other: [u8; 4]) -> Event {
        Event::Arp(Arp {
            at: PacketTime(1),
            op: ArpOp::Request,
            frame_src: MacAddr([2; 6]),
            frame_dst: MacAddr([255; 6]),
            sender: IpAddr::from(one),
            sender_mac: MacAddr([2; 6]),
            target: IpAddr::from(other),
            target_mac: MacAddr([0; 6]),
            interface: 1,
        })
    }

    #[test]
    fn what_a_flood_brings_in_one_turn_is_handed_over_in_batches_and_in_order() {
        let mut waiting: Vec<Event> = (0..2500).map(|at| Event::Tick(PacketTime(at))).collect();
        let batches: Vec<Vec<Event>> = batches(&mut waiting).collect();
        assert_eq!(batches.iter().map(Vec::len).collect::<Vec<_>>(), [1024, 1024, 452]);
        let times: Vec<i64> = batches.concat().iter().map(|event| event.known_at().0).collect();
        assert!(waiting.is_empty() && times.is_sorted() && times.len() == 2500);
    }

    #[test]
    fn what_is_between_remote_hosts_is_shed_first_and_local_hosts_last() {
        let local = LocalNets::private();
        let batch = vec![
            between([192, 168, 1, 7], [203, 0, 113, 9]),
            between([198, 51, 100, 1], [203, 0, 113, 9]),
            between([203, 0, 113, 9], [10, 0, 0, 1]),
            Event::Tick(PacketTime(5)),
        ];
        let pulse = Pulse::default();
        let told = || (pulse.shed_remote.load(Ordering::Relaxed), pulse.shed_local.load(Ordering::Relaxed));
        let taken = RefCell::new(Vec::new());
        let roomy = |batch: Vec<Event>, _: Duration| {
            taken.borrow_mut().push(batch.len());
            Ok(())
        };
        assert!(hand_over(&roomy, batch.clone(), &local, &pulse));
        assert_eq!((taken.take(), told()), (vec![4], (0, 0)));
        let tight = |batch: Vec<Event>, patience: Duration| {
            if patience == PATIENCE { Err(NotTaken::Full(batch)) } else { roomy(batch, patience) }
        };
        assert!(hand_over(&tight, batch.clone(), &local, &pulse));
        assert_eq!((taken.take(), told()), (vec![3], (1, 0)));
        let full = |batch: Vec<Event>, _: Duration| Err(NotTaken::Full(batch));
        assert!(hand_over(&full, batch.clone(), &local, &pulse));
        assert_eq!(told(), (2, 3));
        assert!(!hand_over(&|batch, _| Err(NotTaken::Stopped(batch)), batch, &local, &pulse));
    }

    const OWN: [MacAddr; 2] = [MacAddr([2, 0, 0, 0, 0, 7]), MacAddr([2, 0, 0, 0, 0, 8])];
    const HOST: [u8; 4] = [192, 168, 77, 66];
    const SERVER: [u8; 4] = [203, 0, 113, 80];
    /// Numbers of the interfaces, and flags of TCP.
    const WAN: u16 = 1;
    const LAN: u16 = 2;
    const FIN: u8 = 1;
    const SYN: u8 = 2;
    const RST: u8 = 4;
    const ACK: u8 = 16;

    /// A packet of the host, or of the server, to or from `port`, in a frame from the hardware address that ends so.
    fn frame(by_host: bool, mac: u8, port: u16, flags: u8, seq: u32, ack: u32, data: &[u8]) -> Vec<u8> {
        let (src, dst) = if by_host { (HOST, SERVER) } else { (SERVER, HOST) };
        let (from, to) = if by_host { (40_000, port) } else { (port, 40_000) };
        let length = u16::try_from(40 + data.len()).expect("short").to_be_bytes();
        let mut frame = vec![2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, mac, 8, 0];
        frame.extend([0x45, 0, length[0], length[1], 0, 0, 0, 0, 64, 6, 0, 0]);
        frame.extend([src, dst].concat());
        frame.extend([from.to_be_bytes(), to.to_be_bytes()].concat());
        frame.extend([seq.to_be_bytes(), ack.to_be_bytes()].concat());
        frame.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
        frame.extend(data);
        frame
    }

    const START: i64 = 1_793_600_000_000_000;

    /// A router between a host and a server: what its rings hold becomes events, and these become alerts.
    struct Router {
        sensor: slips_sensor::Sensor,
        senders: Senders,
        engine: slips_core::engine::Engine,
        told: Vec<Event>,
        records: Vec<Record>,
    }

    impl Router {
        fn new(senders: Senders) -> Self {
            let settings =
                slips_core::settings::Settings { own_macs: OWN.to_vec().into(), ..Default::default() };
            let scans = || -> Vec<Box<dyn Detector>> {
                vec![Box::new(VerticalScan::new(&slips_detect::Settings::default()))]
            };
            let sensor =
                slips_sensor::Settings { verify_checksums: false, ..slips_sensor::Settings::default() };
            Self {
                sensor: slips_sensor::Sensor::new(sensor),
                senders,
                engine: slips_core::engine::Engine::new(&settings, &scans),
                told: Vec::new(),
                records: Vec::new(),
            }
        }

        fn read(&mut self, ring: u16, micros: i64, frame: &[u8]) {
            let at = PacketTime(START + micros);
            let length = u32::try_from(frame.len()).expect("short");
            self.sensor.packet(slips_sensor::LinkType::Ethernet, ring, at, frame, length, &mut self.told);
        }

        /// As the live source sees it.
        fn is_set(&mut self, micros: i64, by_secs: i64) {
            if by_secs < -60 {
                self.sensor.set_back(PacketTime(START + micros), &mut self.told);
                self.told.push(Event::Tick(PacketTime(START + micros)));
            }
        }

        fn turn(&mut self, micros: i64) {
            let (mut out, now) = (Vec::new(), PacketTime(START + micros));
            self.sensor.advance(now, &mut self.told);
            self.senders.pass(&mut self.told, self.sensor.corrected(), now, &mut out);
            self.engine.feed(out, &mut self.records);
        }
    }

    /// The host has loaded a page and scans; the ring of the way out is always read a turn before the one of the way in.
    fn proofs_of_a_scan(senders: Senders) -> Vec<Proof> {
        let mut router = Router::new(senders);
        let page = [
            (true, SYN, 100, 0, &b""[..]),
            (false, SYN | ACK, 500, 101, b""),
            (true, ACK, 101, 501, b"GET"),
            (false, ACK, 501, 104, b"page"),
            (true, FIN | ACK, 104, 505, b""),
            (false, FIN | ACK, 505, 105, b""),
            (true, ACK, 105, 506, b""),
        ];
        for (n, (by_host, flags, seq, ack, data)) in (0i64..).zip(page) {
            let (ring, mac) = if by_host { (LAN, 1) } else { (WAN, 2) };
            router.read(ring, n * 100, &frame(by_host, mac, 80, flags, seq, ack, data));
        }
        router.turn(6_000_000);
        for n in 0..400u16 {
            let at = 7_000_000 + i64::from(n) * 4000;
            router.read(WAN, at + 10, &frame(true, 7, 1000 + n, SYN, 100, 0, b""));
            router.read(WAN, at + 900, &frame(false, 2, 1000 + n, RST | ACK, 0, 101, b""));
            router.turn(at + 2000);
            router.read(LAN, at, &frame(true, 1, 1000 + n, SYN, 100, 0, b""));
            router.read(LAN, at + 910, &frame(false, 8, 1000 + n, RST | ACK, 0, 101, b""));
            router.turn(at + 3000);
        }
        let proof = |record: &Record| match record {
            Record::Alert(alert) => Some(alert.proof),
            _ => None,
        };
        router.records.iter().filter_map(proof).collect()
    }

    #[test]
    fn a_scan_is_proven_also_when_the_ring_of_the_way_out_is_read_first() {
        let senders = Senders::new(OWN.to_vec().into(), LocalNets::private());
        assert_eq!(proofs_of_a_scan(senders), [Proof::Proven]);
        // Without waiting nothing that is told at once is.
        assert_eq!(proofs_of_a_scan(Senders::default()), [Proof::Unproven]);
    }

    /// Who scan before and after, and while, the clock is set by so many seconds, each another server; how many were alerted.
    fn alerted_around(jumps: &[i64]) -> usize {
        let mut router = Router::new(Senders::default());
        let mut clock = 0;
        for (n, jump) in (0..).zip(jumps.iter().chain(&[0])) {
            for port in 0..400u16 {
                let mut syn = frame(false, 2, 1, SYN, 100, 0, b"");
                syn[29] += n;
                syn[36..38].copy_from_slice(&(1000 + port).to_be_bytes());
                router.read(WAN, clock, &syn);
                clock += 4000;
                router.turn(clock);
                if port == 200 {
                    clock += jump * 1_000_000;
                    router.is_set(clock, *jump);
                }
            }
            // Nothing more comes.
            for _ in 0..30 {
                clock += 1_000_000;
                router.told.push(Event::Tick(PacketTime(START + clock)));
                router.turn(clock);
            }
        }
        let of = |record: &Record| match record {
            Record::Alert(alert) => Some(alert.attacker),
            _ => None,
        };
        router.records.iter().filter_map(of).collect::<std::collections::BTreeSet<IpAddr>>().len()
    }

    #[test]
    fn clocks_that_are_set_either_way_cost_no_attacker_his_alert() {
        const HOUR: i64 = 3600;
        for jump in [0, 2, -2, 90, -90, HOUR, -HOUR, 30 * HOUR, -30 * HOUR, 9000 * HOUR, -9000 * HOUR] {
            assert_eq!(alerted_around(&[jump]), 2, "by {jump} s");
            assert_eq!(alerted_around(&[jump, -jump]), 3, "by {jump} s and back");
        }
    }
}
