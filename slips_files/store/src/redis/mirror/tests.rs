use std::sync::Arc;

use ::redis::Arg;
use slips_core::addr::Net;
use slips_core::alert::{AlertId, Cause};
use slips_core::event::Event;
use slips_core::evidence::{Confidence, EvidenceKind, Finding, Proof, ThreatLevel};
use slips_core::flow::{Endpoint, Flow, Phase, Proto};

use super::*;
use crate::sqlite::{Blocks as Book, NewBlock, Stories};

fn mirror() -> Mirror {
    Mirror::new(MirrorSettings {
        keys: Keys::new(Word::default(), Word::new("gw1").expect("a word")),
        ttl: 86_400,
        width: WindowWidth::HOUR,
        local: LocalNets::private(),
        secret: Some("0123456789abcdef".into()),
    })
}

fn evidence(n: u8) -> Evidence {
    let at = PacketTime::from_secs_micros(7200, n.into());
    let mut finding = Finding::new(
        EvidenceKind::VerticalPortScan,
        IpAddr::from([203, 0, 113, n]),
        WindowWidth::HOUR.window_of(at),
        at,
    );
    (finding.level, finding.confidence) = (ThreatLevel::High, Confidence::new(0.5));
    let id = finding.id();
    Evidence { id, finding, last_seen: at, count: 1, accumulated: f64::from(n), proven: 0.0, revision: 0 }
}

fn alert(evidence: Evidence, times: usize) -> Alert {
    let (attacker, window) = (evidence.finding.profile, evidence.finding.window);
    Alert {
        id: AlertId::derive(attacker, window, 0),
        attacker,
        window,
        window_start: WindowWidth::HOUR.start_of(window),
        window_end: WindowWidth::HOUR.end_of(window),
        at: evidence.last_seen,
        cause: Cause::Accumulated,
        accumulated: 15.0,
        confidence: Confidence::new(0.5),
        proof: Proof::Proven,
        in_conversation: false,
        near_conversation: false,
        attacker_is_local: false,
        evidence: std::iter::repeat_n(Arc::new(evidence), times).collect(),
    }
}

fn words(command: &Cmd) -> Vec<String> {
    let text = |arg: Arg<&[u8]>| match arg {
        Arg::Simple(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        _ => String::new(),
    };
    command.args_iter().map(text).collect()
}

/// Nothing is written whose end is not written with it.
fn all_ends(commands: &[Cmd]) {
    let mut open: Option<Vec<Vec<String>>> = None;
    for command in commands.iter().map(words) {
        match (command[0].as_str(), &mut open) {
            ("MULTI", None) => open = Some(Vec::new()),
            ("EXEC", Some(all)) => {
                let last = all.last().expect("something is written");
                assert_eq!(last[0], "EXPIRE");
                assert!(all.iter().all(|command| command[1] == last[1]), "{all:?}");
                open = None;
            }
            ("MULTI" | "EXEC", _) => panic!("a transaction within another, or none"),
            (_, Some(all)) => all.push(command),
            ("HSET" | "ZADD", None) => panic!("without an end: {command:?}"),
            ("SET", None) => assert_eq!(command[3], "EX"),
            _ => {}
        }
    }
    assert_eq!(open, None);
}

#[test]
fn what_is_written_and_when_it_ends_are_one() {
    let (mut mirror, mut out) = (mirror(), Vec::new());
    (0..200).for_each(|n| mirror.take(&Record::Evidence(Arc::new(evidence(n))), &mut out));
    mirror.take(&Record::Alert(Arc::new(alert(evidence(1), 300))), &mut out);
    mirror.beat(0, "", &[("flows", 1)], &mut out);
    mirror.analysis(&[("mode", "monitor".into())], &mut out);
    let profile = (PacketTime(0), IpAddr::from([192, 0, 2, 1]), Facts::default());
    mirror.profiles(&[profile], &mut out);
    mirror.renew(&mut out);
    mirror.sweep(0, &mut out);
    let window = evidence(1).finding.window;
    mirror.take(&Record::WindowClosed { window, at: PacketTime(0) }, &mut out);
    all_ends(&out);
    assert!(out.iter().all(|command| words(command).len() <= 3 * TOGETHER), "none is long");
}

#[test]
fn blocks_are_rendered_some_at_a_time() {
    let dir = tempfile::tempdir().expect("dir");
    let path = dir.path().join("blocks.sqlite");
    let mut book = Book::open(&path).expect("open");
    for n in 0..1000_u32 {
        let block = NewBlock {
            net: Net::host(IpAddr::from((0xc633_0000 + n).to_be_bytes())),
            reason: "a test".into(),
            alert: None,
            source: "hand".into(),
            from: 0,
            until: Some(1_000_000_000),
            unproven: false,
            manner: "drop".into(),
        };
        book.insert(&block).expect("insert");
    }
    let stories = Stories::open(&path).expect("open");
    let (mut mirror, mut keys) = (mirror(), HashSet::new());
    let standing = stories.marks(0).expect("read");
    mirror.blocks(&standing, 0, &mut Vec::new());
    mirror.renew_blocks(&standing, vec!["192.0.2.1".into(), "198.51.0.1".into()]);
    let mut pieces = 0;
    while mirror.has_blocks() {
        let mut out = Vec::new();
        mirror.some_blocks(&stories, 0, &mut out).expect("read");
        assert!(out.len() < 1000, "{}", out.len());
        all_ends(&out);
        keys.extend(out.iter().map(words).filter(|words| words[0] == "SET").map(|words| words[1].clone()));
        let gone =
            out.iter().map(words).any(|words| words[0] == "DEL" && words[1].ends_with("block_192.0.2.1"));
        assert_eq!(gone, pieces == 0);
        pieces += 1;
    }
    assert_eq!(keys.len(), 1000);
    mirror.blocks(&standing, 0, &mut Vec::new());
    assert!(!mirror.has_blocks(), "all of it was told");
    for mark in &standing[..300] {
        book.lift_all(mark.net, 1).expect("lift");
    }
    mirror.blocks(&stories.marks(1).expect("read"), 1, &mut Vec::new());
    let mut gone = HashSet::new();
    while mirror.has_blocks() {
        let mut out = Vec::new();
        mirror.some_blocks(&stories, 1, &mut out).expect("read");
        gone.extend(out.iter().map(words).filter(|words| words[0] == "ZREM").map(|words| words[2].clone()));
    }
    assert_eq!(gone.len(), 300);
}

#[test]
fn what_happens_while_redis_is_away_is_counted_and_nothing_is_made_of_it() {
    let mut mirror = mirror();
    mirror.note(&Record::Evidence(Arc::new(evidence(1))));
    mirror.note(&Record::Evidence(Arc::new(evidence(2))));
    mirror.note(&Record::Alert(Arc::new(alert(evidence(2), 1))));
    let mut out = Vec::new();
    mirror.renew(&mut out);
    let all: Vec<Vec<String>> = out.iter().map(words).collect();
    let sums = all.iter().find(|words| words[0] == "ZADD").expect("sums");
    let place = sums.iter().position(|word| word.contains("203.0.113.1_")).expect("the first");
    assert_eq!((sums[place - 1].as_str(), sums.len()), ("1.0", 6));
    let number = |name: &str| {
        all.iter()
            .find(|words| words.get(1).is_some_and(|key| key.ends_with(name)))
            .map(|words| words[2].clone())
    };
    assert_eq!(number("number_of_evidence").as_deref(), Some("2"));
    assert_eq!(number("number_of_alerts").as_deref(), Some("1"));
}

#[test]
fn traffic_beyond_the_limit_is_counted() {
    let mut mirror = mirror();
    let host = |port| Endpoint { addr: IpAddr::from([10, 0, 0, 1]), port };
    let mut flow = Flow::new(PacketTime(0), Proto::Tcp, host(1), host(2));
    flow.phase = Phase::End;
    let mut going = flow.clone();
    going.phase = Phase::Start;
    let told = |mirror: &mut Mirror, flow: &Flow| {
        let mut out = Vec::new();
        mirror.take(&Record::Events(Arc::new(vec![Event::Flow(flow.clone())])), &mut out);
        out.len()
    };
    assert_eq!(told(&mut mirror, &flow), 0, "nobody listens");
    mirror.listened([Channel::Flow].into());
    for _ in 0..MOST_TRAFFIC {
        assert_eq!((told(&mut mirror, &going), told(&mut mirror, &flow)), (0, 1));
    }
    assert_eq!((told(&mut mirror, &flow), mirror.untold()), (0, 1));
}
