//! Real nodes on loopback. Deadlines are generous and only end a test that hangs.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::StreamExt;
use libp2p_gossipsub::{self as gossipsub, MessageAcceptance};
use libp2p_swarm::SwarmEvent;

use super::behaviour::BehaviourEvent;
use super::*;
use crate::envelope::{Head, seal};
use crate::gate::Why;
use crate::identity::NetId;
use crate::members::Peer;
use crate::message::Percent;
use crate::message::tests::report;
use crate::message::{Message, Reason, Report, Retract};
use crate::moment::Moment;
use crate::privacy::Privacy;
use crate::roster::Role;

const PSK: [u8; 32] = [7; 32];
const START: Moment = Moment(1_793_600_000_000);
const DAY: Duration = Duration::from_secs(86_400);

/// Wall time that can be moved by the test; it starts at [`START`] and goes on by itself.
#[derive(Clone)]
struct TestClock {
    began: tokio::time::Instant,
    ahead: Arc<AtomicU64>,
}

impl TestClock {
    fn new() -> Self {
        Self { began: tokio::time::Instant::now(), ahead: Arc::default() }
    }

    fn now(&self) -> Moment {
        START.plus(self.began.elapsed()).plus(Duration::from_millis(self.ahead.load(Ordering::Relaxed)))
    }

    fn read(&self) -> ReadClock {
        let clock = self.clone();
        Arc::new(move || Clock { now: clock.now(), synced: true })
    }
}

fn key(n: u16) -> NodeKey {
    let mut seed = [3; 32];
    seed[..2].copy_from_slice(&n.to_be_bytes());
    NodeKey::from_seed(&seed)
}

fn limits() -> Limits {
    let open = Rate::per_second(100_000, 100_000);
    Limits {
        quotas: Quotas {
            reports: open,
            blocks: open,
            retractions: open,
            control: open,
            late: open,
            orders: open,
        },
        neighbour: open,
        publish: open,
        publish_queue: 4096,
        resync: Duration::from_secs(1),
        questions: open,
        redial: Duration::from_millis(200),
        memory: usize::MAX,
        many_per_address: true,
        ..Limits::default()
    }
}

fn options(n: u16, clock: &TestClock) -> Options {
    Options {
        key: key(n),
        psk: PSK,
        epoch: 1,
        last_seq: 0,
        name: Name::new(&format!("node-{n}")).expect("name"),
        listen: vec!["/ip4/127.0.0.1/tcp/0".parse().expect("address")],
        members: Members::default(),
        invites: Open::default(),
        replay: Vec::new(),
        limits: limits(),
        clock: clock.read(),
    }
}

/// A running node as the daemon sees it.
struct Running {
    id: NodeId,
    address: String,
    channels: Channels,
    heard: Vec<Report>,
}

fn member(addresses: &[&str]) -> Peer {
    Peer {
        addresses: addresses.iter().map(|address| (*address).to_owned()).collect(),
        role: Some(Role::Blamer),
        base: Peer::CONFIRMED,
        confirmed: true,
        ..Peer::invited(None)
    }
}

/// Members of whom those with an address are dialled.
fn members(list: &[(NodeId, Option<&str>)]) -> Box<Members> {
    let mut members = Members::default();
    for (id, address) in list {
        members.add(*id, member(address.as_slice())).expect("room");
    }
    Box::new(members)
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(120), future).await {
        Ok(done) => done,
        Err(_) => panic!("{what}: not within two minutes"),
    }
}

impl Running {
    async fn start(options: Options) -> Self {
        let id = options.key.id();
        let (node, channels) = Node::start(options).expect("a node");
        tokio::spawn(node.run());
        Self::listening(id, channels).await
    }

    async fn listening(id: NodeId, channels: Channels) -> Self {
        let mut running = Self { id, address: String::new(), channels, heard: Vec::new() };
        let Told::Listening(address) = running.next(|told| matches!(told, Told::Listening(_))).await else {
            panic!("an address");
        };
        running.address = address.to_string();
        running
    }

    /// The next of the wanted kind; reports that come by are kept.
    async fn next(&mut self, wanted: impl Fn(&Told) -> bool) -> Told {
        within("news", async {
            loop {
                let told = self.channels.told.recv().await.expect("a living node");
                if let Told::Heard(accepted) = &told
                    && let Message::Report(report) = &accepted.opened.message
                {
                    self.heard.push(report.clone());
                }
                if wanted(&told) {
                    return told;
                }
            }
        })
        .await
    }

    async fn hears(&mut self, count: usize) {
        while self.heard.len() < count {
            self.next(|told| matches!(told, Told::Heard(_))).await;
        }
    }

    async fn connected(&mut self, id: NodeId) {
        self.next(|told| matches!(told, Told::Connected(who) if *who == id)).await;
    }

    async fn tell(&self, command: Command) {
        self.channels.commands.send(command).await.expect("a living node");
    }

    async fn publish(&self, message: Message) {
        let message = Privacy::default().clear(message).expect("may leave");
        self.tell(Command::Publish { message, ttl: DAY }).await;
    }

    async fn status(&self) -> Status {
        let (reply, status) = oneshot::channel();
        self.tell(Command::Status(reply)).await;
        within("status", status).await.expect("a living node")
    }

    /// Waits until the status is as wanted. Each question makes one turn of the node's loop.
    async fn until(&self, what: &str, wanted: impl Fn(&Status) -> bool) -> Status {
        within(what, async {
            loop {
                let status = self.status().await;
                if wanted(&status) {
                    return status;
                }
                tokio::task::yield_now().await;
            }
        })
        .await
    }
}

fn accuse(n: usize) -> Message {
    Message::Report(report(&format!("198.{}.{}.{}", 60 + n / 65_536, n / 256 % 256, n % 256)))
}

/// Three nodes in a row: the first and the last know only the one between them.
async fn row(clock: &TestClock) -> [Running; 3] {
    let mut a = Running::start(options(1, clock)).await;
    let b = Running::start(options(2, clock)).await;
    let mut c = Running::start(options(3, clock)).await;
    // The authors are members everywhere; connections are made along the row only.
    b.tell(Command::Members(members(&[(a.id, None), (c.id, None)]))).await;
    b.status().await;
    a.tell(Command::Members(members(&[(b.id, Some(&b.address)), (c.id, None)]))).await;
    c.tell(Command::Members(members(&[(b.id, Some(&b.address)), (a.id, None)]))).await;
    a.connected(b.id).await;
    c.connected(b.id).await;
    b.until("both ends", |status| status.connected.len() == 2).await;
    [a, b, c]
}

fn accepted(status: &Status) -> u64 {
    status.accepted.iter().map(|(_, n)| n).sum()
}

fn refused(status: &Status, why: Why) -> u64 {
    status.refused.iter().find(|(known, _)| *known == why).map_or(0, |(_, n)| *n)
}

#[tokio::test]
async fn what_one_says_all_hear_once() {
    let clock = TestClock::new();
    let [a, mut b, mut c] = row(&clock).await;
    for n in 0..20 {
        a.publish(accuse(n)).await;
    }
    b.hears(20).await;
    c.hears(20).await;
    let of =
        |running: &Running| running.heard.iter().map(|r| r.indicator.clone()).collect::<BTreeSet<_>>().len();
    assert_eq!((of(&b), of(&c)), (20, 20));
    assert_eq!(accepted(&c.status().await), 20);
    assert_eq!(a.status().await.last_seq, 20);
}

/// libp2p-gossipsub 0.50.1 loses bursts when its frame limit is small; at ours it must not.
#[tokio::test]
async fn a_burst_of_two_thousand_arrives_whole() {
    let clock = TestClock::new();
    let [a, mut b, mut c] = row(&clock).await;
    for n in 0..2000 {
        a.publish(accuse(n)).await;
    }
    b.hears(2000).await;
    c.hears(2000).await;
    assert_eq!(accepted(&c.status().await), 2000);
}

#[tokio::test]
async fn who_comes_later_gets_what_holds_and_not_what_was_taken_back() {
    let clock = TestClock::new();
    let a = Running::start(options(1, &clock)).await;
    for n in 0..1500 {
        a.publish(accuse(n)).await;
    }
    let indicator = Some(report("198.60.0.7").indicator);
    a.publish(Message::Retract(Retract { indicator, reason: Reason::FalsePositive })).await;
    let mut late = Running::start(options(2, &clock)).await;
    a.tell(Command::Members(members(&[(late.id, None)]))).await;
    let status = a.status().await;
    assert_eq!((status.last_seq, status.archived), (1501, 1500));
    late.tell(Command::Members(members(&[(a.id, Some(&a.address))]))).await;
    late.hears(1499).await;
    let status = late.until("all pages", |status| accepted(status) == 1500).await;
    assert!(!late.heard.iter().any(|report| report.indicator.to_string() == "198.60.0.7"));
    assert_eq!(status.archived, 1500);
}

#[tokio::test]
async fn strangers_and_other_networks_get_no_connection() {
    let clock = TestClock::new();
    let a = Running::start(options(1, &clock)).await;
    let stranger = Running::start(options(2, &clock)).await;
    let mut foreign = options(3, &clock);
    foreign.psk = [8; 32];
    let foreign = Running::start(foreign).await;
    let mut friend = Running::start(options(4, &clock)).await;
    a.tell(Command::Members(members(&[(foreign.id, None), (friend.id, None)]))).await;
    for other in [&stranger, &foreign, &friend] {
        other.tell(Command::Members(members(&[(a.id, Some(&a.address))]))).await;
    }
    friend.connected(a.id).await;
    // They were all dialling at the same time.
    let status = a.until("a friend", |status| !status.connected.is_empty()).await;
    assert_eq!(status.connected, [friend.id]);
}

#[tokio::test]
async fn an_invite_lets_one_router_in_once() {
    let clock = TestClock::new();
    let mut a = Running::start(options(1, &clock)).await;
    let mut b = Running::start(options(2, &clock)).await;
    let c = Running::start(options(3, &clock)).await;
    let (reply, invite) = oneshot::channel();
    let addresses = vec![a.address.clone()];
    a.tell(Command::Invite { token: [9; 16], life: DAY, addresses, reply }).await;
    let invite = invite.await.expect("an answer").expect("an invite");
    let line: Invite = invite.to_string().parse().expect("the line is read again");
    b.tell(Command::Join(line.clone())).await;
    let admitted = b.next(|told| matches!(told, Told::Admitted { .. } | Told::Refused { .. })).await;
    assert!(matches!(admitted, Told::Admitted { by, .. } if by == a.id), "{admitted:?}");
    let joined = a.next(|told| matches!(told, Told::Joined { .. })).await;
    assert!(matches!(joined, Told::Joined { id, name: Some(_), .. } if id == b.id), "{joined:?}");
    // Let in is let in: what it says is heard.
    b.publish(accuse(1)).await;
    a.hears(1).await;
    // The line is used up: the next one stays outside.
    c.tell(Command::Join(line)).await;
    a.status().await;
    assert_eq!(a.status().await.connected, [b.id]);
}

#[tokio::test]
async fn an_invite_opened_by_its_hash_is_told_when_used() {
    let clock = TestClock::new();
    let mut a = Running::start(options(1, &clock)).await;
    let mut b = Running::start(options(2, &clock)).await;
    let token = [7; 16];
    let mut open = Open::default();
    let until = open.open(&token, DAY, START).expect("room");
    let hash = crate::invite::hash(&token);
    let line = Invite { psk: PSK, inviter: a.id, token, until, addresses: vec![a.address.clone()] };
    // Open in the state, then in the node.
    a.tell(Command::Invites(Open::restore(open.persist()))).await;
    b.tell(Command::Join(line.clone())).await;
    let joined = a.next(|told| matches!(told, Told::Joined { .. })).await;
    assert!(matches!(joined, Told::Joined { id, invite, .. } if id == b.id && invite == hash), "{joined:?}");
    // It was connected as a stranger; now that it is none, that is told.
    let connected = a.next(|told| matches!(told, Told::Connected(_))).await;
    assert!(matches!(connected, Told::Connected(id) if id == b.id), "{connected:?}");
    b.next(|told| matches!(told, Told::Admitted { .. })).await;
    // Asked again, as when the answer was lost: it is in already, and nothing is used up.
    b.tell(Command::Join(line)).await;
    let again = b.next(|told| matches!(told, Told::Admitted { .. } | Told::Refused { .. })).await;
    assert!(matches!(again, Told::Admitted { by, .. } if by == a.id), "{again:?}");
}

#[tokio::test]
async fn a_question_is_answered_by_who_saw_something() {
    let clock = TestClock::new();
    let [mut a, mut b, _c] = row(&clock).await;
    let indicator = report("198.51.100.7").indicator;
    a.tell(Command::Ask(vec![indicator.clone()])).await;
    let Told::Asked { from, indicators, ticket } = b.next(|told| matches!(told, Told::Asked { .. })).await
    else {
        panic!("a question");
    };
    assert_eq!((from, indicators), (a.id, vec![indicator.clone()]));
    let sight = Sight { indicator, score: Percent::FULL, confidence: Percent::of(0.5), last: START };
    b.tell(Command::Answer { ticket, seen: vec![sight.clone()] }).await;
    let Told::Answered { from, seen } = a.next(|told| matches!(told, Told::Answered { .. })).await else {
        panic!("an answer");
    };
    assert_eq!((from, seen), (b.id, vec![sight]));
}

#[tokio::test]
async fn a_restarted_node_goes_on_where_it_was() {
    let clock = TestClock::new();
    let mut b = Running::start(options(2, &clock)).await;
    let a = Running::start(options(1, &clock)).await;
    b.tell(Command::Members(members(&[(a.id, None)]))).await;
    b.status().await;
    a.tell(Command::Members(members(&[(b.id, Some(&b.address))]))).await;
    a.publish(accuse(1)).await;
    b.hears(1).await;
    let (last_seq, replay) = (a.status().await.last_seq, b.status().await.replay);
    drop((a, b));
    let mut restarted = options(2, &clock);
    restarted.replay = replay;
    let mut b = Running::start(restarted).await;
    let a = Running::start(Options { last_seq, ..options(1, &clock) }).await;
    b.tell(Command::Members(members(&[(a.id, None)]))).await;
    b.status().await;
    a.tell(Command::Members(members(&[(b.id, Some(&b.address))]))).await;
    a.publish(accuse(2)).await;
    b.hears(1).await;
    assert_eq!(
        b.heard[0],
        match accuse(2) {
            Message::Report(report) => report,
            _ => unreachable!(),
        }
    );
}

#[tokio::test]
async fn nothing_is_published_before_the_clock_is_right() {
    let clock = TestClock::new();
    let mut early = options(1, &clock);
    early.clock = Arc::new(|| Clock { now: Moment(5), synced: false });
    let a = Running::start(early).await;
    a.publish(accuse(1)).await;
    let status = a.status().await;
    assert_eq!((status.last_seq, status.publish_waiting), (0, 1));
}

/// A node whose neighbours get whatever bytes it is told to send.
struct Liar {
    id: NodeId,
    raw: mpsc::Sender<Vec<u8>>,
    /// The score that it would have to fear; kept alive with the node.
    _channels: Channels,
}

impl Liar {
    async fn start(n: u16, clock: &TestClock, victim: (NodeId, &str), mute: bool) -> Self {
        let mut options = options(n, clock);
        options.members = *members(&[(victim.0, Some(victim.1))]);
        let id = options.key.id();
        let (mut node, channels) = Node::start(options).expect("a node");
        let (raw, mut bytes) = mpsc::channel::<Vec<u8>>(64);
        node.dial(victim.0, START);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    event = node.swarm.select_next_some() => {
                        if let SwarmEvent::Behaviour(BehaviourEvent::Gossip(gossipsub::Event::Message {
                            propagation_source, message_id, ..
                        })) = event && mute {
                            let ignore = MessageAcceptance::Ignore;
                            node.gossip().report_message_validation_result(&message_id, &propagation_source, ignore);
                        }
                    }
                    Some(bytes) = bytes.recv() => {
                        let topic = node.topics.report.hash();
                        let _ = node.gossip().publish(topic, bytes);
                    }
                    else => return,
                }
            }
        });
        Self { id, raw, _channels: channels }
    }
}

#[tokio::test]
async fn a_hint_where_a_member_is_reached_is_followed_once_and_a_strangers_never() {
    let clock = TestClock::new();
    let mut b = Running::start(options(2, &clock)).await;
    b.tell(Command::Members(members(&[(key(1).id(), None)]))).await;
    b.status().await;
    let mut options = options(1, &clock);
    options.members = *members(&[(b.id, None), (key(3).id(), None)]);
    let (mut node, _channels) = Node::start(options).expect("a node");
    let pending = |node: &Node| node.swarm.network_info().connection_counters().num_pending_outgoing();
    let hint = |node: &mut Node, n: u16, address: &str| {
        let peer = run::peer_of(key(n).id()).expect("a key");
        node.on_hint(peer, address.parse().expect("an address"));
    };
    hint(&mut node, 9, &b.address);
    assert_eq!(pending(&node), 0, "a stranger");
    hint(&mut node, 3, &b.address);
    hint(&mut node, 3, "/ip4/127.0.0.1/tcp/9");
    assert_eq!(pending(&node), 1, "one hint in a while");
    hint(&mut node, 2, &b.address);
    assert_eq!(pending(&node), 2);
    tokio::spawn(node.run());
    // There is another than was hinted at: nobody is taken for whom he is not.
    b.connected(key(1).id()).await;
    assert_eq!(b.status().await.connected, [key(1).id()]);
}

fn sealed(author: u16, signer: u16, seq: u64, issued: Moment) -> Vec<u8> {
    let head = Head { net: NetId::of(&PSK), author: key(author).id(), epoch: 1, seq, issued, ttl: DAY };
    seal(&head, &accuse(seq as usize), &key(signer))
}

#[tokio::test]
async fn a_liar_is_cut_off_after_two_forgeries_and_reaches_nobody_behind() {
    let clock = TestClock::new();
    let mut b = Running::start(options(2, &clock)).await;
    let mut c = Running::start(options(3, &clock)).await;
    let liar = Liar::start(66, &clock, (b.id, &b.address), false).await;
    b.tell(Command::Members(members(&[(liar.id, None), (c.id, None), (key(1).id(), None)]))).await;
    b.status().await;
    c.tell(Command::Members(members(&[(b.id, Some(&b.address)), (liar.id, None), (key(1).id(), None)])))
        .await;
    c.connected(b.id).await;
    b.until("both", |status| status.connected.len() == 2).await;
    // Without its name on it: a good message first, so that the subscription is known to stand.
    within("a first message", async {
        for seq in 1.. {
            liar.raw.send(sealed(66, 66, seq, clock.now())).await.expect("a liar");
            if accepted(&b.status().await) > 0 {
                return;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    // In the name of another, who is a member: two are looked at, then its messages are not even that.
    for seq in 1..=50 {
        liar.raw.send(sealed(1, 66, seq, clock.now())).await.expect("a liar");
    }
    b.until("the forgeries", |status| refused(status, Why::Broken) >= 2).await;
    let before = accepted(&b.status().await);
    for seq in 5000..5050 {
        liar.raw.send(sealed(66, 66, seq, clock.now())).await.expect("a liar");
    }
    // What honest nodes say goes on as ever.
    let honest = c.status().await;
    c.publish(accuse(9999)).await;
    b.next(|told| matches!(told, Told::Heard(h) if h.opened.head.author == key(3).id())).await;
    let status = b.status().await;
    assert!(refused(&status, Why::Broken) <= 3, "{status:?}");
    assert!(accepted(&status) <= before + 1 + 3, "{status:?}");
    assert_eq!(refused(&c.status().await, Why::Broken), refused(&honest, Why::Broken));
}

#[tokio::test]
async fn replays_stale_and_future_messages_are_dropped() {
    let clock = TestClock::new();
    let mut b = Running::start(options(2, &clock)).await;
    let liar = Liar::start(66, &clock, (b.id, &b.address), false).await;
    b.tell(Command::Members(members(&[(liar.id, None)]))).await;
    b.connected(liar.id).await;
    let minute = Duration::from_secs(60);
    within("the subscription", async {
        for seq in 1.. {
            liar.raw.send(sealed(66, 66, seq, clock.now())).await.expect("a liar");
            if accepted(&b.status().await) > 0 {
                return;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    for (seq, issued) in [(6000, START.plus(minute * 9)), (6001, START.minus(minute * 9))] {
        liar.raw.send(sealed(66, 66, seq, issued)).await.expect("a liar");
    }
    b.until("two stale ones", |status| refused(status, Why::Stale) == 2).await;
    // The same number again with another body: gossipsub cannot know it, the window does.
    let again = sealed(66, 66, 7000, clock.now());
    let other = sealed(66, 66, 7000, clock.now().plus(Duration::from_secs(1)));
    liar.raw.send(again).await.expect("a liar");
    liar.raw.send(other).await.expect("a liar");
    b.until("a replay", |status| refused(status, Why::Replayed) >= 1).await;
}

/// Fifty nodes of about eight connections each, half of which forward nothing: everybody hears everything.
#[tokio::test]
async fn fifty_nodes_hear_all_though_half_of_them_are_mute() {
    const NODES: u16 = 50;
    let clock = TestClock::new();
    let everybody: Vec<NodeId> = (0..NODES).map(|n| key(n).id()).collect();
    let mut nodes: Vec<Running> = Vec::new();
    let mut addresses: Vec<String> = Vec::new();
    for n in 0..NODES {
        // Each dials the one before, and some in a pattern that mixes: no part of the net hangs on mute nodes alone.
        let dialled: BTreeSet<u16> =
            [n.checked_sub(1), n.checked_sub(2), n.checked_sub(7), n.checked_sub(11), Some(n * 7 % n.max(1))]
                .into_iter()
                .flatten()
                .filter(|other| *other < n)
                .collect();
        let list: Vec<(NodeId, Option<&str>)> = everybody
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != usize::from(n))
            .map(|(other, id)| {
                let dial = u16::try_from(other).is_ok_and(|other| dialled.contains(&other));
                (*id, dial.then(|| addresses[other].as_str()))
            })
            .collect();
        let mut options = Options { members: *members(&list), ..options(n, &clock) };
        if n % 2 == 1 {
            // Whose clock is not set judges nothing, so it hands nothing on.
            options.clock = Arc::new(|| Clock { now: START, synced: false });
        }
        let (node, channels) = Node::start(options).expect("a node");
        tokio::spawn(node.run());
        let running = Running::listening(key(n).id(), channels).await;
        addresses.push(running.address.clone());
        nodes.push(running);
    }
    for node in &nodes {
        node.until("neighbours", |status| status.connected.len() >= 4).await;
    }
    for (n, node) in nodes.iter().enumerate().filter(|(n, _)| n % 10 == 0) {
        node.publish(accuse(n)).await;
    }
    for (n, node) in nodes.iter_mut().enumerate().filter(|(n, _)| n % 2 == 0) {
        node.hears(if n % 10 == 0 { 4 } else { 5 }).await;
        let heard: BTreeSet<_> = node.heard.iter().map(|report| report.indicator.clone()).collect();
        assert_eq!(heard.len(), node.heard.len(), "each once");
    }
}
