//! OpenVPN's control channel: the TLS handshake that it carries, where it is neither encrypted nor compressed itself.
//!
//! A control packet is an opcode, a session id, perhaps a digest with a replay id (tls-auth), the packets that it acknowledges,
//! its own number, and a piece of TLS. Whether there is a digest, and how long it is, is seen from where TLS begins.

use crate::reader::{Cx, Next};
use crate::tls;
use crate::track::Dir;
use crate::wire::be32;

/// A control packet with data, in the upper five bits of the first byte.
const CONTROL: u8 = 4;
/// Digests that tls-auth may have: none, MD5, SHA-1, SHA-256, SHA-512.
const DIGESTS: [usize; 5] = [0, 16, 20, 32, 64];
/// Longest control packet.
const MAX_PACKET: usize = 4096;
/// Packets that wait for those before them, and control packets whose layout may be unclear.
const MAX_WAITING: usize = 8;
const MAX_UNCLEAR: u8 = 8;

/// One side's packets.
#[derive(Debug, Default)]
struct Side {
    /// TCP: the begun packet with its length before it; or what is still to be skipped.
    begun: Vec<u8>,
    skip: usize,
    /// Number of the next control packet.
    next: Option<u32>,
    waiting: Vec<(u32, Vec<u8>)>,
}

/// A control channel being read.
#[derive(Debug, Default)]
pub(crate) struct Control {
    sides: [Side; 2],
    digest: Option<usize>,
    unclear: u8,
    handshake: tls::Handshake,
}

impl Control {
    pub(crate) fn reset(&mut self) {
        for side in &mut self.sides {
            side.begun.clear();
            side.waiting.clear();
            (side.skip, side.next) = (0, None);
        }
        (self.digest, self.unclear) = (None, 0);
        self.handshake.reset();
    }

    /// Bytes of packets and messages that are not complete.
    pub(crate) fn held(&self) -> usize {
        let waiting = |side: &Side| side.waiting.iter().map(|(_, bytes)| bytes.len()).sum::<usize>();
        self.sides.iter().map(|side| side.begun.len() + waiting(side)).sum::<usize>() + self.handshake.held()
    }

    /// Takes the next bytes of a side over TCP, where each packet has its length before it.
    pub(crate) fn take(&mut self, dir: Dir, mut bytes: &[u8], cx: &mut Cx<'_>) -> Next {
        while !bytes.is_empty() {
            let Some(side) = self.sides.get_mut(dir as usize) else { return Next::Done };
            if side.skip > 0 {
                let skipped = side.skip.min(bytes.len());
                side.skip -= skipped;
                bytes = bytes.get(skipped..).unwrap_or(&[]);
                continue;
            }
            let wanted = match side.begun.as_slice() {
                [high, low, _, ..] => 2 + usize::from(u16::from_be_bytes([*high, *low])),
                _ => 3,
            };
            let missing = wanted.saturating_sub(side.begun.len());
            let (now, rest) = bytes.split_at(missing.min(bytes.len()));
            side.begun.extend_from_slice(now);
            bytes = rest;
            let [high, low, opcode, ..] = side.begun.as_slice() else { break };
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            if opcode >> 3 != CONTROL || length > MAX_PACKET || length == 0 {
                // of others, one byte was taken
                side.skip = (length + 2).saturating_sub(side.begun.len());
                side.begun.clear();
            } else if side.begun.len() >= 2 + length {
                let packet = std::mem::take(&mut side.begun);
                let next = self.packet(dir, packet.get(2..).unwrap_or(&[]), cx);
                if let Some(side) = self.sides.get_mut(dir as usize) {
                    side.begun = packet;
                    side.begun.clear();
                }
                if next == Next::Done {
                    return Next::Done;
                }
            }
        }
        Next::More
    }

    /// Takes a packet; over UDP, a datagram is one.
    pub(crate) fn packet(&mut self, dir: Dir, packet: &[u8], cx: &mut Cx<'_>) -> Next {
        if packet.first().is_none_or(|first| first >> 3 != CONTROL) || packet.len() > MAX_PACKET {
            return Next::More;
        }
        if self.digest.is_none() {
            let begins = |digest: &usize| content(packet, *digest).is_some_and(|(_, tls)| is_record(tls));
            self.digest = DIGESTS.into_iter().find(begins);
        }
        let Some((number, bytes)) = self.digest.and_then(|digest| content(packet, digest)) else {
            self.unclear += 1;
            return if self.unclear > MAX_UNCLEAR { Next::Done } else { Next::More };
        };
        let Some(side) = self.sides.get_mut(dir as usize) else { return Next::Done };
        let expected = *side.next.get_or_insert(number);
        let ahead = number.wrapping_sub(expected);
        if ahead != 0 {
            // sent again, or out of order
            let is_new = side.waiting.iter().all(|(waiting, _)| *waiting != number);
            if is_new && ahead as usize <= MAX_WAITING && side.waiting.len() < MAX_WAITING {
                side.waiting.push((number, bytes.to_vec()));
            }
            return Next::More;
        }
        let mut outcome = self.handshake.take(dir, bytes, cx);
        while let Some(side) = self.sides.get_mut(dir as usize).filter(|_| outcome == Next::More) {
            let next = side.next.map(|next| next.wrapping_add(1));
            side.next = next;
            let Some(at) = side.waiting.iter().position(|(number, _)| Some(*number) == next) else { break };
            let (_, bytes) = side.waiting.swap_remove(at);
            outcome = self.handshake.take(dir, &bytes, cx);
        }
        outcome
    }

    /// Bytes are missing: nothing after them can be read. Also the end of the flow.
    pub(crate) fn finish(&mut self, cx: &mut Cx<'_>) -> Next {
        self.handshake.finish(cx)
    }
}

/// The number and the content of a control packet with this digest.
fn content(packet: &[u8], digest: usize) -> Option<(u32, &[u8])> {
    const OPCODE_AND_SESSION: usize = 9;
    const REPLAY: usize = 8;
    let rest = packet.get(OPCODE_AND_SESSION + if digest > 0 { digest + REPLAY } else { 0 }..)?;
    let (count, rest) = rest.split_first()?;
    let acknowledged = match count {
        0 => 0,
        // and the other side's session id
        1..=8 => usize::from(*count) * 4 + 8,
        _ => return None,
    };
    let rest = rest.get(acknowledged..)?;
    Some((be32(rest, 0)?, rest.get(4..)?))
}

fn is_record(bytes: &[u8]) -> bool {
    matches!(bytes, [0x16, 3, 0..=4, _, _, 1 | 2, ..])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use slips_core::event::Event;

    use super::*;
    use crate::reader::testing::{read, read_datagrams};
    use crate::service::Service;
    use crate::track::Dir::{Orig, Resp};

    fn control(digest: usize, number: u32, acknowledged: usize, tls: &[u8]) -> Vec<u8> {
        let digest = if digest > 0 { vec![0xaa; digest + 8] } else { Vec::new() };
        let known = if acknowledged > 0 { vec![0; acknowledged * 4 + 8] } else { Vec::new() };
        let head = [&[CONTROL << 3][..], &[0x55; 8], &digest, &[acknowledged as u8], &known].concat();
        [&head[..], &number.to_be_bytes(), tls].concat()
    }

    /// A client hello in its record, and an alert that refuses it.
    fn hello() -> Vec<u8> {
        let body = [&[3, 3][..], &[7; 32], &[0, 0, 2, 0, 0x2f, 1, 0]].concat();
        [&[0x16, 3, 1, 0, body.len() as u8 + 4, 1, 0, 0, body.len() as u8][..], &body].concat()
    }

    const ALERT: [u8; 7] = [0x15, 3, 1, 0, 2, 2, 40];

    fn check(events: &[Event]) {
        let [Event::Tls(tls)] = events else { panic!("{events:?}") };
        assert_eq!(
            (tls.fields.ssl_history.as_str(), tls.fields.last_alert.as_str()),
            ("Cl", "handshake_failure")
        );
    }

    #[test]
    fn the_handshake_within_is_told_with_and_without_digests_and_in_any_order() {
        let hello = hello();
        let (first, second) = hello.split_at(20);
        for digest in DIGESTS {
            let packets = [
                (Orig, control(digest, 1, 1, first)),
                (Orig, control(digest, 2, 0, second)),
                (Resp, control(digest, 1, 2, &ALERT)),
            ];
            let (events, ..) = read_datagrams(Service::Openvpn, &packets);
            check(&events);
            let again = [&packets[..1], &packets[..1], &[(Orig, vec![0x30; 90])], &packets[1..]].concat();
            check(&read_datagrams(Service::Openvpn, &again).0);
            let framed: Vec<_> = again
                .iter()
                .map(|(dir, packet)| (*dir, [&(packet.len() as u16).to_be_bytes(), &packet[..]].concat()))
                .collect();
            let framed: Vec<_> = framed.iter().map(|(dir, packet)| (*dir, packet.as_slice())).collect();
            for size in [1, 3, 1000] {
                check(&read(Service::Openvpn, &framed, size));
            }
        }
        let long = [&hello[..], &hello].concat();
        let ordered = [&long[..20], &long[20..40], &long[40..]];
        let packet = |nth: usize| (Orig, control(0, 7 + nth as u32, 0, ordered[nth]));
        let early = vec![packet(2); 20];
        let (events, ..) =
            read_datagrams(Service::Openvpn, &[&[packet(0)], &early[..], &[packet(1)]].concat());
        assert!(matches!(&events[..], [Event::Tls(tls)] if tls.fields.ssl_history == "CC"));
        let (events, ..) = read_datagrams(Service::Openvpn, &[packet(0), packet(2), packet(1)]);
        assert!(matches!(&events[..], [Event::Tls(tls)] if tls.fields.ssl_history == "CC"));
    }

    proptest! {
        #[test]
        fn arbitrary_packets_are_no_harm(
            packets in prop::collection::vec((any::<bool>(), 0..40u8, prop::collection::vec(any::<u8>(), 0..120)), 0..20)
        ) {
            let packets: Vec<_> = packets
                .into_iter()
                .map(|(orig, opcode, bytes)| (if orig { Orig } else { Resp }, [&[opcode][..], &bytes].concat()))
                .collect();
            read_datagrams(Service::Openvpn, &packets);
            let pieces: Vec<_> = packets.iter().map(|(dir, bytes)| (*dir, bytes.as_slice())).collect();
            read(Service::Openvpn, &pieces, 7);
        }
    }
}
