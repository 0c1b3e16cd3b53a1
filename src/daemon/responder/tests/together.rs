//! What comes in together, from several, and what they take back.

use std::collections::BTreeSet;
use std::sync::mpsc::sync_channel;

use slips_core::record::Record;

use super::*;
use crate::daemon::bell::Bell;
use crate::daemon::responder::NO_PEER;
use crate::daemon::responder::later::MAX_FAILED;
use crate::daemon::responder::turn::Gathered;

impl Bench {
    fn retract(&mut self, source: &str, net: &str) {
        let net = net.parse().expect(net);
        self.advise(Advice::Retract { net, source: source.into(), why: "it took it back" });
    }

    fn by_hand(&mut self, net: &str, secs: u64) {
        let ask = Ask::Block { net: net.parse().expect(net), secs, why: String::new() };
        self.responder.do_as_asked(&ask).expect("block");
    }

    /// Who asked for the one block in the kernel, and how long it has left.
    fn marked(&mut self) -> (slips_firewall::Origin, u64) {
        let blocks = self.responder.firewall().expect("firewall").blocks().expect("list");
        (blocks[0].by, blocks[0].left.as_secs())
    }

    fn rows(&self) -> usize {
        self.book().latest(u32::MAX).expect("latest").len()
    }
}

#[test]
fn many_alerts_are_few_transactions_and_each_is_blocked() {
    let mut bench = bench(config::Firewall { size: 10_000, ..config::Firewall::default() });
    let attackers: Vec<String> = (0..4500).map(|n| format!("203.0.{}.{}", n / 250, n % 250)).collect();
    let (to, records) = sync_channel(64);
    let (_line, advice) = AdviceLine::new(Bell::new().expect("bell").rope(), 100);
    for some in attackers.chunks(100) {
        let alerts = some.iter().map(|attacker| Record::Alert(alert_about(attacker, Proof::Proven)));
        to.send(alerts.collect()).expect("send");
    }
    let before = bench.applied.load(Ordering::Relaxed);
    let mut turns = 0;
    while bench.responder.gather(&records, &advice) != Gathered::All {
        turns += 1;
        assert!(turns < 10, "two thousand a turn");
    }
    assert!(bench.applied.load(Ordering::Relaxed) - before <= 5, "not one for each");
    assert_eq!((bench.kernel().len(), bench.live().len(), bench.rows()), (4500, 4500, 4500));
    drop(to);
    assert_eq!(bench.responder.gather(&records, &advice), Gathered::Over);
    // Their ends are few, too.
    let before = bench.applied.load(Ordering::Relaxed);
    bench.pass(6000);
    bench.responder.look_after(false);
    assert!(bench.applied.load(Ordering::Relaxed) - before <= 5);
    assert!(bench.standing().is_empty() && bench.kernel().is_empty());
}

#[test]
fn who_comes_twice_in_one_batch_is_blocked_once() {
    let mut bench = bench(config::Firewall::default());
    bench.alerts(&["203.0.113.9", "203.0.113.9", "203.0.113.10", "203.0.113.9"], Proof::Proven);
    assert_eq!((bench.kernel().len(), bench.rows()), (2, 2));
}

#[test]
fn what_a_peer_takes_back_ends_unless_somebody_else_holds_it() {
    let mut bench = bench(config::Firewall::default());
    let net = "203.0.113.9";
    bench.peer_blocks("org/anna", net, 600);
    assert_eq!(bench.marked(), (slips_firewall::Origin::Peer, 600));
    bench.retract("org/bert", net);
    assert_eq!(bench.kernel(), is(net, 600), "not his");
    bench.retract("org/anna", net);
    assert!(bench.kernel().is_empty() && bench.live().is_empty());
    // Of two peers the other one's stays, for its own time.
    bench.peer_blocks("org/anna", net, 600);
    bench.peer_blocks("org/bert", net, 300);
    bench.retract("org/anna", net);
    assert_eq!(bench.kernel(), is(net, 300));
    // An alert's stays, and a person's.
    bench.alert(net, Proof::Proven);
    bench.retract("org/bert", net);
    assert_eq!((bench.marked().0, bench.live().len()), (slips_firewall::Origin::Local, 1));
    bench.peer_blocks("org/anna", net, 90_000);
    assert_eq!(bench.kernel(), is(net, 90_000));
    let mut bench = restart(bench);
    assert_eq!(bench.kernel(), is(net, 90_000));
    bench.retract("org/anna", net);
    assert!(term(net, 0).abs_diff(bench.marked().1) <= 1, "the alert's own time");
    // What peers asked for does not make the next block longer.
    bench.pass(term(net, 0));
    bench.responder.look_after(false);
    bench.peer_blocks("org/anna", "203.0.113.10", 60);
    bench.pass(60);
    bench.responder.look_after(false);
    bench.alert("203.0.113.10", Proof::Proven);
    assert!(term("203.0.113.10", 0).abs_diff(bench.marked().1) <= 1);
}

#[test]
fn what_a_peer_asked_for_may_be_shortened_by_him_and_ends_with_him() {
    let mut bench = bench(config::Firewall::default());
    for net in ["203.0.113.9", "2001:db8:9::7", "198.51.100.0/24"] {
        bench.peer_blocks("org/anna", net, 600);
    }
    bench.peer_blocks("org/anna", "203.0.113.9", 60);
    let left = [("198.51.100.0/24", 600), ("203.0.113.9", 60), ("2001:db8:9::/64", 600)];
    assert_eq!(bench.kernel(), left.map(|(net, left)| (net.to_owned(), left)));
    bench.retract("org/anna", "2001:db8:9::8");
    assert_eq!(bench.standing(), ["198.51.100.0/24", "203.0.113.9"]);
    bench.by_hand("198.51.100.0/25", 900);
    bench.advise(Advice::Forget { source: "org/anna".into() });
    assert_eq!(bench.kernel(), is("198.51.100.0/25", 900));
    assert_eq!(bench.live(), ["198.51.100.0/25"]);
}

#[test]
fn who_is_no_peer_any_more_has_nobody_blocked_over_a_start() {
    let mut bench = bench(config::Firewall::default());
    bench.peer_blocks("org/anna", "203.0.113.1", 600);
    bench.peer_blocks("org/bert", "203.0.113.1", 300);
    bench.peer_blocks("org/bert", "203.0.113.2", 600);
    bench.peer_blocks("old name", "2001:db8:9::7", 600);
    bench.peer_blocks("old name", "203.0.113.3", 600);
    bench.alert("203.0.113.3", Proof::Proven);
    bench.by_hand("203.0.113.4", 600);
    let mut bench = restart(bench);
    assert_eq!(bench.standing().len(), 5, "who is a peer is not known at once");
    // One that the kernel did not take waits to be tried again.
    bench.broken.store(u64::MAX, Ordering::Relaxed);
    bench.peer_blocks("org/bert", "203.0.113.5", 600);
    bench.broken.store(0, Ordering::Relaxed);
    bench.told();
    let sources = ["org/anna", "new name"].map(str::to_owned).into();
    bench.advise(Advice::Keep { sources, why: NO_PEER });
    assert_eq!(bench.standing(), ["203.0.113.1", "203.0.113.3", "203.0.113.4"]);
    assert_eq!(bench.live().len(), 3);
    assert!(bench.kernel().contains(&("203.0.113.1".to_owned(), 600)));
    assert!(bench.responder.failed.is_empty());
    let told = bench.told();
    assert_eq!(told.matches("no longer blocked").count(), 2, "{told}");
    assert!(told.contains(NO_PEER), "{told}");
    // With a name that is told as it was written, too.
    bench.peer_blocks("new name", "203.0.113.6", 600);
    bench.advise(Advice::Keep { sources: ["new name".to_owned()].into(), why: "it is tried without" });
    assert!(bench.told().contains("it is tried without"));
    assert_eq!(bench.standing(), ["203.0.113.3", "203.0.113.4", "203.0.113.6"]);
}

#[test]
fn many_prefixes_are_blocked_and_let_in_in_few_transactions() {
    let mut bench = bench(config::Firewall::default());
    let mut batch = Batch::default();
    let before = bench.applied.load(Ordering::Relaxed);
    for n in 0..600u32 {
        let net = Net::new(std::net::Ipv4Addr::from_bits(0x3000_0000 + (n << 8)).into(), 24).expect("net");
        let (source, why) = ("org/anna".to_owned(), String::new());
        bench.responder.heed(&mut batch, Advice::Block { net, for_: Duration::from_secs(600), source, why });
        if batch.is_full() {
            bench.responder.commit(&mut batch);
        }
    }
    bench.responder.commit(&mut batch);
    // One in a network that goes stays, and so does one around it.
    bench.by_hand("48.0.7.7", 900);
    bench.by_hand("48.0.8.0/22", 900);
    assert_eq!(bench.standing().len(), 602);
    let blocked = bench.applied.load(Ordering::Relaxed);
    bench.advise(Advice::Forget { source: "org/anna".into() });
    let lifted = bench.applied.load(Ordering::Relaxed);
    assert!(blocked - before <= 4 && lifted - blocked == 1, "{before} {blocked} {lifted}");
    assert_eq!(bench.kernel(), [is("48.0.7.7", 900), is("48.0.8.0/22", 900)].concat());
    assert_eq!(bench.live().len(), 2);
}

#[test]
fn peers_have_a_room_of_their_own() {
    let mut bench = bench(config::Firewall { peer_cap: 10, size: 6, ..config::Firewall::default() });
    for last in 1..=4 {
        bench.peer_blocks("org/anna", &format!("203.0.113.{last}"), 600);
    }
    assert_eq!(bench.standing(), ["203.0.113.1", "203.0.113.2"], "a quarter");
    assert_eq!(bench.responder.gauges.refused.load(Ordering::Relaxed), 2);
    bench.peer_blocks("org/anna", "203.0.113.1", 700);
    assert_eq!(bench.kernel()[0].1, 700, "what he has already he may renew");
    bench.peer_blocks("org/bert", "127.0.0.1", 600);
    assert_eq!(bench.responder.gauges.refused.load(Ordering::Relaxed), 3);
    // They make room for blocks of our own.
    bench.broken.store(2, Ordering::Relaxed);
    bench.alerts(&["198.51.100.1", "198.51.100.2"], Proof::Proven);
    assert_eq!(bench.standing(), ["198.51.100.1", "198.51.100.2"]);
    assert!(bench.responder.failed.is_empty());
}

#[test]
fn an_alert_about_who_is_blocked_by_hand_leaves_it_a_block_by_hand() {
    let mut bench = bench(config::Firewall::default());
    bench.by_hand("203.0.113.9", 60);
    bench.alert("203.0.113.9", Proof::Proven);
    let (by, left) = bench.marked();
    assert_eq!(by, slips_firewall::Origin::Manual);
    assert!(term("203.0.113.9", 0).abs_diff(left) <= 1, "and is as long as the alert says");
    // When the person's time is over the alert's goes on in its own name.
    bench.pass(61);
    bench.responder.look_after(false);
    assert_eq!(bench.marked().0, slips_firewall::Origin::Local);
    assert_eq!(restart(bench).marked().0, slips_firewall::Origin::Local);
}

#[test]
fn a_full_set_costs_no_more_than_a_row_and_is_tried_ever_less_often() {
    let mut bench = bench(config::Firewall::default());
    bench.broken.store(1_000_000, Ordering::Relaxed);
    bench.alerts(&["203.0.113.1", "203.0.113.2", "203.0.113.3"], Proof::Proven);
    let tries = |bench: &Bench| 1_000_000 - bench.broken.load(Ordering::Relaxed);
    let first = tries(&bench);
    for _ in 0..600 {
        bench.pass(1);
        bench.responder.look_after(false);
    }
    assert_eq!(bench.rows(), 3);
    assert!(tries(&bench) - first < 100, "{}", tries(&bench) - first);
    assert!(bench.live().is_empty());
    bench.broken.store(0, Ordering::Relaxed);
    bench.pass(60);
    bench.responder.look_after(false);
    assert_eq!((bench.kernel().len(), bench.live().len(), bench.rows()), (3, 3, 3));
}

#[test]
fn one_that_has_no_room_keeps_nobody_else_out_of_the_kernel() {
    let mut bench = bench(config::Firewall::default());
    bench.full_of.store(7, Ordering::Relaxed);
    let attackers: Vec<String> = (1..=40).map(|n| format!("203.0.113.{n}")).collect();
    let attackers: Vec<&str> = attackers.iter().map(String::as_str).collect();
    bench.alerts(&attackers, Proof::Proven);
    assert_eq!(bench.kernel().len(), 39);
    assert_eq!(bench.responder.failed.len(), 1);
    assert_eq!(bench.live().len(), 39);
}

#[test]
fn of_a_wide_block_the_rest_stays_when_somebody_in_it_becomes_protected() {
    let mut bench = bench(config::Firewall::default());
    bench.by_hand("198.51.100.0/30", 900);
    let mut protected = Protected::classes();
    protected.add_host([198, 51, 100, 1].into(), Why::Resolver);
    *bench.protected.lock().expect("lock") = protected;
    bench.responder.look_after(true);
    let left = ["198.51.100.0", "198.51.100.2/31"];
    assert_eq!(
        (bench.standing(), bench.live()),
        (left.map(str::to_owned).into(), left.map(str::to_owned).into())
    );
    bench.responder.restore();
    assert_eq!(bench.kernel(), left.map(|net| (net.to_owned(), 900)));
    // Found out while no daemon ran, too.
    let mut protected = Protected::classes();
    protected.add_host([198, 51, 100, 3].into(), Why::Resolver);
    let mut bench = restart(bench);
    *bench.protected.lock().expect("lock") = protected;
    bench.responder.look_after(true);
    bench.responder.restore();
    assert_eq!(bench.standing(), ["198.51.100.0", "198.51.100.2"]);
}

#[test]
fn what_no_longer_fits_goes_and_the_rest_is_restored() {
    let mut bench = bench(config::Firewall { peer_cap: 100, ..config::Firewall::default() });
    bench.alerts(&["203.0.113.1", "203.0.113.2"], Proof::Proven);
    bench.alert("203.0.113.3", Proof::Unproven);
    bench.peer_blocks("org/anna", "203.0.113.4", 90_000);
    bench.by_hand("203.0.113.5", 30);
    bench.responder.policy.size = 3;
    let mut bench = restart(bench);
    assert_eq!(bench.standing(), ["203.0.113.1", "203.0.113.2", "203.0.113.5"]);
    assert_eq!((bench.kernel().len(), bench.live().len()), (3, 3));
}

#[test]
fn who_is_not_on_our_own_networks_is_no_part_of_their_share() {
    let mut bench = bench(config::Firewall::default());
    let mut protected = Protected::classes();
    // The outside interface has neighbours, too.
    protected.add_local("203.0.113.0/24".parse().expect("net"));
    *bench.protected.lock().expect("lock") = protected;
    bench.responder.look_after(true);
    for last in 10..30 {
        bench.alert(&format!("203.0.113.{last}"), Proof::Proven);
    }
    assert_eq!(bench.standing().len(), 20);
}

#[test]
fn advice_comes_over_its_line_and_what_is_taken_back_is_never_lost() {
    let mut bench = bench(config::Firewall::default());
    let bell = Bell::new().expect("bell");
    let (line, advice) = AdviceLine::new(bell.rope(), 100);
    let (_to, records) = sync_channel(1);
    let net = "203.0.113.9".parse().expect("net");
    let block =
        Advice::Block { net, for_: Duration::from_secs(60), source: "a b".into(), why: "x\ny".into() };
    assert!(line.give(block));
    bell.wait(&[], Duration::from_secs(3600));
    assert_eq!(bench.responder.gather(&records, &advice), Gathered::All);
    let row = bench.book().latest(1).expect("latest").remove(0).asked;
    assert_eq!((row.source.as_str(), row.reason.as_str()), ("peer a_b", "xy"));
    let nets = (0..5000u32).map(|n| Net::host([203, 0, (n >> 8) as u8, n as u8].into()));
    let block = |net| Advice::Block {
        net,
        for_: Duration::from_secs(60),
        source: "other".into(),
        why: String::new(),
    };
    let given = nets.filter(|net| line.give(block(*net))).count();
    assert!(given < 5000);
    assert!(line.give(Advice::Forget { source: "a b".into() }));
    assert!(line.give(Advice::Keep { sources: BTreeSet::from(["a b".into()]), why: NO_PEER }));
    while bench.responder.gather(&records, &advice) != Gathered::All {}
    assert!(bench.kernel().is_empty());
}

#[test]
fn what_a_peer_asked_for_and_the_kernel_did_not_take_is_tried_again() {
    let mut bench = bench(config::Firewall::default());
    bench.broken.store(u64::MAX, Ordering::Relaxed);
    for (source, net) in
        [("org/anna", "203.0.113.9"), ("org/anna", "203.0.113.10"), ("org/bert", "2001:db8:9::7")]
    {
        bench.peer_blocks(source, net, 600);
    }
    bench.peer_blocks("org/anna", "203.0.113.9", 300);
    assert_eq!((bench.responder.failed.len(), bench.live().len()), (3, 0));
    // What he takes back meanwhile is not.
    bench.retract("org/anna", "203.0.113.10");
    assert_eq!(bench.responder.failed.len(), 2);
    bench.broken.store(0, Ordering::Relaxed);
    bench.pass(60);
    bench.responder.look_after(false);
    let held = [("203.0.113.9", 240), ("2001:db8:9::/64", 540)];
    assert_eq!(bench.kernel(), held.map(|(net, left)| (net.to_owned(), left)));
    assert_eq!((bench.live().len(), bench.rows()), (2, 4));
    assert_eq!(bench.marked().0, slips_firewall::Origin::Peer);
    assert!(bench.told().contains("203.0.113.9 blocked on the word of peer org/anna"));
    // Ours are not pushed out by theirs.
    bench.broken.store(u64::MAX, Ordering::Relaxed);
    for n in 0..MAX_FAILED - 1 {
        bench.alert(&format!("198.51.{}.{}", n / 200, n % 200), Proof::Proven);
    }
    for (source, net) in [("org/anna", "203.0.113.1"), ("org/bert", "203.0.113.2")] {
        bench.peer_blocks(source, net, 600);
    }
    bench.alert("198.51.100.1", Proof::Proven);
    bench.peer_blocks("org/bert", "203.0.113.3", 600);
    assert_eq!(bench.responder.failed.len(), MAX_FAILED);
    bench.advise(Advice::Forget { source: "org/anna".into() });
    bench.advise(Advice::Forget { source: "org/bert".into() });
    assert_eq!(bench.responder.failed.len(), MAX_FAILED, "none of theirs");
}

#[test]
fn a_peer_does_not_fill_the_journal_with_its_blocks_and_ours_are_told_all() {
    let mut bench = bench(config::Firewall::default());
    for n in 0..700 {
        bench.peer_blocks("12D3KooW", &format!("203.0.{}.{}", n / 200, n % 200), 600);
        bench.retract("12D3KooW", &format!("203.0.{}.{}", n / 200, n % 200));
        bench.alert(&format!("198.51.{}.{}", n / 200, n % 200), Proof::Proven);
    }
    bench.peer_blocks("another", "203.0.113.9", 600);
    bench.pass(601);
    bench.responder.sum_up();
    let told = bench.told();
    let count = |what: &str| told.lines().filter(|line| line.contains(what)).count();
    assert_eq!((count("on the word of peer 12D3KooW"), count("took it back")), (512, 512));
    assert_eq!(count("on the word of peer another"), 1);
    assert_eq!(count("event=block msg=\"198.51."), 700);
    for what in ["peer 12D3KooW: 188 more blocks", "peer 12D3KooW: 188 more ends of blocks"] {
        assert_eq!(count(what), 1, "{what}");
    }
}

#[test]
fn who_is_blocked_is_told_while_somebody_wants_to_know_and_while_the_kernel_drops_it() {
    let mut bench = bench(config::Firewall::default());
    let blocked = bench.responder.share();
    let mut reader = blocked.reader();
    let mut told = |bench: &mut Bench, addr: &str| {
        bench.responder.publish();
        reader.get().contain(addr.parse().expect(addr))
    };
    bench.alert("203.0.113.9", Proof::Proven);
    assert!(!told(&mut bench, "203.0.113.9"), "nobody wants to know");
    blocked.want(true);
    assert!(told(&mut bench, "203.0.113.9"));
    bench.by_hand("198.51.100.0/24", 300);
    assert!(!told(&mut bench, "198.51.100.7"), "not more often than once a second");
    bench.pass(1);
    assert!(told(&mut bench, "198.51.100.7"));
    bench.responder.pause(Duration::from_secs(60)).expect("paused");
    bench.pass(1);
    assert!(!told(&mut bench, "203.0.113.9"), "everybody passes");
    bench.responder.resume().expect("goes on");
    bench.pass(1);
    assert!(told(&mut bench, "203.0.113.9"));
    bench.pass(300);
    bench.responder.look_after(false);
    assert!(!told(&mut bench, "198.51.100.7"), "its time is over");
    blocked.want(false);
    assert!(!told(&mut bench, "203.0.113.9"));
}
