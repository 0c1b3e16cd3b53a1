//! HTTP/1 with its bodies.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| slips_fuzz::script::stream(80, input));
