//! Seeds of what peers send: one of each kind behind its choice byte.

use std::time::Duration;

use slips_p2p::envelope::{Head, seal};
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

pub fn peers() -> Seeds {
    let key = NodeKey::from_seed(&[5; 32]);
    let list = Name::new("scanners").expect("a name");
    let domain = Indicator::domain("evil.example").expect("public");
    let hour = Duration::from_secs(3600);
    let messages = [
        Message::Report(report()),
        Message::Block(BlockRequest {
            report: report(),
            action: Action::Both,
            duration: hour,
            own_block: true,
        }),
        Message::Retract(Retract { indicator: Some(domain.clone()), reason: Reason::Over }),
        Message::Roster(roster(&key)),
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
    ];
    let head = Head {
        net: NetId([0; 8]),
        author: NodeId([0; 32]),
        epoch: 1,
        seq: 1,
        issued: Clock::EARLIEST,
        ttl: hour,
    };
    let mut seeds: Seeds =
        messages.iter().zip(0u8..).map(|(message, choice)| with(choice, message.encode())).collect();
    seeds.extend(messages.iter().map(|message| with(6, seal(&head, message, &key))));
    seeds.push(with(7, roster(&key).bytes));
    let addresses = vec!["/ip4/198.51.100.9/tcp/7778".to_owned()];
    let invite =
        Invite { psk: [1; 32], inviter: key.id(), token: [2; 16], until: Clock::EARLIEST, addresses };
    seeds.push(with(8, invite.to_string().into_bytes()));
    let mut replay = Replay::default();
    (1..100).for_each(|seq| replay.take(key.id(), 1, seq));
    seeds.extend(replay.persist().map(|(_, kept)| with(9, kept)));
    seeds
}

fn with(choice: u8, bytes: Vec<u8>) -> Vec<u8> {
    [vec![choice], bytes].concat()
}
