//! Whom the whitelist leaves alone.

use super::*;

#[test]
fn whom_the_whitelist_leaves_alone_is_let_in_but_not_past_a_person() {
    let mut bench = bench(config::Firewall::default());
    bench.alerts(&["203.0.113.9", "203.0.113.10", "2001:db8:1::9"], Proof::Proven);
    let by_hand = Ask::Block { net: "203.0.113.10".parse().expect("net"), secs: 90_000, why: String::new() };
    bench.responder.do_as_asked(&by_hand).expect("block");
    bench.told();
    for addr in ["203.0.113.9", "203.0.113.10", "198.51.100.1"] {
        bench.responder.spare(addr.parse().expect(addr), "line 3 of the whitelist, domain example.org");
    }
    assert_eq!(bench.standing(), ["203.0.113.10", "2001:db8:1::/64"]);
    assert!(!bench.live().contains(&"203.0.113.9".to_owned()));
    assert!(!bench.kernel().iter().any(|(net, _)| net == "203.0.113.9"));
    let told = bench.told();
    assert!(told.contains("203.0.113.9") && told.contains("line 3 of the whitelist"), "{told}");
    assert!(!told.contains("203.0.113.10") && !told.contains("198.51.100.1"), "{told}");
}

#[test]
fn a_network_on_the_whitelist_is_let_in_and_blocked_by_nobody() {
    let mut bench = bench(config::Firewall::default());
    bench.alert("203.0.113.9", Proof::Proven);
    let mut protected = Protected::classes();
    protected.add("203.0.113.0/24".parse().expect("net"), Why::Whitelisted);
    bench.told();
    bench.responder.protect(protected);
    assert_eq!((bench.standing(), bench.live()), (Vec::<String>::new(), Vec::new()));
    let told = bench.told();
    assert!(told.contains("it is protected now: on the whitelist"), "{told}");
    bench.alert("203.0.113.9", Proof::Proven);
    let by_hand = Ask::Block { net: "203.0.113.10".parse().expect("net"), secs: 90_000, why: String::new() };
    let refused = bench.responder.do_as_asked(&by_hand).expect_err("refused");
    assert!(refused.contains("on the whitelist"), "{refused}");
    assert!(bench.standing().is_empty());
    let status = bench.responder.do_as_asked(&Ask::Status).expect("status");
    assert!(status.contains(r#"{"net":"203.0.113.0/24","why":"on the whitelist"}"#), "{status}");
}
