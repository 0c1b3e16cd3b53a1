//! Lies over streams: slow ones, endless ones, pages that go in circles, answers that nobody asked for, guessed invites.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use futures::{AsyncReadExt, AsyncWriteExt};
use prost::Message as _;
use slips_p2p::bucket::{Quotas, Rate};
use slips_p2p::exchange::{Request, Response, Sight};
use slips_p2p::message::{Message, Percent};
use slips_p2p::node::{Command, Limits};
use tokio::sync::oneshot;

use super::liar::{Liar, ask_protocol, forge};
use super::support::{self, START, accused, id, report};
use super::{LIAR, Scene};

/// Streams that are opened and never finished, at every stage: more than a connection may have ends the connection.
#[tokio::test]
async fn slow_streams_hold_up_nobody() {
    let mut scene = Scene::new().await;
    let mut liars = Vec::new();
    for n in [LIAR, super::GANG.start] {
        let liar = Liar::neighbour(n, &scene.victim.address).await;
        let mut held = Vec::new();
        for _ in 0..20 {
            if let Some(mut stream) = liar.stream(&ask_protocol()).await {
                // The beginning of a request, and never its end.
                let _ = stream.write_all(&[10, 200]).await;
                let _ = stream.flush().await;
                held.push(stream);
            }
        }
        let mut raw = Vec::new();
        for _ in 0..100 {
            match liar.raw_stream().await {
                Some(stream) => raw.push(stream),
                None => break,
            }
        }
        liars.push((liar, held, raw));
    }
    scene.nothing_came_of_it().await;
}

/// Neighbours who never read what they subscribed to: what waits for them is bounded, and nobody else waits.
#[tokio::test]
async fn who_never_reads_holds_up_nobody() {
    let mut scene = Scene::with(support::open_limits()).await;
    let mut deaf = Vec::new();
    for n in [LIAR, super::GANG.start, super::GANG.start + 1] {
        deaf.push(Liar::deaf(n, &scene.victim.address).await);
    }
    for n in 0..3000 {
        scene.victim.publish(Message::Report(report(accused(n)))).await;
    }
    for router in &scene.honest {
        let all = |seen: &support::Seen| (seen.of(scene.victim.id) == 3000).then_some(());
        router.until("all that the victim says", all).await;
    }
    scene.nothing_came_of_it().await;
}

/// Bytes that are no request, and requests larger than any: two of them are enough.
#[tokio::test]
async fn who_asks_nonsense_twice_is_cut_off() {
    for bytes in [vec![0xff; 50], vec![10; 20_000]] {
        let mut scene = Scene::new().await;
        let mut liar = Liar::neighbour(LIAR, &scene.victim.address).await;
        for _ in 0..2 {
            liar.request(&bytes).await;
        }
        scene.liar_is_shunned(&mut liar).await;
        scene.nothing_came_of_it().await;
    }
}

/// Questions without end are answered as often as the limit says.
#[tokio::test]
async fn questions_without_end_are_answered_as_often_as_may_be() {
    let mut limits = support::limits();
    limits.questions = Rate::per_minute(20, 1);
    limits.patience = Rate::per_second(50, 1);
    let mut scene = Scene::with(limits).await;
    let mut liar = Liar::neighbour(LIAR, &scene.victim.address).await;
    let mut answered = 0;
    for _ in 0..200 {
        let request = Request::Missing { have: Vec::new(), after: None };
        answered += usize::from(liar.ask(&request).await.is_some());
        if !liar.is_connected() {
            break;
        }
    }
    assert!((1..=25).contains(&answered), "{answered}");
    scene.liar_is_shunned(&mut liar).await;
    scene.nothing_came_of_it().await;
}

fn page(envelopes: Vec<Vec<u8>>, next: u64) -> Vec<u8> {
    Response::Page { envelopes, next: Some((id(LIAR), 1, next)) }.encode()
}

/// Pages that always promise one more, each with something new: no more of an author is taken than may hold.
#[tokio::test]
async fn snapshots_without_end_bring_no_more_than_may_hold() {
    let mut limits = support::limits();
    limits.quotas = Quotas { late: Rate::per_minute(100, 1), ..limits.quotas };
    let mut scene = Scene::with(limits).await;
    let (seq, now) = (Arc::new(AtomicU64::new(1)), scene.now());
    let pages = Arc::new(AtomicUsize::new(0));
    let (next, asked) = (seq.clone(), pages.clone());
    let serve = move |request| {
        let Request::Missing { .. } = request else { return None };
        asked.fetch_add(1, Ordering::Relaxed);
        let from = next.fetch_add(20, Ordering::Relaxed);
        let lie = |seq| forge(LIAR, LIAR, seq, now, &Message::Report(report(accused(seq as usize))));
        Some(page((from..from + 20).map(lie).collect(), from + 20))
    };
    let mut liar = Liar::meet(LIAR, &scene.victim.address, Arc::new(serve)).await;
    liar.subscribe().await;
    scene.victim.until("many pages", |_| (pages.load(Ordering::Relaxed) >= 8).then_some(())).await;
    scene.nothing_came_of_it().await;
    let heard = scene.victim.look(|seen| seen.of(id(LIAR)));
    assert!((100..=101).contains(&heard), "{heard}");
}

/// A page that leads back to itself is the last one, also when it holds what is new.
#[tokio::test]
async fn pages_that_go_in_circles_are_the_last() {
    let mut scene = Scene::new().await;
    let (seq, pages) = (AtomicU64::new(1), Arc::new(AtomicUsize::new(0)));
    let (asked, now) = (pages.clone(), scene.now());
    let serve = move |request| {
        let Request::Missing { after, .. } = request else { return None };
        if after.is_some() {
            asked.fetch_add(1, Ordering::Relaxed);
        }
        let seq = seq.fetch_add(1, Ordering::Relaxed);
        Some(page(vec![forge(LIAR, LIAR, seq, now, &Message::Report(report(accused(1))))], 5))
    };
    let mut liar = Liar::meet(LIAR, &scene.victim.address, Arc::new(serve)).await;
    liar.subscribe().await;
    scene.victim.until("three rounds", |seen| (seen.messages >= 3 + 4).then_some(())).await;
    scene.nothing_came_of_it().await;
    let (followed, rounds) = (pages.load(Ordering::Relaxed), scene.victim.look(|seen| seen.messages));
    assert!(followed <= rounds, "each round ends at its second page: {followed} of {rounds}");
}

/// Pages of forgeries, pages larger than any page, answers that are none.
#[tokio::test]
async fn who_serves_broken_pages_is_cut_off() {
    let forgeries = |_: u64| {
        page(
            (1..=50)
                .map(|seq| forge(super::HONEST[0], LIAR, seq, START, &Message::Report(report(accused(1)))))
                .collect(),
            1,
        )
    };
    let huge = |_: u64| vec![10; 400_000];
    let nonsense = |n: u64| vec![0xff; 100 + n as usize];
    let attacks: [Arc<dyn Fn(u64) -> Vec<u8> + Send + Sync>; 3] =
        [Arc::new(forgeries), Arc::new(huge), Arc::new(nonsense)];
    for attack in attacks {
        let mut scene = Scene::new().await;
        let served = AtomicU64::new(0);
        let serve = move |_| Some(attack(served.fetch_add(1, Ordering::Relaxed)));
        let mut liar = Liar::meet(LIAR, &scene.victim.address, Arc::new(serve)).await;
        liar.subscribe().await;
        scene.liar_is_shunned(&mut liar).await;
        assert_eq!(scene.victim.look(|seen| seen.of(id(super::HONEST[0]))), 1, "what it said itself");
        scene.nothing_came_of_it().await;
    }
}

/// An answer holds what was asked for, or nothing; to another question it is none.
#[tokio::test]
async fn answers_that_nobody_asked_for_are_none() {
    let mut scene = Scene::new().await;
    let sight =
        |n| Sight { indicator: accused(n), score: Percent::FULL, confidence: Percent::FULL, last: START };
    let serve = move |_| Some(Response::Seen((0..20).map(sight).collect()).encode());
    let mut liar = Liar::meet(LIAR, &scene.victim.address, Arc::new(serve)).await;
    liar.subscribe().await;
    scene.victim.tell(Command::Ask(vec![accused(7)])).await;
    let from_liar = |seen: &support::Seen| seen.answers.iter().find(|(from, _)| *from == id(LIAR)).cloned();
    let (_, seen) = scene.victim.until("its answer", from_liar).await;
    assert_eq!(seen, [sight(7)]);
    let others = scene.victim.look(|seen| seen.answers.iter().filter(|(from, _)| *from == id(LIAR)).count());
    assert_eq!(others, 1, "its answers to questions for pages are none");
    scene.nothing_came_of_it().await;
}

/// Identify as far as it could tell where a router listens.
#[derive(Clone, PartialEq, prost::Message)]
struct Identify {
    #[prost(bytes = "vec", repeated, tag = "2")]
    listens: Vec<Vec<u8>>,
    #[prost(string, repeated, tag = "3")]
    protocols: Vec<String>,
    #[prost(string, optional, tag = "6")]
    agent: Option<String>,
    #[prost(bytes = "vec", optional, tag = "8")]
    record: Option<Vec<u8>>,
}

/// A router tells its protocols and no address, version or name.
#[tokio::test]
async fn a_router_tells_nobody_where_it_listens() {
    let scene = Scene::new().await;
    let liar = Liar::neighbour(LIAR, &scene.victim.address).await;
    let mut stream = liar.stream("/ipfs/id/1.0.0").await.expect("a stream");
    let mut bytes = Vec::new();
    support::within("what it tells", stream.read_to_end(&mut bytes)).await.expect("all of it");
    let told = Identify::decode_length_delimited(bytes.as_slice()).expect("a message");
    assert!(told.protocols.contains(&ask_protocol()), "{told:?}");
    assert_eq!((told.listens, told.record, told.agent.as_deref()), (Vec::new(), None, Some("slips")));
}

/// An open invite lets few strangers knock, none of them gossips, and no guess is right.
#[tokio::test]
async fn invites_are_not_guessed() {
    let limits = Limits { many_per_address: true, ..support::limits() };
    let mut scene = Scene::with(limits).await;
    let (reply, invite) = oneshot::channel();
    let life = Duration::from_secs(3600);
    scene.victim.tell(Command::Invite { token: [9; 16], life, addresses: Vec::new(), reply }).await;
    let invite = invite.await.expect("an answer").expect("an invite");
    let mut strangers = Vec::new();
    for n in 1000..1012u16 {
        let mut liar = Liar::meet(n, &scene.victim.address, Arc::new(|_| None)).await;
        liar.subscribe().await;
        for guess in 0..20u8 {
            let join = Request::Join { token: [guess.wrapping_add(n as u8) | 128; 16], name: None };
            if let Some(answer) = liar.ask(&join).await {
                assert_eq!(answer, Response::Join { admitted: false, name: None });
            }
        }
        // Nor is it answered anything else, nor heard.
        assert_eq!(liar.ask(&Request::Missing { have: Vec::new(), after: None }).await, None);
        strangers.push(liar);
    }
    assert!(strangers.iter().filter(|liar| liar.is_connected()).count() <= 4);
    assert!(scene.victim.look(|seen| seen.joined.is_empty()));
    drop(strangers);
    scene.nothing_came_of_it().await;
    // The right one is good still, once.
    let join = Request::Join { token: invite.token, name: None };
    let guest = Liar::meet(2000, &scene.victim.address, Arc::new(|_| None)).await;
    scene.victim.until_status("room", |_| guest.is_connected()).await;
    if let Some(answer) = guest.ask(&join).await {
        assert!(matches!(answer, Response::Join { admitted: true, .. }), "{answer:?}");
    }
}
