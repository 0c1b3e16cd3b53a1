//! Lies about the world, by members in good standing: what the council makes of them.

use slips_p2p::council::Ruling;
use slips_p2p::identity::NodeKey;
use slips_p2p::indicator::Indicator;
use slips_p2p::members::Org;
use slips_p2p::message::{Action, BlockRequest, Kind, Message, Report};
use slips_p2p::moment::Moment;
use slips_p2p::roster::{Role, Roster};
use std::time::Duration;

use super::liar::{Liar, forge};
use super::support::{self, Router, accused, id, options, report};
use super::{GANG, HONEST, LIAR, Scene, VICTIM, members};

fn block(indicator: Indicator) -> Message {
    let report = report(indicator);
    Message::Block(BlockRequest { report, action: Action::Both, duration: support::DAY, own_block: true })
}

/// What the liar says of whom the victim protects, or of an address that nobody uses, is its end.
#[tokio::test]
async fn one_canary_quarantines_and_the_protected_are_never_blocked() {
    let mut scene = Scene::new().await;
    let (canary, resolver) = (accused(1), accused(2));
    {
        let mut council = scene.victim.council.lock().expect("no panic");
        council.set_canaries([canary.clone()]);
        // Addresses of honest peers stand among the protected, as the daemon puts them there.
        let honest = accused(3).as_net().expect("an address");
        council.protect(vec![resolver.as_net().expect("an address"), honest]);
    }
    let mut liar = Liar::neighbour(LIAR, &scene.victim.address).await;
    liar.say(Kind::Report, forge(LIAR, LIAR, 1, scene.now(), &Message::Report(report(canary)))).await;
    let fallen =
        |seen: &support::Seen| seen.rulings.contains(&Ruling::Quarantined { peer: id(LIAR) }).then_some(());
    scene.victim.until("quarantine", fallen).await;
    // All keys of the gang, one after the other through one connection.
    for (seq, n) in GANG.enumerate() {
        for (k, whom) in [resolver.clone(), accused(3)].into_iter().enumerate() {
            let seq = (seq * 2 + k + 1) as u64;
            liar.say(Kind::Block, forge(n, n, seq, scene.now(), &block(whom))).await;
        }
    }
    let fallen = |seen: &support::Seen| {
        let fell = |n| seen.rulings.contains(&Ruling::Quarantined { peer: id(n) });
        GANG.into_iter().all(fell).then_some(())
    };
    scene.victim.until("all of them", fallen).await;
    scene.nothing_came_of_it().await;
}

/// What is inside, or wide, cannot even be said: such a message is broken, and two of them are enough.
#[tokio::test]
async fn inside_and_wide_addresses_are_no_message() {
    for net in ["192.168.1.0/24", "10.0.0.1", "127.0.0.1", "224.0.0.1", "0.0.0.0/0", "198.51.0.0/16"] {
        let mut scene = Scene::new().await;
        let mut liar = Liar::neighbour(LIAR, &scene.victim.address).await;
        // Made without the constructors, as only a liar does.
        let inside = Indicator::Net(net.parse().expect("a network"));
        for seq in 1..=2 {
            liar.say(
                Kind::Report,
                forge(LIAR, LIAR, seq, scene.now(), &Message::Report(report(inside.clone()))),
            )
            .await;
        }
        scene.liar_is_shunned(&mut liar).await;
        assert_eq!(scene.victim.look(|seen| seen.of(id(LIAR))), 0, "{net}");
        scene.nothing_came_of_it().await;
    }
}

/// Thirteen members of one organisation are one voice, and one voice blocks nobody.
#[tokio::test]
async fn many_of_one_owner_are_one_voice() {
    let mut scene = Scene::new().await;
    let org = NodeKey::from_seed(&[99; 32]);
    let roster = Roster {
        org: org.id(),
        version: 1,
        not_before: Moment(1),
        not_after: Moment(1).plus(slips_p2p::roster::LONGEST),
        members: Default::default(),
        revoked: Vec::new(),
    };
    let roster = Roster {
        not_before: support::START.minus(support::DAY),
        not_after: support::START.plus(support::DAY),
        members: GANG.map(|n| (id(n), Role::Blamer)).collect(),
        ..roster
    };
    let mut everybody = members(&[]);
    GANG.for_each(|n| drop(everybody.remove(id(n))));
    everybody.trust_org(org.id(), Org { name: None, base: 1.0, cap: None, max_role: Role::Blamer });
    everybody.add_roster(&roster.sign(&org), scene.now()).expect("signed");
    scene.victim.set_members(everybody).await;
    let mut liar = Liar::neighbour(LIAR, &scene.victim.address).await;
    for n in GANG {
        liar.say(Kind::Block, forge(n, n, 1, scene.now(), &block(accused(5)))).await;
    }
    let blocks = |seen: &support::Seen| (seen.messages >= 3 + GANG.len()).then_some(());
    scene.victim.until("all voices", blocks).await;
    scene.nothing_came_of_it().await;
}

/// Three who agree may block in this mode; a flash of many is held by the budget of each.
#[tokio::test]
async fn a_flash_is_held_by_the_budget() {
    let limits = support::open_limits();
    let mut scene = Scene::with(limits).await;
    let mut liar = Liar::neighbour(LIAR, &scene.victim.address).await;
    let gang: Vec<u16> = GANG.take(6).collect();
    for whom in 0..100usize {
        for n in &gang {
            liar.say(Kind::Block, forge(*n, *n, whom as u64 + 1, scene.now(), &block(accused(whom)))).await;
        }
    }
    let all = 3 + 100 * gang.len();
    scene.victim.until("all of it", |seen| (seen.messages >= all).then_some(())).await;
    let blocked = scene.victim.look(|seen| seen.blocked().len());
    assert!(blocked <= 16, "{blocked}");
    scene.honest_talk().await;
}

/// A member who was revoked is gone at once, and an older roster of the same organisation does not bring it back.
#[tokio::test]
async fn a_revoked_member_is_out_and_stays_out() {
    let mut scene = Scene::new().await;
    let org = NodeKey::from_seed(&[98; 32]);
    let version = |version, revoked: Vec<u16>| {
        let members = [(id(LIAR), Role::Blamer), (id(HONEST[0]), Role::Blamer)].into();
        Roster {
            org: org.id(),
            version,
            not_before: support::START.minus(support::DAY),
            not_after: support::START.plus(support::DAY),
            members,
            revoked: revoked.into_iter().map(id).collect(),
        }
        .sign(&org)
    };
    let mut everybody = members(&[]);
    everybody.remove(id(LIAR));
    everybody.trust_org(org.id(), Org { name: None, base: 0.6, cap: None, max_role: Role::Blamer });
    everybody.add_roster(&version(1, Vec::new()), scene.now()).expect("signed");
    scene.victim.set_members(everybody).await;
    let mut liar = Liar::neighbour(LIAR, &scene.victim.address).await;
    liar.say(Kind::Report, forge(LIAR, LIAR, 1, scene.now(), &Message::Report(report(accused(4))))).await;
    scene.victim.until("its word", |seen| (seen.of(id(LIAR)) == 1).then_some(())).await;

    scene.honest[0].publish(Message::Roster(version(2, vec![LIAR]))).await;
    liar.hung_up().await;
    // Another of the gang, a member still, brings the old roster and the words of the revoked.
    let mut second = Liar::neighbour(GANG.start, &scene.victim.address).await;
    let old = Message::Roster(version(1, Vec::new()));
    second.say(Kind::Roster, forge(GANG.start, GANG.start, 1, scene.now(), &old)).await;
    second.say(Kind::Report, forge(LIAR, LIAR, 2, scene.now(), &Message::Report(report(accused(5))))).await;
    let stranger = |status: &slips_p2p::node::Status| {
        status.refused.iter().any(|(why, n)| *why == slips_p2p::gate::Why::Stranger && *n >= 1)
    };
    scene.victim.until_status("the word of a stranger", stranger).await;
    assert_eq!(scene.victim.look(|seen| seen.of(id(LIAR))), 1);
    scene.nothing_came_of_it().await;
}

/// Words that a page of a snapshot brings weigh what they weigh by gossip; before the clock is set nothing is believed.
#[tokio::test]
async fn a_clock_that_is_not_set_believes_nobody() {
    let clock: slips_p2p::node::ReadClock =
        std::sync::Arc::new(|| slips_p2p::moment::Clock { now: support::START, synced: false });
    let mut early = options(VICTIM, support::limits(), &clock);
    early.members = members(&[]);
    let victim = Router::start(early).await;
    let mut liar = Liar::neighbour(LIAR, &victim.address).await;
    let lie = Message::Report(Report { last: Moment(9), ..report(accused(4)) });
    for seq in 1..=9 {
        let issued = support::START.plus(Duration::from_secs(seq));
        liar.say(Kind::Report, forge(LIAR, LIAR, seq, issued, &lie)).await;
    }
    let all = |status: &slips_p2p::node::Status| {
        status.refused.iter().any(|(why, n)| *why == slips_p2p::gate::Why::Clock && *n == 9)
    };
    victim.until_status("nine of them", all).await;
    assert_eq!(victim.look(|seen| seen.messages), 0);
}
