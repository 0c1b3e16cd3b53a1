use proptest::prelude::*;

use super::*;
use crate::members::Peer;
use crate::message::tests::one_of_each;
use crate::privacy::Privacy;

fn key(n: u8) -> NodeKey {
    NodeKey::from_seed(&[n; 32])
}

fn members() -> Members {
    let mut members = Members::default();
    let peer = Peer {
        name: Name::new("attic"),
        addresses: vec!["/ip4/198.51.100.9/tcp/7778".into()],
        base: 0.6,
        group: Some("home".into()),
        role: Some(Role::Authority),
        confirmed: true,
    };
    members.add(key(2).id(), peer).expect("room");
    members.add(key(3).id(), Peer::invited(None)).expect("room");
    let org = Org { name: None, base: 0.5, cap: Some(0.4), max_role: Role::Blamer };
    members.trust_org(crate::roster::tests::org().id(), org);
    let roster = crate::roster::tests::roster(1, &[(9, Role::Reporter)]).sign(&crate::roster::tests::org());
    members.add_roster(&roster, Moment(5_000)).expect("good");
    members
}

fn start() -> Start {
    let mut invites = Open::default();
    invites.open(&[7; 16], Duration::from_secs(60), Moment(1)).expect("room");
    Start {
        key: key(1),
        psk: [4; 32],
        epoch: 5,
        last_seq: 6,
        name: Name::new("router").expect("name"),
        listen: vec!["/ip4/0.0.0.0/tcp/7778".into()],
        members: members(),
        invites,
        replay: vec![(key(2).id(), vec![1; 529])],
        synced: true,
    }
}

fn sight() -> Sight {
    Sight {
        indicator: Indicator::host([198, 51, 100, 7].into()).expect("public"),
        score: crate::message::Percent::of(0.5),
        confidence: crate::message::Percent::of(0.25),
        last: Moment(9),
    }
}

/// The frame without its length, which must be right.
fn inside(bytes: &[u8]) -> &[u8] {
    let (len, rest) = bytes.split_first_chunk::<4>().expect("a length");
    assert_eq!(u32::from_le_bytes(*len) as usize, rest.len());
    rest
}

#[test]
fn what_the_daemon_says_is_read_as_written() {
    let mut words = vec![
        ToNode::Start(Box::new(start())),
        ToNode::Keep(vec![1, 2, 3]),
        ToNode::Members(members()),
        ToNode::Invites(start().invites),
        ToNode::Believe(key(2).id(), 0.25),
        ToNode::Ask(vec![sight().indicator]),
        ToNode::Answer { ticket: 7, seen: vec![sight()] },
        ToNode::Synced(false),
        ToNode::Status,
    ];
    for message in one_of_each() {
        let message = Privacy::default().clear(message).expect("public");
        words.push(ToNode::Publish { message, ttl: Duration::from_secs(60) });
    }
    for word in words {
        let read = ToNode::decode(inside(&word.encode())).expect("own bytes");
        // Keys and members have no equality; what they print or give in bytes has.
        assert_eq!(format!("{read:?}"), format!("{word:?}"));
        assert_eq!(read.encode(), word.encode());
    }
}

#[test]
fn what_the_node_tells_is_read_as_written() {
    let id = key(2).id();
    let status = Status {
        connected: vec![id],
        accepted: vec![(Kind::Report, 3)],
        refused: vec![(Why::Quota, 4)],
        too_fast: 1,
        shunned: vec![id],
        turned_away: 9,
        news_dropped: 2,
        publish_dropped: 3,
        publish_waiting: 4,
        archived: 5,
        last_seq: 6,
        replay: Vec::new(),
    };
    for word in [
        FromNode::Hello { version: VERSION, sandbox: "all of it".into() },
        FromNode::Listening("/ip4/127.0.0.1/tcp/1".into()),
        FromNode::Connected(id),
        FromNode::Gone(id),
        FromNode::Shunned(id),
        FromNode::Heard(vec![5; 300]),
        FromNode::Asked { from: id, indicators: vec![sight().indicator], ticket: 3 },
        FromNode::Answered { from: id, seen: vec![sight()] },
        FromNode::Published { seq: 8, envelope: vec![1] },
        FromNode::Joined { id, name: Name::new("attic"), invite: [3; 32] },
        FromNode::Admitted { by: id, name: None },
        FromNode::Refused(id),
        FromNode::Synced { from: id, new: 2 },
        FromNode::Status(Box::new(status.clone())),
        FromNode::Failed("no such address".into()),
    ] {
        assert_eq!(FromNode::decode(inside(&word.encode())), Ok(word));
    }
}

#[test]
fn frames_come_whole_however_the_bytes_are_cut() {
    let words = [FromNode::Gone(key(1).id()), FromNode::Heard(vec![9; 5000]), FromNode::Failed("x".into())];
    let bytes: Vec<u8> = words.iter().flat_map(FromNode::encode).collect();
    for cut in [1, 3, 7, 4096, bytes.len()] {
        let mut frames = Frames::default();
        let mut got = Vec::new();
        for piece in bytes.chunks(cut) {
            frames.push(piece);
            while let Some(frame) = frames.next_frame().expect("small") {
                got.push(FromNode::decode(frame).expect("own bytes"));
            }
        }
        assert_eq!(got, words);
    }
    let mut frames = Frames::default();
    frames.push(&u32::MAX.to_le_bytes());
    assert_eq!(frames.next_frame(), Err(NotAFrame::TooLarge));
}

proptest! {
    #[test]
    fn hostile_frames_are_refused_or_read(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        // Either way without a panic; what is read is written in a form that is read again.
        if let Ok(word) = FromNode::decode(&bytes) {
            prop_assert_eq!(FromNode::decode(inside(&word.encode())), Ok(word));
        }
        let _ = ToNode::decode(&bytes);
    }
}
