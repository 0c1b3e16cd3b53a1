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

fn keep(sources: &[u8]) -> Advice {
    Advice::Keep { sources: sources.iter().map(|n| id(*n).to_string()).collect() }
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
    assert_eq!(bench.say(1, &retract), [Advice::Retract { net, source: id(1).to_string() }]);
    assert_eq!(bench.say(1, &retract), []);
    // The owner's hand, after which neither orders it again.
    bench.peers.refuted_by_owner(net);
    assert_eq!(bench.given(), [Advice::Retract { net, source: id(2).to_string() }]);
    assert_eq!((bench.say(1, &order(9)), bench.say(2, &order(9))), (vec![], vec![]));
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
    let everything_ends = Advice::Keep { sources: BTreeSet::new() };
    assert_eq!(bench.say(1, &order(9)).len(), 1);
    assert_eq!(seconds(&mut bench, 30), [], "the network is reached");
    // The network is down, and stays so: what stood is asked for again.
    bench.stage.reached.store(false, Ordering::Relaxed);
    let told = seconds(&mut bench, 40);
    assert_eq!(told.first(), Some(&everything_ends));
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
    assert_eq!(told, [everything_ends]);
    assert_eq!(bench.say(2, &order(12)), [], "nobody is blocked while it is tried");
    bench.stage.reached.store(true, Ordering::Relaxed);
    let told = seconds(&mut bench, 10);
    assert!(
        told.len() >= 3 && told.iter().all(|advice| matches!(advice, Advice::Retract { .. })),
        "{told:?}"
    );
    let lines = bench.stage.lines();
    for what in ["not reached since", "are put back", "they stay lifted"] {
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
