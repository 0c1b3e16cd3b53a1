//! Who is never blocked, whoever asks for it, and who is told.

use super::*;

#[test]
fn what_is_protected_by_now_is_not_restored_and_old_blocks_are_forgotten() {
    let mut first = bench(config::Firewall::default());
    first.alert("203.0.113.9", Proof::Proven);
    first.alert("203.0.113.10", Proof::Proven);
    first.responder.do_as_asked(&Ask::Unblock("203.0.113.10".parse().expect("net"))).expect("unblock");
    let mut protected = Protected::classes();
    protected.add_host([203, 0, 113, 9].into(), Why::Resolver);
    let mut restarted = bench_in(config::Firewall::default(), first.dir);
    assert_eq!(restarted.standing(), ["203.0.113.9"]);
    *restarted.protected.lock().expect("lock") = protected;
    restarted.responder.look_after(true);
    assert!(restarted.standing().is_empty());
    assert!(restarted.live().is_empty());
    assert_eq!(restarted.book().latest(9).expect("latest").len(), 2);
    for days in [2, 31] {
        restarted.pass(days * 86_400);
        assert!(!restarted.responder.forget(), "there is more");
    }
    assert!(restarted.book().latest(9).expect("latest").is_empty());
    // At a start what is blocked comes first, and what may go is looked for later.
    let over = NewBlock {
        net: "203.0.113.11".parse().expect("net"),
        reason: String::new(),
        alert: None,
        source: "alert".into(),
        from: START,
        until: Some(START + SECOND),
        unproven: false,
        manner: "drop".into(),
    };
    restarted.book().insert(&over).expect("insert");
    let mut restarted = restart(restarted);
    assert_eq!(restarted.book().latest(9).expect("latest").len(), 1);
    assert!(!restarted.responder.forget(), "there is more");
    assert!(restarted.book().latest(9).expect("latest").is_empty());
}

#[test]
fn what_stands_is_no_block_that_is_over_for_a_clock_that_is_set_ahead() {
    let mut bench = bench(config::Firewall::default());
    bench.alert("203.0.113.9", Proof::Unproven);
    let over = NewBlock {
        net: "203.0.113.11".parse().expect("net"),
        reason: String::new(),
        alert: None,
        source: "alert".into(),
        from: START - 2,
        until: Some(START - 1),
        unproven: true,
        manner: "drop".into(),
    };
    let many = |book: &mut Blocks| (0..20_100).try_for_each(|_| book.insert(&over).map(drop));
    bench.book().all(many).expect("insert");
    let mut steps = 0;
    while bench.responder.forget() {
        steps += 1;
    }
    // More of them are over than are kept, and the clock is set half a year ahead.
    bench.wall.fetch_add(180 * 86_400 * SECOND, Ordering::Relaxed);
    while bench.responder.forget() {
        steps += 1;
    }
    assert_eq!((bench.live(), steps), (vec!["203.0.113.9".to_owned()], 40));
    assert_eq!(bench.book().latest(u32::MAX).expect("latest").len(), 20_001);
}

#[test]
fn who_was_logged_in_lately_is_not_blocked_when_he_comes_back() {
    let mut bench = bench(config::Firewall::default());
    let mut protected = Protected::classes();
    protected.add_host([192, 0, 2, 10].into(), Why::Session);
    protected.add_host([192, 0, 2, 66].into(), Why::Connection);
    *bench.protected.lock().expect("lock") = protected;
    bench.responder.look_after(true);
    *bench.protected.lock().expect("lock") = Protected::classes();
    bench.pass(86_400);
    bench.responder.look_after(true);
    let mut bench = restart(bench);
    bench.alert("192.0.2.10", Proof::Proven);
    bench.alert("192.0.2.66", Proof::Proven);
    assert_eq!(bench.standing(), ["192.0.2.66"]);
    assert_eq!(bench.responder.gauges.refused.load(Ordering::Relaxed), 1);
    bench.pass(15 * 86_400);
    bench.responder.look_after(true);
    bench.alert("192.0.2.10", Proof::Proven);
    assert_eq!(bench.standing(), ["192.0.2.10"]);
}

#[test]
fn who_was_logged_in_lately_is_still_known_when_the_book_is_begun_anew_or_cannot_be_written() {
    let mut bench = bench(config::Firewall::default());
    let session = |bench: &mut Bench, last: Option<u8>| {
        let mut protected = Protected::classes();
        last.into_iter().for_each(|last| protected.add_host([192, 0, 2, last].into(), Why::Session));
        *bench.protected.lock().expect("lock") = protected;
        bench.responder.look_after(true);
    };
    session(&mut bench, Some(10));
    session(&mut bench, None);
    bench.pass(3600);
    trouble::tear_book(&bench);
    bench.alert("203.0.113.1", Proof::Proven);
    assert!(bench.told.take().contains("was damaged"));
    // It is torn once more, and too soon to be begun anew: nothing can be read or written.
    trouble::tear_book(&bench);
    session(&mut bench, Some(11));
    session(&mut bench, None);
    bench.alerts(&["192.0.2.10", "192.0.2.11"], Proof::Proven);
    assert_eq!(bench.standing(), ["203.0.113.1"]);
    bench.pass(61);
    session(&mut bench, None);
    let logins = bench.book().logins(START - 1, 9).expect("logins");
    let wall = bench.wall.load(Ordering::Relaxed);
    assert_eq!(
        logins,
        [([192, 0, 2, 11].into(), wall - 61 * SECOND), ([192, 0, 2, 10].into(), wall - 3661 * SECOND)]
    );
    let mut bench = restart(bench);
    bench.alerts(&["192.0.2.10", "192.0.2.11"], Proof::Proven);
    assert_eq!(bench.standing(), ["203.0.113.1"]);
}

#[test]
fn a_login_that_could_not_be_written_is_written_when_it_is_over() {
    let mut bench = bench(config::Firewall::default());
    let mut protected = Protected::classes();
    protected.add_host([192, 0, 2, 10].into(), Why::Session);
    *bench.protected.lock().expect("lock") = protected;
    let mut other = bench.book();
    // Somebody else writes, for longer than a write waits.
    let locked = other.all(|_| {
        bench.responder.look_after(true);
        Ok(())
    });
    locked.expect("locked");
    *bench.protected.lock().expect("lock") = Protected::classes();
    assert!(other.logins(0, 9).expect("logins").is_empty());
    bench.pass(5);
    bench.responder.look_after(true);
    assert_eq!(other.logins(0, 9).expect("logins"), [([192, 0, 2, 10].into(), START)]);
}

#[test]
fn no_more_than_a_share_of_our_own_hosts_is_blocked() {
    let mut bench = bench(config::Firewall::default());
    let mut protected = Protected::classes();
    protected.add_local("192.168.1.0/24".parse().expect("net"));
    *bench.protected.lock().expect("lock") = protected;
    bench.responder.look_after(true);
    for last in 10..20 {
        bench.alert(&format!("192.168.1.{last}"), Proof::Proven);
        bench.alert(&format!("203.0.113.{last}"), Proof::Proven);
    }
    // A quarter of twenty.
    assert_eq!(bench.standing().iter().filter(|net| net.starts_with("192.168.1.")).count(), 5);
    assert_eq!(bench.standing().len(), 15);
    assert_eq!(bench.responder.gauges.refused.load(Ordering::Relaxed), 5);
    // Who is blocked already is blocked for longer.
    bench.pass(600);
    bench.alert("192.168.1.10", Proof::Proven);
    assert_eq!(bench.responder.gauges.refused.load(Ordering::Relaxed), 5);
    bench.responder.do_as_asked(&Ask::Unblock("192.168.1.10".parse().expect("net"))).expect("unblock");
    bench.alert("192.168.1.19", Proof::Proven);
    assert_eq!(bench.standing().len(), 15);
}

#[test]
fn what_is_refused_to_a_person_or_a_peer_is_told() {
    let mut bench = bench(config::Firewall::default());
    for (net, why, said) in
        [("127.0.0.0/24", "slow printer", "loopback"), ("32.0.0.0/4", "all of it", "wider than")]
    {
        bench.told();
        let ask = Ask::Block { net: net.parse().expect(net), secs: 60, why: why.into() };
        let answer = bench.responder.do_as_asked(&ask).expect_err("refused");
        let told = bench.told();
        assert!(answer.contains(said), "{answer}");
        for part in ["event=refusal", "origin=hand", why, &answer] {
            assert!(told.contains(part), "no {part}: {told}");
        }
    }
    bench.peer_blocks("org/anna", "127.0.0.1", 600);
    let told = bench.told();
    assert!(told.contains("on the word of peer org/anna") && told.contains("origin=peer"), "{told}");
    assert_eq!(bench.responder.gauges.refused.load(Ordering::Relaxed), 3);
}

#[test]
fn what_is_refused_to_peers_is_told_ten_times_a_minute_at_most_and_then_how_often() {
    let mut bench = bench(config::Firewall::default());
    bench.told();
    for n in 0..600 {
        bench.peer_blocks(&format!("org/{}", n % 40), "127.0.0.1", 600);
        if n % 10 == 9 {
            bench.pass(1);
        }
    }
    let told = bench.told().matches("is not blocked").count();
    assert!((5..=10).contains(&told), "{told}");
    assert_eq!(bench.responder.gauges.refused.load(Ordering::Relaxed), 600);
    bench.pass(600);
    bench.responder.sum_up();
    let summed = bench.told();
    assert!(summed.contains(&format!("peers: {} more refused blocks", 600 - told)), "{summed}");
}

#[test]
fn the_share_of_our_own_hosts_holds_for_everybody() {
    let mut bench = bench(config::Firewall::default());
    let mut protected = Protected::classes();
    protected.add_local("192.168.1.0/24".parse().expect("net"));
    *bench.protected.lock().expect("lock") = protected;
    bench.responder.look_after(true);
    let ask = |net: &str| Ask::Block { net: net.parse().expect(net), secs: 60, why: String::new() };
    // Eight addresses of a network with twenty hosts.
    let answer = bench.responder.do_as_asked(&ask("192.168.1.128/29")).expect_err("refused");
    assert!(answer.contains("internal_share"), "{answer}");
    bench.responder.do_as_asked(&ask("192.168.1.128/30")).expect("four");
    bench.peer_blocks("org/anna", "192.168.1.9", 600);
    bench.peer_blocks("org/anna", "192.168.1.10", 600);
    assert_eq!(bench.standing(), ["192.168.1.9", "192.168.1.128/30"]);
    assert!(bench.responder.do_as_asked(&ask("192.168.1.11")).is_err());
    bench.responder.do_as_asked(&Ask::Unblock("192.168.1.128/30".parse().expect("net"))).expect("unblock");
    bench.responder.do_as_asked(&ask("192.168.1.11")).expect("one");
    assert_eq!(bench.responder.gauges.refused.load(Ordering::Relaxed), 3);
}
