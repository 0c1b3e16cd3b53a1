//! Blocks for all: what is told, what is taken over, and what lifts it.

use slips_store::{BlockId, Blocks};

use super::*;
use crate::daemon::redis::tests::bench::{Redis, have_redis};

#[test]
fn what_others_are_told_is_ours_proven_and_means_the_same_everywhere() {
    let local = LocalNets::new(vec!["192.0.2.0/24".parse().expect("a network")]);
    let asked = |net: &str, source: &str, unproven| NewBlock {
        net: net.parse().expect("a network"),
        reason: String::new(),
        alert: None,
        source: source.into(),
        from: 0,
        until: None,
        unproven,
        manner: "drop".into(),
    };
    for (net, source, unproven, hand, proven) in [
        ("198.51.100.1", "hand", false, true, true),
        ("198.51.100.1", "alert", false, false, true),
        ("198.51.100.1", "alert", true, false, false),
        ("2001:db8::/64", "alert", false, false, true),
        // What others told is theirs to tell, and nothing goes round.
        ("198.51.100.1", "fleet b", false, false, false),
        ("198.51.100.1", "peer group/author", false, false, false),
        ("198.51.100.1", "feed list", false, false, false),
        ("192.0.2.7", "hand", false, false, false),
        ("192.168.1.7", "hand", false, false, false),
        ("fd00::1", "hand", false, false, false),
        ("0.0.0.0/1", "hand", false, false, false),
        ("127.0.0.1", "hand", false, false, false),
    ] {
        let asked = asked(net, source, unproven);
        let told =
            [Share::None, Share::Hand, Share::Proven].map(|share| is_for_others(&asked, share, &local));
        assert_eq!(told, [false, hand, proven], "{net} {source}");
    }
}

const SECRET: &str = "0123456789abcdef";
const NOW: i64 = 1_800_000_000;

/// Two routers on a Redis: the first tells what is in a book, the second takes it over.
struct Two {
    _dir: tempfile::TempDir,
    redis: Redis,
    teller: Sharing,
    taker: Sharing,
    book: Blocks,
    /// What the first says of how often it told something.
    said: u64,
}

impl Two {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let redis = Redis::start(dir.path().join("redis"), Vec::new());
        let book = Blocks::open(dir.path().join("blocks.sqlite")).expect("a book");
        Self { redis, teller: Sharing::default(), taker: Sharing::default(), book, said: 0, _dir: dir }
    }

    fn link(&self) -> Link {
        self.redis.try_link().expect("a connection")
    }

    fn block(&mut self, net: &str) -> BlockId {
        let asked = NewBlock {
            net: net.parse().expect("a network"),
            reason: "scan".into(),
            alert: None,
            source: "hand".into(),
            from: NOW * 1_000_000,
            until: Some((NOW + 3600) * 1_000_000),
            unproven: false,
            manner: "drop".into(),
        };
        self.book.insert(&asked).expect("entered")
    }

    fn tell(&mut self) {
        let standing = self.book.live(NOW * 1_000_000).expect("read");
        let what = (Share::Hand, SECRET, &LocalNets::new(Vec::new()));
        let mut link = self.link();
        self.teller.tell(&mut link, &keys("a"), &standing, what, NOW, 3600).expect("told");
        self.said = self.teller.changes();
    }

    /// What the second does, in order.
    fn take(&mut self) -> Vec<String> {
        let mut done = Vec::new();
        let policy = FleetBlocks { take: true, ..FleetBlocks::default() };
        let others = ["x", "a"].map(|name| (word(name), self.said));
        let mut link = self.link();
        let give = |advice: Advice| {
            done.push(match advice {
                Advice::Block { net, .. } => format!("+{net}"),
                Advice::Retract { net, .. } => format!("-{net}"),
                other => format!("{other:?}"),
            });
            true
        };
        self.taker.take(&mut link, &keys("b"), &others, (&policy, SECRET), NOW, give).expect("taken");
        done
    }

    /// Somebody without the secret says that there is news.
    fn lure(&mut self) {
        self.said += 1;
    }
}

impl Drop for Two {
    fn drop(&mut self) {
        self.redis.kill();
    }
}

fn word(text: &str) -> Word {
    Word::new(text).expect("a word")
}

fn keys(router: &str) -> Keys {
    Keys::new(Word::default(), word(router))
}

const KEY: &str = "slips:a:fleet_blocks";

#[test]
fn only_the_router_that_asked_for_a_block_lifts_it() {
    if !have_redis("only_the_router_that_asked_for_a_block_lifts_it") {
        return;
    }
    let mut two = Two::new();
    let first = two.block("198.51.100.1");
    two.block("198.51.100.2");
    two.tell();
    // Another router has nonsense there: that keeps nobody from what this one tells.
    two.redis.ask::<()>(&["SET", "slips:x:fleet_blocks", "nonsense"]);
    assert_eq!(two.take(), ["+198.51.100.1", "+198.51.100.2"]);
    assert_eq!(two.taker.refused, 1);
    two.redis.ask::<()>(&["RENAME", KEY, "kept"]);
    two.redis.ask::<()>(&["COPY", "kept", KEY]);
    for words in [&["HDEL", KEY, "198.51.100.1"][..], &["HDEL", KEY, "list"], &["DEL", KEY]] {
        two.redis.ask::<()>(words);
        two.lure();
        assert_eq!(two.take(), [""; 0], "{words:?}");
    }
    // Too many, and then another type.
    two.redis.ask::<()>(&["COPY", "kept", KEY]);
    let junk = "for n = 1, 4200 do redis.call('HSET', KEYS[1], n, 'x') end";
    two.redis.ask::<()>(&["EVAL", junk, "1", KEY]);
    two.lure();
    assert_eq!(two.take(), [""; 0]);
    two.redis.ask::<()>(&["SET", KEY, "nonsense"]);
    two.lure();
    assert_eq!(two.take(), [""; 0]);
    // Its own word, whatever else stands beside it.
    two.book.lift(first, NOW * 1_000_000).expect("lifted");
    two.teller.connected();
    two.tell();
    two.redis.ask::<()>(&["HSET", KEY, "198.51.100.9", "junk"]);
    assert_eq!(two.take(), ["-198.51.100.1"]);
    // An old list lifts nothing: what came since stands.
    two.block("198.51.100.3");
    two.tell();
    assert_eq!(two.take(), ["+198.51.100.3"]);
    two.redis.ask::<()>(&["RENAME", "kept", KEY]);
    two.lure();
    assert_eq!(two.take(), ["+198.51.100.1"], "until its end at most");
}

#[test]
fn the_number_of_a_list_rises_over_restarts_and_clocks_that_go_back() {
    if !have_redis("the_number_of_a_list_rises_over_restarts_and_clocks_that_go_back") {
        return;
    }
    let mut two = Two::new();
    two.block("198.51.100.1");
    two.tell();
    assert_eq!(two.said, u64::try_from(NOW).expect("a time"));
    let before = two.said;
    two.teller = Sharing::default();
    two.block("198.51.100.2");
    two.tell();
    assert_eq!(two.said, before + 1);
}
