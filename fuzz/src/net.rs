//! A sensor with small tables, so that every limit is near, and what must hold of it whatever it was given.

use slips_core::event::Event;
use slips_core::flow::Phase;
use slips_core::time::PacketTime;
use slips_sensor::{LinkType, Sensor, Settings};

/// Limits that a short input can reach.
pub fn settings() -> Settings {
    Settings {
        key: [3, 5],
        max_flows: 8,
        max_dns_pending: 4,
        max_fragmented: 4,
        max_fragment_bytes: 8 << 10,
        max_readers: 6,
        max_stream_bytes: 32 << 10,
        max_stream_side: 8 << 10,
        max_files: 4,
        max_hashed_bytes: 64 << 10,
        max_inflated_bytes: 64 << 10,
        max_begun_bytes: 8 << 10,
        max_dhcp_pending: 3,
        max_tunnels: 3,
        max_transfers: 3,
        ..Settings::default()
    }
}

/// A sensor that is being fed.
pub struct Net {
    sensor: Sensor,
    events: Vec<Event>,
    /// Time of the next packet.
    pub at: i64,
}

impl Net {
    /// A sensor without flows.
    pub fn new(settings: Settings) -> Self {
        Self { sensor: Sensor::new(settings), events: Vec::new(), at: 1_700_000_000_000_000 }
    }

    /// One packet, and a millisecond passes.
    pub fn packet(&mut self, link: LinkType, interface: u16, bytes: &[u8], wire_len: u32) {
        self.sensor.packet(link, interface, PacketTime(self.at), bytes, wire_len, &mut self.events);
        self.at = self.at.saturating_add(1000);
    }

    /// One whole IP packet.
    pub fn ip(&mut self, bytes: &[u8]) {
        self.packet(LinkType::RawIp, 0, bytes, bytes.len() as u32);
    }

    /// The input is over: whatever it was, these hold.
    pub fn finish(mut self) {
        self.sensor.finish(&mut self.events);
        let counters = self.sensor.counters();
        assert_eq!(counters.flows_active, 0, "every flow ends");
        assert_eq!(counters.flows_opened, counters.flows_ended);
        assert_eq!(counters.packets, counters.decoded + counters.rejected_total());
        let phases = |wanted| {
            let of = |event: &&Event| matches!(event, Event::Flow(flow) if flow.phase == wanted);
            self.events.iter().filter(of).count() as u64
        };
        assert_eq!(phases(Phase::Start), counters.flows_opened, "every flow is told at its start");
        assert_eq!(phases(Phase::End), counters.flows_ended, "and at its end");
    }
}
