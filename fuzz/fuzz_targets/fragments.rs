//! IP fragments in any order, overlapping, contradicting each other, too many.
#![no_main]

use slips_fuzz::bytes::Bytes;
use slips_fuzz::net::{Net, settings};
use slips_fuzz::wire::{fragment4, ipv6};
use slips_sensor::Settings;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let mut input = Bytes(input);
    let mut net = Net::new(Settings { max_fragmented: 3, max_fragment_bytes: 2048, ..settings() });
    while !input.is_over() {
        let control = input.byte();
        let place = input.word();
        let id = control & 7;
        let bytes = input.take(usize::from(input.0.first().copied().unwrap_or(0)) + 1);
        let proto = if control & 8 == 0 { 17 } else { 6 };
        let packet = if control & 16 == 0 {
            let [high, low] = (place & 0x3fff).to_be_bytes();
            fragment4([10, 0, 0, 1], [192, 0, 2, 9], proto, [0, id, high, low], bytes)
        } else {
            let [high, low] = place.to_be_bytes();
            let mut behind = vec![proto, 0, high, low, 0, 0, 0, id];
            behind.extend(bytes);
            ipv6([1; 16], [2; 16], 44, &behind)
        };
        net.ip(&packet);
        net.at += i64::from(control >> 5) * 4_000_000;
    }
    net.finish();
});
