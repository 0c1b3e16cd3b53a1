//! Rebuilding datagrams from IP fragments, within bounds.

use std::collections::{BTreeMap, VecDeque};

use slips_core::time::PacketTime;

use crate::ip::{Fragment, Packet};
use crate::settings::Settings;

/// Most pieces of one datagram.
const MAX_PIECES: usize = 128;
/// Largest transport part of a datagram.
const MAX_LENGTH: u32 = 65_535;

/// What the fragments of one datagram share. The last is the interface: a router sees what it forwards twice.
type FragmentKey = (u128, u128, u8, u32, u16);

/// A datagram with holes.
#[derive(Debug)]
struct Partial {
    begun: PacketTime,
    /// Offset and bytes of each piece.
    pieces: Vec<(u32, Vec<u8>)>,
    /// Length of the transport part, known from the last fragment.
    total: Option<u32>,
    /// Length of the headers before it, from the first fragment.
    headers: u32,
}

/// What became of a fragment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It waits for the others.
    Kept,
    /// The datagram is whole: its transport part and the length of the IP packet.
    Whole(Vec<u8>, u32),
    /// Malformed, or no room.
    Refused,
}

/// Datagrams that wait for fragments.
#[derive(Debug, Default)]
pub(crate) struct Fragments {
    waiting: BTreeMap<FragmentKey, Partial>,
    order: VecDeque<(PacketTime, FragmentKey)>,
    bytes: usize,
    /// Datagrams that were given up.
    pub(crate) dropped: u64,
}

impl Fragments {
    /// Takes a fragment in.
    pub(crate) fn add(
        &mut self,
        packet: &Packet<'_>,
        fragment: Fragment,
        interface: u16,
        at: PacketTime,
        settings: &Settings,
    ) -> Outcome {
        self.expire(at, settings);
        let cut_by_capture = packet.payload.len() != packet.payload_length as usize;
        let end = fragment.offset.saturating_add(packet.payload_length);
        let ragged = fragment.more && !packet.payload_length.is_multiple_of(8);
        if cut_by_capture || packet.payload.is_empty() || end > MAX_LENGTH || ragged {
            return Outcome::Refused;
        }
        // In IPv6 only the first fragment surely tells the transport protocol.
        let proto = if packet.v6 { 255 } else { packet.proto };
        let key = (packet.src, packet.dst, proto, fragment.id, interface);
        if !self.waiting.contains_key(&key) {
            self.make_room(settings);
            self.order.push_back((at, key));
        }
        let partial = self.waiting.entry(key).or_insert_with(|| Partial {
            begun: at,
            pieces: Vec::new(),
            total: None,
            headers: packet.length - packet.payload_length,
        });
        let contradicts = partial.total.is_some_and(|total| end > total || (!fragment.more && end != total));
        if contradicts || partial.pieces.len() >= MAX_PIECES || self.bytes > settings.max_fragment_bytes {
            return Outcome::Refused;
        }
        if !fragment.more {
            partial.total = Some(end);
        }
        if fragment.offset == 0 {
            partial.headers = packet.length - packet.payload_length;
        }
        let at = partial.pieces.partition_point(|(offset, _)| *offset <= fragment.offset);
        partial.pieces.insert(at, (fragment.offset, packet.payload.to_vec()));
        self.bytes += packet.payload.len();
        let Some(whole) = partial.join() else { return Outcome::Kept };
        let length = partial.headers.saturating_add(whole.len() as u32);
        self.forget(key);
        Outcome::Whole(whole, length)
    }

    fn forget(&mut self, key: FragmentKey) {
        if let Some(partial) = self.waiting.remove(&key) {
            self.bytes -= partial.pieces.iter().map(|(_, bytes)| bytes.len()).sum::<usize>();
        }
    }

    /// Gives up the oldest datagram; false when there is none.
    fn drop_oldest(&mut self) -> bool {
        let Some((begun, key)) = self.order.pop_front() else { return false };
        // An entry of the order may be of a datagram that was completed meanwhile.
        if self.waiting.get(&key).is_some_and(|partial| partial.begun == begun) {
            self.forget(key);
            self.dropped += 1;
        }
        true
    }

    /// Nothing more will come: gives up what waits.
    pub(crate) fn give_up(&mut self) {
        while self.drop_oldest() {}
    }

    fn make_room(&mut self, settings: &Settings) {
        let max = (settings.max_fragmented as usize).max(1);
        while (self.order.len() >= max || self.bytes >= settings.max_fragment_bytes) && self.drop_oldest() {}
    }

    fn expire(&mut self, now: PacketTime, settings: &Settings) {
        while let Some((begun, _)) = self.order.front()
            && now.since(*begun) >= settings.fragment_timeout
        {
            self.drop_oldest();
        }
    }
}

impl Partial {
    /// The whole transport part, if nothing is missing. Where pieces overlap, the first in order of offset wins.
    fn join(&self) -> Option<Vec<u8>> {
        let total = self.total? as usize;
        let mut reached = 0usize;
        for (offset, bytes) in &self.pieces {
            if *offset as usize > reached {
                return None;
            }
            reached = reached.max(*offset as usize + bytes.len());
        }
        if reached < total {
            return None;
        }
        let mut whole = Vec::with_capacity(total);
        for (offset, bytes) in &self.pieces {
            if let Some(new) = bytes.get(whole.len().saturating_sub(*offset as usize)..) {
                whole.extend_from_slice(new);
            }
        }
        whole.truncate(total);
        Some(whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(offset: u32, more: bool, payload: &[u8], id: u32) -> (Packet<'_>, Fragment) {
        let payload_length = payload.len() as u32;
        let packet = Packet {
            src: 1,
            dst: 2,
            v6: false,
            proto: 17,
            hop_limit: 64,
            length: 20 + payload_length,
            payload_length,
            payload,
            fragment: None,
        };
        (packet, Fragment { id, offset, more })
    }

    #[test]
    fn pieces_join_in_any_order_and_overlap() {
        let settings = Settings::default();
        let mut fragments = Fragments::default();
        let mut add = |offset, more, payload: &[u8]| {
            let (packet, fragment) = piece(offset, more, payload, 7);
            fragments.add(&packet, fragment, 0, PacketTime(0), &settings)
        };
        assert_eq!(add(16, false, b"tail"), Outcome::Kept);
        assert_eq!(add(8, true, b"middle.."), Outcome::Kept);
        assert_eq!(add(0, true, b"head....OVERLAPS"), Outcome::Whole(b"head....OVERLAPStail".to_vec(), 40));
        assert_eq!(fragments.bytes, 0);
    }

    #[test]
    fn room_is_bounded_and_what_is_old_goes() {
        let settings = Settings { max_fragmented: 10, ..Settings::default() };
        let mut fragments = Fragments::default();
        for id in 0..1000 {
            let (packet, fragment) = piece(0, true, &[0; 64], id);
            assert_eq!(
                fragments.add(&packet, fragment, 0, PacketTime(i64::from(id)), &settings),
                Outcome::Kept
            );
        }
        assert_eq!((fragments.waiting.len(), fragments.bytes, fragments.dropped), (10, 640, 990));
        let (packet, fragment) = piece(0, true, &[0; 64], 5000);
        fragments.add(&packet, fragment, 0, PacketTime(1_000_000_000), &settings);
        assert_eq!(fragments.waiting.len(), 1);
    }

    #[test]
    fn nonsense_is_refused() {
        let settings = Settings::default();
        let mut fragments = Fragments::default();
        let mut add = |offset, more, payload: &[u8]| {
            let (packet, fragment) = piece(offset, more, payload, 7);
            fragments.add(&packet, fragment, 0, PacketTime(0), &settings)
        };
        assert_eq!(add(0, true, b"odd"), Outcome::Refused);
        assert_eq!(add(65_528, false, &[0; 16]), Outcome::Refused);
        assert_eq!(add(0, true, b""), Outcome::Refused);
        assert_eq!(add(8, false, b"12345678"), Outcome::Kept);
        assert_eq!(add(16, false, b"12345678"), Outcome::Refused);
    }
}
