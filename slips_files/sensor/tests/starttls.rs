//! TLS that begins in the middle of another conversation, told whatever spoke before.

#![allow(clippy::expect_used, clippy::panic, reason = "a test")]

mod support;

use slips_core::event::Event;
use slips_core::flow::Phase;
use slips_core::time::{PacketTime, Span};
use slips_sensor::{LinkType, Sensor, Settings};
use support::wire::{ACK, FIN, SYN, ipv4, tcp};

const CLIENT: [u8; 4] = [10, 0, 0, 1];
const SERVER: [u8; 4] = [192, 0, 2, 9];

/// A client hello for `host.example` in its record.
fn hello() -> Vec<u8> {
    let name = b"\x00\x00\x00\x11\x00\x0f\x00\x00\x0chost.example";
    let body = [&[3, 3][..], &[7; 32], &[0, 0, 2, 0xc0, 0x2f, 1, 0, 0, name.len() as u8], name].concat();
    let message = [&[1, 0, 0, body.len() as u8][..], &body].concat();
    [&[0x16, 3, 1, 0, message.len() as u8][..], &message].concat()
}

/// A server hello in its record.
fn answer() -> Vec<u8> {
    let body = [&[3, 3][..], &[9; 32], &[0, 0xc0, 0x2f, 0]].concat();
    let message = [&[2, 0, 0, body.len() as u8][..], &body].concat();
    [&[0x16, 3, 3, 0, message.len() as u8][..], &message].concat()
}

/// What is told of a connection whose sides say this (`true`: the client), one after the other.
fn told(port: u16, talk: &[(bool, Vec<u8>)]) -> Vec<Event> {
    let mut sensor = Sensor::new(Settings::default());
    let mut events = Vec::new();
    let mut at = PacketTime(0);
    let (mut seqs, mut send) = ([1000u32, 5000], Vec::new());
    let mut segment = |is_client: bool, flags: u8, payload: &[u8]| {
        let ports = if is_client { (40_000, port) } else { (port, 40_000) };
        let (seq, ack) = if is_client { (seqs[0], seqs[1]) } else { (seqs[1], seqs[0]) };
        let packet = tcp(ports, flags, seq, ack, payload);
        let (src, dst) = if is_client { (CLIENT, SERVER) } else { (SERVER, CLIENT) };
        send.push(ipv4(src, dst, 6, &packet));
        seqs[usize::from(!is_client)] += payload.len() as u32 + u32::from(flags & (SYN | FIN) != 0);
    };
    segment(true, SYN, b"");
    segment(false, SYN | ACK, b"");
    segment(true, ACK, b"");
    for (is_client, payload) in talk {
        segment(*is_client, ACK, payload);
        segment(!*is_client, ACK, b"");
    }
    segment(true, FIN | ACK, b"");
    segment(false, FIN | ACK, b"");
    segment(true, ACK, b"");
    for packet in &send {
        at = at + Span(1000);
        sensor.packet(LinkType::RawIp, 0, at, packet, packet.len() as u32, &mut events);
    }
    sensor.finish(&mut events);
    events
}

/// Turns to TLS after `talk`; the services that the flow is said to carry are `services`.
fn check(port: u16, services: &str, talk: &[(bool, &[u8])]) {
    let mut talk: Vec<_> = talk.iter().map(|(is_client, bytes)| (*is_client, bytes.to_vec())).collect();
    talk.extend([(true, hello()), (false, answer())]);
    let events = told(port, &talk);
    let tls: Vec<_> = events
        .iter()
        .filter_map(|event| if let Event::Tls(tls) = event { Some(&tls.fields) } else { None })
        .collect();
    let [tls] = &tls[..] else { panic!("{services}: {events:#?}") };
    assert_eq!((tls.server_name.as_str(), tls.ssl_history.as_str()), ("host.example", "Cs"), "{services}");
    let flow = events.iter().find_map(|event| match event {
        Event::Flow(flow) if flow.phase == Phase::End => Some(flow.service.as_str().to_owned()),
        _ => None,
    });
    assert_eq!(flow.as_deref(), Some(services));
}

#[test]
fn mail_turns_to_tls() {
    check(
        587,
        "smtp,ssl",
        &[
            (false, b"220 mx ESMTP\r\n"),
            (true, b"EHLO c\r\n"),
            (false, b"250-mx\r\n250 STARTTLS\r\n"),
            (true, b"STARTTLS\r\n"),
            (false, b"220 go ahead\r\n"),
        ],
    );
    let greeting: &[u8] = b"* OK [CAPABILITY IMAP4rev1 STARTTLS] ready\r\n";
    check(143, "imap,ssl", &[(false, greeting), (true, b"a STARTTLS\r\n"), (false, b"a OK begin\r\n")]);
    check(
        110,
        "pop3,ssl",
        &[
            (false, b"+OK ready\r\n"),
            (true, b"CAPA\r\n"),
            (false, b"+OK\r\nSTLS\r\n.\r\n"),
            (true, b"STLS\r\n"),
            (false, b"+OK\r\n"),
        ],
    );
}

#[test]
fn files_and_chat_turn_to_tls() {
    check(21, "ftp,ssl", &[(false, b"220 ftp\r\n"), (true, b"AUTH TLS\r\n"), (false, b"234 go\r\n")]);
    check(
        5222,
        "xmpp,ssl",
        &[
            (true, b"<?xml version='1.0'?><stream:stream to='a' xmlns='jabber:client'>"),
            (false, b"<?xml version='1.0'?><stream:stream from='a'><stream:features/>"),
            (true, b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"),
            (false, b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"),
        ],
    );
}

#[test]
fn directories_and_databases_turn_to_tls() {
    let start = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037";
    let done = b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00";
    check(389, "ldap_tcp,ssl", &[(true, start), (false, done)]);
    check(5432, "postgresql,ssl", &[(true, &[0, 0, 0, 8, 4, 210, 22, 47]), (false, b"S")]);
    let greeting = [&[10][..], b"8.0.36\0", &[1; 40]].concat();
    let greeting = [&[greeting.len() as u8, 0, 0, 0], &greeting[..]].concat();
    // the client's capabilities, with the one that asks for TLS
    let request = [&[32, 0, 0, 1, 0x85, 0xae, 0xff, 0x19][..], &[0; 28]].concat();
    check(3306, "mysql,ssl", &[(false, &greeting), (true, &request)]);
}

#[test]
fn proxies_carry_tls() {
    let request: &[u8] = b"CONNECT host.example:443 HTTP/1.1\r\nHost: host.example\r\n\r\n";
    check(3128, "http,ssl", &[(true, request), (false, b"HTTP/1.1 200 OK\r\n\r\n")]);
    check(
        1080,
        "socks,ssl",
        &[
            (true, &[5, 1, 0]),
            (false, &[5, 0]),
            (true, &[5, 1, 0, 1, 192, 0, 2, 1, 1, 187]),
            (false, &[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]),
        ],
    );
}
