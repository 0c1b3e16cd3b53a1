//! The peers thread without a node: what it makes of its directory, of time, and of what the node's process says.

use slips_p2p::council::Ruling;
use slips_p2p::envelope::{Head, seal};
use slips_p2p::exchange::Sight;
use slips_p2p::link::FromNode;
use slips_p2p::message::{Action, BlockRequest, Message, Percent, Reason, Retract};
use slips_p2p::roster::Role;
use slips_p2p::share::report_of;

use super::stage::{NOW, PSK, Stage, id, key, reloaded};
use super::*;
use crate::control::{Ask, PeersAsk};
use crate::daemon::responder::NO_PEER;

const HOUR: Duration = Duration::from_secs(3600);

/// The stage with one run of the thread. attic, barn and shed are authorities.
struct Bench {
    stage: Stage,
    peers: Peers,
    given: Receiver<Advice>,
    seq: u64,
}

fn accused(n: u8) -> Indicator {
    Indicator::host([45, 83, 64, n].into()).expect("public")
}

impl Bench {
    fn new() -> Self {
        let stage = Stage::new();
        let (peers, given) = stage.peers();
        Self { stage, peers, given, seq: 0 }
    }

    /// What the responder was told when the directory was read again.
    fn reloaded(&mut self) -> Vec<Advice> {
        reloaded(&mut self.peers, &self.given)
    }

    fn given(&self) -> Vec<Advice> {
        self.given.try_iter().collect()
    }

    /// The node hands on what this peer signed.
    fn say(&mut self, n: u8, message: &Message) -> Vec<Advice> {
        self.seq += 1;
        let (net, issued) = (NetId::of(&PSK), self.stage.now());
        let head = Head { net, author: id(n), epoch: 1, seq: self.seq, issued, ttl: HOUR * 4 };
        self.peers.hear(FromNode::Heard(seal(&head, message, &key(n))));
        self.given()
    }
}

fn order(whom: u8) -> Message {
    let report = report_of(&accused(whom), Percent::FULL, Percent::FULL, NOW);
    Message::Block(BlockRequest { report, action: Action::Both, duration: HOUR, own_block: true })
}

fn forget(n: u8) -> Advice {
    Advice::Forget { source: id(n).to_string() }
}

const ENDED: &str = "who ordered it took it back, or may order nothing any more";

fn retracted(net: Net, n: u8, why: &'static str) -> Advice {
    Advice::Retract { net, source: id(n).to_string(), why }
}

fn keep(sources: &[u8]) -> Advice {
    Advice::Keep { sources: sources.iter().map(|n| id(*n).to_string()).collect(), why: NO_PEER }
}

#[test]
fn what_a_peer_had_blocked_ends_when_it_is_removed_or_may_order_no_more() {
    let mut bench = Bench::new();
    assert_eq!(bench.reloaded(), [keep(&[1, 2, 3])]);
    bench.stage.change(|state| state.table.peers.retain(|row| row.id != id(1)));
    assert_eq!(bench.reloaded(), [forget(1)]);
    bench.stage.change(|state| state.table.peer_mut(id(2)).expect("there").role = Some(Role::Reporter));
    assert_eq!(bench.reloaded(), [forget(2)]);
    bench.stage.change(|state| state.table.peer_mut(id(3)).expect("there").weight = 0.0);
    assert_eq!(bench.reloaded(), [forget(3)]);
    assert_eq!(bench.reloaded(), []);
    bench.peers.obey(vec![Ruling::Quarantined { peer: id(2) }]);
    assert_eq!(bench.given(), [forget(2)]);
}

#[test]
fn who_was_removed_or_is_believed_no_more_while_no_daemon_ran_keeps_nothing_blocked() {
    let bench = Bench::new();
    bench.stage.change(|state| {
        state.table.peers.retain(|row| row.id != id(1));
        // The name of one is another's now; blocks are in the name of ids.
        state.table.peer_mut(id(2)).expect("there").name = crate::peers::table::parse_name("attic").ok();
        state.table.peer_mut(id(3)).expect("there").role = Some(Role::Blamer);
    });
    let mut bench = bench;
    assert_eq!(bench.reloaded(), [keep(&[2])]);
    // Nobody at all is left: also that is said.
    let mut bench = Bench::new();
    bench.stage.change(|state| state.table.peers.clear());
    assert_eq!(bench.reloaded(), [keep(&[])]);
    assert!(!bench.peers.is_active());
}

#[test]
fn a_directory_that_cannot_be_read_is_told_and_tried_again_until_it_can() {
    let mut bench = Bench::new();
    bench.reloaded();
    let table = bench.stage.dir.path().join("p2p/peers.yaml");
    let good = std::fs::read(&table).expect("read");
    std::fs::write(&table, "peers: [{id: 7").expect("written");
    bench.peers.reload().expect_err("damaged");
    for _ in 0..59 {
        bench.stage.later(Duration::from_secs(60));
        bench.peers.look_at_directory();
    }
    let told = bench.stage.lines();
    assert_eq!(told.iter().filter(|line| line.contains("peers.yaml")).count(), 1, "{told:?}");
    assert_eq!(bench.peers.members.admitted(bench.peers.now()).len(), 3, "what held before holds");
    std::fs::write(&table, good).expect("written");
    bench.stage.change(|state| state.table.peers.retain(|row| row.id != id(1)));
    bench.peers.look_at_directory();
    assert_eq!(bench.peers.members.admitted(bench.peers.now()).len(), 3, "not at once");
    bench.stage.later(Duration::from_secs(60));
    bench.peers.look_at_directory();
    assert_eq!(bench.given(), [forget(1)]);
    assert!(bench.stage.lines().iter().any(|line| line.contains("is read again")));
}

#[test]
fn an_invite_that_nobody_used_ends_and_the_node_with_it() {
    let mut bench = Bench::new();
    bench.stage.change(|state| {
        state.table.peers.clear();
        state.book.invite(&[3; 16], HOUR, None, None, NOW).expect("room");
    });
    bench.reloaded();
    assert!(bench.peers.is_active());
    for minutes in 1..=60 {
        bench.stage.later(Duration::from_secs(60));
        bench.peers.look_at_directory();
        assert_eq!(bench.peers.is_active(), minutes < 60, "{minutes}");
    }
}

#[test]
fn what_two_authorities_order_is_asked_for_and_taken_back_by_each_in_its_own_name() {
    let mut bench = Bench::new();
    bench.reloaded();
    let net = Net::host([45, 83, 64, 9].into());
    let block = |n: u8, name: &str| Advice::Block {
        net,
        for_: HOUR,
        source: id(n).to_string(),
        why: format!("order of {name}"),
    };
    assert_eq!(bench.say(1, &order(9)), [block(1, "attic")]);
    assert_eq!(bench.say(2, &order(9)), [block(2, "barn")]);
    let retract = Message::Retract(Retract { indicator: Some(accused(9)), reason: Reason::Over });
    assert_eq!(bench.say(1, &retract), [retracted(net, 1, ENDED)]);
    assert_eq!(bench.say(1, &retract), []);
    // The owner's hand, after which neither orders it again.
    bench.peers.refuted_by_owner(net);
    assert_eq!(bench.given(), [retracted(net, 2, "lifted by hand, or our own traffic speaks for it")]);
    assert_eq!((bench.say(1, &order(9)), bench.say(2, &order(9))), (vec![], vec![]));
}

#[test]
fn what_an_authority_orders_of_the_protected_is_left_to_the_firewall_to_refuse() {
    let mut bench = Bench::new();
    bench.reloaded();
    let net = Net::host([45, 83, 64, 9].into());
    bench.peers.council.protect(vec![net]);
    let asked = bench.say(1, &order(9));
    let (for_, source) = (Duration::ZERO, id(1).to_string());
    assert_eq!(asked, [Advice::Block { net, for_, source, why: "order of attic".into() }]);
    assert_eq!(bench.peers.council.orders().count(), 0);
}

fn order_of(whom: &str) -> Message {
    let indicator = whom.parse().expect("an indicator");
    let report = report_of(&indicator, Percent::FULL, Percent::FULL, NOW);
    Message::Block(BlockRequest { report, action: Action::Both, duration: HOUR, own_block: true })
}

#[test]
fn of_two_addresses_with_the_same_64_bits_one_stays_blocked_when_the_other_is_let_in() {
    let mut bench = Bench::new();
    bench.reloaded();
    let net = |text: &str| -> Net { text.parse().expect("net") };
    bench.say(1, &order_of("2600:5::7"));
    bench.stage.later(HOUR / 2);
    bench.say(1, &order_of("2600:5::8"));
    bench.say(2, &order_of("2600:5::9"));
    let retract = |whom: &str| {
        let indicator = Some(whom.parse().expect("an indicator"));
        Message::Retract(Retract { indicator, reason: Reason::Over })
    };
    let again = |whom: &str, for_| Advice::Block {
        net: net(whom),
        for_,
        source: id(1).to_string(),
        why: "order of attic".into(),
    };
    assert_eq!(
        bench.say(1, &retract("2600:5::8")),
        [retracted(net("2600:5::8"), 1, ENDED), again("2600:5::7", HOUR / 2)]
    );
    assert_eq!(bench.say(1, &retract("2600:5::7")), [retracted(net("2600:5::7"), 1, ENDED)]);
    // One that is over ends what the kernel had for it; what stands longer is asked for again.
    bench.say(1, &order_of("2600:5::7"));
    bench.stage.later(HOUR / 2);
    bench.say(1, &order_of("2600:5::8"));
    bench.stage.later(HOUR / 2);
    let rulings = bench.peers.council.tick(&bench.peers.members, bench.peers.now());
    bench.peers.obey(rulings);
    assert_eq!(bench.given(), [again("2600:5::8", HOUR / 2)]);
}

#[test]
fn whom_the_owner_let_in_no_network_around_him_takes_again() {
    let mut bench = Bench::new();
    bench.reloaded();
    let net = |text: &str| -> Net { text.parse().expect("net") };
    bench.say(1, &order_of("45.83.64.0/24"));
    bench.peers.refuted_by_owner(net("45.83.64.9"));
    let why = "lifted by hand, or our own traffic speaks for it";
    assert_eq!(bench.given(), [retracted(net("45.83.64.0/24"), 1, why)]);
    for n in 1..=3 {
        assert_eq!(bench.say(n, &order_of("45.83.64.0/24")), []);
        assert_eq!(bench.say(n, &order_of("45.83.64.8")).len(), 1, "he alone is meant");
    }
    // Also after a restart.
    bench.peers.write();
    let (peers, given) = bench.stage.peers();
    (bench.peers, bench.given) = (peers, given);
    bench.reloaded();
    assert_eq!(bench.say(1, &order_of("45.83.64.0/25")), []);
}

#[test]
fn what_an_authority_ordered_ends_with_the_roster_that_made_it_one() {
    let mut bench = Bench::new();
    let org = key(99);
    bench.stage.change(|state| {
        let roster = slips_p2p::roster::Roster {
            org: org.id(),
            version: 1,
            not_before: NOW,
            not_after: NOW.plus(HOUR),
            members: BTreeMap::from([(id(4), Role::Authority)]),
            revoked: Vec::new(),
        };
        state.table.organisations.push(crate::peers::table::OrgRow {
            name: None,
            id: org.id(),
            weight: 0.5,
            cap: None,
            max_role: Role::Authority,
            note: None,
        });
        state.add_roster(&roster.sign(&org), NOW).expect("signed");
    });
    bench.reloaded();
    let look = |bench: &mut Bench| {
        let now = bench.peers.now();
        bench.peers.look_at_roles(now);
        bench.given()
    };
    assert_eq!(look(&mut bench), []);
    bench.stage.later(HOUR / 2);
    assert_eq!(bench.say(4, &order(9)).len(), 1);
    assert_eq!(look(&mut bench), []);
    bench.stage.later(HOUR / 2);
    let net = Net::host([45, 83, 64, 9].into());
    assert_eq!(look(&mut bench), [forget(4), retracted(net, 4, ENDED)]);
    assert_eq!(look(&mut bench), []);
}

#[test]
fn a_report_is_told_with_the_evidence_that_its_author_names() {
    let mut bench = Bench::new();
    bench.stage.change(|state| state.table.peer_mut(id(1)).expect("there").role = Some(Role::Reporter));
    bench.reloaded();
    let mut report = report_of(&accused(9), Percent::FULL, Percent::FULL, NOW);
    report.evidence = vec!["PASSWORD_GUESSING".into(), "VERTICAL_PORT_SCAN".into()];
    bench.say(1, &Message::Report(report.clone()));
    let told = bench.peers.answer(&Ask::Peers(PeersAsk::Reports(None))).expect("told");
    let told: serde_json::Value = serde_json::from_str(&told).expect("JSON");
    assert_eq!(told["reports"][0]["evidence"], serde_json::json!(report.evidence));
}

#[test]
fn answers_of_a_node_that_was_taken_over_block_nobody() {
    let mut bench = Bench::new();
    bench.reloaded();
    let seen =
        |n: u8| Sight { indicator: accused(n), score: Percent::FULL, confidence: Percent::FULL, last: NOW };
    bench.peers.sharing.wonder(&accused(9), NOW);
    assert_eq!(bench.peers.sharing.question(NOW), Some(vec![accused(9)]));
    for n in 1..=3 {
        // One that was asked, and one that was not.
        bench.peers.hear(FromNode::Answered { from: id(n), seen: vec![seen(9), seen(10)] });
    }
    let (now, members) = (bench.peers.now(), &bench.peers.members);
    let opinion = |n| bench.peers.council.opinion(&accused(n), members, now);
    assert_eq!((opinion(9).weight, opinion(9).groups, opinion(10).answered), (0.0, 0, 0.0));
    assert!(opinion(9).answered > 0.0 && opinion(9).answered <= 0.4, "{:?}", opinion(9));
    assert_eq!(bench.given().len(), 0);
}

#[test]
fn a_peer_cannot_fill_the_journal() {
    let mut bench = Bench::new();
    bench.reloaded();
    bench.stage.lines();
    // An hour of all that one may say, in the gate's eyes, and of connections that come and go.
    for turn in 0..720u32 {
        bench.stage.later(Duration::from_secs(5));
        bench.say(1, &order(u8::try_from(turn % 200).expect("small")));
        bench.peers.hear(FromNode::Connected(id(2)));
        bench.peers.hear(FromNode::Gone(id(2)));
        bench.peers.sum_up((bench.peers.clocks.steady)());
    }
    let lines = bench.stage.lines();
    let of = |what: &str| lines.iter().filter(|line| line.contains(what)).count();
    let most = usize::try_from(LINES + LINES_AN_HOUR).expect("small");
    assert!((100..=most).contains(&of("orders a block")), "{}", of("orders a block"));
    assert!(of("barn is connected") <= most && of("barn is gone") <= most);
    assert!((3..=18).contains(&of("more of this kind were not told one by one")), "{lines:?}");
    assert_eq!(bench.say(3, &order(9)).len(), 1);
    assert!(bench.stage.lines().iter().any(|line| line.contains("shed")), "another is told as ever");
}

#[test]
fn blocks_that_cut_this_router_off_are_lifted_and_rest_and_others_are_put_back() {
    let mut bench = Bench::new();
    bench.reloaded();
    let seconds = |bench: &mut Bench, n: u64| {
        for _ in 0..n {
            bench.stage.later(Duration::from_secs(1));
            bench.peers.watch_network(bench.peers.clocks.steady.as_ref()());
        }
        bench.given()
    };
    let everything_ends = |why| Advice::Keep { sources: BTreeSet::new(), why };
    let tried = "the network is not reached, and it is tried without the blocks of peers";
    assert_eq!(bench.say(1, &order(9)).len(), 1);
    assert_eq!(seconds(&mut bench, 30), [], "the network is reached");
    // The network is down, and stays so: what stood is asked for again.
    bench.stage.reached.store(false, Ordering::Relaxed);
    let told = seconds(&mut bench, 40);
    assert_eq!(told.first(), Some(&everything_ends(tried)));
    let again =
        |advice: &Advice| matches!(advice, Advice::Block { source, .. } if *source == id(1).to_string());
    assert!(told.len() == 2 && told.iter().skip(1).all(again), "{told:?}");
    assert_eq!(bench.say(1, &order(10)).len(), 1);
    assert_eq!(seconds(&mut bench, 300), [], "nobody is blamed for a network that is down");
    bench.stage.reached.store(true, Ordering::Relaxed);
    seconds(&mut bench, 120);
    // Now a block is to blame: without it the network is reached.
    assert_eq!(bench.say(2, &order(11)).len(), 1);
    bench.stage.reached.store(false, Ordering::Relaxed);
    let told = seconds(&mut bench, 5);
    assert_eq!(told, [everything_ends(tried)]);
    assert_eq!(bench.say(2, &order(12)), [], "nobody is blocked while it is tried");
    // Once it helps, which may be chance: all are put back, and only when it is lost again they are lifted for good.
    bench.stage.reached.store(true, Ordering::Relaxed);
    let told = seconds(&mut bench, 6);
    assert!(told.len() == 4 && told.iter().all(|advice| matches!(advice, Advice::Block { .. })), "{told:?}");
    bench.stage.reached.store(false, Ordering::Relaxed);
    let told = seconds(&mut bench, 10);
    assert_eq!(told.first(), Some(&everything_ends("the network is lost with the blocks of peers")));
    let lifted = |advice: &Advice| matches!(advice, Advice::Retract { why, .. } if why.contains("without the blocks of peers"));
    assert!(told.len() == 5 && told.iter().skip(1).all(lifted), "{told:?}");
    bench.stage.reached.store(true, Ordering::Relaxed);
    let lines = bench.stage.lines();
    for what in ["not reached since", "down without", "whether it is lost again", "they stay lifted"] {
        assert!(lines.iter().any(|line| line.contains(what)), "{what}: {lines:?}");
    }
    assert!(bench.peers.council.breaker(bench.peers.now()).is_some());
    assert_eq!(bench.say(3, &order(13)), [], "nobody is blocked on their word");
    bench.peers.write();
    // Neither after a restart; in an hour they are heard again.
    let (peers, given) = bench.stage.peers();
    (bench.peers, bench.given) = (peers, given);
    bench.reloaded();
    assert_eq!(bench.say(3, &order(14)), []);
    bench.stage.later(HOUR);
    assert_eq!(bench.say(3, &order(15)).len(), 1);
}

/// All behind the header of a file goes.
fn tear(path: &std::path::Path) {
    use std::os::unix::fs::FileExt;
    let file = std::fs::OpenOptions::new().write(true).open(path).expect("open");
    let length = file.metadata().expect("length").len() as usize;
    file.write_all_at(&vec![0xff; length.saturating_sub(100)], 100).expect("tear");
}

#[test]
fn a_book_of_peers_that_is_damaged_is_kept_aside_and_begun_anew_with_what_is_known() {
    let mut bench = Bench::new();
    bench.reloaded();
    bench.say(1, &order(1));
    bench.peers.refuted_by_owner("45.83.64.9".parse().expect("net"));
    bench.peers.write();
    let said = bench.peers.said;
    let path = bench.stage.dir.path().join("peers.sqlite");
    // Another process that writes makes the daemon look at the file again.
    PeerBook::open(&path).expect("open").set_counter("of another", 1).expect("written");
    tear(&path);
    tear(&bench.stage.dir.path().join("peers.sqlite-wal"));
    bench.say(2, &order(2));
    bench.peers.write();
    bench.say(3, &order(3));
    bench.peers.write();
    assert!(bench.stage.lines().iter().any(|line| line.contains("was damaged")), "nobody is told");
    assert!(bench.stage.dir.path().join("peers.sqlite.damaged").exists());
    let book = PeerBook::open(&path).expect("a new one");
    let authors: Vec<NodeId> =
        book.replay().expect("replay").into_iter().map(|(author, _)| NodeId(author)).collect();
    assert_eq!(authors.into_iter().collect::<Ids>(), [id(1), id(2), id(3)].into());
    assert_eq!(
        (book.counter("epoch").expect("epoch"), book.counter("seq").expect("seq")),
        (Some(said.0), Some(said.1))
    );
    assert_eq!(book.refuted().expect("refuted").len(), 1);

    // At the start.
    drop(book);
    let (peers, given) = bench.stage.peers();
    (bench.peers, bench.given) = (peers, given);
    std::fs::write(&path, "no book at all ".repeat(500)).expect("write");
    bench.reloaded();
    assert!(bench.stage.lines().iter().any(|line| line.contains("was damaged")), "nobody is told");
    assert_eq!(bench.say(1, &order(4)).len(), 1, "and all goes on");
    bench.peers.write();
    assert_eq!(PeerBook::open(&path).expect("a new one").replay().expect("replay").len(), 1);
}
