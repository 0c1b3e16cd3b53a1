//! DTLS (RFC 6347, RFC 9147): the handshake of TLS in datagrams, its messages in fragments.

use super::cursor::Cursor;
use super::{Handshake, Transport, record};
use crate::pieces::{Added, Pieces};
use crate::reader::{Cx, Next};
use crate::track::Dir;

/// Bytes of a record's header, and of a fragment's.
const RECORD: usize = 13;
/// Messages of a side that are told apart by their numbers; a handshake has some ten.
const MAX_MESSAGES: u16 = 64;

/// Whether a datagram begins with a hello of either side.
pub(crate) fn begins(datagram: &[u8]) -> bool {
    matches!(datagram, [record::HANDSHAKE, 0xfe, 0xff | 0xfd, 0, 0, ..])
        && matches!(datagram.get(RECORD), Some(1 | 2))
        && datagram.len() >= RECORD + 12
}

/// The fragments of a side.
#[derive(Debug, Default)]
struct Flight {
    /// Messages that were read: a bit for each number.
    seen: u64,
    /// Number, type and length of the message whose fragments are being put together.
    current: Option<(u16, u8, usize)>,
    pieces: Pieces,
}

/// A handshake in datagrams.
#[derive(Debug, Default)]
pub(crate) struct Datagrams {
    handshake: Handshake,
    flights: [Flight; 2],
    /// A hello was read.
    is_known: bool,
}

impl Datagrams {
    pub(crate) fn reset(&mut self) {
        self.handshake.reset();
        for flight in &mut self.flights {
            flight.pieces.clear();
            (flight.seen, flight.current) = (0, None);
        }
        self.is_known = false;
    }

    /// Bytes of messages that are not complete, and of what certificates told.
    pub(crate) fn held(&self) -> usize {
        self.flights.iter().map(|flight| flight.pieces.held()).sum::<usize>() + self.handshake.held()
    }

    /// Whether this is DTLS beyond doubt.
    pub(crate) const fn is_known(&self) -> bool {
        self.is_known
    }

    /// Takes a datagram: one or more records.
    pub(crate) fn take(&mut self, dir: Dir, datagram: &[u8], cx: &mut Cx<'_>) -> Next {
        let mut rest = Cursor(datagram);
        while let Some(first) = rest.0.first() {
            if let 0x20..=0x3f = first {
                // a record of DTLS 1.3, of which nothing but its kind is in the clear
                return self.handshake.begin_record(dir, record::DATA, cx);
            }
            // others than records come on the same port: STUN, media
            let Some((kind, epoch, content)) = next_record(&mut rest) else { break };
            let is_clear = epoch == 0 && !self.handshake.is_encrypted(dir);
            if let Next::Done = self.handshake.begin_record(dir, kind, cx) {
                return Next::Done;
            }
            match kind {
                record::HANDSHAKE if is_clear => self.fragments(dir, content, cx),
                record::ALERT if is_clear => self.handshake.content(dir, kind, content, cx),
                _ => {}
            }
        }
        Next::More
    }

    /// The end of the flow, or of what can be read of it.
    pub(crate) fn finish(&mut self, cx: &mut Cx<'_>) {
        self.handshake.finish(cx);
    }

    fn fragments(&mut self, dir: Dir, content: &[u8], cx: &mut Cx<'_>) {
        let mut content = Cursor(content);
        while let Some(fragment) = Fragment::next(&mut content) {
            self.fragment(dir, &fragment, cx);
        }
    }

    fn fragment(&mut self, dir: Dir, fragment: &Fragment<'_>, cx: &mut Cx<'_>) {
        let Some(flight) = self.flights.get_mut(dir as usize) else { return };
        // later ones are sent again, or are no handshake's
        if fragment.number >= MAX_MESSAGES || flight.seen & 1 << fragment.number != 0 {
            return;
        }
        let own = (fragment.number, fragment.kind, fragment.length);
        if fragment.bytes.len() < fragment.length {
            if flight.current != Some(own) {
                flight.pieces.clear();
                flight.current = Some(own);
            }
            let is_taken = flight.pieces.add(fragment.offset as u64, fragment.bytes) == Added::Taken;
            if !is_taken || flight.pieces.prefix().len() < fragment.length {
                return;
            }
        } else if fragment.offset != 0 {
            return;
        }
        flight.seen |= 1 << fragment.number;
        let mut whole = Pieces::default();
        if fragment.bytes.len() < fragment.length {
            flight.current = None;
            std::mem::swap(&mut whole, &mut flight.pieces);
        }
        let body = if whole.held() > 0 { whole.prefix() } else { fragment.bytes };
        self.is_known |= matches!(fragment.kind, 1 | 2);
        self.handshake.message(dir, fragment.kind, body, Transport::Dtls, cx);
        if whole.held() > 0
            && let Some(flight) = self.flights.get_mut(dir as usize)
        {
            whole.clear();
            flight.pieces = whole;
        }
    }
}

/// The next record: its kind, epoch and content.
fn next_record<'a>(rest: &mut Cursor<'a>) -> Option<(u8, u16, &'a [u8])> {
    let kind = rest.u8().filter(|kind| (20..=26).contains(kind))?;
    rest.u16().filter(|version| matches!(version, 0xfeff | 0xfefd))?;
    let epoch = rest.u16()?;
    rest.take(6)?; // number
    Some((kind, epoch, rest.vec16()?))
}

/// A part of a handshake message.
struct Fragment<'a> {
    kind: u8,
    length: usize,
    number: u16,
    offset: usize,
    bytes: &'a [u8],
}

impl<'a> Fragment<'a> {
    fn next(content: &mut Cursor<'a>) -> Option<Self> {
        let kind = content.u8()?;
        let length = content.u24()?;
        let number = content.u16()?;
        let offset = content.u24()?;
        let bytes = content.vec24()?;
        let fragment = Self { kind, length, number, offset, bytes };
        (offset + bytes.len() <= length).then_some(fragment)
    }
}
