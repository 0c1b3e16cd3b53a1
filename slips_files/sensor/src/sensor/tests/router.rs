//! A router that captures on several interfaces sees what it forwards more than once.

use super::*;

/// Runs packets of interfaces; those of one moment come in the order given.
fn run_on(packets: &[(i64, u16, Vec<u8>)]) -> (Sensor, Vec<Event>) {
    let mut sensor = Sensor::new(Settings::default());
    let mut events = Vec::new();
    for (micros, interface, packet) in packets {
        let length = packet.len() as u32;
        sensor.packet(LinkType::RawIp, *interface, PacketTime(*micros), packet, length, &mut events);
    }
    sensor.finish(&mut events);
    (sensor, events)
}

/// What was told, but on which interface, and when: the last copy moves the clock.
fn told(events: &[Event]) -> Vec<Flow> {
    let told = |flow: &Flow| Flow { interface: 0, seen: flow.start, ..flow.clone() };
    flows(events).into_iter().map(told).collect()
}

fn session() -> Vec<(i64, Vec<u8>)> {
    let mut packets = handshake();
    packets.extend([
        (30, tcp(Client, ACK, 101, 501, b"SSH-2.0-x\r\n")),
        (40, tcp(Server, ACK, 501, 112, b"SSH-2.0-y\r\n")),
        (50, tcp(Client, FIN | ACK, 112, 512, b"")),
        (60, tcp(Server, FIN | ACK, 512, 113, b"")),
        (70, tcp(Client, ACK, 113, 513, b"")),
    ]);
    packets
}

fn is_from_client(packet: &[u8]) -> bool {
    packet[12..16] == [10, 0, 0, 1]
}

#[test]
fn a_forwarded_session_counts_once() {
    let alone: Vec<_> = session().into_iter().map(|(millis, packet)| (millis * 1000, 1, packet)).collect();
    let mut forwarded = Vec::new();
    for (micros, _, packet) in &alone {
        let (first, second) = if is_from_client(packet) { (1, 2) } else { (2, 1) };
        forwarded.push((*micros, first, packet.clone()));
        forwarded.push((micros + 15, second, packet.clone()));
    }
    let (_, expected) = run_on(&alone);
    let (sensor, events) = run_on(&forwarded);
    assert_eq!(told(&events), told(&expected));
    assert!(!told(&events).is_empty());
    assert_eq!(sensor.counters().other_interface, alone.len() as u64);
    let end = *flows(&events).last().expect("end");
    assert_eq!((end.history.as_str(), end.orig.pkts, end.resp.pkts), ("ShADdFf", 5, 3));
}

#[test]
fn a_refused_attempt_is_one_although_its_copy_comes_late() {
    let syn = tcp(Client, SYN, 100, 0, b"");
    let refusal = tcp(Server, RST | ACK, 0, 101, b"");
    let (sensor, events) = run_on(&[
        (0, 1, syn.clone()),
        (20, 1, refusal.clone()),
        (21, 2, syn),
        (22, 2, refusal),
        (23, 2, tcp(Client, SYN, 700, 0, b"")),
    ]);
    let ends: Vec<_> = flows(&events).into_iter().filter(|flow| flow.phase == Phase::End).collect();
    let ends: Vec<_> = ends.iter().map(|flow| (flow.state.name(), flow.history.as_str())).collect();
    assert_eq!(ends, [("REJ", "Sr"), ("S0", "S")], "the second attempt has another sequence number");
    assert_eq!(sensor.counters().other_interface, 2);
}

#[test]
fn a_direction_moves_when_its_interface_is_silent() {
    let second = 1_000_000;
    let mut packets = vec![(0, 1, udp(Client, 9, b"x"))];
    for n in 1..8 {
        // interface 1 fell silent; 2 carries on
        packets.push((n * 25 * second, 2, udp(Client, 9, b"x")));
        packets.push((n * 25 * second, 3, udp(Server, 9, b"y")));
    }
    packets.push((176 * second, 1, udp(Client, 9, b"x")));
    let (sensor, events) = run_on(&packets);
    let end = *flows(&events).last().expect("end");
    assert_eq!((end.orig.pkts, end.resp.pkts), (6, 7), "25 and 50 s are too early to move");
    assert_eq!(sensor.counters().other_interface, 3);
}

#[test]
fn fragments_of_two_interfaces_are_one_datagram() {
    let whole = udp(Client, 9, &[7; 100]);
    let part = |from: usize, to: usize, more: bool| {
        let mut packet = ipv4(Client, 17, &whole[20 + from..20 + to]);
        packet[6..8].copy_from_slice(&((from / 8) as u16 | if more { 0x2000 } else { 0 }).to_be_bytes());
        packet
    };
    let (head, tail) = (part(0, 56, true), part(56, 108, false));
    let (sensor, events) = run_on(&[(0, 1, head.clone()), (1, 2, head), (2, 1, tail.clone()), (3, 2, tail)]);
    let end = *flows(&events).last().expect("end");
    assert_eq!((end.orig.pkts, end.orig.bytes), (1, 100));
    assert_eq!((sensor.counters().reassembled, sensor.counters().other_interface), (2, 1));
}

#[test]
fn a_bridged_arp_request_counts_once() {
    let frame = |last: u8| {
        let mut frame = vec![0xff; 6];
        frame.extend([2, 0, 0, 0, 0, 1, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 10, 0, 0, 1]);
        frame.extend([0, 0, 0, 0, 0, 0, 10, 0, 0, last]);
        frame
    };
    let mut sensor = Sensor::new(Settings::default());
    let mut count = |millis: i64, interface, last| {
        let mut events = Vec::new();
        let at = PacketTime(millis * 1000);
        sensor.packet(LinkType::Ethernet, interface, at, &frame(last), 60, &mut events);
        events.len()
    };
    assert_eq!(count(0, 1, 2), 1);
    assert_eq!(count(1, 2, 2), 0, "the same frame on another interface");
    assert_eq!(count(2, 2, 3), 1, "another question");
    assert_eq!(count(500, 1, 2), 1, "asked again");
    assert_eq!(count(1600, 2, 2), 1, "too late to be a copy");
    assert_eq!(sensor.counters().other_interface, 1);
}

#[test]
fn a_flow_has_the_address_of_its_own_host_whichever_ring_is_read_first() {
    let framed = |from: u8, packet: &[u8]| {
        let mut frame = vec![2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, from, 8, 0];
        frame.extend(packet);
        frame
    };
    let mac = |last| Some(slips_core::flow::MacAddr([2, 0, 0, 0, 0, last]));
    let (ask, answer) = (udp(Client, 53, b"x"), udp(Server, 53, b"y"));
    // 1 is the client's hardware address, 2 the server's, 7 and 8 are the router's own.
    let sent = [(0, 1, 1, &ask), (15, 2, 7, &ask), (900, 2, 2, &answer), (915, 1, 8, &answer)];
    for order in [[0, 1, 2, 3], [1, 0, 2, 3], [1, 0, 3, 2], [0, 1, 3, 2], [1, 3, 0, 2]] {
        let mut sensor = Sensor::new(Settings::default());
        let mut events = Vec::new();
        for at in order {
            let (micros, interface, from, packet) = sent[at];
            let (frame, at) = (framed(from, packet), PacketTime(1_000_000 + micros));
            sensor.packet(LinkType::Ethernet, interface, at, &frame, 60, &mut events);
        }
        sensor.finish(&mut events);
        let end = *flows(&events).last().expect("end");
        assert_eq!((end.src_mac, end.dst_mac), (mac(1), mac(2)), "{order:?}");
    }
}
