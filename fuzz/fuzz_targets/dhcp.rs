//! DHCP messages.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| slips_fuzz::script::datagrams((68, 67), input));
