//! File transfers.

use super::*;

#[test]
fn an_announced_data_connection_has_a_name() {
    let mut packets = handshake();
    packets.extend([
        (30, tcp(Server, ACK, 501, 101, b"220 ready\r\n")),
        (31, tcp(Client, ACK, 101, 512, b"USER me\r\n")),
        (32, tcp(Server, ACK, 512, 110, b"331 password?\r\n")),
        (33, tcp(Server, ACK, 527, 110, b"227 Entering (10,9,9,9,0,99)\r\n")),
    ]);
    let connect = |port: u16| {
        let mut segment = ports(Client, port).to_vec();
        segment.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, SYN, 0xff, 0xff, 0, 0, 0, 0]);
        ipv4(Client, 6, &segment)
    };
    packets.extend([(40, connect(98)), (41, connect(99))]);
    let events = run(Settings::default(), &packets);
    let service = |port| {
        let starts = |flow: &&&Flow| flow.phase == Phase::Start && flow.dst.port == port;
        flows(&events).iter().find(starts).map(|flow| flow.service.as_str().to_owned())
    };
    assert_eq!((service(98).as_deref(), service(99).as_deref()), (Some(""), Some("ftp-data")));
}
