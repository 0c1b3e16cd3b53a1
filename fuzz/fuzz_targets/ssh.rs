//! SSH banners, key exchange and packet sizes.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| slips_fuzz::script::stream(22, input));
