//! An input as a QUIC connection. Frames are sealed here: nobody finds the right tag by trying.

use crate::bytes::Bytes;
use crate::net::{Net, settings};
use crate::sealed::{Keys, Sealer, V1, V2, crypto};
use crate::wire::{ipv4, udp};

const CLIENT: [u8; 4] = [10, 0, 0, 1];
const SERVER: [u8; 4] = [192, 0, 2, 9];
const FIRST_ID: [u8; 8] = [0x83, 0x94, 0xc8, 0xf0, 0x3e, 0x51, 0x57, 0x08];

/// What a turn's bytes are; bits 1 and 2 of its control byte.
#[derive(Clone, Copy)]
pub enum Kind {
    /// The next bytes of the side's handshake.
    Next = 0,
    /// Bytes of the handshake at an offset, which the first two bytes are.
    At = 2,
    /// Frames.
    Frames = 4,
    /// A datagram, or a packet in one, as it is.
    Raw = 6,
}

/// Set in a control byte: the server speaks; version 2; the length has two bytes; the packet waits to be sent with the next one;
/// the client begins anew with another connection id; a second passes.
pub const SERVER_SPEAKS: u8 = 1;
pub const VERSION_2: u8 = 8;
pub const LONG: u8 = 16;
pub const WITH_NEXT: u8 = 32;
pub const ANEW: u8 = 64;
pub const LATER: u8 = 128;

/// A turn, as an input.
pub fn turn(kind: Kind, control: u8, bytes: &[u8]) -> Vec<u8> {
    [&[kind as u8 | control | LONG][..], &(bytes.len() as u16).to_le_bytes(), bytes].concat()
}

/// Plays an input.
pub fn play(input: &[u8]) {
    let mut input = Bytes(input);
    let mut net = Net::new(settings());
    let (mut id, mut number, mut next) = (FIRST_ID, 0u16, [0u64; 2]);
    let mut datagram = Vec::new();
    while !input.is_over() {
        let control = input.byte();
        let length = if control & LONG == 0 { u16::from(input.byte()) } else { input.word() };
        let mut bytes = Bytes(input.take(length.into()));
        let side = usize::from(control & SERVER_SPEAKS);
        if control & ANEW != 0 {
            id[7] = id[7].wrapping_add(1);
            next = [0; 2];
        }
        let frames = match control & 6 {
            0 => {
                let at = next[side];
                next[side] += bytes.0.len() as u64;
                crypto(at, bytes.0)
            }
            2 => {
                let at = bytes.word().into();
                crypto(at, bytes.0)
            }
            _ => bytes.0.to_vec(),
        };
        if control & 6 == Kind::Raw as u8 {
            datagram.extend(frames);
        } else {
            let version = if control & VERSION_2 == 0 { V1 } else { V2 };
            let (sealer, to, from): (_, &[u8], &[u8]) = match side {
                0 => (Sealer::Client, &id, b"c"),
                _ => (Sealer::Server, b"c", b"server"),
            };
            datagram.extend(Keys::new(version, &id, sealer).initial(to, from, number, &frames));
            number = number.wrapping_add(1);
        }
        if control & WITH_NEXT == 0 {
            let packet = match side {
                0 => ipv4(CLIENT, SERVER, 17, &udp((40_000, 443), &datagram)),
                _ => ipv4(SERVER, CLIENT, 17, &udp((443, 40_000), &datagram)),
            };
            net.ip(&packet);
            datagram.clear();
        }
        net.at += i64::from(control / LATER) * 1_000_000;
    }
    net.finish();
}
