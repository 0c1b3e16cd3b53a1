//! Seeds of the protocols that are read for their logins and requests.

use slips_fuzz::apps::{BARE, number};
use slips_fuzz::script::From::{self, Client, Server};
use slips_fuzz::script::turns;

use crate::{Seeds, talk};

type Talk<'a> = &'a [(From, &'a [u8])];

/// Goes on behind the opening that the target says.
fn behind(name: &str, talk: Talk<'_>) -> Vec<u8> {
    [&[number(name)][..], &talk::whole(talk)].concat()
}

/// Says its opening itself.
fn bare(name: &str, talk: Talk<'_>) -> Vec<u8> {
    [&[number(name) | BARE][..], &talk::whole(talk)].concat()
}

fn packets(name: &str, talk: Talk<'_>) -> Vec<u8> {
    [&[number(name)][..], &turns(talk)].concat()
}

pub fn apps() -> Seeds {
    [terminals(), mail(), databases(), directories(), desktops(), machines(), voice(), windows()].concat()
}

fn terminals() -> Seeds {
    vec![
        bare(
            "telnet",
            &[
                (Server, b"\xff\xfd\x18\xff\xfd\x27"),
                (Client, b"\xff\xfb\x18\xff\xfb\x27\xff\xfa\x27\x00\x00USER\x01alice\xff\xf0"),
                (Server, b"\r\nUbuntu\r\nbox login: "),
                (Client, b"rooz\x7ft\r\0"),
                (Server, b"root\r\nPassword: "),
                (Client, b"toor\r\n"),
                (Server, b"\r\n\r\nLogin incorrect\r\nbox login: "),
                (Client, b"admin\r\0"),
                (Server, b"admin\r\nPassword: "),
                (Client, b"admin\r\0"),
                (Server, b"\r\nLast login: Mon Jan 1 on pts/0\r\n\x1b[01;32m$ "),
                (Client, b"id\r\0"),
            ],
        ),
        behind(
            "telnet",
            &[(Client, b"a\n"), (Server, b"Password: "), (Client, b"b\n"), (Server, b"\n1) menu")],
        ),
        behind(
            "rlogin",
            &[
                (Server, b"\0Password: "),
                (Client, b"x\r"),
                (Server, b"\r\nLogin incorrect\r\nlogin: "),
                (Client, b"bob\r"),
                (Server, b"\r\nPassword: "),
                (Client, b"y\r"),
            ],
        ),
        behind("rlogin", &[(Server, b"\0Last login: never\r\n# ")]),
        behind("rsh", &[(Server, b"\x01Permission denied.\n")]),
        behind("rsh", &[(Server, b"\0Linux")]),
    ]
}

fn mail() -> Seeds {
    vec![
        behind(
            "pop3",
            &[
                (Server, b"+OK\r\n"),
                (Client, b"PASS secret\r\n"),
                (Server, b"-ERR [AUTH] no\r\n"),
                (Client, b"AUTH PLAIN\r\n"),
                (Server, b"+ \r\n"),
                (Client, b"AHRlc3QAcGFzcw==\r\n"),
                (Server, b"+OK in\r\n"),
            ],
        ),
        behind(
            "imap",
            &[
                (Client, b"a1 CAPABILITY\r\na2 LOGIN \"joe\" \"x y\"\r\n"),
                (Server, b"* CAPABILITY IMAP4\r\na1 OK\r\na2 NO wrong\r\n"),
                (Client, b"a3 authenticate login\r\n"),
                (Server, b"+ VXNlcm5hbWU6\r\n"),
                (Client, b"dGVzdA==\r\ncGFzcw==\r\n"),
                (Server, b"a3 OK done\r\n"),
            ],
        ),
        behind(
            "imap",
            &[(Client, b"a1 LOGIN {3}\r\n"), (Server, b"+ go\r\n"), (Client, b"joe {1}\r\nx\r\n")],
        ),
    ]
}

fn databases() -> Seeds {
    let mysql = |number: u8, body: &[u8]| [&(body.len() as u32).to_le_bytes()[..3], &[number], body].concat();
    let flags: u32 = 1 << 3 | 1 << 9 | 1 << 15 | 1 << 19;
    let names = b"root\0\x04hash\x62\x61\0mysql_native_password\0";
    let login = mysql(1, &[&flags.to_le_bytes()[..], &[0; 28], names].concat());
    let start = b"\0\0\0\x1d\0\x03\0\0user\0me\0database\0db\0\0";
    vec![
        behind("mysql", &[(Client, &login), (Server, &mysql(2, b"\xff\x15\x04#28000Access denied"))]),
        behind(
            "mysql",
            &[
                (Client, &login),
                (Server, &mysql(2, b"\xfemysql_native_password\0salt")),
                (Client, &mysql(3, b"answer")),
                (Server, &mysql(4, b"\0\0\0\x02\0\0\0")),
            ],
        ),
        behind("mysql", &[(Client, &mysql(1, b"\x05\0\0\0\0joe\0hash"))]),
        behind(
            "postgresql",
            &[
                (Client, start),
                (Server, b"R\0\0\0\x08\0\0\0\x03"),
                (Client, b"p\0\0\0\x06x\0"),
                (Server, b"E\0\0\0\x21SFATAL\0C28P01\0Mno such user\0\0"),
            ],
        ),
        behind("postgresql", &[(Client, start), (Server, b"R\0\0\0\x0c\0\0\0\x05saltR\0\0\0\x08\0\0\0\0")]),
        bare(
            "redis",
            &[
                (Client, b"*2\r\n$4\r\nKEYS\r\n$1\r\n*\r\n*2\r\n$4\r\nauth\r\n$6\r\nsec\r\nt\r\n"),
                (Server, b"*2\r\n$2\r\n\r\n\r\n:5\r\n-ERR invalid password\r\n"),
                (Client, b"AUTH joe x\r\n"),
                (Server, b"+OK\r\n"),
                (Client, b"*4\r\n$6\r\nCONFIG\r\n$3\r\nSET\r\n$3\r\ndir\r\n$15\r\n/var/spool/cron\r\n"),
                (Server, b"+OK\r\n"),
            ],
        ),
        behind("redis", &[(Client, b"SLAVEOF 203.0.113.9 6379\r\n"), (Server, b"+OK\r\n")]),
    ]
}

/// A value of BER with a length of two bytes.
fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    [&[tag, 0x82][..], &(body.len() as u16).to_be_bytes(), &body].concat()
}

fn principal(parts: &[&str]) -> Vec<u8> {
    let names: Vec<u8> = parts.iter().flat_map(|part| tlv(0x1b, &[part.as_bytes()])).collect();
    tlv(0x30, &[&tlv(0xa0, &[&[2, 1, 1]]), &tlv(0xa1, &[&tlv(0x30, &[&names])])])
}

fn ticket_request(tag: u8, proof: u8) -> Vec<u8> {
    let parts = [
        tlv(0xa0, &[b"\x03\x01\0"]),
        tlv(0xa1, &[&principal(&["joe"])]),
        tlv(0xa2, &[&tlv(0x1b, &[b"CORP"])]),
        tlv(0xa3, &[&principal(&["krbtgt", "CORP"])]),
    ]
    .concat();
    let kind = tlv(0x30, &[&tlv(0xa1, &[&[2, 1, proof]])]);
    let body = tlv(0xa4, &[&tlv(0x30, &[&parts])]);
    tlv(tag, &[&tlv(0x30, &[&tlv(0xa1, &[&[2, 1, 5]]), &tlv(0xa3, &[&tlv(0x30, &[&kind])]), &body])])
}

fn grant(tag: u8) -> Vec<u8> {
    let sealed = tlv(0xa3, &[&tlv(0x30, &[&tlv(0xa0, &[&[2, 1, 23]])])]);
    let ticket = tlv(0x61, &[&tlv(0x30, &[&tlv(0xa2, &[&principal(&["cifs", "srv"])]), &sealed])]);
    let (realm, client) = (tlv(0xa3, &[&tlv(0x1b, &[b"CORP"])]), tlv(0xa4, &[&principal(&["joe"])]));
    tlv(tag, &[&tlv(0x30, &[&realm, &client, &tlv(0xa5, &[&ticket])])])
}

/// The last NTLM message of a user.
fn ntlm() -> Vec<u8> {
    let mut message = [&b"NTLMSSP\0"[..], &3u32.to_le_bytes(), &[0; 16]].concat();
    let mut texts = Vec::new();
    for text in ["CORP", "joe", "PC7"] {
        let bytes = wide(text);
        message.extend((bytes.len() as u16).to_le_bytes());
        message.extend((bytes.len() as u16).to_le_bytes());
        message.extend((64 + texts.len() as u32).to_le_bytes());
        texts.extend(bytes);
    }
    message.extend([0; 8]);
    message.extend(1u32.to_le_bytes());
    [message, texts].concat()
}

fn wide(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

fn directories() -> Seeds {
    let error = |code: u8| tlv(0x7e, &[&tlv(0x30, &[&tlv(0xa6, &[&[2, 1, code]])])]);
    let framed = |message: Vec<u8>| [&(message.len() as u32).to_be_bytes()[..], &message].concat();
    let bind = |name: &[u8], credentials: &[u8]| {
        tlv(0x30, &[&[2, 1, 1], &tlv(0x60, &[&[2, 1, 3], &tlv(4, &[name]), credentials])])
    };
    let told = |code: u8| tlv(0x30, &[&[2, 1, 1], &tlv(0x61, &[&[10, 1, code, 4, 0, 4, 0]])]);
    let token = |bytes: &[u8]| bind(b"", &tlv(0xa3, &[&tlv(4, &[b"GSS-SPNEGO"]), &tlv(4, &[bytes])]));
    vec![
        packets(
            "kerberos",
            &[
                (Client, &ticket_request(0x6a, 128)),
                (Server, &error(25)),
                (Client, &ticket_request(0x6a, 2)),
                (Server, &error(24)),
                (Client, &ticket_request(0x6a, 2)),
                (Server, &grant(0x6b)),
            ],
        ),
        behind(
            "kerberos over TCP",
            &[
                (Client, &framed(ticket_request(0x6a, 2))),
                (Server, &framed(grant(0x6b))),
                (Client, &framed(ticket_request(0x6c, 1))),
                (Server, &framed(grant(0x6d))),
            ],
        ),
        behind(
            "ldap",
            &[
                (Client, &bind(b"cn=admin", &tlv(0x80, &[b"secret"]))),
                (Server, &told(49)),
                (Client, &token(b"NTLMSSP\0\x01\0\0\0")),
                (Server, &told(14)),
                (Client, &token(&ntlm())),
                (Server, &told(0)),
            ],
        ),
    ]
}

fn desktops() -> Seeds {
    let ask = b"\x03\0\0\x2a\x25\xe0\0\0\0\0\0Cookie: mstshash=joe\r\n\x01\0\x08\0\x03\0\0\0";
    let ask = [&ask[..3], &[ask.len() as u8], &ask[4..]].concat();
    vec![
        behind(
            "rdp",
            &[(Client, &ask), (Server, b"\x03\0\0\x13\x0e\xd0\0\0\x12\x34\0\x02\0\x08\0\x02\0\0\0")],
        ),
        behind(
            "rdp",
            &[(Client, &ask), (Server, b"\x03\0\0\x13\x0e\xd0\0\0\x12\x34\0\x03\0\x08\0\x05\0\0\0")],
        ),
        behind(
            "rfb",
            &[
                (Server, &[2, 2, 19]),
                (Client, &[2]),
                (Server, &[7; 16]),
                (Client, &[8; 16]),
                (Server, b"\0\0\0\x01\0\0\0\x05wrong"),
            ],
        ),
        behind("rfb", &[(Server, b"\0\0\0\0\x08too many")]),
        bare(
            "rfb",
            &[
                (Server, b"RFB 003.003\n"),
                (Client, b"RFB 003.003\n"),
                (Server, &[0, 0, 0, 2]),
                (Server, &[7; 16]),
                (Client, &[8; 16]),
                (Server, &[0; 4]),
            ],
        ),
    ]
}

fn machines() -> Seeds {
    let three = b"\x10\x21\0\x04MQTT\x04\xc6\0\x3c\0\x02c1\0\x01t\0\x01w\0\x03joe\0\x01x";
    let write = [0, 2, 0, 0, 0, 6, 9, 6, 0, 1, 0, 7];
    let snmp =
        |version: u8, tag: u8| [&[0x30, 15, 2, 1, version, 4, 6][..], b"public", &[tag, 2, 5, 0]].concat();
    let radius = |code: u8, id: u8, attributes: &[u8]| {
        [&[code, id, 0, 20 + attributes.len() as u8][..], &[0; 16], attributes].concat()
    };
    let three_snmp =
        b"\x30\x17\x02\x01\x03\x30\x12\x30\x03\x02\x01\x01\x04\x0d\x30\x0b\x04\x00\x02\x01\x00\x02\x01\x00";
    vec![
        behind("mqtt", &[(Client, three), (Server, &[0x20, 2, 0, 5])]),
        behind(
            "mqtt",
            &[
                (Client, b"\x10\x12\0\x04MQTT\x05\x02\0\x3c\x03\x21\0\x14\0\x02c2"),
                (Server, &[0x20, 3, 0, 0, 0]),
            ],
        ),
        behind("modbus", &[(Client, &write), (Server, &write), (Client, &write)]),
        packets("snmp", &[(Client, &snmp(0, 0xa0)), (Client, &snmp(1, 0xa3)), (Server, &snmp(1, 0xa2))]),
        packets("snmp", &[(Client, three_snmp)]),
        packets(
            "radius",
            &[
                (Client, &radius(1, 1, b"\x01\x05joe\x02\x06xxxx")),
                (Server, &radius(3, 1, b"\x12\x04no")),
                (Client, &radius(1, 2, b"\x01\x05joe\x4f\x06eapx")),
                (Server, &radius(11, 2, b"")),
                (Client, &radius(1, 3, b"\x01\x05joe\x03\x03x")),
                (Server, &radius(2, 3, b"")),
            ],
        ),
    ]
}

fn voice() -> Seeds {
    vec![
        packets(
            "sip",
            &[
                (
                    Client,
                    b"REGISTER sip:pbx SIP/2.0\r\nFrom: <sip:100@pbx>;tag=1\r\nCSeq: 1 REGISTER\r\nUser-Agent: x\r\n\r\n",
                ),
                (Server, b"SIP/2.0 100 Trying\r\nCSeq: 1 REGISTER\r\n\r\n"),
                (Server, b"SIP/2.0 401 Unauthorized\r\nCSeq: 1 REGISTER\r\n\r\n"),
                (
                    Client,
                    b"REGISTER sip:pbx SIP/2.0\r\nFrom: <sip:100@pbx>\r\nCSeq: 2 REGISTER\r\nAuthorization: Digest username=\"100\", realm=\"x\"\r\n\r\n",
                ),
                (Server, b"SIP/2.0 403 Forbidden\r\nCSeq: 2 REGISTER\r\n\r\n"),
            ],
        ),
        behind(
            "irc",
            &[
                (Client, b"PASS x\r\n"),
                (Server, b":srv 464 bot7 :wrong\r\n"),
                (Client, b"PASS y\r\n"),
                (Server, b":srv 001 bot7 :Welcome\r\n"),
                (Client, b"JOIN #owned key\r\nPRIVMSG #owned :hi\r\n"),
            ],
        ),
        behind(
            "stratum",
            &[
                (Server, b"{\"id\":1,\"result\":[[],\"ab\",4],\"error\":null}\n"),
                (Client, b"{\"id\":2, \"method\": \"mining.authorize\", \"params\": [\"wallet.w1\", \"x\"]}\n"),
                (Server, b"{\"id\":2,\"result\":false,\"error\":null}\n"),
            ],
        ),
        bare(
            "stratum",
            &[(
                Client,
                b"{\"method\":\"login\",\"params\":{\"login\":\"4A\",\"pass\":\"x\",\"agent\":\"XMRig/6\"},\"id\":1}\n",
            )],
        ),
        behind(
            "socks",
            &[
                (Client, &[5, 2, 0, 2]),
                (Server, &[5, 2]),
                (Client, b"\x01\x03joe\x01x"),
                (Server, &[1, 0]),
                (Client, b"\x05\x01\0\x03\x07x.onion\0\x50"),
                (Server, &[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]),
                (Client, b"GET / HTTP/1.1\r\n\r\n"),
            ],
        ),
        behind(
            "socks",
            &[(Client, b"\x04\x01\x01\xbb\0\0\0\x01me\0host\0"), (Server, &[0, 91, 0, 0, 0, 0, 0, 0])],
        ),
    ]
}

/// A message of SMB 2: number, command, status, answer.
fn smb(id: u64, command: u16, status: u32, is_reply: bool, body: &[u8]) -> Vec<u8> {
    let mut head = [0u8; 64];
    head[..6].copy_from_slice(&[0xfe, b'S', b'M', b'B', 64, 0]);
    head[8..12].copy_from_slice(&status.to_le_bytes());
    head[12..14].copy_from_slice(&command.to_le_bytes());
    head[16] = u8::from(is_reply);
    head[24..32].copy_from_slice(&id.to_le_bytes());
    [&(64 + body.len() as u32).to_be_bytes()[..], &head, body].concat()
}

/// A message of DCE/RPC.
fn rpc(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = (16 + body.len() as u16).to_le_bytes();
    [&[5, 0, kind, 3, 0x10, 0, 0, 0][..], &length, &[0, 0, 1, 0, 0, 0], body].concat()
}

fn windows() -> Seeds {
    let blob = ntlm();
    let mut login = vec![25, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 88, 0];
    login.extend((blob.len() as u16).to_le_bytes());
    login.extend([0; 8]);
    login.extend(&blob);
    let path = wide("\\\\srv\\IPC$");
    let tree = [&[9, 0, 0, 0, 72, 0, path.len() as u8, 0][..], &path].concat();
    let open = |name: &str| {
        let name = wide(name);
        let mut body = [0u8; 56];
        body[24..28].copy_from_slice(&0x0013_0197u32.to_le_bytes());
        body[36..40].copy_from_slice(&1u32.to_le_bytes());
        body[44..48].copy_from_slice(&[120, 0, name.len() as u8, 0]);
        [&body[..], &name].concat()
    };
    let svcctl = [0x81, 0xbb, 0x7a, 0x36, 0x44, 0x98, 0xf1, 0x35, 0xad, 0x32, 0x98, 0xf0, 0x38, 0, 0x10, 3];
    let context = [&[0, 0, 1, 0][..], &svcctl, &[2, 0, 0, 0], &[7; 20]].concat();
    let bind = rpc(11, &[&[0xb8, 0x10, 0xb8, 0x10, 0, 0, 0, 0, 1, 0, 0, 0][..], &context].concat());
    let agreed = rpc(12, &[0; 40]);
    let call = rpc(0, &[&[0, 0, 0, 0, 0, 0, 12, 0][..], &[0xaa; 40]].concat());
    // a WRITE to the pipe: where the bytes are, how many, and the file's name as the reply to CREATE gave it
    let write = |bytes: &[u8]| {
        let mut body = [0u8; 48];
        body[0] = 49;
        body[2..4].copy_from_slice(&112u16.to_le_bytes());
        body[4..8].copy_from_slice(&(bytes.len() as u32).to_le_bytes());
        body[16..32].copy_from_slice(&[6; 16]);
        [&body[..], bytes].concat()
    };
    let mut opened = [0u8; 88];
    opened[0] = 89;
    opened[64..80].copy_from_slice(&[6; 16]);
    let negotiated = smb(0, 0, 0, true, &[65, 0, 1, 0, 0x11, 3, 0, 0]);
    let start = smb(0, 0, 0, false, &[36, 0]);
    let two: Vec<(From, Vec<u8>)> = vec![
        (Client, start.clone()),
        (Server, negotiated.clone()),
        (Client, smb(2, 1, 0, false, &login)),
        (Server, smb(2, 1, 0xc000_006d, true, &[9, 0, 0, 0])),
        (Client, smb(3, 1, 0, false, &login)),
        (Server, smb(3, 1, 0, true, &[9, 0, 0, 0])),
        (Client, smb(5, 3, 0, false, &tree)),
        (Server, smb(5, 3, 0, true, &[16, 0])),
        (Client, smb(6, 5, 0, false, &open("svcctl"))),
        (Server, smb(6, 5, 0x103, true, &[9, 0])),
        (Server, smb(6, 5, 0, true, &opened)),
        (Client, smb(7, 9, 0, false, &write(&bind))),
        (Client, smb(8, 11, 0, false, &write(&call))),
        (Client, smb(9, 5, 0, false, &open("temp\\evil.exe"))),
    ];
    let two: Vec<(From, &[u8])> = two.iter().map(|(from, bytes)| (*from, &bytes[..])).collect();
    // SMB 1: negotiate with two dialects, then a session with a name and a tree
    let one = |command: u8, flags: u8, words: &[u8], bytes: &[u8]| {
        let mut head = vec![0xff, b'S', b'M', b'B', command, 0, 0, 0, 0, flags, 1, 0x48];
        head.resize(32, 0);
        let counts = [&[words.len() as u8 / 2][..], words, &(bytes.len() as u16).to_le_bytes()].concat();
        let message = [&head[..], &counts, bytes].concat();
        [&(message.len() as u32).to_be_bytes()[..], &message].concat()
    };
    let session = [0xff, 0, 0, 0, 0, 0x10, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0x40, 0, 0, 0];
    let old = [
        (Client, one(0x72, 0x18, &[], b"\x02NT LM 0.12\0\x02SMB 2.002\0")),
        (Server, one(0x72, 0x98, &[0, 0, 3, 0], b"")),
        (Client, one(0x73, 0x18, &session, b"\0pjoe\0CORP\0Unix\0Samba\0")),
        (Server, one(0x73, 0x98, &[0xff, 0, 0, 0, 0, 0], b"")),
        (Client, one(0x75, 0x18, &[0xff, 0, 0, 0, 0, 0, 1, 0], b"\0\\\\srv\\C$\0?????\0")),
        (Server, one(0x75, 0x98, &[0xff, 0, 0, 0], b"")),
    ];
    let old: Vec<(From, &[u8])> = old.iter().map(|(from, bytes)| (*from, &bytes[..])).collect();
    let asked = [(Client, &b"\x81\0\0\x44\x20"[..]), (Server, b"\x82\0\0\0")];
    vec![
        behind("smb", &two),
        behind("smb", &old),
        behind("netbios session", &[&asked[..], &two].concat()),
        behind("dce_rpc", &[(Client, &bind), (Server, &agreed), (Client, &call), (Client, &call)]),
    ]
}
