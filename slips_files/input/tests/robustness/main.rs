//! Every capture of the corpora, whole and damaged in many ways, through reader and sensor: no panic, at most a second of
//! CPU time a case, at most 64 MiB of memory above what there was before.

#![expect(clippy::expect_used, reason = "helpers of tests")]

mod damage;

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use slips_core::event::Event;
use slips_core::time::PacketTime;
use slips_input::{CaptureFile, OpenOptions, open_stream};
use slips_sensor::{LinkType, Sensor, Settings};

use damage::Noise;

const MOST_CPU: Duration = Duration::from_secs(1);
const MOST_MEMORY: u64 = 64 << 20;
/// Bytes of one capture that are read over and over for its cuts; a larger capture is cut at fewer places.
const EFFORT: usize = 16 << 20;

/// A captured packet.
#[derive(Clone)]
struct Captured {
    dlt: u32,
    interface: u16,
    at: PacketTime,
    bytes: Vec<u8>,
    wire_len: u32,
}

/// The captures of the corpora; says so when there are none.
fn captures(test: &str) -> Vec<PathBuf> {
    #[expect(clippy::disallowed_methods, reason = "the variable is for tests only")]
    let named = std::env::var("SLIPS_CORPORA").map(PathBuf::from);
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpora");
    let mut found = Vec::new();
    captures_under(&named.unwrap_or(beside), &mut found);
    if found.is_empty() {
        println!("skipped: {test}: no corpora");
    }
    found.sort();
    found
}

fn captures_under(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            captures_under(&path, found);
        } else if path.extension().is_some_and(|kind| kind == "pcap" || kind == "pcapng" || kind == "cap") {
            found.push(path);
        }
    }
}

fn cpu() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("Linux has this clock").into()
}

/// The most that any case of a test took.
#[derive(Default)]
struct Worst {
    cases: u64,
    cpu: Duration,
    memory: u64,
}

impl Worst {
    /// Runs one case and holds it to the limits.
    fn case(&mut self, name: &dyn Fn() -> String, run: impl FnOnce()) {
        let before = cpu();
        let memory = allocation_counter::measure(run).bytes_max;
        let cpu = cpu() - before;
        assert!(cpu <= MOST_CPU, "{}: {cpu:?} of CPU time", name());
        assert!(memory <= MOST_MEMORY, "{}: {memory} bytes", name());
        self.cases += 1;
        self.cpu = self.cpu.max(cpu);
        self.memory = self.memory.max(memory);
    }

    fn tell(&self) {
        println!("{} cases, at most {:?} of CPU time and {} bytes each", self.cases, self.cpu, self.memory);
    }
}

/// Tables are reserved at the start: these are small enough to count them in.
fn settings() -> Settings {
    Settings { max_flows: 1 << 12, ..Settings::default() }
}

/// Reads bytes as a file to its end.
fn run_file(bytes: &[u8]) {
    let options = OpenOptions { sensor: settings(), ..OpenOptions::default() };
    let reader = Box::new(Cursor::new(bytes.to_vec()));
    let Ok(mut source) = open_stream(Path::new("capture"), reader, &options) else { return };
    let mut events = Vec::new();
    while source.next_batch(&mut events).expect("memory does not fail") {
        events.clear();
    }
    if let Some(counters) = source.report().sensor {
        assert_eq!(counters.packets, counters.decoded + counters.rejected_total());
        assert_eq!((counters.flows_active, counters.flows_opened), (0, counters.flows_ended));
    }
}

/// Reads packets to the end.
fn run_packets<'a>(packets: impl Iterator<Item = &'a Captured>, sensor: Settings) {
    let mut sensor = Sensor::new(sensor);
    let mut events: Vec<Event> = Vec::new();
    for packet in packets {
        if let Some(link) = LinkType::from_dlt(packet.dlt) {
            let Captured { interface, at, bytes, wire_len, .. } = packet;
            sensor.packet(link, *interface, *at, bytes, *wire_len, &mut events);
        }
        if events.len() >= 1000 {
            events.clear();
        }
    }
    events.clear();
    sensor.finish(&mut events);
    let counters = sensor.counters();
    assert_eq!(counters.packets, counters.decoded + counters.rejected_total());
    assert_eq!((counters.flows_active, counters.flows_opened), (0, counters.flows_ended));
}

fn packets(path: &Path) -> Vec<Captured> {
    let Ok(mut file) = CaptureFile::open(path, &OpenOptions::default()) else { return Vec::new() };
    let mut packets = Vec::new();
    while let Some(packet) = file.next_packet().expect("readable") {
        packets.push(Captured {
            dlt: packet.dlt,
            interface: packet.interface,
            at: packet.at,
            bytes: packet.captured.to_vec(),
            wire_len: packet.wire_len,
        });
    }
    packets
}

/// What is done to the packets of a capture.
type Damage = fn(&mut Vec<Captured>, &mut Noise);

/// Runs each kind of damage over every capture's packets.
fn every_capture(test: &str, kinds: &[(&str, Damage)]) {
    let mut worst = Worst::default();
    for path in captures(test) {
        let whole = packets(&path);
        for (kind, change) in kinds {
            let mut packets = whole.clone();
            change(&mut packets, &mut Noise::of(&path));
            let name = || format!("{} {kind}", path.display());
            worst.case(&name, || run_packets(packets.iter(), settings()));
        }
    }
    worst.tell();
}

#[test]
fn whole_captures_keep_to_the_limits() {
    let mut worst = Worst::default();
    for path in captures("whole_captures_keep_to_the_limits") {
        let bytes = fs::read(&path).expect("readable");
        worst.case(&|| path.display().to_string(), || run_file(&bytes));
    }
    worst.tell();
}

/// Every tenth byte. Where that is too much, it is all of them in the first 2 KiB (the headers and what follows them) and the
/// last 512 bytes, and between them as many as there is room for, evenly spread.
#[test]
fn captures_cut_at_every_tenth_byte_keep_to_the_limits() {
    let mut worst = Worst::default();
    for path in captures("captures_cut_at_every_tenth_byte_keep_to_the_limits") {
        let bytes = fs::read(&path).expect("readable");
        for end in damage::cuts(bytes.len(), EFFORT) {
            let cut = bytes.get(..end).expect("within the file");
            worst.case(&|| format!("{} cut at {end}", path.display()), || run_file(cut));
        }
    }
    worst.tell();
}

/// As a capture with a short snap length: each packet is cut, once at each tenth byte, while the others are whole. Captures
/// of many packets take as many of these cases at once as there are packets in a window.
#[test]
fn packets_cut_at_every_tenth_byte_keep_to_the_limits() {
    let mut worst = Worst::default();
    for path in captures("packets_cut_at_every_tenth_byte_keep_to_the_limits") {
        let whole = packets(&path);
        let longest = whole.iter().map(|packet| packet.bytes.len()).max().unwrap_or(0);
        let total: usize = whole.iter().map(|packet| packet.bytes.len()).sum();
        let step = (total * longest / EFFORT).next_multiple_of(10).max(10);
        for cut in (0..longest.max(1)).step_by(step) {
            // the packets are cut in turn, so that their order and their neighbours vary
            let damaged: Vec<Captured> = whole
                .iter()
                .enumerate()
                .map(|(n, packet)| {
                    let mut packet = packet.clone();
                    packet.bytes.truncate(if n % 3 == 2 { packet.bytes.len() } else { cut + n % 10 });
                    packet
                })
                .collect();
            let name = || format!("{} packets cut at {cut}", path.display());
            worst.case(&name, || run_packets(damaged.iter(), settings()));
        }
    }
    worst.tell();
}

#[test]
fn captures_with_flipped_bytes_keep_to_the_limits() {
    let mut worst = Worst::default();
    for path in captures("captures_with_flipped_bytes_keep_to_the_limits") {
        let whole = fs::read(&path).expect("readable");
        let mut noise = Noise::of(&path);
        for one_in in [10, 30, 100, 300, 1000, 3000] {
            let mut bytes = whole.clone();
            damage::flip(&mut bytes, one_in, &mut noise);
            worst.case(&|| format!("{} one in {one_in} flipped", path.display()), || run_file(&bytes));
        }
    }
    worst.tell();
}

#[test]
fn packets_with_flipped_bytes_keep_to_the_limits() {
    every_capture(
        "packets_with_flipped_bytes_keep_to_the_limits",
        &[
            ("a byte of each flipped", |packets, noise| {
                for packet in packets {
                    damage::flip_one(&mut packet.bytes, noise);
                }
            }),
            ("one byte in 20 flipped", |packets, noise| {
                packets.iter_mut().for_each(|packet| damage::flip(&mut packet.bytes, 20, noise));
            }),
            ("one byte in 200 flipped", |packets, noise| {
                packets.iter_mut().for_each(|packet| damage::flip(&mut packet.bytes, 200, noise));
            }),
            ("payloads flipped", |packets, noise| {
                for packet in packets {
                    damage::flip(packet.bytes.get_mut(54..).unwrap_or_default(), 30, noise);
                }
            }),
        ],
    );
}

#[test]
fn captures_with_wrong_times_keep_to_the_limits() {
    every_capture(
        "captures_with_wrong_times_keep_to_the_limits",
        &[
            ("times shuffled", |packets, noise| {
                let mut times: Vec<_> = packets.iter().map(|packet| packet.at).collect();
                noise.shuffle(&mut times);
                packets.iter_mut().zip(times).for_each(|(packet, at)| packet.at = at);
            }),
            ("times backwards", |packets, _| {
                let times: Vec<_> = packets.iter().rev().map(|packet| packet.at).collect();
                packets.iter_mut().zip(times).for_each(|(packet, at)| packet.at = at);
            }),
            ("some in the far future", |packets, noise| {
                for packet in packets {
                    if noise.below(8) == 0 {
                        let ahead = 300_000_000_000_000 << noise.below(12);
                        packet.at = PacketTime(packet.at.0.saturating_add(ahead));
                    }
                }
            }),
            ("times from anywhere", |packets, noise| {
                for packet in packets {
                    packet.at = PacketTime(noise.next() as i64);
                }
            }),
            ("first and last of all times", |packets, noise| {
                for packet in packets {
                    packet.at = PacketTime(if noise.below(2) == 0 { i64::MIN } else { i64::MAX });
                }
            }),
            ("stretched a thousandfold", |packets, _| {
                let first = packets.first().map_or(0, |packet| packet.at.0);
                for packet in packets {
                    packet.at = PacketTime(
                        first.saturating_add((packet.at.0.saturating_sub(first)).saturating_mul(1000)),
                    );
                }
            }),
        ],
    );
}

#[test]
fn captures_in_another_order_keep_to_the_limits() {
    every_capture(
        "captures_in_another_order_keep_to_the_limits",
        &[
            ("packets shuffled", |packets, noise| noise.shuffle(packets)),
            ("packets backwards", |packets, _| packets.reverse()),
            ("neighbours swapped", |packets, _| {
                packets.chunks_exact_mut(2).for_each(<[Captured]>::reverse);
            }),
            ("packets of a window shuffled", |packets, noise| {
                packets.chunks_mut(8).for_each(|window| noise.shuffle(window));
            }),
            ("packets twice", |packets, _| {
                *packets = packets.iter().flat_map(|packet| [packet.clone(), packet.clone()]).collect();
            }),
            ("packets twice, on two interfaces", |packets, _| {
                let other =
                    |packet: &Captured| Captured { interface: packet.interface ^ 1, ..packet.clone() };
                *packets = packets.iter().flat_map(|packet| [packet.clone(), other(packet)]).collect();
            }),
            ("the whole capture three times", |packets, _| {
                let whole = packets.clone();
                packets.extend(whole.iter().cloned());
                packets.extend(whole);
            }),
            ("some lost", |packets, noise| packets.retain(|_| noise.below(5) != 0)),
        ],
    );
}

#[test]
fn captures_through_the_smallest_tables_keep_to_the_limits() {
    let tiny = || Settings {
        max_flows: 2,
        max_dns_pending: 1,
        max_fragmented: 1,
        max_fragment_bytes: 100,
        max_readers: 1,
        max_stream_bytes: 1000,
        max_stream_side: 100,
        max_files: 1,
        max_hashed_bytes: 100,
        verify_checksums: true,
        ..Settings::default()
    };
    let mut worst = Worst::default();
    for path in captures("captures_through_the_smallest_tables_keep_to_the_limits") {
        let packets = packets(&path);
        worst.case(&|| path.display().to_string(), || run_packets(packets.iter(), tiny()));
    }
    worst.tell();
}
