//! Bodies in HTTP: decompressed, typed, hashed. The first byte says how they are coded.
#![no_main]

use slips_fuzz::script::{From, stream, turns};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((kind, body)) = input.split_first() else { return };
    let coding = match kind & 3 {
        0 => "Content-Encoding: gzip\r\n",
        1 => "Content-Encoding: deflate\r\n",
        2 => "Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
        _ => "",
    };
    let length = if kind & 4 == 0 { format!("Content-Length: {}\r\n", body.len()) } else { String::new() };
    let head = format!("HTTP/1.1 200 OK\r\n{coding}{length}\r\n");
    let mut script = vec![kind >> 6];
    script.extend(turns(&[
        (From::Client, b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"),
        (From::Server, head.as_bytes()),
    ]));
    script.extend(turns(&[(From::Server, body)]));
    stream(80, &script);
});
