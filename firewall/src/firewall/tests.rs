//! Requests and what becomes of them, over the dry run.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::Why;

/// A firewall over a dry run, and its clock in seconds.
fn firewall() -> (Firewall, Arc<AtomicU64>) {
    let clock = Arc::new(AtomicU64::new(0));
    let hands = Arc::clone(&clock);
    let backend = DryRun::with_clock(move || Duration::from_secs(hands.load(Ordering::Relaxed)));
    let mut protected = Protected::classes();
    protected.add_host("192.0.2.1".parse().expect("ip"), Why::Own);
    let firewall = Firewall::with_backend(Box::new(backend), Policy::default(), protected).expect("firewall");
    (firewall, clock)
}

fn net(net: &str) -> Net {
    net.parse().expect(net)
}

fn request(net: &str, seconds: u64) -> BlockRequest {
    BlockRequest::new(self::net(net), secs(seconds), "test")
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn a_block_is_extended_and_never_shortened() {
    let (mut firewall, clock) = firewall();
    for (written, listed) in
        [("198.51.100.7", "198.51.100.7"), ("2001:db8::7", "2001:db8::/64"), ("10.0.0.0/24", "10.0.0.0/24")]
    {
        let listed = net(listed);
        let start = clock.load(Ordering::Relaxed);
        for (at, for_, expected) in [
            (0, 60, Outcome::Blocked { net: listed, for_: secs(60) }),
            (10, 30, Outcome::Kept { net: listed, left: secs(50) }),
            (10, 50, Outcome::Kept { net: listed, left: secs(50) }),
            (10, 51, Outcome::Extended { net: listed, for_: secs(51), had: secs(50) }),
            (60, 0, Outcome::Refused(Refusal::NoTime)),
            (61, 5, Outcome::Blocked { net: listed, for_: secs(5) }),
        ] {
            clock.store(start + at, Ordering::Relaxed);
            assert_eq!(firewall.block(request(written, for_)).expect("block"), expected, "{written} at {at}");
        }
        assert_eq!(firewall.left(net(written)).expect("left"), Some(secs(5)));
        assert!(firewall.unblock(net(written)).expect("unblock"));
        assert!(!firewall.unblock(net(written)).expect("unblock twice"));
        assert_eq!(firewall.left(net(written)).expect("left"), None);
    }
}

#[test]
fn who_is_unblocked_is_let_in_whatever_blocked_it() {
    let (mut firewall, _) = firewall();
    let blocks = ["10.0.0.0/24", "10.0.0.7", "10.0.0.8", "10.0.1.9", "2001:db8::/48", "2001:db8::7"];
    firewall.block_many(blocks.map(|net| request(net, 60)).into()).expect("block");
    assert!(firewall.left(net("10.0.0.9")).expect("left").is_some(), "as part of its network");
    for (unblock, was, still, free) in [
        ("10.0.0.7", true, "10.0.0.6", "10.0.0.7"),
        ("10.0.0.9", true, "10.0.0.8", "10.0.0.9"),
        ("10.0.0.9", false, "10.0.0.8", "10.0.0.9"),
        ("10.0.0.0/24", true, "10.0.1.9", "10.0.0.8"),
        ("10.0.0.0/24", false, "10.0.1.9", "10.0.0.0"),
        ("10.0.0.0/16", true, "2001:db8::9", "10.0.1.9"),
        ("2001:db8::8", true, "2001:db8:0:1::8", "2001:db8::7"),
    ] {
        assert_eq!(firewall.unblock(net(unblock)).expect("unblock"), was, "{unblock}");
        assert!(firewall.left(net(still)).expect("left").is_some(), "{unblock}: {still}");
        assert_eq!(firewall.left(net(free)).expect("left"), None, "{unblock}: {free}");
    }
}

#[test]
fn an_owner_of_many_subnets_is_known_by_what_alerts_blocked() {
    let (mut firewall, _) = firewall();
    let host = |n: u32| request(&format!("2001:db9:7:{n:x}::7"), 60);
    let wider = |firewall: &Firewall, n: u32| {
        firewall.widened(net(&format!("2001:db9:7:{n:x}::/64")), &BTreeSet::new())
    };
    for n in 0..14 {
        let outcome = firewall.block(host(n)).expect("block");
        assert!(matches!(outcome, Outcome::Blocked { net, .. } if net.prefix() == 64), "{outcome:?}");
    }
    for (n, by) in [(15, Origin::Peer), (16, Origin::Manual), (17, Origin::Feed)] {
        firewall.block(BlockRequest { by, ..host(n) }).expect("block");
    }
    assert_eq!(wider(&firewall, 20), None);
    firewall.block(host(14)).expect("block");
    let line = net("2001:db9:7::/56");
    assert_eq!(wider(&firewall, 20), Some(line));
    firewall.block(BlockRequest { exact: true, ..request("2001:db9:7::/56", 60) }).expect("block");
    assert!(firewall.left(net("2001:db9:7:80::1")).expect("left").is_some(), "all of it");
    assert_eq!(wider(&firewall, 99), Some(line));
    assert!(firewall.unblock(net("2001:db9:7:63::1")).expect("unblock"));
    assert_eq!(wider(&firewall, 98), None, "not all of it is one owner's");
    firewall.clear().expect("clear");
    assert_eq!(wider(&firewall, 20), None);
}

#[test]
fn of_many_requests_each_has_its_outcome() {
    let (mut firewall, _) = firewall();
    let requests = [
        ("198.51.100.7", 60),
        ("192.0.2.1", 60),
        ("::ffff:198.51.100.7", 90),
        ("198.51.100.7", 70),
        ("8.0.0.0/8", 60),
    ];
    let requests: Vec<_> = requests.iter().map(|(net, seconds)| request(net, *seconds)).collect();
    let host = net("198.51.100.7");
    let own = Refusal::Protected { net: net("192.0.2.1"), why: Why::Own };
    let expected = [
        Outcome::Blocked { net: host, for_: secs(60) },
        Outcome::Refused(own),
        Outcome::Extended { net: host, for_: secs(90), had: secs(60) },
        Outcome::Kept { net: host, left: secs(90) },
        Outcome::Refused(Refusal::TooWide { widest: 16 }),
    ];
    assert_eq!(firewall.block_many(requests.clone()).expect("block"), expected);
    assert_eq!(firewall.left(host).expect("left"), Some(secs(90)));
    firewall.block(request("203.0.113.1", 60)).expect("block");
    let expected = expected.map(|outcome| match outcome {
        Outcome::Extended { net, for_, .. } => Outcome::Blocked { net, for_ },
        other => other,
    });
    assert_eq!(firewall.restore(requests).expect("restore"), expected, "from nothing, the same");
    assert_eq!(firewall.blocks().expect("list").len(), 1);
    firewall.clear().expect("clear");
    assert_eq!(firewall.blocks().expect("list"), []);
}

#[test]
fn an_exchange_sets_times_longer_and_shorter_and_lets_in_at_once() {
    let (mut firewall, _) = firewall();
    firewall.block_many(["10.0.0.7", "10.0.0.8"].map(|net| request(net, 60)).into()).expect("block");
    let requests = [("10.0.0.8", 20), ("192.0.2.1", 60), ("10.0.0.9", 30)];
    let requests = requests.map(|(net, secs)| request(net, secs)).into();
    let outcomes = firewall.exchange(&[net("10.0.0.7"), net("10.0.0.66")], requests).expect("exchange");
    let own = Refusal::Protected { net: net("192.0.2.1"), why: Why::Own };
    let blocked = |written, for_| Outcome::Blocked { net: net(written), for_: secs(for_) };
    assert_eq!(outcomes, [blocked("10.0.0.8", 20), Outcome::Refused(own), blocked("10.0.0.9", 30)]);
    let held = ["10.0.0.7", "10.0.0.8", "10.0.0.9"].map(|host| firewall.left(net(host)).expect("left"));
    assert_eq!(held, [None, Some(secs(20)), Some(secs(30))]);
    assert_eq!(firewall.exchange(&[], Vec::new()).expect("nothing"), []);
}

#[test]
fn who_becomes_protected_is_let_in() {
    let (mut firewall, _) = firewall();
    for net in ["198.51.100.7", "2001:db8::7", "203.0.113.0/24"] {
        firewall.block(request(net, 60)).expect("block");
    }
    let mut protected = firewall.protected().clone();
    assert_eq!(firewall.set_protected(protected.clone()).expect("protect"), []);
    protected.add_host("198.51.100.7".parse().expect("ip"), Why::Resolver);
    protected.add_host("2001:db8::53".parse().expect("ip"), Why::Resolver);
    protected.add(net("203.0.113.0/24"), Why::Listed);
    let freed = firewall.set_protected(protected).expect("protect");
    assert_eq!(freed, ["198.51.100.7", "203.0.113.0/24", "2001:db8::/64"].map(net));
    // With a network all that is blocked in it.
    firewall.block(request("198.18.0.7", 60)).expect("block");
    let mut protected = firewall.protected().clone();
    protected.add(net("198.18.0.0/16"), Why::Listed);
    assert_eq!(firewall.set_protected(protected).expect("protect"), [net("198.18.0.7")]);
    // Of a wider block nothing but the protected address is let in.
    firewall.block(request("192.88.0.0/24", 60)).expect("block");
    let mut protected = firewall.protected().clone();
    protected.add_host("192.88.0.7".parse().expect("ip"), Why::Session);
    assert_eq!(firewall.set_protected(protected).expect("protect"), []);
    let left = |firewall: &mut Firewall, host| firewall.left(net(host)).expect("left");
    assert_eq!(left(&mut firewall, "192.88.0.7"), None);
    assert_eq!(left(&mut firewall, "192.88.0.6"), Some(secs(60)));
    assert!(matches!(firewall.block(request("198.51.100.7", 60)), Ok(Outcome::Refused(_))));
}
