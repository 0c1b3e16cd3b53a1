//! The place of another daemon is taken: whose blocks stand, and for how long.

use std::sync::mpsc::sync_channel;

use slips_store::redis::heirloom::BlockLeft;

use super::*;

/// A block that the other one held for a week.
fn left(net: &str, source: &str, unproven: bool) -> (Net, BlockLeft) {
    let until = Some(START + 7 * 86_400 * SECOND);
    let block = BlockLeft {
        source: source.into(),
        reason: "scan".into(),
        alert: None,
        manner: "drop".into(),
        unproven,
        until,
    };
    (net.parse().expect(net), block)
}

fn take_place(bench: &mut Bench, blocks: Vec<(Net, BlockLeft)>) -> (usize, usize) {
    let (orders, ordered) = sync_channel(2);
    bench.responder.obey(ordered);
    let (done, became) = sync_channel(1);
    orders.send(Order::StandBy).expect("sent");
    orders.send(Order::TakePlace { blocks, done }).expect("sent");
    bench.responder.follow_orders();
    became.recv().expect("done")
}

#[test]
fn what_could_be_forged_stands_shortly_for_single_addresses_and_for_nobody_whom_our_hosts_talk_with() {
    let mut bench = bench(config::Firewall { unproven_cap: 2, ..config::Firewall::default() });
    let blocks = vec![
        left("198.51.100.200", "hand", true),
        left("2001:db8:9::7", "alert", true),
        left("203.0.113.0/24", "alert", true),
        left("192.168.1.9", "alert", true),
        left("203.0.113.1", "alert", true),
        left("203.0.113.2", "hand", true),
        left("203.0.113.3", "alert", true),
    ];
    assert_eq!(take_place(&mut bench, blocks), (2, 5));
    let term = config::Firewall::default().unproven_term.0.as_secs();
    assert_eq!(bench.kernel(), ["203.0.113.1", "203.0.113.2"].map(|net| (net.to_owned(), term)));
}

#[test]
fn the_policy_of_this_host_decides_but_for_what_a_person_wanted() {
    let policy = config::Firewall { external: config::Policy::AlertOnly, ..config::Firewall::default() };
    let mut bench = bench(policy);
    let blocks = vec![
        left("203.0.113.1", "alert", false),
        left("203.0.113.2", "hand", false),
        left("203.0.113.3", "fleet gw2", false),
        left("192.168.1.9", "alert", false),
    ];
    assert_eq!(take_place(&mut bench, blocks), (2, 2));
    assert_eq!(bench.standing(), ["192.168.1.9", "203.0.113.2"]);
}
