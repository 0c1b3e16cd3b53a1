//! A malicious node against honest ones, over TCP on loopback. What it tries, and what comes of it: `README.md` beside this file.
//!
//! Deadlines are generous and only end a test that hangs.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test has no other way to fail"
)]

mod doors;
mod gossip;
mod liar;
mod opinions;
mod streams;
#[path = "../support/mod.rs"]
mod support;

use slips_p2p::council::Mode;
use slips_p2p::identity::NodeId;
use slips_p2p::members::Members;
use slips_p2p::message::Message;
use slips_p2p::moment::Moment;
use slips_p2p::node::{Limits, ReadClock};
use support::{Router, accused, id, memory, options, peer, report};

/// The keys of the victim, of honest routers, of the liar.
const VICTIM: u16 = 1;
const HONEST: [u16; 3] = [2, 3, 4];
const LIAR: u16 = 66;
/// More keys of liars, who are members too.
const GANG: std::ops::Range<u16> = 67..80;

/// A router may have so much memory; the whole test, with four routers and their attacker, has no more.
const MEMORY: usize = 96 * 1024 * 1024;

/// A victim between three honest routers, and a member who is none.
struct Scene {
    clock: ReadClock,
    victim: Router,
    honest: Vec<Router>,
    told: usize,
}

/// Everybody is a member everywhere; who has an address is dialled.
fn members(dialled: &[(NodeId, &str)]) -> Members {
    let mut members = Members::default();
    for n in HONEST.into_iter().chain([VICTIM, LIAR]).chain(GANG) {
        let address = dialled.iter().find(|(known, _)| *known == id(n)).map(|(_, address)| *address);
        members.add(id(n), peer(address)).expect("room");
    }
    members
}

impl Scene {
    async fn new() -> Self {
        Self::with(support::limits()).await
    }

    async fn with(limits: Limits) -> Self {
        let clock = support::clock();
        let mut victim = options(VICTIM, limits, &clock);
        victim.members = members(&[]);
        // The most credulous mode.
        let victim = Router::start_in(Mode::Preempt, victim).await;
        let mut honest = Vec::new();
        for n in HONEST {
            honest.push(friend(n, &victim, &clock).await);
        }
        let mut scene = Self { clock, victim, honest, told: 0 };
        scene.honest_talk().await;
        scene
    }

    fn now(&self) -> Moment {
        (self.clock)().now
    }

    /// Every honest router says something, and everybody hears all of it.
    async fn honest_talk(&mut self) {
        let mut said = Vec::new();
        for router in &self.honest {
            self.told += 1;
            let indicator = accused(0x70_0000 + self.told);
            router.publish(Message::Report(report(indicator.clone()))).await;
            said.push((router.id, indicator));
        }
        for router in self.honest.iter().chain([&self.victim]) {
            let all = |seen: &support::Seen| {
                said.iter().all(|word| word.0 == router.id || seen.heard.contains(word)).then_some(())
            };
            router.until("what honest routers say", all).await;
        }
    }

    /// The victim cut the liar off.
    async fn liar_is_shunned(&self, liar: &mut liar::Liar) {
        self.victim
            .until("the end of its patience", |seen| seen.shunned.contains(&liar.id).then_some(()))
            .await;
        liar.hung_up().await;
        assert!(self.victim.status().await.shunned.contains(&liar.id));
    }

    /// What holds after every attack: honest routers hear each other, nobody is blocked wrongly, memory is within its cap.
    async fn nothing_came_of_it(&mut self) {
        self.honest_talk().await;
        for router in self.honest.iter().chain([&self.victim]) {
            assert_eq!(
                router.look(|seen| seen.blocked().len()),
                0,
                "{:?}",
                router.look(|seen| format!("{:?}", seen.rulings))
            );
            assert!(HONEST.iter().all(|n| router.look(|seen| !seen.shunned.contains(&id(*n)))));
        }
        let (_, most) = memory();
        assert!(most < MEMORY, "{most} bytes");
    }
}

/// An honest router that dials the victim.
async fn friend(n: u16, victim: &Router, clock: &ReadClock) -> Router {
    let mut friend = options(n, support::limits(), clock);
    friend.members = members(&[(victim.id, &victim.address)]);
    let friend = Router::start(friend).await;
    friend.until("the victim", |seen| seen.connected.contains(&victim.id).then_some(())).await;
    victim.until("a friend", |seen| seen.connected.contains(&friend.id).then_some(())).await;
    friend
}
