//! What is recognised in TCP by its content, on any port.
#![no_main]

use slips_fuzz::bytes::Bytes;
use slips_fuzz::script::stream;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let mut input = Bytes(input);
    let port = input.word();
    stream(port, input.0);
});
