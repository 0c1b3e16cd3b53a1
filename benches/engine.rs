//! Flows through the engine with all detections, on one thread: `cargo bench --bench engine`.
#![allow(missing_docs, reason = "criterion's macros make public items")]

use std::hint::black_box;
use std::net::IpAddr;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use slips_core::detector::Detector;
use slips_core::engine::Engine;
use slips_core::event::Event;
use slips_core::flow::{ConnState, Endpoint, Flow, Proto, Uid, Volume};
use slips_core::intel::Current;
use slips_core::settings::Settings;
use slips_core::time::PacketTime;

const FLOWS: u32 = 100_000;

fn registry() -> Vec<Box<dyn Detector>> {
    slips_detect::registry(&slips_detect::Settings::default(), &Current::default())
}

fn flow(n: u32, src: [u8; 4], dst: [u8; 4], dport: u16, state: ConnState) -> Event {
    let end = |addr: [u8; 4], port| Endpoint { addr: IpAddr::from(addr), port };
    let at = PacketTime::from_secs_micros(1_700_000_000, i64::from(n) * 1_000);
    let mut flow = Flow::new(at, Proto::Tcp, end(src, 40_000 + (n % 20_000) as u16), end(dst, dport));
    flow.uid = Uid::new(&format!("C{n}"));
    flow.state = state;
    flow.orig = Volume { pkts: 8, bytes: 1_000, ip_bytes: 1_400 };
    flow.resp = Volume { pkts: 8, bytes: 20_000, ip_bytes: 20_400 };
    (flow.orig_new, flow.resp_new) = (flow.orig, flow.resp);
    Event::Flow(flow)
}

/// A household: 50 hosts, 2,000 servers, all goes well.
fn household() -> Vec<Event> {
    (0..FLOWS)
        .map(|n| {
            let server = n.wrapping_mul(2_654_435_761) % 2_000;
            let server = [203, 0, (server / 250) as u8, (server % 250) as u8];
            flow(n, [192, 168, 1, (n % 50) as u8], server, 443, ConnState::SF)
        })
        .collect()
}

/// One host scans a /16 at one port.
fn sweep() -> Vec<Event> {
    (0..FLOWS)
        .map(|n| flow(n, [203, 0, 113, 9], [10, 0, (n >> 8) as u8, n as u8], 23, ConnState::S0))
        .collect()
}

/// Every packet comes from another address.
fn forged() -> Vec<Event> {
    (0..FLOWS)
        .map(|n| {
            let [_, b, c, d] = n.wrapping_mul(2_654_435_761).to_be_bytes();
            flow(n, [100, b, c, d], [192, 168, 1, 1], 80, ConnState::S0)
        })
        .collect()
}

fn engine(c: &mut Criterion) {
    let mut group = c.benchmark_group("engine");
    group.throughput(Throughput::Elements(u64::from(FLOWS))).sample_size(10);
    for (name, events) in [("household", household()), ("sweep", sweep()), ("forged", forged())] {
        group.bench_function(name, |b| {
            b.iter_batched(
                || events.chunks(1_000).map(<[Event]>::to_vec).collect::<Vec<_>>(),
                |batches| {
                    let mut engine = Engine::new(&Settings::default(), &registry);
                    let mut out = Vec::new();
                    for batch in batches {
                        engine.feed(batch, &mut out);
                        out.clear();
                    }
                    black_box(engine.stats())
                },
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, engine);
criterion_main!(benches);
