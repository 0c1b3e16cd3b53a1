//! DNS: over UDP, multicast, LLMNR, NetBIOS names, and over TCP.
#![no_main]

use slips_fuzz::script::{datagrams, stream};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((way, input)) = input.split_first() else { return };
    match way % 5 {
        0 => stream(53, input),
        1 => datagrams((5353, 5353), input),
        2 => datagrams((40_000, 5355), input),
        3 => datagrams((137, 137), input),
        _ => datagrams((40_000, 53), input),
    }
});
