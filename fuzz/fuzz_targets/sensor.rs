//! The whole sensor: packets of several interfaces and link types, cut by the capture, at any time.
#![no_main]

use slips_fuzz::bytes::Bytes;
use slips_fuzz::net::{Net, settings};
use slips_sensor::LinkType;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let mut input = Bytes(input);
    let mut net = Net::new(settings());
    while !input.is_over() {
        let control = input.byte();
        let link = if control & 1 == 0 { LinkType::RawIp } else { LinkType::Ethernet };
        net.at = match control >> 2 & 7 {
            0..=3 => net.at,
            4 => net.at.saturating_add(i64::from(input.word()) * 10_000),
            5 => net.at.saturating_sub(i64::from(input.word()) * 10_000),
            6 => net.at.saturating_add(i64::from(input.word()) * 10_000_000),
            _ => i64::from_le_bytes(input.array()),
        };
        let bytes = input.piece();
        net.packet(link, (control >> 1 & 1).into(), bytes, bytes.len() as u32 + u32::from(control >> 5));
    }
    net.finish();
});
