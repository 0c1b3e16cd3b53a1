//! A kernel that does not take what is asked of it.

use super::*;
use crate::daemon::responder::batch::{Ground, Wanted};
use crate::daemon::responder::holds::{Hold, Holder};
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
fn what_the_kernel_holds_is_lifted_by_nobody_who_could_not_read_it() {
    let mut bench = bench(config::Firewall::default());
    let path = bench.dir.path().join("other.sqlite");
    std::fs::write(&path, "no book at all ".repeat(500)).expect("write");
    for (net, secs) in [("203.0.113.8", 300), ("203.0.113.9", 900)] {
        let request = BlockRequest {
            exact: true,
            ..BlockRequest::new(net.parse().expect(net), Duration::from_secs(secs), "")
        };
        bench.responder.firewall().expect("firewall").block(request).expect("block");
    }
    bench.broken.store(u64::MAX, Ordering::Relaxed);
    bench.responder.open_book(&path);
    assert!(!bench.responder.is_restored());
    let told = bench.told.take();
    assert!(told.contains("of an earlier run"), "{told}");
    bench.responder.look_after(true);
    bench.broken.store(0, Ordering::Relaxed);
    assert_eq!(bench.kernel(), [is("203.0.113.8", 300), is("203.0.113.9", 900)].concat());
    bench.alert("203.0.113.1", Proof::Proven);
    bench.responder.look_after(true);
    assert!(bench.responder.is_restored());
    assert_eq!(bench.standing(), ["203.0.113.1", "203.0.113.8", "203.0.113.9"]);
    assert_eq!(bench.kernel().len(), 3);
    let live = Blocks::open(&path).expect("a book").live(START).expect("live");
    let live: Vec<_> = live.iter().map(|block| (block.asked.net.to_string(), block.asked.unproven)).collect();
    let of = |net: &str, unproven| (net.to_owned(), unproven);
    // So short a block may rest on what could be forged.
    assert_eq!(live, [of("203.0.113.1", false), of("203.0.113.8", true), of("203.0.113.9", false)]);
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

/// Tears the book under the daemon, which has it open.
pub(super) fn tear_book(bench: &Bench) {
    // Another process that writes makes the daemon look at the file again.
    bench.book().logged_in([192, 0, 2, 1].into(), START).expect("entered");
    tear(&bench.dir.path().join("blocks.sqlite"));
    tear(&bench.dir.path().join("blocks.sqlite-wal"));
}

#[test]
fn a_batch_that_finds_the_book_torn_is_in_the_new_one_by_its_own_rows() {
    let mut bench = bench(config::Firewall::default());
    let by_hand = |net: &str| Ask::Block { net: net.parse().expect(net), secs: 600, why: "test".into() };
    // In the old book 4, which is lifted, comes before 3, 2 and 1: in the new one all have other rows.
    for last in [4, 3, 2, 1] {
        bench.responder.do_as_asked(&by_hand(&format!("198.51.100.{last}"))).expect("block");
    }
    bench.responder.do_as_asked(&Ask::Unblock("198.51.100.4".parse().expect("net"))).expect("unblock");
    tear_book(&bench);
    // One is lengthened, one is new, one is lifted.
    let mut batch = Batch::default();
    bench.responder.decide(&mut batch, &alert_about("203.0.113.7", Proof::Proven));
    let net = "198.51.100.3".parse().expect("net");
    let hold = bench.responder.standing.get(net).expect("stands").holds()[0].clone();
    let until = hold.until + Duration::from_secs(600);
    let ground = Ground::Word("longer".into());
    let wanted = Wanted { net, hold: Hold { until, ..hold }, ground, again: None };
    batch.want(wanted);
    let two = "198.51.100.2".parse().expect("net");
    batch.lift(two, Holder::Hand, "test");
    bench.responder.commit(&mut batch);
    assert!(bench.told.take().contains("was damaged"));
    let in_book = |bench: &Bench| {
        let live = bench.book().live(bench.wall.load(Ordering::Relaxed)).expect("live");
        let mut live: Vec<_> = live
            .iter()
            .map(|block| {
                let left = (block.asked.until.expect("timed") - bench.wall.load(Ordering::Relaxed)) / SECOND;
                (block.asked.net.to_string(), left as u64)
            })
            .collect();
        live.sort();
        live
    };
    let mut expected = bench.kernel();
    expected.sort();
    assert_eq!(in_book(&bench), expected, "each in the book once, as long as in the kernel");
    assert_eq!(bench.standing(), ["198.51.100.1", "198.51.100.3", "203.0.113.7"]);
    bench.responder.do_as_asked(&Ask::Unblock(net)).expect("unblock");
    let restarted = restart(bench);
    assert_eq!(restarted.standing(), ["198.51.100.1", "203.0.113.7"]);
}

#[test]
fn a_book_that_is_torn_again_at_once_is_not_begun_anew_each_time() {
    let mut bench = bench(config::Firewall::default());
    let kept =
        |bench: &Bench, end: &str| bench.dir.path().join(format!("blocks.sqlite.damaged{end}")).exists();
    bench.alert("203.0.113.1", Proof::Proven);
    tear_book(&bench);
    bench.alert("203.0.113.2", Proof::Proven);
    tear_book(&bench);
    bench.alert("203.0.113.3", Proof::Proven);
    assert!(kept(&bench, "") && !kept(&bench, ".2"));
    bench.pass(61);
    bench.alert("203.0.113.4", Proof::Proven);
    assert!(kept(&bench, ".2"));
    // What could not be entered meanwhile is in the next one.
    assert_eq!(bench.live(), bench.standing());
    assert_eq!(bench.live().len(), 4);
}
