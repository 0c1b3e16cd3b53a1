//! What a block costs in the kernel of this machine, in CPU time, since the kernel works inside our calls. In a network namespace, so
//! that nobody is cut off: `unshare --net cargo run --release -p slips-firewall --example measure`
//!
//! Prints `NAME VALUE` lines: microseconds for one block, seconds for many. `tests/bench/firewall` sets them beside others'.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "measures, and is no part of the program"
)]

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};
use slips_core::addr::Net;
use slips_firewall::{Backend, BlockRequest, Change, Firewall, NftOptions, Nftables, Policy, Protected};

fn main() {
    let backend = Nftables::open(NftOptions::default()).expect("nftables");
    let mut firewall =
        Firewall::with_backend(Box::new(backend), Policy::default(), Protected::classes()).expect("firewall");
    for (name, present) in [("empty", 0), ("100000_present", 100_000)] {
        firewall.restore((0..present).map(request).collect()).expect("restore");
        let one = |n: u32| request(0x0100_0000 + n);
        let times: Vec<_> = (0..2000u32).map(|n| spent(|| firewall.block(one(n)).expect("block"))).collect();
        quantiles(&format!("block_{name}"), times);
        let times: Vec<_> =
            (0..2000u32).map(|n| spent(|| firewall.unblock(one(n).net).expect("unblock"))).collect();
        quantiles(&format!("unblock_{name}"), times);
    }
    firewall.clear().expect("clear");
    for count in [1_000, 10_000, 100_000] {
        let requests: Vec<_> = (0..count).map(request).collect();
        say(
            &format!("block_many_{count}_s"),
            spent(|| firewall.block_many(requests.clone()).expect("block")),
        );
        say(&format!("restore_{count}_s"), spent(|| firewall.restore(requests).expect("restore")));
        say(&format!("list_{count}_s"), spent(|| firewall.blocks().expect("list")));
        firewall.clear().expect("clear");
    }
    firewall.remove().expect("remove");
    a_million();
    // The transaction alone, without the question whether it is blocked already.
    let mut backend = Nftables::open(NftOptions::default()).expect("nftables");
    let one = |n: u32| [Change::Block(request(n))];
    let times: Vec<_> = (0..2000u32).map(|n| spent(|| backend.apply(&one(n)).expect("apply"))).collect();
    quantiles("transaction", times);
    backend.remove().expect("remove");
}

/// A million blocks, by a table with room for them: all in one transaction, and in many of some size, each new.
fn a_million() {
    const MILLION: u32 = 1_000_000;
    let options = NftOptions { size: MILLION, ..NftOptions::default() };
    let backend = Nftables::open(options).expect("nftables");
    let mut firewall =
        Firewall::with_backend(Box::new(backend), Policy::default(), Protected::classes()).expect("firewall");
    let requests: Vec<_> = (0..MILLION).map(request).collect();
    let copy = requests.clone();
    let (cpu, wall) = both(|| drop(firewall.restore(copy).expect("restore")));
    say("restore_1000000_s", cpu);
    say("restore_1000000_wall_s", wall);
    firewall.clear().expect("clear");
    let parts: Vec<Vec<_>> = requests.chunks(2000).map(<[_]>::to_vec).collect();
    let (cpu, wall) = both(|| {
        for part in parts {
            firewall.block_many(part).expect("block");
        }
    });
    say("block_many_1000000_by_2000_s", cpu);
    say("block_many_1000000_by_2000_wall_s", wall);
    firewall.remove().expect("remove");
}

fn request(n: u32) -> BlockRequest {
    let net = Net::host(Ipv4Addr::from_bits(0x0b00_0000 + n).into());
    BlockRequest::new(net, Duration::from_secs(3600), "measured")
}

fn quantiles(name: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    for (quantile, at) in [("p50", times.len() / 2), ("p99", times.len() * 99 / 100)] {
        println!("{name}_{quantile}_us {:.1}", times[at].as_secs_f64() * 1e6);
    }
}

fn say(name: &str, time: Duration) {
    println!("{name} {:.4}", time.as_secs_f64());
}

/// The CPU time of this thread, and the time on the wall.
fn both(run: impl FnOnce()) -> (Duration, Duration) {
    let start = Instant::now();
    let cpu = spent(run);
    (cpu, start.elapsed())
}

/// The CPU time of this thread.
fn spent<T>(run: impl FnOnce() -> T) -> Duration {
    let now = || Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("clock"));
    let start = now();
    run();
    now() - start
}
