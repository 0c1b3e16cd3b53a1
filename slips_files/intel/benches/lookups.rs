//! Lookups in a million indicators, and what it costs to make, write and read such a snapshot:
//! `cargo bench -p slips-intel`.
#![expect(clippy::expect_used, reason = "a benchmark")]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use nix::time::{ClockId, clock_gettime};
use slips_core::addr::Net;
use slips_core::evidence::ThreatLevel;
use slips_core::intel::{Intelligence, Key};
use slips_intel::{Builder, Indicators, Ioc, Saying};

const INDICATORS: usize = 1_000_000;
const PROBES: usize = 65_536;

/// Numbers that look random and are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    fn v4(&mut self) -> IpAddr {
        // Routed, unicast.
        let bits = 0x0b00_0000 + (self.next() as u32) % 0x7000_0000;
        IpAddr::V4(Ipv4Addr::from_bits(bits))
    }

    fn v6(&mut self) -> IpAddr {
        let bits = 0x2000_u128 << 112 | u128::from(self.next()) << 50 | u128::from(self.next());
        IpAddr::V6(Ipv6Addr::from_bits(bits))
    }

    /// As lists have them: 18 characters on average.
    fn domain(&mut self) -> String {
        let (n, zones) = (self.next(), ["com", "net", "top", "xyz", "ru", "info", "co.uk", "org"]);
        let length = 6 + n as usize % 12;
        let name: String = (0..length).map(|_| char::from(b'a' + (self.next() % 26) as u8)).collect();
        format!("{name}.{}", zones[n as usize % zones.len()])
    }
}

/// Half addresses, a third domains, the rest URLs, digests, networks and addresses of version 6, of ten feeds.
fn rows() -> Vec<(Ioc, usize)> {
    let mut numbers = Numbers(1);
    let row = |n: usize, numbers: &mut Numbers| match n % 20 {
        0..10 => Ioc::Net(Net::host(numbers.v4())),
        10..16 => Ioc::Domain(numbers.domain().into()),
        16 => Ioc::Url(format!("{}/{:x}.exe", numbers.domain(), numbers.next()).into()),
        17 => {
            let mut digest = [0; 32];
            digest.iter_mut().for_each(|byte| *byte = numbers.next() as u8);
            Ioc::Sha256(digest)
        }
        18 => Ioc::Net(Net::new(numbers.v4(), 24).expect("a prefix")),
        _ => Ioc::Net(Net::host(numbers.v6())),
    };
    (0..INDICATORS).map(|n| (row(n, &mut numbers), n % 10)).collect()
}

fn build(rows: &[(Ioc, usize)]) -> Indicators {
    let mut builder = Builder::new();
    for (n, (ioc, feed)) in rows.iter().enumerate() {
        // A tenth of the feeds' rows have a description of their own.
        let description = if n % 10 == 0 { format!("sample {}", n % 1000) } else { "botnet".into() };
        let source = format!("feed {feed}");
        let (level, tags) = (ThreatLevel::Medium, "malicious");
        let saying =
            Saying { level, description: &description, source: &source, tags, first_seen: 0, last_seen: 0 };
        assert!(builder.add(ioc, &saying));
    }
    builder.finish()
}

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
