//! A book that could not be written for a while.

use super::*;

/// The book of a bench, which this takes its table of blocks from while it lives.
struct Broken(rusqlite::Connection);

impl Broken {
    fn book(bench: &Bench) -> Self {
        let book = rusqlite::Connection::open(bench.dir.path().join("blocks.sqlite")).expect("open");
        book.execute_batch("ALTER TABLE blocks RENAME TO hidden").expect("hide");
        Self(book)
    }
}

impl Drop for Broken {
    fn drop(&mut self) {
        self.0.execute_batch("ALTER TABLE hidden RENAME TO blocks").expect("give back");
    }
}

fn by_hand(net: &str, secs: u64) -> Ask {
    Ask::Block { net: net.parse().expect(net), secs, why: "test".into() }
}

/// The live rows of the book with the seconds that are left.
fn rows(bench: &Bench) -> Vec<(String, u64)> {
    let wall = bench.wall.load(Ordering::Relaxed);
    let live = bench.book().live(wall).expect("live");
    let left = |until: Option<i64>| ((until.expect("timed") - wall) / SECOND) as u64;
    let mut rows: Vec<_> =
        live.iter().map(|block| (block.asked.net.to_string(), left(block.asked.until))).collect();
    rows.sort();
    rows
}

#[test]
fn what_the_book_could_not_take_is_in_it_when_it_can_be_written_again() {
    let mut bench = bench(config::Firewall::default());
    for n in 1..=3 {
        bench.responder.do_as_asked(&by_hand(&format!("198.51.100.{n}"), 600)).expect("block");
    }
    let broken = Broken::book(&bench);
    bench.alert("203.0.113.1", Proof::Proven);
    let said = bench.responder.do_as_asked(&by_hand("198.51.100.1", 6000)).expect("longer");
    assert!(said.contains("cannot be written now"), "{said}");
    bench.responder.do_as_asked(&Ask::Unblock("198.51.100.2".parse().expect("net"))).expect("unblock");
    assert_eq!(bench.kernel().len(), 3);
    assert!(bench.told().contains("the book of blocks"));
    bench.pass(31);
    bench.responder.look_after(false);
    drop(broken);
    bench.responder.look_after(false);
    assert_eq!(rows(&bench).len(), 3, "not before it is time");
    bench.pass(31);
    bench.responder.look_after(false);
    let mut kernel = bench.kernel();
    kernel.sort();
    assert_eq!(rows(&bench), kernel);
    let said = bench.responder.do_as_asked(&by_hand("198.51.100.9", 600)).expect("block");
    assert_eq!(said, "198.51.100.9 is blocked for 600 s");
    let mut restarted = restart(bench);
    assert_eq!(restarted.standing(), ["198.51.100.1", "198.51.100.3", "198.51.100.9", "203.0.113.1"]);
    assert_eq!(restarted.kernel().len(), 4);
}

#[test]
fn a_book_that_could_not_be_renewed_is_opened_when_it_can_be() {
    let mut bench = bench(config::Firewall::default());
    bench.alert("203.0.113.1", Proof::Proven);
    trouble::tear_book(&bench);
    // Nothing can be put aside under this name.
    std::fs::create_dir_all(bench.dir.path().join("blocks.sqlite.damaged-wal/x")).expect("in the way");
    bench.alert("203.0.113.2", Proof::Proven);
    assert!(bench.responder.book.is_none() && bench.kernel().len() == 2);
    std::fs::remove_dir_all(bench.dir.path().join("blocks.sqlite.damaged-wal")).expect("out of the way");
    bench.pass(31);
    bench.responder.look_after(false);
    assert_eq!(bench.live(), ["203.0.113.1", "203.0.113.2"]);
    assert_eq!(restart(bench).standing(), ["203.0.113.1", "203.0.113.2"]);
}

#[test]
fn a_book_that_cannot_be_opened_at_the_start_is_opened_later_with_what_is_in_it() {
    let mut before = bench(config::Firewall::default());
    before.alert("203.0.113.1", Proof::Proven);
    let [path, away] = ["blocks.sqlite", "away"].map(|name| before.dir.path().join(name));
    for end in ["", "-wal", "-shm"] {
        let with = |path: &Path| PathBuf::from(format!("{}{end}", path.display()));
        // The first process is dead.
        let _ = std::fs::copy(with(&path), with(&away));
    }
    std::fs::remove_file(&path).expect("remove");
    std::fs::create_dir(&path).expect("no file");
    let mut after = restart(before);
    assert!(after.responder.book.is_none());
    after.alert("203.0.113.2", Proof::Proven);
    std::fs::remove_dir(&path).expect("remove");
    for end in ["", "-wal", "-shm"] {
        let with = |path: &Path| PathBuf::from(format!("{}{end}", path.display()));
        let _ = std::fs::rename(with(&away), with(&path));
    }
    after.pass(31);
    after.responder.look_after(false);
    assert_eq!(after.standing(), ["203.0.113.1", "203.0.113.2"]);
    assert_eq!(after.kernel().len(), 2);
    assert_eq!(after.live(), ["203.0.113.1", "203.0.113.2"]);
}

#[test]
fn who_only_watches_enters_no_block_when_the_book_can_be_written_again() {
    let mut bench = bench(config::Firewall { mode: Mode::Monitor, ..config::Firewall::default() });
    let broken = Broken::book(&bench);
    bench.alert("203.0.113.1", Proof::Proven);
    bench.responder.fall_behind();
    drop(broken);
    bench.pass(31);
    bench.responder.look_after(false);
    assert!(bench.live().is_empty() && bench.responder.behind.is_none());
}

/// The same book after a start at which it could not be opened, with what the kernel still had; and the way to give it back.
fn unopened(before: Bench) -> (Bench, impl FnOnce()) {
    let [path, away] = ["blocks.sqlite", "away"].map(|name| before.dir.path().join(name));
    for end in ["", "-wal", "-shm"] {
        let with = |path: &Path| PathBuf::from(format!("{}{end}", path.display()));
        let _ = std::fs::copy(with(&path), with(&away));
    }
    std::fs::remove_file(&path).expect("remove");
    std::fs::create_dir(&path).expect("no file");
    let mut after = restart(before);
    assert!(after.responder.book.is_none());
    let term = Duration::from_secs(600);
    for net in ["203.0.113.1", "203.0.113.2", "198.51.100.0/24"] {
        let asked = BlockRequest { exact: true, ..BlockRequest::new(net.parse().expect(net), term, "") };
        after.responder.firewall().expect("firewall").block(asked).expect("block");
    }
    let give_back = move || {
        std::fs::remove_dir(&path).expect("remove");
        for end in ["", "-wal", "-shm"] {
            let with = |path: &Path| PathBuf::from(format!("{}{end}", path.display()));
            let _ = std::fs::rename(with(&away), with(&path));
        }
    };
    (after, give_back)
}

fn with_blocks() -> Bench {
    let mut before = bench(config::Firewall::default());
    for attacker in ["203.0.113.1", "203.0.113.2", "203.0.113.3"] {
        before.alert(attacker, Proof::Proven);
    }
    before.responder.do_as_asked(&by_hand("198.51.100.0/24", 6000)).expect("block");
    before
}

#[test]
fn who_was_let_in_while_the_book_could_not_be_opened_is_not_blocked_by_it() {
    let (mut after, give_back) = unopened(with_blocks());
    for net in ["203.0.113.1", "198.51.100.128/25"] {
        after.responder.do_as_asked(&Ask::Unblock(net.parse().expect("net"))).expect("unblock");
    }
    // Also where the kernel has it no more.
    let _ = after.responder.do_as_asked(&Ask::Unblock("203.0.113.3".parse().expect("net")));
    for spared in ["203.0.113.2", "198.51.100.1"] {
        after.responder.spare(spared.parse().expect("address"), "whitelist");
    }
    give_back();
    after.pass(31);
    after.responder.look_after(false);
    // What a person blocked is nothing for the whitelist.
    assert_eq!(after.standing(), ["198.51.100.0/25"]);
    assert_eq!((after.kernel().len(), after.live()), (1, vec!["198.51.100.0/25".to_owned()]));
    assert_eq!(restart(after).standing(), ["198.51.100.0/25"]);
}

#[test]
fn a_flush_holds_for_a_book_that_could_not_be_opened() {
    let (mut after, give_back) = unopened(with_blocks());
    after.responder.do_as_asked(&Ask::Flush).expect("flush");
    after.alert("203.0.113.9", Proof::Proven);
    give_back();
    after.pass(31);
    after.responder.look_after(false);
    assert_eq!((after.standing(), after.live()), (vec!["203.0.113.9".into()], vec!["203.0.113.9".into()]));
    // The next time the book fails nothing of that is left.
    assert!(after.responder.behind.is_none());
    after.responder.fall_behind();
    after.pass(31);
    after.responder.look_after(false);
    assert_eq!(after.standing(), ["203.0.113.9"]);
}
