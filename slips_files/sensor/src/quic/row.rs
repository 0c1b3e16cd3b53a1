//! The row of quic.log, as Zeek fills it.

use slips_core::event::{Event, Quic};
use slips_core::time::PacketTime;

use super::header::Invariant;
use super::version::{self, Kind};
use crate::emit;
use crate::reader::Cx;
use crate::tls::{Asked, hex};

/// Letters of the history, as many as Zeek writes.
const MAX_HISTORY: usize = 100;

/// A row being filled. A connection has several when the server makes the client begin anew.
#[derive(Debug, Default)]
pub(super) struct Row {
    begun: Option<PacketTime>,
    version: u32,
    first_id: Vec<u8>,
    ids: [Option<Vec<u8>>; 2],
    asked: Asked,
    history: String,
    /// A version that cannot be read was seen.
    pub(super) was_unknown: bool,
}

pub(super) const fn letter(kind: Kind) -> u8 {
    match kind {
        Kind::Initial => b'i',
        Kind::ZeroRtt => b'z',
        Kind::Handshake => b'h',
        Kind::Retry => b'r',
    }
}

impl Row {
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }

    pub(super) const fn is_begun(&self) -> bool {
        self.begun.is_some()
    }

    /// A packet of the handshake: begins the row, where that has not begun, and notes the names it uses.
    pub(super) fn begin(&mut self, is_client: bool, packet: &Invariant<'_>, at: PacketTime) {
        if self.begun.is_none() {
            self.begun = Some(at);
            self.version = packet.version;
        }
        if is_client && self.first_id.is_empty() {
            self.first_id.extend_from_slice(packet.destination);
        }
        let [client, server] = &mut self.ids;
        let id = if is_client { client } else { server }.get_or_insert_default();
        id.clear();
        id.extend_from_slice(packet.source);
    }

    pub(super) fn note(&mut self, is_client: bool, letter: u8) {
        if self.begun.is_some() && self.history.len() < MAX_HISTORY {
            let letter = if is_client { letter.to_ascii_uppercase() } else { letter };
            self.history.push(char::from(letter));
        }
    }

    pub(super) fn asked(&mut self, asked: Asked) {
        if self.begun.is_some() {
            self.asked = asked;
        }
    }

    /// Tells the row, if it has begun; another may begin.
    pub(super) fn end(&mut self, cx: &mut Cx<'_>) {
        let Self { begun, version, first_id, ids, asked, history, was_unknown } = std::mem::take(self);
        self.was_unknown = was_unknown;
        let Some(at) = begun else { return };
        let [client_scid, server_scid] = ids.map(|id| id.map(|id| hex(&id)));
        cx.tell(Event::Quic(Box::new(Quic {
            about: emit::about(cx.track, at),
            version: version::name(version),
            client_initial_dcid: hex(&first_id),
            client_scid,
            server_scid,
            server_name: asked.server_name,
            client_protocol: asked.protocol,
            history,
        })));
    }
}
