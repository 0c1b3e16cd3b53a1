//! What of payloads is told.

use slips_core::addr::LocalNets;
use slips_core::event::Event;

use super::*;
use crate::PayloadSettings;

fn settings() -> Settings {
    let payloads = PayloadSettings {
        turn_bytes: 100,
        flow_bytes: 250,
        second_bytes: 1000,
        held_bytes: 500,
        ..PayloadSettings::of(LocalNets::private())
    };
    Settings { payloads: Some(payloads), ..Settings::default() }
}

/// Whether the client sent it, and what, of each piece that is told.
fn told(settings: Settings, packets: Vec<Vec<u8>>) -> Vec<(bool, String)> {
    let timed: Vec<_> = packets.into_iter().enumerate().map(|(n, packet)| (n as i64, packet)).collect();
    let pieces = run(settings, &timed).into_iter().filter_map(|event| match event {
        Event::Payload(piece) => Some((piece.is_orig, String::from_utf8_lossy(&piece.bytes).into_owned())),
        _ => None,
    });
    pieces.collect()
}

/// A connection in which each side says so much in turn; [`Client`] begins.
fn talk(turns: &[(Sender, &str)]) -> Vec<Vec<u8>> {
    let (mut client, mut server) = (101u32, 501u32);
    let mut packets = vec![
        tcp(Client, SYN, 100, 0, b""),
        tcp(Server, SYN | ACK, 500, 101, b""),
        tcp(Client, ACK, 101, 501, b""),
    ];
    for (from, text) in turns {
        match from {
            Client => {
                packets.push(tcp(Client, ACK, client, server, text.as_bytes()));
                client += text.len() as u32;
            }
            Server => {
                packets.push(tcp(Server, ACK, server, client, text.as_bytes()));
                server += text.len() as u32;
            }
        }
    }
    packets
}

#[test]
fn the_beginning_of_each_turn_of_ours_is_told_once() {
    let long = "x".repeat(150);
    let short = format!("GET /second HTTP/1.1\r\nUser-Agent: {}\r\n\r\n", "y".repeat(40));
    let packets = talk(&[
        (Client, "POST / HTTP/1.1\r\nContent-Length: 150\r\n\r\n"),
        (Client, &long),
        (Server, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        (Client, &short),
        (Server, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        (Client, "the end"),
    ]);
    let pieces = told(settings(), packets.clone());
    let first = format!("POST / HTTP/1.1\r\nContent-Length: 150\r\n\r\n{}", "x".repeat(60));
    assert_eq!(pieces, [(true, first), (true, short), (true, "the end".to_owned())]);
    assert_eq!(told(Settings::default(), packets), [], "nobody wants it");
}

#[test]
fn a_flow_is_left_when_it_was_enough_and_copies_count_once() {
    let turn = "GET /0123456789 HTTP/1.1\r\nHost: a.example\r\n\r\n".repeat(2);
    let mut turns = Vec::new();
    for _ in 0..9 {
        turns.extend([(Client, turn.as_str()), (Server, "HTTP/1.1 204 No Content\r\n\r\n")]);
    }
    let mut packets = talk(&turns);
    packets.insert(4, packets[3].clone());
    let pieces = told(settings(), packets);
    assert_eq!(pieces.iter().map(|(_, piece)| piece.len()).sum::<usize>(), 250);
    assert_eq!(pieces[0].1, turn);
}

#[test]
fn what_is_encrypted_or_no_text_or_forged_is_not_told() {
    assert_eq!(told(settings(), talk(&[(Client, "SSH-2.0-OpenSSH_9.2\r\n"), (Server, "SSH-2.0-x\r\n")])), []);
    assert_eq!(told(settings(), talk(&[(Client, "\u{1}\u{2}\u{3}\u{4}\u{5}\u{6}\u{7}\u{8}ab")])), []);
    // What begins with something else than text is looked at a little longer.
    let noise = "\u{1}\u{2}\u{3}\u{4}";
    let late = "lat=50.0755&lon=14.4378";
    let answered = [(Client, noise), (Server, "\u{5}"), (Client, late), (Server, "\u{6}")];
    assert_eq!(told(settings(), talk(&answered)), [(true, late.to_owned())]);
    assert_eq!(told(settings(), talk(&[&[(Client, noise); 4][..], &answered].concat())), []);
    let forged = tcp(Client, ACK, 100, 500, b"POST / HTTP/1.1\r\n\r\nimei=490154203237518");
    assert_eq!(told(settings(), vec![forged]), []);
}

#[test]
fn servers_of_ours_are_told_too_and_datagrams_in_part() {
    // 192.0.2.0/24 is ours, 10/8 is not
    let nets =
        LocalNets::new(vec![slips_core::addr::Net::new([192, 0, 2, 0].into(), 24).expect("a network")]);
    let payloads =
        PayloadSettings { local: nets, turn_bytes: 100, ..PayloadSettings::of(LocalNets::private()) };
    let settings_of_server = Settings { payloads: Some(payloads), ..Settings::default() };
    let packets =
        talk(&[(Client, "GET / HTTP/1.0\r\n\r\n"), (Server, "HTTP/1.0 200 OK\r\n\r\nroot:x:0:0:root:/root")]);
    let pieces = told(settings_of_server, packets);
    assert_eq!(pieces, [(false, "HTTP/1.0 200 OK\r\n\r\nroot:x:0:0:root:/root".to_owned())]);
    let text = "lat=50.0755&lon=14.4378 and so on and so on";
    let pieces = told(settings(), vec![udp(Client, 9999, text.as_bytes()), udp(Client, 9999, b"more")]);
    assert_eq!(pieces, [(true, format!("{}\nmore", &text[..25]))]);
}

#[test]
fn short_turns_cost_of_their_second_as_longer_ones() {
    let talk = |n: usize| {
        let turns = [(Client, "a password=secret"), (Server, "say more")];
        told(settings(), talk(&turns.repeat(n))).len()
    };
    assert_eq!([1, 3, 4, 9].map(talk), [1, 3, 4, 4]);
}

#[test]
fn no_more_is_told_than_a_second_may_have() {
    let payloads =
        PayloadSettings { second_bytes: 10, turn_bytes: 400, ..PayloadSettings::of(LocalNets::private()) };
    let settings = Settings { payloads: Some(payloads), ..Settings::default() };
    let mut sensor = Sensor::new(settings);
    let mut events = Vec::new();
    for (n, text) in ["0123456789abcdef", "next second"].iter().enumerate() {
        let at = PacketTime(1_000_000 * n as i64);
        let packet = udp(Client, 9999, text.as_bytes());
        sensor.packet(LinkType::RawIp, 0, at, &packet, packet.len() as u32, &mut events);
    }
    assert_eq!(sensor.counters().payload_passed_over, 7);
    sensor.finish(&mut events);
    let piece = events.iter().find_map(|event| match event {
        Event::Payload(piece) => Some(piece.bytes.clone()),
        _ => None,
    });
    assert_eq!(piece.expect("a piece"), b"0123456789\nnext secon");
}

#[test]
fn however_many_addresses_send_no_more_are_remembered_than_are_looked_at() {
    let payloads = Some(PayloadSettings::of(LocalNets::private()));
    let mut sensor = Sensor::new(Settings { payloads, ..Settings::default() });
    let mut events = Vec::new();
    for n in 0..20_000u32 {
        let mut packet = udp(Client, 9999, b"name=somebody&more=text");
        packet[12..16].copy_from_slice(&(0x0a00_0001 + n).to_be_bytes());
        sensor.packet(LinkType::RawIp, 0, PacketTime(0), &packet, packet.len() as u32, &mut events);
        events.clear();
    }
    assert_eq!(sensor.payloads.hosts(), 1 << 14);
    sensor.finish(&mut events);
    assert_eq!(sensor.payloads.hosts(), 0);
}
