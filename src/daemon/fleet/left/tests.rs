//! What is read of a mirror that somebody else wrote into.

use std::cell::Cell;

use slips_core::addr::LocalNets;
use slips_core::evidence::{Confidence, EvidenceKind, Finding, Proof, ThreatLevel};
use slips_core::record::Record;
use slips_core::time::WindowWidth;
use slips_store::redis::{Keys, Mirror, MirrorSettings, Word};

use super::*;
use crate::daemon::redis::tests::bench::{Redis, have_redis};

const SECRET: &str = "0123456789abcdef";
const OPENING: Opening = Opening { width: WindowWidth::HOUR, lateness: Span::from_secs(600) };
/// Half past seven.
const NOW: PacketTime = PacketTime::from_secs_micros(7 * 3600 + 1800, 0);

fn keys() -> Keys {
    Keys::new(Word::default(), Word::new("gate").expect("a word"))
}

fn mirror() -> Mirror {
    Mirror::new(MirrorSettings {
        keys: keys(),
        ttl: 3600,
        width: WindowWidth::HOUR,
        local: LocalNets::new(Vec::new()),
        secret: Some(SECRET.into()),
    })
}

fn found(attacker: u8, at: PacketTime) -> Evidence {
    let attacker = IpAddr::from([203, 0, 113, attacker]);
    let finding = Finding {
        level: ThreatLevel::High,
        confidence: Confidence::new(0.75),
        proof: Proof::Proven,
        ..Finding::new(EvidenceKind::PasswordGuessing, attacker, WindowWidth::HOUR.window_of(at), at)
    };
    let id = finding.id();
    Evidence { id, finding, last_seen: at, count: 1, accumulated: 0.6, proven: 0.6, revision: 0 }
}

/// A Redis with the mirror of one that saw these.
fn mirrored(dir: &tempfile::TempDir, all: Vec<Evidence>) -> Redis {
    let redis = Redis::start(dir.path().join("redis"), Vec::new());
    let mut mirror = mirror();
    let mut out = Vec::new();
    for evidence in all {
        mirror.take(&Record::Evidence(Arc::new(evidence)), &mut out);
    }
    let mut link = redis.try_link().expect("a connection");
    out.iter().for_each(|command| command.exec(&mut link).expect("taken"));
    redis
}

fn read(redis: &Redis, clock: &dyn Fn() -> Duration) -> (Heritage, Missed) {
    let mut link = redis.try_link().expect("a connection");
    let keys = keys();
    Reader::new(&mut link, (&keys, Some(SECRET)), clock).heritage(&[], (NOW, OPENING)).expect("read")
}

#[test]
fn each_evidence_of_open_windows_is_read_once_under_whatever_names_it_lies() {
    if !have_redis("each_evidence_of_open_windows_is_read_once_under_whatever_names_it_lies") {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let (now, long_ago) = (NOW, PacketTime::from_secs_micros(60, 0));
    let (first, second) = (found(1, now), found(2, now));
    let mut redis = mirrored(&dir, vec![first.clone(), second, found(3, long_ago)]);
    let (heritage, missed) = read(&redis, &|| Duration::ZERO);
    assert_eq!((heritage.accounts.len(), missed), (2, Missed::default()), "of a closed window nothing");
    let window = "slips:gate:profile_203.0.113.1_timewindow7_evidence";
    let text: String = redis.ask(&["HGET", window, &first.id.to_string()]);
    let sums = "slips:gate:accumulated_threat_levels";
    for alias in ["+7", "007"] {
        redis.ask::<()>(&["ZADD", sums, "99", &format!("profile_203.0.113.1_timewindow{alias}")]);
    }
    let copies = [first.id.to_string().to_uppercase(), EvidenceId(7).to_string()];
    for copy in &copies {
        redis.ask::<()>(&["HSET", window, copy, &text]);
    }
    redis.ask::<()>(&["HSET", "slips:gate:profile_203.0.113.2_timewindow7_evidence", &copies[1], &text]);
    let (again, missed) = read(&redis, &|| Duration::ZERO);
    assert_eq!(missed, Missed { unread: 5, unlooked: 0 });
    let all = |heritage: &Heritage| -> Vec<(IpAddr, usize)> {
        let mut all: Vec<_> = heritage.accounts.iter().map(|of| (of.attacker, of.evidence.len())).collect();
        all.sort_unstable();
        all
    };
    assert_eq!(all(&again), all(&heritage));
    redis.kill();
}

#[test]
fn when_the_time_is_over_what_was_read_is_taken() {
    if !have_redis("when_the_time_is_over_what_was_read_is_taken") {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let many = (0..=u8::MAX).map(|attacker| found(attacker, NOW)).collect();
    let mut redis = mirrored(&dir, many);
    let asked = Cell::new(0);
    // It goes on while the second part is read.
    let clock = || {
        asked.set(asked.get() + 1);
        if asked.get() > 5 { PATIENCE * 2 } else { Duration::ZERO }
    };
    let (heritage, missed) = read(&redis, &clock);
    assert_eq!(heritage.accounts.len(), ATTACKERS);
    assert_eq!(missed, Missed { unread: 0, unlooked: 256 - ATTACKERS });
    redis.kill();
}

#[test]
fn blocks_are_read_once_and_only_where_they_were_sealed() {
    if !have_redis("blocks_are_read_once_and_only_where_they_were_sealed") {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let mut redis = mirrored(&dir, Vec::new());
    let mut book = slips_store::Blocks::open(dir.path().join("blocks.sqlite")).expect("a book");
    let asked = |net: &str| slips_store::NewBlock {
        net: net.parse().expect("a network"),
        reason: "scan".into(),
        alert: None,
        source: "hand".into(),
        from: NOW.0,
        until: Some(NOW.0 + 3_600_000_000),
        unproven: false,
        manner: "drop".into(),
    };
    book.insert(&asked("203.0.113.1")).expect("entered");
    let mut mirror = mirror();
    let stories = slips_store::Stories::open(dir.path().join("blocks.sqlite")).expect("a book");
    let mut out = Vec::new();
    mirror.blocks(&stories.marks(NOW.0).expect("read"), NOW.0, &mut out);
    mirror.some_blocks(&stories, NOW.0, &mut out).expect("read");
    let mut link = redis.try_link().expect("a connection");
    out.iter().for_each(|command| command.exec(&mut link).expect("taken"));
    let text: String = redis.ask(&["GET", "slips:gate:block_203.0.113.1"]);
    redis.ask::<()>(&["SET", "slips:gate:block_203.0.113.2", &text]);
    for alias in ["203.0.113.2", "203.0.113.1/32", "nonsense"] {
        redis.ask::<()>(&["ZADD", "slips:gate:blocked_ips", "99999999", alias]);
    }
    let keys = keys();
    let still = || Duration::ZERO;
    let (left, missed) = Reader::new(&mut link, (&keys, Some(SECRET)), &still).blocks().expect("read");
    assert_eq!(left.iter().map(|(net, _)| net.to_string()).collect::<Vec<_>>(), ["203.0.113.1"]);
    assert!(!left[0].1.unproven);
    assert_eq!(missed, Missed { unread: 3, unlooked: 0 });
    redis.kill();
}
