//! Real packets through a real kernel: who is blocked does not get through, and gets through again when the time is over.

#![allow(clippy::expect_used, clippy::panic, reason = "a test")]

mod lab;

use std::io::{ErrorKind, Read, Write};
use std::net::Ipv4Addr;
use std::time::Duration;

use lab::{
    A4, A4_NEIGHBOUR, A6, A6_FENCE, A6_NEIGHBOUR, A6_SAME_64, C4, C6, Host, Lab, ROUTER4, ROUTER6, arrives,
    eventually, leaves,
};
use slips_core::addr::Net;
use slips_firewall::{
    Backend, BlockRequest, Change, Error, Features, Firewall, Health, NftOptions, Nftables, Options, Outcome,
    Policy, Protected, Refusal, SelfTest, Sources, Why, flush_all, list_all,
};

fn net(net: &str) -> Net {
    net.parse().expect(net)
}

fn request(net: &str, seconds: u64) -> BlockRequest {
    BlockRequest::new(net.parse().expect(net), Duration::from_secs(seconds), format!("test of {net}"))
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
    assert!(ours.contains(A4) && ours.contains("meta mark set ip saddr map @in4 goto blocked_in"), "{ours}");
    let refused = lab.inside(Host::Router, flush_all);
    match refused {
        Err(Error::Owned) => {}
        // Before Linux 6.9 a table has no owner: the daemon makes it anew.
        Ok(true) => drop(firewall.block(request(A4, 600)).expect("block")),
        other => panic!("while the daemon lives: {other:?}"),
    }
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

/// What another program drops proves nothing about us: neither that we block nor that we do not.
#[test]
fn the_self_test_is_not_fooled_by_what_others_drop() {
    let test = "the_self_test_is_not_fooled_by_what_others_drop";
    let Some(lab) = lab::open(test) else { return };
    lab.ip(Host::Router, "route add default via 10.91.1.2");
    let nft = |args: &str| lab.inside(Host::Router, || lab::program("nft", args)).is_some();
    // What others can do to the table, as on kernels before 6.9.
    let options = NftOptions { features: Features::NONE, ..NftOptions::default() };
    let backend = lab.inside(Host::Router, || Nftables::open(options)).expect("open");
    let mut firewall =
        Firewall::with_backend(Box::new(backend), Policy::default(), Protected::classes()).expect("firewall");
    let mut tested = || lab.inside(Host::Router, || firewall.self_test());
    if !nft("add table inet other") {
        eprintln!("skipped: {test}: needs the program nft (nftables)");
        return;
    }
    // A negative number would be an option of nft.
    let other = |priority: &str| {
        let chain = "type filter hook output priority";
        assert!(nft(&format!("add table inet other; add chain inet other out {{ {chain} {priority} ; }}")));
        assert!(nft("add rule inet other out ip daddr 192.0.2.0/24 drop"));
    };
    other("filter");
    assert_eq!(tested().expect("test"), SelfTest::Blocks, "ours is the first");
    assert!(nft("delete table inet other"));
    other("raw - 100");
    assert_eq!(tested().expect("test"), SelfTest::Shadowed, "theirs is the first");
    assert!(nft("delete table inet other"));
    assert_eq!(tested().expect("test"), SelfTest::Blocks);
    assert!(nft("flush chain inet slips output"));
    assert!(matches!(tested(), Err(Error::NotBlocking)), "ours is gone");
    other("filter");
    assert_eq!(tested().expect("test"), SelfTest::Shadowed, "ours is gone, and theirs drops");
}

#[test]
fn a_block_of_64_bits_drops_all_of_them_and_no_other() {
    let Some(lab) = lab::open("a_block_of_64_bits_drops_all_of_them_and_no_other") else { return };
    let mut firewall = firewall(&lab);
    let fence = lab.udp(Host::A, A6_FENCE);
    let at_c = lab.udp(Host::C, C6);
    let sources = [A6, A6_SAME_64, A6_NEIGHBOUR].map(|addr| lab.udp(Host::A, addr));
    let state = || sources.each_ref().map(|from| arrives(from, &fence, &at_c));
    assert_eq!(state(), [true; 3]);
    let outcome = firewall.block(request(A6, 600)).expect("block");
    let subnet = net("2001:db8:a::/64");
    assert_eq!(outcome, Outcome::Blocked { net: subnet, for_: Duration::from_secs(600) });
    assert_eq!(state(), [false, false, true]);
    assert!(firewall.left(net(A6_SAME_64)).expect("left").is_some());
    assert!(firewall.unblock(net(A6)).expect("unblock"));
    assert_eq!(state(), [true; 3]);

    // A neighbour of ours shares its 64 bits with us, so it is blocked alone.
    let mut protected = Protected::classes();
    protected.add_local(subnet);
    firewall.set_protected(protected).expect("protected");
    let outcome = firewall.block(request(A6, 600)).expect("block");
    assert_eq!(outcome, Outcome::Blocked { net: net(A6), for_: Duration::from_secs(600) });
    assert_eq!(state(), [false, true, true]);
}

#[test]
fn a_range_is_blocked_from_its_first_to_its_last_address() {
    let Some(lab) = lab::open("a_range_is_blocked_from_its_first_to_its_last_address") else { return };
    let mut firewall = firewall(&lab);
    for last in 4..=9 {
        lab.ip(Host::A, &format!("addr add 10.91.1.{last}/24 dev eth0"));
    }
    let fence = lab.udp(Host::A, A4);
    let at_c = lab.udp(Host::C, C4);
    let sources: Vec<_> = (3..=8).map(|last| lab.udp(Host::A, &format!("10.91.1.{last}"))).collect();
    let state = || sources.iter().map(|from| arrives(from, &fence, &at_c)).collect::<Vec<_>>();
    firewall.block(request("10.91.1.4/30", 600)).expect("block");
    assert_eq!(state(), [true, false, false, false, false, true]);
    firewall.block(request("10.91.1.6/31", 6000)).expect("block");
    assert!(firewall.unblock(net("10.91.1.4/31")).expect("unblock"));
    assert_eq!(state(), [true, true, true, false, false, true]);
    assert!(firewall.unblock(net("10.91.1.7")).expect("unblock"), "as part of a range");
    assert_eq!(state(), [true, true, true, false, true, true]);
}

#[test]
fn an_established_stream_stops_at_once_and_goes_on_afterwards() {
    let Some(lab) = lab::open("an_established_stream_stops_at_once_and_goes_on_afterwards") else { return };
    // A firewall as many have it: what is established is accepted, before our chains in one case and behind in the other.
    for line in [
        "add table inet other",
        "add chain inet other early { type filter hook forward priority -200 ; }",
        "add rule inet other early ct state established accept",
        "add chain inet other late { type filter hook forward priority 0 ; }",
        "add rule inet other late ct state established accept",
    ] {
        lab.inside(Host::Router, || lab::program("nft", line));
    }
    let mut firewall = firewall(&lab);
    let other = lab.udp(Host::A, A4_NEIGHBOUR);
    let at_c = lab.udp(Host::C, C4);
    let (mut near, mut far) = lab.tcp(Host::A, Host::C, C4);
    assert_eq!(near.local_addr().expect("address").ip().to_string(), A4);
    let mut buffer = [0; 5];
    near.write_all(b"hello").expect("write");
    far.read_exact(&mut buffer).expect("read");
    firewall.block(request(A4, 600)).expect("block");
    let before = firewall.counters().expect("counters").incoming.packets;
    near.write_all(b"again").expect("write");
    // What was written is on its way before the fence is; when the fence is there, the stream must be silent.
    assert!(arrives(&other, &other, &at_c));
    assert!(firewall.counters().expect("counters").incoming.packets > before);
    far.set_nonblocking(true).expect("nonblocking");
    assert!(matches!(far.read(&mut buffer), Err(error) if error.kind() == ErrorKind::WouldBlock));
    far.set_nonblocking(false).expect("blocking");
    assert!(firewall.unblock(net(A4)).expect("unblock"));
    far.read_exact(&mut buffer).expect("read");
    assert_eq!(&buffer, b"again");
}

#[test]
fn who_is_protected_is_never_blocked() {
    let Some(lab) = lab::open("who_is_protected_is_never_blocked") else { return };
    lab.ip(Host::Router, "route add default via 10.91.2.2");
    let discover =
        || lab.inside(Host::Router, || Protected::discover(&Sources::default())).expect("discover");
    let options = Options { protected: discover(), ..Options::default() };
    let mut firewall = lab.inside(Host::Router, || Firewall::open(options)).expect("firewall");
    for (target, why) in [
        (ROUTER4, Why::Own),
        ("::ffff:10.91.1.1", Why::Own),
        ("10.91.1.0/24", Why::Own),
        ("10.91.0.0/16", Why::Gateway),
        ("10.91.1.255", Why::Broadcast),
        (C4, Why::Gateway),
        (ROUTER6, Why::Own),
        ("2001:db8:a::/64", Why::Own),
        ("127.0.0.1", Why::Own),
        ("fe80::1", Why::LinkLocal),
        ("224.0.0.1", Why::Multicast),
    ] {
        match firewall.block(request(target, 600)).expect(target) {
            Outcome::Refused(Refusal::Protected { why: found, .. }) => assert_eq!(found, why, "{target}"),
            other => panic!("{target}: {other:?}"),
        }
    }
    assert_eq!(firewall.blocks().expect("list"), []);

    // Who is blocked and becomes protected is let in.
    let (a, other, at_c) = (lab.udp(Host::A, A4), lab.udp(Host::A, A4_NEIGHBOUR), lab.udp(Host::C, C4));
    firewall.block(request(A4, 600)).expect("block");
    assert!(!arrives(&a, &other, &at_c));
    lab.ip(Host::Router, "route add 198.51.100.0/24 via 10.91.1.2");
    assert_eq!(firewall.set_protected(discover()).expect("protect"), [net(A4)]);
    assert!(arrives(&a, &other, &at_c));
    assert_eq!(firewall.set_protected(discover()).expect("protect"), [], "nothing new");
}

#[test]
fn gateways_of_all_tables_and_ways_are_protected() {
    let Some(lab) = lab::open("gateways_of_all_tables_and_ways_are_protected") else { return };
    for route in [
        "route add default nexthop via 10.91.1.11 nexthop via 10.91.2.12",
        "route add 198.51.100.0/24 via 10.91.1.13 table 77",
        "-6 route add default nexthop via 2001:db8:a::14 nexthop via 2001:db8:c::15",
        "route add 203.0.113.0/24 via inet6 2001:db8:a::16 dev ra",
    ] {
        lab.ip(Host::Router, route);
    }
    let protected = lab.inside(Host::Router, || Protected::discover(&Sources::default())).expect("discover");
    for gateway in
        ["10.91.1.11", "10.91.2.12", "10.91.1.13", "2001:db8:a::14", "2001:db8:c::15", "2001:db8:a::16"]
    {
        assert_eq!(protected.check(net(gateway)), Some((net(gateway), Why::Gateway)));
    }
    assert_eq!(protected.check(net("10.91.1.12")), None);
    assert!(protected.is_local(net("2001:db8:aa::/64")));
}

#[test]
fn the_protected_pass_in_the_kernel_even_when_a_block_is_there() {
    let Some(lab) = lab::open("the_protected_pass_in_the_kernel_even_when_a_block_is_there") else { return };
    let mut backend = lab.inside(Host::Router, || Nftables::open(NftOptions::default())).expect("open");
    let (a, other) = (lab.udp(Host::A, A4), lab.udp(Host::A, A4_NEIGHBOUR));
    let (at_c, at_router) = (lab.udp(Host::C, C4), lab.udp(Host::Router, ROUTER4));
    let a_addr = a.local_addr().expect("address");
    backend
        .apply(&[Change::Block(request(A4, 600)), Change::Block(request("10.91.1.0/30", 600))])
        .expect("block");
    // The neighbour is in the range too, so that the fence needs protection of its own.
    backend.apply(&[Change::Protect(vec![net(A4_NEIGHBOUR)])]).expect("protect");
    assert_eq!((arrives(&a, &other, &at_c), leaves(&at_router, a_addr)), (false, false));
    backend.apply(&[Change::Protect(vec![net("10.91.1.2/31")])]).expect("protect");
    assert_eq!((arrives(&a, &other, &at_c), leaves(&at_router, a_addr)), (true, true));
}

#[test]
fn the_next_daemon_takes_over_what_the_last_one_blocked() {
    let Some(lab) = lab::open("the_next_daemon_takes_over_what_the_last_one_blocked") else { return };
    let (a, other, at_c) = (lab.udp(Host::A, A4), lab.udp(Host::A, A4_NEIGHBOUR), lab.udp(Host::C, C4));
    let wide = "198.51.100.0/24";
    // With and without an owner, and from each to the other.
    for [first, second] in [
        [Features::ALL, Features::ALL],
        [Features::NONE, Features::NONE],
        [Features::NONE, Features::ALL],
        [Features::ALL, Features::NONE],
    ] {
        let open = |features| {
            let options = NftOptions { annotate: true, features, ..NftOptions::default() };
            lab.inside(Host::Router, || Nftables::open(options))
        };
        let mut backend = open(first).expect("open");
        backend.apply(&[Change::Block(request(A4, 600)), Change::Block(request(wide, 600))]).expect("block");
        if backend.features().owner {
            assert!(matches!(open(second), Err(Error::Owned)), "a second daemon beside the first");
        }
        drop(backend);
        assert!(!arrives(&a, &other, &at_c), "{first:?}: blocked with no daemon there");
        let mut backend = open(second).expect("open again");
        assert!(!arrives(&a, &other, &at_c), "{first:?} to {second:?}: blocked still");
        let blocks: Vec<_> =
            backend.list().expect("list").into_iter().map(|block| (block.net, block.reason)).collect();
        assert_eq!(blocks, [(net(A4), format!("test of {A4}")), (net(wide), format!("test of {wide}"))]);
        let left = backend.left(&[net(A4)]).expect("left")[0].expect("blocked");
        assert!(Duration::from_secs(500) < left && left <= Duration::from_secs(600), "{left:?}");
        // The database knows better: A is not blocked any more.
        let mut firewall = Firewall::with_backend(Box::new(backend), Policy::default(), Protected::classes())
            .expect("firewall");
        firewall.restore(vec![request(wide, 60), request("127.0.0.1", 60)]).expect("restore");
        assert!(arrives(&a, &other, &at_c));
        assert_eq!(firewall.blocks().expect("list").len(), 1);
        firewall.remove().expect("remove");
    }
}

#[test]
fn what_others_do_to_an_unowned_table_is_repaired() {
    let Some(lab) = lab::open("what_others_do_to_an_unowned_table_is_repaired") else { return };
    let nft = |args: &'static str| lab.inside(Host::Router, move || lab::program("nft", args));
    if nft("list tables").is_none() {
        eprintln!(
            "skipped: what_others_do_to_an_unowned_table_is_repaired: needs the program nft (nftables)"
        );
        return;
    }
    let (a, other, at_c) = (lab.udp(Host::A, A4), lab.udp(Host::A, A4_NEIGHBOUR), lab.udp(Host::C, C4));
    let options = NftOptions { features: Features::NONE, ..NftOptions::default() };
    let backend = lab.inside(Host::Router, || Nftables::open(options)).expect("open");
    let mut protected = Protected::classes();
    protected.add_host(A4_NEIGHBOUR.parse().expect("ip"), Why::Listed);
    let mut firewall =
        Firewall::with_backend(Box::new(backend), Policy::default(), protected).expect("firewall");
    firewall.block(request(A4, 600)).expect("block");
    assert_eq!(firewall.verify().expect("verify"), Health::Intact);
    nft("add table inet other");
    assert_eq!(firewall.verify().expect("verify"), Health::Intact, "what does not concern us");
    for (deed, kept) in [
        ("flush ruleset", false),
        ("delete table inet slips", false),
        ("flush table inet slips", true),
        ("flush chain inet slips prerouting", true),
        ("flush chain inet slips forward; delete chain inet slips forward", true),
    ] {
        nft(deed);
        assert_eq!(firewall.verify().expect("verify"), Health::Rebuilt, "{deed}");
        assert_eq!(
            !arrives(&a, &other, &at_c),
            kept,
            "{deed}: blocks that are still in the sets are in force again"
        );
        assert_eq!(
            firewall.verify().expect("verify"),
            Health::Rebuilt,
            "{deed}: until the blocks are restored"
        );
        firewall.restore(vec![request(A4, 600)]).expect("restore");
        assert_eq!(firewall.verify().expect("verify"), Health::Intact, "{deed}");
        assert!(!arrives(&a, &other, &at_c), "{deed}");
        assert!(nft("list set inet slips allow4").is_some_and(|set| set.contains(A4_NEIGHBOUR)), "{deed}");
    }
    // A block does not wait for the next look.
    nft("flush ruleset");
    assert!(matches!(firewall.block(request(A4, 600)), Ok(Outcome::Blocked { .. })));
    assert!(!arrives(&a, &other, &at_c));
    assert_eq!(firewall.verify().expect("verify"), Health::Rebuilt, "others may be lost");
}

#[test]
fn nobody_else_can_change_an_owned_table() {
    let Some(lab) = lab::open("nobody_else_can_change_an_owned_table") else { return };
    let backend = lab.inside(Host::Router, || Nftables::open(NftOptions::default())).expect("open");
    if !backend.features().owner {
        eprintln!("skipped: nobody_else_can_change_an_owned_table: needs Linux 6.9");
        return;
    }
    let mut firewall =
        Firewall::with_backend(Box::new(backend), Policy::default(), Protected::classes()).expect("firewall");
    firewall.block(request(A4, 600)).expect("block");
    lab.inside(Host::Router, || lab::program("nft", "flush ruleset"));
    assert_eq!(firewall.verify().expect("verify"), Health::Intact);
    assert_eq!(firewall.blocks().expect("list").len(), 1);
}

#[test]
fn a_table_of_somebody_else_with_our_name_is_left_alone() {
    let Some(lab) = lab::open("a_table_of_somebody_else_with_our_name_is_left_alone") else { return };
    let nft = |args: &'static str| lab.inside(Host::Router, move || lab::program("nft", args));
    if nft("add table inet slips; add chain inet slips theirs").is_none() {
        eprintln!(
            "skipped: a_table_of_somebody_else_with_our_name_is_left_alone: needs the program nft (nftables)"
        );
        return;
    }
    let opened = lab.inside(Host::Router, || Firewall::open(Options::default()));
    assert!(matches!(opened, Err(Error::Foreign)), "{opened:?}");
    assert!(matches!(lab.inside(Host::Router, flush_all), Err(Error::Foreign)));
    assert!(nft("list table inet slips").is_some_and(|table| table.contains("chain theirs")));
}

#[test]
fn thousands_are_blocked_in_one_call_and_too_many_change_nothing() {
    let Some(lab) = lab::open("thousands_are_blocked_in_one_call_and_too_many_change_nothing") else {
        return;
    };
    let mut firewall = firewall(&lab);
    let (a, other, at_c) = (lab.udp(Host::A, A4), lab.udp(Host::A, A4_NEIGHBOUR), lab.udp(Host::C, C4));
    let many = |count: u32| {
        let hosts = (1..count).map(|n| Ipv4Addr::from_bits(0x0b00_0000 + n).to_string());
        let requests = hosts.chain([A4.to_owned()]).map(|host| request(&host, 600));
        requests.collect::<Vec<_>>()
    };
    let too_many = firewall.block_many(many(SET_SIZE + 1));
    assert!(matches!(too_many, Err(Error::Full { .. })), "{:?}", too_many.map(|outcomes| outcomes.len()));
    assert_eq!(firewall.blocks().expect("list"), [], "all or nothing");
    assert!(arrives(&a, &other, &at_c));
    let outcomes = firewall.block_many(many(6000)).expect("block");
    assert!(
        outcomes.len() == 6000 && outcomes.iter().all(|outcome| matches!(outcome, Outcome::Blocked { .. }))
    );
    assert!(!arrives(&a, &other, &at_c));
    let outcomes = firewall.restore(many(SET_SIZE)).expect("as many as there is room for");
    assert_eq!(outcomes.len(), SET_SIZE as usize);
    assert!(!arrives(&a, &other, &at_c));
    // Who is there already needs no room.
    let longer = BlockRequest { for_: Duration::from_secs(6000), ..request(A4, 0) };
    assert!(matches!(firewall.block(longer), Ok(Outcome::Extended { .. })));
    assert!(firewall.unblock(net(A4)).expect("unblock"));
    assert!(arrives(&a, &other, &at_c));
}

/// How many single IPv4 addresses are blocked at most.
const SET_SIZE: u32 = 131_072;
