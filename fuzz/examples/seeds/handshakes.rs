//! Seeds of the handshakes in datagrams.

use slips_fuzz::dtls;
use slips_fuzz::quic::{self, ANEW, Kind, SERVER_SPEAKS, VERSION_2, WITH_NEXT};

use crate::{Seeds, talk};

/// A hello of TLS 1.3, which QUIC needs.
fn server_hello() -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([9; 32]);
    body.extend([0, 0x13, 1, 0, 0, 14, 0, 43, 0, 2, 3, 4, 0, 51, 0, 4, 0, 29, 0, 0]);
    talk::handshake(2, &body)
}

pub fn quic() -> Seeds {
    let hello = talk::handshake(1, &talk::hello(true));
    let (first, second) = hello.split_at(70);
    let at = |offset: u16, bytes: &[u8]| [&offset.to_le_bytes()[..], bytes].concat();
    let long = |kind: u8| [&[kind, 0, 0, 0, 1, 1, b'c', 6][..], b"server", &[0x40, 20], &[5; 20]].concat();
    let whole = |version: u8| {
        [
            quic::turn(Kind::Next, version, &hello),
            quic::turn(Kind::Next, version | SERVER_SPEAKS | WITH_NEXT, &server_hello()),
            quic::turn(Kind::Raw, SERVER_SPEAKS, &long(0xe1)),
            quic::turn(Kind::Raw, 0, &[0x43; 40]),
            quic::turn(Kind::Raw, SERVER_SPEAKS, &[0x43; 40]),
            // the handshake's end: CONNECTION_CLOSE
            quic::turn(Kind::Frames, version | SERVER_SPEAKS, &[0x1c, 0, 0, 2, b'n', b'o']),
        ]
        .concat()
    };
    let retry = [&[0xf0, 0, 0, 0, 1, 1, b'c', 3][..], b"newtoken", &[7; 16]].concat();
    let versions = [0x80, 0, 0, 0, 0, 1, b'c', 1, b's', 0, 0, 0, 1, 0x6b, 0x33, 0x43, 0xcf];
    vec![
        whole(0),
        whole(VERSION_2),
        // pieces in the wrong order, twice, with padding, pings and acknowledgements between them
        [
            quic::turn(Kind::At, 0, &at(70, second)),
            quic::turn(Kind::Frames, 0, &[0, 0, 0, 1, 2, 5, 0, 0, 5, 3, 5, 0, 0, 5, 1, 1, 1]),
            quic::turn(Kind::At, WITH_NEXT, &at(0, first)),
            quic::turn(Kind::At, 0, &at(0, first)),
            quic::turn(Kind::Next, SERVER_SPEAKS, &server_hello()),
        ]
        .concat(),
        [
            quic::turn(Kind::Next, 0, &hello),
            quic::turn(Kind::Raw, SERVER_SPEAKS, &retry),
            quic::turn(Kind::Next, ANEW, &hello),
            quic::turn(Kind::Next, SERVER_SPEAKS, &server_hello()),
        ]
        .concat(),
        [
            quic::turn(Kind::Raw, 0, &[&[0xc3, 0x1a, 0x2a, 0x3a, 0x4a, 8][..], &[1; 200]].concat()),
            quic::turn(Kind::Raw, SERVER_SPEAKS, &versions),
            quic::turn(Kind::Next, 0, &hello),
        ]
        .concat(),
    ]
}

pub fn dtls() -> Seeds {
    use dtls::Kind;
    let message = |control: u8, kind: u8, body: &[u8]| {
        dtls::turn(Kind::Message, control, &[&[kind][..], body].concat())
    };
    // the hellos are TLS' with versions of DTLS, and the client's has a cookie
    let old = |mut hello: Vec<u8>| {
        hello[..2].copy_from_slice(&[0xfe, 0xfd]);
        hello
    };
    let mut client = old(talk::hello(true));
    client.insert(35, 0);
    let server = old(talk::hello(false));
    let wide = |bytes: &[u8]| [&(bytes.len() as u32).to_be_bytes()[1..], bytes].concat();
    let certificates = wide(&wide(&talk::certificate()));
    let part = |at: usize, bytes: &[u8]| {
        let places = [(certificates.len() as u16).to_le_bytes(), (at as u16).to_le_bytes()].concat();
        dtls::turn(Kind::Fragment, dtls::SERVER_SPEAKS, &[&[11, 1][..], &places, bytes].concat())
    };
    let (first, second) = certificates.split_at(100);
    let finish = [
        dtls::turn(Kind::Record, 0, &[20, 1]),
        dtls::turn(Kind::Record, dtls::SERVER_SPEAKS, &[20, 1]),
        dtls::turn(Kind::Record, 0, &[&[23][..], &[7; 30]].concat()),
    ]
    .concat();
    vec![
        [
            message(0, 1, &client),
            message(dtls::SERVER_SPEAKS, 3, &[0xfe, 0xff, 2, 8, 8]),
            message(0, 1, &client),
            message(dtls::SERVER_SPEAKS | dtls::WITH_NEXT, 2, &server),
            message(dtls::SERVER_SPEAKS | dtls::WITH_NEXT, 11, &certificates),
            message(dtls::SERVER_SPEAKS, 14, b""),
            message(0, 16, &[1, 2, 3]),
            finish.clone(),
        ]
        .concat(),
        [
            message(0, 1, &client),
            message(dtls::SERVER_SPEAKS, 2, &server),
            part(100, second),
            part(0, first),
            part(0, first),
            finish,
        ]
        .concat(),
        [message(0, 1, &client), dtls::turn(Kind::Record, dtls::SERVER_SPEAKS, &[21, 2, 40])].concat(),
    ]
}
