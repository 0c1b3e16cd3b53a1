//! Datagrams of flow exporters, several after each other: templates of one matter to the next.
#![no_main]

use std::net::{IpAddr, Ipv4Addr};

use libfuzzer_sys::fuzz_target;
use slips_core::event::Event;
use slips_core::time::PacketTime;
use slips_input::Collector;

fuzz_target!(|data: &[u8]| {
    let allowed = ["0.0.0.0/0"].into_iter().filter_map(|net| net.parse().ok());
    let mut collector = Collector::new(allowed);
    let (mut out, mut rest, mut now) = (Vec::new(), data, 1_793_000_000_000_000i64);
    let mut datagrams = 0;
    // Length of each in two bytes, and by which of a few exporters.
    while let [high, low, from, more @ ..] = rest {
        let (datagram, after) = more.split_at(usize::from(u16::from_be_bytes([*high & 7, *low])).min(more.len()));
        collector.datagram(IpAddr::V4(Ipv4Addr::new(10, 0, 0, *from & 3)), PacketTime(now), datagram, &mut out);
        (rest, now, datagrams) = (after, now + 400_000, datagrams + 1);
    }
    collector.finish(&mut out);
    let report = collector.report();
    assert!(report.parts <= 64);
    assert!(out.len() as u64 <= report.records);
    for event in &out {
        let Event::Flow(flow) = event else { panic!("only flows") };
        assert!(flow.tunnelled, "nothing is proven by it");
        assert!(flow.start <= flow.seen && flow.seen <= PacketTime(now), "{flow:?}");
    }
});
