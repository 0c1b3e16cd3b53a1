//! Lies by gossip: broken, stale, repeated and too many messages, and control frames of every size.

use slips_p2p::gate::Why;
use slips_p2p::identity::NetId;
use slips_p2p::message::{Announce, Kind, Message, Reason, Retract};
use slips_p2p::moment::Moment;
use slips_p2p::node::Status;
use std::time::Duration;

use super::liar::{
    Control, Ids, Liar, Prune, Rpc, Subscription, Want, control_topic, forge, forge_in, report_topic,
};
use super::support::{self, Router, accused, id, options, report};
use super::{HONEST, LIAR, Scene, VICTIM, friend, members};

fn refused(status: &Status, why: Why) -> u64 {
    status.refused.iter().find(|(known, _)| *known == why).map_or(0, |(_, n)| *n)
}

fn lie(n: usize) -> Message {
    Message::Report(report(accused(n)))
}

/// Two messages of each broken kind are one too many, whatever is broken, on one topic or on both.
#[tokio::test]
async fn who_sends_two_broken_messages_is_cut_off() {
    let mut scene = Scene::new().await;
    let now = scene.now();
    let good = |seq| forge(LIAR, LIAR, seq, now, &lie(7));
    let flipped = |seq| {
        let mut bytes = good(seq);
        bytes[20] ^= 1;
        bytes
    };
    let large = |seq| {
        let mut large = Announce { addresses: Vec::new(), versions: vec![1], reports: 1 };
        large.addresses = vec![format!("/{}", "a".repeat(126)); 4];
        [forge(LIAR, LIAR, seq, now, &Message::Announce(large)), vec![0; 3000]].concat()
    };
    let control = |seq| {
        let retract = Retract { indicator: Some(accused(7)), reason: Reason::Over };
        forge(LIAR, LIAR, seq, now, &Message::Retract(retract))
    };
    let wrong_net = |seq| forge_in(NetId([1; 8]), LIAR, LIAR, seq, now, &lie(7));
    type Make<'a> = (&'a str, Box<dyn Fn(u64) -> Vec<u8> + 'a>, [String; 2]);
    let both = || [report_topic(), control_topic()];
    let reports = || [report_topic(), report_topic()];
    let attacks: Vec<Make<'_>> = vec![
        ("garbage", Box::new(|seq| vec![seq as u8; 100]), both()),
        ("a flipped bit", Box::new(flipped), both()),
        ("another's name", Box::new(|seq| forge(HONEST[0], LIAR, 1000 + seq, now, &lie(7))), reports()),
        ("another network", Box::new(wrong_net), reports()),
        ("more than its kind may have", Box::new(large), reports()),
        ("more than its topic may have", Box::new(|seq| [good(seq), vec![0; 5000]].concat()), reports()),
        ("a second form", Box::new(|seq| [good(seq), vec![15 << 3, 1]].concat()), both()),
        ("the wrong topic", Box::new(control), reports()),
    ];
    for (nth, (what, make, topics)) in attacks.iter().enumerate() {
        let n = if nth == 0 { LIAR } else { super::GANG.start + nth as u16 - 1 };
        let mut liar = Liar::neighbour(n, &scene.victim.address).await;
        let before = refused(&scene.victim.status().await, Why::Broken);
        let mut seq = 0;
        for topic in topics.iter().cycle() {
            seq += 1;
            if !liar.say_on(topic.clone(), vec![make(seq)]).await || !liar.is_connected() || seq > 200 {
                break;
            }
            tokio::task::yield_now().await;
        }
        let looked_at = refused(&scene.victim.status().await, Why::Broken) - before;
        assert!(looked_at <= 3, "{what}: {looked_at}");
        if *what == "more than its topic may have" {
            // Gossip itself refuses these, and its score keeps the rest out.
            assert_eq!(scene.victim.look(|seen| seen.of(id(LIAR))), 0);
            continue;
        }
        scene.liar_is_shunned(&mut liar).await;
        assert_eq!(scene.victim.look(|seen| seen.of(id(n))), 0, "{what}");
    }
    scene.nothing_came_of_it().await;
}

/// A retraction under the topic of reports would use up its number, if it were noted: then the true one came to nothing.
#[tokio::test]
async fn the_wrong_topic_does_not_use_up_a_message_of_another() {
    let mut scene = Scene::new().await;
    let mut liar = Liar::neighbour(LIAR, &scene.victim.address).await;
    let retract = Message::Retract(Retract { indicator: Some(accused(9)), reason: Reason::FalsePositive });
    let stolen = forge(super::GANG.start, super::GANG.start, 1, scene.now(), &retract);
    liar.say_on(report_topic(), vec![stolen.clone()]).await;
    let taken = |status: &Status| {
        status.accepted.iter().find(|(kind, _)| *kind == Kind::Retract).map_or(0, |(_, n)| *n)
    };
    let mut honest = Liar::neighbour(super::GANG.start, &scene.victim.address).await;
    honest.say(Kind::Retract, stolen).await;
    scene.victim.until_status("the true one", |status| taken(status) == 1).await;
    scene.nothing_came_of_it().await;
}

#[tokio::test]
async fn a_frame_beyond_all_limits_ends_its_stream_only() {
    let mut scene = Scene::new().await;
    let mut liar = Liar::neighbour(LIAR, &scene.victim.address).await;
    for size in [65_537, 1 << 20, 8 << 20] {
        liar.send_frame(&vec![1; size]).await;
    }
    // A length that nobody could mean, and nothing behind it.
    liar.send_frame(&[]).await;
    scene.nothing_came_of_it().await;
}

#[tokio::test]
async fn replays_are_taken_once_also_after_a_restart() {
    let mut scene = Scene::new().await;
    let mut liar = Liar::neighbour(LIAR, &scene.victim.address).await;
    let good = forge(LIAR, LIAR, 5, scene.now(), &lie(7));
    liar.say(Kind::Report, good.clone()).await;
    scene.victim.until("the first", |seen| (seen.of(id(LIAR)) == 1).then_some(())).await;
    let messages = scene.victim.look(|seen| seen.messages);
    for _ in 0..50 {
        liar.say(Kind::Report, good.clone()).await;
    }
    // The same number with another body: gossip cannot know it, the window does.
    liar.say(Kind::Report, forge(LIAR, LIAR, 5, scene.now(), &lie(8))).await;
    scene.victim.until_status("a replay", |status| refused(status, Why::Replayed) >= 1).await;
    assert_eq!(scene.victim.look(|seen| seen.messages), messages);
    scene.nothing_came_of_it().await;

    let status = scene.victim.stop().await;
    let mut again = options(VICTIM, support::limits(), &scene.clock);
    (again.members, again.replay, again.last_seq) = (members(&[]), status.replay, status.last_seq);
    let victim = Router::start(again).await;
    let mut liar = Liar::neighbour(LIAR, &victim.address).await;
    liar.say(Kind::Report, good).await;
    victim.until_status("a replay", |status| refused(status, Why::Replayed) >= 1).await;
    assert_eq!(victim.look(|seen| seen.of(id(LIAR))), 0);
}

#[tokio::test]
async fn lies_about_the_time_are_ignored() {
    let mut scene = Scene::new().await;
    let mut liar = Liar::neighbour(LIAR, &scene.victim.address).await;
    let (now, minute) = (scene.now(), Duration::from_secs(60));
    let times =
        [now.plus(minute * 9), now.minus(minute * 9), Moment(0), Moment(u64::MAX), Moment(u64::MAX / 2)];
    for (seq, issued) in times.iter().enumerate() {
        liar.say(Kind::Report, forge(LIAR, LIAR, seq as u64 + 1, *issued, &lie(seq))).await;
    }
    scene.victim.until_status("all", |status| refused(status, Why::Stale) == times.len() as u64).await;
    assert_eq!(scene.victim.look(|seen| seen.of(id(LIAR))), 0);
    scene.nothing_came_of_it().await;
}

/// Numbers and epochs that jump to their end harm their author only.
#[tokio::test]
async fn jumps_of_numbers_harm_their_author_only() {
    let mut scene = Scene::new().await;
    let mut liar = Liar::neighbour(LIAR, &scene.victim.address).await;
    for seq in [u64::MAX, 1, u64::MAX - 1, u64::MAX - 5000] {
        liar.say(Kind::Report, forge(LIAR, LIAR, seq, scene.now(), &lie(seq as usize % 1000))).await;
    }
    scene.victim.until_status("the jump", |status| refused(status, Why::Replayed) >= 2).await;
    assert_eq!(scene.victim.look(|seen| seen.of(id(LIAR))), 2);
    scene.nothing_came_of_it().await;
}

/// Thousands of good messages about ever new addresses: as many as its quota are heard, and when patience ends it is cut off.
#[tokio::test]
async fn a_flood_is_cut_to_the_quota_and_then_off() {
    let limits = support::limits();
    let patience = slips_p2p::bucket::Rate::per_second(500, 10);
    let mut scene = Scene::with(slips_p2p::node::Limits { patience, ..limits }).await;
    let mut liar = Liar::neighbour(LIAR, &scene.victim.address).await;
    let now = scene.now();
    for burst in 0..40u64 {
        let batch = (1..=100).map(|n| burst * 100 + n);
        let batch = batch.map(|seq| forge(LIAR, LIAR, seq, now, &lie(seq as usize))).collect();
        if !liar.say_on(report_topic(), batch).await {
            break;
        }
    }
    scene.liar_is_shunned(&mut liar).await;
    let heard = scene.victim.look(|seen| seen.of(id(LIAR)));
    assert!((30..=31).contains(&heard), "{heard}");
    scene.nothing_came_of_it().await;
}

/// Subscriptions, IHAVE, IWANT, GRAFT, PRUNE, IDONTWANT: as many and as odd as a frame holds.
#[tokio::test]
async fn floods_of_control_frames_change_nothing() {
    let mut scene = Scene::new().await;
    let mut liar = Liar::neighbour(LIAR, &scene.victim.address).await;
    let ids =
        |n: u64| (0..600u64).map(|k| [n.to_be_bytes(), k.to_be_bytes(), [0; 8]].concat()).collect::<Vec<_>>();
    let topic = |n: u64| Some(if n.is_multiple_of(2) { report_topic() } else { format!("/other/{n}") });
    for n in 0..60u64 {
        let subscriptions = (0..200u64)
            .map(|k| Subscription {
                subscribe: Some(k.is_multiple_of(2)),
                topic: Some(format!("/t/{n}/{k}")),
            })
            .collect();
        let prune = |backoff| Prune { topic: topic(n), backoff: Some(backoff) };
        let control = Control {
            have: vec![Ids { topic: topic(n), ids: ids(n) }],
            want: vec![Want { ids: ids(n + 1000) }],
            graft: (0..20).map(|k| Ids { topic: topic(n + k), ids: Vec::new() }).collect(),
            prune: vec![prune(u64::MAX), prune(0), prune(1 << 40)],
            dont_want: vec![Want { ids: ids(n + 2000) }],
        };
        liar.send(&Rpc { subscriptions, ..Default::default() }).await;
        liar.send(&Rpc { control: Some(control), ..Default::default() }).await;
    }
    // The next heartbeats of gossip, at which backoffs are looked at, too.
    scene.nothing_came_of_it().await;
    let newcomer = friend(super::GANG.end - 1, &scene.victim, &scene.clock).await;
    newcomer.until("what holds", |seen| (seen.heard.len() >= 6).then_some(())).await;
}
