//! Lookups in a million indicators, and what it costs to make, write and read such a snapshot:
//! `cargo bench -p slips-intel`.
#![expect(clippy::expect_used, reason = "a benchmark")]

use std::hint::black_box;
use std::net::IpAddr;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use nix::time::{ClockId, clock_gettime};
use slips_core::intel::{Intelligence, Key};
use slips_intel::{Indicators, Ioc};

mod made;
use made::{Numbers, build, rows};

const PROBES: usize = 65_536;

/// Processor time of this thread, so that what else the machine does counts as little as may be.
fn on_cpu(times: u64, work: impl Fn() -> usize) -> Duration {
    let spent = || {
        let now = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("a kernel that counts");
        Duration::new(now.tv_sec() as u64, now.tv_nsec() as u32)
    };
    let began = spent();
    (0..times).for_each(|_| _ = black_box(work()));
    spent() - began
}

fn lookups(c: &mut Criterion) {
    let rows = rows();
    let indicators = build(&rows);
    eprintln!("{:?}: {} bytes", indicators.contents(), indicators.memory());
    let mut numbers = Numbers(2);
    let addresses: Vec<IpAddr> = (0..PROBES).map(|_| numbers.v4()).collect();
    let v6: Vec<IpAddr> = (0..PROBES).map(|_| numbers.v6()).collect();
    let listed = |family: fn(&IpAddr) -> bool| -> Vec<IpAddr> {
        let all =
            rows.iter().filter_map(|(ioc, _)| if let Ioc::Net(net) = ioc { Some(net.addr()) } else { None });
        let all: Vec<IpAddr> = all.filter(family).collect();
        all.iter().copied().step_by((all.len() / PROBES).max(1)).cycle().take(PROBES).collect()
    };
    let (listed, listed6) = (listed(IpAddr::is_ipv4), listed(IpAddr::is_ipv6));
    let domains: Vec<String> = (0..PROBES).map(|_| format!("www.{}", numbers.domain())).collect();
    let known: Vec<String> = rows
        .iter()
        .filter_map(|(ioc, _)| match ioc {
            Ioc::Domain(name) => Some(format!("www.{name}")),
            _ => None,
        })
        .step_by(4)
        .take(PROBES)
        .collect();
    let mut group = c.benchmark_group("lookups");
    group.throughput(Throughput::Elements(PROBES as u64));
    for (name, probes) in [
        ("addresses", &addresses),
        ("listed addresses", &listed),
        ("IPv6 addresses", &v6),
        ("listed IPv6 addresses", &listed6),
    ] {
        group.bench_function(name, |b| {
            b.iter_custom(|times| {
                on_cpu(times, || {
                    probes.iter().filter(|addr| indicators.look_up(Key::Address(**addr)).is_some()).count()
                })
            });
        });
    }
    for (name, probes) in [("domains", &domains), ("listed domains", &known)] {
        group.bench_function(name, |b| {
            b.iter_custom(|times| {
                on_cpu(times, || {
                    probes.iter().filter(|name| indicators.look_up(Key::Domain(name)).is_some()).count()
                })
            });
        });
    }
    group.finish();
}

fn snapshots(c: &mut Criterion) {
    let rows = rows();
    let indicators = build(&rows);
    let mut file = Vec::new();
    indicators.write_cache(&mut file, 1).expect("write");
    let mut group = c.benchmark_group("snapshots");
    group.sample_size(10);
    group.bench_function("build", |b| b.iter_batched(|| (), |()| build(&rows), BatchSize::PerIteration));
    group.bench_function("read", |b| {
        b.iter(|| black_box(Indicators::read_cache(&file[..], file.len() as u64, 1).expect("read")));
    });
    group.finish();
}

criterion_group!(benches, lookups, snapshots);
criterion_main!(benches);
