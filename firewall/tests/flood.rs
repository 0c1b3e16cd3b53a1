//! No packet of a blocked attacker gets through while blocks are reloaded and daemons change, under a flood of them.
//!
//! `SLIPS_FLOOD` says how many packets; without it a short form runs.

#![allow(clippy::expect_used, clippy::panic, reason = "a test")]

mod lab;

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lab::{A4, A4_NEIGHBOUR, C4, Host, arrives};
use slips_core::addr::Net;
use slips_firewall::{BlockRequest, Features, Firewall, NftOptions, Nftables, Policy, Protected};

fn request(net: Net) -> BlockRequest {
    BlockRequest { exact: true, ..BlockRequest::new(net, Duration::from_secs(600), "") }
}

#[test]
fn nothing_leaks_while_blocks_are_reloaded_under_a_flood() {
    let name = "nothing_leaks_while_blocks_are_reloaded_under_a_flood";
    let Some(lab) = lab::open(name) else { return };
    if lab::program("nft", "--version").is_none() {
        eprintln!("skipped: {name}: needs the program nft (nftables)");
        return;
    }
    let asked = std::env::var_os("SLIPS_FLOOD").and_then(|count| count.to_str()?.parse().ok());
    let packets: u32 = asked.unwrap_or(100_000);
    // The client counts what reaches it, before anything else can decide about it.
    for line in [
        "add table inet lab",
        "add chain inet lab seen { type filter hook prerouting priority -400 ; }",
        "add rule inet lab seen ip saddr 10.91.1.2 udp dport 9 counter",
    ] {
        lab.inside(Host::C, || lab::program("nft", line));
    }
    let (a, at_c) = (lab.udp(Host::A, A4), lab.udp(Host::C, C4));
    let other = lab.udp(Host::A, A4_NEIGHBOUR);
    let attacker: Net = A4.parse().expect("net");
    let all: Vec<_> = (0..3_000)
        .map(|n| Net::host(Ipv4Addr::from_bits(0x0b00_0000 + n).into()))
        .chain([attacker])
        .map(request)
        .collect();
    for features in [Features::ALL, Features::NONE] {
        let open = || {
            let options = NftOptions { features, ..NftOptions::default() };
            let backend = lab.inside(Host::Router, || Nftables::open(options)).expect("open");
            Firewall::with_backend(Box::new(backend), Policy::default(), Protected::classes()).expect("open")
        };
        let mut held = Some(open());
        held.as_mut().expect("firewall").restore(all.clone()).expect("restore");
        let dropped = |firewall: &mut Firewall| firewall.counters().expect("counters").incoming.packets;
        let (mut reloads, mut daemons) = (0, 0);
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..packets {
                    a.send_to(b"flood", (C4, 9)).expect("send");
                }
                done.store(true, Ordering::Relaxed);
            });
            while !done.load(Ordering::Relaxed) {
                let firewall = held.get_or_insert_with(&open);
                firewall.restore(all.clone()).expect("reload");
                reloads += 1;
                if reloads % 8 == 0 {
                    // The next daemon takes over, and brings the kernel in line with its book.
                    held = None;
                    daemons += 1;
                }
            }
        });
        let mut firewall = held.unwrap_or_else(&open);
        // What was sent has been dropped or has come by now.
        assert!(!arrives(&a, &other, &at_c));
        let seen = lab.inside(Host::C, || lab::program("nft", "list chain inet lab seen")).expect("nft");
        println!(
            "{features:?}: {packets} packets, {reloads} reloads, {daemons} daemons, {} dropped",
            dropped(&mut firewall)
        );
        assert!(reloads > 0 && dropped(&mut firewall) > 0);
        assert!(seen.contains("counter packets 0 "), "{features:?}: after {reloads} reloads {seen}");
        firewall.remove().expect("remove");
    }
}
