//! Whoever makes the sensor hold as much as possible finds bounds: flows that begin something and never end it, more of them
//! than there is room for, with as much in each as it takes. What was given up for that is counted.

#![allow(clippy::expect_used, reason = "a test")]

mod support;

use slips_core::event::Event;
use slips_core::time::{PacketTime, Span};
use slips_sensor::{Counters, LinkType, Sensor, Settings};

use support::quic::{Keys, Sealer, V1, crypto};
use support::wire::{ACK, SYN, fragment4, ipv4, tcp, udp};

const SERVER: [u8; 4] = [192, 0, 2, 9];

/// All that may be held at the limits below: what they add up to, twice (memory grows by doubling), and what the readers of
/// a thousand flows take by themselves.
const MOST: u64 = 16 << 20;

fn limits() -> Settings {
    Settings {
        max_flows: 1 << 13,
        max_readers: 1000,
        max_stream_bytes: 1 << 20,
        max_stream_side: 64 << 10,
        max_begun_bytes: 1 << 20,
        max_fragmented: 100,
        max_fragment_bytes: 1 << 20,
        max_dns_pending: 1000,
        max_dhcp_pending: 100,
        max_tunnels: 100,
        max_transfers: 100,
        max_files: 16,
        ..Settings::default()
    }
}

struct Attack {
    sensor: Sensor,
    events: Vec<Event>,
    at: PacketTime,
}

impl Attack {
    fn packet(&mut self, packet: &[u8]) {
        self.at = self.at + Span(10);
        self.sensor.packet(LinkType::RawIp, 0, self.at, packet, packet.len() as u32, &mut self.events);
        self.events.clear();
    }

    /// A connection from a client of its own, over which the client and then the server say this.
    fn talk(&mut self, n: u32, port: u16, client: &[u8], server: &[u8]) {
        self.converse(n, port, &[(0, client), (1, server)]);
    }

    /// A connection from a client of its own, over which the client (0) and the server (1) say this in turns.
    fn converse(&mut self, n: u32, port: u16, turns: &[(usize, &[u8])]) {
        let address = (0x0a00_0000 + n).to_be_bytes();
        let from = |flags, seq, ack, bytes: &[u8]| {
            ipv4(address, SERVER, 6, &tcp((4000, port), flags, seq, ack, bytes))
        };
        let back = |flags, seq, ack, bytes: &[u8]| {
            ipv4(SERVER, address, 6, &tcp((port, 4000), flags, seq, ack, bytes))
        };
        self.packet(&from(SYN, 99, 0, b""));
        self.packet(&back(SYN | ACK, 499, 100, b""));
        let mut seq = [100, 500];
        self.packet(&from(ACK, 100, 500, b""));
        for (side, bytes) in turns {
            for part in bytes.chunks(1400) {
                self.packet(&match side {
                    0 => from(ACK, seq[0], seq[1], part),
                    _ => back(ACK, seq[1], seq[0], part),
                });
                seq[*side] += part.len() as u32;
            }
        }
    }

    /// A datagram from a client of its own.
    fn datagram(&mut self, n: u32, port: u16, bytes: &[u8]) {
        let address = (0x0a00_0000 + n).to_be_bytes();
        self.packet(&ipv4(address, SERVER, 17, &udp((4000, port), bytes)));
    }
}

/// Runs an attack; the memory that it took above the empty sensor, and what was counted.
fn attack(run: impl FnOnce(&mut Attack)) -> Counters {
    let sensor = Sensor::new(limits());
    let mut attack = Attack { sensor, events: Vec::with_capacity(1000), at: PacketTime(0) };
    let memory = allocation_counter::measure(|| run(&mut attack)).bytes_max;
    println!("{memory} bytes");
    assert!(memory <= MOST, "{memory} bytes");
    attack.sensor.counters().clone()
}

#[test]
fn requests_without_replies() {
    let long = "x".repeat(8000);
    let request =
        format!("GET /{long} HTTP/1.1\r\nHost: {long}\r\nUser-Agent: {long}\r\nReferer: {long}\r\n\r\n");
    let requests = request.repeat(60);
    let counters = attack(|attack| (0..40).for_each(|n| attack.talk(n, 80, requests.as_bytes(), b"")));
    assert!(counters.readers_given_up > 0, "{counters:?}");
}

#[test]
fn headers_without_an_end() {
    let header = format!("GET / HTTP/1.1\r\nX: {}", "y".repeat(15_000));
    let counters = attack(|attack| (0..2000).for_each(|n| attack.talk(n, 80, header.as_bytes(), b"")));
    assert!(counters.readers_given_up > 1000, "{counters:?}");
}

#[test]
fn handshakes_without_an_end() {
    // a record with a certificate message of 400 KiB that goes on and on
    let mut server = Vec::new();
    for n in 0..3 {
        server.extend([22, 3, 3, 0x3f, 0xff]);
        let mut body = vec![if n == 0 { 11 } else { 7 }; 0x3fff];
        if n == 0 {
            body[..4].copy_from_slice(&[11, 6, 0, 0]);
        }
        server.extend(body);
    }
    let hello =
        [&[22, 3, 1, 0, 49, 1, 0, 0, 45, 3, 3][..], &[9; 32], &[0, 0, 2, 0x13, 1, 1, 0, 0, 0]].concat();
    let counters = attack(|attack| (0..1500).for_each(|n| attack.talk(n, 443, &hello, &server)));
    assert!(counters.readers_given_up > 500, "{counters:?}");
}

#[test]
fn ssh_packets_without_an_end() {
    let begun = [&b"SSH-2.0-a\r\n\x00\x00\x80\x00\x04\x14"[..], &vec![7; 20_000]].concat();
    let counters = attack(|attack| (0..2000).for_each(|n| attack.talk(n, 22, &begun, &begun)));
    assert!(counters.begun_given_up > 1000, "{counters:?}");
}

#[test]
fn dns_messages_without_an_end() {
    let begun = [&[0xff, 0xff][..], &vec![7; 30_000]].concat();
    let counters = attack(|attack| (0..2000).for_each(|n| attack.talk(n, 53, &begun, b"")));
    assert!(counters.begun_given_up > 1000, "{counters:?}");
}

#[test]
fn lines_without_an_end() {
    let line = [b"USER ".to_vec(), vec![b'a'; 5000]].concat();
    let hello = b"220 ftp FTP server ready\r\n331 ".to_vec();
    attack(|attack| (0..3000).for_each(|n| attack.talk(n, 21, &line, &hello)));
    attack(|attack| {
        (0..3000).for_each(|n| {
            attack.talk(n, 25, b"EHLO aaa\r\n", &[b"220 mail ESMTP\r\n250-", &line[..]].concat())
        })
    });
}

#[test]
fn data_above_holes() {
    let counters = attack(|attack| {
        for n in 0..1500 {
            attack.talk(n, 80, b"GET / HTTP/1.1\r\n", b"");
            let address = (0x0a00_0000 + n).to_be_bytes();
            for piece in 0..80 {
                let seq = 200 + piece * 2000;
                let segment = tcp((4000, 80), ACK, seq, 500, &[7; 1000]);
                attack.packet(&ipv4(address, SERVER, 6, &segment));
            }
        }
    });
    assert!(counters.holes_given_up > 1000 && counters.holes_forgotten > 1000, "{counters:?}");
}

#[test]
fn fragments_without_the_others() {
    let counters = attack(|attack| {
        for n in 0..5000u16 {
            let [high, low] = n.to_be_bytes();
            attack.packet(&fragment4([10, 0, 0, 1], SERVER, 17, [high, low, 0x20, 0], &[7; 1400]));
        }
    });
    assert!(counters.fragmented_dropped >= 4900, "{counters:?}");
}

#[test]
fn questions_without_answers() {
    let mut question = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for _ in 0..3 {
        question.push(63);
        question.extend([1; 63]);
    }
    question.extend([0, 0, 1, 0, 1]);
    let counters = attack(|attack| {
        for n in 0..20_000u32 {
            let address = (0x0a00_0000 + n % 100).to_be_bytes();
            attack.packet(&ipv4(address, SERVER, 17, &udp((4000, 53), &question)));
        }
    });
    assert_eq!(counters.dns_pending_dropped, 19_000);
}

#[test]
fn leases_without_an_end() {
    let mut message = vec![0; 240];
    message[..4].copy_from_slice(&[1, 1, 6, 0]);
    message[236..].copy_from_slice(&[0x63, 0x82, 0x53, 0x63]);
    message.extend([53, 1, 1, 12, 200]);
    message.extend([b'a'; 200]);
    message.push(255);
    let counters = attack(|attack| {
        for n in 0..5000u32 {
            message[4..8].copy_from_slice(&n.to_be_bytes());
            attack.packet(&ipv4([10, 0, 0, 1], [255; 4], 17, &udp((68, 67), &message)));
        }
    });
    assert_eq!(counters.dhcp_pending_dropped, 4900);
}

#[test]
fn tunnels_between_everybody() {
    let inner = ipv4([10, 0, 0, 1], SERVER, 17, &udp((4000, 9999), b"x"));
    let counters = attack(|attack| {
        (0..5000u32).for_each(|n| attack.packet(&ipv4((0x0a00_0000 + n).to_be_bytes(), SERVER, 4, &inner)));
    });
    assert_eq!((counters.tunnels, counters.tunnels_evicted), (5000, 4900));
}

#[test]
fn transfers_that_never_come() {
    let counters = attack(|attack| {
        for n in 0..300 {
            let ports: String =
                (0..10).map(|port| format!("PORT 10,0,0,1,{},{port}\r\n", 4 + n % 200)).collect();
            attack.talk(n, 21, b"", b"220 ftp\r\n");
            let address = (0x0a00_0000 + n).to_be_bytes();
            attack.packet(&ipv4(address, SERVER, 6, &tcp((4000, 21), ACK, 100, 509, b"USER a\r\n")));
            attack.packet(&ipv4(SERVER, address, 6, &tcp((21, 4000), ACK, 509, 108, b"331 more\r\n")));
            let mut seq = 108;
            for line in ports.lines() {
                let line = format!("{line}\r\n");
                let segment = tcp((4000, 21), ACK, seq, 519, line.as_bytes());
                attack.packet(&ipv4(address, SERVER, 6, &segment));
                seq += line.len() as u32;
            }
        }
    });
    assert!(counters.transfers_forgotten > 2000, "{counters:?}");
}

#[test]
fn files_without_an_end() {
    let mut body = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n".to_vec();
    body.extend([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0, 0x00, 0x40, 0xff, 0xbf]);
    body.extend([b'z'; 9000]);
    let counters = attack(|attack| {
        (0..2000).for_each(|n| attack.talk(n, 80, b"GET / HTTP/1.1\r\n\r\n", &body));
    });
    assert!(counters.files_passed_over > 500, "{counters:?}");
}

#[test]
fn strangers_who_forge_one_packet_each_leave_room_for_connections() {
    let counters = attack(|attack| {
        // bare segments with the begin of a handshake, from as many senders as there is room for in all
        let begun = [&[22, 3, 1, 0x20, 0, 1, 0, 0x1f, 0xfc, 3, 3][..], &[9; 1300]].concat();
        for n in 0..4000u32 {
            let address = (0x0b00_0000 + n).to_be_bytes();
            attack.packet(&ipv4(address, SERVER, 6, &tcp((4000, 443), ACK, 100, 500, &begun)));
        }
        let before = attack.sensor.counters().files;
        for n in 0..300 {
            attack.talk(n, 80, b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc");
        }
        assert_eq!(attack.sensor.counters().files - before, 300);
    });
    assert!(counters.readers_given_up > 3000, "{counters:?}");
}

/// A Redis command as clients send it.
fn command(words: &[&str]) -> String {
    let words: String = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
    format!("*4\r\n{words}")
}

#[test]
fn commands_without_answers() {
    let long = "x".repeat(120);
    let many = command(&["CONFIG", "SET", &long, &long]).repeat(80);
    let counters = attack(|attack| {
        (0..1000).for_each(|n| {
            let turns: [(usize, &[u8]); 3] =
                [(0, b"*1\r\n$4\r\nPING\r\n"), (1, b"+PONG\r\n"), (0, many.as_bytes())];
            attack.converse(n, 6379, &turns);
        });
    });
    assert!(counters.readers_given_up > 100, "{counters:?}");
}

#[test]
fn logins_without_answers() {
    // letters that take three bytes as text
    let name = [0xff; 125];
    let mut radius = vec![1, 0, 1, 18];
    radius.extend([0; 16]);
    for kind in [1, 31] {
        radius.extend([kind, 127]);
        radius.extend(name);
    }
    let counters = attack(|attack| {
        for n in 0..400 {
            for id in 0..80 {
                radius[1] = id;
                attack.datagram(n, 1812, &radius);
            }
        }
    });
    assert!(counters.readers_given_up > 100, "{counters:?}");
    let counters = attack(|attack| {
        for n in 0..400 {
            for id in 0..40u8 {
                let head =
                    [&b"INVITE sip:"[..], &name, b" SIP/2.0\r\nUser-Agent: ", &name, b"\r\nFrom: ", &name]
                        .concat();
                let rest = format!("\r\nCSeq: {id} INVITE\r\nAuthorization: username=\"");
                attack.datagram(n, 5060, &[&head, rest.as_bytes(), &name, b"\"\r\n\r\n"].concat());
            }
        }
    });
    assert!(counters.readers_given_up > 100, "{counters:?}");
}

#[test]
fn files_that_nobody_opens() {
    let mut talk = Vec::new();
    let name = [0xff, 0x4e].repeat(128);
    for id in 0..40u64 {
        let mut message = vec![0; 64 + 56];
        message[..6].copy_from_slice(&[0xfe, b'S', b'M', b'B', 64, 0]);
        message[12] = 5;
        message[24..32].copy_from_slice(&id.to_le_bytes());
        message[64 + 24..64 + 28].copy_from_slice(&0x0013_0197u32.to_le_bytes());
        message[64 + 36] = 1;
        message[64 + 44] = 120;
        message[64 + 47] = 1;
        message.extend(&name);
        talk.extend((message.len() as u32).to_be_bytes());
        talk.extend(message);
    }
    let reply =
        [&[0, 0, 0, 64, 0xfe][..], b"SMB", &[64, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1], &[0; 47]].concat();
    let hello =
        [&[0, 0, 0, 64, 0xfe][..], b"SMB", &[64, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0], &[0; 47]].concat();
    let counters = attack(|attack| {
        (0..1000).for_each(|n| attack.converse(n, 445, &[(0, &hello), (1, &reply), (0, &talk)]));
    });
    assert!(counters.readers_given_up > 100, "{counters:?}");
}

#[test]
fn logins_without_an_end() {
    type Turns<'a> = &'a [(usize, &'a [u8])];
    let long = vec![b'a'; 20_000];
    let sized = vec![0x7f; 20_000];
    let protocols: [(u16, Turns<'_>); 16] = [
        (23, &[(1, b"\xff\xfd\x18\xff\xfb\x01login: "), (0, &long), (1, &long)]),
        (23, &[(1, b"\xff\xfd\x18login: "), (0, b"\xff\xfa\x27"), (0, &sized)]),
        (513, &[(0, b"\0bob\0root\0xterm/38400\0"), (1, b"\0Password: "), (0, &long)]),
        (514, &[(0, b"1022\0bob\0root\0id"), (0, &long)]),
        (110, &[(1, b"+OK hi\r\n"), (0, b"USER joe\r\nPASS "), (0, &long), (1, &long)]),
        (143, &[(1, b"* OK IMAP4\r\n"), (0, b"a1 LOGIN "), (0, &long), (1, &long)]),
        (3306, &[(1, b"\x11\0\0\0\x0a8.0.1\0\x01\0\0\0salt\0"), (0, b"\xff\xff\xff\x01"), (0, &long)]),
        (5432, &[(0, b"\0\0\0\x08\x04\xd2\x16\x2f"), (1, b"N"), (0, b"\0\0\x40\0\0\x03\0\0"), (0, &long)]),
        (88, &[(0, b"\0\0\xff\xff\x6a\x82\xff\xfb\x30\x82\xff\xf7\xa1\x03\x02\x01\x05"), (0, &long)]),
        (
            389,
            &[
                (0, b"\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\0\x80\0"),
                (1, b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\0\x04\0\x04\0"),
                (0, b"\x30\x82\xff\xff"),
                (0, &long),
            ],
        ),
        (5900, &[(1, b"RFB 003.008\n"), (0, b"RFB 003.008\n"), (1, b"\0\0\0\xff\xff"), (1, &long)]),
        (6379, &[(0, b"*1\r\n$4\r\nPING\r\n"), (1, b"+PONG\r\n"), (0, b"AUTH "), (0, &long), (1, &long)]),
        (1883, &[(0, b"\x10\xff\xff\x7f\0\x04MQTT\x04\xc6\0\x3c\x7f\xff"), (0, &long)]),
        (1080, &[(0, b"\x05\x01\0"), (1, b"\x05\0"), (0, b"\x04\x01\x01\xbb\0\0\0\x01"), (0, &long)]),
        (3333, &[(0, b"{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[\""), (0, &long)]),
        (6667, &[(0, b"NICK bot7\r\nUSER b 0 * :b\r\n"), (1, b":srv 001 a :b\r\n"), (0, &long), (1, &long)]),
    ];
    for (port, turns) in protocols {
        println!("port {port}");
        attack(|attack| (0..1500).for_each(|n| attack.converse(n, port, turns)));
    }
}

#[test]
fn memory_of_long_lines_and_messages_is_given_back() {
    let (long, end) = ([b'a'; 4000], b"\r\n");
    let message = [b"\x30\x82\x0f\xa0", &long[..]].concat();
    let bind = b"\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\0\x80\0";
    let bound = b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\0\x04\0\x04\0";
    for (port, turns) in [
        (110, &[(1, &b"+OK hi\r\n"[..]), (0, b"USER "), (0, &long), (0, end), (1, &long), (1, end)][..]),
        (389, &[(0, bind), (1, bound), (0, &message), (1, &message)]),
    ] {
        let begun = || attack(|attack| (0..1000).for_each(|n| attack.converse(n, port, turns)));
        assert_eq!(begun().readers_given_up, 0, "nothing waits");
    }
}

#[test]
fn hellos_with_holes() {
    let counters = attack(|attack| {
        for n in 0..2000u32 {
            let keys = Keys::new(V1, &n.to_be_bytes(), Sealer::Client);
            attack.datagram(n, 443, &keys.initial(&n.to_be_bytes(), b"c", 0, &crypto(16_000, b"x")));
        }
    });
    assert!(counters.quic_opened > 50 && counters.readers_given_up > 1000, "{counters:?}");
    // the same in DTLS: the last byte of a hello of 16 KiB
    let fragment = [1, 0, 0x40, 0, 0, 0, 0, 0x3f, 0xff, 0, 0, 1, 9];
    let record = [&[22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 13][..], &fragment].concat();
    let counters = attack(|attack| (0..2000).for_each(|n| attack.datagram(n, 4433, &record)));
    assert!(counters.readers_given_up > 1000, "{counters:?}");
}

#[test]
fn initials_that_no_key_opens() {
    let keys = Keys::new(V1, b"another", Sealer::Client);
    let packet = keys.initial(b"12345678", b"c", 0, &crypto(0, &[1; 1000]));
    let counters = attack(|attack| (0..40_000u32).for_each(|n| attack.datagram(n % 100, 443, &packet)));
    assert_eq!(counters.quic_opened, 0);
    // eight to each of the four looks that a flow gets
    assert!(counters.quic_not_authentic <= 4 * 8 * 100, "{counters:?}");
}

#[test]
fn hellos_that_begin_again_and_again() {
    let counters = attack(|attack| {
        for n in 0..20_000u32 {
            // each opens with the keys of its own connection id
            let keys = Keys::new(V1, &n.to_be_bytes(), Sealer::Client);
            attack.datagram(n % 50, 443, &keys.initial(&n.to_be_bytes(), b"c", 0, &crypto(9000, b"x")));
        }
    });
    assert!(counters.quic_opened <= 50 * 32, "{counters:?}");
}
