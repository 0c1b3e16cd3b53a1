//! The mirror against a real redis-server: whatever befalls that, it ends equal to what the database knows, and nobody waited for it.

pub mod bench;
mod tls;

use std::net::IpAddr;

use serde_json::Value;
use slips_store::redis::{Link, Patience};

use super::*;
use crate::daemon::clocks::steady;
use bench::{Bench, both, have_redis, until};

#[test]
fn the_mirror_is_equal_after_load_and_every_key_ends_some_day() {
    if !have_redis("the_mirror_is_equal_after_load_and_every_key_ends_some_day") {
        return;
    }
    let (redis, mut bench, _dir) = both("gw1");
    for net in ["203.0.113.7", "198.51.100.0/24", "2001:db8::/64"] {
        bench.block(net);
    }
    for _ in 0..10 {
        bench.load(200);
    }
    bench.becomes_equal(&redis);
    bench.unblock("203.0.113.7");
    bench.load(1);
    bench.becomes_equal(&redis);
    assert_eq!(redis.ask::<u64>(&["GET", "slips:gw1:number_of_evidence"]), 2001);
    assert_eq!(redis.ask::<u64>(&["GET", "slips:gw1:number_of_alerts"]), 40);
    assert!(redis.ask::<u64>(&["ZCARD", "slips:gw1:accumulated_threat_levels"]) >= 40);
    until("it is heard of", || redis.ask::<Vec<String>>(&["ZRANGE", "slips:routers", "0", "-1"]) == ["gw1"]);
    assert!(
        redis.ask::<Option<String>>(&["GET", "slips:gw1:alive"]).is_some_and(|told| told.contains("\"gw1\""))
    );
    for key in redis.ask::<Vec<String>>(&["KEYS", "*"]) {
        let left = redis.ask::<i64>(&["TTL", &key]);
        assert!((0..=86_400).contains(&left), "{key} lives for {left} s");
        assert!(key.starts_with("slips:gw1:") || key == "slips:routers", "{key}");
    }
    assert_eq!(bench.shown(), "");
    bench.end();
    assert_eq!(bench.said(), "", "nothing was worth telling");
}

#[test]
fn a_redis_that_is_killed_and_comes_back_empty_is_filled_again() {
    if !have_redis("a_redis_that_is_killed_and_comes_back_empty_is_filled_again") {
        return;
    }
    let (mut redis, mut bench, _dir) = both("gw1");
    bench.block("203.0.113.7");
    bench.load(500);
    bench.becomes_equal(&redis);
    for _ in 0..3 {
        redis.kill();
        bench.load(100);
        bench.block("203.0.113.8");
        bench.unblock("203.0.113.7");
        until("it is told", || bench.shown().contains("not reached"));
        redis.restart();
        bench.becomes_equal(&redis);
        until("it is well again", || bench.shown().is_empty());
    }
    assert_eq!((bench.times("detection goes on"), bench.times("is there again")), (3, 3), "{}", bench.said());
}

/// An outage in short: the pauses between two tries are bounded by 400 ms here and by 5 s there, and an outage that lasts for a hundred of them is no
/// other than one of twenty. `SLIPS_OUTAGE_SECONDS=600` has a long one; the whole daemon through it is `tests/bench/outage.py`.
#[test]
fn a_long_outage_is_told_once_and_what_did_not_fit_is_counted_and_read_again() {
    if !have_redis("a_long_outage_is_told_once_and_what_did_not_fit_is_counted_and_read_again") {
        return;
    }
    let (mut redis, mut bench, _dir) = both("gw1");
    bench.load(50);
    bench.becomes_equal(&redis);
    redis.kill();
    #[expect(clippy::disallowed_methods, reason = "whoever runs the test says how long")]
    let long = std::env::var("SLIPS_OUTAGE_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    let end = steady() + Duration::from_secs(long.unwrap_or(10));
    while steady() < end {
        bench.load(20);
        std::thread::park_timeout(Duration::from_millis(50));
    }
    assert_eq!(bench.times("detection goes on"), 1, "{}", bench.said());
    assert!(bench.shown().contains("records not mirrored"), "{}", bench.shown());
    redis.restart();
    bench.becomes_equal(&redis);
    until("it is well again", || bench.shown().is_empty());
    let missed = redis.ask::<u64>(&["HGET", "slips:gw1:statistics", "not_mirrored"]);
    assert!(missed > 0, "what was not mirrored is counted");
}

#[test]
fn a_full_redis_is_told_once_and_filled_again_when_it_has_room() {
    if !have_redis("a_full_redis_is_told_once_and_filled_again_when_it_has_room") {
        return;
    }
    let (redis, mut bench, _dir) = both("gw1");
    bench.load(100);
    bench.becomes_equal(&redis);
    redis.ask::<()>(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    redis.ask::<()>(&["CONFIG", "SET", "maxmemory", "1mb"]);
    bench.load(500);
    until("it is told", || bench.shown().contains("takes nothing"));
    bench.load(500);
    redis.ask::<()>(&["CONFIG", "SET", "maxmemory", "0"]);
    bench.becomes_equal(&redis);
    until("it is well again", || bench.shown().is_empty());
    assert_eq!((bench.times("OOM"), bench.times("is there again")), (1, 1), "{}", bench.said());
}

#[test]
fn a_redis_that_stands_still_holds_up_nobody() {
    if !have_redis("a_redis_that_stands_still_holds_up_nobody") {
        return;
    }
    let (redis, mut bench, _dir) = both("gw1");
    bench.load(100);
    bench.becomes_equal(&redis);
    let sleeper = Link::open(&redis.server(), Patience::default(), steady);
    let sleeping = std::thread::spawn(move || {
        let slept: Result<(), _> = cmd("DEBUG").arg("SLEEP").arg(5).exec(&mut sleeper.expect("a connection"));
        assert!(slept.is_err(), "longer than we wait");
    });
    // More than fits into the queue: each of these returns at once.
    for _ in 0..3 * QUEUE {
        bench.load(10);
    }
    sleeping.join().expect("it slept");
    bench.becomes_equal(&redis);
}

#[test]
fn a_server_that_is_no_redis_is_not_believed() {
    use std::io::{Read, Write};
    let dir = tempfile::tempdir().expect("dir");
    let socket = dir.path().join("redis.sock");
    let listener = std::os::unix::net::UnixListener::bind(&socket).expect("bound");
    let answers: [&[u8]; 4] = [b"*9999999999\r\n", b"$9999999999\r\nx", b"HTTP/1.1 200 OK\r\n\r\n", b""];
    std::thread::spawn(move || {
        for (client, answer) in listener.incoming().zip(answers.into_iter().cycle()) {
            let Ok(mut client) = client else { return };
            let _ = client.read(&mut [0; 4096]);
            let _ = client.write_all(&answer.repeat(1000));
        }
    });
    let mut bench = Bench::new(&format!("unix://{}", socket.display()), "gw1");
    for _ in 0..2 * QUEUE {
        bench.load(1);
    }
    until("it is told", || bench.shown().contains("not reached"));
    bench.end();
    assert_eq!(bench.times("detection goes on"), 1, "{}", bench.said());
}

#[test]
fn traffic_is_told_to_whoever_listens_and_made_for_nobody_else() {
    if !have_redis("traffic_is_told_to_whoever_listens_and_made_for_nobody_else") {
        return;
    }
    let (redis, mut bench, _dir) = both("gw1");
    let published = || {
        let told: String = redis.ask(&["INFO", "commandstats"]);
        let calls = told.lines().find_map(|line| line.strip_prefix("cmdstat_publish:calls="));
        calls.and_then(|rest| rest.split(',').next()?.parse().ok()).unwrap_or(0_u64)
    };
    let flow = bench.flow(1);
    bench.load(1);
    bench.becomes_equal(&redis);
    let before = published();
    (0..100).for_each(|_| bench.feed(std::slice::from_ref(&flow)));
    bench.load(1);
    bench.becomes_equal(&redis);
    assert_eq!(published(), before + 1, "the evidence alone");
    let mut listener = redis.try_link().expect("a connection");
    listener.subscribe(&["new_flow", "new_alert"]).expect("it listens");
    let mut told = None;
    until("a flow is told", || {
        bench.feed(std::slice::from_ref(&flow));
        told = listener.next(Duration::from_millis(100)).expect("it listens");
        told.is_some()
    });
    let (channel, text) = told.expect("told");
    let text: Value = serde_json::from_slice(&text).expect("JSON");
    assert_eq!((channel.as_str(), &text["version"], &text["router"]), ("new_flow", &1.into(), &"gw1".into()));
    assert_eq!((&text["profileid"], &text["flow"]["uid"]), (&"profile_10.0.0.1".into(), &"Cf1".into()));
}

#[test]
fn a_listener_who_never_reads_harms_nobody() {
    if !have_redis("a_listener_who_never_reads_harms_nobody") {
        return;
    }
    let (redis, mut bench, _dir) = both("gw1");
    redis.ask::<()>(&["CONFIG", "SET", "client-output-buffer-limit", "pubsub 64kb 64kb 1"]);
    let mut listener = redis.try_link().expect("a connection");
    listener.subscribe(&["evidence_added", "new_alert", "new_flow"]).expect("it listens");
    for _ in 0..20 {
        bench.load(200);
    }
    bench.becomes_equal(&redis);
    assert_eq!((bench.shown().as_str(), bench.said().as_str()), ("", ""));
    // Redis keeps no more for it than it is told to.
    until("it is left alone", || {
        !redis.ask::<String>(&["CLIENT", "LIST", "TYPE", "pubsub"]).contains("sub=3")
    });
    drop(listener);
}

#[test]
fn several_routers_share_one_redis() {
    if !have_redis("several_routers_share_one_redis") {
        return;
    }
    let (redis, mut one, _dir) = both("gw1");
    let mut other = Bench::new(&format!("unix://{}", redis.socket.display()), "gw2");
    one.load(60);
    other.load(90);
    one.becomes_equal(&redis);
    other.becomes_equal(&redis);
    until("both are heard of", || {
        redis.ask::<Vec<String>>(&["ZRANGEBYLEX", "slips:routers", "-", "+"]).len() == 2
    });
}

#[test]
fn whose_place_was_taken_leaves_the_blocks_of_who_acts_as_they_are() {
    if !have_redis("whose_place_was_taken_leaves_the_blocks_of_who_acts_as_they_are") {
        return;
    }
    let (redis, mut bench, _dir) = both("gw1");
    bench.block("203.0.113.7");
    bench.load(1);
    bench.becomes_equal(&redis);
    // While the mirror waits for its next turn.
    bench.duty.stand_by();
    bench.unblock("203.0.113.7");
    let connected = || redis.ask::<String>(&["CLIENT", "LIST"]).lines().count();
    until("it lets go", || connected() == 1);
    assert_eq!(redis.ask::<Vec<String>>(&["ZRANGE", "slips:gw1:blocked_ips", "0", "-1"]), ["203.0.113.7"]);
    assert_eq!(bench.said(), "");
}

#[test]
fn more_blocks_than_are_sent_at_a_time_are_all_there_and_those_that_are_lifted_are_not() {
    if !have_redis("more_blocks_than_are_sent_at_a_time_are_all_there_and_those_that_are_lifted_are_not") {
        return;
    }
    let (mut redis, mut bench, _dir) = both("gw1");
    let net = |n: u32| IpAddr::from((0xc633_0000 + n).to_be_bytes()).to_string();
    (0..700).for_each(|n| bench.block(&net(n)));
    bench.load(1);
    bench.becomes_equal(&redis);
    (0..400).for_each(|n| bench.unblock(&net(n)));
    bench.becomes_equal(&redis);
    // After an outage Redis has what is over and lacks what is new.
    redis.ask::<()>(&["ZADD", "slips:gw1:blocked_ips", "9999999999", "192.0.2.1", "9999999999", "nonsense"]);
    redis.kill();
    (400..700).for_each(|n| bench.unblock(&net(n)));
    (700..1000).for_each(|n| bench.block(&net(n)));
    redis.restart();
    bench.becomes_equal(&redis);
}

#[test]
fn what_somebody_else_put_in_our_keys_is_taken_away_and_harms_nothing_else() {
    if !have_redis("what_somebody_else_put_in_our_keys_is_taken_away_and_harms_nothing_else") {
        return;
    }
    let (redis, mut bench, _dir) = both("gw1");
    bench.block("203.0.113.7");
    bench.load(200);
    bench.becomes_equal(&redis);
    for key in ["alerts", "profiles", "blocked_ips", "accumulated_threat_levels", "twsprofile_203.0.113.5"] {
        redis.ask::<()>(&["SET", &bench.key(key), "theirs"]);
    }
    redis.ask::<()>(&["DEL", "slips:gw1:statistics"]);
    redis.ask::<()>(&["LPUSH", "slips:gw1:statistics", "theirs"]);
    redis.ask::<()>(&["SET", "theirs", "stays"]);
    bench.load(200);
    let type_of = |key: &str| redis.ask::<String>(&["TYPE", &bench.key(key)]);
    until("they are what they should be", || {
        let sets =
            ["alerts", "profiles", "blocked_ips", "accumulated_threat_levels", "twsprofile_203.0.113.5"];
        sets.into_iter().all(|key| type_of(key) == "zset") && type_of("statistics") == "hash"
    });
    bench.becomes_equal(&redis);
    let counted = || redis.ask::<Option<u64>>(&["HGET", "slips:gw1:statistics", "keys_of_another_type"]);
    until("it is counted", || counted().is_some_and(|count| count >= 6));
    assert_eq!(redis.ask::<String>(&["GET", "theirs"]), "stays");
    assert_eq!((bench.times("of another type"), bench.shown().as_str()), (1, ""), "{}", bench.said());
}
