//! What is recognised in UDP by its content, on any port.
#![no_main]

use slips_fuzz::bytes::Bytes;
use slips_fuzz::script::datagrams;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let mut input = Bytes(input);
    let ports = (input.word(), input.word());
    datagrams(ports, input.0);
});
