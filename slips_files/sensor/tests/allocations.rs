//! What a packet allocates once the sensor is warm: nothing, but for what its events hand over.
//!
//! Each stream is repeated until every pool is filled, then measured. Events are told into a list that keeps its memory, as
//! sources do. The exceptions are exact: a DNS row takes with it its name and its answers.

#![allow(clippy::expect_used, reason = "a test")]

mod support;

use slips_core::addr::LocalNets;
use slips_core::event::Event;
use slips_core::time::{PacketTime, Span};
use slips_sensor::{LinkType, PayloadSettings, Sensor, Settings};

use support::wire::{ACK, FIN, SYN, ipv4, tcp, udp};

const SERVER: [u8; 4] = [192, 0, 2, 9];

/// A sensor that is fed packets a hundred microseconds apart.
struct Feed {
    sensor: Sensor,
    events: Vec<Event>,
    at: PacketTime,
    told: u64,
}

impl Feed {
    fn new(max_flows: u32) -> Self {
        // Payloads are gathered of hosts that send none here: whoever else is seen costs nothing.
        let payloads = Some(PayloadSettings::of(LocalNets::new(Vec::new())));
        let settings = Settings { key: [3, 5], max_flows, payloads, ..Settings::default() };
        Self { sensor: Sensor::new(settings), events: Vec::with_capacity(4096), at: PacketTime(0), told: 0 }
    }

    fn packets(&mut self, packets: &[Vec<u8>]) {
        for packet in packets {
            self.at = self.at + Span(100);
            let length = packet.len() as u32;
            self.sensor.packet(LinkType::RawIp, 0, self.at, packet, length, &mut self.events);
            if self.events.len() > 1000 {
                self.told += self.events.len() as u64;
                self.events.clear();
            }
        }
    }
}

/// Allocations that the last of several rounds of the same packets makes; `rounds` fill the pools.
fn measure(feed: &mut Feed, rounds: usize, packets: &[Vec<u8>]) -> u64 {
    for _ in 0..rounds {
        feed.packets(packets);
    }
    let events = feed.told + feed.events.len() as u64;
    let info = allocation_counter::measure(|| feed.packets(packets));
    println!("{} packets, {} events: {info:?}", packets.len(), feed.told + feed.events.len() as u64 - events);
    info.count_total
}

fn client(n: u32) -> [u8; 4] {
    (0x0a00_0000 + n).to_be_bytes()
}

fn segment(n: u32, port: u16, is_client: bool, flags: u8, seq: u32, ack: u32, payload: &[u8]) -> Vec<u8> {
    match is_client {
        true => ipv4(client(n), SERVER, 6, &tcp((4000, port), flags, seq, ack, payload)),
        false => ipv4(SERVER, client(n), 6, &tcp((port, 4000), flags, seq, ack, payload)),
    }
}

#[test]
fn established_tcp_allocates_nothing() {
    const FLOWS: u32 = 100;
    let mut feed = Feed::new(1 << 10);
    let (mut next, ack) = (101u32, 501);
    let open: Vec<_> = (0..FLOWS)
        .flat_map(|n| {
            [
                segment(n, 9999, true, SYN, 100, 0, b""),
                segment(n, 9999, false, SYN | ACK, 500, 101, b""),
                segment(n, 9999, true, ACK, 101, 501, b""),
            ]
        })
        .collect();
    feed.packets(&open);
    let mut allocated = 0;
    for round in 0..40u32 {
        let mut packets = Vec::new();
        for n in 0..FLOWS {
            let bytes = [0xd6; 700];
            // of every tenth flow the first two segments change places, so that data waits above a hole
            let swap = n.is_multiple_of(10);
            let (first, second) = if swap { (next + 700, next) } else { (next, next + 700) };
            packets.push(segment(n, 9999, true, ACK, first, ack, &bytes));
            packets.push(segment(n, 9999, true, ACK, second, ack, &bytes));
            packets.push(segment(n, 9999, false, ACK, ack, next + 1400, b""));
        }
        next += 1400;
        let count = allocation_counter::measure(|| feed.packets(&packets)).count_total;
        if round >= 20 {
            allocated += count;
        }
    }
    assert_eq!(allocated, 0);
}

/// Whole connections of an unknown application, one after another.
#[test]
fn tcp_connections_that_come_and_go_allocate_nothing() {
    let mut packets = Vec::new();
    for n in 0..100 {
        packets.extend([
            segment(n, 9999, true, SYN, 100, 0, b""),
            segment(n, 9999, false, SYN | ACK, 500, 101, b""),
            segment(n, 9999, true, ACK, 101, 501, b""),
            segment(n, 9999, true, ACK, 101, 501, b"\xd6\xd7\xd8\xd9"),
            segment(n, 9999, false, ACK, 501, 105, b"\xd6\xd7\xd8\xd9"),
            segment(n, 9999, true, FIN | ACK, 105, 505, b""),
            segment(n, 9999, false, FIN | ACK, 505, 106, b""),
            segment(n, 9999, true, ACK, 106, 506, b""),
        ]);
    }
    assert_eq!(measure(&mut Feed::new(64), 20, &packets), 0);
}

#[test]
fn udp_allocates_nothing() {
    let mut packets = Vec::new();
    for n in 0..200 {
        packets.push(ipv4(client(n), SERVER, 17, &udp((4000, 9999), &[0xd6; 400])));
        packets.push(ipv4(SERVER, client(n), 17, &udp((9999, 4000), &[0xd6; 400])));
    }
    assert_eq!(measure(&mut Feed::new(1 << 10), 20, &packets), 0);
}

#[test]
fn a_syn_flood_allocates_nothing() {
    let mut feed = Feed::new(1 << 10);
    let flood = |from: u32| -> Vec<_> {
        (from..from + 5000).map(|n| segment(n, 80, true, SYN, n.wrapping_mul(77), 0, b"")).collect()
    };
    feed.packets(&flood(0));
    let packets = flood(10_000);
    let count = allocation_counter::measure(|| feed.packets(&packets)).count_total;
    assert_eq!(count, 0);
    assert_eq!(feed.sensor.counters().flows_evicted, 10_000 - 1024);
}

/// The row of an answered question is a box with a name and a list of answers (and each answer that is a name would be one
/// more): that is what is handed over. To read the two messages allocates nothing.
#[test]
fn dns_allocates_what_its_rows_hand_over() {
    let mut packets = Vec::new();
    for n in 0..100 {
        let mut question = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        question.extend(b"\x03www\x07example\x03org\x00\x00\x01\x00\x01");
        let mut reply = question.clone();
        reply[2..8].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 2]);
        for last in [1, 2] {
            reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, last]);
        }
        packets.push(ipv4(client(n), SERVER, 17, &udp((4000, 53), &question)));
        packets.push(ipv4(SERVER, client(n), 17, &udp((53, 4000), &reply)));
    }
    let mut feed = Feed::new(1 << 10);
    let count = measure(&mut feed, 20, &packets);
    assert_eq!(count, 100 * 3);
}
