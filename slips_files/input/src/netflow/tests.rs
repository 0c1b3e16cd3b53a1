//! What exporters tell, and what liars do.

use proptest::prelude::*;
use slips_core::flow::{ConnState, Proto};

use super::*;

const NOW: PacketTime = PacketTime(1_793_000_100_000_000);
const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn collector() -> Collector {
    Collector::new(LocalNets::private().nets().to_vec().into_iter().chain(net("127.0.0.0/8")))
}

fn net(text: &str) -> Option<Net> {
    text.parse().ok()
}

fn flows(collector: &mut Collector) -> Vec<slips_core::flow::Flow> {
    let mut out = Vec::new();
    collector.finish(&mut out);
    out.into_iter()
        .filter_map(|event| if let Event::Flow(flow) = event { Some(flow) } else { None })
        .collect()
}

fn tell(collector: &mut Collector, datagram: &[u8]) {
    collector.datagram(LOOPBACK, NOW, datagram, &mut Vec::new());
}

/// A record of version 5: who, ports, protocol, flags; it began 3 s ago and ended 1 s ago.
fn v5_of(src: [u8; 4], dst: [u8; 4], ports: [u16; 2], proto: u8, flags: u8) -> Vec<u8> {
    let mut record = [src, dst, [0; 4]].concat();
    record.extend([0u8; 4]);
    record.extend([4u32, 400, 7_000, 9_000].iter().flat_map(|n| n.to_be_bytes()));
    record.extend(ports.iter().flat_map(|n| n.to_be_bytes()));
    record.extend([0, flags, proto, 0]);
    record.resize(V5_RECORD, 0);
    record
}

fn v5(number: u32, records: &[Vec<u8>]) -> Vec<u8> {
    let mut datagram = [5u16.to_be_bytes(), (records.len() as u16).to_be_bytes()].concat();
    datagram.extend([10_000u32, 1_793_000_100, 0, number, 0].iter().flat_map(|n| n.to_be_bytes()));
    datagram.extend(records.concat());
    datagram
}

fn words(words: &[u16]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

fn ipfix(number: u32, sets: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let mut body = [1_793_000_100u32, number, 7].iter().flat_map(|n| n.to_be_bytes()).collect::<Vec<_>>();
    for (id, set) in sets {
        body.extend(words(&[*id, set.len() as u16 + 4]));
        body.extend(set);
    }
    [words(&[10, body.len() as u16 + 4]), body].concat()
}

fn missed(collector: &Collector) -> u64 {
    collector.report().rejected.get(&Reason::Missed).copied().unwrap_or(0)
}

#[test]
fn no_record_is_of_years_ago_or_of_times_to_come() {
    let times = Times { now: NOW, behind: Span(0), uptime: None };
    let day = Span::from_secs(86_400);
    let (start, end) = times.within(PacketTime(0), PacketTime(1));
    assert_eq!((start, end), (NOW - day, NOW - day));
    let (start, end) = times.within(NOW + day, NOW + day);
    assert_eq!((start, end), (NOW, NOW));
}

#[test]
fn both_directions_of_version_5_are_one_flow_in_our_time() {
    let mut told = collector();
    let (a, b) = ([192, 168, 1, 7], [203, 0, 113, 9]);
    tell(&mut told, &v5(0, &[v5_of(b, a, [443, 40_000], 6, 0x1b), v5_of(a, b, [40_000, 443], 6, 0x1b)]));
    // The refused one is told in the next datagram.
    tell(&mut told, &v5(2, &[v5_of(a, b, [40_001, 22], 6, 0x02)]));
    tell(&mut told, &v5(3, &[v5_of(b, a, [22, 40_001], 6, 0x14)]));
    let flows = flows(&mut told);
    assert_eq!(flows.len(), 2);
    let shown: Vec<_> = flows.iter().map(|flow| (flow.src.port, flow.dst.port, flow.state)).collect();
    assert!(
        shown.contains(&(40_000, 443, ConnState::SF)) && shown.contains(&(40_001, 22, ConnState::Rej)),
        "{shown:?}"
    );
    let first = &flows[0];
    assert_eq!((first.start, first.seen), (NOW - Span::from_secs(3), NOW - Span::from_secs(1)));
    assert_eq!((first.orig.pkts, first.orig.ip_bytes, first.resp.pkts), (4, 400, 4));
    assert!(flows.iter().all(|flow| flow.tunnelled && flow.proto == Proto::Tcp));
    assert_eq!((told.report().records, told.report().rejected_total()), (4, 0));
}

#[test]
fn the_second_direction_is_waited_for_and_not_for_ever() {
    let mut told = collector();
    let (a, b) = ([192, 168, 1, 7], [203, 0, 113, 9]);
    let mut out = Vec::new();
    told.datagram(LOOPBACK, NOW, &v5(0, &[v5_of(a, b, [40_000, 53], 17, 0)]), &mut out);
    let later = NOW + HOLD + Span::from_secs(1);
    told.datagram(LOOPBACK, later, &v5(1, &[v5_of(b, a, [53, 40_000], 17, 0)]), &mut out);
    told.datagram(LOOPBACK, later, &v5(2, &[v5_of(a, b, [40_001, 53], 17, 0)]), &mut out);
    assert!(out.is_empty());
    for turns in 1..4 {
        told.turn(NOW + Span(HOLD.0 * (turns + 2)), &mut out);
    }
    let states = out.iter().map(|event| match event {
        Event::Flow(flow) => flow.state,
        _ => ConnState::Oth,
    });
    let mut states: Vec<_> = states.collect();
    states.sort_by_key(|state| state.name());
    assert_eq!(states, [ConnState::S0, ConnState::SF]);
}

#[test]
fn templates_say_what_records_hold_and_what_comes_before_them_is_counted() {
    let mut told = collector();
    // Six bytes that we do not know, of an enterprise; a text of any length; the counters of the other direction.
    let fields: Vec<u16> = [
        &[300u16, 11][..],
        &[8, 4, 12, 4, 7, 2, 11, 2, 4, 1, 6, 2],
        &[0x8000 | 12, 6, 0, 9],
        &[82, 0xffff],
        &[1, 3, 2, 1],
        &[0x8000 | 2, 1, 0, 29_305],
    ]
    .concat();
    let mut record = [[192, 168, 1, 7], [203, 0, 113, 9]].concat();
    record.extend(words(&[40_000, 443]));
    record.extend([6, 0, 0x1b]);
    record.extend([9; 6]);
    record.extend([3, b'e', b't', b'h']);
    record.extend([0, 1, 2, 8, 5]);
    tell(&mut told, &ipfix(0, &[(300, record.clone())]));
    assert_eq!(told.report().rejected.get(&Reason::UnknownTemplate), Some(&1));
    // Three bytes fill the set up.
    tell(
        &mut told,
        &ipfix(1, &[(2, words(&fields)), (300, [record.clone(), record.clone(), vec![0; 3]].concat())]),
    );
    tell(&mut told, &ipfix(7, &[(300, record)]));
    assert_eq!(missed(&told), 4, "3 and not 7 was to come");
    let flows = flows(&mut told);
    assert_eq!(flows.len(), 3);
    let flow = &flows[0];
    assert_eq!((flow.src.port, flow.dst.port, flow.orig.pkts, flow.orig.ip_bytes), (40_000, 443, 8, 258));
    assert_eq!((flow.resp.pkts, flow.start), (5, NOW), "no time was told");
}

#[test]
fn a_clock_that_is_wrong_by_hours_is_put_right() {
    let mut told = collector();
    let fields = [300u16, 6, 8, 4, 12, 4, 4, 1, 2, 4, 150, 4, 151, 4];
    let hour_ago = 1_793_000_100u32 - 3600;
    let record = [
        &[10, 0, 0, 1, 10, 0, 0, 2, 17, 0, 0, 0, 1][..],
        &(hour_ago - 9).to_be_bytes(),
        &(hour_ago - 2).to_be_bytes(),
    ]
    .concat();
    let mut datagram = ipfix(0, &[(2, words(&fields)), (300, record)]);
    datagram[4..8].copy_from_slice(&hour_ago.to_be_bytes());
    tell(&mut told, &datagram);
    let flows = flows(&mut told);
    assert_eq!((flows[0].start, flows[0].seen), (NOW - Span::from_secs(9), NOW - Span::from_secs(2)));
}

#[test]
fn strangers_are_not_heard_and_gaps_are_counted() {
    let mut told = collector();
    let record = || vec![v5_of([10, 0, 0, 1], [10, 0, 0, 2], [1, 2], 17, 0)];
    told.datagram(IpAddr::from([203, 0, 113, 5]), NOW, &v5(0, &record()), &mut Vec::new());
    assert_eq!(told.report().rejected.get(&Reason::NotAllowed), Some(&1));
    assert!(told.exporters.is_empty());
    for number in [0, 1, 12, 13, 3_000_000_000] {
        tell(&mut told, &v5(number, &record()));
    }
    assert_eq!(missed(&told), 10, "the last is a new start");
}

#[test]
fn no_number_of_exporters_is_too_many() {
    let mut told = collector();
    for n in 0..10_000u32 {
        let from = IpAddr::V4(std::net::Ipv4Addr::from_bits(0x0a00_0000 + n));
        told.datagram(from, NOW, &v5(0, &[]), &mut Vec::new());
    }
    assert_eq!(told.exporters.len(), MAX_EXPORTERS);
    assert_eq!(told.report().rejected.get(&Reason::TooMany), Some(&(10_000 - MAX_EXPORTERS as u64)));
    // Who is silent makes room.
    told.datagram(LOOPBACK, NOW + SILENT, &v5(0, &[]), &mut Vec::new());
    assert_eq!(told.exporters.len(), 1);
}

proptest! {
    #[test]
    fn arbitrary_datagrams_never_panic(datagrams in proptest::collection::vec((0usize..3, proptest::collection::vec(any::<u8>(), 0..120)), 1..6)) {
        let mut told = collector();
        for (version, mut bytes) in datagrams {
            if let Some(head) = bytes.get_mut(..2) {
                head.copy_from_slice(&[5u16, 9, 10][version].to_be_bytes());
            }
            if version == 2 && bytes.len() >= 4 {
                let length = bytes.len() as u16;
                bytes[2..4].copy_from_slice(&length.to_be_bytes());
            }
            tell(&mut told, &bytes);
        }
        flows(&mut told);
    }
}
