//! IPv6 on a link: neighbour discovery and DHCPv6, from anybody to anybody.
#![no_main]

use slips_fuzz::bytes::Bytes;
use slips_fuzz::net::{Net, settings};
use slips_fuzz::wire::{ipv6, udp};
use slips_sensor::LinkType;

/// Link-local hosts, a host of a network, all nodes, DHCPv6's servers, nobody.
const HOSTS: [[u8; 16]; 6] = [
    [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
    [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7],
    [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5],
    [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
    [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2],
    [0; 16],
];

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let mut input = Bytes(input);
    let mut net = Net::new(settings());
    while !input.is_over() {
        let (control, ends) = (input.byte(), input.byte());
        let bytes = input.piece();
        let host = |nth: u8| HOSTS[usize::from(nth) % HOSTS.len()];
        let (next, payload) = match control & 7 {
            0 => (17, udp((546, 547), bytes)),
            1 => (17, udp((547, 546), bytes)),
            2 => (17, udp((547, 547), bytes)),
            // what the type, code and checksum are is chosen, so that the fuzzer need not look for them
            kind => (58, [&[130 + kind, 0, 0, 0][..], bytes].concat()),
        };
        let mut packet = ipv6(host(ends & 15), host(ends >> 4), next, &payload);
        packet[7] = if control & 8 == 0 { 255 } else { 64 };
        let source = control >> 4 & 1;
        let frame = [&[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, source, 0x86, 0xdd][..], &packet].concat();
        net.packet(LinkType::Ethernet, 0, &frame, frame.len() as u32);
        net.at += i64::from(control >> 5) * 1_000_000;
    }
    net.finish();
});
