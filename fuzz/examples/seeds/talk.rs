//! Seeds of the protocols.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use slips_fuzz::script::From::{self, Client, Server};
use slips_fuzz::script::turns;

use crate::Seeds;

/// A conversation that ends with FIN.
pub fn whole(talk: &[(From, &[u8])]) -> Vec<u8> {
    [&[0][..], &turns(talk)].concat()
}

/// A DNS question; the name is as on the wire.
pub fn question(name: &[u8], kind: u8) -> Vec<u8> {
    [&[0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], name, &[0, kind, 0, 1]].concat()
}

fn reply(name: &[u8], records: &[(u8, &[u8])]) -> Vec<u8> {
    let mut bytes = vec![0, 7, 0x81, 0x80, 0, 1, 0, records.len() as u8, 0, 0, 0, 0];
    bytes.extend(name);
    bytes.extend([0, 1, 0, 1]);
    for (kind, data) in records {
        bytes.extend([0xc0, 12, 0, *kind, 0, 1, 0, 0, 0, 60, 0, data.len() as u8]);
        bytes.extend(*data);
    }
    bytes
}

pub fn dns() -> Seeds {
    let name = b"\x03www\x07example\x03org\x00";
    let records: [(u8, &[u8]); 14] = [
        (1, &[192, 0, 2, 1]),
        (28, &[1; 16]),
        (5, b"\x01c\xc0\x10"),
        (15, b"\x00\x0a\x04mail\xc0\x10"),
        (33, b"\x00\x01\x00\x02\x00\x50\xc0\x0c"),
        (16, b"\x04text\x01x"),
        (6, b"\xc0\x0c\xc0\x0c\0\0\0\x01\0\0\0\x02\0\0\0\x03\0\0\0\x04\0\0\0\x05"),
        (29, &[0; 16]),
        (43, &[0, 1, 8, 2, 1, 2, 3]),
        (44, &[1, 1, 2, 3]),
        (46, &[&[0, 1, 8, 2][..], &[0; 14], b"\xc0\x0c\x01"].concat()),
        (47, b"\xc0\x0c\x00\x01\x40"),
        (48, &[1, 0, 3, 8, 1, 2]),
        (65, &[0, 1, 0]),
    ];
    let (ask, told) = (question(name, 1), reply(name, &records));
    let framed = |message: &[u8]| [&(message.len() as u16).to_be_bytes()[..], message].concat();
    let mut update = vec![0, 9, 0x28, 0, 0, 1, 0, 1, 0, 1, 0, 0, 1, b'a', 0, 0, 6, 0, 1];
    update.extend([
        0xc0, 12, 0, 1, 0, 254, 0, 0, 0, 0, 0, 0, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 1, 2, 3, 4,
    ]);
    let netbios = question(b"\x20EJEGEMFKDIECAFEJEGEMFKDIECAFAAAA\x00", 32);
    let pair = turns(&[(Client, &ask), (Server, &told)]);
    let mut seeds = vec![
        [&[0][..], &whole(&[(Client, &framed(&ask)), (Server, &framed(&told))])].concat(),
        [&[3][..], &turns(&[(Client, &netbios)])].concat(),
        [&[4][..], &turns(&[(Client, &update), (Server, &update)])].concat(),
    ];
    seeds.extend((1..5).map(|way| [&[way][..], &pair].concat()));
    seeds
}

pub fn http() -> Seeds {
    vec![
        whole(&[
            (Client, b"GET /a?b HTTP/1.1\r\nHost: a.example\r\nUser-Agent: x\r\nReferer: y\r\n\r\n"),
            (Server, b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>"),
            (Client, b"POST /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n"),
            (Server, b"HTTP/1.1 206 Partial\r\nContent-Range: bytes 0-1/9\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nab\r\n0\r\n\r\n"),
        ]),
        whole(&[
            (Client, b"HEAD / HTTP/1.0\r\n\r\nGET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\nAuthorization: Basic YTpi\r\n\r\n"),
            (Server, b"HTTP/1.1 304 Not Modified\r\n\r\nHTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\nnoHTTP/1.0 200 OK\r\n\r\nuntil the end"),
        ]),
        whole(&[
            (Client, b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n"),
            (Server, b"HTTP/1.1 200 Connection established\r\n\r\n"),
            (Client, &client_hello()),
        ]),
        whole(&[
            (Client, b"GET /c HTTP/1.1\r\nUpgrade: websocket\r\nConnection: upgrade\r\nExpect: 100-continue\r\n\r\n"),
            (Server, b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n\x81\x01a"),
        ]),
        whole(&[
            (Client, b"POST /d HTTP/1.1\r\nContent-Type: multipart/form-data; boundary=x\r\nContent-Length: 40\r\n\r\n--x\r\nContent-Type: a/b\r\n\r\nabcdefgh\r\n--x--\r\n"),
        ]),
    ]
}

fn record(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind, 3, 1][..], &(body.len() as u16).to_be_bytes(), body].concat()
}

pub fn handshake(kind: u8, body: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = (body.len() as u32).to_be_bytes();
    [&[kind, a, b, c][..], body].concat()
}

fn extension(kind: u16, body: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &(body.len() as u16).to_be_bytes(), body].concat()
}

pub fn hello(is_client: bool) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([9; 32]);
    body.push(0);
    let extensions = if is_client {
        body.extend([0, 4, 0x13, 1, 0xc0, 0x2f, 1, 0]);
        [
            extension(0, b"\x00\x0c\x00\x00\x09a.example"),
            extension(10, &[0, 4, 0x0a, 0x0a, 0, 29]),
            extension(11, &[1, 0]),
            extension(13, &[0, 4, 4, 3, 8, 4]),
            extension(16, b"\x00\x0c\x02h2\x08http/1.1"),
            extension(43, &[4, 3, 4, 3, 3]),
            extension(51, &[0, 6, 0, 29, 0, 2, 1, 2]),
        ]
        .concat()
    } else {
        body.extend([0xc0, 0x2f, 0]);
        [extension(16, b"\x00\x03\x02h2"), extension(0xff01, &[0])].concat()
    };
    body.extend((extensions.len() as u16).to_be_bytes());
    body.extend(extensions);
    body
}

fn client_hello() -> Vec<u8> {
    record(22, &handshake(1, &hello(true)))
}

fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let length = match body.len() {
        length @ 0..128 => vec![length as u8],
        length => vec![0x82, (length >> 8) as u8, length as u8],
    };
    [&[tag][..], &length, &body].concat()
}

pub fn certificate() -> Vec<u8> {
    let name = |text: &[u8]| {
        let part = der(0x30, &[&[6, 3, 0x55, 4, 3], &der(12, &[text])]);
        der(0x30, &[&der(0x31, &[&part])])
    };
    let algorithm = der(0x30, &[&[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11, 5, 0]]);
    let key = der(0x30, &[&der(0x30, &[&[2, 9, 0, 0x80, 1, 2, 3, 4, 5, 6, 7], &[2, 3, 1, 0, 1]])]);
    let key_info = der(0x30, &[&algorithm, &der(3, &[&[0], &key])]);
    let alternative = der(0x30, &[&der(0x82, &[b"a.example"]), &der(0x87, &[&[192, 0, 2, 1]])]);
    let extensions = der(
        0x30,
        &[
            &der(0x30, &[&[6, 3, 0x55, 0x1d, 0x11], &der(4, &[&alternative])]),
            &der(0x30, &[&[6, 3, 0x55, 0x1d, 0x13, 1, 1, 0xff], &der(4, &[&[0x30, 3, 1, 1, 0xff]])]),
        ],
    );
    let body = der(
        0x30,
        &[
            &der(0xa0, &[&[2, 1, 2]]),
            &[2, 1, 7],
            &algorithm,
            &name(b"an issuer"),
            &der(0x30, &[&der(0x17, &[b"200101000000Z"]), &der(0x18, &[b"20500101000000Z"])]),
            &name(b"a.example"),
            &key_info,
            &der(0xa3, &[&extensions]),
        ],
    );
    der(0x30, &[&body, &algorithm, &der(3, &[&[0, 1, 2, 3]])])
}

pub fn tls() -> Seeds {
    let certificate = certificate();
    let [_, a, b, c] = (certificate.len() as u32).to_be_bytes();
    let one = [&[a, b, c][..], &certificate].concat();
    let [_, a, b, c] = (2 * one.len() as u32).to_be_bytes();
    let list = [&[a, b, c][..], &one, &one].concat();
    let server = [
        record(22, &[handshake(2, &hello(false)), handshake(11, &list), handshake(14, b"")].concat()),
        record(20, &[1]),
        record(21, &[2, 40]),
    ]
    .concat();
    let client = [
        record(22, &handshake(16, &[1, 2, 3])),
        record(20, &[1]),
        record(22, &[7; 40]),
        record(23, &[1; 50]),
    ]
    .concat();
    let hello = client_hello();
    let old = [&[0x80, 0x1f, 1, 3, 0, 0, 6, 0, 0, 0, 16, 1, 0, 0x80, 0, 0, 5][..], &[9; 16]].concat();
    vec![
        whole(&[(Client, &hello), (Server, &server), (Client, &client)]),
        whole(&[(Client, &hello), (Server, &record(21, &[2, 40]))]),
        whole(&[(Client, &old), (Server, &server)]),
    ]
}

pub fn ssh() -> Seeds {
    let packet = |payload: &[u8]| {
        let padding = 4;
        let length = (payload.len() + 1 + padding) as u32;
        [&length.to_be_bytes()[..], &[padding as u8], payload, &[0; 4]].concat()
    };
    let mut init = vec![20];
    init.extend([5; 16]);
    for list in [
        "curve25519-sha256,a",
        "ssh-ed25519",
        "aes128-ctr",
        "aes128-ctr",
        "hmac-sha1",
        "hmac-sha1",
        "none",
        "none",
        "",
        "",
    ] {
        init.extend((list.len() as u32).to_be_bytes());
        init.extend(list.as_bytes());
    }
    init.extend([0; 5]);
    let key = [&[31, 0, 0, 0, 19, 0, 0, 0, 11][..], b"ssh-ed25519", &[0, 0, 0, 0]].concat();
    let client =
        [b"SSH-2.0-a\r\n".to_vec(), packet(&init), packet(&[30, 1]), packet(&[21]), vec![8; 100]].concat();
    let server =
        [b"hello\r\nSSH-2.0-b\r\n".to_vec(), packet(&init), packet(&key), packet(&[21]), vec![8; 60]]
            .concat();
    vec![
        whole(&[
            (Client, &client),
            (Server, &server),
            (Client, &[1; 80]),
            (Server, &[2; 52]),
            (Client, &[1; 148]),
            (Server, &[2; 36]),
            (Client, &[1; 500]),
        ]),
        whole(&[(Server, b"SSH-1.5-b\r\n"), (Client, b"SSH-1.5-a\r\n")]),
    ]
}

pub fn smtp() -> Seeds {
    vec![
        whole(&[
            (Server, b"220 mail.example ESMTP\r\n"),
            (Client, b"EHLO a\r\n"),
            (Server, b"250-mail\r\n250-STARTTLS\r\n250 PIPELINING\r\n"),
            (Client, b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n"),
            (Server, b"250 ok\r\n250 ok\r\n354 go\r\n"),
            (Client, b"Subject: x\r\n\r\ntext\r\n..\r\n.\r\nQUIT\r\n"),
            (Server, b"250 taken\r\n221 bye\r\n"),
        ]),
        whole(&[
            (Server, b"220 mail\r\n"),
            (Client, b"HELO a\r\nBDAT 4 LAST\r\nabcdSTARTTLS\r\n"),
            (Server, b"250 ok\r\n250 ok\r\n220 go\r\n"),
            (Client, &client_hello()),
        ]),
    ]
}

pub fn ftp() -> Seeds {
    vec![whole(&[
        (Server, b"220-hello\r\n220 ftp\r\n"),
        (Client, b"USER a\r\nPASS b\r\n"),
        (Server, b"331 more\r\n230 in\r\n"),
        (Client, b"PASV\r\nEPSV\r\nPORT 10,0,0,1,4,1\r\nEPRT |2|::1|4097|\r\nRETR x\r\nSTOR y\r\n"),
        (Server, b"227 Entering (192,0,2,9,0,21).\r\n229 Extended (|||57086|)\r\n200 ok\r\n200 ok\r\n150 here\r\n226 done\r\n"),
    ])]
}

pub fn files() -> Seeds {
    let text = b"MZ to be or not to be ".repeat(9);
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
    let mut plain = DeflateEncoder::new(Vec::new(), Compression::default());
    let fits = "memory takes what is written";
    gzip.write_all(&text).expect(fits);
    zlib.write_all(&text).expect(fits);
    plain.write_all(&text).expect(fits);
    let (gzip, zlib, plain) =
        (gzip.finish().expect(fits), zlib.finish().expect(fits), plain.finish().expect(fits));
    let chunked = [format!("{:x}\r\n", gzip.len()).as_bytes(), &gzip, b"\r\n0\r\n\r\n"].concat();
    vec![
        [&[0][..], &gzip].concat(),
        [&[5][..], &zlib].concat(),
        [&[1][..], &plain].concat(),
        [&[6][..], &chunked].concat(),
        [&[3][..], &text].concat(),
        b"\x03%PDF-1.4 ".to_vec(),
        b"\x03\x89PNG\r\n\x1a\n".to_vec(),
        b"\x03PK\x03\x04".to_vec(),
        b"\x03<?xml version='1.0'?><html>".to_vec(),
    ]
}

pub fn dhcp() -> Seeds {
    let message = |op: u8, kind: u8| {
        let mut bytes = vec![op, 1, 6, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 10, 0, 0, 5];
        bytes.resize(28, 0);
        bytes.extend([2, 0, 0, 0, 0, 1]);
        bytes.resize(236, 0);
        bytes.extend([0x63, 0x82, 0x53, 0x63, 53, 1, kind, 61, 7, 1, 2, 0, 0, 0, 0, 1, 12, 1, b'a']);
        bytes.extend([50, 4, 10, 0, 0, 5, 51, 4, 0, 0, 14, 16, 54, 4, 10, 0, 0, 1, 0, 255]);
        bytes
    };
    vec![turns(&[
        (Client, &message(1, 1)),
        (Server, &message(2, 2)),
        (Client, &message(1, 3)),
        (Server, &message(2, 5)),
    ])]
}

pub fn datagrams() -> Seeds {
    let to = |port: u16, bytes: &[u8]| {
        let [low, high] = port.to_le_bytes();
        [&[0x40, 0x9c, low, high][..], &turns(&[(Client, bytes), (Server, bytes)])].concat()
    };
    let ntp = [&[0x23][..], &[0; 47]].concat();
    let quic = [&[0xc3, 0, 0, 0, 1, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0x44, 0xd0][..], &[7; 1232]].concat();
    vec![
        to(123, &ntp),
        to(443, &quic),
        to(3478, &[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]),
        to(5060, b"OPTIONS sip:a SIP/2.0\r\nVia: x\r\n\r\n"),
        to(
            161,
            b"\x30\x26\x02\x01\x01\x04\x06public\xa0\x19\x02\x01\x01\x02\x01\x00\x02\x01\x00\x30\x0e\x30\x0c",
        ),
        to(1812, &[&[1, 1, 0, 20][..], &[0; 16]].concat()),
        to(500, &[&[1; 8][..], &[0; 8], &[33, 0x20, 34, 8, 0, 0, 0, 0, 0, 0, 0, 28]].concat()),
        to(51820, &[&[1, 0, 0, 0][..], &[9; 144]].concat()),
        to(1194, &[0x38, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0]),
        to(6881, b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe"),
        to(
            4433,
            &[
                &[
                    22, 0xfe, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 60, 1, 0, 0, 48, 0, 0, 0, 0, 0, 0, 0, 48,
                    0xfe, 0xfd,
                ][..],
                &[0; 46],
            ]
            .concat(),
        ),
        to(88, b"\x6a\x30\x30\x2e\xa1\x03\x02\x01\x05\xa2\x03\x02\x01\x0a"),
    ]
}

pub fn streams() -> Seeds {
    let to = |port: u16, talk: &[(From, &[u8])]| [&port.to_le_bytes()[..], &whole(talk)].concat();
    let smb = [&[0, 0, 0, 64, 0xfe][..], b"SMB", &[64, 0], &[0; 58]].concat();
    vec![
        to(445, &[(Client, &smb), (Server, &smb)]),
        to(139, &[(Client, b"\x81\0\0\x44\x20"), (Server, b"\x82\0\0\0")]),
        to(445, &[(Client, b"\0\0\0\x23\xffSMB\x72\0\0\0\0\x18\x53\xc8")]),
        to(
            3389,
            &[
                (Client, b"\x03\0\0\x2b\x26\xe0\0\0\0\0\0Cookie: mstshash=abc\r\n\x01\0\x08\0\x03\0\0\0"),
                (Server, b"\x03\0\0\x13\x0e\xd0\0\0\x12\x34\0\x02\0\x08\0\x02\0\0\0"),
            ],
        ),
        to(
            3306,
            &[(Server, b"\x4a\0\0\0\x0a8.0.1\0\x08\0\0\0abcdefgh\0"), (Client, b"\x20\0\0\x01\x85\xa6")],
        ),
        to(
            5432,
            &[
                (Client, b"\0\0\0\x08\x04\xd2\x16\x2f"),
                (Server, b"N"),
                (Client, b"\0\0\0\x17\0\x03\0\0user\0postgres\0\0"),
            ],
        ),
        to(6379, &[(Client, b"*1\r\n$4\r\nPING\r\n"), (Server, b"+PONG\r\n")]),
        to(1883, &[(Client, b"\x10\x0d\0\x04MQTT\x04\x02\0\x3c\0\x01a"), (Server, b"\x20\x02\0\0")]),
        to(
            1080,
            &[
                (Client, b"\x05\x01\0"),
                (Server, b"\x05\0"),
                (Client, b"\x05\x01\0\x03\x01a\0\x50"),
                (Server, b"\x05\0\0\x01\0\0\0\0\0\0"),
                (Client, b"GET / HTTP/1.1\r\n\r\n"),
            ],
        ),
        to(6667, &[(Client, b"NICK a\r\nUSER a 0 * :a\r\n"), (Server, b":s 001 a :hi\r\n")]),
        to(3333, &[(Client, b"{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[]}\n")]),
        to(
            502,
            &[(Client, &[0, 1, 0, 0, 0, 6, 1, 3, 0, 0, 0, 1]), (Server, &[0, 1, 0, 0, 0, 5, 1, 3, 2, 0, 1])],
        ),
        to(389, &[(Client, b"\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\0\x80\0")]),
        to(
            23,
            &[
                (Server, b"\xff\xfd\x18\xff\xfb\x01login: "),
                (Client, b"root\r\n"),
                (Server, b"Password: "),
                (Client, b"secret\r\n"),
                (Server, b"Login incorrect\r\n"),
            ],
        ),
        to(513, &[(Client, b"\0a\0b\0xterm/9600\0"), (Server, b"\0")]),
        to(514, &[(Client, b"1022\0a\0b\0ls\0"), (Server, b"\0")]),
        to(80, &[(Client, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")]),
        to(6881, &[(Client, b"\x13BitTorrent protocol\0\0\0\0\0\0\0\0")]),
        to(8443, &[(Client, &client_hello())]),
        to(
            110,
            &[(Server, b"+OK\r\n"), (Client, b"STLS\r\n"), (Server, b"+OK\r\n"), (Client, &client_hello())],
        ),
    ]
}
