use super::*;
use proptest::prelude::*;

pub(crate) fn report(text: &str) -> Report {
    Report {
        indicator: Indicator::net(text.parse().expect("net")).expect("public"),
        score: Percent::FULL,
        confidence: Percent::of(0.9),
        evidence: vec!["VERTICAL_PORT_SCAN".into(), "PASSWORD_GUESSING".into()],
        count: 12,
        first: Moment(1_793_500_000_000),
        last: Moment(1_793_500_060_000),
        services: vec![Service { proto: 6, port: 22 }, Service { proto: 17, port: 53 }],
        direction: Direction::Attacked,
        tlp: Tlp::Green,
    }
}

/// One message of each kind.
pub(crate) fn one_of_each() -> Vec<Message> {
    let indicator = report("198.51.100.7").indicator;
    vec![
        Message::Report(report("198.51.100.7")),
        Message::Block(BlockRequest {
            report: report("2001:db8::7"),
            action: Action::Both,
            duration: Duration::from_secs(3600),
            own_block: true,
        }),
        Message::Retract(Retract { indicator: Some(indicator.clone()), reason: Reason::FalsePositive }),
        Message::Roster(SignedRoster { bytes: vec![1, 2, 3], sig: [9; 64] }),
        Message::Announce(Announce {
            addresses: vec!["/ip4/198.51.100.9/tcp/7778".into()],
            versions: vec![1],
            reports: 3,
        }),
        Message::List(ListEntries {
            list: Name::new("scanners").expect("name"),
            version: 4,
            add: vec![indicator, Indicator::domain("evil.example").expect("domain")],
            remove: vec![Indicator::Ja3([3; 16])],
        }),
    ]
}

#[test]
fn every_kind_is_read_as_written() {
    let all = one_of_each();
    assert_eq!(all.iter().map(Message::kind).collect::<Vec<_>>(), Kind::ALL);
    for message in all {
        let bytes = message.encode();
        assert!(bytes.len() < message.kind().largest());
        assert_eq!(Message::decode(message.kind(), &bytes), Ok(message));
    }
}

#[test]
fn impossible_values_are_refused() {
    let wire = || report("198.51.100.7").to_wire();
    let refused = |change: &dyn Fn(&mut wire::Report)| {
        let mut wire = wire();
        change(&mut wire);
        assert!(Message::decode(Kind::Report, &wire.encode_to_vec()).is_err(), "{wire:?}");
    };
    assert!(Message::decode(Kind::Report, &wire().encode_to_vec()).is_ok());
    refused(&|wire| wire.indicator = None);
    refused(&|wire| wire.score = 101);
    refused(&|wire| wire.confidence = u32::MAX);
    refused(&|wire| wire.evidence = vec!["A".into(); 9]);
    refused(&|wire| wire.evidence = vec!["host alice-laptop".into()]);
    refused(&|wire| wire.ports = vec![0; 9]);
    refused(&|wire| wire.ports = vec![1 << 24]);
    refused(&|wire| wire.first_ms = u64::MAX);
    refused(&|wire| wire.tlp = 3);
    refused(&|wire| wire.indicator.as_mut().expect("one").value = vec![192, 168, 1, 1]);
    for (body, kind) in [
        (
            wire::BlockRequest { report: Some(wire()), action: 1, duration_s: 86_401, own_block: true },
            Kind::Block,
        ),
        (wire::BlockRequest { report: Some(wire()), action: 1, duration_s: 0, own_block: true }, Kind::Block),
        (
            wire::BlockRequest { report: Some(wire()), action: 4, duration_s: 60, own_block: true },
            Kind::Block,
        ),
        (wire::BlockRequest { report: None, action: 1, duration_s: 60, own_block: true }, Kind::Block),
    ] {
        assert!(Message::decode(kind, &body.encode_to_vec()).is_err(), "{body:?}");
    }
    for reason in [0, 1, 5] {
        let all = wire::Retract { indicator: None, reason };
        assert!(Message::decode(Kind::Retract, &all.encode_to_vec()).is_err(), "{reason}");
    }
    for address in ["1.2.3.4", "/ip4/1.2.3.4\n", ""] {
        let announce = wire::Announce { addresses: vec![address.into()], ..Default::default() };
        assert!(Message::decode(Kind::Announce, &announce.encode_to_vec()).is_err(), "{address}");
    }
    let list = wire::ListEntries { list: "a b".into(), ..Default::default() };
    assert!(Message::decode(Kind::List, &list.encode_to_vec()).is_err());
}

#[test]
fn percents_are_brought_into_range() {
    for (share, want) in [(0.0, 0.0), (1.0, 1.0), (0.256, 0.26), (7.0, 1.0), (-1.0, 0.0), (f64::NAN, 0.0)] {
        assert!((Percent::of(share).share() - want).abs() < 1e-9, "{share}");
    }
}

proptest! {
    #[test]
    fn hostile_bodies_are_refused_or_read_again(kind in 0usize..6, body: Vec<u8>) {
        let kind = Kind::ALL[kind];
        if let Ok(message) = Message::decode(kind, &body) {
            prop_assert_eq!(Message::decode(kind, &message.encode()), Ok(message));
        }
    }

    #[test]
    fn damaged_bodies_are_refused_or_read_again(which in 0usize..6, at: usize, bit in 0u8..8, cut: usize) {
        let message = one_of_each().swap_remove(which);
        let mut body = message.encode();
        let at = at % body.len();
        body[at] ^= 1 << bit;
        body.truncate(cut % (body.len() + 1));
        if let Ok(read) = Message::decode(message.kind(), &body) {
            prop_assert_eq!(Message::decode(message.kind(), &read.encode()), Ok(read));
        }
    }
}
