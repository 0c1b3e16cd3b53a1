//! What a block must do, by real packets: every kind of block in every direction, streams that run already beside the rules of
//! others, times that end with the daemon dead, and every order of asking.

#![allow(clippy::expect_used, clippy::panic, reason = "a test")]

mod lab;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use lab::{
    A4, A4_NEIGHBOUR, A6, A6_FENCE, A6_NEIGHBOUR, A6_SAME_64, C4, C6, Host, Lab, PATIENCE, ROUTER4, ROUTER6,
    arrives, arrives_by, eventually, leaves,
};
use slips_core::addr::Net;
use slips_firewall::{
    Backend, BlockRequest, Change, Features, Firewall, NftOptions, Nftables, Options, Outcome, Policy,
    Protected,
};

fn net(net: &str) -> Net {
    net.parse().expect(net)
}

fn request(net: &str, seconds: u64) -> BlockRequest {
    BlockRequest { exact: true, ..BlockRequest::new(self::net(net), Duration::from_secs(seconds), "") }
}

fn backend(lab: &Lab, features: Features) -> Nftables {
    let options = NftOptions { features, ..NftOptions::default() };
    lab.inside(Host::Router, || Nftables::open(options)).expect("open")
}

#[test]
fn every_kind_of_block_drops_every_direction_and_no_neighbour() {
    let name = "every_kind_of_block_drops_every_direction_and_no_neighbour";
    let Some(lab) = lab::open(name) else { return };
    for last in 5..=8 {
        lab.ip(Host::A, &format!("addr add 10.91.1.{last}/24 dev eth0"));
    }
    for features in [Features::ALL, Features::NONE] {
        let mut backend = backend(&lab, features);
        for (blocked, attacker, neighbour) in [
            (A4, A4, A4_NEIGHBOUR),
            ("10.91.1.6/31", "10.91.1.6", "10.91.1.5"),
            ("10.91.1.6/31", "10.91.1.7", "10.91.1.8"),
            (A6, A6, A6_SAME_64),
            ("2001:db8:a::/64", A6, A6_NEIGHBOUR),
            ("2001:db8:a::/64", A6_SAME_64, A6_NEIGHBOUR),
            ("2001:db8:a::2/127", A6, A6_NEIGHBOUR),
            ("2001:db8:aa::/63", A6_NEIGHBOUR, A6),
        ] {
            let what = format!("{features:?}: {attacker} by {blocked}");
            let (router, c) = if attacker.contains(':') { (ROUTER6, C6) } else { (ROUTER4, C4) };
            let [a, other] = [attacker, neighbour].map(|addr| lab.udp(Host::A, addr));
            let [at_router, at_c] = [(Host::Router, router), (Host::C, c)].map(|(h, addr)| lab.udp(h, addr));
            let passes = |x: &UdpSocket| {
                let x_addr = x.local_addr().expect("address");
                [arrives(x, &other, &at_router), arrives(x, &other, &at_c), leaves(&at_router, x_addr)]
            };
            assert_eq!(passes(&a), [true; 3], "{what}, before");
            backend.apply(&[Change::Block(request(blocked, 600))]).expect("block");
            assert_eq!(passes(&a), [false; 3], "{what}");
            // The fourth direction: from inside out to the blocked. Counted where it is dropped; the neighbour is reached.
            let dropped = backend.counters().expect("counters").forwarded.packets;
            at_c.send_to(b"out", a.local_addr().expect("address")).expect("send");
            eventually(|| backend.counters().expect("counters").forwarded.packets > dropped);
            assert!(arrives(&at_c, &at_c, &other), "{what}: its neighbour is reached");
            assert_eq!(passes(&other), [true; 3], "{what}: its neighbour");
            // Who is protected passes in every direction, whatever kind of block is there, and no longer than that.
            backend.apply(&[Change::Protect(vec![net(attacker)])]).expect("protect");
            assert_eq!(passes(&a), [true; 3], "{what}, protected");
            assert!(arrives(&at_c, &at_c, &a), "{what}: the protected is reached");
            backend.apply(&[Change::Protect(Vec::new())]).expect("protect nobody");
            assert_eq!(passes(&a), [false; 3], "{what}, no longer protected");
            backend.apply(&[Change::Unblock(net(blocked))]).expect("unblock");
            assert_eq!(passes(&a), [true; 3], "{what}, after");
        }
        backend.remove().expect("remove");
    }
}

#[test]
fn a_range_of_ipv6_is_blocked_from_its_first_to_its_last_address() {
    let Some(lab) = lab::open("a_range_of_ipv6_is_blocked_from_its_first_to_its_last_address") else {
        return;
    };
    let mut backend = backend(&lab, Features::ALL);
    let range = "2001:db8:a::e0/124";
    let addresses = ["2001:db8:a::df", "2001:db8:a::e0", "2001:db8:a::ef", "2001:db8:a::f0"];
    for address in addresses {
        lab.ip(Host::A, &format!("addr add {address}/64 dev eth0 nodad"));
    }
    let (fence, at_c) = (lab.udp(Host::A, A6_FENCE), lab.udp(Host::C, C6));
    let sources = addresses.map(|address| lab.udp(Host::A, address));
    let state = || sources.each_ref().map(|from| arrives(from, &fence, &at_c));
    backend.apply(&[Change::Block(request(range, 600))]).expect("block");
    assert_eq!(state(), [true, false, false, true]);
    // A hole in it, and a longer block inside.
    backend
        .apply(&[Change::Unblock(net("2001:db8:a::e0")), Change::Block(request("2001:db8:a::ee/127", 6000))])
        .expect("change");
    assert_eq!(state(), [true, true, false, true]);
    backend.apply(&[Change::Unblock(net(range))]).expect("unblock");
    assert_eq!(state(), [true; 4]);
}

/// Rules as others have them; the last column is where the attacker connects to.
const NEIGHBOURS: [(&str, &[&str], &str); 4] = [
    (
        "established is accepted before our chains",
        &[
            "add table inet other",
            "add chain inet other early { type filter hook prerouting priority -400 ; }",
            "add rule inet other early accept",
            "add chain inet other pass { type filter hook forward priority -200 ; }",
            "add rule inet other pass ct state established,related accept",
        ],
        C4,
    ),
    (
        "ufw",
        &[
            "add table ip filter",
            "add chain ip filter INPUT { type filter hook input priority 0 ; policy drop ; }",
            "add chain ip filter FORWARD { type filter hook forward priority 0 ; policy drop ; }",
            "add chain ip filter ufw-before-forward",
            "add rule ip filter FORWARD jump ufw-before-forward",
            "add rule ip filter ufw-before-forward ct state related,established accept",
            "add rule ip filter ufw-before-forward ip daddr 10.91.2.0/24 accept",
        ],
        C4,
    ),
    (
        "Docker",
        &[
            "add table ip nat",
            "add chain ip nat PREROUTING { type nat hook prerouting priority -100 ; }",
            "add rule ip nat PREROUTING meta l4proto {tcp,udp} th dport 8080 dnat to 10.91.2.2:7777",
            "add chain ip nat POSTROUTING { type nat hook postrouting priority 100 ; }",
            "add rule ip nat POSTROUTING ip saddr 10.91.2.0/24 ip daddr 10.91.2.0/24 masquerade",
            "add table ip filter",
            "add chain ip filter FORWARD { type filter hook forward priority 0 ; policy drop ; }",
            "add chain ip filter DOCKER-USER",
            "add rule ip filter FORWARD jump DOCKER-USER",
            "add rule ip filter DOCKER-USER return",
            "add rule ip filter FORWARD ct state related,established accept",
            "add rule ip filter FORWARD ip daddr 10.91.2.2 ct status dnat accept",
        ],
        ROUTER4,
    ),
    (
        "fw4 of OpenWrt",
        &[
            "add table inet fw4",
            "add chain inet fw4 forward { type filter hook forward priority 0 ; policy drop ; }",
            "add rule inet fw4 forward ct state vmap { established : accept, related : accept }",
            "add rule inet fw4 forward iifname ra oifname rc accept",
            "add chain inet fw4 raw_prerouting { type filter hook prerouting priority -300 ; policy accept ; }",
            "add rule inet fw4 raw_prerouting accept",
        ],
        C4,
    ),
];

#[test]
fn running_streams_stop_at_the_next_packet_beside_the_rules_of_others() {
    let name = "running_streams_stop_at_the_next_packet_beside_the_rules_of_others";
    let Some(lab) = lab::open(name) else { return };
    if lab::program("nft", "--version").is_none() {
        eprintln!("skipped: {name}: needs the program nft (nftables)");
        return;
    }
    let at_c = lab.inside(Host::C, || UdpSocket::bind((C4, 7777)).expect("udp"));
    at_c.set_read_timeout(Some(PATIENCE)).expect("timeout");
    let listener = lab.inside(Host::C, || TcpListener::bind((C4, 7777)).expect("listener"));
    for (whose, rules, target) in NEIGHBOURS {
        for rule in rules {
            lab.inside(Host::Router, || lab::program("nft", rule));
        }
        let port = if target == C4 { 7777 } else { 8080 };
        let target = SocketAddr::new(target.parse().expect("ip"), port);
        // Ours is there first or last: it must not matter.
        let mut firewall = lab.inside(Host::Router, || Firewall::open(Options::default())).expect("open");
        let (a, other) = (lab.udp(Host::A, A4), lab.udp(Host::A, A4_NEIGHBOUR));
        let stream = || arrives_by(target, &a, &other, &at_c);
        let mut near = lab.inside(Host::A, || TcpStream::connect(target).expect("connect"));
        let (mut far, _) = listener.accept().expect("accept");
        assert!(stream(), "{whose}: datagrams pass");
        at_c.send_to(b"back", a.local_addr().expect("address")).expect("answer");
        let mut buffer = [0; 5];
        near.write_all(b"hello").expect("write");
        far.read_exact(&mut buffer).expect("read");

        firewall.block(request(A4, 600)).expect("block");
        let before = firewall.counters().expect("counters");
        assert!(!stream(), "{whose}: the next datagram is dropped");
        near.write_all(b"again").expect("write");
        assert!(arrives_by(target, &other, &other, &at_c), "{whose}: the neighbour goes on");
        let after = firewall.counters().expect("counters");
        assert!(after.incoming.packets >= before.incoming.packets + 2, "{whose}: {before:?} {after:?}");
        far.set_nonblocking(true).expect("nonblocking");
        let read = far.read(&mut buffer);
        assert!(matches!(read, Err(ref e) if e.kind() == ErrorKind::WouldBlock), "{whose}: {read:?}");
        far.set_nonblocking(false).expect("blocking");
        far.write_all(b"reply").expect("write");
        eventually(|| firewall.counters().expect("counters").forwarded.packets > after.forwarded.packets);

        assert!(firewall.unblock(net(A4)).expect("unblock"));
        far.set_read_timeout(Some(PATIENCE)).expect("timeout");
        far.read_exact(&mut buffer).expect("the stream goes on");
        assert!(stream(), "{whose}: unblocked");
        firewall.remove().expect("remove");
        lab.inside(Host::Router, || lab::program("nft", "flush ruleset"));
    }
}

/// A time is kept within half a second by every kind of set, with nobody there to end it. Judged by packets that were sent before and
/// after: a machine that is slow to ask makes no error.
#[test]
#[expect(clippy::disallowed_methods, reason = "what is judged is the kernel's own clock ending a block")]
fn every_kind_of_block_ends_in_time_with_the_daemon_dead() {
    let Some(lab) = lab::open("every_kind_of_block_ends_in_time_with_the_daemon_dead") else { return };
    lab.ip(Host::A, "addr add 10.91.1.6/24 dev eth0");
    let blocks = [
        (A4, A4, A4_NEIGHBOUR, C4),
        ("10.91.1.6/31", "10.91.1.6", A4_NEIGHBOUR, C4),
        (A6, A6, A6_FENCE, C6),
        ("2001:db8:aa::/64", A6_NEIGHBOUR, A6_FENCE, C6),
        ("2001:db8:a::3/127", A6_SAME_64, A6_FENCE, C6),
    ];
    let sockets = blocks
        .map(|(_, from, fence, c)| (lab.udp(Host::A, from), lab.udp(Host::A, fence), lab.udp(Host::C, c)));
    let (term, slack) = (Duration::from_secs(2), Duration::from_millis(500));
    // The range of the last one holds A6, too, which is blocked as long anyway.
    let mut backend = backend(&lab, Features::ALL);
    let changes = blocks.map(|(net, ..)| Change::Block(BlockRequest { for_: term, ..request(net, 0) }));
    let asked = Instant::now();
    backend.apply(&changes).expect("block");
    let done = Instant::now();
    drop(backend);
    let mut open = [false; 5];
    while open != [true; 5] {
        for (index, (from, fence, to)) in sockets.iter().enumerate() {
            let sent = Instant::now();
            let passed = arrives(from, fence, to);
            let back = Instant::now();
            if passed {
                assert!(back - asked >= term - slack, "{}: ended after {:?}", blocks[index].0, back - asked);
                open[index] = true;
            } else {
                assert!(sent - done <= term + slack, "{}: stands after {:?}", blocks[index].0, sent - done);
            }
        }
    }
}

/// A set of ranges is written as a whole with each change of one. What has ended must not live on by that.
#[test]
#[expect(clippy::disallowed_methods, reason = "what is judged is the kernel's own clock ending a block")]
fn a_range_ends_however_often_its_set_is_written() {
    let Some(lab) = lab::open("a_range_ends_however_often_its_set_is_written") else { return };
    for features in [Features::ALL, Features::NONE] {
        let mut backend = backend(&lab, features);
        let mut write =
            |net: &str, seconds| backend.apply(&[Change::Block(request(net, seconds))]).expect("block");
        write("198.51.100.0/24", 1);
        let done = Instant::now();
        while done.elapsed() < Duration::from_secs(2) {
            write("203.0.113.0/24", 600);
            write("203.0.113.0/25", 900);
        }
        // If it had been written just now, it would be there still.
        write("203.0.113.0/24", 600);
        assert_eq!(backend.left(&[net("198.51.100.0/24")]).expect("left"), [None], "{features:?}");
        backend.remove().expect("remove");
    }
}

#[test]
fn no_order_of_asking_is_an_error() {
    let Some(lab) = lab::open("no_order_of_asking_is_an_error") else { return };
    for features in [Features::ALL, Features::NONE] {
        let backend = backend(&lab, features);
        let mut firewall =
            Firewall::with_backend(Box::new(backend), Policy::default(), Protected::classes()).expect("open");
        for target in [A4, "198.51.100.0/24", "2001:db8:9::7", "2001:db8:9:1::/64", "2001:db8:9:8000::/49"] {
            let what = format!("{features:?} {target}");
            let mut block = |seconds| firewall.block(request(target, seconds)).expect(&what);
            assert!(matches!(block(60), Outcome::Blocked { .. }), "{what}");
            assert!(matches!(block(600), Outcome::Extended { .. }), "{what}: longer");
            assert!(matches!(block(60), Outcome::Kept { .. }), "{what}: not shorter");
            assert!(firewall.left(net(target)).expect("left") > Some(Duration::from_secs(500)), "{what}");
            assert!(firewall.unblock(net(target)).expect("unblock"), "{what}");
            assert!(!firewall.unblock(net(target)).expect("unblock twice"), "{what}");
            let outcome = firewall.block(request(target, 1)).expect("block anew");
            assert!(matches!(outcome, Outcome::Blocked { .. }), "{what}: anew");
            eventually(|| firewall.left(net(target)).expect("left").is_none());
            assert!(!firewall.unblock(net(target)).expect("unblock the ended"), "{what}");
            let outcome = firewall.block(request(target, 60)).expect("block the ended");
            assert!(matches!(outcome, Outcome::Blocked { .. }), "{what}: after its end");
            assert!(firewall.unblock(net(target)).expect("unblock"), "{what}");
        }
        assert_eq!(firewall.blocks().expect("list"), []);
        firewall.remove().expect("remove");
    }
}
