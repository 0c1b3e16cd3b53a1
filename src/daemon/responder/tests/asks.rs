//! What is asked while there is other work.

use std::sync::mpsc::sync_channel;

use super::*;
use crate::control::Pending;
use crate::daemon::bell::Bell;

/// Within this time everything has happened that is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn who_asks_without_end_keeps_the_responder_from_nothing() {
    const ASKS: usize = 40;
    let bench = bench(config::Firewall::default());
    let bell = Bell::new().expect("bell");
    let (_line, advice) = AdviceLine::new(bell.rope(), 100);
    let (records, from) = sync_channel(1);
    let (to, asks) = sync_channel(ASKS);
    let mut answers = Vec::new();
    for _ in 0..ASKS {
        let (pending, awaited) = Pending::new(Ask::Status);
        to.send(pending).expect("room");
        answers.push(awaited);
    }
    let rope = bell.rope();
    let responder = bench.responder;
    let turns = Arc::clone(&responder.turns);
    let works = std::thread::spawn(move || responder.run(&from, &advice, &asks, &bell));
    for awaited in answers {
        awaited.wait(PATIENCE, PATIENCE).expect("status");
    }
    // Between any two answers it takes what came in, and says that it does not stand still.
    assert!(turns.load(Ordering::Relaxed) >= ASKS as u64);
    drop(records);
    rope.ring();
    works.join().expect("end");
}
