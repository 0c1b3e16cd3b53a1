//! Segments of one TCP connection with any flags and numbers, whose bytes are read as HTTP.
#![no_main]

use slips_fuzz::bytes::Bytes;
use slips_fuzz::net::{Net, settings};
use slips_fuzz::wire::{ipv4, tcp};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let mut input = Bytes(input);
    let mut net = Net::new(settings());
    while !input.is_over() {
        let control = input.byte();
        let flags = input.byte();
        // near the wrap, and sometimes anywhere
        let number = |near: u16, far: bool| {
            if far { u32::from(near) << 16 } else { (u32::MAX - 0x1000).wrapping_add(near.into()) }
        };
        let seq = number(input.word(), control & 2 != 0);
        let ack = number(input.word(), control & 4 != 0);
        let bytes = input.take((control >> 4).into());
        let http: &[u8] = if control & 8 == 0 { bytes } else { b"GET / HTTP/1.1\r\n\r\n" };
        let packet = match control & 1 {
            0 => ipv4([10, 0, 0, 1], [192, 0, 2, 9], 6, &tcp((40_000, 80), flags, seq, ack, http)),
            _ => ipv4([192, 0, 2, 9], [10, 0, 0, 1], 6, &tcp((80, 40_000), flags, seq, ack, http)),
        };
        net.ip(&packet);
    }
    net.finish();
});
