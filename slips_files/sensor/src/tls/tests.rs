use proptest::prelude::*;
use slips_core::event::{Event, TlsFields};

use crate::reader::testing::{read, read_datagrams};
use crate::service::Service;
use crate::track::Dir::{self, Orig, Resp};

fn vec16(content: &[u8]) -> Vec<u8> {
    [&(content.len() as u16).to_be_bytes(), content].concat()
}

fn extension(number: u16, content: &[u8]) -> Vec<u8> {
    [&number.to_be_bytes()[..], &vec16(content)].concat()
}

fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    [&[kind, 3, 3][..], &vec16(content)].concat()
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind][..], &(body.len() as u32).to_be_bytes()[1..], body].concat()
}

fn client_hello() -> Vec<u8> {
    let name = vec16(&[&[0][..], &vec16(b"host.example")].concat());
    let extensions = [
        extension(0x1a1a, b""),
        extension(0, &name),
        extension(16, &vec16(b"\x02h2\x08http/1.1")),
        extension(10, &vec16(&[0x0a, 0x0a, 0, 29, 0, 23])),
        extension(11, &[1, 0]),
    ]
    .concat();
    let body = [
        &[3, 3][..],
        &[7; 32],
        &[0],
        &vec16(&[0x2a, 0x2a, 0x13, 0x01, 0xc0, 0x2f]),
        &[1, 0],
        &vec16(&extensions),
    ]
    .concat();
    record(22, &message(1, &body))
}

fn server_hello() -> Vec<u8> {
    let body =
        [&[3, 3][..], &[9; 32], &[0, 0xc0, 0x2f, 0], &vec16(&extension(16, &vec16(b"\x02h2")))].concat();
    record(22, &[message(2, &body), message(12, &[3, 0, 29, 0]), message(14, b"")].concat())
}

/// A whole handshake of TLS 1.2.
fn handshake() -> Vec<(Dir, Vec<u8>)> {
    vec![
        (Orig, client_hello()),
        (Resp, server_hello()),
        (Orig, [record(22, &message(16, b"key")), record(20, &[1]), record(22, &[5; 40])].concat()),
        (Resp, [record(20, &[1]), record(22, &[5; 40])].concat()),
        (Orig, record(23, &[1; 100])),
    ]
}

fn tell(talk: &[(Dir, Vec<u8>)], size: usize) -> Vec<TlsFields> {
    let pieces: Vec<_> = talk.iter().map(|(dir, bytes)| (*dir, bytes.as_slice())).collect();
    let fields = |event| if let Event::Tls(tls) = event { Some(tls.fields) } else { None };
    read(Service::Ssl, &pieces, size).into_iter().filter_map(fields).collect()
}

#[test]
fn a_handshake_is_told_once_however_it_is_cut() {
    let whole = tell(&handshake(), usize::MAX);
    let expected = TlsFields {
        version: "TLSv12".to_owned(),
        cipher: "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256".to_owned(),
        curve: "x25519".to_owned(),
        server_name: "host.example".to_owned(),
        next_protocol: "h2".to_owned(),
        established: true,
        ssl_history: "CsknGIi".to_owned(),
        // md5 of 771,4865-49199,0-16-10-11,29-23,0 and of 771,49199,16
        ja3: "a286fceffcb2fbaeaf6e5c45700da233".to_owned(),
        ja3s: "896415616b22361262d7a961b6325cfd".to_owned(),
        ja4: whole[0].ja4.clone(),
        ..TlsFields::default()
    };
    assert_eq!(whole, [expected]);
    assert!(whole[0].ja4.starts_with("t12d0204h2_"), "{}", whole[0].ja4);
    for size in 1..60 {
        assert_eq!(tell(&handshake(), size), whole);
    }
}

#[test]
fn a_handshake_that_stops_is_told_as_far_as_it_came() {
    let told = tell(&[(Orig, client_hello()), (Resp, record(21, &[2, 40]))], 3);
    assert_eq!(told[0].last_alert, "handshake_failure");
    assert_eq!((told[0].ssl_history.as_str(), told[0].established), ("Cl", false));
    assert_eq!(tell(&[(Orig, b"HTTP/1.1 400 Bad\r\n".to_vec())], 9), []);
}

#[test]
fn lengths_that_lie_are_skipped() {
    let huge = [&[11, 0xff, 0xff, 0xff][..], &[0; 1000]].concat();
    let told = tell(&[(Orig, client_hello()), (Resp, record(22, &huge)), (Resp, record(21, &[1, 0]))], 100);
    assert_eq!(told.len(), 1);
}

/// A record of DTLS with fragments of handshake messages.
fn dtls_record(kind: u8, epoch: u16, content: &[u8]) -> Vec<u8> {
    [&[kind, 0xfe, 0xfd][..], &epoch.to_be_bytes(), &[0; 6], &vec16(content)].concat()
}

/// A part of the message that has this number.
fn fragment(number: u16, whole: &[u8], from: usize, to: usize) -> Vec<u8> {
    let (head, body) = whole.split_at(4);
    let three = |number: usize| (number as u32).to_be_bytes()[1..].to_vec();
    [head, &number.to_be_bytes(), &three(from), &three(to - from), &body[from..to]].concat()
}

fn dtls_talk() -> Vec<(Dir, Vec<u8>)> {
    let hello = &client_hello()[5..];
    // the cookie is behind the session
    let with_cookie = [&[0xfe, 0xfd][..], &hello[6..39], &[0], &hello[39..]].concat();
    let hello = message(1, &with_cookie);
    let body = [&[0xfe, 0xfd][..], &[9; 32], &[0, 0xc0, 0x2f, 0]].concat();
    let (verify, server) = (message(3, &[0xfe, 0xfd, 1, 7]), message(2, &body));
    let cert = message(11, &[0, 0, 6, 0, 0, 3, 1, 2, 3]);
    let whole = |number, message: &[u8]| fragment(number, message, 0, message.len() - 4);
    let clear = |parts: &[Vec<u8>]| dtls_record(22, 0, &parts.concat());
    let cut = hello.len() - 30;
    vec![
        (Orig, clear(&[whole(0, &hello)])),
        (Orig, clear(&[whole(0, &hello)])),
        (Resp, clear(&[whole(0, &verify)])),
        (Orig, clear(&[fragment(1, &hello, cut, hello.len() - 4)])),
        (Orig, clear(&[fragment(1, &hello, 0, cut + 5)])),
        (
            Resp,
            [clear(&[whole(1, &server)]), clear(&[whole(2, &cert), whole(3, &message(14, b""))])].concat(),
        ),
        (
            Orig,
            [
                clear(&[whole(2, &message(16, b"key"))]),
                dtls_record(20, 0, &[1]),
                dtls_record(22, 1, &[5; 40]),
            ]
            .concat(),
        ),
        (Resp, [dtls_record(20, 0, &[1]), dtls_record(22, 1, &[5; 40])].concat()),
    ]
}

#[test]
fn a_handshake_in_datagrams_is_told_once() {
    let (events, counts, services) = read_datagrams(Service::Dtls, &dtls_talk());
    let [Event::Tls(tls)] = &events[..] else { panic!("{events:?}") };
    assert_eq!((tls.fields.version.as_str(), tls.fields.ssl_history.as_str()), ("DTLSv12", "CvCsxnGIi"));
    assert_eq!((tls.fields.server_name.as_str(), tls.fields.established), ("host.example", true));
    assert!(tls.fields.ja4.starts_with("dd2d0204h2_"), "{}", tls.fields.ja4);
    assert_eq!((counts.certificates, counts.certificates_malformed), (1, 1));
    assert_eq!(services, [None, Some(Service::Dtls)]);
}

#[test]
fn datagrams_with_lies_are_no_harm() {
    let talk = dtls_talk();
    for cut in 0..talk[0].1.len() {
        read_datagrams(Service::Dtls, &[(Orig, talk[0].1[..cut].to_vec())]);
    }
    let huge = [&[1, 0xff, 0xff, 0xff, 0, 0, 0xff, 0xff, 0xf0, 0, 0, 1][..], b"x"].concat();
    let (events, ..) = read_datagrams(Service::Dtls, &vec![(Orig, dtls_record(22, 0, &huge)); 100]);
    assert_eq!(events, []);
}

proptest! {
    #[test]
    fn damaged_datagrams_are_no_harm(nth in 0..8usize, at in 0..300usize, value in any::<u8>()) {
        let mut talk = dtls_talk();
        let length = talk[nth].1.len();
        talk[nth].1[at % length] = value;
        prop_assert!(read_datagrams(Service::Dtls, &talk).0.len() <= 2);
    }

    #[test]
    fn arbitrary_bytes_are_no_harm(
        pieces in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..200)), 0..10)
    ) {
        let talk: Vec<_> =
            pieces.into_iter().map(|(orig, bytes)| (if orig { Orig } else { Resp }, bytes)).collect();
        tell(&talk, 50);
    }

    #[test]
    fn damaged_handshakes_are_no_harm(at in 0..400usize, value in any::<u8>(), size in 1..200usize) {
        let mut talk = handshake();
        let mut left = at;
        for (_, bytes) in &mut talk {
            if left < bytes.len() {
                bytes[left] = value;
                break;
            }
            left -= bytes.len();
        }
        prop_assert!(tell(&talk, size).len() <= 1);
    }
}
