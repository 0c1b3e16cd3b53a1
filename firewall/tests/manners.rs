//! What becomes of the packets, by the manner of a block, and who is charged with them; with real packets.

#![allow(clippy::expect_used, clippy::panic, reason = "a test")]

mod lab;

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use lab::{A4, A4_NEIGHBOUR, A6, A6_FENCE, C4, C6, Host, Lab, PATIENCE, ROUTER4, arrives, leaves};
use slips_core::addr::Net;
use slips_firewall::{
    BlockRequest, Features, Firewall, Manner, NftOptions, Nftables, Options, Origin, Outcome, Policy,
    Protected,
};

fn request(net: &str, manner: Manner) -> BlockRequest {
    let net: Net = net.parse().expect(net);
    BlockRequest { manner, exact: true, ..BlockRequest::new(net, Duration::from_secs(600), "test") }
}

fn firewall(lab: &Lab, options: Options) -> Firewall {
    lab.inside(Host::Router, || Firewall::open(options)).expect("firewall")
}

/// How a TCP connection fails.
fn connect(lab: &Lab, from: Host, to: SocketAddr) -> Option<ErrorKind> {
    lab.inside(from, || TcpStream::connect_timeout(&to, PATIENCE)).err().map(|error| error.kind())
}

#[test]
fn who_calls_what_is_rejected_is_told_at_once_and_nothing_comes_from_there() {
    let test = "who_calls_what_is_rejected_is_told_at_once_and_nothing_comes_from_there";
    let Some(lab) = lab::open(test) else { return };
    let mut firewall = firewall(&lab, Options::default());
    for (attacker, a, fence) in [(C4, A4, A4_NEIGHBOUR), (C6, A6, A6_FENCE)] {
        let to = SocketAddr::new(attacker.parse().expect("ip"), 9);
        let listening = lab.inside(Host::C, || TcpListener::bind(to)).expect("listener");
        assert_eq!(connect(&lab, Host::A, to), None, "{attacker} before");
        firewall.block(request(attacker, Manner::Reject)).expect("block");
        assert_eq!(connect(&lab, Host::A, to), Some(ErrorKind::ConnectionRefused), "{attacker}");
        assert_eq!(connect(&lab, Host::Router, to), Some(ErrorKind::ConnectionRefused), "{attacker}");
        // A datagram is answered by ICMP, which a connected socket is told.
        let near = lab.udp(Host::A, a);
        near.connect(to).expect("connect");
        near.send(b"call").expect("send");
        let answer = near.recv(&mut [0; 8]).expect_err("no answer but an error");
        assert_ne!(answer.kind(), ErrorKind::WouldBlock, "{attacker}: {answer}");
        let (from, at_a) = (lab.udp(Host::C, attacker), lab.udp(Host::A, a));
        let beside = lab.udp(Host::Router, if a == A4 { ROUTER4 } else { lab::ROUTER6 });
        assert!(!arrives(&from, &beside, &at_a), "{attacker}: nothing comes from there");
        let forwarded = firewall.counters().expect("counters").forwarded.packets;
        assert!(forwarded >= 2, "{attacker}: {forwarded}");
        drop((listening, fence));
    }
}

#[test]
fn an_isolated_host_gets_an_address_and_a_notice_and_nothing_else() {
    let test = "an_isolated_host_gets_an_address_and_a_notice_and_nothing_else";
    let Some(lab) = lab::open(test) else { return };
    let notice: SocketAddr = SocketAddr::new(ROUTER4.parse().expect("ip"), 8053);
    let mut firewall = firewall(&lab, Options { notice_port: Some(8053), ..Options::default() });
    let listening = lab.inside(Host::Router, || TcpListener::bind(notice)).expect("listener");
    let router: IpAddr = ROUTER4.parse().expect("ip");
    let dhcp = lab.inside(Host::Router, || std::net::UdpSocket::bind((router, 67))).expect("port 67");
    dhcp.set_read_timeout(Some(PATIENCE)).expect("timeout");
    let (a, other) = (lab.udp(Host::A, A4), lab.udp(Host::A, A4_NEIGHBOUR));
    let (at_router, at_c) = (lab.udp(Host::Router, ROUTER4), lab.udp(Host::C, C4));
    let far_dhcp = lab.inside(Host::C, || std::net::UdpSocket::bind((C4, 67))).expect("port 67");
    far_dhcp.set_read_timeout(Some(PATIENCE)).expect("timeout");
    let a_addr = a.local_addr().expect("address");
    firewall.block(request(A4, Manner::Isolate)).expect("block");
    assert!(!arrives(&a, &other, &at_router), "this host");
    assert!(!arrives(&a, &other, &at_c), "through this host");
    assert!(!arrives(&a, &other, &far_dhcp), "a port 67 behind this host");
    assert!(!leaves(&at_router, a_addr));
    assert!(arrives(&a, &other, &dhcp), "it asks for an address");
    assert!(leaves(&dhcp, a_addr), "and gets one");
    // The first address of its interface is the sender.
    assert_eq!(connect(&lab, Host::A, notice), None, "and sees the notice");
    drop(listening);
    assert!(firewall.unblock(A4.parse().expect("net")).expect("unblock"));
    assert!(arrives(&a, &other, &at_c));
}

#[test]
fn each_who_asks_has_counters_of_its_own() {
    let Some(lab) = lab::open("each_who_asks_has_counters_of_its_own") else { return };
    let mut firewall = firewall(&lab, Options::default());
    let (a, other) = (lab.udp(Host::A, A4), lab.udp(Host::A, A4_NEIGHBOUR));
    let (at_c, at_router) = (lab.udp(Host::C, C4), lab.udp(Host::Router, ROUTER4));
    for (index, by) in Origin::ALL.into_iter().enumerate() {
        let for_ = Duration::from_secs(600 * (1 + index as u64));
        let outcome = firewall.block(BlockRequest { by, for_, ..request(A4, Manner::Drop) }).expect("block");
        assert!(matches!(outcome, Outcome::Blocked { .. } | Outcome::Extended { .. }), "{outcome:?}");
        let before = firewall.counters_by().expect("counters");
        assert!(!arrives(&a, &other, &at_c));
        assert!(!leaves(&at_router, a.local_addr().expect("address")));
        let after = firewall.counters_by().expect("counters");
        for (n, (before, after)) in before.into_iter().zip(after).enumerate() {
            let counted = (
                after.incoming.packets - before.incoming.packets,
                after.outgoing.packets - before.outgoing.packets,
            );
            assert_eq!(counted, if n == index { (1, 1) } else { (0, 0) }, "{by:?}: {n}");
        }
    }
}

#[test]
fn what_is_dropped_is_logged_when_asked_for() {
    let Some(lab) = lab::open("what_is_dropped_is_logged_when_asked_for") else { return };
    let mut firewall = firewall(&lab, Options { log: true, ..Options::default() });
    let (a, other, at_c) = (lab.udp(Host::A, A4), lab.udp(Host::A, A4_NEIGHBOUR), lab.udp(Host::C, C4));
    firewall.block(request(A4, Manner::Drop)).expect("block");
    assert!(!arrives(&a, &other, &at_c));
    let Some(chain) = lab.inside(Host::Router, || lab::program("nft", "list chain inet slips dropped"))
    else {
        eprintln!("skipped: what_is_dropped_is_logged_when_asked_for: needs the program nft (nftables)");
        return;
    };
    assert!(
        chain.contains("limit rate 5/second") && chain.contains("log prefix \"slips dropped: \""),
        "{chain}"
    );
}

#[test]
fn a_single_block_is_counted_alone_from_when_somebody_asks() {
    let Some(lab) = lab::open("a_single_block_is_counted_alone_from_when_somebody_asks") else { return };
    for features in [Features::ALL, Features::NONE] {
        let options = NftOptions { features, ..NftOptions::default() };
        let backend = lab.inside(Host::Router, || Nftables::open(options)).expect("open");
        let mut firewall = Firewall::with_backend(Box::new(backend), Policy::default(), Protected::classes())
            .expect("firewall");
        let (a, other, at_c) = (lab.udp(Host::A, A4), lab.udp(Host::A, A4_NEIGHBOUR), lab.udp(Host::C, C4));
        let net: Net = A4.parse().expect("net");
        assert_eq!(firewall.count(net).expect("count"), None, "nobody is blocked");
        firewall.block(request(A4, Manner::Reject)).expect("block");
        assert!(!arrives(&a, &other, &at_c));
        assert_eq!(firewall.count(net).expect("count").map(|count| count.packets), Some(0), "from now on");
        for packets in 1..=3 {
            assert!(!arrives(&a, &other, &at_c));
            assert_eq!(firewall.count(net).expect("count").map(|count| count.packets), Some(packets));
        }
        let blocks = firewall.blocks().expect("list");
        assert_eq!((blocks.len(), blocks[0].manner), (1, Manner::Reject), "the same block as before");
        assert!(blocks[0].left > Duration::from_secs(500));
        firewall.remove().expect("remove");
    }
}
