//! Hosts of one network that talk with each other through a bridge of the router.

#![allow(clippy::expect_used, clippy::panic, reason = "a test")]

mod lab;

use std::time::Duration;

use lab::{A4, A4_NEIGHBOUR, A6, A6_NEIGHBOUR, Host, Lab, arrives, eventually};
use slips_core::flow::MacAddr;
use slips_firewall::{BlockRequest, Firewall, Health, Options, Protected, Why, bridged, flush_all};

/// Makes the router a bridge between both hosts, as a switch or an access point is.
fn bridge(lab: &Lab) {
    for line in
        ["link add br0 type bridge", "link set br0 up", "link set ra master br0", "link set rc master br0"]
    {
        lab.ip(Host::Router, line);
    }
    lab.ip(Host::C, "addr add 10.91.1.50/24 dev eth0");
    lab.ip(Host::C, "addr add 2001:db8:a::50/64 dev eth0 nodad");
    lab.ip(Host::C, "addr add 2001:db8:aa::50/64 dev eth0 nodad");
    // What is bridged does not pass the other tables: the usual state.
    for family in ["ip", "ip6"] {
        lab.inside(Host::Router, || {
            std::fs::write(format!("/proc/sys/net/bridge/bridge-nf-call-{family}tables"), "0").ok();
        });
    }
}

#[test]
fn what_passes_a_bridge_is_dropped_in_both_directions() {
    let Some(lab) = lab::open("what_passes_a_bridge_is_dropped_in_both_directions") else { return };
    assert!(!lab.inside(Host::Router, bridged).expect("links"));
    bridge(&lab);
    assert!(lab.inside(Host::Router, bridged).expect("links"));
    let open = |bridge| {
        let options = Options { bridge, ..Options::default() };
        lab.inside(Host::Router, || Firewall::open(options)).expect("firewall")
    };
    let request = |net: &str| {
        let request = BlockRequest::new(net.parse().expect(net), Duration::from_secs(600), "test");
        BlockRequest { exact: true, ..request }
    };
    for (attacker, neighbour, c) in [(A4, A4_NEIGHBOUR, "10.91.1.50"), (A6, A6_NEIGHBOUR, "2001:db8:a::50")] {
        let (a, other) = (lab.udp(Host::A, attacker), lab.udp(Host::A, neighbour));
        let (at_c, from_c) = (lab.udp(Host::C, c), lab.udp(Host::C, c));
        // The bridge needs a moment until its ports forward.
        at_c.set_read_timeout(Some(Duration::from_millis(50))).expect("timeout");
        for from in [&a, &other] {
            eventually(|| {
                let _ = from.send_to(b"up", at_c.local_addr().expect("address"));
                at_c.recv_from(&mut [0; 16]).is_ok()
            });
        }
        at_c.set_read_timeout(Some(lab::PATIENCE)).expect("timeout");
        let mut plain = open(false);
        plain.block(request(attacker)).expect("block");
        assert!(arrives(&a, &other, &at_c), "{attacker}: without the table of bridges");
        drop(plain);

        let mut firewall = open(true);
        firewall.restore(vec![request(attacker)]).expect("restore");
        assert!(!arrives(&a, &other, &at_c), "{attacker}: from it");
        let (back, at_a) = (from_c.local_addr().expect("address"), a.local_addr().expect("address"));
        from_c.send_to(b"probe", at_a).expect("send");
        from_c.send_to(b"fence", other.local_addr().expect("address")).expect("send");
        let (length, from) = other.recv_from(&mut [0; 16]).expect("fence");
        assert_eq!((length, from), (5, back));
        a.set_nonblocking(true).expect("nonblocking");
        assert!(a.recv_from(&mut [0; 16]).is_err(), "{attacker}: to it");
        a.set_nonblocking(false).expect("blocking");
        firewall.set_paused(true).expect("pause");
        assert!(arrives(&a, &other, &at_c), "{attacker}: paused");
        firewall.set_paused(false).expect("resume");
        assert!(!arrives(&a, &other, &at_c), "{attacker}: resumed");
        assert_eq!(firewall.verify().expect("verify"), Health::Intact);
        assert!(firewall.unblock(attacker.parse().expect("net")).expect("unblock"));
        assert!(arrives(&a, &other, &at_c), "{attacker}: unblocked");
        firewall.block(request(attacker)).expect("block");
        drop(firewall);
        assert!(!arrives(&a, &other, &at_c), "{attacker}: with the daemon dead");
        drop(open(true));
        assert!(!arrives(&a, &other, &at_c), "{attacker}: taken over");
        assert!(lab.inside(Host::Router, flush_all).expect("flush"));
        assert!(arrives(&a, &other, &at_c), "{attacker}: flushed");
    }
}

/// An attacker who takes another address: what it sends is the same machine's.
#[test]
fn the_machine_of_a_blocked_host_passes_no_bridge_with_any_address() {
    let name = "the_machine_of_a_blocked_host_passes_no_bridge_with_any_address";
    let Some(lab) = lab::open(name) else { return };
    bridge(&lab);
    lab.ip(Host::Router, "addr add 10.91.1.60/24 dev br0");
    lab.ip(Host::Router, "route replace 10.91.1.50/32 dev br0");
    let mac = lab.inside(Host::A, || {
        let link = lab::program("ip", "-o link show eth0").expect("ip");
        let mac = link.split_whitespace().skip_while(|word| *word != "link/ether").nth(1).expect("address");
        MacAddr::parse(mac).expect(mac)
    });
    let open = |machines, also: Option<&str>| {
        let mut protected = Protected::classes();
        protected.add_local("10.91.1.0/24".parse().expect("net"));
        if let Some(host) = also {
            protected.add_host(host.parse().expect("ip"), Why::Gateway);
        }
        let options = Options { bridge: true, machines, protected, ..Options::default() };
        lab.inside(Host::Router, || Firewall::open(options)).expect("firewall")
    };
    let request = |machine| {
        let request = BlockRequest::new(A4.parse().expect("net"), Duration::from_secs(600), "test");
        BlockRequest { exact: true, machine, ..request }
    };
    let (other, at_c) = (lab.udp(Host::A, A4_NEIGHBOUR), lab.udp(Host::C, "10.91.1.50"));
    // The router's own packets pass no port, only its hook for what it sends.
    let fence = lab.udp(Host::Router, "10.91.1.60");
    at_c.set_read_timeout(Some(Duration::from_millis(50))).expect("timeout");
    for from in [&other, &fence] {
        eventually(|| {
            let _ = from.send_to(b"up", at_c.local_addr().expect("address"));
            at_c.recv_from(&mut [0; 16]).is_ok()
        });
    }
    at_c.set_read_timeout(Some(lab::PATIENCE)).expect("timeout");
    let passes = || arrives(&other, &fence, &at_c);
    // After a while in which nothing passed, the host has to find the other's machine first, and the fence overtakes its packet.
    let opens = |when: &str| println!("{when}: passes after {:?}", eventually(passes));
    assert!(passes());
    let mut firewall = open(true, None);
    firewall.block(request(Some(mac))).expect("block");
    assert!(!passes(), "the same machine by another address");
    firewall.set_paused(true).expect("pause");
    opens("paused");
    firewall.set_paused(false).expect("resume");
    assert!(!passes(), "resumed");
    assert_eq!(firewall.verify().expect("verify"), Health::Intact);
    drop(firewall);
    assert!(!passes(), "with the daemon dead");
    let mut firewall = open(true, None);
    assert!(!passes(), "taken over");
    assert!(firewall.unblock(A4.parse().expect("net")).expect("unblock"));
    opens("unblocked by the next daemon");
    // The kernel knows the machine of a host that the router has talked with.
    let near = |host: &str| {
        lab.ip(Host::Router, &format!("neigh replace {host} lladdr {mac} dev br0 nud reachable"));
    };
    near(A4);
    firewall.block(request(None)).expect("block");
    assert!(!passes(), "found by the router itself");
    firewall.restore(vec![request(None)]).expect("restore");
    assert!(!passes(), "restored");
    firewall.clear().expect("clear");
    opens("cleared");
    drop(firewall);
    for (machines, also, why) in [
        (false, None, "not asked for"),
        (true, Some(A4_NEIGHBOUR), "a protected address has the same machine"),
    ] {
        near(A4_NEIGHBOUR);
        let mut firewall = open(machines, also);
        firewall.block(request(None)).expect("block");
        opens(why);
        firewall.clear().expect("clear");
    }
    assert!(lab.inside(Host::Router, flush_all).expect("flush"));
    opens("flushed");
}

#[test]
fn a_bridge_table_of_somebody_else_is_left_as_it_is() {
    let Some(lab) = lab::open("a_bridge_table_of_somebody_else_is_left_as_it_is") else { return };
    let nft = |args: &'static str| lab.inside(Host::Router, move || lab::program("nft", args));
    let made =
        nft("add table bridge slips; add chain bridge slips theirs; add rule bridge slips theirs counter");
    if made.is_none() {
        eprintln!(
            "skipped: a_bridge_table_of_somebody_else_is_left_as_it_is: needs the program nft (nftables)"
        );
        return;
    }
    let before = nft("list table bridge slips");
    let options = Options { bridge: true, ..Options::default() };
    let mut firewall = lab.inside(Host::Router, || Firewall::open(options)).expect("firewall");
    let request = BlockRequest::new(A4.parse().expect("net"), Duration::from_secs(600), "test");
    firewall.block(request).expect("block");
    assert_eq!(firewall.verify().expect("verify"), Health::Intact);
    assert!(before.is_some());
    assert_eq!(nft("list table bridge slips"), before);
}
