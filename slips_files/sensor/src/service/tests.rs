use super::*;
use Dir::{Orig, Resp};

fn check(talk: &[(Dir, &[u8])], expected: Option<Service>) {
    let mut recognition = Recognition::default();
    for (dir, payload) in talk {
        recognition.wants(*dir);
        recognition.take_back(*dir, payload);
        if let Some(service) = recognition.look(*dir, payload) {
            recognition.confirm(service);
        }
        for end in 0..payload.len() {
            let _ = hints::of_segment(&payload[..end]);
        }
    }
    assert_eq!(recognition.confirmed[0], expected, "{talk:?}");
}

/// One datagram of the client's to `port`.
fn check_datagram(payload: &[u8], port: u16, expected: Option<Service>) {
    let look = |payload: &[u8]| Recognition::default().look_at_datagram(Orig, payload, 40000, port);
    assert_eq!(look(payload), expected, "{payload:?} to {port}");
    for end in 0..payload.len() {
        look(&payload[..end]);
    }
}

#[test]
fn openings_tell_the_application() {
    check(&[(Orig, b"GET / HTTP/1.1\r\n")], Some(Service::Http));
    check(&[(Resp, b"HTTP/1.1 200 OK\r\n")], Some(Service::Http));
    check(&[(Orig, b"GETX / HTTP/1.1\r\n")], None);
    check(&[(Orig, &[0x16, 3, 1, 0, 9, 1, 0]), (Resp, &[0x16, 3, 3, 0, 9, 2, 0])], Some(Service::Ssl));
    check(&[(Orig, &[0x16, 3, 1, 0, 9, 1, 0])], Some(Service::Ssl));
    check(&[(Orig, &[0x16, 3, 1, 0, 9, 1, 0]), (Resp, b"HTTP/1.1 400 Bad\r\n")], None);
    check(&[(Orig, b"SSH-2.0-a\r\n")], None);
    check(&[(Orig, b"SSH-2.0-a\r\n"), (Resp, b"hello\r\nSSH-2.0-b\r\n")], Some(Service::Ssh));
    check(&[(Resp, b"220 mx ESMTP\r\n"), (Orig, b"EHLO x\r\n")], Some(Service::Smtp));
    check(&[(Resp, b"220 ftp\r\n"), (Orig, b"USER x\r\n"), (Resp, b"331 pass?\r\n")], Some(Service::Ftp));
    check(&[(Resp, b"+OK hi\r\n"), (Orig, b"USER x\r\n")], Some(Service::Pop3));
    check(&[(Orig, b"REGISTER sip:a SIP/2.0\r\n")], Some(Service::Sip));
    check(&[(Orig, b"OPTIONS / HTTP/1.1\r\n")], Some(Service::Http));
    let stream = b"<?xml version='1.0'?><stream:stream xmlns='jabber:client'>";
    check(&[(Orig, stream), (Resp, stream)], Some(Service::Xmpp));
    check(&[(Orig, b"\x00\x01random")], None);
}

#[test]
fn terminals_are_recognised() {
    check(&[(Resp, &[255, 253, 24, 255, 251, 1])], Some(Service::Telnet));
    check(&[(Orig, &[255, 253, 3])], Some(Service::Telnet));
    check(&[(Resp, &[255, 253])], None);
    check(&[(Resp, &[255, 216, 255, 224, 0, 16])], None);
    check(&[(Resp, b"\r\nDebian GNU/Linux\r\nbox login: ")], Some(Service::Telnet));
    check(&[(Resp, b"Username: "), (Orig, b"x")], Some(Service::Telnet));
    check(&[(Resp, b"220 login:")], None);
    check(&[(Orig, b"\0bob\0root\0xterm/38400\0")], Some(Service::Rlogin));
    check(&[(Orig, b"1022\0bob\0root\0id\0")], Some(Service::Rsh));
    check(&[(Orig, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0")], Some(Service::Http2));
}

#[test]
fn databases_are_recognised() {
    check(&[(Resp, b"\x0a\0\0\0\x0a8.0.1\0xy")], None);
    check(&[(Resp, b"\x0a\0\0\0\x0a8.0.1\0xyz")], Some(Service::Mysql));
    check(&[(Orig, b"\0\0\0\x08\x04\xd2\x16\x2f"), (Resp, b"N")], Some(Service::Postgresql));
    let start = b"\0\0\0\x11\0\x03\0\0user\0me\0\0";
    check(&[(Orig, start), (Resp, b"R\0\0\0\x0c\0\0\0\x05abcd")], Some(Service::Postgresql));
    check(&[(Orig, start), (Resp, b"HTTP")], None);
    check(&[(Orig, b"*1\r\n$4\r\nPING\r\n"), (Resp, b"+PONG\r\n")], Some(Service::Redis));
    check(&[(Orig, b"*1\r\n$4\r\nPING\r\n"), (Resp, b"what?")], None);
}

#[test]
fn what_offices_speak_is_recognised() {
    let smb: &[u8] = &[0, 0, 0, 20, 0xfe, b'S', b'M', b'B', 64, 0];
    check(
        &[(Orig, &[0x81, 0, 0, 68]), (Resp, &[0x82, 0, 0, 0]), (Orig, smb), (Resp, smb)],
        Some(Service::Smb),
    );
    check(&[(Orig, &[5, 0, 11, 3, 16, 0, 0, 0]), (Resp, &[5, 0, 12, 3, 16, 0, 0, 0])], Some(Service::DceRpc));
    check(
        &[(Orig, &[0x30, 5, 2, 1, 1, 0x42, 0]), (Resp, &[0x30, 5, 2, 1, 1, 0x61, 0])],
        Some(Service::LdapTcp),
    );
    check(&[(Orig, &[0x30, 5, 2, 1, 1, 0x42, 0]), (Resp, &[0x30, 5, 2, 1, 1, 0x62, 0])], None);
    check(&[(Orig, &[0, 0, 0, 4, 0x6a, 2, 0x30, 0])], Some(Service::KerberosTcp));
    check(&[(Orig, &[3, 0, 0, 19, 14, 0xe0, 0]), (Resp, &[3, 0, 0, 19, 14, 0xd0, 0])], Some(Service::Rdp));
    check(&[(Resp, b"RFB 003.008\n"), (Orig, b"RFB 003.007\n")], Some(Service::Rfb));
    check_datagram(&[0x6c, 2, 0x30, 0], 88, Some(Service::Kerberos));
    check_datagram(&[0x30, 5, 2, 1, 1, 0x63, 0], 389, Some(Service::LdapUdp));
}

#[test]
fn machines_are_recognised() {
    let ask: &[u8] = &[0, 1, 0, 0, 0, 6, 1, 3, 0, 0, 0, 1];
    check(&[(Orig, ask), (Resp, &[0, 1, 0, 0, 0, 5, 1, 3, 2, 0, 9])], Some(Service::Modbus));
    check(&[(Orig, ask), (Resp, b"220 ftp\r\n")], None);
    check(&[(Orig, b"\x10\x10\0\x04MQTT\x04\x02\0\x3c\0\x04abcd")], Some(Service::Mqtt));
    check_datagram(&[0x30, 12, 2, 1, 1, 4, 3, b'p', b'u', b'b', 0xa0, 2, 5, 0], 161, Some(Service::Snmp));
    check_datagram(&[0x30, 13, 2, 1, 1, 4, 3, b'p', b'u', b'b', 0xa0, 2, 5, 0], 161, None);
    check_datagram(b"<34>Oct 11 su: failed", 514, Some(Service::Syslog));
    check_datagram(b"<340>Oct", 514, None);
    let mut radius = [0u8; 23];
    radius[..4].copy_from_slice(&[1, 7, 0, 23]);
    check_datagram(&radius, 1812, Some(Service::Radius));
    radius[3] = 22;
    check_datagram(&radius, 1812, None);
    let mut ntp = [0u8; 48];
    ntp[0] = 0x23;
    check_datagram(&ntp, 123, Some(Service::Ntp));
    check_datagram(&ntp, 124, None);
    check_datagram(&[], 123, None);
}

#[test]
fn ways_around_are_recognised() {
    check(&[(Orig, &[5, 1, 0]), (Resp, &[5, 0])], Some(Service::Socks));
    check(&[(Orig, &[4, 1, 0, 80, 1, 2, 3, 4, 0]), (Resp, &[0, 90, 0, 0, 0, 0, 0, 0])], Some(Service::Socks));
    check(&[(Orig, &[5, 1, 0]), (Resp, b"HTTP/1.1 400\r\n")], None);
    let reset = |opcode: u8| [&[0, 14, opcode][..], &[7; 13]].concat();
    check(&[(Orig, &reset(0x38)), (Resp, &reset(0x40))], Some(Service::Openvpn));
    let mut recognition = Recognition::default();
    assert_eq!(recognition.look_at_datagram(Orig, &reset(0x38)[2..], 40000, 1194), None);
    assert_eq!(recognition.look_at_datagram(Resp, &reset(0x40)[2..], 1194, 40000), Some(Service::Openvpn));
    let mut wireguard = [9; 148];
    wireguard[..4].copy_from_slice(&[1, 0, 0, 0]);
    check_datagram(&wireguard, 51820, Some(Service::Wireguard));
    let mut ike = [0; 28];
    (ike[17], ike[27]) = (0x20, 28);
    check_datagram(&ike, 500, Some(Service::Ipsec));
    check_datagram(&[&[0; 4][..], &ike].concat(), 4500, Some(Service::Ipsec));
}

#[test]
fn peers_and_miners_are_recognised() {
    check(&[(Resp, b"\x13BitTorrent protocol\0")], Some(Service::Bittorrent));
    check(&[(Orig, b"{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[]}\n")], Some(Service::Stratum));
    check(
        &[(Orig, b"{\"method\":\"login\",\"params\":{\"login\":\"4A\",\"pass\":\"x\"}}\n")],
        Some(Service::Stratum),
    );
    check(&[(Orig, b"{\"hello\":1}\n")], None);
    check(&[(Orig, b"\x01\x21\x01\x01\x01\x01\x01\x01\x06\x01")], Some(Service::Monero));
    check_datagram(b"d1:ad2:id20:abcdefghij0123456789e", 6881, Some(Service::Bittorrent));
    let mut stun = [0; 20];
    stun[1] = 1;
    stun[4..8].copy_from_slice(&[0x21, 0x12, 0xa4, 0x42]);
    check_datagram(&stun, 3478, Some(Service::Stun));
}
