//! Connections that are open when somebody is blocked are ended, in the table of connections and as sockets.

#![allow(clippy::expect_used, clippy::panic, reason = "a test")]

mod lab;

use std::io::{ErrorKind, Read, Write};
use std::process::Command;
use std::time::Duration;

use lab::{A4, A6, C4, C6, Host, Lab, ROUTER4, ROUTER6, eventually};
use slips_core::addr::Net;
use slips_firewall::{BlockRequest, Ended, Firewall, Options};

fn tracked(lab: &Lab) -> usize {
    lab.inside(Host::Router, || {
        let count = std::fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_count").expect("count");
        count.trim().parse().expect("number")
    })
}

#[test]
fn open_connections_of_the_blocked_are_ended_and_those_of_others_go_on() {
    let test = "open_connections_of_the_blocked_are_ended_and_those_of_others_go_on";
    let Some(lab) = lab::open(test) else { return };
    // The table is kept once somebody looks at the state of connections.
    let Some(_) = lab.inside(Host::Router, || {
        lab::program(
            "nft",
            "add table inet other; add chain inet other c { type filter hook forward priority 0 ; }",
        )?;
        lab::program("nft", "add chain inet other i { type filter hook input priority 0 ; }")?;
        lab::program("nft", "add rule inet other i ct state established accept")?;
        lab::program("nft", "add rule inet other c ct state established accept")
    }) else {
        eprintln!("skipped: {test}: needs the program nft (nftables)");
        return;
    };
    let mut firewall = lab.inside(Host::Router, || Firewall::open(Options::default())).expect("firewall");
    for (a, router, c) in [(A4, ROUTER4, C4), (A6, ROUTER6, C6)] {
        let (mut passing, mut passed) = lab.tcp(Host::A, Host::C, c);
        let (mut near, mut at_router) = lab.tcp(Host::A, Host::Router, router);
        let (mut beside, mut at_router_too) =
            lab.tcp(Host::C, Host::Router, if a == A4 { "10.91.2.1" } else { "2001:db8:c::1" });
        for (from, to) in
            [(&mut passing, &mut passed), (&mut near, &mut at_router), (&mut beside, &mut at_router_too)]
        {
            from.write_all(b"hello").expect("write");
            to.read_exact(&mut [0; 5]).expect("read");
        }
        // Of several addresses any may be the sender's.
        let attacker = Net::host(near.local_addr().expect("address").ip());
        let for_ = Duration::from_secs(600);
        let before = tracked(&lab);
        let alone = BlockRequest { exact: true, ..BlockRequest::new(attacker, for_, "test") };
        firewall.block(alone).expect("block");
        let ended = firewall.end_connections(&[attacker]).expect("end");
        assert_eq!(ended.sockets, 1, "{a}: {ended:?}");
        assert!(ended.tracked >= 2, "{a}: {ended:?}");
        assert!(tracked(&lab) < before, "{a}");
        let gone = at_router.read(&mut [0; 5]).expect_err("ended");
        assert_eq!(gone.kind(), ErrorKind::ConnectionAborted, "{a}");
        beside.write_all(b"still").expect("write");
        at_router_too.read_exact(&mut [0; 5]).expect("who is not blocked goes on");
        assert_eq!(firewall.end_connections(&[attacker]).expect("nothing is left"), Ended::default(), "{a}");
        assert_eq!(firewall.end_connections(&[]).expect("nobody"), Ended::default());
    }
}

/// A connection in a flow table of nftables passes by all chains, also ours before it. Only without its entry in the table of connections, which we
/// delete, do its packets come through them again; the kernel looks after its flow tables about once a second. Before Linux 6.4 it refuses to
/// delete such an entry.
#[test]
fn an_offloaded_connection_of_the_blocked_is_ended() {
    let test = "an_offloaded_connection_of_the_blocked_is_ended";
    let Some(lab) = lab::open(test) else { return };
    let Some(_) = lab.inside(Host::Router, || lab::program("nft", "add table inet other")) else {
        eprintln!("skipped: {test}: needs the program nft (nftables)");
        return;
    };
    let made = [
        "add flowtable inet other fast { hook ingress priority 0 ; devices = { ra, rc } ; }",
        "add chain inet other c { type filter hook forward priority 0 ; }",
        "add rule inet other c meta l4proto tcp flow add @fast",
    ];
    let nft = |line: &str| Command::new("nft").arg(line).output().is_ok_and(|made| made.status.success());
    if !lab.inside(Host::Router, || made.into_iter().all(nft)) {
        eprintln!("skipped: {test}: this kernel has no flow tables (NF_FLOW_TABLE, NFT_FLOW_OFFLOAD)");
        return;
    }
    let tracked =
        || lab.inside(Host::Router, || std::fs::read_to_string("/proc/thread-self/net/nf_conntrack"));
    if tracked().is_err() {
        eprintln!("skipped: {test}: this kernel shows no connections (NF_CONNTRACK_PROCFS)");
        return;
    }
    let mut firewall = lab.inside(Host::Router, || Firewall::open(Options::default())).expect("firewall");
    for c in [C4, C6] {
        let (mut attacker, mut victim) = lab.tcp(Host::A, Host::C, c);
        let mut say = |what: &[u8]| attacker.write_all(what).expect("write");
        eventually(|| {
            say(b"hello");
            victim.read_exact(&mut [0; 5]).expect("read");
            tracked().expect("connections").lines().any(|line| line.contains("[OFFLOAD]"))
        });
        let net = Net::host(victim.peer_addr().expect("address").ip());
        let alone = BlockRequest { exact: true, ..BlockRequest::new(net, Duration::from_secs(600), "test") };
        firewall.block(alone).expect("block");
        if firewall.end_connections(&[net]).expect("end").tracked == 0 {
            eprintln!("skipped: {test}: this kernel ends no offloaded connection (before Linux 6.4)");
            return;
        }
        let dropped = |firewall: &mut Firewall| firewall.counters().expect("counters").incoming.packets;
        let before = dropped(&mut firewall);
        let took = eventually(|| {
            say(b"still");
            dropped(&mut firewall) > before
        });
        println!("an offloaded connection to {c} went on for {took:?}");
        firewall.unblock(net).expect("unblock");
    }
}
