//! Suricata's event log.
#![no_main]

use slips_input::Format;

libfuzzer_sys::fuzz_target!(|input: &[u8]| slips_fuzz::files::read(Format::Suricata, input));
