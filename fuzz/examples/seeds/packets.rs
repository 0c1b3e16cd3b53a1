//! Seeds of the targets that take packets.

use slips_fuzz::wire::{ACK, FIN, RST, SYN, ipv4, ipv6, tcp, udp};

use crate::{Seeds, talk};

const A: [u8; 4] = [10, 0, 0, 1];
const B: [u8; 4] = [192, 0, 2, 9];

fn piece(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_le_bytes()[..], bytes].concat()
}

fn ethernet(kind: u16, payload: &[u8]) -> Vec<u8> {
    let [high, low] = kind.to_be_bytes();
    [&[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, high, low][..], payload].concat()
}

fn arp() -> Vec<u8> {
    let mut packet = vec![0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1];
    packet.extend(A);
    packet.extend([0; 6]);
    packet.extend(B);
    packet
}

fn icmp(kind: u8, payload: &[u8]) -> Vec<u8> {
    ipv4(A, B, 1, &[&[kind, 0, 0, 0, 0, 7, 0, 1][..], payload].concat())
}

/// One of each kind.
fn packets() -> Seeds {
    let question = udp((4000, 53), &talk::question(b"\x01a\x02bc\x00", 1));
    vec![
        ipv4(A, B, 17, &question),
        ipv4(A, B, 6, &tcp((4000, 80), SYN, 1, 0, b"")),
        ipv4(B, A, 6, &tcp((80, 4000), SYN | ACK, 9, 2, b"")),
        ipv4(A, B, 6, &tcp((4000, 80), ACK, 2, 10, b"GET / HTTP/1.1\r\n\r\n")),
        ipv6([1; 16], [2; 16], 17, &question),
        // hop by hop, destination options, then UDP
        ipv6(
            [1; 16],
            [2; 16],
            0,
            &[&[60, 0, 1, 4, 0, 0, 0, 0, 17, 0, 1, 4, 0, 0, 0, 0][..], &question].concat(),
        ),
        icmp(8, b"ping"),
        icmp(3, &ipv4(B, A, 17, &question)),
        ipv4(A, B, 132, b"other"),
    ]
}

pub fn network() -> Seeds {
    let with = |control: u8, frames: &[Vec<u8>]| {
        let mut seed = vec![control];
        for frame in frames {
            seed.push(0);
            seed.extend(piece(frame));
        }
        seed
    };
    let first = &packets()[0];
    let mut seeds: Seeds = (0..16).map(|link| with(link, &packets())).collect();
    seeds.push(with(1, &packets().iter().map(|packet| ethernet(0x0800, packet)).collect::<Seeds>()));
    for (kind, around) in [
        (0x0806, arp()),
        (0x8100, [&[0, 7, 8, 0][..], first].concat()),
        (0x88a8, [&[0, 7, 0x81, 0, 0, 9, 8, 0][..], first].concat()),
        (0x8864, [&[0x11, 0, 0, 1, 0, 60, 0, 0x21][..], first].concat()),
        (0x8847, [&[0, 1, 0x11, 64][..], first].concat()),
    ] {
        seeds.push(with(1, &[ethernet(kind, &around)]));
    }
    // Linux cooked, both versions; loopback
    seeds.push(with(8, &[[&[0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0, 8, 0][..], first].concat()]));
    seeds.push(with(
        11,
        &[[&[8, 0, 0, 0, 0, 0, 0, 2, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0][..], first].concat()],
    ));
    seeds.push(with(0, &[[&[2, 0, 0, 0][..], first].concat()]));
    seeds
}

pub fn fragments() -> Seeds {
    let piece = |control: u8, place: u16, bytes: &[u8]| {
        let mut turn = vec![control];
        turn.extend(place.to_le_bytes());
        turn.push(bytes.len() as u8);
        turn.extend(bytes);
        turn
    };
    let bytes = [7u8; 15];
    vec![
        [piece(0, 0x2000, &bytes), piece(0, 2, &bytes), piece(1, 0x2000, &bytes)].concat(),
        [piece(0, 4, &bytes), piece(0, 0x2002, &bytes), piece(0, 0x2000, &bytes)].concat(),
        [piece(16, 1, &bytes), piece(16, 16, &bytes), piece(0xf7, 0x2000, &bytes)].concat(),
    ]
}

pub fn tunnels() -> Seeds {
    let inner = ipv4(A, B, 17, &udp((4000, 53), &talk::question(b"\x01a\x00", 1)));
    let six = ipv6([1; 16], [2; 16], 17, &udp((4000, 53), b"x"));
    let frame = ethernet(0x0800, &inner);
    let of = |kind: u8, head: &[u8], inner: &[u8]| [&[kind][..], &piece(&[head, inner].concat())].concat();
    vec![
        of(0, &[], &inner),
        of(1, &[], &six),
        of(2, &[0, 0, 8, 0], &inner),
        of(2, &[0x30, 1, 0x88, 0x0b, 0, 20, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0xff, 3, 0, 0x21], &inner),
        of(2, &[0x10, 0, 0x88, 0xbe, 0, 0, 0, 1, 0x10, 0, 0, 1, 0, 0, 0, 0], &frame),
        of(2, &[0, 0, 0x65, 0x58], &frame),
        of(5, &[], &six),
        of(5, &[0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6], &six),
        of(6, &[8, 0, 0, 0, 0, 0, 1, 0], &frame),
        of(7, &[0, 0, 0x65, 0x58, 0, 0, 1, 0], &frame),
        of(8, &[0x30, 255, 0, 30, 0, 0, 0, 1], &inner),
        of(9, &[&[0x44, 0x52, 0x11, 41, 0, 0, 0, 1][..], &[0; 36]].concat(), &six),
        of(10, &[0, 0, 8, 0], &inner),
        of(0, &ipv4(A, B, 4, &ipv4(A, B, 4, &ipv4(A, B, 4, &inner))), &[]),
    ]
}

pub fn reassembly() -> Seeds {
    let turn = |control: u8, flags: u8, seq: u16, ack: u16, bytes: &[u8]| {
        let mut turn = vec![control, flags];
        turn.extend(seq.to_le_bytes());
        turn.extend(ack.to_le_bytes());
        turn.extend(bytes);
        turn
    };
    let hello = |first: u16, second: u16| {
        [
            turn(0, SYN, 0xff0, 0, b""),
            turn(1, SYN | ACK, 0x100, 0xff1, b""),
            turn(0, ACK, 0xff1, 0x101, b""),
            turn(0xf0, ACK, first, 0x101, b"GET / HTTP/1.1\r"),
            turn(0x30, ACK, second, 0x101, b"\n\r\n"),
            turn(1, ACK, 0x101, 0x1003, b""),
            turn(0, FIN | ACK, 0x1003, 0x101, b""),
            turn(1, RST, 0x101, 0, b""),
        ]
        .concat()
    };
    vec![hello(0xff1, 0x1000), hello(0x1000, 0xff1), hello(0xff1, 0xff5), hello(0x2000, 0x3000)]
}

pub fn sensor() -> Seeds {
    let all = packets();
    let with = |control: u8, extra: &[u8]| {
        let turn = |packet: &Vec<u8>| [&[control][..], extra, &piece(packet)].concat();
        all.iter().map(turn).collect::<Vec<_>>().concat()
    };
    let frames: Seeds = all.iter().map(|packet| ethernet(0x0800, packet)).collect();
    let ethernet = frames.iter().map(|frame| [&[1][..], &piece(frame)].concat()).collect::<Vec<_>>().concat();
    vec![with(0, &[]), with(16, &[0, 1]), with(20, &[0, 1]), with(24, &[1, 0]), with(0x42, &[]), ethernet]
}

pub fn neighbours() -> Seeds {
    let turn = |control: u8, ends: u8, bytes: &[u8]| [&[control, ends][..], &piece(bytes)].concat();
    let net = [[0x20, 0x01, 0x0d, 0xb8].as_slice(), &[0; 12]].concat();
    let link = |kind: u8| [kind, 1, 2, 0, 0, 0, 0, 7];
    let prefix = [&[3, 4, 64, 0xc0, 0, 0, 14, 16, 0, 0, 7, 8, 0, 0, 0, 0][..], &net].concat();
    let servers = [&[25, 5, 0, 0, 0, 0, 0, 60][..], &net, &net].concat();
    let router = [
        &[64, 0x88, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0][..],
        &link(1),
        &[5, 1, 0, 0, 0, 0, 5, 220],
        &prefix,
        &servers,
    ]
    .concat();
    let ask = [&[0; 4][..], &net, &link(1)].concat();
    let tell = [&[0xe0, 0, 0, 0][..], &net, &link(2)].concat();
    let redirect = [&[0; 4][..], &net, &net, &link(2)].concat();
    let option = |code: u8, body: &[u8]| [&[0, code][..], &(body.len() as u16).to_be_bytes(), body].concat();
    let address = [&net[..], &[0, 0, 1, 0, 0, 0, 2, 0]].concat();
    let message = |kind: u8| {
        [
            &[kind, 1, 2, 3][..],
            &option(1, &[0, 1, 0, 1, 9, 9, 9, 9, 2, 0, 0, 0, 0, 7]),
            &option(2, &[0, 3, 0, 1, 2, 0, 0, 0, 0, 9]),
            &option(3, &[&[0; 12][..], &option(5, &address)].concat()),
            &option(25, &[&[0; 12][..], &option(26, &[&[0; 9][..], &net].concat())].concat()),
            &option(23, &net),
            &option(39, b"\x01\x02pc\x03lan\0"),
        ]
        .concat()
    };
    let relayed = |kind: u8| [vec![kind; 34], option(18, b"eth0"), option(9, &message(3))].concat();
    vec![
        [
            turn(3, 0x30, &[&[0; 4][..], &link(1)].concat()),
            turn(0x14, 0x31, &router),
            turn(5, 0x30, &ask),
            turn(0x16, 0x01, &tell),
            turn(7, 0x01, &redirect),
            turn(0x15, 0x35, &[&[0; 4][..], &net].concat()),
        ]
        .concat(),
        [
            turn(0, 0x40, &message(1)),
            turn(0x11, 0x01, &message(2)),
            turn(0, 0x40, &message(3)),
            turn(0x11, 0x01, &message(7)),
        ]
        .concat(),
        [turn(2, 0x12, &relayed(12)), turn(2, 0x21, &relayed(13))].concat(),
    ]
}
