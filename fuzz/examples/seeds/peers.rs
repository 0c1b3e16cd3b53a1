//! Seeds of what peers send: one of each kind and of each exchange.

use std::time::Duration;

use prost::Message as _;
use slips_p2p::envelope::{Head, seal};
use slips_p2p::exchange::{Request, Response, Sight};
use slips_p2p::identity::{NetId, NodeId, NodeKey};
use slips_p2p::indicator::Indicator;
use slips_p2p::invite::Invite;
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

fn with(choice: u8, bytes: Vec<u8>) -> Vec<u8> {
    [vec![choice], bytes].concat()
}
