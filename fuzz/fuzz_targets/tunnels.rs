//! Packets within packets: the first byte says which tunnel is around the bytes.
#![no_main]

use slips_fuzz::bytes::Bytes;
use slips_fuzz::net::{Net, settings};
use slips_fuzz::wire::{ipv4, udp};

const SRC: [u8; 4] = [10, 0, 0, 1];
const DST: [u8; 4] = [192, 0, 2, 9];
/// Teredo, VXLAN, GENEVE, GTP-U, AYIYA, GRE in UDP.
const PORTS: [u16; 6] = [3544, 4789, 6081, 2152, 5072, 4754];

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let mut input = Bytes(input);
    let mut net = Net::new(settings());
    while !input.is_over() {
        let control = usize::from(input.byte());
        let bytes = input.piece();
        let packet = match control & 15 {
            0 => ipv4(SRC, DST, 4, bytes),
            1 => ipv4(SRC, DST, 41, bytes),
            2..=4 => ipv4(SRC, DST, 47, bytes),
            kind => ipv4(SRC, DST, 17, &udp((40_000, PORTS[(kind - 5) % PORTS.len()]), bytes)),
        };
        net.ip(&packet);
        net.at += (control >> 4) as i64 * 100_000_000;
    }
    net.finish();
});
