//! What leaves, in every kind of message and answer, made from generated facts: never what is inside, ours, or a text from traffic.
//! Who asks is a naive judge of its own, not the code that is tested.
#![allow(clippy::expect_used, reason = "a test has no other way to fail")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use proptest::prelude::*;
use slips_core::addr::Net;
use slips_core::evidence::{EvidenceKind, Proof};
use slips_p2p::envelope::{Head, open};
use slips_p2p::exchange::{Request, Response, Sight};
use slips_p2p::identity::{NetId, NodeKey};
use slips_p2p::indicator::Indicator;
use slips_p2p::message::{
    Announce, Direction, Kind, ListEntries, Message, Name, Percent, Reason, Report, Retract, Service,
    SignedRoster,
};
use slips_p2p::moment::Moment;
use slips_p2p::privacy::{Privacy, Sighting, block_request, report};

const OWN: [&str; 3] = ["203.0.113.0/24", "2001:db8:1::/48", "192.168.0.0/16"];

fn net(text: &str) -> Net {
    text.parse().expect("a network")
}

fn privacy() -> Privacy {
    Privacy {
        own: OWN.map(net).to_vec(),
        own_domains: vec!["ours.example".into()],
        protected: vec![net("9.9.9.9")],
    }
}

/// The judge: written from the registries of special addresses, without the crate's own helpers.
fn is_inside(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            ip.is_private()
                || ip.is_loopback()
                || ip.is_link_local()
                || ip.is_multicast()
                || a == 0
                || a >= 224
                || (a == 100 && (64..128).contains(&b))
        }
        IpAddr::V6(ip) => {
            ip.is_loopback()
                || ip.is_unspecified()
                || ip.is_multicast()
                || ip.is_unique_local()
                || ip.is_unicast_link_local()
                || ip.to_ipv4_mapped().is_some()
        }
    }
}

fn is_secret_ip(ip: IpAddr) -> bool {
    is_inside(ip) || OWN.iter().any(|own| net(own).overlaps(Net::host(ip)))
}

fn is_secret(indicator: &Indicator) -> bool {
    match indicator {
        Indicator::Net(net) => {
            let wide = if net.addr().is_ipv4() { net.prefix() < 24 } else { net.prefix() < 48 };
            let own = OWN.iter().any(|own| self::net(own).overlaps(*net));
            wide || own || is_secret_ip(net.addr()) || is_secret_ip(net.last())
        }
        Indicator::Domain(name) => {
            let inside = [".lan", ".local", ".arpa", ".internal", ".home"];
            !name.contains('.')
                || name.ends_with("ours.example")
                || inside.iter().any(|end| name.ends_with(end))
                || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b))
        }
        Indicator::Ja4(text) => text.len() != 36 || text.contains(' '),
        Indicator::Ja3(_) | Indicator::Ja3s(_) => false,
    }
}

fn ip() -> impl Strategy<Value = IpAddr> {
    let v4 = any::<u32>().prop_map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits)));
    let near = (
        prop::sample::select(vec![
            [192, 168],
            [10, 0],
            [172, 16],
            [100, 64],
            [169, 254],
            [203, 0],
            [127, 0],
            [198, 51],
        ]),
        any::<[u8; 2]>(),
    )
        .prop_map(|([a, b], [c, d])| IpAddr::from([a, b, c, d]));
    let ours = any::<u8>().prop_map(|d| IpAddr::from([203, 0, 113, d]));
    let v6 = (prop::sample::select(vec![0xfd00_u16, 0xfe80, 0x2001, 0xff02, 0, 0x2a00]), any::<u128>())
        .prop_map(|(head, rest)| IpAddr::V6(Ipv6Addr::from_bits(u128::from(head) << 112 | rest >> 16)));
    let ours6 = any::<u64>().prop_map(|rest| {
        IpAddr::V6(Ipv6Addr::from_bits(0x2001_0db8_0001_0000_0000_0000_0000_0000 | u128::from(rest)))
    });
    prop_oneof![v4, near, ours, v6, ours6]
}

/// Made without the constructors, as a fault elsewhere in the program might.
fn indicator() -> impl Strategy<Value = Indicator> {
    let host = ip().prop_map(|ip| Indicator::Net(Net::host(ip)));
    let wide = (ip(), 0u8..=128).prop_map(|(ip, prefix)| {
        let prefix = if ip.is_ipv4() { prefix % 33 } else { prefix };
        Indicator::Net(Net::new(ip, prefix).expect("a network"))
    });
    let name = prop::sample::select(vec![
        "evil",
        "ours",
        "alices-laptop",
        "mail",
        "printer",
        "GET /x?password=hunter2",
    ]);
    let end =
        prop::sample::select(vec!["", ".example", ".ours.example", ".lan", ".local", ".home.arpa", ".net"]);
    let domain = (name, end).prop_map(|(name, end)| Indicator::Domain(format!("{name}{end}").into()));
    let ja4 = prop::sample::select(vec![
        "t13d1516h2_8daaf6152771_b186095e22b6",
        "the payload of a packet",
        "hunter2",
    ])
    .prop_map(|text| Indicator::Ja4(text.into()));
    prop_oneof![4 => host, 2 => wide, 2 => domain, 1 => ja4, 1 => any::<[u8; 16]>().prop_map(Indicator::Ja3)]
}

fn sighting() -> impl Strategy<Value = Sighting> {
    let facts = (0.0..1.5f64, 0.0..1.5f64, any::<u64>(), any::<[u64; 2]>(), any::<bool>());
    let kinds = prop::collection::vec(prop::sample::select(EvidenceKind::ALL.to_vec()), 0..12);
    let services = prop::collection::vec((any::<u8>(), any::<u16>()), 0..20);
    (indicator(), facts, kinds, services).prop_map(|(indicator, facts, evidence, services)| {
        let (score, confidence, count, [first, last], proven) = facts;
        Sighting {
            indicator,
            score,
            confidence,
            evidence,
            count,
            first: Moment(first),
            last: Moment(last),
            services: services.into_iter().map(|(proto, port)| Service { proto, port }).collect(),
            direction: Direction::Attacked,
            proof: if proven { Proof::Proven } else { Proof::Unproven },
        }
    })
}

fn address() -> impl Strategy<Value = String> {
    let ip = ip().prop_map(|ip| match ip {
        IpAddr::V4(ip) => format!("/ip4/{ip}/tcp/7778"),
        IpAddr::V6(ip) => format!("/ip6/{ip}/tcp/7778"),
    });
    let odd = prop::sample::select(vec![
        "/dns4/alices-laptop.ours.example/tcp/1",
        "/unix/tmp/x",
        "/ip4/198.51.100.7/tcp/1/http",
        "",
    ]);
    prop_oneof![3 => ip, 1 => odd.prop_map(str::to_owned)]
}

/// All kinds of messages that can be made from these facts.
fn messages(sighting: &Sighting, addresses: Vec<String>, text: &str) -> Vec<Message> {
    let accused = sighting.indicator.clone();
    let list = |add, remove| {
        let list = Name::new("scanners").expect("a name");
        Message::List(ListEntries { list, version: 1, add, remove })
    };
    let mut all = vec![
        Message::Retract(Retract { indicator: Some(accused.clone()), reason: Reason::Over }),
        Message::Announce(Announce { addresses, versions: vec![1], reports: 7 }),
        Message::Roster(SignedRoster { bytes: vec![1], sig: [2; 64] }),
        list(vec![accused.clone()], Vec::new()),
        list(Vec::new(), vec![accused]),
    ];
    if let (Ok(report), Ok(block)) = (report(sighting), block_request(sighting, Duration::from_secs(60))) {
        // A text from traffic where the name of an evidence stands.
        all.push(Message::Report(Report { evidence: vec![text.to_owned()], ..report.clone() }));
        all.extend([Message::Report(report), Message::Block(block)]);
    }
    all
}

/// What a message accuses or takes back.
fn named(message: &Message) -> Vec<&Indicator> {
    match message {
        Message::Report(report) => vec![&report.indicator],
        Message::Block(block) => vec![&block.report.indicator],
        Message::Retract(retract) => retract.indicator.iter().collect(),
        Message::List(list) => list.add.iter().chain(&list.remove).collect(),
        Message::Roster(_) | Message::Announce(_) => Vec::new(),
    }
}

fn announced_ip(address: &str) -> Option<IpAddr> {
    address.split('/').nth(2)?.parse().ok()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_message_of_any_kind_tells_what_is_inside_or_ours(
        sighting in sighting(), addresses in prop::collection::vec(address(), 0..4), text in "[A-Z_]{1,20}|[ -~]{1,20}",
    ) {
        let key = NodeKey::from_seed(&[1; 32]);
        let net = NetId([7; 8]);
        let head = Head { net, author: key.id(), epoch: 1, seq: 1, issued: Moment(1), ttl: Duration::from_secs(60) };
        for message in messages(&sighting, addresses, &text) {
            let Ok(cleared) = privacy().clear(message) else { continue };
            // As those read it whom it reaches.
            let opened = open(&cleared.seal(&head, &key), net).expect("what leaves is well formed").message;
            for indicator in named(&opened) {
                prop_assert!(!is_secret(indicator), "{opened:?}");
            }
            match &opened {
                Message::Report(report) | Message::Block(slips_p2p::message::BlockRequest { report, .. }) => {
                    prop_assert!(report.evidence.iter().all(|name| EvidenceKind::from_name(name).is_some()));
                    prop_assert!(report.indicator != Indicator::Net(self::net("9.9.9.9")));
                }
                // Our own public address is what an announce is for; of the inside none.
                Message::Announce(announce) => for address in &announce.addresses {
                    let ip = announced_ip(address);
                    prop_assert!(ip.is_some_and(|ip| !is_inside(ip)) && address.split('/').count() == 5, "{address}");
                },
                _ => {}
            }
        }
    }

    #[test]
    fn no_question_and_no_answer_tells_what_is_inside(indicators in prop::collection::vec(indicator(), 0..32)) {
        let asked = Request::decode(&Request::Seen(indicators.clone()).encode()).expect("well formed");
        let Request::Seen(asked) = asked else { return Err(TestCaseError::fail("a question")) };
        // Our own public addresses are the daemon's to know: it asks `may_answer` before it answers.
        let private = |indicator: &Indicator| is_secret(indicator) && !OWN.iter().any(|own| {
            indicator.as_net().is_some_and(|held| net(own).overlaps(held))
        }) && !matches!(indicator, Indicator::Domain(name) if name.ends_with("ours.example"));
        prop_assert!(!asked.iter().any(private), "{asked:?}");
        let sight = |indicator: &Indicator| Sight {
            indicator: indicator.clone(), score: Percent::FULL, confidence: Percent::FULL, last: Moment(1),
        };
        let may = indicators.iter().filter(|indicator| privacy().may_answer(indicator)).map(sight).collect();
        let answer = Response::decode(&Response::Seen(may).encode()).expect("well formed");
        let Response::Seen(answer) = answer else { return Err(TestCaseError::fail("an answer")) };
        prop_assert!(!answer.iter().any(|sight| is_secret(&sight.indicator)), "{answer:?}");
        // And what a fault in the daemon would answer is cut to what can be accused at all.
        let bytes = Response::Seen(indicators.iter().map(sight).collect()).encode();
        for text in ["hunter2", "alices-laptop.lan", "payload", "printer.local"] {
            prop_assert!(!bytes.windows(text.len()).any(|at| at == text.as_bytes()), "{text}");
        }
    }
}

/// Every kind stands in the property: a new one is added here.
#[test]
fn every_kind_is_tried() {
    let indicator = Indicator::host([198, 51, 100, 7].into()).expect("public");
    let sighting = Sighting {
        indicator,
        score: 1.0,
        confidence: 1.0,
        evidence: vec![EvidenceKind::ALL[0]],
        count: 1,
        first: Moment(1),
        last: Moment(2),
        services: Vec::new(),
        direction: Direction::Attacked,
        proof: Proof::Proven,
    };
    let all = messages(&sighting, vec!["/ip4/198.51.100.9/tcp/7778".into()], "VERTICAL_PORT_SCAN");
    for kind in Kind::ALL {
        let leaves = all
            .iter()
            .filter(|message| message.kind() == kind)
            .any(|message| privacy().clear(message.clone()).is_ok());
        assert!(leaves, "{kind}");
    }
}
