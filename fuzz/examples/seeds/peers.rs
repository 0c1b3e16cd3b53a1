//! Seeds of what peers send: one of each kind and of each exchange.

use std::time::Duration;

use prost::Message as _;
use slips_p2p::envelope::{Head, seal};
use slips_p2p::exchange::{Request, Response, Sight};
use slips_p2p::identity::{NetId, NodeId, NodeKey};
use slips_p2p::indicator::Indicator;
use slips_p2p::invite::{Invite, Open};
use slips_p2p::link::{FromNode, Start, ToNode, VERSION};
use slips_p2p::members::{Members, Org, Peer};
use slips_p2p::message::{
    Action, Announce, BlockRequest, Direction, ListEntries, Message, Name, Percent, Reason, Report, Retract,
    Service, SignedRoster, Tlp,
};
use slips_p2p::moment::{Clock, Moment};
use slips_p2p::replay::Replay;
use slips_p2p::roster::{LONGEST, Role, Roster};
use slips_p2p::wire;

use crate::Seeds;

fn report() -> Report {
    Report {
        indicator: Indicator::host([198, 51, 100, 7].into()).expect("public"),
        score: Percent::FULL,
        confidence: Percent::of(0.9),
        evidence: vec!["VERTICAL_PORT_SCAN".into()],
        count: 3,
        first: Moment(5),
        last: Moment(9),
        services: vec![Service { proto: 6, port: 22 }],
        direction: Direction::Attacked,
        tlp: Tlp::Green,
    }
}

fn roster(key: &NodeKey) -> SignedRoster {
    Roster {
        org: key.id(),
        version: 1,
        not_before: Moment(1),
        not_after: Moment(1).plus(LONGEST),
        members: [(NodeId([1; 32]), Role::Blamer)].into(),
        revoked: vec![NodeId([2; 32])],
    }
    .sign(key)
}

fn messages_of_each_kind(key: &NodeKey) -> [Message; 6] {
    let list = Name::new("scanners").expect("a name");
    let domain = Indicator::domain("evil.example").expect("public");
    [
        Message::Report(report()),
        Message::Block(BlockRequest {
            report: report(),
            action: Action::Both,
            duration: HOUR,
            own_block: true,
        }),
        Message::Retract(Retract { indicator: Some(domain.clone()), reason: Reason::Over }),
        Message::Roster(roster(key)),
        Message::Announce(Announce {
            addresses: vec!["/ip4/198.51.100.9/tcp/7778".into()],
            versions: vec![1],
            reports: 1,
        }),
        Message::List(ListEntries {
            list,
            version: 1,
            add: vec![domain],
            remove: vec![Indicator::Ja3([3; 16])],
        }),
    ]
}

const HOUR: Duration = Duration::from_secs(3600);

fn key() -> NodeKey {
    NodeKey::from_seed(&[5; 32])
}

fn sealed() -> Seeds {
    let key = key();
    let head = Head {
        net: NetId([0; 8]),
        author: key.id(),
        epoch: 1,
        seq: 1,
        issued: Clock::EARLIEST.plus(HOUR),
        ttl: HOUR,
    };
    messages_of_each_kind(&key).iter().map(|message| seal(&head, message, &key)).collect()
}

/// Whole envelopes, and their heads alone: the target signs those anew.
pub fn envelope() -> Seeds {
    let heads = sealed().into_iter().filter_map(|bytes| wire::Signed::decode(bytes.as_slice()).ok());
    sealed().into_iter().chain(heads.map(|signed| signed.head)).collect()
}

pub fn messages() -> Seeds {
    messages_of_each_kind(&key())
        .iter()
        .zip(0u8..)
        .map(|(message, choice)| with(choice, message.encode()))
        .collect()
}

pub fn rosters() -> Seeds {
    vec![roster(&key()).bytes]
}

pub fn invites() -> Seeds {
    let addresses = vec!["/ip4/198.51.100.9/tcp/7778".to_owned()];
    let invite =
        Invite { psk: [1; 32], inviter: key().id(), token: [2; 16], until: Clock::EARLIEST, addresses };
    vec![invite.to_string().into_bytes(), key().id().to_string().into_bytes()]
}

pub fn exchange() -> Seeds {
    let (id, indicator) = (key().id(), report().indicator);
    let name = Name::new("attic");
    let sight = Sight {
        indicator: indicator.clone(),
        score: Percent::FULL,
        confidence: Percent::of(0.5),
        last: Moment(7),
    };
    let requests = [
        Request::Missing { have: vec![(id, 1, 7); 3], after: Some((id, 1, 9)) },
        Request::Seen(vec![indicator]),
        Request::Join { token: [2; 16], name: name.clone() },
    ];
    let responses = [
        Response::Page { envelopes: sealed(), next: Some((id, 1, 9)) },
        Response::Seen(vec![sight]),
        Response::Join { admitted: true, name },
    ];
    let mut seeds: Seeds = requests.iter().map(|request| with(0, request.encode())).collect();
    seeds.extend(responses.iter().map(|response| with(1, response.encode())));
    let mut replay = Replay::default();
    (1..100).for_each(|seq| replay.take(id, 1, seq));
    seeds.extend(replay.persist().map(|(_, kept)| with(2, kept)));
    seeds
}

/// Frames of each end, alone and in a row.
pub fn frames() -> Seeds {
    let (id, name) = (key().id(), Name::new("attic"));
    let (indicators, seen) = (vec![report().indicator], vec![]);
    let mut members = Members::default();
    members.add(id, Peer { role: Some(Role::Authority), ..Peer::invited(name.clone()) }).expect("room");
    members.trust_org(id, Org { name: None, base: 0.5, cap: Some(0.4), max_role: Role::Blamer });
    let start = Start {
        key: key(),
        psk: [1; 32],
        epoch: 1,
        last_seq: 2,
        name: name.clone().expect("a name"),
        listen: vec!["/ip4/0.0.0.0/tcp/7778".into()],
        members: members.clone(),
        invites: Open::default(),
        replay: vec![(id, vec![1; 137])],
        synced: true,
    };
    let to = [
        ToNode::Start(Box::new(start)),
        ToNode::Keep(vec![3; 40]),
        ToNode::Members(members),
        ToNode::Believe(id, 0.5),
        ToNode::Ask(indicators.clone()),
        ToNode::Synced(true),
        ToNode::Status,
    ];
    let from = [
        FromNode::Hello { version: VERSION, sandbox: "no files".into() },
        FromNode::Connected(id),
        FromNode::Asked { from: id, indicators, ticket: 1 },
        FromNode::Answered { from: id, seen },
        FromNode::Published { seq: 1, envelope: vec![4; 40] },
        FromNode::Joined { id, name, invite: [3; 32] },
        FromNode::Failed("no such address".into()),
    ];
    let whole: Seeds = to.iter().map(ToNode::encode).chain(from.iter().map(FromNode::encode)).collect();
    let mut seeds: Seeds = whole.iter().map(|frame| with(1, frame[4..].to_vec())).collect();
    seeds.push(with(6, whole.concat()));
    seeds
}

pub fn table() -> Seeds {
    let id = key().id();
    let text = format!(
        "# ours\npeers:\n  # in the attic\n  - id: {id}\n    name: attic\n    addresses: [203.0.113.9, \"[2001:db8::1]:99\"]\n    \
         group: family\n    role: blamer\n    weight: 0.5\n    confirmed: false\n    note: \"a \\\"b\\\"\"\n    \
         follow:\n      - {{list: scans, policy: score}}\norganisations:\n  - id: {}\n    cap: 0.6\n    max_role: authority\n",
        NodeKey::from_seed(&[6; 32]).id()
    );
    vec![text.into_bytes(), b"peers: []\norganisations: []\n".to_vec()]
}

/// The files in the order of the target.
pub fn state() -> Seeds {
    let (id, invite) = (key().id(), invites().swap_remove(0));
    let book = format!(
        r#"{{"version":1,"node":"{id}","key":"file","epoch":5,"invites":[{{"hash":"{}","until_ms":1793600060000,"name":"attic","group":null}}],"join":"{}","joined":{{"by":"{id}","admitted":true}},"pardons":["{id}"]}}"#,
        "ab".repeat(32),
        String::from_utf8_lossy(&invite)
    );
    let (secret, rosters) = ("01".repeat(32), format!("{}\n", roster(&key())));
    let list = "45.83.64.1\n45.83.65.0/24\nbad.example.org\n- 45.83.64.2 1793600060000\n".to_owned();
    let files = [book, secret.clone(), secret, rosters, list];
    files.into_iter().zip(0..).map(|(text, which)| with(which, text.into_bytes())).collect()
}

fn with(choice: u8, bytes: Vec<u8>) -> Vec<u8> {
    [vec![choice], bytes].concat()
}
