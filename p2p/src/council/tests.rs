use super::*;
use crate::envelope::{Head, Opened};
use crate::identity::NetId;
use crate::members::Peer;
use crate::message::tests::report;
use crate::message::{Action, Percent, Retract};

const HOUR: Duration = Duration::from_secs(3600);
const START: Moment = Moment(1_793_600_000_000);

/// A council, its members and its time, which the test moves.
struct Scene {
    council: Council,
    members: Members,
    now: Moment,
}

fn id(n: u8) -> NodeId {
    NodeId([n; 32])
}

fn accused(n: u8) -> Indicator {
    report(&format!("198.51.100.{n}")).indicator
}

impl Scene {
    /// Ten peers, each its own group, believed as settled ones are.
    fn new(mode: Mode) -> Self {
        let mut scene =
            Self { council: Council::new(mode, Rules::default()), members: Members::default(), now: START };
        for n in 1..=10 {
            scene.peer(n, Role::Blamer, 0.9);
        }
        scene
    }

    fn peer(&mut self, n: u8, role: Role, base: f64) {
        let peer = Peer { role: Some(role), base, confirmed: true, ..Peer::invited(None) };
        self.members.add(id(n), peer).expect("room");
    }

    fn say(&mut self, n: u8, message: Message) -> Vec<Ruling> {
        let head =
            Head { net: NetId([0; 8]), author: id(n), epoch: 1, seq: 1, issued: self.now, ttl: HOUR * 24 };
        let author = self.members.find(id(n), self.now).expect("a peer");
        let accepted = Accepted { opened: Opened { head, message }, author, envelope: Vec::new() };
        self.council.hear(&accepted, &self.members, self.now)
    }

    fn reports(&mut self, n: u8, whom: u8) -> Vec<Ruling> {
        let mut report = report(&format!("198.51.100.{whom}"));
        report.confidence = Percent::FULL;
        self.say(n, Message::Report(report))
    }

    fn own(&mut self, whom: u8, level: f64) -> Vec<Ruling> {
        self.council.own(&accused(whom), level, &self.members, self.now)
    }

    fn later(&mut self, span: Duration) -> Vec<Ruling> {
        self.now = self.now.plus(span);
        self.council.tick(&self.members, self.now)
    }

    fn trust(&self, n: u8) -> f64 {
        self.council.trust(id(n), &self.members, self.now)
    }

    fn refute(&mut self, whom: u8, loss: Loss) -> Vec<Ruling> {
        self.council.refute(&accused(whom), loss, &self.members, self.now)
    }
}

fn blocks(rulings: &[Ruling]) -> Vec<(&Indicator, Basis)> {
    let block = |ruling| match ruling {
        &Ruling::Block { ref indicator, basis, .. } => Some((indicator, basis)),
        _ => None,
    };
    rulings.iter().filter_map(block).collect()
}

fn lifts(rulings: &[Ruling]) -> Vec<Lifted> {
    let lift = |ruling: &Ruling| match ruling {
        Ruling::Lift { why, .. } => Some(*why),
        _ => None,
    };
    rulings.iter().filter_map(lift).collect()
}

#[test]
fn three_groups_preempt_and_two_do_not() {
    let mut scene = Scene::new(Mode::Preempt);
    assert_eq!(scene.reports(1, 7), []);
    assert_eq!(scene.reports(2, 7), []);
    let rulings = scene.reports(3, 7);
    assert_eq!(blocks(&rulings), [(&accused(7), Basis::Preempt)]);
    let Ruling::Block { term, opinion, .. } = &rulings[0] else { panic!("a block") };
    assert_eq!((*term, opinion.groups, opinion.shares.len()), (HOUR, 3, 3));
    assert_eq!(scene.reports(4, 7), [], "once");
}

#[test]
fn no_number_of_peers_blocks_in_assist_mode_without_own_evidence() {
    let mut scene = Scene::new(Mode::Assist);
    for n in 1..=10 {
        assert_eq!(scene.reports(n, 7), []);
    }
    assert_eq!(scene.own(7, 0.24), []);
    assert_eq!(scene.own(7, 0.39), [], "peers help 0.6 at most");
    assert_eq!(blocks(&scene.own(7, 0.41)), [(&accused(7), Basis::Assist)]);
    assert_eq!(scene.own(7, 0.49), [], "once");
}

#[test]
fn help_comes_in_either_order() {
    let mut scene = Scene::new(Mode::Assist);
    assert_eq!(scene.own(7, 0.5), []);
    assert_eq!(scene.reports(1, 7), []);
    assert_eq!(blocks(&scene.reports(2, 7)), [(&accused(7), Basis::Assist)]);
}

#[test]
fn observing_only_tells() {
    let mut scene = Scene::new(Mode::Observe);
    scene.reports(1, 7);
    scene.reports(2, 7);
    assert!(matches!(scene.reports(3, 7)[..], [Ruling::WouldBlock { basis: Basis::Preempt, .. }]));
    assert_eq!(scene.council.blocks().count(), 0);
}

#[test]
fn the_protected_are_never_blocked_and_their_accusers_lose() {
    let mut scene = Scene::new(Mode::Preempt);
    scene.council.protect(vec!["198.51.100.7".parse().expect("net")]);
    let before = scene.trust(1);
    for n in 1..=10 {
        assert!(blocks(&scene.reports(n, 7)).is_empty());
    }
    assert!(scene.trust(1) < before / 1.5);
    assert!(blocks(&scene.own(7, 0.9)).is_empty());
}

#[test]
fn becoming_protected_ends_a_block() {
    let mut scene = Scene::new(Mode::Preempt);
    (1..=3).for_each(|n| drop(scene.reports(n, 7)));
    let rulings = scene.council.protect(vec!["198.51.100.0/28".parse().expect("net")]);
    assert_eq!(lifts(&rulings), [Lifted::Protected]);
}

#[test]
fn one_canary_quarantines_a_fresh_liar() {
    let mut scene = Scene::new(Mode::Preempt);
    scene.peer(20, Role::Blamer, Peer::CONFIRMED);
    scene.council.set_canaries([accused(200)]);
    let rulings = scene.reports(20, 200);
    assert!(rulings.contains(&Ruling::Quarantined { peer: id(20) }), "{rulings:?}");
    assert_eq!(scene.trust(20), 0.0);
    assert_eq!(scene.reports(20, 200), [], "one lie repeated is one lie");
    scene.council.pardon(id(20), scene.now);
    assert!(scene.trust(20) > 0.3);
}

#[test]
fn trust_is_earned_by_what_we_see_ourselves_and_only_before_we_say_it() {
    let mut scene = Scene::new(Mode::Assist);
    let before = scene.trust(1);
    scene.reports(1, 7);
    scene.now = scene.now.plus(Duration::from_secs(1));
    scene.reports(2, 7);
    let gains = scene.own(7, 1.0);
    let gain = |peer, gain| Ruling::Gained { peer: id(peer), indicator: accused(7), gain };
    assert_eq!(gains, [gain(1, Gain::First), gain(2, Gain::Also)]);
    assert!(scene.trust(1) > before);
    scene.council.reported(&accused(7), scene.now);
    scene.reports(3, 7);
    assert_eq!(scene.own(7, 2.0), [], "an echo earns nothing");
    assert_eq!(scene.later(HOUR * 30), []);
    assert_eq!(scene.own(7, 1.0), [], "nothing is live any more");
}

#[test]
fn evidence_that_is_not_enough_earns_half_and_the_alert_after_it_the_rest() {
    let mut scene = Scene::new(Mode::Assist);
    let gain = |peer, gain| Ruling::Gained { peer: id(peer), indicator: accused(7), gain };
    scene.reports(1, 7);
    scene.now = scene.now.plus(Duration::from_secs(1));
    scene.reports(2, 7);
    let gains = |rulings: Vec<Ruling>| -> Vec<Ruling> {
        rulings.into_iter().filter(|ruling| matches!(ruling, Ruling::Gained { .. })).collect()
    };
    assert_eq!(gains(scene.own(7, 0.49)), []);
    assert_eq!(gains(scene.own(7, 0.5)), [gain(1, Gain::Half), gain(2, Gain::Half)]);
    assert_eq!(gains(scene.own(7, 0.9)), [], "once");
    // Who comes between gains as one of the others; the first gets what the alert would have earned it alone.
    scene.now = scene.now.plus(Duration::from_secs(1));
    scene.reports(3, 7);
    assert_eq!(gains(scene.own(7, 1.0)), [gain(1, Gain::Half), gain(3, Gain::Also)]);
    assert_eq!(gains(scene.own(7, 1.0)), []);
}

#[test]
fn whom_the_owner_let_in_is_not_blocked_along_with_others() {
    let mut scene = Scene::new(Mode::Assist);
    scene.peer(30, Role::Authority, 1.0);
    let order = |scene: &mut Scene, whom: &str| {
        let report = report(whom);
        let block = BlockRequest { report, action: Action::Both, duration: HOUR, own_block: true };
        scene.say(30, Message::Block(block))
    };
    let net = |text: &str| -> Net { text.parse().expect("net") };
    for (around, beside, held) in [
        ("198.51.100.0/24", "198.51.101.0/24", "198.51.100.9"),
        // The firewall takes an address of IPv6 with its 64 bits.
        ("2600:5::7", "2600:5:0:1::7", "2600:5::9"),
        ("2600:5::/48", "2600:6::/48", "2600:5:0:3::9"),
    ] {
        assert_eq!(blocks(&order(&mut scene, around)).len(), 1, "{around}");
        assert_eq!(lifts(&scene.council.let_in(net(held))), [Lifted::Refuted], "{held}");
        let known = Indicator::net(net(held)).expect("public");
        scene.council.refute(&known, Loss::Owner, &scene.members, scene.now);
        assert_eq!(order(&mut scene, around), [], "{around}");
        assert_eq!(blocks(&order(&mut scene, beside)).len(), 1, "{beside}");
        scene.later(HOUR * 24 * 7);
        assert_eq!(blocks(&order(&mut scene, around)).len(), 1, "after a week");
        scene.later(HOUR);
    }
}

#[test]
fn what_others_say_counts_again_when_an_order_ends() {
    let mut scene = Scene::new(Mode::Preempt);
    scene.peer(30, Role::Authority, 1.0);
    let block = |hours: u32| {
        let report = report("198.51.100.7");
        Message::Block(BlockRequest { report, action: Action::Both, duration: HOUR * hours, own_block: true })
    };
    let preempted = [(&accused(7), Basis::Preempt)];
    scene.say(30, block(1));
    (1..=3).for_each(|n| assert_eq!(scene.reports(n, 7), [], "it is blocked already"));
    let rulings = scene.later(HOUR);
    assert_eq!((lifts(&rulings), blocks(&rulings)), (vec![Lifted::Over], preempted.to_vec()));
    let mut scene = Scene::new(Mode::Preempt);
    scene.peer(30, Role::Authority, 1.0);
    scene.say(30, block(1));
    (1..=3).for_each(|n| assert_eq!(scene.reports(n, 7), []));
    let retract = Message::Retract(Retract { indicator: Some(accused(7)), reason: Reason::Over });
    assert_eq!(blocks(&scene.say(30, retract)), preempted);
}

#[test]
fn a_rest_that_a_wrong_clock_set_ends_with_the_clock() {
    let mut scene = Scene::new(Mode::Preempt);
    let years = HOUR * 24 * 365 * 5;
    scene.council.restore_rests(scene.now.plus(years));
    scene.council.restore_breaker(scene.now.plus(years));
    assert_eq!((scene.council.rests(scene.now), scene.council.breaker(scene.now)), (None, None));
    scene.council.restore_rests(scene.now.plus(HOUR));
    assert!(scene.council.rests(scene.now).is_some());
}

#[test]
fn asking_and_silence_earn_nothing() {
    let mut scene = Scene::new(Mode::Assist);
    let before = scene.trust(1);
    scene.own(7, 1.0);
    scene.later(HOUR * 24 * 30);
    assert!((scene.trust(1) - before).abs() < 1e-12);
}

#[test]
fn the_owners_unblock_lifts_costs_trust_and_lasts() {
    let mut scene = Scene::new(Mode::Preempt);
    (1..=4).for_each(|n| drop(scene.reports(n, 7)));
    let before = scene.trust(1);
    let rulings = scene.refute(7, Loss::Owner);
    assert_eq!(lifts(&rulings), [Lifted::Refuted]);
    assert!(scene.trust(1) < before && scene.trust(4) < before && scene.trust(5) >= before);
    scene.later(HOUR);
    for n in 1..=10 {
        assert!(blocks(&scene.reports(n, 7)).is_empty());
    }
}

#[test]
fn two_refuted_blocks_open_the_breaker_for_a_day() {
    let mut scene = Scene::new(Mode::Preempt);
    (1..=3).for_each(|n| drop(scene.reports(n, 7)));
    (4..=6).for_each(|n| drop(scene.reports(n, 8)));
    scene.refute(7, Loss::Owner);
    let rulings = scene.refute(8, Loss::Owner);
    assert!(matches!(rulings.last(), Some(Ruling::BreakerOpen { .. })), "{rulings:?}");
    (7..=10).for_each(|n| assert!(scene.reports(n, 9).is_empty()));
    scene.later(HOUR * 25);
    (7..=8).for_each(|n| drop(scene.reports(n, 10)));
    assert_eq!(blocks(&scene.reports(9, 10)).len(), 1);
}

#[test]
fn the_budget_bounds_a_flash() {
    let mut scene = Scene::new(Mode::Preempt);
    let mut blocked = 0;
    for whom in 1..=200 {
        for n in 1..=3 {
            blocked += blocks(&scene.reports(n, whom)).len();
        }
    }
    assert_eq!(blocked, 16);
    scene.own(1, 1.0);
    assert_eq!(blocks(&scene.reports(4, 100)).len(), 1, "a confirmed block frees its place");
    for whom in 1..=200 {
        for n in 5..=10 {
            blocked += blocks(&scene.reports(n, whom)).len();
        }
    }
    assert!(blocked <= 17, "sixteen young ones in all: {blocked}");
}

#[test]
fn of_all_unconfirmed_blocks_few_rest_on_one_author_however_long_he_takes() {
    let mut scene = Scene::new(Mode::Preempt);
    let mut blocked = BTreeSet::new();
    for whom in 1..=100 {
        // Slow enough for the other bound, and each block renewed.
        scene.later(HOUR / 3);
        for again in 1..=whom {
            (1..=3).for_each(|n| drop(scene.reports(n, again)));
        }
        blocked.extend(scene.council.blocks().map(|(held, _)| held.clone()));
        // Each of three authors has a third of every block: five whole blocks each.
        assert!(scene.council.blocks().count() <= 16);
    }
    assert!(blocked.len() >= 15, "{}", blocked.len());
}

#[test]
fn whom_our_clients_talk_with_is_not_blocked_without_own_evidence() {
    let mut scene = Scene::new(Mode::Preempt);
    scene.refute(7, Loss::Benign);
    (1..=10).for_each(|n| assert!(scene.reports(n, 7).is_empty()));
    assert_eq!(blocks(&scene.own(7, 0.5)), [(&accused(7), Basis::Assist)]);
}

#[test]
fn a_block_ends_when_its_authors_take_it_back_and_fades_by_itself() {
    let mut scene = Scene::new(Mode::Preempt);
    (1..=3).for_each(|n| drop(scene.reports(n, 7)));
    let retract = || Message::Retract(Retract { indicator: Some(accused(7)), reason: Reason::FalsePositive });
    assert_eq!(scene.say(1, retract()).len(), 1, "a little trust");
    assert_eq!(lifts(&scene.say(2, retract())), [], "one voice of .75 stands, weight is above .6");
    assert_eq!(lifts(&scene.say(3, retract())), [Lifted::WeightFell]);

    (1..=3).for_each(|n| drop(scene.reports(n, 8)));
    let mut ended = None;
    for minutes in 0..60 * 24 {
        if !lifts(&scene.later(Duration::from_secs(60))).is_empty() {
            ended = Some(minutes / 60);
            break;
        }
    }
    assert!(matches!(ended, Some(12..=23)), "{ended:?}");
}

#[test]
fn an_authority_is_obeyed_at_once_and_taken_back() {
    for mode in [Mode::Observe, Mode::Assist, Mode::Preempt] {
        let mut scene = Scene::new(mode);
        scene.peer(30, Role::Authority, 1.0);
        let order = |whom: &str| {
            let report = report(whom);
            Message::Block(BlockRequest { report, action: Action::Both, duration: HOUR, own_block: true })
        };
        let rulings = scene.say(30, order("198.51.100.9"));
        assert_eq!(blocks(&rulings), [(&accused(9), Basis::Order(id(30)))]);
        let retract = Message::Retract(Retract { indicator: Some(accused(9)), reason: Reason::AllowListed });
        assert_eq!(lifts(&scene.say(1, retract.clone())), [], "not by another");
        assert_eq!(lifts(&scene.say(30, retract)), [Lifted::OrderEnded]);
        // A small network too, but not where we are.
        assert_eq!(blocks(&scene.say(30, order("198.51.100.0/24"))).len(), 1);
        scene.council.protect(vec!["203.0.113.1".parse().expect("net")]);
        let indicator = report("203.0.113.0/24").indicator;
        assert_eq!(scene.say(30, order("203.0.113.0/24")), [Ruling::Refused { indicator, by: id(30) }]);
        assert_eq!(lifts(&scene.later(HOUR)), [Lifted::Over]);
    }
}

#[test]
fn what_two_authorities_order_stands_while_either_holds_it() {
    let mut scene = Scene::new(Mode::Assist);
    for n in [30, 31] {
        scene.peer(n, Role::Authority, 1.0);
    }
    let order = |scene: &mut Scene, n, hours: u32| {
        let report = report("198.51.100.9");
        scene.say(
            n,
            Message::Block(BlockRequest {
                report,
                action: Action::Both,
                duration: HOUR * hours,
                own_block: true,
            }),
        )
    };
    let retract = || Message::Retract(Retract { indicator: Some(accused(9)), reason: Reason::AllowListed });
    let whose = |scene: &Scene| scene.council.orders().map(|(_, by, _)| by).collect::<Vec<_>>();
    let lifted = |n, why| Ruling::Lift { indicator: accused(9), basis: Basis::Order(id(n)), why };
    assert_eq!(blocks(&order(&mut scene, 30, 4)), [(&accused(9), Basis::Order(id(30)))]);
    assert_eq!(blocks(&order(&mut scene, 31, 1)), [(&accused(9), Basis::Order(id(31)))]);
    // Each takes back its own alone, in any order of words.
    assert_eq!(scene.say(30, retract()), [lifted(30, Lifted::OrderEnded)]);
    assert_eq!(whose(&scene), [id(31)]);
    assert_eq!(scene.say(30, retract()), [], "it holds nothing any more");
    order(&mut scene, 30, 4);
    assert_eq!(scene.later(HOUR), [lifted(31, Lifted::Over)]);
    assert_eq!(whose(&scene), [id(30)]);
    // The owner's hand ends both, and neither orders it again for a week.
    order(&mut scene, 31, 1);
    let rulings = scene.refute(9, Loss::Owner);
    assert!(rulings.contains(&lifted(30, Lifted::Refuted)) && rulings.contains(&lifted(31, Lifted::Refuted)));
    assert_eq!(
        (order(&mut scene, 30, 4), order(&mut scene, 31, 4), whose(&scene).len()),
        (vec![], vec![], 0)
    );
}

#[test]
fn answers_that_nobody_signed_help_a_little_and_do_nothing_alone() {
    let said = |now: Moment| Said {
        score: Percent::FULL,
        confidence: Percent::FULL,
        at: now,
        until: now.plus(HOUR),
    };
    for mode in [Mode::Assist, Mode::Preempt] {
        let mut scene = Scene::new(mode);
        scene.peer(30, Role::Authority, 1.0);
        scene.council.set_canaries([accused(200)]);
        scene.council.protect(vec!["198.51.100.201/32".parse().expect("net")]);
        scene.own(7, 0.6);
        let trust: Vec<f64> = (1..=10).map(|n| scene.trust(n)).collect();
        // A node that was taken over answers in the name of all, as badly as can be.
        for n in (1..=10).chain([30]) {
            for whom in [7, 8, 200, 201] {
                let rulings = scene.council.hear_answer(
                    id(n),
                    &accused(whom),
                    said(scene.now),
                    &scene.members,
                    scene.now,
                );
                assert_eq!(rulings, [], "{n} about {whom}");
            }
        }
        assert_eq!(scene.own(7, 0.99), [], "not with any evidence short of an alert of our own");
        assert_eq!((1..=10).map(|n| scene.trust(n)).collect::<Vec<_>>(), trust, "nobody is caught by them");
        // Three forged, one signed: one group, no more.
        let opinion = scene.council.opinion(&accused(8), &scene.members, scene.now);
        assert_eq!((opinion.weight, opinion.groups, opinion.answered), (0.0, 0, 0.4));
        scene.reports(1, 8);
        assert_eq!(scene.council.opinion(&accused(8), &scene.members, scene.now).groups, 1);
        assert!(scene.council.blocks().next().is_none());
        // A signed word of .6 and the answers of .4 at most help together, and own alerts credit no answer.
        let signed = scene.council.opinion(&accused(8), &scene.members, scene.now);
        assert!((scene.council.help(&signed) - 0.5 * (signed.weight + 0.4)).abs() < 1e-9);
        assert!(scene.own(7, 1.0).is_empty(), "nobody gains by them");
        scene.later(HOUR);
        assert_eq!(scene.council.opinion(&accused(8), &scene.members, scene.now).answered, 0.0);
    }
}

#[test]
fn nobody_but_an_authority_accuses_networks() {
    let mut scene = Scene::new(Mode::Preempt);
    for n in 1..=10 {
        assert!(scene.say(n, Message::Report(report("198.51.100.0/24"))).is_empty());
    }
    assert!(scene.council.live().is_empty());
}

#[test]
fn the_watchdog_takes_all_back() {
    let mut scene = Scene::new(Mode::Preempt);
    (1..=3).for_each(|n| drop(scene.reports(n, 7)));
    let rulings = scene.council.watchdog(scene.now);
    assert_eq!(lifts(&rulings), [Lifted::Watchdog]);
    (4..=6).for_each(|n| assert!(scene.reports(n, 8).is_empty()));
    // Orders, too, and for an hour nothing is blocked on any word.
    let mut scene = Scene::new(Mode::Assist);
    scene.peer(30, Role::Authority, 1.0);
    let order = |scene: &mut Scene| {
        let report = report("198.51.100.9");
        let block = BlockRequest { report, action: Action::Both, duration: HOUR * 4, own_block: true };
        blocks(&scene.say(30, Message::Block(block))).len()
    };
    assert_eq!(order(&mut scene), 1);
    assert_eq!(lifts(&scene.council.watchdog(scene.now)), [Lifted::Watchdog]);
    assert_eq!(order(&mut scene), 0);
    scene.later(HOUR);
    assert_eq!(order(&mut scene), 1);
}

#[test]
fn a_removed_peer_says_nothing_and_does_not_come_back_clean() {
    let mut scene = Scene::new(Mode::Preempt);
    scene.council.set_canaries([accused(200)]);
    scene.peer(20, Role::Blamer, Peer::CONFIRMED);
    scene.reports(20, 7);
    scene.reports(20, 200);
    scene.members.remove(id(20));
    scene.council.removed(id(20), &scene.members, scene.now);
    assert!(scene.council.live().is_empty());
    scene.peer(20, Role::Blamer, Peer::CONFIRMED);
    assert_eq!(scene.trust(20), 0.0);
}

#[test]
fn an_authority_in_quarantine_orders_nothing_and_its_orders_end() {
    let mut scene = Scene::new(Mode::Assist);
    scene.council.set_canaries([accused(200)]);
    scene.peer(20, Role::Authority, Peer::CONFIRMED);
    let order = |scene: &mut Scene| {
        let report = report("198.51.100.7");
        let block = BlockRequest { report, action: Action::Both, duration: HOUR, own_block: true };
        scene.say(20, Message::Block(block))
    };
    assert_eq!(blocks(&order(&mut scene)), [(&accused(7), Basis::Order(id(20)))]);
    let rulings = scene.reports(20, 200);
    assert!(rulings.contains(&Ruling::Quarantined { peer: id(20) }), "{rulings:?}");
    assert_eq!(lifts(&rulings), [Lifted::OrderEnded]);
    assert_eq!(order(&mut scene), []);
    scene.council.pardon(id(20), scene.now);
    assert_eq!(blocks(&order(&mut scene)).len(), 1);
    scene.peer(20, Role::Authority, 0.0);
    assert_eq!(order(&mut scene), [], "nobody believes it");
}

#[test]
fn experience_survives_a_restart() {
    let mut scene = Scene::new(Mode::Preempt);
    scene.council.set_canaries([accused(200)]);
    scene.reports(1, 200);
    let mut again = Council::new(Mode::Preempt, Rules::default());
    scene.council.standings().for_each(|(peer, standing)| again.restore_standing(peer, standing));
    assert_eq!(again.trust(id(1), &scene.members, scene.now), scene.trust(1));
}
