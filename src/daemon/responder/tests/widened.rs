//! Attackers who have many networks of IPv6.

use std::collections::BTreeSet;

use super::*;

const WHOLE: &str = "2001:db8:7::/56";

fn widening() -> Bench {
    bench(config::Firewall { widen_ipv6: true, ..config::Firewall::default() })
}

fn net(text: &str) -> Net {
    text.parse().expect(text)
}

/// Proven alerts about so many /64 of one customer's line, each for itself.
fn crowd(bench: &mut Bench, count: u16) {
    for n in 0..count {
        bench.alert(&format!("2001:db8:7:{n:x}::66"), Proof::Proven);
    }
}

impl Bench {
    fn left(&mut self, net: &str) -> Option<u64> {
        let held = self.kernel().into_iter().find(|(held, _)| held == net);
        held.map(|(_, left)| left)
    }

    fn is_out(&mut self, address: &str) -> bool {
        let address = net(address);
        self.responder.firewall().expect("firewall").left(address).expect("left").is_some()
    }

    fn unblock(&mut self, what: &str) {
        self.responder.do_as_asked(&Ask::Unblock(net(what))).expect("unblock");
    }

    /// Kernel, book and memory have the same.
    fn agree(&mut self) {
        let standing: BTreeSet<String> = self.standing().into_iter().collect();
        assert_eq!(self.live().into_iter().collect::<BTreeSet<_>>(), standing);
        assert_eq!(self.kernel().into_iter().map(|(net, _)| net).collect::<BTreeSet<_>>(), standing);
    }
}

#[test]
fn strangers_next_to_attackers_are_not_blocked_unless_it_is_asked_for() {
    let mut bench = bench(config::Firewall::default());
    crowd(&mut bench, 200);
    assert_eq!(bench.standing().len(), 200);
    assert!(bench.standing().iter().all(|net| net.ends_with("/64")));
    assert!(!bench.is_out("2001:db8:7:ff::1"));
}

#[test]
fn the_sixteenth_of_a_line_has_all_of_it_blocked_for_a_first_term() {
    let mut bench = widening();
    crowd(&mut bench, 15);
    bench.told();
    assert_eq!(bench.left(WHOLE), None);
    bench.alert("2001:db8:7:f::66", Proof::Proven);
    assert!(bench.told().contains("2001:db8:7::/56 blocked until"));
    assert_eq!(bench.standing().len(), 17, "each by itself, and the line");
    bench.agree();
    // It ends with the youngest, and no later than a first block does.
    let youngest = term("2001:db8:7:f::/64", 0);
    let whole = bench.left(WHOLE).expect("blocked");
    assert!(whole <= youngest.min(4200) && whole + 1 >= youngest.min(4200), "{whole} {youngest}");
    // So with all that come together.
    let mut bench = widening();
    let many: Vec<String> = (0..16).map(|n| format!("2001:db8:7:{n:x}::66")).collect();
    bench.alerts(&many.iter().map(String::as_str).collect::<Vec<_>>(), Proof::Proven);
    assert_eq!(bench.standing().len(), 17);
    bench.agree();
}

#[test]
fn the_whole_of_a_line_is_never_blocked_for_longer_with_repeats() {
    let mut bench = widening();
    for repeats in 0..3 {
        crowd(&mut bench, 16);
        let whole = bench.left(WHOLE).expect("blocked");
        assert!(whole <= 4200, "{repeats}: {whole}");
        let one = bench.left("2001:db8:7:3::/64").expect("blocked");
        assert!(one.abs_diff(term("2001:db8:7:3::/64", repeats)) <= 1, "{repeats}: {one}");
        // What comes from another part of it makes it last until that one's end, and no further block of it.
        bench.pass(600);
        bench.alert("2001:db8:7:20::1", Proof::Proven);
        let whole = bench.left(WHOLE).expect("blocked");
        assert!((3600..=4200).contains(&whole), "{repeats}: {whole}");
        bench.agree();
        bench.pass(4200);
        bench.responder.look_after(false);
        assert_eq!(bench.left(WHOLE), None, "{repeats}");
        bench.pass(100_000);
        bench.responder.look_after(false);
        assert!(bench.standing().is_empty());
    }
}

#[test]
fn the_end_of_one_member_leaves_the_line_and_the_others_blocked_and_counted() {
    let mut bench = widening();
    bench.alert("2001:db8:7:0::66", Proof::Proven);
    bench.pass(1000);
    for n in 1..16 {
        bench.alert(&format!("2001:db8:7:{n:x}::66"), Proof::Proven);
    }
    assert!(bench.left(WHOLE).is_some());
    bench.pass(term("2001:db8:7::/64", 0) - 1000);
    bench.responder.look_after(false);
    assert_eq!(bench.left("2001:db8:7::/64"), None);
    assert!(bench.left(WHOLE).is_some() && bench.is_out("2001:db8:7::66"));
    bench.agree();
    // The next one is a member at once: fifteen still count.
    bench.unblock(WHOLE);
    assert!(bench.standing().is_empty());
    bench.agree();
}

#[test]
fn nobody_who_is_protected_or_talked_with_is_in_a_line_that_is_blocked() {
    let mut bench = widening();
    let mut protected = Protected::classes();
    protected.add_host("2001:db8:7:77::53".parse().expect("ip"), Why::Resolver);
    *bench.protected.lock().expect("lock") = protected;
    bench.responder.look_after(true);
    crowd(&mut bench, 40);
    assert_eq!(bench.standing().len(), 40);
    // The deciding one has a partner of ours for a neighbour.
    let mut bench = widening();
    crowd(&mut bench, 15);
    let near = Alert { near_conversation: true, ..made_alert("2001:db8:7:f::66", Proof::Proven) };
    let mut batch = Batch::default();
    bench.responder.decide(&mut batch, &Arc::new(near));
    bench.responder.commit(&mut batch);
    assert_eq!((bench.standing().len(), bench.left(WHOLE)), (16, None));
    // Somebody in a blocked one who is protected from now on is let in alone.
    bench.alert("2001:db8:7:10::66", Proof::Proven);
    assert!(bench.left(WHOLE).is_some());
    let mut protected = Protected::classes();
    protected.add_host("2001:db8:7:77::53".parse().expect("ip"), Why::Resolver);
    *bench.protected.lock().expect("lock") = protected;
    bench.responder.look_after(true);
    assert!(!bench.is_out("2001:db8:7:77::53") && bench.is_out("2001:db8:7:78::1"));
}

#[test]
fn forged_senders_and_what_peers_and_persons_name_widen_nothing() {
    let mut bench = widening();
    crowd(&mut bench, 14);
    let (for_, why) = (Duration::from_secs(600), "scan".to_owned());
    let mut batch = Batch::default();
    let advice =
        Advice::Block { net: net("2001:db8:7:e::1"), for_, source: "org/anna".into(), why: why.clone() };
    bench.responder.heed(&mut batch, advice);
    bench.responder.commit(&mut batch);
    bench.responder.do_as_asked(&Ask::Block { net: net("2001:db8:7:f::1"), secs: 600, why }).expect("block");
    for n in 0x10..0x40 {
        bench.alert(&format!("2001:db8:7:{n:x}::66"), Proof::Unproven);
    }
    assert_eq!(bench.left(WHOLE), None);
    bench.alert("2001:db8:7:50::1", Proof::Proven);
    assert_eq!(bench.left(WHOLE), None, "the fifteenth of ours");
    bench.alert("2001:db8:7:51::1", Proof::Proven);
    assert!(bench.left(WHOLE).is_some());
}

#[test]
fn a_line_is_let_in_with_all_in_it_and_must_be_crowded_anew() {
    let mut bench = widening();
    crowd(&mut bench, 16);
    let all = bench.standing();
    let mut bench = restart(bench);
    assert_eq!(bench.standing(), all, "a restart keeps it");
    bench.agree();
    bench.told();
    bench.unblock(WHOLE);
    assert!(bench.told().contains("2001:db8:7::/56 is no longer blocked"));
    assert!(bench.standing().is_empty());
    bench.agree();
    crowd(&mut bench, 15);
    assert_eq!(bench.left(WHOLE), None);
}

#[test]
fn one_that_is_let_in_out_of_a_line_stays_so_whatever_its_neighbours_do() {
    let mut bench = widening();
    crowd(&mut bench, 16);
    bench.unblock("2001:db8:7:3::66");
    for _ in 0..2 {
        let out = ["2001:db8:7:3::66", "2001:db8:7:3::1", "2001:db8:7:2::66", "2001:db8:7:ff::1"]
            .map(|address| bench.is_out(address));
        assert_eq!(out, [false, false, true, true]);
        let one = net("2001:db8:7:3::66");
        assert!(bench.responder.standing.nets().all(|net| !net.overlaps(one)));
        assert!(bench.live().iter().all(|held| !net(held).overlaps(one)));
        bench = restart(bench);
    }
    // Another twenty of them attack.
    bench.pass(60);
    for n in 0x80..0x94 {
        bench.alert(&format!("2001:db8:7:{n:x}::66"), Proof::Proven);
    }
    assert!(!bench.is_out("2001:db8:7:3::66"));
    // All end by their time.
    bench.pass(100_000);
    bench.responder.look_after(false);
    assert!(bench.standing().is_empty());
    bench.agree();
}

#[test]
fn one_provider_of_ipv6_has_no_more_than_its_share_of_the_set() {
    let mut bench = bench(config::Firewall::default());
    // An eighth of the set, each in another customer's line.
    let attackers: Vec<String> = (0..8192u32).map(|n| format!("2001:db8:{n:x}::66")).collect();
    for some in attackers.chunks(2000) {
        bench.alerts(&some.iter().map(String::as_str).collect::<Vec<_>>(), Proof::Proven);
    }
    assert_eq!(bench.standing().len(), 8192);
    bench.told();
    bench.pass(60);
    let before = bench.applied.load(Ordering::Relaxed);
    let more: Vec<String> = (0..500u32).map(|n| format!("2001:db8:{:x}::1", 0xf000 + n)).collect();
    let more: Vec<&str> = more.iter().map(String::as_str).chain(["2001:db9::1"]).collect();
    bench.alerts(&more, Proof::Proven);
    assert_eq!(bench.applied.load(Ordering::Relaxed) - before, 1, "one transaction");
    assert_eq!((bench.standing().len(), bench.kernel().len(), bench.live().len()), (8193, 8193, 8193));
    assert_eq!(bench.told().matches("no longer blocked").count(), 500);
    for net in ["2001:db8:f000::/64", "2001:db8:f1f3::/64", "2001:db9::/64"] {
        assert!(bench.standing().iter().any(|held| held == net), "{net}");
    }
}
