//! Ten thousand attackers a second, while others go on to use the network.
//!
//! `SLIPS_STORM` says how many are blocked; without it a short form runs. The long form, with the times that it prints:
//! `SLIPS_STORM=100000 cargo nextest run --release -p slips-firewall --test storm --no-capture`

#![allow(clippy::expect_used, clippy::panic, reason = "a test")]

mod lab;

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lab::{A4, A4_NEIGHBOUR, C4, Host, arrives};
use slips_core::addr::Net;
use slips_firewall::{BlockRequest, Features, Firewall, NftOptions, Nftables, Outcome, Policy, Protected};

/// How many are decided on together, and how often: ten thousand a second.
const TOGETHER: u32 = 20;
const EVERY: Duration = Duration::from_millis(2);

#[test]
fn ten_thousand_blocks_a_second_lose_no_packet_of_others() {
    let name = "ten_thousand_blocks_a_second_lose_no_packet_of_others";
    let Some(lab) = lab::open(name) else { return };
    let asked = std::env::var_os("SLIPS_STORM").and_then(|count| count.to_str()?.parse().ok());
    let count: u32 = asked.unwrap_or(10_000);
    let (a, other, at_c) = (lab.udp(Host::A, A4), lab.udp(Host::A, A4_NEIGHBOUR), lab.udp(Host::C, C4));
    for features in [Features::ALL, Features::NONE] {
        let options = NftOptions { features, ..NftOptions::default() };
        let backend = lab.inside(Host::Router, || Nftables::open(options)).expect("open");
        let mut firewall = Firewall::with_backend(Box::new(backend), Policy::default(), Protected::classes())
            .expect("firewall");
        let done = AtomicBool::new(false);
        let (mut took, passed) = std::thread::scope(|scope| {
            let storm = scope.spawn(|| {
                let took = storm(&mut firewall, count);
                done.store(true, Ordering::Relaxed);
                took
            });
            let mut passed = 0u32;
            while !done.load(Ordering::Relaxed) {
                assert!(arrives(&other, &other, &at_c), "{features:?}: lost after {passed}");
                passed += 1;
            }
            (storm.join().expect("storm"), passed)
        });
        took.sort_unstable();
        let at = |percent: usize| took.get((took.len() - 1) * percent / 100).copied().unwrap_or_default();
        println!(
            "{features:?}: {count} blocks, in the kernel after p50 {:?} p99 {:?}; {passed} packets passed",
            at(50),
            at(99)
        );
        assert!(passed > 0);
        firewall.block(request(A4.parse().expect("net"))).expect("block");
        assert!(!arrives(&a, &other, &at_c), "{features:?}: who is blocked last");
        assert_eq!(firewall.blocks().expect("list").len(), count as usize + 1);
        firewall.remove().expect("remove");
    }
}

/// Blocks so many, each when it is due; from when it was due to when the kernel had it.
#[expect(
    clippy::disallowed_methods,
    reason = "the rate of the storm and what is printed are times of the machine"
)]
fn storm(firewall: &mut Firewall, count: u32) -> Vec<Duration> {
    let began = Instant::now();
    let mut took = Vec::new();
    for part in 0..count / TOGETHER {
        let due = began + EVERY * part;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let hosts = (part * TOGETHER..(part + 1) * TOGETHER)
            .map(|n| Net::host(Ipv4Addr::from_bits(0x0b00_0000 + n).into()));
        let outcomes = firewall.block_many(hosts.map(request).collect()).expect("block");
        assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Blocked { .. })));
        took.push(due.elapsed());
    }
    took
}

fn request(net: Net) -> BlockRequest {
    BlockRequest { exact: true, ..BlockRequest::new(net, Duration::from_secs(600), "storm") }
}
