//! Logins and requests: which protocols there are, where they live, and how they are recognised.

use crate::script::From::{self, Client, Server};
use crate::script::{datagrams, stream, turns};

/// A protocol that is read for its logins or requests.
pub struct App {
    pub name: &'static str,
    pub port: u16,
    pub way: Way,
}

/// What carries a protocol.
pub enum Way {
    /// TCP, and what both sides say first, so that the fuzzer need not find out how the protocol is recognised.
    Stream(&'static [(From, &'static [u8])]),
    Datagrams,
}

use Way::{Datagrams, Stream};

/// All of them; an input's first byte chooses.
pub const APPS: [App; 24] = [
    App { name: "telnet", port: 23, way: Stream(&[(Server, b"\xff\xfd\x18\xff\xfb\x01login: ")]) },
    App { name: "rlogin", port: 513, way: Stream(&[(Client, b"\0bob\0root\0xterm/38400\0")]) },
    App { name: "rsh", port: 514, way: Stream(&[(Client, b"1022\0bob\0root\0id\0")]) },
    App { name: "pop3", port: 110, way: Stream(&[(Server, b"+OK hi\r\n"), (Client, b"USER joe\r\n")]) },
    App { name: "imap", port: 143, way: Stream(&[(Server, b"* OK IMAP4\r\n")]) },
    App { name: "mysql", port: 3306, way: Stream(&[(Server, b"\x11\0\0\0\x0a8.0.1\0\x01\0\0\0salt\0")]) },
    App {
        name: "postgresql",
        port: 5432,
        way: Stream(&[(Client, b"\0\0\0\x08\x04\xd2\x16\x2f"), (Server, b"N")]),
    },
    App { name: "rdp", port: 3389, way: Stream(&[]) },
    App { name: "kerberos", port: 88, way: Datagrams },
    App { name: "kerberos over TCP", port: 88, way: Stream(&[]) },
    App { name: "ldap", port: 389, way: Stream(&[]) },
    App { name: "rfb", port: 5900, way: Stream(&[(Server, b"RFB 003.008\n"), (Client, b"RFB 003.008\n")]) },
    App {
        name: "redis",
        port: 6379,
        way: Stream(&[(Client, b"*1\r\n$4\r\nPING\r\n"), (Server, b"+PONG\r\n")]),
    },
    App { name: "mqtt", port: 1883, way: Stream(&[]) },
    App { name: "socks", port: 1080, way: Stream(&[]) },
    App { name: "sip", port: 5060, way: Datagrams },
    App { name: "snmp", port: 161, way: Datagrams },
    App { name: "radius", port: 1812, way: Datagrams },
    App {
        name: "stratum",
        port: 3333,
        way: Stream(&[(Client, b"{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[]}\n")]),
    },
    App {
        name: "irc",
        port: 6667,
        way: Stream(&[(Client, b"NICK bot7\r\nUSER b 0 * :b\r\n"), (Server, b":srv NOTICE * :hi\r\n")]),
    },
    App {
        name: "modbus",
        port: 502,
        way: Stream(&[
            (Client, &[0, 1, 0, 0, 0, 6, 9, 3, 0, 0, 0, 1]),
            (Server, &[0, 1, 0, 0, 0, 5, 9, 3, 2, 0, 1]),
        ]),
    },
    App { name: "smb", port: 445, way: Stream(&[]) },
    App { name: "dce_rpc", port: 135, way: Stream(&[]) },
    App { name: "netbios session", port: 139, way: Stream(&[]) },
];

/// Set in the first byte: the input says itself how it opens.
pub const BARE: u8 = 0x80;

/// The first byte of inputs for a protocol.
pub fn number(name: &str) -> u8 {
    APPS.iter().position(|app| app.name == name).expect("a protocol of the list") as u8
}

/// Plays an input.
pub fn play(input: &[u8]) {
    let Some((choice, script)) = input.split_first() else { return };
    let app = &APPS[usize::from(choice & !BARE) % APPS.len()];
    match app.way {
        Datagrams => datagrams((40_000, app.port), script),
        Stream(opening) if choice & BARE == 0 => {
            let (end, script) = script.split_first().unwrap_or((&0, &[]));
            stream(app.port, &[&[*end][..], &turns(opening), script].concat());
        }
        Stream(_) => stream(app.port, script),
    }
}
