//! QUIC (RFC 9000, 9001, 9369, and the late drafts): the handshake's first packets, which anybody can open.
//!
//! [`Connection`] takes the datagrams of a flow. It opens the client's and the server's Initials until each side's hello is
//! whole, gives the hellos to the reader of TLS, and keeps the row of quic.log. What comes later is told by its headers alone.

mod frame;
mod header;
mod keys;
mod row;
#[cfg(test)]
mod tests;
mod version;

use std::ops::Range;

use self::frame::{Frame, Frames};
use self::header::{Invariant, Long};
use self::keys::{Keys, Sender};
use self::row::Row;
use self::version::{Kind, Version};
use crate::pieces::{Added, Pieces};
use crate::reader::{Cx, Next};
use crate::service::Service;
use crate::tls::{self, Transport};
use crate::track::Dir;
use crate::wire::be32;

const LONG: u8 = 0x80;
const FIXED: u8 = 0x40;
/// Initials of one side that are opened. A hello fills two or three, and is sent again when it is lost.
const MAX_OPENED: u8 = 32;
/// Initials of a flow that may turn out not to be authentic.
const MAX_FAILED: u8 = 8;
/// How often a connection may begin anew.
const MAX_RESTARTS: u8 = 4;
/// Longest packet that is opened: a jumbo frame's.
const MAX_PACKET: usize = 9216;
/// Packets without the fixed bit that are noted, as many as Zeek notes.
const MAX_DISCARDED: u8 = 100;
/// Ports on which Zeek looks at versions that it does not know.
const PORTS: [u16; 3] = [443, 784, 853];

/// Whether a datagram may begin a connection: with an Initial anywhere, with any long header where the protocol lives and
/// when it is the first datagram.
pub(crate) fn may_begin(datagram: &[u8], resp_port: u16, is_first: bool) -> bool {
    let (Some(first), Some(version)) = (datagram.first(), be32(datagram, 1)) else { return false };
    if first & (LONG | FIXED) != LONG | FIXED {
        return false;
    }
    let is_initial = Version::known(version).is_some_and(|version| version.kind(*first) == Kind::Initial);
    is_initial || (is_first && PORTS.contains(&resp_port))
}

/// A connection being read.
#[derive(Debug, Default)]
pub(crate) struct Connection {
    sides: [Side; 2],
    /// Who opened it, once one of its Initials was opened.
    client: Option<Dir>,
    /// The client's first destination connection id, of which the keys come.
    id: Vec<u8>,
    failed: u8,
    restarts: u8,
    discarded: u8,
    row: Row,
    handshake: tls::Handshake,
}

#[derive(Debug, Default)]
struct Side {
    keys: Option<Keys>,
    hello: Pieces,
    opened: u8,
    /// Its hello was read, or given up.
    is_done: bool,
    /// Packets with short headers.
    short: u64,
}

impl Connection {
    /// Forgets everything but the memory.
    pub(crate) fn reset(&mut self) {
        self.restart();
        for side in &mut self.sides {
            side.short = 0;
        }
        self.client = None;
        (self.failed, self.restarts, self.discarded) = (0, 0, 0);
        self.row.reset();
        self.handshake.reset();
    }

    /// The server wants the client to begin anew, with other keys.
    fn restart(&mut self) {
        for side in &mut self.sides {
            side.hello.clear();
            (side.keys, side.opened, side.is_done) = (None, 0, false);
        }
        self.id.clear();
        self.restarts = self.restarts.saturating_add(1);
    }

    /// Bytes of hellos that are not complete.
    pub(crate) fn held(&self) -> usize {
        self.sides.iter().map(|side| side.hello.held()).sum()
    }

    /// Takes a datagram.
    pub(crate) fn take(&mut self, dir: Dir, datagram: &[u8], cx: &mut Cx<'_>) -> Next {
        let mut rest = datagram;
        while let Some(first) = rest.first() {
            if is_negotiation(rest) {
                self.negotiate(dir, rest, cx);
                break;
            }
            if first & FIXED == 0 {
                self.discard(dir);
                break;
            }
            if first & LONG == 0 {
                self.short(dir);
                break;
            }
            match self.long(dir, rest, cx) {
                Some(behind) => rest = behind,
                None => {
                    cx.tools.counts.quic_malformed += 1;
                    break;
                }
            }
        }
        // nothing could be opened, or nothing that was seen is of a version that can be
        let is_none_known = self.row.was_unknown && !self.is_open();
        if is_none_known || (self.failed >= MAX_FAILED && !self.is_open()) { Next::Done } else { Next::More }
    }

    /// The end of the flow, or of what can be read of it.
    pub(crate) fn finish(&mut self, cx: &mut Cx<'_>) {
        self.row.end(cx);
        self.handshake.finish(cx);
    }

    fn is_open(&self) -> bool {
        self.client.is_some()
    }

    fn is_client(&self, dir: Dir) -> bool {
        self.client.unwrap_or(Dir::Orig) == dir
    }

    /// Whether this side is a server that may still make the client begin anew: none of its own packets was opened yet.
    fn may_restart(&self, dir: Dir) -> bool {
        !self.is_client(dir) && self.sides[dir as usize].opened == 0 && self.restarts <= MAX_RESTARTS
    }

    /// Padding behind the packets of a datagram, or something else.
    fn discard(&mut self, dir: Dir) {
        if self.is_open() && self.discarded < MAX_DISCARDED {
            self.discarded += 1;
            self.row.note(self.is_client(dir), b'x');
        }
    }

    /// A packet of the established connection: the 1st, 2nd, 4th, 8th … are noted.
    fn short(&mut self, dir: Dir) {
        let is_client = self.is_client(dir);
        let side = &mut self.sides[dir as usize];
        side.short = side.short.wrapping_add(1);
        if side.short.is_power_of_two() {
            self.row.note(is_client, b'o');
        }
    }

    /// The server does not speak the client's version. Nobody is believed that once the server's packets were opened.
    fn negotiate(&mut self, dir: Dir, packet: &[u8], cx: &mut Cx<'_>) {
        let Some(invariant) = Invariant::decode(packet) else { return };
        if !self.may_restart(dir) {
            return;
        }
        self.row.begin(false, &invariant, cx.at);
        self.row.note(false, b'u');
        self.row.end(cx);
        self.restart();
    }

    /// A packet with a long header; what is behind it in its datagram. `None` when it cannot be read.
    fn long<'a>(&mut self, dir: Dir, packet: &'a [u8], cx: &mut Cx<'_>) -> Option<&'a [u8]> {
        let is_client = self.is_client(dir);
        let invariant = Invariant::decode(packet)?;
        let Some(version) = Version::known(invariant.version) else {
            if !self.is_open() {
                self.row.begin(is_client, &invariant, cx.at);
                self.row.note(is_client, b'u');
                self.row.end(cx);
                self.row.was_unknown = true;
            }
            return Some(&[]);
        };
        let long = Long::decode(packet, &invariant, version)?;
        match long.kind {
            Kind::Retry if !self.may_restart(dir) => {}
            Kind::Retry => {
                if !self.row.is_begun() {
                    self.row.begin(is_client, &invariant, cx.at);
                }
                self.row.note(is_client, b'r');
                self.row.end(cx);
                self.restart();
            }
            kind => {
                self.row.begin(is_client, &invariant, cx.at);
                self.row.note(is_client, row::letter(kind));
                if kind == Kind::Initial {
                    self.initial(dir, &invariant, version, &long, cx);
                }
            }
        }
        Some(long.rest)
    }

    fn initial(
        &mut self,
        dir: Dir,
        invariant: &Invariant<'_>,
        version: Version,
        long: &Long<'_>,
        cx: &mut Cx<'_>,
    ) {
        let side = &self.sides[dir as usize];
        if side.is_done {
            return;
        }
        let is_tired = side.opened >= MAX_OPENED || self.failed >= MAX_FAILED || self.restarts > MAX_RESTARTS;
        if is_tired || long.packet.len() > MAX_PACKET {
            cx.tools.counts.quic_given_up += 1;
            return;
        }
        let mut room = std::mem::take(&mut cx.tools.room);
        if let Some(frames) = self.open(dir, invariant, version, long, &mut room) {
            let frames = room.get(frames).unwrap_or(&[]);
            cx.tools.counts.quic_opened += 1;
            self.sides[dir as usize].opened += 1;
            self.frames(dir, frames, cx);
        } else {
            self.failed += 1;
            cx.tools.counts.quic_not_authentic += 1;
        }
        cx.tools.room = room;
    }

    /// The frames of an Initial. Whose keys open it with the connection id that it is for, it is the client.
    fn open(
        &mut self,
        dir: Dir,
        invariant: &Invariant<'_>,
        version: Version,
        long: &Long<'_>,
        room: &mut Vec<u8>,
    ) -> Option<Range<usize>> {
        if let Some(client) = self.client {
            let sender = if client == dir { Sender::Client } else { Sender::Server };
            let side = &mut self.sides[dir as usize];
            // the server may go on in another version (RFC 9368)
            if side.keys.as_ref().is_none_or(|keys| keys.version != version) && !self.id.is_empty() {
                side.keys = Keys::derive(version, &self.id, sender);
            }
            let opened = side.keys.as_ref().and_then(|keys| keys.open(long.packet, long.number_at, room));
            if opened.is_some() {
                return opened;
            }
        }
        if self.client == Some(dir.other()) {
            return None;
        }
        let keys = Keys::derive(version, invariant.destination, Sender::Client)?;
        let frames = keys.open(long.packet, long.number_at, room)?;
        self.restart();
        self.client = Some(dir);
        self.id.extend_from_slice(invariant.destination);
        self.sides[dir as usize].keys = Some(keys);
        Some(frames)
    }

    fn frames(&mut self, dir: Dir, frames: &[u8], cx: &mut Cx<'_>) {
        let is_client = self.is_client(dir);
        for frame in Frames(frames) {
            match frame {
                Frame::Crypto { offset, bytes } => {
                    let side = &mut self.sides[dir as usize];
                    if !side.is_done && side.hello.add(offset, bytes) == Added::Refused {
                        cx.tools.counts.quic_given_up += 1;
                        side.hello.clear();
                        side.is_done = true;
                    }
                    self.hello(dir, cx);
                }
                Frame::Close => {
                    self.row.note(is_client, b'c');
                    self.row.end(cx);
                }
                Frame::Malformed => cx.tools.counts.quic_malformed += 1,
            }
        }
    }

    /// A hello that is whole now.
    fn hello(&mut self, dir: Dir, cx: &mut Cx<'_>) {
        let is_client = self.is_client(dir);
        let side = &mut self.sides[dir as usize];
        let Some(message) = first_message(side.hello.prefix()).filter(|_| !side.is_done) else { return };
        if !tls::is_hello(message, is_client) {
            side.is_done = true;
            side.hello.clear();
            return;
        }
        self.handshake.hello(dir, message, Transport::Quic, cx);
        if is_client {
            self.row.asked(tls::asked(message));
        }
        self.row.note(is_client, b's');
        side.is_done = true;
        side.hello.clear();
        if !is_client {
            self.handshake.finish(cx);
        }
    }

    /// What the flow is known to carry.
    pub(crate) fn services(&self) -> [Option<Service>; 2] {
        let is_hello_read = self.client.is_some_and(|dir| self.sides[dir as usize].is_done);
        [self.is_open().then_some(Service::Quic), is_hello_read.then_some(Service::Ssl)]
    }
}

/// The handshake message that these bytes begin with, when it is whole.
fn first_message(bytes: &[u8]) -> Option<&[u8]> {
    let [_, high, mid, low, ..] = bytes else { return None };
    let length = usize::from(*high) << 16 | usize::from(*mid) << 8 | usize::from(*low);
    bytes.get(..length.checked_add(4)?)
}

/// A server's list of versions (RFC 8999, section 6); all bits of its first byte but one are arbitrary.
fn is_negotiation(packet: &[u8]) -> bool {
    packet.first().is_some_and(|first| first & LONG != 0) && be32(packet, 1) == Some(0)
}
