//! Real packets through a real kernel: who is blocked does not get through, and gets through again when the time is over.

#![allow(clippy::expect_used, clippy::panic, reason = "a test")]

mod lab;

use std::time::Duration;

use lab::{
    A4, A4_NEIGHBOUR, A6, A6_NEIGHBOUR, C4, C6, Host, Lab, ROUTER4, ROUTER6, arrives, eventually, leaves,
};
use slips_firewall::{BlockRequest, Firewall, Options, Outcome, SelfTest, flush_all, list_all};

fn request(net: &str, seconds: u64) -> BlockRequest {
    BlockRequest {
        net: net.parse().expect(net),
        for_: Duration::from_secs(seconds),
        reason: format!("test of {net}"),
    }
}

fn firewall(lab: &Lab) -> Firewall {
    lab.inside(Host::Router, || Firewall::open(Options::default())).expect("firewall")
}

#[test]
fn an_attacker_neither_reaches_the_router_nor_passes_it_in_any_direction() {
    let Some(lab) = lab::open("an_attacker_neither_reaches_the_router_nor_passes_it_in_any_direction") else {
        return;
    };
    let mut firewall = firewall(&lab);
    for (attacker, neighbour, router, c) in [(A4, A4_NEIGHBOUR, ROUTER4, C4), (A6, A6_NEIGHBOUR, ROUTER6, C6)]
    {
        let a = lab.udp(Host::A, attacker);
        let other = lab.udp(Host::A, neighbour);
        let at_router = lab.udp(Host::Router, router);
        let at_c = lab.udp(Host::C, c);
        let a_addr = a.local_addr().expect("address");
        let state =
            || (arrives(&a, &other, &at_router), arrives(&a, &other, &at_c), leaves(&at_router, a_addr));
        assert_eq!(state(), (true, true, true), "{attacker} before");
        assert!(matches!(firewall.block(request(attacker, 600)), Ok(Outcome::Blocked { .. })), "{attacker}");
        assert_eq!(state(), (false, false, false), "{attacker} blocked");
        let forwarded = firewall.counters().expect("counters").forwarded.packets;
        at_c.send_to(b"back", a_addr).expect("send");
        eventually(|| firewall.counters().expect("counters").forwarded.packets > forwarded);
        assert_eq!(firewall.unblock(attacker.parse().expect("net")).ok(), Some(true));
        assert_eq!(state(), (true, true, true), "{attacker} unblocked");
    }
    assert!(firewall.counters().expect("counters").incoming.packets >= 4);
    assert!(firewall.counters().expect("counters").outgoing.packets >= 2);
}

#[test]
fn the_time_of_a_block_ends_by_itself_with_nobody_there_to_end_it() {
    let Some(lab) = lab::open("the_time_of_a_block_ends_by_itself_with_nobody_there_to_end_it") else {
        return;
    };
    let a = lab.udp(Host::A, A4);
    let other = lab.udp(Host::A, A4_NEIGHBOUR);
    let at_c = lab.udp(Host::C, C4);
    let mut firewall = firewall(&lab);
    firewall.block(request(A4, 2)).expect("block");
    drop(firewall);
    assert!(!arrives(&a, &other, &at_c), "blocked, with the daemon dead");
    eventually(|| arrives(&a, &other, &at_c));
}

#[test]
fn a_flush_leaves_nothing_of_ours_and_all_of_others() {
    let Some(lab) = lab::open("a_flush_leaves_nothing_of_ours_and_all_of_others") else { return };
    let mut firewall = firewall(&lab);
    let nft = |args: &'static str| lab.inside(Host::Router, move || lab::program("nft", args));
    let Some(_) = nft("add table inet other; add chain inet other c") else {
        eprintln!(
            "skipped: a_flush_leaves_nothing_of_ours_and_all_of_others: needs the program nft (nftables)"
        );
        return;
    };
    firewall.block(request(A4, 600)).expect("block");
    let ours = nft("list table inet slips").expect("nft");
    assert!(ours.contains(A4) && ours.contains("ip saddr @in4 counter name \"dropped_in\" drop"), "{ours}");
    let refused = lab.inside(Host::Router, flush_all);
    assert!(matches!(refused, Err(slips_firewall::Error::Owned)), "while the daemon lives: {refused:?}");
    drop(firewall);
    assert_eq!(
        lab.inside(Host::Router, list_all).expect("list").len(),
        1,
        "the daemon is dead, the block stays"
    );
    assert!(lab.inside(Host::Router, flush_all).expect("flush"));
    assert_eq!(nft("list tables").expect("nft").trim(), "table inet other");
    assert!(!lab.inside(Host::Router, flush_all).expect("flush again"), "nothing was left to flush");
}

#[test]
fn the_self_test_sees_that_blocking_blocks() {
    let Some(lab) = lab::open("the_self_test_sees_that_blocking_blocks") else { return };
    let mut firewall = firewall(&lab);
    assert_eq!(
        lab.inside(Host::Router, || firewall.self_test()).expect("test"),
        SelfTest::Unknown,
        "no route there"
    );
    lab.ip(Host::Router, "route add default via 10.91.1.2");
    assert_eq!(lab.inside(Host::Router, || firewall.self_test()).expect("test"), SelfTest::Blocks);
    assert_eq!(firewall.blocks().expect("list"), [], "nothing is left of it");
}
