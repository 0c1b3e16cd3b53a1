//! What is asked while there is other work.

use std::sync::mpsc::{Receiver, sync_channel};

use super::*;
use crate::control::{Answer, Pending};
use crate::daemon::bell::Bell;

fn ask(what: Ask) -> (Pending, Receiver<Answer>) {
    let (answer, answered) = sync_channel(1);
    (Pending { ask: what, answer }, answered)
}

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
        let (pending, answered) = ask(Ask::Status);
        to.send(pending).expect("room");
        answers.push(answered);
    }
    let rope = bell.rope();
    let responder = bench.responder;
    let turns = Arc::clone(&responder.turns);
    let works = std::thread::spawn(move || responder.run(&from, &advice, &asks, &bell));
    for answered in &answers {
        answered.recv().expect("answer").expect("status");
    }
    // Between any two answers it takes what came in, and says that it does not stand still.
    assert!(turns.load(Ordering::Relaxed) >= ASKS as u64);
    drop(records);
    rope.ring();
    works.join().expect("end");
}
