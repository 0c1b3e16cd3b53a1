//! Frames of every link type, with whatever they carry.
#![no_main]

use slips_fuzz::bytes::Bytes;
use slips_fuzz::net::{Net, settings};
use slips_sensor::{LinkType, Settings};

const LINKS: [u32; 12] = [0, 1, 9, 10, 101, 51, 104, 105, 127, 113, 239, 276];

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let mut input = Bytes(input);
    let control = input.byte();
    let link = LINKS[usize::from(control & 15) % LINKS.len()];
    let link = LinkType::from_dlt(link).expect("a link type that is read");
    let mut net = Net::new(Settings { verify_checksums: control & 16 != 0, ..settings() });
    while !input.is_over() {
        let cut = u32::from(input.byte());
        let frame = input.piece();
        net.packet(link, 0, frame, frame.len() as u32 + cut);
    }
    net.finish();
});
