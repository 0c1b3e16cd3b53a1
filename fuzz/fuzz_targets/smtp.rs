//! SMTP sessions.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| slips_fuzz::script::stream(25, input));
