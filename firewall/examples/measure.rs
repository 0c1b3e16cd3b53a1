//! What a block costs in the kernel of this machine. In a network namespace, so that nobody is cut off:
//! `unshare --net cargo run --release -p slips-firewall --example measure`

#![allow(clippy::expect_used, clippy::disallowed_methods, reason = "measures, and is no part of the program")]

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use slips_core::addr::Net;
use slips_firewall::{BlockRequest, Firewall, Options};

fn main() {
    let mut firewall = Firewall::open(Options::default()).expect("firewall");
    println!("one block, in transactions of its own:");
    for present in [0, 100_000] {
        firewall.restore((0..present).map(request).collect()).expect("restore");
        let mut times: Vec<_> =
            (0..2000).map(|n| timed(|| firewall.block(request(0x0100_0000 + n)).expect("block")).0).collect();
        times.sort_unstable();
        println!("  {present} present: p50 {:?}, p99 {:?}, max {:?}", times[1000], times[1980], times[1999]);
    }
    firewall.clear().expect("clear");
    for count in [1000, 10_000, 100_000] {
        let requests: Vec<_> = (0..count).map(request).collect();
        let (blocked, _) = timed(|| firewall.block_many(requests.clone()).expect("block"));
        let (kept, _) = timed(|| firewall.block_many(requests.clone()).expect("block again"));
        let (restored, _) = timed(|| firewall.restore(requests).expect("restore"));
        let (listed, blocks) = timed(|| firewall.blocks().expect("list"));
        println!(
            "{count}: block_many {blocked:?}, again {kept:?}, restore {restored:?}, list {listed:?} ({})",
            blocks.len()
        );
        firewall.clear().expect("clear");
    }
    firewall.remove().expect("remove");
}

fn request(n: u32) -> BlockRequest {
    let net = Net::host(Ipv4Addr::from_bits(0x0b00_0000 + n).into());
    BlockRequest::new(net, Duration::from_secs(3600), "measured")
}

fn timed<T>(run: impl FnOnce() -> T) -> (Duration, T) {
    let start = Instant::now();
    let done = run();
    (start.elapsed(), done)
}
