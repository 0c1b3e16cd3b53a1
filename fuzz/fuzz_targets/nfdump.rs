//! nfdump's binary files.
#![no_main]

use slips_input::Format;

libfuzzer_sys::fuzz_target!(|input: &[u8]| slips_fuzz::files::read(Format::Nfdump, input));
