//! QUIC: handshakes in Initials that are sealed for the fuzzer, and datagrams as they are.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| slips_fuzz::quic::play(input));
