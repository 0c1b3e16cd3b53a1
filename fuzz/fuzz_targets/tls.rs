//! TLS handshakes, certificates among them.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| slips_fuzz::script::stream(443, input));
