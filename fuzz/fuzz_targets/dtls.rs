//! DTLS: messages, fragments, records and datagrams.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| slips_fuzz::dtls::play(input));
