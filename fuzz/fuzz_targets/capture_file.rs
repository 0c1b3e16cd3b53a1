//! Capture files: pcap, pcapng, also compressed, and what is in them.
#![no_main]

use slips_input::Format;

libfuzzer_sys::fuzz_target!(|input: &[u8]| slips_fuzz::files::read(Format::Pcap, input));
