//! A kernel that does not take what is asked of it.

use super::*;
use crate::daemon::responder::later::MAX_FAILED;

#[test]
fn a_block_that_the_kernel_did_not_take_is_tried_again() {
    let mut bench = bench(config::Firewall::default());
    bench.alert("203.0.113.1", Proof::Unproven);
    bench.broken.store(u64::MAX, Ordering::Relaxed);
    bench.alert("203.0.113.1", Proof::Proven);
    bench.alert("203.0.113.2", Proof::Proven);
    bench.alert("203.0.113.2", Proof::Proven);
    // Only what this attempt entered is taken back.
    assert_eq!(bench.live(), ["203.0.113.1"]);
    assert_eq!(bench.responder.failed.len(), 2);
    bench.pass(100);
    bench.responder.look_after(false);
    assert_eq!(bench.responder.failed.len(), 2);
    bench.broken.store(0, Ordering::Relaxed);
    bench.pass(60);
    bench.responder.look_after(false);
    assert!(bench.responder.failed.is_empty());
    let held: Vec<_> = bench.kernel().into_iter().map(|(net, _)| net).collect();
    assert_eq!(held, ["203.0.113.1", "203.0.113.2"]);
    assert_eq!(bench.live(), ["203.0.113.1", "203.0.113.2"]);
}

#[test]
fn what_could_not_be_restored_is_restored_later() {
    let mut first = bench(config::Firewall::default());
    first.alert("203.0.113.9", Proof::Proven);
    let mut restarted = bench_in(config::Firewall::default(), first.dir);
    restarted.responder.firewall().expect("firewall").clear().expect("clear");
    restarted.broken.store(u64::MAX, Ordering::Relaxed);
    restarted.responder.restore();
    restarted.broken.store(0, Ordering::Relaxed);
    assert!(restarted.kernel().is_empty());
    restarted.responder.look_after(false);
    assert!(restarted.kernel().is_empty(), "not at every turn");
    restarted.responder.look_after(true);
    assert_eq!(restarted.kernel().len(), 1);
}

#[test]
fn failed_blocks_are_bounded_and_end_with_their_time() {
    let mut bench = bench(config::Firewall::default());
    bench.broken.store(u64::MAX, Ordering::Relaxed);
    for n in 0..MAX_FAILED + 10 {
        bench.alert(&format!("203.0.{}.{}", n / 200, n % 200), Proof::Proven);
    }
    assert_eq!(bench.responder.failed.len(), MAX_FAILED);
    bench.broken.store(0, Ordering::Relaxed);
    bench.pass(4700);
    bench.responder.look_after(false);
    assert!(bench.responder.failed.is_empty() && bench.kernel().is_empty());
}

#[test]
fn trouble_that_lasts_is_told_once_a_minute() {
    let mut bench = bench(config::Firewall::default());
    let told = |bench: &Bench| bench.responder.journal.counters().lines;
    let before = told(&bench);
    for _ in 0..20 {
        bench.responder.degraded("the firewall", &Error::Denied);
    }
    assert_eq!(told(&bench) - before, 1);
    bench.responder.degraded("the book of blocks", &Error::Denied);
    assert_eq!(told(&bench) - before, 2);
    bench.pass(61);
    bench.responder.degraded("the firewall", &Error::Denied);
    assert_eq!(told(&bench) - before, 3);
}
