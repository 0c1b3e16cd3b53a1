//! Many real nodes in one process, over TCP on loopback, each connected to some of the others.

use std::sync::Arc;
use std::time::Duration;

use slips_p2p::members::Members;
use slips_p2p::message::Message;
use slips_p2p::moment::Clock;
use slips_p2p::node::{Command, Limits, Node, Options, ReadClock, Status, Told};
use slips_p2p::privacy::{Cleared, Privacy};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::support::{self, DAY, START, accused, id, options, peer, report};

/// A node whose daemon only counts.
pub struct One {
    pub mute: bool,
    commands: mpsc::Sender<Command>,
    told: mpsc::Receiver<Told>,
    address: String,
}

/// The nodes.
pub struct Crowd {
    pub nodes: Vec<One>,
}

/// How far a message came, and when.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spread {
    /// Deliveries that should be, and that were.
    pub wanted: usize,
    pub heard: usize,
    /// Median, 99th of a hundred, and longest time from saying to hearing.
    pub p50: Duration,
    pub p99: Duration,
    pub longest: Duration,
}

fn cleared(n: usize) -> Cleared {
    Privacy::default().clear(Message::Report(report(accused(n)))).expect("may leave")
}

impl One {
    pub async fn start(n: u16, mute: bool, members: Members, limits: Limits, clock: &ReadClock) -> Self {
        // Whose clock is not set judges nothing, so it hands nothing on.
        let unset: ReadClock = Arc::new(|| Clock { now: START, synced: false });
        let clock = if mute { &unset } else { clock };
        let options = Options { members, ..options(n, limits, clock) };
        let (node, channels) = Node::start(options).expect("a node");
        tokio::spawn(node.run());
        let mut one = Self { mute, commands: channels.commands, told: channels.told, address: String::new() };
        while one.address.is_empty() {
            if let Some(Told::Listening(address)) = one.told.recv().await {
                one.address = address.to_string();
            }
        }
        one
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    pub async fn say(&self, n: usize) {
        let _ = self.commands.send(Command::Publish { message: cleared(n), ttl: DAY }).await;
    }

    pub async fn status(&self) -> Status {
        let (reply, status) = oneshot::channel();
        let _ = self.commands.send(Command::Status(reply)).await;
        status.await.expect("a living node")
    }

    /// Hears `count` reports, and when each came.
    pub async fn hear(&mut self, count: usize) -> Vec<Instant> {
        let mut heard = Vec::with_capacity(count);
        while heard.len() < count {
            match self.told.recv().await {
                Some(Told::Heard(_)) => heard.push(Instant::now()),
                Some(_) => {}
                None => break,
            }
        }
        heard
    }
}

impl Crowd {
    /// `count` nodes, each of whom dials about ten others, whom a fixed pattern chooses; with `half_mute` about half of them take and
    /// hand nothing on.
    pub async fn gather(count: u16, half_mute: bool, limits: Limits, clock: &ReadClock) -> Self {
        let mut nodes: Vec<One> = Vec::new();
        for n in 0..count {
            let mut members = Members::default();
            for other in (0..count).filter(|other| *other != n) {
                // Distances whose remainders mix: nobody hangs on mute nodes alone.
                let near = matches!(n.checked_sub(other), Some(1 | 2 | 3 | 5 | 8 | 13 | 21 | 34 | 55 | 89));
                let address = nodes.get(usize::from(other)).filter(|_| near).map(|one| one.address.as_str());
                members.add(id(other), peer(address)).expect("room");
            }
            // Half of them, without a pattern that meets that of the distances.
            let mute = half_mute && (n.wrapping_mul(40_503) >> 8) % 2 == 1;
            nodes.push(One::start(n, mute, members, limits, clock).await);
        }
        let crowd = Self { nodes };
        let least = usize::from(count.saturating_sub(1)).min(5);
        for one in &crowd.nodes {
            support::within("neighbours", async {
                while one.status().await.connected.len() < least {
                    tokio::task::yield_now().await;
                }
            })
            .await;
        }
        crowd
    }

    /// `words` messages, one after the other from nodes in turn; each is waited for by all.
    pub async fn spread(&mut self, words: usize) -> Spread {
        let mut times = Vec::new();
        let mut spread = Spread::default();
        let speakers: Vec<usize> = (0..self.nodes.len()).filter(|at| !self.nodes[*at].mute).collect();
        for word in 0..words {
            let speaker = speakers[word % speakers.len()];
            let said = Instant::now();
            self.nodes[speaker].say(word).await;
            let listeners = self.nodes.iter_mut().enumerate().filter(|(at, one)| *at != speaker && !one.mute);
            let hearing = listeners.map(|(_, one)| async {
                tokio::time::timeout(Duration::from_secs(30), one.hear(1)).await.unwrap_or_default()
            });
            let heard = futures::future::join_all(hearing).await;
            spread.wanted += heard.len();
            times.extend(heard.into_iter().flatten().map(|at| at.duration_since(said)));
        }
        times.sort_unstable();
        spread.heard = times.len();
        let at = |share: f64| times.get((times.len() as f64 * share) as usize).or(times.last()).copied();
        spread.p50 = at(0.5).unwrap_or_default();
        spread.p99 = at(0.99).unwrap_or_default();
        spread.longest = times.last().copied().unwrap_or_default();
        spread
    }

    /// One node says `count` things at once, from number `first` on; how many each other one heard, and how long the last took.
    pub async fn burst(&mut self, first: usize, count: usize) -> (Vec<usize>, Duration) {
        let began = Instant::now();
        let Some((speaker, others)) = self.nodes.split_first_mut() else {
            return (Vec::new(), Duration::ZERO);
        };
        let saying = async {
            for n in 0..count {
                speaker.say(0x10_0000 + first + n).await;
            }
        };
        let hearing = others.iter_mut().filter(|one| !one.mute).map(|one| async {
            tokio::time::timeout(Duration::from_secs(100), one.hear(count))
                .await
                .map_or(0, |heard| heard.len())
        });
        let ((), heard) = tokio::join!(saying, futures::future::join_all(hearing));
        (heard, began.elapsed())
    }
}
