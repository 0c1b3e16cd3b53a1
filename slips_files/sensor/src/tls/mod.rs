//! TLS handshakes over TCP: hellos, certificates where they are in the clear, alerts, and when encryption begins.
//!
//! [`Handshake`] takes both sides' bytes in order and gives one event: when the connection is established, or when it
//! ends before. Encrypted records are skipped, never kept.

mod algorithms;
mod certificate;
mod ciphers;
mod cursor;
mod datagram;
mod der;
mod distinguished;
mod fingerprint;
mod hello;
mod names;
mod shown;
#[cfg(test)]
mod tests;

use sha1::{Digest, Sha1};
use sha2::Sha256;
use slips_core::event::{Event, Tls, TlsFields};
use slips_core::time::PacketTime;

use self::certificate::Certificate;
use self::cursor::Cursor;
use self::hello::Hello;
use crate::emit;
use crate::reader::{Cx, Next};
use crate::track::Dir;

pub(crate) use self::datagram::{Datagrams, begins};
pub(crate) use self::fingerprint::hex;
pub(crate) use self::shown::Shown;

/// Longest handshake message that is read; longer ones are skipped. Chains of certificates may be long.
const MAX_MESSAGE: usize = 512 << 10;
/// Memory for messages that a side keeps for the next flow.
const KEPT_MESSAGE: usize = 16 << 10;
/// Certificates of a chain whose fingerprints are told.
const MAX_CHAIN: usize = 16;
/// Letters of the history.
const MAX_HISTORY: usize = 64;
/// DNS names of a certificate that an ssl row carries.
const MAX_TOLD_NAMES: usize = 32;
/// Longest names that are told.
const MAX_NAME: usize = 255;
/// A record's content may be this long (RFC 5246, with room for what old stacks add).
const MAX_RECORD: u16 = (1 << 14) + 2048;

mod record {
    pub(super) const CHANGE_CIPHER: u8 = 20;
    pub(super) const ALERT: u8 = 21;
    pub(super) const HANDSHAKE: u8 = 22;
    pub(super) const DATA: u8 = 23;
    pub(super) const HEARTBEAT: u8 = 24;
}

/// What carries a handshake: JA4's first letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Tcp,
    Quic,
    Dtls,
}

/// What a client asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) server_name: String,
    /// The first protocol that it offers.
    pub(crate) protocol: String,
}

/// What the client hello in a handshake message asks for.
pub(crate) fn asked(message: &[u8]) -> Asked {
    let Some(hello) = message.get(4..).and_then(|body| Hello::of_client(body, Transport::Quic)) else {
        return Asked::default();
    };
    Asked {
        server_name: hello.server_name().map(text).unwrap_or_default(),
        protocol: hello.protocol().map(text).unwrap_or_default(),
    }
}

/// Whether a handshake message is the hello of that side.
pub(crate) fn is_hello(message: &[u8], is_client: bool) -> bool {
    message.first() == Some(if is_client { &1 } else { &2 })
}

/// One side of a handshake.
#[derive(Debug, Default)]
struct Side {
    /// Header of the record being read, as far as it came.
    head: [u8; 5],
    head_length: usize,
    /// Bytes of the record that are still to come.
    left: u16,
    /// Begun handshake message with its header, or begun alert.
    message: Vec<u8>,
    /// Bytes of a message that is too long to be read.
    skip: usize,
    is_encrypted: bool,
}

impl Side {
    fn reset(&mut self) {
        let mut message = std::mem::take(&mut self.message);
        message.clear();
        message.shrink_to(KEPT_MESSAGE);
        *self = Self { message, ..Self::default() };
    }
}

/// A handshake being read.
#[derive(Debug, Default)]
pub(crate) struct Handshake {
    sides: [Side; 2],
    fields: TlsFields,
    /// When the first hello was seen.
    begun: Option<PacketTime>,
    client: Option<Dir>,
    session: Vec<u8>,
    version: u16,
    has_empty_session_and_ticket: bool,
    client_sent_key: bool,
    is_told: bool,
}

impl Handshake {
    /// Forgets everything but the memory.
    pub(crate) fn reset(&mut self) {
        let [mut orig, mut resp] = std::mem::take(&mut self.sides);
        orig.reset();
        resp.reset();
        let mut session = std::mem::take(&mut self.session);
        session.clear();
        *self = Self { sides: [orig, resp], session, ..Self::default() };
    }

    /// Bytes of messages that are not complete, and of what certificates told.
    pub(crate) fn held(&self) -> usize {
        let messages: usize = self.sides.iter().map(|side| side.message.len()).sum();
        let TlsFields { subject, issuer, san_dns, cert_chain_fps, client_cert_chain_fps, .. } = &self.fields;
        let texts = [san_dns, cert_chain_fps, client_cert_chain_fps].into_iter().flatten();
        messages + subject.len() + issuer.len() + texts.map(String::len).sum::<usize>()
    }

    /// Takes the next bytes of a side.
    pub(crate) fn take(&mut self, dir: Dir, mut bytes: &[u8], cx: &mut Cx<'_>) -> Next {
        while !bytes.is_empty() {
            let Some(side) = self.sides.get_mut(dir as usize) else { return Next::Done };
            if side.left == 0 {
                let missing = side.head.len() - side.head_length;
                let (now, rest) = bytes.split_at(missing.min(bytes.len()));
                for byte in now {
                    if let Some(slot) = side.head.get_mut(side.head_length) {
                        *slot = *byte;
                        side.head_length += 1;
                    }
                }
                bytes = rest;
                if side.head_length < side.head.len() {
                    break;
                }
                side.head_length = 0;
                side.left = u16::from_be_bytes([side.head[3], side.head[4]]);
                if let [0x80..=0xff, length, 1, 0 | 3, ..] = side.head
                    && self.begun.is_none()
                {
                    self.take_old_hello(dir, length, cx.at);
                    continue;
                }
                let is_record =
                    matches!(side.head[0], 20..=24) && side.head[1] == 3 && side.left <= MAX_RECORD;
                if !is_record {
                    return self.finish(cx);
                }
                let kind = side.head[0];
                if let Next::Done = self.begin_record(dir, kind, cx) {
                    return Next::Done;
                }
                continue;
            }
            let (now, rest) = bytes.split_at(usize::from(side.left).min(bytes.len()));
            side.left -= now.len() as u16;
            bytes = rest;
            if !side.is_encrypted {
                let kind = side.head[0];
                self.content(dir, kind, now, cx);
            }
        }
        Next::More
    }

    /// Takes a whole message that something else than records carried.
    pub(crate) fn hello(&mut self, dir: Dir, message: &[u8], transport: Transport, cx: &mut Cx<'_>) {
        if let [kind, _, _, _, body @ ..] = message {
            self.message(dir, *kind, body, transport, cx);
        }
    }

    /// Bytes are missing: nothing after them can be read.
    pub(crate) fn lose(&mut self, cx: &mut Cx<'_>) -> Next {
        self.finish(cx)
    }

    /// The end of the connection, or of what can be read of it.
    pub(crate) fn finish(&mut self, cx: &mut Cx<'_>) -> Next {
        let Some(at) = self.begun.filter(|_| !self.is_told) else { return Next::Done };
        self.is_told = true;
        let fields = std::mem::take(&mut self.fields);
        cx.tell(Event::Tls(Box::new(Tls { about: emit::about(cx.track, at), fields })));
        Next::Done
    }

    /// A client hello in the record of SSL 2, of which only the presence is told. Its first five bytes were read as a header.
    fn take_old_hello(&mut self, dir: Dir, length: u8, at: PacketTime) {
        self.client = Some(dir);
        self.begun = Some(at);
        self.note(dir, b'c');
        let side = &mut self.sides[dir as usize];
        side.left = (u16::from(side.head[0] & 0x7f) << 8 | u16::from(length)).saturating_sub(3);
        side.head[0] = 0;
    }

    fn begin_record(&mut self, dir: Dir, kind: u8, cx: &mut Cx<'_>) -> Next {
        let Some(side) = self.sides.get_mut(dir as usize) else { return Next::Done };
        if kind == record::CHANGE_CIPHER && !side.is_encrypted {
            side.message.clear();
            self.note(dir, b'i');
            let is_client = self.is_client(dir);
            if !names::is_13(self.version) {
                self.sides[dir as usize].is_encrypted = true;
                if is_client && self.has_empty_session_and_ticket && !self.client_sent_key {
                    self.fields.resumed = true;
                }
            }
            return Next::More;
        }
        if kind == record::DATA && !side.is_encrypted && (self.version == 0 || names::is_13(self.version)) {
            side.is_encrypted = true;
        }
        if kind == record::HEARTBEAT && !side.is_encrypted {
            self.note(dir, b'b');
        }
        if self.sides.iter().all(|side| side.is_encrypted) && self.begun.is_some() {
            self.fields.established = true;
            return self.finish(cx);
        }
        Next::More
    }

    fn is_encrypted(&self, dir: Dir) -> bool {
        self.sides[dir as usize].is_encrypted
    }

    fn is_client(&self, dir: Dir) -> bool {
        self.client.unwrap_or(Dir::Orig) == dir
    }

    fn note(&mut self, dir: Dir, letter: u8) {
        let letter = if self.is_client(dir) { letter.to_ascii_uppercase() } else { letter };
        if self.fields.ssl_history.len() < MAX_HISTORY {
            self.fields.ssl_history.push(char::from(letter));
        }
    }

    /// Content of a record in the clear.
    fn content(&mut self, dir: Dir, kind: u8, mut bytes: &[u8], cx: &mut Cx<'_>) {
        let side = &mut self.sides[dir as usize];
        match kind {
            record::ALERT => {
                side.message.extend_from_slice(bytes.get(..2).unwrap_or(bytes));
                if let [_, what, ..] = side.message.as_slice() {
                    self.fields.last_alert = names::alert(*what);
                    side.message.clear();
                    self.begun.get_or_insert(cx.at);
                    self.note(dir, b'l');
                }
            }
            record::HANDSHAKE => {
                while !bytes.is_empty() {
                    bytes = self.handshake_bytes(dir, bytes, cx);
                }
            }
            _ => {}
        }
    }

    /// Takes bytes of handshake messages up to the end of one; what is left.
    fn handshake_bytes<'a>(&mut self, dir: Dir, bytes: &'a [u8], cx: &mut Cx<'_>) -> &'a [u8] {
        let side = &mut self.sides[dir as usize];
        if side.skip > 0 {
            let skipped = side.skip.min(bytes.len());
            side.skip -= skipped;
            return bytes.get(skipped..).unwrap_or(&[]);
        }
        let wanted = match side.message.as_slice() {
            [_, high, mid, low, ..] => {
                4 + (usize::from(*high) << 16 | usize::from(*mid) << 8 | usize::from(*low))
            }
            _ => 4,
        };
        let missing = wanted - side.message.len().min(wanted);
        let (now, rest) = bytes.split_at(missing.min(bytes.len()));
        side.message.extend_from_slice(now);
        let length = match side.message.as_slice() {
            [_, high, mid, low, ..] => usize::from(*high) << 16 | usize::from(*mid) << 8 | usize::from(*low),
            _ => return rest,
        };
        if length > MAX_MESSAGE {
            side.message.clear();
            side.skip = length;
            return rest;
        }
        if side.message.len() < 4 + length {
            return rest;
        }
        let mut message = std::mem::take(&mut side.message);
        if let [kind, _, _, _, body @ ..] = message.as_slice() {
            self.message(dir, *kind, body, Transport::Tcp, cx);
        }
        message.clear();
        self.sides[dir as usize].message = message;
        rest
    }

    fn message(&mut self, dir: Dir, kind: u8, body: &[u8], transport: Transport, cx: &mut Cx<'_>) {
        if kind == 1 && self.client.is_none() {
            self.client = Some(dir);
        } else if kind == 2 && self.client.is_none() {
            self.client = Some(dir.other());
        }
        let letter = match kind {
            0 => b'h',
            1 => b'c',
            2 => b's',
            3 => b'v',
            4 => b't',
            5 => b'e',
            6 => b'j',
            8 => b'o',
            11 => b'x',
            12 => b'k',
            13 => b'r',
            14 => b'n',
            15 => b'y',
            16 => b'g',
            20 => b'f',
            21 => b'w',
            22 => b'u',
            23 => b'a',
            24 => b'p',
            254 => b'm',
            _ => b'z',
        };
        self.note(dir, letter);
        match kind {
            1 => self.client_hello(body, transport, cx),
            2 => self.server_hello(body, cx),
            11 => self.certificates(dir, body, cx),
            12 => self.server_key(body),
            16 => self.client_sent_key = true,
            _ => {}
        }
    }

    fn client_hello(&mut self, body: &[u8], transport: Transport, cx: &Cx<'_>) {
        let Some(hello) = Hello::of_client(body, transport) else { return };
        let is_first = self.fields.ja3.is_empty();
        self.begun.get_or_insert(cx.at);
        self.session.clear();
        self.session.extend_from_slice(hello.session);
        let ticket = hello.extension(hello::extension::TICKET).is_some_and(|ticket| !ticket.is_empty());
        self.has_empty_session_and_ticket = ticket && hello.session.is_empty();
        if let Some(name) = hello.server_name() {
            self.fields.server_name = text(name);
        }
        if is_first {
            self.fields.ja3 = fingerprint::ja3(&hello);
            self.fields.ja4 = fingerprint::ja4(&hello, transport);
        }
    }

    fn server_hello(&mut self, body: &[u8], cx: &Cx<'_>) {
        let Some(hello) = Hello::of_server(body) else { return };
        self.begun.get_or_insert(cx.at);
        self.version = hello.chosen_version();
        self.fields.version = names::version(self.version);
        self.fields.cipher = hello.cipher().map(names::cipher).unwrap_or_default();
        self.fields.ja3s = fingerprint::ja3s(&hello);
        if let Some(protocol) = hello.protocol() {
            self.fields.next_protocol = text(protocol);
        }
        if names::is_13(self.version) {
            self.fields.resumed |= hello.extension(hello::extension::PRE_SHARED_KEY).is_some();
        } else {
            self.fields.resumed |= !hello.session.is_empty() && hello.session == self.session;
        }
        if let Some(group) = hello.key_share() {
            self.fields.curve = names::group(group);
        }
    }

    /// The curve of an ephemeral key exchange.
    fn server_key(&mut self, body: &[u8]) {
        const NAMED_CURVE: u8 = 3;
        let mut body = Cursor(body);
        if self.fields.cipher.contains("_ECDH")
            && body.u8() == Some(NAMED_CURVE)
            && let Some(group) = body.u16()
        {
            self.fields.curve = names::group(group);
        }
    }

    fn certificates(&mut self, dir: Dir, body: &[u8], cx: &mut Cx<'_>) {
        let Some(list) = Cursor(body).vec24() else { return };
        let is_client = self.is_client(dir);
        let mut list = Cursor(list);
        let mut chain = Vec::new();
        let mut is_self_issued = false;
        while let Some(bytes) = list.vec24().filter(|_| chain.len() < MAX_CHAIN) {
            let is_host = chain.is_empty();
            let digest = Sha256::digest(bytes);
            chain.push(hex(&digest));
            cx.tools.counts.certificates += 1;
            let is_new = cx.tools.shown.is_new(&digest, cx.at);
            let is_servers = is_host && !is_client;
            if !is_new && !is_servers {
                continue;
            }
            let Some(own) = Certificate::parse(bytes) else {
                cx.tools.counts.certificates_malformed += 1;
                continue;
            };
            if is_new {
                let about = emit::about(cx.track, cx.at);
                let shown = own.row(about, hex(&digest), is_host, is_client);
                cx.tell(Event::X509(Box::new(shown)));
            }
            if is_servers {
                self.fields.cert_sha1 = hex(&Sha1::digest(bytes));
                is_self_issued = !own.subject.is_empty() && own.subject == own.issuer;
                self.fields.subject = own.subject;
                self.fields.issuer = own.issuer;
                self.fields.not_valid_before = own.not_before;
                self.fields.not_valid_after = own.not_after;
                self.fields.san_dns = own.names.dns;
                self.fields.san_dns.truncate(MAX_TOLD_NAMES);
            }
        }
        if is_client {
            self.fields.client_cert_chain_fps = chain;
        } else {
            // a lone certificate that names itself as its issuer; no chain is verified here
            if is_self_issued && chain.len() == 1 {
                self.fields.validation_status = "self signed certificate".to_owned();
            }
            self.fields.cert_chain_fps = chain;
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.get(..MAX_NAME).unwrap_or(bytes)).into_owned()
}
