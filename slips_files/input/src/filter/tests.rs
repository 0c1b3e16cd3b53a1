use std::net::IpAddr;
use std::process::Command;

use proptest::prelude::*;

use super::*;

/// A frame in the making: Ethernet, tags, IP, a transport header.
#[derive(Clone)]
struct Packet {
    tags: Vec<u16>,
    src: IpAddr,
    dst: IpAddr,
    proto: u8,
    ports: (u16, u16),
    options: usize,
    offset: u16,
}

fn packet(src: &str, dst: &str, proto: u8, ports: (u16, u16)) -> Packet {
    let addr = |text: &str| text.parse().expect(text);
    Packet { tags: Vec::new(), src: addr(src), dst: addr(dst), proto, ports, options: 0, offset: 0 }
}

impl Packet {
    fn ip(&self) -> Vec<u8> {
        let mut bytes = match (self.src, self.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                let mut ip = vec![0u8; 20 + self.options * 4];
                ip[0] = 0x45 + self.options as u8;
                ip[6..8].copy_from_slice(&self.offset.to_be_bytes());
                ip[9] = self.proto;
                ip[12..16].copy_from_slice(&src.octets());
                ip[16..20].copy_from_slice(&dst.octets());
                ip
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                let head = [0x60, 0, 0, 0, 0, 20, self.proto, 64];
                [&head[..], &src.octets(), &dst.octets()].concat()
            }
            _ => panic!("both ends are of one family"),
        };
        bytes.extend(self.ports.0.to_be_bytes());
        bytes.extend(self.ports.1.to_be_bytes());
        bytes.extend([0; 16]);
        bytes
    }

    fn ethernet(&self) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
        for tag in &self.tags {
            frame.extend([0x81, 0]);
            frame.extend(tag.to_be_bytes());
        }
        frame.extend(if self.src.is_ipv4() { [8, 0] } else { [0x86, 0xdd] });
        frame.extend(self.ip());
        frame
    }
}

fn takes(filter: &str, link: LinkKind, bytes: &[u8]) -> bool {
    let filter: PacketFilter = filter.parse().unwrap_or_else(|error| panic!("{filter}: {error}"));
    let program = filter.program(link, RunsIn::Here, None).expect("short enough");
    program.accepts(bytes, bytes.len() as u32)
}

#[track_caller]
fn check(packet: &Packet, yes: &[&str], no: &[&str]) {
    let cooked = |at: usize, len: usize| {
        let mut bytes = vec![0; len];
        bytes[at..at + 2].copy_from_slice(if packet.src.is_ipv4() { &[8, 0] } else { &[0x86, 0xdd] });
        [bytes, packet.ip()].concat()
    };
    for (wanted, filters) in [(true, yes), (false, no)] {
        for filter in filters {
            assert_eq!(takes(filter, LinkKind::Ethernet, &packet.ethernet()), wanted, "{filter}");
            if packet.tags.is_empty() && !filter.contains("ether host") {
                assert_eq!(takes(filter, LinkKind::Ip(0), &packet.ip()), wanted, "{filter} bare");
                assert_eq!(
                    takes(filter, LinkKind::Cooked(14, 16), &cooked(14, 16)),
                    wanted,
                    "{filter} cooked"
                );
                assert_eq!(
                    takes(filter, LinkKind::Cooked(0, 20), &cooked(0, 20)),
                    wanted,
                    "{filter} cooked 2"
                );
            }
        }
    }
}

#[test]
fn addresses_ports_and_protocols_are_told_apart() {
    check(
        &packet("10.1.2.3", "192.0.2.9", 6, (40_000, 443)),
        &[
            "host 10.1.2.3",
            "10.1.2.3",
            "src host 10.1.2.3 and dst host 192.0.2.9",
            "src net 10.0.0.0/8",
            "src net 10",
            "net 192.0.2.0/24 or net 172.16.0.0/12",
            "10.0.0.0/8",
            "src and dst net 0.0.0.0/0",
            "src or dst port 443",
            "tcp port 443",
            "ip and tcp and dst port 443",
            "portrange 400-500",
            "tcp dst portrange 443-443",
            "port 80 or 443",
            "host 10.9.9.9 or 10.1.2.3",
            "not port 80 and not udp",
            "!(udp || icmp) && port 443",
            "ip proto 6",
            "proto tcp",
            "not arp",
            "not vlan",
            "greater 40",
            "ether host 02:00:00:00:00:01",
            // Alike and from the left, as tcpdump has it.
            "host 10.1.2.3 or host 10.1.2.4 and port 443",
            "udp or tcp and port 443",
        ],
        &[
            "host 10.1.2.4",
            "dst host 10.1.2.3",
            "dst net 10.0.0.0/8",
            "src and dst net 10.0.0.0/8",
            "src port 443",
            "udp port 443",
            "ip6 port 443",
            "ip6",
            "icmp",
            "port 80 or 8080",
            "portrange 444-39999",
            "not tcp",
            "vlan",
            "vlan 7",
            "less 39",
            "ether host 02:00:00:00:00:03",
            "arp host 10.1.2.3",
            "tcp or udp and port 80",
            "host 2001:db8::1",
        ],
    );
    check(
        &packet("2001:db8:1::5", "2001:db8:2::6", 17, (53, 5353)),
        &[
            "ip6",
            "udp port 53",
            "host 2001:db8:1::5",
            "src net 2001:db8:1::/48",
            "net 2001:db8::/32",
            "net ::/0",
            "dst port 5353",
            "ip6 proto 17",
            "udp",
        ],
        &[
            "ip",
            "tcp",
            "src net 2001:db8:2::/48",
            "host 2001:db8:1::7",
            "dst port 53",
            "icmp6",
            "net 0.0.0.0/0",
        ],
    );
}

#[test]
fn options_move_the_ports_and_later_fragments_have_none() {
    let plain = packet("10.1.2.3", "192.0.2.9", 17, (53, 5353));
    check(&Packet { options: 10, ..plain.clone() }, &["port 53", "dst port 5353"], &["port 54"]);
    check(&Packet { offset: 0x2000, ..plain.clone() }, &["port 53"], &[]);
    check(&Packet { offset: 100, ..plain }, &["udp", "not port 53"], &["port 53"]);
}

#[test]
fn tags_hide_nothing_and_their_outermost_number_counts() {
    let plain = packet("10.1.2.3", "192.0.2.9", 6, (40_000, 22));
    let tagged = Packet { tags: vec![0x6007], ..plain.clone() };
    check(
        &tagged,
        &["vlan", "vlan 7", "vlan 7 and port 22", "tcp port 22", "vlan or udp"],
        &["vlan 8", "udp"],
    );
    let twice = Packet { tags: vec![0x0005, 0x0006], ..plain };
    check(&twice, &["vlan 5", "port 22", "host 10.1.2.3"], &["vlan 6"]);
}

#[test]
fn a_packet_too_short_for_what_is_asked_is_not_taken() {
    let whole = packet("10.1.2.3", "192.0.2.9", 6, (40_000, 22)).ethernet();
    for length in 0..whole.len() {
        assert!(!takes("port 22", LinkKind::Ethernet, &whole[..length]) || length >= 38, "{length}");
        let _ = takes("not port 22", LinkKind::Ethernet, &whole[..length]);
    }
}

#[test]
fn what_is_not_understood_is_named_with_its_place() {
    for (text, column, part) in [
        ("", 1, "a test was expected"),
        ("port", 5, "a value was expected"),
        ("port http", 6, "`http` is no port"),
        ("port 65536", 6, "no port"),
        ("portrange 9-3", 11, "no range"),
        ("tcp port 80 &&", 15, "a test was expected"),
        ("host example.org", 6, "names are not looked up"),
        ("net 10.0.0.0/33", 5, "no network"),
        ("host 10.0.0.1 10.0.0.2", 15, "`and` or `or`"),
        ("(port 80", 9, "`)` is missing"),
        ("port 80)", 8, "without a `(`"),
        ("icmp port 80", 11, "`icmp` has no ports"),
        ("udp host 10.0.0.1", 10, "does not go with"),
        ("ip host ::1", 9, "does not go with"),
        ("vlan 4096", 6, "no VLAN number"),
        ("ether host 1:2", 12, "no hardware address"),
        ("ip proto blah", 10, "no IP protocol"),
        ("tcp[13] & 2 != 0", 1, "`tcp[13]` is no address"),
        ("less many", 6, "number of bytes"),
    ] {
        let error = text.parse::<PacketFilter>().expect_err(text);
        assert_eq!(error.column, column, "{text}: {error}");
        assert!(error.what.contains(part), "{text}: {error}");
    }
    let deep = "(".repeat(100);
    assert!(deep.parse::<PacketFilter>().expect_err("deep").what.contains("nested"));
    let long = vec!["port 1"; 600].join(" or ");
    assert!(long.parse::<PacketFilter>().expect_err("long").what.contains("longer"));
    let heavy = vec!["::1"; 400].join(" or ");
    assert!(heavy.parse::<PacketFilter>().expect_err("heavy").what.contains("4096 instructions"));
}

#[test]
fn jumps_over_much_code_still_arrive() {
    let many: Vec<String> = (1..60).map(|port| format!("port {port}")).collect();
    let any = many.join(" or ");
    let plain = packet("10.1.2.3", "192.0.2.9", 6, (40_000, 59));
    check(
        &plain,
        &[&any, &format!("tcp and ({any})")],
        &[&format!("not ({any})"), &format!("udp and ({any})")],
    );
    let other = packet("10.1.2.3", "192.0.2.9", 6, (40_000, 60));
    check(&other, &[&format!("not ({any})")], &[&any]);
}

#[test]
fn both_directions_and_all_fragments_are_in_one_part_and_every_part_gets_some() {
    let program = |part| {
        Share { part, of: 4, key: 0x1234_5679 }.program(LinkKind::Ethernet, RunsIn::Here).expect("short")
    };
    let programs: Vec<Program> = (0..4).map(program).collect();
    let part_of = |packet: &Packet| {
        let bytes = packet.ethernet();
        let parts: Vec<usize> = (0..4).filter(|at| programs[*at].accepts(&bytes, 60)).collect();
        assert_eq!(parts.len(), 1, "exactly one part takes a packet");
        parts[0]
    };
    let mut seen = [0; 4];
    for host in 0..200u8 {
        for (src, dst) in
            [(format!("10.0.0.{host}"), "192.0.2.9"), (format!("2001:db8::{host}"), "2001:db8:9::1")]
        {
            let there = packet(&src, dst, 6, (40_000, 443));
            let back = packet(dst, &src, 6, (443, 40_000));
            let part = part_of(&there);
            assert_eq!(part_of(&back), part);
            assert_eq!(part_of(&Packet { offset: 100, tags: vec![9], ..there }), part);
            seen[part] += 1;
        }
    }
    assert!(seen.iter().all(|count| *count > 40), "{seen:?}");
    let arp = [&[255; 6][..], &[2; 6], &[8, 6], &[0; 28]].concat();
    let parts: Vec<usize> = (0..4).filter(|at| programs[*at].accepts(&arp, 42)).collect();
    assert_eq!(parts, [0]);
}

/// The captures of the corpora, through tcpdump and through us.
#[test]
fn tcpdump_takes_the_same_packets() {
    let corpora = std::env::var_os("SLIPS_CORPORA").map_or_else(
        || concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/corpora").into(),
        std::path::PathBuf::from,
    );
    if !corpora.is_dir() {
        eprintln!("skipped: tcpdump_takes_the_same_packets: no corpora");
        return;
    }
    if Command::new("tcpdump").arg("--version").output().is_err() {
        eprintln!("skipped: tcpdump_takes_the_same_packets: no tcpdump");
        return;
    }
    let filters = [
        "tcp port 80 or 443",
        "not tcp and not arp",
        "src net 192.168.0.0/16 and not dst net 192.168.0.0/16",
        "ip6 or icmp",
        "udp portrange 1-1023 and greater 100",
        "arp or ether proto 0x86dd",
        "ip proto 47 or icmp6 or sctp",
    ];
    let mut compared = 0;
    let cases = std::fs::read_dir(corpora.join("zeek")).expect("zeek").flatten();
    let mut cases: Vec<_> = cases.map(|case| case.path()).collect();
    cases.sort();
    for file in cases.iter().step_by(4).filter_map(|case| std::fs::read_dir(case).ok()).flatten().flatten() {
        compared += usize::from(compare(&file.path(), &filters));
    }
    assert!(compared > 10, "{compared}");
}

fn compare(path: &std::path::Path, filters: &[&str]) -> bool {
    let mut any = false;
    for text in filters {
        // Tags hide packets from tcpdump, and not from us.
        let theirs =
            Command::new("tcpdump").arg("-nr").arg(path).arg("--count").arg(text).output().expect("tcpdump");
        let said = String::from_utf8_lossy(&theirs.stdout).into_owned();
        let Some(theirs) = said.split_whitespace().next().and_then(|n| n.parse::<usize>().ok()) else {
            return any;
        };
        let filter: PacketFilter = text.parse().expect(text);
        let Ok(mut file) = crate::CaptureFile::open(path, &crate::OpenOptions::default()) else { return any };
        let (mut ours, mut tagged) = (0, false);
        while let Ok(Some(packet)) = file.next_packet() {
            let Some(kind) = LinkKind::from_dlt(packet.dlt) else { return any };
            let program = filter.program(kind, RunsIn::Here, None).expect("short");
            tagged |=
                kind == LinkKind::Ethernet && packet.captured.get(12..14).is_some_and(|t| t == [0x81, 0]);
            ours += usize::from(program.accepts(packet.captured, packet.wire_len));
        }
        if tagged {
            return any;
        }
        assert_eq!(ours, theirs, "{text}: {}", path.display());
        any = true;
    }
    any
}

proptest! {
    #[test]
    fn no_text_and_no_packet_is_too_odd(text in "[a-z0-9 .:/()!&|-]{0,60}", bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
        if let Ok(filter) = text.parse::<PacketFilter>() {
            for kind in [LinkKind::Ethernet, LinkKind::Ip(0), LinkKind::Ip(4), LinkKind::Cooked(14, 16)] {
                let program = filter.program(kind, RunsIn::Here, None).expect("short");
                let _ = program.accepts(&bytes, bytes.len() as u32);
            }
        }
    }

    /// Words that belong together, so that more of them are understood.
    #[test]
    fn a_filter_and_its_negation_never_both_take_a_whole_packet(
        parts in proptest::collection::vec(prop_oneof![
            Just("tcp"), Just("port 80"), Just("host 10.1.2.3"), Just("net 192.0.2.0/24"), Just("vlan"), Just("udp dst port 53"),
            Just("portrange 1-1024"), Just("ip6"), Just("less 60"),
        ], 1..6),
        joins in proptest::collection::vec(prop_oneof![Just(" and "), Just(" or "), Just(" and not ")], 6),
        port in 0u16..2000,
    ) {
        let mut text = String::new();
        for (at, part) in parts.iter().enumerate() {
            if at > 0 { text.push_str(joins[at]); }
            text.push_str(part);
        }
        let bytes = packet("10.1.2.3", "192.0.2.9", 6, (port, 80)).ethernet();
        let one = takes(&text, LinkKind::Ethernet, &bytes);
        prop_assert_ne!(one, takes(&format!("not ({text})"), LinkKind::Ethernet, &bytes));
    }
}
