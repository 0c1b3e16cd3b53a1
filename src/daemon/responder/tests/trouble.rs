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

/// All behind the header of a file goes.
fn tear(path: &Path) {
    use std::os::unix::fs::FileExt;
    let file = std::fs::OpenOptions::new().write(true).open(path).expect("open");
    let length = file.metadata().expect("length").len() as usize;
    file.write_all_at(&vec![0xff; length.saturating_sub(100)], 100).expect("tear");
}

#[test]
fn a_book_that_is_damaged_at_the_start_is_begun_anew_with_what_the_kernel_holds() {
    let mut bench = bench(config::Firewall::default());
    let path = bench.dir.path().join("other.sqlite");
    std::fs::write(&path, "no book at all ".repeat(500)).expect("write");
    let request = BlockRequest {
        exact: true,
        ..BlockRequest::new("203.0.113.9".parse().expect("net"), Duration::from_secs(90), "")
    };
    bench.responder.firewall().expect("firewall").block(request).expect("block");
    bench.responder.open_book(&path);
    assert_eq!(bench.kernel(), is("203.0.113.9", 90));
    let live = Blocks::open(&path).expect("a book").live(START).expect("live");
    assert_eq!(live.iter().map(|block| block.asked.net.to_string()).collect::<Vec<_>>(), ["203.0.113.9"]);
    let told = bench.told.take();
    assert!(told.contains("was damaged"), "{told}");
    assert!(bench.dir.path().join("other.sqlite.damaged").exists());
    bench.pass(91);
    bench.responder.look_after(false);
    assert!(bench.kernel().is_empty());
}

#[test]
fn a_book_torn_while_it_is_kept_is_begun_anew_with_what_stands() {
    let mut bench = bench(config::Firewall::default());
    bench.alert("203.0.113.1", Proof::Proven);
    let path = bench.dir.path().join("blocks.sqlite");
    // Another process that writes makes the daemon look at the file again.
    bench.book().logged_in([192, 0, 2, 1].into(), START).expect("entered");
    tear(&path);
    tear(&bench.dir.path().join("blocks.sqlite-wal"));
    bench.alert("203.0.113.2", Proof::Proven);
    bench.alert("203.0.113.3", Proof::Proven);
    assert_eq!(bench.kernel().len(), 3, "a book never stops a block");
    let live = bench.live();
    assert!(live.contains(&"203.0.113.1".into()) && live.contains(&"203.0.113.3".into()), "{live:?}");
    let told = bench.told.take();
    assert!(told.contains("was damaged"), "{told}");
}
