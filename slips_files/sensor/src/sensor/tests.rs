//! Small conversations, packet by packet, and what the sensor tells of them.

mod payloads;
mod router;
mod transfers;
mod tunnels;

use slips_core::event::{ArpOp, Event};
use slips_core::flow::{Flow, Phase};
use slips_core::time::{PacketTime, Span};

use crate::{LinkType, Reject, Sensor, Settings};

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

/// Client 10.0.0.1:4000, server 192.0.2.9.
#[derive(Clone, Copy)]
enum Sender {
    Client,
    Server,
}
use Sender::{Client, Server};

fn ipv4(from: Sender, proto: u8, transport: &[u8]) -> Vec<u8> {
    let (client, server) = ([10, 0, 0, 1], [192, 0, 2, 9]);
    let (src, dst) = match from {
        Client => (client, server),
        Server => (server, client),
    };
    let length = (20 + transport.len()) as u16;
    let [high, low] = length.to_be_bytes();
    let mut packet = vec![0x45, 0, high, low, 0, 0, 0, 0, 64, proto, 0, 0];
    packet.extend(src);
    packet.extend(dst);
    packet.extend(transport);
    packet
}

fn ports(from: Sender, server_port: u16) -> [u8; 4] {
    let ([a, b], [c, d]) = (4000u16.to_be_bytes(), server_port.to_be_bytes());
    match from {
        Client => [a, b, c, d],
        Server => [c, d, a, b],
    }
}

fn tcp(from: Sender, flags: u8, seq: u32, ack: u32, payload: &[u8]) -> Vec<u8> {
    let mut segment = ports(from, 80).to_vec();
    segment.extend(seq.to_be_bytes());
    segment.extend(ack.to_be_bytes());
    segment.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    segment.extend(payload);
    ipv4(from, 6, &segment)
}

fn udp(from: Sender, server_port: u16, payload: &[u8]) -> Vec<u8> {
    let mut datagram = ports(from, server_port).to_vec();
    datagram.extend((8 + payload.len() as u16).to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(payload);
    ipv4(from, 17, &datagram)
}

/// Runs raw IP packets, given with their times in milliseconds, to the end of the input.
fn run(settings: Settings, packets: &[(i64, Vec<u8>)]) -> Vec<Event> {
    let mut sensor = Sensor::new(settings);
    let mut events = Vec::new();
    for (millis, packet) in packets {
        let at = PacketTime(0) + Span::from_millis(*millis);
        sensor.packet(LinkType::RawIp, 0, at, packet, packet.len() as u32, &mut events);
    }
    sensor.finish(&mut events);
    events
}

fn flows(events: &[Event]) -> Vec<&Flow> {
    events.iter().filter_map(|event| if let Event::Flow(flow) = event { Some(flow) } else { None }).collect()
}

/// Phase, state and history of each flow event.
fn check(settings: Settings, packets: &[(i64, Vec<u8>)], expected: &[(Phase, &str, &str)]) {
    let events = run(settings, packets);
    let found: Vec<_> = flows(&events)
        .into_iter()
        .map(|flow| (flow.phase, flow.state.name(), flow.history.as_str().to_owned()))
        .collect();
    let expected: Vec<_> =
        expected.iter().map(|(phase, state, history)| (*phase, *state, (*history).to_owned())).collect();
    assert_eq!(found, expected);
}

fn handshake() -> Vec<(i64, Vec<u8>)> {
    vec![
        (0, tcp(Client, SYN, 100, 0, b"")),
        (10, tcp(Server, SYN | ACK, 500, 101, b"")),
        (20, tcp(Client, ACK, 101, 501, b"")),
    ]
}

#[test]
fn a_syn_that_no_system_sends_is_told() {
    let syn = |options: &[u8]| {
        let mut packet = tcp(Client, SYN, 100, 0, options);
        packet[20 + 12] = (5 + options.len() as u8 / 4) << 4;
        packet
    };
    // As nmap sends it, and as Windows and Linux do. What comes again tells nothing new.
    let size = [2, 4, 5, 0xb4];
    let windows = [&size[..], &[1, 3, 3, 8, 1, 1, 4, 2]].concat();
    for (options, expected) in [(&[][..], true), (&size[..], true), (&windows[..], false)] {
        let events = run(Settings::default(), &[(0, syn(options)), (1000, syn(&size))]);
        assert!(flows(&events).iter().all(|flow| flow.bare_syn == expected), "{options:?}");
    }
}

#[test]
fn a_whole_connection_is_told_at_each_change() {
    let mut packets = handshake();
    packets.extend([
        (30, tcp(Client, ACK, 101, 501, b"GET / HTTP/1.1\r\n\r\n")),
        (40, tcp(Server, ACK, 501, 119, b"HTTP/1.1 200 OK\r\n\r\n")),
        (50, tcp(Client, FIN | ACK, 119, 520, b"")),
        (60, tcp(Server, FIN | ACK, 520, 120, b"")),
        (70, tcp(Client, ACK, 120, 521, b"")),
    ]);
    check(
        Settings::default(),
        &packets,
        &[
            (Phase::Start, "S0", "S"),
            (Phase::Established, "S1", "ShA"),
            (Phase::Update, "S1", "ShAD"),
            (Phase::End, "SF", "ShADdFf"),
        ],
    );
    let events = run(Settings::default(), &packets);
    let end = *flows(&events).last().expect("end");
    assert_eq!(end.service.as_str(), "http");
    assert_eq!((end.orig.bytes, end.resp.bytes), (18, 19));
    assert_eq!((end.orig.pkts, end.resp.pkts), (5, 3));
    assert_eq!(end.duration, Some(Span::from_millis(60)), "the last ACK does not lengthen it");
    let sum: u64 = flows(&events).iter().map(|flow| flow.orig_new.bytes).sum();
    assert_eq!(sum, 18);
}

#[test]
fn a_closed_connection_ends_by_itself_and_its_endpoints_may_meet_again() {
    let mut packets = handshake();
    packets.push((30, tcp(Server, RST | ACK, 501, 101, b"")));
    packets.push((40, tcp(Client, SYN, 900, 0, b"")));
    check(
        Settings::default(),
        &packets,
        &[
            (Phase::Start, "S0", "S"),
            (Phase::Established, "S1", "ShA"),
            (Phase::End, "RSTR", "ShAr"),
            (Phase::Start, "S0", "S"),
            (Phase::End, "S0", "S"),
        ],
    );
    let last = packets.last_mut().expect("packet");
    *last = (9000, udp(Client, 9, b"x"));
    let events = run(Settings::default(), &packets);
    assert_eq!(flows(&events)[2].phase, Phase::End);
    assert!(flows(&events)[2].seen < PacketTime(9_000_000), "told by its timer");
}

#[test]
fn refused_and_unanswered_attempts_are_told_early() {
    check(
        Settings::default(),
        &[(0, tcp(Client, SYN, 100, 0, b"")), (5, tcp(Server, RST | ACK, 0, 101, b""))],
        &[(Phase::Start, "S0", "S"), (Phase::Rejected, "REJ", "Sr"), (Phase::End, "REJ", "Sr")],
    );
    let mut sensor = Sensor::new(Settings::default());
    let mut events = Vec::new();
    let syn = tcp(Client, SYN, 100, 0, b"");
    sensor.packet(LinkType::RawIp, 0, PacketTime(0), &syn, syn.len() as u32, &mut events);
    for (millis, told) in [(1_900, 1), (2_600, 2), (59_000, 2), (61_000, 3)] {
        sensor.advance(PacketTime(millis * 1000), &mut events);
        assert_eq!(events.len(), told, "after {millis} ms");
    }
    let phases: Vec<_> = flows(&events).iter().map(|flow| flow.phase).collect();
    assert_eq!(phases, [Phase::Start, Phase::Unanswered, Phase::End]);
    assert_eq!(sensor.counters().flows_active, 0);
}

#[test]
fn a_port_unreachable_rejects_a_datagram() {
    let question = udp(Client, 9999, b"hello");
    let mut unreachable = vec![3, 3, 0, 0, 0, 0, 0, 0];
    unreachable.extend(&question);
    check(
        Settings::default(),
        &[(0, question), (5, ipv4(Server, 1, &unreachable))],
        &[
            (Phase::Start, "S0", "D"),
            (Phase::Start, "OTH", ""),
            (Phase::Rejected, "S0", "D"),
            (Phase::End, "S0", "D"),
            (Phase::End, "OTH", ""),
        ],
    );
}

#[test]
fn a_scan_by_half_open_handshakes_is_never_established() {
    check(
        Settings::default(),
        &[
            (0, tcp(Client, SYN, 100, 0, b"")),
            (5, tcp(Server, SYN | ACK, 500, 101, b"")),
            (9, tcp(Client, RST, 101, 0, b"")),
        ],
        &[(Phase::Start, "S0", "S"), (Phase::End, "RSTO", "ShR")],
    );
}

#[test]
fn missing_data_is_counted_when_it_is_acknowledged() {
    let mut packets = handshake();
    packets.push((30, tcp(Client, ACK, 101, 501, b"1234567890")));
    packets.push((40, tcp(Client, ACK, 121, 501, b"1234567890")));
    packets.push((50, tcp(Server, ACK, 501, 131, b"")));
    let events = run(Settings::default(), &packets);
    let end = *flows(&events).last().expect("end");
    assert_eq!((end.missed_bytes, end.orig.bytes, end.history.as_str()), (10, 30, "ShADaG"));
}

#[test]
fn a_connection_of_which_only_the_answer_was_seen_is_turned_round() {
    check(
        Settings::default(),
        &[(0, tcp(Server, SYN | ACK, 500, 101, b"")), (5, tcp(Server, ACK, 501, 101, b"hello"))],
        &[(Phase::Start, "OTH", "^h"), (Phase::End, "OTH", "^hd")],
    );
}

#[test]
fn a_long_flow_is_told_again_while_it_has_packets() {
    let mut packets = handshake();
    for n in 1..20 {
        packets.push((n * 10_000, tcp(Client, ACK, 101 + n as u32, 501, b"x")));
    }
    packets.push((1_000_000, tcp(Client, ACK, 121, 501, b"x")));
    let events = run(Settings::default(), &packets);
    let updates = flows(&events).iter().filter(|flow| flow.phase == Phase::Update).count();
    assert_eq!(updates, 4, "once a minute in the first 190 s and the rest, never in silence");
}

#[test]
fn datagrams_that_nobody_answers_are_told_when_they_are_as_many_again() {
    let updates = |answered: bool| {
        let mut packets = vec![(0, udp(Client, 1, b"x"))];
        if answered {
            packets.push((1, udp(Server, 1, b"y")));
        }
        packets.extend((0..3000).map(|n| (2 + n / 10, udp(Client, 1, b"x"))));
        let events = run(Settings::default(), &packets);
        flows(&events).iter().filter(|flow| flow.phase == Phase::Update).count()
    };
    assert_eq!((updates(false), updates(true)), (11, 0), "at 2, 4, 8 … 1024, 2024");
}

#[test]
fn a_full_table_gives_up_the_oldest_unanswered_flow_and_tells_its_end() {
    let settings = Settings { max_flows: 3, ..Settings::default() };
    let mut sensor = Sensor::new(settings);
    let mut events = Vec::new();
    let mut packets = vec![udp(Client, 1, b"x"), udp(Server, 1, b"y")];
    packets.extend((2..10).map(|port| udp(Client, port, b"x")));
    for packet in &packets {
        sensor.packet(LinkType::RawIp, 0, PacketTime(0), packet, packet.len() as u32, &mut events);
    }
    assert_eq!((sensor.counters().flows_active, sensor.counters().flows_evicted), (3, 6));
    let ended: Vec<u16> =
        flows(&events).iter().filter(|f| f.phase == Phase::End).map(|f| f.dst.port).collect();
    assert_eq!(ended, [2, 3, 4, 5, 6, 7], "the answered flow stays");
    sensor.finish(&mut events);
    assert_eq!(flows(&events).iter().filter(|f| f.phase == Phase::End).count(), 9);
}

fn dns(id: u8, is_reply: bool, answer: &[u8]) -> Vec<u8> {
    let answers = u8::from(!answer.is_empty());
    let mut message = vec![0, id, if is_reply { 0x81 } else { 1 }, 0, 0, 1, 0, answers, 0, 0, 0, 0];
    message.extend(b"\x07Example\x03org\x00\x00\x01\x00\x01");
    if answers > 0 {
        message.extend(b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x09\x00\x04");
        message.extend(answer);
    }
    message
}

fn dns_rows(events: &[Event]) -> Vec<(u16, String, Option<u16>, usize)> {
    events
        .iter()
        .filter_map(|event| match event {
            Event::Dns(dns) => Some((dns.trans_id, dns.query.clone(), dns.rcode, dns.answers.len())),
            _ => None,
        })
        .collect()
}

#[test]
fn questions_meet_their_answers_and_the_others_are_told_late() {
    let events = run(
        Settings::default(),
        &[
            (0, udp(Client, 53, &dns(1, false, b""))),
            (1, udp(Client, 53, &dns(2, false, b""))),
            (5, udp(Server, 53, &dns(1, true, &[192, 0, 2, 77]))),
            (20_000, udp(Client, 9, b"x")),
        ],
    );
    let name = || "example.org".to_owned();
    assert_eq!(dns_rows(&events), [(1, name(), Some(0), 1), (2, name(), None, 0)]);
    assert_eq!(flows(&events)[1].service.as_str(), "dns");
}

#[test]
fn a_port_of_dhcp_hides_no_questions() {
    for id in [[0, 7], [1, 7]] {
        let mut packet = udp(Client, 53, &[&id[..], &dns(0, false, b"")[2..]].concat());
        packet[20..22].copy_from_slice(&546u16.to_be_bytes());
        let events = run(Settings::default(), &[(0, packet)]);
        assert_eq!(dns_rows(&events), [(u16::from_be_bytes(id), "example.org".to_owned(), None, 0)]);
        assert!(!events.iter().any(|event| matches!(event, Event::Dhcp(_))));
    }
}

#[test]
fn waiting_questions_are_bounded() {
    let settings = Settings { max_dns_pending: 2, ..Settings::default() };
    let packets: Vec<_> = (0..5).map(|id| (0, udp(Client, 53, &dns(id, false, b"")))).collect();
    let ids: Vec<_> = dns_rows(&run(settings, &packets)).into_iter().map(|row| row.0).collect();
    assert_eq!(ids, [0, 1, 2, 3, 4]);
}

#[test]
fn a_login_session_is_told_when_it_closes_and_once_more_at_its_end() {
    let mut packets = handshake();
    packets.push((30, tcp(Server, ACK, 501, 101, b"SSH-2.0-server\r\n")));
    packets.push((40, tcp(Client, ACK, 101, 517, b"SSH-2.0-client\r\n")));
    packets.push((50, tcp(Client, FIN | ACK, 117, 517, b"")));
    packets.push((60, tcp(Server, FIN | ACK, 517, 118, b"")));
    packets.push((70, tcp(Client, ACK, 118, 518, b"")));
    let events = run(Settings::default(), &packets);
    let last: Vec<_> =
        flows(&events).iter().rev().take(2).map(|flow| (flow.phase, flow.state.name())).collect();
    assert_eq!(last, [(Phase::End, "SF"), (Phase::Closed, "SF")]);
    assert_eq!(events.iter().filter(|event| matches!(event, Event::Ssh(_))).count(), 1);
}

#[test]
fn ssh_is_told_with_both_banners() {
    let mut packets = handshake();
    packets.push((30, tcp(Server, ACK, 501, 101, b"SSH-2.0-server\r\n")));
    packets.push((40, tcp(Client, ACK, 101, 517, b"SSH-2.0-client\r\n")));
    let events = run(Settings::default(), &packets);
    let ssh = events.iter().find_map(|event| if let Event::Ssh(ssh) = event { Some(ssh) } else { None });
    let ssh = ssh.expect("an ssh event");
    assert_eq!((ssh.client.as_str(), ssh.server.as_str()), ("SSH-2.0-client", "SSH-2.0-server"));
    assert_eq!((ssh.version, ssh.auth_success, ssh.auth_attempts), (Some(2), None, 0));
    assert!(flows(&events).iter().any(|flow| flow.phase == Phase::Update && flow.has_service("ssh")));
}

#[test]
fn wrong_checksums_are_refused_only_when_asked() {
    let settings = Settings { verify_checksums: true, ..Settings::default() };
    let mut packet = tcp(Client, SYN, 1, 0, b"");
    let sum: u32 = packet[..20].chunks(2).map(|w| u32::from(u16::from_be_bytes([w[0], w[1]]))).sum();
    let folded = !((sum & 0xffff) + (sum >> 16)) as u16;
    packet[10..12].copy_from_slice(&folded.to_be_bytes());
    check(settings.clone(), &[(0, packet.clone())], &[(Phase::Start, "OTH", "C"), (Phase::End, "OTH", "C")]);
    check(Settings::default(), &[(0, packet.clone())], &[(Phase::Start, "S0", "S"), (Phase::End, "S0", "S")]);
    let (mut sensor, mut events) = (Sensor::new(settings), Vec::new());
    sensor.packet_unsummed(LinkType::RawIp, 1, PacketTime(0), &packet, packet.len() as u32, &mut events);
    sensor.finish(&mut events);
    assert_eq!(
        flows(&events).last().map(|flow| flow.history.as_str()),
        Some("S"),
        "the card computes it later"
    );
}

#[test]
fn fragments_are_one_packet() {
    let whole = udp(Client, 9, &[7; 100]);
    let part = |from: usize, to: usize, more: bool| {
        let mut packet = ipv4(Client, 17, &whole[20 + from..20 + to]);
        let field = (from / 8) as u16 | if more { 0x2000 } else { 0 };
        packet[4..6].copy_from_slice(&[1, 1]);
        packet[6..8].copy_from_slice(&field.to_be_bytes());
        packet
    };
    let events = run(Settings::default(), &[(0, part(56, 108, false)), (1, part(0, 56, true))]);
    let end = *flows(&events).last().expect("end");
    assert_eq!((end.orig.pkts, end.orig.bytes, end.orig.ip_bytes), (1, 100, 128));
}

#[test]
fn arp_is_told_frame_by_frame() {
    let mut frame = vec![0xff; 6];
    frame.extend([2, 0, 0, 0, 0, 1, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 10, 0, 0, 1]);
    frame.extend([0, 0, 0, 0, 0, 0, 10, 0, 0, 2]);
    let mut sensor = Sensor::new(Settings::default());
    let mut events = Vec::new();
    sensor.packet(LinkType::Ethernet, 3, PacketTime(7), &frame, 60, &mut events);
    let [Event::Arp(arp)] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!((arp.op, arp.sender.to_string().as_str(), arp.interface), (ArpOp::Request, "10.0.0.1", 3));
    sensor.packet(LinkType::Ethernet, 3, PacketTime(7), &frame[..30], 30, &mut events);
    assert_eq!(sensor.counters().rejected(Reject::Arp), 1);
}

#[test]
fn the_same_packets_give_the_same_uids_and_another_key_gives_others() {
    let uids = |key| {
        let settings = Settings { key, ..Settings::default() };
        flows(&run(settings, &handshake())).iter().map(|flow| flow.uid).collect::<Vec<_>>()
    };
    assert_eq!(uids([1, 2]), uids([1, 2]));
    assert_ne!(uids([1, 2]), uids([1, 3]));
}

#[test]
fn netbios_registrations_are_questions() {
    let mut message = vec![0, 9, 0x29, 0x10, 0, 1, 0, 0, 0, 0, 0, 1, 32];
    message.extend(b"FHFAEBEECACACACACACACACACACACAAA");
    message.extend([0, 0, 32, 0, 1, 0xc0, 12, 0, 32, 0, 1, 0, 4, 0x93, 0xe0, 0, 6, 0, 0, 10, 0, 0, 1]);
    let events = run(Settings::default(), &[(0, udp(Client, 137, &message))]);
    assert_eq!(dns_rows(&events), [(9, "WPAD".to_owned(), None, 0)]);
}

#[test]
fn no_bytes_and_no_times_do_harm() {
    let links = (0..300).filter_map(LinkType::from_dlt).collect::<Vec<_>>();
    let mut seeds = vec![
        tcp(Client, SYN, 100, 0, b""),
        tcp(Server, SYN | ACK, 500, 101, b""),
        tcp(Client, ACK, 101, 501, b"SSH-2.0-x\r\n"),
        tcp(Server, FIN | ACK, 501, 110, b"HTTP/1.1 200 OK\r\n"),
        udp(Client, 53, &dns(1, false, b"")),
        udp(Server, 53, &dns(1, true, &[192, 0, 2, 77])),
        ipv4(Server, 1, &[8, 0, 0, 0, 0, 0, 0, 0]),
        ipv4(
            Client,
            47,
            &[&[0x30, 0, 0x88, 0x0b, 0, 0, 0, 1, 0, 0, 0, 2, 0x21], &udp(Client, 9, b"x")[..]].concat(),
        ),
        ipv4(Client, 4, &ipv4(Server, 41, &udp(Client, 53, &dns(1, false, b"")))),
        udp(Client, 2152, &[&[0x32, 255, 0, 33, 0, 0, 0, 1, 0, 0, 0, 0], &udp(Client, 9, b"x")[..]].concat()),
    ];
    seeds.push([&[0xff; 12][..], &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1], &[1; 20]].concat());
    let mut noise = 1u64;
    let mut next = move || {
        noise = noise.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        noise >> 20
    };
    let settings = Settings { max_flows: 16, max_fragmented: 4, max_dns_pending: 4, ..Settings::default() };
    let mut sensor = Sensor::new(settings);
    let mut events = Vec::new();
    let (mut begun, mut ended) = (0u64, 0u64);
    for round in 0..60_000 {
        let mut packet = seeds[next() as usize % seeds.len()].clone();
        for _ in 0..next() % 4 {
            let at = next() as usize % packet.len();
            packet[at] ^= 1 << (next() % 8);
        }
        packet.truncate(1 + next() as usize % (packet.len() * 2));
        let at = match next() % if round < 30_000 { u64::MAX } else { 50 } {
            0 => PacketTime(i64::MAX),
            1 => PacketTime(i64::MIN),
            _ => PacketTime(next() as i64 % 1_000_000_000),
        };
        let link = if next() % 4 == 0 { links[next() as usize % links.len()] } else { LinkType::RawIp };
        sensor.packet(link, 0, at, &packet, next() as u32 % 200, &mut events);
        for flow in flows(&events) {
            begun += u64::from(flow.phase == Phase::Start);
            ended += u64::from(flow.phase == Phase::End);
        }
        events.clear();
        assert!(sensor.counters().flows_active <= 16);
    }
    sensor.finish(&mut events);
    ended += flows(&events).iter().filter(|flow| flow.phase == Phase::End).count() as u64;
    assert_eq!((begun, ended), (sensor.counters().flows_opened, sensor.counters().flows_ended));
    assert_eq!(begun, ended);
}

#[test]
fn a_hostile_stamp_stops_no_timer_and_a_wrong_clock_comes_back() {
    let mut sensor = Sensor::new(Settings::default());
    let mut out = Vec::new();
    let far = PacketTime::from_secs_micros(4_000_000_000, 0);
    let at = |secs: i64| PacketTime::from_secs_micros(1_000_000 + secs, 0);
    let syn = tcp(Client, SYN, 100, 0, b"");
    sensor.packet(LinkType::RawIp, 0, at(0), &syn, syn.len() as u32, &mut out);
    sensor.packet(LinkType::RawIp, 0, far, &[0; 20], 20, &mut out);
    sensor.advance(at(5), &mut out);
    assert!(flows(&out).iter().any(|flow| flow.phase == Phase::Unanswered));
    // The very first stamp is a lie: all others are behind it, until they are believed.
    let mut sensor = Sensor::new(Settings::default());
    sensor.advance(far, &mut out);
    for n in 0..5000 {
        sensor.advance(PacketTime(at(0).0 + n), &mut out);
    }
    out.clear();
    sensor.packet(LinkType::RawIp, 0, at(1), &syn, syn.len() as u32, &mut out);
    sensor.advance(at(5), &mut out);
    assert!(flows(&out).iter().any(|flow| flow.phase == Phase::Unanswered));
}

#[test]
fn a_record_of_a_forged_connection_says_so() {
    let post = b"POST / HTTP/1.1\r\nHost: 192.0.2.9\r\nContent-Length: 0\r\n\r\n";
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let asked = |ack| vec![(20, tcp(Client, ACK, 101, ack, post))];
    let server = vec![(20, tcp(Server, ACK, 501, 101, answer))];
    let opened = [(0, tcp(Client, SYN, 100, 0, b"")), (10, tcp(Server, SYN | ACK, 500, 101, b""))];
    for (packets, heard) in [
        ([opened.to_vec(), asked(501)].concat(), true),
        // He sends in another's name, and has not seen the answer to his SYN.
        ([opened.to_vec(), asked(77_777)].concat(), false),
        // He answers in a server's name what nobody asked.
        ([opened[1..].to_vec(), server.clone()].concat(), false),
        (server, false),
        (asked(501), false),
    ] {
        let events = run(Settings::default(), &packets);
        let told: Vec<bool> = events.iter().filter_map(Event::about).map(|about| about.heard).collect();
        assert_eq!(told, [heard]);
    }
}

#[test]
fn whoever_acknowledges_what_he_cannot_know_has_not_heard_it() {
    for (ack, heard) in [(501, true), (77_777, false)] {
        let packets = vec![
            (0, tcp(Client, SYN, 100, 0, b"")),
            (10, tcp(Server, SYN | ACK, 500, 101, b"")),
            (20, tcp(Client, ACK, 101, ack, b"")),
        ];
        let events = run(Settings::default(), &packets);
        let last = flows(&events).last().map(|flow| (flow.heard, flow.is_two_way()));
        assert_eq!(last, Some((heard, heard)));
    }
}
