//! Who must go when the flow table is full: unanswered flows first, so that a flood pushes out itself.

#![allow(clippy::expect_used, reason = "a test")]

mod support;

use std::collections::HashSet;

use proptest::prelude::*;
use slips_core::event::Event;
use slips_core::flow::{Phase, Uid};
use slips_core::time::{PacketTime, Span};
use slips_sensor::{LinkType, Sensor, Settings};

use support::wire::{ACK, FIN, SYN, ipv4, tcp, udp};

const SERVER: [u8; 4] = [192, 0, 2, 9];

struct Wire {
    sensor: Sensor,
    events: Vec<Event>,
    at: PacketTime,
    forged: u32,
}

impl Wire {
    fn new(max_flows: u32, key: u64) -> Self {
        let settings = Settings { max_flows, key: [key, 9], ..Settings::default() };
        Self { sensor: Sensor::new(settings), events: Vec::new(), at: PacketTime(0), forged: 0 }
    }

    fn packet(&mut self, packet: &[u8]) {
        self.at = self.at + Span(1);
        self.sensor.packet(LinkType::RawIp, 0, self.at, packet, packet.len() as u32, &mut self.events);
    }

    /// SYNs of sources that never were seen before.
    fn flood(&mut self, count: u32) {
        for _ in 0..count {
            self.forged += 1;
            let source = (0x1e00_0000 + self.forged).to_be_bytes();
            self.packet(&ipv4(source, SERVER, 6, &tcp((1234, 80), SYN, 7, 0, b"")));
        }
    }

    fn ended(&self) -> HashSet<Uid> {
        let of = |event: &Event| match event {
            Event::Flow(flow) if flow.phase == Phase::End => Some(flow.uid),
            _ => None,
        };
        self.events.iter().filter_map(of).collect()
    }
}

/// A whole exchange over HTTP, packet by packet.
fn conversation(n: u8) -> Vec<Vec<u8>> {
    let client = [10, 0, 0, n];
    let from =
        |flags, seq, ack, bytes: &[u8]| ipv4(client, SERVER, 6, &tcp((4000, 80), flags, seq, ack, bytes));
    let back =
        |flags, seq, ack, bytes: &[u8]| ipv4(SERVER, client, 6, &tcp((80, 4000), flags, seq, ack, bytes));
    vec![
        from(SYN, 99, 0, b""),
        back(SYN | ACK, 499, 100, b""),
        from(ACK, 100, 500, b""),
        from(ACK, 100, 500, b"GET /page HTTP/1.1\r\n"),
        from(ACK, 120, 500, b"Host: a.example\r\n\r\n"),
        back(ACK, 500, 139, b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"),
        back(ACK, 538, 139, b"body"),
        from(FIN | ACK, 139, 542, b""),
        back(FIN | ACK, 542, 140, b""),
        from(ACK, 140, 543, b""),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// An ordinary exchange amid a flood is tracked and parsed as if it were alone, as long as its answer comes before the
    /// table has turned over once; and whoever had to go is counted and told.
    #[test]
    fn an_ordinary_flow_amid_a_flood_is_tracked_and_parsed(
        max in 4u32..200,
        before in 0u32..500,
        waits in prop::collection::vec(0u32..300, 10),
        key: u64,
    ) {
        let mut wire = Wire::new(max, key);
        wire.flood(before);
        for (n, packet) in conversation(1).iter().enumerate() {
            wire.packet(packet);
            // the answer comes while there is still room
            let wait = waits.get(n).copied().unwrap_or(0);
            wire.flood(if n == 0 { wait % (max - 1) } else { wait });
        }
        let opened = u64::from(wire.forged) + 1;
        let counters = wire.sensor.counters();
        prop_assert_eq!(counters.flows_opened, opened);
        prop_assert_eq!(counters.flows_evicted, opened.saturating_sub(max.into()));
        prop_assert_eq!(wire.ended().len() as u64, counters.flows_evicted);
        wire.sensor.finish(&mut wire.events);
        prop_assert_eq!(wire.ended().len() as u64, opened);
        let flow = wire.events.iter().find_map(|event| match event {
            Event::Flow(flow) if flow.phase == Phase::End && flow.src.port == 4000 => Some(flow),
            _ => None,
        });
        let flow = flow.expect("the ordinary flow");
        prop_assert_eq!((flow.state.name(), flow.history.as_str()), ("SF", "ShADdFf"));
        prop_assert_eq!((flow.orig.pkts, flow.resp.pkts, flow.orig.bytes, flow.resp.bytes), (6, 4, 39, 42));
        let http: Vec<_> = wire.events.iter().filter_map(|event| match event {
            Event::Http(http) => Some((http.host.as_str(), http.uri.as_str(), http.status_code)),
            _ => None,
        }).collect();
        prop_assert_eq!(http, [("a.example", "/page", Some(200))]);
    }

    /// No flow that was answered goes while there is an unanswered one.
    #[test]
    fn answered_flows_outlive_any_flood(max in 8u32..100, share in 1u32..7, flood in 0u32..1000, key: u64) {
        let mut wire = Wire::new(max, key);
        let answered = (max * share / 8).max(1);
        for n in 0..answered {
            let client = [10, 0, 1, n as u8];
            wire.packet(&ipv4(client, SERVER, 17, &udp((4000, 9999), b"\xd6")));
            wire.packet(&ipv4(SERVER, client, 17, &udp((9999, 4000), b"\xd6")));
        }
        let kept: HashSet<Uid> = wire.events.iter().filter_map(|event| match event {
            Event::Flow(flow) => Some(flow.uid),
            _ => None,
        }).collect();
        prop_assert_eq!(kept.len() as u32, answered);
        wire.flood(flood);
        prop_assert!(wire.ended().is_disjoint(&kept));
        prop_assert_eq!(wire.sensor.counters().flows_evicted, u64::from((answered + flood).saturating_sub(max)));
    }

    /// Where all flows are answered, a busy one outlives those that are silent.
    #[test]
    fn a_busy_flow_outlives_silent_ones(max in 8u32..60, others in 100u32..300, key: u64) {
        let mut wire = Wire::new(max, key);
        let exchange = |wire: &mut Wire, client: [u8; 4]| {
            wire.packet(&ipv4(client, SERVER, 17, &udp((4000, 9999), b"\xd6")));
            wire.packet(&ipv4(SERVER, client, 17, &udp((9999, 4000), b"\xd6")));
        };
        exchange(&mut wire, [10, 0, 1, 1]);
        for n in 0..others {
            exchange(&mut wire, (0x0b00_0000 + n).to_be_bytes());
            exchange(&mut wire, [10, 0, 1, 1]);
        }
        prop_assert_eq!(wire.sensor.counters().flows_opened, u64::from(others) + 1);
        prop_assert_eq!(wire.sensor.counters().flows_evicted, u64::from(others + 1 - max));
    }
}
