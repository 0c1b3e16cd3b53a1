use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use slips_core::event::{Event, File, Http};

use crate::reader::testing::read;
use crate::service::Service;
use crate::track::Dir::{self, Orig, Resp};

fn run(talk: &[(Dir, &[u8])], size: usize) -> (Vec<Http>, Vec<File>) {
    let (mut exchanges, mut files) = (Vec::new(), Vec::new());
    for event in read(Service::Http, talk, size) {
        match event {
            Event::Http(http) => exchanges.push(*http),
            Event::File(file) => files.push(*file),
            _ => {}
        }
    }
    (exchanges, files)
}

/// Method, URI, status and lengths of the bodies, a line per exchange; the same however the bytes are cut.
fn check(talk: &[(Dir, &[u8])], expected: &[&str]) -> (Vec<Http>, Vec<File>) {
    let print = |http: &Http| {
        let (method, uri) = (&http.method, &http.uri);
        let code = http.status_code.map_or("-".to_owned(), |code| code.to_string());
        format!("{method} {uri} {code} {} {}", http.request_body_len, http.response_body_len)
    };
    for size in [1, 2, 3, 7, 19, 1000] {
        let (exchanges, files) = run(talk, size);
        assert_eq!(exchanges.iter().map(print).collect::<Vec<_>>(), expected, "cut at {size}");
        let whole = run(talk, usize::MAX).1;
        let digests = |files: &[File]| files.iter().map(|file| file.sha256.clone()).collect::<Vec<_>>();
        assert_eq!(digests(&files), digests(&whole), "cut at {size}");
    }
    run(talk, usize::MAX)
}

#[test]
fn what_a_browser_asks_for_a_page_is_known() {
    for (header, expected) in
        [("Origin: null", true), ("sec-fetch-mode: cors", true), ("Original: x", false), ("Sec: x", false)]
    {
        let request = format!("POST / HTTP/1.1\r\nHost: h\r\n{header}\r\nContent-Length: 1\r\n\r\nx");
        let (exchanges, _) = check(
            &[(Orig, request.as_bytes()), (Resp, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")],
            &["POST / 200 1 0"],
        );
        assert_eq!(exchanges[0].from_page, expected, "{header}");
    }
}

#[test]
fn a_request_and_its_reply() {
    let (exchanges, files) = check(
        &[
            (
                Orig,
                b"POST /a%20b HTTP/1.1\r\nHost: h\r\nUser-Agent: x\r\nReferer: r\r\n\
                  Authorization: Basic dGVzdDoxMjM0\r\nContent-Length: 5\r\n\r\nhello",
            ),
            (Resp, b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"),
        ],
        &["POST /a b 200 5 3"],
    );
    let http = &exchanges[0];
    assert_eq!((http.host.as_str(), http.user_agent.as_str(), http.referrer.as_str()), ("h", "x", "r"));
    assert_eq!((http.username.as_str(), http.status_msg.as_str(), http.trans_depth), ("test", "OK", 1));
    assert_eq!(http.resp_fuids, [files[1].fuid.as_str()]);
    assert_eq!(files[1].md5, "900150983cd24fb0d6963f7d28e17f72");
    assert_eq!(files[1].sha1, "a9993e364706816aba3e25717850c26c9cd0d89d");
    assert_eq!(files[1].sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_eq!((files[1].total_bytes, files[1].sender < files[1].receiver), (Some(3), false));
}

#[test]
fn pipelined_requests_are_paired_in_order() {
    check(
        &[
            (Orig, b"GET /1 HTTP/1.1\r\n\r\nHEAD /2 HTTP/1.1\r\n\r\nGET /3 HTTP/1.1\r\n\r\nGET /4 HTTP/1.1\r\n\r\n"),
            (Resp, b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
            (Resp, b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: x\r\n\r\n"),
            (Resp, b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nHTTP/1.1 304 Not Modified\r\n\r\n"),
            (Resp, b"HTTP/1.1 200 OK\r\n\r\nto the end"),
        ],
        &["GET /1 200 0 5", "HEAD /2 200 0 0", "GET /3 304 0 0", "GET /4 200 0 10"],
    );
}

#[test]
fn compressed_bodies_count_decompressed() {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(&[b'a'; 1000]).expect("memory");
    let body = gzip.finish().expect("memory");
    let head = format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", body.len());
    let reply = [head.as_bytes(), &body].concat();
    let (exchanges, files) =
        check(&[(Orig, b"GET http://h/ HTTP/1.1\r\n\r\n"), (Resp, &reply)], &["GET http://h/ 200 0 1000"]);
    assert_eq!(exchanges[0].resp_mime_types, ["text/plain"]);
    assert_eq!((files[0].total_bytes, files[0].seen_bytes), (None, Some(1000)));
}

#[test]
fn what_is_no_request_is_passed_over_and_a_lone_reply_is_told() {
    check(
        &[(Orig, b"GET/ HTTP/1.1\r\nHost: h\r\n\r\n"), (Resp, b"HTTP/1.0 400 Bad\r\n\r\nx")],
        &["  400 0 1"],
    );
    check(&[(Orig, b"GET /x\n"), (Resp, b"HTTP-less body")], &["GET /x 0 0 14"]);
    check(&[(Orig, b"GET /unanswered HTTP/1.1\r\n\r\n")], &["GET /unanswered - 0 0"]);
    check(&[(Orig, b"GET /cut HTTP/1.1\r\nHo")], &["GET /cut - 0 0"]);
}

#[test]
fn a_tunnel_ends_the_conversation() {
    let talk: [(Dir, &[u8]); 3] = [
        (Orig, b"CONNECT h:443 HTTP/1.1\r\n\r\n"),
        (Resp, b"HTTP/1.1 200 Established\r\n\r\n"),
        (Orig, b"\x16\x03\x01\x00\x00"),
    ];
    check(&talk, &["CONNECT h:443 200 0 0"]);
}

#[test]
fn hostile_lengths_and_endless_headers_are_bounded() {
    check(
        &[
            (Orig, b"GET / HTTP/1.1\r\nContent-Length: 18446744073709551615\r\n\r\nabc"),
            (Resp, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nabc"),
        ],
        &["GET / 200 3 3"],
    );
    let endless = b"x".repeat(300 << 10);
    let (exchanges, _) = run(&[(Orig, b"GET / HTTP/1.1\r\n"), (Orig, &endless)], 1000);
    assert_eq!(exchanges.len(), 1);
    let many = b"GET / HTTP/1.1\r\n\r\n".repeat(1000);
    assert_eq!(run(&[(Orig, &many)], 1000).0.len(), 1000);
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_no_harm(
        pieces in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..200)), 0..10),
        size in 1..50usize,
    ) {
        let talk: Vec<(Dir, &[u8])> = pieces
            .iter()
            .map(|(orig, bytes)| (if *orig { Orig } else { Resp }, bytes.as_slice()))
            .collect();
        run(&talk, size);
    }

    #[test]
    fn damaged_messages_are_no_harm(at in 0..150usize, value in any::<u8>(), size in 1..200usize) {
        let mut request = b"POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n".to_vec();
        let mut reply = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 10\r\n\r\n\x1f\x8b\x08\0\0\0\0\0\0\0".to_vec();
        for bytes in [&mut request, &mut reply] {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        run(&[(Orig, &request), (Resp, &reply)], size);
    }
}

#[test]
fn logins_are_told_once_as_long_as_they_succeed() {
    let ask = b"GET / HTTP/1.1\r\nAuthorization: Basic dGVzdDoxMjM0\r\n\r\n";
    let no = b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n";
    let ok = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let talk: [(Dir, &[u8]); 9] = [
        (Orig, b"GET / HTTP/1.1\r\n\r\n"),
        (Resp, no),
        (Orig, ask),
        (Resp, no),
        (Orig, ask),
        (Resp, ok),
        (Orig, ask),
        (Resp, ok),
        (Orig, ask),
    ];
    let told = ["auth test@/ basic failed 401 clear", "auth test@/ basic succeeded  clear"];
    crate::apps::testing::check(Service::Http, &talk[..8], &told);
}
